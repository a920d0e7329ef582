//! Asks the kernel for its TCP sockets by netlink sock_diag (sock_diag(7)): one reused socket, filtered in the kernel.
//!
//! A connection that never carried data reads its own age in both idle times.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::{SOCK_DIAG, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, recv, send, socket_with};

use super::filter;
use super::message::{ATTR_INFO, FAMILY_V4, FAMILY_V6, row, u16_at, u32_at};
use super::row::{Found, wanted};
use crate::event::site::Interest;
use crate::event::socket::TcpState;

/// The kernel writes at most about this much at once however large the buffer is.
const BUFFER: usize = 32 * 1024;
/// A buffer never grows past this, should a kernel write more.
const LARGEST_BUFFER: usize = 1024 * 1024;
/// A dump that changed under the kernel's hands is asked for again, but not for ever.
const ATTEMPTS: u32 = 3;
/// The kernel answers at once; whatever takes longer is no kernel that we know how to talk to.
const PATIENCE: Duration = Duration::from_secs(5);

/// `sizeof(struct nlmsghdr)`.
const HEADER: usize = 16;
/// Message types and flags of linux/netlink.h and linux/sock_diag.h.
const ERROR: u16 = 2;
const DONE: u16 = 3;
const BY_FAMILY: u16 = 20;
const REQUEST_DUMP: u16 = 0x001 | 0x300;
const DUMP_INTERRUPTED: u16 = 0x10;
/// The request's filter attribute, and IPPROTO_TCP.
const ATTR_BYTECODE: u16 = 1;
const TCP: u8 = 6;

/// A netlink socket that only the kernel can write to.
#[derive(Debug)]
pub(super) struct Diag {
    fd: OwnedFd,
    buffer: Vec<u8>,
    sequence: u32,
}

/// How one answer of several messages ended.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    /// More follows.
    More,
    /// That was all.
    Done,
}

impl Diag {
    /// Opens the socket.
    ///
    /// # Errors
    /// When the kernel or a sandbox knows no netlink sockets of this kind.
    pub(super) fn open() -> io::Result<Self> {
        let failed = |e: Errno| told("opening a netlink sock_diag socket", e);
        let fd = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, SocketFlags::CLOEXEC, Some(SOCK_DIAG))
            .map_err(failed)?;
        // Connected to the kernel (port 0), no other program's message is let in.
        connect(&fd, &SocketAddrNetlink::new(0, 0)).map_err(failed)?;
        set_socket_timeout(&fd, Timeout::Recv, Some(PATIENCE)).map_err(failed)?;
        Ok(Self { fd, buffer: vec![0; BUFFER], sequence: 0 })
    }

    /// Hands every socket of `interest` to `each`, IPv4 first. A socket can come twice when the table changed meanwhile.
    ///
    /// # Errors
    /// When the kernel refuses, falls silent or writes what cannot be read. The socket is then of no more use: open another.
    pub(super) fn dump(&mut self, interest: &Interest, each: &mut dyn FnMut(Found)) -> io::Result<()> {
        let program = filter::program(interest);
        if program.is_empty() {
            return Ok(());
        }
        self.dump_family(FAMILY_V4, &program, interest, each)?;
        match self.dump_family(FAMILY_V6, &program, interest, each) {
            // A kernel built without IPv6 has none to show.
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn dump_family(
        &mut self,
        family: u8,
        program: &[u8],
        interest: &Interest,
        each: &mut dyn FnMut(Found),
    ) -> io::Result<()> {
        for attempt in 1..=ATTEMPTS {
            self.sequence = self.sequence.wrapping_add(1);
            let asked = request(family, self.sequence, program);
            send(&self.fd, &asked, SendFlags::empty()).map_err(|e| told("asking the kernel for its TCP sockets", e))?;
            let mut interrupted = false;
            while self.receive(&mut interrupted, interest, each)? == Progress::More {}
            if !interrupted {
                break;
            }
            tracing::debug!(family, attempt, "the socket table changed during the dump");
        }
        Ok(())
    }

    fn receive(
        &mut self,
        interrupted: &mut bool,
        interest: &Interest,
        each: &mut dyn FnMut(Found),
    ) -> io::Result<Progress> {
        let (kept, length) = loop {
            match recv(&self.fd, self.buffer.as_mut_slice(), RecvFlags::TRUNC) {
                Ok(read) => break read,
                Err(Errno::INTR) => {}
                Err(e) => return Err(told("reading the kernel's TCP sockets", e)),
            }
        };
        if length > kept {
            // What was cut off is lost: remember to bring a larger buffer and let this look be made again.
            self.buffer.resize(length.next_power_of_two().clamp(BUFFER, LARGEST_BUFFER), 0);
            *interrupted = true;
        }
        let datagram = self.buffer.get(..kept).unwrap_or_default();
        messages(datagram, self.sequence, length > kept, interrupted, &mut |found| {
            if wanted_row(interest, &found) {
                each(found);
            }
        })
    }
}

/// The kernel's filter may be wider than the interest.
fn wanted_row(interest: &Interest, found: &Found) -> bool {
    match found {
        Found::Connection(r) => wanted(interest, r.local.port(), r.peer.port()),
        Found::Listening(_, l) => interest.listen_ports.contains(&l.local.port()),
    }
}

/// The states asked for, as a bit mask: all that [`super::row::watched`] lets through.
fn states() -> u32 {
    (1..=11).filter(|n| TcpState::from_kernel(*n).is_some_and(super::row::watched)).map(|n| 1 << n).sum()
}

/// A dump request: nlmsghdr, `inet_diag_req_v2` (56 bytes) and the filter as an attribute.
fn request(family: u8, sequence: u32, program: &[u8]) -> Vec<u8> {
    let attribute = 4 + program.len();
    let total = HEADER + 56 + attribute;
    let mut out = Vec::with_capacity(total);
    out.extend(u32::try_from(total).unwrap_or(u32::MAX).to_ne_bytes());
    out.extend(BY_FAMILY.to_ne_bytes());
    out.extend(REQUEST_DUMP.to_ne_bytes());
    out.extend(sequence.to_ne_bytes());
    out.extend(0_u32.to_ne_bytes());
    out.extend([family, TCP, 1 << (ATTR_INFO - 1), 0]);
    out.extend(states().to_ne_bytes());
    out.extend([0; 40]); // any ports, addresses and interface
    out.extend([0xff; 8]); // INET_DIAG_NOCOOKIE
    out.extend(u16::try_from(attribute).unwrap_or(u16::MAX).to_ne_bytes());
    out.extend(ATTR_BYTECODE.to_ne_bytes());
    out.extend_from_slice(program);
    out
}

/// Reads the messages of one datagram. Those of another request are passed over; `cut` says that the last may be incomplete.
fn messages(
    mut bytes: &[u8],
    sequence: u32,
    cut: bool,
    interrupted: &mut bool,
    each: &mut dyn FnMut(Found),
) -> io::Result<Progress> {
    while !bytes.is_empty() {
        let head = u32_at(bytes, 0).zip(u16_at(bytes, 4)).zip(u16_at(bytes, 6)).zip(u32_at(bytes, 8));
        let message = head.and_then(|(((length, kind), flags), seq)| {
            let length = usize::try_from(length).ok()?;
            Some((kind, flags, seq, bytes.get(HEADER..length)?, length))
        });
        let Some((kind, flags, seq, payload, length)) = message else {
            return if cut { Ok(Progress::More) } else { Err(garbled()) };
        };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        if seq != sequence {
            continue;
        }
        *interrupted |= flags & DUMP_INTERRUPTED != 0;
        match kind {
            BY_FAMILY => {
                if let Some(found) = row(payload) {
                    each(found);
                }
            }
            // Both carry a number: 0, or the negative errno with which the kernel gave up.
            DONE | ERROR => {
                return match u32_at(payload, 0).map(|n| i32::from_ne_bytes(n.to_ne_bytes())) {
                    Some(n) if n < 0 => Err(told(
                        "the kernel would not list its TCP sockets",
                        io::Error::from_raw_os_error(n.saturating_neg()),
                    )),
                    None if kind == ERROR => Err(garbled()),
                    _ => Ok(Progress::Done),
                };
            }
            _ => {}
        }
    }
    Ok(Progress::More)
}

fn told(doing: &str, e: impl Into<io::Error>) -> io::Error {
    let e: io::Error = e.into();
    io::Error::new(e.kind(), format!("{doing}: {e}"))
}

fn garbled() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the kernel's list of TCP sockets could not be read: a message is cut short",
    )
}

/// What helps when [`Diag`] fails.
pub(super) fn remedy(e: &io::Error) -> &'static str {
    match e.kind() {
        io::ErrorKind::NotFound => "load the kernel module: modprobe tcp_diag",
        io::ErrorKind::PermissionDenied => {
            "allow AF_NETLINK sockets in the sandbox (seccomp, SELinux, systemd's RestrictAddressFamilies=)"
        }
        _ => "load the kernel module (modprobe tcp_diag) and allow AF_NETLINK sockets in the sandbox",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::socket::TcpInfo;
    use proptest::prelude::*;

    const SEQUENCE: u32 = 7;

    /// Reads one datagram; the rows, the outcome, and whether the dump was interrupted.
    fn read(bytes: &[u8], cut: bool) -> (Vec<Found>, io::Result<Progress>, bool) {
        let (mut rows, mut interrupted) = (Vec::new(), false);
        let outcome = messages(bytes, SEQUENCE, cut, &mut interrupted, &mut |f| rows.push(f));
        (rows, outcome, interrupted)
    }

    fn message(kind: u16, flags: u16, seq: u32, payload: &[u8]) -> Vec<u8> {
        let mut m = u32::try_from(HEADER + payload.len()).expect("short").to_ne_bytes().to_vec();
        m.extend(kind.to_ne_bytes());
        m.extend(flags.to_ne_bytes());
        m.extend(seq.to_ne_bytes());
        m.extend([0; 4]);
        m.extend_from_slice(payload);
        m
    }

    fn unhex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|d| u8::from_str_radix(std::str::from_utf8(d).expect("ascii"), 16).expect("hex")).collect()
    }

    // Captured on Linux 6.18, x86-64: a listener on 127.0.0.2 (backlog 5) and its connection from 127.0.0.3, which has
    // received 11 bytes of which 5 were read.
    #[cfg(target_endian = "little")]
    #[test]
    fn a_captured_answer_is_read() {
        let (rows, outcome, interrupted) = read(&unhex(include_str!("../../../tests/data/sock_diag_v4.hex")), false);
        assert_eq!((outcome.expect("done"), interrupted), (Progress::Done, false));
        let [Found::Listening(_, listener), Found::Connection(row)] = rows.as_slice() else { panic!("{rows:?}") };
        assert_eq!((listener.local.ip().to_string(), listener.queue, listener.backlog), ("127.0.0.2".into(), 0, 5));
        assert_eq!((row.local, row.peer.ip().to_string()), (listener.local, "127.0.0.3".into()));
        assert_eq!((row.state, row.recv_q, row.send_q), (TcpState::Established, 6, 0));
        assert!(row.inode > 0 && row.cookie > 0);
        let info = row.info.expect("tcp_info");
        assert_eq!((info.bytes_received, info.bytes_sent, info.bytes_acked), (Some(11), Some(0), Some(0)));
        assert_eq!((info.retransmits, info.backoff, info.unacked), (Some(0), Some(0), Some(0)));
        assert!(info.rtt_us.is_some_and(|us| us < 100_000) && info.last_received_ms.is_some_and(|ms| ms < 60_000));
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn a_captured_dual_stack_connection_has_ipv4_addresses() {
        let (rows, _, _) = read(&unhex(include_str!("../../../tests/data/sock_diag_v6.hex")), false);
        let [Found::Connection(row)] = rows.as_slice() else { panic!("{rows:?}") };
        assert_eq!((row.local.ip().to_string(), row.peer.ip().to_string()), ("127.0.0.1".into(), "127.0.0.1".into()));
        assert_ne!(row.info, Some(TcpInfo::default()));
    }

    // Cut anywhere, a capture is an error or a part of the rows, never a panic and never a wrong row.
    #[cfg(target_endian = "little")]
    #[test]
    fn a_capture_cut_anywhere_is_noticed() {
        let whole = unhex(include_str!("../../../tests/data/sock_diag_v4.hex"));
        let (all, _, _) = read(&whole, false);
        for end in 1..whole.len() {
            let (rows, outcome, _) = read(&whole[..end], false);
            assert!(all.starts_with(&rows), "cut at {end}");
            assert!(!matches!(outcome, Ok(Progress::Done)), "cut at {end}");
            let (rows, outcome, _) = read(&whole[..end], true);
            assert!(all.starts_with(&rows) && matches!(outcome, Ok(Progress::More)), "cut at {end}, as announced");
        }
    }

    #[test]
    fn a_refusal_is_told_with_the_remedy() {
        for kind in [ERROR, DONE] {
            let (_, outcome, _) = read(&message(kind, 0, SEQUENCE, &(-2_i32).to_ne_bytes()), false);
            let e = outcome.expect_err("ENOENT");
            assert_eq!(
                e.to_string(),
                "the kernel would not list its TCP sockets: No such file or directory (os error 2)"
            );
            assert_eq!(remedy(&e), "load the kernel module: modprobe tcp_diag");
        }
        let (_, outcome, _) = read(&message(ERROR, 0, SEQUENCE, &i32::MIN.to_ne_bytes()), false);
        assert!(outcome.is_err());
    }

    #[test]
    fn answers_to_another_request_are_passed_over() {
        let mut bytes = message(DONE, 0, SEQUENCE - 1, &(-2_i32).to_ne_bytes());
        assert_eq!(read(&bytes, false).1.expect("read"), Progress::More);
        bytes.extend(message(DONE, 0, SEQUENCE, &0_i32.to_ne_bytes()));
        assert_eq!(read(&bytes, false).1.expect("read"), Progress::Done);
    }

    #[test]
    fn an_interrupted_dump_is_noticed() {
        let bytes = message(DONE, DUMP_INTERRUPTED, SEQUENCE, &0_i32.to_ne_bytes());
        assert!(read(&bytes, false).2);
    }

    #[test]
    fn every_watched_state_is_asked_for_and_no_other() {
        let asked: Vec<u8> = (0..32).filter(|n| states() & (1 << n) != 0).collect();
        assert_eq!(asked, [1, 2, 3, 4, 5, 8, 9, 10, 11], "no TIME-WAIT (6), no CLOSED (7)");
    }

    proptest! {
        #[test]
        fn no_datagram_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0u16..24,
                                      payload in proptest::collection::vec(any::<u8>(), 0..120), cut: bool) {
            let _ = read(&bytes, cut);
            let _ = read(&message(kind, 0, SEQUENCE, &payload), cut);
        }
    }
}
