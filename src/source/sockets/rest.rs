//! Whether a look is worth it: where no segment came or went, no connection is other than it was.
//!
//! A look walks through the kernel's whole table of connections and asks each watched one for its tcp_info. The counters of a
//! network namespace (proc_pid_net(5), /proc/PID/net/snmp; their names are those of RFC 4022) cost a hundredth of that.

use std::fs;
use std::path::Path;

/// So many looks at most are left out in a row while nothing moves: a listener that is opened, or a socket that goes over to
/// another process, shows in no counter.
const AT_REST: u32 = 9;
/// The same after [`PATIENCE`] looks that told nothing new.
const LONG_AT_REST: u32 = 29;
/// The same while something moves that was nothing of ours, such as the session over which the screen is looked at.
const BESIDE: u32 = 1;
/// It is something of others after so many looks that told nothing new.
const PATIENCE: u32 = 3;

/// The counters of TCP that move with connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counters {
    /// InSegs and OutSegs: a segment carries data, a window, an acknowledgement, a probe, or the end.
    segments: [u64; 2],
    /// ActiveOpens, PassiveOpens, EstabResets and CurrEstab: one of them moves when a connection opens or ends.
    connections: [u64; 4],
}

impl Counters {
    /// Those of the namespace whose tables lie in this folder; `None` where they cannot be read.
    pub(super) fn read(tables: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(tables.join("snmp")).ok()?)
    }

    /// Two lines begin with `Tcp:`: the names, and the figures in the same order.
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().filter_map(|l| l.strip_prefix("Tcp:"));
        let (names, figures) = (lines.next()?, lines.next()?);
        let of = |name: &str| {
            let place = names.split_whitespace().position(|n| n == name)?;
            figures.split_whitespace().nth(place)?.parse().ok()
        };
        Some(Self {
            segments: [of("InSegs")?, of("OutSegs")?],
            connections: [of("ActiveOpens")?, of("PassiveOpens")?, of("EstabResets")?, of("CurrEstab")?],
        })
    }
}

/// Whether the look that is due is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Look.
    Look,
    /// Not now: everything is as it was at the last look.
    Unmoved,
    /// Not now: what moved is hardly ours.
    Later,
}

/// Decides whether the next look may be left out.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// As they were before the last look: what moved during it is not missed.
    before: Option<Counters>,
    /// Looks in a row that told nothing new.
    nothing_new: u32,
    /// Looks in a row that were left out.
    left_out: u32,
}

impl Rest {
    /// What becomes of the look that is due.
    pub(super) fn next(&mut self, now: Option<Counters>) -> Next {
        let Some((before, now)) = self.before.zip(now) else { return Next::Look };
        let calm = before.connections == now.connections && self.nothing_new >= PATIENCE;
        let (next, most) = match (before == now, calm) {
            (true, false) => (Next::Unmoved, AT_REST),
            (true, true) => (Next::Unmoved, LONG_AT_REST),
            (false, true) => (Next::Later, BESIDE),
            (false, false) => return Next::Look,
        };
        if self.left_out >= most {
            return Next::Look;
        }
        self.left_out += 1;
        next
    }

    /// There was a look; `before`: the counters before it.
    pub(super) fn looked(&mut self, before: Option<Counters>, told_something: bool) {
        self.nothing_new = if told_something { 0 } else { self.nothing_new.saturating_add(1) };
        (self.before, self.left_out) = (before, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SNMP: &str = "Icmp: InMsgs\nIcmp: 3\n\
        Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts InCsumErrors\n\
        Tcp: 1 200 120000 -1 54 9 4 2 20 1000 2000 1 0 6 0\nUdp: InDatagrams\nUdp: 1\n";

    fn counters(segments: u64, opened: u64) -> Counters {
        Counters { segments: [segments, segments], connections: [opened, 0, 0, opened] }
    }

    /// What becomes of each of these moments: `true` is a look, which tells nothing new.
    fn looks(rest: &mut Rest, moments: &[Counters]) -> Vec<bool> {
        let one = |now: &Counters| {
            let look = rest.next(Some(*now)) == Next::Look;
            if look {
                rest.looked(Some(*now), false);
            }
            look
        };
        moments.iter().map(one).collect()
    }

    #[test]
    fn the_figures_are_found_by_their_names() {
        let counters = Counters { segments: [1000, 2000], connections: [54, 9, 2, 20] };
        assert_eq!(Counters::parse(SNMP), Some(counters));
        for wrong in ["", "Tcp: InSegs\n", "Tcp: InSegs OutSegs\nTcp: 1 2\n", &SNMP.replace("1000", "many")] {
            assert_eq!(Counters::parse(wrong), None, "{wrong}");
        }
        assert!(Counters::read(Path::new("/proc/net")).is_some());
        assert_eq!(Counters::read(Path::new("/nowhere")), None);
    }

    #[test]
    fn where_nothing_moves_every_tenth_look_is_made_and_later_every_thirtieth() {
        let told = looks(&mut Rest::default(), &[counters(7, 1); 120]);
        let looked: Vec<usize> = (0..told.len()).filter(|i| told[*i]).collect();
        assert_eq!(looked, [0, 10, 20, 50, 80, 110]);
    }

    #[test]
    fn a_segment_brings_a_look_and_what_is_none_of_ours_every_second() {
        let moving: Vec<_> = (0..12).map(|n| counters(n, 1)).collect();
        let mut rest = Rest::default();
        assert_eq!(looks(&mut rest, &moving), [1, 1, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0].map(|n| n == 1));
        assert_eq!(looks(&mut rest, &[counters(20, 2)]), [true], "a connection opened");
        rest.looked(Some(counters(20, 2)), true);
        assert_eq!(looks(&mut rest, &[counters(21, 2), counters(22, 2)]), [true, true], "ours moved");
        assert_eq!(rest.next(None), Next::Look, "nothing is known");
    }
}
