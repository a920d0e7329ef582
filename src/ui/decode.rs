//! The terminal's bytes turned into keys, however torn they arrive: a slow line delivers one escape sequence in pieces.
//!
//! Esc and the beginning of an arrow key are the same byte (0x1b). Followed by more within [`ESCAPE_HELD`] it begins a
//! sequence (xterm's ctlseqs), alone it is the key. Where the rest comes later still, Esc has acted, but `[` and what
//! belongs to it are the rest of that sequence and no keys of their own. Nothing else is ever held back.

use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyModifiers};

pub use super::sequence::Heard;
use super::sequence::{Found, Step, first, key, plain};

/// How long an escape alone is held: longer than terminals and networks usually tear a sequence apart, shorter than a
/// person notices.
pub const ESCAPE_HELD: Duration = Duration::from_millis(100);
/// How long a sequence that has begun may take for its next byte.
const SEQUENCE_HELD: Duration = Duration::from_millis(500);
/// How long after an escape that acted as a key `[`, `O` and `]` are held, because they may be the rest of a sequence.
const LATE: Duration = Duration::from_secs(1);
/// A paste whose end does not come within this much silence is over: its end was lost.
const PASTE_SILENCE: Duration = Duration::from_secs(5);
/// The longest sequence that is waited for, in bytes.
const LONGEST: usize = 256;
/// What is kept of a paste, in bytes: no line that can be typed here is longer.
const MOST_PASTED: usize = 4_096;
/// What ends a bracketed paste.
const PASTE_END: &[u8] = b"\x1b[201~";

/// Keeps what is unfinished between two reads.
#[derive(Debug, Default)]
pub struct Decoder {
    held: Vec<u8>,
    /// When the last byte came.
    at: Option<Instant>,
    /// When an escape acted as a key.
    escaped: Option<Instant>,
    /// What is held has lost its escape.
    torn: bool,
    paste: Option<Paste>,
}

#[derive(Debug, Default)]
struct Paste {
    text: Vec<u8>,
    /// How much of the end was seen.
    matched: usize,
}

impl Decoder {
    /// Takes bytes that were read at `now`.
    pub fn feed(&mut self, bytes: &[u8], now: Instant) -> Vec<Heard> {
        let mut heard = self.expire(now);
        self.at = Some(now);
        for &byte in bytes {
            if let Some(paste) = &mut self.paste {
                if paste.take(byte) {
                    self.end_paste(&mut heard);
                }
                continue;
            }
            if self.held.is_empty() {
                let late = self.escaped.take().is_some_and(|at| now.duration_since(at) < LATE);
                self.torn = late && matches!(byte, b'[' | b'O' | b']');
            }
            self.held.push(byte);
            self.take(&mut heard);
        }
        heard
    }

    /// When what is held must be given up as what it is, unless more comes.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let at = self.at?;
        match (&self.paste, self.held.as_slice()) {
            (Some(_), _) => Some(at + PASTE_SILENCE),
            (None, [0x1b]) => Some(at + ESCAPE_HELD),
            (None, [0x1b, ..]) => Some(at + SEQUENCE_HELD),
            (None, held) => (self.torn && !held.is_empty()).then_some(at + SEQUENCE_HELD),
        }
    }

    /// Gives up what has been held too long.
    pub fn expire(&mut self, now: Instant) -> Vec<Heard> {
        let mut heard = Vec::new();
        let Some(deadline) = self.deadline().filter(|at| *at <= now) else { return heard };
        if self.paste.is_some() {
            self.end_paste(&mut heard);
            return heard;
        }
        let held = std::mem::take(&mut self.held);
        match held.as_slice() {
            [0x1b] => {
                self.escaped = Some(deadline);
                heard.push(key(KeyCode::Esc, KeyModifiers::NONE));
            }
            // Longer ones were no person's keys.
            [0x1b, _, _, ..] => {}
            typed => heard.extend(typed.iter().filter_map(|b| plain(*b))),
        }
        heard
    }

    fn take(&mut self, heard: &mut Vec<Heard>) {
        while !self.held.is_empty() {
            match first(&self.held, self.torn) {
                Step::Wait if self.held.len() > LONGEST => self.held.clear(),
                Step::Wait => return,
                Step::Take(n, found) => {
                    self.held.drain(..n.min(self.held.len()));
                    self.torn = false;
                    match found {
                        Found::Nothing => {}
                        Found::Heard(one) => heard.push(one),
                        Found::PasteBegins => self.paste = Some(Paste::default()),
                    }
                }
            }
        }
    }

    fn end_paste(&mut self, heard: &mut Vec<Heard>) {
        if let Some(paste) = self.paste.take() {
            heard.push(Heard::Paste(String::from_utf8_lossy(&paste.text).into_owned()));
        }
    }
}

impl Paste {
    /// Whether the paste ends with this byte.
    fn take(&mut self, byte: u8) -> bool {
        if PASTE_END.get(self.matched) == Some(&byte) {
            self.matched += 1;
            return self.matched == PASTE_END.len();
        }
        // An escape begins the end and stands nowhere else in it.
        let (no_end, _) = PASTE_END.split_at(self.matched.min(PASTE_END.len()));
        self.matched = usize::from(byte == 0x1b);
        for b in no_end.iter().copied().chain((byte != 0x1b).then_some(byte)) {
            if self.text.len() < MOST_PASTED {
                self.text.push(b);
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is heard of pieces that come with so many milliseconds before each, and of the silence after them.
    fn torn(pieces: &[(u64, &[u8])]) -> Vec<String> {
        let (mut decoder, mut now, mut heard) = (Decoder::default(), Instant::now(), Vec::new());
        for (pause, bytes) in pieces {
            now += Duration::from_millis(*pause);
            // The timer rings before the bytes come, as in the program.
            if let Some(at) = decoder.deadline().filter(|at| *at <= now) {
                heard.extend(decoder.expire(at));
            }
            heard.extend(decoder.feed(bytes, now));
        }
        while let Some(at) = decoder.deadline() {
            heard.extend(decoder.expire(at));
        }
        heard.iter().map(shown).collect()
    }

    fn shown(heard: &Heard) -> String {
        match heard {
            Heard::Key(k) if k.modifiers.is_empty() => format!("{:?}", k.code),
            Heard::Key(k) => format!("{:?}+{}", k.code, k.modifiers),
            Heard::Mouse(m) => format!("{:?} {},{}", m.kind, m.column, m.row),
            Heard::Paste(text) => format!("paste {text}"),
            Heard::Answer(text) => format!("answer {text}"),
        }
    }

    fn at_once(bytes: &[u8]) -> String {
        torn(&[(0, bytes)]).join(" ")
    }

    const SEQUENCES: [(&[u8], &str); 30] = [
        (b"\x1b[A", "Up"),
        (b"\x1bOB", "Down"),
        (b"\x1b[1;5C", "Right+Control"),
        (b"\x1b[D", "Left"),
        (b"\x1b[H", "Home"),
        (b"\x1b[4~", "End"),
        (b"\x1b[5~", "PageUp"),
        (b"\x1b[6;2~", "PageDown+Shift"),
        (b"\x1b[3~", "Delete"),
        (b"\x1b[Z", "BackTab+Shift"),
        (b"\x1bOP", "F(1)"),
        (b"\x1b[[B", "F(2)"),
        (b"\x1b[15~", "F(5)"),
        (b"\x1b[21~", "F(10)"),
        (b"\x1b[24~", "F(12)"),
        (b"\x1b[9;2u", "BackTab+Shift"),
        (b"\x1b[27u", "Esc"),
        (b"\x1b[1;1:3A", ""),
        (b"\x1b[I", ""),
        (b"\x1b[?62;22c", ""),
        (b"\x1bOM", "Enter"),
        (b"\x1b[<0;10;20M", "Down(Left) 9,19"),
        (b"\x1b[<0;10;20m", "Up(Left) 9,19"),
        (b"\x1b[<65;300;100M", "ScrollDown 299,99"),
        (b"\x1b[<35;1;1M", "Moved 0,0"),
        (b"\x1b[96;2;3M", "ScrollUp 1,2"),
        (b"\x1b[M !!", "Down(Left) 0,0"),
        (b"\x1b[200~ab\x1b[31m\nc\x1b[201~", "paste ab\x1b[31m\nc"),
        (b"\x1b]11;rgb:1e1e/1e1e/2e2e\x07", "answer 11;rgb:1e1e/1e1e/2e2e"),
        (b"\x1b]11;rgb:ff/ff/ff\x1b\\", "answer 11;rgb:ff/ff/ff"),
    ];

    #[test]
    fn keys_clicks_pastes_and_answers_are_told_apart() {
        for (bytes, expected) in SEQUENCES {
            assert_eq!(at_once(bytes), expected, "{}", bytes.escape_ascii());
            let several = [bytes, b"x", bytes, b"q"].concat();
            let all: Vec<&str> =
                [expected, "Char('x')", expected, "Char('q')"].into_iter().filter(|s| !s.is_empty()).collect();
            assert_eq!(at_once(&several), all.join(" "), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_sequence_torn_anywhere_is_the_same_sequence() {
        for (bytes, expected) in SEQUENCES {
            for at in 1..bytes.len() {
                let (head, tail) = bytes.split_at(at);
                let quick = torn(&[(0, head), (90, tail)]);
                assert_eq!(quick.join(" "), expected, "{} | {}", head.escape_ascii(), tail.escape_ascii());
            }
            let bytewise: Vec<(u64, &[u8])> = bytes.iter().map(|b| (60, std::slice::from_ref(b))).collect();
            assert_eq!(torn(&bytewise).join(" "), expected, "{} byte by byte", bytes.escape_ascii());
        }
    }

    #[test]
    fn an_escape_that_lost_its_sequence_is_one_esc_and_the_rest_is_no_key_of_its_own() {
        // Those of the Linux console begin as no other and are left out: nobody has it over a slow line.
        for (bytes, expected) in
            SEQUENCES.into_iter().filter(|(b, _)| !b.starts_with(b"\x1b[[") && !b.starts_with(b"\x1b[?"))
        {
            for pause in [110, 200, 900] {
                let torn = torn(&[(0, b"\x1b"), (pause, &bytes[1..]), (0, b"q")]);
                let all: Vec<&str> = ["Esc", expected, "Char('q')"].into_iter().filter(|s| !s.is_empty()).collect();
                assert_eq!(torn.join(" "), all.join(" "), "{} after {pause} ms", bytes.escape_ascii());
            }
        }
        let slow = torn(&[(0, b"\x1b"), (200, b"["), (200, b"A"), (200, b"q")]);
        assert_eq!(slow, ["Esc", "Up", "Char('q')"]);
    }

    #[test]
    fn a_lone_escape_is_a_key_and_so_is_what_is_typed_after_it() {
        assert_eq!(at_once(b"\x1b"), "Esc");
        assert_eq!(at_once(b"\x1b\x1b"), "Esc Esc");
        assert_eq!(at_once(b"\x1b\x1b[A"), "Esc Up");
        assert_eq!(at_once(b"\x1bq"), "Esc Char('q')");
        assert_eq!(torn(&[(0, b"\x1b"), (150, b"q")]), ["Esc", "Char('q')"]);
        assert_eq!(torn(&[(0, b"\x1b"), (150, b"["), (900, b"[")]), ["Esc", "Char('[')", "Char('[')"]);
        assert_eq!(torn(&[(0, b"\x1b"), (150, b"[["), (0, b"q")]), ["Esc", "Char('[')", "Char('[')", "Char('q')"]);
        assert_eq!(torn(&[(0, b"\x1b"), (150, b"]f")]), ["Esc", "Char(']')", "Char('f')"]);
        assert_eq!(torn(&[(0, b"\x1b"), (1_200, b"[")]), ["Esc", "Char('[')"]);
        assert_eq!(at_once(b"\x1b["), "Esc Char('[')");
        assert_eq!(at_once(b"\x1b]q"), "Esc Char(']') Char('q')");
    }

    #[test]
    fn only_an_escape_is_ever_waited_for() {
        let mut decoder = Decoder::default();
        for byte in (0..=0x7f).filter(|b| *b != 0x1b) {
            let heard = decoder.feed(&[byte], Instant::now());
            assert_eq!(heard.len(), 1, "{byte:#x}");
            assert_eq!(decoder.deadline(), None, "{byte:#x}");
        }
        let heard = decoder.feed("é日😀".as_bytes(), Instant::now());
        assert_eq!(heard.iter().map(shown).collect::<String>(), "Char('é')Char('日')Char('😀')");
        assert_eq!(
            at_once(b"\x80\xc3q\xe2\x82q\xc2\x9bq"),
            "Char('q') Char('q') Char('q')",
            "no control of eight bits"
        );
    }

    #[test]
    fn there_is_always_a_way_out() {
        let control_c = "Char('c')+Control";
        for unfinished in [&b"\x1b["[..], b"\x1b[1;", b"\x1b]11;rgb", b"\x1bO", b"\x1b[M ", b"\x1b[<0;1", b"\xe2\x82"] {
            let all = torn(&[(0, unfinished), (10, b"\x03")]);
            assert_eq!(all.last().map(String::as_str), Some(control_c), "{}", unfinished.escape_ascii());
        }
        let endless = [b"\x1b[".as_slice(), &[b'1'; 10_000], b"mq"].concat();
        assert!(at_once(&endless).ends_with("Char('q')"));
        let unended = torn(&[(0, b"\x1b[200~abc"), (6_000, b"q")]);
        assert_eq!(unended, ["paste abc", "Char('q')"]);
        let long = [b"\x1b[200~".as_slice(), &vec![b'a'; 100_000], b"\x1b[201~q"].concat();
        assert_eq!(at_once(&long).len(), "paste ".len() + MOST_PASTED + " Char('q')".len());
    }

    #[test]
    fn no_bytes_panic() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let (mut decoder, mut now) = (Decoder::default(), Instant::now());
        for _ in 0..200_000 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let byte = [0x1b, b'[', b'O', b']', b'<', b';', b'0', b'~', b'M', 0xe2]
                [usize::try_from(seed % 10).expect("small")];
            now += Duration::from_millis(u64::from(seed.is_multiple_of(50)) * (seed % 3_000));
            decoder.feed(&[byte], now);
        }
        assert!(decoder.held.len() <= LONGEST + 1);
    }
}
