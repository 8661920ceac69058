//! When the thread looks, by two clocks.
//!
//! The journal's times are of the one that may be set. A window that was counted by it would be over when that
//! clock is set, and with it the watch. So while the process runs a window is counted by the other one, which only
//! goes on. What was activated before the process began is as old as the journal says.

use std::time::{Duration, Instant};

use tidetable_storage::{Millis, Swap, now};

/// A moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// By the clock that the journal's times are of.
    pub(super) clock: Millis,
    /// By the one that nobody sets.
    pub(super) steady: Instant,
}

impl Moment {
    /// This one.
    pub(super) fn now() -> Self {
        Self { clock: now(), steady: Instant::now() }
    }

    /// This one, at which `swap` is seen first, by the clock as it stood when that was made. If the process
    /// has looked before, it was made since then, whatever the clock says.
    pub(super) fn of(self, swap: &Swap, looked_at: Option<Instant>) -> Self {
        let Some(looked_at) = looked_at else { return self };
        let latest = swap.at.saturating_add(millis(self.since(looked_at)));
        Self { clock: self.clock.clamp(swap.at, latest), ..self }
    }

    /// What the clock would say at a later moment if nobody had set it since this one.
    pub(super) fn counted_to(self, later: Self) -> Millis {
        self.clock.saturating_add(millis(later.since(self.steady)))
    }

    /// How much time has passed since then.
    pub(super) fn since(self, then: Instant) -> Duration {
        self.steady.saturating_duration_since(then)
    }
}

fn millis(time: Duration) -> Millis {
    Millis::try_from(time.as_millis()).unwrap_or(Millis::MAX)
}
