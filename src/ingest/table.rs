//! Rows of text cells: what CSV, TSV and Redshift's text share.
//!
//! A cell is a string unless `--types` says otherwise; a text that `--null` names is null
//! whatever its type. A cell that does not fit its type fails the row, as does a row with
//! more or fewer cells than there are columns. Blank lines are skipped. Only where there is one
//! column may a blank line be a row, of one empty cell: there it is one unless nothing follows it.

use tidetable_storage::quoted;

use super::error::{Fault, IngestError, Result, probably_meant};
use super::lines::{Line, Lines, MAX_ROW_BYTES};
use super::option_values::CellType;
use super::options::RowOptions;
use super::reading::Reading;
use super::row::{RowBuffer, TableShape};
use super::text_cells::{Cells, TextRow};

/// How a format splits its lines into cells.
pub(crate) trait Split {
    /// Adds the cells of `line`, which has its line end, to `cells`. `goes_on`: the line
    /// continues a row that the line before did not end. A text that is in `null` is null.
    fn split(&self, line: &str, goes_on: bool, null: &[String], cells: &mut Cells) -> Splitting;
}

/// What splitting a line came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Splitting {
    Done,
    /// The row goes on in the next line; what to say if there is none.
    GoesOn(&'static str),
    Fault(String),
}

/// Reads all rows of a source; how many of its bytes were used. The first row is the
/// header unless `--columns` names the columns.
pub(crate) fn read(lines: Lines, split: &impl Split, reading: &mut Reading<'_, '_>) -> Result<u64> {
    let options = reading.options;
    let mut rows = Rows::new(lines, split, &options.null);
    let columns = match options.columns.as_slice() {
        [] => match rows.header(reading)? {
            Some(columns) => columns,
            None => return Ok(rows.lines.stream.consumed()),
        },
        columns => columns.to_vec(),
    };
    let source = rows.lines.stream.name.clone();
    let shape = TableShape::find(&reading.shape, &columns, &source)
        .map_err(|error| reading.with_problems(error))?;
    let types = column_types(options, &columns, &source)?;
    rows.one_column = columns.len() == 1;
    let mut buffer = RowBuffer::default();
    while reading.wants_more() {
        let record = match rows.next().map_err(|error| reading.with_problems(error))? {
            Next::End => break,
            Next::Lost(fault) => return Err(reading.last_row(&rows.place(), &fault)),
            Next::Fault(fault) => Err(fault),
            Next::Row if rows.cells.len() != columns.len() => {
                Err(ragged(rows.cells.len(), columns.len()))
            }
            Next::Row => {
                let row = TextRow::new(&rows.cells, &columns, &types, options.nan);
                shape.record(&row, &mut buffer)
            }
        };
        reading.row(record, || rows.place(), rows.lines.stream.consumed())?;
    }
    Ok(rows.lines.stream.consumed())
}

/// The type of each column.
fn column_types(options: &RowOptions, columns: &[String], source: &str) -> Result<Vec<CellType>> {
    let mut types = vec![CellType::String; columns.len()];
    for typed in &options.types {
        let Some(column) = columns.iter().position(|name| *name == typed.name) else {
            return Err(IngestError::setting(format!(
                "{source} has no column {}, which --types names{}",
                quoted(&typed.name),
                probably_meant(&typed.name, columns)
            )));
        };
        types[column] = typed.cell;
    }
    Ok(types)
}

fn ragged(found: usize, expected: usize) -> Fault {
    let cells = if found == 1 { "cell" } else { "cells" };
    Fault::new(format!("it has {found} {cells}; expected {expected}, one for each column"))
}

/// One source, row by row.
struct Rows<'a, S> {
    lines: Lines,
    split: &'a S,
    null: &'a [String],
    line: Vec<u8>,
    cells: Cells,
    /// The number of the row read last, from 1; a header does not count.
    row: u64,
    /// The line in which it begins.
    first_line: u64,
    /// Whether a blank line is a row, if another row follows it.
    one_column: bool,
    /// How many such rows, before the line read last, were not given yet.
    blank: u64,
    /// What reading the line behind them came to, which is in `line`.
    held: Option<Line>,
}

/// What reading a row came to.
enum Next {
    /// Its cells are in `cells`.
    Row,
    /// It cannot be used; the next one can be found.
    Fault(Fault),
    /// It cannot be used, and where it ends is not known.
    Lost(Fault),
    End,
}

impl<'a, S: Split> Rows<'a, S> {
    fn new(lines: Lines, split: &'a S, null: &'a [String]) -> Self {
        let (line, cells) = (Vec::new(), Cells::default());
        Self {
            lines,
            split,
            null,
            line,
            cells,
            row: 0,
            first_line: 0,
            one_column: false,
            blank: 0,
            held: None,
        }
    }

    /// Where the row read last is.
    fn place(&self) -> String {
        let (name, row, line) = (&self.lines.stream.name, self.row, self.first_line);
        match row == line {
            true => format!("{name} row {row}"),
            false => format!("{name} row {row} (line {line})"),
        }
    }

    /// The names of the columns. None: the source is empty.
    fn header(&mut self, reading: &Reading<'_, '_>) -> Result<Option<Vec<String>>> {
        let next = self.next().map_err(|error| reading.with_problems(error))?;
        self.row = 0;
        let source = &self.lines.stream.name;
        let bad = |what: &str| {
            let detail = format!("{source}: {what}");
            let error = IngestError::new(tidetable_storage::Code::BadRows, detail.clone());
            Err(reading.with_problems(IngestError { problems: vec![detail], ..error }))
        };
        match next {
            Next::End => return Ok(None),
            Next::Fault(fault) | Next::Lost(fault) => {
                return bad(&format!("the header line cannot be used: {}", fault.what));
            }
            Next::Row => {}
        }
        let names = self.cells.texts();
        match names.iter().position(String::is_empty) {
            None => Ok(Some(names)),
            Some(column) => bad(&format!(
                "column {} has no name in the header line (pandas writes its index so: index=False \
                 leaves it out; without a header line, --columns names the columns)",
                column + 1
            )),
        }
    }

    /// The first of the blank lines that are rows, as its one empty cell.
    fn blank_row(&mut self) -> Next {
        self.row += 1;
        self.first_line = self.lines.number - self.blank;
        self.blank -= 1;
        self.split.split("\n", false, self.null, &mut self.cells);
        Next::Row
    }

    /// Reads the next row.
    fn next(&mut self) -> Result<Next> {
        let mut size = 0;
        let mut goes_on = None;
        let mut fault = None;
        self.cells.clear();
        loop {
            if self.held.is_some() && self.blank > 0 {
                return Ok(self.blank_row());
            }
            let line = match self.held.take() {
                Some(line) => line,
                None => self.lines.next(&mut self.line, MAX_ROW_BYTES - size)?,
            };
            if line == Line::End {
                return Ok(match goes_on {
                    None => Next::End,
                    Some(unfinished) => Next::Lost(Fault::new(unfinished)),
                });
            }
            if goes_on.is_none() {
                if matches!(&*self.line, b"\n" | b"\r\n") {
                    self.blank += u64::from(self.one_column);
                    continue;
                }
                if self.blank > 0 {
                    self.held = Some(line);
                    continue;
                }
                self.row += 1;
                self.first_line = self.lines.number;
            }
            if line == Line::TooLong {
                let why = goes_on.unwrap_or("it does not end");
                return Ok(Next::Lost(Fault::new(format!("{why} within {MAX_ROW_BYTES} bytes"))));
            }
            size += self.line.len();
            // A line that is no text is split all the same, to find where its row ends.
            let text = String::from_utf8_lossy(&self.line);
            if let Err(error) = std::str::from_utf8(&self.line) {
                let at = error.valid_up_to() + 1;
                fault =
                    Some(format!("it is not UTF-8, at byte {at} of line {}", self.lines.number));
            }
            match self.split.split(&text, goes_on.is_some(), self.null, &mut self.cells) {
                Splitting::GoesOn(unfinished) => goes_on = Some(unfinished),
                Splitting::Fault(what) => {
                    return Ok(Next::Fault(Fault::new(fault.unwrap_or(what))));
                }
                Splitting::Done => {
                    return Ok(fault.map_or(Next::Row, |what| Next::Fault(Fault::new(what))));
                }
            }
        }
    }
}
