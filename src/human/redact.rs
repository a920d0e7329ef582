//! What a recording or a screen must not carry: secret header values and token-like query values become `***`.

mod address;

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
    hidden(&line).unwrap_or(line)
}

/// The same; `None` where there is nothing to hide. Most lines have nothing, and neither has any part of them then.
#[must_use]
pub fn hidden(line: &str) -> Option<String> {
    if !has_secrets(line) {
        return None;
    }
    let (mut out, mut done) = (String::with_capacity(line.len()), 0);
    for (start, arguments) in queries(line) {
        let shown: Vec<String> = arguments.split('&').map(argument).collect();
        out.push_str(line.get(done..start).unwrap_or_default());
        out.push_str(&shown.join("&"));
        done = start + arguments.len();
    }
    out.push_str(line.get(done..).unwrap_or_default());
    Some(out)
}

fn has_secrets(line: &str) -> bool {
    // One search for the whole query rules out most names before any is cut out.
    let hides = |arguments: &str| {
        let named = PARTS.is_match(arguments);
        arguments.split('&').any(|pair| if named { is_hidden(pair) } else { is_hidden_by_itself(pair) })
    };
    // The query of a request is that of its upstream's URL as well.
    let mut before = "";
    !are_shown()
        && queries(line)
            .any(|(_, arguments)| arguments != std::mem::replace(&mut before, arguments) && hides(arguments))
}

/// The same as [`is_hidden`] for a pair in which none of the parts of secret names occurs.
fn is_hidden_by_itself(pair: &str) -> bool {
    match pair.split_once('=') {
        Some((name, value)) => {
            !value.is_empty() && (SECRET_NAMES.iter().any(|n| n.eq_ignore_ascii_case(name)) || is_token(value))
        }
        None => is_token(pair),
    }
}

/// The arguments behind each `?` of a line, and where they begin.
fn queries(line: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let start = from + memchr::memchr(b'?', line.as_bytes().get(from..)?)? + 1;
        let rest = line.get(start..)?;
        // What ends a URL where nginx writes one: the blank before HTTP/1.1, or the quote around it.
        let ends = |b: u8| matches!(b, b' ' | b'"' | b'\'' | b'<' | b'>') || b.is_ascii_control();
        let length = rest.bytes().position(ends).unwrap_or(rest.len());
        from = start + length;
        Some((start, rest.get(..length)?))
    })
}

/// Whether an argument has a value that is not to be shown.
fn is_hidden(pair: &str) -> bool {
    match pair.split_once('=') {
        Some((name, value)) => !value.is_empty() && (is_secret_name(name) || is_token(value)),
        None => is_token(pair),
    }
}

fn argument(pair: &str) -> String {
    match pair.split_once('=') {
        _ if !is_hidden(pair) => pair.to_owned(),
        Some((name, _)) => format!("{name}={HIDDEN}"),
        None => HIDDEN.to_owned(),
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
