//! What to read and what to count of it, and what came out.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use regex::bytes::Regex;

use crate::event::backend::BackendEntry;
use crate::event::handshake::{Attempts, Handshake};
use crate::event::log::{AccessEntry, Category, ErrorEntry};
use crate::event::tally::Tally;
use crate::nginx::access::Format;
use crate::time::{Timestamp, Zone};

/// Which logs to read, and how.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Files, globs, and `-` for the standard input.
    pub paths: Vec<PathBuf>,
    /// Formats that access logs may be written in, tried in this order; none means `combined`.
    pub formats: Vec<Format>,
    /// Which entries to count.
    pub filter: Filter,
    /// Where the clock of the error logs hung: their times bear no offset.
    pub zone: Zone,
    /// Threads that read; `None`: as many as the machine has cores for this program.
    pub threads: Option<NonZeroUsize>,
}

/// Which entries count. A line that continues an entry, and one that fits no grammar, shares the fate of the entry before.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// None before this moment.
    pub since: Option<Timestamp>,
    /// None after this moment.
    pub until: Option<Timestamp>,
    /// Only of these categories, if any are given; entries of access logs have none.
    pub categories: Vec<Category>,
    /// Only whose line, without those that continue it, matches.
    pub grep: Option<Regex>,
    /// Only those that are chosen by what is in them; asked last, since an entry must be read whole for it.
    pub choice: Option<Choice>,
}

/// An entry of a log as a choice sees it.
#[derive(Clone, Copy, Debug)]
pub enum LogEntry<'a> {
    /// Of an error log.
    Error(&'a ErrorEntry),
    /// Of an access log.
    Access(&'a AccessEntry),
    /// Of a backend's own log.
    Backend(&'a BackendEntry),
    /// An attempt that debug lines of an error log tell of.
    Handshake(&'a Handshake),
}

/// Chooses entries by what is in them.
#[derive(Clone)]
pub struct Choice(Arc<dyn Fn(LogEntry<'_>) -> bool + Send + Sync>);

impl Choice {
    /// Those for which this is true.
    pub fn new(wanted: impl Fn(LogEntry<'_>) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(wanted))
    }
}

impl fmt::Debug for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Choice(..)")
    }
}

impl Filter {
    /// Whether anything is left out.
    #[must_use]
    pub fn is_set(&self) -> bool {
        let by_time = self.since.is_some() || self.until.is_some();
        by_time || !self.categories.is_empty() || self.grep.is_some() || self.choice.is_some()
    }

    /// Whether an entry is chosen by what is in it; `read` reads it whole, which is done only for a choice.
    pub(super) fn chooses<E>(
        &self,
        read: impl FnOnce() -> Option<E>,
        seen: impl for<'a> FnOnce(&'a E) -> LogEntry<'a>,
    ) -> bool {
        self.choice.as_ref().is_none_or(|choice| read().is_some_and(|entry| choice.0(seen(&entry))))
    }

    /// Whether an entry counts but for [`Filter::chooses`]. One without a time is before and after nothing.
    pub(super) fn admits(&self, at: Option<Timestamp>, category: Option<Category>, line: &[u8]) -> bool {
        let in_time = match at {
            Some(at) => self.since.is_none_or(|s| at >= s) && self.until.is_none_or(|u| at <= u),
            None => self.since.is_none() && self.until.is_none(),
        };
        in_time
            && (self.categories.is_empty() || category.is_some_and(|c| self.categories.contains(&c)))
            && self.grep.as_ref().is_none_or(|g| g.is_match(line))
    }
}

/// How far the reading is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of files read, compressed ones as they lie on the disk.
    pub done: u64,
    /// Bytes of all files; `None` when one of them is a pipe.
    pub total: Option<u64>,
}

/// What the logs said in sum, and how each file fared.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The sum.
    pub tally: Tally,
    /// Every file in the order in which it counts: rotated ones of a log together, the oldest first.
    pub files: Vec<FileOutcome>,
    /// Attempts to open a WebSocket that the debug lines of error logs tell of; `None`: there was no debug line.
    pub handshakes: Option<Attempts>,
}

/// How one file fared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileOutcome {
    /// The file, or `-`.
    pub path: PathBuf,
    /// What it turned out to be.
    pub kind: LogKind,
    /// The log whose rotated part it is; equal for all files of a set.
    pub log: PathBuf,
    /// Bytes of log text read from it, after decompression.
    pub bytes: u64,
    /// One sentence that names the file, what went wrong and what helps; what was readable is counted all the same.
    pub error: Option<String>,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogKind {
    /// Lines of nginx's error log.
    Error,
    /// Lines of an access log, in the format of this number in [`Request::formats`] (0 is `combined` when none were given).
    Access(usize),
    /// Both in one stream, as container tools print it; the access lines, or the first of them, are in this format.
    Mixed(usize),
    /// Nothing that fits either: empty, or no log. Its lines count as those of an error log.
    #[default]
    Unknown,
}

impl LogKind {
    /// What a file is of which one part is this and another one that.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Mixed(_), _) | (_, Self::Unknown) => self,
            (_, Self::Mixed(_)) | (Self::Unknown, _) => other,
            _ => self,
        }
    }
}
