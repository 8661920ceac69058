//! What each step of the two paths costs by itself, one file per question. `make bench` runs all,
//! `make bench BENCH_FLAGS=get` those whose name contains `get`.
//!
//! One binary, since each would link RocksDB again. What a figure is beside other systems, and
//! with a server around it, is what `benches/peers` measures.

mod batch;
mod build;
mod get;
mod journal;
mod open;
mod scan;
mod sort;
mod support;

criterion::criterion_group! {
    name = benches;
    config = support::config();
    targets = get::bench, batch::bench, scan::bench, open::bench, sort::bench, build::bench, journal::bench
}
criterion::criterion_main!(benches);
