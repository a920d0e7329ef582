//! What a part of a log leaves to its neighbours: a line that continues an entry follows the fate of a line before it.

/// What the line before was: a line without a head follows its fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Before {
    /// Nothing that it could continue.
    #[default]
    Nothing,
    /// An entry that counts, or a line that fits no grammar.
    Counted,
    /// An entry that was left out.
    LeftOut,
}

/// What a part of a file leaves to its neighbours: the lines before its first entry, whose fate the part before decides,
/// and what the part after has to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Edge {
    /// Empty lines at the beginning.
    pub(super) empty: u64,
    /// Other lines there without a head.
    pub(super) headless: u64,
    /// Lines behind those that begin like an entry and are none.
    pub(super) unparsed: u64,
    /// Lines without a head behind those.
    pub(super) continuations: u64,
    pub(super) overlong: u64,
    /// What the last line was; `None`: there was no entry.
    pub(super) last: Option<Before>,
}

/// Lines that are no entries.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    pub(super) continuations: u64,
    pub(super) unparsed: u64,
    pub(super) overlong: u64,
}

impl Edge {
    /// Counts the first lines of a part, now that the end of the part before is known; gives what the part after follows.
    pub(super) fn settle(&self, before: Before, into: &mut Figures) -> Before {
        if before == Before::LeftOut {
            return self.last.unwrap_or(before);
        }
        into.overlong += self.overlong;
        into.unparsed += self.unparsed;
        into.continuations += self.empty + self.continuations;
        if before == Before::Nothing {
            // There is nothing that they could continue: this may be no such log at all.
            into.unparsed += self.headless;
        } else {
            into.continuations += self.headless;
        }
        self.last.unwrap_or(if self.unparsed > 0 { Before::Counted } else { before })
    }
}
