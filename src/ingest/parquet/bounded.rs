//! A Parquet file as parquet-rs is given it: what has a form of its own is walked over first.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use crate::ingest::thrift::{self, FOOTER, PAGE_HEAD};

/// The file, as far as it goes: to read on behind its end is an error. parquet-rs passes over what a
/// page's head has beyond what it knows as if the bytes were there, and a list of 2³¹ items that
/// nobody wrote takes it minutes.
pub(super) struct Bounded(pub(super) File);

impl Length for Bounded {
    fn len(&self) -> u64 {
        self.0.len()
    }
}

impl ChunkReader for Bounded {
    type T = BoundedRead;

    fn get_read(&self, start: u64) -> Result<BoundedRead> {
        Ok(BoundedRead(self.0.get_read(start)?))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        self.0.get_bytes(start, length)
    }
}

/// What [`Bounded`] is read with.
pub(super) struct BoundedRead(BufReader<File>);

impl Read for BoundedRead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 if !buffer.is_empty() => Err(ErrorKind::UnexpectedEof.into()),
            count => Ok(count),
        }
    }
}

/// The file while its footer is read, without indexes of pages: all that is asked for as bytes is the
/// footer.
pub(super) struct Footer<'a> {
    pub(super) file: &'a Bounded,
    /// Set if it says of a column that it is encrypted.
    pub(super) has_encrypted: &'a AtomicBool,
}

impl Length for Footer<'_> {
    fn len(&self) -> u64 {
        self.file.len()
    }
}

impl ChunkReader for Footer<'_> {
    type T = BoundedRead;

    fn get_read(&self, start: u64) -> Result<BoundedRead> {
        self.file.get_read(start)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let bytes = self.file.get_bytes(start, length)?;
        let walked = thrift::walk(&bytes[..], &FOOTER);
        let walked = walked.map_err(|error| ParquetError::General(error.to_string()))?;
        self.has_encrypted.fetch_or(walked.has_encrypted, Relaxed);
        Ok(bytes)
    }
}

/// The file while its pages are read: all that is read rather than asked for as bytes is their heads.
pub(super) struct Pages(pub(super) Bounded);

impl Length for Pages {
    fn len(&self) -> u64 {
        self.0.len()
    }
}

impl ChunkReader for Pages {
    type T = HeadRead;

    fn get_read(&self, start: u64) -> Result<HeadRead> {
        Ok(HeadRead { read: self.0.get_read(start)?, is_walked: false })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        self.0.get_bytes(start, length)
    }
}

/// Reads the head of a page once it was walked over. parquet-rs also makes such a reader where a head
/// was read before, and reads nothing with it.
pub(super) struct HeadRead {
    read: BoundedRead,
    is_walked: bool,
}

impl Read for HeadRead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.is_walked {
            self.is_walked = true;
            let walked = thrift::walk(&mut self.read, &PAGE_HEAD)?;
            walked.check_dictionary()?;
            let bytes = i64::try_from(walked.bytes).map_err(io::Error::other)?;
            self.read.0.seek_relative(-bytes)?;
        }
        self.read.read(buffer)
    }
}
