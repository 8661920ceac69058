//! The swap: activate, roll back, hold, release.
//!
//! Order of an activation: the snapshot is opened and warmed, outside the lock, and looked into
//! if another version is current than its gates compared with, or they may be set otherwise.
//! Under the lock the plan is checked again, then the gates, the record appended, the map swapped.
//! A rollback takes the same steps; its target stayed open, so it swaps at once.

use std::sync::Arc;

use crate::catalog::{Activation, Catalog, Expect, Held, Moved, Outcome, Rollback, Swap};
use crate::config::WatchMode;
use crate::error::{Code, Error, Kind, Result};
use crate::event::{Cause, Event, Rejected};
use crate::gates;
use crate::live::Opened;
use crate::names::{DatasetName, Version};
use crate::step::step;

use super::examine::Examined;
use super::publish::refused;
use super::{Store, Writer};

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

/// A version that may be swapped in: open, warm, and looked into if it had to be.
#[derive(Debug)]
pub(super) struct Prepared {
    version: Version,
    examined: Option<Examined>,
}

impl Store {
    /// Makes a version current. Blocks while its files are opened and warmed.
    pub fn activate(
        &self,
        dataset: &DatasetName,
        activation: &Activation,
        cause: Cause,
    ) -> Result<Moved> {
        let reason = cause.reason.clone();
        self.prepare_and_swap(dataset, cause, |catalog, _| {
            catalog.plan_activate(dataset, activation, reason.as_deref())
        })
    }

    /// The same of a version that is to be activated by itself, unless it is not any more, when it
    /// begins or when it comes to the swap.
    pub(super) fn activate_unless_parked(
        &self,
        dataset: &DatasetName,
        activation: &Activation,
        cause: Cause,
    ) -> Result<Moved> {
        let reason = cause.reason.clone();
        self.prepare_and_swap(dataset, cause, |catalog, _| {
            catalog.plan_self_activation(dataset, activation, reason.as_deref())
        })
    }

    /// Swaps in what `plan` says: asked first without a version, to know which to prepare, and again
    /// under the lock, with the one that was prepared, which must be the one that is swapped in.
    pub(super) fn prepare_and_swap(
        &self,
        dataset: &DatasetName,
        cause: Cause,
        plan: impl Fn(&Catalog, Option<Version>) -> Result<Event>,
    ) -> Result<Moved> {
        if let Some(moved) = self.moved_before(dataset, &cause)? {
            return Ok(moved);
        }
        loop {
            let planned = plan(&self.catalog(), None)?;
            let version = planned.version().expect("an activation is of a version");
            let prepared = self.prepare(dataset, version)?;
            step("activate.prepared");
            let mut writer = self.writer();
            if let Some(moved) = self.moved_before(dataset, &cause)? {
                return Ok(moved);
            }
            let event = plan(&self.catalog(), Some(version))?;
            // Only force with a reason overrides a gate: see the plan.
            let forced = matches!(&event, Event::Activated(planned) if planned.forced);
            if !self.fits_still(&mut writer, dataset, &prepared, forced)? {
                continue;
            }
            step("activate.planned");
            return self.swap(&mut writer, dataset, cause, event);
        }
    }

    /// Goes back to an earlier version, marks the one left behind as bad, and holds the
    /// dataset if asked to.
    pub fn roll_back(
        &self,
        dataset: &DatasetName,
        rollback: &Rollback,
        cause: Cause,
    ) -> Result<Moved> {
        self.roll_back_if(dataset, rollback, cause, |_| Ok(()))
    }

    /// Goes back from what `swap` has made current to what was current before it, and holds
    /// the dataset: unless anybody has changed the current version since
    /// ([`Code::CurrentChanged`]), be it away from that version and back to it, or the watch of the
    /// dataset is not to roll back any more ([`Code::WrongState`]).
    pub fn undo_swap(&self, dataset: &DatasetName, swap: &Swap, cause: Cause) -> Result<Moved> {
        let expect = Expect::Current(Some(swap.to));
        let rollback = Rollback { to: swap.from, hold: true, expect };
        self.roll_back_if(dataset, &rollback, cause, |catalog| {
            let found = catalog.dataset(dataset)?;
            if found.last_swap.as_ref() != Some(swap) {
                let text = "the current version was changed meanwhile: nothing was changed";
                return Err(Error::new(Code::CurrentChanged, text));
            }
            if found.config.watch != WatchMode::RollBack {
                let text = "the watch is not to roll back any more: nothing was changed";
                return Err(Error::new(Code::WrongState, text));
            }
            Ok(())
        })
    }

    fn roll_back_if(
        &self,
        dataset: &DatasetName,
        rollback: &Rollback,
        cause: Cause,
        allowed: impl Fn(&Catalog) -> Result<()>,
    ) -> Result<Moved> {
        if let Some(moved) = self.moved_before(dataset, &cause)? {
            return Ok(moved);
        }
        loop {
            let planned = self.catalog().plan_rollback(dataset, rollback)?;
            let to = planned.version().expect("a rollback is to a version");
            let next = self.open_version(dataset, to)?;
            let left = self.current_if_open(dataset)?;
            let prepared = self.look_into(dataset, &next)?;
            step("rollback.opened");
            let mut writer = self.writer();
            if let Some(moved) = self.moved_before(dataset, &cause)? {
                return Ok(moved);
            }
            allowed(&self.catalog())?;
            // If another version became current meanwhile, the target found above may be
            // wrong: what was opened must be what is swapped in.
            let event = self.catalog().plan_rollback(dataset, rollback)?;
            if event.version() != Some(to) {
                let text = "another version became current meanwhile: nothing was changed";
                return Err(Error::new(Code::CurrentChanged, text));
            }
            if !self.is_open_still(dataset, to)? {
                continue;
            }
            // One that served has passed its gates; one that never did is activated like any.
            if !self.gate_again(&mut writer, dataset, &prepared)? {
                if event == planned {
                    // The gates alone are set otherwise.
                    continue;
                }
                let text = "another version became current meanwhile: nothing was changed";
                return Err(Error::new(Code::CurrentChanged, text));
            }
            let moved = self.swap(&mut writer, dataset, cause, event)?;
            step("rollback.recorded");
            warm_later(next, left);
            return Ok(moved);
        }
    }

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
            match self.outcome_before(dataset, &cause)? {
                None => {}
                Some(Outcome::Moved(moved)) => return Ok(Release::of(Some(moved))),
                Some(Outcome::Released) => return Ok(Release::of(None)),
                Some(_) => return Err(Error::idempotency_key_reused()),
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

    /// What came of the same request, if it was made before: looked up under the lock, so
    /// that of two at once one is done and the other gets its answer.
    pub(super) fn outcome_before(
        &self,
        dataset: &DatasetName,
        cause: &Cause,
    ) -> Result<Option<Outcome>> {
        let Some(id) = &cause.idempotency else { return Ok(None) };
        self.catalog().replay(dataset, id)
    }

    fn moved_before(&self, dataset: &DatasetName, cause: &Cause) -> Result<Option<Moved>> {
        match self.outcome_before(dataset, cause)? {
            None => Ok(None),
            Some(Outcome::Moved(moved)) => Ok(Some(moved)),
            Some(_) => Err(Error::idempotency_key_reused()),
        }
    }

    /// Whether what was prepared may be swapped in, unless it is refused: it is open still, and its
    /// gates pass, which only force overrides. `false`: prepare it again. That ends, since a
    /// rewriting takes longer than an opening.
    pub(super) fn fits_still(
        &self,
        writer: &mut Writer,
        dataset: &DatasetName,
        prepared: &Prepared,
        forced: bool,
    ) -> Result<bool> {
        if !self.is_open_still(dataset, prepared.version)? {
            return Ok(false);
        }
        if forced { Ok(true) } else { self.gate_again(writer, dataset, prepared) }
    }

    /// Whether the files that a version has now are those that were opened: it may have been
    /// rewritten meanwhile, and nobody waits for an opening once it is current.
    fn is_open_still(&self, dataset: &DatasetName, version: Version) -> Result<bool> {
        let served = self.live.get(dataset)?;
        let opened = served.kept.get(&version).and_then(|slot| slot.if_open());
        Ok(matches!(opened, Some(Ok(_))))
    }

    /// Checks the gates of a ready version again if another version is current than they
    /// compared it with, or they may be set otherwise. `false`: that is so since it was looked into;
    /// prepare it again.
    fn gate_again(
        &self,
        writer: &mut Writer,
        dataset: &DatasetName,
        prepared: &Prepared,
    ) -> Result<bool> {
        let version = prepared.version;
        let catalog = self.catalog();
        let (found, entry) = (catalog.dataset(dataset)?, catalog.entry(dataset, version)?);
        if !found.asks_gates_again(version, entry) {
            return Ok(true);
        }
        let examined = prepared.examined.as_ref();
        let Some(examined) = examined.filter(|examined| examined.holds_for(found)) else {
            return Ok(false);
        };
        let stats = entry.stats.clone().unwrap_or_default();
        let left_damaged = |bad, entry: &_| self.was_left_damaged(dataset, bad, entry);
        let (mut verdicts, against) = catalog.gate(dataset, &stats, left_damaged)?;
        verdicts.extend_from_slice(&examined.verdicts);
        // What was said outside was said of the version alone.
        let outside = entry.gates.iter();
        verdicts.extend(outside.filter(|v| v.gate == gates::CHECK_GATE).cloned());
        drop(catalog);
        if gates::all_passed(&verdicts) {
            return Ok(true);
        }
        let dataset_name = dataset.clone();
        let rejected = Rejected { dataset: dataset_name, version, gates: verdicts, against };
        self.commit(writer, Cause::by_the_server(), Event::Rejected(rejected))?;
        Err(refused(self.catalog().entry(dataset, version)?))
    }

    fn swap(
        &self,
        writer: &mut Writer,
        dataset: &DatasetName,
        cause: Cause,
        event: Event,
    ) -> Result<Moved> {
        let Event::Activated(activated) = &event else {
            unreachable!("every caller plans an activation");
        };
        let (from, to) = (activated.from, activated.to);
        let marked_bad = activated.from.filter(|_| activated.rollback);
        self.commit(writer, cause, event)?;
        let held = self.catalog().dataset(dataset)?.hold.is_some();
        Ok(Moved { from, to, held, marked_bad })
    }

    /// Not one that is known to be damaged.
    fn open_version(&self, dataset: &DatasetName, version: Version) -> Result<Arc<Opened>> {
        self.refuse_damaged(dataset, version)?;
        let served = self.live.get(dataset)?;
        let slot = served.kept.get(&version);
        let slot = slot.ok_or_else(|| {
            let text = format!("version {version} of {dataset} has no files to serve");
            Error::new(Code::WrongState, text)
        })?;
        slot.open_or_wait()
    }

    /// What serves now, if that takes no opening: nobody waits here for what is being left.
    fn current_if_open(&self, dataset: &DatasetName) -> Result<Option<Arc<Opened>>> {
        let served = self.live.get(dataset)?;
        let opened = served.current.as_ref().and_then(|slot| slot.if_open());
        Ok(opened.and_then(std::result::Result::ok).cloned())
    }

    /// Opens and warms what is to become current, also if it was opened long ago: what is
    /// looked up has changed since. Reads all of it back, if that was long ago. Looks into it if
    /// its gates must be checked again.
    pub(super) fn prepare(&self, dataset: &DatasetName, version: Version) -> Result<Prepared> {
        self.read_again_if_old(dataset, version)?;
        let next = self.open_version(dataset, version)?;
        if let Some(current) = self.current_if_open(dataset)? {
            next.warm_like(&current);
        }
        self.look_into(dataset, &next)
    }

    /// Looks into a version if its gates must be checked again.
    fn look_into(&self, dataset: &DatasetName, next: &Opened) -> Result<Prepared> {
        let version = next.version();
        let is_due = {
            let catalog = self.catalog();
            catalog.dataset(dataset)?.asks_gates_again(version, catalog.entry(dataset, version)?)
        };
        let examined = is_due.then(|| self.examine(dataset, next)).transpose()?;
        Ok(Prepared { version, examined })
    }
}

/// Warms a version that serves already: a rollback must not wait for that.
fn warm_later(next: Arc<Opened>, left: Option<Arc<Opened>>) {
    let warm = move || left.iter().for_each(|left| next.warm_like(left));
    // Without a thread for it, the lookups themselves read in what they need.
    let _ = std::thread::Builder::new().name("warm".to_owned()).spawn(warm);
}

impl Activation {
    /// A plain request to make `version` current.
    pub fn of(version: Version) -> Self {
        Self { version, force: false, expect: Expect::Anything }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::State;
    use crate::config::DatasetConfig;
    use crate::gates::Gates;
    use crate::live::{Served, Slot};
    use crate::store::StoreOptions;
    use crate::testing::pushed;

    #[test]
    fn what_was_rewritten_since_it_was_opened_is_opened_again_before_it_is_current() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path(), StoreOptions::default()).unwrap();
        let a = DatasetName::parse("a").unwrap();
        let version = pushed(&store, &a, 10);
        let fits = |prepared: &Prepared, forced| {
            store.fits_still(&mut store.writer(), &a, prepared, forced).unwrap()
        };
        let prepared = store.prepare(&a, version).unwrap();
        assert!(fits(&prepared, false) && fits(&prepared, true));
        // Another slot, as a rewriting puts one there that began before anybody had opened it.
        let served = store.live().get(&a).unwrap();
        let (place, digest) = (store.layout().version(&a, version), served.kept[&version].digest);
        let mut kept = served.kept.clone();
        kept.insert(version, Slot::new(version, None, place, digest, &store.opener));
        let served = Arc::new(Served { kept, ..Served::clone(&served) });
        store.live().change(|datasets| drop(datasets.insert(a.clone(), served)));
        assert!(!fits(&prepared, false) && !fits(&prepared, true));
        let prepared = store.prepare(&a, version).unwrap();
        assert!(fits(&prepared, false) && fits(&prepared, true));
    }

    #[test]
    fn what_was_found_in_a_version_holds_as_long_as_its_gates_are_set_as_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path(), StoreOptions::default()).unwrap();
        let a = DatasetName::parse("a").unwrap();
        let version = pushed(&store, &a, 10);
        let set = |min_records: u64| {
            let gates = Gates { min_records: Some(min_records), ..Gates::default() };
            let config = DatasetConfig { gates, ..DatasetConfig::default() };
            store.configure(&a, &config, Cause::default()).unwrap();
        };
        let fits = |prepared: &Prepared| {
            store.fits_still(&mut store.writer(), &a, prepared, false).map_err(|e| e.code())
        };
        let prepared = store.prepare(&a, version).unwrap();
        assert_eq!(fits(&prepared), Ok(true), "they are as when it was published");
        set(5);
        assert_eq!(fits(&prepared), Ok(false), "nobody has looked into it since");
        let prepared = store.prepare(&a, version).unwrap();
        assert_eq!(fits(&prepared), Ok(true), "it passes them as well");
        set(11);
        assert_eq!(fits(&prepared), Ok(false), "it was looked into for others");
        let prepared = store.prepare(&a, version).unwrap();
        assert_eq!(fits(&prepared), Err(Code::GateRefused));
        assert_eq!(store.catalog().entry(&a, version).unwrap().state, State::Rejected);
    }
}
