//! The SSTs of a snapshot, for whoever reads single records: from memory where the kernel has them
//! in memory, and from the disk where it has not.
//!
//! A lookup that must not wait for the disk asks [`Tables::in_memory`] first. The answer comes from
//! a map of pages, which [`Tables::look`] makes now and then, and to which each read from the disk
//! adds its pages. When a look finds pages gone, the kernel is giving memory to others. From then
//! on, and for some looks after that, the map is not enough, and each lookup asks the kernel as
//! well.
//!
//! One case is left: a page that goes when none had gone so far. Until the next look, a lookup of
//! it waits for the disk, as every access to mapped memory may.

use std::fs::File;
use std::io::IoSliceMut;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::thread;

use rustix::io::{Errno, ReadWriteFlags, preadv2};

use crate::block_entry::{BlockEntry, Parsed};
use crate::error::{Code, Error, Result};
use crate::manifest::Manifest;
use crate::mapping::{Mapping, PAGE, read_in_large_pages};
use crate::memory::Share;
use crate::points::Place;
use crate::regular;

/// Pages asked about at a time, 16 MiB of a file: whoever asks may give way in between.
const PAGES_AT_ONCE: usize = 4 * 1024;

/// Bytes of a line of the processor's cache, and how many of these are fetched ahead: most records end in
/// them, and of longer ones the processor sees by itself where they go on.
const LINE: usize = 64;
const LINES: usize = 4;

/// Looks that find no page gone before what was seen is believed again. Whoever believes it too soon
/// waits for the disk on a thread that serves, and the kernel is not told what is in use.
const WARY_LOOKS: u8 = 20;

/// The SSTs of one snapshot, in the order of its manifest.
pub(crate) struct Tables {
    tables: Vec<Table>,
}

struct Table {
    path: PathBuf,
    file: File,
    mapping: Mapping,
    /// A bit for each page that was in memory when somebody last looked.
    pages: Box<[AtomicU64]>,
    /// Some that had been in memory were not any more: there is too little of it, and others will
    /// go. So many looks more are to find none gone until that is over.
    wary: AtomicU8,
}

impl Tables {
    /// Opens the files that `manifest` lists in `dir`. Their sizes were compared before.
    pub(crate) fn open(dir: &Path, manifest: &Manifest) -> Result<Self> {
        let open = |file: &crate::SstFile| Table::open(dir.join(&file.name), file.bytes);
        Ok(Self { tables: manifest.files.iter().map(open).collect::<Result<_>>()? })
    }

    /// The record at `place`, from memory or from the disk; `buffer` holds it in the latter
    /// case.
    ///
    /// # Errors
    /// [`Code::DataCorrupt`] if there is none, [`Code::IoFailed`] if it cannot be read.
    pub(crate) fn entry<'a>(
        &'a self,
        place: Place,
        buffer: &'a mut Vec<u8>,
    ) -> Result<BlockEntry<'a>> {
        let table = self.table(place)?;
        match table.entry_in_memory(place.offset) {
            InMemory::Yes(entry) => Ok(entry),
            InMemory::No => table.entry_from_disk(place.offset, buffer),
            InMemory::Malformed => Err(table.damaged()),
        }
    }

    /// Whether [`Tables::entry`] would find the record without waiting for the disk, as far
    /// as is known.
    pub(crate) fn in_memory(&self, place: Place) -> bool {
        let table = self.tables.get(place.file);
        !table.is_some_and(|table| matches!(table.entry_in_memory(place.offset), InMemory::No))
    }

    /// Loads the record at `place` into the processor's cache if it is in memory, without looking at it: whoever has
    /// many loaded waits for several at a time. What comes of it says nothing, but has to be used.
    pub(crate) fn fetch(&self, place: Place) -> u8 {
        self.tables.get(place.file).map_or(0, |table| table.fetch(place.offset as usize))
    }

    /// Has the disk begin to read the page that the record at `place` begins in, and does not
    /// wait: many reads that are asked for so take hardly longer than one, and each costs a
    /// quarter of the processor time of one that is waited for.
    pub(crate) fn ask_for(&self, place: Place) {
        if let Some(table) = self.tables.get(place.file) {
            let page = place.offset / PAGE as u64 * PAGE as u64;
            regular::is_read_soon(&table.file, page, PAGE as u64);
        }
    }

    /// Tells the kernel that the page which the record at `place` begins in is in use, if it is
    /// in memory. Twice: what was used once is given up before what was used again.
    pub(crate) fn tell_used(&self, place: Place) {
        if let Some(table) = self.tables.get(place.file) {
            let page = place.offset as usize / PAGE;
            let _ = table.is_still_in_memory(page) && table.is_still_in_memory(page);
        }
    }

    /// The file in which a record is damaged.
    pub(crate) fn damaged(&self, place: Place) -> Error {
        match self.table(place) {
            Ok(table) => table.damaged(),
            Err(error) => error,
        }
    }

    /// Reads in what one version may have of this `memory`, from the first file on, and notes what is there.
    pub(crate) fn populate(&self, memory: Share) -> Result<()> {
        let all = self.tables.iter().map(|table| table.mapping.len() as u64).sum();
        let mut left = usize::try_from(memory.of_one_version()).unwrap_or(usize::MAX);
        for table in &self.tables {
            // Beside little memory it is single pages that are given up, or stay.
            if memory.is_ample_for(all) {
                read_in_large_pages(&table.file, left.min(table.mapping.len()));
            }
            table.mapping.populate(left);
            left = left.saturating_sub(table.mapping.len());
            if left == 0 {
                break;
            }
        }
        self.look()
    }

    /// Notes which pages are in memory now. Costs about a millisecond for 300 MB.
    pub(crate) fn look(&self) -> Result<()> {
        self.tables.iter().try_for_each(Table::look)
    }

    /// Whether pages that had been in memory were gone lately.
    pub(crate) fn pages_go(&self) -> bool {
        self.tables.iter().any(Table::is_wary)
    }

    /// As if all pages had been given up.
    #[cfg(test)]
    pub(crate) fn let_all_go(&self) {
        for table in &self.tables {
            table.pages.iter().for_each(|word| word.store(0, Relaxed));
            table.wary.store(WARY_LOOKS, Relaxed);
        }
    }

    fn table(&self, place: Place) -> Result<&Table> {
        // The index is checked when it is read, so this is for a fault in the program.
        self.tables.get(place.file).ok_or_else(|| {
            Error::new(Code::DataCorrupt, "the index names a file that the version does not have")
        })
    }
}

enum InMemory<'a> {
    Yes(BlockEntry<'a>),
    No,
    Malformed,
}

impl Table {
    fn open(path: PathBuf, bytes: u64) -> Result<Self> {
        let file = regular::open(&path)?;
        regular::reads_are_random(&file);
        let length = usize::try_from(bytes).unwrap_or(usize::MAX);
        let mapping = Mapping::of(&file, length);
        let mapping = mapping.map_err(|e| Error::io("map the file into memory", &path, e))?;
        let words = length.div_ceil(PAGE).div_ceil(64);
        let pages = (0..words).map(|_| AtomicU64::new(0)).collect();
        Ok(Self { path, file, mapping, pages, wary: AtomicU8::new(0) })
    }

    fn fetch(&self, offset: usize) -> u8 {
        let page = offset / PAGE;
        // While pages go the kernel would have to be asked, which costs more than this saves.
        if offset >= self.mapping.len() || self.is_wary() || !self.is_in_memory(page) {
            return 0;
        }
        let end = self.mapping.len().min((page + 1) * PAGE);
        let lines = self.mapping[offset..end].iter().step_by(LINE).take(LINES);
        lines.fold(0, |all, byte| all ^ byte)
    }

    fn entry_in_memory(&self, offset: u64) -> InMemory<'_> {
        let offset = offset as usize;
        let page = offset / PAGE;
        if offset >= self.mapping.len() {
            return InMemory::Malformed;
        }
        if !self.is_in_memory(page) {
            return InMemory::No;
        }
        // What is known to be in memory is this page; nearly all records end in it. Of others it
        // takes a look to learn their length, and one more if that is in the next page, too.
        let mut known = page + 1;
        let mut parsed =
            BlockEntry::parse(&self.mapping[offset..self.mapping.len().min(known * PAGE)]);
        while let Parsed::Cut(length) = parsed
            && offset + length <= self.mapping.len()
            && known < (offset + length).div_ceil(PAGE)
            && (known..(offset + length).div_ceil(PAGE)).all(|page| self.is_in_memory(page))
        {
            known = (offset + length).div_ceil(PAGE);
            parsed = BlockEntry::parse(&self.mapping[offset..self.mapping.len().min(known * PAGE)]);
        }
        match parsed {
            Parsed::Whole(entry) => InMemory::Yes(entry),
            Parsed::Cut(length) if offset + length > self.mapping.len() => InMemory::Malformed,
            Parsed::Cut(_) => InMemory::No,
            Parsed::Malformed => InMemory::Malformed,
        }
    }

    fn entry_from_disk<'a>(&self, offset: u64, buffer: &'a mut Vec<u8>) -> Result<BlockEntry<'a>> {
        // At first what the page has: nearly all records end in it, and a page that is read
        // without need takes memory from one that is needed. Then one more try than lengths can
        // be learnt: from the first bytes, then from the head.
        let mut wanted = PAGE - offset as usize % PAGE;
        for _ in 0..3 {
            self.read(offset, wanted, buffer)?;
            match BlockEntry::parse(buffer) {
                Parsed::Cut(length) if buffer.len() == wanted => wanted = length,
                _ => break,
            }
        }
        match BlockEntry::parse(buffer) {
            Parsed::Whole(entry) => Ok(entry),
            Parsed::Cut(_) | Parsed::Malformed => Err(self.damaged()),
        }
    }

    /// Reads `length` bytes at `offset`, or what the file has of them.
    fn read(&self, offset: u64, length: usize, buffer: &mut Vec<u8>) -> Result<()> {
        let left = (self.mapping.len() as u64).saturating_sub(offset);
        let length = length.min(usize::try_from(left).unwrap_or(usize::MAX));
        buffer.resize(length, 0);
        self.file.read_exact_at(buffer, offset).map_err(|e| match e.kind() {
            // Shorter than when it was opened: somebody has cut it.
            std::io::ErrorKind::UnexpectedEof => self.damaged(),
            _ => Error::io("read a record", &self.path, e),
        })?;
        let first = offset as usize / PAGE;
        let behind = (offset as usize + length).div_ceil(PAGE);
        (first..behind).for_each(|page| self.note(page));
        Ok(())
    }

    fn is_in_memory(&self, page: usize) -> bool {
        let Some(word) = self.pages.get(page / 64) else { return false };
        let was = word.load(Relaxed) >> (page % 64) & 1 == 1;
        was && (!self.is_wary() || self.is_still_in_memory(page))
    }

    fn is_wary(&self) -> bool {
        self.wary.load(Relaxed) > 0
    }

    /// Asks the kernel, which takes some tenths of a microsecond: by reading a byte if that
    /// needs no waiting. Unlike a look at a mapping, that tells the kernel that the page is in
    /// use, so that it keeps what is hot and gives up what is not.
    fn is_still_in_memory(&self, page: usize) -> bool {
        let offset = page * PAGE;
        if offset >= self.mapping.len() {
            return false;
        }
        let mut byte = [0];
        let into = &mut [IoSliceMut::new(&mut byte)];
        match preadv2(&self.file, into, offset as u64, ReadWriteFlags::NOWAIT) {
            Ok(read) => read == 1,
            Err(Errno::AGAIN | Errno::INTR) => false,
            // A file system that does not have this.
            Err(_) => {
                let mut found = [0];
                self.mapping.in_memory(page, &mut found).is_ok() && found[0] & 1 == 1
            }
        }
    }

    fn note(&self, page: usize) {
        if let Some(word) = self.pages.get(page / 64) {
            word.fetch_or(1 << (page % 64), Relaxed);
        }
    }

    fn look(&self) -> Result<()> {
        let all = self.mapping.len().div_ceil(PAGE);
        let mut found = vec![0; PAGES_AT_ONCE];
        let mut gone = false;
        for first in (0..all).step_by(PAGES_AT_ONCE) {
            let found = &mut found[..PAGES_AT_ONCE.min(all - first)];
            let asked = self.mapping.in_memory(first, found);
            asked.map_err(|e| Error::io("ask which pages are in memory", &self.path, e))?;
            for (word, pages) in self.pages[first / 64..].iter().zip(found.chunks(64)) {
                let bits = pages.iter().enumerate().map(|(i, page)| u64::from(page & 1) << i);
                let now = bits.fold(0, |all, one| all | one);
                gone |= word.swap(now, Relaxed) & !now != 0;
            }
            // Not before what was found is noted: what others read meanwhile would seem to be gone.
            thread::yield_now();
        }
        let wary = if gone { WARY_LOOKS } else { self.wary.load(Relaxed).saturating_sub(1) };
        self.wary.store(wary, Relaxed);
        Ok(())
    }

    fn damaged(&self) -> Error {
        Error::new(
            Code::DataCorrupt,
            "cannot look up a key: the stored data does not fit its checksum; roll back, or push the data again",
        )
        .at(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable;
    use crate::skip::skip;

    #[test]
    fn while_pages_go_the_kernel_is_asked_for_each() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1.sst");
        std::fs::write(&path, [7; 8 * PAGE]).unwrap();
        let table = Table::open(path, 8 * PAGE as u64).unwrap();
        durable::sync_file(&table.file, &table.path).unwrap();
        durable::drop_cache(&table.file);
        // As if all had been read, and been given up since.
        (0..8).for_each(|page| table.note(page));
        assert!(table.is_in_memory(3), "believed until the next look");
        table.look().unwrap();
        if (0..8).any(|page| table.is_in_memory(page)) {
            let why = "nothing ever goes from a file system in memory, such as that of TMPDIR";
            return skip("while_pages_go_the_kernel_is_asked_for_each", why);
        }
        let table = Tables { tables: vec![table] };
        table.ask_for(Place { file: 0, offset: 6 * PAGE as u64 + 100 });
        let table = &table.tables[0];
        let began = std::time::Instant::now();
        while !table.is_still_in_memory(6) {
            assert!(began.elapsed().as_secs() < 60, "what is asked for comes by itself");
            thread::yield_now();
        }
        // Asked without being asked to read it in, which the kernel may do for those who would wait.
        let is_there = |page| {
            let mut found = [0];
            table.mapping.in_memory(page, &mut found).unwrap();
            found[0] & 1 == 1
        };
        assert!(!is_there(5) && !is_there(7), "it comes alone");
        table.note(3);
        assert!(!table.is_in_memory(3) || is_there(3), "not believed any more");
        table.read(3 * PAGE as u64, PAGE, &mut Vec::new()).unwrap();
        assert!(table.is_in_memory(3) && !table.is_in_memory(4));
        for _ in 1..WARY_LOOKS {
            table.look().unwrap();
        }
        assert!(table.is_wary(), "not for long enough");
        table.look().unwrap();
        table.note(4);
        assert!(table.is_in_memory(4), "nothing went for long: believed again");
    }
}
