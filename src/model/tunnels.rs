//! Which client leg and which upstream leg are one tunnel: a guess from the order of creation, held against the bytes.
//!
//! nginx opens the upstream socket while it serves the client's request, and passes on at once what it reads. So a leg's
//! most likely partner is, among the client legs of the same worker, the one that received when this one sent and sent when
//! this one received; of several such, the nearest inode (the kernel hands inodes out in blocks, one for each processor, so
//! that only nearness means something, not order). Bytes then confirm or refute it: on plain
//! legs what the client sent grows on the upstream leg by the same amount. A pair that the bytes refute is taken apart and
//! not tried again.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::time::Timestamp;

use super::legs::Leg;

/// How sure it is that two legs belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidence {
    /// Not paired.
    None,
    /// By order of creation alone.
    Possible,
    /// Bytes grew alike at least once, or there was no other candidate.
    Likely,
    /// Bytes grew alike several times.
    Certain,
}

impl Confidence {
    /// The word of the contract.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Possible => "possible",
            Self::Likely => "likely",
            Self::Certain => "certain",
        }
    }
}

/// Equal growths after which a pair is certain.
const CERTAIN: u32 = 3;
/// Moments nearer than this are one: the kernel counts in ticks of up to 10 ms, on both legs and in both directions.
const SAME_MOMENT: Duration = Duration::from_millis(50);
/// Unequal growths after which a pair is taken apart.
const REFUTED: u32 = 2;

#[derive(Clone, Debug)]
struct Pair {
    client: u64,
    alike: u32,
    unlike: u32,
    only_candidate: bool,
    /// (client received, upstream acked, client acked, upstream received) at the last comparison.
    bytes: Option<[u64; 4]>,
}

/// The pairs of one host.
#[derive(Clone, Debug, Default)]
pub struct Pairing {
    by_upstream: HashMap<u64, Pair>,
    by_client: HashMap<u64, u64>,
    refuted: HashSet<(u64, u64)>,
}

impl Pairing {
    /// How many pairs there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_upstream.len()
    }

    /// No pair.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_upstream.is_empty()
    }

    /// The client leg of an upstream leg, and how sure that is.
    #[must_use]
    pub fn partner(&self, upstream: u64) -> Option<(u64, Confidence)> {
        let pair = self.by_upstream.get(&upstream)?;
        let confidence = match (pair.alike, pair.only_candidate) {
            (CERTAIN.., _) => Confidence::Certain,
            (1.., _) | (0, true) => Confidence::Likely,
            _ => Confidence::Possible,
        };
        Some((pair.client, confidence))
    }

    /// A leg is gone: its pair ends. Returns the partner.
    pub fn forget(&mut self, cookie: u64) -> Option<u64> {
        self.refuted.retain(|(u, c)| *u != cookie && *c != cookie);
        if let Some(pair) = self.by_upstream.remove(&cookie) {
            self.by_client.remove(&pair.client);
            return Some(pair.client);
        }
        let upstream = self.by_client.remove(&cookie)?;
        self.by_upstream.remove(&upstream);
        Some(upstream)
    }

    /// Compares the bytes of known pairs, takes refuted ones apart, and pairs what is alone. `legs` says of each leg
    /// whether it is a client's. Returns how many pairs are new.
    pub fn settle(&mut self, legs: &[(bool, &Leg)]) -> usize {
        let by_cookie: HashMap<u64, &Leg> = legs.iter().map(|(_, l)| (l.row.cookie, *l)).collect();
        self.compare(&by_cookie);
        let mut clients: Vec<&Leg> = legs
            .iter()
            .filter(|(client, l)| *client && !self.by_client.contains_key(&l.row.cookie))
            .map(|(_, l)| *l)
            .collect();
        let mut upstreams: Vec<&Leg> = legs
            .iter()
            .filter(|(client, l)| !*client && !self.by_upstream.contains_key(&l.row.cookie))
            .map(|(_, l)| *l)
            .collect();
        // Of equals the same one is taken at every run: a replay must give the live run's pairs.
        clients.sort_by_key(|l| (l.row.inode, l.row.cookie));
        upstreams.sort_by_key(|l| (l.row.inode, l.row.cookie));
        let mut new = 0;
        for upstream in upstreams {
            let candidates: Vec<usize> = (0..clients.len()).filter(|i| self.fits(clients[*i], upstream)).collect();
            let apart = |i: &usize| {
                let client = clients[*i];
                (apart_in_time(client, upstream), client.row.inode.abs_diff(upstream.row.inode))
            };
            let nearest = candidates.iter().copied().min_by_key(apart);
            let Some(chosen) = nearest else { continue };
            let client = clients.remove(chosen);
            self.by_client.insert(client.row.cookie, upstream.row.cookie);
            let only_candidate = candidates.len() == 1;
            let bytes = bytes_of(client, upstream);
            let pair = Pair { client: client.row.cookie, alike: 0, unlike: 0, only_candidate, bytes };
            self.by_upstream.insert(upstream.row.cookie, pair);
            new += 1;
        }
        new
    }

    fn fits(&self, client: &Leg, upstream: &Leg) -> bool {
        let same_worker = match (client.row.pid, upstream.row.pid) {
            (Some(a), Some(b)) => a == b,
            _ => true,
        };
        same_worker && client.row.inode != 0 && !self.refuted.contains(&(upstream.row.cookie, client.row.cookie))
    }

    fn compare(&mut self, legs: &HashMap<u64, &Leg>) {
        let mut apart = Vec::new();
        for (upstream, pair) in &mut self.by_upstream {
            let Some((u, c)) = legs.get(upstream).zip(legs.get(&pair.client)) else { continue };
            let Some(now) = bytes_of(c, u) else { continue };
            let Some(before) = pair.bytes.replace(now) else { continue };
            let grown: Vec<u64> = now.iter().zip(before).map(|(n, b)| n.saturating_sub(b)).collect();
            let (to_backend, to_client) = ((grown[0], grown[1]), (grown[3], grown[2]));
            if to_backend == (0, 0) && to_client == (0, 0) {
                continue;
            }
            if to_backend.0 == to_backend.1 && to_client.0 == to_client.1 {
                pair.alike = pair.alike.saturating_add(1);
                pair.unlike = 0;
            } else if pair.alike < CERTAIN {
                // Bytes in flight while the table was read make one comparison unequal and the next one too.
                pair.unlike += 1;
                if pair.unlike > REFUTED && pair.alike == 0 && !pair.only_candidate {
                    apart.push((*upstream, pair.client));
                }
            }
        }
        for (upstream, client) in apart {
            self.by_upstream.remove(&upstream);
            self.by_client.remove(&client);
            self.refuted.insert((upstream, client));
        }
    }
}

/// How far apart the moments lie at which one leg received and the other sent, in steps of [`SAME_MOMENT`]; equal for all
/// where the kernel did not tell.
fn apart_in_time(client: &Leg, upstream: &Leg) -> u128 {
    let moments = |leg: &Leg| {
        let info = leg.row.info?;
        let ago = |ms: Option<u32>| Some(leg.seen.minus(Duration::from_millis(u64::from(ms?))));
        Some((ago(info.last_received_ms)?, ago(info.last_sent_ms)?))
    };
    let Some(((c_in, c_out), (u_in, u_out))) = moments(client).zip(moments(upstream)) else { return 0 };
    let between = |a: Timestamp, b: Timestamp| a.since(b).max(b.since(a)).as_millis();
    (between(c_in, u_out) + between(c_out, u_in)) / SAME_MOMENT.as_millis()
}

fn bytes_of(client: &Leg, upstream: &Leg) -> Option<[u64; 4]> {
    let (c, u) = (client.row.info.as_ref()?, upstream.row.info.as_ref()?);
    Some([c.bytes_received?, u.bytes_acked?, c.bytes_acked?, u.bytes_received?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::socket::{SocketRow, TcpInfo, TcpState};

    fn leg(cookie: u64, pid: u32, received: u64, acked: u64) -> Leg {
        let info = TcpInfo { bytes_received: Some(received), bytes_acked: Some(acked), ..TcpInfo::default() };
        let ends = (([127, 0, 0, 1], 80).into(), ([127, 0, 0, 1], 81).into());
        let row = SocketRow {
            inode: u32::try_from(cookie).expect("small"),
            pid: Some(pid),
            info: Some(info),
            ..SocketRow::new(cookie, ends.0, ends.1, TcpState::Established)
        };
        Leg::new(&row, Timestamp::from_secs(1), false)
    }

    #[test]
    fn the_nearest_client_leg_of_the_same_worker_is_taken() {
        let legs = [leg(1, 7, 0, 0), leg(2, 7, 0, 0), leg(3, 8, 0, 0), leg(4, 7, 0, 0)];
        let mut p = Pairing::default();
        let new = p.settle(&[(true, &legs[0]), (true, &legs[1]), (true, &legs[2]), (false, &legs[3])]);
        assert_eq!(new, 1);
        assert_eq!(p.partner(4), Some((2, Confidence::Possible)));
    }

    #[test]
    fn legs_that_spoke_at_the_same_moments_belong_together() {
        let spoke = |cookie, received_ms, sent_ms| {
            let mut l = leg(cookie, 7, 0, 0);
            let info =
                TcpInfo { last_received_ms: Some(received_ms), last_sent_ms: Some(sent_ms), ..TcpInfo::default() };
            l.row.info = Some(info);
            l
        };
        // A keep-alive connection (2) was opened last, but it was silent when the upstream leg was opened.
        let legs = [spoke(1, 3_000, 2_990), spoke(2, 9_000, 8_900), spoke(3, 2_992, 3_001)];
        let mut p = Pairing::default();
        p.settle(&[(true, &legs[0]), (true, &legs[1]), (false, &legs[2])]);
        assert_eq!(p.partner(3).map(|(c, _)| c), Some(1));
    }

    #[test]
    fn bytes_that_grow_alike_make_a_pair_certain() {
        let mut p = Pairing::default();
        for n in 0..5 {
            let (a, b, c) = (leg(1, 7, 100 + n * 10, 50 + n), leg(2, 7, 9 * n, 0), leg(3, 7, n, n * 10));
            // The wrong client leg (2) is nearer and is tried first.
            p.settle(&[(true, &a), (true, &b), (false, &c)]);
        }
        assert_eq!(p.partner(3).map(|(c, _)| c), Some(1), "the bytes refuted the nearer one");
        for n in 5..9 {
            let (a, c) = (leg(1, 7, 100 + n * 10, 50 + n), leg(3, 7, n, n * 10));
            p.settle(&[(true, &a), (false, &c)]);
        }
        assert_eq!(p.partner(3), Some((1, Confidence::Certain)));
        assert_eq!(p.forget(1), Some(3));
        assert!(p.is_empty());
    }
}
