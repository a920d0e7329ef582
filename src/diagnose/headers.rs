//! Rules about the upgrade headers and the HTTP version that nginx sends to the backend.

use crate::event::site::{Header, Location, Site};
use crate::model::Model;
use crate::nginx::conf::Directive;

use super::finding::{Confidence, Evidence, EvidenceKind, Finding, Fix, Severity};
use super::look::{Case, FRESH, Spot, cases, short, spot_of_access};
use super::patch::{Patch, argument, begins};

/// The ids of all faults.
pub(super) const IDS: [&str; 6] = [
    Fault::Lost.id(),
    Fault::UpgradeMissing.id(),
    Fault::UpgradeWrong.id(),
    Fault::ConnectionMissing.id(),
    Fault::ConnectionWrong.id(),
    Fault::OldVersion.id(),
];

/// What a location does wrong on the way to the backend, most telling first.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Lost,
    UpgradeMissing,
    UpgradeWrong,
    ConnectionMissing,
    ConnectionWrong,
    OldVersion,
}

impl Fault {
    const fn id(self) -> &'static str {
        match self {
            Self::Lost => "headers-lost-by-inheritance",
            Self::UpgradeMissing => "upgrade-header-missing",
            Self::UpgradeWrong => "upgrade-header-wrong-value",
            Self::ConnectionMissing => "connection-header-missing",
            Self::ConnectionWrong => "connection-header-wrong",
            Self::OldVersion => "http-version-too-old",
        }
    }

    /// What is wrong, as the end of a sentence.
    pub(super) fn cause(self, l: &Location) -> String {
        let value = |name: &str| l.header(name).map_or("", |h| h.value.as_str()).to_owned();
        match self {
            Self::Lost => "the upgrade headers are lost by inheritance".into(),
            Self::UpgradeMissing if faults(l).contains(&Self::ConnectionMissing) => {
                "nginx does not pass the Upgrade and Connection headers on".into()
            }
            Self::UpgradeMissing => "nginx does not pass the Upgrade header on".into(),
            Self::UpgradeWrong => format!("the Upgrade header is set to {}, which is not websocket", value("upgrade")),
            Self::ConnectionMissing => "the Connection header is not set to upgrade".into(),
            Self::ConnectionWrong => {
                format!("the Connection header is set to \"{}\" instead of upgrade", value("connection"))
            }
            Self::OldVersion => "nginx speaks HTTP/1.0 to the backend".into(),
        }
    }
}

fn is_upgrade(h: &Header) -> bool {
    h.name.eq_ignore_ascii_case("upgrade")
}

fn is_connection(h: &Header) -> bool {
    h.name.eq_ignore_ascii_case("connection")
}

/// The faults of a proxied location; a value that cannot be told for sure is no fault.
pub(super) fn faults(l: &Location) -> Vec<Fault> {
    let mut out = Vec::new();
    if l.proxy_pass.is_none() {
        return out;
    }
    let (upgrade, connection) = (l.header("upgrade"), l.header("connection"));
    let lost = |own: Option<&Header>, is: fn(&Header) -> bool| own.is_none() && l.lost_headers.iter().any(is);
    if lost(upgrade, is_upgrade) || lost(connection, is_connection) {
        out.push(Fault::Lost);
    }
    match upgrade.map(|h| (h.value.as_str(), h.for_websocket.as_deref())) {
        None | Some(("", _) | (_, Some(""))) => out.push(Fault::UpgradeMissing),
        Some((_, Some(v))) if !v.eq_ignore_ascii_case("websocket") => out.push(Fault::UpgradeWrong),
        Some(_) => {}
    }
    match connection.map(|h| (h.value.as_str(), h.for_websocket.as_deref())) {
        None => out.push(Fault::ConnectionMissing),
        Some(("", _)) => out.push(Fault::ConnectionWrong),
        Some((_, Some(v))) if !has_upgrade_token(v) => out.push(Fault::ConnectionWrong),
        Some(_) => {}
    }
    if l.http_version.value == "1.0" {
        out.push(Fault::OldVersion);
    }
    out
}

/// RFC 6455 section 4.2.1: a token among others, without regard to case.
fn has_upgrade_token(value: &str) -> bool {
    value.split(',').any(|t| t.trim().eq_ignore_ascii_case("upgrade"))
}

/// Statuses with which backends refuse a request that lost its upgrade headers. Redirects, credentials, denials and
/// nginx's own gateway errors have other causes.
fn tells_of_headers(status: u16) -> bool {
    matches!(status, 200 | 204 | 400 | 404 | 405 | 406 | 412 | 421 | 422 | 426 | 500 | 501 | 505)
}

/// These statuses hardly mean anything else.
fn is_typical(status: u16) -> bool {
    matches!(status, 400 | 405 | 426 | 501 | 505)
}

/// Evidence that handshakes fail at a location with faulty headers.
struct Witness<'a> {
    spot: Spot<'a>,
    symptom: String,
    confidence: Confidence,
    evidence: Vec<Evidence>,
}

fn witnesses(model: &Model) -> Vec<Witness<'_>> {
    let cases = cases(model);
    let mut out: Vec<Witness<'_>> = cases.iter().filter_map(by_probe).collect();
    for witness in by_access(model, &cases) {
        match out.iter_mut().find(|w| w.spot.is(witness.spot)) {
            Some(known) => known.evidence.extend(witness.evidence),
            None => out.push(witness),
        }
    }
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
        let Some(spot) = spot_of_access(model, &refused.entry).filter(|s| s.location.means_websocket()) else {
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

/// So many locations are named; a host that writes it everywhere knows after the first few.
const NAMED: usize = 3;

/// `Connection "upgrade"` on every request: WebSockets work, plain requests of that location carry it, too.
pub(super) fn hardcoded(model: &Model) -> Vec<Finding> {
    let cases = cases(model);
    let asked: Vec<Spot<'_>> = cases.iter().filter_map(|c| c.spot).collect();
    let all = model.site.iter().flat_map(Site::locations).map(|(server, location)| Spot { server, location });
    let meant = all.filter(|s| if asked.is_empty() { true } else { asked.iter().any(|a| a.is(*s)) });
    let fixed = meant.filter_map(|spot| {
        let h = spot.location.header("connection").filter(|_| spot.location.forwards_upgrade())?;
        (!h.value.contains('$') && has_upgrade_token(&h.value)).then_some((spot, h))
    });
    let found = fixed.take(NAMED).map(|(spot, h)| {
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
fn evidence_of(l: &Location, fault: Fault) -> Evidence {
    match fault {
        Fault::Lost => {
            let lost: Vec<&str> = l.lost_headers.iter().map(|h| h.name.as_str()).collect();
            let own = l.headers.first().map_or(&l.place, |h| &h.place);
            let said = format!("a proxy_set_header of its own makes location {} lose {}", l.path, lost.join(", "));
            Evidence::config(own, said)
        }
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

fn at_pass(l: &Location) -> &crate::event::site::Place {
    l.proxy_pass.as_ref().and_then(|p| p.place.as_ref()).unwrap_or(&l.place)
}

fn header_evidence(l: &Location, name: &str) -> Evidence {
    l.header(name).map_or_else(
        || Evidence::config(&l.place, format!("no {name} header")),
        |h| Evidence::config(&h.place, format!("proxy_set_header {} \"{}\"", h.name, h.value)),
    )
}

/// The lines that a location lacks or has wrong, as they should be.
struct Cure {
    version: bool,
    upgrade: Option<String>,
    connection: Option<String>,
}

impl Cure {
    fn of(site: Option<&Site>, l: &Location, all: &[Fault]) -> Self {
        let has = |f| all.contains(&f);
        // What an outer level said is repeated word for word: its map is known to exist.
        let lost = |is: fn(&Header) -> bool, good: fn(&str) -> bool| {
            let said = l.lost_headers.iter().rev().find(|h| is(h));
            said.filter(|h| h.for_websocket.as_deref().is_none_or(good)).map(|h| h.value.clone())
        };
        let upgrade = (has(Fault::UpgradeMissing) || has(Fault::UpgradeWrong)).then(|| {
            lost(is_upgrade, |v| v.eq_ignore_ascii_case("websocket")).unwrap_or_else(|| "$http_upgrade".into())
        });
        let connection = (has(Fault::ConnectionMissing) || has(Fault::ConnectionWrong)).then(|| {
            let map = site.and_then(|s| s.upgrade_map.clone());
            lost(is_connection, has_upgrade_token).or(map).unwrap_or_else(|| "upgrade".into())
        });
        Self { version: has(Fault::OldVersion), upgrade, connection }
    }

    fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let upgrade = self.upgrade.as_deref().map(|v| ("Upgrade", v));
        upgrade.into_iter().chain(self.connection.as_deref().map(|v| ("Connection", v)))
    }

    fn lines(&self) -> Vec<String> {
        let version = self.version.then(|| "proxy_http_version 1.1;".to_owned());
        version.into_iter().chain(self.headers().map(|(name, value)| header_line(name, value))).collect()
    }

    /// The same as changes of the files.
    fn patch(&self, site: &Site, l: &Location) -> Option<String> {
        let mut patch = Patch::of(site);
        if self.version {
            patch.set(l, l.http_version.place.as_ref(), "proxy_http_version", "1.1");
        }
        let mut new = Vec::new();
        for (name, value) in self.headers() {
            match l.header(name).filter(|_| l.own_headers) {
                Some(h) => {
                    let is = |d: &Directive| begins(d, &["proxy_set_header", name]);
                    patch.replace(&h.place, is, &header_line(name, value));
                }
                None => new.push(header_line(name, value)),
            }
        }
        // One line of its own makes a location lose all that it inherits: that is said again.
        let known = |h: &&Header| self.headers().all(|(name, _)| !h.name.eq_ignore_ascii_case(name));
        let inherited: Vec<&Header> = match l.own_headers {
            false if !new.is_empty() => l.headers.iter().filter(known).collect(),
            false => Vec::new(),
            // Backends that compare Origin with Host need the Host that the outer level sends.
            true => {
                let host = |h: &&Header| h.name.eq_ignore_ascii_case("host");
                let lost = l.lost_headers.iter().rev().find(host).filter(|_| l.header("host").is_none());
                lost.filter(|_| !new.is_empty()).into_iter().collect()
            }
        };
        new.extend(inherited.into_iter().map(|h| header_line(&h.name, &h.value)));
        patch.insert(l, &new);
        patch.finish()
    }
}

fn header_line(name: &str, value: &str) -> String {
    format!("proxy_set_header {} {};", argument(name), argument(value))
}

fn fix(site: Option<&Site>, l: &Location, fault: Fault, all: &[Fault]) -> Fix {
    let cure = Cure::of(site, l, all);
    let evidence = evidence_of(l, fault);
    let line = evidence.line.unwrap_or(l.place.line);
    let place = crate::event::site::Place { file: evidence.file.unwrap_or_else(|| l.place.file.clone()), line };
    let verb = match fault {
        Fault::UpgradeWrong | Fault::ConnectionWrong => "set",
        Fault::Lost => "repeat",
        _ => "add",
    };
    let said = format!("{verb} in location {}: {}", l.path, cure.lines().join(" "));
    Fix { patch: site.and_then(|s| cure.patch(s, l)), ..Fix::config(&place, said) }
}
