//! A push of a snapshot: a directory that `tidetable build` or `tidetable pull` has made, or a copy
//! of one in a store.

use std::path::Path;

use tidetable_storage::{Code, MANIFEST, Manifest};

use super::parts::Part;
use crate::cli::build::{given_row_options, refuse_piece};
use crate::cli::exit::{Exit, Failure};
use crate::cli::rows::{Origin, RowOptions, Source};
use crate::ingest::IngestError;
use crate::remote::{Location, Object, RemoteError, Stores, Why};

/// The files of the snapshot that the sources of a push name, if they name one.
pub(super) fn files(sources: &[String], rows: &RowOptions) -> Result<Option<Vec<Part>>, Failure> {
    let mut found = None;
    for source in sources {
        let at = match Location::parse(source) {
            None => in_directory(Path::new(source))?,
            Some(Ok(location)) if location.is_in_store() && location.is_prefix() => {
                in_store(location)?
            }
            // Single files, and what is no address: whoever reads the rows says so.
            Some(_) => None,
        };
        found = at.or(found);
    }
    let Some(Snapshot { root, manifest }) = found else { return Ok(None) };
    if sources.len() > 1 {
        let text = format!("{} is a snapshot, which is pushed by itself", root.name());
        return Err(Failure::usage(text));
    }
    if let Some(flag) = given_row_options(rows).first() {
        let text = format!(
            "{flag} says how rows become records, and {} is a snapshot, which has records already",
            root.name()
        );
        return Err(Failure::usage(text).hint("leave it out"));
    }
    root.parts(&manifest).map(Some)
}

/// Where a snapshot is, and what is in it.
struct Snapshot<'a> {
    root: Root<'a>,
    manifest: Manifest,
}

enum Root<'a> {
    Directory(&'a Path),
    Store(Location, Stores),
}

/// The snapshot in a directory, be it damaged.
fn in_directory(dir: &Path) -> Result<Option<Snapshot<'_>>, Failure> {
    if !dir.is_dir() {
        return Ok(None);
    }
    refuse_piece(dir)?;
    let has = |is: &dyn Fn(&Path) -> bool| {
        let is = |entry: std::io::Result<std::fs::DirEntry>| entry.is_ok_and(|e| is(&e.path()));
        dir.read_dir().is_ok_and(|mut entries| entries.any(is))
    };
    if !dir.join(MANIFEST).is_file() {
        // No rows are in such files: whoever reads them as rows would ask for options of theirs.
        let is_file = |path: &Path| is_table(path) || path.ends_with("dictionary");
        return if has(&is_file) { Err(without_manifest(dir)) } else { Ok(None) };
    }
    let has_tables = || has(&is_table);
    let read = Manifest::read(dir).map(|(manifest, _)| manifest);
    Ok(believed(read, has_tables)?
        .map(|manifest| Snapshot { root: Root::Directory(dir), manifest }))
}

/// The snapshot beneath a prefix of a store. Costs a request if there is none.
fn in_store<'a>(prefix: Location) -> Result<Option<Snapshot<'a>>, Failure> {
    let mut stores = Stores::default();
    let manifest = match beneath(&prefix, MANIFEST).and_then(|at| stores.object(&at)) {
        Ok(manifest) => manifest,
        // Whoever lists the prefix says what is wrong with it.
        Err(error) if matches!(error.kind, Why::NotFound | Why::Denied | Why::Usage) => {
            return Ok(None);
        }
        Err(error) => return Err(IngestError::from(error).into()),
    };
    let bytes = manifest.read_whole(Manifest::MAX_BYTES).map_err(IngestError::from)?;
    let read = Manifest::parse(&bytes).map_err(|error| error.at(manifest.location().to_string()));
    let mut has_tables = || {
        let found = stores.list(&prefix);
        found.is_ok_and(|found| found.objects.iter().any(|(name, _)| is_table(Path::new(name))))
    };
    let manifest = believed(read, &mut has_tables)?;
    Ok(manifest.map(|manifest| Snapshot { root: Root::Store(prefix, stores), manifest }))
}

fn is_table(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "sst")
}

/// What a file named as a manifest is: that of a snapshot, be it damaged, or no manifest at all.
fn believed(
    read: tidetable_storage::Result<Manifest>,
    has_tables: impl FnOnce() -> bool,
) -> Result<Option<Manifest>, Failure> {
    match read {
        Ok(manifest) => Ok(Some(manifest)),
        // Rows may stand in a file of that name.
        Err(error) if error.code() != Code::UnknownFormat && !has_tables() => Ok(None),
        Err(error) => {
            let mut failure = Failure::from(error);
            failure.exit = Exit::Refused;
            Err(failure)
        }
    }
}

fn beneath(prefix: &Location, name: &str) -> Result<Location, RemoteError> {
    prefix.beneath(name).map_err(|why| RemoteError {
        kind: Why::Usage,
        place: format!("{prefix}{name}"),
        why,
    })
}

impl Root<'_> {
    fn name(&self) -> String {
        match self {
            Self::Directory(dir) => dir.display().to_string(),
            Self::Store(prefix, _) => prefix.to_string(),
        }
    }

    /// A part for each file, which are all there with their sizes.
    fn parts(self, manifest: &Manifest) -> Result<Vec<Part>, Failure> {
        let dictionary = manifest.dictionary.map(|file| ("dictionary", Some(file.bytes)));
        let tables = manifest.files.iter().map(|file| (file.name.as_str(), Some(file.bytes)));
        let files = [(MANIFEST, None)].into_iter().chain(dictionary).chain(tables);
        let files: Vec<(&str, Option<u64>)> = files.collect();
        let name = self.name();
        let found = match self {
            Self::Directory(dir) => files.iter().map(|(file, _)| in_files(dir, file)).collect(),
            Self::Store(prefix, mut stores) => in_objects(&prefix, &mut stores, &files)?,
        };
        let parts =
            files.iter().zip(found).map(|((file, listed), found): (_, Option<(u64, Source)>)| {
                let bytes = found.as_ref().map(|(bytes, _)| *bytes);
                match found {
                    Some((bytes, source)) if listed.is_none_or(|listed| listed == bytes) => {
                        Ok(Part::of_snapshot(file, source))
                    }
                    _ => Err(not_whole(&name, file, bytes, *listed)),
                }
            });
        parts.collect()
    }
}

fn in_files(dir: &Path, file: &str) -> Option<(u64, Source)> {
    let path = dir.join(file);
    let bytes = path.metadata().ok().filter(std::fs::Metadata::is_file)?.len();
    Some((bytes, Source { name: path.display().to_string(), origin: Origin::File(path) }))
}

/// The objects of `files`, `None` for one that is not there.
fn in_objects(
    prefix: &Location,
    stores: &mut Stores,
    files: &[(&str, Option<u64>)],
) -> Result<Vec<Option<(u64, Source)>>, Failure> {
    let places = files.iter().map(|(file, _)| beneath(prefix, file)).collect::<Result<Vec<_>, _>>();
    let list = prefix.to_string();
    let found =
        places.and_then(|places| stores.objects(&list, &places)).map_err(IngestError::from)?;
    let of = |object: Object| {
        let name = object.location().to_string();
        (object.bytes(), Source { name, origin: Origin::Object(object) })
    };
    let found = found.into_iter().map(|found| match found {
        Ok(object) => Ok(Some(of(object))),
        Err(error) if error.kind == Why::NotFound => Ok(None),
        Err(error) => Err(IngestError::from(error).into()),
    });
    found.collect()
}

fn not_whole(place: &str, file: &str, found: Option<u64>, listed: Option<u64>) -> Failure {
    let found = found.map_or_else(|| "is missing".to_owned(), |n| format!("has {n} bytes"));
    let listed = listed.map_or_else(String::new, |n| format!(", and should have {n}"));
    let text = format!("the snapshot in {place} is not whole: {file} {found}{listed}");
    let mut failure = Failure::new(Exit::Refused, text);
    failure.code = Some(Code::SnapshotRefused.as_str().to_owned());
    failure.hint("`tidetable verify DIR` reads all of one on this machine")
}

fn without_manifest(dir: &Path) -> Failure {
    let failure = not_whole(&dir.display().to_string(), MANIFEST, None, None);
    failure.hint("take all of its files, or make it anew: `tidetable build` or `tidetable pull`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidetable_storage::{BuildOptions, Builder, Share, make_empty_piece};

    fn snapshot(dir: &Path) {
        let mut builder = Builder::create(dir, BuildOptions::default(), &[b"1".to_vec()]).unwrap();
        builder.add(b"k", b"1").unwrap();
        let _ = builder.finish().unwrap().verify(&mut |_| {}).unwrap();
    }

    fn names(sources: &[&Path], rows: &RowOptions) -> Result<Option<Vec<String>>, Failure> {
        let sources: Vec<_> = sources.iter().map(|dir| dir.display().to_string()).collect();
        let parts = files(&sources, rows)?;
        Ok(parts.map(|parts| parts.into_iter().map(|part| part.name).collect()))
    }

    #[test]
    fn a_directory_is_a_snapshot_if_its_manifest_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let rows = RowOptions::default();
        std::fs::write(dir.path().join("a.ndjson"), "{}").unwrap();
        assert_eq!(names(&[dir.path()], &rows).unwrap(), None);
        std::fs::write(dir.path().join(MANIFEST), "{\"k\":1}").unwrap();
        assert_eq!(names(&[dir.path()], &rows).unwrap(), None, "rows in a file of that name");
        let its = dir.path().join("snapshot");
        snapshot(&its);
        let whole = names(&[&its], &rows).unwrap().unwrap();
        assert_eq!(whole, [MANIFEST, "dictionary", "000001.sst"], "and not db/");
        let refused = |sources: &[&Path], rows: &RowOptions| {
            let failure = names(sources, rows).unwrap_err();
            (failure.exit, failure.message.clone())
        };
        let with_key = RowOptions { key: vec!["id".to_owned()], ..RowOptions::default() };
        let (exit, text) = refused(&[&its], &with_key);
        assert!(exit == Exit::Usage && text.starts_with("--key"), "{text}");
        assert_eq!(refused(&[&its, &its], &rows).0, Exit::Usage);
        std::fs::write(its.join("000001.sst"), b"short").unwrap();
        let (exit, text) = refused(&[&its], &rows);
        assert!(exit == Exit::Refused && text.contains("000001.sst has 5 bytes"), "{text}");
        std::fs::write(its.join(MANIFEST), b"{}").unwrap();
        assert_eq!(refused(&[&its], &rows).0, Exit::Refused, "tables beside it: it is damaged");
        std::fs::remove_file(its.join(MANIFEST)).unwrap();
        for left in ["000001.sst", "dictionary"] {
            let (exit, text) = refused(&[&its], &rows);
            assert!(exit == Exit::Refused && text.contains("manifest.json is missing"), "{text}");
            std::fs::remove_file(its.join(left)).unwrap();
        }
        assert_eq!(names(&[&its], &rows).unwrap(), None, "nothing of a snapshot is left");
        let piece = dir.path().join("piece");
        make_empty_piece(&piece, &Share { number: 2, of: 3, cuts: None }, "{}").unwrap();
        let (exit, text) = refused(&[&piece], &rows);
        assert!(exit == Exit::Refused && text.contains("piece 2 of 3"), "{text}");
    }
}
