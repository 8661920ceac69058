//! Avro object container files.
//!
//! A file is a header, which says the schema, and blocks of rows. Blocks are found here: that each
//! ends where it says, with the mark of its file, and that the last one is whole. What stands in a
//! block is decoded by the library, several blocks at the same time; that it has as many rows as it
//! claims, no fewer and no more, is checked again.

use std::io::{self, BufRead, Cursor, Read};

use arrow::array::RecordBatch;
use arrow_avro::compression::CompressionCodec;
use arrow_avro::reader::{Reader, ReaderBuilder, read_header_info};
use serde_json::Value;
use tidetable_storage::quoted;

use super::avro_schema;
use super::batches::{self, Columns, Decoded, Origin, guarded, unreadable};
use super::error::Result;
use super::reading::Reading;
use super::stream::{Stream, Tracked};

/// Larger headers hold no schema that somebody wrote.
const MAX_HEADER_BYTES: usize = 16 << 20;
/// Writers make blocks of kilobytes, to a few megabytes.
const MAX_BLOCK_BYTES: u64 = 256 << 20;
const SYNC_BYTES: usize = 16;

/// Reads all rows of a source; how many of its bytes were used.
pub(crate) fn read(stream: Stream, reading: &mut Reading<'_, '_>) -> Result<u64> {
    let name = stream.name.clone();
    let origin = Origin::new(&name, "Avro");
    let used = stream.counter();
    let (mut tracked, fault) = stream.tracked();
    let header = match guarded(|| Header::read(&mut tracked)) {
        Ok(read) => read,
        Err(what) => {
            let failed = origin.failed(&what, reading);
            return Err(fault.take().map_or(failed, |fault| reading.with_problems(fault)));
        }
    };
    if let Some(what) = &header.not_read {
        return Err(unreadable(format!("{name}: {what}"), reading));
    }
    let decoder = guarded(|| header.decoder(1, &[]));
    let decoder = decoder.map_err(|what| origin.failed(&what, reading))?;
    let (shape, columns, roots) = Columns::of(&decoder.schema(), &origin, reading)?;
    let mut blocks = Blocks { reader: tracked, sync: header.sync, number: 0, ended: false };
    let decode = |block: Block| header.rows_of(&block, &roots);
    let next = || blocks.next();
    let read =
        batches::read(&origin, (&shape, &columns), next, decode, |_| (used(), used()), reading);
    read.map_err(|error| fault.take().map_or(error, |fault| reading.with_problems(fault)))?;
    Ok(used())
}

/// What a file begins with.
struct Header {
    /// As the library can read it.
    bytes: Vec<u8>,
    sync: [u8; SYNC_BYTES],
    /// What the file has that is not read, though it is sound.
    not_read: Option<String>,
}

/// Some rows, as they are stored.
struct Block {
    number: u64,
    rows: usize,
    data: Vec<u8>,
}

impl Header {
    fn read(reader: &mut Tracked) -> Decoded<Self> {
        let mut recorded = Recorded { reader, bytes: Vec::new() };
        let info = read_header_info(&mut recorded).map_err(|error| error.to_string())?;
        let text = info.writer_schema().map_err(|error| error.to_string())?.json_string;
        let mut header = Self { bytes: recorded.bytes, sync: info.sync(), not_read: None };
        // The library says what is wrong with a text that is no schema, and with other codecs.
        let Ok(mut schema) = serde_json::from_str::<Value>(&text) else { return Ok(header) };
        let codec = match info.compression() {
            Ok(None) => "null",
            Ok(Some(CompressionCodec::Deflate)) => "deflate",
            Ok(Some(CompressionCodec::Snappy)) => "snappy",
            Ok(Some(CompressionCodec::ZStandard)) => "zstandard",
            Ok(Some(CompressionCodec::Bzip2)) => return Ok(header.without("bzip2")),
            Ok(Some(CompressionCodec::Xz)) => return Ok(header.without("xz")),
            Err(_) => return Ok(header),
        };
        if avro_schema::split_names(&mut schema) {
            header.bytes = header_of(&schema.to_string(), codec, &header.sync);
        }
        header.not_read = avro_schema::refers_to_itself(&schema).map(|name| {
            format!("its schema has {} within itself, which is not read", quoted(name))
        });
        Ok(header)
    }

    fn without(self, codec: &str) -> Self {
        let what = format!(
            "its blocks are compressed with {codec}, which is not read: write it with null, deflate, \
             snappy or zstandard"
        );
        Self { not_read: Some(what), ..self }
    }

    /// A reader of this header and what follows it, in batches of `rows`.
    fn decoder(&self, rows: usize, blocks: &[u8]) -> Decoded<Reader<Cursor<Vec<u8>>>> {
        let file = Cursor::new([&self.bytes[..], blocks].concat());
        let builder = ReaderBuilder::new().with_batch_size(rows);
        builder.build(file).map_err(|error| error.to_string())
    }

    /// The rows of a block, of which those columns are used.
    fn rows_of(&self, block: &Block, roots: &[usize]) -> Decoded<RecordBatch> {
        let in_block = |what: String| format!("{what}, in block {}", block.number);
        let decode = || {
            // The library goes on and on where a block holds more than it claims: it is told of
            // more rows than there can be, and asked for those that are claimed.
            let mut bytes = Vec::with_capacity(block.data.len() + 40);
            push_long(&mut bytes, i64::from(i32::MAX));
            push_long(&mut bytes, i64::try_from(block.data.len()).unwrap_or(i64::MAX));
            bytes.extend_from_slice(&block.data);
            bytes.extend_from_slice(&self.sync);
            let mut decoder = self.decoder(block.rows, &bytes)?;
            let batch = decoder.next().transpose().map_err(|error| error.to_string())?;
            let there = batch.as_ref().map_or(0, RecordBatch::num_rows);
            let Some(batch) = batch.filter(|_| there == block.rows) else {
                return Err(format!("it has {there} rows and claims {}", block.rows));
            };
            match decoder.next() {
                None => batch.project(roots).map_err(|error| error.to_string()),
                Some(_) => Err(format!("it holds more than the {} rows it claims", block.rows)),
            }
        };
        guarded(decode).map_err(in_block)
    }
}

/// The blocks of a file.
struct Blocks {
    reader: Tracked,
    sync: [u8; SYNC_BYTES],
    number: u64,
    ended: bool,
}

impl Blocks {
    fn next(&mut self) -> Option<Decoded<Block>> {
        while !self.ended {
            match self.read() {
                Ok(Some(block)) if block.rows == 0 => {}
                Ok(Some(block)) => return Some(Ok(block)),
                Ok(None) => self.ended = true,
                Err(what) => {
                    self.ended = true;
                    return Some(Err(format!("{what}, in block {}", self.number)));
                }
            }
        }
        None
    }

    fn read(&mut self) -> Decoded<Option<Block>> {
        if self.reader.fill_buf().map_err(|error| error.to_string())?.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        let rows = self.long()?;
        let bytes = self.long()?;
        let count = usize::try_from(rows).ok().filter(|rows| *rows < MAX_ROWS);
        let rows = count.ok_or_else(|| format!("it claims {rows} rows"))?;
        let bytes = u64::try_from(bytes).ok().filter(|bytes| *bytes <= MAX_BLOCK_BYTES);
        let bytes = bytes.ok_or_else(|| format!("it claims more than {MAX_BLOCK_BYTES} bytes"))?;
        let mut data = Vec::new();
        let read = (&mut self.reader).take(bytes).read_to_end(&mut data);
        read.map_err(|error| error.to_string())?;
        if (data.len() as u64) < bytes {
            return Err("it is cut off".to_owned());
        }
        let mut sync = [0; SYNC_BYTES];
        self.reader.read_exact(&mut sync).map_err(|_| "it is cut off".to_owned())?;
        if sync != self.sync {
            return Err("it does not end with the mark of its file".to_owned());
        }
        Ok(Some(Block { number: self.number, rows, data }))
    }

    /// A number as Avro writes it.
    fn long(&mut self) -> Decoded<i64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let mut byte = [0];
            self.reader.read_exact(&mut byte).map_err(|_| "it is cut off".to_owned())?;
            number |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] & 0x80 == 0 {
                let half = i64::try_from(number >> 1).unwrap_or(i64::MAX);
                return Ok(if number & 1 == 0 { half } else { -1 - half });
            }
        }
        Err("it begins with a number of more than 64 bits".to_owned())
    }
}

/// Rows of a block: those that take no bytes have no keys.
const MAX_ROWS: usize = 64 << 20;

fn push_long(out: &mut Vec<u8>, number: i64) {
    let mut rest = (number.cast_unsigned() << 1) ^ (number >> 63).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn push_text(out: &mut Vec<u8>, text: &[u8]) {
    push_long(out, i64::try_from(text.len()).unwrap_or(i64::MAX));
    out.extend_from_slice(text);
}

/// The header of a file with this schema.
fn header_of(schema: &str, codec: &str, sync: &[u8; SYNC_BYTES]) -> Vec<u8> {
    let mut out = b"Obj\x01".to_vec();
    push_long(&mut out, 2);
    for text in ["avro.schema", schema, "avro.codec", codec] {
        push_text(&mut out, text.as_bytes());
    }
    push_long(&mut out, 0);
    out.extend_from_slice(sync);
    out
}

/// Keeps what is consumed.
struct Recorded<'a> {
    reader: &'a mut Tracked,
    bytes: Vec<u8>,
}

impl Read for Recorded<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let there = self.fill_buf()?;
        let count = there.len().min(out.len());
        out[..count].copy_from_slice(&there[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Recorded<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.bytes.len() > MAX_HEADER_BYTES {
            let text = format!("its header has more than {MAX_HEADER_BYTES} bytes");
            return Err(io::Error::other(text));
        }
        self.reader.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        if let Ok(there) = self.reader.fill_buf() {
            self.bytes.extend_from_slice(&there[..count.min(there.len())]);
        }
        self.reader.consume(count);
    }
}

#[cfg(test)]
#[path = "avro_tests.rs"]
mod tests;
