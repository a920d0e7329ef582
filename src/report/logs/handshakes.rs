//! Handshakes that debug lines tell of, in the words of a report.

use super::data::LogsReport;
use super::text::moment;
use crate::event::handshake::{Attempts, Handshake};
use crate::human;

/// Handshakes of a text; JSON has more.
const TOLD: usize = 5;

/// One handshake in a few words.
pub(super) struct Told {
    /// When, where the log's clock hung.
    pub(super) at: String,
    /// The status of the answer, or `·`.
    pub(super) status: String,
    /// The request line, and from where to where it went.
    pub(super) request: String,
    /// What the client asked for and nginx did not pass on.
    pub(super) lost: Option<String>,
}

/// How many there are, and how they were answered; `None` where there are none.
pub(super) fn counts(attempts: &Attempts) -> Option<String> {
    let each = attempts.by_status.iter().map(|(status, n)| format!("{} answered {status}", human::grouped(*n)));
    let unanswered = || format!("{} without an answer", human::grouped(attempts.unanswered));
    let each: Vec<String> = each.chain((attempts.unanswered > 0).then(unanswered)).collect();
    let all = human::counted(attempts.count, "attempt", "attempts");
    (attempts.count > 0).then(|| format!("{all}: {}", each.join(", ")))
}

/// The last of them, oldest first.
pub(super) fn last(report: &LogsReport) -> Vec<Told> {
    let newest = report.handshakes.iter().flat_map(|a| a.newest.iter().rev().take(TOLD));
    let mut told: Vec<Told> = newest.map(|h| of(h, report)).collect();
    told.reverse();
    told
}

fn of(h: &Handshake, report: &LogsReport) -> Told {
    let client = h.client.as_deref().unwrap_or("an unknown client");
    let to = h.upstream.as_ref().map_or_else(String::new, |u| format!(" to {u}"));
    let lost = [(h.lost_upgrade(), "Upgrade: websocket"), (h.lost_connection(), "Connection: upgrade")];
    let lost: Vec<&str> = lost.into_iter().filter(|(lost, _)| *lost == Some(true)).map(|(_, name)| name).collect();
    Told {
        at: moment(h.at, report.zone),
        status: h.status().map_or_else(|| "·".to_owned(), |s| format!("{s:03}")),
        request: format!("{}, {client}{to}", h.request.line),
        lost: (!lost.is_empty()).then(|| format!("nginx did not pass on {}", lost.join(" and "))),
    }
}
