//! What every scenario needs: a data directory, pushes through the public path, and a
//! reader that compares a version with what was pushed.

use std::collections::BTreeMap;
use std::path::Path;

use tempfile::TempDir;
use tidetable_storage::{
    Activation, Admission, BuildOptions, Builder, Cause, Code, Compression, DatasetConfig,
    DatasetName, Expect, Key, MIN_SORT_BYTES, Moved, PartSums, Recovery, Result, Rollback,
    SelfActivation, Sorter, State, Store, StoreOptions, VerifiedSnapshot, Version, View,
};

/// The records of a version, as they were pushed.
pub(crate) type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// A data directory and the store on it, which can be closed and opened again.
pub(crate) struct Directory {
    pub(crate) dir: TempDir,
    pub(crate) options: StoreOptions,
    store: Option<Store>,
}

impl Directory {
    /// An empty one, open.
    pub(crate) fn new() -> Self {
        Self::of(tempfile::tempdir().unwrap())
    }

    /// The same, in a directory beneath this one.
    pub(crate) fn within(dir: &str) -> Self {
        std::fs::create_dir_all(dir).unwrap();
        Self::of(tempfile::tempdir_in(dir).unwrap())
    }

    fn of(dir: TempDir) -> Self {
        let mut made = Self {
            dir,
            options: StoreOptions { block_cache_bytes: 1 << 20, ..StoreOptions::default() },
            store: None,
        };
        made.open();
        made
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn store(&self) -> &Store {
        self.store.as_ref().expect("it is open")
    }

    /// Closes the store: what was let go is closed and removed after this.
    pub(crate) fn close(&mut self) {
        self.store = None;
    }

    pub(crate) fn try_open(&mut self) -> Result<Recovery> {
        let (store, recovery) = Store::open(self.dir.path(), self.options.clone())?;
        self.store = Some(store);
        Ok(recovery)
    }

    pub(crate) fn open(&mut self) -> Recovery {
        self.try_open().unwrap()
    }

    /// What a kill at this moment leaves is opened, with what else `leave` leaves there.
    pub(crate) fn kill(&mut self, leave: impl FnOnce(&Path)) -> Recovery {
        let left = tempfile::tempdir_in(self.path().parent().unwrap()).unwrap();
        copy_into(self.path(), left.path());
        self.close();
        self.dir = left;
        leave(self.path());
        self.open()
    }

    pub(crate) fn reopen(&mut self) -> Recovery {
        self.close();
        self.open()
    }
}

pub(crate) fn dataset(name: &str) -> DatasetName {
    DatasetName::parse(name).unwrap()
}

/// Moves a directory, as somebody would by hand. Not with `mv`: until that runs, its process
/// holds what this one has locked, and a test beside this one that opens its directory again
/// finds it in use.
#[expect(clippy::disallowed_methods, reason = "what is tried is what a person may do")]
pub(crate) fn move_by_hand(from: &Path, to: &Path) {
    std::fs::rename(from, to).unwrap();
}

pub(crate) fn because(reason: &str) -> Cause {
    Cause { reason: Some(reason.to_owned()), ..Cause::default() }
}

/// `count` records whose values name their version, so that none fits another one.
pub(crate) fn records_of(version: u64, count: usize) -> Records {
    let record = |n: usize| {
        let value = format!("{{\"v\":{version},\"n\":{n},\"pad\":\"{}\"}}", "x".repeat(n % 50));
        (format!("key:{n:05}").into_bytes(), value.into_bytes())
    };
    (0..count).map(record).collect()
}

/// Admits and seals a push; its version.
pub(crate) fn begin(store: &Store, dataset: &DatasetName, activate: bool) -> Version {
    store.ensure_dataset(dataset, Cause::default()).unwrap();
    let push = Admission { activate, ..Admission::default() };
    store.admit(dataset, &push, Cause::default()).unwrap().number().unwrap()
}

/// A part of these bytes arrives.
pub(crate) fn receive(store: &Store, dataset: &DatasetName, version: Version, name: &str) {
    let mut part = store.begin_part(dataset, version, name).unwrap();
    let mut sums = PartSums::default();
    part.write(b"rows").unwrap();
    sums.update(b"rows");
    store.receive_part(dataset, version, part.close(sums)).unwrap();
}

pub(crate) fn seal(store: &Store, dataset: &DatasetName, version: Version, activate: bool) {
    receive(store, dataset, version, "1");
    store.seal(dataset, version, activate, None, Cause::default()).unwrap();
}

/// Sorts, builds and verifies the records, which come in any order.
pub(crate) fn build<'a>(
    dir: &Path,
    records: impl IntoIterator<Item = (&'a Vec<u8>, &'a Vec<u8>)>,
    file_bytes: u64,
) -> VerifiedSnapshot {
    let runs = dir.with_extension("runs");
    std::fs::create_dir_all(&runs).unwrap();
    let mut sorter = Sorter::new(&runs, MIN_SORT_BYTES).unwrap();
    for (key, value) in records {
        sorter.push(key, b"", value).unwrap();
    }
    let mut sorted = sorter.finish().unwrap();
    let options = BuildOptions { compression: Compression::Lz4, file_bytes };
    let mut builder = Builder::create(dir, options, &[]).unwrap();
    while let Some(record) = sorted.next().unwrap() {
        builder.add(record.key, record.value).unwrap();
    }
    builder.finish().unwrap().verify(&mut |_| {}).unwrap()
}

/// Builds and publishes a sealed push.
pub(crate) fn publish(
    store: &Store,
    dataset: &DatasetName,
    version: Version,
    records: &Records,
) -> State {
    let dir = store.layout().build(dataset, version, 1);
    let snapshot = build(&dir, records, 4096);
    store.publish(dataset, version, &snapshot, 0, &[], Cause::default()).unwrap()
}

/// A whole push, not activated.
pub(crate) fn push_ready(store: &Store, dataset: &DatasetName, records: &Records) -> Version {
    let version = begin(store, dataset, true);
    seal(store, dataset, version, true);
    publish(store, dataset, version, records);
    version
}

/// A whole push, activated by itself.
pub(crate) fn push(store: &Store, dataset: &DatasetName, records: &Records) -> Version {
    let version = push_ready(store, dataset, records);
    let activation = store.activate_by_itself(dataset, version, Cause::default()).unwrap();
    assert!(matches!(activation, SelfActivation::Activated(_)), "{activation:?}");
    version
}

/// Pushes versions 1 to `count` of [`records_of`], each activated.
pub(crate) fn push_versions(store: &Store, dataset: &DatasetName, count: u64) {
    for version in 1..=count {
        assert_eq!(push(store, dataset, &records_of(version, 40)), Version(version));
    }
}

pub(crate) fn activate(store: &Store, dataset: &DatasetName, version: u64) -> Result<Moved> {
    store.activate(dataset, &Activation::of(Version(version)), Cause::default())
}

pub(crate) fn roll_back(store: &Store, dataset: &DatasetName) -> Result<Moved> {
    let rollback = Rollback { to: None, hold: false, expect: Expect::Anything };
    store.roll_back(dataset, &rollback, Cause::default())
}

pub(crate) fn current(store: &Store, dataset: &DatasetName) -> Option<u64> {
    let live = store.live().get(dataset).unwrap().current_version();
    let known = store.catalog().dataset(dataset).unwrap().current;
    assert_eq!(live, known, "readers see what the catalogue says");
    live.map(|v| v.0)
}

pub(crate) fn state(store: &Store, dataset: &DatasetName, version: u64) -> State {
    store.catalog().entry(dataset, Version(version)).unwrap().state
}

/// Gives it no grace time, and keeps `retain` versions.
pub(crate) fn keep_few(store: &Store, dataset: &DatasetName, retain: u32) {
    let config = DatasetConfig { retain, retire_grace_seconds: 0, ..DatasetConfig::default() };
    store.configure(dataset, &config, Cause::default()).unwrap();
}

/// Every way to read says exactly these records.
pub(crate) fn assert_reads(snapshot: View<'_>, records: &Records) {
    assert_eq!(snapshot.records(), records.len() as u64);
    assert_gives(snapshot, records);
}

/// The same, whatever else the files hold.
pub(crate) fn assert_gives(snapshot: View<'_>, records: &Records) {
    let absent: [&[u8]; 4] = [b"\0", b"absent", b"key:", &[0xff; 40]];
    for (key, value) in records {
        let found = snapshot.get(Key::new(key).unwrap()).unwrap();
        assert_eq!(found.as_deref(), Some(value.as_slice()), "{key:?}");
    }
    let mut keys: Vec<&[u8]> = records.keys().rev().map(Vec::as_slice).collect();
    for key in absent.into_iter().filter(|key| !records.contains_key(*key)) {
        assert!(snapshot.get(Key::new(key).unwrap()).unwrap().is_none(), "{key:?}");
        keys.insert(keys.len() / 2, key);
    }
    let asked: Vec<Key<'_>> = keys.iter().map(|key| Key::new(key).unwrap()).collect();
    for (key, found) in keys.iter().zip(snapshot.get_many(&asked).unwrap()) {
        assert_eq!(found.as_deref(), records.get(*key).map(Vec::as_slice), "{key:?}");
    }
    let mut scan = snapshot.scan(b"", None).unwrap();
    let mut scanned = Records::new();
    while let Some((key, value)) = scan.next().unwrap() {
        assert!(scanned.insert(key.to_vec(), value.to_vec()).is_none());
    }
    assert!(&scanned == records, "a scan of everything is everything");
}

/// The version is read as exactly these records.
pub(crate) fn assert_version(
    store: &Store,
    dataset: &DatasetName,
    version: u64,
    records: &Records,
) {
    let lease = store.live().get(dataset).unwrap().version(Version(version)).unwrap();
    assert_eq!(lease.version(), Version(version));
    assert_reads(lease.view(), records);
}

/// The code of what must be an error.
pub(crate) fn code<T>(result: Result<T>) -> Code {
    match result {
        Ok(_) => panic!("it was not refused"),
        Err(error) => error.code(),
    }
}

/// A copy of a data directory, as a crash at this moment would leave it on the disk.
pub(crate) fn copy(from: &Path) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    copy_into(from, to.path());
    to
}

fn copy_into(from: &Path, to: &Path) {
    // What was given up may be removed at this very moment.
    let Ok(entries) = std::fs::read_dir(from) else { return };
    for entry in entries {
        let Ok(entry) = entry else { return };
        let Ok(kind) = entry.file_type() else { continue };
        let to = to.join(entry.file_name());
        if kind.is_dir() {
            std::fs::create_dir(&to).unwrap();
            copy_into(&entry.path(), &to);
        } else {
            let copied = std::fs::copy(entry.path(), &to);
            assert!(copied.is_ok() || !entry.path().exists(), "{copied:?}");
        }
    }
}
