//! The table of keys: what the program answers to, what the help shows and what the key line hints at are one.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::pane::Pane;

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Show all keys.
    Help,
    /// End in good order.
    Quit,
    /// End as Ctrl-C does.
    Interrupt,
    /// Focus the next pane.
    NextPane,
    /// Focus the pane before.
    PreviousPane,
    /// Focus this pane.
    Focus(Pane),
    /// One row down.
    Down,
    /// One row up.
    Up,
    /// First row.
    Top,
    /// Last row.
    Bottom,
    /// One page down.
    PageDown,
    /// One page up.
    PageUp,
    /// Details of the selected row.
    Details,
    /// Back, one layer.
    Back,
    /// Type a filter.
    Filter,
    /// Hold the screen, or let it go on.
    Freeze,
    /// Counters begin again.
    Reset,
    /// The focused pane alone.
    Zoom,
    /// Sort by the next column.
    Sort,
    /// Sort the other way round.
    Reverse,
    /// All findings with evidence and fix.
    Findings,
    /// Probe the selected endpoint, or stop.
    Probe,
    /// Next theme.
    Theme,
    /// Tell the entries of the Errors pane apart by the next thing.
    NextView,
    /// And by the thing before.
    PreviousView,
    /// The error written after this one.
    NextError,
    /// The error written before this one.
    PreviousError,
}

/// One line of the table.
pub struct Binding {
    codes: &'static [KeyCode],
    control: bool,
    /// As people write the keys.
    pub shown: &'static str,
    /// What it does, for the help.
    pub does: &'static str,
    /// One word for the key line, and when it leaves as room shrinks.
    pub hint: Option<(&'static str, u8)>,
    /// What it asks for.
    pub action: Action,
}

const fn key(codes: &'static [KeyCode], shown: &'static str, does: &'static str, action: Action) -> Binding {
    Binding { codes, control: false, shown, does, hint: None, action }
}

impl Binding {
    const fn hint(mut self, word: &'static str, leave: u8) -> Self {
        self.hint = Some((word, leave));
        self
    }

    const fn control(mut self) -> Self {
        self.control = true;
        self
    }
}

use KeyCode::{BackTab, Char, Down, End, Enter, Esc, Home, Left, PageDown, PageUp, Right, Tab, Up};

/// All keys, in the order of the help and of the key line.
pub static KEYS: &[Binding] = &[
    key(&[Tab], "Tab", "focus the next pane", Action::NextPane).hint("pane", 3),
    key(&[BackTab], "Shift-Tab", "focus the pane before", Action::PreviousPane),
    key(&[Char('1')], "1", "focus Handshakes", Action::Focus(Pane::Handshakes)),
    key(&[Char('2')], "2", "focus Connections", Action::Focus(Pane::Connections)),
    key(&[Char('3')], "3", "focus Errors", Action::Focus(Pane::Errors)),
    key(&[Char('4')], "4", "focus Findings", Action::Focus(Pane::Findings)),
    key(&[Char('5')], "5", "focus Timeline", Action::Focus(Pane::Timeline)),
    key(&[Char('j'), Down], "j ↓", "down", Action::Down),
    key(&[Char('k'), Up], "k ↑", "up", Action::Up),
    key(&[Char('g'), Home], "g Home", "first row", Action::Top),
    key(&[Char('G'), End], "G End", "last row", Action::Bottom),
    key(&[PageDown], "PgDn", "one page down", Action::PageDown),
    key(&[PageUp], "PgUp", "one page up", Action::PageUp),
    key(&[Char('/')], "/", "filter (below)", Action::Filter).hint("filter", 5),
    key(&[Char('s')], "s", "sort by the next column", Action::Sort).hint("sort", 7),
    key(&[Char('S')], "S", "sort the other way round", Action::Reverse),
    key(&[Enter], "Enter", "details, further in", Action::Details).hint("details", 2),
    key(&[Esc], "Esc", "back, up; clears filter", Action::Back),
    key(&[Char('v'), Right], "v →", "next view: groups", Action::NextView),
    key(&[Char('V'), Left], "V ←", "the view before", Action::PreviousView),
    key(&[Char('e')], "e", "next error in time", Action::NextError),
    key(&[Char('E')], "E", "previous error in time", Action::PreviousError),
    key(&[Char('f')], "f", "freeze the screen, go on", Action::Freeze).hint("freeze", 6),
    key(&[Char('z')], "z", "the focused pane alone", Action::Zoom).hint("zoom", 9),
    key(&[Char('p')], "p", "probe endpoint on/off", Action::Probe).hint("probe", 8),
    key(&[Char('d')], "d", "findings, why and fix", Action::Findings).hint("findings", 4),
    key(&[Char('r')], "r", "reset the counters", Action::Reset),
    key(&[Char('t')], "t", "next theme", Action::Theme),
    key(&[Char('?')], "?", "this help", Action::Help).hint("help", 1),
    key(&[Char('q')], "q", "quit", Action::Quit).hint("quit", 0),
    key(&[Char('c')], "Ctrl-C", "quit, exit code 130", Action::Interrupt).control(),
];

/// What the key line hints at besides help and quit: the word for each key, and when it leaves.
pub type Hints = &'static [(Action, &'static str, u8)];

/// Hints where the Errors pane tells entries apart.
pub static AMONG_ERRORS: Hints = &[
    (Action::Back, "up", 1),
    (Action::Details, "further in", 2),
    (Action::NextView, "view", 3),
    (Action::Filter, "filter", 4),
    (Action::NextError, "next error", 7),
    (Action::PreviousError, "previous", 7),
    (Action::Sort, "sort", 6),
    (Action::Zoom, "zoom", 8),
];

/// Hints where the Errors pane shows lines.
pub static AMONG_LINES: Hints = &[
    (Action::Back, "up", 1),
    (Action::Details, "raw line", 2),
    (Action::NextView, "view", 4),
    (Action::Filter, "filter", 5),
    (Action::NextError, "next error", 3),
    (Action::PreviousError, "previous", 3),
    (Action::Sort, "sort", 7),
    (Action::Zoom, "zoom", 8),
];

/// Hints over a raw line.
pub static OVER_LINE: Hints = &[
    (Action::Back, "back", 1),
    (Action::NextError, "next error", 2),
    (Action::PreviousError, "previous", 2),
    (Action::Down, "scroll", 4),
];

/// Hints over any other layer.
pub static OVER_PANES: Hints = &[(Action::Back, "back", 1), (Action::Down, "scroll", 2)];

/// How the key for an action is written.
#[must_use]
pub fn shown(action: Action) -> &'static str {
    KEYS.iter().find(|b| b.action == action).map_or("", |b| b.shown)
}

/// What a key asks for; `None` for keys without a meaning.
#[must_use]
pub fn action_for(event: KeyEvent) -> Option<Action> {
    let control = event.modifiers.contains(KeyModifiers::CONTROL);
    let held = event.modifiers.intersects(KeyModifiers::ALT | KeyModifiers::SUPER);
    // A terminal may say Shift-Tab as Tab with Shift.
    let back = event.code == Tab && event.modifiers.contains(KeyModifiers::SHIFT);
    let code = if back { BackTab } else { event.code };
    let found = KEYS.iter().find(|b| b.control == control && !held && b.codes.contains(&code));
    found.map(|b| b.action)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(code: KeyCode, modifiers: KeyModifiers) -> Option<Action> {
        action_for(KeyEvent::new(code, modifiers))
    }

    #[test]
    fn every_key_has_one_meaning_and_a_line_in_the_help() {
        let mut seen = Vec::new();
        for b in KEYS {
            assert!(!b.shown.is_empty() && !b.does.is_empty());
            for code in b.codes {
                assert!(!seen.contains(&(b.control, *code)), "{} is there twice", b.shown);
                seen.push((b.control, *code));
            }
        }
    }

    #[test]
    fn control_and_shift_are_told_apart() {
        assert_eq!(press(Char('c'), KeyModifiers::CONTROL), Some(Action::Interrupt));
        assert_eq!(press(Char('c'), KeyModifiers::NONE), None);
        assert_eq!(press(Char('d'), KeyModifiers::CONTROL), None);
        assert_eq!(press(Char('S'), KeyModifiers::SHIFT), Some(Action::Reverse));
        assert_eq!(press(Tab, KeyModifiers::SHIFT), Some(Action::PreviousPane));
        assert_eq!(press(BackTab, KeyModifiers::SHIFT), Some(Action::PreviousPane));
        assert_eq!(press(Char('3'), KeyModifiers::NONE), Some(Action::Focus(Pane::Errors)));
    }
}
