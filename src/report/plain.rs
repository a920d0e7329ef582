//! One plain line for each event worth telling: what a dashboard without a terminal prints.

use crate::event::log::{AccessEntry, ErrorEntry};
use crate::event::probe::{ClosedBy, ProbeEvent, Route, Step};
use crate::event::{Event, Sense, Sight, SourceId, Stamped};
use crate::human;

use super::safe;

/// Lines of one batch that are told; a flood is summed up.
const TOLD: usize = 20;

/// The event for a person, `14:02:31 error-log [error] ...`: new error entries, ended sessions, steps of probes and changes
/// of sight. `None` for what only figures show (ticks, sockets, pings, processes). A batch gives several lines, the last
/// without a line end.
#[must_use]
pub fn event_line(e: &Stamped) -> Option<String> {
    let told = match &e.event {
        Event::Errors(batch) if !batch.read.history => told(&batch.entries, error),
        Event::Access(batch) if !batch.read.history => {
            let ended: Vec<&AccessEntry> = batch.entries.iter().filter(|a| a.is_session()).collect();
            told(&ended, |a| session(a))
        }
        Event::Backend(batch) if !batch.history => {
            told(&batch.entries, |e| format!("backend    {}: {}", e.library, e.raw))
        }
        Event::Probe(p) => step(p).into_iter().collect(),
        Event::Sense(sense) => vec![sight(&e.from, sense)],
        Event::Matrix(m) => {
            let opened = m.rows.iter().filter(|r| r.opened()).count();
            vec![format!("matrix     {}: {opened} of {} handshakes opened", m.endpoint, m.rows.len())]
        }
        Event::Site(site) => vec![format!(
            "config     {}: {} read",
            site.conf,
            human::counted(site.servers.len() as u64, "server", "servers")
        )],
        _ => return None,
    };
    let clock = e.at.local_clock();
    let lines: Vec<String> = told.iter().map(|t| format!("{clock}  {}", safe::line(t))).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn told<T>(entries: &[T], line: impl Fn(&T) -> String) -> Vec<String> {
    let mut out: Vec<String> = entries.iter().take(TOLD).map(line).collect();
    if entries.len() > TOLD {
        out.push(format!("… and {} more", entries.len() - TOLD));
    }
    out
}

fn error(e: &ErrorEntry) -> String {
    let errno = e.errno.map_or_else(String::new, |n| format!(" ({n})"));
    let action = e.action.as_ref().map_or_else(String::new, |a| format!(" while {a}"));
    let peer = e.peer().map_or_else(String::new, |p| format!("  {p}"));
    format!("error      [{}] {}: {}{errno}{action}{peer}", e.level.word(), e.category.word(), e.message)
}

fn session(a: &AccessEntry) -> String {
    let life = a.request_time.map_or_else(String::new, |d| format!(" after {:.1} s", d.as_secs_f64()));
    let client = a.client.as_deref().unwrap_or("a client");
    format!("session    {client} {} ended{life}", a.path().unwrap_or("?"))
}

fn step(p: &ProbeEvent) -> Option<String> {
    let via = match (p.target.route, p.target.cadence) {
        (Route::Proxy, None) => String::new(),
        (Route::Proxy, Some(cadence)) => format!(" ({cadence})"),
        (Route::Direct, _) => " (direct)".to_owned(),
    };
    let said = match &p.step {
        Step::Upgraded { took, .. } => format!("open, 101 in {}", human::latency(*took)),
        Step::Refused { failure, .. } => format!("refused: {}", failure.said),
        Step::Missed { seq } => format!("ping {seq} was not answered"),
        Step::Unanswered { seq } => format!("message {seq} was not answered as expected"),
        Step::Closed { by, code, reason, held, idle } => {
            let code = code.map_or_else(String::new, |c| format!(" with {c}"));
            let reason = if reason.is_empty() { String::new() } else { format!(" \"{reason}\"") };
            // Of a pace the silence is what matters.
            let silence = if p.target.cadence.is_some() {
                format!(", {:.1} s of them silent", idle.as_secs_f64())
            } else {
                String::new()
            };
            format!("closed by {}{code}{reason} after {:.1} s{silence}", closer(*by), held.as_secs_f64())
        }
        Step::Stopped => "switched off".to_owned(),
        _ => return None,
    };
    Some(format!("probe      {}{via}: {said}", p.target.url))
}

const fn closer(by: ClosedBy) -> &'static str {
    match by {
        ClosedBy::ServerClose => "the server",
        ClosedBy::Fin => "FIN without a close frame",
        ClosedBy::Reset => "reset",
        ClosedBy::PongTimeout => "us, pings were not answered",
        ClosedBy::ProtocolError => "a protocol error",
        ClosedBy::Us => "us",
    }
}

fn sight(from: &SourceId, sense: &Sense) -> String {
    let light = match sense.sight {
        Sight::Seen => "seen",
        Sight::Degraded => "degraded",
        Sight::Blind => "blind",
        Sight::Off => "off",
    };
    let remedy = sense.remedy.as_ref().map_or_else(String::new, |r| format!(" ({r})"));
    format!("source     {from}: {light}, {}{remedy}", sense.said)
}
