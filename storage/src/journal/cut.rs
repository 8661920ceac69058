//! Cutting a journal: a torn append at start, and damage when a person has said so.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::record::Record;
use super::scan::{JournalReport, behind, read_whole};
use crate::durable;
use crate::error::{Error, Result};
use crate::layout;
use crate::step::step;

/// Puts `records` in the place of everything behind the sound part that `report` found. One
/// rename does it: whatever is killed before that, the journal is as damaged as it was, and
/// nothing starts on it. What is cut is kept: the whole file stays beside it under the name
/// that this answers, `journal.before-cut-<bytes>`.
pub(crate) fn cut(
    path: &Path,
    report: &JournalReport,
    records: &[Record],
) -> Result<Option<PathBuf>> {
    let mut bytes = read_whole(path)?;
    let kept = match report.fault {
        Some(_) => Some(keep(path, &bytes)?),
        None => None,
    };
    bytes.truncate(bytes.len() - behind(&bytes, report).len());
    for (record, seq) in records.iter().zip(report.last_seq + 1..) {
        bytes.extend_from_slice(&record.frame(seq));
    }
    durable::write_new(path, &bytes)?;
    Ok(kept)
}

/// Keeps a copy under a name that no other content has.
fn keep(path: &Path, bytes: &[u8]) -> Result<PathBuf> {
    let mut attempt = 1;
    loop {
        let kept = path.with_file_name(layout::kept_journal(bytes.len(), attempt));
        match std::fs::read(&kept) {
            Ok(there) if there == bytes => return Ok(kept),
            Ok(_) => attempt += 1,
            Err(e) if e.kind() == ErrorKind::NotFound => {
                durable::write_new(&kept, bytes)?;
                return Ok(kept);
            }
            Err(e) => return Err(Error::io("compare with the journal kept before", kept, e)),
        }
    }
}

/// Makes the file that short, durably.
pub(super) fn truncate(path: &Path, len: u64) -> Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .open(path)
        .map_err(|e| Error::io("open the journal to cut it", path, e))?;
    file.set_len(len).map_err(|e| Error::io("cut the journal", path, e))?;
    step("start.cut");
    durable::sync_file(&file, path)
}
