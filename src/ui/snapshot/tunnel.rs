//! The rows of the Connections pane: one tunnel each.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use crate::model::Model;
use crate::model::connections::{Tunnel, TunnelState};
use crate::model::legs::{Leg, Side};
use crate::model::tunnels::Confidence;
use crate::time::Timestamp;

use super::super::light::Light;

/// One tunnel.
#[derive(Clone, Debug)]
pub struct TunnelRow {
    /// Stable while it lives.
    pub id: u64,
    /// The leg to the client.
    pub client: Option<Leg>,
    /// The leg to the backend.
    pub upstream: Option<Leg>,
    /// How sure it is that the two belong together.
    pub pair: Confidence,
    /// The process that holds it.
    pub worker: Option<u32>,
    /// The location's path.
    pub location: Option<String>,
    /// Its state.
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
    /// Retransmitted segments.
    pub lost: Option<u32>,
    /// Until the proxy cuts it, if it stays silent.
    pub left: Option<Duration>,
    /// What that runs down from.
    pub timeout: Option<Duration>,
    /// The directive that set it.
    pub cut_by: Option<&'static str>,
    /// The time left at most, where several locations with other timeouts lead to the same backend.
    pub left_at_most: Option<Duration>,
    /// What is odd about a leg: `client: window shut`.
    pub odd: Option<String>,
    /// Bytes in both directions over the last minute, oldest first.
    pub recent: Option<Vec<u64>>,
    /// The endpoint whose probe holds it.
    pub probe: Option<String>,
}

impl TunnelRow {
    /// The client's address.
    #[must_use]
    pub fn client_addr(&self) -> Option<SocketAddr> {
        self.client.as_ref().map(|l| l.row.peer)
    }

    /// The backend's address.
    #[must_use]
    pub fn upstream_addr(&self) -> Option<SocketAddr> {
        self.upstream.as_ref().map(|l| l.row.peer)
    }

    /// Its state as a light.
    #[must_use]
    pub const fn light(&self) -> Light {
        match self.state {
            TunnelState::Stuck => Light::Warn,
            TunnelState::Closing | TunnelState::Unpaired => Light::Idle,
            TunnelState::Draining => Light::Draining,
            TunnelState::Open => Light::Ok,
        }
    }
}

/// All tunnels of a model.
#[must_use]
pub fn rows(model: &Model) -> Vec<TunnelRow> {
    let workers = model.masters().iter().flat_map(|m| &m.workers);
    let draining: HashSet<u32> = workers.filter(|w| w.shutting_down).map(|w| w.pid).collect();
    let tunnels = model.connections.tunnels(model.now, &|pid| draining.contains(&pid));
    let mut rows: Vec<TunnelRow> = tunnels.iter().map(|t| row(t, model.now)).collect();
    // The order of equals must not change from frame to frame.
    rows.sort_by_key(|r| r.id);
    rows
}

fn row(t: &Tunnel<'_>, now: Timestamp) -> TunnelRow {
    let rates = t.rates(now);
    TunnelRow {
        id: t.id,
        client: t.client.cloned(),
        upstream: t.upstream.cloned(),
        pair: t.pair,
        worker: t.worker(),
        location: t.location.map(str::to_owned),
        state: t.state,
        age: t.age(now),
        idle: t.idle(now),
        down: rates.map(|r| r.0),
        up: rates.map(|r| r.1),
        rtt: t.client_rtt(),
        lost: t.retransmits(),
        left: t.time_left,
        timeout: t.read_timeout,
        cut_by: t.deadline.map(|d| d.cut.directive()),
        left_at_most: t.deadline.filter(|d| !d.is_exact()).map(|d| d.most),
        odd: t.trouble(now).map(|(side, what)| {
            let side = if side == Side::Client { "client" } else { "backend" };
            format!("{side}: {}", what.word())
        }),
        recent: t.recent(now).map(|r| r.iter().map(|(d, u)| u64::from(*d) + u64::from(*u)).collect()),
        probe: t.probe.map(|p| p.endpoint.to_string()),
    }
}
