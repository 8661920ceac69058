//! The records that are in memory, and their order.

use std::cmp::Ordering;
use std::num::NonZero;
use std::ops::Range;

use super::order;
use crate::error::{Code, Error, Result};
use crate::record_list::{Record, RecordList};

/// Records that come one by one are gathered in lists of this size.
const LIST_BYTES: usize = 1 << 20;
/// More threads than this gain little; a build is not to take the whole machine.
const MAX_THREADS: usize = 4;
/// Fewer records are sorted faster than a thread is started.
const RECORDS_A_THREAD: usize = 16 * 1024;

/// Lists of records as they came, and an index of where each record begins.
#[derive(Default)]
pub(super) struct Buffer {
    lists: Vec<RecordList>,
    /// Reserved at once, never to grow: memory that is reserved but not written to costs
    /// nothing, while growing would take a copy of it.
    places: Vec<Place>,
    /// What the lists have reserved, in bytes.
    bytes: usize,
    /// What all together may take, in bytes.
    limit: usize,
    /// No record so far comes before an earlier one.
    sorted: bool,
}

/// Where a record begins, and the bytes that decide most comparisons: the first eight of
/// its key after what all keys have in common. They save the memory access that a
/// comparison would cost.
#[derive(Clone, Copy)]
struct Place {
    decisive: u64,
    list: u32,
    at: u32,
}

const PLACE_BYTES: usize = size_of::<Place>();

impl Buffer {
    pub(super) fn new(limit: usize) -> Result<Self> {
        let mut buffer = Self { limit, sorted: true, ..Self::default() };
        // Records below about 50 bytes fill the index first. More room for it would not be
        // used by others, and counts against limits of address space all the same.
        buffer.places.try_reserve_exact(limit / 4 / PLACE_BYTES).map_err(|e| {
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
        let cost = RecordList::cost(key, rank, value);
        let fits = |list: &RecordList| list.bytes() + cost <= list.capacity();
        let more = match self.lists.last() {
            Some(list) if fits(list) => 0,
            _ => cost.max(LIST_BYTES.min(self.limit / 8)),
        };
        if !self.has_room(1, more) {
            return false;
        }
        if more > 0 {
            self.lists.push(RecordList::with_capacity(more));
            self.bytes += more;
        }
        let list = self.lists.len() - 1;
        let at = self.lists[list].bytes();
        self.lists[list].push(key, rank, value);
        self.note(list, at);
        true
    }

    /// Takes all records of the list; there is room for them.
    pub(super) fn push_list(&mut self, list: RecordList) {
        self.bytes += list.capacity();
        let number = self.lists.len();
        self.lists.push(list);
        let mut at = 0;
        while let Some(next) = self.lists[number].after(at) {
            self.note(number, at);
            at = next;
        }
    }

    /// Whether there is room for so many more records, in lists that have reserved so many
    /// bytes.
    pub(super) fn has_room(&self, records: usize, bytes: usize) -> bool {
        let places = self.places.len() + records;
        places <= self.places.capacity() && self.bytes + bytes + places * PLACE_BYTES <= self.limit
    }

    /// Enters a record in the index.
    fn note(&mut self, list: usize, at: usize) {
        let small = |n: usize| u32::try_from(n).expect("a list has at most some megabytes");
        let place = Place { decisive: 0, list: small(list), at: small(at) };
        if self.sorted
            && let Some(last) = self.places.last()
        {
            let (last, this) = (self.record(last), self.record(&place));
            self.sorted = order(last, this) != Ordering::Greater;
        }
        self.places.push(place);
    }

    fn record(&self, place: &Place) -> Record<'_> {
        self.lists[place.list as usize].get(place.at as usize)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Brings the records into order and gives them; free if they came in it.
    pub(super) fn sort(mut self) -> SortedBuffer {
        let all = self.places.len();
        if self.sorted {
            return SortedBuffer::new(self, std::iter::once(0..all).collect());
        }
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        let threads = threads.min(MAX_THREADS).min(all / RECORDS_A_THREAD).max(1);
        let share = all.div_ceil(threads);
        let mut places = std::mem::take(&mut self.places);
        let common = self.common_prefix(&places);
        std::thread::scope(|scope| {
            for places in places.chunks_mut(share) {
                scope.spawn(|| self.sort_share(places, common));
            }
        });
        self.places = places;
        let shares = (0..all).step_by(share).map(|from| from..(from + share).min(all)).collect();
        SortedBuffer::new(self, shares)
    }

    fn sort_share(&self, places: &mut [Place], common: usize) {
        for place in places.iter_mut() {
            place.decisive = decisive(&self.record(place).key[common..]);
        }
        places.sort_unstable_by(|a, b| self.compare(a, b));
    }

    fn compare(&self, a: &Place, b: &Place) -> Ordering {
        a.decisive.cmp(&b.decisive).then_with(|| {
            let by_record = order(self.record(a), self.record(b));
            by_record.then((a.list, a.at).cmp(&(b.list, b.at)))
        })
    }

    /// How many bytes all keys begin with in common.
    fn common_prefix(&self, places: &[Place]) -> usize {
        let Some(first) = places.first() else { return 0 };
        let first = self.record(first).key;
        places.iter().fold(first.len(), |common, place| {
            let pairs = first[..common].iter().zip(self.record(place).key);
            pairs.take_while(|(a, b)| a == b).count()
        })
    }
}

/// A buffer in order, read from its beginning.
pub(super) struct SortedBuffer {
    buffer: Buffer,
    /// What is left of each share of the index; each is in order by itself.
    left: Vec<Range<usize>>,
    /// The index entry of the record it stands at.
    first: Option<Place>,
}

impl SortedBuffer {
    fn new(buffer: Buffer, shares: Vec<Range<usize>>) -> Self {
        let mut sorted = Self { buffer, left: shares, first: None };
        sorted.advance();
        sorted
    }

    /// The record it stands at; `None` at the end.
    pub(super) fn first(&self) -> Option<Record<'_>> {
        self.first.as_ref().map(|place| self.buffer.record(place))
    }

    /// Goes to the next record.
    pub(super) fn advance(&mut self) {
        let Self { buffer, left, first } = self;
        let heads = left.iter_mut().filter(|share| share.start < share.end);
        // Of a buffer that came in order `decisive` is not set, but then there is one share.
        let least =
            heads.min_by(|a, b| buffer.compare(&buffer.places[a.start], &buffer.places[b.start]));
        *first = least.and_then(Iterator::next).map(|place| buffer.places[place]);
    }

    /// The buffer, with nothing in it.
    pub(super) fn clear(self) -> Buffer {
        let mut buffer = self.buffer;
        buffer.lists.clear();
        buffer.places.clear();
        Buffer { bytes: 0, sorted: true, ..buffer }
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
