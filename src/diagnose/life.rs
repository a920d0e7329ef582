//! Rules about what the lives of many tunnels tell: silences that end at somebody else's timeout, heartbeats that come too
//! late, and clients that come back too fast.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::event::log::AccessEntry;
use crate::event::probe::ClosedBy;
use crate::event::site::{Setting, Site};
use crate::event::tally::sessions::{Sessions, Spike, Timeout};
use crate::human;
use crate::model::Model;
use crate::model::probes::ProbeState;

use super::finding::{Confidence, Evidence, EvidenceKind, Finding, Fix, Severity, Subject};
use super::look::{self, Case, FRESH, Spot, cases, short};
use super::paced;
use super::tunnels::{in_tunnel, is_at, seconds, timeout_line};

/// So many of the ended tunnels must lie in the pile: one in so many.
const SHARE: u64 = 4;

/// Tunnels that die at an age which a well-known balancer or proxy is known for and which no timeout of nginx explains.
/// The pile alone is a possibility; a tunnel of our own that fell silent and died so makes it likely.
pub(super) fn middlebox_cuts(model: &Model) -> Vec<Finding> {
    let cases = cases(model);
    let sites = model.site.iter().flat_map(Site::locations);
    let spots = sites.filter(|(_, l)| l.means_websocket());
    let piles = spots.filter_map(|(server, location)| {
        let spot = Spot { server, location };
        let (sessions, spike, others) = foreign_pile(model, spot)?;
        Some(middlebox(spot, &sessions, &spike, &others, own_death(&cases, spot, spike.at)))
    });
    let mut found: Vec<Finding> = piles.collect();
    let is_new = |f: &Finding| !found.iter().any(|o| o.subject.location == f.subject.location);
    let timers: Vec<Finding> = paced::foreign_timers(model).into_iter().filter(is_new).collect();
    found.extend(timers);
    found
}

/// The lifetimes at a location, and their largest pile that is somebody else's.
fn foreign_pile(model: &Model, spot: Spot<'_>) -> Option<(Sessions, Spike, String)> {
    let here = |e: &&AccessEntry| {
        // What nginx itself cut off it does not call completed.
        let ours = e.completed != Some(false) && model.now.since(e.at) <= FRESH;
        ours && look::spot_of_access(model, e).is_some_and(|o| o.is(spot))
    };
    let mut sessions = Sessions::default();
    for entry in model.sessions.recent.iter().filter(here) {
        sessions.add(Some(entry.at), entry.lifetime());
    }
    let nginx = "nginx";
    let own = [&spot.location.read_timeout, &spot.location.send_timeout];
    let own = own.map(|set| Timeout { after: set.value, name: nginx.to_owned() });
    let least = spot.location.read_timeout.value;
    let foreign = sessions.spikes(&own).into_iter().find_map(|spike| {
        let whose = spike.timeout.clone().filter(|t| !t.contains(nginx))?;
        // Beyond its own timeout nginx would have cut what was silent.
        (spike.at < least && spike.count * SHARE >= sessions.count).then_some((spike, whose))
    });
    foreign.map(|(spike, whose)| (sessions, spike, whose))
}

/// Our own tunnel through this location was cut, without a word, after as long a silence.
fn own_death<'c, 'a>(cases: &'c [Case<'a>], spot: Spot<'_>, age: Duration) -> Option<&'c Case<'a>> {
    let silent = |c: &&Case<'_>| {
        c.dropped().is_some_and(|(_, d)| {
            d.code.is_none() && matches!(d.by, ClosedBy::Fin | ClosedBy::Reset) && is_at(d.idle, age)
        })
    };
    let proven = |c: &&Case<'_>| c.idle_timer().is_some_and(|t| is_at(t.after, age));
    cases.iter().filter(|c| c.spot.is_some_and(|s| s.is(spot))).find(|c| silent(c) || proven(c))
}

fn middlebox(spot: Spot<'_>, all: &Sessions, spike: &Spike, whose: &str, own: Option<&Case<'_>>) -> Finding {
    let (severity, confidence) = match own {
        Some(_) => (Severity::Warning, Confidence::Likely),
        None => (Severity::Info, Confidence::Possible),
    };
    let l = spot.location;
    let age = seconds(Duration::from_secs((spike.at + Duration::from_millis(500)).as_secs()));
    let (path, timeout) = (&l.path, seconds(l.read_timeout.value));
    let said = format!(
        "{path}: tunnels die at the age of {age}, though nginx waits {timeout}: something before or behind it may cut them"
    );
    let died = format!("{} of {} tunnels lived {age}", spike.count, all.count);
    let newest = Evidence::new(EvidenceKind::Access, died);
    let fits = Evidence::new(EvidenceKind::Access, format!("{age} fits {whose}"));
    let fix = "look at the idle timeouts of balancers, CDNs and firewalls on both sides of nginx, and let one side ping at half \
               the shortest; a client that always stays so long looks the same";
    Finding::new("middlebox-cuts", severity, confidence, spot.subject(), said)
        .seen([newest, fits, timeout_line(l, &l.read_timeout, "proxy_read_timeout")])
        .seen(own.and_then(Case::idle_timer).map(|t| paced::proof(&t)))
        .seen(own.map(Case::evidence).unwrap_or_default())
        .fixed_by(Fix::new(fix))
}

/// A heartbeat races the timeout when it leaves less than this part of it: 5 s of 60 s.
const MARGIN: u32 = 12;
/// Silences of equal length in a row that make a heartbeat.
const STEADY: u32 = 2;

fn races(period: Duration, timeout: Duration) -> bool {
    period + timeout / MARGIN >= timeout && period <= timeout + Duration::from_secs(1)
}

/// Heartbeats with a period close to `proxy_read_timeout`: a moment's delay, and the tunnel is cut.
pub(super) fn heartbeat_races_timeout(model: &Model) -> Vec<Finding> {
    let mut out = Vec::new();
    for (spot, (count, period)) in racing_tunnels(model) {
        let n = human::counted(count, "tunnel speaks", "tunnels speak");
        let (kind, seen) = (EvidenceKind::Socket, format!("{n} only every {}", seconds(period)));
        out.push(race(model, spot, period, Evidence::new(kind, seen)));
    }
    for case in cases(model) {
        let open = matches!(case.probe.state, ProbeState::Open(_));
        let Some((spot, period)) = case.spot.zip(case.probe.ping_period.filter(|_| open)) else { continue };
        if races(period, spot.location.read_timeout.value) && !out.iter().any(|f| f.subject == spot.subject()) {
            let seen = format!("our own tunnel pings every {}", seconds(period));
            out.push(race(model, spot, period, Evidence::new(EvidenceKind::Probe, seen)));
        }
    }
    out
}

/// Tunnels of others with a steady heartbeat that races their location's timeout: how many, and the longest period.
fn racing_tunnels(model: &Model) -> Vec<(Spot<'_>, (u64, Duration))> {
    let Some(site) = &model.site else { return Vec::new() };
    let mut by_path: BTreeMap<&str, (u64, Duration)> = BTreeMap::new();
    for tunnel in model.connections.tunnels(model.now, &|_| false) {
        let beat = tunnel.upstream.and_then(|l| l.beat).filter(|b| b.times >= STEADY && tunnel.probe.is_none());
        let (Some(beat), Some(path), Some(timeout)) = (beat, tunnel.location, tunnel.read_timeout) else { continue };
        if races(beat.silence, timeout) {
            let known = by_path.entry(path).or_default();
            *known = (known.0 + 1, known.1.max(beat.silence));
        }
    }
    let mut out = Vec::new();
    for (path, found) in by_path {
        let mut spots = site.locations().filter(|(_, l)| l.path == path && l.means_websocket());
        // Two servers with the same path: it cannot be told whose tunnels these are.
        if let (Some((server, location)), None) = (spots.next(), spots.next()) {
            out.push((Spot { server, location }, found));
        }
    }
    out
}

fn race(model: &Model, spot: Spot<'_>, period: Duration, seen: Evidence) -> Finding {
    let set: &Setting<Duration> = &spot.location.read_timeout;
    let idle_cut = |e: &crate::event::log::ErrorEntry| in_tunnel(e) && e.message.starts_with("upstream timed out");
    let cut = look::seen(model, idle_cut).into_iter().find(|s| s.spot.is_some_and(|o| o.is(spot)));
    // Our own period is our own choice: it shows the race, and harms nobody.
    let harmful = cut.is_some() && seen.kind == EvidenceKind::Socket;
    let severity = if harmful { Severity::Warning } else { Severity::Info };
    let place = set.place.as_ref().unwrap_or(&spot.location.place);
    let (path, timeout) = (&spot.location.path, seconds(set.value));
    let said = format!(
        "{path}: heartbeats come every {}, and nginx cuts after {timeout} of silence, {}",
        seconds(period),
        short(place)
    );
    let advice = "send pings at half the timeout or less, or raise proxy_read_timeout to more than twice their period";
    Finding::new("heartbeat-races-timeout", severity, Confidence::Likely, spot.subject(), said)
        .seen([seen, timeout_line(spot.location, set, "proxy_read_timeout")])
        .seen(cut.map(|s| s.evidence()))
        .fixed_by(Fix::config(place, advice))
}

/// Tunnels that live no longer than this were opened for nothing.
const SHORT: Duration = Duration::from_secs(5);
/// What is looked at, and what it is compared with.
const LATELY: Duration = Duration::from_secs(60);
const BEFORE: Duration = Duration::from_secs(660);
/// So many tunnels in that time are a storm at least,
const STORM: u64 = 50;
/// if so many times as many ended as in the minutes before.
const SUDDEN: u64 = 5;

/// Suddenly many tunnels that end within seconds of opening: clients reconnect as fast as they can.
pub(super) fn reconnect_storm(model: &Model) -> Vec<Finding> {
    let (now, deaths) = (model.now, &model.sessions.deaths);
    let lately = deaths.within(now, LATELY);
    let before = deaths.within(now, BEFORE).saturating_sub(lately);
    // The minutes before are ten.
    if lately < STORM || lately * 10 < before * SUDDEN {
        return Vec::new();
    }
    let newest: Vec<&AccessEntry> = model.sessions.recent.iter().filter(|e| now.since(e.at) <= LATELY).collect();
    let short: Vec<&AccessEntry> =
        newest.iter().copied().filter(|e| e.lifetime().is_some_and(|l| l <= SHORT)).collect();
    if (short.len() as u64) < STORM || short.len() * 5 < newest.len() * 4 {
        return Vec::new();
    }
    let clients: BTreeSet<&str> = short.iter().filter_map(|e| e.client.as_deref()).collect();
    let spots: Vec<Spot<'_>> = short.iter().filter_map(|e| look::spot_of_access(model, e)).collect();
    let one = spots.first().filter(|first| spots.iter().all(|s| s.is(**first)));
    let subject = one.map_or_else(|| Subject::resource("tunnels"), |s| s.subject());
    let from = if clients.is_empty() {
        String::new()
    } else {
        format!(" from {}", human::counted(clients.len() as u64, "client", "clients"))
    };
    let said = format!(
        "{lately} tunnels ended in the last minute{from}, most within seconds of opening: clients reconnect in a storm"
    );
    let times = format!("{} of the last {} lived no longer than {}", short.len(), newest.len(), seconds(SHORT));
    let usual = format!("{lately} in the last minute, {:.1} a minute before", before as f64 / 10.0);
    let advice = "find what ends them first (the findings beside this one, the backend's log), and let clients wait longer \
                  after each failure, with jitter";
    vec![
        Finding::new("reconnect-storm", Severity::Warning, Confidence::Likely, subject, said)
            .seen([times, usual].map(|t| Evidence::new(EvidenceKind::Access, t).at(now)))
            .fixed_by(Fix::new(advice)),
    ]
}
