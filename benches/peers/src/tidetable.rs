//! Lookups in a snapshot, through the storage library's public face. The only place here that
//! says how a snapshot is read.

use std::path::Path;

use anyhow::Context as _;
use tidetable_storage::{DatasetName, Key, Lease, Store, StoreOptions};

use crate::embedded::{self, Embedded};

/// Opens the data directory of a server that was stopped, and answers for the current version
/// of `dataset`.
pub(crate) fn answer(data: &Path, dataset: &str, records: u64) -> anyhow::Result<()> {
    let dataset = DatasetName::parse(dataset)?;
    // As `serve` opens it when nothing is set.
    let options = StoreOptions { block_cache_bytes: 256 << 20, ..StoreOptions::default() };
    let (store, _) =
        Store::open(data, options).with_context(|| format!("cannot open {}", data.display()))?;
    let snapshot = Current(store.live().get(&dataset)?.current()?);
    snapshot.warm()?;
    embedded::answer(&snapshot, records)
}

/// The snapshot that is served.
pub(crate) struct Current(pub(crate) Lease);

impl Current {
    /// Touches every record once.
    fn warm(&self) -> anyhow::Result<()> {
        let mut scan = self.0.scan(b"", None)?;
        while scan.next()?.is_some() {}
        Ok(())
    }
}

impl Embedded for Current {
    fn look_up(&self, key: &[u8], read: &mut impl FnMut(&[u8])) -> anyhow::Result<bool> {
        let value = self.0.get(Key::new(key)?)?;
        if let Some(value) = &value {
            read(value);
        }
        Ok(value.is_some())
    }
}
