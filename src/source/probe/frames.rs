//! Frames as a client reads and writes them (RFC 6455 section 5): checked as they pass, and hardly kept.

use super::dice::dice;
use super::runes::Runes;
use crate::human::visible;

/// The opcodes (RFC 6455 section 5.2).
pub(super) mod opcode {
    pub(in super::super) const CONTINUATION: u8 = 0;
    pub(in super::super) const TEXT: u8 = 1;
    pub(in super::super) const BINARY: u8 = 2;
    pub(in super::super) const CLOSE: u8 = 8;
    pub(in super::super) const PING: u8 = 9;
    pub(in super::super) const PONG: u8 = 10;
}

/// The codes that a probe closes with (RFC 6455 section 7.4.1).
pub(super) mod code {
    pub(in super::super) const NORMAL: u16 = 1000;
    pub(in super::super) const AWAY: u16 = 1001;
    pub(in super::super) const PROTOCOL: u16 = 1002;
    pub(in super::super) const NOT_UTF8: u16 = 1007;
}

/// The most of a text message that is kept: answers that are looked at are short, and there may be many tunnels.
const TEXT_KEPT: usize = 64 * 1024;
/// The longest payload of a control frame (RFC 6455 section 5.5).
const CONTROL_MAX: u64 = 125;

/// What a server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// A whole text message: its first 64 KiB where texts are wanted, else nothing of it.
    Text(String),
    /// A whole binary message, thrown away.
    Binary,
    /// A close frame: its code and its reason, made safe to show.
    Close(Option<(u16, String)>),
}

/// How a server broke the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    /// In a few words.
    pub(super) said: String,
    /// What a close frame says to it (RFC 6455 section 7.4.1).
    pub(super) code: u16,
}

fn broken<T>(said: impl Into<String>) -> Result<T, Broken> {
    Err(Broken { said: said.into(), code: code::PROTOCOL })
}

fn not_utf8<T>(what: &str) -> Result<T, Broken> {
    Err(Broken { said: format!("{what} that is no UTF-8"), code: code::NOT_UTF8 })
}

/// A frame whose payload is passing.
#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: u8,
    last: bool,
    length: u64,
    left: u64,
}

impl Frame {
    fn is_control(self) -> bool {
        self.opcode >= opcode::CLOSE
    }
}

/// Reads a server's frames from its bytes, however they are cut. Room is taken for what came, never for what a header
/// promises.
#[derive(Debug, Default)]
pub(super) struct Reader {
    head: [u8; 10],
    filled: u8,
    frame: Option<Frame>,
    /// The opcode of the message that goes on in further frames.
    message: Option<u8>,
    runes: Runes,
    control: Vec<u8>,
    text: Vec<u8>,
    wants_text: bool,
}

impl Reader {
    /// A reader at the beginning of a frame.
    pub(super) fn new(wants_text: bool) -> Self {
        Self { wants_text, ..Self::default() }
    }

    /// The length of the frame whose payload has not come whole yet.
    pub(super) fn within(&self) -> Option<u64> {
        self.frame.map(|f| f.length)
    }

    /// Takes from `bytes` until something is whole; `None` when all were taken.
    pub(super) fn feed(&mut self, bytes: &mut &[u8]) -> Result<Option<Heard>, Broken> {
        loop {
            let Some(mut frame) = self.frame.take() else {
                self.frame = self.header(bytes)?;
                if self.frame.is_none() {
                    return Ok(None);
                }
                continue;
            };
            let n = usize::try_from(frame.left).unwrap_or(usize::MAX).min(bytes.len());
            let (payload, rest) = bytes.split_at(n);
            *bytes = rest;
            frame.left -= n as u64;
            self.pass(frame, payload)?;
            if frame.left > 0 {
                self.frame = Some(frame);
                return Ok(None);
            }
            if let Some(heard) = self.finish(frame)? {
                return Ok(Some(heard));
            }
        }
    }

    fn header(&mut self, bytes: &mut &[u8]) -> Result<Option<Frame>, Broken> {
        while let Some((byte, rest)) = bytes.split_first() {
            *bytes = rest;
            if let Some(slot) = self.head.get_mut(usize::from(self.filled)) {
                *slot = *byte;
            }
            self.filled += 1;
            if self.filled == 2 {
                self.check()?;
            }
            let longer = match self.head[1] {
                126 => 2,
                127 => 8,
                _ => 0,
            };
            if self.filled == 2 + longer {
                self.filled = 0;
                let length = self.length()?;
                let [first, ..] = self.head;
                return Ok(Some(Frame { opcode: first & 0x0f, last: first & 0x80 != 0, length, left: length }));
            }
        }
        Ok(None)
    }

    /// What the first two bytes must not say to a client that has negotiated no extension.
    fn check(&self) -> Result<(), Broken> {
        let [first, second, ..] = self.head;
        let (opcode, last) = (first & 0x0f, first & 0x80 != 0);
        if first & 0x70 != 0 {
            return broken("a frame with reserved bits set, which need an extension");
        }
        if second & 0x80 != 0 {
            return broken("a masked frame from a server");
        }
        match opcode {
            3..=7 | 11.. => broken(format!("a frame with the reserved opcode {opcode}")),
            opcode::CLOSE.. if !last => broken("a control frame in fragments"),
            opcode::CLOSE.. if u64::from(second) > CONTROL_MAX => broken("a control frame of more than 125 bytes"),
            opcode::CONTINUATION if self.message.is_none() => broken("a continuation of no message"),
            opcode::TEXT | opcode::BINARY if self.message.is_some() => {
                broken("a new message before the last fragment of the one before")
            }
            _ => Ok(()),
        }
    }

    fn length(&self) -> Result<u64, Broken> {
        let [_, short, rest @ ..] = self.head;
        let (length, least) = match short {
            126 => (u64::from(u16::from_be_bytes([rest[0], rest[1]])), 126),
            127 => (u64::from_be_bytes(rest), 1 << 16),
            short => return Ok(short.into()),
        };
        // RFC 6455 section 5.2: the most significant bit must be 0, and the fewest bytes must be used.
        if length >> 63 != 0 {
            return broken("a frame of more than 2^63 bytes");
        }
        if length < least { broken(format!("the length {length} in more bytes than it needs")) } else { Ok(length) }
    }

    fn pass(&mut self, frame: Frame, payload: &[u8]) -> Result<(), Broken> {
        if frame.is_control() {
            self.control.extend_from_slice(payload);
            return Ok(());
        }
        let message = if frame.opcode == opcode::CONTINUATION { self.message } else { Some(frame.opcode) };
        if message != Some(opcode::TEXT) {
            return Ok(());
        }
        if self.wants_text {
            let room = TEXT_KEPT.saturating_sub(self.text.len()).min(payload.len());
            self.text.extend_from_slice(payload.get(..room).unwrap_or_default());
        }
        if self.runes.take(payload) { Ok(()) } else { not_utf8("a text message") }
    }

    fn finish(&mut self, frame: Frame) -> Result<Option<Heard>, Broken> {
        if frame.is_control() {
            let payload = std::mem::take(&mut self.control);
            return Ok(Some(match frame.opcode {
                opcode::PING => Heard::Ping(payload),
                opcode::PONG => Heard::Pong(payload),
                _ => Heard::Close(close(&payload)?),
            }));
        }
        if frame.opcode != opcode::CONTINUATION {
            self.message = Some(frame.opcode);
        }
        if !frame.last {
            return Ok(None);
        }
        if self.message.take() != Some(opcode::TEXT) {
            return Ok(Some(Heard::Binary));
        }
        if !self.runes.is_whole() {
            return not_utf8("a text message");
        }
        let text = std::mem::take(&mut self.text);
        Ok(Some(Heard::Text(String::from_utf8_lossy(&text).into_owned())))
    }
}

/// A close frame's code and reason (RFC 6455 section 5.5.1).
fn close(payload: &[u8]) -> Result<Option<(u16, String)>, Broken> {
    let (code, reason) = match payload {
        [] => return Ok(None),
        [_] => return broken("a close frame of one byte, which is half a code"),
        [a, b, reason @ ..] => (u16::from_be_bytes([*a, *b]), reason),
    };
    if !may_be_sent(code) {
        return broken(format!("a close frame with the code {code}, which must not be sent"));
    }
    if std::str::from_utf8(reason).is_err() {
        return not_utf8(&format!("a close frame with the code {code} and a reason '{}'", visible(reason)));
    }
    Ok(Some((code, visible(reason))))
}

/// Codes that a close frame may carry: RFC 6455 section 7.4, and those registered with IANA since (1012 to 1014).
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// A frame as a client sends it: final and masked (RFC 6455 section 5.3).
pub(super) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(14 + payload.len());
    bytes.push(0x80 | opcode);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ 0..=125), _) => bytes.push(0x80 | short),
        (_, Ok(medium)) => {
            bytes.push(0x80 | 0x7e);
            bytes.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 0x7f);
            bytes.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    let mask = dice().to_be_bytes();
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(mut bytes: &[u8], cut: usize) -> (Vec<Heard>, Option<String>) {
        let mut reader = Reader::new(true);
        let mut heard = Vec::new();
        while !bytes.is_empty() {
            let (mut piece, rest) = bytes.split_at(cut.clamp(1, bytes.len()));
            bytes = rest;
            loop {
                match reader.feed(&mut piece) {
                    Ok(Some(h)) => heard.push(h),
                    Ok(None) => break,
                    Err(e) => return (heard, Some(e.said)),
                }
            }
            assert!(piece.is_empty(), "None means that all was taken");
        }
        (heard, None)
    }

    #[test]
    fn what_is_written_is_masked_and_can_be_unmasked() {
        for (length, head) in [(0, 6), (125, 6), (126, 8), (65_535, 8), (65_536, 14)] {
            let payload: Vec<u8> = (0..=255).cycle().take(length).collect();
            let bytes = frame(opcode::PING, &payload);
            assert_eq!(bytes.len(), head + length);
            assert_eq!((bytes[0], bytes[1] & 0x80), (0x89, 0x80));
            let mask = &bytes[head - 4..head];
            let plain: Vec<u8> = bytes[head..].iter().enumerate().map(|(i, b)| b ^ mask[i % 4]).collect();
            assert_eq!(plain, payload);
        }
        assert_ne!(frame(9, b"")[2..], frame(9, b"")[2..], "a mask is never used twice in a row");
    }

    #[test]
    fn a_promise_takes_no_room_and_a_long_text_is_kept_in_part() {
        let mut reader = Reader::new(true);
        let mut header: &[u8] = b"\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xff";
        assert_eq!(reader.feed(&mut header), Ok(None));
        assert_eq!(reader.within(), Some(u64::MAX >> 1));
        for _ in 0..100 {
            let mut piece: &[u8] = &[b'a'; 4096];
            assert_eq!(reader.feed(&mut piece), Ok(None));
        }
        assert_eq!(reader.text.len(), TEXT_KEPT);
        assert!(reader.text.capacity() <= 2 * TEXT_KEPT);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_alike_however_they_are_cut(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 1..9_usize) {
            prop_assert_eq!(read(&bytes, cut), read(&bytes, 1_000));
        }

        #[test]
        fn a_text_in_fragments_is_the_text(text in "\\PC{0,60}", at in 0..300_usize, cut in 1..9_usize) {
            let bytes = text.as_bytes();
            let (a, b) = bytes.split_at(at.min(bytes.len()));
            let mut wire = Vec::new();
            for (head, part) in [(0x01, a), (0x80, b)] {
                wire.push(head);
                if let Ok(short @ 0..=125) = u8::try_from(part.len()) {
                    wire.push(short);
                } else {
                    wire.push(126);
                    wire.extend(u16::try_from(part.len()).unwrap().to_be_bytes());
                }
                wire.extend(part);
            }
            prop_assert_eq!(read(&wire, cut), (vec![Heard::Text(text)], None));
        }
    }
}
