//! The one state: events folded into what is known. Pure: no clock, no input or output, no colour.
//!
//! [`Model::apply`] is total and silent: any sequence of events gives a model. Time is that of the events. Everything
//! is bounded, whatever the world does: rings for the recent past, capped maps for what clients can choose.

pub mod backend;
pub mod cadence;
pub mod candidates;
pub mod connections;
pub mod deadline;
pub mod errors;
pub mod evidence;
pub mod handshakes;
pub mod headroom;
pub mod legs;
pub mod marks;
pub mod masters;
pub mod pair;
pub mod pairing;
pub mod place;
pub mod probes;
pub mod sessions;
pub mod stats;
pub mod tunnels;
pub mod unix;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::event::log::ErrorEntry;
use crate::event::matrix::Matrix;
use crate::event::process::{Master, Processes};
use crate::event::site::Site;
use crate::event::tally::lifecycle::{Incident, Lifecycle};
use crate::event::{Event, Sense, Sight, SourceId, SourceKind, Stamped};
use crate::time::Timestamp;

use backend::Backend;
use connections::Connections;
use errors::Errors;
use handshakes::Handshakes;
use headroom::{Gauge, Ports, Resource, Trends, WATCHED};
use marks::Marks;
use masters::Instances;
use place::Places;
use probes::Probes;
use sessions::Sessions;

/// Endpoints whose handshake matrix is kept.
pub const MATRICES: usize = 64;

/// What is known about one host.
#[derive(Debug)]
pub struct Model {
    /// The host's name.
    pub host: Arc<str>,
    /// The latest moment any event spoke of; where nothing is looked at live, that of the newest line of the logs.
    pub now: Timestamp,
    /// The latest stamp of any event.
    wall: Timestamp,
    newest_line: Option<Timestamp>,
    /// The moment of the first event.
    pub since: Option<Timestamp>,
    /// How well each source sees.
    pub senses: BTreeMap<SourceId, SenseState>,
    /// The configuration, once it was read.
    pub site: Option<Site>,
    /// The processes, once they were looked for.
    pub processes: Option<Processes>,
    /// What belongs where.
    pub places: Places,
    /// Sockets and the tunnels they form.
    pub connections: Connections,
    /// Error-log entries by category.
    pub errors: Errors,
    /// Attempts of real clients to open a WebSocket, from debug logs.
    pub handshakes: Handshakes,
    /// What backends' own logs said.
    pub backend: Backend,
    /// Access-log sessions and refused handshakes.
    pub sessions: Sessions,
    /// Heartbeat probes.
    pub probes: Probes,
    /// Handshakes with one thing changed at a time, by endpoint; at most [`MATRICES`].
    pub matrix: BTreeMap<Arc<str>, Matrix>,
    /// What happened when, oldest first.
    pub marks: Marks,
    /// What befell nginx's workers: by its own words at level notice, and by the process table.
    pub lifecycle: Lifecycle,
    /// How full nginx's resources were over the last minutes.
    pub trends: Trends,
}

/// A source's light and since when it burns so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SenseState {
    /// The latest word.
    pub sense: Sense,
    /// Since when the light has this colour.
    pub since: Timestamp,
    /// Bytes of a log that are not read yet.
    pub behind: u64,
}

impl Model {
    /// A model of `host` that knows nothing yet.
    #[must_use]
    pub fn new(host: &str) -> Self {
        Self {
            host: Arc::from(host),
            now: Timestamp::default(),
            wall: Timestamp::default(),
            newest_line: None,
            since: None,
            senses: BTreeMap::new(),
            site: None,
            processes: None,
            places: Places::default(),
            connections: Connections::default(),
            errors: Errors::default(),
            handshakes: Handshakes::default(),
            backend: Backend::default(),
            sessions: Sessions::default(),
            probes: Probes::default(),
            matrix: BTreeMap::new(),
            marks: Marks::default(),
            lifecycle: Lifecycle::default(),
            trends: Trends::default(),
        }
    }

    /// Folds one event in.
    pub fn apply(&mut self, e: &Stamped) {
        self.wall = self.wall.max(e.at);
        self.since.get_or_insert(e.at);
        self.newest_line = self.newest_line.max(newest_line(&e.event));
        self.now = self.present();
        match &e.event {
            Event::Tick => self.connections.expire(self.now),
            Event::Site(site) => self.apply_site(site),
            Event::Processes(p) => self.apply_processes(e.at, p),
            Event::Errors(batch) => {
                self.behind(&e.from, batch.read.behind);
                self.errors.apply(batch, &self.places);
                self.handshakes.apply(&batch.handshakes);
                batch.entries.iter().for_each(|e| self.apply_incident(e));
            }
            Event::Access(batch) => {
                self.behind(&e.from, batch.read.behind);
                self.sessions.apply(batch, &self.places);
            }
            Event::Backend(batch) => {
                self.behind(&e.from, batch.behind);
                self.backend.apply(batch);
            }
            Event::Sockets(delta) => self.connections.apply(e.at, delta, &self.places, &self.probes),
            Event::Probe(p) => {
                if let Some(mark) = self.probes.apply(e.at, p) {
                    self.marks.push(mark);
                }
            }
            Event::Matrix(matrix) => self.apply_matrix(matrix),
            Event::Sense(sense) => self.apply_sense(e, sense),
        }
        // A configuration may just have said which clock counts.
        self.now = self.present();
        self.watch_trends();
    }

    fn present(&self) -> Timestamp {
        if self.is_past() { self.newest_line.unwrap_or(self.wall) } else { self.wall }
    }

    fn watch_trends(&mut self) {
        if !self.trends.is_due(self.now) {
            return;
        }
        let gauges = [(Resource::Slots, self.slots()), (Resource::Fds, self.fds()), (Resource::Queue, self.queue())];
        let workers = self.each_worker().into_iter().take(WATCHED).map(|(pid, g)| (Resource::Worker(pid), g));
        let ports = self.each_backend().into_iter().take(WATCHED).map(|p| (Resource::Ports(p.backend), p.gauge));
        let known = gauges.into_iter().filter_map(|(r, g)| Some((r, g?)));
        self.trends.sample(self.now, known.chain(workers).chain(ports).collect::<Vec<_>>());
    }

    fn apply_site(&mut self, site: &Site) {
        self.places = Places::of(site);
        self.site = Some(site.clone());
        self.connections.place_again(&self.places, &self.probes);
    }

    fn apply_processes(&mut self, at: Timestamp, new: &Processes) {
        let old = self.processes.as_ref().map(|p| p.masters.as_slice());
        self.marks.compare(at, old, &new.masters);
        new.masters.iter().filter_map(renewed).for_each(|at| self.lifecycle.note(at, Incident::Renewed));
        let workers = new.masters.iter().flat_map(|m| &m.workers);
        self.connections.learn_workers(at, workers.map(|w| w.pid).collect());
        self.connections.learn_instances(Instances::of(&new.masters));
        self.processes = Some(new.clone());
    }

    fn apply_incident(&mut self, e: &ErrorEntry) {
        let Some(incident) = Incident::read(e.level, e.pid, e.message.as_bytes()) else { return };
        self.lifecycle.note(e.at, incident);
        if let Incident::Crash { worker, signal } = incident {
            self.marks.died(e.at, worker, signal);
        }
        // Only when old workers go was the new configuration good.
        if let (Incident::Drain { .. }, Some(at)) = (incident, self.lifecycle.reload_before(e.at)) {
            self.marks.reloaded(at);
        }
    }

    fn apply_matrix(&mut self, matrix: &Matrix) {
        if self.matrix.len() < MATRICES || self.matrix.contains_key(&matrix.endpoint) {
            self.matrix.insert(Arc::clone(&matrix.endpoint), matrix.clone());
        }
    }

    fn apply_sense(&mut self, e: &Stamped, sense: &Sense) {
        let state = self.senses.entry(e.from.clone()).or_insert_with(|| SenseState {
            sense: sense.clone(),
            since: e.at,
            behind: 0,
        });
        if state.sense.sight != sense.sight {
            state.since = e.at;
        }
        state.sense = sense.clone();
    }

    fn behind(&mut self, from: &SourceId, behind: u64) {
        if let Some(state) = self.senses.get_mut(from) {
            state.behind = behind;
        }
    }

    /// The counters begin again (key `r`); what is open stays open.
    pub fn reset_counters(&mut self) {
        self.errors.reset();
        self.handshakes = Handshakes::default();
        self.backend = Backend::default();
        self.sessions = Sessions::default();
        self.connections.reset_counters();
        self.probes.reset_counters();
        self.since = Some(self.now);
    }

    /// The worst light among the sources of one kind, with the word to it; `None` when there is no such source.
    #[must_use]
    pub fn sight(&self, kind: SourceKind) -> Option<&Sense> {
        let of_kind = self.senses.iter().filter(|(id, _)| id.kind == kind).map(|(_, s)| &s.sense);
        of_kind.max_by_key(|s| match s.sight {
            Sight::Off => 0,
            Sight::Seen => 1,
            Sight::Degraded => 2,
            Sight::Blind => 3,
        })
    }

    /// The configuration is one that no nginx of this host runs: nothing that runs here belongs to it.
    #[must_use]
    pub fn is_apart(&self) -> bool {
        self.site.as_ref().is_some_and(|s| s.apart.is_some())
    }

    /// Nothing is looked at live: the present is the newest line of the logs.
    fn is_past(&self) -> bool {
        self.site.as_ref().and_then(|s| s.apart.as_ref()).is_some_and(|a| a.past)
    }

    /// All nginx masters that are known to run.
    #[must_use]
    pub fn masters(&self) -> &[Master] {
        if self.is_apart() {
            return &[];
        }
        self.processes.as_ref().map_or(&[], |p| &p.masters)
    }

    /// The master whose configuration was read, else the first.
    #[must_use]
    pub fn master(&self) -> Option<&Master> {
        let conf = self.site.as_ref().map(|s| s.conf.as_str());
        let masters = self.masters();
        masters.iter().find(|m| m.conf.is_some() && m.conf.as_deref() == conf).or(masters.first())
    }

    /// Its workers that serve, and those that only finish their tunnels.
    #[must_use]
    pub fn workers(&self) -> (usize, usize) {
        let all = self.master().into_iter().flat_map(|m| &m.workers);
        let (draining, serving): (Vec<_>, Vec<_>) = all.partition(|w| w.shutting_down);
        (serving.len(), draining.len())
    }

    fn serving(&self) -> BTreeSet<u32> {
        let all = self.master().into_iter().flat_map(|m| &m.workers);
        all.filter(|w| !w.shutting_down).map(|w| w.pid).collect()
    }

    fn slots_per_worker(&self) -> Option<u64> {
        Some(self.site.as_ref()?.worker_connections.as_ref()?.value)
    }

    /// Connection slots in use and in all, over the serving workers.
    #[must_use]
    pub fn slots(&self) -> Option<Gauge> {
        let gauge = headroom::slots(self.slots_per_worker()?, &self.serving(), &self.connections)?;
        Some(self.trends.with(Resource::Slots, gauge))
    }

    /// Connection slots of each serving worker that holds any, the fullest first.
    #[must_use]
    pub fn each_worker(&self) -> Vec<(u32, Gauge)> {
        let Some(per_worker) = self.slots_per_worker() else { return Vec::new() };
        let mut all = headroom::each_worker(per_worker, &self.serving(), &self.connections);
        for (pid, gauge) in &mut all {
            *gauge = self.trends.with(Resource::Worker(*pid), *gauge);
        }
        all
    }

    /// Connection slots of the serving worker that has taken the most, with its process id.
    #[must_use]
    pub fn worker_slots(&self) -> Option<(u32, Gauge)> {
        self.each_worker().first().copied()
    }

    /// Open descriptors of the worker that is nearest to its limit.
    #[must_use]
    pub fn fds(&self) -> Option<Gauge> {
        let gauge = headroom::fds(self.master().into_iter().flat_map(|m| &m.workers))?;
        Some(self.trends.with(Resource::Fds, gauge))
    }

    /// Local ports towards each backend address in use, the fullest first.
    #[must_use]
    pub fn each_backend(&self) -> Vec<Ports> {
        let Some((range, reserved)) = self.master().and_then(|m| Some((m.local_ports?, m.reserved_ports))) else {
            return Vec::new();
        };
        let mut all = headroom::each_backend(range, reserved.unwrap_or(0), &self.connections);
        for ports in &mut all {
            ports.gauge = self.trends.with(Resource::Ports(ports.backend), ports.gauge);
        }
        all
    }

    /// Local ports towards the backend that is nearest to having none left.
    #[must_use]
    pub fn ports(&self) -> Option<Ports> {
        self.each_backend().first().copied()
    }

    /// The accept queue of the listener that is nearest to its backlog.
    #[must_use]
    pub fn queue(&self) -> Option<Gauge> {
        Some(self.trends.with(Resource::Queue, headroom::queue(&self.connections.listeners)?))
    }
}

/// The time of the newest line in a batch of a log.
fn newest_line(event: &Event) -> Option<Timestamp> {
    match event {
        Event::Errors(batch) => batch.entries.iter().map(|e| e.at).max(),
        Event::Access(batch) => batch.entries.iter().map(|e| e.at).max(),
        Event::Backend(batch) => batch.entries.iter().filter_map(|e| e.at).max(),
        _ => None,
    }
}

/// A worker that is so much younger than its master was not started with it.
const YOUNGER: Duration = Duration::from_secs(2);

/// When all workers that serve began, if that was after their master: a reload. One of many that is younger was started
/// in place of one that died.
fn renewed(master: &Master) -> Option<Timestamp> {
    let began = master.started?;
    let serving = master.workers.iter().filter(|w| !w.shutting_down);
    let first = serving.map(|w| w.started).min().flatten()?;
    (first.since(began) > YOUNGER).then_some(first)
}
