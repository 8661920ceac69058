//! What the command line asks of a data directory itself, without a server: the only
//! file here that calls the storage library for it.

use std::path::{Path, PathBuf};

use super::exit::{Exit, Failure};
use tidetable_storage::{DatasetName, Layout, MANIFEST, Manifest, Version, verify_snapshot};

/// A snapshot that was read back whole.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

/// What a journal holds, and what is wrong with it.
#[derive(Debug)]
pub(crate) struct Journal {
    pub(crate) records: u64,
    pub(crate) sound_bytes: u64,
    pub(crate) file_bytes: u64,
    pub(crate) fault: Option<Fault>,
}

/// What follows the sound part of a journal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// An append that a crash cut short; the server cuts it by itself.
    Torn,
    /// Damage, described; the server does not start on it.
    Damaged(String),
}

/// One version in a data directory.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) name: String,
    pub(crate) dir: PathBuf,
}

/// How many bytes reading the snapshot in `dir` back counts up to.
pub(crate) fn bytes_to_verify(dir: &Path) -> Result<u64, Failure> {
    Ok(Manifest::read(dir)?.0.verify_bytes())
}

/// Reads every byte of the snapshot in `dir` back and compares it with its manifest.
pub(crate) fn verify(dir: &Path, progress: &mut dyn FnMut(u64)) -> Result<Whole, Failure> {
    let manifest = verify_snapshot(dir, None, progress)?;
    Ok(Whole { records: manifest.records, bytes: manifest.bytes() })
}

/// Reads the journal of the data directory `dir`, and changes nothing.
pub(crate) fn check_journal(_dir: &Path) -> Result<Journal, Failure> {
    Err(unwired())
}

/// Cuts the journal behind its sound part, keeping a copy of the whole beside it.
pub(crate) fn cut_journal(_dir: &Path) -> Result<(), Failure> {
    Err(unwired())
}

fn unwired() -> Failure {
    Failure::new(Exit::Failed, "this build cannot read a data directory")
}

/// The snapshots beneath `dir`: itself if it is one, else all versions of a data
/// directory, by dataset and number.
pub(crate) fn snapshots(dir: &Path) -> Result<Vec<Stored>, Failure> {
    let failed = |error| Failure::io("read the directory", dir.display(), &error);
    if !dir.metadata().map_err(failed)?.is_dir() {
        return Err(Failure::usage(format!("{} is not a directory", dir.display())));
    }
    if dir.join(MANIFEST).exists() {
        let name = dir.display().to_string();
        return Ok(vec![Stored { name, dir: dir.to_owned() }]);
    }
    let layout = Layout::new(dir);
    if !layout.journal().exists() {
        let text = format!("{} holds neither a snapshot nor a journal", dir.display());
        return Err(Failure::new(Exit::NotFound, text)
            .hint("name the data directory of a server (its --data), or a version's directory"));
    }
    let mut found: Vec<(DatasetName, Version)> = Vec::new();
    for dataset in names_in(&dir.join("datasets"))?.iter().flat_map(|n| DatasetName::parse(n)) {
        let versions = names_in(&dir.join("datasets").join(dataset.as_str()))?;
        let versions = versions.iter().flat_map(|name| Version::parse(name));
        found.extend(versions.map(|version| (dataset.clone(), version)));
    }
    found.sort();
    let stored = |(dataset, version): (DatasetName, Version)| Stored {
        name: format!("{dataset} {version}"),
        dir: layout.version(&dataset, version),
    };
    Ok(found.into_iter().map(stored).collect())
}

/// The names in a directory; none if it is not there.
fn names_in(dir: &Path) -> Result<Vec<String>, Failure> {
    let entries = match dir.read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Failure::io("read the directory", dir.display(), &error)),
    };
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        entry
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .map_err(|error| Failure::io("read the directory", dir.display(), &error))
    };
    entries.map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_order_and_other_directories_are_not() {
        let dir = tempfile::tempdir().unwrap();
        for version in ["b/2", "a/10", "a/9", "a/x", ".trash/1"] {
            std::fs::create_dir_all(dir.path().join("datasets").join(version)).unwrap();
        }
        let none = snapshots(dir.path()).unwrap_err();
        assert_eq!(none.exit, Exit::NotFound, "no journal: {none:?}");
        std::fs::write(dir.path().join("journal"), "").unwrap();
        let found = snapshots(dir.path()).unwrap();
        let names: Vec<&str> = found.iter().map(|stored| stored.name.as_str()).collect();
        assert_eq!(names, ["a 9", "a 10", "b 2"]);
    }

    #[test]
    fn a_snapshot_stands_for_itself() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(MANIFEST), "{}").unwrap();
        assert_eq!(snapshots(dir.path()).unwrap()[0].dir, dir.path());
        assert_eq!(snapshots(&dir.path().join("nowhere")).unwrap_err().exit, Exit::NotFound);
    }
}
