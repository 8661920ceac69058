//! Which event a request leads to, or why it may not happen. Nothing is changed here: the
//! caller appends the event to the journal and applies it, under one lock, so that what
//! was checked still holds.

use crate::config::DatasetConfig;
use crate::error::{Code, Error, Result};
use crate::event::{
    Activated, Admitted, Created, DatasetDeleted, Deleted, Event, Failed, Idempotency, OfDataset,
    Sealed, SealedPart,
};
use crate::gates;
use crate::names::{DatasetName, Version};
use crate::planted::{self, Bug};

use super::{Catalog, Dataset, Entry, Outcome, State};

/// Who the caller believes is current.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// It does not matter.
    Anything,
    /// This version, or none at all.
    Current(Option<Version>),
}

/// What a push says when it begins.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    /// The batch run's own name for it.
    pub label: Option<String>,
    /// The instant the data describes, RFC 3339.
    pub as_of: Option<String>,
    /// How rows become keys and values, as JSON.
    pub options: String,
    /// Whether to activate it when it is ready.
    pub activate: bool,
    /// Whether the whole push is one request.
    pub whole: bool,
}

/// A request to make a version current.
#[derive(Clone, Copy, Debug)]
pub struct Activation {
    /// Which.
    pub version: Version,
    /// Whether to override a gate or a `bad` mark; needs a reason.
    pub force: bool,
    /// Who must be current for it to happen.
    pub expect: Expect,
}

/// A request to go back to an earlier version.
#[derive(Clone, Copy, Debug)]
pub struct Rollback {
    /// To which; by default the one served before that is not bad.
    pub to: Option<Version>,
    /// Whether to hold the dataset after it.
    pub hold: bool,
    /// Who must be current for it to happen.
    pub expect: Expect,
}

impl Catalog {
    /// Makes a dataset, or changes the settings of one that is there; `None` if it has these already.
    pub(crate) fn plan_configure(
        &self,
        name: &DatasetName,
        config: &DatasetConfig,
    ) -> Result<Option<Event>> {
        config.check()?;
        let found = self.dataset(name).ok();
        // What defaults only stand in for is replaced by them, too: a release that can read it would
        // have it serve again.
        if found.is_some_and(|dataset| dataset.config == *config && !dataset.stands_in) {
            return Ok(None);
        }
        let config = serde_json::to_string(config).expect("settings are plain data");
        let event = Created { dataset: name.clone(), config };
        Ok(Some(match found {
            Some(_) => Event::Configured(event),
            None => Event::Created(event),
        }))
    }

    /// Deletes a dataset with all its versions, unless a push of it still runs.
    pub(crate) fn plan_delete_dataset(&self, name: &DatasetName) -> Result<Event> {
        let dataset = self.dataset(name)?;
        if let Some((version, _)) = dataset.versions.iter().find(|(_, e)| e.state.is_pushing()) {
            let text = format!(
                "a push of {name} still runs (version {version}): wait for it or delete it first"
            );
            return Err(Error::new(Code::VersionInUse, text));
        }
        Ok(Event::DatasetDeleted(DatasetDeleted { dataset: name.clone() }))
    }

    /// Gives a push its number.
    pub(crate) fn plan_admit(&self, name: &DatasetName, push: &Admission) -> Result<Event> {
        let dataset = self.dataset(name)?;
        Ok(Event::Admitted(Admitted {
            dataset: name.clone(),
            version: dataset.next_version,
            label: push.label.clone(),
            as_of: push.as_of.clone(),
            options: push.options.clone(),
            activate: push.activate,
            whole: push.whole,
        }))
    }

    /// Closes a push to further parts.
    pub(crate) fn plan_seal(
        &self,
        name: &DatasetName,
        version: Version,
        activate: bool,
        parts: Vec<SealedPart>,
    ) -> Result<Event> {
        self.pushing(name, version, State::Receiving, "take a commit")?;
        if parts.is_empty() {
            let text =
                format!("no part of version {version} of {name} has arrived: nothing to commit");
            return Err(Error::new(Code::PartsMissing, text));
        }
        Ok(Event::Sealed(Sealed { dataset: name.clone(), version, activate, parts }))
    }

    /// Whether a part may arrive for that push now.
    pub(crate) fn check_receiving(&self, name: &DatasetName, version: Version) -> Result<&Entry> {
        self.pushing(name, version, State::Receiving, "take a part or a commit")
    }

    /// Ends a push without a version.
    pub(crate) fn plan_fail(&self, failed: Failed) -> Result<Event> {
        let entry = self.entry(&failed.dataset, failed.version)?;
        if !entry.state.is_pushing() {
            return Err(wrong_state(&failed.dataset, failed.version, entry, "fail"));
        }
        Ok(Event::Failed(failed))
    }

    /// Whether files may be published for that push now.
    pub(crate) fn check_publish(&self, name: &DatasetName, version: Version) -> Result<&Entry> {
        self.pushing(name, version, State::Building, "be published")
    }

    /// Makes a version current.
    ///
    /// The gates of a version were checked as they were then, against the version that was current
    /// then; if either may be another now, the caller checks them again before it appends the event,
    /// unless it is forced.
    pub(crate) fn plan_activate(
        &self,
        name: &DatasetName,
        activation: &Activation,
        reason: Option<&str>,
    ) -> Result<Event> {
        let dataset = self.dataset(name)?;
        dataset.expect(name, activation.expect)?;
        let version = activation.version;
        let entry = self.entry(name, version)?;
        let with_force = activation.force && reason.is_some_and(|r| !r.trim().is_empty());
        let needs_force = match entry.state {
            State::Ready | State::Retired => false,
            State::Rejected | State::Bad => true,
            State::Active => return Err(already_current(name, version)),
            State::Deleted => return Err(dataset.absent(name, version)),
            State::Receiving | State::Building | State::Failed => {
                return Err(wrong_state(name, version, entry, "be activated"));
            }
        };
        if needs_force && !with_force {
            let text = format!(
                "version {version} of {name} is {}{}: activate it with force and a reason if you are sure",
                entry.state.as_str(),
                entry.reason.as_ref().map(|r| format!(" ({r})")).unwrap_or_default(),
            );
            return Err(Error::new(Code::NeedsForce, text));
        }
        Ok(Event::Activated(Activated {
            forced: with_force,
            ..Activated::plain(name, dataset.current, version)
        }))
    }

    /// Why a version that has just become ready is not to be activated by itself; `None` if it is
    /// to be.
    pub(crate) fn why_parked(
        &self,
        name: &DatasetName,
        version: Version,
    ) -> Result<Option<Parked>> {
        let dataset = self.dataset(name)?;
        let entry = self.entry(name, version)?;
        Ok(match entry.state {
            State::Rejected => Some(Parked::Rejected),
            State::Ready => dataset.parked(version, entry),
            State::Active | State::Retired | State::Bad => Some(Parked::Served),
            _ => return Err(wrong_state(name, version, entry, "be activated")),
        })
    }

    /// Makes a version current by itself, if it still is to be ([`Code::WrongState`]): while it was
    /// opened and warmed, the dataset may have been held, or the version itself been a canary that
    /// was ended.
    pub(crate) fn plan_self_activation(
        &self,
        name: &DatasetName,
        activation: &Activation,
        reason: Option<&str>,
    ) -> Result<Event> {
        if let Some(parked) = self.why_parked(name, activation.version)? {
            let text = format!("it is not to be activated by itself any more ({parked:?})");
            return Err(Error::new(Code::WrongState, text));
        }
        self.plan_activate(name, activation, reason)
    }

    /// Goes back to an earlier version: the same event as an activation.
    pub(crate) fn plan_rollback(&self, name: &DatasetName, rollback: &Rollback) -> Result<Event> {
        let dataset = self.dataset(name)?;
        dataset.expect(name, rollback.expect)?;
        let nothing = |text: String| Err(Error::new(Code::NothingToRollBackTo, text));
        let Some(current) = dataset.current else {
            return nothing(format!("{name} has no current version: nothing to roll back"));
        };
        let to = match rollback.to.or_else(|| dataset.rollback_target()) {
            Some(to) => to,
            None => {
                return nothing(format!(
                    "no version of {name} served before {current} that is kept and not bad: \
                     nothing was changed"
                ));
            }
        };
        let entry = self.entry(name, to)?;
        match entry.state {
            State::Retired | State::Ready => {}
            State::Active => return Err(already_current(name, to)),
            State::Deleted => return Err(dataset.absent(name, to)),
            State::Bad | State::Rejected => {
                let text = format!(
                    "version {to} of {name} is {}: activate it with force and a reason if you are sure",
                    entry.state.as_str()
                );
                return Err(Error::new(Code::NeedsForce, text));
            }
            _ => return Err(wrong_state(name, to, entry, "be rolled back to")),
        }
        Ok(Event::Activated(Activated {
            rollback: true,
            hold: rollback.hold.then_some(true),
            ..Activated::plain(name, Some(current), to)
        }))
    }

    /// Holds a dataset; `None` if it is held already.
    pub(crate) fn plan_hold(&self, name: &DatasetName) -> Result<Option<Event>> {
        let dataset = self.dataset(name)?;
        let event = Event::Held(OfDataset { dataset: name.clone() });
        Ok(dataset.hold.is_none().then_some(event))
    }

    /// A hold of what is held already: it changes nothing, and keeps the key of whoever asked.
    pub(crate) fn hold_again(name: &DatasetName) -> Event {
        Event::Held(OfDataset { dataset: name.clone() })
    }

    /// Ends a hold, and activates `target` with it, if there is one to activate: one
    /// event, so that a release is never done by half.
    pub(crate) fn plan_release(
        &self,
        name: &DatasetName,
        target: Option<Version>,
    ) -> Result<Event> {
        let dataset = self.dataset(name)?;
        if dataset.hold.is_none() {
            let text = format!("{name} is not held: nothing was changed");
            return Err(Error::new(Code::NotHeld, text));
        }
        Ok(match target {
            None => Event::Released(OfDataset { dataset: name.clone() }),
            Some(to) => Event::Activated(Activated {
                hold: Some(false),
                ..Activated::plain(name, dataset.current, to)
            }),
        })
    }

    /// Aborts a push, or deletes a version that nobody serves.
    pub(crate) fn plan_delete(&self, name: &DatasetName, version: Version) -> Result<Event> {
        let dataset = self.dataset(name)?;
        let entry = self.entry(name, version)?;
        let in_use = |why: &str| {
            let text = format!("version {version} of {name} {why}: it is not deleted");
            Err(Error::new(Code::VersionInUse, text))
        };
        match entry.state {
            State::Deleted => return Err(dataset.absent(name, version)),
            State::Active => return in_use("is being served"),
            _ if dataset.canary.as_ref().is_some_and(|canary| canary.version == version) => {
                return in_use("is being served, as a canary");
            }
            _ if dataset.rollback_target() == Some(version) => {
                return in_use("is what a rollback would go to, the last one that served well");
            }
            _ => {}
        }
        Ok(Event::Deleted(Deleted { dataset: name.clone(), version }))
    }

    /// Looks a request up by its idempotency key. `Some` if it was made before, and what
    /// came of it; [`Code::InProgress`] while the first one still runs;
    /// [`Code::IdempotencyKeyReused`] if the key was used for another request.
    pub fn replay(&self, name: &DatasetName, id: &Idempotency) -> Result<Option<Outcome>> {
        let Ok(dataset) = self.dataset(name) else { return Ok(None) };
        let Some(remembered) = dataset.idempotency.get(&id.key) else { return Ok(None) };
        if remembered.fingerprint != id.fingerprint {
            return Err(Error::idempotency_key_reused());
        }
        if let Some(version) = self.running(name, Some(id)) {
            let text =
                format!("the push with this idempotency key still runs, as version {version}");
            return Err(Error::new(Code::InProgress, text));
        }
        Ok(Some(remembered.outcome.clone()))
    }

    /// The version that the same request is making now, as a whole.
    pub fn running(&self, name: &DatasetName, id: Option<&Idempotency>) -> Option<Version> {
        let (dataset, id) = (self.dataset(name).ok()?, id?);
        let remembered = dataset.idempotency.get(&id.key)?;
        let Outcome::Pushed(version) = &remembered.outcome else { return None };
        let entry = dataset.versions.get(version)?;
        let is_same = remembered.fingerprint == id.fingerprint;
        (is_same && entry.whole && entry.state == State::Receiving).then_some(*version)
    }

    /// What the gates say of a version against the current one. `left_damaged`: whether a bad version
    /// was left when its files were known to be damaged; its content is not what was wrong with it.
    pub(crate) fn gate(
        &self,
        name: &DatasetName,
        stats: &crate::event::Stats,
        left_damaged: impl Fn(Version, &Entry) -> bool,
    ) -> Result<(Vec<crate::event::Verdict>, Option<Version>)> {
        let dataset = self.dataset(name)?;
        let current = dataset.current.and_then(|v| dataset.versions.get(&v));
        let mut verdicts =
            gates::check(&dataset.config.gates, stats, current.and_then(|e| e.stats.as_ref()));
        let twin = dataset.bad_twins(stats).find(|(bad, entry)| !left_damaged(*bad, entry));
        verdicts.extend(twin.map(|(bad, entry)| gates::known_bad(bad, entry.reason.as_deref())));
        Ok((verdicts, dataset.current))
    }

    fn pushing(
        &self,
        name: &DatasetName,
        version: Version,
        state: State,
        doing: &str,
    ) -> Result<&Entry> {
        let dataset = self.dataset(name)?;
        let entry = self.entry(name, version)?;
        match entry.state {
            found if found == state => Ok(entry),
            State::Deleted => Err(dataset.absent(name, version)),
            _ => Err(wrong_state(name, version, entry, doing)),
        }
    }
}

/// Why a ready version was not activated by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parked {
    /// The dataset is held.
    Held,
    /// Its push did not ask for it.
    NotAsked,
    /// A canary runs, or it was one itself.
    Canary,
    /// The current version's push began after its own did.
    Superseded,
    /// A gate refused it.
    Rejected,
    /// Somebody, or a release, activated it meanwhile: there was nothing left to do.
    Served,
}

impl Dataset {
    /// Whether the gates of a version must be checked again before it is activated: it never served,
    /// and since then another version is current than they compared it with, the settings were
    /// changed, or its content was marked bad.
    pub(crate) fn asks_gates_again(&self, version: Version, entry: &Entry) -> bool {
        let Some(stats) = entry.stats.as_ref().filter(|_| entry.state == State::Ready) else {
            return false;
        };
        // What they compared with may be current again, and have come back from its twin.
        entry.gated_against != self.current
            || self.was_configured_since(version)
            || self.bad_twins(stats).next().is_some()
    }

    /// Why a ready version is not activated by itself; none if it is.
    pub fn parked(&self, version: Version, entry: &Entry) -> Option<Parked> {
        if self.hold.is_some() {
            return Some(Parked::Held);
        }
        if entry.activate && self.canary.is_some() {
            return Some(Parked::Canary);
        }
        self.passed_over(version, entry)
    }

    /// The same of a dataset that is neither held nor has a canary: why a release passes over a ready
    /// version.
    pub(super) fn passed_over(&self, version: Version, entry: &Entry) -> Option<Parked> {
        if !entry.activate {
            Some(Parked::NotAsked)
        } else if entry.was_canary {
            Some(Parked::Canary)
        } else if Some(version) < self.current {
            Some(Parked::Superseded)
        } else {
            None
        }
    }

    /// The versions with this content that are marked bad, newest first. None if the current one has
    /// this content too: whoever rolled back to that holds it for good.
    fn bad_twins(&self, stats: &crate::event::Stats) -> impl Iterator<Item = (Version, &Entry)> {
        let is_alike = move |entry: &Entry| {
            entry.stats.as_ref().is_some_and(|its| its.content_digest == stats.content_digest)
        };
        let current = self.current.and_then(|version| self.versions.get(&version));
        let is_held_for_good = current.is_some_and(is_alike);
        let newest_first = self.versions.iter().rev().filter(move |_| !is_held_for_good);
        let bad =
            newest_first.filter(move |(_, entry)| entry.state == State::Bad && is_alike(entry));
        bad.map(|(version, entry)| (*version, entry))
    }

    pub(super) fn expect(&self, name: &DatasetName, expect: Expect) -> Result<()> {
        let Expect::Current(expected) = expect else { return Ok(()) };
        if planted::has(Bug::ExpectNotChecked) {
            return Ok(());
        }
        if expected == self.current {
            return Ok(());
        }
        let shown =
            |v: Option<Version>| v.map_or_else(|| "none".to_owned(), |v| format!("version {v}"));
        let text = format!(
            "{} of {name} was expected to be current, but it is {}: nothing was changed",
            shown(expected),
            shown(self.current)
        );
        Err(Error::new(Code::CurrentChanged, text))
    }
}

fn already_current(name: &DatasetName, version: Version) -> Error {
    let text = format!("version {version} of {name} is already current: nothing was changed");
    Error::new(Code::AlreadyCurrent, text)
}

pub(super) fn wrong_state(
    name: &DatasetName,
    version: Version,
    entry: &Entry,
    doing: &str,
) -> Error {
    let text =
        format!("version {version} of {name} is {}: it cannot {doing}", entry.state.as_str());
    Error::new(Code::WrongState, text)
}
