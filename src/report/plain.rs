//! What a dashboard without a screen says: first how things are, then one sentence for each change.
//!
//! Pure: it hears every event, looks at model and findings, and gives lines. Every line begins with the local time and can be
//! understood alone; none has a sign that only an eye can read.

mod endpoints;
mod errors;
mod findings;
mod happened;
mod opening;
mod pace;
mod said;
mod sight;
mod tunnels;

use crate::diagnose::finding::Diagnosis;
use crate::event::{Event, Stamped};
use crate::human;
use crate::model::Model;
use crate::report::guide::Program;
use crate::time::Timestamp;

use endpoints::Endpoints;
use errors::Errors;
use findings::Findings;
use happened::Happened;
use said::{Said, Voice};
use sight::Sights;
use tunnels::Tunnels;

/// Tells what changes, line by line. What it remembers is bounded by what the model holds.
#[derive(Debug, Default)]
pub struct Teller {
    voice: Voice,
    program: Program,
    began: Option<Timestamp>,
    endpoints: Endpoints,
    errors: Errors,
    findings: Findings,
    happened: Happened,
    sights: Sights,
    tunnels: Tunnels,
}

impl Teller {
    /// A teller who has said nothing yet, of a program that is called so; with `color` the gravity of a line is coloured besides.
    #[must_use]
    pub fn new(program: Program, color: bool) -> Self {
        Self { voice: Voice::new(color), program, ..Self::default() }
    }

    /// Takes in an event that has just been folded into the model.
    pub fn hear(&mut self, e: &Stamped) {
        match &e.event {
            Event::Probe(p) => self.endpoints.hear(e.at, p),
            Event::Errors(batch) if !batch.read.history => self.errors.hear(&batch.entries),
            Event::Backend(batch) if !batch.history => self.errors.hear_backend(&batch.entries),
            Event::Access(batch) if !batch.read.history => self.tunnels.hear(&batch.entries),
            Event::Site(_) => self.happened.hear_site(e.at),
            _ => {}
        }
    }

    /// How things are, in a few lines: host, nginx, what can be seen and what not, endpoints, findings, and the verdict last.
    pub fn opening(&mut self, model: &Model, diagnosis: &Diagnosis, version: &str) -> Vec<String> {
        self.began = Some(model.now);
        let mut all = opening::host(model, version);
        all.extend(self.sights.opening(model));
        all.extend(opening::guide(model, &self.program));
        all.extend(self.endpoints.opening(model));
        all.extend(opening::figures(model));
        all.extend(self.findings.opening(model.now, diagnosis));
        self.happened.begin(model);
        self.tunnels.begin(model);
        self.errors.begin();
        self.voice.say(all)
    }

    /// What has changed since the last time, in the order in which it happened.
    pub fn changes(&mut self, model: &Model, diagnosis: &Diagnosis) -> Vec<String> {
        let mut all = self.sights.changes(model);
        all.extend(self.happened.changes(model));
        all.extend(self.endpoints.changes(model.now));
        all.extend(self.errors.changes(model.now));
        all.extend(self.tunnels.changes(model));
        all.extend(self.findings.changes(model.now, diagnosis));
        self.voice.say(all)
    }

    /// What it came to, in one line.
    #[must_use]
    pub fn closing(&mut self, model: &Model, diagnosis: &Diagnosis) -> String {
        let since = self.began.map_or_else(Default::default, |began| model.now.since(began));
        let mut parts = Vec::new();
        let c = &model.connections;
        if c.last_look().is_some() {
            let (open, opened, died) = (c.count() as u64, c.opened_total, c.died_total);
            parts.push(format!(
                "{} open, {} opened, {} ended",
                human::counted(open, "tunnel", "tunnels"),
                human::grouped(opened),
                human::grouped(died)
            ));
        }
        let lines = self.errors.total();
        parts.push(human::counted(lines, "new error-log line", "new error-log lines"));
        parts.push(human::counted(diagnosis.findings.len() as u64, "finding holds", "findings hold"));
        let words = format!(
            "The look ends after {}; the verdict is {}: {}. {}",
            said::spoken(since),
            diagnosis.verdict.word(),
            said::clause(&diagnosis.summary),
            parts.join("; ")
        );
        self.voice.say(vec![Said::new(model.now, words)]).join("\n")
    }
}
