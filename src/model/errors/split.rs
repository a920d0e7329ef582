//! How the entries of one category fall apart: by message, backend, client, location and server, in bounded memory.

use std::sync::Arc;

use crate::event::tally::top::Top;

use super::kept::{By, Kept};

/// Different names of each kind that are counted apart; clients choose most of them.
pub const NAMES: usize = 256;

/// One way of telling entries apart.
#[derive(Clone, Debug)]
pub struct Split {
    /// The most frequent names.
    pub top: Top<Arc<str>>,
    /// Entries whose line names none.
    pub without: u64,
}

/// All ways of telling the entries of a category apart.
#[derive(Clone, Debug)]
pub struct Splits([Split; 5]);

impl Default for Splits {
    fn default() -> Self {
        Self::of_size(NAMES)
    }
}

impl Splits {
    fn of_size(names: usize) -> Self {
        Self(std::array::from_fn(|_| Split { top: Top::new(names), without: 0 }))
    }

    /// Counts an entry.
    pub(super) fn add(&mut self, kept: &Kept) {
        for (by, split) in By::ALL.iter().skip(1).zip(&mut self.0) {
            match kept.key(*by) {
                Some(name) => split.top.add(name, 1),
                None => split.without += 1,
            }
        }
    }

    /// The same with at most about so many names of each kind; what the others add up to stays told as bounds.
    #[must_use]
    pub fn thinned(self: &Arc<Self>, names: usize) -> Arc<Self> {
        if self.0.iter().all(|s| s.top.len() <= names) {
            return Arc::clone(self);
        }
        let thin = |split: &Split| {
            let mut top = Top::new(names);
            top.merge(split.top.clone());
            Split { top, without: split.without }
        };
        Arc::new(Self(self.0.each_ref().map(thin)))
    }

    /// About how many bytes they take.
    #[must_use]
    pub fn weight(&self) -> usize {
        let names = self.0.iter().flat_map(|s| s.top.iter());
        size_of::<Self>() + names.map(|(name, _)| name.len() + 96).sum::<usize>()
    }

    /// One of them; `None` for the category, by which they are told apart already.
    #[must_use]
    pub fn get(&self, by: By) -> Option<&Split> {
        let at = By::ALL.iter().position(|b| *b == by)?;
        self.0.get(at.checked_sub(1)?)
    }
}

impl Split {
    /// Several categories as one.
    #[must_use]
    pub fn sum<'a>(splits: impl Iterator<Item = &'a Self>) -> Self {
        let mut sum = Self { top: Top::new(32 * NAMES), without: 0 };
        for split in splits {
            sum.top.merge(split.top.clone());
            sum.without += split.without;
        }
        sum
    }
}
