//! `db/`, RocksDB's own files of a snapshot and the index of its keys: made here out of the SSTs,
//! and compared with the manifest on every open.
//!
//! RocksDB keeps the list of its files in a MANIFEST of its own, and replays logs that it finds. If
//! that list were shortened, or a log put there, lookups would be answered from other data than was
//! verified, beginning with a false "not found". And RocksDB 11.8 reads on for ever in a MANIFEST
//! that was cut within a record's head. So `db/` is never accepted from outside, and is sealed when
//! it is made: a file of ours lists all others. At each open, before RocksDB sees any of it,
//! nothing but those files may be there, with the bytes that were sealed. After it the tables that
//! RocksDB serves are compared with our manifest: each must be the very file that was verified
//! (invariants 1, 3 and 7).
//!
//! `db/` can be moved away at any time: it is made again.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, FileSums, Source};
use crate::direct::{self, Pace};
use crate::durable;
use crate::error::{Code, Error, Result};
use crate::layout;
use crate::manifest::{Manifest, SstFile};
use crate::points::{KeyHash, Place, Points};
use crate::regular;
use crate::rocks::{self, BlockCache, LiveFile, Reader};
use crate::step::step;
use crate::verify::{InMemory, damaged};
use crate::walk::Walk;

/// What the second names of files begin with that RocksDB is given.
const LINK: &str = "link-";
/// Records that are entered into the index at a time.
const AT_ONCE: usize = 32;

/// What is given every record: (key, stored value).
pub(crate) type EachRecord<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<()>;

/// Makes `db/` of the snapshot in `dir`, durably and whole or not at all. The SSTs are
/// linked, not copied; they are read through once, for the index. `each` is given every
/// record in key order, with its value as it is stored. What an interrupted attempt left is
/// removed first.
pub(crate) fn assemble(dir: &Path, manifest: &Manifest, each: EachRecord<'_>) -> Result<()> {
    assemble_in(InMemory::MayStay, dir, manifest, each)
}

/// The same; `memory` says what becomes of the pages of files that were read.
pub(crate) fn assemble_in(
    memory: InMemory,
    dir: &Path,
    manifest: &Manifest,
    each: EachRecord<'_>,
) -> Result<()> {
    let (tmp, db) = (layout::db_tmp(dir), layout::db(dir));
    durable::remove_dir_all(&tmp)?;
    durable::remove_dir_all(&db)?;
    durable::create_dir_all(&tmp)?;
    let made = fill(dir, &tmp, manifest, memory, each).and_then(|()| durable::rename(&tmp, &db));
    if made.is_err() {
        // The error above says more than one about the clean-up could.
        let _ = durable::remove_dir_all(&tmp);
    }
    made
}

/// Opens `db/` of the snapshot in `dir`, having made sure that it holds what the manifest
/// says and nothing else.
///
/// # Errors
/// [`Code::VersionUnusable`] naming the file that does not fit.
pub(crate) fn open(dir: &Path, manifest: &Manifest, cache: Option<&BlockCache>) -> Result<Reader> {
    let db = layout::db(dir);
    let is_dir = fs::symlink_metadata(&db).is_ok_and(|m| m.is_dir());
    if !is_dir {
        return Err(unfit("expected a directory").at(db));
    }
    let seal = Seal::read(&db)?;
    seal.check(&db)?;
    let reader = Reader::open(&db, &seal.tables, cache);
    let reader = reader.map_err(|error| of_table(dir, manifest, &db, error))?;
    let live = reader.live_files()?;
    if live.len() != manifest.files.len() {
        let (found, listed) = (live.len(), manifest.files.len());
        return Err(unfit(&format!("it serves {found} files, the manifest lists {listed}")).at(&db));
    }
    for (live, file) in live.iter().zip(&manifest.files) {
        check_file(dir, live, file)?;
    }
    Ok(reader)
}

/// Every file in `db/` is, byte for byte and as the disk has it, what was sealed; `Break` if
/// `pace` ended the reading. The tables that are links of listed files were read as those.
///
/// # Errors
/// [`Code::VersionUnusable`] naming the file that does not fit.
pub(crate) fn scrub(
    dir: &Path,
    manifest: &Manifest,
    pace: &mut Pace<'_>,
) -> Result<ControlFlow<()>> {
    let db = layout::db(dir);
    let seal = Seal::read(&db)?;
    seal.check_names(&db)?;
    let (found, listed) = (seal.tables.len(), manifest.files.len());
    if found != listed {
        return Err(unfit(&format!("it has {found} tables, the manifest lists {listed}")).at(db));
    }
    let mut unread = HashSet::new();
    for file in &manifest.files {
        unread.insert(identity(&dir.join(&file.name))?);
    }
    for table in &seal.tables {
        let path = db.join(table);
        if unread.remove(&identity(&path)?) {
            continue;
        }
        let Some(sums) = direct::sums(&path, pace)? else { return Ok(ControlFlow::Break(())) };
        if !manifest.files.iter().any(|file| file.sums() == sums) {
            return Err(unfit("its bytes are not those of any file of the version").at(path));
        }
    }
    for file in &seal.files {
        let path = db.join(&file.name);
        let Some(sums) = direct::sums(&path, pace)? else { return Ok(ControlFlow::Break(())) };
        if sums.blake3 != file.blake3 {
            return Err(unfit("this file is not as it was made").at(path));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// What tells whether two names are of one file.
fn identity(path: &Path) -> Result<(u64, u64)> {
    regular::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

fn fill(
    dir: &Path,
    tmp: &Path,
    manifest: &Manifest,
    memory: InMemory,
    each: EachRecord<'_>,
) -> Result<()> {
    // RocksDB renames what it takes in, so it is given second names of the files.
    let mut links = Vec::with_capacity(manifest.files.len());
    for file in &manifest.files {
        let (from, link) = (dir.join(&file.name), tmp.join(format!("{LINK}{}", file.name)));
        regular::metadata(&from)?;
        fs::hard_link(&from, &link).map_err(|e| Error::io("link the file", &from, e))?;
        links.push(link);
    }
    step("assembly.linked");
    rocks::ingest(tmp, &links).map_err(|error| of_file(dir, error))?;
    step("assembly.ingested");
    remove_what_no_reader_needs(tmp)?;
    let names: Vec<_> =
        paths(tmp)?.iter().map(|path| name(path)).filter(|name| is_table(name)).collect();
    let of_listed = |error: Error| of_table(dir, manifest, tmp, error);
    let reader = Reader::open(tmp, &names, None).map_err(of_listed)?;
    let points = index(dir, manifest, &reader, memory, each).map_err(of_listed)?;
    points.write(&layout::points(tmp))?;
    step("assembly.indexed");
    Seal::of(tmp)?.write(tmp)?;
    step("assembly.sealed");
    Ok(())
}

/// The same error, at the file of the snapshot whose second name it is about.
fn of_file(dir: &Path, error: Error) -> Error {
    let name = error.path().and_then(Path::file_name).and_then(OsStr::to_str);
    match name.and_then(|name| name.strip_prefix(LINK)).map(|name| dir.join(name)) {
        Some(path) => error.at(path),
        None => error,
    }
}

/// The same error, at the file of the snapshot that a table in `db` is, if it is about one: names there
/// are RocksDB's own, and another file of the snapshot may have that name.
pub(crate) fn of_table(dir: &Path, manifest: &Manifest, db: &Path, error: Error) -> Error {
    let table = error.path().filter(|path| path.parent() == Some(db) && is_table(&name(path)));
    let Some(table) = table.and_then(|path| identity(path).ok()) else { return error };
    let mut files = manifest.files.iter().map(|file| dir.join(&file.name));
    match files.find(|file| identity(file).is_ok_and(|found| found == table)) {
        Some(file) => error.at(file),
        None => error,
    }
}

/// Finds out where in the SSTs each record stands that RocksDB finds in them.
fn index(
    dir: &Path,
    manifest: &Manifest,
    reader: &Reader,
    memory: InMemory,
    each: EachRecord<'_>,
) -> Result<Points> {
    let mut points = Points::with_room_for(manifest.records)?;
    let mut found = Vec::with_capacity(AT_ONCE);
    let mut scan = reader.read_through();
    for (number, file) in manifest.files.iter().enumerate() {
        let mut walk = Walk::open(&dir.join(&file.name))?;
        for _ in 0..file.records {
            let Some((key, stored)) = scan.next()? else {
                return Err(damaged("its files have fewer records").at(layout::manifest(dir)));
            };
            let place = Place { file: number, offset: walk.find(key, stored)? };
            found.push((KeyHash::of(key), place));
            if found.len() == AT_ONCE {
                insert_all(&mut points, &mut found)?;
            }
            each(key, stored)?;
        }
        insert_all(&mut points, &mut found)?;
        drop(walk);
        if memory == InMemory::Goes {
            // Only now: what is mapped stays.
            durable::drop_cache(&regular::open(&dir.join(&file.name))?);
        }
    }
    match scan.next()? {
        None => Ok(points),
        Some(_) => Err(damaged("its files have more records").at(layout::manifest(dir))),
    }
}

fn insert_all(points: &mut Points, found: &mut Vec<(KeyHash, Place)>) -> Result<()> {
    points.fetch(found.iter().map(|(hash, _)| *hash));
    found.drain(..).try_for_each(|(hash, place)| points.insert(hash, place))
}

/// What stands in `db/`, besides the seal itself.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seal {
    /// RocksDB's names for the SSTs of the snapshot, sorted.
    tables: Vec<String>,
    /// Its other files.
    files: Vec<SealedFile>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SealedFile {
    name: String,
    blake3: Digest,
}

impl Seal {
    const NAME: &str = "sealed.json";
    /// More than 100,000 names take.
    const MAX_BYTES: u64 = 16 * 1024 * 1024;

    /// Makes what is in `db` durable, and lists it.
    fn of(db: &Path) -> Result<Self> {
        let mut seal = Self { tables: Vec::new(), files: Vec::new() };
        for path in paths(db)? {
            let name = name(&path);
            durable::sync_file(&regular::open(&path)?, &path)?;
            if is_table(&name) {
                seal.tables.push(name);
            } else {
                let blake3 = FileSums::of(&path, Source::Memory, &mut |_| {})?.blake3;
                seal.files.push(SealedFile { name, blake3 });
            }
        }
        seal.tables.sort();
        Ok(seal)
    }

    fn write(&self, db: &Path) -> Result<()> {
        let bytes = serde_json::to_vec_pretty(self);
        let bytes =
            bytes.map_err(|e| Error::new(Code::IoFailed, "cannot list files").because(e))?;
        // Syncs the directory as well, and with it all other names.
        durable::write_new(&db.join(Self::NAME), &bytes)
    }

    fn read(db: &Path) -> Result<Self> {
        let path = db.join(Self::NAME);
        let mut bytes = Vec::new();
        let read = regular::open(&path)?.take(Self::MAX_BYTES).read_to_end(&mut bytes);
        read.map_err(|e| Error::io("read the file", &path, e))?;
        let seal: Self = serde_json::from_slice(&bytes)
            .map_err(|e| unfit("its list of files cannot be parsed").at(&path).because(e))?;
        if !seal.tables.is_sorted() {
            return Err(unfit("its list of files is not in order").at(path));
        }
        Ok(seal)
    }

    /// The sealed files are there, unchanged, and no others.
    fn check(&self, db: &Path) -> Result<()> {
        self.check_names(db)?;
        for file in &self.files {
            let path = db.join(&file.name);
            if FileSums::of(&path, Source::Memory, &mut |_| {})?.blake3 != file.blake3 {
                return Err(unfit("this file is not as it was made").at(path));
            }
        }
        Ok(())
    }

    /// No file is there that is not sealed, and no table is missing.
    fn check_names(&self, db: &Path) -> Result<()> {
        if !self.files.iter().any(|file| file.name == layout::POINTS) {
            return Err(unfit("it has no index of keys").at(db));
        }
        for path in paths(db)? {
            let name = name(&path);
            if name != Self::NAME
                && self.tables.binary_search(&name).is_err()
                && !self.files.iter().any(|file| file.name == name)
            {
                return Err(unfit("this file does not belong here").at(path));
            }
        }
        self.tables.iter().try_for_each(|table| regular::metadata(&db.join(table)).map(drop))
    }
}

/// The table that RocksDB serves is the one that the manifest lists at this place.
fn check_file(dir: &Path, live: &LiveFile, file: &SstFile) -> Result<()> {
    let (path, listed) = (layout::db(dir).join(&live.name), dir.join(&file.name));
    let fits = live.bytes == file.bytes
        && live.records == file.records
        && live.first_key == file.first_key
        && live.last_key == file.last_key
        // All in one level below the first: each key is looked for in one file.
        && live.level > 0;
    if !fits {
        return Err(unfit(&format!("it is not what the manifest says of {}", file.name)).at(path));
    }
    if identity(&path)? == identity(&listed)? {
        return Ok(());
    }
    // A copy, made by a backup that does not know links, may be served if its bytes are
    // the listed ones. Reading it is slow, but no version is lost to a restore.
    if FileSums::of(&path, Source::Memory, &mut |_| {})? != file.sums() {
        return Err(unfit(&format!("its bytes are not those of {}", file.name)).at(path));
    }
    Ok(())
}

/// Removes RocksDB's logs and options.
fn remove_what_no_reader_needs(db: &Path) -> Result<()> {
    for path in paths(db)? {
        let name = name(&path);
        if !is_table(&name) && name != "CURRENT" && !number(name.strip_prefix("MANIFEST-")) {
            fs::remove_file(&path).map_err(|e| Error::io("remove the file", &path, e))?;
        }
    }
    Ok(())
}

/// The paths in `dir`, in no order.
pub(crate) fn paths(dir: &Path) -> Result<Vec<PathBuf>> {
    let list = |e| Error::io("list the directory", dir, e);
    let entries = fs::read_dir(dir).map_err(list)?;
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(list)).collect()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn is_table(name: &str) -> bool {
    number(name.strip_suffix(".sst"))
}

fn number(text: Option<&str>) -> bool {
    text.is_some_and(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
}

fn unfit(why: &str) -> Error {
    Error::new(
        Code::VersionUnusable,
        format!(
            "the database of this version does not fit its manifest: {why}; move the db directory away to have it made again from the verified files"
        ),
    )
}
