//! A sorted run on disk: records in order, in blocks with checksums.
//!
//! A record is as in a [`RecordList`](crate::RecordList). 64 KiB of records, wherever they begin
//! and end, are a block:
//!
//! ```text
//! [length of what follows, u32] [its XXH3, seeded with the block's number, u64] [the records]
//! ```
//!
//! Runs live no longer than the process that made them, so nothing is synced and the format
//! is free to change. Whoever makes one says whether its blocks are compressed (LZ4).

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use lz4_flex::block::{
    CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size,
};
use twox_hash::XxHash3_64;

use super::order;
use crate::error::{Code, Error, Result};
use crate::names::MAX_KEY_BYTES;
use crate::packed::MAX_PACKED_BYTES;
use crate::record_list::{HEAD_BYTES, Record, head, lengths};
use crate::space::Room;

/// Length and checksum before each block.
const BLOCK_HEAD: usize = 4 + 8;
/// The payload of each block but the last.
const BLOCK_BYTES: usize = 64 * 1024;
/// What a block takes at most when it is compressed.
const MOST_STORED: usize = get_maximum_output_size(BLOCK_BYTES);
/// What writing or reading one run takes at most: a block as it is and as it is stored, the table of
/// the compressor, and the longest key and rank.
pub(super) const RUN_BYTES: usize =
    BLOCK_HEAD + BLOCK_BYTES + MOST_STORED + 2 * MAX_KEY_BYTES + 24 * 1024;

/// A complete run, in one file or several, of which each goes on where the one before ends. They
/// go when it is dropped.
pub(super) struct Run {
    files: VecDeque<RunFile>,
    last_key: Vec<u8>,
    last_rank: Vec<u8>,
}

impl Run {
    /// Its size on disk, in bytes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Its last record, without the value.
    pub(super) fn last(&self) -> Record<'_> {
        Record { key: &self.last_key, rank: &self.last_rank, value: &[] }
    }

    /// Goes on with `other`, which must not begin before this ends.
    pub(super) fn append(&mut self, mut other: Self) {
        self.files.append(&mut other.files);
        (self.last_key, self.last_rank) = (other.last_key, other.last_rank);
    }

    #[cfg(test)]
    pub(super) fn is_compressed(&self) -> bool {
        self.files[0].compressed
    }

    #[cfg(test)]
    pub(super) fn path(&self) -> &Path {
        &self.files[0].file.0
    }
}

struct RunFile {
    file: TemporaryFile,
    compressed: bool,
    records: u64,
    bytes: u64,
}

/// Removes its file when it is dropped.
struct TemporaryFile(PathBuf);

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        // What cannot be removed now is swept with the directory of the push.
        let _ = fs::remove_file(&self.0);
    }
}

/// Writes a run of one file.
pub(super) struct RunWriter {
    out: File,
    room: Room,
    file: TemporaryFile,
    compressed: bool,
    /// The block that is being filled.
    block: Vec<u8>,
    /// The one before, as it was stored.
    stored: Vec<u8>,
    table: CompressTable,
    blocks: u64,
    bytes: u64,
    records: u64,
    last_key: Vec<u8>,
    last_rank: Vec<u8>,
}

impl RunWriter {
    pub(super) fn create(path: PathBuf, compressed: bool) -> Result<Self> {
        let made = File::options().write(true).create_new(true).open(&path);
        let out = made.map_err(|e| Error::io("make the sorted run", &path, e))?;
        Ok(Self {
            out,
            room: Room::within(path.parent().unwrap_or(&path)),
            file: TemporaryFile(path),
            compressed,
            block: Vec::with_capacity(BLOCK_BYTES),
            stored: vec![0; BLOCK_HEAD + MOST_STORED],
            table: CompressTable::default(),
            blocks: 0,
            bytes: 0,
            records: 0,
            last_key: Vec::new(),
            last_rank: Vec::new(),
        })
    }

    /// Adds a record; it must not come before the one added last.
    pub(super) fn write(&mut self, record: Record<'_>) -> Result<()> {
        let last = Record { key: &self.last_key, rank: &self.last_rank, value: &[] };
        debug_assert!(order(last, record).is_le(), "runs are sorted");
        let Record { key, rank, value } = record;
        for bytes in [&head(record)[..], key, rank, value] {
            self.put(bytes)?;
        }
        self.records += 1;
        for (last, now) in [(&mut self.last_key, key), (&mut self.last_rank, rank)] {
            last.clear();
            last.extend_from_slice(now);
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Run> {
        if !self.block.is_empty() {
            self.end_block()?;
        }
        let Self { file, compressed, records, bytes, last_key, last_rank, .. } = self;
        let files = [RunFile { file, compressed, records, bytes }].into();
        Ok(Run { files, last_key, last_rank })
    }

    fn put(&mut self, mut bytes: &[u8]) -> Result<()> {
        loop {
            let room = BLOCK_BYTES - self.block.len();
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.block.extend_from_slice(now);
            if later.is_empty() {
                return Ok(());
            }
            self.end_block()?;
            bytes = later;
        }
    }

    fn end_block(&mut self) -> Result<()> {
        let (head, payload) = self.stored.split_at_mut(BLOCK_HEAD);
        let length = if self.compressed {
            let length = compress_into_with_table(&self.block, payload, &mut self.table);
            length.expect("there is room for the worst case")
        } else {
            payload[..self.block.len()].copy_from_slice(&self.block);
            self.block.len()
        };
        head.copy_from_slice(&Head::of(self.blocks, &payload[..length]).bytes());
        let stored = &self.stored[..BLOCK_HEAD + length];
        self.room.take(stored.len() as u64)?;
        let written = self.out.write_all(stored);
        written.map_err(|e| Error::io("write the sorted run", &self.file.0, e))?;
        self.blocks += 1;
        self.bytes += stored.len() as u64;
        self.block.clear();
        Ok(())
    }
}

/// What stands before a block.
struct Head {
    length: u32,
    checksum: u64,
}

impl Head {
    fn of(block: u64, stored: &[u8]) -> Self {
        let length = u32::try_from(stored.len()).expect("a block is short");
        Self { length, checksum: XxHash3_64::oneshot_with_seed(block, stored) }
    }

    fn bytes(&self) -> [u8; BLOCK_HEAD] {
        let mut bytes = [0; BLOCK_HEAD];
        bytes[..4].copy_from_slice(&self.length.to_le_bytes());
        bytes[4..].copy_from_slice(&self.checksum.to_le_bytes());
        bytes
    }
}

/// Reads a run: stands at one record, of which key and rank are in memory and the value
/// is not yet. So the memory for reading many runs does not depend on their values.
pub(super) struct RunReader {
    open: File,
    file: RunFile,
    /// What follows this file.
    later: VecDeque<RunFile>,
    /// Bytes of the file that were not read yet.
    ahead: u64,
    /// The block that is being used.
    block: Vec<u8>,
    /// The same as it is stored.
    stored: Vec<u8>,
    /// How much of it was used.
    at: usize,
    blocks: u64,
    /// Records that were not begun yet.
    left: u64,
    pub(super) key: Vec<u8>,
    pub(super) rank: Vec<u8>,
    value_bytes: usize,
}

impl RunReader {
    /// Opens a run; [`RunReader::advance`] brings it to its first record.
    pub(super) fn open(run: Run) -> Result<Self> {
        let mut files = run.files;
        let first = files.pop_front().expect("a run has a file");
        Self::open_file(first, files)
    }

    fn open_file(file: RunFile, later: VecDeque<RunFile>) -> Result<Self> {
        let path = &file.file.0;
        let open = File::open(path).map_err(|e| Error::io("open the sorted run", path, e))?;
        let size = open.metadata().map_err(|e| Error::io("read the size of the run", path, e))?;
        if size.len() != file.bytes {
            return Err(damaged(path));
        }
        let (ahead, left) = (file.bytes, file.records);
        let (block, stored, key, rank) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Ok(Self {
            open,
            file,
            later,
            ahead,
            block,
            stored,
            at: 0,
            blocks: 0,
            left,
            key,
            rank,
            value_bytes: 0,
        })
    }

    /// Goes to the next record; `false` after the last. The value of the one before must
    /// have been read.
    pub(super) fn advance(&mut self) -> Result<bool> {
        while self.left == 0 {
            self.end()?;
            let Some(next) = self.later.pop_front() else { return Ok(false) };
            *self = Self::open_file(next, std::mem::take(&mut self.later))?;
        }
        self.left -= 1;
        let mut head = [0; HEAD_BYTES];
        self.read(&mut head)?;
        let [key, rank, value] = lengths(&head);
        if key > MAX_KEY_BYTES || rank > MAX_KEY_BYTES || value > MAX_PACKED_BYTES {
            return Err(damaged(&self.file.file.0));
        }
        let (mut its_key, mut its_rank) =
            (std::mem::take(&mut self.key), std::mem::take(&mut self.rank));
        its_key.resize(key, 0);
        its_rank.resize(rank, 0);
        self.read(&mut its_key)?;
        self.read(&mut its_rank)?;
        (self.key, self.rank, self.value_bytes) = (its_key, its_rank, value);
        Ok(true)
    }

    /// The record it stands at, without its value.
    pub(super) fn record(&self) -> Record<'_> {
        Record { key: &self.key, rank: &self.rank, value: &[] }
    }

    /// Reads the value of the record it stands at into `value`.
    pub(super) fn read_value(&mut self, value: &mut Vec<u8>) -> Result<()> {
        value.resize(self.value_bytes, 0);
        self.read(value)
    }

    /// Nothing follows the last record of the file.
    fn end(&mut self) -> Result<()> {
        if self.at == self.block.len() && self.ahead == 0 {
            return Ok(());
        }
        Err(damaged(&self.file.file.0))
    }

    fn read(&mut self, mut bytes: &mut [u8]) -> Result<()> {
        loop {
            let here = &self.block[self.at..];
            let (now, later) = bytes.split_at_mut(bytes.len().min(here.len()));
            now.copy_from_slice(&here[..now.len()]);
            self.at += now.len();
            if later.is_empty() {
                return Ok(());
            }
            self.next_block()?;
            bytes = later;
        }
    }

    /// Reads the next block, checks and decompresses it.
    fn next_block(&mut self) -> Result<()> {
        let path = &self.file.file.0;
        let mut head = [0; BLOCK_HEAD];
        self.open.read_exact(&mut head).map_err(|e| unread(path, e))?;
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let whole = (BLOCK_HEAD + length) as u64;
        if length > MOST_STORED || whole > self.ahead {
            return Err(damaged(path));
        }
        // Not more than is accounted for, as growing by doubling would take.
        self.stored.reserve_exact(MOST_STORED.saturating_sub(self.stored.len()));
        self.stored.resize(length, 0);
        self.open.read_exact(&mut self.stored).map_err(|e| unread(path, e))?;
        if Head::of(self.blocks, &self.stored).bytes() != head {
            return Err(damaged(path));
        }
        if self.file.compressed {
            self.block.resize(BLOCK_BYTES, 0);
            let length = decompress_into(&self.stored, &mut self.block);
            self.block.truncate(length.map_err(|e| damaged(path).because(e))?);
        } else {
            std::mem::swap(&mut self.block, &mut self.stored);
        }
        self.ahead -= whole;
        self.blocks += 1;
        self.at = 0;
        Ok(())
    }
}

/// An error of the system's keeps its meaning; a file that is too short is damaged.
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
