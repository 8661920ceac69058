//! What a push reads on this machine before anything is sent: which files its sources
//! stand for, which format they have, and how their first rows would be served.

use std::path::PathBuf;

use serde_json::{Map, Value};

use super::exit::{Exit, Failure};

/// Stands in until the reader of sources is merged.
#[derive(Clone, Debug, Default, clap::Args, serde::Serialize)]
pub(crate) struct RowOptions {
    /// The format of the rows
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) format: Option<String>,
    /// The field that is the key, or several
    #[arg(long, value_delimiter = ',', required = true)]
    pub(crate) key: Vec<String>,
    /// Gather rows
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) collect: bool,
    /// Order
    #[arg(long)]
    #[serde(skip)]
    pub(crate) order_by: Option<String>,
    /// Limit
    #[arg(long)]
    #[serde(skip)]
    pub(crate) limit: Option<u64>,
    /// Columns
    #[arg(long)]
    #[serde(skip)]
    pub(crate) columns: Option<String>,
}

/// One thing to send: a part of the push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// What messages call it: its path, or `standard input`.
    pub(crate) name: String,
    pub(crate) origin: Origin,
}

/// Where the bytes come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    File(PathBuf),
    Stdin,
}

/// One record as it would be served.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

/// The files, and standard input, that the arguments stand for, in order.
pub(crate) fn sources(arguments: &[String]) -> Result<Vec<Source>, Failure> {
    let mut sources = Vec::new();
    for argument in arguments {
        let origin = match argument.as_str() {
            "-" => Origin::Stdin,
            path => Origin::File(path.into()),
        };
        sources.push(Source { name: argument.clone(), origin });
    }
    Ok(sources)
}

/// The row options as the API wants them, with the format that the names tell.
pub(crate) fn body(options: &RowOptions, _: &[Source]) -> Result<Map<String, Value>, Failure> {
    match serde_json::to_value(options) {
        Ok(Value::Object(map)) => Ok(map),
        _ => Err(Failure::new(Exit::Failed, "the row options cannot be written as JSON")),
    }
}

/// The first records as they would be served.
pub(crate) fn preview(_: &RowOptions, _: &[String], _: usize) -> Result<Vec<Shown>, Failure> {
    Err(Failure::new(Exit::Failed, "--dry-run is not in this build"))
}
