//! How far a worker is behind.
//!
//! A worker does one thing after the other, so whatever is asked of it now waits for what was
//! asked before. How long is told by a pulse that goes off every few moments and takes its turn
//! like all others: as long as it is overdue, so long would a request wait.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How often a worker's pulse goes off.
pub(super) const PULSE: Duration = Duration::from_millis(25);

/// In the extensions of a request that came to a worker which is behind: what takes long is
/// better asked of it later.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Late;

/// What one worker knows of its lateness. All of it happens on its thread.
#[derive(Debug)]
pub(super) struct Load {
    began: Instant,
    /// When the last pulse was felt, in microseconds since then.
    felt: AtomicU64,
    /// How long after it the worker is late.
    limit: Duration,
}

impl Load {
    /// Late is who is behind by more than `limit`.
    pub(super) fn new(limit: Duration) -> Self {
        Self { began: Instant::now(), felt: AtomicU64::new(0), limit: limit.saturating_add(PULSE) }
    }

    /// The pulse had its turn: so has everything that was asked before it went off.
    pub(super) fn felt(&self) {
        self.felt.store(micros(self.began.elapsed()), Relaxed);
    }

    /// Whether work that takes long is to be refused.
    pub(super) fn is_late(&self) -> bool {
        let since = micros(self.began.elapsed()).saturating_sub(self.felt.load(Relaxed));
        Duration::from_micros(since) > self.limit
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_is_who_has_not_felt_the_pulse_for_longer_than_the_limit() {
        let load = |felt: Duration, limit| {
            let began = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
            Load { began, ..Load::new(Duration::from_secs(limit)) }.with(felt)
        };
        assert!(load(Duration::ZERO, 10).is_late());
        assert!(!load(Duration::ZERO, 600).is_late());
        assert!(!load(Duration::from_secs(60), 10).is_late());
        let late = load(Duration::ZERO, 10);
        late.felt();
        assert!(!late.is_late(), "one turn, and it is in time");
    }

    impl Load {
        fn with(self, felt: Duration) -> Self {
            self.felt.store(micros(felt), Relaxed);
            self
        }
    }
}
