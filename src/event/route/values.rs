//! What variables are for one request: its own words, maps, `set`s and captured parts of patterns.

use std::collections::HashMap;
use std::net::SocketAddr;

use regex::Regex;

use super::choose::host_name;
use super::path::{Escape, escaped};
use super::patterns::pattern;
use super::script::{Piece, operands, pieces};
use crate::event::site::{Server, Site};

/// A map that leads to a map that leads to a map: nginx ends it with an error, this program after so many.
const MAX_CHAIN: usize = 16;
/// Longer values cannot be told: maps and `set`s that double one another would fill the memory.
const MAX_VALUE: usize = 64 * 1024;

/// Headers that clients send or not as they like: what they hold cannot be told unless they were given.
const OF_CLIENTS: [&str; 11] = [
    "accept",
    "accept_encoding",
    "accept_language",
    "authorization",
    "cookie",
    "origin",
    "referer",
    "sec_websocket_extensions",
    "sec_websocket_key",
    "sec_websocket_protocol",
    "user_agent",
];

/// A request that is followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// It comes by TLS.
    pub tls: bool,
    /// TLS ends before nginx: whatever listens, the request comes in the clear.
    pub tls_ends_before: bool,
    /// The Host header.
    pub host: String,
    /// Path and query as sent.
    pub target: String,
    /// The address that the client connects to; with 0.0.0.0 or :: only its port counts.
    pub local: Option<SocketAddr>,
    /// The unix socket that the client connects to instead.
    pub unix: Option<String>,
    /// It asks for a WebSocket (RFC 6455 section 4.1); otherwise it is a plain GET.
    pub websocket: bool,
    /// Further headers.
    pub headers: Vec<(String, String)>,
}

impl Request {
    /// The value of a header; `None` when it cannot be told, empty when it is not sent.
    fn header(&self, name: &str) -> Option<String> {
        let is = |n: &str| n.len() == name.len() && n.bytes().map(variable_byte).eq(name.bytes());
        if let Some((_, value)) = self.headers.iter().find(|(n, _)| is(n)) {
            return Some(value.clone());
        }
        match name {
            "host" => Some(self.host.clone()),
            "upgrade" if self.websocket => Some("websocket".to_owned()),
            "connection" if self.websocket => Some("Upgrade".to_owned()),
            "sec_websocket_version" if self.websocket => Some("13".to_owned()),
            // A plain request may say keep-alive or nothing.
            "connection" => None,
            _ if OF_CLIENTS.contains(&name) => None,
            _ => Some(String::new()),
        }
    }
}

fn variable_byte(b: u8) -> u8 {
    if b == b'-' { b'_' } else { b.to_ascii_lowercase() }
}

/// A request on its way through nginx.
pub(super) struct State<'a> {
    pub(super) site: &'a Site,
    pub(super) request: &'a Request,
    pub(super) server: &'a Server,
    /// The path as locations see it now.
    pub(super) uri: String,
    /// The arguments now.
    pub(super) args: String,
    /// The path was sent with `%XX` or `+` escaped in it.
    pub(super) quoted: bool,
    /// `$proxy_host`.
    pub(super) proxy_host: Option<String>,
    sets: HashMap<String, Option<String>>,
    maps: HashMap<String, Option<String>>,
    captures: Vec<String>,
    named: HashMap<String, String>,
}

impl<'a> State<'a> {
    pub(super) fn new(site: &'a Site, request: &'a Request, server: &'a Server) -> Self {
        Self {
            site,
            request,
            server,
            uri: String::new(),
            args: String::new(),
            quoted: false,
            proxy_host: None,
            sets: HashMap::new(),
            maps: HashMap::new(),
            captures: Vec::new(),
            named: HashMap::new(),
        }
    }

    /// Matches and keeps what the pattern captured; `None` when the pattern cannot be read.
    pub(super) fn matches(&mut self, text: &str, ignore_case: bool, subject: &str) -> Option<bool> {
        let regex = pattern(text, ignore_case)?;
        Some(self.capture(&regex, subject))
    }

    fn capture(&mut self, regex: &Regex, subject: &str) -> bool {
        let Some(found) = regex.captures(subject) else { return false };
        self.captures = found.iter().map(|m| m.map_or_else(String::new, |m| m.as_str().to_owned())).collect();
        for name in regex.capture_names().flatten() {
            if let Some(m) = found.name(name) {
                self.named.insert(name.to_ascii_lowercase(), m.as_str().to_owned());
            }
        }
        true
    }

    pub(super) fn set(&mut self, name: &str, value: Option<String>) {
        self.sets.insert(name.to_owned(), value);
    }

    /// The text for this request; `None` when a variable in it cannot be told.
    pub(super) fn text(&mut self, text: &str) -> Option<String> {
        self.joined(text, 0, false)
    }

    /// The same inside arguments, where captured parts of an escaped path are escaped again
    /// (`ngx_http_script_copy_capture_code`).
    pub(super) fn arguments(&mut self, text: &str) -> Option<String> {
        self.joined(text, 0, self.quoted)
    }

    fn joined(&mut self, text: &str, depth: usize, quote: bool) -> Option<String> {
        let mut out = String::new();
        for piece in pieces(text) {
            match piece {
                Piece::Text(t) => out.push_str(t),
                Piece::Variable(name) => {
                    let value = self.variable(&name.to_ascii_lowercase(), depth)?;
                    let captured = quote && name.len() == 1 && name.bytes().all(|b| b.is_ascii_digit());
                    out.push_str(&if captured { escaped(&value, Escape::Args) } else { value });
                }
            }
            if out.len() > MAX_VALUE {
                return None;
            }
        }
        Some(out)
    }

    /// The value of one variable, named in lower case.
    fn variable(&mut self, name: &str, depth: usize) -> Option<String> {
        if let [digit @ b'1'..=b'9'] = name.as_bytes() {
            let part = self.captures.get(usize::from(digit - b'0'));
            return Some(part.cloned().unwrap_or_default());
        }
        if let Some(set) = self.sets.get(name) {
            return set.clone();
        }
        if let Some(value) = self.named.get(name) {
            return Some(value.clone());
        }
        if self.site.maps.contains_key(name) {
            return self.mapped(name, depth);
        }
        self.own(name)
    }

    fn mapped(&mut self, name: &str, depth: usize) -> Option<String> {
        if let Some(known) = self.maps.get(name) {
            return known.clone();
        }
        if depth >= MAX_CHAIN {
            return None;
        }
        let map = self.site.maps.get(name)?;
        let value = self.joined(&map.source, depth + 1, false).and_then(|key| {
            let found = map.find(&key)?;
            if let Some(regex) = &found.pattern {
                self.capture(regex, &key);
            }
            self.joined(found.value, depth + 1, false)
        });
        self.maps.insert(name.to_owned(), value.clone());
        value
    }

    /// What nginx itself knows of the request (http/ngx_http_variables.c).
    fn own(&self, name: &str) -> Option<String> {
        if let Some(header) = name.strip_prefix("http_") {
            return self.request.header(header);
        }
        if let Some(argument) = name.strip_prefix("arg_") {
            return Some(self.argument(argument));
        }
        if let Some(cookie) = name.strip_prefix("cookie_") {
            let all = self.request.header("cookie")?;
            let mut pairs = all.split(';').filter_map(|p| p.trim().split_once('='));
            let found = pairs.find(|(n, _)| n.eq_ignore_ascii_case(cookie));
            return Some(found.map(|(_, v)| v.to_owned()).unwrap_or_default());
        }
        let request = self.request;
        Some(match name {
            "uri" | "document_uri" => self.uri.clone(),
            "request_uri" => request.target.clone(),
            "args" | "query_string" => self.args.clone(),
            "is_args" => if self.args.is_empty() { "" } else { "?" }.to_owned(),
            "request" => format!("GET {} HTTP/1.1", request.target),
            "request_method" => "GET".to_owned(),
            "server_protocol" => "HTTP/1.1".to_owned(),
            "scheme" => if self.is_tls() { "https" } else { "http" }.to_owned(),
            "https" => if self.is_tls() { "on" } else { "" }.to_owned(),
            "host" => match host_name(&request.host) {
                host if host.is_empty() => self.server_name(),
                host => host,
            },
            "server_name" => self.server_name(),
            "server_port" => request.local?.port().to_string(),
            "server_addr" => request.local.map(|l| l.ip()).filter(|ip| !ip.is_unspecified())?.to_string(),
            "proxy_host" => self.proxy_host.clone()?,
            "nginx_version" => self.site.version?.to_string(),
            "content_length" | "content_type" => String::new(),
            _ => return None,
        })
    }

    fn is_tls(&self) -> bool {
        self.request.tls && !self.request.tls_ends_before
    }

    fn server_name(&self) -> String {
        self.server.names.first().cloned().unwrap_or_default()
    }

    fn argument(&self, name: &str) -> String {
        let pairs = self.args.split('&').filter_map(|p| p.split_once('='));
        let found = pairs.into_iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, v)| v.to_owned()).unwrap_or_default()
    }

    /// Whether the condition of an `if` holds; `None` when that cannot be told. File tests never can.
    pub(super) fn condition(&mut self, words: &[String]) -> Option<bool> {
        let (left, operator, right) = operands(words)?;
        let left = self.text(left.starts_with('$').then_some(left)?)?;
        match operator {
            "" => Some(!left.is_empty() && left != "0"),
            "=" => Some(left == self.text(right)?),
            "!=" => Some(left != self.text(right)?),
            "~" | "!~" => Some(self.matches(right, false, &left)? != operator.starts_with('!')),
            "~*" | "!~*" => Some(self.matches(right, true, &left)? != operator.starts_with('!')),
            _ => None,
        }
    }
}
