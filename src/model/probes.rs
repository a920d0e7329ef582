//! The life of every heartbeat probe: what it does now, how fast each phase was, its pongs and its deaths.

mod phases;
mod turns;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::event::probe::{Answer, Cadence, ClosedBy, Failure, Phase, ProbeEvent, Route, Step, Strays, TargetId, Tls};
use crate::time::Timestamp;

pub use phases::{Phases, Uptime};
pub use turns::{Turn, Turns};

use super::marks::{Mark, MarkKind};
use super::stats::new_histogram;

/// Round-trip times kept for the sparkline.
const RECENT_RTTS: usize = 64;
/// Connects and deaths kept.
const HISTORY: usize = 64;
/// Addresses kept of those that were tried in vain.
const TRIED: usize = 16;
/// Round-trip times are kept from one microsecond to one minute.
const LONGEST_RTT_US: u64 = 60_000_000;

/// All probes, by target.
#[derive(Clone, Debug, Default)]
pub struct Probes {
    /// Proxy before direct for the same endpoint, as `TargetId` orders them.
    pub by_target: BTreeMap<TargetId, Probe>,
}

/// One probe.
#[derive(Clone, Debug)]
pub struct Probe {
    /// What it does now.
    pub state: ProbeState,
    /// How long each phase of the latest attempt took.
    pub phases: Phases,
    /// The same of the attempt before.
    pub phases_before: Phases,
    /// The first attempt since it was switched on.
    pub since: Option<Timestamp>,
    /// Attempts begun.
    pub attempts: u64,
    /// Attempts that reached a valid 101.
    pub opened: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Attempts failed since the last one that worked.
    pub failed_in_a_row: u64,
    /// Pings sent, and what became of them.
    pub pings: u64,
    /// Pongs received.
    pub pongs: u64,
    /// Pings without a pong.
    pub missed: u64,
    /// When the latest ping of this tunnel was sent.
    pub last_ping: Option<Timestamp>,
    /// Between its latest two pings.
    pub ping_period: Option<Duration>,
    /// Texts of the message heartbeat.
    pub questions: u64,
    /// Those that were answered.
    pub answers: u64,
    /// Those that were not, in time.
    pub unanswered: u64,
    /// How long the latest answer took.
    pub answer_time: Option<Duration>,
    /// The latest round-trip time.
    pub rtt: Option<Duration>,
    /// How much a round-trip time differs from the one before it in the same tunnel: smoothed as RFC 3550 section 6.4.1 does
    /// with transit times, `J += (|D| - J) / 16`. `None` before the second pong.
    pub jitter: Option<Duration>,
    /// Pongs that answered no ping.
    pub strays: Strays,
    /// The part of them that this tunnel has told of.
    strays_told: Strays,
    /// The round-trip time before, of this tunnel.
    rtt_before: Option<Duration>,
    /// All round-trip times in microseconds.
    pub rtts: Histogram<u64>,
    /// The newest round-trip times, oldest first; `None` is a missed pong.
    pub recent: VecDeque<Option<Duration>>,
    /// The TLS session or what was seen of it.
    pub tls: Option<Tls>,
    /// The request of the latest attempt, secrets redacted.
    pub request: String,
    /// The answer of the latest attempt.
    pub answer: Option<Answer>,
    /// Addresses of the name.
    pub addresses: Vec<SocketAddr>,
    /// Addresses that failed before one answered, and how, the first 16: `[2001:db8::1]:443: network is unreachable`.
    pub tried: Vec<String>,
    /// The unix socket it goes through.
    pub unix_socket: Option<String>,
    /// The HTTP proxy it goes through, host and port.
    pub http_proxy: Option<String>,
    /// Our end of the connection and the peer's.
    pub ends: Option<(SocketAddr, SocketAddr)>,
    /// The same of the latest connection, also after its end.
    pub last_ends: Option<(SocketAddr, SocketAddr)>,
    /// Openings, failures and deaths, oldest first.
    pub history: VecDeque<(Timestamp, Outcome)>,
    /// The same as changes only: it reaches further back.
    pub turns: Turns,
}

/// What a probe does now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeState {
    /// Not begun.
    Fresh,
    /// On its way.
    Dialing,
    /// Held open since then.
    Open(Timestamp),
    /// The latest attempt failed.
    Failed(Failure),
    /// The tunnel ended.
    Closed(Closed),
    /// Switched off.
    Stopped,
}

/// How a tunnel of a probe ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// By whom.
    pub by: ClosedBy,
    /// With which code.
    pub code: Option<u16>,
    /// With which words.
    pub reason: String,
    /// How long it was open.
    pub held: Duration,
    /// Silence before the end.
    pub idle: Duration,
}

/// One entry of a probe's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A valid 101.
    Opened,
    /// No valid 101.
    Failed(Failure),
    /// An open tunnel ended.
    Closed(Closed),
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            state: ProbeState::Fresh,
            phases: Phases::default(),
            phases_before: Phases::default(),
            since: None,
            attempts: 0,
            opened: 0,
            failed: 0,
            failed_in_a_row: 0,
            pings: 0,
            pongs: 0,
            missed: 0,
            last_ping: None,
            ping_period: None,
            questions: 0,
            answers: 0,
            unanswered: 0,
            answer_time: None,
            rtt: None,
            jitter: None,
            strays: Strays::default(),
            strays_told: Strays::default(),
            rtt_before: None,
            rtts: new_histogram(LONGEST_RTT_US),
            recent: VecDeque::new(),
            tls: None,
            request: String::new(),
            answer: None,
            addresses: Vec::new(),
            tried: Vec::new(),
            unix_socket: None,
            http_proxy: None,
            ends: None,
            last_ends: None,
            history: VecDeque::new(),
            turns: Turns::default(),
        }
    }
}

impl Probes {
    /// Folds one step in. A change between working and failing is worth a mark.
    pub fn apply(&mut self, at: Timestamp, e: &ProbeEvent) -> Option<Mark> {
        let probe = self.by_target.entry(e.target.clone()).or_default();
        let was_well = probe.well();
        probe.apply(at, &e.step);
        // A silent tunnel is there to die: that is no news about the endpoint.
        if e.target.cadence.is_some() {
            return None;
        }
        let said = || path_of(&e.target.endpoint).to_owned();
        match (was_well, probe.well()) {
            (Some(true) | None, Some(false)) => Some(Mark { at, kind: MarkKind::ProbeDown, said: said() }),
            (Some(false), Some(true)) => Some(Mark { at, kind: MarkKind::ProbeUp, said: said() }),
            _ => None,
        }
    }

    /// Counters begin again.
    pub fn reset_counters(&mut self) {
        for p in self.by_target.values_mut() {
            let fresh = Probe {
                state: p.state.clone(),
                phases: p.phases,
                phases_before: p.phases_before,
                since: if let ProbeState::Open(since) = p.state { Some(since) } else { None },
                tls: p.tls.take(),
                request: std::mem::take(&mut p.request),
                answer: p.answer.take(),
                addresses: std::mem::take(&mut p.addresses),
                tried: std::mem::take(&mut p.tried),
                unix_socket: p.unix_socket.take(),
                http_proxy: p.http_proxy.take(),
                ends: p.ends,
                last_ends: p.last_ends,
                strays_told: p.strays_told,
                turns: std::mem::take(&mut p.turns),
                ..Probe::default()
            };
            *p = fresh;
        }
    }

    /// The direct twins of a proxy probe: one where its URL was given, one for each peer where they were discovered.
    pub fn twins(&self, target: &TargetId) -> impl Iterator<Item = (&TargetId, &Probe)> {
        let of = move |t: &TargetId| t.endpoint == target.endpoint && t.route == Route::Direct && t.cadence.is_none();
        self.by_target.iter().filter(move |(t, _)| of(t))
    }

    /// The tunnels that are held at paces of their own beside the probe of an endpoint, by one of its two routes.
    #[must_use]
    pub fn paced(&self, endpoint: &str, route: Route) -> Vec<(Cadence, &Probe)> {
        let all = self.by_target.iter().filter(|(t, _)| *t.endpoint == *endpoint && t.route == route);
        all.filter_map(|(t, p)| Some((t.cadence?, p))).collect()
    }

    /// Our own ends of the probes' connections with the probe's target.
    pub fn local_ends(&self) -> impl Iterator<Item = (SocketAddr, &TargetId)> {
        self.by_target.iter().filter_map(|(t, p)| Some((p.ends?.0, t)))
    }
}

/// The path of a URL, for few-word marks.
fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, r)| r);
    rest.find('/').map_or(rest, |i| &rest[i..])
}

impl Probe {
    /// Works (`true`), fails (`false`), or not yet known.
    #[must_use]
    pub const fn well(&self) -> Option<bool> {
        match self.state {
            ProbeState::Open(_) => Some(true),
            ProbeState::Failed(_) | ProbeState::Closed(_) => Some(false),
            // While an attempt is under way the answer is that of the attempt before.
            ProbeState::Dialing | ProbeState::Fresh | ProbeState::Stopped => {
                if self.failed_in_a_row > 0 {
                    Some(false)
                } else {
                    None
                }
            }
        }
    }

    /// Opened again after the first time.
    #[must_use]
    pub const fn reconnects(&self) -> u64 {
        self.attempts.saturating_sub(1)
    }

    /// How long the tunnel has been open.
    #[must_use]
    pub fn held(&self, now: Timestamp) -> Option<Duration> {
        match &self.state {
            ProbeState::Open(since) => Some(now.since(*since)),
            _ => None,
        }
    }

    /// The round-trip time below which `quantile` (0 to 1) of the pongs came; `None` without pongs.
    #[must_use]
    pub fn rtt_quantile(&self, quantile: f64) -> Option<Duration> {
        (!self.rtts.is_empty()).then(|| Duration::from_micros(self.rtts.value_at_quantile(quantile)))
    }

    /// How much of the last `window` (`None`: of all that is known) the tunnel was open. What lies before the switching on
    /// or before the oldest kept entry of the history is not known, and not counted; `None` when nothing is.
    #[must_use]
    pub fn uptime(&self, now: Timestamp, window: Option<Duration>) -> Option<Uptime> {
        let mut known = self.since?;
        if let Some((at, outcome)) = self.history.front().filter(|_| self.history.len() == HISTORY) {
            let before = if let Outcome::Closed(c) = outcome { c.held } else { Duration::ZERO };
            known = known.max(at.minus(before));
        }
        let from = window.map_or(known, |w| known.max(now.minus(w)));
        let within = |start: Timestamp, end: Timestamp| end.min(now).since(start.max(from));
        let mut open = Duration::ZERO;
        for (at, outcome) in &self.history {
            if let Outcome::Closed(c) = outcome {
                open = open.saturating_add(within(at.minus(c.held), *at));
            }
        }
        if let ProbeState::Open(since) = self.state {
            open = open.saturating_add(within(since, now));
        }
        let over = now.since(from);
        (!over.is_zero()).then_some(Uptime { open: open.min(over), over })
    }

    /// The latest failure in the history.
    #[must_use]
    pub fn last_failure(&self) -> Option<&Failure> {
        self.history.iter().rev().find_map(|(_, o)| match o {
            Outcome::Failed(f) => Some(f),
            _ => None,
        })
    }

    /// The latest end of a tunnel that was not ours, in the history.
    #[must_use]
    pub fn last_death(&self) -> Option<&Closed> {
        self.history.iter().rev().find_map(|(_, o)| match o {
            Outcome::Closed(c) if c.by != ClosedBy::Us => Some(c),
            _ => None,
        })
    }

    fn apply(&mut self, at: Timestamp, step: &Step) {
        match step {
            Step::Dialing { attempt } => {
                self.attempts = self.attempts.max(*attempt);
                self.phases_before = std::mem::take(&mut self.phases);
                self.since = self.since.or(Some(at));
                self.ends = None;
                self.state = ProbeState::Dialing;
            }
            Step::Resolved { took, addresses } => {
                self.phases.resolve = Some(*took);
                self.addresses.clone_from(addresses);
            }
            Step::Connected { took, local, peer, failed } => {
                self.tried = failed.iter().take(TRIED).cloned().collect();
                self.phases.connect = Some(*took);
                self.ends = Some((*local, *peer));
                self.last_ends = self.ends;
            }
            Step::Attached { took, path } => {
                self.phases.connect = Some(*took);
                self.unix_socket = Some(path.clone());
            }
            Step::Tunnelled { took, proxy } => {
                self.phases.proxy = Some(*took);
                self.http_proxy = Some(proxy.clone());
            }
            Step::Secured { took, tls } => {
                self.phases.tls = Some(*took);
                self.tls = Some(tls.clone());
            }
            Step::Upgraded { took, request, answer } => self.open(at, *took, request, answer),
            Step::Refused { failure, took, request, answer, tls } => {
                self.refuse(at, failure, *took);
                request.clone_into(&mut self.request);
                self.answer.clone_from(answer);
                if tls.is_some() {
                    self.tls.clone_from(tls);
                }
            }
            Step::Pinged { .. } => {
                self.pings += 1;
                self.ping_period = self.last_ping.map(|last| at.since(last));
                self.last_ping = Some(at);
            }
            Step::Pong { rtt, .. } => self.pong(*rtt),
            Step::Strays { strays } => self.stray(*strays),
            Step::Missed { .. } => {
                self.missed += 1;
                self.remember(None);
            }
            Step::Asked { .. } => self.questions += 1,
            Step::Answered { rtt, .. } => {
                self.answers += 1;
                self.answer_time = rtt.or(self.answer_time);
            }
            Step::Unanswered { .. } => self.unanswered += 1,
            Step::Closed { by, code, reason, held, idle } => {
                let closed = Closed { by: *by, code: *code, reason: reason.clone(), held: *held, idle: *idle };
                self.ends = None;
                self.record(at, Outcome::Closed(closed.clone()));
                self.state = ProbeState::Closed(closed);
            }
            Step::Waiting { .. } => {}
            Step::Stopped => self.stop(at),
        }
    }

    fn stop(&mut self, at: Timestamp) {
        self.ends = None;
        self.failed_in_a_row = 0;
        self.since = None;
        self.turns.push(at, Turn::Off);
        self.state = ProbeState::Stopped;
    }

    fn open(&mut self, at: Timestamp, took: Duration, request: &str, answer: &Answer) {
        self.phases.upgrade = Some(took);
        request.clone_into(&mut self.request);
        self.answer = Some(answer.clone());
        self.opened += 1;
        (self.last_ping, self.ping_period, self.rtt_before) = (None, None, None);
        self.strays_told = Strays::default();
        self.failed_in_a_row = 0;
        self.state = ProbeState::Open(at);
        self.record(at, Outcome::Opened);
    }

    fn refuse(&mut self, at: Timestamp, failure: &Failure, took: Duration) {
        match failure.phase {
            Phase::Resolve => self.phases.resolve = Some(took),
            Phase::Connect => self.phases.connect = Some(took),
            Phase::Proxy => self.phases.proxy = Some(took),
            Phase::Tls => self.phases.tls = Some(took),
            Phase::Upgrade => self.phases.upgrade = Some(took),
        }
        self.failed += 1;
        self.failed_in_a_row += 1;
        self.ends = None;
        self.record(at, Outcome::Failed(failure.clone()));
        self.state = ProbeState::Failed(failure.clone());
    }

    /// What a tunnel tells is the sum since it opened.
    fn stray(&mut self, sum: Strays) {
        let more = |all: &mut u64, sum: u64, told: u64| *all = all.saturating_add(sum.saturating_sub(told));
        let (all, told) = (&mut self.strays, self.strays_told);
        more(&mut all.out_of_order, sum.out_of_order, told.out_of_order);
        more(&mut all.wrong_payload, sum.wrong_payload, told.wrong_payload);
        more(&mut all.unsolicited, sum.unsolicited, told.unsolicited);
        self.strays_told = sum;
    }

    fn pong(&mut self, rtt: Duration) {
        self.pongs += 1;
        if let Some(before) = self.rtt_before.replace(rtt) {
            let differs = rtt.abs_diff(before);
            let jitter = self.jitter.unwrap_or_default();
            let up = differs.saturating_sub(jitter) / 16;
            let down = jitter.saturating_sub(differs) / 16;
            self.jitter = Some(jitter.saturating_add(up).saturating_sub(down));
        }
        self.rtt = Some(rtt);
        self.rtts.saturating_record(u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX).max(1));
        self.remember(Some(rtt));
    }

    fn remember(&mut self, rtt: Option<Duration>) {
        if self.recent.len() == RECENT_RTTS {
            self.recent.pop_front();
        }
        self.recent.push_back(rtt);
    }

    fn record(&mut self, at: Timestamp, outcome: Outcome) {
        self.turns.push(
            at,
            match &outcome {
                Outcome::Opened => Turn::Opened,
                Outcome::Failed(_) => Turn::Failed,
                Outcome::Closed(Closed { by: ClosedBy::Us, .. }) => Turn::Off,
                Outcome::Closed(_) => Turn::Died,
            },
        );
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back((at, outcome));
    }
}

#[cfg(test)]
mod tests;
