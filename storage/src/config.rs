//! The settings of one dataset.

use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, Result};
use crate::gates::Gates;
use crate::manifest::Compression;

mod watch;

pub use watch::{WatchLimits, WatchMode};

/// The settings of one dataset, each with its default. Unknown names are refused when
/// they come from a caller.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatasetConfig {
    /// How many versions that have served are kept, the current one among them. The
    /// version that a rollback would go to is kept besides, whatever this says.
    pub retain: u32,
    /// The media type of the values.
    pub content_type: String,
    /// How new versions are compressed.
    pub compression: Compression,
    /// What a version must pass before it may be activated.
    pub gates: Gates,
    /// How long a version that no longer serves stays readable, for scans and batches
    /// that are still on it.
    pub retire_grace_seconds: u64,
    /// What is done when a new version is seen to be worse than the one before.
    pub watch: WatchMode,
    /// What counts as worse.
    pub watch_limits: WatchLimits,
    /// How often a push is expected, at least: without one for longer the dataset is stale.
    pub expected_push_interval_seconds: Option<u64>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// What it is.
    pub description: Option<String>,
}

impl Default for DatasetConfig {
    fn default() -> Self {
        Self {
            retain: 3,
            content_type: "application/json".to_owned(),
            compression: Compression::default(),
            gates: Gates::default(),
            retire_grace_seconds: 600,
            watch: WatchMode::default(),
            watch_limits: WatchLimits::default(),
            expected_push_interval_seconds: None,
            owner: None,
            description: None,
        }
    }
}

impl DatasetConfig {
    /// Says which setting is outside its range ([`Code::InvalidSetting`]).
    pub fn check(&self) -> Result<()> {
        let refuse = |what: &str| Err(Error::new(Code::InvalidSetting, what));
        if !(1..=1000).contains(&self.retain) {
            return refuse("retain must be from 1 to 1000 versions");
        }
        let visible = |text: &str| text.bytes().all(|b| (0x20..0x7f).contains(&b));
        if !self.content_type.contains('/')
            || !visible(&self.content_type)
            || self.content_type.len() > 200
        {
            return refuse("content_type must be a media type such as application/json");
        }
        if self.retire_grace_seconds > 7 * 24 * 3600 {
            return refuse("retire_grace_seconds must be at most a week (604800)");
        }
        self.gates.check().or_else(|why| refuse(&why))?;
        self.watch_limits.check()?;
        let interval = self.expected_push_interval_seconds;
        if interval.is_some_and(|seconds| !(60..=366 * 24 * 3600).contains(&seconds)) {
            return refuse(
                "expected_push_interval_seconds must be from 60 to a year (31622400), or null",
            );
        }
        let texts = [&self.owner, &self.description];
        if texts.into_iter().flatten().any(|t| t.len() > 4096) {
            return refuse("owner and description may have at most 4096 bytes each");
        }
        Ok(())
    }

    /// Whether the values are JSON, so that they can stand inline in a JSON answer.
    pub fn is_json(&self) -> bool {
        let essence = self.content_type.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("application/json") || essence.ends_with("+json")
    }
}
