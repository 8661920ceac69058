//! Reading a snapshot back: every byte of it, from the disk, compared with what it should be.
//!
//! - Before a version may be ready, every byte of it has been read back and verified (invariant 3).
//!   The types say so: a build gives a [`BuiltSnapshot`], and only a [`VerifiedSnapshot`] can be
//!   published.
//! - What was built here gets its manifest when it has been read back, not before.
//! - Nothing but what the manifest lists is accepted: no other file, no link, and never RocksDB's
//!   own files, which are made here.
//! - [`UnpublishedSnapshot::take_in`] does the same to a snapshot that was built elsewhere. It
//!   believes nothing of it, not even its profile.
//! - [`verify_snapshot`] does the same to a version published long ago, and changes nothing.

mod content;

use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use crate::assembly::{self, EachRecord};
use crate::digest::{Digest, FileSums, Source};
use crate::direct;
use crate::error::{Code, Error, Result};
use crate::layout::{self, DICTIONARY};
use crate::manifest::Manifest;
use crate::memory::Share;
use crate::names::Key;
use crate::planted::{self, Bug};
use crate::profile::Sampler;
use crate::records::Records;
use crate::regular;
use crate::rocks::Reader;
use crate::step::step;
use crate::walk::Walk;

use content::{Expected, Visit, check_content};
pub(crate) use content::{Given, read_content};

/// The files of a snapshot, complete on the disk. Nobody has read them back yet, and there is no
/// manifest beside them.
#[must_use = "a snapshot is of no use before it is verified and published"]
#[derive(Debug)]
pub struct BuiltSnapshot {
    dir: PathBuf,
    /// As it will be written, but for the content digest.
    manifest: Manifest,
    given: Given,
}

impl BuiltSnapshot {
    pub(crate) fn new(dir: PathBuf, manifest: Manifest, given: Given) -> Self {
        let Given { key_bytes, value_bytes, sums: content_digest, .. } = given;
        // Something in place of the digest, which is known when all has been read back; a planted bug
        // alone writes it.
        let manifest = Manifest { key_bytes, value_bytes, content_digest, ..manifest };
        Self { dir, manifest, given }
    }

    /// What the manifest will say; of the content digest nothing yet.
    #[cfg(test)]
    pub(crate) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What [`BuiltSnapshot::verify`] counts up to.
    pub fn verify_bytes(&self) -> u64 {
        self.manifest.verify_bytes()
    }

    /// Reads all of it back from the disk, makes RocksDB's own files, and reads every
    /// record through them: what is served later is what was verified, and what was given to
    /// the builder. Then writes the manifest. `progress` is told the bytes read so far, up to
    /// [`BuiltSnapshot::verify_bytes`].
    ///
    /// # Errors
    /// [`Code::SnapshotRefused`] naming the file, if anything is not as it was built.
    pub fn verify(self, progress: &mut dyn FnMut(u64)) -> Result<VerifiedSnapshot> {
        let Self { dir, mut manifest, given } = self;
        let mut progress = Progress::new(&manifest, progress);
        let expected = Expected::Given(&given);
        let found = read_back(
            &dir,
            &manifest,
            InMemory::MayStay,
            &mut |_, _| Ok(()),
            expected,
            &mut progress,
        );
        manifest.content_digest = found.map_err(|e| e.damage_as(Code::SnapshotRefused))?;
        let digest = manifest.write(&dir)?;
        step("verify.described");
        Ok(VerifiedSnapshot { dir, manifest, digest })
    }
}

/// A snapshot that was built elsewhere and that nobody has read back here yet.
#[must_use = "a snapshot is of no use before it is verified and published"]
#[derive(Debug)]
pub struct UnpublishedSnapshot {
    dir: PathBuf,
    manifest: Manifest,
    digest: Digest,
}

impl UnpublishedSnapshot {
    /// The snapshot that lies in `dir`.
    ///
    /// # Errors
    /// [`Code::SnapshotRefused`] if it has no manifest, or one that contradicts itself;
    /// [`Code::UnknownFormat`] if a later release wrote it.
    pub fn find(dir: &Path) -> Result<Self> {
        let (manifest, digest) =
            Manifest::read(dir).map_err(|e| e.damage_as(Code::SnapshotRefused))?;
        Ok(Self { dir: dir.to_owned(), manifest, digest })
    }

    /// What the snapshot says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The digest of the manifest file, which names the snapshot.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Does with it what [`BuiltSnapshot::verify`] does, and compares it with its manifest. Every record
    /// goes to `visit`, key and value, which may refuse it. Its profile is not believed: it is worked
    /// out anew, and if the manifest has another one, the manifest is written anew with it. A large
    /// snapshot drives nothing out of memory that is looked up meanwhile.
    ///
    /// # Errors
    /// [`Code::SnapshotRefused`] naming the file, if anything is not as the manifest says, and the
    /// first error of `visit`.
    pub fn take_in(
        self,
        visit: Visit<'_>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<VerifiedSnapshot> {
        let Self { dir, mut manifest, mut digest } = self;
        let is_large = manifest.bytes() >= LARGE;
        let memory = if is_large { InMemory::Goes } else { InMemory::MayStay };
        let mut sampler = Sampler::new();
        let mut sample = |key: &[u8], value: &[u8]| {
            visit(key, value)?;
            sampler.offer(key, value);
            Ok(())
        };
        let mut progress = Progress::new(&manifest, progress);
        let found =
            read_back(&dir, &manifest, memory, &mut sample, Expected::Listed, &mut progress);
        found.map_err(|e| e.damage_as(Code::SnapshotRefused))?;
        let profile = Some(sampler.profile());
        if manifest.profile != profile {
            manifest.profile = profile;
            digest = manifest.write(&dir)?;
        }
        Ok(VerifiedSnapshot { dir, manifest, digest })
    }
}

/// Reads a snapshot back and makes RocksDB's own files; gives its content digest.
fn read_back(
    dir: &Path,
    manifest: &Manifest,
    memory: InMemory,
    visit: Visit<'_>,
    expected: Expected<'_>,
    progress: &mut Progress<'_>,
) -> Result<Digest> {
    if planted::has(Bug::SwapBeforeVerify) {
        assembly::assemble(dir, manifest, &mut |_, _| Ok(()))?;
        return Ok(manifest.content_digest);
    }
    let found = match expected {
        Expected::Listed => {
            check_nothing_else(dir, manifest, &[&layout::manifest(dir)])?;
            // RocksDB sees nothing of what comes from elsewhere before that.
            check_bytes(dir, manifest, memory, &mut |bytes| progress.add(bytes))?;
            check_assembled(dir, manifest, memory, visit, expected, progress)?
        }
        Expected::Given(_) => {
            check_nothing_else(dir, manifest, &[])?;
            thread::scope(|scope| {
                let (tell, bytes) = channel();
                // As the disk has it, whatever of it is in memory, where the records are read.
                let reading = scope.spawn(move || {
                    check_bytes(dir, manifest, InMemory::Goes, &mut |bytes| {
                        let _ = tell.send(bytes);
                    })
                });
                progress.beside = Some(bytes);
                let found = check_assembled(dir, manifest, memory, visit, expected, progress);
                progress.wait_for_what_is_beside();
                let read = reading.join().unwrap_or_else(|panic| resume_unwind(panic));
                // The file that is damaged says more than what came of it.
                read.and(found)
            })?
        }
    };
    step("verify.assembled");
    assembly::open(dir, manifest, None)?;
    check_ends(dir, manifest, &Records::open(dir, manifest)?)?;
    progress.complete();
    Ok(found)
}

/// Makes RocksDB's own files, and compares what is read through them with what is expected; gives its
/// content digest.
fn check_assembled(
    dir: &Path,
    manifest: &Manifest,
    memory: InMemory,
    visit: Visit<'_>,
    expected: Expected<'_>,
    progress: &mut Progress<'_>,
) -> Result<Digest> {
    check_content(dir, manifest, visit, expected, |record| {
        assembly::assemble_in(memory, dir, manifest, &mut |key, stored| {
            progress.add((key.len() + stored.len()) as u64);
            record(key, stored)
        })
    })
}

/// What becomes of the pages of files that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InMemory {
    /// The kernel keeps them as long as it likes: they are few, or nobody is served beside.
    MayStay,
    /// They are let go of.
    Goes,
}

/// A snapshot of so many bytes would drive out of memory what is looked up, and not be read from
/// there itself: no more than that is read in before it serves.
const LARGE: u64 = 1 << 30;

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
/// manifest, and that with `digest` if one is expected. Every record is read as well, through
/// `db/` where it is there, and their number and content digest compared. Changes nothing, so it
/// may run beside a server. `progress` is told the bytes read so far, up to
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
        check_nothing_else(dir, &manifest, &[&layout::manifest(dir), &db, &db_tmp])?;
        check_bytes(dir, &manifest, InMemory::MayStay, &mut |bytes| progress.add(bytes))?;
        if db.exists() {
            let reader = assembly::open(dir, &manifest, None)?;
            check_records(dir, &manifest, &reader, &mut progress)?;
        } else {
            check_files(dir, &manifest, &mut progress)?;
        }
        Ok(manifest)
    };
    check().map_err(|e: Error| e.damage_as(Code::DataCorrupt))
}

/// The manifest in `dir`, which must be the one with `digest`. Nothing in another one is looked
/// at: a flipped bit is not to be taken for the format of a later release.
pub(crate) fn read_expected(dir: &Path, digest: &Digest) -> Result<Manifest> {
    let path = layout::manifest(dir);
    let bytes = Manifest::bytes_in(dir)?;
    let found = Digest::of(&bytes);
    if found == *digest {
        return Manifest::parse(&bytes).map_err(|e| e.at(&path));
    }
    Err(Error::new(
        Code::VersionUnusable,
        format!(
            "the manifest is not the one that was published: its digest is {found}, expected {digest}; restore it from a backup or push the data again"
        ),
    )
    .at(path))
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

/// Looks up the first and the last key of every file, as a reader would.
pub(crate) fn check_ends(dir: &Path, manifest: &Manifest, records: &Records) -> Result<()> {
    let mut value = Vec::new();
    for file in &manifest.files {
        for key in [&file.first_key, &file.last_key] {
            if !records.get(Key::new(key)?, &mut value)? {
                return Err(damaged("a key it holds is not found").at(dir.join(&file.name)));
            }
        }
    }
    Ok(())
}

/// The directory holds the listed files, what is in `also`, and no more.
pub(crate) fn check_nothing_else(dir: &Path, manifest: &Manifest, also: &[&Path]) -> Result<()> {
    for path in assembly::paths(dir)? {
        let name = path.file_name().unwrap_or_default();
        let listed =
            manifest.files.binary_search_by(|f| f.name.as_str().cmp(&name.to_string_lossy()));
        let dictionary = manifest.dictionary.is_some() && name == DICTIONARY;
        if !dictionary && listed.is_err() && !also.contains(&&*path) {
            let text = "the manifest of this version does not list this file: move it away";
            return Err(Error::new(Code::VersionUnusable, text).at(path));
        }
    }
    check_sizes(dir, manifest)
}

/// Every file has, byte for byte, the checksums that the manifest lists.
pub(crate) fn check_bytes(
    dir: &Path,
    manifest: &Manifest,
    memory: InMemory,
    progress: &mut dyn FnMut(u64),
) -> Result<()> {
    let is_ample = Share::now().is_ample_for(manifest.bytes());
    let source = if is_ample { Source::DiskToServe } else { Source::Disk };
    for (name, listed) in manifest.listed() {
        let path = dir.join(name);
        let found = match memory {
            InMemory::MayStay => FileSums::of(&path, source, progress)?,
            InMemory::Goes => direct::all_sums(&path, progress)?,
        };
        if found != listed {
            return Err(damaged(&format!(
                "its crc32 is {:08x} and its BLAKE3 {}, expected {:08x} and {}",
                found.crc32, found.blake3, listed.crc32, listed.blake3
            ))
            .at(path));
        }
    }
    step("verify.read_back");
    Ok(())
}

/// RocksDB finds exactly the records that were put in, and each is found by its key.
fn check_records(
    dir: &Path,
    manifest: &Manifest,
    reader: &Reader,
    progress: &mut Progress<'_>,
) -> Result<()> {
    let records = Records::open(dir, manifest)?;
    let mut scan = reader.read_through();
    let mut value = Vec::new();
    check_listed(dir, manifest, progress, |record| {
        while let Some((key, stored)) = scan.next()? {
            if !records.get(Key::new(key)?, &mut value)? {
                return Err(damaged("a key of the version is not found in it").at(layout::db(dir)));
            }
            record(key, stored)?;
        }
        Ok(())
    })
}

/// The files hold exactly the records that were put in. There is no database to find them with, and
/// none is made.
fn check_files(dir: &Path, manifest: &Manifest, progress: &mut Progress<'_>) -> Result<()> {
    check_listed(dir, manifest, progress, |record| {
        for file in &manifest.files {
            let path = dir.join(&file.name);
            let mut walk = Walk::open(&path)?;
            for number in 1..=file.records {
                let (key, stored) = walk.read()?;
                let is_first = number > 1 || key == file.first_key;
                let is_last = number < file.records || key == file.last_key;
                if !is_first || !is_last {
                    let why = "its first or its last key is another, or it has more records";
                    return Err(damaged(why).at(&path));
                }
                record(key, stored)?;
            }
        }
        Ok(())
    })
}

/// What `read` gives is what the manifest lists; each record is progress.
fn check_listed(
    dir: &Path,
    manifest: &Manifest,
    progress: &mut Progress<'_>,
    read: impl FnOnce(EachRecord<'_>) -> Result<()>,
) -> Result<()> {
    check_content(dir, manifest, &mut |_, _| Ok(()), Expected::Listed, |record| {
        read(&mut |key, stored| {
            progress.add((key.len() + stored.len()) as u64);
            record(key, stored)
        })
    })?;
    progress.complete();
    Ok(())
}

pub(crate) fn damaged(why: &str) -> Error {
    Error::new(
        Code::VersionUnusable,
        format!("a file is not as the manifest of its version says: {why}; push the data again"),
    )
}

/// Bytes read so far, told as they grow and never beyond what was announced.
pub(crate) struct Progress<'a> {
    tell: &'a mut dyn FnMut(u64),
    so_far: u64,
    told: u64,
    all: u64,
    /// What another thread reads.
    beside: Option<Receiver<u64>>,
}

/// Bytes between one word about the progress and the next.
const TELL_EVERY: u64 = 256 * 1024;

impl<'a> Progress<'a> {
    pub(crate) fn new(manifest: &Manifest, tell: &'a mut dyn FnMut(u64)) -> Self {
        Self { tell, so_far: 0, told: 0, all: manifest.verify_bytes(), beside: None }
    }

    pub(crate) fn add(&mut self, bytes: u64) {
        self.so_far = self.all.min(self.so_far + bytes);
        if self.so_far - self.told >= TELL_EVERY {
            self.tell();
        }
    }

    pub(crate) fn complete(&mut self) {
        self.so_far = self.all;
        self.tell();
    }

    fn tell(&mut self) {
        let beside = self.beside.iter().flat_map(Receiver::try_iter).sum::<u64>();
        self.so_far = self.all.min(self.so_far + beside);
        self.told = self.so_far;
        (self.tell)(self.so_far);
    }

    /// Goes on telling until the other thread has read all.
    fn wait_for_what_is_beside(&mut self) {
        let beside = self.beside.take();
        beside.iter().flatten().for_each(|bytes| self.add(bytes));
    }
}

#[cfg(test)]
mod tests;
