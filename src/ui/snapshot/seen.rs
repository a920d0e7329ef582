//! Handshakes of real clients, from debug logs, put with the endpoints that they went to.

use std::sync::Arc;

use crate::event::handshake::Handshake;
use crate::event::site::Place;
use crate::model::Model;
use crate::model::handshakes::Seen;

/// Handshakes with one answer.
#[derive(Clone, Debug)]
pub struct SeenRow {
    /// The status that clients got; `None`: the log holds no answer.
    pub status: Option<u16>,
    /// How many.
    pub count: u64,
    /// The newest of them.
    pub newest: Arc<Handshake>,
}

/// All handshakes on one path to one location, the newest answer first.
#[derive(Clone, Debug)]
pub struct SeenPath {
    /// The path.
    pub path: String,
    /// The location that nginx chose for it, where that can be told.
    pub place: Option<Place>,
    /// By answer.
    pub rows: Vec<SeenRow>,
}

/// What was seen, the newest path first.
#[must_use]
pub fn paths(model: &Model) -> Vec<SeenPath> {
    let mut out: Vec<SeenPath> = Vec::new();
    for ((path, status), seen) in &model.handshakes.by_path {
        let Some(row) = row(*status, seen) else { continue };
        let place = place(model, &row.newest);
        match out.iter_mut().find(|p| p.path == *path && p.place == place) {
            Some(known) => known.rows.push(row),
            None => out.push(SeenPath { path: path.clone(), place, rows: vec![row] }),
        }
    }
    for path in &mut out {
        path.rows.sort_by_key(|r| std::cmp::Reverse(r.newest.at));
    }
    out.sort_by_key(|p| std::cmp::Reverse(p.rows.first().map(|r| r.newest.at)));
    out
}

fn row(status: Option<u16>, seen: &Seen) -> Option<SeenRow> {
    Some(SeenRow { status, count: seen.count, newest: Arc::clone(seen.newest.back()?) })
}

fn place(model: &Model, h: &Handshake) -> Option<Place> {
    let (_, location) = model.site.as_ref()?.asked(h.request.header("Host"), h.path()?, h.upstream.as_deref())?;
    Some(location.place.clone())
}
