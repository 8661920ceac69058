//! Every directory and file name below the data directory, in one place.
//!
//! ```text
//! DATA/
//!   LOCK                               one process per data directory (flock)
//!   journal                            what happened, and so what is served
//!   erasure-key                        the secret that erased keys are digested with; written once
//!   scrubs                             when versions were read back last; may be lost
//!   watches                            what watches of new versions have seen so far; may be lost
//!   audit/
//!     changes-<first event>.journal    journals that checkpoints have folded, as they were
//!     log-<first line>.jsonl           what was refused and denied
//!   staging/<dataset>.<version>/       parts and builds in progress of one push
//!     parts/                           what was received
//!     build-<n>/                       one attempt to build; sorted runs beneath it
//!   datasets/<dataset>/<version>/
//!     manifest.json                    written last
//!     dictionary                       what its values have in common, if they are compressed
//!     000001.sst …                     sorted, disjoint key ranges
//!     db/                              RocksDB's own files and the index of keys, made from the SSTs
//!   datasets/<dataset>/<version>.<n>/  a version rewritten for the n-th time, to leave out erased keys
//!   journal.before-cut-<bytes>         a journal that a repair has cut, as it was
//!   cut-<bytes>/                       what the shortened one does not own
//!     <dataset>/<version>/
//!     staging/<dataset>.<version>/
//! ```
//!
//! A push is named by its dataset and version: a version is one push, and `.` stands in
//! no dataset name, so the name is unambiguous.

use std::path::{Path, PathBuf};

use crate::durable::UNFINISHED;
use crate::names::{DatasetName, Version};
use crate::planted::{self, Bug};

/// The name of the file that describes a snapshot.
pub const MANIFEST: &str = "manifest.json";
/// The name of the file that a snapshot's compressed values refer to.
pub(crate) const DICTIONARY: &str = "dictionary";
/// The name of the index of single keys in `db/`.
pub(crate) const POINTS: &str = "points";
const JOURNAL: &str = "journal";
const WATCHES: &str = "watches";
const SCRUBS: &str = "scrubs";
const ERASURE_KEY: &str = "erasure-key";
pub(crate) const DB: &str = "db";
const DB_TMP: &str = "db.tmp";
/// Where the received parts of a push lie, in its directory.
pub(crate) const PARTS: &str = "parts";
const KEPT: &str = "journal.before-cut-";
const CUT: &str = "cut-";
const AUDIT: &str = "audit";
const FOLDED: (&str, &str) = ("changes-", ".journal");
const LOG: (&str, &str) = ("log-", ".jsonl");

/// The paths of one data directory.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout beneath `root`. Touches nothing.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The data directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("LOCK")
    }

    /// The journal.
    pub fn journal(&self) -> PathBuf {
        self.root.join(JOURNAL)
    }

    pub(crate) fn watches(&self) -> PathBuf {
        self.root.join(WATCHES)
    }

    /// What is kept for the audit alone.
    pub(crate) fn audit(&self) -> PathBuf {
        self.root.join(AUDIT)
    }

    /// What erased keys are known by.
    pub(crate) fn erasure_key(&self) -> PathBuf {
        self.root.join(ERASURE_KEY)
    }

    pub(crate) fn scrubs(&self) -> PathBuf {
        self.root.join(SCRUBS)
    }

    pub(crate) fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }

    pub(crate) fn datasets(&self) -> PathBuf {
        self.root.join("datasets")
    }

    /// Everything of one push that is not published.
    pub fn push(&self, dataset: &DatasetName, version: Version) -> PathBuf {
        if planted::has(Bug::ReusedStaging) {
            return self.staging().join(format!("{dataset}.1"));
        }
        self.staging().join(format!("{dataset}.{version}"))
    }

    /// The received parts of one push.
    pub fn parts(&self, dataset: &DatasetName, version: Version) -> PathBuf {
        self.push(dataset, version).join(PARTS)
    }

    /// Where one attempt builds. A later attempt has another name, so that what a killed
    /// one left behind, or still writes, cannot be taken for its own.
    pub fn build(&self, dataset: &DatasetName, version: Version, attempt: u64) -> PathBuf {
        self.push(dataset, version).join(format!("build-{attempt}"))
    }

    /// Where a repair sets aside what a journal of so many bytes no longer owns.
    pub(crate) fn cut(&self, bytes: u64) -> PathBuf {
        self.root.join(format!("{CUT}{bytes}"))
    }

    pub(crate) fn dataset(&self, dataset: &DatasetName) -> PathBuf {
        self.datasets().join(dataset.as_str())
    }

    /// A version as it was published.
    pub fn version(&self, dataset: &DatasetName, version: Version) -> PathBuf {
        self.generation(dataset, version, 0)
    }

    /// A version as it was rewritten for the `generation`-th time, to leave out erased keys.
    pub fn generation(&self, dataset: &DatasetName, version: Version, generation: u32) -> PathBuf {
        let name = match generation {
            0 => version.to_string(),
            n => format!("{version}.{n}"),
        };
        self.dataset(dataset).join(name)
    }
}

/// Which version, and how often rewritten, a directory of a dataset is.
pub fn version_of(name: &str) -> Option<(Version, u32)> {
    let (version, generation) = match name.split_once('.') {
        None => (name, 0),
        Some((version, n)) => (version, n.parse().ok().filter(|n| *n > 0)?),
    };
    let version = Version::parse(version).ok()?;
    // Of several ways to write a number one is ours.
    let is_ours = match generation {
        0 => name == version.to_string(),
        n => name == format!("{version}.{n}"),
    };
    is_ours.then_some((version, generation))
}

/// The name under which a journal of so many bytes is kept when it is cut; the first try,
/// or a later one if that name is taken.
pub(crate) fn kept_journal(bytes: usize, attempt: u32) -> String {
    match attempt {
        0 | 1 => format!("{KEPT}{bytes}"),
        n => format!("{KEPT}{bytes}-{n}"),
    }
}

/// Whether a file of that name is a journal that was kept when it was cut.
pub(crate) fn is_kept_journal(name: &str) -> bool {
    let rest = name.strip_prefix(KEPT);
    rest.is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit() || b == b'-'))
}

/// Whether a file of that name in the data directory was being written when its process ended.
pub(crate) fn is_unfinished(name: &str) -> bool {
    let is_ours = |stem: &str| {
        [JOURNAL, WATCHES, SCRUBS, ERASURE_KEY].contains(&stem) || is_kept_journal(stem)
    };
    name.strip_suffix(UNFINISHED).is_some_and(is_ours)
}

/// [`Layout::audit`] of the directory of that journal.
pub(crate) fn audit_beside(journal: &Path) -> PathBuf {
    journal.with_file_name(AUDIT)
}

/// The name of a folded journal whose first event is that one; the first try, or a later one if
/// another has that name.
pub(crate) fn folded_journal(first: u64, attempt: u32) -> String {
    let (before, after) = FOLDED;
    match attempt {
        0 | 1 => format!("{before}{first:020}{after}"),
        n => format!("{before}{first:020}-{n}{after}"),
    }
}

/// What [`folded_journal`] made that name of.
pub(crate) fn folded_of(name: &str) -> Option<(u64, u32)> {
    let number = name.strip_prefix(FOLDED.0)?.strip_suffix(FOLDED.1)?;
    let (first, attempt) = number.split_once('-').unwrap_or((number, "1"));
    let found = (first.parse().ok()?, attempt.parse().ok()?);
    (folded_journal(found.0, found.1) == name).then_some(found)
}

/// The name of the file of the audit log that begins with that line.
pub(crate) fn audit_log(first: u64) -> String {
    format!("{}{first:020}{}", LOG.0, LOG.1)
}

/// What [`audit_log`] made that name of.
pub(crate) fn audit_log_of(name: &str) -> Option<u64> {
    let first = name.strip_prefix(LOG.0)?.strip_suffix(LOG.1)?.parse().ok()?;
    (audit_log(first) == name).then_some(first)
}

/// Whether a directory of that name is where a repair sets things aside.
pub(crate) fn is_cut(name: &str) -> bool {
    name.strip_prefix(CUT).is_some_and(|rest| rest.parse::<u64>().is_ok())
}

/// Which push a directory in `staging/` belongs to.
pub(crate) fn push_of(name: &str) -> Option<(DatasetName, Version)> {
    let (dataset, version) = name.split_once('.')?;
    Some((DatasetName::parse(dataset).ok()?, Version::parse(version).ok()?))
}

/// The `n`-th SST of a snapshot, from 1 on.
pub(crate) fn sst_name(n: usize) -> String {
    format!("{n:06}.sst")
}

/// Whether `name` is one that [`sst_name`] makes: all that a manifest may list.
pub(crate) fn is_sst_name(name: &str) -> bool {
    name.strip_suffix(".sst").is_some_and(|stem| {
        stem.len() >= 6
            && stem.len() <= 10
            && stem.bytes().all(|b| b.is_ascii_digit())
            && stem.parse::<usize>().is_ok_and(|n| n > 0 && sst_name(n) == name)
    })
}

/// Whether a snapshot may have a file of that name.
pub fn is_snapshot_file(name: &str) -> bool {
    name == MANIFEST || name == DICTIONARY || is_sst_name(name)
}

/// The manifest of the snapshot in `dir`.
pub(crate) fn manifest(dir: &Path) -> PathBuf {
    dir.join(MANIFEST)
}

/// The dictionary of the snapshot in `dir`.
pub(crate) fn dictionary(dir: &Path) -> PathBuf {
    dir.join(DICTIONARY)
}

/// The index of single keys in the database `db`.
pub(crate) fn points(db: &Path) -> PathBuf {
    db.join(POINTS)
}

/// RocksDB's own directory of the snapshot in `dir`.
pub(crate) fn db(dir: &Path) -> PathBuf {
    dir.join(DB)
}

/// Where [`db`] is made before it is renamed into place.
pub(crate) fn db_tmp(dir: &Path) -> PathBuf {
    dir.join(DB_TMP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_made_here_are_recognised() {
        assert_eq!(sst_name(1), "000001.sst");
        for good in ["000001.sst", "123456.sst", "1234567.sst"] {
            assert!(is_sst_name(good) && is_snapshot_file(good), "{good}");
        }
        for bad in ["1.sst", "000000.sst", "0000001.sst", "../000001.sst", "000001.log", "CURRENT"]
        {
            assert!(!is_sst_name(bad) && !is_snapshot_file(bad), "{bad}");
        }
        let (dataset, version) = push_of("course-recs.42").unwrap();
        assert_eq!((dataset.as_str(), version), ("course-recs", Version(42)));
        for bad in ["course-recs", ".1", "a.0", "a.1.2", "..", "A.1"] {
            assert!(push_of(bad).is_none(), "{bad}");
        }
        for good in [kept_journal(9, 1), kept_journal(9, 2)] {
            assert!(is_kept_journal(&good), "{good}");
        }
        assert!(!is_kept_journal("journal.before-cut-9.tmp") && !is_kept_journal("journal"));
        for name in ["journal", "watches", "scrubs", "erasure-key", &kept_journal(9, 2)] {
            assert!(is_unfinished(&format!("{name}.tmp")) && !is_unfinished(name), "{name}");
        }
        for bad in ["notes.tmp", ".tmp", "journal.tmp.tmp", "datasets.tmp"] {
            assert!(!is_unfinished(bad), "{bad}");
        }
        for made in [(1, 1), (u64::MAX, 7)] {
            assert_eq!(folded_of(&folded_journal(made.0, made.1)), Some(made));
        }
        assert_eq!(audit_log_of(&audit_log(17)), Some(17));
        for bad in ["changes-1.journal", "log-.jsonl", "changes-00000000000000000001.journal.tmp"] {
            assert!(folded_of(bad).is_none() && audit_log_of(bad).is_none(), "{bad}");
        }
        assert_eq!(version_of("41"), Some((Version(41), 0)));
        assert_eq!(version_of("41.2"), Some((Version(41), 2)));
        for bad in ["", "0", "41.", "41.0", "41.01", "041", ".1", "41.1.1", "41.-1", "41.+1", "x.1"]
        {
            assert_eq!(version_of(bad), None, "{bad}");
        }
        assert!(is_cut("cut-12") && !is_cut("cut-") && !is_cut("cut-x") && !is_cut("datasets"));
    }
}
