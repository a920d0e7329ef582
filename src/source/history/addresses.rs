//! Counts IPv4 clients by their packed text: the summary of `event::tally::top` in an open table, where a string each
//! would cost more than reading the line.

use std::hash::BuildHasher as _;
use std::sync::LazyLock;

use crate::event::tally::top::{Counted, Top, median};
use crate::nginx::error::skim::undotted;

/// Buckets at most; three in five of their slots may be filled. 2 MB.
const MOST_BUCKETS: usize = 1 << 15;
const FIRST_BUCKETS: usize = 1 << 11;
/// Slots of a bucket: as many as one line of the processor's cache holds.
const SLOTS: usize = 5;
/// Addresses that wait to be counted.
const WAITING: usize = 128;

/// Clients choose addresses: they must not know which collide. One for all tables, so that two are merged from front to
/// back and not criss-cross.
static SEED: LazyLock<u64> = LazyLock::new(|| foldhash::fast::RandomState::default().hash_one(0_u8) | 1);

/// Packed addresses and their counts; no address is packed as 0, which is an empty slot. Filled from the first slot on.
/// The counts hold at 4 thousand millions.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Bucket {
    addresses: [u64; SLOTS],
    counts: [u32; SLOTS],
}

impl Bucket {
    /// The slot of an address. All are compared: which one it is can not be guessed.
    #[inline]
    fn slot_of(&self, address: u64) -> Option<usize> {
        let mut found = SLOTS;
        for (slot, here) in self.addresses.iter().enumerate() {
            found = if *here == address { slot } else { found };
        }
        (found < SLOTS).then_some(found)
    }
}

/// The most frequent addresses of any number.
#[derive(Debug)]
pub(super) struct Addresses {
    /// Addresses are counted many at a time: so the processor fetches their slots together and not one after the other.
    waiting: Vec<u64>,
    buckets: Vec<Bucket>,
    /// How often each may have occurred before it was kept; empty while all are exact.
    missed: Vec<[u32; SLOTS]>,
    used: usize,
    bound: u64,
    seed: u64,
    most_buckets: usize,
}

impl Default for Addresses {
    fn default() -> Self {
        Self::with_buckets(MOST_BUCKETS)
    }
}

impl Addresses {
    /// `most_buckets` is a power of two.
    fn with_buckets(most_buckets: usize) -> Self {
        let buckets = vec![Bucket::default(); FIRST_BUCKETS.min(most_buckets)];
        let waiting = Vec::with_capacity(WAITING);
        Self { waiting, buckets, missed: Vec::new(), used: 0, bound: 0, seed: *SEED, most_buckets }
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
        let last = self.buckets.len() - 1;
        let touched = waiting.iter().filter_map(|a| self.buckets.get(self.place(*a) & last));
        std::hint::black_box(touched.fold(0, |sum: u64, bucket| sum ^ bucket.addresses[0]));
        for address in &waiting {
            self.count(*address);
        }
        self.waiting = waiting;
        self.waiting.clear();
    }

    #[inline]
    fn count(&mut self, address: u64) {
        let home = self.place(address) & (self.buckets.len() - 1);
        let Some(bucket) = self.buckets.get_mut(home) else { return };
        if let Some(count) = bucket.slot_of(address).and_then(|slot| bucket.counts.get_mut(slot)) {
            *count = count.saturating_add(1);
        } else {
            self.count_elsewhere(address);
        }
    }

    /// Counts an address that is not in the bucket where it is looked for first.
    #[inline(never)]
    fn count_elsewhere(&mut self, address: u64) {
        let (at, slot) = self.find(address);
        let missed = held(self.bound);
        let Some(bucket) = self.buckets.get_mut(at) else { return };
        let (Some(here), Some(count)) = (bucket.addresses.get_mut(slot), bucket.counts.get_mut(slot)) else { return };
        *count = count.saturating_add(1);
        if *here == 0 {
            *here = address;
            self.set_missed(at, slot, missed);
            self.filled_one_more();
        }
    }

    /// The bucket and the slot that an address has, or would have.
    fn find(&self, address: u64) -> (usize, usize) {
        let last = self.buckets.len() - 1;
        let mut at = self.place(address) & last;
        loop {
            let Some(bucket) = self.buckets.get(at) else { return (at, SLOTS) };
            if let Some(slot) = bucket.slot_of(address).or_else(|| bucket.addresses.iter().position(|a| *a == 0)) {
                return (at, slot);
            }
            at = (at + 1) & last;
        }
    }

    fn filled_one_more(&mut self) {
        self.used += 1;
        if self.used * 5 > self.buckets.len() * SLOTS * 3 {
            self.make_room();
        }
    }

    #[inline]
    fn set_missed(&mut self, at: usize, slot: usize, missed: u32) {
        if missed > 0 && self.missed.is_empty() {
            self.missed = vec![[0; SLOTS]; self.buckets.len()];
        }
        if let Some(place) = self.missed.get_mut(at).and_then(|bucket| bucket.get_mut(slot)) {
            *place = missed;
        }
    }

    #[inline]
    fn place(&self, address: u64) -> usize {
        usize::try_from((address ^ address >> 32).wrapping_mul(self.seed) >> 40).unwrap_or(0)
    }

    #[cold]
    fn make_room(&mut self) {
        let mut larger = self.buckets.len();
        let mut price = 0;
        if larger < self.most_buckets {
            larger = (larger * 16).min(self.most_buckets);
        } else {
            let mut weights = self.weights();
            price = median(&mut weights).unwrap_or(0);
        }
        let mut roomier = Self { buckets: vec![Bucket::default(); larger], ..Self::with_buckets(1) };
        self.filled().for_each(|(address, counted)| {
            if price == 0 || self.weight(counted) > price {
                roomier.put(address, counted);
            }
        });
        self.bound += price;
        (self.buckets, self.missed, self.used) = (roomier.buckets, roomier.missed, roomier.used);
    }

    /// Puts an address that is not there yet into a free slot.
    fn put(&mut self, address: u64, counted: Counted) {
        let last = self.buckets.len() - 1;
        let mut at = self.place(address) & last;
        while let Some(bucket) = self.buckets.get_mut(at) {
            let free = bucket.addresses.iter_mut().zip(&mut bucket.counts).zip(0..).find(|((here, _), _)| **here == 0);
            if let Some(((here, count), slot)) = free {
                (*here, *count) = (address, held(counted.count));
                self.set_missed(at, slot, held(counted.missed));
                self.used += 1;
                return;
            }
            at = (at + 1) & last;
        }
    }

    fn weight(&self, counted: Counted) -> u64 {
        (counted.count + counted.missed).saturating_sub(self.bound)
    }

    fn weights(&self) -> Vec<u64> {
        let mut weights = Vec::with_capacity(self.used);
        self.filled().for_each(|(_, counted)| weights.push(self.weight(counted)));
        weights
    }

    fn filled(&self) -> impl Iterator<Item = (u64, Counted)> {
        self.buckets.iter().enumerate().flat_map(|(at, bucket)| {
            let missed = self.missed.get(at).copied().unwrap_or_default();
            let slots = bucket.addresses.into_iter().zip(bucket.counts).zip(missed);
            let counted = |n: u32, m: u32| Counted { count: u64::from(n), missed: u64::from(m) };
            slots.take_while(|((a, _), _)| *a != 0).map(move |((a, n), m)| (a, counted(n, m)))
        })
    }

    /// Adds what another one counted.
    pub(super) fn merge(&mut self, mut other: Self) {
        self.count_waiting();
        other.count_waiting();
        if other.buckets.len() > self.buckets.len() {
            std::mem::swap(self, &mut other);
        }
        if other.used == 0 && other.bound == 0 {
            return;
        }
        if other.bound > 0 {
            self.all_missed(held(other.bound));
        }
        self.bound += other.bound;
        other.filled().for_each(|(address, theirs)| {
            let is_exact = self.missed.is_empty() && other.missed.is_empty() && other.bound == 0;
            if !is_exact || self.merge_known(address, held(theirs.count)).is_none() {
                self.merge_one(address, theirs, other.bound);
            }
        });
    }

    /// The short way for an address that is where it is looked for first, while all counts are exact.
    #[inline]
    fn merge_known(&mut self, address: u64, more: u32) -> Option<()> {
        let home = self.place(address) & (self.buckets.len() - 1);
        let bucket = self.buckets.get_mut(home)?;
        let count = bucket.slot_of(address).and_then(|slot| bucket.counts.get_mut(slot))?;
        *count = count.saturating_add(more);
        Some(())
    }

    fn all_missed(&mut self, more: u32) {
        self.missed.resize(self.buckets.len(), [0; SLOTS]);
        for missed in self.missed.as_flattened_mut() {
            *missed = missed.saturating_add(more);
        }
    }

    fn merge_one(&mut self, address: u64, theirs: Counted, their_bound: u64) {
        let (at, slot) = self.find(address);
        let own_missed = self.missed.get(at).and_then(|bucket| bucket.get(slot)).copied().unwrap_or(0);
        let Some(bucket) = self.buckets.get_mut(at) else { return };
        let (Some(here), Some(count)) = (bucket.addresses.get_mut(slot), bucket.counts.get_mut(slot)) else { return };
        let is_new = *here == 0;
        *here = address;
        *count = count.saturating_add(held(theirs.count));
        // A new one may have been dropped on this side, before or while merging.
        let missed_here = if is_new { self.bound } else { u64::from(own_missed) };
        self.set_missed(at, slot, held(theirs.missed + missed_here.saturating_sub(their_bound)));
        if is_new {
            self.filled_one_more();
        }
    }

    /// Adds the `most` most frequent ones to a summary with text for keys.
    pub(super) fn pour_into(mut self, clients: &mut Top<Box<str>>, most: usize) {
        self.count_waiting();
        let mut price = 0;
        if self.used > most {
            // As when thinning: those that are kept must outweigh what is dropped.
            let mut weights = self.weights();
            let heaviest_dropped = weights.len().saturating_sub(most + 1);
            price = *weights.select_nth_unstable(heaviest_dropped).1;
        }
        let (mut kept, mut equal) = (Vec::with_capacity(most), Vec::new());
        self.filled().for_each(|(address, counted)| {
            let weight = self.weight(counted);
            if price == 0 || weight > price {
                kept.push((address, counted));
            } else if weight == price {
                equal.push((address, counted));
            }
        });
        // Where all are alike, as after a storm of reconnects, some are shown rather than none.
        equal.sort_unstable_by_key(|(address, _)| *address);
        equal.truncate(most.saturating_sub(kept.len()));
        kept.append(&mut equal);
        let named = kept.into_iter().map(|(a, counted)| (undotted(a).into_boxed_str(), counted));
        clients.merge_counts(self.bound + price, named);
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
        fn counts_are_honest_in_a_full_table(keys in prop::collection::vec(0_u32..400, 0..4_000), cut in 0_usize..4_000, most in 2_usize..60, other_is_larger: bool) {
            let mut table = Addresses::with_buckets(16);
            let mut other = Addresses::with_buckets(if other_is_larger { 32 } else { 8 });
            let mut truth: HashMap<Box<str>, u64> = HashMap::new();
            for (n, key) in keys.iter().enumerate() {
                if n < cut { table.add(packed(*key)) } else { other.add(packed(*key)) }
                *truth.entry(std::net::Ipv4Addr::from(*key).to_string().into()).or_default() += 1;
            }
            let mut top = Top::new(1_000);
            table.merge(other);
            table.pour_into(&mut top, most);
            prop_assert!(top.len() <= most);
            for (key, n) in truth {
                match top.get(&key) {
                    Some(c) => prop_assert!(c.count <= n && n <= c.count + c.missed),
                    None => prop_assert!(n <= top.bound()),
                }
            }
        }
    }

    #[test]
    fn of_clients_that_are_all_alike_some_are_shown() {
        let mut table = Addresses::default();
        (0..5_000).for_each(|n| table.add(packed(n)));
        let mut top = Top::new(4_096);
        table.pour_into(&mut top, 4_096);
        assert_eq!((top.len(), top.bound()), (4_096, 1));
        assert!(top.iter().all(|(_, c)| c == Counted { count: 1, missed: 0 }));
    }

    #[test]
    fn sixty_four_thousand_clients_are_counted_exactly() {
        let mut table = Addresses::default();
        for n in 0..3 * 65_536 {
            table.add(packed(n % 65_536));
        }
        table.count_waiting();
        assert_eq!((table.bound, table.used, table.missed.len()), (0, 65_536, 0));
        assert!(table.filled().all(|(_, c)| c.count == 3));
    }
}
