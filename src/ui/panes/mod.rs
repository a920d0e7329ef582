//! What each pane shows: its columns, its title's facts, its drawing where it is no table.

pub mod cell;
pub mod connections;
pub mod error_lines;
pub mod error_names;
pub mod errors;
pub mod findings;
pub mod groups;
pub mod handshakes;
pub mod header;
pub mod life;
pub mod strips;
pub mod timeline;
