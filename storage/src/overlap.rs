//! About how many keys two versions have in common: an estimate in a few hundredths of a
//! second, where `diff.rs` counts in seconds.
//!
//! Records are drawn fairly from either version and looked up in the other. Of versions of no
//! more than 10,000 records all are looked up, so the shares are exact; of larger ones they are
//! right to within one point, 19 times of 20.

use crate::error::Result;
use crate::names::Key;
use crate::view::View;

/// Records that are drawn of each version.
const DRAWN: usize = 10_000;

/// What was seen of two versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Overlap {
    /// Records of the earlier version that were looked up in the later one.
    pub(crate) from_earlier: u64,
    /// Those that it has not.
    pub(crate) removed: u64,
    /// Those that have another value there.
    pub(crate) changed: u64,
    /// Records of the later version that were looked up in the earlier one.
    pub(crate) from_later: u64,
    /// Those that it has not.
    pub(crate) added: u64,
}

impl Overlap {
    /// Compares a version with one before it, without the keys that are erased.
    ///
    /// # Errors
    /// Those of [`View::get`], of either.
    pub(crate) fn of(earlier: View<'_>, later: View<'_>) -> Result<Self> {
        let (mut overlap, mut other) = (Self::default(), Vec::new());
        earlier.sample(DRAWN, &mut |key, value| {
            overlap.from_earlier += 1;
            if !later.get_unnoticed(Key::new(key)?, &mut other)? {
                overlap.removed += 1;
            } else if other != value {
                overlap.changed += 1;
            }
            Ok(())
        })?;
        later.sample(DRAWN, &mut |key, _| {
            overlap.from_later += 1;
            overlap.added += u64::from(!earlier.get_unnoticed(Key::new(key)?, &mut other)?);
            Ok(())
        })?;
        Ok(overlap)
    }

    /// Whether every record was looked up.
    pub(crate) fn is_exact(&self, earlier_records: u64, later_records: u64) -> bool {
        self.from_earlier == earlier_records && self.from_later == later_records
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Version;
    use crate::rocks::BlockCache;
    use crate::snapshot::Snapshot;
    use crate::testing;

    fn all(snapshot: &Snapshot) -> View<'_> {
        View::new(snapshot, None)
    }

    fn snapshot(dir: &std::path::Path, keys: std::ops::Range<usize>, value: &str) -> Snapshot {
        let records = keys.map(|n| (format!("key:{n:06}"), format!("{{\"n\":{n},{value}}}")));
        let built = testing::build(dir, records, 1 << 20).verify(&mut |_| {}).unwrap();
        Snapshot::open(dir, Version(1), built.digest(), &BlockCache::new(1 << 20)).unwrap()
    }

    #[test]
    fn small_versions_are_compared_exactly() {
        let dir = tempfile::tempdir().unwrap();
        let a = snapshot(&dir.path().join("a"), 0..1000, "\"v\":1");
        let b = snapshot(&dir.path().join("b"), 250..1100, "\"v\":1");
        let c = snapshot(&dir.path().join("c"), 250..1100, "\"v\":2");
        let counts = |overlap: Overlap| (overlap.removed, overlap.changed, overlap.added);
        let found = Overlap::of(all(&a), all(&b)).unwrap();
        assert_eq!(counts(found), (250, 0, 100));
        assert!(found.is_exact(1000, 850) && !found.is_exact(1000, 851));
        assert_eq!(counts(Overlap::of(all(&a), all(&c)).unwrap()), (250, 750, 100));
        assert_eq!(counts(Overlap::of(all(&a), all(&a)).unwrap()), (0, 0, 0));
    }

    #[test]
    fn large_ones_are_estimated_within_two_points() {
        let dir = tempfile::tempdir().unwrap();
        let a = snapshot(&dir.path().join("a"), 0..40_000, "\"v\":1");
        let b = snapshot(&dir.path().join("b"), 10_000..50_000, "\"v\":1");
        let found = Overlap::of(all(&a), all(&b)).unwrap();
        assert_eq!((found.from_earlier, found.from_later, found.changed), (10_000, 10_000, 0));
        for share in [found.removed, found.added] {
            assert!((2300..2700).contains(&share), "{share}");
        }
    }
}
