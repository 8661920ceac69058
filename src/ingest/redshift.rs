//! The text that Redshift's UNLOAD writes with ESCAPE: no header, `|` or another delimiter,
//! and a backslash before each delimiter, backslash, line feed and carriage return that
//! belongs to a cell.
//!
//! The character after a backslash stands for itself. `--null` is compared with a cell as
//! it is written, so that `--null '\N'` is told from the text `\N`, which is written `\\N`.
//! Quotes (ADDQUOTES) are not undone: UNLOAD's `FORMAT CSV` is read with `--format csv`.

use super::error::Result;
use super::lines::Lines;
use super::option_values::Delimiter;
use super::reading::Reading;
use super::table::{self, Split, Splitting};
use super::text_cells::Cells;

/// Reads all rows of a source; how many of its bytes were used.
pub(crate) fn read(lines: Lines, reading: &mut Reading<'_, '_>) -> Result<u64> {
    let delimiter = reading.options.delimiter.unwrap_or(Delimiter::PIPE).byte();
    table::read(lines, &Escaped { delimiter }, reading)
}

struct Escaped {
    delimiter: u8,
}

impl Split for Escaped {
    fn split(&self, line: &str, goes_on: bool, null: &[String], cells: &mut Cells) -> Splitting {
        let bytes = line.as_bytes();
        // Where the cell, and what of it is not yet copied, begin; a cell that began in an
        // earlier line is too odd to mean null.
        let (mut cell, mut from, mut whole) = (0, 0, !goes_on);
        let mut at = 0;
        let end = loop {
            match bytes.get(at) {
                None => break at,
                Some(b'\n') => break at,
                // Only its own escape keeps a carriage return out of the line's end.
                Some(b'\r') if matches!(&bytes[at + 1..], b"" | b"\n") => break at,
                Some(b'\\') => {
                    cells.push(&line[from..at]);
                    from = at + 1;
                    match bytes.get(from) {
                        None => return Splitting::GoesOn("it ends in a lone backslash"),
                        Some(b'\n') => {
                            cells.push("\n");
                            return Splitting::GoesOn("it ends in an escaped line end");
                        }
                        Some(_) => at += 2,
                    }
                }
                Some(byte) if *byte == self.delimiter => {
                    cells.push(&line[from..at]);
                    cells.end_cell(whole && null.iter().any(|null| *null == line[cell..at]));
                    at += 1;
                    (cell, from, whole) = (at, at, true);
                }
                Some(_) => at += 1,
            }
        };
        cells.push(&line[from..end]);
        cells.end_cell(whole && null.iter().any(|null| *null == line[cell..end]));
        Splitting::Done
    }
}

#[cfg(test)]
#[path = "redshift_tests.rs"]
mod tests;
