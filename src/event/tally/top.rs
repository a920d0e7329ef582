//! The most frequent of any number of keys in bounded memory, with an honest bound on what is not known.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

use foldhash::fast::RandomState;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Counts keys and keeps at most `capacity` of them: the summary of Misra and Gries (Finding repeated elements, 1982),
/// thinned by half at a time and mergeable (Agarwal et al., Mergeable Summaries, 2012).
///
/// Until the capacity is reached all counts are exact. After that a kept key occurred at least [`Counted::count`] and at
/// most `count + missed` times, and a key that is not kept at most [`Top::bound`] times, which never exceeds
/// `2 * total / capacity`.
#[derive(Clone, Debug)]
pub struct Top<K> {
    capacity: usize,
    bound: u64,
    kept: HashMap<K, Counted, RandomState>,
}

/// How often a key occurred: at least `count`, at most `count + missed`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// So often for certain.
    pub count: u64,
    /// And perhaps so often before it was kept; 0: the count is exact.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub missed: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Counted {
    /// What thinning takes away from: the count in a plain summary of Misra and Gries.
    const fn weight(self, bound: u64) -> u64 {
        (self.count + self.missed).saturating_sub(bound)
    }
}

impl<K: Eq + Hash> Top<K> {
    /// Nothing counted yet; `capacity` keys are kept at most, and at least two.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(2), bound: 0, kept: HashMap::default() }
    }

    /// Counts `key` another `n` times. A key that is already kept is not copied.
    pub fn add<Q>(&mut self, key: &Q, n: u64)
    where
        Q: ?Sized + Eq + Hash,
        K: Borrow<Q> + for<'a> From<&'a Q>,
    {
        match self.kept.get_mut(key) {
            Some(counted) => counted.count += n,
            None => self.insert(K::from(key), Counted { count: n, missed: self.bound }),
        }
    }

    /// The same for a key that is cheap to make.
    pub fn add_owned(&mut self, key: K, n: u64) {
        match self.kept.get_mut(&key) {
            Some(counted) => counted.count += n,
            None => self.insert(key, Counted { count: n, missed: self.bound }),
        }
    }

    fn insert(&mut self, key: K, counted: Counted) {
        self.kept.insert(key, counted);
        if self.kept.len() > self.capacity {
            self.thin();
        }
    }

    /// Keeps the heavier half. Every kept key pays the weight of the heaviest one dropped, which is what bounds the error.
    fn thin(&mut self) {
        let mut weights: Vec<u64> = self.kept.values().map(|c| c.weight(self.bound)).collect();
        let Some(price) = median(&mut weights) else { return };
        let bound = self.bound;
        self.kept.retain(|_, c| c.weight(bound) > price);
        self.bound += price;
    }

    /// Adds what another one counted. The keys that only one of them keeps may have been missed by the other.
    pub fn merge(&mut self, other: Self) {
        self.merge_mapped(other, |key| key);
    }

    /// The same for keys that are kept in another form there, which `map` turns into this one.
    pub fn merge_mapped<L>(&mut self, other: Top<L>, mut map: impl FnMut(L) -> K) {
        self.merge_counts(other.bound, other.kept.into_iter().map(|(key, counted)| (map(key), counted)));
    }

    /// The same for what any such summary with the given bound kept.
    pub fn merge_counts(&mut self, other_bound: u64, kept: impl Iterator<Item = (K, Counted)>) {
        let own_bound = self.bound;
        if other_bound > 0 {
            self.kept.values_mut().for_each(|c| c.missed += other_bound);
        }
        self.bound += other_bound;
        self.kept.reserve(kept.size_hint().0.min(self.capacity));
        for (key, theirs) in kept {
            if let Some(own) = self.kept.get_mut(&key) {
                own.count += theirs.count;
                own.missed = own.missed - other_bound.min(own.missed) + theirs.missed;
            } else {
                let missed = theirs.missed + own_bound;
                self.kept.insert(key, Counted { count: theirs.count, missed });
            }
        }
        if self.kept.len() > self.capacity {
            self.thin();
        }
    }

    /// A key that is not kept occurred at most so often.
    #[must_use]
    pub const fn bound(&self) -> u64 {
        self.bound
    }

    /// How many keys are kept: all that occurred while [`Top::bound`] is 0.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// How often `key` occurred, if it is kept.
    #[must_use]
    pub fn get<Q>(&self, key: &Q) -> Option<Counted>
    where
        Q: ?Sized + Eq + Hash,
        K: Borrow<Q>,
    {
        self.kept.get(key).copied()
    }

    /// Every kept key, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, Counted)> {
        self.kept.iter().map(|(key, counted)| (key, *counted))
    }
}

impl<K: Eq + Hash + Ord> Top<K> {
    /// The `most` most frequent keys, by count and then by key.
    #[must_use]
    pub fn ranked(&self, most: usize) -> Vec<(&K, Counted)> {
        let mut all: Vec<_> = self.iter().collect();
        all.sort_unstable_by(|(ka, a), (kb, b)| b.count.cmp(&a.count).then_with(|| ka.cmp(kb)));
        all.truncate(most);
        all
    }
}

/// The middle of `weights`: at least half of them are as heavy or heavier.
pub fn median(weights: &mut [u64]) -> Option<u64> {
    let middle = weights.len().checked_sub(1)? / 2;
    Some(*weights.select_nth_unstable(middle).1)
}

impl<K: Eq + Hash> PartialEq for Top<K> {
    fn eq(&self, other: &Self) -> bool {
        self.bound == other.bound && self.kept == other.kept
    }
}

/// One key as it is written.
#[derive(Serialize, Deserialize)]
struct Row<K> {
    key: K,
    #[serde(flatten)]
    counted: Counted,
}

/// A whole summary as it is written: most frequent first.
#[derive(Serialize, Deserialize)]
struct Written<K> {
    capacity: usize,
    bound: u64,
    kept: Vec<Row<K>>,
}

impl<K: Eq + Hash + Ord + Serialize> Serialize for Top<K> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let kept = self.ranked(usize::MAX).into_iter().map(|(key, counted)| Row { key, counted }).collect();
        Written { capacity: self.capacity, bound: self.bound, kept }.serialize(s)
    }
}

impl<'de, K: Eq + Hash + Deserialize<'de>> Deserialize<'de> for Top<K> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let written = Written::<K>::deserialize(d)?;
        let mut top = Self::new(written.capacity);
        top.merge_counts(0, written.kept.into_iter().map(|r| (r.key, r.counted)));
        top.bound = top.bound.max(written.bound);
        Ok(top)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn truth(keys: &[u16]) -> HashMap<u16, u64> {
        let mut all = HashMap::new();
        for k in keys {
            *all.entry(*k).or_default() += 1;
        }
        all
    }

    fn holds(top: &Top<u16>, keys: &[u16]) {
        assert!(top.len() <= top.capacity);
        assert!(top.bound() <= 2 * keys.len() as u64 / top.capacity as u64, "{} of {}", top.bound(), keys.len());
        for (key, n) in truth(keys) {
            match top.get(&key) {
                Some(c) => assert!(c.count <= n && n <= c.count + c.missed, "{key}: {c:?}, truly {n}"),
                None => assert!(n <= top.bound(), "{key} occurred {n} times, the bound is {}", top.bound()),
            }
        }
    }

    fn counted(keys: &[u16], capacity: usize) -> Top<u16> {
        let mut top = Top::new(capacity);
        for k in keys {
            top.add_owned(*k, 1);
        }
        top
    }

    proptest! {
        /// Whatever the keys, the counts and the bound are never wrong, nor when parts were counted apart.
        #[test]
        fn counts_and_bound_are_honest(keys in prop::collection::vec(0_u16..300, 0..3_000), cut in 0_usize..3_000, capacity in 2_usize..80) {
            holds(&counted(&keys, capacity), &keys);
            let (a, b) = keys.split_at(cut.min(keys.len()));
            let mut merged = counted(a, capacity);
            merged.merge(counted(b, capacity));
            holds(&merged, &keys);
        }

        /// While there is room, parts add up to exactly the whole.
        #[test]
        fn with_room_for_all_keys_counts_are_exact(keys in prop::collection::vec(0_u16..60, 0..500), cut in 0_usize..500) {
            let (a, b) = keys.split_at(cut.min(keys.len()));
            let mut merged = counted(a, 64);
            merged.merge(counted(b, 64));
            prop_assert_eq!(&merged, &counted(&keys, 64));
            prop_assert_eq!(merged.bound(), 0);
        }
    }

    #[test]
    fn a_heavy_key_survives_a_million_strangers() {
        let mut top: Top<u64> = Top::new(100);
        for n in 0..1_000_000 {
            top.add_owned(1_000 + n, 1);
            if n % 20 == 0 {
                top.add_owned(7, 1);
            }
        }
        let (key, first) = top.ranked(1)[0];
        assert_eq!((*key, first), (7, Counted { count: 50_000, missed: 0 }), "kept from the start: exact");
        assert!(top.bound() <= 2 * 1_050_000 / 100);
    }

    #[test]
    fn it_is_written_most_frequent_first_and_read_back() {
        let mut top: Top<Box<str>> = Top::new(3);
        for (key, n) in [("a", 1), ("b", 9), ("c", 4), ("d", 5)] {
            top.add(key, n);
        }
        let json = serde_json::to_string(&top).unwrap();
        assert_eq!(json, r#"{"capacity":3,"bound":4,"kept":[{"key":"b","count":9},{"key":"d","count":5}]}"#);
        assert_eq!(serde_json::from_str::<Top<Box<str>>>(&json).unwrap(), top);
    }
}
