//! A journal is damaged anywhere, or is older than the data, and repaired: the directory
//! starts, no number comes again, no data is gone, and nothing is promised that has no files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use tidetable_storage::{
    Activation, Admission, Cause, Code, DatasetConfig, DatasetName, Failed, JournalFault, Key,
    Layout, Manifest, NewToken, Repair, Scope, State, Store, StoreOptions, TokenId, Version,
    repair, repair_plan,
};

use crate::support::{
    Directory, activate, because, begin, code, copy, current, dataset, move_by_hand, publish, push,
    push_ready, push_versions, receive, records_of, roll_back, seal, state,
};

/// The last number that each dataset of [`eventful`] gave.
const GIVEN: [(&str, u64); 3] = [("a", 9), ("b", 3), ("c", 1)];

/// A directory in which everything happened.
fn eventful() -> Directory {
    let directory = Directory::new();
    let (a, b, c) = (dataset("a"), dataset("b"), dataset("c"));
    let store = directory.store();
    push_versions(store, &a, 4);
    roll_back(store, &a).unwrap();
    push_versions(store, &b, 2);
    together(store, &[(&a, 2), (&b, 1)]);
    push(store, &a, &records_of(5, 20));
    let failing = begin(store, &a, true);
    let failed = Failed {
        dataset: a.clone(),
        version: failing,
        code: "bad_rows".to_owned(),
        detail: "one row is bad".to_owned(),
        problems: Vec::new(),
    };
    store.fail(failed, Cause::default()).unwrap();
    push_versions(store, &c, 1);
    store.delete_dataset(&c, Cause::default()).unwrap();
    push_ready(store, &a, &records_of(7, 20));
    activate(store, &a, 7).unwrap();
    store.delete(&a, Version(1), Cause::default()).unwrap();
    store.delete_dataset(&b, Cause::default()).unwrap();
    push(store, &b, &records_of(3, 20));
    roll_back(store, &a).unwrap();
    store.hold(&a, because("inventory")).unwrap();
    push_ready(store, &a, &records_of(8, 20));
    let receiving = begin(store, &a, true);
    receive(store, &a, receiving, "1");
    assert_eq!(receiving, Version(9));
    gone(directory.path(), &["a/1", "b/1", "b/2", "c/1"]);
    directory
}

/// Waits until the files of these versions are gone: they are removed in the background.
fn gone(dir: &Path, versions: &[&str]) {
    let ends = Instant::now() + Duration::from_secs(60);
    let is_there = |version: &&&str| dir.join("datasets").join(version).exists();
    while let Some(version) = versions.iter().find(is_there) {
        assert!(Instant::now() < ends, "the files of {version} are not removed");
        thread::yield_now();
    }
}

fn together(store: &Store, versions: &[(&DatasetName, u64)]) {
    let one = |(name, v): &(&DatasetName, u64)| ((*name).clone(), Activation::of(Version(*v)));
    let asked = versions.iter().map(one).collect();
    store.activate_together(&asked, Cause::default()).unwrap();
}

fn journal_of(dir: &Path) -> PathBuf {
    Layout::new(dir).journal()
}

/// Where each record begins, and where the last one ends.
fn bounds(journal: &[u8]) -> Vec<usize> {
    let mut bounds = vec![12];
    while let Some(len) = journal.get(bounds[bounds.len() - 1]..).filter(|rest| !rest.is_empty()) {
        let len = u32::from_le_bytes(*len.first_chunk().unwrap()) as usize;
        bounds.push(bounds[bounds.len() - 1] + 16 + len + 4);
    }
    bounds
}

/// Everything beneath a directory that holds data, by its path: manifests and parts.
fn data(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(here) = open.pop() {
        for entry in fs::read_dir(here).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.ends_with("manifest.json") || path.to_str().unwrap().contains("/parts/")
            {
                found.insert(path.strip_prefix(dir).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn moved(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    move_by_hand(from, to);
}

fn open(dir: &Path) -> tidetable_storage::Result<(Store, tidetable_storage::Recovery)> {
    Store::open(dir, StoreOptions::default())
}

/// Repairs what a start refuses, and checks all that is promised. `given` are the numbers
/// that must not come again; `was` is the data that must still be there.
fn repaired(dir: &Path, given: &[(&str, u64)], was: &BTreeMap<PathBuf, Vec<u8>>, what: &str) {
    let before = (data(dir), fs::read(journal_of(dir)).unwrap());
    let plan = repair_plan(dir).unwrap();
    assert_eq!((data(dir), fs::read(journal_of(dir)).unwrap()), before, "{what}: a look");
    let done = repair(dir).unwrap();
    assert_eq!(lists(&done), lists(&plan), "{what}: what was said is what was done");
    let again = repair(dir).unwrap();
    assert!(!again.is_needed(), "{what}: {again:?}");

    let now = data(dir);
    for (path, bytes) in was {
        let name = path.strip_prefix("datasets").unwrap_or(path);
        let there = now.iter().any(|(p, b)| p.ends_with(name) && b == bytes);
        assert!(there, "{what}: {} is gone", path.display());
    }
    drop(open(dir).unwrap_or_else(|e| panic!("{what}: {e}")));
    let (store, recovery) = open(dir).unwrap();
    assert!(recovery.unactivated.is_empty(), "{what}: nothing comes back by itself");
    assert_eq!(data(dir), now, "{what}: a start removes no data");
    for (name, dataset) in store.catalog().datasets() {
        for (&version, entry) in &dataset.versions {
            if entry.state.has_files() && dataset.current != Some(version) {
                let served = store.live().get(name).unwrap();
                let lease = served.version(version).unwrap_or_else(|e| panic!("{what}: {e}"));
                assert_eq!(lease.version(), version);
            }
        }
    }
    for (name, last) in given {
        let name = dataset(name);
        store.ensure_dataset(&name, Cause::default()).unwrap();
        let version =
            store.admit(&name, &Admission::default(), Cause::default()).unwrap().number().unwrap();
        assert!(version.0 > *last, "{what}: {name} gave {version} again, {done:?}");
        assert!(version.0 < last + 300, "{what}: {name} jumped to {version}, {done:?}");
    }
}

fn lists(repair: &Repair) -> String {
    let Repair { used_up, failed, deleted, held, set_aside, standing, lost_records, .. } = repair;
    format!("{used_up:?}{failed:?}{deleted:?}{held:?}{set_aside:?}{standing:?}{lost_records}")
}

#[test]
fn wherever_one_record_is_damaged() {
    let directory = eventful();
    let journal = fs::read(journal_of(directory.path())).unwrap();
    let was = data(directory.path());
    assert_eq!(was.len(), 9, "a 2 to 5, 7 and 8, b 3, a part and its document: {was:?}");
    let bounds = bounds(&journal);
    assert!(bounds.len() > 40, "{}", bounds.len());
    for (n, record) in bounds.windows(2).enumerate() {
        for at in [record[0] + 5, record[0] + 20, record[1] - 1] {
            let dir = copy(directory.path());
            let mut bytes = journal.clone();
            bytes[at] ^= 4;
            fs::write(journal_of(dir.path()), bytes).unwrap();
            assert_eq!(code(open(dir.path())), Code::JournalCorrupt);
            repaired(dir.path(), &GIVEN, &was, &format!("record {} byte {at}", n + 1));
        }
    }
}

#[test]
fn wherever_a_stretch_is_lost() {
    let directory = eventful();
    let journal = fs::read(journal_of(directory.path())).unwrap();
    let was = data(directory.path());
    let bounds = bounds(&journal);
    for first in (0..bounds.len() - 1).step_by(3) {
        for last in (first..bounds.len() - 1).step_by(7) {
            let dir = copy(directory.path());
            let mut bytes = journal.clone();
            let fill = if last % 2 == 0 { 0xee } else { 0 };
            bytes[bounds[first] + 3..bounds[last + 1] - 3].fill(fill);
            fs::write(journal_of(dir.path()), bytes).unwrap();
            // Of a dataset of which nothing is left but its numbers, nothing can be known.
            let lost = |name: &&(&str, u64)| name.0 != "c" || last - first < 3;
            let given: Vec<_> = GIVEN.iter().filter(lost).copied().collect();
            repaired(dir.path(), &given, &was, &format!("records {first} to {last}"));
        }
    }
}

#[test]
fn a_repair_that_was_killed_is_done_by_the_next_one() {
    let directory = eventful();
    let was = data(directory.path());
    let journal = fs::read(journal_of(directory.path())).unwrap();
    let bounds = bounds(&journal);
    let (damaged, older) = (bounds[bounds.len() / 2], bounds[bounds.len() / 3]);
    for is_damaged in [true, false] {
        let mut bytes = journal.clone();
        if is_damaged {
            bytes[damaged + 20] ^= 1;
        } else {
            bytes.truncate(older);
        }
        let set_aside = {
            let dir = copy(directory.path());
            fs::write(journal_of(dir.path()), &bytes).unwrap();
            repair_plan(dir.path()).unwrap().set_aside.len()
        };
        assert!(set_aside >= 3, "{set_aside}");
        for done in 0..=set_aside {
            let dir = copy(directory.path());
            fs::write(journal_of(dir.path()), &bytes).unwrap();
            for (from, to) in &repair_plan(dir.path()).unwrap().set_aside[..done] {
                moved(from, to);
            }
            let kept = format!("journal.before-cut-{}", bytes.len());
            fs::write(dir.path().join(kept), &bytes).unwrap();
            assert_eq!(code(open(dir.path())), Code::JournalCorrupt, "{done} {is_damaged}");
            // Of `c` an older journal knows nothing, and nothing of it is on the disk.
            let given = if is_damaged { &GIVEN[..] } else { &GIVEN[..2] };
            repaired(dir.path(), given, &was, &format!("killed after {done} {is_damaged}"));
        }
    }
}

#[test]
fn what_a_cut_without_all_this_left_is_mended_too() {
    let directory = eventful();
    let was = data(directory.path());
    let journal = fs::read(journal_of(directory.path())).unwrap();
    let bounds = bounds(&journal);
    for at in (0..bounds.len() - 1).step_by(5) {
        let dir = copy(directory.path());
        let mut damaged = journal.clone();
        damaged[bounds[at] + 18] ^= 1;
        let kept = format!("journal.before-cut-{}", damaged.len());
        fs::write(dir.path().join(kept), &damaged).unwrap();
        fs::write(journal_of(dir.path()), &journal[..bounds[at]]).unwrap();
        let unowned = repair_plan(dir.path()).unwrap();
        assert!(unowned.is_needed(), "{at}");
        if unowned.set_aside.is_empty() {
            // Nothing on the disk shows it, and the numbers do not come again all the same.
            repair(dir.path()).unwrap();
            let store = open(dir.path()).unwrap().0;
            let version = begin(&store, &dataset("a"), true);
            assert!(version.0 > 9, "{at}: {version}");
            continue;
        }
        repaired(dir.path(), &GIVEN, &was, &format!("cut before record {}", at + 1));
    }
}

#[test]
fn a_second_cut_knows_what_the_first_one_used_up() {
    let a = dataset("a");
    let mut directory = eventful();
    directory.close();
    let journal = journal_of(directory.path());
    // All but the first record is lost: numbers jump by what the bytes may have held.
    let mut bytes = fs::read(&journal).unwrap();
    let lost = bounds(&bytes)[1] + 3..bytes.len() - 3;
    bytes[lost].fill(0xee);
    fs::write(&journal, bytes).unwrap();
    repair(directory.path()).unwrap();
    directory.open();
    let jumped = push(directory.store(), &a, &records_of(1, 20));
    assert!(jumped.0 > 60, "{jumped}");
    directory.close();
    let mut bytes = fs::read(&journal).unwrap();
    let lost = bounds(&bytes)[1] + 3..bytes.len() - 3;
    bytes[lost].fill(0xee);
    fs::write(&journal, bytes).unwrap();
    // Not even a directory names it.
    fs::remove_dir_all(Layout::new(directory.path()).version(&a, jumped)).unwrap();
    repair(directory.path()).unwrap();
    directory.open();
    assert!(begin(directory.store(), &a, true) > jumped);
}

#[test]
fn a_damaged_checkpoint_costs_what_it_knew_and_no_number_comes_again() {
    let mut directory = eventful();
    for n in 0..60 {
        let description = Some("x".repeat(4000 + n));
        let config = DatasetConfig { description, ..DatasetConfig::default() };
        directory.store().configure(&dataset("b"), &config, Cause::default()).unwrap();
    }
    directory.options.checkpoint_bytes = 1;
    directory.reopen();
    directory.store().sweep_at(tidetable_storage::now()).unwrap();
    push(directory.store(), &dataset("b"), &records_of(4, 20));
    let was = data(directory.path());
    let dir = copy(directory.path());
    let mut journal = fs::read(journal_of(dir.path())).unwrap();
    let checkpoint = bounds(&journal)[1];
    assert!(checkpoint > 4000, "the first record is a checkpoint");
    journal[checkpoint / 2] ^= 1;
    fs::write(journal_of(dir.path()), journal).unwrap();
    let plan = repair_plan(dir.path()).unwrap();
    assert!(plan.lost_records > 100, "it stood for all events before it: {plan:?}");
    repair(dir.path()).unwrap();
    let now = data(dir.path());
    assert_eq!(now.len(), was.len());
    let store = open(dir.path()).unwrap().0;
    for (name, last) in [("a", 9), ("b", 4)] {
        assert!(begin(&store, &dataset(name), true).0 > last, "{name}");
    }
}

#[test]
fn a_version_that_was_being_pushed_and_may_have_been_served_has_failed() {
    let mut directory = Directory::new();
    let a = dataset("a");
    push_versions(directory.store(), &a, 1);
    let version = begin(directory.store(), &a, true);
    seal(directory.store(), &a, version, true);
    publish(directory.store(), &a, version, &records_of(2, 20));
    activate(directory.store(), &a, 2).unwrap();
    directory.close();
    let journal = journal_of(directory.path());
    let mut bytes = fs::read(&journal).unwrap();
    let bounds = bounds(&bytes);
    // The record of its publication, the last but one.
    bytes[bounds[bounds.len() - 3] + 30] ^= 1;
    fs::write(&journal, &bytes).unwrap();
    let done = repair(directory.path()).unwrap();
    assert_eq!(done.failed, [(a.clone(), version)]);
    assert_eq!(done.set_aside.len(), 1);
    assert_eq!(done.kept.as_deref().map(|kept| fs::read(kept).unwrap()), Some(bytes));
    assert_eq!((done.standing[0].current, done.standing[0].cut), (Some(Version(1)), Some(version)));
    directory.open();
    assert_eq!(state(directory.store(), &a, 2), State::Failed);
    let entry = directory.store().catalog().entry(&a, version).unwrap().clone();
    assert_eq!(entry.code.as_deref(), Some("journal_cut"));
    assert_eq!(current(directory.store(), &a), Some(1));
    let (from, to) = &done.set_aside[0];
    assert!(!from.exists() && Manifest::read(to).is_ok());
}

#[test]
fn files_that_are_gone_are_no_target_of_a_rollback() {
    let mut directory = Directory::new();
    let a = dataset("a");
    push_versions(directory.store(), &a, 3);
    directory.store().delete(&a, Version(1), Cause::default()).unwrap();
    directory.close();
    let journal = journal_of(directory.path());
    let mut bytes = fs::read(&journal).unwrap();
    let last = bounds(&bytes)[bounds(&bytes).len() - 2];
    bytes[last + 20] ^= 1;
    fs::write(&journal, &bytes).unwrap();
    // And of the version that would be rolled back to only half is there.
    let second = Layout::new(directory.path()).version(&a, Version(2));
    fs::remove_file(second.join("000001.sst")).unwrap();
    let done = repair(directory.path()).unwrap();
    assert_eq!(done.deleted, [(a.clone(), Version(1)), (a.clone(), Version(2))]);
    directory.open();
    assert_eq!(state(directory.store(), &a, 1), State::Deleted);
    assert_eq!(code(roll_back(directory.store(), &a)), Code::NothingToRollBackTo);
}

#[test]
fn where_nothing_is_wrong_nothing_is_done() {
    let mut directory = eventful();
    // What a crash left is a start's business, not a repair's.
    let leftover = Layout::new(directory.path()).version(&dataset("a"), Version(6));
    fs::create_dir_all(&leftover).unwrap();
    assert_eq!(code(repair(directory.path())), Code::DirectoryInUse);
    directory.close();
    let journal = fs::read(journal_of(directory.path())).unwrap();
    let done = repair(directory.path()).unwrap();
    assert!(!done.is_needed() && done.kept.is_none() && leftover.exists());
    assert_eq!(fs::read(journal_of(directory.path())).unwrap(), journal);
    // Half a record was never acknowledged: it gave no number.
    fs::write(journal_of(directory.path()), [&journal[..], &[7, 0, 0]].concat()).unwrap();
    let torn = repair(directory.path()).unwrap();
    assert_eq!(torn.journal.fault, Some(JournalFault::Torn));
    assert!(torn.used_up.is_empty() && torn.kept.is_some() && leftover.exists());
    assert_eq!(fs::read(journal_of(directory.path())).unwrap(), journal);
    assert!(!repair(directory.path()).unwrap().is_needed());
}

/// As an interrupted copy leaves a journal: cut within any of its records.
/// A directory that is closed, its journal, and the length that had when it knew version 1 of `a`;
/// the rest of it says of version 2 of `a`, and of two versions of `b`.
fn one_version_of_a_and_then_more() -> (Directory, Vec<u8>, usize) {
    let mut directory = Directory::new();
    push_versions(directory.store(), &dataset("a"), 1);
    let before = fs::read(journal_of(directory.path())).unwrap().len();
    push(directory.store(), &dataset("a"), &records_of(2, 40));
    push_versions(directory.store(), &dataset("b"), 2);
    directory.close();
    let journal = fs::read(journal_of(directory.path())).unwrap();
    (directory, journal, before)
}

#[test]
fn a_journal_that_lost_more_than_an_append_is_no_torn_one() {
    let (mut directory, mut journal, before) = one_version_of_a_and_then_more();
    journal.truncate(before + 9);
    fs::write(journal_of(directory.path()), journal).unwrap();
    let plan = repair_plan(directory.path()).unwrap();
    assert_eq!(plan.journal.fault, Some(JournalFault::Torn));
    assert!(plan.stops_a_start() && plan.set_aside.len() >= 2, "{plan:?}");
    assert_eq!(code(directory.try_open()), Code::JournalCorrupt);
}

#[test]
fn what_was_current_of_a_dataset_that_only_the_cut_part_knows_is_told() {
    let (directory, mut journal, before) = one_version_of_a_and_then_more();
    journal[before + 20] ^= 1;
    fs::write(journal_of(directory.path()), journal).unwrap();
    let standing = repair_plan(directory.path()).unwrap().standing;
    let told: Vec<_> = standing.iter().map(|s| (s.dataset.as_str(), s.current, s.cut)).collect();
    let (one, two) = (Some(Version(1)), Some(Version(2)));
    assert_eq!(told, [("a", one, two), ("b", None, two)]);
}

#[test]
fn a_lost_erasure_key_is_told_which_no_cut_mends() {
    let mut directory = Directory::new();
    let a = dataset("a");
    push_versions(directory.store(), &a, 1);
    let scopes = [Scope::Dataset(a)];
    directory.store().erase(&scopes, &[Key::new(b"7").unwrap()], because("a request")).unwrap();
    directory.close();
    assert!(repair_plan(directory.path()).unwrap().erasure_key.is_none());
    fs::remove_file(directory.path().join("erasure-key")).unwrap();
    let plan = repair_plan(directory.path()).unwrap();
    assert_eq!(plan.erasure_key.unwrap().code(), Code::ErasureKeyLost);
}

#[test]
fn a_directory_that_no_server_named_is_set_aside_and_its_number_not_believed() {
    let mut directory = Directory::new();
    push_versions(directory.store(), &dataset("a"), 1);
    directory.close();
    for number in ["18446744073709551615", "7"] {
        let odd = directory.path().join("datasets/a").join(number);
        fs::create_dir_all(&odd).unwrap();
        assert_eq!(code(directory.try_open()), Code::JournalCorrupt);
        repair(directory.path()).unwrap();
        assert!(!odd.exists());
    }
    directory.open();
    assert_eq!(begin(directory.store(), &dataset("a"), true), Version(8));
}

#[test]
fn what_a_cut_common_activation_had_made_current_is_told_of_each() {
    let (a, b) = (dataset("a"), dataset("b"));
    let mut directory = Directory::new();
    let store = directory.store();
    push_versions(store, &a, 2);
    push_versions(store, &b, 2);
    let before = fs::read(journal_of(directory.path())).unwrap().len();
    store.hold(&a, Cause::default()).unwrap();
    together(store, &[(&a, 1), (&b, 1)]);
    directory.close();
    let mut journal = fs::read(journal_of(directory.path())).unwrap();
    journal[before + 20] ^= 1;
    fs::write(journal_of(directory.path()), journal).unwrap();
    let standing = repair_plan(directory.path()).unwrap().standing;
    let told: Vec<_> = standing.iter().map(|s| (s.dataset.as_str(), s.current, s.cut)).collect();
    let of = |name| (name, Some(Version(2)), Some(Version(1)));
    assert_eq!(told, [of("a"), of("b")]);
}

#[test]
fn what_can_still_be_read_of_tokens_holds_on_after_a_cut() {
    let id = |n: u8| TokenId::new([n; 8]);
    let mut directory = Directory::new();
    let store = directory.store();
    let make = |n: u8| {
        let (name, grants) = (format!("token-{n}"), "{}".to_owned());
        let new = NewToken { id: id(n), name, hash: [n; 32], grants, expires_at: None };
        store.create_token(&new, Cause::default()).unwrap();
    };
    make(1);
    let before = fs::read(journal_of(directory.path())).unwrap().len();
    push_versions(store, &dataset("a"), 1);
    make(2);
    store.revoke_token(id(1), because("leaked")).unwrap();
    let tokens = store.catalog().tokens().clone();
    directory.close();
    let mut journal = fs::read(journal_of(directory.path())).unwrap();
    journal[before + 20] ^= 1;
    fs::write(journal_of(directory.path()), journal).unwrap();
    repair(directory.path()).unwrap();
    directory.open();
    assert_eq!(directory.store().catalog().tokens(), &tokens, "one was revoked and stays so");
    assert_eq!(directory.reopen().torn_bytes, None);
    assert_eq!(directory.store().catalog().tokens(), &tokens);
}
