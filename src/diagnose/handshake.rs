//! Rules about handshakes that reach something and are refused: by the backend, by nginx, or by the wrong place.

use std::time::Duration;

use crate::event::backend::{BackendEntry, Fault};
use crate::event::probe::{Failure, FailureKind, Phase};
use crate::event::site::{Location, Server};
use crate::model::Model;

use super::finding::{Confidence, Evidence, Finding, Fix, Severity};
use super::gate;
use super::headers::faults;
use super::look::{self, Case, Spot, Url, cases, short};
use super::matrix::Seat;
use super::proof;
use super::reach;
use super::refusal::{each, refused};
use super::uri::changed_path;
use super::witness::backend_evidence;

/// A refusal and the backend's line about it are no further apart: both clocks count whole seconds at worst.
const SAME_MOMENT: Duration = Duration::from_secs(3);

/// Certain when the direct twin is refused with the same status, likely otherwise.
fn by_twin(case: &Case<'_>) -> Confidence {
    if case.direct_status().is_some() && case.direct_status() == case.status() {
        Confidence::Certain
    } else {
        Confidence::Likely
    }
}

/// The answer is that of a backend which got a whole handshake: asked directly it says so too, or nginx is known to
/// pass everything on.
pub(super) fn is_the_backends(case: &Case<'_>) -> bool {
    match case.twin {
        Some(_) => case.direct_status().is_some(),
        None => case.spot.is_none_or(|s| s.location.proxy_pass.is_some() && faults(s.location).is_empty()),
    }
}

fn speaks_of_origin(case: &Case<'_>) -> bool {
    case.body_has("origin")
}

/// The answer speaks of the origin, or the backend's own log does where we sent one.
fn is_about_origin(model: &Model, case: &Case<'_>) -> bool {
    let sent = origin_of(&case.probe.request).is_some();
    speaks_of_origin(case) || (sent && backends_word(model, case, |f| f == Fault::Origin).is_some())
}

/// What a backend's own log says of this very refusal: a line of its moment whose status, where it has one, is the answer's.
fn backends_word(model: &Model, case: &Case<'_>, wanted: impl Fn(Fault) -> bool) -> Option<Evidence> {
    let (failed, status) = (case.failed_at()?, case.status()?);
    let of_it = |e: &&BackendEntry| {
        let near = e.at.is_some_and(|at| at.since(failed).max(failed.since(at)) <= SAME_MOMENT);
        near && e.status.is_none_or(|s| s == status) && wanted(e.fault)
    };
    model.backend.recent().filter(of_it).max_by_key(|e| e.at).map(|e| backend_evidence(e, 1))
}

pub(super) fn backend_rejects(model: &Model) -> Vec<Finding> {
    each(model, |case, status| {
        let other = matches!(status, 0..=399 | 401 | 404 | 429 | 497 | 502..=504);
        let wrong_port = case.body_has("plain HTTP request was sent to HTTPS port");
        let limits = case.body_has("Request Header Or Cookie Too Large");
        let denied = status == 403 && (is_about_origin(model, case) || gate::denied_by_nginx(model, case));
        // Without a direct answer to compare with, anything more telling comes first; see `leftover`.
        let proven = [Seat::Origin, Seat::Subprotocol].iter().any(|seat| proof::is_cured_by(model, case, *seat));
        let told = wrong_port || limits || gate::wants_certificate(case) || is_about_host(case, status);
        if other || told || denied || proven || case.direct_status().is_none() {
            return None;
        }
        let why = if case.direct_status() == Some(status) {
            format!("the backend itself refuses the handshake with {status}, directly too")
        } else {
            format!("the backend refuses the handshake with {status}")
        };
        let confidence = by_twin(case);
        let word = backends_word(model, case, |_| true);
        Some(refused(case, "backend-rejects-handshake", confidence, &why).seen(word).fixed_by(Fix::new(
            "look at the backend's own log for the reason; the request and its answer are shown with the probe",
        )))
    })
}

pub(super) fn origin_rejected(model: &Model) -> Vec<Finding> {
    each(model, |case, status| {
        let sent = origin_of(&case.probe.request)?;
        if status != 403 || !is_about_origin(model, case) {
            return None;
        }
        let why = format!("the backend does not accept the origin {sent}");
        let fix = Fix::new("allow this origin in the backend, or pass Host on so that both agree");
        let word = backends_word(model, case, |f| f == Fault::Origin);
        Some(refused(case, "origin-rejected", by_twin(case), &why).seen(word).fixed_by(fix))
    })
}

fn origin_of(request: &str) -> Option<&str> {
    let mut lines = request.lines().filter_map(|l| l.split_once(':'));
    lines.find(|(name, _)| name.eq_ignore_ascii_case("origin")).map(|(_, v)| v.trim())
}

/// The location that the URL hits does not lead to a backend at all.
fn serves_itself<'a>(case: &Case<'a>) -> Option<Spot<'a>> {
    case.spot.filter(|s| s.location.proxy_pass.is_none())
}

pub(super) fn not_an_endpoint(model: &Model) -> Vec<Finding> {
    each(model, |case, status| {
        let page = matches!(status, 200..=299 | 404);
        let elsewhere = serves_itself(case).is_some() || gate::led_away(case, status).is_some();
        if !page || elsewhere || wrong_server(model, case).is_some() || !is_the_backends(case) {
            return None;
        }
        let what = if status == 404 { "there is nothing at this path" } else { "an ordinary page is served there" };
        let changed = changed_path(case);
        let note = changed.as_ref().map_or_else(String::new, |(said, _)| format!("; {said}"));
        let why = format!("{what}, not a WebSocket endpoint{note}");
        let fix = Fix::new("ask for the path on which the backend serves WebSockets, or start its WebSocket part");
        let found = refused(case, "not-a-websocket-endpoint", by_twin(case), &why);
        Some(found.seen(changed.map(|(_, seen)| seen)).fixed_by(fix))
    })
}

pub(super) fn location_mismatch(model: &Model) -> Vec<Finding> {
    each(model, |case, status| {
        if let Some(away) = gate::led_away(case, status) {
            return Some(away);
        }
        let spot = serves_itself(case).filter(|_| wrong_server(model, case).is_none())?;
        if !matches!(status, 200..=299 | 400 | 403..=405 | 500) || gate::denied_by_nginx(model, case) {
            return None;
        }
        let Spot { location, server } = spot;
        let meant = meant_location(&server.locations);
        let confidence = if case.direct_works() { Confidence::Certain } else { Confidence::Likely };
        let why = format!("location {} has no proxy_pass, {}", location.path, short(&location.place));
        let there = Evidence::config(&location.place, format!("location {} answers this URL", location.path));
        let meant = meant.map(|l| Evidence::config(&l.place, format!("location {} is the one for WebSockets", l.path)));
        let fix =
            Fix::config(&location.place, "let a location with proxy_pass and the upgrade headers match this path");
        Some(refused(case, "location-mismatch", confidence, &why).seen([there]).seen(meant).fixed_by(fix))
    })
}

fn meant_location(locations: &[Location]) -> Option<&Location> {
    locations.iter().find_map(|l| if l.means_websocket() { Some(l) } else { meant_location(&l.locations) })
}

/// No server carries the URL's name, so the default one answers; another server on that port means the path for
/// WebSockets.
fn wrong_server<'a>(model: &'a Model, case: &Case<'a>) -> Option<(Spot<'a>, Spot<'a>)> {
    let spot = case.spot.filter(|s| !s.location.means_websocket())?;
    let url = Url::read(&case.target.url)?;
    let listens = |s: &Server| s.listens.iter().any(|l| l.port == Some(url.port));
    if url.host.parse::<std::net::IpAddr>().is_ok() || look::carries(spot.server, url.host) {
        return None;
    }
    let mut others = model.site.as_ref()?.servers.iter().filter(|s| listens(s) && !std::ptr::eq(*s, spot.server));
    let meant = others.find_map(|server| {
        let location = server.location_for(url.path).filter(|l| l.means_websocket())?;
        Some(Spot { server, location })
    })?;
    Some((spot, meant))
}

pub(super) fn wrong_server_block(model: &Model) -> Vec<Finding> {
    each(model, |case, status| {
        let (spot, meant) = wrong_server(model, case).filter(|_| status < 500)?;
        let host = Url::read(&case.target.url)?.host.to_owned();
        let names = meant.server.names.join(" ");
        let why = format!("no server is named {host}, so the default one answers, {}", short(&spot.server.place));
        let fix = Fix::config(&meant.server.place, format!("add {host} to server_name {names}"));
        Some(
            refused(case, "wrong-server-block", Confidence::Likely, &why)
                .seen([Evidence::config(&spot.server.place, "this server answers")])
                .seen([Evidence::config(&meant.server.place, format!("the WebSocket location is in server {names}"))])
                .fixed_by(fix),
        )
    })
}

/// The backend got a whole handshake and dislikes the name in it.
fn speaks_of_host(case: &Case<'_>, status: u16) -> bool {
    // Without a direct handshake that works it must say so itself, in the words of frameworks.
    const PLAIN: [&str; 7] = [
        "invalid host",
        "host header",
        "disallowed host",
        "disallowedhost",
        "unknown host",
        "host is not allowed",
        "host not allowed",
    ];
    let says = case.body_has("host") && (case.direct_works() || PLAIN.iter().any(|words| case.body_has(words)));
    matches!(status, 400 | 403 | 421) && says && !speaks_of_origin(case)
}

fn is_about_host(case: &Case<'_>, status: u16) -> bool {
    let proxied = case.spot.is_some_and(|s| s.location.proxy_pass.is_some() && faults(s.location).is_empty());
    proxied && speaks_of_host(case, status)
}

pub(super) fn host_header_rejected(model: &Model) -> Vec<Finding> {
    each(model, |case, status| {
        let spot = case.spot.filter(|_| is_about_host(case, status))?;
        let sent = spot.location.header("host");
        let value = sent.map_or("$proxy_host", |h| h.value.as_str());
        let place = sent.map_or(&spot.location.place, |h| &h.place);
        let why = format!("the backend does not accept the Host header that nginx sends ({value}), {}", short(place));
        let seen = Evidence::config(place, format!("proxy_set_header Host {value}"));
        let fix = Fix::config(place, "allow this host in the backend, or send one that it knows");
        Some(refused(case, "host-header-rejected", Confidence::Likely, &why).seen([seen]).fixed_by(fix))
    })
}

pub(super) fn redirected(model: &Model) -> Vec<Finding> {
    each(model, |case, status| {
        if !matches!(status, 301 | 302 | 303 | 307 | 308) {
            return None;
        }
        let to = case.probe.answer.as_ref().and_then(|a| a.header("location")).unwrap_or("another address");
        let why = format!("it redirects to {to}, and browsers do not follow redirects of WebSockets");
        let mut found = refused(case, "redirected", Confidence::Certain, &why);
        if let Some(spot) = slash_location(case) {
            let url = found.subject.url.take();
            found.subject = spot.subject();
            found.subject.url = url;
            let place = &spot.location.place;
            let said = format!("location {} redirects the path without its last slash", spot.location.path);
            found.evidence.insert(0, Evidence::config(place, said));
            let said = format!("ask for {}, or add location = {}", spot.location.path, case.path());
            return Some(found.fixed_by(Fix::config(place, said)));
        }
        if let Some((value, place)) = case.spot.and_then(|s| {
            let set = s.location.returns.as_ref().or(s.server.returns.as_ref())?;
            Some((set.value.clone(), set.place.clone()?))
        }) {
            found.evidence.insert(0, Evidence::config(&place, format!("return {value}")));
        }
        Some(found.fixed_by(Fix::new(format!("use {} as the WebSocket URL", websocket_form(to)))))
    })
}

/// `location /ws/` with a proxy_pass answers `/ws` with a redirect (http/ngx_http_core_module.c, auto_redirect).
fn slash_location<'a>(case: &Case<'a>) -> Option<Spot<'a>> {
    let spot = case.spot.filter(|s| s.location.redirects(&case.path()))?;
    let to = case.probe.answer.as_ref()?.header("location")?;
    to.split('?').next().is_some_and(|t| t.ends_with(&spot.location.path)).then_some(spot)
}

fn websocket_form(url: &str) -> String {
    match url.split_once("://") {
        Some(("https", rest)) => format!("wss://{rest}"),
        Some(("http", rest)) => format!("ws://{rest}"),
        _ => url.to_owned(),
    }
}

/// Findings from the probe's own reading of the answer.
fn by_kind(model: &Model, kind: FailureKind, id: &'static str, why: &str, fix: &str) -> Vec<Finding> {
    let cases = cases(model);
    let of_kind = |f: &&Failure| f.kind == kind && f.phase != Phase::Proxy;
    let failing = cases.iter().filter_map(|c| c.failure().filter(of_kind).map(|f| (c, f)));
    let found = failing.map(|(case, failure)| {
        let said = format!("{}: {why} ({})", case.path(), failure.said);
        Finding::new(id, Severity::Critical, Confidence::Certain, case.subject(), said)
            .seen(case.evidence())
            .fixed_by(Fix::new(fix))
    });
    found.collect()
}

pub(super) fn accept_mismatch(model: &Model) -> Vec<Finding> {
    let why = "the 101 carries a wrong or no Sec-WebSocket-Accept, so every browser drops it";
    by_kind(
        model,
        FailureKind::AcceptMismatch,
        "accept-mismatch",
        why,
        "repair the backend's handshake (RFC 6455 section 4.2.2)",
    )
}

pub(super) fn subprotocol_mismatch(model: &Model) -> Vec<Finding> {
    let why = "the server's subprotocol is not one that was offered";
    let fix = "make client and backend agree on a subprotocol, and let no proxy_set_header overwrite it";
    by_kind(model, FailureKind::SubprotocolMismatch, "subprotocol-mismatch", why, fix)
}

pub(super) fn bad_response(model: &Model) -> Vec<Finding> {
    let fix = "look at what the port really serves; the answer is shown with the probe";
    let mut out = by_kind(model, FailureKind::NotHttp, "bad-handshake-response", "the answer is no HTTP", fix);
    // TLS in place of an answer has a rule of its own.
    let tls: Vec<_> = reach::plain_to_tls_port(model).into_iter().map(|f| f.subject).collect();
    out.retain(|f| !tls.contains(&f.subject));
    let why = "the 101 opens no WebSocket";
    out.extend(by_kind(model, FailureKind::BadUpgradeHeaders, "bad-handshake-response", why, fix));
    out
}
