//! A batch of 100 random keys.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use tidetable_storage::Key;

use crate::support::{OPENED, present};

const KEYS: usize = 100;

pub(crate) fn bench(criterion: &mut Criterion) {
    let keys = present(100_000);
    let mut next = keys.chunks(KEYS).cycle();
    let mut group = criterion.benchmark_group("batch");
    group.throughput(Throughput::Elements(KEYS as u64));
    group.bench_function("of 100", |bencher| {
        bencher.iter(|| {
            let keys = next.next().expect("a cycle has no end");
            let keys: Vec<Key<'_>> =
                keys.iter().map(|key| Key::new(key).expect("a short key")).collect();
            let values = OPENED.snapshot.get_many(&keys).expect("the snapshot is sound");
            assert!(values.iter().all(Option::is_some));
            black_box(values.len())
        });
    });
    group.finish();
}
