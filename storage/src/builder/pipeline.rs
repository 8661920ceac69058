//! The work behind a [`super::Builder`], in two steps on a thread each, so that compressing,
//! writing and whatever the caller does go on at the same time:
//!
//! ```text
//! add → batches → compress each value, digest the content → batches → write the SSTs
//! ```
//!
//! A closed SST is synced and summed on a thread of its own while the next is written. All
//! that is under way is a few batches, whatever the size of the snapshot.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use crate::batch::Batch;
use crate::digest::{ContentHasher, Digest, FileSums};
use crate::durable;
use crate::error::{Error, Result};
use crate::layout;
use crate::manifest::SstFile;
use crate::points::KeyHash;
use crate::regular;
use crate::rocks::TableWriter;
use crate::values::Encoder;

use super::FILE_RECORDS;

/// Batches that may wait before each step.
const WAITING: usize = 4;

/// The two steps.
pub(super) struct Pipeline {
    batches: Option<SyncSender<Batch>>,
    compressing: Option<JoinHandle<Result<Digest>>>,
    writing: Option<JoinHandle<Result<Vec<SstFile>>>>,
}

impl Pipeline {
    /// Starts both threads; they write into `dir`, in files of about `file_bytes`.
    pub(super) fn start(dir: &Path, file_bytes: u64, encoder: Encoder) -> Result<Self> {
        let (batches, raw) = sync_channel(WAITING);
        let (compressed, stored) = sync_channel(WAITING);
        let tables = Tables { dir: dir.to_owned(), file_bytes, open: None, closing: Vec::new() };
        Ok(Self {
            batches: Some(batches),
            compressing: Some(spawn("compress", dir, move || {
                compress(&raw, &compressed, encoder)
            })?),
            writing: Some(spawn("write", dir, move || tables.write_all(&stored))?),
        })
    }

    /// Hands a batch on. Waits while others are in front of it.
    ///
    /// # Errors
    /// What stopped one of the steps.
    pub(super) fn send(&mut self, batch: Batch) -> Result<()> {
        let sent = self.batches.as_ref().map(|batches| batches.send(batch));
        if matches!(sent, Some(Ok(()))) {
            return Ok(());
        }
        // A step ends before its input does only with an error.
        self.finish().map(|_| ())
    }

    /// Waits for the end of both: the content's digest and the files, in order.
    pub(super) fn finish(&mut self) -> Result<(Digest, Vec<SstFile>)> {
        self.batches = None;
        let compressed = self.compressing.take().map_or_else(stopped, join);
        let written = self.writing.take().map_or_else(stopped, join);
        // If the writer stopped, the compressor did only because of that.
        let files = written?;
        Ok((compressed?, files))
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

fn join<T>(thread: JoinHandle<Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn stopped<T>() -> Result<T> {
    let text = "a build goes on after an error: this is a fault in the program, please report it";
    Err(Error::new(crate::Code::IoFailed, text))
}

fn compress(
    batches: &Receiver<Batch>,
    out: &SyncSender<Batch>,
    mut encoder: Encoder,
) -> Result<Digest> {
    let mut content = ContentHasher::new();
    for batch in batches {
        let mut stored = Batch::default();
        for (key, value) in batch.records() {
            content.record(key, value);
            stored.push(key, encoder.encode(KeyHash::of(key), value)?);
        }
        if out.send(stored).is_err() {
            // The writer has stopped, and says why.
            break;
        }
    }
    Ok(content.finish())
}

/// The SSTs.
struct Tables {
    dir: PathBuf,
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
    fn write_all(mut self, batches: &Receiver<Batch>) -> Result<Vec<SstFile>> {
        for batch in batches {
            batch.records().try_for_each(|(key, stored)| self.write(key, stored))?;
        }
        self.close()?;
        self.closing.into_iter().map(join).collect()
    }

    fn write(&mut self, key: &[u8], stored: &[u8]) -> Result<()> {
        let table = match &mut self.open {
            Some(table) => table,
            none => none.insert(Table::create(&self.dir, self.closing.len() + 1, key)?),
        };
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
        let path = self.dir.join(&name);
        self.closing.push(spawn("sync", &self.dir, move || {
            durable::sync_file(&regular::open(&path)?, &path)?;
            let FileSums { bytes, crc32, blake3 } = FileSums::of(&path, false, &mut |_| {})?;
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
