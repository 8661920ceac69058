//! The bytes of one source, decompressed as they are read.
//!
//! gzip and zstd are recognised by their first bytes, whatever the name says; files of
//! several members or frames are read to their end. What is cut off, damaged, or grows
//! beyond reason when decompressed is an error that says where.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tidetable_storage::{Code, Error, EvenPoisoned as _, PartReader};

use super::error::{IngestError, Result};
use super::growth::{Bounded, Growth};
use super::source::{Input, Origin};
use crate::remote::RemoteError;

/// Enough to recognise a compression or a format, and to skip some white space.
const HEAD_BYTES: u64 = 512;
const BUFFER_BYTES: usize = 256 * 1024;

/// One opened source.
pub(crate) struct Stream {
    /// What messages call it.
    pub(crate) name: String,
    /// The first decompressed bytes; `reader` gives them again.
    pub(crate) head: Vec<u8>,
    /// The decompressed bytes.
    pub(crate) reader: Box<dyn BufRead + Send>,
    /// The file itself if it is a regular, uncompressed one: for formats that seek. It shares
    /// its position with `reader`: one may be used after the other.
    pub(crate) file: Option<File>,
    /// `reader` has to come to its end, or nothing of it is to be believed.
    pub(crate) is_part: bool,
    /// How many bytes of the source, as it is stored, were used.
    consumed: Arc<AtomicU64>,
    compression: Compression,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Stream {
    /// Opens a source; `growth` is what others of the same reading have come to. Fails with
    /// `io_failed`, or with `bad_rows` if it begins as something that is not read here (another
    /// compression, UTF-16).
    pub(crate) fn open(input: Input, growth: &Growth) -> Result<Self> {
        let (is_part, arrives) = (input.expected.is_some(), input.arrives());
        let name = input.name;
        let (raw, file): (Box<dyn Read + Send>, _) = match input.origin {
            Origin::Reader(reader) => (reader, None),
            Origin::Object(object) => (Box::new(object.open()), None),
            Origin::File(path) => {
                let (file, again) = open(&path)?;
                // Who seeks would take the end of what is there for the end.
                let again = again.filter(|_| !arrives);
                match input.expected {
                    None => (Box::new(file), again),
                    Some(expected) => (Box::new(PartReader::new(file, expected)), again),
                }
            }
        };
        let consumed = Arc::new(AtomicU64::new(0));
        let failed = |error, compression| {
            read_failed(&name, compression, consumed.load(Ordering::Relaxed), error)
        };
        let (head, raw) = peek(raw).map_err(|error| failed(error, Compression::None))?;
        let compression = compression_of(&head, &name)?;
        let counted = Counted {
            reader: BufReader::with_capacity(BUFFER_BYTES, raw),
            consumed: Arc::clone(&consumed),
            growth: growth.clone(),
        };
        if compression == Compression::None {
            return Ok(Self {
                name,
                head,
                reader: Box::new(counted),
                file,
                is_part,
                consumed,
                compression,
            });
        }
        let plain: Box<dyn Read + Send> = match compression {
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(counted)),
            _ => Box::new(
                zstd::stream::read::Decoder::with_buffer(counted)
                    .map_err(|error| failed(error, compression))?,
            ),
        };
        let (head, plain) = peek(Box::new(Bounded::new(plain, growth)))
            .map_err(|error| failed(error, compression))?;
        if compression_of(&head, &name)? != Compression::None {
            return Err(unreadable(format!(
                "{name} is compressed twice: only one layer is undone"
            )));
        }
        let reader = Box::new(BufReader::with_capacity(BUFFER_BYTES, plain));
        Ok(Self { name, head, reader, file: None, is_part, consumed, compression })
    }

    /// How many bytes of the source, as it is stored, were used so far.
    pub(crate) fn consumed(&self) -> u64 {
        self.consumed.load(Ordering::Relaxed)
    }

    /// The same for a library that makes errors of its own of ours, and a place where ours are.
    pub(crate) fn tracked(self) -> (Tracked, FirstFault) {
        let fault = FirstFault::default();
        (Tracked { stream: self, fault: fault.clone() }, fault)
    }

    /// Counts how many bytes of the source, as it is stored, were used.
    pub(crate) fn counter(&self) -> impl Fn() -> u64 + Send + use<> {
        let consumed = Arc::clone(&self.consumed);
        move || consumed.load(Ordering::Relaxed)
    }

    /// Says what a failed read means: `bad_rows` if the source is damaged, `io_failed` if
    /// the operating system failed.
    pub(crate) fn failed(&self, error: io::Error) -> IngestError {
        read_failed(&self.name, self.compression, self.consumed(), error)
    }
}

/// See [`Stream::tracked`].
pub(crate) struct Tracked {
    stream: Stream,
    fault: FirstFault,
}

/// Why a [`Tracked`] stream could not be read, once it could not.
#[derive(Clone, Default)]
pub(crate) struct FirstFault(Arc<Mutex<Option<IngestError>>>);

impl FirstFault {
    pub(crate) fn take(&self) -> Option<IngestError> {
        self.0.lock().even_poisoned().take()
    }
}

impl Tracked {
    fn note(&self, error: io::Error) -> io::Error {
        if error.kind() == io::ErrorKind::Interrupted {
            return error;
        }
        let told = io::Error::new(error.kind(), error.to_string());
        let failed = self.stream.failed(error);
        self.fault.0.lock().even_poisoned().get_or_insert(failed);
        told
    }

    /// Reads on to the end; whether there was anything left.
    pub(crate) fn is_at_end(&mut self) -> io::Result<bool> {
        // A part is what arrived only if its end was read.
        Ok(io::copy(self, &mut io::sink())? == 0)
    }
}

impl Read for Tracked {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.stream.reader.read(out).map_err(|error| self.note(error))
    }
}

impl BufRead for Tracked {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if let Err(error) = self.stream.reader.fill_buf() {
            return Err(self.note(error));
        }
        self.stream.reader.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.stream.reader.consume(count);
    }
}

/// The file, and once more if it is a regular one.
fn open(path: &Path) -> Result<(File, Option<File>)> {
    let opened = File::open(path).and_then(|file| {
        let again = if file.metadata()?.is_file() { file.try_clone().ok() } else { None };
        Ok((file, again))
    });
    Ok(opened.map_err(|e| Error::io("open a source", path, e))?)
}

fn read_failed(name: &str, compression: Compression, at: u64, error: io::Error) -> IngestError {
    if let Some(remote) = error.get_ref().and_then(|inner| inner.downcast_ref::<RemoteError>()) {
        return remote.clone().into();
    }
    if error.raw_os_error().is_some() || compression == Compression::None {
        return Error::io("read a source", name, error).into();
    }
    let what = match (compression, error.kind()) {
        (_, io::ErrorKind::QuotaExceeded) => {
            let too_much = unreadable(format!("{name}: {error}, near byte {at} of the file"));
            return IngestError { code: Code::DecompressionLimit, ..too_much };
        }
        (Compression::Gzip, io::ErrorKind::UnexpectedEof) => "the gzip data is cut off".to_owned(),
        (_, io::ErrorKind::UnexpectedEof) => "the zstd data is cut off".to_owned(),
        (Compression::Gzip, _) => format!("the gzip data is damaged ({error})"),
        (_, _) => format!("the zstd data is damaged ({error})"),
    };
    unreadable(format!("{name}: {what}, near byte {at} of the file"))
}

fn unreadable(detail: String) -> IngestError {
    IngestError { problems: vec![detail.clone()], ..IngestError::new(Code::BadRows, detail) }
}

/// Whether a source that begins with `head` is read as it is.
pub(crate) fn is_plain(head: &[u8], name: &str) -> bool {
    compression_of(head, name).is_ok_and(|compression| compression == Compression::None)
}

fn compression_of(head: &[u8], name: &str) -> Result<Compression> {
    let starts = |magic: &[u8]| head.starts_with(magic);
    // The second form is a frame to be skipped, with which parallel zstd tools begin.
    let skippable = head.len() >= 4 && head[0] & 0xf0 == 0x50 && head[1..4] == [0x2a, 0x4d, 0x18];
    if starts(&[0x1f, 0x8b]) {
        return Ok(Compression::Gzip);
    }
    if starts(&[0x28, 0xb5, 0x2f, 0xfd]) || skippable {
        return Ok(Compression::Zstd);
    }
    let other = [
        (&b"BZh"[..], "compressed with bzip2"),
        (b"\xfd7zXZ\0", "compressed with xz"),
        (b"PK\x03\x04", "a zip archive"),
        (b"\x04\x22\x4d\x18", "compressed with lz4"),
        (b"\xff\xfe", "written in UTF-16"),
        (b"\xfe\xff", "written in UTF-16"),
        (b"ORC", "an ORC file"),
    ];
    match other.iter().find(|(magic, _)| starts(magic)) {
        // Text may begin with the letters ORC or BZh; what follows then is text too.
        Some((_, what)) if !is_text(head) => Err(unreadable(format!(
            "{name} is {what}: expected UTF-8 text, Parquet, Avro or Arrow, plain or compressed \
                 with gzip or zstd"
        ))),
        _ => Ok(Compression::None),
    }
}

/// Whether bytes could be the beginning of UTF-8 text.
fn is_text(head: &[u8]) -> bool {
    let is_plain = |byte: &u8| *byte >= b' ' || matches!(byte, b'\t' | b'\r' | b'\n');
    // Cut in the middle of a character is no fault.
    let is_utf8 = std::str::from_utf8(head).map_or_else(|e| e.error_len().is_none(), |_| true);
    is_utf8 && head.iter().all(is_plain)
}

/// The first bytes, and a reader that gives them again.
fn peek(mut reader: Box<dyn Read + Send>) -> io::Result<(Vec<u8>, Box<dyn Read + Send>)> {
    let mut head = Vec::new();
    reader.by_ref().take(HEAD_BYTES).read_to_end(&mut head)?;
    Ok((head.clone(), Box::new(Cursor::new(head).chain(reader))))
}

/// Counts what is used of a reader, not what is read ahead.
struct Counted<R> {
    reader: BufReader<R>,
    consumed: Arc<AtomicU64>,
    growth: Growth,
}

impl<R> Counted<R> {
    fn count(&self, bytes: usize) {
        self.consumed.fetch_add(bytes as u64, Ordering::Relaxed);
        self.growth.used(bytes as u64);
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(out)?;
        self.count(count);
        Ok(count)
    }
}

impl<R: Read> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.count(count);
        self.reader.consume(count);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::growth::GrowthLimits;
    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zst(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 1).unwrap()
    }

    fn growth() -> Growth {
        Growth::new(GrowthLimits::default())
    }

    fn read(bytes: Vec<u8>) -> Result<Vec<u8>> {
        let mut stream = Stream::open(Input::reader("it", Cursor::new(bytes)), &growth())?;
        let mut out = Vec::new();
        match stream.reader.read_to_end(&mut out) {
            Ok(_) => Ok(out),
            Err(error) => Err(stream.failed(error)),
        }
    }

    /// Longer than any buffer, so that faults come late.
    fn long() -> Vec<u8> {
        (0..200_000u32)
            .flat_map(|n| (n.wrapping_mul(2_654_435_761)).to_string().into_bytes())
            .collect()
    }

    #[test]
    fn compression_is_recognised_and_undone_to_the_end() {
        let (a, b) = (long(), b"and more".to_vec());
        let both = [a.clone(), b.clone()].concat();
        for bytes in [
            both.clone(),
            gzip(&both),
            [gzip(&a), gzip(&b)].concat(),
            [gzip(&a), gzip(b""), gzip(&b)].concat(),
            zst(&both),
            [zst(&a), zst(b""), zst(&b)].concat(),
            [vec![0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9], zst(&both)].concat(),
        ] {
            assert!(read(bytes).unwrap() == both);
        }
        assert_eq!(read(Vec::new()).unwrap(), b"");
        assert_eq!(read(gzip(b"")).unwrap(), b"");
        let text = "ORCHIDÉE,1\n".as_bytes();
        assert_eq!(read(text.to_vec()).unwrap(), text, "text may begin like an ORC file");
    }

    #[test]
    fn damage_is_an_error_that_names_source_and_place() {
        let cut = |mut bytes: Vec<u8>, by: usize| {
            bytes.truncate(bytes.len() - by);
            bytes
        };
        let flipped = |mut bytes: Vec<u8>| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x10;
            bytes
        };
        for (bytes, part) in [
            (cut(gzip(&long()), 1), "the gzip data is cut off"),
            (cut(gzip(&long()), 9000), "the gzip data is cut off"),
            (cut(gzip(b"x"), 15), "the gzip data is cut off"),
            ([gzip(&long()), vec![0x1f]].concat(), "the gzip data is cut off"),
            ([gzip(&long()), b"rubbish behind".to_vec()].concat(), "the gzip data is damaged"),
            (flipped(gzip(&long())), "the gzip data is damaged"),
            (cut(zst(&long()), 1), "the zstd data is cut off"),
            (cut(zst(&long()), 9000), "the zstd data is cut off"),
            ([zst(&long()), b"rubbish behind".to_vec()].concat(), "the zstd data is damaged"),
            (gzip(&gzip(b"x")), "compressed twice"),
            (zst(&gzip(b"x")), "compressed twice"),
            (b"BZh9\x17\x72\x45\x38".to_vec(), "bzip2"),
            (b"\xff\xfea\0".to_vec(), "UTF-16"),
        ] {
            let error = read(bytes).unwrap_err();
            assert_eq!(error.code, Code::BadRows);
            assert!(error.detail.starts_with("it"), "{}", error.detail);
            assert!(error.detail.contains(part), "{part}: {}", error.detail);
        }
        let error = read(cut(gzip(&long()), 9)).unwrap_err();
        let place = format!("near byte {} of the file", gzip(&long()).len() - 9);
        assert!(error.detail.contains(&place), "{} ≠ {place}", error.detail);
    }

    /// 300 MiB of one byte in 10 kB.
    #[test]
    fn a_bomb_is_stopped_by_its_ratio() {
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        let block = vec![b' '; 1 << 20];
        for _ in 0..300 {
            encoder.write_all(&block).unwrap();
        }
        let bomb = encoder.finish().unwrap();
        let mut stream = Stream::open(Input::reader("bomb", Cursor::new(bomb)), &growth()).unwrap();
        let error = io::copy(&mut stream.reader, &mut io::sink()).unwrap_err();
        let error = stream.failed(error);
        assert_eq!(error.code, Code::DecompressionLimit);
        assert!(error.detail.contains("more than 200 times"), "{}", error.detail);
    }
}
