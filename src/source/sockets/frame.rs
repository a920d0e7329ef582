//! Netlink's framing, netlink(7): a datagram is messages, the payload of a message ends in attributes.
//!
//! Everything is read by its length; whatever a length promises and the bytes do not hold is a garbled answer.

use std::io;

/// `sizeof(struct nlmsghdr)`.
pub(super) const HEADER: usize = 16;
/// Message types and flags of linux/netlink.h and linux/sock_diag.h.
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// Asks for the sockets of one family.
pub(super) const BY_FAMILY: u16 = 20;
/// Asks for TCP sockets, of IPv4 and IPv6 in one walk (TCPDIAG_GETSOCK of linux/inet_diag.h).
pub(super) const TCP_OF_BOTH: u16 = 18;
const REQUEST_DUMP: u16 = 0x001 | 0x300;
const DUMP_INTERRUPTED: u16 = 0x10;

/// The `N` bytes at `at`, if they are there.
pub(super) fn take<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// A number in the machine's byte order.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    take(bytes, at).map(u16::from_ne_bytes)
}

/// A number in the machine's byte order.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    take(bytes, at).map(u32::from_ne_bytes)
}

/// A number in the machine's byte order.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    take(bytes, at).map(u64::from_ne_bytes)
}

/// The attributes with their kinds, as far as they are whole; each is padded to 4 bytes.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let found = (u16_at(bytes, 2)?, bytes.get(4..length)?);
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(found)
    })
}

/// A request for all sockets of a kind: nlmsghdr and the body, which already ends in its attributes.
pub(super) fn dump_request(kind: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let total = HEADER + body.len();
    let mut out = Vec::with_capacity(total);
    out.extend(u32::try_from(total).unwrap_or(u32::MAX).to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(REQUEST_DUMP.to_ne_bytes());
    out.extend(sequence.to_ne_bytes());
    out.extend(0_u32.to_ne_bytes());
    out.extend_from_slice(body);
    out
}

/// What one datagram of an answer said besides its rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// That was all of the answer.
    pub done: bool,
    /// The kernel's table changed under its hands: rows may be missing.
    pub interrupted: bool,
}

/// Hands the payload of each row to `each`. Messages of another request are passed over; `cut` says that the last may be
/// incomplete; `what` names the sockets asked for.
///
/// # Errors
/// When the kernel refuses or a message is cut short.
pub(super) fn messages(
    mut bytes: &[u8],
    sequence: u32,
    cut: bool,
    what: &str,
    each: &mut dyn FnMut(&[u8]),
) -> io::Result<Heard> {
    let mut heard = Heard { done: false, interrupted: cut };
    while !bytes.is_empty() {
        let Some((kind, flags, seq, payload, length)) = message(bytes) else {
            return if cut { Ok(heard) } else { Err(garbled(what)) };
        };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        if seq != sequence {
            continue;
        }
        heard.interrupted |= flags & DUMP_INTERRUPTED != 0;
        match kind {
            BY_FAMILY | TCP_OF_BOTH => each(payload),
            DONE | ERROR => {
                ended(kind, payload, what)?;
                heard.done = true;
                return Ok(heard);
            }
            _ => {}
        }
    }
    Ok(heard)
}

/// The request that a datagram's first message answers; 0 when it holds none.
pub(super) fn sequence_of(datagram: &[u8]) -> u32 {
    u32_at(datagram, 8).unwrap_or(0)
}

fn message(bytes: &[u8]) -> Option<(u16, u16, u32, &[u8], usize)> {
    let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
    Some((u16_at(bytes, 4)?, u16_at(bytes, 6)?, u32_at(bytes, 8)?, bytes.get(HEADER..length)?, length))
}

/// The last message carries a number: 0, or the negative errno with which the kernel gave up.
fn ended(kind: u16, payload: &[u8], what: &str) -> io::Result<()> {
    match take(payload, 0).map(i32::from_ne_bytes) {
        Some(n) if n < 0 => {
            let e = io::Error::from_raw_os_error(n.saturating_neg());
            Err(told(&format!("the kernel would not list its {what}"), e))
        }
        None if kind == ERROR => Err(garbled(what)),
        _ => Ok(()),
    }
}

/// The error with what was being done.
pub(super) fn told(doing: &str, e: impl Into<io::Error>) -> io::Error {
    let e: io::Error = e.into();
    io::Error::new(e.kind(), format!("{doing}: {e}"))
}

fn garbled(what: &str) -> io::Error {
    let said = format!("the kernel's list of {what} could not be read: a message is cut short");
    io::Error::new(io::ErrorKind::InvalidData, said)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    const SEQUENCE: u32 = 7;

    /// One message as the kernel writes it.
    pub fn message(kind: u16, flags: u16, seq: u32, payload: &[u8]) -> Vec<u8> {
        let mut m = u32::try_from(HEADER + payload.len()).expect("short").to_ne_bytes().to_vec();
        m.extend(kind.to_ne_bytes());
        m.extend(flags.to_ne_bytes());
        m.extend(seq.to_ne_bytes());
        m.extend([0; 4]);
        m.extend_from_slice(payload);
        m.resize(m.len().next_multiple_of(4), 0);
        m
    }

    /// An attribute as the kernel writes it.
    pub fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut a = u16::try_from(4 + value.len()).expect("short").to_ne_bytes().to_vec();
        a.extend(kind.to_ne_bytes());
        a.extend_from_slice(value);
        a.resize(a.len().next_multiple_of(4), 0);
        a
    }

    fn read(bytes: &[u8], cut: bool) -> (Vec<Vec<u8>>, io::Result<Heard>) {
        let mut rows = Vec::new();
        let heard = messages(bytes, SEQUENCE, cut, "sockets", &mut |p| rows.push(p.to_vec()));
        (rows, heard)
    }

    const DONE_WELL: Heard = Heard { done: true, interrupted: false };

    #[test]
    fn a_refusal_is_told_with_its_errno() {
        for kind in [ERROR, DONE] {
            let (_, heard) = read(&message(kind, 0, SEQUENCE, &(-2_i32).to_ne_bytes()), false);
            let e = heard.expect_err("ENOENT");
            assert_eq!(e.to_string(), "the kernel would not list its sockets: No such file or directory (os error 2)");
            assert_eq!(e.kind(), io::ErrorKind::NotFound);
        }
        assert!(read(&message(ERROR, 0, SEQUENCE, &i32::MIN.to_ne_bytes()), false).1.is_err());
        assert!(read(&message(ERROR, 0, SEQUENCE, &[]), false).1.is_err());
        assert_eq!(read(&message(DONE, 0, SEQUENCE, &[]), false).1.expect("an old kernel's end"), DONE_WELL);
    }

    #[test]
    fn answers_to_another_request_are_passed_over() {
        let mut bytes = message(DONE, 0, SEQUENCE - 1, &(-2_i32).to_ne_bytes());
        assert_eq!(read(&bytes, false).1.expect("read"), Heard::default());
        bytes.extend(message(BY_FAMILY, 0, SEQUENCE - 1, b"old "));
        bytes.extend(message(BY_FAMILY, 0, SEQUENCE, b"new "));
        bytes.extend(message(DONE, 0, SEQUENCE, &0_i32.to_ne_bytes()));
        let (rows, heard) = read(&bytes, false);
        assert_eq!((rows, heard.expect("read")), (vec![b"new ".to_vec()], DONE_WELL));
    }

    #[test]
    fn an_interrupted_dump_is_noticed_on_any_of_its_messages() {
        let bytes = message(DONE, DUMP_INTERRUPTED, SEQUENCE, &0_i32.to_ne_bytes());
        assert!(read(&bytes, false).1.expect("read").interrupted);
        let bytes = message(BY_FAMILY, DUMP_INTERRUPTED, SEQUENCE, b"row ");
        assert_eq!(read(&bytes, false).1.expect("read"), Heard { done: false, interrupted: true });
    }

    #[test]
    fn a_length_that_lies_ends_the_reading() {
        for length in [0_u32, 1, 15, 17, u32::MAX] {
            let mut bytes = message(BY_FAMILY, 0, SEQUENCE, &[]);
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            assert!(read(&bytes, false).1.is_err(), "length {length}");
        }
        let lies = |length: u16| [length.to_ne_bytes(), [1, 0]].concat();
        for length in [0, 1, 3, 5, u16::MAX] {
            assert_eq!(attributes(&lies(length)).count(), 0, "length {length}");
        }
        let two = [attribute(5, &[1, 2, 3]), attribute(2, &[])].concat();
        let read: Vec<_> = attributes(&two).collect();
        assert_eq!(read, [(5, &[1_u8, 2, 3][..]), (2, &[][..])], "padding is stepped over, empty values are values");
    }

    proptest! {
        #[test]
        fn no_datagram_makes_it_panic_or_loop(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0u16..24,
                                              payload in proptest::collection::vec(any::<u8>(), 0..120), cut: bool) {
            let _ = read(&bytes, cut);
            let _ = read(&message(kind, 0, SEQUENCE, &payload), cut);
            prop_assert!(attributes(&bytes).count() <= bytes.len() / 4);
        }
    }
}
