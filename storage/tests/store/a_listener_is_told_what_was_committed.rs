//! Whoever listens is told every line that a history gains, once, in the order of the journal,
//! and nothing that was not committed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tidetable_storage::{
    Activation, Admission, Cause, Code, Failed, Listener, StoreOptions, Version,
};

use crate::support::{
    Directory, activate, because, begin, code, dataset, push, push_ready, records_of, roll_back,
};

type Heard = Arc<Mutex<Vec<(u64, String)>>>;

fn listening() -> (Directory, Heard) {
    let heard = Heard::default();
    let hearing = Arc::clone(&heard);
    let listener = Listener::new(move |dataset, line| {
        let version = line.version.map_or_else(String::new, |v| format!(" {v}"));
        let said = format!("{dataset} {}{version}", line.event);
        hearing.lock().unwrap().push((line.seq, said));
    });
    let mut directory = Directory::new();
    directory.options = StoreOptions { listener: Some(listener), ..directory.options };
    directory.reopen();
    (directory, heard)
}

fn taken(heard: &Heard) -> Vec<String> {
    let mut heard = heard.lock().unwrap();
    assert!(heard.is_sorted_by_key(|(seq, _)| *seq), "{heard:?}");
    heard.drain(..).map(|(_, said)| said).collect()
}

#[test]
fn of_everything_once_and_in_order() {
    let (mut directory, heard) = listening();
    let (a, b) = (dataset("a"), dataset("b"));
    let store = directory.store();
    push(store, &a, &records_of(1, 10));
    let pushed = ["a created", "a admitted 1", "a sealed 1", "a published 1", "a activated 1"];
    assert_eq!(taken(&heard), pushed);
    push_ready(store, &a, &records_of(2, 10));
    push_ready(store, &b, &records_of(1, 10));
    taken(&heard);
    let asked: BTreeMap<_, _> =
        [(a.clone(), 2), (b.clone(), 1)].map(|(d, v)| (d, Activation::of(Version(v)))).into();
    store.activate_together(&asked, Cause::default()).unwrap();
    assert_eq!(taken(&heard), ["a activated 2", "b activated 1"]);
    assert_eq!(code(activate(store, &a, 2)), Code::AlreadyCurrent);
    assert_eq!(taken(&heard), [""; 0]);
    roll_back(store, &a).unwrap();
    store.hold(&a, because("x")).unwrap();
    store.hold(&a, because("again")).unwrap();
    assert_eq!(taken(&heard), ["a rolled_back 1", "a held"]);
    let version = begin(store, &a, true);
    let failed = Failed {
        dataset: a.clone(),
        version,
        code: "bad_rows".to_owned(),
        detail: "x".to_owned(),
        problems: Vec::new(),
    };
    store.fail(failed, Cause::default()).unwrap();
    assert_eq!(taken(&heard), ["a admitted 3", "a failed 3"]);
    // What a start does by itself is told too.
    let whole = Admission { whole: true, ..Admission::default() };
    store.admit(&b, &whole, Cause::default()).unwrap().number().unwrap();
    taken(&heard);
    directory.reopen();
    assert_eq!(taken(&heard), ["b failed 2"]);
    directory.reopen();
    assert_eq!(taken(&heard), [""; 0], "what was told is not told again");
}
