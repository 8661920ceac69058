//! A file's bytes in place, and what the kernel is told about memory: the only `unsafe` code of this
//! workspace.
//!
//! A lookup from memory takes less time than one system call does, so what the kernel has
//! in memory anyway is read there. Which pages those are is asked with `mincore(2)`:
//! `tables.rs` reads all others with ordinary reads, which can fail with an error and can
//! be done on another thread.
//!
//! # Why this is sound
//!
//! - A [`Mapping`] owns its range of addresses: `mmap` chose it (no `MAP_FIXED`), nothing
//!   else unmaps it, and `munmap` runs once, in `drop`. References to the bytes borrow from
//!   the `Mapping`, so none outlives it.
//! - The range is readable for its whole length: the file had that length when it was
//!   mapped, and the files of a version are never written to nor cut after they were
//!   published (invariant 1).
//! - Whoever does change such a file by force breaks that promise, as they would for LMDB
//!   or any other reader of mapped files. Every byte that is read here is compared with a
//!   checksum before it is used, and is only ever taken for `u8`, for which each content is
//!   valid. A page that has vanished (the file was cut, or the disk fails and the page was
//!   given up since it was last asked for) ends the process with `SIGBUS`; the next start
//!   finds the damage by an ordinary read.
//! - [`in_large_pages`] says of memory that others own how it is to be laid out. That changes
//!   neither what it holds nor who may use it, and no neighbour of it: the range is rounded inwards.

#![expect(unsafe_code, reason = "the one file that maps memory; its head is the proof")]

use std::fs::File;
use std::mem::MaybeUninit;
use std::ops::{Deref, Range};
use std::ptr::NonNull;

use rustix::mm::{Advice, MapFlags, ProtFlags};

/// The size of a page of memory, in bytes.
pub(crate) const PAGE: usize = 4096;
/// From how many bytes on large pages are wished for. Processors remember the addresses of more pages than
/// less has; and what the allocator gives others later stays so marked.
const LARGE: usize = 8 << 20;
/// Of what Linux is told to read soon at once, it reads no more than a disk's read-ahead, and says nothing of it: 128 KiB,
/// unless that is set.
const READ_AHEAD: usize = 128 << 10;

/// The bytes of a file, read where the kernel has them.
pub(crate) struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the memory is only ever read, and belongs to no thread.
unsafe impl Send for Mapping {}
// SAFETY: as above; shared references give nothing but `&[u8]`.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `length` bytes of `file`, which has at least as many; more than none.
    pub(crate) fn of(file: &File, length: usize) -> std::io::Result<Self> {
        let mapping = Self::without_advice(file, length)?;
        // A page that is missing all the same is read alone, not with 31 of its neighbours. Since
        // version 6.3 Linux does not take what is read here for use then (`vma_has_recency`):
        // under pressure `tables.rs` tells it.
        mapping.advise(Advice::Random, 0..length);
        Ok(mapping)
    }

    fn without_advice(file: &File, length: usize) -> std::io::Result<Self> {
        // SAFETY: no address is asked for, so the kernel chooses a range that nothing uses.
        let start = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                length,
                ProtFlags::READ,
                MapFlags::SHARED,
                file,
                0,
            )
        }?;
        let start = NonNull::new(start.cast()).expect("mmap gives no null pointer");
        Ok(Self { start, length })
    }

    /// Reads all of it in, and makes it known to this process's page tables. Blocks for as
    /// long as the disk takes. Only advice: what cannot be read is read when it is needed.
    pub(crate) fn populate(&self, bytes: usize) {
        let bytes = bytes.min(self.length);
        // The first has the disk read in long stretches; the second waits for it page by page. A
        // kernel before 5.14 does not know that one: then the reads themselves wait.
        for at in (0..bytes).step_by(READ_AHEAD) {
            self.advise(Advice::WillNeed, at..bytes.min(at + READ_AHEAD));
        }
        self.advise(Advice::LinuxPopulateRead, 0..bytes);
    }

    /// Tells the kernel something about these bytes, which begin with a page; only ever advice.
    fn advise(&self, advice: Advice, bytes: Range<usize>) {
        assert!(bytes.start <= bytes.end && bytes.end <= self.length, "bytes of this mapping");
        // SAFETY: the range is this mapping's, and none of these changes what it holds: the callers
        // are in this file, and give `Random`, `WillNeed`, `LinuxHugepage` and `LinuxPopulateRead`.
        let _ = unsafe {
            let start = self.start.as_ptr().add(bytes.start);
            rustix::mm::madvise(start.cast(), bytes.len(), advice)
        };
    }

    /// Asks which pages are in memory, from page `first` on: the lowest bit of each byte of
    /// `pages` says it. The range must lie within the mapping's pages.
    pub(crate) fn in_memory(&self, first: usize, pages: &mut [u8]) -> std::io::Result<()> {
        assert!((first + pages.len()) * PAGE < self.length + PAGE, "pages of this mapping");
        let length = (pages.len() * PAGE).min(self.length - first * PAGE);
        // SAFETY: the range lies within this mapping, as was just checked, its start is that
        // of a page, and `pages` has a byte for each page of it.
        let asked = unsafe {
            let start = self.start.as_ptr().add(first * PAGE);
            libc::mincore(start.cast(), length, pages.as_mut_ptr())
        };
        if asked == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    }
}

/// Reads in what is missing of the first `length` bytes of `file`, in pages of 2 MiB: random lookups in a large file
/// then seldom wait for the address of a page. Blocks for as long as the disk takes. Only advice, which a
/// file system follows that has such pages (ext4 since Linux 6.16, XFS); what is in memory
/// already stays as it lies there.
pub(crate) fn read_in_large_pages(file: &File, length: usize) {
    if length < LARGE {
        return;
    }
    // Through a mapping of its own. Where one is marked so, each page that is missing is read with the 2 MiB around it.
    if let Ok(mapping) = Mapping::without_advice(file, length) {
        mapping.advise(Advice::LinuxHugepage, 0..length);
        mapping.advise(Advice::LinuxPopulateRead, 0..length);
    }
}

/// Asks the kernel to back this memory, which nothing was written to yet, by pages of 2 MiB: a lookup
/// that reaches into it anywhere then seldom waits for the address of a page. Only ever advice, and none
/// for less than 8 MiB.
pub(crate) fn in_large_pages<T>(memory: &mut [MaybeUninit<T>]) {
    let start = memory.as_mut_ptr().cast::<u8>();
    let before = start.align_offset(PAGE);
    let whole = size_of_val(memory).saturating_sub(before) / PAGE * PAGE;
    if whole < LARGE {
        return;
    }
    // SAFETY: the range lies within `memory`, which is borrowed; this advice changes nothing of what
    // is there.
    let _ = unsafe {
        let start = start.add(before);
        rustix::mm::madvise(start.cast(), whole, Advice::LinuxHugepage)
    };
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the head of this file says why the range is readable while `self` lives.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is this mapping's, and no reference to it is left. It can fail
        // only for a range that was never mapped.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_file_and_the_pages_are_known() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let bytes: Vec<u8> = (0..3 * PAGE + 17).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let mapping = Mapping::of(&File::open(&path).unwrap(), bytes.len()).unwrap();
        assert_eq!(&*mapping, &bytes[..]);
        mapping.populate(usize::MAX);
        let mut pages = [0; 4];
        mapping.in_memory(0, &mut pages).unwrap();
        assert_eq!(pages.map(|page| page & 1), [1; 4], "they were just read");
        mapping.in_memory(3, &mut pages[..1]).unwrap();
    }

    #[test]
    fn what_is_read_in_large_pages_is_in_memory_and_what_is_short_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let pages_of = |length: usize| {
            std::fs::write(&path, vec![7; length]).unwrap();
            let file = File::open(&path).unwrap();
            crate::durable::sync_file(&file, &path).unwrap();
            crate::durable::drop_cache(&file);
            let mapping = Mapping::of(&file, length).unwrap();
            let there = || {
                let mut pages = vec![0; length.div_ceil(PAGE)];
                mapping.in_memory(0, &mut pages).unwrap();
                pages.iter().filter(|page| **page & 1 == 1).count()
            };
            let before = there();
            read_in_large_pages(&file, length);
            (before, there(), length.div_ceil(PAGE))
        };
        let (_, after, all) = pages_of(LARGE + 3 * PAGE + 5);
        assert_eq!(after, all);
        let (before, after, _) = pages_of(LARGE - 1);
        assert_eq!(before, after);
    }

    #[test]
    fn an_empty_file_or_one_that_is_not_there_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, b"").unwrap();
        assert!(Mapping::of(&File::open(&path).unwrap(), 0).is_err());
    }

    #[test]
    fn memory_that_is_large_is_marked_and_holds_what_is_put_there() {
        let flags_at = |address: usize| {
            let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
            let (mut is_it, mut flags) = (false, None);
            for line in maps.lines() {
                let range = line.split_once(' ').and_then(|(range, _)| range.split_once('-'));
                if let Some((start, end)) = range {
                    let number = |text| usize::from_str_radix(text, 16).unwrap();
                    is_it = (number(start)..number(end)).contains(&address);
                } else if let Some(found) = line.strip_prefix("VmFlags:").filter(|_| is_it) {
                    flags = Some(found.to_owned());
                }
            }
            flags.unwrap()
        };
        let is_there = std::path::Path::new("/sys/kernel/mm/transparent_hugepage").exists();
        for (size, is_large) in [(LARGE + 2 * PAGE, is_there), (LARGE / 2, false)] {
            let mut memory: Vec<u64> = Vec::with_capacity(size / 8);
            in_large_pages(memory.spare_capacity_mut());
            memory.resize(size / 8, 7);
            assert!(memory.iter().all(|n| *n == 7));
            let middle = memory[memory.len() / 2..].as_ptr().addr();
            let is_marked = flags_at(middle).split_whitespace().any(|flag| flag == "hg");
            assert_eq!(is_marked, is_large, "{size}");
        }
    }
}
