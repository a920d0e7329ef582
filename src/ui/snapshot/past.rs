//! The last half hour in buckets, and how to lay it over any number of columns.

use std::time::Duration;

use crate::model::Model;
use crate::model::marks::Mark;
use crate::model::stats::BUCKET_S;
use crate::time::Timestamp;

/// Buckets of the half hour.
const CELLS: usize = 360;

/// What happened when.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// Error-log entries per bucket, oldest first.
    pub errors: Vec<u64>,
    /// Tunnels that ended per bucket, oldest first.
    pub deaths: Vec<u64>,
    /// Oldest first.
    pub marks: Vec<Mark>,
    /// The moment of the newest bucket.
    pub now: Timestamp,
    /// The moment that the panes show, when it is another.
    pub cursor: Option<Timestamp>,
    /// The number (time / width) of the newest bucket.
    newest: i64,
    /// Buckets since the oldest thing that is known.
    pub age: usize,
    /// Since when something is known; `None` when that is the whole half hour.
    pub began: Option<Timestamp>,
}

impl Past {
    /// The past of a model.
    #[must_use]
    pub fn of(model: &Model) -> Self {
        let (now, bucket) = (model.now, Duration::from_secs(BUCKET_S.unsigned_abs()));
        let errors = model.errors.series(now, CELLS, bucket);
        let closed = model.connections.died.series(now, CELLS, bucket);
        let logged = model.sessions.deaths.series(now, CELLS, bucket);
        // The same deaths seen twice: in the socket table, and in the access log.
        let deaths: Vec<u64> = closed.iter().zip(&logged).map(|(a, b)| *a.max(b)).collect();
        let newest = now.secs().div_euclid(BUCKET_S);
        let first = errors.iter().zip(&deaths).position(|(e, d)| e + d > 0).unwrap_or(CELLS);
        let watched = model.since.map_or(0, |s| newest - s.secs().div_euclid(BUCKET_S));
        let age = (CELLS - first).max(usize::try_from(watched).unwrap_or(0)).clamp(1, CELLS);
        let marks = model.marks.iter().cloned().collect();
        // What a log tells of the time before us is known as well.
        let bucket_of = |place: usize| newest - i64::try_from(CELLS - 1 - place).unwrap_or(0);
        let told = (first < CELLS).then(|| Timestamp::from_secs(bucket_of(first) * BUCKET_S));
        let began = told.into_iter().chain(model.since).min().filter(|_| age < CELLS);
        Self { errors, deaths, marks, now, cursor: None, newest, age, began }
    }

    /// How many of `room` columns the half hour takes: as many as whole buckets give, and one since the newest is not full.
    #[must_use]
    pub fn columns(&self, room: usize) -> usize {
        (CELLS.div_ceil(per_cell(room)) + 1).min(room)
    }

    /// `series` in `cells` columns. Columns stand on multiples of their width, so that old ones never change.
    #[must_use]
    pub fn cells(&self, series: &[u64], cells: usize) -> Vec<u64> {
        let per = i64::try_from(per_cell(cells)).unwrap_or(1);
        let last = self.newest.div_euclid(per);
        let mut out = vec![0; cells];
        for (back, n) in series.iter().rev().enumerate() {
            let number = self.newest - i64::try_from(back).unwrap_or(0);
            let ago = usize::try_from(last - number.div_euclid(per)).unwrap_or(usize::MAX);
            if let Some(cell) = cells.checked_sub(ago + 1).and_then(|i| out.get_mut(i)) {
                *cell += n;
            }
        }
        out
    }

    /// The column of `cells` in which a moment lies.
    #[must_use]
    pub fn column(&self, at: Timestamp, cells: usize) -> Option<usize> {
        let per = i64::try_from(per_cell(cells)).unwrap_or(1);
        let ago = self.newest.div_euclid(per) - at.secs().div_euclid(BUCKET_S).div_euclid(per);
        cells.checked_sub(usize::try_from(ago).ok()?.checked_add(1)?)
    }
}

/// How many buckets go into one of `cells` columns.
fn per_cell(cells: usize) -> usize {
    CELLS.div_ceil(cells.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squeezed_columns_lose_nothing_and_stand_still() {
        let mut past = Past { newest: 1_000, age: 360, ..Past::default() };
        let mut series = vec![0; 360];
        series[359] = 2;
        series[350] = 3;
        series[0] = 1;
        let before = past.cells(&series, 100);
        assert_eq!(before.iter().sum::<u64>(), 6);
        assert_eq!(before[99], 2);
        // Two buckets later the same events lie in the same or the next column, never torn apart.
        past.newest += 2;
        series.drain(..2);
        series.extend([0, 0]);
        let after = past.cells(&series, 100);
        assert_eq!(after.iter().filter(|n| **n > 0).count(), 2, "the oldest has left");
        assert!(past.cells(&series, 0).is_empty());
    }

    #[test]
    fn what_is_known_begins_at_one_moment_however_long_it_is_looked_at() {
        let mut model = Model::new("h");
        let mut began = |s: i64| {
            model.now = Timestamp::from_secs(s);
            model.since.get_or_insert(model.now);
            Past::of(&model).began.map(Timestamp::secs)
        };
        assert_eq!(
            [began(5_003), began(5_400), began(9_000)],
            [Some(5_003), Some(5_003), None],
            "then the whole half hour"
        );
    }

    #[test]
    fn the_span_is_the_same_at_every_width() {
        let past = Past { newest: 1_000, age: 10, ..Past::default() };
        for (room, columns) in [(400, 361), (360, 360), (148, 121), (69, 61), (29, 29)] {
            assert_eq!(past.columns(room), columns, "{room}");
            let of = |bucket: i64| past.column(Timestamp::from_secs(bucket * BUCKET_S), columns);
            assert_eq!(of(1_000), Some(columns - 1));
            assert!(of(641).is_some_and(|c| c <= 1), "{room}: half an hour ago stands at the left");
            assert_eq!(of(600), None, "{room}");
        }
        assert_eq!(past.column(Timestamp::from_secs(9_000), 100), None, "the future has no column");
        assert_eq!(past.columns(0), 0);
    }
}
