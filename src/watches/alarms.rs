//! Who else is told of what a watch sees.

use tidetable_storage::{DatasetName, Millis, Version};

use crate::time::rfc3339;
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
            Some(at) => format!("a push is overdue: the last was at {}", rfc3339(at)),
        };
        self.notify(&Notice::stale(dataset, current, reason));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::config::{Secret, Target};
    use crate::metrics::Metrics;
    use crate::outbound::Url;
    use crate::webhooks::Kind;

    #[test]
    fn receivers_that_ask_for_it_are_told_what_a_watch_sees() {
        let target = |kind: Kind| Target {
            url: Url::parse("http://127.0.0.1/").unwrap(),
            secret: Secret::new(vec![7; 32]).unwrap(),
            events: [kind].into(),
            datasets: None,
        };
        let targets = [Kind::Alarm, Kind::Stale, Kind::Failed].map(target);
        // Nobody delivers: what was told waits.
        let webhooks = Webhooks::new(targets.into(), Arc::new(Metrics::new()));
        let recs = DatasetName::parse("recs").unwrap();
        let fall = Fall {
            dataset: recs.clone(),
            version: Version(2),
            against: Version(1),
            rolled_back: true,
            detail: "41 % of lookups find something, 97 % before".to_owned(),
        };
        let alarms: &dyn Alarms = &webhooks;
        alarms.fell(&fall);
        alarms.stale(&recs, Some(Version(1)), Some(1_700_000_000_000));
        alarms.stale(&recs, None, None);
        let told = |number| {
            let told = webhooks.take_waiting(number).into_iter();
            let part = |body: serde_json::Value| {
                assert_eq!(
                    (&body["dataset"], &body["actor"]),
                    (&json!("recs"), &json!("tidetable-watch"))
                );
                json!([body["event"], body["version"], body["reason"]])
            };
            told.map(part).collect::<Vec<_>>()
        };
        assert_eq!(told(0), [json!(["alarm", 2, fall.detail])]);
        assert_eq!(
            told(1),
            [
                json!(["stale", 1, "a push is overdue: the last was at 2023-11-14T22:13:20.000Z"]),
                json!(["stale", null, "a push is overdue: there was none yet"]),
            ]
        );
        assert!(told(2).is_empty(), "it has asked for neither");
    }
}
