//! Rows in Arrow's batches, as the libraries of Parquet, Avro and Arrow give them, become records.
//!
//! One thread at a time decodes a batch; several make records of what is decoded. These libraries
//! may panic on hostile files: that becomes an error like another, and since this runs in a
//! process of its own, even one that takes memory without end harms nobody else.

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch};
use arrow::datatypes::DataType;
use tidetable_storage::{Code, Error, build_threads};

use super::arrow_cells::{Batch, Leaf};
use super::error::{IngestError, Result};
use super::growth::FREE_BYTES;
use super::in_order::in_order;
use super::option_values::Nan;
use super::reading::Reading;
use super::row::{RowBuffer, TableShape};
use super::rows::Rows;
use super::stream::Stream;

/// Beyond [`FREE_BYTES`] rows may come to this many times the size of their file. Repeated values
/// take next to nothing in Parquet, so rows of real files grow a hundred times; those of a file
/// made to fill disks, millions of times.
const MAX_GROWTH: u64 = 10_000;

/// Characters of what a library says that are shown.
const MOST_TOLD: usize = 400;

/// What came of a step of a library; the error is its text.
pub(super) type Decoded<T> = std::result::Result<T, String>;

/// A source of batches, for messages.
pub(super) struct Origin<'a> {
    /// What messages call it.
    pub(super) name: &'a str,
    /// What it is: `Parquet`.
    pub(super) kind: &'static str,
    /// Whether it says of some of its columns that they are encrypted.
    pub(super) has_encrypted: AtomicBool,
}

impl<'a> Origin<'a> {
    pub(super) fn new(name: &'a str, kind: &'static str) -> Self {
        Self { name, kind, has_encrypted: AtomicBool::new(false) }
    }

    pub(super) fn damaged(&self, what: &str) -> String {
        // Libraries repeat what a source says, however long it is.
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        let what: String = what.chars().take(MOST_TOLD).map(plain).collect();
        // Which of its columns cannot be read nobody says.
        if self.has_encrypted.load(Relaxed) {
            return format!(
                "{} is damaged, or a column that is read is encrypted: write it without encryption, or \
                 name only columns that are not encrypted, in key and in fields or value ({what})",
                self.name
            );
        }
        format!("{} is damaged, cut off, or no {}: {what}", self.name, self.kind)
    }

    /// The same as what ends the reading.
    pub(super) fn failed(&self, what: &str, reading: &Reading<'_, '_>) -> IngestError {
        unreadable(self.damaged(what), reading)
    }
}

/// Those of its columns that are used.
pub(super) struct Columns {
    pub(super) names: Vec<String>,
    pub(super) leaves: Vec<Leaf>,
}

/// Makes records of all batches that `decode` makes of what `next` gives, one after the other;
/// batches have these columns. `used` says of the number of rows so far how many bytes of the
/// source were used for them, and how many rows may be held against: all of them, if that is known.
pub(super) fn read<T: Send>(
    origin: &Origin<'_>,
    (shape, columns): (&TableShape, &Columns),
    next: impl FnMut() -> Option<Decoded<T>> + Send,
    decode: impl Fn(T) -> Decoded<RecordBatch> + Sync,
    used: impl Fn(u64) -> (u64, u64),
    reading: &mut Reading<'_, '_>,
) -> Result<()> {
    let (name, nan) = (origin.name, reading.options.nan);
    let (mut before, mut grown) = (0, 0);
    let rows_of = |batch: RecordBatch| {
        let rows = guarded(|| columns.rows_of(&batch, shape, nan));
        rows.map_err(|what| format!("{name}: {what}"))
    };
    let work = |piece: Decoded<T>| {
        let batch = piece.and_then(&decode).map_err(|what| origin.damaged(&what))?;
        rows_of(batch)
    };
    in_order(build_threads(), reading.is_limited(), next, work, |mut made| {
        loop {
            let (mut rows, rest) = made.map_err(|detail| unreadable(detail, reading))?;
            let its_rows = rows.len();
            let (consumed, bytes) = used(before + its_rows);
            grown += rows.bytes();
            if grown > FREE_BYTES && grown / MAX_GROWTH > bytes {
                let what = format!("its rows take more than {MAX_GROWTH} times its {bytes} bytes");
                let too_much = unreadable(format!("{name}: {what}"), reading);
                return Err(IngestError { code: Code::DecompressionLimit, ..too_much });
            }
            rows.consumed = consumed;
            let more = reading.rows(rows, |row| format!("{name} row {}", before + row))?;
            before += its_rows;
            match rest {
                Some(rest) if more => made = rows_of(rest),
                _ => return Ok(more),
            }
        }
    })
}

impl Columns {
    /// The rows of a batch, named by their numbers in it, until their records have [`PIECE_BYTES`],
    /// and the rest of the batch. The error says why none can be used.
    ///
    /// A few bytes of a batch may be meant in each of its rows: a text that is repeated (a view, a
    /// dictionary, a symbol of an enum), or the long name of a field. As records they are written out, so
    /// what is bounded are these. The rest is made where records are handed on, one piece at a time.
    fn rows_of(
        &self,
        batch: &RecordBatch,
        shape: &TableShape,
        nan: Nan,
    ) -> Decoded<(Rows, Option<RecordBatch>)> {
        let cells = Batch::new(batch.columns(), &self.names, &self.leaves, nan)?;
        let mut rows = Rows::with_capacity(expected_bytes(batch));
        let mut buffer = RowBuffer::default();
        let mut rest = None;
        for row in 0..batch.num_rows() {
            rows.push(row as u64 + 1, shape.record(&cells.row(row), &mut buffer));
            if rows.are_hopeless() {
                break;
            }
            let left = batch.num_rows() - row - 1;
            if rows.bytes() >= PIECE_BYTES && left > 0 {
                rest = Some(batch.slice(row + 1, left));
                break;
            }
        }
        rows.compact();
        Ok((rows, rest))
    }
}

/// Records that are made of a batch at once, in bytes: a piece is larger by one record at most. Some
/// pieces for each thread are on their way at a time.
const PIECE_BYTES: u64 = 16 << 20;

/// A batch may be a piece of a larger one, and says the size of that.
const MOST_RESERVED: usize = 16 << 20;

/// What the records of a batch may come to, roughly.
fn expected_bytes(batch: &RecordBatch) -> usize {
    let bytes = |array: &ArrayRef| match array.data_type() {
        // What they point to is more than they mean, or less.
        DataType::Utf8View => array.as_string_view().total_bytes_len(),
        DataType::BinaryView => array.as_binary_view().total_bytes_len(),
        _ => array.get_array_memory_size(),
    };
    let all = batch.columns().iter().map(bytes).fold(0, usize::saturating_add);
    all.min(MOST_RESERVED)
}

pub(super) fn unreadable(detail: String, reading: &Reading<'_, '_>) -> IngestError {
    let problems = vec![detail.clone()];
    reading.with_problems(IngestError { problems, ..IngestError::new(Code::BadRows, detail) })
}

/// How many of `bytes` belong to the first `rows` of `all` rows, roughly.
pub(super) fn share(bytes: u64, rows: u64, all: u64) -> u64 {
    let share = u128::from(bytes) * u128::from(rows) / u128::from(all.max(1));
    u64::try_from(share).unwrap_or(bytes).min(bytes)
}

/// Runs something that works on what a library decoded, or the library itself; if it panics,
/// that is an error like another.
pub(super) fn guarded<T>(step: impl FnOnce() -> Decoded<T>) -> Decoded<T> {
    // What the step worked on is not used again after a panic.
    catch_unwind(AssertUnwindSafe(step)).unwrap_or_else(|panic| {
        let what = panic.downcast_ref::<String>().map(String::as_str);
        let what = what.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        Err(format!("it cannot be decoded ({what})"))
    })
}

/// The file itself, or a temporary copy of what can only be read once.
pub(super) fn seekable(stream: &mut Stream) -> Result<File> {
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
