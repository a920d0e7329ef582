//! Rules about lines of the configuration that do less, or more, than they seem to.

use crate::event::site::{Remark, Remarkable, Site};
use crate::model::Model;

use super::finding::{Confidence, Evidence, Finding, Fix, Severity};
use super::look::{Spot, cases, short};

/// So many locations are named of one kind.
const NAMED: usize = 3;

/// The remarks of one kind on the locations that were asked about, or on all.
fn remarked(model: &Model, what: Remarkable, most: usize) -> impl Iterator<Item = (Spot<'_>, &Remark)> {
    let asked: Vec<Spot<'_>> = cases(model).iter().filter_map(|c| c.spot).collect();
    let meant = move |s: &Spot<'_>| asked.is_empty() || asked.iter().any(|a| a.is(*s));
    let remarks = model.site.iter().flat_map(|s| &s.remarks).filter(move |r| r.what == what);
    let placed = remarks.filter_map(|r| {
        let mut all = model.site.iter().flat_map(Site::locations);
        let (server, location) = all.find(|(_, l)| l.place == r.location)?;
        Some((Spot { server, location }, r))
    });
    placed.filter(move |(s, _)| meant(s)).take(most)
}

fn lines(remark: &Remark) -> impl Iterator<Item = Evidence> {
    remark.lines.iter().map(|(place, line)| Evidence::config(place, line.clone()))
}

/// Directives that somebody wrote into a location for WebSockets alone, as if they mattered there.
pub(super) fn ineffective(model: &Model) -> Vec<Finding> {
    ineffective_at(model, NAMED)
}

/// The same of at most `most` locations.
pub(super) fn ineffective_at(model: &Model, most: usize) -> Vec<Finding> {
    let found = remarked(model, Remarkable::WithoutEffect, most).filter_map(|(spot, remark)| {
        let (first, _) = remark.lines.first()?;
        let names: Vec<&str> = remark.lines.iter().filter_map(|(_, l)| l.split(' ').next()).collect();
        let verb = if names.len() == 1 { "does" } else { "do" };
        let said = format!("{}: {} {verb} nothing for tunnels, {}", spot.location.path, names.join(", "), short(first));
        let advice = "nothing needs to change; what bounds a silent tunnel is proxy_read_timeout, and what bounds a message is \
                      the backend's own limit";
        Some(
            Finding::new("ineffective-setting", Severity::Info, Confidence::Certain, spot.subject(), said)
                .seen(lines(remark))
                .fixed_by(Fix::new(advice)),
        )
    });
    found.collect()
}

/// `Upgrade $http_upgrade` passes on whatever a client asks for, `h2c` too: a backend that agrees then speaks HTTP/2 through
/// a tunnel in which nginx checks no request any more.
pub(super) fn upgrade_any_protocol(model: &Model) -> Vec<Finding> {
    upgrade_any_protocol_at(model, NAMED)
}

/// The same of at most `most` locations.
pub(super) fn upgrade_any_protocol_at(model: &Model, most: usize) -> Vec<Finding> {
    let found = remarked(model, Remarkable::AnyUpgrade, most).filter_map(|(spot, remark)| {
        let (upgrade, _) = remark.lines.first()?;
        let path = &spot.location.path;
        let at = short(upgrade);
        let said = format!("{path}: any Upgrade that a client asks for goes to the backend, not only websocket, {at}");
        let advice = "if the backend also speaks h2c, let only WebSockets pass: map $http_upgrade $ws_upgrade { default \"\"; \
                      ~*^websocket$ websocket; } and proxy_set_header Upgrade $ws_upgrade;";
        Some(
            Finding::new("upgrade-any-protocol", Severity::Info, Confidence::Certain, spot.subject(), said)
                .seen(lines(remark))
                .fixed_by(Fix::config(upgrade, advice)),
        )
    });
    found.collect()
}
