//! Immutable versions of datasets, as RocksDB snapshots.

mod sorter;

mod builder;
mod manifest;
mod verify;

mod snapshot;

mod assembly;
mod digest;
mod durable;
mod error;
mod layout;
mod names;
mod regular;
mod rocks;
#[cfg(test)]
mod testing;

pub use builder::{BuildOptions, Builder};
pub use digest::Digest;
pub use error::{Code, Error, Kind, Result};
pub use layout::{Layout, MANIFEST};
pub use manifest::{Compression, Manifest, SstFile};
pub use names::{DatasetName, Key, MAX_KEY_BYTES, MAX_VALUE_BYTES, Version};
pub use rocks::{BlockCache, Scan, Value};
pub use snapshot::Snapshot;
pub use sorter::{MIN_SORT_BYTES, Record, Sorted, Sorter};
pub use verify::{UnpublishedSnapshot, VerifiedSnapshot, verify_snapshot};
