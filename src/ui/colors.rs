//! Colours of the settings file, laid over those of every theme that has colours of its own.

/// What can be given another colour: its name in `[colors]`, and what is drawn in it.
pub const TONES: [(&str, &str); 8] = [
    ("accent", "what is focused, keys, sparklines"),
    ("good", "as it should be"),
    ("warn", "loses tunnels or will soon"),
    ("bad", "fails now"),
    ("muted", "text beside the point"),
    ("faint", "heads, units, unknown values"),
    ("rule", "lines between panes"),
    ("selected", "the ground of the selected row"),
];

/// Red, green, blue.
pub type Rgb = (u8, u8, u8);

/// Colours that were given, by their place in [`TONES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Colors {
    own: [Option<Rgb>; TONES.len()],
}

impl Colors {
    /// Gives a tone a colour, `#rrggbb`.
    ///
    /// # Errors
    /// One sentence about a tone that there is not, or a text that is no colour.
    pub fn give(&mut self, tone: &str, text: &str) -> Result<(), String> {
        let Some(at) = TONES.iter().position(|(name, _)| *name == tone) else {
            let names: Vec<&str> = TONES.iter().map(|(name, _)| *name).collect();
            return Err(format!("there is no colour '{}'; there are {}", tone.escape_default(), names.join(", ")));
        };
        let rgb =
            parse(text).ok_or_else(|| format!("'{}' is no colour; write it as #86b4f5", text.escape_default()))?;
        if let Some(own) = self.own.get_mut(at) {
            *own = Some(rgb);
        }
        Ok(())
    }

    /// The colour given to the tone at this place of [`TONES`].
    #[must_use]
    pub fn get(&self, at: usize) -> Option<Rgb> {
        self.own.get(at).copied().flatten()
    }

    /// Nothing was given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.own.iter().all(Option::is_none)
    }
}

fn parse(text: &str) -> Option<Rgb> {
    let digits = text.strip_prefix('#').filter(|d| d.len() == 6 && d.bytes().all(|b| b.is_ascii_hexdigit()))?;
    let [_, r, g, b] = u32::from_str_radix(digits, 16).ok()?.to_be_bytes();
    Some((r, g, b))
}

/// `#rrggbb`.
#[must_use]
pub fn written((r, g, b): Rgb) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// How far two colours stand apart, 1 to 21 (WCAG 2.1, "contrast ratio"); text needs 4.5.
#[must_use]
pub fn contrast(one: Rgb, other: Rgb) -> f64 {
    let (a, b) = (luminance(one), luminance(other));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

/// Relative luminance (WCAG 2.1).
fn luminance((r, g, b): Rgb) -> f64 {
    let part = |c: u8| {
        let c = f64::from(c) / 255.0;
        if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b)
}

/// The levels of xterm's cube of 216 colours (XTerm-col.ad, 256colres.pl).
const LEVELS: [u8; 6] = [0, 95, 135, 175, 215, 255];

/// The nearest of xterm's 256 colours: of its cube (16 to 231) or its greys (232 to 255).
#[must_use]
pub fn nearest((r, g, b): Rgb) -> u8 {
    let far = |one: Rgb| {
        let part = |a: u8, b: u8| u32::from(a.abs_diff(b)).pow(2);
        part(one.0, r) + part(one.1, g) + part(one.2, b)
    };
    let level = |n: u8| LEVELS.get(usize::from(n)).copied().unwrap_or(255);
    let cube = (0..216_u8).map(|n| (far((level(n / 36), level(n / 6 % 6), level(n % 6))), 16 + n));
    let greys = (0..24_u8).map(|n| (far((8 + 10 * n, 8 + 10 * n, 8 + 10 * n)), 232 + n));
    cube.chain(greys).min().map_or(15, |(_, index)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_read_and_everything_else_is_told() {
        let mut colors = Colors::default();
        colors.give("warn", "#E0b35c").expect("a colour");
        assert_eq!(colors.get(2), Some((0xe0, 0xb3, 0x5c)));
        for wrong in ["e0b35c", "#e0b35", "#e0b35c0", "#+0b35c", "red", "#日本"] {
            assert!(colors.give("warn", wrong).is_err_and(|e| e.contains("write it as #86b4f5")), "{wrong}");
        }
        assert!(colors.give("pink", "#ffffff").is_err_and(|e| e.contains("there are accent, good")));
        assert_eq!(written(colors.get(2).unwrap_or_default()), "#e0b35c");
    }

    #[test]
    fn the_nearest_of_256_and_the_contrast_are_those_of_the_tables() {
        assert_eq!([(0, 0, 0), (255, 255, 255), (95, 135, 255), (128, 128, 128)].map(nearest), [16, 231, 69, 244]);
        assert!((contrast((0, 0, 0), (255, 255, 255)) - 21.0).abs() < 1e-9);
        assert!((contrast((0x76, 0x76, 0x76), (255, 255, 255)) - 4.54).abs() < 0.01);
    }
}
