//! Rules that speak from the configuration alone: there the intent counts, because nobody has failed yet.

pub mod ignored;
mod intent;
pub mod mark;
mod shadow;

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use crate::event::site::{Location, Place, Problem, Remark, Remarkable, Server, Setting, Site, Version};
use crate::human;
use crate::model::Model;

use self::intent::{Intent, intent};
use super::cure::Cure;
use super::faults::{Fault, faults};
use super::finding::{Confidence, Evidence, Finding, Fix, Severity, Subject, Verdict};
use super::headers::{evidence_of, fix_by};
use super::look::{Spot, short};
use super::patch::{self, Trees, VARIABLE};
use super::sight::is_ours_to_read;
use super::tunnels;

/// Findings of one rule: whoever has more mends the first ones first.
pub(super) const MOST: usize = 200;

/// The first release that speaks HTTP/1.1 besides HTTP/2 on one port without TLS (CHANGES of 1.25.1).
const BOTH_ON_ONE_PORT: Version = Version { major: 1, minor: 25, patch: 1 };

/// The locations that clients can reach and that are meant for WebSockets by what is written, with the reason.
fn meant(site: &Site) -> impl Iterator<Item = (Spot<'_>, Intent)> {
    let open = site.locations().filter(|(s, l)| s.returns.is_none() && l.returns.is_none() && !l.internal);
    // Locations come server by server.
    let mut last: Option<(&Server, bool)> = None;
    open.filter_map(move |(server, location)| {
        let known = last.filter(|(s, _)| std::ptr::eq(*s, server));
        let (_, carries) = *last.insert(known.unwrap_or_else(|| (server, intent::carries(&server.locations))));
        Some((Spot { server, location }, intent(location, carries)?))
    })
}

/// Those of which that is at least likely.
fn surely_meant(site: &Site) -> impl Iterator<Item = (Spot<'_>, Intent)> {
    meant(site).filter(|(_, why)| why.confidence != Confidence::Possible)
}

fn site_of(model: &Model) -> impl Iterator<Item = &Site> {
    model.site.iter()
}

/// Locations that mean WebSockets and whose first fault is `fault`.
pub(super) fn faulty(model: &Model, fault: Fault) -> Vec<Finding> {
    let Some(site) = &model.site else { return Vec::new() };
    let has = |(spot, _): &(Spot<'_>, Intent)| faults(spot.location).first() == Some(&fault);
    let mut all: Vec<(Spot<'_>, Intent)> = meant(site).filter(has).collect();
    // The surest first, should there be too many.
    all.sort_by_key(|(_, why)| why.confidence);
    let trees = Trees::of(site);
    joined(all.iter().take(MOST).map(|(spot, why)| faulty_at(&trees, *spot, why, fault)))
}

fn faulty_at(trees: &Rc<Trees<'_>>, spot: Spot<'_>, why: &Intent, fault: Fault) -> Finding {
    let (site, l) = (trees.site, spot.location);
    let all = faults(l);
    // Without a known release the default is not known either.
    let guessed = fault == Fault::OldVersion && l.http_version.place.is_none() && site.version.is_none();
    let (severity, confidence) = match why.confidence {
        Confidence::Possible => (Severity::Info, Confidence::Possible),
        _ if guessed => (Severity::Warning, Confidence::Possible),
        // A backend may accept HTTP/1.0; nginx itself would open the tunnel.
        _ if fault == Fault::OldVersion => (Severity::Warning, Confidence::Likely),
        Confidence::Certain => (Severity::Critical, Confidence::Certain),
        Confidence::Likely => (Severity::Warning, Confidence::Likely),
    };
    let first = evidence_of(l, fault);
    let (first, cause) = if guessed {
        let unset = Evidence { said: "proxy_http_version is not set".to_owned(), ..first };
        (unset, "nginx before 1.29.7 speaks HTTP/1.0 to the backend unless told otherwise".to_owned())
    } else {
        (first, fault.cause(l))
    };
    let verb = if fault == Fault::OldVersion { "may not carry" } else { "cannot carry" };
    let at = first.file.clone().zip(first.line).map(|(file, line)| short(&Place { file, line }));
    let said = format!("{} {verb} WebSockets: {cause}, {}", l.path, at.unwrap_or_default());
    let others = all.iter().filter(|f| **f != fault && (fault != Fault::Lost || **f == Fault::OldVersion));
    let beside: Vec<Evidence> = others.map(|f| evidence_of(l, *f)).collect();
    let cure = Cure::of(Some(site), l, &all).in_the_style_of(trees, l);
    let found = Finding::new(fault.id(), severity, confidence, spot.subject(), said);
    let fix = fix_by(&cure, Some(Rc::clone(trees)), l, fault);
    found.seen([first]).seen(beside).seen([why.evidence.clone()]).fixed_by(fix)
}

/// Findings on one line are one: a line of an outer block holds for many locations.
fn joined(all: impl Iterator<Item = Finding>) -> Vec<Finding> {
    let mut out: Vec<(Finding, u64)> = Vec::new();
    let place = |f: &Finding| f.evidence.first().map(|e| (e.file.clone(), e.line));
    for f in all {
        match out.iter_mut().find(|(o, _)| o.severity == f.severity && place(o).is_some() && place(o) == place(&f)) {
            Some((_, more)) => *more += 1,
            None => out.push((f, 0)),
        }
    }
    let said = |(mut f, more): (Finding, u64)| {
        if more > 0 {
            f.said = format!("{} (and {})", f.said, human::counted(more, "more location", "more locations"));
        }
        f
    };
    out.into_iter().map(said).collect()
}

/// `proxy_read_timeout 0` and its like, where WebSockets are meant.
pub(super) fn timeout_zero(model: &Model) -> Vec<Finding> {
    let zero = |spot: Spot<'_>| -> Vec<Finding> {
        let l = spot.location;
        let all: [(&Setting<Duration>, &str); 3] = [
            (&l.read_timeout, "proxy_read_timeout"),
            (&l.connect_timeout, "proxy_connect_timeout"),
            (&l.send_timeout, "proxy_send_timeout"),
        ];
        let zero = all.into_iter().filter(|(s, _)| s.value.is_zero());
        zero.map(|(setting, name)| tunnels::zero(model, spot, None, setting, name)).collect()
    };
    joined(site_of(model).flat_map(surely_meant).flat_map(|(spot, _)| zero(spot)).take(MOST))
}

/// What the parser cannot understand, nginx refuses to load.
pub(super) fn config_invalid(model: &Model) -> Vec<Finding> {
    // Bounds of this program are no faults of the file.
    let ours = |p: &Problem| is_ours_to_read(p) || p.said.starts_with("too ");
    let mapless: Vec<Finding> = site_of(model).filter_map(undefined_map).collect();
    // It is told once for all its uses, with the map that mends it.
    let unknown = format!("unknown \"{}\" variable", VARIABLE.trim_start_matches('$'));
    let told = |p: &Problem| !mapless.is_empty() && p.said == unknown;
    let problems = site_of(model).flat_map(|s| &s.problems).filter(|p| !ours(p) && !told(p));
    let found: Vec<Finding> = problems
        .take(MOST)
        .map(|p| {
            let said = format!("nginx would refuse this configuration: {}, {}", p.said, short(&p.place));
            let subject = Subject::resource(&p.place.file);
            Finding::new("config-invalid", Severity::Critical, Confidence::Likely, subject, said)
                .seen([Evidence::config(&p.place, p.said.clone())])
                .fixed_by(Fix::config(&p.place, "correct this line"))
        })
        .collect();
    found.into_iter().chain(mapless).collect()
}

/// The header as nginx's documentation writes it, copied without the map that goes with it.
fn undefined_map(site: &Site) -> Option<Finding> {
    let uses = |l: &&Location| l.headers.iter().any(|h| h.value == VARIABLE && h.for_websocket.is_none());
    let location = site.locations().map(|(_, l)| l).find(uses).filter(|_| patch::is_undefined(site))?;
    let header = location.headers.iter().find(|h| h.value == VARIABLE)?;
    let name = VARIABLE.trim_start_matches('$');
    let what = format!("unknown \"{name}\" variable");
    let said = format!("nginx would refuse this configuration: {what}, {}", short(&header.place));
    let mut patch = patch::Patch::of(site);
    patch.add_map(location);
    let fix = Fix::config(&header.place, format!("add the map that sets {VARIABLE} from $http_upgrade"));
    let evidence = Evidence::config(&header.place, format!("proxy_set_header {} {}", header.name, header.value));
    let subject = Subject::resource(&header.place.file);
    Some(
        Finding::new("config-invalid", Severity::Critical, Confidence::Likely, subject, said)
            .seen([evidence])
            .fixed_by(Fix { patch: patch.finish(), ..fix }),
    )
}

/// `proxy_pass` with variables and a name: every request is a 502 without a resolver.
pub(super) fn resolver_missing(model: &Model) -> Vec<Finding> {
    let remarks = site_of(model).flat_map(|s| &s.remarks).filter(|r| r.what == Remarkable::NoResolver);
    let remarks: HashMap<&Place, &Remark> = remarks.map(|r| (&r.location, r)).collect();
    let found = site_of(model).flat_map(surely_meant).filter_map(|(spot, why)| {
        let remark = remarks.get(&spot.location.place)?;
        let (place, name) = remark.lines.first()?;
        let path = &spot.location.path;
        let said = format!(
            "{path}: with variables in proxy_pass nginx asks a resolver for {name}, and none is configured, {}",
            short(place)
        );
        let advice = "add 'resolver ADDRESS;' with the address of a DNS server, or name an upstream block";
        Some(
            Finding::new("resolver-missing", Severity::Critical, Confidence::Likely, spot.subject(), said)
                .seen(spot.pass())
                .seen([why.evidence])
                .fixed_by(Fix::config(place, advice)),
        )
    });
    found.take(MOST).collect()
}

/// `http://` to the port of https, or the other way round.
pub(super) fn scheme_mismatch(model: &Model) -> Vec<Finding> {
    let found = site_of(model).flat_map(surely_meant).filter_map(|(spot, _)| {
        let pass = spot.location.proxy_pass.as_ref()?;
        let tls = pass.value.get(..8).is_some_and(|s| s.eq_ignore_ascii_case("https://"));
        let (wrong, speaks, instead) = if tls { (80, "TLS", "http") } else { (443, "no TLS", "https") };
        let peer = spot.location.peers.iter().find(|p| p.port() == Some(wrong))?;
        let place = pass.place.as_ref().unwrap_or(&spot.location.place);
        let path = &spot.location.path;
        let said =
            format!("{path}: proxy_pass speaks {speaks} to {}, the port of {instead}, {}", peer.address, short(place));
        let upstream = peer.place.as_ref().map(|p| Evidence::config(p, format!("server {}", peer.address)));
        let fix = Fix::config(place, format!("write {instead}:// in proxy_pass, or the right port"));
        let id = "upstream-tls-scheme-mismatch";
        Some(
            Finding::new(id, Severity::Warning, Confidence::Possible, spot.subject(), said)
                .seen(spot.pass())
                .seen(upstream)
                .fixed_by(fix),
        )
    });
    joined(found.take(MOST))
}

/// HTTP/2 where WebSockets cannot be: to the backend, or as all that a port speaks.
pub(super) fn http2(model: &Model) -> Vec<Finding> {
    let id = "http2-no-websocket";
    let sure = |site| meant(site).filter(|(_, why)| why.confidence == Confidence::Certain).map(move |m| (site, m));
    let found = site_of(model).flat_map(sure).filter_map(|(site, (spot, why))| {
        let l = spot.location;
        if let Some(place) = l.http_version.place.as_ref().filter(|_| l.http_version.value == "2") {
            let said = format!("{}: HTTP/2 to the backend cannot carry an Upgrade, {}", l.path, short(place));
            let mut fix = Fix::config(place, "write proxy_http_version 1.1 in this location");
            fix.patch = version_1_1(site, l);
            let found = Finding::new(id, Severity::Critical, Confidence::Certain, spot.subject(), said);
            return Some(found.seen([Evidence::config(place, "proxy_http_version 2"), why.evidence]).fixed_by(fix));
        }
        let old = site.version.is_some_and(|v| v < BOTH_ON_ONE_PORT);
        let only_http2 = spot.server.listens.iter().all(|l| l.http2 && !l.tls && l.port.is_some());
        let listen = spot.server.listens.first().filter(|_| old && only_http2)?;
        let said = format!(
            "{}: without TLS this port speaks only HTTP/2 before nginx 1.25.1, which has no WebSockets, {}",
            l.path,
            short(&listen.place)
        );
        let fix = Fix::config(&listen.place, "take http2 out of this listen, or add ssl");
        let found = Finding::new(id, Severity::Critical, Confidence::Certain, spot.subject(), said);
        let seen = Evidence::config(&listen.place, "listen with http2 and without ssl");
        Some(found.seen([seen, why.evidence]).fixed_by(fix))
    });
    joined(found.take(MOST))
}

fn version_1_1(site: &Site, l: &Location) -> Option<String> {
    let mut patch = patch::Patch::of(site);
    patch.set(l, l.http_version.place.as_ref(), "proxy_http_version", "1.1");
    patch.finish()
}

/// A location for WebSockets that no request can ever reach.
pub(super) fn shadowed(model: &Model) -> Vec<Finding> {
    let found =
        site_of(model).flat_map(|site| surely_meant(site).map(move |m| (site, m))).filter_map(|(site, (spot, why))| {
            let winner = shadow::winner(spot)?;
            let l = spot.location;
            let critical = why.confidence == Confidence::Certain;
            let severity = if critical { Severity::Critical } else { Severity::Warning };
            let taken = format!("location {} takes every request of it", winner.path);
            let said = format!("location {} is never chosen: {taken}, {}", l.path, short(&winner.place));
            let advice = "write ^~ before its path, so that no regular expression is tried";
            let mut fix = Fix::config(&l.place, advice);
            fix.patch = shadow::patch(site, l);
            if fix.patch.is_none() {
                fix = Fix::config(&l.place, "put it before the other location, or narrow that one");
            }
            let found = Finding::new("location-mismatch", severity, Confidence::Certain, spot.subject(), said);
            let here = Evidence::config(&l.place, format!("location {} is the one for WebSockets", l.path));
            let there = Evidence::config(&winner.place, format!("location {} is chosen instead", winner.path));
            Some(found.seen([here, there, why.evidence]).fixed_by(fix))
        });
    found.take(MOST).collect()
}

/// `location /ws/` answers a client that asks for `/ws` with a redirect, which browsers do not follow.
pub(super) fn redirected(model: &Model) -> Vec<Finding> {
    let found = site_of(model).flat_map(meant).filter_map(|(spot, _)| {
        let l = spot.location;
        let without = l.path.strip_suffix('/').filter(|p| intent::is_named_so(p))?;
        let redirects = spot.server.location_for(without).is_some_and(|o| std::ptr::eq(o, l)) && l.redirects(without);
        if !redirects {
            return None;
        }
        let said = format!("a client that asks for {without} is redirected to {}, {}", l.path, short(&l.place));
        let fix = Fix::config(&l.place, format!("write location {without}, unless all clients ask for {}", l.path));
        Some(
            Finding::new("redirected", Severity::Info, Confidence::Possible, spot.subject(), said)
                .seen([Evidence::config(&l.place, format!("location {} with a proxy_pass", l.path))])
                .fixed_by(fix),
        )
    });
    found.take(MOST).collect()
}

/// The verdict and the summary of a look at the configuration alone.
pub(super) fn verdict(model: &Model, findings: &[Finding]) -> (Verdict, String) {
    let worst = findings.iter().find(|f| f.is_serious());
    if let Some(f) = worst {
        let verdict = if f.severity == Severity::Critical { Verdict::Broken } else { Verdict::Degraded };
        return (verdict, f.said.clone());
    }
    let locations = site_of(model).flat_map(meant).count() as u64;
    let servers = site_of(model).map(|s| s.servers.len() as u64).sum();
    let summary = format!(
        "{}, {}, nothing wrong",
        human::counted(servers, "server", "servers"),
        human::counted(locations, "WebSocket location", "WebSocket locations")
    );
    (Verdict::Healthy, summary)
}
