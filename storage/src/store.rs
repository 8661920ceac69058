//! A data directory, open: where the two paths meet the pointer.
//!
//! - `store/push.rs`: the push path's half (admit, seal, fail); `store/parts.rs`: the parts that
//!   arrive; `store/publish.rs`: a snapshot becomes a version; `store/examine.rs`: the gates that
//!   read files;
//! - `store/pointer.rs`: the swap (activate, roll back); `store/prepared.rs`: what is done before it
//!   outside the lock, and whether that holds still; `store/hold.rs`: hold and release;
//!   `store/together.rs`: several datasets at one instant; `store/canary.rs`: a second version beside
//!   the current one;
//! - `store/show.rs`: what readers see of all that; `store/listener.rs`: who is told of changes;
//! - `store/recovery.rs`: what a start does with what a crash left; `store/opening.rs`: what it
//!   opens; `store/repair.rs`: a directory that does not open;
//! - `store/sweep.rs`: retention; `store/scrub.rs`: what reading versions again has found;
//!   `store/watches.rs`: what watches have seen;
//! - `store/erase.rs`: keys that are given no more; `store/rewrite.rs`: how their bytes leave the
//!   disk; `store/tokens.rs`: who may ask.
//!
//! Reads go by [`Store::live`] alone and touch nothing else of this.
//!
//! There is one lock, [`Writer`], around "check again, append the record, apply it, swap": whatever
//! can take long or fail (opening, warming, comparing) is done before it, and nothing can fail
//! after the record (invariants 2 and 3).

mod canary;
mod erase;
mod examine;
mod hold;
mod listener;
mod opening;
mod parts;
mod pointer;
mod prepared;
mod publish;
mod push;
mod recovery;
mod repair;
mod rewrite;
mod scrub;
mod show;
mod sweep;
mod together;
mod tokens;
mod watches;

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, RwLock, RwLockReadGuard};
use std::time::{SystemTime, UNIX_EPOCH};

pub use canary::CanaryChange;
pub use erase::{Erasing, Lifting};
pub use hold::Release;
pub use listener::Listener;
pub use parts::MAX_PARTS;
pub use publish::SelfActivation;
pub use push::NewPush;
pub use recovery::{Recovered, Recovery};
pub use repair::{Repair, Standing, ahead_of_journal, read_catalog, repair, repair_plan};
pub use rewrite::{RewriteStep, Rewritten};
pub use scrub::Finding;
pub use sweep::Swept;
pub use together::NotTogether;

use crate::catalog::{Catalog, Keep};
use crate::config::DatasetConfig;
use crate::digest::Digest;
use crate::durable;
use crate::erased::{ErasedKeys, Secret};
use crate::error::{Error, Result};
use crate::event::{Cause, Event, Millis};
use crate::hot;
use crate::journal::{Journal, Record};
use crate::layout::Layout;
use crate::live::{Live, Opener, Slot};
use crate::names::DatasetName;
use crate::poison::EvenPoisoned as _;
use crate::reaper::Reaper;
use crate::step::step;
use crate::versions::Versions;
use scrub::Findings;

/// How a data directory is opened.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Bytes of memory for blocks read from snapshots, shared by all of them.
    pub block_cache_bytes: usize,
    /// What is kept of versions that do not serve.
    pub keep: Keep,
    /// From which size on the journal is replaced by a checkpoint, in bytes.
    pub checkpoint_bytes: u64,
    /// How long after all of a version was read back it is activated without being read again,
    /// in milliseconds.
    pub trusted_for: Millis,
    /// How many files all open versions together may have open.
    pub max_files: u64,
    /// What to do with a failure that concerns no request: a directory that could not be
    /// removed, say.
    pub report: fn(&Error),
    /// Who is told of every event, if anybody.
    pub listener: Option<Listener>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            block_cache_bytes: 64 << 20,
            keep: Keep::default(),
            checkpoint_bytes: 16 << 20,
            trusted_for: 10 * 60 * 1000,
            max_files: u64::MAX,
            report: |_| {},
            listener: None,
        }
    }
}

/// A data directory, open for one process.
#[derive(Debug)]
pub struct Store {
    layout: Layout,
    options: StoreOptions,
    versions: Versions,
    live: Live,
    catalog: RwLock<Catalog>,
    writer: Mutex<Writer>,
    /// The size of the journal, and whether it takes no more: for those who must not wait
    /// for `writer`, which is held across an fsync.
    journal_bytes: AtomicU64,
    journal_suspect: AtomicBool,
    /// Held while a part arrives and while a push is sealed, so that no part arrives in
    /// a sealed push; what it guards besides is how many have arrived. Taken before `writer`.
    arriving: Mutex<parts::Arrived>,
    /// One publication at a time; see [`Store::publish`].
    publishing: Mutex<()>,
    /// What digests of erased keys are made with; set by whoever holds `writer`.
    secret: OnceLock<Secret>,
    /// What is erased everywhere and nowhere else, for the datasets that lack no more than that. Its
    /// lock is held for moments, within no other of ours but the catalogue's.
    erased_everywhere: Mutex<Option<Arc<ErasedKeys>>>,
    /// One version is rewritten at a time. Taken before `writer`.
    rewriting: Mutex<rewrite::Abandoned>,
    /// The slot of a version that is being rewritten, open already, for the map to take.
    standing_by: Mutex<Option<(DatasetName, Arc<Slot>)>>,
    opener: Arc<Opener>,
    findings: Findings,
    reaper: Reaper,
    /// Held as long as the store is open; the lock goes with the file.
    _lock: File,
}

/// What the one lock guards: the right to append, and so to change what is served.
#[derive(Debug)]
struct Writer {
    journal: Journal,
    /// From which size of the journal on a checkpoint is worth trying.
    checkpoint_from: u64,
}

impl Store {
    /// Opens the data directory at `root`, making it if it is not there: takes its lock,
    /// folds the journal, removes what no event owns. No snapshot is opened yet; see
    /// [`Store::open_current`].
    ///
    /// [`crate::Code::DirectoryInUse`] if another process has it; [`crate::Code::JournalCorrupt`] if the
    /// journal is damaged.
    pub fn open(root: &Path, options: StoreOptions) -> Result<(Self, Recovery)> {
        recovery::open(root, options)
    }

    /// What every dataset serves now.
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// Where things are on the disk.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Everything that is known of datasets and versions. Waits for no disk; keep it
    /// briefly, as a change waits for it.
    pub fn catalog(&self) -> RwLockReadGuard<'_, Catalog> {
        self.catalog.read().even_poisoned()
    }

    /// The size of the journal in bytes, and whether it takes no more until a restart. Waits
    /// for nobody.
    pub fn journal_state(&self) -> (u64, bool) {
        (self.journal_bytes.load(Ordering::Relaxed), self.journal_suspect.load(Ordering::Relaxed))
    }

    /// The number of the last change and the chain of all changes, for the audit. Waits for a
    /// change that is under way.
    pub fn changes_head(&self) -> (u64, Digest) {
        self.writer().journal.head()
    }

    /// Snapshots that are open: those of versions that were read since the start and are kept,
    /// and those that somebody still reads. Waits for nobody.
    pub fn open_snapshots(&self) -> u64 {
        self.opener.open.load(Ordering::Relaxed)
    }

    /// Bytes of memory that copies of hot records take, of all versions that are larger than what is
    /// read in of them.
    pub fn copied_bytes(&self) -> u64 {
        hot::held()
    }

    /// Shows what [`Store::journal_state`] tells, after a change of the journal.
    fn show_journal(&self, journal: &Journal) {
        self.journal_bytes.store(journal.bytes(), Ordering::Relaxed);
        self.journal_suspect.store(journal.is_suspect(), Ordering::Relaxed);
    }

    /// Makes a dataset with these settings, or gives it these settings.
    pub fn configure(
        &self,
        name: &DatasetName,
        config: &DatasetConfig,
        cause: Cause,
    ) -> Result<()> {
        self.change_config(name, cause, |_| Ok(config.clone())).map(drop)
    }

    /// Gives a dataset the settings that `change` makes of the ones it has (`None` if it is
    /// not there: then it is made). Nobody else changes them meanwhile. Answers whether it
    /// was made. If it has these settings already, nothing happens.
    pub fn change_config<E: From<Error>>(
        &self,
        name: &DatasetName,
        cause: Cause,
        change: impl FnOnce(Option<&DatasetConfig>) -> std::result::Result<DatasetConfig, E>,
    ) -> std::result::Result<bool, E> {
        let mut writer = self.writer();
        let event = {
            let catalog = self.catalog();
            let before = catalog.dataset(name).ok().map(|dataset| &dataset.config);
            catalog.plan_configure(name, &change(before)?)?
        };
        let Some(event) = event else {
            // After an append of unknown outcome it may have others, for all that is known.
            writer.journal.check()?;
            return Ok(false);
        };
        let made = matches!(event, Event::Created(_));
        self.commit(&mut writer, cause, event)?;
        Ok(made)
    }

    /// Makes a dataset with the default settings, unless it is there.
    pub fn ensure_dataset(&self, name: &DatasetName, cause: Cause) -> Result<()> {
        let mut writer = self.writer();
        if self.catalog().dataset(name).is_ok() {
            return Ok(());
        }
        let event = self.catalog().plan_configure(name, &DatasetConfig::default())?;
        event.map_or(Ok(()), |event| self.commit(&mut writer, cause, event).map(drop))
    }

    /// Deletes a dataset and all its versions; what is being read is removed after its
    /// last reader. A dataset of that name made later goes on with the next number.
    pub fn delete_dataset(&self, name: &DatasetName, cause: Cause) -> Result<()> {
        let mut writer = self.writer();
        let event = self.catalog().plan_delete_dataset(name)?;
        self.commit(&mut writer, cause, event)?;
        step("dataset.deleted");
        Ok(())
    }

    /// Appends the event, applies it and shows it to readers. `writer` proves that nobody
    /// else does meanwhile. After the append nothing fails.
    fn commit(&self, writer: &mut Writer, mut cause: Cause, event: Event) -> Result<u64> {
        if cause.at == 0 {
            cause.at = now();
        }
        let record = Record::Event(Box::new(cause), Box::new(event));
        let appended = writer.journal.append(&record);
        self.show_journal(&writer.journal);
        let seq = appended?;
        let Record::Event(cause, event) = record else { unreachable!("made two lines above") };
        let mut catalog = self.catalog.write().even_poisoned();
        catalog.apply(seq, &cause, &event);
        step("commit.applied");
        let names = catalog.told_of(&event);
        self.show(&catalog, &names);
        step("commit.shown");
        if let Some(listener) = &self.options.listener {
            names.iter().for_each(|name| listener.tell(&catalog, name, seq));
        }
        Ok(seq)
    }

    /// Removes what a step that is recorded already has left over. A failure is not that
    /// step's any more, so it is reported; the next start tries again.
    fn clear_away(&self, dir: &Path) {
        if let Err(error) = durable::remove_dir_all(dir) {
            (self.options.report)(&error);
        }
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().even_poisoned()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // A reader that is still at it does not hold this up.
        self.live.change(HashMap::clear);
        self.reaper.stop();
    }
}

/// The time now, for people and retention.
pub fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::catalog::Admission;
    use crate::error::Code;
    use crate::parts::PartSums;
    use crate::testing::verified;

    /// What the journal may own is not cleared away by whoever tries again before a restart has
    /// settled it.
    #[test]
    fn nothing_is_published_over_a_version_of_unknown_outcome() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(&dir.path().join("data"), StoreOptions::default()).unwrap();
        let a = DatasetName::parse("a").unwrap();
        store.ensure_dataset(&a, Cause::default()).unwrap();
        let version =
            store.admit(&a, &Admission::default(), Cause::default()).unwrap().number().unwrap();
        let part = store.begin_part(&a, version, "1").unwrap();
        store.receive_part(&a, version, part.close(PartSums::default())).unwrap();
        store.seal(&a, version, true, None, Cause::default()).unwrap();
        store.writer().journal.break_it();
        let manifest = store.layout().version(&a, version).join(crate::layout::MANIFEST);
        let mut published = Vec::new();
        for (attempt, records) in [(1, 10), (2, 20)] {
            let snapshot = verified(&store.layout().build(&a, version, attempt), records, 4096);
            let error =
                store.publish(&a, version, &snapshot, 0, &[], Cause::default()).unwrap_err();
            assert_eq!(error.code(), Code::OutcomeUnknown);
            published.push(std::fs::read(&manifest).unwrap());
        }
        assert!(store.journal_state().1, "a restart must settle it");
        assert_eq!(published[0], published[1]);
    }

    #[test]
    fn settings_of_unknown_outcome_are_not_told_to_be_so_already() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path(), StoreOptions::default()).unwrap();
        let a = DatasetName::parse("a").unwrap();
        let (before, other) =
            (DatasetConfig::default(), DatasetConfig { retain: 4, ..DatasetConfig::default() });
        let configure = |config| store.configure(&a, config, Cause::default());
        for _ in 0..2 {
            configure(&before).unwrap();
            assert_eq!(store.catalog().seq(), 1, "it was made, and then it was so already");
        }
        store.writer().journal.break_it();
        for config in [&other, &before] {
            assert_eq!(configure(config).unwrap_err().code(), Code::OutcomeUnknown);
        }
    }

    /// A thread that serves connections asks it, and must not wait for an fsync.
    #[test]
    fn the_state_of_the_journal_is_told_while_somebody_appends() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path(), StoreOptions::default()).unwrap();
        let empty = store.journal_state();
        let name = DatasetName::parse("a").unwrap();
        store.ensure_dataset(&name, Cause::default()).unwrap();
        let appending = store.writer();
        let expected = (appending.journal.bytes(), false);
        assert!(expected > empty, "the journal has grown");
        thread::scope(|scope| {
            let asking = scope.spawn(|| store.journal_state());
            let began = Instant::now();
            while !asking.is_finished() && began.elapsed() < Duration::from_secs(20) {
                thread::yield_now();
            }
            let waited = !asking.is_finished();
            drop(appending);
            assert_eq!((asking.join().unwrap(), waited), (expected, false));
        });
    }
}
