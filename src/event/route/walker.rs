//! A request inside a server: locations searched, files tried, errors taken up, until it ends.

use std::sync::Arc;

use super::choose::{self, Candidate, Choice, Verdict, Watch, find};
use super::hand::{Changes, passed};
use super::path::{self, BadTarget, Target};
use super::script::{ErrorPage, Way};
use super::seen::{End, Happened, Walk};
use super::values::State;
use super::walk::{MAX_CANDIDATES, MAX_TOLD};
use crate::event::site::{Location, Matching, Place, Setting};

/// Rounds after which nginx gives up (`NGX_HTTP_MAX_URI_CHANGES`).
const MAX_CHANGES: usize = 10;

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
pub(super) enum Ran {
    Through,
    Stopped,
    Ended(End),
    Failed(u16, Place),
}

/// The last `if` of a location that held: its settings are those that count.
#[derive(Clone, Copy)]
pub(super) enum If<'a> {
    /// None did.
    No,
    /// One without a `proxy_pass`: that of the location is passed down.
    Bare,
    /// One with a `proxy_pass`.
    Passing(&'a Setting<String>),
}

impl<'a> If<'a> {
    fn pass(self) -> Option<&'a Setting<String>> {
        if let Self::Passing(pass) = self { Some(pass) } else { None }
    }
}

#[expect(clippy::struct_excessive_bools, reason = "each is a flag of ngx_http_request_t by its own name")]
pub(super) struct Walker<'a> {
    pub(super) state: State<'a>,
    walk: Walk<'a>,
    /// The error pages in force.
    pages: Arc<Vec<ErrorPage>>,
    /// `internal`: nginx itself has changed the path.
    pub(super) internal: bool,
    /// `valid_unparsed_uri`: what the client sent still holds.
    pub(super) unchanged: bool,
    /// `valid_location`: the prefix of the location stands in the path.
    pub(super) by_location: bool,
    /// `uri_changed`: locations must be searched again.
    pub(super) changed: bool,
    /// The last `if` of the location that held.
    pub(super) chosen_if: If<'a>,
    /// The error that an error page was called for, and whether it keeps its status.
    error: Option<(u16, bool)>,
}

impl<'a> Walker<'a> {
    /// At the door of the server that was chosen.
    pub(super) fn new(state: State<'a>, walk: Walk<'a>) -> Self {
        Self {
            state,
            walk,
            pages: Arc::default(),
            internal: false,
            unchanged: true,
            by_location: true,
            changed: false,
            chosen_if: If::No,
            error: None,
        }
    }

    /// Goes to the end.
    pub(super) fn follow(mut self, target: Result<Target, BadTarget>) -> Walk<'a> {
        self.walk.end = match target {
            Ok(target) => self.start(target),
            Err(bad) => End::Answer { status: Some(400), why: bad.to_string(), place: None },
        };
        self.walk
    }

    fn start(&mut self, target: Target) -> End {
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

    pub(super) fn did(&mut self, said: String, place: &Place) {
        if self.walk.steps.len() < MAX_TOLD {
            self.walk.steps.push(Happened::Did { said, place: place.clone() });
        }
    }

    pub(super) fn doubt(&mut self, said: String) {
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
            self.chosen_if = If::No;
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
        self.chosen_if = If::No;
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
        if matches!(self.chosen_if, If::No)
            && let Some(try_files) = &way.try_files
        {
            return self.try_files(try_files);
        }
        let own = way.own_pass.as_ref();
        let pass = self.chosen_if.pass().or(own).filter(|_| self.walk.spot.1.is_some());
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
        let changes = Changes {
            unchanged: self.unchanged,
            by_location: self.by_location,
            escapes: self.state.quoted || self.internal,
            prefix: if by_prefix && self.chosen_if.pass().is_none() { &location.path } else { "" },
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
}

/// A path with its arguments.
pub(super) fn joined(path: &str, args: &str) -> String {
    if args.is_empty() { path.to_owned() } else { format!("{path}?{args}") }
}
