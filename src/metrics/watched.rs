//! What is counted of watches, and whether a dataset gets the pushes that it should.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use tidetable_storage::{Dataset, EvenPoisoned as _, Millis, now};

use super::ArmTotals;

/// What is counted of the watches of one dataset.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    alarms: AtomicU64,
    fell: AtomicBool,
    /// The number of the last swap that was noticed, and what was counted up to it.
    swap: Mutex<Option<(u64, ArmTotals)>>,
    freshness: Mutex<Freshness>,
}

/// When the last push was, and when the next one is expected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Freshness {
    interval_seconds: Option<u64>,
    last_push_at: Option<Millis>,
    stale_from: Option<Millis>,
}

impl Freshness {
    /// That of a dataset as it stands.
    pub(crate) fn of(dataset: &Dataset) -> Self {
        Self {
            interval_seconds: dataset.config.expected_push_interval_seconds,
            last_push_at: dataset.last_push_at(),
            stale_from: dataset.stale_from(),
        }
    }
}

impl Watched {
    /// A version did worse than the one before.
    pub(crate) fn alarmed(&self) {
        self.alarms.fetch_add(1, Relaxed);
    }

    /// Whether the last version that was activated did worse than the one before.
    pub(crate) fn fell(&self, fell: bool) {
        self.fell.store(fell, Relaxed);
    }

    /// What is counted from now on is of the version that the swap with this number has made
    /// current. Says whether that is news.
    pub(crate) fn swapped(&self, seq: u64, so_far: impl FnOnce() -> ArmTotals) -> bool {
        let mut swap = self.swap.lock().even_poisoned();
        let is_new = swap.is_none_or(|(known, _)| known != seq);
        if is_new {
            *swap = Some((seq, so_far()));
        }
        is_new
    }

    /// What was counted before the swap with this number, if it was noticed.
    pub(crate) fn before(&self, seq: u64) -> Option<ArmTotals> {
        let swap = *self.swap.lock().even_poisoned();
        swap.filter(|(known, _)| *known == seq).map(|(_, totals)| totals)
    }

    /// The dataset stands like this from now on.
    pub(crate) fn is_fresh_like(&self, freshness: Freshness) {
        *self.freshness.lock().even_poisoned() = freshness;
    }

    pub(super) fn alarms(&self) -> u64 {
        self.alarms.load(Relaxed)
    }

    /// The gauges, in the order of [`GAUGES`].
    pub(super) fn gauges(&self) -> [u64; GAUGES.len()] {
        let fresh = *self.freshness.lock().even_poisoned();
        let is_stale = fresh.stale_from.is_some_and(|from| now() > from);
        [
            u64::from(self.fell.load(Relaxed)),
            u64::from(is_stale),
            fresh.interval_seconds.unwrap_or_default(),
            fresh.last_push_at.unwrap_or_default() / 1000,
        ]
    }
}

/// The gauges that are read when the page is written, with what they mean.
pub(super) const GAUGES: [(&str, &str); 4] = [
    ("watch_fell", "1 from the watch's alarm on until the next activation"),
    ("stale", "1 while a push is overdue"),
    ("expected_push_interval_seconds", "How often a push is expected; 0 if none is"),
    ("last_push_timestamp_seconds", "When the newest good push succeeded; 0 if none did"),
];
