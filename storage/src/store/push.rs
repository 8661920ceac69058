//! The push path's half of the store: a number, the parts sealed, the snapshot published.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use crate::catalog::{
    Activation, Admission, Catalog, Entry, Expect, Moved, Outcome, Parked, State,
};
use crate::durable;
use crate::error::{Code, Error, Result};
use crate::event::{Cause, Event, Failed, HoldsErased, Published, SealedPart, Stats, Verdict};
use crate::names::{DatasetName, Version};
use crate::parts::{self, Part, PartWriter, WrittenPart};
use crate::snapshot::Snapshot;
use crate::step::step;
use crate::verify::VerifiedSnapshot;

use super::{Store, Writer};

/// How long a deletion waits for files that nobody reads any more to be removed.
pub(super) const FILES_GO_WITHIN: Duration = Duration::from_secs(10);

/// How many parts that have not arrived an error names.
const MISSING_NAMED: usize = 1_000;

/// How many parts one push may have. The catalogue lists those of every version that is kept, and
/// all of it is in memory, and in each checkpoint of the journal.
pub const MAX_PARTS: usize = 20_000;

/// How many parts have arrived of pushes that still take some, as far as that was counted: to list
/// a directory for every part would take longer the more there are.
pub(super) type Arrived = HashMap<(DatasetName, Version), usize>;

/// What came of a version that became ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SelfActivation {
    /// It is current.
    Activated(Moved),
    /// It waits as `ready`, or was refused, for this reason.
    Parked(Parked),
}

impl Store {
    /// Gives a push its number; the dataset must be there. With an idempotency key in
    /// `cause` that was used before, answers with that request's outcome instead, and
    /// nothing is changed.
    pub fn admit(
        &self,
        dataset: &DatasetName,
        push: &Admission,
        cause: Cause,
    ) -> Result<std::result::Result<Version, Outcome>> {
        let mut writer = self.writer();
        if let Some(id) = &cause.idempotency
            && let Some(outcome) = self.catalog().replay(dataset, id)?
        {
            return Ok(Err(outcome));
        }
        let event = self.catalog().plan_admit(dataset, push)?;
        let version = event.version().expect("an admission is about a version");
        // The directory is there before the number is: a part never finds it missing. If
        // the append fails it belongs to nobody and goes at the next start.
        durable::create_dir_all(&self.layout.parts(dataset, version))?;
        step("admit.staged");
        self.commit(&mut writer, cause, event)?;
        step("admit.recorded");
        Ok(Ok(version))
    }

    /// Begins a part of a push that still takes parts. `name` is safe as a file name: the
    /// caller parsed it.
    pub fn begin_part(
        &self,
        dataset: &DatasetName,
        version: Version,
        name: &str,
    ) -> Result<PartWriter> {
        self.catalog().check_receiving(dataset, version)?;
        PartWriter::create(&self.layout.parts(dataset, version), name)
    }

    /// A part arrives, unless its push was sealed or ended meanwhile, or has all the [`MAX_PARTS`] by
    /// now ([`Code::WrongState`]). Costs two fsyncs. Here and not at its beginning, which would wait for
    /// these, and for commits that list theirs, while a client sends.
    pub fn receive_part(
        &self,
        dataset: &DatasetName,
        version: Version,
        part: WrittenPart,
    ) -> Result<Part> {
        let mut arrived = self.arriving.lock().unwrap_or_else(PoisonError::into_inner);
        self.catalog().check_receiving(dataset, version)?;
        let count = self.count_with(&mut arrived, dataset, version, part.name())?;
        let push = (dataset.clone(), version);
        // If that fails it may have arrived all the same: they are counted anew then.
        arrived.remove(&push);
        let part = part.arrive()?;
        arrived.insert(push, count);
        Ok(part)
    }

    /// How many parts that push has, with one of this name; an error if they were too many.
    fn count_with(
        &self,
        arrived: &mut Arrived,
        dataset: &DatasetName,
        version: Version,
        name: &str,
    ) -> Result<usize> {
        let dir = self.layout.parts(dataset, version);
        let push = (dataset.clone(), version);
        let before = match arrived.get(&push) {
            Some(count) => *count,
            None => {
                let catalog = self.catalog();
                arrived.retain(|(of, v), _| catalog.check_receiving(of, *v).is_ok());
                drop(catalog);
                let count = parts::count(&dir)?;
                arrived.insert(push, count);
                count
            }
        };
        // The same name again takes its place.
        let count = before + usize::from(!parts::has_arrived(&dir, name));
        if count > before && before >= MAX_PARTS {
            return Err(too_many_parts(dataset, version, before));
        }
        Ok(count)
    }

    /// The parts that have arrived, in the natural order of their names; none once the
    /// version is published.
    pub fn parts(&self, dataset: &DatasetName, version: Version) -> Result<Vec<Part>> {
        self.catalog().entry(dataset, version)?;
        parts::list(&self.layout.parts(dataset, version))
    }

    /// Closes a push to further parts; from here on it is built, whatever is restarted.
    /// `chosen` names its parts in the order of their rows, the others are dropped
    /// ([`Code::PartsMissing`] names those that have not arrived); without it, all that
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
        let _arriving = self.arriving.lock().unwrap_or_else(PoisonError::into_inner);
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

    /// The parts that a commit names, or all that have arrived.
    fn choose_parts(
        &self,
        dataset: &DatasetName,
        version: Version,
        chosen: Option<&[String]>,
    ) -> Result<Vec<SealedPart>> {
        self.catalog().check_receiving(dataset, version)?;
        let arrived = parts::list(&self.layout.parts(dataset, version))?;
        let Some(chosen) = chosen else {
            return Ok(arrived.into_iter().map(|part| part.sealed).collect());
        };
        let mut parts = Vec::with_capacity(chosen.len());
        let mut missing = Vec::new();
        for name in chosen {
            match arrived.iter().find(|part| part.sealed.name == *name) {
                Some(part) => parts.push(part.sealed.clone()),
                None => missing.push(name.as_str()),
            }
        }
        if missing.is_empty() {
            return Ok(parts);
        }
        Err(Error::new(Code::PartsMissing, not_arrived(&missing, chosen.len())))
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
        let _alone = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
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
                if let Err(parked) = catalog.activates_by_itself(dataset, version)? {
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

/// The error of a part that would be one too many.
fn too_many_parts(dataset: &DatasetName, version: Version, count: usize) -> Error {
    let text = format!(
        "{count} parts of version {version} of {dataset} have arrived, and one push may have \
         {MAX_PARTS}: this one was not taken. Combine files, so that fewer parts hold the same rows, \
         and push again"
    );
    Error::new(Code::WrongState, text)
}

/// Which parts that a commit names have not arrived: whoever resumes sends these.
fn not_arrived(missing: &[&str], chosen: usize) -> String {
    let (named, more) = missing.split_at(missing.len().min(MISSING_NAMED));
    let text = format!(
        "{} of {chosen} parts named by the commit have not arrived: {}",
        missing.len(),
        named.join(", ")
    );
    if more.is_empty() { text } else { format!("{text} and {} more", more.len()) }
}

/// The error of a version that its gates refused.
pub(super) fn refused(entry: &Entry) -> Error {
    Error::new(Code::GateRefused, entry.reason.clone().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parts::PartSums;
    use crate::store::StoreOptions;

    /// A store with one push that takes parts.
    fn receiving(dir: &Path) -> (Store, DatasetName, Version) {
        let (store, _) = Store::open(dir, StoreOptions::default()).unwrap();
        let name = DatasetName::parse("a").unwrap();
        store.ensure_dataset(&name, Cause::default()).unwrap();
        let version = store.admit(&name, &Admission::default(), Cause::default()).unwrap().unwrap();
        (store, name, version)
    }

    #[test]
    fn a_part_too_many_is_refused_and_one_sent_again_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (store, a, version) = receiving(dir.path());
        let send = |name: &str| {
            let part = store.begin_part(&a, version, name)?;
            store.receive_part(&a, version, part.close(PartSums::default()))
        };
        let counted = || store.arriving.lock().unwrap().get(&(a.clone(), version)).copied();
        for (name, count) in [("1", 1), ("2", 2), ("1", 2)] {
            send(name).unwrap();
            assert_eq!(counted(), Some(count));
        }
        // As after a restart.
        store.arriving.lock().unwrap().clear();
        send("3").unwrap();
        assert_eq!(counted(), Some(3));
        // Begun before the last one that may arrive has.
        let late = store.begin_part(&a, version, "5").unwrap();
        store.arriving.lock().unwrap().insert((a.clone(), version), MAX_PARTS - 1);
        send("4").unwrap();
        send("4").unwrap();
        let late = store.receive_part(&a, version, late.close(PartSums::default()));
        for error in [late.unwrap_err(), send("5").unwrap_err()] {
            assert_eq!(error.code(), Code::WrongState);
            assert!(error.detail().contains("one push may have 20000"), "{error}");
            assert!(error.detail().contains("Combine files"), "{error}");
        }
        assert_eq!(store.parts(&a, version).unwrap().len(), 4, "what has arrived stays");
        store.seal(&a, version, false, None, Cause::default()).unwrap();
    }

    /// The document of its part is a pipe, so that the commit stands still while it reads that.
    #[test]
    fn other_changes_do_not_wait_for_a_commit_that_lists_its_parts() {
        let dir = tempfile::tempdir().unwrap();
        let (store, a, version) = receiving(dir.path());
        let part = store.begin_part(&a, version, "1").unwrap();
        store.receive_part(&a, version, part.close(PartSums::default())).unwrap();
        let document = store.layout().parts(&a, version).join("1.part");
        let json = std::fs::read(&document).unwrap();
        std::fs::remove_file(&document).unwrap();
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, document.as_path(), kind, mode, 0).unwrap();
        std::thread::scope(|scope| {
            let commit = || store.seal(&a, version, true, None, Cause::default()).unwrap();
            let committing = scope.spawn(commit);
            // Opens when it is opened for reading, too.
            let mut pipe = std::fs::OpenOptions::new().write(true).open(&document).unwrap();
            let is_free = store.writer.try_lock().is_ok();
            // Nor does a client that begins to send.
            store.begin_part(&a, version, "2").unwrap();
            std::io::Write::write_all(&mut pipe, &json).unwrap();
            drop(pipe);
            assert!(committing.join().unwrap() && is_free);
        });
        assert_eq!(store.catalog().entry(&a, version).unwrap().parts.len(), 1);
    }

    #[test]
    fn all_parts_that_are_missing_are_named_up_to_a_thousand() {
        let names: Vec<String> = (1..=1_002).map(|number| format!("part-{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let all = not_arrived(&names[..1_000], 2_000);
        assert!(all.starts_with("1000 of 2000 parts named by the commit"), "{all}");
        assert!(all.ends_with(", part-999, part-1000"), "{all}");
        let beyond = not_arrived(&names, 2_000);
        assert!(beyond.ends_with(", part-1000 and 2 more"), "{beyond}");
    }
}
