//! The five panes by name and number.

/// One pane of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pane {
    /// Can clients get in?
    Handshakes,
    /// Who is in, and for how long still?
    Connections,
    /// What does nginx say?
    Errors,
    /// What is wrong?
    Findings,
    /// When did it start?
    Timeline,
}

impl Pane {
    /// All panes in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Handshakes, Self::Connections, Self::Errors, Self::Findings, Self::Timeline];

    /// Its place in [`Pane::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The key that focuses it.
    #[must_use]
    pub const fn digit(self) -> &'static str {
        match self {
            Self::Handshakes => "1",
            Self::Connections => "2",
            Self::Errors => "3",
            Self::Findings => "4",
            Self::Timeline => "5",
        }
    }

    /// Its title.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Handshakes => "Handshakes",
            Self::Connections => "Connections",
            Self::Errors => "Errors",
            Self::Findings => "Findings",
            Self::Timeline => "Timeline",
        }
    }

    /// Its title where room is short.
    #[must_use]
    pub const fn short_title(self) -> &'static str {
        match self {
            Self::Handshakes => "Shake",
            Self::Connections => "Conn",
            Self::Errors => "Err",
            Self::Findings => "Find",
            Self::Timeline => "Time",
        }
    }

    /// The pane `by` places further, round and round.
    #[must_use]
    pub const fn step(self, by: usize) -> Self {
        Self::ALL[(self.index() + by) % Self::ALL.len()]
    }
}
