//! When a probe opened, failed, lost its tunnel or was switched off: the strip of it on the timeline.

use std::collections::VecDeque;

use crate::time::Timestamp;

/// Changes that are kept. What lies before them is not known.
const KEPT: usize = 256;

/// What a probe turned to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing is known from here on: it was switched off, or we closed.
    Off,
    /// A tunnel stands.
    Opened,
    /// It ended, and not by us.
    Died,
    /// An attempt failed.
    Failed,
}

/// The newest changes, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Turns {
    kept: VecDeque<(Timestamp, Turn)>,
}

impl Turns {
    /// Remembers what it is from now on; the same again is no change.
    pub(super) fn push(&mut self, at: Timestamp, turn: Turn) {
        if self.kept.back().is_some_and(|(_, last)| *last == turn) {
            return;
        }
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back((at, turn));
    }

    /// Oldest first; each holds until the next.
    #[must_use]
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Timestamp, Turn)> {
        self.kept.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_are_kept_and_only_so_many() {
        let mut turns = Turns::default();
        for s in 0..1_000 {
            turns.push(Timestamp::from_secs(s), Turn::Failed);
        }
        assert_eq!(turns.iter().collect::<Vec<_>>(), [(Timestamp::from_secs(0), Turn::Failed)]);
        for s in 1_000..2_000 {
            turns.push(Timestamp::from_secs(s), if s % 2 == 0 { Turn::Opened } else { Turn::Died });
        }
        assert_eq!(turns.iter().count(), KEPT);
        assert_eq!(turns.iter().next_back(), Some((Timestamp::from_secs(1_999), Turn::Died)));
    }
}
