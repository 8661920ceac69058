//! The records of a push, from its parts to a snapshot that is not verified yet; and those of a
//! build without a server, from its sources.
//!
//! ```text
//! in order:                read_rows → Gather → Builder
//! in any order:            read_rows → PackedSorter, then Sorted → Gather → Builder
//! in any order, collected: read_rows → Sorter, then Sorted → Gather → Builder
//! ```
//!
//! Rows that are in order already are gathered and written as they are read. Whether they
//! are is known for certain only at the end: if a few hundred of them seem so it is tried,
//! and begun anew with sorting if it was wrong.
//!
//! Values are compressed before they are sorted, unless they are parts of what will be a value.
//!
//! Of a source that still arrives only the beginning can be looked at. Rows that are in order there are
//! read when all have arrived, since a later one may be out of order; others are sorted while the rest
//! of them arrives.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidetable_storage::{
    Arrival, BuildOptions, Builder, BuiltSnapshot, Code, Compression, ErasedKeys, Error,
    PackedSorter, Packing, RecordList, Share, Sorted, Sorter, quoted_bytes, read_along_from, step,
};

use super::Phase;
use super::spec::Sizes;
use crate::ingest::{
    Emit, Format, Gather, Gathered, GrowthLimits, IngestError, Input, Looked, ReadProgress,
    RowOptions, Sink, look_at_some, read_rows,
};

/// Bytes of values from all over the sources that are enough to learn from: more than a dictionary has.
const ENOUGH_SAMPLES: usize = 64 << 10;
/// So many bytes of a source that still arrives are waited for before it is looked at.
const BEGINNING: u64 = 8 << 20;

/// What is to be made.
pub(crate) struct Job<'a> {
    /// Opens the sources, in the order of their rows. Asked more than once.
    pub(crate) inputs: &'a dyn Fn() -> Result<Vec<Input>, IngestError>,
    /// Of the only source, if that still arrives.
    pub(crate) arrival: Option<&'a Arc<Arrival>>,
    /// How rows become records.
    pub(crate) options: &'a RowOptions,
    /// The keys whose rows are left out, if any are.
    pub(crate) erased: Option<&'a ErasedKeys>,
    /// Which keys belong to it, if not all do.
    pub(crate) share: Option<&'a Share>,
    /// How records are compressed.
    pub(crate) compression: Compression,
    /// What they are compressed with; else that is learnt from them.
    pub(crate) dictionary: Option<&'a [u8]>,
    /// Where to build: a directory that is not there yet.
    pub(crate) out: &'a Path,
    /// Bytes of memory for sorting.
    pub(crate) sort_memory: u64,
    /// How long keys and values may be.
    pub(crate) sizes: Sizes,
    /// How far compressed sources may grow.
    pub(crate) growth: GrowthLimits,
}

impl Job<'_> {
    fn sort_budget(&self) -> usize {
        usize::try_from(self.sort_memory).unwrap_or(usize::MAX)
    }
}

/// What was made.
pub(crate) struct Made {
    pub(crate) snapshot: BuiltSnapshot,
    /// What gathering did.
    pub(crate) gathered: Gathered,
    /// Rows left out because their keys are erased.
    pub(crate) erased_dropped: u64,
}

/// Who is told how far it has come.
pub(crate) type Tell<'a> = dyn FnMut(Phase, ReadProgress) + 'a;

/// Makes the snapshot of a job.
pub(crate) fn make_snapshot(job: &Job<'_>, tell: &mut Tell<'_>) -> Result<Made, IngestError> {
    let looked = look(job, tell)?;
    if let Some(Looked { in_order: true, samples }) = &looked
        && let Some(made) = in_order(job, samples, tell)?
    {
        return Ok(made);
    }
    let samples = looked.map(|looked| looked.samples).unwrap_or_default();
    by_sorting(job, &samples, tell)
}

/// What a look at the sources gave; of one that still arrives, at its beginning.
fn look(job: &Job<'_>, tell: &mut Tell<'_>) -> Result<Option<Looked>, IngestError> {
    let look = || Ok(look_at_some(&(job.inputs)()?, job.options, &|key| is_left_out(job, key)));
    let Some(arrival) = job.arrival else { return look() };
    arrival.wait_for(read_along_from().map_or(BEGINNING, |bytes| bytes / 2));
    let looked = look()?;
    step("along.looked");
    let can_be_begun = match &looked {
        Some(looked) => !looked.in_order,
        // They are sorted whatever order they have. Other formats have at their end what is read first.
        None => job.options.format.is_some_and(Format::is_text),
    };
    if can_be_begun {
        return Ok(looked);
    }
    arrival.wait_until_arrived();
    step("along.waited");
    tell(Phase::Reading, ReadProgress::default());
    look()
}

/// Writes rows as they are read; `None` if they are not in order after all.
fn in_order(
    job: &Job<'_>,
    samples: &[Vec<u8>],
    tell: &mut Tell<'_>,
) -> Result<Option<Made>, IngestError> {
    let mut order = Order::default();
    let mut gather = Gather::new(job.options);
    let erased_dropped = Cell::new(0);
    let made = write(builder(job, samples)?, &erased_dropped, job.sizes, |emit| {
        read(job, tell, &erased_dropped, &mut |records| {
            order.check(&records)?;
            records.iter().try_for_each(|record| gather.push(record.key, record.value, emit))
        })?;
        gather.finish(emit)
    });
    match made {
        Err(_) if order.is_broken => {
            let out = job.out;
            std::fs::remove_dir_all(out)
                .map_err(|e| Error::io("remove what was built in vain", out, e))?;
            Ok(None)
        }
        made => made.map(Some),
    }
}

/// `samples`: values from all over the sources, if there was a look at some.
fn by_sorting(
    job: &Job<'_>,
    samples: &[Vec<u8>],
    tell: &mut Tell<'_>,
) -> Result<Made, IngestError> {
    let runs = runs_beside(job.out);
    std::fs::create_dir_all(&runs)
        .map_err(|e| Error::io("make a directory for sorting", &runs, e))?;
    let erased_dropped = Cell::new(0);
    let (mut sorted, builder) = match job.options.collect {
        true => sort(job, &runs, &erased_dropped, tell)?,
        false => sort_packed(job, &runs, samples, &erased_dropped, tell)?,
    };
    let made = write(builder, &erased_dropped, job.sizes, |emit| {
        let mut gather = Gather::new(job.options);
        while let Some(record) = sorted.next()? {
            gather.push(record.key, record.value, emit)?;
        }
        gather.finish(emit)
    })?;
    drop(sorted);
    match std::fs::remove_dir_all(&runs) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("remove the directory for sorting", runs, e).into())
        }
        _ => Ok(made),
    }
}

/// Where records are sorted of which a snapshot is made in `out`.
pub(super) fn runs_beside(out: &Path) -> PathBuf {
    out.with_extension("runs")
}

/// Sorts all records, and makes what writes them.
fn sort(
    job: &Job<'_>,
    runs: &Path,
    erased_dropped: &Cell<u64>,
    tell: &mut Tell<'_>,
) -> Result<(Sorted, Builder), IngestError> {
    let mut sorter = Sorter::new(runs, job.sort_budget())?;
    let read = read(job, tell, erased_dropped, &mut |list| Ok(sorter.push_list(list)?))?;
    tell(Phase::Building, read);
    let sorted = sorter.finish()?;
    let builder = builder(job, sorted.samples())?;
    Ok((sorted, builder))
}

/// The same, with values that are compressed before they are sorted.
fn sort_packed(
    job: &Job<'_>,
    runs: &Path,
    samples: &[Vec<u8>],
    erased_dropped: &Cell<u64>,
    tell: &mut Tell<'_>,
) -> Result<(Sorted, Builder), IngestError> {
    let (budget, compression) = (job.sort_budget(), job.compression);
    let mut sorter = match job.dictionary {
        Some(dictionary) => {
            PackedSorter::new(runs, budget, Packing::like(compression, dictionary))?
        }
        None if samples.iter().map(Vec::len).sum::<usize>() >= ENOUGH_SAMPLES => {
            PackedSorter::new(runs, budget, Packing::of_samples(compression, samples))?
        }
        // Few rows, or rows that are too long to be looked at: the first that are read say more.
        None => PackedSorter::learning(runs, budget, compression)?,
    };
    let read = read(job, tell, erased_dropped, &mut |list| Ok(sorter.push_list(list)?))?;
    tell(Phase::Building, read);
    let (sorted, packing) = sorter.finish()?;
    Ok((sorted, Builder::create_packed(job.out, BuildOptions::default(), &packing)?))
}

fn is_erased(job: &Job<'_>, key: &[u8]) -> bool {
    job.erased.is_some_and(|erased| erased.has(key))
}

fn is_left_out(job: &Job<'_>, key: &[u8]) -> bool {
    is_erased(job, key) || job.share.is_some_and(|share| !share.has(key))
}

/// Reads all rows but those of erased keys, and of keys that are not its own, into `sink`; how many
/// there were.
fn read(
    job: &Job<'_>,
    tell: &mut Tell<'_>,
    erased_dropped: &Cell<u64>,
    sink: &mut Sink<'_>,
) -> Result<ReadProgress, IngestError> {
    let mut last = ReadProgress::default();
    let mut without = |records: RecordList| {
        let is_among = records.iter().any(|record| is_left_out(job, record.key));
        if !is_among {
            return sink(records);
        }
        let mut kept = RecordList::with_capacity(records.bytes());
        for record in records.iter() {
            if !is_left_out(job, record.key) {
                kept.push(record.key, record.rank, record.value);
            } else if is_erased(job, record.key) {
                erased_dropped.set(erased_dropped.get() + 1);
            }
        }
        if kept.is_empty() { Ok(()) } else { sink(kept) }
    };
    let is_whole = job.erased.is_none() && job.share.is_none();
    let sink: &mut Sink<'_> = if is_whole { sink } else { &mut without };
    read_rows((job.inputs)()?, job.options, job.growth, sink, &mut |read| {
        last = read;
        tell(Phase::Reading, read);
    })?;
    Ok(last)
}

fn builder(job: &Job<'_>, samples: &[Vec<u8>]) -> Result<Builder, IngestError> {
    let options = BuildOptions { compression: job.compression, ..BuildOptions::default() };
    Ok(match job.dictionary {
        Some(dictionary) => Builder::create_like(job.out, options, dictionary)?,
        None => Builder::create(job.out, options, samples)?,
    })
}

/// Writes what `feed` gives, unless something of it is longer than it may be.
fn write(
    mut builder: Builder,
    erased_dropped: &Cell<u64>,
    sizes: Sizes,
    feed: impl FnOnce(&mut Emit<'_>) -> Result<Gathered, IngestError>,
) -> Result<Made, IngestError> {
    let gathered = feed(&mut |list| {
        for record in list.iter() {
            sizes.check(record.key, builder.value_bytes(record.value)?)?;
        }
        Ok(builder.add_list(list)?)
    })?;
    let erased_dropped = erased_dropped.get();
    let finished = builder.finish().map_err(|error| match error.code() {
        Code::NoRows if erased_dropped > 0 => Error::new(
            Code::NoRows,
            format!(
                "the keys of all {erased_dropped} rows are erased: there is none to build a version from"
            ),
        ),
        _ => error,
    });
    Ok(Made { snapshot: finished?, gathered, erased_dropped })
}

impl Sizes {
    pub(super) fn check(self, key: &[u8], value_bytes: usize) -> Result<(), IngestError> {
        if key.len() <= self.key && value_bytes <= self.value {
            return Ok(());
        }
        let named = quoted_bytes(key);
        if key.len() > self.key {
            let text = format!(
                "the key {named} is too long: {} bytes; the most is {} (max_key_bytes)",
                key.len(),
                self.key
            );
            return Err(IngestError::new(Code::BadRows, text));
        }
        let text = format!(
            "the value of the key {named} has {value_bytes} bytes; the most is {} \
             (max_value_bytes): keep fewer fields or rows of it",
            self.value
        );
        Err(IngestError::new(Code::ValueTooLarge, text))
    }
}

/// Compares records with those before them.
#[derive(Default)]
struct Order {
    /// Key and rank of the last one.
    last: (Vec<u8>, Vec<u8>),
    is_broken: bool,
}

impl Order {
    /// Fails if one of the records comes before the one before it.
    fn check(&mut self, records: &RecordList) -> Result<(), IngestError> {
        let mut last = (&self.last.0[..], &self.last.1[..]);
        for record in records.iter() {
            let this = (record.key, record.rank);
            if this < last {
                self.is_broken = true;
                return Err(IngestError::new(Code::NotAscending, "rows are not in order"));
            }
            last = this;
        }
        self.last = (last.0.to_vec(), last.1.to_vec());
        Ok(())
    }
}
