//! The command palette: every action by its name, found by a few of its letters.

use ratatui::style::Stylize as _;
use ratatui::text::{Line, Span};

use crate::report::sockets::By;

use super::drill::View;
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
    /// Tells the errors apart by this.
    View(View),
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
    /// Which letters of its name were typed, by their places.
    pub hit: Vec<usize>,
}

impl Entry {
    fn new(name: impl Into<String>, does: impl Into<String>, choice: Choice) -> Self {
        Self { name: name.into(), does: does.into(), choice, hit: Vec::new() }
    }
}

/// Every entry that `text` fits, the best first; after them those that only say so in what they do.
#[must_use]
pub fn matches(state: &ScreenState, text: &str) -> Vec<Entry> {
    let wanted: Vec<char> = lower(text).into_iter().filter(|c| !c.is_whitespace() && *c != '-').collect();
    let scored = entries(state).into_iter().filter_map(|mut e| {
        let name = lower(&e.name);
        if let Some((cost, hit)) = fit(&wanted, &name) {
            e.hit = hit;
            return Some(((cost, name.len()), e));
        }
        let said = e.does.to_lowercase();
        text.to_lowercase().split_whitespace().all(|word| said.contains(word)).then_some(((u32::MAX, 0), e))
    });
    let mut scored: Vec<_> = scored.collect();
    // Stable: entries that fit alike stay in the order of the help.
    scored.sort_by_key(|(score, _)| *score);
    scored.into_iter().map(|(_, e)| e).collect()
}

/// Small letters, one for each character, so that places stay what they are.
fn lower(text: &str) -> Vec<char> {
    text.chars().map(|c| c.to_lowercase().next().unwrap_or(c)).collect()
}

fn entries(state: &ScreenState) -> Vec<Entry> {
    let keys: &Keymap = &state.keys;
    let acts = keys.lines().filter(|(b, _)| b.action != Action::Palette).map(|(b, shown)| {
        Entry::new(b.name.replace('-', " "), format!("{shown:<10} {}", b.does), Choice::Act(b.action))
    });
    let themes = THEMES.iter().map(|t| Entry::new(format!("theme {}", t.name), t.said, Choice::Theme(t.name)));
    let pane = state.focus;
    let sorts = view::sortable(state, pane).into_iter().map(move |(at, column)| {
        Entry::new(format!("sort by {column}"), format!("the rows of {}", pane.title()), Choice::Sort(at))
    });
    let groups = By::ALL.iter().map(|by| {
        Entry::new(format!("group by {}", by.word()), "the tunnels of Connections", Choice::Group(Some(*by)))
    });
    let ungroup = Entry::new("group by nothing", "tunnels one by one", Choice::Group(None));
    let views = state.drill.views().into_iter().map(|view| {
        let name =
            if view == View::Lines { "errors line by line".to_owned() } else { format!("errors by {}", view.word()) };
        Entry::new(name, "the entries of Errors", Choice::View(view))
    });
    acts.chain(themes).chain(sorts).chain(groups).chain([ungroup]).chain(views).collect()
}

/// How well the letters of `wanted` fit `name` in their order, the less the better, and where they stand there. A letter
/// right behind the one before costs nothing, one that begins a word 1, any other 4; of all ways the cheapest counts.
fn fit(wanted: &[char], name: &[char]) -> Option<(u32, Vec<usize>)> {
    let begins = |i: usize| i == 0 || matches!(name.get(i - 1), Some(' ' | '-'));
    // For each letter and place: what it costs to get there, and where the letter before stands then.
    let mut ways: Vec<Vec<Option<(u32, usize)>>> = Vec::with_capacity(wanted.len());
    for (n, letter) in wanted.iter().enumerate() {
        let mut nearest: Option<(u32, usize)> = None;
        let row = name.iter().enumerate().map(|(i, c)| {
            let before = |at: usize| ways.get(n.checked_sub(1)?)?.get(at).copied().flatten();
            let jump = if begins(i) { 1 } else { 4 };
            let behind = i.checked_sub(1).and_then(|at| Some((before(at)?.0, at)));
            let way = match n {
                0 => Some((if i == 0 { 0 } else { jump }, 0)),
                _ => behind.into_iter().chain(nearest.map(|(cost, at)| (cost + jump, at))).min(),
            };
            if let Some((cost, at)) = behind.filter(|(cost, _)| nearest.is_none_or(|(least, _)| *cost < least)) {
                nearest = Some((cost, at));
            }
            way.filter(|_| c == letter)
        });
        let row: Vec<_> = row.collect();
        ways.push(row);
    }
    let Some(last) = ways.last() else { return Some((0, Vec::new())) };
    let (cost, mut at) = last.iter().enumerate().filter_map(|(i, way)| Some((way.as_ref()?.0, i))).min()?;
    let mut hit = vec![at];
    for row in ways.iter().skip(1).rev() {
        at = row.get(at).copied().flatten()?.1;
        hit.push(at);
    }
    Some((cost, hit))
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
        let mut line: Vec<Span<'static>> = vec![look.span(Tone::Accent, format!("{sign} "))];
        for (at, c) in entry.name.chars().enumerate() {
            let letter = c.to_string();
            let hit = entry.hit.contains(&at);
            line.push(if hit { look.span(Tone::Accent, letter).underlined() } else { look.span(tone, letter) });
        }
        line.push(look.span(tone, " ".repeat(name.saturating_sub(entry.name.chars().count()))));
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
    fn what_stands_together_or_begins_words_comes_first() {
        let hit = |text: &str, name: &str| fit(&lower(text), &lower(name));
        assert_eq!(hit("fe", "focus findings errors"), Some((1, vec![15, 0])), "e of the word, not of its middle");
        assert_eq!(hit("nd", "find the nd"), Some((1, vec![10, 9])));
        assert_eq!(hit("ind", "findings").map(|(cost, _)| cost), Some(4));
        assert_eq!(hit("dni", "findings"), None, "order counts");
        assert_eq!(hit("", "findings"), Some((0, vec![])));
        assert_eq!(first("fin"), "findings");
        assert_eq!(first("ec"), "errors by client");
        assert_eq!(first("hide"), "redact", "by what it does");
        assert_eq!(first("ß"), "");
    }

    #[test]
    fn everything_is_there_when_nothing_is_typed() {
        let state = ScreenState::new(None, false);
        let all = matches(&state, "");
        assert!(all.len() > super::super::keys::KEYS.len() + THEMES.len());
    }
}
