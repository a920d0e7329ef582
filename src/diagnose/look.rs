//! What every rule asks of the model: the probes with their twins and locations, and the fresh lines of the error log.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::event::handshake::Handshake;
use crate::event::log::{AccessEntry, ErrorEntry};
use crate::event::probe::{Cadence, ClosedBy, Failure, FailureKind, Phase, Route, TargetId};
use crate::event::route::{pattern, wildcard};
use crate::event::site::{Location, Server, Site};
use crate::human;
use crate::model::Model;
use crate::model::cadence::{IdleTimer, Twin, idle_timer, twin};
use crate::model::probes::{Closed, Outcome, Probe, ProbeState};
use crate::time::Timestamp;

use super::finding::{Confidence, Evidence, EvidenceKind, Severity, Subject};
use super::patch::{Patch, argument};

/// A log line older than this is history: it accuses nobody.
pub(super) const FRESH: Duration = Duration::from_secs(600);
/// A log line younger than this is about now.
pub(super) const NOW: Duration = Duration::from_secs(120);
/// How far apart a probe's failure and the log line about it may be: the longest default timeout of nginx, and a second
/// for the log's clock.
const TOGETHER: Duration = Duration::from_secs(61);
/// A probe that was switched off right after its failure (`check` looks once) still counts.
const JUST_STOPPED: Duration = Duration::from_secs(60);

/// The most columns of a refusal's own words.
const REASON: usize = 160;

/// A location with its server.
#[derive(Clone, Copy)]
pub(super) struct Spot<'a> {
    pub(super) server: &'a Server,
    pub(super) location: &'a Location,
}

impl Spot<'_> {
    pub(super) fn subject(self) -> Subject {
        let server = self.server.names.first().cloned();
        Subject { server, location: Some(self.location.path.clone()), ..Subject::default() }
    }

    pub(super) fn is(self, other: Spot<'_>) -> bool {
        std::ptr::eq(self.location, other.location)
    }

    /// The line of `proxy_pass`, as evidence.
    pub(super) fn pass(self) -> Option<Evidence> {
        let pass = self.location.proxy_pass.as_ref()?;
        let place = pass.place.as_ref().unwrap_or(&self.location.place);
        Some(Evidence::config(place, format!("proxy_pass {}", pass.value)))
    }

    /// The patch that gives `proxy_pass` another URL.
    pub(super) fn pass_instead(self, model: &Model, url: &str) -> Option<String> {
        let place = self.location.proxy_pass.as_ref()?.place.as_ref()?;
        let mut patch = Patch::of(model.site.as_ref()?);
        patch.replace(place, |d| d.name() == "proxy_pass", &format!("proxy_pass {};", argument(url)));
        patch.finish()
    }

    /// `proxy_pass` leads to this peer, named as in the logs.
    pub(super) fn leads_to(self, peer: &str) -> bool {
        self.location.leads_to(peer)
    }

    /// The one peer it leads to, when there is exactly one.
    pub(super) fn only_peer(self) -> Option<String> {
        match self.location.peers.as_slice() {
            [one] => Some(one.address.clone()),
            _ => None,
        }
    }
}

/// `conf.d/chat.conf:31`: the last two parts of the path tell enough.
pub(super) fn short(place: &crate::event::site::Place) -> String {
    let mut parts = place.file.rsplitn(3, '/');
    let (file, folder) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    // The main file needs no folder to be known by, whatever prefix it lies in.
    let name = if folder.is_empty() || folder == "nginx" || file == "nginx.conf" {
        file.to_owned()
    } else {
        format!("{folder}/{file}")
    };
    if place.line == 0 { name } else { format!("{name}:{}", place.line) }
}

/// One endpoint as clients reach it, with its direct twin.
pub(super) struct Case<'a> {
    pub(super) target: &'a TargetId,
    pub(super) probe: &'a Probe,
    /// The direct twin, the first where there are several.
    pub(super) twin: Option<(&'a TargetId, &'a Probe)>,
    /// All of them: one for each peer that is asked directly.
    pub(super) twins: Vec<(&'a TargetId, &'a Probe)>,
    /// The tunnels held at paces of their own beside the probe.
    pub(super) paced: Vec<(Cadence, &'a Probe)>,
    /// Those that go straight to the backend.
    pub(super) paced_directly: Vec<(Cadence, &'a Probe)>,
    /// The location that the URL hits; `None` when that cannot be told.
    pub(super) spot: Option<Spot<'a>>,
    now: Timestamp,
}

/// Every probe that goes the clients' way.
pub(super) fn cases(model: &Model) -> Vec<Case<'_>> {
    let all = model.probes.by_target.iter().filter(|(t, _)| t.route == Route::Proxy && t.cadence.is_none());
    all.map(|(target, probe)| Case {
        target,
        probe,
        twin: model.probes.twins(target).next(),
        twins: model.probes.twins(target).collect(),
        paced: model.probes.paced(&target.endpoint, Route::Proxy),
        paced_directly: model.probes.paced(&target.endpoint, Route::Direct),
        spot: if is_ours(model, target, probe) { locate(model, target, probe) } else { None },
        now: model.now,
    })
    .collect()
}

fn last(probe: &Probe, now: Timestamp) -> Option<(Timestamp, &Outcome)> {
    let (at, outcome) = probe.history.back()?;
    let stale = probe.state == ProbeState::Stopped && now.since(*at) > JUST_STOPPED;
    (!stale).then_some((*at, outcome))
}

/// The failure of the latest attempt that came to an end.
pub(super) fn failure(probe: &Probe, now: Timestamp) -> Option<&Failure> {
    match last(probe, now)? {
        (_, Outcome::Failed(f)) => Some(f),
        _ => None,
    }
}

/// Open now, or closed by ourselves after it worked.
pub(super) fn works(probe: &Probe, now: Timestamp) -> bool {
    match last(probe, now) {
        Some((_, Outcome::Opened)) => true,
        Some((_, Outcome::Closed(c))) => c.by == ClosedBy::Us,
        _ => false,
    }
}

/// The end of the latest tunnel, when it was not ours and nothing came after it.
pub(super) fn dropped(probe: &Probe, now: Timestamp) -> Option<(Timestamp, &Closed)> {
    match last(probe, now)? {
        (at, Outcome::Closed(c)) if c.by != ClosedBy::Us => Some((at, c)),
        _ => None,
    }
}

fn status(probe: &Probe, now: Timestamp) -> Option<u16> {
    // What an HTTP proxy answers to CONNECT is no word of the server's.
    let f = failure(probe, now).filter(|f| f.phase != Phase::Proxy)?;
    (f.kind == FailureKind::HttpStatus).then(|| probe.answer.as_ref().map(|a| a.status))?
}

impl<'a> Case<'a> {
    pub(super) fn failure(&self) -> Option<&'a Failure> {
        failure(self.probe, self.now)
    }

    pub(super) fn failed_at(&self) -> Option<Timestamp> {
        self.failure()?;
        self.probe.history.back().map(|(at, _)| *at)
    }

    pub(super) fn works(&self) -> bool {
        works(self.probe, self.now)
    }

    /// It was never asked, and will not be: the URL is only routed.
    pub(super) fn is_only_routed(&self) -> bool {
        self.probe.attempts == 0 && self.probe.state == ProbeState::Stopped
    }

    /// The moment of the latest valid 101, if nothing failed since.
    pub(super) fn works_since(&self) -> Option<Timestamp> {
        if !self.works() {
            return None;
        }
        let opened = self.probe.history.iter().rev().find(|(_, o)| *o == Outcome::Opened);
        opened.map(|(at, _)| *at)
    }

    /// How long the tunnel is, or was, held by us.
    pub(super) fn held(&self) -> Option<Duration> {
        match self.probe.history.back()? {
            (at, Outcome::Opened) => Some(self.now.since(*at)),
            (_, Outcome::Closed(c)) if c.by == ClosedBy::Us => Some(c.held),
            _ => None,
        }
    }

    /// The tunnel that ended last, not by us and not yet dialled again with success.
    pub(super) fn dropped(&self) -> Option<(Timestamp, &'a Closed)> {
        dropped(self.probe, self.now)
    }

    /// The timer of silence that the tunnels at different paces prove.
    pub(super) fn idle_timer(&self) -> Option<IdleTimer> {
        idle_timer(&self.paced, self.now)
    }

    /// What the tunnels straight to the backend say of a silence that the way through the proxy does not survive.
    pub(super) fn twin_at(&self, after: Duration) -> Option<Twin> {
        twin(&self.paced_directly, after, self.now)
    }

    /// The HTTP status with which the handshake is refused.
    pub(super) fn status(&self) -> Option<u16> {
        status(self.probe, self.now)
    }

    /// Asked directly, the backend accepts the handshake; of several, every one does.
    pub(super) fn direct_works(&self) -> bool {
        !self.twins.is_empty() && self.twins.iter().all(|(_, p)| works(p, self.now))
    }

    /// The status with which the backend refuses the handshake directly: of several answers the one that came through the
    /// proxy as well, if there is such. Where one of several peers accepts it, it is not the backend that refuses.
    pub(super) fn direct_status(&self) -> Option<u16> {
        if self.sound_twins() > 0 {
            return None;
        }
        let all: Vec<u16> = self.twins.iter().filter_map(|(_, p)| status(p, self.now)).collect();
        all.iter().find(|s| Some(**s) == self.status()).or_else(|| all.first()).copied()
    }

    /// The first that fails directly.
    pub(super) fn direct_failure(&self) -> Option<(&'a TargetId, &'a Failure)> {
        self.direct_failures().next()
    }

    /// Those that fail directly.
    pub(super) fn direct_failures(&self) -> impl Iterator<Item = (&'a TargetId, &'a Failure)> {
        self.twins.iter().filter_map(|(t, p)| Some((*t, failure(p, self.now)?)))
    }

    /// How many accept the handshake directly.
    pub(super) fn sound_twins(&self) -> usize {
        self.twins.iter().filter(|(_, p)| works(p, self.now)).count()
    }

    /// The body of the refusing answer says this.
    pub(super) fn body_has(&self, words: &str) -> bool {
        self.status().is_some() && self.probe.answer.as_ref().is_some_and(|a| lower(&a.body).contains(&lower(words)))
    }

    /// `/ws`: what a person calls the endpoint.
    pub(super) fn path(&self) -> String {
        Url::read(&self.target.url).map_or_else(|| self.target.url.to_string(), |u| u.path.to_owned())
    }

    /// `/ws answers 400`, or what failed.
    pub(super) fn symptom(&self) -> String {
        let path = self.path();
        match (self.status(), self.failure()) {
            (Some(s), _) => format!("{path} answers {s}"),
            (None, Some(_)) => format!("{path} cannot be opened"),
            _ => path,
        }
    }

    /// The location where it is known, and the URL always.
    pub(super) fn subject(&self) -> Subject {
        let base = self.spot.map(Spot::subject).unwrap_or_default();
        Subject { url: Some(self.target.url.to_string()), ..base }
    }

    /// What the probe and its twin saw.
    pub(super) fn evidence(&self) -> Vec<Evidence> {
        let mut out = Vec::new();
        let mut say = |t: &TargetId, p: &Probe, via: &str| {
            let said = match (last(p, self.now), status(p, self.now)) {
                (_, Some(s)) => format!("{via}, {} answered {s}{}", t.url, reason(p)),
                (Some((_, Outcome::Failed(f))), _) => format!("{via}, {}: {}", t.url, f.said),
                (Some((_, Outcome::Opened)), _) => format!("{via}, {} answered 101", t.url),
                (Some((_, Outcome::Closed(c))), _) if c.by == ClosedBy::Us => format!("{via}, {} answered 101", t.url),
                (Some((_, Outcome::Closed(c))), _) => {
                    format!("{via}, {} answered 101 and was closed after {:.1} s", t.url, c.held.as_secs_f64())
                }
                _ => return,
            };
            let mut evidence = Evidence::new(EvidenceKind::Probe, said);
            evidence.at = p.history.back().map(|(at, _)| *at);
            out.push(evidence);
        };
        say(self.target, self.probe, if self.spot.is_some() { "through nginx" } else { "the clients' way" });
        for (t, p) in &self.twins {
            say(t, p, "directly");
        }
        out
    }
}

/// What a refusal's body says for itself: `: "missing subprotocol"`. A page for browsers says it too long.
fn reason(probe: &Probe) -> String {
    let body = probe.answer.as_ref().map_or("", |a| a.body.trim_start());
    let line = body.lines().next().unwrap_or_default().trim();
    if line.is_empty() || line.starts_with('<') {
        return String::new();
    }
    format!(": \"{}\"", human::cut_end(line, REASON))
}

fn lower(text: &str) -> String {
    text.to_ascii_lowercase()
}

/// The parts of a `ws://` or `wss://` URL that choose a location.
pub(super) struct Url<'a> {
    pub(super) tls: bool,
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) path: &'a str,
}

impl<'a> Url<'a> {
    pub(super) fn read(url: &'a str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let tls = matches!(scheme, "wss" | "https");
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        let authority = authority.rsplit_once('@').map_or(authority, |(_, a)| a);
        let path = tail.split(['?', '#']).next().filter(|p| !p.is_empty()).unwrap_or("/");
        let (host, port) = match authority.rsplit_once(':') {
            Some((h, p)) if !h.ends_with(':') && !p.contains(']') => (h, p.parse().ok()?),
            _ => (authority, if tls { 443 } else { 80 }),
        };
        Some(Self { tls, host: host.trim_start_matches('[').trim_end_matches(']'), port, path })
    }

    /// `127.0.0.1:19001`.
    pub(super) fn peer(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// The URL leads to this very host: its address is one of ours, or a server here carries its name.
pub(super) fn is_ours(model: &Model, target: &TargetId, probe: &Probe) -> bool {
    let Some(url) = Url::read(&target.url) else { return false };
    let literal = url.host.parse().ok();
    let addresses = || probe.addresses.iter().map(std::net::SocketAddr::ip).chain(literal);
    let named = |s: &Site| s.servers.iter().any(|s| carries(s, url.host));
    // Nobody asked: the URL was given to be held against this very configuration.
    let is_only_routed = model.is_apart() && probe.attempts == 0;
    is_only_routed
        || url.host.eq_ignore_ascii_case("localhost")
        || addresses().any(|ip| ip.is_loopback())
        || probe.last_ends.is_some_and(|(local, peer)| local.ip() == peer.ip())
        || addresses().any(|ip| model.connections.legs().any(|l| l.row.local.ip() == ip))
        || addresses().any(|ip| model.connections.listeners.iter().any(|l| l.local.ip() == ip))
        || model.site.as_ref().is_some_and(named)
}

/// A `server_name` of this server fits the host.
pub(super) fn carries(server: &Server, host: &str) -> bool {
    let host = lower(host);
    let fits = |n: &String| match n.strip_prefix('~') {
        Some(p) => pattern(p, true).is_some_and(|p| p.is_match(&host)),
        None => n.eq_ignore_ascii_case(&host) || wildcard(&lower(n), &host),
    };
    server.names.iter().any(fits)
}

/// nginx's own choice of server and location for a URL, asked for under the host name that the probe sent.
fn locate<'a>(model: &'a Model, target: &TargetId, probe: &Probe) -> Option<Spot<'a>> {
    let url = Url::read(&target.url)?;
    let site = model.site.as_ref()?;
    let host = sent_host(&probe.request).unwrap_or(url.host);
    let (server, location) = site.route(Some(dialled(&url, probe)), host, url.path)?;
    Some(Spot { server, location })
}

/// The address that the probe reached; where only the port is known, every address of it.
fn dialled(url: &Url<'_>, probe: &Probe) -> SocketAddr {
    let literal = || url.host.parse().ok();
    let ip = probe.last_ends.map(|(_, peer)| peer.ip()).or_else(|| probe.addresses.first().map(SocketAddr::ip));
    SocketAddr::new(ip.or_else(literal).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), url.port)
}

/// The Host header of a request as sent.
pub(super) fn sent_host(request: &str) -> Option<&str> {
    let mut fields = request.lines().skip(1).filter_map(|l| l.split_once(':'));
    fields.find(|(name, _)| name.eq_ignore_ascii_case("host")).map(|(_, value)| value.trim())
}

/// The location that an access-log line is about: nginx's choice for its path, in the server of its host where the format
/// tells one, among all servers otherwise. `None` when that leaves more than one WebSocket location to choose from.
pub(super) fn spot_of_access<'a>(model: &'a Model, entry: &AccessEntry) -> Option<Spot<'a>> {
    let (server, location) =
        model.site.as_ref()?.asked(entry.host.as_deref(), entry.path()?, entry.upstream.as_deref())?;
    Some(Spot { server, location })
}

/// The same for a handshake of a debug log.
pub(super) fn spot_of_handshake<'a>(model: &'a Model, h: &Handshake) -> Option<Spot<'a>> {
    let (server, location) = model.site.as_ref()?.asked(h.request.header("Host"), h.path()?, h.upstream.as_deref())?;
    Some(Spot { server, location })
}

/// Fresh error-log lines of one kind about one backend in one location.
pub(super) struct Seen<'a> {
    /// Oldest first within each category.
    pub(super) entries: Vec<&'a ErrorEntry>,
    pub(super) newest: &'a ErrorEntry,
    pub(super) spot: Option<Spot<'a>>,
    pub(super) peer: Option<&'a str>,
}

impl Seen<'_> {
    /// The last line, with how often.
    pub(super) fn evidence(&self) -> Evidence {
        let n = self.entries.len();
        let times = if n > 1 { format!(" ({n} times lately)") } else { String::new() };
        Evidence::new(EvidenceKind::Log, format!("{}{times}", words(self.newest))).at(self.newest.at)
    }

    /// The location and the backend.
    pub(super) fn subject(&self) -> Subject {
        let base = self.spot.map(Spot::subject).unwrap_or_default();
        Subject { upstream: self.peer.map(str::to_owned), ..base }
    }

    /// The backend's address, or words for it.
    pub(super) fn backend(&self) -> &str {
        self.peer.unwrap_or("the backend")
    }
}

/// A log line without time, pid and context: `[error] connect() failed (111) while connecting to upstream`.
pub(super) fn words(e: &ErrorEntry) -> String {
    let mut out = format!("[{}] {}", e.level.word(), e.message);
    if let Some(n) = e.errno {
        let _ = write!(out, " ({n})");
    }
    if let Some(ssl) = e.ssl.as_deref().filter(|s| !s.is_empty()) {
        let _ = write!(out, " (SSL: {ssl})");
    }
    if let Some(action) = &e.action {
        let _ = write!(out, " while {action}");
    }
    out
}

/// All fresh entries that `test` likes, whatever they are about.
pub(super) fn fresh<'a>(
    model: &'a Model,
    test: impl Fn(&ErrorEntry) -> bool + 'a,
) -> impl Iterator<Item = &'a ErrorEntry> {
    let oldest = model.now.minus(FRESH);
    let all = model.errors.by_category.values().flat_map(|t| &t.recent).map(|k| &k.entry);
    all.filter(move |e| e.at >= oldest && test(e))
}

/// Fresh entries that `test` likes and that concern WebSockets, grouped by backend and location.
pub(super) fn seen<'a>(model: &'a Model, test: impl Fn(&ErrorEntry) -> bool + 'a) -> Vec<Seen<'a>> {
    let cases = cases(model);
    let mut groups: Vec<Seen<'a>> = Vec::new();
    for entry in fresh(model, test) {
        let Concern::Yes(spot) = concern(model, &cases, entry) else { continue };
        let peer = entry.peer().filter(|p| !p.is_empty());
        let same = |g: &&mut Seen<'a>| {
            let alike = match (g.spot, spot) {
                (Some(a), Some(b)) => a.is(b),
                (None, None) => true,
                _ => false,
            };
            g.peer == peer && alike
        };
        if let Some(group) = groups.iter_mut().find(same) {
            group.entries.push(entry);
            if entry.at >= group.newest.at {
                group.newest = entry;
            }
        } else {
            groups.push(Seen { entries: vec![entry], newest: entry, spot, peer });
        }
    }
    groups
}

enum Concern<'a> {
    /// It concerns a WebSocket location, when one can be named.
    Yes(Option<Spot<'a>>),
    /// It concerns something else.
    No,
}

/// Whether a line is about a WebSocket route: errors of ordinary pages on the same host accuse nobody here.
fn concern<'a>(model: &'a Model, cases: &[Case<'a>], entry: &ErrorEntry) -> Concern<'a> {
    let Some(site) = model.site.as_ref().filter(|s| !s.servers.is_empty()) else {
        let ours = cases.is_empty() || entry.path().is_none_or(|p| cases.iter().any(|c| c.path() == p));
        return if ours { Concern::Yes(None) } else { Concern::No };
    };
    let asked = |s: Spot<'a>| cases.iter().any(|c| c.spot.is_some_and(|o| o.is(s)));
    let websocket = |s: Spot<'a>| s.location.means_websocket() || asked(s);
    if let Some(path) = entry.path()
        && let Some(spot) = spot_of(site, entry, path)
    {
        return if websocket(spot) { Concern::Yes(Some(spot)) } else { Concern::No };
    }
    if let Some(peer) = entry.peer() {
        let mut found = site.locations().map(|(server, location)| Spot { server, location });
        return found.find(|s| s.leads_to(peer) && websocket(*s)).map_or(Concern::No, |s| Concern::Yes(Some(s)));
    }
    if entry.request.is_some() { Concern::No } else { Concern::Yes(None) }
}

/// The log names the server by its first name, and the request by its path.
fn spot_of<'a>(site: &'a Site, entry: &ErrorEntry, path: &str) -> Option<Spot<'a>> {
    let name = entry.server.as_deref().unwrap_or_default();
    let named = |s: &&Server| s.names.first().map_or("", String::as_str) == name;
    let mut servers: Vec<&Server> = site.servers.iter().filter(named).collect();
    if servers.is_empty() {
        servers = site.servers.iter().collect();
    }
    let location = |server: &'a Server| Some(Spot { server, location: server.location_for(path)? });
    let spots: Vec<Spot<'a>> = servers.into_iter().filter_map(location).collect();
    let leads = |s: &&Spot<'a>| entry.peer().is_none_or(|p| s.leads_to(p));
    spots.iter().find(leads).or_else(|| spots.first()).copied()
}

/// The probe that goes through the same location, or any when the log tells no location.
pub(super) fn case_for<'c, 'a>(cases: &'c [Case<'a>], spot: Option<Spot<'_>>) -> Option<&'c Case<'a>> {
    cases.iter().find(|c| match (c.spot, spot) {
        (Some(a), Some(b)) => a.is(b),
        _ => spot.is_none(),
    })
}

/// How much a failure of new handshakes hurts now, given what the probes and the access log saw since.
pub(super) fn urgency(model: &Model, seen: &Seen<'_>) -> (Severity, Confidence) {
    let cases = cases(model);
    let age = model.now.since(seen.newest.at);
    let case = case_for(&cases, seen.spot);
    if let Some((at, by_nginx)) = case.and_then(upgrade_failure) {
        let apart = at.since(seen.newest.at).max(seen.newest.at.since(at));
        return if by_nginx && apart <= TOGETHER {
            (Severity::Critical, Confidence::Certain)
        } else {
            // The backend did answer since, or newer lines tell of another trouble: this one is over.
            (Severity::Info, Confidence::Likely)
        };
    }
    let worked = case.and_then(Case::works_since).is_some_and(|t| t >= seen.newest.at) || served_since(model, seen);
    match (worked, age <= NOW) {
        (true, _) => (Severity::Info, Confidence::Certain),
        (false, true) => (Severity::Critical, Confidence::Likely),
        (false, false) => (Severity::Warning, Confidence::Likely),
    }
}

/// When the handshake itself failed last, and whether nginx rather than the backend gave the answer.
fn upgrade_failure(case: &Case<'_>) -> Option<(Timestamp, bool)> {
    let failure = case.failure().filter(|f| f.phase == Phase::Upgrade)?;
    let by_nginx = failure.kind != FailureKind::HttpStatus || case.status().is_some_and(|s| s >= 500);
    Some((case.failed_at()?, by_nginx))
}

/// A tunnel through the same backend or location began after the newest line.
pub(super) fn served_since(model: &Model, seen: &Seen<'_>) -> bool {
    model.sessions.recent.iter().any(|s| {
        let began = s.lifetime().map_or(s.at, |t| s.at.minus(t));
        let same_peer = seen.peer.is_some_and(|p| s.upstream.as_deref() == Some(p));
        let same_path = seen.peer.is_none() && seen.newest.path().is_some() && seen.newest.path() == s.path();
        began > seen.newest.at && (same_peer || same_path)
    })
}

/// How much trouble hurts that strikes some users and not others (limits, resets, full tables): a probe that works does
/// not refute it while it is new.
pub(super) fn partial(model: &Model, seen: &Seen<'_>) -> (Severity, Confidence) {
    let cases = cases(model);
    let case = case_for(&cases, seen.spot);
    let age = model.now.since(seen.newest.at);
    if case.is_some_and(|c| c.failure().is_some()) && age <= NOW {
        return (Severity::Critical, Confidence::Certain);
    }
    match (case.is_some_and(Case::works), age <= NOW) {
        (true, false) => (Severity::Info, Confidence::Certain),
        _ => (Severity::Warning, Confidence::Certain),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_give_host_port_and_path() {
        let cases = [
            ("ws://h/ws?x=/y", ("h", 80, "/ws")),
            ("wss://h", ("h", 443, "/")),
            ("wss://u:p@h:8443/a/b#c", ("h", 8443, "/a/b")),
            ("ws://[2001:db8::1]:90/x", ("2001:db8::1", 90, "/x")),
            ("ws://[::1]/x", ("::1", 80, "/x")),
        ];
        for (url, (host, port, path)) in cases {
            let u = Url::read(url).expect(url);
            assert_eq!((u.host, u.port, u.path), (host, port, path), "{url}");
        }
        for wrong in ["", "h/ws", "ws://h:99999/"] {
            assert!(Url::read(wrong).is_none(), "{wrong}");
        }
    }
}
