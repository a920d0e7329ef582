//! Rows of the kernel's socket tables, and the changes between two looks at them.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// TCP connection states (RFC 9293 section 3.3.2), numbered as in the kernel's include/net/tcp_states.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TcpState {
    /// Data flows.
    Established = 1,
    /// We sent SYN.
    SynSent = 2,
    /// We received SYN.
    SynReceived = 3,
    /// We closed; no answer yet.
    FinWait1 = 4,
    /// We closed; the peer has acknowledged.
    FinWait2 = 5,
    /// Both closed; waiting for stray segments.
    TimeWait = 6,
    /// Gone.
    Closed = 7,
    /// The peer closed; our program has not.
    CloseWait = 8,
    /// The peer closed, then we; last acknowledgement awaited.
    LastAck = 9,
    /// Waiting for connections.
    Listen = 10,
    /// Both closed at once.
    Closing = 11,
}

impl TcpState {
    /// The state with the kernel's number `n`; `TCP_NEW_SYN_RECV` (12) is a SYN-RECEIVED too.
    #[must_use]
    pub const fn from_kernel(n: u8) -> Option<Self> {
        Some(match n {
            1 => Self::Established,
            2 => Self::SynSent,
            3 | 12 => Self::SynReceived,
            4 => Self::FinWait1,
            5 => Self::FinWait2,
            6 => Self::TimeWait,
            7 => Self::Closed,
            8 => Self::CloseWait,
            9 => Self::LastAck,
            10 => Self::Listen,
            11 => Self::Closing,
            _ => return None,
        })
    }

    /// RFC 9293's name in lower case.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Established => "established",
            Self::SynSent => "syn-sent",
            Self::SynReceived => "syn-received",
            Self::FinWait1 => "fin-wait-1",
            Self::FinWait2 => "fin-wait-2",
            Self::TimeWait => "time-wait",
            Self::Closed => "closed",
            Self::CloseWait => "close-wait",
            Self::LastAck => "last-ack",
            Self::Listen => "listen",
            Self::Closing => "closing",
        }
    }
}

/// One connection as the kernel sees it from this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketRow {
    /// The kernel's socket cookie, unique while the machine runs. Where only /proc could be read it is the inode, or for a
    /// connection that no process holds a number above 2^63 made from its addresses.
    pub cookie: u64,
    /// Our end. v4-mapped IPv6 addresses are written as IPv4.
    pub local: SocketAddr,
    /// The other end.
    pub peer: SocketAddr,
    /// The state of the connection.
    pub state: TcpState,
    /// The inode of the socket, 0 when no process holds it any more.
    pub inode: u64,
    /// The nginx process that holds it, when that could be read.
    pub pid: Option<u32>,
    /// Bytes received and not yet read by the program.
    pub recv_q: u32,
    /// Bytes written and not yet acknowledged by the peer.
    pub send_q: u32,
    /// What tcp_info says; `None` when it could not be asked (/proc).
    pub info: Option<TcpInfo>,
}

/// The part of the kernel's `struct tcp_info` that matters to tunnels. A field that this kernel does not report is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpInfo {
    /// Smoothed round-trip time in microseconds.
    pub rtt_us: Option<u32>,
    /// Its variance in microseconds.
    pub rttvar_us: Option<u32>,
    /// Segments retransmitted in all.
    pub retransmits: Option<u32>,
    /// How often the retransmission timer has doubled for the segment that waits now, zero-window probes included.
    pub backoff: Option<u8>,
    /// Segments sent and not acknowledged.
    pub unacked: Option<u32>,
    /// Milliseconds since data was last sent, at the stamp of the delta that brought the row; it runs on by itself, so its
    /// passing alone is no change. A connection that never carried data shows its own age, one under way is `None`.
    pub last_sent_ms: Option<u32>,
    /// Milliseconds since data was last received; the same holds.
    pub last_received_ms: Option<u32>,
    /// Payload bytes received.
    pub bytes_received: Option<u64>,
    /// Payload bytes acknowledged by the peer.
    pub bytes_acked: Option<u64>,
    /// Payload bytes sent, with retransmissions.
    pub bytes_sent: Option<u64>,
}

/// One listening socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Where it listens.
    pub local: SocketAddr,
    /// Connections that wait for accept.
    pub queue: u32,
    /// How many may wait.
    pub backlog: u32,
}

/// Where socket rows come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SocketSource {
    /// netlink sock_diag: everything.
    Netlink,
    /// /proc/net/tcp: no byte counts, no idle times, no round-trip times.
    Procfs,
}

/// What changed since the last look. `full` replaces everything: the first one, and one a minute, so that a cut recording heals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketDelta {
    /// `rows` is the whole table, not a change.
    pub full: bool,
    /// How it was read.
    pub source: SocketSource,
    /// New rows and rows in which anything but the passing of idle time changed. A cookie that went over to another
    /// connection is a changed row.
    pub rows: Vec<SocketRow>,
    /// Cookies of the rows that are gone; in a full delta too.
    pub closed: Vec<u64>,
    /// Listening sockets on watched ports, always all of them; one each where several workers share an address
    /// (SO_REUSEPORT). None where only /proc could be read: it does not tell the backlog.
    pub listeners: Vec<Listener>,
    /// How long the look took.
    #[serde(with = "crate::time::seconds")]
    pub took: Duration,
    /// Time since the look before, which may have found nothing to tell; `None` for the first one. Byte counters grew in it.
    #[serde(default, with = "crate::time::opt_seconds", skip_serializing_if = "Option::is_none")]
    pub since: Option<Duration>,
}
