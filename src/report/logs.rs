//! The faces of `wspulse logs`: what existing logs said in sum, as data, text, JSON and Markdown.

pub(super) mod chart;
mod data;
mod markdown;
mod notes;
mod text;

pub use data::{Facts, LOGS_SCHEMA, LogFile, LogsReport, logs_json};
pub use markdown::logs_markdown;
pub use text::logs_text;
