//! Layers over the panes: details of one row, all findings, all keys.

mod certificate;
mod decisive;
mod endpoint;
mod finding;
mod line;
mod moment;
mod patch;
mod tunnel;

use ratatui::text::{Line, Span};

use crate::human;

use super::flow::flow;
use super::keys::{Action, Keymap, MOUSE};
use super::palette;
use super::pane::Pane;
use super::snapshot::Snapshot;
use super::state::{Popup, ScreenState};
use super::text::{Look, spans_width, wrap, wrap_exact};
use super::theme::Tone;

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

    /// A head, and what else is to be said of the part below it.
    fn head_with(&mut self, text: &str, more: Vec<Span<'static>>) {
        self.head(text);
        if let Some(line) = self.lines.last_mut().filter(|_| !more.is_empty()) {
            line.push_span(self.look.span(Tone::Plain, "   "));
            line.extend(more);
        }
    }

    /// Spans behind a name.
    fn named(&mut self, name: &str, spans: Vec<Span<'static>>) {
        for (i, part) in flow(spans, self.width.saturating_sub(NAME)).into_iter().enumerate() {
            let name = if i == 0 { name } else { "" };
            let mut line = vec![self.look.span(Tone::Faint, format!("{name:<NAME$}"))];
            line.extend(part);
            self.lines.push(Line::from(line));
        }
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

    /// Text with a name that keeps its blanks, but where a line breaks.
    fn spaced(&mut self, name: &str, text: &str, tone: Tone) {
        self.named(name, vec![self.look.span(tone, text.to_owned())]);
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
            "Help".to_owned()
        }
        Popup::Palette => {
            page.lines = palette::lines(state, look, width);
            "Actions".to_owned()
        }
        Popup::Findings => {
            finding::all(&mut page, snap);
            "Findings".to_owned()
        }
        Popup::Row(Pane::Handshakes, id) => {
            let row = snap.endpoints.iter().find(|r| r.id == id)?;
            endpoint::write(&mut page, row);
            row.url.clone()
        }
        Popup::Row(Pane::Connections, id) => {
            let row = snap.tunnels.find(id)?;
            tunnel::write(&mut page, snap, row);
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
            finding::write(&mut page, snap, row, Some(state.keys.shown(Action::Copy)));
            row.finding.id.to_owned()
        }
        Popup::Row(Pane::Timeline, _) => moment::write(&mut page, snap, state),
    };
    Some((title, page.lines))
}

/// What each pane shows.
const PANES: [(&str, &str); 5] = [
    ("Handshakes", "endpoints through nginx and directly: answer, phases, round trips, missed pongs, uptime"),
    ("Connections", "tunnels: client, worker, backend, age, silence, rates, and the time left before nginx cuts them"),
    ("Errors", "error-log lines by category; Enter goes further in, down to one raw line"),
    ("Findings", "what is wrong, ranked; Enter shows evidence and fix"),
    ("Timeline", "errors, tunnels opened and died, probes and reloads, over minutes or a day"),
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
    page.head("Panes");
    for (name, shows) in PANES {
        page.pair(name, shows);
    }
    page.head("Mouse");
    for (what, does) in MOUSE {
        let name = page.look.span(Tone::Faint, format!("{what:<14}"));
        page.lines.push(Line::from(vec![name, page.look.span(Tone::Plain, *does)]));
    }
    page.head("Filter (/), of the focused pane");
    for (term, holds) in FILTER {
        page.pair(term, holds);
    }
    page.exact(
        "Tab completes, ↑ ↓ recall; Enter keeps it, Esc takes back what was typed; Esc again clears it",
        Tone::Muted,
    );
    page.head("Signs");
    page.exact("● well   ▲ could hurt   ✖ hurts   ◐ draining   ○ idle   · unknown, never 0", Tone::Plain);
    page.exact("≥ at least   − ago   ▴ ▾ sorted by this   ↻ reload   ✔ over, or works again", Tone::Plain);
    page.head("Words");
    for (word, means) in WORDS {
        page.pair(word, means);
    }
    page.head("More");
    page.pair(keys.shown(Action::Palette), "finds any action by a few letters, themes and sort orders too");
    page.pair("explain", "wspulse explain ID tells all about a finding, a category or a close code");
    page.pair("--plain", "wspulse --plain: the same in sentences, for screen readers and pipes");
    page.pair("man", "wspulse man | man -l - is the manual; wspulse COMMAND --help has examples");
    page.pair("settings", "keys and colours: wspulse --print-config-template, then ~/.config/wspulse/config.toml");
}

/// The filter language in short; `docs/filter.md` has all of it.
const FILTER: [(&str, &str); 6] = [
    ("chat", "the word stands anywhere in the row; \"two words\" with blanks"),
    ("state:open", "that column contains it; = is exactly it, != is not"),
    ("idle>30s", "also < >= <=, with times (ms s m h d) and sizes (k M Ki Mi)"),
    ("client:", "10.0.0.0/8 is a network, 10.0.0.7 an address"),
    ("/^GET/", "a regular expression"),
    ("!state:open", "the term does not hold; several terms must all hold"),
];

/// Words of the screen that do not speak for themselves.
const WORDS: [(&str, &str); 8] = [
    ("found", "an endpoint of the configuration that is not probed; in log: only clients know it"),
    ("stuck", "data does not get through this tunnel; its details say what holds it up"),
    ("drain", "its worker shuts down after a reload and waits for it"),
    ("closing", "one side has closed, the other has not"),
    ("alone", "a leg whose other half is not known"),
    ("LEFT", "time until nginx cuts the tunnel, if it stays silent"),
    ("LIVE", "the present; FROZEN: held; −2m 13s: the moment of the past that is shown"),
    ("lights", "of the first line, one for each source: ● seen ▲ degraded ✖ blind · off"),
];
