//! The report for a tired person at a terminal of 80 columns: a checklist, what is wrong with evidence and fix, a verdict.

use std::fmt::Write as _;

use crate::diagnose::finding::{Check, Evidence, Finding, Fix, Severity, Status, Verdict};
use crate::human;

use super::data::Report;
use super::matrix;
use super::pairs;
use super::safe;

/// Columns of a plain terminal.
pub(super) const WIDTH: usize = 80;
/// Columns of a check's title.
const TITLE: usize = 17;
/// Pieces of evidence shown for one finding; JSON has them all.
const SHOWN: usize = 6;

/// The colours of the three states and of what matters less (ECMA-48 SGR).
#[derive(Clone, Copy)]
pub(super) enum Ink {
    Good,
    Warn,
    Bad,
    Dim,
    Bold,
}

pub(super) struct Page {
    out: String,
    color: bool,
}

impl Page {
    /// An empty page.
    pub(super) fn new(color: bool) -> Self {
        Self { out: String::new(), color }
    }

    /// All that was written.
    pub(super) fn done(self) -> String {
        self.out
    }

    pub(super) fn ink(&self, ink: Ink, text: &str) -> String {
        if !self.color {
            return text.to_owned();
        }
        let code = match ink {
            Ink::Good => "32",
            Ink::Warn => "33",
            Ink::Bad => "31",
            Ink::Dim => "2",
            Ink::Bold => "1",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    pub(super) fn line(&mut self, text: &str) {
        self.out.push_str(text.trim_end());
        self.out.push('\n');
    }

    /// `lead` and the first line, then the other lines below that first one.
    pub(super) fn hang(&mut self, lead: &str, lead_width: usize, text: &str) {
        let room = WIDTH.saturating_sub(lead_width);
        for (i, l) in safe::wrapped(text, room).iter().enumerate() {
            if i == 0 {
                self.line(&format!("{lead}{l}"));
            } else {
                self.line(&format!("{:lead_width$}{l}", ""));
            }
        }
    }

    fn check(&mut self, c: &Check) {
        let (ink, sign) = match c.status {
            Status::Pass => (Ink::Good, "✔"),
            Status::Warn => (Ink::Warn, "▲"),
            Status::Fail => (Ink::Bad, "✖"),
            Status::Skip => (Ink::Dim, "·"),
        };
        let lead = format!(" {} {:TITLE$} ", self.ink(ink, sign), c.title);
        self.hang(&lead, TITLE + 4, &c.said);
    }

    /// The first line of a finding: its id, and how bad and how sure it is.
    pub(super) fn head(&mut self, f: &Finding) {
        let (ink, sign) = severity(f.severity);
        let head = format!(" {} {}", self.ink(ink, sign), self.ink(Ink::Bold, f.id));
        let sure = format!("{}, {:?}", f.severity.word(), f.confidence).to_lowercase();
        let gap = WIDTH.saturating_sub(3 + human::width(f.id) + human::width(&sure)).max(2);
        self.line(&format!("{head}{:gap$}{}", "", self.ink(Ink::Dim, &sure)));
    }

    fn finding(&mut self, f: &Finding) {
        self.head(f);
        self.hang("   ", 3, &f.said);
        for e in f.evidence.iter().take(SHOWN) {
            self.evidence(e);
        }
        if f.evidence.len() > SHOWN {
            self.line(&format!("     … {} more", f.evidence.len() - SHOWN));
        }
        self.foot(f);
    }

    /// What stands below the evidence: causes and the fix.
    pub(super) fn foot(&mut self, f: &Finding) {
        if !f.because.is_empty() {
            self.hang("     because of ", 16, &f.because.join(", "));
        }
        if let Some(fix) = &f.fix {
            self.fix(fix);
        }
        self.line("");
    }

    pub(super) fn evidence(&mut self, e: &Evidence) {
        let place = e.file.as_ref().map(|f| e.line.map_or_else(|| f.clone(), |l| format!("{f}:{l}")));
        let place = place.map_or_else(String::new, |p| format!(" ({p})"));
        let kind = format!("{:?}", e.kind).to_lowercase();
        let lead = format!("     {} ", self.ink(Ink::Dim, &format!("{kind:<7}")));
        self.hang(&lead, 13, &format!("{}{place}", e.said));
    }

    fn fix(&mut self, fix: &Fix) {
        let place = fix.file.as_ref().map(|f| fix.line.map_or_else(|| f.clone(), |l| format!("{f}:{l}")));
        let place = place.map_or_else(String::new, |p| format!(" ({p})"));
        let lead = format!("     {} ", self.ink(Ink::Good, "fix    "));
        self.hang(&lead, 13, &format!("{}{place}", fix.said));
        for l in fix.patch.iter().flat_map(|p| safe::lines(p)) {
            self.line(&format!("       {l}"));
        }
        if let Some(check) = &fix.check {
            let lead = format!("     {} ", self.ink(Ink::Good, "then   "));
            self.hang(&lead, 13, check);
        }
    }

    pub(super) fn verdict(&mut self, r: &Report) {
        let (ink, sign) = match r.verdict {
            Verdict::Healthy => (Ink::Good, "✔"),
            Verdict::Degraded => (Ink::Warn, "▲"),
            Verdict::Broken => (Ink::Bad, "✖"),
            Verdict::Blind => (Ink::Dim, "·"),
        };
        let word = format!("{sign} {}", r.verdict.word().to_uppercase());
        let lead = format!(" {}   ", self.ink(ink, &word));
        self.hang(&lead, human::width(&word) + 4, &r.summary);
    }
}

pub(super) const fn severity(s: Severity) -> (Ink, &'static str) {
    match s {
        Severity::Critical => (Ink::Bad, "✖"),
        Severity::Warning => (Ink::Warn, "▲"),
        Severity::Info => (Ink::Dim, "·"),
    }
}

fn backend(page: &mut Page, report: &Report) {
    if report.backend.is_empty() {
        return;
    }
    page.line(" The backend's own log");
    for b in &report.backend {
        let lead = format!(" {} ", page.ink(Ink::Warn, "▲"));
        let times = human::counted(b.count, "line", "lines");
        page.hang(&lead, 3, &format!("{}: {} ({times}): {}", b.library, b.words, b.fault.meaning()));
    }
    page.line("");
}

/// The report at 80 columns; with `color` in the terminal's own colours, each beside a sign.
#[must_use]
pub fn text(report: &Report, color: bool) -> String {
    let mut page = Page::new(color);
    let mut title = format!(" wspulse {}   {}", safe::line(&report.wspulse), safe::line(&report.host));
    if let Some(version) = report.nginx.as_ref().and_then(|n| n.version.as_ref()) {
        let _ = write!(title, "   nginx {}", safe::line(version));
    }
    page.line(&title);
    page.line("");
    for c in &report.checks {
        page.check(c);
    }
    page.line("");
    pairs::text(&mut page, &report.pairs);
    matrix::text(&mut page, &report.matrix);
    let (serious, minor): (Vec<&Finding>, Vec<&Finding>) = report.findings.iter().partition(|f| f.is_serious());
    for f in serious {
        page.finding(f);
    }
    if !minor.is_empty() {
        page.line(" Worth knowing");
        for f in minor {
            let lead = format!(" {} ", page.ink(Ink::Dim, "·"));
            page.hang(&lead, 3, &format!("{}: {}", f.id, f.said));
        }
        page.line("");
    }
    backend(&mut page, report);
    if let Some(first) = report.findings.first() {
        page.line(&format!(" More, and how to check by hand: wspulse explain {}", first.id));
        page.line("");
    }
    page.verdict(report);
    if report.ignored > 0 {
        page.line(&format!("   {} ignored, as comments in the configuration ask", report.ignored));
    }
    page.done()
}
