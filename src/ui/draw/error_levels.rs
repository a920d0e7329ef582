//! The Errors pane below its categories: where one is, the ways of telling entries apart, and the rows.
//!
//! ```text
//! 3 Errors › upstream-closed › upstream 10.0.0.8:8080                    42 entries   last 4s ago   first 13:58:04
//!   message 3   client 9   location 1   server 1  ▎lines 42
//!   TIME      LEVEL     MESSAGE                                                    UPSTREAM        CLIENT
//! ```

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Span;

use crate::event::SourceKind;
use crate::event::log::Level;
use crate::human;
use crate::model::errors::kept::By;

use super::super::drill::{Condition, View};
use super::super::ids::Ids;
use super::super::layout;
use super::super::narrow::{self, Extent, Rows};
use super::super::pane::Pane;
use super::super::panes::{error_lines, error_names, errors};
use super::super::snapshot::Snapshot;
use super::super::snapshot::error::ErrorRow;
use super::super::state::{ScreenState, Spot, Target};
use super::super::text::{Look, Seg, cut_words, put, put_ends, spans_width};
use super::super::theme::{self, Tone};
use super::super::view;
use super::Content;

/// Rows that a pane needs before a line of them goes to the ways of telling apart.
const ROOMY: u16 = 8;
/// A name in the title is not cut below this.
const SHORT: usize = 12;
/// Rows that the level is given beside other panes, at least.
const LEAST: u16 = 9;

/// Rows that the level wants, with its heads.
pub(super) fn wanted(snap: &Snapshot, state: &ScreenState) -> u16 {
    u16::try_from(narrow::rows(snap, state).len()).unwrap_or(u16::MAX).saturating_add(3).max(LEAST)
}

/// Draws the level.
pub(super) fn draw(buf: &mut Buffer, area: Rect, snap: &Snapshot, state: &mut ScreenState, look: &Look) {
    let rows = narrow::rows(snap, state);
    let extent = narrow::extent(snap, state);
    let mut rest = area;
    state.spots.push(Spot { area, what: Target::Pane(Pane::Errors) });
    let roomy = area.height >= ROOMY;
    title(buf, layout::take(&mut rest, 1), rows.len(), &extent, snap, state, look, roomy);
    if roomy {
        let spots = views(buf, super::margin(layout::take(&mut rest, 1)), snap, state, look);
        state.spots.extend(spots);
    }
    let body = Rect { width: rest.width.saturating_sub(1), ..rest };
    if rows.is_empty() {
        super::empty::draw(buf, body, Pane::Errors, snap, state, look);
    } else {
        put_rows(buf, body, &rows, snap, state, look);
    }
}

fn put_rows(buf: &mut Buffer, area: Rect, rows: &Rows, snap: &Snapshot, state: &mut ScreenState, look: &Look) {
    let all: Vec<usize> = (0..rows.len()).collect();
    let ids = &Ids::of(narrow::ids(snap, rows));
    match (rows, state.drill.view) {
        (Rows::Names(rows), View::By(by)) => {
            let content = Content { columns: error_names::columns(by), rows, order: &all, ids };
            super::table(buf, area, Pane::Errors, &content, state, look);
        }
        (Rows::Lines(rows), _) => {
            let columns = error_lines::columns(state.drill.is_narrowed_by(By::Category));
            super::table(buf, area, Pane::Errors, &Content { columns, rows, order: &all, ids }, state, look);
        }
        (Rows::Categories(order), _) => {
            let columns = errors::table(area.width, snap.past.age);
            super::table(buf, area, Pane::Errors, &Content { columns, rows: &snap.errors, order, ids }, state, look);
        }
        (Rows::Names(_), View::Lines) => {}
    }
}

#[expect(clippy::too_many_arguments, reason = "everything that a title may speak of")]
fn title(
    buf: &mut Buffer,
    line: Rect,
    shown: usize,
    extent: &Extent,
    snap: &Snapshot,
    state: &ScreenState,
    look: &Look,
    roomy: bool,
) {
    let alone = super::is_alone(state);
    if state.focus == Pane::Errors && !alone {
        put(buf, Rect { width: 1, ..line }, &[look.span(Tone::Accent, theme::FOCUS)]);
    }
    let mut left = vec![Seg::new(path(state, look, usize::from(line.width), alone))];
    if let Some(filter) = &state.pane(Pane::Errors).filter {
        left.push(Seg::new(vec![look.span(Tone::Accent, format!("/{} ({shown})", filter.text))]).leaves(1));
    }
    let mut right = facts(extent, snap, state, look);
    let pane = state.pane(Pane::Errors);
    let sorted = pane.sort.and_then(|s| view::sortable(state, Pane::Errors).into_iter().find(|(i, _)| *i == s));
    if let Some((_, key)) = sorted {
        let sign = if pane.reverse { "▾" } else { "▴" };
        right.insert(0, Seg::new(vec![look.span(Tone::Muted, format!("by {key} {sign}"))]).leaves(2));
    }
    if !roomy {
        right.push(Seg::new(vec![look.span(Tone::Strong, state.drill.view.word())]).leaves(1));
    }
    put_ends(buf, if alone { super::margin(line) } else { super::inset(line) }, left, right);
}

/// `3 Errors › upstream-closed › upstream 10.0.0.8:8080`, every name cut where it minds least.
fn path(state: &ScreenState, look: &Look, width: usize, alone: bool) -> Vec<Span<'static>> {
    let mut out = Vec::new();
    if !alone {
        out.push(look.span(Tone::Accent, Pane::Errors.digit()));
        out.push(look.span(Tone::Strong, format!(" {}", Pane::Errors.title())));
    }
    let conditions = &state.drill.conditions;
    if conditions.is_empty() && alone {
        return vec![look.span(Tone::Strong, "all categories")];
    }
    let room = (width * 3 / 5).saturating_sub(spans_width(&out)) / conditions.len().max(1);
    for (i, condition) in conditions.iter().enumerate() {
        if i > 0 || !alone {
            out.push(look.span(Tone::Accent, format!(" {} ", theme::SELECTED)));
        }
        let of = if condition.by == By::Category || width < 60 {
            String::new()
        } else {
            format!("{} ", condition.by.word())
        };
        let name = name(condition, room.saturating_sub(of.len() + 3).max(SHORT));
        out.push(look.span(Tone::Muted, of));
        out.push(look.span(Tone::Strong, name));
    }
    out
}

fn name(condition: &Condition, room: usize) -> String {
    let Some(name) = condition.name.as_deref() else { return "none named".to_owned() };
    match condition.by {
        By::Category | By::Message => cut_words(name, room),
        By::Location => human::cut_front(name, room),
        By::Upstream | By::Client | By::Server => human::cut_middle(name, room),
    }
    .into_owned()
}

/// How many, since when, at which levels, and what the rows cannot tell.
fn facts(extent: &Extent, snap: &Snapshot, state: &ScreenState, look: &Look) -> Vec<Seg> {
    let muted = |said: String, leave| Seg::new(vec![look.span(Tone::Muted, said)]).leaves(leave);
    let mut out = Vec::new();
    let row = state.drill.only_category().and_then(|c| snap.errors.iter().find(|r| r.name == c));
    if let Some(row) = row {
        out.push(muted(levels(row), 6));
        out.extend(row.first.map(|t| muted(format!("first {}", look.clock(t)), 5)));
    }
    let last = snap.lines.iter().rev().find(|l| state.drill.holds(l));
    out.extend(last.map(|l| muted(format!("last {} ago", human::span_short(snap.now.since(l.entry.at))), 4)));
    if extent.bound > 0 {
        out.push(muted(format!("others ≤{} each", human::grouped(extent.bound)), 3));
    }
    if state.drill.view == View::Lines && (extent.kept as u64) < extent.count.count {
        out.push(muted(format!("newest {} of", human::grouped(extent.kept as u64)), 3));
    } else if extent.kept_only && state.drill.view != View::Lines {
        out.push(muted(format!("counted in {} kept", human::counted(extent.kept as u64, "line", "lines")), 3));
    }
    let at_least = if extent.count.missed > 0 { "≥" } else { "" };
    out.push(muted(format!("{at_least}{}", human::counted(extent.count.count, "entry", "entries")), 2));
    out
}

/// `level error`, or `40 error, 2 info`.
fn levels(row: &ErrorRow) -> String {
    if let (1, Some(level)) = (row.by_level.len(), row.by_level.keys().next()) {
        return format!("level {}", level.word());
    }
    let each = row.by_level.iter().map(|(l, n)| format!("{} {}", human::grouped(*n), l.word()));
    each.collect::<Vec<_>>().join(", ")
}

/// `message 3  ▎upstream 2   client 9   lines 42`.
fn views(buf: &mut Buffer, line: Rect, snap: &Snapshot, state: &ScreenState, look: &Look) -> Vec<Spot> {
    let one = |(at, view): (usize, View)| {
        let here = view == state.drill.view;
        let (n, more) = narrow::variety(snap, state, view);
        let bar = look.span(Tone::Accent, if here { theme::FOCUS } else { " " });
        let word = look.span(if here { Tone::Strong } else { Tone::Muted }, view.word());
        let more = if more { "+" } else { "" };
        let count = look.span(Tone::Faint, format!(" {}{more}", human::scaled(n as u64)));
        Seg::new(vec![bar.clone(), word.clone(), count]).or(vec![bar, word]).leaves(u8::from(!here)).tagged(at)
    };
    let line =
        Rect { x: line.x.saturating_sub(1), width: line.width.saturating_add(u16::from(line.width > 0)), ..line };
    let all = state.drill.views();
    let places = put_ends(buf, line, all.iter().copied().enumerate().map(one).collect(), Vec::new());
    let spot = |(at, area): (usize, Rect)| Some(Spot { area, what: Target::View(*all.get(at)?) });
    places.into_iter().filter_map(spot).collect()
}

/// What the pane says when it has no rows and its source sees.
pub(super) fn calm(snap: &Snapshot, state: &ScreenState) -> Vec<String> {
    if !snap.sees(SourceKind::ErrorLog) && snap.error_total == 0 {
        return vec!["no error log is followed yet; --error-log PATH names one".to_owned()];
    }
    if state.drill.is_deep() {
        let gone = "nothing of this is known any more: the counters began again, or its lines made room for newer ones";
        return vec![gone.to_owned(), "Esc goes up".to_owned()];
    }
    let mut said = vec!["the error log has said nothing since the program started".to_owned()];
    if let Some(level) = snap.log_level.filter(|l| *l < Level::Info) {
        said.push(format!(
            "at level {} nginx writes neither idle cuts nor client faults of tunnels; error_log ... info; does",
            level.word()
        ));
    }
    said
}
