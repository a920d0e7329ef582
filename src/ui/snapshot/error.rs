//! The rows of the Errors pane: one category of error-log entries each; and the lines that are kept of them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::event::log::{AccessEntry, Category, Level};
use crate::model::Model;
use crate::model::errors::Tally;
use crate::model::errors::kept::Kept;
use crate::model::errors::split::Splits;
use crate::model::stats::{BUCKET_S, Buckets};
use crate::report::entries::words;
use crate::time::Timestamp;

use super::super::light::Light;

/// Buckets of the half hour.
const CELLS: usize = 360;
/// What a sparkline may span, in buckets: 150 seconds, 5, 10 and 30 minutes. The first that holds all that is known is
/// taken, so that a program just started does not show one lonely cell.
pub const SPANS: [usize; 4] = [30, 60, 120, CELLS];

/// One category.
#[derive(Clone, Debug)]
pub struct ErrorRow {
    /// The category's place in the contract's list, or a number above it for a message of a backend's log.
    pub id: u64,
    /// The category's name; `backend` for messages of backends' own logs.
    pub name: &'static str,
    /// How much it hurts.
    pub light: Light,
    /// Entries so far.
    pub total: u64,
    /// Entries a minute over the last five minutes.
    pub per_minute: f64,
    /// How long ago the newest was written.
    pub last: Option<Duration>,
    /// When the first was written.
    pub first: Option<Timestamp>,
    /// Entries by level.
    pub by_level: BTreeMap<Level, u64>,
    /// Entries over time.
    pub past: Series,
    /// The newest message.
    pub words: String,
    /// The backend in it.
    pub peer: Option<String>,
    /// What and whom the entries are about.
    pub splits: Arc<Splits>,
    /// The lines themselves, newest first, where the row is one of a backend's log: there is nothing to narrow them by.
    pub backend_lines: Vec<String>,
}

/// Counts over the last half hour, to be laid over any number of columns.
#[derive(Clone, Debug)]
pub struct Series {
    /// One count a bucket, oldest first.
    counts: Vec<u32>,
    /// The number (time / width) of the newest bucket.
    newest: i64,
}

impl Series {
    /// What the ring holds.
    #[must_use]
    pub fn of(buckets: &Buckets, now: Timestamp) -> Self {
        let newest = now.secs().div_euclid(BUCKET_S);
        let oldest = newest - i64::try_from(CELLS).unwrap_or(0);
        Self { counts: (oldest + 1..=newest).map(|number| buckets.at(number)).collect(), newest }
    }

    /// The last `span` buckets in `cells` columns. Columns stand on multiples of their width, so that old ones never change.
    #[must_use]
    pub fn cells(&self, span: usize, cells: usize) -> Vec<u64> {
        let per = i64::try_from(span.div_ceil(cells.max(1)).max(1)).unwrap_or(1);
        let mut out = vec![0; cells];
        for (back, n) in (0_i64..).zip(self.counts.iter().rev()) {
            let ago = self.newest.div_euclid(per) - (self.newest - back).div_euclid(per);
            match usize::try_from(ago).ok().and_then(|ago| cells.checked_sub(ago + 1)) {
                Some(at) => out[at] += u64::from(*n),
                None => break,
            }
        }
        out
    }
}

/// All categories that occurred: those that hurt first, then in the contract's order.
#[must_use]
pub fn rows(model: &Model) -> Vec<ErrorRow> {
    let mut rows: Vec<ErrorRow> = model.errors.by_category.iter().map(|(c, t)| row(*c, t, model)).collect();
    rows.sort_by_key(|r| (r.light, r.id));
    rows
}

fn row(category: Category, tally: &Tally, model: &Model) -> ErrorRow {
    let now = model.now;
    let last = tally.last();
    ErrorRow {
        id: category as u64,
        name: category.word(),
        light: light(category, tally),
        total: tally.total,
        per_minute: tally.per_minute(now, model.since),
        last: tally.latest.map(|t| now.since(t)),
        first: tally.first,
        by_level: tally.by_level.clone(),
        past: Series::of(tally.buckets.recent(), now),
        words: last.map_or_else(String::new, words),
        peer: last.and_then(|e| e.peer().map(str::to_owned)),
        splits: Arc::clone(&tally.splits),
        backend_lines: Vec::new(),
    }
}

/// The access-log lines that belong to the connections of these error-log lines.
#[must_use]
pub fn ended(model: &Model, lines: &[Arc<Kept>]) -> Vec<AccessEntry> {
    let connections: HashSet<u64> = lines.iter().filter_map(|l| l.entry.connection).collect();
    let sessions = model.sessions.recent.iter();
    let refused = model.sessions.refused.values().map(|r| &r.entry);
    let known = |e: &&AccessEntry| e.connection.is_some_and(|c| connections.contains(&c));
    sessions.chain(refused).filter(known).cloned().collect()
}

/// What clients do to themselves stays quiet; so does what nginx itself thinks minor.
pub(super) fn light(category: Category, tally: &Tally) -> Light {
    let quiet = matches!(
        category,
        Category::ClientClosed | Category::ClientProtocol | Category::RoutingStatic | Category::LifecycleConfig
    );
    match tally.last().map(|e| e.level) {
        Some(level) if level <= Level::Crit && !quiet => Light::Bad,
        _ if tally.severe > 0 && !quiet => Light::Warn,
        _ => Light::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparkline_loses_nothing_in_its_span_and_stands_still() {
        let mut series = Series { counts: vec![0; CELLS], newest: 1_000 };
        series.counts[359] = 2;
        series.counts[350] = 3;
        series.counts[340] = 4;
        for (span, cells) in [(30, 30), (30, 15), (30, 10), (360, 30), (360, 10)] {
            assert_eq!(series.cells(span, cells).iter().sum::<u64>(), 9, "{span} in {cells}");
        }
        let before = series.cells(360, 30);
        // One bucket later, within the same column, nothing has moved.
        series.counts.remove(0);
        series.counts.push(0);
        series.newest += 1;
        assert_eq!(series.cells(360, 30), before);
        assert!(series.cells(30, 0).is_empty());
    }
}
