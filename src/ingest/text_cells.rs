//! The cells of one text row, and what their types make of them.

use tidetable_storage::quoted;

use super::cells::Scalar;
use super::error::Fault;
use super::json;
use super::option_values::{CellType, Nan};
use super::row::Row;
use super::value::push_string;

/// The cells of one row, reused from row to row.
#[derive(Debug, Default)]
pub(crate) struct Cells {
    text: String,
    ends: Vec<usize>,
    nulls: Vec<bool>,
}

impl Cells {
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
        self.nulls.clear();
    }

    /// Adds to the cell that is being written.
    pub(crate) fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// The text so far of the cell that is being written.
    pub(crate) fn unfinished(&self) -> &str {
        &self.text[self.ends.last().copied().unwrap_or(0)..]
    }

    /// Ends the cell that is being written.
    pub(crate) fn end_cell(&mut self, null: bool) {
        self.ends.push(self.text.len());
        self.nulls.push(null);
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The texts of all cells.
    pub(crate) fn texts(&self) -> Vec<String> {
        (0..self.len()).map(|column| self.get(column).to_owned()).collect()
    }

    fn get(&self, column: usize) -> &str {
        let start = if column == 0 { 0 } else { self.ends[column - 1] };
        &self.text[start..self.ends[column]]
    }
}

/// A row with as many cells as there are columns, seen through their types.
pub(crate) struct TextRow<'a> {
    cells: &'a Cells,
    columns: &'a [String],
    types: &'a [CellType],
    nan: Nan,
}

impl<'a> TextRow<'a> {
    pub(crate) fn new(
        cells: &'a Cells,
        columns: &'a [String],
        types: &'a [CellType],
        nan: Nan,
    ) -> Self {
        Self { cells, columns, types, nan }
    }

    fn unfit(&self, column: usize, expected: &str) -> Fault {
        let hint = match self.cells.get(column) {
            "" => " (--null '' makes empty cells without quotes null)",
            text if is_not_finite(text) => " (--nan null makes it null)",
            _ => "",
        };
        Fault::new(format!(
            "the column {} is {}: expected {expected}{hint}",
            quoted(&self.columns[column]),
            quoted(self.cells.get(column))
        ))
    }

    /// A number that JSON can write, or None for one that becomes null.
    fn number(&self, column: usize) -> Result<Option<&'a str>, Fault> {
        let text = self.cells.get(column);
        if json::is_number(text) {
            Ok(Some(text))
        } else if is_not_finite(text) && self.nan == Nan::Null {
            Ok(None)
        } else {
            Err(self.unfit(column, "a number as JSON writes it"))
        }
    }

    fn integer(&self, column: usize) -> Result<&'a str, Fault> {
        let text = self.cells.get(column);
        let fits = json::is_integer(text);
        fits.then_some(text).ok_or_else(|| self.unfit(column, "a whole number"))
    }

    fn boolean(&self, column: usize) -> Result<bool, Fault> {
        let text = self.cells.get(column);
        let is_one_of =
            |texts: [&str; 3]| texts.iter().any(|known| text.eq_ignore_ascii_case(known));
        if is_one_of(["true", "t", "1"]) {
            Ok(true)
        } else if is_one_of(["false", "f", "0"]) {
            Ok(false)
        } else {
            Err(self.unfit(column, "true or false (or t, f, 1, 0)"))
        }
    }

    fn json(&self, column: usize, out: &mut String) -> Result<(), Fault> {
        json::compact_value(self.cells.get(column), self.nan, out)
            .map_err(|fault| self.unfit(column, &format!("JSON: {}", fault.what)))
    }
}

impl Row for TextRow<'_> {
    fn scalar(&self, column: usize) -> Result<Scalar<'_>, Fault> {
        if self.cells.nulls[column] {
            return Ok(Scalar::Null);
        }
        Ok(match self.types[column] {
            CellType::String => Scalar::Text(self.cells.get(column).into()),
            CellType::Number => match self.number(column)? {
                Some(number) => Scalar::Number(number.into()),
                None => Scalar::NotFinite,
            },
            CellType::Integer => Scalar::Number(self.integer(column)?.into()),
            CellType::Boolean => Scalar::Boolean(self.boolean(column)?),
            CellType::Json => {
                let mut compact = String::new();
                self.json(column, &mut compact)?;
                let scalar = Scalar::of_json(&compact).map(Scalar::into_owned);
                scalar.ok_or_else(|| self.unfit(column, "text without half a surrogate pair"))?
            }
        })
    }

    fn write(&self, column: usize, out: &mut String) -> Result<(), Fault> {
        if self.cells.nulls[column] {
            out.push_str("null");
            return Ok(());
        }
        match self.types[column] {
            CellType::String => push_string(out, self.cells.get(column)),
            CellType::Number => out.push_str(self.number(column)?.unwrap_or("null")),
            CellType::Integer => out.push_str(self.integer(column)?),
            CellType::Boolean if self.boolean(column)? => out.push_str("true"),
            CellType::Boolean => out.push_str("false"),
            CellType::Json => self.json(column, out)?,
        }
        Ok(())
    }
}

/// Whether a cell is one of the ways in which jobs write NaN and infinities.
fn is_not_finite(text: &str) -> bool {
    let size = text.strip_prefix(['+', '-']).unwrap_or(text);
    ["nan", "inf", "infinity"].iter().any(|known| size.eq_ignore_ascii_case(known))
}
