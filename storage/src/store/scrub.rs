//! What reading published versions again has found: when each was read last, and which are
//! damaged.
//!
//! - A version that is known to be damaged is not activated, by whatever way (`open_version`).
//!   One that serves goes on: its damaged records are errors, the others are right.
//! - A version that was not read for a while is read before it is activated. A rollback is not
//!   held up by that.
//! - None of this stands in the journal: it says how a disk is, not what was decided. It is kept in
//!   a file of its own; without that, all versions are read again soon.
//!
//! A finding is of one content: a version that was rewritten since is one that was not read.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use serde::{Deserialize, Serialize};

use crate::catalog::{Dataset, Entry};
use crate::digest::Digest;
use crate::error::{Code, Error, Result};
use crate::event::{Millis, age};
use crate::kept_file;
use crate::layout::Layout;
use crate::names::{DatasetName, Version};
use crate::poison::EvenPoisoned as _;
use crate::scrub::{Damage, ReadBack, StoredVersion, refused};

use super::{Store, now};

/// What the file begins with.
const MAGIC: &str = "tidetable scrubs 1 ";

/// What was found of one version when all of it was read last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// When that was.
    pub at: Millis,
    /// What is damaged, if anything is.
    pub damage: Option<Damage>,
    /// Since when that is known.
    pub damaged_since: Option<Millis>,
    /// The content that was read.
    manifest: Digest,
}

/// The findings of a data directory. Their lock is held for moments, and nothing is locked within it.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Held while they are written: the file beside the old one has one name, and whoever finds that
    /// nothing is new is to find it on the disk.
    keeping: Mutex<()>,
    of: Mutex<BTreeMap<(DatasetName, Version), Finding>>,
    /// Something was found since they were kept.
    is_new: AtomicBool,
}

/// One line of the file.
#[derive(Serialize, Deserialize)]
struct Line {
    dataset: DatasetName,
    version: Version,
    #[serde(flatten)]
    finding: Finding,
}

impl Findings {
    /// What was kept last; nothing if that cannot be read.
    pub(super) fn kept(layout: &Layout, report: fn(&Error)) -> Self {
        let path = layout.scrubs();
        let read = || -> Result<Vec<Line>> {
            let Some(text) = kept_file::kept(&path, MAGIC)? else { return Ok(Vec::new()) };
            serde_json::from_str(&text).map_err(|e| {
                let text = "what was found of versions is of another format";
                Error::new(Code::DataCorrupt, text).at(&path).because(e)
            })
        };
        let lines = read().unwrap_or_else(|error| {
            report(&error);
            Vec::new()
        });
        let found = lines.into_iter().map(|line| ((line.dataset, line.version), line.finding));
        let (keeping, is_new) = (Mutex::default(), AtomicBool::new(false));
        Self { keeping, of: Mutex::new(found.collect()), is_new }
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<(DatasetName, Version), Finding>> {
        self.of.lock().even_poisoned()
    }
}

impl Store {
    /// A version that is kept, to be read again.
    ///
    /// # Errors
    /// [`Code::VersionNotFound`], [`Code::VersionDeleted`], or [`Code::WrongState`] if it has no
    /// files (yet).
    pub fn stored_version(&self, dataset: &DatasetName, version: Version) -> Result<StoredVersion> {
        let catalog = self.catalog();
        let entry = catalog.entry(dataset, version)?;
        let digest = content(entry).ok_or_else(|| {
            let state = entry.state.as_str();
            let text =
                format!("version {version} of {dataset} is {state}: it has no files to read");
            Error::new(Code::WrongState, text)
        })?;
        let dir = entry.place(&self.layout, dataset, version);
        Ok(StoredVersion { dataset: dataset.clone(), version, dir, digest })
    }

    /// A version whose files are to be taken away.
    ///
    /// # Errors
    /// Those of [`Store::stored_version`], and [`Code::HoldsErasedKeys`] if it may hold bytes of keys
    /// that are erased: they would be given after all.
    pub fn outgoing(&self, dataset: &DatasetName, version: Version) -> Result<StoredVersion> {
        if self.catalog().erasures().may_be_held_by(dataset, version) {
            let text = format!(
                "version {version} of {dataset} may hold bytes of erased keys, so its files are not \
                 given: have it rewritten without them (`tidetable erase {dataset} --now --reason …`), \
                 and ask again"
            );
            return Err(Error::new(Code::HoldsErasedKeys, text));
        }
        self.stored_version(dataset, version)
    }

    /// Takes note of what came of reading a version. `None` if nothing did: it was stopped, or
    /// the version was given up meanwhile, and its files with it.
    pub fn note_read_back(&self, stored: &StoredVersion, came: ReadBack) -> Option<Finding> {
        let damage = match came {
            ReadBack::Stopped => return None,
            ReadBack::Sound(_) => None,
            ReadBack::Damaged(damage) => Some(damage),
        };
        // Its record comes before its files go, so what is owned still was there all the time.
        if !self.is_owned(&stored.dataset, stored.version, &stored.digest) {
            return None;
        }
        let at = now();
        let mut findings = self.findings.all();
        let place = (stored.dataset.clone(), stored.version);
        let before = findings.get(&place).filter(|f| f.manifest == stored.digest);
        let since = before.and_then(|finding| finding.damaged_since).unwrap_or(at);
        let damaged_since = damage.is_some().then_some(since);
        let finding = Finding { at, damage, damaged_since, manifest: stored.digest };
        findings.insert(place, finding.clone());
        drop(findings);
        self.findings.is_new.store(true, Ordering::Release);
        Some(finding)
    }

    /// What was found of a version when it was read last, if it was read since it was made.
    /// `entry` is what the catalogue says of it.
    pub fn finding(
        &self,
        dataset: &DatasetName,
        version: Version,
        entry: &Entry,
    ) -> Option<Finding> {
        let digest = content(entry)?;
        let found = self.findings.all().get(&(dataset.clone(), version)).cloned();
        found.filter(|finding| finding.manifest == digest)
    }

    /// Whether that version is known to be damaged.
    pub fn is_damaged(&self, dataset: &DatasetName, version: Version) -> bool {
        self.refuse_damaged(dataset, version).is_err()
    }

    /// Whether a version was left, by a rollback say, because it was damaged: that was known, and no
    /// other reason was given.
    pub(super) fn was_left_damaged(
        &self,
        dataset: &DatasetName,
        version: Version,
        entry: &Entry,
    ) -> bool {
        let found = self.finding(dataset, version, entry).filter(|_| entry.reason.is_none());
        let since = found.and_then(|found| found.damaged_since);
        since.zip(entry.left_at).is_some_and(|(since, left)| since <= left)
    }

    /// The versions of a dataset that are known to be damaged; `of` is what the catalogue says of it.
    pub fn damaged_versions(&self, dataset: &DatasetName, of: &Dataset) -> Vec<Version> {
        let is_damaged = |(version, entry): &(&Version, &Entry)| {
            let finding = self.finding(dataset, **version, entry);
            finding.is_some_and(|finding| finding.damage.is_some())
        };
        of.versions.iter().filter(is_damaged).map(|(version, _)| *version).collect()
    }

    /// Every kept version that is known to be damaged.
    pub fn damaged(&self) -> Vec<(DatasetName, Version, Finding)> {
        let all: Vec<_> = {
            let findings = self.findings.all();
            let damaged = findings.iter().filter(|(_, finding)| finding.damage.is_some());
            damaged.map(|((d, v), finding)| (d.clone(), *v, finding.clone())).collect()
        };
        let owned = |(d, v, f): &(DatasetName, Version, Finding)| self.is_owned(d, *v, &f.manifest);
        all.into_iter().filter(owned).collect()
    }

    /// Every kept version and when it was read back last, at the latest when it was made; the
    /// one that was read longest ago first. One that was read at a time that is still to come, by a
    /// clock that was wrong, counts as never read.
    pub fn by_last_reading(&self) -> Vec<((DatasetName, Version), Millis)> {
        let read: BTreeMap<_, _> = {
            let findings = self.findings.all();
            findings.iter().map(|(of, f)| (of.clone(), (f.manifest, f.at))).collect()
        };
        let catalog = self.catalog();
        let kept = catalog.datasets().flat_map(|(name, dataset)| {
            dataset.versions.iter().filter_map(move |(version, entry)| {
                Some(((name.clone(), *version), content(entry)?, entry.ready_at))
            })
        });
        let now = now();
        let at = kept.map(|(of, digest, made)| {
            let found = read.get(&of).filter(|(manifest, _)| *manifest == digest);
            let at = found.map(|(_, at)| *at).or(made).filter(|at| age(*at, now) < Millis::MAX);
            (of, at.unwrap_or_default())
        });
        let mut all: Vec<_> = at.collect();
        drop(catalog);
        all.sort_by_key(|(_, at)| *at);
        all
    }

    /// Keeps what was found, for the next start. Does nothing if nothing was since.
    ///
    /// # Errors
    /// [`Code::IoFailed`] and the like: then what was kept before still is.
    pub fn keep_findings(&self) -> Result<()> {
        let _alone = self.findings.keeping.lock().even_poisoned();
        if !self.findings.is_new.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let all: Vec<_> = self.findings.all().clone().into_iter().collect();
        let (owned, gone): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|((d, v), found)| self.is_owned(d, *v, &found.manifest));
        {
            // What was found of a version that is gone says nothing any more. One that was rewritten
            // meanwhile has another manifest, and may have been read again.
            let mut findings = self.findings.all();
            for (of, found) in &gone {
                if findings.get(of).is_some_and(|now| now.manifest == found.manifest) {
                    findings.remove(of);
                }
            }
        }
        let line = |((dataset, version), finding)| Line { dataset, version, finding };
        let lines: Vec<Line> = owned.into_iter().map(line).collect();
        let text = serde_json::to_string(&lines).expect("findings are plain data");
        let kept = kept_file::keep(&self.layout.scrubs(), MAGIC, &text);
        if kept.is_err() {
            self.findings.is_new.store(true, Ordering::Release);
        }
        kept
    }

    /// [`Code::VersionUnusable`] for a version that is known to be damaged.
    pub(super) fn refuse_damaged(&self, dataset: &DatasetName, version: Version) -> Result<()> {
        let catalog = self.catalog();
        let entry = catalog.entry(dataset, version).ok();
        let finding = entry.and_then(|entry| self.finding(dataset, version, entry));
        match finding.and_then(|finding| finding.damage) {
            None => Ok(()),
            Some(damage) => Err(refused(dataset, version, &damage)),
        }
    }

    /// Reads all of a version that is to be activated, unless that was done a short while ago.
    pub(super) fn read_again_if_old(&self, dataset: &DatasetName, version: Version) -> Result<()> {
        let stored = self.stored_version(dataset, version)?;
        let read_at = {
            let catalog = self.catalog();
            let entry = catalog.entry(dataset, version)?;
            let found = self.finding(dataset, version, entry).map(|finding| finding.at);
            found.or(entry.ready_at).unwrap_or_default()
        };
        if age(read_at, now()) < self.options.trusted_for {
            return Ok(());
        }
        let came = stored.read(&mut |_| ControlFlow::Continue(()))?;
        match self.note_read_back(&stored, came).and_then(|finding| finding.damage) {
            None => Ok(()),
            Some(damage) => Err(refused(dataset, version, &damage)),
        }
    }

    /// Whether that version is kept, with that content.
    fn is_owned(&self, dataset: &DatasetName, version: Version, digest: &Digest) -> bool {
        let catalog = self.catalog();
        catalog.entry(dataset, version).ok().and_then(content) == Some(*digest)
    }
}

/// The digest of the manifest of a version that has files.
fn content(entry: &Entry) -> Option<Digest> {
    entry.manifest.filter(|_| entry.state.has_files()).map(Digest::from_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreOptions;
    use crate::testing::pushed;

    /// The thread that scrubs, and requests that have asked for a version to be read.
    #[test]
    fn findings_may_be_kept_by_several_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path(), StoreOptions::default()).unwrap();
        let a = DatasetName::parse("a").unwrap();
        let stored = store.stored_version(&a, pushed(&store, &a, 10)).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        store.note_read_back(&stored, ReadBack::Sound(1)).unwrap();
                        store.keep_findings().unwrap();
                    }
                });
            }
        });
        assert!(kept_file::kept(&store.layout().scrubs(), MAGIC).unwrap().is_some());
    }

    /// A clock was ahead when the version was read, and was set right since.
    #[test]
    fn a_reading_well_in_the_future_counts_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path(), StoreOptions::default()).unwrap();
        let a = DatasetName::parse("a").unwrap();
        let version = pushed(&store, &a, 10);
        let made = store.by_last_reading()[0].1;
        let stored = store.stored_version(&a, version).unwrap();
        store.note_read_back(&stored, ReadBack::Sound(1)).unwrap();
        let (of, tomorrow) = ((a.clone(), version), now() + 24 * 3600 * 1000);
        store.findings.all().get_mut(&of).unwrap().at = tomorrow;
        assert_eq!(store.by_last_reading(), [(of.clone(), 0)]);
        // It is not trusted, but read, at a time that is right.
        store.read_again_if_old(&a, version).unwrap();
        let read_at = store.by_last_reading()[0].1;
        assert!((made..tomorrow).contains(&read_at), "{read_at}");
    }
}
