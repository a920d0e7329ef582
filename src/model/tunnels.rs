//! A tunnel as a face shows it: both legs, how sure that is, where it belongs, how it does, and how it ended.

use std::net::SocketAddr;
use std::time::Duration;

use crate::event::probe::TargetId;
use crate::event::socket::TcpState;
use crate::time::Timestamp;

use super::deadline::{Deadline, silence};
use super::legs::{CELLS, Leg, Side, Trouble};

pub use super::pairing::Confidence;

/// One tunnel, or one backend connection without a known client.
#[derive(Clone, Debug)]
pub struct Tunnel<'a> {
    /// Stable while it lives: the client leg's cookie, or the upstream leg's.
    pub id: u64,
    /// The leg to the client.
    pub client: Option<&'a Leg>,
    /// The leg to the backend.
    pub upstream: Option<&'a Leg>,
    /// How sure it is that the two belong together.
    pub pair: Confidence,
    /// Its state.
    pub state: TunnelState,
    /// The location's path, when ports and addresses leave only one.
    pub location: Option<&'a str>,
    /// When nginx cuts it if it stays silent; `None` when that is unknown or no timer runs.
    pub deadline: Option<Deadline>,
    /// `deadline.least`: time left at least.
    pub time_left: Option<Duration>,
    /// The timeout that `time_left` runs down from.
    pub read_timeout: Option<Duration>,
    /// The probe that holds it, when it is one of ours.
    pub probe: Option<&'a TargetId>,
}

impl Tunnel<'_> {
    /// The nginx process that holds it.
    #[must_use]
    pub fn worker(&self) -> Option<u32> {
        self.client.and_then(|l| l.row.pid).or_else(|| self.upstream.and_then(|l| l.row.pid))
    }

    /// The client's address.
    #[must_use]
    pub fn client_addr(&self) -> Option<SocketAddr> {
        self.client.map(|l| l.row.peer)
    }

    /// The backend's address.
    #[must_use]
    pub fn upstream_addr(&self) -> Option<SocketAddr> {
        self.upstream.map(|l| l.row.peer)
    }

    /// For how long it is open, and whether that is only a lower bound. The upstream leg tells it, because a client connection
    /// may have served other requests before.
    #[must_use]
    pub fn age(&self, now: Timestamp) -> Option<(Duration, bool)> {
        let leg = self.upstream.or(self.client)?;
        Some((now.since(leg.first), leg.older_than_us))
    }

    /// Silence in both directions, as nginx counts it.
    #[must_use]
    pub fn idle(&self, now: Timestamp) -> Option<Duration> {
        match (self.client, self.upstream) {
            (client, Some(upstream)) => silence(client.filter(|_| self.pair >= Confidence::Likely), upstream, now),
            (client, None) => client?.idle(now),
        }
    }

    /// Silence of the client, on its own leg where that is known.
    #[must_use]
    pub fn idle_from_client(&self, now: Timestamp) -> Option<Duration> {
        self.client.map_or_else(|| self.upstream?.idle_out(now), |l| l.idle_in(now))
    }

    /// Silence of the backend.
    #[must_use]
    pub fn idle_from_backend(&self, now: Timestamp) -> Option<Duration> {
        self.upstream.map_or_else(|| self.client?.idle_out(now), |l| l.idle_in(now))
    }

    /// Bytes a second to the client and from the client; on the client leg where it is known, else on the upstream leg.
    #[must_use]
    pub fn rates(&self, now: Timestamp) -> Option<(f64, f64)> {
        let client = self.client.and_then(|l| l.rates(now)).map(|(read, written)| (written, read));
        client.or_else(|| self.upstream?.rates(now))
    }

    /// Bytes to the client and from the client so far, the handshake and anything before it on the same connection included.
    #[must_use]
    pub fn bytes(&self) -> Option<(u64, u64)> {
        let client = self.client.and_then(Leg::bytes).map(|(received, acked)| (acked, received));
        client.or_else(|| self.upstream?.bytes())
    }

    /// Bytes to the client and from the client in cells of [`super::legs::CELL_S`] seconds over the last minute, oldest first.
    #[must_use]
    pub fn recent(&self, now: Timestamp) -> Option<[(u32, u32); CELLS]> {
        match (self.client, self.upstream) {
            (Some(client), _) if client.passed().is_some() => Some(client.recent.series(now).map(|(r, w)| (w, r))),
            (_, Some(upstream)) if upstream.passed().is_some() => Some(upstream.recent.series(now)),
            _ => None,
        }
    }

    /// Smoothed round-trip time to the client.
    #[must_use]
    pub fn client_rtt(&self) -> Option<Duration> {
        self.client?.rtt().map(|(rtt, _)| rtt)
    }

    /// Retransmitted segments on both legs.
    #[must_use]
    pub fn retransmits(&self) -> Option<u32> {
        match (self.client.and_then(Leg::retransmits), self.upstream.and_then(Leg::retransmits)) {
            (None, None) => None,
            (a, b) => Some(a.unwrap_or(0).saturating_add(b.unwrap_or(0))),
        }
    }

    /// What is odd about it, and on which leg; the worst first.
    #[must_use]
    pub fn trouble(&self, now: Timestamp) -> Option<(Side, Trouble)> {
        let of = |leg: Option<&Leg>, side| leg.and_then(|l| l.trouble(now)).map(|t| (side, t));
        let both = of(self.client, Side::Client).into_iter().chain(of(self.upstream, Side::Upstream));
        both.min_by_key(|(_, t)| *t)
    }

    /// Its state at `now`; `draining` tells which workers are shutting down.
    #[must_use]
    pub fn state_at(&self, now: Timestamp, draining: &dyn Fn(u32) -> bool) -> TunnelState {
        let legs = || [self.client, self.upstream].into_iter().flatten();
        if self.trouble(now).is_some() {
            TunnelState::Stuck
        } else if legs().any(|l| l.row.state != TcpState::Established) {
            TunnelState::Closing
        } else if self.worker().is_some_and(draining) {
            TunnelState::Draining
        } else if self.client.is_none() {
            TunnelState::Unpaired
        } else {
            TunnelState::Open
        }
    }
}

/// What a tunnel is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TunnelState {
    /// One side has closed and nginx holds on, or data waits unanswered: [`Tunnel::trouble`] says which.
    Stuck,
    /// Being opened or closed.
    Closing,
    /// Held by a worker that is shutting down.
    Draining,
    /// Established on both sides.
    Open,
    /// A backend connection whose client leg is not known.
    Unpaired,
}

impl TunnelState {
    /// One word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Stuck => "stuck",
            Self::Closing => "closing",
            Self::Draining => "drain",
            Self::Open => "open",
            Self::Unpaired => "alone",
        }
    }
}

/// How a tunnel ended, as far as two looks at the socket table show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The client closed first.
    Client,
    /// The backend closed first.
    Backend,
    /// It was gone when `proxy_read_timeout` had run out.
    Timeout,
    /// Its worker ended: a reload's last grace, a restart or a crash.
    Worker,
    /// A peer had stopped answering.
    Lost(Side),
    /// It was gone between two looks.
    Unknown,
}

impl End {
    /// A few words.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Client => "client closed",
            Self::Backend => "backend closed",
            Self::Timeout => "idle timeout",
            Self::Worker => "worker ended",
            Self::Lost(Side::Client) => "client lost",
            Self::Lost(Side::Upstream) => "backend lost",
            Self::Unknown => "ended",
        }
    }

    /// Read off the last rows of both legs. `ran_out` says that a timer of nginx was due, `worker_gone` that the process has
    /// ended.
    #[must_use]
    pub fn of(client: Option<&Leg>, upstream: &Leg, ran_out: bool, worker_gone: bool, now: Timestamp) -> Self {
        // Whoever closes second passes through CLOSE-WAIT and LAST-ACK (RFC 9293 section 3.6); nginx is second to one side only.
        let peer_closed = |l: &Leg| matches!(l.row.state, TcpState::CloseWait | TcpState::LastAck);
        let silent = |l: &Leg| l.trouble(now) == Some(Trouble::HalfOpen);
        let silent_client = client.is_some_and(silent);
        match (client.is_some_and(peer_closed), peer_closed(upstream)) {
            (true, false) => Self::Client,
            (false, true) => Self::Backend,
            _ if worker_gone => Self::Worker,
            _ if silent_client => Self::Lost(Side::Client),
            _ if silent(upstream) => Self::Lost(Side::Upstream),
            _ if ran_out => Self::Timeout,
            _ => Self::Unknown,
        }
    }
}

/// A tunnel that ended.
#[derive(Clone, Debug)]
pub struct ClosedTunnel {
    /// When its leg was found gone.
    pub at: Timestamp,
    /// The client's address.
    pub client: Option<SocketAddr>,
    /// The backend's address.
    pub upstream: Option<SocketAddr>,
    /// The process that held it.
    pub worker: Option<u32>,
    /// How sure it was that the two legs belonged together.
    pub pair: Confidence,
    /// How long it was seen.
    pub age: Duration,
    /// It was there when watching began: it was older.
    pub age_is_lower_bound: bool,
    /// Silence before the end, when known.
    pub idle: Option<Duration>,
    /// How it ended.
    pub how: End,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::socket::{SocketRow, TcpInfo};

    fn leg(state: TcpState, backoff: u8) -> Leg {
        let info = TcpInfo { backoff: Some(backoff), unacked: Some(1), ..TcpInfo::default() };
        let ends = (([127, 0, 0, 1], 80).into(), ([127, 0, 0, 1], 81).into());
        let row = SocketRow { inode: 1, info: Some(info), ..SocketRow::new(1, ends.0, ends.1, state) };
        Leg::new(&row, Timestamp::from_secs(1), Some(Duration::ZERO))
    }

    #[test]
    fn the_side_that_closed_first_is_read_off_the_states() {
        use TcpState::{CloseWait, Established, FinWait2, LastAck};
        let end =
            |client, upstream| End::of(Some(&leg(client, 0)), &leg(upstream, 0), false, false, Timestamp::from_secs(1));
        assert_eq!(end(LastAck, FinWait2), End::Client);
        assert_eq!(end(CloseWait, Established), End::Client);
        assert_eq!(end(FinWait2, LastAck), End::Backend);
        assert_eq!(end(Established, Established), End::Unknown);
        let now = Timestamp::from_secs(2);
        let (well, lost) = (leg(Established, 0), leg(Established, 9));
        assert_eq!(End::of(Some(&well), &well, true, false, now), End::Timeout);
        assert_eq!(End::of(Some(&well), &well, true, true, now), End::Worker);
        assert_eq!(End::of(Some(&lost), &well, true, false, now), End::Lost(Side::Client));
    }
}
