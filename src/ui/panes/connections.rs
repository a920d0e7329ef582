//! Who is in, for how long, and how long still? One tunnel a row.

use std::net::SocketAddr;
use std::time::Duration;

use ratatui::text::Span;

use crate::human;
use crate::model::connections::Upstream;
use crate::model::headroom::Gauge;

use super::super::light::Light;
use super::super::snapshot::Snapshot;
use super::super::snapshot::tunnel::{TunnelRow, light};
use super::super::table::{Column, Cut, Sort};
use super::super::text::{Look, Seg};
use super::super::theme::Tone;
use super::cell;

/// The column that the pane is sorted by at first.
pub const TIME_LEFT: usize = 16;

fn secs(d: Option<Duration>) -> Sort {
    Sort::of(d.map(|d| d.as_secs_f64()))
}

fn addr(look: &Look, r: &TunnelRow, a: Option<SocketAddr>) -> Vec<Span<'static>> {
    cell::figure(look, tone(r), a.map(|a| a.to_string()))
}

fn by_upstream(u: Option<&Upstream>) -> Sort {
    match u {
        Some(Upstream::Tcp(address)) => Sort::Address(*address),
        Some(Upstream::Unix(path)) => Sort::Text(path.to_string()),
        None => Sort::Unknown,
    }
}

fn by_addr(a: Option<SocketAddr>) -> Sort {
    a.map_or(Sort::Unknown, Sort::Address)
}

fn rate(look: &Look, bytes: Option<f64>) -> Vec<Span<'static>> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate on a screen, never negative")]
    let whole = bytes.map(|b| b.round() as u64);
    let tone = if whole == Some(0) { Tone::Faint } else { Tone::Plain };
    cell::figure(look, tone, whole.map(human::scaled))
}

/// The columns.
pub static COLUMNS: [Column<TunnelRow>; 17] = [
    Column::<TunnelRow>::words(
        "client",
        "CLIENT",
        (15, 28),
        0,
        |r, l, _| addr(l, r, r.client_addr),
        |r| by_addr(r.client_addr),
    )
    .cut(Cut::Middle),
    Column::<TunnelRow>::number(
        "worker",
        "WORKER",
        7,
        9,
        |r, l, _| cell::figure(l, Tone::Muted, r.worker.map(|w| w.to_string())),
        |r| Sort::of(r.worker.map(f64::from)),
    ),
    Column::<TunnelRow>::number(
        "nginx",
        "NGINX",
        7,
        8,
        |r, l, _| cell::figure(l, Tone::Muted, r.nginx.map(|m| m.to_string())),
        |r| Sort::of(r.nginx.map(f64::from)),
    )
    .optional(),
    Column::<TunnelRow>::words(
        "location",
        "LOCATION",
        (8, 24),
        5,
        |r, l, _| cell::figure(l, tone(r), r.location.clone()),
        |r| r.location.clone().map_or(Sort::Unknown, Sort::Text),
    )
    .cut(Cut::Front),
    Column::<TunnelRow>::words(
        "upstream",
        "UPSTREAM",
        (15, 26),
        7,
        |r, l, _| cell::figure(l, tone(r), r.upstream_addr.as_ref().map(ToString::to_string)),
        |r| by_upstream(r.upstream_addr.as_ref()),
    )
    .cut(Cut::Middle),
    Column::<TunnelRow>::words(
        "state",
        "STATE",
        (7, 13),
        2,
        |r, l, width| cell::state(l, light(r), &r.state_word(width.saturating_sub(2))),
        |r| Sort::Number(if r.ended.is_some() { f64::INFINITY } else { f64::from(r.state as u8) }),
    ),
    Column::<TunnelRow>::number(
        "age",
        "AGE",
        8,
        3,
        |r, l, _| {
            let said = |(d, bound): (Duration, bool)| format!("{}{}", if bound { "≥" } else { "" }, human::span(d));
            cell::figure(l, tone(r), r.age_at(l.now).map(said))
        },
        |r| secs(r.age.map(|a| a.0)),
    ),
    Column::<TunnelRow>::number(
        "idle",
        "IDLE",
        7,
        4,
        |r, l, _| cell::figure(l, tone(r), r.idle_at(l.now).map(human::span)),
        |r| secs(r.idle),
    ),
    Column::<TunnelRow>::number("down", "↓/s", 5, 8, |r, l, _| rate(l, r.down), |r| Sort::of(r.down)),
    Column::<TunnelRow>::number("up", "↑/s", 5, 8, |r, l, _| rate(l, r.up), |r| Sort::of(r.up)),
    Column::<TunnelRow>::words("pulse", "LAST MINUTE", (20, 20), 27, last_minute, |_| Sort::Unknown).at_right(),
    Column::<TunnelRow>::number("bytes", "BYTES", 5, 25, |r, l, _| amount(l, total(r)), |r| count(total(r))),
    Column::<TunnelRow>::number("queue", "QUEUE", 5, 26, |r, l, _| amount(l, r.queue()), |r| count(r.queue())),
    Column::<TunnelRow>::number("rtt", "RTT", 6, 10, |r, l, _| cell::time(l, r.rtt, human::latency), |r| secs(r.rtt)),
    Column::<TunnelRow>::number(
        "retransmits",
        "LOST",
        4,
        11,
        |r, l, _| cell::mishaps(l, r.retransmits.map(u64::from)),
        |r| Sort::of(r.retransmits.map(f64::from)),
    ),
    Column::<TunnelRow>::words(
        "pair",
        "PAIR",
        (8, 8),
        24,
        |r, l, _| cell::figure(l, Tone::Muted, r.ended.is_none().then(|| r.pair.word().to_owned())),
        |r| Sort::Number(f64::from(r.pair as u8)),
    ),
    Column::<TunnelRow>::words("left", "TIME LEFT", (9, 30), 1, time_left, |r| secs(r.left)),
];

/// What has ended stands back.
const fn tone(r: &TunnelRow) -> Tone {
    if r.ended.is_some() { Tone::Faint } else { Tone::Plain }
}

fn total(r: &TunnelRow) -> Option<u64> {
    r.bytes().map(|(down, up)| down.saturating_add(up))
}

fn count(n: Option<u64>) -> Sort {
    Sort::of(n.map(|n| n as f64))
}

fn amount(look: &Look, n: Option<u64>) -> Vec<Span<'static>> {
    let tone = if n == Some(0) { Tone::Faint } else { Tone::Plain };
    cell::figure(look, tone, n.map(human::scaled))
}

/// Three seconds a cell.
fn last_minute(r: &TunnelRow, look: &Look, _: usize) -> Vec<Span<'static>> {
    vec![look.span(Tone::Accent, r.recent(look.now).map_or_else(String::new, |cells| cell::spark(&cells)))]
}

/// A bar that runs down and the time beside it; the colour says how near the end is. How it ended, once it has.
fn time_left(r: &TunnelRow, look: &Look, width: usize) -> Vec<Span<'static>> {
    if let Some(ended) = &r.ended {
        let ago = human::span_short(ended.ago);
        let (long, short) = match ended.timeout {
            Some(timeout) => (format!("silent for {}, {ago} ago", human::span_short(timeout)), "idle cut".to_owned()),
            None => (format!("{}, {ago} ago", ended.how.word()), format!("{ago} ago")),
        };
        return vec![look.span(Tone::Faint, if human::width(&long) <= width { long } else { short })];
    }
    let Some(left) = r.left_at(look.now) else { return cell::figure(look, Tone::Faint, None) };
    let (share, tone) = nearness(left, r.timeout);
    let text_tone = if tone == Tone::Good { Tone::Muted } else { tone };
    let bound = if r.left_at_most.is_some() { "≥" } else { "" };
    let text = format!("{bound}{}", human::span_short(left));
    if !(9..=64).contains(&width) {
        return vec![look.span(text_tone, text)];
    }
    let room = width - 5;
    vec![look.span(tone, format!("{:<room$}", cell::bar(share, room))), look.span(text_tone, format!("{text:>5}"))]
}

/// Which share of its time a tunnel has left, and the tone of that.
#[must_use]
pub fn nearness(left: Duration, timeout: Option<Duration>) -> (f64, Tone) {
    let share = timeout.filter(|t| !t.is_zero()).map_or(0.0, |t| left.as_secs_f64() / t.as_secs_f64());
    let tone = match share {
        s if s < 0.2 && left < Duration::from_secs(60) => Tone::Bad,
        s if s < 0.4 && left < Duration::from_secs(300) => Tone::Warn,
        _ => Tone::Good,
    };
    (share, tone)
}

/// What the title says besides the name.
#[must_use]
pub fn facts(snap: &Snapshot, look: &Look) -> Vec<Seg> {
    let Some((opened, died)) = snap.headroom.pace else { return Vec::new() };
    let n = human::counted(snap.tunnels.living as u64, "tunnel", "tunnels");
    let muted = |s: String| vec![look.span(Tone::Muted, s)];
    let ended = snap.tunnels.rows.len().saturating_sub(snap.tunnels.living) as u64;
    let ended = (ended > 0).then(|| Seg::new(muted(format!("{} ended", human::grouped(ended)))).leaves(7));
    // What stands behind a figure must not move when it gets another digit.
    let mut facts = vec![
        Seg::new(muted(format!("{n:<11}"))).leaves(2),
        Seg::new(muted(format!("{:<12}", format!("+{}/s opened", per_second(opened))))).leaves(6),
        Seg::new(muted(format!("{:<10}", format!("−{}/s died", per_second(died))))).leaves(5),
    ];
    facts.extend(ended);
    facts
}

fn per_second(n: f64) -> String {
    if n > 0.0 && n < 9.95 { format!("{n:.1}") } else { format!("{n:.0}") }
}

/// The fullest worker is worth a word from this share on.
const WORKER_FULL: f64 = 0.5;

/// What nginx has left, for the right end of the title. Where room is short the one that is worst stays longest.
#[must_use]
pub fn headroom(snap: &Snapshot, look: &Look) -> Vec<Seg> {
    let h = &snap.headroom;
    let worker = h.worker.filter(|(_, g)| g.share() >= WORKER_FULL);
    let gauges = [
        ("slots".to_owned(), h.slots),
        (worker.map_or_else(String::new, |(pid, _)| format!("worker {pid}")), worker.map(|(_, g)| g)),
        ("fds".to_owned(), h.fds),
        (h.ports.map_or_else(String::new, |p| format!("ports→{}", p.backend)), h.ports.map(|p| p.gauge)),
        ("queue".to_owned(), h.queue),
    ];
    let known: Vec<(String, Gauge)> = gauges.into_iter().filter_map(|(name, g)| Some((name, g?))).collect();
    let mut worst: Vec<usize> = (0..known.len()).collect();
    worst.sort_by(|a, b| urgency(known[*b].1).total_cmp(&urgency(known[*a].1)));
    let leave = |i: usize| worst.iter().position(|w| *w == i).map_or(u8::MAX, |at| LEAVES[at.min(LEAVES.len() - 1)]);
    known.iter().enumerate().map(|(i, (name, g))| Seg::new(vec![gauge(name, *g, look)]).leaves(leave(i))).collect()
}

/// In which order gauges leave, the worst one's number first; the number of tunnels stays as long as that one.
const LEAVES: [u8; 5] = [1, 4, 6, 7, 8];

/// How much a gauge wants to be seen: its share, and more when it is soon full.
fn urgency(g: Gauge) -> f64 {
    let soon = g.full_in.map_or(0.0, |d| 1.0 / (1.0 + d.as_secs_f64() / 3_600.0));
    g.share().max(soon)
}

fn gauge(name: &str, g: Gauge, look: &Look) -> Span<'static> {
    let light = full(g);
    let sign = if light == Light::Ok { String::new() } else { format!("{} ", light.sign()) };
    let tone = if light == Light::Ok { Tone::Muted } else { light.tone() };
    let (used, limit) = (human::grouped(g.used), human::grouped(g.limit));
    let full = g.full_in.map_or_else(String::new, |d| format!(", full in {}", human::span_short(d)));
    // 9 and 10 and 100 take the same room: what stands beside it must not move.
    let pad = " ".repeat(limit.len().min(3).saturating_sub(used.len()));
    look.span(tone, format!("{sign}{name} {used}/{limit}{full}{pad}"))
}

/// A resource that is full so soon is worth a warning.
const SOON: Duration = Duration::from_secs(600);

/// How near a resource is to its end.
#[must_use]
pub fn full(gauge: Gauge) -> Light {
    match gauge.share() {
        s if s >= 0.95 => Light::Bad,
        s if s >= 0.8 || gauge.full_in.is_some_and(|d| d <= SOON) => Light::Warn,
        _ => Light::Ok,
    }
}
