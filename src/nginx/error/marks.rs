//! Where in a kept line each of its fields stands, for a screen that marks them.
//!
//! The line is read again with the same grammar, and a place is told only where that reading agrees with the entry: what
//! looks like a field inside a request is never marked as one.

use std::ops::Range;

use crate::event::log::{ErrorEntry, ErrorLine};
use crate::event::tally::JOINT;

/// What a part of a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// When it was written.
    Time,
    /// The word in brackets.
    Level,
    /// The process that wrote it.
    Worker,
    /// The number behind `*`.
    Connection,
    /// The message.
    Message,
    /// The error number with its text.
    Errno,
    /// The text of OpenSSL.
    Tls,
    /// What nginx was doing.
    Action,
    /// The client's address.
    Client,
    /// The server's name, or the listen address.
    Server,
    /// The request line.
    Request,
    /// The subrequest's URI.
    Subrequest,
    /// The upstream URL.
    Upstream,
    /// The Host header.
    Host,
    /// The Referer header.
    Referrer,
}

impl Field {
    /// Its name.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Level => "level",
            Self::Worker => "worker",
            Self::Connection => "conn",
            Self::Message => "message",
            Self::Errno => "errno",
            Self::Tls => "tls",
            Self::Action => "while",
            Self::Client => "client",
            Self::Server => "server",
            Self::Request => "request",
            Self::Subrequest => "sub",
            Self::Upstream => "upstream",
            Self::Host => "host",
            Self::Referrer => "referrer",
        }
    }

    /// The letter that marks it; no two have the same.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::Time => 't',
            Self::Level => 'l',
            Self::Worker => 'w',
            Self::Connection => 'n',
            Self::Message => 'm',
            Self::Errno => 'e',
            Self::Tls => 'x',
            Self::Action => 'a',
            Self::Client => 'c',
            Self::Server => 's',
            Self::Request => 'r',
            Self::Subrequest => 'b',
            Self::Upstream => 'u',
            Self::Host => 'h',
            Self::Referrer => 'f',
        }
    }

    /// Whoever talks to nginx can write there what it likes (http/ngx_http_request.c, `ngx_http_log_error`).
    #[must_use]
    pub const fn is_chosen_by_the_client(self) -> bool {
        matches!(self, Self::Request | Self::Host | Self::Referrer)
    }
}

/// The byte ranges of the fields in the raw line of `entry`, in order, none overlapping another. Empty where the line
/// cannot be read again.
#[must_use]
pub fn of(entry: &ErrorEntry) -> Vec<(Field, Range<usize>)> {
    let raw = entry.raw.as_str();
    // Lines that were joined to this one would hide the ends of its fields.
    let first = if entry.message.contains(JOINT) { raw.split(JOINT).next().unwrap_or(raw) } else { raw };
    let Some(line) = super::parse(first.as_bytes()) else { return Vec::new() };
    let message = entry.message.split(JOINT).next();
    let told = [
        (Field::Message, Some(line.message), message),
        (Field::Tls, line.ssl, entry.ssl.as_deref()),
        (Field::Action, line.action, entry.action.as_deref()),
        (Field::Client, line.client, entry.client.as_deref()),
        (Field::Server, line.server, entry.server.as_deref()),
        (Field::Request, line.request, entry.request.as_deref()),
        (Field::Subrequest, line.subrequest, entry.subrequest.as_deref()),
        (Field::Upstream, line.upstream, entry.upstream.as_deref()),
        (Field::Host, line.host, entry.host.as_deref()),
    ];
    let agreed = told.into_iter().filter(|(_, here, kept)| here.is_some() && *here == kept.map(str::as_bytes));
    let mut out: Vec<_> = agreed.filter_map(|(field, here, _)| Some((field, place(first, here?)?))).collect();
    out.extend(head(first, &line));
    if line.errno == entry.errno {
        out.extend(errno(first, &line).map(|range| (Field::Errno, range)));
    }
    // Behind a host that both readings agree on nothing but the referrer can stand.
    let referrer = line.referrer.filter(|_| line.host.is_some() && out.iter().any(|(f, _)| *f == Field::Host));
    out.extend(referrer.and_then(|r| place(first, r)).map(|range| (Field::Referrer, range)));
    out.retain(|(_, range)| !range.is_empty() && raw.get(range.clone()).is_some());
    out.sort_by_key(|(_, range)| range.start);
    out.dedup_by(|next, before| next.1.start < before.1.end);
    out
}

/// Where `part`, which was borrowed from `whole`, stands in it.
fn place(whole: &str, part: &[u8]) -> Option<Range<usize>> {
    let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    let range = start..start.checked_add(part.len())?;
    (whole.as_bytes().get(range.clone()) == Some(part)).then_some(range)
}

/// Time, level, process and connection.
fn head(whole: &str, line: &ErrorLine<'_>) -> Vec<(Field, Range<usize>)> {
    let Some(time) = place(whole, line.time) else { return Vec::new() };
    let level = time.end + 2..time.end + 2 + line.level.word().len();
    let digits = |from: usize| {
        let rest = whole.get(from..).unwrap_or_default();
        from..from + rest.bytes().take_while(u8::is_ascii_digit).count()
    };
    let worker = digits(level.end + 2);
    let mut out = vec![(Field::Time, time), (Field::Level, level), (Field::Worker, worker)];
    let message = place(whole, line.message).map_or(0, |m| m.start);
    let star = whole.get(..message).filter(|_| line.connection.is_some()).and_then(|h| h.rfind('*'));
    out.extend(star.map(|at| (Field::Connection, digits(at + 1))));
    out
}

/// `111: Connection refused` behind the message, or behind the TLS text.
fn errno(whole: &str, line: &ErrorLine<'_>) -> Option<Range<usize>> {
    line.errno?;
    let message = place(whole, line.message)?.end;
    let start = match line.ssl.and_then(|ssl| place(whole, ssl)) {
        Some(ssl) => ssl.end + 1,
        None => message,
    };
    let text = whole.get(start..)?.strip_prefix(" (")?;
    Some(start + 2..start + 2 + text.find(')')?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nginx::error::{entry, parse};
    use crate::time::Timestamp;
    use proptest::prelude::*;

    fn marked(line: &[u8]) -> Vec<(&'static str, String)> {
        let entry = entry(&parse(line).expect("an entry"), line, Timestamp::default());
        of(&entry).into_iter().map(|(f, r)| (f.word(), entry.raw[r].to_owned())).collect()
    }

    fn all(pairs: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
        pairs.iter().map(|(f, t)| (*f, (*t).to_owned())).collect()
    }

    #[test]
    fn every_field_of_an_ordinary_line_is_found() {
        let line = b"2026/11/21 02:02:31 [error] 7#8: *42 recv() failed (104: Connection reset by peer) while proxying upgraded \
            connection, client: 192.0.2.1, server: a.test, request: \"GET /ws HTTP/1.1\", upstream: \"http://10.0.0.7:80/ws\", \
            host: \"a.test\", referrer: \"http://b/\"";
        assert_eq!(
            marked(line),
            all(&[
                ("time", "2026/11/21 02:02:31"),
                ("level", "error"),
                ("worker", "7"),
                ("conn", "42"),
                ("message", "recv() failed"),
                ("errno", "104: Connection reset by peer"),
                ("while", "proxying upgraded connection"),
                ("client", "192.0.2.1"),
                ("server", "a.test"),
                ("request", "GET /ws HTTP/1.1"),
                ("upstream", "http://10.0.0.7:80/ws"),
                ("host", "a.test"),
                ("referrer", "http://b/"),
            ])
        );
    }

    #[test]
    fn a_forged_field_inside_a_request_is_part_of_the_request() {
        let request = "GET /x?\", upstream: \"http://6.6.6.6:1/\", host: \"evil HTTP/1.1";
        let line = format!(
            "2026/11/21 02:02:31 [error] 7#8: *42 connect() failed (111: Connection refused) while connecting to upstream, \
            client: 192.0.2.1, server: a.test, request: \"{request}\", upstream: \"http://10.0.0.7:80/ws\", host: \"a.test\""
        );
        let marked = marked(line.as_bytes());
        let upstreams: Vec<_> = marked.iter().filter(|(f, _)| *f == "upstream").collect();
        assert!(upstreams.iter().all(|(_, t)| t == "http://10.0.0.7:80/ws"), "{marked:?}");
        assert!(!marked.iter().any(|(f, t)| *f != "request" && t.contains("6.6.6.6")), "{marked:?}");
    }

    #[test]
    fn hostile_bytes_and_joined_lines_move_no_mark() {
        let line = b"2026/11/21 02:02:31 [info] 7#8: *42 client sent \"\x1b[2J\xff\", client: ::1, server: a, request: \"GET /\xe2\x8f\x8e HTTP/1.1\", host: \"h\"";
        let mut entry = entry(&parse(line).expect("an entry"), line, Timestamp::default());
        for text in [&mut entry.message, &mut entry.raw] {
            *text = format!("{text} ⏎ more, client: 6.6.6.6").into();
        }
        let found: Vec<_> = of(&entry).into_iter().map(|(f, r)| (f, entry.raw[r].to_owned())).collect();
        assert!(found.contains(&(Field::Client, "::1".into())), "{found:?}");
        assert!(found.contains(&(Field::Host, "h".into())), "{found:?}");
        assert!(!found.iter().any(|(_, t)| t.contains("6.6.6.6")), "{found:?}");
    }

    #[test]
    fn letters_are_different() {
        let mut seen = std::collections::BTreeSet::new();
        for field in [
            Field::Time,
            Field::Level,
            Field::Worker,
            Field::Connection,
            Field::Message,
            Field::Errno,
            Field::Tls,
            Field::Action,
            Field::Client,
            Field::Server,
            Field::Request,
            Field::Subrequest,
            Field::Upstream,
            Field::Host,
            Field::Referrer,
        ] {
            assert!(seen.insert(field.letter()), "{field:?}");
        }
    }

    proptest! {
        /// Whatever a line holds, marks lie in it, in order, apart from each other, on whole characters, and say what the entry says.
        #[test]
        fn marks_agree_with_the_entry_whatever_the_line(
            words in prop::collection::vec(prop::sample::select(vec![
                "upstream timed out", " (110: Connection timed out)", " (SSL: error:0A)", " while connecting to upstream",
                ", client: 10.0.0.1", ", client: ", ", server: a", ", request: \"GET /ws HTTP/1.1\"", ", request: \"GET /a b",
                ", upstream: \"http://10.0.0.7:80/ws\"", ", upstream: \"", ", host: \"h\"", ", referrer: \"r\"", "\"",
                " HTTP/1.1\"", "\u{1b}[2J", "日本", "é", " ⏎ ", "x", " ", "*1 ", "\u{202e}",
            ]), 0..16),
            tail in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let mut line = format!("2026/11/21 02:02:31 [error] 7#8: *42 {}", words.concat()).into_bytes();
            line.extend(tail);
            let entry = entry(&parse(&line).expect("a head"), &line, Timestamp::default());
            let mut end = 0;
            for (field, range) in of(&entry) {
                prop_assert!(range.start >= end);
                end = range.end;
                let text = entry.raw.get(range).expect("whole characters");
                let kept = match field {
                    Field::Client => entry.client.as_deref(),
                    Field::Request => entry.request.as_deref(),
                    Field::Upstream => entry.upstream.as_deref(),
                    Field::Host => entry.host.as_deref(),
                    _ => continue,
                };
                prop_assert_eq!(kept, Some(text));
            }
        }
    }
}
