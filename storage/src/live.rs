//! What every dataset serves now: one map, swapped whole.
//!
//! A reader loads the map once, takes one snapshot from it and keeps that for the whole
//! request, so an answer never mixes versions (invariant 4), several datasets are read as
//! they stood at one instant, and a swap makes no reader wait.
//!
//! What a reader holds is a [`Lease`]. The last lease to go does not close the snapshot:
//! it hands it to the reaper (invariant 5).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, TryLockError};

use arc_swap::ArcSwap;

use crate::assignment::Assignment;
use crate::digest::Digest;
use crate::erased::ErasedKeys;
use crate::error::{Code, Error, Kind, Result};
use crate::manifest::Manifest;
use crate::memory;
use crate::names::{DatasetName, Version};
use crate::planted::{self, Bug};
use crate::profile::Profile;
use crate::reaper::Task;
use crate::rocks::BlockCache;
use crate::snapshot::Snapshot;
use crate::verify::read_expected;
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
        self.glance().get(dataset).cloned().ok_or_else(|| dataset_not_found(dataset))
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

    /// Notes, for every open snapshot, what of it is in memory ([`Snapshot::look`]). Blocks
    /// for about a millisecond for each 300 MB of data.
    ///
    /// # Errors
    /// The first; the other snapshots were looked at.
    pub fn look(&self) -> Result<()> {
        let datasets = self.at_one_instant();
        let slots = datasets.values().flat_map(|served| served.kept.values());
        let open = slots.filter_map(|slot| slot.if_open()?.ok());
        open.map(|lease| lease.look()).fold(Ok(()), Result::and)
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

/// The error of a dataset that is not there.
pub fn dataset_not_found(dataset: &DatasetName) -> Error {
    Error::new(Code::DatasetNotFound, format!("there is no dataset {dataset}"))
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
    /// The current version's number.
    pub fn current_version(&self) -> Option<Version> {
        self.current.as_ref().map(|slot| slot.version)
    }

    /// The instant the current version's data describes, as its push gave it.
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
        let mut manifest = match (read_expected(&slot.dir, &slot.digest), slot.replaced_by.get()) {
            // It was rewritten after this was loaded.
            (Err(_), Some(next)) => read_expected(&next.dir, &next.digest)?,
            (read, _) => read?,
        };
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
        Ok(Lease { opened: slot.open_or_wait()?, erased: self.erased.clone() })
    }

    fn view_if_open<'a>(&'a self, slot: &'a Slot) -> Option<View<'a>> {
        let opened = slot.opened.get()?.as_ref().ok()?;
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
        slot.is_none_or(|slot| slot.opened.get().is_some())
    }

    /// Each version that is to be served and cannot be, with why; none while they are not open.
    pub fn faults(&self) -> impl Iterator<Item = (Version, Error)> {
        let canary = self.canary.as_ref().map(|canary| &canary.slot);
        self.current.iter().chain(canary).filter_map(|slot| {
            let unusable = slot.opened.get()?.as_ref().err()?;
            Some((slot.version, unusable.to_error()))
        })
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

    /// Notes what of it is in memory now: see [`Snapshot::look`].
    ///
    /// # Errors
    /// Those of [`Snapshot::look`].
    pub fn look(&self) -> Result<()> {
        self.opened.look()
    }
}

/// An opened snapshot with a way to the reaper.
#[derive(Debug)]
pub(crate) struct Opened {
    /// `None` only while it is being dropped.
    snapshot: Option<Snapshot>,
    dir: PathBuf,
    files: u64,
    given_up: AtomicBool,
    opener: Arc<Opener>,
}

impl Deref for Opened {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        self.snapshot.as_ref().expect("the snapshot is taken out in drop alone")
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let remove = self.given_up.load(Ordering::Acquire).then(|| self.dir.clone());
        self.opener.open.fetch_sub(1, Ordering::Relaxed);
        self.opener.files.fetch_sub(self.files, Ordering::Relaxed);
        // If the reaper is gone the store is closed: closing here is all that is left.
        let task = Task::Close { snapshot: self.snapshot.take().map(Box::new), remove };
        let _ = self.opener.closing.send(task);
    }
}

/// The place of one published version: opened at its first use, or before its activation.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) version: Version,
    as_of: Option<Arc<str>>,
    dir: PathBuf,
    pub(crate) digest: Digest,
    opener: Arc<Opener>,
    /// Held by whoever opens it.
    opening: Mutex<()>,
    given_up: AtomicBool,
    /// What has the version's files since it was rewritten: for whoever still has this one.
    replaced_by: OnceLock<Arc<Self>>,
    opened: OnceLock<std::result::Result<Arc<Opened>, Unusable>>,
}

/// What every slot opens snapshots with.
pub(crate) struct Opener {
    pub(crate) cache: BlockCache,
    pub(crate) closing: Sender<Task>,
    /// Snapshots that are open, because they are in their slot or somebody reads them.
    pub(crate) open: AtomicU64,
    /// The files that those have open, and how many they may have.
    pub(crate) files: AtomicU64,
    pub(crate) max_files: u64,
}

impl Opener {
    /// Counts the files of one more snapshot, if there are as many left.
    fn claim(&self, files: u64) -> Result<()> {
        let most = self.max_files;
        let claim = |open: u64| Some(open + files).filter(|all| *all <= most);
        let claimed = self.files.fetch_update(Ordering::Relaxed, Ordering::Relaxed, claim);
        claimed.map(drop).map_err(|open| {
            let text = format!(
                "opening this version takes {files} files, and versions have {open} of the {most} \
                 open that they may have, so that connections have some left; raise the limit of \
                 open files of the server (LimitNOFILE), or delete versions or datasets"
            );
            Error::new(Code::TooManyFiles, text)
        })
    }
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opener")
    }
}

/// Why a version is not served: kept, because its files do not mend themselves.
#[derive(Debug)]
pub(crate) struct Unusable {
    code: Code,
    text: String,
}

impl Unusable {
    fn to_error(&self) -> Error {
        Error::new(self.code, self.text.clone())
    }
}

impl Slot {
    pub(crate) fn new(
        version: Version,
        as_of: Option<&str>,
        dir: PathBuf,
        digest: Digest,
        opener: &Arc<Opener>,
    ) -> Arc<Self> {
        Arc::new(Self {
            version,
            as_of: as_of.map(Into::into),
            dir,
            digest,
            opener: Arc::clone(opener),
            opening: Mutex::new(()),
            given_up: AtomicBool::new(false),
            replaced_by: OnceLock::new(),
            opened: OnceLock::new(),
        })
    }

    /// The snapshot, opened and warmed if it was not yet.
    pub(crate) fn open_or_wait(&self) -> Result<Arc<Opened>> {
        if let Some(opened) = self.opened.get() {
            return opened.as_ref().map(Arc::clone).map_err(Unusable::to_error);
        }
        let lease = self.open_alone();
        // Pairs with `give_up`: whichever of the two comes second sees the other.
        fence(Ordering::SeqCst);
        if self.given_up.load(Ordering::Relaxed) {
            self.let_go();
        }
        lease
    }

    /// What came of opening it, if that was tried.
    pub(crate) fn if_open(&self) -> Option<std::result::Result<&Arc<Opened>, &Unusable>> {
        self.opened.get().map(|opened| opened.as_ref())
    }

    /// [`Slot::give_up`] of one whose version has other files now.
    pub(crate) fn give_way_to(&self, next: &Arc<Self>) {
        let _ = self.replaced_by.set(Arc::clone(next));
        self.give_up();
    }

    /// The files may go when the last lease does. Never waits: this is called under the
    /// lock, and an opening may take long.
    pub(crate) fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
        if planted::has(Bug::RemovedWhileRead) {
            planted::empty_tables(&self.dir);
        }
        // Whoever is opening it now sees the mark when done.
        if !matches!(self.opening.try_lock(), Err(TryLockError::WouldBlock)) {
            self.let_go();
        }
    }

    /// Doing this twice is harmless: the number of a version that was given up is never
    /// used again, so there is nothing else at its place to remove.
    fn let_go(&self) {
        match self.opened.get() {
            Some(Ok(lease)) => lease.given_up.store(true, Ordering::Release),
            Some(Err(_)) | None => {
                let remove = Some(self.dir.clone());
                let _ = self.opener.closing.send(Task::Close { snapshot: None, remove });
            }
        }
    }

    /// One opens it, the others wait for that one.
    fn open_alone(&self) -> Result<Arc<Opened>> {
        // A panic while opening leaves nothing half done: the slot is as it was.
        let _alone = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(opened) = self.opened.get() {
            return opened.as_ref().map(Arc::clone).map_err(Unusable::to_error);
        }
        if self.given_up.load(Ordering::Acquire) {
            if let Some(next) = self.replaced_by.get() {
                return next.open_or_wait();
            }
            let text = format!("version {} was deleted", self.version);
            return Err(Error::new(Code::VersionDeleted, text));
        }
        match self.open() {
            Ok((snapshot, files)) => {
                self.opener.open.fetch_add(1, Ordering::Relaxed);
                let lease = Arc::new(Opened {
                    snapshot: Some(snapshot),
                    dir: self.dir.clone(),
                    files,
                    given_up: AtomicBool::new(false),
                    opener: Arc::clone(&self.opener),
                });
                let _ = self.opened.set(Ok(Arc::clone(&lease)));
                Ok(lease)
            }
            Err(error) => {
                // Too many open files, or too little memory, passes; damage does not.
                if error.kind() == Kind::Corrupt {
                    let text = error.detail().to_owned();
                    let _ = self.opened.set(Err(Unusable { code: error.code(), text }));
                }
                Err(error)
            }
        }
    }

    /// What is in its place, opened for somebody who reads it whole and apart from its readers:
    /// nothing is warmed, and nothing is kept.
    pub(crate) fn open_aside(&self) -> Result<Snapshot> {
        // Whoever opens it first may have to make `db/`.
        let _alone = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        Snapshot::open(&self.dir, self.version, &self.digest, &self.opener.cache)
    }

    /// The snapshot, and how many files it has open.
    fn open(&self) -> Result<(Snapshot, u64)> {
        let manifest = read_expected(&self.dir, &self.digest)?;
        let files = Snapshot::files_of(&manifest);
        self.opener.claim(files)?;
        let opened = self.open_claimed(manifest);
        if opened.is_err() {
            self.opener.files.fetch_sub(files, Ordering::Relaxed);
        }
        Ok((opened?, files))
    }

    fn open_claimed(&self, manifest: Manifest) -> Result<Snapshot> {
        memory::require(Snapshot::memory_of(&manifest))?;
        let cache = &self.opener.cache;
        let snapshot = Snapshot::of_manifest(&self.dir, self.version, manifest, cache)?;
        match snapshot.warm() {
            // A damaged block costs its own keys, each of which answers an error; the others
            // are served.
            Err(error) if error.code() == Code::DataCorrupt => {}
            warmed => warmed?,
        }
        Ok(snapshot)
    }
}
