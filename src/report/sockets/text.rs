//! One look at the tunnels for a person: a table for the terminal's width, or whole for a pipe.

use std::borrow::Cow;
use std::time::Duration;

use super::super::filter::Fields;
use super::super::safe;
use super::super::text::{Ink, Page};
use super::data::Sockets;
use super::figure;
use super::group::{By, GroupRow};
use super::leg::LegRow;
use super::row::TunnelRow;
use super::table::{Column, Cut, put};
use crate::event::socket::{Listener, SocketSource};
use crate::human;
use crate::model::connections::TunnelState;
use crate::model::legs::Trouble;

/// Legs without a partner shown on a terminal; a pipe gets them all.
const UNPAIRED_SHOWN: usize = 20;

/// A fact of a row as a cell.
pub(super) fn fact(row: &impl Fields, key: &str) -> Option<String> {
    row.text(key).map(Cow::into_owned)
}

/// `≥2h14m` where it is a lower bound.
fn age((d, bound): (Duration, bool)) -> String {
    format!("{}{}", if bound { "≥" } else { "" }, figure::span(d))
}

fn state_ink(r: &TunnelRow) -> Option<Ink> {
    match r.state {
        TunnelState::Stuck => Some(Ink::Warn),
        TunnelState::Open => None,
        TunnelState::Closing | TunnelState::Draining | TunnelState::Unpaired => Some(Ink::Dim),
    }
}

/// Red for what is about to be cut, yellow for what will be soon.
fn left_ink(r: &TunnelRow) -> Option<Ink> {
    let (left, timeout) = (r.left?, r.timeout?);
    let share = left.as_secs_f64() / timeout.as_secs_f64().max(1e-9);
    match share {
        s if s < 0.2 && left < Duration::from_secs(60) => Some(Ink::Bad),
        s if s < 0.4 && left < Duration::from_secs(300) => Some(Ink::Warn),
        _ => None,
    }
}

/// What is odd about a tunnel fits in so many columns.
const STATE: usize = 12;

/// `several` nginx run: each row says which one it belongs to.
fn tunnel_columns(several: bool) -> Vec<Column<TunnelRow>> {
    let mut columns = vec![
        Column::words("CLIENT", 0, Cut::Middle(15), |r| fact(r, "client")),
        Column::words("WORKER", 9, Cut::Never, |r| fact(r, "worker")),
        Column::words("LOCATION", 6, Cut::Front(8), |r| fact(r, "location")),
        Column::words("UPSTREAM", 7, Cut::Middle(15), |r| fact(r, "upstream")),
        Column::words("STATE", 2, Cut::Never, |r: &TunnelRow| Some(r.state_word(STATE).into_owned())).ink(state_ink),
        Column::number("AGE", 3, |r: &TunnelRow| r.age.map(age)).at_least(6),
        Column::number("IDLE", 4, |r: &TunnelRow| fact(r, "idle")).at_least(6),
        Column::number("↓/s", 5, |r: &TunnelRow| fact(r, "down")).at_least(4),
        Column::number("↑/s", 5, |r: &TunnelRow| fact(r, "up")).at_least(4),
        Column::number("BYTES", 12, |r: &TunnelRow| fact(r, "bytes")).at_least(5),
        Column::number("RTT", 10, |r: &TunnelRow| fact(r, "rtt")).at_least(5),
        Column::number("RETRANS", 11, |r| fact(r, "retransmits")),
        Column::number("LEFT", 1, |r: &TunnelRow| fact(r, "left")).at_least(6).ink(left_ink),
        Column::words("PAIR", 8, Cut::Never, |r: &TunnelRow| fact(r, "pair")).at_least(8),
    ];
    if several {
        columns.insert(2, Column::words("NGINX", 10, Cut::Never, |r| fact(r, "nginx")));
    }
    columns
}

/// What is odd about it, else its state.
fn leg_state(r: &LegRow) -> &'static str {
    r.trouble.map_or_else(|| r.leg.state(), Trouble::key)
}

fn leg_columns() -> [Column<LegRow>; 11] {
    [
        Column::words("SIDE", 7, Cut::Never, |r| r.side.map(|s| s.word().to_owned())),
        Column::words("LOCAL", 0, Cut::Middle(15), |r| fact(r, "local")),
        Column::words("PEER", 0, Cut::Middle(15), |r| Some(r.leg.peer())),
        Column::words("STATE", 2, Cut::Never, |r| Some(leg_state(r).to_owned())),
        Column::words("PID", 8, Cut::Never, |r| fact(r, "worker")),
        Column::number("AGE", 3, |r| Some(age(r.age))),
        Column::number("IDLE", 4, |r| r.idle.map(figure::span)),
        Column::number("IN/s", 5, |r| r.rates.map(|n| figure::amount(n.0))),
        Column::number("OUT/s", 5, |r| r.rates.map(|n| figure::amount(n.1))),
        Column::number("RTT", 9, |r| fact(r, "rtt")),
        Column::number("RETRANS", 10, |r| fact(r, "retransmits")),
    ]
}

fn group_columns(by: By) -> [Column<GroupRow>; 7] {
    let title = match by {
        By::Client => "CLIENT",
        By::Upstream => "UPSTREAM",
        By::Location => "LOCATION",
        By::Worker => "WORKER",
        By::State => "STATE",
    };
    [
        Column::words(title, 0, Cut::Middle(15), |g| g.name.clone()),
        Column::number("TUNNELS", 0, |g| Some(human::grouped(g.tunnels as u64))),
        Column::number("RECEIVED", 4, |g| g.received.map(human::scaled)),
        Column::number("SENT", 4, |g| g.sent.map(human::scaled)),
        Column::number("↓/s", 3, |g| g.down.map(figure::amount)),
        Column::number("↑/s", 3, |g| g.up.map(figure::amount)),
        Column::number("LEAST LEFT", 2, |g| g.left.map(figure::span)),
    ]
}

fn listener_columns() -> [Column<Listener>; 3] {
    [
        Column::words("LISTENS", 0, Cut::Never, |l| Some(l.local.to_string())),
        Column::number("QUEUE", 0, |l| Some(human::grouped(u64::from(l.queue)))),
        Column::number("BACKLOG", 0, |l| l.backlog.map(|b| human::grouped(u64::from(b)))),
    ]
}

fn heading(page: &mut Page, title: &str, beside: &str) {
    page.line("");
    let title = page.ink(Ink::Bold, title);
    page.line(&format!(" {title}  {beside}"));
}

/// How the tables were read, for the first line.
pub(super) const fn source(look: &Sockets) -> &'static str {
    match look.source {
        Some(SocketSource::Netlink) => "netlink",
        Some(SocketSource::Procfs) => "procfs",
        None => "no socket looked at",
    }
}

/// `slots 53/256  fds 55/20,000  accept queue 0/511`; empty when nothing is known.
pub(super) fn headroom(look: &Sockets) -> String {
    look.headroom.said().join("   ")
}

/// The look as text: within `width` columns where that is given, whole without; with `color` in the terminal's own colours.
#[must_use]
pub fn sockets_text(look: &Sockets, width: Option<usize>, color: bool) -> String {
    let mut page = Page::new(color);
    let at: String = look.at.to_string().chars().take(19).collect();
    page.line(&format!(" {}   {at}Z   {}", safe::line(&look.host), source(look)));
    tunnels(&mut page, look, width);
    unpaired(&mut page, look, width);
    if !look.listeners.is_empty() {
        heading(&mut page, "Listeners", "");
        put(&mut page, &listener_columns(), &look.listeners, width);
    }
    let headroom = headroom(look);
    if !headroom.is_empty() {
        heading(&mut page, "Headroom", &headroom);
    }
    page.done()
}

fn tunnels(page: &mut Page, look: &Sockets, width: Option<usize>) {
    let n = human::counted(look.tunnels.len() as u64, "tunnel", "tunnels");
    let by = look.groups.as_ref().map_or_else(String::new, |(by, _)| format!(" by {}", by.word()));
    heading(page, "Tunnels", &format!("{n}{by}"));
    if look.tunnels.is_empty() {
        return;
    }
    if let Some((by, groups)) = &look.groups {
        put(page, &group_columns(*by), groups, width);
    } else {
        let several = look.tunnels.iter().any(|t| t.nginx.is_some());
        put(page, &tunnel_columns(several), &look.tunnels, width);
    }
}

fn unpaired(page: &mut Page, look: &Sockets, width: Option<usize>) {
    let all = look.unpaired.len();
    if all == 0 {
        return;
    }
    let shown = width.map_or(all, |_| all.min(UNPAIRED_SHOWN));
    let hidden = if shown < all { format!(", the first {shown}") } else { String::new() };
    heading(page, "Unpaired", &format!("{}{hidden}", human::counted(all as u64, "leg", "legs")));
    put(page, &leg_columns(), &look.unpaired[..shown], width);
}
