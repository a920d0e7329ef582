//! When did it start? Errors, deaths and marks over the same columns.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::human;
use crate::model::marks::{Mark, MarkKind};

use super::super::snapshot::Snapshot;
use super::super::text::{Look, Seg, nth_line, put};
use super::super::theme::{self, Tone};
use super::cell;

/// Columns of the labels at the left.
const LABEL: u16 = 10;

/// Columns left for the time itself.
#[must_use]
pub fn cells(area: Rect) -> usize {
    usize::from(area.width.saturating_sub(LABEL + 1))
}

/// What the title says besides the name.
#[must_use]
pub fn facts(snap: &Snapshot, area: Rect, look: &Look) -> Vec<Seg> {
    let span = human::span_short(snap.past.span(cells(area)));
    vec![Seg::new(vec![look.span(Tone::Muted, span)]).leaves(2)]
}

/// Draws three lines: errors, deaths, marks.
pub fn draw(buf: &mut Buffer, area: Rect, snap: &Snapshot, look: &Look) {
    let n = cells(area);
    if n == 0 {
        return;
    }
    let series = [("errors", Tone::Warn, &snap.past.errors), ("deaths", Tone::Bad, &snap.past.deaths)];
    for (i, (label, tone, counts)) in series.into_iter().enumerate() {
        let line = nth_line(area, u16::try_from(i).unwrap_or(0));
        put_label(buf, line, label, look);
        let shown = snap.past.cells(counts, n);
        put(buf, after_label(line), &[look.span(tone, cell::spark(&shown))]);
    }
    let line = nth_line(area, 2);
    put_label(buf, line, "marks", look);
    put_marks(buf, after_label(line), snap, look);
}

fn put_label(buf: &mut Buffer, line: Rect, label: &'static str, look: &Look) {
    let inner = Rect { x: line.x + 2.min(line.width), width: line.width.saturating_sub(2), ..line };
    put(buf, inner, &[look.span(Tone::Muted, label)]);
}

fn after_label(line: Rect) -> Rect {
    Rect { x: line.x + LABEL.min(line.width), width: line.width.saturating_sub(LABEL + 1), ..line }
}

/// The newest marks first, so that of two that stand in each other's way the newer one keeps its words.
fn put_marks(buf: &mut Buffer, line: Rect, snap: &Snapshot, look: &Look) {
    if line.is_empty() {
        return;
    }
    let width = usize::from(line.width);
    let now_from = width.saturating_sub(3);
    put(
        buf,
        Rect { x: line.x + u16::try_from(now_from).unwrap_or(0), width: 3, ..line },
        &[look.span(Tone::Faint, "now")],
    );
    let mut free = now_from.saturating_sub(2);
    for mark in snap.past.marks.iter().rev() {
        let Some(at) = snap.past.column(mark.at, width).filter(|at| *at < width) else { continue };
        let (sign, tone) = sign(mark);
        let short = format!(" {}", look.minute(mark.at));
        let long = format!(" {}{short}", mark.said);
        let words = [long, short, String::new()];
        // A mark at the very end moves left rather than losing its words.
        let Some((start, text)) = words.into_iter().find_map(|t| {
            let w = human::width(&t) + 1;
            let start = at.min(free.checked_sub(w)?);
            (at - start <= w + 4).then_some((start, t))
        }) else {
            continue;
        };
        let x = line.x + u16::try_from(start).unwrap_or(0);
        let spans = [look.span(tone, sign), look.span(Tone::Muted, text)];
        put(buf, Rect { x, width: line.right().saturating_sub(x), ..line }, &spans);
        free = start.saturating_sub(2);
    }
}

/// The sign and the tone of a kind of mark.
#[must_use]
pub const fn sign(mark: &Mark) -> (&'static str, Tone) {
    match mark.kind {
        MarkKind::Reload => ("↻", Tone::Accent),
        MarkKind::Started => (theme::OK, Tone::Good),
        MarkKind::Stopped | MarkKind::ProbeDown => (theme::BAD, Tone::Bad),
        MarkKind::ProbeUp => (theme::CHECK, Tone::Good),
    }
}
