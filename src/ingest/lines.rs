//! Lines of a text source, of bounded length.

use std::io::{BufRead, Read};

use super::error::Result;
use super::stream::Stream;

/// The most that one row may take in its source. Values are bounded far below that; this
/// is what a file without line ends may cost in memory.
pub(crate) const MAX_ROW_BYTES: usize = 64 * 1024 * 1024;

/// The lines of one source.
pub(crate) struct Lines {
    pub(crate) stream: Stream,
    /// The number of the line read last, from 1.
    pub(crate) number: u64,
}

/// What reading a line came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Read,
    /// There is no more.
    End,
    /// It is longer than it may be; it has its number.
    TooLong,
}

impl Lines {
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream, number: 0 }
    }

    /// Puts the next line, of at most `most` bytes, into `line`, with its line end unless
    /// it is the last. A byte-order mark at the very start is skipped.
    pub(crate) fn next(&mut self, line: &mut Vec<u8>, most: usize) -> Result<Line> {
        line.clear();
        let reader = &mut self.stream.reader;
        let read = reader.by_ref().take(most as u64 + 1).read_until(b'\n', line);
        let count = read.map_err(|error| self.stream.failed(error))?;
        if count == 0 {
            return Ok(Line::End);
        }
        self.number += 1;
        if count > most {
            return Ok(Line::TooLong);
        }
        if self.number == 1 && line.starts_with(b"\xef\xbb\xbf") {
            line.drain(..3);
        }
        Ok(Line::Read)
    }
}
