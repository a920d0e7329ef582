//! Who says that handshakes fail at a location whose headers are faulty: probes, access logs, and debug logs with the
//! requests of real clients beside what nginx passed on.

use crate::event::backend::{self, BackendEntry};
use crate::event::handshake::{Handshake, Head};
use crate::model::Model;

use super::faults::{Fault, faults, is_typical, tells_of_headers};
use super::finding::{Confidence, Evidence, EvidenceKind};
use super::look::{Case, FRESH, Spot, cases, spot_of_access, spot_of_handshake};

/// Evidence that handshakes fail at a location with faulty headers.
pub(super) struct Witness<'a> {
    pub(super) spot: Spot<'a>,
    pub(super) symptom: String,
    pub(super) confidence: Confidence,
    pub(super) evidence: Vec<Evidence>,
}

pub(super) fn witnesses(model: &Model) -> Vec<Witness<'_>> {
    let cases = cases(model);
    let mut out: Vec<Witness<'_>> = cases.iter().filter_map(by_probe).collect();
    for witness in by_access(model, &cases) {
        match out.iter_mut().find(|w| w.spot.is(witness.spot)) {
            Some(known) => known.evidence.extend(witness.evidence),
            None => out.push(witness),
        }
    }
    by_handshakes(model, &cases, &mut out);
    by_backend(model, &mut out);
    out
}

fn by_probe<'a>(case: &Case<'a>) -> Option<Witness<'a>> {
    let (spot, status) = (case.spot?, case.status()?);
    if !tells_of_headers(status) || case.body_has("plain HTTP request was sent to HTTPS port") {
        return None;
    }
    let confidence = match case.twin {
        Some(_) if case.direct_works() => Confidence::Certain,
        // Directly it fails too: the headers are not what keeps it from working.
        Some(_) if case.direct_status().is_some() => return None,
        _ if is_typical(status) => Confidence::Likely,
        _ => Confidence::Possible,
    };
    Some(Witness { spot, symptom: case.symptom(), confidence, evidence: case.evidence() })
}

fn by_access<'a>(model: &'a Model, cases: &[Case<'a>]) -> Vec<Witness<'a>> {
    let recent = model.sessions.refused.iter().filter(|(_, r)| model.now.since(r.last) <= FRESH);
    let mut out = Vec::new();
    for ((path, status), refused) in recent.filter(|((_, status), _)| is_typical(*status)) {
        // Who asks everywhere for a WebSocket gets many answers, but 426 only from somebody who speaks it (RFC 9110 section
        // 15.5.22).
        let speaks = *status == 426 && refused.entry.upgrade.is_some();
        let Some(spot) = spot_of_access(model, &refused.entry).filter(|s| s.location.means_websocket() || speaks)
        else {
            continue;
        };
        // A probe that works there now refutes the log: those clients sent something else wrong.
        if cases.iter().any(|c| c.works() && c.spot.is_some_and(|s| s.is(spot))) {
            continue;
        }
        let said = format!("{} handshakes on {path} were answered {status}", refused.count);
        let evidence = Evidence::new(EvidenceKind::Access, said).at(refused.last);
        let symptom = format!("{path} answers {status}");
        out.push(Witness { spot, symptom, confidence: Confidence::Likely, evidence: vec![evidence] });
    }
    out
}

/// A backend's own word makes certain what others only suspect. Its log names no location: where several backends could
/// have written it, it is no evidence against any.
fn by_backend(model: &Model, out: &mut [Witness<'_>]) {
    let is_fresh = |e: &&BackendEntry| e.at.is_some_and(|at| model.now.since(at) <= FRESH);
    let mut said: Vec<&BackendEntry> = model.backend.recent().filter(is_fresh).collect();
    said.sort_by_key(|e| std::cmp::Reverse(e.at));
    let fits = |w: &Witness<'_>| said.iter().any(|e| faults(w.spot.location).iter().any(|f| agrees(e.fault, *f)));
    let mut accused: Vec<&mut Witness<'_>> = out.iter_mut().filter(|w| fits(w)).collect();
    let peers = |w: &Witness<'_>| w.spot.location.peers.iter().map(|p| p.address.clone()).collect::<Vec<_>>();
    let Some(first) = accused.first().map(|w| peers(w)) else { return };
    if accused.iter().any(|w| peers(w) != first) {
        return;
    }
    for witness in &mut accused {
        let all = faults(witness.spot.location);
        let about: Vec<_> = said.iter().filter(|e| all.iter().any(|f| agrees(e.fault, *f))).collect();
        let Some(newest) = about.first() else { continue };
        witness.evidence.push(backend_evidence(newest, about.len()));
        if newest.fault != backend::Fault::Handshake {
            witness.confidence = Confidence::Certain;
        }
    }
}

/// What the backend complains of is what this fault brings about.
fn agrees(said: backend::Fault, fault: Fault) -> bool {
    match said {
        backend::Fault::Upgrade => matches!(fault, Fault::Lost | Fault::UpgradeMissing | Fault::UpgradeWrong),
        backend::Fault::Connection => matches!(fault, Fault::Lost | Fault::ConnectionMissing | Fault::ConnectionWrong),
        backend::Fault::HttpVersion => fault == Fault::OldVersion,
        backend::Fault::Handshake => true,
        _ => false,
    }
}

/// A line of a backend's own log, and how many like it.
pub(super) fn backend_evidence(entry: &BackendEntry, count: usize) -> Evidence {
    let times = if count > 1 { format!(" ({count} times lately)") } else { String::new() };
    let said = format!("the backend's own log: {}{times}: {}", entry.raw, entry.fault.meaning());
    Evidence { at: entry.at, ..Evidence::new(EvidenceKind::Log, said) }
}

/// Handshakes of one location that came through without what the client had asked for.
struct Lost<'a> {
    spot: Spot<'a>,
    newest: &'a Handshake,
    count: usize,
}

/// Adds to what is known of a location, and speaks up for one that a WebSocket backend has refused.
fn by_handshakes<'a>(model: &'a Model, cases: &[Case<'a>], out: &mut Vec<Witness<'a>>) {
    for lost in lost_on_the_way(model, cases) {
        let evidence = lost.evidence();
        let status = lost.newest.status().unwrap_or_default();
        if let Some(known) = out.iter_mut().find(|w| w.spot.is(lost.spot)) {
            known.evidence.push(evidence);
            if is_typical(status) {
                // The configuration and the wire say the same.
                known.confidence = Confidence::Certain;
            }
        } else if lost.is_of_websockets() {
            let symptom = format!("{} answers {status}", lost.newest.path().unwrap_or("?"));
            let confidence = if is_typical(status) { Confidence::Certain } else { Confidence::Likely };
            out.push(Witness { spot: lost.spot, symptom, confidence, evidence: vec![evidence] });
        }
    }
}

fn lost_on_the_way<'a>(model: &'a Model, cases: &[Case<'a>]) -> Vec<Lost<'a>> {
    let mut out: Vec<Lost<'a>> = Vec::new();
    for h in model.handshakes.recent().into_iter().filter(|h| model.now.since(h.at) <= FRESH) {
        let Some(spot) = spot_of_handshake(model, h) else { continue };
        let first = faults(spot.location).first().copied();
        if !first.is_some_and(|f| shows(f, h)) || !h.status().is_some_and(tells_of_headers) || is_refuted(cases, spot) {
            continue;
        }
        match out.iter_mut().find(|l| l.spot.is(spot)) {
            Some(known) => known.count += 1,
            None => out.push(Lost { spot, newest: h, count: 1 }),
        }
    }
    out
}

/// The fault is there to be seen in what nginx passed on.
fn shows(fault: Fault, h: &Handshake) -> bool {
    let (upgrade, connection) = (h.lost_upgrade() == Some(true), h.lost_connection() == Some(true));
    match fault {
        Fault::Lost => upgrade || connection,
        Fault::UpgradeMissing | Fault::UpgradeWrong => upgrade,
        Fault::ConnectionMissing | Fault::ConnectionWrong => connection,
        Fault::OldVersion => {
            h.asks_websocket() && h.upstream_request.as_ref().is_some_and(|r| r.line.ends_with(" HTTP/1.0"))
        }
    }
}

/// A probe opens that location now, or its backend refuses directly too: then the headers are not what is wrong.
fn is_refuted(cases: &[Case<'_>], spot: Spot<'_>) -> bool {
    let mut there = cases.iter().filter(|c| c.spot.is_some_and(|s| s.is(spot)));
    there.any(|c| c.works() || c.direct_status().is_some())
}

impl Lost<'_> {
    /// Clients of all kinds send `Upgrade` to places where no WebSocket is: only a location that means one, or an answer
    /// that speaks of one, accuses nginx.
    fn is_of_websockets(&self) -> bool {
        self.spot.location.means_websocket() || self.newest.upstream_answer.as_ref().is_some_and(speaks_websocket)
    }

    fn evidence(&self) -> Evidence {
        let h = self.newest;
        let lost = [(h.lost_upgrade(), "Upgrade: websocket"), (h.lost_connection(), "Connection: upgrade")];
        let lost: Vec<&str> = lost.iter().filter(|(lost, _)| *lost == Some(true)).map(|(_, name)| *name).collect();
        let without = if lost.is_empty() { String::new() } else { format!(" without {}", lost.join(" and ")) };
        let line = h.upstream_request.as_ref().map_or("", |r| r.line.as_str());
        let answer = h.upstream_answer.as_ref().or(h.answer.as_ref()).map_or("", |a| a.line.as_str());
        let times = if self.count > 1 { format!(" ({} such handshakes lately)", self.count) } else { String::new() };
        let who = if h.is_ours() { "a probe" } else { "a client" };
        let said = format!(
            "{who} asked {} for a WebSocket; nginx passed on \"{line}\"{without}, and got \"{answer}\"{times}",
            h.path().unwrap_or("?")
        );
        Evidence::new(EvidenceKind::Log, said).at(h.at)
    }
}

/// 426, or a header that only WebSocket servers send with a refusal (RFC 6455 section 4.4, RFC 9110 section 15.5.22).
fn speaks_websocket(answer: &Head) -> bool {
    let upgrade = || answer.header("Upgrade").is_some_and(|v| v.eq_ignore_ascii_case("websocket"));
    answer.status() == Some(426) || answer.header("Sec-WebSocket-Version").is_some() || upgrade()
}
