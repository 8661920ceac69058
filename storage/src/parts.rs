//! The received parts of a push, in staging.
//!
//! A part is two files: its bytes under a name of their own, and `<part>.part`, a small
//! document that names them. Writing that document is the moment in which a part arrives:
//! before it nothing is there, after it the part is there whole, with its digest, whatever
//! is killed in between (invariant 6). A repeated part puts a new document in the place of
//! the old one, so that a task tried twice never mixes its two tries.

mod arrival;
mod reader;

use std::collections::HashSet;
use std::fs::{self, File};
use std::hash::Hasher as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use twox_hash::XxHash3_64;

use crate::digest::hex;
use crate::durable;
use crate::error::{Code, Error, Result};
use crate::event::{Millis, SealedPart};
use crate::step::step;
use crate::versions::entries;

pub use arrival::{Arrival, Arrived};
pub use reader::{ExpectedPart, PartReader};

const SUFFIX: &str = ".part";
/// What the names of files with bytes begin with.
const DATA: &str = "data-";

/// A part that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Name, size and digest.
    pub sealed: SealedPart,
    /// The file with its bytes, as they were sent.
    pub path: PathBuf,
    /// Their XXH3, for [`PartReader`].
    pub xxh3: u64,
}

/// The document of a part.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    file: String,
    bytes: u64,
    /// In hex; empty if nobody asked for it.
    sha256: String,
    xxh3: u64,
}

/// Bytes of one part on their way to the disk. Dropped before [`PartWriter::close`], it
/// leaves nothing.
#[derive(Debug)]
pub struct PartWriter {
    dir: PathBuf,
    name: String,
    file_name: String,
    file: File,
    bytes: u64,
    kept: bool,
}

/// The checksums of a part: taken beside the writing, since that takes as long again.
pub struct PartSums {
    sha256: Option<Sha256>,
    xxh3: XxHash3_64,
}

impl Default for PartSums {
    /// Those of an empty part.
    fn default() -> Self {
        Self { sha256: Some(Sha256::new()), xxh3: XxHash3_64::new() }
    }
}

impl PartSums {
    /// Those of an empty part, without SHA-256: that takes twenty times as long as all else, and is
    /// for clients only.
    pub fn without_sha256() -> Self {
        Self { sha256: None, ..Self::default() }
    }

    /// The next bytes of the part.
    pub fn update(&mut self, bytes: &[u8]) {
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(bytes);
        }
        self.xxh3.write(bytes);
    }
}

/// Bytes of one part that were written; the part has not arrived yet.
#[must_use = "a part arrives by Store::receive_part"]
#[derive(Debug)]
pub struct WrittenPart {
    writer: PartWriter,
    sha256: String,
    xxh3: u64,
}

impl PartWriter {
    /// Begins a part in `dir`. The caller has checked that `name` is safe as a file name.
    pub(crate) fn create(dir: &Path, name: &str) -> Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let file_name = format!("{DATA}{count}");
            let path = dir.join(&file_name);
            match File::create_new(&path) {
                Ok(file) => {
                    step("part.created");
                    return Ok(Self {
                        dir: dir.to_owned(),
                        name: name.to_owned(),
                        file_name,
                        file,
                        bytes: 0,
                        kept: false,
                    });
                }
                // From before a restart: counting started anew.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(Error::io("create the file of a part", &path, e)),
            }
        }
    }

    /// Adds bytes ([`Code::DiskFull`], [`Code::IoFailed`]).
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let path = self.dir.join(&self.file_name);
        self.file.write_all(bytes).map_err(|e| Error::io("write a part", path, e))?;
        self.bytes += bytes.len() as u64;
        step("part.written");
        Ok(())
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The file they are written to. It may be read meanwhile.
    pub fn path(&self) -> PathBuf {
        self.dir.join(&self.file_name)
    }

    /// Makes what was written so far durable. Costs one fsync.
    pub fn sync(&self) -> Result<()> {
        durable::sync_file(&self.file, &self.dir.join(&self.file_name))?;
        step("part.synced");
        Ok(())
    }

    /// Completes the part; `sums` has seen all of its bytes. What was not synced may not be
    /// there after the power failed, which [`PartReader`] finds: that is for a part of which
    /// nothing is acknowledged before its version is.
    pub fn close(self, sums: PartSums) -> WrittenPart {
        let sha256 = sums.sha256.map(|sha256| hex::text(&sha256.finalize())).unwrap_or_default();
        WrittenPart { writer: self, sha256, xxh3: sums.xxh3.finish() }
    }
}

impl Drop for PartWriter {
    fn drop(&mut self) {
        if !self.kept {
            // What stays is removed with the push.
            let _ = fs::remove_file(self.dir.join(&self.file_name));
        }
    }
}

impl WrittenPart {
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.writer.name
    }

    /// SHA-256 of the bytes, in hex; empty if it was not taken.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The part arrives, in the place of an earlier one of its name.
    pub(crate) fn arrive(mut self) -> Result<Part> {
        let dir = self.writer.dir.clone();
        let place = document_of(&dir, &self.writer.name);
        let before = read(&place).ok();
        let document = Document {
            file: self.writer.file_name.clone(),
            bytes: self.writer.bytes,
            sha256: self.sha256.clone(),
            xxh3: self.xxh3,
        };
        let json = serde_json::to_vec(&document).expect("a document is plain data");
        if let Err(error) = durable::write_new(&place, &json) {
            // It may have been renamed and not synced: then it names these bytes, and after
            // power loss perhaps the earlier ones. Both stay.
            let there = read(&place);
            self.writer.kept = there.is_ok_and(|there| there.file == self.writer.file_name);
            return Err(error);
        }
        self.writer.kept = true;
        step("part.arrived");
        if let Some(before) = before {
            let _ = fs::remove_file(dir.join(before.file));
        }
        let sealed = SealedPart {
            name: self.writer.name.clone(),
            bytes: document.bytes,
            sha256: document.sha256,
        };
        Ok(Part { sealed, path: dir.join(document.file), xxh3: document.xxh3 })
    }
}

/// Where the document of a part is, once that has arrived.
fn document_of(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}{SUFFIX}"))
}

/// Whether a part of that name has arrived.
pub(crate) fn has_arrived(dir: &Path, name: &str) -> bool {
    document_of(dir, name).exists()
}

/// How many parts have arrived.
pub(crate) fn count(dir: &Path) -> Result<usize> {
    Ok(entries(dir)?.iter().filter(|(name, _)| name.ends_with(SUFFIX)).count())
}

/// The names of the parts that have arrived, in their natural order: `2` before `10`.
pub(crate) fn names(dir: &Path) -> Result<Vec<String>> {
    let files = entries(dir)?.into_iter();
    let name = |(file_name, _): (String, _)| file_name.strip_suffix(SUFFIX).map(str::to_owned);
    let mut names: Vec<String> = files.filter_map(name).collect();
    names.sort_by_cached_key(|name| natural(name));
    Ok(names)
}

/// The parts that have arrived, in the natural order of their names.
pub(crate) fn list(dir: &Path) -> Result<Vec<Part>> {
    names(dir)?.iter().map(|name| part_of(dir, name)).collect()
}

/// The part of that name; `None` if it has not arrived, or is there no more.
pub(crate) fn find(dir: &Path, name: &str) -> Result<Option<Part>> {
    match part_of(dir, name) {
        Err(error) if error.os_error() == Some(Errno::NOENT.raw_os_error()) => Ok(None),
        found => found.map(Some),
    }
}

fn part_of(dir: &Path, name: &str) -> Result<Part> {
    let document = read(&document_of(dir, name))?;
    let sealed =
        SealedPart { name: name.to_owned(), bytes: document.bytes, sha256: document.sha256 };
    Ok(Part { sealed, path: dir.join(document.file), xxh3: document.xxh3 })
}

/// What is among the parts and belongs to none: what was arriving when the process ended.
pub(crate) fn unowned(dir: &Path) -> Result<Vec<PathBuf>> {
    let owned: HashSet<_> = list(dir)?.into_iter().map(|part| part.path).collect();
    // A part may have a name that begins like that, and its document has one, too.
    let of_a_part = |name: &str| is_data(name) || name.ends_with(durable::UNFINISHED);
    let files = entries(dir)?.into_iter();
    let unowned = files.filter(|(name, path)| of_a_part(name) && !owned.contains(path));
    Ok(unowned.map(|(_, path)| path).collect())
}

fn read(path: &Path) -> Result<Document> {
    let json = fs::read(path).map_err(|e| Error::io("read the document of a part", path, e))?;
    let damaged = || Error::new(Code::DataCorrupt, "the document of a part is damaged").at(path);
    let document: Document = serde_json::from_slice(&json).map_err(|e| damaged().because(e))?;
    if is_data(&document.file) { Ok(document) } else { Err(damaged()) }
}

/// Whether a file of that name has the bytes of a part.
fn is_data(name: &str) -> bool {
    let number = name.strip_prefix(DATA);
    number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// When a file there was last begun, written or put in its place, in milliseconds since 1970.
pub(crate) fn last_change(dir: &Path) -> Result<Millis> {
    let failed = |e| Error::io("read when a part was written", dir, e);
    let changed = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified());
    let mut last = changed(dir).map_err(failed)?;
    for (_, path) in entries(dir)? {
        match changed(&path) {
            Ok(changed) => last = last.max(changed),
            // Another one has taken its place.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(failed(e)),
        }
    }
    let since = last.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX))
}

/// A name as text and numbers in turn: `part-10` after `part-9`.
fn natural(name: &str) -> Vec<(String, u128)> {
    let mut pieces = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (text, after) = rest.split_at(digits);
        let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        let (number, after) = after.split_at(end);
        // A number of more than 38 digits orders as the largest; its text decides then.
        let tie = if number.len() > 38 { number } else { "" };
        pieces.push((format!("{text}{tie}"), number.parse().unwrap_or(u128::MAX)));
        rest = after;
    }
    pieces
}

#[cfg(test)]
mod tests;
