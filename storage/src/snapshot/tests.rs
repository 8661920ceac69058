//! A snapshot is read as what was built, and damage is an error and never a value.

use super::*;
use crate::durable;
use crate::erased::Secret;
use crate::error::{Code, Error};
use crate::layout::Layout;
use crate::manifest::Compression;
use crate::testing::{self, build, build_as, flip, records, verified};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

fn open(dir: &Path, digest: &Digest) -> Result<Snapshot> {
    Snapshot::open(dir, Version(7), digest, &BlockCache::new(1 << 20))
}

fn all(mut scan: Scan<'_>) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut found = Vec::new();
    while let Some((key, value)) = scan.next()? {
        found.push((key.to_vec(), value.to_vec()));
    }
    Ok(found)
}

fn unusable(dir: &Path, digest: &Digest) -> Error {
    let error = open(dir, digest).expect_err("it must not open");
    assert_eq!(error.code(), Code::VersionUnusable, "{error}");
    error
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![Just(0u8), Just(b'a'), Just(b'b'), Just(255)], 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn a_snapshot_answers_like_the_map_it_was_built_from(
        map in prop::collection::btree_map(key(), prop::collection::vec(any::<u8>(), 0..300), 1..80),
        probes in prop::collection::vec(key(), 1..40),
        prefix in prop::collection::vec(prop_oneof![Just(b'a'), Just(255u8)], 0..3),
        after in prop::option::of(key()),
        file_bytes in prop_oneof![Just(1u64), Just(2000), Just(1 << 20)],
        compression in prop_oneof![Just(Compression::None), Just(Compression::Lz4), Just(Compression::Zstd)],
    ) {
        let map: BTreeMap<_, _> = map;
        let dir = tempfile::tempdir().unwrap();
        let verified = build_as(dir.path(), &map, file_bytes, compression).verify(&mut |_| {}).unwrap();
        let snapshot = open(dir.path(), verified.digest()).unwrap();
        snapshot.warm().unwrap();

        let keys: Vec<_> = probes.iter().chain(map.keys()).collect();
        for key in &keys {
            let value = snapshot.get(Key::new(key).unwrap()).unwrap();
            prop_assert_eq!(value.as_deref(), map.get(*key).map(|v| &v[..]));
        }
        let many: Vec<_> = keys.iter().map(|k| Key::new(k).unwrap()).collect();
        for (key, value) in keys.iter().zip(snapshot.get_many(&many).unwrap()) {
            prop_assert_eq!(value.as_deref(), map.get(*key).map(|v| &v[..]));
        }
        let found = all(snapshot.scan(&prefix, after.as_deref()).unwrap()).unwrap();
        let expected: Vec<_> = map.into_iter()
            .filter(|(k, _)| k.starts_with(&prefix) && after.as_ref().is_none_or(|a| k > a))
            .collect();
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn a_scan_goes_on_after_the_last_key_it_gave() {
    let dir = tempfile::tempdir().unwrap();
    let verified = verified(dir.path(), 1000, 20_000);
    let snapshot = open(dir.path(), verified.digest()).unwrap();
    let mut after: Option<Vec<u8>> = None;
    let mut found = Vec::new();
    // One more than there are, so that a scan that stands still ends as well.
    for _ in 0..=100 {
        let mut scan = snapshot.scan(b"key:0005", after.as_deref()).unwrap();
        let Some((key, value)) = scan.next().unwrap() else {
            assert!(scan.next().unwrap().is_none(), "the end stays the end");
            break;
        };
        found.push((key.to_vec(), value.to_vec()));
        after = Some(key.to_vec());
    }
    assert_eq!(found, records(1000)[500..600]);
}

/// Invariant 7, tried on every region of a file: one bit is turned, all over a table
/// in steps and in each of its last 1,500 bytes (filter, index, properties, footer);
/// then the version is opened and every key looked up.
#[test]
fn damage_is_never_not_found() {
    let dir = tempfile::tempdir().unwrap();
    let verified = verified(dir.path(), 800, 16_000);
    let path = dir.path().join("000002.sst");
    let size = fs::metadata(&path).unwrap().len() as usize;
    let tail = size - 3000;
    let (mut unopened, mut corrupt, mut whole) = (0, 0, 0);
    for at in (0..tail).step_by(61).chain((tail..size).step_by(3)) {
        flip(&path, at, (at % 8) as u8);
        match open(dir.path(), verified.digest()) {
            Err(e) => {
                assert_eq!(e.code(), Code::VersionUnusable, "byte {at}: {e}");
                unopened += 1;
            }
            Ok(snapshot) => match errors_of_all_lookups(&snapshot, at) {
                0 => whole += 1,
                _ => corrupt += 1,
            },
        }
        flip(&path, at, (at % 8) as u8);
    }
    // Each way to end was met, or the test has lost its object.
    assert!(unopened > 50 && corrupt > 50 && whole > 20, "{unopened} {corrupt} {whole}");
}

/// In `db/` files have names of RocksDB's own, of which another file of the version may have one.
#[test]
fn a_damaged_index_is_told_with_the_file_of_the_version() {
    let dir = tempfile::tempdir().unwrap();
    let verified = verified(dir.path(), 800, 16_000);
    let path = dir.path().join("000002.sst");
    let size = fs::metadata(&path).unwrap().len() as usize;
    let is_of_index = (size - 3000..size).step_by(3).any(|at| {
        flip(&path, at, 0);
        let opened = open(dir.path(), verified.digest());
        let found = opened.is_err_and(|e| e.detail().starts_with("cannot open the database"));
        if !found {
            flip(&path, at, 0);
        }
        found
    });
    assert!(is_of_index, "a byte of the index was changed");
    let error = unusable(dir.path(), verified.digest());
    assert_eq!(error.path(), Some(&*path), "{error}");
    assert!(error.told().contains("(000002.sst)"), "{}", error.told());

    // The same when the database is made anew.
    durable::remove_dir_all(&layout::db(dir.path())).unwrap();
    let error = unusable(dir.path(), verified.digest());
    assert_eq!(error.path(), Some(&*path), "{error}");
    assert!(error.detail().ends_with("; roll back, or push the data again"), "{error}");
    // Of what is not published yet there is nothing to roll back.
    let refused = assembly::assemble(dir.path(), verified.manifest(), &mut |_, _| Ok(()));
    assert!(!refused.unwrap_err().detail().contains("roll back"));
}

fn errors_of_all_lookups(snapshot: &Snapshot, at: usize) -> usize {
    let mut errors = 0;
    for (key, value) in records(800) {
        match snapshot.get(Key::new(&key).unwrap()) {
            Ok(found) => assert_eq!(found.as_deref(), Some(&value[..]), "byte {at}"),
            Err(e) => {
                assert_eq!(e.code(), Code::DataCorrupt, "byte {at}: {e}");
                errors += 1;
            }
        }
    }
    assert!(errors < 400, "byte {at}: keys in other blocks are still served");
    match all(snapshot.scan(b"", None).unwrap()) {
        Ok(found) => assert_eq!((found, errors), (records(800), 0), "byte {at}"),
        Err(e) => assert_eq!(e.code(), Code::DataCorrupt, "byte {at}: {e}"),
    }
    errors
}

#[test]
fn damage_after_opening_is_an_error_for_its_keys_alone() {
    let dir = tempfile::tempdir().unwrap();
    let verified = verified(dir.path(), 800, 1 << 20);
    let snapshot = open(dir.path(), verified.digest()).unwrap();
    flip(&dir.path().join("000001.sst"), 5000, 0);
    let errors = errors_of_all_lookups(&snapshot, 5000);
    assert!((1..200).contains(&errors), "{errors}");
    let scanned = all(snapshot.scan(b"", None).unwrap()).unwrap_err();
    let walked = snapshot.walk_keys(|_| true).unwrap_err();
    // As the version has it: in `db/` it has another name.
    let path = dir.path().join("000001.sst");
    assert_eq!([scanned.path(), walked.path()], [Some(&*path); 2], "{scanned} {walked}");
    let keys = records(800);
    let keys: Vec<_> = keys.iter().map(|(k, _)| Key::new(k).unwrap()).collect();
    assert_eq!(snapshot.get_many(&keys).unwrap_err().code(), Code::DataCorrupt);
}

/// Each of the two is whole, and would be taken for a key of the same mark.
#[test]
fn records_that_stand_in_each_others_places_are_not_not_found() {
    let dir = tempfile::tempdir().unwrap();
    let record = |n: usize| (format!("key:{n:04}"), format!("value {n:04}"));
    let records: Vec<_> = (0..200).map(record).collect();
    let verified = build_as(dir.path(), records.iter().cloned(), 1 << 20, Compression::None)
        .verify(&mut |_| {})
        .unwrap();
    let path = dir.path().join("000001.sst");
    let mut bytes = fs::read(&path).unwrap();
    let at = |bytes: &[u8], n: usize| {
        let key = record(n).0;
        bytes.windows(key.len()).position(|part| part == key.as_bytes()).unwrap()
    };
    // Neighbours of one length; their keys stand at the same place in each.
    let (one, two) = (at(&bytes, 5), at(&bytes, 6));
    let length = two - one;
    (0..length).for_each(|i| bytes.swap(one - 3 + i, two - 3 + i));
    fs::write(&path, &bytes).unwrap();
    let snapshot = open(dir.path(), verified.digest()).unwrap();
    for (n, (key, value)) in records.iter().enumerate() {
        match snapshot.get(Key::new(key.as_bytes()).unwrap()) {
            Ok(found) => assert_eq!(found.as_deref(), Some(value.as_bytes()), "{key}"),
            Err(error) => assert!(n == 5 || n == 6, "{key}: {error}"),
        }
        assert_eq!(snapshot.get(Key::new(key.as_bytes()).unwrap()).is_err(), n == 5 || n == 6);
    }
}

#[test]
fn any_change_of_the_manifest_makes_the_version_unusable() {
    let dir = tempfile::tempdir().unwrap();
    let verified = verified(dir.path(), 300, 1 << 20);
    let path = layout::manifest(dir.path());
    for at in 0..fs::metadata(&path).unwrap().len() as usize {
        flip(&path, at, (at % 8) as u8);
        let error = open(dir.path(), verified.digest()).expect_err("it must not open");
        assert!(matches!(error.code(), Code::VersionUnusable | Code::UnknownFormat));
        assert_eq!(error.path().unwrap(), path);
        flip(&path, at, (at % 8) as u8);
    }
    open(dir.path(), verified.digest()).unwrap();
}

#[test]
fn any_change_of_rocksdbs_own_files_makes_the_version_unusable() {
    let dir = tempfile::tempdir().unwrap();
    let verified = verified(dir.path(), 800, 16_000);
    let mut files = assembly::paths(&layout::db(dir.path())).unwrap();
    files.retain(|path| path.extension().is_none());
    assert_eq!(files.len(), 3, "CURRENT, MANIFEST and the index of keys: {files:?}");
    for path in files {
        let whole = fs::read(&path).unwrap();
        let step = if path.ends_with(layout::POINTS) { 89 } else { 1 };
        for at in (0..whole.len()).step_by(step) {
            fs::write(&path, &whole[..at]).unwrap();
            assert_eq!(unusable(dir.path(), verified.digest()).path(), Some(&*path));
            fs::write(&path, &whole).unwrap();
            flip(&path, at, (at % 8) as u8);
            assert_eq!(unusable(dir.path(), verified.digest()).path(), Some(&*path));
        }
        fs::write(&path, &whole).unwrap();
    }
    open(dir.path(), verified.digest()).unwrap();
}

/// The list of another version of the same shape is whole in itself.
#[test]
fn the_database_of_another_version_is_not_taken_for_this_ones() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let verified = verified(dir.path(), 800, 16_000);
    for rows in [790, 400] {
        let dir_of_other = other.path().join(rows.to_string());
        let _ = testing::verified(&dir_of_other, rows, 16_000);
        durable::remove_dir_all(&layout::db(dir.path())).unwrap();
        durable::rename(&layout::db(&dir_of_other), &layout::db(dir.path())).unwrap();
        unusable(dir.path(), verified.digest());
    }
}

#[test]
fn rocksdbs_own_files_are_made_again_when_they_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    let verified = verified(dir.path(), 800, 16_000);
    fs::remove_dir_all(layout::db(dir.path())).unwrap();
    fs::create_dir(layout::db_tmp(dir.path())).unwrap();
    fs::write(layout::db_tmp(dir.path()).join("CURRENT"), "left behind").unwrap();
    let snapshot = open(dir.path(), verified.digest()).unwrap();
    assert_eq!(errors_of_all_lookups(&snapshot, 0), 0);
    assert!(!layout::db_tmp(dir.path()).exists());
    crate::verify_snapshot(dir.path(), Some(verified.digest()), &mut |_| {}).unwrap();
}

#[test]
fn a_copy_that_a_backup_made_of_the_links_is_served_if_its_bytes_are_right() {
    let dir = tempfile::tempdir().unwrap();
    let verified = verified(dir.path(), 800, 16_000);
    let table = |dir: &Path| {
        let mut paths = assembly::paths(&layout::db(dir)).unwrap();
        paths.sort();
        paths.into_iter().find(|p| p.extension().is_some_and(|e| e == "sst")).unwrap()
    };
    let served = table(dir.path());
    let bytes = fs::read(&served).unwrap();
    fs::remove_file(&served).unwrap();
    fs::write(&served, &bytes).unwrap();
    open(dir.path(), verified.digest()).unwrap();
    flip(&served, 100, 0);
    assert_eq!(unusable(dir.path(), verified.digest()).path().unwrap(), served);

    // Nor is the file of another version taken for it, be it ever so like.
    let other = tempfile::tempdir().unwrap();
    let changed = records(800).into_iter().map(|(key, mut value)| {
        value[5] = b'9';
        (key, value)
    });
    let _verified =
        build_as(other.path(), changed, 16_000, Compression::Lz4).verify(&mut |_| {}).unwrap();
    fs::copy(table(other.path()), &served).unwrap();
    unusable(dir.path(), verified.digest());
}

#[test]
fn files_that_do_not_belong_or_are_missing_make_the_version_unusable() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage, &str); 10] = [
        ("a stray log", |d| fs::write(d.join("db/000042.log"), b"").unwrap(), "db/000042.log"),
        (
            "an options file",
            |d| fs::write(d.join("db/OPTIONS-000005"), b"").unwrap(),
            "db/OPTIONS-000005",
        ),
        (
            "a table too many",
            |d| fs::hard_link(d.join("000001.sst"), d.join("db/000099.sst")).unwrap(),
            "db/000099.sst",
        ),
        ("no CURRENT", |d| fs::remove_file(d.join("db/CURRENT")).unwrap(), "db/CURRENT"),
        (
            "another CURRENT",
            |d| fs::write(d.join("db/CURRENT"), "MANIFEST-000099\n").unwrap(),
            "db/CURRENT",
        ),
        ("no index", |d| fs::remove_file(d.join("db/points")).unwrap(), "db/points"),
        ("no dictionary", |d| fs::remove_file(d.join("dictionary")).unwrap(), "dictionary"),
        ("another dictionary", |d| flip(&d.join("dictionary"), 100, 0), "dictionary"),
        ("no table", |d| fs::remove_file(d.join("000001.sst")).unwrap(), "000001.sst"),
        ("no manifest", |d| fs::remove_file(d.join("manifest.json")).unwrap(), "manifest.json"),
    ];
    for (what, damage, named) in damages {
        let dir = tempfile::tempdir().unwrap();
        let verified = verified(dir.path(), 400, 16_000);
        damage(dir.path());
        let error = unusable(dir.path(), verified.digest());
        assert_eq!(error.path().unwrap(), dir.path().join(named), "{what}: {error}");
    }
    let nowhere = Path::new("/nonexistent/version");
    unusable(nowhere, &Digest::of(b""));
}

/// The index takes each of the two for the other: only what stands there tells them apart.
#[test]
fn keys_of_one_mark_are_told_apart() {
    let key = |n: u32| format!("learner:{n}").into_bytes();
    let mark = |n: u32| KeyHash::of(&key(n)).0 & 0xffff;
    let twin = |n: u32| (0..n).find(|other| mark(*other) == mark(n)).map(|other| (other, n));
    let (a, b) = (0..).find_map(twin).expect("there are 65,536 marks");
    let rows = BTreeMap::from([(key(a), b"of a".to_vec()), (key(b), b"of b".to_vec())]);
    let dir = tempfile::tempdir().unwrap();
    let verified = build(dir.path(), rows.clone(), 1 << 20).verify(&mut |_| {}).unwrap();
    let snapshot = open(dir.path(), verified.digest()).unwrap();
    let keys: Vec<_> = rows.keys().map(|key| Key::new(key).unwrap()).collect();
    let found = snapshot.get_many(&keys).unwrap();
    assert!(found.iter().flatten().eq(rows.values()), "{found:?}");
    for (key, value) in rows.iter() {
        assert_eq!(snapshot.get(Key::new(key).unwrap()).unwrap().as_ref(), Some(value));
    }
}

/// More keys than the processor's caches hold, some of them absent, and in no order.
#[test]
fn a_large_batch_is_answered_in_its_order() {
    let dir = tempfile::tempdir().unwrap();
    let rows = records(3000);
    let verified = build(dir.path(), rows.clone(), 40_000).verify(&mut |_| {}).unwrap();
    let snapshot = open(dir.path(), verified.digest()).unwrap();
    let asked: Vec<_> = (0..2500)
        .map(|n| match n % 5 {
            0 => (format!("absent {n}").into_bytes(), None),
            _ => {
                let (key, value) = rows[n * 1009 % rows.len()].clone();
                (key, Some(value))
            }
        })
        .collect();
    let keys: Vec<_> = asked.iter().map(|(key, _)| Key::new(key).unwrap()).collect();
    for known in [false, true] {
        let located = snapshot.locate(&keys);
        assert_eq!(located.in_memory(), known);
        located.ask_for();
        let found = located.values().unwrap();
        assert!(found.iter().eq(asked.iter().map(|(_, value)| value)), "in memory: {known}");
        snapshot.warm().unwrap();
    }
}

/// Of a key that is erased nothing is read: not even damage in its place is told.
#[test]
fn erased_keys_are_not_found_among_many() {
    let dir = tempfile::tempdir().unwrap();
    let rows = records(3000);
    let verified = build(dir.path(), rows.clone(), 40_000).verify(&mut |_| {}).unwrap();
    flip(&dir.path().join("000001.sst"), 5000, 0);
    let snapshot = open(dir.path(), verified.digest()).unwrap();
    let key_of = |(key, _): &(Vec<u8>, Vec<u8>)| key.clone();
    let damaged = |row: &&(Vec<u8>, Vec<u8>)| snapshot.get(Key::new(&row.0).unwrap()).is_err();
    let hurt: Vec<_> = rows.iter().filter(damaged).map(key_of).collect();
    assert!(!hurt.is_empty());
    let others = rows.iter().step_by(7).map(key_of);
    let gone: BTreeSet<_> = hurt.iter().cloned().chain(others).collect();

    let home = tempfile::tempdir().unwrap();
    let secret = Secret::make(&Layout::new(home.path())).unwrap();
    let digests = gone.iter().map(|key| secret.digest(key));
    let erased = ErasedKeys::new(secret, 1, digests);
    let keys: Vec<_> = rows.iter().map(|(key, _)| Key::new(key).unwrap()).collect();
    let located = snapshot.locate_without(&keys, Some(&erased));
    located.ask_for();
    let found = located.values().unwrap();
    for (number, ((key, value), found)) in rows.iter().zip(found).enumerate() {
        let is_gone = gone.contains(key);
        assert_eq!(located.is_erased(number), is_gone);
        assert_eq!(found.as_ref(), (!is_gone).then_some(value));
    }
    let code = snapshot.get_many(&keys).unwrap_err().code();
    assert_eq!(code, Code::DataCorrupt, "without the erasure it is told");
}

/// Where nobody has looked yet, every record comes from the disk.
#[test]
fn what_is_not_known_to_be_in_memory_is_read_from_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let long: Vec<u8> = (0..50_000u32).map(|n| (n * 7 % 251) as u8).collect();
    let mut rows = records(500);
    rows.push((b"long".to_vec(), long.clone()));
    let verified = build(dir.path(), rows.clone(), 1 << 20).verify(&mut |_| {}).unwrap();
    let snapshot = open(dir.path(), verified.digest()).unwrap();
    let keys: Vec<_> = rows.iter().map(|(key, _)| Key::new(key).unwrap()).collect();
    assert!(!snapshot.locate(&keys).in_memory());
    assert!(!snapshot.in_memory(Key::new(b"long").unwrap()));
    assert!(snapshot.in_memory(Key::new(b"absent").unwrap()), "nothing is to be read for it");
    let found = snapshot.get_many(&keys).unwrap();
    assert!(found.iter().zip(&rows).all(|(found, (_, value))| found.as_ref() == Some(value)));
    assert!(snapshot.locate(&keys).in_memory(), "all of it was just read");

    let again = open(dir.path(), verified.digest()).unwrap();
    again.warm_like(&snapshot);
    let warmed = keys.iter().filter(|key| again.in_memory(**key)).count();
    assert!(warmed > 10, "{warmed}");
    again.look().unwrap();
    assert!(again.locate(&keys).in_memory());
}

/// The records that are looked up stay in memory when their pages do not.
#[test]
fn of_a_version_that_is_too_large_what_is_looked_up_is_copied() {
    let dir = tempfile::tempdir().unwrap();
    let mut rows = records(500);
    rows.push((b"long".to_vec(), vec![7; 5000]));
    let verified = build(dir.path(), rows.clone(), 1 << 20).verify(&mut |_| {}).unwrap();
    let too_large = || open(dir.path(), verified.digest()).unwrap().with_copies(1 << 30);
    let keys: Vec<_> = rows.iter().map(|(key, _)| Key::new(key).unwrap()).collect();
    let copied = |snapshot: &Snapshot| keys.iter().filter(|key| snapshot.has_copy(**key)).count();
    let all_are_right = |snapshot: &Snapshot| {
        let right = |(key, value): &(Vec<u8>, Vec<u8>)| {
            snapshot.get(Key::new(key).unwrap()).unwrap().as_ref() == Some(value)
        };
        rows.iter().all(right) && snapshot.get(Key::new(b"absent").unwrap()).unwrap().is_none()
    };

    let before = open(dir.path(), verified.digest()).unwrap();
    drop(before.get_many(&keys).unwrap());
    let next = too_large();
    next.warm_like(&before);
    assert!(copied(&next) > 10 && all_are_right(&next), "{}", copied(&next));
    let small = open(dir.path(), verified.digest()).unwrap();
    small.warm_like(&before);
    assert_eq!((copied(&before), copied(&small)), (0, 0), "not too large");

    let serving = too_large();
    drop(serving.get_many(&keys).unwrap());
    serving.keep_hot();
    assert_eq!(copied(&serving), 0, "no page has gone");
    serving.let_all_go();
    serving.keep_hot();
    assert_eq!(copied(&serving), 0, "nothing is in memory, and nothing is read for this");
    drop(serving.get_many(&keys).unwrap());
    for _ in 0..2 {
        // Of the pages; then, without these, of the copies before.
        serving.keep_hot();
        serving.let_all_go();
        let here = keys.iter().filter(|key| serving.in_memory(**key)).count();
        assert!(here > 10 && here == copied(&serving), "{here}, {}", copied(&serving));
    }
    assert!(all_are_right(&serving));
    serving.drop_copies();
    assert_eq!((copied(&serving), serving.copies_made()), (0, 0));
}

#[test]
fn opening_changes_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let verified = verified(dir.path(), 800, 16_000);
    let state = || {
        let mut names = assembly::paths(&layout::db(dir.path())).unwrap();
        names.extend(assembly::paths(dir.path()).unwrap());
        names.sort();
        let modified = |p: &PathBuf| fs::metadata(p).unwrap().modified().unwrap();
        names.into_iter().map(|p| (modified(&p), p)).collect::<Vec<_>>()
    };
    let before = state();
    let snapshot = open(dir.path(), verified.digest()).unwrap();
    snapshot.warm().unwrap();
    assert_eq!(errors_of_all_lookups(&snapshot, 0), 0);
    drop(snapshot);
    assert_eq!(state(), before);
    assert_eq!(before.iter().filter(|(_, p)| p.ends_with("LOCK") || p.ends_with("LOG")).count(), 0);
}

#[test]
fn values_of_every_size_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let sizes = [0, 1, 4095, 4096, 4097, 1 << 20, crate::names::MAX_VALUE_BYTES];
    let rows = sizes
        .map(|n| (format!("{n:010}"), (0..n).map(|i| (i * 31 % 251) as u8).collect::<Vec<_>>()));
    let verified = build(dir.path(), rows.clone(), 1 << 20).verify(&mut |_| {}).unwrap();
    let snapshot = open(dir.path(), verified.digest()).unwrap();
    for (key, value) in rows {
        let found = snapshot.get(Key::new(key.as_bytes()).unwrap()).unwrap().unwrap();
        assert!(*found == value[..], "{key}");
    }
}
