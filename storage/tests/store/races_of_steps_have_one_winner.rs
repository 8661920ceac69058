//! The same or opposite steps from several threads at once: one is done, the others are
//! told, and what is served fits what is recorded.

use std::sync::Barrier;
use std::thread;

use tidetable_storage::{
    Activation, CanaryStart, Cause, Code, DatasetConfig, Error, Expect, ExpectCanary, Idempotency,
    Moved, Rollback, SelfActivation, State, Store, Version, WatchMode,
};

use crate::support::{
    Directory, activate, assert_version, begin, build, code, current, dataset, publish, push_ready,
    push_versions, records_of, roll_back, seal, state,
};

/// Runs `step` on `count` threads that start together.
fn together<T: Send>(count: usize, step: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let start = Barrier::new(count);
    thread::scope(|scope| {
        let run = |n| {
            let (start, step) = (&start, &step);
            scope.spawn(move || {
                start.wait();
                step(n)
            })
        };
        let threads: Vec<_> = (0..count).map(run).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn swaps(store: &Store) -> usize {
    let catalog = store.catalog();
    let history = &catalog.dataset(&dataset("a")).unwrap().history;
    history.iter().filter(|h| h.to.is_some()).count()
}

fn with_key(key: &str) -> Cause {
    let idempotency = Idempotency { key: key.to_owned(), fingerprint: "f".to_owned() };
    Cause { idempotency: Some(idempotency), ..Cause::default() }
}

#[test]
fn one_rollback_of_many_with_the_same_key() {
    let a = dataset("a");
    let directory = Directory::new();
    let store = directory.store();
    push_versions(store, &a, 6);
    let before = swaps(store);
    let rollback = Rollback { to: None, hold: true, expect: Expect::Anything };
    let moved = together(4, |_| store.roll_back(&a, &rollback, with_key("k")));
    let expected =
        Moved { from: Some(Version(6)), to: Version(5), held: true, marked_bad: Some(Version(6)) };
    for moved in moved {
        assert_eq!(moved.unwrap(), expected);
    }
    assert_eq!((swaps(store), current(store, &a)), (before + 1, Some(5)));
    // The key stands for that request alone.
    let other = store.activate(&a, &Activation::of(Version(1)), with_key("k"));
    assert_eq!(other.unwrap(), expected, "the same fingerprint is the same request");
    assert_eq!(code(store.hold(&a, with_key("k"))), Code::IdempotencyKeyReused);
    store.release(&a, with_key("l")).unwrap();
    assert_eq!(code(store.hold(&a, with_key("l"))), Code::IdempotencyKeyReused);
    let again = store.release(&a, with_key("l")).unwrap();
    assert!(again.moved.is_none(), "it is the answer of the first");
}

#[test]
fn one_rollback_of_many_that_expect_the_same_current_version() {
    let a = dataset("a");
    let directory = Directory::new();
    let store = directory.store();
    push_versions(store, &a, 6);
    let expect = Expect::Current(Some(Version(6)));
    let rollback = Rollback { to: None, hold: false, expect };
    let moved = together(4, |_| store.roll_back(&a, &rollback, Cause::default()));
    assert_eq!(moved.iter().filter(|m| m.is_ok()).count(), 1);
    let refused = moved.into_iter().filter_map(Result::err);
    assert!(refused.map(|e| e.code()).all(|c| c == Code::CurrentChanged));
    assert_eq!(current(store, &a), Some(5));
}

fn watches(store: &Store, watch: WatchMode) {
    let config = DatasetConfig { watch, ..DatasetConfig::default() };
    store.configure(&dataset("a"), &config, Cause::default()).unwrap();
}

/// A person may turn that off at any moment.
#[test]
fn no_swap_is_undone_once_the_watch_is_not_to_roll_back() {
    let a = dataset("a");
    let directory = Directory::new();
    let store = directory.store();
    push_versions(store, &a, 2);
    let swap = store.catalog().dataset(&a).unwrap().last_swap.clone().unwrap();
    for off in [WatchMode::Tell, WatchMode::Off] {
        watches(store, off);
        assert_eq!(code(store.undo_swap(&a, &swap, Cause::default())), Code::WrongState);
        assert_eq!(current(store, &a), Some(2));
    }
    watches(store, WatchMode::RollBack);
    store.undo_swap(&a, &swap, Cause::default()).unwrap();
    assert_eq!(current(store, &a), Some(1));
}

/// What undoes a swap does that to this one alone: not to another one to the same version.
#[test]
fn a_swap_is_undone_once_and_only_while_it_is_the_last_one() {
    let a = dataset("a");
    let directory = Directory::new();
    let store = directory.store();
    push_versions(store, &a, 3);
    watches(store, WatchMode::RollBack);
    let last_swap = || store.catalog().dataset(&a).unwrap().last_swap.clone().unwrap();
    let first = last_swap();
    store.activate(&a, &Activation::of(Version(1)), Cause::default()).unwrap();
    let undone = store.undo_swap(&a, &first, Cause::default());
    assert_eq!(code(undone), Code::CurrentChanged);
    store.activate(&a, &Activation::of(Version(3)), Cause::default()).unwrap();
    let undone = store.undo_swap(&a, &first, Cause::default());
    assert_eq!((code(undone), current(store, &a)), (Code::CurrentChanged, Some(3)));

    let swap = last_swap();
    let undone = together(4, |_| store.undo_swap(&a, &swap, Cause::default()));
    let expected =
        Moved { from: Some(Version(3)), to: Version(1), held: true, marked_bad: Some(Version(3)) };
    let done: Vec<_> = undone.iter().filter_map(|moved| moved.as_ref().ok()).collect();
    assert_eq!(done, [&expected]);
    let refused = undone.iter().filter_map(|moved| moved.as_ref().err());
    assert!(refused.map(Error::code).all(|code| code == Code::CurrentChanged));
    assert_eq!(current(store, &a), Some(1));
}

#[test]
fn pushes_that_finish_together_leave_the_newest_current() {
    let a = dataset("a");
    let directory = Directory::new();
    let store = directory.store();
    push_versions(store, &a, 1);
    for round in 0..5 {
        let versions: Vec<Version> =
            (0..3).map(|_| push_ready(store, &a, &records_of(round, 20))).collect();
        let ends =
            together(3, |n| store.activate_by_itself(&a, versions[n], Cause::default()).unwrap());
        assert_eq!(current(store, &a), Some(versions[2].0));
        assert!(matches!(ends[2], SelfActivation::Activated(_)));
    }
}

#[test]
fn once_a_hold_is_answered_no_push_is_activated() {
    let a = dataset("a");
    let directory = Directory::new();
    let store = directory.store();
    push_versions(store, &a, 1);
    for _ in 0..20 {
        let version = push_ready(store, &a, &records_of(2, 20));
        let seen = together(2, |n| {
            if n == 0 {
                store.activate_by_itself(&a, version, Cause::default()).unwrap();
                return None;
            }
            store.hold(&a, Cause::default()).unwrap();
            current(store, &a)
        });
        assert_eq!(current(store, &a), seen[1], "as it was when the hold was answered");
        store.release(&a, Cause::default()).unwrap();
        assert_eq!(current(store, &a), Some(version.0));
    }
}

#[test]
fn once_a_canary_runs_no_push_is_activated() {
    let a = dataset("a");
    let directory = Directory::new();
    let store = directory.store();
    push_versions(store, &a, 2);
    for _ in 0..20 {
        let tried = current(store, &a).unwrap() - 1;
        let (version, expect) = (Version(tried), ExpectCanary::Anything);
        let start = CanaryStart { version, percent: 10.0, experiment: None, expect };
        let version = push_ready(store, &a, &records_of(2, 20));
        let seen = together(2, |n| {
            if n == 0 {
                store.activate_by_itself(&a, version, Cause::default()).unwrap();
                return None;
            }
            store.start_canary(&a, &start, Cause::default()).unwrap();
            current(store, &a)
        });
        assert_eq!(current(store, &a), seen[1], "as it was when the canary was answered");
        store.end_canary(&a, expect, Cause::default()).unwrap();
        if current(store, &a) != Some(version.0) {
            activate(store, &a, version.0).unwrap();
        }
    }
}

#[test]
fn a_push_against_a_hold_a_release_and_a_rollback() {
    let a = dataset("a");
    let directory = Directory::new();
    let store = directory.store();
    push_versions(store, &a, 2);
    // The data of each push is its own: that of one that was rolled back from would be refused.
    for round in 0..10 {
        let version = push_ready(store, &a, &records_of(10 + 2 * round, 20));
        let good = current(store, &a).unwrap();
        together(3, |n| match n {
            0 => drop(store.activate_by_itself(&a, version, Cause::default()).unwrap()),
            1 => drop(store.hold(&a, Cause::default()).unwrap()),
            _ => match store.release(&a, Cause::default()) {
                Ok(_) => {}
                Err(e) => assert_eq!(e.code(), Code::NotHeld),
            },
        });
        let now = current(store, &a).unwrap();
        let held = store.catalog().dataset(&a).unwrap().hold.is_some();
        assert!(now == version.0 || held && now == good, "{now}, held: {held}");
        if held {
            store.release(&a, Cause::default()).unwrap();
        }
        assert_eq!(current(store, &a), Some(version.0));
        // Whatever came first, what was rolled back from does not come back by itself.
        let next = push_ready(store, &a, &records_of(11 + 2 * round, 20));
        let rollback = Rollback { to: None, hold: true, expect: Expect::Current(Some(version)) };
        together(2, |n| match n {
            0 => drop(store.activate_by_itself(&a, next, Cause::default()).unwrap()),
            _ => match store.roll_back(&a, &rollback, Cause::default()) {
                Ok(moved) => assert_eq!(moved.marked_bad, Some(version)),
                Err(e) => assert_eq!(e.code(), Code::CurrentChanged),
            },
        });
        let now = current(store, &a).unwrap();
        if state(store, &a, version.0) == State::Bad {
            assert_ne!(now, version.0);
        } else {
            assert_eq!(now, next.0);
        }
        let held = store.catalog().dataset(&a).unwrap().hold.is_some();
        if held {
            store.release(&a, Cause::default()).unwrap();
        }
    }
}

#[test]
fn a_rollback_against_the_deletion_of_its_target() {
    let a = dataset("a");
    let directory = Directory::new();
    let store = directory.store();
    for round in 0..6 {
        push_versions_from(store, round * 3 + 1, 3);
        let target = Version(round * 3 + 1);
        let to = Rollback { to: Some(target), hold: false, expect: Expect::Anything };
        let ends = together(2, |n| match n {
            0 => store.roll_back(&a, &to, Cause::default()).map(drop),
            _ => store.delete(&a, target, Cause::default()),
        });
        let codes: Vec<Code> =
            ends.iter().filter_map(|e| e.as_ref().err().map(Error::code)).collect();
        match codes[..] {
            [Code::VersionInUse] => assert_eq!(current(store, &a), Some(target.0)),
            [Code::VersionDeleted | Code::WrongState] => {
                assert_eq!(current(store, &a), Some(target.0 + 2));
            }
            _ => panic!("{codes:?}"),
        }
        let served = current(store, &a).unwrap();
        assert_version(store, &a, served, &records_of(served, 20));
    }
}

fn push_versions_from(store: &Store, first: u64, count: u64) {
    for version in first..first + count {
        let pushed = crate::support::push(store, &dataset("a"), &records_of(version, 20));
        assert_eq!(pushed, Version(version));
    }
}

#[test]
fn a_publication_against_a_deletion_and_another_publication() {
    let a = dataset("a");
    let directory = Directory::new();
    let store = directory.store();
    store.ensure_dataset(&a, Cause::default()).unwrap();
    for round in 1..=8u64 {
        let version = begin(store, &a, true);
        seal(store, &a, version, true);
        let snapshots: Vec<_> = (0..2)
            .map(|n| {
                let dir = store.layout().build(&a, version, n);
                build(&dir, &records_of(round, 20), 4096)
            })
            .collect();
        let ends = together(3, |n| match snapshots.get(n) {
            Some(snapshot) => {
                store.publish(&a, version, snapshot, 0, &[], Cause::default()).map(drop)
            }
            None if round % 2 == 0 => store.delete(&a, version, Cause::default()),
            None => Ok(()),
        });
        let place = store.layout().version(&a, version);
        if round % 2 == 0 {
            assert_eq!(state(store, &a, version.0), State::Deleted);
        } else {
            assert_eq!(ends.iter().take(2).filter(|e| e.is_ok()).count(), 1, "{ends:?}");
            assert_eq!(state(store, &a, version.0), State::Ready);
            assert_version(store, &a, version.0, &records_of(round, 20));
            assert!(place.join("manifest.json").exists());
        }
    }
}

#[test]
fn every_number_is_given_once() {
    let a = dataset("a");
    let mut directory = Directory::new();
    let store = directory.store();
    let mut given = together(4, |_| (0..5).map(|_| begin(store, &a, true)).collect::<Vec<_>>());
    let mut given: Vec<Version> = given.drain(..).flatten().collect();
    given.sort();
    assert_eq!(given, (1..=20).map(Version).collect::<Vec<_>>());
    directory.reopen();
    assert_eq!(begin(directory.store(), &a, true), Version(21));
}

#[test]
fn a_gate_runs_again_when_another_version_became_current() {
    let a = dataset("a");
    let directory = Directory::new();
    let store = directory.store();
    crate::support::push(store, &a, &records_of(1, 1000));
    // Ready against version 1 of 1,000 records; then version 3 of 3,000 becomes current.
    let small = push_ready(store, &a, &records_of(2, 600));
    crate::support::push(store, &a, &records_of(3, 3000));
    let plain = Activation::of(small);
    let forced_without_reason = Activation { force: true, ..plain };
    for activation in [forced_without_reason, plain] {
        assert_eq!(state(store, &a, 2), State::Ready);
        let before = store.journal_state();
        let error = store.activate(&a, &activation, Cause::default()).unwrap_err();
        assert_eq!(error.code(), Code::GateRefused);
        assert!(error.detail().contains("max_shrink_percent"), "{error}");
        assert!(store.journal_state() > before, "the refusal is recorded");
        if activation.force {
            break;
        }
    }
    assert_eq!((state(store, &a, 2), current(store, &a)), (State::Rejected, Some(3)));
    let by_force = Activation { force: true, ..plain };
    let reason = Cause { reason: Some("half is right".to_owned()), ..Cause::default() };
    store.activate(&a, &by_force, reason).unwrap();
    assert_eq!(current(store, &a), Some(2));
    roll_back(store, &a).unwrap();
    assert_eq!(current(store, &a), Some(3));
}

#[test]
fn a_release_passes_over_what_its_gates_refuse_now() {
    let a = dataset("a");
    let directory = Directory::new();
    let store = directory.store();
    crate::support::push(store, &a, &records_of(1, 1000));
    let first = begin(store, &a, true);
    store.hold(&a, Cause::default()).unwrap();
    let good = push_ready(store, &a, &records_of(3, 2500));
    let small = push_ready(store, &a, &records_of(4, 700));
    // A person activates 2, of 2,000 records: against it, 4 is too small.
    seal(store, &a, first, false);
    publish(store, &a, first, &records_of(2, 2000));
    store.activate(&a, &Activation::of(first), Cause::default()).unwrap();
    let moved = store.release(&a, Cause::default()).unwrap().moved.unwrap();
    assert_eq!((moved.from, moved.to, moved.held), (Some(first), good, false));
    assert_eq!(state(store, &a, small.0), State::Rejected);
    assert_eq!(code(store.release(&a, Cause::default())), Code::NotHeld);
}
