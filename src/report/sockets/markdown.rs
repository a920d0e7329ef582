//! One look at the tunnels as Markdown, to paste into a ticket.

use std::fmt::Write as _;

use super::super::filter::Fields;
use super::super::markdown::inert;
use super::data::Sockets;
use super::text::{fact, headroom, source};
use crate::human;

const TUNNEL: [&str; 13] = [
    "client",
    "worker",
    "location",
    "upstream",
    "state",
    "age",
    "idle",
    "down",
    "up",
    "rtt",
    "retransmits",
    "left",
    "pair",
];
const LEG: [&str; 9] = ["side", "local", "peer", "state", "worker", "age", "idle", "rtt", "retransmits"];
const GROUP: [&str; 7] = ["name", "tunnels", "received", "sent", "down", "up", "left"];

fn head(out: &mut String, title: &str, columns: &[&str]) {
    let _ = writeln!(out, "\n## {title}\n\n| {} |\n|{}", columns.join(" | "), "---|".repeat(columns.len()));
}

fn row(out: &mut String, cells: impl Iterator<Item = Option<String>>) {
    out.push('|');
    for cell in cells {
        let _ = write!(out, " {} |", inert(cell.as_deref().unwrap_or("·")));
    }
    out.push('\n');
}

fn rows<'a, F: Fields + 'a>(out: &mut String, columns: &[&str], rows: impl Iterator<Item = &'a F>) {
    for r in rows {
        row(out, columns.iter().map(|c| fact(r, c)));
    }
}

/// The look as Markdown.
#[must_use]
pub fn sockets_markdown(look: &Sockets) -> String {
    let at: String = look.at.to_string().chars().take(19).collect();
    let n = human::counted(look.tunnels.len() as u64, "tunnel", "tunnels");
    let mut out = format!("# {n}\n\nHost {}, {at}Z, {}.\n", inert(&look.host), source(look));
    match &look.groups {
        Some((by, groups)) if !groups.is_empty() => {
            let mut columns = GROUP;
            columns[0] = by.word();
            head(&mut out, "Groups", &columns);
            rows(&mut out, &GROUP, groups.iter());
        }
        None if !look.tunnels.is_empty() => {
            head(&mut out, "Tunnels", &TUNNEL);
            rows(&mut out, &TUNNEL, look.tunnels.iter());
        }
        _ => {}
    }
    if !look.unpaired.is_empty() {
        head(&mut out, "Unpaired legs", &LEG);
    }
    for l in &look.unpaired {
        let of = |c: &&str| match *c {
            "side" => l.side.map(|s| s.word().to_owned()),
            "peer" => Some(l.leg.peer()),
            c => fact(l, c),
        };
        row(&mut out, LEG.iter().map(of));
    }
    if !look.listeners.is_empty() {
        head(&mut out, "Listeners", &["listens", "queue", "backlog"]);
    }
    for l in &look.listeners {
        let backlog = l.backlog.map(|b| b.to_string());
        row(&mut out, [Some(l.local.to_string()), Some(l.queue.to_string()), backlog].into_iter());
    }
    let headroom = headroom(look);
    if !headroom.is_empty() {
        let _ = writeln!(out, "\n## Headroom\n\n{headroom}");
    }
    out
}
