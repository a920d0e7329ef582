//! Counts short texts: what came lately is kept as numbers, all else in a bounded summary.

use crate::event::tally::top::Top;

/// Different texts that are kept.
const KEPT: usize = 4_096;
/// Pairs of recent texts.
const PAIRS: usize = 256;
/// Bytes of a text that fit into two numbers beside its length.
const SHORT: usize = 31;
/// Bytes of a text that are kept.
const LONGEST: usize = 256;

/// A short text as two numbers, the length in the uppermost byte, and how often it came since it is here.
#[derive(Clone, Copy, Debug, Default)]
struct Recent {
    low: u128,
    high: u128,
    count: u64,
}

impl Recent {
    /// Packs the first `length` bytes of `text`.
    #[inline]
    fn pack(text: &[u8], length: usize) -> Option<Self> {
        if length > SHORT {
            return None;
        }
        let mut copy;
        let bytes = if let Some(bytes) = text.first_chunk::<32>() {
            bytes
        } else {
            copy = [0; 32];
            copy.get_mut(..length)?.copy_from_slice(text.get(..length)?);
            &copy
        };
        let (low, high) = bytes.split_at(16);
        let (low, high) = (u128::from_le_bytes(low.try_into().ok()?), u128::from_le_bytes(high.try_into().ok()?));
        let bits = u32::try_from(length).ok()? * 8;
        let (low, high) =
            if bits < 128 { (low & ((1 << bits) - 1), 0) } else { (low, high & ((1 << (bits - 128)) - 1)) };
        Some(Self { low, high: high | (length as u128) << 120, count: 1 })
    }

    fn is(&self, other: &Self) -> bool {
        self.low == other.low && self.high == other.high
    }

    #[inline]
    fn pair(&self) -> usize {
        let mixed = self.low ^ self.high.rotate_left(64);
        #[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
        let folded = (mixed as u64) ^ ((mixed >> 64) as u64).rotate_left(23);
        usize::try_from(folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56).unwrap_or(0) % PAIRS
    }

    fn pour_into(self, all: &mut Top<Box<[u8]>>) {
        if self.count > 0 {
            let mut bytes = [0; 32];
            let (low, high) = bytes.split_at_mut(16);
            low.copy_from_slice(&self.low.to_le_bytes());
            high.copy_from_slice(&self.high.to_le_bytes());
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
    #[inline]
    pub(super) fn add(&mut self, text: &[u8], length: usize) {
        let Some(new) = Recent::pack(text, length) else {
            self.all.add(text.get(..length.min(LONGEST)).unwrap_or_default(), 1);
            return;
        };
        let Some([first, second]) = self.recent.get_mut(new.pair()) else { return };
        if first.is(&new) {
            first.count += 1;
        } else if second.is(&new) {
            second.count += 1;
            std::mem::swap(first, second);
        } else {
            second.pour_into(&mut self.all);
            *second = std::mem::replace(first, new);
        }
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
