//! A followed file and a parser: lines of error and access logs turned into events.

mod batch;
mod categories;
mod parsers;

use std::future::Future;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use tokio::sync::mpsc;

use super::tail::{self, Follower, Line, Progress, Reader, Start, Wake, Watching};
use super::{Outlet, Source};
use crate::event::log::{AccessBatch, ErrorBatch};
use crate::event::{Event, Sense, SourceId, SourceKind};
use crate::human;
use crate::nginx::access::Format;
use crate::time::Timestamp;

use batch::{Batch, Collector, LineParser, MOST_ENTRIES};
use parsers::{AccessLines, ErrorLines};

/// More unread bytes than this are worth a word; less is the ordinary delay of a busy log.
const LAGGING: u64 = 16 * MEGABYTE;
const MEGABYTE: u64 = 1 << 20;
/// Events between the reading thread and the channel: when they are not taken, the thread waits and the file is the queue.
const ON_THE_WAY: usize = 2;

/// How much of what a log already holds is read at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// At most so many bytes from the end, from the first whole line.
    pub bytes: u64,
    /// And no entry before this moment.
    pub since: Option<Timestamp>,
}

impl Default for History {
    /// The last 4 MiB.
    fn default() -> Self {
        Self { bytes: 4 * MEGABYTE, since: None }
    }
}

impl History {
    /// Nothing: only what is written from now on.
    pub const NONE: Self = Self { bytes: 0, since: None };

    /// Everything that the file holds.
    pub const ALL: Self = Self { bytes: u64::MAX, since: None };
}

/// Follows one error log.
#[derive(Debug)]
pub struct ErrorLogSource(LogSource<ErrorLines>);

impl ErrorLogSource {
    /// A source for the error log of `host` at `path`.
    #[must_use]
    pub fn new(host: &Arc<str>, path: impl Into<PathBuf>, history: History) -> Self {
        Self(LogSource::new(host, SourceKind::ErrorLog, path.into(), history, ErrorLines::default()))
    }
}

impl Source for ErrorLogSource {
    fn id(&self) -> SourceId {
        self.0.id.clone()
    }

    fn run(&mut self, out: &Outlet) -> impl Future<Output = io::Result<()>> + Send {
        self.0.run(out)
    }
}

/// Follows one access log.
#[derive(Debug)]
pub struct AccessLogSource(LogSource<AccessLines>);

impl AccessLogSource {
    /// A source for the access log of `host` at `path`, whose lines are written in `format`.
    #[must_use]
    pub fn new(host: &Arc<str>, path: impl Into<PathBuf>, history: History, format: Format) -> Self {
        Self(LogSource::new(host, SourceKind::AccessLog, path.into(), history, AccessLines::new(format)))
    }
}

impl Source for AccessLogSource {
    fn id(&self) -> SourceId {
        self.0.id.clone()
    }

    fn run(&mut self, out: &Outlet) -> impl Future<Output = io::Result<()>> + Send {
        self.0.run(out)
    }
}

/// What the last part of an error log holds now, for one look.
///
/// # Errors
/// When `path` cannot be read; the text names the path and what would help.
pub fn read_error_tail(path: &Path, history: History) -> io::Result<ErrorBatch> {
    let Batch { entries, read } = read_tail(path, history, ErrorLines::default())?;
    Ok(ErrorBatch { entries, read })
}

/// The same for an access log.
///
/// # Errors
/// When `path` cannot be read; the text names the path and what would help.
pub fn read_access_tail(path: &Path, history: History, format: Format) -> io::Result<AccessBatch> {
    let Batch { entries, read } = read_tail(path, history, AccessLines::new(format))?;
    Ok(AccessBatch { entries, read })
}

fn read_tail<P: LineParser>(path: &Path, history: History, parser: P) -> io::Result<Batch<P::Entry>> {
    let mut collector = Collector::new(parser, history.since, usize::MAX);
    // A line that was finished during the look is not part of it.
    let only_history = &mut |line: Line<'_>| {
        if line.existed {
            collector.line(line);
        }
    };
    Follower::new(path, Start::LastBytes(history.bytes))
        .read_existing(Instant::now(), only_history)
        .map_err(|o| io::Error::new(o.kind(), format!("{}: {o} ({})", shown(path), o.remedy())))?;
    let empty =
        Batch { read: crate::event::log::ReadFigures { history: true, ..Default::default() }, ..Batch::default() };
    Ok(collector.take(0).pop().unwrap_or(empty))
}

fn shown(path: &Path) -> String {
    human::visible(path.as_os_str().as_encoded_bytes())
}

/// Any log: a file, a parser, and what was read before.
#[derive(Debug)]
struct LogSource<P> {
    id: SourceId,
    path: PathBuf,
    history: History,
    parser: P,
    started: bool,
}

impl<P: LineParser> LogSource<P> {
    fn new(host: &Arc<str>, kind: SourceKind, path: PathBuf, history: History, parser: P) -> Self {
        Self { id: SourceId::named(host, kind, &shown(&path)), path, history, parser, started: false }
    }

    /// Reads on a thread of its own, because reading a file blocks, and passes on what it brings. Dropping the future
    /// ends the thread: its channel is closed and its wait is woken.
    async fn run(&mut self, out: &Outlet) -> io::Result<()> {
        let (to, mut from) = mpsc::channel(ON_THE_WAY);
        let wake = Wake::default();
        let _stop = wake.stop_on_drop();
        self.start_thread(to, wake)?;
        loop {
            tokio::select! {
                event = from.recv() => match event {
                    Some(event) => out.send(event).await?,
                    None => return Err(io::Error::other(format!("{}: the reading thread ended", shown(&self.path)))),
                },
                () = out.closed() => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
    }

    fn start_thread(&mut self, to: mpsc::Sender<Event>, wake: Wake) -> io::Result<()> {
        // After a failure what was read before must not come twice.
        let start = if self.started { Start::End } else { Start::LastBytes(self.history.bytes) };
        let path = self.path.clone();
        let mut desk = Desk {
            path: shown(&path),
            collector: Collector::new(self.parser.clone(), self.history.since, MOST_ENTRIES),
            told: None,
            to,
        };
        thread::Builder::new().name("log".to_owned()).spawn(move || tail::follow(&path, start, &wake, &mut desk))?;
        self.started = true;
        Ok(())
    }
}

/// Where the lines of one file become events.
struct Desk<P: LineParser> {
    path: String,
    collector: Collector<P>,
    told: Option<Sense>,
    to: mpsc::Sender<Event>,
}

impl<P: LineParser> Reader for Desk<P> {
    fn line(&mut self, line: Line<'_>) {
        self.collector.line(line);
    }

    fn polled(&mut self, progress: &Progress, watching: &Watching) -> ControlFlow<()> {
        let sense = sense(&self.path, progress, watching);
        if self.told.as_ref() != Some(&sense) {
            self.told = Some(sense.clone());
            self.send(Event::Sense(sense))?;
        }
        for batch in self.collector.take(progress.behind) {
            self.send(P::event(batch))?;
        }
        ControlFlow::Continue(())
    }
}

impl<P: LineParser> Desk<P> {
    fn send(&self, event: Event) -> ControlFlow<()> {
        match self.to.blocking_send(event) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}

/// How well the log can be seen: the worst thing first. Every text stays the same while the state does.
fn sense(path: &str, progress: &Progress, watching: &Watching) -> Sense {
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
    match watching {
        Watching::Events => Sense::seen(format!("following {path}")),
        Watching::Remote(kind) => Sense::seen(format!("following {path} by polling ({kind})")),
        Watching::PollOnly { why, remedy } => {
            Sense::degraded(format!("watching {path} by polling only: {why}"), *remedy)
        }
    }
}

#[cfg(test)]
mod tests;
