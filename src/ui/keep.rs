//! What of a moment is kept once it is past: less of it the longer ago, and never more than a fixed number of bytes.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use super::snapshot::Snapshot;
use super::snapshot::past::Past;
use super::snapshot::tunnel::TunnelRow;

/// How much of a moment is kept.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Tunnels that live; half as many of those that ended.
    pub tunnels: usize,
    /// Error-log lines, the newest.
    pub lines: usize,
    /// About how many bytes those may take.
    pub line_bytes: usize,
    /// Names of each kind in each category of errors.
    pub names: usize,
    /// Endpoints and findings.
    pub rows: usize,
    /// What happened to each endpoint, the newest.
    pub history: usize,
}

/// Bytes of an answer's body that are kept.
const BODY: usize = 512;
/// Lines of a backend's log of each message.
const BACKEND_LINES: usize = 4;
/// Messages of backends' logs and categories together.
const ERROR_ROWS: usize = 64;

/// The moment with no more than there is room for. Its timeline is that of whenever it is looked at.
#[must_use]
pub fn thinned(snapshot: &Snapshot, room: &Room) -> Snapshot {
    let mut kept = snapshot.clone();
    kept.past = Past::default();
    kept.tunnels = kept.tunnels.thinned(room.tunnels);
    kept.lines = lines(snapshot, room);
    let surplus = kept.ended.len().saturating_sub(room.lines);
    kept.ended.drain(..surplus);
    kept.errors.truncate(ERROR_ROWS);
    for row in &mut kept.errors {
        row.splits = row.splits.thinned(room.names);
        row.backend_lines.truncate(BACKEND_LINES);
    }
    kept.endpoints.truncate(room.rows);
    for row in &mut kept.endpoints {
        let surplus = row.history.len().saturating_sub(room.history);
        row.history.drain(..surplus);
        row.seen.truncate(room.history / 8);
        if let Some(answer) = row.answer.as_mut().filter(|a| a.body.len() > BODY) {
            let end = (0..=BODY).rev().find(|end| answer.body.is_char_boundary(*end));
            answer.body.truncate(end.unwrap_or(0));
        }
    }
    kept.findings.truncate(room.rows);
    kept
}

/// The newest lines, as many as there is room for.
fn lines(snapshot: &Snapshot, room: &Room) -> Arc<Vec<Arc<crate::model::errors::kept::Kept>>> {
    let mut left = room.line_bytes;
    let fits = |line: &&Arc<crate::model::errors::kept::Kept>| match left.checked_sub(line.weight()) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    };
    let newest = snapshot.lines.iter().rev().take(room.lines).take_while(fits).count();
    if newest == snapshot.lines.len() {
        return Arc::clone(&snapshot.lines);
    }
    Arc::new(snapshot.lines[snapshot.lines.len() - newest..].to_vec())
}

/// About how many bytes a kept moment takes, rather too many: what is shared with other moments counts for each.
#[must_use]
pub fn weight(kept: &Snapshot) -> usize {
    let tunnels = kept.tunnels.rows.iter().chain(kept.tunnels.before.iter()).map(tunnel).sum::<usize>();
    let lines = kept.lines.iter().map(|l| l.weight()).sum::<usize>();
    let ended = kept.ended.iter().map(written).sum::<usize>();
    let series = 4 * 360 + 256;
    let errors = kept.errors.iter().map(|r| {
        let texts = r.words.len() + r.backend_lines.iter().map(|l| l.len() + 32).sum::<usize>();
        size_of_val(r) + series + texts + r.splits.weight()
    });
    let rest = kept.endpoints.iter().map(written).chain(kept.findings.iter().map(written)).sum::<usize>();
    size_of::<Snapshot>() + tunnels + lines + ended + errors.sum::<usize>() + rest + 4_096
}

fn tunnel(row: &TunnelRow) -> usize {
    let text = |t: &Option<String>| t.as_ref().map_or(0, String::len);
    let ended = row.ended.as_ref().map_or(0, |e| e.seen.len() + e.line.as_ref().map_or(0, |(l, _)| l.len()));
    let unix = row.unix.as_ref().map_or(0, written);
    size_of_val(row) + text(&row.location) + text(&row.probe) + ended + unix + 256
}

/// What a thing takes is at most about twice what it takes to write it down with the names of all its fields.
fn written<T: fmt::Debug>(thing: &T) -> usize {
    struct Count(usize);
    impl fmt::Write for Count {
        fn write_str(&mut self, s: &str) -> fmt::Result {
            self.0 += s.len();
            Ok(())
        }
    }
    let mut count = Count(0);
    // Counting cannot fail.
    let _ = write!(count, "{thing:?}");
    size_of::<T>() + 2 * count.0
}
