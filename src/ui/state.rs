//! What the person at the screen has chosen: focus, selection, order, filter, layers. Nothing here is known of the host.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossterm::event::KeyCode;
use ratatui::layout::{Position, Rect};

use super::colors::Colors;
use super::drill::{Drill, View};
use super::filter::Filter;
use super::ids::Ids;
use super::keys::{Action, Keymap};
use super::line::{FilterLine, History};
use super::memo::{Answered, Memo, Wish};
use super::palette::Palette;
use super::pane::Pane;
use super::scale::Span;
use super::seek::Seek;
use super::snapshot::tunnel::TunnelRow;
use super::text::Look;
use super::theme::{Depth, Theme};
use crate::report::guide::Program;
use crate::report::sockets::By;
use crate::time::Timestamp;

/// Kept moments are no further apart than that.
const APART: Duration = Duration::from_secs(330);

/// The name of the theme that follows the terminal's background.
pub const AUTO_THEME: &str = "auto";

/// What a key or click asks of the program around the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing but a new frame.
    None,
    /// End in good order.
    Quit,
    /// End as Ctrl-C does.
    Interrupt,
    /// Counters begin again.
    ResetCounters,
    /// Probe this endpoint, or stop it.
    ToggleProbe(String),
    /// Put this on the clipboard.
    Copy(String),
    /// Write an incident report.
    WriteReport,
    /// Show the moment before the one that is shown.
    Earlier,
    /// Show the moment after it.
    Later,
    /// Show this moment, or the last one before it that is kept.
    At(Timestamp),
    /// Show this moment, or the first one after it that is kept: what happened then is in it.
    After(Timestamp),
    /// Show the oldest moment that is kept.
    Oldest,
    /// Show the present again.
    Present,
    /// Write every cell of the screen anew.
    Redraw,
    /// Stop, as a shell's job does.
    Suspend,
}

/// A layer over the panes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Popup {
    /// All keys.
    Help,
    /// The command palette.
    Palette,
    /// All findings with evidence and fix.
    Findings,
    /// Details of one row, by its id; of the Errors pane one line.
    Row(Pane, u64),
    /// The lines of a backend's log behind one row of the Errors pane.
    Backend(u64),
}

/// The rows of a layer, which grows with its page and never shrinks while it is there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Layer(Option<(Popup, u16)>);

impl Layer {
    /// The rows for a page that wants so many.
    pub fn rows(&mut self, which: Popup, wants: u16) -> u16 {
        let same = |a: Popup, b: Popup| match (a, b) {
            (Popup::Row(one, _), Popup::Row(other, _)) => one == other,
            _ => a == b,
        };
        let before = self.0.filter(|(popup, _)| same(*popup, which)).map_or(0, |(_, rows)| rows);
        let rows = before.max(wants);
        self.0 = Some((which, rows));
        rows
    }

    /// Nothing is open, or the screen has another size.
    pub const fn forget(&mut self) {
        self.0 = None;
    }
}

/// One pane's choices.
#[derive(Clone, Debug, Default)]
pub struct PaneState {
    /// The selected row's id; `None` is the first row.
    pub selected: Option<u64>,
    /// Where that row was last seen, so that its neighbour can take over when it goes.
    pub at: usize,
    /// The first row on the screen.
    pub offset: usize,
    /// How many rows the last frame had room for.
    pub page: usize,
    /// The column sorted by; `None` is the pane's own order.
    pub sort: Option<usize>,
    /// The other way round.
    pub reverse: bool,
    /// The filter in force.
    pub filter: Option<Filter>,
    /// The widest content seen in each column.
    pub wide: Vec<u16>,
}

/// A part of the last frame.
#[derive(Clone, Copy, Debug)]
pub struct Spot {
    /// Where it is. What was drawn later lies above.
    pub area: Rect,
    /// What a click on it means.
    pub what: Target,
}

/// What lies under the pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A pane, or its tab.
    Pane(Pane),
    /// The row at this place of a pane's order.
    Row(Pane, usize),
    /// The head of what a pane can be sorted by.
    Head(Pane, usize),
    /// A way of telling errors apart.
    View(View),
    /// A hint: what its key does.
    Act(Action),
    /// A hint at a key that has its meaning here alone.
    Press(KeyCode),
    /// The page over the panes.
    Page,
    /// The entry at this place of the palette.
    Entry(usize),
}

/// Where the columns of the timeline stood in the last frame: what a click means.
#[derive(Clone, Copy, Debug)]
pub struct Strip {
    /// The columns.
    pub area: Rect,
    /// Cells that there were for them.
    pub room: usize,
}

/// Everything chosen.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "six switches that know nothing of each other")]
pub struct ScreenState {
    pub(super) theme: &'static Theme,
    /// The theme follows the background until somebody chooses one.
    pub(super) follows_background: bool,
    pub(super) depth: Depth,
    pub(super) ascii: bool,
    pub(super) utc: bool,
    /// Laid over the theme's own.
    pub(super) colors: Colors,
    pub(super) keys: Keymap,
    pub(super) palette: Palette,
    /// Addresses are not to be read off the screen.
    pub(super) redacted: bool,
    /// How the program is called, for commands that are shown.
    pub(super) program: Program,
    pub(super) focus: Pane,
    pub(super) panes: [PaneState; 5],
    /// How far the Errors pane is zoomed in.
    pub(super) drill: Drill,
    /// What the tunnels are grouped by.
    pub(super) group: Option<By>,
    /// The choices of the Connections pane while they are; the filter stays with the tunnels.
    pub(super) grouped: PaneState,
    pub(super) memo: Memo,
    pub(super) frozen: bool,
    pub(super) zoomed: bool,
    pub(super) popup: Option<Popup>,
    pub(super) popup_scroll: usize,
    /// How many rows the layer has taken.
    pub(super) layer: Layer,
    /// What is searched for on that layer's page.
    pub(super) seek: Option<Seek>,
    /// The filter being typed.
    pub(super) editing: Option<FilterLine>,
    /// The filters typed before.
    pub(super) history: History,
    /// One sentence in the key line, until the next key.
    pub(super) notice: Option<String>,
    pub(super) spots: Vec<Spot>,
    /// How much of the past the timeline shows.
    pub(super) span: Span,
    pub(super) strip: Option<Strip>,
    /// The last click that may be the first of two.
    pub(super) clicked: Option<(Instant, Position)>,
    pub(super) size: (u16, u16),
}

impl ScreenState {
    /// A fresh screen. An unknown theme is the default one; `ascii` is for terminals without UTF-8.
    #[must_use]
    pub fn new(theme: Option<&str>, ascii: bool) -> Self {
        let mut panes: [PaneState; 5] = Default::default();
        // What dies first stands first.
        panes[Pane::Connections.index()].sort = Some(super::panes::connections::TIME_LEFT);
        Self {
            theme: theme.and_then(Theme::by_name).unwrap_or_else(Theme::dark),
            follows_background: theme.is_none_or(|name| name == AUTO_THEME),
            depth: Depth::default(),
            ascii,
            utc: false,
            colors: Colors::default(),
            keys: Keymap::default(),
            palette: Palette::default(),
            redacted: false,
            program: Program::default(),
            focus: Pane::Handshakes,
            panes,
            drill: Drill::default(),
            group: None,
            grouped: PaneState { sort: Some(super::panes::groups::TUNNELS), reverse: true, ..PaneState::default() },
            memo: Memo::default(),
            frozen: false,
            zoomed: false,
            popup: None,
            popup_scroll: 0,
            layer: Layer::default(),
            seek: None,
            editing: None,
            history: History::default(),
            notice: None,
            spots: Vec::new(),
            span: Span::default(),
            strip: None,
            clicked: None,
            size: (0, 0),
        }
    }

    /// The same screen in UTC: for pictures that look alike everywhere.
    #[must_use]
    pub fn in_utc(mut self) -> Self {
        self.utc = true;
        self
    }

    /// The same screen in as many colours as the terminal has.
    #[must_use]
    pub fn at_depth(mut self, depth: Depth) -> Self {
        self.theme = self.theme.at(depth);
        self.depth = depth;
        self
    }

    /// Whether addresses are hidden.
    #[must_use]
    pub const fn is_redacted(&self) -> bool {
        self.redacted
    }

    /// Whether the theme depends on what the terminal's background is.
    #[must_use]
    pub const fn follows_background(&self) -> bool {
        self.follows_background
    }

    /// The terminal's background is light, or it is not.
    pub fn set_background(&mut self, light: bool) {
        let name = if light { "light" } else { "dark" };
        if let Some(theme) = Theme::by_name(name).filter(|_| self.follows_background) {
            self.theme = theme.at(self.depth);
        }
    }

    /// The same screen with addresses hidden, or not.
    #[must_use]
    pub const fn redacting(mut self, redacted: bool) -> Self {
        self.redacted = redacted;
        self
    }

    /// The same screen of a program that is called in this way.
    #[must_use]
    pub fn called(mut self, program: Program) -> Self {
        self.program = program;
        self
    }

    /// The same screen with other colours.
    #[must_use]
    pub fn with_colors(mut self, colors: Colors) -> Self {
        self.colors = colors;
        self
    }

    /// The same screen with other keys.
    #[must_use]
    pub fn with_keys(mut self, keys: Keymap) -> Self {
        self.keys = keys;
        self
    }

    /// Says one sentence in the key line, until the next key.
    pub fn say(&mut self, said: String) {
        self.notice = Some(said);
    }

    /// The same screen, where long orders are worked out elsewhere ([`Self::open`]) and no frame waits for them.
    #[must_use]
    pub fn sorted_elsewhere(mut self) -> Self {
        self.memo.leave_much();
        self
    }

    /// How the tunnels are to be shown.
    #[must_use]
    pub fn wish(&self) -> Wish {
        super::view::wish(self)
    }

    /// An order that is to be worked out, which the last frame could not wait for.
    #[must_use]
    pub fn open(&self) -> Option<(Wish, Arc<Vec<TunnelRow>>)> {
        self.memo.open()
    }

    /// Takes an order that was worked out elsewhere, and gives the one before it, to be freed where no frame waits.
    #[must_use]
    pub fn learn(&self, answered: Answered) -> Option<Answered> {
        self.memo.learn(answered)
    }

    /// Says that the panes show another moment than the one that was asked for, where that is worth a word.
    pub fn tell_moment(&mut self, asked: Timestamp, shown: Timestamp) {
        if shown.since(asked) > APART {
            let look = self.look(shown);
            let (asked, shown) = (look.clock(asked), look.clock(shown));
            self.say(format!("nothing is kept of {asked}; the panes show {shown}, the first moment after it"));
        }
    }

    /// The screen is held: new data must not reach it.
    #[must_use]
    pub const fn is_frozen(&self) -> bool {
        self.frozen
    }

    pub(super) fn look(&self, now: Timestamp) -> Look {
        Look { theme: self.theme.with(&self.colors), utc: self.utc, now }
    }

    /// The Errors pane is focused and shows more than its categories: it is what is looked at.
    pub(super) fn is_deep(&self) -> bool {
        self.focus == Pane::Errors && self.drill.is_deep()
    }

    /// The choices of a pane as it is shown now.
    pub(super) fn pane(&self, pane: Pane) -> &PaneState {
        if self.is_grouped(pane) { &self.grouped } else { &self.panes[pane.index()] }
    }

    pub(super) fn pane_mut(&mut self, pane: Pane) -> &mut PaneState {
        if self.is_grouped(pane) { &mut self.grouped } else { &mut self.panes[pane.index()] }
    }

    /// The pane shows groups instead of its rows.
    pub(super) fn is_grouped(&self, pane: Pane) -> bool {
        pane == Pane::Connections && self.group.is_some()
    }

    /// The filter of a pane, whichever way its rows are shown.
    pub(super) fn filter(&self, pane: Pane) -> Option<&Filter> {
        self.panes[pane.index()].filter.as_ref()
    }

    pub(super) fn set_filter(&mut self, pane: Pane, filter: Option<Filter>) {
        self.panes[pane.index()].filter = filter;
    }
}

impl PaneState {
    /// The place of the selected row among `ids`. When it has gone, its neighbour takes over.
    pub fn place(&mut self, ids: &Ids<'_>) -> Option<usize> {
        let last = ids.len().checked_sub(1)?;
        let found = self.selected.and_then(|s| ids.place(s, self.at));
        self.at = found.unwrap_or(self.at).min(last);
        if self.selected.is_some() {
            self.selected = ids.get(self.at);
        }
        Some(self.at)
    }

    /// Selects the row at a place, held at both ends.
    pub fn select(&mut self, ids: &Ids<'_>, at: usize) {
        let Some(last) = ids.len().checked_sub(1) else { return };
        self.at = at.min(last);
        self.selected = ids.get(self.at);
    }

    /// Scrolls so that place `at` of `total` is among `page` rows. Returns the first row.
    pub fn scroll(&mut self, at: Option<usize>, total: usize, page: usize) -> usize {
        self.page = page;
        self.offset = self.offset.min(total.saturating_sub(page));
        if let Some(at) = at.filter(|_| page > 0) {
            self.offset = self.offset.clamp((at + 1).saturating_sub(page), at);
        }
        self.offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_never_shrinks_while_it_is_there() {
        let mut layer = Layer::default();
        assert_eq!(layer.rows(Popup::Row(Pane::Errors, 1), 20), 20);
        assert_eq!(layer.rows(Popup::Row(Pane::Errors, 2), 15), 20, "the next line of the log");
        assert_eq!(layer.rows(Popup::Row(Pane::Errors, 2), 22), 22);
        assert_eq!(layer.rows(Popup::Row(Pane::Findings, 2), 9), 9, "another one");
        layer.forget();
        assert_eq!(layer.rows(Popup::Findings, 8), 8);
    }
}
