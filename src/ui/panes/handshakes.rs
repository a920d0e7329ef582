//! Can clients get in? Every endpoint by both routes, phase by phase.

use std::time::Duration;

use ratatui::text::Span;

use crate::event::SourceKind;
use crate::event::probe::{Cadence, Route};
use crate::human;
use crate::report::filter::Kind;

use super::super::light::Light;
use super::super::snapshot::Snapshot;
use super::super::snapshot::endpoint::EndpointRow;
use super::super::table::{Column, Cut, Sort};
use super::super::text::{Look, Seg};
use super::super::theme::{self, Tone};
use super::{cell, life};

fn ms(d: Option<Duration>) -> Sort {
    Sort::of(d.map(|d| d.as_secs_f64()))
}

/// A figure of a probe; nothing at all where there is no probe.
fn figure(look: &Look, row: &EndpointRow, d: Option<Duration>, say: fn(Duration) -> String) -> Vec<Span<'static>> {
    if row.route.is_none() { Vec::new() } else { cell::time(look, d, say) }
}

/// Days that the certificate has left: `61d`, `▲ 9d`, `✖ -3d`.
fn certificate(r: &EndpointRow, look: &Look, _: usize) -> Vec<Span<'static>> {
    let Some(end) = r.tls.as_ref().and_then(|t| t.not_after) else { return figure(look, r, None, human::span_short) };
    let (light, days) = life::certificate(end, look.now);
    let sign = if light == Light::None { String::new() } else { format!("{} ", light.sign()) };
    let tone = if light == Light::None { Tone::Plain } else { light.tone() };
    // What ended long ago is as bad as what ended yesterday; the column has five places.
    let said = match days {
        ..-99 => "✖ end".to_owned(),
        -99..-9 => format!("{}{days}d", light.sign()),
        _ => format!("{sign}{days}d"),
    };
    vec![look.span(tone, said)]
}

/// A count in at most three places: `999`, `12k`.
fn in_three(n: u64) -> String {
    match n {
        0..1_000 => n.to_string(),
        1_000..100_000 => format!("{}k", n / 1_000),
        _ => "99k".to_owned(),
    }
}

/// No column of a picture is wider; a filter asks for cells without end.
const WIDEST: usize = 64;

/// The columns.
pub static COLUMNS: [Column<EndpointRow>; 17] = [
    Column::<EndpointRow>::words(
        "endpoint",
        "ENDPOINT",
        (20, 44),
        0,
        |r, l, w| {
            // What a filter looks at: a twin's row shows no path where it is that of the row above.
            if w > WIDEST {
                let pace = if r.cadence.is_some() { r.label.as_str() } else { "" };
                return vec![l.span(Tone::Plain, format!("{} {pace}", r.url).trim_end().to_owned())];
            }
            let tone = if r.route.is_none() { Tone::Muted } else { Tone::Plain };
            // The paces of a direct twin stand under it, further in.
            let indent = match (r.is_twin(), r.route, r.cadence) {
                (true, Some(Route::Direct), Some(_)) => "    ",
                (true, ..) => "  ",
                _ => "",
            };
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
        5,
        |r, l, _| {
            let word = match (r.route, r.cadence) {
                (_, Some(Cadence::Silent)) => Some("silent"),
                (_, Some(Cadence::Every(_))) => Some("pings"),
                (Some(Route::Proxy), None) => Some("proxy"),
                (Some(Route::Direct), None) => Some("direct"),
                (None, None) => None,
            };
            cell::figure(l, Tone::Muted, word.map(str::to_owned))
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
        "dns",
        "dns",
        4,
        16,
        |r, l, _| figure(l, r, r.phases.resolve, human::millis),
        |r| ms(r.phases.resolve),
    )
    .kind(Kind::Span),
    Column::<EndpointRow>::number(
        "tcp",
        "tcp",
        4,
        8,
        |r, l, _| figure(l, r, r.phases.connect, human::millis),
        |r| ms(r.phases.connect),
    )
    .kind(Kind::Span),
    Column::<EndpointRow>::number(
        "proxy",
        "prx",
        4,
        15,
        |r, l, _| figure(l, r, r.phases.proxy, human::millis),
        |r| ms(r.phases.proxy),
    )
    .optional()
    .kind(Kind::Span),
    Column::<EndpointRow>::number(
        "tls",
        "tls",
        4,
        7,
        |r, l, _| figure(l, r, r.phases.tls, human::millis),
        |r| ms(r.phases.tls),
    )
    .optional()
    .kind(Kind::Span),
    Column::<EndpointRow>::number(
        "upg",
        "upg",
        4,
        6,
        |r, l, _| figure(l, r, r.phases.upgrade, human::millis),
        |r| ms(r.phases.upgrade),
    )
    .kind(Kind::Span),
    Column::<EndpointRow>::words(
        "phases",
        "OPENING",
        (7, 20),
        13,
        |r, l, w| if w > WIDEST { Vec::new() } else { life::bar(l, &r.phases, r.slowest, w) },
        |r| ms(r.phases.total()),
    ),
    Column::<EndpointRow>::number("rtt", "RTT", 4, 2, |r, l, _| figure(l, r, r.rtt, human::millis), |r| ms(r.rtt))
        .kind(Kind::Span),
    Column::<EndpointRow>::number("p50", "p50", 4, 14, |r, l, _| figure(l, r, r.p50, human::millis), |r| ms(r.p50))
        .kind(Kind::Span),
    Column::<EndpointRow>::number("p99", "p99", 4, 3, |r, l, _| figure(l, r, r.p99, human::millis), |r| ms(r.p99))
        .kind(Kind::Span),
    Column::<EndpointRow>::words(
        "pulse",
        "",
        (8, 16),
        9,
        |r, l, w| if w > WIDEST { Vec::new() } else { cell::pulse(l, &r.spark, w) },
        |_| Sort::Unknown,
    ),
    Column::<EndpointRow>::words(
        "history",
        "LIFE",
        (6, 40),
        11,
        |r, l, w| life::strip(l, &r.history, w),
        |r| Sort::of(r.history.last().map(|(at, _)| at.secs() as f64)),
    )
    .at_right(),
    Column::<EndpointRow>::number("cert", "CERT", 5, 12, certificate, |r| {
        Sort::of(r.tls.as_ref().and_then(|t| t.not_after).map(|t| t.secs() as f64))
    })
    .optional(),
    Column::<EndpointRow>::number(
        "again",
        "✗ again",
        7,
        4,
        |r, l, _| {
            if r.is_only_seen {
                return vec![l.span(Tone::Muted, "in log")];
            }
            if r.route.is_none() {
                return vec![l.span(Tone::Accent, "p"), l.span(Tone::Muted, " probe")];
            }
            let tone = |n: Option<u64>| if n.is_none_or(|n| n == 0) { Tone::Faint } else { Tone::Plain };
            let said = |n: Option<u64>| n.map_or_else(|| theme::NONE.to_owned(), in_three);
            vec![
                l.span(tone(r.missed), format!("{:<3}", said(r.missed))),
                l.span(tone(r.again), format!("{:>4}", said(r.again))),
            ]
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
        let (tone, said) = match life::certificate(end, snap.now) {
            (Light::Bad, _) => (Tone::Bad, "✖ cert expired".to_owned()),
            (Light::Warn, days) => (Tone::Warn, format!("▲ cert {days} d")),
            (_, days) => (Tone::Muted, format!("cert {days} d")),
        };
        facts.push(Seg::new(vec![look.span(tone, said)]).leaves(2));
    }
    facts
}
