//! Free disk space, asked before work that needs much of it, and while that goes on.
//!
//! What pushes leave alone is for the journal, logs and whoever else writes to the disk, so that
//! an activation or a rollback works on a disk that pushes have filled.

use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;

use crate::error::{Code, Error, Result};

/// Space that pushes leave free, in bytes.
pub const RESERVE_BYTES: u64 = 64 << 20;
/// Files that may still be made, besides those that pushes make.
const RESERVE_FILES: u64 = 256;
/// How many bytes are written between one look at the free space and the next.
const LOOK_EVERY: u64 = 8 << 20;

/// How a disk is, for a process without special rights.
#[derive(Clone, Copy, Debug)]
struct Disk {
    free: u64,
    /// Of a hundred, as `df` counts.
    used_percent: u64,
    /// Files that may be made; `None` where nothing counts them.
    files: Option<u64>,
    is_read_only: bool,
}

impl Disk {
    fn of(dir: &Path) -> Result<Self> {
        let stat = rustix::fs::statvfs(dir)
            .map_err(|e| Error::io("ask for the free space of the disk", dir, e.into()))?;
        let used = stat.f_blocks.saturating_sub(stat.f_bfree);
        let all = used.saturating_add(stat.f_bavail).max(1);
        Ok(Self {
            free: stat.f_bavail.saturating_mul(stat.f_frsize),
            // A part of a hundredth counts as one, as there.
            used_percent: used.saturating_mul(100).div_ceil(all),
            files: (stat.f_files > 0).then_some(stat.f_favail),
            is_read_only: stat.f_flag.contains(StatVfsMountFlags::RDONLY),
        })
    }

    fn require(&self, needed: u64) -> Result<()> {
        let Self { free, files, is_read_only, .. } = *self;
        if is_read_only {
            return Err(read_only());
        }
        if needed.saturating_add(RESERVE_BYTES) > free {
            let needs = match needed {
                0 => String::new(),
                _ => format!("this needs {needed}, and "),
            };
            return Err(full(&format!(
                "the disk has {free} bytes free; {needs}{RESERVE_BYTES} are kept in reserve"
            )));
        }
        match files {
            Some(files) if files < RESERVE_FILES => Err(full(&format!(
                "the file system takes only {files} more files (inodes), and {RESERVE_FILES} are \
                 kept in reserve"
            ))),
            _ => Ok(()),
        }
    }
}

/// Makes a file without a name, which is gone at once: a file system that has found an error and
/// takes nothing any more need not say so when it is asked how it is.
fn probe(dir: &Path) -> Result<()> {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    match rustix::fs::open(dir, flags, Mode::RUSR | Mode::WUSR) {
        Ok(_) => Ok(()),
        // Not every file system has such files.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => Ok(()),
        Err(Errno::ROFS) => Err(read_only()),
        Err(e) => Err(Error::io("make a file", dir, e.into())),
    }
}

fn read_only() -> Error {
    let text = "the file system of the data directory is read-only: reads go on, nothing can be \
                written. Look at the disk (dmesg), mount it for writing, and push again";
    Error::new(Code::DiskReadOnly, text)
}

fn full(why: &str) -> Error {
    let text = format!("{why}. Delete versions or datasets, or make room, and push again");
    Error::new(Code::DiskFull, text)
}

/// Bytes free on the disk of `dir`, for a process without special rights.
pub fn free_bytes(dir: &Path) -> Result<u64> {
    Disk::of(dir).map(|disk| disk.free)
}

/// Refuses work that needs more than is free besides [`RESERVE_BYTES`]
/// ([`Code::DiskFull`], naming both), or where nothing can be written.
pub fn require_space(dir: &Path, needed: u64) -> Result<()> {
    Disk::of(dir)?.require(needed)
}

/// Refuses a new push where it would only make a disk fuller that is fuller than
/// `most_percent` already, or where it could not be stored at all.
///
/// # Errors
/// [`Code::DiskFull`], [`Code::DiskReadOnly`].
pub fn require_room_for_pushes(dir: &Path, most_percent: u64) -> Result<()> {
    let disk = Disk::of(dir)?;
    disk.require(0)?;
    probe(dir)?;
    if disk.used_percent <= most_percent {
        return Ok(());
    }
    Err(full(&format!(
        "the disk is {} % full, and no push begins above {most_percent} % (max_disk_percent)",
        disk.used_percent
    )))
}

/// The room on a disk, looked at again as something is written to it that may be larger than
/// was thought.
#[derive(Debug)]
pub(crate) struct Room {
    dir: PathBuf,
    since_looked: u64,
}

impl Room {
    pub(crate) fn within(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), since_looked: LOOK_EVERY }
    }

    /// So many bytes are to be written.
    ///
    /// # Errors
    /// Those of [`require_space`], every now and then.
    pub(crate) fn take(&mut self, bytes: u64) -> Result<()> {
        self.since_looked += bytes;
        if self.since_looked < LOOK_EVERY {
            return Ok(());
        }
        self.since_looked = 0;
        require_space(&self.dir, bytes.max(LOOK_EVERY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISK: Disk =
        Disk { free: RESERVE_BYTES + 1000, used_percent: 40, files: None, is_read_only: false };

    #[test]
    fn the_reserve_is_left_alone() {
        assert!(DISK.require(1000).is_ok());
        let error = DISK.require(1001).unwrap_err();
        assert_eq!(error.code(), Code::DiskFull);
        assert!(error.detail().contains("needs 1001"), "{error}");
        assert_eq!(DISK.require(u64::MAX).unwrap_err().code(), Code::DiskFull);
        let error = Disk { free: 7, ..DISK }.require(0).unwrap_err();
        assert!(error.detail().starts_with("the disk has 7 bytes free; 67108864 are"), "{error}");
    }

    #[test]
    fn files_run_out_as_bytes_do_where_they_are_counted() {
        let with = |files| Disk { files, ..DISK }.require(0);
        assert!(with(None).is_ok() && with(Some(RESERVE_FILES)).is_ok());
        assert!(with(Some(RESERVE_FILES - 1)).unwrap_err().detail().contains("inodes"));
        let read_only = Disk { is_read_only: true, ..DISK };
        assert_eq!(read_only.require(0).unwrap_err().code(), Code::DiskReadOnly);
    }

    #[test]
    fn here_is_a_disk() {
        let dir = tempfile::tempdir().unwrap();
        assert!(free_bytes(dir.path()).unwrap() > 0);
        assert!(require_room_for_pushes(dir.path(), 100).is_ok());
        let error = require_room_for_pushes(dir.path(), 0).unwrap_err();
        assert!(error.detail().contains("max_disk_percent"), "{error}");
    }
}
