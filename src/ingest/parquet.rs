//! Parquet: row groups, read in small batches.
//!
//! Only the columns that key, order and value need are read. What the footer claims is
//! checked against what is there; a damaged file is an error that names it. How decoded rows
//! become records is [`super::batches`].
//!
//! Texts and bytes are read as views: each points to where it stands in its page or dictionary, so
//! that a long one which many rows repeat is in memory once.
//!
//! A file that cannot seek (standard input, or compressed once more) is first copied to a
//! temporary file without a name.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arrow::array::{Array, AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, FieldRef, Fields, Schema, TimeUnit};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::basic::{Encoding, Type};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use tidetable_storage::Error;

use self::bounded::{Bounded, Footer, Pages};
use super::arrow_cells::Leaf;
use super::batches::{self, Columns, Decoded, Origin, guarded, seekable, share, unreadable};
use super::error::Result;
use super::reading::Reading;
use super::row::TableShape;
use super::stream::Stream;

mod bounded;

/// Rows that are decoded at once…
const BATCH_ROWS: usize = 1_024;
/// …or fewer, if that many would be expected to take more than this…
const BATCH_BYTES: u64 = 8 * 1024 * 1024;
/// …or if texts stand as what they have more than those before them: these are written out when they
/// are decoded, each of them at most as long as its page.
const BATCH_ROWS_OF_DELTAS: usize = 256;

/// What a file begins and ends with whose footer is encrypted.
pub(super) const SEALED: &[u8; 4] = b"PARE";

/// Reads all rows of a source; how many of its bytes were used.
pub(crate) fn read(mut stream: Stream, reading: &mut Reading<'_, '_>) -> Result<u64> {
    let name = stream.name.clone();
    let file = seekable(&mut stream).map_err(|error| reading.with_problems(error))?;
    let bytes = file.metadata().map_err(|e| Error::io("read a source", &name, e))?.len();
    let origin = Origin::new(&name, "Parquet");
    let (shape, columns, mut batches) = begin(file, &origin, reading)?;
    let claimed = batches.claimed;
    let used = |rows| (share(bytes, rows, claimed), bytes);
    batches::read(&origin, (&shape, &columns), || batches.next(), checked, used, reading)?;
    Ok(bytes)
}

/// Reads the footer and finds the columns.
fn begin(
    file: File,
    origin: &Origin<'_>,
    reading: &Reading<'_, '_>,
) -> Result<(TableShape, Columns, Batches)> {
    if is_sealed(&file) {
        let what = "its footer is encrypted, and encrypted Parquet is not read: write it without \
                    encryption";
        return Err(unreadable(format!("{}: {what}", origin.name), reading));
    }
    let failed = |what: String| origin.failed(&what, reading);
    let table = guarded(|| Table::open(file, &origin.has_encrypted)).map_err(failed)?;
    let find = |names: &[String]| {
        let shape = TableShape::find(&reading.shape, names, origin.name);
        shape.map_err(|error| reading.with_problems(error))
    };
    let roots = find(&table.names)?.columns();
    let (columns, batches) = guarded(|| table.project(&roots)).map_err(failed)?;
    Ok((find(&columns.names)?, columns, batches))
}

/// Whether its footer is encrypted. Both ends say so: a table of text may begin with these letters.
fn is_sealed(file: &File) -> bool {
    let bytes = file.metadata().map_or(0, |metadata| metadata.len());
    let holds = |at: u64| {
        let mut found = [0; SEALED.len()];
        file.read_exact_at(&mut found, at).is_ok() && found == *SEALED
    };
    // Between them the footer's length stands at least.
    bytes >= 3 * SEALED.len() as u64 && holds(0) && holds(bytes - SEALED.len() as u64)
}

/// A batch whose texts are UTF-8. parquet-rs does not look at those of JSON columns, and of texts that
/// stand as deltas only whether all of a page are UTF-8 together; as a `str` that would be believed.
fn checked(batch: RecordBatch) -> Decoded<RecordBatch> {
    guarded(|| batch.columns().iter().try_for_each(|column| check_texts(column)))?;
    Ok(batch)
}

fn check_texts(array: &dyn Array) -> Decoded<()> {
    match array.data_type() {
        DataType::Utf8View => array.to_data().validate_data().map_err(|error| error.to_string()),
        DataType::Struct(_) => {
            array.as_struct().columns().iter().try_for_each(|column| check_texts(column))
        }
        DataType::List(_) => check_texts(array.as_list::<i32>().values()),
        DataType::Map(_, _) => check_texts(array.as_map().entries()),
        _ => Ok(()),
    }
}

/// An opened file whose footer was read.
struct Table {
    file: Bounded,
    metadata: ArrowReaderMetadata,
    names: Vec<String>,
}

/// Its rows, some at a time.
struct Batches {
    reader: ParquetRecordBatchReader,
    /// How many there are, as the footer says.
    claimed: u64,
    /// How many were read.
    read: u64,
}

impl Batches {
    /// The next rows. `None`: all that the footer claims were read.
    fn next(&mut self) -> Option<Decoded<RecordBatch>> {
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
    /// `has_encrypted` is set if the footer says of a column that it is encrypted. Others can be read.
    fn open(file: File, has_encrypted: &AtomicBool) -> Decoded<Self> {
        let file = Bounded(file);
        // What Arrow's writers embed is a hint for Arrow's readers, and one more thing that
        // a hostile file could lie about.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let text = |error: parquet::errors::ParquetError| error.to_string();
        let footer = Footer { file: &file, has_encrypted };
        let plain = ArrowReaderMetadata::load(&footer, options).map_err(text)?;
        let schema = Arc::new(as_read(&plain));
        let options = ArrowReaderOptions::new().with_schema(schema);
        let metadata =
            ArrowReaderMetadata::try_new(Arc::clone(plain.metadata()), options).map_err(text)?;
        let names = metadata.schema().fields().iter().map(|field| field.name().clone()).collect();
        Ok(Self { file, metadata, names })
    }

    fn project(self, roots: &[usize]) -> Decoded<(Columns, Batches)> {
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
        let pages = Pages(self.file);
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(pages, self.metadata)
            .with_projection(mask)
            .with_batch_size(batch)
            .build()
            .map_err(|error| error.to_string())?;
        Ok((Columns { names, leaves }, Batches { reader, claimed, read: 0 }))
    }
}

/// Fewer rows at once where rows are large. What is repeated stands once in the file, and in the
/// records of a batch as often as it is meant: newer writers say how long all texts are when they are
/// decoded. Where they do not, [`batches`] sees it.
fn batch_rows(metadata: &ParquetMetaData) -> usize {
    let groups = metadata.row_groups();
    let row_bytes = groups.iter().map(|group| {
        let (mut texts, mut values) = (0, 0);
        for column in group.columns() {
            let of_texts = column.unencoded_byte_array_data_bytes();
            texts = of_texts.map(count).unwrap_or_default().saturating_add(texts);
            values = value_bytes(column).saturating_add(values);
        }
        count(group.total_byte_size()).max(texts).max(values) / count(group.num_rows()).max(1)
    });
    let most = BATCH_BYTES / row_bytes.max().unwrap_or_default().max(1);
    let has_deltas = groups.iter().flat_map(RowGroupMetaData::columns).any(|column| {
        column.unencoded_byte_array_data_bytes().is_none()
            && column.encodings().any(|encoding| encoding == Encoding::DELTA_BYTE_ARRAY)
    });
    let rows = if has_deltas { BATCH_ROWS_OF_DELTAS } else { BATCH_ROWS };
    usize::try_from(most).unwrap_or(rows).clamp(1, rows)
}

/// What the values of a column take as an array, without its texts: lists may have many a row.
fn value_bytes(column: &ColumnChunkMetaData) -> u64 {
    let width = match column.column_type() {
        Type::FIXED_LEN_BYTE_ARRAY => count(column.column_descr().type_length().into()),
        _ => 8,
    };
    count(column.num_values()).saturating_mul(width)
}

fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// The schema as it is read: texts and bytes as views, and INT96 as microseconds, wherever they occur.
///
/// INT96 would be read as nanoseconds, which wrap beyond the year 2262; dates such as 9999-12-31 are
/// common. Spark, who writes it, has microseconds; of the nanoseconds of Impala and pyarrow the last
/// three digits are lost, which docs/data-format.md says.
fn as_read(metadata: &ArrowReaderMetadata) -> Schema {
    let descriptor = metadata.parquet_schema();
    let mut int96 = descriptor.columns().iter().map(|leaf| leaf.physical_type() == Type::INT96);
    let schema = metadata.schema();
    let fields: Fields = schema.fields().iter().map(|field| retyped(field, &mut int96)).collect();
    Schema::new_with_metadata(fields, schema.metadata().clone())
}

fn retyped(field: &FieldRef, int96: &mut dyn Iterator<Item = bool>) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|field| retyped(field, int96)).collect())
        }
        DataType::List(item) => DataType::List(retyped(item, int96)),
        DataType::Map(entries, sorted) => DataType::Map(retyped(entries, int96), *sorted),
        other => match (int96.next(), other) {
            (Some(true), _) => DataType::Timestamp(TimeUnit::Microsecond, None),
            (_, DataType::Utf8) => DataType::Utf8View,
            (_, DataType::Binary) => DataType::BinaryView,
            _ => other.clone(),
        },
    };
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}

#[cfg(test)]
#[path = "parquet_tests.rs"]
mod tests;
