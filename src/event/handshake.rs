//! A WebSocket handshake as nginx saw it from both sides: what the client asked, what was passed on, what came back.

use serde::{Deserialize, Serialize};

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
}
