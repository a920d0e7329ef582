//! Escape sequences and letters at the front of the terminal's bytes: what each of them is, or that more must come.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

use crate::human::has_a_sign;

/// What the terminal said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A key.
    Key(KeyEvent),
    /// A move, a click or the wheel.
    Mouse(MouseEvent),
    /// Text that was pasted, with whatever it holds.
    Paste(String),
    /// The answer to a question: an operating system command, without its escape and its end.
    Answer(String),
}

/// What a piece of the stream means.
pub(super) enum Found {
    Nothing,
    Heard(Heard),
    PasteBegins,
}

/// What stands at the front of the bytes held.
pub(super) enum Step {
    /// More bytes are needed.
    Wait,
    /// So many bytes are done with.
    Take(usize, Found),
}

/// The escape at the front is the key.
const ESC: Step = Step::Take(1, Found::Heard(Heard::Key(KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE))));

pub(super) fn key(code: KeyCode, modifiers: KeyModifiers) -> Heard {
    Heard::Key(KeyEvent::new(code, modifiers))
}

/// The first piece of what is held.
pub(super) fn first(held: &[u8], torn: bool) -> Step {
    match held {
        [0x1b, rest @ ..] => match rest {
            [] => Step::Wait,
            [b']', b, ..] if !b.is_ascii_digit() => ESC,
            [b'[' | b'O' | b']', ..] => after(sequence(rest), 1),
            // Alt with a letter is the same bytes as Esc and that letter, and no Alt is used here.
            _ => ESC,
        },
        _ if torn && may_be_rest(held) => sequence(held),
        _ => text(held),
    }
}

/// Whether this is the rest of a sequence that any terminal sends; the same letters may have been typed.
fn may_be_rest(held: &[u8]) -> bool {
    match held {
        [b'[' | b'O' | b']'] => true,
        [b'[', b, ..] => matches!(b, b'0'..=b'9' | b'<' | b'A'..=b'D' | b'F' | b'H' | b'I' | b'M' | b'O' | b'Z'),
        [b'O', b, ..] => matches!(b, b'A'..=b'D' | b'F' | b'H' | b'M' | b'P'..=b'S'),
        [b']', b, ..] => b.is_ascii_digit(),
        _ => false,
    }
}

fn after(step: Step, before: usize) -> Step {
    match step {
        Step::Take(n, found) => Step::Take(n + before, found),
        Step::Wait => Step::Wait,
    }
}

/// A key that is one character.
fn text(bytes: &[u8]) -> Step {
    let Some(&byte) = bytes.first() else { return Step::Wait };
    if byte.is_ascii() {
        let found = plain(byte).map_or(Found::Nothing, Found::Heard);
        return Step::Take(1, found);
    }
    let length = match byte {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return Step::Take(1, Found::Nothing),
    };
    let Some(whole) = bytes.get(..length) else {
        // Broken off by what cannot continue it: the rest is looked at anew.
        let broken = bytes.iter().skip(1).any(|b| !matches!(b, 0x80..=0xbf));
        return if broken { Step::Take(1, Found::Nothing) } else { Step::Wait };
    };
    let letter = std::str::from_utf8(whole).ok().and_then(|s| s.chars().next());
    match letter {
        Some(c) if has_a_sign(c) => Step::Take(length, Found::Heard(letter_key(c))),
        Some(_) => Step::Take(length, Found::Nothing),
        None => Step::Take(1, Found::Nothing),
    }
}

fn letter_key(c: char) -> Heard {
    key(KeyCode::Char(c), if c.is_uppercase() { KeyModifiers::SHIFT } else { KeyModifiers::NONE })
}

/// A key that is one byte; `None` for a byte of the upper half.
pub(super) fn plain(byte: u8) -> Option<Heard> {
    let (modifiers, control) = (KeyModifiers::NONE, KeyModifiers::CONTROL);
    Some(match byte {
        b'\r' => key(KeyCode::Enter, modifiers),
        b'\t' => key(KeyCode::Tab, modifiers),
        0x7f => key(KeyCode::Backspace, modifiers),
        0 => key(KeyCode::Char(' '), control),
        0x01..=0x1a => key(KeyCode::Char(char::from(byte - 1 + b'a')), control),
        0x1b => key(KeyCode::Esc, modifiers),
        0x1c..=0x1f => key(KeyCode::Char(char::from(byte - 0x1c + b'4')), control),
        b' '..=b'~' => letter_key(char::from(byte)),
        _ => return None,
    })
}

/// What follows an escape: `[`, `O` or `]`.
fn sequence(bytes: &[u8]) -> Step {
    match bytes {
        // The latter begins function keys of the Linux console (console_codes(4)).
        [b'O'] | [b'[', b'['] => Step::Wait,
        [b'O', end @ 0x40..=0x7e, ..] => Step::Take(2, named(*end, KeyModifiers::NONE)),
        [b']', rest @ ..] => answer(rest),
        [b'[', b'[', n @ b'A'..=b'E', ..] => {
            Step::Take(3, Found::Heard(key(KeyCode::F(1 + n - b'A'), KeyModifiers::NONE)))
        }
        // The mouse as X10 told of it: three bytes, each 32 too large.
        [b'[', b'M', rest @ ..] => {
            let report = rest.get(..3).unwrap_or(rest);
            if report.iter().any(|v| *v < 32) {
                return Step::Take(2, Found::Nothing);
            }
            let Ok(report) = <[u8; 3]>::try_from(report) else { return Step::Wait };
            let [b, x, y] = report.map(|v| u16::from(v) - 32);
            Step::Take(5, mouse(b, x, y, false))
        }
        [b'[', rest @ ..] => {
            let Some(end) = rest.iter().position(|b| !matches!(b, 0x20..=0x3f)) else { return Step::Wait };
            let (parameters, last) = (rest.get(..end).unwrap_or_default(), rest.get(end).copied().unwrap_or(0));
            if !matches!(last, 0x40..=0x7e) {
                // Broken off: what breaks it off is looked at anew.
                return Step::Take(1 + end, Found::Nothing);
            }
            Step::Take(2 + end, control(&String::from_utf8_lossy(parameters), last))
        }
        _ => Step::Take(1, Found::Nothing),
    }
}

/// The answer to a question, up to BEL or ST.
fn answer(rest: &[u8]) -> Step {
    let end = rest.iter().position(|b| *b < 0x20);
    let text = |end: usize| String::from_utf8_lossy(rest.get(..end).unwrap_or_default()).into_owned();
    match (end, end.and_then(|at| rest.get(at..))) {
        (Some(end), Some([0x07, ..])) => Step::Take(2 + end, Found::Heard(Heard::Answer(text(end)))),
        (Some(end), Some([0x1b, b'\\', ..])) => Step::Take(3 + end, Found::Heard(Heard::Answer(text(end)))),
        (Some(_), Some([0x1b])) | (None, _) => Step::Wait,
        (Some(end), _) => Step::Take(1 + end, Found::Nothing),
    }
}

/// A control sequence with its parameters.
fn control(parameters: &str, last: u8) -> Found {
    if let Some(report) = parameters.strip_prefix('<') {
        let [b, x, y] = numbers(report);
        return mouse(b, x, y, last == b'm');
    }
    let [first, second, _] = numbers(parameters);
    let kind = parameters.split(';').nth(1).and_then(|m| m.split(':').nth(1));
    if kind == Some("3") {
        // A release (kitty's keyboard protocol).
        return Found::Nothing;
    }
    match last {
        b'M' => {
            let [b, x, y] = numbers(parameters);
            mouse(b.saturating_sub(32), x, y, false)
        }
        b'~' if first == 200 => Found::PasteBegins,
        b'~' => numbered(first, held_with(second)),
        b'u' => match char::from_u32(u32::from(first)).filter(char::is_ascii) {
            Some(c) => unicode(c, held_with(second)),
            None => Found::Nothing,
        },
        _ => named(last, held_with(second)),
    }
}

/// Up to three numbers; what is missing is 0.
fn numbers(text: &str) -> [u16; 3] {
    let mut parts = text.split(';').map(|p| p.split(':').next().and_then(|n| n.parse().ok()).unwrap_or(0));
    std::array::from_fn(|_| parts.next().unwrap_or(0))
}

/// Which keys are held beside it: one more than the sum of 1 Shift, 2 Alt, 4 Ctrl, 8 Super (ctlseqs, "PC-Style Function Keys").
fn held_with(parameter: u16) -> KeyModifiers {
    let bits = parameter.saturating_sub(1);
    [
        (1, KeyModifiers::SHIFT),
        (2, KeyModifiers::ALT),
        (4, KeyModifiers::CONTROL),
        (8, KeyModifiers::SUPER),
        (32, KeyModifiers::ALT),
    ]
    .into_iter()
    .filter(|(bit, _)| bits & bit != 0)
    .fold(KeyModifiers::NONE, |all, (_, one)| all | one)
}

/// Keys whose sequence ends with a letter.
fn named(last: u8, modifiers: KeyModifiers) -> Found {
    let code = match last {
        b'A' => KeyCode::Up,
        b'B' => KeyCode::Down,
        b'C' => KeyCode::Right,
        b'D' => KeyCode::Left,
        b'F' => KeyCode::End,
        b'H' => KeyCode::Home,
        // Enter of the keypad, in application mode.
        b'M' => KeyCode::Enter,
        b'P'..=b'S' => KeyCode::F(1 + last - b'P'),
        b'Z' => return Found::Heard(key(KeyCode::BackTab, modifiers | KeyModifiers::SHIFT)),
        _ => return Found::Nothing,
    };
    Found::Heard(key(code, modifiers))
}

/// Keys whose sequence is a number and `~`.
fn numbered(number: u16, modifiers: KeyModifiers) -> Found {
    let code = match number {
        1 | 7 => KeyCode::Home,
        2 => KeyCode::Insert,
        3 => KeyCode::Delete,
        4 | 8 => KeyCode::End,
        5 => KeyCode::PageUp,
        6 => KeyCode::PageDown,
        11..=15 => KeyCode::F(u8::try_from(number - 10).unwrap_or(0)),
        17..=21 => KeyCode::F(u8::try_from(number - 11).unwrap_or(0)),
        23..=24 => KeyCode::F(u8::try_from(number - 12).unwrap_or(0)),
        _ => return Found::Nothing,
    };
    Found::Heard(key(code, modifiers))
}

/// Keys told by their character (`CSI u`).
fn unicode(c: char, modifiers: KeyModifiers) -> Found {
    let code = match c {
        '\r' => KeyCode::Enter,
        '\t' if modifiers.contains(KeyModifiers::SHIFT) => KeyCode::BackTab,
        '\t' => KeyCode::Tab,
        '\u{1b}' => KeyCode::Esc,
        '\u{7f}' => KeyCode::Backspace,
        c if c.is_control() => return Found::Nothing,
        c if modifiers.contains(KeyModifiers::SHIFT) => KeyCode::Char(c.to_ascii_uppercase()),
        c => KeyCode::Char(c),
    };
    Found::Heard(key(code, modifiers))
}

/// A report of the mouse: places count from 1 (ctlseqs, "Mouse Tracking").
fn mouse(b: u16, x: u16, y: u16, released: bool) -> Found {
    let (Some(column), Some(row)) = (x.checked_sub(1), y.checked_sub(1)) else { return Found::Nothing };
    let button = match b & 3 {
        0 => Some(MouseButton::Left),
        1 => Some(MouseButton::Middle),
        2 => Some(MouseButton::Right),
        _ => None,
    };
    let moved = b & 32 != 0;
    let kind = match (b & 0xc0, button) {
        (0x40, Some(MouseButton::Left)) => MouseEventKind::ScrollUp,
        (0x40, Some(MouseButton::Middle)) => MouseEventKind::ScrollDown,
        (0x40, Some(MouseButton::Right)) => MouseEventKind::ScrollLeft,
        (0x40, None) => MouseEventKind::ScrollRight,
        (0, Some(button)) if moved => MouseEventKind::Drag(button),
        (0, None) if moved => MouseEventKind::Moved,
        (0, Some(button)) if released => MouseEventKind::Up(button),
        (0, Some(button)) => MouseEventKind::Down(button),
        (0, None) => MouseEventKind::Up(MouseButton::Left),
        _ => return Found::Nothing,
    };
    let bits = [(4, KeyModifiers::SHIFT), (8, KeyModifiers::ALT), (16, KeyModifiers::CONTROL)];
    let modifiers =
        bits.into_iter().filter(|(bit, _)| b & bit != 0).fold(KeyModifiers::NONE, |all, (_, one)| all | one);
    Found::Heard(Heard::Mouse(MouseEvent { kind, column, row, modifiers }))
}
