//! How the bytes of erased keys leave the disk: a version is built anew without them.
//!
//! The version's number goes on to mean the same data, less what is erased. Its files are others,
//! in a directory of their own: `<version>.<generation>`. They are built in staging, verified like
//! a push, renamed into place and opened; then one record, `VersionRewritten`, says that they are
//! the version's. Until the record the new files belong to nobody; from then on the old ones do.
//! Files that belong to nobody are removed when their last reader has ended, or at the next start.
//! So a crash at any point leaves the version with the old files or with the new ones.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;

use crate::background::give_way;
use crate::builder::{BuildOptions, Builder};
use crate::digest::Digest;
use crate::erased::ErasedKeys;
use crate::error::{Code, Error, Result};
use crate::event::{Cause, Event, Stats, VersionRewritten};
use crate::live::Slot;
use crate::memory;
use crate::names::{DatasetName, Version};
use crate::poison::EvenPoisoned as _;
use crate::snapshot::Snapshot;
use crate::space::require_space;
use crate::verify::VerifiedSnapshot;
use crate::view::View;

use super::push::FILES_GO_WITHIN;
use super::{Store, now};

/// Bytes of values that the compressor learns from.
const SAMPLE_BYTES: usize = 256 * 1024;
/// Records that are drawn for that, and how much of one value is used.
const SAMPLED: usize = 4096;
const MOST_OF_ONE: usize = 4096;
/// Records between one word about the progress and the next.
const TELL_EVERY: u64 = 10_000;

/// How far a rewriting has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RewriteStep {
    /// Erased keys are looked for: so many of all records.
    Looking(u64, u64),
    /// The others are written: so many of all records.
    Writing(u64, u64),
    /// What was written is read back: so many of all bytes.
    Verifying(u64, u64),
}

/// What came of a rewriting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// Records of erased keys that it does not have any more. If there were none, its files are
    /// those before.
    pub removed: u64,
}

/// Who is told how far it has come, and says whether it goes on.
type GoesOn<'a> = dyn FnMut(RewriteStep) -> bool + Send + 'a;

/// The last generation of each version that was put into a place and did not become the version's.
/// Its place may be removed at any time after, so the next one has another. (A start removes what
/// belongs to nobody before anything is rewritten.)
pub(super) type Abandoned = HashMap<(DatasetName, Version), u32>;

/// What is to be rewritten, as it was found.
struct Task {
    dataset: DatasetName,
    version: Version,
    slot: Arc<Slot>,
    erased: Arc<ErasedKeys>,
    /// Of the files that are there, and of those that are made.
    before: u32,
    generation: u32,
    as_of: Option<String>,
    stats: Stats,
}

/// What was made in staging.
enum Made {
    /// There is no erased key in the version.
    Clear,
    /// A snapshot without so many records.
    Without(u64, Box<VerifiedSnapshot>),
    /// It was told not to go on.
    Stopped,
}

impl Store {
    /// Rewrites a version without the keys that are erased by now, unless it has none. Costs the
    /// time of a build, and room for one; on a thread that gives way to lookups, if it is to.
    /// `None`: it was given up meanwhile, or was told not to go on, or nothing is erased.
    ///
    /// # Errors
    /// [`Code::DiskFull`] if the disk lacks the room, [`Code::TooLittleMemory`], [`Code::WrongState`] if every record is
    /// erased, those of [`Snapshot::get`]; the version is as before.
    pub fn rewrite(
        &self,
        dataset: &DatasetName,
        version: Version,
        gives_way: bool,
        cause: Cause,
        goes_on: &mut GoesOn<'_>,
    ) -> Result<Option<Rewritten>> {
        let mut abandoned = self.rewriting.lock().even_poisoned();
        let Some(task) = self.task(dataset, version, &abandoned)? else { return Ok(None) };
        // Whoever serves the version may wait for this: it gives way to nobody.
        let opened = open(&task);
        let made = opened.and_then(|snapshot| {
            thread::scope(|scope| {
                let make = || {
                    if gives_way {
                        give_way();
                    }
                    self.make(&task, &snapshot, goes_on)
                };
                let builder = thread::Builder::new().name("rewrite".to_owned());
                let spawned = builder.spawn_scoped(scope, make).map_err(|error| {
                    Error::new(Code::IoFailed, "the system gives no thread for this").because(error)
                })?;
                spawned.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        });
        let done = made.and_then(|made| self.put_in_place(&task, made, cause, &mut abandoned));
        self.clear_away(&self.layout.push(dataset, version));
        match done {
            // Its deletion takes the files away that it was read from, and what was made.
            Err(_) if !self.is_still(&task) => Ok(None),
            done => done,
        }
    }

    fn task(
        &self,
        dataset: &DatasetName,
        version: Version,
        abandoned: &Abandoned,
    ) -> Result<Option<Task>> {
        let served = self.live.get(dataset)?;
        let Some(erased) = served.erased.clone() else { return Ok(None) };
        let catalog = self.catalog();
        let entry = catalog.entry(dataset, version)?;
        let (Some(slot), Some(stats)) = (served.kept.get(&version), &entry.stats) else {
            return Ok(None);
        };
        let tried = abandoned.get(&(dataset.clone(), version)).copied().unwrap_or_default();
        Ok(Some(Task {
            dataset: dataset.clone(),
            version,
            slot: Arc::clone(slot),
            erased,
            before: entry.generation,
            generation: entry.generation.max(tried) + 1,
            as_of: entry.as_of.clone(),
            stats: stats.clone(),
        }))
    }

    /// Whether the version is as it was found.
    fn is_still(&self, task: &Task) -> bool {
        let catalog = self.catalog();
        let entry = catalog.entry(&task.dataset, task.version);
        entry.is_ok_and(|entry| {
            entry.state.has_files() && entry.manifest == Some(*task.slot.digest.as_bytes())
        })
    }

    fn make(&self, task: &Task, snapshot: &Snapshot, goes_on: &mut GoesOn<'_>) -> Result<Made> {
        let (mut seen, mut removed, mut stopped) = (0, 0, false);
        let all = snapshot.manifest().records;
        snapshot.walk_keys(|key| {
            seen += 1;
            removed += u64::from(task.erased.has(key));
            stopped = seen % TELL_EVERY == 0 && !goes_on(RewriteStep::Looking(seen, all));
            !stopped
        })?;
        match removed {
            _ if stopped => return Ok(Made::Stopped),
            0 => return Ok(Made::Clear),
            _ if removed == all => {
                let text = format!(
                    "every record of version {} of {} is erased, and a version has one at least: \
                     activate or push another, and delete this one",
                    task.version, task.dataset
                );
                return Err(Error::new(Code::WrongState, text));
            }
            _ => {}
        }
        require_space(self.layout.root(), snapshot.manifest().bytes())?;
        let Some(builder) = self.write(task, snapshot, goes_on)? else { return Ok(Made::Stopped) };
        let built = builder.finish()?;
        let bytes = built.verify_bytes();
        let verified = built.verify(&mut |done| {
            stopped = stopped || !goes_on(RewriteStep::Verifying(done, bytes));
        })?;
        Ok(if stopped { Made::Stopped } else { Made::Without(removed, Box::new(verified)) })
    }

    /// Gives all records but the erased ones to a builder in staging.
    fn write(
        &self,
        task: &Task,
        snapshot: &Snapshot,
        goes_on: &mut GoesOn<'_>,
    ) -> Result<Option<Builder>> {
        let view = View::new(snapshot, Some(&task.erased));
        let (mut samples, mut bytes) = (Vec::new(), 0);
        view.sample(SAMPLED, &mut |_, value| {
            let value = &value[..value.len().min(MOST_OF_ONE)];
            if !value.is_empty() && bytes < SAMPLE_BYTES {
                bytes += value.len();
                samples.push(value.to_vec());
            }
            Ok(())
        })?;
        let compression = snapshot.manifest().compression;
        let options = BuildOptions { compression, ..BuildOptions::default() };
        let out = self.layout.build(&task.dataset, task.version, now());
        let mut builder = Builder::create(&out, options, &samples)?;
        let (mut written, mut records) = (0, view.walk());
        while let Some((key, value)) = records.next()? {
            builder.add(key, value)?;
            written += 1;
            let step = RewriteStep::Writing(written, snapshot.manifest().records);
            if written % TELL_EVERY == 0 && !goes_on(step) {
                return Ok(None);
            }
        }
        Ok(Some(builder))
    }

    fn put_in_place(
        &self,
        task: &Task,
        made: Made,
        cause: Cause,
        abandoned: &mut Abandoned,
    ) -> Result<Option<Rewritten>> {
        let (removed, snapshot) = match made {
            Made::Stopped => return Ok(None),
            Made::Clear => return self.record(task, 0, None, cause),
            Made::Without(removed, snapshot) => (removed, snapshot),
        };
        // After an append of unknown outcome the journal may own what stands in the place.
        self.writer().journal.check()?;
        let (dataset, version) = (&task.dataset, task.version);
        abandoned.insert((dataset.clone(), version), task.generation);
        // No push has a place like this, so no publication is kept waiting.
        let place = self.versions.put(&snapshot, dataset, version, task.generation)?;
        let (as_of, digest) = (task.as_of.as_deref(), *snapshot.digest());
        let slot = Slot::new(version, as_of, place, digest, &self.opener);
        let done = self.record(task, removed, Some((&*snapshot, &slot)), cause);
        *self.standing_by.lock().even_poisoned() = None;
        match &done {
            Ok(Some(_)) => {}
            // A restart settles whose files they are.
            Err(error) if error.code() == Code::OutcomeUnknown => {}
            _ => slot.give_up(),
        }
        if done.as_ref().is_ok_and(Option::is_some) {
            abandoned.remove(&(dataset.clone(), version));
            // Who asks for it wants the bytes gone.
            self.reaper.catch_up(FILES_GO_WITHIN);
        }
        done
    }

    /// Opens what was made, if what it replaces is open, and appends the record.
    fn record(
        &self,
        task: &Task,
        removed: u64,
        made: Option<(&VerifiedSnapshot, &Arc<Slot>)>,
        cause: Cause,
    ) -> Result<Option<Rewritten>> {
        let (mut stats, mut generation) = (task.stats.clone(), task.before);
        let mut digest: Digest = task.slot.digest;
        if let Some((snapshot, slot)) = made {
            if let Some(Ok(before)) = task.slot.if_open() {
                slot.open_or_wait()?.warm_like(before);
            }
            let standing_by = Some((task.dataset.clone(), Arc::clone(slot)));
            *self.standing_by.lock().even_poisoned() = standing_by;
            generation = task.generation;
            digest = *snapshot.digest();
            stats = snapshot.manifest().stats(stats.duplicates_dropped);
        }
        let mut writer = self.writer();
        if !self.is_still(task) {
            return Ok(None);
        }
        let event = Event::VersionRewritten(VersionRewritten {
            dataset: task.dataset.clone(),
            version: task.version,
            generation,
            manifest: *digest.as_bytes(),
            stats,
            removed,
            erased_to: task.erased.as_of(),
        });
        self.commit(&mut writer, cause, event)?;
        Ok(Some(Rewritten { removed }))
    }
}

/// Opens what is to be rewritten.
fn open(task: &Task) -> Result<Snapshot> {
    // Its index, and that of what is made of it, are in memory besides what serves.
    memory::require(2 * Snapshot::memory_of(&task.slot.manifest()?))?;
    task.slot.open_aside()
}
