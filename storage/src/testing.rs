//! What the tests of several modules need.

use std::path::Path;

use crate::builder::{BuildOptions, Builder};
use crate::catalog::Admission;
use crate::event::Cause;
use crate::manifest::Compression;
use crate::names::{DatasetName, Version};
use crate::parts::PartSums;
use crate::store::Store;
use crate::verify::{BuiltSnapshot, VerifiedSnapshot};

/// `count` records in order: `(key, value)`, each value unlike every other.
pub(crate) fn records(count: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let record = |n: usize| {
        let value =
            format!("{{\"n\":{n},\"text\":\"{:x}\"}}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        (format!("key:{n:06}").into_bytes(), value.into_bytes())
    };
    (0..count).map(record).collect()
}

/// A snapshot of `records` in `dir`, in files of about `file_bytes`, not verified.
pub(crate) fn build<K: AsRef<[u8]>, V: AsRef<[u8]>>(
    dir: &Path,
    records: impl IntoIterator<Item = (K, V)>,
    file_bytes: u64,
) -> BuiltSnapshot {
    build_as(dir, records, file_bytes, Compression::Lz4)
}

/// [`build`], with another compression.
pub(crate) fn build_as<K: AsRef<[u8]>, V: AsRef<[u8]>>(
    dir: &Path,
    records: impl IntoIterator<Item = (K, V)>,
    file_bytes: u64,
    compression: Compression,
) -> BuiltSnapshot {
    let samples: Vec<_> = self::records(30).into_iter().map(|(_, value)| value).collect();
    let options = BuildOptions { compression, file_bytes };
    let mut builder = Builder::create(dir, options, &samples).unwrap();
    for (key, value) in records {
        builder.add(key.as_ref(), value.as_ref()).unwrap();
    }
    builder.finish().unwrap()
}

/// [`build`], verified: what is published.
pub(crate) fn verified(dir: &Path, records: usize, file_bytes: u64) -> VerifiedSnapshot {
    build(dir, self::records(records), file_bytes).verify(&mut |_| {}).unwrap()
}

/// A version of so many records, pushed and ready.
pub(crate) fn pushed(store: &Store, dataset: &DatasetName, records: usize) -> Version {
    let cause = Cause::default;
    store.ensure_dataset(dataset, cause()).unwrap();
    let version = store.admit(dataset, &Admission::default(), cause()).unwrap().number().unwrap();
    let part = store.begin_part(dataset, version, "1").unwrap();
    store.receive_part(dataset, version, part.close(PartSums::default())).unwrap();
    store.seal(dataset, version, false, None, cause()).unwrap();
    let snapshot = verified(&store.layout().build(dataset, version, 1), records, 4096);
    store.publish(dataset, version, &snapshot, 0, &[], cause()).unwrap();
    version
}

/// Turns one bit of the file at `path`.
pub(crate) fn flip(path: &Path, at: usize, bit: u8) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1 << bit;
    std::fs::write(path, bytes).unwrap();
}
