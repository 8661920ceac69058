//! Holds: pushes become ready, but none is activated by itself; and what a release activates.

use crate::catalog::{Catalog, Held, Moved, Outcome};
use crate::error::{Code, Error, Kind, Result};
use crate::event::Cause;
use crate::names::{DatasetName, Version};

use super::Store;

/// What came of a release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Release {
    /// The activation that went with it, if a version waited for one.
    pub moved: Option<Moved>,
    /// Versions that waited too and were of no use, each with why. A repetition of the
    /// request is not told again.
    pub passed_over: Vec<(Version, String)>,
}

impl Release {
    fn of(moved: Option<Moved>) -> Self {
        Self { moved, passed_over: Vec::new() }
    }
}

impl Store {
    /// Holds a dataset: pushes become ready, but none is activated by itself.
    pub fn hold(&self, dataset: &DatasetName, cause: Cause) -> Result<Held> {
        let mut writer = self.writer();
        match self.outcome_before(dataset, &cause)? {
            None => {}
            Some(Outcome::Hold(held)) => return Ok(held),
            Some(Outcome::Held) => return Ok(Held { changed: true, reason: None }),
            Some(_) => return Err(Error::idempotency_key_reused()),
        }
        let planned = self.catalog().plan_hold(dataset)?;
        let changed = planned.is_some();
        // A key is used up also by a request that finds the dataset held.
        let keyed = cause.idempotency.is_some().then(|| Catalog::hold_again(dataset));
        if let Some(event) = planned.or(keyed) {
            self.commit(&mut writer, cause, event)?;
        }
        let catalog = self.catalog();
        let hold = catalog.dataset(dataset)?.hold.as_ref();
        Ok(Held { changed, reason: hold.and_then(|hold| hold.reason.clone()) })
    }

    /// Ends a hold, and activates the newest ready version whose push had asked for it, if
    /// there is one; one record says both. A version that is of no use, refused by a gate or
    /// with files that do not fit any more, is passed over: else it would keep the dataset
    /// held for good.
    pub fn release(&self, dataset: &DatasetName, cause: Cause) -> Result<Release> {
        let mut release = Release::default();
        // Before a version is read and warmed for it: it may have been done, or have nothing to do.
        if let Some(done) = self.released_before(dataset, &cause)? {
            return Ok(done);
        }
        self.catalog().plan_release(dataset, None)?;
        loop {
            let target = self.next_release_target(dataset, &release)?;
            let prepared = match target.map(|version| (version, self.prepare(dataset, version))) {
                None => None,
                Some((_, Ok(prepared))) => Some(prepared),
                // Damage does not mend itself; anything else may pass, and is told.
                Some((version, Err(e))) if e.kind() == Kind::Corrupt => {
                    release.passed_over.push((version, e.detail().to_owned()));
                    continue;
                }
                Some((_, Err(e))) => return Err(e),
            };
            let mut writer = self.writer();
            if let Some(done) = self.released_before(dataset, &cause)? {
                return Ok(done);
            }
            if self.next_release_target(dataset, &release)? != target {
                continue;
            }
            let event = self.catalog().plan_release(dataset, target)?;
            let Some(prepared) = prepared else {
                self.commit(&mut writer, cause, event)?;
                return Ok(release);
            };
            let version = prepared.version;
            match self.fits_still(&mut writer, dataset, &prepared, false) {
                Ok(false) => {}
                Ok(true) => {
                    release.moved = Some(self.swap(&mut writer, dataset, cause, event)?);
                    return Ok(release);
                }
                // That one is rejected now: look for the next.
                Err(e) if e.code() == Code::GateRefused => {
                    release.passed_over.push((version, e.detail().to_owned()));
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// What came of the same request, if it was made before.
    fn released_before(&self, dataset: &DatasetName, cause: &Cause) -> Result<Option<Release>> {
        match self.outcome_before(dataset, cause)? {
            None => Ok(None),
            Some(Outcome::Moved(moved)) => Ok(Some(Release::of(Some(moved)))),
            Some(Outcome::Released) => Ok(Some(Release::of(None))),
            Some(_) => Err(Error::idempotency_key_reused()),
        }
    }

    fn next_release_target(
        &self,
        dataset: &DatasetName,
        so_far: &Release,
    ) -> Result<Option<Version>> {
        let is_new = |v: &Version| !so_far.passed_over.iter().any(|(passed, _)| passed == v);
        let catalog = self.catalog();
        let dataset = catalog.dataset(dataset)?;
        // A release ends the hold; beside a canary nothing is activated but by name.
        Ok(dataset.release_targets().find(is_new).filter(|_| dataset.canary.is_none()))
    }
}
