//! Endpoints that open, fail, stop answering and close.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::probe::{Cadence, ClosedBy, FailureKind, Phase, ProbeEvent, Route, Step, TargetId};
use crate::model::Model;
use crate::model::probes::{Probe, ProbeState};
use crate::time::Timestamp;

use super::said::{Gravity, Said, clause, first_few, spoken};

/// Changes of one endpoint that are told one by one, and how soon each of them is allowed again.
const AT_ONCE: u32 = 6;
const AGAIN: Duration = Duration::from_secs(20);
/// Endpoints told one by one at the beginning.
const ONE_BY_ONE: usize = 12;
/// Sentences that may wait; what comes beyond is counted.
const WAITING: usize = 64;

/// What was told last of one endpoint.
#[derive(Debug)]
struct Life {
    state: Option<State>,
    /// Pings, or messages, are not answered.
    silent: bool,
    allowed: u32,
    spent: Option<Timestamp>,
    /// The newest sentence that was not allowed, and how many there were.
    held_back: Option<(Said, u64)>,
}

/// What counts as a change: an attempt that fails as the one before is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// In which phase, how, and with which HTTP status.
    Failed(Phase, FailureKind, Option<u16>),
    Closed,
    Stopped,
}

impl Default for Life {
    fn default() -> Self {
        Self { state: None, silent: false, allowed: AT_ONCE, spent: None, held_back: None }
    }
}

impl Life {
    /// Passes a sentence on, or holds it back when there were too many of late.
    fn tell(&mut self, said: Said) -> Option<Said> {
        self.refill(said.at);
        let held = self.held_back.take();
        if self.allowed == 0 {
            self.held_back = Some((said, held.map_or(1, |(_, n)| n + 1)));
            return None;
        }
        self.spend(said.at);
        Some(with_count(said, held.map_or(0, |(_, n)| n)))
    }

    fn spend(&mut self, at: Timestamp) {
        self.allowed -= 1;
        self.spent.get_or_insert(at);
    }

    fn refill(&mut self, now: Timestamp) {
        while let Some(spent) = self.spent.filter(|s| now.since(*s) >= AGAIN) {
            self.allowed += 1;
            self.spent = (self.allowed < AT_ONCE).then(|| spent.plus(AGAIN));
        }
    }

    /// What was held back, once something may be said again.
    fn late(&mut self, now: Timestamp) -> Option<Said> {
        self.refill(now);
        let (said, n) = self.held_back.take_if(|_| self.allowed > 0)?;
        self.spend(now);
        Some(with_count(said, n - 1))
    }
}

fn with_count(said: Said, others: u64) -> Said {
    if others == 0 {
        return said;
    }
    Said { words: format!("{}; {others} changes of it before that were not told", said.words), ..said }
}

/// What was told of all endpoints.
#[derive(Debug, Default)]
pub(super) struct Endpoints {
    lives: BTreeMap<TargetId, Life>,
    waiting: Vec<Said>,
    left_out: u64,
}

impl Endpoints {
    pub(super) fn hear(&mut self, at: Timestamp, e: &ProbeEvent) {
        let life = self.lives.entry(e.target.clone()).or_default();
        let Some(said) = life.step(at, &e.target, &e.step).and_then(|said| life.tell(said)) else { return };
        if self.waiting.len() < WAITING {
            self.waiting.push(said);
        } else {
            self.left_out += 1;
        }
    }

    /// How each endpoint is; what was heard so far is said with that.
    pub(super) fn opening(&mut self, model: &Model) -> Vec<Said> {
        self.waiting.clear();
        let all: Vec<Said> = model.probes.by_target.iter().filter_map(|(t, p)| now(model, t, p)).collect();
        let (mut out, more) = first_few(all, ONE_BY_ONE);
        if more > 0 {
            out.push(Said::new(model.now, format!("{more} more endpoints are probed")));
        }
        out
    }

    pub(super) fn changes(&mut self, now: Timestamp) -> Vec<Said> {
        let mut out = std::mem::take(&mut self.waiting);
        out.extend(self.lives.values_mut().filter_map(|l| l.late(now)));
        let left_out = std::mem::take(&mut self.left_out);
        if left_out > 0 {
            out.push(Said::new(now, format!("{left_out} more changes of endpoints were not told one by one")));
        }
        out
    }
}

impl Life {
    /// The sentence to a step that changes something.
    fn step(&mut self, at: Timestamp, target: &TargetId, step: &Step) -> Option<Said> {
        let name = name(target);
        let (state, said) = match step {
            Step::Upgraded { took, .. } => {
                self.silent = false;
                let words = format!("{name} is open: answered 101 in {}", spoken(*took));
                (State::Open, Said::new(at, words).grave(Gravity::Good))
            }
            Step::Refused { failure, answer, .. } => {
                let words = format!("{name} failed: {}", clause(&failure.said));
                (
                    State::Failed(failure.phase, failure.kind, answer.as_ref().map(|a| a.status)),
                    Said::new(at, words).grave(Gravity::Bad),
                )
            }
            Step::Closed { by: ClosedBy::Us, .. } => return None,
            Step::Closed { by, code, reason, held, idle } => {
                self.state = Some(State::Closed);
                let words = format!("{name} closed after {}: {}", spoken(*held), end(*by, *code, reason));
                // Of a pace the silence is what matters.
                let silence =
                    target.cadence.map_or_else(String::new, |_| format!(", the last {} in silence", spoken(*idle)));
                return Some(Said::new(at, words + &silence).grave(Gravity::Bad));
            }
            Step::Missed { seq } => return self.silence(at, true, || format!("{name} does not answer ping {seq}")),
            Step::Unanswered { seq } => {
                return self.silence(at, true, || format!("{name} does not answer message {seq} as expected"));
            }
            Step::Pong { .. } | Step::Answered { .. } => {
                return self.silence(at, false, || format!("{name} answers again"));
            }
            Step::Stopped => (State::Stopped, Said::new(at, format!("{name} is no longer probed"))),
            _ => return None,
        };
        let before = self.state.replace(state);
        // An endpoint that was never begun is not stopped.
        let is_news = before != Some(state) && !(before.is_none() && state == State::Stopped);
        is_news.then_some(said)
    }

    fn silence(&mut self, at: Timestamp, silent: bool, words: impl Fn() -> String) -> Option<Said> {
        let was = std::mem::replace(&mut self.silent, silent);
        let gravity = if silent { Gravity::Poor } else { Gravity::Good };
        (was != silent).then(|| Said::new(at, words()).grave(gravity))
    }
}

/// How an endpoint is called in a sentence.
fn name(target: &TargetId) -> String {
    let url = clause(&target.url);
    match (target.route, target.cadence) {
        (Route::Direct, None) => format!("Backend {url}, asked directly,"),
        (Route::Direct, Some(Cadence::Silent)) => format!("Backend {url}, asked directly and held in silence,"),
        (Route::Direct, Some(pace @ Cadence::Every(_))) => {
            format!("Backend {url}, asked directly and pinged every {pace},")
        }
        (Route::Proxy, None) => format!("Endpoint {url}"),
        (Route::Proxy, Some(Cadence::Silent)) => format!("Endpoint {url}, held in silence,"),
        (Route::Proxy, Some(pace @ Cadence::Every(_))) => format!("Endpoint {url}, pinged every {pace},"),
    }
}

fn end(by: ClosedBy, code: Option<u16>, reason: &str) -> String {
    let who = match by {
        ClosedBy::ServerClose => "the server sent a close frame",
        ClosedBy::Fin => "the connection was ended without a close frame",
        ClosedBy::Reset => "the connection was reset",
        ClosedBy::PongTimeout => "pings were not answered",
        ClosedBy::ProtocolError => "the server broke the protocol",
        ClosedBy::Us => "wspulse closed it",
    };
    let code = code.map_or_else(String::new, |c| format!(" with code {c}"));
    let reason = if reason.is_empty() { String::new() } else { format!(", saying {}", clause(reason)) };
    format!("{who}{code}{reason}")
}

fn now(model: &Model, target: &TargetId, probe: &Probe) -> Option<Said> {
    let name = name(target);
    let said = |words, gravity| Some(Said::new(model.now, words).grave(gravity));
    match &probe.state {
        ProbeState::Open(_) => {
            let rtt = probe.rtt.map_or_else(String::new, |rtt| format!(", a ping takes {}", spoken(rtt)));
            said(format!("{name} is open{rtt}"), Gravity::Good)
        }
        ProbeState::Failed(failure) => said(format!("{name} fails: {}", clause(&failure.said)), Gravity::Bad),
        ProbeState::Closed(c) => {
            said(format!("{name} closed after {}: {}", spoken(c.held), end(c.by, c.code, &c.reason)), Gravity::Bad)
        }
        ProbeState::Fresh | ProbeState::Dialing => Some(Said::new(model.now, format!("{name} has not answered yet"))),
        ProbeState::Stopped => None,
    }
}
