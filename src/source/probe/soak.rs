//! Many tunnels to one endpoint, opened at a bounded rate and held until the end: what each one lives to tell is added up.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::cadence::Redial;
use super::dial::dial;
use super::dice::dice;
use super::hold::{Until, hold};
use super::options::ProbeOptions;
use super::url::WsUrl;
use crate::event::probe::{ClosedBy, Step};
use crate::event::soak::Soak;

/// How many threads of the runtime a soak wants: a ping is so little work that with a second thread, which is woken for every few
/// of them, a third of the processor time goes into waking.
pub const WORKERS: usize = 1;
/// How often the caller is told how it stands.
const LOOK: Duration = Duration::from_millis(250);
/// How often the survival curve gets a point.
const POINT: Duration = Duration::from_secs(1);
/// How late a handshake may be and still be made up for.
const SLACK: Duration = Duration::from_millis(100);
/// How long all tunnels together may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(3);

/// What is held, and for how long.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The endpoint.
    pub url: WsUrl,
    /// How it is dialled and pinged.
    pub options: ProbeOptions,
    /// How many tunnels.
    pub tunnels: u32,
    /// How long they are held, from the end of the ramp on.
    pub duration: Duration,
    /// Handshakes a second while they are opened; at least 1.
    pub ramp: u32,
    /// Tunnels that died are opened again, with growing pauses.
    pub again: bool,
}

/// How a soak stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Tunnels are being opened.
    Ramping,
    /// They are held; time since the end of the ramp.
    Holding(Duration),
}

/// Whose turn it is to dial, and when: one handshake after the other, first ones and later ones alike. A thousand tunnels that
/// die in one moment are opened again no faster than they were opened at first.
#[derive(Debug)]
struct Pace {
    spacing: Duration,
    next: Mutex<Option<Instant>>,
}

impl Pace {
    /// `ramp` handshakes a second.
    fn new(ramp: u32) -> Self {
        Self { spacing: Duration::from_secs(1) / ramp.max(1), next: Mutex::new(None) }
    }

    /// The moment at which whoever asks at `now` may dial. What a timer is late is made up for; what this process slept or was
    /// stopped is not, or all that it missed would come at once.
    fn turn(&self, now: Instant) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let due = next.unwrap_or(now).max(now.checked_sub(SLACK).unwrap_or(now));
        *next = Some(due + self.spacing);
        due
    }
}

/// The sum that all tunnels write to.
type Shared = Arc<Mutex<Soak>>;

fn with<T>(soak: &Shared, act: impl FnOnce(&mut Soak) -> T) -> T {
    // A tunnel that panicked between two counts leaves counts that can be read.
    act(&mut soak.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Plan {
    /// Opens, holds, and closes all tunnels; tells four times a second how it stands. Ends early when `stop` is cancelled, or when
    /// no tunnel lives any more and none is opened again.
    pub async fn run(&self, stop: &CancellationToken, tell: &mut (dyn FnMut(&Soak, Standing) + Send)) -> Soak {
        let soak = Arc::new(Mutex::new(Soak::of(self.tunnels.into())));
        let over = stop.child_token();
        let plan = Arc::new(self.clone());
        let mut lanes = JoinSet::new();
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let pace = Arc::new(Pace::new(self.ramp));
        for _ in 0..self.tunnels {
            let due = pace.turn(Instant::now());
            while !stop.is_cancelled() && Instant::now() < due {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = sleep_until(due) => {}
                    _ = looks.tick() => with(&soak, |s| tell(s, Standing::Ramping)),
                }
            }
            if stop.is_cancelled() {
                break;
            }
            lanes.spawn(lane(Arc::clone(&plan), Arc::clone(&soak), Arc::clone(&pace), over.clone()));
        }
        self.settle(&soak, stop).await;
        self.hold(&soak, stop, &mut looks, tell).await;
        over.cancel();
        let farewell = async { while lanes.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(GOODBYE, farewell).await;
        with(&soak, |s| s.clone())
    }

    /// Waits until the last handshakes have succeeded or failed: they belong to the ramp.
    async fn settle(&self, soak: &Shared, stop: &CancellationToken) {
        let until = Instant::now() + self.options.total_timeout;
        let answered = || with(soak, |s| s.opened + s.failed >= s.asked);
        while !stop.is_cancelled() && !answered() && Instant::now() < until {
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(Duration::from_millis(20)) => {}
            }
        }
    }

    async fn hold(
        &self,
        soak: &Shared,
        stop: &CancellationToken,
        looks: &mut tokio::time::Interval,
        tell: &mut (dyn FnMut(&Soak, Standing) + Send),
    ) {
        let start = Instant::now();
        let end = start + self.duration;
        looks.reset_immediately();
        let mut point = Duration::ZERO;
        loop {
            let over = tokio::select! {
                biased;
                () = stop.cancelled() => true,
                () = sleep_until(end) => true,
                _ = looks.tick() => false,
            };
            let held = start.elapsed().min(self.duration);
            let dead = with(soak, |s| {
                let alive = s.alive;
                let dead = alive == 0 && !self.again;
                if held >= point || over || dead {
                    s.survival.add(held, alive);
                    point = held + POINT.saturating_sub(LOOK / 2);
                }
                tell(s, Standing::Holding(held));
                dead
            });
            if over || dead {
                return;
            }
        }
    }
}

/// One tunnel, and its later lives.
async fn lane(plan: Arc<Plan>, soak: Shared, pace: Arc<Pace>, over: CancellationToken) {
    let mut redial = Redial::default();
    let mut again = false;
    let until = Until { stop: over.clone(), deadline: None };
    loop {
        let mut steps = |step: Step| with(&soak, |s| s.apply(&step, again));
        // Boxed, so that a tunnel that is held does not keep the room that dialling took.
        let dialled = over.run_until_cancelled(Box::pin(dial(&plan.options, &plan.url, &mut steps))).await;
        let held = match dialled {
            None => return,
            Some(Err(_)) => Duration::ZERO,
            Some(Ok(opened)) => {
                let held = hold(opened, &plan.options, &until, &mut steps).await;
                if held.by == ClosedBy::Us {
                    return;
                }
                held.held
            }
        };
        let turn = async {
            sleep(redial.pause(held, dice())).await;
            sleep_until(pace.turn(Instant::now())).await;
        };
        if !plan.again || over.run_until_cancelled(turn).await.is_none() {
            return;
        }
        again = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn turns_keep_their_distance_whoever_asks_and_whenever() {
        let (pace, start) = (Pace::new(100), Instant::now());
        let turns: Vec<Duration> = (0..4).map(|_| pace.turn(start).duration_since(start)).collect();
        assert_eq!(turns, [Duration::ZERO, 10 * MS, 20 * MS, 30 * MS]);
        // Nobody asked for a while: no turns were saved up but those of the last moment.
        let later = start + 60_000 * MS;
        let soon = (0..100).filter(|_| pace.turn(later) <= later).count();
        assert_eq!(soon, 11);
    }

    #[test]
    fn a_late_timer_does_not_slow_the_ramp() {
        let (pace, start) = (Pace::new(10_000), Instant::now());
        // Ten turns fall due in each millisecond of the runtime's timers.
        let mut now = start;
        for _ in 0..10_000 {
            now = now.max(pace.turn(now));
        }
        assert_eq!(now.duration_since(start), 999_900 * MS / 1_000);
    }
}
