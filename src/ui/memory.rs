//! The recent past, moment by moment, so that every pane can show it again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::time::Timestamp;

use super::keep::{self, Room};
use super::snapshot::Snapshot;

/// A part of the past: the time between two of its moments, how many there are, and how much of each is kept.
struct Stage {
    gap: Duration,
    moments: usize,
    room: Room,
}

/// Five minutes, the half hour that they belong to, the day.
const STAGES: [Stage; 3] = [
    Stage {
        gap: Duration::from_secs(5),
        moments: 60,
        room: Room { tunnels: 150, lines: 200, line_bytes: 128 << 10, names: 8, rows: 32, history: 16 },
    },
    Stage {
        gap: Duration::from_secs(30),
        moments: 50,
        room: Room { tunnels: 80, lines: 60, line_bytes: 32 << 10, names: 6, rows: 24, history: 8 },
    },
    Stage {
        gap: Duration::from_secs(300),
        moments: 282,
        room: Room { tunnels: 30, lines: 20, line_bytes: 12 << 10, names: 3, rows: 12, history: 4 },
    },
];

/// All moments together. Whatever is shown, they take no more; when it is much, the oldest go before their time.
pub const BYTES: usize = 64 << 20;

/// What was shown, thinner the longer ago.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// One for each of [`STAGES`], oldest first, with what each moment weighs.
    stages: [VecDeque<(Arc<Snapshot>, usize)>; 3],
    bytes: usize,
}

impl Memory {
    /// It is time for another moment, and this can be it.
    #[must_use]
    pub fn is_due(&self, snapshot: &Snapshot) -> bool {
        let [first, ..] = &STAGES;
        let last = self.stages.first().and_then(VecDeque::back);
        snapshot.since.is_some() && last.is_none_or(|(last, _)| snapshot.now.since(last.now) >= first.gap)
    }

    /// What is kept of a moment.
    #[must_use]
    pub fn thinned(snapshot: &Snapshot) -> Arc<Snapshot> {
        let [first, ..] = &STAGES;
        Arc::new(keep::thinned(snapshot, &first.room))
    }

    /// Keeps what [`Self::thinned`] has left of a moment that [`Self::is_due`].
    pub fn keep(&mut self, thinned: Arc<Snapshot>) {
        let mut next = Some(thinned);
        for n in 0..STAGES.len() {
            let Some(moment) = next.take() else { break };
            next = self.enter(n, moment);
        }
        while self.bytes > BYTES {
            let Some((_, weight)) = self.stages.iter_mut().rev().find_map(VecDeque::pop_front) else { break };
            self.bytes = self.bytes.saturating_sub(weight);
        }
    }

    /// Puts a moment into a stage when one is due there; returns the one that leaves it.
    fn enter(&mut self, n: usize, moment: Arc<Snapshot>) -> Option<Arc<Snapshot>> {
        let (stage, kept) = (STAGES.get(n)?, self.stages.get_mut(n)?);
        if kept.back().is_some_and(|(last, _)| moment.now.since(last.now) < stage.gap) {
            return None;
        }
        let thin = if n == 0 { moment } else { Arc::new(keep::thinned(&moment, &stage.room)) };
        let weight = keep::weight(&thin);
        kept.push_back((thin, weight));
        self.bytes += weight;
        if kept.len() <= stage.moments {
            return None;
        }
        let (left, weight) = kept.pop_front()?;
        self.bytes = self.bytes.saturating_sub(weight);
        Some(left)
    }

    fn all(&self) -> impl DoubleEndedIterator<Item = &Arc<Snapshot>> {
        self.stages.iter().rev().flatten().map(|(moment, _)| moment)
    }

    /// About how many bytes all moments take, rather too many.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
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

    /// What was shown at `at` or first after it: what happened then is in it. `None` is the present.
    #[must_use]
    pub fn not_before(&self, at: Timestamp) -> Option<&Arc<Snapshot>> {
        self.all().find(|s| s.now >= at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::diagnose;
    use crate::model::Model;

    /// A screen that shows nothing, every `step` seconds for `secs`.
    fn watch(memory: &mut Memory, model: &mut Model, from: i64, secs: i64, step: usize) {
        for s in (0..secs).step_by(step) {
            model.now = Timestamp::from_secs(from + s);
            model.since.get_or_insert(model.now);
            let moment = Snapshot::of(model, &diagnose(model));
            if memory.is_due(&moment) {
                memory.keep(Memory::thinned(&moment));
            }
        }
    }

    #[test]
    fn the_past_is_walked_back_and_forth_and_stays_bounded() {
        let mut model = Model::new("h");
        let mut memory = Memory::default();
        // A day and more with a frame now and then, and then an hour of frames every second.
        watch(&mut memory, &mut model, 1_000, 100_000, 20);
        watch(&mut memory, &mut model, 101_000, 3_600, 1);
        for (kept, stage) in memory.stages.iter().zip(&STAGES) {
            assert_eq!(kept.len(), stage.moments);
        }
        assert!(memory.bytes() < 8 << 20, "{}", memory.bytes());
        let now = model.now;
        let back = memory.before(now).expect("a moment");
        assert_eq!(memory.after(back), None, "behind the newest is the present");
        let further = memory.before(back).expect("a moment");
        assert_eq!(back.since(further), STAGES[0].gap);
        assert_eq!(memory.after(further), Some(back));
        let oldest = memory.before(Timestamp::from_secs(0)).expect("the oldest");
        assert_eq!(memory.before(oldest), Some(oldest));
        assert!(now.since(oldest) >= Duration::from_secs(86_400), "{:?}", now.since(oldest));
        let moment = |at| memory.at(at).expect("kept").now;
        assert_eq!(moment(further), further);
        // Between two moments: the one before, or for what happened then the one after.
        let between = further.plus(Duration::from_secs(2));
        assert_eq!(moment(between), further);
        assert_eq!(memory.not_before(between).map(|s| s.now), Some(back));
        assert!(memory.not_before(now.plus(Duration::from_secs(1))).is_none(), "the present");
        // Every moment of the last day has one that is not further away than its stage promises.
        for (ago, gap) in [(200_u64, 5), (1_000, 30), (1_700, 30), (7_200, 300), (80_000, 300)] {
            let asked = now.minus(Duration::from_secs(ago));
            assert!(
                asked.since(moment(asked)) <= Duration::from_secs(gap),
                "{ago} s ago: {:?}",
                asked.since(moment(asked))
            );
        }
    }

    #[test]
    fn the_worst_rows_keep_to_their_bytes() {
        let worst = crate::ui::tests::worst();
        let heavy = keep::weight(&keep::thinned(&worst, &STAGES[0].room));
        assert!(heavy > 600 << 10, "that is not bad enough: {heavy}");
        let mut memory = Memory::default();
        let mut moment = worst.clone();
        for n in 0..450_i64 {
            moment.now = worst.now.plus(Duration::from_secs(300 * n.unsigned_abs()));
            memory.keep(Memory::thinned(&moment));
            assert!(memory.bytes() <= BYTES, "{} bytes after {n} moments", memory.bytes());
        }
        let counted: usize = memory.stages.iter().flatten().map(|(_, weight)| weight).sum();
        assert_eq!(counted, memory.bytes());
        let each: Vec<usize> = STAGES.iter().map(|s| keep::weight(&keep::thinned(&worst, &s.room))).collect();
        assert!(memory.all().count() >= 60, "five minutes at least: {each:?}");
    }
}
