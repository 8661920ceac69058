//! Who else is told of what a watch sees.

use tidetable_storage::{DatasetName, Millis, Version};

use crate::http::time;
use crate::webhooks::{Notice, Webhooks};

/// A version that did worse than the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fall {
    /// Of which dataset.
    pub(crate) dataset: DatasetName,
    /// The version.
    pub(crate) version: Version,
    /// The version that it was compared with.
    pub(crate) against: Version,
    /// Whether the dataset was rolled back to that.
    pub(crate) rolled_back: bool,
    /// What was seen, and what was done about it.
    pub(crate) detail: String,
}

/// Is told on the thread that watches: it must not wait for anybody.
pub(crate) trait Alarms: Send {
    /// A version did worse than the one before. Told once for each activation.
    fn fell(&self, fall: &Fall);
    /// A push is overdue. Told when that comes to be so, and again after a restart.
    fn stale(&self, dataset: &DatasetName, current: Option<Version>, last_push_at: Option<Millis>);
}

impl Alarms for Webhooks {
    fn fell(&self, fall: &Fall) {
        self.notify(&Notice::alarm(&fall.dataset, fall.version, fall.detail.clone()));
    }

    fn stale(&self, dataset: &DatasetName, current: Option<Version>, last_push_at: Option<Millis>) {
        let reason = match last_push_at {
            None => "a push is overdue: there was none yet".to_owned(),
            Some(at) => format!("a push is overdue: the last was at {}", time(at)),
        };
        self.notify(&Notice::stale(dataset, current, reason));
    }
}
