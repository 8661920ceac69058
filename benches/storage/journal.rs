//! One change of the pointer: a record appended to the journal and fsynced, applied to the
//! catalogue, shown to readers. Nearly all of it is the fsync.

use criterion::Criterion;
use tidetable_storage::{Cause, DatasetConfig, DatasetName, Store, StoreOptions};

pub(crate) fn bench(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a data directory");
    let (store, _) =
        Store::open(dir.path(), StoreOptions::default()).expect("a new directory opens");
    let dataset = DatasetName::parse("recs").expect("a name");
    // By turns: settings that change nothing are no record.
    let configs = [3, 4].map(|retain| DatasetConfig { retain, ..DatasetConfig::default() });
    let mut turns = configs.iter().cycle();
    criterion.bench_function("journal append", |bencher| {
        bencher.iter(|| {
            let config = turns.next().expect("there are two");
            store.configure(&dataset, config, Cause::default()).expect("the disk takes a record");
        });
    });
}
