//! Retention: giving up versions that nobody needs any more, and pushes that nobody goes
//! on with.

use crate::catalog::Catalog;
use crate::error::{Code, Error, Result};
use crate::event::{Cause, Failed};
use crate::journal::MAX_CHECKPOINT_BYTES;
use crate::names::{DatasetName, Version};
use crate::parts;
use crate::space::require_space;
use crate::step::step;

use super::{Store, now};

/// What a sweep gave up.
#[derive(Debug, Default)]
pub struct Swept {
    /// Versions deleted.
    pub deleted: Vec<(DatasetName, Version)>,
    /// Pushes that waited for a part too long.
    pub abandoned: Vec<(DatasetName, Version)>,
}

impl Store {
    /// Deletes what is due, and shortens the journal if it has grown long. Run it after an
    /// activation and every half minute or so: grace times end by themselves.
    pub fn sweep(&self) -> Result<Swept> {
        self.sweep_at(now())
    }

    /// The same, as at another time.
    pub fn sweep_at(&self, now: u64) -> Result<Swept> {
        let mut swept = Swept::default();
        let keep = &self.options.keep;
        let due = self.catalog().due_for_deletion(keep, now);
        step("sweep.begun");
        for (dataset, version) in due {
            // Somebody may have activated or deleted it meanwhile.
            let due = |catalog: &Catalog| catalog.is_due(&dataset, version, keep, now);
            if self.delete_if(&dataset, version, Cause::by_the_server(), due)? {
                swept.deleted.push((dataset, version));
            }
        }
        let abandoned = self.catalog().abandoned(keep, now);
        for (dataset, version) in abandoned {
            if self.fail_abandoned(&dataset, version, now).is_ok_and(|done| done) {
                swept.abandoned.push((dataset, version));
            }
        }
        self.checkpoint_if_large();
        Ok(swept)
    }

    /// Ends a push that nobody goes on with, unless it was committed meanwhile; answers whether it
    /// was done.
    fn fail_abandoned(&self, dataset: &DatasetName, version: Version, now: u64) -> Result<bool> {
        let last = parts::last_change(&self.layout.parts(dataset, version)).unwrap_or_default();
        if now.saturating_sub(last) <= self.options.keep.receiving {
            // It began long ago, and its parts still come.
            return Ok(false);
        }
        let failed = Failed {
            dataset: dataset.clone(),
            version,
            code: "abandoned".to_owned(),
            detail: "its parts were never committed: push again".to_owned(),
            problems: Vec::new(),
        };
        let keep = &self.options.keep;
        let still = |catalog: &Catalog| catalog.is_abandoned(dataset, version, keep, now);
        self.fail_if(failed, Cause::by_the_server(), still)
    }

    /// A checkpoint, worth it or not.
    #[cfg(test)]
    pub(crate) fn checkpoint_now(&self) {
        let mut writer = self.writer();
        let json = serde_json::to_string(&*self.catalog()).unwrap();
        writer.journal.checkpoint(json).unwrap();
    }

    /// A checkpoint only saves space and the time of the next start: a failure, on a full
    /// disk for instance, is reported and stops nothing.
    pub(super) fn checkpoint_if_large(&self) {
        let has_room = |bytes| require_space(self.layout.root(), bytes);
        self.checkpoint_within(MAX_CHECKPOINT_BYTES, has_room);
    }

    /// The same, if the catalogue has `most` bytes of JSON and the disk has the room: what pushes
    /// leave alone there is for the journal's next records.
    fn checkpoint_within(&self, most: u64, has_room: impl FnOnce(u64) -> Result<()>) {
        let mut writer = self.writer();
        let journal_bytes = writer.journal.bytes();
        if journal_bytes <= writer.checkpoint_from || writer.journal.is_suspect() {
            return;
        }
        let json = serde_json::to_string(&*self.catalog()).expect("the catalogue is plain data");
        // A catalogue that is itself about as large would be written anew at every sweep, so
        // the journal first grows to twice its size.
        let catalog_bytes = json.len() as u64;
        let made = if catalog_bytes > most {
            Err(outgrown(catalog_bytes, most).at(self.layout.journal()))
        } else if catalog_bytes * 2 <= journal_bytes {
            has_room(catalog_bytes).and_then(|()| writer.journal.checkpoint(json))
        } else {
            Ok(())
        };
        let mut next = catalog_bytes * 2;
        if let Err(error) = made {
            (self.options.report)(&error);
            // What did not work now does not at the next sweep either, and all changes wait while
            // the catalogue is written out.
            next = next.max(journal_bytes * 2);
        }
        self.show_journal(&writer.journal);
        writer.checkpoint_from = self.options.checkpoint_bytes.max(next);
    }
}

/// The error of a catalogue that no checkpoint can hold.
fn outgrown(bytes: u64, most: u64) -> Error {
    let text = format!(
        "what is known of all versions takes {bytes} bytes, and a checkpoint of the journal has {most} \
         at most: the journal is not shortened any more, and each start reads all of it. Delete \
         datasets, or push in fewer parts; it is tried again when the journal has doubled"
    );
    Error::new(Code::WrongState, text)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::catalog::{Admission, State};
    use crate::config::DatasetConfig;
    use crate::parts::PartSums;
    use crate::store::StoreOptions;

    /// One dataset whose settings were changed so often that a checkpoint is worth it.
    fn changed_often(dir: &std::path::Path, report: fn(&Error)) -> Store {
        let options = StoreOptions { checkpoint_bytes: 1, report, ..StoreOptions::default() };
        let (store, _) = Store::open(dir, options).unwrap();
        change(&store, 40);
        store
    }

    fn change(store: &Store, times: usize) {
        for _ in 0..times {
            // Each time another one: what changes nothing is no event.
            let description = Some(format!("{:4000}", store.catalog().seq()));
            let config = DatasetConfig { description, ..DatasetConfig::default() };
            let name = DatasetName::parse("a").unwrap();
            store.configure(&name, &config, Cause::default()).unwrap();
        }
    }

    #[test]
    fn what_was_committed_since_it_looked_abandoned_is_not_failed() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path(), StoreOptions::default()).unwrap();
        let a = DatasetName::parse("a").unwrap();
        store.ensure_dataset(&a, Cause::default()).unwrap();
        let admit =
            || store.admit(&a, &Admission::default(), Cause::default()).unwrap().number().unwrap();
        let (committed, waiting) = (admit(), admit());
        let later = now() + 2 * store.options.keep.receiving;
        assert_eq!(store.catalog().abandoned(&store.options.keep, later).len(), 2);
        let part = store.begin_part(&a, committed, "1").unwrap();
        store.receive_part(&a, committed, part.close(PartSums::default())).unwrap();
        store.seal(&a, committed, true, None, Cause::default()).unwrap();
        assert!(!store.fail_abandoned(&a, committed, later).unwrap());
        assert!(!store.fail_abandoned(&a, waiting, now()).unwrap(), "it is not old enough");
        // One that still sends, however long ago it began.
        let parts = std::fs::File::open(store.layout().parts(&a, waiting)).unwrap();
        let began = std::time::SystemTime::now();
        parts.set_modified(began + std::time::Duration::from_millis(later - now())).unwrap();
        assert!(!store.fail_abandoned(&a, waiting, later).unwrap());
        parts.set_modified(began).unwrap();
        assert!(store.fail_abandoned(&a, waiting, later).unwrap());
        let state = |version| store.catalog().entry(&a, version).unwrap().state;
        assert_eq!((state(committed), state(waiting)), (State::Building, State::Failed));
        assert!(store.layout().parts(&a, committed).join("1.part").exists());
    }

    #[test]
    fn a_catalogue_that_no_checkpoint_holds_is_told_once_and_left_alone_for_long() {
        static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());
        let dir = tempfile::tempdir().unwrap();
        let store = changed_often(dir.path(), |e| TOLD.lock().unwrap().push(e.to_string()));
        let (bytes, _) = store.journal_state();
        for _ in 0..3 {
            store.checkpoint_within(100, |_| panic!("it is not written"));
            change(&store, 1);
        }
        assert_eq!(store.writer().checkpoint_from, bytes * 2);
        let told = TOLD.lock().unwrap().clone();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("has 100 at most"), "{told:?}");
        // When the journal has doubled it is tried again, and may work then.
        change(&store, 50);
        store.checkpoint_if_large();
        assert!(store.journal_state().0 < bytes);
    }

    #[test]
    fn a_checkpoint_leaves_the_reserve_of_the_disk_alone() {
        static TOLD: Mutex<Vec<Code>> = Mutex::new(Vec::new());
        let dir = tempfile::tempdir().unwrap();
        let store = changed_often(dir.path(), |e| TOLD.lock().unwrap().push(e.code()));
        let (bytes, _) = store.journal_state();
        for _ in 0..3 {
            store.checkpoint_within(MAX_CHECKPOINT_BYTES, |needed| {
                assert!((4000..bytes).contains(&needed), "{needed} of {bytes}");
                Err(Error::new(Code::DiskFull, "the disk is full"))
            });
        }
        assert_eq!(*TOLD.lock().unwrap(), [Code::DiskFull]);
        assert_eq!(
            (store.journal_state(), store.writer().checkpoint_from),
            ((bytes, false), bytes * 2)
        );
    }
}
