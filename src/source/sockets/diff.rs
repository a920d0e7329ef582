//! What changed between two looks at the socket table: a flat table keyed by the kernel's socket cookie.
//!
//! The times of a row advance by themselves, so a row counts as changed when anything else in it differs, or when an
//! idle time went *back*: data moved. Whoever reads the deltas lets the idle times of an unchanged row run on from the
//! stamp of the delta that last brought it.
//!
//! The table keeps fingerprints, not rows: 48 bytes a socket instead of 200.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;

use super::netlink::Extent;
use crate::event::socket::SocketRow;

/// Who holds a socket, as far as was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// Not looked up yet.
    Unasked,
    /// None of the processes that were searched.
    Nobody,
    /// This process.
    Pid(u32),
}

impl Holder {
    /// The process, if there is one.
    pub(super) const fn pid(self) -> Option<u32> {
        match self {
            Self::Pid(pid) => Some(pid),
            Self::Unasked | Self::Nobody => None,
        }
    }

    /// Nobody's socket may be somebody's by now, and who is no longer searched may hold nothing any more.
    pub(super) fn ask_again(&mut self, pids: &BTreeSet<u32>) {
        if self.pid().is_none_or(|pid| !pids.contains(&pid)) {
            *self = Self::Unasked;
        }
    }
}

/// What of a row is remembered.
#[derive(Clone, Copy, Debug)]
struct Print {
    /// Fingerprint of what makes the socket itself: both ends and the inode.
    identity: u64,
    /// Fingerprint of the rest, without the times and the holder.
    content: u64,
    /// The idle times, `u32::MAX` when unknown.
    idle: [u32; 2],
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    print: Print,
    holder: Holder,
    /// The number of the last look that saw it.
    look: u32,
}

/// The sockets of the last look.
#[derive(Debug, Default)]
pub(super) struct Table {
    sockets: HashMap<u64, Seen, foldhash::fast::RandomState>,
    prints: foldhash::quality::RandomState,
    look: u32,
}

/// The outcome of one look.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// New and changed rows; all rows of a full look. A cookie that went over to another connection is a changed row.
    pub rows: Vec<SocketRow>,
    /// Cookies that are gone.
    pub closed: Vec<u64>,
}

/// A look under way: rows go in by [`Look::see`], changes come out of [`Look::finish`].
#[derive(Debug)]
pub(super) struct Look<'a> {
    table: &'a mut Table,
    full: bool,
    changes: Changes,
    /// How many sockets were seen.
    seen: usize,
    /// A row was told twice.
    twice: bool,
}

impl Table {
    /// How many sockets the last look saw.
    pub(super) fn len(&self) -> usize {
        self.sockets.len()
    }

    /// Who holds the socket of this row, if it is still the one that the table knows.
    #[cfg(test)]
    pub(super) fn holder(&self, row: &SocketRow) -> Holder {
        let known = self.sockets.get(&row.cookie).filter(|s| s.print.identity == self.print(row).identity);
        known.map_or(Holder::Unasked, |s| s.holder)
    }

    /// Forgets every holder that is none of these processes: those sockets are looked up again.
    pub(super) fn ask_again(&mut self, pids: &BTreeSet<u32>) {
        self.sockets.values_mut().for_each(|s| s.holder.ask_again(pids));
    }

    /// Begins a look; a full one reports every row.
    pub(super) fn look(&mut self, full: bool) -> Look<'_> {
        self.look = self.look.wrapping_add(1);
        Look { table: self, full, changes: Changes::default(), seen: 0, twice: false }
    }

    fn print(&self, row: &SocketRow) -> Print {
        let identity = self.identity(row);
        let idle = |ms: Option<u32>| ms.unwrap_or(u32::MAX);
        let idle = row.info.map_or([u32::MAX; 2], |i| [idle(i.last_sent_ms), idle(i.last_received_ms)]);
        Print { identity, content: self.content(row), idle }
    }

    fn identity(&self, row: &SocketRow) -> u64 {
        let mut hasher = self.prints.build_hasher();
        for end in [row.local, row.peer] {
            match end.ip() {
                IpAddr::V4(ip) => hasher.write_u32(ip.to_bits()),
                IpAddr::V6(ip) => hasher.write_u128(ip.to_bits()),
            }
        }
        hasher.write_u64(pair(u32::from(row.local.port()) << 16 | u32::from(row.peer.port()), row.inode));
        hasher.finish()
    }

    /// Words of 64 bits are hashed rather than field by field, which would take longer than all the rest of a look. Unknown
    /// is the highest number, which none of them reaches.
    fn content(&self, row: &SocketRow) -> u64 {
        let mut hasher = self.prints.build_hasher();
        let (timer, group) = (row.timer.map_or(0, |t| t as u32 + 1), row.nginx_group.map_or(2, u32::from));
        hasher.write_u64(pair(row.recv_q, row.send_q));
        hasher.write_u64(pair(row.state as u32 | timer << 8 | group << 16, u32::from(row.info.is_some())));
        if let Some(i) = row.info {
            let small = byte(i.backoff) | i.unacked.map_or(0x1_0000, u32::from) << 8;
            hasher.write_u64(pair(word(i.rtt_us), word(i.rttvar_us)));
            hasher.write_u64(pair(word(i.retransmits), small));
            for bytes in [i.bytes_received, i.bytes_acked, i.bytes_sent] {
                hasher.write_u64(bytes.unwrap_or(u64::MAX));
            }
        }
        if let Some(s) = &row.strain {
            hasher.write_u64(pair(word(s.retransmitting), word(s.lost)));
            hasher.write_u64(pair(word(s.peer_window), word(s.own_window)));
            hasher.write_u64(pair(word(s.unsent), byte(s.probes)));
        }
        hasher.finish()
    }
}

fn word(n: Option<u32>) -> u32 {
    n.unwrap_or(u32::MAX)
}

fn byte(n: Option<u8>) -> u32 {
    n.map_or(0xff, u32::from)
}

fn pair(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

impl Seen {
    /// The row differs in more than the passing of time.
    fn changed(&self, before: &Self) -> bool {
        let (now, then) = (&self.print, &before.print);
        now.identity != then.identity
            || now.content != then.content
            || (0..2).any(|i| now.idle[i] < then.idle[i])
            || self.holder.pid() != before.holder.pid()
    }
}

impl Look<'_> {
    /// Takes one row of the look when the holder of its socket is known; false otherwise.
    pub(super) fn see_held(&mut self, row: &SocketRow) -> bool {
        let print = self.table.print(row);
        let known = self.table.sockets.get_mut(&row.cookie).filter(|s| s.print.identity == print.identity);
        let Some(entry) = known.filter(|s| s.holder != Holder::Unasked) else { return false };
        let now = Seen { print, holder: entry.holder, look: self.table.look };
        let before = std::mem::replace(entry, now);
        self.tell(row, now, Some(before));
        true
    }

    /// Takes one row of the look, with what is known of its holder.
    pub(super) fn see(&mut self, row: &SocketRow, holder: Holder) {
        let now = Seen { print: self.table.print(row), holder, look: self.table.look };
        let before = self.table.sockets.insert(row.cookie, now);
        self.tell(row, now, before);
    }

    /// The row's pid follows from the holder.
    fn tell(&mut self, row: &SocketRow, now: Seen, before: Option<Seen>) {
        // The kernel's walk can meet a socket twice when the table is changed meanwhile.
        let again = before.is_some_and(|b| b.look == now.look);
        self.seen += usize::from(!again);
        let changed = before.is_none_or(|b| now.changed(&b));
        if changed || (self.full && !again) {
            self.twice |= again;
            self.changes.rows.push(SocketRow { pid: now.holder.pid(), ..row.clone() });
        }
    }

    /// The look is over. When it was whole, what was not seen is gone; else it may only have been missed.
    pub(super) fn finish(self, extent: Extent) -> Changes {
        let Self { table, mut changes, seen, twice, .. } = self;
        if extent == Extent::Whole && seen < table.sockets.len() {
            let look = table.look;
            table.sockets.retain(|cookie, seen| {
                let alive = seen.look == look;
                if !alive {
                    changes.closed.push(*cookie);
                }
                alive
            });
        }
        if twice {
            keep_last(&mut changes.rows);
        }
        changes
    }
}

/// Of several rows with one cookie the last is the truth.
fn keep_last(rows: &mut Vec<SocketRow>) {
    let mut met = HashSet::new();
    rows.reverse();
    rows.retain(|r| met.insert(r.cookie));
    rows.reverse();
}

/// One whole look, for rows that are all at hand.
#[cfg(test)]
fn diff(old: &mut Table, rows: impl IntoIterator<Item = SocketRow>, full: bool) -> Changes {
    let mut look = old.look(full);
    for row in rows {
        let holder = row.pid.map_or(Holder::Nobody, Holder::Pid);
        look.see(&row, holder);
    }
    look.finish(Extent::Whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::socket::{Strain, TcpInfo, TcpState, TcpTimer};

    fn row(cookie: u64, peer: &str) -> SocketRow {
        let address = |text: &str| text.parse().expect("address");
        SocketRow {
            inode: u32::try_from(cookie).expect("small") + 1000,
            info: Some(TcpInfo {
                rtt_us: Some(300),
                last_sent_ms: Some(5_000),
                last_received_ms: Some(5_000),
                bytes_received: Some(10),
                ..TcpInfo::default()
            }),
            ..SocketRow::new(cookie, address("10.0.0.1:443"), address(peer), TcpState::Established)
        }
    }

    fn with(mut row: SocketRow, change: impl FnOnce(&mut SocketRow, &mut TcpInfo)) -> SocketRow {
        let mut info = row.info.expect("info");
        change(&mut row, &mut info);
        row.info = Some(info);
        row
    }

    /// A table that has seen cookies 1 and 2.
    fn table() -> (Table, SocketRow, SocketRow) {
        let (a, b) = (row(1, "10.0.0.9:1001"), row(2, "10.0.0.9:1002"));
        let mut table = Table::default();
        let first = diff(&mut table, [a.clone(), b.clone()], true);
        assert_eq!((first.rows.len(), first.closed.len()), (2, 0));
        (table, a, b)
    }

    #[test]
    fn opened_and_closed_connections_are_told_once() {
        let (mut table, a, b) = table();
        let c = row(3, "10.0.0.9:1003");
        assert_eq!(diff(&mut table, [a.clone(), b.clone(), c.clone()], false).rows, [c]);
        let gone = diff(&mut table, [b.clone()], false);
        assert_eq!(gone.rows, []);
        assert_eq!(gone.closed.len(), 2);
        assert!(gone.closed.contains(&1) && gone.closed.contains(&3));
        assert_eq!(diff(&mut table, [b], false), Changes::default());
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn time_alone_changes_nothing() {
        let (mut table, a, b) = table();
        let older = |r| with(r, |_, i| (i.last_sent_ms, i.last_received_ms) = (Some(6_000), Some(6_000)));
        assert_eq!(diff(&mut table, [older(a), older(b)], false), Changes::default());
    }

    #[test]
    fn anything_else_is_a_change() {
        type Change = fn(&mut SocketRow, &mut TcpInfo);
        let changes: [(&str, Change); 15] = [
            ("state", |r, _| r.state = TcpState::CloseWait),
            ("pid", |r, _| r.pid = Some(7)),
            ("inode", |r, _| r.inode = 0),
            ("recv_q", |r, _| r.recv_q = 1),
            ("send_q", |r, _| r.send_q = 1),
            ("group", |r, _| r.nginx_group = Some(false)),
            ("timer", |r, _| r.timer = Some(TcpTimer::Persist)),
            ("strain", |r, _| r.strain = Some(Box::default())),
            ("rtt", |_, i| i.rtt_us = Some(301)),
            ("retransmits", |_, i| i.retransmits = Some(1)),
            ("backoff", |_, i| i.backoff = Some(1)),
            ("unacked", |_, i| i.unacked = Some(1)),
            ("bytes", |_, i| i.bytes_received = Some(11)),
            ("an idle time that went back", |_, i| i.last_received_ms = Some(4_999)),
            ("an idle time that became known", |_, i| i.last_sent_ms = Some(0)),
        ];
        for (what, change) in changes {
            let (mut table, a, b) = table();
            let a = with(a, change);
            assert_eq!(diff(&mut table, [a.clone(), b], false).rows, [a], "{what}");
        }
    }

    #[test]
    fn growing_trouble_is_a_change_and_the_times_in_it_are_none() {
        type Growth = fn(&mut Strain);
        let strain = |change: Growth| {
            let mut strain = Strain::default();
            change(&mut strain);
            Some(Box::new(strain))
        };
        let grown: [(Growth, bool); 4] = [
            (|s| s.unsent = Some(9), true),
            (|s| s.peer_window = Some(0), true),
            (|s| s.timer_ms = Some(7), false),
            (|s| s.busy_ms = Some(7), false),
        ];
        for (change, told) in grown {
            let (mut table, a, b) = table();
            let before = with(a, |r, _| r.strain = strain(|_| ()));
            diff(&mut table, [before.clone(), b.clone()], false);
            let after = with(before, |r, _| r.strain = strain(change));
            assert_eq!(diff(&mut table, [after.clone(), b], false).rows.len(), usize::from(told), "{:?}", after.strain);
        }
    }

    #[test]
    fn what_a_partial_look_missed_is_not_gone() {
        let (mut table, a, b) = table();
        let mut look = table.look(false);
        look.see(&a, Holder::Nobody);
        assert_eq!(look.finish(Extent::Part), Changes::default());
        assert_eq!(diff(&mut table, [a, b], false), Changes::default(), "still known");
    }

    #[test]
    fn a_cookie_reused_by_another_connection_replaces_the_old_row() {
        let (mut table, _, b) = table();
        let reused = row(1, "10.0.0.77:5555");
        let told = diff(&mut table, [reused.clone(), b], false);
        assert_eq!(told, Changes { rows: vec![reused], closed: vec![] });
    }

    #[test]
    fn a_reused_cookie_does_not_inherit_the_holder() {
        let (mut table, a, _) = table();
        diff(&mut table, [SocketRow { pid: Some(7), ..a.clone() }], false);
        assert_eq!(table.holder(&a), Holder::Pid(7));
        assert_eq!(table.holder(&row(1, "10.0.0.77:5555")), Holder::Unasked);
        assert_eq!(table.holder(&row(9, "10.0.0.9:1001")), Holder::Unasked);
    }

    #[test]
    fn a_full_look_tells_every_row_and_still_who_is_gone() {
        let (mut table, a, _) = table();
        let full = diff(&mut table, [a.clone()], true);
        assert_eq!(full, Changes { rows: vec![a], closed: vec![2] });
    }

    #[test]
    fn a_row_met_twice_in_one_look_is_told_once_as_last_seen() {
        let (mut table, a, b) = table();
        let later = with(a.clone(), |_, i| i.bytes_received = Some(20));
        let earlier = with(a, |_, i| i.bytes_received = Some(15));
        let told = diff(&mut table, [earlier, b.clone(), later.clone()], false).rows;
        assert_eq!(told.as_slice(), std::slice::from_ref(&later));
        assert_eq!(diff(&mut table, [later.clone(), b.clone(), later.clone()], true).rows, [later, b]);
    }

    #[test]
    fn nobodys_sockets_can_be_asked_for_again() {
        let (mut table, a, _) = table();
        assert_eq!(table.holder(&a), Holder::Nobody);
        table.ask_again(&BTreeSet::new());
        assert_eq!(table.holder(&a), Holder::Unasked);
        diff(&mut table, [SocketRow { pid: Some(7), ..a.clone() }], false);
        table.ask_again(&[7].into());
        assert_eq!(table.holder(&a), Holder::Pid(7), "still searched");
        table.ask_again(&[8].into());
        assert_eq!(table.holder(&a), Holder::Unasked, "process 7 is no worker any more");
    }
}
