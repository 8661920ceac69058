//! What is one too many is refused at once, with what to do and when, and leaves nothing behind;
//! everything else goes on.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use serde_json::json;

use crate::harness::{Server, eventually};
use crate::http::{Reply, connect, read_reply};

const D: &str = "recs";

/// How many requests of a class were refused.
#[track_caller]
fn shed(server: &Server, class: &str) -> u64 {
    let page = server.get_path("/metrics").expect(200).text();
    let name = format!("tidetable_shed_total{{class=\"{class}\"}} ");
    let count = page.lines().find_map(|line| line.strip_prefix(&name));
    count.unwrap_or_else(|| panic!("no {name}: {page}")).parse().unwrap()
}

/// A push whose body does not end, once the server receives it.
fn hanging_push(server: &Server, dataset: &str) -> BufReader<TcpStream> {
    let versions = || {
        let reply = server.get_path(&format!("/v1/datasets/{dataset}/versions"));
        if reply.status == 404 { 0 } else { reply.json()["versions"].as_array().unwrap().len() }
    };
    let before = versions();
    let mut connection = connect(server.address()).unwrap();
    let head = format!(
        "POST /v1/datasets/{dataset}/push?key=k&format=ndjson HTTP/1.1\r\nhost: x\r\n\
         content-length: 1000\r\n\r\n{{\"k\":1"
    );
    connection.get_mut().write_all(head.as_bytes()).unwrap();
    eventually("the push has begun", || versions() == before + 1);
    connection
}

#[test]
fn bodies_of_one_dataset_and_of_all() {
    let server = Server::start_with(&["--max-bodies=3", "--max-bodies-per-dataset=2"]);
    let _two = [hanging_push(&server, D), hanging_push(&server, D)];
    let refused = server.push(D, "{\"k\":1}\n");
    refused.problem(429, "too_many_pushes");
    let refused = server.push(D, "{\"k\":1}\n").expect(429);
    assert_eq!(refused.header("retry-after"), Some("1"));
    // It was refused before it had a number.
    assert_eq!(server.dataset(&format!("{D}/versions"))["versions"].as_array().unwrap().len(), 2);
    let other = hanging_push(&server, "other");
    server.push("third", "{\"k\":1}\n").problem(503, "overloaded");
    server.get_path("/v1/datasets/third").expect(404);
    drop(other);
    eventually("its place is free again", || server.push("third", "{\"k\":1}\n").status == 201);
    assert!(shed(&server, "body") >= 1);
}

#[test]
fn whoever_waits_for_a_push_keeps_nobody_from_pushing() {
    let server = Server::start_with(&["--max-push-requests=3", "--max-operations=3"]);
    let path = format!("/v1/datasets/{D}/versions");
    let begun = server.post(&path, &json!({ "format": "ndjson", "key": ["k"] })).expect(201);
    let version = format!("{path}/{}", begun.json()["version"]);
    let mut waiting: Vec<_> = (0..3).map(|_| connect(server.address()).unwrap()).collect();
    for connection in &mut waiting {
        let head = format!("GET {version}?wait=300 HTTP/1.1\r\nhost: x\r\n\r\n");
        connection.get_mut().write_all(head.as_bytes()).unwrap();
    }
    // At the latest by the second of these they wait.
    for n in 0..10 {
        server.pushed(&format!("other-{n}"), "{\"k\":1}\n");
        server.get_path(&version).expect(200);
    }
    server.send("DELETE", &version, &[], b"").expect(200);
    for connection in &mut waiting {
        let answer = read_reply(connection, "GET", &version).unwrap().expect(200);
        assert_eq!(answer.json()["state"], "deleted", "{answer}");
    }
}

#[test]
fn pushes_that_were_begun_and_not_committed() {
    let server = Server::start_with(&["--max-open-pushes=3", "--max-open-pushes-per-dataset=2"]);
    let path = |dataset: &str| format!("/v1/datasets/{dataset}/versions");
    let create = |dataset: &str, id: &str| {
        let headers = [("content-type", "application/json"), ("idempotency-key", id)];
        server.send("POST", &path(dataset), &headers, b"{\"format\":\"ndjson\",\"key\":[\"k\"]}")
    };
    create(D, "a").expect(201);
    create(D, "b").expect(201);
    create(D, "c").problem(429, "too_many_pushes");
    assert_eq!(create(D, "b").expect(201).json()["version"], 2, "which is none more");
    create("other", "a").expect(201);
    create("third", "a").problem(429, "too_many_pushes");
    server.send("DELETE", &format!("{}/1", path(D)), &[], b"").expect(200);
    create(D, "c").expect(201);
}

#[test]
fn data_of_a_push_that_is_too_long() {
    // One place for each: what is left open by a refusal would take it.
    let one = ["--max-bodies=1", "--max-push-requests=1", "--max-open-pushes=1"];
    let server = Server::start_with(&[&["--max-push-bytes=4KiB"][..], &one].concat());
    let row = |bytes: usize| format!("{{\"k\":1,\"v\":\"{}\"}}\n", "x".repeat(bytes - 15));
    let (fits, long) = (row(4096), row(4097));
    assert_eq!((fits.len(), long.len()), (4096, 4097));
    let versions = format!("/v1/datasets/{D}/versions");
    let refused = |reply: Reply| {
        let problem = reply.problem(413, "payload_too_large");
        assert!(problem["detail"].as_str().unwrap().contains("max_push_bytes"), "{problem}");
        problem["version"].clone()
    };

    let chunked = |method: &str, path: &str| {
        server.client().send_chunked(method, path, long.as_bytes()).unwrap()
    };
    let by_length = refused(server.push(D, &long));
    let by_chunks = refused(chunked("POST", &format!("/v1/datasets/{D}/push?key=k&format=ndjson")));
    for (version, told) in [(1, by_length), (2, by_chunks)] {
        assert_eq!(told, version);
        let failed = server.dataset(&format!("{D}/versions/{version}"));
        assert_eq!(failed["state"], "failed", "{failed}");
    }

    let opened = server.post(&versions, &json!({ "format": "ndjson", "key": ["k"] })).expect(201);
    assert_eq!(opened.json()["version"], 3, "{opened}");
    let part = format!("{versions}/3/parts/1");
    server.send("PUT", &part, &[], long.as_bytes()).problem(413, "payload_too_large");
    chunked("PUT", &part).problem(413, "payload_too_large");
    let parts = server.dataset(&format!("{D}/versions/3/parts"));
    assert_eq!(parts["parts"], json!([]), "{parts}");
    // What is as long as it may be is taken, in a part and in a push of one request.
    let stored = server.send("PUT", &part, &[], fits.as_bytes());
    assert!(matches!(stored.status, 200 | 201 | 204), "{stored}");
    server.post(&format!("{versions}/3/commit"), &json!({})).expect(202);
    assert_eq!(server.settled(D, 3)["state"], "active");
    assert_eq!(server.pushed(D, &fits), 4);
    eventually("nothing is left of what was refused", || {
        std::fs::read_dir(server.data().join("staging")).unwrap().next().is_none()
    });
}

/// A request whose body does not end.
fn hanging(server: &Server, path: &str) -> BufReader<TcpStream> {
    let mut connection = connect(server.address()).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: 1000\r\n\r\n{{"
    );
    connection.get_mut().write_all(head.as_bytes()).unwrap();
    connection
}

/// Such requests until all places are taken. Asking whether they are takes one too, so that what comes
/// just then is refused, and another has to come.
fn filling(server: &Server, path: &str, are_full: impl Fn() -> bool) -> Vec<BufReader<TcpStream>> {
    let mut sent = Vec::new();
    eventually("all places are taken", || {
        let full = are_full();
        if !full {
            sent.push(hanging(server, path));
        }
        full
    });
    sent
}

/// What hangs does so for as long as these tests take, and nothing is refused because the machine
/// is busy.
const PATIENT: [&str; 3] = ["--body-timeout=10m", "--min-body-rate=0", "--overload-after=10m"];

#[test]
fn reads_and_pushes_that_fill_their_places_keep_no_operation_from_its_own() {
    let few = ["--max-reads=2", "--max-push-requests=2"];
    let server = Server::start_with(&[&few[..], &PATIENT].concat());
    server.pushed(D, "{\"k\":1}\n");
    server.pushed(D, "{\"k\":2}\n");
    let path = format!("/v1/datasets/{D}/batch-get");
    let batch = || server.post(&path, &json!({ "keys": ["1"] }));
    let reads = filling(&server, &path, || batch().status == 503);
    let refused = batch().problem(503, "overloaded");
    assert!(refused["detail"].as_str().unwrap().contains("max_reads"), "{refused}");
    let _pushes = [hanging_push(&server, D), hanging_push(&server, D)];
    let refused = server.push(D, "{\"k\":3}\n").problem(503, "overloaded");
    assert!(refused["detail"].as_str().unwrap().contains("max_push_requests"), "{refused}");

    for path in ["/livez", "/readyz", "/metrics", "/version"] {
        server.get_path(path).expect(200);
    }
    let answer = server.operate(D, "rollback", &json!({ "reason": "wrong" })).expect(200).json();
    assert_eq!((&answer["from"], &answer["to"]), (&json!(2), &json!(1)), "{answer}");
    assert!(shed(&server, "read") >= 2 && shed(&server, "push") >= 1);
    assert_eq!((shed(&server, "operation"), shed(&server, "health")), (0, 0));
    assert_eq!(batch().status, 503, "they were full all the time");
    drop(reads);
    eventually("their places are free again", || batch().status == 200);
}

#[test]
fn operations_that_fill_their_places_keep_no_read_and_no_push_from_its_own() {
    let server = Server::start_with(&[&["--max-operations=2"][..], &PATIENT].concat());
    server.pushed(D, "{\"k\":1}\n");
    let path = format!("/v1/datasets/{D}/hold");
    let looks = || server.get_path("/v1/datasets");
    let _operations = filling(&server, &path, || looks().status == 503);
    server.pushed(D, "{\"k\":2}\n");
    let batch = server.post(&format!("/v1/datasets/{D}/batch-get"), &json!({ "keys": ["2"] }));
    assert_eq!(batch.expect(200).json()["version"], 2);
    for path in ["/livez", "/readyz", "/metrics"] {
        server.get_path(path).expect(200);
    }
    let refused = looks().problem(503, "overloaded");
    assert!(refused["detail"].as_str().unwrap().contains("max_operations"), "{refused}");
    assert_eq!((shed(&server, "read"), shed(&server, "push"), shed(&server, "health")), (0, 0, 0));
}

#[test]
fn datasets() {
    let server = Server::start_with(&["--max-datasets=2"]);
    server.pushed("a", "{\"k\":1}\n");
    server.configure("b", &json!({}));
    let refused = server.push("c", "{\"k\":1}\n").problem(409, "too_many_datasets");
    assert!(refused["detail"].as_str().unwrap().contains("max_datasets"), "{refused}");
    let begun = json!({ "format": "ndjson", "key": ["k"] });
    server.post("/v1/datasets/c/versions", &begun).problem(409, "too_many_datasets");
    let headers = [("content-type", "application/json")];
    server.send("PUT", "/v1/datasets/c", &headers, b"{}").problem(409, "too_many_datasets");
    server.get_path("/v1/datasets/c").problem(404, "dataset_not_found");
    // Those that are there go on.
    server.pushed("b", "{\"k\":1}\n");
    server.configure("a", &json!({}));
    server.send("DELETE", "/v1/datasets/a", &[], b"").expect(200);
    server.pushed("c", "{\"k\":1}\n");
}

#[test]
fn long_values_while_others_are_to_be_taken() {
    let server = Server::start_with(&["--max-answers-in-memory=64KiB"]);
    // More than the system keeps of it for a client that reads nothing.
    let long = "x".repeat(12 << 20);
    server.pushed(D, &format!("{{\"k\":\"long\",\"v\":\"{long}\"}}\n{{\"k\":\"short\"}}\n"));
    let path = format!("/v1/datasets/{D}/keys/long");
    let mut connection = connect(server.address()).unwrap();
    write!(connection.get_mut(), "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let begins = connection.fill_buf().unwrap();
    assert!(begins.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", begins.escape_ascii());
    server.get(D, "long").problem(503, "overloaded");
    server.get(D, "short").expect(200);
    read_reply(&mut connection, "GET", &path).unwrap().expect(200);
    eventually("another is given", || server.get(D, "long").status == 200);
}

#[test]
fn sizes_are_settings() {
    let server = Server::start_with(&[
        "--max-key-bytes=10",
        "--max-value-bytes=100",
        "--max-scan-records=2",
        "--max-json-bytes=1KiB",
        "--max-batch-bytes=2KiB",
    ]);
    let rows: String = (0..5).map(|n| format!("{{\"k\":\"key-{n}\"}}\n")).collect();
    server.pushed(D, &rows);
    let long = server.push(D, "{\"k\":\"key-4567890\"}\n").problem(422, "bad_rows");
    assert!(long["detail"].as_str().unwrap().contains("max_key_bytes"), "{long}");
    let large = format!("{{\"k\":\"a\",\"v\":\"{}\"}}\n", "x".repeat(100));
    let large = server.push(D, &large).problem(422, "value_too_large");
    assert!(large["detail"].as_str().unwrap().contains("max_value_bytes"), "{large}");

    let scan = |query: &str| server.get_path(&format!("/v1/datasets/{D}/scan?{query}"));
    scan("limit=3").problem(400, "invalid_parameter");
    for query in ["limit=2", ""] {
        let page = scan(query).expect(200).json();
        assert_eq!(page["records"].as_array().unwrap().len(), 2, "{page}");
        assert!(page["next"].is_string(), "{page}");
    }

    let keys = |count: usize| json!({ "keys": vec!["key-1"; count] });
    server.post(&format!("/v1/datasets/{D}/batch-get"), &keys(200)).expect(200);
    let batch = server.post(&format!("/v1/datasets/{D}/batch-get"), &keys(300));
    assert!(batch.problem(413, "payload_too_large").to_string().contains("max_batch_bytes"));
    let reason = json!({ "reason": "x".repeat(1100) });
    let operation = server.operate(D, "hold", &reason);
    assert!(operation.problem(413, "payload_too_large").to_string().contains("max_json_bytes"));
    assert_eq!(server.get(D, "key-1").expect(200).version(), 1);
}
