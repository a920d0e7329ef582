//! Counts IPv4 clients by their packed text: the summary of `event::tally::top` in an open table, where a string each
//! would cost more than reading the line.

use std::hash::BuildHasher as _;

use crate::event::tally::top::{Counted, Top, median};
use crate::nginx::error::skim::undotted;

/// Slots at most; three in four may be filled. 2 MB.
const MOST_SLOTS: usize = 1 << 17;
const FIRST_SLOTS: usize = 1 << 10;
/// Addresses that wait to be counted.
const WAITING: usize = 128;

/// A packed address and its count; an empty slot has counted nothing. Both figures hold at 4 thousand millions.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    address: u64,
    count: u32,
    missed: u32,
}

/// The most frequent addresses of any number.
#[derive(Debug)]
pub(super) struct Addresses {
    /// Addresses are counted many at a time: so the processor fetches their slots together and not one after the other.
    waiting: Vec<u64>,
    slots: Vec<Slot>,
    used: usize,
    bound: u64,
    /// Clients choose addresses: they must not know which collide.
    seed: u64,
    most_slots: usize,
}

impl Default for Addresses {
    fn default() -> Self {
        Self::with_slots(MOST_SLOTS)
    }
}

impl Addresses {
    /// `most_slots` is a power of two.
    fn with_slots(most_slots: usize) -> Self {
        let seed = foldhash::fast::RandomState::default().hash_one(0_u8) | 1;
        let slots = vec![Slot::default(); FIRST_SLOTS.min(most_slots)];
        let waiting = Vec::with_capacity(WAITING);
        Self { waiting, slots, used: 0, bound: 0, seed, most_slots }
    }

    /// Counts an address once.
    #[inline]
    pub(super) fn add(&mut self, address: u64) {
        self.waiting.push(address);
        if self.waiting.len() >= WAITING {
            self.count_waiting();
        }
    }

    #[inline(never)]
    fn count_waiting(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        let last = self.slots.len() - 1;
        let touched = waiting.iter().filter_map(|a| self.slots.get(self.place(*a) & last));
        std::hint::black_box(touched.fold(0, |sum: u32, slot| sum.wrapping_add(slot.count)));
        for address in &waiting {
            self.count(*address);
        }
        self.waiting = waiting;
        self.waiting.clear();
    }

    #[inline]
    fn count(&mut self, address: u64) {
        let mut at = self.place(address);
        let last = self.slots.len() - 1;
        loop {
            let Some(slot) = self.slots.get_mut(at & last) else { return };
            if slot.address == address && slot.count > 0 {
                slot.count = slot.count.saturating_add(1);
                return;
            }
            if slot.count == 0 {
                *slot = Slot { address, count: 1, missed: held(self.bound) };
                break;
            }
            at += 1;
        }
        self.used += 1;
        if self.used * 4 > self.slots.len() * 3 {
            self.make_room();
        }
    }

    #[inline]
    fn place(&self, address: u64) -> usize {
        usize::try_from((address ^ address >> 32).wrapping_mul(self.seed) >> 40).unwrap_or(0)
    }

    #[cold]
    fn make_room(&mut self) {
        let mut slots = self.slots.len();
        let mut price = 0;
        if slots < self.most_slots {
            slots *= 2;
        } else {
            let mut weights: Vec<u64> = self.filled().map(|(_, c)| self.weight(c)).collect();
            price = median(&mut weights).unwrap_or(0);
        }
        let kept: Vec<_> = self.filled().filter(|(_, c)| price == 0 || self.weight(*c) > price).collect();
        self.bound += price;
        self.slots = vec![Slot::default(); slots];
        self.used = kept.len();
        for (address, counted) in kept {
            self.put(address, counted);
        }
    }

    /// Puts an address into a free slot.
    fn put(&mut self, address: u64, counted: Counted) {
        let last = self.slots.len() - 1;
        let mut at = self.place(address);
        while self.slots.get(at & last).is_some_and(|s| s.count > 0) {
            at += 1;
        }
        if let Some(free) = self.slots.get_mut(at & last) {
            *free = Slot { address, count: held(counted.count), missed: held(counted.missed) };
        }
    }

    fn weight(&self, counted: Counted) -> u64 {
        (counted.count + counted.missed).saturating_sub(self.bound)
    }

    fn filled(&self) -> impl Iterator<Item = (u64, Counted)> {
        let counted = |s: &Slot| Counted { count: u64::from(s.count), missed: u64::from(s.missed) };
        self.slots.iter().filter(|s| s.count > 0).map(move |s| (s.address, counted(s)))
    }

    /// Adds what another one counted.
    pub(super) fn merge(&mut self, mut other: Self) {
        self.count_waiting();
        other.count_waiting();
        if self.used == 0 && self.bound == 0 {
            *self = other;
            return;
        }
        for slot in self.slots.iter_mut().filter(|_| other.bound > 0) {
            slot.missed = slot.missed.saturating_add(held(other.bound));
        }
        self.bound += other.bound;
        for (address, theirs) in other.filled() {
            self.merge_one(address, theirs, other.bound);
        }
    }

    fn merge_one(&mut self, address: u64, theirs: Counted, their_bound: u64) {
        let last = self.slots.len() - 1;
        let mut at = self.place(address);
        while self.slots.get(at & last).is_some_and(|s| s.count > 0 && s.address != address) {
            at += 1;
        }
        let Some(slot) = self.slots.get_mut(at & last) else { return };
        let is_new = slot.count == 0;
        slot.address = address;
        slot.count = slot.count.saturating_add(held(theirs.count));
        // A new one may have been dropped on this side, before or while merging.
        let missed_here = if is_new { self.bound } else { u64::from(slot.missed) };
        slot.missed = held(theirs.missed + missed_here.saturating_sub(their_bound));
        self.used += usize::from(is_new);
        if self.used * 4 > self.slots.len() * 3 {
            self.make_room();
        }
    }

    /// Adds the `most` most frequent ones to a summary with text for keys.
    pub(super) fn pour_into(mut self, clients: &mut Top<Box<str>>, most: usize) {
        self.count_waiting();
        let mut kept: Vec<_> = self.filled().collect();
        if kept.len() > most {
            // As when thinning: those that are kept must outweigh what is dropped.
            let (_, (_, heaviest_dropped), _) =
                kept.select_nth_unstable_by_key(most, |(_, c)| std::cmp::Reverse(self.weight(*c)));
            let price = self.weight(*heaviest_dropped);
            kept.retain(|(_, c)| self.weight(*c) > price);
            self.bound += price;
        }
        clients.merge_counts(self.bound, kept.into_iter().map(|(a, counted)| (undotted(a).into_boxed_str(), counted)));
    }
}

/// A figure as a slot holds it.
fn held(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nginx::error::skim::whole_dotted;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn packed(n: u32) -> u64 {
        whole_dotted(std::net::Ipv4Addr::from(n).to_string().as_bytes()).unwrap()
    }

    proptest! {
        #[test]
        fn counts_are_honest_in_a_full_table(keys in prop::collection::vec(0_u32..400, 0..4_000), cut in 0_usize..4_000, most in 2_usize..60) {
            let mut table = Addresses::with_slots(64);
            let mut other = Addresses::with_slots(64);
            let mut truth: HashMap<Box<str>, u64> = HashMap::new();
            for (n, key) in keys.iter().enumerate() {
                if n < cut { table.add(packed(*key)) } else { other.add(packed(*key)) }
                *truth.entry(std::net::Ipv4Addr::from(*key).to_string().into()).or_default() += 1;
            }
            let mut top = Top::new(1_000);
            table.merge(other);
            table.pour_into(&mut top, most);
            prop_assert!(top.len() <= most.min(48));
            for (key, n) in truth {
                match top.get(&key) {
                    Some(c) => prop_assert!(c.count <= n && n <= c.count + c.missed),
                    None => prop_assert!(n <= top.bound()),
                }
            }
        }
    }

    #[test]
    fn sixty_four_thousand_clients_are_counted_exactly() {
        let mut table = Addresses::default();
        for n in 0..3 * 65_536 {
            table.add(packed(n % 65_536));
        }
        table.count_waiting();
        assert_eq!((table.bound, table.used), (0, 65_536));
        assert!(table.filled().all(|(_, c)| c.count == 3));
    }
}
