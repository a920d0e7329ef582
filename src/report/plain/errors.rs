//! Lines of error logs and of backends' logs, summed per category with the newest words.

use std::collections::BTreeMap;

use crate::event::backend::BackendEntry;
use crate::event::log::{Category, ErrorEntry, Level};
use crate::human;
use crate::time::Timestamp;

use super::pace::Pace;
use super::said::{Gravity, Said, clause};

/// Libraries that are told apart.
const LIBRARIES: usize = 32;

/// News of one kind that wait.
#[derive(Debug, Default)]
struct Pending {
    pace: Pace,
    count: u64,
    worst: Option<Level>,
    newest: String,
}

impl Pending {
    fn take(&mut self, now: Timestamp) -> Option<(u64, Option<Level>, String)> {
        let due = self.pace.is_due(now, self.count);
        due.then(|| (std::mem::take(&mut self.count), self.worst.take(), std::mem::take(&mut self.newest)))
    }

    fn forget(&mut self) {
        (self.count, self.worst, self.newest) = (0, None, String::new());
    }
}

/// All categories and libraries.
#[derive(Debug, Default)]
pub(super) struct Errors {
    by_category: BTreeMap<Category, Pending>,
    by_library: BTreeMap<String, Pending>,
    total: u64,
}

impl Errors {
    /// New lines of an error log. Those of level debug are far too many, and no errors.
    pub(super) fn hear(&mut self, entries: &[ErrorEntry]) {
        for e in entries.iter().filter(|e| e.level < Level::Debug) {
            self.total += 1;
            let pending = self.by_category.entry(e.category).or_default();
            pending.count += 1;
            pending.worst = Some(pending.worst.map_or(e.level, |worst| worst.min(e.level)));
        }
        // Words are made for the last of each category alone: a batch may hold thousands.
        for (category, pending) in &mut self.by_category {
            if let Some(e) = entries.iter().rev().find(|e| e.category == *category && e.level < Level::Debug) {
                pending.newest = words(e);
            }
        }
    }

    /// New lines of a backend's own log.
    pub(super) fn hear_backend(&mut self, entries: &[BackendEntry]) {
        for e in entries {
            if self.by_library.len() >= LIBRARIES && !self.by_library.contains_key(&e.library) {
                continue;
            }
            let pending = self.by_library.entry(e.library.clone()).or_default();
            pending.count += 1;
            pending.newest = clause(&e.raw);
        }
    }

    /// What came before the beginning is not news.
    pub(super) fn begin(&mut self) {
        self.by_category.values_mut().chain(self.by_library.values_mut()).for_each(Pending::forget);
        self.total = 0;
    }

    /// New lines of error logs since the beginning.
    pub(super) const fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn changes(&mut self, now: Timestamp) -> Vec<Said> {
        let mut out = Vec::new();
        for (category, pending) in &mut self.by_category {
            let Some((n, worst, newest)) = pending.take(now) else { continue };
            let level = worst.map_or("", Level::word);
            let words = format!("{} of category {}, level {level}{}", lines(n), category.word(), tail(n, &newest));
            let gravity = worst.filter(|l| *l <= Level::Error).map(|_| Gravity::Poor);
            out.push(Said::new(now, words).grave(gravity));
        }
        for (library, pending) in &mut self.by_library {
            let Some((n, _, newest)) = pending.take(now) else { continue };
            let library = clause(library);
            out.push(Said::new(
                now,
                format!("{} of {library} in the backend's log{}", backend_lines(n), tail(n, &newest)),
            ));
        }
        out
    }
}

fn lines(n: u64) -> String {
    human::counted(n, "new error-log line", "new error-log lines")
}

fn backend_lines(n: u64) -> String {
    human::counted(n, "new line", "new lines")
}

fn tail(n: u64, newest: &str) -> String {
    if n == 1 { format!(": {newest}") } else { format!(", the newest: {newest}") }
}

fn words(e: &ErrorEntry) -> String {
    let errno = e.errno.map_or_else(String::new, |n| format!(" ({n})"));
    let action = e.action.as_ref().map_or_else(String::new, |a| format!(" while {a}"));
    let peer = e.peer().map_or_else(String::new, |p| format!(", backend {p}"));
    clause(&format!("{}{errno}{action}{peer}", e.message))
}
