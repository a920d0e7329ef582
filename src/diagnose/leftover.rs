//! What no rule explains: an endpoint that fails must never leave the report without a word.

use std::time::Duration;

use crate::event::log::{ErrorEntry, Level};
use crate::event::probe::{ClosedBy, Failure, FailureKind, Phase};
use crate::human;
use crate::model::Model;

use super::finding::{Confidence, Evidence, EvidenceKind, Finding, Fix, Severity};
use super::handshake::is_the_backends;
use super::headers::suspected;
use super::look::{self, Case, cases};
use super::upstream::gateway_without_log;

/// A tunnel that ends within this time was not held at all.
const AT_ONCE: Duration = Duration::from_millis(50);

/// A tunnel that the server closes normally within this time was not meant to be held.
const SHORT: Duration = Duration::from_secs(30);

/// A failure and nginx's line about it are no further apart: the log counts whole seconds.
const SAME_MOMENT: Duration = Duration::from_secs(3);

/// A finding for every failing endpoint that none of `known` speaks of.
pub(super) fn unexplained(model: &Model, known: &[Finding]) -> Vec<Finding> {
    let mut out = Vec::new();
    for case in cases(model) {
        if known.iter().any(|f| explains(f, &case)) {
            continue;
        }
        if let Some(failure) = case.failure() {
            let header = suspected(model, &case);
            out.push(header.unwrap_or_else(|| failed(model, &case, failure)));
        } else {
            out.extend(dropped(&case).or_else(|| mute(&case)));
        }
    }
    out
}

/// It is serious, and about this endpoint, its location, its backend, or a resource of the whole host.
fn explains(f: &Finding, case: &Case<'_>) -> bool {
    let url = f.subject.url.as_deref() == Some(&*case.target.url);
    let spot = case.spot.is_some_and(|s| f.subject.location.as_ref() == Some(&s.location.path));
    let peer = |u: &String| case.spot.is_some_and(|s| s.location.peers.iter().any(|p| p.address.ends_with(u.as_str())));
    let upstream = f.subject.upstream.as_ref().is_some_and(peer);
    let host = f.subject.url.is_none() && f.subject.location.is_none() && f.subject.upstream.is_none();
    let about = url || spot || upstream || (host && f.severity == Severity::Critical);
    // Something that threatens tunnels later does not explain a handshake that fails now.
    f.is_serious() && about && (f.severity == Severity::Critical || case.failure().is_none())
}

/// nginx's own word at the moment of the failure, where no rule knows it.
fn last_words<'a>(model: &'a Model, case: &Case<'_>) -> Option<&'a ErrorEntry> {
    let (failed, path) = (case.failed_at()?, case.path());
    let near = |e: &&ErrorEntry| e.at.since(failed).max(failed.since(e.at)) <= SAME_MOMENT;
    let about = move |e: &ErrorEntry| e.level <= Level::Error && e.path() == Some(&path);
    look::fresh(model, about).filter(near).max_by_key(|e| e.at)
}

fn failed(model: &Model, case: &Case<'_>, failure: &Failure) -> Finding {
    let Failure { phase, kind, said } = failure;
    let (phase, kind, said) = (*phase, *kind, said.as_str());
    if let Some(status @ (502 | 504)) = case.status() {
        return gateway_without_log(case, status);
    }
    let direct = case.direct_works();
    let (id, why) = match (kind, case.status()) {
        (FailureKind::HttpStatus, Some(_)) if direct => (
            "backend-rejects-handshake",
            "refused through nginx, though the backend accepts the same handshake directly",
        ),
        (FailureKind::HttpStatus, Some(_)) if is_the_backends(case) && case.spot.is_some() => {
            ("backend-rejects-handshake", "the backend refuses the handshake")
        }
        (FailureKind::HttpStatus, _) => ("backend-rejects-handshake", "the handshake is refused"),
        _ if phase == Phase::Connect => ("connect-refused", said),
        (FailureKind::Timeout, _) => ("backend-handshake-timeout", "the handshake is never answered"),
        (FailureKind::ClosedEarly, _) => ("bad-handshake-response", "the connection is closed without an answer"),
        (FailureKind::Reset, _) => ("bad-handshake-response", "the connection is reset without an answer"),
        _ => ("bad-handshake-response", said),
    };
    let line = last_words(model, case).filter(|_| case.status().is_some_and(|s| s >= 500));
    let words = line.map_or_else(String::new, |e| format!("; nginx says: {}", e.message));
    let said = format!("{}: {why}{words}", case.symptom());
    let line = line.map(|e| Evidence::new(EvidenceKind::Log, look::words(e)).at(e.at));
    let fix = Fix::new(if phase == Phase::Connect {
        "look at this machine: who may use the socket, and whether descriptors and local ports are left"
    } else {
        "read nginx's error log at level info at the moment of the failure"
    });
    // nginx itself answers 500 and above for many reasons of its own.
    let likely = is_the_backends(case) && case.spot.is_some() && case.status().is_some_and(|s| s < 500);
    let confidence = if likely { Confidence::Likely } else { Confidence::Possible };
    Finding::new(id, Severity::Critical, confidence, case.subject(), said)
        .seen(line)
        .seen(case.evidence())
        .fixed_by(fix)
}

/// The tunnel is open, and not one ping of ours was ever answered in time (RFC 6455 section 5.5.2 wants each answered).
fn mute(case: &Case<'_>) -> Option<Finding> {
    let probe = case.probe;
    if !case.works() || probe.missed == 0 || probe.pongs > 0 {
        return None;
    }
    let pings = human::counted(probe.missed, "ping", "pings");
    let said = format!("{}: the tunnel opens, but {pings} of ours went unanswered, and none was answered", case.path());
    let fix = Fix::new(
        "let the backend answer pings, or look for what holds them back; users who depend on them lose tunnels",
    );
    Some(
        Finding::new("half-open-tunnels", Severity::Warning, Confidence::Possible, case.subject(), said)
            .seen(case.evidence())
            .fixed_by(fix),
    )
}

fn dropped(case: &Case<'_>) -> Option<Finding> {
    let (_, closed) = case.dropped()?;
    let after = match closed.held {
        held if held < AT_ONCE => "at once".to_owned(),
        held => format!("after {:.1} s", held.as_secs_f64()),
    };
    let reason = if closed.reason.is_empty() { String::new() } else { format!(": {}", closed.reason) };
    let (id, why) = match closed.by {
        ClosedBy::Reset => ("backend-reset", format!("the tunnel was reset {after}")),
        ClosedBy::PongTimeout => ("half-open-tunnels", format!("pings were no longer answered {after}")),
        ClosedBy::ProtocolError => {
            ("backend-closed-with-code", format!("the server broke the protocol {after}{reason}"))
        }
        ClosedBy::ServerClose if closed.held >= SHORT => return None,
        _ => ("backend-went-away", format!("the tunnel was closed {after}")),
    };
    let said = format!("{}: {why}", case.path());
    let fix = Fix::new("look at the backend's log at that moment");
    Some(
        Finding::new(id, Severity::Warning, Confidence::Possible, case.subject(), said)
            .seen(case.evidence())
            .fixed_by(fix),
    )
}
