//! A scan of 100 records, from a random key on.

use std::hint::black_box;

use criterion::{Criterion, Throughput};

use crate::support::{OPENED, RECORDS, key, mixed};

const RECORDS_READ: u64 = 100;

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scan");
    group.throughput(Throughput::Elements(RECORDS_READ));
    let mut number = 0;
    group.bench_function("of 100", |bencher| {
        bencher.iter(|| {
            number += 1;
            let after = key(mixed(number) % (RECORDS - RECORDS_READ - 1));
            let mut scan =
                OPENED.snapshot.scan(b"learner:", Some(&after)).expect("the snapshot is sound");
            for _ in 0..RECORDS_READ {
                let record = scan.next().expect("the snapshot is sound");
                black_box(record.expect("so many follow").1.len());
            }
        });
    });
    group.finish();
}
