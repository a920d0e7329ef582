//! How much of the past the timeline shows, and which moment stands in which column.

use crate::model::stats::{Buckets, Track};
use crate::time::Timestamp;

/// The choices: seconds, their name, and whether the fine ring of a [`Track`] reaches so far.
const SPANS: [(i64, &str, bool); 5] = [
    (300, "5 min", true),
    (1_800, "30 min", true),
    (7_200, "2 h", false),
    (43_200, "12 h", false),
    (86_400, "24 h", false),
];

/// One of the spans that the timeline can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(usize);

impl Default for Span {
    /// Half an hour.
    fn default() -> Self {
        Self(1)
    }
}

impl Span {
    /// All of them, the shortest first.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..SPANS.len()).map(Self)
    }

    fn choice(self) -> (i64, &'static str, bool) {
        SPANS[self.0.min(SPANS.len() - 1)]
    }

    /// In seconds.
    #[must_use]
    pub fn secs(self) -> i64 {
        self.choice().0
    }

    /// `30 min`.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.choice().1
    }

    /// The next shorter one, if there is one.
    #[must_use]
    pub fn shorter(self) -> Option<Self> {
        self.0.checked_sub(1).map(Self)
    }

    /// The next longer one, if there is one.
    #[must_use]
    pub fn longer(self) -> Option<Self> {
        (self.0 + 1 < SPANS.len()).then_some(Self(self.0 + 1))
    }

    /// The counts that reach so far back.
    #[must_use]
    pub fn ring(self, track: &Track) -> &Buckets {
        if self.choice().2 { track.recent() } else { track.day() }
    }
}

/// A span laid over columns, the newest at the right. Columns stand on multiples of their width: what lies in one lies in it as
/// long as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    span: Span,
    /// The moment that the newest column holds.
    now: Timestamp,
    /// Seconds that one column covers.
    secs: i64,
    /// The number (time / width) of the newest column.
    newest: i64,
    columns: usize,
    /// Cells of the terminal that each column takes.
    wide: usize,
}

impl Scale {
    /// The span before `now` over at most `room` cells. It holds one column more than the span needs, since the newest is not full.
    #[must_use]
    pub fn new(span: Span, now: Timestamp, room: usize) -> Self {
        let bucket = span.ring(&Track::default()).width();
        let buckets = usize::try_from(span.secs() / bucket).unwrap_or(1);
        let each = buckets.div_ceil(room.saturating_sub(1).max(1));
        let columns = (buckets.div_ceil(each) + 1).min(room);
        let secs = bucket * i64::try_from(each).unwrap_or(1);
        Self {
            span,
            now,
            secs,
            newest: now.secs().div_euclid(secs),
            columns,
            wide: room.checked_div(columns).unwrap_or(1),
        }
    }

    /// The span.
    #[must_use]
    pub const fn span(&self) -> Span {
        self.span
    }

    /// The moment that it ends with.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// How many columns there are.
    #[must_use]
    pub const fn columns(&self) -> usize {
        self.columns
    }

    /// Cells that one column takes.
    #[must_use]
    pub const fn wide(&self) -> usize {
        self.wide
    }

    /// Cells of all columns.
    #[must_use]
    pub const fn width(&self) -> usize {
        self.columns * self.wide
    }

    /// The number of a column, which it keeps while it moves to the left.
    #[must_use]
    pub fn number(&self, column: usize) -> i64 {
        self.newest - i64::try_from(self.columns).unwrap_or(0) + 1 + i64::try_from(column).unwrap_or(0)
    }

    /// The column in which a moment lies; `None` when it is older than all of them, or has not come yet.
    #[must_use]
    pub fn column(&self, at: Timestamp) -> Option<usize> {
        let ago = usize::try_from(self.newest.checked_sub(at.secs().div_euclid(self.secs))?).ok()?;
        self.columns.checked_sub(ago.checked_add(1)?)
    }

    /// Where a column begins.
    #[must_use]
    pub fn start(&self, column: usize) -> Timestamp {
        Timestamp::from_secs(self.number(column).saturating_mul(self.secs))
    }

    /// The last second of a column.
    #[must_use]
    pub fn end(&self, column: usize) -> Timestamp {
        Timestamp::from_secs(self.number(column).saturating_add(1).saturating_mul(self.secs).saturating_sub(1))
    }

    /// What happened in each column.
    #[must_use]
    pub fn counts(&self, track: &Track) -> Vec<u64> {
        self.sums([track], |[n]| n)
    }

    /// What happened in each column where two witnesses tell of the same: in each bucket, the one that saw more.
    #[must_use]
    pub fn counts_of_either(&self, one: &Track, other: &Track) -> Vec<u64> {
        self.sums([one, other], |[a, b]| a.max(b))
    }

    fn sums<const N: usize>(&self, tracks: [&Track; N], fold: impl Fn([u32; N]) -> u32) -> Vec<u64> {
        let rings = tracks.map(|t| self.span.ring(t));
        let each = self.secs / rings.first().map_or(self.secs, |r| r.width());
        let one = |column| {
            let first = self.number(column).saturating_mul(each);
            (0..each).map(|k| u64::from(fold(rings.map(|r| r.at(first.saturating_add(k)))))).sum()
        };
        (0..self.columns).map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// A small generator (xorshift): the same events at every run.
    fn events(now: i64, n: usize) -> Vec<i64> {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        // Denser towards the present, so that every span holds some.
        let ago =
            move |_| i64::try_from(next() % [200, 1_700, 7_000, 86_000][usize::try_from(next() % 4).unwrap_or(0)]);
        (0..n).map(ago).map(|ago| now - ago.unwrap_or(0)).collect()
    }

    #[test]
    fn zooming_loses_no_event_within_the_span_at_any_width() {
        let now = 1_795_262_441;
        let all = events(now, 900);
        let mut track = Track::default();
        for s in &all {
            track.add(Timestamp::from_secs(*s), 1);
        }
        for span in Span::all() {
            for room in [2, 14, 29, 57, 69, 133, 148, 360, 400] {
                let scale = Scale::new(span, Timestamp::from_secs(now), room);
                assert!(scale.width() <= room && scale.columns() > 0, "{span:?} in {room}");
                let oldest = scale.start(0).secs();
                assert!(room < 29 || oldest <= now - span.secs(), "{span:?} in {room} begins too late");
                let inside = all.iter().filter(|s| **s >= oldest).count() as u64;
                // On the narrowest screens the oldest column is longer than what the ring holds beyond the span.
                let counts = scale.counts(&track);
                assert!(counts.iter().sum::<u64>() == inside || room < 29, "{span:?} in {room}");
                let lately = all.iter().filter(|s| **s > now - span.secs()).count() as u64;
                assert!(counts.iter().sum::<u64>() >= lately || room < 3, "{span:?} in {room}");
            }
        }
    }

    #[test]
    fn columns_stand_still_while_time_goes_on() {
        let begin = 1_795_262_400;
        let mut track = Track::default();
        for s in events(begin, 300) {
            track.add(Timestamp::from_secs(s), 1);
        }
        for span in Span::all() {
            for room in [29, 69, 148] {
                let before = Scale::new(span, Timestamp::from_secs(begin), room);
                let old: Vec<(i64, u64)> =
                    before.counts(&track).into_iter().enumerate().map(|(i, n)| (before.number(i), n)).collect();
                for later in [1, 7, 60, 299] {
                    let now = Scale::new(span, Timestamp::from_secs(begin).plus(Duration::from_secs(later)), room);
                    assert_eq!((now.columns(), now.wide()), (before.columns(), before.wide()));
                    for (i, n) in now.counts(&track).into_iter().enumerate() {
                        let known = old.iter().find(|(number, _)| *number == now.number(i));
                        assert!(known.is_none_or(|(_, before)| *before == n), "{span:?} in {room} after {later} s");
                    }
                }
            }
        }
    }

    #[test]
    fn a_moment_has_one_column_and_a_column_its_moments() {
        let now = Timestamp::from_secs(1_795_262_441);
        for span in Span::all() {
            let scale = Scale::new(span, now, 148);
            assert_eq!(scale.column(now), Some(scale.columns() - 1));
            assert_eq!(scale.column(now.plus(Duration::from_secs(90_000))), None, "not yet");
            assert_eq!(scale.column(scale.start(0).minus(Duration::from_secs(1))), None, "no longer");
            for column in 0..scale.columns() {
                assert_eq!(scale.column(scale.start(column)), Some(column));
                assert_eq!(scale.column(scale.end(column)), Some(column));
            }
        }
        let nothing = Scale::new(Span::default(), now, 0);
        assert_eq!((nothing.columns(), nothing.width(), nothing.column(now)), (0, 0, None));
        let words: Vec<&str> = Span::all().map(Span::word).collect();
        assert_eq!(words, ["5 min", "30 min", "2 h", "12 h", "24 h"]);
        assert_eq!(
            (Span::all().next().and_then(Span::shorter), Span::all().last().and_then(Span::longer)),
            (None, None)
        );
    }
}
