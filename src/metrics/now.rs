//! What is no count but looked at when a scrape asks: the disk, and how the server is.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tidetable_storage::{DatasetName, Millis, RESERVE_BYTES, Store, free_bytes, now};

use crate::scrubber::Scrubs;

/// How things stood at the last scrape.
#[derive(Clone, Debug, Default)]
pub(crate) struct Now {
    /// Bytes free on the disk of the data directory; `None` if the system does not say.
    pub(super) disk_free: Option<u64>,
    /// Of these, what no push takes.
    pub(super) disk_reserved: u64,
    pub(super) open_snapshots: u64,
    pub(super) copied_bytes: u64,
    /// Whether every lookup is answered that should be.
    pub(super) is_ready: bool,
    /// Whether the journal takes events.
    pub(super) accepts_changes: bool,
    /// Whether a push may begin.
    pub(super) accepts_pushes: bool,
    /// Versions that are kept and damaged, by dataset.
    pub(super) damaged: Vec<(DatasetName, u64)>,
    /// When the version was read that was read longest ago, in seconds since 1970; `None` without any.
    pub(super) read_longest_ago: Option<u64>,
    /// How often each is read again, in seconds.
    pub(super) scrub_interval: u64,
    /// Bytes read again; versions that were sound then, and that were damaged.
    pub(super) scrubbed: (u64, u64, u64),
    /// Names of tokens of which the last expires, with the seconds until it does.
    pub(super) token_expiries: Vec<(String, i64)>,
    /// Every dataset, and whether its current version, or its canary, cannot be served.
    pub(super) unusable: Vec<(DatasetName, bool)>,
}

impl Now {
    /// With whether the disk takes a push.
    pub(crate) fn taking_pushes(mut self, does: bool) -> Self {
        self.accepts_pushes = does && self.accepts_changes;
        self
    }

    /// With what reading versions again has counted.
    pub(crate) fn scrubbed(mut self, scrubs: &Scrubs, interval: Duration) -> Self {
        let [bytes, sound, damaged] =
            [&scrubs.bytes, &scrubs.sound, &scrubs.damaged].map(|counter| counter.load(Relaxed));
        self.scrubbed = (bytes, sound, damaged);
        self.scrub_interval = interval.as_secs();
        self
    }

    /// Asks the file system, which may take its time.
    pub(crate) fn look(store: &Store, is_ready: bool) -> Self {
        let datasets = store.live().at_one_instant();
        let mut unusable: Vec<_> = datasets
            .iter()
            .map(|(name, served)| (name.clone(), served.faults().next().is_some()))
            .collect();
        unusable.sort_unstable();
        let catalog = store.catalog();
        let count = |(name, _): &(DatasetName, bool)| {
            let dataset = catalog.dataset(name).ok();
            let damaged = dataset.map_or(0, |dataset| store.damaged_versions(name, dataset).len());
            (name.clone(), damaged as u64)
        };
        let damaged = unusable.iter().map(count).collect();
        let at = now();
        let expiries = catalog.tokens().last_expiries(at).into_iter();
        let left = |ends: Millis| ends.cast_signed().saturating_sub_unsigned(at) / 1000;
        let token_expiries = expiries.map(|(name, ends)| (name.to_owned(), left(ends))).collect();
        drop(catalog);
        Self {
            disk_free: free_bytes(store.layout().root()).ok(),
            disk_reserved: RESERVE_BYTES,
            open_snapshots: store.open_snapshots(),
            copied_bytes: store.copied_bytes(),
            is_ready,
            accepts_changes: !store.journal_state().1,
            accepts_pushes: false,
            damaged,
            token_expiries,
            scrub_interval: 0,
            scrubbed: (0, 0, 0),
            read_longest_ago: store.by_last_reading().first().map(|(_, at)| at / 1000),
            unusable,
        }
    }
}
