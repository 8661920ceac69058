//! Records one behind the other in one allocation: how they travel from where they are
//! read to the sorter, and from there to the builder, many at a time.

/// Three lengths (u32, little-endian) before the bytes of each record.
pub(crate) const HEAD_BYTES: usize = 12;
/// Where among them the length of the value stands.
const VALUE_LENGTH: usize = 8;
/// A list is handed on when it has so many bytes.
const LIST_BYTES: usize = 256 * 1024;
/// What a processor loads at a time.
const LINE_BYTES: usize = 64;
/// A longer record is loaded ahead by the processor itself, which sees that it is read in order.
const MOST_TOUCHED: usize = 2048;

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// What it is looked up by.
    pub key: &'a [u8],
    /// What orders it among those of the same key.
    pub rank: &'a [u8],
    /// The value, as it is served or packed ([`crate::Packing`]).
    pub value: &'a [u8],
}

/// Some records, in the order in which they were pushed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordList {
    bytes: Vec<u8>,
    count: usize,
    /// Where the last one begins.
    last: usize,
}

impl RecordList {
    /// None yet, and room until it is full: a little more, so that the record that fills it fits.
    pub fn to_fill() -> Self {
        Self::with_capacity(LIST_BYTES + LIST_BYTES / 8)
    }

    /// Whether it should be handed on.
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= LIST_BYTES
    }

    /// None yet, and room for `bytes`.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), ..Self::default() }
    }

    /// What a record takes here, in bytes.
    pub fn cost(key: &[u8], rank: &[u8], value: &[u8]) -> usize {
        HEAD_BYTES + key.len() + rank.len() + value.len()
    }

    /// Adds a record. None of its parts may have 4 GiB; the limits of keys and values are
    /// far below that.
    pub fn push(&mut self, key: &[u8], rank: &[u8], value: &[u8]) {
        self.last = self.bytes.len();
        self.count += 1;
        self.bytes.extend_from_slice(&head(Record { key, rank, value }));
        for part in [key, rank, value] {
            self.bytes.extend_from_slice(part);
        }
    }

    /// The record pushed last.
    pub fn last(&self) -> Option<Record<'_>> {
        (self.count > 0).then(|| self.get(self.last))
    }

    /// Makes the value of the record pushed last longer.
    ///
    /// # Panics
    /// If there is none.
    pub fn extend_last(&mut self, value: &[u8]) {
        let before = self.last().expect("there is a record to extend").value.len();
        self.set_length(before + value.len());
        self.bytes.extend_from_slice(value);
    }

    /// Puts another value in the place of that of the record pushed last.
    ///
    /// # Panics
    /// If there is none.
    pub fn replace_last(&mut self, value: &[u8]) {
        let before = self.last().expect("there is a record to change").value.len();
        self.bytes.truncate(self.bytes.len() - before);
        self.set_length(value.len());
        self.bytes.extend_from_slice(value);
    }

    fn set_length(&mut self, value: usize) {
        let at = self.last + VALUE_LENGTH;
        self.bytes[at..at + 4].copy_from_slice(&length(value));
    }

    /// Takes away all records behind the first `count`.
    pub fn truncate(&mut self, count: usize) {
        if count >= self.count {
            return;
        }
        let end = self.places().nth(count).expect("there are more than `count`");
        let last = count.checked_sub(1).and_then(|last| self.places().nth(last));
        self.bytes.truncate(end);
        self.count = count;
        self.last = last.unwrap_or(0);
    }

    /// All records, in order.
    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        self.places().map(|at| self.get(at))
    }

    /// Where each record begins.
    pub(crate) fn places(&self) -> impl Iterator<Item = usize> {
        let mut next = 0;
        std::iter::from_fn(move || {
            let at = next;
            next = self.after(at)?;
            Some(at)
        })
    }

    /// Where the record that begins `at` ends; `None` if that is the end of the list.
    pub(crate) fn after(&self, at: usize) -> Option<usize> {
        let head = self.bytes.get(at..at + HEAD_BYTES)?;
        Some(at + HEAD_BYTES + lengths(head).iter().sum::<usize>())
    }

    /// The record that begins `at`, one of [`RecordList::places`].
    pub(crate) fn get(&self, at: usize) -> Record<'_> {
        let (head, rest) = self.bytes[at..].split_at(HEAD_BYTES);
        let [key, rank, value] = lengths(head);
        let (key, rest) = rest.split_at(key);
        let (rank, rest) = rest.split_at(rank);
        Record { key, rank, value: &rest[..value] }
    }

    /// Loads the beginning of the record that begins `at`, which says how long it is. What it gives
    /// has no meaning but that it is not there before the bytes are.
    pub(crate) fn touch_head(&self, at: usize) -> u8 {
        self.bytes[at]
    }

    /// Loads all of the record that begins `at`, up to a few kilobytes; gives what
    /// [`RecordList::touch_head`] does.
    pub(crate) fn touch(&self, at: usize) -> u8 {
        let end = self.after(at).unwrap_or(at).min(at + MOST_TOUCHED);
        let lines = self.bytes[at..end].iter().step_by(LINE_BYTES);
        lines.fold(0, |all, byte| all ^ byte)
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// What they take in memory, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// What is reserved for them, in bytes.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Gives back what is reserved if less than half of it is used. The records move, at the
    /// cost of a copy: cutting a reservation short where it lies leaves a gap that no other
    /// list fits, and a sorter holds thousands of lists.
    pub fn compact(&mut self) {
        if self.bytes.len() < self.bytes.capacity() / 2 {
            // A clone reserves what it holds.
            self.bytes = self.bytes.clone();
        }
    }

    /// Takes all records away and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        (self.count, self.last) = (0, 0);
    }
}

/// The lengths of key, rank and value.
pub(crate) fn head(record: Record<'_>) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    for (four, part) in head.chunks_exact_mut(4).zip([record.key, record.rank, record.value]) {
        four.copy_from_slice(&length(part.len()));
    }
    head
}

/// The lengths of key, rank and value that a head of 12 bytes says.
pub(crate) fn lengths(head: &[u8]) -> [usize; 3] {
    [0, 4, 8].map(|part| {
        let four = head[part..part + 4].try_into().expect("a range of four bytes");
        u32::from_le_bytes(four) as usize
    })
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).expect("no part of a record has 4 GiB").to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(list: &RecordList) -> Vec<(&[u8], &[u8], &[u8])> {
        assert_eq!(list.len(), list.iter().count());
        assert_eq!(list.last(), list.iter().last());
        list.iter().map(|r| (r.key, r.rank, r.value)).collect()
    }

    #[test]
    fn what_was_pushed_is_there_in_order() {
        let mut list = RecordList::default();
        assert!(list.is_empty() && list.last().is_none());
        let records: [(&[u8], &[u8], &[u8]); 3] =
            [(b"a", b"", b""), (b"bb", b"rank", b"value"), (b"a", b"r", b"x")];
        for (key, rank, value) in records {
            list.push(key, rank, value);
        }
        assert_eq!(listed(&list), records);
        let cost: usize = records.iter().map(|(k, r, v)| RecordList::cost(k, r, v)).sum();
        assert_eq!(list.bytes(), cost);
        list.clear();
        assert_eq!((list.len(), list.bytes()), (0, 0));
    }

    #[test]
    fn a_list_is_full_before_it_grows() {
        let mut list = RecordList::to_fill();
        let capacity = list.capacity();
        while !list.is_full() {
            list.push(b"key", b"", &[7; 1000]);
        }
        assert_eq!(list.capacity(), capacity);
    }

    #[test]
    fn the_last_record_can_change() {
        let mut list = RecordList::default();
        list.push(b"a", b"", b"1");
        list.push(b"b", b"r", b"2");
        list.extend_last(b"34");
        assert_eq!(listed(&list), [(&b"a"[..], &b""[..], &b"1"[..]), (b"b", b"r", b"234")]);
        list.replace_last(b"other");
        assert_eq!(list.last().map(|last| last.value), Some(&b"other"[..]));
        list.replace_last(b"");
        assert_eq!(listed(&list)[1], (&b"b"[..], &b"r"[..], &b""[..]));
        list.push(b"c", b"", b"5");
        list.extend_last(b"!");
        assert_eq!(list.len(), 3);
        assert_eq!(listed(&list)[2], (&b"c"[..], &b""[..], &b"5!"[..]));
    }

    #[test]
    fn a_list_that_is_mostly_empty_gives_its_memory_back() {
        let mut list = RecordList::with_capacity(1000);
        list.push(b"a", b"r", &[7; 600]);
        list.compact();
        assert_eq!(list.capacity(), 1000);
        list.replace_last(b"short");
        list.compact();
        assert_eq!(list.capacity(), RecordList::cost(b"a", b"r", b"short"));
        assert_eq!(listed(&list), [(&b"a"[..], &b"r"[..], &b"short"[..])]);
    }

    #[test]
    fn the_first_few_can_be_kept() {
        let mut list = RecordList::default();
        (0..5u8).for_each(|n| list.push(&[n], b"", &vec![n; n.into()]));
        list.truncate(7);
        assert_eq!(list.len(), 5);
        list.truncate(3);
        list.extend_last(b"!");
        assert_eq!(list.last().map(|last| last.value), Some(&[2, 2, b'!'][..]));
        list.truncate(0);
        assert!(listed(&list).is_empty());
    }
}
