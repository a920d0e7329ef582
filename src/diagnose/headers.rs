//! Rules about the upgrade headers and the HTTP version that nginx sends to the backend.

use std::rc::Rc;

use crate::event::site::{Header, Location, Site};
use crate::model::Model;

use super::cure::Cure;
pub(super) use super::faults::{Fault, IDS, faults};
use super::faults::{has_upgrade_token, is_typical};
use super::finding::{Confidence, Evidence, Finding, Fix, Severity};
use super::look::{Case, Spot, cases, short};
use super::patch::Trees;
use super::witness::{Witness, witnesses};

/// The findings whose first fault is `fault`: one a location, the other faults stand as evidence beside it.
pub(super) fn faulty(model: &Model, fault: Fault) -> Vec<Finding> {
    let mut out = Vec::new();
    for witness in witnesses(model) {
        let all = faults(witness.spot.location);
        if all.first() == Some(&fault) {
            out.push(finding(model.site.as_ref(), witness, fault, &all));
        }
    }
    out
}

fn finding(site: Option<&Site>, witness: Witness<'_>, fault: Fault, all: &[Fault]) -> Finding {
    let spot = witness.spot;
    let first = evidence_of(spot.location, fault);
    let place = first.file.clone().zip(first.line);
    let at = place.map(|(file, line)| short(&crate::event::site::Place { file, line }));
    let said = format!("{}: {}, {}", witness.symptom, fault.cause(spot.location), at.unwrap_or_default());
    let others = all.iter().filter(|f| **f != fault && (fault != Fault::Lost || **f == Fault::OldVersion));
    let beside: Vec<Evidence> = others.map(|f| evidence_of(spot.location, *f)).collect();
    Finding::new(fault.id(), Severity::Critical, witness.confidence, spot.subject(), said)
        .seen([first])
        .seen(beside)
        .seen(witness.evidence)
        .fixed_by(fix(site, spot.location, fault, all))
}

/// A header whose value cannot be told from the configuration, where the backend refuses just as if it were wrong, and accepts
/// the same handshake directly: a misspelt variable, or a map of one that clients do not send. 426 says enough by itself.
pub(super) fn suspected(model: &Model, case: &Case<'_>) -> Option<Finding> {
    let tells = |s: &u16| (is_typical(*s) && case.direct_works()) || (*s == 426 && case.twin.is_none());
    let status = case.status().filter(tells)?;
    let spot = case.spot.filter(|s| s.location.proxy_pass.is_some() && faults(s.location).is_empty())?;
    let unknown = |name: &str| spot.location.header(name).filter(|h| h.for_websocket.is_none());
    let suspects = [(unknown("upgrade"), Fault::UpgradeWrong), (unknown("connection"), Fault::ConnectionWrong)];
    let (headers, all): (Vec<&Header>, Vec<Fault>) = suspects.into_iter().filter_map(|(h, f)| Some((h?, f))).unzip();
    let (first, header) = (*all.first()?, *headers.first()?);
    let want = if first == Fault::UpgradeWrong { "websocket" } else { "upgrade" };
    let Header { name, value, place, .. } = header;
    let witness = Witness { spot, symptom: case.symptom(), confidence: Confidence::Likely, evidence: case.evidence() };
    let mut found = finding(model.site.as_ref(), witness, first, &all);
    found.said = format!(
        "{}: {name} is set to {value}, which hardly becomes {want} in a handshake: the backend answers {status} as if it did not, {}",
        case.symptom(),
        short(place)
    );
    Some(found)
}

/// So many locations are named; a host that writes it everywhere knows after the first few.
const NAMED: usize = 3;

/// `Connection "upgrade"` on every request: WebSockets work, plain requests of that location carry it, too.
pub(super) fn hardcoded(model: &Model) -> Vec<Finding> {
    hardcoded_at(model, NAMED)
}

/// The same of at most `most` locations.
pub(super) fn hardcoded_at(model: &Model, most: usize) -> Vec<Finding> {
    let cases = cases(model);
    let asked: Vec<Spot<'_>> = cases.iter().filter_map(|c| c.spot).collect();
    let all = model.site.iter().flat_map(Site::locations).map(|(server, location)| Spot { server, location });
    let meant = all.filter(|s| if asked.is_empty() { true } else { asked.iter().any(|a| a.is(*s)) });
    let fixed = meant.filter_map(|spot| {
        let h = spot.location.header("connection").filter(|_| spot.location.forwards_upgrade())?;
        (!h.value.contains('$') && has_upgrade_token(&h.value)).then_some((spot, h))
    });
    let found = fixed.take(most).map(|(spot, h)| {
        let said = format!(
            "{}: Connection is set to \"{}\" for every request, also for plain ones, {}",
            spot.location.path,
            h.value,
            short(&h.place)
        );
        let map = model.site.as_ref().and_then(|s| s.upgrade_map.clone());
        let value = map.unwrap_or_else(|| "$connection_upgrade, with a map of $http_upgrade".into());
        let fix = Fix::config(&h.place, format!("proxy_set_header Connection {value};"));
        Finding::new("connection-upgrade-hardcoded", Severity::Info, Confidence::Certain, spot.subject(), said)
            .seen([header_evidence(spot.location, "connection")])
            .fixed_by(fix)
    });
    found.collect()
}

/// The configuration line that shows the fault.
pub(super) fn evidence_of(l: &Location, fault: Fault) -> Evidence {
    match fault {
        Fault::Lost => {
            let lost: Vec<&str> = l.lost_headers.iter().map(|h| h.name.as_str()).collect();
            let own = l.headers.first().map_or(&l.place, |h| &h.place);
            let said = format!("a proxy_set_header of its own makes location {} lose {}", l.path, lost.join(", "));
            Evidence::config(own, said)
        }
        Fault::UpgradeMissing if l.header("upgrade").is_some() => header_evidence(l, "upgrade"),
        Fault::UpgradeMissing => Evidence::config(at_pass(l), format!("location {} sends no Upgrade header", l.path)),
        Fault::ConnectionMissing => {
            Evidence::config(at_pass(l), format!("location {} sets no Connection header", l.path))
        }
        Fault::UpgradeWrong => header_evidence(l, "upgrade"),
        Fault::ConnectionWrong => header_evidence(l, "connection"),
        Fault::OldVersion => {
            let place = l.http_version.place.as_ref().unwrap_or_else(|| at_pass(l));
            let why = if l.http_version.place.is_some() { "is set" } else { "is the default of this nginx" };
            Evidence::config(place, format!("proxy_http_version 1.0 {why}"))
        }
    }
}

pub(super) fn at_pass(l: &Location) -> &crate::event::site::Place {
    l.proxy_pass.as_ref().and_then(|p| p.place.as_ref()).unwrap_or(&l.place)
}

pub(super) fn header_evidence(l: &Location, name: &str) -> Evidence {
    l.header(name).map_or_else(
        || Evidence::config(&l.place, format!("no {name} header")),
        |h| Evidence::config(&h.place, format!("proxy_set_header {} \"{}\"", h.name, h.value)),
    )
}

fn fix(site: Option<&Site>, l: &Location, fault: Fault, all: &[Fault]) -> Fix {
    fix_by(&Cure::of(site, l, all), site.map(Trees::of), l, fault)
}

/// The cure of a location whose first fault is `fault`, in words and as a patch.
pub(super) fn fix_by(cure: &Cure, trees: Option<Rc<Trees<'_>>>, l: &Location, fault: Fault) -> Fix {
    let evidence = evidence_of(l, fault);
    let line = evidence.line.unwrap_or(l.place.line);
    let place = crate::event::site::Place { file: evidence.file.unwrap_or_else(|| l.place.file.clone()), line };
    let verb = match fault {
        Fault::UpgradeWrong | Fault::ConnectionWrong => "set",
        Fault::Lost => "repeat",
        _ => "add",
    };
    let said = format!("{verb} in location {}: {}", l.path, cure.lines().join(" "));
    Fix { patch: trees.and_then(|t| cure.patch(t, l)), ..Fix::config(&place, said) }
}
