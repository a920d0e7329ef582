//! Can clients get in? Every endpoint by both routes, phase by phase.

use std::time::Duration;

use ratatui::text::Span;

use crate::event::SourceKind;
use crate::event::probe::Route;
use crate::human;
use crate::report::filter::Kind;

use super::super::snapshot::Snapshot;
use super::super::snapshot::endpoint::EndpointRow;
use super::super::table::{Column, Cut, Sort};
use super::super::text::{Look, Seg};
use super::super::theme::Tone;
use super::cell;

fn ms(d: Option<Duration>) -> Sort {
    Sort::of(d.map(|d| d.as_secs_f64()))
}

/// A figure of a probe; nothing at all where there is no probe.
fn figure(look: &Look, row: &EndpointRow, d: Option<Duration>, say: fn(Duration) -> String) -> Vec<Span<'static>> {
    if row.route.is_none() { Vec::new() } else { cell::time(look, d, say) }
}

/// The columns.
pub static COLUMNS: [Column<EndpointRow>; 12] = [
    Column::<EndpointRow>::words(
        "endpoint",
        "ENDPOINT",
        (20, 44),
        0,
        |r, l, w| {
            let tone = if r.route.is_none() { Tone::Muted } else { Tone::Plain };
            let indent = if r.is_twin() { "  " } else { "" };
            // The indent must outlive the cut.
            vec![l.span(tone, format!("{indent}{}", human::cut_front(&r.label, w.saturating_sub(indent.len()))))]
        },
        |r| Sort::Text(r.endpoint.clone()),
    )
    .cut(Cut::Front),
    Column::<EndpointRow>::words(
        "via",
        "VIA",
        (6, 6),
        6,
        |r, l, _| {
            let word = r.route.map(|r| if r == Route::Proxy { "proxy" } else { "direct" }.to_owned());
            cell::figure(l, Tone::Muted, word)
        },
        |r| Sort::Text(format!("{:?}", r.route)),
    ),
    Column::<EndpointRow>::words(
        "now",
        "NOW",
        (9, 11),
        0,
        |r, l, _| cell::state(l, r.light, &r.word),
        |r| Sort::Text(format!("{:?} {}", r.light, r.word)),
    ),
    Column::<EndpointRow>::number("held", "HELD", 7, 1, |r, l, _| figure(l, r, r.held, human::span), |r| ms(r.held))
        .kind(Kind::Span),
    Column::<EndpointRow>::number(
        "tcp",
        "tcp",
        4,
        9,
        |r, l, _| figure(l, r, r.phases.connect, human::millis),
        |r| ms(r.phases.connect),
    )
    .kind(Kind::Span),
    Column::<EndpointRow>::number(
        "tls",
        "tls",
        4,
        8,
        |r, l, _| figure(l, r, r.phases.tls, human::millis),
        |r| ms(r.phases.tls),
    )
    .kind(Kind::Span),
    Column::<EndpointRow>::number(
        "upg",
        "upg",
        4,
        7,
        |r, l, _| figure(l, r, r.phases.upgrade, human::millis),
        |r| ms(r.phases.upgrade),
    )
    .kind(Kind::Span),
    Column::<EndpointRow>::number("rtt", "RTT", 4, 3, |r, l, _| figure(l, r, r.rtt, human::millis), |r| ms(r.rtt))
        .kind(Kind::Span),
    Column::<EndpointRow>::number("p50", "p50", 4, 10, |r, l, _| figure(l, r, r.p50, human::millis), |r| ms(r.p50))
        .kind(Kind::Span),
    Column::<EndpointRow>::number("p99", "p99", 4, 4, |r, l, _| figure(l, r, r.p99, human::millis), |r| ms(r.p99))
        .kind(Kind::Span),
    Column::<EndpointRow>::words(
        "pulse",
        "",
        (8, 16),
        11,
        |r, l, w| if w > 64 { Vec::new() } else { cell::pulse(l, &r.spark, w) },
        |_| Sort::Unknown,
    ),
    Column::<EndpointRow>::number(
        "again",
        "✗ again",
        7,
        5,
        |r, l, _| {
            if r.is_only_seen {
                return vec![l.span(Tone::Muted, "in log")];
            }
            if r.route.is_none() {
                return vec![l.span(Tone::Accent, "p"), l.span(Tone::Muted, " probe")];
            }
            let mut spans = cell::mishaps(l, r.missed);
            let again = r.again.map_or_else(|| "·".to_owned(), human::scaled);
            let tone = if r.again == Some(0) || r.again.is_none() { Tone::Faint } else { Tone::Plain };
            spans.push(l.span(tone, format!("{again:>6}")));
            spans
        },
        |r| Sort::of(r.again.map(|n| n as f64)),
    ),
];

/// What the title says besides the name.
#[must_use]
pub fn facts(snap: &Snapshot, look: &Look) -> Vec<Seg> {
    let known = snap.endpoints.iter().filter(|r| !r.is_only_seen);
    let mut endpoints: Vec<&str> = known.map(|r| r.endpoint.as_str()).collect();
    if endpoints.is_empty() && !snap.sees(SourceKind::Config) {
        return Vec::new();
    }
    endpoints.sort_unstable();
    endpoints.dedup();
    let n = human::counted(endpoints.len() as u64, "endpoint", "endpoints");
    let mut facts = vec![Seg::new(vec![look.span(Tone::Muted, n)]).leaves(3)];
    let ends = snap.endpoints.iter().filter_map(|r| r.tls.as_ref()?.not_after).min();
    if let Some(end) = ends {
        let left = end.since(snap.now);
        let (tone, said) = match left.as_secs() / 86_400 {
            _ if left.is_zero() => (Tone::Bad, "✖ cert expired".to_owned()),
            days @ 0..14 => (Tone::Warn, format!("▲ cert {days} d")),
            days => (Tone::Muted, format!("cert {days} d")),
        };
        facts.push(Seg::new(vec![look.span(tone, said)]).leaves(2));
    }
    facts
}
