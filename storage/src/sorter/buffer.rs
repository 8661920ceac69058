//! The records that are in memory, and their order.

use std::cmp::Ordering;
use std::hint::black_box;
use std::ops::Range;

use super::order;
use crate::background::build_threads;
use crate::error::{Code, Error, Result};
use crate::record_list::{Record, RecordList};

/// Records that come one by one are gathered in lists of this size.
const LIST_BYTES: usize = 1 << 20;
/// Fewer records are sorted faster than a thread is started.
const RECORDS_A_THREAD: usize = if cfg!(test) { 8 } else { 16 * 1024 };
/// Records that are fetched from memory at a time: enough for the processor to have many loads
/// under way, few enough to stay in its first cache until they are used.
const FETCHED: usize = 16;

/// Lists of records as they came, and an index of where each record begins.
#[derive(Default)]
pub(super) struct Buffer {
    lists: Vec<RecordList>,
    /// Reserved at once, never to grow: memory that is reserved but not written to costs
    /// nothing, while growing would take a copy of it.
    index: Vec<IndexEntry>,
    /// What the lists have reserved, in bytes.
    bytes: usize,
    /// What all together may take, in bytes.
    limit: usize,
    /// No record so far comes before an earlier one.
    sorted: bool,
    /// How many bytes all keys so far begin with in common.
    common: usize,
}

/// Where a record begins, and the bytes that decide most comparisons: the first eight of
/// its key after what all keys have in common. They save the memory access that a
/// comparison would cost.
#[derive(Clone, Copy)]
struct IndexEntry {
    decisive: u64,
    list: u32,
    at: u32,
}

const ENTRY_BYTES: usize = size_of::<IndexEntry>();

impl Buffer {
    pub(super) fn new(limit: usize) -> Result<Self> {
        let mut buffer = Self { limit, sorted: true, ..Self::default() };
        // Records below about 50 bytes fill the index first. More room for it would not be
        // used by others, and counts against limits of address space all the same.
        buffer.index.try_reserve_exact(limit / 4 / ENTRY_BYTES).map_err(|e| {
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
        let entries = self.index.len() + records;
        entries <= self.index.capacity() && self.bytes + bytes + entries * ENTRY_BYTES <= self.limit
    }

    /// Enters a record in the index.
    fn note(&mut self, list: usize, at: usize) {
        let small = |n: usize| u32::try_from(n).expect("a list has at most some megabytes");
        let entry = IndexEntry { decisive: 0, list: small(list), at: small(at) };
        let key = self.record(&entry).key;
        self.common = match self.index.first() {
            None => key.len(),
            Some(first) => {
                let pairs = self.record(first).key[..self.common].iter().zip(key);
                pairs.take_while(|(a, b)| a == b).count()
            }
        };
        if self.sorted
            && let Some(last) = self.index.last()
        {
            let (last, this) = (self.record(last), self.record(&entry));
            self.sorted = order(last, this) != Ordering::Greater;
        }
        self.index.push(entry);
    }

    fn record(&self, entry: &IndexEntry) -> Record<'_> {
        self.list(entry).get(entry.at as usize)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Brings the records into order and gives them; free if they came in it.
    pub(super) fn sort(mut self) -> SortedBuffer {
        let all = self.index.len();
        if self.sorted {
            return SortedBuffer { buffer: self, shares: std::iter::once(0..all).collect() };
        }
        let share = all.div_ceil(threads_for(all));
        let mut entries = std::mem::take(&mut self.index);
        std::thread::scope(|scope| {
            for entries in entries.chunks_mut(share) {
                scope.spawn(|| self.sort_share(entries));
            }
        });
        self.index = entries;
        let shares = (0..all).step_by(share).map(|from| from..(from + share).min(all)).collect();
        SortedBuffer { buffer: self, shares }
    }

    fn sort_share(&self, entries: &mut [IndexEntry]) {
        for entries in entries.chunks_mut(FETCHED) {
            self.fetch_heads(entries);
            for entry in entries {
                entry.decisive = decisive(&self.record(entry).key[self.common..]);
            }
        }
        entries.sort_unstable_by(|a, b| self.compare(a, b));
    }

    /// Has the processor load the beginnings of these records, all at the same time: whoever reads
    /// one after the other waits for the memory at each.
    fn fetch_heads(&self, entries: &[IndexEntry]) {
        let heads = entries.iter().map(|entry| self.list(entry).touch_head(entry.at as usize));
        black_box(heads.fold(0, |all, one| all ^ one));
    }

    /// The same with all of each.
    fn fetch(&self, entries: &[IndexEntry]) {
        self.fetch_heads(entries);
        let records = entries.iter().map(|entry| self.list(entry).touch(entry.at as usize));
        black_box(records.fold(0, |all, one| all ^ one));
    }

    fn list(&self, entry: &IndexEntry) -> &RecordList {
        &self.lists[entry.list as usize]
    }

    fn compare(&self, a: &IndexEntry, b: &IndexEntry) -> Ordering {
        a.decisive.cmp(&b.decisive).then_with(|| {
            let by_record = order(self.record(a), self.record(b));
            by_record.then((a.list, a.at).cmp(&(b.list, b.at)))
        })
    }
}

/// Parts of the index of a buffer, each in order by itself.
pub(super) type Shares = Vec<Range<usize>>;

/// A buffer in order.
pub(super) struct SortedBuffer {
    buffer: Buffer,
    shares: Shares,
}

impl SortedBuffer {
    /// All its records, cut into stretches of about the same length that follow one another: as
    /// many as threads can well read at the same time, but no more than `most`.
    pub(super) fn stretches(&self, most: usize) -> Vec<Shares> {
        let all = self.shares.iter().map(Range::len).sum();
        let count = if self.shares.len() == 1 { 1 } else { threads_for(all).min(most) };
        let mut begins: Vec<usize> = self.shares.iter().map(|share| share.start).collect();
        (1..=count).map(|number| self.stretch_to(number, count, &mut begins)).collect()
    }

    /// The records from where each share `begins` to `number` of `count` equal steps of the whole.
    fn stretch_to(&self, number: usize, count: usize, begins: &mut [usize]) -> Shares {
        let Self { buffer, shares } = self;
        let longest = shares.iter().max_by_key(|share| share.len()).filter(|_| number < count);
        let cut = longest.map(|longest| longest.start + longest.len() * number / count);
        let end_of = |share: &Range<usize>| {
            let Some(cut) = cut else { return share.end };
            let before = |entry: &IndexEntry| buffer.compare(entry, &buffer.index[cut]).is_lt();
            share.start + buffer.index[share.clone()].partition_point(before)
        };
        let ends: Vec<usize> = shares.iter().map(end_of).collect();
        let stretch = begins.iter().zip(&ends).map(|(begin, end)| *begin..*end).collect();
        begins.copy_from_slice(&ends);
        stretch
    }

    /// The first record of a stretch.
    pub(super) fn first(&self, stretch: &Shares) -> Option<Record<'_>> {
        let entry = InOrder::new(stretch.clone()).least(&self.buffer);
        entry.map(|entry| self.buffer.record(&entry))
    }

    /// Gives each record of a stretch to `each`, in order.
    pub(super) fn read(
        &self,
        stretch: &Shares,
        mut each: impl FnMut(Record<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut entries = InOrder::new(stretch.clone());
        while let Some(entry) = entries.next(&self.buffer) {
            each(self.buffer.record(&entry))?;
        }
        Ok(())
    }

    /// The buffer, with nothing in it.
    pub(super) fn clear(self) -> Buffer {
        let mut buffer = self.buffer;
        buffer.lists.clear();
        buffer.index.clear();
        Buffer { bytes: 0, sorted: true, ..buffer }
    }
}

/// Reads a sorted buffer: stands at one of its records.
pub(super) struct BufferReader {
    buffer: Buffer,
    left: InOrder,
    /// The index entry of the record it stands at.
    at: Option<IndexEntry>,
}

impl BufferReader {
    /// Reads from the first record on.
    pub(super) fn new(sorted: SortedBuffer) -> Self {
        let SortedBuffer { buffer, shares } = sorted;
        let mut reader = Self { buffer, left: InOrder::new(shares), at: None };
        reader.advance();
        reader
    }

    /// The record it stands at; `None` behind the last.
    pub(super) fn record(&self) -> Option<Record<'_>> {
        self.at.as_ref().map(|entry| self.buffer.record(entry))
    }

    /// Goes to the next record.
    pub(super) fn advance(&mut self) {
        self.at = self.left.next(&self.buffer);
    }
}

/// Brings shares together.
struct InOrder {
    /// What is left of each.
    shares: Shares,
    /// The next ones of all, the very next at the end: their records were fetched.
    fetched: Vec<IndexEntry>,
}

impl InOrder {
    fn new(shares: Shares) -> Self {
        Self { shares, fetched: Vec::with_capacity(FETCHED) }
    }

    fn next(&mut self, buffer: &Buffer) -> Option<IndexEntry> {
        if self.fetched.is_empty() {
            while self.fetched.len() < FETCHED
                && let Some(entry) = self.least(buffer)
            {
                self.fetched.push(entry);
            }
            buffer.fetch(&self.fetched);
            self.fetched.reverse();
        }
        self.fetched.pop()
    }

    fn least(&mut self, buffer: &Buffer) -> Option<IndexEntry> {
        let heads = self.shares.iter_mut().filter(|share| share.start < share.end);
        // Of a buffer that came in order `decisive` is not set, but then there is one share.
        let least =
            heads.min_by(|a, b| buffer.compare(&buffer.index[a.start], &buffer.index[b.start]));
        least.and_then(Iterator::next).map(|at| buffer.index[at])
    }
}

/// How many threads are worth while for so many records.
fn threads_for(records: usize) -> usize {
    build_threads().min(records / RECORDS_A_THREAD).max(1)
}

/// The first eight bytes as a number that is ordered as they are. A shorter text is
/// filled with zeros; where that makes two keys equal, the keys themselves are compared.
fn decisive(key: &[u8]) -> u64 {
    let mut first = [0; 8];
    let n = key.len().min(8);
    first[..n].copy_from_slice(&key[..n]);
    u64::from_be_bytes(first)
}
