//! Which units a canary serves: a pure function of an experiment's name, a share and a unit, so
//! that any client can work it out by itself, and so that one unit sees one arm in all datasets
//! of one experiment.
//!
//! ```text
//! bucket = the first 8 bytes, little-endian, of SHA-256(experiment ":" unit), modulo 10,000
//! canary if bucket < percent × 100
//! ```
//!
//! A larger share takes more units and gives none back. This is a promise to other programs: it
//! never changes (docs/http-api.md has it in ten lines of Python).

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::error::{Code, Error, Result, quoted};

/// A share of one percent in these parts: as fine as a share can be.
const PARTS_OF_A_PERCENT: f64 = 100.0;
const BUCKETS: u64 = 10_000;
const MAX_EXPERIMENT_BYTES: usize = 128;

/// Assigns units to the arms of one experiment.
#[derive(Clone)]
pub struct Assignment {
    /// What the digest of every unit begins with.
    of_experiment: Sha256,
    /// Buckets below this one are the canary's.
    below: u64,
}

impl fmt::Debug for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assignment").field("below", &self.below).finish_non_exhaustive()
    }
}

impl Assignment {
    /// The assignment of `percent` of the units of `experiment` ([`Code::InvalidSetting`] if
    /// one of them cannot be).
    pub fn new(experiment: &str, percent: f64) -> Result<Self> {
        check_experiment(experiment)?;
        let of_experiment = Sha256::new_with_prefix(experiment).chain_update(b":");
        Ok(Self { of_experiment, below: parts(percent)? })
    }

    /// The bucket of a unit, below 10,000.
    pub fn bucket(&self, unit: &[u8]) -> u64 {
        let digest = self.of_experiment.clone().chain_update(unit).finalize();
        let first = digest.first_chunk().expect("a digest has 32 bytes");
        u64::from_le_bytes(*first) % BUCKETS
    }

    /// Whether the canary serves that unit.
    pub fn takes(&self, unit: &[u8]) -> bool {
        self.bucket(unit) < self.below
    }
}

/// A share in hundredths of a percent, from more than none to all.
fn parts(percent: f64) -> Result<u64> {
    let parts = (percent * PARTS_OF_A_PERCENT).round();
    // What two decimals become in binary is off by less than this.
    let is_fine = (percent * PARTS_OF_A_PERCENT - parts).abs() < 1e-6;
    if is_fine && (1.0..=BUCKETS as f64).contains(&parts) {
        return Ok(parts as u64);
    }
    let text = format!(
        "percent is {percent}: the share of a canary is more than 0 and at most 100, with at most \
         two decimals"
    );
    Err(Error::new(Code::InvalidSetting, text))
}

/// No colon, which ends the name in what is digested.
fn check_experiment(name: &str) -> Result<()> {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let fits = (1..=MAX_EXPERIMENT_BYTES).contains(&name.len()) && name.bytes().all(inner);
    if fits {
        return Ok(());
    }
    let text = format!(
        "{} is no name of an experiment: 1 to {MAX_EXPERIMENT_BYTES} of A-Z, a-z, 0-9, '.', '_' and \
         '-'",
        quoted(name)
    );
    Err(Error::new(Code::InvalidSetting, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(experiment: &str, unit: &[u8]) -> u64 {
        Assignment::new(experiment, 10.0).unwrap().bucket(unit)
    }

    /// Worked out with Python's hashlib; see docs/http-api.md.
    #[test]
    fn buckets_are_those_that_any_client_works_out() {
        assert_eq!(bucket("recs-nov", b"42"), 412);
        assert_eq!(bucket("recs-nov", b"learner:7"), 6060);
        assert_eq!(bucket("recs-nov", b"7"), 2857);
        assert_eq!(bucket("course-recs", b"42"), 7886);
        assert_eq!(bucket("course-recs", "ü".as_bytes()), 4682);
        assert_eq!(bucket("recs", b"\xff\0"), 4938);
        assert_eq!(bucket("a", &[b'x'; 200]), 597);
        assert_eq!(bucket("recs-nov", b""), 4321);
    }

    #[test]
    fn a_larger_share_takes_more_units_and_gives_none_back() {
        let taken = |percent| {
            let assignment = Assignment::new("x", percent).unwrap();
            let units = (0..20_000).map(move |n: u32| assignment.takes(n.to_string().as_bytes()));
            units.collect::<Vec<bool>>()
        };
        let by_share = [0.01, 1.0, 2.5, 10.0, 50.0, 99.99, 100.0].map(taken);
        for pair in by_share.windows(2) {
            assert!(pair[0].iter().zip(&pair[1]).all(|(less, more)| more >= less));
        }
        let counts = by_share.map(|taken| taken.iter().filter(|taken| **taken).count());
        // Counted with Python's hashlib, too.
        assert_eq!(counts, [4, 207, 476, 1892, 9869, 20_000, 20_000]);
    }

    #[test]
    fn shares_and_names_that_mean_nothing_are_refused() {
        for percent in [0.01, 0.07, 0.29, 1.1, 33.33, 57.0, 99.99, 100.0] {
            let below = Assignment::new("a", percent).unwrap().below;
            assert_eq!(below as f64, (percent * 100.0).round(), "{percent}");
        }
        for percent in [0.0, -1.0, 0.001, 0.004, 10.005, 100.01, 140.0, f64::NAN, f64::INFINITY] {
            let error = Assignment::new("a", percent).unwrap_err();
            assert_eq!(error.code(), Code::InvalidSetting, "{percent}");
        }
        assert!(Assignment::new("Recs-nov_2026.b", 1.0).is_ok());
        for name in ["", "a:b", "a b", "ü", &"a".repeat(129)] {
            assert_eq!(Assignment::new(name, 1.0).unwrap_err().code(), Code::InvalidSetting);
        }
    }
}
