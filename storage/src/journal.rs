//! The journal: every event, in order, on the disk. It is the truth about what is served,
//! and the audit trail.
//!
//! Invariants kept here:
//! - one fsynced record is the commit point of what it says (invariant 2);
//! - what [`Journal::append`] returned for survives power loss (invariant 6);
//! - after an append whose outcome is unknown, nothing more is appended until a restart
//!   has read the file anew;
//! - at start only a tail that is physically short, all zeros, or one append that lacks
//!   whole sectors is taken for a torn append and cut. Anything else that does not fit its checksum stops the start: a
//!   journal that lost an activation would serve the wrong version and say nothing.
//!
//! - what a checkpoint folds is kept (see `folded.rs`): no change is lost for the audit;
//! - each event is chained to all before it, so that an event that was taken away or changed
//!   gives all later ones another chain.
//!
//! A file is `TIDEJRNL`, a format number (u32), then records (see `record.rs`).

mod folded;
mod record;
mod salvage;

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;

pub(crate) use folded::folded_files;
pub(crate) use record::Record;
pub(crate) use salvage::Salvaged;

use crate::digest::Digest;
use crate::durable;
use crate::error::{Code, Error, Result};
use crate::layout;
#[cfg(feature = "faults")]
use crate::planted::{self, Bug};
use crate::step::step;
use record::{HEAD, TAIL, read_head};

const MAGIC: &[u8; 8] = b"TIDEJRNL";
const FORMAT: u32 = 1;
const START: u64 = 12;

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

/// What a journal holds, and what is wrong with it.
#[derive(Debug)]
pub struct JournalReport {
    /// Whole, sound records.
    pub records: u64,
    /// The sequence number of the last of them.
    pub last_seq: u64,
    /// The last event that the checkpoint at its head stands for; 0 without one.
    pub folded_seq: u64,
    /// What the chain of events was before the first event that it holds.
    pub chain_before: Digest,
    /// The chain of the last record: see [`crate::audit`].
    pub chain: Digest,
    /// Where the sound part ends, in bytes.
    pub sound_bytes: u64,
    /// The size of the file in bytes.
    pub file_bytes: u64,
    /// What follows the sound part, if anything does.
    pub fault: Option<JournalFault>,
}

/// What is wrong behind the sound part of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalFault {
    /// An append that a crash cut short: it was never acknowledged, and is cut at start.
    Torn,
    /// Damage, described; the server does not start on it.
    Damaged(String),
}

impl JournalReport {
    /// Whether no event before those that it holds was ever chained: the first file there is, or
    /// one whose checkpoint was made by a Tidetable that kept no chain and nothing it folded.
    pub(crate) fn is_beginning(&self) -> bool {
        self.chain_before == start_of_chain(self.folded_seq)
    }
}

impl Journal {
    /// Opens the journal at `path`, or makes an empty one, and gives every record to
    /// `each` in order. A torn tail is cut, and said in the answer (bytes cut).
    pub(crate) fn open(
        path: &Path,
        mut each: impl FnMut(u64, Record) -> Result<()>,
    ) -> Result<(Self, Option<u64>)> {
        if !path.try_exists().map_err(|e| Error::io("look for the journal", path, e))? {
            let mut head = MAGIC.to_vec();
            head.extend_from_slice(&FORMAT.to_le_bytes());
            durable::write_new(path, &head)?;
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
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
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

/// Reads a journal without changing it: how far it is sound, and what is wrong behind
/// that. Fails only if it cannot be read at all, or is no journal.
pub fn journal_check(path: &Path) -> Result<JournalReport> {
    scan(path, &mut |_, _, _| Ok(()))
}

/// Reads a journal without changing it, and gives every record of its sound part to `each`.
pub(crate) fn read(
    path: &Path,
    mut each: impl FnMut(u64, Record) -> Result<()>,
) -> Result<JournalReport> {
    scan(path, &mut |seq, record, _| each(seq, record))
}

/// The same, and what the chain is at each record.
pub(crate) fn read_chained(
    path: &Path,
    mut each: impl FnMut(u64, Record, &Digest) -> Result<()>,
) -> Result<JournalReport> {
    scan(path, &mut each)
}

/// What can still be read behind the sound part that `report` found.
pub(crate) fn salvage(path: &Path, report: &JournalReport) -> Result<Salvaged> {
    Ok(salvage_bytes(&read_whole(path)?, report))
}

/// The same of bytes that were read from a journal.
pub(crate) fn salvage_bytes(bytes: &[u8], report: &JournalReport) -> Salvaged {
    salvage::salvage(behind(bytes, report), report.last_seq)
}

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

fn behind<'a>(bytes: &'a [u8], report: &JournalReport) -> &'a [u8] {
    let sound = usize::try_from(report.sound_bytes).unwrap_or(usize::MAX);
    bytes.get(sound..).unwrap_or_default()
}

fn truncate(path: &Path, len: u64) -> Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .open(path)
        .map_err(|e| Error::io("open the journal to cut it", path, e))?;
    file.set_len(len).map_err(|e| Error::io("cut the journal", path, e))?;
    step("start.cut");
    durable::sync_file(&file, path)
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

type Each<'a> = dyn FnMut(u64, Record, &Digest) -> Result<()> + 'a;

fn scan(path: &Path, each: &mut Each<'_>) -> Result<JournalReport> {
    scan_bytes(path, &read_whole(path)?, each)
}

/// The same of bytes that were read from `path`.
pub(crate) fn scan_bytes(path: &Path, bytes: &[u8], each: &mut Each<'_>) -> Result<JournalReport> {
    check_magic(path, bytes)?;
    let mut report = JournalReport {
        records: 0,
        last_seq: 0,
        folded_seq: 0,
        chain_before: start_of_chain(0),
        chain: start_of_chain(0),
        sound_bytes: START,
        file_bytes: bytes.len() as u64,
        fault: None,
    };
    let mut rest = &bytes[START as usize..];
    while !rest.is_empty() {
        match next(rest, report.records, report.last_seq) {
            Ok((used, seq, record)) => {
                if let Record::Checkpoint { chain, .. } = &record {
                    report.folded_seq = seq;
                    report.chain = chain.unwrap_or_else(|| start_of_chain(seq));
                    report.chain_before = report.chain;
                } else {
                    report.chain = link(&report.chain, seq, &rest[HEAD..used - TAIL]);
                }
                each(seq, record, &report.chain)?;
                rest = &rest[used..];
                report.records += 1;
                report.last_seq = seq;
                report.sound_bytes += used as u64;
            }
            Err(fault) => {
                let is_torn = lacks_sectors(rest, report.sound_bytes, report.last_seq);
                report.fault = Some(if is_torn { JournalFault::Torn } else { fault });
                break;
            }
        }
    }
    Ok(report)
}

/// The chain of an event: BLAKE3 of the chain of the event before it, its number and its body.
fn link(before: &Digest, seq: u64, body: &[u8]) -> Digest {
    Digest::of(&[&before.as_bytes()[..], &seq.to_le_bytes(), body].concat())
}

/// The chain before the first event, or behind a checkpoint of a Tidetable that kept no chain.
fn start_of_chain(seq: u64) -> Digest {
    Digest::of(format!("tidetable: the chain of events after {seq}").as_bytes())
}

/// The first record of `rest`: the bytes it takes, its number, and what it says.
fn next(
    rest: &[u8],
    records: u64,
    last_seq: u64,
) -> std::result::Result<(usize, u64, Record), JournalFault> {
    let damaged = |what: String| Err(JournalFault::Damaged(what));
    if rest.iter().all(|b| *b == 0) {
        return Err(JournalFault::Torn);
    }
    let Some(head) = rest.first_chunk::<HEAD>() else { return Err(JournalFault::Torn) };
    let Some((len, seq)) = read_head(head) else {
        return damaged("a record's head does not fit its checksum".to_owned());
    };
    let end = HEAD + len as usize;
    let Some(tail) = rest.get(end..end + TAIL) else { return Err(JournalFault::Torn) };
    let body = &rest[HEAD..end];
    if crc32fast::hash(body).to_le_bytes() != *tail {
        return damaged(format!("the body of record {seq} does not fit its checksum"));
    }
    let record = match Record::decode(body) {
        Ok(record) => record,
        Err(what) => return damaged(format!("record {seq}: {what}")),
    };
    // A checkpoint at the head of the file carries the number of the last event in it.
    let follows = match record {
        Record::Checkpoint { .. } => records == 0,
        Record::Event(..) => seq == last_seq + 1,
    };
    if !follows {
        return damaged(format!("record {seq} follows record {last_seq}"));
    }
    Ok((end + TAIL, seq, record))
}

/// What a disk writes whole, in bytes; several of them in any order.
const SECTOR: usize = 512;
/// Zeros in fewer bytes may be what was written.
const TELLING: usize = 4;

/// Whether `rest`, which begins at `at` in the file, is one append of which some sectors never
/// reached the disk: they read as zeros, and nothing sound stands behind.
fn lacks_sectors(rest: &[u8], at: u64, last_seq: u64) -> bool {
    let is_zero = |bytes: &[u8]| bytes.iter().all(|b| *b == 0);
    let lacking = |sector: &[u8]| sector.len() >= TELLING && is_zero(sector);
    let in_first = (SECTOR - at as usize % SECTOR).min(rest.len());
    let (first, others) = rest.split_at(in_first);
    let mut others = others.chunks(SECTOR);
    let Some(len) = rest.len().checked_sub(HEAD + TAIL) else { return false };
    let head = record::head(len as u32, last_seq + 1);
    let is_torn = if rest.starts_with(&head) {
        // That very record, and not a byte more. Of its checksum the end may be lacking.
        let crc = crc32fast::hash(&rest[HEAD..HEAD + len]).to_le_bytes();
        let in_last = others.clone().last().map_or(TAIL, <[u8]>::len);
        let end_of_crc = in_last < TAIL
            && is_zero(&rest[rest.len() - in_last..])
            && rest[HEAD + len..].starts_with(&crc[..TAIL - in_last]);
        others.any(lacking) || end_of_crc
    } else {
        // What is lacking is its head, or a piece of that.
        let next = others.next().filter(|_| in_first < HEAD);
        let start_of_head =
            in_first < HEAD && is_zero(first) && rest[in_first..].starts_with(&head[in_first..]);
        lacking(first) || next.is_some_and(lacking) || start_of_head
    };
    is_torn && salvage::salvage(rest, last_seq).records.is_empty()
}

fn read_whole(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|mut file| file.read_to_end(&mut bytes))
        .map_err(|e| Error::io("read the journal", path, e))?;
    Ok(bytes)
}

fn check_magic(path: &Path, bytes: &[u8]) -> Result<()> {
    let head = bytes.first_chunk::<12>().filter(|head| head.starts_with(MAGIC));
    let Some(head) = head else {
        let text = "this is no journal, or it is damaged within its first 12 bytes: they are not \
                    those of one. Nothing was changed, and `tidetable repair` cannot mend it. \
                    Restore the journal from a backup of the same instant as the data";
        return Err(Error::new(Code::JournalCorrupt, text).at(path));
    };
    let format = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
    if format == FORMAT {
        return Ok(());
    }
    let text = format!(
        "the journal has format {format}; this Tidetable reads format {FORMAT}. Nothing was \
         changed. If a newer Tidetable wrote it, use that one; else it is damaged: restore the \
         journal from a backup of the same instant as the data"
    );
    Err(Error::new(Code::UnknownFormat, text).at(path))
}

#[cfg(test)]
mod tests;
