//! Which numbers a data directory has given, as journals and the names of directories tell.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::catalog::Catalog;
use crate::error::Result;
use crate::journal::{Record, Salvaged};
use crate::layout::Layout;
use crate::names::{DatasetName, Version};
use crate::versions::{self, HIGHEST, Versions};

/// Numbers that were given, as one journal and what is behind its damage tell them.
pub(super) struct Given {
    last: BTreeMap<DatasetName, u64>,
    /// Records that cannot be read: each may have given the next number of any dataset.
    lost: u64,
}

impl Given {
    pub(super) fn of(catalog: &Catalog, salvaged: &Salvaged) -> Self {
        let mut given = Self { last: BTreeMap::new(), lost: salvaged.lost };
        let known = |given: &mut Self, catalog: &Catalog| {
            catalog.last_numbers().for_each(|(name, number)| given.note(name, number));
        };
        known(&mut given, catalog);
        for (seq, record) in &salvaged.records {
            match record {
                Record::Event(_, event) => {
                    let number = event.version().map_or(0, |v| v.0);
                    event.datasets().for_each(|dataset| given.note(dataset, number));
                    let swaps = event.activations().iter();
                    swaps.for_each(|swap| given.note(&swap.dataset, swap.to.0));
                }
                Record::Checkpoint { catalog, .. } => match serde_json::from_str(catalog) {
                    Ok(catalog) => known(&mut given, &catalog),
                    Err(_) => given.lost = given.lost.saturating_add(*seq),
                },
            }
        }
        given
    }

    pub(super) fn note(&mut self, dataset: &DatasetName, number: u64) {
        let last = self.last.entry(dataset.clone()).or_default();
        if number <= HIGHEST {
            *last = number.max(*last);
        }
    }

    /// The last number of each dataset that may have been given.
    pub(super) fn last(self) -> BTreeMap<DatasetName, u64> {
        let lost = self.lost;
        self.last.into_iter().map(|(name, last)| (name, last.saturating_add(lost))).collect()
    }
}

/// Directories that are named after a version.
pub(super) struct Directories {
    pub(super) versions: Vec<(DatasetName, Version, PathBuf)>,
    /// Pushes in staging of which parts have arrived.
    pub(super) staged: Vec<(DatasetName, Version, PathBuf)>,
    /// What repairs have set aside, also one that was killed.
    aside: BTreeSet<(DatasetName, Version)>,
}

impl Directories {
    pub(super) fn find(layout: &Layout) -> Result<Self> {
        let versions = Versions::new(layout.clone());
        let mut staged = Vec::new();
        for (dataset, version, path) in versions.staged()? {
            if !versions::entries(&layout.parts(&dataset, version))?.is_empty() {
                staged.push((dataset, version, path));
            }
        }
        let aside = versions.set_aside()?.into_iter();
        let aside = aside.map(|(dataset, version, _)| (dataset, version)).collect();
        Ok(Self { versions: versions.list()?, staged, aside })
    }

    /// Whether that version is on the disk, in its place or set aside.
    pub(super) fn has(&self, push: &(DatasetName, Version)) -> bool {
        let here = |(d, v, _): &(DatasetName, Version, PathBuf)| (d, v) == (&push.0, &push.1);
        self.versions.iter().any(here) || self.aside.contains(push)
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = (&DatasetName, Version)> {
        let named = self.versions.iter().chain(&self.staged).map(|(d, v, _)| (d, *v));
        named.chain(self.aside.iter().map(|(d, v)| (d, *v)))
    }
}
