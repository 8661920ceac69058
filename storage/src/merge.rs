//! Pieces become one snapshot, with the content that one build of all their rows would have.
//!
//! Nothing is believed of a piece because it says so. A merge checks that all pieces are there,
//! each once; that they were made alike; that no two have a key in common; and that every byte is
//! what it was. If one dictionary compressed all their values, their files are linked under new
//! names (or copied, where the file system has no links between the two places). If not, all
//! records are written anew.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::assembly;
use crate::builder::{BuildOptions, Builder};
use crate::durable;
use crate::error::{Code, Error, Kind, Result, quoted_bytes};
use crate::layout::{self, DICTIONARY};
use crate::manifest::Manifest;
use crate::piece::{PIECE, Piece};
use crate::points::KeyHash;
use crate::profile::Sampler;
use crate::records::{Records, read_dictionary};
use crate::regular;
use crate::values::{Damaged, Decoder};
use crate::verify::{
    InMemory, Progress, UnpublishedSnapshot, VerifiedSnapshot, check_bytes, check_ends, damaged,
    read_content,
};

/// What came of a merge.
#[derive(Debug)]
pub struct Merged {
    /// The snapshot, of which every byte was read back.
    pub snapshot: VerifiedSnapshot,
    /// Files that were linked or copied as they are; if none were, all records were written anew.
    pub files_kept: usize,
    /// Files that had to be copied, of those.
    pub files_copied: usize,
}

/// Pieces that were found to be all of one snapshot.
#[derive(Debug)]
pub struct Pieces {
    /// In the order of their keys, those without a record left out.
    list: Vec<(PathBuf, Manifest)>,
    is_linkable: bool,
}

impl Pieces {
    /// Finds the pieces in these directories, which are all of one snapshot. Reads none of their data.
    ///
    /// # Errors
    /// [`Code::SnapshotRefused`] naming which is missing, there twice, made otherwise or overlaps with
    /// which; [`Code::NoRows`] if none has a record.
    pub fn find(dirs: &[PathBuf]) -> Result<Self> {
        let pieces = read_all(dirs)?.into_values();
        let mut list: Vec<(PathBuf, Manifest)> =
            pieces.filter_map(|(dir, piece)| Some((dir.clone(), piece.snapshot?))).collect();
        // Without cuts, pieces are numbered as their sources were.
        list.sort_by(|a, b| ends(&a.1).0.cmp(ends(&b.1).0));
        check_disjoint(&list)?;
        if list.is_empty() {
            return Err(Error::new(
                Code::NoRows,
                "no piece has a record: there is nothing to merge",
            ));
        }
        let is_linkable = list.iter().all(|(_, manifest)| {
            (manifest.compression, manifest.dictionary)
                == (list[0].1.compression, list[0].1.dictionary)
        });
        Ok(Self { list, is_linkable })
    }

    /// Bytes that [`Pieces::merge`] counts up to.
    pub fn bytes(&self) -> u64 {
        self.list.iter().map(|(_, manifest)| manifest.verify_bytes()).sum()
    }

    /// Merges them in `out`, which is not there yet. `progress` is told the bytes read so far.
    ///
    /// # Errors
    /// [`Code::SnapshotRefused`] naming the file, if one is not what its piece says.
    pub fn merge(&self, out: &Path, progress: &mut dyn FnMut(u64)) -> Result<Merged> {
        let made =
            if self.is_linkable { self.link(out, progress) } else { self.rewrite(out, progress) };
        made.map_err(|e| self.of_piece(e, out).damage_as(Code::SnapshotRefused))
    }

    /// Damage that was found in a file of what is made is damage of the piece that the file came from.
    fn of_piece(&self, error: Error, out: &Path) -> Error {
        let is_damage = error.kind() == Kind::Corrupt || error.code() == Code::SnapshotRefused;
        let path = error.path().filter(|_| is_damage);
        let origin = path.and_then(|path| self.origin(path, out));
        match origin {
            Some(origin) => {
                let text = "a file of this piece is damaged or missing: build that piece again";
                Error::new(Code::SnapshotRefused, text).at(origin)
            }
            None => error,
        }
    }

    /// Where in a piece that lies which a merge reads at `path`.
    fn origin(&self, path: &Path, out: &Path) -> Option<PathBuf> {
        let is_of = |dir: &Path| path == dir || path.parent() == Some(dir);
        if self.list.iter().any(|(dir, _)| is_of(dir)) {
            return Some(path.to_owned());
        }
        let name = path.file_name()?.to_str()?;
        if !self.is_linkable {
            let mut pieces = self.list.iter().enumerate();
            let (_, (dir, _)) =
                pieces.find(|(number, _)| path.parent() == Some(aside(out, *number).as_path()))?;
            return Some(dir.join(name));
        }
        if path.parent() != Some(out) {
            return None;
        }
        if name == DICTIONARY {
            return Some(self.list[0].0.join(DICTIONARY));
        }
        let all = self.list.iter().flat_map(|(dir, manifest)| {
            manifest.files.iter().map(move |file| dir.join(&file.name))
        });
        (1..).zip(all).find(|(number, _)| layout::sst_name(*number) == name).map(|(_, from)| from)
    }

    fn link(&self, out: &Path, progress: &mut dyn FnMut(u64)) -> Result<Merged> {
        durable::create_dir_all(out)?;
        let (mut files, mut files_copied) = (Vec::new(), 0);
        for (dir, manifest) in &self.list {
            for file in &manifest.files {
                let name = layout::sst_name(files.len() + 1);
                files_copied +=
                    usize::from(!link_or_copy(&dir.join(&file.name), &out.join(&name))?);
                files.push(crate::SstFile { name, ..file.clone() });
            }
        }
        let (first, of) = &self.list[0];
        if of.dictionary.is_some() {
            link_or_copy(&first.join(DICTIONARY), &out.join(DICTIONARY))?;
        }
        durable::sync_dir(out)?;
        let files_kept = files.len();
        let sum = |of: fn(&Manifest) -> u64| -> u64 { self.list.iter().map(|(_, m)| of(m)).sum() };
        let manifest = Manifest {
            key_bytes: sum(|manifest| manifest.key_bytes),
            value_bytes: sum(|manifest| manifest.value_bytes),
            dictionary: of.dictionary,
            ..Manifest::new(of.compression, files)
        };
        let snapshot = describe(out, manifest, progress)?;
        Ok(Merged { snapshot, files_kept, files_copied })
    }

    /// All records once more, compressed with the dictionary of the first piece.
    fn rewrite(&self, out: &Path, progress: &mut dyn FnMut(u64)) -> Result<Merged> {
        let (first, of) = &self.list[0];
        let dictionary = read_dictionary(first, of)?;
        let options = BuildOptions { compression: of.compression, ..BuildOptions::default() };
        let mut builder = Builder::create_like(out, options, dictionary.as_bytes())?;
        let mut before = 0;
        for (number, (dir, manifest)) in self.list.iter().enumerate() {
            let aside = aside(out, number);
            let mut told = |bytes| progress(before + bytes);
            each_record(dir, manifest, &aside, &mut told, &mut |key, value| {
                builder.add(key, value)
            })?;
            before += manifest.verify_bytes();
        }
        let snapshot = builder.finish()?.verify(&mut |_| {})?;
        Ok(Merged { snapshot, files_kept: 0, files_copied: 0 })
    }
}

/// Reads all of what lies in `dir` back, writes down what it found, and the manifest with it.
fn describe(
    dir: &Path,
    mut manifest: Manifest,
    progress: &mut dyn FnMut(u64),
) -> Result<VerifiedSnapshot> {
    let mut progress = Progress::new(&manifest, progress);
    check_bytes(dir, &manifest, InMemory::MayStay, &mut |bytes| progress.add(bytes))?;
    let mut sampler = Sampler::new();
    let mut sample = |key: &[u8], value: &[u8]| {
        sampler.offer(key, value);
        Ok(())
    };
    let found = read_content(dir, &manifest, &mut sample, |record| {
        assembly::assemble(dir, &manifest, &mut |key, stored| {
            progress.add((key.len() + stored.len()) as u64);
            record(key, stored)
        })
    })?;
    let (keys, values) = (manifest.key_bytes, manifest.value_bytes);
    if (found.records, found.key_bytes, found.value_bytes) != (manifest.records, keys, values) {
        let listed = manifest.records;
        let text = format!(
            "the pieces say that they have {listed} records of {keys} and {values} bytes, and have {found}"
        );
        return Err(damaged(&text).at(dir));
    }
    assembly::open(dir, &manifest, None)?;
    check_ends(dir, &manifest, &Records::open(dir, &manifest)?)?;
    manifest.content_digest = found.digest;
    manifest.profile = Some(sampler.profile());
    manifest.write(dir)?;
    progress.complete();
    // Its bytes were compared above with what their builders had said of them.
    let unpublished = UnpublishedSnapshot::find(dir)?;
    VerifiedSnapshot::vouched(dir, unpublished.digest())
}

/// Where the piece at that place of the list is laid out to be read.
fn aside(out: &Path, number: usize) -> PathBuf {
    out.with_file_name(format!("piece-{}", number + 1))
}

/// Takes one record.
type Each<'a> = dyn FnMut(&[u8], &[u8]) -> Result<()> + 'a;

/// Gives `each` all records of a piece, which are laid out in `aside` for it and removed again.
fn each_record(
    dir: &Path,
    manifest: &Manifest,
    aside: &Path,
    progress: &mut dyn FnMut(u64),
    each: &mut Each<'_>,
) -> Result<()> {
    durable::create_dir_all(aside)?;
    for file in &manifest.files {
        link_or_copy(&dir.join(&file.name), &aside.join(&file.name))?;
    }
    if manifest.dictionary.is_some() {
        link_or_copy(&dir.join(DICTIONARY), &aside.join(DICTIONARY))?;
    }
    let mut progress = Progress::new(manifest, progress);
    check_bytes(aside, manifest, InMemory::MayStay, &mut |bytes| progress.add(bytes))?;
    let decoder = Decoder::new(manifest.compression, &read_dictionary(aside, manifest)?);
    let mut value = Vec::new();
    assembly::assemble(aside, manifest, &mut |key, stored| {
        progress.add((key.len() + stored.len()) as u64);
        value.clear();
        let decoded = decoder.decode(KeyHash::of(key), stored, &mut value);
        decoded.map_err(|Damaged| damaged("a record does not fit its checksum").at(dir))?;
        each(key, &value)
    })?;
    durable::remove_dir_all(aside)
}

/// Whether it could be linked.
fn link_or_copy(from: &Path, to: &Path) -> Result<bool> {
    regular::metadata(from)?;
    if std::fs::hard_link(from, to).is_ok() {
        return Ok(true);
    }
    std::fs::copy(from, to).map_err(|e| Error::io("copy the file", from, e))?;
    durable::sync_file(&regular::open(to)?, to)?;
    Ok(false)
}

/// The pieces in these directories by their numbers: all that there are, each once, and made alike.
fn read_all(dirs: &[PathBuf]) -> Result<BTreeMap<u32, (&PathBuf, Piece)>> {
    let mut found = BTreeMap::new();
    for dir in dirs {
        let piece = Piece::read(dir)?;
        let number = piece.share.number;
        if let Some((before, _)) = found.insert(number, (dir, piece)) {
            let text =
                format!("{} and {} are both piece {number}", before.display(), dir.display());
            return Err(refused(&text));
        }
    }
    let Some((first, of)) = found.values().next() else {
        return Err(Error::new(Code::InvalidSetting, "no piece was named: name all of them"));
    };
    for (dir, piece) in found.values() {
        check_alike((first.as_path(), of), (dir.as_path(), piece))?;
    }
    let missing: Vec<String> =
        (1..=of.share.of).filter(|n| !found.contains_key(n)).map(|n| n.to_string()).collect();
    if !missing.is_empty() {
        let text = format!(
            "of {} pieces {} are missing: {}",
            of.share.of,
            missing.len(),
            missing[..missing.len().min(20)].join(", ")
        );
        return Err(refused(&text));
    }
    Ok(found)
}

/// No two of them, which are in the order of their keys, have a key in common.
fn check_disjoint(list: &[(PathBuf, Manifest)]) -> Result<()> {
    for pair in list.windows(2) {
        let [(a, before), (b, after)] = pair else { continue };
        if ends(before).1 >= ends(after).0 {
            let text = format!(
                "{} and {} overlap: the former reaches to the key {}, the latter begins with {}. \
                 Pieces are cut by key, so that each key is in one of them: --split-at",
                a.display(),
                b.display(),
                quoted_bytes(ends(before).1),
                quoted_bytes(ends(after).0)
            );
            return Err(refused(&text));
        }
    }
    Ok(())
}

fn check_alike((first, of): (&Path, &Piece), (dir, piece): (&Path, &Piece)) -> Result<()> {
    let differ =
        |what: &str| Err(refused(&format!("{} and {} {what}", first.display(), dir.display())));
    if piece.share.of != of.share.of {
        return differ(&format!("are of {} and {} pieces", of.share.of, piece.share.of));
    }
    if piece.share.cuts != of.share.cuts {
        return differ("were cut at different keys");
    }
    if piece.options != of.options {
        return differ(&format!("were built otherwise: {} and {}", of.options, piece.options));
    }
    Ok(())
}

fn ends(manifest: &Manifest) -> (&[u8], &[u8]) {
    // It lists one file at least, as was checked when it was read.
    let last = manifest.files.len() - 1;
    (&manifest.files[0].first_key, &manifest.files[last].last_key)
}

fn refused(why: &str) -> Error {
    let text = format!("these are not the pieces of one snapshot ({PIECE}): {why}");
    Error::new(Code::SnapshotRefused, text)
}

#[cfg(test)]
mod tests;
