//! What is done with a new version that is seen to be worse than the one before, and what
//! counts as worse.

use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, Result};

/// What a watch does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WatchMode {
    /// There is none.
    Off,
    /// It says what it sees, and changes nothing.
    #[default]
    Tell,
    /// It rolls back, holds the dataset, and says why.
    RollBack,
}

/// From when on a version that was activated counts as worse than the one before. `null`
/// turns a measure off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WatchLimits {
    /// How long an activated version is watched.
    pub window_seconds: u64,
    /// With fewer lookups than these nothing is said of it.
    pub min_lookups: u64,
    /// By how many points (percent of the lookups) the hit rate may fall.
    pub max_hit_rate_drop: Option<f64>,
    /// How many percent of the lookups may fail.
    pub max_error_percent: Option<f64>,
    /// How many times as long as before the slowest hundredth of the lookups may take.
    pub max_p99_factor: Option<f64>,
}

impl Default for WatchLimits {
    fn default() -> Self {
        Self {
            window_seconds: 600,
            min_lookups: 1000,
            max_hit_rate_drop: Some(20.0),
            max_error_percent: Some(1.0),
            max_p99_factor: None,
        }
    }
}

impl WatchLimits {
    /// Says which limit is outside its range ([`Code::InvalidSetting`]).
    pub(super) fn check(&self) -> Result<()> {
        let refuse = |what: &str| Err(Error::new(Code::InvalidSetting, what));
        if !(1..=7 * 24 * 3600).contains(&self.window_seconds) {
            return refuse("watch_limits.window_seconds must be from 1 to a week (604800)");
        }
        if self.min_lookups == 0 {
            return refuse("watch_limits.min_lookups must be 1 or more");
        }
        let percent = |p: Option<f64>| p.is_none_or(|p| (0.0..=100.0).contains(&p));
        if !percent(self.max_hit_rate_drop) {
            return refuse("watch_limits.max_hit_rate_drop must be from 0 to 100 points, or null");
        }
        if !percent(self.max_error_percent) {
            return refuse("watch_limits.max_error_percent must be from 0 to 100, or null");
        }
        if self.max_p99_factor.is_some_and(|factor| !(1.0..=1e6).contains(&factor)) {
            return refuse("watch_limits.max_p99_factor must be from 1 to 1000000, or null");
        }
        Ok(())
    }
}
