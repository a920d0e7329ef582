//! A WebSocket URL (RFC 6455 section 3): read from what people type, and shown without its secrets.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::redact;
use crate::human::visible;

/// Where a probe dials and what it asks for.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct WsUrl {
    secure: bool,
    host: Host,
    port: u16,
    target: String,
}

/// The host of a URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name, in lower case.
    Name(String),
    /// An address literal.
    Ip(IpAddr),
}

/// Why a text is no WebSocket URL, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// There is no `://`.
    #[error("'{0}' has no scheme; write ws://{rest} or wss://{rest}", rest = without_half_a_scheme(.0))]
    NoScheme(String),
    /// `http` or `https`.
    #[error("'{text}' is an HTTP URL; use ws:// or wss://: {instead}")]
    HttpScheme {
        /// What was typed.
        text: String,
        /// The same with the right scheme.
        instead: String,
    },
    /// Any other scheme.
    #[error("'{text}' has the scheme '{scheme}'; use ws:// or wss://")]
    UnknownScheme {
        /// What was typed.
        text: String,
        /// Its scheme.
        scheme: String,
    },
    /// Nothing between `://` and the path.
    #[error("'{0}' names no host; write it as ws://HOST:PORT/PATH")]
    NoHost(String),
    /// The host is neither a name nor an address.
    #[error("'{host}' in '{text}' is neither a host name nor an IP address; {remedy}")]
    BadHost {
        /// What was typed.
        text: String,
        /// Its host.
        host: String,
        /// What to write instead.
        remedy: &'static str,
    },
    /// The port is no number from 1 to 65535.
    #[error("'{port}' in '{text}' is no port; write a number from 1 to 65535, or leave it out")]
    BadPort {
        /// What was typed.
        text: String,
        /// Its port.
        port: String,
    },
    /// A user name or password stands before the host.
    #[error(
        "the URL of host '{host}' carries a user name; leave it out and send --header 'Authorization: ...' instead"
    )]
    UserInfo {
        /// What stands after the `@`: the rest is not repeated, because it may be a password.
        host: String,
    },
    /// `#` and what follows never reach a server (RFC 6455 section 3).
    #[error(
        "'{0}' has a fragment, which a WebSocket URL must not have; leave out the '#' and what follows, or write it as %23"
    )]
    Fragment(String),
    /// A control character.
    #[error("'{0}' contains a control character; write it as %XX")]
    Control(String),
}

impl WsUrl {
    /// Reads `ws://` and `wss://` URLs. What HTTP cannot carry in a request line (spaces, non-ASCII) is percent-encoded.
    ///
    /// # Errors
    /// One sentence that names the text and the remedy.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let text = text.trim();
        let said = || redact::query(&visible(text.as_bytes()));
        if text.chars().any(char::is_control) {
            return Err(UrlError::Control(said()));
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(|| UrlError::NoScheme(said()))?;
        let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if let Some((_, host)) = authority.rsplit_once('@') {
            return Err(UrlError::UserInfo { host: visible(host.as_bytes()) });
        }
        let secure = read_scheme(scheme, rest, &said())?;
        if tail.contains('#') {
            return Err(UrlError::Fragment(said()));
        }
        let (host, port) = split_port(authority, &said())?;
        let host = read_host(host, &said())?;
        let port = port.map_or(Ok(if secure { 443 } else { 80 }), |port| read_port(port, &said()))?;
        let slash = if tail.starts_with('/') { "" } else { "/" };
        Ok(Self { secure, host, port, target: format!("{slash}{}", encode(tail)) })
    }

    /// Whether it is `wss`.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The host.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port, 80 or 443 where none was given.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path and query as sent in the request line, secrets included.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The value of the `Host` header: without the port where it is the scheme's own (RFC 6455 section 4.1).
    #[must_use]
    pub fn authority(&self) -> String {
        match (self.secure, self.port) {
            (false, 80) | (true, 443) => self.host.to_string(),
            (_, port) => format!("{}:{port}", self.host),
        }
    }

    /// Host and port, for messages.
    #[must_use]
    pub fn host_port(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl FromStr for WsUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        Self::parse(text)
    }
}

/// The URL with token-like query values hidden: fit for a screen, a recording and a log.
impl fmt::Display for WsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "wss" } else { "ws" };
        write!(f, "{scheme}://{}{}", self.authority(), redact::query(&self.target))
    }
}

/// As shown, so that no secret slips into a debug line.
impl fmt::Debug for WsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WsUrl({self})")
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(IpAddr::V4(ip)) => ip.fmt(f),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
        }
    }
}

/// Without a `ws:` whose slashes were forgotten.
fn without_half_a_scheme(text: &str) -> &str {
    let rest = text.strip_prefix("wss:").or_else(|| text.strip_prefix("ws:")).unwrap_or(text);
    rest.trim_start_matches('/')
}

fn read_scheme(scheme: &str, rest: &str, text: &str) -> Result<bool, UrlError> {
    let text = text.to_owned();
    let instead = |scheme: &str| format!("{scheme}://{}", redact::query(&visible(rest.as_bytes())));
    match scheme.to_ascii_lowercase().as_str() {
        "ws" => Ok(false),
        "wss" => Ok(true),
        "http" => Err(UrlError::HttpScheme { text, instead: instead("ws") }),
        "https" => Err(UrlError::HttpScheme { text, instead: instead("wss") }),
        _ => Err(UrlError::UnknownScheme { text, scheme: visible(scheme.as_bytes()) }),
    }
}

/// Host and, where a colon is written, port; brackets around an IPv6 address stay on the host.
fn split_port<'a>(authority: &'a str, text: &str) -> Result<(&'a str, Option<&'a str>), UrlError> {
    let bad = |remedy| UrlError::BadHost { text: text.to_owned(), host: visible(authority.as_bytes()), remedy };
    if authority.starts_with('[') {
        let end = authority.find(']').ok_or_else(|| bad("close the bracket around the IPv6 address"))? + 1;
        let (host, rest) = authority.split_at(end);
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(bad("only a port may follow the bracket, as in [::1]:8080")),
        };
    }
    match authority.split_once(':') {
        Some((_, rest)) if rest.contains(':') => Err(bad("write an IPv6 address in brackets, as in [::1]:8080")),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((authority, None)),
    }
}

fn read_port(port: &str, text: &str) -> Result<u16, UrlError> {
    let bad = || UrlError::BadPort { text: text.to_owned(), port: visible(port.as_bytes()) };
    if !port.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    port.parse().ok().filter(|port| *port > 0).ok_or_else(bad)
}

fn read_host(host: &str, text: &str) -> Result<Host, UrlError> {
    let bad = |remedy| UrlError::BadHost { text: text.to_owned(), host: visible(host.as_bytes()), remedy };
    if host.is_empty() || host == "[]" {
        return Err(UrlError::NoHost(text.to_owned()));
    }
    if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let ip: Ipv6Addr = inner.parse().map_err(|_| bad("write an IPv6 address without a zone, as in [::1]"))?;
        return Ok(Host::Ip(ip.into()));
    }
    if !host.is_ascii() {
        return Err(bad("write an international name in its xn-- form"));
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let last = name.rsplit('.').next().unwrap_or_default();
    // A last label of digits is an address to every resolver; `127.1` and `256.0.0.1` would be guessed at.
    if last.bytes().all(|b| b.is_ascii_digit()) && !last.is_empty() {
        let ip: Ipv4Addr =
            host.parse().map_err(|_| bad("write all four numbers of an IPv4 address, each up to 255"))?;
        return Ok(Host::Ip(ip.into()));
    }
    let label_ok =
        |l: &str| (1..=63).contains(&l.len()) && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if name.len() > 253 || !name.split('.').all(label_ok) {
        return Err(bad("use letters, digits, '-' and single dots"));
    }
    Ok(Host::Name(host.to_ascii_lowercase()))
}

/// Percent-encodes what may not stand in a request line; what is already encoded stays.
fn encode(tail: &str) -> String {
    use fmt::Write as _;
    let mut out = String::with_capacity(tail.len());
    for b in tail.bytes() {
        match b {
            b' ' | b'"' | b'<' | b'>' | b'`' | 0x7f.. => {
                let _ = write!(out, "%{b:02X}");
            }
            _ => out.push(char::from(b)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> WsUrl {
        WsUrl::parse(text).expect(text)
    }

    #[test]
    fn urls_are_read_with_their_defaults() {
        let cases = [
            ("ws://example.test", false, "example.test", 80, "/", "example.test"),
            ("WSS://Example.Test/chat?a=1", true, "example.test", 443, "/chat?a=1", "example.test"),
            ("ws://10.0.0.7:8080/ws", false, "10.0.0.7", 8080, "/ws", "10.0.0.7:8080"),
            ("ws://[::1]:9/x", false, "[::1]", 9, "/x", "[::1]:9"),
            ("wss://[2001:db8::1]", true, "[2001:db8::1]", 443, "/", "[2001:db8::1]"),
            ("ws://a.test?x=1", false, "a.test", 80, "/?x=1", "a.test"),
            (" ws://a_b.test:80/päth x ", false, "a_b.test", 80, "/p%C3%A4th%20x", "a_b.test"),
            ("wss://a.test:80/", true, "a.test", 80, "/", "a.test:80"),
            ("ws://a.test./", false, "a.test.", 80, "/", "a.test."),
            ("ws://a.test/x@y", false, "a.test", 80, "/x@y", "a.test"),
        ];
        for (text, secure, host, port, target, authority) in cases {
            let u = url(text);
            assert_eq!((u.is_secure(), u.host().to_string().as_str(), u.port()), (secure, host, port), "{text}");
            assert_eq!((u.target(), u.authority().as_str()), (target, authority), "{text}");
        }
    }

    #[test]
    fn wrong_urls_say_what_to_write() {
        let cases = [
            ("example.test/ws", "'example.test/ws' has no scheme; write ws://example.test/ws"),
            ("localhost:8080", "has no scheme"),
            ("http://a.test/ws", "use ws:// or wss://: ws://a.test/ws"),
            ("https://a.test/ws", "use ws:// or wss://: wss://a.test/ws"),
            ("ftp://a.test", "'ftp'; use ws:// or wss://"),
            ("ws://", "names no host"),
            ("ws:///path", "names no host"),
            ("ws://:80/", "names no host"),
            ("ws://[]/", "names no host"),
            ("ws://a.test:0/", "'0' in 'ws://a.test:0/' is no port"),
            ("ws://a.test:65536/", "is no port"),
            ("ws://a.test:/", "is no port"),
            ("ws://a.test:+80/", "is no port"),
            ("ws://user:hunter2@a.test/", "host 'a.test' carries a user name"),
            ("ws://a.test/#x", "fragment"),
            ("ws://::1/", "brackets"),
            ("ws://[::1/", "close the bracket"),
            ("ws://[::1]x/", "only a port"),
            ("ws://[fe80::1%eth0]/", "without a zone"),
            ("ws://256.0.0.1/", "all four numbers"),
            ("ws://127.1/", "all four numbers"),
            ("ws://a..b/", "single dots"),
            ("ws://exa mple/", "letters"),
            ("ws://größe.test/", "xn--"),
            ("ws://a.test/\r\nX: 1", "control character"),
        ];
        for (text, part) in cases {
            let said = WsUrl::parse(text).expect_err(text).to_string();
            assert!(said.contains(part), "{text}: {said}");
            assert!(!said.contains("hunter2") && !said.contains('\n'), "{said}");
        }
    }

    #[test]
    fn a_token_is_sent_but_never_shown() {
        let u = url("wss://a.test/ws?room=1&token=s3cret");
        assert_eq!(u.to_string(), "wss://a.test/ws?room=1&token=***");
        assert!(!format!("{u:?}").contains("s3cret"));
        assert!(u.target().contains("s3cret"));
        assert!(!WsUrl::parse("http://a.test/?token=s3cret").unwrap_err().to_string().contains("s3cret"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics_and_no_url_breaks_the_request(text in "(ws://)?[ -~äé\\n\\[\\]:/?#@]{0,40}") {
            if let Ok(u) = WsUrl::parse(&text) {
                proptest::prop_assert!(u.target().starts_with('/'));
                proptest::prop_assert!(u.target().bytes().all(|b| b.is_ascii_graphic()), "{}", u.target());
                proptest::prop_assert!(u.authority().bytes().all(|b| b.is_ascii_graphic()));
            }
        }
    }
}
