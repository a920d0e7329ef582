//! What WebSocket libraries write to a backend's own log when the handshake that nginx passed on was none.
//!
//! The table is `assets/backend-messages.tsv`: the words of the libraries' sources.

use std::borrow::Cow;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use memchr::memmem;

use crate::event::backend::{BackendEntry, Fault};
use crate::human::{self, redact, visible};
use crate::nginx::error::TimeCache;
use crate::time::Timestamp;

static TABLE: LazyLock<Table> = LazyLock::new(|| Table::read(include_str!("../../assets/backend-messages.tsv")));

/// How much of a line is searched: messages stand near its beginning, and logs hold lines of megabytes.
const LOOK: usize = 16 * 1_024;

/// Bytes of a line that are kept to be shown.
const SHOWN: usize = 1_024;

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

/// The entry in one line of any log; its time is the line's own, which `times` reads where it has no offset.
#[must_use]
pub fn entry(line: &[u8], times: &mut TimeCache) -> Option<BackendEntry> {
    let message = recognise(line)?;
    let shown = visible(line.get(..SHOWN).unwrap_or(line).trim_ascii());
    let words: Vec<String> = shown.split(' ').map(redact::query).collect();
    Some(BackendEntry {
        at: time_of(line, times),
        library: message.library.to_owned(),
        fault: message.fault,
        status: message.status,
        words: message.words.to_owned(),
        raw: human::cut_end(&words.join(" "), SHOWN).into_owned(),
    })
}

/// The time with which a line begins: RFC 3339, or a date and a time of day as the usual loggers write them, `2026-11-21
/// 14:02:31,123` or `2026/11/21 14:02:31`, in a bracket or not; without an offset in the zone of `times`.
#[must_use]
pub fn time_of(line: &[u8], times: &mut TimeCache) -> Option<Timestamp> {
    let line = line.trim_ascii_start();
    let line = line.strip_prefix(b"[").unwrap_or(line);
    let mut head: [u8; 19] = *line.first_chunk()?;
    if !matches!(head, [.., b' ' | b'T', _, _, b':', _, _, b':', _, _]) {
        return None;
    }
    let rest = line.get(19..).unwrap_or_default();
    let digits = |text: &[u8]| text.iter().take_while(|b| b.is_ascii_digit()).count();
    let fraction = match rest {
        [b'.' | b',', more @ ..] => 1 + digits(more),
        _ => 0,
    };
    let behind = rest.get(fraction..).unwrap_or_default();
    if let Some(offset) = offset(behind) {
        head[4] = b'-';
        head[7] = b'-';
        head[10] = b'T';
        let fraction = rest.get(1..fraction.min(10)).filter(|f| !f.is_empty()).unwrap_or(b"0");
        let text = [&head[..], b".", fraction, offset.as_bytes()].concat();
        return Timestamp::parse_rfc3339(std::str::from_utf8(&text).ok()?);
    }
    for (place, sign) in [(4, b'/'), (7, b'/'), (10, b' ')] {
        if !matches!(head[place], b'-' | b'/' | b' ' | b'T') {
            return None;
        }
        head[place] = sign;
    }
    times.at(&head)
}

/// The offset behind a time of day, as RFC 3339 writes it: of `Z`, `+02:00`, ` +0200` and ` UTC`.
fn offset(behind: &[u8]) -> Option<String> {
    let text = behind.strip_prefix(b" ").unwrap_or(behind);
    if behind.starts_with(b"Z") || text.starts_with(b"UTC") {
        return Some("Z".to_owned());
    }
    let (sign, digits) = text.split_first().filter(|(s, _)| matches!(s, b'+' | b'-'))?;
    let (hours, rest) = digits.split_first_chunk::<2>()?;
    let (minutes, _) = rest.strip_prefix(b":").unwrap_or(rest).split_first_chunk::<2>()?;
    let all = [&[*sign][..], hours, b":", minutes].concat();
    let is_number = hours.iter().chain(minutes).all(u8::is_ascii_digit);
    String::from_utf8(all).ok().filter(|_| is_number)
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
    use crate::time::Zone;

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
    fn times_of_the_usual_loggers_are_read_and_others_are_unknown() {
        let mut times = TimeCache::in_zone(Zone::UTC);
        let half_past = Timestamp::parse_rfc3339("2026-11-21T14:02:31Z");
        let milli = Timestamp::parse_rfc3339("2026-11-21T14:02:31.123Z");
        let earlier = Timestamp::parse_rfc3339("2026-11-21T12:02:31Z");
        for (line, at) in [
            ("2026-11-21T14:02:31Z x", half_past),
            ("2026-11-21T14:02:31.123456789Z x", Timestamp::parse_rfc3339("2026-11-21T14:02:31.123456789Z")),
            ("[2026-11-21T14:02:31+02:00] x", earlier),
            ("2026-11-21 14:02:31.123 +0000 x", milli),
            ("2026-11-21 14:02:31 UTC x", half_past),
            ("2026-11-21 14:02:31,123 ERROR x", half_past),
            ("2026/11/21 14:02:31 x", half_past),
            ("2026-11-21T14:02:31 x", half_past),
            ("2026-13-45 14:02:31 x", None),
            ("2026-11-21T14:02:31+99:99 x", None),
            ("14:02:31 x", None),
            ("ERROR 2026-11-21 14:02:31 x", None),
            ("\u{e9}\u{e9}\u{e9}\u{e9}\u{e9} 14:02:31 \u{e9}", None),
            ("", None),
        ] {
            assert_eq!(time_of(line.as_bytes(), &mut times), at, "{line}");
        }
    }

    #[test]
    fn an_entry_shows_its_line_without_secrets_and_without_hostile_bytes() {
        let mut times = TimeCache::in_zone(Zone::UTC);
        let line = b"2026-11-21T14:02:31Z GET /ws?token=s3cret \x1b[31mInvalid Upgrade header\x1b[0m";
        let entry = entry(line, &mut times).expect("known");
        assert_eq!((entry.library.as_str(), entry.fault, entry.status), ("ws", Fault::Upgrade, Some(400)));
        assert_eq!(entry.raw, "2026-11-21T14:02:31Z GET /ws?token=*** \\x1b[31mInvalid Upgrade header\\x1b[0m");
        assert_eq!(super::entry(b"2026-11-21T14:02:31Z all is well", &mut times), None);
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
