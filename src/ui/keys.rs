//! The table of keys: what the program answers to, what the help shows and what the key line hints at are one.

use std::borrow::Cow;

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
    /// Half a page down.
    HalfDown,
    /// Half a page up.
    HalfUp,
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
    /// To the next place of what is searched for on a page.
    NextMatch,
    /// And to the place before.
    PreviousMatch,
    /// To the moment before the one that is shown.
    Earlier,
    /// To the moment after it, and at last to the present.
    Later,
    /// A shorter span of the timeline.
    Closer,
    /// A longer span of the timeline.
    Further,
    /// Copy what is looked at.
    Copy,
    /// Write an incident report.
    Report,
    /// Hide addresses, or show them again.
    Redact,
    /// Find an action by its name.
    Palette,
    /// Write every cell of the screen anew.
    Redraw,
    /// Stop, as a shell's job does.
    Suspend,
}

/// One line of the table.
#[derive(Debug)]
pub struct Binding {
    /// What `[keys]` of the settings file and the palette call it.
    pub name: &'static str,
    codes: &'static [KeyCode],
    control: bool,
    /// As people write the keys that it has unless the settings file gives it others.
    pub shown: &'static str,
    /// What it does, for the help.
    pub does: &'static str,
    /// What it asks for.
    pub action: Action,
}

const fn key(
    name: &'static str,
    codes: &'static [KeyCode],
    shown: &'static str,
    does: &'static str,
    action: Action,
) -> Binding {
    Binding { name, codes, control: false, shown, does, action }
}

impl Binding {
    const fn control(mut self) -> Self {
        self.control = true;
        self
    }
}

use KeyCode::{BackTab, Char, Down, End, Enter, Esc, Home, Left, PageDown, PageUp, Right, Tab, Up};

/// All keys, in the order of the help and of the key line.
pub static KEYS: &[Binding] = &[
    key("next-pane", &[Tab], "Tab", "focus the next pane", Action::NextPane),
    key("previous-pane", &[BackTab], "Shift-Tab", "focus the pane before", Action::PreviousPane),
    key("focus-handshakes", &[Char('1')], "1", "focus Handshakes", Action::Focus(Pane::Handshakes)),
    key("focus-connections", &[Char('2')], "2", "focus Connections", Action::Focus(Pane::Connections)),
    key("focus-errors", &[Char('3')], "3", "focus Errors", Action::Focus(Pane::Errors)),
    key("focus-findings", &[Char('4')], "4", "focus Findings", Action::Focus(Pane::Findings)),
    key("focus-timeline", &[Char('5')], "5", "focus Timeline", Action::Focus(Pane::Timeline)),
    key("down", &[Char('j'), Down], "j ↓", "down", Action::Down),
    key("up", &[Char('k'), Up], "k ↑", "up", Action::Up),
    key("top", &[Char('g'), Home], "g Home", "first row", Action::Top),
    key("bottom", &[Char('G'), End], "G End", "last row", Action::Bottom),
    key("page-down", &[PageDown, Char(' ')], "PgDn Space", "one page down", Action::PageDown),
    key("page-up", &[PageUp, Char('b')], "PgUp b", "one page up", Action::PageUp),
    key("half-page-down", &[Char('d')], "Ctrl-D", "half a page down", Action::HalfDown).control(),
    key("half-page-up", &[Char('u')], "Ctrl-U", "half a page up", Action::HalfUp).control(),
    key("filter", &[Char('/')], "/", "filter; search a page", Action::Filter),
    key("sort", &[Char('s')], "s", "sort by the next column", Action::Sort),
    key("reverse", &[Char('S')], "S", "sort the other way round", Action::Reverse),
    key("details", &[Enter], "Enter", "details, further in", Action::Details),
    key("back", &[Esc], "Esc", "back, up; clears filter", Action::Back),
    key("next-view", &[Char('v'), Char('l'), Right], "v l →", "next view: groups", Action::NextView),
    key("previous-view", &[Char('V'), Char('h'), Left], "V h ←", "the view before", Action::PreviousView),
    key("next-error", &[Char('e')], "e", "next error in time", Action::NextError),
    key("previous-error", &[Char('E')], "E", "error before in time", Action::PreviousError),
    key("next-match", &[Char('n')], "n", "page: next place of /", Action::NextMatch),
    key("previous-match", &[Char('N')], "N", "page: the place before", Action::PreviousMatch),
    key("earlier", &[Char('[')], "[", "back in time", Action::Earlier),
    key("later", &[Char(']')], "]", "forth in time, to LIVE", Action::Later),
    key("shorter-span", &[Char('+'), Char('=')], "+ =", "timeline: a shorter span", Action::Closer),
    key("longer-span", &[Char('-')], "-", "timeline: a longer span", Action::Further),
    key("freeze", &[Char('f')], "f", "freeze the screen, go on", Action::Freeze),
    key("zoom", &[Char('z')], "z", "the focused pane alone", Action::Zoom),
    key("probe", &[Char('p')], "p", "probe endpoint on/off", Action::Probe),
    key("findings", &[Char('d')], "d", "findings, why and fix", Action::Findings),
    key("copy", &[Char('y')], "y", "copy what is selected", Action::Copy),
    key("write-report", &[Char('w')], "w", "write a report", Action::Report),
    key("redact", &[Char('x')], "x", "hide addresses on/off", Action::Redact),
    key("palette", &[Char(':')], ":", "find an action by name", Action::Palette),
    key("reset", &[Char('r')], "r", "reset the counters", Action::Reset),
    key("theme", &[Char('t')], "t", "next theme", Action::Theme),
    key("help", &[Char('?')], "?", "help: all keys", Action::Help),
    key("quit", &[Char('q')], "q", "quit", Action::Quit),
    key("interrupt", &[Char('c')], "Ctrl-C", "quit, exit code 130", Action::Interrupt).control(),
    key("redraw", &[Char('l')], "Ctrl-L", "draw all anew", Action::Redraw).control(),
    key("suspend", &[Char('z')], "Ctrl-Z", "to the shell; fg resumes", Action::Suspend).control(),
];

/// What the mouse does.
pub static MOUSE: &[(&str, &str)] = &[
    ("wheel", "scroll what lies under it"),
    ("click", "focus a pane, select a row"),
    ("double-click", "details, further in"),
    ("click a head", "sort by it; again: other way"),
    ("click a tab", "go there; views of Errors too"),
    ("click a hint", "do what the key line says"),
    ("right click", "back; so is a click beside a page"),
];

/// Hints over the palette, whose keys are its own: letters are typed there.
pub static IN_PALETTE: [(&str, KeyCode, &str); 3] =
    [("Enter", Enter, "do it"), ("↓ ↑", Down, "choose"), ("Esc", Esc, "back")];

/// One key, with Ctrl or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stroke {
    code: KeyCode,
    control: bool,
}

/// Keys that have a name, as the settings file writes them.
const NAMED: [(&str, KeyCode); 13] = [
    ("BackTab", BackTab),
    ("Down", Down),
    ("End", End),
    ("Enter", Enter),
    ("Esc", Esc),
    ("Home", Home),
    ("Left", Left),
    ("PgDn", PageDown),
    ("PgUp", PageUp),
    ("Right", Right),
    ("Space", Char(' ')),
    ("Tab", Tab),
    ("Up", Up),
];

impl Stroke {
    /// `x`, `Ctrl-X`, `F5`, `PgDn`.
    fn parse(text: &str) -> Option<Self> {
        let (control, rest) = match text.split_at_checked(5) {
            Some((ctrl, rest)) if ctrl.eq_ignore_ascii_case("ctrl-") => (true, rest),
            _ => (false, text),
        };
        let mut letters = rest.chars();
        let code = match (letters.next(), letters.next()) {
            (Some(c), None) if !c.is_control() => Char(if control { c.to_ascii_lowercase() } else { c }),
            _ => {
                NAMED.iter().find(|(name, _)| name.eq_ignore_ascii_case(rest)).map(|(_, code)| *code).or_else(|| {
                    let n = rest.strip_prefix(['F', 'f'])?.parse().ok()?;
                    (1..=12).contains(&n).then_some(KeyCode::F(n))
                })?
            }
        };
        Some(Self { code, control })
    }

    fn written(self) -> Cow<'static, str> {
        let name: Cow<'static, str> = match self.code {
            Char(' ') => "Space".into(),
            Char(c) if self.control => c.to_ascii_uppercase().to_string().into(),
            Char(c) => c.to_string().into(),
            KeyCode::F(n) => format!("F{n}").into(),
            code => NAMED.iter().find(|(_, c)| *c == code).map_or("?", |(name, _)| name).into(),
        };
        if self.control { format!("Ctrl-{name}").into() } else { name }
    }
}

impl Binding {
    fn strokes(&self) -> impl Iterator<Item = Stroke> {
        self.codes.iter().map(|code| Stroke { code: *code, control: self.control })
    }

    /// The keys that it has unless the settings file gives it others, as that file writes them.
    #[must_use]
    pub fn written(&self) -> Vec<String> {
        self.strokes().map(|s| s.written().into_owned()).collect()
    }
}

/// A key that an action lost to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The key, as written.
    pub key: String,
    /// The action that had it.
    pub from: &'static str,
}

/// Which key does what on this screen: the table, with the settings file's own keys laid over it.
#[derive(Clone, Debug)]
pub struct Keymap {
    bound: Vec<Bound>,
}

#[derive(Clone, Debug)]
struct Bound {
    binding: &'static Binding,
    strokes: Vec<Stroke>,
    shown: Cow<'static, str>,
}

impl Default for Keymap {
    fn default() -> Self {
        let bound = |b: &'static Binding| Bound { binding: b, strokes: b.strokes().collect(), shown: b.shown.into() };
        Self { bound: KEYS.iter().map(bound).collect() }
    }
}

impl Keymap {
    /// Gives the action called `name` these keys and takes them from whoever had them. Ctrl-C stays what it is, so that
    /// there is always a way out.
    ///
    /// # Errors
    /// One sentence about a name or a key that there is not; nothing is changed then.
    pub fn give(&mut self, name: &str, keys: &[String]) -> Result<Vec<Taken>, String> {
        let Some(at) = self.bound.iter().position(|b| b.binding.name == name) else {
            let name = name.escape_default();
            return Err(format!("there is no action '{name}'; 'wspulse --print-config-template' lists them"));
        };
        if self.bound[at].binding.action == Action::Interrupt {
            return Err("Ctrl-C always quits and cannot be given another key".to_owned());
        }
        let mut strokes = Vec::new();
        for key in keys {
            let stroke = Stroke::parse(key).ok_or_else(|| {
                format!("there is no key '{}'; keys are x, Ctrl-X, F5, Space, PgDn, Enter ...", key.escape_default())
            })?;
            if stroke == (Stroke { code: Char('c'), control: true }) {
                return Err("Ctrl-C always quits and cannot do anything else".to_owned());
            }
            strokes.push(stroke);
        }
        let mut taken = Vec::new();
        for other in self.bound.iter_mut().filter(|b| b.binding.name != name) {
            let before = taken.len();
            let lost = other.strokes.iter().filter(|s| strokes.contains(s)).map(|s| s.written().into_owned());
            taken.extend(lost.map(|key| Taken { key, from: other.binding.name }));
            other.strokes.retain(|s| !strokes.contains(s));
            if taken.len() != before {
                other.shown = written(&other.strokes);
            }
        }
        self.bound[at].shown = written(&strokes);
        self.bound[at].strokes = strokes;
        Ok(taken)
    }

    /// Every action with its keys as the settings file writes them.
    pub fn written(&self) -> impl Iterator<Item = (&'static Binding, Vec<String>)> {
        self.bound.iter().map(|b| (b.binding, b.strokes.iter().map(|s| s.written().into_owned()).collect()))
    }

    /// Every line of the table with how its keys are written now; nothing where it has none.
    pub fn lines(&self) -> impl Iterator<Item = (&'static Binding, &str)> {
        self.bound.iter().map(|b| (b.binding, b.shown.as_ref()))
    }

    /// How the key for an action is written.
    #[must_use]
    pub fn shown(&self, action: Action) -> &str {
        self.bound.iter().find(|b| b.binding.action == action).map_or("", |b| &b.shown)
    }

    /// What a key asks for; `None` for keys without a meaning.
    #[must_use]
    pub fn action_for(&self, event: KeyEvent) -> Option<Action> {
        let control = event.modifiers.contains(KeyModifiers::CONTROL);
        if event.modifiers.intersects(KeyModifiers::ALT | KeyModifiers::SUPER) {
            return None;
        }
        // A terminal may say Shift-Tab as Tab with Shift.
        let back = event.code == Tab && event.modifiers.contains(KeyModifiers::SHIFT);
        let code = if back { BackTab } else { event.code };
        let stroke = Stroke { code, control };
        self.bound.iter().find(|b| b.strokes.contains(&stroke)).map(|b| b.binding.action)
    }
}

fn written(strokes: &[Stroke]) -> Cow<'static, str> {
    let all: Vec<Cow<'static, str>> = strokes.iter().map(|s| s.written()).collect();
    all.join(" ").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(code: KeyCode, modifiers: KeyModifiers) -> Option<Action> {
        Keymap::default().action_for(KeyEvent::new(code, modifiers))
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
        assert_eq!(press(Char('d'), KeyModifiers::CONTROL), Some(Action::HalfDown));
        assert_eq!(press(Char('x'), KeyModifiers::CONTROL), None);
        assert_eq!(press(Char('S'), KeyModifiers::SHIFT), Some(Action::Reverse));
        assert_eq!(press(Tab, KeyModifiers::SHIFT), Some(Action::PreviousPane));
        assert_eq!(press(BackTab, KeyModifiers::SHIFT), Some(Action::PreviousPane));
        assert_eq!(press(Char('3'), KeyModifiers::NONE), Some(Action::Focus(Pane::Errors)));
    }

    #[test]
    fn every_action_has_a_name_of_its_own_and_every_key_can_be_written_and_read() {
        let mut names: Vec<&str> = KEYS.iter().map(|b| b.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), KEYS.len());
        for b in KEYS {
            for stroke in b.strokes() {
                assert_eq!(Stroke::parse(&stroke.written()), Some(stroke), "{}", b.name);
            }
        }
    }

    #[test]
    fn an_action_takes_its_new_key_from_whoever_had_it() {
        let mut map = Keymap::default();
        map.give("quit", &["x".into(), "F10".into(), "ctrl-q".into()]).expect("keys");
        map.give("freeze", &["Space".into()]).expect("a key");
        map.give("zoom", &["f".into()]).expect("a key");
        let of = |code, modifiers| map.action_for(KeyEvent::new(code, modifiers));
        assert_eq!(of(Char('x'), KeyModifiers::NONE), Some(Action::Quit));
        assert_eq!(of(Char('q'), KeyModifiers::CONTROL), Some(Action::Quit));
        assert_eq!(of(KeyCode::F(10), KeyModifiers::NONE), Some(Action::Quit));
        assert_eq!(of(Char('q'), KeyModifiers::NONE), None);
        assert_eq!(of(Char(' '), KeyModifiers::NONE), Some(Action::Freeze));
        assert_eq!(of(Char('f'), KeyModifiers::NONE), Some(Action::Zoom));
        assert_eq!(of(Char('z'), KeyModifiers::NONE), None);
        assert_eq!(map.shown(Action::Quit), "x F10 Ctrl-Q");
    }

    #[test]
    fn what_cannot_be_given_changes_nothing() {
        let mut map = Keymap::default();
        assert!(map.give("quitt", &["x".into()]).is_err_and(|e| e.contains("no action 'quitt'")));
        assert!(map.give("quit", &["xx".into()]).is_err_and(|e| e.contains("no key 'xx'")));
        assert!(map.give("quit", &["Ctrl-C".into()]).is_err());
        assert!(map.give("interrupt", &["x".into()]).is_err());
        assert_eq!(map.shown(Action::Quit), "q");
        assert_eq!(map.action_for(KeyEvent::new(Char('c'), KeyModifiers::CONTROL)), Some(Action::Interrupt));
    }
}
