//! Counts over time in rings of fixed size: what a sparkline and a rate are read from.

use std::collections::VecDeque;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::time::Timestamp;

/// Seconds that one bucket covers.
pub const BUCKET_S: i64 = 5;
/// How many buckets are kept: half an hour.
const BUCKETS: i64 = 360;

/// Events counted in buckets of [`BUCKET_S`] seconds over the last half hour.
#[derive(Clone, Debug)]
pub struct Buckets {
    counts: Vec<u32>,
    /// The number (time / width) of the newest bucket.
    newest: i64,
}

impl Default for Buckets {
    fn default() -> Self {
        Self { counts: vec![0; usize::try_from(BUCKETS).unwrap_or(0)], newest: 0 }
    }
}

impl Buckets {
    fn index(number: i64) -> usize {
        usize::try_from(number.rem_euclid(BUCKETS)).unwrap_or(0)
    }

    /// Counts `n` events at `at`; what is older than the ring is not counted.
    pub fn add(&mut self, at: Timestamp, n: u32) {
        let number = at.secs().div_euclid(BUCKET_S);
        if number > self.newest {
            let stale = (number - self.newest).min(BUCKETS);
            for k in 0..stale {
                self.counts[Self::index(number - k)] = 0;
            }
            self.newest = number;
        }
        if number > self.newest - BUCKETS {
            let cell = &mut self.counts[Self::index(number)];
            *cell = cell.saturating_add(n);
        }
    }

    fn at(&self, number: i64) -> u32 {
        if number > self.newest || number <= self.newest - BUCKETS { 0 } else { self.counts[Self::index(number)] }
    }

    /// The last `cells` spans of `span` each (rounded to whole buckets), oldest first, the newest holding `now`.
    #[must_use]
    pub fn series(&self, now: Timestamp, cells: usize, span: Duration) -> Vec<u64> {
        let per_cell = (i64::try_from(span.as_secs()).unwrap_or(i64::MAX) / BUCKET_S).max(1);
        let current = now.secs().div_euclid(BUCKET_S).div_euclid(per_cell);
        let cells = i64::try_from(cells).unwrap_or(0);
        (0..cells)
            .map(|i| {
                let cell = current - (cells - 1 - i);
                (0..per_cell).map(|k| u64::from(self.at(cell * per_cell + k))).sum()
            })
            .collect()
    }

    /// Events in the last `span` (rounded to whole buckets).
    #[must_use]
    pub fn within(&self, now: Timestamp, span: Duration) -> u64 {
        let n = (i64::try_from(span.as_secs()).unwrap_or(i64::MAX) / BUCKET_S).clamp(1, BUCKETS);
        let current = now.secs().div_euclid(BUCKET_S);
        (0..n).map(|k| u64::from(self.at(current - k))).sum()
    }
}

/// Puts `new` among the `most` newest, oldest first. Logs are read one after the other, and the past of one may come after
/// the present of another; of equal age the one that came last is the newer.
pub(super) fn keep_newest<T: Clone>(kept: &mut VecDeque<T>, new: &T, most: usize, at: impl Fn(&T) -> Timestamp) {
    let place = kept.partition_point(|old| at(old) <= at(new));
    if kept.len() < most {
        kept.insert(place, new.clone());
    } else if place > 0 {
        kept.pop_front();
        kept.insert(place - 1, new.clone());
    }
}

/// A histogram from 1 to `highest`, to two digits.
pub(super) fn new_histogram(highest: u64) -> Histogram<u64> {
    // Both bounds are constants in the range that the library accepts; an auto-resizing histogram is the same but larger.
    Histogram::new_with_bounds(1, highest.max(2), 2)
        .or_else(|_| Histogram::new(2))
        .unwrap_or_else(|_| unreachable!("two digits are always accepted"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_forgets_what_is_older_than_half_an_hour() {
        let mut b = Buckets::default();
        let t0 = Timestamp::from_secs(1_000_000);
        b.add(t0, 3);
        assert_eq!(b.within(t0, Duration::from_secs(60)), 3);
        let later = t0.plus(Duration::from_secs(1_801));
        b.add(later, 1);
        assert_eq!(b.within(later, Duration::from_secs(1_800)), 1);
        b.add(t0, 9);
        assert_eq!(b.within(later, Duration::from_secs(1_800)), 1, "too old to count");
    }

    #[test]
    fn the_newest_are_kept_in_whatever_order_they_come() {
        let at = |entry: &(i64, char)| Timestamp::from_secs(entry.0);
        let mut kept = VecDeque::new();
        for entry in [(5, 'a'), (9, 'b'), (2, 'c'), (5, 'd'), (1, 'e'), (7, 'f')] {
            keep_newest(&mut kept, &entry, 4, at);
        }
        assert_eq!(kept, [(5, 'a'), (5, 'd'), (7, 'f'), (9, 'b')]);
        keep_newest(&mut kept, &(5, 'g'), 4, at);
        assert_eq!(kept, [(5, 'd'), (5, 'g'), (7, 'f'), (9, 'b')]);
        keep_newest(&mut kept, &(3, 'h'), 4, at);
        assert_eq!(kept.front(), Some(&(5, 'd')), "older than all that are kept");
    }

    #[test]
    fn a_series_ends_with_now_and_adds_up() {
        let mut b = Buckets::default();
        let t0 = Timestamp::from_secs(1_000_020);
        for k in 0..6 {
            b.add(t0.plus(Duration::from_secs(k * 10)), 1);
        }
        let now = t0.plus(Duration::from_secs(55));
        assert_eq!(b.series(now, 4, Duration::from_secs(20)), [0, 2, 2, 2]);
        assert_eq!(b.series(now, 0, Duration::from_secs(20)), Vec::<u64>::new());
    }
}
