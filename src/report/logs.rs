//! The faces of `wspulse logs`: what existing logs said in sum, as data, text, JSON and Markdown.

mod backend;
pub(super) mod chart;
mod data;
mod handshakes;
mod markdown;
mod notes;
mod sessions;
mod text;

pub use data::{Facts, LOGS_SCHEMA, LogFile, LogsReport, logs_json};
pub use markdown::logs_markdown;
pub use text::logs_text;
