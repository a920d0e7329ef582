//! Which files to read in which order: patterns spread out, rotated parts of one log put together, kinds recognised.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

use super::open::{Packing, open, said, unpacked};
use super::request::LogKind;
use crate::nginx::access::Format;
use crate::nginx::error::{TimeCache, skim};
use crate::source::rotated::{log_of, number};
use crate::time::Timestamp;

/// Bytes at the beginning of a log by which its kind is told.
pub(super) const SAMPLE: usize = 64 * 1024;
/// Lines of them that are tried.
const TRIED: usize = 200;
/// Plain files that are held open to be read in parts; more are read one by one.
const HELD: usize = 256;

/// One file to read.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) path: PathBuf,
    /// The log whose part it is.
    pub(super) log: PathBuf,
    pub(super) how: How,
    /// Known beforehand for regular files only.
    pub(super) kind: LogKind,
    /// Bytes on the disk; `None` for a pipe.
    pub(super) size: Option<u64>,
    first: Option<Timestamp>,
}

/// How a file is read.
#[derive(Debug)]
pub(super) enum How {
    /// In parts, at any place.
    Parts(File),
    /// From the beginning to the end; `sampled`: its kind is known.
    Stream { sampled: bool },
    /// The standard input.
    Stdin,
    /// Not at all.
    Refused(String),
}

/// The files that `paths` name, in reading order.
pub(super) fn plan(paths: &[PathBuf], formats: &[Format]) -> Vec<Planned> {
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    for path in paths {
        for one in spread(path) {
            let held = all.iter().filter(|p: &&Planned| matches!(p.how, How::Parts(_))).count();
            let planned = Planned::look(&one, formats, held < HELD, &mut seen);
            all.extend(planned);
        }
    }
    order(&mut all);
    all
}

/// A path, or the files that match it if there is none of that name.
pub(super) fn spread(path: &Path) -> Vec<PathBuf> {
    let text = path.to_string_lossy();
    let is_pattern = text.contains(['*', '?', '[']) && !path.exists();
    let found = if is_pattern { glob::glob(&text).ok() } else { None };
    let found: Vec<PathBuf> = found.into_iter().flatten().filter_map(Result::ok).filter(|p| !p.is_dir()).collect();
    if found.is_empty() { vec![path.to_owned()] } else { found }
}

/// Rotated parts of a log stand together where its first part was named, the oldest first: by the time of their first
/// line, and where one has none by the number in the name, of which a higher one is older.
fn order(all: &mut [Planned]) {
    let logs: Vec<PathBuf> = all.iter().map(|p| p.log.clone()).collect();
    let place = |log: &Path| logs.iter().position(|l| l == log);
    all.sort_by_cached_key(|p| (place(&p.log), std::cmp::Reverse(number(&p.path))));
    for set in all.chunk_by_mut(|a, b| a.log == b.log) {
        if set.iter().all(|p| p.first.is_some()) {
            set.sort_by_key(|p| p.first);
        }
    }
}

impl Planned {
    /// Looks at a path; `None`: the same file was named before.
    fn look(path: &Path, formats: &[Format], hold: bool, seen: &mut HashSet<(u64, u64)>) -> Option<Self> {
        let log = log_of(path);
        let new = |how, size| Self {
            path: path.to_owned(),
            log: log.clone(),
            how,
            kind: LogKind::Unknown,
            size,
            first: None,
        };
        if path.as_os_str() == "-" {
            return seen.insert((0, 0)).then(|| new(How::Stdin, None));
        }
        let looked = path.metadata().and_then(|meta| {
            // A pipe opens only when its other end does: whoever reads it waits, not the plan.
            let file = if meta.is_file() || meta.is_dir() { Some(open(path)?) } else { None };
            Ok((meta, file))
        });
        let (meta, file) = match looked {
            Ok(found) => found,
            Err(e) => return Some(new(How::Refused(said(path, &e)), Some(0))),
        };
        if !seen.insert((meta.dev(), meta.ino())) {
            return None;
        }
        let Some(file) = file else { return Some(new(How::Stream { sampled: false }, None)) };
        let (sample, packing) = sample_of(&file);
        let how = if packing == Packing::Plain && hold { How::Parts(file) } else { How::Stream { sampled: true } };
        let (kind, first) = kind_of(&sample, formats);
        Some(Self { kind, first, ..new(how, Some(meta.len())) })
    }
}

/// The first text in a file. What cannot be read says so when the file is read.
fn sample_of(file: &File) -> (Vec<u8>, Packing) {
    let mut raw = Vec::new();
    let limited = AtFront(file, 0);
    let _ = limited.take(6).read_to_end(&mut raw);
    let packing = Packing::of(&raw);
    let done = AtomicU64::new(0);
    let mut sample = Vec::new();
    if let Ok(text) = unpacked(AtFront(file, 0), &done) {
        let _ = text.take(SAMPLE as u64).read_to_end(&mut sample);
    }
    (sample, packing)
}

/// Reads a file from its beginning without moving its place.
struct AtFront<'f>(&'f File, u64);

impl Read for AtFront<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = std::os::unix::fs::FileExt::read_at(self.0, buf, self.1)?;
        self.1 += n as u64;
        Ok(n)
    }
}

/// What kind of log begins with `sample`, and its first time: what reads most lines wins.
pub(super) fn kind_of(sample: &[u8], formats: &[Format]) -> (LogKind, Option<Timestamp>) {
    let mut times = TimeCache::new();
    let mut errors = sample_lines(sample).filter_map(|l| times.at(skim::head(l)?.time));
    let first = errors.next();
    let mut best = (LogKind::Unknown, first, 0);
    if first.is_some() {
        best = (LogKind::Error, first, 1 + errors.count());
    }
    // What reads every line is beaten by nothing.
    let formats = if best.2 == sample_lines(sample).count() { &[] } else { formats };
    for (number, format) in formats.iter().enumerate() {
        let mut read = sample_lines(sample).filter_map(|l| format.read(l));
        let Some(line) = read.next() else { continue };
        let hits = 1 + read.count();
        if hits > best.2 {
            best = (LogKind::Access(number), line.at, hits);
        }
    }
    match best {
        // With a time in both, each line tells which it is.
        (LogKind::Access(number), Some(at), _) if first.is_some() => {
            (LogKind::Mixed(number), first.map(|first| first.min(at)))
        }
        (kind, at, _) => (kind, at),
    }
}

fn sample_lines(sample: &[u8]) -> impl Iterator<Item = &[u8]> {
    let trimmed = |l| {
        let l: &[u8] = l;
        let hole = l.iter().take_while(|b| **b == 0).count();
        let l = l.get(hole..).unwrap_or_default();
        l.strip_suffix(b"\r").unwrap_or(l)
    };
    sample.split(|b| *b == b'\n').map(trimmed).filter(|l| !l.is_empty()).take(TRIED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_is_what_reads_most_lines() {
        let formats = [Format::combined()];
        let error = "2026/11/21 14:02:31 [error] 7#7: x\n";
        let access = "1.1.1.1 - - [21/Nov/2026:14:02:31 +0000] \"GET / HTTP/1.1\" 101 42 \"-\" \"-\"\n";
        let kind = |text: &str| kind_of(text.as_bytes(), &formats).0;
        assert_eq!(kind(error), LogKind::Error);
        assert_eq!(kind(access), LogKind::Access(0));
        assert_eq!(kind(&format!("tail of an entry\n{error}{error}{access}")), LogKind::Error);
        assert_eq!(kind(&format!("{error}{access}{access}")), LogKind::Mixed(0));
        assert_eq!(kind("\x7fELF\0\0binary\n"), LogKind::Unknown);
        assert_eq!(kind(""), LogKind::Unknown);
    }
}
