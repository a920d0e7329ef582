//! The screen: draws snapshots, turns keys into choices. Knows no clock, no file and no socket.

mod address;
pub mod background;
pub mod colors;
pub mod copy;
pub mod decode;
pub mod draw;
pub mod drill;
mod edit;
pub mod filter;
mod flow;
pub mod happenings;
pub mod hints;
pub mod ids;
pub mod input;
pub mod keep;
pub mod keys;
pub mod layout;
pub mod light;
pub mod line;
pub mod memo;
pub mod memory;
pub mod moments;
pub mod mouse;
pub mod narrow;
pub mod palette;
pub mod pane;
pub mod panes;
pub mod popup;
pub mod scale;
pub mod seek;
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

pub use colors::Colors;
pub use draw::draw;
pub use edit::handle_paste;
pub use input::handle_key;
pub use keys::{KEYS, Keymap, MOUSE};
pub use mouse::handle_mouse;
pub use snapshot::Snapshot;
pub use state::{AUTO_THEME, Effect, ScreenState};
pub use theme::{THEMES, Theme};
