//! What the access logs tell afterwards: ended tunnels with their lifetimes, and handshakes that were refused.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::event::log::{AccessBatch, AccessEntry};
use crate::event::tally::bursts::{Burst, Ends, bursts};
use crate::time::Timestamp;

use super::place::Places;
use super::stats::{Track, keep_newest, new_histogram};

/// Ended tunnels kept with all their fields.
const KEPT: usize = 256;
/// Different (path, status) pairs of refused handshakes that are counted apart; clients choose paths.
const REFUSALS: usize = 64;
/// Seconds whose ends are kept.
const REMEMBERED: i64 = 1_800;
/// How far around a second is looked to see what is usual.
const AROUND: i64 = 120;
/// How far a log that is read for the first time reaches back at least.
const LOOKED_BACK: Duration = Duration::from_secs(60);
/// Lifetimes are kept from one millisecond to ten days, to two digits.
const LONGEST_MS: u64 = 864_000_000;

/// What the access logs said so far.
#[derive(Clone, Debug)]
pub struct Sessions {
    /// Lines with status 101.
    pub ended: u64,
    /// Lifetimes in milliseconds, of the sessions whose line tells it.
    pub lifetimes: Histogram<u64>,
    /// Deaths over the last half hour and the last day.
    pub deaths: Track,
    /// The same by the second.
    seconds: BTreeMap<i64, u64>,
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
            deaths: Track::default(),
            seconds: BTreeMap::new(),
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
        self.end_second(entry.at.secs());
        if let Some(life) = entry.lifetime() {
            let ms = u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
            self.lifetimes.saturating_record(ms.max(1));
        }
        keep_newest(&mut self.recent, entry, KEPT, |e| e.at);
    }

    fn end_second(&mut self, second: i64) {
        *self.seconds.entry(second).or_default() += 1;
        let newest = self.seconds.last_key_value().map_or(second, |(s, _)| *s);
        while let Some(oldest) = self.seconds.first_entry().filter(|s| newest - s.key() >= REMEMBERED) {
            oldest.remove();
        }
    }

    /// Seconds of the last half hour in which far more sessions ended than around them. `since`: when watching began.
    #[must_use]
    pub fn bursts(&self, since: Timestamp, now: Timestamp) -> Vec<Burst> {
        let seconds: Vec<(i64, u64)> = self.seconds.iter().map(|(s, n)| (*s, *n)).collect();
        let Some((first, _)) = seconds.first() else { return Vec::new() };
        // What a log held when it was first read spans at least so long.
        let from = since.minus(LOOKED_BACK).secs().min(*first).max(now.secs() - REMEMBERED);
        let span = (from, now.secs().max(from));
        let around = |second: i64| {
            let (low, high) = ((second - AROUND).max(span.0), (second + AROUND).min(span.1));
            let sum = if low <= high { self.seconds.range(low..=high).map(|(_, n)| n).sum() } else { 0 };
            (sum, (high - low + 1).max(0).unsigned_abs())
        };
        bursts(&Ends { seconds: &seconds, span, around: &around })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(seconds: impl IntoIterator<Item = i64>) -> Sessions {
        let mut all = Sessions::default();
        seconds.into_iter().for_each(|s| all.end_second(s));
        all
    }

    #[test]
    fn the_last_half_hour_is_remembered_by_the_second_and_no_more() {
        let mut all = ended(0..10_000);
        assert_eq!(all.seconds.len(), 1_800);
        all.end_second(5);
        assert_eq!(all.seconds.first_key_value(), Some((&8_200, &1)), "older than the half hour");
    }

    #[test]
    fn tunnels_that_end_together_stand_out_from_those_that_end_one_by_one() {
        let (since, now) = (Timestamp::from_secs(900), Timestamp::from_secs(1_500));
        let calm = (900..1_500).step_by(3);
        assert_eq!(ended(calm.clone()).bursts(since, now), []);
        let found = ended(calm.chain([1_200; 30])).bursts(since, now);
        assert!(matches!(found[..], [b] if (b.at.secs(), b.ended) == (1_200, 31)), "{found:?}");
        let first_look = ended([1_499; 8]).bursts(now, now);
        assert!(matches!(first_look[..], [b] if b.ended == 8), "{first_look:?}");
    }
}
