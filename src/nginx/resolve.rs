//! A directive tree turned into a Site: includes, inheritance, maps, locations, upstreams, logs.

mod clash;
mod context;
mod include;
mod known;
mod listen;
mod logs;
mod steps;
mod time;
mod upstream;
mod values;
mod variables;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

pub(super) use include::absolute;
pub use include::{NO_SUCH_FILE, Reader};

use self::context::Context;
use self::include::{Node, Notes};
use self::listen::Wrong;
use self::logs::Logs;
use self::upstream::Pools;
use self::variables::{Sets, Variables};
use super::version::{BuildDefaults, proxy_http_version_default};
use crate::event::route::pattern;
use crate::event::route::script::{ErrorPage, Levels, Scope, Way};
use crate::event::site::{Header, Listen, Location, Matching, Server, Setting, Site, Version};

/// `proxy_read_timeout`, `proxy_send_timeout` and `proxy_connect_timeout` unless set (http/modules/ngx_http_proxy_module.c).
const TIMEOUT: Duration = Duration::from_secs(60);
/// `worker_connections` unless set (event/ngx_event.c, DEFAULT_CONNECTIONS).
const WORKER_CONNECTIONS: u64 = 512;
/// Headers and peers that all locations together may hold: each carries a copy of what it inherits, and a hostile file
/// could multiply many headers with many locations.
const MAX_COPIES: usize = 500_000;

/// Directives that may stand only once at a level; nginx refuses a second one.
const SINGLE: [&str; 5] =
    ["proxy_http_version", "proxy_read_timeout", "proxy_send_timeout", "proxy_connect_timeout", "proxy_pass"];

/// Reads the configuration whose main file is `main` and works out what holds where.
///
/// `build` are the paths in force: the binary's, with `-p` and `-e` already put in. `main` should be absolute. Where
/// `version` is unknown, the defaults of releases before 1.29.7 are applied; [`Site::version`] stays `None` then.
/// What cannot be read or understood becomes a [`Site::problems`] entry; a main file that cannot be read gives a site
/// without files. `stream` and `mail` blocks are passed over.
#[must_use]
pub fn resolve(main: &str, reader: &mut dyn Reader, build: &BuildDefaults, version: Option<Version>) -> Site {
    let loaded = include::load(main, reader);
    let mut resolver = Resolver {
        site: Site { conf: main.to_owned(), files: loaded.files, version, ..Site::default() },
        notes: loaded.notes,
        logs: Logs::new(build),
        variables: Variables::default(),
        pools: Pools::new(),
        copies_left: MAX_COPIES,
        // Forks have other directives, or others under the same names.
        rules: version.filter(|_| build.product.follows_nginx()),
    };
    resolver.main(&loaded.nodes);
    let Resolver { mut site, notes, logs, variables, .. } = resolver;
    site.maps = variables.maps;
    site.problems = notes.0;
    site.error_logs = logs.errors;
    site.access_logs = logs.accesses;
    site
}

/// What a block hands down to the blocks in it.
#[derive(Clone)]
struct Level {
    http_version: Setting<String>,
    headers: Rc<Vec<Header>>,
    lost_headers: Rc<Vec<Header>>,
    read_timeout: Setting<Duration>,
    send_timeout: Setting<Duration>,
    connect_timeout: Setting<Duration>,
    sets: Rc<Sets>,
    /// Of the server; those of a location around it do not run for the locations in it.
    rewrite: Option<Setting<String>>,
    internal: bool,
    error_pages: Arc<Vec<ErrorPage>>,
    resolver: bool,
    keep_slashes: bool,
    levels: Levels,
}

impl Level {
    fn built_in(version: Option<Version>) -> Self {
        Self {
            http_version: Setting::built_in(proxy_http_version_default(version).to_owned()),
            headers: Rc::default(),
            lost_headers: Rc::default(),
            read_timeout: Setting::built_in(TIMEOUT),
            send_timeout: Setting::built_in(TIMEOUT),
            connect_timeout: Setting::built_in(TIMEOUT),
            sets: Rc::default(),
            rewrite: None,
            internal: false,
            error_pages: Arc::default(),
            resolver: false,
            keep_slashes: false,
            levels: Levels::default(),
        }
    }

    /// What a block with these lines does with requests.
    fn way(&self, nodes: &[Node]) -> Way {
        Way {
            steps: steps::steps(nodes),
            try_files: steps::try_files(nodes),
            error_pages: Arc::clone(&self.error_pages),
            own_pass: steps::named(nodes, "proxy_pass"),
            other_pass: steps::other_pass(nodes),
            resolver: self.resolver,
            keep_slashes: self.keep_slashes,
            levels: self.levels,
        }
    }
}

struct Resolver<'a> {
    site: Site,
    notes: Notes,
    logs: Logs<'a>,
    variables: Variables,
    pools: Pools,
    copies_left: usize,
    /// The release whose rules are certain to hold.
    rules: Option<Version>,
}

impl Resolver<'_> {
    fn main(&mut self, nodes: &[Node]) {
        self.check(nodes, Context::Main);
        self.site.worker_connections = Some(Setting::built_in(WORKER_CONNECTIONS));
        let mut own_error_log = false;
        for node in nodes {
            match node.name() {
                "error_log" => {
                    own_error_log = true;
                    self.logs.error_log(node, &mut self.notes);
                }
                "worker_shutdown_timeout" => {
                    let value = Self::time(node).map(|value| Setting { value, place: Some(node.place.clone()) });
                    self.site.worker_shutdown_timeout = value;
                }
                "events" => self.events(node),
                "http" => self.http(node.nodes()),
                _ => {}
            }
        }
        if !nodes.iter().any(|n| n.name() == "events") {
            self.notes.without_events(&self.site);
        }
        if !own_error_log {
            self.logs.default_error_log();
        }
    }

    fn events(&mut self, events: &Node) {
        self.check(events.nodes(), Context::Events);
        for node in events.nodes().iter().filter(|n| n.name() == "worker_connections") {
            if let Some(value) = node.arg(0).and_then(|n| n.parse().ok()) {
                self.site.worker_connections = Some(Setting { value, place: Some(node.place.clone()) });
            }
        }
    }

    fn http(&mut self, nodes: &[Node]) {
        self.check(nodes, Context::Http);
        // Maps, upstreams and formats may be named before they are written.
        for node in nodes {
            match node.name() {
                "map" => self.variables.add_map(node, &mut self.notes),
                "log_format" => self.logs.log_format(node, &mut self.notes),
                "upstream" => {
                    self.check(node.nodes(), Context::Upstream);
                    if let Some(name) = node.arg(0) {
                        let upstream = upstream::upstream(node, &mut self.notes);
                        if self.pools.insert(name.to_ascii_lowercase(), upstream.peers.clone()).is_some() {
                            self.notes.on(node, format!("duplicate upstream \"{name}\""));
                        }
                        self.site.upstreams.insert(name.to_owned(), upstream);
                    }
                }
                _ => {}
            }
        }
        self.site.upgrade_map = self.variables.upgrade_map();
        let level = self.enter(&Level::built_in(self.site.version), nodes, Scope::Http);
        let own_access_log = self.logs_of(nodes);
        let own_http2 = switched_on(nodes, "http2");
        for node in nodes.iter().filter(|n| n.name() == "server") {
            if node.block.is_none() {
                continue;
            }
            let server = self.server(node, &level, own_http2.unwrap_or(false));
            self.site.servers.push(server);
            if !self.logs_of(node.nodes()) && !own_access_log {
                self.logs.default_access_log();
            }
        }
        let servers = nodes.iter().filter(|n| n.name() == "server" && n.block.is_some());
        let servers: Vec<_> = servers.zip(&self.site.servers).collect();
        clash::listens(&servers, &mut self.notes);
        clash::upgrade_map(nodes, &mut self.notes);
        share_socket_options(&mut self.site.servers);
    }

    /// Takes in the logs of one block; whether it says where requests are written.
    fn logs_of(&mut self, nodes: &[Node]) -> bool {
        let mut own_access_log = false;
        for node in nodes {
            match node.name() {
                "error_log" => self.logs.error_log(node, &mut self.notes),
                "access_log" => {
                    own_access_log = true;
                    self.logs.access_log(node, &mut self.notes);
                }
                _ => {}
            }
        }
        own_access_log
    }

    fn server(&mut self, server: &Node, outer: &Level, http2: bool) -> Server {
        let nodes = server.nodes();
        self.check_block(nodes, Context::Server, Context::ServerIf);
        let mut level = self.enter(outer, nodes, Scope::Server);
        level.rewrite = rewrite(nodes);
        let names = nodes.iter().filter(|n| n.name() == "server_name").flat_map(Node::args);
        let mut out = Server {
            place: server.place.clone(),
            names: names.map(|w| w.text.clone()).collect(),
            listens: self.listens(server),
            locations: self.locations(nodes, &level, None),
            returns: self.returns(nodes, &level.sets),
            way: level.way(nodes),
        };
        let http2 = switched_on(nodes, "http2").unwrap_or(http2);
        let tls = switched_on(nodes, "ssl").unwrap_or(false);
        for listen in &mut out.listens {
            listen.http2 |= http2;
            listen.tls |= tls;
        }
        for name in out.names.iter().filter_map(|n| n.strip_prefix('~')) {
            self.check_pattern(server, name, "server name");
        }
        out
    }

    fn listens(&mut self, server: &Node) -> Vec<Listen> {
        let mut any = false;
        let mut listens = Vec::new();
        for node in server.nodes().iter().filter(|n| n.name() == "listen") {
            any = true;
            match listen::listen(node) {
                Ok(found) => listens.extend(found),
                Err(Wrong::Refused(why)) => self.notes.on(node, why),
                Err(Wrong::Unclear(why)) => self.notes.unclear(node, why),
            }
        }
        if !any {
            listens.push(listen::default(server));
        }
        listens
    }

    fn locations(&mut self, nodes: &[Node], level: &Level, parent: Option<&Location>) -> Vec<Location> {
        let mut all = Vec::new();
        for node in nodes.iter().filter(|n| n.name() == "location") {
            if node.block.is_none() {
                continue;
            }
            let Some((matching, path)) = self.matching(node) else { continue };
            if parent.is_some_and(|p| outside(p, matching, &path)) {
                self.notes.on(node, format!("location \"{path}\" is outside of the location around it"));
            }
            if parent.is_some() && matching == Matching::Named {
                self.notes.on(node, format!("named location \"{path}\" can be on the server level only"));
            }
            clash::pass_with_path(node, matching, &mut self.notes);
            all.push(self.location(node, matching, path, level));
        }
        let nodes: Vec<&Node> = nodes.iter().filter(|n| n.name() == "location").collect();
        clash::locations(&nodes, &all, &mut self.notes);
        all
    }

    /// `location [=|^~|~|~*] PATH`, also with the modifier glued to the path (`ngx_http_core_location`).
    fn matching(&mut self, node: &Node) -> Option<(Matching, String)> {
        let found = match node.args() {
            [word] => {
                let text = word.text.as_str();
                let glued = [
                    ("=", Matching::Exact),
                    ("^~", Matching::PrefixNoRegex),
                    ("~*", Matching::RegexNoCase),
                    ("~", Matching::Regex),
                ];
                let glued = glued.iter().find_map(|(mark, m)| Some((*m, text.strip_prefix(mark)?.to_owned())));
                let plain = if text.starts_with('@') { Matching::Named } else { Matching::Prefix };
                Some(glued.unwrap_or_else(|| (plain, text.to_owned())))
            }
            [modifier, word] => {
                let matching = match modifier.text.as_str() {
                    "=" => Some(Matching::Exact),
                    "^~" => Some(Matching::PrefixNoRegex),
                    "~" => Some(Matching::Regex),
                    "~*" => Some(Matching::RegexNoCase),
                    _ => None,
                };
                matching.map(|m| (m, word.text.clone()))
            }
            _ => None,
        };
        if let Some((Matching::Regex | Matching::RegexNoCase, path)) = &found {
            self.check_pattern(node, path, "location");
        }
        found
    }

    fn check_pattern(&mut self, node: &Node, text: &str, what: &str) {
        if pattern(text, false).is_none() {
            let said = format!("cannot tell what the {what} pattern \"{text}\" matches: it is taken to match nothing");
            self.notes.unclear(node, said);
        }
    }

    fn location(&mut self, node: &Node, matching: Matching, path: String, outer: &Level) -> Location {
        let nodes = node.nodes();
        self.check_block(nodes, Context::Location, Context::If);
        let level = self.enter(outer, nodes, Scope::Location);
        self.logs_of(nodes);
        let pass = self.proxy_pass(nodes, &level.sets);
        let peers = match &pass {
            Some(p) if self.copies_left > 0 => upstream::peers(&p.value, &self.pools, &mut self.variables, &level.sets),
            _ => Vec::new(),
        };
        let mut location = Location {
            place: node.place.clone(),
            matching,
            path,
            proxy_pass: pass,
            peers,
            http_version: level.http_version.clone(),
            headers: self.evaluated(&level.headers, &level.sets),
            lost_headers: self.evaluated(&level.lost_headers, &level.sets),
            own_headers: nodes.iter().any(|n| n.name() == "proxy_set_header"),
            rewrite: rewrite(nodes).or_else(|| level.rewrite.clone()),
            read_timeout: level.read_timeout.clone(),
            send_timeout: level.send_timeout.clone(),
            connect_timeout: level.connect_timeout.clone(),
            returns: self.returns(nodes, &level.sets),
            internal: level.internal,
            locations: Vec::new(),
            way: level.way(nodes),
        };
        self.spend(node, &mut location);
        location.locations = self.locations(nodes, &level, Some(&location));
        location
    }

    /// Counts what the location carries; past the bound it carries nothing.
    fn spend(&mut self, node: &Node, location: &mut Location) {
        let copies = location.headers.len() + location.lost_headers.len() + location.peers.len();
        if self.copies_left == 0 {
            return;
        }
        if copies < self.copies_left {
            self.copies_left -= copies;
            return;
        }
        self.notes.unclear(node, "too many locations with too many headers or peers: from here on they are left out");
        self.copies_left = 0;
        location.headers.clear();
        location.lost_headers.clear();
        location.peers.clear();
    }

    fn evaluated(&mut self, headers: &[Header], sets: &Sets) -> Vec<Header> {
        if self.copies_left == 0 {
            return Vec::new();
        }
        let value = |h: &Header| {
            let for_websocket = self.variables.evaluate(&h.value, sets);
            Header { for_websocket, ..h.clone() }
        };
        headers.iter().map(value).collect()
    }

    /// What holds inside a block: its own lines over the outer ones. The order of lines in a block does not matter,
    /// except to `set`.
    fn enter(&mut self, outer: &Level, nodes: &[Node], scope: Scope) -> Level {
        let mut level = outer.clone();
        level.levels = level.levels.from_inside();
        let error_pages = steps::error_pages(nodes);
        if !error_pages.is_empty() {
            level.error_pages = Arc::new(error_pages);
        }
        level.resolver |= nodes.iter().any(|n| n.name() == "resolver");
        level.keep_slashes = switched_on(nodes, "merge_slashes").map_or(level.keep_slashes, |on| !on);
        let mut headers = Vec::new();
        let mut seen = Vec::new();
        for node in nodes {
            let name = node.name();
            if SINGLE.contains(&name) {
                if seen.contains(&name) {
                    continue;
                }
                seen.push(name);
            }
            let place = Some(node.place.clone());
            match name {
                "proxy_http_version" => {
                    if let Some(value) = node.arg(0) {
                        level.http_version = Setting { value: value.to_owned(), place };
                        level.levels.http_version = scope;
                    }
                }
                "proxy_read_timeout" if Self::timeout(node, &mut level.read_timeout) => {
                    level.levels.read_timeout = scope;
                }
                "proxy_send_timeout" if Self::timeout(node, &mut level.send_timeout) => {
                    level.levels.send_timeout = scope;
                }
                "proxy_connect_timeout" if Self::timeout(node, &mut level.connect_timeout) => {
                    level.levels.connect_timeout = scope;
                }
                "proxy_set_header" => headers.extend(Self::header(node)),
                "internal" => level.internal = true,
                "set" => self.set(node, &mut level.sets, true),
                "if" => self.enter_if(node, &mut level.sets),
                _ => {}
            }
        }
        if !headers.is_empty() {
            level.levels.headers = scope;
            // Compared with the bound here as well, because every level copies what it pushes out.
            if level.headers.len() + level.lost_headers.len() > self.copies_left {
                level.headers = Rc::default();
                level.lost_headers = Rc::default();
            }
            replace_headers(&mut level, headers);
            self.copies_left -= level.lost_headers.len().min(self.copies_left);
        }
        level
    }

    fn header(node: &Node) -> Option<Header> {
        let [name, value] = node.args() else { return None };
        let (name, value) = (name.text.clone(), value.text.clone());
        Some(Header { name, value, for_websocket: None, place: node.place.clone() })
    }

    /// Whether the line could be read.
    fn timeout(node: &Node, slot: &mut Setting<Duration>) -> bool {
        let value = Self::time(node);
        let read = value.is_some();
        if let Some(value) = value {
            *slot = Setting { value, place: Some(node.place.clone()) };
        }
        read
    }

    fn time(node: &Node) -> Option<Duration> {
        node.arg(0).filter(|_| node.args().len() == 1).and_then(time::parse_time)
    }

    fn set(&mut self, node: &Node, sets: &mut Rc<Sets>, certain: bool) {
        let (Some(name), Some(text)) = (node.arg(0).and_then(|n| n.strip_prefix('$')), node.arg(1)) else { return };
        let value = if certain { self.variables.evaluate(text, sets) } else { None };
        Rc::make_mut(sets).insert(name.to_ascii_lowercase(), value);
    }

    fn enter_if(&mut self, node: &Node, sets: &mut Rc<Sets>) {
        let holds = self.variables.condition(node, sets);
        if holds != Some(false) {
            for inner in node.nodes().iter().filter(|n| n.name() == "set") {
                self.set(inner, sets, holds == Some(true));
            }
        }
    }

    /// The `proxy_pass` that a WebSocket handshake meets. The last `if` that holds wins over the location's own; one
    /// that may hold counts only where there is no other.
    fn proxy_pass(&mut self, nodes: &[Node], sets: &Sets) -> Option<Setting<String>> {
        let pass = |nodes: &[Node]| {
            let node = nodes.iter().find(|n| n.name() == "proxy_pass")?;
            Some(Setting { value: node.arg(0)?.to_owned(), place: Some(node.place.clone()) })
        };
        let mut chosen = pass(nodes);
        let mut possible = None;
        for node in nodes.iter().filter(|n| n.name() == "if") {
            let Some(inner) = pass(node.nodes()) else { continue };
            match self.variables.condition(node, sets) {
                Some(true) => chosen = Some(inner),
                Some(false) => {}
                None => possible = possible.or(Some(inner)),
            }
        }
        chosen.or(possible)
    }

    /// The first `return` that a WebSocket handshake surely meets.
    fn returns(&mut self, nodes: &[Node], sets: &Sets) -> Option<Setting<String>> {
        nodes.iter().find_map(|node| match node.name() {
            "return" => {
                let value: Vec<&str> = node.args().iter().map(|w| w.text.as_str()).collect();
                Some(Setting { value: value.join(" "), place: Some(node.place.clone()) })
            }
            "if" if self.variables.condition(node, sets) == Some(true) => self.returns(node.nodes(), sets),
            _ => None,
        })
    }

    fn check_block(&mut self, nodes: &[Node], here: Context, in_if: Context) {
        self.check(nodes, here);
        for node in nodes.iter().filter(|n| n.name() == "if") {
            self.check(node.nodes(), in_if);
        }
    }

    fn check(&mut self, nodes: &[Node], here: Context) {
        context::check(nodes, here, self.rules, &mut self.notes);
    }
}

/// One `proxy_set_header` at a level drops all those of the levels around it (`ngx_http_proxy_merge_loc_conf`).
fn replace_headers(level: &mut Level, own: Vec<Header>) {
    let own_names: HashSet<String> = own.iter().map(|o| o.name.to_ascii_lowercase()).collect();
    let dropped = level.lost_headers.iter().chain(level.headers.iter());
    let said_again = |h: &Header| own_names.contains(&h.name.to_ascii_lowercase());
    level.lost_headers = Rc::new(dropped.filter(|h| !said_again(h)).cloned().collect());
    level.headers = Rc::new(own);
}

/// The first `rewrite` of a block.
fn rewrite(nodes: &[Node]) -> Option<Setting<String>> {
    let node = nodes.iter().find(|n| n.name() == "rewrite")?;
    let words: Vec<&str> = node.args().iter().map(|w| w.text.as_str()).collect();
    Some(Setting { value: words.join(" "), place: Some(node.place.clone()) })
}

/// `NAME on;` or `NAME off;` in a block.
fn switched_on(nodes: &[Node], name: &str) -> Option<bool> {
    nodes.iter().find(|n| n.name() == name).map(|n| n.arg(0) == Some("on"))
}

/// nginx refuses a nested location that its parent can never lead to.
fn outside(parent: &Location, matching: Matching, path: &str) -> bool {
    let prefix = |m| matches!(m, Matching::Exact | Matching::Prefix | Matching::PrefixNoRegex);
    prefix(parent.matching) && prefix(matching) && !path.starts_with(&parent.path)
}

/// One socket, one set of options: `ssl` in one server's `listen` holds for all servers on the same address and port.
fn share_socket_options(servers: &mut [Server]) {
    let mut sockets = HashMap::new();
    for l in servers.iter().flat_map(|s| &s.listens) {
        let socket: &mut (bool, bool, bool) = sockets.entry((l.ip, l.port, l.unix.clone())).or_default();
        socket.0 |= l.tls;
        socket.1 |= l.http2;
        socket.2 |= l.proxy_protocol;
    }
    for l in servers.iter_mut().flat_map(|s| &mut s.listens) {
        if let Some((tls, http2, proxy_protocol)) = sockets.get(&(l.ip, l.port, l.unix.clone())) {
            (l.tls, l.http2, l.proxy_protocol) = (*tls, *http2, *proxy_protocol);
        }
    }
}

#[cfg(test)]
mod tests;
