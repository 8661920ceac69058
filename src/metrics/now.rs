//! What is no count but looked at when a scrape asks: the disk, and how the server is.

use tidetable_storage::{DatasetName, RESERVE_BYTES, Store, free_bytes};

/// How things stood at the last scrape.
#[derive(Clone, Debug, Default)]
pub(crate) struct Now {
    /// Bytes free on the disk of the data directory; `None` if the system does not say.
    pub(super) disk_free: Option<u64>,
    /// Of these, what no push takes.
    pub(super) disk_reserved: u64,
    pub(super) open_snapshots: u64,
    /// Whether every lookup is answered that should be.
    pub(super) is_ready: bool,
    /// Whether the journal takes events.
    pub(super) accepts_changes: bool,
    /// Every dataset, and whether its current version, or its canary, cannot be served.
    pub(super) unusable: Vec<(DatasetName, bool)>,
}

impl Now {
    /// Asks the file system, which may take its time.
    pub(crate) fn look(store: &Store, is_ready: bool) -> Self {
        let datasets = store.live().at_one_instant();
        let mut unusable: Vec<_> = datasets
            .iter()
            .map(|(name, served)| (name.clone(), served.faults().next().is_some()))
            .collect();
        unusable.sort_unstable();
        Self {
            disk_free: free_bytes(store.layout().root()).ok(),
            disk_reserved: RESERVE_BYTES,
            open_snapshots: store.open_snapshots(),
            is_ready,
            accepts_changes: !store.journal_state().1,
            unusable,
        }
    }
}
