//! The keys of the filter line, and what is pasted into it.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::filter;
use super::line::{FilterLine, Step};
use super::snapshot::Snapshot;
use super::state::{Effect, Popup, ScreenState};
use crate::human;

/// Opens the line with what is in force in the focused pane.
pub(super) fn start(state: &mut ScreenState, snap: &Snapshot) {
    let line = FilterLine::new(state.focus, state.filter(state.focus).cloned());
    try_out(state, snap, line);
}

/// One key of the filter line. What is typed is in force at once; what is wrong leaves the filter before in force.
pub(super) fn key(state: &mut ScreenState, snap: &Snapshot, mut line: FilterLine, key: KeyEvent) {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    let alone = !key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT);
    let by = if alone { Step::Letter } else { Step::Word };
    match key.code {
        KeyCode::Esc => return state.set_filter(line.pane, line.before),
        // A wrong one cannot be kept: it stays where it can be mended.
        KeyCode::Enter if line.wrong.is_none() => return state.history.keep(line.pane, line.text().trim()),
        KeyCode::BackTab => _ = line.complete(false),
        KeyCode::Tab => _ = line.complete(!key.modifiers.contains(KeyModifiers::SHIFT)),
        KeyCode::Up => line.recall(&state.history, true),
        KeyCode::Down => line.recall(&state.history, false),
        KeyCode::Left => line.step(by, false),
        KeyCode::Right => line.step(by, true),
        KeyCode::Home => line.step(Step::Line, false),
        KeyCode::End => line.step(Step::Line, true),
        KeyCode::Backspace => line.remove(by, false),
        KeyCode::Delete => line.remove(by, true),
        KeyCode::Char('b') if !alone => line.step(by_alt(key), false),
        KeyCode::Char('f') if !alone => line.step(by_alt(key), true),
        KeyCode::Char('a') if control => line.step(Step::Line, false),
        KeyCode::Char('e') if control => line.step(Step::Line, true),
        KeyCode::Char('u') if control => line.remove(Step::Line, false),
        KeyCode::Char('k') if control => line.remove(Step::Line, true),
        KeyCode::Char('w') if control => line.remove(Step::Word, false),
        KeyCode::Char('d') if control => line.remove(Step::Letter, true),
        KeyCode::Char('h') if control => line.remove(Step::Letter, false),
        KeyCode::Char('p') if control => line.recall(&state.history, true),
        KeyCode::Char('n') if control => line.recall(&state.history, false),
        KeyCode::Char(c) if alone => line.insert(c.encode_utf8(&mut [0; 4])),
        _ => {}
    }
    try_out(state, snap, line);
}

/// Alt moves by words, Ctrl with the same letter by characters.
fn by_alt(key: KeyEvent) -> Step {
    if key.modifiers.contains(KeyModifiers::ALT) { Step::Word } else { Step::Letter }
}

/// Puts what was typed in force as far as it makes sense, and looks how it may go on.
fn try_out(state: &mut ScreenState, snap: &Snapshot, mut line: FilterLine) {
    line.wrong = match filter::parse(line.pane, line.text()) {
        Ok(filter) => {
            state.set_filter(line.pane, filter);
            None
        }
        Err(wrong) => Some(wrong),
    };
    if line.chosen().is_none() {
        line.offered = filter::complete(snap, state, line.pane, line.head());
    }
    state.editing = Some(line);
}

/// Takes pasted text into the line that is being typed; where none is, nothing happens, because letters are keys there.
///
/// A paste is one line: line breaks and tabs become blanks, and what has no sign of its own is left out.
pub fn handle_paste(state: &mut ScreenState, snap: &Snapshot, text: &str) -> Effect {
    state.notice = None;
    let blank = |c: char| if c.is_whitespace() { ' ' } else { c };
    let clean: String = text.trim().chars().map(blank).filter(|c| human::has_a_sign(*c)).collect();
    if let Some(mut line) = state.editing.take() {
        line.insert(&clean);
        try_out(state, snap, line);
    } else if state.popup == Some(Popup::Palette) {
        clean.chars().for_each(|c| state.palette.push(c));
    } else {
        state.notice = Some("pasted text goes into a filter (/) or into the palette (:)".to_owned());
    }
    Effect::None
}
