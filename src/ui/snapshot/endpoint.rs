//! The rows of the Handshakes pane: probed endpoints with their direct twins, then those that wait for a probe.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::SocketAddr;
use std::time::Duration;

use crate::event::probe::{Answer, Cadence, Failure, FailureKind, Route, Strays, TargetId, Tls};
use crate::event::site::Place;
use crate::model::Model;
use crate::model::cadence::{Fare, IdleTimer, fare, idle_timer};
use crate::model::probes::{Outcome, Phases, Probe, ProbeState, Uptime};
use crate::time::Timestamp;

use super::super::address::readable;
use super::super::light::Light;
use super::outcome;
use super::seen::{self, SeenPath, SeenRow};

/// Paths that only clients know of which each gets a row; clients choose paths.
const ONLY_SEEN: usize = 8;
/// A tunnel that was lost this lately still colours its row.
const LATELY: Duration = Duration::from_secs(120);

/// The windows of the time up; the last is all that is known.
pub const WINDOWS: [Option<Duration>; 3] = [Some(Duration::from_secs(300)), Some(Duration::from_secs(3_600)), None];

/// The heartbeat of a probe.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beats {
    /// Pings sent.
    pub pings: u64,
    /// Pongs received.
    pub pongs: u64,
    /// Between the latest two pings.
    pub period: Option<Duration>,
    /// Texts sent.
    pub questions: u64,
    /// Texts answered.
    pub answers: u64,
    /// Texts not answered in time.
    pub unanswered: u64,
    /// How long the latest answer took.
    pub answer_time: Option<Duration>,
    /// How much consecutive round-trip times differ, smoothed.
    pub jitter: Option<Duration>,
    /// Pongs that answered no ping.
    pub strays: Strays,
}

/// One of the tunnels that are held side by side at different paces.
#[derive(Clone, Debug)]
pub struct PacedRow {
    /// The pace.
    pub cadence: Cadence,
    /// How it is now.
    pub light: Light,
    /// The same in a word.
    pub word: String,
    /// How long the tunnel has been open.
    pub held: Option<Duration>,
    /// How it fared.
    pub fare: Fare,
}

/// How a probe gets to its server.
#[derive(Clone, Debug, Default)]
pub struct Way {
    /// Addresses of the name.
    pub addresses: Vec<SocketAddr>,
    /// Those that failed before one answered, and how.
    pub tried: Vec<String>,
    /// The unix socket that it goes through.
    pub unix_socket: Option<String>,
    /// The HTTP proxy that it goes through.
    pub http_proxy: Option<String>,
    /// Our end of the latest connection and the peer's.
    pub ends: Option<(SocketAddr, SocketAddr)>,
}

/// One endpoint by one route.
#[derive(Clone, Debug)]
pub struct EndpointRow {
    /// Stable while the program runs.
    pub id: u64,
    /// The URL that clients use.
    pub endpoint: String,
    /// The URL that is dialled.
    pub url: String,
    /// The pace of a tunnel that is held beside the probe; `None`: the probe itself.
    pub cadence: Option<Cadence>,
    /// The paces that are held beside this probe.
    pub paced: Vec<PacedRow>,
    /// The timer of silence that they prove.
    pub timer: Option<IdleTimer>,
    /// By which route; `None` while nobody probes it.
    pub route: Option<Route>,
    /// What stands in the first column.
    pub label: String,
    /// How it is.
    pub light: Light,
    /// The same in a word.
    pub word: String,
    /// How long the tunnel has been open.
    pub held: Option<Duration>,
    /// The phases of the latest attempt; while one is on its way, of the one before.
    pub phases: Phases,
    /// The longest that any row took to open or fail: what the bars are drawn against.
    pub slowest: Duration,
    /// Latest round-trip time.
    pub rtt: Option<Duration>,
    /// Their median.
    pub p50: Option<Duration>,
    /// Their 99th percentile.
    pub p99: Option<Duration>,
    /// The newest, oldest first; `None` is a missed pong.
    pub spark: Vec<Option<Duration>>,
    /// Pings without a pong; `None` before the first ping.
    pub missed: Option<u64>,
    /// Attempts after the first; `None` while nobody probes it.
    pub again: Option<u64>,
    /// TLS, as far as it got.
    pub tls: Option<Tls>,
    /// The request of the latest attempt.
    pub request: String,
    /// Its answer.
    pub answer: Option<Answer>,
    /// Where it failed, or how the last tunnel ended, in a sentence.
    pub said: Option<String>,
    /// What happened when, oldest first.
    pub history: Vec<(Timestamp, Outcome)>,
    /// How it is held open.
    pub beats: Beats,
    /// How it is reached.
    pub way: Way,
    /// The time up of the last 5 minutes, the last hour, and of all that is known.
    pub uptimes: [Option<Uptime>; 3],
    /// Where the configuration has it, and what is behind it.
    pub site: Option<String>,
    /// The line of that location.
    pub place: Option<Place>,
    /// What clients tried there, by answer, the newest first; only a debug log tells.
    pub seen: Vec<SeenRow>,
    /// Only clients know it: the URL is not known, so it cannot be probed.
    pub is_only_seen: bool,
}

impl EndpointRow {
    /// The row belongs to one above: it is a direct twin, or a pace beside the probe.
    #[must_use]
    pub fn is_twin(&self) -> bool {
        self.route == Some(Route::Direct) || self.cadence.is_some()
    }

    /// Why the latest attempt failed, when it did.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        match self.history.last() {
            Some((_, Outcome::Failed(f))) => Some(f),
            _ => None,
        }
    }
}

/// Every probe, and every WebSocket location that no probe goes to.
#[must_use]
pub fn rows(model: &Model) -> Vec<EndpointRow> {
    let mut rows: Vec<EndpointRow> = model.probes.by_target.iter().map(|(t, p)| probed(t, p, model.now)).collect();
    for row in rows.iter_mut().filter(|r| r.cadence.is_none()) {
        put_paces(model, row);
    }
    let found = model.site.as_ref().map(crate::event::site::Site::endpoints).unwrap_or_default();
    for e in found {
        let behind: Vec<&str> = e.peers.iter().map(|p| p.address.as_str()).collect();
        let site =
            format!("{}, proxied to {}", e.place, if behind.is_empty() { "?".into() } else { behind.join(", ") });
        let known: Vec<&mut EndpointRow> = rows.iter_mut().filter(|r| same(&r.endpoint, &e.url)).collect();
        if known.is_empty() {
            rows.push(unprobed(e.url, site, e.place));
        } else {
            for row in known {
                row.site = Some(site.clone());
                row.place = Some(e.place.clone());
            }
        }
    }
    put_seen(model, &mut rows);
    let slowest = rows.iter().filter_map(|r| r.phases.total()).max().unwrap_or_default();
    for row in &mut rows {
        row.slowest = slowest;
    }
    rows
}

/// Gives the row of a probe the paces that are held beside it.
fn put_paces(model: &Model, row: &mut EndpointRow) {
    let Some(route) = row.route else { return };
    let all = model.probes.paced(&row.endpoint, route);
    row.timer = idle_timer(&all, model.now);
    let one = |(cadence, p): &(Cadence, &Probe)| {
        let (light, word) = state(p, model.now);
        PacedRow { cadence: *cadence, light, word, held: p.held(model.now), fare: fare(p, model.now) }
    };
    row.paced = all.iter().map(one).collect();
}

/// Gives each row through nginx the handshakes that went there, and those that belong to none a row of their own.
fn put_seen(model: &Model, rows: &mut Vec<EndpointRow>) {
    let mut others = Vec::new();
    for path in seen::paths(model) {
        let there = |r: &&mut EndpointRow| match (&r.place, &path.place) {
            _ if r.is_twin() => false,
            (Some(own), Some(place)) => own == place,
            _ => path_of(&r.url) == path.path,
        };
        let mut found = false;
        for row in rows.iter_mut().filter(there) {
            row.seen.extend(path.rows.iter().cloned());
            row.seen.sort_by_key(|s| std::cmp::Reverse(s.newest.at));
            found = true;
        }
        if !found && others.len() < ONLY_SEEN {
            others.push(only_seen(path));
        }
    }
    rows.extend(others);
}

fn path_of(url: &str) -> &str {
    let rest = without_scheme(url);
    let path = rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/");
    path.split(['?', '#']).next().unwrap_or(path)
}

/// A path that only the debug log tells of.
fn only_seen(path: SeenPath) -> EndpointRow {
    let newest = path.rows.first();
    let status = newest.and_then(|r| r.status);
    let word = status.map_or_else(|| "asked".to_owned(), |s| s.to_string());
    let light = if status.is_some_and(|s| s != 101) { Light::Warn } else { Light::Idle };
    let id = stable_id(&[&path.path, "seen"]);
    EndpointRow {
        id,
        light,
        word,
        label: path.path.clone(),
        place: path.place,
        seen: path.rows,
        is_only_seen: true,
        ..unknown(path.path)
    }
}

/// A probed URL and a configured one are the same endpoint: equal, or the probe names the host by its address.
fn same(probed: &str, configured: &str) -> bool {
    let (probed, configured) = (without_scheme(probed), without_scheme(configured));
    if probed == configured {
        return true;
    }
    let (host, path) = probed.split_at(probed.find('/').unwrap_or(probed.len()));
    let (named, other_path) = configured.split_at(configured.find('/').unwrap_or(configured.len()));
    let (name, port) = host.rsplit_once(':').unwrap_or((host, ""));
    let by_address = name == "localhost" || name.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok();
    by_address && path == other_path && port == named.rsplit_once(':').map_or("", |(_, p)| p)
}

/// A number that stays the same for the same words.
#[must_use]
pub fn stable_id(words: &[&str]) -> u64 {
    let mut hasher = DefaultHasher::new();
    words.hash(&mut hasher);
    hasher.finish()
}

fn without_scheme(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, rest)| rest)
}

fn unprobed(url: String, site: String, place: Place) -> EndpointRow {
    EndpointRow { id: stable_id(&[&url, "found"]), site: Some(site), place: Some(place), ..unknown(url) }
}

/// A row of which nothing is known but its name.
fn unknown(url: String) -> EndpointRow {
    EndpointRow {
        id: 0,
        label: readable(without_scheme(&url)).into_owned(),
        endpoint: url.clone(),
        url,
        cadence: None,
        paced: Vec::new(),
        timer: None,
        route: None,
        light: Light::Idle,
        word: "found".into(),
        held: None,
        phases: Phases::default(),
        slowest: Duration::ZERO,
        rtt: None,
        p50: None,
        p99: None,
        spark: Vec::new(),
        missed: None,
        again: None,
        tls: None,
        request: String::new(),
        answer: None,
        said: None,
        history: Vec::new(),
        beats: Beats::default(),
        way: Way::default(),
        uptimes: [None; 3],
        site: None,
        place: None,
        seen: Vec::new(),
        is_only_seen: false,
    }
}

fn probed(target: &TargetId, p: &Probe, now: Timestamp) -> EndpointRow {
    let (light, word) = state(p, now);
    EndpointRow {
        id: stable_id(&[&target.endpoint, &target.url, &target.cadence.map_or_else(String::new, |c| c.to_string())]),
        cadence: target.cadence,
        endpoint: target.endpoint.to_string(),
        route: Some(target.route),
        label: target.cadence.map_or_else(|| readable(label(target)).into_owned(), |c| pace(c, &fare(p, now))),
        light,
        word,
        held: p.held(now),
        phases: if p.state == ProbeState::Dialing { p.phases_before } else { p.phases },
        rtt: p.rtt,
        p50: p.rtt_quantile(0.5),
        p99: p.rtt_quantile(0.99),
        spark: p.recent.iter().copied().collect(),
        missed: (p.pings > 0).then_some(p.missed),
        again: Some(p.reconnects()),
        tls: p.tls.clone(),
        request: p.request.clone(),
        answer: p.answer.clone(),
        said: p.history.back().filter(|(_, o)| *o != Outcome::Opened).map(|(_, o)| outcome::said(o)),
        history: p.history.iter().cloned().collect(),
        beats: Beats {
            pings: p.pings,
            pongs: p.pongs,
            period: p.ping_period,
            questions: p.questions,
            answers: p.answers,
            unanswered: p.unanswered,
            answer_time: p.answer_time,
            jitter: p.jitter,
            strays: p.strays,
        },
        way: Way {
            addresses: p.addresses.clone(),
            tried: p.tried.clone(),
            unix_socket: p.unix_socket.clone(),
            http_proxy: p.http_proxy.clone(),
            ends: p.ends.or(p.last_ends),
        },
        uptimes: WINDOWS.map(|w| p.uptime(now, w)),
        ..unknown(target.url.to_string())
    }
}

/// `silent died 60.0s`, `10s lives`: short, because the column is.
fn pace(cadence: Cadence, fare: &Fare) -> String {
    match fare.silences {
        Some((_, longest)) => format!("{cadence} died {:.1}s", longest.as_secs_f64()),
        None if fare.longest.is_zero() => cadence.to_string(),
        None => format!("{cadence} lives"),
    }
}

/// The URL that clients use; of a direct twin its address, and the path only where it is another one.
fn label(target: &TargetId) -> &str {
    let own = without_scheme(&target.url);
    if target.route == Route::Proxy {
        return without_scheme(&target.endpoint);
    }
    let address = own.split('/').next().unwrap_or(own);
    if path_of(own) == path_of(&target.endpoint) && !address.is_empty() { address } else { own }
}

/// While an attempt is under way, the row says how the one before ended: it must not flicker.
fn state(p: &Probe, now: Timestamp) -> (Light, String) {
    match &p.state {
        ProbeState::Open(_) if p.recent.back().is_some_and(Option::is_none) => (Light::Warn, "no pong".into()),
        ProbeState::Open(_) if lost_lately(p, now) => (Light::Warn, "open".into()),
        ProbeState::Open(_) => (Light::Ok, "open".into()),
        ProbeState::Failed(f) => (Light::Bad, failure_word(f, p)),
        ProbeState::Closed(c) => (Light::Warn, outcome::closed(c)),
        ProbeState::Stopped => (Light::Idle, "off".into()),
        ProbeState::Dialing | ProbeState::Fresh => match p.history.back() {
            Some((_, Outcome::Failed(f))) => (Light::Bad, failure_word(f, p)),
            Some((_, Outcome::Closed(c))) => (Light::Warn, outcome::closed(c)),
            _ => (Light::Idle, "dialing".into()),
        },
    }
}

fn lost_lately(p: &Probe, now: Timestamp) -> bool {
    let lost = |(at, o): &(Timestamp, Outcome)| now.since(*at) < LATELY && !matches!(o, Outcome::Opened);
    p.history.iter().rev().take(8).any(lost)
}

fn failure_word(f: &Failure, p: &Probe) -> String {
    let status = p.answer.as_ref().map(|a| a.status);
    match (f.kind, status) {
        (FailureKind::HttpStatus, Some(status)) => status.to_string(),
        _ => outcome::kind(f.kind).to_owned(),
    }
}
