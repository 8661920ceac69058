//! A sample of the keys that are looked up in one version, while somebody wants it.
//!
//! Nearly always nobody does, and then a lookup pays one comparison of a number that no
//! thread writes. While it is wanted, each thread keeps a few keys of its own in a place that
//! only the taker ever contends for, and a lookup that finds that taken goes on without.
//!
//! Every lookup of one thread since the last taking has the same chance to be among that
//! thread's keys. Those of two threads, or of two takings, have not: a busy one keeps no more
//! keys than a quiet one. Each thread's keys are therefore given with the number of lookups
//! that they were drawn from ([`Taken`]), and whoever joins them weights them by it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock};

use tidetable_storage::{EvenPoisoned as _, Version};

use super::{SHARDS, shard};

/// So many keys are kept of each thread, from one taking to the next.
const KEPT: usize = 512;
/// Longer keys are not kept: a bound on memory, eight megabytes in the worst case.
const LONGEST: usize = 1024;

/// The sample of one arm of one dataset.
#[derive(Debug, Default)]
pub(crate) struct KeySample {
    /// The version whose keys are wanted; 0, which no version has, for none.
    version: AtomicU64,
    /// Made when keys are first wanted.
    shards: OnceLock<Box<[Mutex<Kept>; SHARDS]>>,
}

/// What one thread has kept since the last taking; on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Kept {
    keys: Vec<Vec<u8>>,
    lookups: u64,
    random: u64,
}

/// What one thread had kept from one taking to the next: at least one key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) keys: Vec<Vec<u8>>,
    /// The lookups that they were drawn from, each with the same chance.
    pub(crate) lookups: u64,
}

impl Taken {
    /// Its keys, each with the number of lookups that it stands for.
    pub(crate) fn weighted(self) -> impl Iterator<Item = (Vec<u8>, f64)> {
        let weight = self.lookups as f64 / self.keys.len() as f64;
        self.keys.into_iter().map(move |key| (key, weight))
    }
}

impl KeySample {
    /// From now on keys that are looked up in this version are kept.
    pub(crate) fn want(&self, version: Version) {
        self.shards.get_or_init(Box::default);
        self.version.store(version.0, Relaxed);
    }

    /// No key of this version is kept any more. Those of another one are, if they are wanted.
    pub(crate) fn end(&self, version: Version) {
        if self.version.compare_exchange(version.0, 0, Relaxed, Relaxed).is_ok() {
            self.take();
        }
    }

    /// Whether keys that are looked up in this version are kept.
    pub(crate) fn is_wanted(&self, version: Version) -> bool {
        self.version.load(Relaxed) == version.0
    }

    /// A key was looked up in this version.
    pub(crate) fn note(&self, version: Version, key: &[u8]) {
        if self.is_wanted(version) {
            self.keep(key);
        }
    }

    /// What was kept since this was called last, of each thread that kept something.
    pub(crate) fn take(&self) -> Vec<Taken> {
        let shards = self.shards.get().into_iter().flat_map(|shards| shards.iter());
        let taken = shards.map(|kept| {
            let mut kept = kept.lock().even_poisoned();
            let keys = std::mem::take(&mut kept.keys);
            Taken { keys, lookups: std::mem::take(&mut kept.lookups) }
        });
        taken.filter(|taken| !taken.keys.is_empty()).collect()
    }

    #[cold]
    fn keep(&self, key: &[u8]) {
        let Some(shards) = self.shards.get() else { return };
        if key.len() <= LONGEST
            && let Some(mut kept) = shards[shard()].try_lock().even_poisoned()
        {
            kept.note(key);
        }
    }
}

impl Kept {
    /// Each of the lookups has the same chance to be kept: Vitter, "Random sampling with a
    /// reservoir" (1985), algorithm R.
    fn note(&mut self, key: &[u8]) {
        self.lookups += 1;
        if self.keys.len() < KEPT {
            self.keys.push(key.to_vec());
            return;
        }
        let place = self.random() % self.lookups;
        let place = usize::try_from(place).unwrap_or(KEPT);
        if let Some(kept) = self.keys.get_mut(place) {
            kept.clear();
            kept.extend_from_slice(key);
        }
    }

    /// SplitMix64 (Steele, Lea and Flood, 2014).
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Version = Version(7);

    fn number(key: &[u8]) -> u32 {
        u32::from_le_bytes(key.try_into().unwrap())
    }

    fn keys(taken: Vec<Taken>) -> Vec<Vec<u8>> {
        taken.into_iter().flat_map(|taken| taken.keys).collect()
    }

    #[test]
    fn keys_of_the_wanted_version_are_kept_and_of_no_other() {
        let sample = KeySample::default();
        sample.note(WANTED, b"early");
        sample.want(WANTED);
        sample.note(WANTED, b"a");
        sample.note(Version(6), b"b");
        sample.note(WANTED, &[b'x'; LONGEST + 1]);
        sample.note(WANTED, b"c");
        assert_eq!(sample.take(), [Taken { keys: vec![b"a".to_vec(), b"c".to_vec()], lookups: 2 }]);
        assert!(sample.take().is_empty());
        sample.note(WANTED, b"late");
        sample.end(Version(6));
        assert!(sample.is_wanted(WANTED), "the end of another one is not its own");
        sample.end(WANTED);
        sample.note(WANTED, b"too late");
        assert!(sample.take().is_empty() && !sample.is_wanted(WANTED));
    }

    #[test]
    fn every_lookup_has_the_same_chance_whenever_it_comes() {
        let sample = KeySample::default();
        sample.want(WANTED);
        let (rounds, lookups) = (50, 16_384u32);
        let mut quarters = [0u32; 4];
        for _ in 0..rounds {
            (0..lookups).for_each(|n| sample.note(WANTED, &n.to_le_bytes()));
            let taken = keys(sample.take());
            assert_eq!(taken.len(), KEPT);
            for key in &taken {
                quarters[(number(key) / (lookups / 4)) as usize] += 1;
            }
        }
        // 6,400 of each are expected, with a deviation of 69.
        assert!(quarters.iter().all(|n| n.abs_diff(6400) < 500), "{quarters:?}");
    }

    #[test]
    fn a_busy_thread_weighs_as_much_more_as_it_had_more_lookups() {
        let sample = KeySample::default();
        sample.want(WANTED);
        // As two threads would, whose shards are certain to be two.
        let note = |shard: usize, key: &[u8], lookups: u32| {
            let mut kept = sample.shards.get().unwrap()[shard].lock().unwrap();
            (0..lookups).for_each(|_| kept.note(key));
        };
        let weights = |taken: Vec<Taken>| {
            let weighted: Vec<_> = taken.into_iter().flat_map(Taken::weighted).collect();
            [b"busy", b"idle"].map(|key| {
                let of_key = weighted.iter().filter(|(found, _)| found == key);
                of_key.fold((0usize, 0.0f64), |(n, sum), (_, weight)| (n + 1, sum + weight))
            })
        };
        note(0, b"busy", 30_000);
        note(1, b"idle", 512);
        assert_eq!(weights(sample.take()), [(KEPT, 30_000.0), (KEPT, 512.0)]);
        // So does a second in which there was more to do.
        note(1, b"idle", 100);
        assert_eq!(weights(sample.take()), [(0, 0.0), (100, 100.0)]);
        note(1, b"idle", 5_000);
        assert_eq!(weights(sample.take()), [(0, 0.0), (KEPT, 5_000.0)]);
        assert!(sample.take().is_empty());
    }

    #[test]
    fn keys_are_kept_though_a_thread_panicked_while_it_kept_one() {
        let sample = KeySample::default();
        sample.want(WANTED);
        for kept in sample.shards.get().unwrap().iter() {
            let ended = std::thread::scope(|scope| {
                let panics = || {
                    let _kept = kept.lock().unwrap();
                    panic!("on purpose");
                };
                scope.spawn(panics).join()
            });
            assert!(ended.is_err() && kept.is_poisoned());
        }
        sample.note(WANTED, b"a");
        assert_eq!(keys(sample.take()), [b"a".to_vec()]);
    }

    #[test]
    fn threads_that_keep_while_keys_are_taken_lose_nothing_that_was_kept() {
        let sample = KeySample::default();
        sample.want(WANTED);
        let taken: usize = std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| (0..1000u32).for_each(|n| sample.note(WANTED, &n.to_le_bytes())));
            }
            let taker = scope.spawn(|| (0..100).map(|_| keys(sample.take()).len()).sum::<usize>());
            taker.join().unwrap()
        });
        let rest = keys(sample.take());
        assert!(taken + rest.len() >= KEPT, "{taken} and {}", rest.len());
        assert!(rest.iter().all(|key| number(key) < 1000));
    }
}
