//! nginx's own choice of server and location, and the addresses under which WebSocket locations can be reached.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

use super::site::{Listen, Location, Matching, Peer, Place, Server, Site};

/// The most memory that one compiled pattern may take: patterns come from files that others write.
const PATTERN_SIZE: usize = 1 << 20;
/// Compiled patterns kept per thread.
const KEPT_PATTERNS: usize = 512;
/// Further endpoints are not listed: each is checked against all locations of its server.
const MAX_ENDPOINTS: usize = 1_000;

/// A location that is meant for WebSockets, and how a client outside would reach it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// `ws://chat.example.com:8080/ws`; `wss` behind a TLS listen. The port is left out where it is the scheme's own.
    pub url: String,
    /// The location's backends.
    pub peers: Vec<Peer>,
    /// The location.
    pub place: Place,
}

impl Site {
    /// The server and the location that nginx would choose for a request with this Host header (or SNI) and path.
    ///
    /// `local` is the address that the client connected to; with the IP 0.0.0.0 or :: only its port counts, without it
    /// every server is a candidate. `None` when no server listens there or no location matches; a server's own `return`
    /// comes before all of its locations and is not looked at here. For a path that nginx answers with a redirect to
    /// `path/`, the location is the one redirected to ([`Location::redirects`]). Patterns that only PCRE can read never
    /// match; [`Site::problems`] lists them.
    #[must_use]
    pub fn route(&self, local: Option<SocketAddr>, host: &str, path: &str) -> Option<(&Server, &Location)> {
        let server = self.server_for(local, host)?;
        Some((server, server.location_for(path)?))
    }

    /// The server half of [`Site::route`].
    #[must_use]
    pub fn server_for(&self, local: Option<SocketAddr>, host: &str) -> Option<&Server> {
        let candidates = self.listening(local);
        let host = host_name(host);
        by_name(&candidates, &host)
            .or_else(|| candidates.iter().find(|(_, l)| l.default_server).map(|(s, _)| *s))
            .or_else(|| candidates.first().map(|(s, _)| *s))
    }

    /// The server and the location that a request was for of which only its Host header, its path and perhaps the peer that
    /// it was passed to are known, and not the port that it came in by. `None` when that leaves more than one WebSocket
    /// location to choose from.
    #[must_use]
    pub fn asked(&self, host: Option<&str>, path: &str, peer: Option<&str>) -> Option<(&Server, &Location)> {
        let ports = self.servers.iter().flat_map(|s| &s.listens).filter_map(|l| l.port);
        let on = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
        let servers: Vec<&Server> = match host {
            Some(host) => ports.filter_map(|p| self.server_for(Some(on(p)), host)).collect(),
            None => self.servers.iter().collect(),
        };
        let mut found: Vec<(&Server, &Location)> = Vec::new();
        for server in servers {
            if let Some(location) = server.location_for(path)
                && !found.iter().any(|(_, l)| std::ptr::eq(*l, location))
            {
                found.push((server, location));
            }
        }
        let narrower: [&dyn Fn(&Location) -> bool; 2] =
            [&|l| peer.is_some_and(|p| l.leads_to(p)), &Location::means_websocket];
        for fits in narrower {
            if found.len() > 1 && found.iter().any(|(_, l)| fits(l)) {
                found.retain(|(_, l)| fits(l));
            }
        }
        match found.as_slice() {
            [one] => Some(*one),
            _ => None,
        }
    }

    /// The servers on one socket. A socket for one address is more specific than one for all (`ngx_http_add_addresses`).
    fn listening(&self, local: Option<SocketAddr>) -> Vec<(&Server, &Listen)> {
        let on = |fits: &dyn Fn(&Listen) -> bool| -> Vec<(&Server, &Listen)> {
            self.servers.iter().filter_map(|s| Some((s, s.listens.iter().find(|l| fits(l))?))).collect()
        };
        let Some(local) = local else { return on(&|_| true) };
        let port = Some(local.port());
        let ip = local.ip().to_canonical();
        if ip.is_unspecified() {
            return on(&|l| l.port == port);
        }
        let any6 = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let exact = on(&|l| l.port == port && l.ip == Some(ip));
        let all4 = || on(&|l| l.port == port && l.ip.is_none());
        let all6 = || on(&|l| l.port == port && l.ip == Some(any6));
        match ip {
            _ if !exact.is_empty() => exact,
            // An IPv6 socket for all addresses takes IPv4 too when it says ipv6only=off.
            IpAddr::V4(_) => Some(all4()).filter(|v| !v.is_empty()).unwrap_or_else(all6),
            IpAddr::V6(_) => all6(),
        }
    }

    /// The locations that are meant for WebSockets and that a client can name: patterns, named and internal locations have
    /// no URL, nor have servers that listen only on unix sockets or behind the PROXY protocol.
    #[must_use]
    pub fn endpoints(&self) -> Vec<Endpoint> {
        let reachable = |(server, location): (&Server, &Location)| {
            let url = server.url_of(location)?;
            Some(Endpoint { url, peers: location.peers.clone(), place: location.place.clone() })
        };
        self.locations()
            .filter(|(_, l)| l.means_websocket() && !l.internal)
            .take(MAX_ENDPOINTS)
            .filter_map(reachable)
            .collect()
    }
}

impl Server {
    /// The location that nginx would choose for a path, which may carry a query (`ngx_http_core_find_location`).
    #[must_use]
    pub fn location_for(&self, path: &str) -> Option<&Location> {
        find(&self.locations, &normal_path(path)).0
    }

    fn url_of(&self, location: &Location) -> Option<String> {
        if matches!(location.matching, Matching::Named | Matching::Regex | Matching::RegexNoCase)
            || !location.path.starts_with('/')
            || !std::ptr::eq(self.location_for(&location.path)?, location)
        {
            return None;
        }
        let plain = |l: &&Listen| l.port.is_some() && !l.proxy_protocol;
        let listen = self.listens.iter().filter(plain).find(|l| l.tls).or_else(|| self.listens.iter().find(plain))?;
        let scheme = if listen.tls { "wss" } else { "ws" };
        let name = self.names.iter().find(|n| is_plain_name(n));
        let host = name.cloned().unwrap_or_else(|| match listen.ip {
            None => Ipv4Addr::LOCALHOST.to_string(),
            Some(IpAddr::V6(ip)) if ip.is_unspecified() => format!("[{}]", Ipv6Addr::LOCALHOST),
            Some(IpAddr::V6(ip)) => format!("[{ip}]"),
            Some(IpAddr::V4(ip)) => ip.to_string(),
        });
        let port = match (listen.tls, listen.port?) {
            (true, 443) | (false, 80) => String::new(),
            (_, port) => format!(":{port}"),
        };
        Some(format!("{scheme}://{host}{port}{}", encoded_path(&location.path)))
    }
}

impl Location {
    /// `proxy_pass` leads to this peer, named as in the logs.
    #[must_use]
    pub fn leads_to(&self, peer: &str) -> bool {
        let peer = peer.trim_start_matches("unix:");
        self.peers.iter().any(|p| p.address.trim_start_matches("unix:") == peer)
    }

    /// nginx answers `path` with a redirect to this location: `location /ws/ { proxy_pass ...; }` and a request for `/ws`.
    #[must_use]
    pub fn redirects(&self, path: &str) -> bool {
        self.redirects_normal(&normal_path(path))
    }

    fn redirects_normal(&self, path: &str) -> bool {
        self.proxy_pass.is_some()
            && matches!(self.matching, Matching::Prefix | Matching::PrefixNoRegex | Matching::Exact)
            && self.path.strip_suffix('/') == Some(path)
    }
}

/// How a choice among locations ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// No regular expression may overrule it.
    Final,
    /// The longest prefix so far.
    Open,
}

fn find<'a>(locations: &'a [Location], path: &str) -> (Option<&'a Location>, Choice) {
    let exact = |l: &&Location| l.matching == Matching::Exact && l.path == path;
    if let Some(l) = locations.iter().find(exact) {
        return (Some(l), Choice::Final);
    }
    let is_prefix = |l: &&Location| matches!(l.matching, Matching::Prefix | Matching::PrefixNoRegex);
    let best = locations.iter().filter(is_prefix).filter(|l| path.starts_with(&l.path)).max_by_key(|l| l.path.len());
    // "/ws" meets "location /ws/": nginx redirects, before any regular expression, unless "location /ws" is there too.
    if best.is_none_or(|l| l.path.len() < path.len())
        && let Some(l) = locations.iter().find(|l| l.redirects_normal(path))
    {
        return (Some(l), Choice::Final);
    }
    let mut chosen = best;
    if let Some(l) = best {
        let (nested, choice) = find(&l.locations, path);
        chosen = nested.or(best);
        if nested.is_some() && choice == Choice::Final {
            return (nested, choice);
        }
        if l.matching == Matching::PrefixNoRegex {
            return (chosen, Choice::Open);
        }
    }
    for l in locations.iter().filter(|l| matches!(l.matching, Matching::Regex | Matching::RegexNoCase)) {
        if pattern(&l.path, l.matching == Matching::RegexNoCase).is_some_and(|p| p.is_match(path)) {
            return (find(&l.locations, path).0.or(Some(l)), Choice::Final);
        }
    }
    (chosen, Choice::Open)
}

/// Exact names, then the longest `*.name`, then the longest `name.*`, then patterns in file order
/// (`ngx_http_find_virtual_server`).
fn by_name<'a>(candidates: &[(&'a Server, &Listen)], host: &str) -> Option<&'a Server> {
    let names = || candidates.iter().flat_map(|(s, _)| s.names.iter().map(move |n| (*s, n.as_str())));
    let exact = names().find(|(_, n)| {
        let n = n.strip_prefix('.').unwrap_or(n);
        n.eq_ignore_ascii_case(host)
    });
    let longest = |leading: bool| {
        let fits = |n: &str| n.starts_with(['*', '.']) == leading && wildcard(&n.to_ascii_lowercase(), host);
        let mut best: Option<(&Server, &str)> = None;
        for (s, n) in names().filter(|(_, n)| fits(n)) {
            if best.is_none_or(|(_, b)| b.len() < n.len()) {
                best = Some((s, n));
            }
        }
        best
    };
    exact
        .or_else(|| longest(true))
        .or_else(|| longest(false))
        .or_else(|| {
            names().find(|(_, n)| n.strip_prefix('~').and_then(|p| pattern(p, true)).is_some_and(|p| p.is_match(host)))
        })
        .map(|(s, _)| s)
}

/// Whether `name` fits `*.example.com`, `.example.com` or `www.example.*`, all in lower case.
#[must_use]
pub fn wildcard(written: &str, name: &str) -> bool {
    if let Some(tail) = written.strip_prefix('*') {
        return tail.starts_with('.') && name.len() > tail.len() && name.ends_with(tail);
    }
    if written.starts_with('.') {
        return name.ends_with(written) || written.strip_prefix('.') == Some(name);
    }
    written
        .strip_suffix('*')
        .is_some_and(|head| head.ends_with('.') && name.len() > head.len() && name.starts_with(head))
}

/// A Host header as nginx compares it: without port and final dot, in lower case.
fn host_name(host: &str) -> String {
    let v6_end = host.find(']').filter(|_| host.starts_with('['));
    let without_port = match v6_end {
        Some(end) => host.get(..=end).unwrap_or(host),
        None => host.split(':').next().unwrap_or(host),
    };
    without_port.strip_suffix('.').unwrap_or(without_port).to_ascii_lowercase()
}

fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
}

/// A request target as nginx matches it: without query and fragment, unescaped, slashes merged, dots walked
/// (`ngx_http_parse_complex_uri`).
fn normal_path(target: &str) -> String {
    let path = target.split(['?', '#']).next().unwrap_or(target);
    let bytes = unescaped(path);
    let path = String::from_utf8_lossy(&bytes);
    let mut segments: Vec<&str> = Vec::new();
    let mut ends_in_directory = true;
    for segment in path.split('/') {
        ends_in_directory = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            other => segments.push(other),
        }
    }
    let mut out = String::with_capacity(path.len() + 1);
    for segment in &segments {
        out.push('/');
        out.push_str(segment);
    }
    if ends_in_directory {
        out.push('/');
    }
    out
}

fn unescaped(path: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = match rest {
            [b'%', a, b, ..] => hex(*a).zip(hex(*b)).map(|(a, b)| a << 4 | b),
            _ => None,
        };
        out.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    out
}

fn hex(digit: u8) -> Option<u8> {
    u8::try_from(char::from(digit).to_digit(16)?).ok()
}

fn encoded_path(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for &byte in path.as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for nibble in [byte >> 4, byte & 15] {
                out.extend(char::from_digit(u32::from(nibble), 16).map(|c| c.to_ascii_uppercase()));
            }
        }
    }
    out
}

type Patterns = HashMap<(String, bool), Option<Regex>>;

thread_local! {
    /// Compiling takes far longer than matching, and the same few patterns are asked for at every line.
    static PATTERNS: RefCell<Patterns> = RefCell::new(HashMap::new());
}

/// A pattern of nginx (PCRE) compiled; `None` when it uses what only PCRE has, such as look-around and back-references.
#[must_use]
pub fn pattern(text: &str, ignore_case: bool) -> Option<Regex> {
    PATTERNS.with_borrow_mut(|kept| {
        if let Some(known) = kept.get(&(text.to_owned(), ignore_case)) {
            return known.clone();
        }
        if kept.len() >= KEPT_PATTERNS {
            kept.clear();
        }
        let compiled = RegexBuilder::new(text).case_insensitive(ignore_case).size_limit(PATTERN_SIZE).build().ok();
        kept.insert((text.to_owned(), ignore_case), compiled.clone());
        compiled
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_compared_as_nginx_reads_them() {
        let cases = [
            ("/ws", "/ws"),
            ("/ws/", "/ws/"),
            ("/ws?a=/b", "/ws"),
            ("//a//b/", "/a/b/"),
            ("/a/../b", "/b"),
            ("/a/./b/..", "/a/"),
            ("/%77s", "/ws"),
            ("/%", "/%"),
            ("/%7", "/%7"),
            ("/a%2", "/a%2"),
            ("/../..", "/"),
            ("", "/"),
        ];
        for (target, want) in cases {
            assert_eq!(normal_path(target), want, "for {target:?}");
        }
    }

    #[test]
    fn hosts_lose_port_case_and_final_dot() {
        let cases = [("A.b:80", "a.b"), ("a.b.", "a.b"), ("[::1]:80", "[::1]"), ("[::1", "["), ("", "")];
        for (host, want) in cases {
            assert_eq!(host_name(host), want, "for {host:?}");
        }
    }

    #[test]
    fn wildcards_need_a_whole_label() {
        let cases = [
            ("*.a.b", "x.a.b", true),
            ("*.a.b", "x.y.a.b", true),
            ("*.a.b", "a.b", false),
            ("*.a.b", "xa.b", false),
            (".a.b", "a.b", true),
            (".a.b", "x.a.b", true),
            (".a.b", "xa.b", false),
            ("www.*", "www.a", true),
            ("www.*", "www.", false),
            ("www.*", "wwwa", false),
            ("*", "a", false),
        ];
        for (written, name, want) in cases {
            assert_eq!(wildcard(written, name), want, "{written} and {name}");
        }
    }
}
