//! One JSON array of objects, read element by element: none but those on their way are in memory.
//!
//! Each element becomes a line, and lines are read as those of NDJSON are, on several threads. Only
//! where an element ends is decided here; whether it is JSON at all, there. Line breaks between
//! tokens become spaces, which go anyway.

use std::io::{self, Read as _};

use tidetable_storage::build_threads;

use super::chunks::Chunk;
use super::error::{Fault, IngestError, Result};
use super::in_order::in_order;
use super::lines::MAX_ROW_BYTES;
use super::ndjson;
use super::reading::Reading;
use super::stream::Stream;

/// So many bytes are read at a time.
const BLOCK_BYTES: usize = 256 * 1024;

/// Reads all rows of a source; how many of its bytes were used.
pub(crate) fn read(stream: Stream, reading: &mut Reading<'_, '_>) -> Result<u64> {
    let name = stream.name.clone();
    let (shape, unseen) = (reading.shape.clone(), reading.unseen.clone());
    let mut elements = Elements::new(stream, reading.is_limited());
    let (mut before, mut used) = (0, 0);
    let work = |piece: Result<Piece>| {
        piece.map(|Piece { chunk, fault }| {
            let (mut rows, lines) = ndjson::rows_of(&chunk, &shape, &unseen);
            if let Some(fault) = fault.filter(|_| !rows.are_hopeless()) {
                rows.lose(lines + 1, fault);
            }
            (rows, lines)
        })
    };
    let read: Result<()> = in_order(
        build_threads(),
        reading.is_limited(),
        || elements.next(),
        work,
        |rows| {
            let (rows, lines) = rows.map_err(|error| reading.with_problems(error))?;
            used = rows.consumed;
            let more = reading.rows(rows, |row| format!("{name} row {}", before + row))?;
            before += lines;
            Ok(more)
        },
    );
    read.map(|()| used)
}

/// Some elements, a line each.
struct Piece {
    chunk: Chunk,
    /// Why nothing can be found behind them, if that is not the end.
    fault: Option<Fault>,
}

/// The elements of an array, some at a time.
struct Elements {
    stream: Stream,
    block: Vec<u8>,
    /// Whether to be content with a few: someone is waiting for them.
    eager: bool,
    state: State,
    /// The elements that are whole, and the one that has begun.
    lines: Vec<u8>,
    /// Where the one that has begun does so.
    begun: usize,
    ended: bool,
    error: Option<IngestError>,
}

/// Where in the array the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Start,
    /// Behind `[`.
    First,
    /// Behind a comma.
    Next,
    /// In an element: so many brackets are open.
    Within {
        depth: usize,
    },
    /// In a string of an element.
    Text {
        depth: usize,
        escaped: bool,
    },
    /// Behind an element.
    Behind,
    /// Behind `]`.
    End,
}

impl Elements {
    fn new(stream: Stream, eager: bool) -> Self {
        Self {
            stream,
            block: vec![0; BLOCK_BYTES],
            eager,
            state: State::Start,
            lines: Vec::new(),
            begun: 0,
            ended: false,
            error: None,
        }
    }

    /// The next elements. An error comes after all that could be read, and is the last to come.
    fn next(&mut self) -> Option<Result<Piece>> {
        let enough = if self.eager { 1 } else { BLOCK_BYTES };
        let mut fault = None;
        while !self.ended && fault.is_none() && self.begun < enough {
            fault = match self.stream.reader.read(&mut self.block) {
                Ok(0) => {
                    self.ended = true;
                    self.at_end()
                }
                Ok(count) => self.take(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => None,
                Err(error) => {
                    self.ended = true;
                    self.error = Some(self.stream.failed(error));
                    None
                }
            };
        }
        self.ended |= fault.is_some();
        if self.begun == 0 && fault.is_none() {
            return self.error.take().map(Err);
        }
        let rest = self.lines.split_off(self.begun);
        let bytes = std::mem::replace(&mut self.lines, rest);
        self.begun = 0;
        let chunk = Chunk { bytes, consumed: self.stream.consumed() };
        Some(Ok(Piece { chunk, fault }))
    }

    /// Takes the first `count` bytes of the block.
    fn take(&mut self, count: usize) -> Option<Fault> {
        let block = std::mem::take(&mut self.block);
        let fault = block[..count].iter().find_map(|byte| self.step(*byte).err());
        self.block = block;
        let long = self.lines.len() - self.begun > MAX_ROW_BYTES;
        fault
            .or_else(|| long.then(|| Fault::new(format!("it has more than {MAX_ROW_BYTES} bytes"))))
    }

    fn step(&mut self, byte: u8) -> std::result::Result<(), Fault> {
        let is_space = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        match self.state {
            State::Within { depth } => {
                let next = match byte {
                    b'"' => State::Text { depth, escaped: false },
                    b'{' | b'[' => State::Within { depth: depth + 1 },
                    b'}' | b']' if depth == 1 => State::Behind,
                    b'}' | b']' => State::Within { depth: depth - 1 },
                    _ => State::Within { depth },
                };
                self.lines.push(if matches!(byte, b'\r' | b'\n') { b' ' } else { byte });
                self.state = next;
                if next == State::Behind {
                    self.lines.push(b'\n');
                    self.begun = self.lines.len();
                }
            }
            State::Text { depth, escaped } => {
                if byte == b'\n' {
                    return Err(Fault::new("a line break in a string must be escaped"));
                }
                self.lines.push(byte);
                self.state = match byte {
                    b'"' if !escaped => State::Within { depth },
                    _ => State::Text { depth, escaped: byte == b'\\' && !escaped },
                };
            }
            _ if is_space => {}
            State::First | State::Next if byte == b'{' => {
                self.lines.push(byte);
                self.state = State::Within { depth: 1 };
            }
            State::First if byte == b']' => self.state = State::End,
            State::Behind if byte == b',' => self.state = State::Next,
            State::Behind if byte == b']' => self.state = State::End,
            // A byte-order mark, whose bytes begin nothing else.
            State::Start if matches!(byte, 0xef | 0xbb | 0xbf) => {}
            State::Start if byte == b'[' => self.state = State::First,
            other => return Err(other.expected(&format!("{:?}", char::from(byte)))),
        }
        Ok(())
    }

    fn at_end(&mut self) -> Option<Fault> {
        match self.state {
            // An empty source has no rows, as in every other format.
            State::Start | State::End => None,
            State::Within { .. } | State::Text { .. } => {
                self.lines.truncate(self.begun);
                Some(Fault::new("the array is cut off in the middle of it"))
            }
            other => Some(other.expected("the end")),
        }
    }
}

impl State {
    fn expected(self, found: &str) -> Fault {
        let expected = match self {
            Self::Start => "one array of objects, which begins with '['",
            Self::First => "an object or ']'",
            Self::Next => "an object after the comma",
            Self::Behind => "',' or ']' after the object before it",
            _ => "nothing behind the array",
        };
        Fault::new(format!("expected {expected}, found {found}"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidetable_storage::Code;

    use super::*;
    use crate::ingest::testing::{assert_fails, input, records};

    fn read_array(text: impl AsRef<[u8]>) -> Result<Vec<String>> {
        records(vec![input("x", text)], json!({"key": "k", "format": "json"}))
    }

    #[test]
    fn the_objects_of_an_array_are_rows_as_they_are_written() {
        let text = "\u{feff} [ {\"k\": 1.0e2,\r\n \"a\": [\"]}\\\"\", {\"b\": {}}]},\n{\"k\":\"\\\\\"}\n]\n";
        let error = read_array(text).unwrap_err();
        assert!(error.detail.contains("x row 1: ") && error.detail.contains("fraction"), "{error}");
        let rows = read_array(text.replace("1.0e2", "12")).unwrap();
        assert_eq!(rows, [r#"12={"k":12,"a":["]}\"",{"b":{}}]}"#, r#"\={"k":"\\"}"#]);
        // It is found out by its first bytes, whatever it is called.
        let options = json!({"key": "k"});
        assert_eq!(records(vec![input("x.json", "[{\"k\":1}]")], options).unwrap().len(), 1);
    }

    #[test]
    fn many_objects_come_in_order_whatever_their_size() {
        let object = |n: usize| format!("{{\"k\":{n},\n\"v\":\"{}\"}}", "x".repeat(n % 3_000));
        let text = format!("[{}]", (0..2_000).map(object).collect::<Vec<_>>().join("\n,"));
        let rows = read_array(text).unwrap();
        assert_eq!(rows.len(), 2_000);
        assert!(
            rows.iter()
                .enumerate()
                .all(|(n, row)| row.starts_with(&format!("{n}={{\"k\":{n},\"v\"")))
        );
    }

    #[test]
    fn what_is_no_array_of_objects_fails_where_it_ceases_to_be() {
        for (text, part) in [
            ("{\"k\":1}", "which begins with '['"),
            ("[{\"k\":1} {\"k\":2}]", "row 2: expected ',' or ']'"),
            ("[{\"k\":1},]", "row 2: expected an object after the comma"),
            ("[{\"k\":1},7]", "row 2: expected an object"),
            ("[[1]]", "expected an object or ']'"),
            ("[{\"k\":1},{\"k\":2", "row 2: the array is cut off"),
            ("[{\"k\":1}", "row 2: expected ',' or ']'"),
            ("[{\"k\":1},{\"k\":\"a", "cut off"),
            ("[", "expected an object or ']'"),
            ("[{\"k\":1}] []", "nothing behind the array"),
            ("[{\"k\":1]]", "row 1: expected ',' or '}'"),
            ("[{\"k\":\"a\nb\"}]", "a line break in a string"),
            ("[{\"k\":1},{\"a\":1}]", "row 2"),
        ] {
            let error = assert_fails(read_array(text), part);
            assert_eq!(error.code, Code::BadRows, "{text}");
        }
        for empty in ["", "[]", " [ ] "] {
            assert_eq!(read_array(empty).unwrap_err().code, Code::NoRows, "{empty}");
        }
    }

    #[test]
    fn an_object_without_end_is_not_kept_in_memory() {
        let text = [&b"[{\"k\":\""[..], &vec![b'x'; MAX_ROW_BYTES + 1], b"\"}]"].concat();
        assert_fails(read_array(text), "it has more than");
    }
}
