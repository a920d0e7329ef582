//! Handshakes in debug logs, whose files are read in parts: what crosses the edge of a part is put together afterwards.

use std::collections::HashSet;

use foldhash::quality::RandomState;

use super::request::{Filter, LogEntry};
use crate::event::handshake::{Attempts, Handshake, Head};
use crate::event::log::Category;
use crate::nginx::debug::{self, Handshakes};
use crate::nginx::error::{self, TimeCache};
use crate::time::Timestamp;

/// Bytes of lines that are held because they belong to requests of an earlier part. A part has at most 8 MiB, and hardly
/// any of it is such lines.
const HELD: usize = 8 << 20;
/// Connections that are remembered as begun in a part. More are found only in files that are read in one piece, of which
/// nothing comes before.
const BEGUN: usize = 1 << 16;

/// What one part of a log tells.
#[derive(Debug, Default)]
pub(super) struct DebugPart {
    collector: Handshakes,
    attempts: Attempts,
    /// Lines of requests that began before this part, with their line feeds.
    held: Vec<u8>,
    /// The last line was held: so are those that continue it.
    is_holding: bool,
    begun: HashSet<(u32, u64), RandomState>,
    has_entry: bool,
    has_debug: bool,
}

impl DebugPart {
    /// A part with a debug line that begins with these lines without a head, each with its line feed.
    pub(super) fn behind(headless: Vec<u8>) -> Self {
        Self { held: headless, has_entry: true, has_debug: true, ..Self::default() }
    }

    /// A part without any debug line; its first lines may continue one all the same.
    pub(super) fn without_debug(headless: Vec<u8>, has_entry: bool) -> Self {
        Self { held: headless, has_entry, ..Self::default() }
    }

    /// An entry of level debug; `message` is its text behind process and connection number.
    pub(super) fn entry(&mut self, line: &[u8], message: &[u8], at: Timestamp, filter: Option<&Filter>) {
        self.is_holding = false;
        if !debug::tells(message) {
            return self.passed_over();
        }
        let Some(entry) = error::parse(line) else { return self.passed_over() };
        let Some(connection) = entry.connection else { return self.passed_over() };
        let key = (entry.pid, connection);
        if debug::begins(message) {
            if self.begun.len() < BEGUN {
                self.begun.insert(key);
            }
        } else if !self.begun.contains(&key) && self.begun.len() < BEGUN {
            self.passed_over();
            self.is_holding = true;
            self.hold(line);
            return;
        }
        let done = self.collector.entry(&entry, at);
        self.count(done, filter);
    }

    /// Any other entry: what is read of a head ends.
    pub(super) fn passed_over(&mut self) {
        self.is_holding = false;
        self.collector.passed_over();
    }

    /// A line without a head of its own.
    pub(super) fn continuation(&mut self, line: &[u8]) {
        if self.is_holding {
            self.hold(line);
        } else {
            self.collector.continuation(line);
        }
    }

    fn hold(&mut self, line: &[u8]) {
        hold(&mut self.held, line, HELD);
    }

    fn count(&mut self, handshakes: Vec<Handshake>, filter: Option<&Filter>) {
        add(&mut self.attempts, handshakes, filter);
    }
}

/// Keeps a line with its line feed while there is room.
pub(super) fn hold(held: &mut Vec<u8>, line: &[u8], room: usize) {
    if held.len() + line.len() < room {
        held.extend_from_slice(line);
        held.push(b'\n');
    }
}

fn add(attempts: &mut Attempts, handshakes: Vec<Handshake>, filter: Option<&Filter>) {
    for handshake in handshakes.into_iter().filter(|h| h.is_attempt() && filter.is_none_or(|f| admits(f, h))) {
        attempts.add(handshake);
    }
}

/// A handshake counts when its request came in time, debug output is asked for, one of its lines matches, and it is chosen.
fn admits(filter: &Filter, h: &Handshake) -> bool {
    let heads = [Some(&h.request), h.upstream_request.as_ref(), h.upstream_answer.as_ref(), h.answer.as_ref()];
    let lines = |head: &Head| {
        let headers = head.headers.iter().map(|(name, value)| format!("{name}: {value}"));
        std::iter::once(head.line.clone()).chain(headers).collect::<Vec<_>>()
    };
    let mut lines = heads.into_iter().flatten().flat_map(lines);
    lines.any(|line| filter.admits(Some(h.at), Some(Category::Other), line.as_bytes()))
        && filter.chooses(|| Some(h), |h| LogEntry::Handshake(h))
}

/// The parts of one log put together in their order.
#[derive(Debug, Default)]
pub(super) struct Joint {
    collector: Handshakes,
    attempts: Attempts,
    /// There was a debug line at all.
    has_debug: bool,
}

impl Joint {
    /// Goes on with the next part.
    pub(super) fn add(&mut self, part: DebugPart, filter: Option<&Filter>) {
        self.has_debug |= part.has_debug;
        let mut times = TimeCache::default();
        for line in part.held.split_inclusive(|b| *b == b'\n') {
            let done = self.collector.line(line.strip_suffix(b"\n").unwrap_or(line), &mut times);
            add(&mut self.attempts, done, filter);
        }
        if !part.has_entry {
            return;
        }
        if !part.is_holding {
            self.collector.passed_over();
        }
        let mut attempts = part.attempts;
        for h in attempts.newest.iter_mut().filter(|h| h.client.is_none()) {
            // It stays open from request to request.
            h.client = self.collector.client(h.pid, h.connection).map(str::to_owned);
        }
        let done = self.collector.go_on_with(part.collector, &part.begun);
        add(&mut self.attempts, done, filter);
        self.attempts.merge(attempts);
    }

    /// The end of a log: what has no answer gets none. Another log may follow.
    pub(super) fn end_log(&mut self, filter: Option<&Filter>) {
        let done = self.collector.finish();
        add(&mut self.attempts, done, filter);
    }

    /// What all logs told; `None`: none of them has a debug line.
    pub(super) fn done(mut self, filter: Option<&Filter>) -> Option<Attempts> {
        self.end_log(filter);
        self.has_debug.then_some(self.attempts)
    }
}
