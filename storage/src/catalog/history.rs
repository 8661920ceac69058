//! What happened to a dataset, in lines for people.

use serde::{Deserialize, Serialize};

use super::{Dataset, canary, erasures};
use crate::event::{CONFIGURED, Cause, Event, Millis, PUBLISHED};
use crate::gates;
use crate::names::Version;

/// How many events of a dataset its history shows.
const HISTORY_KEPT: usize = 1_000;

/// One line of a dataset's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happened {
    /// Its place among all events of the data directory.
    pub seq: u64,
    /// When.
    pub at: Millis,
    /// What: the name of the event.
    pub event: String,
    /// The version it is about.
    pub version: Option<Version>,
    /// For a swap, the version before.
    pub from: Option<Version>,
    /// For a swap, the version after.
    pub to: Option<Version>,
    /// By whom.
    pub actor: String,
    /// In which request.
    pub request_id: String,
    /// Why.
    pub reason: Option<String>,
    /// For a swap, whether a person overrode the gates or a `bad` mark.
    #[serde(default)]
    pub forced: bool,
}

impl Dataset {
    /// `ended`: the canary that this event has ended, if it has. `was_held`: before it, which a hold
    /// then leaves as it was.
    pub(super) fn note(
        &mut self,
        seq: u64,
        cause: &Cause,
        event: &Event,
        (ended, was_held): (Option<Version>, bool),
    ) {
        let (from, to) = match event {
            Event::Activated(e) => (e.from, Some(e.to)),
            _ => (None, None),
        };
        let reason = match event {
            Event::Failed(e) => Some(e.reason()),
            Event::Published(e) if !gates::all_passed(&e.gates) => Some(gates::refusal(&e.gates)),
            Event::Rejected(e) => Some(gates::refusal(&e.gates)),
            Event::CanaryStarted(e) => Some(canary::told(e, cause)),
            Event::Erased(_)
            | Event::EraseLifted(_)
            | Event::VersionRewritten(_)
            | Event::HoldsErased(_) => Some(erasures::told(cause, event)),
            _ => cause.reason.clone(),
        };
        let line = Happened {
            seq,
            at: cause.at,
            event: event.name().to_owned(),
            version: event.version().or(ended),
            from,
            to,
            actor: cause.actor.clone(),
            request_id: cause.request_id.clone(),
            reason,
            forced: matches!(event, Event::Activated(e) if e.forced),
        };
        // One event that did two things is two lines for whoever reads the history.
        let also = |event: &str| Happened {
            event: event.to_owned(),
            version: None,
            from: None,
            to: None,
            forced: false,
            ..line.clone()
        };
        if let (Event::Activated(_) | Event::Rejected(_), Some(_)) = (event, ended) {
            let ended = Happened { version: ended, ..also("canary_ended") };
            self.history.push_back(ended);
        }
        match event {
            Event::Activated(e) if e.hold == Some(true) && !was_held => {
                let held = also("held");
                self.history.extend([line, held]);
            }
            Event::Activated(e) if e.hold == Some(false) => {
                let released = also("released");
                self.history.extend([released, line]);
            }
            _ => self.history.push_back(line),
        }
        while self.history.len() > HISTORY_KEPT {
            self.history.pop_front();
        }
    }

    /// Whether the settings were changed since a version was published. They may have been, if that
    /// was so long ago that no line tells of it any more.
    pub(super) fn was_configured_since(&self, version: Version) -> bool {
        let tells = |line: &&Happened| match line.event.as_str() {
            CONFIGURED => true,
            PUBLISHED => line.version == Some(version),
            _ => false,
        };
        self.history.iter().rev().find(tells).is_none_or(|line| line.event == CONFIGURED)
    }
}
