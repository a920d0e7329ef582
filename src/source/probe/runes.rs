//! UTF-8 checked as it passes, in pieces that may end within a character (RFC 6455 section 8.1).

/// The beginning of a character whose other bytes have not come yet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Runes {
    begun: [u8; 4],
    have: u8,
}

impl Runes {
    /// Takes the next bytes; `false` when no bytes that may follow make them UTF-8.
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> bool {
        while self.have > 0 {
            let Some((byte, rest)) = bytes.split_first() else { return true };
            bytes = rest;
            self.push(*byte);
            match std::str::from_utf8(self.begun.get(..usize::from(self.have)).unwrap_or_default()) {
                Ok(_) => self.have = 0,
                Err(e) if e.error_len().is_some() => return false,
                Err(_) => {}
            }
        }
        match std::str::from_utf8(bytes) {
            Ok(_) => true,
            Err(e) if e.error_len().is_some() => false,
            Err(e) => {
                bytes.iter().skip(e.valid_up_to()).for_each(|byte| self.push(*byte));
                true
            }
        }
    }

    fn push(&mut self, byte: u8) {
        if let Some(slot) = self.begun.get_mut(usize::from(self.have)) {
            *slot = byte;
            self.have += 1;
        }
    }

    /// No character is cut off here; the next text begins afresh.
    pub(super) fn is_whole(self) -> bool {
        self.have == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_verdict_is_that_of_the_whole(bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0x80..0xc5_u8, Just(0xf0), Just(0xed)], 0..12), cut in 1..6_usize) {
            let mut runes = Runes::default();
            let fits = bytes.chunks(cut).all(|piece| runes.take(piece)) && runes.is_whole();
            prop_assert_eq!(fits, std::str::from_utf8(&bytes).is_ok());
        }

        #[test]
        fn text_passes_however_it_is_cut(text in "\\PC{0,20}", cut in 1..6_usize) {
            let mut runes = Runes::default();
            prop_assert!(text.as_bytes().chunks(cut).all(|piece| runes.take(piece)) && runes.is_whole());
        }
    }
}
