//! Findings that a comment in the configuration asks not to be told, and comments that keep nothing from being told.

use crate::event::site::{Ignore, Place, Site};

use super::super::finding::{Evidence, EvidenceKind, Finding};

/// Parts the findings that a comment covers from the others.
pub(in crate::diagnose) fn part(site: Option<&Site>, findings: Vec<Finding>) -> (Vec<Finding>, Vec<Finding>) {
    let Some(site) = site.filter(|s| !s.ignores.is_empty()) else { return (findings, Vec::new()) };
    findings.into_iter().partition(|f| !site.ignores.iter().any(|i| keeps(site, i, f)))
}

/// The comment asks for this finding not to be told.
#[must_use]
pub fn keeps(site: &Site, ignore: &Ignore, f: &Finding) -> bool {
    ignore.ids.iter().any(|id| id == f.id) && places(site, f).iter().any(|p| ignore.covers(p))
}

/// The lines that a finding speaks of: where it shows, where it is mended, and the location that it is about.
fn places(site: &Site, f: &Finding) -> Vec<Place> {
    let place = |file: &Option<String>, line: Option<u32>| Some(Place { file: file.clone()?, line: line.unwrap_or(0) });
    let shown = |e: &&Evidence| e.kind == EvidenceKind::Config && e.file.is_some();
    let first = f.evidence.iter().find(shown).and_then(|e| place(&e.file, e.line));
    let fixed = f.fix.as_ref().and_then(|x| place(&x.file, x.line));
    let mut out: Vec<Place> = first.into_iter().chain(fixed).collect();
    if let Some(path) = &f.subject.location {
        let is = |s: &crate::event::site::Server| s.names.first() == f.subject.server.as_ref();
        out.extend(site.locations().filter(|(s, l)| is(s) && l.path == *path).map(|(_, l)| l.place.clone()));
    }
    out
}
