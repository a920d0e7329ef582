//! The handshake matrix in the report: as data, as a table of 80 columns, as Markdown.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::markdown::inert;
use super::safe;
use super::text::{Ink, Page};
use crate::diagnose::finding::{Diagnosis, Status};
use crate::diagnose::matrix::{Context, Seat, conclusion, readings};
use crate::event::matrix::{Change, Matrix, Row, Why};
use crate::event::probe::FailureKind;
use crate::human;
use crate::model::Model;

/// One endpoint's handshakes with one thing changed at a time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MatrixFacts {
    /// The URL that clients use.
    pub endpoint: String,
    /// Where the fault sits, in a word.
    pub seat: Seat,
    /// The same in a sentence.
    pub said: String,
    /// The handshakes, the one as asked first.
    pub rows: Vec<RowFacts>,
    /// What was not tried, and why.
    pub left_out: Vec<LeftOutFacts>,
}

/// One handshake. Times in milliseconds; `null` is unknown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RowFacts {
    /// The change's name: `as-asked`, `no-origin`.
    pub change: &'static str,
    /// What it was changed to: an origin, a path, an address, a URL.
    pub with: Option<String>,
    /// A valid 101 came.
    pub opened: bool,
    /// The HTTP status.
    pub status: Option<u16>,
    /// What failed.
    pub failure: Option<String>,
    /// The answer in a word: `101`, `403`, `timeout`.
    #[serde(skip)]
    pub word: String,
    /// How long the last phase took.
    pub took_ms: f64,
    /// The answer's `Location`.
    pub location: Option<String>,
    /// The extensions that the server took up.
    pub extensions: Option<String>,
    /// The protocol that TLS agreed on.
    pub alpn: Option<String>,
    /// `pass`, `fail`, `warn`, or `skip` where either way is right.
    pub verdict: Status,
    /// What it says beside the first one.
    pub reading: String,
}

/// A handshake that was not tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOutFacts {
    /// The change's name.
    pub change: &'static str,
    /// What it would have been changed to.
    pub with: Option<String>,
    /// `time` or `enough`.
    pub why: Why,
}

impl MatrixFacts {
    /// The matrices of a model, with what they say.
    pub(super) fn all(model: &Model, diagnosis: &Diagnosis) -> Vec<Self> {
        model.matrix.values().map(|m| Self::of(m, &Context::of(model, diagnosis, &m.endpoint))).collect()
    }

    fn of(matrix: &Matrix, context: &Context) -> Self {
        let told = conclusion(matrix, context);
        let rows = matrix.rows.iter().zip(readings(matrix));
        let left_out = matrix.left_out.iter().map(|l| {
            let (change, with) = words(&l.change);
            LeftOutFacts { change, with, why: l.why }
        });
        Self {
            endpoint: matrix.endpoint.to_string(),
            seat: told.seat,
            said: told.said,
            rows: rows.map(|(row, reading)| RowFacts::of(row, reading.status, reading.said)).collect(),
            left_out: left_out.collect(),
        }
    }
}

impl RowFacts {
    fn of(row: &Row, verdict: Status, reading: String) -> Self {
        let (change, with) = words(&row.change);
        Self {
            change,
            with,
            opened: row.opened(),
            status: row.status,
            failure: row.failure.as_ref().map(|f| f.said.clone()),
            word: answer(row),
            took_ms: row.took.as_micros() as f64 / 1e3,
            location: row.location.clone(),
            extensions: row.extensions.clone(),
            alpn: row.alpn.clone(),
            verdict,
            reading,
        }
    }
}

/// The name of a change, and what it is changed to.
fn words(change: &Change) -> (&'static str, Option<String>) {
    match change {
        Change::AsAsked => ("as-asked", None),
        Change::Direct { url } => ("direct", Some(url.clone())),
        Change::NoUpgrade => ("no-upgrade", None),
        Change::Http10 => ("http10", None),
        Change::OtherOrigin { origin } => ("other-origin", Some(origin.clone())),
        Change::OwnOrigin { origin } => ("own-origin", Some(origin.clone())),
        Change::NoOrigin => ("no-origin", None),
        Change::NoSubprotocol => ("no-subprotocol", None),
        Change::Slash { path } => ("slash", Some(path.clone())),
        Change::Deflate => ("deflate", None),
        Change::Http2 => ("http2", None),
        Change::Address { address } => ("address", Some(address.to_string())),
        Change::Again => ("again", None),
    }
}

/// What a person calls a change.
fn title(change: &str, with: Option<&str>) -> String {
    match (change, with) {
        ("as-asked", _) => "as asked".into(),
        ("direct", _) => "directly".into(),
        ("no-upgrade", _) => "without Upgrade".into(),
        ("http10", _) => "in HTTP/1.0".into(),
        ("other-origin", _) => "another Origin".into(),
        ("own-origin", _) => "its own Origin".into(),
        ("no-origin", _) => "without Origin".into(),
        ("no-subprotocol", _) => "without subprotocol".into(),
        ("slash", Some(path)) => format!("path {path}"),
        ("deflate", _) => "offering deflate".into(),
        ("http2", _) => "offering HTTP/2".into(),
        ("address", Some(address)) => format!("only {address}"),
        ("again", _) => "as asked, again".into(),
        _ => change.to_owned(),
    }
}

/// The answer in a word.
fn answer(row: &Row) -> String {
    let kind = row.failure.as_ref().map(|f| f.kind);
    match (kind, row.status) {
        (None, _) => "101".into(),
        (_, _) if row.alpn.as_deref() == Some("h2") => "h2".into(),
        (Some(FailureKind::HttpStatus), Some(status)) => status.to_string(),
        (Some(_), Some(101)) => "bad 101".into(),
        (Some(FailureKind::NameNotFound), _) => "no name".into(),
        (Some(FailureKind::ConnectionRefused), _) => "refused".into(),
        (Some(FailureKind::Timeout), _) => "timeout".into(),
        (Some(FailureKind::Unreachable), _) => "no route".into(),
        (Some(FailureKind::ClosedEarly), _) => "closed".into(),
        (Some(FailureKind::Reset), _) => "reset".into(),
        (Some(FailureKind::NotHttp), _) => "no HTTP".into(),
        (Some(FailureKind::NotTls), _) => "no TLS".into(),
        (
            Some(
                FailureKind::TlsExpired
                | FailureKind::TlsNameMismatch
                | FailureKind::TlsUntrusted
                | FailureKind::TlsFailed,
            ),
            _,
        ) => "TLS".into(),
        (Some(_), _) => "failed".into(),
    }
}

/// Columns of the change, the answer and the time, and where the reading begins.
const CHANGE: usize = 20;
const ANSWER: usize = 8;
const TIME: usize = 8;
const READING: usize = 3 + CHANGE + 1 + ANSWER + TIME + 2;

/// The tables at 80 columns.
pub(super) fn text(page: &mut Page, all: &[MatrixFacts]) {
    for m in all {
        let lead = format!(" {} ", page.ink(Ink::Bold, "Handshake matrix"));
        page.hang(&lead, 18, &m.endpoint);
        for r in &m.rows {
            row(page, r);
        }
        if !m.left_out.is_empty() {
            page.hang("   ", 3, &left_out(&m.left_out));
        }
        let (ink, sign) = if m.seat == Seat::None { (Ink::Good, "✔") } else { (Ink::Bad, "→") };
        let lead = format!(" {} ", page.ink(ink, sign));
        page.hang(&lead, 3, &m.said);
        page.line("");
    }
}

fn row(page: &mut Page, r: &RowFacts) {
    let (ink, sign) = match r.verdict {
        Status::Pass => (Ink::Good, "✔"),
        Status::Fail => (Ink::Bad, "✖"),
        Status::Warn => (Ink::Warn, "▲"),
        Status::Skip => (Ink::Dim, "·"),
    };
    let title = title(r.change, r.with.as_deref().map(safe::line).as_deref());
    let title = human::cut_middle(&title, CHANGE);
    let gap = CHANGE.saturating_sub(human::width(&title));
    let took = human::latency(Duration::from_secs_f64(r.took_ms / 1e3));
    let lead = format!(" {} {title}{:gap$} {:<ANSWER$}{took:>TIME$}  ", page.ink(ink, sign), "", r.word);
    page.hang(&lead, READING, &r.reading);
}

fn left_out(all: &[LeftOutFacts]) -> String {
    let titles = |why: Why| {
        let of = all.iter().filter(|l| l.why == why).map(|l| title(l.change, l.with.as_deref()));
        of.collect::<Vec<_>>().join(", ")
    };
    let (late, many) = (titles(Why::Time), titles(Why::Enough));
    let mut said = String::new();
    if !late.is_empty() {
        let _ = write!(said, "not tried, time was up (--timeout): {late}. ");
    }
    if !many.is_empty() {
        let _ = write!(said, "not tried, a dozen handshakes are enough: {many}.");
    }
    said
}

/// The tables as Markdown.
pub(super) fn markdown(out: &mut String, all: &[MatrixFacts]) {
    for m in all {
        let _ = writeln!(out, "\n## Handshake matrix\n\n{}: {}\n", inert(&m.endpoint), inert(&m.said));
        let _ = writeln!(out, "| Change | Answer | Time | Reading |\n|---|---|---:|---|");
        for r in &m.rows {
            let title = inert(&title(r.change, r.with.as_deref()));
            let _ = writeln!(out, "| {title} | {} | {:.1} ms | {} |", r.word, r.took_ms, inert(&r.reading));
        }
        if !m.left_out.is_empty() {
            let _ = writeln!(out, "\n{}", inert(&left_out(&m.left_out)));
        }
    }
}
