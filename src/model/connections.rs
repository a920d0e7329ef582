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
use super::pairing::{Confidence, Pairing, matched};
use super::place::{LocationPlace, Places, on_port, only_path};
use super::probes::Probes;
use super::stats::Buckets;

pub use super::tunnels::{ClosedTunnel, End, Tunnel, TunnelState};

/// Closed tunnels kept.
const CLOSED: usize = 256;
/// How long a closed tunnel is kept.
const CLOSED_KEPT: Duration = Duration::from_secs(600);
/// The end of a worker is seen so long after the end of its tunnels, at most: the sources look every one and two seconds.
const WORKER_SEEN_GONE: Duration = Duration::from_secs(6);

/// The second leg of a tunnel is seen gone so long after the first one, at most, besides the time between two looks.
const BETWEEN: Duration = Duration::from_secs(1);

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
    /// It is gone, or nginx has closed it.
    over: bool,
    /// For a leg to a backend whose client has gone: the end of the tunnel, if this leg goes too.
    bereft: Option<Box<ClosedTunnel>>,
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
        let gone = self.gone(delta);
        let ended = self.ended(&touched, &gone);
        self.end(at, &ended, since);
        for cookie in &gone {
            self.legs.remove(cookie);
        }
        self.holders_known = self.legs.values().any(|e| e.leg.row.pid.is_some());
        self.count_opened(at, &touched, first_look);
        self.settle(at, &touched);
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
        gone
    }

    /// Marks the legs that ended with this look, and gives them in one order at every run: the closed tunnels stand in it.
    fn ended(&mut self, touched: &[u64], gone: &[u64]) -> Vec<u64> {
        let mut ended: Vec<u64> = gone.to_vec();
        ended.extend(touched.iter().filter(|c| self.legs.get(c).is_some_and(|e| e.leg.is_closed())));
        ended.retain(|c| self.legs.get_mut(c).is_some_and(|e| !std::mem::replace(&mut e.over, true)));
        ended.sort_unstable();
        ended
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
                return true;
            }
            e.over = true;
            self.end(at, &[row.cookie], since.unwrap_or_default());
            self.legs.remove(&row.cookie);
        }
        let Some(side) = Self::side(row, places) else { return false };
        let leg = Leg::new(row, at, since);
        let over = leg.is_closed();
        let locations = Arc::from([]);
        let mut entry = Entry { side, leg, tls: false, locations, counted: false, over, bereft: None };
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

    /// These legs are over. A tunnel ends once, with its leg to the backend; nginx closes both at once. So where the client
    /// leg of a pair lives on, either the look fell between the two, or the pair was a wrong guess: then the client leg that
    /// ended at the same time and fits is the right one.
    fn end(&mut self, at: Timestamp, ended: &[u64], since: Duration) {
        let (clients, upstreams): (Vec<u64>, Vec<u64>) =
            ended.iter().partition(|c| self.legs.get(c).is_some_and(|e| e.side == Side::Client));
        let (mut whole, mut strays, mut claimed) = (Vec::new(), Vec::new(), HashSet::new());
        for u in upstreams.into_iter().filter(|u| self.legs.get(u).is_some_and(|e| e.counted)) {
            let pair = self.pairing.partner(u);
            match pair.filter(|(c, _)| self.legs.get(c).is_some_and(|e| e.over)) {
                Some((c, _)) => {
                    claimed.insert(c);
                    whole.push((u, pair));
                }
                None => strays.push((u, pair.filter(|(_, sure)| *sure >= Confidence::Likely))),
            }
        }
        let free: Vec<u64> = clients.iter().copied().filter(|c| !claimed.contains(c)).collect();
        let trace = |c: &u64| self.legs.get(c).map(|e| Trace::of(&e.leg, e.side, e.tls, at));
        let upstreams: Vec<Trace> = strays.iter().filter_map(|(u, _)| trace(u)).collect();
        let matched = matched(&free.iter().filter_map(trace).collect::<Vec<_>>(), &upstreams);
        for (u, pair) in whole {
            self.died(self.closed(at, u, pair, since));
        }
        for (u, pair) in strays {
            let before = self.legs.get_mut(&u).and_then(|e| e.bereft.take()).map(|b| *b);
            let before = before.filter(|b| at.since(b.at) <= since + BETWEEN);
            let found = matched.get(&u).map(|c| (*c, Confidence::Possible));
            self.died(before.or_else(|| self.closed(at, u, found.or(pair), since)));
        }
        for c in clients {
            self.bereave(at, c, since);
        }
        for cookie in ended {
            self.pairing.leave(*cookie);
        }
    }

    /// A client leg is over and its leg to the backend is not, yet: who the client was is kept for that one's end.
    fn bereave(&mut self, at: Timestamp, client: u64, since: Duration) {
        let Some(upstream) = self.pairing.upstream_of(client) else { return };
        let pair = self.pairing.partner(upstream);
        let closed = self.closed(at, upstream, pair, since).map(Box::new);
        if let Some(e) = self.legs.get_mut(&upstream).filter(|e| !e.over) {
            e.bereft = closed;
        }
    }

    fn closed(
        &self,
        at: Timestamp,
        upstream: u64,
        pair: Option<(u64, Confidence)>,
        since: Duration,
    ) -> Option<ClosedTunnel> {
        let upstream = self.legs.get(&upstream)?;
        let client = pair.and_then(|(c, _)| self.legs.get(&c)).map(|e| &e.leg);
        let sure = client.and(pair).map_or(Confidence::None, |(_, sure)| sure);
        let worker = client.and_then(|l| l.row.pid).or(upstream.leg.row.pid);
        let worker_gone = worker.is_some_and(|w| !self.alive.is_empty() && !self.alive.contains(&w));
        let known = client.filter(|_| sure >= Confidence::Likely);
        let locations = on_port(&upstream.locations, known.map(|c| c.row.local.port()));
        let due = ran_out(known, &upstream.leg, &locations, at, since);
        Some(ClosedTunnel {
            at,
            client: client.map(|l| l.row.peer),
            upstream: Some(upstream.leg.row.peer),
            worker,
            pair: sure,
            age: at.since(upstream.leg.first),
            age_is_lower_bound: upstream.leg.older_than_us,
            idle: upstream.leg.idle(at),
            how: End::of(client, &upstream.leg, due, worker_gone, at),
        })
    }

    fn died(&mut self, closed: Option<ClosedTunnel>) {
        let Some(closed) = closed else { return };
        self.died.add(closed.at, 1);
        self.died_total += 1;
        if self.closed.len() == CLOSED {
            self.closed.pop_front();
        }
        self.closed.push_back(closed);
    }

    /// A tunnel is counted when its leg to the backend stands.
    fn count_opened(&mut self, at: Timestamp, touched: &[u64], first_look: bool) {
        for cookie in touched {
            let stands = self
                .legs
                .get(cookie)
                .is_some_and(|e| !e.counted && self.is_upstream_leg(e) && e.leg.row.state != TcpState::SynSent);
            if let Some(e) = self.legs.get_mut(cookie).filter(|_| stands) {
                e.counted = true;
                if !first_look && !e.leg.older_than_us {
                    self.opened.add(at, 1);
                    self.opened_total += 1;
                }
            }
        }
    }

    /// Pairs again what the delta touched.
    fn settle(&mut self, at: Timestamp, touched: &[u64]) {
        let mut pairing = std::mem::take(&mut self.pairing);
        let get = |cookie: u64| {
            let e = self.legs.get(&cookie)?;
            let pairable = !e.over && e.leg.row.inode != 0 && !self.is_foreign(e.side, &e.leg);
            pairable.then(|| Trace::of(&e.leg, e.side, e.tls, at))
        };
        let traces: Vec<Trace> = touched.iter().filter_map(|c| get(*c)).collect();
        pairing.settle(&traces, &get);
        self.pairing = pairing;
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
        let locations = on_port(&upstream.locations, known.map(|c| c.row.local.port()));
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
        let paired = |cookie: &u64, side: Side| match side {
            Side::Client => self.pairing.upstream_of(*cookie).is_some(),
            Side::Upstream => self.pairing.partner(*cookie).is_some(),
        };
        let alone = move |cookie: &u64, e: &Entry| !paired(cookie, e.side) && !e.over;
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

#[cfg(test)]
mod tests;
