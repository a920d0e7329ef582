//! One tunnel, one leg: what is known of each at a moment, as the screen shows it and `wspulse sockets` prints it.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use super::super::filter::{Fields, Key, Kind};
use super::ended::Ended;
use super::figure;
use super::meter::Meter;
use crate::human;
use crate::model::Model;
use crate::model::connections::{Far, Tunnel, TunnelState, Upstream};
use crate::model::legs::{Leg, Side, Trouble};
use crate::model::tunnels::Confidence;
use crate::model::unix::UnixLeg;
use crate::time::Timestamp;

/// What a filter, a sort or a table can name in a tunnel or a leg.
pub const KEYS: [Key; 21] = [
    Key::new("client", Kind::Address),
    Key::new("worker", Kind::Text),
    Key::new("location", Kind::Text),
    Key::new("upstream", Kind::Address),
    Key::new("state", Kind::Text),
    Key::new("age", Kind::Span),
    Key::new("idle", Kind::Span),
    Key::new("down", Kind::Amount),
    Key::new("up", Kind::Amount),
    Key::new("bytes", Kind::Amount),
    Key::new("queue", Kind::Amount),
    Key::new("rtt", Kind::Span),
    Key::new("retransmits", Kind::Amount),
    Key::new("left", Kind::Span),
    Key::new("pair", Kind::Text),
    Key::new("local", Kind::Address),
    Key::new("nginx", Kind::Text),
    Key::new("trouble", Kind::Text),
    Key::new("timer", Kind::Text),
    Key::new("backoff", Kind::Amount),
    Key::new("unacked", Kind::Amount),
];

/// One tunnel, or an upstream leg whose client leg is not known.
#[derive(Clone, Debug)]
pub struct TunnelRow {
    /// Stable while it lives.
    pub id: u64,
    /// The moment for which its times are told.
    pub at: Timestamp,
    /// The client's address.
    pub client_addr: Option<SocketAddr>,
    /// Where the backend is reached.
    pub upstream_addr: Option<Upstream>,
    /// The leg to the client; `None` where it is not known or has gone.
    pub client: Option<Leg>,
    /// The leg to the backend over TCP; `None` where it is not known or has gone.
    pub upstream: Option<Leg>,
    /// The leg to the backend by a unix socket.
    pub unix: Option<UnixLeg>,
    /// How sure it is that the two belong together.
    pub pair: Confidence,
    /// The process that holds it.
    pub worker: Option<u32>,
    /// The master of that process, where several nginx run.
    pub nginx: Option<u32>,
    /// The location's path.
    pub location: Option<String>,
    /// Its state; as it was last seen once it has ended.
    pub state: TunnelState,
    /// Its age, and whether that is a lower bound.
    pub age: Option<(Duration, bool)>,
    /// Silence.
    pub idle: Option<Duration>,
    /// Bytes a second to the client.
    pub down: Option<f64>,
    /// Bytes a second from the client.
    pub up: Option<f64>,
    /// Round-trip time to the client.
    pub rtt: Option<Duration>,
    /// Retransmitted segments on both legs.
    pub retransmits: Option<u32>,
    /// Until the proxy cuts it, if it stays silent.
    pub left: Option<Duration>,
    /// What that runs down from.
    pub timeout: Option<Duration>,
    /// The directive that set it.
    pub cut_by: Option<&'static str>,
    /// The time left at most, where several locations with other timeouts lead to the same backend.
    pub left_at_most: Option<Duration>,
    /// What is odd about it, and on which leg.
    pub trouble: Option<(Side, Trouble)>,
    /// The endpoint whose probe holds it.
    pub probe: Option<String>,
    /// When and how it ended; `None` while it lives.
    pub ended: Option<Ended>,
}

/// All tunnels of a model, in an order that stays. Rates are over the span of `meter`; without one they are those of the
/// latest interval in which anything changed.
#[must_use]
pub fn tunnels(model: &Model, meter: Option<&Meter>) -> Vec<TunnelRow> {
    let workers = model.masters().iter().flat_map(|m| &m.workers);
    let draining: HashSet<u32> = workers.filter(|w| w.shutting_down).map(|w| w.pid).collect();
    let moment = Moment::of(model, meter);
    let masters = masters(model);
    let mut tunnels = model.connections.tunnels(model.now, &|pid| draining.contains(&pid));
    // The order of equals must not change from frame to frame. Rows are larger than what they are made of.
    tunnels.sort_by_cached_key(|t| t.id);
    let row =
        |t: &Tunnel<'_>| TunnelRow { nginx: t.worker().and_then(|w| masters.get(&w).copied()), ..living(t, moment) };
    tunnels.iter().map(row).collect()
}

/// The master of each worker, where there are several masters.
pub(super) fn masters(model: &Model) -> HashMap<u32, u32> {
    let several = model.masters().iter().filter(|_| model.masters().len() > 1);
    several.flat_map(|m| m.workers.iter().map(|w| (w.pid, m.pid))).collect()
}

/// When the sockets were looked at, and how rates are told.
#[derive(Clone, Copy)]
pub(super) struct Moment<'a> {
    /// The moment that the model shows.
    pub now: Timestamp,
    last_look: Option<Timestamp>,
    meter: Option<&'a Meter>,
}

impl<'a> Moment<'a> {
    pub(super) fn of(model: &Model, meter: Option<&'a Meter>) -> Self {
        Self { now: model.now, last_look: model.connections.last_look(), meter }
    }

    /// Bytes a second received and sent; `None` before the second look and where the kernel counts no bytes.
    pub(super) fn rates(self, leg: &Leg) -> Option<(f64, f64)> {
        if let Some(meter) = self.meter {
            return meter.rates(leg, self.now);
        }
        leg.row.info.and_then(|i| i.bytes_received)?;
        let last = self.last_look?;
        // One look tells no rate.
        if last <= leg.first { None } else { leg.rates(self.now) }
    }
}

fn living(t: &Tunnel<'_>, moment: Moment<'_>) -> TunnelRow {
    // The client's view of down and up.
    let client = t.client.and_then(|l| moment.rates(l)).map(|(received, sent)| (sent, received));
    let rates = client.or_else(|| t.upstream.and_then(|l| moment.rates(l)));
    TunnelRow {
        id: t.id,
        at: moment.now,
        client_addr: t.client.map(|l| l.row.peer),
        upstream_addr: Some(t.far.upstream()),
        client: t.client.cloned(),
        upstream: t.upstream.cloned(),
        unix: if let Far::Unix(leg) = t.far { Some(leg.clone()) } else { None },
        pair: t.pair,
        worker: t.worker(),
        nginx: None,
        location: t.location.map(str::to_owned),
        state: t.state,
        age: Some(at_least(t.age(moment.now), [t.client, t.upstream], moment.now)),
        idle: t.idle(moment.now),
        down: rates.map(|r| r.0),
        up: rates.map(|r| r.1),
        rtt: t.client_rtt(),
        retransmits: t.retransmits(),
        left: t.time_left,
        timeout: t.read_timeout,
        cut_by: t.deadline.map(|d| d.cut.directive()),
        left_at_most: t.deadline.filter(|d| !d.is_exact()).map(|d| d.most),
        trouble: t.trouble(moment.now),
        probe: t.probe.map(|p| p.endpoint.to_string()),
        ended: None,
    }
}

/// A connection that was there before us is at least as old as the data that was last sent or received on it, each way.
pub(super) fn at_least<const N: usize>(
    age: (Duration, bool),
    legs: [Option<&Leg>; N],
    now: Timestamp,
) -> (Duration, bool) {
    if !age.1 {
        return age;
    }
    let silences = legs.into_iter().flatten().filter_map(|leg| {
        let info = leg.row.info?;
        let longest = info.last_received_ms.max(info.last_sent_ms)?;
        Some(Duration::from_millis(u64::from(longest)) + now.since(leg.seen))
    });
    (silences.fold(age.0, Duration::max), true)
}

/// The times of a tunnel that lives run on by themselves: they are told for any moment from that of the row on.
impl TunnelRow {
    fn later(&self, now: Timestamp) -> Duration {
        if self.ended.is_some() { Duration::ZERO } else { now.since(self.at) }
    }

    /// Its age, and whether that is a lower bound.
    #[must_use]
    pub fn age_at(&self, now: Timestamp) -> Option<(Duration, bool)> {
        self.age.map(|(age, bound)| (age + self.later(now), bound))
    }

    /// Silence.
    #[must_use]
    pub fn idle_at(&self, now: Timestamp) -> Option<Duration> {
        self.idle.map(|idle| idle + self.later(now))
    }

    /// Until the proxy cuts it, if it stays silent.
    #[must_use]
    pub fn left_at(&self, now: Timestamp) -> Option<Duration> {
        self.left.map(|left| left.saturating_sub(self.later(now)))
    }

    /// The same at most, where it is not one figure.
    #[must_use]
    pub fn left_at_most_at(&self, now: Timestamp) -> Option<Duration> {
        self.left_at_most.map(|most| most.saturating_sub(self.later(now)))
    }
}

impl TunnelRow {
    /// Its state in a word.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        if self.ended.is_some() { "ended" } else { self.state.word() }
    }

    /// The same in at most `room` columns: what is odd where it fits, `stuck` where not.
    #[must_use]
    pub fn state_word(&self, room: usize) -> Cow<'static, str> {
        let Some((side, trouble)) = self.trouble.filter(|_| self.ended.is_none() && self.state == TunnelState::Stuck)
        else {
            return Cow::Borrowed(self.word());
        };
        let said = match trouble {
            Trouble::Resending => Cow::Owned(format!("resend ×{}", self.backoff_on(side))),
            other => Cow::Borrowed(other.key()),
        };
        if human::width(&said) <= room { said } else { Cow::Borrowed(self.word()) }
    }

    fn backoff_on(&self, side: Side) -> u8 {
        let leg = if side == Side::Client { &self.client } else { &self.upstream };
        leg.as_ref().map_or(0, |l| l.backoff())
    }

    /// What is odd about a leg: `client: window shut`.
    #[must_use]
    pub fn odd(&self) -> Option<String> {
        let (side, trouble) = self.trouble?;
        let side = if side == Side::Client { "client" } else { "backend" };
        Some(format!("{side}: {}", trouble.word()))
    }

    fn legs(&self) -> impl Iterator<Item = &Leg> {
        self.client.iter().chain(&self.upstream)
    }

    /// Payload bytes to and from the client, by the kernel's counters of one leg.
    #[must_use]
    pub fn bytes(&self) -> Option<(u64, u64)> {
        let client = self.client.as_ref().and_then(counters).map(|(received, sent)| (sent, received));
        client.or_else(|| self.upstream.as_ref().and_then(counters))
    }

    /// Bytes in both directions over the minute before `now`, oldest first.
    #[must_use]
    pub fn recent(&self, now: Timestamp) -> Option<Vec<u64>> {
        let leg = self.legs().find(|l| l.passed().is_some())?;
        Some(leg.recent.series(now).map(|(read, written)| u64::from(read) + u64::from(written)).to_vec())
    }

    /// Bytes that wait on any side: written and not acknowledged, or received and not read.
    #[must_use]
    pub fn queue(&self) -> Option<u64> {
        let waiting = |l: &Leg| u64::from(l.row.recv_q) + u64::from(l.row.send_q);
        self.legs().next()?;
        Some(self.legs().map(waiting).sum())
    }
}

/// Payload bytes received, and sent and acknowledged.
pub(super) fn counters(leg: &Leg) -> Option<(u64, u64)> {
    let info = leg.row.info.as_ref()?;
    Some((info.bytes_received?, info.bytes_acked?))
}

impl Fields for TunnelRow {
    fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        let address = |a: Option<SocketAddr>| a.map(|a| Cow::Owned(a.to_string()));
        match key {
            "client" => address(self.client_addr),
            "upstream" => self.upstream_addr.as_ref().map(|u| Cow::Owned(u.to_string())),
            "nginx" => self.nginx.map(|m| Cow::Owned(m.to_string())),
            "trouble" => self.trouble.map(|(_, t)| Cow::Borrowed(t.key())),
            "timer" => timers(self.legs()),
            "local" => address(self.client.as_ref().map(|l| l.row.local)),
            "worker" => self.worker.map(|w| Cow::Owned(w.to_string())),
            "location" => self.location.as_deref().map(Cow::Borrowed),
            "state" => Some(Cow::Borrowed(self.word())),
            "pair" => Some(Cow::Borrowed(self.pair.word())),
            _ => shown(key, self.number(key)?),
        }
    }

    fn number(&self, key: &str) -> Option<f64> {
        let secs = |d: Option<Duration>| d.map(|d| d.as_secs_f64());
        match key {
            "age" => secs(self.age.map(|a| a.0)),
            "idle" => secs(self.idle),
            "rtt" => secs(self.rtt),
            "left" => secs(self.left),
            "down" => self.down,
            "up" => self.up,
            "bytes" => self.bytes().map(|(down, up)| (down + up) as f64),
            "queue" => self.queue().map(|n| n as f64),
            "retransmits" => self.retransmits.map(f64::from),
            "backoff" => self.legs().filter_map(|l| l.row.info?.backoff).max().map(f64::from),
            "unacked" => self.legs().filter_map(|l| l.row.info?.unacked).max().map(f64::from),
            _ => None,
        }
    }
}

/// What the kernel waits for on these legs: `keepalive retransmit`.
pub(super) fn timers<'a>(legs: impl Iterator<Item = &'a Leg>) -> Option<Cow<'static, str>> {
    let kinds: Vec<&str> = legs.filter_map(|l| Some(l.row.timer?.word())).collect();
    (!kinds.is_empty()).then(|| Cow::Owned(kinds.join(" ")))
}

/// A number as a table shows it.
pub(super) fn shown(key: &str, n: f64) -> Option<Cow<'static, str>> {
    let kind = KEYS.iter().find(|k| k.name == key)?.kind;
    Some(Cow::Owned(match (kind, key) {
        (Kind::Span, "rtt") => human::latency(Duration::try_from_secs_f64(n).ok()?),
        (Kind::Span, _) => figure::span(Duration::try_from_secs_f64(n).ok()?),
        _ => figure::amount(n),
    }))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::event::socket::{SocketRow, TcpInfo, TcpState};
    use crate::model::tunnels::End;

    /// An open tunnel of this client of which nothing else is known.
    pub(in super::super) fn row(client: &str) -> TunnelRow {
        TunnelRow {
            id: 1,
            at: Timestamp::default(),
            client_addr: client.parse().ok(),
            upstream_addr: None,
            client: None,
            upstream: None,
            unix: None,
            pair: Confidence::Likely,
            worker: None,
            nginx: None,
            location: None,
            state: TunnelState::Open,
            age: None,
            idle: None,
            down: None,
            up: None,
            rtt: None,
            retransmits: None,
            left: None,
            timeout: None,
            cut_by: None,
            left_at_most: None,
            trouble: None,
            probe: None,
            ended: None,
        }
    }

    #[test]
    fn every_key_has_a_value_where_it_is_known_and_none_where_not() {
        let unknown = row("10.0.0.1:1");
        let known: Vec<&str> = KEYS.iter().map(|k| k.name).filter(|k| unknown.text(k).is_some()).collect();
        assert_eq!(known, ["client", "state", "pair"]);
        let full = TunnelRow {
            worker: Some(7),
            age: Some((Duration::from_secs(8_040), true)),
            rtt: Some(Duration::from_millis(51)),
            down: Some(1_234.0),
            ..unknown
        };
        let text = |key| full.text(key).map(Cow::into_owned);
        assert_eq!(text("age").as_deref(), Some("2h14m"), "no blanks in a cell");
        assert_eq!((text("rtt").as_deref(), text("down").as_deref()), (Some("51ms"), Some("1.2k")));
        assert_eq!(full.number("age"), Some(8_040.0));
    }

    #[test]
    fn the_times_of_a_living_tunnel_run_on_and_those_of_one_that_ended_stand() {
        let s = Duration::from_secs;
        let at = Timestamp::from_secs(1_000);
        let row = TunnelRow {
            at,
            age: Some((s(90), true)),
            idle: Some(s(20)),
            left: Some(s(40)),
            left_at_most: Some(s(100)),
            ..row("10.0.0.1:1")
        };
        let times = |r: &TunnelRow, now| (r.age_at(now), r.idle_at(now), r.left_at(now), r.left_at_most_at(now));
        assert_eq!(times(&row, at), (row.age, row.idle, row.left, row.left_at_most));
        assert_eq!(times(&row, at.plus(s(3))), (Some((s(93), true)), Some(s(23)), Some(s(37)), Some(s(97))));
        assert_eq!(row.left_at(at.plus(s(50))), Some(Duration::ZERO), "no less than nothing");
        assert_eq!(times(&row, at.minus(s(9))).0, row.age, "no moment before its own");
        let how = Ended { ago: s(1), how: End::Client, timeout: None, seen: String::new(), line: None, bytes: None };
        let ended = TunnelRow { ended: Some(how), ..row };
        assert_eq!(times(&ended, at.plus(s(3))).0, Some((s(90), true)));
    }

    #[test]
    fn a_stuck_tunnel_says_what_is_odd_where_there_is_room() {
        let stuck = |trouble| TunnelRow {
            state: TunnelState::Stuck,
            trouble: Some((Side::Client, trouble)),
            ..row("10.0.0.1:1")
        };
        let words = |trouble: Trouble| [5, 12].map(|room| stuck(trouble).state_word(room).into_owned());
        assert_eq!(words(Trouble::WindowShut), ["stuck", "zero-window"]);
        assert_eq!(words(Trouble::Resending), ["stuck", "resend ×0"]);
        assert_eq!(stuck(Trouble::HalfOpen).odd().as_deref(), Some("client: half-open?"));
        assert_eq!(row("10.0.0.1:1").state_word(12), "open");
    }

    #[test]
    fn what_was_there_before_us_is_at_least_as_old_as_its_last_data() {
        let info = TcpInfo { last_received_ms: Some(90_000), last_sent_ms: Some(1_000), ..TcpInfo::default() };
        let socket = SocketRow {
            info: Some(info),
            ..SocketRow::new(1, ([127, 0, 0, 1], 80).into(), ([127, 0, 0, 1], 81).into(), TcpState::Established)
        };
        let leg = Leg::new(&socket, Timestamp::from_secs(10), None);
        let age = |bound| at_least((Duration::from_secs(5), bound), [Some(&leg), None], Timestamp::from_secs(15));
        assert_eq!(age(true), (Duration::from_secs(95), true));
        assert_eq!(age(false), (Duration::from_secs(5), false), "we saw it being opened");
    }
}
