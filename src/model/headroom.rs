//! How much more nginx can hold, and for how long at this pace: connection slots, descriptors, local ports, the accept queue.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::event::process::Worker;
use crate::event::socket::Listener;
use crate::time::Timestamp;

use super::connections::Connections;
use super::legs::Side;

/// A resource with a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gauge {
    /// In use now.
    pub used: u64,
    /// At most.
    pub limit: u64,
    /// When it is full at the pace of the last minutes; `None` when it does not grow, or not long enough to say.
    pub full_in: Option<Duration>,
}

impl Gauge {
    /// So much of so much.
    #[must_use]
    pub const fn new(used: u64, limit: u64) -> Self {
        Self { used, limit, full_in: None }
    }

    /// 0 to 1 and beyond.
    #[must_use]
    pub fn share(self) -> f64 {
        if self.limit == 0 { 0.0 } else { self.used as f64 / self.limit as f64 }
    }
}

/// `worker_connections` of all serving workers against the legs that they hold: a tunnel takes two slots. Legs of workers that
/// are shutting down take none of these; a leg whose worker is unknown counts.
#[must_use]
pub fn slots(per_worker: u64, serving: &BTreeSet<u32>, connections: &Connections) -> Option<Gauge> {
    let here = |pid: Option<u32>| pid.is_none_or(|p| serving.contains(&p));
    let used = connections.held().filter(|l| here(l.row.pid)).count() as u64;
    (!serving.is_empty()).then(|| Gauge::new(used, per_worker.saturating_mul(serving.len() as u64)))
}

/// The serving worker with the most legs: nginx spreads connections as they come, and one worker may be full before the others.
/// `None` when no leg's worker is known.
#[must_use]
pub fn fullest_worker(per_worker: u64, serving: &BTreeSet<u32>, connections: &Connections) -> Option<(u32, Gauge)> {
    let mut held: BTreeMap<u32, u64> = BTreeMap::new();
    for pid in connections.held().filter_map(|l| l.row.pid).filter(|p| serving.contains(p)) {
        *held.entry(pid).or_default() += 1;
    }
    let (pid, used) = held.into_iter().max_by_key(|(pid, used)| (*used, std::cmp::Reverse(*pid)))?;
    Some((pid, Gauge::new(used, per_worker)))
}

/// Open descriptors of the worker that is nearest to its limit.
pub fn fds<'a>(workers: impl Iterator<Item = &'a Worker>) -> Option<Gauge> {
    fullest(workers.filter_map(|w| Some(Gauge::new(w.fds?, w.fd_limit?))))
}

/// The accept queue of the listener that is nearest to its backlog, of those whose backlog is known.
#[must_use]
pub fn queue(listeners: &[Listener]) -> Option<Gauge> {
    let gauge = |l: &Listener| Some(Gauge::new(u64::from(l.queue), u64::from(l.backlog?)));
    fullest(listeners.iter().filter_map(gauge))
}

/// Local ports towards the backend address that is nearest to having none left. A connection is its four numbers, so every
/// backend address has the whole range, once for each local address that is in use towards it. Connections of other programs
/// of this host take ports too; those in TIME-WAIT are not seen.
#[must_use]
pub fn ports(range: (u16, u16), connections: &Connections) -> Option<(SocketAddr, Gauge)> {
    let mut taken: BTreeMap<SocketAddr, (u64, BTreeSet<IpAddr>)> = BTreeMap::new();
    for (_, leg) in connections.sides().filter(|(side, _)| *side == Side::Upstream) {
        let entry = taken.entry(leg.row.peer).or_default();
        entry.0 += 1;
        entry.1.insert(leg.row.local.ip());
    }
    let size = u64::from(range.1.saturating_sub(range.0)) + 1;
    let gauges = taken.into_iter().map(|(peer, (used, from))| (peer, Gauge::new(used, size * from.len() as u64)));
    gauges.max_by(|a, b| a.1.share().total_cmp(&b.1.share()))
}

fn fullest(gauges: impl Iterator<Item = Gauge>) -> Option<Gauge> {
    gauges.max_by(|a, b| a.share().total_cmp(&b.share()))
}

/// A resource whose pace is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// Connection slots of all workers.
    Slots,
    /// Connection slots of the fullest worker.
    WorkerSlots,
    /// Descriptors.
    Fds,
    /// Local ports.
    Ports,
    /// The accept queue.
    Queue,
}

/// Time between two samples.
const STEP: Duration = Duration::from_secs(5);
/// Samples kept: five minutes.
const SAMPLES: usize = 60;
/// Samples without which nothing is said: a minute.
const ENOUGH: usize = 12;
/// Growth over the samples that is worth a word, as a share of the limit.
const GROWTH: f64 = 0.005;
/// A forecast beyond this is none.
const HORIZON: Duration = Duration::from_secs(24 * 3600);

/// How full resources were over the last minutes.
#[derive(Clone, Debug, Default)]
pub struct Trends {
    shares: BTreeMap<Resource, VecDeque<(Timestamp, f64)>>,
    full_in: BTreeMap<Resource, Duration>,
    last: Option<Timestamp>,
}

impl Trends {
    /// It is time for another sample.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.last.is_none_or(|last| now.since(last) >= STEP)
    }

    /// Takes a sample of what is known now.
    pub fn sample(&mut self, now: Timestamp, gauges: impl IntoIterator<Item = (Resource, Gauge)>) {
        self.last = Some(now);
        for (resource, gauge) in gauges.into_iter().filter(|(_, g)| g.limit > 0) {
            let shares = self.shares.entry(resource).or_default();
            if shares.len() == SAMPLES {
                shares.pop_front();
            }
            shares.push_back((now, gauge.share()));
            match forecast(shares.make_contiguous()) {
                Some(span) => self.full_in.insert(resource, span),
                None => self.full_in.remove(&resource),
            };
        }
    }

    /// The gauge with its forecast.
    #[must_use]
    pub fn with(&self, resource: Resource, gauge: Gauge) -> Gauge {
        Gauge { full_in: self.full_in.get(&resource).copied(), ..gauge }
    }
}

/// When a share that grew like this reaches 1. The pace is the median of the slopes between all samples (Theil and Sen): a
/// burst or a reload among them does not bend it.
fn forecast(shares: &[(Timestamp, f64)]) -> Option<Duration> {
    let (newest, share) = *shares.last()?;
    if shares.len() < ENOUGH {
        return None;
    }
    let mut slopes = Vec::with_capacity(shares.len() * shares.len() / 2);
    for (i, (t, s)) in shares.iter().enumerate() {
        let later = shares.iter().skip(i + 1).map(|(u, v)| (v - s, u.since(*t).as_secs_f64()));
        slopes.extend(later.filter(|(_, span)| *span > 0.0).map(|(grown, span)| grown / span));
    }
    slopes.sort_by(f64::total_cmp);
    let slope = *slopes.get(slopes.len() / 2)?;
    let watched = newest.since(shares.first()?.0).as_secs_f64();
    if slope <= 0.0 || slope * watched < GROWTH {
        return None;
    }
    let left = Duration::try_from_secs_f64((1.0 - share).max(0.0) / slope).ok()?;
    (left <= HORIZON).then_some(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(samples: impl IntoIterator<Item = u64>) -> Option<Duration> {
        let mut trends = Trends::default();
        for (i, used) in (0..).zip(samples) {
            let at = Timestamp::from_secs(i * 5);
            assert!(trends.is_due(at));
            trends.sample(at, [(Resource::Slots, Gauge::new(used, 1000))]);
            assert!(!trends.is_due(at.plus(Duration::from_secs(4))));
        }
        trends.with(Resource::Slots, Gauge::new(0, 1000)).full_in
    }

    #[test]
    fn steady_growth_tells_when_it_is_full() {
        // Two a sample, 0.4 a second: 500 are left after 100 samples at 500.
        assert_eq!(after((0..251).map(|n| n * 2)).map(|d| d.as_secs()), Some(1250));
        assert_eq!(after((0..11).map(|n| n * 2)), None, "not long enough to say");
    }

    #[test]
    fn what_does_not_grow_has_no_end() {
        assert_eq!(after([500; 60]), None);
        assert_eq!(after((0..60).map(|n| 900 - n * 5)), None);
        assert_eq!(after((0..60).map(|n| 500 + n % 2)), None, "it sways");
    }

    #[test]
    fn a_burst_or_a_gap_does_not_bend_the_pace() {
        let bent = |n: u64| if (20..24).contains(&n) { 0 } else { n * 2 };
        assert_eq!(after((0..60).map(bent)).map(|d| d.as_secs()), Some((1000 - 118) * 5 / 2));
        assert_eq!(after((0..60).map(|n| if n == 59 { 900 } else { 100 })), None, "one sample is no pace");
    }

    #[test]
    fn no_limit_is_no_share() {
        assert!(Gauge::new(5, 0).share().abs() < f64::EPSILON);
        let mut trends = Trends::default();
        for s in 0..100 {
            trends.sample(Timestamp::from_secs(s * 5), [(Resource::Queue, Gauge::new(5, 0))]);
        }
        assert_eq!(trends.with(Resource::Queue, Gauge::new(5, 0)).full_in, None);
    }
}
