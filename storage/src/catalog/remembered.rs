//! Requests made with an idempotency key, and what came of them: the same request again gets the same
//! answer, and changes nothing.

use serde::{Deserialize, Serialize};

use super::{Dataset, State};
use crate::event::{Cause, Event};
use crate::names::Version;

/// How many keys of holds and releases are remembered, which no version limits.
pub(super) const HOLD_KEYS_KEPT: usize = 1_000;

/// The request first made with an idempotency key, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Remembered {
    /// What the request asked for, in short.
    pub(crate) fingerprint: String,
    /// What came of it.
    pub(crate) outcome: Outcome,
    /// The event that says so; 0 if a checkpoint of an earlier version does not.
    #[serde(default)]
    pub(crate) seq: u64,
}

/// What came of a request, as far as an answer needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A push was admitted.
    Pushed(Version),
    /// A push was closed to further parts.
    Committed(Version),
    /// The current version was changed.
    Moved(Moved),
    /// The dataset was held, as checkpoints of earlier versions say it.
    Held,
    /// The dataset is held.
    Hold(Held),
    /// The dataset was released, and nothing was there to activate.
    Released,
}

/// What came of asking for a hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Whether it was not held before.
    pub changed: bool,
    /// Why it is held: the reason that was given first.
    pub reason: Option<String>,
}

/// A change of the current version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// The version before.
    pub from: Option<Version>,
    /// The version after.
    pub to: Version,
    /// Whether the dataset is held after it.
    pub held: bool,
    /// The version it marked as bad.
    pub marked_bad: Option<Version>,
}

impl Dataset {
    /// Remembers the key of a request with what came of it; the last argument is what was
    /// before it.
    pub(super) fn remember(
        &mut self,
        seq: u64,
        cause: &Cause,
        event: &Event,
        (marked_bad, was_held): (Option<Version>, bool),
    ) {
        let held = self.hold.is_some();
        let outcome = match event {
            Event::Admitted(e) => Some(Outcome::Pushed(e.version)),
            Event::Sealed(e) => Some(Outcome::Committed(e.version)),
            Event::Activated(e) => {
                Some(Outcome::Moved(Moved { from: e.from, to: e.to, held, marked_bad }))
            }
            Event::Held(_) => {
                let reason = self.hold.as_ref().and_then(|hold| hold.reason.clone());
                Some(Outcome::Hold(Held { changed: !was_held, reason }))
            }
            Event::Released(_) => Some(Outcome::Released),
            _ => None,
        };
        if let (Some(outcome), Some(id)) = (outcome, &cause.idempotency) {
            let remembered = Remembered { fingerprint: id.fingerprint.clone(), outcome, seq };
            self.idempotency.insert(id.key.clone(), remembered);
        }
        // A push that came to nothing, or to harm, frees its key: the job may be run again
        // with corrected data. What became of a deleted version needs no answer any more.
        let versions = &self.versions;
        self.idempotency.retain(|_, r| {
            let state = |v: &Version| versions.get(v).map(|e| e.state);
            match &r.outcome {
                Outcome::Pushed(v) | Outcome::Committed(v) => !matches!(
                    state(v),
                    None | Some(State::Failed | State::Rejected | State::Bad | State::Deleted)
                ),
                Outcome::Moved(m) => !matches!(state(&m.to), None | Some(State::Deleted)),
                Outcome::Held | Outcome::Hold(_) | Outcome::Released => true,
            }
        });
        self.forget_old_hold_keys();
    }

    fn forget_old_hold_keys(&mut self) {
        let is_hold = |r: &Remembered| {
            matches!(r.outcome, Outcome::Held | Outcome::Hold(_) | Outcome::Released)
        };
        let holds = self.idempotency.iter().filter(|(_, r)| is_hold(r));
        let mut holds: Vec<(u64, String)> = holds.map(|(key, r)| (r.seq, key.clone())).collect();
        let too_many = holds.len().saturating_sub(HOLD_KEYS_KEPT);
        holds.sort_unstable();
        for (_, key) in &holds[..too_many] {
            self.idempotency.remove(key);
        }
    }
}
