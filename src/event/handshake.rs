//! A WebSocket handshake as nginx saw it from both sides: what the client asked, what was passed on, what came back.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::log::request_path;
use crate::time::Timestamp;

/// The beginning of an HTTP message. Hostile bytes are visible escapes and secrets are `***`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The request line, or the status line (of an upstream's answer without the version: `101 Switching Protocols`).
    pub line: String,
    /// Names and values in the order and spelling in which they came.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// The first value of the header `name`, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// The status of an answer; `None` for a request.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        let mut words = self.line.split(' ');
        let first = words.next()?;
        let code = if first.starts_with("HTTP/") { words.next()? } else { first };
        code.parse().ok().filter(|_| code.len() == 3)
    }
}

/// One request of a client and what became of it, read from a log of level debug. What was not in the log is `None`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handshake {
    /// When the request line was read.
    pub at: Timestamp,
    /// The worker.
    pub pid: u32,
    /// The connection number; equals `$connection` of the access log.
    pub connection: u64,
    /// The client's address and port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// What the client asked.
    pub request: Head,
    /// The peer that was tried last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// What nginx asked the backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_request: Option<Head>,
    /// What the backend answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_answer: Option<Head>,
    /// What nginx answered the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Head>,
    /// A line was cut (nginx writes at most 2048 bytes) or left out to bound memory: headers may be missing.
    #[serde(default)]
    pub truncated: bool,
}

impl Handshake {
    /// Whether the client asked for a change of protocol (RFC 9110 section 7.8), whatever its Connection header says.
    #[must_use]
    pub fn asks_upgrade(&self) -> bool {
        self.request.header("Upgrade").is_some()
    }

    /// Whether the client asked for a WebSocket with `Upgrade: websocket` (RFC 6455 section 4.1).
    #[must_use]
    pub fn asks_websocket(&self) -> bool {
        self.request.header("Upgrade").is_some_and(|v| has_token(v, "websocket"))
    }

    /// Whether it is about a WebSocket: asked for one, or bears the key of one whose Upgrade header got lost before nginx,
    /// or was answered with 101.
    #[must_use]
    pub fn is_attempt(&self) -> bool {
        self.asks_websocket() || self.request.header("Sec-WebSocket-Key").is_some() || self.status() == Some(101)
    }

    /// The status that the client got; `None` when the log has no answer.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.answer.as_ref()?.status()
    }

    /// The path that the client asked for, without the query.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        request_path(&self.request.line)
    }

    /// The request comes from a probe of this program, which names itself.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.request.header("User-Agent").is_some_and(|v| v.starts_with("wspulse/"))
    }

    /// The client asked for a WebSocket and what nginx passed on has no `Upgrade: websocket`. `None` when the log does not
    /// tell: nothing was passed on, or a line was cut.
    #[must_use]
    pub fn lost_upgrade(&self) -> Option<bool> {
        let sent = self.sent_whole()?;
        Some(!sent.header("Upgrade").is_some_and(|v| has_token(v, "websocket")))
    }

    /// The same for `Connection: upgrade`.
    #[must_use]
    pub fn lost_connection(&self) -> Option<bool> {
        let sent = self.sent_whole()?;
        Some(!sent.header("Connection").is_some_and(|v| has_token(v, "upgrade")))
    }

    /// What nginx passed on of a client's wish for a WebSocket, when it is known to the last header.
    fn sent_whole(&self) -> Option<&Head> {
        self.upstream_request.as_ref().filter(|_| self.asks_websocket() && !self.truncated)
    }

    /// Each header of the client and of the request that nginx passed on, with what became of it, in the order of what
    /// was passed on, what was not last; `None` when nothing was passed on.
    #[must_use]
    pub fn fates(&self) -> Option<Vec<HeaderFate<'_>>> {
        let sent = self.upstream_request.as_ref()?;
        let mut all: Vec<HeaderFate<'_>> = Vec::new();
        for (name, value) in &sent.headers {
            let asked = self.request.header(name);
            let fate = match asked {
                None => Fate::Added,
                Some(asked) if asked == value => Fate::Kept,
                // A header that comes twice is compared with its first value, which proves no change.
                Some(_) if all.iter().any(|h| h.name.eq_ignore_ascii_case(name)) => Fate::Kept,
                Some(_) => Fate::Changed,
            };
            all.push(HeaderFate { name, asked, sent: Some(value), fate });
        }
        let missing = self.request.headers.iter().filter(|(name, _)| sent.header(name).is_none());
        let fate = if self.truncated { Fate::Unseen } else { Fate::Dropped };
        all.extend(missing.map(|(name, value)| HeaderFate { name, asked: Some(value), sent: None, fate }));
        Some(all)
    }
}

/// Whether `token` is one of the comma-separated tokens of a header's value, in any case (RFC 9110 section 5.6.1).
fn has_token(value: &str, token: &str) -> bool {
    value.split(',').any(|t| t.trim().eq_ignore_ascii_case(token))
}

/// One header on its way from the client to the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderFate<'a> {
    /// Its name.
    pub name: &'a str,
    /// The client's value.
    pub asked: Option<&'a str>,
    /// The value that nginx passed on.
    pub sent: Option<&'a str>,
    /// What became of it.
    pub fate: Fate,
}

/// What nginx did with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Passed on as it came.
    Kept,
    /// Passed on with another value.
    Changed,
    /// Sent by nginx of its own accord.
    Added,
    /// Not passed on.
    Dropped,
    /// Not in the log, which was cut: perhaps passed on.
    Unseen,
}

/// Attempts to open a WebSocket, counted, with the newest in full. Sums merge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Attempts {
    /// All of them.
    pub count: u64,
    /// By the status of the answer; those without one are not in here.
    pub by_status: BTreeMap<u16, u64>,
    /// Those of which the log holds no answer.
    pub unanswered: u64,
    /// The newest, oldest first.
    pub newest: VecDeque<Handshake>,
}

impl Attempts {
    /// How many are kept in full.
    pub const KEPT: usize = 10;

    /// Counts one more; they come in the order of the log.
    pub fn add(&mut self, handshake: Handshake) {
        self.count += 1;
        match handshake.status() {
            Some(status) => *self.by_status.entry(status).or_default() += 1,
            None => self.unanswered += 1,
        }
        self.keep(handshake);
    }

    /// Adds those that come behind.
    pub fn merge(&mut self, later: Self) {
        self.count += later.count;
        self.unanswered += later.unanswered;
        for (status, n) in later.by_status {
            *self.by_status.entry(status).or_default() += n;
        }
        for handshake in later.newest {
            self.keep(handshake);
        }
    }

    fn keep(&mut self, handshake: Handshake) {
        // What was asked first may be answered last.
        let key = |h: &Handshake| (h.at, h.pid, h.connection);
        let place = self.newest.partition_point(|h| key(h) <= key(&handshake));
        self.newest.insert(place, handshake);
        if self.newest.len() > Self::KEPT {
            self.newest.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(line: &str, headers: &[(&str, &str)]) -> Head {
        Head { line: line.into(), headers: headers.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect() }
    }

    fn handshake(asked: &[(&str, &str)], sent: Option<&[(&str, &str)]>, answer: Option<&str>) -> Handshake {
        Handshake {
            at: Timestamp::default(),
            pid: 7,
            connection: 1,
            client: None,
            request: head("GET /ws?token=*** HTTP/1.1", asked),
            upstream: None,
            upstream_request: sent.map(|s| head("GET /ws HTTP/1.0", s)),
            upstream_answer: None,
            answer: answer.map(|a| head(a, &[])),
            truncated: false,
        }
    }

    const ASKED: &[(&str, &str)] =
        &[("Host", "a.test"), ("upgrade", "h2c, WebSocket"), ("Connection", "keep-alive, Upgrade"), ("Origin", "o")];

    #[test]
    fn what_is_lost_is_said_only_where_the_log_tells() {
        let lost = |sent: &[(&str, &str)]| {
            let h = handshake(ASKED, Some(sent), None);
            (h.lost_upgrade(), h.lost_connection())
        };
        assert_eq!(lost(&[("Host", "b"), ("Connection", "close")]), (Some(true), Some(true)));
        assert_eq!(lost(&[("Upgrade", "websocket"), ("Connection", "upgrade")]), (Some(false), Some(false)));
        assert_eq!(lost(&[("Upgrade", ""), ("Connection", "Upgrade")]), (Some(true), Some(false)));
        let mut cut = handshake(ASKED, Some(&[]), None);
        cut.truncated = true;
        assert_eq!((cut.lost_upgrade(), cut.lost_connection()), (None, None));
        assert_eq!(handshake(ASKED, None, None).lost_upgrade(), None, "nothing was passed on");
        assert_eq!(handshake(&[], Some(&[]), None).lost_upgrade(), None, "nothing was asked");
    }

    #[test]
    fn each_header_has_a_fate() {
        let sent: &[(&str, &str)] =
            &[("Host", "backend"), ("Connection", "close"), ("X-Real-IP", "1"), ("Origin", "o")];
        let mut h = handshake(ASKED, Some(sent), None);
        let fates = |h: &Handshake| -> Vec<_> {
            h.fates().expect("passed on").iter().map(|f| (f.name.to_owned(), f.fate)).collect()
        };
        let named = |n: &str, f| (n.to_owned(), f);
        let expected = [
            named("Host", Fate::Changed),
            named("Connection", Fate::Changed),
            named("X-Real-IP", Fate::Added),
            named("Origin", Fate::Kept),
            named("upgrade", Fate::Dropped),
        ];
        assert_eq!(fates(&h), expected);
        h.truncated = true;
        assert_eq!(fates(&h)[4], named("upgrade", Fate::Unseen));
        assert_eq!(handshake(ASKED, None, None).fates(), None);
    }

    #[test]
    fn attempts_are_told_from_plain_requests() {
        assert!(handshake(ASKED, None, None).is_attempt());
        assert!(handshake(&[("Sec-WebSocket-Key", "k")], None, None).is_attempt(), "Upgrade got lost before nginx");
        assert!(handshake(&[], None, Some("HTTP/1.1 101 Switching Protocols")).is_attempt());
        assert!(!handshake(&[("Upgrade", "h2c")], None, Some("HTTP/1.1 200 OK")).is_attempt());
        assert_eq!(handshake(ASKED, None, None).path(), Some("/ws"));
        assert!(handshake(&[("User-Agent", "wspulse/0.1.0")], None, None).is_ours());
    }

    #[test]
    fn sums_merge_and_keep_the_newest() {
        let at =
            |s: i64, answer: Option<&str>| Handshake { at: Timestamp::from_secs(s), ..handshake(ASKED, None, answer) };
        let (mut whole, mut first, mut second) = (Attempts::default(), Attempts::default(), Attempts::default());
        for s in 0..30 {
            let answer = match s % 3 {
                0 => Some("HTTP/1.1 426 Upgrade Required"),
                1 => None,
                _ => Some("HTTP/1.1 101 x"),
            };
            let one = at(s, answer);
            whole.add(one.clone());
            if s < 12 { first.add(one) } else { second.add(one) }
        }
        first.merge(second);
        assert_eq!(first, whole);
        assert_eq!((whole.count, whole.unanswered), (30, 10));
        assert_eq!(whole.by_status, [(101, 10), (426, 10)].into());
        let newest: Vec<i64> = whole.newest.iter().map(|h| h.at.secs()).collect();
        assert_eq!(newest, (20..30).collect::<Vec<_>>());
    }
}
