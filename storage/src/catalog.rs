//! The catalogue: a pure state machine. Events in, "which version serves" out.
//!
//! It reads no clock and no disk, so the fold of the journal always gives the same state,
//! and it can be checked without either. `plan.rs` says which event a request leads to, or
//! why it may not happen; [`Catalog::apply`] is the only thing that changes the state, and
//! it cannot fail. `entry.rs` is one version; `history.rs` and `remembered.rs` keep what is
//! told of events later. `canary.rs`, `tokens.rs` and `erasures.rs` plan and apply what concerns
//! canaries, tokens and erased keys; `retention.rs` says what may be given up.
//!
//! Invariants kept here:
//! - a number is given once: `next_version` only grows, also across the deletion of its
//!   dataset (invariant 1);
//! - `current` changes by [`Event::Activated`] alone, of which a rollback is one, as is each
//!   part of an [`Event::ActivatedTogether`] (invariants 2 and 10);
//! - what a rollback would go to is never due for deletion (invariant 8).

mod canary;
mod entry;
mod erasures;
mod freshness;
mod history;
mod plan;
mod remembered;
mod retention;
mod tokens;

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

pub use canary::{Canary, CanaryStart, ExpectCanary, Promotion};
pub use entry::{Entry, State};
pub use erasures::{Erasure, Erasures, Holder};
pub use history::Happened;
pub use plan::{Activation, Admission, Expect, Parked, Rollback};
pub(crate) use remembered::Remembered;
pub use remembered::{Held, Moved, Outcome};
pub use retention::Keep;
pub use tokens::Tokens;

use crate::config::DatasetConfig;
use crate::error::{Code, Error, Result};
use crate::event::{Activated, Cause, Event, Millis};
use crate::names::{DatasetName, Version};

/// How many activations are remembered to find what to roll back to.
const SERVED_KEPT: usize = 1_000;
/// How many deleted versions still show what they were.
const DELETED_SHOWN: usize = 100;

/// Every dataset the journal knows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Catalog {
    datasets: BTreeMap<DatasetName, Dataset>,
    /// Who may ask for something.
    #[serde(default)]
    tokens: Tokens,
    /// The sequence number of the last event applied.
    seq: u64,
    /// Keys that no version gives.
    #[serde(default, skip_serializing_if = "Erasures::is_empty")]
    erasures: Erasures,
}

/// One dataset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dataset {
    /// When it was made.
    pub created_at: Millis,
    /// Its settings.
    pub config: DatasetConfig,
    /// The last document of settings could not be read, and defaults stand in for it. A checkpoint
    /// has the defaults alone: of the document nothing is left then.
    #[serde(skip)]
    stands_in: bool,
    /// The version being served.
    pub current: Option<Version>,
    /// Why pushes are not activated by themselves, while they are not.
    pub hold: Option<Hold>,
    /// The version that a share of the units is served, while one is.
    #[serde(default)]
    pub canary: Option<Canary>,
    /// Every version that is kept, and the last deleted ones.
    pub versions: BTreeMap<Version, Entry>,
    /// The last change of the current version.
    #[serde(default)]
    pub last_swap: Option<Swap>,
    /// What happened, oldest first.
    pub history: VecDeque<Happened>,
    /// Deleted, and kept only so that its numbers are not used again.
    deleted: bool,
    next_version: Version,
    /// Every version activated, oldest first.
    served: VecDeque<Version>,
    idempotency: BTreeMap<String, Remembered>,
}

/// Why a dataset is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Since when.
    pub at: Millis,
    /// By whom.
    pub actor: String,
    /// Why.
    pub reason: Option<String>,
}

/// One change of the current version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swap {
    /// The place of its event among all of the data directory.
    pub seq: u64,
    /// When.
    pub at: Millis,
    /// The version that was current before.
    pub from: Option<Version>,
    /// The version that is current since.
    pub to: Version,
    /// Whether a person overrode the gates or a `bad` mark.
    pub forced: bool,
    /// Whether it was a rollback.
    pub rollback: bool,
    /// Whether other datasets swapped at the same instant.
    #[serde(default)]
    pub together: bool,
}

/// When an event happened, by the count of all events.
#[derive(Clone, Copy)]
struct Moment {
    seq: u64,
    /// Whether it happened to other datasets at the same instant.
    together: bool,
}

impl Catalog {
    /// The last event's sequence number; 0 before the first.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The datasets that are not deleted, by name.
    pub fn datasets(&self) -> impl Iterator<Item = (&DatasetName, &Dataset)> {
        self.datasets.iter().filter(|(_, d)| !d.deleted)
    }

    /// One dataset ([`Code::DatasetNotFound`]).
    pub fn dataset(&self, name: &DatasetName) -> Result<&Dataset> {
        self.datasets.get(name).filter(|d| !d.deleted).ok_or_else(|| Error::dataset_not_found(name))
    }

    /// One version of one dataset, in any state ([`Code::VersionNotFound`], and
    /// [`Code::VersionDeleted`] if nothing is left of it).
    pub fn entry(&self, name: &DatasetName, version: Version) -> Result<&Entry> {
        let dataset = self.dataset(name)?;
        dataset.versions.get(&version).ok_or_else(|| dataset.absent(name, version))
    }

    /// The last number that every dataset gave, also those that are deleted.
    pub(crate) fn last_numbers(&self) -> impl Iterator<Item = (&DatasetName, u64)> {
        self.datasets.iter().map(|(name, d)| (name, d.next_version.0 - 1))
    }

    /// Whether that number was ever given, whatever became of it.
    pub(crate) fn was_admitted(&self, name: &DatasetName, version: Version) -> bool {
        self.datasets.get(name).is_some_and(|d| version < d.next_version)
    }

    /// Takes in one event. Events come from the journal or were planned by this very
    /// state, so there is nothing to refuse here.
    pub(crate) fn apply(&mut self, seq: u64, cause: &Cause, event: &Event) {
        self.seq = seq;
        self.apply_to_tokens(cause, event);
        self.take_erasures(seq, cause, event);
        // To each of several datasets that swapped together it is a swap like any other.
        if let Event::ActivatedTogether(together) = event {
            let moment = Moment { seq, together: together.activations.len() > 1 };
            for one in &together.activations {
                self.apply_to(&one.dataset, moment, cause, &Event::Activated(one.clone()));
            }
            return;
        }
        let moment = Moment { seq, together: false };
        for name in self.told_of(event) {
            self.apply_to(&name, moment, cause, event);
        }
    }

    fn apply_to(&mut self, name: &DatasetName, moment: Moment, cause: &Cause, event: &Event) {
        let dataset = self.datasets.entry(name.clone()).or_insert_with(Dataset::unborn);
        let marked_bad = match event {
            Event::Activated(e) if e.rollback => e.from,
            _ => None,
        };
        let was_held = dataset.hold.is_some();
        let canary = dataset.canary.as_ref().map(|canary| canary.version);
        dataset.take(moment, cause, event);
        dataset.remember(moment.seq, cause, event, (marked_bad, was_held));
        // A hold of what is held is recorded for its key alone: nothing happened.
        if !(was_held && matches!(event, Event::Held(_))) {
            let ended = canary.filter(|_| dataset.canary.is_none() && !dataset.deleted);
            dataset.note(moment.seq, cause, event, (ended, was_held));
        }
    }
}

impl Dataset {
    /// As good as never seen: the first event of every dataset is `Created`.
    fn unborn() -> Self {
        Self {
            created_at: 0,
            config: DatasetConfig::default(),
            stands_in: false,
            current: None,
            hold: None,
            canary: None,
            versions: BTreeMap::new(),
            last_swap: None,
            history: VecDeque::new(),
            deleted: true,
            next_version: Version(1),
            served: VecDeque::new(),
            idempotency: BTreeMap::new(),
        }
    }

    /// The first number that was not given yet.
    pub fn next_version(&self) -> Version {
        self.next_version
    }

    /// Whether a request made with that idempotency key is remembered.
    pub fn remembers(&self, key: &str) -> bool {
        self.idempotency.contains_key(key)
    }

    /// What a rollback goes to by default: the version served before the current one
    /// that is not bad, deleted, or the current one itself.
    pub fn rollback_target(&self) -> Option<Version> {
        let current = self.current?;
        let before = self.served.iter().rev().skip_while(|v| **v != current);
        before.copied().find(|v| {
            *v != current && self.versions.get(v).is_some_and(|e| e.state == State::Retired)
        })
    }

    /// What a release activates: the newest ready version whose push asked for it and
    /// began after the current version's did.
    pub fn release_target(&self) -> Option<Version> {
        self.release_targets().next()
    }

    /// The same, and those it would go to if that one is of no use, the newest first.
    pub(crate) fn release_targets(&self) -> impl Iterator<Item = Version> {
        let due = move |(v, e): &(&Version, &Entry)| {
            e.state == State::Ready && self.passed_over(**v, e).is_none()
        };
        self.versions.iter().rev().filter(due).map(|(v, _)| *v)
    }

    /// Whether a later version than that was ever current.
    pub(crate) fn has_served_later(&self, version: Version) -> bool {
        self.served.iter().any(|served| *served > version)
    }

    fn absent(&self, name: &DatasetName, version: Version) -> Error {
        if version < self.next_version {
            let text = format!("version {version} of {name} was deleted");
            return Error::new(Code::VersionDeleted, text);
        }
        Error::new(Code::VersionNotFound, format!("{name} has no version {version}"))
    }

    fn take(&mut self, moment: Moment, cause: &Cause, event: &Event) {
        match event {
            Event::Created(e) | Event::Configured(e) => {
                if self.deleted {
                    self.deleted = false;
                    self.created_at = cause.at;
                }
                // A settings document that this program cannot read was written by a
                // newer one; its defaults are safer than not serving.
                let read: serde_json::Result<DatasetConfig> = serde_json::from_str(&e.config);
                self.stands_in = read.is_err();
                self.config = read.unwrap_or_default();
            }
            Event::DatasetDeleted(_) => {
                let next_version = self.next_version;
                *self = Self { next_version, ..Self::unborn() };
            }
            Event::Admitted(e) => {
                self.next_version = self.next_version.max(Version(e.version.0 + 1));
                self.versions.insert(e.version, Entry::admitted(cause, e));
            }
            Event::Held(_) => {
                self.hold.get_or_insert_with(|| Hold::by(cause));
            }
            Event::Released(_) => self.hold = None,
            Event::CanaryStarted(e) => self.start_canary(cause, e),
            Event::CanaryEnded(_) => self.end_canary(cause.at),
            Event::Activated(e) => self.activate(moment, cause, e),
            Event::ActivatedTogether(_) => unreachable!("Catalog::apply takes it apart"),
            Event::TokenCreated(_) | Event::TokenRevoked(_) => unreachable!("of no dataset"),
            // Which keys are erased is known apart from datasets.
            Event::Erased(_) | Event::EraseLifted(_) | Event::HoldsErased(_) => {}
            Event::VersionRewritten(e) => {
                if let Some(entry) = self.versions.get_mut(&e.version) {
                    entry.manifest = Some(e.manifest);
                    entry.stats = Some(e.stats.clone());
                    entry.generation = e.generation;
                }
            }
            Event::Sealed(_)
            | Event::Failed(_)
            | Event::Published(_)
            | Event::Rejected(_)
            | Event::Deleted(_) => {
                self.take_of_version(cause, event);
                self.forget_old_deleted();
            }
        }
    }

    fn activate(&mut self, moment: Moment, cause: &Cause, e: &Activated) {
        if let Some(left) = e.from.and_then(|v| self.versions.get_mut(&v)) {
            left.left_at = Some(cause.at);
            left.state = if e.rollback { State::Bad } else { State::Retired };
            if e.rollback {
                left.reason = cause.reason.clone();
            }
        }
        if let Some(entered) = self.versions.get_mut(&e.to) {
            entered.state = State::Active;
            entered.activated_at = Some(cause.at);
            entered.waits_no_more();
            // A gate had refused it, which its verdicts still say.
            entered.code = None;
            if e.forced {
                entered.reason = cause.reason.clone();
            }
        }
        self.end_canary_by(cause.at, e);
        self.current = Some(e.to);
        self.last_swap = Some(Swap {
            seq: moment.seq,
            at: cause.at,
            from: e.from,
            to: e.to,
            forced: e.forced,
            rollback: e.rollback,
            together: moment.together,
        });
        self.served.push_back(e.to);
        if self.served.len() > SERVED_KEPT {
            self.served.pop_front();
        }
        match e.hold {
            // One that is held already stays so by whom and why it was.
            Some(true) => _ = self.hold.get_or_insert_with(|| Hold::by(cause)),
            Some(false) => self.hold = None,
            None => {}
        }
    }

    /// Takes in one of the events that are about a version alone.
    fn take_of_version(&mut self, cause: &Cause, event: &Event) {
        let version = event.version().expect("these five events are about a version");
        let canary = self.canary.as_ref().map(|canary| canary.version);
        if let Some(entry) = self.versions.get_mut(&version) {
            entry.take(cause, event);
            // What a gate refuses now is not served, by whatever arm.
            if entry.state == State::Rejected && canary == Some(version) {
                self.canary = None;
                entry.left_at = Some(cause.at);
            }
            if entry.state == State::Ready && entry.activate && canary.is_some() {
                entry.waits_beside_canary();
            }
        }
    }

    fn forget_old_deleted(&mut self) {
        let deleted: Vec<Version> = self
            .versions
            .iter()
            .filter(|(_, e)| e.state == State::Deleted)
            .map(|(v, _)| *v)
            .collect();
        for version in deleted.iter().rev().skip(DELETED_SHOWN) {
            self.versions.remove(version);
        }
        // The list of its parts is the one thing of a version that may be long, and nobody resumes
        // a push that was deleted. Checkpoints of earlier versions of this program have it, too.
        let deleted = self.versions.values_mut().filter(|e| e.state == State::Deleted);
        deleted.for_each(|entry| entry.parts = Vec::new());
    }
}

impl Hold {
    fn by(cause: &Cause) -> Self {
        Self { at: cause.at, actor: cause.actor.clone(), reason: cause.reason.clone() }
    }
}

#[cfg(test)]
mod tests;
