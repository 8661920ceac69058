//! Reading a snapshot back: every byte of it, from the disk, against what was meant.
//!
//! - Before a version may be ready, every byte of it has been read back and verified
//!   (invariant 3). The types say so: a build gives an [`UnpublishedSnapshot`], and only a
//!   [`VerifiedSnapshot`] can be published.
//! - Nothing but what the manifest lists is accepted: no other file, no link, and never
//!   RocksDB's own files, which are made here.
//! - [`verify_snapshot`] does the same to a version long published, and changes nothing.

use std::path::{Path, PathBuf};

use crate::assembly;
use crate::digest::{ContentHasher, Digest, FileSums};
use crate::error::{Code, Error, Kind, Result};
use crate::layout::{self, MANIFEST};
use crate::manifest::{Manifest, SstFile};
use crate::regular;
use crate::rocks::Reader;

/// A snapshot that is complete on the disk and that nobody has read back yet.
#[must_use = "a snapshot is of no use before it is verified and published"]
#[derive(Debug)]
pub struct UnpublishedSnapshot {
    dir: PathBuf,
    manifest: Manifest,
    digest: Digest,
}

impl UnpublishedSnapshot {
    pub(crate) fn new(dir: PathBuf, manifest: Manifest, digest: Digest) -> Self {
        Self { dir, manifest, digest }
    }

    /// A snapshot that was built elsewhere and lies in `dir`.
    ///
    /// # Errors
    /// [`Code::SnapshotRefused`] if it has no manifest, or one that contradicts itself;
    /// [`Code::UnknownFormat`] if a later release wrote it.
    pub fn find(dir: &Path) -> Result<Self> {
        let (manifest, digest) =
            Manifest::read(dir).map_err(|e| e.damage_as(Code::SnapshotRefused))?;
        Ok(Self::new(dir.to_owned(), manifest, digest))
    }

    /// What the snapshot says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The digest of the manifest file, which names the snapshot.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Where it lies.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Reads all of it back from the disk, makes RocksDB's own files, and reads every
    /// record through them: what is served later is what was verified. `progress` is told
    /// the bytes read so far, up to [`Manifest::verify_bytes`].
    ///
    /// # Errors
    /// [`Code::SnapshotRefused`] naming the file, if anything is not as the manifest says.
    pub fn verify(self, progress: &mut dyn FnMut(u64)) -> Result<VerifiedSnapshot> {
        let mut progress = Progress::new(&self.manifest, progress);
        self.check(&mut progress).map_err(|e| e.damage_as(Code::SnapshotRefused))?;
        let Self { dir, manifest, digest } = self;
        Ok(VerifiedSnapshot { dir, manifest, digest })
    }

    fn check(&self, progress: &mut Progress<'_>) -> Result<()> {
        check_nothing_else(&self.dir, &self.manifest, &[])?;
        check_bytes(&self.dir, &self.manifest, progress)?;
        assembly::assemble(&self.dir, &self.manifest)?;
        let reader = assembly::open(&self.dir, &self.manifest, None)?;
        check_records(&self.dir, &self.manifest, &reader, progress)
    }
}

/// A snapshot of which every byte was read back: it may be published.
#[must_use = "a verified snapshot serves nobody before it is published"]
#[derive(Debug)]
pub struct VerifiedSnapshot {
    dir: PathBuf,
    manifest: Manifest,
    digest: Digest,
}

impl VerifiedSnapshot {
    /// The snapshot in `dir` that another process of ours verified, and whose manifest has
    /// `digest`. Checks that it is that snapshot and that nothing is missing; does not
    /// read the data again.
    ///
    /// # Errors
    /// [`Code::SnapshotRefused`] if it is another one, or incomplete.
    pub fn vouched(dir: &Path, digest: &Digest) -> Result<Self> {
        let check = || {
            let manifest = read_expected(dir, digest)?;
            check_sizes(dir, &manifest)?;
            assembly::open(dir, &manifest, None)?;
            Ok(manifest)
        };
        let manifest = check().map_err(|e: Error| e.damage_as(Code::SnapshotRefused))?;
        Ok(Self { dir: dir.to_owned(), manifest, digest: *digest })
    }

    /// What the snapshot says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The digest of the manifest file, to be kept in the journal: it names this content
    /// for ever.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Where it lies.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// Reads every byte of the snapshot in `dir` from the disk and compares it with its
/// manifest, and that with `digest` if one is expected. Where `db/` is there, every record
/// is read through it as well and the content digest compared. Changes nothing, so it may
/// run beside a server. `progress` is told the bytes read so far, up to
/// [`Manifest::verify_bytes`].
///
/// # Errors
/// [`Code::DataCorrupt`] naming the first file that is damaged, missing or too many.
pub fn verify_snapshot(
    dir: &Path,
    digest: Option<&Digest>,
    progress: &mut dyn FnMut(u64),
) -> Result<Manifest> {
    let mut check = || {
        let manifest = match digest {
            Some(digest) => read_expected(dir, digest)?,
            None => Manifest::read(dir)?.0,
        };
        let mut progress = Progress::new(&manifest, progress);
        let (db, db_tmp) = (layout::db(dir), layout::db_tmp(dir));
        // db.tmp is what an interrupted assembly leaves; the next one removes it.
        check_nothing_else(dir, &manifest, &[&db, &db_tmp])?;
        check_bytes(dir, &manifest, &mut progress)?;
        if db.exists() {
            let reader = assembly::open(dir, &manifest, None)?;
            check_records(dir, &manifest, &reader, &mut progress)?;
        }
        Ok(manifest)
    };
    check().map_err(|e: Error| e.damage_as(Code::DataCorrupt))
}

/// The manifest in `dir`, which must be the one with `digest`.
pub(crate) fn read_expected(dir: &Path, digest: &Digest) -> Result<Manifest> {
    let (manifest, found) = Manifest::read(dir)?;
    if found == *digest {
        return Ok(manifest);
    }
    Err(Error::new(
        Code::VersionUnusable,
        format!(
            "the manifest is not the one that was published: its digest is {found}, expected {digest}; restore it from a backup or push the data again"
        ),
    )
    .at(layout::manifest(dir)))
}

/// Every listed file is there, is a regular file, and has its size.
pub(crate) fn check_sizes(dir: &Path, manifest: &Manifest) -> Result<()> {
    for file in &manifest.files {
        let path = dir.join(&file.name);
        let bytes = regular::metadata(&path)?.len();
        if bytes != file.bytes {
            let listed = file.bytes;
            return Err(damaged(&format!("it has {bytes} bytes, expected {listed}")).at(path));
        }
    }
    Ok(())
}

/// Looks up the first and the last key of every file: what a reader would do, so that a
/// filter or an index that does not know its own keys shows.
pub(crate) fn check_ends(dir: &Path, manifest: &Manifest, reader: &Reader) -> Result<()> {
    for file in &manifest.files {
        for key in [&file.first_key, &file.last_key] {
            if reader.get(key)?.is_none() {
                return Err(damaged("a key it holds is not found").at(dir.join(&file.name)));
            }
        }
    }
    Ok(())
}

/// The directory holds the manifest, the listed files, what is in `also`, and no more.
fn check_nothing_else(dir: &Path, manifest: &Manifest, also: &[&Path]) -> Result<()> {
    for path in assembly::paths(dir)? {
        let name = path.file_name().unwrap_or_default();
        let listed =
            manifest.files.binary_search_by(|f| f.name.as_str().cmp(&name.to_string_lossy()));
        if name != MANIFEST && listed.is_err() && !also.contains(&&*path) {
            return Err(damaged("the manifest does not list it").at(path));
        }
    }
    check_sizes(dir, manifest)
}

/// Every file has, byte for byte, the checksums that the manifest lists.
fn check_bytes(dir: &Path, manifest: &Manifest, progress: &mut Progress<'_>) -> Result<()> {
    for file in &manifest.files {
        let path = dir.join(&file.name);
        let found = FileSums::of(&path, true, &mut |bytes| progress.add(bytes))?;
        if found != file.sums() {
            let listed = file.sums();
            return Err(damaged(&format!(
                "its crc32 is {:08x} and its BLAKE3 {}, expected {:08x} and {}",
                found.crc32, found.blake3, listed.crc32, listed.blake3
            ))
            .at(path));
        }
    }
    Ok(())
}

/// RocksDB finds exactly the records that were put in.
fn check_records(
    dir: &Path,
    manifest: &Manifest,
    reader: &Reader,
    progress: &mut Progress<'_>,
) -> Result<()> {
    let mut content = ContentHasher::new();
    let mut records = 0;
    let raw_bytes = (manifest.key_bytes + manifest.value_bytes).max(1) as f64;
    let bytes_per_raw = manifest.bytes() as f64 / raw_bytes;
    let (mut raw, mut told) = (0, 0);
    let mut scan = reader.read_through();
    while let Some((key, value)) = scan.next()? {
        content.record(key, value);
        records += 1;
        raw += (key.len() + value.len()) as u64;
        if raw - told >= 1 << 20 {
            progress.add(((raw - told) as f64 * bytes_per_raw) as u64);
            told = raw;
        }
    }
    let (found, listed) = (content.finish(), manifest.content_digest);
    if records != manifest.records || found != listed {
        return Err(damaged(&format!(
            "its files hold {records} records with the content digest {found}, expected {} with {listed}",
            manifest.records
        ))
        .at(layout::manifest(dir)));
    }
    check_ends(dir, manifest, reader)?;
    progress.complete();
    Ok(())
}

impl SstFile {
    pub(crate) fn sums(&self) -> FileSums {
        FileSums { bytes: self.bytes, crc32: self.crc32, blake3: self.blake3 }
    }
}

fn damaged(why: &str) -> Error {
    debug_assert_eq!(Code::VersionUnusable.kind(), Kind::Corrupt);
    Error::new(
        Code::VersionUnusable,
        format!("a file is not as the manifest of its version says: {why}; push the data again"),
    )
}

/// Bytes read so far, told as they grow and never beyond what was announced.
struct Progress<'a> {
    tell: &'a mut dyn FnMut(u64),
    so_far: u64,
    all: u64,
}

impl<'a> Progress<'a> {
    fn new(manifest: &Manifest, tell: &'a mut dyn FnMut(u64)) -> Self {
        Self { tell, so_far: 0, all: manifest.verify_bytes() }
    }

    fn add(&mut self, bytes: u64) {
        self.so_far = self.all.min(self.so_far + bytes);
        (self.tell)(self.so_far);
    }

    fn complete(&mut self) {
        self.add(self.all - self.so_far);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{build, flip, records, verified};
    use std::fs;

    fn refused(unpublished: UnpublishedSnapshot) -> Error {
        unpublished.verify(&mut |_| {}).expect_err("it was damaged")
    }

    #[test]
    fn verifying_reads_everything_and_tells_how_far_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let unpublished = build(dir.path(), records(20_000), 200_000);
        let all = unpublished.manifest().verify_bytes();
        let mut told = Vec::new();
        let verified = unpublished.verify(&mut |bytes| told.push(bytes)).unwrap();
        assert!(told.is_sorted() && told.len() > 3);
        assert_eq!(told.last(), Some(&all));
        assert_eq!(
            VerifiedSnapshot::vouched(dir.path(), verified.digest()).unwrap().dir(),
            dir.path()
        );
        assert_eq!(
            verify_snapshot(dir.path(), Some(verified.digest()), &mut |_| {}).unwrap().records,
            20_000
        );
        assert!(!layout::db_tmp(dir.path()).exists());
    }

    #[test]
    fn a_flipped_bit_in_any_file_is_refused_and_the_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let unpublished = build(dir.path(), records(2000), 30_000);
        let manifest = unpublished.manifest().clone();
        drop(unpublished);
        assert!(manifest.files.len() > 1);
        for file in &manifest.files {
            let path = dir.path().join(&file.name);
            for at in (0..file.bytes as usize).step_by(997) {
                flip(&path, at, (at % 8) as u8);
                let error = refused(UnpublishedSnapshot::find(dir.path()).unwrap());
                assert_eq!((error.code(), error.path()), (Code::SnapshotRefused, Some(&*path)));
                assert!(!layout::db(dir.path()).exists(), "nothing looks finished");
                flip(&path, at, (at % 8) as u8);
            }
        }
        UnpublishedSnapshot::find(dir.path()).unwrap().verify(&mut |_| {}).unwrap();
    }

    #[test]
    fn files_that_are_missing_cut_extended_or_too_many_are_refused() {
        type Damage = fn(&Path);
        let damages: [(&str, Damage, &str); 8] = [
            ("missing", |d| fs::remove_file(d.join("000001.sst")).unwrap(), "000001.sst"),
            ("cut", |d| cut(&d.join("000001.sst"), 1), "000001.sst"),
            ("extended", |d| extend(&d.join("000002.sst")), "000002.sst"),
            (
                "an SST too many",
                |d| drop(fs::copy(d.join("000001.sst"), d.join("000099.sst"))),
                "000099.sst",
            ),
            ("a log", |d| fs::write(d.join("000009.log"), b"").unwrap(), "000009.log"),
            ("a database from outside", |d| fs::create_dir(d.join("db")).unwrap(), "db"),
            ("a link", |d| link(&d.join("000001.sst")), "000001.sst"),
            ("files exchanged", |d| exchange(d), "000001.sst"),
        ];
        for (what, damage, named) in damages {
            let outer = tempfile::tempdir().unwrap();
            let dir = outer.path().join("snapshot");
            let unpublished = build(&dir, records(2000), 30_000);
            damage(&dir);
            let error = refused(unpublished);
            assert_eq!(error.code(), Code::SnapshotRefused, "{what}: {error}");
            assert_eq!(error.path().unwrap(), dir.join(named), "{what}: {error}");
        }
    }

    fn cut(path: &Path, bytes: usize) {
        let whole = fs::read(path).unwrap();
        fs::write(path, &whole[..whole.len() - bytes]).unwrap();
    }

    fn extend(path: &Path) {
        let whole = fs::read(path).unwrap();
        fs::write(path, [&whole[..], b"\0"].concat()).unwrap();
    }

    fn link(path: &Path) {
        let elsewhere = path.parent().unwrap().with_extension("elsewhere");
        fs::copy(path, &elsewhere).unwrap();
        fs::remove_file(path).unwrap();
        std::os::unix::fs::symlink(elsewhere, path).unwrap();
    }

    fn exchange(dir: &Path) {
        let [a, b] = ["000001.sst", "000002.sst"].map(|name| dir.join(name));
        let (one, two) = (fs::read(&a).unwrap(), fs::read(&b).unwrap());
        fs::write(a, two).unwrap();
        fs::write(b, one).unwrap();
    }

    #[test]
    fn a_manifest_that_lies_about_its_content_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let unpublished = build(dir.path(), records(500), 1 << 20);
        type Lie = fn(&mut Manifest);
        let lies: [Lie; 4] = [
            |m| m.content_digest = Digest::of(b"other"),
            |m| m.files[0].first_key.push(0),
            |m| m.files[0].last_key.push(0),
            |m| (m.records, m.files[0].records) = (499, 499),
        ];
        for lie in lies {
            let mut manifest = unpublished.manifest().clone();
            lie(&mut manifest);
            manifest.write(dir.path()).unwrap();
            let error = refused(UnpublishedSnapshot::find(dir.path()).unwrap());
            assert_eq!(error.code(), Code::SnapshotRefused);
            fs::remove_dir_all(layout::db(dir.path())).unwrap();
        }
        let nothing = tempfile::tempdir().unwrap();
        let error = UnpublishedSnapshot::find(nothing.path()).unwrap_err();
        assert_eq!(error.code(), Code::SnapshotRefused);
    }

    #[test]
    fn vouching_is_for_one_snapshot_that_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let verified = verified(dir.path(), 2000, 30_000);
        let refused = |digest: &Digest| VerifiedSnapshot::vouched(dir.path(), digest).unwrap_err();
        assert_eq!(refused(&Digest::of(b"other")).code(), Code::SnapshotRefused);
        fs::rename(layout::db(dir.path()), dir.path().join("away")).unwrap();
        assert_eq!(refused(verified.digest()).code(), Code::SnapshotRefused);
        fs::rename(dir.path().join("away"), layout::db(dir.path())).unwrap();
        extend(&dir.path().join("000001.sst"));
        assert_eq!(refused(verified.digest()).path().unwrap(), dir.path().join("000001.sst"));
    }

    #[test]
    fn a_published_version_is_verified_again_and_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let verified = verified(dir.path(), 2000, 30_000);
        let again = || verify_snapshot(dir.path(), Some(verified.digest()), &mut |_| {});
        again().unwrap();
        let path = dir.path().join("000002.sst");
        for at in (0..fs::read(&path).unwrap().len()).step_by(211) {
            flip(&path, at, 3);
            let error = again().unwrap_err();
            assert_eq!((error.code(), error.path()), (Code::DataCorrupt, Some(&*path)));
            flip(&path, at, 3);
        }
        fs::write(dir.path().join("db/000123.log"), b"").unwrap();
        assert_eq!(again().unwrap_err().path().unwrap(), dir.path().join("db/000123.log"));
        fs::remove_file(dir.path().join("db/000123.log")).unwrap();
        let other = verify_snapshot(dir.path(), Some(&Digest::of(b"other")), &mut |_| {});
        assert_eq!(other.unwrap_err().code(), Code::DataCorrupt);
        // Without db/ the files alone are compared, and none is made.
        fs::remove_dir_all(layout::db(dir.path())).unwrap();
        again().unwrap();
        assert!(!layout::db(dir.path()).exists());
    }
}
