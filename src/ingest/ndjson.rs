//! NDJSON: one JSON object per line.
//!
//! Blank lines are skipped. A line is checked, compacted and its fields found in one pass
//! (see [`super::json`]); no tree of it is made. Rows are named by the number of their
//! line, which is what editors and `sed -n 17p` understand.

use super::cells::Scalar;
use super::error::{Fault, Result, shown};
use super::json::{self, Field};
use super::lines::{Line, Lines, MAX_ROW_BYTES};
use super::option_values::Nan;
use super::reading::Reading;
use super::row::{Pick, RowBuffer, RowRecord, Shape};

/// Reads all rows of a source; how many of its bytes were used.
pub(crate) fn read(mut lines: Lines, reading: &mut Reading<'_, '_>) -> Result<u64> {
    let shape = reading.shape.clone();
    let name = lines.stream.name.clone();
    let (mut bytes, mut row, mut buffer) = (Vec::new(), JsonRow::default(), RowBuffer::default());
    while reading.wants_more() {
        match lines.next(&mut bytes, MAX_ROW_BYTES).map_err(|error| reading.with_problems(error))? {
            Line::End => break,
            Line::Read => {}
            Line::TooLong => {
                let fault = Fault::new(format!("it has more than {MAX_ROW_BYTES} bytes"));
                return Err(reading.last_row(&format!("{name} line {}", lines.number), fault));
            }
        }
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        let parsed = row.parse(&bytes, shape.nan);
        if parsed.is_ok() && reading.unseen.any() {
            reading.unseen.note(|field| row.find(field).is_some());
        }
        let record = parsed.and_then(|()| row.record(&shape, &mut buffer));
        let place = || format!("{name} line {}", lines.number);
        reading.row(record, place, lines.stream.consumed())?;
    }
    Ok(lines.stream.consumed())
}

/// One row, reused from line to line.
#[derive(Default)]
struct JsonRow {
    compact: String,
    fields: Vec<Field>,
}

impl JsonRow {
    fn parse(&mut self, line: &[u8], nan: Nan) -> std::result::Result<(), Fault> {
        self.compact.clear();
        self.fields.clear();
        let text = std::str::from_utf8(line).map_err(|error| {
            Fault::new(format!("it is not UTF-8, at byte {}", error.valid_up_to() + 1))
        })?;
        json::compact_object(text, nan, &mut self.compact, &mut self.fields)
            .map_err(|fault| Fault::new(fault.what))
    }

    fn find(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name(&self.compact) == name)
    }

    fn scalar(&self, name: &str) -> std::result::Result<Option<Scalar<'_>>, Fault> {
        let Some(field) = self.find(name) else { return Ok(None) };
        Scalar::of_json(&self.compact[field.value.clone()]).map(Some).ok_or_else(|| {
            Fault::new(format!(
                "the field {} holds half a surrogate pair, which is no text",
                shown(name)
            ))
        })
    }

    fn record<'a>(
        &'a self,
        shape: &Shape,
        buffer: &'a mut RowBuffer,
    ) -> std::result::Result<RowRecord<'a>, Fault> {
        buffer.clear();
        for (number, name) in shape.key.iter().enumerate() {
            buffer.push_key(shape, number, self.scalar(name)?.as_ref())?;
        }
        for (number, order) in shape.order_by.iter().enumerate() {
            buffer.push_rank(shape, number, self.scalar(&order.field)?.as_ref())?;
        }
        match &shape.pick {
            Pick::Whole => buffer.record(shape, Some(&self.compact)),
            Pick::Fields(names) => {
                self.push_fields(names, &mut buffer.value);
                buffer.record(shape, None)
            }
            Pick::One(name) => {
                let lacks = || Fault::new(format!("it lacks the field {} of --value", shown(name)));
                let field = self.find(name).ok_or_else(lacks)?;
                buffer.record(shape, Some(&self.compact[field.value.clone()]))
            }
        }
    }

    /// Appends an object of those of `names` that the row has, in the row's order.
    fn push_fields(&self, names: &[String], out: &mut String) {
        out.push('{');
        for field in &self.fields {
            if names.iter().any(|name| name == field.name(&self.compact)) {
                if out.len() > 1 {
                    out.push(',');
                }
                out.push_str(&self.compact[field.whole.clone()]);
            }
        }
        out.push('}');
    }
}

#[cfg(test)]
#[path = "ndjson_tests.rs"]
mod tests;
