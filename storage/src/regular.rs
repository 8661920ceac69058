//! Opening files whose names came from elsewhere: regular files only.
//!
//! A snapshot may have been copied here by hand or sent by a stranger. A symbolic link in
//! it could name any file of this machine, and a pipe would hold a reader for ever, so
//! neither is followed or waited for.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use crate::error::{Code, Error, Result};

/// Opens the regular file at `path` for reading. Anything else there, or nothing, is
/// [`Code::VersionUnusable`].
pub(crate) fn open(path: &Path) -> Result<File> {
    // Without NONBLOCK, opening a pipe would wait for its writer; regular files ignore it.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(path);
    let file = file.map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => missing(path),
        _ if e.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => irregular(path),
        _ => Error::io("open the file", path, e),
    })?;
    let metadata = file.metadata().map_err(|e| Error::io("read the size of the file", path, e))?;
    if metadata.is_file() { Ok(file) } else { Err(irregular(path)) }
}

/// What the file system says of the regular file at `path`, with the errors of [`open`].
pub(crate) fn metadata(path: &Path) -> Result<Metadata> {
    let metadata = fs::symlink_metadata(path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => missing(path),
        _ => Error::io("read the size of the file", path, e),
    })?;
    if metadata.is_file() { Ok(metadata) } else { Err(irregular(path)) }
}

/// Tells the kernel that what is read of `file` says nothing of what is read next, so that
/// it reads no more than was asked for. Advice.
pub(crate) fn reads_are_random(file: &File) {
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::Random);
}

/// Has the kernel begin to read `length` bytes of `file` at `offset`, and does not wait for
/// them. Advice.
pub(crate) fn is_read_soon(file: &File, offset: u64, length: u64) {
    let length = NonZeroU64::new(length);
    let _ = rustix::fs::fadvise(file, offset, length, rustix::fs::Advice::WillNeed);
}

fn missing(path: &Path) -> Error {
    Error::new(
        Code::VersionUnusable,
        "a file of this version is missing: restore it from a backup or push the data again",
    )
    .at(path)
}

fn irregular(path: &Path) -> Error {
    Error::new(Code::VersionUnusable, "expected a regular file, found a link or something else: a snapshot holds regular files only").at(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_pipes_and_directories_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), b"x").unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        fs::create_dir(at("dir")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            at("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        assert!(open(&at("file")).is_ok());
        assert_eq!(metadata(&at("file")).unwrap().len(), 1);
        for name in ["link", "dir", "pipe", "none"] {
            let error = open(&at(name)).unwrap_err();
            assert_eq!(error.code(), Code::VersionUnusable, "{name}");
            assert_eq!(error.path().unwrap(), at(name));
            assert_eq!(metadata(&at(name)).unwrap_err().code(), Code::VersionUnusable, "{name}");
        }
    }
}
