//! CSV and TSV: cells between delimiters, quoted where they need it.
//!
//! A quoted cell may hold delimiters, line ends and doubled quotes. What follows its
//! closing quote must be a delimiter or the line's end; a quote within an unquoted cell is
//! a character like any other. A quoted cell is never null: PostgreSQL and Spark write a
//! null without quotes, and the text that looks like it with them. Lines end in LF or CRLF.
//! TSV is the same with tabs: its quotes work as in CSV, which is how spreadsheets and pandas
//! write it.

use super::error::Result;
use super::format::Format;
use super::lines::Lines;
use super::option_values::Delimiter;
use super::reading::Reading;
use super::table::{self, Split, Splitting};
use super::text_cells::Cells;

/// Reads all rows of a source; how many of its bytes were used.
pub(crate) fn read(lines: Lines, format: Format, reading: &mut Reading<'_, '_>) -> Result<u64> {
    let usual = if format == Format::Tsv { Delimiter::TAB } else { Delimiter::COMMA };
    let delimiter = reading.options.delimiter.unwrap_or(usual).byte();
    table::read(lines, &Quoted { delimiter }, reading)
}

struct Quoted {
    delimiter: u8,
}

impl Split for Quoted {
    fn split(&self, line: &str, goes_on: bool, null: &[String], cells: &mut Cells) -> Splitting {
        let content = line.strip_suffix('\n').unwrap_or(line);
        let end = content.strip_suffix('\r').unwrap_or(content).len();
        let bytes = line.as_bytes();
        let (mut at, mut quoted) = (0, goes_on);
        loop {
            if !quoted && bytes[at..end].first() == Some(&b'"') {
                quoted = true;
                at += 1;
            }
            let was_quoted = quoted;
            if quoted {
                match quoted_length(&line[at..], cells) {
                    None => return Splitting::GoesOn("a quote that opens in it does not close"),
                    Some(length) => at += length,
                }
                if at < end && bytes[at] != self.delimiter {
                    let found = line[at..].chars().next().unwrap_or_default();
                    return Splitting::Fault(format!(
                        "after a closing quote in cell {}, a delimiter or the line's end is \
                         expected, found {found:?}",
                        cells.len() + 1
                    ));
                }
                quoted = false;
            } else {
                let is_end = |byte: &u8| *byte == self.delimiter || *byte == b'\r';
                let length = bytes[at..end].iter().position(is_end).unwrap_or(end - at);
                cells.push(&line[at..at + length]);
                at += length;
                if at < end && bytes[at] == b'\r' {
                    return Splitting::Fault(
                        "it has a carriage return outside quotes: lines must end in LF or CRLF"
                            .to_owned(),
                    );
                }
            }
            let is_null = !was_quoted && null.iter().any(|null| null == cells.unfinished());
            cells.end_cell(is_null);
            if at >= end {
                return Splitting::Done;
            }
            at += 1;
        }
    }
}

/// Adds the rest of a quoted cell to `cells`: how many bytes it takes with its closing
/// quote, or None if that is not in this line.
fn quoted_length(line: &str, cells: &mut Cells) -> Option<usize> {
    let mut at = 0;
    loop {
        let Some(length) = line[at..].find('"') else {
            cells.push(&line[at..]);
            return None;
        };
        cells.push(&line[at..at + length]);
        at += length + 1;
        if !line[at..].starts_with('"') {
            return Some(at);
        }
        cells.push("\"");
        at += 1;
    }
}

#[cfg(test)]
#[path = "csv_tests.rs"]
mod tests;
