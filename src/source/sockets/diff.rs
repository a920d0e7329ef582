//! What changed between two looks at the socket table: what is remembered of each socket, in the order in which the kernel
//! told it.
//!
//! A row counts as changed when anything but the passing of time differs. Whoever reads the deltas lets the idle times of an
//! unchanged row run on from the stamp of the delta that last brought it.
//!
//! The table keeps fingerprints, not rows: 48 bytes a socket instead of 200, one beside the other.

use std::collections::BTreeSet;

use super::owners::Held;
use super::prints::{Print, Prints};
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

    /// Who holds an inode, after a search that found these; unasked when there was none.
    pub(super) fn of(inode: u32, held: Option<&Held>) -> Self {
        held.map_or(Self::Unasked, |held| held.get(&inode).map_or(Self::Nobody, |pid| Self::Pid(*pid)))
    }

    /// Nobody's socket may be somebody's by now, and who is no longer searched may hold nothing any more.
    pub(super) fn ask_again(&mut self, pids: &BTreeSet<u32>) {
        if self.pid().is_none_or(|pid| !pids.contains(&pid)) {
            *self = Self::Unasked;
        }
    }
}

/// One socket of the last look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    /// Its cookie.
    pub cookie: u64,
    /// How it was.
    pub print: Print,
    /// Who holds it.
    pub holder: Holder,
    /// The number of the row that last told it: rows are numbered through all looks.
    pub seen: u64,
}

/// The sockets of the last look, in its order.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// One beside the other.
    pub slots: Vec<Slot>,
    /// Makes the fingerprints.
    pub prints: Prints,
    /// How many rows there were ever.
    pub rows: u64,
}

/// The outcome of one look.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// New and changed rows; all rows of a full look. A cookie that went over to another connection is a changed row.
    pub rows: Vec<SocketRow>,
    /// Cookies that are gone.
    pub closed: Vec<u64>,
}

impl Table {
    /// How many sockets the last look saw.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Who holds the socket of this row, if it is still the one that the table knows.
    #[cfg(test)]
    pub(super) fn holder(&self, row: &SocketRow) -> Holder {
        let identity = super::row::Line::print(row, &self.prints).identity;
        let known = self.slots.iter().find(|s| s.cookie == row.cookie && s.print.identity == identity);
        known.map_or(Holder::Unasked, |s| s.holder)
    }

    /// Forgets every holder that is none of these processes: those sockets are looked up again.
    pub(super) fn ask_again(&mut self, pids: &BTreeSet<u32>) {
        self.slots.iter_mut().for_each(|s| s.holder.ask_again(pids));
    }
}

impl Slot {
    /// The row differs in more than the passing of time.
    #[inline]
    pub(super) fn changed(&self, before: &Self) -> bool {
        self.print.differs(&before.print) || self.holder.pid() != before.holder.pid()
    }
}

#[cfg(test)]
mod tests {
    use super::super::netlink::Extent;
    use super::super::walk::Look;
    use super::*;
    use crate::event::socket::{Strain, TcpInfo, TcpState, TcpTimer};

    /// One whole look, for rows that are all at hand.
    fn diff(old: &mut Table, rows: impl IntoIterator<Item = SocketRow>, full: bool) -> Changes {
        let rows: Vec<SocketRow> = rows.into_iter().collect();
        let held: Held = rows.iter().filter_map(|r| Some((r.inode, r.pid?))).collect();
        if !held.is_empty() {
            old.ask_again(&[7].into());
        }
        let mut look = Look::begin(old, full, true);
        for row in &rows {
            look.see(row);
        }
        look.settle();
        look.finish(Extent::Whole, Some(&held))
    }

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
        let mut look = Look::begin(&mut table, false, true);
        look.see(&a);
        assert_eq!(look.finish(Extent::Part, None), Changes::default());
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
        let mut all = diff(&mut table, [later.clone(), b.clone(), later.clone()], true).rows;
        all.sort_by_key(|r| r.cookie);
        assert_eq!(all, [later, b]);
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
