//! A second version beside the current one: started, promoted, ended.
//!
//! It takes the steps of an activation: opened and warmed outside the lock, then under it the
//! plan again, its gates if another version is current than they compared with or they may be set
//! otherwise, the record, and the map. A promotion is an activation in every respect.

use crate::catalog::{Canary, CanaryStart, ExpectCanary, Moved, Promotion};
use crate::error::Result;
use crate::event::Cause;
use crate::names::{DatasetName, Version};

use super::Store;
use super::pointer::Way;

/// What came of asking for a canary.
#[derive(Clone, Debug, PartialEq)]
pub struct CanaryChange {
    /// The canary that runs now.
    pub canary: Canary,
    /// Whether it did not run like that before.
    pub changed: bool,
}

impl Store {
    /// Starts a canary, changes the share of the one that runs, or puts another in its place.
    /// Blocks while its files are opened and warmed.
    pub fn start_canary(
        &self,
        dataset: &DatasetName,
        start: &CanaryStart,
        cause: Cause,
    ) -> Result<CanaryChange> {
        let version = start.version;
        let changed = loop {
            self.catalog().plan_canary(dataset, start)?;
            let is_shown = self.canary_version(dataset)? == Some(version);
            let prepared = (!is_shown).then(|| self.prepare(dataset, version)).transpose()?;
            let mut writer = self.writer();
            let Some(event) = self.catalog().plan_canary(dataset, start)? else { break false };
            let may = match &prepared {
                Some(prepared) => self.fits_still(&mut writer, dataset, prepared, false)?,
                // Its share alone changes, unless another took its place meanwhile.
                None => self.canary_version(dataset)? == Some(version),
            };
            if may {
                self.commit(&mut writer, cause, event)?;
                break true;
            }
        };
        let canary = self.catalog().canary(dataset)?.clone();
        Ok(CanaryChange { canary, changed })
    }

    /// Ends a canary: everybody is served the current version again. What ended.
    pub fn end_canary(
        &self,
        dataset: &DatasetName,
        expect: ExpectCanary,
        cause: Cause,
    ) -> Result<Canary> {
        let mut writer = self.writer();
        let event = self.catalog().plan_end_canary(dataset, expect)?;
        let ended = self.catalog().canary(dataset)?.clone();
        self.commit(&mut writer, cause, event)?;
        Ok(ended)
    }

    /// Makes the canary current, which ends it: one record says both.
    pub fn promote(
        &self,
        dataset: &DatasetName,
        promotion: &Promotion,
        cause: Cause,
    ) -> Result<Moved> {
        // Open it is, but not its own share of the keys alone is looked up in it from now on.
        self.prepare_and_swap(dataset, cause, Way::Forward, |catalog, prepared| {
            let version = prepared.or(promotion.version);
            catalog.plan_promote(dataset, &Promotion { version, ..*promotion })
        })
    }

    fn canary_version(&self, dataset: &DatasetName) -> Result<Option<Version>> {
        Ok(self.catalog().dataset(dataset)?.canary.as_ref().map(|canary| canary.version))
    }
}
