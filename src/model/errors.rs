//! Error-log entries by category: how many, how fast, since when, and the last of them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::event::log::{Category, ErrorBatch, ErrorEntry, Level};
use crate::time::Timestamp;

use super::stats::{Buckets, keep_newest};

/// Entries kept per category.
const KEPT: usize = 64;

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
}

/// One category.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// All entries so far.
    pub total: u64,
    /// Entries at level error or above: what an operator sees at the default level.
    pub severe: u64,
    /// Over the last half hour.
    pub buckets: Buckets,
    /// The newest entries, oldest first.
    pub recent: VecDeque<ErrorEntry>,
}

impl Tally {
    /// The newest entry.
    #[must_use]
    pub fn last(&self) -> Option<&ErrorEntry> {
        self.recent.back()
    }

    /// Entries a minute, over the last five minutes.
    #[must_use]
    pub fn per_minute(&self, now: Timestamp) -> f64 {
        self.buckets.within(now, Duration::from_secs(300)) as f64 / 5.0
    }
}

impl Errors {
    /// Folds a batch in.
    pub fn apply(&mut self, batch: &ErrorBatch) {
        self.lines += batch.read.lines;
        self.continuations += batch.read.continuations;
        self.unparsed += batch.read.unparsed;
        self.overlong += batch.read.overlong;
        self.entries += batch.entries.len() as u64;
        for entry in &batch.entries {
            *self.by_level.entry(entry.level).or_default() += 1;
            let tally = self.by_category.entry(entry.category).or_default();
            tally.total += 1;
            tally.severe += u64::from(entry.level <= Level::Error);
            tally.buckets.add(entry.at, 1);
            keep_newest(&mut tally.recent, entry, KEPT, |e| e.at);
        }
    }

    /// Every kept entry, newest first.
    #[must_use]
    pub fn recent(&self) -> Vec<&ErrorEntry> {
        let mut all: Vec<&ErrorEntry> = self.by_category.values().flat_map(|t| &t.recent).collect();
        all.sort_by_key(|e| std::cmp::Reverse(e.at));
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
