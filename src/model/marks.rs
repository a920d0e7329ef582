//! What happened when, in two or three words: the marks of the timeline.

use std::collections::VecDeque;

use crate::event::process::Master;
use crate::time::Timestamp;

/// How many marks of the recent past are kept.
const KEPT: usize = 256;

/// One moment worth a place on the timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// When.
    pub at: Timestamp,
    /// Of which kind.
    pub kind: MarkKind,
    /// In two or three words.
    pub said: String,
}

/// The kinds of marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkKind {
    /// A new generation of workers.
    Reload,
    /// nginx came.
    Started,
    /// nginx went.
    Stopped,
    /// A probe began to fail.
    ProbeDown,
    /// A probe works again.
    ProbeUp,
}

/// The newest marks, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    kept: VecDeque<Mark>,
}

impl Marks {
    /// Remembers one more.
    pub fn push(&mut self, mark: Mark) {
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(mark);
    }

    /// Oldest first.
    #[must_use]
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Mark> {
        self.kept.iter()
    }

    /// Marks what changed between two looks at the masters; `None` was no look yet, and so nothing changed.
    pub fn compare(&mut self, at: Timestamp, old: Option<&[Master]>, new: &[Master]) {
        let Some(old) = old else { return };
        for m in new {
            match old.iter().find(|o| o.pid == m.pid) {
                None => self.push(Mark { at, kind: MarkKind::Started, said: "nginx started".into() }),
                Some(o) if reloaded(o, m) => self.push(Mark { at, kind: MarkKind::Reload, said: "reload".into() }),
                Some(_) => {}
            }
        }
        for gone in old.iter().filter(|o| new.iter().all(|m| m.pid != o.pid)) {
            self.push(Mark { at, kind: MarkKind::Stopped, said: format!("nginx {} stopped", gone.pid) });
        }
    }
}

/// The master is the same and a worker that was not there before serves beside (or instead of) an older one.
fn reloaded(old: &Master, new: &Master) -> bool {
    let fresh = new.workers.iter().any(|w| !w.shutting_down && old.workers.iter().all(|o| o.pid != w.pid));
    let retired = old
        .workers
        .iter()
        .any(|o| !o.shutting_down && new.workers.iter().find(|w| w.pid == o.pid).is_none_or(|w| w.shutting_down));
    fresh && retired
}
