//! The walked table against a naive one that keeps whole rows by cookie: both must tell the same.
#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::diff::{Changes, Table};
use super::netlink::Extent;
use super::owners::Held;
use super::walk::Look;
use crate::event::socket::{SocketRow, TcpInfo, TcpState};

/// The process that holds the sockets with an even inode, where it is searched.
const WORKER: u32 = 7;

/// What may happen to the kernel's table between two looks, or during one.
#[derive(Clone, Debug)]
enum Act {
    /// New sockets, at this place.
    Open(usize, u8),
    /// These many sockets close, from this place on.
    Close(usize, u8),
    /// Data moves on one.
    Traffic(usize),
    /// Its cookie goes over to another connection.
    Reuse(usize),
    /// Its process lets go of it.
    Orphan(usize),
    /// Two change places.
    Swap(usize, usize),
    /// The table is turned round here.
    Rotate(usize),
    /// Time passes on all.
    Pass,
    /// A look; its rows as they are, with some told again, or from the start again after so many.
    Look { full: bool, part: Option<(usize, usize)>, again: Vec<(usize, usize)>, restart: Option<usize> },
    /// Holders are asked for again.
    Ask,
}

fn act() -> impl Strategy<Value = Act> {
    let at = || any::<usize>();
    let again = proptest::collection::vec((at(), 0_usize..40), 0..3);
    let look = (
        prop::bool::weighted(0.1),
        proptest::option::weighted(0.15, (at(), at())),
        again,
        prop::option::weighted(0.1, at()),
    );
    prop_oneof![
        3 => (at(), 1_u8..4).prop_map(|(p, n)| Act::Open(p, n)),
        1 => (at(), 20_u8..60).prop_map(|(p, n)| Act::Open(p, n)),
        3 => (at(), 1_u8..4).prop_map(|(p, n)| Act::Close(p, n)),
        1 => (at(), 10_u8..50).prop_map(|(p, n)| Act::Close(p, n)),
        4 => at().prop_map(Act::Traffic),
        1 => at().prop_map(Act::Reuse),
        1 => at().prop_map(Act::Orphan),
        2 => (at(), at()).prop_map(|(a, b)| Act::Swap(a, b)),
        1 => at().prop_map(Act::Rotate),
        1 => Just(Act::Pass),
        1 => Just(Act::Ask),
        8 => look.prop_map(|(full, part, again, restart)| Act::Look { full, part, again, restart }),
    ]
}

fn row(cookie: u64, inode: u32) -> SocketRow {
    let end = |port: u64| ([127, 0, 0, 1], u16::try_from(port % 60_000).expect("a port")).into();
    let info =
        TcpInfo { bytes_received: Some(0), last_sent_ms: Some(500), last_received_ms: Some(500), ..TcpInfo::default() };
    SocketRow {
        inode,
        info: Some(info),
        ..SocketRow::new(cookie, end(443), end(u64::from(inode)), TcpState::Established)
    }
}

/// Everything by its rows.
#[derive(Default)]
struct Naive(BTreeMap<u64, SocketRow>);

impl Naive {
    fn look(&mut self, rows: &[SocketRow], full: bool, extent: Extent) -> Changes {
        let mut now: BTreeMap<u64, SocketRow> = BTreeMap::new();
        now.extend(rows.iter().map(|r| (r.cookie, SocketRow { pid: owner(r), ..r.clone() })));
        let news = |r: &&SocketRow| full || self.0.get(&r.cookie).is_none_or(|before| differs(r, before));
        let rows = now.values().filter(news).cloned().collect();
        let whole = extent == Extent::Whole;
        let closed = self.0.keys().copied().filter(|c| whole && !now.contains_key(c)).collect();
        if whole {
            self.0.clear();
        }
        self.0.extend(now);
        Changes { rows, closed }
    }
}

fn owner(row: &SocketRow) -> Option<u32> {
    (row.inode > 0 && row.inode.is_multiple_of(2)).then_some(WORKER)
}

fn differs(now: &SocketRow, before: &SocketRow) -> bool {
    let times = |r: &SocketRow| r.info.map(|i| [i.last_sent_ms, i.last_received_ms]);
    let still = |r: &SocketRow| {
        let info = r.info.map(|i| TcpInfo { last_sent_ms: None, last_received_ms: None, ..i });
        SocketRow { info, ..r.clone() }
    };
    let back = times(now).zip(times(before)).is_some_and(|(n, b)| n.iter().zip(&b).any(|(n, b)| n < b));
    still(now) != still(before) || back
}

/// The kernel's table, and whoever reads the deltas.
#[derive(Default)]
struct World {
    kernel: Vec<SocketRow>,
    opened: u32,
    table: Table,
    naive: Naive,
    reader: BTreeMap<u64, SocketRow>,
}

impl World {
    fn act(&mut self, act: &Act) -> Result<(), TestCaseError> {
        let n = self.kernel.len();
        match *act {
            Act::Open(at, many) => {
                for i in 0..usize::from(many) {
                    self.opened += 1;
                    self.kernel.insert((at % (n + 1)) + i, row(u64::from(self.opened), self.opened + 1_000));
                }
            }
            Act::Look { full, part, ref again, restart } => return self.look(full, part, again, restart),
            Act::Ask => self.table.ask_again(&[WORKER].into()),
            _ if n == 0 => {}
            Act::Close(at, many) => drop(self.kernel.drain(at % n..(at % n + usize::from(many)).min(n))),
            Act::Traffic(at) => {
                let info = self.kernel[at % n].info.as_mut().expect("info");
                info.bytes_received = info.bytes_received.map(|b| b + 1);
            }
            Act::Reuse(at) => {
                self.opened += 1;
                self.kernel[at % n] = row(self.kernel[at % n].cookie, self.opened + 1_000);
            }
            Act::Orphan(at) => self.kernel[at % n].inode = 0,
            Act::Swap(a, b) => self.kernel.swap(a % n, b % n),
            Act::Rotate(at) => self.kernel.rotate_left(at % n),
            Act::Pass => self.kernel.iter_mut().filter_map(|r| r.info.as_mut()).for_each(|i| {
                (i.last_sent_ms, i.last_received_ms) =
                    (i.last_sent_ms.map(|t| t + 9), i.last_received_ms.map(|t| t + 9));
            }),
        }
        Ok(())
    }

    fn look(
        &mut self,
        full: bool,
        part: Option<(usize, usize)>,
        again: &[(usize, usize)],
        restart: Option<usize>,
    ) -> Result<(), TestCaseError> {
        let mut rows = self.kernel.clone();
        let n = rows.len();
        if let Some((from, many)) = part.filter(|_| n > 0) {
            drop(rows.drain(from % n..(from % n + many % 30).min(n)));
        }
        for (at, later) in again {
            self.tell_again(&mut rows, *at, *later, restart.is_none());
        }
        if let Some(at) = restart.filter(|_| n > 0) {
            let mut begun = rows[..at % rows.len().max(1)].to_vec();
            begun.append(&mut rows);
            rows = begun;
        }
        let extent = if part.is_some() { Extent::Part } else { Extent::Whole };
        let told = self.walk(&rows, full, extent);
        let expected = self.naive.look(&rows, full, extent);
        prop_assert_eq!(by_cookie(&told.rows), by_cookie(&expected.rows));
        prop_assert_eq!(told.rows.len(), expected.rows.len(), "each once");
        prop_assert_eq!(told.closed.iter().collect::<BTreeSet<_>>(), expected.closed.iter().collect());
        prop_assert_eq!(self.table.len(), self.naive.0.len());
        told.closed.iter().for_each(|c| drop(self.reader.remove(c)));
        self.reader.extend(told.rows.into_iter().map(|r| (r.cookie, r)));
        prop_assert!(self.reader.keys().eq(self.naive.0.keys()), "the reader's table is the kernel's");
        Ok(())
    }

    /// A row is told once more a few rows later; data may have moved meanwhile.
    fn tell_again(&mut self, rows: &mut Vec<SocketRow>, at: usize, later: usize, moved: bool) {
        let Some(at) = at.checked_rem(rows.len()) else { return };
        let mut twin = rows[at].clone();
        if rows.iter().filter(|r| r.cookie == twin.cookie).count() > 1 {
            return;
        }
        if let Some(info) = twin.info.as_mut().filter(|_| moved) {
            info.bytes_received = info.bytes_received.map(|b| b + 1);
        }
        self.kernel.iter_mut().filter(|r| r.cookie == twin.cookie).for_each(|r| r.clone_from(&twin));
        rows.insert((at + 1 + later).min(rows.len()), twin);
    }

    fn walk(&mut self, rows: &[SocketRow], full: bool, extent: Extent) -> Changes {
        let mut look = Look::begin(&mut self.table, full, true);
        for row in rows {
            look.see(row);
        }
        let asked: BTreeSet<u32> = look.settle().into_iter().collect();
        let held: Held =
            rows.iter().filter(|r| asked.contains(&r.inode)).filter_map(|r| Some((r.inode, owner(r)?))).collect();
        look.finish(extent, Some(&held))
    }
}

fn by_cookie(rows: &[SocketRow]) -> BTreeMap<u64, SocketRow> {
    rows.iter().map(|r| (r.cookie, r.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_walked_table_tells_what_a_naive_one_tells(acts in proptest::collection::vec(act(), 1..60)) {
        let mut world = World::default();
        for act in &acts {
            world.act(act)?;
        }
        world.act(&Act::Look { full: false, part: None, again: Vec::new(), restart: None })?;
    }
}

#[test]
fn a_table_in_any_order_is_walked_again_at_the_next_look() {
    let rows: Vec<SocketRow> = (1..=1_000_u32).map(|i| row(u64::from(i), i)).collect();
    let mut world = World::default();
    world.walk(&rows, true, Extent::Whole);
    let mut turned = rows.clone();
    turned.reverse();
    turned.rotate_left(137);
    for (order, searched) in [(&turned, true), (&turned, false), (&rows, true), (&rows, false)] {
        let mut look = Look::begin(&mut world.table, false, true);
        for row in order {
            look.see(row);
        }
        assert_eq!(look.searched(), searched);
        look.settle();
        assert_eq!(look.finish(Extent::Whole, None), Changes::default());
    }
}
