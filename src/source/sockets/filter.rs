//! Compiles an interest into the port filter that the kernel runs on every socket before it writes a row.
//!
//! The filter is a list of 4-byte commands, each a forward jump: `yes` bytes on when the comparison holds, `no` bytes on
//! when not. A socket is taken when the jumps end exactly behind the last command, and rejected when they end 4 bytes
//! further (net/ipv4/inet_diag.c, `inet_diag_bc_run`). The kernel refuses a program whose jumps leave it or land inside a
//! command (`inet_diag_bc_audit`). Ports are compared with `>=` and `<=`, not with `==`, which older
//! kernels refuse; and sorted ranges need fewer comparisons: a port below a range is in none of the later ones.

use std::collections::BTreeSet;

use crate::event::site::Interest;

/// Command codes of linux/inet_diag.h.
const JUMP: u8 = 1;
const LOCAL_AT_LEAST: u8 = 2;
const LOCAL_AT_MOST: u8 = 3;
const PEER_AT_LEAST: u8 = 4;
const PEER_AT_MOST: u8 = 5;

/// A comparison is a command and a second one that carries the port.
const COMPARISON: usize = 8;
/// A jump is one command.
const LEAP: usize = 4;
/// What one range costs: two comparisons and the jump to the end.
const RANGE: usize = 2 * COMPARISON + LEAP;
/// More ranges than this are joined to fewer, wider ones: jumps are 16 bits wide, and each range costs every socket time.
const MOST_RANGES: usize = 512;

/// The commands that take the sockets whose own port is listened on or whose peer's port is a backend's. Wider than the
/// interest only where it holds more than 512 separate ranges: ask [`super::row::wanted`] again.
/// An empty interest gives an empty program, which the kernel would refuse: ask it nothing.
pub(super) fn program(interest: &Interest) -> Vec<u8> {
    let local = ranges(&interest.listen_ports, MOST_RANGES);
    let peer = ranges(&interest.upstream_ports, MOST_RANGES);
    let total = (local.len() + peer.len()) * RANGE;
    let mut out = Vec::with_capacity(total);
    let peers_begin = local.len() * RANGE;
    section(
        &mut out,
        [LOCAL_AT_LEAST, LOCAL_AT_MOST],
        &local,
        if peer.is_empty() { total + 4 } else { peers_begin },
        total,
    );
    section(&mut out, [PEER_AT_LEAST, PEER_AT_MOST], &peer, total + 4, total);
    out
}

/// The tests of one side: in a range goes to `accept`, in none to `otherwise` (both counted from the program's start).
fn section(out: &mut Vec<u8>, codes: [u8; 2], ranges: &[(u16, u16)], otherwise: usize, accept: usize) {
    for (i, &(low, high)) in ranges.iter().enumerate() {
        let start = out.len();
        let next = if i + 1 == ranges.len() { otherwise } else { start + RANGE };
        comparison(out, codes[0], low, otherwise);
        comparison(out, codes[1], high, next);
        command(out, JUMP, LEAP, accept);
    }
}

fn comparison(out: &mut Vec<u8>, code: u8, port: u16, otherwise: usize) {
    command(out, code, COMPARISON, otherwise);
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&port.to_ne_bytes());
}

/// One command of `length` bytes that goes on behind itself, or to `otherwise`.
fn command(out: &mut Vec<u8>, code: u8, length: usize, otherwise: usize) {
    let no = u16::try_from(otherwise - out.len()).unwrap_or(u16::MAX);
    out.push(code);
    out.push(u8::try_from(length).unwrap_or(u8::MAX));
    out.extend_from_slice(&no.to_ne_bytes());
}

/// The ports as sorted, disjoint, inclusive ranges, at most `most` of them: the narrowest gaps are bridged first.
fn ranges(ports: &BTreeSet<u16>, most: usize) -> Vec<(u16, u16)> {
    let gap = |a: u16, b: u16| b - a;
    let mut gaps: Vec<u16> = ports.iter().zip(ports.iter().skip(1)).map(|(&a, &b)| gap(a, b)).collect();
    gaps.sort_unstable_by(|a, b| b.cmp(a));
    // With the widest `most - 1` gaps kept, `most` ranges remain.
    let widest_bridged = gaps.get(most.saturating_sub(1)).copied().unwrap_or(0).max(1);
    let mut out: Vec<(u16, u16)> = Vec::new();
    for &port in ports {
        match out.last_mut() {
            Some((_, high)) if gap(*high, port) <= widest_bridged => *high = port,
            _ => out.push((port, port)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn interest(listen: &[u16], upstream: &[u16]) -> Interest {
        Interest {
            listen_ports: listen.iter().copied().collect(),
            upstream_ports: upstream.iter().copied().collect(),
            ..Interest::default()
        }
    }

    /// What the kernel would do with one socket, and whether it would have let the program in at all.
    fn run(program: &[u8], local: u16, peer: u16) -> Result<bool, String> {
        let op = |at: usize| {
            (
                program[at],
                usize::from(program[at + 1]),
                usize::from(u16::from_ne_bytes([program[at + 2], program[at + 3]])),
            )
        };
        let mut starts = Vec::new();
        let mut at = 0;
        while at < program.len() {
            starts.push(at);
            at += op(at).1;
        }
        starts.extend([program.len(), program.len() + 4]);
        for &s in starts.iter().filter(|&&s| s < program.len()) {
            let (code, yes, no) = op(s);
            let least = if code == JUMP { 4 } else { 8 };
            if yes < least || no < least || no % 4 != 0 || !starts.contains(&(s + no)) {
                return Err(format!("the kernel refuses the command at {s}"));
            }
        }
        let mut at = 0;
        while at < program.len() {
            let (code, yes, no) = op(at);
            let port = || u16::from_ne_bytes([program[at + 6], program[at + 7]]);
            let holds = match code {
                LOCAL_AT_LEAST => local >= port(),
                LOCAL_AT_MOST => local <= port(),
                PEER_AT_LEAST => peer >= port(),
                PEER_AT_MOST => peer <= port(),
                JUMP => false,
                other => return Err(format!("no such command: {other}")),
            };
            at += if holds { yes } else { no };
        }
        Ok(at == program.len())
    }

    #[test]
    fn neighbouring_ports_are_one_range() {
        assert_eq!(ranges(&[80, 443, 8000, 8001, 8002].into(), 512), [(80, 80), (443, 443), (8000, 8002)]);
        assert_eq!(ranges(&[0, 65535].into(), 512), [(0, 0), (65535, 65535)]);
        assert_eq!(ranges(&BTreeSet::new(), 512), []);
    }

    #[test]
    fn too_many_ranges_are_joined_over_the_narrowest_gaps() {
        assert_eq!(ranges(&[80, 443, 8000, 8010, 9000].into(), 4), [(80, 80), (443, 443), (8000, 8010), (9000, 9000)]);
        let every_third: BTreeSet<u16> = (1..60_000).step_by(3).collect();
        let joined = ranges(&every_third, 512);
        assert!(joined.len() <= 512, "{} ranges", joined.len());
        assert!(every_third.iter().all(|p| joined.iter().any(|(a, b)| (a..=b).contains(&p))));
    }

    #[test]
    fn an_empty_interest_has_no_program() {
        assert!(program(&Interest::default()).is_empty());
    }

    #[test]
    fn one_listen_port_compiles_to_these_bytes() {
        let n = |v: u16| v.to_ne_bytes();
        let mut expected = Vec::new();
        expected.extend([2, 8, n(24)[0], n(24)[1], 0, 0, n(443)[0], n(443)[1]]); // >= 443, or reject
        expected.extend([3, 8, n(16)[0], n(16)[1], 0, 0, n(443)[0], n(443)[1]]); // <= 443, or reject
        expected.extend([1, 4, n(4)[0], n(4)[1]]); // accept
        assert_eq!(program(&interest(&[443], &[])), expected);
    }

    proptest! {
        #[test]
        fn the_program_takes_exactly_what_is_wanted(
            listen in proptest::collection::btree_set(1u16..60, 0..20),
            upstream in proptest::collection::btree_set(1u16..60, 0..20),
            local in 0u16..62, peer in 0u16..62,
        ) {
            let interest = Interest { listen_ports: listen, upstream_ports: upstream, ..Interest::default() };
            prop_assume!(!interest.is_empty());
            let wanted = super::super::row::wanted(&interest, local, peer);
            prop_assert_eq!(run(&program(&interest), local, peer), Ok(wanted));
        }
    }

    #[test]
    fn the_widest_interest_still_fits_the_kernels_jumps() {
        let spread: Vec<u16> = (1..=u16::MAX).step_by(2).collect();
        let program = program(&interest(&spread, &spread));
        assert!(u16::try_from(program.len() + 4).is_ok(), "{} bytes", program.len());
        assert_eq!(run(&program, 1, 0), Ok(true));
    }
}
