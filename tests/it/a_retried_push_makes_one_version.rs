//! A job retries freely: with an `Idempotency-Key` the same push is one version and gets the
//! same answer, before and after a restart; another push with that key is refused; a push
//! that failed frees its key.

use serde_json::json;

use crate::data::rows;
use crate::harness::Server;
use crate::http::Reply;

const D: &str = "recs";

fn push(server: &Server, key: &str, body: &str) -> Reply {
    let path = format!("/v1/datasets/{D}/push?key=k&format=ndjson");
    server.send("POST", &path, &[("idempotency-key", key)], body.as_bytes())
}

#[test]
fn a_retried_push_makes_one_version() {
    let mut server = Server::start();
    let first = push(&server, "run-1", &rows(D, 1, 100)).expect(201).json();
    assert_eq!(first["version"], 1);
    for _ in 0..3 {
        let again = push(&server, "run-1", &rows(D, 1, 100));
        assert!(matches!(again.status, 200 | 201), "{again}");
        assert_eq!(again.json()["version"], 1);
    }
    server.restart();
    let after = push(&server, "run-1", &rows(D, 1, 100));
    assert!(matches!(after.status, 200 | 201), "{after}");
    assert_eq!(after.json()["version"], 1);
    assert_eq!(server.dataset(D)["versions"], 1);

    push(&server, "run-1", &rows(D, 2, 100)).problem(422, "idempotency_key_reused");
    assert_eq!(server.get(D, "learner:0000001").expect(200).version(), 1);

    // Another dataset has keys of its own.
    let path = "/v1/datasets/stats/push?key=k&format=ndjson";
    let other =
        server.send("POST", path, &[("idempotency-key", "run-1")], rows("stats", 1, 10).as_bytes());
    assert_eq!(other.expect(201).json()["version"], 1);

    // A retry of an old push does not bring its version back.
    assert_eq!(push(&server, "run-2", &rows(D, 2, 100)).expect(201).json()["version"], 2);
    push(&server, "run-1", &rows(D, 1, 100));
    assert_eq!(server.get(D, "learner:0000001").expect(200).version(), 2);
}

#[test]
fn a_repetition_is_no_longer_than_a_push_may_be() {
    let server = Server::start_with(&["--max-push-bytes=8KiB"]);
    push(&server, "run-1", "{\"k\":1}\n").expect(201);
    let long = format!("{{\"k\":\"{}\"}}\n", "x".repeat(9000));
    push(&server, "run-2", &long).problem(413, "payload_too_large");
    push(&server, "run-1", &long).problem(413, "payload_too_large");
    push(&server, "run-1", "{\"k\":2}\n").problem(422, "idempotency_key_reused");
}

#[test]
fn a_push_that_failed_frees_its_key() {
    let server = Server::start();
    push(&server, "run-1", "{\"k\":").problem(422, "bad_rows");
    let corrected = push(&server, "run-1", &rows(D, 2, 100)).expect(201).json();
    assert_eq!(corrected["current"], true);
}

/// Its key was free since it was refused, and is nobody's when a person takes it all the same.
#[test]
fn a_push_that_was_refused_and_then_forced_is_another_one_when_it_is_retried() {
    let server = Server::start();
    server.configure(D, &json!({ "gates": { "min_records": 5 } }));
    push(&server, "run-1", &rows(D, 1, 4)).problem(422, "gate_refused");
    let force = json!({ "version": 1, "force": true, "reason": "four are enough" });
    server.operate(D, "activate", &force).expect(200);
    let again = push(&server, "run-1", &rows(D, 1, 4)).problem(422, "gate_refused");
    assert_eq!(again["version"], 2, "{again}");
    assert_eq!(server.dataset(D)["current"], 1);
}

#[test]
fn whoever_does_not_wait_is_answered_202_however_far_it_is() {
    let server = Server::start();
    let path = format!("/v1/datasets/{D}/push?key=k&format=ndjson&wait=false");
    let body = rows(D, 1, 1_000);
    let send = || {
        let headers = [("idempotency-key", "run-1")];
        server.send("POST", &path, &headers, body.as_bytes()).expect(202).json()
    };
    assert_eq!(send()["version"], 1);
    assert_eq!(server.settled(D, 1)["state"], "active");
    let again = send();
    assert_eq!((&again["version"], &again["state"]), (&1.into(), &"active".into()), "{again}");
}

#[test]
fn a_commit_has_a_key_too() {
    let mut server = Server::start();
    let send = |server: &Server, path: &str, key: &str, body: &str| {
        let headers = [("idempotency-key", key), ("content-type", "application/json")];
        server.send("POST", &format!("/v1/datasets/{D}/versions{path}"), &headers, body.as_bytes())
    };
    for version in 1..=2 {
        let opened =
            send(&server, "", &format!("run-{version}"), r#"{"key":"k","format":"ndjson"}"#);
        assert_eq!(opened.expect(201).json()["version"], version);
        let path = format!("/v1/datasets/{D}/versions/{version}/parts/1");
        server.send("PUT", &path, &[], rows(D, version, 10).as_bytes()).expect(200);
    }
    send(&server, "/1/commit", "commit", "{}").expect(202);
    assert_eq!(server.settled(D, 1)["state"], "active");
    server.restart();
    // The same request: the same answer, and the version as it is now.
    let again = send(&server, "/1/commit", "commit", "{}").expect(202).json();
    assert_eq!((&again["version"], &again["state"]), (&1.into(), &"active".into()), "{again}");
    // Another request.
    for (path, body) in [
        ("/2/commit", "{}"),
        ("/1/commit", r#"{"activate":false}"#),
        ("/1/commit", r#"{"parts":["1"]}"#),
    ] {
        send(&server, path, "commit", body).problem(422, "idempotency_key_reused");
    }
    assert_eq!(server.dataset(&format!("{D}/versions/2"))["state"], "receiving");
    // The key of another operation of the dataset.
    send(&server, "/2/commit", "run-2", "{}").problem(422, "idempotency_key_reused");
    // Without a key, or with another one, it is a repetition.
    send(&server, "/1/commit", "another", "{}").expect(200);
}

/// What counts is what a body asks for, and not how it is written.
#[test]
fn a_push_in_parts_is_the_same_however_its_body_is_written() {
    let server = Server::start();
    let begin = |body: &str| {
        let headers = [("idempotency-key", "run-1"), ("content-type", "application/json")];
        server.send("POST", &format!("/v1/datasets/{D}/versions"), &headers, body.as_bytes())
    };
    for same in [
        r#"{"key":"k","format":"csv"}"#,
        r#"{"format":"csv","key":["k"]}"#,
        r#"{"format":"csv","key":["k"],"activate":true,"collect":false,"label":null}"#,
        r#"{"format":"csv","key":["k"],"on_duplicate":"fail","nan":"fail"}"#,
    ] {
        assert_eq!(begin(same).expect(201).json()["version"], 1, "{same}");
    }
    for other in [
        r#"{"key":"k","format":"tsv"}"#,
        r#"{"key":"k","format":"csv","activate":false}"#,
        r#"{"key":"k","format":"csv","label":"7"}"#,
    ] {
        begin(other).problem(422, "idempotency_key_reused");
    }
    assert_eq!(server.dataset(D)["versions"], 1);
}

#[test]
fn two_at_once_make_one_version() {
    let server = Server::start();
    let body = rows(D, 1, 50_000);
    let replies: Vec<Reply> = std::thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| push(&server, "run-1", &body)));
        both.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let mut done = 0;
    for reply in replies {
        match reply.status {
            200 | 201 => {
                assert_eq!(reply.json()["version"], 1, "{reply}");
                done += 1;
            }
            // The other one was still running.
            _ => drop(reply.problem(409, "in_progress")),
        }
    }
    assert!(done >= 1);
    assert_eq!(server.dataset(D)["versions"], 1);
}
