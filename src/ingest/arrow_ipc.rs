//! Arrow IPC: files, also called Feather, and streams.
//!
//! A batch is checked as it is read: every text, offset and key of a dictionary in it. Large ones
//! are made into records in pieces. A file that cannot seek is copied first, as with Parquet.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::ipc::reader::{FileReader, FileReaderBuilder, StreamReader, read_footer_length};
use arrow::ipc::root_as_footer;
use tidetable_storage::Error;

use super::arrow_cells::Leaf;
use super::arrow_claims::{Checked, Packed, Prefix};
use super::batches::{self, Columns, Decoded, Origin, guarded, seekable, share};
use super::error::Result;
use super::format::ARROW_FILE;
use super::reading::Reading;
use super::row::TableShape;
use super::stream::{Stream, Tracked};

/// Rows of a batch that are made into records at once.
const PIECE_ROWS: usize = 1_024;

/// Reads all rows of a source; how many of its bytes were used.
pub(crate) fn read(stream: Stream, reading: &mut Reading<'_, '_>) -> Result<u64> {
    match stream.head.starts_with(ARROW_FILE) {
        true => read_file(stream, reading),
        false => read_stream(stream, reading),
    }
}

fn read_file(mut stream: Stream, reading: &mut Reading<'_, '_>) -> Result<u64> {
    let name = stream.name.clone();
    let origin = Origin::new(&name, "Arrow file");
    let file = seekable(&mut stream).map_err(|error| reading.with_problems(error))?;
    let bytes = file.metadata().map_err(|e| Error::io("read a source", &name, e))?.len();
    let open = || {
        check_footer(&file, bytes)?;
        FileReaderBuilder::new().build(BufReader::new(file)).map_err(|e| e.to_string())
    };
    let reader = guarded(open).map_err(|what| origin.failed(&what, reading))?;
    let (schema, batches) = (reader.schema(), reader.num_batches() as u64);
    let begun = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&begun);
    let mut reader: FileReader<_> = reader;
    let next = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        reader.next().transpose().map_err(|error| error.to_string())
    };
    let used = |_| (share(bytes, begun.load(Ordering::Relaxed), batches), bytes);
    read_batches(&origin, &schema, next, used, reading)?;
    Ok(bytes)
}

/// Whether the file has room for its footer and for all that the footer says: the library makes
/// room for that before it reads.
fn check_footer(mut file: &File, bytes: u64) -> Decoded<()> {
    let text = |error: io::Error| error.to_string();
    // The length of the footer, and the mark of the end.
    let mut end = [0; 10];
    let before_end = bytes.checked_sub(end.len() as u64).ok_or("it has no footer")?;
    file.seek(SeekFrom::Start(before_end)).map_err(text)?;
    file.read_exact(&mut end).map_err(text)?;
    let length = read_footer_length(end).map_err(|error| error.to_string())?;
    let at = before_end.checked_sub(length as u64).ok_or("its footer is longer than itself")?;
    let mut footer = vec![0; length];
    file.seek(SeekFrom::Start(at)).map_err(text)?;
    file.read_exact(&mut footer).map_err(text)?;
    let footer = root_as_footer(&footer).map_err(|_| "its footer cannot be read")?;
    let blocks = footer.recordBatches().into_iter().chain(footer.dictionaries());
    for block in blocks.flatten() {
        let length = |length: i64| u64::try_from(length).ok();
        let place = length(block.offset())
            .zip(length(block.metaDataLength().into()))
            .zip(length(block.bodyLength()))
            .and_then(|((at, head), body)| {
                let body_at = at.checked_add(head)?;
                (body_at.checked_add(body)? <= bytes).then_some((at, body_at))
            });
        let (at, body_at) = place.ok_or("its footer names more than there is")?;
        check_message(file, at, body_at)?;
    }
    Ok(())
}

/// Whether the message at `at`, whose body begins at `body_at`, can be as long as it says without its
/// compression.
fn check_message(file: &File, at: u64, body_at: u64) -> Decoded<()> {
    let mut head = vec![0; usize::try_from(body_at - at).map_err(|error| error.to_string())?];
    file.read_exact_at(&mut head, at).map_err(|error| error.to_string())?;
    for packed in Packed::all_behind(&head) {
        let mut prefix = Prefix::default();
        // What stands behind the end of the file, the library refuses.
        if file.read_exact_at(&mut prefix, body_at.saturating_add(packed.at)).is_ok() {
            packed.check(prefix)?;
        }
    }
    Ok(())
}

fn read_stream(stream: Stream, reading: &mut Reading<'_, '_>) -> Result<u64> {
    let name = stream.name.clone();
    let origin = Origin::new(&name, "Arrow stream");
    let used = stream.counter();
    let (tracked, fault) = stream.tracked();
    let tail = Checked::new(Tail { reader: tracked, ended: false });
    let open = || StreamReader::try_new(tail, None).map_err(|error| error.to_string());
    let failed = |what: String, reading: &Reading<'_, '_>| match fault.take() {
        Some(error) => reading.with_problems(error),
        None => origin.failed(&what, reading),
    };
    let mut reader: StreamReader<Checked<Tail>> =
        guarded(open).map_err(|what| failed(what, reading))?;
    let schema = reader.schema();
    let next = || match reader.next() {
        Some(batch) => batch.map(Some).map_err(|error| error.to_string()),
        // What is cut off between two batches has none: the library then comes to the end of the
        // bytes, of which it does not ask for more once it has read a marker.
        None if reader.get_ref().get_ref().ended => {
            Err("it ends without its end marker".to_owned())
        }
        None => match reader.get_mut().get_mut().reader.is_at_end() {
            Ok(true) => Ok(None),
            Ok(false) => Err("there are more bytes behind its end".to_owned()),
            Err(error) => Err(error.to_string()),
        },
    };
    let read = read_batches(&origin, &schema, next, |_| (used(), used()), reading);
    read.map_err(|error| fault.take().map_or(error, |fault| reading.with_problems(fault)))?;
    Ok(used())
}

/// Knows whether more was asked for than there is. What the last bytes are says nothing: those of
/// a batch may look like the marker of the end.
struct Tail {
    reader: Tracked,
    ended: bool,
}

impl Read for Tail {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(out)?;
        self.ended |= count == 0 && !out.is_empty();
        Ok(count)
    }
}

fn read_batches(
    origin: &Origin<'_>,
    schema: &Schema,
    next: impl FnMut() -> Decoded<Option<RecordBatch>> + Send,
    used: impl Fn(u64) -> (u64, u64),
    reading: &mut Reading<'_, '_>,
) -> Result<()> {
    let (shape, columns, roots) = Columns::of(schema, origin, reading)?;
    let mut pieces = Pieces { next, roots, rest: None, ended: false };
    batches::read(origin, (&shape, &columns), || pieces.next(), Ok, used, reading)
}

/// The columns of batches that are used, some rows at a time.
struct Pieces<N> {
    next: N,
    roots: Vec<usize>,
    rest: Option<RecordBatch>,
    ended: bool,
}

impl<N: FnMut() -> Decoded<Option<RecordBatch>>> Pieces<N> {
    fn next(&mut self) -> Option<Decoded<RecordBatch>> {
        loop {
            if let Some(batch) = self.rest.take().filter(|batch| batch.num_rows() > 0) {
                let rows = batch.num_rows().min(PIECE_ROWS);
                self.rest = Some(batch.slice(rows, batch.num_rows() - rows));
                return Some(Ok(batch.slice(0, rows)));
            }
            if self.ended {
                return None;
            }
            let batch = guarded(|| {
                let Some(batch) = (self.next)()? else { return Ok(None) };
                batch.project(&self.roots).map(Some).map_err(|error| error.to_string())
            });
            match batch {
                Ok(Some(batch)) => self.rest = Some(batch),
                Ok(None) => self.ended = true,
                Err(what) => {
                    // Said once.
                    self.ended = true;
                    return Some(Err(what));
                }
            }
        }
    }
}

impl Columns {
    /// Those of a table of this schema that are used, and which of its columns they are.
    pub(super) fn of(
        schema: &Schema,
        origin: &Origin<'_>,
        reading: &Reading<'_, '_>,
    ) -> Result<(TableShape, Self, Vec<usize>)> {
        let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        let find = |names: &[String]| {
            let shape = TableShape::find(&reading.shape, names, origin.name);
            shape.map_err(|error| reading.with_problems(error))
        };
        let roots = find(&names)?.columns();
        let names: Vec<String> = roots.iter().map(|root| names[*root].clone()).collect();
        let leaves = Leaf::of_fields(roots.iter().map(|root| schema.field(*root)));
        Ok((find(&names)?, Self { names, leaves }, roots))
    }
}

#[cfg(test)]
#[path = "arrow_tests.rs"]
mod tests;
