//! Reading a published version again, at a pace, while it is served: is every byte on the disk
//! still what was published?
//!
//! Each file is compared with what vouches for it: the manifest with the journal's digest of it,
//! every data file and the dictionary with the manifest, RocksDB's own files and the index of keys
//! with their seal. Nothing else may be there. No record is decoded: all of them were read before
//! the version was published, and the same bytes are the same records. A scrub changes nothing and
//! opens no snapshot. It takes two megabytes of memory, whatever the version's size.

mod first_bad;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::assembly;
use crate::digest::Digest;
use crate::direct::{self, Pace};
use crate::error::{Code, Error, Kind, Result};
use crate::layout;
use crate::names::{DatasetName, Version};
use crate::verify::{check_nothing_else, damaged, read_expected};

/// What is wrong with the files of a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// The first file that is not as it was published, within the directory of the version.
    pub file: String,
    /// Where in it the first damaged record begins, if a record is damaged.
    pub offset: Option<u64>,
    /// What was expected and what was found.
    pub detail: String,
}

/// What came of reading a version again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadBack {
    /// Every byte is as it was published: so many.
    Sound(u64),
    /// Something is not.
    Damaged(Damage),
    /// It was not read to its end.
    Stopped,
}

/// A published version, to be read again.
#[derive(Clone, Debug)]
pub struct StoredVersion {
    pub(crate) dataset: DatasetName,
    pub(crate) version: Version,
    pub(crate) dir: PathBuf,
    pub(crate) digest: Digest,
}

impl StoredVersion {
    /// Of which dataset it is.
    pub fn dataset(&self) -> &DatasetName {
        &self.dataset
    }

    /// Its number.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Reads all of it from the disk. `pace` is told the bytes of every stretch, a megabyte at
    /// most, and may wait, or end the reading.
    ///
    /// # Errors
    /// [`Code::IoFailed`] if it could not be read for a reason that passes, such as too many
    /// open files. Damage is no error: it is what was asked for.
    pub fn read(&self, pace: &mut dyn FnMut(u64) -> ControlFlow<()>) -> Result<ReadBack> {
        let mut bytes = 0;
        let mut counted = |stretch: u64| {
            bytes += stretch;
            pace(stretch)
        };
        match self.check(&mut counted) {
            Ok(ControlFlow::Continue(())) => Ok(ReadBack::Sound(bytes)),
            Ok(ControlFlow::Break(())) => Ok(ReadBack::Stopped),
            Err(error) if is_damage(&error) => Ok(ReadBack::Damaged(self.describe(&error))),
            Err(error) => Err(error),
        }
    }

    fn check(&self, pace: &mut Pace<'_>) -> Result<ControlFlow<()>> {
        let manifest = read_expected(&self.dir, &self.digest)?;
        let (db, db_tmp) = (layout::db(&self.dir), layout::db_tmp(&self.dir));
        // db.tmp is what an interrupted assembly leaves; the next one removes it.
        let manifest_path = layout::manifest(&self.dir);
        check_nothing_else(&self.dir, &manifest, &[&manifest_path, &db, &db_tmp])?;
        for (name, listed) in manifest.listed() {
            let path = self.dir.join(name);
            match direct::sums(&path, pace)? {
                None => return Ok(ControlFlow::Break(())),
                Some(found) if found == listed => {}
                Some(found) => {
                    let text =
                        format!("its BLAKE3 is {}, expected {}", found.blake3, listed.blake3);
                    return Err(damaged(&text).at(path));
                }
            }
        }
        // Without it nothing is served until it is made again, from the files above.
        if !db.exists() {
            return Ok(ControlFlow::Continue(()));
        }
        assembly::scrub(&self.dir, &manifest, pace)
    }

    fn describe(&self, error: &Error) -> Damage {
        let path = error.path().unwrap_or(&self.dir);
        let within = path.strip_prefix(&self.dir).unwrap_or(path);
        // The words of the system are told, those of other libraries are not.
        let detail = match error.kind() {
            Kind::Corrupt => error.detail().to_owned(),
            _ => error.told(),
        };
        Damage { file: within.display().to_string(), offset: self.first_bad(path), detail }
    }

    /// Where the first damaged record of the file at `path` begins, as far as it can be found.
    fn first_bad(&self, path: &Path) -> Option<u64> {
        let manifest = read_expected(&self.dir, &self.digest).ok()?;
        let name = path.file_name()?.to_str()?;
        // Beneath db/ a name of RocksDB's may be the same.
        let is_here = path.parent() == Some(&*self.dir);
        let file = manifest.files.iter().find(|file| is_here && file.name == name)?;
        first_bad::first_bad_record(&self.dir, &manifest, file).ok().flatten()
    }
}

/// Whether the disk gives something else than was written to it, or nothing at all.
fn is_damage(error: &Error) -> bool {
    // EIO, EUCLEAN, EBADMSG, EILSEQ: what file systems and disks say of a block that does not
    // fit its own checksum.
    const OF_THE_DISK: [i32; 4] = [5, 117, 74, 84];
    let is_corrupt = error.kind() == Kind::Corrupt && error.code() != Code::UnknownFormat;
    is_corrupt || error.os_error().is_some_and(|os| OF_THE_DISK.contains(&os))
}

/// The error of a version that is not to be activated, because of this.
pub(crate) fn refused(dataset: &DatasetName, version: Version, damage: &Damage) -> Error {
    let text = format!(
        "version {version} of {dataset} is damaged, in its file {}: {}. It is not activated; \
         restore its files and verify it, or choose another version",
        damage.file, damage.detail
    );
    Error::new(Code::VersionUnusable, text)
}

#[cfg(test)]
mod tests;
