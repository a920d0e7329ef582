//! Events as a filter sees them: what of a stream passes, batch by batch narrowed to what was asked for.

mod sockets;

use std::borrow::Cow;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use super::entries::{ACCESS, BACKEND, ERRORS, LOG_KEYS, spanned};
use super::filter::{Fields, Filter, Key, Kind, joined};
use crate::event::backend::BackendBatch;
use crate::event::log::{AccessBatch, ErrorBatch, ReadFigures};
use crate::event::matrix::Matrix;
use crate::event::probe::{ProbeEvent, Route, Step};
use crate::event::socket::{SocketDelta, SocketRow};
use crate::event::{Event, Sense, Sight, Stamped};

use sockets::{Leg, Waits};

/// What events have that no entry of a log has.
const OWN_KEYS: [Key; 13] = [
    Key::new("source", Kind::Text),
    Key::new("sight", Kind::Text),
    Key::new("endpoint", Kind::Text),
    Key::new("route", Kind::Text),
    Key::new("step", Kind::Text),
    Key::new("rtt", Kind::Span),
    Key::new("state", Kind::Text),
    Key::new("local", Kind::Address),
    Key::new("peer", Kind::Address),
    Key::new("queue", Kind::Amount),
    Key::new("idle", Kind::Span),
    Key::new("retransmits", Kind::Amount),
    Key::new("timer", Kind::Text),
];

/// What can be named in an event.
pub const EVENT_KEYS: [Key; 40] = joined(LOG_KEYS, OWN_KEYS);

/// Narrows a stream event by event. It remembers which connections it told of, one number each, so that it tells of
/// their end too.
#[derive(Debug)]
pub struct Narrower {
    filter: Filter,
    told: HashSet<u64>,
}

impl Narrower {
    /// Lets pass what passes this filter.
    #[must_use]
    pub fn new(filter: Filter) -> Self {
        Self { filter, told: HashSet::new() }
    }

    /// What is left of an event; `None` when nothing is.
    pub fn narrow<'a>(&mut self, event: &'a Stamped) -> Option<Cow<'a, Stamped>> {
        let left = match &event.event {
            Event::Errors(batch) => self.errors(event, batch)?,
            Event::Access(batch) => self.accesses(event, batch)?,
            Event::Backend(batch) => self.backend(event, batch)?,
            Event::Sockets(delta) => self.sockets(event, delta)?,
            Event::Probe(probe) => return self.whole(event, &**probe),
            Event::Matrix(matrix) => return self.whole(event, &**matrix),
            Event::Sense(sense) => return self.whole(event, sense),
            Event::Tick | Event::Site(_) | Event::Processes(_) => return self.whole(event, &Nothing),
        };
        Some(Cow::Owned(Stamped { at: event.at, from: event.from.clone(), event: left }))
    }

    fn passes(&self, event: &Stamped, row: &dyn Fields) -> bool {
        self.filter.passes(&Facts { event, row })
    }

    fn whole<'a>(&self, event: &'a Stamped, row: &dyn Fields) -> Option<Cow<'a, Stamped>> {
        self.passes(event, row).then_some(Cow::Borrowed(event))
    }

    /// Those of `rows` that pass.
    fn those<T: Fields + Clone>(&self, event: &Stamped, rows: &[T]) -> Vec<T> {
        rows.iter().filter(|r| self.passes(event, *r)).cloned().collect()
    }

    /// A batch that brought nothing from the start is one that says how far the reading is.
    fn is_bare(&self, event: &Stamped, rows: usize) -> bool {
        rows == 0 && self.passes(event, &Nothing)
    }

    fn errors(&self, event: &Stamped, batch: &ErrorBatch) -> Option<Event> {
        let entries = self.those(event, &batch.entries);
        let handshakes = self.those(event, &batch.handshakes);
        let left = entries.len() + handshakes.len();
        if left == 0 && !self.is_bare(event, batch.entries.len() + batch.handshakes.len()) {
            return None;
        }
        let read = of_entries(batch.read, entries.len(), batch.entries.len());
        Some(Event::Errors(ErrorBatch { entries, handshakes, read }))
    }

    fn accesses(&self, event: &Stamped, batch: &AccessBatch) -> Option<Event> {
        let entries = self.those(event, &batch.entries);
        if entries.is_empty() && !self.is_bare(event, batch.entries.len()) {
            return None;
        }
        let read = of_entries(batch.read, entries.len(), batch.entries.len());
        Some(Event::Access(AccessBatch { entries, read }))
    }

    fn backend(&self, event: &Stamped, batch: &BackendBatch) -> Option<Event> {
        let entries = self.those(event, &batch.entries);
        if entries.is_empty() && !self.is_bare(event, batch.entries.len()) {
            return None;
        }
        let all = entries.len() == batch.entries.len();
        let lines = if all { batch.lines } else { entries.len() as u64 };
        let overlong = if all { batch.overlong } else { 0 };
        Some(Event::Backend(BackendBatch { entries, lines, overlong, ..*batch }))
    }

    fn sockets(&mut self, event: &Stamped, delta: &SocketDelta) -> Option<Event> {
        let watched: HashSet<u16> = delta.listeners.iter().map(|l| l.local.port()).collect();
        let side = |row: &SocketRow| Some(watched.contains(&row.local.port())).filter(|_| !watched.is_empty());
        let rows = delta.rows.iter().filter(|row| self.passes(event, &Leg { row, of_client: side(row) }));
        let waits = |(addr, _): &&(SocketAddr, u32)| self.passes(event, &Waits(*addr));
        let mut left = SocketDelta {
            rows: rows.cloned().collect(),
            closed: Vec::new(),
            listeners: self.those(event, &delta.listeners),
            unix: self.those(event, &delta.unix),
            unix_listeners: self.those(event, &delta.unix_listeners),
            time_wait: delta.time_wait.as_ref().map(|all| all.iter().filter(waits).copied().collect()),
            ..*delta
        };
        if delta.full {
            // Whatever is not in the whole table has gone, whether its end was told or not.
            let there: HashSet<u64> =
                delta.rows.iter().map(|r| r.cookie).chain(delta.unix.iter().map(|r| r.cookie)).collect();
            self.told.retain(|c| there.contains(c) || delta.closed.contains(c));
        }
        left.closed = delta.closed.iter().copied().filter(|c| self.told.remove(c)).collect();
        self.told.extend(left.rows.iter().map(|r| r.cookie).chain(left.unix.iter().map(|r| r.cookie)));
        let count = |d: &SocketDelta| d.rows.len() + d.closed.len() + d.unix.len();
        let listeners = |d: &SocketDelta| d.listeners.len() + d.unix_listeners.len();
        let is_left = count(&left) + listeners(&left) > 0 || left.time_wait.as_ref().is_some_and(|t| !t.is_empty());
        (is_left || self.is_bare(event, count(delta) + listeners(delta))).then_some(Event::Sockets(left))
    }
}

/// What was read besides entries belongs to none of them: where some are left out, it is left out too.
fn of_entries(read: ReadFigures, left: usize, all: usize) -> ReadFigures {
    if left == all {
        return read;
    }
    ReadFigures { lines: left as u64, behind: read.behind, history: read.history, ..ReadFigures::default() }
}

/// One thing that an event tells of, with what the event says of itself.
struct Facts<'a> {
    event: &'a Stamped,
    row: &'a dyn Fields,
}

impl Fields for Facts<'_> {
    fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        match key {
            "kind" => Some(Cow::Borrowed(kind(&self.event.event))),
            "source" => Some(Cow::Owned(self.event.from.to_string())),
            _ => self.row.text(key),
        }
    }

    fn number(&self, key: &str) -> Option<f64> {
        self.row.number(key)
    }
}

/// What the stream calls an event.
const fn kind(event: &Event) -> &'static str {
    match event {
        Event::Tick => "tick",
        Event::Site(_) => "site",
        Event::Processes(_) => "processes",
        Event::Errors(_) => ERRORS,
        Event::Access(_) => ACCESS,
        Event::Backend(_) => BACKEND,
        Event::Sockets(_) => "sockets",
        Event::Probe(_) => "probe",
        Event::Matrix(_) => "matrix",
        Event::Sense(_) => "sense",
    }
}

/// An event that tells of no one thing.
struct Nothing;

impl Fields for Nothing {
    fn text(&self, _: &str) -> Option<Cow<'_, str>> {
        None
    }

    fn number(&self, _: &str) -> Option<f64> {
        None
    }
}

impl Fields for ProbeEvent {
    fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        match key {
            "endpoint" => Some(Cow::Borrowed(&self.target.endpoint)),
            "route" => Some(Cow::Borrowed(match self.target.route {
                Route::Proxy => "proxy",
                Route::Direct => "direct",
            })),
            "step" => Some(Cow::Borrowed(step(&self.step))),
            "message" => match &self.step {
                Step::Refused { failure, .. } => Some(Cow::Borrowed(&failure.said)),
                Step::Closed { reason, .. } if !reason.is_empty() => Some(Cow::Borrowed(reason)),
                _ => None,
            },
            "rtt" => spanned(rtt(&self.step)),
            "lifetime" => spanned(held(&self.step)),
            "status" => self.number(key).map(|n| Cow::Owned(n.to_string())),
            _ => None,
        }
    }

    fn number(&self, key: &str) -> Option<f64> {
        match (key, &self.step) {
            ("rtt", step) => rtt(step).map(|d| d.as_secs_f64()),
            ("lifetime", step) => held(step).map(|d| d.as_secs_f64()),
            ("status", Step::Upgraded { answer, .. } | Step::Refused { answer: Some(answer), .. }) => {
                Some(f64::from(answer.status))
            }
            _ => None,
        }
    }
}

fn rtt(step: &Step) -> Option<Duration> {
    match step {
        Step::Pong { rtt, .. } => Some(*rtt),
        Step::Answered { rtt, .. } => *rtt,
        _ => None,
    }
}

fn held(step: &Step) -> Option<Duration> {
    if let Step::Closed { held, .. } = step { Some(*held) } else { None }
}

/// What the stream calls a step.
const fn step(step: &Step) -> &'static str {
    match step {
        Step::Dialing { .. } => "dialing",
        Step::Resolved { .. } => "resolved",
        Step::Connected { .. } => "connected",
        Step::Attached { .. } => "attached",
        Step::Tunnelled { .. } => "tunnelled",
        Step::Secured { .. } => "secured",
        Step::Upgraded { .. } => "upgraded",
        Step::Refused { .. } => "refused",
        Step::Pinged { .. } => "pinged",
        Step::Pong { .. } => "pong",
        Step::Missed { .. } => "missed",
        Step::Strays { .. } => "strays",
        Step::Asked { .. } => "asked",
        Step::Answered { .. } => "answered",
        Step::Unanswered { .. } => "unanswered",
        Step::Closed { .. } => "closed",
        Step::Waiting { .. } => "waiting",
        Step::Stopped => "stopped",
    }
}

impl Fields for Matrix {
    fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        match key {
            "endpoint" => Some(Cow::Borrowed(&self.endpoint)),
            _ => None,
        }
    }

    fn number(&self, _: &str) -> Option<f64> {
        None
    }
}

impl Fields for Sense {
    fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        match key {
            "sight" => Some(Cow::Borrowed(match self.sight {
                Sight::Seen => "seen",
                Sight::Degraded => "degraded",
                Sight::Blind => "blind",
                Sight::Off => "off",
            })),
            "message" => Some(Cow::Borrowed(&self.said)),
            _ => None,
        }
    }

    fn number(&self, _: &str) -> Option<f64> {
        None
    }
}

#[cfg(test)]
mod tests;
