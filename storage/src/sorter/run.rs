//! A sorted run on disk: records in order, in one LZ4 frame with checksums.
//!
//! A record is three lengths (u32, little-endian), then key, rank and value. Runs live no
//! longer than the process that made them, so nothing is synced and the format is free to
//! change.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

use super::order;
use crate::error::{Code, Error, Result};
use crate::names::{MAX_KEY_BYTES, MAX_VALUE_BYTES};

/// A complete run. Its file goes when it is dropped.
pub(super) struct Run {
    file: TemporaryFile,
    records: u64,
    bytes: u64,
}

impl Run {
    /// Its size on disk, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    #[cfg(test)]
    pub(super) fn path(&self) -> &Path {
        &self.file.0
    }
}

/// Removes its file when it is dropped.
struct TemporaryFile(PathBuf);

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        // What cannot be removed now is swept with the directory of the push.
        let _ = fs::remove_file(&self.0);
    }
}

/// Writes a run.
pub(super) struct RunWriter {
    encoder: FrameEncoder<File>,
    file: TemporaryFile,
    records: u64,
    last_key: Vec<u8>,
    last_rank: Vec<u8>,
}

impl RunWriter {
    pub(super) fn create(path: &Path) -> Result<Self> {
        let made = File::options().write(true).create_new(true).open(path);
        let made = made.map_err(|e| Error::io("make the sorted run", path, e))?;
        // Small independent blocks: each open run holds two of them in memory.
        let frame = FrameInfo::new()
            .block_size(BlockSize::Max64KB)
            .block_mode(BlockMode::Independent)
            .block_checksums(true)
            .content_checksum(true);
        Ok(Self {
            encoder: FrameEncoder::with_frame_info(frame, made),
            file: TemporaryFile(path.to_owned()),
            records: 0,
            last_key: Vec::new(),
            last_rank: Vec::new(),
        })
    }

    /// Adds a record; it must not come before the one added last.
    pub(super) fn write(&mut self, key: &[u8], rank: &[u8], value: &[u8]) -> Result<()> {
        debug_assert!(order(self.last(), (key, rank)).is_le(), "runs are sorted");
        let mut head = [0; 12];
        for (length, part) in head.chunks_exact_mut(4).zip([key, rank, value]) {
            length.copy_from_slice(&(part.len() as u32).to_le_bytes());
        }
        for bytes in [&head[..], key, rank, value] {
            let written = self.encoder.write_all(bytes);
            written.map_err(|e| Error::io("write the sorted run", &self.file.0, e))?;
        }
        self.records += 1;
        for (last, now) in [(&mut self.last_key, key), (&mut self.last_rank, rank)] {
            last.clear();
            last.extend_from_slice(now);
        }
        Ok(())
    }

    /// Key and rank of the record that was added last.
    pub(super) fn last(&self) -> (&[u8], &[u8]) {
        (&self.last_key, &self.last_rank)
    }

    pub(super) fn finish(self) -> Result<Run> {
        let Self { mut encoder, file, records, .. } = self;
        let ended = encoder.try_finish().map_err(io::Error::from);
        ended.map_err(|e| Error::io("complete the sorted run", &file.0, e))?;
        let size = encoder.get_ref().metadata();
        let bytes = size.map_err(|e| Error::io("read the size of the run", &file.0, e))?.len();
        Ok(Run { file, records, bytes })
    }
}

/// Reads a run: stands at one record, of which key and rank are in memory and the value
/// is not yet. So the memory for reading many runs does not depend on their values.
pub(super) struct RunReader {
    decoder: FrameDecoder<File>,
    run: Run,
    /// Records that were not begun yet.
    left: u64,
    pub(super) key: Vec<u8>,
    pub(super) rank: Vec<u8>,
    value_bytes: usize,
}

impl RunReader {
    /// Opens a run; [`RunReader::advance`] brings it to its first record.
    pub(super) fn open(run: Run) -> Result<Self> {
        let path = &run.file.0;
        let file = File::open(path).map_err(|e| Error::io("open the sorted run", path, e))?;
        let size = file.metadata().map_err(|e| Error::io("read the size of the run", path, e))?;
        if size.len() != run.bytes {
            return Err(damaged(path));
        }
        let left = run.records;
        let decoder = FrameDecoder::new(file);
        Ok(Self { decoder, run, left, key: Vec::new(), rank: Vec::new(), value_bytes: 0 })
    }

    /// Goes to the next record; `false` after the last. The value of the one before must
    /// have been read.
    pub(super) fn advance(&mut self) -> Result<bool> {
        if self.left == 0 {
            return self.end().map(|()| false);
        }
        self.left -= 1;
        let mut head = [0; 12];
        self.read(&mut head)?;
        let [key, rank, value] = [0, 4, 8].map(|at| {
            let four = head[at..at + 4].try_into().expect("a range of four bytes");
            u32::from_le_bytes(four) as usize
        });
        if key > MAX_KEY_BYTES || rank > MAX_KEY_BYTES || value > MAX_VALUE_BYTES {
            return Err(damaged(&self.run.file.0));
        }
        for (bytes, which) in [(key, 0), (rank, 1)] {
            let mut part = std::mem::take(if which == 0 { &mut self.key } else { &mut self.rank });
            part.resize(bytes, 0);
            self.read(&mut part)?;
            *(if which == 0 { &mut self.key } else { &mut self.rank }) = part;
        }
        self.value_bytes = value;
        Ok(true)
    }

    /// Reads the value of the record it stands at into `value`.
    pub(super) fn read_value(&mut self, value: &mut Vec<u8>) -> Result<()> {
        value.resize(self.value_bytes, 0);
        self.read(value)
    }

    /// The run ends here, and its checksum, which the decoder compares when it meets the
    /// end, is right.
    fn end(&mut self) -> Result<()> {
        match self.decoder.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(damaged(&self.run.file.0)),
            Err(e) => Err(unread(&self.run.file.0, e)),
        }
    }

    fn read(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.decoder.read_exact(bytes).map_err(|e| unread(&self.run.file.0, e))
    }
}

/// An error of the system's keeps its meaning; one of the decoder's means damage.
fn unread(path: &Path, error: io::Error) -> Error {
    if error.raw_os_error().is_some() {
        Error::io("read the sorted run", path, error)
    } else {
        damaged(path).because(error)
    }
}

fn damaged(path: &Path) -> Error {
    Error::new(
        Code::DataCorrupt,
        "a sorted run was damaged on disk while the version was built: check the disk, then push again",
    )
    .at(path)
}
