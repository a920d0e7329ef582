//! Keys turned into choices, or into a wish to the program around the screen.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::human::redact;
use crate::model::errors::kept::By as ErrorsBy;

use super::copy;
use super::drill::View;
use super::edit;
use super::filter;
use super::keys::Action;
use super::moments;
use super::narrow;
use super::palette::{self, Choice, Palette};
use super::pane::Pane;
use super::seek;
use super::snapshot::Snapshot;
use super::state::{Effect, Popup, ScreenState};
use super::theme::Theme;
use super::view;
use crate::report::filter::quoted;
use crate::report::sockets::By;

/// What terminals take by OSC 52, in bytes before Base64: xterm's limit is the least (100,000 bytes with the sequence).
const MOST_COPIED: usize = 74_000;

/// Answers one key.
///
/// A terminal sends Esc and a letter typed right after it as the same bytes as Alt with that letter. Alt is used only in the
/// filter line, for two letters: elsewhere it is read as the two keys.
///
/// Terminals that tell of releases tell of them apart (kitty's keyboard protocol): one stroke is one key.
pub fn handle_key(state: &mut ScreenState, snap: &Snapshot, key: KeyEvent) -> Effect {
    if key.kind == KeyEventKind::Release {
        return Effect::None;
    }
    let moves = |c| state.editing.is_some() && matches!(c, 'b' | 'f');
    if let (KeyCode::Char(c), true) = (key.code, key.modifiers.contains(KeyModifiers::ALT))
        && !moves(c)
    {
        one_key(state, snap, KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE));
        return one_key(state, snap, KeyEvent::new(key.code, key.modifiers - KeyModifiers::ALT));
    }
    one_key(state, snap, key)
}

fn one_key(state: &mut ScreenState, snap: &Snapshot, key: KeyEvent) -> Effect {
    state.notice = None;
    let action = state.keys.action_for(key);
    // These reach the program whatever is typed, unless a letter was made their key.
    match action {
        Some(Action::Interrupt) => return Effect::Interrupt,
        Some(Action::Suspend) if key.modifiers.contains(KeyModifiers::CONTROL) => return Effect::Suspend,
        Some(Action::Redraw) if key.modifiers.contains(KeyModifiers::CONTROL) => return Effect::Redraw,
        _ => {}
    }
    if let Some(line) = state.editing.take() {
        edit::key(state, snap, line, key);
        return Effect::None;
    }
    if state.seek.as_ref().is_some_and(|s| s.typing) {
        seek::key(state, key);
        return Effect::None;
    }
    if state.popup == Some(Popup::Palette) {
        return in_palette(state, snap, key, action);
    }
    action.map_or(Effect::None, |action| press(state, snap, action))
}

/// Does what a key with this meaning does here.
pub(super) fn press(state: &mut ScreenState, snap: &Snapshot, action: Action) -> Effect {
    if state.popup.is_some() { in_popup(state, snap, action) } else { act(state, snap, action) }
}

/// One key of the palette.
fn in_palette(state: &mut ScreenState, snap: &Snapshot, key: KeyEvent, action: Option<Action>) -> Effect {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    let last = palette::matches(state, &state.palette.text).len().saturating_sub(1);
    state.palette.at = state.palette.at.min(last);
    match key.code {
        KeyCode::Esc => state.popup = None,
        KeyCode::Backspace if state.palette.text.is_empty() => state.popup = None,
        KeyCode::Backspace => state.palette.pop(),
        KeyCode::Up | KeyCode::BackTab => state.palette.at = state.palette.at.saturating_sub(1),
        KeyCode::Char('p') if control => state.palette.at = state.palette.at.saturating_sub(1),
        KeyCode::Down | KeyCode::Tab => state.palette.at = (state.palette.at + 1).min(last),
        KeyCode::Char('n') if control => state.palette.at = (state.palette.at + 1).min(last),
        KeyCode::Enter => return choose(state, snap),
        KeyCode::Char('u') if control => state.palette = Palette::default(),
        KeyCode::Char(c) if !key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) => {
            state.palette.push(c);
        }
        _ if action == Some(Action::Quit) => return Effect::Quit,
        _ => {}
    }
    // The chosen line stays in sight, below the typed one.
    let page = usize::from(state.size.1.saturating_sub(8).max(1));
    state.popup_scroll = (state.palette.at + 3).saturating_sub(page);
    Effect::None
}

fn choose(state: &mut ScreenState, snap: &Snapshot) -> Effect {
    let all = palette::matches(state, &state.palette.text);
    let Some(entry) = all.get(state.palette.at.min(all.len().saturating_sub(1))) else { return Effect::None };
    state.popup = None;
    match &entry.choice {
        Choice::Act(action) => return act(state, snap, *action),
        Choice::Theme(name) => {
            state.theme = Theme::by_name(name).map_or(state.theme, |t| t.at(state.depth));
            state.follows_background = false;
        }
        Choice::Sort(column) => {
            let pane = state.pane_mut(state.focus);
            (pane.sort, pane.reverse) = (Some(*column), false);
        }
        Choice::Group(by) => {
            state.focus = Pane::Connections;
            state.group = *by;
            state.grouped.selected = None;
        }
        Choice::View(view) => {
            state.focus = Pane::Errors;
            state.drill.show(*view, &mut state.panes[Pane::Errors.index()]);
        }
    }
    Effect::None
}

fn copy(state: &mut ScreenState, snap: &Snapshot) -> Effect {
    let Some((text, what)) = copy::text(snap, state) else {
        state.notice = Some("nothing to copy here; select a row".to_owned());
        return Effect::None;
    };
    let text = if state.redacted { redact::addresses(&text) } else { text };
    if text.len() > MOST_COPIED {
        state.notice = Some("that is too long for the terminal's clipboard".to_owned());
        return Effect::None;
    }
    state.notice = Some(format!("copied {what}, if the terminal lets us (OSC 52)"));
    Effect::Copy(text)
}

fn in_popup(state: &mut ScreenState, snap: &Snapshot, action: Action) -> Effect {
    let page = usize::from(state.size.1.saturating_sub(8).max(1));
    match action {
        Action::Quit => return Effect::Quit,
        Action::Down => state.popup_scroll = state.popup_scroll.saturating_add(1),
        Action::Up => state.popup_scroll = state.popup_scroll.saturating_sub(1),
        Action::PageDown => state.popup_scroll = state.popup_scroll.saturating_add(page),
        Action::PageUp => state.popup_scroll = state.popup_scroll.saturating_sub(page),
        Action::HalfDown => state.popup_scroll = state.popup_scroll.saturating_add(page.div_ceil(2)),
        Action::HalfUp => state.popup_scroll = state.popup_scroll.saturating_sub(page.div_ceil(2)),
        Action::Top => state.popup_scroll = 0,
        Action::Bottom => state.popup_scroll = usize::MAX,
        Action::Back | Action::Details => state.popup = None,
        Action::Filter => seek::start(state),
        Action::NextMatch => seek::go(state, true),
        Action::PreviousMatch => seek::go(state, false),
        Action::Help if state.popup == Some(Popup::Help) => state.popup = None,
        Action::Findings if state.popup == Some(Popup::Findings) => state.popup = None,
        Action::Help
        | Action::Findings
        | Action::Freeze
        | Action::Theme
        | Action::Probe
        | Action::Copy
        | Action::Report
        | Action::Earlier
        | Action::Later
        | Action::Redact
        | Action::Palette
        | Action::Redraw
        | Action::Suspend
        | Action::NextError
        | Action::PreviousError
        | Action::Closer
        | Action::Further => {
            return act(state, snap, action);
        }
        _ => {}
    }
    Effect::None
}

fn act(state: &mut ScreenState, snap: &Snapshot, action: Action) -> Effect {
    match action {
        Action::Quit => return Effect::Quit,
        Action::Interrupt => return Effect::Interrupt,
        Action::Redraw => return Effect::Redraw,
        Action::Suspend => return Effect::Suspend,
        Action::Reset => {
            state.notice = Some("counters begin again".to_owned());
            return Effect::ResetCounters;
        }
        Action::Probe => return probe(state, snap),
        Action::Copy => return copy(state, snap),
        Action::Report => return Effect::WriteReport,
        Action::Earlier => return Effect::Earlier,
        Action::Later => return Effect::Later,
        // What is nearest is left first; the past is left last.
        Action::Back if snap.past.cursor.is_some() && !has_layer(state) => return Effect::Present,
        Action::Redact => {
            state.redacted = !state.redacted;
            let said = if state.redacted { "addresses are hidden" } else { "addresses are shown" };
            state.notice = Some(said.to_owned());
        }
        Action::Palette => {
            state.palette = Palette::default();
            open(state, Popup::Palette);
        }
        Action::Help => open(state, Popup::Help),
        Action::Findings => open(state, Popup::Findings),
        Action::Details => details(state, snap),
        Action::NextPane => state.focus = state.focus.step(1),
        Action::PreviousPane => state.focus = state.focus.step(Pane::ALL.len() - 1),
        Action::Focus(pane) => state.focus = pane,
        Action::Back => back(state),
        Action::Filter => edit::start(state, snap),
        Action::Freeze => state.frozen = !state.frozen,
        Action::Zoom => state.zoomed = !state.zoomed,
        Action::Sort => next_sort(state),
        Action::Reverse => reverse(state),
        Action::Theme => {
            state.theme = state.theme.next();
            state.follows_background = false;
            state.notice = Some(format!("theme {}", state.theme.name));
        }
        // What moves about in other panes moves about in time here.
        Action::NextView if state.focus == Pane::Timeline => return Effect::Later,
        Action::PreviousView if state.focus == Pane::Timeline => return Effect::Earlier,
        Action::Top if state.focus == Pane::Timeline => return Effect::Oldest,
        Action::Bottom if state.focus == Pane::Timeline => return Effect::Present,
        Action::NextView => turn_view(state, true),
        Action::PreviousView => turn_view(state, false),
        Action::NextError | Action::PreviousError => return walk(state, snap, action == Action::NextError),
        Action::Closer => moments::zoom(state, true),
        Action::Further => moments::zoom(state, false),
        Action::NextMatch | Action::PreviousMatch => {
            state.notice = Some("over a page / searches, and n goes to the next place; in a pane / filters".to_owned());
        }
        Action::Down
        | Action::Up
        | Action::Top
        | Action::Bottom
        | Action::PageDown
        | Action::PageUp
        | Action::HalfDown
        | Action::HalfUp => {
            travel(state, snap, action);
        }
    }
    Effect::None
}

fn open(state: &mut ScreenState, popup: Popup) {
    state.popup = Some(popup);
    state.popup_scroll = 0;
    state.seek = None;
}

fn next_sort(state: &mut ScreenState) {
    let columns = view::sortable(state, state.focus);
    let pane = state.pane_mut(state.focus);
    let next = match pane.sort {
        None => columns.first(),
        Some(now) => columns.iter().find(|(i, _)| *i > now),
    };
    pane.sort = next.map(|(i, _)| *i);
    pane.reverse = false;
}

fn reverse(state: &mut ScreenState) {
    let pane = state.pane_mut(state.focus);
    pane.reverse = !pane.reverse;
    if pane.sort.is_none() {
        pane.reverse = false;
        state.notice = Some("these rows stand in their own order; s sorts them by a column".to_owned());
    }
}

/// One layer back: in the Errors pane the filter and the level; then the zoom, the groups and the filter.
fn back(state: &mut ScreenState) {
    if state.is_deep() {
        let pane = &mut state.panes[Pane::Errors.index()];
        if pane.filter.take().is_none() {
            state.drill.leave(pane);
        }
    } else if state.zoomed {
        state.zoomed = false;
    } else if state.is_grouped(state.focus) {
        state.group = None;
    } else {
        state.set_filter(state.focus, None);
    }
}

/// Whether there is something that [`back`] would leave.
fn has_layer(state: &ScreenState) -> bool {
    state.is_deep() || state.zoomed || state.is_grouped(state.focus) || state.filter(state.focus).is_some()
}

/// Round and round, either way: the tunnels, then groups of them by one thing after the other.
fn turn_groups(state: &mut ScreenState, forward: bool) {
    let at = state.group.and_then(|by| By::ALL.iter().position(|b| *b == by));
    let next = match (at, forward) {
        (None, true) => Some(0),
        (None, false) => Some(By::ALL.len() - 1),
        (Some(at), true) => at.checked_add(1),
        (Some(at), false) => at.checked_sub(1),
    };
    state.group = next.and_then(|n| By::ALL.get(n)).copied();
    state.grouped.selected = None;
}

/// The tunnels of one group: what they have in common becomes a filter.
fn open_group(state: &mut ScreenState, snap: &Snapshot, id: u64) {
    let Some(by) = state.group else { return };
    let tunnels = view::tunnels(snap, state);
    let Some(group) = tunnels.place(id).and_then(|place| tunnels.group(place)) else { return };
    let before = state.filter(Pane::Connections).map_or_else(String::new, |f| format!("{} ", f.text));
    let text = match &group.name {
        Some(name) => format!("{before}{}={}", by.word(), quoted(name)),
        None => format!("{before}{}=unknown", by.word()),
    };
    match filter::parse(Pane::Connections, &text) {
        Ok(filter) => {
            state.set_filter(Pane::Connections, filter);
            state.group = None;
        }
        Err(wrong) => state.notice = Some(wrong.to_string()),
    }
}

fn travel(state: &mut ScreenState, snap: &Snapshot, action: Action) {
    let ids = view::ids(snap, state, state.focus);
    let pane = state.pane_mut(state.focus);
    let Some(at) = pane.place(&ids) else { return };
    let rows = pane.page.max(1);
    let to = match action {
        Action::Down => at + 1,
        Action::Up => at.saturating_sub(1),
        Action::Top => 0,
        Action::Bottom => usize::MAX,
        Action::PageDown => at + rows,
        Action::HalfDown => at + rows.div_ceil(2),
        Action::HalfUp => at.saturating_sub(rows.div_ceil(2)),
        _ => at.saturating_sub(rows),
    };
    pane.select(&ids, to);
}

fn selected(state: &mut ScreenState, snap: &Snapshot) -> Option<u64> {
    let ids = view::ids(snap, state, state.focus);
    let at = state.pane_mut(state.focus).place(&ids)?;
    ids.get(at)
}

fn turn_view(state: &mut ScreenState, forward: bool) {
    match state.focus {
        Pane::Errors => state.drill.turn(forward, &mut state.panes[Pane::Errors.index()]),
        Pane::Connections => turn_groups(state, forward),
        _ => state.notice = Some("v groups the tunnels of 2 and tells the errors of 3 apart".to_owned()),
    }
}

/// Further into the errors: narrowed to the selected row, or the selected line itself.
fn go_in(state: &mut ScreenState, snap: &Snapshot) {
    let Some(id) = selected(state, snap) else { return };
    state.pane_mut(Pane::Errors).selected = Some(id);
    let at_top = matches!(state.drill.view, View::By(ErrorsBy::Category));
    if at_top && snap.errors.iter().any(|r| r.id == id && !r.backend_lines.is_empty()) {
        open(state, Popup::Backend(id));
        return;
    }
    let Some(condition) = narrow::condition(snap, state, id) else {
        state.drill.cursor = Some(id);
        open(state, Popup::Row(Pane::Errors, id));
        return;
    };
    state.drill.enter(condition, View::Lines, &mut state.panes[Pane::Errors.index()]);
    if state.drill.conditions.len() == 1 {
        // The first way of telling them apart that tells something.
        let views = state.drill.views();
        let telling = views.into_iter().find(|v| *v == View::Lines || narrow::variety(snap, state, *v).0 > 1);
        state.drill.view = telling.unwrap_or(View::Lines);
    }
}

/// To the next or the previous error: line by line in the depths of the Errors pane and over a raw line, else on the timeline.
fn walk(state: &mut ScreenState, snap: &Snapshot, forward: bool) -> Effect {
    if state.is_deep() || matches!(state.popup, Some(Popup::Row(Pane::Errors, _))) {
        walk_lines(state, snap, forward);
        return Effect::None;
    }
    moments::error(state, snap, forward)
}

/// To the error written after or before the one that is looked at, among those that the Errors pane is narrowed to.
fn walk_lines(state: &mut ScreenState, snap: &Snapshot, forward: bool) {
    let seqs: Vec<u64> = narrow::lines(snap, state).iter().map(|l| l.seq).collect();
    let in_list = state.popup.is_none() && state.focus == Pane::Errors && state.drill.view == View::Lines;
    let at = match state.popup {
        Some(Popup::Row(Pane::Errors, id)) => Some(id),
        _ if in_list => state.pane(Pane::Errors).selected,
        _ => state.drill.cursor,
    };
    let place = at.and_then(|id| seqs.iter().position(|s| *s == id));
    let next = match place {
        Some(at) if forward => at.checked_add(1),
        Some(at) => at.checked_sub(1),
        None => seqs.len().checked_sub(1),
    };
    let Some(seq) = next.and_then(|n| seqs.get(n)).copied() else {
        let end = if forward { "the newest error line" } else { "the oldest error line that is kept" };
        let said = if seqs.is_empty() { "no error line is kept".to_owned() } else { format!("this is {end}") };
        state.notice = Some(said);
        return;
    };
    state.drill.cursor = Some(seq);
    if in_list || state.drill.view == View::Lines {
        state.pane_mut(Pane::Errors).selected = Some(seq);
    }
    if !in_list {
        open(state, Popup::Row(Pane::Errors, seq));
    }
}

fn details(state: &mut ScreenState, snap: &Snapshot) {
    if state.focus == Pane::Errors {
        go_in(state, snap);
    } else if state.focus == Pane::Timeline {
        open(state, Popup::Row(Pane::Timeline, 0));
    } else if state.is_grouped(state.focus) {
        if let Some(id) = selected(state, snap) {
            open_group(state, snap, id);
        }
    } else if let Some(id) = selected(state, snap) {
        // From here on the selection follows this row.
        state.pane_mut(state.focus).selected = Some(id);
        open(state, Popup::Row(state.focus, id));
    }
}

fn probe(state: &mut ScreenState, snap: &Snapshot) -> Effect {
    if state.focus != Pane::Handshakes {
        state.notice = Some("p probes the endpoint selected in 1 Handshakes".to_owned());
        return Effect::None;
    }
    let row = selected(state, snap).and_then(|id| snap.endpoints.iter().find(|r| r.id == id));
    let Some(row) = row else { return Effect::None };
    if row.is_only_seen {
        state.notice =
            Some(format!("only clients know {}: give its URL on the command line to probe it", row.endpoint));
        return Effect::None;
    }
    let verb = if row.route.is_none() || row.word == "off" { "probing" } else { "probe off:" };
    state.notice = Some(format!("{verb} {}", row.endpoint));
    Effect::ToggleProbe(row.endpoint.clone())
}
