//! Requests are parsed here, once: past this line a name is a name and a key is a key.
//!
//! Everything is strict. A parameter or field that a route does not have is refused by
//! name, because a misspelt `expect_curent` that is silently ignored moves a pointer that
//! its sender meant to guard.

mod body;
mod json;
mod names;
mod query;

pub(crate) use body::{broken_body, content_length, refuse_piece};
pub(crate) use json::{
    BatchJson, Json, objects, optional_version, or_default, parse_json, version,
};
pub(crate) use names::{
    Dataset, DatasetVersion, DatasetVersionFile, DatasetVersionPart, PartName, dataset_and_key,
};
pub(crate) use query::{Params, Query, parse_query, wait_of};

/// The name that a message of serde quotes.
fn quoted_after<'a>(text: &'a str, marker: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(marker)?;
    Some(rest.split_once('`').map_or(rest, |(name, _)| name))
}

/// The names that serde says it would have taken: "`a`", "`a` or `b`", "one of `a`, …".
fn known_list(text: &str) -> String {
    match text.rsplit_once(", expected ") {
        Some((_, known)) => {
            known.strip_prefix("one of ").unwrap_or(known).replace("` or `", "`, `")
        }
        None => String::new(),
    }
}
