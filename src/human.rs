//! What people read and type: durations, bytes and rates in few steady characters, ellipses that keep the telling end,
//! and text from outside made safe to show.

pub mod redact;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthStr as _;

/// A time span in at most six characters: `0s`, `41s`, `4m 27s`, `2h 14m`, `61d 3h`.
#[must_use]
pub fn span(d: Duration) -> String {
    let s = d.as_secs();
    match s {
        0..60 => format!("{s}s"),
        60..3_600 => format!("{}m {:>2}s", s / 60, s % 60),
        3_600..86_400 => format!("{}h {:>2}m", s / 3_600, s % 3_600 / 60),
        86_400..8_640_000 => format!("{}d {:>2}h", s / 86_400, s % 86_400 / 3_600),
        _ => format!("{}d", s / 86_400),
    }
}

/// A time span in one unit, at most four characters: `41s`, `57m`, `14h`, `61d`, from 1,000 days on `2y`.
#[must_use]
pub fn span_short(d: Duration) -> String {
    let s = d.as_secs();
    match s {
        0..100 => format!("{s}s"),
        100..6_000 => format!("{}m", s / 60),
        6_000..360_000 => format!("{}h", s / 3_600),
        360_000..86_400_000 => format!("{}d", s / 86_400),
        _ => format!("{}y", (s / 31_536_000).min(999)),
    }
}

/// Milliseconds in at most four places and without a unit, for columns headed by one: `0.31`, `4.1`, `138`, `1204`; from ten seconds
/// on seconds, which bear theirs: `12s`.
#[must_use]
pub fn millis(d: Duration) -> String {
    let ms = d.as_secs_f64() * 1e3;
    if ms < 0.995 {
        format!("{ms:.2}")
    } else if ms < 99.5 {
        format!("{ms:.1}")
    } else if ms < 9_999.5 {
        format!("{ms:.0}")
    } else {
        format!("{:.0}s", (ms / 1e3).min(999.0))
    }
}

/// A latency with its unit: `310us`, `4.1ms`, `1.2s`.
#[must_use]
pub fn latency(d: Duration) -> String {
    let us = d.as_secs_f64() * 1e6;
    if us < 999.5 {
        format!("{us:.0}us")
    } else if us < 9_950.0 {
        format!("{:.1}ms", us / 1e3)
    } else if us < 999_500.0 {
        format!("{:.0}ms", us / 1e3)
    } else {
        format!("{:.1}s", us / 1e6)
    }
}

/// A count or a byte figure in at most five characters: `340`, `1.2k`, `38k`, `1.1M`.
#[must_use]
pub fn scaled(n: u64) -> String {
    const UNITS: [&str; 6] = ["k", "M", "G", "T", "P", "E"];
    if n < 1_000 {
        return n.to_string();
    }
    let mut value = n as f64 / 1e3;
    for unit in UNITS {
        if value < 9.95 {
            return format!("{value:.1}{unit}");
        }
        if value < 999.5 {
            return format!("{value:.0}{unit}");
        }
        value /= 1e3;
    }
    format!("{value:.0}Z")
}

/// A count with thousands separated by commas: `1,204`.
#[must_use]
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// `1 tunnel`, `2 tunnels`.
#[must_use]
pub fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(n), if n == 1 { one } else { many })
}

/// Reads a time span as nginx and people write it: `10s`, `1h 30m`, `250ms`, `1d12h`; a bare number is seconds.
///
/// # Errors
/// One sentence that says what is wrong with the text.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is no time span; write it as 500ms, 10s, 5m, 1h30m or 2d");
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ms" => 1e-3,
            "" | "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            "w" => 604_800.0,
            _ => return Err(wrong()),
        };
        total = Duration::try_from_secs_f64(number * unit).ok().and_then(|d| total.checked_add(d)).ok_or_else(wrong)?;
        rest = rest[letters..].trim_start();
    }
    Ok(total)
}

/// Reads `99.9%` or `99.9` as a share from 0 to 1.
///
/// # Errors
/// One sentence that names the text and the right form.
pub fn parse_percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim();
    let percent: Option<f64> = number.parse().ok().filter(|p| (0.0..=100.0).contains(p));
    // Half a percent, or a half? A threshold that is taken for the wrong one guards nothing.
    let percent = percent.filter(|p| text.ends_with('%') || *p <= 0.0 || *p > 1.0);
    percent
        .map(|p| p / 100.0)
        .ok_or_else(|| format!("'{}' is no percentage; write it as 99.9%", visible(text.as_bytes())))
}

/// Reads a count, a number of bytes or a rate as this program writes them: `340`, `1.2k`, `1M`, `64KiB`, `10k/s`. `k`, `M`, `G`
/// and `T` are powers of 1000, with an `i` of 1024; `B` and `/s` may stand behind.
///
/// # Errors
/// One sentence that says what is wrong with the text.
pub fn parse_size(text: &str) -> Result<f64, String> {
    let wrong = || format!("'{text}' is no size; write it as 340, 1.5k, 1M or 64KiB");
    let size = text.trim();
    let size = size.strip_suffix("/s").unwrap_or(size);
    let size = size.strip_suffix(['B', 'b']).unwrap_or(size);
    let (size, base) = size.strip_suffix('i').map_or((size, 1_000.0_f64), |s| (s, 1_024.0));
    let (digits, power) = match size.char_indices().last() {
        Some((at, unit)) if unit.is_ascii_alphabetic() => {
            (&size[..at], "kmgt".find(unit.to_ascii_lowercase()).ok_or_else(wrong)? + 1)
        }
        _ => (size, 0),
    };
    let plain = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.') && (power > 0 || base < 1_001.0);
    let number: f64 = digits.parse().ok().filter(|_| plain).ok_or_else(wrong)?;
    Ok(number * base.powi(i32::try_from(power).unwrap_or(0)))
}

/// Columns that `text` takes on a terminal.
#[must_use]
pub fn width(text: &str) -> usize {
    text.width()
}

/// `text` cut at the end to `max` columns, with `…` where something is missing.
#[must_use]
pub fn cut_end(text: &str, max: usize) -> Cow<'_, str> {
    if text.width() <= max {
        return Cow::Borrowed(text);
    }
    let mut out = String::new();
    let mut used = 0;
    for g in text.graphemes(true) {
        let w = g.width();
        if used + w + 1 > max {
            break;
        }
        out.push_str(g);
        used += w;
    }
    if max > 0 {
        out.push('…');
    }
    Cow::Owned(out)
}

/// `text` cut at the front to `max` columns: for paths, whose end tells most.
#[must_use]
pub fn cut_front(text: &str, max: usize) -> Cow<'_, str> {
    if text.width() <= max {
        return Cow::Borrowed(text);
    }
    let mut kept: Vec<&str> = Vec::new();
    let mut used = 0;
    for g in text.graphemes(true).rev() {
        let w = g.width();
        if used + w + 1 > max {
            break;
        }
        kept.push(g);
        used += w;
    }
    if max == 0 {
        return Cow::Borrowed("");
    }
    Cow::Owned(std::iter::once("…").chain(kept.into_iter().rev()).collect())
}

/// `text` cut in the middle to `max` columns: for addresses, whose both ends tell.
#[must_use]
pub fn cut_middle(text: &str, max: usize) -> Cow<'_, str> {
    if text.width() <= max {
        return Cow::Borrowed(text);
    }
    if max < 3 {
        return cut_end(text, max);
    }
    let front = cut_end(text, max.div_ceil(2));
    let back_room = max - front.width();
    let back = cut_front(text, back_room + 1);
    Cow::Owned(format!("{front}{}", back.trim_start_matches('…')))
}

/// The text of bytes that are all printable ASCII, which is safe to show as it is.
#[must_use]
pub fn plain(bytes: &[u8]) -> Option<&str> {
    // Without a branch for each byte, so that many are looked at in one instruction.
    let odd = |bytes: &[u8]| bytes.iter().fold(0, |odd, b| odd | u8::from(!matches!(b, b' '..=b'~'))) != 0;
    let (chunks, rest) = bytes.as_chunks::<32>();
    // The end of a longer text is looked at twice rather than byte by byte.
    let rest = bytes.last_chunk::<32>().map_or(rest, |last| last);
    if chunks.iter().any(|chunk| odd(chunk)) || odd(rest) { None } else { str::from_utf8(bytes).ok() }
}

/// Bytes from outside as text that no terminal can be hurt by: C0, DEL, C1, ESC, bidi controls, invisible separators and
/// invalid UTF-8 become visible `\xXX` or `\u{..}` escapes. Nothing else is changed.
#[must_use]
pub fn visible(bytes: &[u8]) -> String {
    // Nearly all text is harmless as it is, and then it is told faster at once than byte by byte.
    if let Some(plain) = plain(bytes) {
        return plain.to_owned();
    }
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            push_visible(&mut out, c);
        }
        for b in chunk.invalid() {
            let _ = write!(out, "\\x{b:02x}");
        }
    }
    out
}

fn push_visible(out: &mut String, c: char) {
    let code = u32::from(c);
    if has_a_sign(c) {
        out.push(c);
    } else if code < 0x80 {
        let _ = write!(out, "\\x{code:02x}");
    } else {
        let _ = write!(out, "\\u{{{code:x}}}");
    }
}

/// JSON that means the same and that no terminal can be hurt by: what has no sign of its own becomes a `\uXXXX` escape
/// (RFC 8259, section 7), which JSON itself asks of C0 alone. Line ends between its parts stay.
#[must_use]
pub fn harmless_json(text: String) -> String {
    if text.bytes().all(|b| matches!(b, b' '..=b'~' | b'\n')) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if c == '\n' || has_a_sign(c) {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

/// Whether a terminal shows `c` as a sign of its own and does nothing else for it.
#[must_use]
pub fn has_a_sign(c: char) -> bool {
    // C0 and C1 controls, Arabic letter mark, zero-width characters and bidi marks, line separators, bidi embeddings and
    // isolates, the byte-order mark, interlinear annotation and tag characters have none.
    !matches!(
        u32::from(c),
        0..0x20
        | 0x7f..0xa0
        | 0x61c
        | 0x200b..=0x200f
        | 0x2028..=0x202e
        | 0x2060..=0x206f
        | 0xfeff
        | 0xfff9..=0xfffb
        | 0xe0000..=0xe007f
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short_and_steady() {
        let s = |n| span(Duration::from_secs(n));
        assert_eq!(s(0), "0s");
        assert_eq!(s(267), "4m 27s");
        assert_eq!(s(8_040), "2h 14m");
        assert_eq!(s(61 * 86_400 + 3 * 3_600), "61d  3h");
        assert!((0..9_000_000).step_by(997).all(|n| s(n).len() <= 7));
        assert!((0..9_000_000).step_by(997).all(|n| span_short(Duration::from_secs(n)).len() <= 4));
        assert_eq!([86_399_999, 86_400_000].map(|n| span_short(Duration::from_secs(n))), ["999d", "2y"]);
        assert_eq!([9_999, 10_000, 61_000].map(|n| millis(Duration::from_millis(n))), ["9999", "10s", "61s"]);
    }

    #[test]
    fn json_keeps_its_meaning_and_loses_its_teeth() {
        let value = serde_json::json!({ "é\u{9b}2J": ["\u{202e}日本\u{e0041}", "\u{7f}\u{1b}\n", "plain"] });
        for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            let harmless = harmless_json(text);
            assert!(harmless.chars().all(|c| c == '\n' || has_a_sign(c)), "{harmless}");
            assert!(harmless.contains("é\\u009b2J") && harmless.contains("\\udb40\\udc41"), "{harmless}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&harmless).unwrap(), value);
        }
    }

    #[test]
    fn numbers_keep_their_width() {
        let cases =
            [(999, "999"), (1_000, "1.0k"), (9_949, "9.9k"), (9_950, "10k"), (999_499, "999k"), (999_500, "1.0M")];
        for (n, text) in cases {
            assert_eq!(scaled(n), text);
        }
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(scaled(u64::MAX), "18E");
    }

    #[test]
    fn spans_are_read_as_nginx_writes_them() {
        assert_eq!(parse_span("1h30m"), Ok(Duration::from_secs(5_400)));
        assert_eq!(parse_span("1h 30m"), Ok(Duration::from_secs(5_400)));
        assert_eq!(parse_span("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_span("15"), Ok(Duration::from_secs(15)));
        for (text, share) in [("99.9%", 0.999), ("99.9", 0.999), ("0.5 %", 0.005), ("0", 0.0), ("100", 1.0)] {
            assert!((parse_percent(text).unwrap() - share).abs() < 1e-9, "{text}");
        }
        // A share, or a percentage?
        for wrong in ["0.999", "1", "x", "101%", "-1%", "NaN", "%"] {
            assert!(parse_percent(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "x", "10q", "-1", "1..5s", "9999999999999999999999d"] {
            assert!(parse_span(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_read_as_they_are_written() {
        for (text, n) in [
            ("0", 0.0),
            ("340", 340.0),
            ("1.2k", 1_200.0),
            ("1M", 1e6),
            ("1MB", 1e6),
            ("64KiB", 65_536.0),
            ("10k/s", 1e4),
            ("2g", 2e9),
        ] {
            assert_eq!(parse_size(text), Ok(n), "{text}");
        }
        for wrong in ["", "k", "1x", "-1", "1e9", "inf", "NaN", "1i", "1..2", "B", "1 M k", "ü"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ellipses_never_exceed_the_room() {
        for text in ["2001:db8::7f:52114", "日本語テキスト", "e\u{301}e\u{301}e\u{301}"] {
            for max in 0..12 {
                assert!(width(&cut_end(text, max)) <= max);
                assert!(width(&cut_front(text, max)) <= max);
                assert!(width(&cut_middle(text, max)) <= max, "{text} {max} {}", cut_middle(text, max));
            }
        }
        assert_eq!(cut_middle("2001:db8::7f:52114", 9), "2001…2114");
        assert_eq!(cut_front("/etc/nginx/conf.d/chat.conf", 12), "…d/chat.conf");
    }

    #[test]
    fn hostile_bytes_become_visible() {
        assert_eq!(visible(b"a\x1b[2Jb\xff\x00"), "a\\x1b[2Jb\\xff\\x00");
        assert_eq!(visible("\u{202e}evil\u{9b}".as_bytes()), "\\u{202e}evil\\u{9b}");
        assert_eq!(visible("größe 日本".as_bytes()), "größe 日本");
    }
}
