//! Several datasets swap together: readers, a crash at any byte, and whoever acts beside it
//! find all of them swapped, or none.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use tidetable_storage::{
    Activation, Cause, Code, DatasetName, Expect, Idempotency, Layout, Moved, NotTogether,
    Rollback, State, Store, StoreOptions, Version,
};

use crate::support::{
    Directory, activate, assert_version, because, copy, current, dataset, push, push_ready,
    push_versions, records_of, state,
};

const NAMES: [&str; 2] = ["a", "b"];

fn asked(versions: [u64; 2]) -> BTreeMap<DatasetName, Activation> {
    let one = |(name, version)| (dataset(name), Activation::of(Version(version)));
    NAMES.into_iter().zip(versions).map(one).collect()
}

/// What was asked, if these are current.
fn expecting(
    mut asked: BTreeMap<DatasetName, Activation>,
    versions: [u64; 2],
) -> BTreeMap<DatasetName, Activation> {
    for (activation, version) in asked.values_mut().zip(versions) {
        activation.expect = Expect::Current(Some(Version(version)));
    }
    asked
}

fn serving(store: &Store) -> [Option<u64>; 2] {
    NAMES.map(|name| current(store, &dataset(name)))
}

fn moved(from: u64, to: u64) -> Moved {
    Moved { from: Some(Version(from)), to: Version(to), held: false, marked_bad: None }
}

fn with_key(key: &str, fingerprint: &str) -> Cause {
    let idempotency = Idempotency { key: key.to_owned(), fingerprint: fingerprint.to_owned() };
    Cause { idempotency: Some(idempotency), ..Cause::default() }
}

/// Of which dataset, and what.
fn refused<T>(done: Result<T, NotTogether>) -> (Option<String>, Code) {
    match done {
        Ok(_) => panic!("it was not refused"),
        Err(e) => (e.dataset.map(|name| name.to_string()), e.error.code()),
    }
}

fn two_versions_each() -> Directory {
    let directory = Directory::new();
    NAMES.iter().for_each(|name| push_versions(directory.store(), &dataset(name), 2));
    directory
}

#[test]
fn a_crash_at_any_byte_leaves_all_or_none() {
    let directory = two_versions_each();
    let store = directory.store();
    let before = store.journal_state().0 as usize;
    let done = store.activate_together(&asked([1, 1]), because("both")).unwrap();
    for name in NAMES {
        let catalog = store.catalog();
        let swap = catalog.dataset(&dataset(name)).unwrap().last_swap.as_ref().unwrap();
        assert!(swap.together, "{name}");
    }
    assert_eq!(done, NAMES.map(|name| (dataset(name), moved(2, 1))).into());
    let after = store.journal_state().0 as usize;
    let dir = copy(directory.path());
    let journal = Layout::new(dir.path()).journal();
    let whole = std::fs::read(&journal).unwrap();
    assert_eq!(whole.len(), after);
    for len in before..=after {
        std::fs::write(&journal, &whole[..len]).unwrap();
        let (store, recovery) = Store::open(dir.path(), StoreOptions::default()).unwrap();
        let expected = if len == after { 1 } else { 2 };
        assert_eq!(serving(&store), [Some(expected); 2], "{} bytes of it", len - before);
        assert_eq!(recovery.torn_bytes.is_some(), len != before && len != after);
    }
    let (store, _) = Store::open(dir.path(), StoreOptions::default()).unwrap();
    let catalog = store.catalog();
    let last = NAMES.map(|name| catalog.dataset(&dataset(name)).unwrap().history.back().unwrap());
    assert_eq!(last[0], last[1], "the same line, of one record");
    let line = last[0];
    let (event, reason) = (line.event.as_str(), line.reason.as_deref());
    assert_eq!((event, line.from, line.to), ("activated", Some(Version(2)), Some(Version(1))));
    assert_eq!(reason, Some("both"));
    for name in NAMES {
        assert_version(&store, &dataset(name), 1, &records_of(1, 40));
    }
}

#[test]
fn no_reader_ever_sees_a_mixture() {
    let directory = two_versions_each();
    let store = directory.store();
    let (stop, looks) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let datasets = store.live().at_one_instant();
                let versions = NAMES.map(|name| datasets[&dataset(name)].current_version());
                if versions[0] != versions[1] {
                    stop.store(true, Ordering::Relaxed);
                    panic!("a mixture: {versions:?}");
                }
                looks.fetch_add(1, Ordering::Relaxed);
            }
        });
        for to in [1, 2].into_iter().cycle().take(60) {
            store.activate_together(&asked([to; 2]), Cause::default()).unwrap();
            // The reader goes on between any two of them.
            let before = looks.load(Ordering::Relaxed);
            while looks.load(Ordering::Relaxed) < before + 2 && !stop.load(Ordering::Relaxed) {
                thread::yield_now();
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn one_that_cannot_is_named_and_nothing_is_done() {
    let directory = two_versions_each();
    let store = directory.store();
    let b = dataset("b");
    let bytes = store.journal_state().0;
    let plain = |versions| refused(store.activate_together(&asked(versions), Cause::default()));
    let of_b = |code| (Some("b".to_owned()), code);
    assert_eq!(plain([1, 2]), of_b(Code::AlreadyCurrent));
    assert_eq!(plain([1, 9]), of_b(Code::VersionNotFound));
    let other = expecting(asked([1, 1]), [2, 1]);
    assert_eq!(
        refused(store.activate_together(&other, Cause::default())),
        of_b(Code::CurrentChanged)
    );
    let mut absent = asked([1, 1]);
    absent.insert(dataset("c"), Activation::of(Version(1)));
    let absent = refused(store.activate_together(&absent, Cause::default()));
    assert_eq!(absent, (Some("c".to_owned()), Code::DatasetNotFound));
    assert_eq!((store.journal_state().0, serving(store)), (bytes, [Some(2); 2]));

    // 1 is bad now, and 2 again what the others go to.
    activate(store, &b, 1).unwrap();
    let rollback = Rollback { to: None, hold: true, expect: Expect::Anything };
    store.roll_back(&b, &rollback, Cause::default()).unwrap();
    assert_eq!(plain([1, 1]), of_b(Code::NeedsForce));
    let mut forced = asked([1, 1]);
    forced.get_mut(&b).unwrap().force = true;
    let without_reason = refused(store.activate_together(&forced, Cause::default()));
    assert_eq!(without_reason, of_b(Code::NeedsForce));
    let done = store.activate_together(&forced, because("it was right")).unwrap();
    assert_eq!(done[&b], Moved { held: true, ..moved(2, 1) });
    assert!(!done[&dataset("a")].held, "a hold is one dataset's");
    assert_eq!(serving(store), [Some(1); 2]);
}

#[test]
fn a_gate_that_refuses_one_stops_all_and_rejects_that_version() {
    let mut directory = Directory::new();
    let store = directory.store();
    let [a, b] = NAMES.map(dataset);
    push_versions(store, &a, 2);
    push(store, &b, &records_of(1, 1000));
    // Ready against 1,000 records; then 3,000 are current.
    push_ready(store, &b, &records_of(2, 600));
    push(store, &b, &records_of(3, 3000));
    let done = store.activate_together(&asked([1, 2]), Cause::default());
    assert!(done.as_ref().unwrap_err().error.detail().contains("max_shrink_percent"));
    assert_eq!(refused(done), (Some("b".to_owned()), Code::GateRefused));
    directory.reopen();
    let store = directory.store();
    assert_eq!(serving(store), [Some(2), Some(3)]);
    assert_eq!((state(store, &b, 2), state(store, &a, 1)), (State::Rejected, State::Retired));
    let mut forced = asked([1, 2]);
    forced.values_mut().for_each(|activation| activation.force = true);
    store.activate_together(&forced, because("the shrink is meant")).unwrap();
    assert_eq!(serving(store), [Some(1), Some(2)]);
}

#[test]
fn a_retry_gets_the_answer_of_the_first_and_nothing_is_done_twice() {
    let mut directory = two_versions_each();
    let key = || with_key("k", "both");
    let first = directory.store().activate_together(&asked([1, 1]), key()).unwrap();
    for name in NAMES {
        activate(directory.store(), &dataset(name), 2).unwrap();
    }
    for _ in 0..2 {
        let again = directory.store().activate_together(&asked([1, 1]), key()).unwrap();
        assert_eq!((again, serving(directory.store())), (first.clone(), [Some(2); 2]));
        directory.reopen();
    }
    let store = directory.store();
    // The key is taken in each of the datasets.
    for name in NAMES {
        let one = Activation::of(Version(1));
        let other = store.activate(&dataset(name), &one, with_key("k", "one"));
        assert_eq!(other.unwrap_err().code(), Code::IdempotencyKeyReused);
    }
    let other = store.activate_together(&asked([1, 1]), with_key("k", "other"));
    assert_eq!(refused(other), (Some("a".to_owned()), Code::IdempotencyKeyReused));
    // One of them has it from another request.
    let b = dataset("b");
    store.activate(&b, &Activation::of(Version(1)), with_key("l", "one")).unwrap();
    let mixed = store.activate_together(&asked([1, 2]), with_key("l", "both"));
    assert_eq!(refused(mixed), (Some("b".to_owned()), Code::IdempotencyKeyReused));
    // One of them has forgotten it together with its version: still it is not done twice.
    push(store, &b, &records_of(3, 40));
    push(store, &b, &records_of(4, 40));
    store.delete(&b, Version(1), Cause::default()).unwrap();
    let bytes = store.journal_state().0;
    assert_eq!(
        refused(store.activate_together(&asked([1, 1]), key())),
        (Some("b".to_owned()), Code::VersionDeleted)
    );
    assert_eq!((store.journal_state().0, serving(store)), (bytes, [Some(2), Some(4)]));
}

#[test]
fn of_this_and_a_single_activation_that_expect_the_same_one_is_done() {
    let directory = two_versions_each();
    let store = directory.store();
    let a = dataset("a");
    push(store, &a, &records_of(3, 40));
    let (mut first, mut second) = (0, 0);
    for _ in 0..30 {
        store.activate_together(&asked([2, 1]), Cause::default()).unwrap();
        let both = expecting(asked([1, 2]), [2, 1]);
        let alone =
            Activation { expect: Expect::Current(Some(Version(2))), ..Activation::of(Version(3)) };
        let start = std::sync::Barrier::new(2);
        let (both, alone) = thread::scope(|scope| {
            let both = scope.spawn(|| {
                start.wait();
                store.activate_together(&both, Cause::default())
            });
            start.wait();
            let alone = store.activate(&a, &alone, Cause::default());
            (both.join().unwrap(), alone)
        });
        match (both, alone) {
            (Ok(_), Err(e)) => {
                first += 1;
                assert_eq!((e.code(), serving(store)), (Code::CurrentChanged, [Some(1), Some(2)]));
            }
            (both, Ok(_)) => {
                second += 1;
                assert_eq!(refused(both), (Some("a".to_owned()), Code::CurrentChanged));
                assert_eq!(serving(store), [Some(3), Some(1)]);
                // Where the next round begins.
                store.activate_together(&asked([1, 2]), Cause::default()).unwrap();
            }
            (Err(e), Err(_)) => panic!("neither was done: {e:?}"),
        }
    }
    assert_eq!(first + second, 30);
}
