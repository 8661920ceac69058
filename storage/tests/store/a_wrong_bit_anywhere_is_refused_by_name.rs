//! Damage before a version is loaded, tried on every bit of what says what is served, and at
//! thousands of places of the data: refused, with the file named, while the version before
//! serves on.
//!
//! `TIDETABLE_EVERY_BIT=1` tries all bits of journal and manifest, not one in some;
//! `TIDETABLE_DAMAGES` says how often data is damaged, `TIDETABLE_TEST_SEED` where.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use tidetable_storage::{
    Cause, Code, DatasetConfig, Error, Key, Kind, Layout, ReadBack, Store, StoreOptions, Version,
};

use crate::damage::{Random, damages, files_of, random_damage};
use crate::support::{
    Directory, activate, assert_version, current, dataset, push, push_ready, records_of,
};

/// Every how many bits one is tried, unless all are.
const ONE_IN: usize = 61;

fn bits_of(bytes: usize) -> impl Iterator<Item = usize> {
    let all = std::env::var_os("TIDETABLE_EVERY_BIT").is_some();
    (0..bytes * 8).step_by(if all { 1 } else { ONE_IN })
}

/// The file at `path` with that bit flipped, and as it was after `see`.
fn with_bit(path: &Path, sound: &[u8], bit: usize, see: impl FnOnce()) {
    let mut damaged = sound.to_vec();
    damaged[bit / 8] ^= 1 << (bit % 8);
    fs::write(path, &damaged).unwrap();
    see();
    assert!(fs::read(path).unwrap() == damaged, "bit {bit}: who refuses it changes nothing");
    fs::write(path, sound).unwrap();
}

fn place(directory: &Directory, version: u64) -> PathBuf {
    Layout::new(directory.path()).version(&dataset("a"), Version(version))
}

#[test]
fn in_the_journal_it_stops_the_start() {
    let a = dataset("a");
    let mut directory = Directory::new();
    push(directory.store(), &a, &records_of(1, 20));
    let config = DatasetConfig { retain: 2, ..DatasetConfig::default() };
    directory.store().configure(&a, &config, Cause::default()).unwrap();
    push_ready(directory.store(), &a, &records_of(2, 20));
    directory.close();
    let path = Layout::new(directory.path()).journal();
    let sound = fs::read(&path).unwrap();
    let mut tried = 0;
    for bit in bits_of(sound.len()) {
        with_bit(&path, &sound, bit, || {
            let error = directory.try_open().expect_err(&format!("bit {bit} is flipped"));
            let fits = matches!(error.code(), Code::JournalCorrupt | Code::UnknownFormat);
            assert!(fits && error.path() == Some(&*path), "bit {bit}: {error}");
        });
        tried += 1;
    }
    println!("{tried} bits of a journal of {} bytes", sound.len());
    directory.open();
    assert_version(directory.store(), &a, 1, &records_of(1, 20));
}

#[test]
fn in_a_manifest_it_makes_its_version_unusable() {
    let a = dataset("a");
    let mut directory = Directory::new();
    push(directory.store(), &a, &records_of(1, 20));
    push_ready(directory.store(), &a, &records_of(2, 20));
    directory.close();
    let path = place(&directory, 2).join("manifest.json");
    let sound = fs::read(&path).unwrap();
    let mut tried = 0;
    for bit in bits_of(sound.len()) {
        with_bit(&path, &sound, bit, || {
            // One store for each bit: what is unusable once stays so while it is open.
            directory.open();
            let store = directory.store();
            let error = store.live().get(&a).unwrap().version(Version(2)).map(drop).unwrap_err();
            assert_eq!(
                (error.code(), error.path()),
                (Code::VersionUnusable, Some(&*path)),
                "{bit}"
            );
            assert_eq!(activate(store, &a, 2).unwrap_err().code(), Code::VersionUnusable, "{bit}");
            assert_eq!(current(store, &a), Some(1));
            if bit % 64 == 0 {
                assert_version(store, &a, 1, &records_of(1, 20));
            }
            directory.close();
        });
        tried += 1;
    }
    println!("{tried} bits of a manifest of {} bytes", sound.len());
    directory.open();
    activate(directory.store(), &a, 2).unwrap();
}

/// What is named is the file that was damaged, or one that says the same of it: of a table and
/// its second name either, of a list and what it lists either.
fn names(error: &Error, damaged: &Path) -> bool {
    let name = damaged.file_name().unwrap().to_str().unwrap();
    let is_within_db = damaged.parent().is_some_and(|dir| dir.ends_with("db"));
    error.to_string().contains(name) || (is_within_db && error.to_string().contains("db"))
}

#[test]
fn in_the_data_it_is_found_before_the_version_is_activated() {
    let a = dataset("a");
    let mut directory = Directory::new();
    directory.options = StoreOptions { trusted_for: 0, ..directory.options.clone() };
    directory.reopen();
    push(directory.store(), &a, &records_of(1, 300));
    push_ready(directory.store(), &a, &records_of(2, 300));
    push(directory.store(), &dataset("b"), &records_of(3, 300));
    let store = directory.store();
    let (dir, other) = (place(&directory, 2), store.layout().version(&dataset("b"), Version(1)));
    let mut random = Random::seeded();
    for n in 0..damages(300) {
        let damage = random_damage(&mut random, &files_of(&dir), &other);
        let what = format!("damage {n}: {damage:?}");
        damage.with(|damaged| {
            let error = activate(store, &a, 2).expect_err(&what);
            assert_eq!(error.code(), Code::VersionUnusable, "{what}: {error}");
            assert!(names(&error, damaged), "{what}: {error}");
            assert_eq!(current(store, &a), Some(1), "{what}");
            assert_eq!(store.damaged().len(), 1, "{what}");
        });
    }
    assert_version(store, &a, 1, &records_of(1, 300));
    activate(store, &a, 2).unwrap();
    assert!(store.damaged().is_empty(), "read again, and sound");
    assert_version(store, &a, 2, &records_of(2, 300));
}

/// Whoever is served from damaged files all the same, because they serve already at the start,
/// gets right values and errors.
#[test]
fn in_the_data_of_what_is_current_at_start_it_is_an_error_or_nothing() {
    let a = dataset("a");
    let mut directory = Directory::new();
    let records = records_of(1, 300);
    push(directory.store(), &a, &records);
    push(directory.store(), &dataset("b"), &records_of(2, 300));
    let layout = directory.store().layout().clone();
    let (dir, other) = (place(&directory, 1), layout.version(&dataset("b"), Version(1)));
    let mut random = Random::seeded();
    let (mut unusable, mut errors, mut right) = (0, 0, 0);
    for n in 0..damages(100) {
        directory.close();
        let damage = random_damage(&mut random, &files_of(&dir), &other);
        let what = format!("damage {n}: {damage:?}");
        damage.with(|_| {
            directory.open();
            let store = directory.store();
            match store.live().get(&a).unwrap().current() {
                Err(error) => {
                    assert_eq!(error.kind(), Kind::Corrupt, "{what}: {error}");
                    unusable += 1;
                }
                Ok(lease) => {
                    for (key, value) in &records {
                        match lease.get(Key::new(key).unwrap()) {
                            Ok(found) => {
                                assert_eq!(found.as_ref(), Some(value), "{what}");
                                right += 1;
                            }
                            Err(error) => {
                                assert_eq!(error.code(), Code::DataCorrupt, "{what}: {error}");
                                errors += 1;
                            }
                        }
                    }
                }
            }
            assert_version(store, &dataset("b"), 1, &records_of(2, 300));
            assert_scrub_finds_it(store, &what);
            directory.close();
        });
    }
    println!("{unusable} not opened; of the others {errors} lookups failed, {right} were right");
    assert!(unusable > 0 && errors > 0 && right > 0, "each way to end was met");
    directory.open();
    assert_version(directory.store(), &a, 1, &records);
}

fn assert_scrub_finds_it(store: &Store, what: &str) {
    let stored = store.stored_version(&dataset("a"), Version(1)).unwrap();
    let came = stored.read(&mut |_| ControlFlow::Continue(())).unwrap();
    assert!(matches!(came, ReadBack::Damaged(_)), "{what}: {came:?}");
}
