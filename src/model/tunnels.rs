//! A tunnel as a face shows it: both legs, how sure that is, where it belongs, how it does, and how it ended.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::event::probe::TargetId;
use crate::event::socket::{TcpState, UnixState};
use crate::time::Timestamp;

use super::deadline::{Deadline, silence};
use super::legs::{CELLS, Leg, Side, Trouble};
use super::unix::UnixLeg;

pub use super::pairing::Confidence;

/// Where a backend is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Upstream {
    /// Over TCP.
    Tcp(SocketAddr),
    /// By a unix socket: its path, as the configuration names it.
    Unix(Arc<str>),
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

/// The leg to the backend, of either kind.
#[derive(Clone, Copy, Debug)]
pub enum Far<'a> {
    /// Over TCP.
    Tcp(&'a Leg),
    /// By a unix socket.
    Unix(&'a UnixLeg),
}

impl<'a> Far<'a> {
    /// Where it leads.
    #[must_use]
    pub fn upstream(self) -> Upstream {
        match self {
            Self::Tcp(leg) => Upstream::Tcp(leg.row.peer),
            Self::Unix(leg) => Upstream::Unix(Arc::clone(&leg.row.path)),
        }
    }

    /// The process that holds it.
    #[must_use]
    pub fn pid(self) -> Option<u32> {
        match self {
            Self::Tcp(leg) => leg.row.pid,
            Self::Unix(leg) => leg.row.pid,
        }
    }

    /// For how long it is open, and whether that is only a lower bound.
    #[must_use]
    pub fn age(self, now: Timestamp) -> (Duration, bool) {
        match self {
            Self::Tcp(leg) => (now.since(leg.first), leg.older_than_us),
            Self::Unix(leg) => (now.since(leg.first), leg.older_than_us()),
        }
    }

    /// Silence of the tunnel as nginx counts it; a unix leg tells nothing, and the `client` leg speaks for both.
    #[must_use]
    pub fn silence(self, client: Option<&Leg>, now: Timestamp) -> Option<Duration> {
        match self {
            Self::Tcp(leg) => silence(client, leg, now),
            Self::Unix(_) => client?.idle(now),
        }
    }

    /// What is odd about it.
    #[must_use]
    pub fn trouble(self, now: Timestamp) -> Option<Trouble> {
        match self {
            Self::Tcp(leg) => leg.trouble(now),
            Self::Unix(leg) => leg.trouble(now),
        }
    }

    /// Its state in a word.
    #[must_use]
    pub fn state(self) -> &'static str {
        match self {
            Self::Tcp(leg) => leg.row.state.word(),
            Self::Unix(leg) => leg.state(),
        }
    }

    /// The backend has closed it, and nginx had not at the latest look.
    fn peer_closed(self) -> bool {
        match self {
            Self::Tcp(leg) => closed_by_peer(leg),
            Self::Unix(leg) => leg.row.state == UnixState::PeerClosed,
        }
    }

    fn is_established(self) -> bool {
        match self {
            Self::Tcp(leg) => leg.row.state == TcpState::Established,
            Self::Unix(leg) => leg.row.state == UnixState::Open,
        }
    }

    const fn tcp(self) -> Option<&'a Leg> {
        match self {
            Self::Tcp(leg) => Some(leg),
            Self::Unix(_) => None,
        }
    }
}

/// Whoever closes second passes through CLOSE-WAIT and LAST-ACK (RFC 9293 section 3.6); nginx is second to one side only.
fn closed_by_peer(leg: &Leg) -> bool {
    matches!(leg.row.state, TcpState::CloseWait | TcpState::LastAck)
}

/// One tunnel, or one backend connection without a known client.
#[derive(Clone, Debug)]
pub struct Tunnel<'a> {
    /// Stable while it lives: the cookie of the leg to the backend.
    pub id: u64,
    /// The leg to the client.
    pub client: Option<&'a Leg>,
    /// The leg to the backend, where that is reached over TCP.
    pub upstream: Option<&'a Leg>,
    /// The leg to the backend, of either kind.
    pub far: Far<'a>,
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

impl<'a> Tunnel<'a> {
    /// A tunnel of these legs, of which no more is known.
    #[must_use]
    pub const fn of(id: u64, client: Option<&'a Leg>, far: Far<'a>, pair: Confidence) -> Self {
        Self {
            id,
            client,
            upstream: far.tcp(),
            far,
            pair,
            state: TunnelState::Open,
            location: None,
            deadline: None,
            time_left: None,
            read_timeout: None,
            probe: None,
        }
    }

    /// The nginx process that holds it.
    #[must_use]
    pub fn worker(&self) -> Option<u32> {
        self.client.and_then(|l| l.row.pid).or_else(|| self.far.pid())
    }

    /// The client's address.
    #[must_use]
    pub fn client_addr(&self) -> Option<SocketAddr> {
        self.client.map(|l| l.row.peer)
    }

    /// For how long it is open, and whether that is only a lower bound. The upstream leg tells it, because a client connection
    /// may have served other requests before; a unix leg is only known to be opened between two looks, and before the silence.
    #[must_use]
    pub fn age(&self, now: Timestamp) -> (Duration, bool) {
        let (age, bound) = self.far.age(now);
        let silent = if matches!(self.far, Far::Unix(_)) { self.idle(now) } else { None };
        (age.max(silent.unwrap_or_default()), bound)
    }

    /// Silence in both directions, as nginx counts it.
    #[must_use]
    pub fn idle(&self, now: Timestamp) -> Option<Duration> {
        self.far.silence(self.client.filter(|_| self.pair >= Confidence::Likely), now)
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
        let client = self.client.and_then(|l| l.bytes()).map(|(received, acked)| (acked, received));
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
        match (self.client.and_then(|l| l.retransmits()), self.upstream.and_then(|l| l.retransmits())) {
            (None, None) => None,
            (a, b) => Some(a.unwrap_or(0).saturating_add(b.unwrap_or(0))),
        }
    }

    /// What is odd about it, and on which leg; the worst first.
    #[must_use]
    pub fn trouble(&self, now: Timestamp) -> Option<(Side, Trouble)> {
        let client = self.client.and_then(|l| l.trouble(now)).map(|t| (Side::Client, t));
        let upstream = self.far.trouble(now).map(|t| (Side::Upstream, t));
        client.into_iter().chain(upstream).min_by_key(|(_, t)| *t)
    }

    /// Its state at `now`; `draining` tells which workers are shutting down.
    #[must_use]
    pub fn state_at(&self, now: Timestamp, draining: &dyn Fn(u32) -> bool) -> TunnelState {
        let stands = self.far.is_established() && self.client.is_none_or(|l| l.row.state == TcpState::Established);
        if self.trouble(now).is_some() {
            TunnelState::Stuck
        } else if !stands {
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
    /// A peer reset its connection: only the error log tells that.
    Reset(Side),
    /// The client took nothing for `send_timeout`: only the error log tells that.
    Stalled,
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
            Self::Reset(Side::Client) => "client reset",
            Self::Reset(Side::Upstream) => "backend reset",
            Self::Stalled => "client stalled",
            Self::Unknown => "ended",
        }
    }

    /// Read off the last rows of both legs. `ran_out` says that a timer of nginx was due, `worker_gone` that the process has
    /// ended.
    #[must_use]
    pub fn of(client: Option<&Leg>, far: Far<'_>, ran_out: bool, worker_gone: bool, now: Timestamp) -> Self {
        let silent = |l: &Leg| l.trouble(now) == Some(Trouble::HalfOpen);
        match (client.is_some_and(closed_by_peer), far.peer_closed()) {
            (true, false) => Self::Client,
            (false, true) => Self::Backend,
            _ if worker_gone => Self::Worker,
            _ if client.is_some_and(silent) => Self::Lost(Side::Client),
            _ if far.tcp().is_some_and(silent) => Self::Lost(Side::Upstream),
            _ if ran_out => Self::Timeout,
            _ => Self::Unknown,
        }
    }
}

/// A tunnel that ended.
#[derive(Clone, Debug)]
pub struct ClosedTunnel {
    /// The [`Tunnel::id`] that it had.
    pub id: u64,
    /// When its leg was found gone.
    pub at: Timestamp,
    /// The client's address.
    pub client: Option<SocketAddr>,
    /// Where the backend was reached.
    pub upstream: Upstream,
    /// The process that held it.
    pub worker: Option<u32>,
    /// The location's path, when it was known.
    pub location: Option<String>,
    /// The timeout that it ran under, where all locations that it may have belonged to have the same.
    pub read_timeout: Option<Duration>,
    /// How sure it was that the two legs belonged together.
    pub pair: Confidence,
    /// How long it was seen.
    pub age: Duration,
    /// It was there when watching began: it was older.
    pub age_is_lower_bound: bool,
    /// Silence before the end, when known.
    pub idle: Option<Duration>,
    /// Bytes to the client and from the client, as last seen.
    pub bytes: Option<(u64, u64)>,
    /// The state in which its client leg was last seen.
    pub client_state: Option<&'static str>,
    /// The state in which its leg to the backend was last seen.
    pub upstream_state: &'static str,
    /// The leg that was seen gone while the other one still stood.
    pub first_gone: Option<Side>,
    /// What was odd about a leg when it was last seen.
    pub odd: Option<(Side, Trouble)>,
    /// The time between the two looks in which it ended.
    pub within: Duration,
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
        let end = |client, upstream| {
            End::of(Some(&leg(client, 0)), Far::Tcp(&leg(upstream, 0)), false, false, Timestamp::from_secs(1))
        };
        assert_eq!(end(LastAck, FinWait2), End::Client);
        assert_eq!(end(CloseWait, Established), End::Client);
        assert_eq!(end(FinWait2, LastAck), End::Backend);
        assert_eq!(end(Established, Established), End::Unknown);
        let now = Timestamp::from_secs(2);
        let (well, lost) = (leg(Established, 0), leg(Established, 9));
        assert_eq!(End::of(Some(&well), Far::Tcp(&well), true, false, now), End::Timeout);
        assert_eq!(End::of(Some(&well), Far::Tcp(&well), true, true, now), End::Worker);
        assert_eq!(End::of(Some(&lost), Far::Tcp(&well), true, false, now), End::Lost(Side::Client));
    }
}
