//! Watches: after each activation the new version is compared with the one before, for a
//! window; if it does worse, that is told or rolled back, as the dataset's settings say.
//!
//! `watch.rs` decides, and knows neither clock nor disk. `watcher.rs` is the thread around it:
//! once a second it looks which activations there were, takes the keys that lookups have left
//! in a sample (`metrics/key_sample.rs`), has them looked up in both versions (`compare.rs`)
//! and does what is to be done. It is never on the way of a lookup or a push.
//!
//! Which activation is watched, and since when, says the journal: [`Dataset::last_swap`]; while the
//! process runs, no change of the clock makes its window longer or shorter (`moment.rs`). What was
//! seen so far is kept in a file (`file.rs`) whose loss is harmless.
//!
//! A watch undoes the very activation that began it and nothing else: whatever a person has
//! made current since stays. What a person has forced, or gone back to by hand, is watched, and
//! only told.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use tidetable_storage::{
    Dataset, DatasetName, EvenPoisoned as _, Millis, Swap, Version, WatchMode, now,
};

use crate::metrics::{Arm, ArmTotals, DatasetMetrics};

pub(crate) mod alarms;
mod compare;
mod file;
mod moment;
mod watch;
mod watcher;

pub(crate) use watch::{Verdict, Watch};
pub(crate) use watcher::start;

/// Who changes what in the name of a watch, as the history shows it.
pub(crate) const ACTOR: &str = "tidetable-watch";

/// The watches as everybody may look at them.
#[derive(Debug, Default)]
pub(crate) struct Watches(Mutex<BTreeMap<DatasetName, Watch>>);

impl Watches {
    /// The watch of the last activation of a dataset: while it goes on, and what it came to,
    /// until the next activation.
    pub(crate) fn of(&self, name: &DatasetName, dataset: &Dataset, now: Millis) -> Option<Watch> {
        let swap = dataset.last_swap.as_ref()?;
        let known = self.all().get(name).cloned();
        let known = known.filter(|watch| watch.swap == *swap || is_undone(watch, swap));
        let is_off = dataset.config.watch == WatchMode::Off;
        match known {
            Some(watch) if watch.verdict() == Verdict::Watching && is_off => None,
            Some(watch) => Some(watch),
            // It begins within a second.
            None => {
                let against = watched(dataset)?;
                let goes_on = !watch::is_over(swap, &dataset.config.watch_limits, now);
                goes_on.then(|| Watch::begin(swap.clone(), against, ArmTotals::default()))
            }
        }
    }

    fn show(&self, name: &DatasetName, watch: Option<&Watch>) {
        match watch {
            Some(watch) => drop(self.all().insert(name.clone(), watch.clone())),
            None => drop(self.all().remove(name)),
        }
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<DatasetName, Watch>> {
        self.0.lock().even_poisoned()
    }
}

/// A dataset may have changed. If another version is current, what is counted from now on is
/// that version's, and if it is to be watched, some of the keys that are looked up are kept:
/// from the first lookup on, not from the next look of the thread that watches.
pub(crate) fn notice(counted: &DatasetMetrics, dataset: &Dataset) {
    let Some(swap) = &dataset.last_swap else { return };
    let is_new = counted.watched.swapped(swap.seq, || counted.totals(Arm::Current));
    let goes_on = || !watch::is_over(swap, &dataset.config.watch_limits, now());
    if is_new && watched(dataset).is_some() && goes_on() {
        counted.arm(Arm::Current).keys.want(swap.to);
    }
}

/// The version that the last activation of a dataset is watched against, if it is watched.
fn watched(dataset: &Dataset) -> Option<Version> {
    let swap = dataset.last_swap.as_ref()?;
    let against = swap.from.filter(|_| !swap.rollback && dataset.config.watch != WatchMode::Off)?;
    dataset.versions.get(&against)?.state.has_files().then_some(against)
}

/// Whether `swap` went back from what fell, be it by the watch or by a person who was told.
fn is_undone(watch: &Watch, swap: &Swap) -> bool {
    went_back(watch, swap) && watch.verdict() == Verdict::Fell
}

/// Whether `swap` went back from the version that was watched to the one before it.
fn went_back(watch: &Watch, swap: &Swap) -> bool {
    swap.rollback && swap.from == Some(watch.version()) && swap.to == watch.against
}
