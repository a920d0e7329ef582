//! One leg alone: without a partner, or on a port that was asked for.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use super::super::filter::Fields;
use super::meter::Meter;
use super::row::{Moment, TunnelRow, at_least, counters, masters, shown, timers};
use crate::model::Model;
use crate::model::legs::{Leg, Trouble};
use crate::model::tunnels::Confidence;
use crate::model::unix::UnixLeg;

/// A leg without a partner, or one on a port that was asked for.
#[derive(Clone, Debug)]
pub struct LegRow {
    /// The row of the socket table and what was learnt by watching it.
    pub leg: AnyLeg,
    /// On which side of nginx, where nginx's ports tell.
    pub side: Option<Side>,
    /// Its age, and whether that is a lower bound.
    pub age: (Duration, bool),
    /// Silence.
    pub idle: Option<Duration>,
    /// Bytes a second received and sent.
    pub rates: Option<(f64, f64)>,
    /// What is odd about it.
    pub trouble: Option<Trouble>,
    /// The master of the process that holds it, where several nginx run.
    pub nginx: Option<u32>,
}

/// A leg over TCP or by a unix socket.
#[derive(Clone, Debug)]
pub enum AnyLeg {
    /// Over TCP.
    Tcp(Box<Leg>),
    /// By a unix socket.
    Unix(UnixLeg),
}

impl AnyLeg {
    /// The leg, where it is one over TCP.
    #[must_use]
    pub fn tcp(&self) -> Option<&Leg> {
        match self {
            Self::Tcp(leg) => Some(leg),
            Self::Unix(_) => None,
        }
    }

    /// Our end; a unix socket has no name there.
    #[must_use]
    pub fn local(&self) -> Option<SocketAddr> {
        self.tcp().map(|l| l.row.local)
    }

    /// The other end.
    #[must_use]
    pub fn peer(&self) -> String {
        match self {
            Self::Tcp(leg) => leg.row.peer.to_string(),
            Self::Unix(leg) => format!("unix:{}", leg.row.path),
        }
    }

    /// Its state in a word.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match self {
            Self::Tcp(leg) => leg.row.state.word(),
            Self::Unix(leg) => leg.state(),
        }
    }

    /// The process that holds it.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        match self {
            Self::Tcp(leg) => leg.row.pid,
            Self::Unix(leg) => leg.row.pid,
        }
    }

    fn cookie(&self) -> u64 {
        match self {
            Self::Tcp(leg) => leg.row.cookie,
            Self::Unix(leg) => leg.row.cookie,
        }
    }
}

/// Which side of nginx a leg is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// Between the client and nginx.
    Client,
    /// Between nginx and the backend.
    Upstream,
}

impl Side {
    /// One word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
        }
    }
}

impl Fields for LegRow {
    fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        let leg = &self.leg;
        match (key, self.side) {
            // Without an nginx that tells the sides the peer answers to both names.
            ("client", Some(Side::Client) | None) | ("upstream", Some(Side::Upstream) | None) => {
                Some(Cow::Owned(leg.peer()))
            }
            ("local", _) => leg.local().map(|a| Cow::Owned(a.to_string())),
            ("worker", _) => leg.pid().map(|p| Cow::Owned(p.to_string())),
            ("nginx", _) => self.nginx.map(|m| Cow::Owned(m.to_string())),
            ("state", _) => Some(Cow::Borrowed(leg.state())),
            ("trouble", _) => self.trouble.map(|t| Cow::Borrowed(t.key())),
            ("timer", _) => timers(leg.tcp().into_iter()),
            ("pair", _) => Some(Cow::Borrowed(Confidence::None.word())),
            _ => shown(key, self.number(key)?),
        }
    }

    fn number(&self, key: &str) -> Option<f64> {
        if key == "age" {
            return Some(self.age.0.as_secs_f64());
        }
        let leg = self.leg.tcp()?;
        let info = leg.row.info.as_ref();
        match key {
            "idle" => Some(self.idle?.as_secs_f64()),
            "rtt" => Some(f64::from(info?.rtt_us?) / 1e6),
            // Down is towards the client: sent on its leg, received on the backend's.
            "down" | "up" => {
                let (received, sent) = self.rates?;
                Some(if (key == "down") == (self.side == Some(Side::Upstream)) { received } else { sent })
            }
            "bytes" => counters(leg).map(|(received, sent)| (received + sent) as f64),
            "queue" => Some(f64::from(leg.row.recv_q) + f64::from(leg.row.send_q)),
            "retransmits" => Some(f64::from(info?.retransmits?)),
            "backoff" => Some(f64::from(info?.backoff?)),
            "unacked" => Some(f64::from(info?.unacked?)),
            _ => None,
        }
    }
}

impl Moment<'_> {
    fn leg(self, leg: &Leg, model: &Model) -> LegRow {
        let row = &leg.row;
        let side = if model.places.is_listen_port(row.local.port()) {
            Some(Side::Client)
        } else {
            model.places.is_upstream_port(row.peer.port()).then_some(Side::Upstream)
        };
        LegRow {
            leg: AnyLeg::Tcp(Box::new(leg.clone())),
            side,
            age: at_least((self.now.since(leg.first), leg.older_than_us), [Some(leg)], self.now),
            idle: leg.idle(self.now),
            rates: self.rates(leg),
            trouble: leg.trouble(self.now),
            nginx: None,
        }
    }

    fn unix(self, leg: &UnixLeg) -> LegRow {
        LegRow {
            leg: AnyLeg::Unix(leg.clone()),
            side: Some(Side::Upstream),
            age: (self.now.since(leg.first), leg.older_than_us()),
            idle: None,
            rates: None,
            trouble: leg.trouble(self.now),
            nginx: None,
        }
    }
}

fn cookies(t: &TunnelRow) -> impl Iterator<Item = u64> {
    [&t.client, &t.upstream].into_iter().flatten().map(|l| l.row.cookie)
}

/// The legs that belong to no tunnel among `paired`: those of the model, then those watched besides, without doubles.
#[must_use]
pub fn unpaired<'a>(
    model: &Model,
    paired: &[TunnelRow],
    besides: impl Iterator<Item = &'a Leg>,
    meter: Option<&Meter>,
) -> Vec<LegRow> {
    let whole = paired.iter().filter(|t| t.client.is_some());
    let taken: HashSet<u64> = whole.flat_map(cookies).collect();
    // Upstream legs that the model shows in no tunnel at all are not nginx's.
    let alone: HashSet<u64> = paired.iter().filter(|t| t.client.is_none()).flat_map(cookies).collect();
    let mut out: HashMap<u64, LegRow> = HashMap::new();
    let moment = Moment::of(model, meter);
    for leg in besides {
        out.insert(leg.row.cookie, moment.leg(leg, model));
    }
    for leg in model.connections.legs() {
        let row = moment.leg(leg, model);
        if row.side == Some(Side::Client) || alone.contains(&leg.row.cookie) {
            out.insert(leg.row.cookie, row);
        }
    }
    let mut rows: Vec<LegRow> = out.into_values().filter(|r| !taken.contains(&r.leg.cookie())).collect();
    let lone = paired.iter().filter(|t| t.client.is_none()).filter_map(|t| t.unix.as_ref());
    rows.extend(lone.map(|leg| moment.unix(leg)));
    let masters = masters(model);
    for row in &mut rows {
        row.nginx = row.leg.pid().and_then(|pid| masters.get(&pid).copied());
    }
    rows.sort_by_cached_key(|r| (r.side, r.leg.local(), r.leg.tcp().map(|l| l.row.peer), r.leg.cookie()));
    rows
}
