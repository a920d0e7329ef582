//! Lines of a configuration that do less, or more, than they seem to, told from the text of its files.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use crate::event::site::{Location, Peer, Place, Remark, Remarkable, Site};
use crate::nginx::conf::{self, Directive};

/// Directives that shape plain requests and answers and do nothing once a tunnel is open: nginx relays its bytes as they
/// come (`ngx_http_upstream_process_upgraded`), with no body, no buffering and no keep-alive between requests.
const WITHOUT_EFFECT: &[&str] = &[
    "proxy_buffering",
    "proxy_buffers",
    "proxy_busy_buffers_size",
    "proxy_request_buffering",
    "client_max_body_size",
    "client_body_timeout",
    "client_body_buffer_size",
    "keepalive_timeout",
    "keepalive_requests",
    "gzip",
];

/// Parts of paths under which nobody serves plain requests. Where libraries fall back to plain requests (`/socket.io/`,
/// SignalR, SockJS) these directives do matter.
const ONLY_WEBSOCKETS: &[&str] = &["ws", "wss", "websocket", "websockets"];

/// What is remarkable in the locations that pass Upgrade on, as far as [`Site::sources`] holds their text. In time linear in
/// that text and the number of locations.
#[must_use]
pub fn remarks(site: &Site) -> Vec<Remark> {
    let parse = |text: &str| conf::parse(text.as_bytes()).directives;
    let files: Vec<(&str, Vec<Directive>)> = site.sources.iter().map(|(n, s)| (n.as_str(), parse(&s.text))).collect();
    let mut text = Text::default();
    for (name, tree) in &files {
        text.read(name, tree);
    }
    let mut out = Vec::new();
    for (_, l) in site.locations().filter(|(_, l)| l.forwards_upgrade()) {
        let Some(block) = text.locations.get(&(l.place.file.as_str(), l.place.line)) else { continue };
        let mut note = |what, lines: Vec<(Place, String)>| {
            if !lines.is_empty() {
                out.push(Remark { location: l.place.clone(), what, lines });
            }
        };
        note(Remarkable::WithoutEffect, without_effect(l, block));
        note(Remarkable::AnyUpgrade, text.any_upgrade(l));
    }
    // A file that could not be kept may hold the resolver.
    if !text.has_resolver && site.files.iter().all(|f| site.sources.contains_key(f)) {
        out.extend(unresolved(site));
    }
    out
}

/// Locations whose `proxy_pass` has variables and a name in it: where no `upstream` block and no other `proxy_pass` bears
/// this name, nginx asks its resolver for it (`ngx_http_upstream_init_request`).
fn unresolved(site: &Site) -> Vec<Remark> {
    let is_dynamic = |l: &Location| l.proxy_pass.as_ref().is_some_and(|p| p.value.contains('$'));
    let named = |p: &Peer| p.place.is_none() && p.unix_path().is_none();
    let literal = site.locations().filter(|(_, l)| !is_dynamic(l)).flat_map(|(_, l)| &l.peers);
    let known: HashSet<&str> = literal.filter(|p| named(p)).map(|p| p.address.as_str()).collect();
    let mut out = Vec::new();
    for (_, l) in site.locations().filter(|(_, l)| is_dynamic(l)) {
        let (Some(pass), [peer]) = (&l.proxy_pass, l.peers.as_slice()) else { continue };
        let host = peer.address.rsplit_once(':').map_or(peer.address.as_str(), |(host, _)| host);
        let is_address = host.starts_with('[') || host.parse::<IpAddr>().is_ok();
        if !named(peer) || is_address || host.is_empty() || known.contains(peer.address.as_str()) {
            continue;
        }
        let place = pass.place.clone().unwrap_or_else(|| l.place.clone());
        let lines = vec![(place, host.to_owned())];
        out.push(Remark { location: l.place.clone(), what: Remarkable::NoResolver, lines });
    }
    out
}

/// What is looked for in the files, found once.
#[derive(Default)]
struct Text<'a> {
    /// The blocks of locations, by file and line.
    locations: HashMap<(&'a str, u32), &'a [Directive]>,
    /// The defaults of maps of `$http_upgrade`, by the variable that they set.
    maps: HashMap<&'a str, &'a str>,
    /// Some `if` looks at the Upgrade header.
    is_checked: bool,
    /// Some `resolver` is written, in whatever block.
    has_resolver: bool,
}

impl<'a> Text<'a> {
    fn read(&mut self, file: &'a str, directives: &'a [Directive]) {
        for d in directives {
            let block = d.block().unwrap_or_default();
            match (d.name(), d.args()) {
                ("location", _) => {
                    self.locations.insert((file, d.line), block);
                }
                ("map", [from, to]) if from.text == "$http_upgrade" => {
                    let default = block.iter().find(|d| d.name() == "default").and_then(|d| d.args().first());
                    self.maps.extend(to.text.strip_prefix('$').zip(default.map(|v| v.text.as_str())));
                }
                ("resolver", _) => self.has_resolver = true,
                ("if", _) => self.is_checked |= words(d).to_ascii_lowercase().contains("$http_upgrade"),
                _ => {}
            }
            // The parser bounds how deep blocks nest.
            self.read(file, block);
        }
    }

    /// The two lines that pass on whatever protocol a client asks for, where nothing looks at it.
    fn any_upgrade(&self, l: &Location) -> Vec<(Place, String)> {
        let upgrade = l.header("upgrade").filter(|h| h.value == "$http_upgrade");
        let (Some(upgrade), Some(connection)) = (upgrade, l.header("connection")) else { return Vec::new() };
        if self.is_checked || !self.goes_with_any(&connection.value) {
            return Vec::new();
        }
        [upgrade, connection].map(|h| (h.place.clone(), format!("proxy_set_header {} {}", h.name, h.value))).to_vec()
    }

    /// A Connection header of this value says `upgrade` whatever the protocol.
    fn goes_with_any(&self, value: &str) -> bool {
        let is_upgrade = |v: &str| v.split(',').any(|t| t.trim().eq_ignore_ascii_case("upgrade"));
        match value.strip_prefix('$') {
            None => is_upgrade(value),
            Some(name) => {
                name.eq_ignore_ascii_case("http_connection") || self.maps.get(name).is_some_and(|v| is_upgrade(v))
            }
        }
    }
}

fn words(d: &Directive) -> String {
    d.words.iter().map(|w| w.text.as_str()).collect::<Vec<_>>().join(" ")
}

/// Directives in the block of a location for WebSockets alone that do nothing there.
fn without_effect(l: &Location, block: &[Directive]) -> Vec<(Place, String)> {
    let path = l.path.trim_end_matches('$').to_ascii_lowercase();
    let last = path.split('/').rfind(|part| !part.is_empty());
    if !last.is_some_and(|part| ONLY_WEBSOCKETS.contains(&part)) {
        return Vec::new();
    }
    let vain = block.iter().filter(|d| WITHOUT_EFFECT.contains(&d.name()));
    vain.map(|d| (Place { file: l.place.file.clone(), line: d.line }, words(d))).collect()
}
