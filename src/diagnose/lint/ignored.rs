//! Findings that a comment in the configuration asks not to be told, and comments that keep nothing from being told.

use std::collections::HashMap;

use crate::event::site::{Ignore, Place, Site};

use super::super::finding::{Evidence, EvidenceKind, Finding};

/// Parts the findings that no comment covers from the others.
pub(in crate::diagnose) fn part(site: Option<&Site>, findings: Vec<Finding>) -> (Vec<Finding>, Vec<Finding>) {
    let Some(site) = site.filter(|s| !s.ignores.is_empty()) else { return (findings, Vec::new()) };
    let told = |f: &Finding| {
        let asked: Vec<&Ignore> = site.ignores.iter().filter(|i| i.ids.iter().any(|id| id == f.id)).collect();
        let places = if asked.is_empty() { Vec::new() } else { places(site, f) };
        !asked.iter().any(|i| places.iter().any(|p| i.covers(p)))
    };
    findings.into_iter().partition(told)
}

/// The comments' ids that keep none of these findings from being told.
#[must_use]
pub fn unused<'a>(site: &'a Site, ignored: &[Finding]) -> Vec<(&'a Ignore, &'a str)> {
    let mut by_id: HashMap<&str, Vec<Place>> = HashMap::new();
    for f in ignored {
        by_id.entry(f.id).or_default().extend(places(site, f));
    }
    let all = site.ignores.iter().flat_map(|i| i.ids.iter().map(move |id| (i, id.as_str())));
    all.filter(|(i, id)| !by_id.get(id).is_some_and(|all| all.iter().any(|p| i.covers(p)))).collect()
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
