//! `tidetable repair`: a data directory whose journal is damaged, or older than its
//! versions, becomes one that starts again.
//!
//! Promised here:
//! - no number that may have been given is given again (invariant 1). Numbers are read from
//!   what is left of the cut part, and from the names of directories; for every record that
//!   cannot be read one more is taken as given. One pair of `Admitted` and `Failed` uses up
//!   all numbers below its own;
//! - no data is destroyed: what the shortened journal does not own, and a start would
//!   therefore remove, is set aside in `cut-<bytes>/`, with the whole journal beside it;
//! - the new journal takes the old one's place last, by one rename. Killed before that, the
//!   directory is as damaged as it was, nothing starts on it, and a second run does the rest.

mod given;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::catalog::{Catalog, Entry, State};
use crate::config::DatasetConfig;
use crate::durable;
use crate::erased::Secret;
use crate::error::{Error, Result};
use crate::event::{Admitted, Cause, DatasetDeleted, Deleted, Event, Failed, OfDataset};
use crate::journal::{self, JournalFault, JournalReport, Record, Salvaged};
use crate::layout::{self, Layout};
use crate::lock;
use crate::manifest::Manifest;
use crate::names::{DatasetName, Version};
use crate::versions::{self, HIGHEST};

use super::{now, recovery};
use given::{Directories, Given};

/// The code of a push that ended because the journal was cut.
const CODE: &str = "journal_cut";

/// What is wrong with a data directory, and what a repair does about it.
#[derive(Debug)]
pub struct Repair {
    /// The journal.
    pub journal: JournalReport,
    /// Where the whole journal is kept, once it is cut.
    pub kept: Option<PathBuf>,
    /// How many records behind the sound part cannot be read, at most.
    pub lost_records: u64,
    /// The last number of a dataset that counts as given, where the journal knows less.
    pub used_up: Vec<(DatasetName, Version)>,
    /// Pushes that end as failed: whether their versions were ready is not known any more.
    pub failed: Vec<(DatasetName, Version)>,
    /// Versions whose files are gone: recorded as deleted.
    pub deleted: Vec<(DatasetName, Version)>,
    /// Datasets that are held, since a start would activate a version by itself that may
    /// have been rolled back in the cut part.
    pub held: Vec<DatasetName>,
    /// Directories that nothing owns any more: from where, and to where.
    pub set_aside: Vec<(PathBuf, PathBuf)>,
    /// What every dataset serves then.
    pub standing: Vec<Standing>,
    /// Why a start refuses nevertheless, which no cut mends: the file by which erased keys are known
    /// is not as it was.
    pub erasure_key: Option<Error>,
}

/// What a dataset serves after a repair.
#[derive(Debug, PartialEq, Eq)]
pub struct Standing {
    /// Which.
    pub dataset: DatasetName,
    /// The current version.
    pub current: Option<Version>,
    /// Whether its files are not there: roll back, or activate another.
    pub files_missing: bool,
    /// What the last activation says that can still be read in the cut part.
    pub cut: Option<Version>,
}

impl Repair {
    /// Whether there is anything to do.
    pub fn is_needed(&self) -> bool {
        self.journal.fault.is_some() || !self.used_up.is_empty() || !self.set_aside.is_empty()
    }

    /// Whether a start refuses. An append that a crash cut short it mends by itself; a journal that has lost
    /// more than that is older than what is on the disk.
    pub fn stops_a_start(&self) -> bool {
        let is_damaged = matches!(self.journal.fault, Some(JournalFault::Damaged(_)));
        is_damaged || self.is_behind()
    }

    /// Whether the disk is of a later time than the sound part of the journal.
    fn is_behind(&self) -> bool {
        !self.used_up.is_empty() || !self.set_aside.is_empty() || !self.failed.is_empty()
    }
}

/// Says what [`repair`] would do, and changes nothing.
pub fn repair_plan(root: &Path) -> Result<Repair> {
    Plan::make(root).map(|plan| plan.repair)
}

/// Cuts the journal behind its sound part and makes the directory one that a server starts
/// on; does nothing where nothing is wrong. [`crate::Code::DirectoryInUse`] while a process
/// has the directory: what it is just appending would look torn.
pub fn repair(root: &Path) -> Result<Repair> {
    let layout = Layout::new(root);
    let _lock = lock::take(&layout)?;
    let mut plan = Plan::make(root)?;
    if !plan.repair.is_needed() {
        return Ok(plan.repair);
    }
    for (from, to) in &plan.repair.set_aside {
        if let Some(above) = to.parent() {
            durable::create_dir_all(above)?;
        }
        durable::rename(from, to)?;
    }
    let kept = journal::cut(&layout.journal(), &plan.repair.journal, &plan.records)?;
    plan.repair.kept = kept;
    Ok(plan.repair)
}

/// The sound part of the journal as a catalogue, and what is wrong behind it. Takes no lock:
/// beside a server it is what that one knew a moment ago.
pub fn read_catalog(root: &Path) -> Result<(Catalog, JournalReport)> {
    catalog_of(&Layout::new(root).journal())
}

/// What the journal, as `catalog` was read from it, says of the version directory at `dir`, if that
/// is of a later time than it: then no server starts, and [`repair`] is for that. Beside a server the
/// directory may be younger than the reading: believe it once the journal, read anew, says the same.
pub fn ahead_of_journal(
    catalog: &Catalog,
    root: &Path,
    (dataset, version): (&DatasetName, Version),
    dir: &Path,
) -> Option<String> {
    let is_ahead = recovery::is_ahead(catalog, &Layout::new(root), (dataset, version), dir);
    is_ahead.then(|| recovery::said_of(catalog, dataset, version))
}

fn catalog_of(journal: &Path) -> Result<(Catalog, JournalReport)> {
    let mut catalog = Catalog::default();
    let fold = |seq, record| recovery::fold(&mut catalog, journal, seq, record);
    let report = journal::read(journal, fold)?;
    Ok((catalog, report))
}

/// What is to be done, and the catalogue that comes of it.
struct Plan {
    layout: Layout,
    /// Where directories are set aside.
    aside: PathBuf,
    catalog: Catalog,
    records: Vec<Record>,
    repair: Repair,
}

impl Plan {
    fn make(root: &Path) -> Result<Self> {
        let layout = Layout::new(root);
        let (catalog, report) = catalog_of(&layout.journal())?;
        let damaged = matches!(report.fault, Some(JournalFault::Damaged(_)));
        let aside = layout.cut(report.file_bytes);
        let repair = Repair {
            kept: None,
            lost_records: 0,
            used_up: Vec::new(),
            failed: Vec::new(),
            deleted: Vec::new(),
            held: Vec::new(),
            set_aside: Vec::new(),
            standing: Vec::new(),
            erasure_key: None,
            journal: report,
        };
        let mut plan = Self { layout, aside, catalog, records: Vec::new(), repair };
        let mut salvaged = Salvaged::default();
        if damaged {
            salvaged = journal::salvage(&plan.layout.journal(), &plan.repair.journal)?;
            plan.repair.lost_records = salvaged.lost;
        }
        plan.keep_what_protects(&salvaged);
        if let Some(name) = plan.catalog.erasures().secret() {
            plan.repair.erasure_key = Secret::named(&plan.layout, name).err();
        }
        let there = Directories::find(&plan.layout)?;
        let unknown = there.numbers().any(|(d, v)| !plan.catalog.was_admitted(d, v));
        let is_ahead = |(d, v, path): &(DatasetName, Version, PathBuf)| {
            recovery::is_ahead(&plan.catalog, &plan.layout, (d, *v), path)
        };
        let behind = unknown || there.versions.iter().any(is_ahead);
        // Without either, what nobody owns was left by a crash, as a start expects it.
        let all = damaged || behind;
        plan.use_up(&salvaged, all.then_some(&there))?;
        if all {
            plan.settle(&there);
            plan.hold_what_would_activate();
            plan.set_aside(there);
        }
        plan.stand(&salvaged);
        Ok(plan)
    }

    /// What can still be read of who was let in, who no longer is, and what was erased, holds on: a
    /// token that was revoked must not be good again, and no erased key be given.
    fn keep_what_protects(&mut self, salvaged: &Salvaged) {
        for (_, record) in &salvaged.records {
            let Record::Event(cause, event) = record else { continue };
            let is_of_tokens = matches!(**event, Event::TokenCreated(_) | Event::TokenRevoked(_));
            if is_of_tokens || event.scopes().is_some() {
                self.catalog.apply(self.catalog.seq() + 1, cause, event);
                self.records.push(Record::Event(cause.clone(), event.clone()));
            }
        }
    }

    /// No number that was or may have been given comes again.
    fn use_up(&mut self, salvaged: &Salvaged, there: Option<&Directories>) -> Result<()> {
        let mut given = Given::of(&self.catalog, salvaged);
        let directories = there.iter().flat_map(|there| there.numbers());
        directories.for_each(|(dataset, version)| given.note(dataset, version.0));
        // Also those of earlier cuts: of one that did not do this, or whose record of what it
        // used up is itself cut now.
        for (name, path) in versions::entries(self.layout.root())? {
            if !layout::is_kept_journal(&name) {
                continue;
            }
            let (catalog, report) = catalog_of(&path)?;
            let mut salvaged = Salvaged::default();
            if matches!(report.fault, Some(JournalFault::Damaged(_))) {
                salvaged = journal::salvage(&path, &report)?;
            }
            let before = Given::of(&catalog, &salvaged).last();
            before.iter().for_each(|(dataset, number)| given.note(dataset, *number));
        }
        let last = given.last();
        for (dataset, number) in last {
            let version = Version(number.min(HIGHEST));
            if number > 0 && !self.catalog.was_admitted(&dataset, version) {
                self.use_up_to(&dataset, version);
                self.repair.used_up.push((dataset, version));
            }
        }
        Ok(())
    }

    fn use_up_to(&mut self, dataset: &DatasetName, version: Version) {
        let unknown = self.catalog.plan_configure(dataset, &DatasetConfig::default());
        let created = unknown.ok().flatten().filter(|event| matches!(event, Event::Created(_)));
        let is_unknown = created.is_some();
        created.into_iter().for_each(|event| self.add(event));
        self.add(Event::Admitted(Admitted {
            dataset: dataset.clone(),
            version,
            label: None,
            as_of: None,
            options: "{}".to_owned(),
            activate: false,
            whole: true,
        }));
        let detail = "the journal was cut: this number, and those before it that are not known, \
                      may have been given, and are not given again";
        self.add(failed(dataset, version, detail));
        if is_unknown {
            self.add(Event::DatasetDeleted(DatasetDeleted { dataset: dataset.clone() }));
        }
    }

    /// What the catalogue says of a version, and what is on the disk, agree again.
    fn settle(&mut self, there: &Directories) {
        let (mut failing, mut gone) = (Vec::new(), Vec::new());
        for (name, dataset) in self.catalog.datasets() {
            for (&version, entry) in &dataset.versions {
                let push = (name.clone(), version);
                if entry.state.is_pushing() && there.has(&push) {
                    failing.push(push);
                } else if entry.state.has_files()
                    && dataset.current != Some(version)
                    && !is_whole(&entry.place(&self.layout, name, version))
                {
                    gone.push(push);
                }
            }
        }
        for (dataset, version) in &failing {
            let detail = "the journal was cut behind the beginning of this push, and its version \
                          is on the disk: it may have been served under this number. Push again";
            self.add(failed(dataset, *version, detail));
        }
        for (dataset, version) in &gone {
            let (dataset, version) = (dataset.clone(), *version);
            self.add(Event::Deleted(Deleted { dataset, version }));
        }
        self.repair.failed = failing;
        self.repair.deleted = gone;
    }

    /// A version that is ready, and whose activation may have been cut together with the
    /// rollback from it, must not come back by itself.
    fn hold_what_would_activate(&mut self) {
        let due = self
            .catalog
            .datasets()
            .filter(|(_, dataset)| dataset.hold.is_none() && dataset.release_target().is_some());
        let due: Vec<DatasetName> = due.map(|(name, _)| name.clone()).collect();
        for dataset in &due {
            self.add(Event::Held(OfDataset { dataset: dataset.clone() }));
        }
        self.repair.held = due;
    }

    /// What a start would remove is kept elsewhere.
    fn set_aside(&mut self, there: Directories) {
        let state = |d: &DatasetName, v| self.catalog.entry(d, v).ok().map(|entry| entry.state);
        for (dataset, version, path) in there.versions {
            let entry = self.catalog.entry(&dataset, version).ok();
            let is_its = |e: &Entry| path == e.place(&self.layout, &dataset, version);
            if !entry.is_some_and(|e| e.state.has_files() && is_its(e)) {
                let name = path.file_name().unwrap_or_default();
                let to = self.aside.join(dataset.as_str()).join(name);
                self.repair.set_aside.push((path, to));
            }
        }
        for (dataset, version, path) in there.staged {
            if !state(&dataset, version).is_some_and(State::is_pushing) {
                let to =
                    Layout::new(&self.aside).staging().join(path.file_name().unwrap_or_default());
                self.repair.set_aside.push((path, to));
            }
        }
    }

    fn stand(&mut self, salvaged: &Salvaged) {
        // The last of each dataset, also of those that were made in the cut part.
        let mut activated = BTreeMap::new();
        for (_, record) in &salvaged.records {
            let Record::Event(_, event) = record else { continue };
            activated
                .extend(event.activations().iter().map(|swap| (swap.dataset.clone(), swap.to)));
        }
        for (name, dataset) in self.catalog.datasets() {
            let place = |v| dataset.versions.get(&v).map(|e| e.place(&self.layout, name, v));
            let missing = |v| !place(v).is_some_and(|place| is_whole(&place));
            self.repair.standing.push(Standing {
                dataset: name.clone(),
                current: dataset.current,
                files_missing: dataset.current.is_some_and(missing),
                cut: activated.remove(name),
            });
        }
        let forgotten = activated.into_iter().map(|(dataset, cut)| Standing {
            dataset,
            current: None,
            files_missing: false,
            cut: Some(cut),
        });
        self.repair.standing.extend(forgotten);
    }

    fn add(&mut self, event: Event) {
        let reason = Some("the journal was cut by `tidetable repair`".to_owned());
        let cause = Cause { at: now(), reason, ..Cause::by_the_server() };
        self.catalog.apply(self.catalog.seq() + 1, &cause, &event);
        self.records.push(Record::Event(Box::new(cause), Box::new(event)));
    }
}

fn failed(dataset: &DatasetName, version: Version, detail: &str) -> Event {
    Event::Failed(Failed {
        dataset: dataset.clone(),
        version,
        code: CODE.to_owned(),
        detail: detail.to_owned(),
        problems: Vec::new(),
    })
}

/// Whether the files that a version is made of are there; not whether they are sound. A
/// manifest that cannot be read is damage, which is another matter. So is a disk that does not say:
/// what counts as gone is recorded as deleted.
fn is_whole(dir: &Path) -> bool {
    let is_there = |path: PathBuf| path.try_exists().unwrap_or(true);
    match Manifest::read(dir) {
        Ok((manifest, _)) => {
            let dictionary = manifest.dictionary.is_none() || is_there(layout::dictionary(dir));
            dictionary && manifest.files.iter().all(|file| is_there(dir.join(&file.name)))
        }
        Err(_) => is_there(layout::manifest(dir)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_disk_does_not_say_does_not_count_as_gone() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_whole(dir.path()));
        // Nobody may follow it, whoever the tests run as.
        std::os::unix::fs::symlink(layout::MANIFEST, layout::manifest(dir.path())).unwrap();
        assert!(is_whole(dir.path()));
    }
}
