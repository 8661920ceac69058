//! Parquet: row groups, read in small batches.
//!
//! Only the columns that key, order and value need are read. What the footer claims is
//! checked against what is there; a damaged file is an error that names it. The library
//! that decodes pages may panic on hostile ones: that too becomes an error, and since this
//! runs in a process of its own, even one that takes memory without end harms nobody else.
//!
//! A file that cannot seek (standard input, or compressed once more) is first copied to a
//! temporary file without a name.

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Fields, Schema, TimeUnit};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::basic::Type;
use parquet::file::metadata::ParquetMetaData;
use tidetable_storage::{Code, Error};

use super::error::{IngestError, Result};
use super::parquet_cells::{Batch, Leaf};
use super::reading::Reading;
use super::row::{RowBuffer, TableShape};
use super::stream::Stream;

/// Rows that are decoded at once…
const BATCH_ROWS: usize = 1_024;
/// …or fewer, if that many would be expected to take more than this.
const BATCH_BYTES: u64 = 32 * 1024 * 1024;

/// Reads all rows of a source; how many of its bytes were used.
pub(crate) fn read(mut stream: Stream, reading: &mut Reading<'_, '_>) -> Result<u64> {
    let name = stream.name.clone();
    let damaged = |what: &str| {
        let detail = format!("{name} is damaged, cut off, or no Parquet: {what}");
        let problems = vec![detail.clone()];
        IngestError { problems, ..IngestError::new(Code::BadRows, detail) }
    };
    let file = seekable(&mut stream).map_err(|error| reading.with_problems(error))?;
    let bytes = file.metadata().map_err(|e| Error::io("read a source", &name, e))?.len();
    let opened =
        guarded(|| Table::open(file)).map_err(|what| reading.with_problems(damaged(&what)))?;
    let shape = TableShape::find(&reading.shape, &opened.names, &name)
        .map_err(|error| reading.with_problems(error))?;
    let roots = shape.columns();
    let mut table =
        guarded(|| opened.project(&roots)).map_err(|what| reading.with_problems(damaged(&what)))?;
    let shape = TableShape::find(&reading.shape, &table.names, &name)?;
    let mut buffer = RowBuffer::default();
    let mut rows = 0;
    while reading.wants_more() {
        let batch = guarded(|| table.batches.next().transpose().map_err(|e| e.to_string()));
        let batch = match batch {
            Ok(Some(batch)) => batch,
            Ok(None) if rows == table.rows => break,
            Ok(None) => {
                let what = format!("it has {rows} rows; its footer says {}", table.rows);
                return Err(reading.with_problems(damaged(&what)));
            }
            Err(what) => {
                let what = format!("{what}, after row {rows}");
                return Err(reading.with_problems(damaged(&what)));
            }
        };
        let cells = Batch::new(batch.columns(), &table.names, &table.leaves, reading.options.nan)
            .map_err(|what| {
            reading.with_problems(IngestError::new(Code::BadRows, format!("{name}: {what}")))
        })?;
        for row in 0..batch.num_rows() {
            if !reading.wants_more() {
                break;
            }
            rows += 1;
            let used = share(bytes, rows, table.rows);
            let record = shape.record(&cells.row(row), &mut buffer);
            reading.row(record, || format!("{name} row {rows}"), used)?;
        }
    }
    Ok(bytes)
}

/// An opened file whose footer was read.
struct Table {
    file: File,
    metadata: ArrowReaderMetadata,
    names: Vec<String>,
}

/// The same with its rows about to be read.
struct Rows {
    batches: ParquetRecordBatchReader,
    names: Vec<String>,
    leaves: Vec<Leaf>,
    /// As the footer says.
    rows: u64,
}

impl Table {
    fn open(file: File) -> std::result::Result<Self, String> {
        // What Arrow's writers embed is a hint for Arrow's readers, and one more thing that
        // a hostile file could lie about.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let text = |error: parquet::errors::ParquetError| error.to_string();
        let plain = ArrowReaderMetadata::load(&file, options).map_err(text)?;
        // INT96 would be read as nanoseconds, which wrap beyond the year 2262; dates such as
        // 9999-12-31 are common. Spark, who writes it, has microseconds.
        let metadata = match int96_as_micros(&plain) {
            None => plain,
            Some(schema) => {
                let options = ArrowReaderOptions::new().with_schema(Arc::new(schema));
                ArrowReaderMetadata::try_new(Arc::clone(plain.metadata()), options).map_err(text)?
            }
        };
        let names = metadata.schema().fields().iter().map(|field| field.name().clone()).collect();
        Ok(Self { file, metadata, names })
    }

    fn project(self, roots: &[usize]) -> std::result::Result<Rows, String> {
        let descriptor = self.metadata.parquet_schema();
        let leaves = Leaf::of_schema(descriptor, roots);
        let mask = ProjectionMask::roots(descriptor, roots.iter().copied());
        let names = roots.iter().map(|root| self.names[*root].clone()).collect();
        let claimed = self.metadata.metadata().file_metadata().num_rows();
        let rows =
            u64::try_from(claimed).map_err(|_| format!("its footer claims {claimed} rows"))?;
        let batch = batch_rows(self.metadata.metadata());
        let batches = ParquetRecordBatchReaderBuilder::new_with_metadata(self.file, self.metadata)
            .with_projection(mask)
            .with_batch_size(batch)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Rows { batches, names, leaves, rows })
    }
}

/// Fewer rows at once where rows are large.
fn batch_rows(metadata: &ParquetMetaData) -> usize {
    let row_bytes = metadata.row_groups().iter().map(|group| {
        let bytes = u64::try_from(group.total_byte_size()).unwrap_or_default();
        bytes / u64::try_from(group.num_rows()).unwrap_or_default().max(1)
    });
    let most = BATCH_BYTES / row_bytes.max().unwrap_or_default().max(1);
    usize::try_from(most).unwrap_or(BATCH_ROWS).clamp(1, BATCH_ROWS)
}

/// The file itself, or a temporary copy of what can only be read once.
fn seekable(stream: &mut Stream) -> Result<File> {
    if let Some(file) = stream.file.take() {
        return Ok(file);
    }
    let spool = |error| Error::io("make a temporary file in", std::env::temp_dir(), error);
    let mut file = tempfile::tempfile().map_err(spool)?;
    let mut block = vec![0; 256 * 1024];
    loop {
        // Told apart, as one failure is the source's and the other the disk's.
        let count = io::Read::read(&mut stream.reader, &mut block);
        let count = match count {
            Ok(0) => return Ok(file),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(stream.failed(error)),
        };
        let write = io::Write::write_all(&mut file, &block[..count]);
        write
            .map_err(|error| Error::io("write a temporary file in", std::env::temp_dir(), error))?;
    }
}

/// The schema as it is read, with INT96 as microseconds wherever it occurs. None: nowhere.
fn int96_as_micros(metadata: &ArrowReaderMetadata) -> Option<Schema> {
    let descriptor = metadata.parquet_schema();
    let int96: Vec<bool> =
        descriptor.columns().iter().map(|leaf| leaf.physical_type() == Type::INT96).collect();
    if !int96.contains(&true) {
        return None;
    }
    let mut leaves = int96.into_iter();
    let schema = metadata.schema();
    let fields: Fields = schema.fields().iter().map(|field| retyped(field, &mut leaves)).collect();
    Some(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn retyped(field: &FieldRef, int96: &mut dyn Iterator<Item = bool>) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|field| retyped(field, int96)).collect())
        }
        DataType::List(item) => DataType::List(retyped(item, int96)),
        DataType::Map(entries, sorted) => DataType::Map(retyped(entries, int96), *sorted),
        other => match int96.next() {
            Some(true) => DataType::Timestamp(TimeUnit::Microsecond, None),
            _ => other.clone(),
        },
    };
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}

/// How many of `bytes` belong to the first `rows` of `all` rows, roughly.
fn share(bytes: u64, rows: u64, all: u64) -> u64 {
    let share = u128::from(bytes) * u128::from(rows) / u128::from(all.max(1));
    u64::try_from(share).unwrap_or(bytes).min(bytes)
}

/// Runs something of the Parquet library; if it panics, that is an error like another.
fn guarded<T>(
    step: impl FnOnce() -> std::result::Result<T, String>,
) -> std::result::Result<T, String> {
    // What the step worked on is not used again after a panic.
    catch_unwind(AssertUnwindSafe(step)).unwrap_or_else(|panic| {
        let what = panic.downcast_ref::<String>().map(String::as_str);
        let what = what.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        Err(format!("it cannot be decoded ({what})"))
    })
}

#[cfg(test)]
#[path = "parquet_tests.rs"]
mod tests;
