//! The rows of the Connections pane: one tunnel each, then those that ended a moment ago.

use std::sync::Arc;
use std::time::Duration;

use crate::model::Model;
use crate::model::connections::TunnelState;
use crate::report::sockets;
use crate::time::Timestamp;

use super::super::light::Light;

pub use crate::report::sockets::TunnelRow;

/// Rows are built at most this often between two looks at the sockets: their ages are shown in whole seconds.
const FRESH: Duration = Duration::from_secs(1);

/// How long a tunnel that ended stands among the others; its details are there for longer.
const ENDED_SHOWN: Duration = Duration::from_secs(30);

/// All tunnels of a moment, shared by the frames that show it.
#[derive(Clone, Debug)]
pub struct Tunnels {
    /// The living ones in the order of their ids, then those that ended, the latest first.
    pub rows: Arc<Vec<TunnelRow>>,
    /// Those that ended before, the latest first.
    pub before: Arc<Vec<TunnelRow>>,
    /// How many live.
    pub living: usize,
    /// The least time left among them.
    pub next_cut: Option<Duration>,
    at: Timestamp,
    look: Option<Timestamp>,
}

impl Tunnels {
    /// All tunnels of a model.
    #[must_use]
    pub fn of(model: &Model) -> Self {
        let mut rows = sockets::tunnels(model, None);
        let living = rows.len();
        let next_cut = rows.iter().filter_map(|t| t.left).min();
        let mut ended = sockets::ended(model);
        let lately = ended.partition_point(|r| r.ended.as_ref().is_some_and(|e| e.ago <= ENDED_SHOWN));
        let before = ended.split_off(lately);
        rows.extend(ended);
        let look = model.connections.last_look();
        Self { rows: Arc::new(rows), before: Arc::new(before), living, next_cut, at: model.now, look }
    }

    /// The tunnel with this id, also one that ended a while ago.
    #[must_use]
    pub fn find(&self, id: u64) -> Option<&TunnelRow> {
        self.rows.iter().chain(self.before.iter()).find(|r| r.id == id)
    }

    /// The same with at most so many rows: those that end soonest, then the rest; the counts stay.
    #[must_use]
    pub fn thinned(&self, most: usize) -> Self {
        if self.rows.len() <= most {
            return self.clone();
        }
        let mut by_end: Vec<&TunnelRow> = self.rows.iter().collect();
        by_end.select_nth_unstable_by_key(most, |r| r.left.unwrap_or(Duration::MAX));
        by_end.truncate(most);
        by_end.sort_by_key(|r| r.id);
        Self { rows: Arc::new(by_end.into_iter().cloned().collect()), ..self.clone() }
    }

    /// The same after what `model` has learnt since, built anew only when that shows.
    #[must_use]
    pub fn after(&self, model: &Model) -> Self {
        let same = self.look == model.connections.last_look() && model.now.since(self.at) < FRESH;
        if same { self.clone() } else { Self::of(model) }
    }
}

/// A tunnel's state as a light.
#[must_use]
pub const fn light(row: &TunnelRow) -> Light {
    match row.state {
        _ if row.ended.is_some() => Light::Idle,
        TunnelState::Stuck => Light::Warn,
        TunnelState::Closing | TunnelState::Unpaired => Light::Idle,
        TunnelState::Draining => Light::Draining,
        TunnelState::Open => Light::Ok,
    }
}
