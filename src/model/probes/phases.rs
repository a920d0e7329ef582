//! How long the parts of an attempt took, and how much of a time span a tunnel was open.

use std::time::Duration;

use crate::event::probe::Phase;

/// Durations of the phases of one attempt; `None` = not reached, or not needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// Name to addresses.
    pub resolve: Option<Duration>,
    /// TCP connect; through an HTTP proxy, to that.
    pub connect: Option<Duration>,
    /// CONNECT through an HTTP proxy.
    pub proxy: Option<Duration>,
    /// TLS handshake.
    pub tls: Option<Duration>,
    /// Opening handshake.
    pub upgrade: Option<Duration>,
}

impl Phases {
    /// Those that were reached, in the order of their beginnings; each begins as the one before ends.
    pub fn reached(&self) -> impl Iterator<Item = (Phase, Duration)> {
        let all = [
            (Phase::Resolve, self.resolve),
            (Phase::Connect, self.connect),
            (Phase::Proxy, self.proxy),
            (Phase::Tls, self.tls),
            (Phase::Upgrade, self.upgrade),
        ];
        all.into_iter().filter_map(|(phase, took)| Some((phase, took?)))
    }

    /// From the beginning to the end of the last phase reached; `None` before the first.
    #[must_use]
    pub fn total(&self) -> Option<Duration> {
        self.reached().map(|(_, took)| took).reduce(Duration::saturating_add)
    }
}

/// How much of a time span a tunnel was open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uptime {
    /// Open for so long.
    pub open: Duration,
    /// Of so much time of which it is known.
    pub over: Duration,
}

impl Uptime {
    /// From 0 to 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        if self.over.is_zero() { 0.0 } else { (self.open.as_secs_f64() / self.over.as_secs_f64()).clamp(0.0, 1.0) }
    }
}
