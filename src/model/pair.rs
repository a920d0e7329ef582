//! What is known of one pair of legs: how often its bytes agreed, and how sure that makes it.

use super::evidence::{ANY_OVERHEAD, Fit, Overheads, Trace, bytes_fit};

/// How sure it is that two legs belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidence {
    /// Not paired.
    None,
    /// They fit, and others might fit too.
    Possible,
    /// They fit and nothing else did, once at least.
    Likely,
    /// Bytes grew alike several times by different amounts, and nothing else fitted.
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

/// Samples without a rival that make a pair certain, when their amounts differ ..
const SOLE: u8 = 3;
/// .. on a TLS leg, whose bytes say less ..
const SOLE_TLS: u8 = 5;
/// .. and when they are always the same, as with heartbeats: then only the moments speak.
const SOLE_ALWAYS_THE_SAME: u8 = 8;
/// Different amounts among them.
const AMOUNTS: u8 = 2;
/// Directions in which bytes passed, over all these samples.
const DIRECTIONS: u8 = 4;
/// Byte counts of both legs: the client's, then the backend's.
type Mark = [[u64; 2]; 2];

/// A client leg and an upstream leg that are taken for one tunnel.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The client leg.
    pub client: u64,
    /// A moment at which both legs had passed on the same.
    anchor: Option<Mark>,
    /// The latest sample with traffic.
    last: Option<Mark>,
    overheads: Overheads,
    tls: bool,
    /// Samples that fitted.
    pub alike: u8,
    /// Of these, samples in which nothing else fitted.
    sole: u8,
    /// Changes of the amount among them, and the latest one.
    amounts: u8,
    amount: [u64; 2],
    directions: u8,
    /// Nothing else fitted the past.
    pub sole_past: bool,
    /// Samples in a row that did not fit.
    pub unlike: u8,
}

impl Pair {
    /// Two legs that may belong together, with nothing known of it yet.
    #[must_use]
    pub fn new(c: &Trace, u: &Trace) -> Self {
        let mark = c.passed.zip(u.passed).map(|(c, u)| [c, u]);
        Self {
            client: c.cookie,
            anchor: mark,
            last: mark,
            overheads: ANY_OVERHEAD,
            tls: c.tls || u.tls,
            alike: 0,
            sole: 0,
            amounts: 0,
            amount: [0, 0],
            directions: 0,
            sole_past: false,
            unlike: 0,
        }
    }

    /// Nothing else can be meant.
    #[must_use]
    pub fn is_certain(&self) -> bool {
        let needed = if self.tls { SOLE_TLS } else { SOLE };
        let by_amounts = self.sole >= needed && self.amounts >= AMOUNTS && self.directions >= DIRECTIONS;
        by_amounts || self.sole >= SOLE_ALWAYS_THE_SAME
    }

    /// How sure it is.
    #[must_use]
    pub fn confidence(&self) -> Confidence {
        if self.is_certain() {
            return Confidence::Certain;
        }
        // However often they agreed: when something else did too, it stays a guess.
        let likely = self.unlike == 0 && (self.sole > 0 || self.sole_past);
        if likely { Confidence::Likely } else { Confidence::Possible }
    }

    /// Holds the bytes of this sample against each other.
    pub fn compare(&mut self, c: &Trace, u: &Trace) -> Fit {
        let Some(now) = c.passed.zip(u.passed).map(|(c, u)| [c, u]) else { return Fit::Silent };
        let (Some(anchor), Some(last)) = (self.anchor, self.last.replace(now)) else {
            self.anchor = Some(now);
            return Fit::Silent;
        };
        let since = |then: Mark| {
            let grown: Vec<[u64; 2]> =
                (0..2).map(|side| std::array::from_fn(|d| now[side][d].saturating_sub(then[side][d]))).collect();
            bytes_fit(c, grown[0], u, grown[1], self.overheads)
        };
        let (by_anchor, by_last) = (since(anchor), since(last));
        match (by_anchor.0, by_last.0) {
            (Fit::Equal, _) => {
                self.overheads = by_anchor.1;
                Fit::Equal
            }
            (_, Fit::Equal) => {
                self.anchor = Some(last);
                self.overheads = by_last.1;
                Fit::Equal
            }
            (a, b) => a.min(b),
        }
    }

    /// The sample fitted; `sole` when nothing else did.
    pub fn fitted(&mut self, c: &Trace, u: &Trace, sole: bool) {
        self.alike = self.alike.saturating_add(1);
        self.unlike = 0;
        if sole {
            self.sole = self.sole.saturating_add(1);
            if self.amount != u.grown {
                self.amounts = self.amounts.saturating_add(1);
                self.amount = u.grown;
            }
            let directions = (0..2).filter(|d| u.grown[*d] > 0 && c.grown[*d] > 0).count();
            self.directions = self.directions.saturating_add(u8::try_from(directions).unwrap_or(0));
        }
    }
}
