//! Counts over time in at most 512 buckets, whose width follows from the span alone.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Buckets at most.
pub const MOST_BUCKETS: usize = 512;

/// Widths in seconds that people read easily; each is a multiple of the one before, so that buckets merge without a rest.
/// Beyond a day the width doubles.
const WIDTHS: [i64; 13] = [1, 5, 15, 30, 60, 300, 900, 1_800, 3_600, 10_800, 21_600, 43_200, 86_400];

/// Counts in buckets of one width, aligned to the epoch. The width is the least at which all that was counted fits, so
/// the order of counting does not matter and parts add up to the whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct Rate {
    /// Seconds in a bucket.
    width_s: i64,
    /// The number of the first bucket, counted from the epoch.
    first: i64,
    counts: Vec<u64>,
}

/// What a recording may hold: only what [`Rate`] can have written is taken.
#[derive(Deserialize)]
struct Written {
    width_s: i64,
    first: i64,
    counts: Vec<u64>,
}

impl TryFrom<Written> for Rate {
    type Error = String;

    fn try_from(Written { width_s, first, counts }: Written) -> Result<Self, String> {
        // No moment lies further from the epoch: it counts microseconds in 64 bits.
        const FAR: i64 = i64::MAX / 1_000_000;
        let far = first.checked_mul(width_s).is_none_or(|s| s.abs() > FAR + width_s);
        if !(1..=FAR).contains(&width_s) || far || counts.len() > MOST_BUCKETS {
            return Err(format!("no such buckets: {} of {width_s} s from number {first}", counts.len()));
        }
        Ok(Self { width_s, first, counts })
    }
}

impl Default for Rate {
    fn default() -> Self {
        Self { width_s: 1, first: 0, counts: Vec::new() }
    }
}

impl Rate {
    /// Counts `n` at a moment.
    pub fn add(&mut self, at: Timestamp, n: u64) {
        self.add_at_second(at.secs(), n);
    }

    /// The same at a second since the epoch.
    pub fn add_at_second(&mut self, second: i64, n: u64) {
        let bucket = second.div_euclid(self.width_s.max(1));
        match self.place(bucket).and_then(|at| self.counts.get_mut(at)) {
            Some(count) => *count += n,
            None => self.add_outside(second, n),
        }
    }

    fn place(&self, bucket: i64) -> Option<usize> {
        usize::try_from(bucket.checked_sub(self.first)?).ok()
    }

    fn add_outside(&mut self, second: i64, n: u64) {
        self.make_room(second, second);
        let bucket = second.div_euclid(self.width_s);
        if let Some(count) = self.place(bucket).and_then(|at| self.counts.get_mut(at)) {
            *count += n;
        }
    }

    /// Widens and lengthens so that the seconds from `from` to `to` have buckets.
    fn make_room(&mut self, from: i64, to: i64) {
        let (mut low, mut high) = (from.div_euclid(self.width_s), to.div_euclid(self.width_s));
        if let Some(last) = self.last() {
            (low, high) = (low.min(self.first), high.max(last));
        } else {
            self.first = low;
        }
        while high.saturating_sub(low) >= i64::try_from(MOST_BUCKETS).unwrap_or(i64::MAX) {
            let factor = self.widen();
            (low, high) = (low.div_euclid(factor), high.div_euclid(factor));
        }
        if self.counts.is_empty() {
            self.first = low;
        }
        let before = usize::try_from(self.first - low).unwrap_or(0);
        if before > 0 {
            self.counts.splice(..0, std::iter::repeat_n(0, before));
            self.first = low;
        }
        let length = usize::try_from(high - low + 1).unwrap_or(0);
        self.counts.resize(length.max(self.counts.len()), 0);
    }

    /// The number of the last bucket.
    fn last(&self) -> Option<i64> {
        let behind = i64::try_from(self.counts.len()).ok()?.checked_sub(1).filter(|&n| n >= 0)?;
        self.first.checked_add(behind)
    }

    /// Takes the next width; gives how many old buckets a new one holds.
    fn widen(&mut self) -> i64 {
        let next = WIDTHS.into_iter().find(|w| *w > self.width_s).unwrap_or(self.width_s.saturating_mul(2));
        let factor = (next / self.width_s).max(2);
        let old = std::mem::take(&mut self.counts);
        let first = self.first.div_euclid(factor);
        for (bucket, n) in (self.first..).zip(old) {
            let at = usize::try_from(bucket.div_euclid(factor) - first).unwrap_or(0);
            if self.counts.len() <= at {
                self.counts.resize(at + 1, 0);
            }
            if let Some(count) = self.counts.get_mut(at) {
                *count += n;
            }
        }
        (self.first, self.width_s) = (first, next);
        factor
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Self) {
        let Some(last) = other.last() else { return };
        while self.width_s < other.width_s {
            self.widen();
        }
        self.make_room(other.first * other.width_s, last * other.width_s + other.width_s - 1);
        for (bucket, n) in (other.first..).zip(&other.counts) {
            let own = (bucket * other.width_s).div_euclid(self.width_s);
            if let Some(count) = self.place(own).and_then(|at| self.counts.get_mut(at)) {
                *count += n;
            }
        }
    }

    /// How long a bucket is.
    #[must_use]
    pub fn width(&self) -> Duration {
        Duration::from_secs(self.width_s.unsigned_abs())
    }

    /// Each bucket's beginning and count, in order and without gaps.
    pub fn buckets(&self) -> impl Iterator<Item = (Timestamp, u64)> {
        (self.first..).zip(&self.counts).map(|(bucket, n)| (Timestamp::from_secs(bucket * self.width_s), *n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counted(seconds: &[i64]) -> Rate {
        let mut rate = Rate::default();
        for s in seconds {
            rate.add_at_second(*s, 1);
        }
        rate
    }

    fn span() -> impl Strategy<Value = Vec<i64>> {
        (0_u32..12).prop_flat_map(|digits| {
            let far = 10_i64.pow(digits);
            prop::collection::vec(-far..=far, 0..60)
        })
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_the_order_does_not_matter(mut seconds in span(), cut in 0_usize..60) {
            let whole = counted(&seconds);
            prop_assert!(whole.counts.len() <= MOST_BUCKETS);
            prop_assert_eq!(whole.counts.iter().sum::<u64>(), seconds.len() as u64);
            for s in &seconds {
                let holds = |(at, n): (Timestamp, u64)| n > 0 && at.secs() <= *s && *s < at.secs() + whole.width_s;
                prop_assert!(whole.buckets().any(holds), "{} in {:?}", s, whole);
            }
            let (a, b) = seconds.split_at(cut.min(seconds.len()));
            let mut merged = counted(a);
            merged.merge(&counted(b));
            prop_assert_eq!(&merged, &whole);
            let mut merged = counted(b);
            merged.merge(&counted(a));
            prop_assert_eq!(&merged, &whole);
            seconds.reverse();
            prop_assert_eq!(counted(&seconds), whole);
        }
    }

    #[test]
    fn it_is_read_back_and_nonsense_is_refused() {
        let rate = counted(&[-7, 100_000]);
        let json = serde_json::to_string(&rate).unwrap();
        assert_eq!(serde_json::from_str::<Rate>(&json).unwrap(), rate);
        for wrong in
            [r#"{"width_s":0,"first":0,"counts":[1]}"#, r#"{"width_s":5,"first":9223372036854775807,"counts":[1]}"#]
        {
            assert!(serde_json::from_str::<Rate>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_width_grows_with_the_span() {
        let width = |span: i64| counted(&[0, span]).width().as_secs();
        assert_eq!([511, 512, 3_600, 86_400, 7 * 86_400].map(width), [1, 5, 15, 300, 1_800]);
        assert_eq!(width(86_400 * 512), 2 * 86_400);
    }
}
