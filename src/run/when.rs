//! The moments that `--since` and `--until` mean.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};

use crate::human;
use crate::time::{Moments, Timestamp, Zone};

/// Readings of a wall clock: nginx's error log first, then what people type.
const WALL: [&str; 6] = [
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%d/%b/%Y:%H:%M:%S",
];
/// Days.
const DAYS: [&str; 3] = ["%Y/%m/%d", "%Y-%m-%d", "%d/%b/%Y"];

/// Which end of a span of time a moment is: of two moments with one reading the first begins it and the last ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The beginning.
    Since,
    /// The end.
    Until,
}

/// The moment that `text` means: RFC 3339, `$time_local` of the access log, a reading of the clock in `zone` as in the
/// error log, a day, or a span of time before `now`.
///
/// # Errors
/// One sentence that names the word that cannot be meant, and the right forms.
pub fn moment(text: &str, end: End, zone: Zone, now: Timestamp) -> Result<Timestamp, String> {
    let text = text.trim();
    let wall = |wall: NaiveDateTime| match (zone.moments(wall), end) {
        (Moments::Once(at), _) | (Moments::Twice(at, _), End::Since) | (Moments::Twice(_, at), End::Until) => at,
    };
    let stamped = DateTime::parse_from_str(text, "%d/%b/%Y:%H:%M:%S %z").ok();
    let stamped =
        stamped.map(|t| Timestamp::from_micros(t.timestamp_micros())).or_else(|| Timestamp::parse_rfc3339(text));
    let read = || WALL.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
    let day = || DAYS.iter().find_map(|form| NaiveDate::parse_from_str(text, form).ok());
    let bound =
        || Some(day()?.and_time(if end == End::Since { NaiveTime::MIN } else { NaiveTime::from_hms_opt(23, 59, 59)? }));
    let span = || human::parse_span(text).ok().map(|span| now.minus(span));
    stamped.or_else(|| read().or_else(bound).map(wall)).or_else(span).ok_or_else(|| {
        format!("'{text}' is no time: give 2026-11-21T14:02:31Z, '2026/11/21 14:02:31' as in the log, or 2h for two hours ago")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, end: End) -> String {
        let now = Timestamp::parse_rfc3339("2026-11-21T12:00:00Z").expect("a time");
        let zone = "Europe/Berlin".parse().expect("a zone");
        moment(text, end, zone, now).map_or_else(|e| e, |t| t.to_string()[..19].to_owned())
    }

    #[test]
    fn times_are_read_as_logs_and_people_write_them() {
        for (text, read) in [
            ("2026-11-21T10:00:00Z", "2026-11-21T10:00:00"),
            ("2026-11-21T10:00:00+02:00", "2026-11-21T08:00:00"),
            ("21/Nov/2026:14:02:31 +0100", "2026-11-21T13:02:31"),
            ("21/Nov/2026:14:02:31", "2026-11-21T13:02:31"),
            ("2026/11/21 14:02:31", "2026-11-21T13:02:31"),
            ("2026-11-21 14:02", "2026-11-21T13:02:00"),
            ("2026-11-21T14:02:31", "2026-11-21T13:02:31"),
            ("2026-07-01", "2026-06-30T22:00:00"),
            ("1h30m", "2026-11-21T10:30:00"),
            ("0s", "2026-11-21T12:00:00"),
        ] {
            assert_eq!(at(text, End::Since), read, "{text}");
        }
        for wrong in ["", "yesterday", "2026-13-01", "-1h", "2026/11/21 25:00:00"] {
            assert!(at(wrong, End::Since).contains(&format!("'{wrong}' is no time")), "{wrong}");
        }
    }

    #[test]
    fn the_end_of_a_span_takes_in_the_whole_day_and_both_repeated_hours() {
        assert_eq!(at("2026-11-21", End::Until), "2026-11-21T22:59:59");
        assert_eq!(at("2026/10/25 02:30:00", End::Since), "2026-10-25T00:30:00");
        assert_eq!(at("2026/10/25 02:30:00", End::Until), "2026-10-25T01:30:00");
    }
}
