//! What a start does with what the last process left behind.

use std::fs;

use tidetable_storage::{
    Admission, Cause, Code, Failed, Layout, NewPush, PartSums, Recovered, SelfActivation, State,
    StoreOptions, Version, repair_plan,
};

use crate::support::{
    Directory, assert_version, because, begin, code, current, dataset, publish, push, push_ready,
    push_versions, records_of, roll_back, seal, state,
};

fn removed(done: &[Recovered]) -> Vec<String> {
    let name = |path: &std::path::Path| path.file_name().unwrap().to_string_lossy().into_owned();
    let removed = done.iter().filter_map(|done| match done {
        Recovered::Removed(path) => Some(name(path)),
        Recovered::Interrupted(..) => None,
    });
    removed.collect()
}

#[test]
fn an_empty_directory_becomes_an_empty_store() {
    let mut directory = Directory::new();
    let recovery = directory.reopen();
    assert_eq!((recovery.events, recovery.torn_bytes), (0, None));
    assert!(recovery.done.is_empty() && recovery.unfinished.is_empty());
}

#[test]
fn staging_that_nobody_owns_goes_and_parts_stay() {
    let a = dataset("a");
    let mut directory = Directory::new();
    let store = directory.store();
    let receiving = begin(store, &a, true);
    let layout = Layout::new(directory.path());
    fs::write(layout.parts(&a, receiving).join("1"), b"rows").unwrap();
    fs::create_dir_all(layout.build(&a, receiving, 3)).unwrap();
    for leftover in ["a.9", "b.1"] {
        fs::create_dir_all(directory.path().join("staging").join(leftover)).unwrap();
    }
    let recovery = directory.reopen();
    assert_eq!(removed(&recovery.done), ["build-3", "a.9", "b.1"]);
    assert_eq!(fs::read(layout.parts(&a, receiving).join("1")).unwrap(), b"rows");
    assert_eq!(state(directory.store(), &a, 1), State::Receiving);
    assert!(directory.reopen().done.is_empty(), "the second start finds nothing to do");
    // A day later nobody goes on with it.
    let day = 24 * 3600 * 1000;
    let swept = directory.store().sweep_at(tidetable_storage::now() + day + 60_000).unwrap();
    assert_eq!(swept.abandoned, [(a.clone(), receiving)]);
    assert!(!layout.push(&a, receiving).exists());
}

#[test]
fn what_no_server_made_stays_in_staging_and_is_told() {
    let a = dataset("a");
    let mut directory = Directory::new();
    push_versions(directory.store(), &a, 1);
    directory.close();
    let staging = directory.path().join("staging");
    let theirs = ["A.1", "a.1.2", "a.01", "models"].map(|name| staging.join(name));
    for dir in &theirs {
        fs::create_dir_all(dir.join("v1")).unwrap();
        fs::write(dir.join("v1/weights"), b"kept").unwrap();
    }
    for _ in 0..2 {
        let recovery = directory.reopen();
        assert!(recovery.done.is_empty(), "{:?}", recovery.done);
        let mut told = recovery.strangers;
        told.sort();
        let mut expected = theirs.to_vec();
        expected.sort();
        assert_eq!(told, expected);
        assert!(theirs.iter().all(|dir| dir.join("v1/weights").exists()));
    }
    assert_version(directory.store(), &a, 1, &records_of(1, 40));
}

#[test]
fn a_file_in_the_place_of_a_directory_stops_no_start() {
    let a = dataset("a");
    let mut directory = Directory::new();
    push_versions(directory.store(), &a, 1);
    let receiving = begin(directory.store(), &a, true);
    directory.close();
    let files = [
        "staging/.DS_Store",
        "staging/.nfs000000000001",
        "staging/a.9",
        "staging/a.2/build-1",
        "datasets/notes",
        "datasets/a/9",
        "cut-12",
    ]
    .map(|name| directory.path().join(name));
    files.iter().for_each(|path| fs::write(path, b"kept").unwrap());
    let recovery = directory.reopen();
    assert!(recovery.done.is_empty(), "{:?}", recovery.done);
    assert_eq!(recovery.strangers, files[..3], "of staging");
    assert!(files.iter().all(|path| path.exists()));
    assert_eq!(state(directory.store(), &a, receiving.0), State::Receiving);
    assert_version(directory.store(), &a, 1, &records_of(1, 40));
}

#[test]
fn a_directory_of_somebody_else_is_refused_as_it_is() {
    let mut directory = Directory::new();
    directory.close();
    for name in ["staging", "datasets"] {
        fs::remove_dir(directory.path().join(name)).unwrap();
    }
    for name in ["journal", "LOCK"] {
        fs::remove_file(directory.path().join(name)).unwrap();
    }
    let theirs = directory.path().join("staging/models/v1");
    fs::create_dir_all(&theirs).unwrap();
    let error = directory.try_open().unwrap_err();
    assert_eq!(error.code(), Code::InvalidSetting, "{error}");
    assert!(error.to_string().contains("staging/models"), "{error}");
    assert!(theirs.exists() && !directory.path().join("journal").exists());
    for name in ["datasets", "LOCK"] {
        assert!(!directory.path().join(name).exists(), "nothing is made in it: {name}");
    }
    fs::remove_dir_all(directory.path().join("staging")).unwrap();
    // Their journal is none of ours.
    for theirs in ["", "what happened in May"] {
        fs::write(directory.path().join("journal"), theirs).unwrap();
        assert_eq!(directory.try_open().unwrap_err().code(), Code::JournalCorrupt);
        let names: Vec<_> = fs::read_dir(directory.path()).unwrap().collect();
        assert_eq!(names.len(), 1, "nothing is made in it: {names:?}");
    }
    fs::remove_file(directory.path().join("journal")).unwrap();
    directory.open();
}

/// What was being written when a process was killed, and was not renamed into its place.
#[test]
fn files_that_were_not_whole_yet_go_and_those_of_others_stay() {
    let a = dataset("a");
    let mut directory = Directory::new();
    let receiving = begin(directory.store(), &a, true);
    let store = directory.store();
    let mut part = store.begin_part(&a, receiving, "1").unwrap();
    part.write(b"rows").unwrap();
    let mut sums = PartSums::default();
    sums.update(b"rows");
    let part = store.receive_part(&a, receiving, part.close(sums)).unwrap();
    let parts = Layout::new(directory.path()).parts(&a, receiving);
    let unfinished = [
        directory.path().join("journal.tmp"),
        directory.path().join("watches.tmp"),
        parts.join("2.part.tmp"),
        parts.join("data-77"),
    ];
    unfinished.iter().for_each(|path| fs::write(path, b"half").unwrap());
    let of_others = ["notes.txt", "report.tmp"].map(|name| directory.path().join(name));
    of_others.iter().for_each(|path| fs::write(path, b"kept").unwrap());
    let recovery = directory.reopen();
    let names = ["journal.tmp", "watches.tmp", "2.part.tmp", "data-77"];
    assert_eq!(removed(&recovery.done), names);
    assert!(of_others.iter().all(|path| path.exists()));
    assert!(!unfinished.iter().any(|path| path.exists()));
    assert_eq!(directory.store().parts(&a, receiving).unwrap(), [part]);
}

#[test]
fn an_interrupted_whole_push_has_failed_and_its_key_is_free() {
    let a = dataset("a");
    let mut directory = Directory::new();
    let store = directory.store();
    store.ensure_dataset(&a, Cause::default()).unwrap();
    let push = Admission { activate: true, whole: true, ..Admission::default() };
    let idempotency =
        tidetable_storage::Idempotency { key: "k".to_owned(), fingerprint: "f".to_owned() };
    let cause = Cause { idempotency: Some(idempotency), ..Cause::default() };
    let version = store.admit(&a, &push, cause.clone()).unwrap().number().unwrap();
    assert_eq!(code(store.admit(&a, &push, cause.clone())), Code::InProgress);
    let recovery = directory.reopen();
    assert!(
        matches!(&recovery.done[..], [Recovered::Interrupted(name, v)] if *name == a && *v == version)
    );
    let store = directory.store();
    assert_eq!(state(store, &a, 1), State::Failed);
    assert!(!store.layout().push(&a, version).exists());
    assert_eq!(store.admit(&a, &push, cause).unwrap(), NewPush::Numbered(Version(2)));
    let entry = store.catalog().entry(&a, version).unwrap().clone();
    assert_eq!(entry.code.as_deref(), Some("interrupted"));
}

#[test]
fn a_sealed_push_is_unfinished_and_is_published_after_the_restart() {
    let a = dataset("a");
    let mut directory = Directory::new();
    push_versions(directory.store(), &a, 1);
    for whole in [true, false] {
        let store = directory.store();
        let push = Admission { activate: true, whole, ..Admission::default() };
        let version = store.admit(&a, &push, Cause::default()).unwrap().number().unwrap();
        seal(store, &a, version, true);
        fs::write(store.layout().parts(&a, version).join("1"), b"rows").unwrap();
        let recovery = directory.reopen();
        assert_eq!(recovery.unfinished, [(a.clone(), version)]);
        assert!(recovery.done.is_empty(), "{:?}", recovery.done);
        let store = directory.store();
        assert_eq!(fs::read(store.layout().parts(&a, version).join("1")).unwrap(), b"rows");
        publish(store, &a, version, &records_of(version.0, 20));
        let activation = store.activate_by_itself(&a, version, Cause::default()).unwrap();
        assert!(matches!(activation, SelfActivation::Activated(_)), "{activation:?}");
        assert_version(store, &a, version.0, &records_of(version.0, 20));
        assert!(!store.layout().push(&a, version).exists(), "its staging is gone");
    }
}

#[test]
fn a_version_that_was_about_to_be_activated_is_named() {
    let a = dataset("a");
    let mut directory = Directory::new();
    push_versions(directory.store(), &a, 1);
    let version = push_ready(directory.store(), &a, &records_of(2, 20));
    let recovery = directory.reopen();
    assert_eq!(recovery.unactivated, [(a.clone(), version)]);
    assert_eq!(current(directory.store(), &a), Some(1), "nothing is activated by opening");
    directory.store().activate_by_itself(&a, version, Cause::default()).unwrap();
    assert_eq!(current(directory.store(), &a), Some(2));
    assert!(directory.reopen().unactivated.is_empty());
}

#[test]
fn a_version_parked_on_purpose_stays_parked() {
    let a = dataset("a");
    let mut directory = Directory::new();
    let store = directory.store();
    push_versions(store, &a, 1);
    // Held.
    store.hold(&a, because("inventory")).unwrap();
    push_ready(store, &a, &records_of(2, 20));
    assert!(directory.reopen().unactivated.is_empty());
    let store = directory.store();
    store.release(&a, Cause::default()).unwrap();
    assert_eq!(current(store, &a), Some(2));
    // Superseded, and then the one that superseded it was rolled back.
    let late = begin(store, &a, true);
    push(store, &a, &records_of(4, 20));
    seal(store, &a, late, true);
    publish(store, &a, late, &records_of(3, 20));
    roll_back(store, &a).unwrap();
    assert_eq!(current(store, &a), Some(2));
    assert!(directory.reopen().unactivated.is_empty());
    // Not asked for.
    let store = directory.store();
    let version = begin(store, &a, false);
    seal(store, &a, version, false);
    publish(store, &a, version, &records_of(5, 20));
    assert!(directory.reopen().unactivated.is_empty());
}

/// A release activates the newest one that waits; who goes back from that has not asked for the others.
#[test]
fn a_version_that_a_release_has_passed_over_is_not_activated_by_a_start() {
    let a = dataset("a");
    let mut directory = Directory::new();
    let store = directory.store();
    push_versions(store, &a, 1);
    store.hold(&a, because("inventory")).unwrap();
    push_ready(store, &a, &records_of(2, 40));
    push_ready(store, &a, &records_of(3, 40));
    store.release(&a, Cause::default()).unwrap();
    assert_eq!(current(store, &a), Some(3));
    roll_back(store, &a).unwrap();
    assert_eq!((current(store, &a), state(store, &a, 2)), (Some(1), State::Ready));
    assert!(directory.reopen().unactivated.is_empty());
    // A push that has begun since is another matter.
    let next = push_ready(directory.store(), &a, &records_of(4, 40));
    assert_eq!(directory.reopen().unactivated, [(a.clone(), next)]);
}

#[test]
fn a_version_directory_that_no_event_owns_goes() {
    let a = dataset("a");
    let mut directory = Directory::new();
    push_versions(directory.store(), &a, 1);
    let version = begin(directory.store(), &a, true);
    seal(directory.store(), &a, version, true);
    let place = directory.store().layout().version(&a, version);
    // Killed between the rename and its record.
    fs::create_dir_all(place.join("db")).unwrap();
    let recovery = directory.reopen();
    assert_eq!(removed(&recovery.done), ["2"]);
    assert!(!place.exists());
    assert_version(directory.store(), &a, 1, &records_of(1, 40));
    // Killed between the record of a deletion and the removal of its files.
    let store = directory.store();
    publish(store, &a, version, &records_of(2, 20));
    store.delete(&a, version, Cause::default()).unwrap();
    directory.close();
    fs::create_dir_all(&place).unwrap();
    assert_eq!(removed(&directory.open().done), ["2"]);
    // And of a dataset that was deleted.
    directory.store().delete_dataset(&a, Cause::default()).unwrap();
    directory.close();
    fs::create_dir_all(&place).unwrap();
    assert_eq!(removed(&directory.open().done), ["2"]);
}

#[test]
fn the_empty_directory_of_a_deleted_dataset_goes_and_those_of_others_stay() {
    let (a, b, c) = (dataset("a"), dataset("b"), dataset("c"));
    let mut directory = Directory::new();
    let store = directory.store();
    push_versions(store, &a, 1);
    push_versions(store, &b, 1);
    store.delete_dataset(&a, Cause::default()).unwrap();
    store.ensure_dataset(&c, Cause::default()).unwrap();
    directory.close();
    let datasets = directory.path().join("datasets");
    fs::create_dir(datasets.join("c")).unwrap();
    fs::create_dir(datasets.join("d")).unwrap();
    fs::write(datasets.join("d/notes.txt"), b"kept").unwrap();
    let there = || ["a", "b", "c", "d/notes.txt"].map(|name| datasets.join(name).exists());
    assert_eq!(there(), [true; 4]);
    directory.open();
    assert_eq!(there(), [false, true, true, true]);
    assert_eq!(push(directory.store(), &a, &records_of(2, 20)), Version(2));
    assert_version(directory.store(), &a, 2, &records_of(2, 20));
}

#[test]
fn a_version_whose_number_was_never_given_stops_the_start() {
    let a = dataset("a");
    let mut directory = Directory::new();
    push_versions(directory.store(), &a, 1);
    directory.close();
    for (name, version) in [("a", 2), ("b", 1)] {
        let place = Layout::new(directory.path()).version(&dataset(name), Version(version));
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join("manifest.json"), b"{}").unwrap();
        let error = directory.try_open().unwrap_err();
        assert_eq!(error.code(), Code::JournalCorrupt);
        assert!(error.detail().contains("the journal never gave that number"), "{error}");
        assert!(place.join("manifest.json").exists(), "nothing is removed");
        fs::remove_dir_all(&place).unwrap();
    }
    directory.open();
}

/// A journal from a backup that knows the push, and not that it became a version.
#[test]
fn a_journal_from_before_a_version_was_published_stops_the_start() {
    let a = dataset("a");
    let mut directory = Directory::new();
    let store = directory.store();
    push_versions(store, &a, 1);
    let layout = Layout::new(directory.path());
    let version = begin(store, &a, true);
    let receiving = fs::read(layout.journal()).unwrap();
    seal(store, &a, version, true);
    let building = fs::read(layout.journal()).unwrap();
    publish(store, &a, version, &records_of(2, 40));
    store.activate_by_itself(&a, version, Cause::default()).unwrap();
    directory.close();
    let newest = fs::read(layout.journal()).unwrap();
    for (older, state) in [(receiving, "receiving"), (building, "building")] {
        fs::write(layout.journal(), older).unwrap();
        let error = directory.try_open().unwrap_err();
        assert_eq!(error.code(), Code::JournalCorrupt, "{state}");
        assert!(error.detail().contains(&format!("has it as {state}")), "{error}");
        assert!(layout.version(&a, version).join("manifest.json").exists(), "{state}");
        let plan = repair_plan(directory.path()).unwrap();
        assert_eq!(plan.failed, [(a.clone(), version)], "{state}");
        assert_eq!(plan.set_aside[0].0, layout.version(&a, version), "{state}");
    }
    fs::write(layout.journal(), newest).unwrap();
    directory.open();
    assert_version(directory.store(), &a, 2, &records_of(2, 40));
}

#[test]
fn data_without_its_journal_stops_the_start() {
    let a = dataset("a");
    let mut directory = Directory::new();
    let receiving = begin(directory.store(), &a, true);
    let layout = Layout::new(directory.path());
    let journal = fs::read(layout.journal()).unwrap();
    for with_version in [false, true] {
        if with_version {
            push_versions_after(&directory, 2);
        }
        let kept = fs::read(layout.journal()).unwrap();
        directory.close();
        fs::remove_file(layout.journal()).unwrap();
        let error = directory.try_open().unwrap_err();
        assert_eq!(error.code(), Code::JournalCorrupt, "with a version: {with_version}");
        assert!(!layout.journal().exists(), "none is made in its place");
        assert!(layout.parts(&a, receiving).exists(), "nothing is removed");
        fs::write(layout.journal(), kept).unwrap();
        directory.open();
    }
    // An older journal, from a backup.
    directory.close();
    fs::write(layout.journal(), journal).unwrap();
    assert_eq!(directory.try_open().unwrap_err().code(), Code::JournalCorrupt);
    assert!(layout.version(&a, Version(2)).exists(), "nothing is removed");
}

fn push_versions_after(directory: &Directory, version: u64) {
    let pushed = push(directory.store(), &dataset("a"), &records_of(version, 20));
    assert_eq!(pushed, Version(version));
}

#[test]
fn a_torn_append_is_cut_once_and_said() {
    let a = dataset("a");
    let mut directory = Directory::new();
    push_versions(directory.store(), &a, 2);
    directory.close();
    let journal = Layout::new(directory.path()).journal();
    let whole = fs::read(&journal).unwrap();
    fs::write(&journal, &whole[..whole.len() - 1]).unwrap();
    let recovery = directory.open();
    assert!(recovery.torn_bytes.is_some_and(|n| n > 10), "{:?}", recovery.torn_bytes);
    // The lost record was the activation of 2.
    assert_eq!(current(directory.store(), &a), Some(1));
    assert_eq!(recovery.unactivated, [(a.clone(), Version(2))]);
    assert_eq!(directory.reopen().torn_bytes, None);
}

#[test]
fn a_failed_push_leaves_a_line_and_no_files() {
    let a = dataset("a");
    let mut directory = Directory::new();
    let store = directory.store();
    let version = begin(store, &a, true);
    let failed = Failed {
        dataset: a.clone(),
        version,
        code: "bad_rows".to_owned(),
        detail: "one row is bad".to_owned(),
        problems: vec!["row 17".to_owned()],
    };
    store.fail(failed.clone(), Cause::default()).unwrap();
    assert_eq!(code(store.fail(failed, Cause::default())), Code::WrongState);
    assert!(!store.layout().push(&a, version).exists());
    directory.reopen();
    let entry = directory.store().catalog().entry(&a, version).unwrap().clone();
    assert_eq!((entry.state, entry.problems), (State::Failed, vec!["row 17".to_owned()]));
}

#[test]
fn a_journal_grown_long_becomes_a_checkpoint_that_says_the_same() {
    let a = dataset("a");
    let mut directory = Directory::new();
    directory.options = StoreOptions { checkpoint_bytes: 1, ..directory.options };
    directory.reopen();
    let store = directory.store();
    push_versions(store, &a, 2);
    store.delete_dataset(&a, Cause::default()).unwrap();
    push(store, &a, &records_of(3, 20));
    // Settings are the longest events: their catalogue is much shorter than their journal.
    for n in 0..60 {
        let config = tidetable_storage::DatasetConfig {
            description: Some(format!("{n:4000}")),
            ..Default::default()
        };
        store.configure(&a, &config, Cause::default()).unwrap();
    }
    let (before, _) = store.journal_state();
    store.sweep().unwrap();
    let (after, suspect) = store.journal_state();
    assert!(after * 2 < before && !suspect, "{before} {after}");
    let catalog = store.catalog().clone();
    let recovery = directory.reopen();
    assert_eq!(recovery.events, 1);
    let store = directory.store();
    assert_eq!(*store.catalog(), catalog);
    assert_version(store, &a, 3, &records_of(3, 20));
    assert_eq!(push(store, &a, &records_of(4, 20)), Version(4), "events go on after it");
    let catalog = store.catalog().clone();
    directory.reopen();
    assert_eq!(*directory.store().catalog(), catalog);
    assert_eq!(current(directory.store(), &a), Some(4));
}

#[test]
fn a_checkpoint_that_cannot_be_written_stops_neither_start_nor_sweep() {
    let a = dataset("a");
    let mut directory = Directory::new();
    directory.options = StoreOptions { checkpoint_bytes: 1, ..directory.options };
    directory.close();
    fs::create_dir(directory.path().join("journal.tmp")).unwrap();
    directory.open();
    for n in 0..60 {
        let config = tidetable_storage::DatasetConfig {
            description: Some(format!("{n:4000}")),
            ..Default::default()
        };
        directory.store().configure(&a, &config, Cause::default()).unwrap();
    }
    directory.store().sweep().unwrap();
    push(directory.store(), &a, &records_of(1, 20));
    let (bytes, suspect) = directory.store().journal_state();
    assert!(bytes > 60 * 4000 && !suspect);
    directory.reopen();
    assert_eq!(current(directory.store(), &a), Some(1));
}
