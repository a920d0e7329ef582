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
/// The same once nothing has moved on any tunnel for so long: their times run on by themselves.
const AT_REST: Duration = Duration::from_secs(5);
/// For each of so many tunnels they are built a second less often, at a look too: building many takes its time from the keys.
const MANY: u32 = 50_000;

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
    /// The least time left among them when the rows were built.
    next_cut: Option<Duration>,
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

    /// The least time left among them.
    #[must_use]
    pub fn next_cut(&self, now: Timestamp) -> Option<Duration> {
        self.next_cut.map(|left| left.saturating_sub(now.since(self.at)))
    }

    /// The tunnel with this id, also one that ended a while ago.
    #[must_use]
    pub fn find(&self, id: u64) -> Option<&TunnelRow> {
        let shown = self.place(id).and_then(|at| self.rows.get(at));
        shown.or_else(|| self.before.iter().find(|r| r.id == id))
    }

    /// The same with at most so many living rows, those that end soonest, and half as many that ended; the counts stay.
    #[must_use]
    pub fn thinned(&self, most: usize) -> Self {
        let (living, ended) = self.rows.split_at(self.rows.partition_point(|r| r.ended.is_none()));
        let mut kept = self.clone();
        if self.before.len() > most / 2 {
            kept.before = Arc::new(self.before.iter().take(most / 2).cloned().collect());
        }
        if living.len() <= most && ended.len() <= most / 2 {
            return kept;
        }
        let mut by_end: Vec<&TunnelRow> = living.iter().collect();
        if by_end.len() > most {
            by_end.select_nth_unstable_by_key(most, |r| r.left.unwrap_or(Duration::MAX));
            by_end.truncate(most);
            by_end.sort_by_key(|r| r.id);
        }
        let rows = by_end.into_iter().chain(ended.iter().take(most / 2)).cloned().collect();
        kept.rows = Arc::new(rows);
        kept
    }

    /// The same after what `model` has learnt since, built anew only when that shows.
    #[must_use]
    pub fn after(&self, model: &Model) -> Self {
        let rest = FRESH * (u32::try_from(self.living).unwrap_or(u32::MAX) / MANY);
        let moved = model.connections.last_moved();
        let calm = self.rows.len() == self.living && moved.is_some_and(|at| model.now.since(at) >= AT_REST);
        let rest = match self.look == model.connections.last_look() {
            _ if calm && moved.is_some_and(|at| self.at >= at.plus(AT_REST)) => rest + AT_REST,
            true => rest + FRESH,
            false => rest,
        };
        if model.now.since(self.at) < rest { self.clone() } else { Self::of(model) }
    }

    /// Which row has an id. The living stand in the order of their ids.
    #[must_use]
    pub fn place(&self, id: u64) -> Option<usize> {
        place(&self.rows, id)
    }
}

/// See [`Tunnels::place`].
#[must_use]
pub fn place(rows: &[TunnelRow], id: u64) -> Option<usize> {
    let living = rows.get(..rows.partition_point(|r| r.ended.is_none())).unwrap_or_default();
    let found = living.binary_search_by_key(&id, |r| r.id).ok();
    found.or_else(|| Some(living.len() + rows.get(living.len()..)?.iter().position(|r| r.id == id)?))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, SourceId, SourceKind, Stamped};

    #[test]
    fn few_tunnels_are_gathered_every_second_and_many_less_often() {
        let mut model = Model::new("web1");
        let mut after = |ms: u64, before: &mut Tunnels| {
            let at = Timestamp::from_secs(1_000).plus(Duration::from_millis(ms));
            let from = SourceId::new(&Arc::from("web1"), SourceKind::Process);
            model.apply(&Stamped { at, from, event: Event::Tick });
            let now = before.after(&model);
            let anew = !Arc::ptr_eq(&now.rows, &before.rows);
            let living = before.living;
            *before = Tunnels { living, ..now };
            anew
        };
        let mut tunnels = Tunnels::of(&Model::new("web1"));
        let told = [0, 900, 1_000, 1_900, 2_000].map(|ms| after(ms, &mut tunnels));
        assert_eq!(told, [true, false, true, false, true]);
        tunnels.living = 100_000;
        let told = [3_000, 4_900, 5_000, 7_900, 8_000].map(|ms| after(ms, &mut tunnels));
        assert_eq!(told, [false, false, true, false, true]);
    }
}
