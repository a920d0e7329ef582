//! How far the Errors pane is zoomed in: what the entries are narrowed to, and by what they are told apart there.

use std::sync::Arc;

use crate::model::errors::kept::{By, Kept};

use super::state::PaneState;

/// What the rows of a level are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// One row for each name of a kind.
    By(By),
    /// One row for each line.
    Lines,
}

impl View {
    /// Its name.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::By(by) => by.word(),
            Self::Lines => "lines",
        }
    }
}

/// What an entry must be called to be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// In which way of telling entries apart.
    pub by: By,
    /// The name; `None` are the lines that name none.
    pub name: Option<Arc<str>>,
}

impl Condition {
    /// Whether it holds.
    #[must_use]
    pub fn holds(&self, line: &Kept) -> bool {
        line.key(self.by) == self.name.as_deref()
    }
}

/// Where the Errors pane is.
#[derive(Clone, Debug)]
pub struct Drill {
    /// All of which hold.
    pub conditions: Vec<Condition>,
    /// What the rows are.
    pub view: View,
    /// The line that was looked at last, by its number.
    pub cursor: Option<u64>,
    /// What was chosen on the levels above, one for each condition.
    above: Vec<(View, PaneState)>,
}

impl Default for Drill {
    fn default() -> Self {
        Self { conditions: Vec::new(), view: View::By(By::Category), cursor: None, above: Vec::new() }
    }
}

impl Drill {
    /// Something is narrowed, or told apart by something else than its category.
    #[must_use]
    pub fn is_deep(&self) -> bool {
        !self.conditions.is_empty() || self.view != View::By(By::Category)
    }

    /// The ways of telling apart that are left, and the lines.
    #[must_use]
    pub fn views(&self) -> Vec<View> {
        let left = By::ALL.into_iter().filter(|by| !self.is_narrowed_by(*by));
        left.map(View::By).chain([View::Lines]).collect()
    }

    /// The next view of this level, or the one before, round and round.
    pub fn turn(&mut self, forward: bool, pane: &mut PaneState) {
        let views = self.views();
        let at = views.iter().position(|v| *v == self.view).unwrap_or(0);
        let step = if forward { 1 } else { views.len() - 1 };
        self.show(views[(at + step) % views.len()], pane);
    }

    /// Another view of the same level; the filter stays.
    pub fn show(&mut self, view: View, pane: &mut PaneState) {
        self.view = view;
        *pane = PaneState { filter: pane.filter.take(), page: pane.page, ..PaneState::default() };
    }

    /// One level in. The new level begins with nothing chosen.
    pub fn enter(&mut self, condition: Condition, view: View, pane: &mut PaneState) {
        self.conditions.push(condition);
        self.above.push((self.view, std::mem::take(pane)));
        self.view = view;
    }

    /// One level up, to what was chosen there. False at the top.
    pub fn leave(&mut self, pane: &mut PaneState) -> bool {
        if self.conditions.pop().is_some() {
            (self.view, *pane) = self.above.pop().unwrap_or((View::By(By::Category), PaneState::default()));
            return true;
        }
        let turned = self.view != View::By(By::Category);
        if turned {
            self.show(View::By(By::Category), pane);
        }
        turned
    }

    /// Whether a line is in.
    #[must_use]
    pub fn holds(&self, line: &Kept) -> bool {
        self.conditions.iter().all(|c| c.holds(line))
    }

    /// Everything has the same name of this kind.
    #[must_use]
    pub fn is_narrowed_by(&self, by: By) -> bool {
        self.conditions.iter().any(|c| c.by == by)
    }

    /// The category that everything is narrowed to, where that is all: then exact totals are known.
    #[must_use]
    pub fn only_category(&self) -> Option<&str> {
        match self.conditions.as_slice() {
            [Condition { by: By::Category, name }] => name.as_deref(),
            _ => None,
        }
    }
}
