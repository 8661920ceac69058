//! Copies of the records that are looked up most, for a version that is large beside the memory.
//!
//! A page of a table holds some thirty records, and mostly one of them is asked for. Kept as pages,
//! the records of 40,000 active learners take 160 MB, and twice that around a swap, when those of
//! the next version are wanted too. Copied out of their pages they take 8 MB. So a version larger
//! than a quarter of the memory has copies beside its tables. They are made when the version takes
//! the place of another, for the keys that were looked up there, and now and then while it serves.
//!
//! A copy is the stored record with its checksum, and each lookup checks it as it checks the
//! table's. It is found by its place, which is where the index says that the key's record stands.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

use arc_swap::ArcSwap;

use crate::block_entry::BlockEntry;
use crate::mapping::PAGE;
use crate::memory::Share;
use crate::points::Place;
use crate::poison::EvenPoisoned as _;

/// Of the memory that the process may use, all copies that are used take no more than this share. What
/// opening a version must leave free (`memory.rs`) is more.
const SHARE: u64 = 16;
/// A longer record has most of a page for itself: little is gained by a copy.
const LONGEST: usize = PAGE / 2;
/// What a copy takes besides its bytes: its place in the table, with a byte of the table's own; just
/// after the table grew, more than half of its places are free.
const BESIDE: u64 = (size_of::<(Place, Copied)>() as u64 + 1) * 16 / 7;

/// Bytes of all copies of this process that are used: its memory is one, and so is the account of it.
/// Sets that are being made do not count, or one would be cut short only because another is made.
static HELD: AtomicU64 = AtomicU64::new(0);
/// How many sets were made.
static MADE: AtomicU64 = AtomicU64::new(0);

/// What [`HELD`] says now, in bytes.
pub(crate) fn held() -> u64 {
    HELD.load(Relaxed)
}

/// The copies that belong to one snapshot.
pub(crate) struct Hot {
    /// Bytes that the copies of the process may take together; 0 if this snapshot needs none.
    most: u64,
    /// Whether there are any: all that it costs a snapshot without.
    any: AtomicBool,
    copies: ArcSwap<Copies>,
    /// Which of all sets this is, 0 for none: later ones have greater numbers.
    made: AtomicU64,
    /// Held by whoever makes a set, so that none takes the place of one that was begun later.
    making: Mutex<()>,
}

/// The right to make a set.
pub(crate) struct Making<'a> {
    hot: &'a Hot,
    _alone: MutexGuard<'a, ()>,
}

/// A set of copies.
pub(crate) struct Copies {
    /// Bytes that it may take.
    room: u64,
    held: u64,
    /// Whether [`HELD`] has them; from then on until this is dropped.
    counted: bool,
    found: HashMap<Place, Copied>,
    bytes: Vec<u8>,
}

/// Where in the bytes a record's key begins; the stored value follows it.
#[derive(Clone, Copy)]
struct Copied {
    at: usize,
    key: u32,
    stored: u32,
}

impl Hot {
    /// None yet, for a snapshot with so many bytes of records.
    pub(crate) fn of(bytes: u64, memory: Share) -> Self {
        Self::within(if memory.is_ample_for(bytes) { 0 } else { memory.part(SHARE) })
    }

    /// The same; all copies of the process may take `most` bytes.
    pub(crate) fn within(most: u64) -> Self {
        let copies = ArcSwap::from_pointee(Copies::none());
        let (any, made, making) = (AtomicBool::new(false), AtomicU64::new(0), Mutex::new(()));
        Self { most, any, copies, made, making }
    }

    /// Whether this snapshot is to have copies at all.
    pub(crate) fn is_wanted(&self) -> bool {
        self.most > 0
    }

    /// Whether there is a copy of the record at `place`.
    #[inline]
    pub(crate) fn has(&self, place: Place) -> bool {
        self.any.load(Relaxed) && self.copies.load().found.contains_key(&place)
    }

    /// Puts a copy of the record at `place` into `buffer`, in place of what is there, if there is
    /// one: its key, of so many bytes, and what is stored with it.
    #[inline]
    pub(crate) fn copy(&self, place: Place, buffer: &mut Vec<u8>) -> Option<usize> {
        if self.any.load(Relaxed) { self.copies.load().copy(place, buffer) } else { None }
    }

    /// Waits for whoever makes a set now.
    pub(crate) fn make(&self) -> Making<'_> {
        Making { hot: self, _alone: self.making.lock().even_poisoned() }
    }

    /// The same, or `None` if somebody makes one.
    pub(crate) fn try_make(&self) -> Option<Making<'_>> {
        Some(Making { hot: self, _alone: self.making.try_lock().even_poisoned()? })
    }

    /// Which of all sets this has; 0 for none.
    pub(crate) fn made(&self) -> u64 {
        self.made.load(Relaxed)
    }
}

impl Making<'_> {
    /// A set to take the place of the one that is used, which it need not leave room for.
    pub(crate) fn begin(&self) -> Copies {
        let others = HELD.load(Relaxed).saturating_sub(self.hot.copies.load().held);
        Copies::within(self.hot.most.saturating_sub(others))
    }

    /// Uses these copies from now on.
    pub(crate) fn replace(self, mut copies: Copies) {
        copies.bytes.shrink_to_fit();
        copies.counted = true;
        HELD.fetch_add(copies.held, Relaxed);
        let any = !copies.found.is_empty();
        self.hot.made.store(if any { MADE.fetch_add(1, Relaxed) + 1 } else { 0 }, Relaxed);
        self.hot.copies.store(Arc::new(copies));
        self.hot.any.store(any, Relaxed);
    }
}

impl Copies {
    fn within(room: u64) -> Self {
        Self { room, held: 0, counted: false, found: HashMap::new(), bytes: Vec::new() }
    }

    /// None.
    pub(crate) fn none() -> Self {
        Self::within(0)
    }

    /// Copies the record at `place`, if there is room for it and something to be gained.
    pub(crate) fn keep(&mut self, place: Place, entry: &BlockEntry<'_>) {
        let bytes = entry.key.len() + entry.stored.len();
        if bytes > LONGEST || self.found.contains_key(&place) {
            return;
        }
        let takes = bytes as u64 + BESIDE;
        if self.held + takes > self.room {
            return;
        }
        self.held += takes;
        let (key, stored) = (entry.key.len() as u32, entry.stored.len() as u32);
        self.found.insert(place, Copied { at: self.bytes.len(), key, stored });
        self.bytes.extend_from_slice(entry.key);
        self.bytes.extend_from_slice(entry.stored);
    }

    fn copy(&self, place: Place, buffer: &mut Vec<u8>) -> Option<usize> {
        let copied = self.found.get(&place)?;
        let (key, stored) = (copied.key as usize, copied.stored as usize);
        buffer.clear();
        buffer.extend_from_slice(&self.bytes[copied.at..copied.at + key + stored]);
        Some(key)
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        if self.counted {
            HELD.fetch_sub(self.held, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn place(n: u64) -> Place {
        Place { file: 1, offset: n }
    }

    fn entry<'a>(key: &'a [u8], stored: &'a [u8]) -> BlockEntry<'a> {
        BlockEntry { key, stored, length: key.len() + stored.len() }
    }

    #[test]
    fn what_was_kept_is_given_and_nothing_else() {
        let hot = Hot::within(1 << 30);
        let mut buffer = vec![1];
        assert!(!hot.has(place(0)) && hot.copy(place(0), &mut buffer).is_none());
        let mut copies = hot.make().begin();
        for n in 0..100 {
            copies.keep(place(n), &entry(format!("key {n}").as_bytes(), &[n as u8; 90]));
        }
        copies.keep(place(7), &entry(b"another", b"of the same place"));
        copies.keep(place(200), &entry(b"long", &[0; LONGEST]));
        hot.make().replace(copies);
        for n in 0..100 {
            assert!(hot.has(place(n)));
            let key = hot.copy(place(n), &mut buffer).unwrap();
            assert_eq!(buffer[..key], *format!("key {n}").as_bytes());
            assert_eq!(buffer[key..], [n as u8; 90]);
        }
        assert!(!hot.has(place(200)) && !hot.has(Place { file: 0, offset: 7 }));
        hot.make().replace(Copies::none());
        assert!(!hot.has(place(7)));
    }

    #[test]
    fn no_more_is_kept_than_there_may_be() {
        // Other tests hold some, too.
        let others = 1 << 20;
        let hot = Hot::within(others + 100_000);
        let mut copies = hot.make().begin();
        for n in 0..1_000_000 / 50 {
            copies.keep(place(n), &entry(b"key", &[7; 900]));
        }
        let held = copies.held;
        assert!(held > 50_000 && held <= others + 100_000, "{held}");
        let bytes = copies.bytes.len() as u64 + copies.found.len() as u64 * BESIDE;
        assert_eq!(bytes, held);
        hot.make().replace(copies);
        assert!(HELD.load(Relaxed) >= held);
        let other = Hot::within(others + 100_000);
        assert!(other.make().begin().room <= others + 100_000 - held, "what is used takes room");
        // What takes the place of a full set may be as large.
        let mut next = hot.make().begin();
        for n in 0..1_000_000 / 50 {
            next.keep(place(n), &entry(b"key", &[7; 900]));
        }
        assert!(next.held * 2 > held, "{} after {held}", next.held);
        let room = hot.make().begin().room;
        assert!(room >= held, "what is being made takes none: {room} after {held}");
        let made = hot.made();
        hot.make().replace(next);
        assert!(hot.made() > made);
        let making = hot.make();
        assert!(hot.try_make().is_none());
        making.replace(Copies::none());
        assert_eq!(hot.made(), 0);
        let mut again = hot.make().begin();
        again.keep(place(1), &entry(b"key", &[7; 900]));
        assert_eq!(again.found.len(), 1, "what was dropped is room again");
    }

    #[test]
    fn a_set_is_made_though_a_thread_panicked_while_it_made_one() {
        let hot = Hot::within(1 << 30);
        let ended = thread::scope(|scope| {
            let panics = || {
                let _making = hot.make();
                panic!("on purpose");
            };
            scope.spawn(panics).join()
        });
        assert!(ended.is_err());
        let making = hot.try_make().unwrap();
        let mut copies = making.begin();
        copies.keep(place(1), &entry(b"key", b"value"));
        making.replace(copies);
        assert!(hot.has(place(1)));
    }

    #[test]
    fn only_a_version_that_is_too_large_has_copies() {
        let memory = Share::of(4 << 30);
        assert!(!Hot::of(1 << 30, memory).is_wanted());
        assert!(Hot::of((1 << 30) + 1, memory).is_wanted());
    }
}
