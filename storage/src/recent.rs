//! Which keys were looked up lately: a sample, so that the next version can be warmed with
//! what is really read.
//!
//! Only hashes of keys are kept. One lookup in thirteen of each thread is noted, in a place
//! that its hash chooses: a key that is asked for again and again keeps its place, others
//! take it from each other. So noting costs next to nothing, and no two threads wait for
//! each other.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::points::KeyHash;

/// 256 KiB: as many keys as fit in some hundred megabytes of pages, if each has its own.
const PLACES: usize = 32 * 1024;
/// One lookup of so many is noted: a prime, so that requests in a pattern do not fall in step
/// with it.
const EVERY: u32 = 13;

/// The sample.
pub(crate) struct Recent {
    hashes: Box<[AtomicU64]>,
}

impl Recent {
    pub(crate) fn new() -> Self {
        Self { hashes: (0..PLACES).map(|_| AtomicU64::new(0)).collect() }
    }

    /// A key with this hash was looked up.
    pub(crate) fn note(&self, hash: KeyHash) {
        thread_local! {
            static LOOKUPS: Cell<u32> = const { Cell::new(0) };
        }
        let lookups = LOOKUPS.get().wrapping_add(1);
        LOOKUPS.set(lookups);
        if lookups.is_multiple_of(EVERY) {
            self.keep(hash);
        }
    }

    /// Notes this key, whatever the number of lookups before it.
    pub(crate) fn keep(&self, hash: KeyHash) {
        self.hashes[hash.0 as usize % PLACES].store(hash.0, Relaxed);
    }

    /// What is noted now.
    pub(crate) fn hashes(&self) -> impl Iterator<Item = KeyHash> {
        // A key whose hash is 0 is never warmed, which costs it one read.
        let hashes = self.hashes.iter().map(|hash| hash.load(Relaxed));
        hashes.filter(|hash| *hash != 0).map(KeyHash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_often_is_remembered() {
        let recent = Recent::new();
        let hash = |n: u32| KeyHash::of(&n.to_le_bytes());
        for round in 0..2000 {
            (0..7).for_each(|hot| recent.note(hash(hot)));
            recent.note(hash(1000 + round));
        }
        let found: Vec<_> = recent.hashes().collect();
        let hot = (0..7).filter(|n| found.contains(&hash(*n))).count();
        assert_eq!(hot, 7);
        assert!(found.len() < 300, "{}", found.len());
    }
}
