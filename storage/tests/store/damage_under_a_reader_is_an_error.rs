//! Damage that comes after a version was opened, on the disk and not in the kernel's memory of
//! it: what is damaged is an error, all else is right, nothing is "not found", and one scrub finds
//! it. `TIDETABLE_DAMAGES` says how often.

use std::ops::ControlFlow;

use tidetable_storage::{Code, Key, ReadBack, Version, View};

use crate::damage::{PAGE, Random, damages, exchange_on_the_disk, files_of, on_the_disk};
use crate::skip::skip;
use crate::support::{Directory, Records, assert_reads, dataset, push, records_of};

#[test]
fn damage_under_a_reader_is_an_error() {
    let a = dataset("a");
    // On the disk of the build: a file system in memory has no other copy to damage.
    let directory = Directory::within(env!("CARGO_TARGET_TMPDIR"));
    let store = directory.store();
    let records = records_of(1, 3000);
    push(store, &a, &records);
    let lease = store.live().get(&a).unwrap().current().unwrap();
    let stored = store.stored_version(&a, Version(1)).unwrap();
    let mut random = Random::seeded();
    let files: Vec<_> = files_of(&store.layout().version(&a, Version(1)))
        .into_iter()
        .filter(|path| !path.parent().unwrap().ends_with("db") || path.ends_with("points"))
        .collect();
    let (mut failed, mut located) = (0, 0);
    for n in 0..damages(60) {
        let path = &files[random.below(files.len())];
        let size = std::fs::metadata(path).unwrap().len() as usize;
        let page = random.below(size.div_ceil(PAGE));
        let bit = random.below(8 * (size - page * PAGE).min(PAGE));
        // One time in four a page is written to the place of another, and that one to its own.
        let other = random.below((size / PAGE).max(1));
        let exchanges = random.below(4) == 0 && other != page && page < size / PAGE;
        let harm = || {
            let flip = |bytes: &mut [u8]| bytes[bit / 8] ^= 1 << (bit % 8);
            if exchanges {
                exchange_on_the_disk(path, page, other)
            } else {
                on_the_disk(path, page, flip)
            }
        };
        if !harm() {
            let why = "the file system of the build has no O_DIRECT";
            return skip("damage_under_a_reader_is_an_error", why);
        }
        let what = match exchanges {
            true => format!("damage {n}: pages {page} and {other} of {}", path.display()),
            false => format!("damage {n}: bit {bit} of page {page} of {}", path.display()),
        };
        failed += assert_right_or_error(lease.view(), &records, &what);
        match stored.read(&mut |_| ControlFlow::Continue(())).unwrap() {
            ReadBack::Damaged(damage) => {
                assert!(path.ends_with(&damage.file), "{what}: {damage:?}");
                located += usize::from(damage.offset.is_some());
            }
            other => panic!("{what}: one scrub finds it: {other:?}"),
        }
        assert!(harm(), "and back again");
    }
    println!("{failed} lookups failed; the scrub told the place {located} times");
    assert!(failed > 0 && located > 0, "some of it was met");
    assert_reads(lease.view(), &records);
}

/// How many lookups ended with an error; the others were right.
fn assert_right_or_error(snapshot: View<'_>, records: &Records, what: &str) -> usize {
    let mut failed = 0;
    for (key, value) in records {
        match snapshot.get(Key::new(key).unwrap()) {
            Ok(found) => assert_eq!(found.as_ref(), Some(value), "{what}"),
            Err(error) => {
                assert_eq!(error.code(), Code::DataCorrupt, "{what}: {error}");
                assert!(error.path().is_some(), "{what}: the file is named");
                failed += 1;
            }
        }
    }
    let mut scan = snapshot.scan(b"", None).unwrap();
    let mut expected = records.iter();
    loop {
        match scan.next() {
            Ok(Some(record)) => {
                let (key, value) = expected.next().unwrap_or_else(|| panic!("{what}: too many"));
                assert_eq!(record, (&key[..], &value[..]), "{what}");
            }
            Ok(None) => {
                assert!(expected.next().is_none(), "{what}: a scan leaves nothing out");
                break;
            }
            Err(error) => {
                assert_eq!(error.code(), Code::DataCorrupt, "{what}: {error}");
                break;
            }
        }
    }
    failed
}
