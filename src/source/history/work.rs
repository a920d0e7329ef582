//! The reading: files in parts over threads, each with its own counts, which add up at the end.

use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use super::addresses::Addresses;
use super::cut::{Cutter, Lines};
use super::debug::{DebugPart, Joint};
use super::edge::{Before, Edge, Figures};
use super::fold::Fold;
use super::jobs::{Job, jobs, read_at};
use super::open::{open, said, unpacked};
use super::plan::{How, Planned, SAMPLE, kind_of, plan};
use super::request::{FileOutcome, Filter, LogKind, Outcome, Progress, Request};
use crate::event::tally::{KEPT, Tally};
use crate::nginx::access::Format;

/// Bytes read at once.
const BLOCK: usize = 256 * 1024;
/// Bytes of a file that one thread takes at once, at most.
const PART: u64 = 8 << 20;
/// How often the progress is told.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// Reads the logs of `request` and counts them; returns when all is read. `progress` is called a few times a second.
#[must_use]
pub fn read(request: &Request, progress: &mut dyn FnMut(Progress)) -> Outcome {
    read_in_parts(request, PART, progress)
}

/// The same in parts of so many bytes.
pub(super) fn read_in_parts(request: &Request, part: u64, progress: &mut dyn FnMut(Progress)) -> Outcome {
    let combined = [Format::combined()];
    let formats = if request.formats.is_empty() { combined.as_slice() } else { request.formats.as_slice() };
    let files = plan(&request.paths, formats);
    let jobs = jobs(&files, part, request.zone);
    let threads = request.threads.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
    let shared = Shared { files: &files, jobs: &jobs, next: AtomicUsize::new(0), done: AtomicU64::new(0) };
    let total = files.iter().map(|f| f.size).sum();
    let mut results: Vec<Option<JobDone>> = jobs.iter().map(|_| None).collect();
    let (mut tally, mut addresses) = (Tally::default(), Addresses::default());
    thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        let start = |_| {
            let (shared, tell) = (&shared, tell.clone());
            scope.spawn(move || shared.work(request, formats, &tell))
        };
        let workers: Vec<_> = (0..threads.min(jobs.len()).max(1)).map(start).collect();
        drop(tell);
        collect(&told, &mut results, || {
            progress(Progress { done: shared.done.load(Ordering::Relaxed), total });
        });
        for worker in workers {
            // A thread that panicked leaves its jobs without a result, which is said below.
            if let Ok(part) = worker.join() {
                part.pour_into(&mut tally, &mut addresses);
            }
        }
    });
    addresses.pour_into(&mut tally.clients, KEPT);
    progress(Progress { done: shared.done.load(Ordering::Relaxed), total });
    settle(&files, &jobs, results, tally, &request.filter)
}

fn collect(told: &mpsc::Receiver<(usize, JobDone)>, results: &mut [Option<JobDone>], mut tick: impl FnMut()) {
    loop {
        match told.recv_timeout(TELL_EVERY) {
            Ok((at, done)) => {
                if let Some(slot) = results.get_mut(at) {
                    *slot = Some(done);
                }
            }
            Err(RecvTimeoutError::Timeout) => tick(),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// What one job came to.
#[derive(Debug)]
struct JobDone {
    kind: LogKind,
    edge: Edge,
    debug: Option<Box<DebugPart>>,
    bytes: u64,
    error: Option<String>,
}

struct Shared<'a> {
    files: &'a [Planned],
    jobs: &'a [Job],
    next: AtomicUsize,
    done: AtomicU64,
}

impl<'a> Shared<'a> {
    /// Takes jobs until there are none; gives the counts.
    fn work(&'a self, request: &'a Request, formats: &'a [Format], tell: &mpsc::Sender<(usize, JobDone)>) -> Fold<'a> {
        let mut fold = Fold::new(&request.filter, request.zone, formats, &self.done);
        let mut block = vec![0; BLOCK];
        loop {
            let at = self.next.fetch_add(1, Ordering::Relaxed);
            let Some((job, file)) = self.jobs.get(at).and_then(|j| Some((j, self.files.get(j.file)?))) else { break };
            let mut kind = file.kind;
            let mut read = Reading { fold: &mut fold, block: &mut block, bytes: 0 };
            let result = match &file.how {
                How::Parts(open) => read.part(open, job, kind),
                How::Stream { sampled } => {
                    open(&file.path).and_then(|f| read.stream(f, &self.done, &mut kind, *sampled, formats))
                }
                How::Stdin => read.stream(io::stdin().lock(), &self.done, &mut kind, false, formats),
                How::Refused(_) => Ok(()),
            };
            let bytes = read.bytes;
            fold.add_text(bytes);
            let error = result.err().map(|e| said(&file.path, &e));
            let debug = fold.take_debug();
            let (kind, edge) = taken(&mut fold, kind);
            let done = JobDone { kind, edge, debug, bytes, error };
            if tell.send((at, done)).is_err() {
                break;
            }
        }
        fold
    }
}

/// What the lines of a job of this kind turned out to be, and its edge.
fn taken(fold: &mut Fold<'_>, kind: LogKind) -> (LogKind, Edge) {
    if let LogKind::Access(format) = kind {
        return fold.accesses(format).map(|f| (f.take_kind(format), f.take_edge())).unwrap_or_default();
    }
    let errors = fold.errors();
    let edge = errors.take_edge();
    (errors.take_kind(kind, &edge), edge)
}

/// One job being done.
struct Reading<'a, 'r> {
    fold: &'a mut Fold<'r>,
    block: &'a mut Vec<u8>,
    bytes: u64,
}

impl Reading<'_, '_> {
    fn part(&mut self, file: &File, job: &Job, kind: LogKind) -> io::Result<()> {
        let bytes = &mut self.bytes;
        let done = |n| {
            *bytes += n;
        };
        match kind {
            LogKind::Access(format) => match self.fold.accesses(format) {
                Some(sink) => read_part(file, job, self.block, sink, done),
                None => Ok(()),
            },
            LogKind::Error | LogKind::Mixed(_) | LogKind::Unknown => {
                read_part(file, job, self.block, self.fold.errors(), done)
            }
        }?;
        self.fold.add_done(job.to - job.from);
        Ok(())
    }

    fn stream(
        &mut self,
        file: impl Read,
        done: &AtomicU64,
        kind: &mut LogKind,
        sampled: bool,
        formats: &[Format],
    ) -> io::Result<()> {
        let mut text = unpacked(file, done)?;
        let mut cutter = Cutter::default();
        let mut first = if sampled { 0 } else { self.fill(&mut text, SAMPLE)? };
        if !sampled {
            *kind = kind_of(self.block.get(..first).unwrap_or_default(), formats).0;
        }
        let result = loop {
            let n = if first > 0 { Ok(std::mem::take(&mut first)) } else { self.fill(&mut text, 1) };
            let Ok(n @ 1..) = n else { break n.map(|_| ()) };
            self.bytes += n as u64;
            let block = self.block.get(..n).unwrap_or_default();
            match *kind {
                LogKind::Access(format) => {
                    if let Some(sink) = self.fold.accesses(format) {
                        cutter.feed(block, sink);
                    }
                }
                LogKind::Error | LogKind::Mixed(_) | LogKind::Unknown => cutter.feed(block, self.fold.errors()),
            }
        };
        // Where a packed file breaks off, its last line does so too; it counts as far as it goes.
        match *kind {
            LogKind::Access(format) => self.fold.accesses(format).into_iter().for_each(|sink| cutter.finish(sink)),
            LogKind::Error | LogKind::Mixed(_) | LogKind::Unknown => cutter.finish(self.fold.errors()),
        }
        result
    }

    /// Reads at least so many bytes into the block, fewer only at the end.
    fn fill(&mut self, text: &mut dyn Read, least: usize) -> io::Result<usize> {
        let mut filled = 0;
        while filled < least {
            match text.read(self.block.get_mut(filled..).unwrap_or_default()) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // What came before the error counts; the error comes again with the next call.
                Err(_) if filled > 0 => break,
                Err(e) => return Err(e),
            }
        }
        Ok(filled)
    }
}

/// Folds the lines that begin in the job's bytes; the last of them may end behind.
fn read_part(
    file: &File,
    job: &Job,
    block: &mut [u8],
    sink: &mut impl Lines,
    mut count: impl FnMut(u64),
) -> io::Result<()> {
    // The byte before tells whether a line begins at the very first one.
    let mut at = job.from.saturating_sub(1);
    let mut cutter = if job.from > 0 { Cutter::mid_line() } else { Cutter::default() };
    while at < job.to {
        let most = usize::try_from(job.to - at).unwrap_or(usize::MAX).min(block.len());
        let n = read_at(file, block.get_mut(..most).unwrap_or_default(), at)?;
        if n == 0 {
            // It was cut short while it was read.
            cutter.finish(sink);
            return Ok(());
        }
        cutter.feed(block.get(..n).unwrap_or_default(), sink);
        at += n as u64;
    }
    count(job.to - job.from);
    let end = file.metadata()?.len();
    while cutter.is_in_line() && at < end {
        let n = read_at(file, block.get_mut(..8_192).unwrap_or_default(), at)?;
        if n == 0 || cutter.feed_one(block.get(..n).unwrap_or_default(), sink) {
            break;
        }
        at += n as u64;
    }
    cutter.finish(sink);
    Ok(())
}

/// Puts the parts together in file order: the lines at their edges find their entries, the files their outcomes.
fn settle(
    files: &[Planned],
    jobs: &[Job],
    results: Vec<Option<JobDone>>,
    mut tally: Tally,
    filter: &Filter,
) -> Outcome {
    let filter = Some(filter).filter(|f| f.is_set());
    let mut joint = Joint::default();
    let mut outcomes: Vec<FileOutcome> = files.iter().map(unread).collect();
    let (mut figures, mut before) = (Figures::default(), Before::Nothing);
    let mut last: Option<&Planned> = None;
    for (job, result) in jobs.iter().zip(results) {
        let (Some(file), Some(outcome)) = (files.get(job.file), outcomes.get_mut(job.file)) else { continue };
        if last.is_none_or(|l| l.log != file.log) {
            before = Before::Nothing;
            joint.end_log(filter);
        }
        last = Some(file);
        let Some(done) = result else {
            outcome
                .error
                .get_or_insert_with(|| format!("{}: an internal error: please report it", file.path.display()));
            continue;
        };
        before = done.edge.settle(before, &mut figures);
        outcome.kind = outcome.kind.and(done.kind);
        outcome.bytes += done.bytes;
        if let Some(part) = done.debug {
            joint.add(*part, filter);
        }
        outcome.error = outcome.error.take().or(done.error);
    }
    tally.continuations += figures.continuations;
    tally.unparsed += figures.unparsed;
    tally.overlong += figures.overlong;
    tally.lines += tally.entries + tally.continuations + tally.unparsed;
    Outcome { tally, files: outcomes, handshakes: joint.done(filter) }
}

fn unread(file: &Planned) -> FileOutcome {
    let error = if let How::Refused(why) = &file.how { Some(why.clone()) } else { None };
    FileOutcome { path: file.path.clone(), kind: file.kind, log: file.log.clone(), bytes: 0, error }
}
