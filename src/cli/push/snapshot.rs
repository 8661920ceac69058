//! A push of a snapshot: a directory that `tidetable build` or `tidetable pull` has made.

use std::path::Path;

use tidetable_storage::{Code, MANIFEST, Manifest};

use super::parts::Part;
use crate::cli::build::{given_row_options, refuse_piece};
use crate::cli::exit::{Exit, Failure};
use crate::cli::rows::{Origin, RowOptions, Source};

/// The files of the snapshot that the sources of a push name, if they name one.
pub(super) fn files(sources: &[String], rows: &RowOptions) -> Result<Option<Vec<Part>>, Failure> {
    let mut found = None;
    for source in sources {
        let dir = Path::new(source);
        if !dir.is_dir() {
            continue;
        }
        refuse_piece(dir)?;
        if let Some(manifest) = manifest_in(dir)? {
            found = Some((dir, manifest));
        }
    }
    let Some((dir, manifest)) = found else { return Ok(None) };
    if sources.len() > 1 {
        let text = format!("{} is a snapshot, which is pushed by itself", dir.display());
        return Err(Failure::usage(text));
    }
    if let Some(flag) = given_row_options(rows).first() {
        let text = format!(
            "{flag} says how rows become records, and {} is a snapshot, which has records already",
            dir.display()
        );
        return Err(Failure::usage(text).hint("leave it out"));
    }
    parts(dir, &manifest).map(Some)
}

/// The manifest of the directory, if it is that of a snapshot, be it damaged.
fn manifest_in(dir: &Path) -> Result<Option<Manifest>, Failure> {
    if !dir.join(MANIFEST).is_file() {
        return Ok(None);
    }
    let is_table = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.is_ok_and(|entry| entry.path().extension().is_some_and(|end| end == "sst"))
    };
    let has_tables = || dir.read_dir().is_ok_and(|mut entries| entries.any(is_table));
    match Manifest::read(dir) {
        Ok((manifest, _)) => Ok(Some(manifest)),
        // Rows may stand in a file of that name.
        Err(error) if error.code() != Code::UnknownFormat && !has_tables() => Ok(None),
        Err(error) => {
            let mut failure = Failure::from(error);
            failure.exit = Exit::Refused;
            Err(failure)
        }
    }
}

/// A part for each file, which are all there with their sizes.
fn parts(dir: &Path, manifest: &Manifest) -> Result<Vec<Part>, Failure> {
    let dictionary = manifest.dictionary.map(|file| ("dictionary", Some(file.bytes)));
    let tables = manifest.files.iter().map(|file| (file.name.as_str(), Some(file.bytes)));
    let files = [(MANIFEST, None)].into_iter().chain(dictionary).chain(tables);
    let part = |(name, listed): (&str, Option<u64>)| {
        let path = dir.join(name);
        let found = path.metadata().ok().filter(std::fs::Metadata::is_file).map(|m| m.len());
        if found.is_none() || listed.is_some_and(|listed| found != Some(listed)) {
            let found = found.map_or_else(|| "is missing".to_owned(), |n| format!("has {n} bytes"));
            let listed = listed.map_or_else(String::new, |n| format!(", and should have {n}"));
            let mut failure = Failure::new(
                Exit::Refused,
                format!("the snapshot in {} is not whole: {name} {found}{listed}", dir.display()),
            );
            failure.code = Some(Code::SnapshotRefused.as_str().to_owned());
            return Err(failure.hint("`tidetable verify DIR` reads all of it"));
        }
        let source = Source { name: path.display().to_string(), origin: Origin::File(path) };
        Ok(Part::announced(name, source))
    };
    files.map(part).collect()
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
        let piece = dir.path().join("piece");
        make_empty_piece(&piece, &Share { number: 2, of: 3, cuts: None }, "{}").unwrap();
        let (exit, text) = refused(&[&piece], &rows);
        assert!(exit == Exit::Refused && text.contains("piece 2 of 3"), "{text}");
    }
}
