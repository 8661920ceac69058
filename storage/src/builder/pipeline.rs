//! The work behind a [`super::Builder`], on threads of its own, so that it and whatever the
//! caller does go on at the same time:
//!
//! ```text
//! add → lists ─┬─ note what was given
//!              ├─ compress each value ─┐
//!              └─ compress each value ─┴─ lists → write the SSTs
//!
//! packed:  lists ─┬─ note what was given
//!                 └─ write the SSTs
//! ```
//!
//! A closed SST is synced and summed on a thread of its own while the next is
//! written. All that is under way is a few lists, whatever the size of the snapshot.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use crate::background::{build_threads, join, spawn, stopped};
use crate::digest::{FileSums, Source, SumsHasher, ValueSum};
use crate::durable;
use crate::error::Result;
use crate::lanes::{Lanes, WAITING};
use crate::layout;
use crate::manifest::SstFile;
use crate::memory::Share;
use crate::packed::{self, Packing, Unpacker};
use crate::planted;
use crate::points::KeyHash;
use crate::profile::{Profile, Sampler};
use crate::record_list::{Record, RecordList};
use crate::regular;
use crate::rocks::TableWriter;
use crate::space::Room;
use crate::step::step;
use crate::values::{Encoder, OVERHEAD};
use crate::verify::Given;

use super::FILE_RECORDS;

/// The steps.
pub(super) struct Pipeline {
    to_notes: Option<SyncSender<Arc<RecordList>>>,
    to_tables: Option<ToTables>,
    noting: Option<JoinHandle<Result<Noted>>>,
    writing: Option<JoinHandle<Result<Vec<SstFile>>>>,
}

/// On which way lists come to be written.
enum ToTables {
    Compressed(Lanes<Arc<RecordList>>),
    AsTheyAre(SyncSender<Arc<RecordList>>),
}

/// What was noted of the records.
pub(super) struct Noted {
    pub(super) given: Given,
    /// `None`: working it out failed. Without it a snapshot is whole.
    pub(super) profile: Option<Profile>,
}

impl Pipeline {
    /// Starts all threads; they write into `dir`, in files of about `file_bytes`. Values are
    /// compressed as `packing` says, unless that is how they come (`are_packed`).
    pub(super) fn start(
        dir: &Path,
        file_bytes: u64,
        packing: &Packing,
        are_packed: bool,
    ) -> Result<Self> {
        let tables = Tables {
            dir: dir.to_owned(),
            room: Room::within(dir),
            memory: Share::now(),
            file_bytes,
            open: None,
            written: 0,
            closing: Vec::new(),
        };
        let (to_tables, writing) = if are_packed {
            let (to_tables, lists) = sync_channel(WAITING);
            let writing = spawn("write", dir, move || tables.write_packed(&lists))?;
            (ToTables::AsTheyAre(to_tables), writing)
        } else {
            let encoder = || Encoder::new(packing.compression, &packing.dictionary);
            let worker =
                || encoder().map(|mut encoder| move |list: &_| compress(list, &mut encoder));
            let (lanes, stored) = Lanes::start("compress", dir, build_threads(), WAITING, worker)?;
            let writing = spawn("write", dir, move || tables.write_all(stored))?;
            (ToTables::Compressed(lanes), writing)
        };
        let (to_notes, lists) = sync_channel(WAITING);
        let unpacker = are_packed.then(|| packing.unpacker());
        Ok(Self {
            to_notes: Some(to_notes),
            to_tables: Some(to_tables),
            noting: Some(spawn("note", dir, move || note(&lists, unpacker))?),
            writing: Some(writing),
        })
    }

    /// Hands a list on. Waits while others are in front of it.
    ///
    /// # Errors
    /// What stopped one of the steps.
    pub(super) fn send(&mut self, list: RecordList) -> Result<()> {
        let list = Arc::new(list);
        if let (Some(to_notes), Some(to_tables)) = (&self.to_notes, &mut self.to_tables)
            && to_notes.send(Arc::clone(&list)).is_ok()
            && to_tables.send(list)
        {
            return Ok(());
        }
        // A step ends before its input does only with an error.
        self.finish().map(|_| ())
    }

    /// Waits for the end of all: what the content is, and the files, in order.
    pub(super) fn finish(&mut self) -> Result<(Noted, Vec<SstFile>)> {
        self.to_notes = None;
        let compressed = match self.to_tables.take() {
            Some(ToTables::Compressed(mut lanes)) => lanes.finish(),
            // The writer ends when this end has gone.
            Some(ToTables::AsTheyAre(to_tables)) => {
                drop(to_tables);
                Ok(())
            }
            None => Ok(()),
        };
        let written = self.writing.take().map_or_else(stopped, join);
        let noted = self.noting.take().map_or_else(stopped, join);
        // If the writer stopped, the others did only because of that.
        let files = written?;
        compressed?;
        Ok((noted?, files))
    }
}

impl ToTables {
    /// Whether anybody takes it.
    fn send(&mut self, list: Arc<RecordList>) -> bool {
        match self {
            Self::Compressed(lanes) => lanes.send(list),
            Self::AsTheyAre(to_tables) => to_tables.send(list).is_ok(),
        }
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        // Whoever gives up may remove the directory next: nothing is to write there then.
        let _ = self.finish();
    }
}

fn note(lists: &Receiver<Arc<RecordList>>, mut unpacker: Option<Unpacker>) -> Result<Noted> {
    let (mut sums, mut sampler) = (SumsHasher::new(), Sampler::new());
    let (mut records, mut key_bytes, mut value_bytes) = (0, 0, 0);
    for list in lists {
        for Record { key, value, .. } in list.iter() {
            let (sum, length) = if unpacker.is_some() {
                (packed::sum(value)?, packed::value_bytes(value)?)
            } else {
                (ValueSum::of(value), value.len())
            };
            sums.record(key, sum);
            if let Some(drawn) = sampler.draw(key.len(), length) {
                sampler.keep(&drawn, key, value);
            }
            records += 1;
            key_bytes += key.len() as u64;
            value_bytes += length as u64;
        }
    }
    if let Some(unpacker) = &mut unpacker {
        sampler.unpack(unpacker)?;
    }
    // While the last files are written.
    let profile = catch_unwind(AssertUnwindSafe(|| sampler.profile())).ok();
    Ok(Noted { given: Given { records, key_bytes, value_bytes, sums: sums.finish() }, profile })
}

fn compress(list: &RecordList, encoder: &mut Encoder) -> Result<RecordList> {
    let mut stored = RecordList::with_capacity(list.bytes() + list.len() * OVERHEAD);
    for record in list.iter() {
        stored.push(record.key, b"", encoder.encode(KeyHash::of(record.key), record.value)?);
    }
    Ok(stored)
}

/// The SSTs.
struct Tables {
    dir: PathBuf,
    room: Room,
    memory: Share,
    file_bytes: u64,
    open: Option<Table>,
    /// Bytes of the closed ones.
    written: u64,
    /// Closed ones, in order.
    closing: Vec<JoinHandle<Result<SstFile>>>,
}

/// The SST that is being written.
struct Table {
    writer: TableWriter,
    name: String,
    first_key: Vec<u8>,
    last_key: Vec<u8>,
    records: u64,
}

impl Tables {
    fn write_all(mut self, stored: impl Iterator<Item = RecordList>) -> Result<Vec<SstFile>> {
        for list in stored {
            list.iter().try_for_each(|record| self.write(record.key, record.value))?;
        }
        self.finish()
    }

    fn write_packed(mut self, lists: &Receiver<Arc<RecordList>>) -> Result<Vec<SstFile>> {
        for list in lists {
            let mut records = list.iter();
            records.try_for_each(|record| self.write(record.key, packed::stored(record.value)))?;
        }
        self.finish()
    }

    fn finish(mut self) -> Result<Vec<SstFile>> {
        self.close()?;
        self.closing.into_iter().map(join).collect()
    }

    fn write(&mut self, key: &[u8], stored: &[u8]) -> Result<()> {
        let table = match &mut self.open {
            Some(table) => table,
            none => none.insert(Table::create(&self.dir, self.closing.len() + 1, key)?),
        };
        self.room.take((key.len() + stored.len()) as u64)?;
        table.writer.put(key, stored)?;
        table.records += 1;
        table.last_key.clear();
        table.last_key.extend_from_slice(key);
        if table.writer.bytes() >= self.file_bytes || table.records >= FILE_RECORDS {
            self.close()?;
        }
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        let Some(table) = self.open.take() else { return Ok(()) };
        let Table { writer, name, first_key, last_key, records } = table;
        self.written += writer.bytes();
        writer.finish()?;
        step("table.written");
        let is_ample = self.memory.is_ample_for(self.written);
        let source = if is_ample { Source::DiskToServe } else { Source::Memory };
        let path = self.dir.join(&name);
        self.closing.push(spawn("sync", &self.dir, move || {
            durable::sync_file(&regular::open(&path)?, &path)?;
            step("table.synced");
            let FileSums { bytes, crc32, blake3 } = FileSums::of(&path, source, &mut |_| {})?;
            planted::damage(&path);
            Ok(SstFile { name, bytes, crc32, blake3, records, first_key, last_key })
        })?);
        Ok(())
    }
}

impl Table {
    fn create(dir: &Path, number: usize, first_key: &[u8]) -> Result<Self> {
        let name = layout::sst_name(number);
        let writer = TableWriter::create(&dir.join(&name))?;
        let first_key = first_key.to_owned();
        Ok(Self { writer, name, first_key, last_key: Vec::new(), records: 0 })
    }
}
