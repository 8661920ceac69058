//! The records of a snapshot that is read back, against what they are expected to be: what its
//! manifest lists, or what was noted of them when they were given to a builder.

use std::panic::resume_unwind;
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use super::damaged;
use crate::assembly::EachRecord;
use crate::builder::check_value;
use crate::digest::{ContentHasher, Digest, Framed, SumsHasher, ValueSum};
use crate::error::{Code, Error, Result};
use crate::lanes::WAITING;
use crate::layout;
use crate::manifest::Manifest;
use crate::names::Key;
use crate::points::KeyHash;
use crate::record_list::{Record, RecordList};
use crate::records::read_dictionary;
use crate::values::{Damaged, Decoder};

/// What is done with every record that is read back, its key and its value. It may refuse one.
pub(crate) type Visit<'a> = &'a mut (dyn FnMut(&[u8], &[u8]) -> Result<()> + Send);

/// What was noted of records when they were given to a builder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) records: u64,
    pub(crate) key_bytes: u64,
    pub(crate) value_bytes: u64,
    /// Of their keys and the sums of their values ([`SumsHasher`]).
    pub(crate) sums: Digest,
}

/// What the records that are read back are compared with.
#[derive(Clone, Copy)]
pub(super) enum Expected<'a> {
    /// What the manifest lists.
    Listed,
    /// What was noted of them.
    Given(&'a Given),
}

/// Compares the records that `feed` gives with what is expected of them; gives their digest.
pub(super) fn check_content(
    dir: &Path,
    manifest: &Manifest,
    visit: Visit<'_>,
    expected: Expected<'_>,
    feed: impl FnOnce(EachRecord<'_>) -> Result<()>,
) -> Result<Digest> {
    match expected {
        Expected::Listed => check_listed(dir, manifest, visit, feed),
        Expected::Given(given) => check_given(dir, manifest, visit, given, feed),
    }
}

fn check_listed(
    dir: &Path,
    manifest: &Manifest,
    visit: Visit<'_>,
    feed: impl FnOnce(EachRecord<'_>) -> Result<()>,
) -> Result<Digest> {
    let found = read_content(dir, manifest, visit, feed)?;
    let Manifest { records, key_bytes, value_bytes, content_digest: digest, .. } = *manifest;
    let listed = Content { records, key_bytes, value_bytes, digest };
    if found == listed {
        return Ok(found.digest);
    }
    let text = format!("its files hold {found}, expected {listed}");
    Err(damaged(&text).at(layout::manifest(dir)))
}

fn check_given(
    dir: &Path,
    manifest: &Manifest,
    visit: Visit<'_>,
    given: &Given,
    feed: impl FnOnce(EachRecord<'_>) -> Result<()>,
) -> Result<Digest> {
    let mut sums = SumsHasher::new();
    let mut sum = |key: &[u8], value: &[u8]| {
        sums.record(key, ValueSum::of(value));
        visit(key, value)
    };
    let Content { records, key_bytes, value_bytes, digest } =
        read_content(dir, manifest, &mut sum, feed)?;
    if *given == (Given { records, key_bytes, value_bytes, sums: sums.finish() }) {
        return Ok(digest);
    }
    let text = format!(
        "what was read back, {records} records of {key_bytes} and {value_bytes} bytes, is not what was \
         given, {} of {} and {}: the disk or the memory of this machine is faulty, or the program; \
         nothing was published, build it again, and please report it if that does not help",
        given.records, given.key_bytes, given.value_bytes
    );
    Err(Error::new(Code::VersionUnusable, text).at(dir))
}

/// What the records that `feed` gives, in the order of their keys, are. A thread decompresses them and hands
/// them to `visit`, another one digests them.
pub(crate) fn read_content(
    dir: &Path,
    manifest: &Manifest,
    visit: Visit<'_>,
    feed: impl FnOnce(EachRecord<'_>) -> Result<()>,
) -> Result<Content> {
    thread::scope(|scope| {
        let (lists, received) = sync_channel::<RecordList>(WAITING);
        let (framed, decompressed) = sync_channel::<Framed>(WAITING);
        let digesting = scope.spawn(move || {
            let mut hasher = ContentHasher::new();
            decompressed.iter().for_each(|framed| hasher.records(&framed));
            hasher.finish()
        });
        let reading = scope.spawn(move || {
            count(dir, manifest, visit, &received, |records| {
                framed.send(records).expect("the thread that digests ends with this sender");
            })
        });
        let mut list = RecordList::to_fill();
        // It ends before its input does only with an error, which then counts.
        let mut stopped = false;
        let mut hand_on = |list: &mut RecordList| {
            let full = std::mem::replace(list, RecordList::to_fill());
            stopped |= lists.send(full).is_err();
            if stopped { Err(damaged("its records do not fit")) } else { Ok(()) }
        };
        let fed = feed(&mut |key, stored| {
            list.push(key, b"", stored);
            if list.is_full() { hand_on(&mut list) } else { Ok(()) }
        });
        let fed = fed.and_then(|()| hand_on(&mut list));
        drop(lists);
        let counted = reading.join().unwrap_or_else(|panic| resume_unwind(panic));
        let digest = digesting.join().unwrap_or_else(|panic| resume_unwind(panic));
        let read = counted.map(|(records, key_bytes, value_bytes)| Content {
            records,
            key_bytes,
            value_bytes,
            digest,
        });
        if stopped { read } else { fed.and(read) }
    })
}

/// What the records of a snapshot are, all together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) records: u64,
    pub(crate) key_bytes: u64,
    pub(crate) value_bytes: u64,
    pub(crate) digest: Digest,
}

impl std::fmt::Display for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { records, key_bytes, value_bytes, digest } = self;
        write!(
            f,
            "{records} records of {key_bytes} and {value_bytes} bytes with the content digest {digest}"
        )
    }
}

/// Checks and decompresses all records, and gives them to `visit` and to `digest`: how many there are, and
/// the bytes of their keys and of their values.
fn count(
    dir: &Path,
    manifest: &Manifest,
    visit: Visit<'_>,
    lists: &Receiver<RecordList>,
    digest: impl Fn(Framed),
) -> Result<(u64, u64, u64)> {
    let decoder = Decoder::new(manifest.compression, &read_dictionary(dir, manifest)?);
    let (mut records, mut key_bytes, mut value_bytes) = (0, 0, 0);
    let (mut last, mut framed) = (Vec::new(), Framed::to_fill());
    for list in lists {
        for Record { key, value: stored, .. } in list.iter() {
            records += 1;
            // No key is empty, so the first comes after nothing.
            if Key::new(key).is_err() || key <= &last[..] {
                let text =
                    format!("the key of record {records} does not come after the one before");
                return Err(damaged(&text).at(dir));
            }
            last.clear();
            last.extend_from_slice(key);
            let value = framed.push(key, |out| decoder.decode(KeyHash::of(key), stored, out));
            let value = value.map_err(|Damaged| {
                damaged(&format!("record {records} does not fit its checksum")).at(dir)
            })?;
            check_value(value.len())?;
            key_bytes += key.len() as u64;
            value_bytes += value.len() as u64;
            visit(key, value)?;
            if framed.is_full() {
                digest(std::mem::replace(&mut framed, Framed::to_fill()));
            }
        }
    }
    digest(framed);
    Ok((records, key_bytes, value_bytes))
}
