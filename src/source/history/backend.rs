//! Backends' own logs read once: which known messages of WebSocket libraries they hold, and how often.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

use super::cut::{Cutter, Lines};
use super::open::{open, said, unpacked};
use super::plan::spread;
use super::request::{Filter, LogEntry};
use crate::event::backend::BackendSum;
use crate::nginx::backend;
use crate::nginx::error::TimeCache;
use crate::time::Zone;

/// Bytes read at once.
const BLOCK: usize = 256 * 1024;

/// What backend logs held, and how each file fared.
#[derive(Clone, Debug, Default)]
pub struct BackendOutcome {
    /// The sum.
    pub sum: BackendSum,
    /// Every file in the order in which it was named.
    pub files: Vec<BackendFile>,
}

/// How one file fared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendFile {
    /// The file, or `-`.
    pub path: PathBuf,
    /// Bytes of log text read from it, after decompression.
    pub bytes: u64,
    /// One sentence that names the file, what went wrong and what helps; what was readable is counted all the same.
    pub error: Option<String>,
}

/// Reads these files, patterns among them spread out, whole and one after the other. Lines whose time has no offset were
/// written where the clock hung in `zone`.
#[must_use]
pub fn read_backend_logs(paths: &[PathBuf], filter: &Filter, zone: Zone) -> BackendOutcome {
    let mut counts = Counts {
        sum: BackendSum::default(),
        times: TimeCache::in_zone(zone),
        filter: Some(filter).filter(|f| f.is_set()),
    };
    let read = |path: PathBuf| {
        let (bytes, result) = read_one(&path, &mut counts);
        BackendFile { bytes, error: result.err().map(|e| said(&path, &e)), path }
    };
    let files = paths.iter().flat_map(|p| spread(p)).map(read).collect();
    BackendOutcome { sum: counts.sum, files }
}

fn read_one(path: &Path, counts: &mut Counts<'_>) -> (u64, io::Result<()>) {
    let done = AtomicU64::new(0);
    let text: io::Result<Box<dyn Read>> = if path.as_os_str() == "-" {
        Ok(Box::new(io::stdin().lock()))
    } else {
        open(path).and_then(|file| unpacked(file, &done))
    };
    match text {
        Ok(mut text) => cut(&mut text, counts),
        Err(e) => (0, Err(e)),
    }
}

fn cut(text: &mut dyn Read, counts: &mut Counts<'_>) -> (u64, io::Result<()>) {
    let (mut cutter, mut block, mut bytes) = (Cutter::default(), vec![0; BLOCK], 0);
    let result = loop {
        match text.read(&mut block) {
            Ok(0) => break Ok(()),
            Ok(n) => {
                bytes += n as u64;
                cutter.feed(block.get(..n).unwrap_or_default(), counts);
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => break Err(e),
        }
    };
    cutter.finish(counts);
    (bytes, result)
}

struct Counts<'f> {
    sum: BackendSum,
    times: TimeCache,
    filter: Option<&'f Filter>,
}

impl Lines for Counts<'_> {
    fn line(&mut self, line: &[u8], overlong: bool) {
        self.sum.lines += 1;
        self.sum.overlong += u64::from(overlong);
        let Some(entry) = backend::entry(line, &mut self.times) else { return };
        let chosen = |f: &Filter| f.chooses(|| Some(&entry), |e| LogEntry::Backend(e));
        if self.filter.is_none_or(|f| f.admits(entry.at, None, line) && chosen(f)) {
            self.sum.add(entry);
        }
    }
}
