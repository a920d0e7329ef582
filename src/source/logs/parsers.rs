//! The two kinds of nginx log as line parsers.

use super::batch::{Batch, LineParser, Parsed};
use super::categories::Categories;
use crate::event::Event;
use crate::event::log::{AccessBatch, AccessEntry, ErrorBatch, ErrorEntry};
use crate::event::tally::JOINT;
use crate::human;
use crate::nginx::access::Format;
use crate::nginx::error::{self, TimeCache};
use crate::time::{Clock, Timestamp};

/// An entry that continuation lines have made this long in bytes takes no more of them.
const LONGEST_JOINED: usize = 4_096;

/// Lines of an error log.
#[derive(Clone, Debug, Default)]
pub(super) struct ErrorLines {
    times: TimeCache,
    categories: Categories,
}

impl LineParser for ErrorLines {
    type Entry = ErrorEntry;

    fn line(&mut self, line: &[u8]) -> Parsed<ErrorEntry> {
        if let Some(parsed) = error::parse(line) {
            // A date that no calendar has is no date of nginx.
            let Some(at) = self.times.at(parsed.time) else { return Parsed::Unparsed };
            let category = self.categories.of(&parsed);
            return Parsed::Entry(error::entry_of_category(&parsed, line, at, category));
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
                text.push_str(JOINT);
                text.push_str(&human::cut_end(&more, LONGEST_JOINED));
            }
        }
    }

    fn event(Batch { entries, read }: Batch<ErrorEntry>) -> Event {
        Event::Errors(ErrorBatch { entries, read })
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

    fn event(Batch { entries, read }: Batch<AccessEntry>) -> Event {
        Event::Access(AccessBatch { entries, read })
    }
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
        };
        assert_eq!(kind("2026/11/21 14:02:31 [error] 7#7: *1 open() \"/x\" failed (2: No such file)"), "entry");
        assert_eq!(kind("Host: a.example"), "continuation");
        assert_eq!(kind(""), "continuation");
        assert_eq!(kind("2026/11/21 14:02:31 what is this"), "unparsed");
        assert_eq!(kind("2026/13/45 14:02:31 [error] 7#7: no such day"), "unparsed");
        assert_eq!(kind("nginx: [emerg] bind() to 0.0.0.0:80 failed (98: Address already in use)"), "unparsed");
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
