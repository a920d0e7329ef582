//! What backends' own logs said, as rows of a report.

use serde::Serialize;

use crate::event::backend::{BackendSum, Fault};
use crate::time::Timestamp;

/// Backend logs in sum; their lines are in no other count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BackendFigures {
    /// Whole lines read.
    pub lines: u64,
    /// Those with a known message.
    pub recognised: u64,
    /// Lines of which only the beginning was read.
    pub overlong: u64,
    /// The messages, the most frequent first.
    pub messages: Vec<BackendRow>,
}

/// One known message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BackendRow {
    /// Whose message it is.
    pub library: String,
    /// The words that are always there.
    pub words: String,
    /// What was wrong.
    pub fault: Fault,
    /// The same in one sentence.
    pub meaning: &'static str,
    /// The HTTP status that goes with it; `None` where the framework around the library decides.
    pub status: Option<u16>,
    /// So often.
    pub count: u64,
    /// When last; `None`: its lines tell no time.
    pub last: Option<Timestamp>,
    /// That last line, made safe to show.
    pub raw: String,
}

impl BackendFigures {
    /// What `sum` counted.
    #[must_use]
    pub fn of(sum: &BackendSum) -> Self {
        let row = |((library, words), c): (&(String, String), &crate::event::backend::BackendCount)| BackendRow {
            library: library.clone(),
            words: words.clone(),
            fault: c.last.fault,
            meaning: c.last.fault.meaning(),
            status: c.last.status,
            count: c.count,
            last: c.last.at,
            raw: c.last.raw.clone(),
        };
        let mut messages: Vec<BackendRow> = sum.by_message.iter().map(row).collect();
        messages.sort_by_key(|m| std::cmp::Reverse(m.count));
        let recognised = messages.iter().map(|m| m.count).sum();
        Self { lines: sum.lines, recognised, overlong: sum.overlong, messages }
    }
}
