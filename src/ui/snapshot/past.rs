//! What happened when, over the last day: errors by category, tunnels, probes, marks.

use std::sync::Arc;
use std::time::Duration;

use crate::event::SourceKind;
use crate::event::log::Category;
use crate::event::probe::{Route, TargetId};
use crate::event::{Sense, Sight};
use crate::model::Model;
use crate::model::errors::kept::Kept;
use crate::model::marks::Mark;
use crate::model::probes::{Probe, Turn};
use crate::model::stats::{BUCKET_S, Track};
use crate::time::Timestamp;

use super::super::light::Light;
use super::super::scale::{Scale, Span};
use super::error;

/// Buckets of the half hour.
const CELLS: usize = 360;
/// Endpoints whose probes have a strip.
const STRIPS: usize = 32;
/// A span so short that it moves second by second.
const SHORT_S: i64 = 300;
const MINUTE_S: i64 = 60;

/// What happened when.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// Error-log entries by category, in the contract's order.
    pub errors: Vec<ErrorTrack>,
    /// Tunnels that opened.
    opened: Track,
    /// Tunnels that ended: as the socket tables and as the access log tell.
    ended: [Track; 2],
    /// The probe of each endpoint.
    pub probes: Vec<ProbeTrack>,
    /// Oldest first.
    pub marks: Vec<Mark>,
    /// The error-log lines that are kept now, oldest first.
    pub lines: Arc<Vec<Arc<Kept>>>,
    /// The present.
    pub now: Timestamp,
    /// When the newest thing happened that the timeline shows.
    newest: Option<Timestamp>,
    /// When watching, or counting anew, began.
    pub began: Option<Timestamp>,
    /// The moment that is asked for, when it is not the present.
    pub cursor: Option<Timestamp>,
    /// What a filter leaves out.
    pub left_out: Vec<What>,
    /// Since when errors, openings and ends are known; `None` when they are not.
    known: [Option<Timestamp>; 3],
    /// Buckets of the half hour since the oldest thing that is known.
    pub age: usize,
}

/// One category over time.
#[derive(Clone, Debug)]
pub struct ErrorTrack {
    /// Which.
    pub category: Category,
    /// How much it hurts.
    pub light: Light,
    /// Entries so far.
    pub total: u64,
    track: Track,
}

/// One endpoint's probe over time.
#[derive(Clone, Debug)]
pub struct ProbeTrack {
    /// The endpoint without its scheme.
    pub name: String,
    /// What it turned to, oldest first; each holds until the next.
    pub turns: Vec<(Timestamp, Turn)>,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Entries of the error log.
    Errors,
    /// Tunnels that opened.
    Opened,
    /// Tunnels that ended.
    Ended,
}

/// How a probe was in one column: the worst of what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Not known.
    Unknown,
    /// Open.
    Open,
    /// The tunnel died, and was not open again yet.
    Died,
    /// It failed to open.
    Failed,
}

impl Past {
    /// The past of a model; `lines` are those that it keeps.
    #[must_use]
    pub fn of(model: &Model, lines: &Arc<Vec<Arc<Kept>>>) -> Self {
        let errors = model.errors.by_category.iter();
        let errors: Vec<ErrorTrack> = errors
            .map(|(c, t)| ErrorTrack {
                category: *c,
                light: error::light(*c, t),
                total: t.total,
                track: t.buckets.clone(),
            })
            .collect();
        let mut past = Self {
            age: age(model),
            known: known(model),
            errors,
            opened: model.connections.opened.clone(),
            ended: [model.connections.died.clone(), model.sessions.deaths.clone()],
            probes: probes(model),
            marks: model.marks.iter().cloned().collect(),
            lines: Arc::clone(lines),
            now: model.now,
            began: model.since,
            cursor: None,
            left_out: Vec::new(),
            newest: None,
        };
        past.newest = past.newest_of();
        past
    }

    /// How much of it there was in each column.
    #[must_use]
    pub fn counts(&self, what: What, scale: &Scale) -> Vec<u64> {
        match what {
            What::Errors => self
                .errors
                .iter()
                .fold(vec![0; scale.columns()], |sum, e| sum.iter().zip(e.counts(scale)).map(|(a, b)| a + b).collect()),
            What::Opened => scale.counts(&self.opened),
            // The same ends seen twice: in the socket table, and in the access log.
            What::Ended => scale.counts_of_either(&self.ended[0], &self.ended[1]),
        }
    }

    /// Since when it is known: before that, nothing counted does not mean that there was nothing. `None`: not at all.
    #[must_use]
    pub const fn known(&self, what: What) -> Option<Timestamp> {
        match what {
            What::Errors => self.known[0],
            What::Opened => self.known[1],
            What::Ended => self.known[2],
        }
    }

    /// The worst that any probe was in each column.
    #[must_use]
    pub fn worst_probes(&self, scale: &Scale) -> Vec<State> {
        let none = vec![State::Unknown; scale.columns()];
        self.probes
            .iter()
            .fold(none, |worst, p| worst.into_iter().zip(p.states(scale)).map(|(a, b)| a.max(b)).collect())
    }

    /// Where the timeline ends at the right. While nothing happens it moves with the minutes of the clock and not between
    /// them, so that a quiet screen writes nothing.
    #[must_use]
    pub fn edge(&self, span: Span) -> Timestamp {
        if span.secs() <= SHORT_S {
            return self.now;
        }
        let minute = self.now.secs().div_euclid(MINUTE_S).saturating_mul(MINUTE_S);
        // The moment that is looked at stands in a column, too.
        self.newest
            .max(self.cursor)
            .map_or(Timestamp::from_secs(minute), |t| t.max(Timestamp::from_secs(minute)))
            .min(self.now)
    }

    /// When the newest thing happened that the timeline shows.
    fn newest_of(&self) -> Option<Timestamp> {
        let tracks = self.errors.iter().map(|e| &e.track).chain([&self.opened]).chain(&self.ended);
        let turns = self.probes.iter().filter_map(|p| p.turns.last()).map(|(at, _)| *at);
        let marks = self.marks.last().map(|m| m.at);
        tracks.filter_map(Track::newest).chain(turns).chain(marks).chain(self.began).max()
    }
}

impl ErrorTrack {
    /// How many entries there were in each column.
    #[must_use]
    pub fn counts(&self, scale: &Scale) -> Vec<u64> {
        scale.counts(&self.track)
    }

    /// One that has not counted anything.
    #[cfg(test)]
    #[must_use]
    pub fn empty(category: Category, light: Light, total: u64) -> Self {
        Self { category, light, total, track: Track::default() }
    }
}

impl ProbeTrack {
    /// How the probe was in each column.
    #[must_use]
    pub fn states(&self, scale: &Scale) -> Vec<State> {
        let now = scale.now();
        let mut out = vec![State::Unknown; scale.columns()];
        let ends = self.turns.iter().skip(1).map(|(at, _)| *at).chain([now]);
        for ((from, turn), to) in self.turns.iter().zip(ends) {
            let state = match turn {
                Turn::Off => continue,
                Turn::Opened => State::Open,
                Turn::Died => State::Died,
                Turn::Failed => State::Failed,
            };
            let Some(last) = scale.column(to.min(now)) else { continue };
            // Older than all columns: it still was so in the first.
            let first = scale.column(*from).unwrap_or(0);
            for cell in out.iter_mut().take(last + 1).skip(first) {
                *cell = (*cell).max(state);
            }
        }
        out
    }

    /// How it is now.
    #[must_use]
    pub fn last(&self) -> Option<Turn> {
        self.turns.last().map(|(_, turn)| *turn)
    }
}

/// A log or a table is read, well or badly.
fn is_read(sense: Option<&Sense>) -> bool {
    sense.is_some_and(|s| matches!(s.sight, Sight::Seen | Sight::Degraded))
}

fn known(model: &Model) -> [Option<Timestamp>; 3] {
    let watched = |kind| model.since.filter(|_| is_read(model.sight(kind)));
    let earliest = |times: &[Option<Timestamp>]| times.iter().flatten().min().copied();
    let first_error = model.errors.by_category.values().filter_map(|t| t.first).min();
    let looked = model.connections.counted_since();
    [
        earliest(&[watched(SourceKind::ErrorLog), first_error]),
        looked,
        earliest(&[watched(SourceKind::AccessLog), looked, model.sessions.deaths.first()]),
    ]
}

fn age(model: &Model) -> usize {
    let (now, bucket) = (model.now, Duration::from_secs(BUCKET_S.unsigned_abs()));
    let errors = model.errors.series(now, CELLS, bucket);
    let closed = model.connections.died.series(now, CELLS, bucket);
    let logged = model.sessions.deaths.series(now, CELLS, bucket);
    let some = errors.iter().zip(&closed).zip(&logged).position(|((e, c), l)| e + c + l > 0);
    let newest = now.secs().div_euclid(BUCKET_S);
    let watched = model.since.map_or(0, |s| newest - s.secs().div_euclid(BUCKET_S));
    (CELLS - some.unwrap_or(CELLS)).max(usize::try_from(watched).unwrap_or(0)).clamp(1, CELLS)
}

/// Of each endpoint the way through nginx; where nobody goes that way, the first.
fn probes(model: &Model) -> Vec<ProbeTrack> {
    let mut out: Vec<(&str, &TargetId, &Probe)> = Vec::new();
    for (target, probe) in model.probes.by_target.iter().filter(|(t, _)| t.cadence.is_none()) {
        let full = out.len() >= STRIPS;
        match out.iter_mut().find(|(endpoint, ..)| *endpoint == &*target.endpoint) {
            Some(known) if known.1.route != Route::Proxy && target.route == Route::Proxy => {
                (known.1, known.2) = (target, probe);
            }
            Some(_) => {}
            None if full => {}
            None => out.push((&target.endpoint, target, probe)),
        }
    }
    let bare = |url: &str| url.split_once("://").map_or(url, |(_, rest)| rest).to_owned();
    out.into_iter().map(|(url, _, p)| ProbeTrack { name: bare(url), turns: p.turns.iter().collect() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strip_shows_the_worst_of_each_column_and_keeps_the_unknown_apart() {
        let at = Timestamp::from_secs;
        let now = at(10_000);
        let scale = Scale::new(Span::default(), now, 61);
        assert_eq!(scale.start(60), at(9_990), "half a minute each");
        let turns = vec![
            (at(9_601), Turn::Opened),
            (at(9_700), Turn::Died),
            (at(9_702), Turn::Opened),
            (at(9_800), Turn::Failed),
            (at(9_900), Turn::Off),
        ];
        let strip = ProbeTrack { name: "example.test/ws".into(), turns };
        let states = strip.states(&scale);
        let of = |s| states[scale.column(at(s)).expect("a column")];
        assert_eq!(
            [9_500, 9_610, 9_700, 9_760, 9_810, 9_960].map(of),
            [State::Unknown, State::Open, State::Died, State::Open, State::Failed, State::Unknown]
        );
        let long_ago = ProbeTrack { name: String::new(), turns: vec![(at(5), Turn::Opened)] };
        assert!(long_ago.states(&scale).iter().all(|s| *s == State::Open), "it still is so");
        let past = Past { probes: vec![strip, long_ago], now, ..Past::default() };
        let worst = past.worst_probes(&scale);
        assert_eq!(
            [9_500, 9_700, 9_810].map(|s| worst[scale.column(at(s)).expect("a column")]),
            [State::Open, State::Died, State::Failed]
        );
    }

    #[test]
    fn a_quiet_timeline_moves_with_the_minutes_and_with_what_happens() {
        let at = Timestamp::from_secs;
        let edge = |past: &Past| past.edge(Span::default()).secs();
        let mut past = Past { now: at(7_259), ..Past::default() };
        assert_eq!(edge(&past), 7_200);
        past.now = at(7_260);
        assert_eq!(edge(&past), 7_260);
        past.now = at(7_290);
        past.newest = Some(at(7_275));
        assert_eq!(edge(&past), 7_275);
        past.cursor = Some(at(7_285));
        assert_eq!(edge(&past), 7_285);
        past.newest = Some(at(9_999));
        assert_eq!(edge(&past), 7_290, "a clock that is ahead moves nothing");
        assert_eq!(Span::all().next().map(|s| past.edge(s).secs()), Some(7_290));
    }

    #[test]
    fn what_nobody_watched_is_not_known_to_be_nothing() {
        let past = Past::of(&Model::new("h"), &Arc::default());
        assert_eq!([What::Errors, What::Opened, What::Ended].map(|w| past.known(w)), [None; 3]);
    }
}
