//! Tunnels that ended: how many, how long they lived, at which lifetimes they pile up, and which died together.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::top::Top;
use crate::time::Timestamp;

/// Seconds kept for [`Sessions::bursts`]. A burst is a second in which many sessions end, so the most frequent suffice.
const SECONDS: usize = 8_192;

/// Fewer ends than this are no pile and no burst: chance does that.
const FEW: u64 = 5;

/// Spikes and bursts reported at most.
const MOST: usize = 16;

/// Idle timeouts that people meet in front of or behind nginx, in seconds, and whose they are by default.
pub const WELL_KNOWN: [(u64, &str); 8] = [
    (60, "60 s: the default of proxy_read_timeout and proxy_send_timeout, and of AWS ALB"),
    (75, "75 s: the default of keepalive_timeout"),
    (100, "100 s: Cloudflare"),
    (240, "240 s: worker_shutdown_timeout of ingress-nginx, Azure load balancers"),
    (270, "270 s: Cloudflare gateways"),
    (300, "300 s: Envoy"),
    (350, "350 s: AWS NLB"),
    (3_600, "3600 s: proxy_read_timeout as most guides advise"),
];

/// The sessions of access logs: lines with status 101.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sessions {
    /// All of them, with or without a known lifetime.
    pub count: u64,
    /// Lifetimes of those whose format writes one.
    pub lifetimes: Lifetimes,
    /// Ends in each second since the epoch.
    ends: Top<i64>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { count: 0, lifetimes: Lifetimes::default(), ends: Top::new(SECONDS) }
    }
}

/// A timeout that was configured, to be matched with spikes.
#[derive(Clone, Debug, PartialEq)]
pub struct Timeout {
    /// How long.
    pub after: Duration,
    /// What it is called: `proxy_read_timeout`.
    pub name: String,
}

/// A narrow pile of lifetimes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spike {
    /// The lifetime in its middle.
    #[serde(rename = "seconds", with = "crate::time::seconds")]
    pub at: Duration,
    /// Sessions in it.
    pub count: u64,
    /// The timeout that ends sessions at this age, if one is known.
    #[serde(rename = "matches", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
}

/// Sessions that ended within one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Burst {
    /// The second.
    pub at: Timestamp,
    /// How many ended in it, at least.
    pub count: u64,
}

impl Sessions {
    /// Counts one session that ended at `at`, where its format writes a time.
    pub fn add(&mut self, at: Option<Timestamp>, lifetime: Option<Duration>) {
        self.count += 1;
        if let Some(at) = at {
            self.ends.add_owned(at.secs(), 1);
        }
        if let Some(lifetime) = lifetime {
            self.lifetimes.add(lifetime, 1);
        }
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.lifetimes.merge(&other.lifetimes);
        self.ends.merge(other.ends);
    }

    /// Seconds in which far more sessions ended than in others, most ends first: a reload, a crash, a network that went
    /// away. Ten times the average second counts as far more.
    #[must_use]
    pub fn bursts(&self) -> Vec<Burst> {
        let seconds: Vec<i64> = self.ends.iter().map(|(s, _)| *s).collect();
        let (Some(first), Some(last)) = (seconds.iter().min(), seconds.iter().max()) else { return Vec::new() };
        let span = last.saturating_sub(*first).unsigned_abs() + 1;
        let unusual = |n: u64| n >= FEW && u128::from(n) * u128::from(span) >= 10 * u128::from(self.count);
        // In a log of one or two seconds no second stands out.
        let most = if span < 3 { 0 } else { MOST };
        let ranked = self.ends.ranked(most).into_iter().filter(|(_, c)| unusual(c.count));
        ranked.map(|(s, c)| Burst { at: Timestamp::from_secs(*s), count: c.count }).collect()
    }

    /// The narrow piles of lifetimes, largest first, matched with the timeouts given first and then the well-known ones.
    #[must_use]
    pub fn spikes(&self, configured: &[Timeout]) -> Vec<Spike> {
        let piles = self.lifetimes.piles();
        piles.into_iter().map(|(at, count)| Spike { at, count, timeout: culprit(at, configured) }).collect()
    }
}

/// The timeout nearest to `at` of those that can have ended a session of that age: a tunnel lives as long as its timeout
/// and the handshake before it, and timers are a little late.
#[must_use]
pub fn culprit(at: Duration, configured: &[Timeout]) -> Option<String> {
    let fits = |after: Duration| {
        let early = after.saturating_sub(after / 200 + Duration::from_millis(100));
        let late = after + after / 50 + Duration::from_millis(500);
        !after.is_zero() && (early..=late).contains(&at)
    };
    let nearest = configured.iter().filter(|t| fits(t.after)).min_by_key(|t| t.after.abs_diff(at));
    let well_known = || WELL_KNOWN.iter().find(|(secs, _)| fits(Duration::from_secs(*secs)));
    nearest.map(|t| t.name.clone()).or_else(|| well_known().map(|(_, name)| (*name).to_owned()))
}

/// A histogram of lifetimes: exact to the millisecond below 2 s, to a tenth of a percent above. Parts add up to the whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lifetimes {
    counts: Vec<u64>,
    total: u64,
    longest: u64,
}

/// Buckets of each power of two.
const FINE: u64 = 1_024;
const FINE_BITS: u32 = FINE.ilog2();

/// The bucket of a lifetime in milliseconds: the leading eleven bits and how many follow.
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

    fn filled(&self) -> impl Iterator<Item = (usize, u64)> {
        self.counts.iter().copied().enumerate().filter(|(_, n)| *n > 0)
    }

    /// The middle and the count of each narrow pile, largest first. A pile holds at least [`FEW`] sessions and one in
    /// fifty of all, within 1 % of its age or half a second, and stands at least five times as high as what is around it.
    #[must_use]
    pub fn piles(&self) -> Vec<(Duration, u64)> {
        let mut rest: Vec<(u64, u64)> = self.filled().map(|(at, n)| (midpoint(at), n)).collect();
        let least = FEW.max(self.total / 50);
        let mut found = Vec::new();
        while found.len() < MOST {
            let Some((from, to, count)) = fullest_window(&rest).filter(|(_, _, n)| *n >= least) else { break };
            let pile: Vec<(u64, u64)> = rest.iter().skip(from).take(to - from).copied().collect();
            if stands_out(&rest, from, to, count) {
                found.push((Duration::from_millis(middle(&pile, count)), count));
            }
            rest.drain(from..to);
        }
        found
    }
}

/// How wide a pile that begins at `millis` may be.
fn room(millis: u64) -> u64 {
    (millis / 100).max(500)
}

/// The window with the most sessions, as positions from and to, and its count. `all` is sorted.
fn fullest_window(all: &[(u64, u64)]) -> Option<(usize, usize, u64)> {
    let (mut to, mut sum) = (0, 0);
    let mut best = None;
    for (from, (start, n)) in all.iter().enumerate() {
        while let Some((_, more)) = all.get(to).filter(|(at, _)| *at <= start + room(*start)) {
            sum += more;
            to += 1;
        }
        if best.is_none_or(|(_, _, most)| sum > most) {
            best = Some((from, to, sum));
        }
        sum -= n;
    }
    best
}

/// Whether the window is at least five times as dense as its surroundings, ten windows wide on either side.
fn stands_out(all: &[(u64, u64)], from: usize, to: usize, count: u64) -> bool {
    let Some((start, _)) = all.get(from) else { return false };
    let width = room(*start);
    let (low, high) = (start.saturating_sub(10 * width), start + 11 * width);
    let around: u64 = all.iter().filter(|(at, _)| (low..=high).contains(at)).map(|(_, n)| n).sum();
    let others = u128::from(around - count);
    let windows = u128::from((high - low - width) / width).max(1);
    debug_assert!(from < to, "a window holds its first bucket");
    u128::from(count) * windows >= 5 * others
}

/// The median of a pile.
fn middle(pile: &[(u64, u64)], count: u64) -> u64 {
    let mut seen = 0;
    let half = pile.iter().find(|(_, n)| {
        seen += n;
        seen * 2 >= count
    });
    half.map_or(0, |(at, _)| *at)
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
        fn a_bucket_holds_its_lifetimes_to_a_tenth_of_a_percent(millis in any::<u64>().prop_flat_map(|n| (0_u32..64).prop_map(move |s| n >> s))) {
            let (low, high) = bounds(bucket(millis));
            prop_assert!(low <= millis && millis <= high);
            prop_assert!(high - low <= low / 1_000);
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

    /// Sessions that end when people go, spread over an hour, without a pile.
    fn ordinary() -> impl Iterator<Item = u64> {
        (0..2_000).map(|n: u64| 1_000 + n * n % 3_599_000 + n * 7)
    }

    #[test]
    fn piles_are_found_and_named() {
        let mut sessions = Sessions::default();
        let silent = (0..300).map(|n| 60_000 + n % 40);
        let behind_nlb = (0..120).map(|n| 350_010 + n % 700);
        let own = (0..80).map(|n| 125_000 + n % 30);
        for m in ordinary().chain(silent).chain(behind_nlb).chain(own) {
            sessions.add(None, Some(Duration::from_millis(m)));
        }
        let configured = [Timeout { after: Duration::from_secs(125), name: "proxy_read_timeout".into() }];
        let spikes = sessions.spikes(&configured);
        let said: Vec<_> = spikes.iter().map(|s| (s.at.as_secs(), s.timeout.clone())).collect();
        let known = |at: u64| WELL_KNOWN.iter().find(|k| k.0 == at).map(|k| k.1.to_owned());
        assert_eq!(said, [(60, known(60)), (350, known(350)), (125, Some("proxy_read_timeout".into()))]);
        assert!(spikes[0].count >= 300 && spikes[0].count < 320, "{spikes:?}");
    }

    #[test]
    fn where_nothing_piles_up_nothing_is_said() {
        let mut sessions = Sessions::default();
        ordinary().for_each(|m| sessions.add(None, Some(Duration::from_millis(m))));
        assert_eq!(sessions.spikes(&[]), []);
        assert_eq!(Sessions::default().spikes(&[]), []);
    }

    #[test]
    fn sessions_that_die_together_are_told_from_the_usual_rate() {
        let mut sessions = Sessions::default();
        for s in 0..1_000 {
            sessions.add(Some(Timestamp::from_secs(s)), None);
        }
        assert_eq!(sessions.bursts(), []);
        for _ in 0..50 {
            sessions.add(Some(Timestamp::from_micros(700_999_999)), None);
        }
        assert_eq!(sessions.bursts(), [Burst { at: Timestamp::from_secs(700), count: 51 }]);
        assert_eq!((sessions.count, sessions.lifetimes.total()), (1_050, 0));
    }
}
