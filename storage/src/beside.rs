//! A directory that is made outside of a data directory. It is made beside the place where it will
//! stand, under another name, and renamed when it is whole. So whatever is killed, under its own
//! name there is all of it or nothing. A later attempt can go on with what an earlier one left.
//!
//! ```text
//! OUT.tmp/
//!   lock           one process makes it
//!   state.json     what it is going to be, for whoever goes on with it
//!   snapshot/      what will be OUT
//!   snapshot.runs  sorted runs, while rows are sorted
//!   piece-<n>/     a piece that is read for a merge
//! ```

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use crate::durable;
use crate::error::{Code, Error, Result};
use crate::layout;
use crate::piece::PIECE;
use crate::regular;
use crate::versions::entries;

const LOCK: &str = "lock";
const STATE: &str = "state.json";
const SNAPSHOT: &str = "snapshot";

/// A directory in the making.
#[derive(Debug)]
pub struct Beside {
    out: PathBuf,
    tmp: PathBuf,
    _lock: File,
}

impl Beside {
    /// Begins to make `out`, or goes on with that: [`Beside::state`] is what was noted then.
    ///
    /// # Errors
    /// [`Code::InvalidSetting`] if `out` is there and not empty, or if `OUT.tmp` holds what was not
    /// left by such an attempt; [`Code::DirectoryInUse`] if another process makes it.
    pub fn begin(out: &Path) -> Result<Self> {
        let named = out.file_name().filter(|name| *name != "..");
        let Some(name) = named else {
            let text = "this names no directory that could be made: name a new one";
            return Err(Error::new(Code::InvalidSetting, text).at(out));
        };
        refuse_if_filled(out)?;
        let mut beside = name.to_owned();
        beside.push(".tmp");
        let tmp = out.with_file_name(beside);
        durable::create_dir_all(&tmp)?;
        refuse_others(&tmp, is_ours)?;
        refuse_others(&tmp.join(SNAPSHOT), is_of_snapshot)?;
        let path = tmp.join(LOCK);
        let lock = File::options().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(|e| Error::io("open the lock", &path, e))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { out: out.to_owned(), tmp, _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                let text = "another process makes this directory: wait for it, or name another";
                Err(Error::new(Code::DirectoryInUse, text).at(out))
            }
            Err(TryLockError::Error(e)) => Err(Error::io("take the lock", &path, e)),
        }
    }

    /// Where what will be the directory is made: not there after [`Beside::anew`].
    pub fn dir(&self) -> PathBuf {
        self.tmp.join(SNAPSHOT)
    }

    /// What the attempt before this one noted, if it noted anything.
    pub fn state(&self) -> Option<String> {
        fs::read_to_string(self.tmp.join(STATE)).ok()
    }

    /// Removes all that an earlier attempt left, and notes what will be made.
    pub fn anew(&self, state: &str) -> Result<()> {
        for (name, path) in entries(&self.tmp)? {
            if name == LOCK {
                continue;
            }
            let removed =
                if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(|e| Error::io("remove what an earlier attempt left", &path, e))?;
        }
        durable::write_new(&self.tmp.join(STATE), state.as_bytes())
    }

    /// Puts what was made in its place, durably, without RocksDB's own files: those are made by who
    /// serves it. Files that the caller has synced are synced once more, which costs nothing.
    pub fn finish(self) -> Result<()> {
        let dir = self.dir();
        durable::remove_dir_all(&layout::db(&dir))?;
        durable::remove_dir_all(&layout::db_tmp(&dir))?;
        for (_, path) in entries(&dir)? {
            durable::sync_file(&regular::open(&path)?, &path)?;
        }
        durable::sync_dir(&dir)?;
        refuse_if_filled(&self.out)?;
        durable::rename(&dir, &self.out)?;
        durable::remove_dir_all(&self.tmp)
    }

    /// Removes what was made so far: it is of no use to anybody.
    pub fn give_up(self) {
        // What is left is told by the next attempt, if it is in its way.
        let _ = durable::remove_dir_all(&self.tmp);
    }
}

fn refuse_if_filled(out: &Path) -> Result<()> {
    match fs::symlink_metadata(out) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Error::io("look at the place for it", out, e)),
        Ok(found) if found.is_dir() && entries(out)?.is_empty() => Ok(()),
        Ok(found) => {
            let what =
                if found.is_dir() { "a directory with something in it" } else { "no directory" };
            let text = format!("this is {what}: name one that is not there yet, or is empty");
            Err(Error::new(Code::InvalidSetting, text).at(out))
        }
    }
}

/// Whatever else is in `dir` would be removed.
fn refuse_others(dir: &Path, is_ours: fn(&str) -> bool) -> Result<()> {
    let Some((name, _)) = entries(dir)?.into_iter().find(|(name, _)| !is_ours(name)) else {
        return Ok(());
    };
    let text = format!(
        "here it would be made, but there is {name:?}, which no such work has left: move it away"
    );
    Err(Error::new(Code::InvalidSetting, text).at(dir))
}

fn is_of_snapshot(name: &str) -> bool {
    let stem = name.strip_suffix(durable::UNFINISHED).unwrap_or(name);
    layout::is_snapshot_file(stem) || [layout::DB, PIECE].contains(&stem)
}

fn is_ours(name: &str) -> bool {
    let stem = name.strip_suffix(durable::UNFINISHED).unwrap_or(name);
    [LOCK, STATE, SNAPSHOT, "snapshot.runs"].contains(&stem) || stem.starts_with("piece-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        entries(dir).unwrap().into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn what_is_made_is_there_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("deep/er");
        let first = Beside::begin(&out).unwrap();
        assert_eq!(first.state(), None);
        first.anew("one").unwrap();
        fs::create_dir_all(first.dir().join("db")).unwrap();
        fs::write(first.dir().join("000001.sst"), b"half").unwrap();
        assert_eq!(Beside::begin(&out).unwrap_err().code(), Code::DirectoryInUse);
        drop(first);
        // Killed there: the next one finds what it left.
        let second = Beside::begin(&out).unwrap();
        assert_eq!(second.state().as_deref(), Some("one"));
        assert!(second.dir().join("000001.sst").exists() && !out.exists());
        second.anew("two").unwrap();
        assert!(!second.dir().exists());
        fs::create_dir_all(second.dir().join("db")).unwrap();
        fs::write(second.dir().join("000001.sst"), b"whole").unwrap();
        second.finish().unwrap();
        assert_eq!(names(&out), ["000001.sst"]);
        assert_eq!(names(out.parent().unwrap()), ["er"]);
        Beside::begin(&dir.path().join("empty")).unwrap().give_up();
        assert_eq!(names(dir.path()), ["deep"]);
    }

    #[test]
    fn nothing_of_anybody_else_is_touched() {
        let dir = tempfile::tempdir().unwrap();
        let refused = |name: &str| Beside::begin(&dir.path().join(name)).unwrap_err().code();
        fs::create_dir_all(dir.path().join("filled")).unwrap();
        fs::write(dir.path().join("filled/mine"), b"x").unwrap();
        fs::write(dir.path().join("file"), b"x").unwrap();
        fs::create_dir_all(dir.path().join("beside.tmp")).unwrap();
        fs::write(dir.path().join("beside.tmp/mine"), b"x").unwrap();
        for name in ["filled", "file", "beside", "..", "/"] {
            assert_eq!(refused(name), Code::InvalidSetting, "{name}");
        }
        assert!(dir.path().join("filled/mine").exists());
        assert_eq!(names(&dir.path().join("beside.tmp")), ["mine"]);
        // Nor what lies among the files that an attempt has left.
        let inside = dir.path().join("within.tmp/snapshot");
        fs::create_dir_all(inside.join("db")).unwrap();
        for name in ["000001.sst", "manifest.json.tmp", "piece.json", "mine.txt"] {
            fs::write(inside.join(name), b"x").unwrap();
        }
        assert_eq!(refused("within"), Code::InvalidSetting);
        assert!(inside.join("mine.txt").exists());
        fs::remove_file(inside.join("mine.txt")).unwrap();
        Beside::begin(&dir.path().join("within")).unwrap().give_up();
        fs::create_dir(dir.path().join("empty")).unwrap();
        let empty = Beside::begin(&dir.path().join("empty")).unwrap();
        empty.anew("").unwrap();
        fs::create_dir(empty.dir()).unwrap();
        empty.finish().unwrap();
    }
}
