//! What a receiver is told.

use serde::Serialize;
use tidetable_storage::{DatasetName, Happened, Millis, THE_SERVER, Version, now};

use crate::time::rfc3339;

/// The longest reason that is sent, in characters; the history has all of it.
const MAX_REASON: usize = 2_000;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A gate refused a version.
    Rejected,
    /// A push ended without a version.
    Failed,
    /// Another version is current.
    Activated,
    /// The same, by a rollback.
    RolledBack,
    /// No push has come for longer than is expected.
    Stale,
    /// The watch saw the new version do worse than the one before.
    Alarm,
    /// The files of a version are not as they were published.
    Damaged,
    /// Somebody tries whether it arrives; not among [`Kind::ALL`].
    Test,
}

impl Kind {
    /// Everything that a receiver may ask for.
    pub(crate) const ALL: [Self; 7] = [
        Self::Rejected,
        Self::Failed,
        Self::Activated,
        Self::RolledBack,
        Self::Stale,
        Self::Alarm,
        Self::Damaged,
    ];

    /// The word for it: for those of the journal, as the history has it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Failed => "failed",
            Self::Activated => "activated",
            Self::RolledBack => "rolled_back",
            Self::Stale => "stale",
            Self::Alarm => "alarm",
            Self::Damaged => "damaged",
            Self::Test => "test",
        }
    }
}

/// One thing that happened to one dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) kind: Kind,
    pub(crate) dataset: DatasetName,
    /// The version it is about; of a swap, the one that is current now.
    pub(crate) version: Option<Version>,
    /// Of a swap, the version before.
    pub(crate) from: Option<Version>,
    pub(crate) at: Millis,
    pub(crate) actor: String,
    pub(crate) reason: Option<String>,
    /// The request that asked for it, if one did.
    pub(crate) request_id: Option<String>,
    /// Its place in the journal, if it stands there.
    pub(crate) seq: Option<u64>,
}

impl Notice {
    /// A line of a history, if receivers are told of its kind.
    pub(super) fn of(dataset: &DatasetName, happened: &Happened) -> Option<Self> {
        let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == happened.event)?;
        Some(Self {
            kind,
            dataset: dataset.clone(),
            version: happened.version,
            from: happened.from,
            at: happened.at,
            actor: happened.actor.clone(),
            reason: happened.reason.clone(),
            request_id: Some(happened.request_id.clone()).filter(|id| !id.is_empty()),
            seq: Some(happened.seq),
        })
    }

    /// No push has come for longer than is expected.
    pub(crate) fn stale(dataset: &DatasetName, current: Option<Version>, reason: String) -> Self {
        Self::by_the_watch(Kind::Stale, dataset, current, reason)
    }

    /// The watch saw `version` do worse than the one before it.
    pub(crate) fn alarm(dataset: &DatasetName, version: Version, reason: String) -> Self {
        Self::by_the_watch(Kind::Alarm, dataset, Some(version), reason)
    }

    /// The files of `version` are not as they were published.
    pub(crate) fn damaged(dataset: &DatasetName, version: Version, reason: String) -> Self {
        Self {
            actor: THE_SERVER.to_owned(),
            ..Self::by_the_watch(Kind::Damaged, dataset, Some(version), reason)
        }
    }

    /// Somebody tries whether it arrives.
    pub(super) fn test() -> Self {
        let dataset = DatasetName::parse("test").expect("it is a name");
        let reason = "somebody tries whether this arrives: nothing happened".to_owned();
        Self {
            actor: THE_SERVER.to_owned(),
            ..Self::by_the_watch(Kind::Test, &dataset, None, reason)
        }
    }

    fn by_the_watch(
        kind: Kind,
        dataset: &DatasetName,
        version: Option<Version>,
        reason: String,
    ) -> Self {
        Self {
            kind,
            dataset: dataset.clone(),
            version,
            from: None,
            at: now(),
            actor: "tidetable-watch".to_owned(),
            reason: Some(reason),
            request_id: None,
            seq: None,
        }
    }

    /// The body that is sent, under that id.
    pub(super) fn body(&self, id: &str) -> Vec<u8> {
        let body = Body {
            id,
            event: self.kind.as_str(),
            dataset: &self.dataset,
            version: self.version,
            from: self.from,
            at: rfc3339(self.at),
            actor: &self.actor,
            reason: self.reason.as_deref().map(|text| text.chars().take(MAX_REASON).collect()),
            request_id: self.request_id.as_deref(),
            seq: self.seq,
        };
        serde_json::to_vec(&body).expect("a notice is plain data")
    }
}

#[derive(Serialize)]
struct Body<'a> {
    id: &'a str,
    event: &'a str,
    dataset: &'a DatasetName,
    version: Option<Version>,
    from: Option<Version>,
    at: String,
    actor: &'a str,
    reason: Option<String>,
    request_id: Option<&'a str>,
    seq: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_history_those_lines_are_told_that_a_receiver_can_ask_for() {
        let dataset = DatasetName::parse("recs").unwrap();
        let happened = |event: &str| Happened {
            seq: 7,
            at: 1_700_000_000_000,
            event: event.to_owned(),
            version: Some(Version(4)),
            from: Some(Version(3)),
            to: Some(Version(4)),
            actor: "airflow".to_owned(),
            request_id: String::new(),
            reason: Some("x".repeat(MAX_REASON + 1)),
            forced: false,
        };
        for quiet in ["created", "admitted", "sealed", "published", "held", "released", "deleted"] {
            assert_eq!(Notice::of(&dataset, &happened(quiet)), None, "{quiet}");
        }
        for kind in ["rejected", "failed", "activated", "rolled_back"] {
            let notice = Notice::of(&dataset, &happened(kind)).unwrap();
            let body: serde_json::Value = serde_json::from_slice(&notice.body("id-1")).unwrap();
            let expected = serde_json::json!({
                "id": "id-1", "event": kind, "dataset": "recs", "version": 4, "from": 3,
                "at": "2023-11-14T22:13:20.000Z", "actor": "airflow",
                "reason": "x".repeat(MAX_REASON), "request_id": null, "seq": 7,
            });
            assert_eq!(body, expected);
        }
    }
}
