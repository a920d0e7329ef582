//! Legs laid out for look-ups: by the bytes that passed, by the moment, by the inode. What makes pairing near-linear.

use std::collections::HashMap;
use std::time::Duration;

use crate::time::Timestamp;

use super::evidence::{ANY_OVERHEAD, Fit, LAG, TO_BACKEND, TO_CLIENT, Trace, bytes_fit, moments_fit, window};
use super::legs::Side;

/// Candidates looked at for one leg: beyond that many nothing can be told apart anyway.
const LOOKED_AT: usize = 64;
/// From so many bytes on an amount is told apart from others by itself; heartbeats are shorter.
const TELLING: u64 = 64;
/// Inodes farther apart than this say nothing: the kernel hands them to each processor in blocks of 1024 (fs/inode.c,
/// `LAST_INO_BATCH`).
const INODE_BLOCK: u64 = 1024;

/// Positions of candidates in the table that was searched.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Which ones fit, nearest first.
    pub fits: Vec<usize>,
    /// All there are were looked at.
    pub whole: bool,
}

/// Places in the table by process, in the order of a key.
type Ordered<K> = HashMap<Option<u32>, Vec<(K, usize)>>;

/// Legs of one side, to be searched for partners of legs of the other side.
#[derive(Debug, Default)]
pub struct Index {
    /// The legs.
    pub traces: Vec<Trace>,
    by_bytes: HashMap<[u64; 2], Vec<usize>>,
    /// One order for each direction.
    by_moment: [Ordered<Timestamp>; 2],
    by_inode: Ordered<u64>,
    any_tls: bool,
}

impl Index {
    /// Lays out `traces`.
    #[must_use]
    pub fn of(traces: Vec<Trace>) -> Self {
        let mut index = Self::default();
        for (i, t) in traces.iter().enumerate() {
            index.any_tls |= t.tls;
            if t.grew() && !t.tls {
                index.by_bytes.entry(t.grown).or_default().push(i);
            }
            for d in [TO_BACKEND, TO_CLIENT] {
                if let Some(at) = t.spoke[d] {
                    index.by_moment[d].entry(t.pid).or_default().push((at, i));
                }
            }
            index.by_inode.entry(t.pid).or_default().push((t.inode, i));
        }
        index.by_moment.iter_mut().flat_map(HashMap::values_mut).for_each(|v| v.sort_unstable());
        index.by_inode.values_mut().for_each(|v| v.sort_unstable());
        index.traces = traces;
        index
    }

    /// The legs through which the same bytes passed at the same moments in the latest sample as through `leg`.
    #[must_use]
    pub fn alike(&self, leg: &Trace) -> Found {
        let fits = |i: &usize| same_growth(leg, &self.traces[*i]);
        let same: &[usize] = if leg.tls { &[] } else { self.by_bytes.get(&leg.grown).map_or(&[], Vec::as_slice) };
        if !leg.tls && !self.any_tls && same.len() <= LOOKED_AT {
            let mut of_worker = same.iter().copied().filter(|i| leg.shares_worker(&self.traces[*i]));
            if let (Some(only), None) = (of_worker.next(), of_worker.next())
                && leg.grown.iter().sum::<u64>() >= TELLING
            {
                // However late a busy worker passed it on: nothing else carried these very bytes.
                return Found { fits: vec![only], whole: true };
            }
            return Found { fits: same.iter().copied().filter(fits).collect(), whole: true };
        }
        // Bytes are no key for TLS, and too many have the same: then the moment is the key.
        let direction = if leg.grown[TO_BACKEND] > 0 { TO_BACKEND } else { TO_CLIENT };
        let near = self.at_the_moment(leg, direction, LAG);
        Found { fits: near.fits.into_iter().filter(fits).collect(), ..near }
    }

    /// The legs that spoke when `leg` spoke in `direction`, at most `lag` apart, nearest first, of the processes that may hold both.
    #[must_use]
    pub fn at_the_moment(&self, leg: &Trace, direction: usize, lag: Duration) -> Found {
        let Some(at) = leg.spoke[direction] else { return Found { fits: Vec::new(), whole: false } };
        let (from, to) = window(at, direction, leg.side, lag);
        let mut near: Vec<(u128, usize)> = Vec::new();
        let mut whole = true;
        for list in of_worker(&self.by_moment[direction], leg.pid) {
            let start = list.partition_point(|(t, _)| *t < from);
            let end = list.partition_point(|(t, _)| *t <= to);
            let middle = list.partition_point(|(t, _)| *t < at).clamp(start, end);
            let low = start.max(middle.saturating_sub(LOOKED_AT));
            let high = end.min(middle + LOOKED_AT);
            whole &= low == start && high == end;
            let apart = |t: Timestamp| t.since(at).max(at.since(t)).as_micros();
            near.extend(list[low..high].iter().map(|(t, i)| (apart(*t), *i)));
        }
        near.sort_unstable();
        Found { fits: near.into_iter().map(|(_, i)| i).collect(), whole }
    }

    /// The few legs whose inodes lie nearest to that of `leg`.
    #[must_use]
    pub fn near_inode(&self, leg: &Trace) -> Vec<usize> {
        let mut near: Vec<(u64, usize)> = Vec::new();
        for list in of_worker(&self.by_inode, leg.pid) {
            let middle = list.partition_point(|(inode, _)| *inode < leg.inode);
            let around = &list[middle.saturating_sub(4)..list.len().min(middle + 4)];
            near.extend(around.iter().map(|(inode, i)| (inode.abs_diff(leg.inode), *i)));
        }
        near.sort_unstable();
        near.into_iter().filter(|(apart, _)| *apart <= INODE_BLOCK).map(|(_, i)| i).collect()
    }

    /// How many legs the process of `leg` holds.
    #[must_use]
    pub fn beside(&self, leg: &Trace) -> usize {
        of_worker(&self.by_inode, leg.pid).map(Vec::len).sum()
    }
}

/// The lists of the processes that may hold a leg of `pid` too; all when it is not known.
fn of_worker<T>(lists: &HashMap<Option<u32>, Vec<T>>, pid: Option<u32>) -> impl Iterator<Item = &Vec<T>> {
    let (own, unknown, all) = match pid {
        Some(_) => (lists.get(&pid), lists.get(&None), None),
        None => (None, None, Some(lists.values())),
    };
    own.into_iter().chain(unknown).chain(all.into_iter().flatten())
}

/// The bytes and the moments of the latest sample fit.
fn same_growth(a: &Trace, b: &Trace) -> bool {
    let (c, u) = if a.side == Side::Client { (a, b) } else { (b, a) };
    c.shares_worker(u) && bytes_fit(c, c.grown, u, u.grown, ANY_OVERHEAD).0 == Fit::Equal && moments_fit(c, u)
}
