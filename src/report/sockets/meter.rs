//! Byte counters from the beginning of a span of time, so that rates can be told over the whole of it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::event::socket::{SocketDelta, TcpInfo};
use crate::model::legs::Leg;
use crate::time::Timestamp;

/// Where every connection's counters stood when the span began, or when it was first seen in it.
#[derive(Clone, Debug)]
pub struct Meter {
    /// The time between two looks at the tables.
    interval: Duration,
    begun: HashMap<u64, (Timestamp, Counters)>,
}

/// Payload bytes received, and sent and acknowledged.
type Counters = (u64, u64);

fn counters(info: Option<TcpInfo>) -> Option<Counters> {
    let info = info?;
    Some((info.bytes_received?, info.bytes_acked?))
}

impl Meter {
    /// A span that begins now, with looks every `interval`.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self { interval, begun: HashMap::new() }
    }

    /// Takes in what a look at the tables brought.
    pub fn apply(&mut self, at: Timestamp, delta: &SocketDelta) {
        if delta.full {
            let still: HashSet<u64> = delta.rows.iter().map(|r| r.cookie).collect();
            self.begun.retain(|cookie, _| still.contains(cookie));
        }
        for cookie in &delta.closed {
            self.begun.remove(cookie);
        }
        for row in &delta.rows {
            if let Some(now) = counters(row.info) {
                let begun = self.begun.entry(row.cookie).or_insert((at, now));
                // Counters only grow: a number that stands in for a cookie came again with another connection.
                if now.0 < begun.1.0 || now.1 < begun.1.1 {
                    *begun = (at, now);
                }
            }
        }
    }

    /// The next span begins with these legs.
    pub fn restart<'a>(&mut self, legs: impl Iterator<Item = &'a Leg>, now: Timestamp) {
        for leg in legs {
            if let Some(counters) = counters(leg.row.info) {
                self.begun.insert(leg.row.cookie, (self.known_until(leg, now), counters));
            }
        }
    }

    /// Bytes a second received and sent in the span; `None` before the second look, and where the kernel counts none.
    pub(super) fn rates(&self, leg: &Leg, now: Timestamp) -> Option<(f64, f64)> {
        let (begun, before) = self.begun.get(&leg.row.cookie)?;
        let counters = counters(leg.row.info)?;
        let span = self.known_until(leg, now).since(*begun).as_secs_f64();
        let grown = |now: u64, before: u64| now.saturating_sub(before) as f64 / span;
        (span > 0.0).then(|| (grown(counters.0, before.0), grown(counters.1, before.1)))
    }

    /// Up to when the leg's counters are known: the source tells a row only when it changed, so that one that it has not
    /// told for longer than the time between two looks is the same now.
    fn known_until(&self, leg: &Leg, now: Timestamp) -> Timestamp {
        if now.since(leg.seen) > self.interval * 2 { now } else { leg.seen }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::socket::{SocketRow, SocketSource, TcpState};

    fn row(received: u64, acked: u64) -> SocketRow {
        let info = TcpInfo { bytes_received: Some(received), bytes_acked: Some(acked), ..TcpInfo::default() };
        SocketRow {
            info: Some(info),
            ..SocketRow::new(1, ([127, 0, 0, 1], 80).into(), ([127, 0, 0, 1], 81).into(), TcpState::Established)
        }
    }

    fn delta(row: SocketRow) -> SocketDelta {
        SocketDelta { source: SocketSource::Netlink, rows: vec![row], ..SocketDelta::default() }
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_secs(100).plus(Duration::from_millis(ms))
    }

    #[test]
    fn a_rate_is_what_grew_in_the_span_and_unknown_after_one_look() {
        let mut meter = Meter::new(Duration::from_millis(300));
        let mut leg = Leg::new(&row(100, 50), at(0), None);
        meter.apply(at(0), &delta(row(100, 50)));
        assert_eq!(meter.rates(&leg, at(200)), None, "one look");
        assert_eq!(meter.rates(&leg, at(1_000)), Some((0.0, 0.0)), "several looks and no word of a change");
        leg.renew(&row(700, 50), at(600), None);
        meter.apply(at(600), &delta(row(700, 50)));
        assert_eq!(meter.rates(&leg, at(700)), Some((1_000.0, 0.0)), "up to the look that told it");
        assert_eq!(meter.rates(&leg, at(1_500)), Some((400.0, 0.0)), "and the silence after it");
        meter.restart([&leg].into_iter(), at(1_500));
        assert_eq!(meter.rates(&leg, at(2_500)), Some((0.0, 0.0)));
        meter.apply(at(3_000), &SocketDelta { closed: vec![1], rows: Vec::new(), ..delta(row(0, 0)) });
        assert_eq!(meter.rates(&leg, at(4_000)), None);
    }
}
