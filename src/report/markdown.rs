//! The report as Markdown, to paste into a ticket.

use std::fmt::Write as _;

use crate::diagnose::finding::{Finding, Status};

use super::data::Report;
use super::matrix;
use super::pairs;
use super::safe;

/// Text from outside that Markdown shall show and not obey.
pub(super) fn inert(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in safe::line(text).chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '!' | '~') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// A code span that no content can leave: its fence is longer than any run of backticks within.
pub(super) fn code(text: &str) -> String {
    let text = safe::line(text);
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    if longest > 0 { format!("{fence} {text} {fence}") } else { format!("{fence}{text}{fence}") }
}

pub(super) fn block(out: &mut String, kind: &str, text: &str) {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let _ = writeln!(out, "{fence}{kind}");
    for l in safe::lines(text) {
        let _ = writeln!(out, "{l}");
    }
    let _ = writeln!(out, "{fence}\n");
}

/// The whole report as Markdown.
#[must_use]
pub fn markdown(report: &Report) -> String {
    let mut out = String::new();
    let at: String = report.at.to_string().chars().take(19).collect();
    let _ = writeln!(out, "# {}: {}\n", report.verdict.word().to_uppercase(), inert(&report.summary));
    let nginx = report.nginx.as_ref().and_then(|n| n.version.as_ref());
    let nginx = nginx.map_or_else(String::new, |v| format!(", nginx {}", inert(v)));
    let version = inert(&report.wspulse);
    let _ = writeln!(out, "Host {}{nginx}, {at}Z, wspulse {version}.\n", inert(&report.host));
    for f in &report.findings {
        finding(&mut out, f);
    }
    let _ = writeln!(out, "## Checklist\n\n| | Check | |\n|---|---|---|");
    for c in &report.checks {
        let sign = match c.status {
            Status::Pass => "✔",
            Status::Warn => "▲",
            Status::Fail => "✖",
            Status::Skip => "·",
        };
        let _ = writeln!(out, "| {sign} | {} | {} |", c.title, inert(&c.said));
    }
    if !report.backend.is_empty() {
        let _ = writeln!(out, "\n## The backend's own log\n");
    }
    for b in &report.backend {
        let times = crate::human::counted(b.count, "line", "lines");
        let _ = writeln!(out, "- {}: {} ({times}): {}", inert(&b.library), inert(&b.words), b.fault.meaning());
    }
    pairs::markdown(&mut out, &report.pairs);
    matrix::markdown(&mut out, &report.matrix);
    figures(&mut out, report);
    out
}

pub(super) fn finding(out: &mut String, f: &Finding) {
    let _ = writeln!(out, "## {} ({})\n\n{}\n", f.id, f.severity.word(), inert(&f.said));
    for e in &f.evidence {
        let place = e.file.as_ref().map_or_else(String::new, |p| {
            let line = e.line.map_or_else(String::new, |l| format!(":{l}"));
            format!(", {}", code(&format!("{p}{line}")))
        });
        let at = e.at.map_or_else(String::new, |t| format!(", {t}"));
        let _ = writeln!(out, "- {}: {}{place}{at}", format!("{:?}", e.kind).to_lowercase(), inert(&e.said));
    }
    if !f.because.is_empty() {
        let _ = writeln!(out, "- because of {}", f.because.join(", "));
    }
    out.push('\n');
    let Some(fix) = &f.fix else { return };
    let place = fix.file.as_ref().map_or_else(String::new, |p| {
        let line = fix.line.map_or_else(String::new, |l| format!(":{l}"));
        format!(" ({})", code(&format!("{p}{line}")))
    });
    let _ = writeln!(out, "**Fix**: {}{place}\n", inert(&fix.said));
    if let Some(patch) = &fix.patch {
        block(out, "diff", patch);
    }
    if let Some(check) = &fix.check {
        let _ = writeln!(out, "Then {}.\n", code(check));
    }
}

fn figures(out: &mut String, report: &Report) {
    if !report.probes.is_empty() {
        let _ = writeln!(out, "\n## Probes\n\n| URL | Route | State | Status | Upgrade |\n|---|---|---|---|---|");
    }
    for p in &report.probes {
        let status = p.status.map_or_else(|| "·".to_owned(), |s| s.to_string());
        let upgrade = p.upgrade_ms.map_or_else(|| "·".to_owned(), |u| format!("{u:.1} ms"));
        let mut route = format!("{:?}", p.route).to_lowercase();
        if let Some(pace) = &p.cadence {
            let _ = write!(route, ", {pace}");
        }
        let _ = writeln!(out, "| {} | {route} | {} | {status} | {upgrade} |", inert(&p.url), p.state);
    }
    if !report.errors.by_category.is_empty() {
        let _ = writeln!(out, "\n## Errors\n\n| Category | Lines |\n|---|---:|");
    }
    for (category, n) in &report.errors.by_category {
        let _ = writeln!(out, "| {category} | {n} |");
    }
    if let Some(l) = report.sessions.lifetimes {
        let n = report.sessions.count;
        let _ = writeln!(out, "\n## Sessions\n");
        let _ = writeln!(
            out,
            "{n} tunnels ended; lifetimes p50 {:.1} s, p90 {:.1} s, longest {:.1} s.",
            l.p50, l.p90, l.max
        );
    }
}
