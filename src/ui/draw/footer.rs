//! The last line of the screen: a notice, the filter being typed, or the keys that help where one is.

use crossterm::event::KeyCode;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Stylize as _};
use ratatui::text::Span;

use crate::human;

use super::super::hints;
use super::super::keys::{self, Action};
use super::super::line::FilterLine;
use super::super::pane::Pane;
use super::super::snapshot::Snapshot;
use super::super::state::{Popup, ScreenState, Spot, Target};
use super::super::text::{Look, Seg, cut_words, put, put_ends, spans_width};
use super::super::theme::Tone;
use super::super::view;

/// Stands where the next character comes.
const CURSOR: &str = "▏";

fn hint(look: &Look, key: &str, word: &str) -> Vec<Span<'static>> {
    vec![look.span(Tone::Accent, key.to_owned()), look.span(Tone::Muted, format!(" {word}"))]
}

/// Draws the line. Tells which hint is where.
pub(super) fn draw(buf: &mut Buffer, line: Rect, snap: &Snapshot, state: &ScreenState, look: &Look) -> Vec<Spot> {
    if let Some(notice) = state.notice.as_ref().filter(|_| state.editing.is_none()) {
        put_ends(buf, line, vec![Seg::new(vec![look.span(Tone::Warn, notice.clone())])], Vec::new());
        return Vec::new();
    }
    if let Some(typed) = &state.editing {
        put_ends(buf, line, vec![Seg::new(typed_spans(typed, line.width, look))], beside(typed, snap, state, look));
        return Vec::new();
    }
    if let Some(seek) = state.seek.as_ref().filter(|s| s.typing) {
        let lines = human::counted(seek.found as u64, "line", "lines");
        draw_typed(buf, line, &seek.text, vec![Seg::new(vec![look.span(Tone::Muted, lines)]).leaves(1)], look);
        return Vec::new();
    }
    if state.popup == Some(Popup::Palette) {
        let one = |(at, (key, _, word)): (usize, &(&str, KeyCode, &str))| Seg::new(hint(look, key, word)).tagged(at);
        let places = put_ends(buf, line, keys::IN_PALETTE.iter().enumerate().map(one).collect(), Vec::new());
        let spot = |(at, area): (usize, Rect)| {
            let (_, code, _) = keys::IN_PALETTE.get(at)?;
            Some(Spot { area, what: Target::Press(*code) })
        };
        return places.into_iter().filter_map(spot).collect();
    }
    let here = hints::hints(snap, state);
    let one = |(at, (action, word, leave)): (usize, &(Action, &'static str, u8))| {
        // One key of several is enough here.
        let shown = state.keys.shown(*action).split(' ').next().filter(|shown| !shown.is_empty())?;
        Some(Seg::new(hint(look, shown, word)).leaves(*leave).tagged(at))
    };
    let left = here.iter().enumerate().filter_map(one).collect();
    let right = hints::ALWAYS.iter().enumerate().filter_map(|(at, h)| one((at + here.len(), h))).collect();
    let spot = |(at, area): (usize, Rect)| {
        let (action, ..) = here.iter().chain(hints::ALWAYS).nth(at)?;
        Some(Spot { area, what: Target::Act(*action) })
    };
    put_ends(buf, line, left, right).into_iter().filter_map(spot).collect()
}

/// The filter line: the part of the text around the cursor, the place where it is wrong, and how it may go on.
fn typed_spans(typed: &FilterLine, width: u16, look: &Look) -> Vec<Span<'static>> {
    let width = usize::from(width);
    let window = typed.window(width.saturating_sub(1));
    let mut spans = vec![look.span(Tone::Accent, "/")];
    let more = |is: bool| look.span(Tone::Muted, if is { "…" } else { " " });
    spans.extend(window.cut.map(|(before, _)| more(before)));
    for (at, shown) in window.cells {
        let is_end = at == typed.text().len();
        let span = match at {
            at if at == typed.cursor() && is_end => look.span(Tone::Accent, CURSOR),
            _ if is_end => continue,
            at if typed.wrong.as_ref().is_some_and(|w| w.at == at) => {
                look.span(Tone::Bad, shown).add_modifier(Modifier::UNDERLINED)
            }
            _ => look.span(Tone::Plain, shown),
        };
        let is_under = at == typed.cursor() && !is_end;
        spans.push(if is_under { span.add_modifier(Modifier::REVERSED) } else { span });
    }
    spans.extend(window.cut.filter(|(_, behind)| *behind).map(|_| more(true)));
    let rest = look.span(Tone::Muted, typed.rest().to_owned());
    if spans_width(&spans) + rest.width() <= width {
        spans.push(rest);
    }
    spans
}

/// How many rows are left, and the keys that end the typing.
fn beside(typed: &FilterLine, snap: &Snapshot, state: &ScreenState, look: &Look) -> Vec<Seg> {
    let n = view::shown(snap, state, typed.pane).len() as u64;
    let (one, many) = if typed.pane == Pane::Timeline { ("mark", "marks") } else { ("row", "rows") };
    vec![
        Seg::new(vec![look.span(Tone::Muted, human::counted(n, one, many))]).leaves(1),
        Seg::new(hint(look, "Enter", "keep")).leaves(2),
        Seg::new(hint(look, "Esc", "back")).leaves(3),
    ]
}

/// Draws over the filter line what is wrong in it, with a mark above the place, and how it may go on.
pub(super) fn draw_hint(buf: &mut Buffer, line: Rect, state: &ScreenState, look: &Look) {
    let Some(typed) = &state.editing else { return };
    let (mut free, mut said) = (line, Vec::new());
    if let Some(wrong) = &typed.wrong {
        let at = column(typed, wrong.at, line.width);
        put(buf, Rect { x: line.x + at, width: 1.min(line.width), ..line }, &[look.span(Tone::Bad, "▾")]);
        let is_left = at > line.width / 2;
        let width = if is_left { at } else { line.width.saturating_sub(at + 1) };
        free = Rect { x: if is_left { line.x } else { line.x + at + 1 }, width, ..line };
        let sentence = if typed.offered.candidates.is_empty() { wrong.sentence() } else { wrong.said.clone() };
        said.push(look.span(Tone::Warn, cut_words(&sentence, usize::from(width).saturating_sub(2)).into_owned()));
    }
    let room = usize::from(free.width).saturating_sub(spans_width(&said) + 2);
    let offered = offered(typed, room.saturating_sub(if said.is_empty() { 0 } else { 3 }), look);
    if !said.is_empty() && !offered.is_empty() {
        said.push(look.span(Tone::Plain, "   "));
    }
    said.extend(offered);
    if said.is_empty() {
        return;
    }
    let blank = look.span(Tone::Plain, " ");
    said.insert(0, blank.clone());
    said.push(blank);
    let width = u16::try_from(spans_width(&said)).unwrap_or(u16::MAX).min(free.width);
    // At the left of the mark the words end beside it.
    let x = if free.x == line.x && typed.wrong.is_some() { free.right() - width } else { free.x };
    put(buf, Rect { x, width, ..free }, &said);
}

/// The column of the line in which the character at this byte stands.
fn column(typed: &FilterLine, at: usize, width: u16) -> u16 {
    let window = typed.window(usize::from(width).saturating_sub(1));
    let before = window.cells.iter().filter(|(i, _)| *i < at).map(|(_, shown)| human::width(shown)).sum::<usize>();
    let column = 1 + usize::from(window.cut.is_some()) + before;
    u16::try_from(column).unwrap_or(width).min(width.saturating_sub(1))
}

/// The ways to go on, as many as fit, among them the one that stands in the text.
fn offered(typed: &FilterLine, room: usize, look: &Look) -> Vec<Span<'static>> {
    let all = &typed.offered.candidates;
    let wide = |range: &[String]| range.iter().map(|c| human::width(c) + 2).sum::<usize>();
    let mut from = 0;
    while typed.chosen().is_some_and(|at| from < at && wide(&all[from..=at]) + 8 > room) {
        from += 1;
    }
    let mut spans = hint(look, "Tab", "");
    let mut used = spans_width(&spans) + 2;
    for (at, candidate) in all.iter().enumerate().skip(from) {
        let shown = look.span(if typed.chosen() == Some(at) { Tone::Accent } else { Tone::Muted }, candidate.clone());
        if used + shown.width() > room {
            spans.push(look.span(Tone::Muted, "…"));
            break;
        }
        used += shown.width() + 2;
        spans.extend([shown, look.span(Tone::Plain, "  ")]);
    }
    if spans.len() > 3 { spans } else { Vec::new() }
}

/// What is typed, and at the right what comes of it.
fn draw_typed(buf: &mut Buffer, line: Rect, text: &str, mut right: Vec<Seg>, look: &Look) {
    let typed =
        vec![look.span(Tone::Accent, "/"), look.span(Tone::Plain, text.to_owned()), look.span(Tone::Accent, "▏")];
    right.push(Seg::new(hint(look, "Enter", "keep")).leaves(2));
    right.push(Seg::new(hint(look, "Esc", "clear")).leaves(3));
    put_ends(buf, line, vec![Seg::new(typed)], right);
}
