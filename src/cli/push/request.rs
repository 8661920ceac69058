//! What a push asks for, and what is sent for it: rows, the files of a snapshot, or nothing where
//! the server fetches the data by itself. Said by the flags of `push` and the keys of a job file.

use serde_json::{Map, Value, json};

use super::parts::{self, Part};
use super::snapshot;
use crate::cli::exit::Failure;
use crate::cli::rows::{self, RowOptions, SourceOptions};

/// Where the data of a push is, and how it is understood.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) struct Given<'a> {
    pub(in crate::cli) sources: &'a [String],
    pub(in crate::cli) how: &'a SourceOptions,
    /// The source of the server that `sources` names a path beneath.
    pub(in crate::cli) from: Option<&'a str>,
    pub(in crate::cli) rows: &'a RowOptions,
}

/// What the server is asked for, and sent.
#[derive(Debug)]
pub(in crate::cli) struct Request {
    /// The fields of the new version.
    pub(in crate::cli) body: Map<String, Value>,
    pub(in crate::cli) data: Data,
}

#[derive(Debug)]
pub(in crate::cli) enum Data {
    Rows(Vec<Part>),
    Snapshot(Vec<Part>),
    /// The server has it, or fetches it.
    Elsewhere,
}

impl Request {
    /// Finds and opens all that is named, and reads nothing of it but the manifest of a snapshot.
    pub(in crate::cli) fn of(given: Given<'_>) -> Result<Self, Failure> {
        if let Some(name) = given.from {
            return Self::elsewhere(given, name);
        }
        if let Some(parts) = snapshot::files(given.sources, given.rows)? {
            parts::check_readable(&parts)?;
            let body = Map::from_iter([("format".to_owned(), json!("snapshot"))]);
            return Ok(Self { body, data: Data::Snapshot(parts) });
        }
        let sources = rows::sources(given.sources, given.how)?;
        let body = rows::body(given.rows, &sources)?;
        let parts = parts::name(sources)?;
        parts::check_readable(&parts)?;
        Ok(Self { body, data: Data::Rows(parts) })
    }

    /// What the server fetches: its paths are the server's.
    fn elsewhere(given: Given<'_>, name: &str) -> Result<Self, Failure> {
        let [path] = given.sources else {
            let text = "with --from there is one SOURCE: a path beneath that source";
            return Err(Failure::usage(text));
        };
        let mut body = rows::body(given.rows, &[])?;
        body.insert("source".to_owned(), json!(name));
        body.insert("path".to_owned(), json!(path));
        let how = given.how;
        for (name, is_set) in
            [("accept_unfinished", how.accept_unfinished), ("manifest", how.manifest)]
        {
            if is_set {
                body.insert(name.to_owned(), json!(true));
            }
        }
        Ok(Self { body, data: Data::Elsewhere })
    }
}
