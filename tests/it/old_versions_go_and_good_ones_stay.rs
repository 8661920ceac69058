//! Retention: the newest versions that served stay, older ones go with their files, and never
//! the current one nor the one that a rollback would go to. A number is never used again.

use std::fs;

use serde_json::json;

use crate::data::{assert_same, key, rows};
use crate::harness::{Server, eventually};

const D: &str = "recs";

fn state(server: &Server, version: u64) -> String {
    let reply = server.get_path(&format!("/v1/datasets/{D}/versions/{version}"));
    match reply.status {
        410 => "deleted".to_owned(),
        _ => reply.expect(200).json()["state"].as_str().unwrap().to_owned(),
    }
}

fn on_disk(server: &Server) -> Vec<u64> {
    let entries = fs::read_dir(server.data().join("datasets").join(D)).unwrap();
    let mut versions: Vec<u64> =
        entries.map(|e| e.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect();
    versions.sort_unstable();
    versions
}

#[test]
fn the_newest_three_stay() {
    let mut server = Server::start();
    server.configure(D, &json!({ "retire_grace_seconds": 0 }));
    for version in 1..=5 {
        assert_eq!(server.pushed(D, &rows(D, version, 10)), version);
    }
    eventually("versions 1 and 2 are deleted with their files", || on_disk(&server) == [3, 4, 5]);
    assert_eq!((state(&server, 1).as_str(), state(&server, 2).as_str()), ("deleted", "deleted"));
    let gone = format!("/v1/datasets/{D}/keys/{}?version=1", key(3));
    server.get_path(&gone).problem(410, "version_deleted");
    let kept = format!("/v1/datasets/{D}/keys/{}?version=3", key(3));
    assert_eq!(server.get_path(&kept).expect(200).version(), 3);

    server.restart();
    server.get_path(&gone).problem(410, "version_deleted");
    assert_eq!(on_disk(&server), [3, 4, 5]);
    let to_a_deleted_one = server.operate(D, "rollback", &json!({ "to": 1 }));
    assert!(matches!(to_a_deleted_one.status, 409 | 410), "{to_a_deleted_one}");
    assert_eq!(server.dataset(D)["current"], 5);
}

#[test]
fn the_one_to_roll_back_to_stays_whatever_the_setting() {
    let server = Server::start();
    server.configure(D, &json!({ "retire_grace_seconds": 0, "retain": 1 }));
    for version in 1..=4 {
        server.pushed(D, &rows(D, version, 10));
    }
    eventually("versions 1 and 2 are deleted with their files", || on_disk(&server) == [3, 4]);
    assert_eq!(state(&server, 2), "deleted");
    let answer = server.operate(D, "rollback", &json!({})).expect(200).json();
    assert_eq!(answer["to"], 3, "{answer}");

    let current = format!("/v1/datasets/{D}/versions/3");
    server.send("DELETE", &current, &[], b"").problem(409, "version_in_use");
    assert_eq!(server.get(D, &key(3)).expect(200).version(), 3);
}

#[test]
fn a_scan_that_began_ends_on_its_version() {
    let server = Server::start();
    server.configure(D, &json!({ "retain": 1 }));
    server.pushed(D, &rows(D, 1, 100));
    let mut page = server.dataset(&format!("{D}/scan?limit=10"));
    for version in 2..=5 {
        server.pushed(D, &rows(D, version, 100));
    }
    let mut seen = 0;
    loop {
        assert_eq!(page["version"], 1);
        for record in page["records"].as_array().unwrap() {
            assert_same(&record["value"], D, 1, seen);
            seen += 1;
        }
        let Some(next) = page["next"].as_str() else { break };
        page = server.dataset(&format!("{D}/scan?limit=10&cursor={next}"));
    }
    assert_eq!(seen, 100);
}

#[test]
fn a_number_is_never_used_again() {
    let mut server = Server::start();
    server.pushed(D, &rows(D, 1, 10));
    server.pushed(D, &rows(D, 2, 10));
    let path = format!("/v1/datasets/{D}");
    let gone = server.send("DELETE", &path, &[], b"");
    assert!(matches!(gone.status, 200 | 202 | 204), "{gone}");
    server.get(D, &key(1)).problem(404, "dataset_not_found");
    server.send("DELETE", &path, &[], b"").problem(404, "dataset_not_found");
    server.restart();
    server.get(D, &key(1)).problem(404, "dataset_not_found");
    assert_eq!(server.pushed(D, &rows(D, 3, 10)), 3);
    // Why it begins with 3 is all that is left to tell of what was there before.
    let events = server.events(D);
    assert_eq!(events[events.len() - 2..], ["created", "dataset_deleted"]);
    server.restart();
    assert_eq!(server.get(D, &key(1)).expect(200).version(), 3);
}

/// Two people who change different settings at the same time both have their way.
#[test]
fn settings_changed_at_once_are_all_kept() {
    let server = Server::start();
    server.configure(D, &json!({}));
    for round in 1..=20 {
        let changes = [
            json!({ "retain": round }),
            json!({ "owner": format!("team {round}") }),
            json!({ "gates": { "min_records": round } }),
            json!({ "gates": { "max_shrink_percent": round } }),
        ];
        std::thread::scope(|scope| {
            for change in &changes {
                scope.spawn(|| server.configure(D, change));
            }
        });
        let config = &server.dataset(D)["config"];
        assert_eq!(config["retain"], round, "{config}");
        assert_eq!(config["owner"], format!("team {round}"), "{config}");
        assert_eq!(config["gates"]["min_records"], round, "{config}");
        assert_eq!(config["gates"]["max_shrink_percent"], f64::from(round), "{config}");
    }
}

/// Jobs set them at every run, and the history is for what happened.
#[test]
fn settings_that_change_nothing_leave_no_line() {
    let server = Server::start();
    server.configure(D, &json!({ "retain": 5 }));
    let shown = server.dataset(D);
    let path = format!("/v1/datasets/{D}");
    for same in [json!({}), json!({ "retain": 5 }), json!({ "gates": { "min_records": 1 } })] {
        let body = same.to_string();
        let json = [("content-type", "application/json")];
        let reply = server.send("PUT", &path, &json, body.as_bytes()).expect(200);
        assert_eq!(reply.json(), shown, "{same}");
    }
    assert_eq!(server.events(D), ["created"]);
    server.configure(D, &json!({ "retain": 6 }));
    assert_eq!(server.events(D), ["configured", "created"]);
}
