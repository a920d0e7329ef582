//! Error-log entries by category: how many, how fast, since when, of what and whom, and the newest of them.

pub mod kept;
pub mod split;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::event::log::{Category, ErrorBatch, ErrorEntry, Level};
use crate::time::Timestamp;

use super::place::Places;
use super::stats::{Track, keep_newest};
use kept::Kept;
use split::Splits;

/// Entries kept per category, so that a loud one cannot push a quiet one out.
pub const KEPT: usize = 64;
/// The newest entries kept of all categories.
pub const NEWEST: usize = 1_000;
/// About how many bytes those may take.
const NEWEST_BYTES: usize = 8 << 20;

/// What the error logs said so far.
#[derive(Clone, Debug, Default)]
pub struct Errors {
    /// Only categories that occurred.
    pub by_category: BTreeMap<Category, Tally>,
    /// Entries by level.
    pub by_level: BTreeMap<Level, u64>,
    /// Whole lines read.
    pub lines: u64,
    /// Entries among them.
    pub entries: u64,
    /// Lines that belong to the entry before.
    pub continuations: u64,
    /// Lines that fit no grammar.
    pub unparsed: u64,
    /// Lines of which only the beginning was kept.
    pub overlong: u64,
    newest: VecDeque<Arc<Kept>>,
    newest_bytes: usize,
    next_seq: u64,
}

/// One category.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// All entries so far.
    pub total: u64,
    /// Entries at level error or above: what an operator sees at the default level.
    pub severe: u64,
    /// Entries by level.
    pub by_level: BTreeMap<Level, u64>,
    /// The time of the earliest entry.
    pub first: Option<Timestamp>,
    /// The time of the latest entry.
    pub latest: Option<Timestamp>,
    /// Over the last half hour and the last day.
    pub buckets: Track,
    /// What and whom they are about. Shared with whoever looks at it, and copied only when both go on.
    pub splits: Arc<Splits>,
    /// The newest entries, oldest first.
    pub recent: VecDeque<Arc<Kept>>,
}

impl Tally {
    /// The newest entry.
    #[must_use]
    pub fn last(&self) -> Option<&ErrorEntry> {
        self.recent.back().map(|k| &k.entry)
    }

    /// Entries a minute, over the last five minutes, or over the time since `since` where that is less; a time below one
    /// minute counts as one, so that a single line at the start is no storm.
    #[must_use]
    pub fn per_minute(&self, now: Timestamp, since: Option<Timestamp>) -> f64 {
        let watched = since.map_or(0, |s| now.since(s).as_secs()).clamp(60, 300);
        self.buckets.within(now, Duration::from_secs(watched)) as f64 * 60.0 / watched as f64
    }

    fn add(&mut self, kept: &Arc<Kept>) {
        let (at, level) = (kept.entry.at, kept.entry.level);
        self.total += 1;
        self.severe += u64::from(level <= Level::Error);
        *self.by_level.entry(level).or_default() += 1;
        self.first = Some(self.first.map_or(at, |t| t.min(at)));
        self.latest = Some(self.latest.map_or(at, |t| t.max(at)));
        self.buckets.add(at, 1);
        Arc::make_mut(&mut self.splits).add(kept);
        keep_newest(&mut self.recent, kept, KEPT, |k| k.entry.at);
    }
}

impl Errors {
    /// Folds a batch in.
    pub fn apply(&mut self, batch: &ErrorBatch, places: &Places) {
        self.lines += batch.read.lines;
        self.continuations += batch.read.continuations;
        self.unparsed += batch.read.unparsed;
        self.overlong += batch.read.overlong;
        self.entries += batch.entries.len() as u64;
        for entry in &batch.entries {
            *self.by_level.entry(entry.level).or_default() += 1;
            let location = entry.path().and_then(|p| places.websocket_location(p));
            let kept = Arc::new(Kept::new(self.next_seq, entry, location));
            self.next_seq += 1;
            self.by_category.entry(entry.category).or_default().add(&kept);
            self.keep(kept);
        }
    }

    fn keep(&mut self, kept: Arc<Kept>) {
        self.newest_bytes += kept.weight();
        // As in keep_newest, but bounded by weight too.
        let place = self.newest.partition_point(|old| old.entry.at <= kept.entry.at);
        self.newest.insert(place, kept);
        while self.newest.len() > NEWEST || self.newest_bytes > NEWEST_BYTES {
            let Some(old) = self.newest.pop_front() else { break };
            self.newest_bytes = self.newest_bytes.saturating_sub(old.weight());
        }
    }

    /// Everything is counted anew. Entries that come from now on are still told from those that were there before.
    pub fn reset(&mut self) {
        *self = Self { next_seq: self.next_seq, ..Self::default() };
    }

    /// Every kept entry in order of time, and of arrival where times are equal: the newest of all categories, and the
    /// newest of each.
    #[must_use]
    pub fn kept(&self) -> Vec<Arc<Kept>> {
        let of_categories = self.by_category.values().flat_map(|t| &t.recent);
        let mut all: Vec<Arc<Kept>> = of_categories.chain(&self.newest).map(Arc::clone).collect();
        all.sort_by_key(|k| (k.entry.at, k.seq));
        all.dedup_by_key(|k| k.seq);
        all
    }

    /// Entries of all categories over the last `cells` spans.
    #[must_use]
    pub fn series(&self, now: Timestamp, cells: usize, span: Duration) -> Vec<u64> {
        let mut sum = vec![0; cells];
        for t in self.by_category.values() {
            for (s, n) in sum.iter_mut().zip(t.buckets.series(now, cells, span)) {
                *s += n;
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests;
