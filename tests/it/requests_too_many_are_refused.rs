//! What is one too many is refused at once, with what to do and when, and leaves nothing behind;
//! everything else goes on.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use serde_json::json;

use crate::harness::{Server, eventually};
use crate::http::{connect, read_reply};

const D: &str = "recs";

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
    let page = server.get_path("/metrics").expect(200).text();
    assert!(page.contains("tidetable_shed_total{class=\"body\"} "), "{page}");
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
