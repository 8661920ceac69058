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

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, GenericListArray, MapArray, StructArray, UnionArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Date64Type, Decimal32Type, Decimal64Type,
    Decimal128Type, Decimal256Type, Field, Float16Type, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type, UnionFields,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parquet::basic::{ConvertedType, LogicalType};
use parquet::schema::types::SchemaDescriptor;

use super::cells::Scalar;
use super::error::{Fault, shown, shown_bytes};
use super::json;
use super::option_values::Nan;
use super::row::Row;
use super::value::{
    date_text, push_decimal, push_float, push_integer, push_string, time_text, timestamp_text,
};

/// What Arrow's types do not say of a leaf of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaf {
    Plain,
    Json,
    Uuid,
    Enum,
}

impl Leaf {
    /// The leaves of the root columns `roots`, in order.
    pub(crate) fn of_schema(schema: &SchemaDescriptor, roots: &[usize]) -> Vec<Self> {
        let leaves = (0..schema.num_columns())
            .filter(|leaf| roots.contains(&schema.get_column_root_idx(*leaf)));
        let leaf = |leaf| {
            let column = schema.column(leaf);
            match (column.logical_type_ref(), column.converted_type()) {
                (Some(LogicalType::Uuid), _) => Self::Uuid,
                (Some(LogicalType::Json), _) | (None, ConvertedType::JSON) => Self::Json,
                (Some(LogicalType::Enum), _) | (None, ConvertedType::ENUM) => Self::Enum,
                _ => Self::Plain,
            }
        };
        leaves.map(leaf).collect()
    }

    /// The leaves of columns of Arrow's own, in the order in which their arrays are looked at.
    pub(crate) fn of_fields<'a>(fields: impl Iterator<Item = &'a Field>) -> Vec<Self> {
        let mut leaves = Vec::new();
        fields.for_each(|field| Self::push_of(field, &mut leaves));
        leaves
    }

    fn push_of(field: &Field, leaves: &mut Vec<Self>) {
        let of_map = |entries: &Field, leaves: &mut Vec<Self>| match entries.data_type() {
            DataType::Struct(fields) => fields.iter().for_each(|f| Self::push_of(f, leaves)),
            _ => leaves.push(Self::Plain),
        };
        match field.data_type() {
            DataType::Struct(fields) => fields.iter().for_each(|f| Self::push_of(f, leaves)),
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                Self::push_of(item, leaves);
            }
            DataType::Map(entries, _) => of_map(entries, leaves),
            DataType::Union(fields, _) => fields.iter().for_each(|(_, f)| Self::push_of(f, leaves)),
            kind => {
                let says = |key: &str| field.metadata().get(key).map(String::as_str);
                leaves.push(match (kind, says(EXTENSION), says("logicalType")) {
                    (DataType::FixedSizeBinary(16), Some("arrow.uuid"), _)
                    | (DataType::FixedSizeBinary(16), _, Some("uuid")) => Self::Uuid,
                    (_, Some("arrow.json"), _) => Self::Json,
                    _ => Self::Plain,
                });
            }
        }
    }
}

/// Where Arrow keeps what a type means beyond itself.
const EXTENSION: &str = "ARROW:extension:name";

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
                format!("the column {} has the type {kind}, which is not read", shown(name))
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
        Fault::new(format!("the column {} {what}", shown(&self.batch.names[column])))
    }
}

impl Row for BatchRow<'_, '_> {
    fn scalar(&self, column: usize) -> Result<Scalar<'_>, Fault> {
        let cells = &self.batch.columns[column];
        cells.scalar(self.row).map_err(|what| self.unfit(column, &what))
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

    fn scalar(&self, row: usize) -> Result<Scalar<'_>, String> {
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
                time(date_text(days), i128::from(days))?
            }
            Cells::Time(nanos) => time(time_text(nanos(row)), i128::from(nanos(row)))?,
            Cells::Timestamp(nanos) => time(timestamp_text(nanos(row)), nanos(row))?,
            Cells::Text(text, Leaf::Json) => {
                let mut compact = String::new();
                push_json(text(row), Nan::Fail, &mut compact)?;
                Scalar::of_json(&compact).ok_or_else(not_text)?.into_owned()
            }
            Cells::Text(text, _) => Scalar::Text(text(row).into()),
            Cells::Bytes(bytes, Leaf::Uuid) => Scalar::Text(uuid_text(bytes(row))?.into()),
            Cells::Bytes(bytes, Leaf::Enum) => Scalar::Text(enum_text(bytes(row))?.into()),
            Cells::Bytes(bytes, _) => Scalar::Bytes(bytes(row).into()),
            Cells::Struct(_) | Cells::List(..) | Cells::Map(..) => Scalar::Nested,
            Cells::Dictionary(place, values) => values.scalar(place(row))?,
            Cells::Union(place, columns) => {
                let (column, row) = place(row);
                columns.get(column).ok_or_else(not_in_union)?.scalar(row)?
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
                if let Scalar::Time { text, .. } = self.scalar(row)? {
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
                let range = range(row);
                out.push('{');
                for entry in range.clone() {
                    if entry > range.start {
                        out.push(',');
                    }
                    push_string(out, &keys.map_key(entry)?);
                    out.push(':');
                    values.write(entry, nan, out)?;
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
    fn map_key(&self, row: usize) -> Result<String, String> {
        Ok(match self.scalar(row)? {
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

fn leaf_cells(array: &dyn Array, leaf: Leaf) -> Result<Cells<'_>, String> {
    Ok(match array.data_type() {
        DataType::Null => Cells::Null,
        DataType::Boolean => Cells::Boolean(array.as_boolean()),
        DataType::Int8 => integer::<Int8Type>(array),
        DataType::Int16 => integer::<Int16Type>(array),
        DataType::Int32 => integer::<Int32Type>(array),
        DataType::Int64 => integer::<Int64Type>(array),
        DataType::UInt8 => integer::<UInt8Type>(array),
        DataType::UInt16 => integer::<UInt16Type>(array),
        DataType::UInt32 => integer::<UInt32Type>(array),
        DataType::UInt64 => integer::<UInt64Type>(array),
        DataType::Float16 => {
            let array = array.as_primitive::<Float16Type>();
            Cells::ShortFloat(Box::new(|row| array.value(row).to_f32()))
        }
        DataType::Float32 => {
            let array = array.as_primitive::<Float32Type>();
            Cells::ShortFloat(Box::new(|row| array.value(row)))
        }
        DataType::Float64 => {
            let array = array.as_primitive::<Float64Type>();
            Cells::Float(Box::new(|row| array.value(row)))
        }
        DataType::Decimal32(_, scale) => {
            let array = array.as_primitive::<Decimal32Type>();
            Cells::Decimal(Box::new(|row| array.value(row).to_string()), *scale)
        }
        DataType::Decimal64(_, scale) => {
            let array = array.as_primitive::<Decimal64Type>();
            Cells::Decimal(Box::new(|row| array.value(row).to_string()), *scale)
        }
        DataType::Decimal128(_, scale) => {
            let array = array.as_primitive::<Decimal128Type>();
            Cells::Decimal(Box::new(|row| array.value(row).to_string()), *scale)
        }
        DataType::Decimal256(_, scale) => {
            let array = array.as_primitive::<Decimal256Type>();
            Cells::Decimal(Box::new(|row| array.value(row).to_string()), *scale)
        }
        DataType::Date32 => {
            let array = array.as_primitive::<Date32Type>();
            Cells::Date(Box::new(|row| array.value(row)))
        }
        DataType::Date64 => {
            let array = array.as_primitive::<Date64Type>();
            let day = |row| array.value(row).div_euclid(86_400_000);
            // What does not fit is beyond all years, and told as that.
            Cells::Date(Box::new(move |row| i32::try_from(day(row)).unwrap_or(i32::MAX)))
        }
        DataType::Time32(TimeUnit::Second) => {
            let array = array.as_primitive::<Time32SecondType>();
            Cells::Time(Box::new(|row| i64::from(array.value(row)).saturating_mul(1_000_000_000)))
        }
        DataType::Time32(TimeUnit::Millisecond) => {
            let array = array.as_primitive::<Time32MillisecondType>();
            Cells::Time(Box::new(|row| i64::from(array.value(row)).saturating_mul(1_000_000)))
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            let array = array.as_primitive::<Time64MicrosecondType>();
            Cells::Time(Box::new(|row| array.value(row).saturating_mul(1_000)))
        }
        DataType::Time64(TimeUnit::Nanosecond) => {
            let array = array.as_primitive::<Time64NanosecondType>();
            Cells::Time(Box::new(|row| array.value(row)))
        }
        DataType::Timestamp(TimeUnit::Second, _) => {
            moment::<TimestampSecondType>(array, 1_000_000_000)
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            moment::<TimestampMillisecondType>(array, 1_000_000)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            moment::<TimestampMicrosecondType>(array, 1_000)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => moment::<TimestampNanosecondType>(array, 1),
        DataType::Utf8 => {
            let array = array.as_string::<i32>();
            Cells::Text(Box::new(|row| array.value(row)), leaf)
        }
        DataType::LargeUtf8 => {
            let array = array.as_string::<i64>();
            Cells::Text(Box::new(|row| array.value(row)), leaf)
        }
        DataType::Utf8View => {
            let array = array.as_string_view();
            Cells::Text(Box::new(|row| array.value(row)), leaf)
        }
        DataType::LargeBinary => {
            let array = array.as_binary::<i64>();
            Cells::Bytes(Box::new(|row| array.value(row)), leaf)
        }
        DataType::BinaryView => {
            let array = array.as_binary_view();
            Cells::Bytes(Box::new(|row| array.value(row)), leaf)
        }
        DataType::Binary => {
            let array = array.as_binary::<i32>();
            Cells::Bytes(Box::new(|row| array.value(row)), leaf)
        }
        DataType::FixedSizeBinary(_) => {
            let array = array.as_fixed_size_binary();
            Cells::Bytes(Box::new(|row| array.value(row)), leaf)
        }
        other => return Err(other.to_string()),
    })
}

fn integer<'a, T>(array: &'a dyn Array) -> Cells<'a>
where
    T: ArrowPrimitiveType,
    T::Native: Into<i128>,
{
    let array = array.as_primitive::<T>();
    Cells::Integer(Box::new(|row| array.value(row).into()))
}

fn moment<T>(array: &dyn Array, nanos: i128) -> Cells<'_>
where
    T: ArrowPrimitiveType<Native = i64>,
{
    let array = array.as_primitive::<T>();
    // An i64 times at most 10⁹ is far within an i128.
    Cells::Timestamp(Box::new(move |row| i128::from(array.value(row)) * nanos))
}

fn struct_cells<'a>(
    array: &'a StructArray,
    leaves: &mut dyn Iterator<Item = Leaf>,
) -> Result<Cells<'a>, String> {
    let mut fields = Vec::new();
    for (name, column) in array.column_names().into_iter().zip(array.columns()) {
        let mut opening = if fields.is_empty() { "{" } else { "," }.to_owned();
        push_string(&mut opening, name);
        opening.push(':');
        fields.push((opening, Column::of(column, leaves)?));
    }
    Ok(Cells::Struct(fields))
}

fn list_cells<'a, O: arrow::array::OffsetSizeTrait>(
    array: &'a GenericListArray<O>,
    leaves: &mut dyn Iterator<Item = Leaf>,
) -> Result<Cells<'a>, String> {
    let items = Column::of(array.values(), leaves)?;
    let offsets = array.value_offsets();
    let range = |row: usize| offsets[row].as_usize()..offsets[row + 1].as_usize();
    Ok(Cells::List(Box::new(range), Box::new(items)))
}

fn map_cells<'a>(
    array: &'a MapArray,
    leaves: &mut dyn Iterator<Item = Leaf>,
) -> Result<Cells<'a>, String> {
    let keys = Column::of(array.keys(), leaves)?;
    let values = Column::of(array.values(), leaves)?;
    let offsets = array.value_offsets();
    let index = |offset: i32| usize::try_from(offset).unwrap_or_default();
    let range = move |row: usize| index(offsets[row])..index(offsets[row + 1]);
    Ok(Cells::Map(Box::new(range), Box::new(keys), Box::new(values)))
}

fn union_cells<'a>(
    array: &'a UnionArray,
    fields: &UnionFields,
    leaves: &mut dyn Iterator<Item = Leaf>,
) -> Result<Cells<'a>, String> {
    let (mut columns, mut places) = (Vec::new(), [usize::MAX; 128]);
    for (id, _) in fields.iter() {
        places[usize::from(id.unsigned_abs()) % 128] = columns.len();
        columns.push(Column::of(array.child(id), leaves)?);
    }
    let place = move |row: usize| {
        let id = usize::from(array.type_id(row).unsigned_abs()) % 128;
        (places[id], array.value_offset(row))
    };
    Ok(Cells::Union(Box::new(place), columns))
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
    std::str::from_utf8(bytes).map_err(|_| format!("is not UTF-8: {}", shown_bytes(bytes)))
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
