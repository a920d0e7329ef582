//! What happened when, in two or three words: the marks of the timeline.

use std::collections::VecDeque;
use std::time::Duration;

use crate::event::process::Master;
use crate::time::Timestamp;

/// How many marks of the recent past are kept.
const KEPT: usize = 256;

/// Two witnesses of one reload, the error log and the process table, speak within this time of one another.
const SAME: Duration = Duration::from_secs(10);

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
    /// Remembers one more. Logs tell of the past: it takes its place in time.
    pub fn push(&mut self, mark: Mark) {
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        let place = self.kept.partition_point(|m| m.at <= mark.at);
        self.kept.insert(place, mark);
    }

    /// nginx was reloaded, by whatever witness; the second one says nothing new.
    pub fn reloaded(&mut self, at: Timestamp) {
        let near = |m: &Mark| m.kind == MarkKind::Reload && m.at.since(at).max(at.since(m.at)) <= SAME;
        if !self.kept.iter().any(near) {
            self.push(Mark { at, kind: MarkKind::Reload, said: "reload".into() });
        }
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
                Some(o) if reloaded(o, m) => self.reloaded(at),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_that_two_witnesses_saw_is_one_mark_and_marks_stand_in_order() {
        let at = |s| Timestamp::from_secs(s);
        let mut marks = Marks::default();
        marks.push(Mark { at: at(500), kind: MarkKind::ProbeDown, said: "/ws".into() });
        for s in [100, 101, 300, 292, 311] {
            marks.reloaded(at(s));
        }
        assert_eq!(marks.iter().map(|m| m.at.secs()).collect::<Vec<_>>(), [100, 300, 311, 500]);
        for s in 0..2_000 {
            marks.reloaded(at(1_000 + s * 20));
        }
        assert_eq!(marks.iter().count(), KEPT);
    }
}
