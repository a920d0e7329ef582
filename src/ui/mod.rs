//! The screen: draws snapshots, turns keys into choices. Knows no clock, no file and no socket.

pub mod background;
pub mod copy;
pub mod decode;
pub mod draw;
pub mod drill;
pub mod filter;
pub mod ids;
pub mod input;
pub mod keys;
pub mod layout;
pub mod light;
pub mod memo;
pub mod memory;
pub mod narrow;
pub mod palette;
pub mod pane;
pub mod panes;
pub mod popup;
pub mod seen;
pub mod sequence;
pub mod snapshot;
pub mod sort;
pub mod state;
pub mod svg;
pub mod table;
pub mod text;
pub mod theme;
pub mod view;

#[cfg(test)]
mod tests;

pub use draw::draw;
pub use input::{handle_key, handle_mouse, handle_paste};
pub use keys::{KEYS, Keymap};
pub use snapshot::Snapshot;
pub use state::{AUTO_THEME, Effect, ScreenState};
pub use theme::{THEMES, Theme};
