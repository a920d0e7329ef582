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
    /// A worker died, or went while others of its generation go on.
    WorkerGone,
    /// A probe began to fail.
    ProbeDown,
    /// A probe works again.
    ProbeUp,
}

/// The newest marks, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    kept: VecDeque<Mark>,
    /// Workers that died of a signal, as the error log says, newest last.
    died: VecDeque<(Timestamp, u32)>,
    /// The only worker was replaced by another: a reload or a death, which the process table does not tell apart.
    replaced: Option<(Timestamp, u32)>,
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
        if !self.kept.iter().any(|m| m.kind == MarkKind::Reload && near(m.at, at)) {
            self.push(Mark { at, kind: MarkKind::Reload, said: "reload".into() });
        }
    }

    /// A worker died of a signal, as the error log says.
    pub fn died(&mut self, at: Timestamp, worker: u32, signal: u32) {
        if self.died.iter().any(|(_, w)| *w == worker) {
            return;
        }
        if self.died.len() == KEPT {
            self.died.pop_front();
        }
        self.died.push_back((at, worker));
        let taken = |(seen, w): (Timestamp, u32)| w == worker && near(seen, at);
        if let Some((seen, _)) = self.replaced.take_if(|r| taken(*r)) {
            self.kept.retain(|m| m.kind != MarkKind::Reload || m.at != seen);
        }
        self.kept.retain(|m| m.kind != MarkKind::WorkerGone || !near(m.at, at) || m.said != gone(worker));
        self.push(Mark { at, kind: MarkKind::WorkerGone, said: format!("worker {worker} signal {signal}") });
    }

    /// Workers that the process table no longer has, or that drain, while a new one serves.
    fn replaced(&mut self, at: Timestamp, retired: &[u32], all: bool) {
        let unexplained: Vec<u32> =
            retired.iter().copied().filter(|w| !self.died.iter().any(|(_, d)| d == w)).collect();
        match (unexplained.as_slice(), all) {
            ([], _) => {}
            (_, true) => {
                self.replaced = retired.first().filter(|_| retired.len() == 1).map(|w| (at, *w));
                self.reloaded(at);
            }
            (some, false) => {
                for worker in some {
                    self.push(Mark { at, kind: MarkKind::WorkerGone, said: gone(*worker) });
                }
            }
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
                Some(o) => {
                    let served = o.workers.iter().filter(|w| !w.shutting_down).count();
                    let retired = retired(o, m);
                    if has_new_worker(o, m) {
                        self.replaced(at, &retired, retired.len() == served);
                    }
                }
            }
        }
        for gone in old.iter().filter(|o| new.iter().all(|m| m.pid != o.pid)) {
            self.push(Mark { at, kind: MarkKind::Stopped, said: format!("nginx {} stopped", gone.pid) });
        }
    }
}

fn near(one: Timestamp, other: Timestamp) -> bool {
    one.since(other).max(other.since(one)) <= SAME
}

fn gone(worker: u32) -> String {
    format!("worker {worker} gone")
}

/// A worker serves that was not there before.
fn has_new_worker(old: &Master, new: &Master) -> bool {
    new.workers.iter().any(|w| !w.shutting_down && old.workers.iter().all(|o| o.pid != w.pid))
}

/// Workers that served and do so no longer.
fn retired(old: &Master, new: &Master) -> Vec<u32> {
    let served = old.workers.iter().filter(|w| !w.shutting_down);
    let still = |pid| new.workers.iter().any(|w| w.pid == pid && !w.shutting_down);
    served.map(|w| w.pid).filter(|pid| !still(*pid)).collect()
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

    fn master(workers: &[u32]) -> Vec<Master> {
        let worker = |pid: &u32| crate::event::process::Worker { pid: *pid, ..Default::default() };
        vec![Master { pid: 1, workers: workers.iter().map(worker).collect(), ..Master::default() }]
    }

    fn said(marks: &Marks) -> Vec<&str> {
        marks.iter().map(|m| m.said.as_str()).collect()
    }

    #[test]
    fn a_worker_that_dies_is_no_reload() {
        let at = |s| Timestamp::from_secs(s);
        let mut marks = Marks::default();
        // One of two: the process table alone tells, and the log says how.
        marks.compare(at(10), Some(&master(&[2, 3])), &master(&[3, 4]));
        assert_eq!(said(&marks), ["worker 2 gone"]);
        marks.died(at(9), 2, 11);
        assert_eq!(said(&marks), ["worker 2 signal 11"]);
        // The only one: a reload until the log says otherwise, and not even that when the log was first.
        let mut marks = Marks::default();
        marks.compare(at(20), Some(&master(&[2])), &master(&[3]));
        assert_eq!(said(&marks), ["reload"]);
        marks.died(at(20), 2, 9);
        assert_eq!(said(&marks), ["worker 2 signal 9"]);
        marks.died(at(40), 3, 9);
        marks.compare(at(41), Some(&master(&[3])), &master(&[4]));
        assert_eq!(said(&marks), ["worker 2 signal 9", "worker 3 signal 9"]);
        marks.compare(at(90), Some(&master(&[4, 5])), &master(&[6, 7]));
        assert_eq!(said(&marks).last(), Some(&"reload"));
    }
}
