//! What tunnels to one endpoint tell that are held side by side at different paces: which silence the path cuts.

use std::time::Duration;

use super::probes::{Closed, Outcome, Probe, ProbeState};
use crate::event::probe::{Cadence, ClosedBy};
use crate::time::Timestamp;

/// Silences are alike when they differ by no more than this, or by a fiftieth. nginx's timers may fire up to a second late on
/// a busy worker, and 300 ms early (event/ngx_event_timer.h).
const ALIKE: Duration = Duration::from_millis(700);
/// One death is an accident; as many at the same silence are a timer.
const AGREE: u64 = 2;

/// A timer of silence that sits somewhere on the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleTimer {
    /// The silence after which tunnels died: their median.
    pub after: Duration,
    /// How many died so.
    pub deaths: u64,
    /// The slowest pace that keeps a tunnel alive,
    pub survivor: Cadence,
    /// and for how long it did.
    pub survived: Duration,
}

/// How one pace fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fare {
    /// Tunnels that ended, not by us.
    pub deaths: u64,
    /// The silences before they ended, the shortest and the longest; `None` without a death.
    pub silences: Option<(Duration, Duration)>,
    /// The longest time that a tunnel was or is open.
    pub longest: Duration,
}

/// What the tunnels that go straight to the backend tell of a silence that the way through the proxy does not survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twin {
    /// They die of the same silence.
    DiesToo,
    /// One outlives it: so long it has been silent on our side, and is open.
    Lives(Duration),
}

/// What the direct tunnels `paced` say of the silence `after`; `None` while they say nothing.
#[must_use]
pub fn twin(paced: &[(Cadence, &Probe)], after: Duration, now: Timestamp) -> Option<Twin> {
    let slack = slack(after);
    let alike = |c: &Closed| c.idle.abs_diff(after) <= slack && c.by != ClosedBy::PongTimeout;
    if paced.iter().flat_map(|(_, probe)| deaths(probe)).any(alike) {
        return Some(Twin::DiesToo);
    }
    let quiet = paced.iter().filter(|(cadence, _)| cadence.pause().is_none_or(|pause| pause > after + slack));
    let open = quiet.filter(|(_, probe)| matches!(probe.state, ProbeState::Open(_)));
    let held = open.filter_map(|(_, probe)| probe.held(now)).filter(|held| *held > after + slack);
    held.max().map(Twin::Lives)
}

/// How far two silences may differ that one timer ends.
fn slack(after: Duration) -> Duration {
    ALIKE.max(after / 50)
}

/// The deaths that are still kept, oldest first.
fn deaths(probe: &Probe) -> impl Iterator<Item = &Closed> {
    probe.history.iter().filter_map(|(_, o)| match o {
        Outcome::Closed(c) if c.by != ClosedBy::Us => Some(c),
        _ => None,
    })
}

/// How a pace fares at `now`.
#[must_use]
pub fn fare(probe: &Probe, now: Timestamp) -> Fare {
    let mut fare = Fare { longest: probe.held(now).unwrap_or_default(), ..Fare::default() };
    for (_, outcome) in &probe.history {
        if let Outcome::Closed(c) = outcome {
            fare.longest = fare.longest.max(c.held);
        }
    }
    for c in deaths(probe) {
        fare.deaths += 1;
        let (low, high) = fare.silences.unwrap_or((c.idle, c.idle));
        fare.silences = Some((low.min(c.idle), high.max(c.idle)));
    }
    fare
}

/// The timer that explains which of the paces die and which live; `None` while nothing is proven: too few deaths, deaths at
/// different silences, or no faster pace that outlives the silence.
#[must_use]
pub fn idle_timer(paced: &[(Cadence, &Probe)], now: Timestamp) -> Option<IdleTimer> {
    // A path that forgets without a word is no timer that can be timed here: `idle-timeout` does that.
    let cut = |c: &&Closed| matches!(c.by, ClosedBy::Fin | ClosedBy::Reset | ClosedBy::ServerClose);
    let pause = |cadence: Cadence| cadence.pause().unwrap_or(Duration::MAX);
    // Only a silence that its own pings did not break tells of a timer.
    let silences = paced.iter().flat_map(|(cadence, probe)| {
        let whole = move |c: &&Closed| c.idle.saturating_mul(5) >= c.held.min(pause(*cadence)).saturating_mul(4);
        deaths(probe).filter(cut).filter(whole).map(|c| c.idle)
    });
    let mut silences: Vec<Duration> = silences.collect();
    silences.sort_unstable();
    let after = *silences.get(silences.len() / 2)?;
    let slack = slack(after);
    let alike = silences.iter().filter(|s| s.abs_diff(after) <= slack).count() as u64;
    if alike < AGREE || alike * 5 < silences.len() as u64 * 4 {
        return None;
    }
    let survivors = paced.iter().filter(|(cadence, _)| pause(*cadence).saturating_add(slack) < after);
    let outlives = survivors.filter_map(|(cadence, probe)| {
        let open = probe.held(now).filter(|held| *held > after + slack)?;
        let cut_too = deaths(probe).any(|c| c.idle.abs_diff(after) <= slack || c.held.abs_diff(after) <= slack);
        (!cut_too && matches!(probe.state, ProbeState::Open(_))).then_some((*cadence, open))
    });
    let (survivor, survived) = outlives.max_by_key(|(cadence, _)| pause(*cadence))?;
    Some(IdleTimer { after, deaths: alike, survivor, survived })
}

#[cfg(test)]
mod tests {
    use super::super::probes::Probes;
    use super::*;
    use crate::event::probe::{Answer, ProbeEvent, Route, Step, TargetId};

    fn secs(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    fn at(s: u64) -> Timestamp {
        Timestamp::from_secs(1_000_000 + i64::try_from(s).expect("small"))
    }

    /// A probe whose tunnels lived so long, each with so much silence at its end, and that is open since then.
    fn lives(all: &[(u64, u64)]) -> Probe {
        let url: std::sync::Arc<str> = "ws://h/ws".into();
        let target = TargetId { endpoint: url.clone(), route: Route::Proxy, url, cadence: None };
        let mut probes = Probes::default();
        let mut tell = |s, step: &Step| {
            probes.apply(at(s), &ProbeEvent { target: target.clone(), step: step.clone() });
        };
        let mut now = 0;
        let opened = Step::Upgraded { took: secs(0), request: String::new(), answer: Answer::default() };
        tell(0, &opened);
        for (held, idle) in all {
            now += held;
            let (held, idle) = (secs(*held), secs(*idle));
            let end = Step::Closed { by: ClosedBy::Fin, code: None, reason: String::new(), held, idle };
            tell(now, &end);
            tell(now, &opened);
        }
        probes.by_target.into_values().next().expect("told of")
    }

    fn timer(paced: &[(Cadence, Probe)], now: u64) -> Option<(u64, u64, Cadence, u64)> {
        let paced: Vec<(Cadence, &Probe)> = paced.iter().map(|(c, p)| (*c, p)).collect();
        let t = idle_timer(&paced, at(now))?;
        Some((t.after.as_secs(), t.deaths, t.survivor, t.survived.as_secs()))
    }

    const SILENT: Cadence = Cadence::Silent;
    const TEN: Cadence = Cadence::Every(Duration::from_secs(10));
    const FIFTY: Cadence = Cadence::Every(Duration::from_secs(50));
    const NINETY: Cadence = Cadence::Every(Duration::from_secs(90));

    #[test]
    fn silence_dies_and_a_heartbeat_lives() {
        let paced = [(SILENT, lives(&[(60, 60), (60, 60)])), (TEN, lives(&[])), (FIFTY, lives(&[]))];
        assert_eq!(timer(&paced, 130), Some((60, 2, FIFTY, 130)), "the slowest that lives is named");
        let slow = [(SILENT, lives(&[(60, 60)])), (NINETY, lives(&[(60, 60)])), (TEN, lives(&[]))];
        assert_eq!(timer(&slow, 70), Some((60, 2, TEN, 70)), "a heartbeat that is too slow dies like silence");
    }

    #[test]
    fn nothing_is_said_before_it_is_proven() {
        let one = [(SILENT, lives(&[(60, 60)])), (TEN, lives(&[]))];
        assert_eq!(timer(&one, 100), None, "one death may be an accident");
        let no_survivor = [(SILENT, lives(&[(60, 60), (60, 60)])), (NINETY, lives(&[(60, 60)]))];
        assert_eq!(timer(&no_survivor, 190), None, "perhaps everything dies at that age");
        let age = [(SILENT, lives(&[(60, 60), (60, 60)])), (TEN, lives(&[(60, 10), (60, 10)]))];
        assert_eq!(timer(&age, 190), None, "the busy one dies at the same age: no timer of silence");
        let scattered = [(SILENT, lives(&[(13, 13), (60, 60), (200, 200)])), (TEN, lives(&[]))];
        assert_eq!(timer(&scattered, 400), None);
        let spoken_to = [(SILENT, lives(&[(60, 2), (60, 2)])), (TEN, lives(&[]))];
        assert_eq!(timer(&spoken_to, 400), None, "the server spoke shortly before: it was not silent");
        assert_eq!(timer(&[], 400), None);
    }

    #[test]
    fn how_a_pace_fares() {
        let now = at(150);
        assert_eq!(
            fare(&lives(&[(60, 60), (61, 61)]), now),
            Fare { deaths: 2, silences: Some((secs(60), secs(61))), longest: secs(61) }
        );
        assert_eq!(fare(&lives(&[]), now), Fare { longest: secs(150), ..Fare::default() });
    }
}
