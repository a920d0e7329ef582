//! One endpoint by one route: how it is, how it is reached, what was asked and answered and what decided it, and its life.

use std::time::Duration;

use ratatui::text::{Line, Span};

use crate::event::probe::{Cadence, Route, Strays};
use crate::human;
use crate::model::probes::{Outcome, Uptime};

use super::super::light::Light;
use super::super::panes::{cell, life};
use super::super::seen::{self, SeenLine};
use super::super::snapshot::endpoint::EndpointRow;
use super::super::snapshot::outcome;
use super::super::text::{Look, cut_words, spans_width, wrap_exact, wrap_whole};
use super::super::theme::Tone;
use super::decisive::{self, Marked};
use super::{NAME, Page, certificate};

/// Request and answer stand side by side on pages at least so wide.
const BESIDE: usize = 92;
/// Columns of the longest bar of a waterfall.
const WATERFALL: usize = 64;
/// Lines of a body.
const BODY: usize = 20;

/// The whole page.
pub(super) fn write(page: &mut Page<'_>, r: &EndpointRow) {
    state(page, r);
    if r.route.is_some() {
        way(page, r);
        held(page, r);
        paces(page, r);
        waterfall(page, r);
    }
    dialogue(page, r);
    if let Some(tls) = &r.tls {
        certificate::write(page, r, tls);
    }
    for line in seen::lines(&r.seen, |h| page.look.clock(h.at)) {
        match line {
            SeenLine::Head(text) => page.head(&text),
            SeenLine::Pair(name, text, tone) => page.spaced(name, &text, tone),
        }
    }
    history(page, r);
}

fn state(page: &mut Page<'_>, r: &EndpointRow) {
    let held = r.held.map_or_else(String::new, |d| format!(" for {}", human::span(d)));
    page.toned("now", &format!("{} {}{held}", r.light.sign(), r.word), r.light.word_tone());
    if let Some(said) = &r.said {
        page.pair("last", said);
    }
    if let Some(site) = &r.site {
        page.pair("configured", site);
    }
    if r.is_only_seen {
        page.pair("probe", "its URL is not known: give it on the command line");
    } else if r.route.is_none() {
        page.pair("probe", "press p to open a WebSocket to it and keep it open with pings");
    }
}

/// By which sockets, proxies and addresses.
fn way(page: &mut Page<'_>, r: &EndpointRow) {
    let route = match (r.route, r.cadence) {
        (Some(Route::Direct), None) => "directly to the backend".to_owned(),
        (Some(Route::Direct), Some(Cadence::Silent)) => "directly to the backend, silent: no pings are sent".to_owned(),
        (Some(Route::Direct), Some(cadence)) => format!("directly to the backend, a ping every {cadence}"),
        (_, Some(Cadence::Silent)) => "as clients come, silent: no pings are sent".to_owned(),
        (_, Some(cadence)) => format!("as clients come, a ping every {cadence}"),
        _ => "as clients come".to_owned(),
    };
    let mut said = vec![route];
    said.extend(r.way.ends.map(|(local, peer)| format!("{local} → {peer}")));
    page.spaced("way", &said.join("   "), Tone::Plain);
    if let Some(proxy) = &r.way.http_proxy {
        page.pair("through", &format!("the HTTP proxy {proxy}"));
    }
    if let Some(socket) = &r.way.unix_socket {
        page.pair("through", &format!("the unix socket {socket}"));
    }
    if r.way.addresses.len() > 1 {
        let all: Vec<String> = r.way.addresses.iter().map(ToString::to_string).collect();
        page.pair("addresses", &all.join(", "));
    }
    for (i, tried) in r.way.tried.iter().enumerate() {
        page.toned(if i == 0 { "tried" } else { "" }, &format!("{} {tried}", Light::Bad.sign()), Tone::Warn);
    }
}

/// The strip of its life, the time up, and the heartbeat.
fn held(page: &mut Page<'_>, r: &EndpointRow) {
    let room = page.width.saturating_sub(NAME);
    if !r.history.is_empty() {
        page.named("life", life::strip(page.look, &r.history, room));
    }
    if let Some(said) = uptime(&r.uptimes) {
        page.spaced("up", &said, Tone::Plain);
    }
    let b = &r.beats;
    let ms = |d: Option<Duration>| d.map_or_else(|| "·".to_owned(), human::latency);
    if b.pings > 0 {
        let every = b.period.map_or_else(String::new, |d| format!(", every {}", human::latency(d)));
        let missed = r.missed.map_or_else(|| "·".to_owned(), human::grouped);
        let said =
            format!("{} sent{every}   {} answered   {missed} missed", human::grouped(b.pings), human::grouped(b.pongs));
        page.spaced("pings", &said, if r.missed > Some(0) { Tone::Warn } else { Tone::Plain });
        let jitter = b.jitter.map_or_else(String::new, |j| format!("jitter {}   ", human::latency(j)));
        let said = format!("now {}   p50 {}   p99 {}   {jitter}", ms(r.rtt), ms(r.p50), ms(r.p99));
        let left = room.saturating_sub(human::width(&said));
        let mut spans = vec![page.look.span(Tone::Plain, said)];
        spans.extend(cell::pulse(page.look, &r.spark, left.min(64)));
        page.named("round trips", spans);
    }
    if let Some((said, tone)) = strays(&b.strays) {
        page.spaced("stray pongs", &said, tone);
    }
    if b.questions > 0 {
        let n = human::grouped;
        let late = n(b.unanswered);
        let took = ms(b.answer_time);
        let said = format!("{} asked   {} answered   {late} not in time   last {took}", n(b.questions), n(b.answers));
        page.spaced("messages", &said, if b.unanswered > 0 { Tone::Warn } else { Tone::Plain });
    }
}

/// `2 out of order   1 with another payload   40 unsolicited`; the last are allowed (RFC 6455 section 5.5.3).
fn strays(s: &Strays) -> Option<(String, Tone)> {
    let kinds =
        [(s.out_of_order, "out of order"), (s.wrong_payload, "with another payload"), (s.unsolicited, "unsolicited")];
    let said: Vec<String> =
        kinds.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", human::grouped(*n))).collect();
    let tone = if s.out_of_order + s.wrong_payload > 0 { Tone::Warn } else { Tone::Plain };
    (!said.is_empty()).then(|| (said.join("   "), tone))
}

/// What lives and what dies of the tunnels held side by side:
///
/// ```text
/// Side by side
/// silent      ● open 12s    died 3 times, after 60.0s of silence
/// 10s         ● open 3m 12s    none died
/// timer       silence of 60.0s is cut on the path: a ping every 10s keeps a tunnel alive
/// ```
fn paces(page: &mut Page<'_>, r: &EndpointRow) {
    if r.paced.is_empty() {
        return;
    }
    page.head("Side by side");
    for p in &r.paced {
        let held = p.held.map_or_else(String::new, |d| format!(" {}", human::span(d).trim()));
        let died = match p.fare.silences {
            None => "none died".to_owned(),
            Some((low, high)) => {
                let times = human::counted(p.fare.deaths, "time", "times");
                format!("died {times}, after {} of silence", between(low, high))
            }
        };
        let tone = if p.fare.deaths > 0 { Tone::Warn } else { Tone::Plain };
        page.spaced(&p.cadence.to_string(), &format!("{} {}{held}   {died}", p.light.sign(), p.word), tone);
    }
    if let Some(t) = &r.timer {
        let said = format!(
            "silence is cut after {:.1}s on the path: a ping every {} keeps a tunnel alive",
            t.after.as_secs_f64(),
            t.survivor
        );
        page.toned("so", &said, Tone::Strong);
    }
}

/// `60.0s`, `12.0s to 60.1s`.
fn between(low: Duration, high: Duration) -> String {
    let (low, high) = (format!("{:.1}s", low.as_secs_f64()), format!("{:.1}s", high.as_secs_f64()));
    if low == high { high } else { format!("{low} to {high}") }
}

/// `5 min 100 %   1 h 98.3 %   all 97.1 % of 3h 12m`; windows longer than what is known are left out.
fn uptime(uptimes: &[Option<Uptime>; 3]) -> Option<String> {
    let [minutes, hour, all] = uptimes;
    let all = (*all)?;
    let whole =
        |name: &str, up: &Option<Uptime>| up.filter(|u| u.over < all.over).map(|u| format!("{name} {}", percent(u)));
    let mut said: Vec<String> = [whole("5 min", minutes), whole("1 h", hour)].into_iter().flatten().collect();
    let name = if said.is_empty() { "" } else { "all " };
    said.push(format!("{name}{} of {}", percent(all), human::span(all.over).replace("  ", " ")));
    Some(said.join("   "))
}

/// Rounded down: 100 % was never down.
fn percent(up: Uptime) -> String {
    if up.open == up.over {
        return "100 %".to_owned();
    }
    if up.open.is_zero() {
        return "0 %".to_owned();
    }
    format!("{:.1} %", (up.share() * 1e3).floor() / 10.0)
}

/// One line a phase, each bar beginning where the one before ended:
///
/// ```text
/// resolve     ╌                               118us
/// tcp          ────────                       382us
/// upgrade              ━━━━━━━━━━━━━━━━━━━ ✖  787us
/// ```
fn waterfall(page: &mut Page<'_>, r: &EndpointRow) {
    let Some(total) = r.phases.total() else { return };
    page.head(if r.failure().is_some() { "The attempt" } else { "Opening" });
    let look = page.look;
    let room = page.width.saturating_sub(NAME + 12).min(WATERFALL);
    let failed = r.failure().map(|f| f.phase);
    for ((phase, took), (_, from, to)) in r.phases.reached().zip(life::columns(&r.phases, total, room)) {
        let (name, sign, tone) = life::phase(phase);
        // What is too short for a column still shows where it was.
        let to = to.max(from + 1).min(room.max(1));
        let from = from.min(to - 1);
        let bad = failed == Some(phase);
        let end = if bad { Light::Bad.sign() } else { " " };
        let gap = room.saturating_sub(to);
        let spans = vec![
            look.span(Tone::Plain, " ".repeat(from)),
            look.span(if bad { Tone::Bad } else { tone }, sign.repeat(to - from)),
            look.span(Tone::Bad, format!(" {end}")),
            look.span(
                if bad { Tone::Bad } else { Tone::Plain },
                format!("{}{:>8}", " ".repeat(gap), human::latency(took)),
            ),
        ];
        page.named(name, spans);
    }
    let said = format!("{}{:>8}", " ".repeat(room + 2), human::latency(total));
    page.named("together", vec![look.span(Tone::Strong, said)]);
}

/// Request and answer, side by side where there is room, the lines that decide marked.
fn dialogue(page: &mut Page<'_>, r: &EndpointRow) {
    if r.request.is_empty() && r.answer.is_none() {
        return;
    }
    let failure = r.failure().map(|f| f.kind);
    let beside = page.width >= BESIDE && r.answer.is_some() && !r.request.is_empty();
    let width = if beside { (page.width - 3) / 2 } else { page.width };
    let asked = decisive::request(&r.request, r.answer.as_ref(), failure);
    let left = part(page.look, "Request", &asked, width);
    let right = r.answer.as_ref().map(|a| {
        let mut lines = part(page.look, "Answer", &decisive::answer(&r.request, a, failure), width);
        lines.extend(body(page.look, &a.body, width));
        lines
    });
    page.blank();
    if beside {
        put_beside(page, left, right.unwrap_or_default(), width + 3);
        return;
    }
    if !r.request.is_empty() {
        page.lines.extend(left.into_iter().map(Line::from));
    }
    if let Some(right) = right {
        page.blank();
        page.lines.extend(right.into_iter().map(Line::from));
    }
}

type Spans = Vec<Span<'static>>;

fn part(look: &Look, head: &'static str, lines: &[Marked], width: usize) -> Vec<Spans> {
    let mut out = vec![vec![look.span(Tone::Strong, head)]];
    for line in lines {
        let tone = line.why.map_or(Tone::Muted, |(tone, _)| tone);
        let mut parts: Vec<Spans> = wrap_exact(&line.text, width.saturating_sub(2))
            .into_iter()
            .map(|p| vec![look.span(Tone::Plain, "  "), look.span(tone, p)])
            .collect();
        if let Some((tone, why)) = line.why {
            let why = look.span(tone, format!("◂ {why}"));
            match parts.last_mut() {
                Some(last) if spans_width(last) + 2 + why.width() <= width => {
                    last.extend([look.span(Tone::Plain, "  "), why]);
                }
                _ => {
                    let why = look.span(tone, cut_words(&why.content, width.saturating_sub(4)).into_owned());
                    parts.push(vec![look.span(Tone::Plain, "    "), why]);
                }
            }
        }
        out.append(&mut parts);
    }
    out
}

fn body(look: &Look, body: &str, width: usize) -> Vec<Spans> {
    if body.is_empty() {
        return Vec::new();
    }
    let shown = body.lines().take(BODY).flat_map(|l| wrap_whole(l, width.saturating_sub(2)));
    let mut out = vec![Vec::new()];
    out.extend(shown.map(|l| vec![look.span(Tone::Plain, "  "), look.span(Tone::Faint, l)]));
    let more = body.lines().count().saturating_sub(BODY);
    if more > 0 {
        out.push(vec![
            look.span(Tone::Faint, format!("  … {}", human::counted(more as u64, "more line", "more lines"))),
        ]);
    }
    out
}

fn put_beside(page: &mut Page<'_>, left: Vec<Spans>, right: Vec<Spans>, second: usize) {
    let (mut left, mut right) = (left.into_iter(), right.into_iter());
    loop {
        let (l, r) = (left.next(), right.next());
        if l.is_none() && r.is_none() {
            return;
        }
        let mut line = l.unwrap_or_default();
        if let Some(r) = r {
            line.push(page.look.span(Tone::Plain, " ".repeat(second.saturating_sub(spans_width(&line)))));
            line.extend(r);
        }
        page.lines.push(Line::from(line));
    }
}

/// Openings, failures and deaths with their times, the newest first; the same failure again and again is one line.
fn history(page: &mut Page<'_>, r: &EndpointRow) {
    if r.history.is_empty() {
        return;
    }
    page.head("History");
    let mut entries = r.history.iter().rev().peekable();
    while let Some((at, outcome)) = entries.next() {
        let (mut first, mut times) = (*at, 1);
        while let (Outcome::Failed(_), Some((before, _))) = (outcome, entries.next_if(|(_, o)| o == outcome)) {
            (first, times) = (*before, times + 1);
        }
        let light = outcome::light(outcome);
        let again = if times > 1 { format!(", {times} times since {}", page.look.clock(first)) } else { String::new() };
        let said = format!("{} {}{again}", light.sign(), outcome::said(outcome));
        page.toned(&page.look.clock(*at), &said, light.word_tone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_up_is_told_for_windows_that_are_known_whole() {
        let up = |open, over| Some(Uptime { open: Duration::from_secs(open), over: Duration::from_secs(over) });
        assert_eq!(uptime(&[up(12, 12), up(12, 12), up(12, 12)]).as_deref(), Some("100 % of 12s"));
        let hours = uptime(&[up(300, 300), up(3_599, 3_600), up(7_000, 8_000)]);
        assert_eq!(hours.as_deref(), Some("5 min 100 %   1 h 99.9 %   all 87.5 % of 2h 13m"));
        assert_eq!(uptime(&[None, None, None]), None);
        assert_eq!(percent(Uptime { open: Duration::from_secs(99_999), over: Duration::from_secs(100_000) }), "99.9 %");
    }
}
