//! Clicks and the wheel: what lies under the pointer in the last frame says what they mean.

use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Position;

use super::input;
use super::keys::Action;
use super::moments;
use super::pane::Pane;
use super::snapshot::Snapshot;
use super::state::{Effect, Popup, ScreenState, Target};
use super::view;

/// Rows that one notch of the wheel moves.
const NOTCH: usize = 3;
/// Two clicks at one place within this time are a double click (Windows' and macOS's default).
const DOUBLE: Duration = Duration::from_millis(500);

/// Answers one click or turn of the wheel, `now`.
pub fn handle_mouse(state: &mut ScreenState, snap: &Snapshot, mouse: MouseEvent, now: Instant) -> Effect {
    let at = Position::new(mouse.column, mouse.row);
    match mouse.kind {
        MouseEventKind::ScrollDown => wheel(state, snap, at, true),
        MouseEventKind::ScrollUp => wheel(state, snap, at, false),
        MouseEventKind::Down(MouseButton::Left) => {
            let before = state.clicked.replace((now, at));
            let twice = before.is_some_and(|(then, there)| there == at && now.saturating_duration_since(then) < DOUBLE);
            if twice {
                state.clicked = None;
            }
            return click(state, snap, at, twice);
        }
        MouseEventKind::Down(MouseButton::Right) => return input::press(state, snap, Action::Back),
        _ => {}
    }
    Effect::None
}

/// What was drawn last at this place.
fn target(state: &ScreenState, at: Position) -> Option<Target> {
    state.spots.iter().rev().find(|s| s.area.contains(at)).map(|s| s.what)
}

fn click(state: &mut ScreenState, snap: &Snapshot, at: Position, twice: bool) -> Effect {
    let target = target(state, at);
    if state.popup.is_some() {
        return over_popup(state, snap, target);
    }
    // What was typed of a filter stays in force; the pane that it belongs to may lose the focus.
    if target.is_some() {
        if let Some(line) = state.editing.take().filter(|line| line.wrong.is_none()) {
            state.history.keep(line.pane, line.text().trim());
        }
        state.notice = None;
    }
    if !twice && let Some(effect) = moments::clicked(state, snap, at) {
        if let Some(Target::Pane(pane)) = target {
            state.focus = pane;
        }
        return effect;
    }
    match target {
        Some(Target::Act(action)) => return input::press(state, snap, action),
        Some(Target::Pane(Pane::Timeline)) if twice => return input::press(state, snap, Action::Details),
        Some(Target::Pane(pane)) => state.focus = pane,
        // Rows may have changed places since the first click: what that one selected is meant.
        Some(Target::Row(pane, _)) if twice && state.focus == pane => {
            return input::press(state, snap, Action::Details);
        }
        Some(Target::Row(pane, row)) => {
            state.focus = pane;
            let ids = view::ids(snap, state, pane);
            if row < ids.len() {
                state.pane_mut(pane).select(&ids, row);
            }
        }
        Some(Target::Head(pane, column)) => {
            state.focus = pane;
            let choice = state.pane_mut(pane);
            choice.reverse = choice.sort == Some(column) && !choice.reverse;
            choice.sort = Some(column);
        }
        Some(Target::View(view)) => {
            state.focus = Pane::Errors;
            state.drill.show(view, &mut state.panes[Pane::Errors.index()]);
        }
        Some(Target::Page | Target::Press(_) | Target::Entry(_)) | None => {}
    }
    Effect::None
}

/// A click beside a page, or on its title, closes it.
fn over_popup(state: &mut ScreenState, snap: &Snapshot, target: Option<Target>) -> Effect {
    match target {
        Some(Target::Page) => Effect::None,
        Some(Target::Entry(at)) => {
            state.palette.at = at;
            input::handle_key(state, snap, KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE))
        }
        Some(Target::Press(code)) => input::handle_key(state, snap, KeyEvent::new(code, KeyModifiers::NONE)),
        Some(Target::Act(action)) => input::press(state, snap, action),
        _ => {
            state.popup = None;
            Effect::None
        }
    }
}

/// The wheel scrolls what is under the pointer, and focuses nothing. The selected row stays in sight.
fn wheel(state: &mut ScreenState, snap: &Snapshot, at: Position, down: bool) {
    let step = |from: usize| if down { from.saturating_add(NOTCH) } else { from.saturating_sub(NOTCH) };
    if let Some(popup) = state.popup {
        if popup == Popup::Palette {
            let code = if down { KeyCode::Down } else { KeyCode::Up };
            input::handle_key(state, snap, KeyEvent::new(code, KeyModifiers::NONE));
        } else {
            state.popup_scroll = step(state.popup_scroll);
        }
        return;
    }
    let target = target(state, at);
    if target == Some(Target::Pane(Pane::Timeline)) || state.strip.is_some_and(|s| s.area.contains(at)) {
        // As on a map: towards the screen is closer.
        moments::zoom(state, !down);
        return;
    }
    let Some(Target::Pane(pane) | Target::Row(pane, _) | Target::Head(pane, _)) = target else { return };
    let ids = view::ids(snap, state, pane);
    let choice = state.pane_mut(pane);
    let Some(selected) = choice.place(&ids) else { return };
    let rows = choice.page.max(1);
    choice.offset = step(choice.offset).min(ids.len().saturating_sub(rows));
    choice.select(&ids, selected.clamp(choice.offset, choice.offset + rows - 1));
}
