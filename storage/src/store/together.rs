//! Several datasets swap at one instant, or none does.
//!
//! The steps of an activation (see `pointer.rs`), each for all of them: everything is opened
//! and warmed outside the lock; under it every plan and every gate is checked again, and one
//! record says it all (invariant 2): killed before it, nothing has changed, after it,
//! everything. One change of the map shows it, so that no reader sees a mixture.

use std::collections::BTreeMap;

use crate::catalog::{Activation, Catalog, Moved, Outcome};
use crate::error::Error;
use crate::event::{Activated, ActivatedTogether, Cause, Event};
use crate::names::DatasetName;

use super::prepared::Prepared;
use super::{Store, Writer};

/// Why several datasets did not swap: nothing of it was done.
#[derive(Debug)]
pub struct NotTogether {
    /// The dataset that could not; none if it was no matter of one dataset.
    pub dataset: Option<DatasetName>,
    /// Why it could not.
    pub error: Error,
}

impl NotTogether {
    fn of(dataset: &DatasetName) -> impl FnOnce(Error) -> Self {
        let dataset = Some(dataset.clone());
        |error| Self { dataset, error }
    }
}

impl From<Error> for NotTogether {
    fn from(error: Error) -> Self {
        Self { dataset: None, error }
    }
}

type Result<T> = std::result::Result<T, NotTogether>;

impl Store {
    /// Makes a version current in each of these datasets, all at one instant, or in none.
    /// Blocks while their files are opened and warmed.
    ///
    /// The key of the request is remembered in each of them. A version that its gates refuse
    /// now is `rejected` from here on, as it would be alone.
    pub fn activate_together(
        &self,
        asked: &BTreeMap<DatasetName, Activation>,
        cause: Cause,
    ) -> Result<BTreeMap<DatasetName, Moved>> {
        if let Some(moved) = self.moved_together_before(asked, &cause)? {
            return Ok(moved);
        }
        let reason = cause.reason.as_deref();
        loop {
            plan(&self.catalog(), asked, reason)?;
            let prepare = |(dataset, activation): (_, &Activation)| {
                self.prepare(dataset, activation.version).map_err(NotTogether::of(dataset))
            };
            let prepared = asked.iter().map(prepare).collect::<Result<Vec<_>>>()?;
            let mut writer = self.writer();
            if let Some(moved) = self.moved_together_before(asked, &cause)? {
                return Ok(moved);
            }
            let activations = plan(&self.catalog(), asked, reason)?;
            if self.fit_still(&mut writer, &activations, &prepared)? {
                return self.swap_together(&mut writer, cause, activations);
            }
        }
    }

    /// Whether each is open still, and its gates pass. `false`: one was rewritten meanwhile, or
    /// another version of one of them is current than was compared with; prepare all again.
    fn fit_still(
        &self,
        writer: &mut Writer,
        activations: &[Activated],
        prepared: &[Prepared],
    ) -> Result<bool> {
        for (Activated { dataset, forced, .. }, prepared) in activations.iter().zip(prepared) {
            // Only force with a reason overrides a gate: see the plan.
            let fits = self.fits_still(writer, dataset, prepared, *forced);
            if !fits.map_err(NotTogether::of(dataset))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn swap_together(
        &self,
        writer: &mut Writer,
        cause: Cause,
        activations: Vec<Activated>,
    ) -> Result<BTreeMap<DatasetName, Moved>> {
        let moves: Vec<_> =
            activations.iter().map(|one| (one.dataset.clone(), one.from, one.to)).collect();
        let event = Event::ActivatedTogether(ActivatedTogether { activations });
        self.commit(writer, cause, event)?;
        let catalog = self.catalog();
        let moved = moves.into_iter().map(|(dataset, from, to)| -> Result<_> {
            let held = catalog.dataset(&dataset)?.hold.is_some();
            Ok((dataset, Moved { from, to, held, marked_bad: None }))
        });
        moved.collect()
    }

    /// What came of the same request, if it was made before: each dataset remembers its own
    /// part of it. One forgets it with the version it had activated; then the plan finds that
    /// version gone, says so, and nothing is done twice.
    fn moved_together_before(
        &self,
        asked: &BTreeMap<DatasetName, Activation>,
        cause: &Cause,
    ) -> Result<Option<BTreeMap<DatasetName, Moved>>> {
        let Some(id) = &cause.idempotency else { return Ok(None) };
        let catalog = self.catalog();
        let mut before = BTreeMap::new();
        for dataset in asked.keys() {
            match catalog.replay(dataset, id).map_err(NotTogether::of(dataset))? {
                Some(Outcome::Moved(moved)) => drop(before.insert(dataset.clone(), moved)),
                Some(_) => return Err(NotTogether::of(dataset)(Error::idempotency_key_reused())),
                None => {}
            }
        }
        Ok((before.len() == asked.len()).then_some(before))
    }
}

fn plan(
    catalog: &Catalog,
    asked: &BTreeMap<DatasetName, Activation>,
    reason: Option<&str>,
) -> Result<Vec<Activated>> {
    let plan = |(dataset, activation)| -> Result<_> {
        let planned = catalog.plan_activate(dataset, activation, reason);
        match planned.map_err(NotTogether::of(dataset))? {
            Event::Activated(activated) => Ok(activated),
            _ => unreachable!("an activation is planned as one"),
        }
    };
    asked.iter().map(plan).collect()
}
