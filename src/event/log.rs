//! What the logs said: error-log entries with their category, access-log entries, and the batches they travel in.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::handshake::Handshake;
use crate::time::Timestamp;

/// nginx's eight log levels, most severe first (core/ngx_log.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The system is unusable.
    Emerg,
    /// Action must be taken at once.
    Alert,
    /// Critical conditions.
    Crit,
    /// Error conditions; the default level of `error_log`.
    Error,
    /// Warnings.
    Warn,
    /// Normal but significant.
    Notice,
    /// Informational: idle cuts and client faults of tunnels are logged only here.
    Info,
    /// Debugging.
    Debug,
}

impl Level {
    /// All levels, most severe first.
    pub const ALL: [Self; 8] =
        [Self::Emerg, Self::Alert, Self::Crit, Self::Error, Self::Warn, Self::Notice, Self::Info, Self::Debug];

    /// The word in the log line and in `error_log FILE level`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Emerg => "emerg",
            Self::Alert => "alert",
            Self::Crit => "crit",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Notice => "notice",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }

    /// The level that `word` names.
    #[must_use]
    pub fn from_word(word: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|l| l.word().as_bytes() == word)
    }
}

/// The seventeen classes into which every error-log message falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Category {
    /// The upgrade itself went wrong.
    Handshake,
    /// The TCP or unix connection to the backend failed.
    UpstreamConnect,
    /// The backend was too slow, or a tunnel was idle too long.
    UpstreamTimeout,
    /// The backend closed or reset.
    UpstreamClosed,
    /// The backend's answer could not be read.
    UpstreamProtocol,
    /// TLS between nginx and the backend.
    TlsUpstream,
    /// TLS between the client and nginx.
    TlsClient,
    /// The client closed, reset or stopped reading.
    ClientClosed,
    /// The client's request could not be read.
    ClientProtocol,
    /// Descriptors, connections, memory, disk, ports.
    Capacity,
    /// `limit_conn`, `limit_req` and size limits.
    Limits,
    /// Names that did not resolve.
    NameResolution,
    /// Denied by rule or credentials.
    AccessAuth,
    /// Static files, redirects, rewrite cycles.
    RoutingStatic,
    /// HTTP/2 and QUIC framing.
    #[serde(rename = "http2-quic")]
    Http2Quic,
    /// Start, reload, stop, signals, configuration.
    LifecycleConfig,
    /// Everything else.
    Other,
}

impl Category {
    /// All categories, in the order of the contract.
    pub const ALL: [Self; 17] = [
        Self::Handshake,
        Self::UpstreamConnect,
        Self::UpstreamTimeout,
        Self::UpstreamClosed,
        Self::UpstreamProtocol,
        Self::TlsUpstream,
        Self::TlsClient,
        Self::ClientClosed,
        Self::ClientProtocol,
        Self::Capacity,
        Self::Limits,
        Self::NameResolution,
        Self::AccessAuth,
        Self::RoutingStatic,
        Self::Http2Quic,
        Self::LifecycleConfig,
        Self::Other,
    ];

    /// The public name.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::UpstreamConnect => "upstream-connect",
            Self::UpstreamTimeout => "upstream-timeout",
            Self::UpstreamClosed => "upstream-closed",
            Self::UpstreamProtocol => "upstream-protocol",
            Self::TlsUpstream => "tls-upstream",
            Self::TlsClient => "tls-client",
            Self::ClientClosed => "client-closed",
            Self::ClientProtocol => "client-protocol",
            Self::Capacity => "capacity",
            Self::Limits => "limits",
            Self::NameResolution => "name-resolution",
            Self::AccessAuth => "access-auth",
            Self::RoutingStatic => "routing-static",
            Self::Http2Quic => "http2-quic",
            Self::LifecycleConfig => "lifecycle-config",
            Self::Other => "other",
        }
    }

    /// The category that `word` names.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.word() == word)
    }
}

/// One error-log line, borrowed from the bytes it was read from. Nothing in it is escaped: every field may hold hostile bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorLine<'a> {
    /// The wall-clock reading, as the 19 bytes `YYYY/MM/DD HH:MM:SS` (local time, no offset).
    pub time: &'a [u8],
    /// The level in brackets.
    pub level: Level,
    /// The process that wrote the line.
    pub pid: u32,
    /// The connection number after `*`; equals `$connection` of the access log.
    pub connection: Option<u64>,
    /// The message without errno, action and context.
    pub message: &'a [u8],
    /// The number in ` (NUM: text)`; its text depends on the libc and is not kept.
    pub errno: Option<u32>,
    /// The text inside ` (SSL: ...)`; empty for a bare `(SSL:)`.
    pub ssl: Option<&'a [u8]>,
    /// The phrase after ` while `.
    pub action: Option<&'a [u8]>,
    /// `client:` of the context.
    pub client: Option<&'a [u8]>,
    /// `server:` of the context.
    pub server: Option<&'a [u8]>,
    /// `request:` of the context, without quotes. Attacker-controlled.
    pub request: Option<&'a [u8]>,
    /// `subrequest:` of the context. Attacker-influenced.
    pub subrequest: Option<&'a [u8]>,
    /// `upstream:` of the context, as `http://10.0.0.7:8080/ws`. Present once a peer was chosen.
    pub upstream: Option<&'a [u8]>,
    /// `host:` of the context. Attacker-controlled.
    pub host: Option<&'a [u8]>,
    /// `referrer:` of the context. Attacker-controlled.
    pub referrer: Option<&'a [u8]>,
    /// The line ended inside a field: nginx cut it at 2048 bytes.
    pub truncated: bool,
}

/// Text of a log line. The fields of an entry share the memory of its whole line: a log that grows fast makes many of
/// them, and they are freed in another thread than the one that made them, which is dear.
pub type Text = arcstr::Substr;

/// One error-log entry, owned, with hostile bytes made visible and the category decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorEntry {
    /// The line's own time.
    pub at: Timestamp,
    /// Its level.
    pub level: Level,
    /// Its class, decided where it was read.
    pub category: Category,
    /// The process that wrote it.
    pub pid: u32,
    /// The connection number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<u64>,
    /// The message without errno, action and context.
    pub message: Text,
    /// The system error number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<u32>,
    /// The OpenSSL text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssl: Option<Text>,
    /// The phrase after ` while `.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Text>,
    /// The client's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<Text>,
    /// The server name, or the listen address before a request was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<Text>,
    /// The request line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Text>,
    /// The subrequest's URI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subrequest: Option<Text>,
    /// The upstream URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<Text>,
    /// The Host header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Text>,
    /// The whole line, made safe to show.
    pub raw: Text,
}

impl ErrorEntry {
    /// The peer part of the upstream URL: `10.0.0.7:8080` of `http://10.0.0.7:8080/ws`, the path of a unix socket
    /// `http://unix:/run/app.sock:/ws`, or the block's name for `no live upstreams`.
    #[must_use]
    pub fn peer(&self) -> Option<&str> {
        let rest = self.upstream.as_deref()?;
        let rest = rest.split_once("://").map_or(rest, |(_, r)| r);
        if let Some(path) = rest.strip_prefix("unix:") {
            return Some(path.split_once(':').map_or(path, |(p, _)| p));
        }
        Some(rest.split_once('/').map_or(rest, |(p, _)| p))
    }

    /// The path of the request line, without the query.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        request_path(self.request.as_deref()?)
    }
}

/// The path in a request line `GET /ws?x=1 HTTP/1.1`, without its arguments; of `GET http://host/ws HTTP/1.1`, the form
/// that proxies are sent, too (RFC 9112 section 3.2). `None` where there is no path: what stands there may be any bytes that
/// a client sent, such as the header of the PROXY protocol, `PROXY TCP4 192.0.2.1 ..`.
#[must_use]
pub fn request_path(request: &str) -> Option<&str> {
    let (method, rest) = request.split_once(' ')?;
    let target = rest.split(' ').next().unwrap_or(rest);
    // The letters that nginx takes for a method (http/ngx_http_parse.c, ngx_http_parse_request_line).
    let is_method = !method.is_empty() && method.bytes().all(|b| b.is_ascii_uppercase() || matches!(b, b'_' | b'-'));
    let with_arguments = if target.starts_with('/') {
        target
    } else {
        let (scheme, behind) = target.split_once("://")?;
        let is_scheme = !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphabetic());
        let at = behind.find(['/', '?', '#']).filter(|_| is_scheme);
        at.and_then(|at| behind.get(at..)).filter(|path| path.starts_with('/')).or(is_scheme.then_some("/"))?
    };
    is_method.then(|| with_arguments.split(['?', '#']).next().unwrap_or(with_arguments))
}

/// Lines of one error log, in file order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBatch {
    /// The entries.
    pub entries: Vec<ErrorEntry>,
    /// Attempts to open a WebSocket whose debug lines are complete; only a log of level debug has any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub handshakes: Vec<Handshake>,
    /// What the follower met besides.
    #[serde(flatten)]
    pub read: ReadFigures,
}

/// One access-log line. A field that the format does not write is `None`: unknown, not zero.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccessEntry {
    /// When the request, or the tunnel, ended.
    pub at: Timestamp,
    /// `$remote_addr`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// `$request`, the whole request line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// `$host` or `$http_host` or `$server_name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// `$status`; 0 where nginx wrote `000`.
    pub status: u16,
    /// `$body_bytes_sent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_bytes_sent: Option<u64>,
    /// `$bytes_sent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_sent: Option<u64>,
    /// `$request_length`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_length: Option<u64>,
    /// `$request_time`: the lifetime of a tunnel.
    #[serde(default, with = "crate::time::opt_seconds", skip_serializing_if = "Option::is_none")]
    pub request_time: Option<Duration>,
    /// `$upstream_connect_time`, the last peer's.
    #[serde(default, with = "crate::time::opt_seconds", skip_serializing_if = "Option::is_none")]
    pub upstream_connect_time: Option<Duration>,
    /// `$upstream_header_time`: the latency of the handshake.
    #[serde(default, with = "crate::time::opt_seconds", skip_serializing_if = "Option::is_none")]
    pub upstream_header_time: Option<Duration>,
    /// `$upstream_response_time`.
    #[serde(default, with = "crate::time::opt_seconds", skip_serializing_if = "Option::is_none")]
    pub upstream_response_time: Option<Duration>,
    /// `$upstream_addr`, the last peer tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// `$upstream_status` of the last peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_status: Option<u16>,
    /// `$connection`: the error log's connection number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<u64>,
    /// `$request_completion` was `OK`; `Some(false)` when it was empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed: Option<bool>,
    /// `$http_upgrade`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<String>,
    /// `$http_user_agent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// The whole line, made safe to show.
    pub raw: String,
}

impl AccessEntry {
    /// A tunnel that was opened and has ended.
    #[must_use]
    pub const fn is_session(&self) -> bool {
        self.status == 101
    }

    /// How long the tunnel lived, where the line tells it: see [`lifetime`].
    #[must_use]
    pub fn lifetime(&self) -> Option<Duration> {
        lifetime(self.request_time, self.upstream_response_time)
    }

    /// The path of the request line, without the query.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        request_path(self.request.as_deref()?)
    }
}

/// How long a tunnel lived. `$request_time` also counts the lingering close behind it, up to `lingering_time`
/// (ngx_http_finalize_connection in http/ngx_http_request.c); `$upstream_response_time` ends with the tunnel.
#[must_use]
pub fn lifetime(request_time: Option<Duration>, upstream_response_time: Option<Duration>) -> Option<Duration> {
    match (request_time, upstream_response_time) {
        (Some(request), Some(upstream)) => Some(request.min(upstream)),
        (request, upstream) => request.or(upstream),
    }
}

/// Lines of one access log, in file order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AccessBatch {
    /// The entries.
    pub entries: Vec<AccessEntry>,
    /// What the follower met besides.
    #[serde(flatten)]
    pub read: ReadFigures,
}

/// What a follower met besides entries, since its last batch; `lines = entries + continuations + unparsed`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadFigures {
    /// Whole lines read.
    pub lines: u64,
    /// Lines without a head of their own that belong to the entry before; an empty line is one.
    pub continuations: u64,
    /// Lines that fit no grammar.
    pub unparsed: u64,
    /// Lines longer than the cap, of which only the beginning was kept.
    pub overlong: u64,
    /// Bytes in the file that are not read yet.
    pub behind: u64,
    /// These lines stood in the file before the program started.
    #[serde(default)]
    pub history: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_method_and_a_target_give_a_path() {
        for (request, path) in [
            ("GET /ws?x=1 HTTP/1.1", Some("/ws")),
            ("GET /ws#top", Some("/ws")),
            ("M-SEARCH / HTTP/1.0", Some("/")),
            ("GET /a b HTTP/1.1", Some("/a")),
            ("GET http://a.test:81/ws?x HTTP/1.1", Some("/ws")),
            ("GET http://a.test?x=/no HTTP/1.1", Some("/")),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 51992 443", None),
            ("PROXY TCP6 2001:db8::1 2001:db8::2 51992 443", None),
            ("PROXY UNKNOWN", None),
            ("CONNECT a.test:443 HTTP/1.1", None),
            ("OPTIONS * HTTP/1.1", None),
            ("get /ws HTTP/1.1", None),
            ("\\x16\\x03\\x01 /x", None),
            ("GET ://x/y HTTP/1.1", None),
            (" /ws", None),
            ("GET", None),
            ("GET ", None),
            ("", None),
        ] {
            assert_eq!(request_path(request), path, "{request}");
        }
    }

    #[test]
    fn a_lingering_close_is_no_lifetime() {
        let s = |n| Some(Duration::from_millis(n));
        assert_eq!(lifetime(s(31_000), s(2_200)), s(2_200));
        assert_eq!(lifetime(s(31_000), None), s(31_000));
        assert_eq!(lifetime(None, s(2_200)), s(2_200));
        assert_eq!(lifetime(None, None), None);
    }
}
