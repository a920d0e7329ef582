//! nginx's own choice of server and location, and the addresses under which WebSocket locations can be reached.

mod choose;
mod hand;
mod pass;
mod path;
mod patterns;
mod rewrite;
pub mod script;
mod seen;
mod values;
mod walk;
mod walker;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::site::{Listen, Location, Matching, Peer, Place, Server, Site};
use choose::{Nobody, find, host_name};

pub use choose::{ByName, Candidate, Verdict, written};
pub use pass::How;
pub use path::{BadTarget, Escape, Target, escaped, read};
pub use patterns::{pattern, wildcard};
pub use seen::{Chosen, End, Happened, Origin, Passed, Pool, Sent, Socket, TIMEOUTS, Walk};
pub use values::Request;
pub use walk::{MAX_CANDIDATES, walk};

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
    /// comes before all of its locations and is not looked at here, nor is a `rewrite`: [`walk`] follows them, by the same
    /// choice. For a path that nginx answers with a redirect to
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
        choose::server(&self.listening(local), &host_name(host)).map(|(server, _, _)| server)
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

    /// The servers on the socket that a request comes to.
    fn on_socket(&self, request: &Request) -> Vec<(&Server, &Listen)> {
        let Some(path) = &request.unix else { return self.listening(request.local) };
        let fits = |l: &&Listen| l.unix.as_ref() == Some(path);
        self.servers.iter().filter_map(|s| Some((s, s.listens.iter().find(fits)?))).collect()
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
    /// The location that nginx would choose for a path, which may carry a query (`ngx_http_core_find_location`); `None`
    /// also for a path that it answers with 400.
    #[must_use]
    pub fn location_for(&self, path: &str) -> Option<&Location> {
        find(&self.locations, &read(path, !self.way.keep_slashes).ok()?.path, 0, &mut Nobody).0
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
        Some(format!("{scheme}://{host}{port}{}", path::for_url(&location.path)))
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
        read(path, true).is_ok_and(|t| self.redirects_normal(&t.path))
    }

    /// The same for a path as locations see it (`auto_redirect`): a `proxy_pass` in an `if` alone does not make nginx do it,
    /// `fastcgi_pass` and its like do.
    fn redirects_normal(&self, path: &str) -> bool {
        let passes = match (&self.way.own_pass, &self.way.other_pass) {
            // Of a recording only the choice is known.
            (None, None) => self.proxy_pass.is_some() && !self.way.steps.iter().any(script::Step::passes),
            _ => true,
        };
        passes
            && matches!(self.matching, Matching::Prefix | Matching::PrefixNoRegex | Matching::Exact)
            && self.path.strip_suffix('/') == Some(path)
    }
}

fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
}
