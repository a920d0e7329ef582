//! Counts over time in rings of fixed size: what a sparkline and a rate are read from.

use std::collections::VecDeque;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::time::Timestamp;

/// Seconds that one bucket covers.
pub const BUCKET_S: i64 = 5;
/// How many buckets are kept: half an hour, and a ninth more, so that the oldest column of a chart is whole.
const BUCKETS: i64 = 400;
/// The same of the last day.
const MINUTE_S: i64 = 60;
const MINUTES: i64 = 1_500;

/// Events counted in buckets of one width over a fixed time; by itself [`BUCKET_S`] seconds over the last half hour. It takes
/// no room before the first event.
#[derive(Clone, Debug)]
pub struct Buckets {
    counts: Vec<u32>,
    len: i64,
    /// Seconds.
    width: i64,
    /// The number (time / width) of the newest bucket.
    newest: i64,
}

impl Default for Buckets {
    fn default() -> Self {
        Self::new(BUCKET_S, BUCKETS)
    }
}

impl Buckets {
    const fn new(width: i64, len: i64) -> Self {
        Self { counts: Vec::new(), len, width, newest: 0 }
    }

    /// Seconds that one bucket covers.
    #[must_use]
    pub const fn width(&self) -> i64 {
        self.width
    }

    fn index(&self, number: i64) -> usize {
        usize::try_from(number.rem_euclid(self.len)).unwrap_or(0)
    }

    /// Counts `n` events at `at`; what is older than the ring is not counted.
    pub fn add(&mut self, at: Timestamp, n: u32) {
        if self.counts.is_empty() {
            self.counts = vec![0; usize::try_from(self.len).unwrap_or(0)];
        }
        let number = at.secs().div_euclid(self.width);
        if number > self.newest {
            let stale = number.saturating_sub(self.newest).min(self.len);
            for k in 0..stale {
                let at = self.index(number - k);
                self.counts[at] = 0;
            }
            self.newest = number;
        }
        if number > self.newest - self.len {
            let at = self.index(number);
            self.counts[at] = self.counts[at].saturating_add(n);
        }
    }

    /// Events in the bucket with this number (time / width); 0 for those that the ring does not hold.
    #[must_use]
    pub fn at(&self, number: i64) -> u32 {
        if number > self.newest || number <= self.newest - self.len {
            return 0;
        }
        self.counts.get(self.index(number)).copied().unwrap_or(0)
    }

    /// The last `cells` spans of `span` each (rounded to whole buckets), oldest first, the newest holding `now`.
    #[must_use]
    pub fn series(&self, now: Timestamp, cells: usize, span: Duration) -> Vec<u64> {
        let per_cell = (i64::try_from(span.as_secs()).unwrap_or(i64::MAX) / self.width).max(1);
        let current = now.secs().div_euclid(self.width).div_euclid(per_cell);
        let cells = i64::try_from(cells).unwrap_or(0);
        (0..cells)
            .map(|i| {
                let cell = current - (cells - 1 - i);
                (0..per_cell).map(|k| u64::from(self.at(cell * per_cell + k))).sum()
            })
            .collect()
    }

    /// Events in the last `span` (rounded to whole buckets).
    #[must_use]
    pub fn within(&self, now: Timestamp, span: Duration) -> u64 {
        let n = (i64::try_from(span.as_secs()).unwrap_or(i64::MAX) / self.width).clamp(1, self.len);
        let current = now.secs().div_euclid(self.width);
        (0..n).map(|k| u64::from(self.at(current - k))).sum()
    }
}

/// Events over the last day: the half hour in [`Buckets`] of five seconds, and all of it by the minute. For the few things that the
/// timeline shows: 8 KB each.
#[derive(Clone, Debug)]
pub struct Track {
    recent: Buckets,
    day: Buckets,
    first: Option<Timestamp>,
}

impl Default for Track {
    fn default() -> Self {
        Self { recent: Buckets::default(), day: Buckets::new(MINUTE_S, MINUTES), first: None }
    }
}

impl Track {
    /// Counts `n` events at `at`.
    pub fn add(&mut self, at: Timestamp, n: u32) {
        self.recent.add(at, n);
        self.day.add(at, n);
        self.first = Some(self.first.map_or(at, |first| first.min(at)));
    }

    /// The half hour.
    #[must_use]
    pub const fn recent(&self) -> &Buckets {
        &self.recent
    }

    /// The day.
    #[must_use]
    pub const fn day(&self) -> &Buckets {
        &self.day
    }

    /// When the newest event was, to the beginning of its bucket.
    #[must_use]
    pub fn newest(&self) -> Option<Timestamp> {
        self.first.map(|_| Timestamp::from_secs(self.recent.newest.saturating_mul(self.recent.width)))
    }

    /// When the earliest event of all was.
    #[must_use]
    pub const fn first(&self) -> Option<Timestamp> {
        self.first
    }

    /// See [`Buckets::within`].
    #[must_use]
    pub fn within(&self, now: Timestamp, span: Duration) -> u64 {
        self.recent.within(now, span)
    }

    /// See [`Buckets::series`].
    #[must_use]
    pub fn series(&self, now: Timestamp, cells: usize, span: Duration) -> Vec<u64> {
        self.recent.series(now, cells, span)
    }
}

/// Puts `new` among the `most` newest, oldest first. Logs are read one after the other, and the past of one may come after
/// the present of another; of equal age the one that came last is the newer.
pub(super) fn keep_newest<T: Clone>(kept: &mut VecDeque<T>, new: &T, most: usize, at: impl Fn(&T) -> Timestamp) {
    let place = kept.partition_point(|old| at(old) <= at(new));
    if kept.len() < most {
        kept.insert(place, new.clone());
    } else if place > 0 {
        kept.pop_front();
        kept.insert(place - 1, new.clone());
    }
}

/// A histogram from 1 to `highest`, to two digits.
pub(super) fn new_histogram(highest: u64) -> Histogram<u64> {
    // Both bounds are constants in the range that the library accepts; an auto-resizing histogram is the same but larger.
    Histogram::new_with_bounds(1, highest.max(2), 2)
        .or_else(|_| Histogram::new(2))
        .unwrap_or_else(|_| unreachable!("two digits are always accepted"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_forgets_what_is_older_than_half_an_hour() {
        let mut b = Buckets::default();
        let t0 = Timestamp::from_secs(1_000_000);
        b.add(t0, 3);
        assert_eq!(b.within(t0, Duration::from_secs(60)), 3);
        let later = t0.plus(Duration::from_secs(1_801));
        b.add(later, 1);
        assert_eq!(b.within(later, Duration::from_secs(1_800)), 1);
        b.add(t0, 9);
        assert_eq!(b.within(later, Duration::from_secs(1_800)), 1, "too old to count");
    }

    #[test]
    fn a_track_knows_the_half_hour_finely_and_the_day_by_the_minute() {
        let mut track = Track::default();
        let t0 = Timestamp::from_secs(1_000_020);
        assert_eq!((track.first(), track.day().at(7)), (None, 0));
        // One event every seven seconds for two days, in whatever order logs are read.
        for k in 0..24_700_i64 {
            let s = if k % 2 == 0 { k } else { k.saturating_sub(30).max(0) };
            track.add(Timestamp::from_secs(1_000_020 + s * 7), 1);
        }
        let now = Timestamp::from_secs(1_000_020 + 24_698 * 7);
        let minutes = |from: i64, to: i64| -> u64 {
            (from..to).map(|k| u64::from(track.day().at(now.secs().div_euclid(60) - k))).sum()
        };
        let hour = minutes(60, 120);
        assert!((510..=519).contains(&hour), "{hour}");
        assert!((513 * 23..=516 * 23).contains(&minutes(60, 1_440)), "{}", minutes(60, 1_440));
        assert_eq!(minutes(MINUTES, MINUTES + 60), 0, "forgotten");
        let half_hour = track.within(now, Duration::from_secs(1_800));
        assert!((235..=260).contains(&half_hour), "{half_hour}");
        assert_eq!(track.first(), Some(t0));
    }

    #[test]
    fn the_newest_are_kept_in_whatever_order_they_come() {
        let at = |entry: &(i64, char)| Timestamp::from_secs(entry.0);
        let mut kept = VecDeque::new();
        for entry in [(5, 'a'), (9, 'b'), (2, 'c'), (5, 'd'), (1, 'e'), (7, 'f')] {
            keep_newest(&mut kept, &entry, 4, at);
        }
        assert_eq!(kept, [(5, 'a'), (5, 'd'), (7, 'f'), (9, 'b')]);
        keep_newest(&mut kept, &(5, 'g'), 4, at);
        assert_eq!(kept, [(5, 'd'), (5, 'g'), (7, 'f'), (9, 'b')]);
        keep_newest(&mut kept, &(3, 'h'), 4, at);
        assert_eq!(kept.front(), Some(&(5, 'd')), "older than all that are kept");
    }

    #[test]
    fn a_series_ends_with_now_and_adds_up() {
        let mut b = Buckets::default();
        let t0 = Timestamp::from_secs(1_000_020);
        for k in 0..6 {
            b.add(t0.plus(Duration::from_secs(k * 10)), 1);
        }
        let now = t0.plus(Duration::from_secs(55));
        assert_eq!(b.series(now, 4, Duration::from_secs(20)), [0, 2, 2, 2]);
        assert_eq!(b.series(now, 0, Duration::from_secs(20)), Vec::<u64>::new());
    }
}
