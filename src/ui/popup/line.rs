//! One error-log line as nginx wrote it, its fields marked; what it means, and what else happened on its connection.

use std::ops::Range;
use std::sync::Arc;

use ratatui::text::{Line, Span};

use crate::event::log::AccessEntry;
use crate::human;
use crate::model::errors::kept::{By, Kept};
use crate::nginx::category::meaning;
use crate::nginx::error::marks::{self, Field};
use crate::report::entries::words;

use super::super::narrow;
use super::super::snapshot::Snapshot;
use super::super::state::ScreenState;
use super::super::text::{Look, spans_width, wrap_exact, wrap_whole};
use super::super::theme::{self, Tone};
use super::Page;

/// Lines of the same connection shown at most.
const NEIGHBOURS: usize = 12;

/// `upstream-closed   14:00:11   17 of 42   4s ago`.
pub(super) fn title(snap: &Snapshot, state: &ScreenState, line: &Kept, look: &Look) -> String {
    let among = narrow::lines(snap, state);
    let place = among.iter().position(|l| l.seq == line.seq);
    let place = place.map_or_else(String::new, |at| format!("   {} of {}", at + 1, among.len()));
    let ago = human::span_short(snap.now.since(line.entry.at));
    format!("{}   {}{place}   {ago} ago", line.category().word(), look.clock(line.entry.at))
}

/// The whole page.
pub(super) fn write(page: &mut Page<'_>, snap: &Snapshot, line: &Arc<Kept>) {
    let marks = marks::of(&line.entry);
    raw(page, &line.entry.raw, &marks);
    page.blank();
    legend(page, line, &marks);
    means(page, line);
    neighbours(page, snap, line);
}

/// The raw line wrapped; below each part the letters of the fields, so that no colour is needed to tell them apart.
///
/// ```text
/// 2026/11/21 14:00:13 [error] 7#7: *83 recv() failed (104: Connection reset by peer) while
/// t──────────────────  l────  w     n─ m──────────── e────────────────────────────
/// ```
fn raw(page: &mut Page<'_>, raw: &str, marks: &[(Field, Range<usize>)]) {
    let mut start = 0;
    for part in wrap_whole(raw, page.width.saturating_sub(2)) {
        let here = start..start + part.len();
        start = here.end;
        let mut text = vec![page.look.span(Tone::Plain, "  ")];
        let mut signs = vec![page.look.span(Tone::Plain, "  ")];
        let mut at = here.start;
        for (field, range) in marks.iter().filter(|(_, r)| r.start < here.end && r.end > here.start) {
            let (from, to) = (range.start.max(here.start), range.end.min(here.end));
            push(page.look, &mut text, &mut signs, raw.get(at..from), None);
            push(page.look, &mut text, &mut signs, raw.get(from..to), Some(*field));
            at = to;
        }
        push(page.look, &mut text, &mut signs, raw.get(at..here.end), None);
        page.lines.push(Line::from(text));
        if signs.iter().any(|s| !s.content.trim().is_empty()) {
            page.lines.push(Line::from(signs));
        }
    }
}

/// A piece of the line and what stands below it.
fn push(
    look: &Look,
    text: &mut Vec<Span<'static>>,
    signs: &mut Vec<Span<'static>>,
    piece: Option<&str>,
    field: Option<Field>,
) {
    let Some(piece) = piece.filter(|p| !p.is_empty()) else { return };
    let width = human::width(piece);
    if let Some(field) = field {
        text.push(look.span(Tone::Strong, piece.to_owned()));
        signs.push(look.span(Tone::Accent, field.letter().to_string()));
        signs.push(look.span(Tone::Rule, theme::RULE.repeat(width.saturating_sub(1))));
    } else {
        text.push(look.span(Tone::Muted, piece.to_owned()));
        signs.push(look.span(Tone::Plain, " ".repeat(width)));
    }
}

/// The fields by their letters, two on a line where they fit.
fn legend(page: &mut Page<'_>, line: &Kept, marks: &[(Field, Range<usize>)]) {
    if marks.is_empty() {
        page.pair("fields", "this line could not be read again: it was cut, or is not nginx's own");
    }
    let half = page.width / 2;
    let mut beside: Option<Vec<Span<'static>>> = None;
    for (field, range) in marks {
        let value = line.entry.raw.get(range.clone()).unwrap_or_default();
        let said = if field.is_chosen_by_the_client() { format!("{value}   as sent") } else { value.to_owned() };
        let cell = field_cell(page.look, Some(*field), &said);
        if spans_width(&cell) >= half {
            page.lines.extend(beside.take().map(Line::from));
            let parts = wrap_exact(&said, page.width.saturating_sub(super::NAME));
            let cells = parts.iter().enumerate().map(|(i, p)| field_cell(page.look, (i == 0).then_some(*field), p));
            page.lines.extend(cells.map(Line::from));
        } else if let Some(mut left) = beside.take() {
            left.push(page.look.span(Tone::Plain, " ".repeat(half.saturating_sub(spans_width(&left)))));
            left.extend(cell);
            page.lines.push(Line::from(left));
        } else {
            beside = Some(cell);
        }
    }
    page.lines.extend(beside.map(Line::from));
    if let Some(location) = line.key(By::Location).filter(|l| Some(*l) != line.entry.path()) {
        page.pair("  location", location);
    }
}

/// One field with its letter and name, or a further line of its value.
fn field_cell(look: &Look, field: Option<Field>, said: &str) -> Vec<Span<'static>> {
    let letter = field.map_or_else(|| " ".to_owned(), |f| f.letter().to_string());
    let (name, room) = (field.map_or("", Field::word), super::NAME - 2);
    vec![
        look.span(Tone::Accent, letter),
        look.span(Tone::Faint, format!(" {name:<room$}")),
        look.span(Tone::Plain, said.to_owned()),
    ]
}

/// What its category means, and what usually causes it.
fn means(page: &mut Page<'_>, line: &Kept) {
    let meaning = meaning::of(line.category());
    page.head(line.category().word());
    page.pair("means", meaning.says);
    if let Some(remark) = meaning::remark(&line.entry) {
        page.toned("here", remark, Tone::Strong);
    }
    for (i, cause) in meaning.causes.iter().enumerate() {
        page.pair(if i == 0 { "usually" } else { "or" }, cause);
    }
}

/// What else the logs say of the same connection. Its number is given again after a restart of nginx, but not to another
/// worker's connection at the same time.
fn neighbours(page: &mut Page<'_>, snap: &Snapshot, line: &Arc<Kept>) {
    let Some(connection) = line.entry.connection else { return };
    let same =
        |l: &&Arc<Kept>| l.entry.connection == Some(connection) && l.entry.pid == line.entry.pid && l.seq != line.seq;
    let others: Vec<&Arc<Kept>> = snap.lines.iter().filter(same).collect();
    let client = line.entry.client.as_deref();
    let same_client =
        |a: &&AccessEntry| a.connection == Some(connection) && (client.is_none() || a.client.as_deref() == client);
    let ended: Vec<&AccessEntry> = snap.ended.iter().filter(same_client).collect();
    page.head(&format!("The same connection, *{connection}"));
    if others.is_empty() && ended.is_empty() {
        page.pair("", "no other line of it is kept");
    }
    for other in others.iter().take(NEIGHBOURS) {
        let light = narrow::light(other.entry.level);
        let said = format!("{} {} {}", light.sign(), other.entry.level.word(), words(&other.entry));
        page.toned(&page.look.clock(other.entry.at), &said, light.word_tone());
    }
    for access in ended.iter().take(NEIGHBOURS) {
        let lived = access.request_time.map_or_else(String::new, |d| format!(" after {}", human::span(d)));
        let request = access.request.as_deref().unwrap_or("");
        let said = format!("access log: {} {request}, ended{lived}", access.status);
        page.pair(&page.look.clock(access.at), &said);
    }
}
