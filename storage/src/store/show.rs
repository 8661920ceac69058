//! Readers are shown what the catalogue says: the entries of the map of [`crate::Live`] that an
//! event has changed are made anew. This happens under the lock of changes, so it opens nothing and
//! waits for nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Store;
use crate::assignment::Assignment;
use crate::catalog::{Catalog, Dataset, State};
use crate::digest::Digest;
use crate::live::{Datasets, Served, ServedCanary, Slot};
use crate::names::{DatasetName, Version};
use crate::poison::EvenPoisoned as _;

type Kept = BTreeMap<Version, Arc<Slot>>;

impl Store {
    /// Shows readers these datasets, which an event has changed.
    pub(super) fn show(&self, catalog: &Catalog, names: &[DatasetName]) {
        self.live.change(|datasets| {
            names.iter().for_each(|name| self.show_dataset(datasets, catalog, name));
        });
    }

    /// Shows readers everything, at start.
    pub(super) fn show_all(&self) {
        let catalog = self.catalog();
        self.live.change(|datasets| {
            for (name, _) in catalog.datasets() {
                self.show_dataset(datasets, &catalog, name);
            }
        });
    }

    fn show_dataset(&self, datasets: &mut Datasets, catalog: &Catalog, name: &DatasetName) {
        let before = datasets.get(name).cloned();
        let kept_before = before.iter().flat_map(|served| &served.kept);
        let Ok(dataset) = catalog.dataset(name) else {
            kept_before.for_each(|(_, slot)| slot.give_up());
            datasets.remove(name);
            return;
        };
        let kept = self.slots_of(name, dataset, before.as_ref().map(|served| &served.kept));
        for (version, slot) in kept_before {
            match kept.get(version) {
                None => slot.give_up(),
                Some(now) if Arc::ptr_eq(now, slot) => {}
                Some(rewritten) => slot.give_way_to(rewritten),
            }
        }
        let erased_before = before.as_ref().and_then(|served| served.erased.as_ref());
        let canary = dataset.canary.as_ref().and_then(|canary| {
            let assignment = Assignment::new(&canary.experiment, canary.percent).ok()?;
            Some(ServedCanary::new(kept.get(&canary.version)?, assignment))
        });
        let served = Served {
            name: name.clone(),
            content_type: dataset.config.content_type.as_str().into(),
            is_json: dataset.config.is_json(),
            current: dataset.current.and_then(|v| kept.get(&v)).map(Arc::clone),
            canary,
            kept,
            erased: self.erased_of(catalog, name, erased_before),
            unpublished: unpublished(dataset),
            next_version: dataset.next_version(),
        };
        datasets.insert(name.clone(), Arc::new(served));
    }

    /// The slots of all versions that have files: those of before where nothing has changed.
    fn slots_of(&self, name: &DatasetName, dataset: &Dataset, before: Option<&Kept>) -> Kept {
        let published = dataset.versions.iter().filter_map(|(version, entry)| {
            let digest = entry.manifest.filter(|_| entry.state.has_files())?;
            Some((*version, entry, Digest::from_bytes(digest)))
        });
        let slots = published.map(|(version, entry, digest)| {
            let known = before.and_then(|kept| kept.get(&version)).cloned();
            // One that was rewritten has another manifest, and another place.
            let slot = known.filter(|slot| slot.digest == digest).unwrap_or_else(|| {
                self.standing_by(name, &digest).unwrap_or_else(|| {
                    let dir = entry.place(&self.layout, name, version);
                    Slot::new(version, entry.as_of.as_deref(), dir, digest, &self.opener)
                })
            });
            (version, slot)
        });
        slots.collect()
    }

    /// The slot of a version that was rewritten, if it is open already.
    fn standing_by(&self, name: &DatasetName, digest: &Digest) -> Option<Arc<Slot>> {
        let standing_by = self.standing_by.lock().even_poisoned();
        let (dataset, slot) = standing_by.as_ref()?;
        (dataset == name && slot.digest == *digest).then(|| Arc::clone(slot))
    }
}

/// Versions that there is nothing to read of yet, or that never came to be.
fn unpublished(dataset: &Dataset) -> BTreeSet<Version> {
    let is_unpublished = |state: State| state.is_pushing() || state == State::Failed;
    let versions = dataset.versions.iter().filter(|(_, entry)| is_unpublished(entry.state));
    versions.map(|(version, _)| *version).collect()
}
