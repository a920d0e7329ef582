//! What logs said in sum as plain data: exactly what `wspulse logs --format json` prints.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use super::backend::BackendFigures;
use super::notes;
use crate::event::backend::BackendSum;
use crate::event::handshake::Attempts;
use crate::event::log::{Category, Level};
use crate::event::tally::Tally;
use crate::event::tally::rate::Rate;
use crate::event::tally::sessions::{Burst, Lifetimes, Sessions, Spike, Timeout};
use crate::event::tally::top::{Counted, Top};
use crate::time::{Timestamp, Zone};

/// The version of the shape.
pub const LOGS_SCHEMA: &str = "wspulse.logs/1";
/// Names listed of each kind.
const LISTED: usize = 10;
/// Where one band of the lifetime histogram ends and the next begins, in seconds.
const BANDS: [u64; 11] = [1, 5, 10, 30, 60, 120, 300, 600, 3_600, 14_400, 86_400];

/// What is known besides the counts.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Every file in the order in which it was read.
    pub files: Vec<LogFile>,
    /// Timeouts of the configuration, to be matched with lifetimes.
    pub timeouts: Vec<Timeout>,
    /// Messages, by shape, that nginx writes in the ordinary course: they are listed after those that tell of faults.
    pub routine: BTreeSet<String>,
    /// Attempts to open a WebSocket from debug lines; `None`: there was no debug line.
    pub handshakes: Option<Attempts>,
    /// What backends' own logs held; `None`: none was named.
    pub backend: Option<BackendSum>,
    /// Entries were left out on request: what is missing then proves nothing.
    pub filtered: bool,
    /// In which times are shown to people; JSON is always in UTC.
    pub zone: Zone,
}

/// One file that was read, or was to be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogFile {
    /// Its path, or `-`, made safe to show.
    pub path: String,
    /// `error`, `access`, `backend` or `unknown`.
    pub kind: &'static str,
    /// The `log_format` of an access log: its name, or its text where it was given as text.
    pub format: Option<String>,
    /// Bytes of log text, after unpacking.
    pub bytes: u64,
    /// What went wrong, in one sentence.
    pub error: Option<String>,
}

/// What any number of logs said.
#[derive(Clone, Debug, Serialize)]
pub struct LogsReport {
    /// Always [`LOGS_SCHEMA`].
    pub schema: &'static str,
    /// `entries + continuations + unparsed`.
    pub lines: u64,
    /// Lines that are entries.
    pub entries: u64,
    /// Lines that continue an entry.
    pub continuations: u64,
    /// Lines that fit no grammar.
    pub unparsed: u64,
    /// Lines of which only the beginning was read.
    pub overlong: u64,
    /// Bytes of log text read, those of left-out entries too.
    pub bytes: u64,
    /// The first entry's time.
    pub from: Option<Timestamp>,
    /// The last entry's time.
    pub to: Option<Timestamp>,
    /// Error-log entries of each level that occurred.
    pub by_level: BTreeMap<Level, u64>,
    /// Error-log entries of each category that occurred.
    pub by_category: BTreeMap<Category, u64>,
    /// Access-log entries of each status that occurred.
    pub by_status: BTreeMap<u16, u64>,
    /// Entries over time.
    pub rate: RateFigures,
    /// The most frequent names.
    pub top: TopFigures,
    /// Bytes sent to clients; `None` when no access log was read.
    pub bytes_sent: Option<u64>,
    /// Tunnels that ended.
    pub sessions: SessionRows,
    /// Attempts to open a WebSocket that debug lines tell of, the newest in full; `None` without debug lines.
    pub handshakes: Option<Attempts>,
    /// What backends' own logs said, in no other count; `None`: none was named.
    pub backend: Option<BackendFigures>,
    /// What these logs cannot show, in sentences.
    pub not_visible: Vec<String>,
    /// Every file in the order in which it was read.
    pub files: Vec<LogFile>,
    /// In which times are shown to people.
    #[serde(skip)]
    pub zone: Zone,
}

/// Entries over time, in buckets of one width without gaps.
#[derive(Clone, Debug, Serialize)]
pub struct RateFigures {
    /// The beginning of the first bucket; `None` when no entry had a time.
    pub from: Option<Timestamp>,
    /// Seconds in a bucket.
    pub bucket_s: u64,
    /// Entries in each.
    pub counts: Vec<u64>,
}

/// The most frequent names of each kind.
#[derive(Clone, Debug, Serialize)]
pub struct TopFigures {
    /// Client addresses.
    pub clients: Vec<TopRow>,
    /// Upstream peers.
    pub upstreams: Vec<TopRow>,
    /// Paths of requests, without arguments.
    pub locations: Vec<TopRow>,
    /// Error-log messages without what varies in them; those of the ordinary course come last.
    pub messages: Vec<TopRow>,
    /// How often a name of each kind that is not listed by its own count can have occurred at most, where names were too
    /// many to count each: `clients`, `upstreams`, `locations`, `messages`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub forgotten_at_most: BTreeMap<&'static str, u64>,
}

/// A name and how often it occurred: at least `count`, at most `count + missed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TopRow {
    /// The address, peer, path or message.
    pub name: String,
    /// So often for certain.
    pub count: u64,
    /// And perhaps so often besides; absent: the count is exact.
    #[serde(skip_serializing_if = "is_zero")]
    pub missed: u64,
    /// A message that nginx writes in the ordinary course, and no fault.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub routine: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Tunnels that ended: lines with status 101.
#[derive(Clone, Debug, Serialize)]
pub struct SessionRows {
    /// All of them.
    pub count: u64,
    /// How long they lived.
    pub lifetimes: LifetimeFigures,
    /// Seconds in which far more of them ended than in others.
    pub bursts: Vec<Burst>,
}

/// Lifetimes in seconds; `None` where no line tells one.
#[derive(Clone, Debug, Serialize)]
pub struct LifetimeFigures {
    /// Sessions whose lifetime is known.
    pub known: u64,
    /// Half of them lived no longer.
    pub p50: Option<f64>,
    /// Nine in ten.
    pub p90: Option<f64>,
    /// Ninety-nine in a hundred.
    pub p99: Option<f64>,
    /// The longest.
    pub max: Option<f64>,
    /// Lifetimes at which many sessions ended.
    pub spikes: Vec<Spike>,
    /// Counts of lifetimes in bands; those without any at either end are left out.
    pub histogram: Vec<Band>,
}

/// Sessions that lived at least `from_s` and less than `to_s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Band {
    /// Seconds.
    pub from_s: u64,
    /// Seconds; `None`: without limit.
    pub to_s: Option<u64>,
    /// Sessions.
    pub count: u64,
}

impl LogsReport {
    /// What `tally` counted, with what else is known.
    #[must_use]
    pub fn of(tally: &Tally, facts: Facts) -> Self {
        let has_access = facts.files.iter().any(|f| f.kind == "access");
        Self {
            schema: LOGS_SCHEMA,
            lines: tally.lines,
            entries: tally.entries,
            continuations: tally.continuations,
            unparsed: tally.unparsed,
            overlong: tally.overlong,
            bytes: tally.bytes,
            from: tally.from,
            to: tally.to,
            by_level: tally.by_level.clone(),
            by_category: tally.by_category.clone(),
            by_status: tally.by_status.clone(),
            rate: rate(&tally.rate),
            top: top(tally, &facts.routine),
            bytes_sent: has_access.then_some(tally.bytes_sent),
            sessions: sessions(&tally.sessions, &facts.timeouts),
            not_visible: notes::not_visible(tally, &facts),
            handshakes: facts.handshakes,
            backend: facts.backend.as_ref().map(BackendFigures::of),
            files: facts.files,
            zone: facts.zone,
        }
    }
}

fn rate(rate: &Rate) -> RateFigures {
    let (times, counts): (Vec<Timestamp>, Vec<u64>) = rate.buckets().unzip();
    RateFigures { from: times.first().copied(), bucket_s: rate.width().as_secs(), counts }
}

fn top(tally: &Tally, routine: &BTreeSet<String>) -> TopFigures {
    let kinds = [
        ("clients", &tally.clients),
        ("upstreams", &tally.upstreams),
        ("locations", &tally.locations),
        ("messages", &tally.messages),
    ];
    TopFigures {
        clients: rows(&tally.clients, &BTreeSet::new()),
        upstreams: rows(&tally.upstreams, &BTreeSet::new()),
        locations: rows(&tally.locations, &BTreeSet::new()),
        messages: rows(&tally.messages, routine),
        forgotten_at_most: kinds.iter().map(|(name, top)| (*name, top.bound())).filter(|(_, n)| *n > 0).collect(),
    }
}

/// The most frequent names, those of `last` behind the others.
fn rows(top: &Top<Box<str>>, last: &BTreeSet<String>) -> Vec<TopRow> {
    let (routine, telling): (Vec<_>, Vec<_>) =
        top.ranked(usize::MAX).into_iter().partition(|(name, _)| last.contains(name.as_ref()));
    let row =
        |name: &str, c: Counted, routine| TopRow { name: name.to_owned(), count: c.count, missed: c.missed, routine };
    let telling = telling.into_iter().map(|(name, c)| row(name, c, false));
    telling.chain(routine.into_iter().map(|(name, c)| row(name, c, true))).take(LISTED).collect()
}

fn sessions(sessions: &Sessions, timeouts: &[Timeout]) -> SessionRows {
    let lives = &sessions.lifetimes;
    let at = |share| lives.quantile(share).map(|d: Duration| d.as_secs_f64());
    SessionRows {
        count: sessions.count,
        lifetimes: LifetimeFigures {
            known: lives.buckets().map(|(_, n)| n).sum(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            max: lives.longest().map(|d| d.as_secs_f64()),
            spikes: sessions.spikes(timeouts),
            histogram: bands(lives),
        },
        bursts: sessions.bursts(),
    }
}

fn bands(lives: &Lifetimes) -> Vec<Band> {
    let starts = std::iter::once(0).chain(BANDS);
    let ends = BANDS.into_iter().map(Some).chain(std::iter::once(None));
    let mut bands: Vec<Band> = starts.zip(ends).map(|(from_s, to_s)| Band { from_s, to_s, count: 0 }).collect();
    for (lived, n) in lives.buckets() {
        let place = BANDS.iter().filter(|end| lived.as_secs() >= **end).count();
        if let Some(band) = bands.get_mut(place) {
            band.count += n;
        }
    }
    let filled = |b: &Band| b.count > 0;
    let (first, last) = (bands.iter().position(filled), bands.iter().rposition(filled));
    let kept = first.zip(last).and_then(|(first, last)| bands.get(first..=last));
    kept.unwrap_or_default().to_vec()
}

/// The report as indented JSON with a line end.
#[must_use]
pub fn logs_json(report: &LogsReport) -> String {
    // Keys are strings and nothing in a report can fail to serialize; an empty object would show if that changed.
    let mut out = serde_json::to_string_pretty(report).unwrap_or_else(|_| "{}".to_owned());
    out.push('\n');
    out
}
