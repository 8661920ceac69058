//! A version that is to be swapped in: opened, warmed, and looked into if its gates must be checked
//! again, all outside the lock; and under it, whether that holds still.

use std::sync::Arc;

use crate::error::{Code, Error, Result};
use crate::event::{Cause, Event, Rejected};
use crate::gates;
use crate::live::Opened;
use crate::names::{DatasetName, Version};

use super::examine::Examined;
use super::publish::refused;
use super::{Store, Writer};

/// A version that may be swapped in: open, warm, and looked into if it had to be.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) version: Version,
    examined: Option<Examined>,
}

/// What a rollback warms when it is done.
pub(super) struct Warming {
    next: Arc<Opened>,
    left: Option<Arc<Opened>>,
}

impl Warming {
    /// Warms a version that serves already: a rollback must not wait for that.
    pub(super) fn begin(self) {
        let Self { next, left } = self;
        let warm = move || left.iter().for_each(|left| next.warm_like(left));
        // Without a thread for it, the lookups themselves read in what they need.
        let _ = std::thread::Builder::new().name("warm".to_owned()).spawn(warm);
    }
}

impl Store {
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

    /// The same for a rollback, which must be quick: nothing is read back, and what is to be warmed
    /// is returned, for after the swap.
    pub(super) fn prepare_unwarmed(
        &self,
        dataset: &DatasetName,
        version: Version,
    ) -> Result<(Prepared, Warming)> {
        let next = self.open_version(dataset, version)?;
        let left = self.current_if_open(dataset)?;
        let prepared = self.look_into(dataset, &next)?;
        Ok((prepared, Warming { next, left }))
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
        slot.open_or_wait().map_err(|error| error.of_opening(dataset, version))
    }

    /// What serves now, if that takes no opening: nobody waits here for what is being left.
    fn current_if_open(&self, dataset: &DatasetName) -> Result<Option<Arc<Opened>>> {
        let served = self.live.get(dataset)?;
        let opened = served.current.as_ref().and_then(|slot| slot.if_open());
        Ok(opened.and_then(std::result::Result::ok).cloned())
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
    pub(super) fn is_open_still(&self, dataset: &DatasetName, version: Version) -> Result<bool> {
        let served = self.live.get(dataset)?;
        let opened = served.kept.get(&version).and_then(|slot| slot.if_open());
        Ok(matches!(opened, Some(Ok(_))))
    }

    /// Checks the gates of a ready version again if another version is current than they
    /// compared it with, or they may be set otherwise. `false`: that is so since it was looked into;
    /// prepare it again.
    pub(super) fn gate_again(
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
