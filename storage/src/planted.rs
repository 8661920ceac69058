//! Bugs on demand: a checker that finds nothing is believed only if it finds these
//! (`tests/torture`, docs/torture.md).
//!
//! Without the feature `faults` there is nothing here: [`has`] is `false`, which the compiler knows
//! too, so that none of the bugs is in the binary. With it, `TIDETABLE_BUG=mixed-batch` switches
//! that bug on; commas stand between several. Two of them are no bugs of ours but faults of the
//! machine, which a build without bugs must come through: `damaged-tables`, and `synced:FILE`,
//! which notes in FILE how much of which file was synced, for a power cut that loses the rest.

/// What can be planted. Each says what goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Nothing is synced to the disk.
    SkipFsync,
    /// A build is not read back before it is swapped in.
    SwapBeforeVerify,
    /// A change is acknowledged before its record is in the journal.
    AckBeforeRecord,
    /// The second half of a batch reads what is current by then.
    MixedBatch,
    /// All pushes of a dataset have one staging directory.
    ReusedStaging,
    /// Files go when their version is given up, not when its last reader has gone.
    RemovedWhileRead,
    /// Every 10,000th record is left out.
    DroppedKeys,
    /// Now and then a lookup gets what was served before the last swap.
    OldValueAfterSwap,
    /// The checksum of a value is not looked at.
    IgnoredChecksum,
    /// `..` is a name of a dataset.
    DotDotName,
    /// The body is read before it is decided whether the request is allowed.
    BodyBeforeRefusal,
    /// `expect_current` is not looked at.
    ExpectNotChecked,
    /// A fault of the machine: one byte of some tables changes before they are read back.
    DamagedTables,
}

#[cfg(not(feature = "faults"))]
mod absent {
    use std::fs::File;
    use std::path::Path;

    use super::Bug;

    /// Whether this process has that bug.
    #[inline(always)]
    pub const fn has(_: Bug) -> bool {
        false
    }

    /// Whether this is the n-th, 2n-th… time that the bug was asked for.
    #[inline(always)]
    pub(crate) const fn every(_: Bug, _: u64) -> bool {
        false
    }

    #[inline(always)]
    pub(crate) fn synced(_: &File) {}

    #[inline(always)]
    pub(crate) fn damage(_: &Path) {}

    #[inline(always)]
    pub(crate) fn empty_tables(_: &Path) {}
}

#[cfg(not(feature = "faults"))]
pub use absent::has;
#[cfg(not(feature = "faults"))]
pub(crate) use absent::{damage, empty_tables, every, synced};

#[cfg(feature = "faults")]
pub use present::has;
#[cfg(feature = "faults")]
pub(crate) use present::{damage, empty_tables, every, synced};

#[cfg(feature = "faults")]
mod present {
    use std::env;
    use std::fs::{File, OpenOptions};
    use std::io::Write;
    use std::os::unix::fs::{FileExt, MetadataExt};
    use std::path::Path;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::Bug;

    const NAMES: [(&str, Bug); 13] = [
        ("skip-fsync", Bug::SkipFsync),
        ("swap-before-verify", Bug::SwapBeforeVerify),
        ("ack-before-record", Bug::AckBeforeRecord),
        ("mixed-batch", Bug::MixedBatch),
        ("reused-staging", Bug::ReusedStaging),
        ("removed-while-read", Bug::RemovedWhileRead),
        ("dropped-keys", Bug::DroppedKeys),
        ("old-value-after-swap", Bug::OldValueAfterSwap),
        ("ignored-checksum", Bug::IgnoredChecksum),
        ("dot-dot-name", Bug::DotDotName),
        ("body-before-refusal", Bug::BodyBeforeRefusal),
        ("expect-not-checked", Bug::ExpectNotChecked),
        ("damaged-tables", Bug::DamagedTables),
    ];

    #[derive(Default)]
    struct Planted {
        bugs: Vec<Bug>,
        synced: Option<File>,
        asked: AtomicU64,
    }

    static PLANTED: LazyLock<Planted> = LazyLock::new(|| {
        let mut planted = Planted::default();
        let names = env::var("TIDETABLE_BUG").unwrap_or_default();
        for name in names.split(',').filter(|name| !name.is_empty()) {
            if let Some(path) = name.strip_prefix("synced:") {
                let file = OpenOptions::new().create(true).append(true).open(path);
                planted.synced = Some(file.expect("the check names a file that can be written"));
                continue;
            }
            let bug = NAMES.iter().find(|(known, _)| *known == name);
            planted.bugs.push(bug.expect("TIDETABLE_BUG names what storage/src/planted.rs has").1);
        }
        planted
    });

    /// Whether this process has that bug.
    pub fn has(bug: Bug) -> bool {
        PLANTED.bugs.contains(&bug)
    }

    /// Whether this is the n-th, 2n-th… time that the bug was asked for. One bug alone is asked
    /// for in this way by a process.
    pub(crate) fn every(bug: Bug, n: u64) -> bool {
        has(bug) && PLANTED.asked.fetch_add(1, Ordering::Relaxed) % n == n - 1
    }

    /// The file was synced: notes its number and its size.
    pub(crate) fn synced(file: &File) {
        if let Some(mut notes) = PLANTED.synced.as_ref()
            && let Ok(meta) = file.metadata()
        {
            // One write, so that lines of several processes do not mix.
            let _ = notes.write_all(format!("{} {}\n", meta.ino(), meta.len()).as_bytes());
        }
    }

    /// Gives the space of the tables in `dir` back, whoever reads them.
    pub(crate) fn empty_tables(dir: &Path) {
        let names = std::fs::read_dir(dir).into_iter().flatten().flatten();
        for path in names.map(|name| name.path()) {
            if path.extension().is_some_and(|extension| extension == "sst") {
                let file = OpenOptions::new().write(true).open(path);
                let _ = file.and_then(|file| file.set_len(0));
            }
        }
    }

    /// Changes a byte of the table at `path`, in every third version of the dataset `hurt`.
    pub(crate) fn damage(path: &Path) {
        if !has(Bug::DamagedTables) {
            return;
        }
        let push = path.iter().filter_map(|part| part.to_str()).find_map(crate::layout::push_of);
        let is_due = push.is_some_and(|(dataset, version)| {
            dataset.as_str() == "hurt" && version.0.is_multiple_of(3)
        });
        if !is_due {
            return;
        }
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file = file.expect("the table was written just now");
        let middle = file.metadata().expect("it is open").len() / 2;
        let mut byte = [0];
        file.read_exact_at(&mut byte, middle).expect("a table is not empty");
        file.write_all_at(&[byte[0] ^ 1], middle).expect("it is open for writing");
    }
}
