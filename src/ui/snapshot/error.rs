//! The rows of the Errors pane: one category of error-log entries each.

use std::fmt::Write as _;
use std::time::Duration;

use crate::event::log::{Category, ErrorEntry, Level};
use crate::model::Model;
use crate::model::errors::Tally;
use crate::model::stats::BUCKET_S;
use crate::time::Timestamp;

use super::super::light::Light;

/// Cells kept for the sparkline.
const CELLS: usize = 60;

/// One category.
#[derive(Clone, Debug)]
pub struct ErrorRow {
    /// The category's place in the contract's list.
    pub id: u64,
    /// Its public name.
    pub category: &'static str,
    /// How much it hurts.
    pub light: Light,
    /// Entries so far.
    pub total: u64,
    /// Entries a minute over the last five minutes.
    pub per_minute: f64,
    /// How long ago the newest was written.
    pub last: Option<Duration>,
    /// Entries per bucket over the last five minutes, oldest first.
    pub series: Vec<u64>,
    /// The newest message.
    pub words: String,
    /// The backend in it.
    pub peer: Option<String>,
    /// The newest entries with their raw lines, newest first.
    pub recent: Vec<(Timestamp, Level, String)>,
}

/// All categories that occurred.
#[must_use]
pub fn rows(model: &Model) -> Vec<ErrorRow> {
    model.errors.by_category.iter().map(|(c, t)| row(*c, t, model.now)).collect()
}

fn row(category: Category, tally: &Tally, now: Timestamp) -> ErrorRow {
    let bucket = Duration::from_secs(BUCKET_S.unsigned_abs());
    let last = tally.last();
    ErrorRow {
        id: category as u64,
        category: category.word(),
        light: light(category, tally),
        total: tally.total,
        per_minute: tally.per_minute(now),
        last: last.map(|e| now.since(e.at)),
        series: tally.buckets.series(now, CELLS, bucket),
        words: last.map_or_else(String::new, words),
        peer: last.and_then(|e| e.peer().map(str::to_owned)),
        recent: tally.recent.iter().rev().map(|e| (e.at, e.level, e.raw.clone())).collect(),
    }
}

fn words(e: &ErrorEntry) -> String {
    let mut said = e.message.clone();
    if let Some(errno) = e.errno {
        let _ = write!(said, " ({errno})");
    }
    if let Some(action) = &e.action {
        said.push_str(" while ");
        said.push_str(action);
    }
    said
}

/// What clients do to themselves stays quiet; so does what nginx itself thinks minor.
fn light(category: Category, tally: &Tally) -> Light {
    let quiet = matches!(
        category,
        Category::ClientClosed | Category::ClientProtocol | Category::RoutingStatic | Category::LifecycleConfig
    );
    match tally.last().map(|e| e.level) {
        Some(level) if level <= Level::Crit && !quiet => Light::Bad,
        _ if tally.severe > 0 && !quiet => Light::Warn,
        _ => Light::None,
    }
}
