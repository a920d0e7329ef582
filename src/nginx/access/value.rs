//! The values of an access log: their shapes, numbers, times, and how text is escaped.

use std::borrow::Cow;
use std::time::Duration;

use memchr::{memchr, memchr2_iter};

use crate::time::Timestamp;

/// What nginx can write for a variable that no client has a say in. `-` fits all but a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Three digits.
    Status,
    /// Digits.
    Number,
    /// Digits with a fraction.
    Decimal,
    /// Several of these with `, ` and ` : ` between them (http/ngx_http_upstream.c).
    DecimalList,
    /// Several addresses, likewise.
    AddressList,
    /// `21/Nov/2026:02:31:59 +0000`.
    TimeLocal,
    /// `2026-11-21T02:31:59+00:00`.
    TimeIso,
    /// Anything without spaces and quotes.
    Word,
}

impl Shape {
    /// The most bytes that such a value has: lists of a hundred peers, unix sockets of 108 bytes.
    pub(super) const fn longest(self) -> usize {
        match self {
            Self::Status => 3,
            Self::Number | Self::Decimal => 24,
            Self::TimeLocal => 26,
            Self::TimeIso => 25,
            Self::Word => 128,
            Self::DecimalList => 1_024,
            Self::AddressList => 4_096,
        }
    }

    /// Whether `value` has this shape.
    pub(super) fn admits(self, value: &[u8]) -> bool {
        let digits = |b: &u8| b.is_ascii_digit();
        match self {
            Self::TimeLocal => return fits(value, b"00/Aaa/0000:00:00:00 +0000"),
            Self::TimeIso => return fits(value, b"0000-00-00T00:00:00+00:00"),
            _ if value == b"-" || value.is_empty() => return true,
            _ => {}
        }
        match self {
            Self::Status => value.len() == 3 && value.iter().all(digits),
            Self::Number => value.len() <= 20 && value.iter().all(digits),
            Self::Decimal => value.len() <= 24 && value.iter().all(|b| digits(b) || *b == b'.'),
            Self::DecimalList => value.iter().all(|b| digits(b) || matches!(b, b'.' | b',' | b':' | b' ' | b'-')),
            Self::AddressList => !value.contains(&b'"'),
            Self::Word => !value.iter().any(|b| matches!(b, b' ' | b'"')),
            Self::TimeLocal | Self::TimeIso => false,
        }
    }
}

/// Whether `value` has the form of `shape`: `0` a digit, `A` and `a` letters, `+` a sign, anything else itself.
fn fits(value: &[u8], shape: &[u8]) -> bool {
    value.len() == shape.len()
        && value.iter().zip(shape).all(|(b, s)| match s {
            b'0' => b.is_ascii_digit(),
            b'A' | b'a' => b.is_ascii_alphabetic(),
            b'+' => matches!(b, b'+' | b'-'),
            other => b == other,
        })
}

/// ` HTTP/1.1`, ` HTTP/2.0` and the like at the end.
pub(super) fn ends_in_version(request: &[u8]) -> bool {
    request.len().checked_sub(9).and_then(|at| request.get(at..)).is_some_and(|tail| {
        tail.starts_with(b" HTTP/")
            && matches!(tail, [.., major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit())
    })
}

/// The last of `a, b : c`: the peer that answered.
pub(super) fn last_peer(list: &[u8]) -> Option<&[u8]> {
    let separator = |w: &[u8]| w == b", " || w == b": ";
    let from = list.windows(2).rposition(separator).map_or(0, |at| at + 2);
    list.get(from..).filter(|last| !last.is_empty() && *last != b"-")
}

/// A decimal number without sign.
pub(super) fn number(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |n, b| {
        let digit = b.is_ascii_digit().then(|| u64::from(b - b'0'))?;
        n.checked_mul(10)?.checked_add(digit)
    })
}

/// Three digits.
pub(super) fn status(value: &[u8]) -> Option<u16> {
    if value.len() == 3 { number(value).and_then(|n| u16::try_from(n).ok()) } else { None }
}

/// Seconds with an optional fraction, to the microsecond.
fn micros(value: &[u8]) -> Option<u64> {
    let (whole, fraction) = match memchr(b'.', value) {
        Some(dot) => (value.get(..dot)?, value.get(dot + 1..)?),
        None => (value, &b"0"[..]),
    };
    let digits = fraction.get(..6).unwrap_or(fraction);
    let scale = 10_u64.pow(u32::try_from(6 - digits.len()).ok()?);
    number(whole)?.checked_mul(1_000_000)?.checked_add(number(digits)? * scale)
}

/// `1.202` as a duration.
pub(super) fn seconds(value: &[u8]) -> Option<Duration> {
    micros(value).map(Duration::from_micros)
}

/// `$msec`: seconds since the epoch with milliseconds.
pub(super) fn msec(value: &[u8]) -> Option<Timestamp> {
    micros(value).and_then(|m| i64::try_from(m).ok()).map(Timestamp::from_micros)
}

const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// `21/Nov/2026:02:31:59 +0000` (core/ngx_times.c).
pub(super) fn time_local(value: &[u8]) -> Option<Timestamp> {
    let part = |from: usize, to: usize| number(value.get(from..to)?);
    let name: &[u8; 3] = value.get(3..6)?.first_chunk()?;
    let month = (1..).zip(MONTHS).find(|(_, m)| *m == name)?.0;
    let days = days_from_epoch(part(7, 11)?, month, part(0, 2)?)?;
    let clock = seconds_of_day(part(12, 14)?, part(15, 17)?, part(18, 20)?)?;
    at_offset(days, clock, *value.get(21)?, part(22, 24)?, part(24, 26)?)
}

/// `2026-11-21T02:31:59+00:00` (core/ngx_times.c).
pub(super) fn time_iso(value: &[u8]) -> Option<Timestamp> {
    let part = |from: usize, to: usize| number(value.get(from..to)?);
    let days = days_from_epoch(part(0, 4)?, part(5, 7)?, part(8, 10)?)?;
    let clock = seconds_of_day(part(11, 13)?, part(14, 16)?, part(17, 19)?)?;
    at_offset(days, clock, *value.get(19)?, part(20, 22)?, part(23, 25)?)
}

fn at_offset(days: i64, clock: i64, sign: u8, hours: u64, minutes: u64) -> Option<Timestamp> {
    let offset = i64::try_from(hours * 3_600 + minutes * 60).ok()?;
    let offset = if sign == b'-' { -offset } else { offset };
    Some(Timestamp::from_secs(days * 86_400 + clock - offset))
}

fn seconds_of_day(hour: u64, minute: u64, second: u64) -> Option<i64> {
    let valid = hour < 24 && minute < 60 && second <= 60;
    if valid { i64::try_from(hour * 3_600 + minute * 60 + second).ok() } else { None }
}

/// Days since 1970-01-01 of a date in the Gregorian calendar. Counted in years that begin in March, so that the leap day
/// comes last; written out because a calendar library costs more than the rest of the line.
fn days_from_epoch(year: u64, month: u64, day: u64) -> Option<i64> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let longest = match month {
        2 => 28 + u64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => return None,
    };
    if day == 0 || day > longest || year == 0 {
        return None;
    }
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    // 719468 days lie between 0000-03-01 and 1970-01-01.
    i64::try_from(days).ok().map(|d| d - 719_468)
}

/// The first quote in `text` that no backslash escapes.
pub(super) fn json_quote(text: &[u8]) -> Option<usize> {
    let mut escaped_at = None;
    for at in memchr2_iter(b'"', b'\\', text) {
        if escaped_at == Some(at) {
            continue;
        }
        if text.get(at) == Some(&b'"') {
            return Some(at);
        }
        escaped_at = Some(at + 1);
    }
    None
}

/// Undoes `escape=default`: `\xXX` becomes the byte (ngx_http_log_escape).
pub(super) fn unescape(field: &[u8]) -> Cow<'_, [u8]> {
    undo(field, |rest| {
        let code = rest.strip_prefix(b"x")?.get(..2)?;
        Some(Meant::byte(u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok()?, 3))
    })
}

/// Undoes `escape=json` (ngx_escape_json in core/ngx_string.c).
pub(super) fn unescape_json(field: &[u8]) -> Cow<'_, [u8]> {
    undo(field, |rest| {
        let byte = match *rest.first()? {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'b' => 8,
            b'f' => 12,
            b'u' => {
                let code = u32::from_str_radix(std::str::from_utf8(rest.get(1..5)?).ok()?, 16).ok()?;
                let mut bytes = [0; 4];
                let len = char::from_u32(code)?.encode_utf8(&mut bytes).len();
                return Some(Meant { bytes, len, taken: 5 });
            }
            other @ (b'"' | b'\\' | b'/') => other,
            _ => return None,
        };
        Some(Meant::byte(byte, 1))
    })
}

/// What an escape stands for.
struct Meant {
    bytes: [u8; 4],
    /// How many of `bytes` count.
    len: usize,
    /// How many bytes behind the backslash belong to the escape.
    taken: usize,
}

impl Meant {
    const fn byte(byte: u8, taken: usize) -> Self {
        Self { bytes: [byte, 0, 0, 0], len: 1, taken }
    }
}

/// Replaces each backslash, with what `read` takes from the text behind it, by what they mean.
fn undo(field: &[u8], read: impl Fn(&[u8]) -> Option<Meant>) -> Cow<'_, [u8]> {
    let Some(first) = memchr(b'\\', field) else { return Cow::Borrowed(field) };
    let (plain, mut rest) = field.split_at(first);
    let mut out = plain.to_vec();
    while let Some((_, behind)) = rest.split_first() {
        let meant = read(behind).unwrap_or(Meant::byte(b'\\', 0));
        out.extend_from_slice(meant.bytes.get(..meant.len).unwrap_or_default());
        let behind = behind.get(meant.taken..).unwrap_or_default();
        let next = memchr(b'\\', behind).unwrap_or(behind.len());
        let (plain, following) = behind.split_at(next);
        out.extend_from_slice(plain);
        rest = following;
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_agree_with_the_calendar() {
        for days in (0..40_000_i64).step_by(13) {
            let date = chrono::DateTime::from_timestamp(days * 86_400 + 3_723, 0).expect("in range");
            let local = date.format("%d/%b/%Y:%H:%M:%S +0000").to_string();
            assert_eq!(time_local(local.as_bytes()), Some(Timestamp::from_secs(days * 86_400 + 3_723)), "{local}");
            let iso = date.format("%Y-%m-%dT%H:%M:%S+00:00").to_string();
            assert_eq!(time_iso(iso.as_bytes()), time_local(local.as_bytes()), "{iso}");
        }
        assert_eq!(time_iso(b"2026-11-21T02:00:00+02:00"), Timestamp::parse_rfc3339("2026-11-21T00:00:00Z"));
        assert_eq!(time_local(b"20/Nov/2026:22:30:00 -0130"), Timestamp::parse_rfc3339("2026-11-21T00:00:00Z"));
        assert_eq!(time_iso(b"2026-02-29T00:00:00+00:00"), None);
        assert_eq!(time_local(b"21/Xxx/2026:02:31:59 +0000"), None);
    }

    #[test]
    fn numbers_are_exact_or_unknown() {
        assert_eq!(seconds(b"1.202"), Some(Duration::from_millis(1_202)));
        assert_eq!(seconds(b"7860"), Some(Duration::from_secs(7_860)));
        assert_eq!(seconds(b"0.1234567"), Some(Duration::from_micros(123_456)));
        assert_eq!(msec(b"1795226551.004"), Some(Timestamp::from_micros(1_795_226_551_004_000)));
        for wrong in [&b""[..], b".", b"1.", b"-", b"99999999999999999999"] {
            assert_eq!(seconds(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn the_last_peer_is_the_one_that_answered() {
        assert_eq!(last_peer(b"10.0.0.1:80, [::1]:80 : unix:/run/a.sock"), Some(&b"unix:/run/a.sock"[..]));
        assert_eq!(last_peer(b"[2001:db8::1]:80"), Some(&b"[2001:db8::1]:80"[..]));
        assert_eq!(last_peer(b"0.001, -"), None);
    }

    #[test]
    fn escapes_are_undone() {
        assert_eq!(unescape(br"GET /\x22\x5C\x1B[2J\xE2\x9C\x93").as_ref(), "GET /\"\\\x1b[2J✓".as_bytes());
        assert_eq!(unescape(br"\xZZ\x4").as_ref(), br"\xZZ\x4");
        assert_eq!(unescape_json(br#"a\"b\\c\n\u001Bd\q"#).as_ref(), b"a\"b\\c\n\x1bd\\q");
        assert_eq!(json_quote(br#"a\"b\\"rest"#), Some(6));
    }
}
