//! The terminal's background: the question, its answer, and the hint of the environment.
//!
//! The answer of OSC 11 (xterm's ctlseqs, "Operating System Commands") comes in on the same line as the keys, when it comes at
//! all and however late, and is told apart from them there. Whoever waited for it would delay the first key.

/// Asks for the background; ended by BEL, because an old urxvt ends its answer as the question ends.
pub const QUESTION: &str = "\u{1b}]11;?\u{7}";
/// What every answer begins with, without the escape.
const OPENING: &str = "11;rgb:";

/// Whether the terminal's background is light, by its answer; `None` when that is no such answer.
#[must_use]
pub fn answered(text: &str) -> Option<bool> {
    text.strip_prefix(OPENING).and_then(is_light)
}

/// Whether `rrrr/gggg/bbbb` is nearer to white than to black (relative luminance of Rec. 709, without gamma).
fn is_light(numbers: &str) -> Option<bool> {
    let part = |text: &str| {
        let most = 16_u32.checked_pow(u32::try_from(text.len()).ok().filter(|n| (1..=4).contains(n))?)? - 1;
        Some(f64::from(u32::from_str_radix(text, 16).ok()?) / f64::from(most))
    };
    let mut parts = numbers.split('/').map(part);
    let (r, g, b) = (parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then_some(0.2126 * r + 0.7152 * g + 0.0722 * b > 0.5)
}

/// What rxvt and its kin say of the background in COLORFGBG: `15;0`, the second number from the palette of sixteen.
#[must_use]
pub fn hinted(colorfgbg: &str) -> Option<bool> {
    let background: u8 = colorfgbg.rsplit(';').next()?.parse().ok()?;
    (background < 16).then_some(background == 7 || background > 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_tells_light_from_dark() {
        for (text, light) in [
            ("11;rgb:ffff/ffff/dddd", Some(true)),
            ("11;rgb:1e/1e/2e", Some(false)),
            ("11;rgb:0/0/0", Some(false)),
            ("11;rgb:f/f/f", Some(true)),
            ("11;rgba:0/0/0/0", None),
            ("11;rgb:fffff/0/0", None),
            ("11;rgb:0/0", None),
            ("10;rgb:0/0/0", None),
            ("11;rgb:日/0/0", None),
            ("", None),
        ] {
            assert_eq!(answered(text), light, "{text}");
        }
    }

    #[test]
    fn a_hint_is_taken_from_the_environment() {
        assert_eq!(hinted("15;0"), Some(false));
        assert_eq!(hinted("0;default;15"), Some(true));
        assert_eq!(hinted("0;7"), Some(true));
        assert_eq!(hinted("default;default"), None);
    }
}
