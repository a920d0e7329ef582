//! Who holds how many? Tunnels added up by what they have in common, one group a row.

use std::net::{IpAddr, SocketAddr};

use ratatui::text::Span;

use crate::human;
use crate::report::filter::Kind;
use crate::report::sockets::GroupRow;

use super::super::table::{Column, Cut, Sort};
use super::super::text::Look;
use super::super::theme::Tone;
use super::cell;

/// The column that groups are sorted by at first: the most tunnels stand first.
pub const TUNNELS: usize = 1;

fn amount(look: &Look, n: Option<u64>) -> Vec<Span<'static>> {
    let tone = if n == Some(0) { Tone::Faint } else { Tone::Plain };
    cell::figure(look, tone, n.map(human::scaled))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate on a screen, never negative")]
fn rate(look: &Look, n: Option<f64>) -> Vec<Span<'static>> {
    amount(look, n.map(|n| n.round() as u64))
}

fn count(n: Option<u64>) -> Sort {
    Sort::of(n.map(|n| n as f64))
}

/// Addresses sort as addresses, workers as numbers.
fn by_name(name: &str) -> Sort {
    let number = || name.parse::<u32>().ok().map(|n| Sort::Number(f64::from(n)));
    let with_port = || name.parse::<SocketAddr>().ok();
    let alone = || name.parse::<IpAddr>().ok().map(|ip| (ip, 0).into());
    with_port().or_else(alone).map(Sort::Address).or_else(number).unwrap_or_else(|| Sort::Text(name.to_owned()))
}

/// The columns.
pub static COLUMNS: [Column<GroupRow>; 7] = [
    Column::<GroupRow>::words(
        "name",
        "GROUP",
        (15, 44),
        0,
        |r, l, _| cell::figure(l, Tone::Plain, r.name.clone()),
        |r| r.name.as_deref().map_or(Sort::Unknown, by_name),
    )
    .cut(Cut::Middle),
    Column::<GroupRow>::number(
        "tunnels",
        "TUNNELS",
        7,
        0,
        |r, l, _| cell::figure(l, Tone::Plain, Some(human::grouped(r.tunnels as u64))),
        |r| Sort::Number(r.tunnels as f64),
    ),
    Column::<GroupRow>::number("received", "RECEIVED", 8, 4, |r, l, _| amount(l, r.received), |r| count(r.received)),
    Column::<GroupRow>::number("sent", "SENT", 6, 4, |r, l, _| amount(l, r.sent), |r| count(r.sent)),
    Column::<GroupRow>::number("down", "↓/s", 6, 3, |r, l, _| rate(l, r.down), |r| Sort::of(r.down)),
    Column::<GroupRow>::number("up", "↑/s", 6, 3, |r, l, _| rate(l, r.up), |r| Sort::of(r.up)),
    Column::<GroupRow>::number(
        "left",
        "LEAST LEFT",
        10,
        2,
        |r, l, _| cell::time(l, r.left_at(l.now), human::span_short),
        |r| Sort::of(r.left.map(|d| d.as_secs_f64())),
    )
    .kind(Kind::Span),
];
