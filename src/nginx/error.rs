//! One line of an error log turned into its fields.
//!
//! The grammar is nginx's core/ngx_log.c (`ngx_log_error_core`) and the log handlers of its http, stream and mail
//! modules. Nothing in a line is escaped: see `context` for how forged fields are kept out.

pub mod bodies;
mod context;
pub mod marks;
mod shown;
pub mod skim;

use std::sync::LazyLock;

use chrono::{NaiveDate, NaiveDateTime};
use memchr::memmem::Finder;
use memchr::{memchr, memrchr};

use crate::event::log::{Category, ErrorEntry, ErrorLine, Level};
use crate::nginx::category::{self, action};
use crate::nginx::frame;
use crate::time::{Moments, Timestamp, Zone};
use shown::Shown;

/// The longest line that nginx writes, without its line feed (NGX_MAX_ERROR_STR in core/ngx_log.h is 2048 with it).
const LONGEST: usize = 2047;

static WHILE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b" while "));
static SSL: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b" (SSL:"));

/// Reads one line without its line feed. `None`: the line has no head of its own and continues the entry before it.
/// What a carrier such as syslog put in front of the head is passed over.
#[must_use]
pub fn parse(line: &[u8]) -> Option<ErrorLine<'_>> {
    parse_by(line, |_, body| Tail::of(body))
}

/// The same where the text between head and context is taken apart by `tail`.
fn parse_by<'a>(line: &'a [u8], tail: impl FnOnce(Level, &'a [u8]) -> Tail<'a>) -> Option<ErrorLine<'a>> {
    let Head { time, level, pid, connection, text } = head(line).or_else(|| head(frame::strip(line)?))?;
    // The handlers that add action and context are not called for debug lines (core/ngx_log.c).
    let is_debug = level == Level::Debug;
    let (body, fields) = if is_debug { (text, None) } else { context::split(text) };
    let Tail { message, ssl, errno, action, server } = if is_debug { Tail::of_debug(body) } else { tail(level, body) };
    let fields = fields.map(|f| context::parse(f, action));
    let server = fields.as_ref().map_or(server, |f| f.server);
    let fields = fields.unwrap_or_default();
    Some(ErrorLine {
        time,
        level,
        pid,
        connection,
        message,
        errno,
        ssl,
        action,
        client: fields.client,
        server,
        request: fields.request,
        subrequest: fields.subrequest,
        upstream: fields.upstream,
        host: fields.host,
        referrer: fields.referrer,
        truncated: fields.truncated || (!is_debug && line.len() == LONGEST),
    })
}

/// What every line begins with, and the rest of it.
struct Head<'a> {
    time: &'a [u8],
    level: Level,
    pid: u32,
    connection: Option<u64>,
    text: &'a [u8],
}

/// `YYYY/MM/DD HH:MM:SS [level] pid#tid: [*connection ]` and the rest of the line.
fn head(line: &[u8]) -> Option<Head<'_>> {
    // A log that was truncated under nginx's open descriptor begins with a hole that reads as zeros.
    let hole = line.iter().take_while(|&&b| b == 0).count();
    let (time, rest) = line.get(hole..)?.split_at_checked(19)?;
    if !is_time(time) {
        return None;
    }
    let (level, rest) = skim::level(rest)?;
    let (pid, rest) = number(rest)?;
    let (_thread, rest) = number(rest.strip_prefix(b"#")?)?;
    let rest = rest.strip_prefix(b":")?;
    let rest = rest.strip_prefix(b" ").unwrap_or(rest);
    let numbered = rest.strip_prefix(b"*").and_then(number).and_then(|(n, r)| Some((n, r.strip_prefix(b" ")?)));
    let (connection, text) = numbered.map_or((None, rest), |(n, r)| (Some(n), r));
    Some(Head { time, level, pid: u32::try_from(pid).ok()?, connection, text })
}

/// The shape of a timestamp; whether there is such a day is for [`TimeCache`] to say.
fn is_time(text: &[u8]) -> bool {
    const SHAPE: &[u8; 19] = b"0000/00/00 00:00:00";
    let odd = |(b, s): (&u8, &u8)| if *s == b'0' { !b.is_ascii_digit() } else { b != s };
    // Without a branch for each byte, as in `plain`.
    text.len() == SHAPE.len() && !text.iter().zip(SHAPE).fold(false, |found, pair| found | odd(pair))
}

/// The decimal number at the beginning of `text`, of at most 19 digits, and the rest.
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let (mut n, mut rest) = (0, text);
    while let Some((digit @ b'0'..=b'9', behind)) = rest.split_first() {
        if text.len() - rest.len() == 19 {
            return None;
        }
        (n, rest) = (n * 10 + u64::from(digit - b'0'), behind);
    }
    (rest.len() < text.len()).then_some((n, rest))
}

/// What stands between the head and the context.
#[derive(Clone, Copy)]
struct Tail<'a> {
    message: &'a [u8],
    ssl: Option<&'a [u8]>,
    errno: Option<u32>,
    action: Option<&'a [u8]>,
    server: Option<&'a [u8]>,
}

impl<'a> Tail<'a> {
    fn of(body: &'a [u8]) -> Self {
        let (body, action, server) = take_action(body);
        let (body, errno) = take_errno(body);
        let (message, ssl) = take_ssl(body);
        Self { message, ssl, errno, action, server }
    }

    fn of_debug(body: &'a [u8]) -> Self {
        let (message, errno) = take_errno(body);
        Self { message, ssl: None, errno, action: None, server: None }
    }
}

/// Takes ` while PHRASE` off the end, if nginx knows the phrase. Lines without a client may go on behind it: with
/// `, resolver: ADDR` (core/ngx_resolver.c), `, server: ADDR` (core/ngx_syslog.c) or `, responder: ..`
/// (event/ngx_event_openssl_stapling.c).
fn take_action(body: &[u8]) -> (&[u8], Option<&[u8]>, Option<&[u8]>) {
    // The longest phrase with the longest path of a unix socket behind it stays below this.
    let window = body.len().saturating_sub(512);
    let Some(at) = WHILE.find_iter(&body[window..]).last() else { return (body, None, None) };
    let (message, phrase) = body.split_at(window + at);
    let phrase = &phrase[WHILE.needle().len()..];
    if action::find(phrase).is_some() {
        return (message, Some(phrase), None);
    }
    let Some(comma) = memchr(b',', phrase) else { return (body, None, None) };
    let (phrase, rest) = phrase.split_at(comma);
    match phrase {
        b"resolving" | b"requesting certificate status" => (message, Some(phrase), None),
        b"logging to syslog" => (message, Some(phrase), rest.strip_prefix(b", server: ")),
        _ => (body, None, None),
    }
}

/// Takes ` (NUM: text)` off the end. The codes of a name server (core/ngx_resolver.c) and of an OCSP responder
/// (event/ngx_event_openssl_stapling.c) have that form too: they stay in the message.
fn take_errno(body: &[u8]) -> (&[u8], Option<u32>) {
    let none = (body, None);
    let Some(inner) = body.strip_suffix(b")") else { return none };
    let Some(open) = memrchr(b'(', inner) else { return none };
    let (message, code) = inner.split_at(open);
    let Some(message) = message.strip_suffix(b" ") else { return none };
    let Some((code, text)) = number(&code[1..]) else { return none };
    let foreign = message.ends_with(b"could not be resolved") || message.ends_with(b"OCSP response not successful");
    if foreign || !text.starts_with(b": ") {
        return none;
    }
    u32::try_from(code).map_or(none, |code| (message, Some(code)))
}

/// Takes ` (SSL: text)` or ` (SSL:)` off the end.
fn take_ssl(body: &[u8]) -> (&[u8], Option<&[u8]>) {
    let Some(inner) = body.strip_suffix(b")") else { return (body, None) };
    let Some(at) = SSL.find(inner) else { return (body, None) };
    let (message, text) = inner.split_at(at);
    let text = &text[SSL.needle().len()..];
    (message, Some(text.strip_prefix(b" ").unwrap_or(text)))
}

/// A line of nginx's standard error before there is a log, `nginx: [emerg] message` (core/ngx_log.c).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleLine<'a> {
    /// The level in brackets.
    pub level: Level,
    /// The message without errno; a configuration error ends in ` in FILE:LINE`.
    pub message: &'a [u8],
    /// The number in ` (NUM: text)`.
    pub errno: Option<u32>,
}

/// Reads `nginx: [level] message`; `None` for every other line.
#[must_use]
pub fn parse_console(line: &[u8]) -> Option<ConsoleLine<'_>> {
    let rest = line.strip_prefix(b"nginx: [")?;
    let (word, rest) = rest.split_at_checked(memchr(b']', rest.get(..7).unwrap_or(rest))?)?;
    let level = Level::from_word(word)?;
    let tail = Tail::of(rest.strip_prefix(b"] ")?);
    Some(ConsoleLine { level, message: tail.message, errno: tail.errno })
}

/// The entry of a line: hostile bytes made visible, the category decided. `raw` is the whole line, `at` the moment of its
/// time (see [`TimeCache`]).
#[must_use]
pub fn entry(line: &ErrorLine<'_>, raw: &[u8], at: Timestamp) -> ErrorEntry {
    let category = category::classify(line.level, line.message, line.errno, line.action);
    entry_of_category(line, raw, at, category)
}

/// The same with a category that the caller remembers from an equal message.
#[must_use]
pub fn entry_of_category(line: &ErrorLine<'_>, raw: &[u8], at: Timestamp, category: Category) -> ErrorEntry {
    let shown = Shown::of(raw);
    let safe = |field| shown.field(field);
    ErrorEntry {
        at,
        level: line.level,
        category,
        pid: line.pid,
        connection: line.connection,
        message: safe(line.message),
        errno: line.errno,
        ssl: line.ssl.map(safe),
        action: line.action.map(safe),
        client: line.client.map(safe),
        server: line.server.map(safe),
        request: line.request.map(safe),
        subrequest: line.subrequest.map(safe),
        upstream: line.upstream.map(safe),
        host: line.host.map(safe),
        raw: shown.whole(),
    }
}

/// Turns the wall-clock reading of lines into moments and remembers the last minute: lines come in order, and a time zone
/// never changes its offset within a minute. In the hour that a zone repeats in autumn the order of the lines tells which
/// of the two is meant (see [`Moments::after`]).
#[derive(Clone, Debug, Default)]
pub struct TimeCache {
    zone: Zone,
    minute: [u8; 16],
    start: Option<Moments>,
    last: Option<Timestamp>,
    /// What the last moment was read from: many lines are written in one second.
    text: Option<[u8; 19]>,
}

impl TimeCache {
    /// A cache for a log in this machine's zone.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A cache for a log in `zone`.
    #[must_use]
    pub fn in_zone(zone: Zone) -> Self {
        Self { zone, ..Self::default() }
    }

    /// Says that the next line stands behind one of `last`: for a reader that begins in the middle of a log.
    pub fn resume_after(&mut self, last: Timestamp) {
        self.last = Some(last);
        self.text = None;
    }

    /// The moment of `YYYY/MM/DD HH:MM:SS` in the log's zone; `None` when there is no such day or hour.
    pub fn at(&mut self, time: &[u8]) -> Option<Timestamp> {
        let text = <&[u8; 19]>::try_from(time).ok()?;
        // Behind a line of a moment another one of the same reading means the same moment.
        if self.text.as_ref() == Some(text) {
            return self.last;
        }
        let (minute, seconds) = time.split_first_chunk::<16>()?;
        if !is_time(time) {
            return None;
        }
        let (seconds, _) = number(seconds.strip_prefix(b":")?)?;
        if *minute != self.minute || self.start.is_none() {
            self.start = Some(start_of_minute(minute, self.zone)?);
            self.minute = *minute;
        }
        // 60 is a leap second.
        (seconds <= 60).then_some(())?;
        let at = self.start?.plus(std::time::Duration::from_secs(seconds)).after(self.last);
        (self.last, self.text) = (Some(at), Some(*text));
        Some(at)
    }

    /// Whether a clock in the log's zone showed this `YYYY/MM/DD HH:MM:SS` twice, so that [`TimeCache::at`] depends on the
    /// line before.
    #[must_use]
    pub fn is_repeated(&self, time: &[u8]) -> bool {
        let minute = time.first_chunk::<16>().filter(|_| is_time(time)).and_then(wall_of_minute);
        minute.is_some_and(|wall| matches!(self.zone.moments(wall), Moments::Twice(..)))
    }

    /// A moment that is not before that of a line of this time, wherever it stands, and grows from line to line as the log
    /// does: of a time that the clock showed twice, the end of the hours in question.
    #[must_use]
    pub fn at_latest(&self, time: &[u8]) -> Option<Timestamp> {
        let once = Self::in_zone(self.zone).at(time)?;
        let minute = wall_of_minute(time.first_chunk()?)?;
        Some(self.zone.repeated_until(minute).unwrap_or(once))
    }
}

fn start_of_minute(minute: &[u8; 16], zone: Zone) -> Option<Moments> {
    wall_of_minute(minute).map(|wall| zone.moments(wall))
}

fn wall_of_minute(minute: &[u8; 16]) -> Option<NaiveDateTime> {
    let part = |from: usize, to: usize| u32::try_from(number(minute.get(from..to)?)?.0).ok();
    let date = NaiveDate::from_ymd_opt(i32::try_from(part(0, 4)?).ok()?, part(5, 7)?, part(8, 10)?)?;
    date.and_hms_opt(part(11, 13)?, part(14, 16)?, 0)
}

#[cfg(test)]
mod tests;
