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
mod tests {
    use super::*;
    use crate::error::{Code, Error};
    use crate::manifest::Compression;
    use crate::testing::{build, build_as, flip, records, verified};
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::fs;

    fn open(dir: &Path, digest: &Digest) -> Result<Snapshot> {
        Snapshot::open(dir, Version(7), digest, &BlockCache::new(1 << 20))
    }

    fn all(mut scan: Scan<'_>) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut found = Vec::new();
        while let Some((key, value)) = scan.next()? {
            found.push((key.to_vec(), value.to_vec()));
        }
        Ok(found)
    }

    fn unusable(dir: &Path, digest: &Digest) -> Error {
        let error = open(dir, digest).expect_err("it must not open");
        assert_eq!(error.code(), Code::VersionUnusable, "{error}");
        error
    }

    fn key() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop_oneof![Just(0u8), Just(b'a'), Just(b'b'), Just(255)], 1..6)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

        #[test]
        fn a_snapshot_answers_like_the_map_it_was_built_from(
            map in prop::collection::btree_map(key(), prop::collection::vec(any::<u8>(), 0..300), 1..80),
            probes in prop::collection::vec(key(), 1..40),
            prefix in prop::collection::vec(prop_oneof![Just(b'a'), Just(255u8)], 0..3),
            after in prop::option::of(key()),
            file_bytes in prop_oneof![Just(1u64), Just(2000), Just(1 << 20)],
            compression in prop_oneof![Just(Compression::None), Just(Compression::Lz4), Just(Compression::Zstd)],
        ) {
            let map: BTreeMap<_, _> = map;
            let dir = tempfile::tempdir().unwrap();
            let verified = build_as(dir.path(), &map, file_bytes, compression).verify(&mut |_| {}).unwrap();
            let snapshot = open(dir.path(), verified.digest()).unwrap();
            snapshot.warm().unwrap();

            let keys: Vec<_> = probes.iter().chain(map.keys()).collect();
            for key in &keys {
                let value = snapshot.get(Key::new(key).unwrap()).unwrap();
                prop_assert_eq!(value.as_deref(), map.get(*key).map(|v| &v[..]));
            }
            let many: Vec<_> = keys.iter().map(|k| Key::new(k).unwrap()).collect();
            for (key, value) in keys.iter().zip(snapshot.get_many(&many).unwrap()) {
                prop_assert_eq!(value.as_deref(), map.get(*key).map(|v| &v[..]));
            }
            let found = all(snapshot.scan(&prefix, after.as_deref()).unwrap()).unwrap();
            let expected: Vec<_> = map.into_iter()
                .filter(|(k, _)| k.starts_with(&prefix) && after.as_ref().is_none_or(|a| k > a))
                .collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_scan_goes_on_after_the_last_key_it_gave() {
        let dir = tempfile::tempdir().unwrap();
        let verified = verified(dir.path(), 1000, 20_000);
        let snapshot = open(dir.path(), verified.digest()).unwrap();
        let mut after: Option<Vec<u8>> = None;
        let mut found = Vec::new();
        loop {
            let mut scan = snapshot.scan(b"key:0005", after.as_deref()).unwrap();
            let Some((key, value)) = scan.next().unwrap() else {
                assert!(scan.next().unwrap().is_none(), "the end stays the end");
                break;
            };
            found.push((key.to_vec(), value.to_vec()));
            after = Some(key.to_vec());
        }
        assert_eq!(found, records(1000)[500..600]);
    }

    /// Invariant 7, tried on every region of a file: one bit is turned, all over a table
    /// in steps and in each of its last 1,500 bytes (filter, index, properties, footer);
    /// then the version is opened and every key looked up.
    #[test]
    fn damage_is_never_not_found() {
        let dir = tempfile::tempdir().unwrap();
        let verified = verified(dir.path(), 800, 16_000);
        let path = dir.path().join("000002.sst");
        let size = fs::metadata(&path).unwrap().len() as usize;
        let tail = size - 3000;
        let (mut unopened, mut corrupt, mut whole) = (0, 0, 0);
        for at in (0..tail).step_by(61).chain((tail..size).step_by(3)) {
            flip(&path, at, (at % 8) as u8);
            match open(dir.path(), verified.digest()) {
                Err(e) => {
                    assert_eq!(e.code(), Code::VersionUnusable, "byte {at}: {e}");
                    unopened += 1;
                }
                Ok(snapshot) => match errors_of_all_lookups(&snapshot, at) {
                    0 => whole += 1,
                    _ => corrupt += 1,
                },
            }
            flip(&path, at, (at % 8) as u8);
        }
        // Each way to end was met, or the test has lost its object.
        assert!(unopened > 50 && corrupt > 50 && whole > 20, "{unopened} {corrupt} {whole}");
    }

    fn errors_of_all_lookups(snapshot: &Snapshot, at: usize) -> usize {
        let mut errors = 0;
        for (key, value) in records(800) {
            match snapshot.get(Key::new(&key).unwrap()) {
                Ok(found) => assert_eq!(found.as_deref(), Some(&value[..]), "byte {at}"),
                Err(e) => {
                    assert_eq!(e.code(), Code::DataCorrupt, "byte {at}: {e}");
                    errors += 1;
                }
            }
        }
        assert!(errors < 400, "byte {at}: keys in other blocks are still served");
        match all(snapshot.scan(b"", None).unwrap()) {
            Ok(found) => assert_eq!((found, errors), (records(800), 0), "byte {at}"),
            Err(e) => assert_eq!(e.code(), Code::DataCorrupt, "byte {at}: {e}"),
        }
        errors
    }

    #[test]
    fn damage_after_opening_is_an_error_for_its_keys_alone() {
        let dir = tempfile::tempdir().unwrap();
        let verified = verified(dir.path(), 800, 1 << 20);
        let snapshot = open(dir.path(), verified.digest()).unwrap();
        flip(&dir.path().join("000001.sst"), 5000, 0);
        let errors = errors_of_all_lookups(&snapshot, 5000);
        assert!((1..200).contains(&errors), "{errors}");
        let keys = records(800);
        let keys: Vec<_> = keys.iter().map(|(k, _)| Key::new(k).unwrap()).collect();
        assert_eq!(snapshot.get_many(&keys).unwrap_err().code(), Code::DataCorrupt);
    }

    #[test]
    fn any_change_of_the_manifest_makes_the_version_unusable() {
        let dir = tempfile::tempdir().unwrap();
        let verified = verified(dir.path(), 300, 1 << 20);
        let path = layout::manifest(dir.path());
        for at in 0..fs::metadata(&path).unwrap().len() as usize {
            flip(&path, at, (at % 8) as u8);
            let error = open(dir.path(), verified.digest()).expect_err("it must not open");
            assert!(matches!(error.code(), Code::VersionUnusable | Code::UnknownFormat));
            assert_eq!(error.path().unwrap(), path);
            flip(&path, at, (at % 8) as u8);
        }
        open(dir.path(), verified.digest()).unwrap();
    }

    #[test]
    fn a_shortened_or_flipped_list_of_rocksdb_is_never_not_found() {
        let dir = tempfile::tempdir().unwrap();
        let verified = verified(dir.path(), 800, 16_000);
        let list = fs::read_dir(layout::db(dir.path())).unwrap().map(|e| e.unwrap().path());
        let list = list.into_iter().find(|p| p.to_string_lossy().contains("MANIFEST-")).unwrap();
        let whole = fs::read(&list).unwrap();
        for length in (0..whole.len()).step_by(3).chain([whole.len() - 1]) {
            fs::write(&list, &whole[..length]).unwrap();
            unusable(dir.path(), verified.digest());
        }
        for at in 0..whole.len() {
            fs::write(&list, &whole).unwrap();
            flip(&list, at, (at % 8) as u8);
            match open(dir.path(), verified.digest()) {
                Ok(snapshot) => assert_eq!(errors_of_all_lookups(&snapshot, at), 0),
                Err(e) => assert_eq!(e.code(), Code::VersionUnusable, "byte {at}: {e}"),
            }
        }
    }

    #[test]
    fn rocksdbs_own_files_are_made_again_when_they_are_gone() {
        let dir = tempfile::tempdir().unwrap();
        let verified = verified(dir.path(), 800, 16_000);
        fs::remove_dir_all(layout::db(dir.path())).unwrap();
        fs::create_dir(layout::db_tmp(dir.path())).unwrap();
        fs::write(layout::db_tmp(dir.path()).join("CURRENT"), "left behind").unwrap();
        let snapshot = open(dir.path(), verified.digest()).unwrap();
        assert_eq!(errors_of_all_lookups(&snapshot, 0), 0);
        assert!(!layout::db_tmp(dir.path()).exists());
        crate::verify_snapshot(dir.path(), Some(verified.digest()), &mut |_| {}).unwrap();
    }

    #[test]
    fn a_copy_that_a_backup_made_of_the_links_is_served_if_its_bytes_are_right() {
        let dir = tempfile::tempdir().unwrap();
        let verified = verified(dir.path(), 800, 16_000);
        let table = |dir: &Path| {
            let mut paths = assembly::paths(&layout::db(dir)).unwrap();
            paths.sort();
            paths.into_iter().find(|p| p.extension().is_some_and(|e| e == "sst")).unwrap()
        };
        let served = table(dir.path());
        let bytes = fs::read(&served).unwrap();
        fs::remove_file(&served).unwrap();
        fs::write(&served, &bytes).unwrap();
        open(dir.path(), verified.digest()).unwrap();
        flip(&served, 100, 0);
        assert_eq!(unusable(dir.path(), verified.digest()).path().unwrap(), served);

        // Nor is the file of another version taken for it, be it ever so like.
        let other = tempfile::tempdir().unwrap();
        let changed = records(800).into_iter().map(|(key, mut value)| {
            value[5] = b'9';
            (key, value)
        });
        let _verified =
            build_as(other.path(), changed, 16_000, Compression::Lz4).verify(&mut |_| {}).unwrap();
        fs::copy(table(other.path()), &served).unwrap();
        unusable(dir.path(), verified.digest());
    }

    #[test]
    fn files_that_do_not_belong_or_are_missing_make_the_version_unusable() {
        type Damage = fn(&Path);
        let damages: [(&str, Damage, &str); 7] = [
            ("a stray log", |d| fs::write(d.join("db/000042.log"), b"").unwrap(), "db/000042.log"),
            (
                "an options file",
                |d| fs::write(d.join("db/OPTIONS-000005"), b"").unwrap(),
                "db/OPTIONS-000005",
            ),
            (
                "a table too many",
                |d| drop(fs::copy(d.join("000001.sst"), d.join("db/000099.sst")).unwrap()),
                "db",
            ),
            ("no CURRENT", |d| fs::remove_file(d.join("db/CURRENT")).unwrap(), "db"),
            (
                "another CURRENT",
                |d| fs::write(d.join("db/CURRENT"), "MANIFEST-000099\n").unwrap(),
                "db",
            ),
            ("no table", |d| fs::remove_file(d.join("000001.sst")).unwrap(), "000001.sst"),
            ("no manifest", |d| fs::remove_file(d.join("manifest.json")).unwrap(), "manifest.json"),
        ];
        for (what, damage, named) in damages {
            let dir = tempfile::tempdir().unwrap();
            let verified = verified(dir.path(), 400, 16_000);
            damage(dir.path());
            let error = unusable(dir.path(), verified.digest());
            assert_eq!(error.path().unwrap(), dir.path().join(named), "{what}: {error}");
        }
        let nowhere = Path::new("/nonexistent/version");
        unusable(nowhere, &Digest::of(b""));
    }

    #[test]
    fn opening_changes_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let verified = verified(dir.path(), 800, 16_000);
        let state = || {
            let mut names = assembly::paths(&layout::db(dir.path())).unwrap();
            names.extend(assembly::paths(dir.path()).unwrap());
            names.sort();
            let modified = |p: &PathBuf| fs::metadata(p).unwrap().modified().unwrap();
            names.into_iter().map(|p| (modified(&p), p)).collect::<Vec<_>>()
        };
        let before = state();
        let snapshot = open(dir.path(), verified.digest()).unwrap();
        snapshot.warm().unwrap();
        assert_eq!(errors_of_all_lookups(&snapshot, 0), 0);
        drop(snapshot);
        assert_eq!(state(), before);
        assert_eq!(
            before.iter().filter(|(_, p)| p.ends_with("LOCK") || p.ends_with("LOG")).count(),
            0
        );
    }

    #[test]
    fn values_of_every_size_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let sizes = [0, 1, 4095, 4096, 4097, 1 << 20, crate::names::MAX_VALUE_BYTES];
        let rows = sizes.map(|n| {
            (format!("{n:010}"), (0..n).map(|i| (i * 31 % 251) as u8).collect::<Vec<_>>())
        });
        let verified = build(dir.path(), rows.clone(), 1 << 20).verify(&mut |_| {}).unwrap();
        let snapshot = open(dir.path(), verified.digest()).unwrap();
        for (key, value) in rows {
            let found = snapshot.get(Key::new(key.as_bytes()).unwrap()).unwrap().unwrap();
            assert!(*found == value[..], "{key}");
        }
    }
}
