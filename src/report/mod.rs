//! Model and findings as plain data and text. Pure: returns String, prints nothing.
//!
//! [`Report`] is the public shape `wspulse.report/1`; `text`, `markdown` and `json` draw it and add nothing of their own.

mod data;
pub mod entries;
pub mod events;
mod explain;
pub mod filter;
pub mod guide;
pub mod headroom;
mod json;
mod lint;
mod logs;
mod markdown;
mod matrix;
mod pairs;
mod plain;
mod route;
mod safe;
mod sarif;
mod silence;
mod soak;
pub mod sockets;
mod summary;
mod text;

pub use data::{
    ErrorFigures, Lifetimes, NginxFacts, ProbeFacts, REPORT_SCHEMA, RefusedFacts, Report, SessionFigures, TunnelFigures,
};
pub use explain::{
    EXPLAIN_SCHEMA, Explanation, Kind, Section, explain_json, explain_markdown, explain_text, explained, explanations,
    list_json, list_markdown, list_text, nearest,
};
pub use json::json;
pub use lint::{Linted, lint_markdown, lint_text};
pub use logs::{Facts, LOGS_SCHEMA, LogFile, LogsReport, logs_json, logs_markdown, logs_text};
pub use markdown::markdown;
pub use matrix::{LeftOutFacts, MatrixFacts, RowFacts};
pub use pairs::{DirectFacts, PairFacts};
pub use plain::Teller;
pub use route::{Asked, HeaderFacts, LocationFacts, ROUTE_SCHEMA, RouteReport, route_json, route_markdown, route_text};
pub use sarif::{RULE_TEXTS, sarif};
pub use silence::{IDLE_TIMEOUT_SCHEMA, SilenceReport, silence_json, silence_markdown, silence_text};
pub use soak::{SOAK_SCHEMA, SoakReport, Wishes, soak_json, soak_markdown, soak_text};
pub use summary::summary_text;
pub use text::text;
