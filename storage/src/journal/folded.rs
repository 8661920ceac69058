//! What checkpoints have folded: the journal before each, kept for the audit.
//!
//! A checkpoint puts another file in the place of the journal. Before that, the file that
//! there is gets a second name, `audit/changes-<first event>.journal`: no byte is copied, and a
//! full disk is no hindrance. Killed between the two, the journal has both names, goes on, and
//! is kept under the same name by the next checkpoint.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::durable;
use crate::error::{Error, Result};
use crate::layout;
use crate::versions;

/// Keeps the journal at `path`, which holds the events after `folded` up to `last`.
pub(super) fn keep(path: &Path, folded: u64, last: u64) -> Result<()> {
    if last == folded {
        return Ok(());
    }
    let dir = layout::audit_beside(path);
    durable::create_dir_all(&dir)?;
    let mut attempt = 1;
    loop {
        let kept = dir.join(layout::folded_journal(folded + 1, attempt));
        match held_by(&kept, path)? {
            Held::Nothing => return durable::link(path, &kept),
            // Killed before the name was on the disk, perhaps.
            Held::Same => return durable::sync_dir(&dir),
            // In a copy of the directory they are two files. The journal has all of it.
            Held::Beginning => {
                fs::remove_file(&kept).map_err(|e| Error::io("replace", &kept, e))?;
                return durable::link(path, &kept);
            }
            // From before a repair.
            Held::Other => attempt += 1,
        }
    }
}

/// The files that are kept for the journal at `path`, with the first event of each, in order.
pub(crate) fn folded_files(path: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let entries = versions::entries(&layout::audit_beside(path))?.into_iter();
    let mut files: Vec<((u64, u32), PathBuf)> =
        entries.filter_map(|(name, path)| Some((layout::folded_of(&name)?, path))).collect();
    files.sort();
    Ok(files.into_iter().map(|((first, _), path)| (first, path)).collect())
}

/// What is there already under the name that a journal is to be kept under.
enum Held {
    Nothing,
    Same,
    Beginning,
    Other,
}

fn held_by(kept: &Path, journal: &Path) -> Result<Held> {
    let failed = |e| Error::io("compare what is kept with the journal", kept, e);
    let there = match kept.metadata() {
        Ok(there) => there,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Held::Nothing),
        Err(e) => return Err(failed(e)),
    };
    let own = journal.metadata().map_err(failed)?;
    if (there.dev(), there.ino()) == (own.dev(), own.ino()) {
        return Ok(Held::Same);
    }
    let before = fs::read(kept).map_err(failed)?;
    let mut head = Vec::new();
    let journal = File::open(journal).map_err(failed)?;
    journal.take(before.len() as u64).read_to_end(&mut head).map_err(failed)?;
    Ok(if head == before { Held::Beginning } else { Held::Other })
}
