//! Rules about handshakes that nginx itself turns away: for want of credentials, by a rule, by a location that is not for clients.

use crate::event::log::ErrorEntry;
use crate::event::site::Location;
use crate::model::Model;

use super::finding::{Confidence, Evidence, Finding, Fix};
use super::look::{self, Case, NOW, short};
use super::refusal::{each, refused};
use super::uri::drops_query;

/// nginx's own words for statuses 495 and 496, which it sends as 400 (http/ngx_http_special_response.c).
const WANTS_CERTIFICATE: [&str; 2] = ["No required SSL certificate was sent", "The SSL certificate error"];

pub(super) fn wants_certificate(case: &Case<'_>) -> bool {
    WANTS_CERTIFICATE.iter().any(|words| case.body_has(words))
}

pub(super) fn auth_required(model: &Model) -> Vec<Finding> {
    each(model, |case, status| {
        if wants_certificate(case) {
            let why = "nginx wants a certificate that it can verify from its clients (ssl_verify_client)";
            let fix = Fix::new("give the probe a certificate of that CA: --cert FILE --key FILE");
            return Some(refused(case, "auth-required", Confidence::Certain, why).fixed_by(fix));
        }
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

pub(super) fn denied_by_nginx(model: &Model, case: &Case<'_>) -> bool {
    let path = case.path();
    let since = case.failed_at().unwrap_or(model.now);
    look::fresh(model, is_denial).any(|e| e.path() == Some(&path) && since.since(e.at) <= NOW)
}

/// nginx wrote the answer itself (http/ngx_http_special_response.c), while the backend accepts the same handshake.
fn is_nginx_own(case: &Case<'_>) -> bool {
    case.direct_works() && case.body_has("<center>nginx")
}

/// A refusal by nginx that no log line tells of: a `return` in an `if`, `limit_except`, a module.
fn denied_without_a_word(case: &Case<'_>, status: u16) -> Option<Finding> {
    let spot = case.spot.filter(|s| matches!(status, 403 | 405) && s.location.proxy_pass.is_some())?;
    let Location { path, place, .. } = spot.location;
    let at = short(place);
    let why = if is_nginx_own(case) {
        format!("nginx itself refuses it in location {path}, {at}; the backend accepts the same handshake")
    } else if case.twin.is_none() && case.body_has("<center>nginx") {
        format!("an nginx refuses it with a page of its own: this one in location {path}, {at}, or one behind it")
    } else {
        return None;
    };
    let fix = format!("look for a return, an if or a limit_except in location {path} that this request meets");
    let seen = Evidence::config(place, format!("location {path} takes this URL"));
    Some(refused(case, "access-denied", Confidence::Likely, &why).seen([seen]).fixed_by(Fix::config(place, fix)))
}

pub(super) fn access_denied(model: &Model) -> Vec<Finding> {
    each(model, |case, status| {
        if status != 403 || !denied_by_nginx(model, case) {
            return denied_without_a_word(case, status);
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
    let mut out: Vec<Finding> = lines.iter().map(|s| in_subrequest(model, s, None)).collect();
    let refused = look::seen(model, |e| e.message.starts_with("auth request unexpected status: 4"));
    out.extend(refused.iter().filter_map(|s| Some(in_subrequest(model, s, Some(auth_location(s)?)))));
    out
}

/// The location of the `auth_request` passes the upgrade headers on: what it asks got a handshake, and opened it (a 101) or
/// refused it (then `at` is that location).
fn in_subrequest(model: &Model, s: &look::Seen<'_>, at: Option<&Location>) -> Finding {
    let (severity, confidence) = look::urgency(model, s);
    let path = s.spot.map_or("a location", |p| p.location.path.as_str());
    let got = at.map_or("got a 101", |_| "is refused");
    let who = match (&s.newest.subrequest, at) {
        (Some(uri), _) => format!("the subrequest to {uri}"),
        (None, Some(_)) => "an auth_request".to_owned(),
        (None, None) => "an auth_request or a mirror".to_owned(),
    };
    let said = format!("{path} cannot be upgraded: {who} passes the upgrade headers on and {got}");
    let advice = "clear Upgrade and Connection in the location of the subrequest: proxy_set_header Upgrade \"\";";
    let fix = at.map_or_else(|| Fix::new(advice), |l| Fix::config(&l.place, advice));
    let seen = at.map(|l| Evidence::config(&l.place, format!("location {} sends an Upgrade header", l.path)));
    let confidence = if at.is_some() { confidence.max(Confidence::Likely) } else { confidence };
    let found = Finding::new("upgrade-in-subrequest", severity, confidence, s.subject(), said);
    found.seen([s.evidence()]).seen(seen).fixed_by(fix)
}

/// The one internal location beside it that sends upgrade headers: which one an `auth_request` asks is not known.
fn auth_location<'a>(s: &look::Seen<'a>) -> Option<&'a Location> {
    let mut all = s.spot?.server.locations.iter().filter(|l| l.internal && l.forwards_upgrade());
    all.next().filter(|_| all.next().is_none())
}

/// The location proxies, and yet nginx says itself that there is nothing: it is internal, or a `try_files`, a `return` or an
/// `if` in it leads elsewhere.
pub(super) fn led_away(case: &Case<'_>, status: u16) -> Option<Finding> {
    let spot = case.spot.filter(|s| s.location.proxy_pass.is_some() && status == 404)?;
    let Location { path, place, internal, .. } = spot.location;
    let (confidence, why, fix) = if *internal {
        let why = format!("location {path} is internal, so that clients get 404, {}", short(place));
        (Confidence::Certain, why, "take internal out of this location".to_owned())
    } else if is_nginx_own(case) {
        let why = format!("nginx itself finds nothing in location {path}, {}, though the backend would", short(place));
        let fix = format!("look for a return, an if or a try_files in location {path} that this request meets");
        (Confidence::Likely, why, fix)
    } else {
        return None;
    };
    let seen = Evidence::config(place, format!("location {path} takes this URL"));
    Some(refused(case, "location-mismatch", confidence, &why).seen([seen]).fixed_by(Fix::config(place, fix)))
}
