//! What WebSocket libraries write to a backend's own log when the handshake that nginx passed on was none.
//!
//! The table is `assets/backend-messages.tsv`: the words of the libraries' sources.

use std::borrow::Cow;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use memchr::memmem;

static TABLE: LazyLock<Table> = LazyLock::new(|| Table::read(include_str!("../../assets/backend-messages.tsv")));

/// How much of a line is searched: messages stand near its beginning, and logs hold lines of megabytes.
const LOOK: usize = 16 * 1_024;

/// What was wrong in the request that reached the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// No `Upgrade: websocket`.
    Upgrade,
    /// No `Connection: upgrade`.
    Connection,
    /// `Sec-WebSocket-Key`.
    Key,
    /// `Sec-WebSocket-Version`.
    Version,
    /// Not GET.
    Method,
    /// HTTP/1.0, which knows no upgrade.
    HttpVersion,
    /// The page's origin is not allowed.
    Origin,
    /// The message does not say.
    Handshake,
}

impl Fault {
    fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "upgrade" => Self::Upgrade,
            "connection" => Self::Connection,
            "key" => Self::Key,
            "version" => Self::Version,
            "method" => Self::Method,
            "http-version" => Self::HttpVersion,
            "origin" => Self::Origin,
            "handshake" => Self::Handshake,
            _ => return None,
        })
    }

    /// What it means for whoever looks after nginx, in one sentence.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Upgrade => "the backend got no 'Upgrade: websocket': nginx was not told to pass it on",
            Self::Connection => "the backend got no 'Connection: upgrade': nginx was not told to send it",
            Self::Key => "the backend got no valid Sec-WebSocket-Key: the client is no WebSocket client",
            Self::Version => "the backend does not speak the client's Sec-WebSocket-Version",
            Self::Method => "the backend got another method than GET",
            Self::HttpVersion => "the backend got HTTP/1.0: proxy_http_version is not 1.1",
            Self::Origin => "the backend does not allow the page's origin",
            Self::Handshake => "the backend got a request that was no WebSocket handshake",
        }
    }
}

/// One known message of a library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendMessage {
    /// Who writes it.
    pub library: &'static str,
    /// What was wrong.
    pub fault: Fault,
    /// The HTTP status that the client gets with it; `None` where the framework around the library decides.
    pub status: Option<u16>,
    /// The words that are always there.
    pub words: &'static str,
    /// A line in which the message stands.
    pub sample: &'static str,
    /// Some text follows.
    is_open: bool,
    /// The line ends with it.
    is_last: bool,
}

impl BackendMessage {
    /// [`Fault::meaning`] of its fault.
    #[must_use]
    pub const fn meaning(&self) -> &'static str {
        self.fault.meaning()
    }

    /// Whether the words at `from..to` of `line` stand there as words of their own.
    fn fits(&self, line: &[u8], from: usize, to: usize) -> bool {
        let is_inside = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
        let before = line.get(..from).unwrap_or_default();
        if is_inside(before.last()) && !ends_in_colour(before) {
            return false;
        }
        // A colour may be switched off behind it.
        let behind = line.get(to..).and_then(|b| b.split(|b| *b == 0x1b).next()).unwrap_or_default();
        if self.is_open {
            return !behind.trim_ascii().is_empty();
        }
        if self.is_last {
            return behind.iter().all(|b| b.is_ascii_whitespace() || b".'\"`}])".contains(b));
        }
        !is_inside(behind.first())
    }
}

/// All known messages.
#[must_use]
pub fn messages() -> &'static [BackendMessage] {
    &TABLE.rows
}

/// The message of a WebSocket library in one line of any log, plain or JSON; `None` when there is none.
#[must_use]
pub fn recognise(line: &[u8]) -> Option<&'static BackendMessage> {
    let is_cut = line.len() > LOOK;
    let line = unquoted(line.get(..LOOK).unwrap_or(line));
    let found = TABLE.words.as_ref()?.find_overlapping_iter(line.as_ref());
    found
        .filter_map(|m| TABLE.rows.get(m.pattern().as_usize()).map(|row| (row, m.start(), m.end())))
        .filter(|(row, from, to)| row.fits(&line, *from, *to) && !(row.is_last && is_cut))
        .max_by_key(|(row, from, _)| (row.words.len(), std::cmp::Reverse(*from)))
        .map(|(row, ..)| row)
}

/// Whether the last thing in `text` is a terminal's `ESC [ 31 m`.
fn ends_in_colour(text: &[u8]) -> bool {
    let Some(text) = text.strip_suffix(b"m") else { return false };
    let digits = text.iter().rev().take_while(|b| b.is_ascii_digit() || **b == b';').count();
    text.get(..text.len() - digits).is_some_and(|t| t.ends_with(b"\x1b["))
}

/// The line as it was before a logger put it into a JSON string.
fn unquoted(line: &[u8]) -> Cow<'_, [u8]> {
    let finder = memmem::Finder::new(b"\\\"");
    let mut out = Vec::new();
    let mut from = 0;
    for at in finder.find_iter(line) {
        out.extend_from_slice(line.get(from..at).unwrap_or_default());
        from = at + 1;
    }
    if from == 0 {
        return Cow::Borrowed(line);
    }
    out.extend_from_slice(line.get(from..).unwrap_or_default());
    Cow::Owned(out)
}

struct Table {
    rows: Vec<BackendMessage>,
    /// `None` only with more words than an automaton holds.
    words: Option<AhoCorasick>,
}

impl Table {
    /// Reads the table that the program carries; a row that does not read is left out, and a test says that none is.
    fn read(source: &'static str) -> Self {
        let rows: Vec<_> = source.lines().filter(|l| !l.starts_with('#')).filter_map(row).collect();
        let words = AhoCorasick::new(rows.iter().map(|r| r.words)).ok();
        Self { rows, words }
    }
}

fn row(line: &'static str) -> Option<BackendMessage> {
    let mut columns = line.split('\t');
    let (library, fault, status) = (columns.next()?, Fault::from_word(columns.next()?)?, columns.next()?);
    let (template, anchor, sample) = (columns.next()?, columns.next()?, columns.next()?);
    let words = template.strip_suffix("%s");
    Some(BackendMessage {
        library,
        fault,
        status: status.parse().ok(),
        words: words.unwrap_or(template).trim_end(),
        sample,
        is_open: words.is_some(),
        is_last: anchor == "end",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_reads_and_knows_its_sample() {
        let lines = include_str!("../../assets/backend-messages.tsv").lines().filter(|l| !l.starts_with('#')).count();
        assert_eq!(messages().len(), lines, "a row that does not read is left out");
        for message in messages() {
            assert_eq!(recognise(message.sample.as_bytes()), Some(message), "{}", message.sample);
            let framed = format!("2026-11-21T14:02:31Z ERROR app[7]: \u{1b}[31m{}\u{1b}[0m", message.sample);
            let found = recognise(framed.as_bytes());
            assert_eq!(found, Some(message), "{framed}");
            let json = serde_json::json!({ "level": "error", "msg": message.sample }).to_string();
            assert_eq!(recognise(json.as_bytes()), Some(message), "{json}");
            assert!(!message.meaning().is_empty() && !message.library.is_empty());
        }
    }

    #[test]
    fn the_fault_and_the_status_are_told() {
        let told = |line: &str| recognise(line.as_bytes()).map(|m| (m.library, m.fault, m.status));
        assert_eq!(
            told("Failed to open a WebSocket connection: invalid Connection header: close."),
            Some(("python websockets", Fault::Connection, Some(426)))
        );
        assert_eq!(
            told(
                "Error #01: websocket: the client is not using the websocket protocol: 'websocket' token not found in 'Upgrade' header"
            ),
            Some(("gorilla/websocket", Fault::Upgrade, None)),
            "400 or 426, by version"
        );
        assert_eq!(
            told("ValueError: unsupported HTTP version: HTTP/1.0"),
            Some(("python websockets", Fault::HttpVersion, Some(505)))
        );
        assert_eq!(
            told(r#"WARN ws: WebSocket protocol error: No "Connection: upgrade" header"#),
            Some(("tungstenite", Fault::Connection, None))
        );
    }

    #[test]
    fn lines_that_merely_look_alike_are_not_recognised() {
        for line in [
            "",
            "GET /ws 426 Upgrade Required",
            "Invalid Upgrade headers are counted by test_invalid_upgrade",
            "Invalid Upgrade header seen 3 times, ignoring",
            "Invalid HTTP method 'BREW' from 192.0.2.1",
            "XInvalid Upgrade header",
            "Handshake failed due to invalid certificate",
            "Handshake failed due to invalid Upgrade header:",
            "InvalidUpgrade: missing Connection headers",
            "connection rejected (426 Upgrade RequiredX)",
            "unsupported HTTP version: HTTP/1.05",
            "websocket: close 1006 (abnormal closure): unexpected EOF",
            "No Upgrade: websocket header",
            "2026/11/21 02:02:31 [error] 7#7: *1 upstream prematurely closed connection while reading response header",
        ] {
            assert_eq!(recognise(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn long_and_hostile_lines_are_cheap() {
        let mut line = b"Invalid Upgrade header ".repeat(200_000);
        assert_eq!(recognise(&line), None);
        line.extend_from_slice(b"Invalid Upgrade header");
        assert_eq!(recognise(&line), None, "too far behind to be the message");
        assert_eq!(recognise(&[b'\\', b'"'].repeat(1_000_000)), None);
        assert_eq!(recognise(b"\xff\0Invalid Upgrade header\r").map(|m| m.library), Some("ws"));
    }
}
