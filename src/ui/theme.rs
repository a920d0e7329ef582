//! What each kind of text looks like: one accent, three state colours, two greys, the terminal's own foreground for the
//! rest; and the signs that stand beside every colour, with their ASCII stand-ins.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use unicode_width::UnicodeWidthStr as _;

/// What a piece of text means. Colour follows from the theme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Ordinary text, in the terminal's own foreground.
    Plain,
    /// Ordinary text that is read first.
    Strong,
    /// Text beside the point.
    Muted,
    /// Column heads, units, unknown values.
    Faint,
    /// Rules between panes.
    Rule,
    /// What is focused, keys, sparklines.
    Accent,
    /// As it should be.
    Good,
    /// Loses tunnels or will soon.
    Warn,
    /// Fails now.
    Bad,
}

/// One set of colours.
#[derive(Debug, PartialEq, Eq)]
pub struct Theme {
    /// What `--theme` calls it.
    pub name: &'static str,
    accent: Style,
    good: Style,
    warn: Style,
    bad: Style,
    muted: Style,
    faint: Style,
    rule: Style,
    selected: Style,
}

const fn fg(index: u8) -> Style {
    Style::new().fg(Color::Indexed(index))
}

const fn named(color: Color) -> Style {
    Style::new().fg(color)
}

/// All themes; the first is the default and the last needs no colour at all.
pub static THEMES: [Theme; 4] = [
    Theme {
        name: "dark",
        accent: fg(111),
        good: fg(114),
        warn: fg(179),
        bad: fg(203),
        muted: fg(248),
        faint: fg(243),
        rule: fg(239),
        selected: Style::new().bg(Color::Indexed(236)),
    },
    Theme {
        name: "light",
        accent: fg(26),
        good: fg(28),
        warn: fg(130),
        bad: fg(160),
        muted: fg(240),
        faint: fg(244),
        rule: fg(250),
        selected: Style::new().bg(Color::Indexed(254)),
    },
    Theme {
        name: "ansi",
        accent: named(Color::Cyan),
        good: named(Color::Green),
        warn: named(Color::Yellow),
        bad: named(Color::Red),
        muted: Style::new(),
        faint: named(Color::DarkGray),
        rule: named(Color::DarkGray),
        selected: Style::new().add_modifier(Modifier::BOLD),
    },
    Theme {
        name: "mono",
        accent: Style::new().add_modifier(Modifier::BOLD),
        good: Style::new(),
        warn: Style::new().add_modifier(Modifier::BOLD),
        bad: Style::new().add_modifier(Modifier::BOLD).add_modifier(Modifier::UNDERLINED),
        muted: Style::new(),
        faint: Style::new().add_modifier(Modifier::DIM),
        rule: Style::new().add_modifier(Modifier::DIM),
        selected: Style::new().add_modifier(Modifier::BOLD),
    },
];

impl Theme {
    /// The theme that `--theme` names; `none` is another word for `mono`.
    #[must_use]
    pub fn by_name(name: &str) -> Option<&'static Self> {
        let name = if name == "none" { "mono" } else { name };
        THEMES.iter().find(|t| t.name == name)
    }

    /// The default theme.
    #[must_use]
    pub fn dark() -> &'static Self {
        &THEMES[0]
    }

    /// The theme for `NO_COLOR`: bold, dim and underline alone.
    #[must_use]
    pub fn mono() -> &'static Self {
        &THEMES[THEMES.len() - 1]
    }

    /// The theme after this one, round and round.
    #[must_use]
    pub fn next(&self) -> &'static Self {
        let at = THEMES.iter().position(|t| t.name == self.name).unwrap_or(0);
        &THEMES[(at + 1) % THEMES.len()]
    }

    /// How text of this tone looks.
    #[must_use]
    pub const fn style(&self, tone: Tone) -> Style {
        match tone {
            Tone::Plain => Style::new(),
            Tone::Strong => Style::new().add_modifier(Modifier::BOLD),
            Tone::Muted => self.muted,
            Tone::Faint => self.faint,
            Tone::Rule => self.rule,
            Tone::Accent => self.accent,
            Tone::Good => self.good,
            Tone::Warn => self.warn,
            Tone::Bad => self.bad,
        }
    }

    /// What is laid over the selected row, besides its sign.
    #[must_use]
    pub const fn selected(&self) -> Style {
        self.selected
    }
}

/// As it should be.
pub const OK: &str = "●";
/// Could hurt.
pub const WARN: &str = "▲";
/// Hurts.
pub const BAD: &str = "✖";
/// Serves its last.
pub const DRAINING: &str = "◐";
/// Known, but idle.
pub const IDLE: &str = "○";
/// No data.
pub const NONE: &str = "·";
/// All is well.
pub const CHECK: &str = "✔";
/// Beside the focused pane's title.
pub const FOCUS: &str = "▎";
/// Beside the selected row.
pub const SELECTED: &str = "›";
/// A rule between panes.
pub const RULE: &str = "─";
/// A rule between neighbours.
pub const UPRIGHT: &str = "│";
/// A full cell of a bar.
pub const BAR: &str = "━";
/// A half cell of a bar.
pub const HALF_BAR: &str = "╸";
/// The heights of a sparkline's cell.
pub const BLOCKS: [&str; 8] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

/// Signs and what stands for them where the locale is not UTF-8.
const PLAIN: &[(&str, &str)] = &[
    (OK, "o"),
    (WARN, "!"),
    (BAD, "X"),
    (DRAINING, "d"),
    (IDLE, "."),
    (NONE, "-"),
    (CHECK, "o"),
    (FOCUS, "|"),
    (SELECTED, ">"),
    (RULE, "-"),
    (UPRIGHT, "|"),
    (BAR, "="),
    (HALF_BAR, ">"),
    ("▁", "_"),
    ("▂", "."),
    ("▃", "-"),
    ("▄", "~"),
    ("▅", "="),
    ("▆", "+"),
    ("▇", "*"),
    ("█", "#"),
    ("…", "~"),
    ("↓", "v"),
    ("↑", "^"),
    ("╌", "."),
    ("┄", ":"),
    ("═", "#"),
    ("◂", "<"),
    ("▴", "^"),
    ("▾", "v"),
    ("→", ">"),
    ("←", "<"),
    ("↻", "r"),
    ("×", "x"),
    ("✗", "x"),
    ("−", "-"),
    ("–", "-"),
    ("—", "-"),
    ("≥", ">"),
    ("’", "'"),
    ("“", "\""),
    ("”", "\""),
];

/// Replaces every cell of `area` that is not ASCII: signs by their stand-ins, anything else by `?`.
pub fn to_ascii(buf: &mut Buffer, area: Rect) {
    for y in area.top()..area.bottom() {
        for x in area.left()..area.right() {
            let Some(cell) = buf.cell_mut((x, y)) else { continue };
            if cell.symbol().is_ascii() {
                continue;
            }
            // A character two columns wide hides the cell after it, which holds a blank: a second sign keeps the width.
            let wide = cell.symbol().width() > 1;
            let stand_in = PLAIN.iter().find(|(sign, _)| *sign == cell.symbol()).map_or("?", |(_, ascii)| *ascii);
            cell.set_symbol(stand_in);
            if wide && let Some(next) = buf.cell_mut((x + 1, y)) {
                next.set_symbol("?");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn themes_go_round_and_have_names() {
        let mut theme = Theme::dark();
        for _ in 0..THEMES.len() {
            assert_eq!(Theme::by_name(theme.name), Some(theme));
            theme = theme.next();
        }
        assert_eq!(theme, Theme::dark());
        assert_eq!(Theme::by_name("none"), Some(Theme::mono()));
        assert_eq!(Theme::by_name("beige"), None);
    }

    #[test]
    fn the_theme_without_colour_has_none() {
        for tone in [Tone::Plain, Tone::Accent, Tone::Good, Tone::Warn, Tone::Bad, Tone::Faint, Tone::Rule] {
            let style = Theme::mono().style(tone);
            assert_eq!((style.fg, style.bg), (None, None), "{tone:?}");
        }
    }

    #[test]
    fn every_sign_is_one_column_and_has_a_stand_in() {
        for sign in [OK, WARN, BAD, DRAINING, IDLE, NONE, CHECK, FOCUS, SELECTED, RULE, UPRIGHT, BAR, HALF_BAR] {
            assert_eq!(sign.width(), 1, "{sign}");
            assert!(PLAIN.iter().any(|(s, a)| *s == sign && a.is_ascii()), "{sign}");
        }
        let mut buf = Buffer::with_lines(["● 日本 ▎é"]);
        let area = buf.area;
        to_ascii(&mut buf, area);
        assert_eq!(buf, Buffer::with_lines(["o ???? |?"]));
    }
}
