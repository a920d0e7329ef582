//! The life of a probe, step by step: dialled, upgraded or refused, held with pings, closed, dialled again.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Whether a probe goes the clients' way through nginx, or straight to the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Route {
    /// Through the proxy, as clients come.
    Proxy,
    /// Directly to the backend.
    Direct,
}

/// One thing that is probed. Two probes with the same `endpoint` are twins: the same service by two routes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TargetId {
    /// The URL that clients use; the direct twin carries its partner's.
    pub endpoint: Arc<str>,
    /// By which route.
    pub route: Route,
    /// The URL that is dialled.
    pub url: Arc<str>,
    /// The tunnel that is held at a pace of its own beside the ordinary probe; `None`: the ordinary probe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cadence: Option<Cadence>,
}

/// The pace at which a tunnel is pinged to see what the path lets live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cadence {
    /// Never: the server's own pings are answered, and nothing else is said.
    Silent,
    /// From ping to ping.
    Every(#[serde(with = "crate::time::seconds")] Duration),
}

impl Cadence {
    /// The longest silence that it leaves on its own account; `None`: without end.
    #[must_use]
    pub const fn pause(self) -> Option<Duration> {
        match self {
            Self::Silent => None,
            Self::Every(pause) => Some(pause),
        }
    }
}

/// `silent`, `10s`, `1500ms`.
impl fmt::Display for Cadence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => f.pad("silent"),
            Self::Every(d) if d.subsec_millis() == 0 => f.pad(&format!("{}s", d.as_secs())),
            Self::Every(d) => f.pad(&format!("{}ms", d.as_millis())),
        }
    }
}

/// Pongs of one tunnel that answered no ping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Strays {
    /// Answers to a ping that was answered before, or after which a younger one was answered.
    pub out_of_order: u64,
    /// Came while a ping was on its way, and bear other bytes than it (RFC 6455 section 5.5.3 wants the same).
    pub wrong_payload: u64,
    /// Came while nothing was asked; allowed as a one-way heartbeat (RFC 6455 section 5.5.3).
    pub unsolicited: u64,
}

impl Strays {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.out_of_order.saturating_add(self.wrong_payload).saturating_add(self.unsolicited)
    }
}

/// One step in the life of one probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeEvent {
    /// Whose life.
    pub target: TargetId,
    /// What happened.
    pub step: Step,
}

/// What happened to a probe. Durations are measured in the probe with a monotonic clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Step {
    /// A new attempt began; the first is 1.
    Dialing {
        /// Which attempt.
        attempt: u64,
    },
    /// The name was resolved (an address literal takes no time).
    Resolved {
        /// How long it took.
        #[serde(with = "crate::time::seconds")]
        took: Duration,
        /// All addresses, in the resolver's order.
        addresses: Vec<SocketAddr>,
    },
    /// TCP is up.
    Connected {
        /// How long it took.
        #[serde(with = "crate::time::seconds")]
        took: Duration,
        /// Our end: the very socket that the socket table shows as a client leg.
        local: SocketAddr,
        /// The address that answered.
        peer: SocketAddr,
        /// Addresses that were tried before and failed, and how: `[2001:db8::1]:443: network is unreachable`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        failed: Vec<String>,
    },
    /// A unix socket is connected.
    Attached {
        /// How long it took.
        #[serde(with = "crate::time::seconds")]
        took: Duration,
        /// Its path.
        path: String,
    },
    /// An HTTP proxy opened the way to the server (CONNECT, RFC 9110 section 9.3.6).
    Tunnelled {
        /// How long it took.
        #[serde(with = "crate::time::seconds")]
        took: Duration,
        /// The proxy's host and port.
        proxy: String,
    },
    /// TLS is up.
    Secured {
        /// How long it took.
        #[serde(with = "crate::time::seconds")]
        took: Duration,
        /// What was negotiated.
        tls: Tls,
    },
    /// The answer was a valid 101.
    Upgraded {
        /// From the request's first byte to the end of the answer's header.
        #[serde(with = "crate::time::seconds")]
        took: Duration,
        /// The request as sent, secrets redacted.
        request: String,
        /// The answer.
        answer: Answer,
    },
    /// The attempt failed, at whatever phase.
    Refused {
        /// Where and why.
        failure: Failure,
        /// How long the failing phase took.
        #[serde(with = "crate::time::seconds")]
        took: Duration,
        /// The request as sent, secrets redacted; empty when none was sent.
        #[serde(default)]
        request: String,
        /// The whole answer when there was one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        answer: Option<Answer>,
        /// What TLS showed, also when it was distrusted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tls: Option<Tls>,
    },
    /// A ping was sent. Told with its pong, or 20 ms later: whoever was told at once would wake up amid the round trip.
    Pinged {
        /// Its number.
        seq: u64,
    },
    /// Its pong came back.
    Pong {
        /// The ping's number.
        seq: u64,
        /// Round-trip time.
        #[serde(with = "crate::time::seconds")]
        rtt: Duration,
    },
    /// No pong within the ping timeout.
    Missed {
        /// The ping's number.
        seq: u64,
    },
    /// Pongs came that answered nothing. Told with the next ping and with the end, so that a flood of them is none here.
    Strays {
        /// How many of each kind since the tunnel opened.
        #[serde(flatten)]
        strays: Strays,
    },
    /// The text of the message heartbeat was sent.
    Asked {
        /// Its number.
        seq: u64,
    },
    /// Its answer came.
    Answered {
        /// The question's number.
        seq: u64,
        /// How long it took; unknown when this process did not run meanwhile.
        #[serde(default, with = "crate::time::opt_seconds", skip_serializing_if = "Option::is_none")]
        rtt: Option<Duration>,
    },
    /// No answer came within the ping timeout.
    Unanswered {
        /// The question's number.
        seq: u64,
    },
    /// The tunnel ended.
    Closed {
        /// Who ended it.
        by: ClosedBy,
        /// The code of the close frame (RFC 6455 section 7.4); `None` when there was none (a browser reports 1006).
        code: Option<u16>,
        /// The reason in the close frame, or the error's text.
        reason: String,
        /// How long the tunnel was open.
        #[serde(with = "crate::time::seconds")]
        held: Duration,
        /// Time since the last byte in either direction; a close frame that ends the tunnel does not count itself.
        #[serde(with = "crate::time::seconds")]
        idle: Duration,
    },
    /// The next attempt comes after this pause.
    Waiting {
        /// The pause.
        #[serde(with = "crate::time::seconds")]
        delay: Duration,
    },
    /// The probe was switched off.
    Stopped,
}

/// Who ended a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClosedBy {
    /// A close frame came from the server.
    ServerClose,
    /// FIN without a close frame: what nginx's idle cut looks like.
    Fin,
    /// RST.
    Reset,
    /// Pongs stopped; we gave up.
    PongTimeout,
    /// The server broke the protocol.
    ProtocolError,
    /// We closed.
    Us,
}

/// The phases of a dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Name to addresses.
    Resolve,
    /// TCP connect.
    Connect,
    /// Reaching an HTTP proxy, where one is asked for the way and cannot be reached, and its CONNECT.
    Proxy,
    /// TLS handshake.
    Tls,
    /// The WebSocket opening handshake.
    Upgrade,
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// In which phase.
    pub phase: Phase,
    /// Which of the known ways.
    pub kind: FailureKind,
    /// One sentence: what failed, on what.
    pub said: String,
}

/// The ways in which a dial fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The name has no address.
    NameNotFound,
    /// Nobody listens there (RST to SYN).
    ConnectionRefused,
    /// No answer in time, in the phase named beside.
    Timeout,
    /// No route to the host or network.
    Unreachable,
    /// The certificate is past its end.
    TlsExpired,
    /// The certificate is for other names.
    TlsNameMismatch,
    /// The chain does not end in a trusted root.
    TlsUntrusted,
    /// Any other TLS failure.
    TlsFailed,
    /// The peer does not speak TLS.
    NotTls,
    /// The peer closed before an answer.
    ClosedEarly,
    /// The peer reset the connection.
    Reset,
    /// The answer is HTTP, but no 101.
    HttpStatus,
    /// A 101 whose Sec-WebSocket-Accept is missing or wrong.
    AcceptMismatch,
    /// A 101 without `Upgrade: websocket` or without `Connection: upgrade`.
    BadUpgradeHeaders,
    /// The answer is no HTTP.
    NotHttp,
    /// The server chose a subprotocol that was not offered, or none of those offered.
    SubprotocolMismatch,
    /// Any other input or output error.
    Io,
}

/// An HTTP answer, kept whole: headers in their own case and order, and the beginning of the body.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// `HTTP/1.1`.
    pub version: String,
    /// The status code.
    pub status: u16,
    /// The reason phrase.
    pub reason: String,
    /// Names and values as sent, made safe to show.
    pub headers: Vec<(String, String)>,
    /// The first bytes of the body, made safe to show; its line ends stay. When the header could not be read whole, what
    /// came behind the status line.
    pub body: String,
}

impl Answer {
    /// The first value of the header `name`, without regard to case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
}

/// What a TLS handshake showed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    /// `TLSv1.3`; `None` when the handshake did not get that far.
    pub version: Option<String>,
    /// The cipher suite's name.
    pub cipher: Option<String>,
    /// The protocol chosen by ALPN.
    pub alpn: Option<String>,
    /// The subject of the server's certificate.
    pub subject: Option<String>,
    /// The issuer of the server's certificate.
    pub issuer: Option<String>,
    /// The names it is for.
    pub names: Vec<String>,
    /// The end of its validity.
    pub not_after: Option<Timestamp>,
    /// How many certificates the server sent.
    pub chain: usize,
    /// Those that it sent behind its own, in its order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub above: Vec<Issuer>,
}

/// A certificate behind the server's own (RFC 8446 section 4.4.2: each should certify the one before).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issuer {
    /// Whose it is.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// The end of its validity.
    pub not_after: Timestamp,
}
