//! Rules about handshakes that reach something and are refused: by the backend, by nginx, or by the wrong place.

use std::time::Duration;

use crate::event::backend::{BackendEntry, Fault};
use crate::event::log::ErrorEntry;
use crate::event::probe::FailureKind;
use crate::event::site::{Location, Server, Setting};
use crate::model::Model;

use super::finding::{Confidence, Evidence, Finding, Fix, Severity};
use super::headers::faults;
use super::look::{self, Case, NOW, Spot, Url, cases, short};
use super::matrix::Seat;
use super::proof;
use super::way::{passed_path, split_pass};
use super::witness::backend_evidence;

/// A refusal and the backend's line about it are no further apart: both clocks count whole seconds at worst.
const SAME_MOMENT: Duration = Duration::from_secs(3);

/// One critical finding about a failing probe, with what it and its twin saw.
fn refused(case: &Case<'_>, id: &'static str, confidence: Confidence, why: &str) -> Finding {
    let said = format!("{}: {why}", case.symptom());
    Finding::new(id, Severity::Critical, confidence, case.subject(), said).seen(case.evidence())
}

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

fn each(model: &Model, rule: impl Fn(&Case<'_>, u16) -> Option<Finding>) -> Vec<Finding> {
    cases(model).iter().filter_map(|c| rule(c, c.status()?)).collect()
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
        let denied = status == 403 && (is_about_origin(model, case) || denied_by_nginx(model, case));
        // Without a direct answer to compare with, anything more telling comes first; see `leftover`.
        let proven = [Seat::Origin, Seat::Subprotocol].iter().any(|seat| proof::is_cured_by(model, case, *seat));
        if other || wrong_port || limits || denied || proven || case.direct_status().is_none() {
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

pub(super) fn auth_required(model: &Model) -> Vec<Finding> {
    each(model, |case, status| {
        if status != 401 || drops_query(case).is_some() {
            return None;
        }
        let scheme = case.probe.answer.as_ref().and_then(|a| a.header("www-authenticate"));
        let asks = scheme.map_or_else(String::new, |s| format!(" ({})", s.split(' ').next().unwrap_or(s)));
        let why = format!("credentials are required{asks}");
        let fix = Fix::new("give the probe credentials: --header 'Authorization: ...'");
        Some(refused(case, "auth-required", Confidence::Certain, &why).fixed_by(fix))
    })
}

fn is_denial(e: &ErrorEntry) -> bool {
    e.message.starts_with("access forbidden by rule")
}

fn denied_by_nginx(model: &Model, case: &Case<'_>) -> bool {
    let path = case.path();
    let since = case.failed_at().unwrap_or(model.now);
    look::fresh(model, is_denial).any(|e| e.path() == Some(&path) && since.since(e.at) <= NOW)
}

pub(super) fn access_denied(model: &Model) -> Vec<Finding> {
    each(model, |case, status| {
        if status != 403 || !denied_by_nginx(model, case) {
            return None;
        }
        let log = look::seen(model, is_denial).iter().map(look::Seen::evidence).next();
        let why = "nginx denies this client by an allow/deny rule";
        let fix = match case.spot {
            Some(s) => {
                Fix::config(&s.location.place, format!("allow the client's address in location {}", s.location.path))
            }
            None => Fix::new("allow the client's address in nginx"),
        };
        Some(refused(case, "access-denied", Confidence::Certain, why).seen(log).fixed_by(fix))
    })
}

pub(super) fn upgrade_in_subrequest(model: &Model) -> Vec<Finding> {
    let lines = look::seen(model, |e| e.message.starts_with("connection upgrade in subrequest"));
    let found = lines.iter().map(|s| {
        let (severity, confidence) = look::urgency(model, s);
        let path = s.spot.map_or("a location", |p| p.location.path.as_str());
        let said = format!("{path} cannot be upgraded: an auth_request passes the upgrade headers on and got a 101");
        let fix = Fix::new("clear Upgrade and Connection in the auth location: proxy_set_header Upgrade \"\";");
        Finding::new("upgrade-in-subrequest", severity, confidence, s.subject(), said)
            .seen([s.evidence()])
            .fixed_by(fix)
    });
    found.collect()
}

/// The location that the URL hits does not lead to a backend at all.
fn serves_itself<'a>(case: &Case<'a>) -> Option<Spot<'a>> {
    case.spot.filter(|s| s.location.proxy_pass.is_none())
}

pub(super) fn not_an_endpoint(model: &Model) -> Vec<Finding> {
    each(model, |case, status| {
        let page = matches!(status, 200..=299 | 404);
        if !page || serves_itself(case).is_some() || wrong_server(model, case).is_some() || !is_the_backends(case) {
            return None;
        }
        let what = if status == 404 { "there is nothing at this path" } else { "an ordinary page is served there" };
        let why = format!("{what}, not a WebSocket endpoint");
        let fix = Fix::new("ask for the path on which the backend serves WebSockets, or start its WebSocket part");
        Some(refused(case, "not-a-websocket-endpoint", by_twin(case), &why).fixed_by(fix))
    })
}

pub(super) fn location_mismatch(model: &Model) -> Vec<Finding> {
    each(model, |case, status| {
        let spot = serves_itself(case).filter(|_| wrong_server(model, case).is_none())?;
        if !matches!(status, 200..=299 | 400 | 403..=405 | 500) || denied_by_nginx(model, case) {
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

/// What the backend is asked for, when `proxy_pass` or a `rewrite` changes the path (`ngx_http_proxy_create_request`).
struct Rewriting<'a> {
    /// The directive and its value.
    what: (&'static str, &'a Setting<String>),
    /// The path after it; `None` when that cannot be told.
    sent: Option<String>,
    /// The URL that `proxy_pass` needs for the backend to be asked for `wanted`.
    instead: Option<String>,
}

fn rewriting<'a>(spot: Spot<'a>, path: &str, wanted: &str) -> Option<Rewriting<'a>> {
    let pass = spot.location.proxy_pass.as_ref().filter(|p| !p.value.contains('$'))?;
    if let Some(rewrite) = &spot.location.rewrite {
        return Some(Rewriting { what: ("rewrite", rewrite), sent: None, instead: None });
    }
    let (base, _) = split_pass(&pass.value)?;
    let rest = path.strip_prefix(&spot.location.path);
    let sent = passed_path(spot.location, path)?;
    if sent == wanted {
        return None;
    }
    let instead = if wanted == path {
        Some(base.trim_end_matches(':').to_owned())
    } else {
        rest.and_then(|r| wanted.strip_suffix(r)).map(|uri| format!("{base}{uri}"))
    };
    Some(Rewriting { what: ("proxy_pass", pass), sent: Some(sent), instead })
}

/// The configuration makes the backend be asked for something else than its direct twin is.
pub(super) fn is_rewritten(case: &Case<'_>) -> bool {
    let wanted = case.twin.and_then(|(t, _)| Some(Url::read(&t.url)?.path.to_owned()));
    case.spot.zip(wanted).is_some_and(|(spot, wanted)| rewriting(spot, &case.path(), &wanted).is_some())
}

pub(super) fn uri_rewritten(model: &Model) -> Vec<Finding> {
    each(model, |case, status| {
        let spot = case.spot?;
        let (twin, _) = case.twin?;
        let wanted = Url::read(&twin.url)?.path.to_owned();
        if !matches!(status, 400 | 404) || !case.direct_works() || !faults(spot.location).is_empty() {
            return None;
        }
        let Rewriting { what: (name, setting), sent, instead } = rewriting(spot, &case.path(), &wanted)?;
        let place = setting.place.as_ref().unwrap_or(&spot.location.place);
        let (certain, into) = match &sent {
            Some(sent) => (Confidence::Certain, format!("the backend is asked for {sent}, not for {wanted}")),
            None => (Confidence::Likely, format!("the path is not {wanted} any more when the backend is asked")),
        };
        let why = format!("{into}: {name} {}, {}", setting.value, short(place));
        let said = match &instead {
            Some(url) => format!("write proxy_pass {url}"),
            None => format!("correct this line, so that the backend is asked for {wanted}"),
        };
        let mut fix = Fix::config(place, said);
        fix.patch = instead.and_then(|url| spot.pass_instead(model, &url));
        let seen = Evidence::config(place, format!("{name} {}", setting.value));
        Some(refused(case, "uri-rewritten", certain, &why).seen([seen]).fixed_by(fix))
    })
}

/// The line by which the backend loses the query of the URL, and the `proxy_pass` that keeps it: with variables in
/// `proxy_pass` nothing is added by itself, and a replacement that ends with `?` cuts it off (`ngx_http_rewrite`).
fn drops_query<'a>(case: &Case<'a>) -> Option<(&'static str, &'a Setting<String>, Option<String>)> {
    const CARRIERS: [&str; 5] = ["$args", "$is_args", "$query_string", "$request_uri", "$arg_"];
    let (spot, (twin, _)) = (case.spot?, case.twin?);
    if !case.direct_works() || !case.target.url.contains('?') || !twin.url.contains('?') {
        return None;
    }
    let pass = spot.location.proxy_pass.as_ref()?;
    let after_host = pass.value.split_once("://").and_then(|(_, rest)| rest.split_once('/'));
    if pass.value.contains('$') && after_host.is_some() && !CARRIERS.iter().any(|c| pass.value.contains(c)) {
        return Some(("proxy_pass", pass, Some(format!("{}$is_args$args", pass.value))));
    }
    let cut = |r: &&Setting<String>| r.value.split(' ').nth(1).is_some_and(|to| to.ends_with('?'));
    spot.location.rewrite.as_ref().filter(cut).map(|r| ("rewrite", r, None))
}

pub(super) fn query_dropped(model: &Model) -> Vec<Finding> {
    each(model, |case, status| {
        let (name, setting, instead) = drops_query(case).filter(|_| matches!(status, 400 | 401 | 403 | 404 | 422))?;
        let spot = case.spot?;
        let place = setting.place.as_ref().unwrap_or(&spot.location.place);
        let why =
            format!("the query of the URL does not reach the backend: {name} {}, {}", setting.value, short(place));
        let said = instead.as_ref().map_or_else(
            || "let the replacement not end with a question mark".to_owned(),
            |url| format!("write proxy_pass {url}"),
        );
        let patch = instead.and_then(|url| spot.pass_instead(model, &url));
        let seen = Evidence::config(place, format!("{name} {}", setting.value));
        let fix = Fix { patch, ..Fix::config(place, said) };
        Some(refused(case, "query-dropped", Confidence::Likely, &why).seen([seen]).fixed_by(fix))
    })
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
    matches!(status, 400 | 403 | 421) && case.direct_works() && case.body_has("host") && !speaks_of_origin(case)
}

pub(super) fn host_header_rejected(model: &Model) -> Vec<Finding> {
    each(model, |case, status| {
        let spot = case.spot.filter(|s| s.location.proxy_pass.is_some() && faults(s.location).is_empty())?;
        if !speaks_of_host(case, status) {
            return None;
        }
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
    let failing = cases.iter().filter_map(|c| c.failure().filter(|f| f.kind == kind).map(|f| (c, f)));
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
    let why = "the 101 lacks Upgrade: websocket or Connection: upgrade";
    out.extend(by_kind(model, FailureKind::BadUpgradeHeaders, "bad-handshake-response", why, fix));
    out
}
