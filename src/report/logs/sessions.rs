//! Tunnels that ended, as data: how long they lived, at which ages they pile up, and which died together of what.

use serde::Serialize;

use super::data::Facts;
use super::text::{moment, steady};
use crate::event::tally::Tally;
use crate::event::tally::lifecycle::Cause;
use crate::event::tally::sessions::{Burst, Lifetimes, Spike};
use crate::time::{Timestamp, Zone};

/// Where one band of the lifetime histogram ends and the next begins, in seconds.
const BANDS: [u64; 11] = [1, 5, 10, 30, 60, 120, 300, 600, 3_600, 14_400, 86_400];

/// Tunnels that ended: lines with status 101.
#[derive(Clone, Debug, Serialize)]
pub struct SessionRows {
    /// All of them.
    pub count: u64,
    /// How long they lived.
    pub lifetimes: LifetimeFigures,
    /// Moments at which far more of them ended than around.
    pub bursts: Vec<BurstRow>,
}

/// Sessions that ended together.
#[derive(Clone, Debug, Serialize)]
pub struct BurstRow {
    /// The first second.
    pub at: Timestamp,
    /// How many seconds it took.
    pub seconds: u64,
    /// How many ended in them, at least.
    pub ended: u64,
    /// How many end in as many seconds around them.
    pub usual: f64,
    /// What ended them, in few words; `None`: nothing in these logs explains it.
    pub cause: Option<String>,
    /// The same as data.
    #[serde(skip)]
    pub why: Option<Cause>,
}

/// Lifetimes in seconds; `None` where no line tells one.
#[derive(Clone, Debug, Serialize)]
pub struct LifetimeFigures {
    /// Sessions whose lifetime is known.
    pub known: u64,
    /// Half of them lived no longer.
    pub p50: Option<f64>,
    /// Nine in ten.
    pub p90: Option<f64>,
    /// Ninety-nine in a hundred.
    pub p99: Option<f64>,
    /// The longest.
    pub max: Option<f64>,
    /// Lifetimes at which many sessions ended.
    pub spikes: Vec<Spike>,
    /// Counts of lifetimes in bands; those without any at either end are left out.
    pub histogram: Vec<Band>,
}

/// Sessions that lived at least `from_s` and less than `to_s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Band {
    /// Seconds.
    pub from_s: u64,
    /// Seconds; `None`: without limit.
    pub to_s: Option<u64>,
    /// Sessions.
    pub count: u64,
}

pub(super) fn sessions(tally: &Tally, facts: &Facts) -> SessionRows {
    let sessions = &tally.sessions;
    let lives = &sessions.lifetimes;
    let at = |share| lives.quantile(share).map(|d| d.as_secs_f64());
    SessionRows {
        count: sessions.count,
        lifetimes: LifetimeFigures {
            known: lives.buckets().map(|(_, n)| n).sum(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            max: lives.longest().map(|d| d.as_secs_f64()),
            spikes: sessions.spikes(&facts.timeouts),
            histogram: bands(lives),
        },
        bursts: sessions.bursts(tally.from.zip(tally.to)).iter().map(|b| burst(b, tally, facts)).collect(),
    }
}

fn burst(burst: &Burst, tally: &Tally, facts: &Facts) -> BurstRow {
    let why = tally.lifecycle.cause(burst, &facts.draining);
    let clock = |at| format!("{}Z", moment(at, Zone::UTC).replace(' ', "T"));
    BurstRow {
        at: burst.at,
        seconds: burst.seconds,
        ended: burst.ended,
        usual: (burst.usual * 1_000.0).round() / 1_000.0,
        cause: why.as_ref().map(|why| cause(why, clock)),
        why,
    }
}

/// What ended sessions together, with times as `clock` shows them.
pub(super) fn cause(why: &Cause, clock: impl Fn(Timestamp) -> String) -> String {
    match why {
        Cause::Crash { worker, signal } => format!("worker {worker} exited on signal {signal}"),
        Cause::Drained { reload, began, after, configured } => {
            let what = match reload {
                Some(at) => format!("reload {}", clock(*at)),
                None => format!("workers told to go at {}", clock(*began)),
            };
            match configured {
                Some(place) => format!("{what}, worker_shutdown_timeout {} ({place})", steady(*after)),
                None => format!("{what}, its old workers exited {} later", steady(*after)),
            }
        }
    }
}

fn bands(lives: &Lifetimes) -> Vec<Band> {
    let starts = std::iter::once(0).chain(BANDS);
    let ends = BANDS.into_iter().map(Some).chain(std::iter::once(None));
    let mut bands: Vec<Band> = starts.zip(ends).map(|(from_s, to_s)| Band { from_s, to_s, count: 0 }).collect();
    for (lived, n) in lives.buckets() {
        let place = BANDS.iter().filter(|end| lived.as_secs() >= **end).count();
        if let Some(band) = bands.get_mut(place) {
            band.count += n;
        }
    }
    let filled = |b: &Band| b.count > 0;
    let (first, last) = (bands.iter().position(filled), bands.iter().rposition(filled));
    let kept = first.zip(last).and_then(|(first, last)| bands.get(first..=last));
    kept.unwrap_or_default().to_vec()
}
