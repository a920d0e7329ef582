//! One line of an error log turned into its fields.
//!
//! The grammar is nginx's core/ngx_log.c (`ngx_log_error_core`) and the log handlers of its http, stream and mail
//! modules. Nothing in a line is escaped: see `context` for how forged fields are kept out.

mod context;
pub mod marks;
pub mod skim;

use std::borrow::Cow;
use std::sync::LazyLock;

use arcstr::ArcStr;
use chrono::NaiveDate;
use memchr::memmem::Finder;
use memchr::{memchr, memrchr};

use crate::event::log::{Category, ErrorEntry, ErrorLine, Level, Text};
use crate::human::{plain, redact, visible};
use crate::nginx::category::{self, action};
use crate::nginx::frame;
use crate::time::{Moments, Timestamp, Zone};

/// The longest line that nginx writes, without its line feed (NGX_MAX_ERROR_STR in core/ngx_log.h is 2048 with it).
const LONGEST: usize = 2047;

static WHILE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b" while "));
static SSL: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b" (SSL:"));

/// Reads one line without its line feed. `None`: the line has no head of its own and continues the entry before it.
/// What a carrier such as syslog put in front of the head is passed over.
#[must_use]
pub fn parse(line: &[u8]) -> Option<ErrorLine<'_>> {
    let (mut out, text) = head(line).or_else(|| head(frame::strip(line)?))?;
    if out.level == Level::Debug {
        // The handlers that add action and context are not called for debug lines (core/ngx_log.c).
        (out.message, out.errno) = take_errno(text);
        return Some(out);
    }
    let (body, fields) = context::split(text);
    let tail = Tail::of(body);
    out.message = tail.message;
    out.errno = tail.errno;
    out.ssl = tail.ssl;
    out.action = tail.action;
    out.server = tail.server;
    if let Some(fields) = fields.map(|f| context::parse(f, out.action)) {
        out.client = fields.client;
        out.server = fields.server;
        out.request = fields.request;
        out.subrequest = fields.subrequest;
        out.upstream = fields.upstream;
        out.host = fields.host;
        out.referrer = fields.referrer;
        out.truncated = fields.truncated;
    }
    out.truncated |= line.len() == LONGEST;
    Some(out)
}

/// `YYYY/MM/DD HH:MM:SS [level] pid#tid: [*connection ]` and the rest of the line.
fn head(line: &[u8]) -> Option<(ErrorLine<'_>, &[u8])> {
    // A log that was truncated under nginx's open descriptor begins with a hole that reads as zeros.
    let hole = line.iter().take_while(|&&b| b == 0).count();
    let (time, rest) = line.get(hole..)?.split_at_checked(19)?;
    if !is_time(time) {
        return None;
    }
    let rest = rest.strip_prefix(b" [")?;
    let (word, rest) = rest.split_at_checked(memchr(b']', rest.get(..7).unwrap_or(rest))?)?;
    let level = Level::from_word(word)?;
    let (pid, rest) = number(rest.strip_prefix(b"] ")?)?;
    let (_thread, rest) = number(rest.strip_prefix(b"#")?)?;
    let rest = rest.strip_prefix(b":")?;
    let rest = rest.strip_prefix(b" ").unwrap_or(rest);
    let numbered = rest.strip_prefix(b"*").and_then(number).and_then(|(n, r)| Some((n, r.strip_prefix(b" ")?)));
    let (connection, rest) = numbered.map_or((None, rest), |(n, r)| (Some(n), r));
    Some((
        ErrorLine {
            time,
            level,
            pid: u32::try_from(pid).ok()?,
            connection,
            message: rest,
            errno: None,
            ssl: None,
            action: None,
            client: None,
            server: None,
            request: None,
            subrequest: None,
            upstream: None,
            host: None,
            referrer: None,
            truncated: false,
        },
        rest,
    ))
}

/// The shape of a timestamp; whether there is such a day is for [`TimeCache`] to say.
fn is_time(text: &[u8]) -> bool {
    const SHAPE: &[u8; 19] = b"0000/00/00 00:00:00";
    text.len() == SHAPE.len()
        && text.iter().zip(SHAPE).all(|(b, s)| if *s == b'0' { b.is_ascii_digit() } else { b == s })
}

/// The decimal number at the beginning of `text`, and the rest.
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let digits = text.iter().take(20).take_while(|b| b.is_ascii_digit()).count();
    if digits == 0 || digits > 19 {
        return None;
    }
    let (digits, rest) = text.split_at(digits);
    Some((digits.iter().fold(0, |n, b| n * 10 + u64::from(b - b'0')), rest))
}

/// What stands between the head and the context.
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
    let safe = |field| shown.field(field, false);
    // A URL or a request line may hold a query, and that a secret.
    let redacted = |field| shown.field(field, true);
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
        request: line.request.map(redacted),
        subrequest: line.subrequest.map(redacted),
        upstream: line.upstream.map(redacted),
        host: line.host.map(safe),
        raw: shown.whole(),
    }
}

/// A line as it may be shown, from which its fields are cut.
struct Shown<'a> {
    raw: &'a [u8],
    text: ArcStr,
    /// The text is the line byte for byte: so is each field.
    is_same: bool,
    /// The line has secrets, so a field may have them.
    hides: bool,
}

impl<'a> Shown<'a> {
    fn of(raw: &'a [u8]) -> Self {
        let plain = plain(raw);
        let safe = plain.map_or_else(|| Cow::Owned(visible(raw)), Cow::Borrowed);
        let hidden = redact::hidden(&safe);
        let (is_same, hides) = (plain.is_some() && hidden.is_none(), hidden.is_some());
        let text = hidden.map_or_else(|| ArcStr::from(&*safe), ArcStr::from);
        Self { raw, text, is_same, hides }
    }

    fn whole(&self) -> Text {
        self.text.substr(..)
    }

    fn field(&self, field: &[u8], may_hide: bool) -> Text {
        // The parser cuts fields out of the line. One that comes from elsewhere is not found here, and is copied.
        let start = field.as_ptr().addr().wrapping_sub(self.raw.as_ptr().addr());
        let end = start.saturating_add(field.len());
        // Before the first thing that is hidden or made visible the two are the same.
        let is_there = || self.text.get(start..end).is_some_and(|text| text.as_bytes() == field);
        if (self.is_same && end <= self.raw.len()) || is_there() {
            return self.text.substr(start..end);
        }
        let text = visible(field);
        if self.hides && may_hide { redact::text(text).into() } else { text.into() }
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
    }

    /// The moment of `YYYY/MM/DD HH:MM:SS` in the log's zone; `None` when there is no such day or hour.
    pub fn at(&mut self, time: &[u8]) -> Option<Timestamp> {
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
        self.last = Some(at);
        Some(at)
    }
}

fn start_of_minute(minute: &[u8; 16], zone: Zone) -> Option<Moments> {
    let part = |from: usize, to: usize| u32::try_from(number(minute.get(from..to)?)?.0).ok();
    let date = NaiveDate::from_ymd_opt(i32::try_from(part(0, 4)?).ok()?, part(5, 7)?, part(8, 10)?)?;
    Some(zone.moments(date.and_hms_opt(part(11, 13)?, part(14, 16)?, 0)?))
}

#[cfg(test)]
mod tests;
