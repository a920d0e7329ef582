//! Rules about the path and the query that the backend is asked for, where they are not the client's.

use crate::event::site::Setting;
use crate::model::Model;

use super::finding::{Confidence, Evidence, Finding, Fix};
use super::headers::faults;
use super::look::{Case, Spot, Url, short};
use super::refusal::{each, refused};
use super::way::{passed_path, split_pass};

/// What the backend is asked for instead, and the line that makes it so: without an answer to compare with nobody can tell
/// whether that is meant.
pub(super) fn changed_path(case: &Case<'_>) -> Option<(String, Evidence)> {
    let (spot, path) = (case.spot?, case.path());
    if let Some(rewrite) = &spot.location.rewrite {
        let place = rewrite.place.as_ref().unwrap_or(&spot.location.place);
        let said = format!("a rewrite may change the path, {}", short(place));
        return Some((said, Evidence::config(place, format!("rewrite {}", rewrite.value))));
    }
    let sent = passed_path(spot.location, &path).filter(|sent| *sent != path)?;
    Some((format!("nginx asks the backend for {sent} instead of {path}"), spot.pass()?))
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
pub(super) fn drops_query<'a>(case: &Case<'a>) -> Option<(&'static str, &'a Setting<String>, Option<String>)> {
    const CARRIERS: [&str; 5] = ["$args", "$is_args", "$query_string", "$request_uri", "$arg_"];
    let spot = case.spot?;
    let is_missed = match case.twin {
        Some((twin, _)) => case.direct_works() && twin.url.contains('?'),
        // Tokens travel in queries, because browsers let no script set a header of a handshake.
        None => matches!(case.status(), Some(401 | 403)),
    };
    if !is_missed || !case.target.url.contains('?') {
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
