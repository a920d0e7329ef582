//! Asks the kernel for its sockets by netlink sock_diag (sock_diag(7)): one reused socket, filtered in the kernel.
//!
//! A connection that never carried data reads its own age in both idle times.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::{SOCK_DIAG, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, recv, send, socket_with};

use super::filter;
use super::frame::{BY_FAMILY, Heard, TCP_OF_BOTH, dump_request, messages, told};
use super::message::{FAMILY_V4, FAMILY_V6, Which, row, tcp_request, tcp_request_both, time_wait};
use super::row::{Found, wanted};
use super::unix::{End, Paths, end, unix_request};
use crate::event::site::Interest;

/// The kernel writes at most about this much at once however large the buffer is.
const BUFFER: usize = 32 * 1024;
/// A buffer never grows past this, should a kernel write more.
const LARGEST_BUFFER: usize = 1024 * 1024;
/// A dump that changed under the kernel's hands is asked for again, but not for ever.
const ATTEMPTS: u32 = 3;
/// The kernel answers at once; whatever takes longer is no kernel that we know how to talk to.
const PATIENCE: Duration = Duration::from_secs(5);

/// A netlink socket that only the kernel can write to. It shows the network namespace in which it was opened.
#[derive(Debug)]
pub(super) struct Diag {
    fd: OwnedFd,
    buffer: Vec<u8>,
    sequence: u32,
    /// The kernel takes the request for both families; each family asked for alone costs a walk through its whole table.
    one_walk: bool,
}

/// Whether a dump saw everything, or sockets may be missing because the table changed meanwhile at every attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// Everything.
    Whole,
    /// A part.
    Part,
}

impl Extent {
    /// Both are whole.
    pub(super) fn and(self, other: Self) -> Self {
        if self == Self::Whole { other } else { self }
    }
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
        Ok(Self { fd, buffer: vec![0; BUFFER], sequence: 0, one_walk: true })
    }

    /// Hands every TCP socket of `interest` to `each`; `groups` are the control groups of nginx. A socket can come twice when
    /// the table changed meanwhile.
    ///
    /// # Errors
    /// When the kernel refuses, falls silent or writes what cannot be read. The socket is then of no more use: open another.
    pub(super) fn tcp(
        &mut self,
        interest: &Interest,
        groups: &[u64],
        each: &mut dyn FnMut(Found<'_>),
    ) -> io::Result<Extent> {
        let program = filter::program(interest);
        if program.is_empty() {
            return Ok(Extent::Whole);
        }
        let mut take = |payload: &[u8]| {
            if let Some(found) = row(payload, groups)
                && wanted_row(interest, &found)
            {
                each(found);
            }
        };
        let watched = self.both(Which::Watched, &program, &mut take)?;
        // A backend on this host listens on its own port, which the filter above asks for at the far end only.
        let backends =
            Interest { listen_ports: &interest.upstream_ports - &interest.listen_ports, ..Interest::default() };
        let program = filter::program(&backends);
        if program.is_empty() {
            return Ok(watched);
        }
        let listening = self.both(Which::Listening, &program, &mut |payload| {
            if let Some(found) = row(payload, groups)
                && wanted_row(&backends, &found)
            {
                each(found);
            }
        })?;
        Ok(watched.and(listening))
    }

    /// Hands both ends of every connection in TIME-WAIT to a backend's port to `each`; it can come twice.
    ///
    /// # Errors
    /// As for [`Diag::tcp`].
    pub(super) fn time_wait(
        &mut self,
        interest: &Interest,
        each: &mut dyn FnMut(SocketAddr, SocketAddr),
    ) -> io::Result<Extent> {
        let ports = Interest { upstream_ports: interest.upstream_ports.clone(), ..Interest::default() };
        let program = filter::program(&ports);
        if program.is_empty() {
            return Ok(Extent::Whole);
        }
        self.both(Which::TimeWait, &program, &mut |payload| {
            let wanted = |(_, peer): &(SocketAddr, SocketAddr)| ports.upstream_ports.contains(&peer.port());
            if let Some((local, peer)) = time_wait(payload).filter(wanted) {
                each(local, peer);
            }
        })
    }

    /// Asks for both families.
    fn both(&mut self, which: Which, program: &[u8], take: &mut dyn FnMut(&[u8])) -> io::Result<Extent> {
        if self.one_walk {
            match self.dump(TCP_OF_BOTH, &tcp_request_both(which, program), "TCP sockets", take) {
                Err(e) if e.kind() != io::ErrorKind::WouldBlock => {
                    tracing::debug!(error = %e, "asking for each family alone");
                    self.one_walk = false;
                }
                other => return other,
            }
        }
        let four = self.dump(BY_FAMILY, &tcp_request(FAMILY_V4, which, program), "TCP sockets", take)?;
        match self.dump(BY_FAMILY, &tcp_request(FAMILY_V6, which, program), "TCP sockets", take) {
            // A kernel built without IPv6 has none to show.
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(four),
            other => Ok(four.and(other?)),
        }
    }

    /// Hands every listening or connected unix stream socket to `each`, marked where it is one of `paths`.
    ///
    /// # Errors
    /// As for [`Diag::tcp`].
    pub(super) fn unix(&mut self, paths: &Paths, each: &mut dyn FnMut(End)) -> io::Result<Extent> {
        self.dump(BY_FAMILY, &unix_request(), "unix sockets", &mut |payload| {
            if let Some(end) = end(payload, paths) {
                each(end);
            }
        })
    }

    fn dump(&mut self, kind: u16, body: &[u8], what: &str, each: &mut dyn FnMut(&[u8])) -> io::Result<Extent> {
        for attempt in 1..=ATTEMPTS {
            self.sequence = self.sequence.wrapping_add(1);
            let asked = dump_request(kind, self.sequence, body);
            send(&self.fd, &asked, SendFlags::empty())
                .map_err(|e| told(&format!("asking the kernel for its {what}"), e))?;
            let mut interrupted = false;
            loop {
                let heard = self.receive(what, each)?;
                interrupted |= heard.interrupted;
                if heard.done {
                    break;
                }
            }
            if !interrupted {
                return Ok(Extent::Whole);
            }
            tracing::debug!(what, attempt, "the table changed during the dump");
        }
        Ok(Extent::Part)
    }

    fn receive(&mut self, what: &str, each: &mut dyn FnMut(&[u8])) -> io::Result<Heard> {
        let (kept, length) = loop {
            match recv(&self.fd, self.buffer.as_mut_slice(), RecvFlags::TRUNC) {
                Ok(read) => break read,
                Err(Errno::INTR) => {}
                Err(e) => return Err(told(&format!("reading the kernel's {what}"), e)),
            }
        };
        if length > kept {
            // What was cut off is lost: remember to bring a larger buffer and let this look be made again.
            self.buffer.resize(length.next_power_of_two().clamp(BUFFER, LARGEST_BUFFER), 0);
        }
        let datagram = self.buffer.get(..kept).unwrap_or_default();
        messages(datagram, self.sequence, length > kept, what, each)
    }
}

/// The kernel's filter may be wider than the interest.
fn wanted_row(interest: &Interest, found: &Found<'_>) -> bool {
    match found {
        Found::Raw(r) => {
            let (local, peer) = r.ports();
            wanted(interest, local, peer)
        }
        Found::Connection(r) => wanted(interest, r.local.port(), r.peer.port()),
        Found::Listening(_, l) => interest.listen_ports.contains(&l.local.port()),
    }
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
    use super::super::row::Line as _;
    use super::*;

    #[test]
    fn a_refusal_comes_with_its_remedy() {
        let of = |errno: Errno| remedy(&errno.into());
        assert_eq!(of(Errno::NOENT), "load the kernel module: modprobe tcp_diag");
        for denied in [Errno::ACCESS, Errno::PERM] {
            assert!(of(denied).contains("seccomp"), "{denied}");
        }
        assert!(of(Errno::PROTONOSUPPORT).contains("modprobe"));
    }

    /// A listener and both ends of a connection, for each family that there is here.
    fn sockets() -> (Vec<std::net::TcpListener>, Vec<std::net::TcpStream>, Interest) {
        let listeners: Vec<_> =
            ["127.0.0.39:0", "[::1]:0"].into_iter().filter_map(|a| std::net::TcpListener::bind(a).ok()).collect();
        let (mut streams, mut interest) = (Vec::new(), Interest::default());
        for listener in &listeners {
            let address = listener.local_addr().expect("address");
            streams.push(std::net::TcpStream::connect(address).expect("connected"));
            streams.push(listener.accept().expect("accepted").0);
            interest.listen_ports.insert(address.port());
            interest.upstream_ports.insert(address.port());
        }
        (listeners, streams, interest)
    }

    #[test]
    fn one_walk_for_both_families_shows_what_two_walks_show() {
        let (listeners, streams, interest) = sockets();
        let look = |one_walk: bool| {
            let mut diag = Diag { one_walk, ..Diag::open().expect("opened") };
            let mut ends = std::collections::BTreeSet::new();
            let each = &mut |found: Found<'_>| match found {
                Found::Raw(r) => drop(ends.insert((r.row().local, Some(r.row().peer), r.inode() > 0))),
                Found::Connection(r) => panic!("already decoded: {r:?}"),
                Found::Listening(_, l) => drop(ends.insert((l.local, None, true))),
            };
            assert_eq!(diag.tcp(&interest, &[], each).expect("read"), Extent::Whole);
            assert_eq!(diag.one_walk, one_walk, "the kernel takes both requests");
            ends
        };
        let (one, two) = (look(true), look(false));
        assert_eq!(one, two);
        assert_eq!(one.len(), listeners.len() + streams.len());
    }

    #[test]
    fn several_dumps_are_whole_when_each_is() {
        use Extent::{Part, Whole};
        let and = |pairs: [(Extent, Extent); 4]| pairs.map(|(a, b)| a.and(b));
        let pairs = [(Whole, Whole), (Whole, Part), (Part, Whole), (Part, Part)];
        assert_eq!(and(pairs), [Whole, Part, Part, Part]);
    }
}
