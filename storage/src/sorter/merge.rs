//! Sorted runs, and what is still in memory, become one sequence.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::path::PathBuf;

use super::buffer::{BufferReader, SortedBuffer};
use super::order;
use super::run::{Run, RunReader, RunWriter};
use crate::error::Result;
use crate::record_list::Record;

/// Reads runs side by side and gives the least of their records each time.
pub(super) struct Merge {
    heap: BinaryHeap<Cursor>,
    // The record given last.
    key: Vec<u8>,
    rank: Vec<u8>,
    value: Vec<u8>,
}

/// A source at one of its records. The greatest of a heap is the one whose record is the
/// least; of equal ones, that of the earlier source, whose records were pushed earlier.
struct Cursor {
    source: Source,
    number: usize,
}

enum Source {
    Run(Box<RunReader>),
    Memory(BufferReader),
}

/// Merges `runs` into one at `path`; they are removed.
pub(super) fn into_one(runs: Vec<Run>, path: PathBuf) -> Result<Run> {
    let mut writer = RunWriter::create(path, true)?;
    let mut merge = Merge::new(runs, None)?;
    while let Some(record) = merge.next()? {
        writer.write(record)?;
    }
    writer.finish()
}

impl Merge {
    /// `runs` in the order of the pushes they hold, and what was pushed last.
    pub(super) fn new(runs: Vec<Run>, last: Option<SortedBuffer>) -> Result<Self> {
        let mut heap = BinaryHeap::with_capacity(runs.len() + 1);
        for (number, run) in runs.into_iter().enumerate() {
            let mut run = Box::new(RunReader::open(run)?);
            if run.advance()? {
                heap.push(Cursor { source: Source::Run(run), number });
            }
        }
        if let Some(buffer) = last.map(BufferReader::new).filter(|last| last.record().is_some()) {
            heap.push(Cursor { source: Source::Memory(buffer), number: usize::MAX });
        }
        Ok(Self { heap, key: Vec::new(), rank: Vec::new(), value: Vec::new() })
    }

    pub(super) fn next(&mut self) -> Result<Option<Record<'_>>> {
        let Self { heap, key, rank, value } = self;
        let Some(mut least) = heap.peek_mut() else { return Ok(None) };
        let more = match &mut least.source {
            Source::Run(run) => {
                run.read_value(value)?;
                std::mem::swap(key, &mut run.key);
                std::mem::swap(rank, &mut run.rank);
                run.advance()?
            }
            Source::Memory(buffer) => {
                let record = buffer.record().expect("a cursor stands at a record");
                for (own, its) in [(key, record.key), (rank, record.rank), (value, record.value)] {
                    own.clear();
                    own.extend_from_slice(its);
                }
                buffer.advance();
                buffer.record().is_some()
            }
        };
        if !more {
            // The file of a run is removed here, not at the end: the disk is needed for the
            // result.
            PeekMut::pop(least);
        }
        Ok(Some(Record { key: &self.key, rank: &self.rank, value: &self.value }))
    }
}

impl Cursor {
    /// The record it stands at; of a run's, the value may be missing.
    fn record(&self) -> Record<'_> {
        match &self.source {
            Source::Run(run) => run.record(),
            Source::Memory(buffer) => buffer.record().expect("a cursor stands at a record"),
        }
    }
}

impl Ord for Cursor {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_record = order(self.record(), other.record());
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
