//! What the gates say for which files must be read: those on keys and on fields. Done without
//! the lock; the verdicts hold as long as the version they were compared with is current, and the
//! gates are set as they were.

use std::thread;

use crate::background::be_nice;
use crate::catalog::Dataset;
use crate::error::{Code, Error, Result};
use crate::event::Verdict;
use crate::gates::{self, Gates};
use crate::live::Lease;
use crate::names::{DatasetName, Key, Version};
use crate::overlap::Overlap;
use crate::snapshot::Snapshot;
use crate::view::View;

use super::Store;

/// What was found in the files of a version.
#[derive(Debug)]
pub(super) struct Examined {
    /// The version that was current.
    against: Option<Version>,
    /// The gates as they were set.
    gates: Gates,
    /// What the gates say, of those that are on.
    pub(super) verdicts: Vec<Verdict>,
}

impl Examined {
    /// Whether the same version is current, and the gates are set as they were.
    pub(super) fn holds_for(&self, dataset: &Dataset) -> bool {
        self.against == dataset.current && self.gates == dataset.config.gates
    }
}

impl Store {
    /// Looks into a version. Costs some hundredths of a second.
    ///
    /// # Errors
    /// Those of [`Snapshot::get`], of the version. If the current one cannot be read, nothing is
    /// compared with it, and that is reported: a damaged version must not keep its own
    /// replacement out.
    pub(super) fn examine(&self, dataset: &DatasetName, snapshot: &Snapshot) -> Result<Examined> {
        let (gates, against) = {
            let catalog = self.catalog();
            let dataset = catalog.dataset(dataset)?;
            (dataset.config.gates.clone(), dataset.current)
        };
        let served = self.live.get(dataset)?;
        // What is erased is asked of neither.
        let snapshot = View::new(snapshot, served.erased().map(|erased| &**erased));
        let current = match against.map(|version| served.version(version)) {
            None => None,
            Some(Ok(current)) => Some(current),
            Some(Err(error)) => {
                (self.options.report)(&error);
                None
            }
        };
        let verdicts = thread::scope(|scope| {
            let examining = scope.spawn(|| {
                // Lookups go first. It does not give way to all: somebody may wait for it.
                be_nice();
                self.verdicts(&gates, snapshot, current.as_ref().map(Lease::view))
            });
            examining.join().unwrap_or_else(|_| {
                let text = "looking into the version panicked: this is a fault in the program, please report it";
                Err(Error::new(Code::IoFailed, text))
            })
        })?;
        Ok(Examined { against, gates, verdicts })
    }

    fn verdicts(
        &self,
        gates: &Gates,
        new: View<'_>,
        current: Option<View<'_>>,
    ) -> Result<Vec<Verdict>> {
        let mut verdicts = lookups(gates, new)?;
        if let Some(current) = current
            && gates::need_overlap(gates)
        {
            let records = (current.records(), new.records());
            match Overlap::of(current, new) {
                Ok(overlap) => verdicts.extend(gates::overlap(gates, &overlap, records)),
                Err(error) => (self.options.report)(&error),
            }
        }
        if let Some(profile) = new.profile() {
            let before = current.and_then(View::profile);
            verdicts.extend(gates::fields(gates, &profile, before.as_ref()));
        }
        Ok(verdicts)
    }
}

/// What the gates say that look certain keys up.
fn lookups(gates: &Gates, snapshot: View<'_>) -> Result<Vec<Verdict>> {
    let mut verdicts = Vec::new();
    let mut value = Vec::new();
    let mut find = |key: &str| {
        let found = snapshot.get_unnoticed(Key::new(key.as_bytes())?, &mut value)?;
        Ok::<_, Error>(found.then(|| value.clone()))
    };
    if let Some(required) = gates.required_keys.as_deref().filter(|keys| !keys.is_empty()) {
        let mut missing = Vec::new();
        for key in required {
            // What is erased is missed by nobody.
            if find(key)?.is_none() && !snapshot.is_erased(key.as_bytes()) {
                missing.push(key.as_str());
            }
        }
        verdicts.push(gates::required_keys(required, &missing));
    }
    if let Some(all) = gates.sample_lookups.as_deref().filter(|lookups| !lookups.is_empty()) {
        let mut wrong = Vec::new();
        for lookup in all.iter().filter(|lookup| !snapshot.is_erased(lookup.key.as_bytes())) {
            wrong.extend(gates::wrong_value(lookup, find(&lookup.key)?.as_deref()));
        }
        verdicts.push(gates::sample_lookups(all.len(), &wrong));
    }
    Ok(verdicts)
}
