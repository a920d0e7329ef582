//! Reads the kernel's answers about TCP sockets: one `inet_diag_msg` with its attributes becomes one row.
//!
//! Layouts are those of linux/inet_diag.h and linux/tcp.h. Attributes are read by their length: a kernel that knows fewer
//! fields writes a shorter `tcp_info`, and what it did not write stays unknown.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::frame::{attributes, take, u32_at, u64_at};
use super::prints::{Print, Prints, What};
use super::row::{Found, Line, plain, watched};
use crate::event::socket::{Listener, SocketRow, Strain, TcpInfo, TcpState, TcpTimer};

/// The fixed part of a row, `sizeof(struct inet_diag_msg)`.
const FIXED: usize = 72;
/// Attributes of a request and of a row: the filter, `struct tcp_info`, and the control group's id (Linux 5.9).
const ATTR_BYTECODE: u16 = 1;
const ATTR_INFO: u16 = 2;
const ATTR_CGROUP: u16 = 21;
/// IPPROTO_TCP.
const TCP: u8 = 6;
/// Address families of the kernel, as in the first byte of a row.
pub(super) const FAMILY_V4: u8 = 2;
/// See [`FAMILY_V4`].
pub(super) const FAMILY_V6: u8 = 10;

/// The states asked for, as a bit mask: all that [`watched`] lets through.
fn states() -> u32 {
    (1..=11).filter(|n| TcpState::from_kernel(*n).is_some_and(watched)).map(|n| 1 << n).sum()
}

/// Which sockets are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// All that are watched.
    Watched,
    /// Those in TIME-WAIT, which belong to nobody any more and keep their local port.
    TimeWait,
    /// Those that wait for connections.
    Listening,
}

impl Which {
    fn states(self) -> u32 {
        match self {
            Self::Watched => states(),
            Self::TimeWait => 1 << TcpState::TimeWait as u32,
            Self::Listening => 1 << TcpState::Listen as u32,
        }
    }
}

/// A request for the TCP sockets of a family that `program` takes: `inet_diag_req_v2` (56 bytes) and the filter as an
/// attribute.
pub(super) fn tcp_request(family: u8, which: Which, program: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(60 + program.len());
    out.extend([family, TCP, 1 << (ATTR_INFO - 1), 0]);
    out.extend(which.states().to_ne_bytes());
    out.extend([0; 40]); // any ports, addresses and interface
    out.extend([0xff; 8]); // INET_DIAG_NOCOOKIE
    put_filter(&mut out, program);
    out
}

/// A request for those of both families: the older `inet_diag_req` (60 bytes), whose family the kernel does not look at
/// (inet_diag.c, `inet_diag_dump_compat`).
pub(super) fn tcp_request_both(which: Which, program: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + program.len());
    out.extend([FAMILY_V4, 0, 0, 1 << (ATTR_INFO - 1)]);
    out.extend([0; 40]); // any ports, addresses and interface
    out.extend([0xff; 8]); // INET_DIAG_NOCOOKIE
    out.extend(which.states().to_ne_bytes());
    out.extend([0; 4]); // unused
    put_filter(&mut out, program);
    out
}

fn put_filter(out: &mut Vec<u8>, program: &[u8]) {
    out.extend(u16::try_from(4 + program.len()).unwrap_or(u16::MAX).to_ne_bytes());
    out.extend(ATTR_BYTECODE.to_ne_bytes());
    out.extend_from_slice(program);
}

/// A connection as the kernel wrote it. Most are as they were at the last look: what is not asked for is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Raw<'a> {
    fixed: &'a [u8; FIXED],
    state: TcpState,
    info: Option<&'a [u8]>,
    nginx_group: Option<bool>,
}

/// One row from the payload of one netlink message; `groups` are the ids of nginx's control groups, none when unknown. `None`
/// for what is no TCP socket that we know: a shorter message, an unknown family or state, or a state that is not watched.
#[inline]
pub(super) fn row<'a>(payload: &'a [u8], groups: &[u64]) -> Option<Found<'a>> {
    let (fixed, rest) = payload.split_first_chunk::<FIXED>()?;
    let state = TcpState::from_kernel(fixed[1]).filter(|s| watched(*s))?;
    if !matches!(fixed[0], FAMILY_V4 | FAMILY_V6) {
        return None;
    }
    let mut raw = Raw { fixed, state, info: None, nginx_group: None };
    if state == TcpState::Listen {
        // For a listener the two queues mean: waiting for accept, and how many may wait (tcp_diag.c, tcp_diag_get_info).
        let (queue, backlog) = raw.queues();
        return Some(Found::Listening(raw.cookie(), Listener { local: raw.local(), queue, backlog: Some(backlog) }));
    }
    for (kind, value) in attributes(rest) {
        match kind {
            ATTR_INFO => raw.info = Some(value),
            ATTR_CGROUP if !groups.is_empty() => raw.nginx_group = u64_at(value, 0).map(|id| groups.contains(&id)),
            _ => {}
        }
    }
    Some(Found::Raw(raw))
}

/// Both ends of a connection in TIME-WAIT; `None` for anything else.
pub(super) fn time_wait(payload: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let fixed: [u8; FIXED] = take(payload, 0)?;
    let waits = TcpState::from_kernel(fixed[1]) == Some(TcpState::TimeWait);
    if waits { address(&fixed, 8, 4).zip(address(&fixed, 24, 6)) } else { None }
}

/// The address that begins at `ip` and the port at `port`.
fn address(fixed: &[u8; FIXED], ip: usize, port: usize) -> Option<SocketAddr> {
    let ip = match fixed[0] {
        FAMILY_V4 => IpAddr::V4(Ipv4Addr::from(take::<4>(fixed, ip)?)),
        FAMILY_V6 => IpAddr::V6(Ipv6Addr::from(take::<16>(fixed, ip)?)),
        _ => return None,
    };
    Some(plain(ip, take(fixed, port).map(u16::from_be_bytes)?))
}

impl Raw<'_> {
    /// Both ports as they are spoken.
    #[inline]
    pub(super) fn ports(&self) -> (u16, u16) {
        (u16::from_be_bytes(self.part(4)), u16::from_be_bytes(self.part(6)))
    }

    fn local(&self) -> SocketAddr {
        plain(self.ip(8), self.ports().0)
    }

    #[inline]
    fn part<const N: usize>(&self, at: usize) -> [u8; N] {
        take(self.fixed, at).unwrap_or([0; N])
    }

    #[inline]
    fn number(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.part(at))
    }

    #[inline]
    fn ip(&self, at: usize) -> IpAddr {
        if self.fixed[0] == FAMILY_V4 {
            IpAddr::V4(Ipv4Addr::from(self.part::<4>(at)))
        } else {
            IpAddr::V6(Ipv6Addr::from(self.part::<16>(at))).to_canonical()
        }
    }

    /// Received and not read, sent and not acknowledged.
    #[inline]
    fn queues(&self) -> (u32, u32) {
        (self.number(56), self.number(60))
    }

    #[inline]
    fn connected(&self) -> bool {
        !matches!(self.state, TcpState::SynSent | TcpState::SynReceived)
    }

    /// `None` while nothing waits and no window is closed.
    #[inline]
    fn strain(&self) -> Option<Strain> {
        let mut strain = Strain::default();
        if let Some(b) = self.info {
            fill(&mut strain, b, self.connected());
        }
        let backoff = self.info.and_then(|b| b.get(4).copied());
        let timer = TcpTimer::from_kernel(self.fixed[2]);
        strained(self.queues(), timer, backoff, &strain).then(|| {
            strain.timer_ms = timer.map(|_| self.number(52));
            strain
        })
    }
}

impl Line for Raw<'_> {
    #[inline]
    fn cookie(&self) -> u64 {
        u64::from(self.number(44)) | (u64::from(self.number(48)) << 32)
    }

    #[inline]
    fn inode(&self) -> u32 {
        self.number(68)
    }

    #[inline]
    fn print(&self, prints: &Prints) -> Print {
        let (local_port, peer_port) = self.ports();
        let identity = prints.identity([(self.ip(8), local_port), (self.ip(24), peer_port)], self.inode());
        let info = self.info.map(|b| tcp_info(b, self.connected()));
        let what = What {
            queues: self.queues(),
            state: self.state,
            timer: TcpTimer::from_kernel(self.fixed[2]),
            nginx_group: self.nginx_group,
        };
        Print {
            identity,
            content: prints.content(what, info.as_ref(), self.strain().as_ref()),
            idle: Print::idle(info.as_ref()),
        }
    }

    fn row(&self) -> SocketRow {
        let (local, peer) = (self.local(), plain(self.ip(24), self.ports().1));
        let (recv_q, send_q) = self.queues();
        SocketRow {
            inode: self.inode(),
            nginx_group: self.nginx_group,
            recv_q,
            send_q,
            timer: TcpTimer::from_kernel(self.fixed[2]),
            info: self.info.map(|b| tcp_info(b, self.connected())),
            strain: self.strain().map(Box::new),
            ..SocketRow::new(self.cookie(), local, peer, self.state)
        }
    }
}

/// `struct tcp_info` as far as it was written.
#[inline]
fn tcp_info(b: &[u8], connected: bool) -> TcpInfo {
    // A kernel without a sample yet writes 0; no network answers in less than a microsecond.
    let rtt_us = u32_at(b, 68).filter(|us| *us > 0);
    TcpInfo {
        rtt_us,
        rttvar_us: rtt_us.and(u32_at(b, 72)),
        retransmits: u32_at(b, 100),
        backoff: b.get(4).copied(),
        unacked: u32_at(b, 24).map(|n| u16::try_from(n).unwrap_or(u16::MAX)),
        // Before the handshake is over the two moments are those of no data at all, but of whatever the memory held.
        last_sent_ms: u32_at(b, 44).filter(|_| connected),
        last_received_ms: u32_at(b, 52).filter(|_| connected),
        bytes_received: u64_at(b, 128),
        bytes_acked: u64_at(b, 120),
        bytes_sent: u64_at(b, 200),
    }
}

/// What `struct tcp_info` says of difficulties, as far as it was written.
#[inline]
fn fill(strain: &mut Strain, b: &[u8], connected: bool) {
    let ms = |at| u64_at(b, at).map(|us| u32::try_from(us / 1_000).unwrap_or(u32::MAX));
    strain.probes = b.get(3).copied();
    strain.retransmitting = u32_at(b, 36);
    strain.lost = u32_at(b, 32);
    strain.unsent = u32_at(b, 144);
    // The peer's window is not known before it has answered.
    strain.peer_window = u32_at(b, 228).filter(|_| connected);
    strain.own_window = u32_at(b, 232).filter(|_| connected);
    (strain.busy_ms, strain.peer_limited_ms, strain.buffer_limited_ms) = (ms(168), ms(176), ms(184));
}

/// Something waits, a window is closed, or a silent peer is to be asked whether it lives: the rest is then worth its memory.
#[inline]
fn strained(queues: (u32, u32), timer: Option<TcpTimer>, backoff: Option<u8>, strain: &Strain) -> bool {
    let some = |n: Option<u32>| n.is_some_and(|n| n > 0);
    let closed = |window| window == Some(0);
    queues != (0, 0)
        || timer == Some(TcpTimer::Keepalive)
        || backoff.is_some_and(|n| n > 0)
        || strain.probes.is_some_and(|n| n > 0)
        || some(strain.retransmitting)
        || some(strain.lost)
        || closed(strain.peer_window)
        || closed(strain.own_window)
}

#[cfg(test)]
mod tests {
    use super::super::frame::messages;
    use super::super::frame::tests::attribute;
    use super::*;
    use proptest::prelude::*;

    /// The layout test for kernels of any age: a fixed part made by hand, then an attribute of `length` bytes of tcp_info.
    fn made(state: u8, family: u8, length: usize) -> Vec<u8> {
        let mut m = vec![0; FIXED];
        m[0] = family;
        m[1] = state;
        m[4..6].copy_from_slice(&443_u16.to_be_bytes());
        m[6..8].copy_from_slice(&51000_u16.to_be_bytes());
        m[44..48].copy_from_slice(&7_u32.to_ne_bytes());
        m[48..52].copy_from_slice(&1_u32.to_ne_bytes());
        // An attribute of another kind with an odd length before it: padding must be stepped over.
        m.extend(attribute(5, &[9; 11]));
        let info: Vec<u8> = (0..length).map(|i| u8::try_from(i % 251).expect("small")).collect();
        m.extend(attribute(ATTR_INFO, &info));
        m
    }

    fn connection(payload: &[u8]) -> SocketRow {
        match row(payload, &[]).map(Found::decoded) {
            Some(Found::Connection(r)) => r,
            other => panic!("no connection: {other:?}"),
        }
    }

    #[test]
    fn an_older_kernels_shorter_tcp_info_leaves_the_rest_unknown() {
        // 104 bytes: the struct of Linux 2.6; 192: 4.9; 232: 5.5 and later.
        let old = connection(&made(1, FAMILY_V4, 104)).info.expect("info");
        assert!(old.rtt_us.is_some() && old.retransmits.is_some() && old.last_received_ms.is_some());
        assert_eq!((old.bytes_received, old.bytes_acked, old.bytes_sent), (None, None, None));
        let middle = connection(&made(1, FAMILY_V4, 192)).info.expect("info");
        assert!(middle.bytes_received.is_some() && middle.bytes_acked.is_some());
        assert_eq!(middle.bytes_sent, None);
        assert!(connection(&made(1, FAMILY_V4, 232)).info.expect("info").bytes_sent.is_some());
        assert_eq!(connection(&made(1, FAMILY_V4, 0)).info, Some(TcpInfo::default()));
    }

    #[test]
    fn the_cookie_is_both_halves() {
        assert_eq!(connection(&made(1, FAMILY_V4, 0)).cookie, (1 << 32) | 7);
    }

    #[test]
    fn a_connection_under_way_has_no_idle_times() {
        for (state, known) in [(2, false), (3, false), (12, false), (1, true), (8, true)] {
            let info = connection(&made(state, FAMILY_V4, 232)).info.expect("info");
            assert_eq!((info.last_sent_ms.is_some(), info.last_received_ms.is_some()), (known, known), "state {state}");
        }
    }

    #[test]
    fn a_round_trip_time_of_zero_is_unknown() {
        let mut m = made(1, FAMILY_V4, 232);
        let rtt = FIXED + 16 + 4 + 68;
        m[rtt..rtt + 4].fill(0);
        let info = connection(&m).info.expect("info");
        assert_eq!((info.rtt_us, info.rttvar_us), (None, None));
    }

    #[test]
    fn what_is_not_watched_or_not_known_is_no_row() {
        for state in [0, 6, 7, 13, 255] {
            assert_eq!(row(&made(state, FAMILY_V4, 0), &[]), None, "state {state}");
        }
        let ends = |state| time_wait(&made(state, FAMILY_V4, 0)).map(|(local, peer)| (local.port(), peer.port()));
        assert_eq!((ends(6), ends(1)), (Some((443, 51000)), None));
        assert_eq!(row(&made(1, 1, 0), &[]), None, "a unix socket");
        assert_eq!(row(&made(1, FAMILY_V4, 0)[..FIXED - 1], &[]), None, "cut short");
        assert_eq!(connection(&made(1, FAMILY_V4, 0)[..FIXED]).info, None, "no attributes");
    }

    /// A row whose tcp_info is all zero but for these bytes.
    fn with_info(head: &[(usize, u32)], info: &[(usize, u8)]) -> SocketRow {
        let mut m = made(1, FAMILY_V4, 0);
        m.truncate(FIXED);
        for (at, n) in head {
            m[*at..at + 4].copy_from_slice(&n.to_ne_bytes());
        }
        let mut b = vec![0; 240];
        b[228] = 1; // both windows open
        b[232] = 1;
        for (at, n) in info {
            b[*at] = *n;
        }
        m.extend(attribute(ATTR_INFO, &b));
        connection(&m)
    }

    #[test]
    fn a_quiet_connection_has_no_strain_and_a_troubled_one_says_where_it_hurts() {
        type Case = (&'static str, &'static [(usize, u32)], &'static [(usize, u8)], fn(&Strain) -> bool);
        let cases: [Case; 7] = [
            ("unread data", &[(56, 9)], &[], |s| s.probes == Some(0)),
            ("unsent data", &[(60, 9)], &[(144, 9)], |s| s.unsent == Some(9)),
            ("probes", &[], &[(3, 2)], |s| s.probes == Some(2)),
            ("loss", &[], &[(32, 4)], |s| s.lost == Some(4)),
            ("sent again", &[], &[(36, 5)], |s| s.retransmitting == Some(5)),
            ("the peer's window is closed", &[], &[(228, 0)], |s| s.peer_window == Some(0)),
            ("our window is closed", &[], &[(232, 0)], |s| s.own_window == Some(0)),
        ];
        assert_eq!(with_info(&[], &[]).strain, None);
        for (what, head, info, told) in cases {
            let strain = with_info(head, info).strain.unwrap_or_else(|| panic!("{what}"));
            assert!(told(&strain), "{what}: {strain:?}");
        }
    }

    #[test]
    fn the_timer_is_told_with_the_time_that_is_left() {
        for (number, timer) in [
            (0, None),
            (1, Some(TcpTimer::Retransmit)),
            (2, Some(TcpTimer::Keepalive)),
            (4, Some(TcpTimer::Persist)),
            (9, None),
        ] {
            let mut m = made(1, FAMILY_V4, 0);
            m[2] = number;
            m[52..56].copy_from_slice(&1_500_u32.to_ne_bytes());
            m[60..64].copy_from_slice(&1_u32.to_ne_bytes());
            let row = connection(&m);
            assert_eq!(row.timer, timer);
            assert_eq!(row.strain.expect("data waits").timer_ms, timer.map(|_| 1_500));
        }
    }

    #[test]
    fn a_closed_window_of_a_peer_that_never_answered_is_unknown() {
        let strained = connection(&made(2, FAMILY_V4, 240)).strain.expect("the bytes say trouble");
        assert_eq!((strained.peer_window, strained.own_window), (None, None));
    }

    #[test]
    fn the_control_group_tells_nginxs_sockets_from_others() {
        let of = |id: u64, groups: &[u64]| {
            let mut m = made(1, FAMILY_V4, 0);
            m.extend(attribute(ATTR_CGROUP, &id.to_ne_bytes()));
            match row(&m, groups).map(Found::decoded) {
                Some(Found::Connection(r)) => r.nginx_group,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!((of(5, &[4, 5]), of(6, &[4, 5]), of(6, &[])), (Some(true), Some(false), None));
        assert_eq!(connection(&made(1, FAMILY_V4, 0)).nginx_group, None, "an older kernel");
    }

    fn unhex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|d| u8::from_str_radix(std::str::from_utf8(d).expect("ascii"), 16).expect("hex")).collect()
    }

    /// The rows of a captured answer, and whether it was whole; `None` when it was noticed to be garbled.
    fn captured(bytes: &[u8], cut: bool) -> (Vec<Found<'static>>, Option<bool>) {
        let mut rows = Vec::new();
        let heard =
            messages(bytes, 7, cut, "TCP sockets", &mut |payload| rows.extend(row(payload, &[]).map(Found::decoded)));
        (rows, heard.ok().map(|h| h.done))
    }

    // Captured on Linux 6.18, x86-64: a listener on 127.0.0.2 (backlog 5) and its connection from 127.0.0.3, which has
    // received 11 bytes of which 5 were read.
    #[cfg(target_endian = "little")]
    #[test]
    fn a_captured_answer_is_read() {
        let (rows, whole) = captured(&unhex(include_str!("../../../tests/data/sock_diag_v4.hex")), false);
        assert_eq!(whole, Some(true));
        let [Found::Listening(_, listener), Found::Connection(row)] = rows.as_slice() else { panic!("{rows:?}") };
        let (ip, waiting) = (listener.local.ip().to_string(), (listener.queue, listener.backlog));
        assert_eq!((ip.as_str(), waiting), ("127.0.0.2", (0, Some(5))));
        assert_eq!((row.local, row.peer.ip().to_string()), (listener.local, "127.0.0.3".into()));
        assert_eq!((row.state, row.recv_q, row.send_q, row.timer), (TcpState::Established, 6, 0, None));
        assert!(row.inode > 0 && row.cookie > 0);
        let info = row.info.expect("tcp_info");
        assert_eq!((info.bytes_received, info.bytes_sent, info.bytes_acked), (Some(11), Some(0), Some(0)));
        assert_eq!((info.retransmits, info.backoff, info.unacked), (Some(0), Some(0), Some(0)));
        assert!(info.rtt_us.is_some_and(|us| us < 100_000) && info.last_received_ms.is_some_and(|ms| ms < 60_000));
        let strain = row.strain.as_ref().expect("6 bytes are unread");
        assert!(strain.peer_window.is_some_and(|w| w > 0) && strain.own_window.is_some_and(|w| w > 0), "{strain:?}");
        assert_eq!((strain.unsent, strain.lost, strain.probes), (Some(0), Some(0), Some(0)));
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn a_captured_dual_stack_connection_has_ipv4_addresses() {
        let (rows, _) = captured(&unhex(include_str!("../../../tests/data/sock_diag_v6.hex")), false);
        let [Found::Connection(row)] = rows.as_slice() else { panic!("{rows:?}") };
        assert_eq!((row.local.ip().to_string(), row.peer.ip().to_string()), ("127.0.0.1".into(), "127.0.0.1".into()));
        assert_ne!(row.info, Some(TcpInfo::default()));
    }

    // Cut anywhere, a capture is an error or a part of the rows, never a panic and never a wrong row.
    #[cfg(target_endian = "little")]
    #[test]
    fn a_capture_cut_anywhere_is_noticed() {
        let whole = unhex(include_str!("../../../tests/data/sock_diag_v4.hex"));
        let (all, _) = captured(&whole, false);
        for end in 1..whole.len() {
            let (rows, done) = captured(&whole[..end], false);
            assert!(all.starts_with(&rows), "cut at {end}");
            assert_ne!(done, Some(true), "cut at {end}");
            let (rows, done) = captured(&whole[..end], true);
            assert!(all.starts_with(&rows) && done == Some(false), "cut at {end}, as announced");
        }
    }

    #[test]
    fn every_watched_state_is_asked_for_and_no_other() {
        let asked: Vec<u8> = (0..32).filter(|n| states() & (1 << n) != 0).collect();
        assert_eq!(asked, [1, 2, 3, 4, 5, 8, 9, 10, 11], "no TIME-WAIT (6), no CLOSED (7)");
    }

    proptest! {
        /// What is not decoded has the fingerprints of what is: a row is told for no other reason than before.
        #[test]
        fn a_connection_has_the_same_fingerprints_read_or_not(
            mut bytes in proptest::collection::vec(any::<u8>(), FIXED),
            info in proptest::option::of(proptest::collection::vec(prop_oneof![3 => Just(0_u8), 1 => any::<u8>()], 0..260)),
            (state, v6, quiet) in (1_u8..12, any::<bool>(), any::<bool>()),
        ) {
            bytes[..2].copy_from_slice(&[if v6 { FAMILY_V6 } else { FAMILY_V4 }, state]);
            if quiet {
                bytes[56..64].fill(0);
            }
            bytes.extend(attribute(ATTR_CGROUP, &7_u64.to_ne_bytes()));
            bytes.extend(info.iter().flat_map(|i| attribute(ATTR_INFO, i)));
            let prints = Prints::default();
            if let Some(Found::Raw(raw)) = row(&bytes, &[7]) {
                let read = raw.row();
                prop_assert_eq!(raw.print(&prints), read.print(&prints));
                prop_assert_eq!((raw.cookie(), raw.inode()), (read.cookie, read.inode));
                prop_assert_eq!(raw.ports(), (read.local.port(), read.peer.port()));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), state in 0u8..14) {
            let _ = row(&bytes, &[7]);
            if let Some(head) = bytes.get_mut(..2) {
                head.copy_from_slice(&[FAMILY_V6, state]);
            }
            let _ = row(&bytes, &[7]);
        }
    }
}
