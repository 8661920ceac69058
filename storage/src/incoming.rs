//! A snapshot that was built elsewhere arrives as files: they are laid out under the names that
//! its manifest lists, to be read back.
//!
//! Whoever sent them is not believed. Only names of a snapshot's files are ever made, by linking
//! what was received: its bytes are on the disk already, and are not copied. Whether those bytes are
//! what the manifest says, [`UnpublishedSnapshot::take_in`] finds out.

use std::collections::BTreeMap;
use std::path::Path;

use crate::durable;
use crate::error::{Code, Error, Result};
use crate::layout::{DICTIONARY, MANIFEST, is_snapshot_file};
use crate::manifest::Manifest;
use crate::verify::UnpublishedSnapshot;

/// How many names an error tells.
const TOLD: usize = 5;

/// Lays received files out in `out`, which is not there yet: each is its name in the snapshot and
/// where it was received.
///
/// # Errors
/// [`Code::SnapshotRefused`] naming what is missing or too many, and what is wrong with the
/// manifest; [`Code::UnknownFormat`] if a later release wrote it.
pub fn lay_out<'a>(
    out: &Path,
    files: impl IntoIterator<Item = (&'a str, &'a Path)>,
) -> Result<UnpublishedSnapshot> {
    let mut received = BTreeMap::new();
    for (name, path) in files {
        if !is_snapshot_file(name) {
            let text = format!(
                "a snapshot has no file {name:?}, but {MANIFEST}, {DICTIONARY}, 000001.sst, 000002.sst…"
            );
            return Err(Error::new(Code::SnapshotRefused, text));
        }
        if received.insert(name, path).is_some() {
            return Err(Error::new(Code::SnapshotRefused, format!("{name} was sent twice")));
        }
    }
    if !received.contains_key(MANIFEST) {
        let text = format!("{MANIFEST} did not arrive: a snapshot is pushed with all its files");
        return Err(Error::new(Code::SnapshotRefused, text));
    }
    durable::create_dir_all(out)?;
    for (name, path) in &received {
        let place = out.join(name);
        std::fs::hard_link(path, &place)
            .map_err(|e| Error::io("link what was received", &place, e))?;
    }
    durable::sync_dir(out)?;
    let unpublished = UnpublishedSnapshot::find(out)?;
    compare(unpublished.manifest(), &received)?;
    Ok(unpublished)
}

/// All that the manifest lists has arrived, and nothing else.
fn compare(manifest: &Manifest, received: &BTreeMap<&str, &Path>) -> Result<()> {
    let dictionary = manifest.dictionary.map(|_| DICTIONARY);
    let files = manifest.files.iter().map(|file| file.name.as_str());
    let listed: Vec<&str> = [MANIFEST].into_iter().chain(dictionary).chain(files).collect();
    let missing = listed.iter().copied().filter(|name| !received.contains_key(name));
    let missing: Vec<&str> = missing.collect();
    if !missing.is_empty() {
        return Err(refused("lists", "did not arrive", &missing));
    }
    let mut extra: Vec<&str> = received.keys().copied().collect();
    extra.retain(|name| !listed.contains(name));
    if extra.is_empty() { Ok(()) } else { Err(refused("does not list", "arrived", &extra)) }
}

fn refused(lists: &str, came: &str, names: &[&str]) -> Error {
    let more = match names.len().saturating_sub(TOLD) {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    let names = names[..names.len().min(TOLD)].join(", ");
    let text =
        format!("{MANIFEST} {lists} {names}{more}, which {came}: push all files of one snapshot");
    Error::new(Code::SnapshotRefused, text)
}

#[cfg(test)]
mod tests;
