//! Versions on disk: publish (rename into place), list. The reaper removes them.
//!
//! Invariant kept here: a version's directory appears whole, by one rename, and is never
//! written to again (invariant 1). What the journal does not own may be there after a
//! crash; it is found by [`Versions::list`] and removed at start.

use std::fs;
use std::path::{Path, PathBuf};

use crate::durable;
use crate::error::{Error, Result};
use crate::layout::{self, Layout};
use crate::names::{DatasetName, Version};
use crate::step::step;
use crate::verify::VerifiedSnapshot;

/// No server gave so high a number: a directory of that name is somebody else's.
pub(crate) const HIGHEST: u64 = 1 << 48;

/// The published versions of a data directory.
#[derive(Clone, Debug)]
pub(crate) struct Versions {
    layout: Layout,
}

impl Versions {
    pub(crate) fn new(layout: Layout) -> Self {
        Self { layout }
    }

    /// Moves a verified snapshot to its place. From here on its files are there after
    /// power loss, but nothing speaks of them until the journal does.
    pub(crate) fn publish(
        &self,
        snapshot: &VerifiedSnapshot,
        dataset: &DatasetName,
        version: Version,
    ) -> Result<PathBuf> {
        self.put(snapshot, dataset, version, 0)
    }

    /// The same, in the place of a version that is rewritten for the `generation`-th time.
    pub(crate) fn put(
        &self,
        snapshot: &VerifiedSnapshot,
        dataset: &DatasetName,
        version: Version,
        generation: u32,
    ) -> Result<PathBuf> {
        let place = self.layout.generation(dataset, version, generation);
        durable::create_dir_all(&self.layout.dataset(dataset))?;
        // A crash between the rename and the journal's record leaves a directory that
        // nobody owns; this push was resumed, and is the number's only owner.
        durable::remove_dir_all(&place)?;
        step("publish.cleared");
        durable::rename(snapshot.dir(), &place)?;
        Ok(place)
    }

    /// Every version directory there is, owned or not.
    pub(crate) fn list(&self) -> Result<Vec<(DatasetName, Version, PathBuf)>> {
        list(&self.layout.datasets())
    }

    /// The versions and pushes that repairs have set aside, under numbers that a server may
    /// have given.
    pub(crate) fn set_aside(&self) -> Result<Vec<(DatasetName, Version, PathBuf)>> {
        let mut found = Vec::new();
        for (name, dir) in directories(self.layout.root())? {
            if !layout::is_cut(&name) {
                continue;
            }
            found.extend(list(&dir)?);
            for (name, path) in directories(&Layout::new(dir).staging())? {
                found.extend(layout::push_of(&name).map(|(dataset, v)| (dataset, v, path)));
            }
        }
        found.retain(|(_, version, _)| version.0 <= HIGHEST);
        Ok(found)
    }

    /// Every directory in staging that is named after a push.
    pub(crate) fn staged(&self) -> Result<Vec<(DatasetName, Version, PathBuf)>> {
        let staged = directories(&self.layout.staging())?.into_iter();
        let ours = staged.filter_map(|(name, path)| {
            let (dataset, version) = layout::push_of(&name)?;
            Some((dataset, version, path))
        });
        Ok(ours.collect())
    }

    /// What else is in staging. No server made it, so none may remove it.
    pub(crate) fn strangers(&self) -> Result<Vec<PathBuf>> {
        let staged = entries(&self.layout.staging())?.into_iter();
        let is_ours =
            |(name, path): &(String, PathBuf)| layout::push_of(name).is_some() && path.is_dir();
        Ok(staged.filter(|entry| !is_ours(entry)).map(|(_, path)| path).collect())
    }
}

/// Every `<dataset>/<version>` and `<dataset>/<version>.<generation>` beneath a directory.
fn list(dir: &Path) -> Result<Vec<(DatasetName, Version, PathBuf)>> {
    let mut found = Vec::new();
    for (name, path) in directories(dir)? {
        let Ok(dataset) = DatasetName::parse(&name) else { continue };
        for (name, path) in directories(&path)? {
            if let Some((version, _)) = layout::version_of(&name) {
                found.push((dataset.clone(), version, path));
            }
        }
    }
    Ok(found)
}

/// The directories in a directory. What else is there, a file of some tool or file system
/// (`.DS_Store`, `.nfs…`), is none of ours.
pub(crate) fn directories(dir: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut found = entries(dir)?;
    found.retain(|(_, path)| path.is_dir());
    Ok(found)
}

/// What is in a directory, by name; nothing if the directory is not there.
pub(crate) fn entries(dir: &Path) -> Result<Vec<(String, PathBuf)>> {
    let failed = |e| Error::io("list the directory", dir, e);
    let listing = match fs::read_dir(dir) {
        Ok(listing) => listing,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(failed(e)),
    };
    let mut found = Vec::new();
    for entry in listing {
        let entry = entry.map_err(failed)?;
        found.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
    }
    found.sort();
    Ok(found)
}
