//! Error and access lines in one stream, as container tools print them: each line goes to the parser that knows it.

use super::batch::{Batch, LineParser, Parsed};
use super::parsers::{AccessLines, ErrorLines};
use crate::event::handshake::Handshake;
use crate::event::log::{AccessEntry, ErrorEntry, ReadFigures};
use crate::event::{Event, SourceKind};
use crate::nginx::access::Format;
use crate::nginx::error::skim;
use crate::time::{Timestamp, Zone};

/// A line of either kind.
#[derive(Debug)]
pub(super) enum Either {
    Error(Box<ErrorEntry>),
    Access(Box<AccessEntry>),
}

/// Lines of both kinds. A line that is no entry is told of as one of the error log.
#[derive(Clone, Debug)]
pub(super) struct MixedLines {
    errors: ErrorLines,
    accesses: Vec<AccessLines>,
}

impl MixedLines {
    /// Access lines are tried in the order of `formats`.
    pub(super) fn new(zone: Zone, formats: Vec<Format>) -> Self {
        Self { errors: ErrorLines::in_zone(zone), accesses: formats.into_iter().map(AccessLines::new).collect() }
    }

    fn access(&mut self, line: &[u8]) -> Option<Parsed<Either>> {
        self.accesses.iter_mut().find_map(|lines| match lines.line(line) {
            Parsed::Entry(entry) => Some(Parsed::Entry(Either::Access(Box::new(entry)))),
            Parsed::Continuation | Parsed::Unparsed | Parsed::Passed => None,
        })
    }
}

impl LineParser for MixedLines {
    type Entry = Either;

    fn line(&mut self, line: &[u8]) -> Parsed<Either> {
        // The head of an error entry is unmistakable; an access format may fit nearly anything.
        if skim::head(line).is_none()
            && let Some(entry) = self.access(line)
        {
            return entry;
        }
        match self.errors.line(line) {
            Parsed::Entry(entry) => Parsed::Entry(Either::Error(Box::new(entry))),
            Parsed::Continuation => Parsed::Continuation,
            Parsed::Unparsed => Parsed::Unparsed,
            Parsed::Passed => Parsed::Passed,
        }
    }

    fn at(entry: &Either) -> Timestamp {
        match entry {
            Either::Error(entry) => entry.at,
            Either::Access(entry) => entry.at,
        }
    }

    fn extend(entry: &mut Either, line: &[u8]) {
        match entry {
            Either::Error(entry) => ErrorLines::extend(entry, line),
            Either::Access(entry) => AccessLines::extend(entry, line),
        }
    }

    fn handshakes(&mut self) -> Vec<Handshake> {
        LineParser::handshakes(&mut self.errors)
    }

    fn event(batch: Batch<Either>) -> Event {
        let (errors, _) = apart(batch);
        ErrorLines::event(errors)
    }

    fn events(batch: Batch<Either>) -> Vec<(Option<SourceKind>, Event)> {
        let (errors, accesses) = apart(batch);
        let has_errors = errors.read.lines > 0 || accesses.read.lines == 0;
        let errors = has_errors.then(|| (Some(SourceKind::ErrorLog), ErrorLines::event(errors)));
        let accesses = (accesses.read.lines > 0).then(|| (Some(SourceKind::AccessLog), AccessLines::event(accesses)));
        errors.into_iter().chain(accesses).collect()
    }

    fn tells_time(&self) -> bool {
        self.accesses.iter().all(LineParser::tells_time)
    }

    fn time_of(&self, line: &[u8]) -> Option<Timestamp> {
        self.errors.time_of(line).or_else(|| self.accesses.iter().find_map(|lines| lines.time_of(line)))
    }

    fn resume_after(&mut self, last: Timestamp) {
        self.errors.resume_after(last);
    }
}

/// Each line is counted once.
fn apart(batch: Batch<Either>) -> (Batch<ErrorEntry>, Batch<AccessEntry>) {
    let (mut errors, mut accesses) = (Vec::new(), Vec::new());
    for entry in batch.entries {
        match entry {
            Either::Error(entry) => errors.push(*entry),
            Either::Access(entry) => accesses.push(*entry),
        }
    }
    let lines = accesses.len() as u64;
    let of_errors = ReadFigures { lines: batch.read.lines.saturating_sub(lines), ..batch.read };
    let of_accesses = ReadFigures { lines, history: batch.read.history, ..ReadFigures::default() };
    let errors = Batch { entries: errors, handshakes: batch.handshakes, read: of_errors };
    (errors, Batch { entries: accesses, handshakes: Vec::new(), read: of_accesses })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::logs::batch::Collector;
    use crate::source::tail::Line;

    #[test]
    fn each_line_goes_to_the_parser_that_knows_it_and_is_counted_once() {
        let lines = [
            "2026/11/21 14:02:31 [error] 7#7: *1 broken header: \"GET / HTTP/1.1",
            "Host: a.test",
            "10.0.0.9 - - [21/Nov/2026:14:02:31 +0000] \"GET /ws HTTP/1.1\" 101 42 \"-\" \"-\"",
            "",
            "/docker-entrypoint.sh: Configuration complete; ready for start up",
            "[pod/web/nginx] 10.0.0.9 - - [21/Nov/2026:14:02:32 +0000] \"GET /b HTTP/1.1\" 502 42 \"-\" \"-\"",
            "web-1  | 2026/11/21 14:02:33 [error] 7#7: *2 no live upstreams",
        ];
        let parser = MixedLines::new(Zone::UTC, vec![Format::combined()]);
        let mut collector = Collector::new(parser, None, 100);
        for line in lines {
            collector.line(Line { bytes: line.as_bytes(), overlong: false, existed: false });
        }
        let batch = collector.take(0).pop().expect("a batch");
        let [
            (Some(SourceKind::ErrorLog), Event::Errors(errors)),
            (Some(SourceKind::AccessLog), Event::Access(accesses)),
        ] = &MixedLines::events(batch)[..]
        else {
            panic!("both kinds");
        };
        let messages: Vec<&str> = errors.entries.iter().map(|e| e.message.as_str()).collect();
        assert_eq!(messages, ["broken header: \"GET / HTTP/1.1 ⏎ Host: a.test", "no live upstreams"]);
        assert_eq!((errors.read.lines, errors.read.continuations, errors.read.unparsed), (5, 3, 0));
        let paths: Vec<_> = accesses.entries.iter().map(|e| e.path().unwrap_or_default()).collect();
        assert_eq!((paths, accesses.read.lines), (vec!["/ws", "/b"], 2));
    }
}
