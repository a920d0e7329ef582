//! A request followed through nginx: socket, server, rewrites, locations, redirects, and what the backend gets.

use super::choose::{self, host_name};
use super::path;
use super::seen::{Chosen, End, Socket, Walk};
use super::values::{Request, State};
use super::walker::Walker;
use crate::event::site::{Listen, Server, Site};

/// Candidates told of one search.
pub const MAX_CANDIDATES: usize = 500;
/// Directives and doubts told of one walk.
pub(super) const MAX_TOLD: usize = 200;

/// Follows a request. No file is looked at and no name resolved: a file that `try_files` asks for is taken not to exist, and
/// a condition that cannot be told is taken not to hold; [`Walk::doubts`] says so.
#[must_use]
pub fn walk<'a>(site: &'a Site, request: &'a Request) -> Walk<'a> {
    let on_socket = site.on_socket(request);
    let mut walk = Walk {
        target: &request.target,
        listen: None,
        server: None,
        steps: Vec::new(),
        end: End::Cycle,
        doubts: Vec::new(),
        spot: (None, None),
    };
    let host = host_name(&request.host);
    let Some((server, why, name)) = choose::server(&on_socket, &host) else {
        walk.end = End::NoListener { listens: listens(site) };
        return walk;
    };
    if let Some((_, listen)) = on_socket.iter().find(|(s, _)| std::ptr::eq(*s, server)) {
        walk.listen = Some(socket(listen, on_socket.len()));
    }
    several_sockets(&mut walk, &on_socket);
    let name = name.map(str::to_owned);
    walk.server = Some(Chosen { names: server.names.clone(), place: server.place.clone(), why, name, host });
    walk.spot.0 = Some(server);
    if let Some(end) = wrong_protocol(walk.listen.as_ref(), request) {
        walk.end = end;
        return walk;
    }
    // A request line in the clear is read before the Host header: the settings of the socket's default server hold.
    let reads = if request.tls && !request.tls_ends_before { None } else { choose::default_server(&on_socket) };
    let reads = reads.map_or(server, |(s, _)| s);
    let target = path::read(&request.target, !reads.way.keep_slashes);
    Walker::new(State::new(site, request, server), walk).follow(target)
}

/// With only a port known, servers on several addresses are candidates.
fn several_sockets(walk: &mut Walk<'_>, on_socket: &[(&Server, &Listen)]) {
    let mut addresses: Vec<String> = on_socket.iter().map(|(_, l)| address(l)).collect();
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.len() > 1 {
        let said = format!(
            "nginx listens on {}: --from ADDR says which of them the client connects to",
            addresses.join(" and ")
        );
        walk.doubts.push(said);
    }
}

/// TLS sent to a plain socket and the other way round.
fn wrong_protocol(listen: Option<&Socket>, request: &Request) -> Option<End> {
    let listen = listen?;
    let tls = request.tls && !request.tls_ends_before;
    let (status, why) = match (tls, listen.tls) {
        (false, true) if !request.tls_ends_before => (Some(400), "a plain request came to a TLS port"),
        (true, false) => (None, "TLS came to a port that speaks plain HTTP"),
        _ => return None,
    };
    Some(End::Answer { status, why: why.to_owned(), place: Some(listen.place.clone()) })
}

fn address(l: &Listen) -> String {
    match (&l.unix, l.ip, l.port) {
        (Some(path), _, _) => format!("unix:{path}"),
        (None, None, Some(port)) => format!("0.0.0.0:{port}"),
        (None, Some(ip), Some(port)) => std::net::SocketAddr::new(ip, port).to_string(),
        (None, _, None) => "?".to_owned(),
    }
}

fn socket(l: &Listen, servers: usize) -> Socket {
    Socket {
        address: address(l),
        tls: l.tls,
        http2: l.http2,
        proxy_protocol: l.proxy_protocol,
        place: l.place.clone(),
        servers,
    }
}

fn listens(site: &Site) -> Vec<String> {
    let mut all: Vec<String> = site.servers.iter().flat_map(|s| &s.listens).map(address).collect();
    all.sort_unstable();
    all.dedup();
    all.truncate(MAX_TOLD);
    all
}
