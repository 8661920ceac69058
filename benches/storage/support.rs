//! Records, and a snapshot that holds them, made once for all questions.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use criterion::Criterion;
use tempfile::TempDir;
use tidetable_storage::{BlockCache, BuildOptions, Builder, Digest, Snapshot, Version};

/// Records of the snapshot: 90 MB of JSON, more than a processor's cache.
pub(crate) const RECORDS: u64 = 200_000;
const CACHE_BYTES: usize = 64 << 20;

/// Short enough that all questions are answered in a minute or two.
pub(crate) fn config() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4))
        .sample_size(40)
}

pub(crate) fn key(number: u64) -> Vec<u8> {
    format!("learner:{number:012}").into_bytes()
}

/// Ten recommendations, about 430 bytes.
pub(crate) fn value(number: u64) -> Vec<u8> {
    let mut text = String::from("[");
    for rank in 0..10 {
        let course = mixed(number * 10 + rank) % 3_000;
        let score = 9_900 - rank * 700 - mixed(number + rank) % 600;
        let comma = if rank == 0 { "" } else { "," };
        let item = format_args!(r#"{comma}{{"course":"course-{course:05}","score":0.{score:04}}}"#);
        text.write_fmt(item).expect("a string takes all text");
    }
    text.push(']');
    text.into_bytes()
}

/// A number that looks random, the same everywhere (SplitMix64).
pub(crate) fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Random keys that are there.
pub(crate) fn present(count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|i| key(mixed(i) % RECORDS)).collect()
}

/// The same, each followed by a letter: in between those that are there.
pub(crate) fn absent(count: u64) -> Vec<Vec<u8>> {
    let mut keys = present(count);
    keys.iter_mut().for_each(|key| key.push(b'x'));
    keys
}

/// A snapshot on the disk, and open.
pub(crate) struct Opened {
    pub(crate) dir: TempDir,
    pub(crate) digest: Digest,
    pub(crate) snapshot: Snapshot,
}

pub(crate) static OPENED: LazyLock<Opened> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("a directory for a snapshot");
    let records = (0..RECORDS).map(|number| (key(number), value(number)));
    let digest = build(&dir.path().join("snapshot"), records);
    let snapshot = open(&dir.path().join("snapshot"), &digest);
    Opened { dir, digest, snapshot }
});

/// Builds and verifies a snapshot, and gives the digest that names it.
pub(crate) fn build(dir: &Path, records: impl Iterator<Item = (Vec<u8>, Vec<u8>)>) -> Digest {
    let samples: Vec<_> = (0..RECORDS).step_by(250).map(value).collect();
    let mut builder = Builder::create(dir, BuildOptions::default(), &samples)
        .expect("the directory is new and empty");
    for (key, value) in records {
        builder.add(&key, &value).expect("the keys ascend");
    }
    let built = builder.finish().expect("the disk takes the snapshot");
    *built.verify(&mut |_| {}).expect("what was written can be read").digest()
}

pub(crate) fn open(dir: &Path, digest: &Digest) -> Snapshot {
    let cache = BlockCache::new(CACHE_BYTES);
    Snapshot::open(dir, Version(1), digest, &cache).expect("what was built can be opened")
}
