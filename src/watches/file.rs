//! What is kept of watches, so that a restart within a window goes on with it.

use serde::{Deserialize, Serialize};
use tidetable_storage::{DatasetName, Store, Swap};
use tracing::warn;

use super::watch::Watch;
use crate::metrics::ArmTotals;

/// What is kept of one dataset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) dataset: DatasetName,
    /// The last change of its current version: if there was another one since, this is of no
    /// use any more.
    pub(super) swap: Swap,
    /// Lookups of the version before, while it was current.
    pub(super) before: ArmTotals,
    /// Lookups of the current version.
    pub(super) seen: ArmTotals,
    /// The watch of it; after a rollback that of the version it went back from.
    pub(super) watch: Option<Watch>,
    /// It is to be rolled back, and could not be so far.
    #[serde(default)]
    pub(super) is_owed: bool,
}

/// Keeps these in place of those before.
pub(super) fn write(store: &Store, kept: &[Kept]) -> tidetable_storage::Result<()> {
    let lines = kept.iter().map(|kept| serde_json::to_string(kept).expect("it is plain data"));
    store.keep_watches(&lines.collect::<Vec<_>>().join("\n"))
}

/// What was kept last. If that is no use, nothing was: watches begin anew within what is left
/// of their windows.
pub(super) fn read(store: &Store) -> Vec<Kept> {
    let text = match store.kept_watches() {
        Ok(text) => text.unwrap_or_default(),
        Err(error) => {
            warn!(%error, "what watches had seen is lost; they begin anew");
            return Vec::new();
        }
    };
    let read = |line: &str| match serde_json::from_str(line) {
        Ok(kept) => Some(kept),
        Err(error) => {
            warn!(%error, "what a watch had seen is of another release; it begins anew");
            None
        }
    };
    text.lines().filter_map(read).collect()
}
