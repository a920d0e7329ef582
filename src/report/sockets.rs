//! The faces of `wspulse sockets`: the tunnels of a moment as rows, JSON, text and Markdown; the screen shows the same rows.

mod data;
mod ended;
mod figure;
mod group;
mod leg;
mod markdown;
mod meter;
mod row;
mod sort;
mod table;
mod text;
mod watched;

pub use data::{SOCKETS_SCHEMA, Sockets, Wish, sockets_json};
pub use ended::{Ended, ended};
pub use group::{By, GROUP_KEYS, GroupRow, groups};
pub use leg::{AnyLeg, LegRow, Side};
pub use markdown::sockets_markdown;
pub use meter::Meter;
pub use row::{KEYS, TunnelRow, tunnels};
pub use sort::Order;
pub use text::sockets_text;
pub use watched::Watched;
