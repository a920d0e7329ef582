//! Everything that a frame shows, as plain data: freezing the screen is keeping the old one of these.

pub mod backend;
pub mod endpoint;
pub mod error;
pub mod finding;
pub mod outcome;
pub mod past;
pub mod seen;
pub mod timer;
pub mod tunnel;

use std::sync::Arc;
use std::time::Duration;

use crate::diagnose::finding::{Diagnosis, Severity, Verdict};
use crate::event::log::{AccessEntry, Level};
use crate::event::{Sight, SourceKind};
use crate::model::Model;
use crate::model::errors::kept::Kept;
use crate::model::headroom::{Gauge, Ports};
use crate::report::guide::{Guide, guide, log_guide};
use crate::time::Timestamp;

use super::pane::Pane;
use endpoint::EndpointRow;
use error::ErrorRow;
use finding::FindingRow;
use past::Past;
use timer::Timer;
use tunnel::Tunnels;

/// The rates of the Connections title are taken over this span.
const RATE_SPAN: Duration = Duration::from_secs(10);

/// What nginx has left is measured at most this often between two looks at the sockets.
const MEASURED: Duration = Duration::from_secs(5);

/// What the title of the Errors pane counts over.
pub const HALF_HOUR: Duration = Duration::from_secs(1_800);

/// One moment of one host.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The moment.
    pub now: Timestamp,
    /// The host's name.
    pub host: String,
    /// nginx's version, when it is known.
    pub nginx: Option<String>,
    /// Masters, serving and draining workers; `None` before the processes were looked for.
    pub processes: Option<(usize, usize, usize)>,
    /// The lights.
    pub sources: Vec<Source>,
    /// In one word.
    pub verdict: Verdict,
    /// Since when that holds; `None` where it held when the look began and nothing tells since when.
    pub verdict_since: Option<Timestamp>,
    /// In one sentence.
    pub summary: String,
    /// How many findings there are by severity: critical, warning, info.
    pub counts: [usize; 3],
    /// Handshakes.
    pub endpoints: Vec<EndpointRow>,
    /// Connections.
    pub tunnels: Tunnels,
    /// Errors.
    pub errors: Vec<ErrorRow>,
    /// The same, to be read as totals.
    pub error_total: u64,
    /// Those of the last half hour.
    pub errors_lately: u64,
    /// The kept error-log lines, oldest first.
    pub lines: Arc<Vec<Arc<Kept>>>,
    /// Access-log lines of the same connections.
    pub ended: Vec<AccessEntry>,
    /// The level of the error log that is least talkative, when the configuration tells.
    pub log_level: Option<Level>,
    /// Findings: those that hold, then those that held until lately.
    pub findings: Vec<FindingRow>,
    /// Timeline.
    pub past: Past,
    /// What cuts tunnels, by the configuration.
    pub timers: Arc<Vec<Timer>>,
    /// What nginx has left.
    pub headroom: Headroom,
    measured: Timestamp,
    /// What to do while no endpoint is known, and while the error log cannot be read.
    pub guides: [Option<Guide>; 2],
    /// Since when the counters run.
    pub since: Option<Timestamp>,
}

/// One kind of source with its worst light.
#[derive(Clone, Debug)]
pub struct Source {
    /// What it looks at.
    pub kind: SourceKind,
    /// The light.
    pub sight: Sight,
    /// What is seen or what failed.
    pub said: String,
    /// What to do about it.
    pub remedy: Option<String>,
    /// Bytes not read yet.
    pub behind: u64,
}

/// Capacity and pace.
#[derive(Clone, Copy, Debug, Default)]
pub struct Headroom {
    /// Connection slots.
    pub slots: Option<Gauge>,
    /// Descriptors of the fullest worker.
    pub fds: Option<Gauge>,
    /// The fullest accept queue.
    pub queue: Option<Gauge>,
    /// The worker with the most connections and its slots, where there are several.
    pub worker: Option<(u32, Gauge)>,
    /// The backend address with the fewest local ports left.
    pub ports: Option<Ports>,
    /// Tunnels opened and ended a second; `None` before the sockets were looked at.
    pub pace: Option<(f64, f64)>,
    /// Client connections that lead to no backend.
    pub idle_clients: usize,
}

impl Snapshot {
    /// What `model` and `diagnosis` show now.
    #[must_use]
    pub fn of(model: &Model, diagnosis: &Diagnosis) -> Self {
        Self::with(model, diagnosis, Tunnels::of(model), (headroom(model), model.now), None)
    }

    /// The same as the successor of this one: what did not change is shared.
    #[must_use]
    pub fn after(&self, model: &Model, diagnosis: &Diagnosis) -> Self {
        let tunnels = self.tunnels.after(model);
        // Every connection is counted for it: not for every key.
        let same = Arc::ptr_eq(&tunnels.rows, &self.tunnels.rows) && model.now.since(self.measured) < MEASURED;
        let headroom = if same { (self.headroom, self.measured) } else { (headroom(model), model.now) };
        Self::with(model, diagnosis, tunnels, headroom, Some(self))
    }

    fn with(
        model: &Model,
        diagnosis: &Diagnosis,
        tunnels: Tunnels,
        (headroom, measured): (Headroom, Timestamp),
        before: Option<&Self>,
    ) -> Self {
        let known = before.map_or(&[][..], |b| &b.findings);
        let findings = finding::rows(diagnosis, known, model.since, model.now);
        let timers = timer::timers(model);
        let same_timers = before.map(|b| &b.timers).filter(|t| ***t == timers).cloned();
        let told = before.map(|b| (b.verdict, b.verdict_since));
        let version = model.masters().iter().find_map(|m| m.version).or(model.site.as_ref().and_then(|s| s.version));
        let lines = Arc::new(model.errors.kept());
        let logs = model.site.iter().flat_map(|s| &s.error_logs);
        Self {
            now: model.now,
            host: model.host.to_string(),
            nginx: version.map(|v| v.to_string()),
            processes: processes(model),
            sources: sources(model),
            verdict: diagnosis.verdict,
            verdict_since: finding::verdict_since(diagnosis.verdict, told, &findings, model.since, model.now),
            summary: diagnosis.summary.clone(),
            counts: [Severity::Critical, Severity::Warning, Severity::Info].map(|s| diagnosis.count(s)),
            endpoints: endpoint::rows(model),
            tunnels,
            errors: error::rows(model).into_iter().chain(backend::rows(model)).collect(),
            error_total: model.errors.entries,
            errors_lately: model.errors.by_category.values().map(|t| t.buckets.within(model.now, HALF_HOUR)).sum(),
            ended: error::ended(model, &lines),
            past: Past::of(model, &lines),
            lines,
            log_level: logs.map(|l| l.level).min(),
            findings,
            timers: same_timers.unwrap_or_else(|| Arc::new(timers)),
            headroom,
            measured,
            guides: [guide(model), log_guide(model)],
            since: model.since,
        }
    }

    /// As many processes of nginx as the model knows now.
    #[must_use]
    pub fn counts_processes_of(&self, model: &Model) -> bool {
        self.processes == processes(model)
    }

    /// This moment beside the timeline of the present; `at` is the moment that was asked for.
    #[must_use]
    pub fn seen_from(&self, present: &Self, at: Timestamp) -> Self {
        let mut past = present.past.clone();
        past.cursor = Some(at);
        self.with_past(past)
    }

    /// The same moment with another timeline.
    #[must_use]
    pub fn with_past(&self, past: Past) -> Self {
        Self { past, ..self.clone() }
    }

    /// The sources of one kind see something: only then is a count of nothing a zero, and not unknown.
    #[must_use]
    pub fn sees(&self, kind: SourceKind) -> bool {
        self.source(kind).is_some_and(|s| matches!(s.sight, Sight::Seen | Sight::Degraded))
    }

    /// What to do about a pane that has nothing to show.
    #[must_use]
    pub fn guide(&self, pane: Pane) -> Option<&Guide> {
        let [endpoints, log] = &self.guides;
        match pane {
            Pane::Handshakes => endpoints.as_ref().filter(|_| self.endpoints.is_empty()),
            Pane::Errors => log.as_ref().filter(|_| self.errors.is_empty()),
            _ => None,
        }
    }

    /// The light of one kind.
    #[must_use]
    pub fn source(&self, kind: SourceKind) -> Option<&Source> {
        self.sources.iter().find(|s| s.kind == kind)
    }
}

fn processes(model: &Model) -> Option<(usize, usize, usize)> {
    let (serving, draining) = model.workers();
    model.processes.as_ref().map(|p| (p.masters.len(), serving, draining))
}

fn sources(model: &Model) -> Vec<Source> {
    let kinds = [
        SourceKind::Process,
        SourceKind::ErrorLog,
        SourceKind::AccessLog,
        SourceKind::BackendLog,
        SourceKind::Sockets,
        SourceKind::Config,
    ];
    let one = |kind| {
        let sense = model.sight(kind)?;
        let of_kind = model.senses.iter().filter(|(id, _)| id.kind == kind);
        Some(Source {
            kind,
            sight: sense.sight,
            said: sense.said.clone(),
            remedy: sense.remedy.clone(),
            behind: of_kind.map(|(_, s)| s.behind).sum(),
        })
    };
    kinds.into_iter().filter_map(one).collect()
}

fn headroom(model: &Model) -> Headroom {
    let c = &model.connections;
    let rate = |b: &crate::model::stats::Track| b.within(model.now, RATE_SPAN) as f64 / RATE_SPAN.as_secs_f64();
    Headroom {
        slots: model.slots(),
        fds: model.fds(),
        queue: model.queue(),
        worker: model.worker_slots().filter(|_| model.workers().0 > 1),
        ports: model.ports(),
        pace: c.last_look().map(|_| (rate(&c.opened), rate(&c.died))),
        idle_clients: c.idle_clients,
    }
}
