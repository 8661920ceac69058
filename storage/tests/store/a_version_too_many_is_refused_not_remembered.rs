//! Versions may have so many files open: one that does not fit in is refused by name, what
//! serves goes on, and as soon as there is room it opens.

use tidetable_storage::{Cause, Code, StoreOptions};

use crate::support::{
    Directory, activate, assert_version, code, current, dataset, push, push_ready, records_of,
};

/// What a version of one data file has open, and some files more while it is opened.
const OF_ONE: u64 = 2;
const WHILE_OPENED: u64 = 4;

#[test]
fn a_version_too_many_is_refused_not_remembered() {
    let (a, b) = (dataset("a"), dataset("b"));
    let mut directory = Directory::new();
    push(directory.store(), &a, &records_of(1, 20));
    push(directory.store(), &b, &records_of(1, 20));
    push_ready(directory.store(), &a, &records_of(2, 20));
    directory.options =
        StoreOptions { max_files: OF_ONE + WHILE_OPENED, ..directory.options.clone() };
    directory.reopen();
    let store = directory.store();
    assert_eq!(store.files_to_serve(), 2 * OF_ONE + WHILE_OPENED);
    assert_version(store, &a, 1, &records_of(1, 20));
    let refused = store.live().get(&b).unwrap().current().unwrap_err();
    assert_eq!(refused.code(), Code::TooManyFiles);
    assert!(refused.detail().contains("6 files") && refused.detail().contains("LimitNOFILE"));
    // Who watches the server learns of it, and not that of what is not served.
    let faults = |name| {
        let served = store.live().get(name).unwrap();
        served.faults().map(|(v, e)| (v.0, e.code())).collect::<Vec<_>>()
    };
    assert_eq!(faults(&b), [(1, Code::TooManyFiles)]);
    assert_eq!(code(activate(store, &a, 2)), Code::TooManyFiles);
    assert_eq!(faults(&a), []);
    assert_eq!(current(store, &a), Some(1), "the one before serves on");
    assert_version(store, &a, 1, &records_of(1, 20));
    store.delete_dataset(&a, Cause::default()).unwrap();
    assert_version(store, &b, 1, &records_of(1, 20));
    assert_eq!(faults(&b), []);
}

#[test]
fn what_only_opening_takes_is_given_back() {
    let mut directory = Directory::new();
    let names: Vec<_> = (0..5).map(|i| dataset(&format!("d{i}"))).collect();
    for name in &names {
        push(directory.store(), name, &records_of(1, 20));
    }
    directory.options =
        StoreOptions { max_files: 5 * OF_ONE + WHILE_OPENED, ..directory.options.clone() };
    directory.reopen();
    for name in &names {
        assert_version(directory.store(), name, 1, &records_of(1, 20));
    }
}
