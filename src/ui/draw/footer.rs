//! The last line of the screen: a notice, the filter being typed, or the keys that help where one is.

use crossterm::event::KeyCode;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Span;

use crate::human;

use super::super::hints;
use super::super::keys::{self, Action};
use super::super::snapshot::Snapshot;
use super::super::state::{Popup, ScreenState, Spot, Target};
use super::super::text::{Look, Seg, put_ends};
use super::super::theme::Tone;
use super::super::view;

fn hint(look: &Look, key: &str, word: &str) -> Vec<Span<'static>> {
    vec![look.span(Tone::Accent, key.to_owned()), look.span(Tone::Muted, format!(" {word}"))]
}

/// Draws the line. Tells which hint is where.
pub(super) fn draw(buf: &mut Buffer, line: Rect, snap: &Snapshot, state: &ScreenState, look: &Look) -> Vec<Spot> {
    if let Some(notice) = state.notice.as_ref().filter(|_| state.editing.is_none()) {
        put_ends(buf, line, vec![Seg::new(vec![look.span(Tone::Warn, notice.clone())])], Vec::new());
        return Vec::new();
    }
    if let Some(text) = &state.editing {
        draw_filter(buf, line, text, snap, state, look);
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

/// The filter that is being typed.
fn draw_filter(buf: &mut Buffer, line: Rect, text: &str, snap: &Snapshot, state: &ScreenState, look: &Look) {
    let n = view::shown(snap, state, state.focus).len();
    let rows = vec![Seg::new(vec![look.span(Tone::Muted, human::counted(n as u64, "row", "rows"))]).leaves(1)];
    let wrong = state.notice.as_ref().map(|n| vec![Seg::new(vec![look.span(Tone::Warn, n.clone())]).leaves(1)]);
    draw_typed(buf, line, text, wrong.unwrap_or(rows), look);
}

/// What is typed, and at the right what comes of it.
fn draw_typed(buf: &mut Buffer, line: Rect, text: &str, mut right: Vec<Seg>, look: &Look) {
    let typed =
        vec![look.span(Tone::Accent, "/"), look.span(Tone::Plain, text.to_owned()), look.span(Tone::Accent, "▏")];
    right.push(Seg::new(hint(look, "Enter", "keep")).leaves(2));
    right.push(Seg::new(hint(look, "Esc", "clear")).leaves(3));
    put_ends(buf, line, vec![Seg::new(typed)], right);
}
