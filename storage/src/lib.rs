//! Immutable versions of datasets, as RocksDB snapshots.

mod error;
mod layout;
mod names;

pub use error::{Code, Error, Kind, Result};
pub use layout::{Layout, MANIFEST};
pub use names::{DatasetName, Key, MAX_KEY_BYTES, MAX_VALUE_BYTES, Version};
