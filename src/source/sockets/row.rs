//! One line of the kernel's socket table, whichever way it was read, and whether anybody asked for it.

use std::net::{IpAddr, SocketAddr};

use super::message::Raw;
use super::prints::{Print, Prints, What};
use crate::event::site::Interest;
use crate::event::socket::{Listener, SocketRow, TcpState};

/// What one line of the table turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// A connection, its pid not yet looked up.
    Connection(SocketRow),
    /// The same, as the kernel wrote it.
    Raw(Raw<'a>),
    /// A listening socket and its cookie, by which listeners are kept in one order.
    Listening(u64, Listener),
}

impl Found<'_> {
    /// The same with everything read.
    pub(super) fn decoded(self) -> Found<'static> {
        match self {
            Self::Raw(raw) => Found::Connection(raw.row()),
            Self::Connection(row) => Found::Connection(row),
            Self::Listening(cookie, listener) => Found::Listening(cookie, listener),
        }
    }
}

/// A connection as it stands in a table, whichever: what it takes to tell whether it is as it was.
pub(super) trait Line {
    /// The socket's cookie.
    fn cookie(&self) -> u64;
    /// Its inode.
    fn inode(&self) -> u32;
    /// Its fingerprints.
    fn print(&self, prints: &Prints) -> Print;
    /// The whole row, its pid not yet looked up.
    fn row(&self) -> SocketRow;
}

impl Line for SocketRow {
    fn cookie(&self) -> u64 {
        self.cookie
    }

    fn inode(&self) -> u32 {
        self.inode
    }

    fn print(&self, prints: &Prints) -> Print {
        let ends = [self.local, self.peer].map(|end| (end.ip(), end.port()));
        let what = What {
            queues: (self.recv_q, self.send_q),
            state: self.state,
            timer: self.timer,
            nginx_group: self.nginx_group,
        };
        Print {
            identity: prints.identity(ends, self.inode),
            content: prints.content(what, self.info.as_ref(), self.strain.as_deref()),
            idle: Print::idle(self.info.as_ref()),
        }
    }

    fn row(&self) -> SocketRow {
        self.clone()
    }
}

/// Whether rows in this state are watched. TIME-WAIT belongs to nobody any more and CLOSED is no connection; LISTEN is
/// wanted too, but goes among the listeners.
pub(super) const fn watched(state: TcpState) -> bool {
    !matches!(state, TcpState::TimeWait | TcpState::Closed)
}

/// Whether a socket with these ports is a client leg, an upstream leg or a listener of `interest`. A listener has peer port 0.
pub(super) fn wanted(interest: &Interest, local_port: u16, peer_port: u16) -> bool {
    interest.listen_ports.contains(&local_port) || interest.upstream_ports.contains(&peer_port)
}

/// An address as people write it: `::ffff:10.0.0.7` of a dual-stack socket is 10.0.0.7.
pub(super) fn plain(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip.to_canonical(), port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    #[test]
    fn a_mapped_address_is_written_as_ipv4_and_a_real_ipv6_address_is_kept() {
        let mapped = IpAddr::V6("::ffff:10.0.0.7".parse().expect("address"));
        assert_eq!(plain(mapped, 80).to_string(), "10.0.0.7:80");
        assert_eq!(plain(IpAddr::V6(Ipv6Addr::LOCALHOST), 80).to_string(), "[::1]:80");
    }

    #[test]
    fn a_socket_is_wanted_by_its_own_port_or_by_the_backends_port() {
        let interest = Interest { listen_ports: [443].into(), upstream_ports: [8080].into(), ..Interest::default() };
        assert!(wanted(&interest, 443, 51000), "client leg");
        assert!(wanted(&interest, 51000, 8080), "upstream leg");
        assert!(wanted(&interest, 443, 0), "listener");
        assert!(!wanted(&interest, 51000, 443), "the client's own end");
        assert!(!wanted(&interest, 8080, 51000), "the backend's own end");
    }
}
