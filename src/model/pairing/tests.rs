//! Pairing held against a small world that knows the truth: tunnels with random traffic, looked at sample by sample.

use proptest::prelude::*;

use super::*;
use crate::time::Timestamp;

/// A small generator of numbers, the same at every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// One leg of the world.
#[derive(Clone, Copy)]
struct End {
    passed: [u64; 2],
    read: [u64; 2],
    /// Microseconds.
    spoke: [i64; 2],
}

struct Tunnel {
    ends: [End; 2],
    silent: bool,
}

/// What the world does.
#[derive(Clone, Copy, Debug)]
struct Ways {
    /// The client legs carry TLS.
    tls: bool,
    /// All messages are equally long.
    same_size: bool,
    /// One leg in so many is read before the latest message has passed through it.
    torn: u64,
}

const PLAIN: Ways = Ways { tls: false, same_size: false, torn: 100 };
const TLS: Ways = Ways { tls: true, ..PLAIN };

struct World {
    dice: Dice,
    tunnels: Vec<Tunnel>,
    ways: Ways,
    now: i64,
    pairing: Pairing,
}

/// The cookie of a leg: client legs are even. Inodes say nothing about who belongs together.
fn cookie(n: usize, side: usize) -> u64 {
    (n * 2 + side) as u64 + 1000
}

impl World {
    fn new(seed: u64, tunnels: usize, ways: Ways) -> Self {
        let mut dice = Dice(seed | 1);
        let mut world =
            Self { tunnels: Vec::new(), ways, now: 1_000_000_000_000, pairing: Pairing::default(), dice: Dice(1) };
        for n in 0..tunnels {
            // Opened in one burst: the past tells little.
            let opened = world.now - 500_000 + i64::try_from(dice.below(40_000)).expect("small");
            let end = |passed| End { passed, read: passed, spoke: [opened, opened + 2_000] };
            let silent = n % 10 == 9;
            let handshake = 150 + dice.below(5);
            world.tunnels.push(Tunnel { ends: [end([handshake, 181]), end([handshake + 20, 129])], silent });
            world.pairing.enter(Side::Client, cookie(n, 0));
            world.pairing.enter(Side::Upstream, cookie(n, 1));
        }
        world.dice = dice;
        world
    }

    fn message(&mut self, n: usize, at: i64) {
        let dice = &mut self.dice;
        let d = usize::try_from(dice.below(2)).expect("small");
        let size = if self.ways.same_size { 6 } else { 1 + dice.below(3_000) };
        let lag = i64::try_from(dice.below(3_000)).expect("small");
        let sealed = size + if self.ways.tls { 22 } else { 0 };
        let tunnel = &mut self.tunnels[n];
        let (first, second) = if d == 0 { (0, 1) } else { (1, 0) };
        for (side, bytes) in [(0, sealed), (1, size)] {
            tunnel.ends[side].passed[d] += bytes;
        }
        tunnel.ends[first].spoke[d] = at;
        tunnel.ends[second].spoke[d] = at + lag;
    }

    /// A second passes, and the legs are looked at.
    fn look(&mut self) -> Vec<u64> {
        self.now += 1_000_000;
        let mut torn = Vec::new();
        for n in 0..self.tunnels.len() {
            let messages = if self.tunnels[n].silent { 0 } else { self.dice.below(4) };
            for m in 0..messages {
                let before = [0, 1].map(|side| self.tunnels[n].ends[side]);
                // One after another.
                let at = self.now - 1_000_000 + i64::try_from(m * 250_000 + self.dice.below(240_000)).expect("small");
                self.message(n, at);
                let side = usize::try_from(self.dice.below(2)).expect("small");
                if m + 1 == messages && self.dice.below(self.ways.torn) == 0 {
                    torn.push((n, side, before[side]));
                }
            }
        }
        let whole: Vec<(usize, usize, End)> =
            torn.iter().map(|(n, s, _)| (*n, *s, self.tunnels[*n].ends[*s])).collect();
        for (n, side, before) in torn {
            self.tunnels[n].ends[side] = End { read: self.tunnels[n].ends[side].read, ..before };
        }
        let new = self.settle();
        for (n, side, end) in whole {
            let read = self.tunnels[n].ends[side].read;
            self.tunnels[n].ends[side] = End { read, ..end };
        }
        new
    }

    fn trace(&self, n: usize, side: usize) -> Trace {
        let end = &self.tunnels[n].ends[side];
        // The kernel counts in ticks.
        let tick = |t: i64| Some(Timestamp::from_micros(t / 4_000 * 4_000));
        Trace {
            instance: None,
            side: if side == 0 { Side::Client } else { Side::Upstream },
            cookie: cookie(n, side),
            peer: ([127, 0, 0, 1], 9000).into(),
            pid: Some(7 + u32::try_from(n % 2).expect("small")),
            inode: 5_000 + (cookie(n, side) * 7_919) % 600,
            tls: side == 0 && self.ways.tls,
            first: Timestamp::from_secs(1),
            blind: false,
            blocked: false,
            passed: Some(end.passed),
            grown: [0, 1].map(|d| end.passed[d] - end.read[d]),
            spoke: end.spoke.map(tick),
        }
    }

    fn settle(&mut self) -> Vec<u64> {
        let mut traces = Vec::new();
        for n in 0..self.tunnels.len() {
            traces.extend([self.trace(n, 0), self.trace(n, 1)]);
        }
        let get = |c: u64| traces.get(usize::try_from(c - 1000).expect("small")).copied();
        let touched: Vec<Trace> = traces.iter().filter(|t| t.grew()).copied().collect();
        let new = self.pairing.settle(&touched, &get);
        for end in self.tunnels.iter_mut().flat_map(|t| &mut t.ends) {
            end.read = end.passed;
        }
        new
    }

    /// Right pairs and certain pairs among the tunnels with traffic; a wrong one that is certain fails.
    fn score(&self) -> (usize, usize, usize) {
        let (mut talking, mut right, mut certain) = (0, 0, 0);
        for n in 0..self.tunnels.len() {
            let found = self.pairing.partner(cookie(n, 1));
            let is_right = found.is_some_and(|(c, _)| c == cookie(n, 0));
            if let Some((_, Confidence::Certain)) = found {
                assert!(is_right, "tunnel {n} is certain and wrong");
                certain += 1;
            }
            if !self.tunnels[n].silent {
                talking += 1;
                right += usize::from(is_right);
            }
        }
        (talking, right, certain)
    }
}

#[test]
fn random_traffic_settles_every_pair_in_a_few_looks() {
    let mut world = World::new(42, 400, PLAIN);
    for _ in 0..8 {
        world.look();
        world.score();
    }
    let (talking, right, certain) = world.score();
    assert!(right * 100 >= talking * 99, "{right} of {talking} right");
    assert!(certain * 10 >= talking * 8, "{certain} of {talking} certain");
}

#[test]
fn tls_is_paired_by_moments_and_whole_records() {
    let mut world = World::new(43, 200, TLS);
    for _ in 0..12 {
        world.look();
        world.score();
    }
    let (talking, right, certain) = world.score();
    assert!(right * 100 >= talking * 97, "{right} of {talking} right");
    assert!(certain * 2 >= talking, "{certain} of {talking} certain");
}

#[test]
fn heartbeats_of_one_size_still_give_no_false_certainty() {
    let mut world = World::new(44, 100, Ways { same_size: true, ..PLAIN });
    for _ in 0..20 {
        world.look();
        world.score();
    }
    let (talking, right, _) = world.score();
    assert!(right * 10 >= talking * 9, "{right} of {talking} right");
}

#[test]
fn the_usual_difference_of_handshakes_tells_silent_legs_apart() {
    let mut world = World::new(45, 100, PLAIN);
    for _ in 0..10 {
        world.look();
    }
    // All but the silent ones are settled, and their handshakes differ by 20 bytes up and 52 down: the request's length is what
    // tells the silent ones apart, as far as it differs.
    let strange = (0..100).filter(|n| world.tunnels[*n].silent).filter(|n| {
        let partner = world.pairing.partner(cookie(*n, 1)).and_then(|(c, _)| usize::try_from((c - 1000) / 2).ok());
        partner.is_some_and(|p| world.tunnels[p].ends[0].passed != world.tunnels[*n].ends[0].passed)
    });
    assert_eq!(strange.count(), 0);
}

#[test]
fn a_pair_lives_until_the_bytes_contradict_it() {
    let mut world = World::new(46, 2, PLAIN);
    for _ in 0..12 {
        world.look();
    }
    assert!(matches!(world.pairing.partner(cookie(0, 1)), Some((_, Confidence::Certain))));
    // From now on the legs belong to others.
    let (a, b) = world.tunnels.split_at_mut(1);
    std::mem::swap(&mut a[0].ends[0], &mut b[0].ends[0]);
    let right = (0..2).map(|n| world.pairing.partner(cookie(n, 1))).collect::<Vec<_>>();
    assert!(right.iter().all(Option::is_some), "nothing contradicts it yet");
    for _ in 0..4 {
        world.tunnels[0].ends[0].passed[0] += 777;
        world.tunnels[1].ends[1].passed[1] += 333;
        world.settle();
    }
    assert_eq!(world.pairing.partner(cookie(0, 1)), None, "three contradictions in a row");
}

#[test]
fn a_leg_that_goes_leaves_its_partner_alone() {
    let mut world = World::new(47, 1, PLAIN);
    assert_eq!(world.look(), [cookie(0, 1)]);
    assert_eq!(world.pairing.partner(cookie(0, 1)), Some((cookie(0, 0), Confidence::Likely)), "nothing else is there");
    assert_eq!(world.pairing.leave(cookie(0, 0)), Some(cookie(0, 1)));
    assert!(world.pairing.is_empty());
    assert_eq!(world.pairing.leave(cookie(0, 0)), None);
    world.pairing.enter(Side::Client, cookie(0, 0));
    assert_eq!(world.look(), [cookie(0, 1)], "found again");
}

#[test]
fn without_byte_counts_the_nearest_inode_of_the_same_worker_is_taken() {
    let blind = |side, cookie, inode, pid| Trace {
        instance: None,
        side,
        cookie,
        peer: ([127, 0, 0, 1], 9000).into(),
        pid: Some(pid),
        inode,
        tls: false,
        first: Timestamp::from_secs(1),
        blind: true,
        blocked: false,
        passed: None,
        grown: [0, 0],
        spoke: [None, None],
    };
    let legs = [
        blind(Side::Client, 1, 100, 7),
        blind(Side::Client, 2, 110, 7),
        blind(Side::Client, 3, 112, 8),
        blind(Side::Upstream, 4, 113, 7),
        blind(Side::Upstream, 5, 990_000, 8),
    ];
    let mut pairing = Pairing::default();
    for t in &legs {
        pairing.enter(t.side, t.cookie);
    }
    let get = |c| legs.iter().find(|t| t.cookie == c).copied();
    assert_eq!(pairing.settle(&[], &get), [4]);
    assert_eq!(pairing.partner(4), Some((2, Confidence::Possible)));
    assert_eq!(pairing.partner(5), None, "an inode so far away says nothing");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn certain_is_never_wrong_and_no_leg_is_in_two_pairs(
        seed in any::<u64>(),
        tls in any::<bool>(),
        same_size in any::<bool>(),
        torn in 3..60_u64,
    ) {
        let mut world = World::new(seed, 40, Ways { tls, same_size, torn });
        for _ in 0..12 {
            world.look();
            world.score();
            let clients: BTreeSet<u64> =
                (0..40).filter_map(|n| world.pairing.partner(cookie(n, 1))).map(|(c, _)| c).collect();
            prop_assert_eq!(clients.len(), world.pairing.len());
        }
    }

    #[test]
    fn the_same_rows_give_the_same_pairs(seed in any::<u64>()) {
        let run = || {
            let mut world = World::new(seed, 30, PLAIN);
            for _ in 0..3 {
                world.look();
            }
            (0..30).map(|n| world.pairing.partner(cookie(n, 1))).collect::<Vec<_>>()
        };
        prop_assert_eq!(run(), run());
    }
}
