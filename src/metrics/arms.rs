//! Lookups, counted for each arm of a dataset by itself: what is current, a canary, and
//! versions that were asked for by their number.
//!
//! Nearly all datasets only ever have the first, so the counters of an arm are made when it is
//! first read.

use std::ops::{Add, Sub};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::key_sample::KeySample;
use super::{SHARDS, shard};

/// Upper bounds of a lookup's time, in nanoseconds. A get from memory takes 2–20 µs, from
/// a disk 0.1–10 ms.
pub(super) const LOOKUP_BOUNDS_NS: [u64; 14] = [
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    10_000_000,
    50_000_000,
    250_000_000,
    1_000_000_000,
];

/// Which of a dataset's versions a read was of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Arm {
    /// What every reader gets.
    Current,
    /// What a share of them gets, while a canary runs.
    Canary,
    /// A version that was asked for by its number.
    Pinned,
}

impl Arm {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Current, Self::Canary, Self::Pinned];

    /// The word for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Canary => "canary",
            Self::Pinned => "pinned",
        }
    }
}

/// The arms of a dataset that were read so far.
#[derive(Debug, Default)]
pub(super) struct Arms([OnceLock<Arc<ArmMetrics>>; Arm::ALL.len()]);

impl Arms {
    pub(super) fn get(&self, arm: Arm) -> &Arc<ArmMetrics> {
        self.0[arm as usize].get_or_init(Arc::default)
    }

    pub(super) fn totals(&self, arm: Arm) -> ArmTotals {
        self.0[arm as usize].get().map(|arm| arm.totals()).unwrap_or_default()
    }
}

/// What is counted of one arm of one dataset.
#[derive(Debug, Default)]
pub(crate) struct ArmMetrics {
    counts: [Counts; SHARDS],
    /// Some of the keys that are looked up, while a watch wants them.
    pub(crate) keys: KeySample,
}

/// One thread's share; on cache lines of its own (an even number, since processors fetch them
/// in pairs).
#[derive(Debug, Default)]
#[repr(align(128))]
struct Counts {
    hits: AtomicU64,
    misses: AtomicU64,
    errors: AtomicU64,
    times: [AtomicU64; LOOKUP_BOUNDS_NS.len() + 1],
    sum_ns: AtomicU64,
}

impl ArmMetrics {
    /// One key was looked up, which took the store so long. Three uncontended additions.
    pub(crate) fn looked_up(&self, found: bool, took: Duration) {
        let counts = &self.counts[shard()];
        if found { &counts.hits } else { &counts.misses }.fetch_add(1, Relaxed);
        counts.took(1, took);
    }

    /// A batch was looked up: so many keys were there, so many were not. Each counts for an
    /// even share of the time.
    pub(crate) fn looked_up_many(&self, hits: u64, misses: u64, took: Duration) {
        let counts = &self.counts[shard()];
        counts.hits.fetch_add(hits, Relaxed);
        counts.misses.fetch_add(misses, Relaxed);
        counts.took(hits + misses, took);
    }

    /// A page of a scan had so many records.
    pub(crate) fn scanned(&self, records: u64) {
        self.counts[shard()].hits.fetch_add(records, Relaxed);
    }

    /// So many keys were looked up and not answered: damaged data, say, or a version that cannot be
    /// opened.
    pub(crate) fn failed(&self, keys: u64) {
        self.counts[shard()].errors.fetch_add(keys, Relaxed);
    }

    /// What was counted so far.
    pub(crate) fn totals(&self) -> ArmTotals {
        self.counts.iter().map(Counts::totals).fold(ArmTotals::default(), Add::add)
    }
}

impl Counts {
    fn took(&self, keys: u64, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let each = ns.checked_div(keys).unwrap_or_default();
        let at = LOOKUP_BOUNDS_NS.iter().position(|bound| each <= *bound);
        self.times[at.unwrap_or(LOOKUP_BOUNDS_NS.len())].fetch_add(keys, Relaxed);
        self.sum_ns.fetch_add(ns, Relaxed);
    }

    fn totals(&self) -> ArmTotals {
        let read = |count: &AtomicU64| count.load(Relaxed);
        ArmTotals {
            hits: read(&self.hits),
            misses: read(&self.misses),
            errors: read(&self.errors),
            times: std::array::from_fn(|at| read(&self.times[at])),
            sum_ns: read(&self.sum_ns),
        }
    }
}

/// What was counted of an arm up to one moment. The difference of two of them is what was
/// counted in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ArmTotals {
    /// Keys that were there.
    pub(crate) hits: u64,
    /// Keys that were not.
    pub(crate) misses: u64,
    /// Lookups that failed.
    pub(crate) errors: u64,
    /// Lookups by time: up to each of the bounds, and above them all.
    pub(super) times: [u64; LOOKUP_BOUNDS_NS.len() + 1],
    pub(super) sum_ns: u64,
}

impl ArmTotals {
    /// Keys looked up, whatever came of it.
    pub(crate) fn lookups(&self) -> u64 {
        self.hits + self.misses + self.errors
    }

    /// Keys looked up one by one or in batches: what can be found, absent or damaged, which the
    /// records of a scan cannot.
    pub(crate) fn keys(&self) -> u64 {
        self.timed() + self.errors
    }

    /// Those whose time is known: all that did not fail.
    pub(crate) fn timed(&self) -> u64 {
        self.times.iter().sum()
    }

    /// The time that this share of all lookups (0.5, 0.99) took no more than; `None` if no time
    /// was measured. As exact as the bounds are close: between two of them lookups are taken to
    /// lie evenly.
    pub(crate) fn quantile(&self, share: f64) -> Option<Duration> {
        let all = self.timed();
        let wanted = share * all as f64;
        let (mut before, mut below) = (0, 0);
        for (count, bound) in self.times.iter().zip(LOOKUP_BOUNDS_NS) {
            if *count > 0 && (before + count) as f64 >= wanted {
                let part = (wanted - before as f64).max(0.0) / *count as f64;
                let ns = below as f64 + part * (bound - below) as f64;
                return Some(Duration::from_nanos(ns as u64));
            }
            (before, below) = (before + count, bound);
        }
        (all > 0).then_some(Duration::from_nanos(below))
    }
}

impl Add for ArmTotals {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.with(&other, u64::saturating_add)
    }
}

/// Of counters that began anew in between, nothing is less than zero.
impl Sub for ArmTotals {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        self.with(&earlier, u64::saturating_sub)
    }
}

impl ArmTotals {
    fn with(&self, other: &Self, join: fn(u64, u64) -> u64) -> Self {
        Self {
            hits: join(self.hits, other.hits),
            misses: join(self.misses, other.misses),
            errors: join(self.errors, other.errors),
            times: std::array::from_fn(|at| join(self.times[at], other.times[at])),
            sum_ns: join(self.sum_ns, other.sum_ns),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Duration = Duration::from_micros(1);

    #[test]
    fn what_was_counted_in_between_is_the_difference() {
        let arms = Arms::default();
        assert_eq!(arms.totals(Arm::Canary), ArmTotals::default());
        let arm = arms.get(Arm::Current);
        arm.looked_up(true, 7 * US);
        let before = arms.totals(Arm::Current);
        arm.looked_up(false, 7 * US);
        arm.looked_up_many(5, 3, 80 * US);
        arm.failed(1);
        arm.scanned(10);
        let since = arms.totals(Arm::Current) - before;
        assert_eq!((since.hits, since.misses, since.errors, since.lookups()), (15, 4, 1, 20));
        assert_eq!(since.timed(), 9, "scans and failures have no time here");
        assert_eq!(since.keys(), 10, "without those of the scan");
        assert_eq!(since.sum_ns, 87_000);
        assert_eq!(before - arms.totals(Arm::Current), ArmTotals::default());
        assert_eq!(arms.totals(Arm::Pinned), ArmTotals::default());
    }

    #[test]
    fn a_batch_is_as_slow_as_its_keys_not_as_all_of_them() {
        let arm = ArmMetrics::default();
        arm.looked_up_many(0, 0, US);
        assert_eq!(arm.totals().quantile(0.5), None);
        arm.looked_up_many(100, 0, 300 * US);
        assert!(arm.totals().quantile(0.99).is_some_and(|time| time <= 5 * US));
    }

    #[test]
    fn quantiles_lie_within_their_bounds() {
        let arm = ArmMetrics::default();
        for _ in 0..98 {
            arm.looked_up(true, 3 * US);
        }
        arm.looked_up(true, 400 * US);
        arm.looked_up(true, Duration::from_secs(7));
        let quantile = |share| arm.totals().quantile(share).expect("times were measured");
        assert!((2 * US..=5 * US).contains(&quantile(0.5)), "{:?}", quantile(0.5));
        assert!((250 * US..=500 * US).contains(&quantile(0.99)), "{:?}", quantile(0.99));
        assert_eq!(quantile(1.0), Duration::from_secs(1), "the highest bound there is");
        assert!(quantile(0.0) >= 2 * US);
    }
}
