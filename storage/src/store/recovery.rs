//! What a start does with what the last process left behind, however that one ended.
//!
//! It only removes what no event owns and appends events; each step is complete in itself,
//! so being killed in the middle of it changes nothing for the next start. Nothing is removed
//! whose name no server gives: the directory may be somebody else's, too.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use crate::catalog::{Catalog, Entry, State};
use crate::durable;
use crate::erased::Secret;
use crate::error::{Code, Error, Result};
use crate::event::{Cause, Event, Failed};
use crate::journal::{self, Journal, Record};
use crate::layout::{self, Layout};
use crate::live::{Live, Opener};
use crate::lock;
use crate::names::{DatasetName, Version};
use crate::parts;
use crate::private;
use crate::reaper::Reaper;
use crate::rocks::BlockCache;
use crate::step::{self, step};
use crate::versions::{self, Versions};

use super::scrub::Findings;
use super::{Store, StoreOptions, Writer};

/// What was found at start.
#[derive(Debug, Default)]
pub struct Recovery {
    /// Events read from the journal.
    pub events: u64,
    /// Bytes of a torn append that were cut from the journal.
    pub torn_bytes: Option<u64>,
    /// What was done about leftovers.
    pub done: Vec<Recovered>,
    /// What lies in staging under names that no server gives. It was left alone.
    pub strangers: Vec<std::path::PathBuf>,
    /// Pushes that have all their parts and are to be built now, oldest first.
    pub unfinished: Vec<(DatasetName, Version)>,
    /// Versions that were ready and about to be activated when the last process ended:
    /// [`Store::activate_by_itself`] is due for each.
    pub unactivated: Vec<(DatasetName, Version)>,
}

/// One thing done about a leftover.
#[derive(Debug)]
pub enum Recovered {
    /// A push that was one request, of which nothing was acknowledged, has failed.
    Interrupted(DatasetName, Version),
    /// Files that no event owns were removed.
    Removed(std::path::PathBuf),
}

pub(super) fn open(root: &Path, mut options: StoreOptions) -> Result<(Store, Recovery)> {
    let layout = Layout::new(root);
    durable::create_dir_all(root)?;
    private::refuse_world_writable(root)?;
    let versions = Versions::new(layout.clone());
    if !layout.lock().exists() {
        // A directory that is refused is left as it was, without a lock.
        refuse_data_without_journal(&layout, &versions)?;
        journal::refuse_other(&layout.journal())?;
    }
    let lock = lock::take(&layout)?;
    refuse_data_without_journal(&layout, &versions)?;
    durable::create_dir_all(&layout.staging())?;
    durable::create_dir_all(&layout.datasets())?;
    step("start.locked");

    let mut catalog = Catalog::default();
    let mut recovery = Recovery::default();
    let (journal, torn_bytes) = Journal::open(&layout.journal(), |seq, record| {
        recovery.events += 1;
        fold(&mut catalog, &layout.journal(), seq, record)
    })?;
    recovery.torn_bytes = torn_bytes;
    step("start.folded");
    if let Some(bytes) = step::checkpoint_bytes() {
        options.checkpoint_bytes = bytes;
    }
    let store = store_of(layout, lock, versions, options, journal, catalog)?;
    store.tidy(&mut recovery)?;
    store.show_all();
    store.checkpoint_if_large();
    Ok((store, recovery))
}

/// The store of a directory that is locked, and whose journal was read. It shows readers nothing yet.
fn store_of(
    layout: Layout,
    lock: File,
    versions: Versions,
    options: StoreOptions,
    journal: Journal,
    catalog: Catalog,
) -> Result<Store> {
    let secret = OnceLock::new();
    if let Some(name) = catalog.erasures().secret() {
        let _ = secret.set(Secret::named(&layout, name)?);
    }
    let (report, checkpoint_from) = (options.report, options.checkpoint_bytes);
    let (reaper, closing) = Reaper::start(move |error| report(&error))
        .map_err(|e| Error::io("start the reaper's thread", layout.root(), e))?;
    let (cache, max_files) = (BlockCache::new(options.block_cache_bytes), options.max_files);
    let findings = Findings::kept(&layout, report);
    Ok(Store {
        layout,
        options,
        versions,
        live: Live::default(),
        catalog: RwLock::new(catalog),
        journal_bytes: AtomicU64::new(journal.bytes()),
        journal_suspect: AtomicBool::new(false),
        writer: Mutex::new(Writer { journal, checkpoint_from }),
        arriving: Mutex::default(),
        publishing: Mutex::new(()),
        secret,
        erased_everywhere: Mutex::default(),
        rewriting: Mutex::default(),
        standing_by: Mutex::new(None),
        findings,
        opener: Arc::new(Opener {
            cache,
            closing,
            open: AtomicU64::new(0),
            files: AtomicU64::new(0),
            max_files,
        }),
        reaper,
        _lock: lock,
    })
}

impl Store {
    /// Brings what is on the disk in line with the catalogue, and says which pushes are to go on.
    fn tidy(&self, recovery: &mut Recovery) -> Result<()> {
        self.keep_names()?;
        self.remove_unowned(recovery)?;
        self.remove_empty()?;
        self.remove_unfinished(recovery)?;
        step("start.tidied");
        self.end_interrupted(recovery)?;
        step("start.ended_interrupted");
        recovery.unactivated = self.unactivated();
        Ok(())
    }

    /// Makes the names durable that a process may have made and was killed before it had synced
    /// them: whoever finds a directory from here on takes its name for one that lasts.
    fn keep_names(&self) -> Result<()> {
        // That of the data directory itself, where one may look at the directory it is in.
        let _ = durable::sync_parent(self.layout.root());
        durable::sync_dir(self.layout.root())?;
        durable::sync_dir(&self.layout.staging())?;
        durable::sync_dir(&self.layout.datasets())?;
        for (_, _, push) in self.versions.staged()? {
            durable::sync_dir(&push)?;
            let parts = push.join(layout::PARTS);
            if parts.is_dir() {
                durable::sync_dir(&parts)?;
            }
        }
        step("start.names_synced");
        Ok(())
    }

    /// Removes version directories and the staging of pushes that no event owns.
    fn remove_unowned(&self, recovery: &mut Recovery) -> Result<()> {
        let catalog = self.catalog();
        let mut unowned = Vec::new();
        for (dataset, version, path) in self.versions.list()? {
            let entry = catalog.entry(&dataset, version);
            // Of one that was rewritten, the files before are nobody's any more.
            let is_its = |e: &Entry| path == e.place(&self.layout, &dataset, version);
            if entry.is_ok_and(|e| e.state.has_files() && is_its(e)) {
                continue;
            }
            if is_ahead(&catalog, &self.layout, (&dataset, version), &path) {
                return Err(older_journal(&catalog, &dataset, version, &path));
            }
            unowned.push(path);
        }
        // A repair that was killed: it has set aside what the journal does not know yet.
        for (dataset, version, path) in self.versions.set_aside()? {
            if !catalog.was_admitted(&dataset, version) {
                return Err(older_journal(&catalog, &dataset, version, &path));
            }
        }
        for (dataset, version, path) in self.versions.staged()? {
            let state = catalog.entry(&dataset, version).ok().map(|entry| entry.state);
            if !state.is_some_and(State::is_pushing) {
                unowned.push(path);
                continue;
            }
            let builds = versions::directories(&path)?;
            unowned
                .extend(builds.into_iter().filter(|(n, _)| n.starts_with("build-")).map(|b| b.1));
        }
        recovery.strangers = self.versions.strangers()?;
        drop(catalog);
        for path in unowned {
            durable::remove_dir_all(&path)?;
            step("start.removed");
            recovery.done.push(Recovered::Removed(path));
        }
        Ok(())
    }

    /// Removes the directories of datasets that were deleted, once nothing is in them. One that stays,
    /// or comes back after power loss, harms nobody.
    fn remove_empty(&self) -> Result<()> {
        for (name, path) in versions::entries(&self.layout.datasets())? {
            let Ok(name) = DatasetName::parse(&name) else { continue };
            if self.catalog().dataset(&name).is_err() {
                let _ = std::fs::remove_dir(path);
            }
        }
        Ok(())
    }

    /// Removes files that were being written when the process ended: none of them was of any
    /// use yet.
    fn remove_unfinished(&self, recovery: &mut Recovery) -> Result<()> {
        let mut unfinished = versions::entries(self.layout.root())?;
        unfinished.retain(|(name, path)| layout::is_unfinished(name) && path.is_file());
        let mut unfinished: Vec<_> = unfinished.into_iter().map(|(_, path)| path).collect();
        for (_, _, path) in self.versions.staged()? {
            // A part whose document is damaged is told to whoever commits it.
            unfinished.extend(parts::unowned(&path.join(layout::PARTS)).unwrap_or_default());
        }
        for path in unfinished {
            let removed = std::fs::remove_file(&path);
            removed.map_err(|e| Error::io("remove an unfinished file", &path, e))?;
            recovery.done.push(Recovered::Removed(path));
        }
        Ok(())
    }

    /// A push that was one request ends with the process that received it, unless it had
    /// all its bytes: then it goes on. One sent in parts keeps them.
    fn end_interrupted(&self, recovery: &mut Recovery) -> Result<()> {
        let mut interrupted = Vec::new();
        for (name, dataset) in self.catalog().datasets() {
            for (version, entry) in &dataset.versions {
                match entry.state {
                    State::Receiving if entry.whole => interrupted.push((name.clone(), *version)),
                    State::Building => recovery.unfinished.push((name.clone(), *version)),
                    _ => {}
                }
            }
        }
        for (dataset, version) in interrupted {
            let failed = Failed {
                dataset: dataset.clone(),
                version,
                code: "interrupted".to_owned(),
                detail: "the server stopped before it had received the whole push: push again"
                    .to_owned(),
                problems: Vec::new(),
            };
            self.commit(&mut self.writer(), Cause::by_the_server(), Event::Failed(failed))?;
            step("start.interrupted");
            self.clear_away(&self.layout.push(&dataset, version));
            recovery.done.push(Recovered::Interrupted(dataset, version));
        }
        Ok(())
    }

    /// The versions that were published but not yet activated when the process ended: a
    /// push that was acknowledged does not end there. What was parked for another reason
    /// stays parked: its gates saw another current version than this one, it is held, a
    /// canary runs or ran, or a later version has served since, which whoever went back from it left
    /// for the one that is current.
    fn unactivated(&self) -> Vec<(DatasetName, Version)> {
        let catalog = self.catalog();
        let due = catalog.datasets().filter_map(|(name, dataset)| {
            let version = dataset.release_target()?;
            let entry = dataset.versions.get(&version)?;
            let is_due = dataset.parked(version, entry).is_none()
                && entry.gated_against == dataset.current
                && !entry.beside_canary
                && !dataset.has_served_later(version);
            is_due.then(|| (name.clone(), version))
        });
        due.collect()
    }
}

/// Takes one record of the journal at `journal` into the catalogue.
pub(super) fn fold(catalog: &mut Catalog, journal: &Path, seq: u64, record: Record) -> Result<()> {
    match record {
        Record::Event(cause, event) => catalog.apply(seq, &cause, &event),
        Record::Checkpoint { catalog: json, .. } => {
            *catalog = serde_json::from_str(&json).map_err(|e| {
                let text = "the checkpoint in the journal is not one this Tidetable can read";
                Error::new(Code::UnknownFormat, text).at(journal).because(e)
            })?;
        }
    }
    Ok(())
}

fn refuse_data_without_journal(layout: &Layout, versions: &Versions) -> Result<()> {
    let path = layout.journal();
    let there = path.try_exists().map_err(|e| Error::io("look for the journal", &path, e))?;
    if there {
        return Ok(());
    }
    // Numbers of changes would come again, too, which those that were kept for the audit have.
    let kept = journal::folded_files(&path)?;
    if !versions.list()?.is_empty() || !versions.staged()?.is_empty() || !kept.is_empty() {
        let text = "there are versions, parts of them, or earlier changes in the data directory but no journal: it was lost. \
                    Starting anew would remove them, so nothing was done. Restore the journal from a backup; \
                    or move the directory away, start anew, and push its versions as snapshots";
        return Err(Error::new(Code::JournalCorrupt, text).at(path));
    }
    let Some(stranger) = versions.strangers()?.into_iter().next() else { return Ok(()) };
    let text = "there is no journal beside it, and no server made this: the directory is somebody else's, so nothing \
                was done. Name a data directory that is empty or not there yet";
    Err(Error::new(Code::InvalidSetting, text).at(stranger))
}

/// Whether the version directory at `path` is of a later time than the journal: no crash leaves it
/// beside what that says of its version, so it is nothing to be removed.
pub(super) fn is_ahead(
    catalog: &Catalog,
    layout: &Layout,
    (dataset, version): (&DatasetName, Version),
    path: &Path,
) -> bool {
    if !catalog.was_admitted(dataset, version) {
        return true;
    }
    let Ok(entry) = catalog.entry(dataset, version) else { return false };
    match entry.state {
        // What is built was recorded as sealed before.
        State::Receiving => true,
        // The staging of what was put into its place goes after the record of its publication.
        State::Building => !layout.push(dataset, version).exists(),
        // What was rewritten goes after the record of what took its place.
        state if state.has_files() => {
            let place = entry.place(layout, dataset, version);
            path != place && !place.exists()
        }
        _ => false,
    }
}

/// What the journal says of a version that is ahead of it.
pub(super) fn said_of(catalog: &Catalog, dataset: &DatasetName, version: Version) -> String {
    match catalog.entry(dataset, version) {
        Ok(entry) => {
            let state = entry.state.as_str();
            format!("the journal has it as {state}, without these files")
        }
        Err(_) => "the journal never gave that number".to_owned(),
    }
}

fn older_journal(catalog: &Catalog, dataset: &DatasetName, version: Version, path: &Path) -> Error {
    let says = said_of(catalog, dataset, version);
    let text = format!(
        "version {version} of {dataset} is on the disk, but {says}: \
         the journal is older than the data, or was cut. Starting would remove that version, or \
         give its number again, so nothing was done. Restore the newer journal, or see \
         `tidetable repair DIR`, which shows what --cut would set aside"
    );
    Error::new(Code::JournalCorrupt, text).at(path)
}
