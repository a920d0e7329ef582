//! How often something that goes on and on is told: soon at first, then ever more seldom, and at once when it bursts.

use std::time::Duration;

use crate::time::Timestamp;

/// What begins is told after this time, so that what belongs together is told together.
const FIRST: Duration = Duration::from_secs(2);
/// What never stops is told this often.
const LONGEST: Duration = Duration::from_secs(60);
/// A burst is told after this time: the log that explains it comes a moment later.
const BURST: Duration = Duration::from_secs(1);
/// A burst: so many times what was told last, and so many more.
const TIMES: u64 = 4;
const MORE: u64 = 8;

/// The pace of one kind of news.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pause: Duration,
    /// Since when something waits to be told.
    waits: Option<Timestamp>,
    told: Option<Timestamp>,
    told_count: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { pause: FIRST, waits: None, told: None, told_count: 0 }
    }
}

impl Pace {
    /// Whether `pending` news are to be told now; the caller then tells all of them.
    pub(super) fn is_due(&mut self, now: Timestamp, pending: u64) -> bool {
        if pending == 0 {
            self.waits = None;
            return false;
        }
        // Whatever was quiet for long enough begins anew.
        if self.waits.is_none() && self.told.is_some_and(|told| now.since(told) > self.pause * 2) {
            (self.pause, self.told_count) = (FIRST, 0);
        }
        let waited = now.since(*self.waits.get_or_insert(now));
        let burst = pending > self.told_count.saturating_mul(TIMES).saturating_add(MORE) && waited >= BURST;
        if waited < self.pause && !burst {
            return false;
        }
        self.pause = (self.pause * 2).min(LONGEST);
        (self.waits, self.told, self.told_count) = (None, Some(now), pending);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds at which something that happens `each` second is told.
    fn told(seconds: std::ops::Range<i64>, each: impl Fn(i64) -> u64, pace: &mut Pace) -> Vec<(i64, u64)> {
        let mut pending = 0;
        let mut out = Vec::new();
        for s in seconds {
            pending += each(s);
            if pace.is_due(Timestamp::from_secs(s), pending) {
                out.push((s, std::mem::take(&mut pending)));
            }
        }
        out
    }

    #[test]
    fn what_goes_on_is_told_ever_more_seldom_and_nothing_is_lost() {
        let mut pace = Pace::default();
        let lines = told(0..400, |_| 1, &mut pace);
        let gaps: Vec<i64> = lines.windows(2).map(|w| w[1].0 - w[0].0).collect();
        assert_eq!(lines[0], (2, 3));
        assert!(gaps.windows(2).all(|w| w[0] <= w[1]), "{gaps:?}");
        assert!(*gaps.last().expect("gaps") >= 60, "{gaps:?}");
        assert!(lines.len() < 12, "{lines:?}");
    }

    #[test]
    fn a_burst_is_told_at_once_and_a_pause_makes_the_next_news_new() {
        let mut pace = Pace::default();
        let lines = told(0..200, |s| if s == 100 { 500 } else { 1 }, &mut pace);
        assert!(lines.iter().any(|(s, n)| *s <= 102 && *n >= 500), "{lines:?}");
        let again = told(999..1_010, |s| u64::from(s == 1_000), &mut pace);
        assert_eq!(again, [(1_002, 1)]);
        assert_eq!(told(2_000..3_000, |_| 0, &mut pace), []);
    }
}
