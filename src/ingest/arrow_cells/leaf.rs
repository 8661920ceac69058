//! Columns that have no columns within: what a leaf of the schema means, and its values.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Date64Type, Decimal32Type, Decimal64Type,
    Decimal128Type, Decimal256Type, Field, Float16Type, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use parquet::basic::{ConvertedType, LogicalType};
use parquet::schema::types::SchemaDescriptor;

use super::Cells;

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
            // As many as its values have; what a field says of its meaning it says of those.
            DataType::Dictionary(_, values) => {
                let values = Field::new(field.name(), values.as_ref().clone(), true)
                    .with_metadata(field.metadata().clone());
                Self::push_of(&values, leaves);
            }
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

pub(super) fn leaf_cells(array: &dyn Array, leaf: Leaf) -> Result<Cells<'_>, String> {
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
