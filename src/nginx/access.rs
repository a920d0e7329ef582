//! A log_format turned into a plan, and a plan and a line into an access entry.
//!
//! The plan is the format's literal text with a value between each two pieces (http/modules/ngx_http_log_module.c). How
//! far a value reaches is decided by what nginx can have written: a quote ends a value wherever quotes are escaped, a
//! status has three digits, a time its fixed shape; a value that a client chose ends at the first place from which the
//! values of known shape behind it fit.
//!
//! With `escape=none` a client can write quotes. Then a request line ends behind its version, and every other value at
//! the first place from which the rest of the line fits the format. That is right unless the client sent a piece of the
//! format itself in a value with another value of the client's behind it: such a line has two readings, and nothing in
//! it tells which is true. Values of nginx in front of the first value of a client's are never in doubt.

mod value;

use std::borrow::Cow;
use std::time::Duration;

use memchr::{memchr, memchr_iter};

use crate::event::log::AccessEntry;
use crate::event::site::Escape;
use crate::human::{redact, visible};
use crate::nginx::frame;
use crate::time::Timestamp;
use value::Shape;

/// nginx's built-in format `combined` (http/modules/ngx_http_log_module.c, ngx_http_combined_fmt).
const COMBINED: &str = r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent""#;

/// How often a place is tried where a value that a client chose could end, before the line counts as unreadable.
const MOST_TRIES: usize = 1_000;

/// A compiled `log_format`.
#[derive(Clone, Debug)]
pub struct Format {
    escape: Escape,
    prefix: Vec<u8>,
    steps: Vec<Step>,
}

/// One value and the literal text behind it; no text is the end of the line.
#[derive(Clone, Debug)]
struct Step {
    field: Field,
    until: Vec<u8>,
}

/// What the program keeps of a line. The variables of one meaning share a field; the better source wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Client,
    Request,
    Method,
    Target,
    Path,
    Arguments,
    Protocol,
    Host,
    HttpHost,
    ServerName,
    Status,
    BodyBytesSent,
    BytesSent,
    RequestLength,
    RequestTime,
    UpstreamConnectTime,
    UpstreamHeaderTime,
    UpstreamResponseTime,
    Upstream,
    UpstreamStatus,
    Connection,
    Completion,
    Upgrade,
    UserAgent,
    TimeLocal,
    TimeIso,
    Msec,
    /// Written by nginx, without spaces, and of no use here.
    Token,
    /// Anything else.
    Other,
}

impl Field {
    /// The variables of nginx's http modules; one that is not here may hold anything.
    fn of(variable: &str) -> Self {
        match variable {
            "remote_addr" => Self::Client,
            "request" => Self::Request,
            "request_method" => Self::Method,
            "request_uri" => Self::Target,
            "uri" | "document_uri" => Self::Path,
            "args" | "query_string" => Self::Arguments,
            "server_protocol" => Self::Protocol,
            "host" => Self::Host,
            "http_host" => Self::HttpHost,
            "server_name" => Self::ServerName,
            "status" => Self::Status,
            "body_bytes_sent" => Self::BodyBytesSent,
            "bytes_sent" => Self::BytesSent,
            "request_length" => Self::RequestLength,
            "request_time" => Self::RequestTime,
            "upstream_connect_time" => Self::UpstreamConnectTime,
            "upstream_header_time" => Self::UpstreamHeaderTime,
            "upstream_response_time" => Self::UpstreamResponseTime,
            "upstream_addr" => Self::Upstream,
            "upstream_status" => Self::UpstreamStatus,
            "connection" => Self::Connection,
            "request_completion" => Self::Completion,
            "http_upgrade" => Self::Upgrade,
            "http_user_agent" => Self::UserAgent,
            "time_local" => Self::TimeLocal,
            "time_iso8601" => Self::TimeIso,
            "msec" => Self::Msec,
            "pid"
            | "pipe"
            | "scheme"
            | "https"
            | "remote_port"
            | "server_addr"
            | "server_port"
            | "request_id"
            | "connection_requests"
            | "connection_time"
            | "gzip_ratio"
            | "nginx_version"
            | "ssl_protocol" => Self::Token,
            _ => Self::Other,
        }
    }

    /// What nginx can write for it; `None` where a client has a say.
    const fn shape(self) -> Option<Shape> {
        match self {
            Self::Status => Some(Shape::Status),
            Self::BodyBytesSent | Self::BytesSent | Self::RequestLength | Self::Connection => Some(Shape::Number),
            Self::RequestTime | Self::Msec => Some(Shape::Decimal),
            Self::UpstreamConnectTime
            | Self::UpstreamHeaderTime
            | Self::UpstreamResponseTime
            | Self::UpstreamStatus => Some(Shape::DecimalList),
            Self::Upstream => Some(Shape::AddressList),
            Self::TimeLocal => Some(Shape::TimeLocal),
            Self::TimeIso => Some(Shape::TimeIso),
            Self::Client | Self::Token => Some(Shape::Word),
            _ => None,
        }
    }
}

/// One access-log line, borrowed: text is still escaped as nginx wrote it (see [`Format::text`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccessLine<'a> {
    /// `$msec`, else `$time_iso8601`, else `$time_local`; `None` when the format writes no time.
    pub at: Option<Timestamp>,
    /// `$status`; 0 where nginx wrote `000`.
    pub status: u16,
    /// `$remote_addr`.
    pub client: Option<&'a [u8]>,
    /// `$request`.
    pub request: Option<&'a [u8]>,
    /// `$request_method`.
    pub method: Option<&'a [u8]>,
    /// `$request_uri`, with its arguments.
    pub target: Option<&'a [u8]>,
    /// `$uri`, without arguments.
    pub path: Option<&'a [u8]>,
    /// `$args`.
    pub arguments: Option<&'a [u8]>,
    /// `$server_protocol`.
    pub protocol: Option<&'a [u8]>,
    /// `$host`, else `$http_host`, else `$server_name`.
    pub host: Option<&'a [u8]>,
    /// `$body_bytes_sent`.
    pub body_bytes_sent: Option<u64>,
    /// `$bytes_sent`.
    pub bytes_sent: Option<u64>,
    /// `$request_length`.
    pub request_length: Option<u64>,
    /// `$request_time`: the lifetime of a tunnel.
    pub request_time: Option<Duration>,
    /// `$upstream_connect_time` of the last peer.
    pub upstream_connect_time: Option<Duration>,
    /// `$upstream_header_time` of the last peer.
    pub upstream_header_time: Option<Duration>,
    /// `$upstream_response_time` of the last peer.
    pub upstream_response_time: Option<Duration>,
    /// `$upstream_addr`, the last peer.
    pub upstream: Option<&'a [u8]>,
    /// `$upstream_status` of the last peer.
    pub upstream_status: Option<u16>,
    /// `$connection`.
    pub connection: Option<u64>,
    /// `$request_completion` was `OK`.
    pub completed: Option<bool>,
    /// `$http_upgrade`.
    pub upgrade: Option<&'a [u8]>,
    /// `$http_user_agent`.
    pub user_agent: Option<&'a [u8]>,
}

impl Format {
    /// Compiles the text of a `log_format`, its quoted pieces joined: `$name` and `${name}` are variables.
    ///
    /// # Errors
    /// One sentence, when the text has no variable or writes no `$status`, without which nothing can be told.
    pub fn compile(pattern: &str, escape: Escape) -> Result<Self, String> {
        let (prefix, steps) = plan(pattern)?;
        if !steps.iter().any(|s| s.field == Field::Status) {
            return Err(format!("log format '{pattern}' writes no $status: nothing can be told from its lines"));
        }
        Ok(Self { escape, prefix, steps })
    }

    /// nginx's built-in format `combined`, in which `access_log FILE;` writes.
    #[must_use]
    pub fn combined() -> Self {
        // The built-in text compiles; a test says so.
        let (prefix, steps) = plan(COMBINED).unwrap_or_default();
        Self { escape: Escape::Default, prefix, steps }
    }

    /// Whether lines tell how long requests, and so tunnels, lived (`$request_time`).
    #[must_use]
    pub fn has_request_time(&self) -> bool {
        self.writes(Field::RequestTime)
    }

    /// Whether lines carry a time; without one, entries bear the time at which they were read.
    #[must_use]
    pub fn has_time(&self) -> bool {
        [Field::TimeLocal, Field::TimeIso, Field::Msec].into_iter().any(|f| self.writes(f))
    }

    fn writes(&self, field: Field) -> bool {
        self.steps.iter().any(|s| s.field == field)
    }

    /// Reads one line without its line feed into an entry with hostile bytes made visible. `otherwise` is its time when
    /// the format writes none. `None`: the line does not fit the format.
    #[must_use]
    pub fn parse(&self, line: &[u8], otherwise: Timestamp) -> Option<AccessEntry> {
        let read = self.read(line)?;
        let text = |field: Option<&[u8]>| field.map(|f| self.text(f));
        Some(AccessEntry {
            at: read.at.unwrap_or(otherwise),
            client: text(read.client),
            request: self.request(&read).map(redact::text),
            host: text(read.host),
            status: read.status,
            body_bytes_sent: read.body_bytes_sent,
            bytes_sent: read.bytes_sent,
            request_length: read.request_length,
            request_time: read.request_time,
            upstream_connect_time: read.upstream_connect_time,
            upstream_header_time: read.upstream_header_time,
            upstream_response_time: read.upstream_response_time,
            upstream: text(read.upstream),
            upstream_status: read.upstream_status,
            connection: read.connection,
            completed: read.completed,
            upgrade: text(read.upgrade),
            user_agent: text(read.user_agent),
            raw: redact::text(visible(line)),
        })
    }

    /// The request line, put together from its parts when the format writes them one by one.
    fn request(&self, read: &AccessLine<'_>) -> Option<String> {
        if let Some(request) = read.request {
            return Some(self.text(request));
        }
        let mut target = self.text(read.target.or(read.path)?);
        if let (None, Some(arguments)) = (read.target, read.arguments) {
            target = format!("{target}?{}", self.text(arguments));
        }
        let part = |field: Option<&[u8]>, unknown: &str| field.map_or_else(|| unknown.to_owned(), |f| self.text(f));
        let request = format!("{} {target} {}", part(read.method, "-"), part(read.protocol, ""));
        Some(request.trim_end().to_owned())
    }

    /// A text field as the client sent it, made safe to show.
    #[must_use]
    pub fn text(&self, field: &[u8]) -> String {
        visible(&self.unescaped(field))
    }

    /// A text field as the client sent it, byte for byte.
    #[must_use]
    pub fn unescaped<'a>(&self, field: &'a [u8]) -> Cow<'a, [u8]> {
        match self.escape {
            Escape::None => Cow::Borrowed(field),
            Escape::Default => value::unescape(field),
            Escape::Json => value::unescape_json(field),
        }
    }

    /// Reads one line without its line feed and allocates nothing. `None`: the line does not fit the format. What a
    /// carrier such as syslog put in front of it is passed over.
    #[must_use]
    pub fn read<'a>(&self, line: &'a [u8]) -> Option<AccessLine<'a>> {
        self.read_bare(line).or_else(|| self.read_bare(frame::strip(line)?))
    }

    fn read_bare<'a>(&self, line: &'a [u8]) -> Option<AccessLine<'a>> {
        let mut rest = line.get(self.prefix.len()..).filter(|_| begins(line, &self.prefix))?;
        let mut out = Reading::default();
        for (at, step) in self.steps.iter().enumerate() {
            let end = self.end_of_value(at, rest)?;
            let (value, behind) = rest.split_at_checked(end.at)?;
            if !end.admitted && step.field.shape().is_some_and(|shape| !shape.admits(value)) {
                return None;
            }
            out.keep(step.field, value)?;
            rest = behind.get(step.until.len()..)?;
        }
        rest.is_empty().then(|| out.line())
    }

    /// Where the value of step `at` ends in `rest`, which begins with it.
    fn end_of_value(&self, at: usize, rest: &[u8]) -> Option<End> {
        let step = self.steps.get(at)?;
        let unchecked = |at| End { at, admitted: false };
        if step.until.is_empty() {
            return Some(unchecked(rest.len()));
        }
        if step.until.first() == Some(&b'"') && self.escape != Escape::None {
            let quote = if self.escape == Escape::Json { value::json_quote(rest)? } else { memchr(b'"', rest)? };
            return begins(rest.get(quote..)?, &step.until).then_some(unchecked(quote));
        }
        if let Some(shape) = step.field.shape() {
            return end_of_shape(shape, &step.until, rest).map(|at| End { at, admitted: true });
        }
        self.end_of_free_text(at, rest).map(unchecked)
    }

    /// A value that a client chose ends where the literal stands and the values of known shape behind it fit.
    fn end_of_free_text(&self, at: usize, rest: &[u8]) -> Option<usize> {
        let step = self.steps.get(at)?;
        let mut ends = places(&step.until, rest)
            .take(MOST_TRIES)
            .filter(|&end| rest.get(end + step.until.len()..).is_some_and(|behind| self.fits(at + 1, behind)));
        let first = ends.next()?;
        // A request line that nginx accepted ends in its version, and only such a one is followed by what a client sent.
        let is_whole = |end: &usize| rest.get(..*end).is_some_and(value::ends_in_version);
        if step.field != Field::Request || is_whole(&first) {
            return Some(first);
        }
        ends.find(is_whole).or(Some(first))
    }

    /// Whether the values from step `at` on fit `rest`, up to the next one that a client chose.
    fn fits(&self, at: usize, mut rest: &[u8]) -> bool {
        for step in self.steps.iter().skip(at) {
            let Some(shape) = step.field.shape() else { return true };
            let end = if step.until.is_empty() { Some(rest.len()) } else { end_of_shape(shape, &step.until, rest) };
            let Some((value, behind)) = end.and_then(|end| rest.split_at_checked(end)) else { return false };
            if !shape.admits(value) {
                return false;
            }
            rest = behind.get(step.until.len()..).unwrap_or_default();
        }
        rest.is_empty()
    }
}

/// Where a value ends.
struct End {
    at: usize,
    /// Its shape was looked at.
    admitted: bool,
}

/// The end of a value of known shape: the first `until` within its greatest length, with something of that shape before.
fn end_of_shape(shape: Shape, until: &[u8], rest: &[u8]) -> Option<usize> {
    let window = rest.get(..shape.longest() + until.len()).unwrap_or(rest);
    places(until, window).find(|&end| window.get(..end).is_some_and(|value| shape.admits(value)))
}

/// Where `until`, which is short, stands in `text`: a search that has nothing to prepare.
fn places<'a>(until: &'a [u8], text: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let first = until.first().copied().unwrap_or_default();
    memchr_iter(first, text).filter(move |&at| begins(text.get(at..).unwrap_or_default(), until))
}

/// Whether `text` begins with `until`, which is short.
#[inline]
fn begins(text: &[u8], until: &[u8]) -> bool {
    text.len() >= until.len() && until.iter().zip(text).all(|(a, b)| a == b)
}

/// The literal text before the first variable, and the steps.
fn plan(pattern: &str) -> Result<(Vec<u8>, Vec<Step>), String> {
    let mut prefix = Vec::new();
    let mut steps: Vec<Step> = Vec::new();
    let mut rest = pattern;
    while !rest.is_empty() {
        let dollar = rest.find('$').unwrap_or(rest.len());
        let (literal, behind) = rest.split_at(dollar);
        steps.last_mut().map_or(&mut prefix, |s| &mut s.until).extend_from_slice(literal.as_bytes());
        let Some(behind) = behind.strip_prefix('$') else { break };
        let (name, behind) =
            variable(behind).ok_or_else(|| format!("log format '{pattern}' has a '$' without a name"))?;
        rest = behind;
        // Two values without text between them cannot be told apart: both are passed over.
        match steps.last_mut().filter(|s| s.until.is_empty()) {
            Some(joined) => joined.field = Field::Other,
            None => steps.push(Step { field: Field::of(name), until: Vec::new() }),
        }
    }
    if steps.is_empty() { Err(format!("log format '{pattern}' has no variable")) } else { Ok((prefix, steps)) }
}

/// The name at the beginning of `text`, with or without braces, and the rest (ngx_http_log_compile_format).
fn variable(text: &str) -> Option<(&str, &str)> {
    let braced = text.strip_prefix('{').and_then(|t| t.split_once('}'));
    let (name, rest) = braced.unwrap_or_else(|| {
        text.split_at(text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len()))
    });
    (!name.is_empty()).then_some((name, rest))
}

/// A line while it is being read, with the rivals for one field kept apart.
#[derive(Default)]
struct Reading<'a> {
    line: AccessLine<'a>,
    http_host: Option<&'a [u8]>,
    server_name: Option<&'a [u8]>,
    iso: Option<Timestamp>,
    local: Option<Timestamp>,
}

impl<'a> Reading<'a> {
    /// Keeps one value; `None` when it is none that nginx writes there.
    fn keep(&mut self, field: Field, value: &'a [u8]) -> Option<()> {
        if field == Field::Completion {
            self.line.completed = Some(value == b"OK");
        }
        // "-" is written for a value that does not exist, and nothing with escape=json and escape=none.
        if value == b"-" || value.is_empty() {
            return Some(());
        }
        let line = &mut self.line;
        match field {
            Field::Client => line.client = Some(value),
            Field::Request => line.request = Some(value),
            Field::Method => line.method = Some(value),
            Field::Target => line.target = Some(value),
            Field::Path => line.path = Some(value),
            Field::Arguments => line.arguments = Some(value),
            Field::Protocol => line.protocol = Some(value),
            Field::Host => line.host = Some(value),
            Field::HttpHost => self.http_host = Some(value),
            Field::ServerName => self.server_name = Some(value),
            Field::Upgrade => line.upgrade = Some(value),
            Field::UserAgent => line.user_agent = Some(value),
            Field::Upstream => line.upstream = value::last_peer(value),
            Field::TimeLocal => self.local = Some(value::time_local(value)?),
            Field::TimeIso => self.iso = Some(value::time_iso(value)?),
            Field::Msec => line.at = Some(value::msec(value)?),
            Field::Completion | Field::Token | Field::Other => {}
            _ => self.keep_number(field, value)?,
        }
        Some(())
    }

    fn keep_number(&mut self, field: Field, value: &[u8]) -> Option<()> {
        let line = &mut self.line;
        let last = || value::last_peer(value).and_then(value::seconds);
        match field {
            Field::Status => line.status = value::status(value)?,
            Field::BodyBytesSent => line.body_bytes_sent = value::number(value),
            Field::BytesSent => line.bytes_sent = value::number(value),
            Field::RequestLength => line.request_length = value::number(value),
            Field::Connection => line.connection = value::number(value),
            Field::RequestTime => line.request_time = value::seconds(value),
            Field::UpstreamConnectTime => line.upstream_connect_time = last(),
            Field::UpstreamHeaderTime => line.upstream_header_time = last(),
            Field::UpstreamResponseTime => line.upstream_response_time = last(),
            Field::UpstreamStatus => line.upstream_status = value::last_peer(value).and_then(value::status),
            _ => {}
        }
        Some(())
    }

    fn line(self) -> AccessLine<'a> {
        let host = self.line.host.or(self.http_host).or(self.server_name);
        AccessLine { at: self.line.at.or(self.iso).or(self.local), host, ..self.line }
    }
}

#[cfg(test)]
mod tests;
