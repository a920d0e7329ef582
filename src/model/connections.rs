//! Sockets folded into legs, and legs into tunnels: who is in, for how long, how busy, and how long still.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use crate::event::probe::{Route, TargetId};
use crate::event::socket::{Listener, SocketDelta, SocketRow, SocketSource, TcpState};
use crate::time::Timestamp;

use super::legs::Leg;
use super::place::Places;
use super::probes::Probes;
use super::stats::Buckets;
use super::tunnels::{Confidence, Pairing};

/// Closed tunnels kept.
const CLOSED: usize = 256;
/// How long a closed tunnel stays on the screen.
const CLOSED_SHOWN: Duration = Duration::from_secs(30);

/// Which side of nginx a leg is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Client,
    Upstream,
}

/// One tunnel, or one leg without a partner, as a face shows it.
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
    /// The location's path, when the upstream or the probe tells it unambiguously.
    pub location: Option<&'a str>,
    /// `proxy_read_timeout` minus the silence on the upstream leg; `None` when either is unknown.
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

    /// Since when it is open, and whether that is only a lower bound of its age.
    #[must_use]
    pub fn age(&self, now: Timestamp) -> Option<(Duration, bool)> {
        let leg = self.client.or(self.upstream)?;
        Some((now.since(leg.first), leg.older_than_us))
    }

    /// Silence in both directions, on the upstream leg where there is one.
    #[must_use]
    pub fn idle(&self, now: Timestamp) -> Option<Duration> {
        self.upstream.or(self.client)?.idle(now)
    }

    /// Smoothed round-trip time to the client.
    #[must_use]
    pub fn client_rtt(&self) -> Option<Duration> {
        let us = self.client?.row.info.as_ref()?.rtt_us?;
        Some(Duration::from_micros(u64::from(us)))
    }

    /// Retransmitted segments on both legs.
    #[must_use]
    pub fn retransmits(&self) -> Option<u32> {
        let of = |l: &Leg| l.row.info.as_ref().and_then(|i| i.retransmits);
        match (self.client.and_then(of), self.upstream.and_then(of)) {
            (None, None) => None,
            (a, b) => Some(a.unwrap_or(0).saturating_add(b.unwrap_or(0))),
        }
    }
}

/// What a tunnel is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TunnelState {
    /// One side has closed and nginx holds on, or data waits unanswered.
    Stuck,
    /// Being closed.
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

/// A tunnel that ended.
#[derive(Clone, Debug)]
pub struct ClosedTunnel {
    /// When its leg was found gone.
    pub at: Timestamp,
    /// The client's address.
    pub client: Option<SocketAddr>,
    /// The backend's address.
    pub upstream: Option<SocketAddr>,
    /// How long it was seen.
    pub age: Duration,
    /// Silence before the end, when known.
    pub idle: Option<Duration>,
}

/// All legs and how they pair.
#[derive(Clone, Debug, Default)]
pub struct Connections {
    legs: HashMap<u64, (Side, Leg)>,
    pairing: Pairing,
    /// Probe legs, so that our own direct connections are not taken for tunnels.
    own: HashMap<SocketAddr, TargetId>,
    /// Locations per upstream leg, where the configuration tells exactly one.
    placed: HashMap<u64, Placed>,
    /// The moment of the latest delta.
    last: Option<Timestamp>,
    /// Some leg's process is known, so that an unknown one means something.
    holders_known: bool,
    /// How the rows are read.
    pub source: Option<SocketSource>,
    /// Listening sockets.
    pub listeners: Vec<Listener>,
    /// Tunnels opened over the last half hour.
    pub opened: Buckets,
    /// Tunnels ended over the last half hour.
    pub died: Buckets,
    /// Tunnels opened since the counters began.
    pub opened_total: u64,
    /// Tunnels ended since the counters began.
    pub died_total: u64,
    /// Newest last.
    pub closed: VecDeque<ClosedTunnel>,
    /// Client connections that lead to no backend: plain keep-alive, or in the middle of a request.
    pub idle_clients: usize,
}

#[derive(Clone, Debug)]
struct Placed {
    path: Option<String>,
    read_timeout: Option<Duration>,
}

impl Connections {
    /// Folds one delta in.
    pub fn apply(&mut self, at: Timestamp, delta: &SocketDelta, places: &Places, probes: &Probes) {
        let first_look = self.last.is_none();
        self.source = Some(delta.source);
        self.listeners.clone_from(&delta.listeners);
        self.learn_own(probes);
        let mut gone: Vec<u64> = delta.closed.clone();
        if delta.full {
            let still: std::collections::HashSet<u64> = delta.rows.iter().map(|r| r.cookie).collect();
            gone.extend(self.legs.keys().filter(|c| !still.contains(c)));
        }
        for cookie in gone {
            self.close(at, cookie);
        }
        for row in &delta.rows {
            self.update(at, row, delta.since, places);
        }
        self.holders_known = self.legs.values().any(|(_, l)| l.row.pid.is_some());
        let mut pairing = std::mem::take(&mut self.pairing);
        let opened = pairing.settle(&self.pairable());
        self.pairing = pairing;
        if !first_look {
            self.opened.add(at, u32::try_from(opened).unwrap_or(u32::MAX));
            self.opened_total += opened as u64;
        }
        self.place_again(places, probes);
        self.last = Some(at);
    }

    fn learn_own(&mut self, probes: &Probes) {
        self.own = probes.local_ends().map(|(a, t)| (a, t.clone())).collect();
    }

    /// A row belongs to us when it is one of our direct probes' own sockets: its local end is ours.
    fn is_own_direct(&self, leg: &Leg) -> bool {
        self.own.get(&leg.row.local).is_some_and(|t| t.route == Route::Direct)
    }

    /// A leg that cannot be nginx's: our own direct probe, or a backend connection of another local program, whose holder is
    /// unknown while those of other sockets are known.
    fn is_foreign(&self, side: Side, leg: &Leg) -> bool {
        let nobodys = leg.row.pid.is_none() && leg.row.inode != 0;
        self.is_own_direct(leg) || (side == Side::Upstream && self.holders_known && nobodys)
    }

    fn side(row: &SocketRow, places: &Places) -> Option<Side> {
        if places.is_listen_port(row.local.port()) {
            Some(Side::Client)
        } else if places.is_upstream_port(row.peer.port()) {
            Some(Side::Upstream)
        } else {
            None
        }
    }

    fn update(&mut self, at: Timestamp, row: &SocketRow, since: Option<Duration>, places: &Places) {
        if let Some((_, leg)) = self.legs.get_mut(&row.cookie) {
            // A cookie is unique while the machine runs; the inodes that stand in for it under /proc are not.
            if leg.row.local == row.local && leg.row.peer == row.peer {
                leg.renew(row, at, since);
                return;
            }
            self.close(at, row.cookie);
        }
        let Some(side) = Self::side(row, places) else { return };
        self.legs.insert(row.cookie, (side, Leg::new(row, at, since.is_none())));
    }

    fn close(&mut self, at: Timestamp, cookie: u64) {
        let Some((side, leg)) = self.legs.remove(&cookie) else { return };
        self.placed.remove(&cookie);
        let partner = self.pairing.forget(cookie);
        // A pair dies once: with the first of its legs. A client connection without a backend was no tunnel.
        let Some(partner) = partner.and_then(|p| self.legs.get(&p)) else { return };
        let (client, upstream) = match side {
            Side::Client => (&leg, &partner.1),
            Side::Upstream => (&partner.1, &leg),
        };
        let closed = ClosedTunnel {
            at,
            client: Some(client.row.peer),
            upstream: Some(upstream.row.peer),
            age: at.since(client.first),
            idle: upstream.idle(at),
        };
        self.died.add(at, 1);
        self.died_total += 1;
        if self.closed.len() == CLOSED {
            self.closed.pop_front();
        }
        self.closed.push_back(closed);
    }

    fn pairable(&self) -> Vec<(bool, &Leg)> {
        self.legs
            .values()
            .filter(|(side, l)| !self.is_foreign(*side, l))
            .map(|(side, leg)| (*side == Side::Client, leg))
            .collect()
    }

    /// Finds the location of every tunnel again: after a change of the configuration, the probes or the pairs.
    pub fn place_again(&mut self, places: &Places, probes: &Probes) {
        self.learn_own(probes);
        let upstreams = self.legs.iter().filter(|(_, (side, _))| *side == Side::Upstream);
        self.placed = upstreams.map(|(cookie, (_, leg))| (*cookie, place(leg, places))).collect();
        let paired = self.pairing.len();
        let clients = self.legs.values().filter(|(side, _)| *side == Side::Client).count();
        self.idle_clients = clients.saturating_sub(paired);
    }

    /// Forgets closed tunnels that were shown long enough.
    pub fn expire(&mut self, now: Timestamp) {
        while self.closed.front().is_some_and(|c| now.since(c.at) > CLOSED_SHOWN * 20) {
            self.closed.pop_front();
        }
    }

    /// Counters begin again.
    pub fn reset_counters(&mut self) {
        self.opened = Buckets::default();
        self.died = Buckets::default();
        self.opened_total = 0;
        self.died_total = 0;
        self.closed.clear();
    }

    /// Every tunnel, and every upstream leg whose client leg is not known, in no particular order.
    /// `draining` tells which workers are shutting down.
    #[must_use]
    pub fn tunnels(&self, now: Timestamp, draining: &dyn Fn(u32) -> bool) -> Vec<Tunnel<'_>> {
        let mut out = Vec::new();
        for (cookie, (side, leg)) in &self.legs {
            if *side == Side::Client || self.is_foreign(*side, leg) {
                continue;
            }
            let pair = self.pairing.partner(*cookie);
            let client = pair.and_then(|(c, _)| self.legs.get(&c)).map(|(_, l)| l);
            out.push(self.tunnel(now, *cookie, leg, client, pair.map(|(_, c)| c), draining));
        }
        out
    }

    fn tunnel<'a>(
        &'a self,
        now: Timestamp,
        cookie: u64,
        upstream: &'a Leg,
        client: Option<&'a Leg>,
        pair: Option<Confidence>,
        draining: &dyn Fn(u32) -> bool,
    ) -> Tunnel<'a> {
        let placed = self.placed.get(&cookie);
        let read_timeout = placed.and_then(|p| p.read_timeout);
        let time_left = read_timeout.zip(upstream.idle(now)).map(|(t, idle)| t.saturating_sub(idle));
        let probe = client.and_then(|c| self.own.get(&c.row.peer));
        let mut tunnel = Tunnel {
            id: client.map_or(cookie, |c| c.row.cookie),
            client,
            upstream: Some(upstream),
            pair: if client.is_some() { pair.unwrap_or(Confidence::None) } else { Confidence::None },
            state: TunnelState::Open,
            location: placed.and_then(|p| p.path.as_deref()),
            time_left,
            read_timeout,
            probe,
        };
        tunnel.state = state_of(&tunnel, draining);
        tunnel
    }

    /// How many upstream legs there are: each is one tunnel or one proxied request.
    #[must_use]
    pub fn count(&self) -> usize {
        self.legs.values().filter(|(side, leg)| *side == Side::Upstream && !self.is_foreign(*side, leg)).count()
    }

    /// Client legs in CLOSE-WAIT: the client has gone and nginx has not closed.
    #[must_use]
    pub fn states(&self) -> BTreeMap<TcpState, usize> {
        let mut counts = BTreeMap::new();
        for (_, leg) in self.legs.values() {
            *counts.entry(leg.row.state).or_insert(0) += 1;
        }
        counts
    }

    /// The moment of the latest look at the socket tables; `None` when there was none.
    #[must_use]
    pub fn last_look(&self) -> Option<Timestamp> {
        self.last
    }

    /// Rows of the legs whose kernel rows are known, for reports.
    pub fn legs(&self) -> impl Iterator<Item = &Leg> {
        self.legs.values().map(|(_, l)| l)
    }
}

fn place(leg: &Leg, places: &Places) -> Placed {
    let found = places.locations_of(leg.row.peer);
    let path = match found.as_slice() {
        [one] => Some(one.path.clone()),
        _ => None,
    };
    // Several locations lead to this backend: their timeout is known only when they agree.
    let mut timeouts = found.iter().map(|l| l.read_timeout);
    let first = timeouts.next();
    let read_timeout = first.filter(|t| timeouts.all(|o| o == *t));
    Placed { path, read_timeout }
}

/// Retransmissions of one segment after which a leg counts as stuck: at the usual 200 ms start, over ten seconds of silence.
const STUCK_BACKOFF: u8 = 6;

fn state_of(tunnel: &Tunnel<'_>, draining: &dyn Fn(u32) -> bool) -> TunnelState {
    let legs = [tunnel.client, tunnel.upstream];
    let legs = || legs.iter().copied().flatten();
    let stuck = |l: &Leg| l.row.info.is_some_and(|i| i.backoff.is_some_and(|b| b >= STUCK_BACKOFF));
    if legs().any(stuck) {
        return TunnelState::Stuck;
    }
    if legs().any(|l| l.row.state != TcpState::Established) {
        return TunnelState::Closing;
    }
    if tunnel.worker().is_some_and(draining) {
        return TunnelState::Draining;
    }
    if tunnel.client.is_none() { TunnelState::Unpaired } else { TunnelState::Open }
}
