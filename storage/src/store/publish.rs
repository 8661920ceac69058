//! A verified snapshot becomes a version: put in its place, gated, and activated if it is to be.

use std::path::Path;
use std::sync::MutexGuard;

use crate::catalog::{Activation, Entry, Expect, Moved, Parked, State};
use crate::error::{Code, Error, Result};
use crate::event::{Cause, Event, HoldsErased, Published, Stats, Verdict};
use crate::names::{DatasetName, Version};
use crate::poison::EvenPoisoned as _;
use crate::snapshot::Snapshot;
use crate::step::step;
use crate::verify::VerifiedSnapshot;

use super::{Store, Writer};

/// What came of a version that became ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SelfActivation {
    /// It is current.
    Activated(Moved),
    /// It waits as `ready`, or was refused, for this reason.
    Parked(Parked),
}

impl Store {
    /// Records that a version which is about to be published has so many records of keys that were
    /// erased up to the event `erased_to`: it was not built here. They are not given, and it counts among
    /// those that may hold them. Comes before the publication, so that a crash between leaves no
    /// version of which that is not known.
    pub fn note_erased(
        &self,
        dataset: &DatasetName,
        version: Version,
        records: u64,
        erased_to: u64,
        cause: Cause,
    ) -> Result<()> {
        let mut writer = self.writer();
        self.catalog().check_publish(dataset, version)?;
        let dataset = dataset.clone();
        let event = Event::HoldsErased(HoldsErased { dataset, version, records, erased_to });
        self.commit(&mut writer, cause, event).map(drop)
    }

    /// Moves a verified snapshot into place, checks its gates and makes it `ready`, or
    /// `rejected`. Its staging goes. `outside`: what checks have said of it that are not ours.
    pub fn publish(
        &self,
        dataset: &DatasetName,
        version: Version,
        snapshot: &VerifiedSnapshot,
        duplicates_dropped: u64,
        outside: &[Verdict],
        cause: Cause,
    ) -> Result<State> {
        // Of two attempts at one version the second must not clear away the place that the
        // first has just filled: from this check to the record nobody else publishes.
        let _alone = self.publishing.lock().even_poisoned();
        self.catalog().check_publish(dataset, version)?;
        // After an append of unknown outcome the journal may own what stands in the place.
        self.writer().journal.check()?;
        let stats = snapshot.manifest().stats(duplicates_dropped);
        let place = self.versions.publish(snapshot, dataset, version).inspect_err(|_| {
            // Renamed, but not synced: what is in the place belongs to nobody.
            self.clear_away(&self.layout.version(dataset, version));
        })?;
        step("publish.placed");
        let gated = self.gate_published(dataset, version, snapshot, &place, &stats, outside);
        let (mut writer, gates, against) = gated.inspect_err(|_| self.clear_away(&place))?;
        step("publish.gated");
        let event = Event::Published(Published {
            dataset: dataset.clone(),
            version,
            manifest: *snapshot.digest().as_bytes(),
            stats,
            gates,
            against,
        });
        let committed = self.commit(&mut writer, cause, event);
        drop(writer);
        committed.inspect_err(|error| {
            // Where the outcome is unknown, the journal may own the files already.
            if error.code() != Code::OutcomeUnknown {
                self.clear_away(&place);
            }
        })?;
        step("publish.recorded");
        self.clear_away(&self.layout.push(dataset, version));
        step("publish.tidied");
        Ok(self.catalog().entry(dataset, version)?.state)
    }

    /// What the gates say of a version in its place, compared with the current one; with the
    /// lock, under which that stays the current one and they stay as they are set.
    fn gate_published(
        &self,
        dataset: &DatasetName,
        version: Version,
        snapshot: &VerifiedSnapshot,
        place: &Path,
        stats: &Stats,
        outside: &[Verdict],
    ) -> Result<(MutexGuard<'_, Writer>, Vec<Verdict>, Option<Version>)> {
        let opened = Snapshot::open(place, version, snapshot.digest(), &self.opener.cache)?;
        loop {
            let examined = self.examine(dataset, &opened)?;
            let writer = self.writer();
            let catalog = self.catalog();
            // The push may have been deleted while its files were moved.
            catalog.check_publish(dataset, version)?;
            let left_damaged = |bad, entry: &_| self.was_left_damaged(dataset, bad, entry);
            let (mut verdicts, against) = catalog.gate(dataset, stats, left_damaged)?;
            if examined.holds_for(catalog.dataset(dataset)?) {
                verdicts.extend(examined.verdicts);
                verdicts.extend_from_slice(outside);
                drop(catalog);
                return Ok((writer, verdicts, against));
            }
        }
    }

    /// Activates a version that has become ready, if it is to be: its push asked for it, the
    /// dataset is not held and has no canary, and the current version's push did not begin after
    /// its own.
    pub fn activate_by_itself(
        &self,
        dataset: &DatasetName,
        version: Version,
        mut cause: Cause,
    ) -> Result<SelfActivation> {
        // The key of the push stands for its admission, not for this.
        cause.idempotency = None;
        loop {
            let current = {
                let catalog = self.catalog();
                if let Some(parked) = catalog.why_parked(dataset, version)? {
                    return Ok(SelfActivation::Parked(parked));
                }
                catalog.dataset(dataset)?.current
            };
            let expect = Expect::Current(current);
            let activation = Activation { version, force: false, expect };
            match self.activate_unless_parked(dataset, &activation, cause.clone()) {
                Ok(moved) => return Ok(SelfActivation::Activated(moved)),
                // Somebody was faster, held it, or started a canary: look again.
                Err(e) if matches!(e.code(), Code::CurrentChanged | Code::WrongState) => {}
                Err(e) if e.code() == Code::GateRefused => {
                    return Ok(SelfActivation::Parked(Parked::Rejected));
                }
                Err(e) => return Err(e),
            }
        }
    }
}

/// The error of a version that its gates refused.
pub(super) fn refused(entry: &Entry) -> Error {
    Error::new(Code::GateRefused, entry.reason.clone().unwrap_or_default())
}
