//! What a handshake matrix proves: findings that other rules can only suspect, or do not see at all.
//!
//! A matrix counts as long as the endpoint still fails as it did when it was made, and when exactly one kind of change
//! helps. Where another rule speaks of the same endpoint, the two findings become one.

use crate::event::matrix::{Change, Matrix, Row};
use crate::event::probe::Phase;
use crate::model::Model;

use super::finding::{Confidence, Evidence, EvidenceKind, Finding, Fix, Severity};
use super::look::{Case, cases};
use super::matrix::{Seat, cure};

/// Endpoints that fail now as they did in their matrix.
fn failing(model: &Model) -> Vec<(Case<'_>, &Matrix)> {
    let tried = cases(model).into_iter().filter_map(|c| {
        let matrix = model.matrix.get(&c.target.endpoint)?;
        let base = matrix.base().filter(|b| b.status == c.status() || c.status().is_none())?;
        let same = base
            .failure
            .as_ref()
            .zip(c.failure())
            .is_some_and(|(was, is)| (was.phase, was.kind) == (is.phase, is.kind));
        same.then_some((c, matrix))
    });
    tried.collect()
}

/// The cure of a failing endpoint, when it is of this kind.
fn cured(model: &Model, seat: Seat) -> impl Iterator<Item = (Case<'_>, &Row)> {
    let all = failing(model).into_iter().filter_map(|(case, matrix)| Some((case, cure(matrix)?)));
    all.filter(move |(_, (of, _))| *of == seat).map(|(case, (_, row))| (case, row))
}

/// It is this kind of change that makes the endpoint work.
pub(super) fn is_cured_by(model: &Model, case: &Case<'_>, seat: Seat) -> bool {
    cured(model, seat).any(|(c, _)| c.target == case.target)
}

fn found(case: &Case<'_>, id: &'static str, why: &str, row: &Row, fix: &str) -> Finding {
    let with = match &row.change {
        Change::OtherOrigin { origin } | Change::OwnOrigin { origin } => format!("with Origin {origin}"),
        Change::NoOrigin => "without Origin".to_owned(),
        Change::NoSubprotocol => "without a subprotocol".to_owned(),
        Change::Slash { path } => format!("for {path}"),
        Change::Http2 => "with HTTP/2 offered".to_owned(),
        _ => "with compression offered".to_owned(),
    };
    let got = match (row.status, row.alpn.as_deref()) {
        (Some(status), _) => format!("the answer is {status}"),
        (None, Some("h2")) => "TLS agrees on h2".to_owned(),
        (None, _) => "there is no answer".to_owned(),
    };
    let said = format!("{}: {why}", case.symptom());
    Finding::new(id, Severity::Critical, Confidence::Certain, case.subject(), said)
        .seen(case.evidence())
        .seen([Evidence::new(EvidenceKind::Probe, format!("the same handshake {with}: {got}"))])
        .fixed_by(Fix::new(fix))
}

pub(super) fn origin(model: &Model) -> Vec<Finding> {
    let all = cured(model, Seat::Origin).map(|(case, row)| {
        let asked = case.probe.request.lines().any(|l| l.to_ascii_lowercase().starts_with("origin:"));
        let (why, fix) = if asked {
            (
                "the Origin is what it does not accept",
                "allow this origin where the check is made: the backend, or nginx",
            )
        } else {
            (
                "handshakes without an Origin are refused",
                "browsers send one; give it to the probe: --origin https://HOST",
            )
        };
        found(&case, "origin-rejected", why, row, fix)
    });
    all.collect()
}

pub(super) fn subprotocol(model: &Model) -> Vec<Finding> {
    let why = "the subprotocol that was offered is not accepted";
    let fix = "make client and backend agree on a subprotocol, and let no proxy_set_header overwrite it";
    cured(model, Seat::Subprotocol).map(|(case, row)| found(&case, "subprotocol-mismatch", why, row, fix)).collect()
}

/// The path with the other slash works: what that means depends on who answered the one that was asked for.
fn slash(model: &Model, id: &'static str, why: &str, fix: &str, test: fn(&Case<'_>, u16) -> bool) -> Vec<Finding> {
    let all = cured(model, Seat::Path).filter(|(case, _)| case.status().is_some_and(|s| test(case, s)));
    all.map(|(case, row)| found(&case, id, why, row, fix)).collect()
}

/// A location without `proxy_pass` took the path.
fn strayed(case: &Case<'_>) -> bool {
    case.spot.is_some_and(|s| s.location.proxy_pass.is_none())
}

const ASK: &str = "ask for the path that works, or let nginx take both";

pub(super) fn redirected(model: &Model) -> Vec<Finding> {
    let why = "it is redirected, and only the last slash of the path is wrong";
    slash(model, "redirected", why, ASK, |_, status| matches!(status, 301 | 302 | 303 | 307 | 308))
}

pub(super) fn location_mismatch(model: &Model) -> Vec<Finding> {
    let why = "the path without its right last slash goes to a location that does not proxy";
    slash(model, "location-mismatch", why, ASK, |case, status| strayed(case) && !(300..400).contains(&status))
}

pub(super) fn not_an_endpoint(model: &Model) -> Vec<Finding> {
    let why = "nothing serves WebSockets at this path, but at the one with the other last slash";
    slash(model, "not-a-websocket-endpoint", why, ASK, |case, status| {
        !strayed(case) && matches!(status, 200..=299 | 404)
    })
}

/// TLS fails while only HTTP/1.1 is offered, and agrees on HTTP/2 as soon as that is offered, too.
pub(super) fn http2(model: &Model) -> Vec<Finding> {
    let of_tls = |c: &Case<'_>| c.failure().is_some_and(|f| f.phase == Phase::Tls);
    let chosen =
        |m: &'_ Matrix| m.rows.iter().find(|r| r.change == Change::Http2 && r.alpn.as_deref() == Some("h2")).cloned();
    let all = failing(model).into_iter().filter(|(c, _)| of_tls(c)).filter_map(|(case, matrix)| {
        let why = "this port takes HTTP/2 only, which has no WebSockets in nginx";
        let fix = "let this port take HTTP/1.1, too";
        Some(found(&case, "http2-no-websocket", why, &chosen(matrix)?, fix))
    });
    all.collect()
}

/// It works until compression is offered, and worked again afterwards: browsers always offer it.
pub(super) fn compression(model: &Model) -> Vec<Finding> {
    let all = cases(model).into_iter().filter(Case::works).filter_map(|case| {
        let matrix = model.matrix.get(&case.target.endpoint)?;
        let row = matrix.row(|c| *c == Change::Deflate).filter(|r| !r.opened())?;
        let steady = |change: &Change| matrix.row(|c| c == change).is_some_and(Row::opened);
        if !steady(&Change::AsAsked) || !steady(&Change::Again) {
            return None;
        }
        let why = "the handshake is refused as soon as it offers permessage-deflate, as browsers do";
        let fix = "repair or turn off compression in the backend's WebSocket library";
        let mut found = found(&case, "backend-rejects-handshake", why, row, fix);
        (found.severity, found.confidence) = (Severity::Warning, Confidence::Likely);
        Some(found)
    });
    all.collect()
}
