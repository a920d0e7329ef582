//! A followed file and a parser: lines of error and access logs turned into events.

mod batch;
mod desk;
mod mixed;
mod newest;
mod parsers;
mod past;
mod pattern;
mod pipe;

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use tokio::sync::mpsc;

use super::tail::{self, Follower, Line, Start, Wake, is_pipe};
use super::{Outlet, Source};
use crate::event::log::{AccessBatch, ErrorBatch};
use crate::event::site::Escape;
use crate::event::{Event, Sense, SourceId, SourceKind};
use crate::human;
use crate::nginx::access::Format;
use crate::time::Zone;

use batch::{Batch, Collector, LineParser, MOST_ENTRIES};
use desk::{Desk, Told, Unread};
use mixed::MixedLines;
use parsers::{AccessLines, BackendLines, ErrorLines};
use past::Past;

pub use newest::newest;
pub use past::History;
pub use pattern::{Match, Matches, PatternSource, is_pattern, matching};

/// Events between the reading thread and the channel: when they are not taken, the thread waits and the file is the queue.
const ON_THE_WAY: usize = 2;
/// The name of the standard input among the paths of logs.
pub const STDIN: &str = "-";
/// What ingress-nginx calls `upstreaminfo`, its own default (kubernetes.github.io, ingress-nginx, "Log format").
const INGRESS: &str = concat!(
    r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" "#,
    "$request_length $request_time [$proxy_upstream_name] [$proxy_alternative_upstream_name] $upstream_addr ",
    "$upstream_response_length $upstream_response_time $upstream_status $req_id"
);

/// Follows one error log.
#[derive(Debug)]
pub struct ErrorLogSource(LogSource<ErrorLines>);

impl ErrorLogSource {
    /// A source for the error log of `host` at `path`.
    #[must_use]
    pub fn new(host: &Arc<str>, path: impl Into<PathBuf>, history: History) -> Self {
        Self(LogSource::new(host, SourceKind::ErrorLog, path.into(), history, ErrorLines::default()))
    }

    /// The same for a log whose clock hung in `zone` instead of this machine's.
    #[must_use]
    pub fn in_zone(mut self, zone: Zone) -> Self {
        self.0.parser = ErrorLines::in_zone(zone);
        self
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

/// Follows one stream of error and access lines: the standard input, which container tools and journald are piped into.
#[derive(Debug)]
pub struct MixedLogSource(LogSource<MixedLines>);

impl MixedLogSource {
    /// A source for the lines of both kinds at `path`, or on the standard input for [`STDIN`]. `kind` is what they were said
    /// to be; lines of the other kind are told of when they come. Access lines are read in `format`; with `None` in the
    /// one of `combined` and ingress-nginx's own that fits. The lines of a stream are not history: of `history` only the
    /// moment counts for them.
    #[must_use]
    pub fn new(
        host: &Arc<str>,
        kind: SourceKind,
        path: impl Into<PathBuf>,
        history: History,
        zone: Zone,
        format: Option<Format>,
    ) -> Self {
        let usual = || Format::compile(INGRESS, Escape::Default).into_iter().chain([Format::combined()]).collect();
        let parser = MixedLines::new(zone, format.map_or_else(usual, |f| vec![f]));
        Self(LogSource::new(host, kind, path.into(), history, parser))
    }

    /// Both kinds were asked for: both have a light from the start.
    #[must_use]
    pub fn of_both_kinds(mut self) -> Self {
        self.0.lights = vec![SourceKind::ErrorLog, SourceKind::AccessLog];
        self
    }
}

impl Source for MixedLogSource {
    fn id(&self) -> SourceId {
        self.0.id.clone()
    }

    fn run(&mut self, out: &Outlet) -> impl Future<Output = io::Result<()>> + Send {
        self.0.run(out)
    }
}

/// Follows one backend's own log, in whatever way it is written.
#[derive(Debug)]
pub struct BackendLogSource(LogSource<BackendLines>);

impl BackendLogSource {
    /// A source for the log at `path` of a backend of `host`.
    #[must_use]
    pub fn new(host: &Arc<str>, path: impl Into<PathBuf>, history: History) -> Self {
        Self(LogSource::new(host, SourceKind::BackendLog, path.into(), history, BackendLines::default()))
    }
}

impl Source for BackendLogSource {
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
    let Batch { entries, handshakes, read } = read_tail(path, history, ErrorLines::default())?;
    Ok(ErrorBatch { entries, handshakes, read })
}

/// The same for an access log.
///
/// # Errors
/// When `path` cannot be read; the text names the path and what would help.
pub fn read_access_tail(path: &Path, history: History, format: Format) -> io::Result<AccessBatch> {
    let Batch { entries, read, .. } = read_tail(path, history, AccessLines::new(format))?;
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

/// Under which name the source of the log at `path` speaks.
#[must_use]
pub fn id(host: &Arc<str>, kind: SourceKind, path: &Path) -> SourceId {
    SourceId::named(host, kind, &shown(path))
}

fn shown(path: &Path) -> String {
    if path.as_os_str() == STDIN {
        return "the standard input".to_owned();
    }
    human::visible(path.as_os_str().as_encoded_bytes())
}

/// Any log: a file or a stream, a parser, and what was read before.
#[derive(Debug)]
struct LogSource<P> {
    id: SourceId,
    path: PathBuf,
    history: History,
    parser: P,
    started: bool,
    /// The kinds of logs whose lights it holds: its own first.
    lights: Vec<SourceKind>,
}

impl<P: LineParser> LogSource<P> {
    fn new(host: &Arc<str>, kind: SourceKind, path: PathBuf, history: History, parser: P) -> Self {
        let id = id(host, kind, &path);
        Self { id, path, history, parser, started: false, lights: vec![kind] }
    }

    /// Reads on a thread of its own, because reading a file blocks, and passes on what it brings. Dropping the future
    /// ends the thread: its channel is closed and its wait is woken.
    async fn run(&mut self, out: &Outlet) -> io::Result<()> {
        let (to, mut from) = mpsc::channel(ON_THE_WAY);
        let wake = Wake::default();
        let _stop = wake.stop_on_drop();
        self.start_thread(to, wake)?;
        let mut light = None;
        loop {
            tokio::select! {
                told = from.recv() => match told {
                    Some(Told::Event(kind, event)) => self.pass_on(out, kind, event, &mut light).await?,
                    Some(Told::Ended) => return Ok(()),
                    None => return Err(io::Error::other(format!("{}: the reading thread ended", shown(&self.path)))),
                },
                () = out.closed() => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
    }

    /// A log of several kinds speaks as each of them; a kind of which it had no line yet has no light.
    async fn pass_on(
        &mut self,
        out: &Outlet,
        kind: Option<SourceKind>,
        event: Event,
        light: &mut Option<Sense>,
    ) -> io::Result<()> {
        let as_kind = |kind| out.for_source(SourceId { kind, ..self.id.clone() });
        if let Event::Sense(sense) = event {
            for kind in &self.lights {
                as_kind(*kind).sense(sense.clone()).await?;
            }
            *light = Some(sense);
            return Ok(());
        }
        let kind = kind.unwrap_or(self.id.kind);
        let out = as_kind(kind);
        if !self.lights.contains(&kind) {
            self.lights.push(kind);
            if let Some(sense) = light {
                out.sense(sense.clone()).await?;
            }
        }
        out.send(event).await
    }

    fn start_thread(&mut self, to: mpsc::Sender<Told>, wake: Wake) -> io::Result<()> {
        // After a failure what was read before must not come twice.
        let history = if self.started { History::NONE } else { self.history };
        let path = self.path.clone();
        let collector = Collector::new(self.parser.clone(), self.history.since, MOST_ENTRIES);
        let mut desk = Desk::new(path.clone(), shown(&path), collector, to);
        let read = move || {
            if path.as_os_str() == STDIN {
                desk.collector = desk.collector.strict();
                pipe::read_stdin(&wake, &mut desk);
                let _ = desk.send(Told::Ended);
                return;
            }
            let mut start =
                if is_pipe(&path) { Some(Start::Beginning) } else { begin(&path, history, &wake, &mut desk) };
            while let Some(from) = start.take().filter(|_| !wake.is_stopped()) {
                if is_pipe(&path) {
                    pipe::read_pipe(&path, &wake, &mut desk);
                } else {
                    tail::follow(&path, from, &wake, &mut desk);
                }
                // A file where a pipe was is a new log, and a pipe has no beginning.
                start = (!desk.to.is_closed()).then_some(Start::Beginning);
            }
        };
        thread::Builder::new().name("log".to_owned()).spawn(read)?;
        self.started = true;
        Ok(())
    }
}

/// Reads the rotated parts that belong to the history; gives where the log itself begins, or `None` when nobody listens.
fn begin<P: LineParser>(path: &Path, history: History, wake: &Wake, desk: &mut Desk<P>) -> Option<Start> {
    if !desk.collector.tells_time() {
        desk.unread = (history != History::NONE).then_some(Unread::Timeless);
        return Some(Start::End);
    }
    let past = Past::of(path, history, &mut |line| desk.collector.time_of(line));
    desk.collector.begin(past.amid);
    desk.unread =
        past.cut.zip(history.since).map(|(cut, since)| Unread::Before(cut, Instant::now() + cut.since(since)));
    let mut left = past.bytes;
    for (part, start) in past.parts {
        let mut follower = Follower::new(&part, start);
        loop {
            let mut taken = 0;
            let progress = follower.poll(Instant::now(), &mut |line| {
                taken += line.bytes.len() as u64 + 1;
                desk.collector.line(line);
            });
            left = left.saturating_sub(taken);
            if wake.is_stopped() || desk.hand_over(left).is_break() {
                return None;
            }
            if !progress.more {
                break;
            }
        }
        follower.end(&mut |line| desk.collector.line(line));
    }
    Some(past.start)
}

#[cfg(test)]
mod tests;
