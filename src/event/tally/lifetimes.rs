//! How long sessions lived, as a histogram of bounded size that merges.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A histogram of lifetimes: exact to the millisecond below 8 s, to a fortieth of a percent above. Parts add up to the whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lifetimes {
    counts: Vec<u64>,
    total: u64,
    longest: u64,
}

/// Buckets of each power of two.
const FINE: u64 = 4_096;
const FINE_BITS: u32 = FINE.ilog2();

/// The bucket of a lifetime in milliseconds: the leading thirteen bits and how many follow.
fn bucket(millis: u64) -> usize {
    let shift = millis.max(FINE).ilog2() - FINE_BITS;
    usize::try_from(u64::from(shift) * FINE + (millis >> shift)).unwrap_or(usize::MAX)
}

/// The least and the greatest lifetime in a bucket.
fn bounds(bucket: usize) -> (u64, u64) {
    let bucket = bucket as u64;
    let shift = (bucket / FINE).saturating_sub(1).min(u64::from(u64::BITS - FINE_BITS - 1));
    let low = (bucket - shift * FINE) << shift;
    (low, low + ((1 << shift) - 1))
}

fn midpoint(bucket: usize) -> u64 {
    let (low, high) = bounds(bucket);
    low + (high - low) / 2
}

impl Lifetimes {
    /// Counts a lifetime `n` times.
    pub fn add(&mut self, lifetime: Duration, n: u64) {
        let millis = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
        self.add_at(bucket(millis), n);
        self.longest = self.longest.max(millis);
    }

    fn add_at(&mut self, at: usize, n: u64) {
        if self.counts.len() <= at {
            self.counts.resize(at + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(at) {
            *count += n;
        }
        self.total += n;
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Self) {
        for (at, n) in other.filled() {
            self.add_at(at, n);
        }
        self.longest = self.longest.max(other.longest);
    }

    /// How many lifetimes were counted.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// The longest; `None` when nothing was counted.
    #[must_use]
    pub fn longest(&self) -> Option<Duration> {
        (self.total > 0).then_some(Duration::from_millis(self.longest))
    }

    /// The lifetime that the share `of_all` (0 to 1) of the sessions did not outlive; `None` when nothing was counted.
    #[must_use]
    pub fn quantile(&self, of_all: f64) -> Option<Duration> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a count, held in its range"
        )]
        let rank = ((self.total as f64 * of_all.clamp(0.0, 1.0)).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        let at = self.filled().find(|(_, n)| {
            seen += n;
            seen >= rank
        })?;
        Some(Duration::from_millis(bounds(at.0).1.min(self.longest)))
    }

    /// Lifetimes and counts of the buckets that hold something, shortest first, each by its lower bound: for a chart.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> {
        self.filled().map(|(at, n)| (Duration::from_millis(bounds(at).0), n))
    }

    /// Lifetimes in milliseconds and counts of the buckets that hold something, shortest first, each by its middle.
    pub(super) fn middles(&self) -> Vec<(u64, u64)> {
        self.filled().map(|(at, n)| (midpoint(at), n)).collect()
    }

    fn filled(&self) -> impl Iterator<Item = (usize, u64)> {
        self.counts.iter().copied().enumerate().filter(|(_, n)| *n > 0)
    }
}

/// The buckets that hold something, as pairs of number and count, and the longest lifetime in milliseconds.
#[derive(Serialize, Deserialize)]
struct Written {
    longest_ms: u64,
    buckets: Vec<(usize, u64)>,
}

impl Serialize for Lifetimes {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        Written { longest_ms: self.longest, buckets: self.filled().collect() }.serialize(s)
    }
}

impl<'de> Deserialize<'de> for Lifetimes {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let Written { longest_ms, buckets } = Written::deserialize(d)?;
        let mut out = Self { longest: longest_ms, ..Self::default() };
        for (at, n) in buckets {
            if at > bucket(u64::MAX) {
                return Err(serde::de::Error::custom(format!("no such lifetime bucket: {at}")));
            }
            out.add_at(at, n);
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counted(millis: &[u64]) -> Lifetimes {
        let mut all = Lifetimes::default();
        for m in millis {
            all.add(Duration::from_millis(*m), 1);
        }
        all
    }

    proptest! {
        #[test]
        fn a_bucket_holds_its_lifetimes_to_a_fortieth_of_a_percent(millis in any::<u64>().prop_flat_map(|n| (0_u32..64).prop_map(move |s| n >> s))) {
            let (low, high) = bounds(bucket(millis));
            prop_assert!(low <= millis && millis <= high);
            prop_assert!(high - low <= low / 4_000);
            prop_assert_eq!(bucket(high.saturating_add(1)) > bucket(millis), high < u64::MAX);
        }

        #[test]
        fn parts_add_up(millis in prop::collection::vec(0_u64..5_000_000, 0..100), cut in 0_usize..100) {
            let (a, b) = millis.split_at(cut.min(millis.len()));
            let mut merged = counted(a);
            merged.merge(&counted(b));
            prop_assert_eq!(merged, counted(&millis));
        }
    }

    #[test]
    fn quantiles_and_the_longest_are_known() {
        let all = counted(&(1..=1_000).collect::<Vec<_>>());
        let at = |q| all.quantile(q).map(|d| d.as_millis());
        assert_eq!([0.0, 0.5, 0.9, 1.0].map(at), [Some(1), Some(500), Some(900), Some(1_000)]);
        assert_eq!(all.longest(), Some(Duration::from_secs(1)));
        assert_eq!(Lifetimes::default().quantile(0.5), None);
    }
}
