//! Rows of the kernel's socket tables, and the changes between two looks at them.
//!
//! A row is kept for every watched socket, so it is compact: what only a connection in difficulties has is boxed.

use std::net::SocketAddr;
use std::sync::Arc;
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

/// One TCP connection as the kernel sees it from this host: 200 bytes at most.
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
    /// The inode of the socket, 0 when no process holds it any more. Sockets take theirs from a counter of 32 bits
    /// (fs/inode.c, `get_next_ino`).
    pub inode: u32,
    /// The nginx process that holds it, when that could be read.
    pub pid: Option<u32>,
    /// Whether it was made in a control group in which one of nginx's processes runs: false for another service's socket.
    /// `None` when that is not known (/proc; kernels before 5.9; control groups of version 1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nginx_group: Option<bool>,
    /// Bytes received and not yet read by the program.
    pub recv_q: u32,
    /// Bytes written and not yet acknowledged by the peer.
    pub send_q: u32,
    /// The timer that runs; `None` when none does, or it was not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timer: Option<TcpTimer>,
    /// What tcp_info says; `None` when it could not be asked (/proc).
    pub info: Option<TcpInfo>,
    /// What holds the connection up; `None` while nothing waits to be read, sent or acknowledged and no window is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strain: Option<Box<Strain>>,
}

impl SocketRow {
    /// A row of which no more is known than this.
    #[must_use]
    pub const fn new(cookie: u64, local: SocketAddr, peer: SocketAddr, state: TcpState) -> Self {
        Self {
            cookie,
            local,
            peer,
            state,
            inode: 0,
            pid: None,
            nginx_group: None,
            recv_q: 0,
            send_q: 0,
            timer: None,
            info: None,
            strain: None,
        }
    }
}

/// What a connection's timer is for (net/ipv4/inet_diag.c, `inet_sk_diag_fill`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TcpTimer {
    /// Data was sent and its acknowledgement is awaited: it will be sent again.
    Retransmit,
    /// The connection is silent: its peer will be asked whether it lives (`so_keepalive`).
    Keepalive,
    /// A closed connection waits for stray segments.
    TimeWait,
    /// The peer's window is closed: it will be asked whether it has opened (zero-window probe).
    Persist,
}

impl TcpTimer {
    /// The timer with the kernel's number `n`, in `idiag_timer` and in the column `tr` of /proc/net/tcp.
    #[must_use]
    pub const fn from_kernel(n: u8) -> Option<Self> {
        Some(match n {
            1 => Self::Retransmit,
            2 => Self::Keepalive,
            3 => Self::TimeWait,
            4 => Self::Persist,
            _ => return None,
        })
    }

    /// One word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Retransmit => "retransmit",
            Self::Keepalive => "keepalive",
            Self::TimeWait => "time-wait",
            Self::Persist => "persist",
        }
    }
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
    /// Segments sent and not acknowledged; 65,535 stands for more.
    pub unacked: Option<u16>,
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

/// What holds a connection up. A field that this kernel, or /proc, does not report is `None`. The times run on by themselves,
/// so their passing alone is no change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Strain {
    /// Milliseconds until the timer runs out.
    pub timer_ms: Option<u32>,
    /// Probes sent, for a closed window or a silent peer, that were not answered.
    pub probes: Option<u8>,
    /// Segments sent again and not yet acknowledged.
    pub retransmitting: Option<u32>,
    /// Segments taken for lost.
    pub lost: Option<u32>,
    /// Bytes written by the program and never sent yet (Linux 4.6).
    pub unsent: Option<u32>,
    /// Bytes that the peer has room for; 0 is a peer that does not read (Linux 5.4).
    pub peer_window: Option<u32>,
    /// Bytes that we have told the peer it may send; 0 is a program of ours that does not read (Linux 6.2).
    pub own_window: Option<u32>,
    /// Milliseconds of its life in which it had data to send (Linux 4.10).
    pub busy_ms: Option<u32>,
    /// Those among them in which the peer's window stopped it.
    pub peer_limited_ms: Option<u32>,
    /// Those among them in which our send buffer stopped it.
    pub buffer_limited_ms: Option<u32>,
}

/// One listening socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Where it listens.
    pub local: SocketAddr,
    /// Connections that wait for accept.
    pub queue: u32,
    /// How many may wait; `None` where only /proc could be read.
    pub backlog: Option<u32>,
}

/// nginx's end of one connection to a backend's unix socket. The kernel counts no bytes and no times for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnixRow {
    /// The kernel's socket cookie, of the same counter as those of TCP sockets.
    pub cookie: u64,
    /// The path of the backend's socket, as the configuration names it.
    pub path: Arc<str>,
    /// How far it is.
    pub state: UnixState,
    /// The inode of nginx's end.
    pub inode: u32,
    /// The inode of the backend's end; `None` before it is accepted and after the backend has closed it.
    pub peer_inode: Option<u32>,
    /// The nginx process that holds it, when that could be read.
    pub pid: Option<u32>,
    /// Bytes received and not yet read by nginx.
    pub recv_q: Option<u32>,
    /// Memory in bytes of what nginx wrote and the backend has not read: more than the payload alone.
    pub send_q: Option<u32>,
}

/// How far a connection to a unix socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnixState {
    /// Connected, and not yet accepted by the backend.
    Waiting,
    /// Data flows.
    Open,
    /// The backend has closed it; nginx has not.
    PeerClosed,
}

/// A backend's listening unix socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnixListener {
    /// Its path, as the configuration names it.
    pub path: Arc<str>,
    /// Connections that wait for accept.
    pub queue: Option<u32>,
    /// How many may wait.
    pub backlog: Option<u32>,
}

/// Where socket rows come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SocketSource {
    /// netlink sock_diag: everything.
    #[default]
    Netlink,
    /// /proc/net/tcp: no byte counts, no idle times, no round-trip times.
    Procfs,
}

/// What changed since the last look. `full` replaces everything: the first one, and one a minute, so that a cut recording heals.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketDelta {
    /// `rows` and `unix` are the whole tables, not changes.
    pub full: bool,
    /// How it was read.
    pub source: SocketSource,
    /// New rows and rows in which anything but the passing of time changed. A cookie that went over to another
    /// connection is a changed row.
    pub rows: Vec<SocketRow>,
    /// Cookies of the rows that are gone, TCP and unix; in a full delta too.
    pub closed: Vec<u64>,
    /// Listening sockets on watched ports, always all of them; one each where several workers share an address
    /// (SO_REUSEPORT).
    pub listeners: Vec<Listener>,
    /// New and changed connections to the backends' unix sockets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unix: Vec<UnixRow>,
    /// Those sockets themselves, always all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unix_listeners: Vec<UnixListener>,
    /// Connections in TIME-WAIT by backend address, each of which keeps a local port; `None` when they were not counted this
    /// time: that is done less often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_wait: Option<Vec<(SocketAddr, u32)>>,
    /// How long the look took.
    #[serde(with = "crate::time::seconds")]
    pub took: Duration,
    /// Time since the look before, which may have found nothing to tell, or since the kernel's counters last told that nothing had
    /// moved; `None` for the first one. Byte counters grew in it.
    #[serde(default, with = "crate::time::opt_seconds", skip_serializing_if = "Option::is_none")]
    pub since: Option<Duration>,
}

impl SocketDelta {
    /// It tells of connections, and not only that there was a look.
    #[must_use]
    pub fn tells_of_connections(&self) -> bool {
        !(self.rows.is_empty() && self.closed.is_empty() && self.unix.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watched_socket_costs_two_hundred_bytes_and_one_in_difficulties_a_hundred_more() {
        assert!(size_of::<SocketRow>() <= 200, "{} bytes", size_of::<SocketRow>());
        assert!(size_of::<Strain>() <= 80, "{} bytes", size_of::<Strain>());
        assert!(size_of::<UnixRow>() <= 80, "{} bytes", size_of::<UnixRow>());
    }

    #[test]
    fn a_row_of_an_older_recording_is_still_read() {
        let old = r#"{"cookie":7,"local":"127.0.0.1:80","peer":"127.0.0.1:5","state":"established","inode":5,"pid":null,
            "recv_q":0,"send_q":0,"info":{"rtt_us":5,"unacked":1}}"#;
        let row: SocketRow = serde_json::from_str(old).expect("read");
        assert_eq!((row.info.and_then(|i| i.unacked), row.strain, row.timer), (Some(1), None, None));
    }

    #[test]
    fn a_quiet_row_is_written_without_what_it_has_not() {
        let end: SocketAddr = ([127, 0, 0, 1], 80).into();
        let written = serde_json::to_string(&SocketRow::new(1, end, end, TcpState::Established)).expect("written");
        assert!(!written.contains("strain") && !written.contains("timer"), "{written}");
    }
}
