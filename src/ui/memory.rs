//! The recent past, moment by moment, so that every pane can show it again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::time::Timestamp;

use super::snapshot::Snapshot;

/// Time between two moments of the last minutes, and how many of them are kept: five minutes.
const STEP: Duration = Duration::from_secs(5);
const STEPS: usize = 60;
/// And of the time before: the rest of the half hour that the timeline shows.
const STRIDE: Duration = Duration::from_secs(30);
const STRIDES: usize = 50;
/// Tunnels of a moment that are kept. With the longest rows of half a kilobyte the past takes less than 28 MB.
const TUNNELS: usize = 500;

/// What was shown, thinner the longer ago.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    older: VecDeque<Arc<Snapshot>>,
    recent: VecDeque<Arc<Snapshot>>,
}

impl Memory {
    /// It is time for another moment, and this can be it.
    #[must_use]
    pub fn is_due(&self, snapshot: &Snapshot) -> bool {
        snapshot.since.is_some() && self.recent.back().is_none_or(|last| snapshot.now.since(last.now) >= STEP)
    }

    /// What is kept of a moment.
    #[must_use]
    pub fn thinned(snapshot: &Snapshot) -> Arc<Snapshot> {
        let mut kept = snapshot.clone();
        kept.tunnels = kept.tunnels.thinned(TUNNELS);
        Arc::new(kept)
    }

    /// Keeps what [`Self::thinned`] has left of a moment that [`Self::is_due`].
    pub fn keep(&mut self, thinned: Arc<Snapshot>) {
        self.recent.push_back(thinned);
        if self.recent.len() <= STEPS {
            return;
        }
        let Some(leaving) = self.recent.pop_front() else { return };
        if self.older.back().is_none_or(|l| leaving.now.since(l.now) >= STRIDE) {
            self.older.push_back(leaving);
        }
        if self.older.len() > STRIDES {
            self.older.pop_front();
        }
    }

    fn all(&self) -> impl DoubleEndedIterator<Item = &Arc<Snapshot>> {
        self.older.iter().chain(&self.recent)
    }

    /// The last moment before `at`; the oldest one when there is none before it.
    #[must_use]
    pub fn before(&self, at: Timestamp) -> Option<Timestamp> {
        let earlier = self.all().rev().find(|s| s.now < at);
        earlier.or_else(|| self.all().next()).map(|s| s.now)
    }

    /// The first moment after `at`; `None` is the present.
    #[must_use]
    pub fn after(&self, at: Timestamp) -> Option<Timestamp> {
        self.all().find(|s| s.now > at).map(|s| s.now)
    }

    /// What was shown at `at` or last before it; the oldest moment when that is forgotten.
    #[must_use]
    pub fn at(&self, at: Timestamp) -> Option<&Arc<Snapshot>> {
        self.all().rev().find(|s| s.now <= at).or_else(|| self.all().next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::diagnose;
    use crate::model::Model;

    #[test]
    fn the_past_is_walked_back_and_forth_and_stays_bounded() {
        let mut model = Model::new("h");
        let mut memory = Memory::default();
        for s in 0..7_200 {
            model.now = Timestamp::from_secs(1_000 + s);
            model.since.get_or_insert(model.now);
            let moment = Snapshot::of(&model, &diagnose(&model));
            if memory.is_due(&moment) {
                memory.keep(Memory::thinned(&moment));
            }
        }
        assert_eq!(memory.recent.len(), STEPS);
        assert_eq!(memory.older.len(), STRIDES);
        let now = model.now;
        let back = memory.before(now).expect("a moment");
        assert_eq!(memory.after(back), None, "behind the newest is the present");
        let further = memory.before(back).expect("a moment");
        assert_eq!(back.since(further), STEP);
        assert_eq!(memory.after(further), Some(back));
        let oldest = memory.before(Timestamp::from_secs(0)).expect("the oldest");
        assert_eq!(memory.before(oldest), Some(oldest));
        assert!(now.since(oldest) >= Duration::from_secs(1_700), "{:?}", now.since(oldest));
        assert_eq!(memory.at(further).expect("kept").now, further);
    }
}
