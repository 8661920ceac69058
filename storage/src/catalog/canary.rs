//! A canary: a second version, served to a share of the units beside the current one, until it
//! is promoted, ended, or a rollback ends it.
//!
//! While one runs nothing is activated by itself: a comparison of two versions of which one is
//! swapped away says nothing. What was a canary is activated by nobody but a person afterwards,
//! also not by a release or a start: a person has begun to decide about it.

use serde::{Deserialize, Serialize};

use crate::assignment::Assignment;
use crate::error::{Code, Error, Result};
use crate::event::{Activated, CanaryStarted, Cause, Event, Millis, OfDataset};
use crate::names::{DatasetName, Version};

use super::plan::wrong_state;
use super::{Catalog, Dataset, Expect, State};

/// A second version that is served to a share of the units.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Canary {
    /// Which version.
    pub version: Version,
    /// The share of the units it serves, in percent.
    pub percent: f64,
    /// What its units are drawn by: datasets with the same name here serve the same units.
    pub experiment: String,
    /// Since when; a change of its share leaves it as it is.
    pub started_at: Millis,
    /// By whom it was started, or its share changed last.
    pub actor: String,
    /// Why.
    pub reason: Option<String>,
}

/// Which canary the caller believes to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExpectCanary {
    /// It does not matter.
    #[default]
    Anything,
    /// This version, or none at all.
    Running(Option<Version>),
}

/// A request to start a canary, or to change the one that runs.
#[derive(Clone, Debug)]
pub struct CanaryStart {
    /// Which version.
    pub version: Version,
    /// The share of the units it is to serve, in percent.
    pub percent: f64,
    /// What its units are drawn by; by default that of the canary of this version that runs,
    /// else, or if none is expected to run, the dataset's name.
    pub experiment: Option<String>,
    /// Which must run for it to happen. What is as it is to be already is so whatever was expected: a
    /// retry is not refused for what it did itself.
    pub expect: ExpectCanary,
}

/// A request to make the canary current.
#[derive(Clone, Copy, Debug)]
pub struct Promotion {
    /// Which version must be the canary for it to happen; whichever is, if not said.
    pub version: Option<Version>,
    /// Who must be current for it to happen.
    pub expect: Expect,
}

impl Catalog {
    /// Starts a canary, or changes the one that runs; `None` if it runs like that already.
    pub(crate) fn plan_canary(
        &self,
        name: &DatasetName,
        start: &CanaryStart,
    ) -> Result<Option<Event>> {
        let dataset = self.dataset(name)?;
        let CanaryStart { version, percent, .. } = *start;
        let running = dataset.canary.as_ref().filter(|canary| canary.version == version);
        // Who expects that none runs means none whose experiment it could be.
        let inherited = running.filter(|_| start.expect != ExpectCanary::Running(None));
        let experiment = match (&start.experiment, inherited) {
            (Some(named), _) => named.clone(),
            (None, Some(canary)) => canary.experiment.clone(),
            (None, None) => name.to_string(),
        };
        Assignment::new(&experiment, percent)?;
        let entry = self.entry(name, version)?;
        match entry.state {
            State::Ready | State::Retired => {}
            State::Active => {
                let text = format!(
                    "version {version} of {name} is current, so it cannot be a canary beside it"
                );
                return Err(Error::new(Code::AlreadyCurrent, text));
            }
            State::Deleted => return Err(dataset.absent(name, version)),
            _ => return Err(wrong_state(name, version, entry, "be a canary")),
        }
        if dataset.current.is_none() {
            let text =
                format!("no version of {name} was activated yet: activate {version} instead");
            return Err(Error::new(Code::NoCurrentVersion, text));
        }
        let is_so = |canary: &Canary| canary.percent == percent && canary.experiment == experiment;
        if running.is_some_and(is_so) {
            return Ok(None);
        }
        start.expect.check(name, dataset.canary.as_ref())?;
        let dataset = name.clone();
        Ok(Some(Event::CanaryStarted(CanaryStarted { dataset, version, percent, experiment })))
    }

    /// Ends a canary without making it current.
    pub(crate) fn plan_end_canary(
        &self,
        name: &DatasetName,
        expect: ExpectCanary,
    ) -> Result<Event> {
        expect.check(name, Some(self.canary(name)?))?;
        Ok(Event::CanaryEnded(OfDataset { dataset: name.clone() }))
    }

    /// Makes the canary current: an activation like any other.
    pub(crate) fn plan_promote(&self, name: &DatasetName, promotion: &Promotion) -> Result<Event> {
        let dataset = self.dataset(name)?;
        dataset.expect(name, promotion.expect)?;
        let canary = self.canary(name)?;
        if let Some(expected) = promotion.version {
            ExpectCanary::Running(Some(expected)).check(name, Some(canary))?;
        }
        Ok(Event::Activated(Activated::plain(name, dataset.current, canary.version)))
    }

    /// The canary of a dataset ([`Code::NoCanary`]).
    pub fn canary(&self, name: &DatasetName) -> Result<&Canary> {
        self.dataset(name)?.canary.as_ref().ok_or_else(|| {
            Error::new(Code::NoCanary, format!("no canary of {name} runs: nothing was changed"))
        })
    }
}

impl ExpectCanary {
    fn check(self, name: &DatasetName, running: Option<&Canary>) -> Result<()> {
        let Self::Running(expected) = self else { return Ok(()) };
        let running = running.map(|canary| canary.version);
        if expected == running {
            return Ok(());
        }
        let shown =
            |v: Option<Version>| v.map_or_else(|| "none".to_owned(), |v| format!("version {v}"));
        let text = format!(
            "{} of {name} was expected to be the canary, but it is {}: nothing was changed",
            shown(expected),
            shown(running)
        );
        Err(Error::new(Code::CanaryChanged, text))
    }
}

impl Dataset {
    pub(super) fn start_canary(&mut self, cause: &Cause, started: &CanaryStarted) {
        let CanaryStarted { version, percent, ref experiment, .. } = *started;
        let is_same = |c: &&Canary| c.version == version && c.experiment == *experiment;
        let since = self.canary.as_ref().filter(is_same).map(|canary| canary.started_at);
        if self.canary.as_ref().is_some_and(|canary| canary.version != version) {
            self.end_canary(cause.at);
        }
        self.canary = Some(Canary {
            version,
            percent,
            experiment: experiment.clone(),
            started_at: since.unwrap_or(cause.at),
            actor: cause.actor.clone(),
            reason: cause.reason.clone(),
        });
        for (found, entry) in &mut self.versions {
            if *found == version {
                entry.was_canary = true;
                entry.waits_no_more();
            } else if entry.state == State::Ready && entry.activate {
                entry.waits_beside_canary();
            }
        }
    }

    /// Nobody begins to read the canary any more; who still does has its grace time for that.
    pub(super) fn end_canary(&mut self, at: Millis) {
        let ended = self.canary.take();
        if let Some(entry) = ended.and_then(|canary| self.versions.get_mut(&canary.version)) {
            entry.left_at = Some(at);
        }
    }

    /// What an activation, of which a rollback is one, does to the canary.
    pub(super) fn end_canary_by(&mut self, at: Millis, activated: &Activated) {
        if self.canary.take_if(|canary| canary.version == activated.to).is_some() {
            return;
        }
        if activated.rollback {
            self.end_canary(at);
        }
    }
}

/// How a history tells of a canary's start.
pub(super) fn told(started: &CanaryStarted, cause: &Cause) -> String {
    let mut text = format!("{} % of the units of {}", started.percent, started.experiment);
    if let Some(reason) = &cause.reason {
        text.push_str(": ");
        text.push_str(reason);
    }
    text
}
