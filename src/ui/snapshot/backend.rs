//! The rows of the Errors pane that come from backends' own logs: one known message each, counted apart from nginx's entries.

use std::time::Duration;

use crate::event::log::Level;
use crate::model::Model;
use crate::model::backend::Messages;
use crate::model::stats::BUCKET_S;
use crate::time::Timestamp;

use super::super::light::Light;
use super::endpoint::stable_id;
use super::error::ErrorRow;

/// Cells kept for the sparkline, as for categories.
const CELLS: usize = 60;
/// What stands where categories stand.
const CATEGORY: &str = "backend";

/// All messages that came.
#[must_use]
pub fn rows(model: &Model) -> Vec<ErrorRow> {
    model.backend.by_message.iter().map(|((library, words), m)| row(library, words, m, model.now)).collect()
}

fn row(library: &str, words: &str, messages: &Messages, now: Timestamp) -> ErrorRow {
    let bucket = Duration::from_secs(BUCKET_S.unsigned_abs());
    let last = messages.last();
    let meaning = last.map_or("", |e| e.fault.meaning());
    ErrorRow {
        id: stable_id(&[CATEGORY, library, words]),
        category: CATEGORY,
        light: Light::Warn,
        total: messages.total,
        per_minute: messages.per_minute(now),
        last: last.and_then(|e| e.at).map(|at| now.since(at)),
        series: messages.buckets.series(now, CELLS, bucket),
        words: format!("{library}: {words}: {meaning}"),
        peer: None,
        recent: messages.recent.iter().rev().map(|e| (e.at.unwrap_or_default(), Level::Error, e.raw.clone())).collect(),
    }
}
