//! Directives that are right by themselves and refused beside others.

use std::collections::{BTreeSet, HashSet};

use super::include::{Node, Notes};
use crate::event::route::script::{Piece, pieces};
use crate::event::site::{Listen, Location, Matching, Server};

/// What nobody but a configuration defines; without a definition nginx does not start.
const UPGRADE_MAP: &str = "connection_upgrade";

/// Two locations of one kind and path (`ngx_http_core_location`), on the level where they stand.
pub(super) fn locations(nodes: &[&Node], found: &[Location], out: &mut Notes) {
    let mut seen = HashSet::new();
    for location in found {
        let kind = match location.matching {
            Matching::Regex | Matching::RegexNoCase => continue,
            Matching::PrefixNoRegex => Matching::Prefix,
            other => other,
        };
        if !seen.insert((kind, location.path.as_str()))
            && let Some(node) = nodes.iter().find(|n| n.place == location.place)
        {
            out.on(node, format!("duplicate location \"{}\"", location.path));
        }
    }
}

/// One address twice in one server, or two defaults for one address (http/ngx_http.c, `ngx_http_add_server`).
pub(super) fn listens(nodes: &[(&Node, &Server)], out: &mut Notes) {
    let mut defaults = BTreeSet::new();
    for (node, server) in nodes {
        let mut own = BTreeSet::new();
        for l in &server.listens {
            let line = node.nodes().iter().find(|n| n.name() == "listen" && n.place == l.place);
            let Some(line) = line else { continue };
            let address = (l.ip, l.port, l.unix.clone());
            if !own.insert(address.clone()) {
                out.on(line, format!("a duplicate listen {}", shown(l)));
            } else if l.default_server && !defaults.insert(address) {
                out.on(line, format!("a duplicate default server for {}", shown(l)));
            }
        }
    }
}

fn shown(l: &Listen) -> String {
    let port = l.port.unwrap_or_default();
    match (&l.unix, l.ip) {
        (Some(path), _) => format!("unix:{path}"),
        (None, Some(ip)) => std::net::SocketAddr::new(ip, port).to_string(),
        (None, None) => format!("0.0.0.0:{port}"),
    }
}

/// `proxy_pass` with a path where nginx would not know which part of the request's it replaces.
pub(super) fn pass_with_path(location: &Node, matching: Matching, out: &mut Notes) {
    let is_free = matches!(matching, Matching::Regex | Matching::RegexNoCase | Matching::Named);
    let passes = |nodes: &'_ [Node]| {
        nodes
            .iter()
            .filter(|n| n.name() == "proxy_pass")
            .map(|n| (n.arg(0).map(has_path), n.place.clone()))
            .collect::<Vec<_>>()
    };
    let in_if = location.nodes().iter().filter(|n| matches!(n.name(), "if" | "limit_except"));
    let inner = in_if.flat_map(|n| passes(n.nodes()));
    let own = if is_free { passes(location.nodes()) } else { Vec::new() };
    let wrong: Vec<_> = own.into_iter().chain(inner).filter(|(path, _)| *path == Some(true)).map(|(_, p)| p).collect();
    for node in location.nodes().iter().flat_map(|n| std::iter::once(n).chain(n.nodes())) {
        if node.name() == "proxy_pass" && wrong.contains(&node.place) {
            out.on(
                node,
                "\"proxy_pass\" cannot have URI part in location given by regular expression, or inside named location, \
                 or inside \"if\" statement, or inside \"limit_except\" block",
            );
        }
    }
}

/// A URL without variables that has a path.
fn has_path(url: &str) -> bool {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    match rest.strip_prefix("unix:") {
        _ if url.contains('$') => false,
        Some(socket) => socket.split_once(':').is_some_and(|(_, path)| !path.is_empty()),
        None => rest.contains('/'),
    }
}

/// `$connection_upgrade` without a map: the four lines of many a guide were copied and the map was not.
pub(super) fn upgrade_map(nodes: &[Node], out: &mut Notes) {
    let mut users = Vec::new();
    if !is_defined(nodes, &mut users) {
        for node in users {
            out.on(node, format!("unknown \"{UPGRADE_MAP}\" variable"));
        }
    }
}

/// Whether anything may define it; collects who uses it meanwhile.
fn is_defined<'a>(nodes: &'a [Node], users: &mut Vec<&'a Node>) -> bool {
    nodes.iter().any(|node| {
        let is_it = |text: &str| {
            pieces(text).iter().any(|p| matches!(p, Piece::Variable(n) if n.eq_ignore_ascii_case(UPGRADE_MAP)))
        };
        let has_it = node.args().iter().any(|w| is_it(&w.text));
        if has_it && node.name() == "proxy_set_header" {
            users.push(node);
        }
        // map, geo, set, js_set, perl_set, auth_request_set and whatever modules have besides.
        (has_it && node.name() != "proxy_set_header" && node.args().iter().any(|w| is_alone(&w.text)))
            || is_defined(node.nodes(), users)
    })
}

fn is_alone(text: &str) -> bool {
    text.strip_prefix('$').is_some_and(|name| name.eq_ignore_ascii_case(UPGRADE_MAP))
}
