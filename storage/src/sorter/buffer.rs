//! The records that are in memory, and their order.

use std::cmp::Ordering;

use super::{Entry, order};
use crate::error::{Code, Error, Result};

/// Three lengths before the bytes of each record.
const HEAD_BYTES: usize = 12;
const INDEX_ENTRY_BYTES: usize = size_of::<Place>();

/// Records one behind the other in one allocation, and an index of where each begins.
/// Neither ever grows: both are reserved at once, and memory that is reserved but not
/// written to costs nothing.
#[derive(Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    places: Vec<Place>,
    /// What both together may hold, in bytes.
    limit: usize,
    /// No record so far comes before an earlier one.
    sorted: bool,
}

/// Where a record begins, and the bytes that decide most comparisons: the first eight of
/// its key after what all keys have in common. They save the memory access that a
/// comparison would cost.
struct Place {
    decisive: u64,
    at: usize,
}

impl Buffer {
    pub(super) fn new(limit: usize) -> Result<Self> {
        let mut buffer = Self { limit, sorted: true, ..Self::default() };
        // Records below about 50 bytes fill the index first. More room for it would not be
        // used by others, and counts against limits of address space all the same.
        let places = limit / 4 / INDEX_ENTRY_BYTES;
        let reserved = buffer.bytes.try_reserve_exact(limit);
        reserved.and_then(|()| buffer.places.try_reserve_exact(places)).map_err(|e| {
            Error::new(
                Code::InvalidSetting,
                format!("the system does not give {limit} bytes to sort in: lower the memory budget of builds"),
            )
            .because(e)
        })?;
        Ok(buffer)
    }

    /// Takes the record if there is room for it.
    pub(super) fn push(&mut self, key: &[u8], rank: &[u8], value: &[u8]) -> bool {
        let bytes = HEAD_BYTES + key.len() + rank.len() + value.len();
        let used = self.bytes.len() + (self.places.len() + 1) * INDEX_ENTRY_BYTES;
        if used + bytes > self.limit || self.places.len() == self.places.capacity() {
            return false;
        }
        if self.sorted
            && let Some(last) = self.places.last()
        {
            let last = entry(&self.bytes, last.at);
            self.sorted = order((last.key, last.rank), (key, rank)) != Ordering::Greater;
        }
        self.places.push(Place { decisive: 0, at: self.bytes.len() });
        for part in [key, rank, value] {
            // Checked before: none is longer than 16 MiB.
            self.bytes.extend_from_slice(&(part.len() as u32).to_le_bytes());
        }
        for part in [key, rank, value] {
            self.bytes.extend_from_slice(part);
        }
        true
    }

    /// Brings the records into order; free if they came in it.
    pub(super) fn sort(&mut self) {
        if self.sorted {
            return;
        }
        let common = self.common_prefix();
        let bytes = &self.bytes;
        for place in &mut self.places {
            place.decisive = decisive(&entry(bytes, place.at).key[common..]);
        }
        self.places.sort_unstable_by(|a, b| {
            a.decisive.cmp(&b.decisive).then_with(|| {
                let (x, y) = (entry(bytes, a.at), entry(bytes, b.at));
                order((x.key, x.rank), (y.key, y.rank)).then(a.at.cmp(&b.at))
            })
        });
        self.sorted = true;
    }

    pub(super) fn get(&self, index: usize) -> Option<Entry<'_>> {
        self.places.get(index).map(|place| entry(&self.bytes, place.at))
    }

    pub(super) fn first(&self) -> Option<Entry<'_>> {
        self.get(0)
    }

    pub(super) fn records(&self) -> impl Iterator<Item = Entry<'_>> {
        self.places.iter().map(|place| entry(&self.bytes, place.at))
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.places.clear();
        self.sorted = true;
    }

    /// How many bytes all keys begin with in common.
    fn common_prefix(&self) -> usize {
        let mut records = self.records();
        let Some(first) = records.next() else { return 0 };
        records.fold(first.key.len(), |common, record| {
            let pairs = first.key[..common].iter().zip(record.key);
            pairs.take_while(|(a, b)| a == b).count()
        })
    }
}

/// The first eight bytes as a number that is ordered as they are. A shorter text is
/// filled with zeros; where that makes two keys equal, the keys themselves are compared.
fn decisive(key: &[u8]) -> u64 {
    let mut first = [0; 8];
    let n = key.len().min(8);
    first[..n].copy_from_slice(&key[..n]);
    u64::from_be_bytes(first)
}

/// The record that begins `at`.
fn entry(bytes: &[u8], at: usize) -> Entry<'_> {
    let length = |part: usize| {
        let from = at + 4 * part;
        let four = bytes[from..from + 4].try_into().expect("a range of four bytes");
        u32::from_le_bytes(four) as usize
    };
    let (key, rest) = bytes[at + HEAD_BYTES..].split_at(length(0));
    let (rank, rest) = rest.split_at(length(1));
    Entry { key, rank, value: &rest[..length(2)] }
}
