//! What logs said as Markdown, to paste into a ticket.

use std::fmt::Write as _;

use super::super::markdown::{code, inert};
use super::data::{LogsReport, TopRow};
use super::handshakes;
use super::text::{band, count, fits, lifetime, lifetimes, ranked, summary, together};
use crate::human;

/// The whole report as Markdown.
#[must_use]
pub fn logs_markdown(report: &LogsReport) -> String {
    let mut out = String::from("# Logs\n\n");
    for said in summary(report) {
        let _ = writeln!(out, "- {}", inert(&said));
    }
    files(&mut out, report);
    let levels: Vec<_> = report.by_level.iter().map(|(l, n)| (l.word().to_owned(), human::grouped(*n))).collect();
    table(&mut out, "Levels", "Level", &levels);
    let categories: Vec<_> =
        ranked(report).into_iter().map(|(c, n)| (c.word().to_owned(), human::grouped(n))).collect();
    table(&mut out, "Categories", "Category", &categories);
    let statuses: Vec<_> = report.by_status.iter().map(|(s, n)| (format!("{s:03}"), human::grouped(*n))).collect();
    table(&mut out, "Statuses", "Status", &statuses);
    let top = &report.top;
    table(&mut out, "Clients", "Client", &names(&top.clients));
    table(&mut out, "Upstreams", "Upstream", &names(&top.upstreams));
    table(&mut out, "Locations", "Path", &names(&top.locations));
    table(&mut out, "Messages", "Message", &names(&top.messages));
    sessions(&mut out, report);
    seen(&mut out, report);
    backend(&mut out, report);
    if !report.not_visible.is_empty() {
        let _ = writeln!(out, "\n## Not visible\n");
    }
    for note in &report.not_visible {
        let _ = writeln!(out, "- {}", inert(note));
    }
    out
}

fn files(out: &mut String, report: &LogsReport) {
    let _ = writeln!(out, "\n## Files\n\n| File | Kind | Bytes | |\n|---|---|---:|---|");
    for f in &report.files {
        let error = f.error.as_deref().map(inert).unwrap_or_default();
        let _ = writeln!(out, "| {} | {} | {} | {error} |", inert(&f.path), f.kind, human::grouped(f.bytes));
    }
}

fn names(rows: &[TopRow]) -> Vec<(String, String)> {
    // A pipe ends a cell even inside a code span.
    let shown = |name: &str| if name.contains('|') { inert(name) } else { code(name) };
    rows.iter().map(|r| (shown(&r.name), count(r))).collect()
}

fn table(out: &mut String, title: &str, column: &str, rows: &[(String, String)]) {
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n## {title}\n\n| {column} | Lines |\n|---|---:|");
    for (name, n) in rows {
        let _ = writeln!(out, "| {name} | {n} |");
    }
}

fn sessions(out: &mut String, report: &LogsReport) {
    let s = &report.sessions;
    if s.count == 0 {
        return;
    }
    let ended = human::counted(s.count, "tunnel ended", "tunnels ended");
    let lives = lifetimes(report).map_or_else(String::new, |l| format!("; {l}"));
    let _ = writeln!(out, "\n## Sessions\n\n{ended}{lives}.\n");
    for spike in &s.lifetimes.spikes {
        let age = lifetime(spike.at);
        let _ = writeln!(out, "- {} ended at an age of {age}{}", human::grouped(spike.count), inert(&fits(spike)));
    }
    for burst in &s.bursts {
        let _ = writeln!(out, "- {}", inert(&together(burst, report.zone)));
    }
    let bands: Vec<_> = s.lifetimes.histogram.iter().map(|b| (band(b), human::grouped(b.count))).collect();
    table(out, "Lifetimes", "Lived", &bands);
}

fn seen(out: &mut String, report: &LogsReport) {
    let Some(counts) = report.handshakes.as_ref().and_then(handshakes::counts) else { return };
    let _ = writeln!(out, "\n## Handshakes seen\n\n{counts}.\n\n| Time | Status | Request | |\n|---|---|---|---|");
    for told in handshakes::last(report) {
        let lost = told.lost.unwrap_or_default();
        let _ = writeln!(out, "| {} | {} | {} | {lost} |", told.at, told.status, inert(&told.request));
    }
}

fn backend(out: &mut String, report: &LogsReport) {
    let Some(b) = &report.backend else { return };
    let (lines, known) = (human::counted(b.lines, "line", "lines"), human::grouped(b.recognised));
    let _ = writeln!(out, "\n## Backend\n\n{lines}, {known} with a known message.");
    if !b.messages.is_empty() {
        let _ = writeln!(out, "\n| Library | Message | Lines | It means |\n|---|---|---:|---|");
    }
    for m in &b.messages {
        let (library, words, n) = (inert(&m.library), inert(&m.words), human::grouped(m.count));
        let _ = writeln!(out, "| {library} | {words} | {n} | {} |", m.meaning);
    }
}
