//! How often to look: the interval doubles until looking takes at most 5 % of one core, and halves again when it got cheap.
//!
//! Steps are powers of two, and going back takes patience, so that what is said of the interval does not flicker.

use std::time::Duration;

/// Looking may take one part in this many of the time that passes: 5 %.
const SHARE: u32 = 20;
/// The interval stretches to at most 2^6 times itself.
const STEPS: u32 = 6;
/// So many looks in a row must have been cheap before the interval shrinks.
const PATIENCE: u32 = 10;
/// An interval that shrinks must leave this much room, in tenths of what a look cost.
const ROOM: u32 = 15;
/// Another network namespace is looked at this much less often: even an empty one pays for the walk through the host's
/// whole hash table.
const ELSEWHERE: u32 = 5;

/// The pace and what it was learnt from.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    base: Duration,
    fixed: bool,
    elsewhere: bool,
    step: u32,
    last: Duration,
    cheap: u32,
}

impl Pace {
    /// A pace of `base`; a fixed one never changes.
    pub(super) const fn new(base: Duration, fixed: bool) -> Self {
        Self { base, fixed, elsewhere: false, step: 0, last: Duration::ZERO, cheap: 0 }
    }

    /// The time from the beginning of one look to the next.
    pub(super) fn interval(&self) -> Duration {
        self.at(self.step)
    }

    fn at(&self, step: u32) -> Duration {
        let slower = if self.elsewhere && !self.fixed { ELSEWHERE } else { 1 };
        self.base.saturating_mul(slower << step)
    }

    /// Learns what a look cost in time of the processor; gives the time from its beginning to that of the next. A single
    /// dear look (the first search for owners) delays the next one only; two in a row lengthen the interval.
    pub(super) fn learn(&mut self, cost: Duration, elsewhere: bool) -> Duration {
        if self.fixed {
            return self.base;
        }
        self.elsewhere = elsewhere;
        let usual = cost.min(std::mem::replace(&mut self.last, cost));
        self.step = self.step.max(self.fitting(usual));
        let lower = self.fitting(cost.saturating_mul(ROOM) / 10) < self.step;
        self.cheap = if lower { self.cheap + 1 } else { 0 };
        if self.cheap >= PATIENCE {
            (self.step, self.cheap) = (self.step.saturating_sub(1), 0);
        }
        self.interval().max(cost.saturating_mul(SHARE).min(self.at(STEPS)))
    }

    fn fitting(&self, cost: Duration) -> u32 {
        let needed = cost.saturating_mul(SHARE);
        (0..STEPS).find(|step| needed <= self.at(*step)).unwrap_or(STEPS)
    }

    /// `every 2 s`.
    pub(super) fn said(&self) -> String {
        let interval = self.interval();
        if interval.subsec_millis() == 0 && !interval.is_zero() {
            format!("every {} s", interval.as_secs())
        } else {
            format!("every {} ms", interval.as_millis())
        }
    }
}

/// Time of the processor that this thread has used.
pub(super) fn thread_time() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let nanos = u32::try_from(used.tv_nsec).unwrap_or(0);
    Duration::new(u64::try_from(used.tv_sec).unwrap_or(0), nanos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn steady(pace: &mut Pace, cost: Duration, looks: u32) -> Duration {
        for _ in 0..looks {
            let _ = pace.learn(cost, false);
        }
        pace.interval()
    }

    #[test]
    fn the_interval_doubles_until_looking_takes_five_percent() {
        for (cost, seconds) in [(3, 1), (50, 1), (51, 2), (100, 2), (150, 4), (900, 32), (60_000, 64)] {
            assert_eq!(steady(&mut Pace::new(SECOND, false), ms(cost), 3), SECOND * seconds, "{cost} ms");
        }
    }

    #[test]
    fn one_dear_look_delays_the_next_and_is_not_remembered() {
        let mut pace = Pace::new(SECOND, false);
        assert_eq!(pace.learn(ms(400), false), ms(8_000));
        assert_eq!(pace.said(), "every 1 s");
        assert_eq!(pace.learn(ms(3), false), SECOND);
        assert_eq!(pace.interval(), SECOND);
    }

    #[test]
    fn it_shrinks_only_after_patience_and_with_room() {
        let mut pace = Pace::new(SECOND, false);
        assert_eq!(steady(&mut pace, ms(150), 2), SECOND * 4);
        assert_eq!(steady(&mut pace, ms(90), 100), SECOND * 4, "fits two seconds, with too little room");
        assert_eq!(steady(&mut pace, ms(60), PATIENCE - 1), SECOND * 4);
        assert_eq!(steady(&mut pace, ms(60), 1), SECOND * 2);
        assert_eq!(steady(&mut pace, ms(1), PATIENCE), SECOND);
        assert_eq!(steady(&mut pace, ms(1), 3 * PATIENCE), SECOND, "never below what was asked for");
    }

    #[test]
    fn a_given_interval_is_kept_whatever_it_costs() {
        let mut pace = Pace::new(ms(250), true);
        assert_eq!(pace.learn(SECOND, true), ms(250));
        assert_eq!((steady(&mut pace, SECOND, 9), pace.said().as_str()), (ms(250), "every 250 ms"));
    }

    #[test]
    fn another_namespace_is_looked_at_less_often() {
        let mut pace = Pace::new(SECOND, false);
        assert_eq!((pace.learn(ms(3), true), pace.said().as_str()), (SECOND * 5, "every 5 s"));
        assert_eq!(pace.learn(ms(3), false), SECOND);
    }

    #[test]
    fn the_clock_of_the_thread_counts_its_own_work_and_no_waiting() {
        let begun = thread_time();
        let busy = || {
            let mut sum = 0_u64;
            while thread_time() < ms(20) {
                sum = std::hint::black_box(sum.wrapping_add(1));
            }
            thread_time()
        };
        let worked = std::thread::spawn(busy).join().expect("ends");
        let waited = thread_time().checked_sub(begun).expect("goes forward");
        assert!(worked >= ms(20) && waited < worked, "{waited:?} of waiting, {worked:?} of work");
    }

    proptest! {
        #[test]
        fn costs_that_wobble_around_a_border_do_not_make_it_flicker(wobble in proptest::collection::vec(0u64..10, 200)) {
            let mut pace = Pace::new(SECOND, false);
            let intervals: Vec<_> = wobble.iter().map(|w| steady(&mut pace, ms(45 + w), 1)).collect();
            prop_assert!(intervals.windows(2).filter(|w| w[0] != w[1]).count() <= 1, "{:?}", intervals);
        }
    }
}
