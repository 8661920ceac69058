//! RocksDB, seen through what a snapshot needs of it: the only file that says `rocksdb::`.
//!
//! - [`TableWriter`] writes one sorted table (an SST file).
//! - [`ingest`] makes RocksDB's own files for a list of tables.
//! - [`Reader`] opens those read-only, for reading in key order. (Single keys are found by
//!   `points.rs`, and read by `tables.rs`.)
//!
//! Invariant 7 rests on what is set here. All tables of a snapshot are opened with it
//! (`max_open_files` −1), and opening one reads and checks its footer, properties and
//! index: damage there is an error at once. (The properties are looked at by
//! `table_end.rs` before: RocksDB would follow them unchecked.) Blocks of records are checked whenever they
//! come from the disk. So damage ends in an error, never in a record that is left out; the
//! test `damage_is_never_not_found` tries it on every region of a file.
//!
//! Values pass through here as they are stored (`values.rs`). RocksDB compresses nothing:
//! each value was compressed by itself before, so that one can be read without the others
//! of its block.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rocksdb::{
    BlockBasedOptions, Cache, ChecksumType, DB, DBRawIterator, ErrorKind,
    IngestExternalFileOptions, LogLevel, Options, ReadOptions, SstFileWriter,
};

use crate::error::{Code, Error, Result};
use crate::planted::{self, Bug};
use crate::table_end;

/// What a scan reads and checks at least.
const BLOCK_BYTES: usize = 16 * 1024;
/// Of this many entries of the index one is stored whole, the others as the difference
/// from the one before.
const INDEX_RESTART_INTERVAL: i32 = 8;
/// Checksums that also cover where in which file a block belongs came with version 6.
const FORMAT_VERSION: i32 = 6;
/// Read at a time when a whole snapshot is read through.
const READ_THROUGH_BYTES: usize = 2 * 1024 * 1024;

/// Blocks that scans read, in memory, shared by all open snapshots. Cheap to clone; the
/// clones share one memory.
#[derive(Clone)]
pub struct BlockCache(Cache);

impl BlockCache {
    /// A cache that holds at most about `bytes`. Memory is used as it fills.
    pub fn new(bytes: usize) -> Self {
        // No estimate of the entries' size: it then adapts to what it is given.
        Self(Cache::new_hyper_clock_cache(bytes, 0))
    }
}

/// Writes records in ascending order into one SST file.
pub(crate) struct TableWriter {
    writer: SstFileWriter<'static>,
    path: PathBuf,
}

impl TableWriter {
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let writer = SstFileWriter::create(writing_options()?);
        writer.open(path).map_err(|e| failed("make the table", path, e))?;
        Ok(Self { writer, path: path.to_owned() })
    }

    /// Adds a record; `key` must be greater than the one before.
    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.writer.put(key, value).map_err(|e| failed("write to the table", &self.path, e))
    }

    /// How many bytes are in the file so far; a block that is not full is not counted.
    pub(crate) fn bytes(&self) -> u64 {
        self.writer.file_size()
    }

    /// Completes the file. At least one record must be in it.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.writer.finish().map_err(|e| failed("complete the table", &self.path, e))
    }
}

#[cfg(test)]
impl TableWriter {
    /// One that writes as RocksDB does by itself.
    pub(crate) fn foreign(path: &Path) -> Result<Self> {
        static OPTIONS: OnceLock<Options> = OnceLock::new();
        let writer = SstFileWriter::create(OPTIONS.get_or_init(Options::default));
        writer.open(path).map_err(|e| failed("make the table", path, e))?;
        Ok(Self { writer, path: path.to_owned() })
    }

    /// Says that there is no such record any more, which no table of ours does.
    pub(crate) fn delete(&mut self, key: &[u8]) {
        self.writer.delete(key).unwrap();
    }
}

/// Makes a RocksDB database in the empty directory `db` out of `tables`, which are sorted
/// and disjoint and lie on the same file system. They are renamed into `db`; their
/// content is not touched. Leaves log and option files of RocksDB's in `db`; the caller
/// removes those and syncs the rest.
pub(crate) fn ingest(db: &Path, tables: &[PathBuf]) -> Result<()> {
    tables.iter().try_for_each(|table| table_end::check(table))?;
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_error_if_exists(true);
    options.set_paranoid_checks(true);
    options.set_disable_auto_compactions(true);
    options.set_max_background_jobs(1);
    options.set_write_buffer_size(64 * 1024);
    options.set_log_level(LogLevel::Fatal);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options.set_block_based_table_factory(&table_format());

    let opened = DB::open(&options, db).map_err(|e| failed("make the database", db, e))?;
    let mut how = IngestExternalFileOptions::default();
    how.set_move_files(true);
    // The files are the snapshot's own: RocksDB must not write a sequence number into them.
    how.set_allow_global_seqno(false);
    how.set_allow_blocking_flush(false);
    opened.ingest_external_file_opts(&how, tables.to_vec()).map_err(|e| {
        // It refuses tables that are damaged, overlap, or are of another kind.
        let code = code(&e, Code::VersionUnusable);
        let doing = "cannot take the tables into the database";
        let detail = match code {
            Code::VersionUnusable => {
                format!("{doing}: one is damaged, overlaps another, or is of another kind")
            }
            _ => doing.to_owned(),
        };
        Error::new(code, detail).at(at_fault(db, e.as_ref())).because(e)
    })
}

/// A file of an opened database, as RocksDB describes it.
#[derive(Debug)]
pub(crate) struct LiveFile {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) records: u64,
    pub(crate) first_key: Vec<u8>,
    pub(crate) last_key: Vec<u8>,
    pub(crate) level: i32,
}

/// A database opened read-only. Nothing is written, not even a log.
pub(crate) struct Reader {
    db: DB,
    path: PathBuf,
}

impl Reader {
    /// Opens the database in `path`, which holds `tables`. The caller has made sure that it is
    /// there, and holds no others: RocksDB would make an empty directory.
    pub(crate) fn open(path: &Path, tables: &[String], cache: Option<&BlockCache>) -> Result<Self> {
        tables.iter().try_for_each(|table| table_end::check(&path.join(table)))?;
        let mut table = table_format();
        match cache {
            Some(BlockCache(cache)) => table.set_block_cache(cache),
            None => table.disable_cache(),
        }
        let mut options = Options::default();
        // All tables are opened, and their indexes checked, now and not at a first scan.
        options.set_max_open_files(-1);
        options.set_paranoid_checks(true);
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);
        options.set_block_based_table_factory(&table);

        const REFUSE_LOGS: bool = true;
        let db = DB::open_for_read_only(&options, path, REFUSE_LOGS)
            .map_err(|e| damaged("open the database", path, e).damage_as(Code::VersionUnusable))?;
        Ok(Self { db, path: path.to_owned() })
    }

    /// The records whose keys begin with `prefix` and come after `after`, in key order.
    pub(crate) fn scan(&self, prefix: &[u8], after: Option<&[u8]>) -> StoredScan<'_> {
        let mut options = ReadOptions::default();
        options.set_verify_checksums(true);
        if let Some(end) = prefix_end(prefix) {
            options.set_iterate_upper_bound(end);
        }
        let mut iterator = self.db.raw_iterator_opt(options);
        match after {
            Some(after) if after >= prefix => {
                iterator.seek(after);
                if iterator.key() == Some(after) {
                    iterator.next();
                }
            }
            _ => iterator.seek(prefix),
        }
        StoredScan { iterator, path: &self.path, started: false, is_at_next: false }
    }

    /// Every record, in key order, in large reads and past the cache.
    pub(crate) fn read_through(&self) -> StoredScan<'_> {
        let mut options = ReadOptions::default();
        options.set_verify_checksums(!planted::has(Bug::SwapBeforeVerify));
        options.fill_cache(false);
        options.set_readahead_size(READ_THROUGH_BYTES);
        let mut iterator = self.db.raw_iterator_opt(options);
        iterator.seek_to_first();
        StoredScan { iterator, path: &self.path, started: false, is_at_next: false }
    }

    /// The tables that lookups are answered from, in key order.
    pub(crate) fn live_files(&self) -> Result<Vec<LiveFile>> {
        let files = self.db.live_files();
        let files = files.map_err(|e| damaged("list the files of the database", &self.path, e))?;
        let mut files: Vec<_> = files
            .into_iter()
            .map(|file| LiveFile {
                name: file.name.trim_start_matches('/').to_owned(),
                bytes: file.size as u64,
                records: file.num_entries - file.num_deletions.min(file.num_entries),
                first_key: file.start_key.unwrap_or_default(),
                last_key: file.end_key.unwrap_or_default(),
                level: file.level,
            })
            .collect();
        files.sort_by(|a, b| a.first_key.cmp(&b.first_key));
        Ok(files)
    }
}

/// Records in key order, as they are stored, read as they are asked for.
pub(crate) struct StoredScan<'a> {
    iterator: DBRawIterator<'a>,
    path: &'a Path,
    started: bool,
    /// The iterator stands at the record that is given next.
    is_at_next: bool,
}

impl StoredScan<'_> {
    /// The next record (key, stored value), or `None` at the end. It lives until the next call.
    ///
    /// # Errors
    /// [`Code::DataCorrupt`] if the block it lies in is damaged, [`Code::IoFailed`] if it
    /// cannot be read; the scan does not go on after that.
    pub(crate) fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        self.begin_next();
        self.is_at_next = false;
        if !self.iterator.valid() {
            let status = self.iterator.status();
            return status.map(|()| None).map_err(|e| damaged("read on", self.path, e));
        }
        Ok(self.iterator.item())
    }

    /// Passes the next records over whose keys are such; [`StoredScan::next`] gives the first
    /// that is not.
    pub(crate) fn pass_over(&mut self, mut is_such: impl FnMut(&[u8]) -> bool) {
        self.begin_next();
        while self.iterator.key().is_some_and(&mut is_such) {
            self.iterator.next();
        }
    }

    /// Goes to the next record, unless that was done.
    fn begin_next(&mut self) {
        if self.started && !self.is_at_next {
            self.iterator.next();
        }
        (self.started, self.is_at_next) = (true, true);
    }
}

/// The least bytes that are greater than all that begin with `prefix`, if there are any.
fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&b| b != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// How tables are read.
fn table_format() -> BlockBasedOptions {
    let mut table = BlockBasedOptions::default();
    table.set_format_version(FORMAT_VERSION);
    table.set_checksum_type(ChecksumType::XXH3);
    table.set_block_size(BLOCK_BYTES);
    table.set_index_block_restart_interval(INDEX_RESTART_INTERVAL);
    // Indexes stay in memory with their snapshot, and their checksums are checked when it
    // is opened.
    table.set_cache_index_and_filter_blocks(false);
    table
}

/// The options of a table writer. They must outlive the writer, hence made once for ever.
/// By their names, since the crate has no function for the one that matters: keys are
/// written whole, so that a record can be read without those before it (`block_entry.rs`).
fn writing_options() -> Result<&'static Options> {
    static OPTIONS: OnceLock<std::result::Result<Options, rocksdb::Error>> = OnceLock::new();
    let made = OPTIONS.get_or_init(|| {
        let table = format!(
            "block_based_table_factory={{format_version={FORMAT_VERSION};checksum=kXXH3;\
             block_size={BLOCK_BYTES};index_block_restart_interval={INDEX_RESTART_INTERVAL};\
             use_delta_encoding=false;filter_policy=nullptr}};compression=kNoCompression;bytes_per_sync=1048576"
        );
        Options::default().get_options_from_string(table)
    });
    made.as_ref().map_err(|e| {
        Error::new(Code::IoFailed, "RocksDB does not know the options that tables are written with: this is a fault in the program, please report it").because(e.clone())
    })
}

/// RocksDB could not write.
fn failed(doing: &str, path: &Path, error: rocksdb::Error) -> Error {
    Error::new(code(&error, Code::IoFailed), format!("cannot {doing}")).at(path).because(error)
}

/// RocksDB could not read what was once verified: unless the system refused, the data is
/// damaged.
fn damaged(doing: &str, path: &Path, error: rocksdb::Error) -> Error {
    let code = code(&error, Code::DataCorrupt);
    let detail = match code {
        Code::DataCorrupt => format!(
            "cannot {doing}: the stored data does not fit its checksum; roll back, or push the data again"
        ),
        _ => format!("cannot {doing}"),
    };
    Error::new(code, detail).at(at_fault(path, error.as_ref())).because(error)
}

/// The table in `db` that an error of RocksDB's with these words is about, if it names one: nothing but
/// them says which one it is. Otherwise `db`.
fn at_fault(db: &Path, words: &str) -> PathBuf {
    let names = words.rsplit(|c: char| c == '/' || c == ':' || c == ',' || c.is_whitespace());
    let mut tables = names.filter(|name| name.ends_with(".sst")).map(|name| db.join(name));
    // Directories before the name may be called anything.
    tables.find(|table| table.exists()).unwrap_or_else(|| db.to_owned())
}

/// What an error of RocksDB's means: what the operating system refused keeps its meaning,
/// the others are `otherwise`.
fn code(error: &rocksdb::Error, otherwise: Code) -> Code {
    let says = |text| error.as_ref().contains(text);
    match error.kind() {
        // `Unknown` is what the binding says by itself, when it could not make or look for a
        // directory: nothing was read then, so nothing is known to be damaged.
        ErrorKind::IOError | ErrorKind::Unknown => {
            if says("No space left") || says("Disk quota") {
                Code::DiskFull
            } else if says("Too many open files") {
                Code::TooManyFiles
            } else {
                Code::IoFailed
            }
        }
        ErrorKind::Incomplete
        | ErrorKind::TimedOut
        | ErrorKind::Busy
        | ErrorKind::TryAgain
        | ErrorKind::Aborted => Code::IoFailed,
        _ => otherwise,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_the_next_one_of_its_length() {
        assert_eq!(prefix_end(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(prefix_end(&[1, 255, 255]), Some(vec![2]));
        assert_eq!(prefix_end(&[255, 255]), None);
        assert_eq!(prefix_end(b""), None);
    }

    #[test]
    fn opening_read_only_writes_nothing_and_refuses_what_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let (table, db) = (dir.path().join("t.sst"), dir.path().join("db"));
        let mut writer = TableWriter::create(&table).unwrap();
        writer.put(b"a", b"1").unwrap();
        writer.put(b"b", b"2").unwrap();
        writer.finish().unwrap();
        std::fs::create_dir(&db).unwrap();
        ingest(&db, &[table]).unwrap();
        let listing = || {
            let mut names: Vec<_> =
                std::fs::read_dir(&db).unwrap().map(|e| e.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let before = listing();
        let names = before.iter().filter_map(|name| name.to_str());
        let tables: Vec<_> =
            names.filter(|name| name.ends_with(".sst")).map(str::to_owned).collect();
        let reader = Reader::open(&db, &tables, None).unwrap();
        let mut scan = reader.scan(b"", Some(b"a"));
        assert_eq!(scan.next().unwrap(), Some((&b"b"[..], &b"2"[..])));
        assert_eq!(scan.next().unwrap(), None);
        let live = reader.live_files().unwrap();
        assert_eq!((live.len(), live[0].records), (1, 2));
        assert_eq!((&*live[0].first_key, &*live[0].last_key), (&b"a"[..], &b"b"[..]));
        assert_eq!(listing(), before, "a read-only open leaves no file behind");

        let current = db.join("CURRENT");
        std::fs::write(&current, "nonsense\n").unwrap();
        let refused = Reader::open(&db, &tables, None).map(drop).unwrap_err();
        assert_eq!(refused.code(), Code::VersionUnusable);
    }

    /// Blocks that `table_end.rs` does not look at: the index, in a table this small.
    #[test]
    fn a_damaged_index_is_told_in_our_words_and_with_its_table() {
        let dir = tempfile::tempdir().unwrap();
        let (made, db) = (dir.path().join("t.sst"), dir.path().join("db"));
        let mut writer = TableWriter::create(&made).unwrap();
        (0..100u8).for_each(|n| writer.put(&[n], &[b'v'; 1_000]).unwrap());
        writer.finish().unwrap();
        std::fs::create_dir(&db).unwrap();
        ingest(&db, &[made]).unwrap();
        let names = std::fs::read_dir(&db).unwrap().map(|e| e.unwrap().file_name());
        let name =
            names.filter_map(|n| n.into_string().ok()).find(|n| n.ends_with(".sst")).unwrap();
        let table = db.join(&name);
        let good = std::fs::read(&table).unwrap();
        let mut of_index = Vec::new();
        for at in (100_000..good.len()).step_by(7) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&table, bad).unwrap();
            let Err(error) = Reader::open(&db, std::slice::from_ref(&name), None) else { continue };
            assert_eq!(error.code(), Code::VersionUnusable, "byte {at}: {error}");
            assert_eq!(error.path(), Some(&*table), "byte {at}: {error}");
            let told = error.told();
            assert!(told.contains("roll back, or push the data again"), "byte {at}: {told}");
            assert!(told.contains(&name) && !told.contains("orruption"), "byte {at}: {told}");
            if told.starts_with("cannot open the database") {
                of_index.push(at);
            }
        }
        // The same when the database is made anew.
        let mut bad = good;
        bad[*of_index.first().expect("a byte of the index was changed")] ^= 1;
        let empty = dir.path().join("empty");
        let table = empty.join("link-t.sst");
        std::fs::create_dir(&empty).unwrap();
        std::fs::write(&table, bad).unwrap();
        let error = ingest(&empty, std::slice::from_ref(&table)).unwrap_err();
        assert_eq!((error.code(), error.path()), (Code::VersionUnusable, Some(&*table)), "{error}");
        assert!(error.told().contains("one is damaged"), "{error}");
    }

    #[test]
    fn no_table_is_at_fault_that_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("x.sst/db");
        std::fs::create_dir_all(&db).unwrap();
        let words = format!("Corruption: bad record: {}/MANIFEST-000005", db.display());
        assert_eq!(at_fault(&db, &words), db);
        let table = db.join("000009.sst");
        std::fs::write(&table, "").unwrap();
        let words = format!("Corruption: checksum mismatch: in {} offset 7", table.display());
        assert_eq!(at_fault(&db, &words), table);
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_no_damage() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let refused = Reader::open(&file.join("db"), &[], None).map(drop).unwrap_err();
        assert_eq!(refused.code(), Code::IoFailed, "{refused}");
    }
}
