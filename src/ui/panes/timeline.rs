//! When did it start? Errors, deaths and marks over the same columns.

use std::borrow::Cow;
use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::human;
use crate::model::marks::{Mark, MarkKind};
use crate::report::filter::{Fields, Filter, Key, Kind};

use super::super::snapshot::Snapshot;
use super::super::text::{Look, Seg, nth_line, put};
use super::super::theme::{self, Tone};
use super::cell;

/// What all columns together cover.
const HALF_HOUR: Duration = Duration::from_secs(1_800);
/// Columns of the labels at the left.
const LABEL: u16 = 10;

/// What a filter of the timeline can name.
pub static KEYS: [Key; 3] =
    [Key::new("what", Kind::Text), Key::new("category", Kind::Text), Key::new("said", Kind::Text)];

/// Something that the timeline shows: errors of one category, deaths, or a mark.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    what: &'static str,
    category: Option<&'static str>,
    said: Option<&'a str>,
}

impl Fields for Shown<'_> {
    fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        match key {
            "what" => Some(Cow::Borrowed(self.what)),
            "category" => self.category.map(Cow::Borrowed),
            "said" => self.said.map(Cow::Borrowed),
            _ => None,
        }
    }

    fn number(&self, _: &str) -> Option<f64> {
        None
    }
}

const DEATHS: Shown<'static> = Shown { what: "deaths", category: None, said: None };

const fn of_category(name: &'static str) -> Shown<'static> {
    Shown { what: "errors", category: Some(name), said: None }
}

fn of_mark(mark: &Mark) -> Shown<'_> {
    let what = match mark.kind {
        MarkKind::Reload => "reload",
        MarkKind::Started => "started",
        MarkKind::Stopped => "stopped",
        MarkKind::WorkerGone => "worker-gone",
        MarkKind::ProbeDown => "probe-down",
        MarkKind::ProbeUp => "probe-up",
    };
    Shown { what, category: None, said: Some(&mark.said) }
}

/// Everything that a filter of the timeline is held against.
#[must_use]
pub fn rows(snap: &Snapshot) -> Vec<Shown<'_>> {
    let categories = snap.past.by_category.iter().map(|(name, _)| of_category(name));
    categories.chain([DEATHS]).chain(snap.past.marks.iter().map(of_mark)).collect()
}

/// The marks that pass, by their place.
#[must_use]
pub fn marks(snap: &Snapshot, filter: Option<&Filter>) -> Vec<usize> {
    let passes = |(_, mark): &(usize, &Mark)| filter.is_none_or(|f| f.passes(&of_mark(mark)));
    snap.past.marks.iter().enumerate().filter(passes).map(|(at, _)| at).collect()
}

/// Errors and deaths per bucket, as far as they pass.
fn series(snap: &Snapshot, filter: Option<&Filter>) -> [Vec<u64>; 2] {
    let past = &snap.past;
    let Some(filter) = filter else { return [past.errors.clone(), past.deaths.clone()] };
    let mut errors = vec![0; past.errors.len()];
    for (_, counts) in past.by_category.iter().filter(|(name, _)| filter.passes(&of_category(name))) {
        errors.iter_mut().zip(counts.iter()).for_each(|(sum, n)| *sum += n);
    }
    let deaths = if filter.passes(&DEATHS) { past.deaths.clone() } else { vec![0; past.deaths.len()] };
    [errors, deaths]
}

/// What the title says besides the name.
#[must_use]
pub fn facts(snap: &Snapshot, look: &Look) -> Vec<Seg> {
    let span = Seg::new(vec![look.span(Tone::Muted, "last 30 min")]).leaves(2);
    let cursor = snap.past.cursor.map(|at| Seg::new(vec![look.span(Tone::Accent, look.clock(at))]).leaves(1));
    std::iter::once(span).chain(cursor).collect()
}

/// Draws three lines: errors, deaths, marks, each as far as it passes the filter.
pub fn draw(buf: &mut Buffer, area: Rect, snap: &Snapshot, filter: Option<&Filter>, look: &Look) {
    let room = usize::from(area.width.saturating_sub(LABEL + 1));
    if room == 0 {
        return;
    }
    // The half hour ends at the right; columns that it does not fill stay before it.
    let n = snap.past.columns(room);
    let time = |line| {
        let all = after_label(line);
        let width = u16::try_from(n).unwrap_or(all.width).min(all.width);
        Rect { x: all.right() - width, width, ..all }
    };
    let [errors, deaths] = series(snap, filter);
    let series = [("errors", Tone::Warn, errors), ("deaths", Tone::Bad, deaths)];
    for (i, (label, tone, counts)) in series.into_iter().enumerate() {
        let line = nth_line(area, u16::try_from(i).unwrap_or(0));
        put_label(buf, line, label, look);
        let shown = snap.past.cells(&counts, n);
        put(buf, time(line), &[look.span(tone, cell::spark(&shown))]);
    }
    let line = nth_line(area, 2);
    put_label(buf, line, "marks", look);
    put_marks(buf, time(line), snap, filter, look);
    put_cursor(buf, time(area), snap, look);
}

/// The moment that the other panes show.
fn put_cursor(buf: &mut Buffer, area: Rect, snap: &Snapshot, look: &Look) {
    let width = usize::from(area.width);
    let Some(column) = snap.past.cursor.and_then(|at| snap.past.column(at, width)).filter(|c| *c < width) else {
        return;
    };
    let x = area.x + u16::try_from(column).unwrap_or(0);
    for (row, sign) in [theme::UPRIGHT, theme::UPRIGHT, "▴"].into_iter().enumerate() {
        let line = nth_line(area, u16::try_from(row).unwrap_or(0));
        put(buf, Rect { x, width: 1, ..line }, &[look.span(Tone::Accent, sign)]);
    }
}

fn put_label(buf: &mut Buffer, line: Rect, label: &'static str, look: &Look) {
    let inner = Rect { x: line.x + 2.min(line.width), width: line.width.saturating_sub(2), ..line };
    put(buf, inner, &[look.span(Tone::Muted, label)]);
}

fn after_label(line: Rect) -> Rect {
    Rect { x: line.x + LABEL.min(line.width), width: line.width.saturating_sub(LABEL + 1), ..line }
}

/// The newest marks first, so that of two that stand in each other's way the newer one keeps its words.
fn put_marks(buf: &mut Buffer, line: Rect, snap: &Snapshot, filter: Option<&Filter>, look: &Look) {
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
    let oldest = look.minute(snap.past.now.minus(HALF_HOUR));
    let far = width >= 40 && snap.since.is_some();
    if far {
        put(buf, line, &[look.span(Tone::Faint, oldest.clone())]);
    }
    let from = if far { oldest.len() + 2 } else { 0 };
    let mut free = now_from.saturating_sub(2);
    for mark in marks(snap, filter).into_iter().rev().filter_map(|at| snap.past.marks.get(at)) {
        let Some(at) = snap.past.column(mark.at, width).filter(|at| *at < width) else { continue };
        let (sign, tone) = sign(mark);
        let short = format!(" {}", look.minute(mark.at));
        let long = format!(" {}{short}", mark.said);
        let words = [long, short, String::new()];
        // A mark at the very end moves left rather than losing its words.
        let Some((start, text)) = words.into_iter().find_map(|t| {
            let w = human::width(&t) + 1;
            let start = at.min(free.checked_sub(w)?);
            (start >= from && at - start <= w + 4).then_some((start, t))
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
        MarkKind::Stopped | MarkKind::WorkerGone | MarkKind::ProbeDown => (theme::BAD, Tone::Bad),
        MarkKind::ProbeUp => (theme::CHECK, Tone::Good),
    }
}
