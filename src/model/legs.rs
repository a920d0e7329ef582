//! One row of the socket table, with what was learnt by watching it.

use std::time::Duration;

use crate::event::socket::SocketRow;
use crate::time::Timestamp;

/// A row of the socket table with what was learnt by watching it.
#[derive(Clone, Debug)]
pub struct Leg {
    /// The row as last read.
    pub row: SocketRow,
    /// The moment of that reading.
    pub seen: Timestamp,
    /// When it was first seen.
    pub first: Timestamp,
    /// It was there when watching began: its age is at least `now - first`.
    pub older_than_us: bool,
    /// Bytes a second received, over the latest interval with a change.
    pub rate_in: f64,
    /// Bytes a second sent and acknowledged, over the latest interval with a change.
    pub rate_out: f64,
    /// The silence that the latest traffic ended.
    pub beat: Option<Beat>,
}

/// A silence between two exchanges, and how steady it is: heartbeats keep a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    /// How long nothing was said.
    pub silence: Duration,
    /// How many times in a row it was about as long.
    pub times: u32,
}

/// What comes within this time belongs to the same exchange.
const EXCHANGE: Duration = Duration::from_secs(1);

impl Beat {
    /// The beat after a silence, given the one before.
    fn after(silence: Duration, before: Option<Self>) -> Self {
        let alike = |b: &Self| b.silence.abs_diff(silence) <= EXCHANGE.max(silence / 10);
        let times = before.filter(alike).map_or(1, |b| b.times.saturating_add(1));
        Self { silence, times }
    }
}

impl Leg {
    /// Silence on this leg in both directions; `None` when the kernel did not tell.
    #[must_use]
    pub fn idle(&self, now: Timestamp) -> Option<Duration> {
        let info = self.row.info.as_ref()?;
        let ms = info.last_received_ms?.min(info.last_sent_ms?);
        Some(Duration::from_millis(u64::from(ms)) + now.since(self.seen))
    }

    /// A row seen for the first time; `older_than_us` when it was there at the first look.
    #[must_use]
    pub fn new(row: &SocketRow, at: Timestamp, older_than_us: bool) -> Self {
        Self { row: row.clone(), seen: at, first: at, older_than_us, rate_in: 0.0, rate_out: 0.0, beat: None }
    }

    /// The row changed; `since` is the time since the look before, in which its counters grew.
    pub fn renew(&mut self, row: &SocketRow, at: Timestamp, since: Option<Duration>) {
        let span = since.unwrap_or_else(|| at.since(self.seen)).as_secs_f64();
        let grown = |new: Option<u64>, old: Option<u64>| new.zip(old).map(|(n, o)| n.saturating_sub(o));
        if span > 0.0
            && let (Some(new), Some(old)) = (row.info.as_ref(), self.row.info.as_ref())
        {
            self.rate_in = grown(new.bytes_received, old.bytes_received).unwrap_or(0) as f64 / span;
            self.rate_out = grown(new.bytes_acked, old.bytes_acked).unwrap_or(0) as f64 / span;
        }
        let spoke = self.spoke();
        self.row = row.clone();
        self.seen = at;
        if let (Some(before), Some(now)) = (spoke, self.spoke())
            && now.since(before) > EXCHANGE
        {
            self.beat = Some(Beat::after(now.since(before), self.beat));
        }
    }

    /// The moment of the latest traffic in either direction, as of the latest look.
    fn spoke(&self) -> Option<Timestamp> {
        Some(self.seen.minus(self.idle(self.seen)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::socket::{TcpInfo, TcpState};

    fn row(silent_ms: u32) -> SocketRow {
        let info = TcpInfo { last_sent_ms: Some(silent_ms), last_received_ms: Some(silent_ms), ..TcpInfo::default() };
        let ends = (([127, 0, 0, 1], 40_000).into(), ([127, 0, 0, 1], 9_001).into());
        SocketRow { info: Some(info), ..SocketRow::new(1, ends.0, ends.1, TcpState::Established) }
    }

    #[test]
    fn a_heartbeat_shows_as_a_steady_silence() {
        let at = |s| Timestamp::from_secs(s);
        let mut leg = Leg::new(&row(300), at(100), false);
        let mut beats = Vec::new();
        // A ping and its pong at 155, 210 and 266 s, and talk at 270 s.
        for (look, silent) in [(156, 1_000), (211, 800), (266, 0), (271, 1_000)] {
            leg.renew(&row(silent), at(look), None);
            beats.push(leg.beat.map(|b| (b.silence.as_secs(), b.times)));
        }
        assert_eq!(beats, [Some((55, 1)), Some((55, 2)), Some((55, 3)), Some((4, 1))]);
        leg.renew(&row(500), at(271), None);
        assert_eq!(leg.beat.map(|b| b.times), Some(1), "the same exchange");
    }
}
