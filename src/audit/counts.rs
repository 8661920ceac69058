//! What is counted of the log.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::line::Kind;

/// Lines by what became of them.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    written: AtomicU64,
    left_out: AtomicU64,
    failed: AtomicU64,
    /// Of those left out, the ones that no line of the log tells yet.
    untold_denials: AtomicU64,
    untold_refusals: AtomicU64,
}

impl Counts {
    pub(super) fn written(&self) {
        self.written.fetch_add(1, Relaxed);
    }

    /// One more than may be written.
    pub(super) fn left_out(&self, kind: Kind) {
        self.left_out.fetch_add(1, Relaxed);
        self.untold(kind).fetch_add(1, Relaxed);
    }

    /// It could not be written.
    pub(super) fn failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    /// Denials and refusals that were left out since this was called last.
    pub(super) fn take_untold(&self) -> (u64, u64) {
        (self.untold_denials.swap(0, Relaxed), self.untold_refusals.swap(0, Relaxed))
    }

    fn untold(&self, kind: Kind) -> &AtomicU64 {
        match kind {
            Kind::Denial => &self.untold_denials,
            Kind::Refusal | Kind::Note => &self.untold_refusals,
        }
    }

    /// Each count with its name.
    pub(crate) fn each(&self) -> [(&'static str, u64); 3] {
        [
            ("written", self.written.load(Relaxed)),
            ("left_out", self.left_out.load(Relaxed)),
            ("failed", self.failed.load(Relaxed)),
        ]
    }
}
