//! The command palette: every action by its name, found by a few of its letters.

use ratatui::text::{Line, Span};

use crate::report::sockets::By;

use super::keys::{Action, Keymap};
use super::state::ScreenState;
use super::text::Look;
use super::theme::{self, THEMES, Tone};
use super::view;

/// The longest text that can be typed.
const LONGEST: usize = 80;
/// Lines above the first entry.
pub(super) const HEAD: usize = 2;
/// Columns of the names.
const NAME: usize = 34;

/// What is typed, and which of the matches is chosen.
#[derive(Clone, Debug, Default)]
pub struct Palette {
    pub(super) text: String,
    pub(super) at: usize,
}

impl Palette {
    pub(super) fn push(&mut self, c: char) {
        if self.text.len() < LONGEST {
            self.text.push(c);
            self.at = 0;
        }
    }

    pub(super) fn pop(&mut self) {
        self.text.pop();
        self.at = 0;
    }
}

/// What an entry of the palette does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// What a key does.
    Act(Action),
    /// This theme.
    Theme(&'static str),
    /// Sorts the focused pane by this column.
    Sort(usize),
    /// Groups the tunnels by this; `None`: one by one.
    Group(Option<By>),
}

/// One entry.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// What it does, or which key does the same.
    pub does: String,
    /// What it does.
    pub choice: Choice,
}

/// Every entry that `text` fits, the best first.
#[must_use]
pub fn matches(state: &ScreenState, text: &str) -> Vec<Entry> {
    let mut scored: Vec<(u32, Entry)> =
        entries(state).into_iter().filter_map(|e| Some((score(text, &e.name)?, e))).collect();
    // Stable: entries that fit alike stay in the order of the help.
    scored.sort_by_key(|(score, _)| *score);
    scored.into_iter().map(|(_, e)| e).collect()
}

fn entries(state: &ScreenState) -> Vec<Entry> {
    let keys: &Keymap = &state.keys;
    let acts = keys.lines().filter(|(b, _)| b.action != Action::Palette).map(|(b, shown)| Entry {
        name: b.name.replace('-', " "),
        does: if shown.is_empty() { b.does.to_owned() } else { format!("{shown:<10} {}", b.does) },
        choice: Choice::Act(b.action),
    });
    let themes = THEMES.iter().map(|t| Entry {
        name: format!("theme {}", t.name),
        does: t.said.to_owned(),
        choice: Choice::Theme(t.name),
    });
    let pane = state.focus;
    let sorts = view::sortable(state, pane).into_iter().map(move |(at, column)| Entry {
        name: format!("sort by {column}"),
        does: format!("the rows of {}", pane.title()),
        choice: Choice::Sort(at),
    });
    let groups = By::ALL.iter().map(|by| Entry {
        name: format!("group by {}", by.word()),
        does: "the tunnels of Connections".to_owned(),
        choice: Choice::Group(Some(*by)),
    });
    let ungroup =
        Entry { name: "group by nothing".into(), does: "tunnels one by one".into(), choice: Choice::Group(None) };
    acts.chain(themes).chain(sorts).chain(groups).chain([ungroup]).collect()
}

/// How far the letters of `wanted` lie apart in `name`, in order and without regard to case; letters that begin a word
/// count as near. `None` when one is missing.
fn score(wanted: &str, name: &str) -> Option<u32> {
    let name: Vec<char> = name.to_lowercase().chars().collect();
    let (mut at, mut total) = (0, 0);
    for c in wanted.to_lowercase().chars().filter(|c| !c.is_whitespace()) {
        let places = (at..name.len()).filter(|i| name.get(*i) == Some(&c));
        let cost = |i: usize| if i == 0 || name.get(i - 1) == Some(&' ') { 0 } else { i - at };
        let best = places.min_by_key(|i| (cost(*i), *i))?;
        total += u32::try_from(cost(best)).unwrap_or(u32::MAX / 1_000) + u32::from(best != at);
        at = best + 1;
    }
    Some(total)
}

/// The lines of the layer: what is typed, then the matches.
pub(super) fn lines(state: &ScreenState, look: &Look, width: usize) -> Vec<Line<'static>> {
    let palette = &state.palette;
    let typed =
        vec![look.span(Tone::Accent, ":"), look.span(Tone::Plain, palette.text.clone()), look.span(Tone::Accent, "▏")];
    let all = matches(state, &palette.text);
    let mut out = vec![Line::from(typed), Line::default()];
    if all.is_empty() {
        out.push(Line::from(look.span(Tone::Muted, "nothing is called so; Backspace takes a letter away")));
    }
    for (i, entry) in all.iter().enumerate() {
        let chosen = i == palette.at.min(all.len().saturating_sub(1));
        let sign = if chosen { theme::SELECTED } else { " " };
        let tone = if chosen { Tone::Strong } else { Tone::Plain };
        let name = NAME.min(width.saturating_sub(2));
        let mut line: Vec<Span<'static>> =
            vec![look.span(Tone::Accent, format!("{sign} ")), look.span(tone, format!("{:<name$}", entry.name))];
        line.push(look.span(Tone::Muted, entry.does.clone()));
        out.push(Line::from(line));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(text: &str) -> String {
        let state = ScreenState::new(None, false);
        matches(&state, text).first().map(|e| e.name.clone()).unwrap_or_default()
    }

    #[test]
    fn a_few_letters_find_an_action() {
        assert_eq!(first("quit"), "quit");
        assert_eq!(first("frz"), "freeze");
        assert_eq!(first("tl"), "theme light");
        assert_eq!(first("gbw"), "group by worker");
        assert_eq!(first("wr"), "write report");
        assert_eq!(first("xyzzy"), "");
    }

    #[test]
    fn everything_is_there_when_nothing_is_typed() {
        let state = ScreenState::new(None, false);
        let all = matches(&state, "");
        assert!(all.len() > super::super::keys::KEYS.len() + THEMES.len());
    }
}
