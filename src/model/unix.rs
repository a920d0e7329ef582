//! Legs to backends on unix sockets, and which client each one serves: a guess, for the kernel counts nothing on them.
//!
//! nginx connects to the backend when the client's request is in. So the client leg of a unix leg was there before it, in the
//! same worker, and took data in no earlier than just before it. Sockets take their inodes from a counter, so of several such
//! clients those that came first are served first. No bytes confirm a guess; what refutes it is one leg that ends without the
//! other, for nginx closes both at once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::event::socket::{SocketDelta, UnixRow, UnixState};
use crate::time::Timestamp;

use super::legs::{LINGER, Leg, QUEUE_RESTS, Trouble};
use super::pair::Confidence;
use super::place::{LocationPlace, Places};
use super::tunnels::ClosedTunnel;

/// A client may have spoken so long before the look that did not show the leg yet: the kernel's ticks and a worker's turn.
const BEFORE: Duration = Duration::from_millis(130);
/// Looks in which a partner is searched for one leg.
const TRIES: u8 = 5;
/// Candidates looked at for one leg.
const LOOKED_AT: usize = 64;
/// Refuted partners remembered for one leg.
const REFUTED: usize = 8;

/// nginx's end of a connection to a backend's unix socket, with what was learnt by watching it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixLeg {
    /// The row as last read.
    pub row: UnixRow,
    /// When it last changed: its state or what waits in it.
    pub seen: Timestamp,
    /// When it was opened at the latest: the look that first showed it.
    pub first: Timestamp,
    /// The look before that one, in which it was not there yet; `None` when it was there when watching began.
    pub after: Option<Timestamp>,
}

impl UnixLeg {
    /// The leg of a new row; `since` is the time since the look before, `None` for the first one.
    #[must_use]
    pub fn new(row: &UnixRow, at: Timestamp, since: Option<Duration>) -> Self {
        Self { row: row.clone(), seen: at, first: at, after: since.map(|since| at.minus(since)) }
    }

    fn renew(&mut self, row: &UnixRow, at: Timestamp) {
        if self.row != *row {
            let pid = row.pid.or(self.row.pid);
            let moved = UnixRow { pid, ..self.row.clone() } != *row;
            self.row = row.clone();
            if moved {
                self.seen = at;
            }
        }
    }

    /// It was there when watching began.
    #[must_use]
    pub const fn older_than_us(&self) -> bool {
        self.after.is_none()
    }

    /// Its state in a word; `established` is that of a TCP leg.
    #[must_use]
    pub const fn state(&self) -> &'static str {
        match self.row.state {
            UnixState::Waiting => "waiting",
            UnixState::Open => "established",
            UnixState::PeerClosed => "peer-closed",
        }
    }

    /// What waits in it has not been read for so long.
    #[must_use]
    pub fn waits(&self, now: Timestamp, least: Duration) -> bool {
        self.row.recv_q.is_some_and(|n| n > 0) && now.since(self.seen) >= least
    }

    /// What is odd about it at `now`; `None` when nothing is, or when the kernel did not tell.
    #[must_use]
    pub fn trouble(&self, now: Timestamp) -> Option<Trouble> {
        let rested = now.since(self.seen);
        let some = |n: Option<u32>| n.is_some_and(|n| n > 0);
        match self.row.state {
            UnixState::PeerClosed => (rested >= LINGER).then_some(Trouble::CloseWait),
            _ if rested < QUEUE_RESTS => None,
            UnixState::Waiting => Some(Trouble::NotAccepted),
            UnixState::Open if some(self.row.recv_q) => Some(Trouble::NotRead),
            UnixState::Open => some(self.row.send_q).then_some(Trouble::NotTaken),
        }
    }
}

/// A unix leg with where it belongs and whom it serves.
#[derive(Clone, Debug)]
pub struct UnixEntry {
    /// The leg.
    pub leg: UnixLeg,
    /// The locations that lead there, as they were when it was first seen.
    pub locations: Arc<[LocationPlace]>,
    /// Its client leg, and how sure that is.
    pub pair: Option<(u64, Confidence)>,
    /// It has been counted as a tunnel.
    pub counted: bool,
    /// The end of the tunnel, if this leg goes too: its client leg has gone.
    pub bereft: Option<Box<ClosedTunnel>>,
    refuted: Vec<u64>,
    tries: u8,
}

/// A client leg without a partner.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    cookie: u64,
    pid: Option<u32>,
    inode: u32,
    port: u16,
    first: Timestamp,
    older_than_us: bool,
    last_in: Option<Timestamp>,
}

impl Candidate {
    /// Of a leg.
    #[must_use]
    pub fn of(leg: &Leg) -> Self {
        Self {
            cookie: leg.row.cookie,
            pid: leg.row.pid,
            inode: leg.row.inode,
            port: leg.row.local.port(),
            first: leg.first,
            older_than_us: leg.older_than_us,
            last_in: leg.last_in(),
        }
    }
}

impl UnixEntry {
    /// This client may be the one it serves.
    #[must_use]
    pub fn suits(&self, c: &Candidate) -> bool {
        let worker = self.leg.row.pid.zip(c.pid).is_none_or(|(a, b)| a == b);
        let port = self.locations.is_empty() || self.locations.iter().any(|l| l.ports.contains(&c.port));
        let moment = match self.leg.after {
            None => c.older_than_us,
            Some(after) => c.first <= self.leg.first && c.last_in.is_none_or(|spoke| spoke >= after.minus(BEFORE)),
        };
        worker && port && moment && !self.refuted.contains(&c.cookie)
    }

    fn came_with(&self, c: &Candidate) -> bool {
        self.leg.after.is_some_and(|after| c.first >= after.minus(BEFORE))
    }
}

/// The unix legs of one host.
#[derive(Clone, Debug, Default)]
pub struct UnixLegs {
    legs: BTreeMap<u64, UnixEntry>,
    by_client: HashMap<u64, u64>,
    /// Locations by path, shared by its legs.
    places: HashMap<Arc<str>, Arc<[LocationPlace]>>,
    /// Pairs were taken apart: legs that were looked at in vain are looked at again.
    moved: bool,
}

impl UnixLegs {
    /// Takes in a row.
    pub fn update(&mut self, at: Timestamp, row: &UnixRow, since: Option<Duration>, places: &Places) {
        if let Some(known) = self.legs.get_mut(&row.cookie) {
            known.leg.renew(row, at);
            return;
        }
        let entry = UnixEntry {
            leg: UnixLeg::new(row, at, since),
            locations: self.locations(&row.path, places),
            pair: None,
            counted: false,
            bereft: None,
            refuted: Vec::new(),
            tries: 0,
        };
        self.legs.insert(row.cookie, entry);
    }

    fn locations(&mut self, path: &Arc<str>, places: &Places) -> Arc<[LocationPlace]> {
        let of = |path: &Arc<str>| places.locations_of_unix(path).into_iter().cloned().collect();
        Arc::clone(self.places.entry(Arc::clone(path)).or_insert_with_key(of))
    }

    /// The configuration was read: legs that had no location may have one now.
    pub fn place_again(&mut self, places: &Places) {
        self.places.clear();
        let mut legs = std::mem::take(&mut self.legs);
        for entry in legs.values_mut().filter(|e| e.locations.is_empty()) {
            entry.locations = self.locations(&entry.leg.row.path, places);
        }
        self.legs = legs;
    }

    /// The legs that are gone with this delta. `full` replaces everything, unless unix sockets could not be read.
    #[must_use]
    pub fn gone(&self, delta: &SocketDelta) -> Vec<u64> {
        let mut gone: Vec<u64> = delta.closed.iter().copied().filter(|c| self.legs.contains_key(c)).collect();
        if delta.full && !(delta.unix.is_empty() && delta.unix_listeners.is_empty()) {
            let still: HashSet<u64> = delta.unix.iter().map(|r| r.cookie).collect();
            gone.extend(self.legs.keys().filter(|c| !still.contains(c)));
            gone.sort_unstable();
            gone.dedup();
        }
        gone
    }

    /// Forgets everything: the way in which the tables are read now does not show it.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// A leg that was not counted as a tunnel counts now; false when it was, or is not known.
    pub fn count(&mut self, cookie: u64) -> bool {
        self.legs.get_mut(&cookie).is_some_and(|e| !std::mem::replace(&mut e.counted, true))
    }

    /// All legs by cookie, in one order at every run.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &UnixEntry)> {
        self.legs.iter().map(|(cookie, e)| (*cookie, e))
    }

    /// The leg with this cookie.
    #[must_use]
    pub fn get(&self, cookie: u64) -> Option<&UnixEntry> {
        self.legs.get(&cookie)
    }

    /// The unix leg of a client leg.
    #[must_use]
    pub fn of_client(&self, client: u64) -> Option<u64> {
        self.by_client.get(&client).copied()
    }

    /// The client legs that serve one.
    pub fn clients(&self) -> impl Iterator<Item = u64> {
        self.by_client.keys().copied()
    }

    /// How many have a client leg.
    #[must_use]
    pub fn pairs(&self) -> usize {
        self.by_client.len()
    }

    /// The client leg of `cookie` has gone with this end; if that one goes too, it was the tunnel's.
    pub fn bereave(&mut self, cookie: u64, closed: ClosedTunnel) {
        self.part(cookie);
        if let Some(e) = self.legs.get_mut(&cookie) {
            e.bereft = Some(Box::new(closed));
        }
    }

    /// A leg is gone.
    pub fn remove(&mut self, cookie: u64) -> Option<UnixEntry> {
        self.part(cookie);
        self.legs.remove(&cookie)
    }

    /// Takes a pair apart; returns its client leg.
    fn part(&mut self, cookie: u64) -> Option<u64> {
        let e = self.legs.get_mut(&cookie)?;
        let (client, _) = e.pair.take()?;
        e.tries = 0;
        self.by_client.remove(&client);
        self.moved = true;
        Some(client)
    }

    /// The pair with this client leg was wrong.
    pub fn refute(&mut self, cookie: u64) {
        let Some(client) = self.part(cookie) else { return };
        if let Some(e) = self.legs.get_mut(&cookie) {
            if e.refuted.len() == REFUTED {
                e.refuted.remove(0);
            }
            e.refuted.push(client);
        }
    }

    /// Joins two legs.
    pub fn join(&mut self, cookie: u64, client: u64, sure: Confidence) {
        self.part(cookie);
        if let Some(other) = self.of_client(client) {
            self.part(other);
        }
        if let Some(e) = self.legs.get_mut(&cookie) {
            e.pair = Some((client, sure));
            self.by_client.insert(client, cookie);
        }
    }

    /// Some leg of nginx's wants a partner.
    #[must_use]
    pub fn wants(&self, is_foreign: impl Fn(&UnixLeg) -> bool) -> bool {
        self.moved || self.legs.values().any(|e| e.pair.is_none() && e.tries < TRIES && !is_foreign(&e.leg))
    }

    /// Finds partners among `clients`, who have none.
    pub fn settle(&mut self, clients: Vec<Candidate>, is_foreign: impl Fn(&UnixLeg) -> bool) {
        if std::mem::take(&mut self.moved) {
            self.legs.values_mut().for_each(|e| e.tries = 0);
        }
        let mut wanting: Vec<u64> = self
            .legs
            .iter()
            .filter(|(_, e)| e.pair.is_none() && e.tries < TRIES && !is_foreign(&e.leg))
            .map(|(c, _)| *c)
            .collect();
        wanting.sort_by_key(|c| self.legs.get(c).map(|e| (e.leg.row.inode, *c)));
        let found = chosen(&wanting.iter().filter_map(|c| self.legs.get(c)).collect::<Vec<_>>(), clients);
        for cookie in &wanting {
            if let Some(e) = self.legs.get_mut(cookie) {
                e.tries += 1;
            }
        }
        for (cookie, client, sure) in found {
            self.join(cookie, client, sure);
        }
        // What was just joined has moved nothing for the others.
        self.moved = false;
    }
}

/// Whom each of `legs`, in the order of their inodes, serves: the first of the clients that suit it and are not taken.
fn chosen(legs: &[&UnixEntry], mut clients: Vec<Candidate>) -> Vec<(u64, u64, Confidence)> {
    clients.retain(|c| legs.iter().take(LOOKED_AT).any(|e| e.suits(c)) || legs.len() > LOOKED_AT);
    clients.sort_by_key(|c| (c.inode, c.cookie));
    let mut of_worker: HashMap<Option<u32>, Vec<usize>> = HashMap::new();
    for (i, c) in clients.iter().enumerate() {
        of_worker.entry(c.pid).or_default().push(i);
    }
    let unknown = legs.iter().any(|e| e.leg.row.pid.is_none()) || of_worker.contains_key(&None);
    let all: Vec<usize> = (0..clients.len()).collect();
    let (mut taken, mut out) = (HashSet::new(), Vec::new());
    let mut begin: HashMap<Option<u32>, usize> = HashMap::new();
    for e in legs {
        let worker = if unknown { None } else { e.leg.row.pid };
        let list = if unknown { &all } else { of_worker.get(&worker).unwrap_or(&EMPTY) };
        let begin = begin.entry(worker).or_default();
        while list.get(*begin).is_some_and(|i| taken.contains(i)) {
            *begin += 1;
        }
        let near = list.iter().skip(*begin).take(LOOKED_AT);
        let suitors = near.filter(|i| !taken.contains(*i) && e.suits(&clients[**i])).copied();
        // Of those that suit, one that came just before the leg did is likelier than one that was there for long.
        let Some(first) = suitors.min_by_key(|i| !e.came_with(&clients[*i])) else { continue };
        let c = &clients[first];
        let sole = list.len() <= LOOKED_AT
            && list.iter().filter(|i| e.suits(&clients[**i])).count() == 1
            && legs.len() <= LOOKED_AT
            && legs.iter().filter(|other| other.suits(c)).count() == 1;
        taken.insert(first);
        let sure = if sole { Confidence::Likely } else { Confidence::Possible };
        out.push((e.leg.row.cookie, c.cookie, sure));
    }
    out
}

static EMPTY: Vec<usize> = Vec::new();

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_secs(1_000).plus(Duration::from_millis(ms))
    }

    fn row(inode: u32) -> UnixRow {
        UnixRow {
            cookie: u64::from(inode),
            path: Arc::from("/run/app.sock"),
            state: UnixState::Open,
            inode,
            peer_inode: Some(9),
            pid: Some(7),
            recv_q: Some(0),
            send_q: Some(0),
        }
    }

    /// A client that came and last spoke at these moments.
    fn client(inode: u32, first: u64, spoke: u64) -> Candidate {
        Candidate {
            cookie: u64::from(inode),
            pid: Some(7),
            inode,
            port: 80,
            first: at(first),
            older_than_us: false,
            last_in: Some(at(spoke)),
        }
    }

    /// Unix legs that a look each second first showed at these milliseconds.
    fn legs(rows: &[(u32, u64)]) -> UnixLegs {
        let mut legs = UnixLegs::default();
        for (inode, ms) in rows {
            legs.update(at(*ms), &row(*inode), Some(SECOND), &Places::default());
        }
        legs
    }

    fn pairs(legs: &UnixLegs) -> Vec<(u64, u64, Confidence)> {
        legs.iter().filter_map(|(cookie, e)| e.pair.map(|(client, sure)| (cookie, client, sure))).collect()
    }

    #[test]
    fn the_only_client_that_spoke_when_the_leg_came_is_likely_the_one() {
        let mut all = legs(&[(101, 2_000)]);
        let (late, idle) = (client(103, 2_400, 2_500), client(50, 0, 300));
        all.settle(vec![idle, client(100, 1_500, 1_700), late], |_| false);
        assert_eq!(pairs(&all), [(101, 100, Confidence::Likely)]);
    }

    #[test]
    fn of_several_the_first_come_is_first_served_and_it_stays_a_guess() {
        let mut all = legs(&[(103, 2_000), (104, 2_000)]);
        all.settle(vec![client(101, 1_500, 1_700), client(100, 1_500, 1_700)], |_| false);
        assert_eq!(pairs(&all), [(103, 100, Confidence::Possible), (104, 101, Confidence::Possible)]);
    }

    #[test]
    fn workers_are_never_crossed_and_strangers_get_no_client() {
        let mut all = legs(&[(101, 2_000)]);
        all.settle(vec![Candidate { pid: Some(8), ..client(100, 1_500, 1_700) }], |_| false);
        assert!(pairs(&all).is_empty());
        all.settle(vec![client(100, 1_500, 1_700)], |_| true);
        assert!(pairs(&all).is_empty());
    }

    #[test]
    fn a_refuted_guess_is_not_made_again_and_frees_the_others() {
        let mut all = legs(&[(103, 2_000), (104, 2_000)]);
        let clients = || vec![client(100, 1_500, 1_700), client(101, 1_500, 1_700)];
        all.settle(clients(), |_| false);
        all.refute(103);
        all.refute(104);
        assert!(all.wants(|_| false));
        all.settle(clients(), |_| false);
        assert_eq!(pairs(&all), [(103, 101, Confidence::Likely), (104, 100, Confidence::Likely)]);
    }

    #[test]
    fn what_was_there_before_us_is_told_apart_only_when_it_is_alone() {
        let old = |inode| Candidate { older_than_us: true, ..client(inode, 0, 0) };
        let settle = |clients| {
            let mut all = UnixLegs::default();
            all.update(at(0), &row(101), None, &Places::default());
            all.settle(clients, |_| false);
            pairs(&all)
        };
        assert_eq!(settle(vec![old(100)]), [(101, 100, Confidence::Likely)]);
        assert_eq!(settle(vec![old(100), old(90)]), [(101, 90, Confidence::Possible)]);
        assert!(settle(vec![client(102, 500, 600)]).is_empty(), "it came later");
    }

    #[test]
    fn a_search_in_vain_ends() {
        let mut all = legs(&[(101, 2_000)]);
        for _ in 0..TRIES {
            assert!(all.wants(|_| false));
            all.settle(Vec::new(), |_| false);
        }
        assert!(!all.wants(|_| false));
    }

    #[test]
    fn ten_thousand_legs_that_come_at_once_are_settled_at_once() {
        let n = 10_000_u32;
        let rows: Vec<(u32, u64)> = (0..n).map(|i| (i * 2 + 1, 2_000)).collect();
        let mut all = legs(&rows);
        all.settle((0..n).map(|i| client(i * 2, 1_500, 1_700)).collect(), |_| false);
        assert_eq!(all.pairs(), 10_000);
        assert!(pairs(&all).iter().all(|(u, c, sure)| *u == c + 1 && *sure == Confidence::Possible));
    }

    #[test]
    fn what_rests_in_it_is_odd_after_a_while() {
        let leg = |change: fn(&mut UnixRow)| {
            let mut row = row(1);
            change(&mut row);
            UnixLeg::new(&row, at(0), Some(SECOND))
        };
        let odd = |l: &UnixLeg| l.trouble(at(6_000));
        assert_eq!(odd(&leg(|_| {})), None);
        assert_eq!(odd(&leg(|r| r.recv_q = Some(9))), Some(Trouble::NotRead));
        assert_eq!(odd(&leg(|r| r.send_q = Some(9))), Some(Trouble::NotTaken));
        assert_eq!(odd(&leg(|r| r.state = UnixState::Waiting)), Some(Trouble::NotAccepted));
        assert_eq!(odd(&leg(|r| r.state = UnixState::PeerClosed)), Some(Trouble::CloseWait));
        let mut moving = leg(|r| r.recv_q = Some(9));
        moving.renew(&UnixRow { recv_q: Some(5), ..row(1) }, at(5_000));
        assert_eq!(odd(&moving), None, "it is being read");
        moving.renew(&UnixRow { recv_q: Some(5), ..row(1) }, at(9_000));
        assert_eq!(moving.seen, at(5_000), "told again, and the same");
    }
}
