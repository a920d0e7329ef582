//! Sockets folded into legs, and legs into tunnels: who is in, for how long, how busy, and how long still.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::event::probe::{Route, TargetId};
use crate::event::socket::{Listener, SocketDelta, SocketRow, SocketSource, TcpState};
use crate::time::Timestamp;

use super::deadline::{deadline, deadline_by_client, ran_out};
use super::evidence::Trace;
use super::legs::{Leg, Side};
use super::masters::Instances;
use super::pairing::{Confidence, Pairing, matched};
use super::place::{LocationPlace, Places, on_port, only_path};
use super::probes::Probes;
use super::stats::Track;
use super::unix::{Candidate, UnixEntry, UnixLeg, UnixLegs};

pub use super::tunnels::{ClosedTunnel, End, Far, Tunnel, TunnelState, Upstream};

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
    /// Legs to backends on unix sockets.
    unix: UnixLegs,
    pairing: Pairing,
    /// Which nginx each process and each address belongs to.
    instances: Instances,
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
    /// Connections in TIME-WAIT by backend address; `None` when they were never counted.
    time_wait: Option<BTreeMap<SocketAddr, u64>>,
    /// Tunnels opened over the last half hour and the last day.
    pub opened: Track,
    /// Tunnels ended over the last half hour and the last day.
    pub died: Track,
    /// Since when these two are counted.
    moved: Option<Timestamp>,
    counted_since: Option<Timestamp>,
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
        if let Some(waiting) = &delta.time_wait {
            self.time_wait = Some(waiting.iter().map(|(backend, n)| (*backend, u64::from(*n))).collect());
        }
        self.learn_own(probes);
        let since = delta.since.unwrap_or_default();
        let mut touched = Vec::with_capacity(delta.rows.len());
        for row in &delta.rows {
            if self.update(at, row, delta.since, places) {
                touched.push(row.cookie);
            }
        }
        if delta.source == SocketSource::Procfs {
            self.unix.clear();
        }
        delta.unix.iter().for_each(|row| self.unix.update(at, row, delta.since, places));
        let gone = self.gone(delta);
        let ended = self.ended(&touched, &gone);
        let claimed = self.end_unix(at, &self.unix.gone(delta), &ended, since);
        self.end(at, &ended, claimed, since);
        for cookie in &gone {
            self.legs.remove(cookie);
        }
        let unix_held = || self.unix.iter().any(|(_, e)| e.leg.row.pid.is_some());
        self.holders_known = self.legs.values().any(|e| e.leg.row.pid.is_some()) || unix_held();
        self.count_opened(at, &touched, first_look);
        self.count_opened_unix(at, delta);
        self.settle(at, &touched);
        self.settle_unix();
        self.count_idle();
        self.last = Some(at);
        if delta.tells_of_connections() {
            self.moved = self.last;
        }
        self.counted_since = self.counted_since.or(self.last);
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
        // nginx opened what it holds in its own control group; what it accepts bears the group of whoever opened the listener.
        let others = leg.row.nginx_group == Some(false);
        self.is_own_direct(leg) || (side == Side::Upstream && nobodys && (self.holders_known || others))
    }

    fn is_foreign_unix(&self, leg: &UnixLeg) -> bool {
        self.holders_known && leg.row.pid.is_none()
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
            self.end(at, &[row.cookie], HashSet::new(), since.unwrap_or_default());
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
    /// ended at the same time and fits is the right one. The `claimed` ones are known to be others'.
    fn end(&mut self, at: Timestamp, ended: &[u64], mut claimed: HashSet<u64>, since: Duration) {
        let (clients, upstreams): (Vec<u64>, Vec<u64>) =
            ended.iter().partition(|c| self.legs.get(c).is_some_and(|e| e.side == Side::Client));
        let (mut whole, mut strays) = (Vec::new(), Vec::new());
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
        let trace = |c: &u64| self.trace(*c, at);
        let upstreams: Vec<Trace> = strays.iter().filter_map(|(u, _)| trace(u)).collect();
        let matched = matched(&free.iter().filter_map(trace).collect::<Vec<_>>(), &upstreams);
        for (u, pair) in whole {
            self.died(self.closed_tcp(at, u, pair, since));
        }
        for (u, pair) in strays {
            let before = self.legs.get_mut(&u).and_then(|e| e.bereft.take()).map(|b| *b);
            let before = before.filter(|b| at.since(b.at) <= since + BETWEEN);
            let found = matched.get(&u).map(|c| (*c, Confidence::Possible));
            self.died(before.or_else(|| self.closed_tcp(at, u, found.or(pair), since)));
        }
        for c in clients {
            self.bereave(at, c, since);
        }
        for cookie in ended {
            self.pairing.leave(*cookie);
        }
    }

    /// The same for unix legs that are gone. Gives the client legs that ended with them.
    fn end_unix(&mut self, at: Timestamp, gone: &[u64], ended: &[u64], since: Duration) -> HashSet<u64> {
        let mut claimed = HashSet::new();
        for cookie in gone {
            let Some(entry) = self.unix.get(*cookie) else { continue };
            let over = |c: &u64| self.legs.get(c).is_some_and(|e| e.over);
            let lives = entry.pair.filter(|(c, _)| !over(c));
            let before = entry.bereft.as_deref().filter(|b| at.since(b.at) <= since + BETWEEN).cloned();
            let pair = match entry.pair {
                Some((c, _)) if over(&c) => entry.pair,
                _ => self.suitor(entry, ended, &claimed).or(lives.filter(|(_, sure)| *sure >= Confidence::Likely)),
            };
            let closed = before
                .unwrap_or_else(|| self.closed(at, *cookie, Far::Unix(&entry.leg), &entry.locations, pair, since));
            let (client, counted) = (pair.map(|(c, _)| c).filter(over), entry.counted);
            claimed.extend(client);
            if let Some(other) = client.and_then(|c| self.unix.of_client(c)).filter(|u| u != cookie) {
                self.unix.refute(other);
            }
            self.unix.remove(*cookie);
            self.died(counted.then_some(closed));
        }
        claimed
    }

    /// The one client leg that ended at the same time and fits: the pair was a wrong guess.
    fn suitor(&self, entry: &UnixEntry, ended: &[u64], claimed: &HashSet<u64>) -> Option<(u64, Confidence)> {
        let free = ended.iter().filter(|c| !claimed.contains(c) && self.pairing.upstream_of(**c).is_none());
        let mut fitting = free.filter(|c| {
            let client = self.legs.get(c).filter(|e| e.side == Side::Client);
            client.is_some_and(|e| entry.suits(&Candidate::of(&e.leg)))
        });
        let only = *fitting.next()?;
        fitting.next().is_none().then_some((only, Confidence::Possible))
    }

    /// A client leg is over and its leg to the backend is not, yet: who the client was is kept for that one's end.
    fn bereave(&mut self, at: Timestamp, client: u64, since: Duration) {
        if let Some(cookie) = self.unix.of_client(client) {
            let closed = self.unix.get(cookie).map(|e| {
                let closed = self.closed(at, cookie, Far::Unix(&e.leg), &e.locations, e.pair, since);
                ClosedTunnel { first_gone: Some(Side::Client), ..closed }
            });
            if let Some(closed) = closed {
                self.unix.bereave(cookie, closed);
            }
        }
        let Some(upstream) = self.pairing.upstream_of(client) else { return };
        let pair = self.pairing.partner(upstream);
        let closed = self.closed_tcp(at, upstream, pair, since);
        if let Some(e) = self.legs.get_mut(&upstream).filter(|e| !e.over) {
            e.bereft = closed.map(|c| Box::new(ClosedTunnel { first_gone: Some(Side::Client), ..c }));
        }
    }

    fn closed_tcp(
        &self,
        at: Timestamp,
        upstream: u64,
        pair: Option<(u64, Confidence)>,
        since: Duration,
    ) -> Option<ClosedTunnel> {
        let e = self.legs.get(&upstream)?;
        Some(self.closed(at, upstream, Far::Tcp(&e.leg), &e.locations, pair, since))
    }

    fn closed(
        &self,
        at: Timestamp,
        id: u64,
        far: Far<'_>,
        locations: &[LocationPlace],
        pair: Option<(u64, Confidence)>,
        since: Duration,
    ) -> ClosedTunnel {
        let entry = pair.and_then(|(c, _)| self.legs.get(&c));
        let client = entry.map(|e| &e.leg);
        let sure = client.and(pair).map_or(Confidence::None, |(_, sure)| sure);
        let worker = client.and_then(|l| l.row.pid).or(far.pid());
        let worker_gone = worker.is_some_and(|w| !self.alive.is_empty() && !self.alive.contains(&w));
        let known = client.filter(|_| sure >= Confidence::Likely);
        let locations = on_port(locations, known.map(|c| c.row.local.port()));
        let idle = far.silence(known, at);
        let due = ran_out(idle, &locations, since);
        let timeout = locations.first().map(|l| l.read_timeout);
        let tunnel = Tunnel::of(id, client, far, sure);
        let (age, age_is_lower_bound) = far.age(at);
        ClosedTunnel {
            id,
            at,
            client: client.map(|l| l.row.peer),
            upstream: far.upstream(),
            worker,
            location: only_path(&locations).map(str::to_owned),
            read_timeout: timeout.filter(|t| locations.iter().all(|l| l.read_timeout == *t)),
            pair: sure,
            age,
            age_is_lower_bound,
            idle,
            bytes: tunnel.bytes(),
            client_state: client.map(|l| l.row.state.word()),
            upstream_state: far.state(),
            first_gone: entry.filter(|e| !e.over).map(|_| Side::Upstream),
            odd: tunnel.trouble(at),
            within: since,
            how: End::of(client, far, due, worker_gone, at),
        }
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

    fn count_opened_unix(&mut self, at: Timestamp, delta: &SocketDelta) {
        for row in &delta.unix {
            let new = self.unix.get(row.cookie).is_some_and(|e| !e.counted && !self.is_foreign_unix(&e.leg));
            let seen_opening = self.unix.get(row.cookie).is_some_and(|e| !e.leg.older_than_us());
            if new && self.unix.count(row.cookie) && seen_opening {
                self.opened.add(at, 1);
                self.opened_total += 1;
            }
        }
    }

    /// What pairing knows of a leg.
    fn trace(&self, cookie: u64, at: Timestamp) -> Option<Trace> {
        let e = self.legs.get(&cookie)?;
        let instance = self.instances.of_leg(e.side, &e.leg.row);
        Some(Trace { instance, ..Trace::of(&e.leg, e.side, e.tls, at) })
    }

    /// Pairs again what the delta touched.
    fn settle(&mut self, at: Timestamp, touched: &[u64]) {
        let mut pairing = std::mem::take(&mut self.pairing);
        let get = |cookie: u64| {
            let e = self.legs.get(&cookie)?;
            let pairable = !e.over && e.leg.row.inode != 0 && !self.is_foreign(e.side, &e.leg);
            if pairable { self.trace(cookie, at) } else { None }
        };
        let traces: Vec<Trace> = touched.iter().filter_map(|c| get(*c)).collect();
        pairing.settle(&traces, &get);
        self.pairing = pairing;
    }

    /// The same for unix legs: what the bytes say of a client is worth more than a guess.
    fn settle_unix(&mut self) {
        let mut unix = std::mem::take(&mut self.unix);
        let paired = unix.iter().filter_map(|(cookie, e)| e.pair.map(|(client, _)| (cookie, client)));
        let taken = |client: &u64| self.pairing.upstream_of(*client).is_some();
        let wrong: Vec<u64> = paired.filter(|(_, client)| taken(client)).map(|(cookie, _)| cookie).collect();
        for cookie in wrong {
            unix.refute(cookie);
        }
        let is_foreign = |leg: &UnixLeg| self.is_foreign_unix(leg);
        if unix.wants(is_foreign) {
            let free = self.pairing.lone_clients().filter(|c| unix.of_client(*c).is_none());
            let legs = free.filter_map(|c| self.legs.get(&c)).filter(|e| !e.over && e.leg.row.inode != 0);
            let stands = legs.filter(|e| !self.is_foreign(e.side, &e.leg));
            let clients = stands.map(|e| Candidate::of(&e.leg)).collect();
            unix.settle(clients, is_foreign);
        }
        self.pairing.reserve(unix.clients());
        self.unix = unix;
    }

    fn count_idle(&mut self) {
        let clients = self.legs.values().filter(|e| e.side == Side::Client && !e.over).count();
        self.idle_clients = clients.saturating_sub(self.pairing.len() + self.unix.pairs());
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
        self.unix.place_again(places);
    }

    /// Which nginx processes and addresses belong to: legs of different ones are never paired.
    pub fn learn_instances(&mut self, instances: Instances) {
        self.instances = instances;
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
        self.opened = Track::default();
        self.died = Track::default();
        self.counted_since = self.last;
        self.opened_total = 0;
        self.died_total = 0;
        self.closed.clear();
    }

    /// Every tunnel, and every upstream leg whose client leg is not known, in no particular order.
    /// `draining` tells which workers are shutting down.
    #[must_use]
    pub fn tunnels(&self, now: Timestamp, draining: &dyn Fn(u32) -> bool) -> Vec<Tunnel<'_>> {
        let tcp = self.legs.iter().filter(|(_, e)| self.is_upstream_leg(e)).map(|(cookie, e)| {
            let far = Far::Tcp(&e.leg);
            self.tunnel(now, *cookie, far, &e.locations, self.pairing.partner(*cookie), draining)
        });
        let unix = self.unix_legs().map(|(cookie, e)| {
            let far = Far::Unix(&e.leg);
            self.tunnel(now, cookie, far, &e.locations, e.pair, draining)
        });
        tcp.chain(unix).collect()
    }

    fn unix_legs(&self) -> impl Iterator<Item = (u64, &UnixEntry)> {
        self.unix.iter().filter(|(_, e)| !self.is_foreign_unix(&e.leg))
    }

    fn tunnel<'a>(
        &'a self,
        now: Timestamp,
        cookie: u64,
        far: Far<'a>,
        locations: &'a [LocationPlace],
        partner: Option<(u64, Confidence)>,
        draining: &dyn Fn(u32) -> bool,
    ) -> Tunnel<'a> {
        let client = partner.and_then(|(c, _)| self.legs.get(&c)).map(|e| &e.leg);
        let pair = client.and(partner).map_or(Confidence::None, |(_, confidence)| confidence);
        let known = client.filter(|_| pair >= Confidence::Likely);
        let locations = on_port(locations, known.map(|c| c.row.local.port()));
        let deadline = match far {
            Far::Tcp(upstream) => deadline(known, upstream, &locations, now),
            Far::Unix(upstream) => deadline_by_client(known, upstream, &locations, now),
        };
        let mut tunnel = Tunnel {
            location: only_path(&locations),
            deadline,
            time_left: deadline.map(|d| d.least),
            read_timeout: deadline.map(|d| d.timeout),
            probe: client.and_then(|c| self.own.get(&c.row.peer)),
            ..Tunnel::of(cookie, client, far, pair)
        };
        tunnel.state = tunnel.state_at(now, draining);
        tunnel
    }

    /// How many upstream legs there are: each is one tunnel or one proxied request.
    #[must_use]
    pub fn count(&self) -> usize {
        self.legs.values().filter(|e| self.is_upstream_leg(e)).count() + self.unix_legs().count()
    }

    /// Open legs without a partner, in no particular order: connections of clients that lead to no backend, and connections to
    /// backends whose client is not known.
    pub fn unpaired(&self) -> impl Iterator<Item = (Side, &Leg)> {
        let paired = |cookie: &u64, side: Side| match side {
            Side::Client => self.pairing.upstream_of(*cookie).or(self.unix.of_client(*cookie)).is_some(),
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

    /// The moment of the latest look that told of anything but time; a table told in full counts, too.
    #[must_use]
    pub const fn last_moved(&self) -> Option<Timestamp> {
        self.moved
    }

    /// Since when openings and ends are counted; `None` before the first look.
    #[must_use]
    pub const fn counted_since(&self) -> Option<Timestamp> {
        self.counted_since
    }

    /// All legs, for reports.
    pub fn legs(&self) -> impl Iterator<Item = &Leg> {
        self.legs.values().map(|e| &e.leg)
    }

    /// The processes of the legs that take a connection slot of nginx; `None` where that is not known.
    pub fn held(&self) -> impl Iterator<Item = Option<u32>> {
        let tcp = self.legs.values().filter(|e| !e.over && !self.is_foreign(e.side, &e.leg)).map(|e| e.leg.row.pid);
        tcp.chain(self.unix_legs().map(|(_, e)| e.leg.row.pid))
    }

    /// Connections to a backend address in TIME-WAIT; `None` when they were never counted.
    #[must_use]
    pub fn time_wait(&self, backend: SocketAddr) -> Option<u64> {
        Some(self.time_wait.as_ref()?.get(&backend).copied().unwrap_or(0))
    }

    /// The backend addresses to which connections in TIME-WAIT are known.
    pub fn waiting(&self) -> impl Iterator<Item = SocketAddr> {
        self.time_wait.iter().flat_map(|w| w.keys().copied())
    }

    /// All legs with the side of nginx that they are on.
    pub fn sides(&self) -> impl Iterator<Item = (Side, &Leg)> {
        self.legs.values().map(|e| (e.side, &e.leg))
    }
}

#[cfg(test)]
mod tests;
