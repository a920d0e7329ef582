//! Layers over the panes: details of one row, all findings, all keys.

mod decisive;
mod endpoint;
mod line;

use std::time::Duration;

use ratatui::text::{Line, Span};

use crate::human;
use crate::model::legs::Leg;
use crate::time::Timestamp;

use super::keys::{Binding, KEYS};
use super::pane::Pane;
use super::panes::{cell, header};
use super::snapshot::Snapshot;
use super::snapshot::finding::FindingRow;
use super::snapshot::tunnel::{TunnelRow, light};
use super::state::{Popup, ScreenState};
use super::text::{Look, spans_width, wrap, wrap_exact};
use super::theme::{self, Tone};

/// Columns of the names at the left.
const NAME: usize = 12;
/// The least columns of a leg beside the other.
const LEG: usize = 28;

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
            help(&mut page);
            "Keys".to_owned()
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
            let row = snap.tunnels.rows.get(snap.tunnels.find(id)?)?;
            tunnel(&mut page, row);
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
            marks(&mut page, snap);
            "Timeline".to_owned()
        }
    };
    Some((title, page.lines))
}

fn help(page: &mut Page<'_>) {
    let row = |b: &Binding| {
        let key = page.look.span(Tone::Accent, format!("{:<NAME$}", b.shown));
        vec![key, page.look.span(Tone::Plain, b.does)]
    };
    let rows: Vec<Vec<Span<'static>>> = KEYS.iter().map(row).collect();
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
    page.exact("words, key:value, idle>30s, /regex/ and !not: all must fit; Esc clears it", Tone::Plain);
    page.exact("errors: category level message upstream client location server host worker", Tone::Muted);
    page.head("Signs");
    page.exact("● well   ▲ could hurt   ✖ hurts   ◐ draining   ○ idle   · unknown", Tone::Plain);
}

fn findings(page: &mut Page<'_>, snap: &Snapshot) {
    if snap.findings.is_empty() {
        page.exact("Nothing is wrong as far as can be seen.", Tone::Plain);
    }
    for row in &snap.findings {
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

fn tunnel(page: &mut Page<'_>, r: &TunnelRow) {
    let span = |d: Option<Duration>| d.map_or_else(|| theme::NONE.to_owned(), human::span);
    page.toned("state", &format!("{} {}", light(r).sign(), r.word()), light(r).word_tone());
    let bound = if r.age.is_some_and(|a| a.1) { "at least " } else { "" };
    page.pair("age", &format!("{bound}{}, silent for {}", span(r.age.map(|a| a.0)), span(r.idle)));
    if let Some(ended) = &r.ended {
        page.pair("ended", &ended.said());
    } else {
        if let Some(odd) = &r.odd {
            page.toned("odd", odd, Tone::Warn);
        }
        let until = r.left_at_most.map_or_else(String::new, |most| format!(" to {}", human::span(most)));
        let timeout = r.cut_by.unwrap_or("proxy_read_timeout");
        page.pair("time left", &format!("{}{until} of {timeout} {}", span(r.left), span(r.timeout)));
    }
    if let Some(recent) = r.recent.as_ref().filter(|r| r.iter().any(|n| *n > 0)) {
        page.toned("last minute", &cell::spark(recent), Tone::Accent);
    }
    page.pair("location", r.location.as_deref().unwrap_or(theme::NONE));
    if r.ended.is_some() {
        page.pair("upstream", &r.upstream_addr.map_or_else(|| theme::NONE.to_owned(), |a| a.to_string()));
        return;
    }
    page.pair("worker", &r.worker.map_or_else(|| theme::NONE.to_owned(), |w| w.to_string()));
    page.pair("pair", &format!("{}: how sure it is that the two legs belong together", r.pair.word()));
    if let Some(probe) = &r.probe {
        page.pair("held by", &format!("our own probe of {probe}"));
    }
    page.blank();
    legs(page, r);
}

/// Both legs side by side, fact by fact; one below the other where that is too wide.
fn legs(page: &mut Page<'_>, r: &TunnelRow) {
    let each = page.width.saturating_sub(NAME) / 2;
    let facts = |leg: &Option<Leg>| leg.as_ref().map(|l| leg_facts(l, page.look.now));
    let (client, upstream) = (facts(&r.client), facts(&r.upstream));
    if each < LEG {
        for (name, facts) in [("Client leg", client), ("Upstream leg", upstream)] {
            page.head(name);
            match facts {
                Some(facts) => facts.iter().for_each(|(name, said)| page.pair(name, said)),
                None => page.pair("", "not known"),
            }
        }
        return;
    }
    let line = |page: &mut Page<'_>, name: &str, tone: Tone, left: &str, right: &str| {
        let label = page.look.span(Tone::Faint, format!("{name:<NAME$}"));
        let left = human::cut_middle(left, each.saturating_sub(2)).into_owned();
        let gap = " ".repeat(each.saturating_sub(human::width(&left)));
        let right = human::cut_middle(right, each).into_owned();
        let [left, right] = [left, right].map(|text| page.look.span(tone, text));
        page.lines.push(Line::from(vec![label, left, page.look.span(tone, gap), right]));
    };
    line(page, "", Tone::Strong, "Client leg", "Upstream leg");
    let names: Vec<&str> = client.iter().chain(&upstream).take(1).flatten().map(|(name, _)| *name).collect();
    let said = |facts: &Option<Vec<(&'static str, String)>>, i: usize| match facts {
        Some(facts) => facts.get(i).map_or_else(String::new, |(_, said)| said.clone()),
        None if i == 0 => "not known".to_owned(),
        None => String::new(),
    };
    for (i, name) in names.into_iter().enumerate() {
        line(page, name, Tone::Plain, &said(&client, i), &said(&upstream, i));
    }
}

/// What the kernel says of one leg, in an order that is the same for both.
fn leg_facts(leg: &Leg, now: Timestamp) -> Vec<(&'static str, String)> {
    let (row, i) = (&leg.row, leg.row.info.unwrap_or_default());
    let none = || theme::NONE.to_owned();
    let n = |n: Option<u64>| n.map_or_else(none, human::grouped);
    let us = |n: Option<u32>| n.map_or_else(none, |us| human::latency(Duration::from_micros(u64::from(us))));
    let ago = |ms: Option<u32>| {
        let silent = ms.map(|ms| Duration::from_millis(u64::from(ms)) + now.since(leg.seen));
        silent.map_or_else(none, |d| format!("{} ago", human::span(d)))
    };
    vec![
        ("local", row.local.to_string()),
        ("peer", row.peer.to_string()),
        ("state", row.state.word().to_owned()),
        ("received", format!("{} B, last {}", n(i.bytes_received), ago(i.last_received_ms))),
        ("sent", format!("{} B, last {}", n(i.bytes_sent), ago(i.last_sent_ms))),
        ("acked", format!("{} B", n(i.bytes_acked))),
        (
            "queues",
            format!("{} B to read, {} B to ack", human::grouped(row.recv_q.into()), human::grouped(row.send_q.into())),
        ),
        ("round trip", format!("{}, varying by {}", us(i.rtt_us), us(i.rttvar_us))),
        ("sent again", format!("{}, backed off {}", n(i.retransmits.map(u64::from)), n(i.backoff.map(u64::from)))),
    ]
}

fn marks(page: &mut Page<'_>, snap: &Snapshot) {
    if snap.past.marks.is_empty() {
        page.exact("Nothing has changed since the program started.", Tone::Plain);
    }
    for mark in snap.past.marks.iter().rev() {
        let (sign, tone) = super::panes::timeline::sign(mark);
        let at = page.look.clock(mark.at);
        page.toned(&at, &format!("{sign} {}", mark.said), tone);
    }
}
