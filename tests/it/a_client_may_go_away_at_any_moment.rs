//! A client may go away at any moment: a push that had arrived whole ends by itself, one that
//! had not leaves nothing and frees its key, and whoever only ends its sending still gets the
//! answer. And nobody else has a hand in it meanwhile.

use std::fs;
use std::io::{BufReader, Write};
use std::net::{Shutdown, TcpStream};

use serde_json::{Value, json};

use crate::data::rows;
use crate::harness::{Server, eventually};
use crate::http::{connect, read_reply};

const D: &str = "recs";
const PUSH: &str = "/v1/datasets/recs/push?key=k&format=ndjson";

/// Sends a request; `announced` bytes of body are announced, and these sent.
fn begin(
    server: &Server,
    (method, path): (&str, &str),
    headers: &str,
    announced: usize,
    body: &[u8],
) -> BufReader<TcpStream> {
    let mut connection = connect(server.address()).unwrap();
    let stream = connection.get_mut();
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: {}\r\n{headers}", server.address()).unwrap();
    write!(stream, "content-length: {announced}\r\n\r\n").unwrap();
    stream.write_all(body).unwrap();
    connection
}

#[test]
fn a_push_whose_client_left_after_its_last_byte_is_served() {
    let server = Server::start();
    for version in 1..=5 {
        let body = rows(D, version, 2_000);
        let key = format!("idempotency-key: run-{version}\r\n");
        drop(begin(&server, ("POST", PUSH), &key, body.len(), body.as_bytes()));
        eventually("it is served", || {
            let found = server.get_path(&format!("/v1/datasets/{D}"));
            found.status == 200 && found.json()["current"] == version
        });
        // Whoever asks again with its key gets its answer.
        let key = [("idempotency-key", &*format!("run-{version}"))];
        eventually("its key answers", || {
            let again = server.send("POST", PUSH, &key, body.as_bytes());
            again.status == 201 && again.json()["version"] == version
        });
    }
}

#[test]
fn another_request_with_a_key_in_use_is_refused_for_good() {
    let server = Server::start();
    let body = rows(D, 1, 2_000);
    let (half, rest) = body.as_bytes().split_at(body.len() / 2);
    let mut first = begin(&server, ("POST", PUSH), "idempotency-key: run 1\r\n", body.len(), half);
    eventually("it has its number", || {
        server.get_path(&format!("/v1/datasets/{D}/versions/1")).status == 200
    });
    let send = |path: &str| server.send("POST", path, &[("idempotency-key", "run 1")], b"{}");
    send(PUSH).problem(409, "in_progress");
    send(&format!("{PUSH}&label=another")).problem(422, "idempotency_key_reused");
    first.get_mut().write_all(rest).unwrap();
    let pushed = read_reply(&mut first, "POST", PUSH).unwrap().expect(201).json();
    assert_eq!(pushed["version"], 1, "{pushed}");
}

#[test]
fn a_commit_whose_client_left_is_built() {
    let server = Server::start();
    for version in 1..=5 {
        let body = json!({ "format": "ndjson", "key": ["k"] });
        let opened = server.post(&format!("/v1/datasets/{D}/versions"), &body).expect(201).json();
        assert_eq!(opened["version"], version);
        let path = format!("/v1/datasets/{D}/versions/{version}");
        let part = rows(D, version, 100);
        server.send("PUT", &format!("{path}/parts/1"), &[], part.as_bytes()).expect(200);
        let commit = format!("{path}/commit");
        drop(begin(&server, ("POST", &commit), "", 2, b"{}"));
        eventually("it is served", || {
            server.dataset(&format!("{D}/versions/{version}"))["state"] == "active"
        });
    }
}

#[test]
fn a_push_whose_client_left_in_the_middle_leaves_nothing() {
    let server = Server::start();
    server.pushed(D, &rows(D, 1, 10));
    let body = rows(D, 2, 2_000);
    let key = "idempotency-key: run-2\r\n";
    drop(begin(&server, ("POST", PUSH), key, body.len(), &body.as_bytes()[..body.len() / 2]));
    eventually("it has failed", || {
        let version = server.get_path(&format!("/v1/datasets/{D}/versions/2"));
        version.status == 200 && version.json()["state"] == "failed"
    });
    let staging = server.data().join("staging");
    eventually("nothing of it is left", || fs::read_dir(&staging).unwrap().next().is_none());
    // Its key is free, a moment after the files are gone: the job may run again.
    let key = [("idempotency-key", "run-2")];
    let mut again = Value::Null;
    eventually("its key is free", || {
        let reply = server.send("POST", PUSH, &key, body.as_bytes());
        if reply.status == 409 && reply.json()["code"] == "in_progress" {
            return false;
        }
        again = reply.expect(201).json();
        true
    });
    assert_eq!((&again["version"], &again["current"]), (&json!(3), &json!(true)), "{again}");
}

#[test]
fn whoever_ends_its_sending_still_gets_the_answer() {
    let server = Server::start();
    let body = rows(D, 1, 2_000);
    let mut connection = begin(&server, ("POST", PUSH), "", body.len(), body.as_bytes());
    connection.get_ref().shutdown(Shutdown::Write).unwrap();
    let answer = read_reply(&mut connection, "POST", PUSH).unwrap().expect(201);
    assert_eq!(answer.json()["current"], true, "{answer}");

    let path = "/v1/datasets/recs/keys/learner:0000001";
    let mut connection = begin(&server, ("GET", path), "", 0, b"");
    connection.get_ref().shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_reply(&mut connection, "GET", path).unwrap().expect(200).version(), 1);
}

#[test]
fn nobody_has_a_hand_in_what_one_request_makes() {
    let server = Server::start();
    let body = rows(D, 1, 2_000);
    let (sent, rest) = body.as_bytes().split_at(body.len() / 2);
    let mut connection = begin(&server, ("POST", PUSH), "", body.len(), sent);
    let version = format!("/v1/datasets/{D}/versions/1");
    eventually("it is being received", || server.get_path(&version).status == 200);

    let part = rows(D, 99, 10);
    let put = server.send("PUT", &format!("{version}/parts/1"), &[], part.as_bytes());
    put.problem(409, "wrong_state");
    server.post(&format!("{version}/commit"), &json!({})).problem(409, "wrong_state");

    connection.get_mut().write_all(rest).unwrap();
    let answer = read_reply(&mut connection, "POST", PUSH).unwrap().expect(201).json();
    assert_eq!((&answer["version"], &answer["records"]), (&json!(1), &json!(2_000)), "{answer}");
}
