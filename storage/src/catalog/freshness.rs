//! Whether a dataset gets the pushes that it should.

use crate::event::Millis;

use super::{Dataset, State};

impl Dataset {
    /// When the newest push succeeded that is kept and not bad: its version was verified and
    /// had passed its gates. A version that waits to be activated counts, too: the job has
    /// done its work.
    pub fn last_push_at(&self) -> Option<Millis> {
        let good = |state| matches!(state, State::Ready | State::Active | State::Retired);
        let pushed = self.versions.values().filter(|entry| good(entry.state));
        pushed.filter_map(|entry| entry.ready_at).max()
    }

    /// From when on the dataset is stale, unless there is another push: `None` if none is
    /// expected. One that never had a push is as fresh as it is new.
    pub fn stale_from(&self) -> Option<Millis> {
        let interval = self.config.expected_push_interval_seconds?;
        let fresh_at = self.last_push_at().unwrap_or(self.created_at);
        Some(fresh_at.saturating_add(interval.saturating_mul(1000)))
    }

    /// Whether a push is overdue.
    pub fn is_stale(&self, now: Millis) -> bool {
        self.stale_from().is_some_and(|from| now > from)
    }
}
