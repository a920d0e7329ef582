//! What does nginx say? Error-log entries by category, with the last words of each.

use ratatui::text::Span;

use crate::event::SourceKind;
use crate::event::log::Level;
use crate::human;

use super::super::snapshot::error::{ErrorRow, SPANS};
use super::super::snapshot::past::What;
use super::super::snapshot::{HALF_HOUR, Snapshot};
use super::super::table::{Column, Sort};
use super::super::text::{Look, Seg};
use super::super::theme::Tone;
use super::cell;

/// Columns of the sparkline on a wide, a middling and a narrow screen: divisors of every span.
const SPARKS: [u16; 3] = [30, 15, 10];

/// The heads of the sparkline for each of [`SPANS`].
const HEADS: [&str; 4] = ["150 s", "5 min", "10 min", "30 min"];

/// The columns by the room that there is and by the span of the sparkline; but for that all are alike.
pub static TABLES: [[[Column<ErrorRow>; 6]; 4]; 3] = [tables(0), tables(1), tables(2)];

const fn tables(room: usize) -> [[Column<ErrorRow>; 6]; 4] {
    [
        columns(room, 0, spark::<0>),
        columns(room, 1, spark::<1>),
        columns(room, 2, spark::<2>),
        columns(room, 3, spark::<3>),
    ]
}

type Cell = fn(&ErrorRow, &Look, usize) -> Vec<Span<'static>>;

const fn columns(room: usize, span: usize, spark: Cell) -> [Column<ErrorRow>; 6] {
    [
        Column::words(
            "category",
            "CATEGORY",
            (18, 20),
            0,
            |r, l, _| cell::state(l, r.light, r.name),
            |r| Sort::Text(r.name.to_owned()),
        ),
        Column::number(
            "total",
            "TOTAL",
            7,
            0,
            |r, l, _| cell::figure(l, Tone::Plain, Some(cell::total("", r.total))),
            |r| Sort::Number(r.total as f64),
        ),
        Column::number("permin", "/min", 6, 6, per_minute, |r| Sort::Number(r.per_minute)),
        Column::number(
            "last",
            "LAST",
            4,
            2,
            |r, l, _| cell::time(l, r.last, human::span_short),
            |r| Sort::of(r.last.map(|d| d.as_secs_f64())),
        ),
        Column::words("spark", HEADS[span], (SPARKS[room], SPARKS[room]), 5, spark, |_| Sort::Unknown),
        Column::words(
            "words",
            "LAST WORDS",
            (28, u16::MAX),
            4,
            |r, l, w| words(l, &r.words, r.peer.as_deref(), w),
            |r| Sort::Text(r.words.clone()),
        ),
    ]
}

fn per_minute(r: &ErrorRow, look: &Look, _: usize) -> Vec<Span<'static>> {
    let tone = if r.per_minute < 0.05 { Tone::Faint } else { Tone::Plain };
    cell::figure(look, tone, Some(rate(r.per_minute)))
}

/// `3.1`, `120`.
fn rate(per_minute: f64) -> String {
    match per_minute {
        n if n < 99.95 => format!("{n:.1}"),
        n if n < 99_999.5 => format!("{n:.0}"),
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate on a screen, never negative"
        )]
        n => human::scaled(n as u64),
    }
}

fn spark<const SPAN: usize>(r: &ErrorRow, look: &Look, width: usize) -> Vec<Span<'static>> {
    if width > usize::from(SPARKS[0]) {
        return Vec::new();
    }
    vec![look.span(Tone::Accent, cell::spark(&r.past.cells(SPANS[SPAN], width)))]
}

/// A message, and who it was about where there is room behind the whole of it.
#[must_use]
pub fn words(look: &Look, said: &str, about: Option<&str>, width: usize) -> Vec<Span<'static>> {
    let mut spans = vec![look.span(Tone::Plain, said.to_owned())];
    if let Some(about) = about.filter(|a| human::width(said) + human::width(a) + 3 <= width) {
        spans.push(look.span(Tone::Muted, format!("   {about}")));
    }
    spans
}

/// The columns for a pane so wide, when so many buckets of the past are known.
#[must_use]
pub fn table(width: u16, age: usize) -> &'static [Column<ErrorRow>] {
    let room = match width {
        128.. => &TABLES[0],
        96.. => &TABLES[1],
        _ => &TABLES[2],
    };
    let span = SPANS.iter().position(|s| *s >= age).unwrap_or(SPANS.len() - 1);
    &room[span]
}

/// What the title says besides the name.
#[must_use]
pub fn facts(snap: &Snapshot, look: &Look) -> Vec<Seg> {
    if snap.error_total == 0 && !snap.sees(SourceKind::ErrorLog) {
        return Vec::new();
    }
    let muted = |said: String| vec![look.span(Tone::Muted, said)];
    // A span that grew by the second would write by the second, with nothing new to say.
    let began = snap.past.known(What::Errors).filter(|began| snap.now.since(*began) < HALF_HOUR);
    let span = began.map_or_else(|| "in 30 min".to_owned(), |began| format!("since {}", look.minute(began)));
    let mut out = vec![Seg::new(muted(format!("{} {span}", human::grouped(snap.errors_lately)))).leaves(2)];
    let per_minute: f64 = snap.errors.iter().map(|r| r.per_minute).sum();
    if per_minute >= 0.05 {
        out.push(Seg::new(muted(format!("{}/min", rate(per_minute)))).leaves(5));
    }
    out
}

/// What the log cannot tell at its level, for the right end of the title.
#[must_use]
pub fn hidden(snap: &Snapshot, look: &Look) -> Vec<Seg> {
    let Some(level) = snap.log_level.filter(|l| *l < Level::Info) else { return Vec::new() };
    let long = format!("log level {}: idle cuts and client faults are invisible here", level.word());
    let short = format!("log level {}", level.word());
    vec![Seg::new(vec![look.span(Tone::Muted, long)]).or(vec![look.span(Tone::Muted, short)]).leaves(4)]
}
