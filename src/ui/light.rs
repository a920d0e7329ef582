//! The state of one row as a sign and a tone: colour never says anything alone.

use super::theme::{self, Tone};

/// How a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Light {
    /// Hurts.
    Bad,
    /// Could hurt.
    Warn,
    /// Serves its last.
    Draining,
    /// As it should be.
    Ok,
    /// Known, but idle.
    Idle,
    /// Nothing to say.
    None,
}

impl Light {
    /// The sign.
    #[must_use]
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Bad => theme::BAD,
            Self::Warn => theme::WARN,
            Self::Draining => theme::DRAINING,
            Self::Ok => theme::OK,
            Self::Idle => theme::IDLE,
            Self::None => theme::NONE,
        }
    }

    /// The tone of the sign.
    #[must_use]
    pub const fn tone(self) -> Tone {
        match self {
            Self::Bad => Tone::Bad,
            Self::Warn => Tone::Warn,
            Self::Ok => Tone::Good,
            Self::Draining | Self::Idle => Tone::Muted,
            Self::None => Tone::Faint,
        }
    }

    /// The tone of the word beside the sign: what is well stays quiet.
    #[must_use]
    pub const fn word_tone(self) -> Tone {
        match self {
            Self::Ok => Tone::Plain,
            other => other.tone(),
        }
    }
}
