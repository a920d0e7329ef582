//! The zone in which a clock was read, and what a reading without an offset can mean there.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, FixedOffset, Local, LocalResult, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use super::Timestamp;

/// How far back a line may lie behind the one before it and still be its neighbour: nginx's workers write with clocks of
/// their own, cached once per turn of their event loops (core/ngx_times.c).
const SLACK: Duration = Duration::from_secs(5);

/// Where the wall clock of a log hung.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Zone {
    /// In this machine's zone: the variable TZ, else /etc/localtime.
    #[default]
    Machine,
    /// At a constant distance from UTC.
    Fixed(FixedOffset),
    /// In a zone of the IANA database, daylight saving time included. The database is part of the program, so that a log
    /// can be read where none is installed.
    Named(Tz),
}

/// Minutes that a clock was put back at most (America/Juneau, 1867).
const MOST_REPEATED: i64 = 24 * 60;

impl Zone {
    /// Coordinated universal time.
    pub const UTC: Self = Self::Named(Tz::UTC);

    /// The moments at which a clock in this zone read `wall`. A reading that the zone skipped in spring is read as if the
    /// clock had not been moved.
    #[must_use]
    pub fn moments(self, wall: NaiveDateTime) -> Moments {
        match self {
            Self::Machine => moments(&Local, wall),
            Self::Fixed(offset) => moments(&offset, wall),
            Self::Named(zone) => moments(&zone, wall),
        }
    }

    /// The end of the two hours in which a clock in this zone showed `wall` twice, to the minute; `None`: it did so once.
    #[must_use]
    pub fn repeated_until(self, wall: NaiveDateTime) -> Option<Timestamp> {
        let minutes = (0..=MOST_REPEATED).map_while(|n| wall.checked_add_signed(TimeDelta::minutes(n)));
        let twice = minutes.map_while(|minute| match self.moments(minute) {
            Moments::Twice(_, later) => Some(later),
            Moments::Once(_) => None,
        });
        twice.last().map(|last| last.plus(Duration::from_secs(60)))
    }

    /// What a clock in this zone reads at `at`.
    #[must_use]
    pub fn wall(self, at: Timestamp) -> NaiveDateTime {
        match self {
            Self::Machine => at.utc().with_timezone(&Local).naive_local(),
            Self::Fixed(offset) => at.utc().with_timezone(&offset).naive_local(),
            Self::Named(zone) => at.utc().with_timezone(&zone).naive_local(),
        }
    }
}

fn moments<Z: TimeZone>(zone: &Z, wall: NaiveDateTime) -> Moments {
    match zone.from_local_datetime(&wall) {
        LocalResult::Single(t) => Moments::Once(stamp(&t)),
        LocalResult::Ambiguous(a, b) => {
            let (a, b) = (stamp(&a), stamp(&b));
            Moments::Twice(a.min(b), a.max(b))
        }
        LocalResult::None => Moments::Once(in_gap(zone, wall)),
    }
}

/// The reading of a clock that nobody had moved. Most gaps last an hour, one (Samoa, 2011) lasted a day.
fn in_gap<Z: TimeZone>(zone: &Z, wall: NaiveDateTime) -> Timestamp {
    let unmoved = [1, 3, 25].into_iter().find_map(|hours| {
        let before = wall.checked_sub_signed(TimeDelta::hours(hours))?;
        let then = zone.from_local_datetime(&before).latest()?;
        Some(stamp(&then).plus(Duration::from_secs(hours.unsigned_abs() * 3_600)))
    });
    unmoved.unwrap_or_else(|| stamp(&wall.and_utc()))
}

fn stamp<Z: TimeZone>(t: &DateTime<Z>) -> Timestamp {
    Timestamp(t.with_timezone(&Utc).timestamp_micros())
}

impl FromStr for Zone {
    type Err = String;

    /// Reads `local`, `UTC` or `Z`, an offset (`+02:00`, `-0530`, `+2`), or an IANA name in any case.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("local") {
            return Ok(Self::Machine);
        }
        if text.eq_ignore_ascii_case("z") || text.eq_ignore_ascii_case("utc") {
            return Ok(Self::UTC);
        }
        if text.starts_with(['+', '-']) {
            return offset(text)
                .map(Self::Fixed)
                .ok_or_else(|| format!("'{text}' is no offset from UTC: give one like +02:00"));
        }
        text.parse()
            .ok()
            .or_else(|| chrono_tz::TZ_VARIANTS.into_iter().find(|z| z.name().eq_ignore_ascii_case(text)))
            .map(Self::Named)
            .ok_or_else(|| {
                format!(
                    "no time zone is called '{text}': give a name like Europe/Berlin, an offset like +02:00, or local"
                )
            })
    }
}

/// `+02:00`, `+0200`, `+02` or `+2`; no place on earth is more than 14 hours away, but clocks can be set to anything
/// below a day.
fn offset(text: &str) -> Option<FixedOffset> {
    let (sign, digits) = text.split_at_checked(1)?;
    let (hours, minutes) = match digits.split_once(':') {
        Some((hours, minutes)) if minutes.len() == 2 => (hours, minutes),
        None if digits.len() == 4 => digits.split_at_checked(2)?,
        None => (digits, "00"),
        Some(_) => return None,
    };
    let number = |part: &str| {
        let plain = (1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        if plain { part.parse::<i32>().ok() } else { None }
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    if minutes > 59 {
        return None;
    }
    let east = (hours * 60 + minutes) * 60;
    FixedOffset::east_opt(if sign == "-" { -east } else { east })
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine => f.write_str("local"),
            Self::Fixed(offset) => offset.fmt(f),
            Self::Named(zone) => f.write_str(zone.name()),
        }
    }
}

/// The moments of one wall-clock reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moments {
    /// The usual case.
    Once(Timestamp),
    /// In the hour that a zone repeats in autumn, the earlier first.
    Twice(Timestamp, Timestamp),
}

impl Moments {
    /// The earlier moment.
    #[must_use]
    pub const fn earlier(self) -> Timestamp {
        match self {
            Self::Once(t) | Self::Twice(t, _) => t,
        }
    }

    /// The same `d` later.
    #[must_use]
    pub fn plus(self, d: Duration) -> Self {
        match self {
            Self::Once(t) => Self::Once(t.plus(d)),
            Self::Twice(a, b) => Self::Twice(a.plus(d), b.plus(d)),
        }
    }

    /// The moment of a line behind one of `last`. A log does not go back: where the earlier moment would, the later one is
    /// meant. A log that had not yet begun, and a silence of an hour in the repeated hour, leave it open: then the
    /// earlier one is taken.
    #[must_use]
    pub fn after(self, last: Option<Timestamp>) -> Timestamp {
        let (earlier, later) = match self {
            Self::Once(t) => return t,
            Self::Twice(earlier, later) => (earlier, later),
        };
        let goes_back = |last: Timestamp| earlier.plus(SLACK) < last;
        // A last line far behind both belongs to another file, read before this one.
        let is_same_log = |last: Timestamp| last.since(later) < later.since(earlier);
        if last.is_some_and(|last| goes_back(last) && is_same_log(last)) { later } else { earlier }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(text: &str) -> Zone {
        text.parse().expect("a zone")
    }

    fn wall(text: &str) -> NaiveDateTime {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").expect("a date")
    }

    fn utc(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).expect("RFC 3339")
    }

    #[test]
    fn a_zone_is_read_from_what_people_type() {
        for (text, shown) in [
            ("local", "local"),
            ("UTC", "UTC"),
            ("z", "UTC"),
            ("+02:00", "+02:00"),
            ("-0530", "-05:30"),
            ("+2", "+02:00"),
            ("+14", "+14:00"),
            ("Europe/Berlin", "Europe/Berlin"),
            ("europe/berlin", "Europe/Berlin"),
            ("CET", "CET"),
        ] {
            assert_eq!(zone(text).to_string(), shown, "{text}");
        }
        for wrong in ["", "+", "+25:00", "+02:60", "+02:0", "+2:000", "+12345", "Mars/Olympus", "+é1", "++1", "-+1:00"]
        {
            let said = wrong.parse::<Zone>().expect_err(wrong);
            assert!(said.contains(&format!("'{wrong}'")) && said.contains("+02:00"), "{said}");
        }
    }

    #[test]
    fn a_reading_means_two_moments_only_in_the_repeated_hour() {
        let berlin = zone("Europe/Berlin");
        let at = |text: &str| berlin.moments(wall(text));
        assert_eq!(at("2026-07-01 12:00:00"), Moments::Once(utc("2026-07-01T10:00:00Z")));
        assert_eq!(at("2026-10-25 01:59:59"), Moments::Once(utc("2026-10-24T23:59:59Z")));
        assert_eq!(at("2026-10-25 02:30:00"), Moments::Twice(utc("2026-10-25T00:30:00Z"), utc("2026-10-25T01:30:00Z")));
        assert_eq!(at("2026-10-25 03:00:00"), Moments::Once(utc("2026-10-25T02:00:00Z")));
        assert_eq!(
            zone("+01:00").moments(wall("2026-10-25 02:30:00")),
            Moments::Once(utc("2026-10-25T01:30:00Z")),
            "a fixed zone repeats nothing"
        );
        let lord_howe = zone("Australia/Lord_Howe").moments(wall("2026-04-05 01:45:00"));
        let Moments::Twice(earlier, later) = lord_howe else { panic!("half an hour is repeated: {lord_howe:?}") };
        assert_eq!(later.since(earlier), Duration::from_secs(1_800));
    }

    #[test]
    fn a_skipped_reading_is_that_of_a_clock_nobody_moved() {
        let skipped = |name: &str, text: &str| zone(name).moments(wall(text)).earlier();
        assert_eq!(skipped("Europe/Berlin", "2026-03-29 02:30:00"), utc("2026-03-29T01:30:00Z"));
        assert_eq!(skipped("Australia/Lord_Howe", "2026-10-04 02:15:00"), utc("2026-10-03T15:45:00Z"));
        assert_eq!(skipped("Pacific/Apia", "2011-12-30 12:00:00"), utc("2011-12-30T22:00:00Z"));
    }

    #[test]
    fn what_a_clock_read_is_read_back() {
        for name in ["Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "UTC", "+05:45", "local"] {
            for hours in 0..24 * 366 / 5 {
                let at = Timestamp::from_secs(1_767_225_600 + hours * 5 * 3_600);
                let read = zone(name).moments(zone(name).wall(at));
                assert!(
                    matches!(read, Moments::Once(t) | Moments::Twice(t, _) if t == at)
                        || matches!(read, Moments::Twice(_, t) if t == at),
                    "{name} {at}: {read:?}"
                );
            }
        }
    }

    #[test]
    fn the_end_of_time_is_no_panic() {
        for wall in [NaiveDateTime::MIN, NaiveDateTime::MAX] {
            for name in ["Europe/Berlin", "+14:00", "-14:00", "local"] {
                let _ = zone(name).moments(wall).after(Some(Timestamp::from_secs(0)));
            }
        }
    }
}
