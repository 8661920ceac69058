//! Which keys were looked up lately: a sample, so that the next version can be warmed with what is
//! really read.
//!
//! Only hashes of keys are kept. Each thread notes one lookup in three, in a place that the key's
//! hash chooses, over whatever stands there. A key that is asked for again and again is mostly
//! found in its place; rare ones overwrite each other. To note one is a single store: it costs next
//! to nothing, and no thread waits for another.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::points::KeyHash;

/// A place for every so many records: of most data fewer are asked for in a day, and a place
/// takes as much memory as the index does for one record.
const RECORDS_A_PLACE: u64 = 8;
/// 2 MiB: as many keys as fit in a gigabyte of pages, if each has its own.
const MOST_PLACES: usize = 256 * 1024;
/// One lookup of so many is noted: a prime, so that requests in a pattern do not fall in step
/// with it.
const EVERY: u32 = 3;

/// The sample.
pub(crate) struct Recent {
    hashes: Box<[AtomicU64]>,
}

impl Recent {
    /// An empty sample, for a version of so many records.
    pub(crate) fn of(records: u64) -> Self {
        let places = usize::try_from(records / RECORDS_A_PLACE).unwrap_or(usize::MAX);
        let places = places.clamp(1, MOST_PLACES);
        Self { hashes: (0..places).map(|_| AtomicU64::new(0)).collect() }
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
        // As the remainder of a division would, and faster: Lemire, "Fast random integer
        // generation in an interval" (2019).
        let place = (u128::from(hash.0) * self.hashes.len() as u128) >> 64;
        self.hashes[place as usize].store(hash.0, Relaxed);
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
        let recent = Recent::of(100_000);
        let hash = |n: u32| KeyHash::of(&n.to_le_bytes());
        for round in 0..2000 {
            (0..7).for_each(|hot| recent.note(hash(hot)));
            recent.note(hash(1000 + round));
        }
        let found: Vec<_> = recent.hashes().collect();
        let hot = (0..7).filter(|n| found.contains(&hash(*n))).count();
        assert_eq!(hot, 7);
        assert!(found.len() < 1000, "{}", found.len());
    }
}
