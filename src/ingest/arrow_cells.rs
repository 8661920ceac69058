//! The columns of one batch of Parquet, Arrow or Avro rows, and their values as JSON.
//!
//! | type | JSON |
//! |---|---|
//! | integers, signed or not, up to 64 bits | number, exact |
//! | decimal | number, exact, with the digits of its scale |
//! | float, double | number in the fewest digits that read back the same |
//! | timestamp of any unit, INT96 | RFC 3339 in UTC; one without a zone is taken as UTC |
//! | date, time | ISO text |
//! | string, enum, UUID | string |
//! | JSON | the JSON value, compacted |
//! | other bytes | base64 (standard alphabet, padded); as a key, the bytes themselves |
//! | struct, list, map | object, array, object with the keys as text |
//! | dictionary (Avro's enum), union | the value that is meant |
//! | null of any type | null |
//!
//! Types of Parquet come from the file's Parquet schema alone; a schema of another system that is
//! embedded in the file is not looked at. Those of Arrow are its own, with the extensions
//! `arrow.uuid` and `arrow.json`. Intervals, durations and views of lists are refused.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use tidetable_storage::{quoted, quoted_bytes};

use super::cells::Scalar;
use super::error::Fault;
use super::json;
use super::option_values::Nan;
use super::row::Row;
use super::value::{
    date_text, push_decimal, push_float, push_integer, push_string, time_text, timestamp_text,
};

mod leaf;
mod nested;

pub(crate) use leaf::Leaf;
use leaf::leaf_cells;
use nested::{list_cells, map_cells, struct_cells, union_cells};

/// The columns of a batch; which row is meant is told with each call.
pub(crate) struct Batch<'a> {
    columns: Vec<Column<'a>>,
    names: &'a [String],
    nan: Nan,
}

impl<'a> Batch<'a> {
    /// Fails if a column has a type that is not read.
    pub(crate) fn new(
        arrays: &'a [ArrayRef],
        names: &'a [String],
        leaves: &[Leaf],
        nan: Nan,
    ) -> Result<Self, String> {
        let mut leaves = leaves.iter().copied();
        let columns = arrays.iter().zip(names).map(|(array, name)| {
            Column::of(array, &mut leaves).map_err(|kind| {
                format!("the column {} has the type {kind}, which is not read", quoted(name))
            })
        });
        Ok(Self { columns: columns.collect::<Result<_, _>>()?, names, nan })
    }

    /// One row of the batch.
    pub(crate) fn row(&self, row: usize) -> BatchRow<'_, 'a> {
        BatchRow { batch: self, row }
    }
}

pub(crate) struct BatchRow<'r, 'a> {
    batch: &'r Batch<'a>,
    row: usize,
}

impl BatchRow<'_, '_> {
    fn unfit(&self, column: usize, what: &str) -> Fault {
        Fault::new(format!("the column {} {what}", quoted(&self.batch.names[column])))
    }
}

impl Row for BatchRow<'_, '_> {
    fn scalar(&self, column: usize) -> Result<Scalar<'_>, Fault> {
        let cells = &self.batch.columns[column];
        cells.scalar(self.row, self.batch.nan).map_err(|what| self.unfit(column, &what))
    }

    fn write(&self, column: usize, out: &mut String) -> Result<(), Fault> {
        let cells = &self.batch.columns[column];
        cells.write(self.row, self.batch.nan, out).map_err(|what| self.unfit(column, &what))
    }
}

/// A column, or a column within a column.
struct Column<'a> {
    nulls: Option<&'a NullBuffer>,
    cells: Cells<'a>,
}

/// What the instants of dates and of moments are both counted in.
const NANOS_A_DAY: i128 = 86_400_000_000_000;

/// Something of each row.
type At<'a, T> = Box<dyn Fn(usize) -> T + 'a>;

enum Cells<'a> {
    Null,
    Boolean(&'a BooleanArray),
    Integer(At<'a, i128>),
    /// Half and single precision.
    ShortFloat(At<'a, f32>),
    Float(At<'a, f64>),
    /// The unscaled text, and the scale.
    Decimal(At<'a, String>, i8),
    /// Days since 1970.
    Date(At<'a, i32>),
    /// Nanoseconds of the day.
    Time(At<'a, i64>),
    /// Nanoseconds since 1970.
    Timestamp(At<'a, i128>),
    Text(At<'a, &'a str>, Leaf),
    Bytes(At<'a, &'a [u8]>, Leaf),
    Struct(Vec<(String, Column<'a>)>),
    List(At<'a, std::ops::Range<usize>>, Box<Column<'a>>),
    Map(At<'a, std::ops::Range<usize>>, Box<Column<'a>>, Box<Column<'a>>),
    /// Where in the column of values the one of a row is.
    Dictionary(At<'a, usize>, Box<Column<'a>>),
    /// In which of the columns, and where in it.
    Union(At<'a, (usize, usize)>, Vec<Column<'a>>),
}

impl<'a> Column<'a> {
    /// The error is the name of a type that is not read.
    fn of(array: &'a dyn Array, leaves: &mut dyn Iterator<Item = Leaf>) -> Result<Self, String> {
        let cells = match array.data_type() {
            DataType::Struct(_) => struct_cells(array.as_struct(), leaves)?,
            DataType::List(_) => list_cells::<i32>(array.as_list(), leaves)?,
            DataType::LargeList(_) => list_cells::<i64>(array.as_list(), leaves)?,
            DataType::FixedSizeList(_, _) => {
                let array = array.as_fixed_size_list();
                let length = usize::try_from(array.value_length()).unwrap_or_default();
                let items = Self::of(array.values(), leaves)?;
                // A piece of an array has the items of that piece alone.
                let range = move |row: usize| row * length..(row + 1) * length;
                Cells::List(Box::new(range), Box::new(items))
            }
            DataType::Dictionary(_, _) => {
                let array = array.as_any_dictionary();
                let keys = Self::of(array.keys(), &mut std::iter::empty())?;
                let values = Self::of(array.values(), leaves)?;
                Cells::Dictionary(keys.index()?, Box::new(values))
            }
            DataType::Union(fields, _) => union_cells(array.as_union(), fields, leaves)?,
            DataType::Map(_, _) => map_cells(array.as_map(), leaves)?,
            _ => leaf_cells(array, leaves.next().unwrap_or(Leaf::Plain))?,
        };
        Ok(Self { nulls: array.nulls(), cells })
    }

    /// A column of whole numbers as places in another one.
    fn index(self) -> Result<At<'a, usize>, String> {
        match self.cells {
            Cells::Integer(key) => {
                Ok(Box::new(move |row| usize::try_from(key(row)).unwrap_or(usize::MAX)))
            }
            _ => Err("Dictionary without whole numbers for keys".to_owned()),
        }
    }

    fn is_null(&self, row: usize) -> bool {
        self.nulls.is_some_and(|nulls| nulls.is_null(row))
    }

    /// Within a JSON value NaN is what `nan` says; what it is as a float is left to whoever asks.
    fn scalar(&self, row: usize, nan: Nan) -> Result<Scalar<'_>, String> {
        if self.is_null(row) {
            return Ok(Scalar::Null);
        }
        let time = |text: Option<String>, instant: i128| {
            text.map(|text| Scalar::Time { text, instant }).ok_or_else(out_of_range)
        };
        Ok(match &self.cells {
            Cells::Null => Scalar::Null,
            Cells::Boolean(array) => Scalar::Boolean(array.value(row)),
            Cells::Integer(value) => Scalar::Number(value(row).to_string().into()),
            Cells::ShortFloat(value) => float_scalar(value(row)),
            Cells::Float(value) => float_scalar(value(row)),
            Cells::Decimal(unscaled, scale) => {
                let mut text = String::new();
                push_decimal(&mut text, &unscaled(row), *scale);
                Scalar::Number(text.into())
            }
            Cells::Date(days) => {
                let days = days(row);
                // A column may be of days in one part, and of moments in another.
                time(date_text(days), i128::from(days) * NANOS_A_DAY)?
            }
            Cells::Time(nanos) => time(time_text(nanos(row)), i128::from(nanos(row)))?,
            Cells::Timestamp(nanos) => time(timestamp_text(nanos(row)), nanos(row))?,
            Cells::Text(text, Leaf::Json) => {
                let mut compact = String::new();
                push_json(text(row), nan, &mut compact)?;
                Scalar::of_json(&compact).ok_or_else(not_text)?.into_owned()
            }
            Cells::Text(text, _) => Scalar::Text(text(row).into()),
            Cells::Bytes(bytes, Leaf::Uuid) => Scalar::Text(uuid_text(bytes(row))?.into()),
            Cells::Bytes(bytes, Leaf::Enum) => Scalar::Text(enum_text(bytes(row))?.into()),
            Cells::Bytes(bytes, _) => Scalar::Bytes(bytes(row).into()),
            Cells::Struct(_) | Cells::List(..) | Cells::Map(..) => Scalar::Nested,
            Cells::Dictionary(place, values) => values.scalar(place(row), nan)?,
            Cells::Union(place, columns) => {
                let (column, row) = place(row);
                columns.get(column).ok_or_else(not_in_union)?.scalar(row, nan)?
            }
        })
    }

    fn write(&self, row: usize, nan: Nan, out: &mut String) -> Result<(), String> {
        if self.is_null(row) {
            out.push_str("null");
            return Ok(());
        }
        match &self.cells {
            Cells::Null => out.push_str("null"),
            Cells::Boolean(array) => out.push_str(if array.value(row) { "true" } else { "false" }),
            Cells::Integer(value) => push_integer(out, value(row)),
            Cells::ShortFloat(value) => write_float(value(row), nan, out)?,
            Cells::Float(value) => write_float(value(row), nan, out)?,
            Cells::Decimal(unscaled, scale) => push_decimal(out, &unscaled(row), *scale),
            Cells::Date(_) | Cells::Time(_) | Cells::Timestamp(_) => {
                if let Scalar::Time { text, .. } = self.scalar(row, nan)? {
                    push_string(out, &text);
                }
            }
            Cells::Text(text, Leaf::Json) => push_json(text(row), nan, out)?,
            Cells::Text(text, _) => push_string(out, text(row)),
            Cells::Bytes(bytes, Leaf::Uuid) => push_string(out, &uuid_text(bytes(row))?),
            Cells::Bytes(bytes, Leaf::Enum) => push_string(out, enum_text(bytes(row))?),
            Cells::Bytes(bytes, _) => {
                out.push('"');
                STANDARD.encode_string(bytes(row), out);
                out.push('"');
            }
            Cells::Struct(fields) => {
                for (opening, column) in fields {
                    out.push_str(opening);
                    column.write(row, nan, out)?;
                }
                out.push_str(if fields.is_empty() { "{}" } else { "}" });
            }
            Cells::List(range, items) => {
                let range = range(row);
                out.push('[');
                for item in range.clone() {
                    if item > range.start {
                        out.push(',');
                    }
                    items.write(item, nan, out)?;
                }
                out.push(']');
            }
            Cells::Map(range, keys, values) => {
                let entries: Vec<_> = range(row)
                    .map(|entry| Ok((keys.map_key(entry, nan)?, entry)))
                    .collect::<Result<_, String>>()?;
                // Of a key that is there twice the last value counts (Parquet, "Maps").
                let last: HashMap<_, _> =
                    entries.iter().map(|(key, entry)| (key, *entry)).collect();
                out.push('{');
                let mut is_first = true;
                for (key, entry) in entries.iter().filter(|(key, entry)| last[key] == *entry) {
                    if !std::mem::take(&mut is_first) {
                        out.push(',');
                    }
                    push_string(out, key);
                    out.push(':');
                    values.write(*entry, nan, out)?;
                }
                out.push('}');
            }
            Cells::Dictionary(place, values) => values.write(place(row), nan, out)?,
            Cells::Union(place, columns) => {
                let (column, row) = place(row);
                columns.get(column).ok_or_else(not_in_union)?.write(row, nan, out)?;
            }
        }
        Ok(())
    }

    /// The key of a map as the name of a field.
    fn map_key(&self, row: usize, nan: Nan) -> Result<String, String> {
        Ok(match self.scalar(row, nan)? {
            Scalar::Text(text) | Scalar::Number(text) => text.into_owned(),
            Scalar::Boolean(boolean) => boolean.to_string(),
            Scalar::Time { text, .. } => text,
            Scalar::Bytes(bytes) => STANDARD.encode(bytes),
            Scalar::Null | Scalar::NotFinite | Scalar::Nested => {
                return Err("is a map with a key that is null, NaN or nested".to_owned());
            }
        })
    }
}

fn float_scalar<F: Copy + Into<f64> + serde::Serialize>(float: F) -> Scalar<'static> {
    let mut text = String::new();
    push_float(&mut text, float).map_or(Scalar::NotFinite, |()| Scalar::Number(text.into()))
}

fn write_float<F>(float: F, nan: Nan, out: &mut String) -> Result<(), String>
where
    F: Copy + Into<f64> + serde::Serialize,
{
    match (push_float(out, float), nan) {
        (Some(()), _) => {}
        (None, Nan::Null) => out.push_str("null"),
        (None, Nan::Fail) => {
            return Err("is not a finite number (--nan null makes it null)".to_owned());
        }
    }
    Ok(())
}

fn push_json(text: &str, nan: Nan, out: &mut String) -> Result<(), String> {
    json::compact_value(text, nan, out).map_err(|fault| format!("is no JSON: {}", fault.what))
}

fn uuid_text(bytes: &[u8]) -> Result<String, String> {
    let uuid = uuid::Uuid::from_slice(bytes);
    uuid.map(|uuid| uuid.to_string()).map_err(|_| "is no UUID: it has not 16 bytes".to_owned())
}

fn enum_text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| format!("is not UTF-8: {}", quoted_bytes(bytes)))
}

fn not_text() -> String {
    "holds half a surrogate pair, which is no text".to_owned()
}

fn not_in_union() -> String {
    "is of none of the types of its union".to_owned()
}

fn out_of_range() -> String {
    "is a date or time outside what RFC 3339 can write (years 0 to 9999)".to_owned()
}
