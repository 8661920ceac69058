//! The journal: every event, in order, on the disk. It is the truth about what is served,
//! and the audit trail.
//!
//! Invariants kept here:
//! - one fsynced record is the commit point of what it says (invariant 2);
//! - what [`Journal::append`] returned for survives power loss (invariant 6);
//! - after an append whose outcome is unknown, nothing more is appended until a restart
//!   has read the file anew;
//! - at start only a tail that is physically short, all zeros, or one append that lacks
//!   whole sectors is taken for a torn append and cut. Anything else that does not fit its checksum
//!   stops the start: a journal that lost an activation would serve the wrong version and say nothing;
//! - what a checkpoint folds is kept (see `folded.rs`): no change is lost for the audit;
//! - each event is chained to all before it, so that an event that was taken away or changed
//!   gives all later ones another chain.
//!
//! A file is `TIDEJRNL`, a format number (u32), then records (see `record.rs`). `scan.rs` reads it, `cut.rs`
//! cuts it, `salvage.rs` says what can be read behind damage.

mod cut;
mod folded;
mod record;
mod salvage;
mod scan;

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;

pub(crate) use cut::cut;
pub(crate) use folded::folded_files;
pub(crate) use record::Record;
pub(crate) use salvage::Salvaged;
pub use scan::{JournalFault, JournalReport};
pub(crate) use scan::{read, read_chained, refuse_other, salvage};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use scan::{salvage_bytes, scan_bytes};

use crate::digest::Digest;
use crate::durable;
use crate::error::{Code, Error, Result};
#[cfg(feature = "faults")]
use crate::planted::{self, Bug};
use crate::step::step;
use cut::truncate;
use record::{HEAD, TAIL};
use scan::{link, scan};

/// Disk space kept allocated behind the end, so that a full disk stops neither an
/// activation nor a rollback.
const RESERVE: u64 = 1 << 20;

/// The largest catalogue that a checkpoint can hold, in bytes of JSON.
pub(crate) const MAX_CHECKPOINT_BYTES: u64 = record::MAX_BODY as u64 - 1024;

/// The journal of a data directory, open for appending.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    path: PathBuf,
    end: u64,
    reserved: u64,
    seq: u64,
    /// The last event that the checkpoint at the head of the file stands for; 0 without one.
    folded: u64,
    /// Of the last event.
    chain: Digest,
    /// Set when it is not known what is on the disk.
    suspect: bool,
    /// A record that was acknowledged and is not written yet.
    #[cfg(feature = "faults")]
    owed: Vec<u8>,
}

impl Journal {
    /// Opens the journal at `path`, or makes an empty one, and gives every record to
    /// `each` in order. A torn tail is cut, and said in the answer (bytes cut).
    pub(crate) fn open(
        path: &Path,
        mut each: impl FnMut(u64, Record) -> Result<()>,
    ) -> Result<(Self, Option<u64>)> {
        if !path.try_exists().map_err(|e| Error::io("look for the journal", path, e))? {
            durable::write_new(path, &scan::magic())?;
            step("start.journal_made");
        }
        let report = scan(path, &mut |seq, record, _| each(seq, record))?;
        let mut cut = None;
        match &report.fault {
            None => {}
            Some(JournalFault::Damaged(what)) => return Err(damaged(path, &report, what)),
            Some(JournalFault::Torn) => {
                truncate(path, report.sound_bytes)?;
                cut = Some(report.file_bytes - report.sound_bytes);
            }
        }
        let mut file = OpenOptions::new()
            .write(true)
            .open(path)
            .map_err(|e| Error::io("open the journal for appending", path, e))?;
        let end = report.sound_bytes;
        // A process that was killed between a write and its fsync has left records that are in
        // memory alone, and perhaps the file's name. What this start goes by must be on the disk
        // before anything is done or told because of it.
        durable::sync_file(&file, path)?;
        durable::sync_parent(path)?;
        step("start.journal_synced");
        file.seek(SeekFrom::Start(end)).map_err(|e| Error::io("seek in the journal", path, e))?;
        let mut journal = Self {
            file,
            path: path.to_owned(),
            end,
            reserved: end,
            seq: report.last_seq,
            folded: report.folded_seq,
            chain: report.chain,
            suspect: false,
            #[cfg(feature = "faults")]
            owed: Vec::new(),
        };
        journal.reserve();
        Ok((journal, cut))
    }

    /// Appends one record and makes it durable; returns its sequence number. This is the
    /// commit point of what it says. Costs one fsync.
    ///
    /// [`Code::DiskFull`] and [`Code::IoFailed`]: nothing was appended.
    /// [`Code::OutcomeUnknown`]: it may or may not be on the disk; a restart settles it.
    pub(crate) fn append(&mut self, record: &Record) -> Result<u64> {
        self.check()?;
        let seq = self.seq + 1;
        let bytes = record.frame(seq);
        #[cfg(feature = "faults")]
        let bytes = self.owe(bytes);
        step("journal.begun");
        if let Err(error) = self.file.write_all(&bytes) {
            let is_read_only = error.kind() == ErrorKind::ReadOnlyFilesystem;
            let error = Error::io("append to the journal", &self.path, error);
            // Nothing was written then, and nothing could be undone.
            if !(is_read_only && self.is_at_its_end()) {
                self.take_back()?;
            }
            return Err(error);
        }
        step("journal.written");
        // A failed fsync is final: the kernel may have dropped the pages and forgotten the
        // error, so that a second fsync would succeed and prove nothing.
        if let Err(error) = durable::sync_file(&self.file, &self.path) {
            self.suspect = true;
            return Err(self.unknown().because(error));
        }
        step("journal.synced");
        self.end += bytes.len() as u64;
        self.seq = seq;
        self.chain = link(&self.chain, seq, &bytes[HEAD..bytes.len() - TAIL]);
        self.reserve();
        Ok(seq)
    }

    /// Replaces all records by one that says the same; they themselves are kept for the audit.
    /// [`Code::OutcomeUnknown`] as for [`Journal::append`]; after any other error the journal
    /// is as it was.
    pub(crate) fn checkpoint(&mut self, catalog_json: String) -> Result<()> {
        self.check()?;
        step("checkpoint.begun");
        #[cfg(feature = "faults")]
        self.owed.clear();
        folded::keep(&self.path, self.folded, self.seq)?;
        let mut bytes = scan::magic();
        let checkpoint = Record::Checkpoint { catalog: catalog_json, chain: Some(self.chain) };
        bytes.extend_from_slice(&checkpoint.frame(self.seq));
        // The checkpoint has the number of the last event in it, and the next record
        // follows on: a reader sees no gap.
        let file = match durable::write_new_open(&self.path, &bytes) {
            Ok(file) => file,
            // A full disk, say: the old file is in its place, and appends go on.
            Err(error) if self.is_in_its_place() => return Err(error),
            // Renamed, but the directory was not synced: which of the two files a restart
            // would find is open. Both say the same, but what is appended to the new one
            // could be lost with it.
            Err(error) => {
                self.suspect = true;
                return Err(self.unknown().because(error));
            }
        };
        step("checkpoint.placed");
        // What was kept is not appended to any more: its reserve goes back. Only space is lost
        // if it does not.
        let _ = self.file.set_len(self.end);
        // The very file that was written, at its end: nothing is left that could fail.
        self.file = file;
        self.folded = self.seq;
        self.end = bytes.len() as u64;
        self.reserved = self.end;
        self.reserve();
        step("checkpoint.done");
        Ok(())
    }

    /// The number of the last event, and the chain of all up to it.
    pub(crate) fn head(&self) -> (u64, Digest) {
        (self.seq, self.chain)
    }

    /// The size of the file, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.end
    }

    /// Whether nothing may be appended until a restart.
    pub(crate) fn is_suspect(&self) -> bool {
        self.suspect
    }

    /// Fails as an append would, if nothing may be appended.
    pub(crate) fn check(&self) -> Result<()> {
        if self.suspect { Err(self.unknown()) } else { Ok(()) }
    }

    /// From here on nothing can be written, nor taken back.
    #[cfg(test)]
    pub(crate) fn break_it(&mut self) {
        self.file = File::open(&self.path).expect("the journal is there");
    }

    /// Whether the file that is appended to is the one that a restart would read.
    fn is_in_its_place(&self) -> bool {
        let id = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
        match (self.file.metadata(), std::fs::metadata(&self.path)) {
            (Ok(open), Ok(there)) => id(open) == id(there),
            _ => false,
        }
    }

    /// With that bug, what was owed before takes the place of the record, which is owed now.
    #[cfg(feature = "faults")]
    fn owe(&mut self, record: Vec<u8>) -> Vec<u8> {
        let late = planted::has(Bug::AckBeforeRecord);
        if late { std::mem::replace(&mut self.owed, record) } else { record }
    }

    /// Whether the file ends with its last whole record, and the next one is written there.
    fn is_at_its_end(&mut self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.len() == self.end)
            && self.file.stream_position().is_ok_and(|at| at == self.end)
    }

    /// Removes what a failed write may have left behind the last whole record.
    fn take_back(&mut self) -> Result<()> {
        let undone = self
            .file
            .set_len(self.end)
            .and_then(|()| self.file.seek(SeekFrom::Start(self.end)).map(drop))
            .map_err(|e| Error::io("take back a failed append", &self.path, e))
            .and_then(|()| durable::sync_file(&self.file, &self.path));
        // Cutting the file gave the reserve back as well.
        self.reserved = self.end;
        if undone.is_ok() {
            // Now, while what was taken back has left its room: a full disk has no other.
            self.reserve();
        }
        undone.map_err(|error| {
            self.suspect = true;
            self.unknown().because(error)
        })
    }

    fn unknown(&self) -> Error {
        Error::new(
            Code::OutcomeUnknown,
            "the journal could not be made durable: whether this was done is not known until \
             the server is restarted; reads go on",
        )
        .at(&self.path)
    }

    /// Allocates disk space behind the end without changing the size. Where the file
    /// system cannot, or the disk is full now, appends still work as long as there is room.
    fn reserve(&mut self) {
        if self.reserved.saturating_sub(self.end) > RESERVE / 2 {
            return;
        }
        let reserved =
            rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, self.end, RESERVE);
        if reserved.is_ok() {
            self.reserved = self.end + RESERVE;
        }
    }
}

fn damaged(path: &Path, report: &JournalReport, what: &str) -> Error {
    Error::new(
        Code::JournalCorrupt,
        format!(
            "the journal is damaged at byte {} (after {} sound records): {what}. Nothing was \
             changed. Restore it from a backup, or see `tidetable repair DIR`, which shows \
             what a cut there would lose",
            report.sound_bytes, report.records
        ),
    )
    .at(path)
}

#[cfg(test)]
mod tests;
