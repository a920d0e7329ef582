//! What two legs have in common, as pure functions: the bytes that passed and the moments at which they passed.
//!
//! After the handshake nginx passes on what it reads, and nothing else. On plain legs the bytes read on one leg are the bytes
//! written to the other. On a TLS leg each record adds a constant: 22 bytes in TLS 1.3 (header 5, content type 1, tag 16:
//! RFC 8446 section 5.2), 29 with AES-GCM in TLS 1.2 (header 5, nonce 8, tag 16: RFC 5288), 21 with ChaCha20 (RFC 7905).
//! And nginx passes data on at once, so it goes out on one leg within moments of coming in on the other.

use std::net::SocketAddr;
use std::time::Duration;

use crate::time::Timestamp;

use super::legs::{Leg, Side};

/// Index of the direction from the client to the backend.
pub const TO_BACKEND: usize = 0;
/// Index of the direction from the backend to the client.
pub const TO_CLIENT: usize = 1;

/// A leg as pairing sees it: directions are those of the tunnel, not those of the socket.
#[derive(Clone, Copy, Debug)]
pub struct Trace {
    /// The side of nginx that it is on.
    pub side: Side,
    /// The leg.
    pub cookie: u64,
    /// The other end: the client or the backend.
    pub peer: SocketAddr,
    /// The process that holds it.
    pub pid: Option<u32>,
    /// The nginx that it belongs to, where several run and that is known.
    pub instance: Option<u32>,
    /// Its inode.
    pub inode: u64,
    /// It carries TLS.
    pub tls: bool,
    /// When it was first seen.
    pub first: Timestamp,
    /// The kernel told nothing but its addresses (/proc).
    pub blind: bool,
    /// Bytes wait in it that nginx does not read now: what it holds in its own buffer is not to be seen.
    pub blocked: bool,
    /// Bytes that passed so far.
    pub passed: Option<[u64; 2]>,
    /// Bytes that passed in the latest sample, 0 when it brought no news of this leg.
    pub grown: [u64; 2],
    /// When data last passed.
    pub spoke: [Option<Timestamp>; 2],
}

impl Trace {
    /// Of a leg in the sample of moment `at`.
    #[must_use]
    pub fn of(leg: &Leg, side: Side, tls: bool, at: Timestamp) -> Self {
        // A client leg brings in what goes to the backend; an upstream leg sends it out.
        let client = side == Side::Client;
        let facing = |inward, outward| if client { [inward, outward] } else { [outward, inward] };
        let grown = if leg.seen == at { facing(leg.grown.read, leg.grown.written) } else { [0, 0] };
        let spoke = if client { [leg.last_in(), leg.last_out()] } else { [leg.last_out(), leg.last_in()] };
        Self {
            side,
            cookie: leg.row.cookie,
            peer: leg.row.peer,
            pid: leg.row.pid,
            instance: None,
            inode: u64::from(leg.row.inode),
            tls,
            first: leg.first,
            blind: leg.row.info.is_none(),
            blocked: leg.row.recv_q > 0,
            passed: leg.passed().map(|p| facing(p.read, p.written)),
            grown,
            spoke,
        }
    }

    /// Something passed in the latest sample.
    #[must_use]
    pub fn grew(&self) -> bool {
        self.grown != [0, 0]
    }

    /// One process may hold both: a tunnel never crosses workers.
    #[must_use]
    pub fn shares_worker(&self, other: &Self) -> bool {
        match (self.pid, other.pid) {
            (Some(a), Some(b)) => a == b,
            _ => self.instance.zip(other.instance).is_none_or(|(a, b)| a == b),
        }
    }
}

/// How well two counts agree; the worse of two is the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// Nothing passed on either leg.
    Silent,
    /// Exactly what must be.
    Equal,
    /// As near as bytes under way explain: neither for nor against.
    Near,
    /// Not the same bytes.
    Apart,
}

/// Bytes that TLS may add to a record, one bit each in a set of [`Overheads`].
const OVERHEADS: [u64; 3] = [22, 29, 21];
/// The most that any cipher suite in use adds to a record: CBC with SHA-384 and full padding.
const MOST_OVERHEAD: u64 = 90;
/// The largest record (RFC 8446 section 5.1).
const RECORD: u64 = 16_384;
/// Counts that differ by less than one part in this many may differ by what is under way.
const UNDER_WAY: u64 = 16;

/// The record overheads that explain what was seen so far; a leg keeps its cipher suite, so the set only shrinks.
pub type Overheads = u8;
/// Nothing was seen yet that excludes any.
pub const ANY_OVERHEAD: Overheads = 0b111;

/// Holds the bytes of both directions against each other: `client` and `upstream` grew by so much in the same time. Gives
/// the overheads that explain it, among `known`.
#[must_use]
pub fn bytes_fit(c: &Trace, client: [u64; 2], u: &Trace, upstream: [u64; 2], known: Overheads) -> (Fit, Overheads) {
    let (mut worst, mut left) = (Fit::Silent, known);
    for (c_bytes, u_bytes) in client.into_iter().zip(upstream) {
        let fit = match (c.tls, u.tls) {
            _ if c_bytes == 0 && u_bytes == 0 => Fit::Silent,
            (false, false) => plain_fit(c_bytes, u_bytes),
            (true, true) => both_tls_fit(c_bytes, u_bytes),
            (client_tls, _) => {
                let (sealed, open) = if client_tls { (c_bytes, u_bytes) } else { (u_bytes, c_bytes) };
                let (fit, set) = sealed_fit(sealed, open, left);
                if fit == Fit::Equal {
                    left = set;
                }
                fit
            }
        };
        worst = worst.max(fit);
    }
    (worst, left)
}

fn plain_fit(a: u64, b: u64) -> Fit {
    match a.abs_diff(b) {
        0 => Fit::Equal,
        d if d.saturating_mul(UNDER_WAY) <= a.max(b) => Fit::Near,
        _ => Fit::Apart,
    }
}

/// Two TLS legs: in TLS 1.3 the counts differ by whole records, if at all, because nginx cuts them anew.
fn both_tls_fit(a: u64, b: u64) -> Fit {
    let (less, more) = (a.min(b), a.max(b));
    if less < OVERHEADS[2] || more > less.saturating_mul(MOST_OVERHEAD) {
        return Fit::Apart;
    }
    if (more - less).is_multiple_of(OVERHEADS[0]) { Fit::Equal } else { Fit::Near }
}

fn sealed_fit(sealed: u64, open: u64, known: Overheads) -> (Fit, Overheads) {
    let fewest = open.div_ceil(RECORD);
    let over = sealed.saturating_sub(open);
    // Every record carries at least one byte.
    let impossible =
        open == 0 || over < fewest.saturating_mul(OVERHEADS[2]) || over > open.saturating_mul(MOST_OVERHEAD);
    if impossible {
        return (Fit::Apart, known);
    }
    let explains = |of: u64| over.is_multiple_of(of) && (fewest..=open).contains(&(over / of));
    let set = (0..OVERHEADS.len()).filter(|i| explains(OVERHEADS[*i])).fold(0, |set, i| set | (1 << i)) & known;
    if set == 0 { (Fit::Near, known) } else { (Fit::Equal, set) }
}

/// How many bytes more passed on the client leg than on the upstream leg, in each direction. Between plain legs that is the
/// difference of the handshakes, constant for the life of a tunnel and nearly always the same for all tunnels of a route.
#[must_use]
pub fn offset(c: &Trace, u: &Trace) -> Option<[i64; 2]> {
    let (c, u) = c.passed.zip(u.passed).filter(|_| !c.tls && !u.tls)?;
    let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    Some([signed(c[0]) - signed(u[0]), signed(c[1]) - signed(u[1])])
}

/// Data goes out so long after it came in, at most, where nothing waits: a busy worker's turn.
pub const LAG: Duration = Duration::from_millis(100);
/// The same for what passed before anybody looked: a wide net, of which the nearest is taken.
pub const PAST_LAG: Duration = Duration::from_millis(500);
/// The kernel counts in ticks of up to 10 ms on each leg, and stamps are taken a little apart.
const TICKS: Duration = Duration::from_millis(30);
/// The other direction may lag by so much: a connect to the backend, a retransmission to the client.
const LONG_LAG: Duration = Duration::from_secs(5);

/// How long after the one leg took data in the other one sent it out, in microseconds; negative when before. `None` when
/// the kernel did not tell.
#[must_use]
pub fn lag(c: &Trace, u: &Trace, direction: usize) -> Option<i64> {
    let (c, u) = (c.spoke[direction]?.micros(), u.spoke[direction]?.micros());
    Some(if direction == TO_BACKEND { u.saturating_sub(c) } else { c.saturating_sub(u) })
}

fn micros(d: Duration) -> i64 {
    i64::try_from(d.as_micros()).unwrap_or(i64::MAX)
}

fn within(lag: i64, most: Duration) -> bool {
    (-micros(TICKS)..=micros(most)).contains(&lag)
}

/// The span in which the partner of a leg on `side` that spoke at `t` must have spoken in `direction`, at most `lag` apart.
#[must_use]
pub fn window(t: Timestamp, direction: usize, side: Side, lag: Duration) -> (Timestamp, Timestamp) {
    let leg_took_in = (side == Side::Client) == (direction == TO_BACKEND);
    if leg_took_in { (t.minus(TICKS), t.plus(lag)) } else { (t.minus(lag), t.plus(TICKS)) }
}

/// In the directions that grew, the legs spoke at the same moments, as far as known.
#[must_use]
pub fn moments_fit(c: &Trace, u: &Trace) -> bool {
    let grew = |d: usize| c.grown[d] > 0 || u.grown[d] > 0;
    (0..2).all(|d| !grew(d) || lag(c, u, d).is_none_or(|l| within(l, LAG)))
}

/// The whole past of the legs allows that they belong together: one direction agrees closely and the other one, where a slow
/// connect or a retransmission may lie between, goes the right way. `None` when it does not, else by how much they differ,
/// in milliseconds.
#[must_use]
pub fn past_fits(c: &Trace, u: &Trace) -> Option<u64> {
    let (a, b) = (lag(c, u, TO_BACKEND)?, lag(c, u, TO_CLIENT)?);
    let close = (within(a, PAST_LAG) && within(b, LONG_LAG)) || (within(a, LONG_LAG) && within(b, PAST_LAG));
    close.then(|| (a.unsigned_abs() + b.unsigned_abs()) / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn trace(tls: bool) -> Trace {
        Trace {
            side: Side::Client,
            cookie: 1,
            peer: ([127, 0, 0, 1], 81).into(),
            pid: None,
            instance: None,
            inode: 1,
            tls,
            first: Timestamp::default(),
            blind: false,
            blocked: false,
            passed: None,
            grown: [0, 0],
            spoke: [None, None],
        }
    }

    fn fit(client_tls: bool, client: [u64; 2], upstream: [u64; 2]) -> Fit {
        bytes_fit(&trace(client_tls), client, &trace(false), upstream, ANY_OVERHEAD).0
    }

    #[test]
    fn plain_legs_fit_when_their_bytes_are_equal() {
        assert_eq!(fit(false, [0, 0], [0, 0]), Fit::Silent);
        assert_eq!(fit(false, [10, 0], [10, 0]), Fit::Equal);
        assert_eq!(fit(false, [10, 7], [10, 8]), Fit::Apart);
        assert_eq!(fit(false, [50_000, 0], [49_900, 0]), Fit::Near, "a message was under way");
    }

    #[test]
    fn a_tls_leg_fits_when_the_surplus_is_whole_records_of_one_cipher() {
        assert_eq!(fit(true, [10 + 22, 100 + 3 * 22], [10, 100]), Fit::Equal);
        assert_eq!(fit(true, [10 + 29, 100 + 3 * 29], [10, 100]), Fit::Equal);
        assert_eq!(fit(true, [10 + 22, 100 + 3 * 29], [10, 100]), Fit::Near, "a leg has one cipher");
        assert_eq!(fit(true, [10, 0], [10, 0]), Fit::Apart, "TLS adds something");
        assert_eq!(fit(true, [22, 0], [0, 0]), Fit::Apart);
        assert_eq!(fit(true, [20_000 + 22, 0], [20_000, 0]), Fit::Apart, "one record does not hold that much");
    }

    fn spoke(tls: bool, at: [i64; 2]) -> Trace {
        let t = |ms: i64| Some(Timestamp::from_micros(ms * 1000));
        Trace { spoke: [t(at[0]), t(at[1])], grown: [1, 1], ..trace(tls) }
    }

    #[test]
    fn data_goes_out_after_it_came_in() {
        let client = spoke(false, [1_000, 2_000]);
        assert!(moments_fit(&client, &spoke(false, [1_004, 1_996])));
        assert!(!moments_fit(&client, &spoke(false, [1_200, 1_996])), "too late");
        assert!(!moments_fit(&client, &spoke(false, [900, 1_996])), "sent before it came");
        assert_eq!(past_fits(&client, &spoke(false, [1_800, 1_996])), Some(804), "a slow connect");
        assert_eq!(past_fits(&client, &spoke(false, [1_800, 1_200])), None, "not both");
    }

    proptest! {
        #[test]
        fn what_passes_through_nginx_always_fits(
            messages in prop::collection::vec((any::<bool>(), 1..40_000_u64), 1..30),
            tls in any::<bool>(),
            overhead in prop::sample::select(OVERHEADS.to_vec()),
        ) {
            let (mut client, mut upstream) = ([0, 0], [0, 0]);
            for (down, size) in messages {
                let d = usize::from(down);
                upstream[d] += size;
                client[d] += size + if tls { size.div_ceil(RECORD) * overhead } else { 0 };
            }
            prop_assert_eq!(fit(tls, client, upstream), Fit::Equal);
        }

        #[test]
        fn no_counts_break_it(c in any::<[u64; 2]>(), u in any::<[u64; 2]>(), a in any::<bool>(), b in any::<bool>()) {
            let _ = bytes_fit(&trace(a), c, &trace(b), u, ANY_OVERHEAD);
        }
    }
}
