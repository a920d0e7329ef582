//! What the kernel itself needs: its TCP sockets with tcp_info, received and thrown away.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::netlink::{SOCK_DIAG, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, recv, send, socket_with};

/// A netlink socket and its buffer.
pub struct Bare {
    fd: OwnedFd,
    buffer: Vec<u8>,
}

impl Bare {
    pub fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let fd = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(SOCK_DIAG))?;
        connect(&fd, &SocketAddrNetlink::new(0, 0))?;
        Ok(Self { fd, buffer: vec![0; 32 * 1024] })
    }

    /// Receives everything in one walk, and counts the rows.
    pub fn dump(&mut self) -> io::Result<usize> {
        self.answer(&both())
    }

    /// The same as `ss` asks for it: IPv4, then IPv6.
    pub fn dump_twice(&mut self) -> io::Result<usize> {
        Ok(self.answer(&one(2))? + self.answer(&one(10))?)
    }

    fn answer(&mut self, request: &[u8]) -> io::Result<usize> {
        send(&self.fd, request, SendFlags::empty())?;
        let mut rows = 0;
        loop {
            let (length, _) = recv(&self.fd, self.buffer.as_mut_slice(), RecvFlags::empty())?;
            let mut rest = self.buffer.get(..length).unwrap_or_default();
            // The headers must be walked to find the end.
            while let Some((head, _)) = rest.split_first_chunk::<6>() {
                let [a, b, c, d, kind, _] = *head;
                if kind == 3 {
                    return Ok(rows);
                }
                rows += 1;
                let length = u32::from_ne_bytes([a, b, c, d]).next_multiple_of(4).max(16);
                rest = usize::try_from(length).ok().and_then(|n| rest.get(n..)).unwrap_or_default();
            }
        }
    }
}

/// Every state but TIME-WAIT and CLOSED.
const STATES: u32 = 0xf7e & !(1 << 6) & !(1 << 7);

/// SOCK_DIAG_BY_FAMILY with tcp_info and no filter.
fn one(family: u8) -> Vec<u8> {
    let mut out = head(72, 20);
    out.extend([family, 6, 2, 0]);
    out.extend(STATES.to_ne_bytes());
    out.extend([0; 40]);
    out.extend([0xff; 8]);
    out
}

/// TCPDIAG_GETSOCK with tcp_info and no filter.
fn both() -> Vec<u8> {
    let mut out = head(76, 18);
    out.extend([2, 0, 0, 2]);
    out.extend([0; 40]);
    out.extend([0xff; 8]);
    out.extend(STATES.to_ne_bytes());
    out.extend([0; 4]);
    out
}

fn head(length: u32, kind: u16) -> Vec<u8> {
    let mut out = Vec::from(length.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(0x301_u16.to_ne_bytes());
    out.extend([0; 8]);
    out
}
