//! One lookup of a key that is there, and of one that is not.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use tidetable_storage::Key;

use crate::support::{OPENED, absent, present};

const KEYS: u64 = 100_000;

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("get");
    group.throughput(Throughput::Elements(1));
    for (name, keys, found) in [("hit", present(KEYS), true), ("miss", absent(KEYS), false)] {
        let mut next = keys.iter().cycle();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let key = next.next().expect("a cycle has no end");
                let key = Key::new(key).expect("a short key");
                let value = OPENED.snapshot.get(key).expect("the snapshot is sound");
                assert_eq!(value.is_some(), found);
                black_box(value.map(|value| value.len()))
            });
        });
    }
    group.finish();
}
