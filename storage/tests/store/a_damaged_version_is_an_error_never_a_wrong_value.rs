//! Damage after the push: an error for what is damaged, everything else is served.

use std::path::PathBuf;

use tidetable_storage::{Code, Key, Kind, Layout, Version};

use crate::support::{
    Directory, activate, assert_version, code, current, dataset, move_by_hand, push, push_versions,
    records_of, roll_back,
};

fn flip(path: &PathBuf, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    std::fs::write(path, bytes).unwrap();
}

fn place(directory: &Directory, version: u64) -> PathBuf {
    Layout::new(directory.path()).version(&dataset("a"), Version(version))
}

#[test]
fn a_flipped_byte_in_a_file_of_keys_and_values() {
    let a = dataset("a");
    let mut directory = Directory::new();
    let records = records_of(1, 300);
    push(directory.store(), &a, &records);
    let files: Vec<PathBuf> = std::fs::read_dir(place(&directory, 1))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "sst"))
        .collect();
    assert!(files.len() > 1, "several files, so that one can be whole: {files:?}");
    let (mut refused, mut corrupt, mut served) = (0, 0, 0);
    for file in &files {
        let size = std::fs::metadata(file).unwrap().len() as usize;
        for at in (0..size).step_by(size / 12) {
            directory.close();
            flip(file, at);
            directory.open();
            let lease = match directory.store().live().get(&a).unwrap().current() {
                Ok(lease) => lease,
                Err(error) => {
                    assert_eq!(error.kind(), Kind::Corrupt, "byte {at}: {error}");
                    assert!(directory.store().live().get(&a).unwrap().faults().next().is_some());
                    refused += 1;
                    flip(file, at);
                    continue;
                }
            };
            for (key, value) in &records {
                match lease.get(Key::new(key).unwrap()) {
                    Ok(found) => {
                        assert_eq!(found.as_deref(), Some(value.as_slice()), "byte {at}");
                        served += 1;
                    }
                    Err(error) => {
                        assert_eq!(error.code(), Code::DataCorrupt, "byte {at}: {error}");
                        corrupt += 1;
                    }
                }
            }
            drop(lease);
            flip(file, at);
        }
    }
    assert!(refused > 0 || corrupt > 0, "some of it must be noticed");
    assert!(served > 0, "and some of it must be served");
    directory.reopen();
    assert_version(directory.store(), &a, 1, &records);
}

#[test]
fn a_damaged_manifest_makes_its_version_unusable_and_no_other() {
    let (a, b) = (dataset("a"), dataset("b"));
    let mut directory = Directory::new();
    push_versions(directory.store(), &a, 2);
    push_versions(directory.store(), &b, 1);
    directory.close();
    let manifest = place(&directory, 2).join("manifest.json");
    let size = std::fs::metadata(&manifest).unwrap().len() as usize;
    flip(&manifest, size / 2);
    directory.open();
    let store = directory.store();
    let failed = std::sync::Mutex::new(Vec::new());
    store.open_current(2, || false, |_, _, _| panic!("it was told to stop"));
    assert!(!store.live().get(&a).unwrap().is_open(None));
    store.open_current(
        2,
        || true,
        |name, version, error| {
            failed.lock().unwrap().push((name.clone(), version, error.code()));
        },
    );
    assert_eq!(failed.into_inner().unwrap(), [(a.clone(), Version(2), Code::VersionUnusable)]);
    let served = store.live().get(&a).unwrap();
    assert_eq!(code(served.current()), Code::VersionUnusable);
    assert_eq!(code(served.current()), Code::VersionUnusable, "and again");
    assert_eq!(served.faults().next().unwrap().1.code(), Code::VersionUnusable);
    assert_version(store, &b, 1, &records_of(1, 40));
    assert_version(store, &a, 1, &records_of(1, 40));
    roll_back(store, &a).unwrap();
    assert_eq!(current(store, &a), Some(1));
    assert_version(store, &a, 1, &records_of(1, 40));
    directory.reopen();
    assert_version(directory.store(), &a, 1, &records_of(1, 40));
}

/// What the system refuses may pass: it is told as long as it lasts, and tried again.
#[test]
fn a_version_that_the_system_does_not_open_is_told_until_it_does() {
    let a = dataset("a");
    let mut directory = Directory::new();
    push_versions(directory.store(), &a, 2);
    directory.reopen();
    let store = directory.store();
    let (path, aside) = (place(&directory, 2), directory.path().join("aside"));
    move_by_hand(&path, &aside);
    // No directory: nothing beneath it can be opened, whoever runs this.
    std::fs::write(&path, "").unwrap();
    let served = store.live().get(&a).unwrap();
    assert!(served.faults().next().is_none(), "nobody has tried yet");
    for _ in 0..2 {
        let error = served.current().unwrap_err();
        assert_eq!(error.code(), Code::IoFailed, "{error}");
        let named = "version 2 of a cannot be opened: cannot open the file (manifest.json): ";
        assert!(error.detail().starts_with(named), "{error}");
        let faults: Vec<_> = served.faults().collect();
        let [(version, fault)] = &faults[..] else { panic!("{faults:?}") };
        assert_eq!((*version, fault.code()), (Version(2), Code::IoFailed));
        assert_eq!(fault.path(), Some(&*path.join("manifest.json")));
    }
    std::fs::remove_file(&path).unwrap();
    move_by_hand(&aside, &path);
    assert_version(store, &a, 2, &records_of(2, 40));
    assert!(served.faults().next().is_none());
}

#[test]
fn a_version_that_cannot_be_opened_is_not_activated() {
    let a = dataset("a");
    let mut directory = Directory::new();
    push_versions(directory.store(), &a, 3);
    directory.close();
    std::fs::remove_file(place(&directory, 1).join("000001.sst")).unwrap();
    directory.open();
    let store = directory.store();
    let error = activate(store, &a, 1).unwrap_err();
    assert_eq!(error.code(), Code::VersionUnusable, "{error}");
    assert_eq!(current(store, &a), Some(3));
    assert_version(store, &a, 3, &records_of(3, 40));
}

#[test]
fn another_versions_files_are_not_taken_for_its_own() {
    let a = dataset("a");
    let mut directory = Directory::new();
    push_versions(directory.store(), &a, 2);
    directory.close();
    let (first, second) = (place(&directory, 1), place(&directory, 2));
    let aside = first.with_file_name("aside");
    for (from, to) in [(&first, &aside), (&second, &first), (&aside, &second)] {
        move_by_hand(from, to);
    }
    directory.open();
    let served = directory.store().live().get(&a).unwrap();
    assert_eq!(code(served.current()), Code::VersionUnusable);
    assert_eq!(code(served.version(Version(1))), Code::VersionUnusable);
}

/// Right after a start nothing is open. What a rollback leaves is not needed for it, and may
/// take long to open.
#[test]
fn a_rollback_does_not_open_what_it_leaves() {
    let a = dataset("a");
    let mut directory = Directory::new();
    push_versions(directory.store(), &a, 2);
    directory.reopen();
    let store = directory.store();
    roll_back(store, &a).unwrap();
    let served = store.live().get(&a).unwrap();
    assert!(served.is_open(Some(Version(1))), "what serves now");
    assert!(!served.is_open(Some(Version(2))), "what served before");
    assert_version(store, &a, 1, &records_of(1, 40));
}
