//! What the access logs tell afterwards: ended tunnels with their lifetimes, and handshakes that were refused.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::event::log::{AccessBatch, AccessEntry};
use crate::time::Timestamp;

use super::place::Places;
use super::stats::{Buckets, keep_newest, new_histogram};

/// Ended tunnels kept with all their fields.
const KEPT: usize = 256;
/// Different (path, status) pairs of refused handshakes that are counted apart; clients choose paths.
const REFUSALS: usize = 64;
/// Lifetimes are kept from one millisecond to ten days, to two digits.
const LONGEST_MS: u64 = 864_000_000;

/// What the access logs said so far.
#[derive(Clone, Debug)]
pub struct Sessions {
    /// Lines with status 101.
    pub ended: u64,
    /// Lifetimes in milliseconds, of the sessions whose line tells it.
    pub lifetimes: Histogram<u64>,
    /// Deaths over the last half hour.
    pub deaths: Buckets,
    /// The newest, oldest first.
    pub recent: VecDeque<AccessEntry>,
    /// Handshakes that ended with another status than 101.
    pub refused: BTreeMap<(String, u16), Refused>,
    /// Refusals that found no room in `refused`.
    pub refused_uncounted: u64,
    /// Whole lines read.
    pub lines: u64,
    /// Lines that fit no format.
    pub unparsed: u64,
}

/// One (path, status) of refused handshakes.
#[derive(Clone, Debug)]
pub struct Refused {
    /// How often.
    pub count: u64,
    /// When last.
    pub last: Timestamp,
    /// The line of that last time.
    pub entry: AccessEntry,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            ended: 0,
            lifetimes: new_histogram(LONGEST_MS),
            deaths: Buckets::default(),
            recent: VecDeque::new(),
            refused: BTreeMap::new(),
            refused_uncounted: 0,
            lines: 0,
            unparsed: 0,
        }
    }
}

impl Sessions {
    /// Folds a batch in.
    pub fn apply(&mut self, batch: &AccessBatch, places: &Places) {
        self.lines += batch.read.lines;
        self.unparsed += batch.read.unparsed;
        for entry in &batch.entries {
            if entry.is_session() {
                self.end(entry);
            } else if is_handshake(entry, places) {
                self.refuse(entry);
            }
        }
    }

    fn end(&mut self, entry: &AccessEntry) {
        self.ended += 1;
        self.deaths.add(entry.at, 1);
        if let Some(life) = entry.request_time {
            let ms = u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
            self.lifetimes.saturating_record(ms.max(1));
        }
        keep_newest(&mut self.recent, entry, KEPT, |e| e.at);
    }

    fn refuse(&mut self, entry: &AccessEntry) {
        let key = (entry.path().unwrap_or("?").to_owned(), entry.status);
        if let Some(known) = self.refused.get_mut(&key) {
            known.count += 1;
            if entry.at >= known.last {
                known.last = entry.at;
                known.entry = entry.clone();
            }
        } else if self.refused.len() < REFUSALS {
            self.refused.insert(key, Refused { count: 1, last: entry.at, entry: entry.clone() });
        } else {
            self.refused_uncounted += 1;
        }
    }

    /// The lifetime below which `quantile` (0 to 1) of the sessions ended; `None` when no line told a lifetime.
    #[must_use]
    pub fn lifetime(&self, quantile: f64) -> Option<Duration> {
        (!self.lifetimes.is_empty()).then(|| Duration::from_millis(self.lifetimes.value_at_quantile(quantile)))
    }
}

/// The client asked for a WebSocket: the line says so, or the path leads to a location that is meant for them.
fn is_handshake(entry: &AccessEntry, places: &Places) -> bool {
    match entry.upgrade.as_deref() {
        Some(u) => u.eq_ignore_ascii_case("websocket"),
        None => entry.path().is_some_and(|p| places.is_websocket_path(p)),
    }
}
