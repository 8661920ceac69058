//! What the command line asks of a data directory itself, without a server: the only
//! file here that calls the storage library for it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use tidetable_storage::{
    self as storage, AuditHead, AuditReport, Catalog, Code, DatasetName, Digest, JournalFault,
    JournalReport, Layout, MANIFEST, Manifest, Repair, Store, StoreOptions, Version,
    ahead_of_journal, read_catalog, verify_snapshot, version_of,
};

use super::build::refuse_piece;
use super::exit::{Exit, Failure};
use super::output::counted;

/// A snapshot that was read back whole.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

/// One version to read back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) name: String,
    pub(crate) dir: PathBuf,
    pub(crate) version: Option<(DatasetName, Version)>,
    /// What the journal says that its manifest is.
    pub(crate) digest: Option<Digest>,
    /// What the journal says of it, if that is older than this directory.
    pub(crate) ahead: Option<String>,
}

/// What is beneath a directory.
#[derive(Debug)]
pub(crate) struct Contents {
    /// What was read of the journal, or why it cannot be read; `None` for a snapshot that
    /// stands alone.
    pub(crate) journal: Option<Result<JournalReport, Failure>>,
    /// Versions that the journal owns, there or not, and directories of others, by dataset
    /// and number.
    pub(crate) snapshots: Vec<Stored>,
}

/// How many bytes reading the snapshot in `dir` back counts up to.
pub(crate) fn bytes_to_verify(dir: &Path) -> Option<u64> {
    Manifest::read(dir).ok().map(|(manifest, _)| manifest.verify_bytes())
}

/// Reads every byte of a snapshot back and compares it with its manifest, and that with
/// the journal.
pub(crate) fn verify(stored: &Stored, progress: &mut dyn FnMut(u64)) -> Result<Whole, Failure> {
    let manifest = verify_snapshot(&stored.dir, stored.digest.as_ref(), progress)?;
    Ok(Whole { records: manifest.records, bytes: manifest.bytes() })
}

/// Whether the journal of the data directory still owns that version: a server that runs
/// may have deleted it since.
pub(crate) fn is_still_owned(dir: &Path, stored: &Stored) -> bool {
    let Some((dataset, version)) = &stored.version else { return true };
    let Ok((catalog, _)) = read_catalog(dir) else { return true };
    // One that was rewritten meanwhile is another.
    digest_of(&catalog, dataset, *version) == stored.digest
}

fn find_journal(dir: &Path) -> Result<(), Failure> {
    if is_data_directory(dir)? {
        return Ok(());
    }
    if let Some(lost) = lost_journal(dir)? {
        return Err(lost);
    }
    let text = format!("cannot find the journal {}", Layout::new(dir).journal().display());
    Err(Failure::new(Exit::NotFound, text).hint("name the data directory of a server (its --data)"))
}

/// What there is to do about versions in `dir`, which has no journal; `None` if there are none either.
fn lost_journal(dir: &Path) -> Result<Option<Failure>, Failure> {
    let versions = directories(dir)?;
    let Some((dataset, version, generation)) = versions.last() else { return Ok(None) };
    let n = counted(versions.len() as u64, "version");
    let text = format!(
        "the journal of {} is lost: it has {n}, and nothing says which of them served",
        dir.display()
    );
    let place = Layout::new(dir).generation(dataset, *version, *generation);
    Ok(Some(Failure::of_code(Code::JournalCorrupt, text).hint(format!(
        "restore the journal from a backup of the same instant as the data. If there is none, start a server on \
         a new directory and push to it what you need, as snapshots: `tidetable push {dataset} {}`. Keys that \
         were erased may be in them: erase them again",
        place.display()
    ))))
}

/// Whether `dir` is a data directory already, that is, has a journal.
pub(crate) fn is_data_directory(dir: &Path) -> Result<bool, Failure> {
    let journal = Layout::new(dir).journal();
    match File::open(&journal) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed("open the journal", &journal, &error)),
    }
}

/// The operating system failed while `doing` (a verb) what is at `path`. That is no word on whether
/// it is there.
fn failed(doing: &str, path: &Path, error: &io::Error) -> Failure {
    let failure = Failure::io(doing, path.display(), error);
    match error.kind() {
        ErrorKind::PermissionDenied => failure.hint(
            "run this as the user that the server runs as: nobody else may read its data directory",
        ),
        _ => failure,
    }
}

/// The data directory `dir`, made if it is not there, to change something in it that a server
/// will find there. It is opened as a start does.
pub(crate) fn open_to_change(dir: &Path) -> Result<Store, Failure> {
    storage::make_files_private();
    match Store::open(dir, StoreOptions::default()) {
        Ok((store, _)) => Ok(store),
        Err(error) if error.code() == Code::DirectoryInUse => Err(Failure::from(error)
            .hint("stop the server first; or ask it, with --server instead of --data")),
        Err(error) => Err(error.into()),
    }
}

/// What is wrong with the data directory `dir` and what a cut of its journal does; with
/// `cut` it is done.
pub(crate) fn repair(dir: &Path, cut: bool) -> Result<Repair, Failure> {
    find_journal(dir)?;
    let repair = if cut { storage::repair(dir) } else { storage::repair_plan(dir) };
    Ok(repair?)
}

/// What can be said of the audit of the data directory `dir`, also beside a server that runs.
pub(crate) fn verify_audit(dir: &Path, noted: &[AuditHead]) -> Result<AuditReport, Failure> {
    find_journal(dir)?;
    Ok(storage::verify_audit(dir, noted)?)
}

/// The snapshots beneath `dir`: itself if it is one, else all versions of a data
/// directory.
pub(crate) fn contents(dir: &Path) -> Result<Contents, Failure> {
    let metadata = dir.metadata().map_err(|error| failed("read the directory", dir, &error))?;
    if !metadata.is_dir() {
        return Err(Failure::usage(format!("{} is not a directory", dir.display())));
    }
    let manifest = dir.join(MANIFEST);
    if manifest.try_exists().map_err(|error| failed("look for", &manifest, &error))? {
        let name = dir.display().to_string();
        let alone = Stored { name, dir: dir.to_owned(), version: None, digest: None, ahead: None };
        return Ok(Contents { journal: None, snapshots: vec![alone] });
    }
    let layout = Layout::new(dir);
    if !is_data_directory(dir)? {
        if let Some(lost) = lost_journal(dir)? {
            return Err(lost);
        }
        refuse_piece(dir)?;
        let text = format!("{} holds neither a snapshot nor a journal", dir.display());
        return Err(Failure::new(Exit::NotFound, text)
            .hint("name the data directory of a server (its --data), or a version's directory"));
    }
    let (catalog, journal) = match read_catalog(dir) {
        Ok((catalog, report)) => (catalog, Ok(report)),
        Err(error) => (Catalog::default(), Err(Failure::from(error))),
    };
    let mut found = directories(dir)?;
    for (name, dataset) in catalog.datasets() {
        let owned = dataset.versions.iter().filter(|(_, entry)| entry.state.has_files());
        found.extend(owned.map(|(version, entry)| (name.clone(), *version, entry.generation)));
    }
    let stored = |(dataset, version, generation): (DatasetName, Version, u32)| {
        let its = catalog.entry(&dataset, version).map(|entry| entry.generation);
        let is_its = its.is_ok_and(|its| its == generation);
        let rewritten = if generation == 0 { String::new() } else { format!(".{generation}") };
        Stored {
            name: format!("{dataset} {version}{rewritten}"),
            dir: layout.generation(&dataset, version, generation),
            digest: digest_of(&catalog, &dataset, version).filter(|_| is_its),
            version: Some((dataset, version)),
            ahead: None,
        }
    };
    let mut snapshots: Vec<Stored> = found.into_iter().map(stored).collect();
    if let Some(inside) = snapshots.is_empty().then(|| directory_inside(dir)).transpose()?.flatten()
    {
        return Err(inside);
    }
    let is_whole = |report: &JournalReport| !matches!(report.fault, Some(JournalFault::Damaged(_)));
    // What stands behind damage may know them.
    if journal.as_ref().is_ok_and(is_whole) {
        find_ahead(dir, catalog, &mut snapshots)?;
    }
    Ok(Contents { journal: Some(journal), snapshots })
}

/// That another data directory stands in this one, as a copy comes to stand in a directory that is there
/// already.
fn directory_inside(dir: &Path) -> Result<Option<Failure>, Failure> {
    let unread = |error: &io::Error| failed("read the directory", dir, error);
    for entry in dir.read_dir().map_err(|error| unread(&error))? {
        let path = entry.map_err(|error| unread(&error))?.path();
        // What may not be looked into, as lost+found, is none.
        if path.is_dir() && is_data_directory(&path).unwrap_or(false) {
            let text = format!(
                "{} holds no version, and another data directory: {}",
                dir.display(),
                path.display()
            );
            let hint = "a copy into a directory that is there stands within it: with the server stopped, put \
                        what is inside in its place";
            return Ok(Some(Failure::new(Exit::Failed, text).hint(hint)));
        }
    }
    Ok(None)
}

/// Finds the directories that are of a later time than the journal. A server that runs may have put
/// one there after the journal was read, so that is read again; and once more, since what it says and
/// what is on the disk are not of one instant either.
fn find_ahead(dir: &Path, mut catalog: Catalog, snapshots: &mut [Stored]) -> Result<(), Failure> {
    for stored in snapshots.iter_mut() {
        stored.ahead = ahead(dir, &catalog, stored);
    }
    for _ in 0..2 {
        if snapshots.iter().all(|stored| stored.ahead.is_none()) {
            break;
        }
        (catalog, _) = read_catalog(dir)?;
        for stored in snapshots.iter_mut().filter(|stored| stored.ahead.is_some()) {
            stored.ahead = ahead(dir, &catalog, stored);
        }
    }
    Ok(())
}

fn ahead(dir: &Path, catalog: &Catalog, stored: &Stored) -> Option<String> {
    let (dataset, version) = stored.version.as_ref()?;
    if stored.digest.is_some() {
        return None;
    }
    ahead_of_journal(catalog, dir, (dataset, *version), &stored.dir)
}

/// The digest of the manifest of a version that the catalogue owns.
fn digest_of(catalog: &Catalog, dataset: &DatasetName, version: Version) -> Option<Digest> {
    let entry = catalog.entry(dataset, version).ok().filter(|entry| entry.state.has_files())?;
    entry.manifest.map(Digest::from_bytes)
}

/// The versions that there are directories of, whoever owns them.
fn directories(dir: &Path) -> Result<BTreeSet<(DatasetName, Version, u32)>, Failure> {
    let mut found = BTreeSet::new();
    for dataset in names_in(&dir.join("datasets"))?.iter().flat_map(|n| DatasetName::parse(n)) {
        let versions = names_in(&dir.join("datasets").join(dataset.as_str()))?;
        let versions = versions.iter().filter_map(|name| version_of(name));
        found.extend(versions.map(|(version, generation)| (dataset.clone(), version, generation)));
    }
    Ok(found)
}

/// The names of the directories in a directory; none if it is not there.
fn names_in(dir: &Path) -> Result<Vec<String>, Failure> {
    let entries = match dir.read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("read the directory", dir, &error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| failed("read the directory", dir, &error))?;
        if entry.path().is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
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
        for file in ["notes", "a/11"] {
            std::fs::write(dir.path().join("datasets").join(file), "").unwrap();
        }
        std::fs::write(dir.path().join("journal"), "").unwrap();
        let found = contents(dir.path()).unwrap();
        let names: Vec<&str> = found.snapshots.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["a 9", "a 10", "b 2"]);
        assert!(found.journal.unwrap().is_err(), "an empty file is no journal");
    }

    #[test]
    fn a_copy_that_stands_within_is_no_sound_directory() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("journal"), "").unwrap();
        std::fs::create_dir_all(dir.path().join("staging")).unwrap();
        assert!(contents(dir.path()).is_ok());
        let inside = dir.path().join("tidetable");
        std::fs::create_dir_all(&inside).unwrap();
        std::fs::write(inside.join("journal"), "").unwrap();
        let failure = contents(dir.path()).unwrap_err();
        assert_eq!(failure.exit, Exit::Failed);
        assert!(failure.message.ends_with("/tidetable"), "{failure:?}");
        // With versions of its own it is what it says.
        std::fs::create_dir_all(dir.path().join("datasets/a/1")).unwrap();
        assert!(contents(dir.path()).is_ok());
    }

    #[test]
    fn versions_without_a_journal_are_no_wrong_directory() {
        let dir = tempfile::tempdir().unwrap();
        let failures =
            || [contents(dir.path()).unwrap_err(), repair(dir.path(), true).unwrap_err()];
        for version in [None, Some("a/9"), Some("b/2.1")] {
            let place = version.map(|version| dir.path().join("datasets").join(version));
            place.iter().for_each(|place| std::fs::create_dir_all(place).unwrap());
            for failure in failures() {
                let hint = failure.hint.as_deref().unwrap();
                let Some(place) = &place else {
                    assert!(hint.contains("name the data directory"), "{hint}");
                    assert_eq!(failure.exit, Exit::NotFound);
                    continue;
                };
                assert_eq!(failure.exit, Exit::Failed);
                assert_eq!(failure.code.as_deref(), Some("journal_corrupt"));
                assert!(failure.message.contains("the journal of"), "{failure:?}");
                assert!(hint.contains("from a backup"), "{hint}");
                assert!(hint.contains(&format!(" {}`", place.display())), "{hint}");
            }
        }
    }

    #[test]
    fn what_cannot_be_looked_at_is_not_taken_for_absent() {
        let dir = tempfile::tempdir().unwrap();
        // Nobody may follow these, whoever the tests run as.
        for name in [MANIFEST, "journal"] {
            let path = dir.path().join(name);
            std::os::unix::fs::symlink(name, &path).unwrap();
            let mut failures = vec![contents(dir.path()).unwrap_err()];
            if name == "journal" {
                failures.push(repair(dir.path(), false).unwrap_err());
                failures.push(is_data_directory(dir.path()).unwrap_err());
            }
            for failure in failures {
                assert_eq!(failure.exit, Exit::Failed, "{failure:?}");
                let says = |part: &str| failure.message.contains(part);
                assert!(says(path.to_str().unwrap()) && says("(os error "), "{failure:?}");
            }
            std::fs::remove_file(&path).unwrap();
        }
        let denied = failed("open the journal", dir.path(), &ErrorKind::PermissionDenied.into());
        assert!(denied.hint.as_deref().unwrap().contains("the user that the server runs as"));
    }

    #[test]
    fn a_piece_of_a_snapshot_is_told_as_one() {
        let dir = tempfile::tempdir().unwrap();
        let share = storage::Share { number: 2, of: 3, cuts: None };
        storage::make_empty_piece(dir.path(), &share, "{}").unwrap();
        let failure = contents(dir.path()).unwrap_err();
        assert_eq!(failure.exit, Exit::Refused);
        assert!(failure.message.contains("is piece 2 of 3"), "{failure:?}");
        assert!(failure.hint.as_deref().unwrap().contains("build --merge"), "{failure:?}");
    }

    #[test]
    fn a_snapshot_stands_for_itself() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(MANIFEST), "{}").unwrap();
        let found = contents(dir.path()).unwrap();
        assert_eq!(found.snapshots[0].dir, dir.path());
        assert!(found.journal.is_none());
        assert_eq!(contents(&dir.path().join("nowhere")).unwrap_err().exit, Exit::NotFound);
    }
}
