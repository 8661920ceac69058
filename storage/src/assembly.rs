//! `db/`, RocksDB's own files of a snapshot: made here out of the SSTs, and compared with
//! the manifest on every open.
//!
//! RocksDB keeps the list of its files in a MANIFEST of its own, and replays logs it
//! finds. Were that list shortened, or a log slipped in, lookups would be answered from
//! other data than the verified one, beginning with a false "not found". So `db/` is never
//! accepted from outside, holds nothing but what is named here, and must show the same
//! files as our manifest, each being the very file that was verified (invariants 1, 3
//! and 7). It can be deleted at any time: it is made again.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::digest::FileSums;
use crate::durable;
use crate::error::{Code, Error, Result};
use crate::layout;
use crate::manifest::{Manifest, SstFile};
use crate::regular;
use crate::rocks::{self, BlockCache, LiveFile, Reader};

/// Makes `db/` of the snapshot in `dir`, durably and whole or not at all. The SSTs are
/// linked, not copied: this costs milliseconds whatever their size. What an interrupted
/// attempt left is removed first.
pub(crate) fn assemble(dir: &Path, manifest: &Manifest) -> Result<()> {
    let (tmp, db) = (layout::db_tmp(dir), layout::db(dir));
    durable::remove_dir_all(&tmp)?;
    durable::remove_dir_all(&db)?;
    durable::create_dir_all(&tmp)?;
    let made = fill(dir, &tmp, manifest).and_then(|()| durable::rename(&tmp, &db));
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
    check_names(&db, manifest)?;
    let reader = Reader::open(&db, cache)?;
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

fn fill(dir: &Path, tmp: &Path, manifest: &Manifest) -> Result<()> {
    // RocksDB renames what it takes in, so it is given second names of the files.
    let mut links = Vec::with_capacity(manifest.files.len());
    for file in &manifest.files {
        let (from, link) = (dir.join(&file.name), tmp.join(format!("link-{}", file.name)));
        regular::metadata(&from)?;
        fs::hard_link(&from, &link).map_err(|e| Error::io("link the file", &from, e))?;
        links.push(link);
    }
    rocks::ingest(tmp, &links)?;
    for name in names(tmp)? {
        let path = tmp.join(&name);
        match Part::of(&name.to_string_lossy()) {
            Some(_) => durable::sync_file(&regular::open(&path)?, &path)?,
            None => fs::remove_file(&path).map_err(|e| Error::io("remove the file", &path, e))?,
        }
    }
    durable::sync_dir(tmp)
}

/// The kinds of files that may stand in `db/`.
#[derive(PartialEq)]
enum Part {
    Table,
    Manifest,
    Current,
    Identity,
}

impl Part {
    fn of(name: &str) -> Option<Self> {
        let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        match name {
            "CURRENT" => Some(Self::Current),
            "IDENTITY" => Some(Self::Identity),
            _ if name.strip_prefix("MANIFEST-").is_some_and(number) => Some(Self::Manifest),
            _ if name.strip_suffix(".sst").is_some_and(number) => Some(Self::Table),
            _ => None,
        }
    }
}

/// `db/` holds the right number of tables, one MANIFEST and a CURRENT that names it.
fn check_names(db: &Path, manifest: &Manifest) -> Result<()> {
    let is_dir = fs::symlink_metadata(db).is_ok_and(|m| m.is_dir());
    if !is_dir {
        return Err(unfit("expected a directory").at(db));
    }
    let (mut tables, mut lists, mut current) = (0, Vec::new(), None);
    for name in names(db)? {
        let path = db.join(&name);
        let text = name.to_string_lossy();
        regular::metadata(&path)?;
        match Part::of(&text) {
            Some(Part::Table) => tables += 1,
            Some(Part::Manifest) => lists.push(text.into_owned()),
            Some(Part::Current) => {
                current = Some(fs::read(&path).map_err(|e| Error::io("read the file", &path, e))?);
            }
            Some(Part::Identity) => {}
            None => return Err(unfit("this file does not belong here").at(path)),
        }
    }
    if tables != manifest.files.len() {
        let listed = manifest.files.len();
        return Err(unfit(&format!("it holds {tables} tables, the manifest lists {listed}")).at(db));
    }
    match (&lists[..], current) {
        ([list], Some(current)) if current == format!("{list}\n").into_bytes() => Ok(()),
        _ => Err(unfit("its CURRENT does not name its one MANIFEST").at(db)),
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
    let (served, listed) = (regular::metadata(&path)?, regular::metadata(&listed)?);
    if (served.dev(), served.ino()) == (listed.dev(), listed.ino()) {
        return Ok(());
    }
    // A copy, made by a backup that does not know links, may be served if its bytes are
    // the listed ones. Reading it is slow, but no version is lost to a restore.
    if FileSums::of(&path, false, &mut |_| {})? != file.sums() {
        return Err(unfit(&format!("its bytes are not those of {}", file.name)).at(path));
    }
    Ok(())
}

fn names(dir: &Path) -> Result<Vec<OsString>> {
    let list = |e| Error::io("list the directory", dir, e);
    fs::read_dir(dir)
        .map_err(list)?
        .map(|entry| entry.map(|entry| entry.file_name()).map_err(list))
        .collect()
}

/// The paths in `dir`, in no order.
pub(crate) fn paths(dir: &Path) -> Result<Vec<PathBuf>> {
    Ok(names(dir)?.into_iter().map(|name| dir.join(name)).collect())
}

fn unfit(why: &str) -> Error {
    Error::new(
        Code::VersionUnusable,
        format!(
            "the database of this version does not fit its manifest: {why}; move the db directory away to have it made again from the verified files"
        ),
    )
}
