//! How long the compressed buffers of an Arrow message say that they are.
//!
//! Each begins with its length without compression, and the library makes room for that before it
//! looks at what follows. A damaged length would end the process, so it is compared first with
//! what the compression can make of so few bytes.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::mem;

use arrow::ipc::{CompressionType, MessageHeader, RecordBatch, root_as_message};

use super::batches::Decoded;

/// What stands before the length of a message.
const CONTINUES: [u8; 4] = [0xff; 4];
/// The length that a compressed buffer begins with.
pub(super) type Prefix = [u8; PREFIX];
const PREFIX: usize = 8;
/// LZ4 makes of a byte 255 at most (its format of blocks).
const MOST_OF_LZ4: u64 = 255;
/// Zstandard makes of a block of 4 bytes 128 KiB at most (RFC 8878, 3.1.1.2).
const MOST_OF_ZSTD: u64 = (128 << 10) / 4;
/// What is no matter, however few bytes it is to come from.
const SMALL: u64 = 1 << 20;

/// A compressed buffer of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packed {
    /// Where it begins in the body of the message.
    pub(super) at: u64,
    bytes: u64,
    most_of_a_byte: u64,
}

impl Packed {
    /// Those of the message with this head: its length and its metadata.
    pub(super) fn all_behind(head: &[u8]) -> Vec<Self> {
        let head = head.strip_prefix(&CONTINUES).unwrap_or(head);
        head.get(4..).map_or_else(Vec::new, Self::all_of)
    }

    /// The compressed buffers of the message with this metadata, as they stand in its body. None if
    /// it is none that the library would read.
    fn all_of(metadata: &[u8]) -> Vec<Self> {
        let Ok(message) = root_as_message(metadata) else { return Vec::new() };
        let batch: Option<RecordBatch<'_>> = match message.header_type() {
            MessageHeader::RecordBatch => message.header_as_record_batch(),
            MessageHeader::DictionaryBatch => {
                message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data())
            }
            _ => None,
        };
        let packed = batch.and_then(|batch| Some((batch.compression()?.codec(), batch.buffers()?)));
        let Some((codec, buffers)) = packed else { return Vec::new() };
        let most_of_a_byte = match codec {
            CompressionType::LZ4_FRAME => MOST_OF_LZ4,
            _ => MOST_OF_ZSTD,
        };
        let number = |n: i64| u64::try_from(n).ok();
        let all = buffers.iter().filter_map(|buffer| {
            Some(Self {
                at: number(buffer.offset())?,
                bytes: number(buffer.length())?,
                most_of_a_byte,
            })
        });
        let mut all: Vec<_> = all.filter(|packed| packed.bytes >= PREFIX as u64).collect();
        all.sort_unstable_by_key(|packed| packed.at);
        all
    }

    /// Whether it may become what its first bytes say.
    pub(super) fn check(self, prefix: Prefix) -> Decoded<()> {
        // Minus one: what follows is not compressed. Other negative lengths the library refuses.
        let claimed = u64::try_from(i64::from_le_bytes(prefix)).unwrap_or(0);
        let most = (self.bytes - PREFIX as u64).saturating_mul(self.most_of_a_byte).max(SMALL);
        if claimed <= most {
            return Ok(());
        }
        Err(format!(
            "a compressed buffer of {} bytes says that it becomes {claimed}, which it cannot",
            self.bytes
        ))
    }
}

/// A stream of messages, whose compressed buffers are checked as they pass: an error where one cannot be
/// what it says.
pub(super) struct Checked<R> {
    reader: R,
    /// Of the head of a message: read, and not yet given on.
    ahead: VecDeque<u8>,
    body: Body,
}

/// What is to come of the body of a message.
#[derive(Default)]
struct Body {
    /// Bytes of it that have passed.
    passed: u64,
    left: u64,
    packed: VecDeque<Packed>,
    prefix: Vec<u8>,
}

impl<R: Read> Checked<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, ahead: VecDeque::new(), body: Body::default() }
    }

    pub(super) fn get_ref(&self) -> &R {
        &self.reader
    }

    pub(super) fn get_mut(&mut self) -> &mut R {
        &mut self.reader
    }

    /// Reads the head of the next message. What is none is given on as it is: the library says what is
    /// wrong with it.
    fn read_head(&mut self) -> io::Result<()> {
        let mut length = self.read_ahead(4)?;
        if length == CONTINUES {
            length = self.read_ahead(4)?;
        }
        let length = <[u8; 4]>::try_from(length).map_or(0, i32::from_le_bytes);
        let metadata = self.read_ahead(u64::try_from(length).unwrap_or(0))?;
        let bytes = root_as_message(&metadata).map_or(0, |message| message.bodyLength());
        self.body = Body {
            left: u64::try_from(bytes).unwrap_or(0),
            packed: Packed::all_of(&metadata).into(),
            ..Body::default()
        };
        Ok(())
    }

    fn read_ahead(&mut self, bytes: u64) -> io::Result<Vec<u8>> {
        // Grows with what there is, whatever the length says.
        let mut read = Vec::new();
        self.reader.by_ref().take(bytes).read_to_end(&mut read)?;
        self.ahead.extend(&read);
        Ok(read)
    }
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.ahead.is_empty() && self.body.left == 0 {
            self.read_head()?;
        }
        if !self.ahead.is_empty() {
            return self.ahead.read(out);
        }
        let most = usize::try_from(self.body.left).unwrap_or(usize::MAX).min(out.len());
        let count = self.reader.read(&mut out[..most])?;
        self.body
            .pass(&out[..count])
            .map_err(|what| io::Error::new(io::ErrorKind::InvalidData, what))?;
        Ok(count)
    }
}

impl Body {
    /// Looks at the next bytes of it.
    fn pass(&mut self, bytes: &[u8]) -> Decoded<()> {
        let (begin, end) = (self.passed, self.passed + bytes.len() as u64);
        self.passed = end;
        self.left = self.left.saturating_sub(bytes.len() as u64);
        while let Some(packed) = self.packed.front().copied() {
            let wanted = packed.at.saturating_add(self.prefix.len() as u64);
            if wanted >= end {
                break;
            }
            let from = wanted.checked_sub(begin).ok_or("its compressed buffers overlap")?;
            let from = usize::try_from(from).expect("less than the bytes of a slice");
            let missing = PREFIX - self.prefix.len();
            self.prefix.extend(bytes[from..].iter().take(missing));
            let Ok(prefix) = self.prefix[..].try_into() else { break };
            packed.check(prefix)?;
            mem::take(&mut self.prefix);
            self.packed.pop_front();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(at: u64, bytes: u64) -> Packed {
        Packed { at, bytes, most_of_a_byte: MOST_OF_LZ4 }
    }

    #[test]
    fn a_buffer_may_become_what_its_compression_can_make_of_it() {
        let check = |bytes, claimed: i64| packed(0, bytes).check(claimed.to_le_bytes());
        for (bytes, claimed) in
            [(8, 0), (8, -1), (8, 1 << 20), (1 << 20, 255 * ((1 << 20) - 8)), (9, i64::MIN)]
        {
            check(bytes, claimed).unwrap();
        }
        for (bytes, claimed) in
            [(8, (1 << 20) + 1), (1 << 20, 255 * ((1 << 20) - 8) + 1), (99, i64::MAX)]
        {
            assert!(check(bytes, claimed).unwrap_err().contains(&format!("{claimed}")));
        }
    }

    #[test]
    fn lengths_are_seen_however_the_bytes_come() {
        let bad = [vec![0; 20], i64::MAX.to_le_bytes().to_vec(), vec![0; 12]].concat();
        let body = || Body {
            left: bad.len() as u64,
            packed: [packed(0, 10), packed(20, 10)].into(),
            ..Body::default()
        };
        for step in 1..=bad.len() {
            let mut body = body();
            let seen: Vec<_> = bad.chunks(step).map(|chunk| body.pass(chunk)).collect();
            let first = seen.iter().position(Result::is_err);
            assert_eq!(first, Some(27 / step), "in pieces of {step}");
        }
        let good = [vec![0; 40]].concat();
        for step in 1..=good.len() {
            let mut body = body();
            good.chunks(step).for_each(|chunk| body.pass(chunk).unwrap());
            assert!(body.packed.is_empty() && body.left == 0);
        }
    }
}
