//! An upgrade, from outside: a server on a data directory that an older release has written serves
//! what that one did to whom it did, and takes a push and a rollback on top.

use std::fs;

use serde_json::{Value, json};

use crate::access::Token;
use crate::fixture::{Written, written};
use crate::harness::Server;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/storage/tests/fixtures");
/// The dataset that was rolled back, and has erased keys.
const D: &str = "courses";

#[test]
fn and_it_takes_a_push_and_a_rollback_on_top() {
    for written in written(FIXTURES) {
        let mut server = on(&written);
        let expected = &written.expected;
        let admin = token(expected, "ops");
        for (name, told) in expected["datasets"].as_object().unwrap() {
            assert_dataset(&server, &admin, name, told);
        }
        for key in erased(expected) {
            let path = format!("/v1/datasets/{D}/keys/{key}");
            admin.get(&server, &path).problem(410, "erased");
        }
        assert_tokens(&server, expected);
        assert_goes_on(&mut server, &admin, expected);
    }
}

/// A server on a copy of it.
fn on(written: &Written) -> Server {
    let mut server = Server::start();
    server.kill();
    fs::remove_dir_all(server.data()).unwrap();
    written.lay_out(&server.data());
    server.start_again();
    server
}

fn token(expected: &Value, name: &str) -> Token {
    let told = expected["tokens"].as_array().unwrap();
    let told = told.iter().find(|told| told["name"] == name).unwrap();
    Token::of(&json!({ "id": told["id"], "token": told["text"] }))
}

fn erased(expected: &Value) -> impl Iterator<Item = &str> {
    expected["erased"][D].as_array().unwrap().iter().map(|key| key.as_str().unwrap())
}

fn assert_dataset(server: &Server, admin: &Token, name: &str, told: &Value) {
    let path = format!("/v1/datasets/{name}");
    let dataset = admin.get(server, &path).expect(200).json();
    assert_eq!(dataset["current"], told["current"], "{dataset}");
    for (version, told) in told["versions"].as_object().unwrap() {
        let found = admin.get(server, &format!("{path}/versions/{version}")).expect(200).json();
        for field in ["state", "label", "as_of", "content_digest", "code"] {
            assert_eq!(found[field], told[field], "{found}");
        }
        for (key, value) in told["values"].as_object().unwrap() {
            let reply = admin.get(server, &format!("{path}/keys/{key}?version={version}"));
            assert_eq!(reply.expect(200).text(), value.as_str().unwrap(), "{name} {version} {key}");
        }
    }
    let events = history(server, admin, name);
    let told = told["history"].as_array().unwrap();
    assert_eq!(events.len(), told.len(), "{events:?}");
    for (event, told) in events.iter().zip(told) {
        for (field, value) in told.as_object().unwrap() {
            assert_eq!(&event[field], value, "{field} of {event}");
        }
    }
}

/// The events of a dataset, the oldest first.
fn history(server: &Server, admin: &Token, name: &str) -> Vec<Value> {
    let path = format!("/v1/datasets/{name}/history?limit=100");
    let mut history = admin.get(server, &path).expect(200).json();
    let mut events: Vec<Value> = serde_json::from_value(history["events"].take()).unwrap();
    events.reverse();
    events
}

/// Whoever had a token has it, and nobody else: one that was revoked opens nothing.
fn assert_tokens(server: &Server, expected: &Value) {
    let path = format!("/v1/datasets/{D}");
    for told in expected["tokens"].as_array().unwrap() {
        let status = if told["revoked"] == true { 401 } else { 200 };
        token(expected, told["name"].as_str().unwrap()).get(server, &path).expect(status);
    }
    server.get_path(&path).problem(401, "unauthenticated");
    let reader = token(expected, "backend");
    reader.post(server, &format!("{path}/rollback"), &json!({})).problem(403, "forbidden");
}

fn assert_goes_on(server: &mut Server, admin: &Token, expected: &Value) {
    let path = format!("/v1/datasets/{D}");
    let told = &expected["datasets"][D];
    let before = &told["current"];
    let values = told["versions"][before.to_string()]["values"].as_object().unwrap();
    let row = |key: &str| format!("{{\"k\":\"{key}\",\"pushed\":\"later\"}}\n");
    let rows: String = values.keys().map(String::as_str).chain(erased(expected)).map(row).collect();
    // It was held by the rollback, and still is.
    let pushed = admin.push(server, D, &rows).expect(202).json();
    let newest = told["versions"].as_object().unwrap().keys().map(|v| v.parse::<u64>().unwrap());
    assert_eq!(pushed["version"], newest.max().unwrap() + 1, "{pushed}");
    assert_eq!(pushed["records"], values.len(), "erased keys are left out: {pushed}");
    let (key, value) = values.iter().next().unwrap();
    let get = |server: &Server| admin.get(server, &format!("{path}/keys/{key}")).expect(200).text();
    assert_eq!(get(server), value.as_str().unwrap());
    admin.post(server, &format!("{path}/release"), &json!({})).expect(200);
    assert_eq!(get(server), row(key).trim_end());
    let rolled_back =
        admin.post(server, &format!("{path}/rollback"), &json!({})).expect(200).json();
    assert_eq!((&rolled_back["to"], &rolled_back["from"]), (before, &pushed["version"]));
    assert_eq!(get(server), value.as_str().unwrap());
    server.restart();
    assert_eq!(get(server), value.as_str().unwrap());
    let events = history(server, admin, D);
    let known = told["history"].as_array().unwrap().len();
    assert_eq!(events[known]["event"], "admitted", "all that was there comes before: {events:?}");
}
