//! Reads from several threads while versions are swapped, rolled back and swept: no read
//! fails, none mixes versions, and no reader goes back to a version that was replaced.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use tidetable_storage::{Key, Store};

use crate::support::{Directory, dataset, keep_few, push, push_versions, records_of, roll_back};

/// Ends the test for all threads when one of them fails.
struct Watch<'a>(&'a AtomicBool);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Waits for `count` more reads: the test cannot pass by idling.
fn await_reads(reads: &AtomicU64, count: u64, done: &AtomicBool) {
    let seen = reads.load(Ordering::Relaxed);
    while reads.load(Ordering::Relaxed) < seen + count {
        assert!(!done.load(Ordering::Relaxed), "a reader failed");
        thread::yield_now();
    }
}

/// Reads all keys of one lease in one batch; the version every one of them names.
fn read_once(store: &Store, keys: &[Vec<u8>]) -> u64 {
    let lease = store.live().get(&dataset("a")).unwrap().current().unwrap();
    let asked: Vec<Key<'_>> = keys.iter().map(|key| Key::new(key).unwrap()).collect();
    let expected = records_of(lease.version().0, keys.len());
    for (key, found) in keys.iter().zip(lease.get_many(&asked).unwrap()) {
        assert_eq!(found.as_deref(), expected.get(key).map(Vec::as_slice));
    }
    let mut scan = lease.scan(b"key:", None).unwrap();
    let mut scanned = 0;
    while let Some((key, value)) = scan.next().unwrap() {
        assert_eq!(expected[key], value);
        scanned += 1;
    }
    assert_eq!(scanned, keys.len());
    lease.version().0
}

#[test]
fn forwards_only() {
    let a = dataset("a");
    let directory = Directory::new();
    let store = directory.store();
    push_versions(store, &a, 1);
    keep_few(store, &a, 1);
    let keys: Vec<Vec<u8>> = records_of(1, 40).into_keys().collect();
    let done = AtomicBool::new(false);
    let reads = AtomicU64::new(0);
    let started = Barrier::new(4);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                started.wait();
                let _watch = Watch(&done);
                let mut newest = 0;
                while !done.load(Ordering::Relaxed) {
                    let version = read_once(store, &keys);
                    assert!(version >= newest, "{version} after {newest}");
                    newest = version;
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        started.wait();
        let _watch = Watch(&done);
        for version in 2..=12 {
            push(store, &a, &records_of(version, 40));
            store.sweep().unwrap();
            await_reads(&reads, 4, &done);
        }
    });
    assert_eq!(read_once(store, &keys), 12);
}

#[test]
fn back_and_forth() {
    let a = dataset("a");
    let directory = Directory::new();
    let store = directory.store();
    push_versions(store, &a, 1);
    let keys: Vec<Vec<u8>> = records_of(1, 40).into_keys().collect();
    let done = AtomicBool::new(false);
    let reads = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let _watch = Watch(&done);
                while !done.load(Ordering::Relaxed) {
                    read_once(store, &keys);
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let _watch = Watch(&done);
        for version in 2..=7 {
            push(store, &a, &records_of(version, 40));
            assert_eq!(read_once(store, &keys), version, "at once after the swap");
            let moved = roll_back(store, &a).unwrap();
            assert_eq!((moved.to.0, read_once(store, &keys)), (1, 1), "at once after the rollback");
            await_reads(&reads, 3, &done);
        }
    });
}
