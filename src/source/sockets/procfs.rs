//! Reads /proc/net/tcp and tcp6 where netlink is out of reach: who is connected to whom, the queues and the timers.
//!
//! The columns are those of net/ipv4/tcp_ipv4.c (`get_tcp4_sock`): `sl local rem st tx:rx tr:when retrnsmt uid timeout
//! inode`. Of a listener the file tells how many connections wait, but not how many may.

use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use super::row::{Found, plain, wanted, watched};
use crate::event::site::Interest;
use crate::event::socket::{Listener, SocketRow, Strain, TcpState, TcpTimer};

/// The unit of the column `when`: USER_HZ is 100 on every architecture that Linux runs nginx on.
const TICK_MS: u32 = 10;
/// Bytes read at once.
const BUFFER: usize = 64 * 1024;
/// Set in the stand-in cookie of a connection without an inode. Inodes of sockets are 32 bits wide.
const NO_INODE: u64 = 1 << 63;

/// Hands the sockets of `interest` to `each`; `net` is /proc/net, or that of a process in another network namespace.
///
/// # Errors
/// When the IPv4 table cannot be read. A missing IPv6 table is a kernel without IPv6.
pub(super) fn read(net: &Path, interest: &Interest, each: &mut dyn FnMut(Found<'_>)) -> io::Result<()> {
    for (file, needed) in [("tcp", true), ("tcp6", false)] {
        let path = net.join(file);
        match lines(&path, &mut |line| row(line, interest).into_iter().for_each(&mut *each)) {
            Err(e) if !needed && e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(io::Error::new(e.kind(), format!("{}: {e}", path.display()))),
            Ok(()) => {}
        }
    }
    Ok(())
}

/// Reads line by line: the tables of a busy host have tens of megabytes.
fn lines(path: &Path, each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    let mut file = BufReader::with_capacity(BUFFER, File::open(path)?);
    let mut line = Vec::with_capacity(256);
    while file.read_until(b'\n', &mut line)? > 0 {
        each(line.trim_ascii_end());
        line.clear();
    }
    Ok(())
}

/// The rows of `interest` in the text of either file; the heading and any line that is none are skipped.
#[cfg(test)]
fn parse<'a>(text: &'a [u8], interest: &'a Interest) -> impl Iterator<Item = Found<'static>> + 'a {
    text.split(|b| *b == b'\n').filter_map(|l| row(l, interest))
}

fn row(line: &[u8], interest: &Interest) -> Option<Found<'static>> {
    let mut fields = line.split(|b| *b == b' ').filter(|f| !f.is_empty()).filter_map(|f| std::str::from_utf8(f).ok());
    let (local, peer) = (address(fields.nth(1)?)?, address(fields.next()?)?);
    let state = TcpState::from_kernel(u8::from_str_radix(fields.next()?, 16).ok()?).filter(|s| watched(*s))?;
    // A backend on this host listens on its own port.
    let listens = state == TcpState::Listen
        && (interest.listen_ports.contains(&local.port()) || interest.upstream_ports.contains(&local.port()));
    if !listens && (state == TcpState::Listen || !wanted(interest, local.port(), peer.port())) {
        return None;
    }
    let (sent, received) = fields.next()?.split_once(':')?;
    let (timer, when) = fields.next()?.split_once(':')?;
    let probes = fields.nth(2)?.parse::<u8>().ok();
    let inode: u32 = fields.next()?.parse().ok()?;
    if state == TcpState::Listen {
        let listener = Listener { local, queue: hex(received)?, backlog: None };
        return Some(Found::Listening(u64::from(inode), listener));
    }
    let cookie = if inode == 0 { stand_in(local, peer) } else { u64::from(inode) };
    let mut row = SocketRow::new(cookie, local, peer, state);
    (row.inode, row.recv_q, row.send_q) = (inode, hex(received)?, hex(sent)?);
    row.timer = u8::from_str_radix(timer, 16).ok().and_then(TcpTimer::from_kernel);
    if row.recv_q > 0 || row.send_q > 0 || probes.is_some_and(|n| n > 0) {
        let timer_ms = row.timer.and(hex(when)).map(|ticks| ticks.saturating_mul(TICK_MS));
        row.strain = Some(Box::new(Strain { timer_ms, probes, ..Strain::default() }));
    }
    Some(Found::Connection(row))
}

/// Every listening socket in the text of either file, with its inode.
pub(in crate::source) fn listening(text: &[u8]) -> Vec<(SocketAddr, u64)> {
    let of_line = |line: &[u8]| {
        let line = std::str::from_utf8(line).ok()?;
        let mut fields = line.split_ascii_whitespace();
        let local = address(fields.nth(1)?)?;
        let state = TcpState::from_kernel(u8::from_str_radix(fields.nth(1)?, 16).ok()?)?;
        let inode = fields.nth(5)?.parse().ok()?;
        (state == TcpState::Listen).then_some((local, inode))
    };
    text.split(|b| *b == b'\n').filter_map(of_line).collect()
}

/// `0100007F:1F90`, or 32 digits for IPv6: each 32-bit word of the address is printed as a number of this machine, the
/// port as it is spoken.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |i: usize| Some(hex(ip.get(i * 8..i * 8 + 8)?)?.to_ne_bytes());
    let ip = match ip.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut octets = [0; 16];
            for (i, chunk) in octets.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(i)?);
            }
            IpAddr::V6(Ipv6Addr::from(octets))
        }
        _ => return None,
    };
    Some(plain(ip, port))
}

fn hex(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 16).ok()
}

/// A cookie for a connection that no process holds yet or any more: its addresses decide, so that it keeps it.
fn stand_in(local: SocketAddr, peer: SocketAddr) -> u64 {
    let mut hasher = foldhash::quality::FixedState::default().build_hasher();
    for end in [local, peer] {
        match end.ip() {
            IpAddr::V4(ip) => hasher.write_u32(ip.to_bits()),
            IpAddr::V6(ip) => hasher.write_u128(ip.to_bits()),
        }
        hasher.write_u16(end.port());
    }
    hasher.finish() | NO_INODE
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const V4: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F90 00000000:0000 0A 00000000:00000002 00:00000000 00000000     0        0 9001 1 0000000000000000 100 0 0 10 0
   1: 0200007F:1F90 0300007F:C738 01 00000010:00000005 01:00000014 00000000    33        0 9002 1 0000000000000000 20 4 30 10 -1
   2: 0300007F:C738 0200007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 9003 1 0000000000000000 20 4 30 10 -1
   3: 0200007F:9C40 0400007F:0BB8 08 00000000:00000001 00:00000000 00000000    33        0 9004 1 0000000000000000 20 4 30 10 -1
   4: 0200007F:1F90 0500007F:C000 06 00000000:00000000 03:00001769 00000000     0        0 0 3 0000000000000000
   5: 0200007F:1F90 0500007F:C001 03 00000000:00000000 01:00000050 00000000     0        0 0 1 0000000000000000
";
    const V6: &str = "\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0000000000000000FFFF00000200007F:1F90 0000000000000000FFFF00000300007F:C73A 01 00000000:00000000 00:00000000 00000000    33        0 9010 1 0000000000000000 20 4 30 10 -1
   1: 00000000000000000000000001000000:1F90 00000000000000000000000001000000:C73C 01 00000000:00000000 00:00000000 00000000    33        0 9011 1 0000000000000000 20 4 30 10 -1
";

    #[test]
    fn listeners_are_told_with_their_inodes() {
        assert_eq!(listening(V4.as_bytes()), [(([0, 0, 0, 0], 8080).into(), 9001)]);
        assert_eq!(listening(V6.as_bytes()), []);
        assert_eq!(listening(b"  0: zz 0A\n\xff"), []);
    }

    fn connections(text: &[u8], interest: &Interest) -> Vec<SocketRow> {
        let connection = |found| if let Found::Connection(row) = found { Some(row) } else { None };
        parse(text, interest).filter_map(connection).collect()
    }

    fn interest() -> Interest {
        Interest { listen_ports: [8080].into(), upstream_ports: [3000].into(), ..Interest::default() }
    }

    // The files print addresses as numbers of the machine: the samples are from a little-endian one.
    #[cfg(target_endian = "little")]
    #[test]
    fn both_legs_are_read_and_nothing_else() {
        let interest = interest();
        let rows = connections(V4.as_bytes(), &interest);
        let said: Vec<_> = rows
            .iter()
            .map(|r| format!("{} {} {} {}/{}", r.local, r.peer, r.state.word(), r.recv_q, r.send_q))
            .collect();
        assert_eq!(
            said,
            [
                "127.0.0.2:8080 127.0.0.3:51000 established 5/16",
                "127.0.0.2:40000 127.0.0.4:3000 close-wait 1/0",
                "127.0.0.2:8080 127.0.0.5:49153 syn-received 0/0",
            ]
        );
        assert_eq!((rows[0].cookie, rows[0].inode, rows[0].info), (9002, 9002, None));
        assert!(rows[2].cookie > NO_INODE && rows[2].inode == 0, "no inode, yet a cookie of its own");
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn a_listener_shows_who_waits_and_not_how_many_may() {
        let found: Vec<_> = parse(V4.as_bytes(), &interest()).collect();
        let listener = Listener { local: ([0, 0, 0, 0], 8080).into(), queue: 2, backlog: None };
        assert_eq!(found[0], Found::Listening(9001, listener));
        let as_upstream = Interest { upstream_ports: [0].into(), ..Interest::default() };
        assert_eq!(parse(V4.as_bytes(), &as_upstream).count(), 0, "a listener is no upstream leg on port 0");
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn timers_are_told_and_what_the_file_does_not_say_is_unknown() {
        let rows = connections(V4.as_bytes(), &interest());
        let strain = |i: usize| rows[i].strain.as_deref().copied();
        assert_eq!(rows[0].timer, Some(TcpTimer::Retransmit));
        let waiting = Strain { timer_ms: Some(200), probes: Some(0), ..Strain::default() };
        assert_eq!((strain(0), strain(2)), (Some(waiting), None));
        assert_eq!(strain(1).map(|s| (s.timer_ms, s.peer_window)), Some((None, None)));
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn ipv6_is_read_and_mapped_addresses_become_ipv4() {
        let interest = interest();
        let said: Vec<_> =
            connections(V6.as_bytes(), &interest).iter().map(|r| format!("{} {}", r.local, r.peer)).collect();
        assert_eq!(said, ["127.0.0.2:8080 127.0.0.3:51002", "[::1]:8080 [::1]:51004"]);
    }

    #[test]
    fn garbled_lines_are_skipped_and_the_rest_is_read() {
        let good = V4.lines().nth(2).expect("a row");
        for bad in [
            "",
            "   1:",
            "   1: 0200007F:1F90",
            "   1: 0200007F:1F90 0300007F:C738 ZZ 0:0 0 0 0 0 1",
            "   1: 02é007F:1F90 0300007F:C738 01 00000010:00000005 01:00000014 00000000 33 0 9002 1",
            "   1: 0200007F:FFFFF 0300007F:C738 01 00000010:00000005 01:00000014 00000000 33 0 9002 1",
            "   1: 0200007F:1F90 0300007F:C738 01 00000010:00000005 01:00000014 00000000 33 0 -9 1",
        ] {
            let text = format!("{bad}\n{good}");
            assert_eq!(parse(text.as_bytes(), &interest()).count(), 1, "after {bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[0-9A-Fé: \n]{0,200}", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let interest = interest();
            let _ = (parse(text.as_bytes(), &interest).count(), parse(&bytes, &interest).count());
        }
    }

    #[test]
    fn a_missing_table_is_named() {
        let empty = tempfile::tempdir().expect("directory");
        let e = read(empty.path(), &interest(), &mut |_| ()).expect_err("no table");
        assert!(e.to_string().contains("/tcp:"), "{e}");
    }
}
