//! Fingerprints of connections: what is kept of one between two looks, so that a change is noticed without keeping its row.
//!
//! The times of a connection advance by themselves, so they are in no fingerprint; the idle times are kept as they are.

use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;

use crate::event::socket::{Strain, TcpInfo, TcpState, TcpTimer};

/// What is remembered of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Print {
    /// Fingerprint of what makes the socket itself: both ends and the inode.
    pub identity: u64,
    /// Fingerprint of the rest, without the times and the holder.
    pub content: u64,
    /// The idle times, `u32::MAX` when unknown.
    pub idle: [u32; 2],
}

impl Print {
    /// The idle times of a row.
    #[inline]
    pub(super) fn idle(info: Option<&TcpInfo>) -> [u32; 2] {
        info.map_or([u32::MAX; 2], |i| [word(i.last_sent_ms), word(i.last_received_ms)])
    }

    /// It differs from `before` in more than the passing of time: an idle time that went *back* is data that moved.
    #[inline]
    pub(super) fn differs(&self, before: &Self) -> bool {
        let ([sent, received], [sent_before, received_before]) = (self.idle, before.idle);
        self.identity != before.identity
            || self.content != before.content
            || sent < sent_before
            || received < received_before
    }
}

/// What a row says of a connection before tcp_info.
#[derive(Clone, Copy, Debug)]
pub(super) struct What {
    /// Received and not read, sent and not acknowledged.
    pub queues: (u32, u32),
    /// Its state.
    pub state: TcpState,
    /// The timer that runs.
    pub timer: Option<TcpTimer>,
    /// See [`crate::event::socket::SocketRow::nginx_group`].
    pub nginx_group: Option<bool>,
}

/// Makes fingerprints, each time the program runs other ones.
///
/// Words of 64 bits are hashed rather than field by field, which would take longer than all the rest of a look. Unknown is
/// the highest number, which none of the fields reaches.
#[derive(Debug, Default)]
pub(super) struct Prints(foldhash::quality::RandomState);

impl Prints {
    /// Of what makes the socket itself.
    #[inline]
    pub(super) fn identity(&self, ends: [(IpAddr, u16); 2], inode: u32) -> u64 {
        let mut hasher = self.0.build_hasher();
        let [(local, local_port), (peer, peer_port)] = ends;
        match (local, peer) {
            (IpAddr::V4(local), IpAddr::V4(peer)) => hasher.write_u64(pair(local.to_bits(), peer.to_bits())),
            (local, peer) => [local, peer].into_iter().for_each(|ip| hasher.write_u128(wide(ip))),
        }
        hasher.write_u64(pair(u32::from(local_port) << 16 | u32::from(peer_port), inode));
        hasher.finish()
    }

    /// Of all else, without the times.
    #[inline]
    pub(super) fn content(&self, what: What, info: Option<&TcpInfo>, strain: Option<&Strain>) -> u64 {
        let mut hasher = self.0.build_hasher();
        let (timer, group) = (what.timer.map_or(0, |t| t as u32 + 1), what.nginx_group.map_or(2, u32::from));
        hasher.write_u64(pair(what.queues.0, what.queues.1));
        hasher.write_u64(pair(what.state as u32 | timer << 8 | group << 16, u32::from(info.is_some())));
        if let Some(i) = info {
            let small = byte(i.backoff) | i.unacked.map_or(0x1_0000, u32::from) << 8;
            hasher.write_u64(pair(word(i.rtt_us), word(i.rttvar_us)));
            hasher.write_u64(pair(word(i.retransmits), small));
            for bytes in [i.bytes_received, i.bytes_acked, i.bytes_sent] {
                hasher.write_u64(bytes.unwrap_or(u64::MAX));
            }
        }
        if let Some(s) = strain {
            hasher.write_u64(pair(word(s.retransmitting), word(s.lost)));
            hasher.write_u64(pair(word(s.peer_window), word(s.own_window)));
            hasher.write_u64(pair(word(s.unsent), byte(s.probes)));
        }
        hasher.finish()
    }
}

fn wide(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

#[inline]
fn word(n: Option<u32>) -> u32 {
    n.unwrap_or(u32::MAX)
}

#[inline]
fn byte(n: Option<u8>) -> u32 {
    n.map_or(0xff, u32::from)
}

#[inline]
fn pair(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}
