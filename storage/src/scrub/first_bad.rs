//! Where in a damaged SST the damage begins.
//!
//! The file as a whole has a checksum, which says that something is wrong, and each record has
//! one of its own, which says where: the records are read one behind the other, as
//! `walk.rs` knows they stand, up to the first that does not fit.

use std::path::Path;

use crate::block_entry::{BlockEntry, Parsed};
use crate::direct::Direct;
use crate::error::{Error, Result};
use crate::manifest::{Manifest, SstFile};
use crate::points::KeyHash;
use crate::records::read_dictionary;
use crate::values::Decoder;
use crate::walk::end_of_block;

/// Longer than any record: key, value, and what stands around them.
const LONGEST: usize = 17 << 20;

/// The offset of the first record of `file` that is damaged, or of what stands before it; `None`
/// if all its records are whole: then its index or its end is damaged.
pub(super) fn first_bad_record(
    dir: &Path,
    manifest: &Manifest,
    file: &SstFile,
) -> Result<Option<u64>> {
    let path = dir.join(&file.name);
    // Checked by its own sum: without it no value can be read.
    let decoder = Decoder::new(manifest.compression, &read_dictionary(dir, manifest)?);
    let mut window = Window::open(&path)?;
    let (mut at, mut of_block) = (0, 0);
    for _ in 0..file.records {
        let (place, length) = match window.record(at, &decoder)? {
            Some(length) => (at, Some(length)),
            None => match window.behind_block(at, of_block)? {
                Some(next) => (next, window.record(next, &decoder)?),
                None => (at, None),
            },
        };
        let Some(length) = length else { return Ok(Some(at)) };
        of_block = if place == at { of_block } else { 0 };
        at = place + length as u64;
        of_block += 1;
    }
    Ok(None)
}

/// The part of a file that is looked at, as the disk has it.
struct Window {
    direct: Direct,
    path: std::path::PathBuf,
    /// The offset of its first byte.
    start: u64,
    bytes: Vec<u8>,
    is_at_end: bool,
    value: Vec<u8>,
}

impl Window {
    fn open(path: &Path) -> Result<Self> {
        Ok(Self {
            direct: Direct::open(path)?,
            path: path.to_owned(),
            start: 0,
            bytes: Vec::new(),
            is_at_end: false,
            value: Vec::new(),
        })
    }

    /// The length of the record at `at`, if a whole one stands there. Offsets only grow, but for
    /// the few bytes between two blocks.
    fn record(&mut self, at: u64, decoder: &Decoder) -> Result<Option<usize>> {
        loop {
            let skip = usize::try_from(at - self.start).unwrap_or(usize::MAX);
            let wanted = match self.bytes.get(skip..).map(BlockEntry::parse) {
                Some(Parsed::Whole(entry)) => {
                    self.value.clear();
                    let hash = KeyHash::of(entry.key);
                    let is_whole = decoder.decode(hash, entry.stored, &mut self.value).is_ok();
                    return Ok(is_whole.then_some(entry.length));
                }
                Some(Parsed::Malformed) => return Ok(None),
                Some(Parsed::Cut(length)) => skip.saturating_add(length),
                None => skip.saturating_add(1),
            };
            if self.is_at_end || wanted - skip > LONGEST {
                return Ok(None);
            }
            self.read_on(at)?;
        }
    }

    /// Where the next block begins, if one ends at `at` that holds so many records: its list of
    /// them says so.
    fn behind_block(&mut self, at: u64, records: usize) -> Result<Option<u64>> {
        let Some((list, length)) = end_of_block(records) else { return Ok(None) };
        while self.bytes.len() < length + usize::try_from(at - self.start).unwrap_or(usize::MAX) {
            if self.is_at_end {
                return Ok(None);
            }
            self.read_on(at)?;
        }
        let skip = usize::try_from(at - self.start).unwrap_or(usize::MAX);
        let is_end = self.bytes[skip..].starts_with(&[0; 4])
            && self.bytes[skip + list - 4..].starts_with(&((list / 4 - 1) as u32).to_le_bytes());
        Ok(is_end.then(|| at + length as u64))
    }

    /// Lets go of what stands before `at`, and takes the next stretch.
    fn read_on(&mut self, at: u64) -> Result<()> {
        let behind = usize::try_from(at - self.start).unwrap_or(usize::MAX).min(self.bytes.len());
        self.bytes.drain(..behind);
        self.start += behind as u64;
        let next = self.direct.next().map_err(|e| Error::io("read the file", &self.path, e))?;
        self.is_at_end = next.is_empty();
        self.bytes.extend_from_slice(next);
        Ok(())
    }
}
