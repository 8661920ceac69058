//! Records in any order become sorted ones, within a memory budget.
//!
//! The order: by key, then by rank, then the order of [`Sorter::push`]. All three are
//! plain comparisons of bytes.
//!
//! - The budget covers everything: records, index, sample, buffers of the runs on disk.
//!   Ten times the data takes ten times the disk, and no more memory. Only a single record
//!   that is larger than the budget exceeds it, by its own size.
//! - What fits the budget is sorted in memory, and no file is made. Of a few times as much, the
//!   last part stays in memory.
//! - A run that was damaged on disk ends in an error, never in another value or a missing
//!   record: every block of it has a checksum, the whole has one, and its records are
//!   counted.
//! - Runs are removed as soon as they were read, and when the sorter is dropped.
//!
//! ```text
//! push → buffer → sorted run ┐
//!        buffer → sorted run ┼ merge, at most `fan_in` at a time → Sorted
//!        buffer, sorted ─────┘
//! ```
//!
//! Several threads sort what is in memory, each a share of the records. Then several write it as
//! a run, each a stretch of the order.

mod buffer;
mod merge;
mod packed;
mod run;
mod sample;

use std::cmp::Ordering;
use std::path::{Path, PathBuf};
use std::thread::{self, ScopedJoinHandle};

use crate::background::MAX_THREADS;
use crate::builder::check_value;
use crate::error::{Code, Error, Result};
use crate::names::{Key, MAX_KEY_BYTES};
use crate::packed::MAX_PACKED_BYTES;
use crate::record_list::{Record, RecordList};

use buffer::{Buffer, BufferReader, Shares, SortedBuffer};
use merge::Merge;
pub use packed::PackedSorter;
use run::{RUN_BYTES, Run, RunWriter};
use sample::{SAMPLE_BYTES, Sampler};

/// The least memory a [`Sorter`] works in, in bytes: 1 MiB.
pub const MIN_SORT_BYTES: usize = 1 << 20;

/// More runs than this at once gain little and cost file descriptors.
const MAX_FAN_IN: usize = 128;
/// How many runs can be read while the buffer is full, if the budget allows: what they take
/// is kept free. Of more records the last part goes to disk too, so that its memory is given
/// back in time for the index of keys, which grows with them: a ninth of a gigabyte for
/// fourteen million.
const MAX_BESIDE: usize = 3;

/// Takes records in any order. See the head of this module for the order they come out in.
pub struct Sorter {
    dir: PathBuf,
    buffer: Buffer,
    /// In the order of the pushes they hold, so that a merge of neighbours is stable.
    runs: Vec<Run>,
    fan_in: usize,
    /// How many threads write a run at the same time, at most.
    writers: usize,
    /// How many runs can be merged with what is in the buffer.
    beside: usize,
    files_made: u64,
    /// How often the buffer was written out.
    spills: usize,
    records: u64,
    /// `None`: nobody wants a sample.
    sampler: Option<Sampler>,
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
        let sample = SAMPLE_BYTES.min(budget_bytes / 16);
        let left = budget_bytes - sample;
        let at_once = left / 8 / RUN_BYTES;
        let (beside, writers) = (at_once.min(MAX_BESIDE), at_once.clamp(1, MAX_THREADS));
        // While the buffer is full runs are written, or read beside it.
        let buffer = Buffer::new(left - beside.max(writers) * RUN_BYTES)?;
        // While runs are merged without it, one is written.
        let fan_in = (left / RUN_BYTES - 1).clamp(2, MAX_FAN_IN);
        Ok(Self { beside, writers, ..Self::with(dir, buffer, fan_in, Some(Sampler::new(sample))) })
    }

    fn with(dir: &Path, buffer: Buffer, fan_in: usize, sampler: Option<Sampler>) -> Self {
        Self {
            dir: dir.to_owned(),
            buffer,
            runs: Vec::new(),
            fan_in,
            writers: 1,
            beside: 0,
            files_made: 0,
            spills: 0,
            records: 0,
            sampler,
        }
    }

    /// Adds a record. Costs a copy of it, and now and then sorting and writing out what is
    /// in memory.
    ///
    /// # Errors
    /// [`Code::InvalidKey`] or [`Code::ValueTooLarge`] (a packed value may be some bytes longer than
    /// others, so these are refused by the builder); [`Code::DiskFull`] or
    /// [`Code::IoFailed`] from writing a run, after which the sorter is of no use.
    pub fn push(&mut self, key: &[u8], rank: &[u8], value: &[u8]) -> Result<()> {
        let record = Record { key, rank, value };
        check(record)?;
        self.records += 1;
        if let Some(sampler) = &mut self.sampler {
            sampler.offer(value);
        }
        if self.buffer.push(key, rank, value) {
            return Ok(());
        }
        self.spill()?;
        if self.buffer.push(key, rank, value) {
            return Ok(());
        }
        // Larger than the whole buffer: it becomes a run by itself.
        let mut writer = RunWriter::create(self.next_file()?, self.is_much())?;
        writer.write(record)?;
        self.add_run(record, writer.finish()?);
        Ok(())
    }

    /// Adds all records of a list, in order, as [`Sorter::push`] does, but copies none of
    /// them: what the list has reserved counts against the budget.
    ///
    /// # Errors
    /// As [`Sorter::push`]; then some of the records may have been added.
    pub fn push_list(&mut self, list: RecordList) -> Result<()> {
        list.iter().try_for_each(check)?;
        let Err(list) = self.take(list) else { return Ok(()) };
        self.spill()?;
        match self.take(list) {
            Ok(()) => Ok(()),
            // More than the whole buffer, but perhaps not each of them.
            Err(list) => list.iter().try_for_each(|r| self.push(r.key, r.rank, r.value)),
        }
    }

    fn take(&mut self, list: RecordList) -> std::result::Result<(), RecordList> {
        if !self.buffer.has_room(list.len(), list.capacity()) {
            return Err(list);
        }
        self.records += list.len() as u64;
        if let Some(sampler) = &mut self.sampler {
            list.iter().for_each(|record| sampler.offer(record.value));
        }
        self.buffer.push_list(list);
        Ok(())
    }

    /// How many records were pushed.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// How many bytes of sorted runs lie on the disk now.
    #[cfg(test)]
    fn spilled_bytes(&self) -> u64 {
        self.runs.iter().map(Run::bytes).sum()
    }

    /// Sorts what is left and gives all records in order. Merges runs first if there are
    /// more than can be read at once.
    ///
    /// # Errors
    /// [`Code::DiskFull`], [`Code::IoFailed`], or [`Code::DataCorrupt`] if a run is damaged.
    pub fn finish(mut self) -> Result<Sorted> {
        let samples = self.sampler.as_mut().map_or_else(Vec::new, Sampler::take);
        let records = self.records;
        let sorted = |source| Ok(Sorted { source, started: false, records, samples });
        if self.runs.is_empty() {
            return sorted(Source::Memory(BufferReader::new(self.buffer.sort())));
        }
        if self.runs.len() <= self.beside {
            let last = std::mem::take(&mut self.buffer).sort();
            return sorted(Source::Runs(Merge::new(self.runs, Some(last))?));
        }
        self.spill()?;
        // Its memory is now the merge's.
        drop(self.buffer);
        let mut runs = self.runs;
        let mut at = 0;
        while let Some(group) = next_group(runs.len(), self.fan_in, &mut at) {
            self.files_made += 1;
            let path = file_path(&self.dir, self.files_made);
            let merged = merge::into_one(runs.drain(group.clone()).collect(), path)?;
            runs.insert(group.start, merged);
        }
        sorted(Source::Runs(Merge::new(runs, None)?))
    }

    /// Writes the buffer out, each thread a stretch of it into a file of its own.
    fn spill(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let sorted = std::mem::take(&mut self.buffer).sort();
        let (stretches, much) = (sorted.stretches(self.writers), self.is_much());
        self.spills += 1;
        let files = stretches.iter().map(|_| self.next_file()).collect::<Result<Vec<_>>>()?;
        let written: Vec<_> = thread::scope(|scope| {
            let (pairs, sorted) = (stretches.iter().zip(files), &sorted);
            let write = |(stretch, file)| {
                scope.spawn(move || write_stretch(sorted, stretch, RunWriter::create(file, much)?))
            };
            let writing: Vec<_> = pairs.map(write).collect();
            let join = |thread: ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            writing.into_iter().map(join).collect()
        });
        for (stretch, run) in stretches.iter().zip(written) {
            if let Some(first) = sorted.first(stretch) {
                self.add_run(first, run?);
            }
        }
        self.buffer = sorted.clear();
        Ok(())
    }

    /// Adds a run that begins with `first`, as a continuation of the last one where it does not
    /// begin before that ends: input that is already sorted becomes one run, and is never merged.
    fn add_run(&mut self, first: Record<'_>, run: Run) {
        match self.runs.last_mut() {
            Some(last) if order(last.last(), first).is_le() => last.append(run),
            _ => self.runs.push(run),
        }
    }

    /// Whether what is written now is to be compressed: a few runs are mostly read again before the system has
    /// written them to the disk at all, and compressing takes longer than that; of many it is less
    /// work than to have the system find memory for all, and write it out.
    fn is_much(&self) -> bool {
        self.spills >= MAX_BESIDE
    }

    /// Where the next file of a run is to be.
    fn next_file(&mut self) -> Result<PathBuf> {
        if self.files_made == 0 {
            std::fs::create_dir_all(&self.dir)
                .map_err(|e| Error::io("make the directory for sorting", &self.dir, e))?;
        }
        self.files_made += 1;
        Ok(file_path(&self.dir, self.files_made))
    }
}

/// The records of a [`Sorter`], in order.
pub struct Sorted {
    source: Source,
    /// Whether its first record was given.
    started: bool,
    records: u64,
    samples: Vec<Vec<u8>>,
}

enum Source {
    Memory(BufferReader),
    Runs(Merge),
}

impl Sorted {
    /// The next record, or `None` after the last. It lives until the next is asked for.
    ///
    /// # Errors
    /// [`Code::DataCorrupt`] if a run on disk is damaged, [`Code::IoFailed`] if it cannot be
    /// read. There is no going on after that.
    #[expect(clippy::should_implement_trait, reason = "the record borrows from the sorter")]
    pub fn next(&mut self) -> Result<Option<Record<'_>>> {
        match &mut self.source {
            Source::Runs(merge) => merge.next(),
            Source::Memory(buffer) => {
                if self.started {
                    buffer.advance();
                }
                self.started = true;
                Ok(buffer.record())
            }
        }
    }

    /// How many records there are in all.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Some of the values, drawn fairly from all records before the first was taken: the
    /// first 4 KiB of each, 256 KiB in all at most, none of them empty. The same input
    /// gives the same ones. Empty if they came from a [`PackedSorter`].
    pub fn samples(&self) -> &[Vec<u8>] {
        &self.samples
    }
}

/// The order of records, but for the order of their pushes.
fn order(a: Record<'_>, b: Record<'_>) -> Ordering {
    a.key.cmp(b.key).then_with(|| a.rank.cmp(b.rank))
}

/// Refuses what is over the limits.
fn check(record: Record<'_>) -> Result<()> {
    Key::new(record.key)?;
    // Packed, the longest is a little longer. Whoever builds checks what is served.
    if record.value.len() > MAX_PACKED_BYTES {
        check_value(record.value.len())?;
    }
    if record.rank.len() > MAX_KEY_BYTES {
        return Err(Error::new(
            Code::BadRows,
            format!(
                "rows are to be ordered by something of {} bytes; the most is {MAX_KEY_BYTES}",
                record.rank.len()
            ),
        ));
    }
    Ok(())
}

fn write_stretch(sorted: &SortedBuffer, stretch: &Shares, mut writer: RunWriter) -> Result<Run> {
    sorted.read(stretch, |record| writer.write(record))?;
    writer.finish()
}

fn file_path(dir: &Path, number: u64) -> PathBuf {
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
