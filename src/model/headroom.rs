//! How much more nginx can hold: connection slots, descriptors and the accept queue.

use crate::event::process::Worker;
use crate::event::socket::Listener;

use super::connections::Connections;

/// A resource with a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gauge {
    /// In use now.
    pub used: u64,
    /// At most.
    pub limit: u64,
}

impl Gauge {
    /// 0 to 1 and beyond.
    #[must_use]
    pub fn share(self) -> f64 {
        if self.limit == 0 { 0.0 } else { self.used as f64 / self.limit as f64 }
    }
}

/// `worker_connections` of all serving workers against the legs that are open: a tunnel takes two slots.
#[must_use]
pub fn slots(per_worker: u64, serving: usize, connections: &Connections) -> Option<Gauge> {
    (serving > 0)
        .then(|| Gauge { used: connections.legs().count() as u64, limit: per_worker.saturating_mul(serving as u64) })
}

/// Open descriptors of the worker that is nearest to its limit.
pub fn fds<'a>(workers: impl Iterator<Item = &'a Worker>) -> Option<Gauge> {
    fullest(workers.filter_map(|w| Some(Gauge { used: w.fds?, limit: w.fd_limit? })))
}

/// The accept queue of the listener that is nearest to its backlog, of those whose backlog is known.
#[must_use]
pub fn queue(listeners: &[Listener]) -> Option<Gauge> {
    let gauge = |l: &Listener| Some(Gauge { used: u64::from(l.queue), limit: u64::from(l.backlog?) });
    fullest(listeners.iter().filter_map(gauge))
}

fn fullest(gauges: impl Iterator<Item = Gauge>) -> Option<Gauge> {
    gauges.max_by(|a, b| a.share().total_cmp(&b.share()))
}
