//! What does nginx say? Error-log entries by category, with the last words of each.

use crate::event::SourceKind;
use crate::event::log::Level;
use crate::human;
use crate::report::filter::Kind;

use super::super::snapshot::Snapshot;
use super::super::snapshot::error::ErrorRow;
use super::super::table::{Column, Sort};
use super::super::text::{Look, Seg};
use super::super::theme::Tone;
use super::cell;

/// Columns of the sparkline.
const SPARK: u16 = 12;

/// The columns.
pub static COLUMNS: [Column<ErrorRow>; 6] = [
    Column::words(
        "category",
        "CATEGORY",
        (18, 20),
        0,
        |r, l, _| cell::state(l, r.light, r.category),
        |r| Sort::Text(r.category.to_owned()),
    ),
    Column::number(
        "total",
        "TOTAL",
        6,
        0,
        |r, l, _| cell::figure(l, Tone::Plain, Some(human::grouped(r.total))),
        |r| Sort::Number(r.total as f64),
    ),
    Column::number(
        "permin",
        "/min",
        6,
        3,
        |r, l, _| {
            let tone = if r.per_minute < 0.05 { Tone::Faint } else { Tone::Plain };
            cell::figure(l, tone, Some(format!("{:.1}", r.per_minute)))
        },
        |r| Sort::Number(r.per_minute),
    ),
    Column::<ErrorRow>::number(
        "last",
        "LAST",
        4,
        2,
        |r, l, _| cell::time(l, r.last, human::span_short),
        |r| Sort::of(r.last.map(|d| d.as_secs_f64())),
    )
    .kind(Kind::Span),
    Column::words("spark", "5 min", (SPARK, SPARK), 5, spark, |_| Sort::Unknown),
    Column::words(
        "words",
        "LAST WORDS",
        (16, u16::MAX),
        4,
        |r, l, w| {
            let mut spans = vec![l.span(Tone::Plain, r.words.clone())];
            // The backend is worth its place only behind the whole sentence.
            if let Some(peer) = r.peer.as_ref().filter(|p| human::width(&r.words) + human::width(p) + 3 <= w) {
                spans.push(l.span(Tone::Muted, format!("   {peer}")));
            }
            spans
        },
        |r| Sort::Text(r.words.clone()),
    ),
];

fn spark(r: &ErrorRow, look: &Look, width: usize) -> Vec<ratatui::text::Span<'static>> {
    let cells = usize::from(SPARK);
    if width > cells {
        return Vec::new();
    }
    let series: Vec<u64> = r.series.chunks(r.series.len().div_ceil(cells).max(1)).map(|c| c.iter().sum()).collect();
    vec![look.span(Tone::Accent, cell::spark(&series))]
}

/// What the title says besides the name.
#[must_use]
pub fn facts(snap: &Snapshot, look: &Look) -> Vec<Seg> {
    if snap.error_total == 0 && !snap.sees(SourceKind::ErrorLog) {
        return Vec::new();
    }
    let mut said = human::counted(snap.error_total, "entry", "entries");
    if let Some(since) = snap.since {
        said = format!("{said} in {}", human::span_short(snap.now.since(since)));
    }
    vec![Seg::new(vec![look.span(Tone::Muted, said)]).leaves(2)]
}

/// What the log cannot tell at its level, for the right end of the title.
#[must_use]
pub fn hidden(snap: &Snapshot, look: &Look) -> Vec<Seg> {
    let Some(level) = snap.log_level.filter(|l| *l < Level::Info) else { return Vec::new() };
    let long = format!("log level {}: idle cuts and client faults are invisible here", level.word());
    let short = format!("log level {}", level.word());
    vec![Seg::new(vec![look.span(Tone::Muted, long)]).or(vec![look.span(Tone::Muted, short)]).leaves(4)]
}
