//! One opened, immutable version: look up a key, several, or all with a prefix.
//!
//! - All answers of a snapshot come from one version (invariant 4): it holds no reference
//!   to anything that changes.
//! - What is opened is what was published (invariant 1): the manifest's digest is the
//!   journal's, the files are the manifest's, RocksDB's list is compared with both.
//! - A key that is in the snapshot is never "not found"; damaged data is an error, never a
//!   value (invariant 7). The head of `rocks.rs` says why that holds for every part of a
//!   file.
//!
//! Nothing here locks or writes; any number of threads may read one snapshot. Dropping it
//! closes its files, which takes milliseconds: not on a thread that serves.

use std::path::{Path, PathBuf};

use crate::assembly;
use crate::digest::Digest;
use crate::error::Result;
use crate::layout;
use crate::manifest::Manifest;
use crate::names::{Key, Version};
use crate::regular;
use crate::rocks::{BlockCache, Reader, Scan, Value};
use crate::verify::{check_ends, check_sizes, read_expected};

/// How much of a snapshot is fetched before it serves. The bound keeps a snapshot that is
/// larger than memory from driving the one being served out of it.
const WARM_BYTES: u64 = 1 << 30;

/// An opened version.
pub struct Snapshot {
    dir: PathBuf,
    version: Version,
    manifest: Manifest,
    reader: Reader,
}

impl Snapshot {
    /// Opens the version that was published in `dir` under the manifest digest `digest`.
    /// Reads indexes and filters, about 2 % of the data; makes `db/` if it is missing.
    ///
    /// # Errors
    /// [`crate::Code::VersionUnusable`] naming the file, if any is missing, too many or
    /// not what was published. Damage inside a block of records is found by the lookup
    /// that needs it, and by [`crate::verify_snapshot`].
    pub fn open(dir: &Path, version: Version, digest: &Digest, cache: &BlockCache) -> Result<Self> {
        let manifest = read_expected(dir, digest)?;
        check_sizes(dir, &manifest)?;
        if std::fs::symlink_metadata(layout::db(dir)).is_err() {
            assembly::assemble(dir, &manifest)?;
        }
        let reader = assembly::open(dir, &manifest, Some(cache))?;
        Ok(Self { dir: dir.to_owned(), version, manifest, reader })
    }

    /// Prepares for serving: looks up the ends of every file, and asks the kernel to fetch
    /// the data, up to 1 GiB of it. Costs up to the time of reading that from disk.
    ///
    /// # Errors
    /// [`crate::Code::DataCorrupt`] if one of those lookups meets damage.
    pub fn warm(&self) -> Result<()> {
        check_ends(&self.dir, &self.manifest, &self.reader)?;
        let mut left = WARM_BYTES;
        for file in &self.manifest.files {
            if left == 0 {
                break;
            }
            let wanted = left.min(file.bytes);
            regular::fetch(&self.dir.join(&file.name), wanted)?;
            left -= wanted;
        }
        Ok(())
    }

    /// The number of this version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// What the version says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Where its files are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The value of `key`, if the version has it. Costs a search in memory and one block,
    /// from the cache or the disk; the value is not copied.
    ///
    /// # Errors
    /// [`crate::Code::DataCorrupt`] if the block is damaged, [`crate::Code::IoFailed`] if
    /// it cannot be read.
    pub fn get(&self, key: Key<'_>) -> Result<Option<Value<'_>>> {
        self.reader.get(key.as_bytes())
    }

    /// The values of `keys`, in their order. The same as many calls of [`Snapshot::get`];
    /// RocksDB's own batch would copy every key and value.
    ///
    /// # Errors
    /// Those of [`Snapshot::get`], of the first key that has one.
    pub fn get_many(&self, keys: &[Key<'_>]) -> Result<Vec<Option<Value<'_>>>> {
        keys.iter().map(|key| self.get(*key)).collect()
    }

    /// The records whose keys begin with `prefix` (all, if it is empty), in key order; only
    /// those after `after`, if it is given. To go on where an earlier scan ended, give its
    /// last key.
    ///
    /// # Errors
    /// None today: damage shows at the record it lies before, in [`Scan::next`].
    pub fn scan(&self, prefix: &[u8], after: Option<&[u8]>) -> Result<Scan<'_>> {
        Ok(self.reader.scan(prefix, after))
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Snapshot({} at {})", self.version, self.dir.display())
    }
}

#[cfg(test)]
mod tests;
