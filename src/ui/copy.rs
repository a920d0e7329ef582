//! What `y` copies: the thing that is looked at, in the form in which it is most useful elsewhere.

use super::pane::Pane;
use super::snapshot::Snapshot;
use super::snapshot::finding::FindingRow;
use super::state::{Popup, ScreenState};
use super::view;

/// The text, and in few words what it is; `None` when nothing is selected.
#[must_use]
pub fn text(snap: &Snapshot, state: &ScreenState) -> Option<(String, &'static str)> {
    match state.popup {
        Some(Popup::Row(pane, id)) => row(snap, pane, id),
        Some(Popup::Backend(id)) => {
            let row = snap.errors.iter().find(|r| r.id == id)?;
            Some((row.backend_lines.join("\n"), "lines of the backend's log"))
        }
        Some(Popup::Findings) => {
            let all: Vec<String> = snap.findings.iter().filter(|r| r.over.is_none()).map(whole).collect();
            (!all.is_empty()).then(|| (all.join("\n\n"), "all findings"))
        }
        Some(Popup::Help | Popup::Palette) => None,
        None => {
            if let Some(guide) = snap.guide(state.focus).filter(|_| state.filter(state.focus).is_none()) {
                return Some((guide.next.command(&state.program), "the command"));
            }
            let ids = view::ids(snap, state, state.focus);
            let pane = state.pane(state.focus);
            let at = pane.selected.and_then(|id| ids.place(id, pane.at)).unwrap_or(pane.at);
            row(snap, state.focus, ids.get(at.min(ids.len().checked_sub(1)?))?)
        }
    }
}

fn row(snap: &Snapshot, pane: Pane, id: u64) -> Option<(String, &'static str)> {
    match pane {
        Pane::Handshakes => snap.endpoints.iter().find(|r| r.id == id).map(|r| (r.url.clone(), "the URL")),
        Pane::Connections => {
            let row = snap.tunnels.rows.iter().find(|r| r.id == id)?;
            let client = row.client_addr.map_or_else(|| "unknown".to_owned(), |a| a.to_string());
            Some((client, "the client's address"))
        }
        Pane::Errors => {
            if let Some(line) = snap.lines.iter().find(|l| l.seq == id) {
                return Some((line.entry.raw.to_string(), "the raw line"));
            }
            snap.errors.iter().find(|r| r.id == id).map(|r| (r.words.clone(), "the last words"))
        }
        Pane::Findings => {
            let row = snap.findings.iter().find(|r| r.id == id)?;
            let patch = row.finding.fix.as_ref().and_then(|f| f.patch.clone());
            Some(patch.map_or_else(|| (whole(row), "the finding"), |patch| (patch, "the patch")))
        }
        Pane::Timeline => None,
    }
}

/// A finding as plain text: what, where, evidence, fix.
fn whole(row: &FindingRow) -> String {
    let f = &row.finding;
    let mut out = vec![format!("{} ({}) {}", f.id, f.severity.word(), row.about), f.said.clone()];
    out.extend(f.evidence.iter().map(|e| match (&e.file, e.line) {
        (Some(file), Some(line)) => format!("- {} ({file}:{line})", e.said),
        _ => format!("- {}", e.said),
    }));
    if let Some(fix) = &f.fix {
        out.push(format!("fix: {}", fix.said));
        out.extend(fix.patch.clone());
    }
    out.join("\n")
}
