//! An experiment: how long does the path let a silent tunnel live?
//!
//! Several tunnels are opened at once. Each keeps silent for its own time and then asks by a ping whether it is still
//! alive: a cut that is told (FIN, RST, close frame) gives the limit itself, one that is not told lies between the longest
//! silence outlived and the shortest one not, and is closed in on by further rounds. Three more tunnels are not silent, and
//! so tell which silence it is that kills.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::dial::dial;
use super::framed::{Ended, Framed};
use super::frames::{Heard, code, opcode};
use super::hold::classify;
use super::options::ProbeOptions;
use super::url::WsUrl;
use crate::event::probe::{ClosedBy, Step};
use crate::event::silence::{Cut, Fate, Limit, Manner, Trial};

/// Silences that the first round tries, in seconds: each a little below a timeout that people meet.
const RUNGS: [u64; 22] =
    [2, 5, 10, 20, 29, 45, 57, 72, 95, 115, 170, 230, 260, 290, 340, 400, 500, 590, 890, 1_790, 3_500, 7_000];
/// From one handshake to the next: the experiment is no flood.
const STAGGER: Duration = Duration::from_millis(100);
/// How often tunnels speak that are not silent.
const BEAT: Duration = Duration::from_secs(1);
/// Tunnels of a further round.
const CLOSER: u32 = 4;
/// How long writing a close frame may take.
const GOODBYE: Duration = Duration::from_millis(200);
/// Tunnels that keep silent for the whole time.
const WATCHERS: usize = 2;

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// The endpoint.
    pub url: WsUrl,
    /// How it is dialled; `ping_timeout` is how long an answer to a ping may take.
    pub options: ProbeOptions,
    /// The longest silence tried, and the end of the whole experiment.
    pub max: Duration,
    /// A message that makes the server speak of its own accord.
    pub wake: Option<String>,
    /// Hears the steps of the busy tunnel's handshake, from which follows where the path leads.
    pub steps: mpsc::UnboundedSender<Step>,
}

/// How far the experiment is.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// What became of tunnels so far.
    pub trials: &'a [Trial],
    /// Tunnels that are still out.
    pub out: usize,
    /// Since the beginning.
    pub elapsed: Duration,
    /// 1 in the first round.
    pub round: u32,
}

/// The widest gap that is close enough: a second, or a fiftieth of the limit.
fn close_enough(limit: &Limit) -> bool {
    let tolerance = limit.died.map_or(Duration::ZERO, |d| d / 50).max(Duration::from_secs(1));
    limit.gap().is_none_or(|gap| gap <= tolerance)
}

impl Experiment {
    /// Measures until the limit is known, the time is over or `stop` is cancelled; says about once a second how far it is.
    /// Gives what became of every tunnel.
    pub async fn run(&self, stop: &CancellationToken, tell: &mut (dyn FnMut(Standing<'_>) + Send)) -> Vec<Trial> {
        let started = Instant::now();
        let mut lab = Lab {
            of: Arc::new(self.clone()),
            out: JoinSet::new(),
            silent_out: Vec::new(),
            opened: 0,
            trials: Vec::new(),
            started,
        };
        let all = stop.child_token();
        for manner in [Manner::Busy, Manner::ClientSpeaks, Manner::ServerSpeaks] {
            if manner != Manner::ServerSpeaks || self.wake.is_some() {
                lab.open(manner, self.max, &all);
            }
        }
        let mut rungs = first_rungs(self.max);
        for round in 1.. {
            let silent = all.child_token();
            for rung in rungs {
                lab.open(Manner::Silent, rung, &silent);
            }
            lab.wait(round, &all, &silent, tell).await;
            rungs = self.closer(&Limit::of(&lab.trials), started.elapsed());
            if rungs.is_empty() || stop.is_cancelled() {
                break;
            }
        }
        all.cancel();
        lab.gather().await;
        lab.trials
    }

    /// The silences of the next round; none when the limit is known well enough or no time is left to know it better.
    fn closer(&self, limit: &Limit, elapsed: Duration) -> Vec<Duration> {
        let (Some(died), Some(Cut::Dropped)) = (limit.died, limit.how) else { return Vec::new() };
        if close_enough(limit) || elapsed + died > self.max {
            return Vec::new();
        }
        let floor = limit.survived.unwrap_or_default();
        (1..=CLOSER).map(|k| floor + died.abs_diff(floor) * k / (CLOSER + 1)).collect()
    }
}

fn first_rungs(max: Duration) -> Vec<Duration> {
    let rungs = RUNGS.iter().map(|s| Duration::from_secs(*s)).filter(|r| *r + Duration::from_secs(1) < max);
    rungs.chain(std::iter::repeat_n(max, WATCHERS)).collect()
}

/// The tunnels that are out and what became of the others.
struct Lab {
    of: Arc<Experiment>,
    out: JoinSet<(Duration, Trial)>,
    /// The silences that the silent ones among them are to keep.
    silent_out: Vec<Duration>,
    opened: u32,
    trials: Vec<Trial>,
    started: Instant,
}

impl Lab {
    fn open(&mut self, manner: Manner, silence: Duration, stop: &CancellationToken) {
        let of = Arc::clone(&self.of);
        let stop = stop.clone();
        let after = STAGGER * u32::try_from(self.out.len()).unwrap_or(u32::MAX);
        self.opened += 1;
        if manner == Manner::Silent {
            self.silent_out.push(silence);
        }
        self.out.spawn(async move {
            sleep(after).await;
            (silence, lane(&of, manner, silence, &stop).await)
        });
    }

    /// Waits until this round's silent tunnels have told what they can, and the others beside them.
    async fn wait(
        &mut self,
        round: u32,
        all: &CancellationToken,
        silent: &CancellationToken,
        tell: &mut (dyn FnMut(Standing<'_>) + Send),
    ) {
        let over = self.started + self.of.max + self.of.options.ping_timeout + STAGGER * self.opened;
        let mut until = over;
        loop {
            tell(Standing { trials: &self.trials, out: self.out.len(), elapsed: self.started.elapsed(), round });
            let tick = (Instant::now() + BEAT).min(until);
            tokio::select! {
                biased;
                () = all.cancelled() => return,
                trial = self.out.join_next() => match trial {
                    Some(trial) => self.take(trial),
                    None => return,
                },
                () = sleep_until(tick) => {}
            }
            if let Some(seen) = self.settled() {
                until = seen.min(over);
            }
            if Instant::now() >= until || self.is_round_over() {
                silent.cancel();
                return;
            }
        }
    }

    /// When everything will have been seen that a limit known by now leaves to see: the tunnels that are not silent must be
    /// watched beyond it.
    fn settled(&self) -> Option<Instant> {
        let limit = Limit::of(&self.trials);
        let told = self.trials.iter().filter(|t| t.manner == Manner::Silent && is_told(&t.fate)).count();
        let estimate = limit.estimate.filter(|_| limit.how != Some(Cut::Dropped) && told >= WATCHERS)?;
        let beyond = estimate + (estimate / 25).max(Duration::from_secs(2));
        Some(self.started + beyond + STAGGER * self.opened)
    }

    /// Nothing that is still out can bring the limit nearer: one was dropped, and all that kept silent for less have told
    /// their fate; or all have.
    fn is_round_over(&self) -> bool {
        let limit = Limit::of(&self.trials);
        match (limit.died, limit.how) {
            (Some(died), Some(Cut::Dropped)) => self.silent_out.iter().all(|silence| *silence >= died),
            // The others are watched a little longer.
            (Some(_), _) => false,
            (None, _) => self.silent_out.is_empty(),
        }
    }

    async fn gather(&mut self) {
        while let Some(trial) = self.out.join_next().await {
            self.take(trial);
        }
    }

    /// A lane that panicked tells nothing.
    fn take(&mut self, ended: Result<(Duration, Trial), JoinError>) {
        let Ok((silence, trial)) = ended else { return };
        if trial.manner == Manner::Silent
            && let Some(at) = self.silent_out.iter().position(|s| *s == silence)
        {
            self.silent_out.swap_remove(at);
        }
        self.trials.push(trial);
    }
}

fn is_told(fate: &Fate) -> bool {
    matches!(fate, Fate::Cut { how, .. } if *how != Cut::Dropped)
}

/// One tunnel from its handshake to its fate.
async fn lane(of: &Experiment, manner: Manner, silence: Duration, stop: &CancellationToken) -> Trial {
    let mut steps = |step| {
        if manner == Manner::Busy {
            // Nobody listening is no failure of the experiment.
            let _ = of.steps.send(step);
        }
    };
    let opened = stop.run_until_cancelled(dial(&of.options, &of.url, &mut steps)).await;
    let none = |fate| Trial { manner, fate, silent: Duration::ZERO, age: Duration::ZERO, heard: 0 };
    match opened {
        None => none(Fate::Unfinished),
        Some(Err(failure)) => none(Fate::Unopened { said: failure.said }),
        Some(Ok(opened)) => {
            let at = opened.at;
            let socket = Framed::new(opened, false);
            let mut lane = Lane { socket, manner, at, asked: None, beat: at + BEAT, heard: 0 };
            if let Some(wake) = of.wake.as_ref().filter(|_| manner == Manner::ServerSpeaks) {
                lane.socket.say(opcode::TEXT, wake.as_bytes());
            }
            lane.live(silence, of.options.ping_timeout, stop).await
        }
    }
}

struct Lane {
    socket: Framed,
    manner: Manner,
    at: Instant,
    /// When the ping after the silence was sent, and how long the silence was.
    asked: Option<(Instant, Duration)>,
    beat: Instant,
    heard: u32,
}

/// The ping that asks whether a tunnel still lives.
const QUESTION: &[u8] = b"wspulse still there";

impl Lane {
    async fn live(mut self, silence: Duration, patience: Duration, stop: &CancellationToken) -> Trial {
        loop {
            let due = match self.asked {
                Some((at, _)) => at + patience,
                None => self.silent_since() + silence,
            };
            let speaks = self.manner == Manner::Busy || self.manner == Manner::ClientSpeaks;
            let wake = if speaks { due.min(self.beat) } else { due };
            tokio::select! {
                biased;
                read = self.socket.next() => if let Some(fate) = self.on_read(read) { return self.end(fate).await },
                () = stop.cancelled() => {
                    let silent = self.silent();
                    return self.end((Fate::Unfinished, silent)).await;
                }
                () = sleep_until(wake) => {}
            }
            let now = Instant::now();
            if let Some((at, silent)) = self.asked.filter(|(at, _)| *at + patience <= now) {
                let reason = format!("no answer to a ping within {}", crate::human::latency(now - at));
                return self.end((Fate::Cut { how: Cut::Dropped, code: None, reason }, silent)).await;
            }
            if self.asked.is_none() && self.silent_since() + silence <= now {
                self.asked = Some((now, now.saturating_duration_since(self.silent_since())));
                self.socket.say(opcode::PING, QUESTION);
            } else if speaks && self.beat <= now {
                self.beat = now + BEAT;
                let pong = self.manner == Manner::ClientSpeaks;
                self.socket.say(if pong { opcode::PONG } else { opcode::PING }, b"");
            }
        }
    }

    fn silent_since(&self) -> Instant {
        match self.manner {
            Manner::Silent => self.socket.last_byte().max(self.at),
            Manner::ClientSpeaks | Manner::ServerSpeaks | Manner::Busy => self.at,
        }
    }

    fn silent(&self) -> Duration {
        Instant::now().saturating_duration_since(self.silent_since())
    }

    /// The fate that a message or an end seals, and the silence before it.
    fn on_read(&mut self, read: Result<Option<Heard>, Ended>) -> Option<(Fate, Duration)> {
        let silence = self.asked.map_or_else(|| self.silent(), |(_, silent)| silent);
        let cut = |how, code, reason| Some((Fate::Cut { how, code, reason }, silence));
        match read {
            Ok(Some(Heard::Pong(payload))) if self.asked.is_some() && payload == QUESTION => {
                Some((Fate::Alive, silence))
            }
            Ok(Some(Heard::Close(frame))) => {
                // The close frame itself does not break the silence that caused it.
                let before = self.socket.byte_before().max(self.at);
                let quiet = Instant::now().saturating_duration_since(before);
                let silent = if self.manner == Manner::Silent && self.asked.is_none() { quiet } else { silence };
                let (code, reason) = frame.map_or((None, String::new()), |(code, reason)| (Some(code), reason));
                Some((Fate::Cut { how: Cut::Close, code, reason }, silent))
            }
            Ok(None) => None,
            Ok(Some(heard)) => {
                self.heard += u32::from(!matches!(heard, Heard::Pong(_)));
                None
            }
            Err(e) => match classify(&e) {
                (ClosedBy::Fin, reason) => cut(Cut::Fin, None, reason),
                // The path had forgotten the tunnel: it took our ping to find out.
                (_, reason) if self.asked.is_some() => cut(Cut::Dropped, None, reason),
                (_, reason) => cut(Cut::Rst, None, reason),
            },
        }
    }

    /// Says goodbye where there is somebody to say it to, without waiting for an answer.
    async fn end(mut self, (fate, silent): (Fate, Duration)) -> Trial {
        let age = Instant::now().saturating_duration_since(self.at);
        if matches!(fate, Fate::Alive | Fate::Unfinished | Fate::Cut { how: Cut::Close, .. }) {
            self.socket.close(Some(code::NORMAL));
            let _ = timeout(GOODBYE, self.socket.flush()).await;
        }
        Trial { manner: self.manner, fate, silent, age, heard: self.heard }
    }
}
