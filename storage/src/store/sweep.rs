//! Retention: giving up versions that nobody needs any more, and pushes that nobody goes
//! on with.

use crate::catalog::Catalog;
use crate::error::Result;
use crate::event::Failed;
use crate::journal::MAX_CHECKPOINT_BYTES;
use crate::names::{DatasetName, Version};
use crate::step::step;

use super::recovery::by_the_server;
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
            if self.delete_if(&dataset, version, by_the_server(), due)? {
                swept.deleted.push((dataset, version));
            }
        }
        let abandoned = self.catalog().abandoned(keep, now);
        for (dataset, version) in abandoned {
            let failed = Failed {
                dataset: dataset.clone(),
                version,
                code: "abandoned".to_owned(),
                detail: "its parts were never committed: push again".to_owned(),
                problems: Vec::new(),
            };
            if self.fail(failed, by_the_server()).is_ok() {
                swept.abandoned.push((dataset, version));
            }
        }
        self.checkpoint_if_large();
        Ok(swept)
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
        let mut writer = self.writer();
        if writer.journal.bytes() <= writer.checkpoint_from || writer.journal.is_suspect() {
            return;
        }
        let json = serde_json::to_string(&*self.catalog()).expect("the catalogue is plain data");
        // A catalogue that is itself about as large would be written anew at every sweep, so
        // the journal first grows to twice its size.
        let catalog_bytes = json.len() as u64;
        let worth_it = catalog_bytes * 2 <= writer.journal.bytes();
        if worth_it
            && catalog_bytes <= MAX_CHECKPOINT_BYTES
            && let Err(error) = writer.journal.checkpoint(json)
        {
            (self.options.report)(&error);
        }
        self.show_journal(&writer.journal);
        writer.checkpoint_from = self.options.checkpoint_bytes.max(catalog_bytes * 2);
    }
}
