//! The two kinds of nginx log as line parsers.

use std::time::Duration;

use super::batch::{Batch, LineParser, Parsed};
use crate::event::Event;
use crate::event::backend::{BackendBatch, BackendEntry};
use crate::event::handshake::Handshake;
use crate::event::log::{AccessBatch, AccessEntry, ErrorBatch, ErrorEntry, ErrorLine, Level, ReadFigures};
use crate::event::tally::JOINT;
use crate::human;
use crate::nginx::access::Format;
use crate::nginx::backend;
use crate::nginx::debug::Handshakes;
use crate::nginx::error::bodies::Bodies;
use crate::nginx::error::{self, TimeCache};
use crate::time::{Clock, Timestamp, Zone};

/// An entry that continuation lines have made this long in bytes takes no more of them.
const LONGEST_JOINED: usize = 4_096;

/// Lines of an error log.
#[derive(Clone, Debug, Default)]
pub(super) struct ErrorLines {
    times: TimeCache,
    bodies: Bodies,
    /// Since the first debug line: most logs have none.
    debug: Option<Box<Handshakes>>,
    /// Attempts to open a WebSocket that were completed since they were last taken.
    attempts: Vec<Handshake>,
}

impl ErrorLines {
    fn hear(&mut self, entry: &ErrorLine<'_>, at: Timestamp) {
        if entry.level == Level::Debug {
            self.debug.get_or_insert_default();
        }
        if let Some(debug) = &mut self.debug {
            // Of plain requests a debug log has thousands, and nobody asks for them.
            self.attempts.extend(debug.entry(entry, at).into_iter().filter(Handshake::is_attempt));
        }
    }

    /// Lines whose clock hung in `zone`.
    pub(super) fn in_zone(zone: Zone) -> Self {
        Self { times: TimeCache::in_zone(zone), ..Self::default() }
    }
}

impl LineParser for ErrorLines {
    type Entry = ErrorEntry;

    fn line(&mut self, line: &[u8]) -> Parsed<ErrorEntry> {
        if let Some((parsed, category)) = self.bodies.read(line) {
            // A date that no calendar has is no date of nginx.
            let Some(at) = self.times.at(parsed.time) else { return Parsed::Unparsed };
            self.hear(&parsed, at);
            return Parsed::Entry(error::entry_of_category(&parsed, line, at, category));
        }
        if let Some(debug) = &mut self.debug {
            debug.continuation(line);
        }
        if error::skim::has_date(line) || error::parse_console(line).is_some() {
            Parsed::Unparsed
        } else {
            Parsed::Continuation
        }
    }

    fn at(entry: &ErrorEntry) -> Timestamp {
        entry.at
    }

    fn extend(entry: &mut ErrorEntry, line: &[u8]) {
        let more = human::visible(line.strip_suffix(b"\r").unwrap_or(line));
        for text in [&mut entry.raw, &mut entry.message] {
            if text.len() < LONGEST_JOINED {
                *text = format!("{text}{JOINT}{}", human::cut_end(&more, LONGEST_JOINED)).into();
            }
        }
    }

    fn handshakes(&mut self) -> Vec<Handshake> {
        std::mem::take(&mut self.attempts)
    }

    fn event(Batch { entries, handshakes, read }: Batch<ErrorEntry>) -> Event {
        Event::Errors(ErrorBatch { entries, handshakes, read })
    }

    /// Of the hour that a clock showed twice nothing may be passed over unless all of it is too old.
    fn time_of(&self, line: &[u8]) -> Option<Timestamp> {
        self.times.at_latest(error::skim::head(line)?.time)
    }

    fn resume_after(&mut self, last: Timestamp) {
        self.times.resume_after(last);
    }
}

/// Lines of an access log.
#[derive(Clone, Debug)]
pub(super) struct AccessLines {
    format: Format,
}

impl AccessLines {
    pub(super) fn new(format: Format) -> Self {
        Self { format }
    }
}

impl LineParser for AccessLines {
    type Entry = AccessEntry;

    fn line(&mut self, line: &[u8]) -> Parsed<AccessEntry> {
        if line.is_empty() {
            return Parsed::Continuation;
        }
        // A format without a time gets the time of reading, which is right for live lines.
        self.format.parse(line, Clock.now()).map_or(Parsed::Unparsed, Parsed::Entry)
    }

    fn at(entry: &AccessEntry) -> Timestamp {
        entry.at
    }

    /// Access logs escape line feeds: only empty lines continue an entry, and they add nothing.
    fn extend(_: &mut AccessEntry, _: &[u8]) {}

    fn event(Batch { entries, read, .. }: Batch<AccessEntry>) -> Event {
        Event::Access(AccessBatch { entries, read })
    }

    fn tells_time(&self) -> bool {
        self.format.has_time()
    }

    fn time_of(&self, line: &[u8]) -> Option<Timestamp> {
        self.format.read(line)?.at
    }
}

/// A live line's own time may differ by so much from that of reading it; one that differs more hung in another zone.
const ASTRAY: Duration = Duration::from_secs(60);

/// Lines of a backend's own log, which may be written in any way.
#[derive(Clone, Debug, Default)]
pub(super) struct BackendLines {
    times: TimeCache,
}

impl LineParser for BackendLines {
    type Entry = BackendEntry;

    fn line(&mut self, line: &[u8]) -> Parsed<BackendEntry> {
        backend::entry(line, &mut self.times).map_or(Parsed::Passed, Parsed::Entry)
    }

    fn at(entry: &BackendEntry) -> Timestamp {
        entry.at.unwrap_or(Timestamp::from_micros(i64::MAX))
    }

    fn extend(_: &mut BackendEntry, _: &[u8]) {}

    fn event(Batch { mut entries, read, .. }: Batch<BackendEntry>) -> Event {
        let now = Clock.now();
        for entry in &mut entries {
            entry.at = moment(entry.at, now, read.history);
        }
        let ReadFigures { lines, overlong, behind, history, .. } = read;
        Event::Backend(BackendBatch { entries, lines, overlong, behind, history })
    }
}

/// When a line was written whose own time is `own`, given that it was read `now`.
fn moment(own: Option<Timestamp>, now: Timestamp, history: bool) -> Option<Timestamp> {
    if history {
        // Nothing was written in the future: that clock hung elsewhere.
        return own.filter(|at| *at <= now.plus(ASTRAY));
    }
    let is_near = |at: &Timestamp| now.since(*at) <= ASTRAY && at.since(now) <= ASTRAY;
    Some(own.filter(is_near).unwrap_or(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dateless_line_continues_and_a_broken_date_does_not() {
        let mut lines = ErrorLines::default();
        let mut kind = |text: &str| match lines.line(text.as_bytes()) {
            Parsed::Entry(_) => "entry",
            Parsed::Continuation => "continuation",
            Parsed::Unparsed => "unparsed",
            Parsed::Passed => "passed",
        };
        assert_eq!(kind("2026/11/21 14:02:31 [error] 7#7: *1 open() \"/x\" failed (2: No such file)"), "entry");
        assert_eq!(kind("Host: a.example"), "continuation");
        assert_eq!(kind(""), "continuation");
        assert_eq!(kind("2026/11/21 14:02:31 what is this"), "unparsed");
        assert_eq!(kind("2026/13/45 14:02:31 [error] 7#7: no such day"), "unparsed");
        assert_eq!(kind("nginx: [emerg] bind() to 0.0.0.0:80 failed (98: Address already in use)"), "unparsed");
    }

    #[test]
    fn the_time_of_a_backend_line_is_its_own_where_that_can_be() {
        let at = Timestamp::from_secs;
        let now = at(10_000);
        assert_eq!(moment(Some(at(9_990)), now, false), Some(at(9_990)));
        assert_eq!(moment(Some(at(2_800)), now, false), Some(now), "two hours ago, just written: another zone");
        assert_eq!(moment(None, now, false), Some(now));
        assert_eq!(moment(Some(at(2_800)), now, true), Some(at(2_800)));
        assert_eq!(moment(Some(at(17_200)), now, true), None, "in two hours");
        assert_eq!(moment(None, now, true), None, "any time");
    }

    #[test]
    fn a_continued_entry_is_readable_and_bounded() {
        let mut lines = ErrorLines::default();
        let first = b"2026/11/21 14:02:31 [error] 7#7: *1 broken header: \"GET / HTTP/1.1";
        let Parsed::Entry(mut entry) = lines.line(first) else { panic!("no entry") };
        ErrorLines::extend(&mut entry, b"Host: \x1b[2Ja\r");
        assert_eq!(entry.message, "broken header: \"GET / HTTP/1.1 ⏎ Host: \\x1b[2Ja");
        assert!(entry.raw.ends_with(" ⏎ Host: \\x1b[2Ja"));
        for _ in 0..10_000 {
            ErrorLines::extend(&mut entry, &[b'x'; 1_000]);
        }
        assert!(entry.raw.len() < 3 * LONGEST_JOINED && entry.message.len() < 3 * LONGEST_JOINED);
    }
}
