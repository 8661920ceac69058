//! Single records of a snapshot, found by their keys: the last step of the read path.
//!
//! The index (`points.rs`) says where a key's record may stand, the tables (`tables.rs`) give
//! it from memory or from the disk, and its checksum (`values.rs`) says whether it is what
//! was written. Only then are the keys compared: a record that is damaged is an error,
//! whatever key it seems to have (invariant 7). Of a version that is large beside the memory, copies
//! (`hot.rs`) stand in for the tables where there are any.

use std::hint::black_box;
use std::io::Read;
use std::path::Path;
use std::sync::Mutex;
use std::thread;

use crate::background::be_nice;
use crate::block_entry::BlockEntry;
use crate::digest::FileSums;
use crate::error::{Error, Result};
use crate::hot::{Copies, Hot};
use crate::layout;
use crate::manifest::Manifest;
use crate::memory::Share;
use crate::names::Key;
use crate::points::{KeyHash, Place, Points};
use crate::recent::Recent;
use crate::regular;
use crate::tables::Tables;
use crate::values::{Damaged, Decoder, Dictionary};
use crate::verify::damaged;

/// Threads that read in what is looked up lately.
const WARMING: usize = 8;
/// Fewer records are read before a thread is started.
const MIN_WARMING: usize = 64;
/// Reads that such a thread has the disk begin before it waits for the first of them.
const ASKED_AT_ONCE: usize = 32;
/// Records that take up to some microseconds each are handled without letting others run.
const BURST: usize = 16;

/// What is done with a key and its value.
pub(crate) type Each<'a> = dyn FnMut(&[u8], &[u8]) -> Result<()> + 'a;

/// The records of one snapshot.
pub(crate) struct Records {
    points: Points,
    tables: Tables,
    hot: Hot,
    decoder: Decoder,
    recent: Recent,
}

impl Records {
    /// Opens the records of the snapshot in `dir`, whose `db/` was compared with its seal.
    /// Reads the index into memory, about 9 bytes a record.
    ///
    /// # Errors
    /// [`crate::Code::VersionUnusable`] naming the file that does not fit.
    pub(crate) fn open(dir: &Path, manifest: &Manifest) -> Result<Self> {
        let path = layout::points(&layout::db(dir));
        let points = Points::read(&path)?;
        if points.records() != manifest.records {
            let (found, listed) = (points.records(), manifest.records);
            return Err(damaged(&format!("it has {found} keys, expected {listed}")).at(path));
        }
        let decoder = Decoder::new(manifest.compression, &read_dictionary(dir, manifest)?);
        let tables = Tables::open(dir, manifest)?;
        let hot = Hot::of(manifest.bytes(), Share::now());
        Ok(Self { points, tables, hot, decoder, recent: Recent::of(manifest.records) })
    }

    /// Puts the value of `key` into `value`, in place of what is there. `false`: there is no
    /// such key.
    ///
    /// # Errors
    /// [`crate::Code::DataCorrupt`] if the record is damaged, [`crate::Code::IoFailed`] if it
    /// cannot be read.
    pub(crate) fn get(&self, key: Key<'_>, value: &mut Vec<u8>) -> Result<bool> {
        let hash = KeyHash::of(key.as_bytes());
        self.recent.note(hash);
        self.find(hash, key, value)
    }

    /// [`Records::get`] by nobody whose keys the next version is to be warmed with.
    pub(crate) fn get_unnoticed(&self, key: Key<'_>, value: &mut Vec<u8>) -> Result<bool> {
        self.find(KeyHash::of(key.as_bytes()), key, value)
    }

    #[inline]
    fn find(&self, hash: KeyHash, key: Key<'_>, value: &mut Vec<u8>) -> Result<bool> {
        self.get_in(self.points.find(hash), hash, key, value)
    }

    #[inline]
    fn get_in(
        &self,
        places: impl Iterator<Item = Place>,
        hash: KeyHash,
        key: Key<'_>,
        value: &mut Vec<u8>,
    ) -> Result<bool> {
        for place in places {
            if self.get_at(place, hash, key, value)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Gives `each` so many records that are drawn, key and value: each record with the same
    /// likelihood, some of them twice; or every record once, if there are no more than that. The
    /// numbers drawn are the same each time.
    ///
    /// # Errors
    /// The first of `each`, or those of [`Records::get`].
    pub(crate) fn sample(&self, most: usize, each: &mut Each<'_>) -> Result<()> {
        let (mut buffer, mut value) = (Vec::new(), Vec::new());
        let mut give = |place| {
            let entry = self.entry(place, &mut buffer)?;
            value.clear();
            let decoded = self.decoder.decode(KeyHash::of(entry.key), entry.stored, &mut value);
            decoded.map_err(|Damaged| self.tables.damaged(place))?;
            each(entry.key, &value)
        };
        if self.points.records() <= most as u64 {
            return self.points.all().try_for_each(give);
        }
        let mut random = fastrand::Rng::with_seed(2);
        (0..most).filter_map(|_| self.points.draw(&mut random)).try_for_each(&mut give)
    }

    /// Where a key with this hash may stand, before all others; `None`: there is no such key.
    pub(crate) fn first_place(&self, hash: KeyHash) -> Option<Place> {
        self.points.find(hash).next()
    }

    /// [`Records::get`] of a key whose first place is known.
    #[inline]
    pub(crate) fn get_located(
        &self,
        hash: KeyHash,
        place: Option<Place>,
        key: Key<'_>,
        value: &mut Vec<u8>,
    ) -> Result<bool> {
        self.recent.note(hash);
        let Some(place) = place else { return Ok(false) };
        let others = || self.points.find(hash).skip(1);
        Ok(self.get_at(place, hash, key, value)? || self.get_in(others(), hash, key, value)?)
    }

    /// Has the processor load the records at these places that are in memory, all at the same time.
    pub(crate) fn fetch(&self, places: impl Iterator<Item = Place>) {
        let places = places.filter(|place| !self.hot.has(*place));
        black_box(places.fold(0, |all, place| all ^ self.tables.fetch(place)));
    }

    /// Whether `key` can be looked up without waiting for a disk, as far as is known.
    pub(crate) fn in_memory(&self, key: Key<'_>) -> bool {
        let place = self.first_place(KeyHash::of(key.as_bytes()));
        place.is_none_or(|place| self.has_in_memory(place))
    }

    /// Has the disk begin to read what a lookup of a key with this hash lacks in memory, and does not
    /// wait.
    pub(crate) fn ask_for(&self, hash: KeyHash) {
        let places = self.points.find(hash).filter(|place| !self.has_in_memory(*place));
        places.for_each(|place| self.tables.ask_for(place));
    }

    /// What reads stored values.
    pub(crate) fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// Reads in what one version may have of this `memory`.
    pub(crate) fn populate(&self, memory: Share) -> Result<()> {
        self.tables.populate(memory)
    }

    /// Reads in the records of keys that were looked up in `other` lately. If there are to be copies, copies
    /// them, and those of its own sample that are in memory.
    pub(crate) fn warm_like(&self, other: &Self) {
        let making = self.hot.is_wanted().then(|| self.hot.make());
        let copies = making.as_ref().map(|making| Mutex::new(making.begin()));
        let hashes = other.recent.hashes().inspect(|hash| self.recent.keep(*hash));
        let places = in_bursts(hashes).flat_map(|hash| self.points.find(hash));
        let cold: Vec<_> = places.filter(|place| !self.has_in_memory(*place)).collect();
        if cold.is_empty() && copies.is_none() {
            return;
        }
        // A disk answers many reads at a time in hardly more time than one.
        thread::scope(|scope| {
            let first = scope.spawn(|| {
                // Where all processors are busy with cold lookups, this makes them cheap again: it
                // must not be starved, nor must those that read in.
                be_nice();
                copies.iter().for_each(|copies| self.copy_what_is_here(copies));
                // Else what is read here would take the place of what is asked for meanwhile.
                if !cold.is_empty() {
                    other.tell_what_is_used();
                }
            });
            if first.join().is_err() || cold.is_empty() {
                return;
            }
            for places in cold.chunks(cold.len().div_ceil(WARMING).max(MIN_WARMING)) {
                scope.spawn(|| self.read_in(places, copies.as_ref()));
            }
        });
        if let (Some(making), Some(Ok(copies))) = (making, copies.map(Mutex::into_inner)) {
            making.replace(copies);
        }
    }

    /// Reads in the records at these places, which are not in memory.
    fn read_in(&self, places: &[Place], copies: Option<&Mutex<Copies>>) {
        be_nice();
        let mut buffer = Vec::new();
        for places in places.chunks(ASKED_AT_ONCE) {
            in_bursts(places.iter()).for_each(|place| self.tables.ask_for(*place));
            for place in in_bursts(places.iter()) {
                // Damage is for the lookup to find that meets it.
                let Ok(entry) = self.tables.entry(*place, &mut buffer) else { continue };
                if let Some(Ok(mut copies)) = copies.map(Mutex::lock) {
                    keep(&mut copies, *place, &entry);
                }
            }
        }
    }

    /// Copies what was looked up lately and is in memory.
    fn copy_what_is_here(&self, copies: &Mutex<Copies>) {
        let Ok(mut copies) = copies.lock() else { return };
        let mut buffer = Vec::new();
        let hashes = in_bursts(self.recent.hashes());
        let places = hashes.flat_map(|hash| self.points.find(hash));
        for place in places.filter(|place| self.has_in_memory(*place)) {
            if let Ok(entry) = self.entry(place, &mut buffer) {
                keep(&mut copies, place, &entry);
            }
        }
    }

    /// Copies what was looked up lately and is in memory, if there are to be copies and the kernel
    /// gives pages up; unless somebody does so already.
    pub(crate) fn keep_hot(&self) {
        if !self.hot.is_wanted() || !self.tables.pages_go() {
            return;
        }
        let Some(making) = self.hot.try_make() else { return };
        let copies = Mutex::new(making.begin());
        self.copy_what_is_here(&copies);
        making.replace(copies.into_inner().expect("copying does not panic"));
    }

    /// Which of all sets of copies this has; 0 for none, and later ones have greater numbers.
    pub(crate) fn copies_made(&self) -> u64 {
        self.hot.made()
    }

    /// Gives the memory of the copies back.
    pub(crate) fn drop_copies(&self) {
        if let Some(making) = self.hot.try_make().filter(|_| self.hot.made() > 0) {
            making.replace(Copies::none());
        }
    }

    /// Tells the kernel that what was looked up lately is in use.
    fn tell_what_is_used(&self) {
        let hashes = in_bursts(self.recent.hashes());
        let places = hashes.flat_map(|hash| self.points.find(hash));
        // Of what there is a copy, the page is in use no more.
        let places = places.filter(|place| !self.hot.has(*place));
        places.for_each(|place| self.tables.tell_used(place));
    }

    /// Notes what of the tables is in memory.
    pub(crate) fn look(&self) -> Result<()> {
        self.tables.look()
    }

    /// The record at `place`: its copy, or what the tables have; `buffer` holds it if it is not
    /// in memory in one piece with others.
    fn entry<'a>(&'a self, place: Place, buffer: &'a mut Vec<u8>) -> Result<BlockEntry<'a>> {
        if let Some(key) = self.hot.copy(place, buffer) {
            let length = buffer.len();
            let (key, stored) = buffer.split_at(key);
            return Ok(BlockEntry { key, stored, length });
        }
        self.tables.entry(place, buffer)
    }

    pub(crate) fn has_in_memory(&self, place: Place) -> bool {
        self.hot.has(place) || self.tables.in_memory(place)
    }

    fn get_at(
        &self,
        place: Place,
        hash: KeyHash,
        key: Key<'_>,
        value: &mut Vec<u8>,
    ) -> Result<bool> {
        let mut buffer = Vec::new();
        let entry = self.entry(place, &mut buffer)?;
        value.clear();
        let decoded = if entry.key == key.as_bytes() {
            self.decoder.decode(hash, entry.stored, value).map(|()| true)
        } else {
            // Another key with the same mark, or this one, damaged. A whole record that stands in
            // the place of another one is damage too: pages of a file may have been exchanged.
            let other = KeyHash::of(entry.key);
            let is_its_place = self.points.find(other).any(|its| its == place);
            let checked = Decoder::check(other, entry.stored).map(|_| false);
            if is_its_place { checked } else { Err(Damaged) }
        };
        decoded.map_err(|Damaged| self.tables.damaged(place))
    }
}

#[cfg(test)]
impl Records {
    /// Is to have copies, as if all were too large for the memory.
    pub(crate) fn copy_hot(&mut self, most: u64) {
        self.hot = Hot::within(most);
    }

    /// As if the kernel had given all pages up.
    pub(crate) fn let_all_go(&self) {
        self.tables.let_all_go();
    }

    pub(crate) fn has_copy(&self, hash: KeyHash) -> bool {
        self.points.find(hash).any(|place| self.hot.has(place))
    }
}

/// Copies a record that is what was written: damage in memory is not to be handed on.
fn keep(copies: &mut Copies, place: Place, entry: &BlockEntry<'_>) {
    if Decoder::check(KeyHash::of(entry.key), entry.stored).is_ok() {
        copies.keep(place, entry);
    }
}

/// These items, letting others run in between: Linux lets also a thread that is nice run for some
/// milliseconds before it gives way to one that serves and has just been woken.
fn in_bursts<T>(items: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
    items.enumerate().map(|(i, item)| {
        if i % BURST == BURST - 1 {
            thread::yield_now();
        }
        item
    })
}

/// The dictionary that `manifest` lists, or an empty one.
pub(crate) fn read_dictionary(dir: &Path, manifest: &Manifest) -> Result<Dictionary> {
    let Some(listed) = manifest.dictionary else { return Ok(Dictionary::default()) };
    let path = layout::dictionary(dir);
    let mut bytes = Vec::new();
    let read = regular::open(&path)?.take(listed.bytes + 1).read_to_end(&mut bytes);
    read.map_err(|e| Error::io("read the dictionary", &path, e))?;
    if FileSums::of_bytes(&bytes) != listed.sums() {
        return Err(damaged("its bytes are not those that were written").at(path));
    }
    Ok(Dictionary::from_bytes(bytes))
}
