//! Sorted records become a verified snapshot: written, fsynced, read back.

use criterion::{BatchSize, Criterion, Throughput};

use crate::support::{self, key, value};

const RECORDS: u64 = 50_000;

pub(crate) fn bench(criterion: &mut Criterion) {
    let records: Vec<_> = (0..RECORDS).map(|number| (key(number), value(number))).collect();
    let mut group = criterion.benchmark_group("build");
    group.throughput(Throughput::Elements(RECORDS)).sample_size(10);
    group.bench_function("and verify", |bencher| {
        let dir = || tempfile::tempdir().expect("a directory for a snapshot");
        let build = |dir: tempfile::TempDir| {
            support::build(&dir.path().join("snapshot"), records.iter().cloned());
            dir
        };
        bencher.iter_batched(dir, build, BatchSize::PerIteration);
    });
    group.finish();
}
