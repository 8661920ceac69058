//! What every dataset serves now: one map, swapped whole.
//!
//! A reader loads the map once, takes one snapshot from it and keeps that for the whole
//! request, so an answer never mixes versions (invariant 4), several datasets are read as
//! they stood at one instant, and a swap makes no reader wait.
//!
//! What a reader holds is a [`Lease`]. The last lease to go does not close the snapshot:
//! it hands it to the reaper (invariant 5).

mod slot;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Deref;
use std::sync::Arc;

use arc_swap::ArcSwap;

pub(crate) use slot::{Opened, Opener, Slot};

use crate::assignment::Assignment;
use crate::erased::ErasedKeys;
use crate::error::{Code, Error, Result};
use crate::names::{DatasetName, Version};
#[cfg(feature = "faults")]
use crate::planted::{self, Bug};
use crate::profile::Profile;
use crate::view::View;

/// All datasets as they stand at one instant.
pub type Datasets = HashMap<DatasetName, Arc<Served>>;

/// What every dataset serves now.
#[derive(Debug, Default)]
pub struct Live {
    map: ArcSwap<Datasets>,
    /// What was served before the last swap.
    #[cfg(feature = "faults")]
    before: ArcSwap<Datasets>,
}

impl Live {
    /// What one dataset serves now ([`Code::DatasetNotFound`]). Costs one hash lookup and
    /// one reference count; never waits.
    pub fn get(&self, dataset: &DatasetName) -> Result<Arc<Served>> {
        self.glance().get(dataset).cloned().ok_or_else(|| Error::dataset_not_found(dataset))
    }

    /// All datasets as they stand, for a look that is over soon: the least that a lookup can
    /// cost, since it counts no reference that other threads count too. Whoever keeps a
    /// snapshot for longer takes a [`Lease`].
    pub fn glance(&self) -> impl Deref<Target = Arc<Datasets>> + use<> {
        #[cfg(feature = "faults")]
        if planted::every(Bug::OldValueAfterSwap, 100) {
            return self.before.load();
        }
        self.map.load()
    }

    /// All datasets at one instant.
    pub fn at_one_instant(&self) -> Arc<Datasets> {
        self.map.load_full()
    }

    /// Notes, for every open snapshot, what of it is in memory
    /// ([`Snapshot::look`](crate::snapshot::Snapshot::look)). Blocks
    /// for about a millisecond for each 300 MB of data.
    ///
    /// # Errors
    /// The first; the other snapshots were looked at.
    pub fn look(&self) -> Result<()> {
        self.opened().iter().map(|opened| opened.look()).fold(Ok(()), Result::and)
    }

    /// Has what serves copy what is looked up most, where that is needed
    /// ([`Snapshot::keep_hot`](crate::snapshot::Snapshot::keep_hot)). Of the other versions of a dataset
    /// the one whose copies were made last keeps them, since a rollback goes there; all
    /// others give theirs back. Blocks for some tenths of a second where there is much.
    pub fn keep_hot(&self) {
        for served in self.at_one_instant().values() {
            let serves = served.serving();
            let is_serving = |slot: &Arc<Slot>| serves.iter().any(|one| Arc::ptr_eq(one, slot));
            open(serves.iter().copied()).for_each(|opened| opened.keep_hot());
            let mut others: Vec<_> =
                open(served.kept.values().filter(|slot| !is_serving(slot))).collect();
            others.sort_unstable_by_key(|opened| Reverse(opened.copies_made()));
            others.iter().skip(1).for_each(|opened| opened.drop_copies());
        }
    }

    fn opened(&self) -> Vec<Arc<Opened>> {
        let datasets = self.at_one_instant();
        open(datasets.values().flat_map(|served| served.kept.values())).cloned().collect()
    }

    /// The swap. The caller holds the lock under which events are appended, so that swaps
    /// come in the order of their events.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Datasets)) {
        let mut datasets = Datasets::clone(&self.map.load());
        change(&mut datasets);
        // Not without that bug: what is kept here keeps the files of versions that were given up.
        #[cfg(feature = "faults")]
        if planted::has(Bug::OldValueAfterSwap) {
            self.before.store(self.map.load_full());
        }
        self.map.store(Arc::new(datasets));
    }
}

/// Those of them that are open.
fn open<'a>(slots: impl Iterator<Item = &'a Arc<Slot>>) -> impl Iterator<Item = &'a Arc<Opened>> {
    slots.filter_map(|slot| slot.if_open()?.ok())
}

/// What one dataset serves. Never changes: a swap puts another one in its place.
#[derive(Clone, Debug)]
pub struct Served {
    /// The dataset's name.
    pub name: DatasetName,
    /// The media type of its values.
    pub content_type: Arc<str>,
    /// Whether its values are JSON.
    pub is_json: bool,
    pub(crate) current: Option<Arc<Slot>>,
    pub(crate) canary: Option<Arc<ServedCanary>>,
    pub(crate) kept: BTreeMap<Version, Arc<Slot>>,
    /// The keys that none of them gives, if there are any.
    pub(crate) erased: Option<Arc<ErasedKeys>>,
    /// The numbers of pushes that run or have failed: given, and nothing to read.
    pub(crate) unpublished: BTreeSet<Version>,
    /// The first version number that was not given when this was made.
    pub(crate) next_version: Version,
}

impl Served {
    /// The slots of what is served without being asked for by number.
    fn serving(&self) -> Vec<&Arc<Slot>> {
        self.current.iter().chain(self.canary.as_ref().map(|canary| &canary.slot)).collect()
    }

    /// The current version's number.
    pub fn current_version(&self) -> Option<Version> {
        self.current.as_ref().map(|slot| slot.version)
    }

    /// The instant that the data of a kept version describes, if its push named one.
    pub fn as_of(&self, version: Version) -> Option<&Arc<str>> {
        self.kept.get(&version)?.as_of.as_ref()
    }

    /// The current snapshot: [`Code::NoCurrentVersion`], or [`Code::VersionUnusable`] if
    /// its files do not fit any more.
    pub fn current(&self) -> Result<Lease> {
        let slot = self.current.as_ref().ok_or_else(|| {
            let text = format!("no version of {} was activated yet", self.name);
            Error::new(Code::NoCurrentVersion, text)
        })?;
        self.leased(slot)
    }

    /// The current snapshot, if it is open and its files fit. It lives as long as what this
    /// was taken from.
    pub fn current_if_open(&self) -> Option<View<'_>> {
        self.view_if_open(self.current.as_ref()?)
    }

    /// What a share of the units is served instead of the current version, if anything.
    pub fn canary(&self) -> Option<&ServedCanary> {
        self.canary.as_deref()
    }

    /// The canary's snapshot, if there is one that is open and whose files fit.
    pub fn canary_if_open(&self) -> Option<View<'_>> {
        self.view_if_open(&self.canary.as_ref()?.slot)
    }

    /// The snapshot of a kept version, as fast as the current one once it is open. The
    /// first read of a version after a start opens its files, which blocks for some
    /// milliseconds.
    pub fn version(&self, version: Version) -> Result<Lease> {
        self.leased(self.slot(version)?)
    }

    /// What a kept version holds, in outline: how many records, and its profile if it has one. Opens
    /// none of its data: to look at an old version is not to drive what is served out of memory.
    ///
    /// # Errors
    /// [`Code::VersionUnusable`] if its manifest is not what was published, and those of
    /// [`Served::version`] if there is no such version.
    pub fn profile(&self, version: Version) -> Result<(u64, Option<Profile>)> {
        let slot = self.slot(version)?;
        if let Some(view) = self.view_if_open(slot) {
            return Ok((view.records(), view.profile()));
        }
        let mut manifest = slot.manifest()?;
        let profile = manifest.profile.as_mut();
        profile.into_iter().for_each(|profile| profile.leave_out(self.erased.as_deref()));
        Ok((manifest.records, manifest.profile))
    }

    /// Whether `key` is erased: then no version gives it.
    pub fn is_erased(&self, key: &[u8]) -> bool {
        self.erased.as_ref().is_some_and(|erased| erased.has(key))
    }

    /// The keys that are erased, if there are any.
    pub fn erased(&self) -> Option<&Arc<ErasedKeys>> {
        self.erased.as_ref()
    }

    fn leased(&self, slot: &Slot) -> Result<Lease> {
        let opened = slot.open_or_wait();
        let opened = opened.map_err(|error| error.of_opening(&self.name, slot.version))?;
        Ok(Lease { opened, erased: self.erased.clone() })
    }

    fn view_if_open<'a>(&'a self, slot: &'a Slot) -> Option<View<'a>> {
        let opened = slot.if_open()?.ok()?;
        Some(View::new(opened, self.erased.as_deref()))
    }

    fn slot(&self, version: Version) -> Result<&Arc<Slot>> {
        match self.kept.get(&version) {
            Some(slot) => Ok(slot),
            None if self.unpublished.contains(&version) => {
                let text = format!("version {version} of {} has no files to read", self.name);
                Err(Error::new(Code::VersionNotFound, text))
            }
            None if version < self.next_version => {
                let text = format!("version {version} of {} is not kept (any more)", self.name);
                Err(Error::new(Code::VersionDeleted, text))
            }
            None => {
                let text = format!("{} has no version {version}", self.name);
                Err(Error::new(Code::VersionNotFound, text))
            }
        }
    }

    /// The versions that can be read, newest first.
    pub fn kept_versions(&self) -> impl Iterator<Item = Version> {
        self.kept.keys().rev().copied()
    }

    /// Whether reading that version (the current one by default) opens no files.
    pub fn is_open(&self, version: Option<Version>) -> bool {
        let slot = match version {
            None => self.current.as_ref(),
            Some(version) => self.kept.get(&version),
        };
        slot.is_none_or(|slot| slot.if_open().is_some())
    }

    /// Each version that is to be served and could not be opened when that was tried last, with why.
    pub fn faults(&self) -> impl Iterator<Item = (Version, Error)> {
        self.serving().into_iter().filter_map(|slot| Some((slot.version, slot.fault()?)))
    }

    /// Why a kept version could not be opened when that was tried last; `None` before it was tried.
    pub fn fault_of(&self, version: Version) -> Option<Error> {
        self.kept.get(&version)?.fault()
    }
}

/// A second version, and which units are served it.
#[derive(Debug)]
pub struct ServedCanary {
    slot: Arc<Slot>,
    assignment: Assignment,
}

impl ServedCanary {
    pub(crate) fn new(slot: &Arc<Slot>, assignment: Assignment) -> Arc<Self> {
        Arc::new(Self { slot: Arc::clone(slot), assignment })
    }

    /// Its number.
    pub fn version(&self) -> Version {
        self.slot.version
    }

    /// Whether that unit is served it.
    pub fn takes(&self, unit: &[u8]) -> bool {
        self.assignment.takes(unit)
    }

    pub(crate) fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }
}

/// A snapshot in use, without the keys that are erased; it keeps the files open.
#[derive(Clone, Debug)]
pub struct Lease {
    opened: Arc<Opened>,
    erased: Option<Arc<ErasedKeys>>,
}

impl Lease {
    /// The snapshot as readers see it.
    pub fn view(&self) -> View<'_> {
        View::new(&self.opened, self.erased.as_deref())
    }

    /// Notes what of it is in memory now: see [`Snapshot::look`](crate::snapshot::Snapshot::look).
    ///
    /// # Errors
    /// Those of [`Snapshot::look`](crate::snapshot::Snapshot::look).
    pub fn look(&self) -> Result<()> {
        self.opened.look()
    }
}
