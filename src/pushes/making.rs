//! The records of a push, from its parts to a snapshot that is not verified yet.
//!
//! ```text
//! in order:      read_rows → Gather → Builder
//! in any order:  read_rows → Sorter, then Sorted → Gather → Builder
//! ```
//!
//! Rows that are in order already are gathered and written as they are read. Whether they
//! are is known for certain only at the end: if a few hundred of them seem so it is tried,
//! and begun anew with sorting if it was wrong.

use std::cell::Cell;

use tidetable_storage::{
    BuildOptions, Builder, Code, Error, RecordList, Sorter, UnpublishedSnapshot,
};

use super::Phase;
use super::spec::{BuildSpec, Sizes};
use crate::ingest::{
    Emit, Gather, Gathered, IngestError, Input, ReadProgress, Sink, read_rows, seem_in_order,
};

/// What was made.
pub(super) struct Made {
    pub(super) snapshot: UnpublishedSnapshot,
    /// What gathering did.
    pub(super) gathered: Gathered,
    /// Rows left out because their keys are erased.
    pub(super) erased_dropped: u64,
}

/// Who is told how far it has come.
pub(super) type Tell<'a> = dyn FnMut(Phase, ReadProgress) + 'a;

/// Makes the snapshot that `spec` asks for.
pub(super) fn make(spec: &BuildSpec, tell: &mut Tell<'_>) -> Result<Made, IngestError> {
    if let Some(samples) = seem_in_order(&inputs(spec), &spec.options, &|key| is_erased(spec, key))
        && let Some(made) = in_order(spec, &samples, tell)?
    {
        return Ok(made);
    }
    by_sorting(spec, tell)
}

/// Writes rows as they are read; `None` if they are not in order after all.
fn in_order(
    spec: &BuildSpec,
    samples: &[Vec<u8>],
    tell: &mut Tell<'_>,
) -> Result<Option<Made>, IngestError> {
    let mut order = Order::default();
    let mut gather = Gather::new(&spec.options);
    let erased_dropped = Cell::new(0);
    let made = write(builder(spec, samples)?, &erased_dropped, spec.sizes, |emit| {
        read(spec, tell, &erased_dropped, &mut |records| {
            order.check(&records)?;
            records.iter().try_for_each(|record| gather.push(record.key, record.value, emit))
        })?;
        gather.finish(emit)
    });
    match made {
        Err(_) if order.is_broken => {
            let out = &spec.out;
            std::fs::remove_dir_all(out)
                .map_err(|e| Error::io("remove what was built in vain", out, e))?;
            Ok(None)
        }
        made => made.map(Some),
    }
}

fn by_sorting(spec: &BuildSpec, tell: &mut Tell<'_>) -> Result<Made, IngestError> {
    let runs = spec.out.with_extension("runs");
    std::fs::create_dir_all(&runs)
        .map_err(|e| Error::io("make a directory for sorting", &runs, e))?;
    let budget = usize::try_from(spec.sort_memory).unwrap_or(usize::MAX);
    let mut sorter = Sorter::new(&runs, budget)?;
    let erased_dropped = Cell::new(0);
    let read = read(spec, tell, &erased_dropped, &mut |records| Ok(sorter.push_list(records)?))?;
    tell(Phase::Building, read);
    let mut sorted = sorter.finish()?;
    let builder = builder(spec, sorted.samples())?;
    let made = write(builder, &erased_dropped, spec.sizes, |emit| {
        let mut gather = Gather::new(&spec.options);
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

fn inputs(spec: &BuildSpec) -> Vec<Input> {
    spec.parts.iter().map(|part| Input::part(&part.name, &part.path, part.xxh3)).collect()
}

fn is_erased(spec: &BuildSpec, key: &[u8]) -> bool {
    spec.erased.as_ref().is_some_and(|erased| erased.has(key))
}

/// Reads all rows but those of erased keys into `sink`; how many there were.
fn read(
    spec: &BuildSpec,
    tell: &mut Tell<'_>,
    erased_dropped: &Cell<u64>,
    sink: &mut Sink<'_>,
) -> Result<ReadProgress, IngestError> {
    let mut last = ReadProgress::default();
    let mut without_erased = |records: RecordList| {
        let is_among = records.iter().any(|record| is_erased(spec, record.key));
        if !is_among {
            return sink(records);
        }
        let mut kept = RecordList::with_capacity(records.bytes());
        for record in records.iter().filter(|record| !is_erased(spec, record.key)) {
            kept.push(record.key, record.rank, record.value);
        }
        erased_dropped.set(erased_dropped.get() + (records.len() - kept.len()) as u64);
        if kept.is_empty() { Ok(()) } else { sink(kept) }
    };
    let sink: &mut Sink<'_> = match spec.erased {
        Some(_) => &mut without_erased,
        None => sink,
    };
    read_rows(inputs(spec), &spec.options, spec.growth, sink, &mut |read| {
        last = read;
        tell(Phase::Reading, read);
    })?;
    Ok(last)
}

fn builder(spec: &BuildSpec, samples: &[Vec<u8>]) -> Result<Builder, IngestError> {
    let options = BuildOptions { compression: spec.compression, ..BuildOptions::default() };
    Ok(Builder::create(&spec.out, options, samples)?)
}

/// Writes what `feed` gives, unless something of it is longer than it may be.
fn write(
    mut builder: Builder,
    erased_dropped: &Cell<u64>,
    sizes: Sizes,
    feed: impl FnOnce(&mut Emit<'_>) -> Result<Gathered, IngestError>,
) -> Result<Made, IngestError> {
    let gathered = feed(&mut |list| {
        list.iter().try_for_each(|record| {
            sizes.check(record.key, record.value)?;
            Ok(builder.add(record.key, record.value)?)
        })
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
    fn check(self, key: &[u8], value: &[u8]) -> Result<(), IngestError> {
        if key.len() <= self.key && value.len() <= self.value {
            return Ok(());
        }
        let named: String = String::from_utf8_lossy(key).chars().take(80).collect();
        if key.len() > self.key {
            let text = format!(
                "the key {named:?}… has {} bytes; the most is {} (max_key_bytes)",
                key.len(),
                self.key
            );
            return Err(IngestError::new(Code::BadRows, text));
        }
        let text = format!(
            "the value of the key {named:?} has {} bytes; the most is {} (max_value_bytes): keep \
             fewer fields or rows of it",
            value.len(),
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
