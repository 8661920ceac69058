//! The swap: activate and roll back.
//!
//! Both take the same steps, in `prepare_and_swap`. The plan says which version is to be current;
//! it is prepared outside the lock (see `prepared.rs`). Under the lock the plan is checked again,
//! then the gates, if another version is current than they compared with, or they may be set
//! otherwise; the record is appended, the map swapped. What a rollback does otherwise is said at
//! [`Way::Back`].

use crate::catalog::{Activation, Catalog, Expect, Moved, Outcome, Rollback, Swap};
use crate::config::WatchMode;
use crate::error::{Code, Error, Result};
use crate::event::{Cause, Event};
use crate::names::{DatasetName, Version};
use crate::step::step;

use super::{Store, Writer};

/// How a version becomes current.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Read back if that was long ago, and warmed before the swap.
    Forward,
    /// To a version that stayed open, by default: nothing is read back, and it is warmed after the
    /// swap. If its gates must be asked again because another version became current meanwhile,
    /// nothing is done: that one would be left as bad, and nobody has said so of it.
    Back,
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
        self.prepare_and_swap(dataset, cause, Way::Forward, |catalog, _| {
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
        self.prepare_and_swap(dataset, cause, Way::Forward, |catalog, _| {
            catalog.plan_self_activation(dataset, activation, reason.as_deref())
        })
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
        self.prepare_and_swap(dataset, cause, Way::Back, |catalog, opened| {
            let Some(opened) = opened else { return catalog.plan_rollback(dataset, rollback) };
            allowed(catalog)?;
            // If another version became current meanwhile, the target found before may be
            // wrong: what was opened must be what is swapped in.
            let event = catalog.plan_rollback(dataset, rollback)?;
            if event.version() == Some(opened) { Ok(event) } else { Err(changed_meanwhile()) }
        })
    }

    /// Swaps in what `plan` says: asked first without a version, to know which to prepare, and again
    /// under the lock, with the one that was prepared, which must be the one that is swapped in.
    pub(super) fn prepare_and_swap(
        &self,
        dataset: &DatasetName,
        cause: Cause,
        way: Way,
        plan: impl Fn(&Catalog, Option<Version>) -> Result<Event>,
    ) -> Result<Moved> {
        if let Some(moved) = self.moved_before(dataset, &cause)? {
            return Ok(moved);
        }
        loop {
            let planned = plan(&self.catalog(), None)?;
            let version = planned.version().expect("an activation is of a version");
            let (prepared, warming) = match way {
                Way::Forward => {
                    let prepared = self.prepare(dataset, version)?;
                    step("activate.prepared");
                    (prepared, None)
                }
                Way::Back => {
                    let (prepared, warming) = self.prepare_unwarmed(dataset, version)?;
                    step("rollback.opened");
                    (prepared, Some(warming))
                }
            };
            let mut writer = self.writer();
            if let Some(moved) = self.moved_before(dataset, &cause)? {
                return Ok(moved);
            }
            let event = plan(&self.catalog(), Some(version))?;
            if !self.is_open_still(dataset, version)? {
                continue;
            }
            // Only force with a reason overrides a gate: see the plan. One that served has passed
            // its gates; a rollback to one that never did asks them like any activation.
            let forced = matches!(&event, Event::Activated(planned) if planned.forced);
            if !forced && !self.gate_again(&mut writer, dataset, &prepared)? {
                if way == Way::Back && event != planned {
                    return Err(changed_meanwhile());
                }
                continue;
            }
            if way == Way::Forward {
                step("activate.planned");
            }
            let moved = self.swap(&mut writer, dataset, cause, event)?;
            if let Some(warming) = warming {
                step("rollback.recorded");
                warming.begin();
            }
            return Ok(moved);
        }
    }

    /// Appends the record of an activation, and so makes its version current.
    pub(super) fn swap(
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
}

fn changed_meanwhile() -> Error {
    let text = "another version became current meanwhile: nothing was changed";
    Error::new(Code::CurrentChanged, text)
}

impl Activation {
    /// A plain request to make `version` current.
    pub fn of(version: Version) -> Self {
        Self { version, force: false, expect: Expect::Anything }
    }
}
