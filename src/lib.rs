//! wspulse shows why WebSockets through nginx fail.
//!
//! Sources turn the outside world into stamped events. One pure reducer folds events into a model. Rules read findings
//! off the model. Faces (screen, text, JSON) draw model and findings. Nothing below knows anything above.
//!
//! The modules stand in floor order: each may import only from those before it, as `tests/house.rs` checks.
#![forbid(unsafe_code)]

// Floor order; the blank lines keep rustfmt from sorting it.
pub mod time;

pub mod human;

pub mod event;

pub mod nginx;

pub mod source;

pub mod model;

pub mod diagnose;

pub mod report;

pub mod ui;

pub mod cli;

pub mod settings;

pub mod run;
