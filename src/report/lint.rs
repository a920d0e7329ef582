//! The findings of the configuration alone for people: each with its line as a compiler shows it, and the patch under it.

use std::fmt::Write as _;

use crate::diagnose::finding::{Finding, Severity};
use crate::diagnose::lint::mark::Mark;
use crate::human;

use super::data::Report;
use super::markdown;
use super::safe;
use super::text::{Ink, Page, severity};

/// Columns of a line that is shown.
const SHOWN: usize = 160;
/// What a tab is shown as: the caret must stand below the right letter.
const TAB: &str = "    ";

/// What was linted and what was found.
#[derive(Clone, Copy, Debug)]
pub struct Linted<'a> {
    /// The report.
    pub report: &'a Report,
    /// Where each finding of it points.
    pub marks: &'a [Option<Mark>],
}

impl<'a> Linted<'a> {
    fn found(&self) -> impl Iterator<Item = (&'a Finding, Option<&'a Mark>)> {
        let marks = self.marks.iter().map(Option::as_ref).chain(std::iter::repeat(None));
        self.report.findings.iter().zip(marks)
    }
}

/// All findings at 80 columns, lines of files as they are; with `color` in the terminal's own colours.
#[must_use]
pub fn lint_text(linted: &Linted<'_>, color: bool) -> String {
    let report = linted.report;
    let mut page = Page::new(color);
    let nginx = report.nginx.as_ref();
    let conf = nginx.and_then(|n| n.conf.as_ref()).map_or_else(String::new, |c| safe::line(c));
    let version = nginx.and_then(|n| n.version.as_ref());
    let version = version.map_or_else(|| "nginx of unknown version".to_owned(), |v| format!("nginx {}", safe::line(v)));
    page.line(&format!(" wspulse {}   {conf}   {version}", safe::line(&report.wspulse)));
    page.line("");
    for (f, mark) in linted.found().filter(|(f, _)| f.is_serious()) {
        finding(&mut page, f, mark);
    }
    let mut minor = linted.found().filter(|(f, _)| !f.is_serious()).peekable();
    if minor.peek().is_some() {
        page.line(" Worth knowing");
        for (f, _) in minor {
            let lead = format!(" {} ", page.ink(Ink::Dim, "·"));
            page.hang(&lead, 3, &format!("{}: {}", f.id, f.said));
        }
        page.line("");
    }
    page.verdict(report);
    page.line(&format!("   {}", sum(report)));
    page.done()
}

/// `1 critical, 2 warnings, 1 ignored`.
fn sum(report: &Report) -> String {
    let count = |s: Severity| report.findings.iter().filter(|f| f.severity == s).count() as u64;
    let mut parts = vec![
        format!("{} critical", count(Severity::Critical)),
        human::counted(count(Severity::Warning), "warning", "warnings"),
        format!("{} info", count(Severity::Info)),
    ];
    if report.ignored > 0 {
        parts.push(format!("{} ignored", report.ignored));
    }
    parts.join(", ")
}

fn finding(page: &mut Page, f: &Finding, mark: Option<&Mark>) {
    page.head(f);
    page.hang("   ", 3, &f.said);
    let Some(mark) = mark else {
        f.evidence.iter().for_each(|e| page.evidence(e));
        page.foot(f);
        return;
    };
    let (ink, _) = severity(f.severity);
    excerpt(page, mark, ink);
    for e in f.evidence.iter().skip(1) {
        page.evidence(e);
    }
    page.foot(f);
}

/// ```text
///     --> /etc/nginx/conf.d/chat.conf:12:9
///     12 |         proxy_pass http://127.0.0.1:9000;
///        |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
/// ```
fn excerpt(page: &mut Page, mark: &Mark, ink: Ink) {
    let place = if mark.line > 0 { format!(":{}:{}", mark.line, mark.column) } else { String::new() };
    page.line(&format!("     {} {}{place}", page.ink(Ink::Dim, "-->"), safe::line(&mark.file)));
    if mark.line == 0 {
        return;
    }
    let shown = |text: String| human::cut_end(&safe::line(&text.replace('\t', TAB)), SHOWN).into_owned();
    let before: String = mark.text.chars().take(mark.column.saturating_sub(1)).collect();
    let within: String = mark.text.chars().skip(mark.column.saturating_sub(1)).take(mark.width).collect();
    let (indent, width) = (human::width(&shown(before)), human::width(&shown(within)).max(1));
    let number = mark.line.to_string();
    let bar = page.ink(Ink::Dim, "|");
    page.line(&format!("     {} {bar} {}", page.ink(Ink::Dim, &number), shown(mark.text.clone())));
    let caret = page.ink(ink, &"^".repeat(width.min(SHOWN)));
    page.line(&format!("     {:w$} {bar} {:indent$}{caret}", "", "", w = number.len()));
}

/// The same as Markdown, to paste into a review.
#[must_use]
pub fn lint_markdown(linted: &Linted<'_>) -> String {
    let report = linted.report;
    let mut out = String::new();
    let summary = markdown::inert(&report.summary);
    let _ = writeln!(
        out,
        "# {}: {summary}\n\n{}, wspulse {}.\n",
        report.verdict.word().to_uppercase(),
        sum(report),
        markdown::inert(&report.wspulse)
    );
    for (f, mark) in linted.found() {
        markdown::finding(&mut out, f);
        if let Some(mark) = mark.filter(|m| m.line > 0) {
            let _ = writeln!(out, "{}:\n", markdown::code(&format!("{}:{}:{}", mark.file, mark.line, mark.column)));
            markdown::block(&mut out, "nginx", mark.text.trim());
        }
    }
    out
}
