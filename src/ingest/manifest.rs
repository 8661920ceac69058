//! The manifest of a Redshift `UNLOAD`: the list of the files that it wrote, with their lengths.
//!
//! What it lists is what is read, nothing else and nothing less: a file that is not there, or that
//! has another length, is an error before a byte is sent. It is written by others, so it may name
//! objects in stores alone, never files of this machine or addresses that this machine can reach.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde::Deserialize;
use tidetable_storage::{Code, Error, quoted};

use super::error::{IngestError, Result};
use super::source::Input;
use crate::remote::{Location, Object, RemoteError, Stores, Why};

/// Longer ones list more than a push has.
const MAX_BYTES: u64 = 64 << 20;
const MAX_ENTRIES: usize = 100_000;

/// As Redshift writes it, also with `MANIFEST VERBOSE`, whose other fields do not matter here.
#[derive(Debug, Deserialize)]
struct Manifest {
    entries: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    url: String,
    /// Whether it is an error that it is not there.
    mandatory: Option<bool>,
    meta: Option<Meta>,
}

#[derive(Debug, Deserialize)]
struct Meta {
    content_length: Option<u64>,
}

/// What the manifest in this file lists.
pub(super) fn of_file(path: &Path, stores: &mut Stores) -> Result<Vec<Input>> {
    let failed = |error| Error::io("read the manifest", path, error);
    let file = File::open(path).map_err(failed)?;
    let mut json = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut json).map_err(failed)?;
    let name = path.to_string_lossy();
    if json.len() as u64 > MAX_BYTES {
        return Err(unusable(&name, &format!("it has more than {MAX_BYTES} bytes")));
    }
    Ok(listed(&name, &json, stores, &|_| true)?.into_iter().map(Input::object).collect())
}

/// What the manifest in this object lists, which is read where it `may` be.
pub(super) fn of_object(
    object: &Object,
    stores: &mut Stores,
    may: &dyn Fn(&Location) -> bool,
) -> Result<Vec<Object>> {
    let json = object.read_whole(MAX_BYTES)?;
    listed(&object.location().to_string(), &json, stores, may)
}

fn listed(
    name: &str,
    json: &[u8],
    stores: &mut Stores,
    may: &dyn Fn(&Location) -> bool,
) -> Result<Vec<Object>> {
    let (entries, locations) = parse(name, json, may)?;
    let found = stores.objects(name, &locations)?;
    let mut objects = Vec::with_capacity(found.len());
    for (entry, found) in entries.iter().zip(found) {
        match found {
            Ok(object) => {
                check_length(name, entry, object.bytes())?;
                objects.push(object);
            }
            Err(RemoteError { kind: Why::NotFound, .. }) if entry.mandatory == Some(false) => {}
            Err(RemoteError { kind: Why::NotFound, place, why }) => {
                return Err(unusable(name, &format!("it lists {place}, but {why}")));
            }
            Err(error) => return Err(error.into()),
        }
    }
    if objects.is_empty() {
        let text = format!("the manifest {} lists no file that is there", quoted(name));
        return Err(IngestError::new(Code::NoRows, text));
    }
    Ok(objects)
}

fn parse(
    name: &str,
    json: &[u8],
    may: &dyn Fn(&Location) -> bool,
) -> Result<(Vec<Entry>, Vec<Location>)> {
    let Manifest { entries } = serde_json::from_slice(json).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let what = format!(
            "it is no manifest of a Redshift UNLOAD, at line {line} column {column}: expected \
             {{\"entries\":[{{\"url\":\"s3://…\",\"meta\":{{\"content_length\":1}}}}]}}"
        );
        unusable(name, &what)
    })?;
    if entries.len() > MAX_ENTRIES {
        let what = format!("it lists {} files; the most is {MAX_ENTRIES}", entries.len());
        return Err(unusable(name, &what));
    }
    let mut locations = Vec::with_capacity(entries.len());
    let mut seen = HashSet::with_capacity(entries.len());
    for entry in &entries {
        let location = match Location::parse(&entry.url) {
            Some(Ok(location)) if location.is_in_store() && !location.is_prefix() => location,
            _ => {
                let what = format!("it lists {}: expected s3://bucket/name", quoted(&entry.url));
                return Err(unusable(name, &what));
            }
        };
        if !may(&location) {
            let what = format!("it lists {}, which is not beneath the source", quoted(&entry.url));
            return Err(unusable(name, &what));
        }
        if !seen.insert(location.whole()) {
            return Err(unusable(name, &format!("it lists {} twice", quoted(&entry.url))));
        }
        locations.push(location);
    }
    Ok((entries, locations))
}

fn check_length(name: &str, entry: &Entry, bytes: u64) -> Result<()> {
    match entry.meta.as_ref().and_then(|meta| meta.content_length) {
        Some(length) if length != bytes => {
            let what = format!(
                "it says that {} has {length} bytes, but it has {bytes}",
                quoted(&entry.url)
            );
            Err(unusable(name, &what))
        }
        _ => Ok(()),
    }
}

fn unusable(name: &str, what: &str) -> IngestError {
    IngestError::new(Code::SourceIncomplete, format!("the manifest {}: {what}", quoted(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(json: &str) -> IngestError {
        parse("recs_manifest", json.as_bytes(), &|place| place.file_name() != "elsewhere")
            .unwrap_err()
    }

    #[test]
    fn a_manifest_lists_objects_in_stores_and_nothing_else() {
        let json = r#"{"entries":[{"url":"s3://lake/recs/0000_part_00","meta":{"content_length":7,"record_count":2}},
            {"url":"s3://lake/recs/0001_part_00","mandatory":false}],"schema":{"elements":[]},"meta":{"content_length":7}}"#;
        let (entries, locations) = parse("m", json.as_bytes(), &|_| true).unwrap();
        assert_eq!(locations[1].to_string(), "s3://lake/recs/0001_part_00");
        assert!(
            check_length("m", &entries[0], 7).is_ok() && check_length("m", &entries[1], 9).is_ok()
        );
        let error = check_length("m", &entries[0], 8).unwrap_err();
        assert_eq!(error.code, Code::SourceIncomplete);
        assert!(error.detail.contains("has 7 bytes, but it has 8"), "{error}");
        for url in [
            "/etc/passwd",
            "file:///etc/passwd",
            "http://169.254.169.254/latest",
            "s3://lake/recs/",
            "../x",
            "s3://lake/elsewhere",
            "s3://lake/a/../b",
            "",
        ] {
            let error = refused(&format!("{{\"entries\":[{{\"url\":{url:?}}}]}}"));
            assert_eq!(error.code, Code::SourceIncomplete);
            assert!(error.detail.contains("recs_manifest"), "{error}");
        }
        let twice = r#"{"entries":[{"url":"s3://lake/a"},{"url":"s3a://lake/a"}]}"#;
        assert!(
            refused(twice).detail.contains("lists \"s3a://lake/a\" twice"),
            "{}",
            refused(twice)
        );
        for json in ["", "[]", "{}", "{\"entries\":[{}]}", "{\"entries\":[{\"url\":1}]}"] {
            assert!(refused(json).detail.contains("no manifest"), "{json}");
        }
    }
}
