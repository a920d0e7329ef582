//! One look at the tunnels as plain data, and exactly what `wspulse sockets --format json` prints.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use super::super::filter::Filter;
use super::super::headroom::HeadroomFacts;
use super::group::{By, GROUP_KEYS, GroupRow, groups};
use super::leg::{AnyLeg, LegRow, Side, unpaired};
use super::meter::Meter;
use super::row::{KEYS, TunnelRow, tunnels};
use super::sort::{Order, sort};
use super::watched::Watched;
use crate::event::socket::{Listener, SocketSource, Strain};
use crate::human;
use crate::model::Model;
use crate::model::legs::{self, Leg};
use crate::model::unix::UnixLeg;
use crate::time::Timestamp;

/// The version of the shape.
pub const SOCKETS_SCHEMA: &str = "wspulse.sockets/1";

/// What of it is wanted, and in which order.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Which tunnels and legs.
    pub filter: Option<Filter>,
    /// In groups.
    pub group_by: Option<By>,
    /// In this order; `None` is the least time left first, and of groups the most tunnels.
    pub order: Option<Order>,
}

impl Wish {
    /// Reads `--sort`, which names a column of what is shown.
    ///
    /// # Errors
    /// One sentence that names the columns there are.
    pub fn order(text: &str, group_by: Option<By>) -> Result<Order, String> {
        Order::parse(text, if group_by.is_some() { &GROUP_KEYS } else { &KEYS })
    }
}

/// One look at the tunnels of one host.
#[derive(Clone, Debug)]
pub struct Sockets {
    /// The moment.
    pub at: Timestamp,
    /// The host's name.
    pub host: String,
    /// How the tables were read; `None` when there was nothing to look for.
    pub source: Option<SocketSource>,
    /// Pairs of legs.
    pub tunnels: Vec<TunnelRow>,
    /// Legs without a partner.
    pub unpaired: Vec<LegRow>,
    /// Listening sockets.
    pub listeners: Vec<Listener>,
    /// What nginx has left.
    pub headroom: HeadroomFacts,
    /// The tunnels added up.
    pub groups: Option<(By, Vec<GroupRow>)>,
}

impl Sockets {
    /// What `model` knows now, and of the ports watched besides; rates are over the span of `meter`.
    #[must_use]
    pub fn of(model: &Model, watched: &Watched, meter: &Meter, wish: &Wish) -> Self {
        let all = tunnels(model, Some(meter));
        let mut unpaired = unpaired(model, &all, watched.legs(), Some(meter));
        let mut pairs: Vec<TunnelRow> = all.into_iter().filter(|t| t.client.is_some()).collect();
        if let Some(filter) = &wish.filter {
            pairs.retain(|t| filter.passes(t));
            unpaired.retain(|l| filter.passes(l));
        }
        let by_column = |name, descending| {
            let key = KEYS.iter().chain(&GROUP_KEYS).find(|k| k.name == name).copied();
            key.map(|key| Order { key, descending })
        };
        let mut grouped = wish.group_by.map(|by| (by, groups(pairs.iter(), by)));
        let asked = wish.order.filter(|_| grouped.is_none());
        if let Some(order) = asked.or_else(|| by_column("left", false)) {
            sort(&mut pairs, order);
        }
        if let Some(order) = asked {
            sort(&mut unpaired, order);
        }
        if let (Some((_, rows)), Some(order)) = (&mut grouped, wish.order.or_else(|| by_column("tunnels", true))) {
            sort(rows, order);
        }
        Self {
            at: model.now,
            host: model.host.to_string(),
            source: model.connections.source,
            tunnels: pairs,
            unpaired,
            listeners: model.connections.listeners.clone(),
            headroom: HeadroomFacts::of(model),
            groups: grouped,
        }
    }
}

#[derive(Serialize)]
struct Shape<'a> {
    schema: &'static str,
    at: Timestamp,
    host: &'a str,
    source: Option<SocketSource>,
    tunnels: Vec<TunnelFacts<'a>>,
    unpaired: Vec<LegFacts>,
    listeners: Vec<ListenerFacts>,
    headroom: &'a HeadroomFacts,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_by: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<Vec<GroupFacts<'a>>>,
}

#[derive(Serialize)]
struct TunnelFacts<'a> {
    client: Option<SocketAddr>,
    worker: Option<u32>,
    nginx: Option<u32>,
    location: Option<&'a str>,
    upstream: Option<String>,
    state: &'static str,
    trouble: Option<&'static str>,
    trouble_side: Option<&'static str>,
    age_s: Option<f64>,
    age_is_lower_bound: Option<bool>,
    idle_s: Option<f64>,
    down_per_s: Option<f64>,
    up_per_s: Option<f64>,
    read_timeout_s: Option<f64>,
    time_left_s: Option<f64>,
    pair: &'static str,
    probe: Option<&'a str>,
    client_leg: Option<LegFacts>,
    upstream_leg: Option<LegFacts>,
}

/// One leg. Times of data in milliseconds before the report's moment.
#[derive(Default, Serialize)]
struct LegFacts {
    local: Option<SocketAddr>,
    peer: String,
    state: &'static str,
    side: Option<&'static str>,
    inode: Option<u64>,
    cookie: Option<u64>,
    pid: Option<u32>,
    recv_q: Option<u32>,
    send_q: Option<u32>,
    bytes_received: Option<u64>,
    bytes_sent: Option<u64>,
    bytes_acked: Option<u64>,
    rtt_us: Option<u32>,
    rttvar_us: Option<u32>,
    retransmits: Option<u32>,
    unacked: Option<u32>,
    last_data_received_ms: Option<u64>,
    last_data_sent_ms: Option<u64>,
    backoff: Option<u8>,
    trouble: Option<&'static str>,
    timer: Option<TimerFacts>,
    strain: Option<StrainFacts>,
}

/// What holds a leg up.
#[derive(Serialize)]
struct StrainFacts {
    probes: Option<u8>,
    retransmitting: Option<u32>,
    lost: Option<u32>,
    unsent: Option<u32>,
    peer_window: Option<u32>,
    own_window: Option<u32>,
    busy_ms: Option<u32>,
    peer_limited_ms: Option<u32>,
    buffer_limited_ms: Option<u32>,
}

impl From<&Strain> for StrainFacts {
    fn from(s: &Strain) -> Self {
        Self {
            probes: s.probes,
            retransmitting: s.retransmitting,
            lost: s.lost,
            unsent: s.unsent,
            peer_window: s.peer_window,
            own_window: s.own_window,
            busy_ms: s.busy_ms,
            peer_limited_ms: s.peer_limited_ms,
            buffer_limited_ms: s.buffer_limited_ms,
        }
    }
}

/// What the kernel waits for.
#[derive(Serialize)]
struct TimerFacts {
    kind: &'static str,
    left_ms: Option<u64>,
    times: u32,
}

#[derive(Serialize)]
struct ListenerFacts {
    local: SocketAddr,
    queue: u32,
    backlog: Option<u32>,
}

#[derive(Serialize)]
struct GroupFacts<'a> {
    name: Option<&'a str>,
    tunnels: usize,
    bytes_received: Option<u64>,
    bytes_sent: Option<u64>,
    down_per_s: Option<f64>,
    up_per_s: Option<f64>,
    time_left_min_s: Option<f64>,
}

fn secs(d: Option<Duration>) -> Option<f64> {
    // The kernel and our own clock tell milliseconds; more digits would be noise.
    d.map(|d| d.as_millis() as f64 / 1e3)
}

fn rate(n: Option<f64>) -> Option<f64> {
    n.map(|n| (n * 10.0).round() / 10.0)
}

fn leg(leg: &Leg, side: Option<Side>, look: &Sockets) -> LegFacts {
    let (row, info) = (&leg.row, leg.row.info.unwrap_or_default());
    let since = u64::try_from(look.at.since(leg.seen).as_millis()).unwrap_or(u64::MAX);
    let ago = |ms: Option<u32>| ms.map(|ms| u64::from(ms).saturating_add(since));
    let timer = leg.timer(look.at).map(|t| TimerFacts {
        kind: t.kind.word(),
        left_ms: t.left.map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)),
        times: t.times,
    });
    LegFacts {
        local: Some(row.local),
        peer: row.peer.to_string(),
        state: row.state.word(),
        side: side.map(Side::word),
        inode: Some(u64::from(row.inode)).filter(|i| *i != 0),
        // Where only /proc was read, another number stands in for the cookie.
        cookie: (look.source == Some(SocketSource::Netlink)).then_some(row.cookie),
        pid: row.pid,
        recv_q: Some(row.recv_q),
        send_q: Some(row.send_q),
        bytes_received: info.bytes_received,
        bytes_sent: info.bytes_sent,
        bytes_acked: info.bytes_acked,
        rtt_us: info.rtt_us,
        rttvar_us: info.rttvar_us,
        retransmits: info.retransmits,
        unacked: info.unacked.map(u32::from),
        last_data_received_ms: ago(info.last_received_ms),
        last_data_sent_ms: ago(info.last_sent_ms),
        backoff: info.backoff,
        trouble: leg.trouble(look.at).map(legs::Trouble::key),
        timer,
        strain: row.strain.as_deref().map(StrainFacts::from),
    }
}

/// nginx's end of a connection to a unix socket: the kernel counts no bytes and no times on it.
fn unix_leg(leg: &UnixLeg, look: &Sockets) -> LegFacts {
    let row = &leg.row;
    LegFacts {
        peer: format!("unix:{}", row.path),
        state: leg.state(),
        side: Some(Side::Upstream.word()),
        inode: Some(u64::from(row.inode)),
        cookie: Some(row.cookie),
        pid: row.pid,
        recv_q: row.recv_q,
        send_q: row.send_q,
        trouble: leg.trouble(look.at).map(legs::Trouble::key),
        ..LegFacts::default()
    }
}

fn tunnel<'a>(t: &'a TunnelRow, look: &Sockets) -> TunnelFacts<'a> {
    TunnelFacts {
        client: t.client_addr,
        worker: t.worker,
        nginx: t.nginx,
        location: t.location.as_deref(),
        upstream: t.upstream_addr.as_ref().map(ToString::to_string),
        state: t.word(),
        trouble: t.trouble.map(|(_, what)| what.key()),
        trouble_side: t
            .trouble
            .map(|(side, _)| if side == legs::Side::Client { Side::Client } else { Side::Upstream }.word()),
        age_s: secs(t.age.map(|a| a.0)),
        age_is_lower_bound: t.age.map(|a| a.1),
        idle_s: secs(t.idle),
        down_per_s: rate(t.down),
        up_per_s: rate(t.up),
        read_timeout_s: secs(t.timeout),
        time_left_s: secs(t.left),
        pair: t.pair.word(),
        probe: t.probe.as_deref(),
        client_leg: t.client.as_ref().map(|l| leg(l, Some(Side::Client), look)),
        upstream_leg: match (&t.upstream, &t.unix) {
            (Some(tcp), _) => Some(leg(tcp, Some(Side::Upstream), look)),
            (None, unix) => unix.as_ref().map(|l| unix_leg(l, look)),
        },
    }
}

fn group(g: &GroupRow) -> GroupFacts<'_> {
    GroupFacts {
        name: g.name.as_deref(),
        tunnels: g.tunnels,
        bytes_received: g.received,
        bytes_sent: g.sent,
        down_per_s: rate(g.down),
        up_per_s: rate(g.up),
        time_left_min_s: secs(g.left),
    }
}

/// The look as JSON with a line end: indented, or on one line of its own among others.
#[must_use]
pub fn sockets_json(look: &Sockets, one_line: bool) -> String {
    let shape = Shape {
        schema: SOCKETS_SCHEMA,
        at: look.at,
        host: &look.host,
        source: look.source,
        tunnels: look.tunnels.iter().map(|t| tunnel(t, look)).collect(),
        unpaired: look
            .unpaired
            .iter()
            .map(|l| match &l.leg {
                AnyLeg::Tcp(tcp) => leg(tcp, l.side, look),
                AnyLeg::Unix(unix) => unix_leg(unix, look),
            })
            .collect(),
        listeners: look
            .listeners
            .iter()
            .map(|l| ListenerFacts { local: l.local, queue: l.queue, backlog: l.backlog })
            .collect(),
        headroom: &look.headroom,
        group_by: look.groups.as_ref().map(|(by, _)| by.word()),
        groups: look.groups.as_ref().map(|(_, rows)| rows.iter().map(group).collect()),
    };
    let text = if one_line { serde_json::to_string(&shape) } else { serde_json::to_string_pretty(&shape) };
    // Keys are strings and nothing in it can fail to serialize; an empty object would show if that changed.
    let mut out = text.unwrap_or_else(|_| "{}".to_owned());
    out.push('\n');
    human::harmless_json(out)
}
