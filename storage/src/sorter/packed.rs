//! A sorter of records whose values are packed on their way into it.
//!
//! ```text
//! push_list → held until there is enough to learn from ─┬─ pack ─┐
//!                                                       └─ pack ─┴─ lists → Sorter
//! ```
//!
//! So values are sorted, written to runs and read again in their stored form, which is small. The
//! dictionary to compress with must be known before the first value is packed: it is given, or
//! learnt from the first records.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use super::sample::{SAMPLE_BYTES, Sampler};
use super::{Sorted, Sorter, check};
use crate::background::{build_threads, join, spawn, stopped};
use crate::builder::check_value;
use crate::error::Result;
use crate::lanes::{Lanes, LanesEnd};
use crate::manifest::Compression;
use crate::packed::Packing;
use crate::record_list::RecordList;

/// How many bytes of records are learnt from, at most…
const LEARN_BYTES: usize = 8 << 20;
/// …and no larger part of the budget.
const LEARN_SHARE: usize = 8;
/// A longer list is cut, since several are under way: a batch of Parquet may make one of many megabytes.
const MOST_AT_ONCE: usize = 1 << 20;
/// Lists that wait before and behind each thread that packs: few, since the budget does not cover them.
const WAITING_TO_PACK: usize = 2;

/// Takes records in any order, and gives them as [`Sorter`] does, with their values packed.
pub struct PackedSorter {
    dir: PathBuf,
    stage: Stage,
}

enum Stage {
    Learning(Learning),
    Running(Running),
    /// Something failed.
    Over,
}

/// There is not enough yet to learn from.
struct Learning {
    sorter: Sorter,
    compression: Compression,
    held: Vec<RecordList>,
    bytes: usize,
    /// So many bytes are enough.
    enough: usize,
}

/// The threads that pack and sort.
struct Running {
    packing: Packing,
    lanes: Lanes<RecordList>,
    sorting: Option<JoinHandle<Result<Sorter>>>,
}

impl PackedSorter {
    /// A sorter as [`Sorter::new`] makes, that packs values as is said.
    ///
    /// # Errors
    /// Those of [`Sorter::new`].
    pub fn new(dir: &Path, budget_bytes: usize, packing: Packing) -> Result<Self> {
        let running = Running::start(dir, Sorter::new(dir, budget_bytes)?, packing)?;
        Ok(Self { dir: dir.to_owned(), stage: Stage::Running(running) })
    }

    /// The same, but what values are compressed with is learnt from the first that come: from
    /// 8 MiB of them, or an eighth of the budget.
    ///
    /// # Errors
    /// Those of [`Sorter::new`].
    pub fn learning(dir: &Path, budget_bytes: usize, compression: Compression) -> Result<Self> {
        let sorter = Sorter::new(dir, budget_bytes)?;
        let enough = LEARN_BYTES.min(budget_bytes / LEARN_SHARE);
        let learning = Learning { sorter, compression, held: Vec::new(), bytes: 0, enough };
        Ok(Self { dir: dir.to_owned(), stage: Stage::Learning(learning) })
    }

    /// Adds all records of a list, in order. Some lists are under way, six for each thread that packs
    /// and two more, which the budget does not cover: of at most a megabyte each, or of 256 KiB
    /// and one long record.
    ///
    /// # Errors
    /// Those of [`Sorter::push`], for these records or for earlier ones. It is of no use then.
    pub fn push_list(&mut self, list: RecordList) -> Result<()> {
        for record in list.iter() {
            check_value(record.value.len())?;
            check(record)?;
        }
        if list.bytes() <= MOST_AT_ONCE {
            return self.take(list);
        }
        let mut part = RecordList::to_fill();
        for record in list.iter() {
            part.push(record.key, record.rank, record.value);
            if part.is_full() {
                self.take(std::mem::replace(&mut part, RecordList::to_fill()))?;
            }
        }
        if part.is_empty() { Ok(()) } else { self.take(part) }
    }

    fn take(&mut self, list: RecordList) -> Result<()> {
        match &mut self.stage {
            Stage::Learning(learning) => {
                learning.bytes += list.bytes();
                learning.held.push(list);
                if learning.bytes >= learning.enough {
                    self.running()?;
                }
                Ok(())
            }
            Stage::Running(running) => running.push_list(list),
            Stage::Over => stopped(),
        }
    }

    /// Sorts what is left and gives all records in order, and how their values are packed.
    ///
    /// # Errors
    /// Those of [`Sorter::finish`], and of packing.
    pub fn finish(mut self) -> Result<(Sorted, Packing)> {
        let running = self.running()?;
        let sorted = running.finish()?.finish()?;
        Ok((sorted, running.packing.clone()))
    }

    /// The threads; now at the latest they begin.
    fn running(&mut self) -> Result<&mut Running> {
        self.stage = match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Learning(learning) => Stage::Running(learning.end(&self.dir)?),
            other => other,
        };
        match &mut self.stage {
            Stage::Running(running) => Ok(running),
            Stage::Learning(_) | Stage::Over => stopped(),
        }
    }
}

impl Learning {
    fn end(self, dir: &Path) -> Result<Running> {
        let mut sampler = Sampler::new(SAMPLE_BYTES);
        let records = self.held.iter().flat_map(RecordList::iter);
        records.for_each(|record| sampler.offer(record.value));
        let packing = Packing::of_samples(self.compression, &sampler.take());
        let mut running = Running::start(dir, self.sorter, packing)?;
        self.held.into_iter().try_for_each(|list| running.push_list(list))?;
        Ok(running)
    }
}

impl Running {
    fn start(dir: &Path, sorter: Sorter, packing: Packing) -> Result<Self> {
        let worker = || packing.packer().map(|mut packer| move |list: &_| packer.pack(list));
        // A sample of packed values would be of no use.
        let sorter = Sorter { sampler: None, ..sorter };
        let (lanes, packed) = Lanes::start("pack", dir, build_threads(), WAITING_TO_PACK, worker)?;
        let sorting = Some(spawn("sort", dir, move || sort(sorter, packed))?);
        Ok(Self { packing, lanes, sorting })
    }

    fn push_list(&mut self, list: RecordList) -> Result<()> {
        if self.lanes.send(list) {
            return Ok(());
        }
        // A thread ends before its input does only with an error.
        self.finish().map(|_| ())
    }

    fn finish(&mut self) -> Result<Sorter> {
        let packed = self.lanes.finish();
        let sorter = self.sorting.take().map_or_else(stopped, join);
        // If sorting stopped, packing did only because of that.
        let sorter = sorter?;
        packed.map(|()| sorter)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Whoever gives up may remove the directory next: nothing is to write there then.
        let _ = self.finish();
    }
}

/// Records are copied one by one: packed they are small, and lists of all sizes would leave gaps
/// between them.
fn sort(mut sorter: Sorter, lists: LanesEnd) -> Result<Sorter> {
    for list in lists {
        list.iter().try_for_each(|r| sorter.push(r.key, r.rank, r.value))?;
    }
    Ok(sorter)
}

#[cfg(test)]
mod tests {
    use super::super::MIN_SORT_BYTES;
    use super::*;
    use crate::error::Code;
    use crate::names::MAX_VALUE_BYTES;

    type Rows = Vec<(Vec<u8>, Vec<u8>, Vec<u8>)>;
    type Make<'a> = dyn Fn(&Path) -> Result<PackedSorter> + 'a;

    /// Ranks count up within a key, so that one order is right.
    fn rows(count: u32) -> Rows {
        let mut random = fastrand::Rng::with_seed(7);
        let mut row = |n: u32| {
            let key = format!("key:{:05}", random.u32(..count / 2)).into_bytes();
            let value = format!("[{{\"course\":\"c-{:03}\",\"score\":{n}}}]", random.u32(..300));
            (key, n.to_be_bytes().to_vec(), value.repeat(n as usize % 9).into_bytes())
        };
        (0..count).map(&mut row).collect()
    }

    fn lists(rows: &Rows, each: usize) -> impl Iterator<Item = RecordList> {
        rows.chunks(each).map(|rows| {
            let mut list = RecordList::default();
            rows.iter().for_each(|(key, rank, value)| list.push(key, rank, value));
            list
        })
    }

    fn unpacked(mut sorted: Sorted, packing: &Packing) -> Rows {
        let (mut unpacker, mut rows) = (packing.unpacker(), Vec::new());
        while let Some(record) = sorted.next().unwrap() {
            let value = unpacker.unpack(record.key, record.value).unwrap();
            rows.push((record.key.to_vec(), record.rank.to_vec(), value.to_vec()));
        }
        rows
    }

    #[test]
    fn records_come_in_order_with_their_values_whatever_they_are_packed_with() {
        let given = Packing::of_samples(Compression::Zstd, &[b"{\"course\":\"c-".to_vec()]);
        // None; fewer than are learnt from; many runs, of short lists and of long ones.
        for (count, each) in [(0, 1), (20, 700), (40_000, 700), (40_000, 20_000)] {
            let mut expected = rows(count);
            let learning = |compression| {
                move |dir: &Path| PackedSorter::learning(dir, MIN_SORT_BYTES, compression)
            };
            let with = |dir: &Path| PackedSorter::new(dir, MIN_SORT_BYTES, given.clone());
            let makers: [&Make<'_>; 3] =
                [&learning(Compression::Lz4), &learning(Compression::None), &with];
            let made = makers.map(|make| {
                let dir = tempfile::tempdir().unwrap();
                let mut sorter = make(dir.path()).unwrap();
                lists(&expected, each).for_each(|list| sorter.push_list(list).unwrap());
                let (sorted, packing) = sorter.finish().unwrap();
                assert_eq!(sorted.records(), u64::from(count));
                let left = std::fs::read_dir(dir.path()).unwrap().count();
                assert_eq!(left > 0, count > 20, "{count} rows have {left} runs");
                unpacked(sorted, &packing)
            });
            expected.sort();
            assert!(made.iter().all(|rows| *rows == expected), "{count} rows");
        }
    }

    #[test]
    fn values_are_packed_with_what_was_learnt_from_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let rows = rows(40_000);
        let packed_bytes = |mut sorter: PackedSorter| {
            lists(&rows, 700).for_each(|list| sorter.push_list(list).unwrap());
            let (mut sorted, packing) = sorter.finish().unwrap();
            let mut bytes = 0;
            while let Some(record) = sorted.next().unwrap() {
                bytes += record.value.len();
            }
            (bytes, packing.dictionary.as_bytes().len())
        };
        // Of which an eighth, a third of the rows, is learnt from.
        let budget = 1 << 24;
        let lz4 = Compression::Lz4;
        let plain = Packing::of_samples(lz4, &[]);
        let (without, _) = packed_bytes(PackedSorter::new(dir.path(), budget, plain).unwrap());
        let learning = || PackedSorter::learning(dir.path(), budget, lz4).unwrap();
        let (with, learnt) = packed_bytes(learning());
        assert!(learnt > 10_000 && with < without * 4 / 5, "{with} of {without}, from {learnt}");
        assert_eq!(packed_bytes(learning()), (with, learnt), "the same each time");
    }

    /// Packed it is a little longer than any value that is not.
    #[test]
    fn the_longest_value_comes_through_a_run() {
        let dir = tempfile::tempdir().unwrap();
        let packing = Packing::of_samples(Compression::None, &[]);
        let mut sorter = PackedSorter::new(dir.path(), MIN_SORT_BYTES, packing).unwrap();
        let value = vec![7; MAX_VALUE_BYTES];
        let mut list = RecordList::default();
        list.push(b"k", b"", &value);
        sorter.push_list(list).unwrap();
        let (sorted, packing) = sorter.finish().unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(unpacked(sorted, &packing) == [(b"k".to_vec(), Vec::new(), value)]);
    }

    #[test]
    fn what_stops_a_thread_is_told_and_nothing_is_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        let no_directory = dir.path().join("file");
        std::fs::write(&no_directory, b"").unwrap();
        let rows = rows(60_000);
        let all = |dir: &Path| {
            let mut sorter = PackedSorter::learning(dir, MIN_SORT_BYTES, Compression::None)?;
            lists(&rows, 700).try_for_each(|list| sorter.push_list(list))?;
            sorter.finish().map(drop)
        };
        assert_eq!(all(&no_directory).unwrap_err().code(), Code::IoFailed);
        let runs = dir.path().join("runs");
        let mut sorter = PackedSorter::learning(&runs, MIN_SORT_BYTES, Compression::None).unwrap();
        lists(&rows, 700).for_each(|list| sorter.push_list(list).unwrap());
        drop(sorter);
        assert_eq!(std::fs::read_dir(&runs).unwrap().count(), 0, "runs are removed");
        let mut bad = RecordList::default();
        bad.push(b"", b"", b"");
        let mut sorter = PackedSorter::learning(&runs, MIN_SORT_BYTES, Compression::None).unwrap();
        assert_eq!(sorter.push_list(bad).unwrap_err().code(), Code::InvalidKey);
        let mut long = RecordList::default();
        long.push(b"k", b"", &vec![0; MAX_VALUE_BYTES + 1]);
        assert_eq!(sorter.push_list(long).unwrap_err().code(), Code::ValueTooLarge);
    }
}
