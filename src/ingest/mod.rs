//! The first arrow of a push: rows in source files become `(key, rank, value)` records.
//!
//! [`expand_sources`] turns what a user names (files, directories, globs, `-`, objects in stores) into
//! [`Input`]s. [`read_rows`] streams them: each row is checked, its key is taken, its
//! value is written as compact JSON, and the records are handed to a sink, which is the
//! sorter. After sorting, [`Gather`] makes one final record of all that share a key.
//!
//! What holds everywhere here:
//! - No file is held in memory: some chunks of rows are, or some rows (each at most
//!   `lines::MAX_ROW_BYTES`) that are larger than a chunk.
//! - A row is used whole or fails the push. After the first bad row the sink is not called
//!   again; reading goes on only to name up to five problems.
//! - What text sources wrote is what is stored: numbers keep their text, 64-bit and longer.
//! - Sources are hostile: every length, depth and ratio has a bound, and no byte of them
//!   can make this module panic or recurse without end.

mod error;
mod format;
mod option_texts;
mod option_values;
mod options;

mod chunks;
mod directory;
mod growth;
mod in_order;
mod lines;
mod manifest;
mod objects;
mod part_names;
mod reading;
mod source;
mod stream;

mod arrow_ipc;
mod avro;
mod avro_schema;
mod csv;
mod json_array;
mod ndjson;
mod parquet;
mod redshift;

mod arrow_cells;
mod arrow_claims;
mod batches;
mod cells;
mod json;
mod key;
mod rank;
mod row;
mod rows;
mod table;
mod text_cells;
mod thrift;
mod value;

mod gather;
mod preview;
mod probe;

#[cfg(test)]
mod testing;

/// What fuzz targets use besides.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing {
    pub(crate) use super::growth::Growth;
    pub(crate) use super::source::Input;
    pub(crate) use super::stream::Stream;
}

pub(crate) use error::IngestError;
pub(crate) use format::Format;
pub(crate) use gather::{Emit, Gather, Gathered};
pub(crate) use growth::GrowthLimits;
pub(crate) use json::is_json;
pub(crate) use objects::expand as expand_location;
pub(crate) use options::RowOptions;
pub(crate) use part_names::part_names;
pub(crate) use preview::{Preview, preview};
pub(crate) use probe::{Looked, common_samples, look_at_some};
pub(crate) use reading::{Progress as ReadProgress, Sink, read_rows};
pub(crate) use source::{Input, Origin, SourceOptions, expand_sources};
