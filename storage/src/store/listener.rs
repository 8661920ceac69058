//! Whoever wants to know of everything that the journal has committed.

use std::fmt;
use std::sync::Arc;

use crate::catalog::{Catalog, Happened};
use crate::names::DatasetName;

type Heard = dyn Fn(&DatasetName, &Happened) + Send + Sync;

/// Is called with each line that a history gains, right after its record is on the disk, in
/// the order of the journal, whoever caused it; also while a directory is opened. It is called
/// under the lock of all changes: it must not wait for anything.
#[derive(Clone)]
pub struct Listener(Arc<Heard>);

impl Listener {
    /// Calls `heard` with the dataset and the line.
    pub fn new(heard: impl Fn(&DatasetName, &Happened) + Send + Sync + 'static) -> Self {
        Self(Arc::new(heard))
    }

    /// Tells the lines that event `seq` has added to the history of that dataset.
    pub(super) fn tell(&self, catalog: &Catalog, name: &DatasetName, seq: u64) {
        // A dataset that was deleted has no history any more.
        let Ok(dataset) = catalog.dataset(name) else { return };
        let lines = dataset.history.iter().rev().take_while(|line| line.seq == seq).count();
        let lines = dataset.history.iter().skip(dataset.history.len() - lines);
        lines.for_each(|line| (self.0)(name, line));
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener(…)")
    }
}
