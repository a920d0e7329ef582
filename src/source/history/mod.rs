//! History: existing logs of any size folded into one tally, in parallel and in bounded memory.
//!
//! Followed logs travel as entries; here nothing is kept of a line but what it adds to a count. Both use the same grammar
//! and the same tally, so that they add up alike. Reading uses `pread` into fixed blocks: a mapped file that is truncated
//! under its reader kills the reader.

mod addresses;
mod backend;
mod common;
mod cut;
mod debug;
mod edge;
mod fold;
mod jobs;
mod messages;
mod names;
mod open;
mod plan;
mod request;
mod work;

#[cfg(test)]
mod tests;

pub use backend::{BackendFile, BackendOutcome, read_backend_logs};
pub use request::{Choice, FileOutcome, Filter, LogEntry, LogKind, Outcome, Progress, Request};
pub use work::read;
