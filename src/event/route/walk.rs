//! A request followed through nginx: socket, server, rewrites, locations, redirects, and what the backend gets.

use std::sync::Arc;

use super::choose::{self, Candidate, Choice, Verdict, Watch, find, host_name};
use super::hand::passed;
use super::path::{self, BadTarget};
use super::script::{Deed, ErrorPage, Flag, Step, Way};
use super::seen::{Chosen, End, Happened, Socket, Walk};
use super::values::{Request, State};
use crate::event::site::{Listen, Location, Matching, Place, Server, Setting, Site};

/// Rounds after which nginx gives up (`NGX_HTTP_MAX_URI_CHANGES`).
const MAX_CHANGES: usize = 10;
/// Candidates told of one search.
pub const MAX_CANDIDATES: usize = 500;
/// Directives and doubts told of one walk.
const MAX_TOLD: usize = 200;

/// Follows a request. No file is looked at and no name resolved: a file that `try_files` asks for is taken not to exist, and
/// a condition that cannot be told is taken not to hold; [`Walk::doubts`] says so.
#[must_use]
pub fn walk<'a>(site: &'a Site, request: &'a Request) -> Walk<'a> {
    let on_socket = site.on_socket(request);
    let mut walk =
        Walk { listen: None, server: None, steps: Vec::new(), end: End::Cycle, doubts: Vec::new(), spot: (None, None) };
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
    let mut walker = Walker {
        state: State::new(site, request, server),
        walk,
        pages: Arc::default(),
        internal: false,
        unchanged: true,
        by_location: true,
        changed: false,
        chosen_if: None,
        error: None,
    };
    walker.walk.end = match path::read(&request.target, !reads.way.keep_slashes) {
        Ok(target) => walker.from_the_start(target),
        Err(bad) => bad_request(bad),
    };
    walker.walk
}

fn bad_request(bad: BadTarget) -> End {
    End::Answer { status: Some(400), why: bad.to_string(), place: None }
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

/// Notes every location that is considered.
#[derive(Default)]
struct Notes {
    all: Vec<(Place, Candidate)>,
}

impl Watch for Notes {
    const LOOKS: bool = true;
    fn saw(&mut self, depth: usize, l: &Location, verdict: Verdict) {
        if self.all.len() < MAX_CANDIDATES {
            let location = choose::written(l);
            let candidate = Candidate { location, place: l.place.clone(), depth, verdict, won: false };
            self.all.push((l.place.clone(), candidate));
        }
    }
}

/// Where a request goes next.
enum Next<'a> {
    End(End),
    Search,
    At(&'a Location),
}

/// How a run of rewrite directives ended.
enum Ran {
    Through,
    Stopped,
    Ended(End),
    Failed(u16, Place),
}

struct Walker<'a> {
    state: State<'a>,
    walk: Walk<'a>,
    /// The error pages in force.
    pages: Arc<Vec<ErrorPage>>,
    internal: bool,
    unchanged: bool,
    by_location: bool,
    changed: bool,
    /// The last `if` of the location that held, and its own `proxy_pass`.
    chosen_if: Option<Option<&'a Setting<String>>>,
    /// The error that an error page was called for, and whether it keeps its status.
    error: Option<(u16, bool)>,
}

impl<'a> Walker<'a> {
    fn from_the_start(&mut self, target: path::Target) -> End {
        if target.lossy {
            self.doubt("the path holds bytes that are no UTF-8, which are not followed exactly".to_owned());
        }
        (self.state.uri, self.state.args, self.state.quoted) = (target.path, target.args, target.quoted);
        // What the name's pattern captured can be used in the server's directives.
        let pattern =
            self.walk.server.as_ref().and_then(|s| Some((s.name.as_ref()?.strip_prefix('~')?, s.host.clone())));
        if let Some((pattern, host)) = pattern.map(|(p, h)| (p.to_owned(), h)) {
            self.state.matches(&pattern, true, &host);
        }
        let mut next = self.in_server();
        for _ in 0..=MAX_CHANGES {
            next = match next {
                Next::End(end) => return end,
                Next::Search => self.search(),
                Next::At(location) => self.in_location(location),
            };
            if let Next::At(location) = next {
                next = self.in_location(location);
            }
        }
        if let Next::End(end) = next { end } else { End::Cycle }
    }

    fn did(&mut self, said: String, place: &Place) {
        if self.walk.steps.len() < MAX_TOLD {
            self.walk.steps.push(Happened::Did { said, place: place.clone() });
        }
    }

    fn doubt(&mut self, said: String) {
        if self.walk.doubts.len() < MAX_TOLD && !self.walk.doubts.contains(&said) {
            self.walk.doubts.push(said);
        }
    }

    /// The rewrite directives of the server.
    fn in_server(&mut self) -> Next<'a> {
        let server = self.state.server;
        self.pages = Arc::clone(&server.way.error_pages);
        self.walk.spot.1 = None;
        match self.run(&server.way.steps, None) {
            Ran::Ended(end) => Next::End(end),
            Ran::Failed(status, place) => self.failed(status, place),
            Ran::Through | Ran::Stopped => Next::Search,
        }
    }

    /// Finds the location for the path.
    fn search(&mut self) -> Next<'a> {
        self.changed = false;
        let server = self.state.server;
        let mut notes = Notes::default();
        let path = self.state.uri.clone();
        let (found, _): (Option<&Location>, Choice) = find(&server.locations, &path, 0, &mut notes);
        let mut candidates: Vec<Candidate> = notes.all.into_iter().map(|(_, c)| c).collect();
        if let Some(l) = found {
            let text = choose::written(l);
            let is = |c: &&mut Candidate| c.place == l.place && c.location == text && c.verdict != Verdict::NotTried;
            if let Some(won) = candidates.iter_mut().rev().find(is) {
                won.won = true;
            }
        }
        for c in candidates.iter().filter(|c| c.verdict == Verdict::Unreadable) {
            self.doubt(format!("the pattern of location {} cannot be read here: taken not to match", c.location));
        }
        self.walk.steps.push(Happened::Search { path: path.clone(), candidates });
        let Some(location) = found else {
            self.walk.spot.1 = None;
            self.chosen_if = None;
            return self.content(&server.way, &server.place);
        };
        self.walk.spot.1 = Some(location);
        if location.internal && !self.internal {
            self.pages = Arc::clone(&location.way.error_pages);
            self.did("the location is internal: a client gets 404".to_owned(), &location.place);
            return self.failed(404, location.place.clone());
        }
        if location.redirects_normal(&path) {
            let query = if self.state.args.is_empty() { String::new() } else { format!("?{}", self.state.args) };
            let to = Some(format!("{}{query}", path::escaped(&location.path, path::Escape::Uri)));
            let why = format!("the path lacks the final slash of location {}", location.path);
            return Next::End(End::Redirect { status: 301, to, why, place: location.place.clone() });
        }
        if matches!(location.matching, Matching::Regex | Matching::RegexNoCase) {
            self.state.matches(&location.path, location.matching == Matching::RegexNoCase, &path);
        }
        Next::At(location)
    }

    fn in_location(&mut self, location: &'a Location) -> Next<'a> {
        self.walk.spot.1 = Some(location);
        self.pages = Arc::clone(&location.way.error_pages);
        self.chosen_if = None;
        self.changed = false;
        match self.run(&location.way.steps, Some(location)) {
            Ran::Ended(end) => return Next::End(end),
            Ran::Failed(status, place) => return self.failed(status, place),
            Ran::Through | Ran::Stopped if self.changed => return Next::Search,
            Ran::Through | Ran::Stopped => {}
        }
        self.content(&location.way, &location.place)
    }

    /// What answers in the end: files to try, a backend, or files.
    fn content(&mut self, way: &'a Way, place: &Place) -> Next<'a> {
        if self.chosen_if.is_none()
            && let Some(try_files) = &way.try_files
        {
            return self.try_files(try_files);
        }
        let own = way.own_pass.as_ref();
        let pass = self.chosen_if.flatten().or(own).filter(|_| self.walk.spot.1.is_some());
        if let (Some(pass), Some(location)) = (pass, self.walk.spot.1) {
            return Next::End(self.pass(pass, location));
        }
        Next::End(match &way.other_pass {
            Some(other) => {
                let at = other.place.clone().unwrap_or_else(|| place.clone());
                End::OtherProtocol { pass: other.value.clone(), place: at }
            }
            None => End::Files { place: place.clone() },
        })
    }

    fn pass(&mut self, pass: &Setting<String>, location: &Location) -> End {
        let by_prefix = matches!(location.matching, Matching::Prefix | Matching::PrefixNoRegex | Matching::Exact);
        let changes = super::hand::Changes {
            unchanged: self.unchanged,
            by_location: self.by_location,
            escapes: self.state.quoted || self.internal,
            prefix: if by_prefix && self.chosen_if.flatten().is_none() { &location.path } else { "" },
            status_kept: self.error.filter(|(_, kept)| *kept).map(|(status, _)| status),
        };
        let (passed, doubts) = passed(&mut self.state, pass, location, &changes);
        for d in doubts {
            self.doubt(d);
        }
        End::Upstream(Box::new(passed))
    }

    /// The last of the files is where the request goes when no file is there.
    fn try_files(&mut self, try_files: &Setting<Vec<String>>) -> Next<'a> {
        let place = try_files.place.clone().unwrap_or_default();
        let words = try_files.value.join(" ");
        let Some(last) = try_files.value.last() else {
            return Next::End(End::Unknown { why: "try_files without files".to_owned(), place: Some(place) });
        };
        self.doubt(format!("try_files {words}: taken as if none of the files were there"));
        if let Some(code) = last.strip_prefix('=') {
            self.did(format!("try_files {words}: no file, so {code}"), &place);
            return self.failed(code.parse().unwrap_or(404), place);
        }
        self.redirect_inside(last, "try_files", &place)
    }

    /// An internal redirect to a path or a named location.
    fn redirect_inside(&mut self, to: &str, what: &str, place: &Place) -> Next<'a> {
        self.internal = true;
        if to.starts_with('@') {
            self.did(format!("{what} leads to {to}"), place);
            let named = |l: &&Location| l.matching == Matching::Named && l.path == to;
            return match self.state.server.locations.iter().find(named) {
                Some(location) => Next::At(location),
                None => Next::End(End::Answer {
                    status: Some(500),
                    why: format!("there is no location {to}"),
                    place: Some(place.clone()),
                }),
            };
        }
        let (path, args) = to.split_once('?').unwrap_or((to, ""));
        let (Some(path), Some(args)) = (self.state.text(path), self.state.arguments(args)) else {
            let why = format!("{what} leads to {to}, which cannot be told");
            return Next::End(End::Unknown { why, place: Some(place.clone()) });
        };
        self.did(format!("{what} leads to {}", joined(&path, &args)), place);
        (self.state.uri, self.state.args) = (path, args);
        (self.unchanged, self.by_location) = (false, true);
        self.in_server()
    }

    /// An error of nginx's own: an error page may take it up, once.
    fn failed(&mut self, status: u16, place: Place) -> Next<'a> {
        let pages = Arc::clone(&self.pages);
        let page = pages.iter().find(|p| p.statuses.contains(&status)).filter(|_| self.error.is_none());
        let Some(page) = page else {
            let why = format!("nginx answers {status} itself");
            return Next::End(End::Answer { status: Some(status), why, place: Some(place) });
        };
        self.error = Some((status, !page.overwrites));
        if page.uri.starts_with(['@', '/']) {
            return self.redirect_inside(&page.uri, &format!("error_page {status}"), &page.place);
        }
        let to = self.state.text(&page.uri);
        let why = format!("error_page {status}");
        Next::End(End::Redirect { status: 302, to, why, place: page.place.clone() })
    }

    /// Runs rewrite directives; `location` is `None` in a server.
    fn run(&mut self, steps: &'a [Step], location: Option<&'a Location>) -> Ran {
        for step in steps {
            let ran = match &step.what {
                Deed::Set { name, value } => {
                    let value = self.state.text(value);
                    self.state.set(name, value);
                    Ran::Through
                }
                Deed::Rewrite { pattern, replacement, flag } => self.rewrite(step, pattern, replacement, *flag),
                Deed::Return { status, text } => self.answer(step, *status, text),
                Deed::If { condition, steps, pass } => self.branch(step, condition, (steps, pass.as_ref()), location),
                Deed::Break => {
                    self.by_location &= !self.changed;
                    self.changed = false;
                    Ran::Stopped
                }
            };
            if !matches!(ran, Ran::Through) {
                return ran;
            }
        }
        Ran::Through
    }

    fn branch(
        &mut self,
        step: &'a Step,
        condition: &[String],
        block: (&'a [Step], Option<&'a Setting<String>>),
        location: Option<&'a Location>,
    ) -> Ran {
        let (steps, pass) = block;
        let words = condition.join(" ");
        match self.state.condition(condition) {
            Some(true) => {
                self.did(format!("if ({words}) holds"), &step.place);
                self.chosen_if = location.map(|_| pass);
                self.run(steps, location)
            }
            Some(false) => Ran::Through,
            None => {
                if !steps.is_empty() || pass.is_some() {
                    self.doubt(format!("if ({words}), {}, cannot be told: taken not to hold", step.place));
                }
                for inner in steps {
                    if let Deed::Set { name, .. } = &inner.what {
                        self.state.set(name, None);
                    }
                }
                Ran::Through
            }
        }
    }

    fn answer(&mut self, step: &Step, status: u16, text: &str) -> Ran {
        let place = step.place.clone();
        match status {
            301 | 302 | 303 | 307 | 308 => {
                let to = self.state.text(text);
                Ran::Ended(End::Redirect { status, to, why: "return".to_owned(), place })
            }
            444 => {
                let why = "return 444 closes the connection without an answer".to_owned();
                Ran::Ended(End::Answer { status: None, why, place: Some(place) })
            }
            400.. if text.is_empty() => {
                self.did(format!("return {status}"), &place);
                Ran::Failed(status, place)
            }
            _ => Ran::Ended(End::Answer { status: Some(status), why: format!("return {status}"), place: Some(place) }),
        }
    }

    /// One `rewrite` (`ngx_http_script_regex_start_code` and `_end_code`).
    fn rewrite(&mut self, step: &Step, pattern: &str, replacement: &str, flag: Flag) -> Ran {
        let uri = self.state.uri.clone();
        match self.state.matches(pattern, false, &uri) {
            Some(true) => {}
            Some(false) => return Ran::Through,
            None => {
                self.doubt(format!("rewrite {pattern}, {}, cannot be read here: taken not to match", step.place));
                return Ran::Through;
            }
        }
        // A final "?" drops the arguments that came with the request.
        let (replacement, adds) = replacement.strip_suffix('?').map_or((replacement, true), |r| (r, false));
        let (path, new) = match replacement.split_once('?') {
            Some((path, new)) => (path, Some(new)),
            None => (replacement, None),
        };
        let (Some(path), Some(new)) =
            (self.state.text(path), new.map_or(Some(None), |n| self.state.arguments(n).map(Some)))
        else {
            let why = format!("rewrite to {replacement}, which cannot be told");
            return Ran::Ended(End::Unknown { why, place: Some(step.place.clone()) });
        };
        let old = if adds { self.state.args.as_str() } else { "" };
        let args = match new {
            Some(new) if old.is_empty() => new,
            Some(new) => format!("{new}&{old}"),
            None => old.to_owned(),
        };
        if let Flag::Redirect(status) = flag {
            let why = format!("rewrite {pattern}");
            return Ran::Ended(End::Redirect {
                status,
                to: Some(joined(&path, &args)),
                why,
                place: step.place.clone(),
            });
        }
        self.did(format!("rewrite {pattern} makes it {}", joined(&path, &args)), &step.place);
        if path.is_empty() {
            let why = "the rewritten URI has a zero length".to_owned();
            return Ran::Ended(End::Answer { status: Some(500), why, place: Some(step.place.clone()) });
        }
        (self.state.uri, self.state.args) = (path, args);
        (self.internal, self.unchanged, self.changed) = (true, false, flag != Flag::Break);
        self.by_location &= flag != Flag::Break;
        if flag == Flag::Next { Ran::Through } else { Ran::Stopped }
    }
}

fn joined(path: &str, args: &str) -> String {
    if args.is_empty() { path.to_owned() } else { format!("{path}?{args}") }
}
