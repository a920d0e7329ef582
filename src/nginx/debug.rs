//! Handshakes read from an error log of level debug: the real headers of real clients, without a packet capture.
//!
//! nginx writes a client's request line and headers one by one (http/ngx_http_request.c), the request to a backend as one
//! entry over several lines, the backend's answer one by one (http/modules/ngx_http_proxy_module.c), and its own answer
//! as one entry again (http/ngx_http_header_filter_module.c). An entry is one write(2), so its lines stand together
//! whatever other workers write. Requests of HTTP/2 share one connection number and are passed over.

use std::collections::{HashMap, HashSet};

use foldhash::quality::RandomState;

use crate::event::handshake::{Handshake, Head};
use crate::event::log::{ErrorLine, Level};
use crate::human::{redact, visible};
use crate::nginx::error::{self, TimeCache};
use crate::time::Timestamp;

/// How much is remembered at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Connections whose request is not answered yet; the one with the oldest request gives way.
    pub connections: usize,
    /// Bytes of text for each.
    pub bytes: usize,
}

impl Default for Bounds {
    /// 1024 connections of 32 KiB: four heads of nginx's default header buffers (`large_client_header_buffers 4 8k`).
    fn default() -> Self {
        Self { connections: 1_024, bytes: 32 * 1_024 }
    }
}

/// Collects handshakes from lines in file order.
#[derive(Clone, Debug, Default)]
pub struct Handshakes {
    bounds: Bounds,
    open: HashMap<(u32, u64), Open, RandomState>,
    /// The entry whose lines are being read.
    block: Option<((u32, u64), Side)>,
    ready: Vec<Handshake>,
    /// Counts the connections that were opened, to tell the oldest.
    opened: u64,
    given_up: u64,
}

/// A head that one entry holds over several lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    UpstreamRequest,
    Answer,
    /// The head has ended; a body may follow.
    Over,
}

/// One connection and its current request.
#[derive(Clone, Debug, Default)]
struct Open {
    age: u64,
    at: Timestamp,
    bytes: usize,
    client: Option<String>,
    request: Option<Head>,
    upstream: Option<String>,
    upstream_request: Option<Head>,
    upstream_answer: Option<Head>,
    answer: Option<Head>,
    truncated: bool,
}

/// Whether a debug message, without process and connection number, tells something of a handshake.
#[must_use]
pub fn tells(message: &[u8]) -> bool {
    const BEGINNINGS: [&[u8]; 9] = [
        b"http header: ",
        b"http proxy header:",
        b"http proxy status ",
        b"http request line: ",
        b"http close request",
        b"close http connection: ",
        b"accept: ",
        b"connect to ",
        b"HTTP/1.",
    ];
    BEGINNINGS.iter().any(|b| message.starts_with(b))
}

/// Whether such a message is the first of a request, or of a connection.
#[must_use]
pub fn begins(message: &[u8]) -> bool {
    message.starts_with(b"http request line: ") || message.starts_with(b"accept: ")
}

impl Handshakes {
    /// A collector that remembers no more than `bounds`.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, ..Self::default() }
    }

    /// Reads one line without its line feed, of any level. Returns the handshakes that it completes.
    pub fn line(&mut self, line: &[u8], times: &mut TimeCache) -> Vec<Handshake> {
        let Some(entry) = error::parse(line) else {
            self.continuation(line);
            return Vec::new();
        };
        match times.at(entry.time) {
            Some(at) => self.entry(&entry, at),
            None => Vec::new(),
        }
    }

    /// The same for a line that is parsed already; `at` is the moment of its time.
    pub fn entry(&mut self, line: &ErrorLine<'_>, at: Timestamp) -> Vec<Handshake> {
        self.end_block();
        if let (Level::Debug, Some(connection)) = (line.level, line.connection) {
            self.debug((line.pid, connection), line.message, at);
        }
        std::mem::take(&mut self.ready)
    }

    /// A line without a head of its own, which belongs to the entry before it.
    pub fn continuation(&mut self, line: &[u8]) {
        let Some((key, side)) = self.block else { return };
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if side == Side::Over {
            return;
        }
        if line.is_empty() {
            self.block = Some((key, Side::Over));
            return;
        }
        let Some(open) = self.open.get_mut(&key) else { return };
        let head = match side {
            Side::UpstreamRequest => &mut open.upstream_request,
            Side::Answer | Side::Over => &mut open.answer,
        };
        let budget = self.bounds.bytes.saturating_sub(open.bytes);
        let kept = if let Some(head) = head {
            push_header(head, line, budget)
        } else {
            let line = line.strip_prefix(b"\"").unwrap_or(line);
            *head = Some(Head { line: request_line(line, budget), headers: Vec::new() });
            Some(line.len().min(budget))
        };
        open.count(kept);
    }

    /// A line of which is known that it is an entry and that it tells nothing of handshakes; see [`tells`].
    pub fn passed_over(&mut self) {
        self.end_block();
    }

    /// Whether a request is known that the lines of this process and connection can belong to.
    #[must_use]
    pub fn knows(&self, pid: u32, connection: u64) -> bool {
        self.open.get(&(pid, connection)).is_some_and(|open| open.request.is_some())
    }

    /// The address of a client whose connection is open, where the log told it.
    #[must_use]
    pub fn client(&self, pid: u32, connection: u64) -> Option<&str> {
        self.open.get(&(pid, connection))?.client.as_deref()
    }

    /// Goes on with what another collector learnt from the part of the log that comes behind; `begun` are the connections
    /// of which a request or the beginning stands in that part. Returns the handshakes that end with that.
    pub fn go_on_with(&mut self, later: Self, begun: &HashSet<(u32, u64), RandomState>) -> Vec<Handshake> {
        for key in begun {
            self.complete(*key);
            if !later.open.contains_key(key) {
                self.open.remove(key);
            }
        }
        let mut opens: Vec<_> = later.open.into_iter().collect();
        opens.sort_by_key(|(_, open)| open.age);
        for (key, mut open) in opens {
            let before = self.open.remove(&key);
            open.client = open.client.or_else(|| before?.client);
            self.open_new(key, open);
        }
        self.block = later.block.or(self.block);
        self.given_up += later.given_up;
        self.ready.extend(later.ready);
        std::mem::take(&mut self.ready)
    }

    /// The handshakes that have no answer yet, at the end of a log.
    pub fn finish(&mut self) -> Vec<Handshake> {
        self.end_block();
        let mut open: Vec<_> = std::mem::take(&mut self.open).into_iter().collect();
        open.sort_by_key(|(_, open)| open.age);
        for (key, open) in open {
            self.ready.extend(open.into_handshake(key));
        }
        std::mem::take(&mut self.ready)
    }

    /// How many connections were given up to bound memory, each before its request was answered.
    #[must_use]
    pub const fn given_up(&self) -> u64 {
        self.given_up
    }

    /// A new entry begins: the one before has no more lines. With nginx's own answer the handshake is complete.
    fn end_block(&mut self) {
        let Some((key, side)) = self.block.take() else { return };
        let Some(open) = self.open.get_mut(&key) else { return };
        // A head of which the empty line at the end is missing was longer than an entry may be.
        open.truncated |= side == Side::UpstreamRequest;
        let interim = |head: &Head| head.status().is_some_and(|s| (100..200).contains(&s) && s != 101);
        if open.answer.as_ref().is_some_and(|head| !interim(head)) {
            self.complete(key);
        }
    }

    /// Hands the request out and keeps the connection, which may carry another one.
    fn complete(&mut self, key: (u32, u64)) {
        let Some(open) = self.open.get_mut(&key) else { return };
        let next = Open { age: open.age, client: open.client.clone(), ..Open::default() };
        self.ready.extend(std::mem::replace(open, next).into_handshake(key));
    }

    fn debug(&mut self, key: (u32, u64), message: &[u8], at: Timestamp) {
        if let Some(rest) = message.strip_prefix(b"accept: ") {
            let address = before(rest, b" fd:");
            let client = (address.len() <= 128).then(|| visible(address));
            self.open_new(key, Open { client, ..Open::default() });
        } else if let Some(line) = quoted_after(message, b"http request line: ") {
            self.begin(key, line, at);
        } else if message.starts_with(b"close http connection: ") {
            self.complete(key);
            self.open.remove(&key);
        } else if message == b"http close request" || message.starts_with(b"http close request ") {
            self.complete(key);
        } else if let Some(open) = self.open.get_mut(&key).filter(|open| open.request.is_some()) {
            self.block = open.detail(message, self.bounds.bytes).map(|side| (key, side));
        }
    }

    fn begin(&mut self, key: (u32, u64), line: Quoted<'_>, at: Timestamp) {
        self.complete(key);
        if !self.open.contains_key(&key) {
            self.open_new(key, Open::default());
        }
        let Some(open) = self.open.get_mut(&key) else { return };
        open.at = at;
        open.truncated = line.cut;
        open.request = Some(Head { line: request_line(line.text, self.bounds.bytes), headers: Vec::new() });
        open.count(Some(line.text.len()));
    }

    fn open_new(&mut self, key: (u32, u64), open: Open) {
        if self.open.len() >= self.bounds.connections.max(1) && !self.open.contains_key(&key) {
            let oldest = self.open.iter().min_by_key(|(_, open)| open.age).map(|(key, _)| *key);
            let gone = oldest.and_then(|key| self.open.remove(&key));
            self.given_up += u64::from(gone.is_some_and(|open| open.request.is_some()));
        }
        self.opened += 1;
        self.open.insert(key, Open { age: self.opened, ..open });
    }
}

impl Open {
    /// One line about the current request; a side when lines without a head follow that belong to it.
    fn detail(&mut self, message: &[u8], bytes: usize) -> Option<Side> {
        let budget = bytes.saturating_sub(self.bytes);
        if let Some(header) = quoted_after(message, b"http header: ") {
            self.header(Of::Client, header, budget);
        } else if message == b"http proxy header:" {
            // A subrequest, as of auth_request, asks first and has the same connection number: the last one stays.
            (self.upstream_request, self.upstream_answer, self.upstream) = (None, None, None);
            return Some(Side::UpstreamRequest);
        } else if let Some(header) = quoted_after(message, b"http proxy header: ") {
            // Before the request has been sent, these are the client's headers that are passed on.
            self.header(Of::Backend, header, budget);
        } else if let Some(rest) = message.strip_prefix(b"connect to ") {
            let address = before(rest, b", fd:");
            self.upstream = (address.len() <= 128).then(|| visible(address));
            self.upstream_answer = None;
        } else if let Some(rest) = message.strip_prefix(b"http proxy status ") {
            let line = rest.get(rest.iter().position(|&b| b == b'"')?..).and_then(quoted)?;
            let text = line.text.get(..budget).unwrap_or(line.text);
            self.upstream_answer = Some(Head { line: visible(text), headers: Vec::new() });
            self.count(Some(text.len()));
        } else if message.starts_with(b"HTTP/1.") {
            let line = message.strip_suffix(b"\r").unwrap_or(message);
            self.answer = Some(Head { line: visible(line.get(..budget).unwrap_or(line)), headers: Vec::new() });
            self.count(Some(line.len()));
            return Some(Side::Answer);
        }
        None
    }

    fn header(&mut self, of: Of, header: Quoted<'_>, budget: usize) {
        let head = match of {
            Of::Client => &mut self.request,
            Of::Backend => &mut self.upstream_answer,
        };
        let Some(head) = head else { return };
        let kept = push_header(head, header.text, budget);
        self.truncated |= header.cut;
        self.count(kept);
    }

    /// Adds what was kept to the bill; `None` was too much.
    fn count(&mut self, kept: Option<usize>) {
        match kept {
            Some(bytes) => self.bytes += bytes,
            None => self.truncated = true,
        }
    }

    fn into_handshake(self, (pid, connection): (u32, u64)) -> Option<Handshake> {
        Some(Handshake {
            at: self.at,
            pid,
            connection,
            client: self.client,
            request: self.request?,
            upstream: self.upstream,
            upstream_request: self.upstream_request,
            upstream_answer: self.upstream_answer,
            answer: self.answer,
            truncated: self.truncated,
        })
    }
}

/// Whose header a debug line holds.
#[derive(Clone, Copy)]
enum Of {
    Client,
    Backend,
}

/// Text between quotes of which only the outer two are nginx's.
#[derive(Clone, Copy)]
struct Quoted<'a> {
    text: &'a [u8],
    /// The closing quote is missing.
    cut: bool,
}

fn quoted(text: &[u8]) -> Option<Quoted<'_>> {
    let text = text.strip_prefix(b"\"")?;
    let closed = text.strip_suffix(b"\"");
    Some(Quoted { text: closed.unwrap_or(text), cut: closed.is_none() })
}

fn quoted_after<'a>(message: &'a [u8], words: &[u8]) -> Option<Quoted<'a>> {
    message.strip_prefix(words).and_then(quoted)
}

/// `text` up to the last `mark`.
fn before<'a>(text: &'a [u8], mark: &[u8]) -> &'a [u8] {
    memchr::memmem::rfind(text, mark).and_then(|at| text.get(..at)).unwrap_or(text)
}

/// A request line with the secrets of its query hidden, which may begin in the middle of the line.
fn request_line(line: &[u8], budget: usize) -> String {
    let shown = visible(line.get(..budget).unwrap_or(line));
    let words: Vec<String> = shown.split(' ').map(redact::query).collect();
    words.join(" ")
}

/// Adds `Name: value` with its secrets hidden; the bytes it takes, or `None` when it does not fit into `budget`.
fn push_header(head: &mut Head, line: &[u8], budget: usize) -> Option<usize> {
    // A header of no text is remembered as well, so it has a price.
    let price = line.len() + 32;
    if price > budget {
        return None;
    }
    let shown = visible(line);
    let (name, value) = shown.split_once(':').unwrap_or((&shown, ""));
    let value = redact::header_value(name, value.strip_prefix(' ').unwrap_or(value));
    head.headers.push((name.to_owned(), value));
    Some(price)
}

#[cfg(test)]
mod tests;
