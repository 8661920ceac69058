//! The work behind a [`super::Builder`], on threads of its own, so that it and whatever the
//! caller does go on at the same time:
//!
//! ```text
//! add → lists ─┬─ digest the content
//!              ├─ compress each value ─┐
//!              └─ compress each value ─┴─ lists → write the SSTs
//! ```
//!
//! Lists are dealt to the compressing threads in turn, and taken back in turn, so they come
//! out in order. A closed SST is synced and summed on a thread of its own while the next is
//! written. All that is under way is a few lists, whatever the size of the snapshot.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use crate::background::build_threads;
use crate::digest::{ContentHasher, Digest, FileSums};
use crate::durable;
use crate::error::{Error, Result};
use crate::layout;
use crate::manifest::SstFile;
use crate::planted;
use crate::points::KeyHash;
use crate::record_list::RecordList;
use crate::regular;
use crate::rocks::TableWriter;
use crate::space::Room;
use crate::step::step;
use crate::values::Encoder;

use super::FILE_RECORDS;

/// Lists that may wait before each step.
const WAITING: usize = 4;

/// The steps.
pub(super) struct Pipeline {
    to_digest: Option<SyncSender<Arc<RecordList>>>,
    /// One for each thread that compresses.
    to_compress: Vec<SyncSender<Arc<RecordList>>>,
    dealt: usize,
    digesting: Option<JoinHandle<Digest>>,
    compressing: Vec<JoinHandle<Result<()>>>,
    writing: Option<JoinHandle<Result<Vec<SstFile>>>>,
}

impl Pipeline {
    /// Starts all threads; they write into `dir`, in files of about `file_bytes`.
    /// `encoder` makes what compresses.
    pub(super) fn start(
        dir: &Path,
        file_bytes: u64,
        encoder: impl Fn() -> Result<Encoder>,
    ) -> Result<Self> {
        let (mut to_compress, mut compressing, mut stored) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..build_threads() {
            let (to_this, lists) = sync_channel(WAITING);
            let (to_writer, compressed) = sync_channel(WAITING);
            let encoder = encoder()?;
            let work = move || compress(&lists, &to_writer, encoder);
            compressing.push(spawn("compress", dir, work)?);
            to_compress.push(to_this);
            stored.push(compressed);
        }
        let (to_digest, lists) = sync_channel(WAITING);
        let (dir_of_tables, room) = (dir.to_owned(), Room::within(dir));
        let tables =
            Tables { dir: dir_of_tables, room, file_bytes, open: None, closing: Vec::new() };
        Ok(Self {
            to_digest: Some(to_digest),
            to_compress,
            dealt: 0,
            digesting: Some(spawn("digest", dir, move || digest(&lists))?),
            compressing,
            writing: Some(spawn("write", dir, move || tables.write_all(&stored))?),
        })
    }

    /// Hands a list on. Waits while others are in front of it.
    ///
    /// # Errors
    /// What stopped one of the steps.
    pub(super) fn send(&mut self, list: RecordList) -> Result<()> {
        let list = Arc::new(list);
        let next = self.dealt % self.to_compress.len().max(1);
        self.dealt += 1;
        if let (Some(to_digest), Some(to_compress)) = (&self.to_digest, self.to_compress.get(next))
            && to_digest.send(Arc::clone(&list)).is_ok()
            && to_compress.send(list).is_ok()
        {
            return Ok(());
        }
        // A step ends before its input does only with an error.
        self.finish().map(|_| ())
    }

    /// Waits for the end of all: the content's digest and the files, in order.
    pub(super) fn finish(&mut self) -> Result<(Digest, Vec<SstFile>)> {
        self.to_digest = None;
        self.to_compress.clear();
        let compressed: Vec<Result<()>> = self.compressing.drain(..).map(join).collect();
        let written = self.writing.take().map_or_else(stopped, join);
        let digested = self.digesting.take().map_or_else(stopped, |thread| Ok(join(thread)));
        // If the writer stopped, the others did only because of that.
        let files = written?;
        compressed.into_iter().try_for_each(|done| done)?;
        Ok((digested?, files))
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        // Whoever gives up may remove the directory next: nothing is to write there then.
        let _ = self.finish();
    }
}

fn spawn<T: Send + 'static>(
    name: &str,
    dir: &Path,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map_err(|e| Error::io("start a thread that builds", dir, e))
}

fn join<T>(thread: JoinHandle<T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn stopped<T>() -> Result<T> {
    let text = "a build goes on after an error: this is a fault in the program, please report it";
    Err(Error::new(crate::Code::IoFailed, text))
}

fn digest(lists: &Receiver<Arc<RecordList>>) -> Digest {
    let mut content = ContentHasher::new();
    for list in lists {
        list.iter().for_each(|record| content.record(record.key, record.value));
    }
    content.finish()
}

fn compress(
    lists: &Receiver<Arc<RecordList>>,
    out: &SyncSender<RecordList>,
    mut encoder: Encoder,
) -> Result<()> {
    for list in lists {
        let mut stored = RecordList::with_capacity(list.bytes());
        for record in list.iter() {
            let encoded = encoder.encode(KeyHash::of(record.key), record.value)?;
            stored.push(record.key, b"", encoded);
        }
        if out.send(stored).is_err() {
            // The writer has stopped, and says why.
            break;
        }
    }
    Ok(())
}

/// The SSTs.
struct Tables {
    dir: PathBuf,
    room: Room,
    file_bytes: u64,
    open: Option<Table>,
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
    /// Writes the lists that come from each of `stored` in turn.
    fn write_all(mut self, stored: &[Receiver<RecordList>]) -> Result<Vec<SstFile>> {
        for lists in stored.iter().cycle() {
            // The first that has no more is the first that was dealt no more.
            let Ok(list) = lists.recv() else { break };
            list.iter().try_for_each(|record| self.write(record.key, record.value))?;
        }
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
        writer.finish()?;
        step("table.written");
        let path = self.dir.join(&name);
        self.closing.push(spawn("sync", &self.dir, move || {
            durable::sync_file(&regular::open(&path)?, &path)?;
            step("table.synced");
            let FileSums { bytes, crc32, blake3 } = FileSums::of(&path, false, &mut |_| {})?;
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
