//! A disk that filled up under a push, in numbers: while a part of it arrived, while it was fetched,
//! or while it was built.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use tidetable_storage::{Code, Error, Kind, RESERVE_BYTES, free_bytes};

use super::spec::NotBuilt;
use super::{PushOf, Pushes};
use crate::problem::Problem;

/// What kept a part from being written, of which so many bytes had arrived, with what its client can
/// do something with if it is a full disk.
pub(crate) fn receiving(error: Error, arrived: u64, root: &Path) -> Problem {
    if error.kind() != Kind::Full {
        return error.into();
    }
    let free = free_bytes(root).unwrap_or_default();
    let text = format!(
        "the disk is full: {arrived} bytes of this part had arrived, {free} bytes are free, and \
         {RESERVE_BYTES} are kept in reserve. What had arrived was removed; make room and push again"
    );
    Problem::from(Error::new(Code::DiskFull, text)).because(error)
}

/// The same of what an import fetches.
pub(crate) fn fetching(error: Error, root: &Path) -> Error {
    if error.kind() != Kind::Full {
        return error;
    }
    let free = free_bytes(root).unwrap_or_default();
    let text = format!("the disk is full ({free} bytes are free): make room and import again");
    Error::new(error.code(), text)
}

/// The same failure of a build, with the bytes needed and free if it is a full disk. What the push has
/// in staging must still be there.
pub(super) fn building(
    pushes: &Pushes,
    (dataset, version): &PushOf,
    not_built: NotBuilt,
) -> NotBuilt {
    if not_built.code != Code::DiskFull.as_str() {
        return not_built;
    }
    let layout = pushes.store.layout();
    let all = bytes_within(&layout.push(dataset, *version), &mut HashSet::new());
    let parts = bytes_within(&layout.parts(dataset, *version), &mut HashSet::new());
    let free = free_bytes(layout.root()).unwrap_or_default();
    let detail = format!(
        "{}; this push needs more than the {} bytes that were written besides its parts of \
         {parts} bytes, and {free} bytes were free then ({RESERVE_BYTES} are kept in reserve). \
         What was written is removed. Delete versions or datasets, or make room, and push again",
        not_built.detail,
        all.saturating_sub(parts),
    );
    NotBuilt { detail, ..not_built }
}

/// What the files within take; of several names of one file, one counts. What cannot be
/// looked at counts nothing.
fn bytes_within(dir: &Path, seen: &mut HashSet<u64>) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_within(&entry.path(), seen),
        Ok(metadata) if seen.insert(metadata.ino()) => metadata.len(),
        _ => 0,
    });
    bytes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_in_numbers_and_whatever_else_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let failed = |code| Error::new(code, "as it was");
        let problem = receiving(failed(Code::DiskFull), 77, dir.path());
        assert_eq!(problem.code(), "disk_full");
        assert!(problem.detail().contains("77 bytes of this part"), "{}", problem.detail());
        let error = fetching(failed(Code::DiskFull), dir.path());
        assert_eq!(error.code(), Code::DiskFull);
        assert!(error.detail().contains("import again"), "{error}");
        assert_eq!(receiving(failed(Code::IoFailed), 77, dir.path()).detail(), "as it was");
        assert_eq!(fetching(failed(Code::IoFailed), dir.path()).detail(), "as it was");
    }

    #[test]
    fn a_file_with_two_names_counts_once() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("db")).unwrap();
        std::fs::write(dir.path().join("1.sst"), [0; 1000]).unwrap();
        std::fs::hard_link(dir.path().join("1.sst"), dir.path().join("db/1.sst")).unwrap();
        std::fs::write(dir.path().join("db/MANIFEST"), [0; 10]).unwrap();
        assert_eq!(bytes_within(dir.path(), &mut HashSet::new()), 1010);
        assert_eq!(bytes_within(&dir.path().join("absent"), &mut HashSet::new()), 0);
    }
}
