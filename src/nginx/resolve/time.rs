//! nginx's time spans, as its millisecond settings read them.

use std::time::Duration;

/// Ranks of the units, in falling size; each must be smaller than the one before it.
const SECOND: u8 = 4;
const MILLISECOND: u8 = 5;
const LAST: u8 = 6;

/// Reads `60`, `60s`, `1h30m`, `1d 12h`, `250ms` (core/ngx_parse.c, `ngx_parse_time` with `is_sec` 0): a bare number is
/// seconds, units come in falling order, and years and months are refused. So are `off`, `-1` and `1.5s`.
pub(super) fn parse_time(text: &str) -> Option<Duration> {
    parse(text, false)
}

/// The same for settings in whole seconds (`is_sec` 1): years and months of 365 and 30 days are known, milliseconds are not.
pub(super) fn parse_seconds(text: &str) -> Option<Duration> {
    parse(text, true)
}

fn parse(text: &str, in_seconds: bool) -> Option<Duration> {
    let mut rest = text.as_bytes();
    let (mut total, mut rank, mut any) = (0_u64, 0, false);
    while !rest.is_empty() {
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        let value: u64 = if digits == 0 { 0 } else { std::str::from_utf8(rest.get(..digits)?).ok()?.parse().ok()? };
        any |= digits > 0;
        rest = rest.get(digits..)?;
        // Length of the unit, the rank that must not be reached yet, the rank it leaves, milliseconds.
        let (length, below, leaves, scale) = match rest {
            [] => (0, u8::MAX, LAST, 1_000),
            [b'w', ..] => (1, 0, 0, 604_800_000),
            [b'd', ..] => (1, 1, 1, 86_400_000),
            [b'h', ..] => (1, 2, 2, 3_600_000),
            [b'y', ..] if in_seconds => (1, 0, 0, 31_536_000_000),
            [b'M', ..] if in_seconds => (1, 0, 0, 2_592_000_000),
            [b'm', b's', ..] if in_seconds => return None,
            [b'm', b's', ..] => (2, MILLISECOND, MILLISECOND, 1),
            [b'm', ..] => (1, 3, 3, 60_000),
            [b's', ..] => (1, SECOND, SECOND, 1_000),
            [b' ', ..] => (1, SECOND, LAST, 1_000),
            _ => return None,
        };
        // `rank` is one more than the last unit's, so that zero means none yet.
        if rank > below {
            return None;
        }
        rank = leaves + 1;
        total = value.checked_mul(scale)?.checked_add(total)?;
        rest = rest.get(length..)?;
        rest = rest.get(rest.iter().take_while(|b| **b == b' ').count()..)?;
    }
    (any && i64::try_from(total).is_ok()).then(|| Duration::from_millis(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_as_nginx_reads_them() {
        let cases: &[(&str, Option<u64>)] = &[
            ("60", Some(60_000)),
            ("60s", Some(60_000)),
            ("0", Some(0)),
            ("250ms", Some(250)),
            ("1h30m", Some(5_400_000)),
            ("1h 30m", Some(5_400_000)),
            ("1d12h", Some(129_600_000)),
            ("1w", Some(604_800_000)),
            ("1m500ms", Some(60_500)),
            ("1s500ms", Some(1_500)),
            ("1s 5", Some(6_000)),
            ("1m1h", None),
            ("1s1s", None),
            ("1M", None),
            ("1y", None),
            ("off", None),
            ("-1", None),
            ("1.5s", None),
            ("", None),
            ("s", None),
            ("1 s", None),
            ("99999999999999999999", None),
            ("9223372036854775807w", None),
        ];
        for (text, want) in cases {
            assert_eq!(parse_time(text), want.map(Duration::from_millis), "for {text:?}");
        }
    }
}
