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
        Self { row: row.clone(), seen: at, first: at, older_than_us, rate_in: 0.0, rate_out: 0.0 }
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
        self.row = row.clone();
        self.seen = at;
    }
}
