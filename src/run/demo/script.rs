//! The play: which fault shows when, as a table that loops, and the pace at which it is run. Pure.

use std::time::Duration;

/// After this long the play starts again.
pub const LOOP: Duration = Duration::from_secs(40);

/// `proxy_read_timeout` of `/feed`, so short that silent tunnels die while one watches.
pub const FEED_TIMEOUT: Duration = Duration::from_secs(8);

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// `/chat` loses the upgrade headers by inheritance. Written into nginx.conf, so it never ends.
    HeadersLost,
    /// The backend of `/admin/live` is stopped: its tunnels end, new connections are refused.
    BackendRefuses,
    /// A client vanishes with a TCP reset.
    ClientResets,
    /// The backend of `/ws` resets one tunnel.
    BackendResets,
    /// A silent tunnel of `/feed` outlives `proxy_read_timeout`. Written into nginx.conf, so it recurs by itself.
    IdleCut,
}

impl Fault {
    /// All faults.
    pub const ALL: [Self; 5] =
        [Self::HeadersLost, Self::BackendRefuses, Self::ClientResets, Self::BackendResets, Self::IdleCut];
}

/// One line of the play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// When it first shows, counted from the start of the loop.
    pub from: Duration,
    /// When it is over; equal to `from` for a single blow, `LOOP` for what stays.
    pub until: Duration,
    /// What goes wrong.
    pub fault: Fault,
    /// One sentence for the caption line.
    pub said: &'static str,
}

/// The play, in order of `from`. Within ten seconds everything has been seen once.
pub static SCRIPT: &[Row] = &[
    row(0, 40, Fault::HeadersLost, "/chat fails: its own proxy_set_header pushes out the inherited upgrade headers"),
    row(3, 12, Fault::BackendRefuses, "the backend of /admin/live is down: nginx answers 502"),
    row(5, 5, Fault::ClientResets, "a client of /ws vanishes with a TCP reset"),
    row(7, 7, Fault::BackendResets, "the backend of /ws resets a tunnel"),
    row(8, 40, Fault::IdleCut, "silent tunnels of /feed are cut by its proxy_read_timeout of 8 s"),
    row(15, 15, Fault::BackendResets, "the backend of /ws resets a tunnel"),
    row(20, 20, Fault::ClientResets, "a client of /ws vanishes with a TCP reset"),
    row(24, 30, Fault::BackendRefuses, "the backend of /admin/live is down again: nginx answers 502"),
    row(33, 33, Fault::ClientResets, "a client of /ws vanishes with a TCP reset"),
    row(36, 36, Fault::BackendResets, "the backend of /ws resets a tunnel"),
];

const fn row(from: u64, until: u64, fault: Fault, said: &'static str) -> Row {
    Row { from: Duration::from_secs(from), until: Duration::from_secs(until), fault, said }
}

/// A moment of the play at which something must be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cue {
    /// When, counted from the start of the loop.
    pub(super) at: Duration,
    /// What begins or ends.
    pub(super) fault: Fault,
    /// It begins; otherwise it ends.
    pub(super) begins: bool,
}

/// All beginnings, and the ends of those faults that last, in order of time.
pub(super) fn cues() -> Vec<Cue> {
    let mut cues: Vec<Cue> = SCRIPT
        .iter()
        .flat_map(|r| {
            let end = (r.until > r.from).then_some(Cue { at: r.until, fault: r.fault, begins: false });
            [Some(Cue { at: r.from, fault: r.fault, begins: true }), end]
        })
        .flatten()
        .collect();
    cues.sort_by_key(|c| c.at);
    cues
}

/// Where in the loop the play is, `since_start` after its beginning.
#[must_use]
pub fn position(since_start: Duration) -> Duration {
    let looped = since_start.as_millis() % LOOP.as_millis();
    Duration::from_millis(u64::try_from(looped).unwrap_or(0))
}

/// What goes on `since_start` after the beginning of the play: the row that began last. A single blow keeps the caption
/// for three seconds, a row that lasts until it is over.
#[must_use]
pub fn now_showing(since_start: Duration) -> Option<&'static Row> {
    const SHOWN: Duration = Duration::from_secs(3);
    let at = position(since_start);
    SCRIPT.iter().rev().find(|r| r.from <= at && at < r.until.max(r.from + SHOWN))
}

/// How many times faster than written everything runs; tests do not want to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace(u32);

impl Pace {
    /// `speed` times faster; zero counts as one.
    pub(super) fn new(speed: u32) -> Self {
        Self(speed.max(1))
    }

    /// How long `written` really takes.
    pub(super) fn real(self, written: Duration) -> Duration {
        written / self.0
    }

    /// How far the play has come after `real` time.
    pub(super) fn played(self, real: Duration) -> Duration {
        real.saturating_mul(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_seen_within_ten_seconds() {
        for fault in Fault::ALL {
            let first = SCRIPT.iter().filter(|r| r.fault == fault).map(|r| r.from).min();
            assert!(first.is_some_and(|t| t < Duration::from_secs(10)), "{fault:?} first shows at {first:?}");
        }
    }

    #[test]
    fn the_table_is_in_order_and_stays_inside_the_loop() {
        assert!(SCRIPT.is_sorted_by_key(|r| r.from));
        for r in SCRIPT {
            assert!(r.from <= r.until && r.from < LOOP && r.until <= LOOP, "{r:?}");
        }
        assert!(SCRIPT.iter().any(|r| r.fault == Fault::IdleCut && r.from == FEED_TIMEOUT));
    }

    #[test]
    fn what_is_stopped_is_started_again_before_the_loop_ends() {
        let mut down = false;
        for cue in cues().iter().filter(|c| c.fault == Fault::BackendRefuses) {
            assert_ne!(down, cue.begins, "beginnings and ends alternate: {cue:?}");
            down = cue.begins;
        }
        assert!(!down);
        assert!(cues().is_sorted_by_key(|c| c.at));
    }

    #[test]
    fn the_caption_names_the_latest_thing_and_falls_back_to_what_lasts() {
        let fault = |s| now_showing(Duration::from_secs(s)).map(|r| r.fault);
        assert_eq!(fault(1), Some(Fault::HeadersLost));
        assert_eq!(fault(4), Some(Fault::BackendRefuses));
        assert_eq!(fault(5), Some(Fault::ClientResets));
        assert_eq!(fault(14), Some(Fault::IdleCut));
        assert_eq!(fault(44), Some(Fault::BackendRefuses), "the second loop is like the first");
    }

    #[test]
    fn a_faster_pace_shortens_time_and_zero_is_no_pace() {
        assert_eq!(Pace::new(4).real(FEED_TIMEOUT), Duration::from_secs(2));
        assert_eq!(Pace::new(4).played(Duration::from_secs(2)), FEED_TIMEOUT);
        assert_eq!(Pace::new(0).real(LOOP), LOOP);
    }
}
