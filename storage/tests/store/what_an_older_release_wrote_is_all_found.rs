//! An upgrade loses nothing: of a data directory that an older release has written, every version,
//! state, line of a history, token, erased key and value is found as it was, and it goes on.

use serde_json::{Value, json};
use tidetable_storage::{DatasetName, Digest, Key, Store, StoreOptions, Version, verify_audit};

use crate::fixture::written;
use crate::support::{
    Records, activate, assert_gives, assert_version, current, dataset, push_ready, records_of,
    roll_back,
};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

#[test]
fn and_it_goes_on_from_there() {
    for written in written(FIXTURES) {
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("data");
        written.lay_out(&data);
        let expected = &written.expected;
        let (store, recovery) = Store::open(&data, StoreOptions::default()).unwrap();
        assert_eq!(recovery.torn_bytes, None);
        assert!(recovery.done.is_empty() && recovery.unfinished.is_empty(), "{recovery:?}");
        let datasets = expected["datasets"].as_object().unwrap();
        let known: Vec<String> =
            store.catalog().datasets().map(|(name, _)| name.as_str().to_owned()).collect();
        assert!(known.iter().eq(datasets.keys()), "{known:?}");
        for (name, told) in datasets {
            assert_dataset(&store, &dataset(name), told);
            assert_erased(&store, &dataset(name), &expected["erased"][name]);
        }
        assert_tokens(&store, &expected["tokens"]);
        let audit = verify_audit(&data, &[]).unwrap();
        assert!(audit.findings.is_empty(), "{audit:?}");
        let reaches = json!({ "changes": audit.changes.1, "lines": audit.lines.1 });
        assert_eq!((reaches, audit.changes.0, audit.lines.0), (expected["audit"].clone(), 1, 1));
        for name in datasets.keys() {
            assert_goes_on(&store, &dataset(name));
        }
    }
}

fn assert_dataset(store: &Store, name: &DatasetName, told: &Value) {
    let known = store.catalog().dataset(name).unwrap().clone();
    assert_eq!(json!(current(store, name)), told["current"], "{name}");
    assert_eq!(json!(known.hold.is_some()), told["held"], "{name}");
    let history = told["history"].as_array().unwrap();
    assert_eq!(known.history.len(), history.len(), "{name}");
    for (line, told) in known.history.iter().zip(history) {
        let found = json!({
            "seq": line.seq, "event": line.event, "version": line.version, "from": line.from,
            "to": line.to, "actor": line.actor, "request_id": line.request_id,
            "reason": line.reason,
        });
        assert_eq!(&found, told, "{name}");
    }
    let versions = told["versions"].as_object().unwrap();
    assert_eq!(known.versions.len(), versions.len(), "{name}");
    for (number, told) in versions {
        let version = Version::parse(number).unwrap();
        let entry = &known.versions[&version];
        let digest = entry.stats.as_ref().map(|stats| &stats.content_digest);
        let found = json!({
            "state": entry.state, "label": entry.label, "as_of": entry.as_of,
            "code": entry.code, "content_digest": digest, "values": told["values"],
        });
        assert_eq!(&found, told, "{name}, version {version}");
        if entry.state.has_files() {
            let lease = store.live().get(name).unwrap().version(version).unwrap();
            assert_gives(lease.view(), &records(&told["values"]));
        }
    }
}

fn records(values: &Value) -> Records {
    let values = values.as_object().unwrap().iter();
    let record = |(key, value): (&String, &Value)| {
        (key.clone().into_bytes(), value.as_str().unwrap().as_bytes().to_vec())
    };
    values.map(record).collect()
}

fn assert_erased(store: &Store, name: &DatasetName, told: &Value) {
    let served = store.live().get(name).unwrap();
    let told: Vec<&str> =
        told.as_array().into_iter().flatten().map(|key| key.as_str().unwrap()).collect();
    assert_eq!(served.erased().is_some(), !told.is_empty(), "{name}");
    for key in told {
        assert!(served.is_erased(key.as_bytes()), "{name}, {key}");
        for version in served.kept_versions() {
            let lease = served.version(version).unwrap();
            assert_eq!(lease.get(Key::new(key.as_bytes()).unwrap()).unwrap(), None, "{key}");
        }
    }
}

fn assert_tokens(store: &Store, told: &Value) {
    let told = told.as_array().unwrap();
    let catalog = store.catalog();
    assert_eq!(catalog.tokens().iter().count(), told.len());
    for ((id, token), told) in catalog.tokens().iter().zip(told) {
        let found = json!({
            "id": id.to_string(), "name": token.name, "revoked": token.revoked_at.is_some(),
            "hash": Digest::from_bytes(token.hash).to_string(), "text": told["text"],
        });
        assert_eq!(&found, told);
    }
}

/// A push on top is given the next number and is served; a rollback goes to what was current.
fn assert_goes_on(store: &Store, name: &DatasetName) {
    let before = current(store, name).unwrap();
    let kept = store.live().get(name).unwrap();
    let next = store.catalog().dataset(name).unwrap().next_version();
    assert!(store.catalog().dataset(name).unwrap().versions.keys().all(|known| *known < next));
    let version = push_ready(store, name, &records_of(9, 40));
    assert_eq!(version, next, "no number is given again");
    activate(store, name, version.0).unwrap();
    assert_version(store, name, version.0, &records_of(9, 40));
    roll_back(store, name).unwrap();
    assert_eq!(current(store, name), Some(before));
    let after = store.live().get(name).unwrap();
    assert!(kept.kept_versions().all(|version| after.version(version).is_ok()), "{name}");
}
