//! The one door to the wall clock, and the two ways in which nginx writes a date.

mod zone;

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Local, NaiveDateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use zone::{Moments, Zone};

/// A moment in UTC, in whole microseconds since 1970-01-01T00:00:00Z. Written as RFC 3339 in every JSON output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment `micros` microseconds after the Unix epoch.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// The moment `secs` seconds after the Unix epoch.
    #[must_use]
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    #[must_use]
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Time passed since `earlier`; zero when `earlier` is in fact later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The moment `d` later, held at the end of time.
    #[must_use]
    pub fn plus(self, d: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(d.as_micros()).unwrap_or(i64::MAX)))
    }

    /// The moment `d` earlier, held at the beginning of time.
    #[must_use]
    pub fn minus(self, d: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(d.as_micros()).unwrap_or(i64::MAX)))
    }

    fn utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0).unwrap_or_default()
    }

    /// `14:02:31` in this machine's zone.
    #[must_use]
    pub fn local_clock(self) -> String {
        self.utc().with_timezone(&Local).format("%H:%M:%S").to_string()
    }

    /// `13:58` in this machine's zone.
    #[must_use]
    pub fn local_minute(self) -> String {
        self.utc().with_timezone(&Local).format("%H:%M").to_string()
    }

    /// The error log's form in this machine's zone, `2026/11/21 14:02:31` (nginx core/ngx_times.c).
    #[must_use]
    pub fn nginx_error_form(self) -> String {
        self.utc().with_timezone(&Local).format("%Y/%m/%d %H:%M:%S").to_string()
    }

    /// The access log's `$time_local` in this machine's zone, `21/Nov/2026:14:02:31 +0000`.
    #[must_use]
    pub fn nginx_access_form(self) -> String {
        self.utc().with_timezone(&Local).format("%d/%b/%Y:%H:%M:%S %z").to_string()
    }

    /// The access log's `$time_iso8601` in this machine's zone, `2026-11-21T14:02:31+00:00`.
    #[must_use]
    pub fn nginx_iso8601_form(self) -> String {
        self.utc().with_timezone(&Local).format("%Y-%m-%dT%H:%M:%S%:z").to_string()
    }

    /// Reads RFC 3339 text.
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        DateTime::parse_from_rfc3339(text).ok().map(|t| Self(t.timestamp_micros()))
    }

    /// The UTC moment of a wall-clock reading in this machine's zone: nginx writes the error log in local time without an
    /// offset. In the hour that a zone repeats in autumn the earlier moment is taken; a reading that the zone skipped in
    /// spring is read as if the clock had not been moved.
    #[must_use]
    pub fn from_local(wall: NaiveDateTime) -> Self {
        Zone::Machine.moments(wall).earlier()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.utc().to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        Self::parse_rfc3339(&text).ok_or_else(|| serde::de::Error::custom(format!("not an RFC 3339 time: {text}")))
    }
}

/// Where live stamps come from. The only reader of the wall clock in the program.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock;

impl Clock {
    /// Now, by the machine's wall clock.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one door to the wall clock")]
    pub fn now(self) -> Timestamp {
        Timestamp(Utc::now().timestamp_micros())
    }
}

/// A `Duration` in JSON as seconds with a fraction (`#[serde(with = "time::seconds")]`).
pub mod seconds {
    use super::Duration;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes seconds.
    ///
    /// # Errors
    /// Only those of the serializer.
    pub fn serialize<S: Serializer>(d: &Duration, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_f64(d.as_secs_f64())
    }

    /// Reads seconds.
    ///
    /// # Errors
    /// When the number is negative, not finite or too large for a `Duration`.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        Duration::try_from_secs_f64(f64::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}

/// The same for `Option<Duration>`; `null` is unknown.
pub mod opt_seconds {
    use super::Duration;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes seconds or `null`.
    ///
    /// # Errors
    /// Only those of the serializer.
    pub fn serialize<S: Serializer>(d: &Option<Duration>, s: S) -> Result<S::Ok, S::Error> {
        match d {
            Some(d) => s.serialize_some(&d.as_secs_f64()),
            None => s.serialize_none(),
        }
    }

    /// Reads seconds or `null`.
    ///
    /// # Errors
    /// When the number is negative, not finite or too large for a `Duration`.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
        Option::<f64>::deserialize(d)?
            .map(|n| Duration::try_from_secs_f64(n).map_err(serde::de::Error::custom))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_survives_json() {
        let t = Timestamp::from_micros(1_795_226_551_000_123);
        let json = serde_json::to_string(&t).expect("serializes");
        assert_eq!(json, "\"2026-11-21T02:02:31.000123Z\"");
        assert_eq!(serde_json::from_str::<Timestamp>(&json).expect("reads back"), t);
    }

    #[test]
    fn differences_never_go_below_zero() {
        let (a, b) = (Timestamp::from_secs(10), Timestamp::from_secs(12));
        assert_eq!(b.since(a), Duration::from_secs(2));
        assert_eq!(a.since(b), Duration::ZERO);
        assert_eq!(a.plus(Duration::MAX).micros(), i64::MAX);
    }
}
