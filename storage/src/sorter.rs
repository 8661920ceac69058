//! Records in any order become sorted ones, within a memory budget.
//!
//! The order: by key, then by rank, then the order of [`Sorter::push`]. All three are
//! plain comparisons of bytes.
//!
//! - The budget covers everything: records, index, sample, buffers of the runs on disk.
//!   Ten times the data takes ten times the disk, and no more memory. Only a single record
//!   that is larger than the budget exceeds it, by its own size.
//! - What fits the budget is sorted in memory; no file is made.
//! - A run that was damaged on disk ends in an error, never in another value or a missing
//!   record: every block of it has a checksum, the whole has one, and its records are
//!   counted.
//! - Runs are removed as soon as they were read, and when the sorter is dropped.
//!
//! ```text
//! push → buffer → sorted run ┐
//!        buffer → sorted run ┼ merge, at most `fan_in` at a time → Sorted
//!        buffer → sorted run ┘
//! ```

mod buffer;
mod merge;
mod run;
mod sample;

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

use crate::builder::check_value;
use crate::error::{Code, Error, Result};
use crate::names::{Key, MAX_KEY_BYTES};

use buffer::Buffer;
use merge::Merge;
use run::{Run, RunWriter};
use sample::{SAMPLE_BYTES, Sampler};

/// The least memory a [`Sorter`] works in, in bytes: 1 MiB.
pub const MIN_SORT_BYTES: usize = 1 << 20;

/// What reading or writing one run takes at most: the compressor's two buffers of 64 KiB
/// and its table, and the longest key and rank.
const RUN_BYTES: usize = 288 * 1024;
/// More runs than this at once gain little and cost file descriptors.
const MAX_FAN_IN: usize = 128;

/// Takes records in any order. See the head of this module for the order they come out in.
pub struct Sorter {
    dir: PathBuf,
    buffer: Buffer,
    /// In the order of the pushes they hold, so that a merge of neighbours is stable.
    runs: Vec<Run>,
    /// The run that was written last, while it can still be continued.
    open: Option<RunWriter>,
    fan_in: usize,
    runs_made: u64,
    records: u64,
    sampler: Sampler,
}

impl Sorter {
    /// A sorter that works in `budget_bytes` of memory and, when that is full, puts sorted
    /// runs into `dir`, which is made when the first is.
    ///
    /// # Errors
    /// [`Code::InvalidSetting`] if the budget is below [`MIN_SORT_BYTES`] or more than the
    /// system gives.
    pub fn new(dir: &Path, budget_bytes: usize) -> Result<Self> {
        if budget_bytes < MIN_SORT_BYTES {
            return Err(Error::new(
                Code::InvalidSetting,
                format!(
                    "sorting takes at least {MIN_SORT_BYTES} bytes of memory, {budget_bytes} were given"
                ),
            ));
        }
        // Filling the buffer and merging are never done at the same time, but a run is
        // written while the buffer is full, and one while others are merged.
        let sample = SAMPLE_BYTES.min(budget_bytes / 16);
        let left = budget_bytes - sample;
        let buffer = Buffer::new(left - RUN_BYTES)?;
        let fan_in = (left / RUN_BYTES - 1).clamp(2, MAX_FAN_IN);
        Ok(Self::with(dir, buffer, fan_in, Sampler::new(sample)))
    }

    fn with(dir: &Path, buffer: Buffer, fan_in: usize, sampler: Sampler) -> Self {
        Self {
            dir: dir.to_owned(),
            buffer,
            runs: Vec::new(),
            open: None,
            fan_in,
            runs_made: 0,
            records: 0,
            sampler,
        }
    }

    /// Adds a record. Costs a copy of it, and now and then sorting and writing out what is
    /// in memory.
    ///
    /// # Errors
    /// [`Code::InvalidKey`] or [`Code::ValueTooLarge`]; [`Code::DiskFull`] or
    /// [`Code::IoFailed`] from writing a run, after which the sorter is of no use.
    pub fn push(&mut self, key: &[u8], rank: &[u8], value: &[u8]) -> Result<()> {
        Key::new(key)?;
        check_value(value)?;
        if rank.len() > MAX_KEY_BYTES {
            return Err(Error::new(
                Code::BadRows,
                format!(
                    "rows are to be ordered by something of {} bytes; the most is {MAX_KEY_BYTES}",
                    rank.len()
                ),
            ));
        }
        self.records += 1;
        self.sampler.offer(value);
        if self.buffer.push(key, rank, value) {
            return Ok(());
        }
        self.spill()?;
        if self.buffer.push(key, rank, value) {
            return Ok(());
        }
        // Larger than the whole buffer: it becomes a run by itself.
        self.writer_for(key, rank)?.write(key, rank, value)
    }

    /// How many records were pushed.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// How many bytes of sorted runs lie on the disk now.
    pub fn spilled_bytes(&self) -> u64 {
        self.runs.iter().map(Run::bytes).sum()
    }

    /// Sorts what is left and gives all records in order. Merges runs first if there are
    /// more than can be read at once.
    ///
    /// # Errors
    /// [`Code::DiskFull`], [`Code::IoFailed`], or [`Code::DataCorrupt`] if a run is damaged.
    pub fn finish(mut self) -> Result<Sorted> {
        let (records, samples) = (self.records, self.sampler.take());
        if self.runs.is_empty() && self.open.is_none() {
            self.buffer.sort();
            let source = Source::Memory { buffer: self.buffer, next: 0 };
            return Ok(Sorted { source, records, samples });
        }
        self.spill()?;
        self.close_run()?;
        // Its memory is now the merge's.
        drop(self.buffer);
        let mut runs = self.runs;
        let mut at = 0;
        while let Some(group) = next_group(runs.len(), self.fan_in, &mut at) {
            self.runs_made += 1;
            let path = run_path(&self.dir, self.runs_made);
            let merged = merge::into_one(runs.drain(group.clone()).collect(), &path)?;
            runs.insert(group.start, merged);
        }
        Ok(Sorted { source: Source::Runs(Merge::new(runs)?), records, samples })
    }

    /// Writes the buffer out, as a continuation of the last run where it begins after it:
    /// input that is already sorted becomes one run, and is never merged.
    fn spill(&mut self) -> Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.sort();
        if let Some(first) = buffer.first() {
            let writer = self.writer_for(first.key, first.rank)?;
            buffer.records().try_for_each(|r| writer.write(r.key, r.rank, r.value))?;
        }
        buffer.clear();
        self.buffer = buffer;
        Ok(())
    }

    /// The run to which a record with `key` and `rank` can be added.
    fn writer_for(&mut self, key: &[u8], rank: &[u8]) -> Result<&mut RunWriter> {
        let continues = |open: &RunWriter| order(open.last(), (key, rank)) != Ordering::Greater;
        if !self.open.as_ref().is_some_and(continues) {
            self.close_run()?;
            if self.runs_made == 0 {
                std::fs::create_dir_all(&self.dir)
                    .map_err(|e| Error::io("make the directory for sorting", &self.dir, e))?;
            }
            self.runs_made += 1;
        }
        match &mut self.open {
            Some(open) => Ok(open),
            none => Ok(none.insert(RunWriter::create(&run_path(&self.dir, self.runs_made))?)),
        }
    }

    fn close_run(&mut self) -> Result<()> {
        if let Some(open) = self.open.take() {
            self.runs.push(open.finish()?);
        }
        Ok(())
    }
}

/// The records of a [`Sorter`], in order.
pub struct Sorted {
    source: Source,
    records: u64,
    samples: Vec<Vec<u8>>,
}

enum Source {
    Memory { buffer: Buffer, next: usize },
    Runs(Merge),
}

/// One record. It lives until the next is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its key.
    pub key: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
}

impl Sorted {
    /// The next record, or `None` after the last.
    ///
    /// # Errors
    /// [`Code::DataCorrupt`] if a run on disk is damaged, [`Code::IoFailed`] if it cannot be
    /// read. There is no going on after that.
    #[expect(clippy::should_implement_trait, reason = "the record borrows from the sorter")]
    pub fn next(&mut self) -> Result<Option<Record<'_>>> {
        let entry = match &mut self.source {
            Source::Memory { buffer, next } => {
                *next += 1;
                buffer.get(*next - 1)
            }
            Source::Runs(merge) => merge.next()?,
        };
        Ok(entry.map(|entry| Record { key: entry.key, value: entry.value }))
    }

    /// How many records there are in all.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Some of the values, drawn fairly from all records before the first was taken: the
    /// first 4 KiB of each, 256 KiB in all at most, none of them empty. The same input
    /// gives the same ones.
    pub fn samples(&self) -> &[Vec<u8>] {
        &self.samples
    }
}

/// A record with what decides its place.
#[derive(Clone, Copy)]
struct Entry<'a> {
    key: &'a [u8],
    rank: &'a [u8],
    value: &'a [u8],
}

/// The order of records, but for the order of their pushes.
fn order(a: (&[u8], &[u8]), b: (&[u8], &[u8])) -> Ordering {
    a.cmp(&b)
}

fn run_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("run-{number:06}"))
}

/// Which neighbouring runs to merge into one next, if `runs` are too many to be read at
/// once. Goes round through all of them, so that no record is written more often than
/// others, and merges no more than needed.
fn next_group(runs: usize, fan_in: usize, at: &mut usize) -> Option<std::ops::Range<usize>> {
    if runs <= fan_in {
        return None;
    }
    if *at + 1 >= runs {
        *at = 0;
    }
    let end = runs.min(*at + fan_in.min(runs - fan_in + 1));
    let group = *at..end;
    *at += 1;
    Some(group)
}

#[cfg(test)]
mod tests;
