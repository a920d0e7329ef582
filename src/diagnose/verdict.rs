//! The verdict in one word and one sentence.

use crate::event::probe::Route;
use crate::event::{Sight, SourceKind};
use crate::human;
use crate::model::Model;

use super::finding::{Finding, Severity, Verdict};
use super::look::{Case, cases};

/// Broken: an asked endpoint (or with none asked, any) cannot be used. Degraded: it works, but tunnels are lost or in
/// danger. Blind: nothing was seen that could tell.
pub(super) fn verdict(model: &Model, findings: &[Finding]) -> Verdict {
    let cases = cases(model);
    let critical = findings.iter().any(|f| f.severity == Severity::Critical);
    let failing = cases.iter().any(|c| c.failure().is_some());
    // Trouble elsewhere, while every endpoint that was asked about works, is no broken endpoint.
    let asked_work = !cases.is_empty() && cases.iter().all(Case::works);
    let broken_now = critical && !asked_work;
    let lost = findings.iter().any(Finding::is_serious);
    if failing || broken_now {
        Verdict::Broken
    } else if lost {
        Verdict::Degraded
    } else if sees_something(model, &cases) {
        Verdict::Healthy
    } else {
        Verdict::Blind
    }
}

/// A probe that came to an end, or nginx running with at least one look inside.
fn sees_something(model: &Model, cases: &[Case<'_>]) -> bool {
    if cases.iter().any(|c| !c.is_only_routed()) {
        return cases.iter().any(|c| c.works() || c.dropped().is_some());
    }
    let inside = [SourceKind::ErrorLog, SourceKind::AccessLog, SourceKind::Sockets, SourceKind::Config];
    let seen = |kind| model.sight(kind).is_some_and(|s| matches!(s.sight, Sight::Seen | Sight::Degraded));
    let data = model.site.is_some() || model.errors.lines > 0 || model.sessions.lines > 0;
    (!model.masters().is_empty() && (data || inside.into_iter().any(seen)))
        || model.connections.last_look().is_some()
        || model.errors.lines > 0
        || model.sessions.lines > 0
}

/// The worst finding in its own words, or what is well.
pub(super) fn summary(model: &Model, verdict: Verdict, findings: &[Finding]) -> String {
    match verdict {
        Verdict::Broken | Verdict::Degraded => findings
            .iter()
            .find(|f| f.is_serious())
            .map_or_else(|| "an endpoint cannot be used".to_owned(), |f| f.said.clone()),
        Verdict::Healthy => healthy(model),
        Verdict::Blind => blind(model),
    }
}

fn healthy(model: &Model) -> String {
    let mut parts = Vec::new();
    if model.connections.last_look().is_some() {
        parts.push(human::counted(model.connections.count() as u64, "tunnel", "tunnels"));
    }
    let open = cases(model).iter().filter(|c| c.works()).count();
    if open > 0 {
        parts.push(human::counted(open as u64, "endpoint open", "endpoints open"));
    }
    parts.push("nothing wrong".to_owned());
    parts.join(", ")
}

fn blind(model: &Model) -> String {
    let dark = model.senses.values().find(|s| s.sense.sight == Sight::Blind);
    match dark {
        Some(s) => format!("not enough could be seen: {}", s.sense.said),
        None if model.is_apart() => {
            "a configuration alone shows no handshake and no tunnel: name its logs or a URL, or use wspulse lint"
                .to_owned()
        }
        None if model.probes.by_target.keys().any(|t| t.route == Route::Proxy) => "no answer yet".to_owned(),
        None => "nothing seen yet".to_owned(),
    }
}
