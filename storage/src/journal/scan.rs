//! Reading a journal: how far it is sound, what it says, and what is wrong behind that.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use super::record::{self, HEAD, Record, TAIL, read_head};
use super::salvage::{self, Salvaged};
use crate::digest::Digest;
use crate::error::{Code, Error, Result};

const MAGIC: &[u8; 8] = b"TIDEJRNL";
const FORMAT: u32 = 1;
/// Where records begin, in bytes.
pub(super) const START: u64 = 12;

/// How every journal begins.
pub(super) fn magic() -> Vec<u8> {
    let mut head = MAGIC.to_vec();
    head.extend_from_slice(&FORMAT.to_le_bytes());
    head
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

/// Reads a journal without changing it, and gives every record of its sound part to `each`: how far it
/// is sound, and what is wrong behind that. Fails, but for `each`, only if it cannot be read at all, or is
/// no journal.
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

/// What follows the sound part.
pub(super) fn behind<'a>(bytes: &'a [u8], report: &JournalReport) -> &'a [u8] {
    let sound = usize::try_from(report.sound_bytes).unwrap_or(usize::MAX);
    bytes.get(sound..).unwrap_or_default()
}

pub(crate) type Each<'a> = dyn FnMut(u64, Record, &Digest) -> Result<()> + 'a;

/// Reads a whole journal, and gives every record of its sound part, with the chain there, to `each`.
pub(super) fn scan(path: &Path, each: &mut Each<'_>) -> Result<JournalReport> {
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
pub(super) fn link(before: &Digest, seq: u64, body: &[u8]) -> Digest {
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

/// Refuses a file at `path` that does not begin as a journal does; one that is not there is none.
pub(crate) fn refuse_other(path: &Path) -> Result<()> {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(START).read_to_end(&mut head));
    match read {
        Ok(_) => check_magic(path, &head),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Error::io("read the journal", path, e)),
    }
}

pub(super) fn read_whole(path: &Path) -> Result<Vec<u8>> {
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
