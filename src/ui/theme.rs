//! What each kind of text looks like: one accent, three state colours, two greys, the terminal's own foreground for the
//! rest; and the signs that stand beside every colour, with their ASCII stand-ins.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use unicode_width::UnicodeWidthStr as _;

use super::colors::{Colors, TONES, nearest};

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

/// How many colours the terminal knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Depth {
    /// The sixteen of ECMA-48 and aixterm, in whatever shades the person gave them.
    Sixteen,
    /// xterm's 256.
    #[default]
    Indexed,
    /// Red, green and blue of eight bits each.
    True,
}

impl Depth {
    /// Read off the environment: COLORTERM says `truecolor` or `24bit`, TERM names its colours or a terminal that has few.
    #[must_use]
    pub fn of(env: &dyn Fn(&str) -> Option<String>) -> Self {
        let (colorterm, term) = (env("COLORTERM").unwrap_or_default(), env("TERM").unwrap_or_default());
        if matches!(colorterm.as_str(), "truecolor" | "24bit") || term.ends_with("-direct") {
            Self::True
        } else if matches!(term.as_str(), "linux" | "xterm" | "vt100" | "vt220" | "ansi" | "screen" | "cygwin") {
            Self::Sixteen
        } else {
            Self::Indexed
        }
    }
}

/// One colour at every depth.
#[derive(Clone, Copy)]
struct Shade {
    rgb: (u8, u8, u8),
    index: u8,
    named: Option<Color>,
}

const fn shade(rgb: u32, index: u8, named: Color) -> Shade {
    let [_, r, g, b] = rgb.to_be_bytes();
    Shade { rgb: (r, g, b), index, named: Some(named) }
}

/// A shade of grey that sixteen colours cannot tell from the foreground.
const fn grey(rgb: u32, index: u8) -> Shade {
    let [_, r, g, b] = rgb.to_be_bytes();
    Shade { rgb: (r, g, b), index, named: None }
}

impl Shade {
    const fn at(self, depth: Depth) -> Option<Color> {
        match depth {
            Depth::True => Some(Color::Rgb(self.rgb.0, self.rgb.1, self.rgb.2)),
            Depth::Indexed => Some(Color::Indexed(self.index)),
            Depth::Sixteen => self.named,
        }
    }

    const fn text(self, depth: Depth) -> Style {
        match self.at(depth) {
            Some(color) => Style::new().fg(color),
            None => Style::new(),
        }
    }

    const fn ground(self, depth: Depth) -> Style {
        match self.at(depth) {
            Some(color) => Style::new().bg(color),
            None => Style::new().add_modifier(Modifier::BOLD),
        }
    }
}

/// The shades of one theme.
struct Palette {
    accent: Shade,
    good: Shade,
    warn: Shade,
    bad: Shade,
    muted: Shade,
    faint: Shade,
    rule: Shade,
    selected: Shade,
}

impl Palette {
    const fn theme(&self, name: &'static str, said: &'static str, light: bool, depth: Depth) -> Theme {
        Theme {
            name,
            said,
            light,
            depth,
            accent: self.accent.text(depth),
            good: self.good.text(depth),
            warn: self.warn.text(depth),
            bad: self.bad.text(depth),
            muted: self.muted.text(depth),
            faint: self.faint.text(depth),
            rule: self.rule.text(depth),
            selected: self.selected.ground(depth),
        }
    }
}

use Color::{
    Black, Blue, Cyan, DarkGray, Gray, Green, LightBlue, LightCyan, LightGreen, LightRed, LightYellow, Magenta, Red,
    White, Yellow,
};

const DARK: Palette = Palette {
    accent: shade(0x0086_b4f5, 111, Cyan),
    good: shade(0x0085_d08c, 114, Green),
    warn: shade(0x00e0_b35c, 179, Yellow),
    bad: shade(0x00f8_6f6f, 203, Red),
    muted: grey(0x00a9_adb8, 248),
    faint: shade(0x0079_7f8c, 243, DarkGray),
    rule: shade(0x004b_505b, 239, DarkGray),
    selected: grey(0x002b_2f38, 236),
};

const LIGHT: Palette = Palette {
    accent: shade(0x0018_5fc4, 26, Blue),
    good: shade(0x001d_7f35, 28, Green),
    warn: shade(0x009a_5b00, 130, Magenta),
    bad: shade(0x00c8_1e1e, 160, Red),
    muted: grey(0x0054_5963, 240),
    faint: shade(0x0073_7985, 243, DarkGray),
    rule: shade(0x00b9_bec8, 250, Gray),
    selected: grey(0x00e4_e8ef, 254),
};

/// Contrast with black of at least 7:1 (WCAG 2.1 success criterion 1.4.6).
const CONTRAST_DARK: Palette = Palette {
    accent: shade(0x007f_dbff, 123, LightCyan),
    good: shade(0x0066_ff66, 83, LightGreen),
    warn: shade(0x00ff_d23f, 220, LightYellow),
    bad: shade(0x00ff_8f8f, 210, LightRed),
    muted: shade(0x00e4_e4e4, 254, White),
    faint: shade(0x00c6_c6c6, 251, Gray),
    rule: shade(0x00a8_a8a8, 248, Gray),
    selected: shade(0x0000_3a8c, 18, Blue),
};

/// Contrast with white of at least 7:1.
const CONTRAST_LIGHT: Palette = Palette {
    accent: shade(0x0000_3f9e, 18, Blue),
    good: shade(0x0000_5a1e, 22, Green),
    warn: shade(0x0070_3c00, 58, Magenta),
    bad: shade(0x0099_0000, 88, Red),
    muted: shade(0x0030_3030, 236, Black),
    faint: shade(0x004a_4a4a, 239, Black),
    rule: shade(0x006c_6c6c, 242, DarkGray),
    selected: shade(0x00ff_e9a8, 223, Yellow),
};

/// Blue, orange and vermilion, which differ in lightness too: told apart with protanopia, deuteranopia and tritanopia
/// (after Okabe and Ito, Color Universal Design, 2008).
const COLOR_BLIND: Palette = Palette {
    accent: shade(0x00b8_a5f0, 147, LightCyan),
    good: shade(0x0056_b4e9, 74, LightBlue),
    warn: shade(0x00f0_e442, 227, Yellow),
    bad: shade(0x00e8_6d1f, 202, LightRed),
    muted: grey(0x00a9_adb8, 248),
    faint: shade(0x0079_7f8c, 243, DarkGray),
    rule: shade(0x004b_505b, 239, DarkGray),
    selected: grey(0x002b_2f38, 236),
};

const COLOR_BLIND_LIGHT: Palette = Palette {
    accent: shade(0x006a_3fb5, 61, Magenta),
    good: shade(0x0000_5f9e, 25, Blue),
    warn: shade(0x008a_6d00, 94, Yellow),
    bad: shade(0x00b8_3f00, 130, Red),
    muted: grey(0x0054_5963, 240),
    faint: shade(0x0073_7985, 243, DarkGray),
    rule: shade(0x00b9_bec8, 250, Gray),
    selected: grey(0x00e4_e8ef, 254),
};

/// The terminal's own sixteen colours at every depth.
const ANSI: Theme = Theme {
    name: "ansi",
    said: "the terminal's own sixteen colours",
    light: false,
    depth: Depth::Sixteen,
    accent: Style::new().fg(Cyan),
    good: Style::new().fg(Green),
    warn: Style::new().fg(Yellow),
    bad: Style::new().fg(Red),
    muted: Style::new(),
    faint: Style::new().fg(DarkGray),
    rule: Style::new().fg(DarkGray),
    selected: Style::new().add_modifier(Modifier::BOLD),
};

const MONO: Theme = Theme {
    name: "mono",
    said: "no colour: bold, dim and underline alone",
    light: false,
    depth: Depth::Sixteen,
    accent: Style::new().add_modifier(Modifier::BOLD),
    good: Style::new(),
    warn: Style::new().add_modifier(Modifier::BOLD),
    bad: Style::new().add_modifier(Modifier::BOLD).add_modifier(Modifier::UNDERLINED),
    muted: Style::new(),
    faint: Style::new().add_modifier(Modifier::DIM),
    rule: Style::new().add_modifier(Modifier::DIM),
    selected: Style::new().add_modifier(Modifier::BOLD),
};

/// How many themes there are.
const COUNT: usize = 8;

const fn all(depth: Depth) -> [Theme; COUNT] {
    let (mut ansi, mut mono) = (ANSI, MONO);
    (ansi.depth, mono.depth) = (depth, depth);
    [
        DARK.theme("dark", "for dark backgrounds", false, depth),
        LIGHT.theme("light", "for light backgrounds", true, depth),
        CONTRAST_DARK.theme("contrast", "high contrast, dark", false, depth),
        CONTRAST_LIGHT.theme("contrast-light", "high contrast, light", true, depth),
        COLOR_BLIND.theme("colorblind", "blue, yellow and orange, dark", false, depth),
        COLOR_BLIND_LIGHT.theme("colorblind-light", "blue, ochre and brown, light", true, depth),
        ansi,
        mono,
    ]
}

static SIXTEEN: [Theme; COUNT] = all(Depth::Sixteen);
static TRUE: [Theme; COUNT] = all(Depth::True);
/// All themes in 256 colours; the first is the default and the last needs no colour at all.
pub static THEMES: [Theme; COUNT] = all(Depth::Indexed);

/// One set of colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    /// What `--theme` calls it.
    pub name: &'static str,
    /// What it is for, in few words.
    pub said: &'static str,
    /// Made for a light background.
    pub light: bool,
    depth: Depth,
    accent: Style,
    good: Style,
    warn: Style,
    bad: Style,
    muted: Style,
    faint: Style,
    rule: Style,
    selected: Style,
}

impl Theme {
    /// The theme that `--theme` names, in 256 colours; `none` is another word for `mono`.
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

    /// The theme after this one, round and round, at the same depth.
    #[must_use]
    pub fn next(&self) -> &'static Self {
        let all = Self::all(self.depth);
        let at = all.iter().position(|t| t.name == self.name).unwrap_or(0);
        &all[(at + 1) % all.len()]
    }

    /// This theme in as many colours as the terminal has.
    #[must_use]
    pub fn at(&self, depth: Depth) -> &'static Self {
        let all = Self::all(depth);
        all.iter().find(|t| t.name == self.name).unwrap_or(&all[0])
    }

    fn all(depth: Depth) -> &'static [Self; COUNT] {
        match depth {
            Depth::Sixteen => &SIXTEEN,
            Depth::Indexed => &THEMES,
            Depth::True => &TRUE,
        }
    }

    /// This theme with other colours laid over its own, as near as the terminal comes. Themes without colours of their own
    /// (`ansi`, `mono`) stay what they are, and so does every theme in sixteen colours.
    #[must_use]
    pub fn with(&self, colors: &Colors) -> Self {
        let mut out = *self;
        if colors.is_empty() || matches!(self.name, "ansi" | "mono") {
            return out;
        }
        let tones = [
            &mut out.accent,
            &mut out.good,
            &mut out.warn,
            &mut out.bad,
            &mut out.muted,
            &mut out.faint,
            &mut out.rule,
            &mut out.selected,
        ];
        for (at, tone) in tones.into_iter().enumerate() {
            let Some(rgb) = colors.get(at) else { continue };
            let color = match self.depth {
                Depth::True => Color::Rgb(rgb.0, rgb.1, rgb.2),
                Depth::Indexed => Color::Indexed(nearest(rgb)),
                Depth::Sixteen => continue,
            };
            *tone = if at + 1 == TONES.len() { Style::new().bg(color) } else { Style::new().fg(color) };
        }
        out
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
/// Where watching began.
pub const BEGAN: &str = "▸";
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
    (BEGAN, ">"),
    (RULE, "-"),
    (UPRIGHT, "|"),
    ("└", "`"),
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
    ("▏", "|"),
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
    use super::super::colors::contrast;
    use super::*;

    #[test]
    fn themes_go_round_and_have_names() {
        let mut theme = Theme::dark();
        for _ in 0..THEMES.len() {
            assert_eq!(Theme::by_name(theme.name), Some(theme));
            theme = theme.next();
        }
        assert_eq!(theme, Theme::dark());
        for depth in [Depth::Sixteen, Depth::True] {
            assert_eq!(theme.at(depth).next().name, theme.next().name);
            assert_eq!(theme.at(depth).at(Depth::Indexed), theme);
        }
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
    fn text_stands_out_from_its_background() {
        let (black, white) = ((0, 0, 0), (255, 255, 255));
        for (palette, ground, least) in [
            (DARK, black, 4.5),
            (LIGHT, white, 4.5),
            (CONTRAST_DARK, black, 7.0),
            (CONTRAST_LIGHT, white, 7.0),
            (COLOR_BLIND, black, 4.5),
            (COLOR_BLIND_LIGHT, white, 4.5),
        ] {
            for shade in [palette.accent, palette.good, palette.warn, palette.bad, palette.muted] {
                let found = contrast(shade.rgb, ground);
                assert!(found >= least, "{:06x?} on {ground:?}: {found:.1}", shade.rgb);
            }
            assert!(contrast(palette.faint.rgb, ground) >= 3.0);
        }
    }

    #[test]
    fn colours_of_the_settings_are_laid_over_themes_that_have_colours() {
        let mut colors = Colors::default();
        colors.give("bad", "#ff0000").expect("a colour");
        colors.give("selected", "#000080").expect("a colour");
        let at = |name: &str, depth| Theme::by_name(name).expect("a theme").at(depth).with(&colors);
        let exact = at("light", Depth::True);
        assert_eq!(exact.style(Tone::Bad).fg, Some(Color::Rgb(255, 0, 0)));
        assert_eq!(exact.selected().bg, Some(Color::Rgb(0, 0, 128)));
        assert_eq!(
            exact.style(Tone::Warn),
            Theme::by_name("light").expect("a theme").at(Depth::True).style(Tone::Warn)
        );
        assert_eq!(at("dark", Depth::Indexed).style(Tone::Bad).fg, Some(Color::Indexed(196)));
        assert_eq!(at("dark", Depth::Sixteen), *Theme::dark().at(Depth::Sixteen));
        assert_eq!(at("mono", Depth::True), *Theme::mono().at(Depth::True));
    }

    #[test]
    fn the_depth_is_read_off_the_environment() {
        let of = |pairs: &'static [(&str, &str)]| {
            Depth::of(&move |name| pairs.iter().find(|(k, _)| *k == name).map(|(_, v)| (*v).to_owned()))
        };
        assert_eq!(of(&[("TERM", "xterm-256color"), ("COLORTERM", "truecolor")]), Depth::True);
        assert_eq!(of(&[("TERM", "tmux-256color")]), Depth::Indexed);
        assert_eq!(of(&[("TERM", "linux")]), Depth::Sixteen);
        assert_eq!(of(&[]), Depth::Indexed);
    }

    #[test]
    fn every_sign_is_one_column_and_has_a_stand_in() {
        for sign in [OK, WARN, BAD, DRAINING, IDLE, NONE, CHECK, FOCUS, SELECTED, BEGAN, RULE, UPRIGHT, BAR, HALF_BAR] {
            assert_eq!(sign.width(), 1, "{sign}");
            assert!(PLAIN.iter().any(|(s, a)| *s == sign && a.is_ascii()), "{sign}");
        }
        let mut buf = Buffer::with_lines(["● 日本 ▎é"]);
        let area = buf.area;
        to_ascii(&mut buf, area);
        assert_eq!(buf, Buffer::with_lines(["o ???? |?"]));
    }
}
