//! Swap, delete and sweep take nothing from a reader that is at it; what was given up goes
//! after its last reader, and not before.

use tidetable_storage::{Cause, Code, DatasetConfig, Version};

use crate::support::{
    Directory, assert_reads, assert_version, code, current, dataset, keep_few, push, push_versions,
    records_of, roll_back,
};

#[test]
fn across_swap_delete_and_sweep() {
    let a = dataset("a");
    let mut directory = Directory::new();
    let store = directory.store();
    push_versions(store, &a, 1);
    keep_few(store, &a, 1);
    let lease = store.live().get(&a).unwrap().current().unwrap();
    for version in 2..=4 {
        push(store, &a, &records_of(version, 40));
        assert_eq!(lease.version(), Version(1));
    }
    let swept = store.sweep().unwrap();
    assert_eq!(swept.deleted, [(a.clone(), Version(1)), (a.clone(), Version(2))]);
    assert_eq!(code(store.live().get(&a).unwrap().version(Version(1))), Code::VersionDeleted);
    assert_reads(lease.view(), &records_of(1, 40));
    assert_eq!(store.open_snapshots(), 3, "the third, the fourth, and the one that is read");

    let place = |version| store.layout().version(&a, Version(version));
    let (first, second, third) = (place(1), place(2), place(3));
    assert!(first.join("manifest.json").exists(), "its files stay while it is read");
    drop(lease);
    assert_eq!(store.open_snapshots(), 2);
    // Closing waits for what was let go before.
    directory.close();
    assert!(!first.exists() && !second.exists() && third.exists());
    assert!(directory.open().done.is_empty(), "nothing was left over");
    assert_version(directory.store(), &a, 3, &records_of(3, 40));
    assert_version(directory.store(), &a, 4, &records_of(4, 40));
}

#[test]
fn across_the_deletion_of_its_dataset_and_a_new_one_of_that_name() {
    let a = dataset("a");
    let mut directory = Directory::new();
    let store = directory.store();
    push_versions(store, &a, 2);
    let served = store.live().get(&a).unwrap();
    let lease = served.current().unwrap();
    store.delete_dataset(&a, Cause::default()).unwrap();
    assert_eq!(code(store.live().get(&a)), Code::DatasetNotFound);
    assert_reads(lease.view(), &records_of(2, 40));
    let version = push(store, &a, &records_of(3, 40));
    assert_eq!(version, Version(3), "numbers go on");
    assert_reads(lease.view(), &records_of(2, 40));
    assert_eq!(code(store.live().get(&a).unwrap().version(Version(2))), Code::VersionDeleted);
    let place = store.layout().version(&a, Version(2));
    drop(lease);
    assert!(place.exists(), "what holds all that was served at one instant keeps its versions");
    drop(served);
    directory.reopen();
    assert!(!place.exists());
    assert_version(directory.store(), &a, 3, &records_of(3, 40));
}

#[test]
fn a_version_that_was_never_opened_goes_at_once() {
    let a = dataset("a");
    let mut directory = Directory::new();
    push_versions(directory.store(), &a, 3);
    directory.reopen();
    let store = directory.store();
    let served = store.live().get(&a).unwrap();
    assert!(!served.is_open(Some(Version(1))));
    store.delete(&a, Version(1), Cause::default()).unwrap();
    assert_eq!(code(served.version(Version(1))), Code::VersionDeleted, "the old view knows");
    assert!(!store.layout().version(&a, Version(1)).exists());
}

#[test]
fn a_deletion_has_made_room_when_it_is_answered() {
    let a = dataset("a");
    let directory = Directory::new();
    let store = directory.store();
    push_versions(store, &a, 3);
    let place = store.layout().version(&a, Version(1));
    assert!(
        store.live().get(&a).unwrap().is_open(Some(Version(1))),
        "it is open, and nobody reads"
    );
    store.delete(&a, Version(1), Cause::default()).unwrap();
    assert!(!place.exists());
}

#[test]
fn for_its_grace_time_after_it_was_replaced() {
    let a = dataset("a");
    let directory = Directory::new();
    let store = directory.store();
    push_versions(store, &a, 1);
    let config = DatasetConfig { retain: 1, ..DatasetConfig::default() };
    store.configure(&a, &config, Cause::default()).unwrap();
    push(store, &a, &records_of(2, 40));
    push(store, &a, &records_of(3, 40));
    let left = store.catalog().entry(&a, Version(1)).unwrap().left_at.unwrap();
    assert!(store.sweep_at(left + 599_999).unwrap().deleted.is_empty());
    assert_version(store, &a, 1, &records_of(1, 40));
    assert_eq!(store.sweep_at(left + 600_000).unwrap().deleted, [(a.clone(), Version(1))]);
}

#[test]
fn what_a_rollback_goes_to_is_never_deleted() {
    let a = dataset("a");
    let directory = Directory::new();
    let store = directory.store();
    push_versions(store, &a, 2);
    keep_few(store, &a, 1);
    assert_eq!(code(store.delete(&a, Version(2), Cause::default())), Code::VersionInUse);
    assert_eq!(code(store.delete(&a, Version(1), Cause::default())), Code::VersionInUse);
    assert!(store.sweep_at(u64::MAX).unwrap().deleted.is_empty());
    roll_back(store, &a).unwrap();
    assert_eq!(current(store, &a), Some(1));
    assert_version(store, &a, 1, &records_of(1, 40));
    assert_eq!(code(roll_back(store, &a)), Code::NothingToRollBackTo);
}
