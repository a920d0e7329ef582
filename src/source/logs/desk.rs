//! Where the lines of one log become events, with the light that says how well the log can be seen.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use tokio::sync::mpsc;

use super::batch::{Collector, LineParser};
use super::pipe::{Flow, PipeReader};
use crate::event::{Event, Sense, SourceKind};
use crate::source::tail::{Line, Obstacle, Progress, Reader, Watching, is_pipe};
use crate::time::Timestamp;

/// More unread bytes than this are worth a word; less is the ordinary delay of a busy log.
pub(super) const LAGGING: u64 = 16 * MEGABYTE;
pub(super) const MEGABYTE: u64 = 1 << 20;

/// What a reading thread tells.
#[derive(Debug)]
pub(super) enum Told {
    /// An event, and the kind of log that it is of where that is not the log's own.
    Event(Option<SourceKind>, Event),
    /// There is nothing more to read, for good.
    Ended,
}

/// What of a log's past is not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// Lines before a moment, which matters until an instant: then the span that was wanted has passed since that moment.
    Before(Timestamp, Instant),
    /// Everything: its lines tell no time.
    Timeless,
}

/// Where the lines of one log become events.
pub(super) struct Desk<P: LineParser> {
    file: PathBuf,
    /// Its path made safe to show.
    path: String,
    pub(super) collector: Collector<P>,
    told: Option<Sense>,
    pub(super) unread: Option<Unread>,
    pub(super) to: mpsc::Sender<Told>,
}

impl<P: LineParser> Desk<P> {
    pub(super) fn new(file: PathBuf, path: String, collector: Collector<P>, to: mpsc::Sender<Told>) -> Self {
        Self { file, path, collector, told: None, unread: None, to }
    }

    /// Says what was collected; `behind` bytes are still unread.
    pub(super) fn hand_over(&mut self, behind: u64) -> ControlFlow<()> {
        for batch in self.collector.take(behind) {
            for (kind, event) in P::events(batch) {
                self.send(Told::Event(kind, event))?;
            }
        }
        ControlFlow::Continue(())
    }

    fn say(&mut self, sense: Sense) -> ControlFlow<()> {
        if self.told.as_ref() != Some(&sense) {
            self.told = Some(sense.clone());
            self.send(Told::Event(None, Event::Sense(sense)))?;
        }
        ControlFlow::Continue(())
    }

    pub(super) fn send(&self, told: Told) -> ControlFlow<()> {
        match self.to.blocking_send(told) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}

impl<P: LineParser> Reader for Desk<P> {
    fn line(&mut self, line: Line<'_>) {
        self.collector.line(line);
    }

    fn polled(&mut self, progress: &Progress, watching: &Watching) -> ControlFlow<()> {
        let refused = matches!(progress.obstacle, Some(Obstacle::NotAFile("a pipe") | Obstacle::OwnStream));
        if refused && !progress.holding && is_pipe(&self.file) {
            return ControlFlow::Break(());
        }
        if matches!(&self.unread, Some(Unread::Before(_, until)) if Instant::now() > *until) {
            self.unread = None;
        }
        self.say(sense(&self.path, progress, watching, self.unread.as_ref()))?;
        self.hand_over(progress.behind)
    }
}

impl<P: LineParser> PipeReader for Desk<P> {
    fn line(&mut self, line: Line<'_>) {
        self.collector.line(line);
    }

    fn heard(&mut self, flow: &Flow) -> ControlFlow<()> {
        if *flow != Flow::Open {
            // The last lines come before the word that they are the last.
            self.hand_over(0)?;
        }
        let path = &self.path;
        let sense = match flow {
            Flow::Open => Sense::seen(format!("reading {path}")),
            Flow::NoWriter => Sense::degraded(
                format!("{path}: nobody writes to this pipe now"),
                "wspulse waits for the next program that opens it",
            ),
            Flow::Ended => {
                Sense::degraded(format!("{path} ended: nothing new comes"), "start wspulse again with the log piped in")
            }
            Flow::Failed(why) => Sense::blind(format!("{path}: {why}"), "wspulse tries again every second"),
        };
        self.say(sense)?;
        self.hand_over(0)
    }
}

/// How well the log can be seen: the worst thing first. Every text stays the same while the state does.
pub(super) fn sense(path: &str, progress: &Progress, watching: &Watching, unread: Option<&Unread>) -> Sense {
    if let Some(obstacle) = &progress.obstacle {
        return if progress.holding {
            Sense::degraded(format!("{path}: {obstacle}; the old file is still read"), obstacle.remedy())
        } else {
            Sense::blind(format!("{path}: {obstacle}"), obstacle.remedy())
        };
    }
    if progress.forgotten.is_some() {
        return Sense::degraded(
            format!("{path}: nginx still writes to the rotated file"),
            "let nginx open its logs again: nginx -s reopen",
        );
    }
    if progress.behind >= LAGGING {
        // Rounded down to a power of two, or each look would say another number.
        let megabytes = 1u64 << (progress.behind / MEGABYTE).ilog2();
        return Sense::degraded(format!("{path}: more than {megabytes} MB behind"), "nothing is lost: reading goes on");
    }
    if let Watching::PollOnly { why, remedy } = watching {
        return Sense::degraded(format!("watching {path} by polling only: {why}"), *remedy);
    }
    if let Some(Unread::Before(from, _)) = unread {
        let from = from.local_minute();
        return Sense::degraded(
            format!("{path}: history begins {from}, older lines are not read"),
            "wspulse logs reads whole logs, packed ones too",
        );
    }
    let note = if unread.is_some() { "; its lines tell no time, so only new ones count" } else { "" };
    match watching {
        Watching::Remote(kind) => Sense::seen(format!("following {path} by polling ({kind}){note}")),
        _ => Sense::seen(format!("following {path}{note}")),
    }
}
