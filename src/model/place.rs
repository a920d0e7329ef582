//! Which location and upstream a socket or a line belongs to, as far as the configuration tells.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use crate::event::site::{Matching, Site};

/// What the configuration says about ports and paths, laid out for look-ups.
#[derive(Clone, Debug, Default)]
pub struct Places {
    listen_ports: BTreeSet<u16>,
    /// Backend ports with the locations that lead there.
    upstreams: BTreeMap<u16, Vec<LocationPlace>>,
    /// Paths of backends' unix sockets with the locations that lead there.
    unix: BTreeMap<String, Vec<LocationPlace>>,
    /// Prefixes of locations meant for WebSockets.
    websocket_prefixes: Vec<(Matching, String)>,
    tls_ports: BTreeSet<u16>,
    /// Some location is chosen by a pattern, which wins over prefixes.
    has_patterns: bool,
}

/// The location that a tunnel belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocationPlace {
    /// The location's prefix or pattern.
    pub path: String,
    /// The peer as written, `10.0.0.7:8080` or `unix:/run/app.sock`.
    pub peer: String,
    /// Its effective `proxy_read_timeout`.
    pub read_timeout: Duration,
    /// Its effective `proxy_send_timeout`.
    pub send_timeout: Duration,
    /// It passes Upgrade on, or was meant to.
    pub websocket: bool,
    /// It speaks TLS to the backend (`proxy_pass https://..`).
    pub tls: bool,
    /// The ports that its server listens on.
    pub ports: Vec<u16>,
}

impl Places {
    /// Reads a configuration.
    #[must_use]
    pub fn of(site: &Site) -> Self {
        let mut places = Self::default();
        for listen in site.servers.iter().flat_map(|s| &s.listens) {
            places.listen_ports.extend(listen.port);
            if listen.tls {
                places.tls_ports.extend(listen.port);
            }
        }
        for (server, location) in site.locations() {
            places.has_patterns |= matches!(location.matching, Matching::Regex | Matching::RegexNoCase);
            if location.means_websocket() {
                places.websocket_prefixes.push((location.matching, location.path.clone()));
            }
            for peer in &location.peers {
                let leading = match (peer.port(), peer.unix_path()) {
                    (Some(port), _) => places.upstreams.entry(port).or_default(),
                    (None, Some(path)) => places.unix.entry(path.to_owned()).or_default(),
                    (None, None) => continue,
                };
                leading.push(LocationPlace {
                    path: location.path.clone(),
                    peer: peer.address.clone(),
                    read_timeout: location.read_timeout.value,
                    send_timeout: location.send_timeout.value,
                    websocket: location.means_websocket(),
                    tls: location.proxy_pass.as_ref().is_some_and(|p| p.value.starts_with("https:")),
                    ports: server.listens.iter().filter_map(|l| l.port).collect(),
                });
            }
        }
        places
    }

    /// nginx listens on this port.
    #[must_use]
    pub fn is_listen_port(&self, port: u16) -> bool {
        self.listen_ports.contains(&port)
    }

    /// nginx speaks TLS on this port.
    #[must_use]
    pub fn is_tls_port(&self, port: u16) -> bool {
        self.tls_ports.contains(&port)
    }

    /// A backend is reached on this port.
    #[must_use]
    pub fn is_upstream_port(&self, port: u16) -> bool {
        self.upstreams.contains_key(&port)
    }

    /// The locations that lead to the peer at `addr`, WebSocket locations alone where there are any.
    #[must_use]
    pub fn locations_of(&self, addr: SocketAddr) -> Vec<&LocationPlace> {
        let Some(all) = self.upstreams.get(&addr.port()) else { return Vec::new() };
        let exact: Vec<&LocationPlace> =
            all.iter().filter(|l| l.peer.parse::<SocketAddr>().is_ok_and(|p| p == addr)).collect();
        // A peer given by name cannot be compared with an address: then the port decides.
        websocket_first(if exact.is_empty() { all.iter().collect() } else { exact })
    }

    /// The locations that lead to the unix socket at `path`, WebSocket locations alone where there are any.
    #[must_use]
    pub fn locations_of_unix(&self, path: &str) -> Vec<&LocationPlace> {
        websocket_first(self.unix.get(path).map(|all| all.iter().collect()).unwrap_or_default())
    }

    /// `path` falls below a location that is meant for WebSockets.
    #[must_use]
    pub fn is_websocket_path(&self, path: &str) -> bool {
        self.websocket_prefixes.iter().any(|(matching, prefix)| match matching {
            Matching::Exact => path == prefix,
            // "/" catches everything: that a plain page failed there says nothing about handshakes.
            Matching::Prefix | Matching::PrefixNoRegex => prefix != "/" && path.starts_with(prefix.as_str()),
            Matching::Regex | Matching::RegexNoCase | Matching::Named => false,
        })
    }

    /// The WebSocket location below which `path` falls: the longest prefix. `None` too where a location chosen by a pattern
    /// could win over it.
    #[must_use]
    pub fn websocket_location(&self, path: &str) -> Option<&str> {
        let fits = |(matching, prefix): &&(Matching, String)| match matching {
            Matching::Exact => path == prefix,
            Matching::Prefix => !self.has_patterns && prefix != "/" && path.starts_with(prefix.as_str()),
            Matching::PrefixNoRegex => prefix != "/" && path.starts_with(prefix.as_str()),
            Matching::Regex | Matching::RegexNoCase | Matching::Named => false,
        };
        let all = self.websocket_prefixes.iter().filter(fits);
        all.max_by_key(|(matching, prefix)| (*matching == Matching::Exact, prefix.len()))
            .map(|(_, prefix)| prefix.as_str())
    }
}

fn websocket_first(found: Vec<&LocationPlace>) -> Vec<&LocationPlace> {
    let websocket: Vec<&LocationPlace> = found.iter().copied().filter(|l| l.websocket).collect();
    if websocket.is_empty() { found } else { websocket }
}

/// Of `locations` those of servers that listen on `port`; all when it is not known, or fits none.
#[must_use]
pub fn on_port(locations: &[LocationPlace], port: Option<u16>) -> Vec<&LocationPlace> {
    let here: Vec<&LocationPlace> = locations.iter().filter(|l| port.is_some_and(|p| l.ports.contains(&p))).collect();
    if here.is_empty() { locations.iter().collect() } else { here }
}

/// The path, when all of these locations have the same.
#[must_use]
pub fn only_path<'a>(locations: &[&'a LocationPlace]) -> Option<&'a str> {
    let first = locations.first()?;
    locations.iter().all(|l| l.path == first.path).then_some(first.path.as_str())
}
