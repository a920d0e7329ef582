//! Figures of a table that programs may cut into words: no blanks inside.

use std::time::Duration;

use crate::human;

/// `2h14m`.
pub(super) fn span(d: Duration) -> String {
    human::span(d).replace(' ', "")
}

/// A count, bytes or a rate: `340`, `1.2k`.
pub(super) fn amount(n: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "shown, and never negative")]
    human::scaled(n.round() as u64)
}
