//! Records in no order become sorted ones: within the memory allowed, and with sorted runs on
//! the disk.

use criterion::{BatchSize, Criterion, Throughput};
use tidetable_storage::{Compression, PackedSorter, RecordList, Sorter};

use crate::support::{key, mixed, value};

const RECORDS: u64 = 20_000;

pub(crate) fn bench(criterion: &mut Criterion) {
    let records: Vec<_> =
        (0..RECORDS).map(|number| (key(mixed(number) >> 24), value(number))).collect();
    let mut group = criterion.benchmark_group("sort");
    group.throughput(Throughput::Elements(RECORDS)).sample_size(10);
    for (name, budget) in [("in memory", 64 << 20), ("on disk", 2 << 20)] {
        group.bench_function(name, |bencher| {
            let dir = || tempfile::tempdir().expect("a directory for sorted runs");
            let sort = |dir: tempfile::TempDir| {
                let mut sorter = Sorter::new(dir.path(), budget).expect("enough memory");
                for (key, value) in &records {
                    sorter.push(key, b"", value).expect("the disk takes the runs");
                }
                let mut sorted = sorter.finish().expect("the disk takes the runs");
                while sorted.next().expect("the runs are sound").is_some() {}
                dir
            };
            bencher.iter_batched(dir, sort, BatchSize::PerIteration);
        });
    }
    // As a push does.
    group.bench_function("packed", |bencher| {
        let dir = || tempfile::tempdir().expect("a directory for sorted runs");
        let sort = |dir: tempfile::TempDir| {
            let made = PackedSorter::learning(dir.path(), 64 << 20, Compression::default());
            let mut sorter = made.expect("enough memory");
            for records in records.chunks(500) {
                let mut list = RecordList::to_fill();
                records.iter().for_each(|(key, value)| list.push(key, b"", value));
                sorter.push_list(list).expect("nothing is too long");
            }
            let (mut sorted, _) = sorter.finish().expect("it fits the memory");
            while sorted.next().expect("the records are sound").is_some() {}
            dir
        };
        bencher.iter_batched(dir, sort, BatchSize::PerIteration);
    });
    group.finish();
}
