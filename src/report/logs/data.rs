//! What logs said in sum as plain data: exactly what `wspulse logs --format json` prints.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::backend::BackendFigures;
use super::notes;
use super::sessions::{SessionRows, sessions};
use crate::event::backend::BackendSum;
use crate::event::handshake::Attempts;
use crate::event::log::{Category, Level};
use crate::event::tally::Tally;
use crate::event::tally::lifecycle::Draining;
use crate::event::tally::rate::Rate;
use crate::event::tally::sessions::Timeout;
use crate::event::tally::top::{Counted, Top};
use crate::human;
use crate::time::{Timestamp, Zone};

/// The version of the shape.
pub const LOGS_SCHEMA: &str = "wspulse.logs/1";
/// Names listed of each kind.
const LISTED: usize = 10;

/// What is known besides the counts.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Every file in the order in which it was read.
    pub files: Vec<LogFile>,
    /// Timeouts of the configuration, to be matched with lifetimes.
    pub timeouts: Vec<Timeout>,
    /// How long its old workers may drain, to be matched with tunnels that ended together.
    pub draining: Draining,
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
    /// `error`, `access`, `mixed`, `backend` or `unknown`.
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
    /// Entries may have been left out on request.
    #[serde(skip)]
    pub filtered: bool,
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

impl LogsReport {
    /// What `tally` counted, with what else is known.
    #[must_use]
    pub fn of(tally: &Tally, facts: Facts) -> Self {
        let has_access = facts.files.iter().any(|f| matches!(f.kind, "access" | "mixed"));
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
            sessions: sessions(tally, &facts),
            not_visible: notes::not_visible(tally, &facts),
            handshakes: facts.handshakes,
            backend: facts.backend.as_ref().map(BackendFigures::of),
            files: facts.files,
            zone: facts.zone,
            filtered: facts.filtered,
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

/// The report as indented JSON with a line end.
#[must_use]
pub fn logs_json(report: &LogsReport) -> String {
    // Keys are strings and nothing in a report can fail to serialize; an empty object would show if that changed.
    let mut out = serde_json::to_string_pretty(report).unwrap_or_else(|_| "{}".to_owned());
    out.push('\n');
    human::harmless_json(out)
}
