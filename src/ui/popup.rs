//! Layers over the panes: details of one row, all findings, all keys.

mod decisive;
mod endpoint;
mod line;
mod tunnel;

use ratatui::text::{Line, Span};

use crate::human;

use super::keys::Keymap;
use super::palette;
use super::pane::Pane;
use super::panes::{self, header};
use super::snapshot::Snapshot;
use super::snapshot::finding::FindingRow;
use super::state::{Popup, ScreenState};
use super::text::{Look, spans_width, wrap, wrap_exact};
use super::theme::Tone;
use crate::report::filter::Filter;

/// Columns of the names at the left.
const NAME: usize = 12;

/// A page that grows line by line.
struct Page<'a> {
    look: &'a Look,
    width: usize,
    lines: Vec<Line<'static>>,
}

impl Page<'_> {
    fn blank(&mut self) {
        if !self.lines.is_empty() {
            self.lines.push(Line::default());
        }
    }

    fn head(&mut self, text: &str) {
        self.blank();
        self.lines.push(Line::from(self.look.span(Tone::Strong, text.to_owned())));
    }

    fn pair(&mut self, name: &str, text: &str) {
        self.toned(name, text, Tone::Plain);
    }

    fn toned(&mut self, name: &str, text: &str, tone: Tone) {
        for (i, part) in wrap(text, self.width.saturating_sub(NAME)).into_iter().enumerate() {
            let name = if i == 0 { name } else { "" };
            let label = self.look.span(Tone::Faint, format!("{name:<NAME$}"));
            self.lines.push(Line::from(vec![label, self.look.span(tone, part)]));
        }
    }

    /// Text with a name that must keep its blanks.
    fn spaced(&mut self, name: &str, text: &str, tone: Tone) {
        for (i, part) in wrap_exact(text, self.width.saturating_sub(NAME)).into_iter().enumerate() {
            let name = if i == 0 { name } else { "" };
            let label = self.look.span(Tone::Faint, format!("{name:<NAME$}"));
            self.lines.push(Line::from(vec![label, self.look.span(tone, part)]));
        }
    }

    /// Text that must keep its blanks.
    fn exact(&mut self, text: &str, tone: Tone) {
        for part in wrap_exact(text, self.width.saturating_sub(2)) {
            self.lines.push(Line::from(vec![self.look.span(Tone::Plain, "  "), self.look.span(tone, part)]));
        }
    }
}

/// The title and the lines of a layer; `None` when what it is about has gone.
#[must_use]
pub fn page(
    popup: Popup,
    snap: &Snapshot,
    state: &ScreenState,
    look: &Look,
    width: usize,
) -> Option<(String, Vec<Line<'static>>)> {
    let mut page = Page { look, width, lines: Vec::new() };
    let title = match popup {
        Popup::Help => {
            help(&mut page, &state.keys);
            "Keys".to_owned()
        }
        Popup::Palette => {
            page.lines = palette::lines(state, look, width);
            "Actions".to_owned()
        }
        Popup::Findings => {
            findings(&mut page, snap);
            "Findings".to_owned()
        }
        Popup::Row(Pane::Handshakes, id) => {
            let row = snap.endpoints.iter().find(|r| r.id == id)?;
            endpoint::write(&mut page, row);
            row.url.clone()
        }
        Popup::Row(Pane::Connections, id) => {
            let row = snap.tunnels.find(id)?;
            tunnel::write(&mut page, row);
            format!("Tunnel of {}", row.client_addr.map_or_else(|| "an unknown client".to_owned(), |a| a.to_string()))
        }
        Popup::Row(Pane::Errors, id) => {
            let at = snap.lines.iter().position(|l| l.seq == id)?;
            line::write(&mut page, snap, &snap.lines[at]);
            line::title(snap, state, &snap.lines[at], look)
        }
        Popup::Backend(id) => {
            let row = snap.errors.iter().find(|r| r.id == id)?;
            page.exact(&row.words, Tone::Plain);
            page.head("Newest lines");
            row.backend_lines.iter().for_each(|raw| page.exact(raw, Tone::Muted));
            format!("Backend log   {}", human::counted(row.total, "entry", "entries"))
        }
        Popup::Row(Pane::Findings, id) => {
            let row = snap.findings.iter().find(|r| r.id == id)?;
            finding(&mut page, row);
            row.finding.id.to_owned()
        }
        Popup::Row(Pane::Timeline, _) => {
            marks(&mut page, snap, state.filter(Pane::Timeline));
            "Timeline".to_owned()
        }
    };
    Some((title, page.lines))
}

/// What each pane shows.
const PANES: [(&str, &str); 5] = [
    ("Handshakes", "endpoints through nginx and directly: answer, phases, round trips, missed pongs, uptime"),
    ("Connections", "tunnels: client, worker, backend, age, silence, rates, and the time left before nginx cuts them"),
    ("Errors", "error-log lines by category; Enter goes further in, down to one raw line"),
    ("Findings", "what is wrong, ranked; Enter shows evidence and fix"),
    ("Timeline", "errors, deaths, reloads and failures over the last half hour"),
];

fn help(page: &mut Page<'_>, keys: &Keymap) {
    let bound = keys.lines().filter(|(_, shown)| !shown.is_empty());
    let row = |shown: &str, does: &'static str| {
        let key = page.look.span(Tone::Accent, format!("{shown:<NAME$}"));
        vec![key, page.look.span(Tone::Plain, does)]
    };
    let rows: Vec<Vec<Span<'static>>> = bound.map(|(b, shown)| row(shown, b.does)).collect();
    let widest = rows.iter().map(|r| spans_width(r)).max().unwrap_or(0) + 3;
    // Two columns where they fit, so that all keys are seen at once.
    let columns = if page.width >= 2 * widest - 3 { 2 } else { 1 };
    let height = rows.len().div_ceil(columns);
    for n in 0..height {
        let mut line = rows[n].clone();
        if let Some(beside) = rows.get(n + height) {
            let gap = widest.saturating_sub(spans_width(&line));
            line.push(page.look.span(Tone::Plain, " ".repeat(gap)));
            line.extend(beside.iter().cloned());
        }
        page.lines.push(Line::from(line));
    }
    page.head("Filter");
    page.exact("words, key:value, idle>30s, /regex/ and !not: all must fit; Tab completes, ↑ ↓ recall", Tone::Plain);
    page.exact("Enter keeps it, Esc takes back what was typed; Esc again clears what was kept", Tone::Muted);
    page.head("Panes");
    for (name, shows) in PANES {
        page.pair(name, shows);
    }
    page.head("More");
    page.pair("explain", "wspulse explain ID: what a finding, a category or a close code means and what to do");
    page.pair("--plain", "wspulse --plain: the same in sentences, for screen readers and pipes");
    page.pair("--help", "wspulse --help: all commands and options");
    page.head("Signs");
    page.exact("● well   ▲ could hurt   ✖ hurts   ◐ draining   ○ idle   · unknown", Tone::Plain);
}

fn findings(page: &mut Page<'_>, snap: &Snapshot) {
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
        finding(page, row);
    }
    let poor: Vec<_> = snap.sources.iter().filter(|s| header::light(s.sight) <= super::light::Light::Warn).collect();
    if !poor.is_empty() {
        page.head("What could not be seen");
    }
    for s in poor {
        let remedy = s.remedy.as_ref().map_or_else(String::new, |r| format!("; {r}"));
        page.toned(s.kind.word(), &format!("{}{remedy}", s.said), header::light(s.sight).tone());
    }
}

fn finding(page: &mut Page<'_>, row: &FindingRow) {
    let f = &row.finding;
    page.pair("", &f.said);
    page.pair("about", &row.about);
    let sure = format!("{}, {}", f.severity.word(), format!("{:?}", f.confidence).to_lowercase());
    page.toned("severity", &sure, row.light.word_tone());
    if let Some(when) = panes::findings::when(row, page.look) {
        page.pair("time", &when);
    }
    if !f.because.is_empty() {
        page.pair("because of", &f.because.join(", "));
    }
    for e in &f.evidence {
        let place = match (&e.file, e.line) {
            (Some(file), Some(line)) => format!("   {file}:{line}"),
            (Some(file), None) => format!("   {file}"),
            _ => String::new(),
        };
        let at = e.at.map_or_else(String::new, |t| format!("{} ", page.look.clock(t)));
        let kind = format!("{:?}", e.kind).to_lowercase();
        page.toned(&kind, &format!("{at}{}{place}", e.said), Tone::Muted);
    }
    let Some(fix) = &f.fix else { return };
    page.toned("fix", &fix.said, Tone::Good);
    for line in fix.patch.iter().flat_map(|p| p.lines()) {
        let tone = match line.as_bytes() {
            [b'+', ..] => Tone::Good,
            [b'-', ..] => Tone::Bad,
            _ => Tone::Muted,
        };
        page.exact(line, tone);
    }
    if let Some(check) = &fix.check {
        page.toned("then", check, Tone::Accent);
    }
}

fn marks(page: &mut Page<'_>, snap: &Snapshot, filter: Option<&Filter>) {
    if snap.past.marks.is_empty() {
        page.exact("Nothing has changed since the program started.", Tone::Plain);
    }
    let passing = panes::timeline::marks(snap, filter);
    if passing.is_empty() && !snap.past.marks.is_empty() {
        page.exact("No mark passes the filter.", Tone::Plain);
    }
    for mark in passing.into_iter().rev().filter_map(|at| snap.past.marks.get(at)) {
        let (sign, tone) = super::panes::timeline::sign(mark);
        let at = page.look.clock(mark.at);
        page.toned(&at, &format!("{sign} {}", mark.said), tone);
    }
}
