//! Chance for pauses, so that many who failed at once do not come back at once.

use std::hash::{BuildHasher, RandomState};

/// A number from 0 to 1. Each `RandomState` has keys of its own: good enough for jitter, and
/// no dependency.
pub(crate) fn chance() -> f64 {
    let bits = RandomState::new().hash_one(0_u8) >> 32;
    #[expect(clippy::cast_precision_loss, reason = "32 bits fit an f64")]
    let fraction = bits as f64 / f64::from(u32::MAX);
    fraction
}
