//! The rows of the Errors pane that come from backends' own logs: one known message each, counted apart from nginx's entries.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::Model;
use crate::model::backend::Messages;
use crate::model::errors::split::Splits;
use crate::time::Timestamp;

use super::super::light::Light;
use super::endpoint::stable_id;
use super::error::{ErrorRow, Series};

/// What stands where categories stand.
const NAME: &str = "backend";

/// All messages that came.
#[must_use]
pub fn rows(model: &Model) -> Vec<ErrorRow> {
    model.backend.by_message.iter().map(|((library, words), m)| row(library, words, m, model.now)).collect()
}

fn row(library: &str, words: &str, messages: &Messages, now: Timestamp) -> ErrorRow {
    let last = messages.last();
    let meaning = last.map_or("", |e| e.fault.meaning());
    ErrorRow {
        id: stable_id(&[NAME, library, words]),
        name: NAME,
        light: Light::Warn,
        total: messages.total,
        per_minute: messages.per_minute(now),
        last: last.and_then(|e| e.at).map(|at| now.since(at)),
        first: None,
        by_level: BTreeMap::new(),
        past: Series::of(&messages.buckets, now),
        words: format!("{library}: {words}: {meaning}"),
        peer: None,
        splits: Arc::new(Splits::default()),
        backend_lines: messages.recent.iter().rev().map(|e| e.raw.clone()).collect(),
    }
}
