//! Opening a snapshot that lies in the page cache, and closing it.

use criterion::Criterion;

use crate::support::{OPENED, open};

pub(crate) fn bench(criterion: &mut Criterion) {
    let dir = OPENED.dir.path().join("snapshot");
    criterion.bench_function("open", |bencher| bencher.iter(|| open(&dir, &OPENED.digest)));
}
