//! Which backends a `proxy_pass` leads to.

use std::collections::HashMap;

use super::include::{Node, Notes};
use super::variables::{Sets, Variables};
use crate::event::route::script::{Piece, pieces};
use crate::event::site::{Peer, Upstream};

/// Variables that always begin a path: what stands before them is a whole host and port.
const PATHS: [&str; 4] = ["request_uri", "uri", "document_uri", "is_args"];

/// The peers of each `upstream`, by its name in lower case: nginx compares without regard to case
/// (`ngx_http_upstream_add`).
pub(super) type Pools = HashMap<String, Vec<Peer>>;

/// An `upstream NAME { server ...; }` block.
pub(super) fn upstream(node: &Node, notes: &mut Notes) -> Upstream {
    let mut upstream = Upstream { place: node.place.clone(), ..Upstream::default() };
    let words = |n: &Node| n.words.iter().map(|w| w.text.as_str()).collect::<Vec<_>>().join(" ");
    upstream.settings =
        node.nodes().iter().filter(|n| n.name() != "server").map(|n| (words(n), n.place.clone())).collect();
    for line in node.nodes().iter().filter(|n| n.name() == "server") {
        let Some(address) = line.arg(0) else { continue };
        let given = |word: &str| line.args().iter().skip(1).any(|w| w.text == word);
        upstream.peers.push(Peer {
            address: with_port(address, 80),
            backup: given("backup"),
            down: given("down"),
            weight: line.args().iter().find_map(|w| w.text.strip_prefix("weight=")?.parse().ok()),
            place: Some(line.place.clone()),
        });
    }
    if upstream.peers.is_empty() {
        notes.on(node, "no servers are inside this upstream");
    } else if upstream.peers.iter().all(|p| p.backup) {
        notes.on(node, "no servers in this upstream: all of them are only for backup");
    }
    upstream
}

/// `host` with its port, or with the default one. A unix socket has none.
fn with_port(address: &str, default: u16) -> String {
    let unix = address.get(..5).is_some_and(|p| p.eq_ignore_ascii_case("unix:"));
    let after_host = address.rsplit_once(']').map_or(address, |(_, rest)| rest);
    if unix || after_host.contains(':') { address.to_owned() } else { format!("{address}:{default}") }
}

/// The peers of a `proxy_pass` value; none when variables decide that cannot be told.
pub(super) fn peers(url: &str, pools: &Pools, variables: &mut Variables, sets: &Sets) -> Vec<Peer> {
    let (known, unknown) = known_part(url, variables, sets);
    let Some((scheme, rest)) = known.split_once("://") else { return Vec::new() };
    let default = if scheme.eq_ignore_ascii_case("https") { 443 } else { 80 };
    let one = |address: String| vec![Peer { address, ..Peer::default() }];
    if let Some(path) = rest.strip_prefix("unix:") {
        return match path.split_once(':') {
            Some((path, _)) => one(format!("unix:{path}")),
            None if unknown.is_none() => one(format!("unix:{path}")),
            None => Vec::new(),
        };
    }
    let host = rest.split(['/', '?']).next().unwrap_or(rest);
    if let Some(peers) = pools.get(&host.to_ascii_lowercase()) {
        return peers.clone();
    }
    let whole = host.len() < rest.len() || unknown.is_none_or(|name| PATHS.contains(&name.as_str()));
    if whole && !host.is_empty() { one(with_port(host, default)) } else { Vec::new() }
}

/// The text up to the first variable whose value cannot be told, and that variable's name.
fn known_part(url: &str, variables: &mut Variables, sets: &Sets) -> (String, Option<String>) {
    let mut known = String::new();
    for piece in pieces(url) {
        match piece {
            Piece::Text(text) => known.push_str(text),
            Piece::Variable(name) => match variables.evaluate(&format!("${{{name}}}"), sets) {
                Some(value) => known.push_str(&value),
                None => return (known, Some(name.to_ascii_lowercase())),
            },
        }
    }
    (known, None)
}
