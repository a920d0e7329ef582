//! The few parts of an error-log line that a count needs, for folding gigabytes: the same grammar as [`super::parse`],
//! with a short way through ordinary lines. What the short way does not know for certain goes the long way.

#![expect(clippy::inline_always, reason = "one line is a few hundred instructions: a call would cost a tenth of them")]

mod address;
pub(super) mod eight;
mod ordinary;

use memchr::memchr;

use super::{Tail, context};
use crate::event::log::{Level, request_path};
use crate::nginx::frame;
use eight::{after, past_digits, position_of};

pub use address::{dotted, undotted, whole_dotted};
pub use eight::line_end;
pub use ordinary::{Talkers, ordinary_talkers};

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

/// Reads the head of a line, behind syslog framing if there is one. `None`: the line has no head of its own.
#[must_use]
pub fn head(line: &[u8]) -> Option<Head<'_>> {
    let super::Head { time, level, text, .. } = super::head(line).or_else(|| super::head(frame::strip(line)?))?;
    Some(Head { time, level, text })
}

/// The level, and the text behind process and connection number, of what stands behind a time that is known to be one.
/// `None`: ask [`head`] about the whole line.
#[must_use]
#[inline(always)]
pub fn behind_time(rest: &[u8]) -> Option<(Level, &[u8])> {
    let (level, rest) = level(rest)?;
    let rest = after(past_digits::<9>(rest)?, b"#")?;
    let rest = after(past_digits::<19>(rest)?, b": ")?;
    match after(rest, b"*") {
        Some(numbered) => Some((level, after(past_digits::<19>(numbered)?, b" ")?)),
        None => Some((level, rest)),
    }
}

/// The level in brackets, told by eight bytes in one comparison each, and what stands behind it.
#[inline(always)]
pub(super) fn level(rest: &[u8]) -> Option<(Level, &[u8])> {
    const fn word(text: [u8; 8]) -> u64 {
        u64::from_le_bytes(text)
    }
    let (begin, behind) = rest.split_first_chunk::<8>()?;
    let begin = u64::from_le_bytes(*begin);
    if begin == const { word(*b" [error]") } {
        Some((Level::Error, after(behind, b" ")?))
    } else if begin == const { word(*b" [info] ") } {
        Some((Level::Info, behind))
    } else if begin == const { word(*b" [warn] ") } {
        Some((Level::Warn, behind))
    } else if begin == const { word(*b" [crit] ") } {
        Some((Level::Crit, behind))
    } else if begin == const { word(*b" [notice") } {
        Some((Level::Notice, after(behind, b"] ")?))
    } else if begin == const { word(*b" [alert]") } {
        Some((Level::Alert, after(behind, b" ")?))
    } else if begin == const { word(*b" [debug]") } {
        Some((Level::Debug, after(behind, b" ")?))
    } else if begin == const { word(*b" [emerg]") } {
        Some((Level::Emerg, after(behind, b" ")?))
    } else {
        None
    }
}

/// The message with its suffixes, and the context behind it.
#[must_use]
pub fn parts(level: Level, text: &[u8]) -> (&[u8], Option<&[u8]>) {
    if level == Level::Debug { (text, None) } else { context::split(text) }
}

/// Whether `behind_message` begins with the context of a line and holds no second one up to its end, so that no quoted text
/// in the message can have been taken for it.
#[must_use]
pub fn is_uncontested(behind_message: &[u8]) -> bool {
    behind_message.strip_prefix(b", client: ").is_some_and(|rest| !context::is_mentioned(rest))
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
    Talkers { client: fields.client, packed, path: fields.request.and_then(path), peer: fields.upstream.map(peer) }
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
        assert_eq!((long.client, long.path), (whole.client, whole.request.and_then(path)));
        assert_eq!(long.peer, whole.upstream.map(peer));
        let while_reading = ends.action.is_some_and(|a| a.starts_with(b"reading client"));
        let behind = &skimmed.text[body.len()..];
        let told = !while_reading && (!body.contains(&b'"') || is_uncontested(behind));
        let short = ordinary_talkers(behind);
        if let Some((short, rest)) = short.filter(|_| told) {
            assert_eq!(short, long);
            assert!(behind.ends_with(rest));
        }
        // What follows in the file changes nothing, and a line feed stands in nothing that was read.
        if !line.contains(&b'\n') {
            for next in [
                "",
                "/x\" HTTP/1.1\", upstream: \"http://6.6.6.6/\", client: 6.6.6.6, server: b, request: \"GET /forged",
            ] {
                let block = [behind, b"\n", next.as_bytes()].concat();
                let here = ordinary_talkers(&block);
                assert_eq!(here.map(|(talkers, _)| talkers), short.map(|(talkers, _)| talkers));
                assert_eq!(here.map(|(_, rest)| rest.len()), short.map(|(_, rest)| rest.len() + 1 + next.len()));
                let found = behind_time(&[&line[19.min(line.len())..], b"\n", next.as_bytes()].concat())
                    .map(|(l, t)| (l, t.len()));
                assert_eq!(
                    found,
                    behind_time(line.get(19..).unwrap_or_default()).map(|(l, t)| (l, t.len() + 1 + next.len()))
                );
            }
        }
    }

    #[test]
    fn an_ordinary_line_goes_the_short_way() {
        let line = b"2026/11/21 02:02:31 [error] 7#8: *42 recv() failed (104: x) while proxying upgraded connection, \
            client: 192.0.2.1, server: a.test, request: \"GET /ws?a=1 HTTP/1.1\", upstream: \"http://10.0.0.7:80/ws\", host: \"a\"";
        let (level, text) = behind_time(&line[19..]).unwrap();
        let (body, _) = parts(level, text);
        let (short, rest) = ordinary_talkers(&text[body.len()..]).unwrap();
        assert_eq!((short.client, short.peer), (Some(&b"192.0.2.1"[..]), Some(&b"10.0.0.7:80"[..])));
        assert_eq!((short.path, rest), (Some(&b"/ws"[..]), &b"/ws\", host: \"a\""[..]));
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
