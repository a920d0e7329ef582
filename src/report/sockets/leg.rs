//! One leg alone: without a partner, or on a port that was asked for.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use super::super::filter::Fields;
use super::meter::Meter;
use super::row::{Moment, TunnelRow, at_least, counters, shown};
use crate::model::Model;
use crate::model::legs::Leg;
use crate::model::tunnels::Confidence;

/// A leg without a partner, or one on a port that was asked for.
#[derive(Clone, Debug)]
pub struct LegRow {
    /// The row of the socket table and what was learnt by watching it.
    pub leg: Leg,
    /// On which side of nginx, where nginx's ports tell.
    pub side: Option<Side>,
    /// Its age, and whether that is a lower bound.
    pub age: (Duration, bool),
    /// Silence.
    pub idle: Option<Duration>,
    /// Bytes a second received and sent.
    pub rates: Option<(f64, f64)>,
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
        let row = &self.leg.row;
        let address = |a: SocketAddr| Some(Cow::Owned(a.to_string()));
        match (key, self.side) {
            // Without an nginx that tells the sides the peer answers to both names.
            ("client", Some(Side::Client) | None) | ("upstream", Some(Side::Upstream) | None) => address(row.peer),
            ("local", _) => address(row.local),
            ("worker", _) => row.pid.map(|p| Cow::Owned(p.to_string())),
            ("state", _) => Some(Cow::Borrowed(row.state.word())),
            ("pair", _) => Some(Cow::Borrowed(Confidence::None.word())),
            _ => shown(key, self.number(key)?),
        }
    }

    fn number(&self, key: &str) -> Option<f64> {
        let info = self.leg.row.info.as_ref();
        match key {
            "age" => Some(self.age.0.as_secs_f64()),
            "idle" => Some(self.idle?.as_secs_f64()),
            "rtt" => Some(f64::from(info?.rtt_us?) / 1e6),
            // Down is towards the client: sent on its leg, received on the backend's.
            "down" | "up" => {
                let (received, sent) = self.rates?;
                Some(if (key == "down") == (self.side == Some(Side::Upstream)) { received } else { sent })
            }
            "bytes" => counters(&self.leg).map(|(received, sent)| (received + sent) as f64),
            "queue" => Some(f64::from(self.leg.row.recv_q) + f64::from(self.leg.row.send_q)),
            "retransmits" => Some(f64::from(info?.retransmits?)),
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
            leg: leg.clone(),
            side,
            age: at_least((self.now.since(leg.first), leg.older_than_us), [Some(leg)], self.now),
            idle: leg.idle(self.now),
            rates: self.rates(leg),
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
    let whole = paired.iter().filter(|t| t.client.is_some() && t.upstream.is_some());
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
    let mut rows: Vec<LegRow> = out.into_values().filter(|r| !taken.contains(&r.leg.row.cookie)).collect();
    rows.sort_unstable_by_key(|r| (r.side, r.leg.row.local, r.leg.row.peer, r.leg.row.cookie));
    rows
}
