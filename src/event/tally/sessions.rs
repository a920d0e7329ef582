//! Tunnels that ended: how many, how long they lived, at which lifetimes they pile up, and which died together.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::bursts::{Ends, bursts};
use super::piles::piles;
use super::rate::Rate;
use super::top::Top;
use crate::time::Timestamp;

pub use super::bursts::Burst;
pub use super::lifetimes::Lifetimes;

/// Seconds kept for [`Sessions::bursts`]. A burst is a second in which many sessions end, so the most frequent suffice.
const SECONDS: usize = 8_192;

/// How far around a second is looked to see what is usual, where the counts are fine enough.
const AROUND: i64 = 120;

/// Configured timeouts named for one spike.
const NAMED: usize = 2;

/// An idle timeout that people meet in front of or behind nginx.
pub struct WellKnown {
    /// How long.
    pub seconds: u64,
    /// Whose it is in nginx, which only counts where the configuration is not known.
    pub nginx: Option<&'static str>,
    /// Who else has it.
    pub others: Option<&'static str>,
}

const fn known(seconds: u64, nginx: Option<&'static str>, others: Option<&'static str>) -> WellKnown {
    WellKnown { seconds, nginx, others }
}

/// Timeouts that are met so often that a pile at their length is worth a guess. A guess is all it is: anybody may set
/// any timeout to such a number.
pub const WELL_KNOWN: [WellKnown; 8] = [
    known(
        60,
        Some("60 s, the default of proxy_read_timeout and proxy_send_timeout"),
        Some("60 s, the default of AWS ALB"),
    ),
    // nginx's own keepalive_timeout of 75 s ends no tunnel.
    known(75, None, Some("75 s, the keepalive timeout of many a proxy")),
    known(100, None, Some("100 s, Cloudflare")),
    known(240, None, Some("240 s, Azure load balancers")),
    known(270, None, Some("270 s, Cloudflare gateways")),
    known(300, None, Some("300 s, the default of Envoy")),
    known(350, None, Some("350 s, AWS NLB")),
    known(
        3_600,
        Some("3600 s, proxy_read_timeout as many guides advise"),
        Some("3600 s, a maximum age of a balancer or backend"),
    ),
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
    /// All ends over time, as coarsely as their span demands.
    over_time: Rate,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { count: 0, lifetimes: Lifetimes::default(), ends: Top::new(SECONDS), over_time: Rate::default() }
    }
}

/// A timeout that was configured, to be matched with spikes.
#[derive(Clone, Debug, PartialEq)]
pub struct Timeout {
    /// How long.
    pub after: Duration,
    /// What it is called and where it stands: `proxy_read_timeout of location /ws (/etc/nginx/nginx.conf:31)`.
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
    /// The timeout that ends sessions at this age, if one is known: a possibility, no proof.
    #[serde(rename = "matches", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
}

impl Sessions {
    /// Counts one session that ended at `at`, where its format writes a time.
    pub fn add(&mut self, at: Option<Timestamp>, lifetime: Option<Duration>) {
        self.count += 1;
        if let Some(at) = at {
            self.ends.add_owned(at.secs(), 1);
            self.over_time.add(at, 1);
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
        self.over_time.merge(&other.over_time);
    }

    /// Seconds in which far more sessions ended than around them, most ends first: a reload, a crash, a network that went
    /// away. `watched` is the time that the logs span: silence in it counts.
    #[must_use]
    pub fn bursts(&self, watched: Option<(Timestamp, Timestamp)>) -> Vec<Burst> {
        let mut seconds: Vec<(i64, u64)> = self.ends.iter().map(|(s, n)| (*s, n.count)).collect();
        seconds.sort_unstable();
        let (Some((first, _)), Some((last, _))) = (seconds.first(), seconds.last()) else { return Vec::new() };
        let (from, to) = watched.map_or((*first, *last), |(a, b)| (a.secs(), b.secs()));
        let span = (from.min(*first), to.max(*last));
        let around = |second: i64| self.around(second, span);
        bursts(&Ends { seconds: &seconds, span, around: &around })
    }

    /// The ends in the buckets around a second, and the seconds that these buckets cover.
    fn around(&self, second: i64, span: (i64, i64)) -> (u64, u64) {
        let width = i64::try_from(self.over_time.width().as_secs()).unwrap_or(i64::MAX);
        let reach = AROUND.max(width);
        let bucket = |second: i64| second.div_euclid(width) * width;
        let from = bucket(second.saturating_sub(reach)).max(bucket(span.0));
        let to = bucket(second.saturating_add(reach)).saturating_add(width);
        let inside = self.over_time.buckets().map(|(at, n)| (at.secs(), n)).filter(|(at, _)| (from..to).contains(at));
        let covered = to.min(span.1.saturating_add(1)).saturating_sub(from.max(span.0));
        (inside.map(|(_, n)| n).sum(), covered.unsigned_abs())
    }

    /// The narrow piles of lifetimes, largest first, matched with the timeouts given first and then the well-known ones.
    #[must_use]
    pub fn spikes(&self, configured: &[Timeout]) -> Vec<Spike> {
        spikes(&self.lifetimes, configured)
    }
}

/// The narrow piles among any lifetimes, as in [`Sessions::spikes`].
#[must_use]
pub fn spikes(lifetimes: &Lifetimes, configured: &[Timeout]) -> Vec<Spike> {
    let spike = |(at, count)| {
        let at = Duration::from_millis(at);
        Spike { at, count, timeout: culprit(at, configured) }
    };
    piles(&lifetimes.middles()).into_iter().map(spike).collect()
}

/// Whether a timeout can have ended a session of that age: a tunnel lives as long as its timeout and the handshake before
/// it, and timers are a little late.
fn fits(at: Duration, after: Duration) -> bool {
    let early = after.saturating_sub(after / 200 + Duration::from_millis(100));
    let late = after + after / 50 + Duration::from_millis(500);
    !after.is_zero() && (early..=late).contains(&at)
}

/// The timeouts nearest to `at` of those that can have ended a session of that age.
fn culprit(at: Duration, configured: &[Timeout]) -> Option<String> {
    let fitting = || configured.iter().filter(|t| fits(at, t.after));
    let Some(nearest) = fitting().min_by_key(|t| t.after.abs_diff(at)) else {
        return well_known(at, configured.is_empty());
    };
    let same: Vec<&str> = fitting().filter(|t| t.after == nearest.after).map(|t| t.name.as_str()).collect();
    let names = same.iter().take(NAMED).copied().collect::<Vec<_>>().join("; ");
    let more = same.len().saturating_sub(NAMED);
    Some(if more > 0 { format!("{names}; and {more} more") } else { names })
}

/// Where the configuration is known and has no such timeout, it is not nginx's.
fn well_known(at: Duration, maybe_nginx: bool) -> Option<String> {
    let known = WELL_KNOWN.iter().find(|k| fits(at, Duration::from_secs(k.seconds)))?;
    match (known.nginx.filter(|_| maybe_nginx), known.others) {
        (Some(nginx), Some(others)) => Some(format!("{nginx}; or {others}")),
        (one, other) => one.or(other).map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lived(millis: impl IntoIterator<Item = u64>) -> Sessions {
        let mut sessions = Sessions::default();
        for m in millis {
            sessions.add(None, Some(Duration::from_millis(m)));
        }
        sessions
    }

    fn ages(sessions: &Sessions) -> Vec<u64> {
        sessions.spikes(&[]).iter().map(|s| s.at.as_secs()).collect()
    }

    /// Numbers in [0, 1) that look like chance.
    fn chance(seed: u64) -> impl Iterator<Item = f64> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        std::iter::repeat_with(move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1_u64 << 53) as f64
        })
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a lifetime of days at most")]
    fn millis(seconds: f64) -> u64 {
        (seconds * 1_000.0) as u64
    }

    /// Sessions that end when people go: many short ones, few long ones.
    fn people(seed: u64, mean: f64) -> impl Iterator<Item = u64> {
        chance(seed).map(move |u| millis(-mean * (1.0 - u).ln()))
    }

    #[test]
    fn piles_are_found_among_others_and_named() {
        let silent = chance(1).map(|u| 60_000 + millis(u * 0.04));
        let behind_nlb = chance(2).map(|u| 350_010 + millis(u * 0.7));
        let own = chance(3).map(|u| 125_000 + millis(u * 0.03));
        let sessions =
            lived(people(4, 300.0).take(2_000).chain(silent.take(300)).chain(behind_nlb.take(120)).chain(own.take(80)));
        let configured = [Timeout { after: Duration::from_secs(125), name: "proxy_read_timeout (a:1)".into() }];
        let spikes = sessions.spikes(&configured);
        let said: Vec<_> = spikes.iter().map(|s| (s.at.as_secs(), s.timeout.as_deref())).collect();
        let others = |at| WELL_KNOWN.iter().find(|k| k.seconds == at).and_then(|k| k.others);
        assert_eq!(said, [(60, others(60)), (350, others(350)), (125, Some("proxy_read_timeout (a:1)"))]);
        assert!(spikes[0].count >= 300 && spikes[0].count < 320, "{spikes:?}");
    }

    #[test]
    fn long_timeouts_and_short_ones_are_found_to_the_second() {
        let at = |seconds: u64| move |u: f64| seconds * 1_000 + millis(u * 0.2);
        let hour = lived(people(1, 900.0).take(3_000).chain(chance(2).map(at(3_600)).take(60)));
        assert_eq!(ages(&hour), [3_600]);
        let two =
            lived(people(3, 40.0).take(800).chain(chance(4).map(at(5)).take(90)).chain(chance(5).map(at(60)).take(70)));
        assert_eq!(ages(&two), [5, 60]);
        let alone = lived(chance(6).map(at(60)).take(8));
        assert_eq!(ages(&alone), [60], "nothing else happened");
        assert_eq!(ages(&lived([60_000, 60_010, 60_020, 60_030])), [0_u64; 0], "four are chance");
    }

    #[test]
    fn a_little_talk_before_the_silence_spreads_a_pile_and_does_not_hide_it() {
        let talked = chance(1).map(|u| 60_000 + millis(u * 1.8));
        assert_eq!(ages(&lived(people(2, 120.0).take(1_000).chain(talked.take(400)))), [60]);
    }

    #[test]
    fn times_in_whole_seconds_are_no_piles() {
        let whole = people(7, 25.0).map(|m| m / 1_000 * 1_000);
        assert_eq!(ages(&lived(whole.take(3_000))), [0_u64; 0]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        /// Whatever smooth way lifetimes are spread, there is no pile, and nobody is accused.
        #[test]
        fn where_nothing_piles_up_nothing_is_said(
            seed in any::<u64>(), shape in 0_u32..5, count in 1_usize..4_000, digits in -1_i32..5, factor in 1.0_f64..10.0,
        ) {
            let mean = factor * 10_f64.powi(digits);
            let mut second = chance(seed ^ 0x5555);
            let lives = chance(seed).map(|u| match shape {
                0 => u * mean,
                1 => -mean * (1.0 - u).ln(),
                // The sum of two, a hill; a long tail; and one with a sharp beginning.
                2 => -mean * ((1.0 - u).ln() + (1.0 - second.next().unwrap_or(0.5)).ln()),
                3 => mean * (1.5 * (u + second.next().unwrap_or(0.5) - 1.0) * 2.0).exp(),
                _ => mean / (1.0 - u * 0.999).sqrt(),
            });
            let sessions = lived(lives.take(count).map(millis));
            prop_assert_eq!(sessions.spikes(&[]), []);
        }
    }

    #[test]
    fn several_timeouts_of_one_length_are_all_meant() {
        let sessions = lived((0..50).map(|n| 60_000 + n));
        let named = |names: &[&str]| {
            let all: Vec<Timeout> =
                names.iter().map(|n| Timeout { after: Duration::from_secs(60), name: (*n).into() }).collect();
            sessions.spikes(&all)[0].timeout.clone()
        };
        assert_eq!(named(&["a", "b"]).as_deref(), Some("a; b"));
        assert_eq!(named(&["a", "b", "c", "d"]).as_deref(), Some("a; b; and 2 more"));
        assert!(named(&[]).is_some_and(|n| n.contains("proxy_read_timeout") && n.contains("ALB")));
        let hour = [Timeout { after: Duration::from_secs(3_600), name: "a".into() }];
        let spike = &sessions.spikes(&hour)[0];
        assert!(spike.timeout.as_deref().is_some_and(|n| !n.contains("proxy_read_timeout")), "{spike:?}");
        assert_eq!(Sessions::default().spikes(&[]), []);
    }

    #[test]
    fn sessions_that_die_together_are_told_from_the_usual_rate() {
        let mut sessions = Sessions::default();
        for s in 0..1_000 {
            sessions.add(Some(Timestamp::from_secs(s)), None);
        }
        assert_eq!(sessions.bursts(None), []);
        for _ in 0..50 {
            sessions.add(Some(Timestamp::from_micros(700_999_999)), None);
        }
        let [burst] = sessions.bursts(None)[..] else { panic!("{:?}", sessions.bursts(None)) };
        assert_eq!((burst.at, burst.seconds, burst.ended), (Timestamp::from_secs(700), 1, 51));
        assert!((0.9..1.1).contains(&burst.usual), "{burst:?}");
        assert_eq!((sessions.count, sessions.lifetimes.total()), (1_050, 0));
    }

    /// Ends at these seconds.
    fn ended(seconds: impl IntoIterator<Item = i64>) -> Sessions {
        let mut sessions = Sessions::default();
        seconds.into_iter().for_each(|s| sessions.add(Some(Timestamp::from_secs(s)), None));
        sessions
    }

    #[test]
    fn a_burst_over_two_seconds_is_one_and_a_lone_one_needs_time_around_it() {
        let both = ended((0..20).map(|n| 1_000 + n % 2));
        let hour = Some((Timestamp::from_secs(0), Timestamp::from_secs(3_600)));
        let found = both.bursts(hour);
        assert!(matches!(found[..], [b] if (b.at.secs(), b.seconds, b.ended) == (1_000, 2, 20)), "{found:?}");
        assert_eq!(both.bursts(None), [], "a log of two seconds has nothing to compare with");
    }

    #[test]
    fn parts_of_a_log_give_the_same_bursts() {
        let all: Vec<i64> =
            chance(9).take(4_000).map(|u| i64::try_from(millis(u * 20.0)).unwrap()).chain([777; 60]).collect();
        let whole = ended(all.iter().copied());
        assert!(matches!(whole.bursts(None)[..], [b] if b.at.secs() == 777), "{:?}", whole.bursts(None));
        let mut parts = ended(all[2_000..].iter().copied());
        parts.merge(ended(all[..2_000].iter().copied()));
        assert_eq!(parts.bursts(None), whole.bursts(None));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        /// Ends that come by chance, with rush hours, and several at once where a page holds several sockets, are no burst.
        #[test]
        fn where_nothing_dies_together_nothing_is_said(seed in any::<u64>(), count in 1_usize..8_000, hours in 1_u32..48, clump in 1_usize..5) {
            let mut rush = chance(seed ^ 0xaaaa);
            let day = |u: f64| if rush.next().unwrap_or(0.0) < 0.5 { 0.4 + u * 0.1 } else { u };
            let pages = chance(seed).map(day).map(|u| i64::try_from(millis(u * 3.6 * f64::from(hours))).unwrap_or(0));
            let sessions = ended(pages.take(count).flat_map(|s| std::iter::repeat_n(s, clump)));
            prop_assert_eq!(sessions.bursts(None), []);
        }
    }
}
