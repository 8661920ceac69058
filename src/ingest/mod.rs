//! The first arrow of a push: rows in source files become `(key, rank, value)` records.
//!
//! [`expand_sources`] turns what a user names (files, directories, globs, `-`) into
//! [`Input`]s. [`read_rows`] streams them: each row is checked, its key is taken, its
//! value is written as compact JSON, and the record is handed to a sink, which is the
//! sorter. After sorting, [`Gather`] makes one final record of all that share a key.
//!
//! What holds everywhere here:
//! - No file is held in memory: one row (at most `lines::MAX_ROW_BYTES`) or one small batch is.
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

mod lines;
mod reading;
mod source;
mod stream;

mod csv;
mod ndjson;
mod parquet;
mod redshift;

mod cells;
mod json;
mod key;
mod parquet_cells;
mod rank;
mod row;
mod table;
mod text_cells;
mod value;

mod gather;
mod preview;

#[cfg(test)]
mod testing;

pub(crate) use error::IngestError;
pub(crate) use format::Format;
pub(crate) use gather::Gather;
pub(crate) use options::RowOptions;
pub(crate) use preview::{Preview, preview};
pub(crate) use reading::read_rows;
pub(crate) use source::{Input, Origin, expand_sources};
