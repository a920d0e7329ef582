//! Follows one file: rotation, truncation, partial lines, gone and back. Knows no parser.
//!
//! *The file is the queue and stat decides*: inotify only wakes, and is not even asked while the file is busy. What is read is each whole line exactly once, in the
//! order of the file, and over a rotation the lines of the old file before those of the new one.
//!
//! Some losses no follower can prevent or even see, because nothing is left to read: lines that were truncated away, or
//! whose file was rotated away twice or deleted, before any look at it; and lines that are written to a rotated file
//! after it was quiet for [`GRACE`] while the new one was written to.

mod generation;
mod lines;
mod path;
mod watch;

use std::collections::VecDeque;
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use generation::{Bookmark, Generation, Identity, Step};
use watch::Watch;

pub use lines::{LINE_CAP, Line, Splitter};
pub use path::{Obstacle, is_pipe, open};
pub use watch::{StopOnDrop, Wake, Watching};

/// Bytes read at once: larger blocks gain nothing, and so much fits the second-level cache.
pub const BLOCK: usize = 256 * 1024;
/// How long a rotated file must be quiet, while the new one is written to, before it is let go: nginx's workers go on
/// writing to it until they have handled USR1.
pub const GRACE: Duration = Duration::from_secs(10);
/// The same while nothing was written to the new file: nginx may not have been told yet.
const LONGEST_GRACE: Duration = Duration::from_secs(600);
/// A writer that still writes to the rotated file after this was never told to reopen it.
const FORGOTTEN: Duration = Duration::from_secs(30);
/// In a rotation the path leads nowhere for a moment; only after this it is said.
const GAP: Duration = Duration::from_secs(3);
/// Rotated files that are held open at most.
const MOST_HELD: usize = 8;

/// Where to begin in a file that exists already. A file that appears later is read from its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the first byte.
    Beginning,
    /// At the first line that begins in the last so many bytes.
    LastBytes(u64),
    /// At the first line that begins at this offset or behind it, if the file is the one of this device and inode number;
    /// at the first byte of any other file.
    At {
        /// The device.
        device: u64,
        /// The inode number on it.
        inode: u64,
        /// In bytes.
        offset: u64,
    },
    /// After what is there; an unfinished line there is skipped.
    End,
}

/// What one look at the file brought, besides lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// There is more to read at once.
    pub more: bool,
    /// Bytes that are in the file and not read yet.
    pub behind: u64,
    /// Why the path cannot be followed now; a rotated file may still be read meanwhile.
    pub obstacle: Option<Obstacle>,
    /// A file is open, be it the one at the path or a rotated one.
    pub holding: bool,
    /// For how long the rotated file has been written to after the path began to lead to another one, when that is
    /// longer than any reopening takes: the writer was never told.
    pub forgotten: Option<Duration>,
}

/// Follows one path through all the files that it comes to lead to.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    /// How to begin with a file that was there before the start; `None` for every later one.
    start: Option<Start>,
    /// Oldest first; the last one is where the path leads, or led.
    held: Vec<Generation>,
    /// Files that were let go.
    marks: VecDeque<Bookmark>,
    obstacle: Option<(Obstacle, Instant)>,
    /// The descriptor of the newest file failed: take a new one.
    stale: bool,
    block: Vec<u8>,
}

impl Follower {
    /// A follower of `path`; nothing is opened before the first [`Follower::poll`].
    #[must_use]
    pub fn new(path: &Path, start: Start) -> Self {
        Self::with_block(path, start, BLOCK)
    }

    /// The same with another block size in bytes, at least 1.
    #[must_use]
    pub fn with_block(path: &Path, start: Start, block: usize) -> Self {
        Self {
            path: path.to_path_buf(),
            start: Some(start),
            held: Vec::new(),
            marks: VecDeque::new(),
            obstacle: None,
            stale: false,
            block: vec![0; block.max(1)],
        }
    }

    /// Looks once: at the path, then reads at most one block of each held file and passes each whole line to `sink`.
    pub fn poll(&mut self, now: Instant, sink: &mut dyn FnMut(Line<'_>)) -> Progress {
        self.look(now);
        let more = self.read(now, sink);
        if !more {
            self.let_go(now, sink);
        }
        Progress {
            more,
            behind: self.held.iter().map(Generation::behind).sum(),
            obstacle: self.told_obstacle(now),
            holding: !self.held.is_empty(),
            forgotten: self.forgotten(now),
        }
    }

    /// Reads what is there at the first look and no further, so that it ends however fast the file grows; a last line
    /// without an end counts. Lines that were finished later may come too, as not having existed.
    ///
    /// # Errors
    /// The obstacle, when there is no file to read.
    pub fn read_existing(mut self, now: Instant, sink: &mut dyn FnMut(Line<'_>)) -> Result<(), Obstacle> {
        while self.poll(now, sink).more && self.held.iter().any(Generation::has_existing_left) {}
        if let (true, Some((obstacle, _))) = (self.held.is_empty(), self.obstacle.take()) {
            return Err(obstacle);
        }
        self.end(sink);
        Ok(())
    }

    /// Ends the following: what is held of unfinished lines counts as lines.
    pub fn end(self, sink: &mut dyn FnMut(Line<'_>)) {
        for generation in self.held {
            generation.close(sink);
        }
    }

    fn look(&mut self, now: Instant) {
        let outcome = match fs::metadata(&self.path) {
            Ok(meta) => self.adopt(&meta, now),
            Err(e) => Err(e.into()),
        };
        match outcome {
            Ok(()) => self.obstacle = None,
            Err(obstacle) => {
                if obstacle == Obstacle::Missing {
                    // Whatever appears here was written after the start.
                    self.start = None;
                }
                let since = self.obstacle.take().map_or(now, |(_, since)| since);
                self.obstacle = Some((obstacle, since));
            }
        }
    }

    /// Makes the file at the path the newest one, unless it is that already.
    fn adopt(&mut self, seen: &fs::Metadata, now: Instant) -> Result<(), Obstacle> {
        let identity = Identity::of(seen);
        if let Some(newest) = self.held.last_mut()
            && newest.identity == identity
        {
            // An overlay file system shows the copy that the writer made under the same inode number, while the
            // descriptor still shows the layer below: the path knows more than the descriptor.
            let behind_path = newest.measure().is_ok_and(|size| size < seen.len());
            if behind_path || self.stale {
                let (file, meta) = path::open(&self.path)?;
                if Identity::of(&meta) == identity {
                    newest.exchange(file);
                    self.stale = false;
                }
            }
            return Ok(());
        }
        if let Some(newest) = self.held.last_mut() {
            newest.left_at.get_or_insert(now);
        }
        if let Some(at) = self.held.iter().position(|g| g.identity == identity) {
            let mut back = self.held.remove(at);
            back.left_at = None;
            self.held.push(back);
            return Ok(());
        }
        if self.held.len() > MOST_HELD {
            return Ok(());
        }
        let generation = self.open(now)?;
        self.held.push(generation);
        self.stale = false;
        Ok(())
    }

    fn open(&mut self, now: Instant) -> Result<Generation, Obstacle> {
        let (file, meta) = path::open(&self.path)?;
        let start = self.start.take();
        if let Some(at) = self.marks.iter().position(|m| m.identity == Identity::of(&meta))
            && let Some(mark) = self.marks.remove(at)
            && let Some(generation) = Generation::from_bookmark(&file, &meta, &mark, now)?
        {
            return Ok(generation);
        }
        Ok(match start {
            None => Generation::from_start(file, &meta, now),
            Some(Start::Beginning) => Generation::from_last(file, &meta, u64::MAX, now)?,
            Some(Start::LastBytes(bytes)) => Generation::from_last(file, &meta, bytes, now)?,
            Some(Start::End) => Generation::from_last(file, &meta, 0, now)?,
            Some(Start::At { device, inode, offset }) => {
                let same = (meta.dev(), meta.ino()) == (device, inode);
                Generation::from_offset(file, &meta, if same { offset } else { 0 }, now)?
            }
        })
    }

    /// Reads the held files, the oldest first. One writer's lines stay in order over its reopening: the sizes are taken
    /// from the newest file down *before* anything is read, so whatever lies below a size was written before the reading
    /// of the older file reached its end.
    fn read(&mut self, now: Instant, sink: &mut dyn FnMut(Line<'_>)) -> bool {
        let mut limits: Vec<u64> = self.held.iter_mut().rev().map(|g| g.measure().unwrap_or(u64::MAX)).collect();
        limits.reverse();
        if let Some(oldest) = limits.first_mut() {
            *oldest = u64::MAX;
        }
        let mut at = 0;
        for limit in limits {
            let Some(generation) = self.held.get_mut(at) else { break };
            match generation.step(limit, &mut self.block, now, sink) {
                Ok(Step::Drained) => at += 1,
                Ok(Step::More) => return true,
                Err(e) => at += self.failed(at, e, now, sink),
            }
        }
        false
    }

    /// A read failed: an old file is given up, the newest is opened anew at the next look. Says how far to step on.
    fn failed(&mut self, at: usize, e: std::io::Error, now: Instant, sink: &mut dyn FnMut(Line<'_>)) -> usize {
        let newest = at + 1 == self.held.len();
        if !newest {
            self.held.remove(at).close(sink);
            return 0;
        }
        self.stale = true;
        self.obstacle = Some((e.into(), now.checked_sub(GAP).unwrap_or(now)));
        1
    }

    /// Lets go of rotated files that nobody writes to any more. Where the path leads nowhere, the last file stays: nginx
    /// goes on writing to a deleted one.
    fn let_go(&mut self, now: Instant, sink: &mut dyn FnMut(Line<'_>)) {
        let successor_written = self.held.last().is_some_and(Generation::has_begun);
        let grace = if successor_written { GRACE } else { LONGEST_GRACE };
        let mut at = 0;
        while at + 1 < self.held.len() {
            let g = &self.held[at];
            let quiet_since = g.left_at.map_or(g.grown_at, |left| left.max(g.grown_at));
            if now.saturating_duration_since(quiet_since) < grace && self.held.len() <= MOST_HELD {
                at += 1;
                continue;
            }
            self.marks.push_back(self.held.remove(at).close(sink));
            if self.marks.len() > MOST_HELD {
                self.marks.pop_front();
            }
        }
    }

    fn told_obstacle(&self, now: Instant) -> Option<Obstacle> {
        let (obstacle, since) = self.obstacle.as_ref()?;
        let long = self.held.is_empty() || now.saturating_duration_since(*since) >= GAP;
        long.then(|| obstacle.clone())
    }

    fn forgotten(&self, now: Instant) -> Option<Duration> {
        let (_, old) = self.held.split_last()?;
        let for_how_long = |g: &Generation| {
            let recent = now.saturating_duration_since(g.grown_at) < FORGOTTEN;
            g.left_at.map(|left| g.grown_at.saturating_duration_since(left)).filter(|d| recent && *d >= FORGOTTEN)
        };
        old.iter().filter_map(for_how_long).max()
    }
}

/// Takes what a followed file brings.
pub trait Reader {
    /// One line.
    fn line(&mut self, line: Line<'_>);

    /// One look is over; the lines since the last call belong to it. `Break` ends the following.
    fn polled(&mut self, progress: &Progress, watching: &Watching) -> ControlFlow<()>;
}

/// Follows `path` on the current thread until the reader breaks or `wake` is stopped.
pub fn follow(path: &Path, start: Start, wake: &Wake, reader: &mut dyn Reader) {
    let mut follower = Follower::new(path, start);
    let mut watch = Watch::new(path, wake.clone());
    let mut grew = false;
    while !wake.is_stopped() {
        let progress = follower.poll(Instant::now(), &mut |line| {
            grew = true;
            reader.line(line);
        });
        if reader.polled(&progress, watch.watching()).is_break() {
            return;
        }
        if !progress.more {
            watch.wait(std::mem::take(&mut grew));
        }
    }
}
