//! The layer over the panes: a page of details, with as many rows as it needs and no more.

use crossterm::event::KeyCode;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::{Clear, Widget as _};

use super::super::layout;
use super::super::palette;
use super::super::popup;
use super::super::seek;
use super::super::snapshot::Snapshot;
use super::super::state::{Popup, ScreenState, Spot, Target};
use super::super::text::{Look, Seg, nth_line, put, put_ends, put_line, put_rule};
use super::super::theme::{self, Tone};

/// Sentences longer than this are hard to read.
const TEXT: u16 = 116;
/// What would stay of the panes above is left only from so many rows on.
const ABOVE: u16 = 12;
/// A title is not cut below so many columns.
const TITLE: usize = 10;
/// A screen so low gives the layer all but its key line.
const LOW: u16 = 16;

/// Draws the layer, when there is one. `screen` is all but the key line, `body` where the panes are.
///
/// ```text
/// ──────────────────────────────────────── the panes end here
/// ▎Tunnel of 203.0.113.9:51992   28/40 lines
///   time left   ━━━━━━╸ …
/// ```
pub(super) fn draw(buf: &mut Buffer, screen: Rect, body: Rect, snap: &Snapshot, state: &mut ScreenState, look: &Look) {
    let Some(which) = state.popup else { return };
    let low = screen.height < LOW;
    let whole = if low { screen } else { body };
    let text = usize::from(whole.width.saturating_sub(4).min(TEXT));
    let Some((title, mut lines)) = popup::page(which, snap, state, look, text) else {
        state.popup = None;
        state.notice = Some("that row has gone".to_owned());
        return;
    };
    let wants = u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_add(2);
    let rows = state.layer.rows(which, wants);
    // The palette has as many lines as fit what is typed: its place must not jump with every letter.
    let part = which != Popup::Palette && !low && whole.height >= rows.saturating_add(ABOVE);
    let mut layer = whole;
    if part {
        layer = layout::take_bottom(&mut { whole }, rows);
    }
    Clear.render(layer, buf);
    if part {
        put(buf, layout::take(&mut layer, 1), &[look.span(Tone::Accent, theme::RULE.repeat(usize::from(whole.width)))]);
    }
    state.spots.push(Spot { area: layer, what: Target::Page });
    let head = layout::take(&mut layer, 1);
    state.spots.push(Spot { area: head, what: Target::Press(KeyCode::Esc) });
    if !part && !low {
        put_rule(buf, layout::take(&mut layer, 1), theme::RULE, look);
    }
    let room = usize::from(layer.height);
    let found = seek::mark(state, &mut lines, room);
    state.popup_scroll = state.popup_scroll.min(lines.len().saturating_sub(room));
    put(buf, Rect { width: 1, ..head }, &[look.span(Tone::Accent, theme::FOCUS)]);
    let found = found.map(|said| Seg::new(vec![look.span(Tone::Accent, said)]).leaves(3));
    let right = place(state.popup_scroll, room, lines.len()).map(|said| {
        let short = said.trim_end_matches(" lines").to_owned();
        Seg::new(vec![look.span(Tone::Muted, said)]).shrinks(2, vec![look.span(Tone::Muted, short)])
    });
    let title = Seg::new(vec![look.span(Tone::Strong, title)]).squeezes(1, TITLE);
    put_ends(buf, super::inset(head), vec![title], found.into_iter().chain(right).collect());
    let inner = super::margin(layer);
    for (i, line) in lines.iter().skip(state.popup_scroll).take(room).enumerate() {
        let place = nth_line(inner, u16::try_from(i).unwrap_or(u16::MAX));
        put_line(buf, place, line);
        if let Some(at) = (i + state.popup_scroll).checked_sub(palette::HEAD).filter(|_| which == Popup::Palette) {
            state.spots.push(Spot { area: place, what: Target::Entry(at) });
        }
    }
}

/// How far one has read: `28/40 lines`; nothing where all is seen.
fn place(scroll: usize, room: usize, all: usize) -> Option<String> {
    let digits = all.to_string().len();
    (all > room).then(|| format!("{:>digits$}/{all} lines", (scroll + room).min(all)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_in_a_page_has_a_steady_width() {
        assert_eq!(place(0, 10, 10), None);
        assert_eq!(place(0, 9, 120).as_deref(), Some("  9/120 lines"));
        assert_eq!(place(500, 9, 120).as_deref(), Some("120/120 lines"));
    }
}
