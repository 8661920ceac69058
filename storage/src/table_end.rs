//! The last blocks of an SST, looked at before RocksDB reads them.
//!
//! RocksDB follows the block of properties before its checksum is known to fit
//! (`ReadTablePropertiesHelper` in `table/meta_blocks.cc`): a length in it that damage has made
//! large leads behind the block, and the process ends. So a table whose bytes may have changed since
//! they were verified is looked at here first: its footer, the list of its last blocks, and the
//! properties. All other blocks RocksDB compares with their checksums before it believes them.
//!
//! ```text
//! file:   blocks of records, index, properties, metaindex, footer
//! footer: [kind of checksum u8][3e 00 7a 00][its checksum u32][context u32][bytes of the metaindex u32]
//!         [24 zeros][version of the format u32][magic u64]                               53 bytes
//! block:  entries, [offset of some entries, u32 each][their number, u32]; [kind of compression u8][checksum u32]
//! entry:  [bytes that it has of the key before][bytes of the key][bytes of the value]    each a varint
//!         [rest of the key][value]
//! ```
//!
//! A checksum is the low half of XXH3, to which is added what comes of the context and of where it
//! stands: a block of another file, or from elsewhere in this one, does not fit. Format:
//! `table/format.cc` of RocksDB, from version 6 of the format on.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use twox_hash::XxHash3_64;

use crate::error::{Code, Error, Result};
use crate::regular;

const MAGIC: u64 = 0x88e2_41b7_85f4_cff7;
const EXTENDED_MAGIC: [u8; 4] = [0x3e, 0x00, 0x7a, 0x00];
const FOOTER_BYTES: usize = 53;
/// Where in the footer its own checksum stands, which is taken with zeros there.
const ITS_CHECKSUM: std::ops::Range<usize> = 5..9;
/// XXH3, the only kind that `rocks.rs` has written.
const KIND_OF_CHECKSUM: u8 = 4;
/// Kind of compression and checksum, behind each block.
const TRAILER_BYTES: usize = 5;
/// The last byte of what is summed goes into the checksum times this.
const LAST_BYTE: u32 = 0x6b90_83d9;
/// More than either block takes of any table: they hold some thirty short entries.
const MOST_BYTES: u64 = 1 << 20;
const PROPERTIES: &[u8] = b"rocksdb.properties";

/// Reads the end of the table at `path`, a few KiB in three reads.
///
/// # Errors
/// [`Code::VersionUnusable`] if it is not what was written.
pub(crate) fn check(path: &Path) -> Result<()> {
    let file = regular::open(path)?;
    let size = file.metadata().map_err(|e| Error::io("read the size of the file", path, e))?.len();
    let table = Table { path, file, size };
    let footer = table.footer()?;
    let list = table.block(&footer, footer.metaindex)?;
    let properties = entries(&list)
        .and_then(|entries| entries.into_iter().find(|(key, _)| key == PROPERTIES))
        .and_then(|(_, handle)| Handle::parse(handle));
    let properties = properties.ok_or_else(|| table.unfit("its list of blocks names none"))?;
    let properties = table.block(&footer, properties)?;
    // Whoever made it with checksums that fit may still have lengths in it that lead elsewhere.
    entries(&properties).map(drop).ok_or_else(|| table.unfit("its properties cannot be read"))
}

struct Table<'a> {
    path: &'a Path,
    file: File,
    size: u64,
}

/// What the last bytes say.
struct Footer {
    context: u32,
    metaindex: Handle,
}

/// Where a block stands: its bytes without the trailer.
#[derive(Clone, Copy)]
struct Handle {
    offset: u64,
    bytes: u64,
}

impl Table<'_> {
    fn footer(&self) -> Result<Footer> {
        let at = self.size.checked_sub(FOOTER_BYTES as u64);
        let at = at.ok_or_else(|| self.unfit("it is too short"))?;
        let bytes = self.read(at, FOOTER_BYTES)?;
        let is_ours = bytes[0] == KIND_OF_CHECKSUM
            && bytes[1..5] == EXTENDED_MAGIC
            && bytes[FOOTER_BYTES - 8..] == MAGIC.to_le_bytes();
        if !is_ours {
            return Err(self.unfit("its last bytes are not those of such a table"));
        }
        let (stored, context) = (number(&bytes[ITS_CHECKSUM]), number(&bytes[9..13]));
        let mut summed = bytes.clone();
        summed[ITS_CHECKSUM].fill(0);
        if stored != checksum(&summed, context, at) {
            return Err(self.unfit("its last bytes do not fit their checksum"));
        }
        let bytes = u64::from(number(&bytes[13..17]));
        let offset = at.checked_sub(bytes + TRAILER_BYTES as u64);
        let offset = offset.ok_or_else(|| self.unfit("its list of blocks is longer than it"))?;
        Ok(Footer { context, metaindex: Handle { offset, bytes } })
    }

    /// The block at `handle`, without its trailer.
    fn block(&self, footer: &Footer, handle: Handle) -> Result<Vec<u8>> {
        // The metaindex is the last block, and all others stand before it.
        let end = footer.metaindex.offset + footer.metaindex.bytes;
        let fits = handle.offset.checked_add(handle.bytes).is_some_and(|last| last <= end);
        if !fits || handle.bytes > MOST_BYTES {
            return Err(self.unfit("one of its last blocks is said to be where none can be"));
        }
        let length = handle.bytes as usize;
        let mut bytes = self.read(handle.offset, length + TRAILER_BYTES)?;
        let stored = number(&bytes[length + 1..]);
        if stored != checksum(&bytes[..=length], footer.context, handle.offset) {
            return Err(self.unfit("one of its last blocks does not fit its checksum"));
        }
        bytes.truncate(length);
        Ok(bytes)
    }

    fn read(&self, at: u64, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let read = self.file.read_exact_at(&mut bytes, at);
        read.map_err(|e| Error::io("read the end of the table", self.path, e))?;
        Ok(bytes)
    }

    fn unfit(&self, why: &str) -> Error {
        let text = format!(
            "the end of this table, which says what is in it, is damaged: {why}; roll back, or push the data again"
        );
        Error::new(Code::VersionUnusable, text).at(self.path)
    }
}

impl Handle {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (offset, rest) = varint(bytes)?;
        let (bytes, _) = varint(rest)?;
        Some(Self { offset, bytes })
    }
}

/// The checksum of a block or footer of at least one byte that stands at `offset`.
fn checksum(bytes: &[u8], context: u32, offset: u64) -> u32 {
    let (last, others) = bytes.split_last().expect("blocks have a trailer, and footers their size");
    let sum = XxHash3_64::oneshot(others) as u32 ^ u32::from(*last).wrapping_mul(LAST_BYTE);
    let place = (offset as u32).wrapping_add((offset >> 32) as u32);
    // A context of 0 says that there is none.
    if context == 0 { sum } else { sum.wrapping_add(context ^ place) }
}

/// The entries of a block (key, value), if each lies within it.
fn entries(block: &[u8]) -> Option<Vec<(Vec<u8>, &[u8])>> {
    let (block, count) = block.split_last_chunk::<4>()?;
    let list = usize::try_from(u32::from_le_bytes(*count)).ok()?.checked_mul(4)?;
    let (mut rest, starts) = block.split_at_checked(block.len().checked_sub(list)?)?;
    // RocksDB begins to read where the first of these says.
    if starts.chunks_exact(4).next().is_none_or(|first| number(first) != 0) {
        return None;
    }
    let (mut entries, mut key) = (Vec::new(), Vec::new());
    while !rest.is_empty() {
        let (shared, after) = varint(rest)?;
        let (unshared, after) = varint(after)?;
        let (value, after) = varint(after)?;
        key.truncate(usize::try_from(shared).ok().filter(|shared| *shared <= key.len())?);
        let (own, after) = after.split_at_checked(usize::try_from(unshared).ok()?)?;
        let (value, after) = after.split_at_checked(usize::try_from(value).ok()?)?;
        key.extend_from_slice(own);
        entries.push((key.clone(), value));
        rest = after;
    }
    Some(entries)
}

/// A varint of up to 64 bits, and what follows it.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (i, &byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return Some((value, &bytes[i + 1..]));
        }
    }
    None
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes[..4].try_into().expect("four bytes of a block that was read"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rocks::TableWriter;

    /// A table, and where the blocks that only this file looks at begin.
    fn table(dir: &Path) -> (Vec<u8>, usize) {
        let path = dir.join("t.sst");
        let mut writer = TableWriter::create(&path).unwrap();
        (0..100u8).for_each(|n| writer.put(&[n], b"value").unwrap());
        writer.finish().unwrap();
        check(&path).unwrap();
        let table = Table {
            path: &path,
            size: std::fs::metadata(&path).unwrap().len(),
            file: File::open(&path).unwrap(),
        };
        let footer = table.footer().unwrap();
        let list = table.block(&footer, footer.metaindex).unwrap();
        let entries = entries(&list).unwrap();
        let (_, handle) = entries.into_iter().find(|(key, _)| key == PROPERTIES).unwrap();
        let properties = Handle::parse(handle).unwrap().offset as usize;
        (std::fs::read(&path).unwrap(), properties)
    }

    #[test]
    fn each_byte_of_the_end_is_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let (good, properties) = table(dir.path());
        let path = dir.path().join("bad.sst");
        let refuses = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            check(&path).is_err_and(|e| e.code() == Code::VersionUnusable)
        };
        assert!(good.len() - properties > 500, "the properties stand there");
        for at in properties..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            assert!(refuses(&bad), "byte {at} of {}", good.len());
            assert!(refuses(&good[..at]), "cut at {at}");
            assert!(refuses(&good[good.len() - at..]), "the last {at} bytes");
        }
        assert!(!refuses(&good));
    }

    #[test]
    fn entries_that_lead_out_of_their_block_are_none() {
        let block = |entries: &[u8]| [entries, &[0, 0, 0, 0], &[1, 0, 0, 0]].concat();
        let good = block(&[0, 1, 1, b'a', b'x', 1, 1, 0, b'b']);
        let found = entries(&good).unwrap();
        assert_eq!(found, [(b"a".to_vec(), &b"x"[..]), (b"ab".to_vec(), &b""[..])]);
        let bad: [&[u8]; 6] = [
            &[0, 2, 1, b'a', b'x'],
            &[0, 1, 2, b'a', b'x'],
            &[1, 1, 1, b'a', b'x'],
            &[0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, b'x'],
            &[0, 1],
            &[0x80],
        ];
        for bad in bad {
            assert_eq!(entries(&block(bad)), None, "{bad:?}");
        }
        for starts in
            [&[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff][..], &[3, 0, 0, 0, 1, 0, 0, 0], &[0; 4]]
        {
            assert_eq!(entries(&[&[0, 1, 0, b'a'], starts].concat()), None, "{starts:?}");
        }
        assert_eq!(entries(&[0, 0]), None);
    }
}
