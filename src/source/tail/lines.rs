//! Blocks of a growing file cut into whole lines; what has no end yet is held.

use memchr::{memchr_iter, memrchr};

/// Bytes of a line that are kept; nginx itself cuts an error-log line at 2048 (core/ngx_log.h, `NGX_MAX_ERROR_STR`),
/// access-log lines are as long as the request header buffers allow.
pub const LINE_CAP: usize = 64 * 1024;

/// One line without its line feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The bytes, at most [`LINE_CAP`]; NUL bytes at the beginning (a hole that truncation left) are gone.
    pub bytes: &'a [u8],
    /// The line was longer than the cap.
    pub overlong: bool,
    /// The line stood in the file before it was followed.
    pub existed: bool,
}

/// Cuts blocks at line feeds and holds the unfinished end.
#[derive(Debug, Default)]
pub struct Splitter {
    held: Vec<u8>,
    overlong: bool,
    skipping: bool,
}

impl Splitter {
    /// A splitter that begins in the middle of a line and drops the rest of that line.
    pub(super) fn mid_line() -> Self {
        Self { skipping: true, ..Self::default() }
    }

    /// Nothing of a line has been seen yet, hole bytes aside.
    pub(super) fn is_between_lines(&self) -> bool {
        self.held.is_empty() && !self.skipping
    }

    /// Takes the next block. Bytes up to the block's `existed` belong to what stood there before the start.
    pub fn feed(&mut self, block: &[u8], existed: usize, sink: &mut dyn FnMut(Line<'_>)) {
        let mut from = 0;
        for end in memchr_iter(b'\n', block) {
            self.end_line(&block[from..end], end < existed, sink);
            from = end + 1;
        }
        self.hold(&block[from..]);
    }

    /// No more bytes will come: what is held is a line, though without an end.
    pub fn finish(&mut self, existed: bool, sink: &mut dyn FnMut(Line<'_>)) {
        if !self.held.is_empty() {
            sink(Line { bytes: &self.held, overlong: self.overlong, existed });
        }
        *self = Self::default();
    }

    fn end_line(&mut self, piece: &[u8], existed: bool, sink: &mut dyn FnMut(Line<'_>)) {
        if self.skipping {
            self.skipping = false;
        } else if self.held.is_empty() {
            let piece = without_hole(piece);
            let bytes = &piece[..piece.len().min(LINE_CAP)];
            sink(Line { bytes, overlong: piece.len() > LINE_CAP, existed });
        } else {
            self.hold(piece);
            sink(Line { bytes: &self.held, overlong: self.overlong, existed });
            self.held.clear();
            self.held.shrink_to(LINE_CAP / 8);
            self.overlong = false;
        }
    }

    fn hold(&mut self, piece: &[u8]) {
        if self.skipping {
            return;
        }
        let piece = if self.held.is_empty() { without_hole(piece) } else { piece };
        let room = LINE_CAP.saturating_sub(self.held.len());
        self.held.extend_from_slice(&piece[..piece.len().min(room)]);
        self.overlong |= piece.len() > room;
    }
}

/// A writer that did not open with O_APPEND goes on at its old offset after a truncation and leaves NUL bytes before it.
fn without_hole(bytes: &[u8]) -> &[u8] {
    let text = bytes.iter().position(|b| *b != 0).unwrap_or(bytes.len());
    &bytes[text..]
}

/// Whether a line ends right before `bytes` end.
pub(super) fn ends_a_line(bytes: &[u8]) -> bool {
    memrchr(b'\n', bytes).is_some_and(|at| at + 1 == bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(blocks: &[&[u8]]) -> (Vec<(Vec<u8>, bool)>, Vec<u8>) {
        let mut splitter = Splitter::default();
        let mut lines = Vec::new();
        for block in blocks {
            splitter.feed(block, 0, &mut |l| lines.push((l.bytes.to_vec(), l.overlong)));
        }
        (lines, splitter.held)
    }

    #[test]
    fn a_line_may_come_in_any_number_of_pieces() {
        let text = b"one\n\ntwo\nthree";
        let whole = split(&[text]);
        assert_eq!(whole.0.iter().map(|l| l.0.as_slice()).collect::<Vec<_>>(), [&b"one"[..], b"", b"two"]);
        assert_eq!(whole.1, b"three");
        for size in 1..text.len() {
            assert_eq!(split(&text.chunks(size).collect::<Vec<_>>()), whole, "pieces of {size}");
        }
    }

    #[test]
    fn a_five_megabyte_line_is_kept_to_the_cap_and_the_next_line_is_whole() {
        let mut text = vec![b'x'; 5_000_000];
        text.extend_from_slice(b"\nnext\n");
        for size in [text.len(), 256 * 1024, 4_097] {
            let (lines, held) = split(&text.chunks(size).collect::<Vec<_>>());
            let figures: Vec<_> = lines.iter().map(|l| (l.0.len(), l.1)).collect();
            assert_eq!(figures, [(LINE_CAP, true), (4, false)], "pieces of {size}");
            assert!(held.is_empty());
        }
        let exact = vec![b'x'; LINE_CAP];
        assert_eq!(split(&[&exact, b"\n"]).0, [(exact.clone(), false)], "the cap itself is not too long");
    }

    #[test]
    fn a_hole_of_nul_bytes_is_skipped_but_a_nul_inside_a_line_is_kept() {
        let (lines, held) = split(&[&vec![0; 100_000], b"\0\0first\nse\0cond\n", &[0; 10]]);
        assert_eq!(lines.iter().map(|l| l.0.as_slice()).collect::<Vec<_>>(), [&b"first"[..], b"se\0cond"]);
        assert!(held.is_empty());
    }

    #[test]
    fn a_start_in_the_middle_drops_the_rest_of_that_line() {
        let mut splitter = Splitter::mid_line();
        let mut lines = Vec::new();
        for block in [&b"rest of"[..], b" a line\nwhole\npart"] {
            splitter.feed(block, 0, &mut |l| lines.push(l.bytes.to_vec()));
        }
        splitter.finish(false, &mut |l| lines.push(l.bytes.to_vec()));
        assert_eq!(lines, [b"whole".to_vec(), b"part".to_vec()]);
    }

    #[test]
    fn a_line_existed_when_its_end_did() {
        let mut old = Vec::new();
        Splitter::default().feed(b"a\nb\nc\n", 4, &mut |l| old.push(l.existed));
        assert_eq!(old, [true, true, false]);
    }
}
