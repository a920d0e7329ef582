//! The report as JSON.

use crate::human;

use super::data::Report;

/// The report as indented JSON with a line end, as `--format json` prints it.
#[must_use]
pub fn json(report: &Report) -> String {
    // Keys are strings and nothing in a report can fail to serialize; an empty object would show if that changed.
    let mut out = serde_json::to_string_pretty(report).unwrap_or_else(|_| "{}".to_owned());
    out.push('\n');
    human::harmless_json(out)
}
