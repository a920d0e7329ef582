//! Rules about tunnels that were open and died, or are about to.

use std::time::Duration;

use crate::event::log::{AccessEntry, ErrorEntry, Level};
use crate::event::probe::ClosedBy;
use crate::event::site::{Location, Setting};
use crate::event::socket::TcpState;
use crate::human;
use crate::model::Model;
use crate::model::probes::{Closed, Outcome};
use crate::time::Timestamp;

use super::finding::{Confidence, Evidence, EvidenceKind, Finding, Fix, Severity, Subject};
use super::look::{self, Case, FRESH, NOW, Seen, Spot, cases, short};
use super::paced;
use super::patch::Patch;

const TUNNEL: &str = "proxying upgraded connection";
/// Cuts after less silence than this surprise people; longer silences are mostly clients that are gone.
const SURPRISING: Duration = Duration::from_secs(600);
/// As many cuts are no accident.
const SEVERAL: usize = 3;
/// As many lifetimes at the timeout are a spike, when they are at least half of all.
const SPIKE: usize = 4;

pub(super) fn in_tunnel(e: &ErrorEntry) -> bool {
    e.action.as_deref() == Some(TUNNEL)
}

/// Deaths at the read timeout at one location, from all witnesses.
struct Cuts<'a> {
    spot: Option<Spot<'a>>,
    count: usize,
    /// Those among them that we brought about ourselves, by keeping silent: they harm nobody.
    own: usize,
    certain: bool,
    evidence: Vec<Evidence>,
    newest: Timestamp,
}

pub(super) fn idle_timeout_cuts(model: &Model) -> Vec<Finding> {
    let mut all: Vec<Cuts<'_>> = Vec::new();
    let cut = |e: &ErrorEntry| in_tunnel(e) && e.message.starts_with("upstream timed out");
    let logged = look::seen(model, cut).into_iter().map(|s| Cuts {
        spot: s.spot,
        count: s.entries.len(),
        own: 0,
        certain: true,
        evidence: vec![s.evidence()],
        newest: s.newest.at,
    });
    for cuts in logged.chain(cuts_of_probes(model)).chain(spikes(model)).chain(cuts_of_paces(model)) {
        let same = |o: &&mut Cuts<'_>| {
            o.spot.zip(cuts.spot).is_some_and(|(a, b)| a.is(b)) || (o.spot.is_none() && cuts.spot.is_none())
        };
        if let Some(known) = all.iter_mut().find(same) {
            known.count = known.count.max(cuts.count);
            known.own = known.own.max(cuts.own);
            known.certain |= cuts.certain;
            known.newest = known.newest.max(cuts.newest);
            known.evidence.extend(cuts.evidence);
        } else {
            all.push(cuts);
        }
    }
    all.iter()
        .filter(|c| c.spot.is_none_or(|s| !s.location.read_timeout.value.is_zero()))
        .map(|c| idle_finding(model, c))
        .collect()
}

fn idle_finding(model: &Model, cuts: &Cuts<'_>) -> Finding {
    let timeout = cuts.spot.map(|s| s.location.read_timeout.value);
    let harmful = cuts.count.saturating_sub(cuts.own) >= SEVERAL && timeout.is_none_or(|t| t < SURPRISING);
    let severity = if harmful { Severity::Warning } else { Severity::Info };
    let confidence = if cuts.certain { Confidence::Certain } else { Confidence::Likely };
    let path = cuts.spot.map_or("", |s| s.location.path.as_str());
    let after = timeout.map_or_else(String::new, |t| format!(" after {} of silence", seconds(t)));
    let died = was_cut(cuts.count);
    let place = cuts.spot.map(|s| s.location.read_timeout.place.as_ref().unwrap_or(&s.location.place));
    let at = place.map_or_else(String::new, |p| format!(", {}", short(p)));
    let said = format!("{path}: {died} cut by nginx{after} (proxy_read_timeout{at})");
    let raise = "send pings at half the timeout or less, or raise proxy_read_timeout, for example to 1h";
    let mut fix = place.map_or_else(|| Fix::new(raise), |p| Fix::config(p, raise));
    fix.patch = cuts.spot.and_then(|s| longer(model, s.location, &s.location.read_timeout, "proxy_read_timeout"));
    let config = cuts.spot.map(|s| timeout_line(s.location, &s.location.read_timeout, "proxy_read_timeout"));
    let subject = cuts.spot.map(Spot::subject).unwrap_or_default();
    Finding::new("idle-timeout-cuts", severity, confidence, subject, said)
        .seen(config)
        .seen(cuts.evidence.clone())
        .fixed_by(fix)
}

/// The patch that gives a timeout a value with which tunnels live.
fn longer(model: &Model, l: &Location, setting: &Setting<Duration>, name: &str) -> Option<String> {
    let mut patch = Patch::of(model.site.as_ref()?);
    // Only the read timeout is the time of silence; the others bound single steps.
    let value = if name == "proxy_read_timeout" { "1h" } else { "60s" };
    patch.set(l, setting.place.as_ref(), name, value);
    patch.finish()
}

pub(super) fn timeout_line(l: &Location, setting: &Setting<Duration>, name: &str) -> Evidence {
    match &setting.place {
        Some(p) => Evidence::config(p, format!("{name} {}", seconds(setting.value))),
        None => Evidence::config(&l.place, format!("{name} is not set here: {} by default", seconds(setting.value))),
    }
}

/// `60 s`, `2.5 s`.
pub(super) fn seconds(d: Duration) -> String {
    if d.subsec_millis() > 0 { format!("{:.1} s", d.as_secs_f64()) } else { format!("{} s", d.as_secs()) }
}

/// nginx's timers may fire up to a second late on a busy worker, and 300 ms early (event/ngx_event_timer.h).
pub(super) fn is_at(lived: Duration, timeout: Duration) -> bool {
    lived + Duration::from_millis(310) >= timeout && lived <= timeout + Duration::from_secs(1)
}

fn closings<'a>(case: &Case<'a>, model: &Model) -> Vec<(Timestamp, &'a Closed)> {
    let recent = case.probe.history.iter().filter(|(at, _)| model.now.since(*at) <= FRESH);
    let closed = recent.filter_map(|(at, o)| if let Outcome::Closed(c) = o { Some((*at, c)) } else { None });
    closed.filter(|(_, c)| c.by != ClosedBy::Us).collect()
}

/// Our own tunnels that ended with FIN after exactly the timeout's silence. One of them is worth several strangers'.
fn cuts_of_probes(model: &Model) -> Vec<Cuts<'_>> {
    let mut out = Vec::new();
    for case in cases(model) {
        let Some(spot) = case.spot else { continue };
        let timeout = spot.location.read_timeout.value;
        let ours = closings(&case, model);
        let cut: Vec<_> = ours.iter().filter(|(_, c)| c.by == ClosedBy::Fin && is_at(c.idle, timeout)).collect();
        let Some((at, last)) = cut.last() else { continue };
        let said = format!("our own tunnel ended with FIN after {:.1} s of silence", last.idle.as_secs_f64());
        let evidence = vec![Evidence::new(EvidenceKind::Probe, said).at(*at)];
        out.push(Cuts {
            spot: Some(spot),
            count: cut.len().max(SEVERAL),
            own: 0,
            certain: true,
            evidence,
            newest: *at,
        });
    }
    out
}

/// Tunnels that we keep silent to see what becomes of them.
fn cuts_of_paces(model: &Model) -> Vec<Cuts<'_>> {
    let of = |case: Case<'_>| -> Option<(usize, Timestamp, Vec<Evidence>)> {
        paced::cut_at(model, &case, case.spot?.location.read_timeout.value)
    };
    let all = cases(model).into_iter().filter_map(|case| Some((case.spot, of(case)?)));
    all.map(|(spot, (own, newest, evidence))| Cuts { spot, count: own, own, certain: true, evidence, newest }).collect()
}

/// Access-log lifetimes that pile up at a location's read timeout.
fn spikes(model: &Model) -> Vec<Cuts<'_>> {
    let Some(site) = &model.site else { return Vec::new() };
    let mut out = Vec::new();
    for (server, location) in site.locations().filter(|(_, l)| l.means_websocket()) {
        let spot = Spot { server, location };
        let timeout = location.read_timeout.value;
        let here = |s: &&AccessEntry| {
            model.now.since(s.at) <= FRESH && look::spot_of_access(model, s).is_some_and(|o| o.is(spot))
        };
        let lives = model.sessions.recent.iter().filter(here).filter(|s| s.completed != Some(false));
        let all: Vec<(&AccessEntry, Duration)> = lives.filter_map(|s| Some((s, s.lifetime()?))).collect();
        let at: Vec<_> = all.iter().filter(|(_, life)| is_at(*life, timeout)).collect();
        let Some((newest, _)) = at.last().filter(|_| at.len() >= SPIKE && at.len() * 2 >= all.len()) else { continue };
        let said = format!("{} of {} tunnels on {} lived {}", at.len(), all.len(), location.path, seconds(timeout));
        let evidence = vec![Evidence::new(EvidenceKind::Access, said).at(newest.at)];
        out.push(Cuts { spot: Some(spot), count: at.len(), own: 0, certain: false, evidence, newest: newest.at });
    }
    out
}

pub(super) fn timeout_zero(model: &Model) -> Vec<Finding> {
    let Some(site) = &model.site else { return Vec::new() };
    let cases = cases(model);
    let mut out = Vec::new();
    for (server, location) in site.locations() {
        let spot = Spot { server, location };
        let case = cases.iter().find(|c| c.spot.is_some_and(|s| s.is(spot)));
        if location.proxy_pass.is_none() || (case.is_none() && !location.means_websocket()) {
            continue;
        }
        let settings = [
            (&location.read_timeout, "proxy_read_timeout"),
            (&location.connect_timeout, "proxy_connect_timeout"),
            (&location.send_timeout, "proxy_send_timeout"),
        ];
        for (setting, name) in settings.into_iter().filter(|(s, _)| s.value.is_zero()) {
            out.push(zero(model, spot, case, setting, name));
        }
    }
    out
}

/// One timeout of 0 at a location.
pub(super) fn zero(
    model: &Model,
    spot: Spot<'_>,
    case: Option<&Case<'_>>,
    setting: &Setting<Duration>,
    name: &str,
) -> Finding {
    let cut = case.is_some_and(|c| c.status() == Some(504)) || (case.is_none() && is_timing_out(model, spot));
    let severity = match (name, cut) {
        // Harmless until the backend stops reading.
        ("proxy_send_timeout", _) => Severity::Info,
        (_, true) => Severity::Critical,
        (_, false) => Severity::Warning,
    };
    let place = setting.place.as_ref().unwrap_or(&spot.location.place);
    let lead = case.map_or_else(|| spot.location.path.clone(), Case::symptom);
    let said = format!("{lead}: {name} 0 means no time at all, it does not switch the timeout off, {}", short(place));
    let mut fix = Fix::config(place, format!("write a real time, for example {name} 1h"));
    fix.patch = longer(model, spot.location, setting, name);
    Finding::new("timeout-zero", severity, Confidence::Certain, spot.subject(), said)
        .seen([timeout_line(spot.location, setting, name)])
        .seen(case.map(Case::evidence).unwrap_or_default())
        .fixed_by(fix)
}

/// Handshakes of others time out at this location now.
fn is_timing_out(model: &Model, spot: Spot<'_>) -> bool {
    let waited = |e: &ErrorEntry| e.message.starts_with("upstream timed out") && !in_tunnel(e);
    let lines = look::seen(model, waited);
    lines.iter().any(|s| s.spot.is_some_and(|o| o.is(spot)) && model.now.since(s.newest.at) <= NOW)
}

fn is_reset(e: &ErrorEntry) -> bool {
    let broken = e.message.starts_with("recv() failed") || e.message.starts_with("send() failed");
    in_tunnel(e) && broken && matches!(e.errno, Some(104 | 32))
}

/// The level tells the side: nginx logs the backend's reset as an error and the client's as info.
pub(super) fn backend_reset(model: &Model) -> Vec<Finding> {
    let lines = look::seen(model, |e| is_reset(e) && e.level <= Level::Error);
    let found = lines.iter().map(|s| {
        let cases = cases(model);
        // A backend that says goodbye and closes with our pong unread resets, too: then the goodbye is what counts.
        let ours = look::case_for(&cases, s.spot)
            .filter(|c| c.dropped().is_some_and(|(_, d)| matches!(d.by, ClosedBy::Fin | ClosedBy::Reset)));
        // Our own ping may lie unread in a backend that just closes: that alone makes its kernel send the reset.
        let ended =
            model.sessions.recent.iter().filter(|e| model.now.since(e.at) <= FRESH && e.upstream.as_deref() == s.peer);
        let mostly = s.entries.len() * 2 >= ended.count();
        let many = s.entries.len() >= SEVERAL || (ours.is_some() && mostly);
        let severity = if many { look::partial(model, s).0 } else { Severity::Info };
        let said = format!("{}: {} reset {}", path_of(s), s.backend(), tunnels(s.entries.len()));
        let fix =
            Fix::new("look at the backend's log at that time: a crash, a deploy, or a limit that kills connections");
        Finding::new("backend-reset", severity, Confidence::Certain, s.subject(), said)
            .seen([s.evidence()])
            .seen(ours.map(Case::evidence).unwrap_or_default())
            .fixed_by(fix)
    });
    found.collect()
}

pub(super) fn client_reset(model: &Model) -> Vec<Finding> {
    let lines = look::seen(model, |e| is_reset(e) && e.level == Level::Info);
    let found = lines.iter().map(|s| {
        let said = format!("{}: clients reset {}", path_of(s), tunnels(s.entries.len()));
        let fix = Fix::new("nothing: clients that lose their network or close their page look like this");
        Finding::new("client-reset", Severity::Info, Confidence::Certain, s.subject(), said)
            .seen([s.evidence()])
            .fixed_by(fix)
    });
    found.collect()
}

/// Clients that stop reading are cut after `send_timeout` (`ngx_http_upstream_process_upgraded`).
pub(super) fn stalled_reader(model: &Model) -> Vec<Finding> {
    let lines = look::seen(model, |e| in_tunnel(e) && e.message.starts_with("client timed out"));
    let found = lines.iter().map(|s| {
        let count = s.entries.len();
        let severity = if count >= SEVERAL { Severity::Warning } else { Severity::Info };
        let said = format!("{}: {} cut because the client did not read for send_timeout", path_of(s), was_cut(count));
        let fix = Fix::new("send less or slower to clients that cannot follow, or raise send_timeout in this location");
        let place = s.spot.map(|p| Evidence::config(&p.location.place, format!("location {}", p.location.path)));
        Finding::new("stalled-reader", severity, Confidence::Certain, s.subject(), said)
            .seen([s.evidence()])
            .seen(place)
            .fixed_by(fix)
    });
    found.collect()
}

fn was_cut(n: usize) -> String {
    human::counted(n as u64, "tunnel was", "tunnels were")
}

fn path_of<'a>(s: &Seen<'a>) -> &'a str {
    s.spot.map(|p| p.location.path.as_str()).or_else(|| s.newest.path()).unwrap_or("tunnels")
}

fn tunnels(n: usize) -> String {
    human::counted(n as u64, "tunnel", "tunnels")
}

/// Ages are alike when they differ by no more than this, or by a fiftieth.
const ALIKE: Duration = Duration::from_millis(400);

/// Our own tunnel died at the age at which the others do, though it was not silent: somebody bounds the age.
pub(super) fn max_age_cuts(model: &Model) -> Vec<Finding> {
    let mut out = Vec::new();
    for case in cases(model) {
        let Some((at, dropped)) = case.dropped().filter(|(_, d)| d.by != ClosedBy::PongTimeout && d.code.is_none())
        else {
            continue;
        };
        let age = dropped.held;
        let here = |s: &&AccessEntry| {
            let same = look::spot_of_access(model, s).zip(case.spot).is_some_and(|(a, b)| a.is(b));
            same && model.now.since(s.at) <= FRESH && s.completed != Some(false)
        };
        let lives: Vec<(&AccessEntry, Duration)> =
            model.sessions.recent.iter().filter(here).filter_map(|s| Some((s, s.lifetime()?))).collect();
        let slack = ALIKE.max(age / 50);
        let alike: Vec<_> = lives.iter().filter(|(_, l)| l.abs_diff(age) <= slack).collect();
        let busy = alike.iter().filter(|(s, _)| s.body_bytes_sent.is_some_and(|b| b > 0)).count();
        let ours_was_busy = dropped.idle < age / 2;
        let idle_cut = case.spot.is_some_and(|s| is_at(dropped.idle, s.location.read_timeout.value));
        if alike.len() < SPIKE
            || alike.len() * 5 < lives.len() * 4
            || idle_cut
            || !(ours_was_busy || busy * 2 >= alike.len())
        {
            continue;
        }
        let said = format!("{}: tunnels end at the age of {}, however busy they are", case.path(), seconds(age));
        let died =
            format!("{} of {} tunnels lived {} to within {}", alike.len(), lives.len(), seconds(age), seconds(slack));
        let fix =
            Fix::new("look for a maximum age in the backend or a balancer, and let clients reconnect with jitter");
        out.push(
            Finding::new("max-age-cuts", Severity::Warning, Confidence::Likely, case.subject(), said)
                .seen([Evidence::new(EvidenceKind::Access, died).at(at)])
                .seen(case.evidence())
                .fixed_by(fix),
        );
    }
    out
}

/// Codes that say that something went wrong (RFC 6455 section 7.4.1; 1012 to 1014 in IANA's registry).
const fn is_trouble(code: u16) -> bool {
    !matches!(code, 1000 | 1001 | 1005)
}

pub(super) fn closed_with_code(model: &Model) -> Vec<Finding> {
    let mut out = Vec::new();
    for case in cases(model) {
        let ours = closings(&case, model);
        let mut coded = ours.iter().filter(|(_, c)| c.by == ClosedBy::ServerClose && c.code.is_some_and(is_trouble));
        let Some((at, last)) = coded.next_back() else { continue };
        let severity = if case.dropped().is_some() { Severity::Critical } else { Severity::Warning };
        let code = last.code.unwrap_or_default();
        let why = if last.reason.is_empty() { String::new() } else { format!(" \"{}\"", last.reason) };
        let held = last.held.as_secs_f64();
        let said = format!("{}: the backend closes the tunnel with {code}{why} after {held:.1} s", case.path());
        let said_by = Evidence::new(EvidenceKind::Probe, format!("close frame {code}{why}")).at(*at);
        let fix = Fix::new(format!("look at the backend's log for what it calls {code} ({})", code_words(code)));
        out.push(
            Finding::new("backend-closed-with-code", severity, Confidence::Certain, case.subject(), said)
                .seen([said_by])
                .seen(case.evidence())
                .fixed_by(fix),
        );
    }
    out
}

/// RFC 6455 section 7.4.1 and IANA's WebSocket Close Code Number Registry, in few words.
pub(crate) const fn code_words(code: u16) -> &'static str {
    match code {
        1000 => "normal closure",
        1001 => "going away",
        1002 => "protocol error",
        1003 => "unsupported data",
        1006 => "no close frame",
        1007 => "invalid payload",
        1008 => "policy violation",
        1009 => "message too big",
        1010 => "extension required",
        1011 => "internal error",
        1012 => "service restart",
        1013 => "try again later",
        1014 => "bad gateway",
        4000..=4999 => "the application's own code",
        _ => "not registered",
    }
}

pub(super) fn worker_crash(model: &Model) -> Vec<Finding> {
    let crash = |e: &ErrorEntry| {
        e.level == Level::Alert && e.message.starts_with("worker process ") && e.message.contains(" exited on signal ")
    };
    let crashes: Vec<&ErrorEntry> = look::fresh(model, crash).collect();
    let Some(last) = crashes.iter().max_by_key(|e| e.at) else { return Vec::new() };
    let signal = last.message.split(" exited on signal ").nth(1).unwrap_or("?");
    let times = human::counted(crashes.len() as u64, "nginx worker", "nginx workers");
    let said = format!("{times} died of signal {signal}; all their tunnels died with them");
    let fix =
        Fix::new("signal 9 is a kill (look for the OOM killer in dmesg); 11 is a crash: suspect third-party modules");
    let evidence = Evidence::new(EvidenceKind::Log, look::words(last)).at(last.at);
    let subject = Subject::resource("worker processes");
    vec![
        Finding::new("worker-crash", Severity::Warning, Confidence::Certain, subject, said)
            .seen([evidence])
            .fixed_by(fix),
    ]
}

pub(super) fn workers_draining(model: &Model) -> Vec<Finding> {
    let (_, draining) = model.workers();
    if draining == 0 {
        return Vec::new();
    }
    let n = human::counted(draining as u64, "old worker still serves its", "old workers still serve their");
    let fix = Fix::new("nothing; worker_shutdown_timeout bounds the wait, and cuts the tunnels that are left");
    let evidence = Evidence::new(EvidenceKind::Process, format!("{draining} x worker process is shutting down"));
    vec![
        Finding::new(
            "workers-draining",
            Severity::Info,
            Confidence::Certain,
            Subject::resource("worker processes"),
            format!("{n} last tunnels after a reload"),
        )
        .seen([evidence])
        .fixed_by(fix),
    ]
}

/// As many sockets that the peer closed long ago are a leak.
const PILE: usize = 10;

pub(super) fn close_wait_pile(model: &Model) -> Vec<Finding> {
    let old = |l: &&crate::model::legs::Leg| {
        l.row.state == TcpState::CloseWait && l.idle(model.now).is_some_and(|i| i > NOW / 2)
    };
    let pile = model.connections.legs().filter(old).count();
    if pile < PILE || pile * 10 < model.connections.legs().count() {
        return Vec::new();
    }
    let said = format!("{pile} sockets wait in CLOSE-WAIT: their peers have gone and the program does not close them");
    let fix = Fix::new("find the holder with ss -tnp state close-wait and make it close; a restart frees them");
    vec![
        Finding::new("close-wait-pile", Severity::Warning, Confidence::Likely, Subject::resource("sockets"), said)
            .seen([Evidence::new(
                EvidenceKind::Socket,
                format!("{pile} sockets silent in CLOSE-WAIT for over a minute"),
            )])
            .fixed_by(fix),
    ]
}
