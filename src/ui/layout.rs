//! Which pane gets which rows. The one room that knows; everything else asks.

use ratatui::layout::Rect;

/// How much fits on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// All panes.
    Full,
    /// One pane, and a strip about the others.
    Tabs,
    /// One line.
    Line,
}

/// The size class of a terminal.
#[must_use]
pub const fn size(area: Rect) -> Size {
    if area.width >= 100 && area.height >= 30 {
        Size::Full
    } else if area.width >= 24 && area.height >= 8 {
        Size::Tabs
    } else {
        Size::Line
    }
}

/// Hands `total` rows out: everybody's least first, then what each wants in the given order, then the rest to the `heir`.
#[must_use]
pub fn share<const N: usize>(total: u16, least: [u16; N], wants: [u16; N], heir: usize) -> [u16; N] {
    let mut out = least;
    let mut spare = total.saturating_sub(least.iter().sum());
    // Row by row, so that two hungry panes share what is there.
    let mut moved = true;
    while moved && spare > 0 {
        moved = false;
        for (rows, want) in out.iter_mut().zip(wants) {
            if *rows < want && spare > 0 {
                *rows += 1;
                spare -= 1;
                moved = true;
            }
        }
    }
    if let Some(rows) = out.get_mut(heir) {
        *rows += spare;
    }
    out
}

/// Cuts `height` rows off the top of `area`.
#[must_use]
pub fn take(area: &mut Rect, height: u16) -> Rect {
    let height = height.min(area.height);
    let top = Rect { height, ..*area };
    area.y += height;
    area.height -= height;
    top
}

/// Cuts `height` rows off the bottom of `area`.
#[must_use]
pub fn take_bottom(area: &mut Rect, height: u16) -> Rect {
    let height = height.min(area.height);
    area.height -= height;
    Rect { y: area.y + area.height, height, ..*area }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pane_with_little_to_say_gives_its_rows_away() {
        assert_eq!(share(30, [4, 4, 4], [6, 40, 5], 1), [6, 19, 5]);
        assert_eq!(share(30, [4, 4, 4], [6, 7, 5], 1), [6, 19, 5], "the rest goes to the last");
        assert_eq!(share(30, [4, 4, 4], [40, 40, 40], 1), [10, 10, 10]);
        assert_eq!(share(3, [4, 4, 4], [9, 9, 9], 1), [4, 4, 4], "never below the least");
    }
}
