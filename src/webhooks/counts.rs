//! What is counted of webhooks.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Notices by what became of them, and attempts that failed.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    delivered: AtomicU64,
    failed: AtomicU64,
    expired: AtomicU64,
    dropped: AtomicU64,
}

impl Counts {
    /// A receiver has taken one.
    pub(super) fn delivered(&self) {
        self.delivered.fetch_add(1, Relaxed);
    }

    /// An attempt failed; the notice waits for the next.
    pub(super) fn failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    /// So many were given up, after an hour of attempts.
    pub(super) fn expired(&self, notices: usize) {
        self.expired.fetch_add(notices as u64, Relaxed);
    }

    /// So many had to go because the queue was full.
    pub(super) fn dropped(&self, notices: usize) {
        self.dropped.fetch_add(notices as u64, Relaxed);
    }

    /// Each count with the name of its outcome.
    pub(crate) fn each(&self) -> [(&'static str, u64); 4] {
        [
            ("delivered", self.delivered.load(Relaxed)),
            ("failed", self.failed.load(Relaxed)),
            ("expired", self.expired.load(Relaxed)),
            ("dropped", self.dropped.load(Relaxed)),
        ]
    }
}
