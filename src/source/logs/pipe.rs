//! Reads a log that is no file: the standard input, or a pipe whose writers come and go.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;

use crate::source::tail::{BLOCK, Line, Splitter, Wake, is_pipe};

/// How long a wait for bytes or for a writer may keep the thread from noticing that it is told to end.
const PATIENCE: Duration = Duration::from_millis(200);
/// Between two looks at whether the path still leads to this pipe.
const STILL_THERE: Duration = Duration::from_secs(1);

/// How a stream fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// Somebody may write.
    Open,
    /// A pipe without a writer.
    NoWriter,
    /// The standard input came to its end.
    Ended,
    /// It cannot be read.
    Failed(String),
}

/// Takes what a stream brings.
pub(super) trait PipeReader {
    /// One line.
    fn line(&mut self, line: Line<'_>);

    /// Some bytes were read, or none could be; the lines since the last call belong to it. `Break` ends the reading.
    fn heard(&mut self, flow: &Flow) -> ControlFlow<()>;
}

/// Reads the standard input until it ends, on the current thread. It is never switched to non-blocking: other programs may
/// share it.
pub(super) fn read_stdin(wake: &Wake, reader: &mut dyn PipeReader) {
    let stdin = io::stdin();
    let mut raw = match stdin.as_fd().try_clone_to_owned() {
        Ok(own) => File::from(own),
        Err(e) => {
            let _ = reader.heard(&Flow::Failed(e.to_string()));
            return;
        }
    };
    let mut stream = Stream::default();
    if reader.heard(&Flow::Open).is_break() {
        return;
    }
    while !wake.is_stopped() {
        if !is_ready(&raw) {
            continue;
        }
        let flow = match stream.read(&mut raw, reader) {
            Ok(0) => Flow::Ended,
            Ok(_) => Flow::Open,
            Err(e) if is_passing(&e) => continue,
            Err(e) => Flow::Failed(e.to_string()),
        };
        let over = flow != Flow::Open;
        if reader.heard(&flow).is_break() || over {
            return;
        }
    }
}

/// Reads the pipe at `path` as long as it is one. Returns when the path leads elsewhere, the reader breaks or `wake` is
/// stopped.
pub(super) fn read_pipe(path: &Path, wake: &Wake, reader: &mut dyn PipeReader) {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits();
    let mut pipe = match OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(path) {
        Ok(pipe) => pipe,
        Err(e) => {
            let _ = reader.heard(&Flow::Failed(e.to_string()));
            wake.pause(STILL_THERE);
            return;
        }
    };
    let mut stream = Stream::default();
    let mut looked = Instant::now();
    while !wake.is_stopped() {
        // No bytes without an error mean that no writer has the pipe open (pipe(7)); the next one may come at any time.
        let flow = match stream.read(&mut pipe, reader) {
            Ok(0) => Flow::NoWriter,
            Ok(_) => Flow::Open,
            Err(e) if is_passing(&e) => {
                is_ready(&pipe);
                Flow::Open
            }
            Err(e) => Flow::Failed(e.to_string()),
        };
        if reader.heard(&flow).is_break() {
            return;
        }
        if flow == Flow::NoWriter {
            wake.pause(PATIENCE);
        }
        if matches!(flow, Flow::Failed(_)) || (looked.elapsed() >= STILL_THERE && !is_still(&pipe, path)) {
            wake.pause(PATIENCE);
            return;
        }
        if looked.elapsed() >= STILL_THERE {
            looked = Instant::now();
        }
    }
}

fn is_still(pipe: &File, path: &Path) -> bool {
    let known = pipe.metadata().map(|m| (m.dev(), m.ino()));
    let there = std::fs::metadata(path).map(|m| (m.dev(), m.ino()));
    is_pipe(path) && known.is_ok_and(|k| there.is_ok_and(|t| t == k))
}

/// Waits for bytes or an end, at most [`PATIENCE`].
fn is_ready(file: &File) -> bool {
    let nanoseconds = i64::try_from(PATIENCE.as_nanos()).unwrap_or(0);
    let mut fds = [PollFd::new(file, PollFlags::IN)];
    matches!(poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: nanoseconds })), Ok(1..))
}

fn is_passing(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Bytes cut into lines.
struct Stream {
    splitter: Splitter,
    block: Vec<u8>,
}

impl Default for Stream {
    fn default() -> Self {
        Self { splitter: Splitter::default(), block: vec![0; BLOCK] }
    }
}

impl Stream {
    /// Reads once. At an end what is held becomes a line: its writer has gone.
    fn read(&mut self, from: &mut File, reader: &mut dyn PipeReader) -> io::Result<usize> {
        let got = from.read(&mut self.block)?;
        if got == 0 {
            self.splitter.finish(false, &mut |line| reader.line(line));
        } else {
            self.splitter.feed(self.block.get(..got).unwrap_or_default(), 0, &mut |line| reader.line(line));
        }
        Ok(got)
    }
}
