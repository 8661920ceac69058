//! A file as the disk has it, not as the kernel remembers it.
//!
//! Whoever looks for damage on the disk must not be answered from memory, and reading all data
//! once must not drive out of memory what is looked up. `O_DIRECT` does both; file systems
//! that do not have it (tmpfs) are read in the ordinary way.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::ops::ControlFlow;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::digest::{Digest, FileSums};
use crate::error::{Error, Result};
use crate::regular;

/// What addresses and offsets must be a multiple of: no disk asks for more.
const ALIGNMENT: usize = 4096;
/// Read at a time, in bytes: enough for a disk to read at its speed, little enough to stop soon.
const STRETCH: usize = 1 << 20;

/// Told of every stretch that was read, in bytes; `Break` ends the reading.
pub(crate) type Pace<'a> = dyn FnMut(u64) -> ControlFlow<()> + 'a;

/// A regular file, open for reading from the disk.
pub(crate) struct Direct {
    file: File,
    memory: Vec<u8>,
    /// Where in `memory` an address is aligned.
    skip: usize,
    at: u64,
}

impl Direct {
    /// Opens the regular file at `path`, with the errors of [`regular::open`].
    pub(crate) fn open(path: &Path) -> Result<Self> {
        // What is there is checked first; a link put there since is not followed.
        let ordinary = regular::open(path)?;
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::DIRECT).bits();
        let direct = OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(path);
        let is_no_way = |e: &io::Error| e.raw_os_error() == Some(Errno::INVAL.raw_os_error());
        let file = match direct {
            Ok(file) => file,
            Err(e) if is_no_way(&e) => ordinary,
            Err(e) => return Err(Error::io("open the file", path, e)),
        };
        let memory = vec![0; STRETCH + ALIGNMENT];
        let skip = memory.as_ptr().align_offset(ALIGNMENT);
        Ok(Self { file, memory, skip, at: 0 })
    }

    /// The same, with the next bytes those at `offset`, or some before it: so many.
    pub(crate) fn open_at(path: &Path, offset: u64) -> Result<(Self, usize)> {
        let before = offset % ALIGNMENT as u64;
        let at = offset - before;
        Ok((Self { at, ..Self::open(path)? }, before as usize))
    }

    /// The next bytes of the file; none at its end.
    pub(crate) fn next(&mut self) -> io::Result<&[u8]> {
        // Only its end can have left it there, and from there nothing can be read directly.
        if !self.at.is_multiple_of(ALIGNMENT as u64) {
            return Ok(&[]);
        }
        let stretch = &mut self.memory[self.skip..self.skip + STRETCH];
        loop {
            match self.file.read_at(stretch, self.at) {
                Ok(n) => {
                    self.at += n as u64;
                    return Ok(&stretch[..n]);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

/// The sums of the file at `path` as it is on the disk; `None` if `pace` ended it.
pub(crate) fn sums(path: &Path, pace: &mut Pace<'_>) -> Result<Option<FileSums>> {
    let mut direct = Direct::open(path)?;
    let (mut crc32, mut blake3, mut bytes) =
        (crc32fast::Hasher::new(), blake3::Hasher::new(), 0u64);
    loop {
        let stretch = direct
            .next()
            .map_err(|e| Error::io(&format!("read the file behind byte {bytes}"), path, e))?;
        if stretch.is_empty() {
            break;
        }
        crc32.update(stretch);
        blake3.update(stretch);
        bytes += stretch.len() as u64;
        if pace(stretch.len() as u64).is_break() {
            return Ok(None);
        }
    }
    let blake3 = Digest::from_bytes(blake3.finalize().into());
    Ok(Some(FileSums { bytes, crc32: crc32.finalize(), blake3 }))
}

/// The sums of all of the file at `path`; `progress` is told the bytes of each stretch.
pub(crate) fn all_sums(path: &Path, progress: &mut dyn FnMut(u64)) -> Result<FileSums> {
    let sums = sums(path, &mut |bytes| {
        progress(bytes);
        ControlFlow::Continue(())
    })?;
    Ok(sums.expect("nobody ended it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_are_those_of_an_ordinary_read_whatever_the_length() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        for length in [0, 1, 4095, 4096, 4097, STRETCH - 1, STRETCH, STRETCH + 1, 2 * STRETCH] {
            let bytes: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            std::fs::write(&path, &bytes).unwrap();
            let mut told = 0;
            let found = sums(&path, &mut |bytes| {
                told += bytes;
                ControlFlow::Continue(())
            });
            assert_eq!(found.unwrap().unwrap(), FileSums::of_bytes(&bytes), "{length}");
            assert_eq!(told, length as u64);
        }
    }

    #[test]
    fn reading_ends_when_it_is_told_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, vec![1; 3 * STRETCH]).unwrap();
        let mut stretches = 0;
        let found = sums(&path, &mut |_| {
            stretches += 1;
            if stretches == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!((found.unwrap(), stretches), (None, 2));
    }
}
