//! The terminal's answer to the question for its background colour, taken out of the stream of keys.
//!
//! The answer of OSC 11 (xterm's ctlseqs, "Operating System Commands") comes in on the same line as the keys, when it comes at
//! all and however late. The keys' reader does not know it and says it key by key: Alt-] 1 1 ; r g b : and so on. Whoever
//! waited for it would delay the first key, and whoever did not take it out would act on its letters.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// Asks for the background; ended by BEL, because an old urxvt ends its answer as the question ends.
pub const QUESTION: &str = "\u{1b}]11;?\u{7}";
/// What every answer begins with, without the escape.
const OPENING: &str = "]11;rgb:";
/// `rgb:` is followed by three numbers of up to four hexadecimal digits; `rgba:` would have one more.
const LONGEST: usize = OPENING.len() + 4 * 5;

/// What a key turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// These keys; none while an answer may be under way.
    Keys(Vec<KeyEvent>),
    /// The background is light, or it is not.
    Light(bool),
}

/// Listens for the answer.
#[derive(Debug, Default)]
pub struct Listener {
    held: Vec<KeyEvent>,
    text: String,
    after_escape: bool,
}

impl Listener {
    /// Takes the next key.
    pub fn hear(&mut self, key: KeyEvent) -> Heard {
        let after_escape = std::mem::replace(&mut self.after_escape, key.code == KeyCode::Esc);
        let alt = key.modifiers.contains(KeyModifiers::ALT);
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if self.held.is_empty() {
            // A slow line may tear the escape from what follows it.
            if key.code != KeyCode::Char(']') || !(alt || after_escape) {
                return Heard::Keys(vec![key]);
            }
            self.hold(key, ']');
            return Heard::Keys(Vec::new());
        }
        match key.code {
            KeyCode::Char('g') if control => self.end(key),
            KeyCode::Char('\\') => self.end(key),
            KeyCode::Esc if self.text.len() > OPENING.len() => {
                // Torn again: the backslash is still to come.
                self.held.push(key);
                Heard::Keys(Vec::new())
            }
            KeyCode::Char(c) if !alt && !control => {
                self.hold(key, c);
                if self.may_be_an_answer() { Heard::Keys(Vec::new()) } else { self.give_back() }
            }
            _ => {
                self.held.push(key);
                self.give_back()
            }
        }
    }

    fn hold(&mut self, key: KeyEvent, c: char) {
        self.held.push(key);
        self.text.push(c);
    }

    fn may_be_an_answer(&self) -> bool {
        let n = self.text.len().min(OPENING.len());
        let rest = self.text.get(n..).unwrap_or_default();
        self.text.len() <= LONGEST
            && self.text.get(..n) == OPENING.get(..n)
            && rest.chars().all(|c| c.is_ascii_hexdigit() || c == '/')
    }

    fn end(&mut self, key: KeyEvent) -> Heard {
        let light = self.text.strip_prefix(OPENING).and_then(is_light);
        self.held.push(key);
        match light {
            Some(light) => {
                self.give_back();
                Heard::Light(light)
            }
            None => self.give_back(),
        }
    }

    fn give_back(&mut self) -> Heard {
        self.text.clear();
        Heard::Keys(std::mem::take(&mut self.held))
    }
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

    fn plain(c: char) -> KeyEvent {
        KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE)
    }

    fn with(c: char, modifiers: KeyModifiers) -> KeyEvent {
        KeyEvent::new(KeyCode::Char(c), modifiers)
    }

    /// Every key that came through, and the answer.
    fn all(keys: &[KeyEvent]) -> (Vec<KeyEvent>, Option<bool>) {
        let (mut through, mut answer, mut listener) = (Vec::new(), None, Listener::default());
        for key in keys {
            match listener.hear(*key) {
                Heard::Keys(keys) => through.extend(keys),
                Heard::Light(light) => answer = Some(light),
            }
        }
        (through, answer)
    }

    fn answer(numbers: &str, end: &[KeyEvent]) -> Vec<KeyEvent> {
        let text = format!("11;rgb:{numbers}");
        std::iter::once(with(']', KeyModifiers::ALT))
            .chain(text.chars().map(plain))
            .chain(end.iter().copied())
            .collect()
    }

    #[test]
    fn the_answer_is_heard_and_no_letter_of_it_is_a_key() {
        let (bel, st) = ([with('g', KeyModifiers::CONTROL)], [with('\\', KeyModifiers::ALT)]);
        assert_eq!(all(&answer("ffff/ffff/dddd", &bel)), (vec![], Some(true)));
        assert_eq!(all(&answer("1e/1e/2e", &st)), (vec![], Some(false)));
        let torn = [KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE), plain('\\')];
        assert_eq!(all(&answer("0/0/0", &torn)), (vec![], Some(false)));
    }

    #[test]
    fn keys_around_and_instead_of_an_answer_come_through() {
        let mut keys = vec![plain('j')];
        keys.extend(answer("ffff/ffff/ffff", &[with('g', KeyModifiers::CONTROL)]));
        keys.push(plain('q'));
        assert_eq!(all(&keys), (vec![plain('j'), plain('q')], Some(true)));
        let typed = [with(']', KeyModifiers::ALT), plain('1'), plain('q'), plain(']'), plain('f')];
        assert_eq!(all(&typed), (typed.to_vec(), None));
        let broken = answer("ffff/zz", &[]);
        assert_eq!(all(&broken), (broken.clone(), None));
    }

    #[test]
    fn a_hint_is_taken_from_the_environment() {
        assert_eq!(hinted("15;0"), Some(false));
        assert_eq!(hinted("0;default;15"), Some(true));
        assert_eq!(hinted("0;7"), Some(true));
        assert_eq!(hinted("default;default"), None);
    }
}
