//! Rules about what runs, what the configuration says of itself, and what cannot be seen.

use std::time::Duration;

use crate::event::log::{ErrorEntry, Level};
use crate::event::probe::FailureKind;
use crate::event::site::{Apart, ApartKind, Place, Problem, ProblemKind, Site};
use crate::event::{Sense, Sight, SourceKind};
use crate::model::Model;
use crate::model::marks::MarkKind;

use super::finding::{Confidence, Evidence, EvidenceKind, Finding, Fix, Severity, Subject};
use super::look::{self, cases, is_ours};

/// No nginx runs, and either the asked endpoint of this host refuses connections or nothing else was asked.
pub(super) fn nginx_not_running(model: &Model) -> Vec<Finding> {
    let Some(processes) = &model.processes else { return Vec::new() };
    if !processes.masters.is_empty() || model.is_apart() {
        return Vec::new();
    }
    let cases = cases(model);
    let refused = cases.iter().find(|c| {
        is_ours(model, c.target, c.probe) && c.failure().is_some_and(|f| f.kind == FailureKind::ConnectionRefused)
    });
    if refused.is_none() && !cases.is_empty() {
        return Vec::new();
    }
    // What is hidden may be nginx, unless nobody listens where it should.
    if processes.hidden && refused.is_none() {
        return Vec::new();
    }
    let missing = match processes.wanted {
        Some(pid) => format!("no nginx process {pid} runs on this host"),
        None if processes.hidden => "no nginx is to be seen on this host".to_owned(),
        None => "no nginx runs on this host".to_owned(),
    };
    let said = match refused {
        Some(case) => format!("{}: {missing}", case.symptom()),
        None => missing,
    };
    let is_certain = refused.is_some() && processes.wanted.is_none() && !processes.hidden;
    let confidence = if is_certain { Confidence::Certain } else { Confidence::Likely };
    let (process, fix) = match processes.wanted {
        Some(pid) => (
            format!("process {pid} is neither an nginx master nor a worker of one"),
            Fix::new("leave out --pid, or give it the pid of a master: pgrep -a nginx"),
        ),
        None => (
            "no nginx master in /proc".to_owned(),
            Fix { check: Some("systemctl status nginx".into()), ..Fix::new("start nginx: systemctl start nginx") },
        ),
    };
    let process = Evidence::new(EvidenceKind::Process, process);
    vec![
        Finding::new("nginx-not-running", Severity::Critical, confidence, Subject::resource("nginx"), said)
            .seen([process])
            .seen(refused.map(look::Case::evidence).unwrap_or_default())
            .fixed_by(fix),
    ]
}

/// ` in /etc/nginx/nginx.conf:21` at the end of an emerg line makes it one about the configuration.
fn conf_place(message: &str) -> Option<Place> {
    let (_, place) = message.rsplit_once(" in ")?;
    let (file, line) = place.rsplit_once(':')?;
    Some(Place { file: file.to_owned(), line: line.parse().ok()? })
}

fn is_config_error(e: &ErrorEntry) -> bool {
    e.level == Level::Emerg && conf_place(&e.message).is_some()
}

/// A problem of reading is ours, not nginx's.
pub(super) fn is_ours_to_read(p: &Problem) -> bool {
    let said = p.said.to_ascii_lowercase();
    p.kind != ProblemKind::Refused
        || said.contains("permission denied")
        || said.contains("cannot be read")
        || said.contains("cannot tell")
}

/// A copy that lacks what nginx has: what it does not show may be anything.
fn incomplete(site: &Site) -> Option<Finding> {
    let missing = || site.problems.iter().filter(|p| p.kind == ProblemKind::Missing);
    let first = missing().next()?;
    let what = match &site.apart {
        Some(Apart { kind: ApartKind::Dump, from, .. }) => format!("the dump {from} is damaged or cut off"),
        _ => "the copy of the configuration is incomplete".to_owned(),
    };
    let said = format!("{what}: {}, {}", first.said, look::short(&first.place));
    let subject = Subject::resource(&first.place.file);
    let evidence = missing().take(MOST_SHOWN).map(|p| Evidence::config(&p.place, p.said.clone()));
    let fix = Fix::new("take the copy again, all of it: nginx -T > dump.txt 2>&1");
    let found = Finding::new("config-invalid", Severity::Warning, Confidence::Certain, subject, said);
    Some(found.seen(evidence).fixed_by(fix))
}

/// Missing things that are shown.
const MOST_SHOWN: usize = 5;

pub(super) fn config_invalid(model: &Model) -> Vec<Finding> {
    let running = !model.masters().is_empty();
    let severity = if running || model.is_apart() { Severity::Warning } else { Severity::Critical };
    let after = match (model.is_apart(), running) {
        (true, _) => "; nginx refuses it",
        (false, true) => "; nginx goes on with the old one until it must restart",
        (false, false) => "; nginx cannot start",
    };
    let mut out: Vec<Finding> = model.site.iter().filter_map(incomplete).collect();
    let problems = model.site.iter().flat_map(|s| &s.problems).filter(|p| !is_ours_to_read(p));
    for p in problems {
        let subject = Subject::resource(&p.place.file);
        let said = format!("the configuration is invalid: {}, {}{after}", p.said, look::short(&p.place));
        let confidence = Confidence::Likely;
        let found = Finding::new("config-invalid", severity, confidence, subject, said);
        let fix = Fix::config(&p.place, "correct this line");
        out.push(found.seen([Evidence::config(&p.place, p.said.clone())]).fixed_by(fix));
    }
    let reloaded = model.marks.iter().rev().find(|m| matches!(m.kind, MarkKind::Reload | MarkKind::Started));
    let newest = look::fresh(model, is_config_error).max_by_key(|e| e.at);
    let live = newest.filter(|e| reloaded.is_none_or(|m| m.at < e.at) && out.is_empty() && !started_after(model, e));
    if let Some((entry, place)) = live.and_then(|e| Some((e, conf_place(&e.message)?))) {
        let said = format!("nginx refused its configuration: {}{after}", entry.message);
        let found = Finding::new("config-invalid", severity, Confidence::Certain, Subject::resource(&place.file), said);
        let log = Evidence::new(EvidenceKind::Log, look::words(entry)).at(entry.at);
        out.push(found.seen([log]).fixed_by(Fix::config(&place, "correct this line")));
    }
    out
}

/// Workers that started after the error run on a configuration that nginx accepted since.
fn started_after(model: &Model, e: &ErrorEntry) -> bool {
    model.masters().iter().flat_map(|m| &m.workers).any(|w| w.started.is_some_and(|t| t > e.at))
}

pub(super) fn error_log_unreadable(model: &Model) -> Vec<Finding> {
    let Some(sense) = model.sight(SourceKind::ErrorLog).filter(|s| s.sight == Sight::Blind) else { return Vec::new() };
    let fix = sense.remedy.as_deref().unwrap_or("run as root or as a member of the log's group");
    vec![
        Finding::new(
            "error-log-unreadable",
            Severity::Info,
            Confidence::Certain,
            Subject::resource("error log"),
            format!("the error log cannot be read: {}", sense.said),
        )
        .seen([Evidence::new(EvidenceKind::System, sense.said.clone())])
        .fixed_by(Fix::new(fix)),
    ]
}

/// Idle cuts and client faults are written at level info; the default level is error.
pub(super) fn error_log_hides(model: &Model) -> Vec<Finding> {
    let Some(site) = &model.site else { return Vec::new() };
    let sees = |l: Level| l >= Level::Info;
    let tunnels = site.locations().any(|(_, l)| l.means_websocket());
    if !tunnels || site.error_logs.iter().any(|l| sees(l.level)) {
        return Vec::new();
    }
    let Some(log) = site.error_logs.iter().max_by_key(|l| l.level) else { return Vec::new() };
    let level = log.level.word();
    let said = format!("at level {level} the error log does not show tunnels that nginx cuts");
    let fix = "write error_log at level info to see idle cuts and client faults of tunnels";
    let fix = log.place.as_ref().map_or_else(|| Fix::new(fix), |p| Fix::config(p, fix));
    let text = format!("error_log {} {level}", log.path);
    let evidence = match &log.place {
        Some(p) => Evidence::config(p, text),
        None => Evidence::new(EvidenceKind::Config, text),
    };
    let subject = Subject::resource(&log.path);
    vec![
        Finding::new("error-log-hides-evidence", Severity::Info, Confidence::Certain, subject, said)
            .seen([evidence])
            .fixed_by(fix),
    ]
}

/// A worker's start is known to a second, and never told too late: the kernel's own start is cut to whole seconds.
const START_IS_KNOWN_TO: Duration = Duration::from_secs(1);

/// The configuration was written after the workers started that serve with it. Only an endpoint that fails in a way which
/// the written configuration does not explain makes that more than worth knowing: many programs touch files.
pub(super) fn config_not_reloaded(model: &Model) -> Vec<Finding> {
    let Some((site, written)) = model.site.as_ref().and_then(|s| Some((s, s.changed.as_ref()?))) else {
        return Vec::new();
    };
    // While the binary is replaced, two masters run with one configuration.
    let alike = || model.masters().iter().filter(|m| m.conf.as_deref() == Some(&site.conf));
    let Some(master) = alike().next_back() else { return Vec::new() };
    let serving = alike().flat_map(|m| &m.workers).filter(|w| !w.shutting_down).filter_map(|w| w.started).max();
    let Some(started) = serving.filter(|s| s.plus(START_IS_KNOWN_TO) < written.at) else { return Vec::new() };
    let cases = cases(model);
    let torn = cases.iter().find_map(|c| Some((c, contradiction(model, c)?)));
    let (severity, confidence) = match torn {
        Some((_, confidence)) => (Severity::Critical, confidence),
        None => (Severity::Info, Confidence::Certain),
    };
    let case = torn.map(|(c, _)| c);
    let lead = case.map_or_else(String::new, |c| format!("{}: ", c.symptom()));
    let why = "nginx still runs an older configuration than the one that is written";
    let subject = case.map_or_else(|| Subject::resource(&site.conf), look::Case::subject);
    let file = Place { file: written.file.clone(), line: 0 };
    let process = format!("the workers of nginx {} started before that, at {}", master.pid, started.local_clock());
    let fix = Fix { check: Some("nginx -t && nginx -s reload".into()), ..Fix::new("reload nginx") };
    vec![
        Finding::new("config-not-reloaded", severity, confidence, subject, format!("{lead}{why}"))
            .seen([Evidence::config(&file, "this file was written last").at(written.at)])
            .seen([Evidence::new(EvidenceKind::Process, process).at(started)])
            .seen(case.map(look::Case::evidence).unwrap_or_default())
            .fixed_by(fix),
    ]
}

/// The endpoint fails as it could not with the configuration as written.
fn contradiction(model: &Model, case: &look::Case<'_>) -> Option<Confidence> {
    let failure = case.failure()?;
    if failure.kind == FailureKind::ConnectionRefused {
        let port = look::Url::read(&case.target.url)?.port;
        let mut listens = model.site.iter().flat_map(|s| &s.servers).flat_map(|s| &s.listens);
        let written = is_ours(model, case.target, case.probe) && listens.any(|l| l.port == Some(port));
        return written.then_some(Confidence::Likely);
    }
    let (spot, status) = (case.spot?, case.status()?);
    if spot.location.proxy_pass.is_none() || !super::headers::faults(spot.location).is_empty() {
        return None;
    }
    let explained = matches!(status, 401 | 403 | 429 | 494..=499) || super::uri::is_rewritten(case);
    if status < 500 {
        let refused = (case.direct_works() && !explained) || (status == 426 && case.twin.is_none());
        return refused.then_some(Confidence::Likely);
    }
    // nginx went to a peer that the written configuration does not name.
    let at = case.failed_at()?;
    let elsewhere = |e: &ErrorEntry| {
        let near = at.since(e.at).max(e.at.since(at)) <= Duration::from_secs(5);
        let literal = |p: &str| p.parse::<std::net::SocketAddr>().is_ok();
        near && e.path() == Some(&*case.path()) && e.peer().is_some_and(|p| literal(p) && !spot.leads_to(p))
    };
    let known = !spot.location.peers.is_empty() && spot.location.peers.iter().all(|p| p.socket_addr().is_some());
    (known && look::fresh(model, elsewhere).next().is_some()).then_some(Confidence::Likely)
}

fn is_for_want_of_rights(sense: &Sense) -> bool {
    let words = |t: &str| {
        let t = t.to_ascii_lowercase();
        t.contains("permission denied") || t.contains("root") || t.contains("not permitted")
    };
    matches!(sense.sight, Sight::Degraded | Sight::Blind)
        && (words(&sense.said) || sense.remedy.as_deref().is_some_and(words))
}

pub(super) fn blind_without_privilege(model: &Model) -> Vec<Finding> {
    let blind: Vec<_> = model.senses.iter().filter(|(_, s)| is_for_want_of_rights(&s.sense)).collect();
    if blind.is_empty() {
        return Vec::new();
    }
    let names: Vec<String> = blind.iter().map(|(id, _)| id.to_string()).collect();
    let evidence = blind.iter().map(|(_, s)| Evidence::new(EvidenceKind::System, s.sense.said.clone()));
    let remedy = blind.iter().find_map(|(_, s)| s.sense.remedy.clone());
    let said = format!("without more rights only a part can be seen: {}", names.join(", "));
    vec![
        Finding::new(
            "blind-without-privilege",
            Severity::Info,
            Confidence::Certain,
            Subject::resource("privileges"),
            said,
        )
        .seen(evidence)
        .fixed_by(Fix::new(remedy.unwrap_or_else(|| "run as root".into()))),
    ]
}
