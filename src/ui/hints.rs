//! What the key line hints at: the keys that help where one is, as they are now.

use super::drill::View;
use super::keys::Action;
use super::pane::Pane;
use super::snapshot::Snapshot;
use super::state::{Popup, ScreenState};

/// The word for each key, and when it leaves as room shrinks.
pub type Hints = &'static [(Action, &'static str, u8)];

/// At the right end, whatever is done.
pub static ALWAYS: Hints = &[(Action::Help, "help", 1), (Action::Quit, "quit", 0)];

static OVER_HANDSHAKES: Hints = &[
    (Action::NextPane, "pane", 3),
    (Action::Details, "details", 2),
    (Action::Probe, "probe", 5),
    (Action::Filter, "filter", 6),
    (Action::Sort, "sort", 8),
    (Action::Findings, "findings", 4),
    (Action::Freeze, "freeze", 7),
    (Action::Zoom, "zoom", 9),
    (Action::Report, "report", 10),
];

static OVER_CONNECTIONS: Hints = &[
    (Action::NextPane, "pane", 3),
    (Action::Details, "details", 2),
    (Action::Filter, "filter", 5),
    (Action::Sort, "sort", 6),
    (Action::NextView, "group", 7),
    (Action::Findings, "findings", 4),
    (Action::Freeze, "freeze", 8),
    (Action::Zoom, "zoom", 9),
    (Action::Report, "report", 10),
];

static OVER_GROUPS: Hints = &[
    (Action::Back, "tunnels", 1),
    (Action::Details, "its tunnels", 2),
    (Action::NextView, "group by next", 3),
    (Action::Filter, "filter", 4),
    (Action::Sort, "sort", 5),
    (Action::Reverse, "turn round", 6),
];

static OVER_ERRORS: Hints = &[
    (Action::NextPane, "pane", 3),
    (Action::Details, "go in", 2),
    (Action::PreviousError, "newest", 6),
    (Action::Filter, "filter", 5),
    (Action::NextView, "view", 7),
    (Action::Findings, "findings", 4),
    (Action::Sort, "sort", 8),
    (Action::Freeze, "freeze", 9),
    (Action::Zoom, "zoom", 10),
];

static OVER_FINDINGS: Hints = &[
    (Action::NextPane, "pane", 3),
    (Action::Details, "why and fix", 2),
    (Action::Copy, "copy fix", 5),
    (Action::Findings, "all", 4),
    (Action::Filter, "filter", 6),
    (Action::Report, "report", 7),
    (Action::Freeze, "freeze", 8),
    (Action::Zoom, "zoom", 9),
];

static ON_TIMELINE: Hints = &[
    (Action::Closer, "closer", 3),
    (Action::Further, "further", 3),
    (Action::Earlier, "back", 2),
    (Action::Later, "forth", 2),
    (Action::PreviousError, "error before", 4),
    (Action::NextError, "after", 4),
    (Action::Details, "what happened", 5),
    (Action::Freeze, "freeze", 6),
    (Action::Zoom, "zoom", 7),
];

/// On the timeline while it shows another moment than the present.
static ON_TIMELINE_PAST: Hints = &[
    (Action::Back, "to now", 1),
    (Action::Earlier, "back", 2),
    (Action::Later, "forth", 2),
    (Action::PreviousError, "error before", 4),
    (Action::NextError, "after", 4),
    (Action::Details, "what happened", 3),
    (Action::Closer, "closer", 5),
    (Action::Further, "further", 5),
];

/// While a moment of the past is shown.
static IN_THE_PAST: Hints = &[
    (Action::Earlier, "earlier", 1),
    (Action::Later, "later", 1),
    (Action::Back, "to now", 2),
    (Action::NextPane, "pane", 4),
    (Action::Details, "details", 3),
    (Action::Filter, "filter", 5),
    (Action::Findings, "findings", 6),
];

/// While the screen is held.
static FROZEN: Hints = &[
    (Action::Freeze, "go on", 1),
    (Action::NextPane, "pane", 3),
    (Action::Details, "details", 2),
    (Action::Filter, "filter", 5),
    (Action::Copy, "copy", 6),
    (Action::Findings, "findings", 4),
    (Action::Report, "report", 7),
];

/// Where the Errors pane tells entries apart.
static AMONG_ERRORS: Hints = &[
    (Action::Back, "up", 1),
    (Action::Details, "further in", 2),
    (Action::NextView, "view", 3),
    (Action::Filter, "filter", 4),
    (Action::NextError, "next error", 7),
    (Action::PreviousError, "previous", 7),
    (Action::Sort, "sort", 6),
    (Action::Zoom, "zoom", 8),
];

/// Where the Errors pane shows lines.
static AMONG_LINES: Hints = &[
    (Action::Back, "up", 1),
    (Action::Details, "raw line", 2),
    (Action::NextView, "view", 4),
    (Action::Filter, "filter", 5),
    (Action::NextError, "next error", 3),
    (Action::PreviousError, "previous", 3),
    (Action::Sort, "sort", 7),
    (Action::Zoom, "zoom", 8),
];

static OVER_LINE: Hints = &[
    (Action::Back, "back", 1),
    (Action::NextError, "next error", 2),
    (Action::PreviousError, "previous", 2),
    (Action::Down, "scroll", 4),
    (Action::Copy, "copy", 5),
];

static OVER_ENDPOINT: Hints = &[
    (Action::Back, "back", 1),
    (Action::Down, "scroll", 2),
    (Action::Probe, "probe on/off", 3),
    (Action::Copy, "copy URL", 4),
];

static OVER_TUNNEL: Hints =
    &[(Action::Back, "back", 1), (Action::Down, "scroll", 2), (Action::Copy, "copy address", 3)];

static OVER_FINDING: Hints = &[
    (Action::Back, "back", 1),
    (Action::Down, "scroll", 2),
    (Action::Copy, "copy fix", 3),
    (Action::Filter, "search", 5),
    (Action::Report, "report", 4),
];

/// Over any other page.
static OVER_PAGE: Hints = &[(Action::Back, "back", 1), (Action::Down, "scroll", 2), (Action::Filter, "search", 3)];

/// While a page is searched.
static SOUGHT: Hints = &[
    (Action::NextMatch, "next", 1),
    (Action::PreviousMatch, "previous", 1),
    (Action::Filter, "search", 2),
    (Action::Back, "back", 1),
];

/// What helps now, besides [`ALWAYS`].
#[must_use]
pub fn hints(snap: &Snapshot, state: &ScreenState) -> Hints {
    match state.popup {
        Some(_) if state.seek.is_some() => SOUGHT,
        Some(Popup::Row(Pane::Errors, _)) => OVER_LINE,
        Some(Popup::Row(Pane::Handshakes, _)) => OVER_ENDPOINT,
        Some(Popup::Row(Pane::Connections, _)) => OVER_TUNNEL,
        Some(Popup::Row(Pane::Findings, _) | Popup::Findings) => OVER_FINDING,
        Some(_) => OVER_PAGE,
        None if state.is_deep() && state.drill.view == View::Lines => AMONG_LINES,
        None if state.is_deep() => AMONG_ERRORS,
        None if state.focus == Pane::Timeline && snap.past.cursor.is_some() => ON_TIMELINE_PAST,
        None if snap.past.cursor.is_some() => IN_THE_PAST,
        None if state.frozen => FROZEN,
        None if state.is_grouped(state.focus) => OVER_GROUPS,
        None => match state.focus {
            Pane::Handshakes => OVER_HANDSHAKES,
            Pane::Connections => OVER_CONNECTIONS,
            Pane::Errors => OVER_ERRORS,
            Pane::Findings => OVER_FINDINGS,
            Pane::Timeline => ON_TIMELINE,
        },
    }
}
