//! One look along the socket table. The kernel's order hardly changes from look to look: each row is expected in the place
//! behind the one before, and searched only where it is not there.

use std::collections::{HashMap, HashSet};

use super::diff::{Changes, Holder, Slot, Table};
use super::netlink::Extent;
use super::owners::Held;
use super::row::Line;
use crate::event::socket::SocketRow;

/// So many places ahead and back a row is looked for that is not where it should be: what closed has left gaps, and a
/// bucket of the kernel's table that changed under its hands is told again.
const NEAR: usize = 16;
/// After so many rows in a row that are nowhere near, it is another order: the places of all sockets are looked up.
const LOST: u32 = 8;

/// A look under way: rows go in by [`Look::see`], changes come out of [`Look::finish`]. Owners may be asked for in between.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "two wishes and two findings that know nothing of each other")]
pub(super) struct Look<'a> {
    table: &'a mut Table,
    full: bool,
    /// Owners are wanted.
    owned: bool,
    changes: Changes,
    /// The number of the last row before this look.
    before: u64,
    /// Where the next row should be.
    next: usize,
    /// How many of the known sockets were seen.
    met: usize,
    strays: Vec<Stray>,
    /// How many rows in a row were nowhere near.
    lost: u32,
    places: Option<Places>,
    /// The order is another one than that of the table.
    reordered: bool,
    /// A row was told twice.
    twice: bool,
}

type Places = HashMap<u64, usize, foldhash::fast::RandomState>;

/// A row that is new, was not found at once, or whose holder is not known. Whether it is told is decided at the end.
#[derive(Clone, Copy, Debug)]
struct Stray {
    now: Slot,
    /// Its place among the told rows.
    told: usize,
    /// Its socket's place in the table, where it has one.
    place: Option<usize>,
    /// The socket was met before in this look.
    again: bool,
    /// A later row of this look stands for the socket.
    outdated: bool,
}

impl<'a> Look<'a> {
    /// Begins a look; a full one reports every row, and holders are asked for where they are wanted.
    pub(super) fn begin(table: &'a mut Table, full: bool, owned: bool) -> Self {
        Self {
            full,
            owned,
            changes: Changes::default(),
            before: table.rows,
            next: 0,
            met: 0,
            strays: Vec::new(),
            lost: 0,
            places: None,
            reordered: false,
            twice: false,
            table,
        }
    }
}

impl Look<'_> {
    /// Takes one row of the look.
    #[inline]
    pub(super) fn see(&mut self, line: &impl Line) {
        self.table.rows += 1;
        let now = Slot {
            cookie: line.cookie(),
            print: line.print(&self.table.prints),
            holder: Holder::Unasked,
            seen: self.table.rows,
        };
        match self.table.slots.get(self.next) {
            Some(slot) if slot.cookie == now.cookie => {
                self.next += 1;
                self.meet(self.next - 1, now, line);
            }
            _ => match self.find(now.cookie) {
                Some(place) => self.meet(place, now, line),
                None => self.stray(now, line, None),
            },
        }
    }

    /// The place of a socket that is not where it should be.
    #[cold]
    fn find(&mut self, cookie: u64) -> Option<usize> {
        let slots = &self.table.slots;
        let near =
            |from: usize, to: usize| slots.get(from..to.min(slots.len()))?.iter().position(|s| s.cookie == cookie);
        if let Some(ahead) = near(self.next, self.next + NEAR) {
            self.next += ahead + 1;
            self.lost = 0;
            return Some(self.next - 1);
        }
        let back = self.next.saturating_sub(NEAR);
        let place = match near(back, self.next) {
            Some(at) => back + at,
            None => self.far(cookie)?,
        };
        (self.reordered, self.lost) = (true, 0);
        Some(place)
    }

    /// The place of a socket that is nowhere near, once so many were not that it is worth a look at them all.
    fn far(&mut self, cookie: u64) -> Option<usize> {
        self.lost += 1;
        if self.lost < LOST && self.places.is_none() || self.table.slots.is_empty() {
            return None;
        }
        let slots = &self.table.slots;
        let places = self.places.get_or_insert_with(|| slots.iter().enumerate().map(|(i, s)| (s.cookie, i)).collect());
        let place = *places.get(&cookie)?;
        self.next = place + 1;
        Some(place)
    }

    /// The row of a known socket.
    #[inline]
    fn meet(&mut self, place: usize, mut now: Slot, line: &impl Line) {
        let Some(slot) = self.table.slots.get_mut(place) else { return };
        if self.owned && line.inode() > 0 {
            if slot.print.identity != now.print.identity || slot.holder == Holder::Unasked {
                return self.stray(now, line, Some(place));
            }
            now.holder = slot.holder;
        }
        let again = slot.seen > self.before;
        let changed = now.changed(slot);
        *slot = now;
        self.met += usize::from(!again);
        if changed || (self.full && !again) {
            // The kernel's walk can meet a socket twice when the table is changed meanwhile.
            self.twice |= again;
            self.changes.rows.push(SocketRow { pid: now.holder.pid(), ..line.row() });
        }
    }

    /// The rows came in another order than that of the table.
    #[cfg(test)]
    pub(super) const fn searched(&self) -> bool {
        self.reordered
    }

    fn stray(&mut self, now: Slot, line: &impl Line, place: Option<usize>) {
        let mut again = false;
        if let Some(slot) = place.and_then(|p| self.table.slots.get_mut(p)) {
            again = slot.seen > self.before;
            self.met += usize::from(!again);
            slot.seen = now.seen;
        }
        self.strays.push(Stray { now, told: self.changes.rows.len(), place, again, outdated: false });
        self.changes.rows.push(line.row());
    }

    /// All rows are in: puts the strays in their places. Gives the inodes whose holders are to be looked up.
    pub(super) fn settle(&mut self) -> Vec<u32> {
        if self.strays.is_empty() {
            return Vec::new();
        }
        let mut latest: Places = HashMap::default();
        for i in 0..self.strays.len() {
            let Some(cookie) = self.strays.get(i).map(|s| s.now.cookie) else { break };
            let earlier = latest.insert(cookie, i).and_then(|e| self.strays.get_mut(e));
            let Some(earlier) = earlier else { continue };
            earlier.outdated = true;
            let (place, again) = (earlier.place, earlier.again);
            if let Some(stray) = self.strays.get_mut(i) {
                (stray.place, stray.again) = (stray.place.or(place), again);
            }
        }
        for (place, slot) in self.table.slots.iter_mut().enumerate() {
            let Some(stray) = latest.get(&slot.cookie).and_then(|i| self.strays.get_mut(*i)) else { continue };
            if slot.seen > stray.now.seen {
                stray.outdated = true;
            } else if stray.place.is_none() {
                (stray.place, stray.again) = (Some(place), slot.seen > self.before);
                self.met += usize::from(!stray.again);
                (slot.seen, self.reordered) = (stray.now.seen, true);
            }
        }
        self.unowned()
    }

    /// A socket keeps its holder; that of another connection under its cookie is another.
    fn unowned(&mut self) -> Vec<u32> {
        let mut inodes = Vec::new();
        for stray in self.strays.iter_mut().filter(|s| !s.outdated && self.owned) {
            let inode = self.changes.rows.get(stray.told).map_or(0, |r| r.inode);
            let slot = stray.place.and_then(|p| self.table.slots.get(p));
            let same = slot.filter(|s| s.print.identity == stray.now.print.identity && inode > 0);
            stray.now.holder = same.map_or(Holder::Unasked, |s| s.holder);
            if stray.now.holder == Holder::Unasked && inode > 0 {
                inodes.push(inode);
            }
        }
        inodes
    }

    /// The look is over; `held`: who holds the inodes that were to be looked up, if they were. When it was whole, what was
    /// not seen is gone; else it may only have been missed.
    pub(super) fn finish(mut self, extent: Extent, held: Option<&Held>) -> Changes {
        self.tell_strays(held);
        let Self { table, mut changes, before, met, reordered, twice, .. } = self;
        if extent == Extent::Whole && met < table.slots.len() {
            table.slots.retain(|slot| {
                let alive = slot.seen > before;
                if !alive {
                    changes.closed.push(slot.cookie);
                }
                alive
            });
        }
        if reordered {
            table.slots.sort_by_key(|slot| slot.seen);
        }
        if twice {
            keep_last(&mut changes.rows);
        }
        changes
    }

    /// Decides which strays are news.
    fn tell_strays(&mut self, held: Option<&Held>) {
        let mut untold = Vec::new();
        for mut stray in std::mem::take(&mut self.strays) {
            let row = self.changes.rows.get_mut(stray.told).filter(|_| !stray.outdated);
            let Some(row) = row else {
                untold.push(stray.told);
                continue;
            };
            if stray.now.holder == Holder::Unasked && self.owned && row.inode > 0 {
                stray.now.holder = Holder::of(row.inode, held);
            }
            row.pid = stray.now.holder.pid();
            let known = stray.place.and_then(|p| self.table.slots.get_mut(p));
            let changed = known.as_ref().is_none_or(|before| stray.now.changed(before));
            if !changed && (stray.again || !self.full) {
                untold.push(stray.told);
            }
            self.twice |= stray.again;
            if let Some(slot) = known {
                *slot = stray.now;
            } else {
                self.met += 1;
                self.reordered |= self.table.slots.last().is_some_and(|last| last.seen > stray.now.seen);
                self.table.slots.push(stray.now);
            }
        }
        drop_at(&mut self.changes.rows, &untold);
    }
}

/// Drops the rows at these places, which ascend.
fn drop_at(rows: &mut Vec<SocketRow>, places: &[usize]) {
    let (mut at, mut places) = (0, places.iter().copied().peekable());
    if places.peek().is_some() {
        rows.retain(|_| {
            at += 1;
            places.next_if_eq(&(at - 1)).is_none()
        });
    }
}

/// Of several rows with one cookie the last is the truth.
fn keep_last(rows: &mut Vec<SocketRow>) {
    let mut met = HashSet::new();
    rows.reverse();
    rows.retain(|r| met.insert(r.cookie));
    rows.reverse();
}
