//! What a start opens, so that nobody who reads has to wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::builder::BuildOptions;
use crate::catalog::Dataset;
use crate::error::Error;
use crate::names::{DatasetName, Version};
use crate::snapshot::{FILES_WHILE_OPENED, Snapshot};

use super::Store;

impl Store {
    /// Opens the current snapshot of every dataset, its canary, and what a rollback would go to, on a
    /// few threads, as long as `goes_on` says so. A version that cannot be opened is told to `failed`
    /// and does not stop the others.
    pub fn open_current(
        &self,
        threads: usize,
        goes_on: impl Fn() -> bool + Sync,
        failed: impl Fn(&DatasetName, Version, &Error) + Sync,
    ) {
        let datasets = self.live.at_one_instant();
        let mut slots = Vec::new();
        let mut second = Vec::new();
        for (name, served) in datasets.iter() {
            let canary = served.canary.as_ref().map(|canary| canary.slot());
            let serving = served.current.iter().chain(canary);
            slots.extend(serving.map(|slot| (name.clone(), Arc::clone(slot))));
            let target = self.catalog().dataset(name).ok().and_then(Dataset::rollback_target);
            let slot = target.and_then(|v| served.kept.get(&v));
            second.extend(slot.map(|slot| (name.clone(), Arc::clone(slot))));
        }
        slots.append(&mut second);
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..threads.max(1) {
                scope.spawn(|| {
                    let claim = || next.fetch_add(1, Ordering::Relaxed);
                    while let Some((name, slot)) = slots.get(claim()).filter(|_| goes_on()) {
                        if let Err(error) = slot.open_or_wait() {
                            failed(name, slot.version, &error);
                        }
                    }
                });
            }
        });
    }

    /// About how many files [`Store::open_current`] opens, as far as the catalogue knows, with those that
    /// opening the last of them takes for a moment.
    pub fn files_to_serve(&self) -> u64 {
        let catalog = self.catalog();
        let of_dataset = |dataset: &Dataset| {
            let canary = dataset.canary.as_ref().map(|canary| canary.version);
            let opened = [dataset.current, canary, dataset.rollback_target()];
            let files = opened.iter().flatten().filter_map(|version| {
                let bytes = dataset.versions.get(version)?.stats.as_ref()?.bytes;
                Some(Snapshot::files_of(bytes.div_ceil(BuildOptions::default().file_bytes)))
            });
            files.sum::<u64>()
        };
        catalog.datasets().map(|(_, dataset)| of_dataset(dataset)).sum::<u64>() + FILES_WHILE_OPENED
    }
}
