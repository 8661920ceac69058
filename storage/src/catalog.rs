//! The catalogue: a pure state machine. Events in, "which version serves" out.
//!
//! It reads no clock and no disk, so the fold of the journal always gives the same state,
//! and it can be checked without either. `plan.rs` says which event a request leads to, or
//! why it may not happen; [`Catalog::apply`] is the only thing that changes the state, and
//! it cannot fail. `canary.rs`, `tokens.rs` and `erasures.rs` do both for canaries, tokens and erased
//! keys; `retention.rs` says what may be given up.
//!
//! Invariants kept here:
//! - a number is given once: `next_version` only grows, also across the deletion of its
//!   dataset (invariant 1);
//! - `current` changes by [`Event::Activated`] alone, of which a rollback is one, as is each
//!   part of an [`Event::ActivatedTogether`] (invariants 2 and 10);
//! - what a rollback would go to is never due for deletion (invariant 8).

mod canary;
mod erasures;
mod freshness;
mod plan;
mod retention;
mod tokens;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use canary::{Canary, CanaryStart, Promotion};
pub use erasures::{Erasure, Erasures, Holder};
pub use plan::{Activation, Admission, Expect, Parked, Rollback};
pub use retention::Keep;
pub use tokens::Tokens;

use crate::config::DatasetConfig;
use crate::error::{Code, Error, Result};
use crate::event::{Cause, Event, Millis, SealedPart, Stats, Verdict};
use crate::gates;
use crate::layout::Layout;
use crate::names::{DatasetName, Version};

/// How many events of a dataset its history shows.
const HISTORY_KEPT: usize = 1_000;
/// How many activations are remembered to find what to roll back to.
const SERVED_KEPT: usize = 1_000;
/// How many keys of holds and releases are remembered, which no version limits.
const HOLD_KEYS_KEPT: usize = 1_000;
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

/// Where a version is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its parts are arriving.
    Receiving,
    /// It has all its parts; its files are being made and verified.
    Building,
    /// Complete and verified; never served.
    Ready,
    /// The current version.
    Active,
    /// It served, and another does now.
    Retired,
    /// Its push ended without files.
    Failed,
    /// A gate refused it.
    Rejected,
    /// It was rolled back from.
    Bad,
    /// It was given up.
    Deleted,
}

impl State {
    /// Whether its files are in place.
    pub fn has_files(self) -> bool {
        matches!(self, Self::Ready | Self::Active | Self::Retired | Self::Rejected | Self::Bad)
    }

    /// Whether its push still runs.
    pub fn is_pushing(self) -> bool {
        matches!(self, Self::Receiving | Self::Building)
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Receiving => "receiving",
            Self::Building => "building",
            Self::Ready => "ready",
            Self::Active => "active",
            Self::Retired => "retired",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::Bad => "bad",
            Self::Deleted => "deleted",
        }
    }
}

/// One version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Where it is in its life.
    pub state: State,
    /// The batch run's name for it.
    pub label: Option<String>,
    /// The instant the data describes.
    pub as_of: Option<String>,
    /// How its rows became keys and values, as JSON.
    pub options: String,
    /// Whether its push asked for activation.
    pub activate: bool,
    /// Whether its push is one request.
    pub whole: bool,
    /// Its parts, once it is sealed.
    pub parts: Vec<SealedPart>,
    /// When its push began.
    pub created_at: Millis,
    /// When it was published.
    pub ready_at: Option<Millis>,
    /// When it last became current.
    pub activated_at: Option<Millis>,
    /// When it last ceased to be current.
    pub left_at: Option<Millis>,
    /// BLAKE3 of its manifest, once it is published.
    pub manifest: Option<[u8; 32]>,
    /// How often its files were replaced, to leave out erased keys.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub generation: u32,
    /// What is in it, once it is published.
    pub stats: Option<Stats>,
    /// What the gates said last.
    pub gates: Vec<Verdict>,
    /// The version they compared it with.
    pub gated_against: Option<Version>,
    /// The stable name of why it failed.
    pub code: Option<String>,
    /// Why it failed, was refused, was marked bad or was forced.
    pub reason: Option<String>,
    /// The first places in the source at fault.
    pub problems: Vec<String>,
    /// It was ready while a canary ran: a start does not activate it.
    #[serde(default)]
    pub beside_canary: bool,
    /// It is or was a canary: it is activated by nobody but a person who names it.
    #[serde(default)]
    pub was_canary: bool,
}

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

/// The request first made with an idempotency key, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// What the request asked for, in short.
    pub fingerprint: String,
    /// What came of it.
    pub outcome: Outcome,
    /// The event that says so; 0 if a checkpoint of an earlier version does not.
    #[serde(default)]
    pub seq: u64,
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
        self.datasets
            .get(name)
            .filter(|d| !d.deleted)
            .ok_or_else(|| Error::new(Code::DatasetNotFound, format!("there is no dataset {name}")))
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
            for one in &together.activations {
                self.apply_to(&one.dataset, seq, cause, &Event::Activated(one.clone()));
                let dataset = self.datasets.get_mut(&one.dataset);
                if let Some(swap) = dataset.and_then(|dataset| dataset.last_swap.as_mut()) {
                    swap.together = together.activations.len() > 1;
                }
            }
            return;
        }
        for name in self.told_of(event) {
            self.apply_to(&name, seq, cause, event);
        }
    }

    fn apply_to(&mut self, name: &DatasetName, seq: u64, cause: &Cause, event: &Event) {
        let dataset = self.datasets.entry(name.clone()).or_insert_with(Dataset::unborn);
        let marked_bad = match event {
            Event::Activated(e) if e.rollback => e.from,
            _ => None,
        };
        let was_held = dataset.hold.is_some();
        let canary = dataset.canary.as_ref().map(|canary| canary.version);
        dataset.take(cause, event);
        if let Some(swap) = dataset.last_swap.as_mut().filter(|swap| swap.seq == 0) {
            swap.seq = seq;
        }
        dataset.remember(seq, cause, event, (marked_bad, was_held));
        // A hold of what is held is recorded for its key alone: nothing happened.
        if !(was_held && matches!(event, Event::Held(_))) {
            let ended = canary.filter(|_| dataset.canary.is_none() && !dataset.deleted);
            dataset.note(seq, cause, event, ended);
        }
    }
}

impl Dataset {
    /// As good as never seen: the first event of every dataset is `Created`.
    fn unborn() -> Self {
        Self {
            created_at: 0,
            config: DatasetConfig::default(),
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

    /// The request made earlier with that idempotency key, if it is remembered.
    pub fn remembered(&self, key: &str) -> Option<&Remembered> {
        self.idempotency.get(key)
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
        let due = |(v, e): &(&Version, &Entry)| {
            e.state == State::Ready && e.activate && !e.was_canary && Some(**v) > self.current
        };
        self.versions.iter().rev().filter(due).map(|(v, _)| *v)
    }

    fn absent(&self, name: &DatasetName, version: Version) -> Error {
        if version < self.next_version {
            let text = format!("version {version} of {name} was deleted");
            return Error::new(Code::VersionDeleted, text);
        }
        Error::new(Code::VersionNotFound, format!("{name} has no version {version}"))
    }

    fn take(&mut self, cause: &Cause, event: &Event) {
        match event {
            Event::Created(e) | Event::Configured(e) => {
                if self.deleted {
                    self.deleted = false;
                    self.created_at = cause.at;
                }
                // A settings document that this program cannot read was written by a
                // newer one; its defaults are safer than not serving.
                self.config = serde_json::from_str(&e.config).unwrap_or_default();
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
            Event::CanaryEnded(_) => self.canary = None,
            Event::Activated(e) => {
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
                    if e.forced {
                        entered.reason = cause.reason.clone();
                    } else {
                        entered.waits_no_more();
                    }
                }
                self.end_canary_by(e);
                self.current = Some(e.to);
                self.last_swap = Some(Swap {
                    seq: 0,
                    at: cause.at,
                    from: e.from,
                    to: e.to,
                    forced: e.forced,
                    rollback: e.rollback,
                    together: false,
                });
                self.served.push_back(e.to);
                if self.served.len() > SERVED_KEPT {
                    self.served.pop_front();
                }
                match e.hold {
                    Some(true) => self.hold = Some(Hold::by(cause)),
                    Some(false) => self.hold = None,
                    None => {}
                }
            }
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
                let version = event.version().expect("these five events are about a version");
                let canary = self.canary.as_ref().map(|canary| canary.version);
                if let Some(entry) = self.versions.get_mut(&version) {
                    entry.take(cause, event);
                    // What a gate refuses now is not served, by whatever arm.
                    if entry.state == State::Rejected && canary == Some(version) {
                        self.canary = None;
                    }
                    if let (State::Ready, true, Some(canary)) =
                        (entry.state, entry.activate, canary)
                    {
                        entry.waits_beside(canary);
                    }
                }
                self.forget_old_deleted();
            }
        }
    }

    /// Remembers the key of a request with what came of it; the last argument is what was
    /// before it.
    fn remember(
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

    /// `ended`: the canary that this event has ended, if it has.
    fn note(&mut self, seq: u64, cause: &Cause, event: &Event, ended: Option<Version>) {
        let (from, to) = match event {
            Event::Activated(e) => (e.from, Some(e.to)),
            _ => (None, None),
        };
        let reason = match event {
            Event::Failed(e) => Some(e.detail.clone()),
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
            Event::Activated(e) if e.hold == Some(true) => {
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
    }
}

impl Entry {
    /// Where its files are, once it is published.
    pub fn place(&self, layout: &Layout, dataset: &DatasetName, version: Version) -> PathBuf {
        layout.generation(dataset, version, self.generation)
    }

    fn admitted(cause: &Cause, e: &crate::event::Admitted) -> Self {
        Self {
            state: State::Receiving,
            label: e.label.clone(),
            as_of: e.as_of.clone(),
            options: e.options.clone(),
            activate: e.activate,
            whole: e.whole,
            parts: Vec::new(),
            created_at: cause.at,
            ready_at: None,
            activated_at: None,
            left_at: None,
            manifest: None,
            generation: 0,
            stats: None,
            gates: Vec::new(),
            gated_against: None,
            code: None,
            reason: None,
            problems: Vec::new(),
            beside_canary: false,
            was_canary: false,
        }
    }

    /// It is ready while that canary runs.
    fn waits_beside(&mut self, canary: Version) {
        self.beside_canary = true;
        let text = "nothing is activated by itself while a canary runs";
        self.reason = Some(format!("{text} (version {canary})"));
    }

    /// It is served now, or tried.
    fn waits_no_more(&mut self) {
        if std::mem::take(&mut self.beside_canary) {
            self.reason = None;
        }
    }

    fn take(&mut self, cause: &Cause, event: &Event) {
        match event {
            Event::Sealed(e) => {
                self.state = State::Building;
                self.activate = e.activate;
                self.parts = e.parts.clone();
            }
            Event::Failed(e) => {
                self.state = State::Failed;
                self.code = Some(e.code.clone());
                self.reason = Some(e.detail.clone());
                self.problems = e.problems.clone();
                self.left_at = Some(cause.at);
            }
            Event::Published(e) => {
                self.ready_at = Some(cause.at);
                self.manifest = Some(e.manifest);
                self.stats = Some(e.stats.clone());
                self.gated(&e.gates, e.against);
            }
            Event::Rejected(e) => self.gated(&e.gates, e.against),
            Event::Deleted(_) => {
                self.state = State::Deleted;
                self.left_at = Some(cause.at);
            }
            _ => unreachable!("Dataset::take hands on the events of one version alone"),
        }
    }

    fn gated(&mut self, verdicts: &[Verdict], against: Option<Version>) {
        self.gates = verdicts.to_vec();
        self.gated_against = against;
        self.state = State::Ready;
        if !gates::all_passed(verdicts) {
            self.state = State::Rejected;
            self.code = Some(Code::GateRefused.as_str().to_owned());
            self.reason = Some(gates::refusal(verdicts));
        }
    }
}

impl Hold {
    fn by(cause: &Cause) -> Self {
        Self { at: cause.at, actor: cause.actor.clone(), reason: cause.reason.clone() }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

#[cfg(test)]
mod tests;
