//! Counts short texts: what came lately is kept as numbers, all else in a bounded summary.

#![expect(clippy::inline_always, reason = "one line is a few hundred instructions: a call would cost a tenth of them")]

use crate::event::tally::top::Top;

/// Different texts that are kept.
const KEPT: usize = 4_096;
/// Pairs of recent texts.
const PAIRS: usize = 256;
/// Bytes of a text that fit into two numbers beside its length.
const SHORT: usize = 31;
/// Bytes of a text that are kept.
const LONGEST: usize = 256;

/// A short text as four numbers, the length in the uppermost byte, and how often it came since it is here.
#[derive(Clone, Copy, Debug, Default)]
struct Recent {
    words: [u64; 4],
    count: u64,
}

/// For each length the bits of a text in its four numbers.
static INSIDE: [[u64; 4]; SHORT + 1] = inside();

const fn inside() -> [[u64; 4]; SHORT + 1] {
    let mut all = [[0; 4]; SHORT + 1];
    let mut byte = 0;
    while byte < SHORT {
        let mut length = byte + 1;
        while length <= SHORT {
            all[length][byte / 8] |= 0xff << (8 * (byte % 8));
            length += 1;
        }
        byte += 1;
    }
    all
}

impl Recent {
    /// Packs the first `length` bytes of `text`.
    #[inline(always)]
    fn pack(text: &[u8], length: usize) -> Option<Self> {
        let [a, b, c, d] = INSIDE.get(length)?;
        let mut copy;
        let bytes = if let Some(bytes) = text.first_chunk::<32>() {
            bytes
        } else {
            copy = [0; 32];
            copy.get_mut(..length)?.copy_from_slice(text.get(..length)?);
            &copy
        };
        let word = |from: usize| bytes.get(from..)?.first_chunk().map(|eight| u64::from_le_bytes(*eight));
        let words = [word(0)? & a, word(8)? & b, word(16)? & c, word(24)? & d | (length as u64) << 56];
        Some(Self { words, count: 1 })
    }

    #[inline(always)]
    fn is(&self, other: &Self) -> bool {
        // Not word by word: a branch for each costs more than the rest.
        let (own, other) = (&self.words, &other.words);
        (own[0] ^ other[0]) | (own[1] ^ other[1]) | (own[2] ^ other[2]) | (own[3] ^ other[3]) == 0
    }

    #[inline(always)]
    fn pair(&self) -> usize {
        let [a, b, c, d] = self.words;
        let folded = a ^ d ^ (b ^ c).rotate_left(23);
        usize::try_from(folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56).unwrap_or(0) % PAIRS
    }

    #[cold]
    fn pour_into(self, all: &mut Top<Box<[u8]>>) {
        if self.count > 0 {
            let mut bytes = [0; 32];
            for (eight, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(self.words) {
                *eight = word.to_le_bytes();
            }
            let length = usize::from(bytes.last().copied().unwrap_or(0));
            all.add(bytes.get(..length).unwrap_or_default(), self.count);
        }
    }
}

/// The most frequent texts of any number.
#[derive(Debug)]
pub(super) struct Names {
    recent: Vec<[Recent; 2]>,
    all: Top<Box<[u8]>>,
}

impl Default for Names {
    fn default() -> Self {
        Self { recent: vec![[Recent::default(); 2]; PAIRS], all: Top::new(KEPT) }
    }
}

impl Names {
    /// Counts the text once that is the first `length` bytes of `text`: what stands behind it makes reading cheaper.
    #[inline(always)]
    pub(super) fn add(&mut self, text: &[u8], length: usize) {
        let Some(new) = Recent::pack(text, length) else {
            return self.add_long(text.get(..length.min(LONGEST)).unwrap_or_default());
        };
        let Some([first, second]) = self.recent.get_mut(new.pair()) else { return };
        if first.is(&new) {
            first.count += 1;
        } else if second.is(&new) {
            second.count += 1;
            std::mem::swap(first, second);
        } else {
            std::mem::replace(second, std::mem::replace(first, new)).pour_into(&mut self.all);
        }
    }

    #[inline(never)]
    fn add_long(&mut self, text: &[u8]) {
        self.all.add(text, 1);
    }

    /// Adds all to a summary whose keys `shown` makes.
    pub(super) fn pour_into(mut self, top: &mut Top<Box<str>>, shown: impl Fn(&[u8]) -> String) {
        for recent in self.recent.drain(..).flatten() {
            recent.pour_into(&mut self.all);
        }
        let mut part = Top::new(KEPT);
        part.merge_mapped(self.all, |bytes: Box<[u8]>| Box::from(crate::event::tally::key(&shown(&bytes))));
        top.merge(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn every_text_is_counted_whatever_its_length(texts in prop::collection::vec("[a\\x00]{0,3}|[ab]{14,18}|[ab]{29,36}", 0..300)) {
            let mut names = Names::default();
            let mut truth: HashMap<String, u64> = HashMap::new();
            for (n, text) in texts.iter().enumerate() {
                let behind = format!("{text}{}", "z".repeat(n % 40));
                names.add(behind.as_bytes(), text.len());
                *truth.entry(text.clone()).or_default() += 1;
            }
            let mut top = Top::new(1_000);
            names.pour_into(&mut top, |b| String::from_utf8_lossy(b).into_owned());
            prop_assert_eq!(top.len(), truth.len());
            for (text, n) in truth {
                prop_assert_eq!(top.get(text.as_str()).map(|c| c.count), Some(n));
            }
        }
    }
}
