//! Parquet: row groups, read in small batches.
//!
//! Only the columns that key, order and value need are read. What the footer claims is
//! checked against what is there; a damaged file is an error that names it. The library
//! that decodes pages may panic on hostile ones: that too becomes an error, and since this
//! runs in a process of its own, even one that takes memory without end harms nobody else.
//!
//! One thread at a time decodes a batch; several make records of what is decoded.
//!
//! A file that cannot seek (standard input, or compressed once more) is first copied to a
//! temporary file without a name.

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::RecordBatch;
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
use super::growth::FREE_BYTES;
use super::in_order::{in_order, threads};
use super::option_values::Nan;
use super::parquet_cells::{Batch, Leaf};
use super::reading::Reading;
use super::row::{RowBuffer, TableShape};
use super::rows::Rows;
use super::stream::Stream;

/// Rows that are decoded at once…
const BATCH_ROWS: usize = 1_024;
/// …or fewer, if that many would be expected to take more than this.
const BATCH_BYTES: u64 = 8 * 1024 * 1024;

/// Beyond [`FREE_BYTES`] rows may come to this many times the size of their file. Repeated values
/// take next to nothing in Parquet, so rows of real files grow a hundred times; those of a file
/// made to fill disks, millions of times.
const MAX_GROWTH: u64 = 10_000;

/// Reads all rows of a source; how many of its bytes were used.
pub(crate) fn read(mut stream: Stream, reading: &mut Reading<'_, '_>) -> Result<u64> {
    let name = stream.name.clone();
    let file = seekable(&mut stream).map_err(|error| reading.with_problems(error))?;
    let bytes = file.metadata().map_err(|e| Error::io("read a source", &name, e))?.len();
    let (shape, columns, mut batches) = begin(file, &name, reading)?;
    let (claimed, nan) = (batches.claimed, reading.options.nan);
    let (mut before, mut grown) = (0, 0);
    let work = |batch: std::result::Result<RecordBatch, String>| {
        let batch = batch.map_err(|what| damaged(&name, &what))?;
        let rows = guarded(|| columns.rows_of(&batch, &shape, nan));
        rows.map_err(|what| format!("{name}: {what}"))
    };
    let read: Result<()> = in_order(
        threads(),
        || batches.next(),
        work,
        |rows| {
            let mut rows = rows.map_err(|detail| unreadable(detail, reading))?;
            grown += rows.bytes();
            if grown > FREE_BYTES && grown / MAX_GROWTH > bytes {
                let what = format!("its rows take more than {MAX_GROWTH} times its {bytes} bytes");
                let too_much = unreadable(format!("{name}: {what}"), reading);
                return Err(IngestError { code: Code::DecompressionLimit, ..too_much });
            }
            let its_rows = rows.len();
            rows.consumed = share(bytes, before + its_rows, claimed);
            let more = reading.rows(rows, |row| format!("{name} row {}", before + row))?;
            before += its_rows;
            Ok(more)
        },
    );
    read.map(|()| bytes)
}

/// Reads the footer and finds the columns.
fn begin(
    file: File,
    name: &str,
    reading: &Reading<'_, '_>,
) -> Result<(TableShape, Columns, Batches)> {
    let failed = |what: String| unreadable(damaged(name, &what), reading);
    let table = guarded(|| Table::open(file)).map_err(failed)?;
    let find = |names: &[String]| {
        let shape = TableShape::find(&reading.shape, names, name);
        shape.map_err(|error| reading.with_problems(error))
    };
    let roots = find(&table.names)?.columns();
    let (columns, batches) = guarded(|| table.project(&roots)).map_err(failed)?;
    Ok((find(&columns.names)?, columns, batches))
}

fn damaged(name: &str, what: &str) -> String {
    format!("{name} is damaged, cut off, or no Parquet: {what}")
}

fn unreadable(detail: String, reading: &Reading<'_, '_>) -> IngestError {
    let problems = vec![detail.clone()];
    reading.with_problems(IngestError { problems, ..IngestError::new(Code::BadRows, detail) })
}

/// An opened file whose footer was read.
struct Table {
    file: File,
    metadata: ArrowReaderMetadata,
    names: Vec<String>,
}

/// Those of its columns that are used.
struct Columns {
    names: Vec<String>,
    leaves: Vec<Leaf>,
}

/// Its rows, some at a time.
struct Batches {
    reader: ParquetRecordBatchReader,
    /// How many there are, as the footer says.
    claimed: u64,
    /// How many were read.
    read: u64,
}

impl Columns {
    /// The rows of a batch, named by their numbers in it. The error says why none can be
    /// used.
    fn rows_of(
        &self,
        batch: &RecordBatch,
        shape: &TableShape,
        nan: Nan,
    ) -> std::result::Result<Rows, String> {
        let cells = Batch::new(batch.columns(), &self.names, &self.leaves, nan)?;
        let mut rows = Rows::with_capacity(batch.get_array_memory_size());
        let mut buffer = RowBuffer::default();
        for row in 0..batch.num_rows() {
            rows.push(row as u64 + 1, shape.record(&cells.row(row), &mut buffer));
            if rows.are_hopeless() {
                break;
            }
        }
        rows.compact();
        Ok(rows)
    }
}

impl Batches {
    /// The next rows. `None`: all that the footer claims were read.
    fn next(&mut self) -> Option<std::result::Result<RecordBatch, String>> {
        let next = || self.reader.next().transpose().map_err(|error| error.to_string());
        match guarded(next) {
            Ok(None) if self.read != self.claimed => {
                let what = format!("it has {} rows; its footer says {}", self.read, self.claimed);
                // Said once.
                self.claimed = self.read;
                Some(Err(what))
            }
            Ok(batch) => {
                self.read += batch.as_ref().map_or(0, |batch| batch.num_rows() as u64);
                batch.map(Ok)
            }
            Err(what) => Some(Err(format!("{what}, after row {}", self.read))),
        }
    }
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

    fn project(self, roots: &[usize]) -> std::result::Result<(Columns, Batches), String> {
        let descriptor = self.metadata.parquet_schema();
        let leaves = Leaf::of_schema(descriptor, roots);
        let mask = ProjectionMask::roots(descriptor, roots.iter().copied());
        let names = roots.iter().map(|root| self.names[*root].clone()).collect();
        let claimed = self.metadata.metadata().file_metadata().num_rows();
        let claimed =
            u64::try_from(claimed).map_err(|_| format!("its footer claims {claimed} rows"))?;
        let groups = self.metadata.metadata().row_groups();
        let in_groups = groups.iter().try_fold(0u64, |sum, group| {
            u64::try_from(group.num_rows()).ok().and_then(|rows| sum.checked_add(rows))
        });
        if in_groups != Some(claimed) {
            return Err(format!("its footer claims {claimed} rows, its row groups have others"));
        }
        let batch = batch_rows(self.metadata.metadata());
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(self.file, self.metadata)
            .with_projection(mask)
            .with_batch_size(batch)
            .build()
            .map_err(|error| error.to_string())?;
        Ok((Columns { names, leaves }, Batches { reader, claimed, read: 0 }))
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
        if stream.is_part {
            each_block(stream, |_| Ok(()))?;
        }
        return Ok(file);
    }
    let spool = |error| Error::io("make a temporary file in", std::env::temp_dir(), error);
    let mut file = tempfile::tempfile().map_err(spool)?;
    each_block(stream, |block| {
        let written = io::Write::write_all(&mut file, block);
        written.map_err(|e| Error::io("write a temporary file in", std::env::temp_dir(), e))
    })?;
    Ok(file)
}

/// Reads all of a stream.
fn each_block(
    stream: &mut Stream,
    mut each: impl FnMut(&[u8]) -> std::result::Result<(), Error>,
) -> Result<()> {
    let mut block = vec![0; 256 * 1024];
    loop {
        // Told apart, as one failure is the source's and the other the disk's.
        match io::Read::read(&mut stream.reader, &mut block) {
            Ok(0) => return Ok(()),
            Ok(count) => each(&block[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(stream.failed(error)),
        }
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

/// Runs something that works on what the Parquet library decoded, or the library itself; if
/// it panics, that is an error like another.
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
