//! Moving about in time: to the next and the previous error, to a clicked moment, to a shorter and a longer span.

use std::sync::Arc;

use ratatui::layout::Position;

use crate::event::log::Category;
use crate::model::errors::kept::Kept;
use crate::time::Timestamp;

use super::drill::View;
use super::pane::Pane;
use super::scale::Scale;
use super::snapshot::Snapshot;
use super::snapshot::past::What;
use super::state::{Effect, ScreenState};

/// Cells of the timeline before it was drawn.
const ROOM: usize = 121;

/// The columns of the timeline as they were drawn last.
#[must_use]
pub fn scale(snap: &Snapshot, state: &ScreenState) -> Scale {
    Scale::new(state.span, snap.past.edge(state.span), state.strip.map_or(ROOM, |s| s.room))
}

/// To the column with an error after or before the moment that is shown. The Errors pane selects the newest error in it.
pub fn error(state: &mut ScreenState, snap: &Snapshot, forward: bool) -> Effect {
    let scale = scale(snap, state);
    let counts = snap.past.counts(What::Errors, &scale);
    let some = |column: &usize| counts.get(*column).is_some_and(|n| *n > 0);
    let all = 0..scale.columns();
    let here = snap.past.cursor.map(|at| scale.column(at));
    let found = match (here, forward) {
        // From the present the newest, whichever key.
        (None, _) => all.rev().find(some),
        (Some(Some(here)), true) => all.skip(here + 1).find(some),
        (Some(Some(here)), false) => all.take(here).rev().find(some),
        // Before all columns.
        (Some(None), true) => all.into_iter().find(some),
        (Some(None), false) => None,
    };
    let Some(column) = found else {
        state.say(nothing(state, here.is_some(), forward));
        return Effect::None;
    };
    let line = newest_line(snap, &scale, column);
    select(state, snap, line, loudest(snap, &scale, column));
    let at = line.map_or_else(|| scale.end(column), |l| l.entry.at);
    Effect::After(at.min(snap.past.now))
}

fn nothing(state: &ScreenState, away: bool, forward: bool) -> String {
    let span = state.span.word();
    if forward && away {
        let later = state.keys.shown(super::keys::Action::Later);
        format!("no later error; {later} goes on to LIVE")
    } else if state.span.longer().is_some() {
        let further = state.keys.shown(super::keys::Action::Further);
        format!("no earlier error within {span}; {further} looks further back")
    } else {
        format!("no earlier error within {span}")
    }
}

/// The newest error-log line in a column that is still kept.
#[must_use]
pub fn newest_line<'a>(snap: &'a Snapshot, scale: &Scale, column: usize) -> Option<&'a Arc<Kept>> {
    let lines = &snap.past.lines;
    let after = lines.partition_point(|l| scale.start(column + 1) > l.entry.at);
    let newest = lines.get(after.checked_sub(1)?)?;
    (newest.entry.at >= scale.start(column)).then_some(newest)
}

fn loudest(snap: &Snapshot, scale: &Scale, column: usize) -> Option<Category> {
    let in_column = |e: &super::snapshot::past::ErrorTrack| e.counts(scale).get(column).copied().unwrap_or(0);
    snap.past.errors.iter().max_by_key(|e| in_column(e)).map(|e| e.category)
}

/// The Errors pane goes along: to the line where it lists lines, to its category at the top.
fn select(state: &mut ScreenState, snap: &Snapshot, line: Option<&Arc<Kept>>, category: Option<Category>) {
    state.drill.cursor = line.map(|l| l.seq);
    let deep = state.drill.is_deep();
    let seq = line.filter(|l| state.drill.view == View::Lines && state.drill.holds(l)).map(|l| l.seq);
    let id = line.map(|l| l.category()).or(category).map(|c| c as u64).filter(|_| !deep);
    if let Some(id) = seq.or(id) {
        let pane = state.pane_mut(Pane::Errors);
        pane.selected = Some(id);
        if let Some(at) = snap.errors.iter().position(|r| r.id == id) {
            pane.at = at;
        }
    }
}

/// The moment under the mouse; `None` when the timeline is not there.
#[must_use]
pub fn clicked(state: &ScreenState, snap: &Snapshot, at: Position) -> Option<Effect> {
    let strip = state.strip.filter(|s| s.area.contains(at))?;
    let scale = scale(snap, state);
    let column = usize::from(at.x.saturating_sub(strip.area.x)).checked_div(scale.wide())?;
    let end = scale.end(column);
    Some(if end >= snap.past.now { Effect::Present } else { Effect::At(end) })
}

/// Another span; the title and the columns say which.
pub fn zoom(state: &mut ScreenState, closer: bool) {
    let next = if closer { state.span.shorter() } else { state.span.longer() };
    match next {
        Some(span) => state.span = span,
        None => state.say(format!("{} is the {} span", state.span.word(), if closer { "shortest" } else { "longest" })),
    }
}

/// From when to when the details of a moment reach: its column and the two beside it; without one all columns.
#[must_use]
pub fn around(snap: &Snapshot, scale: &Scale) -> (usize, usize) {
    let last = scale.columns().saturating_sub(1);
    match snap.past.cursor {
        None => (0, last),
        Some(at) => {
            let here = scale.column(at).unwrap_or(0);
            (here.saturating_sub(1), (here + 1).min(last))
        }
    }
}

/// Whether a moment lies in these columns.
#[must_use]
pub fn is_within(scale: &Scale, (first, last): (usize, usize), at: Timestamp) -> bool {
    scale.column(at).is_some_and(|c| (first..=last).contains(&c))
}
