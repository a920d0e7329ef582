//! The last line of the screen: a notice, the filter being typed, or the keys that help where one is.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Span;

use crate::human;

use super::super::drill::View;
use super::super::keys::{self, Action};
use super::super::pane::Pane;
use super::super::snapshot::Snapshot;
use super::super::state::{Popup, ScreenState};
use super::super::text::{Look, Seg, put_ends};
use super::super::theme::Tone;
use super::super::view;

fn hint(look: &Look, key: &str, word: &str) -> Vec<Span<'static>> {
    vec![look.span(Tone::Accent, key.to_owned()), look.span(Tone::Muted, format!(" {word}"))]
}

/// Draws the line.
pub(super) fn draw(buf: &mut Buffer, line: Rect, snap: &Snapshot, state: &ScreenState, look: &Look) {
    if let Some(notice) = state.notice.as_ref().filter(|_| state.editing.is_none()) {
        put_ends(buf, line, vec![Seg::new(vec![look.span(Tone::Warn, notice.clone())])], Vec::new());
        return;
    }
    if let Some(text) = &state.editing {
        let n = view::shown(snap, state, state.focus).len();
        let typed =
            vec![look.span(Tone::Accent, "/"), look.span(Tone::Plain, text.clone()), look.span(Tone::Accent, "▏")];
        let keys = vec![
            Seg::new(vec![look.span(Tone::Muted, human::counted(n as u64, "row", "rows"))]).leaves(1),
            Seg::new(hint(look, "Enter", "keep")).leaves(2),
            Seg::new(hint(look, "Esc", "clear")).leaves(3),
        ];
        let wrong = state.notice.as_ref().map(|n| vec![Seg::new(vec![look.span(Tone::Warn, n.clone())]).leaves(1)]);
        put_ends(buf, line, vec![Seg::new(typed)], wrong.unwrap_or(keys));
        return;
    }
    if state.popup == Some(Popup::Palette) {
        let left = keys::IN_PALETTE.iter().map(|(key, word)| Seg::new(hint(look, key, word))).collect();
        put_ends(buf, line, left, Vec::new());
        return;
    }
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for (b, shown) in state.keys.lines().filter(|(_, shown)| !shown.is_empty()) {
        let Some((word, leave)) = b.hint else { continue };
        let seg = Seg::new(hint(look, shown, word)).leaves(leave);
        let end = matches!(b.action, Action::Help | Action::Quit);
        if end { &mut right } else { &mut left }.push(seg);
    }
    if let Some(hints) = own_hints(snap, state) {
        let segs = hints.iter().map(|(a, word, leave)| Seg::new(hint(look, state.keys.shown(*a), word)).leaves(*leave));
        left = segs.collect();
    }
    put_ends(buf, line, left, right);
}

/// What the key line says where the usual hints do not help.
fn own_hints(snap: &Snapshot, state: &ScreenState) -> Option<keys::Hints> {
    match state.popup {
        Some(Popup::Row(Pane::Errors, _)) => Some(keys::OVER_LINE),
        Some(_) => Some(keys::OVER_PANES),
        None if state.is_deep() && state.drill.view == View::Lines => Some(keys::AMONG_LINES),
        None if state.focus == Pane::Timeline && snap.past.cursor.is_some() => Some(keys::IN_THE_PAST),
        None if state.focus == Pane::Timeline => Some(keys::ON_TIMELINE),
        None => state.is_deep().then_some(keys::AMONG_ERRORS),
    }
}
