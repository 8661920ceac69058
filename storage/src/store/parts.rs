//! The parts of a push on their way in: each arrives by itself, until there are too many or its push
//! is sealed.

use std::collections::HashMap;

use crate::error::{Code, Error, Result};
use crate::event::SealedPart;
use crate::names::{DatasetName, Version};
use crate::parts::{self, Part, PartWriter, WrittenPart};
use crate::poison::EvenPoisoned as _;

use super::Store;

/// How many parts that have not arrived an error names.
const MISSING_NAMED: usize = 1_000;

/// How many parts one push may have. The catalogue lists those of every version that is kept, and
/// all of it is in memory, and in each checkpoint of the journal.
pub const MAX_PARTS: usize = 20_000;

/// How many parts have arrived of pushes that still take some, as far as that was counted: to list
/// a directory for every part would take longer the more there are.
pub(super) type Arrived = HashMap<(DatasetName, Version), usize>;

impl Store {
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
        let mut arrived = self.arriving.lock().even_poisoned();
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

    /// Their names alone, which takes the reading of a directory and of nothing in it.
    pub fn part_names(&self, dataset: &DatasetName, version: Version) -> Result<Vec<String>> {
        self.catalog().entry(dataset, version)?;
        parts::names(&self.layout.parts(dataset, version))
    }

    /// One of them; `None` if it has not arrived, or is there no more. `name` is safe as a file
    /// name.
    pub fn part(
        &self,
        dataset: &DatasetName,
        version: Version,
        name: &str,
    ) -> Result<Option<Part>> {
        parts::find(&self.layout.parts(dataset, version), name)
    }

    /// The parts that a commit names, or all that have arrived.
    pub(super) fn choose_parts(
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
        let by_name: HashMap<&str, &SealedPart> =
            arrived.iter().map(|part| (part.sealed.name.as_str(), &part.sealed)).collect();
        let mut parts = Vec::with_capacity(chosen.len());
        let mut missing = Vec::new();
        for name in chosen {
            match by_name.get(name.as_str()) {
                Some(part) => parts.push((*part).clone()),
                None => missing.push(name.as_str()),
            }
        }
        if missing.is_empty() {
            return Ok(parts);
        }
        Err(Error::new(Code::PartsMissing, not_arrived(&missing, chosen.len())))
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::catalog::Admission;
    use crate::event::Cause;
    use crate::parts::PartSums;
    use crate::store::StoreOptions;

    /// A store with one push that takes parts.
    fn receiving(dir: &Path) -> (Store, DatasetName, Version) {
        let (store, _) = Store::open(dir, StoreOptions::default()).unwrap();
        let name = DatasetName::parse("a").unwrap();
        store.ensure_dataset(&name, Cause::default()).unwrap();
        let version =
            store.admit(&name, &Admission::default(), Cause::default()).unwrap().number().unwrap();
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
