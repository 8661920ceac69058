//! What nobody reads is read by the server: damage that has come to the disk is found, named, told
//! and shown, and keeps the version from being activated until it is sound again.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::data::{key, rows, value};
use crate::harness::{Server, eventually, tidetable};

const D: &str = "recs";

pub(crate) fn file(server: &Server, version: u64, name: &str) -> PathBuf {
    server.data().join("datasets").join(D).join(version.to_string()).join(name)
}

pub(crate) fn flip(path: &PathBuf, at: u64) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

pub(crate) fn verify(server: &Server, version: u64) -> Value {
    let path = format!("/v1/datasets/{D}/versions/{version}/verify");
    let mut verified = Value::Null;
    eventually("it was read", || {
        verified = server.post(&path, &json!({})).json();
        !verified["sound"].is_null()
    });
    verified
}

/// Versions 1 and 2, of which 2 is current.
fn two_versions(arguments: &[&str]) -> Server {
    let server = Server::start_with(arguments);
    server.pushed(D, &rows(D, 1, 3_000));
    server.pushed(D, &rows(D, 2, 3_000));
    server
}

#[test]
fn what_is_asked_for_is_found_named_and_not_activated() {
    let mut server = two_versions(&[]);
    let sst = file(&server, 1, "000001.sst");
    let sound = verify(&server, 1);
    assert_eq!((&sound["sound"], &sound["damaged"]), (&json!(true), &json!(null)), "{sound}");
    flip(&sst, 5_000);
    let found = verify(&server, 1);
    assert_eq!((&found["sound"], &found["damaged"]["file"]), (&json!(false), &json!("000001.sst")));
    let offset = found["damaged"]["offset"].as_u64().unwrap();
    assert!((1..=5_000).contains(&offset), "{found}");
    assert!(!found.to_string().contains("/datasets/"), "no path is told: {found}");
    let said = server.said();
    assert!(said.contains("000001.sst") && said.contains(&offset.to_string()), "{said}");

    for ask in ["activate", "rollback"] {
        let body = if ask == "activate" { json!({ "version": 1 }) } else { json!({}) };
        let problem = server.operate(D, ask, &body).problem(503, "version_unusable");
        assert!(problem["detail"].as_str().unwrap().contains("000001.sst"), "{problem}");
    }
    assert_eq!(server.get(D, &key(3)).expect(200).text(), value(D, 2, 3));
    let shown = |server: &Server| {
        let ready = server.get_path("/readyz").expect(200).json();
        let version = server.dataset(&format!("{D}/versions/1"));
        (
            ready["status"].clone(),
            ready["damaged"][0]["version"].clone(),
            version["damaged"].clone(),
        )
    };
    let (status, version, damage) = shown(&server);
    assert_eq!((status, version), (json!("degraded"), json!(1)));
    assert_eq!(damage["file"], "000001.sst");
    assert_eq!(server.dataset(D)["damaged"], json!([1]));
    let metrics = server.get_path("/metrics").text();
    assert!(metrics.contains("tidetable_damaged_versions{dataset=\"recs\"} 1"), "{metrics}");

    // A restart knows it still.
    server.restart();
    assert_eq!(shown(&server).1, 1);
    server.operate(D, "activate", &json!({ "version": 1 })).problem(503, "version_unusable");

    // Whoever restores the file says so.
    flip(&sst, 5_000);
    let server_url = format!("http://{}", server.address());
    let ended = tidetable(&["--server", &server_url, "verify", D]).output().unwrap();
    let text = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success() && text.contains("recs 1: sound"), "{text}");
    assert_eq!(shown(&server), (json!("ok"), json!(null), json!(null)));
    assert_eq!(server.operate(D, "rollback", &json!({})).expect(200).json()["to"], 1);
    assert_eq!(server.get(D, &key(3)).expect(200).text(), value(D, 1, 3));
}

#[test]
fn what_nobody_asks_for_is_found_too() {
    let server = two_versions(&["--scrub-interval", "1s", "--scrub-rate", "100MiB/s"]);
    // Beneath the current version: it serves on, and says of each key that it lost that it did.
    let sst = file(&server, 2, "000001.sst");
    flip(&sst, 20_000);
    eventually("the damage is found", || {
        server.dataset(&format!("{D}/versions/2"))["damaged"]["file"] == "000001.sst"
    });
    assert_eq!(server.dataset(D)["state"], "damaged");
    let (mut right, mut failed) = (0, 0);
    for i in 0..3_000 {
        let reply = server.get(D, &key(i));
        match reply.status {
            200 => {
                assert_eq!(reply.text(), value(D, 2, i));
                right += 1;
            }
            _ => {
                reply.problem(500, "data_corrupt");
                failed += 1;
            }
        }
    }
    assert!(right > 2_900 && failed > 0, "{right} right, {failed} failed");
    flip(&sst, 20_000);
    eventually("it is sound again", || {
        server.dataset(&format!("{D}/versions/2"))["damaged"].is_null()
    });
    let ended = tidetable(&["--server", &format!("http://{}", server.address()), "verify", D, "7"]);
    assert_eq!({ ended }.output().unwrap().status.code(), Some(4), "there is no such version");
}

/// Its content was not what was wrong with it: the same push is welcome, unlike after a rollback from
/// a version whose content was.
#[test]
fn the_data_of_a_version_that_was_left_for_its_damage_is_taken_again() {
    let server = two_versions(&[]);
    flip(&file(&server, 2, "000001.sst"), 5_000);
    verify(&server, 2);
    assert_eq!(server.dataset(D)["state"], "damaged");
    let back = server.operate(D, "rollback", &json!({ "hold": false })).expect(200).json();
    assert_eq!((&back["to"], &back["marked_bad"]), (&json!(1), &json!(2)), "{back}");
    assert_eq!(server.pushed(D, &rows(D, 2, 3_000)), 3);
    assert_eq!(server.get(D, &key(3)).expect(200).text(), value(D, 2, 3));

    // Left for something else, whatever the disk did.
    flip(&file(&server, 3, "000001.sst"), 5_000);
    verify(&server, 3);
    let wrong = json!({ "hold": false, "reason": "the scores are wrong" });
    server.operate(D, "rollback", &wrong).expect(200);
    let refused = server.push(D, &rows(D, 2, 3_000)).problem(422, "gate_refused");
    let gates = refused["gates"].as_array().unwrap();
    let failed: Vec<_> = gates.iter().filter(|gate| gate["passed"] == false).collect();
    assert_eq!(failed.len(), 1, "{refused}");
    assert_eq!(failed[0]["gate"], "known_bad");
    assert!(failed[0]["detail"].as_str().unwrap().contains("version 3"), "{refused}");
}

#[test]
fn leaving_a_damaged_version_of_the_same_content_changes_what_is_read() {
    let server = Server::start();
    server.pushed(D, &rows(D, 1, 3_000));
    server.pushed(D, &rows(D, 1, 3_000));
    flip(&file(&server, 2, "000001.sst"), 5_000);
    verify(&server, 2);
    let back = server.operate(D, "rollback", &json!({})).expect(200).json();
    assert_eq!((&back["to"], &back["same_content"]), (&json!(1), &json!(null)), "{back}");
}
