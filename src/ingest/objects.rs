//! Sources in stores: an object, all beneath a prefix, or those that match a pattern.

use std::collections::HashSet;
use std::path::Path;

use tidetable_storage::{Code, quoted};

use super::error::{IngestError, Result};
use super::source::{Input, SourceOptions, is_aside, natural};
use super::{directory, manifest};
use crate::remote::{Location, Object, RemoteError, Stores, Why};

const WILD: [char; 3] = ['*', '?', '['];

/// What `location` stands for. A prefix ends in `/`, and is read as a directory is. What a manifest
/// lists is read where it `may` be.
pub(crate) fn expand(
    location: &Location,
    stores: &mut Stores,
    how: &SourceOptions,
    may: &dyn Fn(&Location) -> bool,
) -> Result<Vec<Input>> {
    if location.is_prefix() {
        return beneath(location, stores, how);
    }
    let is_pattern = location.is_in_store() && location.path().contains(WILD);
    let object = match stores.object(location) {
        // An object whose name looks like a pattern is meant as that.
        Err(error) if is_pattern && error.kind == Why::NotFound => {
            return matching(location, stores, how, may);
        }
        Err(error) if error.is_of_name() && location.is_in_store() => {
            let why = format!("{} (a / at its end would mean all beneath it)", error.why);
            return Err(RemoteError { why, ..error }.into());
        }
        object => object?,
    };
    Ok(one(object, stores, how, may)?.into_iter().map(Input::object).collect())
}

/// An object by its name: what it lists, or itself.
fn one(
    object: Object,
    stores: &mut Stores,
    how: &SourceOptions,
    may: &dyn Fn(&Location) -> bool,
) -> Result<Vec<Object>> {
    if how.is_manifest(object.location().file_name()) {
        return manifest::of_object(&object, stores, may);
    }
    Ok(vec![object])
}

fn beneath(location: &Location, stores: &mut Stores, how: &SourceOptions) -> Result<Vec<Input>> {
    how.refuse_directory(&location.to_string())?;
    let found = stores.list(location)?;
    if found.objects.is_empty() && !found.is_marked {
        return Err(nothing(location, "nothing lies beneath it"));
    }
    let objects = directory::chosen(&location.to_string(), found.objects, found.is_marked, how)?;
    Ok(objects.into_iter().map(Input::object).collect())
}

/// The objects whose names match a pattern, in the order of these.
fn matching(
    location: &Location,
    stores: &mut Stores,
    how: &SourceOptions,
    may: &dyn Fn(&Location) -> bool,
) -> Result<Vec<Input>> {
    let path = location.path();
    let wild = path.find(WILD).unwrap_or(path.len());
    let known = path[..wild].rfind('/').map_or(0, |at| at + 1);
    let pattern = glob::Pattern::new(path).map_err(|error| {
        IngestError::setting(format!("{} is not a pattern: {error}", quoted(&location.to_string())))
    })?;
    // As in the file system: a `*` stands for no `/`.
    let options = glob::MatchOptions { require_literal_separator: true, ..Default::default() };
    let prefix = location.with_path(&path[..known]);
    let matches = |name: &str| {
        let key = format!("{}{name}", &path[..known]);
        pattern.matches_with(&key, options) && !is_aside(path, Path::new(&key))
    };
    let mut found = stores.list_those(&prefix, &matches)?.objects;
    if found.is_empty() {
        return Err(nothing(location, "nothing matches it"));
    }
    found.sort_by_cached_key(|(name, _)| natural(name));
    let (mut inputs, mut seen) = (Vec::new(), HashSet::new());
    for (_, object) in found {
        for object in one(object, stores, how, may)? {
            if !seen.insert(object.location().whole()) {
                let text = format!(
                    "{location} matches {} itself and a manifest that lists it: name one of them",
                    object.location()
                );
                return Err(IngestError::setting(text));
            }
            inputs.push(Input::object(object));
        }
    }
    Ok(inputs)
}

fn nothing(location: &Location, why: &str) -> IngestError {
    let text = format!("{location}: {why} (names that begin with . or _ do not count)");
    IngestError::new(Code::SourceNotFound, text)
}

impl From<RemoteError> for IngestError {
    fn from(error: RemoteError) -> Self {
        let code = match error.kind {
            Why::NotFound => Code::SourceNotFound,
            Why::Usage => Code::InvalidSetting,
            Why::Changed | Why::Denied | Why::Failed => Code::SourceFailed,
        };
        Self::new(code, error.to_string())
    }
}
