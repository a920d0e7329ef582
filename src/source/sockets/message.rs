//! Reads the kernel's sock_diag answers: one `inet_diag_msg` with its attributes becomes one row.
//!
//! Layouts are those of linux/inet_diag.h and linux/tcp.h. Attributes are read by their length: a kernel that knows fewer
//! fields writes a shorter `tcp_info`, and what it did not write stays unknown.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::row::{Found, plain, watched};
use crate::event::socket::{Listener, SocketRow, TcpInfo, TcpState};

/// The fixed part of a row, `sizeof(struct inet_diag_msg)`.
const FIXED: usize = 72;
/// The attribute that holds `struct tcp_info`.
pub(super) const ATTR_INFO: u16 = 2;
/// Address families of the kernel, as in the first byte of a row.
pub(super) const FAMILY_V4: u8 = 2;
/// See [`FAMILY_V4`].
pub(super) const FAMILY_V6: u8 = 10;

/// The `N` bytes at `at`, if they are there.
pub(super) fn take<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// A number in the machine's byte order.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    take(bytes, at).map(u16::from_ne_bytes)
}

/// A number in the machine's byte order.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    take(bytes, at).map(u32::from_ne_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    take(bytes, at).map(u64::from_ne_bytes)
}

/// One row from the payload of one netlink message. `None` for what is no TCP socket that we know: a shorter message, an
/// unknown family or state, or a state that is not watched.
pub(super) fn row(payload: &[u8]) -> Option<Found> {
    let fixed: [u8; FIXED] = take(payload, 0)?;
    let state = TcpState::from_kernel(fixed[1]).filter(|s| watched(*s))?;
    let port = |at| take(&fixed, at).map(u16::from_be_bytes);
    let local = plain(address(&fixed, 8)?, port(4)?);
    let cookie = u64::from(u32_at(&fixed, 44)?) | (u64::from(u32_at(&fixed, 48)?) << 32);
    let (recv_q, send_q) = (u32_at(&fixed, 56)?, u32_at(&fixed, 60)?);
    if state == TcpState::Listen {
        // For a listener the two queues mean: waiting for accept, and how many may wait (inet_diag.c, tcp_diag_get_info).
        return Some(Found::Listening(cookie, Listener { local, queue: recv_q, backlog: send_q }));
    }
    Some(Found::Connection(SocketRow {
        cookie,
        local,
        peer: plain(address(&fixed, 24)?, port(6)?),
        state,
        inode: u64::from(u32_at(&fixed, 68)?),
        pid: None,
        recv_q,
        send_q,
        info: attribute(payload.get(FIXED..)?, ATTR_INFO).map(|info| tcp_info(info, state)),
    }))
}

fn address(fixed: &[u8; FIXED], at: usize) -> Option<IpAddr> {
    match fixed[0] {
        FAMILY_V4 => take::<4>(fixed, at).map(|b| IpAddr::V4(Ipv4Addr::from(b))),
        FAMILY_V6 => take::<16>(fixed, at).map(|b| IpAddr::V6(Ipv6Addr::from(b))),
        _ => None,
    }
}

/// The value of the first attribute of this kind; attributes are padded to 4 bytes (netlink(7)).
fn attribute(mut bytes: &[u8], kind: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16_at(bytes, 0)?);
        let value = bytes.get(4..length)?;
        if u16_at(bytes, 2)? == kind {
            return Some(value);
        }
        bytes = bytes.get(length.next_multiple_of(4)..)?;
    }
}

/// `struct tcp_info` as far as it was written.
fn tcp_info(b: &[u8], state: TcpState) -> TcpInfo {
    // A kernel without a sample yet writes 0; no network answers in less than a microsecond.
    let rtt_us = u32_at(b, 68).filter(|us| *us > 0);
    // Before the handshake is over the two moments are those of no data at all, but of whatever the memory held.
    let connected = !matches!(state, TcpState::SynSent | TcpState::SynReceived);
    TcpInfo {
        rtt_us,
        rttvar_us: rtt_us.and(u32_at(b, 72)),
        retransmits: u32_at(b, 100),
        backoff: b.get(4).copied(),
        unacked: u32_at(b, 24),
        last_sent_ms: u32_at(b, 44).filter(|_| connected),
        last_received_ms: u32_at(b, 52).filter(|_| connected),
        bytes_received: u64_at(b, 128),
        bytes_acked: u64_at(b, 120),
        bytes_sent: u64_at(b, 200),
    }
}

#[cfg(test)]
mod tests {
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
        m.extend(5_u16.to_ne_bytes());
        m.extend(15_u16.to_ne_bytes());
        m.extend([9, 0, 0, 0]);
        m.extend(u16::try_from(4 + length).expect("short").to_ne_bytes());
        m.extend(ATTR_INFO.to_ne_bytes());
        m.extend((0..length).map(|i| u8::try_from(i % 251).expect("small")));
        m
    }

    fn connection(payload: &[u8]) -> SocketRow {
        match row(payload) {
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
        let rtt = FIXED + 8 + 4 + 68;
        m[rtt..rtt + 4].fill(0);
        let info = connection(&m).info.expect("info");
        assert_eq!((info.rtt_us, info.rttvar_us), (None, None));
    }

    #[test]
    fn what_is_not_watched_or_not_known_is_no_row() {
        for state in [0, 6, 7, 13, 255] {
            assert_eq!(row(&made(state, FAMILY_V4, 0)), None, "state {state}");
        }
        assert_eq!(row(&made(1, 1, 0)), None, "a unix socket");
        assert_eq!(row(&made(1, FAMILY_V4, 0)[..FIXED - 1]), None, "cut short");
        assert_eq!(connection(&made(1, FAMILY_V4, 0)[..FIXED]).info, None, "no attributes");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), state in 0u8..14) {
            let _ = row(&bytes);
            if let Some(head) = bytes.get_mut(..2) {
                head.copy_from_slice(&[FAMILY_V6, state]);
            }
            let _ = row(&bytes);
        }
    }
}
