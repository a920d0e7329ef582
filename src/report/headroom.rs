//! What nginx has left, as every report tells it: gauges, and when they are full at the pace of the last minutes.

use std::net::SocketAddr;

use serde::Serialize;

use crate::human;
use crate::model::Model;
use crate::model::headroom::Gauge;

/// Workers and backend addresses told in one line of text: the fullest.
const SHOWN: usize = 1;

/// A resource with a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// In use now.
    pub used: u64,
    /// At most.
    pub limit: u64,
    /// Seconds until it is full; `null` when it does not grow, or has not been watched for long enough.
    pub full_in_s: Option<u64>,
}

impl From<Gauge> for Usage {
    fn from(g: Gauge) -> Self {
        Self { used: g.used, limit: g.limit, full_in_s: g.full_in.map(|d| d.as_secs()) }
    }
}

/// One worker's connection slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct WorkerUsage {
    /// Its process id.
    pub worker: u32,
    /// Its slots.
    #[serde(flatten)]
    pub slots: Usage,
}

/// Local ports towards one backend address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PortUsage {
    /// The backend address.
    pub upstream: SocketAddr,
    /// The ports.
    #[serde(flatten)]
    pub ports: Usage,
    /// Connections in TIME-WAIT, which keep a port for a minute; `null` where they were not counted. Those of a loopback
    /// address are not in `used`: the kernel gives their ports out again.
    pub time_wait: Option<u64>,
}

/// What nginx has left; `null` is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HeadroomFacts {
    /// Connection slots of the serving workers.
    pub slots: Option<Usage>,
    /// Descriptors of the worker that is nearest to its limit.
    pub fds: Option<Usage>,
    /// The accept queue that is nearest to its backlog.
    pub queue: Option<Usage>,
    /// Connection slots of each serving worker of which any is known, the fullest first.
    pub workers: Vec<WorkerUsage>,
    /// Local ports towards each backend address in use, the fullest first.
    pub ports: Vec<PortUsage>,
}

impl HeadroomFacts {
    /// What `model` knows now.
    #[must_use]
    pub fn of(model: &Model) -> Self {
        let looked = model.connections.last_look().is_some();
        let port = |p: crate::model::headroom::Ports| PortUsage {
            upstream: p.backend,
            ports: p.gauge.into(),
            time_wait: p.time_wait,
        };
        Self {
            slots: model.slots().filter(|_| looked).map(Usage::from),
            fds: model.fds().map(Usage::from),
            queue: model.queue().map(Usage::from),
            workers: model
                .each_worker()
                .into_iter()
                .map(|(worker, g)| WorkerUsage { worker, slots: g.into() })
                .collect(),
            ports: model.each_backend().into_iter().map(port).collect(),
        }
    }

    /// `slots 53/256`, `fullest worker 31207 40/128`, ..: each figure that is known, the fullest of several.
    #[must_use]
    pub fn said(&self) -> Vec<String> {
        let plain = [("slots", self.slots), ("fds", self.fds), ("accept queue", self.queue)];
        let [slots, fds, queue] = plain.map(|(name, usage)| usage.map(|u| one(name, u)));
        // One worker's slots are all there are.
        let workers = self.workers.iter().filter(|_| self.workers.len() > 1).take(SHOWN);
        let workers = workers.map(|w| one(&format!("fullest worker {}", w.worker), w.slots));
        let ports = self.ports.iter().take(SHOWN).map(|p| {
            let waiting = p
                .time_wait
                .filter(|n| *n > 0)
                .map_or_else(String::new, |n| format!(", {} in TIME-WAIT", human::grouped(n)));
            one(&format!("ports to {}", p.upstream), p.ports) + &waiting
        });
        slots.into_iter().chain(workers).chain(fds).chain(ports).chain(queue).collect()
    }
}

fn one(name: &str, u: Usage) -> String {
    let full = u.full_in_s.map(|s| format!(", full in {}", human::span(std::time::Duration::from_secs(s))));
    format!("{name} {}/{}{}", human::grouped(u.used), human::grouped(u.limit), full.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_told_with_its_end() {
        let usage = |used, full_in_s| Usage { used, limit: 2048, full_in_s };
        let facts = HeadroomFacts {
            slots: Some(usage(53, Some(4_320))),
            fds: None,
            queue: Some(Usage { used: 0, limit: 511, full_in_s: None }),
            workers: vec![
                WorkerUsage { worker: 7, slots: usage(40, None) },
                WorkerUsage { worker: 8, slots: usage(13, None) },
            ],
            ports: vec![PortUsage {
                upstream: ([10, 0, 0, 7], 80).into(),
                ports: usage(611, None),
                time_wait: Some(20),
            }],
        };
        assert_eq!(
            facts.said(),
            [
                "slots 53/2,048, full in 1h 12m",
                "fullest worker 7 40/2,048",
                "ports to 10.0.0.7:80 611/2,048, 20 in TIME-WAIT",
                "accept queue 0/511"
            ]
        );
        assert!(HeadroomFacts::default().said().is_empty());
        let json = serde_json::to_value(&facts).expect("JSON");
        assert_eq!(json["workers"][0]["used"], 40);
        assert_eq!(json["slots"]["full_in_s"], 4320);
    }
}
