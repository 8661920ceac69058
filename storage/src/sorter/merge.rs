//! Sorted runs become one sequence.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::path::Path;

use super::run::{Run, RunReader, RunWriter};
use super::{Entry, order};
use crate::error::Result;

/// Reads runs side by side and gives the least of their records each time.
pub(super) struct Merge {
    heap: BinaryHeap<Cursor>,
    // The record given last.
    key: Vec<u8>,
    rank: Vec<u8>,
    value: Vec<u8>,
}

/// A run at one of its records. The greatest of a heap is the one whose record is the
/// least; of equal ones, that of the earlier run, whose records were pushed earlier.
struct Cursor {
    run: RunReader,
    number: usize,
}

/// Merges `runs` into one at `path`; they are removed.
pub(super) fn into_one(runs: Vec<Run>, path: &Path) -> Result<Run> {
    let mut writer = RunWriter::create(path)?;
    let mut merge = Merge::new(runs)?;
    while let Some(Entry { key, rank, value }) = merge.next()? {
        writer.write(key, rank, value)?;
    }
    writer.finish()
}

impl Merge {
    /// `runs` in the order of the pushes they hold.
    pub(super) fn new(runs: Vec<Run>) -> Result<Self> {
        let mut heap = BinaryHeap::with_capacity(runs.len());
        for (number, run) in runs.into_iter().enumerate() {
            let mut run = RunReader::open(run)?;
            if run.advance()? {
                heap.push(Cursor { run, number });
            }
        }
        Ok(Self { heap, key: Vec::new(), rank: Vec::new(), value: Vec::new() })
    }

    pub(super) fn next(&mut self) -> Result<Option<Entry<'_>>> {
        let Some(mut least) = self.heap.peek_mut() else { return Ok(None) };
        least.run.read_value(&mut self.value)?;
        std::mem::swap(&mut self.key, &mut least.run.key);
        std::mem::swap(&mut self.rank, &mut least.run.rank);
        if !least.run.advance()? {
            // Its file is removed here, not at the end: the disk is needed for the result.
            PeekMut::pop(least);
        }
        Ok(Some(Entry { key: &self.key, rank: &self.rank, value: &self.value }))
    }
}

impl Ord for Cursor {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_record = order((&self.run.key, &self.run.rank), (&other.run.key, &other.run.rank));
        by_record.then(self.number.cmp(&other.number)).reverse()
    }
}

impl PartialOrd for Cursor {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Cursor {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Cursor {}
