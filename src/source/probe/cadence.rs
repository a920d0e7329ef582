//! When to ping and when to dial again: pure, given the time and the dice.

use std::time::{Duration, Instant};

use crate::source::BackOff;

/// The shortest pause before dialling again.
pub const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause before dialling again.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A tunnel that was held this long was a good one: the next pause is the shortest again.
pub const GOOD_HOLD: Duration = Duration::from_secs(10);
/// The most that chance takes from a pause or adds to it, in percent: many probes must not dial in step.
const JITTER_PERCENT: u32 = 20;
/// Nobody needs pings closer than this, and none at all apart would spin.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);

/// The pauses between attempts: doubling, bounded, with jitter.
#[derive(Clone, Copy, Debug)]
pub struct Redial {
    back_off: BackOff,
}

impl Default for Redial {
    fn default() -> Self {
        Self { back_off: BackOff::between(SHORTEST_PAUSE, LONGEST_PAUSE) }
    }
}

impl Redial {
    /// The pause after an attempt whose tunnel was held for `held` (zero when it did not open). `dice` is any random
    /// number.
    pub fn pause(&mut self, held: Duration, dice: u32) -> Duration {
        if held >= GOOD_HOLD {
            self.back_off.reset();
        }
        let span = 2 * JITTER_PERCENT * 10;
        let permille = 1_000 - JITTER_PERCENT * 10 + dice % (span + 1);
        (self.back_off.pause() * permille / 1_000).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
    }
}

/// The moments of the pings: the first at once, then one an interval, without drift and without making up for lost ones.
#[derive(Clone, Copy, Debug)]
pub struct PingCadence {
    next: Instant,
    interval: Duration,
}

impl PingCadence {
    /// The first ping is due at `first`.
    #[must_use]
    pub fn new(first: Instant, interval: Duration) -> Self {
        Self { next: first, interval: interval.max(SHORTEST_INTERVAL) }
    }

    /// When the next ping is due.
    #[must_use]
    pub fn due(&self) -> Instant {
        self.next
    }

    /// Takes the ping that is due at `now`, if one is.
    pub fn take(&mut self, now: Instant) -> bool {
        if now < self.next {
            return false;
        }
        self.next += self.interval;
        if self.next <= now {
            self.next = now + self.interval;
        }
        true
    }

    /// Makes the next ping due at `now`.
    pub fn restart(&mut self, now: Instant) {
        self.next = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_within_bounds_and_a_good_hold_starts_again() {
        let mut redial = Redial::default();
        // The middle of the dice is no jitter.
        let mut pause = |held| redial.pause(held, 200);
        let pauses: Vec<u128> = (0..8).map(|_| pause(Duration::ZERO).as_millis()).collect();
        assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
        assert_eq!(pause(Duration::from_secs(9)), LONGEST_PAUSE, "a short hold is no success");
        assert_eq!(pause(GOOD_HOLD), SHORTEST_PAUSE);
    }

    #[test]
    fn jitter_stays_within_a_fifth_and_the_bounds() {
        let mut spread = std::collections::BTreeSet::new();
        for dice in (0..u32::MAX).step_by(7_919_171) {
            let mut redial = Redial::default();
            assert!(redial.pause(Duration::ZERO, dice) >= SHORTEST_PAUSE);
            let second = redial.pause(Duration::ZERO, dice);
            assert!((Duration::from_millis(800)..=Duration::from_millis(1_200)).contains(&second), "{second:?}");
            spread.insert(second);
            for _ in 0..9 {
                assert!(redial.pause(Duration::ZERO, dice) <= LONGEST_PAUSE);
            }
        }
        assert!(spread.len() > 100, "no jitter: {}", spread.len());
    }

    #[test]
    fn pings_keep_their_beat_and_make_up_for_none() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut c = PingCadence::new(start, Duration::from_secs(15));
        assert!(c.take(start));
        assert!(!c.take(at(14)));
        assert!(c.take(at(16)), "a second late");
        assert_eq!(c.due(), at(30), "but without drift");
        assert!(c.take(at(100)));
        assert!(!c.take(at(100)), "lost pings are not made up for");
        assert_eq!(c.due(), at(115));
    }
}
