//! What a backend's own log said: messages of WebSocket libraries about handshakes that were none.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// What was wrong in the request that reached the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Upgrade,
        Self::Connection,
        Self::Key,
        Self::Version,
        Self::Method,
        Self::HttpVersion,
        Self::Origin,
        Self::Handshake,
    ];

    /// Its name, as in JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Upgrade => "upgrade",
            Self::Connection => "connection",
            Self::Key => "key",
            Self::Version => "version",
            Self::Method => "method",
            Self::HttpVersion => "http-version",
            Self::Origin => "origin",
            Self::Handshake => "handshake",
        }
    }

    /// The fault that `word` names.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|f| f.word() == word)
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

/// One line with a known message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendEntry {
    /// The line's own time; without one, that of reading for a line that was just written. `None`: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// Whose message it is.
    pub library: String,
    /// What was wrong.
    pub fault: Fault,
    /// The HTTP status that goes with it; `None` where the framework around the library decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The words that are always there: one message has one.
    pub words: String,
    /// The line, made safe to show and cut where it is long.
    pub raw: String,
}

/// Lines of one backend's log, in file order. Lines without a known message are counted only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendBatch {
    /// The lines with a known message.
    pub entries: Vec<BackendEntry>,
    /// Whole lines read.
    pub lines: u64,
    /// Lines of which only the beginning was kept.
    pub overlong: u64,
    /// Bytes in the file that are not read yet.
    pub behind: u64,
    /// These lines stood in the file before the program started.
    #[serde(default)]
    pub history: bool,
}

/// Backend logs in sum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackendSum {
    /// Whole lines read, those of left-out entries too.
    pub lines: u64,
    /// Lines of which only the beginning was read.
    pub overlong: u64,
    /// By library and words.
    pub by_message: BTreeMap<(String, String), BackendCount>,
}

/// How often one message came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendCount {
    /// So often.
    pub count: u64,
    /// The newest, or the last where times are unknown.
    pub last: BackendEntry,
}

impl BackendSum {
    /// Counts one line with a known message.
    pub fn add(&mut self, entry: BackendEntry) {
        let key = (entry.library.clone(), entry.words.clone());
        match self.by_message.get_mut(&key) {
            None => {
                self.by_message.insert(key, BackendCount { count: 1, last: entry });
            }
            Some(known) => {
                known.count += 1;
                if entry.at >= known.last.at {
                    known.last = entry;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_its_word() {
        for fault in Fault::ALL {
            assert_eq!(Fault::from_word(fault.word()), Some(fault));
            assert_eq!(serde_json::to_value(fault).unwrap(), fault.word());
        }
    }

    #[test]
    fn the_newest_of_a_message_is_kept() {
        let entry = |s: i64| BackendEntry {
            at: Some(Timestamp::from_secs(s)),
            library: "ws".into(),
            fault: Fault::Upgrade,
            status: None,
            words: "Invalid Upgrade header".into(),
            raw: s.to_string(),
        };
        let mut sum = BackendSum::default();
        for second in [1, 3, 2] {
            sum.add(entry(second));
        }
        let counts: Vec<_> = sum.by_message.values().map(|c| (c.count, c.last.raw.as_str())).collect();
        assert_eq!(counts, [(3, "3")]);
    }
}
