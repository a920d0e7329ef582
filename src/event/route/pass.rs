//! A `proxy_pass` value in its parts, and the request line that the backend gets.

use super::path::{Escape, escaped};

/// A URL of `proxy_pass`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PassUrl {
    /// `https`.
    pub(super) tls: bool,
    /// Host or upstream name, as written; empty for a unix socket.
    pub(super) host: String,
    /// A port that is written.
    pub(super) port: Option<String>,
    /// The path of a unix socket.
    pub(super) unix: Option<String>,
    /// Path and query behind the host; empty when there is none.
    pub(super) uri: String,
}

impl PassUrl {
    /// Reads a value without variables (`ngx_http_proxy_pass`, `ngx_parse_url`); `None` when nginx would refuse it.
    pub(super) fn read(value: &str) -> Option<Self> {
        let (scheme, rest) = value.split_once("://")?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        if rest.get(..5).is_some_and(|p| p.eq_ignore_ascii_case("unix:")) {
            let after = rest.get(5..)?;
            let (path, uri) = after.split_once(':').unwrap_or((after, ""));
            let unix = Some(path.to_owned());
            return Some(Self { tls, host: String::new(), port: None, unix, uri: uri.to_owned() });
        }
        let (authority, uri) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let colon = authority.rfind(':').filter(|at| authority.rfind(']').is_none_or(|end| end < *at));
        let (host, port) = match colon {
            Some(at) => (authority.get(..at)?, authority.get(at + 1..)),
            None => (authority, None),
        };
        if host.is_empty() {
            return None;
        }
        Some(Self { tls, host: host.to_owned(), port: port.map(str::to_owned), unix: None, uri: uri.to_owned() })
    }

    fn default_port(&self) -> &'static str {
        if self.tls { "443" } else { "80" }
    }

    /// `$proxy_host` (`ngx_http_proxy_set_vars`).
    pub(super) fn proxy_host(&self) -> String {
        match &self.port {
            _ if self.unix.is_some() => "localhost".to_owned(),
            Some(port) if port != self.default_port() => format!("{}:{port}", self.host),
            _ => self.host.clone(),
        }
    }

    /// The address that it names itself: `host:port` or `unix:/path`.
    pub(super) fn address(&self) -> String {
        match &self.unix {
            Some(path) => format!("unix:{path}"),
            None => format!("{}:{}", self.host, self.port.as_deref().unwrap_or(self.default_port())),
        }
    }
}

/// What is known of the request when it is passed on.
#[derive(Clone, Debug)]
pub(super) struct Passing<'a> {
    /// The target as the client sent it.
    pub(super) raw: &'a str,
    /// The path now.
    pub(super) uri: &'a str,
    /// The arguments now.
    pub(super) args: &'a str,
    /// The location's prefix that the URI of `proxy_pass` takes the place of; empty where there is none.
    pub(super) prefix: &'a str,
    /// The client's target still holds: no rewrite and no internal redirect has changed it.
    pub(super) unchanged: bool,
    /// The request is in the location that was chosen for its path, so that a prefix can be replaced.
    pub(super) by_location: bool,
    /// The path must be escaped again.
    pub(super) escapes: bool,
}

/// How the request line came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// `proxy_pass` has no URI: exactly what the client sent.
    AsSent,
    /// `proxy_pass` has no URI, but the path was changed before.
    Changed,
    /// The URI of `proxy_pass` takes the place of the location's prefix.
    PrefixReplaced,
    /// The URI of `proxy_pass` holds variables: it is used alone, and the client's query is not added.
    Variables,
    /// A `rewrite ... break` makes the URI of `proxy_pass` count for nothing.
    Ignored,
}

/// The target in the request line to the backend (`ngx_http_proxy_create_request`). `url` is the URI of `proxy_pass`, and
/// `variables` says that it came out of variables.
pub(super) fn target(uri: &str, variables: bool, p: &Passing<'_>) -> (String, How) {
    if variables && !uri.is_empty() {
        let slash = if uri.starts_with('?') { "/" } else { "" };
        return (format!("{slash}{uri}"), How::Variables);
    }
    if uri.is_empty() && p.unchanged {
        return (p.raw.to_owned(), How::AsSent);
    }
    let replaces = p.by_location && !uri.is_empty();
    let cut = if replaces { p.prefix.len().min(p.uri.len()) } else { 0 };
    let rest = p.uri.get(cut..).unwrap_or_default();
    let rest = if p.escapes { escaped(rest, Escape::Uri) } else { rest.to_owned() };
    let query = if p.args.is_empty() { String::new() } else { format!("?{}", p.args) };
    let how = match () {
        () if replaces => How::PrefixReplaced,
        () if uri.is_empty() => How::Changed,
        () => How::Ignored,
    };
    (format!("{}{rest}{query}", if replaces { uri } else { "" }), how)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_backends_come_apart() {
        let cases = [
            ("http://b", "b:80", "b", ""),
            ("http://b:80/", "b:80", "b", "/"),
            ("https://b:8443/x?y", "b:8443", "b:8443", "/x?y"),
            ("http://[::1]:90/a:b", "[::1]:90", "[::1]:90", "/a:b"),
            ("http://[::1]", "[::1]:80", "[::1]", ""),
            ("http://unix:/run/a.sock", "unix:/run/a.sock", "localhost", ""),
            ("http://unix:/run/a.sock:/u", "unix:/run/a.sock", "localhost", "/u"),
        ];
        for (value, address, host, uri) in cases {
            let url = PassUrl::read(value).expect(value);
            assert_eq!((url.address().as_str(), url.proxy_host().as_str(), url.uri.as_str()), (address, host, uri));
        }
        for wrong in ["b", "ftp://b", "http:///x", "http://:80"] {
            assert_eq!(PassUrl::read(wrong), None, "{wrong}");
        }
    }
}
