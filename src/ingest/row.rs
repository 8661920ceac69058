//! What of a row becomes its key, its rank and its value.

use std::collections::HashSet;

use tidetable_storage::{MAX_VALUE_BYTES, quoted};

use super::cells::Scalar;
use super::error::{Fault, IngestError, Result, probably_meant};
use super::key;
use super::option_values::{Nan, OrderBy};
use super::options::RowOptions;
use super::rank;
use super::value::push_string;

/// One row, ready to be sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowRecord<'a> {
    /// 1 to 65,536 bytes.
    pub(crate) key: &'a [u8],
    /// Sorting by key, then rank, then order of arrival is what [`super::Gather`] expects.
    /// Empty without `--order-by`.
    pub(crate) rank: &'a [u8],
    /// Compact JSON, at most 16 MiB.
    pub(crate) value: &'a [u8],
}

/// The row options that say what of a row is used, checked.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) key: Vec<String>,
    pub(crate) separator: String,
    pub(crate) order_by: Vec<OrderBy>,
    pub(crate) pick: Pick,
    pub(crate) nan: Nan,
}

/// What of a row is its value.
#[derive(Clone, Debug)]
pub(crate) enum Pick {
    /// All of it, as an object.
    Whole,
    /// An object of these fields, in the order of the source.
    Fields(Vec<String>),
    /// This field alone.
    One(String),
}

impl Shape {
    pub(crate) fn of(options: &RowOptions) -> Self {
        let pick = match &options.value {
            Some(name) => Pick::One(name.clone()),
            None if options.fields.is_empty() => Pick::Whole,
            None => Pick::Fields(options.fields.clone()),
        };
        Self {
            key: options.key.clone(),
            separator: options.separator().to_owned(),
            order_by: options.order_by.clone(),
            pick,
            nan: options.nan,
        }
    }

    /// What a component of the key must not contain.
    fn forbidden(&self) -> Option<&str> {
        (self.key.len() > 1).then_some(&*self.separator)
    }
}

/// The parts of one record, reused from row to row.
#[derive(Debug, Default)]
pub(crate) struct RowBuffer {
    key: Vec<u8>,
    rank: Vec<u8>,
    pub(crate) value: String,
}

impl RowBuffer {
    pub(crate) fn clear(&mut self) {
        self.key.clear();
        self.rank.clear();
        self.value.clear();
    }

    /// Adds the field of `--key` that comes next; None: the row lacks it.
    pub(crate) fn push_key(
        &mut self,
        shape: &Shape,
        number: usize,
        value: Option<&Scalar<'_>>,
    ) -> std::result::Result<(), Fault> {
        let name = &shape.key[number];
        let value = value.ok_or_else(|| key::missing(name))?;
        if number > 0 {
            self.key.extend_from_slice(shape.separator.as_bytes());
        }
        let start = self.key.len();
        key::push_component(&mut self.key, name, value, shape.forbidden())?;
        if number + 1 < shape.key.len() {
            key::check_end(&self.key[start..], name, &shape.separator)?;
        }
        Ok(())
    }

    /// Adds the field of `--order-by` that comes next; None: the row lacks it, which is as
    /// good as null.
    pub(crate) fn push_rank(
        &mut self,
        shape: &Shape,
        number: usize,
        value: Option<&Scalar<'_>>,
    ) -> std::result::Result<(), Fault> {
        let order = &shape.order_by[number];
        let value = value.unwrap_or(&Scalar::Null);
        rank::push_rank(&mut self.rank, &order.field, value, order.descending, shape.nan)
    }

    /// The record, if its key, rank and value are within their limits. `value` is the value
    /// where it lies elsewhere than in this buffer.
    pub(crate) fn record<'a>(
        &'a self,
        shape: &Shape,
        value: Option<&'a str>,
    ) -> std::result::Result<RowRecord<'a>, Fault> {
        // Of several empty components there remain the separators, which are a key that
        // nobody would look for.
        let only_separators = self.key.len() == shape.separator.len() * (shape.key.len() - 1);
        key::check_whole(if only_separators { &[] } else { &self.key }, &shape.key)?;
        rank::check_whole(&self.rank)?;
        let value = value.unwrap_or(&self.value).as_bytes();
        if value.len() > MAX_VALUE_BYTES {
            return Err(Fault::too_large(format!(
                "its value has {} bytes; the most is {MAX_VALUE_BYTES}",
                value.len()
            )));
        }
        Ok(RowRecord { key: &self.key, rank: &self.rank, value })
    }
}

/// The rows of a source whose columns are known before its first row.
pub(crate) trait Row {
    /// The value of a column, for a key or an order.
    fn scalar(&self, column: usize) -> std::result::Result<Scalar<'_>, Fault>;
    /// Appends the value of a column as compact JSON.
    fn write(&self, column: usize, out: &mut String) -> std::result::Result<(), Fault>;
}

/// What parts the only column of a table, if the one that is looked for is a part of it.
fn probably_delimited(name: &str, names: &[String]) -> Option<String> {
    let [all] = names else { return None };
    let delimiters = [(';', ";"), ('\t', "\\t"), ('|', "|"), (',', ",")];
    let is_parted = |delimiter| all.split(delimiter).any(|part| part.trim() == name);
    let (_, written) = delimiters.into_iter().find(|(delimiter, _)| is_parted(*delimiter))?;
    Some(format!("; --delimiter '{written}' would make several of it"))
}

/// Which columns become key, rank and value.
#[derive(Clone, Debug)]
pub(crate) struct TableShape {
    shape: Shape,
    key: Vec<usize>,
    order_by: Vec<usize>,
    value: TableValue,
}

#[derive(Clone, Debug)]
enum TableValue {
    One(usize),
    /// Each column with what stands before its value: `{"a":`, then `,"b":` and so on.
    Object(Vec<(usize, String)>),
}

impl TableShape {
    /// Finds the columns in `names`, the columns of `source`. Fails with `bad_rows` if an
    /// option names one that is not there, or a name is there twice.
    pub(crate) fn find(shape: &Shape, names: &[String], source: &str) -> Result<Self> {
        // A header may have millions of names.
        let mut seen = HashSet::with_capacity(names.len());
        for name in names {
            if !seen.insert(name.as_str()) {
                return Err(bad_columns(format!(
                    "{source} has two columns named {}: which one is meant cannot be told",
                    quoted(name)
                )));
            }
        }
        let find = |flag: &str, name: &String| {
            names.iter().position(|known| known == name).ok_or_else(|| {
                // All columns in one are not what was meant by the name of one of them.
                let hint = probably_delimited(name, names);
                let hint = hint.unwrap_or_else(|| probably_meant(name, names));
                bad_columns(format!(
                    "{source} has no column {}, which {flag} names: its columns are {}{hint}",
                    quoted(name),
                    listed(names),
                ))
            })
        };
        let key = shape.key.iter().map(|name| find("--key", name)).collect::<Result<_>>()?;
        let order_by = shape.order_by.iter().map(|order| find("--order-by", &order.field));
        let order_by = order_by.collect::<Result<_>>()?;
        let value = match &shape.pick {
            Pick::One(name) => TableValue::One(find("--value", name)?),
            Pick::Whole => TableValue::Object(with_openings((0..names.len()).collect(), names)),
            Pick::Fields(fields) => {
                let columns = fields.iter().map(|name| find("--fields", name));
                let mut columns = columns.collect::<Result<Vec<_>>>()?;
                columns.sort_unstable();
                TableValue::Object(with_openings(columns, names))
            }
        };
        Ok(Self { shape: shape.clone(), key, order_by, value })
    }

    /// All columns that are used, in ascending order: the others need not be read.
    pub(crate) fn columns(&self) -> Vec<usize> {
        let mut columns = [self.key.as_slice(), &self.order_by].concat();
        match &self.value {
            TableValue::One(column) => columns.push(*column),
            TableValue::Object(fields) => columns.extend(fields.iter().map(|(column, _)| column)),
        }
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    /// Makes the record of one row.
    pub(crate) fn record<'a>(
        &self,
        row: &impl Row,
        buffer: &'a mut RowBuffer,
    ) -> std::result::Result<RowRecord<'a>, Fault> {
        buffer.clear();
        for (number, column) in self.key.iter().enumerate() {
            buffer.push_key(&self.shape, number, Some(&row.scalar(*column)?))?;
        }
        for (number, column) in self.order_by.iter().enumerate() {
            buffer.push_rank(&self.shape, number, Some(&row.scalar(*column)?))?;
        }
        match &self.value {
            TableValue::One(column) => row.write(*column, &mut buffer.value)?,
            TableValue::Object(fields) => {
                for (column, opening) in fields {
                    buffer.value.push_str(opening);
                    row.write(*column, &mut buffer.value)?;
                }
                buffer.value.push('}');
            }
        }
        buffer.record(&self.shape, None)
    }
}

fn with_openings(columns: Vec<usize>, names: &[String]) -> Vec<(usize, String)> {
    let opening = |(number, column): (usize, usize)| {
        let mut text = if number == 0 { "{" } else { "," }.to_owned();
        push_string(&mut text, &names[column]);
        text.push(':');
        (column, text)
    };
    columns.into_iter().enumerate().map(opening).collect()
}

fn bad_columns(detail: String) -> IngestError {
    let problems = vec![detail.clone()];
    IngestError { problems, ..IngestError::new(tidetable_storage::Code::BadRows, detail) }
}

/// Names as they may stand in a message.
fn listed(names: &[String]) -> String {
    const MOST: usize = 12;
    let mut all: Vec<String> = names.iter().take(MOST).map(|name| quoted(name)).collect();
    if names.len() > MOST {
        all.push(format!("… ({} in all)", names.len()));
    }
    all.join(", ")
}
