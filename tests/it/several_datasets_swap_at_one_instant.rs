//! `POST /v1/activate`: several datasets swap at one instant, or none does. No batch over them
//! ever mixes; an error names the dataset at fault; a retry, also after a kill, does nothing.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use serde_json::{Value, json};

use crate::data::{Random, assert_batch, key, rows};
use crate::harness::{Server, tidetable};
use crate::http::{Client, Reply};

const NAMES: [&str; 2] = ["recs", "facts"];
const RECORDS: usize = 500;
/// Batches that a reader must have read between two swaps.
const BATCHES: usize = 20;

/// Two versions of each, of which the first is current.
fn two_versions_each() -> Server {
    let server = Server::start();
    for name in NAMES {
        assert_eq!(server.pushed(name, &rows(name, 1, RECORDS)), 1);
        parked(&server, name, 2);
    }
    server
}

fn parked(server: &Server, name: &str, version: u64) {
    let query = "key=k&format=ndjson&activate=false";
    let pushed = server.push_with(name, query, rows(name, version, RECORDS).as_bytes());
    assert_eq!(pushed.expect(201).json()["version"], version);
}

fn both(versions: [u64; 2]) -> Value {
    let one = |(name, version)| json!({ "dataset": name, "version": version });
    json!({ "activations": NAMES.iter().zip(versions).map(one).collect::<Vec<_>>() })
}

fn current(server: &Server) -> [Value; 2] {
    NAMES.map(|name| server.dataset(name)["current"].clone())
}

#[test]
fn no_batch_over_them_mixes_under_load() {
    let server = two_versions_each();
    let address = server.address();
    let stop = AtomicBool::new(false);
    let (done, finished) = channel();
    std::thread::scope(|scope| {
        // Set also when a swap fails, or the scope would wait for the readers for ever.
        let stopper = SetOnDrop(&stop);
        for reader in 0..2 {
            let (stop, done) = (&stop, done.clone());
            scope.spawn(move || read(address, reader, stop, &done));
        }
        drop(done);
        for round in 0..20 {
            let (from, to) = if round % 2 == 0 { (1, 2) } else { (2, 1) };
            let answer = server.post("/v1/activate", &both([to; 2])).expect(200).json();
            let moved = |name| json!({ "dataset": name, "from": from, "to": to, "held": false, "marked_bad": null });
            assert_eq!(answer, json!({ "activated": NAMES.map(moved) }));
            every_reader_goes_on(&finished);
        }
        drop(stopper);
    });
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Each has read twice since now: the first may have begun before.
fn every_reader_goes_on(finished: &Receiver<usize>) {
    while finished.try_recv().is_ok() {}
    let mut reads = [0, 0];
    while reads.iter().any(|n| *n < 2) {
        let reader = finished.recv_timeout(Duration::from_secs(120));
        reads[reader.expect("the readers go on reading, see what they say")] += 1;
    }
}

fn read(address: SocketAddr, reader: usize, stop: &AtomicBool, done: &Sender<usize>) {
    let mut client = Client::new(address);
    let mut random = Random::new(reader as u64);
    let mut reads = 0;
    while !stop.load(Ordering::Relaxed) {
        let wanted: Vec<usize> =
            (0..20).map(|_| usize::try_from(random.below(RECORDS as u64)).unwrap()).collect();
        let keys: Vec<String> = wanted.iter().map(|&i| key(i)).collect();
        let requests = NAMES.map(|name| json!({ "dataset": name, "keys": keys }));
        let answer = client.post("/v1/batch-get", &json!({ "requests": requests }));
        let answer = answer.expect("no batch fails").expect(200).json();
        let version = answer["answers"][0]["version"].as_u64().unwrap();
        for (number, name) in NAMES.iter().enumerate() {
            assert_batch(&answer["answers"][number], name, version, &wanted);
        }
        reads += 1;
        if reads % BATCHES == 0 {
            // The swapper may have ended meanwhile.
            let _ = done.send(reader);
        }
    }
}

#[test]
fn an_error_names_the_dataset_and_changes_nothing() {
    let server = two_versions_each();
    let refused = |body: &Value, status, code: &str, name: &str| {
        let problem = server.post("/v1/activate", body).problem(status, code);
        assert_eq!(problem["dataset"], name, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(name), "{problem}");
    };
    refused(&both([2, 1]), 409, "already_current", "facts");
    refused(&both([2, 7]), 404, "version_not_found", "facts");
    let mut expecting = both([2, 2]);
    expecting["activations"][1]["expect_current"] = json!(null);
    refused(&expecting, 409, "current_changed", "facts");
    let mut absent = both([2, 2]);
    absent["activations"][1]["dataset"] = json!("nobody");
    refused(&absent, 404, "dataset_not_found", "nobody");
    absent["activations"][1]["dataset"] = json!("recs");
    refused(&absent, 400, "malformed_body", "recs");

    let send = |body: Value| server.post("/v1/activate", &body);
    send(json!({ "activations": [] })).problem(400, "malformed_body");
    send(json!({})).problem(400, "malformed_body");
    send(json!({ "activations": [{ "dataset": "recs" }] })).problem(400, "malformed_body");
    send(json!({ "activations": [{ "dataset": "recs", "version": 0 }] }))
        .problem(400, "malformed_body");
    send(json!({ "activations": [{ "dataset": "../x", "version": 1 }] }))
        .problem(400, "invalid_name");
    send(json!({ "activations": [{ "dataset": "recs", "versoin": 1 }] }))
        .problem(400, "unknown_field");
    let many = (0..101).map(|n| json!({ "dataset": format!("d{n}"), "version": 1 }));
    send(json!({ "activations": many.collect::<Vec<_>>() })).problem(400, "too_many_keys");
    assert_eq!(current(&server), [json!(1), json!(1)]);
    assert!(NAMES.iter().all(|name| server.events(name)[0] == "published"));
}

#[test]
fn a_gate_that_refuses_one_stops_all_and_force_with_a_reason_does_not() {
    let server = two_versions_each();
    // 2 of facts was ready against 500 records; then 1,200 are current.
    server.pushed("facts", &rows("facts", 3, 1_200));
    let problem = server.post("/v1/activate", &both([2, 2])).problem(422, "gate_refused");
    assert_eq!((&problem["dataset"], &problem["version"]), (&json!("facts"), &json!(2)));
    let gates = problem["gates"].as_array().unwrap();
    assert!(gates.iter().any(|gate| gate["passed"] == false), "{problem}");
    assert_eq!(server.dataset("facts/versions/2")["state"], "rejected");
    assert_eq!(current(&server), [json!(1), json!(3)]);
    let mut forced = both([2, 2]);
    forced["force"] = json!(true);
    server.post("/v1/activate", &forced).problem(409, "needs_force");
    forced["reason"] = json!("the shrink is meant");
    server.post("/v1/activate", &forced).expect(200);
    assert_eq!(current(&server), [json!(2), json!(2)]);
    for name in NAMES {
        let last = &server.dataset(&format!("{name}/history?limit=1"))["events"][0];
        assert_eq!((&last["event"], &last["to"]), (&json!("activated"), &json!(2)), "{last}");
        assert_eq!(last["reason"], "the shrink is meant", "{last}");
    }
}

#[test]
fn a_retry_after_a_kill_gets_the_first_answer_and_does_nothing() {
    let mut server = two_versions_each();
    let send = |server: &Server, body: &Value| -> Reply {
        let headers = [("content-type", "application/json"), ("idempotency-key", "night-7")];
        server.send("POST", "/v1/activate", &headers, body.to_string().as_bytes())
    };
    let first = send(&server, &both([2, 2])).expect(200).json();
    server.restart();
    assert_eq!(current(&server), [json!(2), json!(2)]);
    server.operate("recs", "activate", &json!({ "version": 1 })).expect(200);
    assert_eq!(send(&server, &both([2, 2])).expect(200).json(), first);
    assert_eq!(current(&server), [json!(1), json!(2)], "it was not done again");
    let problem = send(&server, &both([2, 1])).problem(422, "idempotency_key_reused");
    assert_eq!(problem["dataset"], "facts", "{problem}");
}

#[test]
fn the_command_does_the_same() {
    let server = two_versions_each();
    let run = |words: &[&str]| {
        let mut command = tidetable(&["activate"]);
        command.args(words).env("TIDETABLE_SERVER", format!("http://{}", server.address()));
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    let (code, text) = run(&["recs=2", "facts=2"]);
    assert_eq!((code, text.as_str()), (Some(0), "recs: 1 → 2\nfacts: 1 → 2\n"));
    let (code, text) = run(&["recs=1", "facts=2"]);
    assert_eq!(code, Some(5), "{text}");
    assert!(text.contains("facts") && text.contains("already current"), "{text}");
    let (code, text) = run(&["recs", "1", "facts", "1"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("a=3 b=7"), "{text}");
    assert_eq!(current(&server), [json!(2), json!(2)]);
}
