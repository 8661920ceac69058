//! Where in an SST each of its records stands: a walk through its blocks, in step with what
//! RocksDB reads from it, or without RocksDB where there is no database to read through.
//!
//! ```text
//! block: records, [offset of every 16th record, u32 each][their number, u32]
//! file:  block, [kind of compression u8][checksum u32], block, …, index, properties, footer
//! ```
//!
//! Format: `table/block_based/block_builder.cc` and `format.cc` of RocksDB. Nothing here is
//! guessed: the next record stands either right behind the one before or at the beginning of
//! the next block, whose place follows from the number of records in this one. Whatever
//! else is found means that RocksDB writes another format than this file knows, or that somebody
//! else wrote the table, and no index is made.

use std::path::{Path, PathBuf};

use crate::block_entry::{BlockEntry, Parsed};
use crate::error::{Code, Error, Result};
use crate::mapping::Mapping;
use crate::regular;

/// Every so many records a block notes where one stands.
const RECORDS_A_RESTART: usize = 16;
/// Kind of compression and checksum, behind each block.
const TRAILER_BYTES: usize = 5;

/// What stands between the last record of a block of so many and the next block: the bytes of
/// its list of records, and of all. No block is without a record.
pub(crate) fn end_of_block(records: usize) -> Option<(usize, usize)> {
    let list = 4 * records.div_ceil(RECORDS_A_RESTART) + 4;
    (records > 0).then_some((list, list + TRAILER_BYTES))
}

/// A walk through one SST.
pub(crate) struct Walk {
    path: PathBuf,
    bytes: Mapping,
    at: usize,
    records_of_block: usize,
}

impl Walk {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = regular::open(path)?;
        let size = file.metadata().map_err(|e| Error::io("read the size of the file", path, e))?;
        let length = usize::try_from(size.len()).unwrap_or(usize::MAX);
        let bytes = Mapping::of(&file, length);
        let bytes = bytes.map_err(|e| Error::io("map the file into memory", path, e))?;
        Ok(Self { path: path.to_owned(), bytes, at: 0, records_of_block: 0 })
    }

    /// The offset of the next record, which has this key and stored value.
    pub(crate) fn find(&mut self, key: &[u8], stored: &[u8]) -> Result<u64> {
        let found = self.advance(|entry| entry.key == key && entry.stored == stored)?;
        Ok(found as u64)
    }

    /// The next record, its key and stored value. Not beyond the last one: what stands there may look
    /// like a record.
    pub(crate) fn read(&mut self) -> Result<(&[u8], &[u8])> {
        // The list behind the records of a block begins with four zeros, and no record does.
        let found = self.advance(|_| true)?;
        match BlockEntry::parse(&self.bytes[found..]) {
            Parsed::Whole(BlockEntry { key, stored, .. }) => Ok((key, stored)),
            Parsed::Cut(_) | Parsed::Malformed => Err(self.alien()),
        }
    }

    /// Goes behind the next record, which must be such; gives where it begins.
    fn advance(&mut self, is_such: impl Fn(&BlockEntry<'_>) -> bool) -> Result<usize> {
        let length = |at: usize| match self.bytes.get(at..).map(BlockEntry::parse) {
            Some(Parsed::Whole(entry)) if is_such(&entry) => Some(entry.length),
            _ => None,
        };
        if let Some(length) = length(self.at) {
            self.records_of_block += 1;
            return Ok(self.step(length));
        }
        let next = end_of_block(self.records_of_block).map(|(_, length)| self.at + length);
        let Some((next, length)) = next.and_then(|next| Some((next, length(next)?))) else {
            return Err(self.alien());
        };
        (self.at, self.records_of_block) = (next, 1);
        Ok(self.step(length))
    }

    fn step(&mut self, length: usize) -> usize {
        let found = self.at;
        self.at += length;
        found
    }

    fn alien(&self) -> Error {
        let text = "a table has a form that no index of its keys can be made of: it was not built by Tidetable, or this is a fault in the program; then please report it";
        Error::new(Code::VersionUnusable, text).at(&self.path)
    }
}
