//! Every fsync and every rename of this crate, so that "it is on the disk" means the
//! same everywhere.
//!
//! Invariant 6 rests on these: what a function here has returned `Ok` for survives power
//! loss, names included, because the directory that holds a new name is synced as well.
//! A failed fsync is final: the kernel may have dropped the pages and would report
//! success the next time, so nobody here tries twice. The caller gives up what it was
//! making.

#![expect(clippy::disallowed_methods, reason = "the one module that may sync and rename")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::error::{Error, Result};
use crate::planted::{self, Bug};
use crate::step::step;

/// Waits until the content of `file`, which is at `path`, is on the disk.
pub(crate) fn sync_file(file: &File, path: &Path) -> Result<()> {
    if planted::has(Bug::SkipFsync) {
        return Ok(());
    }
    file.sync_all().map_err(|e| Error::io("sync the file to disk", path, e))?;
    planted::synced(file);
    Ok(())
}

/// Waits until the names in the directory `path` are on the disk.
pub(crate) fn sync_dir(path: &Path) -> Result<()> {
    Opened::dir(path)?.sync()
}

/// A directory that was opened before its names change: so that too many open files are an
/// error while nothing has been changed yet.
struct Opened<'a> {
    dir: File,
    path: &'a Path,
}

impl<'a> Opened<'a> {
    fn dir(path: &'a Path) -> Result<Self> {
        let dir = File::open(path);
        let dir = dir.map_err(|e| Error::io("open the directory to sync it", path, e))?;
        Ok(Self { dir, path })
    }

    fn parent(path: &'a Path) -> Result<Option<Self>> {
        match path.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Self::dir(Path::new(".")).map(Some),
            Some(parent) => Self::dir(parent).map(Some),
            None => Ok(None),
        }
    }

    fn sync(&self) -> Result<()> {
        if planted::has(Bug::SkipFsync) {
            return Ok(());
        }
        let synced = self.dir.sync_all();
        synced.map_err(|e| Error::io("sync the directory to disk", self.path, e))
    }
}

/// A name alone: what an error says is told to clients, where it happened is not.
fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Renames `from` to `to`, replacing a file or an empty directory there, and syncs both
/// parents.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    let target = Opened::parent(to)?;
    let source = if from.parent() == to.parent() { None } else { Opened::parent(from)? };
    fs::rename(from, to)
        .map_err(|e| Error::io(&format!("rename {} to this", name_of(from)), to, e))?;
    step("rename.done");
    target.map_or(Ok(()), |dir| dir.sync())?;
    if let Some(source) = source {
        step("rename.target_synced");
        source.sync()?;
    }
    Ok(())
}

/// Gives the file at `from` the second name `to`, and syncs the directory of that.
pub(crate) fn link(from: &Path, to: &Path) -> Result<()> {
    fs::hard_link(from, to)
        .map_err(|e| Error::io(&format!("link {} to this", name_of(from)), to, e))?;
    sync_parent(to)
}

/// Makes the directory `path` and those above it, and syncs each parent in which it made
/// one. A directory that is there already is fine.
pub(crate) fn create_dir_all(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent()
        && !parent.as_os_str().is_empty()
    {
        create_dir_all(parent)?;
    }
    match fs::create_dir(path) {
        Ok(()) => {
            step("directory.made");
            let synced = sync_parent(path);
            if synced.is_err() {
                // Who finds it later would take its name for one that lasts.
                let _ = fs::remove_dir(path);
            }
            synced
        }
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(e) => Err(Error::io("make the directory", path, e)),
    }
}

/// What [`write_new`] puts behind the name of a file that is not whole yet.
pub(crate) const UNFINISHED: &str = ".tmp";

/// Puts a file with `bytes` at `path`, whole or not at all: written beside it, synced,
/// and renamed. A file that is there already is replaced.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    write_new_open(path, bytes).map(drop)
}

/// The same; the file stays open, to be written on at its end.
pub(crate) fn write_new_open(path: &Path, bytes: &[u8]) -> Result<File> {
    write_as(path, bytes, 0o666)
}

/// The same, of what nobody but the owner may read.
pub(crate) fn write_new_private(path: &Path, bytes: &[u8]) -> Result<()> {
    write_as(path, bytes, 0o600).map(drop)
}

fn write_as(path: &Path, bytes: &[u8], mode: u32) -> Result<File> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(UNFINISHED);
    let beside = Path::new(&beside);
    // What a crash has left there would keep its mode.
    let _ = fs::remove_file(beside);
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(beside)
            .map_err(|e| Error::io("make the file", beside, e))?;
        file.write_all(bytes).map_err(|e| Error::io("write the file", beside, e))?;
        step("file.written");
        sync_file(&file, beside)?;
        step("file.synced");
        rename(beside, path)?;
        Ok(file)
    })();
    if written.is_err() {
        // The error that matters is the one above; a leftover is swept with its directory.
        let _ = fs::remove_file(beside);
    }
    written
}

/// How often a directory is emptied that somebody still makes files in.
const TRIES: usize = 1000;

/// Removes the directory `path` with all in it, and syncs its parent. Gone already is
/// fine, so that a removal that was interrupted can be run again. A process that builds may
/// make a file more while the kernel is ending it: that goes with the rest.
pub(crate) fn remove_dir_all(path: &Path) -> Result<()> {
    let mut removed = fs::remove_dir_all(path);
    for _ in 1..TRIES {
        match &removed {
            Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            _ => break,
        }
        removed = fs::remove_dir_all(path);
    }
    match removed {
        Ok(()) => {
            step("directory.removed");
            sync_parent(path)
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Error::io("remove the directory", path, e)),
    }
}

/// Asks the kernel to forget the cached pages of `file`, so that the next read comes from
/// the disk. Only pages that were synced can be forgotten, and a file system may decline:
/// this makes a read-back more telling, nothing depends on it.
pub(crate) fn drop_cache(file: &File) {
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}

/// Waits until the name of `path` is on the disk.
pub(crate) fn sync_parent(path: &Path) -> Result<()> {
    Opened::parent(path)?.map_or(Ok(()), |dir| dir.sync())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    #[test]
    fn files_are_put_in_place_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write_new(&path, b"one").unwrap();
        write_new(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn directories_are_made_and_removed_twice_without_complaint() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b/c");
        create_dir_all(&deep).unwrap();
        create_dir_all(&deep).unwrap();
        assert!(deep.is_dir());
        rename(&deep, &dir.path().join("c")).unwrap();
        remove_dir_all(&dir.path().join("a")).unwrap();
        remove_dir_all(&dir.path().join("a")).unwrap();
        assert!(!dir.path().join("a").exists());
    }

    #[test]
    fn a_directory_that_somebody_still_fills_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("build");
        for _ in 0..20 {
            fs::create_dir(&path).unwrap();
            std::thread::scope(|scope| {
                let (begun, has_begun) = std::sync::mpsc::channel();
                let path = &path;
                scope.spawn(move || {
                    // Until the directory is gone.
                    let made = (0..10_000)
                        .take_while(|n| fs::create_dir(path.join(format!("{n}"))).is_ok());
                    made.for_each(|_| {
                        let _ = begun.send(());
                    });
                });
                has_begun.recv().unwrap();
                remove_dir_all(path).unwrap();
            });
            let _ = fs::remove_dir_all(&path);
        }
    }

    #[test]
    fn errors_say_what_was_done_and_where() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        write_new(&file, b"").unwrap();
        for (error, doing) in [
            (create_dir_all(&file.join("x")).unwrap_err(), "make the directory"),
            (create_dir_all(&file).unwrap_err(), "make the directory"),
            (sync_dir(&dir.path().join("no")).unwrap_err(), "open the directory"),
            (rename(&dir.path().join("no"), &dir.path().join("x")).unwrap_err(), "rename"),
            (write_new(&dir.path().join("no/x"), b"").unwrap_err(), "make the file"),
        ] {
            assert_eq!(error.code(), Code::IoFailed);
            assert!(error.to_string().contains(doing), "{error}");
            assert!(error.path().unwrap().starts_with(dir.path()), "{error}");
        }
    }
}
