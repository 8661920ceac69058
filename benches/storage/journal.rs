//! One change of the pointer: a record appended to the journal and fsynced, applied to the
//! catalogue, shown to readers. Nearly all of it is the fsync.

use criterion::Criterion;
use tidetable_storage::{Cause, DatasetConfig, DatasetName, Store, StoreOptions};

pub(crate) fn bench(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a data directory");
    let (store, _) =
        Store::open(dir.path(), StoreOptions::default()).expect("a new directory opens");
    let dataset = DatasetName::parse("recs").expect("a name");
    let config = DatasetConfig::default();
    criterion.bench_function("journal append", |bencher| {
        bencher.iter(|| {
            store.configure(&dataset, &config, Cause::default()).expect("the disk takes a record");
        });
    });
}
