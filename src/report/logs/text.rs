//! What logs said, for a person at a terminal of 80 columns.

use std::time::Duration;

use super::super::safe;
use super::super::text::{Ink, Page, WIDTH};
use super::chart;
use super::data::{LogsReport, TopRow};
use super::handshakes;
use super::sessions::{Band, BurstRow, cause};
use crate::event::log::{Category, Level};
use crate::event::tally::sessions::Spike;
use crate::human;
use crate::time::{Timestamp, Zone};

/// Columns of the rate chart, its scale beside it.
const CHART: usize = 68;
/// Its lines.
const ROWS: usize = 4;
/// Lines that a long message may take.
const LINES: usize = 3;
/// Columns of a bar.
const BAR: usize = 30;

/// The report at 80 columns; with `color` in the terminal's own colours, each beside a sign.
#[must_use]
pub fn logs_text(report: &LogsReport, color: bool) -> String {
    let mut page = Page::new(color);
    totals(&mut page, report);
    rate(&mut page, report);
    levels(&mut page, report);
    categories(&mut page, report);
    statuses(&mut page, report);
    let top = &report.top;
    let kinds = [
        ("Clients", &top.clients),
        ("Upstreams", &top.upstreams),
        ("Locations", &top.locations),
        ("Messages", &top.messages),
    ];
    for (title, rows) in kinds {
        names(&mut page, title, rows, top.forgotten_at_most.get(title.to_ascii_lowercase().as_str()).copied());
    }
    sessions(&mut page, report);
    seen(&mut page, report);
    backend(&mut page, report);
    blind_spots(&mut page, report);
    page.done()
}

fn heading(page: &mut Page, title: &str, beside: &str) {
    page.line("");
    let title = page.ink(Ink::Bold, title);
    page.line(&format!(" {title}  {beside}"));
}

/// `2026-11-21 14:02:31` where the log's clock hung.
pub(super) fn moment(at: Timestamp, zone: Zone) -> String {
    wall(at, zone, "%Y-%m-%d %H:%M:%S")
}

fn wall(at: Timestamp, zone: Zone, form: &str) -> String {
    zone.wall(at).format(form).to_string()
}

/// `4ms`, `2.0s` or `4m 27s`.
pub(super) fn lifetime(d: Duration) -> String {
    match d.as_millis() {
        0..1_000 => format!("{}ms", d.as_millis()),
        1_000..100_000 => format!("{:.1}s", d.as_secs_f64()),
        _ => steady(d),
    }
}

/// A span without the blanks that align it in columns, and without a second part that is 0: `1m`, `1h 2m`.
pub(super) fn steady(d: Duration) -> String {
    let text = human::span(d).replace("  ", " ");
    [" 0s", " 0m", " 0h"].iter().find_map(|end| text.strip_suffix(end)).unwrap_or(&text).to_owned()
}

/// Files, lines and the span of time, one sentence each.
pub(super) fn summary(r: &LogsReport) -> [String; 3] {
    let read = r.files.iter().filter(|f| f.error.is_none()).count();
    let partly = r.files.len() - read;
    let mut files = human::counted(r.files.len() as u64, "file", "files");
    if partly > 0 {
        files = format!("{files}, {partly} of them not or only partly readable");
    }
    let mut lines = format!(
        "{}: {}, {}, {} unparsed",
        human::counted(r.lines, "line", "lines"),
        human::counted(r.entries, "entry", "entries"),
        human::counted(r.continuations, "continuation", "continuations"),
        human::grouped(r.unparsed),
    );
    if r.overlong > 0 {
        lines = format!("{lines}; {} overlong", human::grouped(r.overlong));
    }
    let time = match (r.from, r.to) {
        (Some(from), Some(to)) => {
            let shown = (moment(from, r.zone), moment(to, r.zone), steady(to.since(from)));
            format!("{} to {} ({}), {} time", shown.0, shown.1, shown.2, r.zone)
        }
        _ if r.filtered && r.entries == 0 => {
            "no entry is in the time and passes the filters that were asked for".to_owned()
        }
        _ => "no entry with a time".to_owned(),
    };
    [format!("{files}, {}B of text", human::scaled(r.bytes)), lines, time]
}

fn totals(page: &mut Page, r: &LogsReport) {
    let [files, lines, time] = summary(r);
    page.hang(&format!(" {}  ", page.ink(Ink::Bold, "Logs")), 7, &files);
    page.hang("       ", 7, &lines);
    page.hang("       ", 7, &time);
}

fn rate(page: &mut Page, r: &LogsReport) {
    let (together, counts) = chart::fitted(&r.rate.counts, CHART);
    let (Some(from), 2..) = (r.rate.from, counts.len()) else { return };
    let most = counts.iter().copied().max().unwrap_or(0);
    let each = Duration::from_secs(r.rate.bucket_s.saturating_mul(together as u64));
    heading(page, "Rate", &format!("entries in each {}, at most {}", steady(each), human::grouped(most)));
    let lines = chart::columns(&counts, CHART, ROWS);
    let width = lines.first().map_or(0, |l| human::width(l));
    for (row, line) in lines.iter().enumerate() {
        let scale = if row == 0 { human::scaled(most) } else { String::new() };
        page.line(&format!(" {scale:>6} │{line}"));
    }
    let end = from.plus(each.saturating_mul(u32::try_from(counts.len()).unwrap_or(u32::MAX)));
    let (left, right) = (moment(from, r.zone), moment(end, r.zone));
    let gap = width.saturating_sub(human::width(&left) + human::width(&right)).max(2);
    page.line(&format!("      0 └{left}{:gap$}{right}", ""));
}

/// A share as `34.2%`.
fn share(n: u64, of: u64) -> String {
    format!("{:.1}%", n as f64 * 100.0 / of.max(1) as f64)
}

fn row(page: &mut Page, sign: &str, name: &str, n: u64, of: u64) {
    page.line(&format!(" {sign} {name:<18}{:>13}  {:>6}  {}", human::grouped(n), share(n, of), chart::bar(n, of, BAR)));
}

fn levels(page: &mut Page, r: &LogsReport) {
    let all = r.by_level.values().sum();
    if all == 0 {
        return;
    }
    heading(page, "Levels", "of error-log entries");
    for (level, n) in &r.by_level {
        let sign = match level {
            Level::Emerg | Level::Alert | Level::Crit => page.ink(Ink::Bad, "✖"),
            Level::Error | Level::Warn => page.ink(Ink::Warn, "▲"),
            Level::Notice | Level::Info | Level::Debug => page.ink(Ink::Dim, "·"),
        };
        row(page, &sign, level.word(), *n, all);
    }
}

/// How much a category matters: what clients do to themselves and what nginx thinks minor stays quiet.
pub(super) const fn weight(category: Category) -> u8 {
    match category {
        Category::ClientClosed
        | Category::ClientProtocol
        | Category::RoutingStatic
        | Category::LifecycleConfig
        | Category::Other => 0,
        Category::Limits | Category::AccessAuth | Category::Http2Quic | Category::TlsClient => 1,
        _ => 2,
    }
}

/// Categories with their counts, the most frequent first.
pub(super) fn ranked(r: &LogsReport) -> Vec<(Category, u64)> {
    let mut all: Vec<(Category, u64)> = r.by_category.iter().map(|(c, n)| (*c, *n)).collect();
    all.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    all
}

fn categories(page: &mut Page, r: &LogsReport) {
    let ranked = ranked(r);
    let all = ranked.iter().map(|(_, n)| n).sum();
    if ranked.is_empty() {
        return;
    }
    heading(page, "Categories", "of error-log entries");
    for (category, n) in ranked {
        let sign = match weight(category) {
            0 => page.ink(Ink::Dim, "·"),
            1 => page.ink(Ink::Warn, "▲"),
            _ => page.ink(Ink::Bad, "✖"),
        };
        row(page, &sign, category.word(), n, all);
    }
}

fn statuses(page: &mut Page, r: &LogsReport) {
    if r.by_status.is_empty() {
        return;
    }
    let sent = r.bytes_sent.map_or_else(String::new, |n| format!(", {}B sent to clients", human::scaled(n)));
    heading(page, "Statuses", &format!("of access-log entries{sent}"));
    let each: Vec<String> = r.by_status.iter().map(|(s, n)| format!("{s:03}:\u{a0}{}", human::grouped(*n))).collect();
    page.hang("   ", 3, &each.join(", "));
}

/// `1,204`, or `1,204–1,216` where the count is not exact.
pub(super) fn count(row: &TopRow) -> String {
    let least = human::grouped(row.count);
    if row.missed == 0 { least } else { format!("{least}–{}", human::grouped(row.count.saturating_add(row.missed))) }
}

fn names(page: &mut Page, title: &str, rows: &[TopRow], forgotten: Option<u64>) {
    if rows.is_empty() {
        return;
    }
    let forgotten = forgotten.map(|n| format!("too many to count each: any other at most {}", human::grouped(n)));
    heading(page, title, &forgotten.unwrap_or_default());
    for row in rows {
        let count = count(row);
        let wide = human::width(&count).max(10);
        let room = WIDTH.saturating_sub(3 + wide + 2);
        for (i, line) in safe::wrapped(&row.name, room).iter().take(LINES).enumerate() {
            let line = human::cut_end(line, room);
            let line = if row.routine { page.ink(Ink::Dim, &line) } else { line.into_owned() };
            let count = if i == 0 { count.as_str() } else { "" };
            page.line(&format!("   {count:>wide$}  {line}"));
        }
    }
}

/// `1m 0s to 2m 0s`.
pub(super) fn band(b: &Band) -> String {
    let s = |n| steady(Duration::from_secs(n));
    b.to_s.map_or_else(|| format!("{} and more", s(b.from_s)), |to| format!("{} to {}", s(b.from_s), s(to)))
}

/// The lifetimes in one sentence; `None` when they are not known.
pub(super) fn lifetimes(r: &LogsReport) -> Option<String> {
    let l = &r.sessions.lifetimes;
    let shown = |s: Option<f64>| Some(lifetime(Duration::try_from_secs_f64(s?).ok()?));
    let (p50, p90, p99, max) = (shown(l.p50)?, shown(l.p90)?, shown(l.p99)?, shown(l.max)?);
    Some(format!("lifetimes p50 {p50}, p90 {p90}, p99 {p99}, longest {max}"))
}

fn sessions(page: &mut Page, r: &LogsReport) {
    let s = &r.sessions;
    if s.count == 0 {
        return;
    }
    let ended = human::counted(s.count, "tunnel ended", "tunnels ended");
    heading(page, "Sessions", &ended);
    if let Some(said) = lifetimes(r) {
        page.hang("   ", 3, &said);
    }
    let most = s.lifetimes.histogram.iter().map(|b| b.count).max().unwrap_or(0);
    for b in &s.lifetimes.histogram {
        let bar = chart::bar(b.count, most, BAR);
        page.line(&format!("   {:<18}{:>13}          {bar}", band(b), human::grouped(b.count)));
    }
    for spike in &s.lifetimes.spikes {
        let lead = format!(" {} ", page.ink(Ink::Warn, "▲"));
        let n = human::counted(spike.count, "tunnel", "tunnels");
        page.hang(&lead, 3, &format!("{n} ended at an age of {}{}", lifetime(spike.at), fits(spike)));
    }
    for burst in &s.bursts {
        let lead = format!(" {} ", page.ink(Ink::Warn, "▲"));
        page.hang(&lead, 3, &together(burst, r.zone));
    }
}

fn seen(page: &mut Page, r: &LogsReport) {
    let Some(counts) = r.handshakes.as_ref().and_then(handshakes::counts) else { return };
    heading(page, "Handshakes seen", "in debug lines, the last of them");
    page.hang("   ", 3, &counts);
    for told in handshakes::last(r) {
        page.hang(&format!("   {}  {:<3}  ", told.at, told.status), 29, &told.request);
        if let Some(lost) = &told.lost {
            page.hang(&format!("{:27}{} ", "", page.ink(Ink::Bad, "✖")), 29, lost);
        }
    }
}

fn backend(page: &mut Page, r: &LogsReport) {
    let Some(b) = &r.backend else { return };
    let lines = human::counted(b.lines, "line", "lines");
    heading(page, "Backend", &format!("{lines}, {} with a known message", human::grouped(b.recognised)));
    for m in &b.messages {
        let count = human::grouped(m.count);
        let lead = format!("   {count:>10}  ");
        page.hang(&lead, human::width(&lead), &format!("{}: {}", m.library, m.words));
        page.hang(&format!("{:15}{} ", "", page.ink(Ink::Bad, "✖")), 17, m.meaning);
        let at = m.last.map_or_else(String::new, |at| format!("{}: ", moment(at, r.zone)));
        page.hang(&format!("{:15}", ""), 15, &page.ink(Ink::Dim, &format!("last {at}{}", m.raw)));
    }
}

/// What may have ended the sessions of a spike: a timeout of the same length is a possibility, no proof.
pub(super) fn fits(spike: &Spike) -> String {
    spike.timeout.as_ref().map_or_else(String::new, |t| format!("; this fits {t}"))
}

/// A burst in one sentence.
pub(super) fn together(b: &BurstRow, zone: Zone) -> String {
    let n = human::counted(b.ended, "tunnel", "tunnels");
    let usual = if b.usual < 0.05 { "hardly one".to_owned() } else { format!("{:.1}", b.usual) };
    let took = if b.seconds > 1 { format!(" within {} seconds", b.seconds) } else { String::new() };
    let why = b.why.as_ref().map_or_else(String::new, |why| {
        let clock = |at| if same_day(at, b.at, zone) { wall(at, zone, "%H:%M:%S") } else { moment(at, zone) };
        format!(": {}", cause(why, clock))
    });
    format!("{n} ended together at {}{took}, where {usual} is usual{why}", moment(b.at, zone))
}

fn same_day(a: Timestamp, b: Timestamp, zone: Zone) -> bool {
    zone.wall(a).date() == zone.wall(b).date()
}

fn blind_spots(page: &mut Page, r: &LogsReport) {
    if r.not_visible.is_empty() {
        return;
    }
    heading(page, "Not visible", "");
    for note in &r.not_visible {
        let lead = format!(" {} ", page.ink(Ink::Dim, "·"));
        page.hang(&lead, 3, note);
    }
}
