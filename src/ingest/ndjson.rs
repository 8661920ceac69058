//! NDJSON: one JSON object per line.
//!
//! Blank lines are skipped. A line is checked and its fields found in one pass (see
//! [`super::json`]); no tree of it is made. Rows are named by the number of their line,
//! which is what editors and `sed -n 17p` understand.
//!
//! Lines are read in chunks, which several threads turn into records; records and faults
//! come in the order of the source all the same.

use tidetable_storage::{build_threads, quoted};

use super::cells::Scalar;
use super::chunks::{Chunk, Chunks};
use super::error::{Fault, Result};
use super::in_order::in_order;
use super::json::{self, Cuts, Field};
use super::lines::MAX_ROW_BYTES;
use super::option_values::Nan;
use super::reading::Reading;
use super::row::{Pick, RowBuffer, RowRecord, Shape};
use super::rows::{Rows, Unseen};
use super::stream::Stream;

/// Reads all rows of a source; how many of its bytes were used.
pub(crate) fn read(stream: Stream, reading: &mut Reading<'_, '_>) -> Result<u64> {
    let name = stream.name.clone();
    let (shape, unseen) = (reading.shape.clone(), reading.unseen.clone());
    let mut chunks = Chunks::new(stream, reading.is_limited());
    let (mut lines, mut used) = (0, 0);
    let work = |chunk: Result<Chunk>| chunk.map(|chunk| rows_of(&chunk, &shape, &unseen));
    let read: Result<()> = in_order(
        build_threads(),
        reading.is_limited(),
        || chunks.next(),
        work,
        |rows| {
            let (rows, its_lines) = rows.map_err(|error| reading.with_problems(error))?;
            used = rows.consumed;
            let more = reading.rows(rows, |line| format!("{name} line {}", lines + line))?;
            lines += its_lines;
            Ok(more)
        },
    );
    read.map(|()| used)
}

/// The rows of a chunk, named by the numbers of their lines in it, and how many lines it has.
pub(crate) fn rows_of(chunk: &Chunk, shape: &Shape, unseen: &Unseen) -> (Rows, u64) {
    // A row that is stored whole takes a little more than its text.
    let mut rows = Rows::with_capacity(chunk.bytes.len() / 8 * 9);
    rows.consumed = chunk.consumed;
    let mut unseen = unseen.clone();
    let (mut row, mut buffer) = (JsonRow::default(), RowBuffer::default());
    let mut lines = 0;
    for line in lines_of(&chunk.bytes) {
        lines += 1;
        if line.len() > MAX_ROW_BYTES {
            rows.lose(lines, Fault::new(format!("it has more than {MAX_ROW_BYTES} bytes")));
        } else if !line.trim_ascii().is_empty() {
            let record = text_of(line).and_then(|text| {
                row.scan(text, shape.nan)?;
                unseen.note(|field| row.find(text, field).is_some());
                row.record(text, shape, &mut buffer)
            });
            rows.push(lines, record);
        }
        if rows.are_hopeless() {
            break;
        }
    }
    rows.compact();
    rows.have_not(unseen);
    (rows, lines)
}

/// The lines with their ends. The search for those is a fifth of all parsing if it is made byte by
/// byte.
fn lines_of(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
        rest.split_off(..length).filter(|line| !line.is_empty())
    })
}

fn text_of(line: &[u8]) -> std::result::Result<&str, Fault> {
    std::str::from_utf8(line.trim_ascii_end()).map_err(|error| {
        Fault::new(format!("it is not UTF-8, at byte {}", error.valid_up_to() + 1))
    })
}

/// Where the fields of one row lie in its text; reused from line to line.
#[derive(Default)]
struct JsonRow {
    fields: Vec<Field>,
    cuts: Cuts,
}

impl JsonRow {
    fn scan(&mut self, text: &str, nan: Nan) -> std::result::Result<(), Fault> {
        self.fields.clear();
        self.cuts.clear();
        json::scan_object(text, nan, &mut self.cuts, &mut self.fields)
            .map_err(|fault| Fault::new(fault.what))
    }

    fn find(&self, text: &str, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name(text) == name)
    }

    fn scalar<'a>(
        &self,
        text: &'a str,
        name: &str,
    ) -> std::result::Result<Option<Scalar<'a>>, Fault> {
        let Some(field) = self.find(text, name) else { return Ok(None) };
        // Neither strings nor numbers have anything to leave out.
        let value = &text[field.value.clone()];
        if !self.cuts.spare(&field.value) && !value.starts_with(['{', '[']) {
            return Ok(Some(Scalar::Null));
        }
        Scalar::of_json(value).map(Some).ok_or_else(|| {
            Fault::new(format!(
                "the field {} holds half a surrogate pair, which is no text",
                quoted(name)
            ))
        })
    }

    fn record<'a>(
        &self,
        text: &'a str,
        shape: &Shape,
        buffer: &'a mut RowBuffer,
    ) -> std::result::Result<RowRecord<'a>, Fault> {
        buffer.clear();
        for (number, name) in shape.key.iter().enumerate() {
            buffer.push_key(shape, number, self.scalar(text, name)?.as_ref())?;
        }
        for (number, order) in shape.order_by.iter().enumerate() {
            buffer.push_rank(shape, number, self.scalar(text, &order.field)?.as_ref())?;
        }
        let value = match &shape.pick {
            Pick::Whole => 0..text.len(),
            Pick::Fields(names) => {
                self.push_fields(text, names, &mut buffer.value);
                return buffer.record(shape, None);
            }
            Pick::One(name) => {
                let lacks =
                    || Fault::new(format!("it lacks the field {} of --value", quoted(name)));
                self.find(text, name).ok_or_else(lacks)?.value.clone()
            }
        };
        if self.cuts.spare(&value) {
            return buffer.record(shape, Some(&text[value]));
        }
        self.cuts.copy(text, value, &mut buffer.value);
        buffer.record(shape, None)
    }

    /// Appends an object of those of `names` that the row has, in the row's order.
    fn push_fields(&self, text: &str, names: &[String], out: &mut String) {
        out.push('{');
        for field in &self.fields {
            if names.iter().any(|name| name == field.name(text)) {
                if out.len() > 1 {
                    out.push(',');
                }
                self.cuts.copy(text, field.whole.clone(), out);
            }
        }
        out.push('}');
    }
}

#[cfg(test)]
#[path = "ndjson_tests.rs"]
mod tests;
