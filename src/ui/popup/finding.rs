//! One finding, or all: what it is, what it comes from, what was seen, and the fix word for word.

use ratatui::text::{Line, Span};

use crate::diagnose::finding::{Evidence, EvidenceKind, Finding};
use crate::human;

use super::super::light::Light;
use super::super::panes::{findings, header};
use super::super::snapshot::Snapshot;
use super::super::snapshot::finding::FindingRow;
use super::super::text::{cut_before_place, wrap};
use super::super::theme::Tone;
use super::{NAME, Page, patch};

/// Causes of causes that are followed.
const DEEPEST: usize = 4;
/// Blanks between what was seen and where.
const APART: usize = 3;

/// All findings, those that hold no longer, and what could not be seen.
pub(super) fn all(page: &mut Page<'_>, snap: &Snapshot) {
    if snap.findings.is_empty() {
        page.exact("Nothing is wrong as far as can be seen.", Tone::Plain);
    }
    for (n, row) in snap.findings.iter().enumerate() {
        if row.over.is_some() && n.checked_sub(1).is_none_or(|before| snap.findings[before].over.is_none()) {
            page.head("No longer");
        }
        page.blank();
        let sign = page.look.span(row.light.tone(), row.light.sign());
        let id = page.look.span(Tone::Strong, format!(" {}", row.finding.id));
        page.lines.push(Line::from(vec![sign, id]));
        write(page, snap, row, None);
    }
    let poor: Vec<_> = snap.sources.iter().filter(|s| header::light(s.sight) <= Light::Warn).collect();
    if !poor.is_empty() {
        page.head("What could not be seen");
    }
    for s in poor {
        let remedy = s.remedy.as_ref().map_or_else(String::new, |r| format!("; {r}"));
        page.toned(s.kind.word(), &format!("{}{remedy}", s.said), header::light(s.sight).tone());
    }
}

/// The whole page of one. `key` copies its patch.
pub(super) fn write(page: &mut Page<'_>, snap: &Snapshot, row: &FindingRow, key: Option<&str>) {
    let f = &row.finding;
    for line in wrap(&f.said, page.width) {
        page.lines.push(Line::from(page.look.span(Tone::Strong, line)));
    }
    state(page, row);
    causes(page, snap, f);
    evidence(page, f);
    fix(page, f, key);
}

fn state(page: &mut Page<'_>, row: &FindingRow) {
    let f = &row.finding;
    let sure = format!("{:?}", f.confidence).to_lowercase();
    let when = findings::when(row, page.look).map_or_else(String::new, |when| format!("   {when}"));
    let said = format!("{} {}, {sure}", row.light.sign(), f.severity.word());
    let spans = vec![page.look.span(row.light.word_tone(), said), page.look.span(Tone::Muted, when)];
    page.named("severity", spans);
    if !row.about.is_empty() {
        page.pair("about", &row.about);
    }
}

/// What it comes from, and what that comes from; then what comes from it.
///
/// ```text
/// because of  ✖ upgrade-header-missing   /ws: nginx does not pass Upgrade on, a.conf:31
///               because of ▲ config-not-reloaded
/// leads to    · client-reset   /ws: clients reset 4 tunnels
/// ```
fn causes(page: &mut Page<'_>, snap: &Snapshot, f: &Finding) {
    let mut told = vec![f.id];
    let mut level: Vec<&'static str> = f.because.clone();
    for depth in 0..DEEPEST {
        level.retain(|id| !told.contains(id));
        let next = level.iter().filter_map(|id| found(snap, id)).flat_map(|r| r.finding.because.clone()).collect();
        for (n, id) in level.iter().enumerate() {
            let name = if depth == 0 && n == 0 { "because of" } else { "" };
            let lead = if depth == 0 { String::new() } else { format!("{}because of ", "  ".repeat(depth)) };
            one(page, name, &lead, id, found(snap, id));
        }
        told.extend(std::mem::replace(&mut level, next));
    }
    let results = snap.findings.iter().filter(|r| r.over.is_none() && r.finding.because.contains(&f.id));
    for (n, row) in results.enumerate() {
        one(page, if n == 0 { "leads to" } else { "" }, "", row.finding.id, Some(row));
    }
}

fn found<'a>(snap: &'a Snapshot, id: &str) -> Option<&'a FindingRow> {
    snap.findings.iter().find(|r| r.over.is_none() && r.finding.id == id)
}

fn one(page: &mut Page<'_>, name: &str, lead: &str, id: &str, row: Option<&FindingRow>) {
    let look = page.look;
    let light = row.map_or(Light::None, |r| r.light);
    let mut spans = vec![
        look.span(Tone::Muted, lead.to_owned()),
        look.span(light.tone(), light.sign()),
        look.span(Tone::Plain, format!(" {id}")),
    ];
    let used = NAME + human::width(lead) + 2 + human::width(id) + APART;
    let room = page.width.saturating_sub(used);
    if let Some(said) = row.map(|r| r.finding.said.as_str()).filter(|_| room >= NAME) {
        let said = cut_before_place(said, room).into_owned();
        spans.push(look.span(Tone::Muted, format!("{:APART$}{said}", "")));
    }
    page.named(name, spans);
}

/// What was seen, by where it was seen, each with its moment and its line.
fn evidence(page: &mut Page<'_>, f: &Finding) {
    let mut kinds: Vec<EvidenceKind> = Vec::new();
    for e in &f.evidence {
        if !kinds.contains(&e.kind) {
            kinds.push(e.kind);
        }
    }
    for kind in kinds {
        for (n, e) in f.evidence.iter().filter(|e| e.kind == kind).enumerate() {
            let name = if n == 0 { format!("{kind:?}").to_lowercase() } else { String::new() };
            seen(page, &name, e);
        }
    }
}

fn seen(page: &mut Page<'_>, name: &str, e: &Evidence) {
    let at = e.at.map_or_else(String::new, |t| format!("{}  ", page.look.clock(t)));
    let room = page.width.saturating_sub(NAME + at.len());
    let place = match (&e.file, e.line) {
        (Some(file), Some(line)) => Some(format!("{file}:{line}")),
        (file, _) => file.clone(),
    };
    let lines = wrap(&e.said, room);
    let last = lines.len().saturating_sub(1);
    let beside = |line: &str| place.as_ref().filter(|p| human::width(line) + APART + human::width(p) <= room);
    for (n, line) in lines.iter().enumerate() {
        let (name, at) = if n == 0 { (name, at.clone()) } else { ("", " ".repeat(at.len())) };
        let mut spans = vec![page.look.span(Tone::Faint, at), page.look.span(Tone::Plain, line.clone())];
        let here = beside(line).filter(|_| n == last);
        spans.extend(here.map(|p| page.look.span(Tone::Muted, format!("{:APART$}{p}", ""))));
        page.named(name, spans);
    }
    let alone = place.as_ref().filter(|_| lines.last().is_none_or(|line| beside(line).is_none()));
    if let Some(place) = alone {
        let indent = page.look.span(Tone::Plain, " ".repeat(at.len()));
        let place = page.look.span(Tone::Muted, human::cut_front(place, room).into_owned());
        page.named(if lines.is_empty() { name } else { "" }, vec![indent, place]);
    }
}

/// The patch word for word, and the command that proves it.
fn fix(page: &mut Page<'_>, f: &Finding, key: Option<&str>) {
    let Some(fix) = &f.fix else { return };
    let hint = key.filter(|k| !k.is_empty() && fix.patch.is_some()).map_or_else(Vec::new, |key| {
        let look = page.look;
        let key: Span<'static> = look.span(Tone::Accent, key.to_owned());
        vec![key, look.span(Tone::Muted, " copies the patch, for patch -p1 -d /")]
    });
    page.head_with("Fix", hint);
    for line in wrap(&fix.said, page.width) {
        page.lines.push(Line::from(page.look.span(Tone::Plain, line)));
    }
    if let Some(patch) = &fix.patch {
        page.blank();
        for line in patch::lines(patch, page.look, page.width.saturating_sub(2)) {
            let mut spans = vec![page.look.span(Tone::Plain, "  ")];
            spans.extend(line);
            page.lines.push(Line::from(spans));
        }
        page.blank();
    }
    if let Some(check) = &fix.check {
        page.toned("then", check, Tone::Accent);
    }
}
