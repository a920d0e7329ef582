//! What a recording or a screen must not carry: secret header values and token-like query values become `***`.

mod address;

use std::ops::Range;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use aho_corasick::AhoCorasick;

pub use address::{addresses, addresses_in_data, hide_addresses, outgoing, outgoing_data};

/// Secrets are shown after all. One switch for the whole process: text is made fit to be shown in many places, and one that
/// was forgotten would be a leak or a riddle.
static SHOWN: AtomicBool = AtomicBool::new(false);

/// Shows secrets from now on, as the user asked; said once, before anything is read.
pub fn show_secrets() {
    SHOWN.store(true, Ordering::Relaxed);
}

fn are_shown() -> bool {
    SHOWN.load(Ordering::Relaxed)
}

/// What stands in the place of a secret.
pub const HIDDEN: &str = "***";

/// Names that are secret as a whole.
const SECRET_NAMES: [&str; 7] = ["auth", "code", "key", "pass", "pwd", "sid", "sig"];

/// Parts that make a name secret.
const SECRET_PARTS: [&str; 17] = [
    "-auth",
    "_auth",
    "access-key",
    "access_key",
    "api-key",
    "api_key",
    "apikey",
    "authoriz",
    "cookie",
    "credential",
    "jwt",
    "passw",
    "secret",
    "session",
    "signature",
    "ticket",
    "token",
];

/// All of them in one pass: every query of every log line is looked at.
static PARTS: LazyLock<AhoCorasick> = LazyLock::new(|| {
    let parts = AhoCorasick::builder().ascii_case_insensitive(true).build(SECRET_PARTS);
    parts.unwrap_or_else(|_| unreachable!("seventeen short words"))
});

/// Whether the value of a header or query argument of this name is not to be shown.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    SECRET_NAMES.iter().any(|n| n.eq_ignore_ascii_case(name)) || PARTS.is_match(name)
}

/// Whether a value gives itself away: a JSON Web Token begins with `{"` in base64 (RFC 7519 section 3.1).
fn is_token(value: &str) -> bool {
    value.starts_with("eyJ") && value.len() > 20
}

/// A path or URL with the secret values of its query hidden.
#[must_use]
pub fn query(target: &str) -> String {
    let Some((path, query)) = target.split_once('?').filter(|_| !are_shown()) else { return target.to_owned() };
    let shown: Vec<String> = query.split('&').map(argument).collect();
    format!("{path}?{}", shown.join("&"))
}

/// A line of a log with the secret values of every query in it hidden; the rest of the line stays as it is.
#[must_use]
pub fn text(line: String) -> String {
    hidden(&line).map_or(line, |redacted| redacted.text)
}

/// A line whose secrets are hidden.
#[derive(Clone, Debug)]
pub struct Redacted {
    text: String,
    /// In order.
    values: Vec<Hidden>,
}

/// A value that is hidden.
#[derive(Clone, Debug)]
struct Hidden {
    /// Where it stands in the line.
    place: Range<usize>,
    /// Where the text goes on behind it.
    goes_on: usize,
}

impl Redacted {
    /// What may be shown of the line.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where a part of the line stands in the text, in bytes. `None`: it begins or ends amid something that is hidden.
    #[must_use]
    pub fn place(&self, part: Range<usize>) -> Option<Range<usize>> {
        Some(self.position(part.start)?..self.position(part.end)?)
    }

    fn position(&self, at: usize) -> Option<usize> {
        let begun = self.values.partition_point(|value| value.place.start < at);
        let Some(last) = begun.checked_sub(1).and_then(|last| self.values.get(last)) else { return Some(at) };
        Some(last.goes_on + at.checked_sub(last.place.end)?)
    }
}

/// A line of a log with the secret values of every query in it hidden; `None` where there is nothing to hide. Most lines
/// have nothing, and neither has any part of them then.
#[must_use]
pub fn hidden(line: &str) -> Option<Redacted> {
    let mut out: Option<Redacted> = None;
    let (mut done, mut harmless) = (0, "");
    for (start, arguments) in queries(line).filter(|_| !are_shown()) {
        // The query of a request is that of its upstream's URL as well.
        if arguments == harmless {
            continue;
        }
        harmless = arguments;
        // One search for the whole query rules out most names before any is cut out.
        let may_be_named = PARTS.is_match(arguments);
        for (at, pair) in pairs(arguments) {
            let Some(value) = secret(pair, may_be_named) else { continue };
            let place = start + at + value..start + at + pair.len();
            let out =
                out.get_or_insert_with(|| Redacted { text: String::with_capacity(line.len()), values: Vec::new() });
            out.text.push_str(line.get(done..place.start).unwrap_or_default());
            out.text.push_str(HIDDEN);
            (done, harmless) = (place.end, "");
            out.values.push(Hidden { place, goes_on: out.text.len() });
        }
    }
    let mut out = out?;
    out.text.push_str(line.get(done..).unwrap_or_default());
    Some(out)
}

/// Where in an argument the value begins that is not to be shown; it goes on to the end. `may_be_named`: a part of a secret
/// name may occur.
fn secret(pair: &str, may_be_named: bool) -> Option<usize> {
    // Arguments are short: a search that is made for long texts would cost more than it saves.
    let Some(equals) = pair.bytes().position(|b| b == b'=') else { return is_token(pair).then_some(0) };
    let (name, value) = (pair.get(..equals)?, pair.get(equals + 1..)?);
    let is_named =
        || SECRET_NAMES.iter().any(|n| n.eq_ignore_ascii_case(name)) || (may_be_named && PARTS.is_match(name));
    (!value.is_empty() && (is_named() || is_token(value))).then_some(equals + 1)
}

/// The arguments of a query, and where they begin.
fn pairs(query: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut from = Some(0);
    std::iter::from_fn(move || {
        let start = from?;
        let rest = query.get(start..)?;
        let end = rest.bytes().position(|b| b == b'&');
        from = end.map(|end| start + end + 1);
        Some((start, rest.get(..end.unwrap_or(rest.len()))?))
    })
}

/// What ends a URL where nginx writes one: the blank before HTTP/1.1, or the quote around it.
static ENDS: [bool; 256] = {
    let (mut ends, mut byte) = ([false; 256], 0_u8);
    while byte < 128 {
        ends[byte as usize] = matches!(byte, b' ' | b'"' | b'\'' | b'<' | b'>') || byte.is_ascii_control();
        byte += 1;
    }
    ends
};

/// The arguments behind each `?` of a line, and where they begin.
fn queries(line: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let start = from + memchr::memchr(b'?', line.as_bytes().get(from..)?)? + 1;
        let rest = line.get(start..)?;
        let length = rest.bytes().position(|b| ENDS[usize::from(b)]).unwrap_or(rest.len());
        from = start + length;
        Some((start, rest.get(..length)?))
    })
}

fn argument(pair: &str) -> String {
    match secret(pair, true).and_then(|at| pair.get(..at)) {
        Some(name) => format!("{name}{HIDDEN}"),
        None => pair.to_owned(),
    }
}

/// The value of the header `name` as it may be shown.
#[must_use]
pub fn header_value(name: &str, value: &str) -> String {
    if are_shown() {
        return value.to_owned();
    }
    if name.eq_ignore_ascii_case("Set-Cookie") {
        return set_cookie(value);
    }
    if name.eq_ignore_ascii_case("Location") || name.eq_ignore_ascii_case("Referer") {
        return query(value);
    }
    if name.eq_ignore_ascii_case("Sec-WebSocket-Protocol") {
        let items: Vec<&str> = value.split(',').map(str::trim).map(subprotocol).collect();
        return items.join(", ");
    }
    // An authorization value keeps its scheme: `Basic ***` tells more than `***` and nothing secret.
    let scheme = value.split_once(' ').map(|(scheme, _)| scheme);
    match scheme {
        Some(scheme) if name.to_ascii_lowercase().ends_with("authorization") => format!("{scheme} {HIDDEN}"),
        _ if is_secret_name(name) || is_token(value) => HIDDEN.to_owned(),
        _ => value.to_owned(),
    }
}

/// Browsers cannot set headers on a WebSocket, so some services carry a bearer token as a subprotocol.
fn subprotocol(item: &str) -> &str {
    if is_token(item) || item.len() > 48 { HIDDEN } else { item }
}

fn set_cookie(value: &str) -> String {
    let (pair, attributes) = value.find(';').map_or((value, ""), |at| value.split_at(at));
    match pair.split_once('=') {
        Some((name, _)) => format!("{name}={HIDDEN}{attributes}"),
        None => HIDDEN.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_keeps_all_but_the_secrets_of_its_queries() {
        let line = r#"client: 192.0.2.1, request: "GET /ws?room=7&token=abc HTTP/1.1", upstream: "http://10.0.0.7/ws?token=a,b", why?"#;
        let shown = r#"client: 192.0.2.1, request: "GET /ws?room=7&token=*** HTTP/1.1", upstream: "http://10.0.0.7/ws?token=***", why?"#;
        assert_eq!(text(line.to_owned()), shown);
        assert_eq!(text(shown.to_owned()), shown);
        assert_eq!(text("?token=".to_owned()), "?token=");
        assert_eq!(text("GET /ws?a=1&KEY=x HTTP/1.1".to_owned()), "GET /ws?a=1&KEY=*** HTTP/1.1");
        assert_eq!(text("GET /ws?token=\u{fffd}x&a=\u{e4}".to_owned()), "GET /ws?token=***&a=\u{e4}");
    }

    #[test]
    fn a_part_of_a_line_is_found_in_what_is_shown_of_it() {
        let line = r#"a "GET /ws?token=abcdef&b=1&key=x HTTP/1.1", "/ws?b=2&sid=yy", end"#;
        let redacted = hidden(line).expect("secrets");
        assert_eq!(redacted.text(), r#"a "GET /ws?token=***&b=1&key=*** HTTP/1.1", "/ws?b=2&sid=***", end"#);
        let shown = |part: &str| {
            let start = line.find(part).expect("a part of the line");
            redacted.place(start..start + part.len()).map(|place| &redacted.text()[place])
        };
        assert_eq!(shown("GET /ws?token=abcdef&b=1&key=x HTTP/1.1"), Some("GET /ws?token=***&b=1&key=*** HTTP/1.1"));
        assert_eq!(shown("/ws?b=2&sid=yy"), Some("/ws?b=2&sid=***"));
        assert_eq!(["a", "&b=1&", "abcdef", "end"].map(shown), [Some("a"), Some("&b=1&"), Some("***"), Some("end")]);
        assert_eq!(["abc", "def&b=1", "yy", ""].map(shown), [None, None, Some("***"), Some("")]);
        assert!(hidden(r#""/ws?b=2&sid=", "/ws?b=2&sid=""#).is_none());
    }

    #[test]
    fn secrets_are_hidden_and_the_rest_is_not() {
        assert_eq!(query("/ws?room=7&access_token=abc&Key=1&x"), "/ws?room=7&access_token=***&Key=***&x");
        assert_eq!(query("/ws?v=eyJhbGciOiJIUzI1NiJ9.e30.x"), "/ws?v=***");
        assert_eq!(query("/ws"), "/ws");
        assert_eq!(header_value("Authorization", "Bearer abc"), "Bearer ***");
        assert_eq!(header_value("proxy-authorization", "abc"), "***");
        assert_eq!(header_value("Cookie", "sid=1"), "***");
        assert_eq!(header_value("X-Api-Key", "1"), "***");
        assert_eq!(header_value("Set-Cookie", "sid=secret; Path=/; HttpOnly"), "sid=***; Path=/; HttpOnly");
        assert_eq!(header_value("Location", "https://x/?token=1"), "https://x/?token=***");
        assert_eq!(
            header_value("Sec-WebSocket-Protocol", "chat,eyJhbGciOiJIUzI1NiJ9.e30.x"),
            "chat, ***",
            "a token smuggled as a subprotocol"
        );
        for (name, value) in
            [("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), ("Host", "a.test"), ("User-Agent", "x y")]
        {
            assert_eq!(header_value(name, value), value);
        }
    }
}
