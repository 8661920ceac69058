//! The push path's half of the store: a push is given its number, sealed, or ended without a version.

use std::time::Duration;

use crate::catalog::{Admission, Catalog, Outcome, State};
use crate::durable;
use crate::error::{Error, Result};
use crate::event::{Cause, Failed};
use crate::names::{DatasetName, Version};
use crate::poison::EvenPoisoned as _;
use crate::step::step;

use super::Store;

/// How long a deletion waits for files that nobody reads any more to be removed.
pub(super) const FILES_GO_WITHIN: Duration = Duration::from_secs(10);

/// What came of beginning a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewPush {
    /// It has this number.
    Numbered(Version),
    /// Its idempotency key was used before: what came of that request. Nothing was changed.
    Repeated(Outcome),
}

impl NewPush {
    /// Its number; `None` if it repeats another request.
    pub fn number(&self) -> Option<Version> {
        match self {
            Self::Numbered(version) => Some(*version),
            Self::Repeated(_) => None,
        }
    }
}

impl Store {
    /// Gives a push its number; the dataset must be there. With an idempotency key in
    /// `cause` that was used before, answers with that request's outcome instead, and
    /// nothing is changed.
    pub fn admit(&self, dataset: &DatasetName, push: &Admission, cause: Cause) -> Result<NewPush> {
        let mut writer = self.writer();
        if let Some(id) = &cause.idempotency
            && let Some(outcome) = self.catalog().replay(dataset, id)?
        {
            return Ok(NewPush::Repeated(outcome));
        }
        let event = self.catalog().plan_admit(dataset, push)?;
        let version = event.version().expect("an admission is about a version");
        // The directory is there before the number is: a part never finds it missing. If
        // the append fails it belongs to nobody and goes at the next start.
        durable::create_dir_all(&self.layout.parts(dataset, version))?;
        step("admit.staged");
        self.commit(&mut writer, cause, event)?;
        step("admit.recorded");
        Ok(NewPush::Numbered(version))
    }

    /// Closes a push to further parts; from here on it is built, whatever is restarted.
    /// `chosen` names its parts in the order of their rows, the others are dropped
    /// ([`crate::Code::PartsMissing`] names those that have not arrived); without it, all that
    /// have arrived. Sealing again alike changes nothing and answers `false`; a repetition
    /// with the idempotency key of the first gets the answer of the first.
    pub fn seal(
        &self,
        dataset: &DatasetName,
        version: Version,
        activate: bool,
        chosen: Option<&[String]>,
        cause: Cause,
    ) -> Result<bool> {
        // As long as that is held no part arrives and nothing is sealed: what is listed stays as it
        // is, and no other change waits for the reading of as many documents as there are parts.
        let _arriving = self.arriving.lock().even_poisoned();
        if let Some(changed) = self.sealed_already(dataset, version, activate, chosen, &cause)? {
            return Ok(changed);
        }
        let parts = self.choose_parts(dataset, version, chosen);
        let mut writer = self.writer();
        // Its key may have been used meanwhile, or it has ended, and its parts were being removed.
        if let Some(changed) = self.sealed_already(dataset, version, activate, chosen, &cause)? {
            return Ok(changed);
        }
        self.catalog().check_receiving(dataset, version)?;
        let event = self.catalog().plan_seal(dataset, version, activate, parts?)?;
        step("seal.planned");
        self.commit(&mut writer, cause, event)?;
        step("seal.recorded");
        Ok(true)
    }

    /// What is answered to a commit that was made before, if it was.
    fn sealed_already(
        &self,
        dataset: &DatasetName,
        version: Version,
        activate: bool,
        chosen: Option<&[String]>,
        cause: &Cause,
    ) -> Result<Option<bool>> {
        match self.outcome_before(dataset, cause)? {
            None => {
                let is_repetition = self.is_sealed_alike(dataset, version, activate, chosen)?;
                Ok(is_repetition.then_some(false))
            }
            Some(Outcome::Committed(before)) if before == version => Ok(Some(true)),
            Some(_) => Err(Error::idempotency_key_reused()),
        }
    }

    /// Whether it was sealed before with the same parts, to be activated or not as is asked now.
    fn is_sealed_alike(
        &self,
        dataset: &DatasetName,
        version: Version,
        activate: bool,
        chosen: Option<&[String]>,
    ) -> Result<bool> {
        let catalog = self.catalog();
        let entry = catalog.entry(dataset, version)?;
        let sealed = !matches!(entry.state, State::Receiving | State::Deleted);
        let names = || entry.parts.iter().map(|part| &part.name);
        let alike = entry.activate == activate && chosen.is_none_or(|c| c.iter().eq(names()));
        Ok(sealed && alike && !entry.parts.is_empty())
    }

    /// Ends a push without a version, and removes what it left in staging.
    pub fn fail(&self, failed: Failed, cause: Cause) -> Result<()> {
        self.fail_if(failed, cause, |_| true).map(drop)
    }

    /// The same, if that still holds under the lock; answers whether it was done.
    pub(super) fn fail_if(
        &self,
        failed: Failed,
        cause: Cause,
        still: impl Fn(&Catalog) -> bool,
    ) -> Result<bool> {
        let (dataset, version) = (failed.dataset.clone(), failed.version);
        let mut writer = self.writer();
        if !still(&self.catalog()) {
            return Ok(false);
        }
        let event = self.catalog().plan_fail(failed)?;
        self.commit(&mut writer, cause, event)?;
        drop(writer);
        step("fail.recorded");
        self.clear_away(&self.layout.push(&dataset, version));
        step("fail.tidied");
        Ok(true)
    }

    /// Aborts a push, or deletes a version that nobody serves. The record comes first, then
    /// the files, after their last reader; for those that nobody reads this waits a while.
    pub fn delete(&self, dataset: &DatasetName, version: Version, cause: Cause) -> Result<()> {
        self.delete_if(dataset, version, cause, |_| true)?;
        // Who deletes to make room, and pushes next, is to find it.
        self.reaper.catch_up(FILES_GO_WITHIN);
        Ok(())
    }

    /// The same, if that still holds under the lock; answers whether it was done.
    pub(super) fn delete_if(
        &self,
        dataset: &DatasetName,
        version: Version,
        cause: Cause,
        still: impl Fn(&Catalog) -> bool,
    ) -> Result<bool> {
        let mut writer = self.writer();
        if !still(&self.catalog()) {
            return Ok(false);
        }
        let event = self.catalog().plan_delete(dataset, version)?;
        self.commit(&mut writer, cause, event)?;
        drop(writer);
        step("delete.recorded");
        self.clear_away(&self.layout.push(dataset, version));
        step("delete.tidied");
        Ok(true)
    }
}
