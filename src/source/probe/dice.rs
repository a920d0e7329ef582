//! Chance for jitter and for telling our pongs from others: no secret hangs on it.

use std::hash::{BuildHasher as _, RandomState};

/// A random number: std seeds its hashers from the system's randomness.
pub(super) fn dice() -> u32 {
    let bits = RandomState::new().hash_one(0_u8);
    u32::try_from(bits >> 32).unwrap_or_default()
}
