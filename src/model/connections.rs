//! Sockets folded into legs, and legs into tunnels: who is in, for how long, how busy, and how long still.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::event::probe::{Route, TargetId};
use crate::event::socket::{Listener, SocketDelta, SocketRow, SocketSource, TcpState};
use crate::time::Timestamp;

use super::deadline::{deadline, ran_out};
use super::evidence::Trace;
use super::legs::{Leg, Side};
use super::pairing::{Confidence, Pairing};
use super::place::{LocationPlace, Places};
use super::probes::Probes;
use super::stats::Buckets;

pub use super::tunnels::{ClosedTunnel, End, Tunnel, TunnelState};

/// Closed tunnels kept.
const CLOSED: usize = 256;
/// How long a closed tunnel is kept.
const CLOSED_KEPT: Duration = Duration::from_secs(600);
/// The end of a worker is seen so long after the end of its tunnels, at most: the sources look every one and two seconds.
const WORKER_SEEN_GONE: Duration = Duration::from_secs(6);

/// A leg with where it belongs.
#[derive(Clone, Debug)]
struct Entry {
    side: Side,
    leg: Leg,
    tls: bool,
    /// For a leg to a backend, the locations that lead there. They are those of the configuration in force when the leg was
    /// first seen: nginx keeps a tunnel's settings through a reload.
    locations: Arc<[LocationPlace]>,
    /// It has been counted as a tunnel.
    counted: bool,
    /// nginx has closed it.
    over: bool,
}

/// All legs and how they pair.
#[derive(Clone, Debug, Default)]
pub struct Connections {
    legs: HashMap<u64, Entry>,
    pairing: Pairing,
    /// Probe legs, so that our own direct connections are not taken for tunnels.
    own: HashMap<SocketAddr, TargetId>,
    /// Locations by backend address, shared by its legs.
    places: HashMap<SocketAddr, Arc<[LocationPlace]>>,
    /// The processes of nginx, once they are known.
    alive: HashSet<u32>,
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
    /// Newest last, a bounded number of them.
    pub closed: VecDeque<ClosedTunnel>,
    /// Client connections that lead to no backend: plain keep-alive, or in the middle of a request.
    pub idle_clients: usize,
}

impl Connections {
    /// Folds one delta in.
    pub fn apply(&mut self, at: Timestamp, delta: &SocketDelta, places: &Places, probes: &Probes) {
        let first_look = self.last.is_none();
        self.source = Some(delta.source);
        self.listeners.clone_from(&delta.listeners);
        self.learn_own(probes);
        let since = delta.since.unwrap_or_default();
        let mut touched = Vec::with_capacity(delta.rows.len());
        for row in &delta.rows {
            if self.update(at, row, delta.since, places) {
                touched.push(row.cookie);
            }
        }
        for cookie in self.gone(delta) {
            self.end(at, cookie, since);
            self.legs.remove(&cookie);
        }
        self.holders_known = self.legs.values().any(|e| e.leg.row.pid.is_some());
        let opened = self.settle(at, &touched);
        if !first_look {
            self.opened.add(at, opened);
            self.opened_total += u64::from(opened);
        }
        self.count_idle();
        self.last = Some(at);
    }

    fn learn_own(&mut self, probes: &Probes) {
        self.own = probes.local_ends().map(|(a, t)| (a, t.clone())).collect();
    }

    fn gone(&self, delta: &SocketDelta) -> Vec<u64> {
        let mut gone: Vec<u64> = delta.closed.clone();
        if delta.full {
            let still: HashSet<u64> = delta.rows.iter().map(|r| r.cookie).collect();
            gone.extend(self.legs.keys().filter(|c| !still.contains(c)));
        }
        // In one order at every run: the closed tunnels stand in it.
        gone.sort_unstable();
        gone
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

    fn is_upstream_leg(&self, e: &Entry) -> bool {
        e.side == Side::Upstream && !e.over && !self.is_foreign(e.side, &e.leg)
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

    /// True when the row is a leg.
    fn update(&mut self, at: Timestamp, row: &SocketRow, since: Option<Duration>, places: &Places) -> bool {
        if let Some(e) = self.legs.get_mut(&row.cookie) {
            // A cookie is unique while the machine runs; the inodes that stand in for it under /proc are not.
            if e.leg.row.local == row.local && e.leg.row.peer == row.peer {
                e.leg.renew(row, at, since);
                if e.leg.is_closed() && !e.over {
                    e.over = true;
                    self.end(at, row.cookie, since.unwrap_or_default());
                }
                return true;
            }
            self.end(at, row.cookie, since.unwrap_or_default());
            self.legs.remove(&row.cookie);
        }
        let Some(side) = Self::side(row, places) else { return false };
        let leg = Leg::new(row, at, since);
        let over = leg.is_closed();
        let mut entry = Entry { side, leg, tls: false, locations: Arc::from([]), counted: since.is_none(), over };
        self.place(&mut entry, places);
        self.legs.insert(row.cookie, entry);
        if !over {
            self.pairing.enter(side, row.cookie);
        }
        true
    }

    fn place(&mut self, entry: &mut Entry, places: &Places) {
        let row = &entry.leg.row;
        match entry.side {
            Side::Client => entry.tls = places.is_tls_port(row.local.port()),
            Side::Upstream => {
                let of = |peer| places.locations_of(peer).into_iter().cloned().collect();
                entry.locations = Arc::clone(self.places.entry(row.peer).or_insert_with_key(|peer| of(*peer)));
                entry.tls = !entry.locations.is_empty() && entry.locations.iter().all(|l| l.tls);
            }
        }
    }

    /// The leg has gone: its tunnel ends, once, with the first of its legs. A client connection without a backend was no
    /// tunnel.
    fn end(&mut self, at: Timestamp, cookie: u64, since: Duration) {
        let pair = self.pair_of(cookie);
        self.pairing.leave(cookie);
        let Some((client, upstream, pair)) = pair else { return };
        let Some((client, upstream)) = self.legs.get(&client).zip(self.legs.get(&upstream)) else { return };
        let worker = client.leg.row.pid.or(upstream.leg.row.pid);
        let worker_gone = worker.is_some_and(|w| !self.alive.is_empty() && !self.alive.contains(&w));
        let known = (pair >= Confidence::Likely).then_some(&client.leg);
        let locations = on_port(&upstream.locations, known);
        let due = ran_out(known, &upstream.leg, &locations, at, since);
        let closed = ClosedTunnel {
            at,
            client: Some(client.leg.row.peer),
            upstream: Some(upstream.leg.row.peer),
            worker,
            pair,
            age: at.since(upstream.leg.first),
            age_is_lower_bound: upstream.leg.older_than_us,
            idle: upstream.leg.idle(at),
            how: End::of(&client.leg, &upstream.leg, due, worker_gone, at),
        };
        self.died.add(at, 1);
        self.died_total += 1;
        if self.closed.len() == CLOSED {
            self.closed.pop_front();
        }
        self.closed.push_back(closed);
    }

    /// The client leg, the upstream leg and the confidence of the pair that a leg is in.
    fn pair_of(&self, cookie: u64) -> Option<(u64, u64, Confidence)> {
        let upstream = match self.legs.get(&cookie)?.side {
            Side::Upstream => cookie,
            Side::Client => self.pairing.upstream_of(cookie)?,
        };
        let (client, confidence) = self.pairing.partner(upstream)?;
        Some((client, upstream, confidence))
    }

    /// Pairs again what the delta touched; returns how many tunnels that opened.
    fn settle(&mut self, at: Timestamp, touched: &[u64]) -> u32 {
        let mut pairing = std::mem::take(&mut self.pairing);
        let get = |cookie: u64| {
            let e = self.legs.get(&cookie)?;
            let pairable = !e.over && e.leg.row.inode != 0 && !self.is_foreign(e.side, &e.leg);
            pairable.then(|| Trace::of(&e.leg, e.side, e.tls, at))
        };
        let traces: Vec<Trace> = touched.iter().filter_map(|c| get(*c)).collect();
        let new = pairing.settle(&traces, &get);
        self.pairing = pairing;
        let mut opened = 0;
        for cookie in new {
            if let Some(e) = self.legs.get_mut(&cookie).filter(|e| !e.counted) {
                e.counted = true;
                opened += 1;
            }
        }
        opened
    }

    fn count_idle(&mut self) {
        let clients = self.legs.values().filter(|e| e.side == Side::Client && !e.over).count();
        self.idle_clients = clients.saturating_sub(self.pairing.len());
    }

    /// The configuration or the probes changed. Legs that had no location may have one now; the others keep what they were
    /// opened with.
    pub fn place_again(&mut self, places: &Places, probes: &Probes) {
        self.learn_own(probes);
        self.places.clear();
        let mut legs = std::mem::take(&mut self.legs);
        for entry in legs.values_mut().filter(|e| e.side == Side::Client || e.locations.is_empty()) {
            self.place(entry, places);
        }
        self.legs = legs;
    }

    /// These processes of nginx are alive. Tunnels that ended moments before the others did so with their worker.
    pub fn learn_workers(&mut self, now: Timestamp, alive: HashSet<u32>) {
        let recent = self.closed.iter_mut().rev().take_while(|c| now.since(c.at) <= WORKER_SEEN_GONE);
        for closed in recent.filter(|c| c.worker.is_some_and(|w| !alive.contains(&w))) {
            closed.how = End::Worker;
        }
        self.alive = alive;
    }

    /// Forgets closed tunnels that were shown long enough.
    pub fn expire(&mut self, now: Timestamp) {
        while self.closed.front().is_some_and(|c| now.since(c.at) > CLOSED_KEPT) {
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
        let upstreams = self.legs.iter().filter(|(_, e)| self.is_upstream_leg(e));
        upstreams.map(|(cookie, e)| self.tunnel(now, *cookie, e, draining)).collect()
    }

    fn tunnel<'a>(
        &'a self,
        now: Timestamp,
        cookie: u64,
        upstream: &'a Entry,
        draining: &dyn Fn(u32) -> bool,
    ) -> Tunnel<'a> {
        let partner = self.pairing.partner(cookie);
        let client = partner.and_then(|(c, _)| self.legs.get(&c)).map(|e| &e.leg);
        let pair = client.and(partner).map_or(Confidence::None, |(_, confidence)| confidence);
        let known = client.filter(|_| pair >= Confidence::Likely);
        let locations = on_port(&upstream.locations, known);
        let deadline = deadline(known, &upstream.leg, &locations, now);
        let mut tunnel = Tunnel {
            id: client.map_or(cookie, |c| c.row.cookie),
            client,
            upstream: Some(&upstream.leg),
            pair,
            state: TunnelState::Open,
            location: only_path(&locations),
            deadline,
            time_left: deadline.map(|d| d.least),
            read_timeout: deadline.map(|d| d.timeout),
            probe: client.and_then(|c| self.own.get(&c.row.peer)),
        };
        tunnel.state = tunnel.state_at(now, draining);
        tunnel
    }

    /// How many upstream legs there are: each is one tunnel or one proxied request.
    #[must_use]
    pub fn count(&self) -> usize {
        self.legs.values().filter(|e| self.is_upstream_leg(e)).count()
    }

    /// Open legs without a partner, in no particular order: connections of clients that lead to no backend, and connections to
    /// backends whose client is not known.
    pub fn unpaired(&self) -> impl Iterator<Item = (Side, &Leg)> {
        let alone = |cookie: &u64, e: &Entry| self.pair_of(*cookie).is_none() && !e.over;
        self.legs
            .iter()
            .filter(move |(cookie, e)| alone(cookie, e) && !self.is_foreign(e.side, &e.leg))
            .map(|(_, e)| (e.side, &e.leg))
    }

    /// Legs by state.
    #[must_use]
    pub fn states(&self) -> BTreeMap<TcpState, usize> {
        let mut counts = BTreeMap::new();
        for e in self.legs.values() {
            *counts.entry(e.leg.row.state).or_insert(0) += 1;
        }
        counts
    }

    /// The moment of the latest look at the socket tables; `None` when there was none.
    #[must_use]
    pub fn last_look(&self) -> Option<Timestamp> {
        self.last
    }

    /// All legs, for reports.
    pub fn legs(&self) -> impl Iterator<Item = &Leg> {
        self.legs.values().map(|e| &e.leg)
    }

    /// The legs that take a connection slot of nginx.
    pub fn held(&self) -> impl Iterator<Item = &Leg> {
        self.legs.values().filter(|e| !e.over && !self.is_foreign(e.side, &e.leg)).map(|e| &e.leg)
    }

    /// All legs with the side of nginx that they are on.
    pub fn sides(&self) -> impl Iterator<Item = (Side, &Leg)> {
        self.legs.values().map(|e| (e.side, &e.leg))
    }
}

/// The locations of servers that listen where the client came in; all when that is not known.
fn on_port<'a>(locations: &'a [LocationPlace], client: Option<&Leg>) -> Vec<&'a LocationPlace> {
    let port = client.map(|c| c.row.local.port());
    let here: Vec<&LocationPlace> = locations.iter().filter(|l| port.is_some_and(|p| l.ports.contains(&p))).collect();
    if here.is_empty() { locations.iter().collect() } else { here }
}

fn only_path<'a>(locations: &[&'a LocationPlace]) -> Option<&'a str> {
    let first = locations.first()?;
    locations.iter().all(|l| l.path == first.path).then_some(first.path.as_str())
}

#[cfg(test)]
mod tests;
