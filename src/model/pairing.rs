//! Which client leg and which upstream leg are one tunnel: guessed from the past, settled by the bytes.
//!
//! nginx opens the upstream socket while it serves the client's request, and passes on at once what it reads. A new upstream
//! leg is first paired with the client leg of the same worker that spoke at the same moments. Every sample with traffic then
//! holds the bytes of the pair against each other, counted from a moment at which they agreed, so that what was under way while
//! the table was read puts itself right in the next sample. Bytes that are not the same take a pair apart, and bytes that are
//! the same find the partner of a leg that has none. A pair is certain only when nothing else fitted, several times, with
//! different amounts; then it stays until the bytes contradict it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;

use super::candidates::Index;
use super::evidence::{Fit, PAST_LAG, TO_BACKEND, TO_CLIENT, Trace, lag, moments_fit, offset, past_fits};
use super::legs::Side;
use super::pair::Pair;

pub use super::pair::Confidence;

/// Samples in a row that contradict a pair, after which it is taken apart; a certain one stands one more.
const CONTRADICTED: u8 = 2;
/// Samples in which the past of a silent leg is searched for a partner.
const TRIES: u8 = 5;
/// Refuted partners remembered for one leg.
const REFUTED: usize = 8;
/// Moments nearer to one another than this are not told apart: the kernel's ticks.
const TICK_MS: u64 = 8;

/// Legs of both sides that are not in certain pairs.
struct Sample {
    clients: Index,
    upstreams: Index,
}

impl Sample {
    /// Nothing but these two fitted each other.
    fn is_sole(&self, c: &Trace, u: &Trace) -> bool {
        let only = |index: &Index, of: &Trace, wanted: u64| {
            let found = index.alike(of);
            found.whole && matches!(found.fits.as_slice(), [one] if index.traces[*one].cookie == wanted)
        };
        only(&self.clients, u, c.cookie) && only(&self.upstreams, c, u.cookie)
    }
}

/// A pair that might be made: what speaks against it, less first, and then who. Of equals the same one is taken at every run: a
/// replay must give the live run's pairs.
type Edge = ((u8, u64, u64, u64), u64, u64);

fn edge(offsets: &Offsets, apart_ms: u64, c: &Trace, u: &Trace) -> Edge {
    let first_apart = c.first.since(u.first).max(u.first.since(c.first)).as_secs();
    ((offsets.strange(c, u), apart_ms / TICK_MS, first_apart, c.inode.abs_diff(u.inode)), u.cookie, c.cookie)
}

/// The best edges, no leg twice, as positions of the upstream leg and the client leg.
fn chosen(mut edges: Vec<(Edge, usize, usize)>) -> Vec<(usize, usize)> {
    edges.sort_unstable();
    let mut taken = BTreeSet::new();
    edges.retain(|((_, u, c), _, _)| {
        let free = !taken.contains(u) && !taken.contains(c);
        if free {
            taken.extend([*u, *c]);
        }
        free
    });
    edges.into_iter().map(|(_, i, k)| (i, k)).collect()
}

/// By how much the byte counts of the legs of certain pairs differ, by backend: a preference for the pairs to come, whose
/// handshakes are likely the same.
#[derive(Clone, Debug, Default)]
struct Offsets(HashMap<SocketAddr, [i64; 2]>);

/// Backends whose offset is kept.
const OFFSETS: usize = 1024;

impl Offsets {
    /// In how many directions the offset of these legs is not the usual one; 0 where none is known.
    fn strange(&self, c: &Trace, u: &Trace) -> u8 {
        let Some((usual, own)) = self.0.get(&u.peer).zip(offset(c, u)) else { return 0 };
        u8::from(usual[0] != own[0]) + u8::from(usual[1] != own[1])
    }

    /// True when it is the first one of this backend.
    fn learn(&mut self, c: &Trace, u: &Trace) -> bool {
        let Some(own) = offset(c, u) else { return false };
        if self.0.len() >= OFFSETS && !self.0.contains_key(&u.peer) {
            self.0.clear();
        }
        self.0.insert(u.peer, own).is_none()
    }
}

/// The pairs of one host, and the legs without a partner.
#[derive(Clone, Debug, Default)]
pub struct Pairing {
    by_upstream: HashMap<u64, Pair>,
    by_client: HashMap<u64, u64>,
    lone_clients: BTreeSet<u64>,
    /// With how often their past was searched.
    lone_upstreams: BTreeMap<u64, u8>,
    /// By upstream leg, the client legs that the bytes refuted.
    refuted: HashMap<u64, Vec<u64>>,
    /// Client legs that serve a unix socket as far as known: only bytes take them away from it.
    reserved: HashSet<u64>,
    offsets: Offsets,
}

impl Pairing {
    /// How many pairs there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_upstream.len()
    }

    /// No pair.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_upstream.is_empty()
    }

    /// The client leg of an upstream leg, and how sure that is.
    #[must_use]
    pub fn partner(&self, upstream: u64) -> Option<(u64, Confidence)> {
        let pair = self.by_upstream.get(&upstream)?;
        Some((pair.client, pair.confidence()))
    }

    /// The client legs without a partner, in the order of their cookies.
    pub fn lone_clients(&self) -> impl Iterator<Item = u64> {
        self.lone_clients.iter().copied()
    }

    /// These client legs, and no others, serve a unix socket as far as known.
    pub fn reserve(&mut self, clients: impl Iterator<Item = u64>) {
        self.reserved.clear();
        self.reserved.extend(clients);
    }

    /// A leg without a partner has come.
    pub fn enter(&mut self, side: Side, cookie: u64) {
        match side {
            Side::Client => {
                self.lone_clients.insert(cookie);
            }
            Side::Upstream => {
                self.lone_upstreams.insert(cookie, 0);
            }
        }
    }

    /// A leg is gone: its pair ends, and the partner has none. Returns the partner.
    pub fn leave(&mut self, cookie: u64) -> Option<u64> {
        self.refuted.remove(&cookie);
        self.lone_clients.remove(&cookie);
        self.lone_upstreams.remove(&cookie);
        if self.by_upstream.contains_key(&cookie) {
            let client = self.part(cookie)?;
            self.lone_upstreams.remove(&cookie);
            return Some(client);
        }
        let upstream = self.by_client.get(&cookie).copied()?;
        self.part(upstream);
        self.lone_clients.remove(&cookie);
        Some(upstream)
    }

    /// Takes a pair apart; returns its client leg.
    fn part(&mut self, upstream: u64) -> Option<u64> {
        let pair = self.by_upstream.remove(&upstream)?;
        self.by_client.remove(&pair.client);
        self.enter(Side::Client, pair.client);
        self.enter(Side::Upstream, upstream);
        Some(pair.client)
    }

    fn join(&mut self, u: &Trace, pair: Pair) {
        self.part(u.cookie);
        if let Some(other) = self.by_client.get(&pair.client).copied() {
            self.part(other);
        }
        self.lone_clients.remove(&pair.client);
        self.lone_upstreams.remove(&u.cookie);
        self.by_client.insert(pair.client, u.cookie);
        self.by_upstream.insert(u.cookie, pair);
    }

    /// The upstream leg of a client leg.
    #[must_use]
    pub fn upstream_of(&self, client: u64) -> Option<u64> {
        self.by_client.get(&client).copied()
    }

    fn pair_of(&self, t: &Trace) -> Option<u64> {
        match t.side {
            Side::Client => self.upstream_of(t.cookie),
            Side::Upstream => self.by_upstream.contains_key(&t.cookie).then_some(t.cookie),
        }
    }

    /// Compares the bytes of known pairs, takes refuted ones apart, and pairs what is alone. `touched` are the legs that the
    /// sample brought news of, `get` finds the others. Returns the upstream legs that got a partner.
    pub fn settle(&mut self, touched: &[Trace], get: &dyn Fn(u64) -> Option<Trace>) -> Vec<u64> {
        let sample = self.sample(touched);
        let loose = self.compare(touched, &sample, get);
        let mut new = self.by_traffic(&sample, &loose);
        new.extend(self.by_past(get));
        new
    }

    fn sample(&self, touched: &[Trace]) -> Sample {
        let open = |t: &&Trace| {
            let pair = self.pair_of(t).and_then(|u| self.by_upstream.get(&u));
            t.grew() && !pair.is_some_and(Pair::is_certain)
        };
        let of = |side| Index::of(touched.iter().filter(|t| t.side == side).filter(open).copied().collect());
        Sample { clients: of(Side::Client), upstreams: of(Side::Upstream) }
    }

    /// Returns the upstream legs of pairs that never fitted and do not fit now: better ones may take their place.
    fn compare(&mut self, touched: &[Trace], sample: &Sample, get: &dyn Fn(u64) -> Option<Trace>) -> BTreeSet<u64> {
        let moved: BTreeSet<u64> = touched.iter().filter(|t| t.grew()).filter_map(|t| self.pair_of(t)).collect();
        let (mut loose, mut learnt) = (BTreeSet::new(), false);
        for upstream in moved {
            let Some(pair) = self.by_upstream.get_mut(&upstream) else { continue };
            let Some((c, u)) = get(pair.client).zip(get(upstream)) else { continue };
            let fit = match pair.compare(&c, &u) {
                // Bytes that could be the same, but passed at other moments, are not the same.
                Fit::Near if !moments_fit(&c, &u) => Fit::Apart,
                fit => fit,
            };
            match fit {
                Fit::Equal => {
                    let sole = !pair.is_certain() && sample.is_sole(&c, &u);
                    pair.fitted(&c, &u, sole);
                    // The certain pair of this moment: bytes under way were just excluded.
                    learnt |= sole && pair.is_certain() && self.offsets.learn(&c, &u);
                }
                Fit::Near => {
                    pair.unlike = 0;
                    if pair.alike == 0 {
                        loose.insert(upstream);
                    }
                }
                Fit::Silent => {}
                // What nginx has read and could not write yet is not to be seen.
                Fit::Apart if c.blocked || u.blocked => {}
                Fit::Apart => {
                    pair.unlike += 1;
                    let stands = CONTRADICTED + u8::from(pair.is_certain());
                    let (unlike, client, never) = (pair.unlike, pair.client, pair.alike == 0);
                    if unlike >= stands {
                        self.part(upstream);
                        self.refute(upstream, client);
                    } else if never {
                        loose.insert(upstream);
                    }
                }
            }
        }
        if learnt {
            self.reconsider(get);
        }
        loose
    }

    /// Takes guesses apart that look strange now that the usual offset of one more backend is known: a better one may be
    /// found, perhaps by exchange with another guess.
    fn reconsider(&mut self, get: &dyn Fn(u64) -> Option<Trace>) {
        let guesses = self.by_upstream.iter().filter(|(_, pair)| pair.confidence() == Confidence::Possible);
        let strange = guesses.filter_map(|(u, pair)| {
            let (c, u) = get(pair.client).zip(get(*u))?;
            (self.offsets.strange(&c, &u) > 0).then_some(u.cookie)
        });
        for upstream in strange.collect::<Vec<u64>>() {
            self.part(upstream);
        }
    }

    fn refute(&mut self, upstream: u64, client: u64) {
        let known = self.refuted.entry(upstream).or_default();
        if known.len() == REFUTED {
            known.remove(0);
        }
        known.push(client);
    }

    /// Finds partners for the legs with traffic that have none, or one that does not fit.
    fn by_traffic(&mut self, sample: &Sample, loose: &BTreeSet<u64>) -> Vec<u64> {
        let free_client = |c: &Trace| self.by_client.get(&c.cookie).is_none_or(|upstream| loose.contains(upstream));
        let free_upstream = |u: &Trace| !self.by_upstream.contains_key(&u.cookie) || loose.contains(&u.cookie);
        let mut edges: Vec<(Edge, usize, usize)> = Vec::new();
        for (i, u) in sample.upstreams.traces.iter().enumerate().filter(|(_, u)| free_upstream(u)) {
            for k in sample.clients.alike(u).fits {
                let c = &sample.clients.traces[k];
                if free_client(c) {
                    edges.push((edge(&self.offsets, lag_ms(c, u), c, u), i, k));
                }
            }
        }
        let mut new = Vec::new();
        for (i, k) in chosen(edges) {
            let (u, c) = (&sample.upstreams.traces[i], &sample.clients.traces[k]);
            let mut pair = Pair::new(c, u);
            pair.fitted(c, u, sample.is_sole(c, u));
            self.join(u, pair);
            new.push(u.cookie);
        }
        new
    }

    /// Finds partners for legs by what they did before: when they spoke, or where the kernel does not tell that, by inodes.
    fn by_past(&mut self, get: &dyn Fn(u64) -> Option<Trace>) -> Vec<u64> {
        let wanting: Vec<Trace> =
            self.lone_upstreams.iter().filter(|(_, tries)| **tries < TRIES).filter_map(|(u, _)| get(*u)).collect();
        if wanting.is_empty() || self.lone_clients.is_empty() {
            return Vec::new();
        }
        let clients = Index::of(self.unreserved().filter_map(get).collect());
        let open = self.open(get);
        let mut edges: Vec<(Edge, usize, usize)> = Vec::new();
        for (i, u) in wanting.iter().enumerate() {
            for k in suitors(&clients, u) {
                let c = &clients.traces[k];
                if !self.refuted.get(&u.cookie).is_some_and(|r| r.contains(&c.cookie)) {
                    edges.push((edge(&self.offsets, past_fits(c, u).unwrap_or(0), c, u), i, k));
                }
            }
            if let Some(tries) = self.lone_upstreams.get_mut(&u.cookie)
                && (u.blind || u.spoke != [None, None])
            {
                *tries += 1;
            }
        }
        let mut new = Vec::new();
        for (i, k) in chosen(edges) {
            let (u, c) = (&wanting[i], &clients.traces[k]);
            let mut pair = Pair::new(c, u);
            pair.sole_past = self.is_sole_past(&open, c, u);
            self.join(u, pair);
            new.push(u.cookie);
        }
        new
    }
}

impl Pairing {
    fn unreserved(&self) -> impl Iterator<Item = u64> {
        self.lone_clients.iter().copied().filter(|c| !self.reserved.contains(c))
    }

    /// The legs that are not in certain pairs: a guess may be wrong, so its legs are still rivals.
    fn open(&self, get: &dyn Fn(u64) -> Option<Trace>) -> Sample {
        let guesses = || self.by_upstream.iter().filter(|(_, pair)| !pair.is_certain());
        let clients = self.unreserved().chain(guesses().map(|(_, pair)| pair.client));
        let upstreams = self.lone_upstreams.keys().copied().chain(guesses().map(|(u, _)| *u));
        Sample {
            clients: Index::of(clients.filter_map(get).collect()),
            upstreams: Index::of(upstreams.filter_map(get).collect()),
        }
    }

    /// Nothing but these two fit each other's past.
    fn is_sole_past(&self, open: &Sample, c: &Trace, u: &Trace) -> bool {
        let Sample { clients, upstreams } = open;
        if u.blind {
            return clients.beside(u) == 1 && upstreams.beside(c) == 1;
        }
        let usual = |c: &Trace, u: &Trace| self.offsets.strange(c, u) == 0;
        let for_upstream = suitors(clients, u).into_iter().filter(|i| usual(&clients.traces[*i], u)).count();
        let for_client = suitors(upstreams, c).into_iter().filter(|i| usual(c, &upstreams.traces[*i])).count();
        usual(c, u) && for_upstream == 1 && for_client == 1
    }
}

/// Client legs for upstream legs, of legs that ended at the same time: whose pasts fit best. By upstream leg.
#[must_use]
pub fn matched(clients: &[Trace], upstreams: &[Trace]) -> HashMap<u64, u64> {
    let mut edges = Vec::new();
    for u in upstreams {
        let fitting = clients.iter().filter(|c| c.shares_worker(u));
        edges.extend(fitting.filter_map(|c| Some((past_fits(c, u)?, u.cookie, c.cookie))));
    }
    edges.sort_unstable();
    let (mut found, mut taken) = (HashMap::new(), BTreeSet::new());
    for (_, u, c) in edges {
        if !found.contains_key(&u) && taken.insert(c) {
            found.insert(u, c);
        }
    }
    found
}

fn lag_ms(c: &Trace, u: &Trace) -> u64 {
    [TO_BACKEND, TO_CLIENT].iter().filter_map(|d| lag(c, u, *d)).map(|l| l.unsigned_abs() / 1000).sum()
}

/// The legs of `index` whose past fits that of `leg`.
fn suitors(index: &Index, leg: &Trace) -> Vec<usize> {
    if leg.blind {
        let mut near = index.near_inode(leg);
        near.retain(|i| leg.shares_worker(&index.traces[*i]));
        return near;
    }
    let mut found = index.at_the_moment(leg, TO_CLIENT, PAST_LAG).fits;
    found.extend(index.at_the_moment(leg, TO_BACKEND, PAST_LAG).fits);
    found.sort_unstable();
    found.dedup();
    let fits = |other: &Trace| {
        let (c, u) = if leg.side == Side::Client { (leg, other) } else { (other, leg) };
        c.shares_worker(u) && past_fits(c, u).is_some()
    };
    found.retain(|i| fits(&index.traces[*i]));
    found
}

#[cfg(test)]
mod tests;
