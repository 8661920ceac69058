//! What may be given up: a pure function of the catalogue and the time.

use crate::event::{Millis, age};
use crate::names::{DatasetName, Version};

use super::{Catalog, Dataset, Entry, State};

/// How many versions of each state that does not serve are kept, the newest first.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// Ready, and never served.
    pub ready: usize,
    /// Refused by a gate.
    pub rejected: usize,
    /// Rolled back from.
    pub bad: usize,
    /// Failed: they have no files, only a line that says why.
    pub failed: usize,
    /// How long a push may wait for its next part, in milliseconds.
    pub receiving: Millis,
}

impl Default for Keep {
    fn default() -> Self {
        Self { ready: 3, rejected: 2, bad: 2, failed: 10, receiving: 24 * 3600 * 1000 }
    }
}

impl Catalog {
    /// The versions that nobody needs any more. Never the current one or a canary, never what a
    /// rollback would go to (invariant 8) or a release activate, never one that stopped serving, be it as a
    /// canary, less than its grace time ago.
    pub(crate) fn due_for_deletion(&self, keep: &Keep, now: Millis) -> Vec<(DatasetName, Version)> {
        let mut due = Vec::new();
        for (name, dataset) in self.datasets() {
            let versions = dataset.due_for_deletion(keep, now);
            due.extend(versions.into_iter().map(|v| (name.clone(), v)));
        }
        due
    }

    /// Whether that version is among them.
    pub(crate) fn is_due(
        &self,
        name: &DatasetName,
        version: Version,
        keep: &Keep,
        now: Millis,
    ) -> bool {
        self.dataset(name).is_ok_and(|d| d.due_for_deletion(keep, now).contains(&version))
    }

    /// The pushes that began too long ago. Whether parts of them still come, their files say.
    pub(crate) fn abandoned(&self, keep: &Keep, now: Millis) -> Vec<(DatasetName, Version)> {
        let mut found = Vec::new();
        for (name, dataset) in self.datasets() {
            let versions = dataset.versions.iter();
            let abandoned = versions.filter(|(_, entry)| entry.is_abandoned(keep, now));
            found.extend(abandoned.map(|(version, _)| (name.clone(), *version)));
        }
        found
    }

    /// Whether that push is among them.
    pub(crate) fn is_abandoned(
        &self,
        name: &DatasetName,
        version: Version,
        keep: &Keep,
        now: Millis,
    ) -> bool {
        self.entry(name, version).is_ok_and(|entry| entry.is_abandoned(keep, now))
    }
}

impl Entry {
    fn is_abandoned(&self, keep: &Keep, now: Millis) -> bool {
        let old = now.saturating_sub(self.created_at) > keep.receiving;
        self.state == State::Receiving && old
    }
}

impl Dataset {
    fn due_for_deletion(&self, keep: &Keep, now: Millis) -> Vec<Version> {
        let retain = (self.config.retain as usize).max(1);
        let mut due = self.beyond(retain, |s| matches!(s, State::Active | State::Retired));
        due.extend(self.beyond(keep.ready, |s| s == State::Ready));
        due.extend(self.beyond(keep.rejected, |s| s == State::Rejected));
        due.extend(self.beyond(keep.bad, |s| s == State::Bad));
        due.extend(self.beyond(keep.failed, |s| s == State::Failed));
        let last_good = self.rollback_target();
        // What a release would activate waits for it, however many came after.
        let next = self.release_target();
        let canary = self.canary.as_ref().map(|canary| canary.version);
        due.retain(|v| ![self.current, canary, last_good, next].contains(&Some(*v)));
        due.retain(|v| self.versions.get(v).is_none_or(|e| self.grace_is_over(e, now)));
        due.sort_unstable();
        due
    }

    /// All but the newest `kept` versions in such a state. Of those that have served, the
    /// newest is the one that served last, whatever its number and whatever the clock
    /// said: after a rollback the higher numbers are the older news.
    fn beyond(&self, kept: usize, state: impl Fn(State) -> bool) -> Vec<Version> {
        let with_state = self.versions.iter().filter(|(_, e)| state(e.state));
        let mut found: Vec<Version> = with_state.map(|(v, _)| *v).collect();
        found.sort_by_key(|v| (self.served.iter().rposition(|s| s == v), *v));
        found.into_iter().rev().skip(kept).collect()
    }

    fn grace_is_over(&self, entry: &Entry, now: Millis) -> bool {
        let grace = self.config.retire_grace_seconds * 1000;
        let has_served = entry.activated_at.is_some() || entry.was_canary;
        entry.left_at.filter(|_| has_served).is_none_or(|left| age(left, now) >= grace)
    }
}
