//! What logs said in sum: counts, rates, most frequent talkers and messages, and sessions. Tallies merge, so that chunks of
//! gigabytes and batches of live lines add up alike.

pub mod bursts;
pub mod chance;
pub mod lifecycle;
pub mod lifetimes;
mod piles;
pub mod rate;
pub mod sessions;
pub mod top;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::event::log::{AccessBatch, AccessEntry, Category, ErrorBatch, ErrorEntry, Level, ReadFigures};

pub use crate::event::log::lifetime;
use crate::time::Timestamp;
use lifecycle::{Incident, Lifecycle};
use rate::Rate;
use sessions::Sessions;
use top::Top;

/// Keys of each kind that a tally keeps: counts are exact up to so many different ones.
pub const KEPT: usize = 4_096;

/// Bytes of a message's shape, a name or a path that are kept.
const LONGEST_KEY: usize = 256;

/// Stands between the lines of an entry that goes on in further lines; only its first line counts as its message.
pub const JOINT: &str = " ⏎ ";

/// The sum of any number of log lines. `lines = entries + continuations + unparsed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// Lines counted.
    pub lines: u64,
    /// Lines that are entries.
    pub entries: u64,
    /// Lines without a head of their own that belong to the entry before; an empty line is one.
    pub continuations: u64,
    /// Lines that fit no grammar.
    pub unparsed: u64,
    /// Lines longer than the cap, of which only the beginning was read.
    pub overlong: u64,
    /// Bytes of log text read, filtered lines included.
    pub bytes: u64,
    /// The first entry's time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// The last entry's time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// Error-log entries of each level that occurred.
    pub by_level: BTreeMap<Level, u64>,
    /// Error-log entries of each category that occurred.
    pub by_category: BTreeMap<Category, u64>,
    /// Access-log entries of each status that occurred.
    pub by_status: BTreeMap<u16, u64>,
    /// Entries over time.
    pub rate: Rate,
    /// Client addresses.
    pub clients: Top<Box<str>>,
    /// Upstream peers, as `ErrorEntry::peer` names them.
    pub upstreams: Top<Box<str>>,
    /// Paths of requests, without their arguments.
    pub locations: Top<Box<str>>,
    /// Error-log messages by [`shape`], debug output left out.
    pub messages: Top<Box<str>>,
    /// Bytes sent to clients, by the access log.
    pub bytes_sent: u64,
    /// Tunnels that ended.
    pub sessions: Sessions,
    /// What befell nginx's processes.
    pub lifecycle: Lifecycle,
}

impl Default for Tally {
    fn default() -> Self {
        let top = || Top::new(KEPT);
        Self {
            lines: 0,
            entries: 0,
            continuations: 0,
            unparsed: 0,
            overlong: 0,
            bytes: 0,
            from: None,
            to: None,
            by_level: BTreeMap::new(),
            by_category: BTreeMap::new(),
            by_status: BTreeMap::new(),
            rate: Rate::default(),
            clients: top(),
            upstreams: top(),
            locations: top(),
            messages: top(),
            bytes_sent: 0,
            sessions: Sessions::default(),
            lifecycle: Lifecycle::default(),
        }
    }
}

impl Tally {
    /// Adds what another one counted.
    pub fn merge(&mut self, other: Self) {
        self.lines += other.lines;
        self.entries += other.entries;
        self.continuations += other.continuations;
        self.unparsed += other.unparsed;
        self.overlong += other.overlong;
        self.bytes += other.bytes;
        self.spans(other.from);
        self.spans(other.to);
        add_all(&mut self.by_level, other.by_level);
        add_all(&mut self.by_category, other.by_category);
        add_all(&mut self.by_status, other.by_status);
        self.rate.merge(&other.rate);
        self.clients.merge(other.clients);
        self.upstreams.merge(other.upstreams);
        self.locations.merge(other.locations);
        self.messages.merge(other.messages);
        self.bytes_sent += other.bytes_sent;
        self.sessions.merge(other.sessions);
        self.lifecycle.merge(other.lifecycle);
    }

    /// The time from the first to the last entry holds this moment too.
    pub fn spans(&mut self, at: Option<Timestamp>) {
        let Some(at) = at else { return };
        self.from = Some(self.from.map_or(at, |from| from.min(at)));
        self.to = Some(self.to.map_or(at, |to| to.max(at)));
    }

    /// Adds a batch of error-log lines.
    pub fn add_errors(&mut self, batch: &ErrorBatch) {
        self.add_figures(&batch.read);
        batch.entries.iter().for_each(|e| self.add_error(e));
    }

    /// Adds a batch of access-log lines.
    pub fn add_accesses(&mut self, batch: &AccessBatch) {
        self.add_figures(&batch.read);
        batch.entries.iter().for_each(|e| self.add_access(e));
    }

    fn add_figures(&mut self, read: &ReadFigures) {
        self.lines += read.lines;
        self.continuations += read.continuations;
        self.unparsed += read.unparsed;
        self.overlong += read.overlong;
    }

    fn add_entry(&mut self, at: Timestamp) {
        self.entries += 1;
        self.spans(Some(at));
        self.rate.add(at, 1);
    }

    /// Adds an entry of an error log. Its line is counted apart, with [`ReadFigures`].
    fn add_error(&mut self, entry: &ErrorEntry) {
        self.add_entry(entry.at);
        *self.by_level.entry(entry.level).or_default() += 1;
        *self.by_category.entry(entry.category).or_default() += 1;
        add_name(&mut self.clients, entry.client.as_deref());
        add_name(&mut self.upstreams, entry.peer());
        add_name(&mut self.locations, entry.path());
        if let Some(incident) = Incident::read(entry.level, entry.pid, entry.message.as_bytes()) {
            self.lifecycle.note(entry.at, incident);
        }
        if entry.level != Level::Debug {
            let first = entry.message.split(JOINT).next().unwrap_or_default();
            let shape = shape(first, entry.ssl.as_deref(), entry.errno, entry.action.as_deref());
            self.messages.add(shape.as_str(), 1);
        }
    }

    fn add_access(&mut self, entry: &AccessEntry) {
        self.add_entry(entry.at);
        *self.by_status.entry(entry.status).or_default() += 1;
        add_name(&mut self.clients, entry.client.as_deref());
        add_name(&mut self.upstreams, entry.upstream.as_deref());
        add_name(&mut self.locations, entry.path());
        self.bytes_sent += entry.bytes_sent.or(entry.body_bytes_sent).unwrap_or(0);
        if entry.is_session() {
            self.sessions.add(Some(entry.at), entry.lifetime());
        }
    }
}

fn add_all<K: Ord>(into: &mut BTreeMap<K, u64>, from: BTreeMap<K, u64>) {
    for (key, n) in from {
        *into.entry(key).or_default() += n;
    }
}

fn add_name(top: &mut Top<Box<str>>, name: Option<&str>) {
    if let Some(name) = name {
        top.add(key(name), 1);
    }
}

/// A name as it is kept: not longer than is worth it.
#[must_use]
pub fn key(name: &str) -> &str {
    if name.len() <= LONGEST_KEY {
        return name;
    }
    let end = (0..=LONGEST_KEY).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0);
    name.get(..end).unwrap_or_default()
}

/// A message as it is counted: what varies from line to line is left out, so that equal faults count as one. Quoted text
/// becomes `"…"` (but the zone of a limit, which says which limit it was), numbers and addresses become `N`; the error
/// number with its text, the TLS error and the action are kept.
#[must_use]
pub fn shape(message: &str, ssl: Option<&str>, errno: Option<u32>, action: Option<&str>) -> String {
    let mut out = String::with_capacity(message.len() + 48);
    let mut rest = message;
    while !rest.is_empty() {
        let same = rest.bytes().position(|b| b == b'"' || b.is_ascii_digit()).unwrap_or(rest.len());
        let (kept, varies) = rest.split_at(same);
        out.push_str(kept);
        let after_word = || out.ends_with(|b: char| b.is_alphanumeric() || b == '_');
        let taken = match varies.chars().next() {
            None => break,
            Some('"') => quoted(&mut out, varies),
            Some(digit) if after_word() => {
                out.push(digit);
                1
            }
            Some(_) => {
                out.push('N');
                number(varies)
            }
        };
        rest = varies.get(taken..).unwrap_or_default();
    }
    if let Some(ssl) = ssl {
        let _ = write!(out, " (SSL: {})", key(ssl));
    }
    if let Some(errno) = errno {
        let _ = write!(out, " ({errno}: {})", errno_text(errno));
    }
    if let Some(action) = action {
        let _ = write!(out, " while {action}");
    }
    let end = key(&out).len();
    out.truncate(end);
    out
}

/// What this machine calls an error number: a log written with another libc says the same in other words. Those that a
/// kernel knows are asked for once.
fn errno_text(errno: u32) -> Cow<'static, str> {
    static KNOWN: [OnceLock<String>; 160] = [const { OnceLock::new() }; 160];
    let ask = || {
        let text = std::io::Error::from_raw_os_error(i32::try_from(errno).unwrap_or(i32::MAX)).to_string();
        text.split(" (os error").next().unwrap_or_default().to_owned()
    };
    let known = usize::try_from(errno).ok().and_then(|n| KNOWN.get(n));
    known.map_or_else(|| Cow::Owned(ask()), |known| Cow::Borrowed(known.get_or_init(ask).as_str()))
}

/// Writes the quoted text at the beginning of `rest` without what is in it; gives its length.
fn quoted(out: &mut String, rest: &str) -> usize {
    let inner = rest.get(1..).unwrap_or_default();
    let (text, length) =
        inner.find('"').map_or((inner, rest.len()), |at| (inner.get(..at).unwrap_or_default(), at + 2));
    let text = if out.ends_with("zone ") { key(text) } else { "…" };
    out.push('"');
    out.push_str(text);
    out.push('"');
    length
}

/// The length of the number, address or address with port at the beginning of `rest`.
fn number(rest: &str) -> usize {
    let mut bytes = rest.bytes().enumerate().peekable();
    let mut end = 0;
    while let Some((at, b)) = bytes.next() {
        let joins = matches!(b, b'.' | b':') && bytes.peek().is_some_and(|(_, next)| next.is_ascii_digit());
        if !b.is_ascii_digit() && !joins {
            break;
        }
        end = at + 1;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_that_differ_in_names_and_numbers_have_one_shape() {
        let cases = [
            ("open() \"/srv/a.js\" failed", Some(2), None, "open() \"…\" failed (2: No such file or directory)"),
            (
                "connect() to 10.8.0.1:80 failed",
                None,
                Some("connecting to upstream"),
                "connect() to N failed while connecting to upstream",
            ),
            (
                "limiting requests, excess: 20.480 by zone \"ws\"",
                None,
                None,
                "limiting requests, excess: N by zone \"ws\"",
            ),
            ("accept4() failed", Some(24), None, "accept4() failed (24: Too many open files)"),
            ("768 worker_connections are not enough", None, None, "N worker_connections are not enough"),
            ("open() \"/cut", None, None, "open() \"…\""),
            ("", None, None, ""),
        ];
        for (message, errno, action, expected) in cases {
            assert_eq!(shape(message, None, errno, action), expected);
        }
        assert!(shape(&"ä\"".repeat(1_000), Some(&"x".repeat(900)), None, None).len() <= LONGEST_KEY);
    }

    fn error(second: i64, client: u8, level: Level, message: &str) -> ErrorEntry {
        ErrorEntry {
            at: Timestamp::from_secs(second),
            level,
            category: Category::ALL[usize::from(client) % 17],
            pid: 1,
            connection: None,
            message: message.into(),
            errno: Some(104),
            ssl: None,
            action: None,
            client: Some(format!("10.0.0.{client}").into()),
            server: None,
            request: Some(format!("GET /p{}?x HTTP/1.1", client % 4).into()),
            subrequest: None,
            upstream: Some("http://10.1.1.1:80/ws".into()),
            host: None,
            raw: String::new().into(),
        }
    }

    fn tally(entries: &[ErrorEntry]) -> Tally {
        let mut all = Tally::default();
        let read = ReadFigures { lines: entries.len() as u64, ..ReadFigures::default() };
        all.add_errors(&ErrorBatch { entries: entries.to_vec(), read, ..ErrorBatch::default() });
        all
    }

    proptest! {
        /// Batches counted apart, in either order and grouping, are the whole.
        #[test]
        fn parts_add_up_however_they_are_grouped(
            lines in prop::collection::vec((0_i64..100_000, any::<u8>(), 0_usize..8, "[a-c]{1,2}"), 0..80),
            cuts in (0_usize..80, 0_usize..80),
        ) {
            let entries: Vec<_> = lines.iter().map(|(s, c, l, m)| error(*s, *c, Level::ALL[*l], m)).collect();
            let (low, high) = (cuts.0.min(cuts.1).min(entries.len()), cuts.0.max(cuts.1).min(entries.len()));
            let [a, b, c] = [&entries[..low], &entries[low..high], &entries[high..]].map(tally);
            let whole = tally(&entries);
            let mut left = a.clone();
            left.merge(b.clone());
            left.merge(c.clone());
            prop_assert_eq!(&left, &whole);
            let mut right = c;
            right.merge(b);
            right.merge(a);
            prop_assert_eq!(&right, &whole);
            prop_assert_eq!(whole.lines, whole.entries + whole.continuations + whole.unparsed);
            prop_assert_eq!(whole.by_level.values().sum::<u64>(), whole.entries);
        }
    }

    #[test]
    fn a_tally_survives_json() {
        let all = tally(&[error(5, 1, Level::Error, "a 1"), error(9, 2, Level::Debug, "b")]);
        let json = serde_json::to_string(&all).unwrap();
        assert_eq!(serde_json::from_str::<Tally>(&json).unwrap(), all);
        assert_eq!(all.messages.len(), 1, "debug output is no message");
        assert_eq!(all.upstreams.ranked(1)[0].0.as_ref(), "10.1.1.1:80");
    }
}
