//! Looks keys up in two versions, to see what each of them has.

use std::thread;

use tidetable_storage::{Key, Lease, be_nice};
use tracing::warn;

use super::watch::Compared;
use crate::threads::Ticks;

/// Keys to look up in both versions of one dataset.
pub(super) struct Job {
    pub(super) before: Lease,
    pub(super) new: Lease,
    /// Each with the number of lookups that it stands for.
    pub(super) keys: Vec<(Vec<u8>, f64)>,
}

/// Does all jobs, or as much of them as it can until `ticks` are over, on a thread that lets lookups
/// go first. It gets its turn where all processors are busy, too: that is when a bad version does
/// the most harm.
pub(super) fn compare(jobs: &[Job], ticks: &Ticks) -> Vec<Compared> {
    if jobs.is_empty() {
        return Vec::new();
    }
    let work = || {
        be_nice();
        jobs.iter().map(|job| job.run(ticks)).collect()
    };
    let done = thread::scope(|scope| {
        let spawned = thread::Builder::new().name("compare".to_owned()).spawn_scoped(scope, work);
        spawned.map(thread::ScopedJoinHandle::join)
    });
    match done {
        Ok(Ok(compared)) => compared,
        // What is not seen now is seen at the next look.
        failed => {
            warn!(?failed, "two versions could not be compared");
            vec![Compared::default(); jobs.len()]
        }
    }
}

impl Job {
    fn run(&self, ticks: &Ticks) -> Compared {
        let (mut compared, mut value) = (Compared::default(), Vec::new());
        for (key, weight) in &self.keys {
            if ticks.are_over() {
                break;
            }
            let Ok(key) = Key::new(key) else { continue };
            // That neither has it says nothing of the new one.
            if self.new.is_erased(key.as_bytes()) {
                continue;
            }
            let look_up = |version: &Lease| version.get_unnoticed(key, &mut value);
            let found = [&self.before, &self.new].map(look_up);
            // Damage is for the error rate to show.
            if let [Ok(before), Ok(new)] = found {
                compared.add(*weight, before, new);
            }
        }
        compared
    }
}
