//! Blocks cut into lines at line feeds: no line is copied but the one that a block's end cuts in two.

use memchr::memchr;

/// Bytes of a line that are kept, as for followed logs.
pub(super) const LINE_CAP: usize = 64 * 1024;

/// Takes lines.
pub(super) trait Lines {
    /// A line without its line feed, at most [`LINE_CAP`] bytes of it; `overlong`: it was longer.
    fn line(&mut self, line: &[u8], overlong: bool);

    /// Takes the line that `block` begins with if it can tell by itself where it ends, and does with it what
    /// [`Lines::line`] would. Gives its length with the line feed; `None`: nothing was done, cut it.
    #[inline]
    fn whole_line(&mut self, _block: &[u8]) -> Option<usize> {
        None
    }
}

/// Cuts blocks and holds the unfinished end.
#[derive(Debug, Default)]
pub(super) struct Cutter {
    held: Vec<u8>,
    /// Something of a line was seen, if only a hole of which nothing is held.
    begun: bool,
    overlong: bool,
    skipping: bool,
}

impl Cutter {
    /// A cutter that begins in the middle of a line and drops the rest of that line.
    pub(super) fn mid_line() -> Self {
        Self { skipping: true, ..Self::default() }
    }

    /// A line has begun and not ended yet.
    pub(super) fn is_in_line(&self) -> bool {
        self.begun
    }

    /// Takes the next block.
    #[inline]
    pub(super) fn feed(&mut self, block: &[u8], sink: &mut impl Lines) {
        let mut rest = block;
        if self.skipping || self.begun {
            let Some((piece, behind)) = parted(rest) else { return self.hold(rest) };
            self.end_line(piece, sink);
            rest = behind;
        }
        loop {
            if let Some(behind) = sink.whole_line(rest).and_then(|length| rest.get(length..)) {
                rest = behind;
                continue;
            }
            let Some((piece, behind)) = parted(rest) else { return self.hold(rest) };
            emit(piece, sink);
            rest = behind;
        }
    }

    /// Ends the held line with the first line feed in `block`; `false`: there is none yet.
    pub(super) fn feed_one(&mut self, block: &[u8], sink: &mut impl Lines) -> bool {
        let piece = parted(block).map(|(piece, _)| piece);
        match piece {
            Some(piece) => self.end_line(piece, sink),
            None => self.hold(block),
        }
        piece.is_some()
    }

    /// No more bytes will come: what is held is a line, though without an end.
    pub(super) fn finish(&mut self, sink: &mut impl Lines) {
        if !self.held.is_empty() {
            sink.line(&self.held, self.overlong);
        }
        self.clear();
    }

    fn clear(&mut self) {
        self.held.clear();
        (self.begun, self.overlong, self.skipping) = (false, false, false);
    }

    #[cold]
    fn end_line(&mut self, piece: &[u8], sink: &mut impl Lines) {
        if !self.skipping {
            self.hold(piece);
            sink.line(&self.held, self.overlong);
        }
        self.clear();
    }

    fn hold(&mut self, piece: &[u8]) {
        if self.skipping {
            return;
        }
        self.begun |= !piece.is_empty();
        let piece = if self.held.is_empty() { without_hole(piece) } else { piece };
        let room = LINE_CAP.saturating_sub(self.held.len());
        self.held.extend_from_slice(piece.get(..room).unwrap_or(piece));
        self.overlong |= piece.len() > room;
    }
}

/// What stands before the first line feed, and what behind it.
#[inline]
fn parted(block: &[u8]) -> Option<(&[u8], &[u8])> {
    let (piece, behind) = block.split_at_checked(memchr(b'\n', block)?)?;
    Some((piece, behind.get(1..)?))
}

#[inline]
fn emit(piece: &[u8], sink: &mut impl Lines) {
    let piece = without_hole(piece);
    match piece.get(..LINE_CAP) {
        Some(kept) => sink.line(kept, piece.len() > LINE_CAP),
        None => sink.line(piece, false),
    }
}

/// A log that was truncated under its writer's open descriptor has a hole that reads as zeros.
#[inline]
fn without_hole(piece: &[u8]) -> &[u8] {
    if piece.first() != Some(&0) {
        return piece;
    }
    let hole = piece.iter().take_while(|b| **b == 0).count();
    piece.get(hole..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Default, PartialEq)]
    struct Heard(Vec<(Vec<u8>, bool)>);
    impl Lines for Heard {
        fn line(&mut self, line: &[u8], overlong: bool) {
            self.0.push((line.to_vec(), overlong));
        }
    }

    fn cut(blocks: &[&[u8]]) -> Heard {
        let (mut cutter, mut heard) = (Cutter::default(), Heard::default());
        for block in blocks {
            cutter.feed(block, &mut heard);
        }
        cutter.finish(&mut heard);
        heard
    }

    proptest! {
        #[test]
        fn blocks_of_any_size_give_the_same_lines(bytes in prop::collection::vec(prop::sample::select(vec![0_u8, b'\n', b'\n', b'a']), 0..60), size in 1_usize..9) {
            let blocks: Vec<&[u8]> = bytes.chunks(size).collect();
            prop_assert_eq!(cut(&blocks), cut(&[&bytes]));
        }
    }

    #[test]
    fn five_megabytes_without_an_end_keep_their_beginning() {
        let long = [vec![0; 200_000].as_slice(), &vec![b'x'; 5 << 20], b"\nshort"].concat();
        let whole = cut(&[&long]);
        assert_eq!(whole.0, [(vec![b'x'; LINE_CAP], true), (b"short".to_vec(), false)]);
        assert_eq!(cut(&long.chunks(4_096).collect::<Vec<_>>()), whole);
    }
}
