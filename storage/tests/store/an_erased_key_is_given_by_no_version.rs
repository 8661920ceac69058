//! The right to be forgotten: from the answer on no version of any age gives an erased key,
//! whatever is done afterwards, until that is lifted; and its bytes leave the disk.

use std::path::Path;
use std::sync::Arc;

use tidetable_storage::{
    Cause, Code, Compared, Differences, Error, Key, Layout, RewriteStep, Rewritten, Scope, State,
    Store, StoreOptions, Version, differences, version_of,
};

use crate::support::{
    Directory, Records, activate, assert_gives, because, begin, code, copy, current, dataset,
    keep_few, publish, push, push_ready, push_versions, records_of, roll_back, seal, state,
};

const GONE: &[u8] = b"key:00017";

fn here(name: &str) -> Vec<Scope> {
    vec![Scope::Dataset(dataset(name))]
}

fn erase(store: &Store, scopes: &[Scope], keys: &[&[u8]]) -> u64 {
    let keys: Vec<Key<'_>> = keys.iter().map(|key| Key::new(key).unwrap()).collect();
    store.erase(scopes, &keys, because("request 1177")).unwrap().erased
}

fn lift(store: &Store, scopes: &[Scope], key: &[u8]) -> tidetable_storage::Result<u64> {
    let keys = [Key::new(key).unwrap()];
    Ok(store.lift_erasure(scopes, &keys, because("a mistake"))?.lifted)
}

fn rewrite(store: &Store, version: u64) -> Option<Rewritten> {
    let (a, cause) = (dataset("a"), because("request 1177"));
    store.rewrite(&a, Version(version), false, cause, &mut |_| true).unwrap()
}

fn without(mut records: Records, keys: &[&[u8]]) -> Records {
    keys.iter().for_each(|key| drop(records.remove(*key)));
    records
}

/// Every way to read each version gives all of it but these keys.
fn assert_none_gives(store: &Store, name: &str, versions: &[u64], keys: &[&[u8]]) {
    let served = store.live().get(&dataset(name)).unwrap();
    for &version in versions {
        let lease = served.version(Version(version)).unwrap();
        assert_gives(lease.view(), &without(records_of(version, 40), keys));
        for key in keys {
            assert!(lease.is_erased(key) && served.is_erased(key));
            let asked = Key::new(key).unwrap();
            assert_eq!(lease.get(asked).unwrap(), None, "version {version}");
            assert_eq!(lease.get_many(&[asked]).unwrap(), [None]);
            let mut value = b"before".to_vec();
            assert!(!lease.get_unnoticed(asked, &mut value).unwrap());
            let samples = served.profile(Version(version)).unwrap().1.unwrap().samples;
            assert!(samples.iter().all(|sample| sample.key != *key));
        }
    }
}

/// Whether any file beneath the directory has these bytes.
fn is_on_disk(dir: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(dir).unwrap().map(Result::unwrap).any(|entry| {
        if entry.file_type().unwrap().is_dir() {
            return is_on_disk(&entry.path(), bytes);
        }
        let read = std::fs::read(entry.path()).unwrap();
        read.windows(bytes.len()).any(|window| window == bytes)
    })
}

fn held_by(store: &Store) -> Vec<u64> {
    store.catalog().erasures().held_by().map(|(_, version)| version.0).collect()
}

#[test]
fn after_a_restart_a_rollback_an_activation_and_a_push() {
    let a = dataset("a");
    let mut directory = Directory::new();
    push_versions(directory.store(), &a, 3);
    let before = directory.store().live().get(&a).unwrap().version(Version(2)).unwrap();
    assert_eq!(erase(directory.store(), &here("a"), &[GONE]), 1);
    assert_none_gives(directory.store(), "a", &[1, 2, 3], &[GONE]);
    let key = Key::new(GONE).unwrap();
    assert!(before.get(key).unwrap().is_some(), "a request that began before reads on");
    drop(before);
    directory.reopen();
    assert_none_gives(directory.store(), "a", &[3, 1, 2], &[GONE]);
    roll_back(directory.store(), &a).unwrap();
    assert_eq!(current(directory.store(), &a), Some(2));
    activate(directory.store(), &a, 1).unwrap();
    assert_none_gives(directory.store(), "a", &[1, 2, 3], &[GONE]);
    // The files of a version that was built somewhere else, with the key.
    push_ready(directory.store(), &a, &records_of(4, 40));
    activate(directory.store(), &a, 4).unwrap();
    assert_none_gives(directory.store(), "a", &[1, 2, 3, 4], &[GONE]);
    directory.reopen();
    assert_none_gives(directory.store(), "a", &[4, 1, 2, 3], &[GONE]);
    // A dataset of that name that is made later is the same.
    directory.store().delete_dataset(&a, Cause::default()).unwrap();
    assert!(held_by(directory.store()).is_empty());
    let version = push(directory.store(), &a, &records_of(5, 40));
    assert_eq!(version, Version(5));
    assert_none_gives(directory.store(), "a", &[5], &[GONE]);
}

#[test]
fn in_all_datasets_or_in_one_and_lifted_where_it_was_erased() {
    let directory = Directory::new();
    let store = directory.store();
    for name in ["a", "b"] {
        push_versions(store, &dataset(name), 1);
    }
    assert_eq!(erase(store, &here("a"), &[GONE, b"key:00001"]), 2);
    assert_eq!(erase(store, &here("a"), &[GONE]), 0, "it is already");
    let seq = store.catalog().seq();
    let b = store.live().get(&dataset("b")).unwrap();
    assert!(!b.is_erased(GONE) && b.erased().is_none());
    assert_eq!(erase(store, &[Scope::Everywhere], &[GONE]), 1);
    assert_none_gives(store, "b", &[1], &[GONE]);
    push_versions(store, &dataset("later"), 1);
    assert_none_gives(store, "later", &[1], &[GONE]);
    let [b, later] = ["b", "later"].map(|name| {
        let served = store.live().get(&dataset(name)).unwrap();
        Arc::clone(served.erased().unwrap())
    });
    assert!(Arc::ptr_eq(&b, &later), "one set for all that have no erased keys of their own");
    // What is erased everywhere is not lifted in one dataset.
    assert_eq!(code(lift(store, &here("b"), GONE)), Code::NotErased);
    assert_eq!(lift(store, &here("a"), GONE).unwrap(), 1);
    assert_none_gives(store, "a", &[1], &[GONE, b"key:00001"]);
    assert_eq!(lift(store, &[Scope::Everywhere], GONE).unwrap(), 1);
    assert_none_gives(store, "a", &[1], &[b"key:00001"]);
    assert_eq!(code(lift(store, &[Scope::Everywhere], GONE)), Code::NotErased);
    assert_eq!(lift(store, &here("a"), b"key:00001").unwrap(), 1);
    for name in ["a", "b", "later"] {
        let served = store.live().get(&dataset(name)).unwrap();
        assert!(served.erased().is_none(), "a lookup costs what it did before");
        assert_gives(served.version(Version(1)).unwrap().view(), &records_of(1, 40));
    }
    assert!(store.catalog().erasures().is_empty());
    assert!(store.catalog().seq() > seq);
    assert_eq!(
        code(store.erase(&here("nobody"), &[Key::new(GONE).unwrap()], Cause::default())),
        Code::DatasetNotFound
    );
}

#[test]
fn a_comparison_leaves_it_out() {
    let a = dataset("a");
    let directory = Directory::new();
    let store = directory.store();
    push_versions(store, &a, 2);
    erase(store, &here("a"), &[GONE]);
    let served = store.live().get(&a).unwrap();
    let [one, two] = [1, 2].map(|version| served.version(Version(version)).unwrap());
    let found = differences(one.view(), two.view(), |compared| {
        let (Compared::Changed { key, .. }
        | Compared::Added { key, .. }
        | Compared::Removed { key, .. }
        | Compared::Equal { key }) = compared;
        assert_ne!(key, GONE);
        Ok::<(), Error>(())
    });
    assert_eq!(found.unwrap(), Differences { changed: 39, ..Differences::default() });
}

#[test]
fn a_required_key_that_is_erased_is_missed_by_no_gate() {
    let a = dataset("a");
    let directory = Directory::new();
    let store = directory.store();
    push_versions(store, &a, 1);
    let gates = r#"{"gates":{"required_keys":["key:00017"],"sample_lookups":[{"key":"key:00017","fields":{}}]}}"#;
    store.configure(&a, &serde_json::from_str(gates).unwrap(), Cause::default()).unwrap();
    let version = push_ready(store, &a, &without(records_of(2, 40), &[GONE]));
    assert_eq!(state(store, &a, version.0), State::Rejected);
    erase(store, &here("a"), &[GONE]);
    let version = push_ready(store, &a, &without(records_of(3, 40), &[GONE]));
    assert_eq!(state(store, &a, version.0), State::Ready);
}

#[test]
fn its_bytes_leave_the_disk_when_a_version_is_rewritten() {
    let a = dataset("a");
    let mut directory = Directory::new();
    push_versions(directory.store(), &a, 2);
    let store = directory.store();
    erase(store, &here("a"), &[GONE, b"key:00003"]);
    assert_eq!(held_by(store), [1, 2]);
    assert!(is_on_disk(directory.path(), GONE), "nothing was rewritten yet");
    let reading = store.live().get(&a).unwrap().current().unwrap();
    for version in [1, 2] {
        assert_eq!(rewrite(store, version), Some(Rewritten { removed: 2 }));
        assert_eq!(held_by(store), if version == 1 { vec![2] } else { vec![] });
    }
    let kept = without(records_of(2, 40), &[GONE, b"key:00003"]);
    assert_gives(reading.view(), &kept);
    assert!(is_on_disk(directory.path(), GONE), "somebody reads the files before");
    drop(reading);
    assert_none_gives(store, "a", &[1, 2], &[GONE, b"key:00003"]);
    let lease = store.live().get(&a).unwrap().version(Version(1)).unwrap();
    assert_eq!(lease.records(), 38);
    drop(lease);
    {
        let catalog = store.catalog();
        let entry = catalog.entry(&a, Version(2)).unwrap();
        assert_eq!((entry.generation, entry.stats.as_ref().unwrap().records), (1, 38));
        let history = &catalog.dataset(&a).unwrap().history;
        let told: Vec<(&str, &str)> = history
            .iter()
            .rev()
            .take(3)
            .map(|line| (line.event.as_str(), line.reason.as_deref().unwrap_or("")))
            .collect();
        let rewritten = ("version_rewritten", "without 2 records of erased keys: request 1177");
        assert_eq!(told, [rewritten, rewritten, ("erased", "2 keys: request 1177")]);
        let erasures: Vec<_> = catalog.erasures().iter().collect();
        assert!(erasures[0].gone_at.is_some(), "{erasures:?}");
    }
    directory.close();
    let in_hex: String = GONE.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(!is_on_disk(directory.path(), GONE), "no file has it");
    assert!(!is_on_disk(directory.path(), in_hex.as_bytes()), "no manifest has it");
    assert!(!is_on_disk(directory.path(), b"key:00003"));
    assert!(is_on_disk(directory.path(), b"key:00004"));
    let recovery = directory.open();
    assert!(recovery.done.is_empty(), "{recovery:?}");
    assert_none_gives(directory.store(), "a", &[2, 1], &[GONE, b"key:00003"]);
    roll_back(directory.store(), &a).unwrap();
    assert_none_gives(directory.store(), "a", &[2, 1], &[GONE, b"key:00003"]);
    // What was lifted does not come back where its bytes are gone.
    lift(directory.store(), &here("a"), GONE).unwrap();
    let lease = directory.store().live().get(&a).unwrap().current().unwrap();
    assert_eq!(lease.get(Key::new(GONE).unwrap()).unwrap(), None);
    // Again, in the next generation.
    erase(directory.store(), &here("a"), &[b"key:00030"]);
    assert_eq!(rewrite(directory.store(), 2), Some(Rewritten { removed: 1 }));
    let entry = directory.store().catalog().entry(&a, Version(2)).unwrap().clone();
    assert_eq!(entry.generation, 2);
    directory.reopen();
    let lease = directory.store().live().get(&a).unwrap().version(Version(2)).unwrap();
    assert_eq!(lease.records(), 37);
    let gone: [&[u8]; 3] = [GONE, b"key:00003", b"key:00030"];
    assert_gives(lease.view(), &without(records_of(2, 40), &gone));
}

#[test]
fn a_version_without_it_is_left_as_it_is() {
    let a = dataset("a");
    let mut directory = Directory::new();
    let store = directory.store();
    push_versions(store, &a, 2);
    erase(store, &here("a"), &[b"nobody's"]);
    assert!(held_by(store).is_empty(), "both are open, and have it not");
    assert_eq!(rewrite(store, 1), Some(Rewritten { removed: 0 }));
    directory.reopen();
    // What is not open is looked into when it is rewritten.
    let store = directory.store();
    erase(store, &here("a"), &[b"nobody else's"]);
    assert_eq!(held_by(store), [1, 2]);
    assert_eq!(rewrite(store, 1), Some(Rewritten { removed: 0 }));
    assert_eq!(held_by(store), [2]);
    assert_eq!(store.catalog().entry(&a, Version(1)).unwrap().generation, 0);
    let layout = Layout::new(directory.path());
    assert!(layout.version(&a, Version(1)).exists());
}

#[test]
fn it_goes_with_the_version_that_is_given_up() {
    let a = dataset("a");
    let directory = Directory::new();
    let store = directory.store();
    keep_after(store, 2);
    erase(store, &here("a"), &[GONE]);
    assert_eq!(held_by(store), [1, 2]);
    // Built without the key, as the child process does.
    for version in [3, 4] {
        push(store, &a, &without(records_of(version, 40), &[GONE]));
    }
    store.sweep().unwrap();
    assert_eq!(state(store, &a, 1), State::Deleted);
    assert_eq!(state(store, &a, 2), State::Deleted);
    assert!(held_by(store).is_empty());
    let catalog = store.catalog();
    assert!(catalog.erasures().iter().all(|erasure| erasure.gone_at.is_some()));
}

fn keep_after(store: &Store, versions: u64) {
    let a = dataset("a");
    push_versions(store, &a, 1);
    keep_few(store, &a, 2);
    for version in 2..=versions {
        push(store, &a, &records_of(version, 40));
    }
}

#[test]
fn a_push_that_is_under_way_may_hold_it_and_one_that_is_sealed_later_does_not() {
    let a = dataset("a");
    let directory = Directory::new();
    let store = directory.store();
    push_versions(store, &a, 1);
    let (building, receiving) = (begin(store, &a, true), begin(store, &a, true));
    seal(store, &a, building, true);
    erase(store, &here("a"), &[GONE]);
    let holders = || {
        let catalog = store.catalog();
        let erasure = catalog.erasures().iter().next().unwrap().clone();
        erasure.held_by.iter().map(|h| (h.version.0, h.in_parts)).collect::<Vec<_>>()
    };
    assert_eq!(holders(), [(1, false), (2, false), (3, true)]);
    publish(store, &a, building, &records_of(2, 40));
    assert_eq!(holders(), [(1, false), (2, false), (3, true)]);
    seal(store, &a, receiving, true);
    publish(store, &a, receiving, &without(records_of(3, 40), &[GONE]));
    assert_eq!(holders(), [(1, false), (2, false)]);
    activate(store, &a, 3).unwrap();
    assert_none_gives(store, "a", &[1, 2, 3], &[GONE]);
    assert_eq!(rewrite(store, 2), Some(Rewritten { removed: 1 }));
    assert_eq!(holders(), [(1, false)]);
}

#[test]
fn a_crash_at_any_point_of_a_rewriting_leaves_the_one_or_the_other() {
    let a = dataset("a");
    let mut directory = Directory::new();
    push_versions(directory.store(), &a, 2);
    erase(directory.store(), &here("a"), &[GONE]);
    // As the disk is after each step that is told, and after the record with a reader of the
    // files before.
    let mut crashes = Vec::new();
    let path = directory.path().to_owned();
    let reading = directory.store().live().get(&a).unwrap().version(Version(2)).unwrap();
    let mut steps = Vec::new();
    let cause = because("request 1177");
    let done = directory.store().rewrite(&a, Version(2), false, cause, &mut |step| {
        steps.push(step);
        crashes.push(copy(&path));
        true
    });
    assert_eq!(done.unwrap(), Some(Rewritten { removed: 1 }));
    assert!(matches!(steps.last(), Some(RewriteStep::Verifying(done, total)) if done == total));
    crashes.push(copy(&path));
    let recorded = copy(&path);
    // In its place, and the record is not there yet.
    let layout = Layout::new(&path);
    let renamed = copy(crashes[0].path());
    copy_dir(
        &layout.generation(&a, Version(2), 1),
        &Layout::new(renamed.path()).generation(&a, Version(2), 1),
    );
    crashes.push(renamed);
    drop(reading);
    directory.close();
    let ended = copy(&path);
    for crash in crashes.iter().chain([&recorded, &ended]) {
        for _ in 0..2 {
            let (store, _) = Store::open(crash.path(), StoreOptions::default()).unwrap();
            assert_none_gives(&store, "a", &[1, 2], &[GONE]);
            let of_2 = std::fs::read_dir(
                Layout::new(crash.path()).version(&a, Version(2)).parent().unwrap(),
            );
            let of_2 = of_2.unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
            let of_2: Vec<_> =
                of_2.filter(|n| version_of(n).is_some_and(|(v, _)| v == Version(2))).collect();
            let generation = store.catalog().entry(&a, Version(2)).unwrap().generation;
            let expected = if generation == 0 { "2" } else { "2.1" };
            assert_eq!(of_2, [expected], "the other one is gone");
            assert_eq!(std::fs::read_dir(crash.path().join("staging")).unwrap().count(), 0);
            // It can be done, or done again, from there.
            let removed = rewrite(&store, 2).unwrap().removed;
            assert_eq!(removed, u64::from(generation == 0));
        }
    }
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), &to).unwrap();
        }
    }
}

#[test]
fn a_rewriting_ends_when_it_is_told_to_or_its_version_is_given_up() {
    let a = dataset("a");
    let directory = Directory::new();
    let store = directory.store();
    push_versions(store, &a, 3);
    erase(store, &here("a"), &[GONE]);
    let rewrite = |version: u64, goes_on: &mut (dyn FnMut(RewriteStep) -> bool + Send)| {
        store.rewrite(&a, Version(version), true, Cause::default(), goes_on)
    };
    assert_eq!(rewrite(1, &mut |_| false).unwrap(), None);
    assert_eq!(store.catalog().entry(&a, Version(1)).unwrap().generation, 0);
    let done = rewrite(1, &mut |_| {
        let _ = store.delete(&a, Version(1), Cause::default());
        true
    });
    assert_eq!(done.unwrap(), None);
    assert_eq!(state(store, &a, 1), State::Deleted);
    assert_eq!(rewrite(1, &mut |_| true).unwrap(), None);
    assert_eq!(std::fs::read_dir(directory.path().join("staging")).unwrap().count(), 0);
    let all = records_of(2, 40);
    erase(store, &here("a"), &all.keys().map(Vec::as_slice).collect::<Vec<_>>());
    assert_eq!(code(rewrite(2, &mut |_| true)), Code::WrongState);
    assert_eq!(state(store, &a, 2), State::Retired);
}

#[test]
fn a_rewriting_that_failed_leaves_its_place_to_no_other() {
    let (a, b) = (dataset("a"), dataset("b"));
    let mut directory = Directory::new();
    push_versions(directory.store(), &a, 2);
    push(directory.store(), &b, &records_of(1, 20));
    erase(directory.store(), &here("a"), &[GONE]);
    // Room for the two that serve, of two files each, and not for opening a third, which takes six.
    directory.options = StoreOptions { max_files: 9, ..directory.options.clone() };
    directory.reopen();
    let store = directory.store();
    for serving in [&a, &b] {
        store.live().get(serving).unwrap().current().unwrap();
    }
    let again = || store.rewrite(&a, Version(2), false, Cause::default(), &mut |_| true);
    assert_eq!(code(again()), Code::TooManyFiles);
    store.delete_dataset(&b, Cause::default()).unwrap();
    assert_eq!(again().unwrap(), Some(Rewritten { removed: 1 }));
    // What the first one made is removed at some time; it is not what the second one made.
    assert_eq!(store.catalog().entry(&a, Version(2)).unwrap().generation, 2);
    directory.reopen();
    assert_none_gives(directory.store(), "a", &[2, 1], &[GONE]);
}

#[test]
fn nothing_is_opened_without_the_file_that_it_is_known_by() {
    let a = dataset("a");
    let mut directory = Directory::new();
    push_versions(directory.store(), &a, 1);
    erase(directory.store(), &here("a"), &[GONE]);
    directory.close();
    let file = directory.path().join("erasure-key");
    let kept = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(code(directory.try_open()), Code::ErasureKeyLost);
    let other = Directory::new();
    push_versions(other.store(), &a, 1);
    erase(other.store(), &here("a"), &[GONE]);
    std::fs::copy(other.path().join("erasure-key"), &file).unwrap();
    assert_eq!(code(directory.try_open()), Code::ErasureKeyLost);
    std::fs::write(&file, &kept).unwrap();
    directory.open();
    assert_none_gives(directory.store(), "a", &[1], &[GONE]);
    // Once nothing is erased it is of no use.
    lift(directory.store(), &here("a"), GONE).unwrap();
    directory.close();
    std::fs::remove_file(&file).unwrap();
    directory.open();
    erase(directory.store(), &here("a"), &[GONE]);
    directory.reopen();
    assert_none_gives(directory.store(), "a", &[1], &[GONE]);
}

#[test]
fn neither_the_journal_nor_a_checkpoint_holds_a_key() {
    let a = dataset("a");
    let mut directory = Directory::new();
    directory.options.checkpoint_bytes = 1;
    directory.reopen();
    push_versions(directory.store(), &a, 1);
    let canary: &[u8] = b"learner:canary-4711";
    erase(directory.store(), &[Scope::Everywhere], &[canary, GONE]);
    rewrite(directory.store(), 1).unwrap();
    for _ in 0..3 {
        let journal = std::fs::read(Layout::new(directory.path()).journal()).unwrap();
        assert!(!journal.windows(canary.len()).any(|window| window == canary));
        directory.store().sweep().unwrap();
        directory.reopen();
        assert_none_gives(directory.store(), "a", &[1], &[GONE]);
        assert!(directory.store().live().get(&a).unwrap().is_erased(canary));
    }
    let journal = std::fs::read(Layout::new(directory.path()).journal()).unwrap();
    let secret = std::fs::read_to_string(directory.path().join("erasure-key")).unwrap();
    let secret = secret.lines().nth(1).unwrap();
    assert!(!String::from_utf8_lossy(&journal).contains(secret));
}

#[test]
fn a_cut_journal_keeps_what_can_be_read_of_erasures_behind_the_damage() {
    let a = dataset("a");
    let mut directory = Directory::new();
    push_versions(directory.store(), &a, 1);
    let before = directory.store().journal_state().0 as usize;
    directory.store().hold(&a, Cause::default()).unwrap();
    erase(directory.store(), &here("a"), &[GONE]);
    directory.close();
    let journal = Layout::new(directory.path()).journal();
    let mut bytes = std::fs::read(&journal).unwrap();
    // Within the record of the hold.
    bytes[before + 30] ^= 1;
    std::fs::write(&journal, bytes).unwrap();
    assert_eq!(code(directory.try_open()), Code::JournalCorrupt);
    tidetable_storage::repair(directory.path()).unwrap();
    directory.open();
    assert_none_gives(directory.store(), "a", &[1], &[GONE]);
}

#[test]
fn a_request_that_began_before_a_rewriting_and_opens_the_version_after_it_reads_it() {
    let a = dataset("a");
    let mut directory = Directory::new();
    push_versions(directory.store(), &a, 2);
    // Nothing is open after a start.
    directory.reopen();
    let store = directory.store();
    let began = store.live().get(&a).unwrap();
    erase(store, &here("a"), &[GONE]);
    for version in [1, 2] {
        assert_eq!(rewrite(store, version), Some(Rewritten { removed: 1 }));
        let (records, profile) = began.profile(Version(version)).unwrap();
        assert!(records == 39 && profile.is_some());
        let lease = began.version(Version(version)).unwrap();
        assert_gives(lease.view(), &without(records_of(version, 40), &[GONE]));
    }
}

/// Of the files that an older journal means there are none any more.
#[test]
fn a_journal_from_before_a_version_was_rewritten_stops_the_start() {
    let a = dataset("a");
    let mut directory = Directory::new();
    let store = directory.store();
    push_versions(store, &a, 2);
    erase(store, &here("a"), &[GONE]);
    let layout = Layout::new(directory.path());
    let older = std::fs::read(layout.journal()).unwrap();
    assert_eq!(rewrite(store, 2), Some(Rewritten { removed: 1 }));
    directory.close();
    assert!(!layout.version(&a, Version(2)).exists());
    let newer = std::fs::read(layout.journal()).unwrap();
    std::fs::write(layout.journal(), older).unwrap();
    assert_eq!(code(directory.try_open()), Code::JournalCorrupt);
    let rewritten = layout.generation(&a, Version(2), 1);
    assert!(rewritten.join("manifest.json").exists(), "nothing is removed");
    std::fs::write(layout.journal(), newer).unwrap();
    directory.open();
    assert_none_gives(directory.store(), "a", &[2], &[GONE]);
}
