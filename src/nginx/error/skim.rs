//! The few parts of an error-log line that a count needs, for folding gigabytes: the same grammar as [`super::parse`],
//! with a short way through ordinary lines. What the short way does not know for certain goes the long way.

use memchr::memchr;

use super::{Tail, context};
use crate::event::log::{Level, request_path};
use crate::nginx::frame;

/// The head of a line and what stands behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// The 19 bytes `YYYY/MM/DD HH:MM:SS`.
    pub time: &'a [u8],
    /// The level in brackets.
    pub level: Level,
    /// The rest of the line behind process and connection number.
    pub text: &'a [u8],
}

/// A message without its context, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suffixes<'a> {
    /// The message without errno, TLS error and action.
    pub message: &'a [u8],
    /// The number in ` (NUM: text)`.
    pub errno: Option<u32>,
    /// The text inside ` (SSL: ...)`.
    pub ssl: Option<&'a [u8]>,
    /// The phrase after ` while `.
    pub action: Option<&'a [u8]>,
}

/// Who was talking: the fields of a context that are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Talkers<'a> {
    /// The client's address.
    pub client: Option<&'a [u8]>,
    /// The same as [`dotted`] packs it, where it can be.
    pub packed: Option<u64>,
    /// The request line. Attacker-controlled.
    pub request: Option<&'a [u8]>,
    /// The peer in the upstream URL.
    pub peer: Option<&'a [u8]>,
}

/// Reads the head of a line, behind syslog framing if there is one. `None`: the line has no head of its own.
#[must_use]
pub fn head(line: &[u8]) -> Option<Head<'_>> {
    let (head, text) = super::head(line).or_else(|| super::head(frame::strip(line)?))?;
    Some(Head { time: head.time, level: head.level, text })
}

/// The level, and the text behind process and connection number, of what stands behind a time that is known to be one.
/// `None`: ask [`head`] about the whole line.
#[must_use]
#[inline]
pub fn behind_time(rest: &[u8]) -> Option<(Level, &[u8])> {
    let (level, rest) = level(rest)?;
    let rest = past_digits::<9>(rest)?.strip_prefix(b"#")?;
    let rest = past_digits::<19>(rest)?.strip_prefix(b": ")?;
    match rest.strip_prefix(b"*") {
        Some(numbered) => Some((level, past_digits::<19>(numbered)?.strip_prefix(b" ")?)),
        None => Some((level, rest)),
    }
}

#[inline]
fn level(rest: &[u8]) -> Option<(Level, &[u8])> {
    let (begin, behind) = rest.split_first_chunk::<7>()?;
    match begin {
        b" [error" => Some((Level::Error, behind.strip_prefix(b"] ")?)),
        b" [info]" => Some((Level::Info, behind.strip_prefix(b" ")?)),
        b" [warn]" => Some((Level::Warn, behind.strip_prefix(b" ")?)),
        b" [crit]" => Some((Level::Crit, behind.strip_prefix(b" ")?)),
        b" [notic" => Some((Level::Notice, behind.strip_prefix(b"e] ")?)),
        b" [alert" => Some((Level::Alert, behind.strip_prefix(b"] ")?)),
        b" [debug" => Some((Level::Debug, behind.strip_prefix(b"] ")?)),
        b" [emerg" => Some((Level::Emerg, behind.strip_prefix(b"] ")?)),
        _ => None,
    }
}

/// The text behind one to `MOST` digits.
#[inline]
fn past_digits<const MOST: usize>(text: &[u8]) -> Option<&[u8]> {
    let digits = match text.first_chunk::<8>().map(|eight| leading_digits(*eight)) {
        Some(few @ 0..8) => few,
        _ => text.iter().position(|b| !b.is_ascii_digit())?,
    };
    if digits == 0 || digits > MOST { None } else { text.get(digits..) }
}

/// How many of eight bytes are digits before the first that is none, without a branch for each.
#[inline]
fn leading_digits(eight: [u8; 8]) -> usize {
    (non_digits(eight).trailing_zeros() / 8) as usize
}

/// How many of the first 16 bytes of `text` look like an IPv4 address, digits and points, and those bytes packed into
/// four bits each: the same number only for the same text. `None`: it goes on or does not begin so.
#[must_use]
#[inline]
pub fn dotted(text: &[u8]) -> Option<(u64, usize)> {
    let mut copy;
    let sixteen = if let Some(sixteen) = text.first_chunk::<16>() {
        sixteen
    } else {
        copy = [0; 16];
        copy.get_mut(..text.len())?.copy_from_slice(text);
        &copy
    };
    let (low, high) = (sixteen.first_chunk()?, sixteen.last_chunk()?);
    let length = match non_dotted(*low) {
        0 => 8 + non_dotted(*high).trailing_zeros() / 8,
        others => others.trailing_zeros() / 8,
    };
    if !(1..16).contains(&length) {
        return None;
    }
    let packed = nibbles(*low) | nibbles(*high) << 32;
    // Behind the text stand the bits of a byte that no address has, so that its length is told too.
    let end = length * 4;
    Some((packed & ((1 << end) - 1) | 0xf << end, length as usize))
}

/// The text that [`dotted`] packed.
#[must_use]
pub fn undotted(packed: u64) -> String {
    let digit = |n: u32| char::from_digit(u32::try_from(packed >> (4 * n) & 0xf).unwrap_or(0xf), 16);
    (0..16).map_while(digit).take_while(|c| *c != 'f').map(|c| if c == 'e' { '.' } else { c }).collect()
}

/// The high bit of each byte that is neither a digit nor a point, up to the first such.
#[inline]
const fn non_dotted(eight: [u8; 8]) -> u64 {
    let bytes = u64::from_le_bytes(eight);
    let low = bytes & !HIGH;
    // Sums of seven bits reach no other byte: from `.` on, and not from behind `9` on, but for the `/` between.
    let inside = (low + ONES * (0x80 - 0x2e)) & !(low + ONES * (0x80 - 0x3a)) & !bytes;
    let slash = bytes ^ (ONES * 0x2f);
    (!inside | (slash.wrapping_sub(ONES) & !slash)) & HIGH
}

/// The lower four bits of eight bytes side by side.
#[inline]
const fn nibbles(eight: [u8; 8]) -> u64 {
    let n = u64::from_le_bytes(eight) & (ONES * 0x0f);
    let n = (n | n >> 4) & 0x00ff_00ff_00ff_00ff;
    let n = (n | n >> 8) & 0x0000_ffff_0000_ffff;
    (n | n >> 16) & 0xffff_ffff
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = ONES * 0x80;

/// The high bit of each byte that is no digit, up to the first that is none; bits above that one mean nothing.
#[inline]
const fn non_digits(eight: [u8; 8]) -> u64 {
    // A digit becomes 0 to 9. Adding 0x76 to seven bits sets the high bit of all others, and reaches no other byte.
    let low = u64::from_le_bytes(eight) ^ (ONES * 0x30);
    (((low & !HIGH) + ONES * 0x76) | low) & HIGH
}

/// Where the first of some bytes stands in `text`. Eight bytes at a time: for the short texts of a log line a call of a
/// vectorised search costs more than it saves.
#[inline]
fn position_of<const N: usize>(text: &[u8], any: [u8; N]) -> Option<usize> {
    let (eights, rest) = text.as_chunks::<8>();
    for (n, eight) in eights.iter().enumerate() {
        let found = any.iter().fold(0, |found, byte| {
            // The lowest zero byte is found for certain (those above it may be false).
            let zero = u64::from_le_bytes(*eight) ^ (ONES * u64::from(*byte));
            found | (zero.wrapping_sub(ONES) & !zero & HIGH)
        });
        if found != 0 {
            return Some(n * 8 + (found.trailing_zeros() / 8) as usize);
        }
    }
    rest.iter().position(|b| any.contains(b)).map(|at| eights.len() * 8 + at)
}

/// The same for an address that is all of `text`.
#[must_use]
#[inline]
pub fn whole_dotted(text: &[u8]) -> Option<u64> {
    dotted(text).filter(|(_, length)| *length == text.len()).map(|(packed, _)| packed)
}

/// The message with its suffixes, and the context behind it.
#[must_use]
pub fn parts(level: Level, text: &[u8]) -> (&[u8], Option<&[u8]>) {
    if level == Level::Debug { (text, None) } else { context::split(text) }
}

/// Whether what stands behind a message begins with a context and holds no second one, so that no quoted text in the
/// message can be taken for it.
#[must_use]
pub fn is_uncontested(behind_message: &[u8]) -> bool {
    behind_message.get(1..).is_some_and(|rest| !context::is_mentioned(rest))
}

/// Takes errno, TLS error and action off a message that [`parts`] gave.
#[must_use]
pub fn suffixes(body: &[u8]) -> Suffixes<'_> {
    let Tail { message, ssl, errno, action, .. } = Tail::of(body);
    Suffixes { message, errno, ssl, action }
}

/// Reads the context that [`parts`] gave; `action` is that of its message.
#[must_use]
pub fn talkers<'a>(context: &'a [u8], action: Option<&[u8]>) -> Talkers<'a> {
    let fields = context::parse(context, action);
    let packed = fields.client.and_then(whole_dotted);
    Talkers { client: fields.client, packed, request: fields.request, peer: fields.upstream.map(peer) }
}

/// The same for what stands behind a message that holds no quote, when the line is an ordinary one: an address, a server,
/// and then a request line of HTTP/1 with the fields that may follow it. `None`: go the long way. Not for lines that were
/// written while the request line was being read.
#[must_use]
#[inline]
pub fn ordinary_talkers(behind_message: &[u8]) -> Option<Talkers<'_>> {
    let rest = behind_message.strip_prefix(b", client: ")?;
    let (packed, length) = dotted(rest)?;
    let (client, rest) = rest.split_at_checked(length)?;
    let (client, packed) = (Some(client), Some(packed));
    let rest = rest.strip_prefix(b", server: ")?;
    let Some(comma) = position_of(rest, [b',']) else {
        return Some(Talkers { client, packed, ..Talkers::default() });
    };
    let text = rest.get(comma..)?.strip_prefix(b", request: \"")?;
    let (request, rest) = text.split_at_checked(position_of(text, [b'"'])?)?;
    if !request.ends_with(b" HTTP/1.1") && !request.ends_with(b" HTTP/1.0") {
        return None;
    }
    let rest = rest.get(1..)?;
    let peer = match rest.strip_prefix(b", upstream: \"") {
        Some(url) => Some(ordinary_peer(url)?),
        None if rest.is_empty() || rest.starts_with(b", host: \"") => None,
        None => return None,
    };
    Some(Talkers { client, packed, request: Some(request), peer })
}

/// The peer of an HTTP URL with a path: it is the same however the URL goes on.
#[inline]
fn ordinary_peer(url: &[u8]) -> Option<&[u8]> {
    let rest = url.strip_prefix(b"http://").or_else(|| url.strip_prefix(b"https://"))?;
    let end = position_of(rest, *b"/\"")?;
    let peer = rest.get(..end)?;
    (rest.get(end) == Some(&b'/') && !peer.starts_with(b"unix:")).then_some(peer)
}

/// The peer part of an upstream URL, as `ErrorEntry::peer` tells it.
#[must_use]
pub fn peer(url: &[u8]) -> &[u8] {
    let rest = memchr::memmem::find(url, b"://").and_then(|at| url.get(at + 3..)).unwrap_or(url);
    let (rest, end) = rest.strip_prefix(b"unix:").map_or((rest, b'/'), |path| (path, b':'));
    memchr(end, rest).and_then(|at| rest.get(..at)).unwrap_or(rest)
}

/// The path in a request line `GET /ws?x=1 HTTP/1.1`, as `request_path` of the event data tells it.
#[must_use]
#[inline]
pub fn path(request: &[u8]) -> Option<&[u8]> {
    match request.strip_prefix(b"GET ") {
        Some(target) if target.first() == Some(&b'/') => Some(without_arguments(target)),
        _ => any_path(request),
    }
}

/// The same of a request line that is none of the usual kind. Up to its first byte that is no ASCII it is text.
fn any_path(request: &[u8]) -> Option<&[u8]> {
    let space = memchr(b' ', request)?;
    let (method, rest) = request.split_at_checked(space + 1)?;
    if rest.first() == Some(&b'/') {
        let of_method = |b: &u8| b.is_ascii_uppercase() || matches!(b, b'_' | b'-');
        let method = method.get(..space).filter(|m| !m.is_empty() && m.iter().all(of_method));
        return method.map(|_| without_arguments(rest));
    }
    let end = memchr(b' ', rest).map_or(request.len(), |at| space + 1 + at);
    let told = request_path(std::str::from_utf8(request.get(..end)?).ok()?)?;
    Some(told.as_bytes())
}

/// A request target up to its arguments, and up to a space.
#[must_use]
#[inline]
pub fn without_arguments(target: &[u8]) -> &[u8] {
    let end = position_of(target, *b"?# ").unwrap_or(target.len());
    target.get(..end).unwrap_or(target)
}

/// A line that begins like an entry, `2026/11/21 14`, but is none continues nothing.
#[must_use]
pub fn has_date(line: &[u8]) -> bool {
    let is = |at: usize, c: u8| line.get(at) == Some(&c);
    let digits = |from: usize, to: usize| line.get(from..to).is_some_and(|d| d.iter().all(u8::is_ascii_digit));
    digits(0, 4) && is(4, b'/') && digits(5, 7) && is(7, b'/') && digits(8, 10) && is(10, b' ') && digits(11, 13)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nginx::error::parse;
    use proptest::prelude::*;

    /// What the short way says must be what the long way says.
    fn agrees(line: &[u8]) {
        let whole = parse(line);
        let skimmed = head(line);
        assert_eq!(whole.as_ref().map(|l| (l.time, l.level)), skimmed.map(|h| (h.time, h.level)));
        let (Some(whole), Some(skimmed)) = (whole, skimmed) else { return };
        if let Some((level, text)) = line.get(19..).filter(|_| line.starts_with(skimmed.time)).and_then(behind_time) {
            assert_eq!((level, text), (skimmed.level, skimmed.text));
        }
        let (body, context) = parts(skimmed.level, skimmed.text);
        if whole.level == Level::Debug {
            return;
        }
        let ends = suffixes(body);
        assert_eq!((ends.message, ends.errno, ends.ssl), (whole.message, whole.errno, whole.ssl));
        assert_eq!(ends.action, whole.action);
        let long = context.map(|c| talkers(c, ends.action)).unwrap_or_default();
        assert_eq!((long.client, long.request), (whole.client, whole.request));
        assert_eq!(long.peer, whole.upstream.map(peer));
        let while_reading = ends.action.is_some_and(|a| a.starts_with(b"reading client"));
        let behind = &skimmed.text[body.len()..];
        let told = !while_reading && (!body.contains(&b'"') || is_uncontested(behind));
        if let Some(short) = ordinary_talkers(behind).filter(|_| told) {
            assert_eq!(short, long);
        }
    }

    #[test]
    fn an_ordinary_line_goes_the_short_way() {
        let line = b"2026/11/21 02:02:31 [error] 7#8: *42 recv() failed (104: x) while proxying upgraded connection, \
            client: 192.0.2.1, server: a.test, request: \"GET /ws?a=1 HTTP/1.1\", upstream: \"http://10.0.0.7:80/ws\", host: \"a\"";
        let (level, text) = behind_time(&line[19..]).unwrap();
        let (body, _) = parts(level, text);
        let short = ordinary_talkers(&text[body.len()..]).unwrap();
        assert_eq!((short.client, short.peer), (Some(&b"192.0.2.1"[..]), Some(&b"10.0.0.7:80"[..])));
        assert_eq!(path(short.request.unwrap()), Some(&b"/ws"[..]));
        agrees(line);
    }

    #[test]
    fn only_a_method_and_a_target_give_a_path() {
        for request in [
            "GET /ws?x=1 HTTP/1.1",
            "POST /ws HTTP/1.1",
            "get /ws HTTP/1.1",
            " /ws",
            "GET http://a.test:81/ws?x HTTP/1.1",
            "GET http://a.test",
            "PROXY TCP4 192.0.2.1 192.0.2.2 51992 443",
            "OPTIONS * HTTP/1.1",
            "GET ",
            "",
        ] {
            assert_eq!(path(request.as_bytes()), request_path(request).map(str::as_bytes), "{request}");
        }
        assert_eq!(path(b"PROXY TCP4 192.0.2.1 192.0.2.2 51992 443"), None);
        assert_eq!(path(b"GET /\xff?x"), Some(&b"/\xff"[..]));
        assert_eq!(path(b"\xff /x"), None);
    }

    #[test]
    fn both_ways_agree_on_the_logs_of_a_real_nginx() {
        let mut lines = 0;
        for file in std::fs::read_dir("tests/data/logs").unwrap().map(|e| e.unwrap().path()) {
            if file.to_string_lossy().contains(".error") {
                for line in std::fs::read(file).unwrap().split(|b| *b == b'\n') {
                    agrees(line);
                    lines += 1;
                }
            }
        }
        assert!(lines > 200);
    }

    proptest! {
        #[test]
        fn digits_are_counted_in_any_eight_bytes(eight in prop::array::uniform8(prop_oneof![any::<u8>(), b'0'..=b'9'])) {
            let counted = eight.iter().take_while(|b| b.is_ascii_digit()).count();
            prop_assert_eq!(leading_digits(eight), counted);
        }

        #[test]
        fn a_byte_is_found_where_it_stands(text in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'/'), Just(b'.')], 0..30)) {
            prop_assert_eq!(position_of(&text, *b"/?#"), text.iter().position(|b| b"/?#".contains(b)));
        }

        #[test]
        fn an_address_is_packed_and_unpacked(text in "[0-9.]{0,17}[/:,x]?[0-9]{0,3}") {
            let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
            for shown in [text.clone(), format!("{text},                      ")] {
                let packed = dotted(shown.as_bytes());
                prop_assert_eq!(packed.map(|p| p.1), Some(end).filter(|e| (1..16).contains(e)), "{}", shown);
                if let Some((packed, _)) = packed {
                    prop_assert_eq!(undotted(packed), &text[..end]);
                }
            }
        }

        /// Lines put together from the words of the grammar in any order, cut anywhere.
        #[test]
        fn both_ways_agree_on_hostile_lines(
            words in prop::collection::vec(prop::sample::select(vec![
                "upstream timed out", " (110: Connection timed out)", " while connecting to upstream",
                " while reading client request line", ", client: 10.0.0.1", ", client: ::1", ", client: ", ", server: a",
                ", server: ", ", request: \"GET /ws HTTP/1.1\"", ", request: \"GET /a b HTTP/2.0\"", ", request: \"GET /",
                ", subrequest: \"/auth\"", ", upstream: \"http://10.0.0.7:80/ws\"", ", upstream: \"unix:/s:/x\"",
                ", upstream: \"http://a\"", ", host: \"h\"", ", referrer: \"r\"", "\"", " HTTP/1.1\"", "%22, upstream: %22",
                "client sent \"", ",", " ", "x", "(SSL:", "[", "*1 ", "1#1: ", "[info] ",
            ]), 0..14),
            cut in 0_usize..400,
        ) {
            let line = format!("2026/11/21 02:02:31 [error] 7#8: *42 {}", words.concat());
            agrees(&line.as_bytes()[..line.len().min(cut.max(30))]);
        }

        #[test]
        fn both_ways_agree_on_any_bytes(tail in prop::collection::vec(any::<u8>(), 0..80), keep in 0_usize..60) {
            let mut line = b"2026/11/21 02:02:31 [error] 7#8: *42 send() failed, client: 1.1.1.1, server: ".to_vec();
            line.truncate(keep.max(3));
            line.extend(tail);
            agrees(&line);
        }
    }
}
