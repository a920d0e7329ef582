//! How long a path lets a silent tunnel live: what each tunnel of such an experiment came to, and what follows from all.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a tunnel of the experiment does while it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Manner {
    /// Nothing at all, then one ping.
    Silent,
    /// Only the client speaks, by pongs that nobody asked for and nobody answers (RFC 6455 section 5.5.3).
    ClientSpeaks,
    /// Only the server speaks, after a message that made it.
    ServerSpeaks,
    /// Pings and pongs: when this one ends like the others, silence was not the reason.
    Busy,
}

/// How a tunnel ended without our doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cut {
    /// FIN without a close frame: nginx.
    Fin,
    /// RST.
    Rst,
    /// A close frame of the server.
    Close,
    /// Nothing was said: the ping after the silence was answered by no one. Middleboxes that forget do this.
    Dropped,
}

impl Cut {
    /// The word in `how_it_ended`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Fin => "fin",
            Self::Rst => "rst",
            Self::Close => "close",
            Self::Dropped => "dropped",
        }
    }
}

/// What became of one tunnel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fate", rename_all = "kebab-case")]
pub enum Fate {
    /// It answered a ping after the silence that it was to keep.
    Alive,
    /// It ended.
    Cut {
        /// How.
        how: Cut,
        /// The code of the close frame (RFC 6455 section 7.4).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<u16>,
        /// The reason in the close frame, or the error's text.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// It never opened.
    Unopened {
        /// Why, in one sentence.
        said: String,
    },
    /// It was open when the experiment was over.
    Unfinished,
}

/// One tunnel of the experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// What it did.
    pub manner: Manner,
    /// What became of it.
    #[serde(flatten)]
    pub fate: Fate,
    /// How long it had been without data of the kind that its manner spares, when its fate was sealed: from the last byte
    /// in any direction for a silent one, from its opening for the others.
    #[serde(with = "crate::time::seconds")]
    pub silent: Duration,
    /// How old it was then.
    #[serde(with = "crate::time::seconds")]
    pub age: Duration,
    /// Frames that the server sent of its own accord meanwhile.
    #[serde(default)]
    pub heard: u32,
}

/// What the silent tunnels say together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// The longest silence that a tunnel is known to have outlived.
    pub survived: Option<Duration>,
    /// The shortest silence that a tunnel is known not to have outlived.
    pub died: Option<Duration>,
    /// The limit itself; `None` while no tunnel died of silence.
    pub estimate: Option<Duration>,
    /// How far off the estimate may be, either way.
    pub error: Option<Duration>,
    /// How the tunnels ended.
    pub how: Option<Cut>,
}

/// What a tunnel that was not silent says about the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It lived on where the silent ones died.
    Spared,
    /// It died like them.
    DiedToo,
}

/// A cut that is seen when it happens is timed to this.
const RESOLUTION: Duration = Duration::from_millis(50);

/// Silences within this of each other are one: a hundredth, and a second for timers that are looked at once a second.
fn near(a: Duration, b: Duration) -> bool {
    a.abs_diff(b) <= Duration::from_secs(1).max(a.max(b) / 50)
}

impl Limit {
    /// Reads the silent tunnels among `trials`.
    ///
    /// Where tunnels were cut with a word (FIN, RST, close frame) the moment is known, and most of them must agree: a
    /// tunnel that ended alone and early ended of something else. Where they were dropped without a word the limit lies
    /// between the longest silence outlived and the shortest one not.
    #[must_use]
    pub fn of(trials: &[Trial]) -> Self {
        let silent = || trials.iter().filter(|t| t.manner == Manner::Silent);
        let seen = agreeing(silent().filter_map(|t| match t.fate {
            Fate::Cut { how, .. } if how != Cut::Dropped => Some((t.silent, how)),
            _ => None,
        }));
        let dropped =
            silent().filter(|t| matches!(t.fate, Fate::Cut { how: Cut::Dropped, .. })).map(|t| t.silent).min();
        let outlived = |below: Option<Duration>| {
            // One that was still open at the end has not shown that it still worked.
            let lived = silent().filter(|t| t.fate == Fate::Alive).map(|t| t.silent);
            lived.filter(|s| below.is_none_or(|b| *s < b)).max()
        };
        match (seen, dropped) {
            (Some((low, high, how)), dropped) if dropped.is_none_or(|d| high < d || near(high, d)) => Self {
                survived: outlived(Some(low)),
                died: Some(low),
                estimate: Some(low + low.abs_diff(high) / 2),
                error: Some((low.abs_diff(high) / 2).max(RESOLUTION)),
                how: Some(how),
            },
            (_, Some(died)) => {
                let survived = outlived(Some(died));
                let floor = survived.unwrap_or_default();
                let half = died.abs_diff(floor) / 2;
                Self {
                    survived,
                    died: Some(died),
                    estimate: Some(floor + half),
                    error: Some(half),
                    how: Some(Cut::Dropped),
                }
            }
            _ => Self { survived: outlived(None), ..Self::default() },
        }
    }

    /// How wide the gap is in which the limit lies; `None` while there is none.
    #[must_use]
    pub fn gap(&self) -> Option<Duration> {
        self.error.map(|e| e * 2)
    }

    /// What a tunnel of another manner says: did it outlive the limit, or die at it? `None` when it tells neither.
    #[must_use]
    pub fn judge(&self, trials: &[Trial], manner: Manner) -> Option<Verdict> {
        let estimate = self.estimate?;
        let mut of_manner = trials.iter().filter(|t| t.manner == manner);
        of_manner.find_map(|t| match &t.fate {
            Fate::Cut { .. } if near(t.silent, estimate) => Some(Verdict::DiedToo),
            _ if t.silent > estimate && !near(t.silent, estimate) => Some(Verdict::Spared),
            _ => None,
        })
    }
}

/// The largest group of silences that are near each other: its least, its greatest and how it ended. `None` without any,
/// and where several ended and no two agree.
fn agreeing(cuts: impl Iterator<Item = (Duration, Cut)>) -> Option<(Duration, Duration, Cut)> {
    let mut all: Vec<(Duration, Cut)> = cuts.collect();
    all.sort();
    let mut best: Option<&[(Duration, Cut)]> = None;
    for (start, (low, _)) in all.iter().enumerate() {
        let rest = all.get(start..).unwrap_or_default();
        let len = rest.iter().take_while(|(s, _)| near(*low, *s)).count();
        let group = rest.get(..len).unwrap_or_default();
        if best.is_none_or(|b| b.len() < group.len()) {
            best = Some(group);
        }
    }
    let group = best.filter(|g| g.len() > 1 || all.len() == 1)?;
    let ((low, how), (high, _)) = (group.first()?, group.last()?);
    Some((*low, *high, *how))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(s: f64) -> Duration {
        Duration::from_secs_f64(s)
    }

    fn trial(manner: Manner, silent: f64, fate: Fate) -> Trial {
        Trial { manner, fate, silent: secs(silent), age: secs(silent), heard: 0 }
    }

    fn silent(at: f64, fate: Fate) -> Trial {
        trial(Manner::Silent, at, fate)
    }

    fn cut(how: Cut) -> Fate {
        Fate::Cut { how, code: None, reason: String::new() }
    }

    #[test]
    fn cuts_that_are_seen_give_the_limit_itself() {
        let trials = [
            silent(57.0, Fate::Alive),
            silent(60.0, cut(Cut::Fin)),
            silent(60.2, cut(Cut::Fin)),
            silent(3.0, cut(Cut::Rst)),
            silent(60.1, cut(Cut::Fin)),
        ];
        let limit = Limit::of(&trials);
        assert_eq!(limit.survived, Some(secs(57.0)));
        assert_eq!(limit.died, Some(secs(60.0)));
        assert_eq!(limit.estimate, Some(secs(60.1)));
        assert_eq!(limit.error, Some(secs(0.1)));
        assert_eq!(limit.how, Some(Cut::Fin), "the one that ended at 3 s ended alone");
    }

    #[test]
    fn drops_without_a_word_give_a_bracket() {
        let trials = [
            silent(230.0, Fate::Alive),
            silent(290.0, Fate::Alive),
            silent(340.0, cut(Cut::Dropped)),
            silent(360.0, cut(Cut::Dropped)),
        ];
        let limit = Limit::of(&trials);
        assert_eq!((limit.survived, limit.died), (Some(secs(290.0)), Some(secs(340.0))));
        assert_eq!((limit.estimate, limit.error), (Some(secs(315.0)), Some(secs(25.0))));
        assert_eq!(limit.how, Some(Cut::Dropped));
    }

    #[test]
    fn nothing_that_died_is_no_limit() {
        let limit = Limit::of(&[silent(57.0, Fate::Alive), silent(600.0, Fate::Unfinished)]);
        assert_eq!(limit, Limit { survived: Some(secs(57.0)), ..Limit::default() });
        assert_eq!(Limit::of(&[]), Limit::default());
    }

    #[test]
    fn deaths_that_do_not_agree_are_no_limit() {
        let limit = Limit::of(&[silent(7.0, cut(Cut::Fin)), silent(31.0, cut(Cut::Fin)), silent(90.0, Fate::Alive)]);
        assert_eq!(limit.estimate, None);
        assert_eq!(limit.survived, Some(secs(90.0)));
    }

    #[test]
    fn the_others_are_judged_against_the_limit() {
        let trials = [
            silent(60.0, cut(Cut::Fin)),
            silent(60.0, cut(Cut::Fin)),
            trial(Manner::ClientSpeaks, 72.0, Fate::Unfinished),
            trial(Manner::Busy, 60.1, cut(Cut::Fin)),
            trial(Manner::ServerSpeaks, 40.0, Fate::Unfinished),
        ];
        let limit = Limit::of(&trials);
        assert_eq!(limit.judge(&trials, Manner::ClientSpeaks), Some(Verdict::Spared));
        assert_eq!(limit.judge(&trials, Manner::Busy), Some(Verdict::DiedToo));
        assert_eq!(limit.judge(&trials, Manner::ServerSpeaks), None, "it was not watched long enough");
    }
}
