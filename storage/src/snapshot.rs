//! One opened, immutable version: look up a key, several, or all with a prefix.
//!
//! - All answers of a snapshot come from one version (invariant 4): it holds no reference
//!   to anything that changes.
//! - What is opened is what was published (invariant 1): the manifest's digest is the
//!   journal's, the files are the manifest's, RocksDB's list is compared with both.
//! - A key that is in the snapshot is never "not found"; damaged data is an error, never a
//!   value (invariant 7). The heads of `records.rs` and `rocks.rs` say why.
//!
//! Single keys are found by the index of keys, records in key order by RocksDB. Nothing here
//! locks or writes; any number of threads may read one snapshot. Dropping it closes its
//! files, which takes milliseconds: not on a thread that serves.

use std::path::{Path, PathBuf};

use crate::assembly;
use crate::digest::Digest;
use crate::erased::ErasedKeys;
use crate::error::{Code, Error, Result};
use crate::layout;
use crate::located::Located;
use crate::manifest::Manifest;
use crate::memory::Share;
use crate::names::{Key, Version};
use crate::points::KeyHash;
use crate::records::{Each, Records};
use crate::rocks::{BlockCache, Reader, StoredScan};
use crate::values::Damaged;
use crate::verify::{check_ends, check_sizes, damaged, read_expected};

/// How many files more than [`Snapshot::files_of`] may be open while one is opened: RocksDB's own,
/// and the index of keys. They are read one after the other, and closed.
pub(crate) const FILES_WHILE_OPENED: u64 = 4;

/// An opened version.
pub struct Snapshot {
    dir: PathBuf,
    version: Version,
    manifest: Manifest,
    reader: Reader,
    records: Records,
}

impl Snapshot {
    /// Opens the version that was published in `dir` under the manifest digest `digest`.
    /// Reads the index of keys into memory, about 9 bytes a record; makes `db/` if it is
    /// missing.
    ///
    /// # Errors
    /// [`crate::Code::VersionUnusable`] naming the file, if any is missing, too many or
    /// not what was published. Damage inside a block of records is found by the lookup
    /// that needs it, and by [`crate::verify_snapshot`].
    pub fn open(dir: &Path, version: Version, digest: &Digest, cache: &BlockCache) -> Result<Self> {
        Self::of_manifest(dir, version, read_expected(dir, digest)?, cache)
    }

    /// The same, of a version whose manifest was read.
    pub(crate) fn of_manifest(
        dir: &Path,
        version: Version,
        manifest: Manifest,
        cache: &BlockCache,
    ) -> Result<Self> {
        check_sizes(dir, &manifest)?;
        if std::fs::symlink_metadata(layout::db(dir)).is_err() {
            let made = assembly::assemble(dir, &manifest, &mut |_, _| Ok(()));
            made.map_err(Error::with_way_out)?;
        }
        let reader = assembly::open(dir, &manifest, Some(cache))?;
        let records = Records::open(dir, &manifest)?;
        Ok(Self { dir: dir.to_owned(), version, manifest, reader, records })
    }

    /// How many files a snapshot keeps open that has so many data files: each of them twice, for
    /// RocksDB and for lookups of single keys.
    pub(crate) fn files_of(data_files: u64) -> u64 {
        2 * data_files
    }

    /// About how much memory it takes besides the pages of its files: the index of keys, and
    /// RocksDB's of its blocks.
    pub(crate) fn memory_of(manifest: &Manifest) -> u64 {
        manifest.records.saturating_mul(9).saturating_add(manifest.bytes() / 400)
    }

    /// Prepares for serving: reads the data into memory, up to 1 GiB of it and to a quarter
    /// of the memory that this process may use, and looks up the ends of every file. Costs
    /// the time of reading that from disk.
    ///
    /// # Errors
    /// [`crate::Code::DataCorrupt`] if one of those lookups meets damage.
    pub fn warm(&self) -> Result<()> {
        self.records.populate(Share::now())?;
        check_ends(&self.dir, &self.manifest, &self.records)
    }

    /// Reads in what was looked up in `other` lately, if it is here, too: when this version
    /// takes the place of that one, the keys that are asked for are in memory. Of a version that
    /// is large beside the memory, their records are copied out of their pages.
    pub fn warm_like(&self, other: &Self) {
        self.records.warm_like(&other.records);
    }

    /// Notes what of the data is in memory now. Until this is called again, lookups take
    /// that to be there still: see [`Snapshot::in_memory`]. Costs about a millisecond for
    /// 300 MB of data.
    ///
    /// # Errors
    /// [`crate::Code::IoFailed`] if the system does not say.
    pub fn look(&self) -> Result<()> {
        self.records.look()
    }

    /// Copies what is looked up most out of its pages, if the version is large beside the memory and
    /// pages are being given up. Costs about a microsecond for each of up to 256 Ki keys.
    pub fn keep_hot(&self) {
        self.records.keep_hot();
    }

    /// Which of all sets of copies this one has; 0 for none, and later ones have greater numbers.
    pub(crate) fn copies_made(&self) -> u64 {
        self.records.copies_made()
    }

    /// Gives the memory of its copies back.
    pub(crate) fn drop_copies(&self) {
        self.records.drop_copies();
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

    /// The value of `key`, if the version has it. Costs two cache misses and the
    /// decompression of the value if it is in memory, else one read from the disk, for
    /// which it waits.
    ///
    /// # Errors
    /// [`crate::Code::DataCorrupt`] if the record is damaged, [`crate::Code::IoFailed`] if
    /// it cannot be read.
    pub fn get(&self, key: Key<'_>) -> Result<Option<Vec<u8>>> {
        let mut value = Vec::new();
        Ok(self.get_into(key, &mut value)?.then_some(value))
    }

    /// [`Snapshot::get`] into a buffer that is used again: puts the value into `value`, in
    /// place of what is there, and says whether the version has the key.
    ///
    /// # Errors
    /// Those of [`Snapshot::get`].
    pub fn get_into(&self, key: Key<'_>, value: &mut Vec<u8>) -> Result<bool> {
        self.records.get(key, value)
    }

    /// The values of `keys`, in their order.
    ///
    /// # Errors
    /// Those of [`Snapshot::get`], of the first key that has one.
    pub fn get_many(&self, keys: &[Key<'_>]) -> Result<Vec<Option<Vec<u8>>>> {
        self.locate(keys).values()
    }

    /// Looks for many keys at a time, which is faster than many calls of
    /// [`Snapshot::get_into`]; the values are [`Located::get_each`].
    pub fn locate<'a>(&'a self, keys: &'a [Key<'a>]) -> Located<'a> {
        self.locate_without(keys, None)
    }

    /// [`Snapshot::locate`], as if these keys were not there.
    pub(crate) fn locate_without<'a>(
        &'a self,
        keys: &'a [Key<'a>],
        erased: Option<&ErasedKeys>,
    ) -> Located<'a> {
        Located::new(&self.records, keys, erased)
    }

    /// Whether looking up `key` waits for no disk, as far as is known since the last
    /// [`Snapshot::look`]. Costs what remains cheap when the lookup follows.
    pub fn in_memory(&self, key: Key<'_>) -> bool {
        self.records.in_memory(key)
    }

    /// Has the disk begin to read what a lookup of `key` lacks in memory, and waits for nothing:
    /// the lookup that follows does. Costs about five microseconds if it is not in memory.
    pub fn ask_for(&self, key: Key<'_>) {
        self.records.ask_for(KeyHash::of(key.as_bytes()));
    }

    /// The records whose keys begin with `prefix` (all, if it is empty), in key order; only
    /// those after `after`, if it is given. To go on where an earlier scan ended, give its
    /// last key.
    ///
    /// # Errors
    /// None today: damage shows at the record it lies before, in [`Scan::next`].
    pub fn scan(&self, prefix: &[u8], after: Option<&[u8]>) -> Result<Scan<'_>> {
        let stored = self.reader.scan(prefix, after);
        Ok(Scan::of(stored, self))
    }

    /// [`Snapshot::get_into`] of a key that nobody asked for, so that the version after this one
    /// is not warmed with it.
    ///
    /// # Errors
    /// Those of [`Snapshot::get`].
    pub fn get_unnoticed(&self, key: Key<'_>, value: &mut Vec<u8>) -> Result<bool> {
        self.records.get_unnoticed(key, value)
    }

    /// Some records, drawn fairly: see [`Records::sample`].
    pub(crate) fn sample(&self, most: usize, each: &mut Each<'_>) -> Result<()> {
        self.records.sample(most, each)
    }

    /// Gives `each` all keys, in order, in large reads and past the cache of scans, as long as it
    /// wants more.
    pub(crate) fn walk_keys(&self, mut each: impl FnMut(&[u8]) -> bool) -> Result<()> {
        let mut stored = self.reader.read_through();
        let mut next = || Ok(stored.next()?.is_some_and(|(key, _)| each(key)));
        while next().map_err(|error| self.of_its_file(error))? {}
        Ok(())
    }

    /// The same error, at the file of this version that RocksDB has by a name of its own.
    fn of_its_file(&self, error: Error) -> Error {
        assembly::of_table(&self.dir, &self.manifest, &layout::db(&self.dir), error)
    }

    /// All records, in key order, in large reads and past the cache of scans.
    pub(crate) fn walk(&self) -> Scan<'_> {
        Scan::of(self.reader.read_through(), self)
    }
}

/// Records of a snapshot in key order, read as they are asked for.
pub struct Scan<'a> {
    stored: StoredScan<'a>,
    snapshot: &'a Snapshot,
    value: Vec<u8>,
    erased: Option<&'a ErasedKeys>,
}

impl<'a> Scan<'a> {
    fn of(stored: StoredScan<'a>, snapshot: &'a Snapshot) -> Self {
        Self { stored, snapshot, value: Vec::new(), erased: None }
    }

    /// The same, passing these keys over.
    pub(crate) fn without(self, erased: Option<&'a ErasedKeys>) -> Self {
        Self { erased, ..self }
    }

    /// The next record (key, value), or `None` at the end. It lives until the next call.
    ///
    /// # Errors
    /// [`Code::DataCorrupt`] if it, or the block it lies in, is damaged, [`Code::IoFailed`]
    /// if it cannot be read; the scan does not go on after that.
    #[expect(clippy::should_implement_trait, reason = "the record borrows from the scan")]
    pub fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        if let Some(erased) = self.erased {
            self.stored.pass_over(|key| erased.has(key));
        }
        let (snapshot, next) = (self.snapshot, self.stored.next());
        let Some((key, stored)) = next.map_err(|error| snapshot.of_its_file(error))? else {
            return Ok(None);
        };
        self.value.clear();
        let decoded = snapshot.records.decoder().decode(KeyHash::of(key), stored, &mut self.value);
        decoded.map_err(|Damaged| {
            damaged("a record does not fit its checksum")
                .recoded(Code::DataCorrupt)
                .at(&snapshot.dir)
        })?;
        Ok(Some((key, &self.value)))
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Snapshot({} at {})", self.version, self.dir.display())
    }
}

#[cfg(test)]
impl Snapshot {
    /// Is to have copies of what is looked up most, as if it were too large for the memory.
    pub(crate) fn with_copies(mut self, most: u64) -> Self {
        self.records.copy_hot(most);
        self
    }

    /// As if the kernel had given all pages up.
    pub(crate) fn let_all_go(&self) {
        self.records.let_all_go();
    }

    /// Whether there is a copy of the record of `key`.
    pub(crate) fn has_copy(&self, key: Key<'_>) -> bool {
        self.records.has_copy(KeyHash::of(key.as_bytes()))
    }
}

#[cfg(test)]
mod tests;
