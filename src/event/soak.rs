//! Many tunnels held for a time, added up: how many opened, how many live, what their pings took, why each one died.

use std::collections::BTreeMap;
use std::time::Duration;

use super::probe::{ClosedBy, FailureKind, Phase, Step};
use super::tally::lifetimes::Lifetimes;

/// Points of the survival curve that are kept; with more, every second one goes.
const POINTS: usize = 512;
/// Different causes that are told apart: servers choose close codes.
const CAUSES: usize = 64;

/// Why a tunnel died.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// A close frame of the server, with its code.
    Close(Option<u16>),
    /// FIN without a close frame.
    Fin,
    /// RST.
    Reset,
    /// Pongs stopped.
    PongTimeout,
    /// The server broke the protocol.
    ProtocolError,
    /// One of more causes than are told apart.
    Other,
}

impl Cause {
    const fn of(by: ClosedBy, code: Option<u16>) -> Option<Self> {
        Some(match by {
            ClosedBy::ServerClose => Self::Close(code),
            ClosedBy::Fin => Self::Fin,
            ClosedBy::Reset => Self::Reset,
            ClosedBy::PongTimeout => Self::PongTimeout,
            ClosedBy::ProtocolError => Self::ProtocolError,
            ClosedBy::Us => return None,
        })
    }

    /// In a few words.
    #[must_use]
    pub fn said(self) -> String {
        match self {
            Self::Close(Some(code)) => format!("close frame {code}"),
            Self::Close(None) => "close frame without a code".to_owned(),
            Self::Fin => "FIN without a close frame".to_owned(),
            Self::Reset => "RST".to_owned(),
            Self::PongTimeout => "pongs stopped".to_owned(),
            Self::ProtocolError => "protocol broken by the server".to_owned(),
            Self::Other => "other causes".to_owned(),
        }
    }
}

/// Handshakes that failed alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// How many.
    pub count: u64,
    /// The sentence of the first.
    pub said: String,
}

/// What all tunnels of a soak came to so far.
#[derive(Clone, Debug, Default)]
pub struct Soak {
    /// Tunnels that were to be opened.
    pub asked: u64,
    /// Those whose first handshake succeeded.
    pub opened: u64,
    /// Those whose first handshake failed.
    pub failed: u64,
    /// Open now, of the first handshakes.
    pub alive: u64,
    /// Tunnels opened again after their death.
    pub reopened: u64,
    /// Of those, open now.
    pub reopened_alive: u64,
    /// Pings sent.
    pub pings: u64,
    /// Pongs to them.
    pub pongs: u64,
    /// Pongs that did not come in time.
    pub missed: u64,
    /// Messages sent.
    pub questions: u64,
    /// Answers to them.
    pub answers: u64,
    /// Answers that did not come in time.
    pub unanswered: u64,
    /// Round-trip times of pings.
    pub rtts: Times,
    /// How long handshakes took, from the request to the 101.
    pub handshakes: Times,
    /// Why tunnels died, with their ages.
    pub deaths: BTreeMap<Cause, Lifetimes>,
    /// Why handshakes failed.
    pub failures: BTreeMap<(Phase, String), Failed>,
    /// Time since the end of the ramp and tunnels of the first handshakes alive then.
    pub survival: Curve,
}

impl Soak {
    /// Nothing yet, of `asked` tunnels.
    #[must_use]
    pub fn of(asked: u64) -> Self {
        Self { asked, ..Self::default() }
    }

    /// Folds one step of one tunnel in; `again`: it has been open before.
    pub fn apply(&mut self, step: &Step, again: bool) {
        match step {
            Step::Upgraded { took, .. } => {
                self.handshakes.add(*took);
                if again {
                    self.reopened += 1;
                    self.reopened_alive += 1;
                } else {
                    self.opened += 1;
                    self.alive += 1;
                }
            }
            Step::Refused { failure, .. } => {
                self.failed += u64::from(!again);
                self.fail(failure.phase, failure.kind, &failure.said);
            }
            Step::Pinged { .. } => self.pings += 1,
            Step::Pong { rtt, .. } => {
                self.pongs += 1;
                self.rtts.add(*rtt);
            }
            Step::Missed { .. } => self.missed += 1,
            Step::Asked { .. } => self.questions += 1,
            Step::Answered { .. } => self.answers += 1,
            Step::Unanswered { .. } => self.unanswered += 1,
            Step::Closed { by, code, held, .. } => {
                let Some(cause) = Cause::of(*by, *code) else { return };
                if again {
                    self.reopened_alive = self.reopened_alive.saturating_sub(1);
                } else {
                    self.alive = self.alive.saturating_sub(1);
                }
                self.die(cause, *held);
            }
            _ => {}
        }
    }

    fn die(&mut self, cause: Cause, age: Duration) {
        let known = self.deaths.contains_key(&cause) || self.deaths.len() < CAUSES;
        self.deaths.entry(if known { cause } else { Cause::Other }).or_default().add(age, 1);
    }

    fn fail(&mut self, phase: Phase, kind: FailureKind, said: &str) {
        let kind = serde_json::to_value(kind).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
        let failed = self.failures.entry((phase, kind)).or_insert_with(|| Failed { count: 0, said: said.to_owned() });
        failed.count += 1;
    }

    /// How many died.
    #[must_use]
    pub fn died(&self) -> u64 {
        self.deaths.values().map(Lifetimes::total).sum()
    }

    /// The share of the tunnels asked for that are alive, 0 to 1; `None` when none was asked for.
    #[must_use]
    pub fn surviving(&self) -> Option<f64> {
        (self.asked > 0).then(|| self.alive as f64 / self.asked as f64)
    }
}

/// A histogram of short times, exact to a thousandth.
#[derive(Clone, Debug)]
pub struct Times(hdrhistogram::Histogram<u32>);

/// An hour in microseconds: a longer time is counted as that.
const LONGEST: u64 = 3_600_000_000;

impl Default for Times {
    fn default() -> Self {
        let built = hdrhistogram::Histogram::new_with_bounds(1, LONGEST, 3);
        // The bounds are ours and right; without an upper one it grows by itself.
        Self(built.unwrap_or_else(|_| {
            hdrhistogram::Histogram::new(3).unwrap_or_else(|_| unreachable!("3 digits are allowed"))
        }))
    }
}

impl Times {
    fn add(&mut self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(LONGEST);
        self.0.saturating_record(micros.clamp(1, LONGEST));
    }

    /// The time that the share `of_all` (0 to 1) did not exceed; `None` when there was none.
    #[must_use]
    pub fn quantile(&self, of_all: f64) -> Option<Duration> {
        (!self.0.is_empty()).then(|| Duration::from_micros(self.0.value_at_quantile(of_all)))
    }
}

/// A curve of counts over time, in bounded memory.
#[derive(Clone, Debug, Default)]
pub struct Curve {
    points: Vec<(Duration, u64)>,
    /// Points nearer to the one before than this are left out.
    step: Duration,
}

impl Curve {
    /// Adds a point, unless the last one is too near.
    pub fn add(&mut self, at: Duration, count: u64) {
        if self.points.last().is_some_and(|(last, _)| at.saturating_sub(*last) < self.step) {
            return;
        }
        if self.points.len() == POINTS {
            let mut keep = false;
            self.points.retain(|_| {
                keep = !keep;
                keep
            });
            self.step = self
                .points
                .windows(2)
                .filter_map(|w| Some(w.get(1)?.0.saturating_sub(w.first()?.0)))
                .min()
                .unwrap_or_default();
        }
        self.points.push((at, count));
    }

    /// The points, oldest first.
    #[must_use]
    pub fn points(&self) -> &[(Duration, u64)] {
        &self.points
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::probe::{Answer, Failure};

    fn closed(by: ClosedBy, code: Option<u16>, held: u64) -> Step {
        Step::Closed { by, code, reason: String::new(), held: Duration::from_secs(held), idle: Duration::ZERO }
    }

    fn upgraded() -> Step {
        Step::Upgraded { took: Duration::from_millis(1), request: String::new(), answer: Answer::default() }
    }

    #[test]
    fn the_living_and_the_dead_add_up() {
        let mut soak = Soak::of(4);
        for _ in 0..3 {
            soak.apply(&upgraded(), false);
        }
        let failure = Failure { phase: Phase::Connect, kind: FailureKind::ConnectionRefused, said: "no".into() };
        let refused = Step::Refused { failure, took: Duration::ZERO, request: String::new(), answer: None, tls: None };
        soak.apply(&refused, false);
        soak.apply(&closed(ClosedBy::Fin, None, 60), false);
        soak.apply(&closed(ClosedBy::ServerClose, Some(1001), 5), false);
        soak.apply(&upgraded(), true);
        soak.apply(&refused, true);
        assert_eq!((soak.opened, soak.failed, soak.alive, soak.died()), (3, 1, 1, 2));
        assert_eq!((soak.reopened, soak.reopened_alive), (1, 1), "a second life is not survival");
        assert_eq!(soak.surviving(), Some(0.25));
        let causes: Vec<String> = soak.deaths.keys().map(|c| c.said()).collect();
        assert_eq!(causes, ["close frame 1001", "FIN without a close frame"]);
        assert_eq!(soak.failures[&(Phase::Connect, "connection-refused".to_owned())].count, 2);
        soak.apply(&closed(ClosedBy::Us, Some(1000), 9), false);
        assert_eq!((soak.alive, soak.died()), (1, 2), "our own end is no death");
    }

    #[test]
    fn close_codes_without_end_are_bounded() {
        let mut soak = Soak::of(5_000);
        for code in 0..5_000 {
            soak.apply(&upgraded(), false);
            soak.apply(&closed(ClosedBy::ServerClose, Some(code), 1), false);
        }
        assert_eq!(soak.died(), 5_000);
        assert!(soak.deaths.len() <= CAUSES + 1);
    }

    #[test]
    fn a_curve_of_eight_hours_keeps_its_ends_and_stays_small() {
        let mut curve = Curve::default();
        for s in 0..28_800 {
            curve.add(Duration::from_secs(s), 30_000 - s);
        }
        let points = curve.points();
        assert!(points.len() <= POINTS && points.len() > POINTS / 4, "{}", points.len());
        assert_eq!(points[0], (Duration::ZERO, 30_000));
        assert!(points.last().unwrap().0 > Duration::from_secs(28_500));
        assert!(points.windows(2).all(|w| w[0].0 < w[1].0));
    }
}
