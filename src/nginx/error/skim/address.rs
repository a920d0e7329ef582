//! IPv4 addresses packed into numbers as they are read: the same number only for the same text.

#![expect(clippy::inline_always, reason = "one line is a few hundred instructions: a call would cost a tenth of them")]

use super::eight::{ONES, non_dotted};

/// How many of the first 16 bytes of `text` look like an IPv4 address, digits and points, and those bytes packed into
/// four bits each: the same number only for the same text. `None`: it goes on or does not begin so.
#[must_use]
#[inline(always)]
pub fn dotted(text: &[u8]) -> Option<(u64, usize)> {
    let mut copy;
    let sixteen = if let Some(sixteen) = text.first_chunk::<16>() {
        sixteen
    } else {
        copy = [0; 16];
        copy.get_mut(..text.len())?.copy_from_slice(text);
        &copy
    };
    let (low, high) = (sixteen.first_chunk()?, sixteen.last_chunk()?);
    // The last eight bytes lie between the first eight: nothing has to be moved together.
    match (non_dotted(*low), non_dotted(*high)) {
        (0, 0) => None,
        (0, others) => {
            let (end, inside) = end_of(others);
            let high = u64::from_le_bytes(*high) & inside | (end * 0xf);
            Some((u64::from_le_bytes(*low) & NIBBLES | ((high & NIBBLES) << 4), 8 + length_of(others)))
        }
        (others, _) => {
            let (end, inside) = end_of(others);
            let packed = (u64::from_le_bytes(*low) & inside | (end * 0xf)) & NIBBLES;
            Some((packed, length_of(others))).filter(|(_, length)| *length > 0)
        }
    }
}

/// The lower four bits of each byte.
const NIBBLES: u64 = ONES * 0x0f;

/// A one in the byte of the lowest high bit of `others`, and all bits below that byte. There stands, once it is packed,
/// what no address has, so that the length is told too.
#[inline]
const fn end_of(others: u64) -> (u64, u64) {
    let end = (others & others.wrapping_neg()) >> 7;
    (end, end - 1)
}

#[inline]
const fn length_of(others: u64) -> usize {
    (others.trailing_zeros() / 8) as usize
}

/// The text that [`dotted`] packed.
#[must_use]
pub fn undotted(packed: u64) -> String {
    let (mut text, mut length) = ([0; 16], 0);
    for (byte, n) in text.iter_mut().zip(0..) {
        let place = if n < 8 { 8 * n } else { 8 * (n - 8) + 4 };
        *byte = match packed.unbounded_shr(place).to_le_bytes()[0] & 0xf {
            0xf => break,
            0xe => b'.',
            digit => b'0' + digit,
        };
        length += 1;
    }
    text.iter().take(length).map(|b| char::from(*b)).collect()
}

/// What [`dotted`] packs of an address that is all of `text`.
#[must_use]
#[inline]
pub fn whole_dotted(text: &[u8]) -> Option<u64> {
    dotted(text).filter(|(_, length)| *length == text.len()).map(|(packed, _)| packed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_address_is_packed_and_unpacked(text in "[0-9.]{0,17}[/:,x]?[0-9]{0,3}") {
            let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
            for shown in [text.clone(), format!("{text},                      ")] {
                let packed = dotted(shown.as_bytes());
                prop_assert_eq!(packed.map(|p| p.1), Some(end).filter(|e| (1..16).contains(e)), "{}", shown);
                if let Some((packed, _)) = packed {
                    prop_assert_eq!(undotted(packed), &text[..end]);
                }
            }
        }
    }
}
