//! The files of a published version, for whoever takes them away.
//!
//! They are read past the page cache, so that a download does not drive out of memory what lookups
//! need. An open file is read to its end, even if its version is given up meanwhile.

use crate::digest::Digest;
use crate::direct::Direct;
use crate::error::{Error, Result};
use crate::layout::{self, DICTIONARY, MANIFEST};
use crate::manifest::Manifest;
use crate::scrub::StoredVersion;
use crate::verify::read_expected;

/// A file of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFile {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// The BLAKE3 of its bytes.
    pub blake3: Digest,
}

/// A file that is being read.
pub struct Outgoing {
    direct: Direct,
    path: std::path::PathBuf,
    /// Bytes before those that are wanted.
    skip: usize,
    left: u64,
}

impl StoredVersion {
    /// The digest of its manifest, which names its content.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// What it says of itself, and every file that it has: the manifest first.
    ///
    /// # Errors
    /// [`crate::Code::VersionUnusable`] if the manifest is not what was published.
    pub fn files(&self) -> Result<(Manifest, Vec<SnapshotFile>)> {
        let manifest = read_expected(&self.dir, &self.digest)?;
        let bytes = crate::regular::metadata(&layout::manifest(&self.dir))?.len();
        let mut files =
            vec![SnapshotFile { name: MANIFEST.to_owned(), bytes, blake3: self.digest }];
        files.extend(manifest.dictionary.iter().map(|file| SnapshotFile {
            name: DICTIONARY.to_owned(),
            bytes: file.bytes,
            blake3: file.blake3,
        }));
        files.extend(manifest.files.iter().map(|file| SnapshotFile {
            name: file.name.clone(),
            bytes: file.bytes,
            blake3: file.blake3,
        }));
        Ok((manifest, files))
    }

    /// Opens a file of it, to read `length` bytes from `from` on, which it has.
    ///
    /// # Errors
    /// [`crate::Code::VersionUnusable`] if it is not there any more.
    pub fn open_file(&self, file: &SnapshotFile, from: u64, length: u64) -> Result<Outgoing> {
        let path = self.dir.join(&file.name);
        let (direct, skip) = Direct::open_at(&path, from)?;
        Ok(Outgoing { direct, path, skip, left: length })
    }
}

impl Outgoing {
    /// The next bytes, a megabyte at most; `None` when all were given.
    ///
    /// # Errors
    /// If they cannot be read, or the file is shorter than it was.
    pub fn next_bytes(&mut self) -> Result<Option<&[u8]>> {
        if self.left == 0 {
            return Ok(None);
        }
        let read = self.direct.next().map_err(|e| Error::io("read the file", &self.path, e))?;
        let stretch = read.get(std::mem::take(&mut self.skip)..).unwrap_or_default();
        if stretch.is_empty() {
            let shorter = std::io::ErrorKind::UnexpectedEof.into();
            return Err(Error::io("read the file to its end", &self.path, shorter));
        }
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(stretch.len());
        self.left -= wanted as u64;
        Ok(Some(&stretch[..wanted]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{DatasetName, Version};
    use crate::testing::verified;

    #[test]
    fn any_range_of_any_file_is_what_the_file_has() {
        let dir = tempfile::tempdir().unwrap();
        let digest = *verified(dir.path(), 40_000, 1 << 20).digest();
        let dataset = DatasetName::parse("a").unwrap();
        let dir = dir.path().to_owned();
        let stored = StoredVersion { dataset, version: Version(1), dir: dir.clone(), digest };
        let (manifest, files) = stored.files().unwrap();
        assert_eq!(files.len(), manifest.files.len() + 2, "with manifest and dictionary");
        let mut odd = 1u64;
        for file in &files {
            let whole = std::fs::read(dir.join(&file.name)).unwrap();
            assert_eq!((whole.len() as u64, Digest::of(&whole)), (file.bytes, file.blake3));
            for _ in 0..50 {
                odd = odd.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
                let from = (odd >> 20) % file.bytes;
                let length = (odd >> 7) % (file.bytes - from) + 1;
                let mut open = stored.open_file(file, from, length).unwrap();
                let mut read = Vec::new();
                while let Some(bytes) = open.next_bytes().unwrap() {
                    read.extend_from_slice(bytes);
                }
                assert!(read == whole[from as usize..(from + length) as usize], "{from} {length}");
            }
        }
        // One that became shorter is an error, and no end.
        let first = &files[2];
        let mut open = stored.open_file(first, 0, first.bytes + 1).unwrap();
        let ended = std::iter::repeat_with(|| open.next_bytes().map(|b| b.is_some()))
            .find(|read| !matches!(read, Ok(true)));
        assert!(ended.unwrap().is_err());
    }
}
