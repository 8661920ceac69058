//! Whole lines of a text source, many at a time.

use std::io::{ErrorKind, Read};

use super::error::{IngestError, Result};
use super::lines::MAX_ROW_BYTES;
use super::stream::Stream;

/// So many bytes are read at a time: two chunks and what becomes of them fit the cache that
/// a processor has for itself.
const CHUNK_BYTES: usize = 256 * 1024;

/// The lines of one source, in chunks.
pub(crate) struct Chunks {
    pub(crate) stream: Stream,
    /// The beginning of a line, whose end was not read yet.
    begun: Vec<u8>,
    /// Whether to be content with a single line: someone is waiting for it.
    eager: bool,
    started: bool,
    end: Option<IngestError>,
    ended: bool,
}

/// Some whole lines.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// The last line of a source may lack its end. Any other line that does is longer than
    /// a row may be, and nothing comes after it.
    pub(crate) bytes: Vec<u8>,
    /// How many bytes of the source, as it is stored, were used with it.
    pub(crate) consumed: u64,
}

impl Chunks {
    pub(crate) fn new(stream: Stream, eager: bool) -> Self {
        Self { stream, begun: Vec::new(), eager, started: false, end: None, ended: false }
    }

    /// The next lines. A byte-order mark at the very start is skipped. An error comes after
    /// all whole lines that could be read, and is the last thing to come.
    pub(crate) fn next(&mut self) -> Option<Result<Chunk>> {
        if let Some(error) = self.end.take() {
            return Some(Err(error));
        }
        while !self.ended {
            let bytes = self.read_lines();
            if !bytes.is_empty() {
                return Some(Ok(Chunk { bytes, consumed: self.stream.consumed() }));
            }
        }
        self.end.take().map(Err)
    }

    /// Whole lines; none only at the end.
    fn read_lines(&mut self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.begun.len() + CHUNK_BYTES);
        bytes.append(&mut self.begun);
        loop {
            let before = bytes.len();
            let enough = if self.eager { 1 } else { CHUNK_BYTES };
            if let Err(error) = self.fill(&mut bytes, enough) {
                // What stands behind the last whole line was cut off by the error.
                let whole = after_last_line(&bytes, 0).unwrap_or(0);
                bytes.truncate(whole);
                self.end = Some(error);
                self.ended = true;
            }
            if !self.started && bytes.starts_with(b"\xef\xbb\xbf") {
                bytes.drain(..3);
            }
            self.started = true;
            if self.ended {
                return bytes;
            }
            // What was there before has no line end.
            if let Some(end) = after_last_line(&bytes, before.min(bytes.len())) {
                self.begun.extend_from_slice(&bytes[end..]);
                bytes.truncate(end);
                return bytes;
            }
            if bytes.len() > MAX_ROW_BYTES {
                self.ended = true;
                return bytes;
            }
        }
    }

    /// Reads until there are `enough` more bytes, or the end.
    fn fill(&mut self, bytes: &mut Vec<u8>, enough: usize) -> Result<()> {
        let (mut at, most) = (bytes.len(), bytes.len() + CHUNK_BYTES);
        let enough = at + enough;
        bytes.resize(most, 0);
        while at < enough {
            match self.stream.reader.read(&mut bytes[at..]) {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(count) => at += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    bytes.truncate(at);
                    return Err(self.stream.failed(error));
                }
            }
        }
        bytes.truncate(at);
        Ok(())
    }
}

/// Where the last line that ends behind `from` ends.
fn after_last_line(bytes: &[u8], from: usize) -> Option<usize> {
    bytes[from..].iter().rposition(|byte| *byte == b'\n').map(|at| from + at + 1)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::ingest::growth::{Growth, GrowthLimits};
    use crate::ingest::source::Input;

    /// Gives `step` bytes at a time, and fails at the end if it is to.
    struct Slow {
        bytes: Vec<u8>,
        step: usize,
        fails: bool,
    }

    impl Read for Slow {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let count = self.step.min(self.bytes.len()).min(out.len());
            if count == 0 && self.fails {
                return Err(io::Error::from_raw_os_error(5));
            }
            out[..count].copy_from_slice(&self.bytes[..count]);
            self.bytes.drain(..count);
            Ok(count)
        }
    }

    fn chunks(slow: Slow, eager: bool) -> Vec<Result<Vec<u8>>> {
        let stream =
            Stream::open(Input::reader("it", slow), &Growth::new(GrowthLimits::default())).unwrap();
        let mut chunks = Chunks::new(stream, eager);
        std::iter::from_fn(|| chunks.next().map(|chunk| chunk.map(|chunk| chunk.bytes))).collect()
    }

    fn lines(count: usize) -> Vec<u8> {
        (0..count)
            .flat_map(|n| [n.to_string().repeat(n % 50).into_bytes(), b"\n".into()].concat())
            .collect()
    }

    #[test]
    fn chunks_are_whole_lines_and_all_of_them() {
        for (step, eager) in [(1 << 20, false), (70_000, false), (1_000, true), (1 << 20, true)] {
            for end in [&b""[..], b"no end"] {
                let text = [lines(6_000), end.to_vec()].concat();
                let slow = Slow { bytes: text.clone(), step, fails: false };
                let all: Vec<Vec<u8>> =
                    chunks(slow, eager).into_iter().map(std::result::Result::unwrap).collect();
                assert!(all.len() > 2, "{step}: {}", all.len());
                let (last, before) = all.split_last().unwrap();
                assert!(before.iter().all(|chunk| chunk.ends_with(b"\n")));
                assert!(last.ends_with(end) && all.concat() == text);
            }
        }
    }

    #[test]
    fn a_byte_order_mark_is_skipped_at_the_start_alone() {
        let slow =
            Slow { bytes: b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n".to_vec(), step: 2, fails: false };
        let all: Vec<Vec<u8>> =
            chunks(slow, true).into_iter().map(std::result::Result::unwrap).collect();
        assert_eq!(all.concat(), b"a\n\xef\xbb\xbfb\n");
        assert!(chunks(Slow { bytes: Vec::new(), step: 1, fails: false }, false).is_empty());
    }

    #[test]
    fn an_error_comes_after_the_whole_lines_before_it() {
        let text = lines(30_000);
        let slow = Slow { bytes: [&text[..], b"cut off"].concat(), step: 300_000, fails: true };
        let mut all = chunks(slow, false);
        assert_eq!(all.pop().unwrap().unwrap_err().code, tidetable_storage::Code::IoFailed);
        let all: Vec<Vec<u8>> = all.into_iter().map(std::result::Result::unwrap).collect();
        assert!(all.concat() == text);
    }

    #[test]
    fn a_line_that_does_not_end_is_the_last() {
        let text =
            [&lines(100)[..], &vec![b'x'; MAX_ROW_BYTES + 2 * CHUNK_BYTES], b"\nmore\n"].concat();
        let slow = Slow { bytes: text, step: 1 << 20, fails: false };
        let all: Vec<Vec<u8>> =
            chunks(slow, false).into_iter().map(std::result::Result::unwrap).collect();
        let last = all.last().unwrap();
        assert!(last.len() > MAX_ROW_BYTES && last.iter().all(|byte| *byte == b'x'));
    }
}
