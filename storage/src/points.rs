//! The index of single keys: where in which SST a key's record stands.
//!
//! RocksDB finds a key by searching an ordered index and then a block. A reader of single
//! keys needs no order: here one cache line of a hash table says where the record is. The
//! table is derived from the SSTs when `db/` is made, lies beside RocksDB's own files, is
//! sealed like them, and can be deleted and made again.
//!
//! - Every record of the snapshot is in the table, so a key that is not in it is not in the
//!   snapshot (invariant 7). The converse does not hold: 16 bits of a key's hash are kept,
//!   so who finds a place must compare the key that stands there.
//! - The table is held in memory and has a checksum of its own: no damage of the disk after
//!   the version was opened changes an answer.
//!
//! ```text
//! "TIDEPTS1" [buckets u64] [records u64] [XXH3 of the buckets u64]    little-endian
//! buckets, 64 bytes each: eight places
//! place: [16 bits of the key's hash, not 0][17 bits: number of the file][31 bits: offset]; 0: free
//! ```
//!
//! A record is in the bucket that its hash points to or, if that is full, in the next that
//! is not. Tables are filled to nine tenths, so nearly all are in the first; 8.9 bytes a
//! record.

use std::fs::File;
use std::hint::black_box;
use std::io::{BufWriter, Read, Write};
use std::path::Path;

use twox_hash::XxHash3_64;

use crate::durable;
use crate::error::{Code, Error, Result};
use crate::mapping::in_large_pages;
use crate::regular;
use crate::space::require_space;

const MAGIC: [u8; 8] = *b"TIDEPTS1";
const HEAD_BYTES: usize = 32;
const BUCKET_BYTES: usize = 64;
const PLACES: usize = 8;
const OFFSET_BITS: u32 = 31;
const FILE_BITS: u32 = 17;

/// The hash of a key: XXH3 with 64 bits. Also the seed of its value's checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyHash(pub(crate) u64);

impl KeyHash {
    pub(crate) fn of(key: &[u8]) -> Self {
        Self(XxHash3_64::oneshot(key))
    }

    fn mark(self) -> u64 {
        (self.0 & 0xffff).max(1)
    }

    /// The high bits choose the bucket, the low ones are the mark: they are independent.
    fn bucket(self, buckets: usize) -> usize {
        ((u128::from(self.0) * buckets as u128) >> 64) as usize
    }
}

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// The file's place in the manifest, from 0 on.
    pub(crate) file: usize,
    /// Of the record's first byte.
    pub(crate) offset: u64,
}

impl Place {
    fn pack(self) -> Option<u64> {
        let file = u64::try_from(self.file).ok().filter(|file| *file < 1 << FILE_BITS)?;
        (self.offset < 1 << OFFSET_BITS).then_some(file << OFFSET_BITS | self.offset)
    }

    fn unpack(bits: u64) -> Self {
        let file = (bits >> OFFSET_BITS) & ((1 << FILE_BITS) - 1);
        Self { file: file as usize, offset: bits & ((1 << OFFSET_BITS) - 1) }
    }
}

/// One cache line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(align(64))]
struct Bucket([u64; PLACES]);

/// The table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Points {
    buckets: Vec<Bucket>,
    records: u64,
}

impl Points {
    /// An empty table with room for `records`.
    ///
    /// # Errors
    /// [`Code::IoFailed`] if the memory for it cannot be had.
    pub(crate) fn with_room_for(records: u64) -> Result<Self> {
        let places = records as u128 * 10 / 9;
        let count = usize::try_from(places / PLACES as u128 + 1).unwrap_or(usize::MAX);
        let mut buckets = Vec::new();
        buckets.try_reserve_exact(count).map_err(|e| {
            let text = format!(
                "cannot index {records} records: that takes {} bytes of memory; push the data as several datasets, or build with more memory",
                count.saturating_mul(BUCKET_BYTES)
            );
            Error::new(Code::IoFailed, text).because(e)
        })?;
        in_large_pages(buckets.spare_capacity_mut());
        buckets.resize(count, Bucket::default());
        Ok(Self { buckets, records: 0 })
    }

    /// Notes that a record whose key has `hash` stands at `place`.
    ///
    /// # Errors
    /// [`Code::IoFailed`] if the place is beyond what the table can hold: a file of 2 GiB.
    pub(crate) fn insert(&mut self, hash: KeyHash, place: Place) -> Result<()> {
        let bits = place.pack().ok_or_else(|| {
            let text = "a record lies beyond the first 2 GiB of its file, which no index can say: this is a fault in the program, please report it";
            Error::new(Code::IoFailed, text)
        })?;
        let mut at = hash.bucket(self.buckets.len());
        loop {
            if let Some(free) = self.buckets[at].0.iter_mut().find(|place| **place == 0) {
                *free = hash.mark() << (FILE_BITS + OFFSET_BITS) | bits;
                self.records += 1;
                return Ok(());
            }
            at = (at + 1) % self.buckets.len();
        }
    }

    /// Has the processor load the buckets of all these, at the same time: whoever inserts one after
    /// the other waits for the memory at each.
    pub(crate) fn fetch(&self, hashes: impl Iterator<Item = KeyHash>) {
        let firsts = hashes.map(|hash| self.buckets[hash.bucket(self.buckets.len())].0[0]);
        black_box(firsts.fold(0, |all, one| all ^ one));
    }

    /// Where a key with `hash` may stand: nearly always one place or none. Costs one cache
    /// miss.
    pub(crate) fn find(&self, hash: KeyHash) -> Candidates<'_> {
        let (mark, at) = (hash.mark(), hash.bucket(self.buckets.len()));
        Candidates { points: self, mark, at, left: self.buckets[at].marked(mark) }
    }

    /// A place that is drawn: any with the same likelihood.
    pub(crate) fn draw(&self, random: &mut fastrand::Rng) -> Option<Place> {
        // Of the places nine in ten are taken; in a table of very few records, fewer.
        let tries = if self.records == 0 { 0 } else { 1000 };
        (0..tries).find_map(|_| {
            let bucket = &self.buckets[random.usize(..self.buckets.len())];
            let bits = bucket.0[random.usize(..PLACES)];
            (bits != 0).then(|| Place::unpack(bits))
        })
    }

    /// The places of all records, in no order.
    pub(crate) fn all(&self) -> impl Iterator<Item = Place> {
        let places = self.buckets.iter().flat_map(|bucket| bucket.0);
        places.filter(|bits| *bits != 0).map(Place::unpack)
    }

    /// How many records are in the table.
    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// Writes the table to a new file at `path`, durably but for its name.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let write = |e| Error::io("write the index", path, e);
        let bytes = HEAD_BYTES + self.buckets.len() * BUCKET_BYTES;
        require_space(path.parent().unwrap_or(path), bytes as u64)?;
        let file = File::create(path).map_err(|e| Error::io("make the index", path, e))?;
        let mut out = BufWriter::with_capacity(1 << 20, file);
        let mut sum = XxHash3_64::new();
        self.each_stretch(&mut |bytes| {
            std::hash::Hasher::write(&mut sum, bytes);
            Ok(())
        })?;
        let head = [self.buckets.len() as u64, self.records, std::hash::Hasher::finish(&sum)];
        out.write_all(&MAGIC).map_err(write)?;
        head.iter().try_for_each(|n| out.write_all(&n.to_le_bytes())).map_err(write)?;
        self.each_stretch(&mut |bytes| out.write_all(bytes).map_err(write))?;
        let file = out.into_inner().map_err(|e| write(e.into_error()))?;
        durable::sync_file(&file, path)
    }

    fn each_stretch(&self, each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut bytes = Vec::with_capacity(STRETCH * BUCKET_BYTES);
        for buckets in self.buckets.chunks(STRETCH) {
            bytes.clear();
            let places = buckets.iter().flat_map(|bucket| bucket.0);
            places.for_each(|place| bytes.extend_from_slice(&place.to_le_bytes()));
            each(&bytes)?;
        }
        Ok(())
    }

    /// Reads the table at `path` into memory.
    ///
    /// # Errors
    /// [`Code::VersionUnusable`] if it is not what was written.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let mut file = regular::open(path)?;
        let size = file.metadata().map_err(|e| Error::io("read the size of the index", path, e))?;
        Self::read_from(&mut file, size.len(), path)
    }

    /// The same of `size` bytes of `file`, which is at `path`.
    pub(crate) fn read_from(file: &mut impl Read, size: u64, path: &Path) -> Result<Self> {
        let read = |e| Error::io("read the index", path, e);
        let mut head = [0; HEAD_BYTES];
        if size < HEAD_BYTES as u64 {
            return Err(unfit("it is too short").at(path));
        }
        file.read_exact(&mut head).map_err(read)?;
        let number = |at: usize| {
            u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes of the head"))
        };
        let (count, records, sum) = (number(8), number(16), number(24));
        let fits = count.checked_mul(BUCKET_BYTES as u64) == Some(size - HEAD_BYTES as u64);
        if head[..8] != MAGIC || !fits || count == 0 {
            return Err(unfit("its head is not that of an index of this size").at(path));
        }
        let mut points = Self::with_room_for(0)?;
        let buckets = usize::try_from(count).expect("the file has that size");
        points.buckets.clear();
        points.buckets.try_reserve_exact(buckets).map_err(|e| {
            let text = format!("the index of this version takes {size} bytes of memory");
            Error::new(Code::TooLittleMemory, text).at(path).because(e)
        })?;
        in_large_pages(points.buckets.spare_capacity_mut());
        points.records = records;
        let mut found = XxHash3_64::new();
        let mut bytes = vec![0; STRETCH * BUCKET_BYTES];
        let mut left = buckets;
        while left > 0 {
            let now = left.min(STRETCH);
            let bytes = &mut bytes[..now * BUCKET_BYTES];
            file.read_exact(bytes).map_err(read)?;
            std::hash::Hasher::write(&mut found, bytes);
            points.buckets.extend(bytes.chunks_exact(BUCKET_BYTES).map(Bucket::of));
            left -= now;
        }
        // A table without a free place would be searched for ever.
        let room = points.buckets.iter().any(|bucket| !bucket.is_full());
        if std::hash::Hasher::finish(&found) != sum || !room {
            return Err(unfit("it does not fit its checksum").at(path));
        }
        Ok(points)
    }
}

/// Buckets that are read or written at a time.
const STRETCH: usize = 4096;

/// Places where a key may stand.
pub(crate) struct Candidates<'a> {
    points: &'a Points,
    mark: u64,
    /// The bucket that is looked at.
    at: usize,
    /// A bit for each of its places that is still to be given.
    left: u8,
}

impl Iterator for Candidates<'_> {
    type Item = Place;

    fn next(&mut self) -> Option<Place> {
        let buckets = &self.points.buckets;
        while self.left == 0 {
            // Only from a full bucket may a record have moved on. One bucket is not full.
            if !buckets[self.at].is_full() {
                return None;
            }
            self.at = (self.at + 1) % buckets.len();
            self.left = buckets[self.at].marked(self.mark);
        }
        let place = self.left.trailing_zeros() as usize;
        self.left &= self.left - 1;
        Some(Place::unpack(buckets[self.at].0[place]))
    }
}

impl Bucket {
    /// Places are filled from the first on.
    fn is_full(&self) -> bool {
        self.0[PLACES - 1] != 0
    }

    /// A bit for each place with this mark.
    fn marked(&self, mark: u64) -> u8 {
        let bit =
            |(i, place): (usize, &u64)| u8::from(place >> (FILE_BITS + OFFSET_BITS) == mark) << i;
        self.0.iter().enumerate().map(bit).fold(0, |all, one| all | one)
    }

    fn of(bytes: &[u8]) -> Self {
        let mut places = [0; PLACES];
        for (place, bytes) in places.iter_mut().zip(bytes.chunks_exact(8)) {
            *place = u64::from_le_bytes(bytes.try_into().expect("chunks of eight"));
        }
        Self(places)
    }
}

fn unfit(why: &str) -> Error {
    Error::new(
        Code::VersionUnusable,
        format!(
            "the index of this version is damaged: {why}; move the db directory away to have it made again from the verified files"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(records: u64) -> Points {
        let mut points = Points::with_room_for(records).unwrap();
        for n in 0..records {
            points.insert(hash(n), place(n)).unwrap();
        }
        points
    }

    fn hash(n: u64) -> KeyHash {
        KeyHash::of(&n.to_le_bytes())
    }

    fn place(n: u64) -> Place {
        Place { file: (n % 100_000) as usize, offset: n * 7919 % (1 << OFFSET_BITS) }
    }

    #[test]
    fn every_record_is_found_and_hardly_anything_else() {
        for records in [0, 1, 7, 8, 9, 100, 5000] {
            let points = table(records);
            assert_eq!(points.records(), records);
            for n in 0..records {
                assert!(points.find(hash(n)).any(|found| found == place(n)), "{n} of {records}");
            }
            let others = (records..records + 10_000).map(|n| points.find(hash(n)).count());
            assert!(others.sum::<usize>() < 20, "of {records}");
        }
    }

    #[test]
    fn keys_of_one_hash_are_all_found() {
        let mut points = Points::with_room_for(100).unwrap();
        for hash in [KeyHash(u64::MAX), KeyHash(0)] {
            let places: Vec<_> = (0..40).map(place).collect();
            places.iter().for_each(|place| points.insert(hash, *place).unwrap());
            let found: Vec<_> = points.find(hash).collect();
            assert_eq!(found.len(), 40);
            assert!(places.iter().all(|place| found.contains(place)));
        }
    }

    #[test]
    fn places_up_to_the_limits_are_kept_and_none_beyond() {
        let mut points = Points::with_room_for(2).unwrap();
        let last = Place { file: (1 << FILE_BITS) - 1, offset: (1 << OFFSET_BITS) - 1 };
        points.insert(hash(1), last).unwrap();
        assert_eq!(points.find(hash(1)).collect::<Vec<_>>(), [last]);
        let beyond = [
            Place { file: 1 << FILE_BITS, offset: 0 },
            Place { file: 0, offset: 1 << OFFSET_BITS },
        ];
        for place in beyond {
            assert_eq!(points.insert(hash(2), place).unwrap_err().code(), Code::IoFailed);
        }
        assert_eq!(points.records(), 1);
    }

    #[test]
    fn what_is_written_is_read_back_and_any_damage_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("points");
        let points = table(40);
        points.write(&path).unwrap();
        assert_eq!(Points::read(&path).unwrap(), points);
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            // The count of records is compared with the manifest by whoever opens.
            let in_records = (16..24).contains(&at);
            std::fs::write(&path, &bad).unwrap();
            assert_eq!(Points::read(&path).is_ok(), in_records, "byte {at}");
            std::fs::write(&path, &good[..at]).unwrap();
            assert_eq!(Points::read(&path).unwrap_err().code(), Code::VersionUnusable, "byte {at}");
        }
        std::fs::write(&path, [&good[..], b"x"].concat()).unwrap();
        assert!(Points::read(&path).is_err());
    }
}
