//! The room on the disk that a push needs, as far as that can be told before it is there.
//!
//! An estimate on the low side, so that nothing is refused that might fit: sorting may need room
//! as well, and compressed data grows. What does not fit after all fails when it comes to that,
//! before the reserve is touched.

use tidetable_storage::{Dataset, DatasetName, Error, Store, Version, require_room_for_pushes};

use super::is_snapshot;
use crate::state::App;

/// Pushes of fewer bytes say nothing about larger ones: most of their versions is what every
/// version has.
const TELLING: u64 = 1 << 20;
/// Not more than so many times of what is sent is asked for beforehand.
const MOST_TIMES: u64 = 4;

/// Whether a push may begin: the disk takes it, and is not too full already.
pub(crate) fn require(app: &App) -> Result<(), Error> {
    let most = app.config.max_disk_percent.0 as u64;
    require_room_for_pushes(app.store.layout().root(), most)
}

/// What a push takes that sends so many bytes: those, and the version that they become.
pub(crate) fn of_push(store: &Store, dataset: &DatasetName, sent: u64) -> u64 {
    let catalog = store.catalog();
    let version = catalog.dataset(dataset).map_or(sent, |dataset| of_version(dataset, sent));
    sent.saturating_add(version)
}

/// The same, of a part of a push: the files of a snapshot are those of the version.
pub(crate) fn of_part(store: &Store, dataset: &DatasetName, version: Version, sent: u64) -> u64 {
    let catalog = store.catalog();
    if catalog.entry(dataset, version).is_ok_and(|entry| is_snapshot(&entry.options)) {
        return sent.saturating_add(beside_snapshot(sent));
    }
    drop(catalog);
    of_push(store, dataset, sent)
}

/// What a version takes besides the files of its snapshot, which have so many bytes: RocksDB's own, and
/// the index of its keys.
pub(super) fn beside_snapshot(sent: u64) -> u64 {
    sent / 8 + (1 << 20)
}

/// What the version takes that so many bytes become: in proportion to what became of the last
/// ones that were sent, or, without any that tell, as much as was sent.
pub(crate) fn of_version(dataset: &Dataset, sent: u64) -> u64 {
    let last = dataset.versions.values().rev().find_map(|entry| {
        let of_version = entry.stats.as_ref()?.bytes;
        let of_parts: u64 = entry.parts.iter().map(|part| part.bytes).sum();
        (of_parts >= TELLING).then_some((of_version, of_parts))
    });
    let Some((of_version, of_parts)) = last else { return sent };
    let needed = u128::from(sent) * u128::from(of_version) / u128::from(of_parts);
    u64::try_from(needed).unwrap_or(u64::MAX).min(sent.saturating_mul(MOST_TIMES))
}
