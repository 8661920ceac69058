//! The data directory as it is on the disk at each step of a push, a rollback and a
//! deletion is opened as if the process had been killed there: what was acknowledged is
//! whole, what was not is whole or absent.

use tempfile::TempDir;
use tidetable_storage::{Cause, Code, Layout, SelfActivation, State, Store, StoreOptions, Version};

use crate::support::{
    Directory, assert_version, begin, build, code, copy, current, dataset, keep_few, move_by_hand,
    publish, push, push_versions, records_of, roll_back, seal, state,
};

/// Opens a copy, and once more, as a start may be killed as well.
fn opened(dir: &TempDir) -> Store {
    drop(Store::open(dir.path(), StoreOptions::default()).unwrap());
    let (store, recovery) = Store::open(dir.path(), StoreOptions::default()).unwrap();
    assert!(recovery.done.is_empty(), "the first start left nothing: {:?}", recovery.done);
    store
}

#[test]
fn at_each_step_of_a_push() {
    let a = dataset("a");
    let directory = Directory::new();
    let store = directory.store();
    push_versions(store, &a, 1);
    let mut steps = vec![("before", copy(directory.path()), None)];
    let version = begin(store, &a, true);
    steps.push(("admitted", copy(directory.path()), Some(State::Receiving)));
    std::fs::write(store.layout().parts(&a, version).join("1"), b"rows").unwrap();
    steps.push(("a part", copy(directory.path()), Some(State::Receiving)));
    seal(store, &a, version, true);
    steps.push(("sealed", copy(directory.path()), Some(State::Building)));
    let snapshot = build(&store.layout().build(&a, version, 1), &records_of(2, 40), 4096);
    steps.push(("built", copy(directory.path()), Some(State::Building)));

    // Renamed into place, and nothing recorded yet.
    let renamed = copy(directory.path());
    let layout = Layout::new(renamed.path());
    let built = layout.build(&a, version, 1);
    move_by_hand(&built, &layout.version(&a, version));
    steps.push(("renamed", renamed, Some(State::Building)));

    store.publish(&a, version, &snapshot, 0, &[], Cause::default()).unwrap();
    let published = copy(directory.path());
    // Its staging is removed after the record.
    std::fs::create_dir_all(Layout::new(published.path()).parts(&a, version)).unwrap();
    steps.push(("published", published, Some(State::Ready)));
    store.activate_by_itself(&a, version, Cause::default()).unwrap();
    steps.push(("activated", copy(directory.path()), Some(State::Active)));

    for (step, dir, expected) in &steps {
        let store = opened(dir);
        let found = store.catalog().entry(&a, version).ok().map(|entry| entry.state);
        assert_eq!(found, *expected, "{step}");
        let activated = *step == "activated";
        assert_eq!(current(&store, &a), Some(if activated { 2 } else { 1 }), "{step}");
        assert_version(&store, &a, 1, &records_of(1, 40));
        let there = store.layout().version(&a, version).exists();
        assert_eq!(there, found.is_some_and(State::has_files), "{step}");
        if there {
            assert_version(&store, &a, 2, &records_of(2, 40));
        } else {
            let served = store.live().get(&a).unwrap();
            let refused = code(served.version(version));
            assert!(matches!(refused, Code::VersionNotFound | Code::VersionDeleted), "{step}");
        }
        if *step == "a part" || *step == "sealed" || *step == "renamed" {
            assert!(store.layout().parts(&a, version).join("1").exists(), "{step}: its parts stay");
        }
        // And it goes on from there.
        if found == Some(State::Receiving) {
            seal(&store, &a, version, true);
        }
        if found == Some(State::Receiving) || found == Some(State::Building) {
            publish(&store, &a, version, &records_of(2, 40));
        }
        if found.is_some_and(|s| s != State::Active) {
            let activation = store.activate_by_itself(&a, version, Cause::default()).unwrap();
            assert!(matches!(activation, SelfActivation::Activated(_)), "{step}: {activation:?}");
        }
        let next = push(&store, &a, &records_of(3, 40));
        assert_eq!(next, Version(if found.is_some() { 3 } else { 2 }), "{step}");
    }
}

#[test]
fn at_each_byte_of_the_journal_of_a_push_and_a_rollback() {
    let a = dataset("a");
    let directory = Directory::new();
    let store = directory.store();
    push_versions(store, &a, 2);
    let before = store.journal_state().0 as usize;
    roll_back(store, &a).unwrap();
    let after = store.journal_state().0 as usize;
    let dir = copy(directory.path());
    let journal = Layout::new(dir.path()).journal();
    let whole = std::fs::read(&journal).unwrap();
    assert_eq!(whole.len(), after);
    for len in before..=after {
        std::fs::write(&journal, &whole[..len]).unwrap();
        let (store, recovery) = Store::open(dir.path(), StoreOptions::default()).unwrap();
        let torn = len - before;
        let (expected, cut) = if len == after { (1, 0) } else { (2, torn) };
        assert_eq!(current(&store, &a), Some(expected), "{torn} bytes of the rollback");
        assert_eq!(recovery.torn_bytes.unwrap_or(0) as usize, cut);
        let bad = if len == after { State::Bad } else { State::Active };
        assert_eq!(state(&store, &a, 2), bad);
        for version in [1, 2] {
            assert_version(&store, &a, version, &records_of(version, 40));
        }
    }
}

#[test]
fn in_the_middle_of_a_deletion() {
    let a = dataset("a");
    let mut directory = Directory::new();
    let store = directory.store();
    push_versions(store, &a, 1);
    keep_few(store, &a, 1);
    push(store, &a, &records_of(2, 40));
    push(store, &a, &records_of(3, 40));
    let place = store.layout().version(&a, Version(1));
    // Kept from removal by a reader, while the record is on the disk already.
    let lease = store.live().get(&a).unwrap().version(Version(1)).unwrap();
    store.sweep().unwrap();
    let recorded = copy(directory.path());
    let half = copy(directory.path());
    let half_place = Layout::new(half.path()).version(&a, Version(1));
    std::fs::remove_file(half_place.join("000001.sst")).unwrap();
    drop(lease);
    directory.close();
    assert!(!place.exists());
    for dir in [&recorded, &half, &copy(directory.path())] {
        let store = opened(dir);
        assert_eq!(state(&store, &a, 1), State::Deleted);
        assert!(!store.layout().version(&a, Version(1)).exists());
        assert_eq!(current(&store, &a), Some(3));
        assert_version(&store, &a, 2, &records_of(2, 40));
        assert_version(&store, &a, 3, &records_of(3, 40));
    }
}

#[test]
fn a_repeated_request_after_a_crash_gets_the_answer_of_the_first() {
    use tidetable_storage::{Admission, Idempotency, NewPush, Outcome};
    let a = dataset("a");
    let mut directory = Directory::new();
    let store = directory.store();
    store.ensure_dataset(&a, Cause::default()).unwrap();
    let id = |key: &str| Cause {
        idempotency: Some(Idempotency { key: key.to_owned(), fingerprint: "f".to_owned() }),
        ..Cause::default()
    };
    let push = Admission { activate: true, whole: true, ..Admission::default() };
    let version = store.admit(&a, &push, id("push")).unwrap().number().unwrap();
    seal(store, &a, version, true);
    publish(store, &a, version, &records_of(1, 20));
    // Even if the key comes along to the activation, it stands for the push.
    store.activate_by_itself(&a, version, id("push")).unwrap();
    directory.reopen();
    let again = directory.store().admit(&a, &push, id("push")).unwrap();
    assert_eq!(again, NewPush::Repeated(Outcome::Pushed(version)));
    assert_eq!(directory.store().catalog().dataset(&a).unwrap().versions.len(), 1);
}
