//! The filter line: one line of text with a cursor, what is wrong in it, how it may go on, and what was typed before.

use std::collections::VecDeque;

use unicode_segmentation::UnicodeSegmentation as _;

use crate::human;
use crate::report::filter::{Completion, Wrong};

use super::filter::Filter;
use super::pane::Pane;

/// The longest filter that can be typed, in bytes.
pub const LONGEST: usize = 200;
/// Filters that are remembered of each pane, as long as the program runs.
const REMEMBERED: usize = 50;

/// A filter being typed.
#[derive(Clone, Debug)]
pub struct FilterLine {
    /// Whose filter it is.
    pub pane: Pane,
    /// What was in force before, for whoever thinks better of it.
    pub before: Option<Filter>,
    /// Why the text is not in force.
    pub wrong: Option<Wrong>,
    /// How the text may go on from the cursor.
    pub offered: Completion,
    /// Which of these stands in the text now, and what it took the place of.
    chosen: Option<(usize, String)>,
    text: String,
    cursor: usize,
    /// Which of the remembered ones is shown, counted from the newest, and what was typed before it.
    recalled: Option<(usize, String)>,
}

/// Whether the cursor moves over a letter or a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// What is seen as one character.
    Letter,
    /// Up to the other end of a word.
    Word,
    /// To the end of the line.
    Line,
}

impl FilterLine {
    /// A line that begins with what is in force.
    #[must_use]
    pub fn new(pane: Pane, before: Option<Filter>) -> Self {
        let text = before.as_ref().map(|f| f.text.clone()).unwrap_or_default();
        let cursor = text.len();
        let (wrong, offered) = (None, Completion::default());
        Self { pane, before, wrong, offered, chosen: None, text, cursor, recalled: None }
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Bytes of the text before the cursor.
    #[must_use]
    pub const fn cursor(&self) -> usize {
        self.cursor
    }

    /// The text before the cursor.
    #[must_use]
    pub fn head(&self) -> &str {
        self.text.get(..self.cursor).unwrap_or(&self.text)
    }

    /// Which of the offered ones stands in the text.
    #[must_use]
    pub fn chosen(&self) -> Option<usize> {
        self.chosen.as_ref().map(|(at, _)| *at)
    }

    /// What the likeliest way to go on adds to the text, where it does so at the end of the line.
    #[must_use]
    pub fn rest(&self) -> &str {
        let typed = self.head().get(self.offered.from..).unwrap_or_default();
        let first = self.offered.candidates.first().filter(|_| self.cursor == self.text.len());
        let first = first.filter(|_| self.chosen.is_none() && !typed.is_empty());
        first.and_then(|c| c.strip_prefix(typed)).unwrap_or_default()
    }

    /// Puts text in at the cursor, as far as there is room. Line feeds and tabs become blanks, other control characters go.
    pub fn insert(&mut self, text: &str) {
        for c in text.chars() {
            let c = if matches!(c, '\n' | '\r' | '\t') { ' ' } else { c };
            if !c.is_control() && self.text.len() + c.len_utf8() <= LONGEST {
                self.text.insert(self.cursor, c);
                self.cursor += c.len_utf8();
            }
        }
        self.changed();
    }

    /// Moves the cursor.
    pub fn step(&mut self, step: Step, forward: bool) {
        self.cursor = self.reach(step, forward);
        self.chosen = None;
    }

    /// Removes from the cursor as far as it would move.
    pub fn remove(&mut self, step: Step, forward: bool) {
        let other = self.reach(step, forward);
        let range = other.min(self.cursor)..other.max(self.cursor);
        self.cursor = range.start;
        self.text.replace_range(range, "");
        self.changed();
    }

    fn changed(&mut self) {
        (self.chosen, self.recalled) = (None, None);
    }

    /// Where the cursor would be.
    fn reach(&self, step: Step, forward: bool) -> usize {
        let (head, tail) = self.text.split_at_checked(self.cursor).unwrap_or((&self.text, ""));
        match (step, forward) {
            (Step::Letter, true) => self.cursor + tail.graphemes(true).next().map_or(0, str::len),
            (Step::Letter, false) => self.cursor - head.graphemes(true).next_back().map_or(0, str::len),
            (Step::Word, true) => {
                let blanks = tail.len() - tail.trim_start().len();
                let word = tail.trim_start().find(char::is_whitespace);
                self.cursor + word.map_or(tail.len(), |end| blanks + end)
            }
            (Step::Word, false) => {
                let word = head.trim_end();
                word.char_indices().rev().find(|(_, c)| c.is_whitespace()).map_or(0, |(at, c)| at + c.len_utf8())
            }
            (Step::Line, true) => self.text.len(),
            (Step::Line, false) => 0,
        }
    }

    /// Puts the next of the offered ones into the text, or the one before; round and round. False when there is none.
    pub fn complete(&mut self, forward: bool) -> bool {
        let n = self.offered.candidates.len();
        let (next, typed) = match self.chosen.take() {
            _ if n == 0 => return false,
            Some((at, typed)) => ((at + if forward { 1 } else { n - 1 }) % n, typed),
            None => {
                let typed = self.head().get(self.offered.from..).unwrap_or_default().to_owned();
                (if forward { 0 } else { n - 1 }, typed)
            }
        };
        let from = self.offered.from.min(self.cursor);
        let Some(candidate) = self.offered.candidates.get(next) else { return false };
        if self.text.len() - (self.cursor - from) + candidate.len() > LONGEST {
            return false;
        }
        self.text.replace_range(from..self.cursor, candidate);
        self.cursor = from + candidate.len();
        self.recalled = None;
        // The only way to go on is taken: from there on the next one is asked for.
        self.chosen = (n > 1).then_some((next, typed));
        true
    }

    /// Shows a remembered filter of the pane, an older or a newer one; behind the newest what was typed.
    pub fn recall(&mut self, history: &History, older: bool) {
        let next = match (&self.recalled, older) {
            (None, true) => Some(0),
            (None, false) => return,
            (Some((at, _)), true) => Some(at + 1),
            (Some((at, _)), false) => at.checked_sub(1),
        };
        let typed = self.recalled.as_ref().map_or_else(|| self.text.clone(), |(_, typed)| typed.clone());
        let shown = match next {
            Some(at) => {
                let Some(text) = history.nth(self.pane, at) else { return };
                (text.to_owned(), Some((at, typed)))
            }
            None => (typed, None),
        };
        (self.text, self.recalled) = shown;
        self.cursor = self.text.len();
        self.chosen = None;
    }

    /// The part of the line that is shown in so many columns, such that the cursor is among them.
    #[must_use]
    pub fn window(&self, width: usize) -> Window {
        let mut cells: Vec<(usize, String)> =
            self.text.grapheme_indices(true).map(|(at, g)| (at, human::visible(g.as_bytes()))).collect();
        // Behind the last one the cursor has a place of its own.
        cells.push((self.text.len(), " ".to_owned()));
        let wide = |range: &[(usize, String)]| range.iter().map(|(_, shown)| human::width(shown)).sum::<usize>();
        if wide(&cells) <= width {
            return Window { cells, cut: None };
        }
        let room = width.saturating_sub(2);
        let cursor = cells.partition_point(|(at, _)| *at <= self.cursor).saturating_sub(1);
        // What stands behind the cursor is seen too.
        let (mut from, mut to) = (cursor, cursor + 1);
        while from > 0 && wide(&cells[from - 1..to]) <= room * 2 / 3 {
            from -= 1;
        }
        while to < cells.len() && wide(&cells[from..=to]) <= room {
            to += 1;
        }
        while from > 0 && wide(&cells[from - 1..to]) <= room {
            from -= 1;
        }
        let cut = Some((from > 0, to < cells.len()));
        Window { cells: cells.drain(from..to).collect(), cut }
    }
}

/// What of a line is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its characters, made safe to show, with the bytes before each; a blank stands for the end.
    pub cells: Vec<(usize, String)>,
    /// Whether something is missing before and behind them, where there is not room for all.
    pub cut: Option<(bool, bool)>,
}

/// The filters that were kept in each pane, newest last. They live as long as the program and are written nowhere.
#[derive(Clone, Debug, Default)]
pub struct History([VecDeque<String>; 5]);

impl History {
    /// Remembers one more; the same one again moves to the end.
    pub fn keep(&mut self, pane: Pane, text: &str) {
        let Some(kept) = self.0.get_mut(pane.index()).filter(|_| !text.is_empty()) else { return };
        kept.retain(|t| t != text);
        if kept.len() == REMEMBERED {
            kept.pop_front();
        }
        kept.push_back(text.to_owned());
    }

    fn nth(&self, pane: Pane, from_newest: usize) -> Option<&str> {
        self.0.get(pane.index())?.iter().rev().nth(from_newest).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(text: &str) -> FilterLine {
        let mut line = FilterLine::new(Pane::Errors, None);
        line.insert(text);
        line
    }

    /// The text with the cursor in it.
    fn shown(line: &FilterLine) -> String {
        format!("{}|{}", line.head(), &line.text()[line.cursor()..])
    }

    #[test]
    fn the_line_is_edited_where_the_cursor_stands() {
        let mut l = line("client:10 größe");
        l.step(Step::Letter, false);
        l.remove(Step::Letter, false);
        assert_eq!(shown(&l), "client:10 grö|e");
        l.step(Step::Word, false);
        assert_eq!(shown(&l), "client:10 |gröe");
        l.remove(Step::Letter, true);
        l.insert("GG");
        assert_eq!(shown(&l), "client:10 GG|röe");
        l.step(Step::Word, true);
        assert_eq!(shown(&l), "client:10 GGröe|");
        l.remove(Step::Word, false);
        assert_eq!(shown(&l), "client:10 |");
        l.remove(Step::Word, false);
        assert_eq!(shown(&l), "|");
        l.insert("a b c");
        l.step(Step::Line, false);
        l.step(Step::Word, true);
        l.remove(Step::Line, true);
        assert_eq!(shown(&l), "a|");
        l.insert(" x");
        l.step(Step::Letter, false);
        l.remove(Step::Line, false);
        assert_eq!(shown(&l), "|x");
    }

    #[test]
    fn what_is_pasted_is_one_line_without_control_characters_and_no_longer_than_allowed() {
        assert_eq!(line("a\r\nb\tc\u{1b}[2J\u{7}").text(), "a  b c[2J");
        let long = line(&"日".repeat(300));
        assert!(long.text().len() <= LONGEST && long.text().len() > LONGEST - 3);
    }

    #[test]
    fn a_letter_with_its_marks_is_one_step() {
        let mut l = line("ae\u{301}👩\u{200d}🚀日");
        let mut stops = vec![l.cursor()];
        while l.cursor() > 0 {
            l.step(Step::Letter, false);
            stops.push(l.cursor());
        }
        assert_eq!(stops, [18, 15, 4, 1, 0]);
        l.step(Step::Letter, true);
        l.remove(Step::Letter, true);
        assert_eq!(l.text(), "a👩\u{200d}🚀日");
    }

    #[test]
    fn the_kept_ones_come_back_newest_first_and_then_what_was_typed() {
        let mut history = History::default();
        for text in ["one", "two", "", "one", "three"] {
            history.keep(Pane::Errors, text);
        }
        history.keep(Pane::Findings, "elsewhere");
        let mut l = line("typed");
        let mut walk = |older: &[bool]| {
            for o in older {
                l.recall(&history, *o);
            }
            l.text().to_owned()
        };
        assert_eq!(walk(&[false]), "typed");
        assert_eq!(walk(&[true]), "three");
        assert_eq!(walk(&[true]), "one", "the same one again has moved");
        assert_eq!(walk(&[true, true, true]), "two", "the oldest stays");
        assert_eq!(walk(&[false, false]), "three");
        assert_eq!(walk(&[false]), "typed");
        for n in 0..200 {
            history.keep(Pane::Errors, &n.to_string());
        }
        assert_eq!(history.0[Pane::Errors.index()].len(), REMEMBERED);
        assert_eq!(history.nth(Pane::Errors, 0), Some("199"));
    }

    #[test]
    fn ways_to_go_on_take_turns_and_an_only_one_is_taken() {
        let mut l = line("open cl");
        l.offered = Completion { from: 5, candidates: ["client:", "closed:", "clock>"].map(str::to_owned).to_vec() };
        assert_eq!(l.rest(), "ient:");
        let mut turn = |forward| {
            assert!(l.complete(forward));
            l.text().to_owned()
        };
        assert_eq!([turn(true), turn(true), turn(true)], ["open client:", "open closed:", "open clock>"]);
        assert_eq!([turn(true), turn(false)], ["open client:", "open clock>"], "round and round");
        assert_eq!((l.rest(), l.chosen()), ("", Some(2)));
        l.insert("1");
        assert_eq!(l.chosen(), None);
        let mut only = line("cl");
        only.offered = Completion { from: 0, candidates: vec!["client:".to_owned()] };
        assert!(only.complete(true) && only.chosen().is_none());
        assert_eq!(shown(&only), "client:|");
        only.offered = Completion { from: 7, candidates: vec!["x".repeat(LONGEST)] };
        assert!(!only.complete(true), "too long for the line");
    }

    proptest! {
        /// Whatever is typed, pasted and moved over: the cursor stays between characters, and is seen.
        #[test]
        fn the_cursor_is_always_in_sight(
            texts in prop::collection::vec("\\PC{0,30}", 1..6),
            moves in prop::collection::vec((0_u8..3, any::<bool>(), any::<bool>()), 0..20),
            width in 8_usize..60,
        ) {
            let mut l = line("");
            let mut texts = texts.iter().cycle();
            for (step, forward, removes) in moves {
                let step = [Step::Letter, Step::Word, Step::Line][usize::from(step)];
                if removes { l.remove(step, forward) } else { l.step(step, forward) }
                l.insert(texts.next().map_or("", String::as_str));
                prop_assert!(l.text().is_char_boundary(l.cursor()) && l.text().len() <= LONGEST);
                let window = l.window(width);
                let room = width - if window.cut.is_some() { 2 } else { 0 };
                let used: usize = window.cells.iter().map(|(_, g)| human::width(g)).sum();
                let first = window.cells.first().map_or(0, |(at, _)| *at);
                let last = window.cells.last().map_or(0, |(at, _)| *at);
                prop_assert!(first <= l.cursor() && (l.cursor() <= last || window.cells.len() == 1), "{window:?}");
                prop_assert!(used <= room || window.cells.len() == 1, "{:?} in {width}: {window:?}", l.text());
            }
        }
    }
}
