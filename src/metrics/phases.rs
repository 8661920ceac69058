//! How long the phases of a push take: for all datasets together, since a histogram for each
//! dataset and phase would be most of the page.

use std::sync::Mutex;
use std::time::Duration;

use tidetable_storage::EvenPoisoned as _;

use super::PushTimes;

/// What a push is doing, as its times are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PushPhase {
    /// From its number to its last part: in a push of several parts also the pauses of its client.
    Receiving,
    /// Rows are read and sorted.
    Reading,
    /// Sorted records are written.
    Building,
    /// What was written is read back.
    Verifying,
    /// Opened, warmed and swapped in.
    Activating,
}

impl PushPhase {
    const ALL: [Self; 5] =
        [Self::Receiving, Self::Reading, Self::Building, Self::Verifying, Self::Activating];

    fn as_str(self) -> &'static str {
        match self {
            Self::Receiving => "receiving",
            Self::Reading => "reading",
            Self::Building => "building",
            Self::Verifying => "verifying",
            Self::Activating => "activating",
        }
    }
}

/// The times of all phases.
#[derive(Debug, Default)]
pub(crate) struct PhaseTimes([Mutex<PushTimes>; PushPhase::ALL.len()]);

impl PhaseTimes {
    /// A push has come through a phase, and this long it took.
    pub(crate) fn took(&self, phase: PushPhase, took: Duration) {
        self.0[phase as usize].lock().even_poisoned().took(took);
    }

    /// The name of each phase, how often it took how long, and the seconds of all together.
    pub(super) fn each(&self) -> impl Iterator<Item = (&'static str, Vec<u64>, f64)> {
        PushPhase::ALL.iter().zip(&self.0).map(|(phase, times)| {
            let times = times.lock().even_poisoned();
            (phase.as_str(), times.buckets.to_vec(), times.sum)
        })
    }
}
