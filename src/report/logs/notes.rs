//! What the logs that were read cannot show: silence in them is no proof that nothing happened.

use super::data::Facts;
use crate::event::log::Level;
use crate::event::tally::Tally;
use crate::event::tally::lifecycle::Incident;
use crate::human;

/// One sentence for each blind spot, with what would open it.
pub(super) fn not_visible(tally: &Tally, facts: &Facts) -> Vec<String> {
    let mut notes: Vec<&str> = Vec::new();
    let crashes = tally.lifecycle.iter().filter(|(_, i)| matches!(i, Incident::Crash { .. })).count();
    let has = |kind: &str| facts.files.iter().any(|f| f.kind == kind || f.kind == "mixed");
    if !has("error") {
        notes.push("No error log was read: why handshakes fail and tunnels end is written only there.");
    } else if !facts.filtered {
        notes.extend(levels(tally.by_level.keys().max().copied()));
    }
    if !has("access") {
        notes.push("No access log was read: how many tunnels ended, and after how long, is written only there.");
    } else if tally.sessions.count > 0 && tally.sessions.lifetimes.longest().is_none() {
        notes.push(
            "The access log tells no lifetimes: add $request_time (and $upstream_response_time) to its log_format.",
        );
    }
    let mut notes: Vec<String> = notes.into_iter().map(str::to_owned).collect();
    if crashes > 0 {
        let died = human::counted(crashes as u64, "worker", "workers");
        notes.push(format!(
            "{died} died of a signal: the tunnels that such a worker held leave no line in any access log."
        ));
    }
    notes
}

/// What entries of no lower level than `least` leave out (ngx_connection_error in core/ngx_connection.c,
/// ngx_http_upstream_process_upgraded in http/ngx_http_upstream.c).
fn levels(least: Option<Level>) -> Vec<&'static str> {
    let Some(least) = least else { return Vec::new() };
    let mut notes = Vec::new();
    if least < Level::Notice {
        notes.push(
            "The error log is not at level notice: reloads, and workers that start or exit, are invisible, and so is \
             whether they ended tunnels (error_log FILE notice;).",
        );
    }
    if least < Level::Info {
        notes.push(
            "Nothing at level info: cuts of idle tunnels and clients that went away are logged only there \
             (error_log FILE info;).",
        );
    }
    notes
}
