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
    let used = connections.held().filter(|pid| here(*pid)).count() as u64;
    (!serving.is_empty()).then(|| Gauge::new(used, per_worker.saturating_mul(serving.len() as u64)))
}

/// The connection slots of each serving worker that is known to hold a leg, the fullest first: nginx spreads connections as
/// they come, and one worker may be full before the others.
#[must_use]
pub fn each_worker(per_worker: u64, serving: &BTreeSet<u32>, connections: &Connections) -> Vec<(u32, Gauge)> {
    let mut held: BTreeMap<u32, u64> = BTreeMap::new();
    for pid in connections.held().flatten().filter(|p| serving.contains(p)) {
        *held.entry(pid).or_default() += 1;
    }
    let mut all: Vec<_> = held.into_iter().map(|(pid, used)| (pid, Gauge::new(used, per_worker))).collect();
    all.sort_by_key(|(pid, gauge)| (std::cmp::Reverse(gauge.used), *pid));
    all
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

/// Local ports towards one backend address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// The backend address.
    pub backend: SocketAddr,
    /// Ports in use against those that there are.
    pub gauge: Gauge,
    /// Connections in TIME-WAIT; `None` where they were not counted.
    pub time_wait: Option<u64>,
}

/// Local ports towards each backend address in use, the fullest first. A connection is its four numbers, so every backend
/// address has the whole range (`net.ipv4.ip_local_port_range` without the reserved ones), once for each local address that is
/// in use towards it. Connections of other programs of this host take ports too, and those in TIME-WAIT do for a minute; but
/// on the loopback the kernel gives theirs out again (`net.ipv4.tcp_tw_reuse`, 2 by default).
#[must_use]
pub fn each_backend(range: (u16, u16), reserved: u16, connections: &Connections) -> Vec<Ports> {
    let mut taken: BTreeMap<SocketAddr, (u64, BTreeSet<IpAddr>)> = BTreeMap::new();
    for (_, leg) in connections.sides().filter(|(side, _)| *side == Side::Upstream) {
        let entry = taken.entry(leg.row.peer).or_default();
        entry.0 += 1;
        entry.1.insert(leg.row.local.ip());
    }
    for backend in connections.waiting() {
        taken.entry(backend).or_default();
    }
    let size = (u64::from(range.1.saturating_sub(range.0)) + 1).saturating_sub(u64::from(reserved));
    let one = |(backend, (open, from)): (SocketAddr, (u64, BTreeSet<IpAddr>))| {
        let time_wait = connections.time_wait(backend);
        let kept = time_wait.filter(|_| !backend.ip().is_loopback()).unwrap_or(0);
        let gauge = Gauge::new(open + kept, size * (from.len().max(1) as u64));
        Ports { backend, gauge, time_wait }
    };
    let mut all: Vec<Ports> = taken.into_iter().map(one).collect();
    all.sort_by(|a, b| b.gauge.share().total_cmp(&a.gauge.share()));
    all
}

fn fullest(gauges: impl Iterator<Item = Gauge>) -> Option<Gauge> {
    gauges.max_by(|a, b| a.share().total_cmp(&b.share()))
}

/// A resource whose pace is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// Connection slots of all workers.
    Slots,
    /// Connection slots of one worker.
    Worker(u32),
    /// Descriptors.
    Fds,
    /// Local ports towards one backend address.
    Ports(SocketAddr),
    /// The accept queue.
    Queue,
}

/// Time between two samples.
const STEP: Duration = Duration::from_secs(5);
/// Samples kept: five minutes.
const SAMPLES: usize = 60;
/// Workers and backend addresses whose pace is watched, the fullest.
pub const WATCHED: usize = 16;
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
        // What was not sampled for as long as samples are kept has gone.
        self.shares.retain(|_, shares| shares.back().is_some_and(|(at, _)| now.since(*at) <= STEP * 60));
        let known: BTreeSet<Resource> = self.shares.keys().copied().collect();
        self.full_in.retain(|resource, _| known.contains(resource));
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
