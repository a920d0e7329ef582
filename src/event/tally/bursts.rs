//! Sessions that ended together: seconds in which far more of them ended than in the time around.

use serde::{Deserialize, Serialize};

use super::chance::ln_chance;
use crate::time::Timestamp;

/// Fewer ends than this are no burst: chance does that.
const FEW: u64 = 5;
/// So many times as many as usual.
const UNUSUAL: f64 = 5.0;
/// The natural logarithm of the chance at which a burst is believed: one in a million logs shows such a thing for nothing.
const BELIEVED: f64 = -13.8;
/// Seconds that one event may take to end its sessions, on either side of the worst second.
const SPREAD: i64 = 2;
/// Bursts reported at most.
pub const MOST: usize = 16;

/// Sessions that ended within moments of one another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Burst {
    /// The first second.
    pub at: Timestamp,
    /// How many seconds it took.
    pub seconds: u64,
    /// How many ended in them, at least.
    pub ended: u64,
    /// How many end in as many seconds around them.
    pub usual: f64,
}

impl Burst {
    /// The last second.
    #[must_use]
    pub fn last(&self) -> Timestamp {
        self.at.plus(std::time::Duration::from_secs(self.seconds.saturating_sub(1)))
    }
}

/// What is known of ends over time.
pub struct Ends<'a> {
    /// Seconds since the epoch with how many ended in each, in order. Seconds with few may be missing.
    pub seconds: &'a [(i64, u64)],
    /// The first and the last second that were watched.
    pub span: (i64, i64),
    /// How many ended in a time around a second, and how many seconds that time has.
    pub around: &'a dyn Fn(i64) -> (u64, u64),
}

/// The bursts, largest first. What is unusual is measured by the time around it, not by the whole log: days have rush hours.
#[must_use]
pub fn bursts(ends: &Ends<'_>) -> Vec<Burst> {
    let watched = ends.span.1.saturating_sub(ends.span.0).saturating_add(1);
    // In a log of one or two seconds no second stands out.
    if watched < 3 {
        return Vec::new();
    }
    let clump = clump(ends, watched);
    let mut ranked: Vec<(usize, u64)> = ends.seconds.iter().map(|s| s.1).enumerate().collect();
    ranked.sort_by_key(|(at, n)| (std::cmp::Reverse(*n), *at));
    let mut found: Vec<Burst> = Vec::new();
    for (at, _) in ranked.into_iter().take_while(|(_, n)| *n >= FEW.div_ceil(2)).take(4 * MOST) {
        if found.len() == MOST {
            break;
        }
        let Some(group) = Group::around(ends.seconds, at) else { continue };
        if found.iter().any(|b| group.touches(b)) {
            continue;
        }
        let (sum, seconds) = (ends.around)(group.peak);
        let others: u64 =
            found.iter().filter(|b| b.at.secs().abs_diff(group.peak) <= seconds / 2).map(|b| b.ended).sum();
        let left = seconds.saturating_sub(group.seconds()).max(1);
        let quiet = sum.saturating_sub(group.ended).saturating_sub(others);
        found.extend(group.judge(quiet, left, clump, watched));
    }
    found.sort_by_key(|b| (std::cmp::Reverse(b.ended), b.at));
    found
}

/// Sessions that end as one, because one page holds several: the mean of the seconds in which any ended, by what it would
/// be if each ended for itself. The fullest seconds are left out: they may be what is looked for.
fn clump(ends: &Ends<'_>, watched: i64) -> f64 {
    let mut counts: Vec<u64> = ends.seconds.iter().map(|s| s.1).collect();
    counts.sort_unstable();
    counts.truncate(counts.len().saturating_sub(MOST.max(counts.len() / 50)));
    let sum: u64 = counts.iter().sum();
    if sum == 0 {
        return 1.0;
    }
    let rate = sum as f64 / watched as f64;
    let alone = rate / -(-rate).exp_m1();
    (sum as f64 / counts.len() as f64 / alone).max(1.0)
}

/// A second and those beside it that belong to the same event.
struct Group {
    first: i64,
    last: i64,
    peak: i64,
    most: u64,
    ended: u64,
}

impl Group {
    fn around(all: &[(i64, u64)], at: usize) -> Option<Self> {
        let (peak, most) = *all.get(at)?;
        let mut group = Self { first: peak, last: peak, peak, most, ended: most };
        let part = |n: u64| n * 5 >= most && n >= 2;
        for (second, n) in all.get(at + 1..)?.iter().take_while(|(s, _)| *s - peak <= SPREAD) {
            if *second == group.last + 1 && part(*n) {
                group.last = *second;
                group.ended += n;
            }
        }
        for (second, n) in all.get(..at)?.iter().rev().take_while(|(s, _)| peak - *s <= SPREAD) {
            if *second == group.first - 1 && part(*n) {
                group.first = *second;
                group.ended += n;
            }
        }
        Some(group)
    }

    fn seconds(&self) -> u64 {
        self.last.abs_diff(self.first) + 1
    }

    /// It lies in or right beside a burst that is known.
    fn touches(&self, b: &Burst) -> bool {
        self.first <= b.last().secs() + SPREAD && b.at.secs() <= self.last + SPREAD
    }

    /// The burst, if `quiet` ends in `left` seconds around make it one.
    fn judge(&self, quiet: u64, left: u64, clump: f64, watched: i64) -> Option<Burst> {
        let seconds = self.seconds();
        let each = quiet as f64 / left as f64;
        let usual = each * seconds as f64;
        // The rate around is itself only a sample: a little more may be usual.
        let sample = (quiet as f64 + 1.0 + 2.0 * (quiet as f64 + 1.0).sqrt()) / left as f64;
        let (most, ended) = (self.most as f64, self.ended as f64);
        let chance = ln_chance(ended / clump, sample * seconds as f64 / clump) + (watched as f64).ln();
        let is_one = self.ended >= FEW && most >= UNUSUAL * each && ended >= UNUSUAL * usual && chance < BELIEVED;
        let at = Timestamp::from_secs(self.first);
        is_one.then_some(Burst { at, seconds, ended: self.ended, usual })
    }
}
