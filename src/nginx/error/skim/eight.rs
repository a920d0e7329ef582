//! Eight bytes looked at together in one number: for the short texts of a log line a call of a vectorised search costs
//! more than it saves.

#![expect(clippy::inline_always, reason = "one line is a few hundred instructions: a call would cost a tenth of them")]

/// A one in each byte.
pub(super) const ONES: u64 = 0x0101_0101_0101_0101;
/// The high bit of each byte.
const HIGH: u64 = ONES * 0x80;

/// What stands behind `prefix`, compared in place: the library's own question becomes a call of a function.
#[inline(always)]
pub(in crate::nginx::error) fn after<'a, const N: usize>(text: &'a [u8], prefix: &[u8; N]) -> Option<&'a [u8]> {
    text.split_first_chunk::<N>().filter(|(first, _)| *first == prefix).map(|(_, rest)| rest)
}

/// The text behind one to `MOST` digits.
#[inline(always)]
pub(super) fn past_digits<const MOST: usize>(text: &[u8]) -> Option<&[u8]> {
    let digits = match text.first_chunk::<8>().map(|eight| leading_digits(*eight)) {
        Some(few @ 0..8) => few,
        Some(_) if MOST > 8 => match text.get(8..).and_then(<[u8]>::first_chunk::<8>) {
            Some(next) if leading_digits(*next) < 8 => 8 + leading_digits(*next),
            _ => many_digits(text)?,
        },
        _ => many_digits(text)?,
    };
    if digits == 0 || digits > MOST { None } else { text.get(digits..) }
}

#[inline(never)]
fn many_digits(text: &[u8]) -> Option<usize> {
    text.iter().position(|b| !b.is_ascii_digit())
}

/// How many of eight bytes are digits before the first that is none, without a branch for each.
#[inline]
pub(super) fn leading_digits(eight: [u8; 8]) -> usize {
    (non_digits(eight).trailing_zeros() / 8) as usize
}

/// The high bit of each byte that is neither a digit nor a point, up to the first such.
#[inline]
pub(super) const fn non_dotted(eight: [u8; 8]) -> u64 {
    let bytes = u64::from_le_bytes(eight);
    let low = bytes & !HIGH;
    // Sums of seven bits reach no other byte: from `.` on, and not from behind `9` on, but for the `/` between.
    let inside = (low + ONES * (0x80 - 0x2e)) & !(low + ONES * (0x80 - 0x3a)) & !bytes;
    let slash = bytes ^ (ONES * 0x2f);
    (!inside | (slash.wrapping_sub(ONES) & !slash)) & HIGH
}

/// The high bit of each byte that is no digit, up to the first that is none; bits above that one mean nothing.
#[inline]
const fn non_digits(eight: [u8; 8]) -> u64 {
    // A digit becomes 0 to 9. Adding 0x76 to seven bits sets the high bit of all others, and reaches no other byte.
    let low = u64::from_le_bytes(eight) ^ (ONES * 0x30);
    (((low & !HIGH) + ONES * 0x76) | low) & HIGH
}

/// Where the first of some bytes stands in `text`.
#[inline]
pub(in crate::nginx::error) fn position_of<const N: usize>(text: &[u8], any: [u8; N]) -> Option<usize> {
    position_below::<0, N>(text, any)
}

/// Where the first byte stands that is less than `LIMIT`, at most 128, or one of some others. Sixteen bytes at a time
/// without a branch for their halves: whether a name has seven bytes or nine is nothing that a processor can guess.
#[inline(always)]
pub(super) fn position_below<const LIMIT: u8, const N: usize>(text: &[u8], or_any: [u8; N]) -> Option<usize> {
    const { assert!(LIMIT <= 128, "a greater limit would reach bytes with the high bit") };
    let mut from = 0;
    while let Some(sixteen) = text.get(from..).and_then(<[u8]>::first_chunk::<16>) {
        let found = low_or_any::<LIMIT, N>(*sixteen, or_any);
        if found != 0 {
            return Some(from + (found.trailing_zeros() / 8) as usize);
        }
        from += 16;
    }
    let rest = text.get(from..)?;
    rest.iter().position(|b| *b < LIMIT || or_any.contains(b)).map(|at| from + at)
}

/// The high bit of each byte that is less than `LIMIT` or one of some others, up to the first such.
#[inline(always)]
fn low_or_any<const LIMIT: u8, const N: usize>(sixteen: [u8; 16], or_any: [u8; N]) -> u128 {
    const ONES: u128 = 0x0101_0101_0101_0101_0101_0101_0101_0101;
    let bytes = u128::from_le_bytes(sixteen);
    // The lowest such byte is found for certain (those above it may be false): only from there a bit is borrowed.
    let below = if LIMIT == 0 { 0 } else { bytes.wrapping_sub(ONES * u128::from(LIMIT)) & !bytes };
    let zeros = or_any.iter().map(|byte| bytes ^ (ONES * u128::from(*byte)));
    zeros.fold(below, |found, zero| found | (zero.wrapping_sub(ONES) & !zero)) & (ONES * 0x80)
}

/// Where the first line feed stands in `text`. Cheaper than a vectorised search where it is near.
#[must_use]
#[inline]
pub fn line_end(text: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(many) = text.get(from..).and_then(<[u8]>::first_chunk::<32>) {
        // The compiler makes two comparisons of this.
        if many.iter().fold(0, |found, b| found | u8::from(*b == b'\n')) != 0 {
            break;
        }
        from += 32;
    }
    position_of(text.get(from..)?, *b"\n").map(|at| from + at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn digits_are_counted_in_any_eight_bytes(eight in prop::array::uniform8(prop_oneof![any::<u8>(), b'0'..=b'9'])) {
            let counted = eight.iter().take_while(|b| b.is_ascii_digit()).count();
            prop_assert_eq!(leading_digits(eight), counted);
        }

        #[test]
        fn a_byte_is_found_where_it_stands(text in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'/'), Just(b'.')], 0..30)) {
            prop_assert_eq!(position_of(&text, *b"/?#"), text.iter().position(|b| b"/?#".contains(b)));
        }

        #[test]
        fn a_low_byte_is_found_where_it_stands(text in prop::collection::vec(prop_oneof![any::<u8>(), b'\x20'..=b'?'], 0..40)) {
            let expected = text.iter().position(|b| *b < b'$' || *b == b'?');
            prop_assert_eq!(position_below::<b'$', 1>(&text, *b"?"), expected);
            prop_assert_eq!(position_below::<128, 0>(&text, []), text.iter().position(u8::is_ascii));
        }

        #[test]
        fn a_line_ends_at_its_first_line_feed(text in prop::collection::vec(prop_oneof![Just(0x8a_u8), Just(11), any::<u8>()], 0..150)) {
            prop_assert_eq!(line_end(&text), text.iter().position(|b| *b == b'\n'));
        }
    }
}
