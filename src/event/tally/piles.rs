//! Narrow piles in a distribution of lifetimes: ages at which a timer ends sessions, told from the hills that any
//! distribution has.

use super::chance::ln_chance;

/// Fewer sessions than this are no pile: chance does that.
const FEW: u64 = 5;
/// So small a share of all sessions is not worth a word: one in so many.
const SHARE: u64 = 200;
/// Piles reported at most.
const MOST: usize = 16;
/// A pile stands so many times as high as what is beside it: no smooth hill does that within a few per cent of an age.
const STEEP: f64 = 4.0;
/// The natural logarithm of the chance at which a pile is believed. A log offers some thousands of places for one.
const BELIEVED: f64 = -18.0;
/// Windows on either side that are compared.
const NEAR: u64 = 2;
const FAR: u64 = 10;
/// Milliseconds on either side that are compared at least: where a format writes whole seconds, the neighbours are there.
const NEAREST: u64 = 1_050;
/// Timers end what is silent within moments; a little talk at the beginning spreads the ends over a second or two.
const SCALES: [u64; 2] = [1, 4];

/// The middle in milliseconds and the count of each pile, largest first. `all` are lifetimes in milliseconds with counts,
/// in order.
pub(super) fn piles(all: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let total: u64 = all.iter().map(|(_, n)| n).sum();
    let least = FEW.max(total / SHARE);
    let mut ground = Ground::of(all.to_vec());
    let mut found = Vec::new();
    for scale in SCALES {
        let mut rest = ground.counts.clone();
        while let Some(window) = fullest(&rest, scale).filter(|w| w.count >= least && found.len() < MOST) {
            if ground.is_steep(&window) {
                found.push((ground.middle(&window), window.count));
                ground.level(&window);
            }
            rest.drain(window.from..window.to);
        }
    }
    found.sort_by_key(|(at, n)| (std::cmp::Reverse(*n), *at));
    found
}

/// A span of lifetimes that may hold a pile.
struct Window {
    /// Positions in the list it was found in.
    from: usize,
    to: usize,
    /// Milliseconds.
    start: u64,
    width: u64,
    count: u64,
}

/// How wide a pile that begins at `millis` may be: timers are exact, but the handshake before them is not. 1 % of the age
/// and at least half a second, and never more than an eighth of the age: what is wider is no pile.
fn width(millis: u64, scale: u64) -> Option<u64> {
    let width = (millis / 100).max(500).saturating_mul(scale);
    let most = millis / 8;
    if scale == 1 { Some(width.min(most)).filter(|w| *w > 0) } else { Some(width).filter(|w| *w <= most) }
}

/// The window with the most sessions.
fn fullest(all: &[(u64, u64)], scale: u64) -> Option<Window> {
    let (mut to, mut count) = (0_usize, 0_u64);
    let mut best: Option<Window> = None;
    for (from, (start, n)) in all.iter().enumerate() {
        if to < from {
            (to, count) = (from, 0);
        }
        let Some(width) = width(*start, scale) else { continue };
        while let Some((_, more)) = all.get(to).filter(|(at, _)| at - start < width) {
            count += more;
            to += 1;
        }
        if best.as_ref().is_none_or(|b| count > b.count) {
            best = Some(Window { from, to, start: *start, width, count });
        }
        count -= n;
    }
    best
}

/// All lifetimes but those of piles already found.
struct Ground {
    counts: Vec<(u64, u64)>,
    /// How many sessions lie before each place, and in all.
    before: Vec<u64>,
}

impl Ground {
    fn of(counts: Vec<(u64, u64)>) -> Self {
        let mut before = Vec::with_capacity(counts.len() + 1);
        let mut sum = 0;
        before.push(0);
        before.extend(counts.iter().map(|(_, n)| {
            sum += n;
            sum
        }));
        Self { counts, before }
    }

    /// Sessions that lived from `low` on and less than `high` milliseconds.
    fn between(&self, low: u64, high: u64) -> u64 {
        let place = |at| self.counts.partition_point(|(t, _)| *t < at);
        let upto = |at| self.before.get(place(at)).copied().unwrap_or(0);
        upto(high).saturating_sub(upto(low))
    }

    /// How many sessions a window of this width at this place would hold if it were like what lies around it: like the
    /// densest of several surroundings, so that neither a slope nor the foot of a hill makes a pile.
    fn usual(&self, w: &Window) -> f64 {
        let (start, width) = (w.start, w.width);
        let end = start + width;
        let before = |reach: u64| self.between(start.saturating_sub(reach), start);
        let behind = |reach: u64| self.between(end, end.saturating_add(reach));
        let (near, far) = ((NEAR * width).max(NEAREST), FAR * width);
        let each = |n: u64, windows: u64| n as f64 / windows as f64;
        // The least that can be said of places where nothing was seen: one session more may well have been there.
        let around = each(before(far) + behind(far) + 1, 2 * FAR);
        let (low, high) = (start / 2, end.saturating_mul(2));
        let octave = self.between(low, start) + self.between(end, high) + 1;
        let octave = octave as f64 * width as f64 / (high - low - width) as f64;
        [
            each(before(near), NEAR),
            each(behind(near), NEAR),
            each(before(far), FAR),
            each(behind(far), FAR),
            around,
            octave,
        ]
        .into_iter()
        .fold(0.0, f64::max)
    }

    fn is_steep(&self, w: &Window) -> bool {
        let (count, usual) = (w.count as f64, self.usual(w));
        count >= STEEP * usual && ln_chance(count, usual) < BELIEVED
    }

    /// The median of a window.
    fn middle(&self, w: &Window) -> u64 {
        let inside = self.counts.iter().filter(|(at, _)| (w.start..w.start + w.width).contains(at));
        let mut seen = 0;
        let half = inside.clone().find(|(_, n)| {
            seen += n;
            seen * 2 >= w.count
        });
        half.map_or(w.start, |(at, _)| *at)
    }

    /// Takes a pile away: it is no ground for its neighbours.
    fn level(&mut self, w: &Window) {
        self.counts.retain(|(at, _)| !(w.start..w.start + w.width).contains(at));
        *self = Self::of(std::mem::take(&mut self.counts));
    }
}
