//! What backends' own logs said of handshakes: how often each known message came, and its last lines.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::event::backend::{BackendBatch, BackendEntry};
use crate::time::Timestamp;

use super::stats::Buckets;

/// Messages counted apart: the known ones are fewer, but a recording may hold anything.
const MESSAGES: usize = 128;
/// Lines kept of each.
const KEPT: usize = 32;

/// What backend logs said so far.
#[derive(Clone, Debug, Default)]
pub struct Backend {
    /// Whole lines read.
    pub lines: u64,
    /// Lines with a known message.
    pub entries: u64,
    /// By library and words.
    pub by_message: BTreeMap<(String, String), Messages>,
    /// Entries that found no room in `by_message`.
    pub uncounted: u64,
}

/// One known message.
#[derive(Clone, Debug, Default)]
pub struct Messages {
    /// How often it came.
    pub total: u64,
    /// Over the last half hour, those whose time is known.
    pub buckets: Buckets,
    /// The newest lines, oldest first.
    pub recent: VecDeque<BackendEntry>,
}

impl Messages {
    /// The newest line.
    #[must_use]
    pub fn last(&self) -> Option<&BackendEntry> {
        self.recent.back()
    }

    /// A minute, over the last five minutes.
    #[must_use]
    pub fn per_minute(&self, now: Timestamp) -> f64 {
        self.buckets.within(now, Duration::from_secs(300)) as f64 / 5.0
    }
}

impl Backend {
    /// Folds a batch in.
    pub fn apply(&mut self, batch: &BackendBatch) {
        self.lines += batch.lines;
        self.entries += batch.entries.len() as u64;
        for entry in &batch.entries {
            let key = (entry.library.clone(), entry.words.clone());
            if !self.by_message.contains_key(&key) && self.by_message.len() >= MESSAGES {
                self.uncounted += 1;
                continue;
            }
            let messages = self.by_message.entry(key).or_default();
            messages.total += 1;
            if let Some(at) = entry.at {
                messages.buckets.add(at, 1);
            }
            if messages.recent.len() == KEPT {
                messages.recent.pop_front();
            }
            messages.recent.push_back(entry.clone());
        }
    }

    /// Every kept line.
    pub fn recent(&self) -> impl Iterator<Item = &BackendEntry> {
        self.by_message.values().flat_map(|m| &m.recent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::backend::Fault;

    #[test]
    fn messages_are_counted_and_bounded() {
        let entry = |words: usize| BackendEntry {
            at: (words > 0).then(|| Timestamp::from_secs(1_000)),
            library: "ws".into(),
            fault: Fault::Upgrade,
            status: Some(400),
            words: words.to_string(),
            raw: String::new(),
        };
        let mut b = Backend::default();
        b.apply(&BackendBatch { entries: vec![entry(0); 100], lines: 1_000, ..BackendBatch::default() });
        let one = b.by_message.values().next().expect("counted");
        assert_eq!((b.lines, b.entries, one.total, one.recent.len()), (1_000, 100, 100, KEPT));
        assert!(one.per_minute(Timestamp::from_secs(1_000)).abs() < f64::EPSILON, "their time is not known");
        b.apply(&BackendBatch { entries: (0..1_000).map(entry).collect(), ..BackendBatch::default() });
        assert_eq!(b.by_message.len(), MESSAGES);
        let counted: u64 = b.by_message.values().map(|m| m.total).sum();
        assert_eq!(counted + b.uncounted, b.entries);
    }
}
