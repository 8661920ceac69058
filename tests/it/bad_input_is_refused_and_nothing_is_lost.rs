//! Whatever is pushed, the answer says what is wrong with it and where, and the version that
//! was served before is still served.

use std::fmt::Write;
use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

use crate::harness::Server;

const D: &str = "grades";
const GOOD: &str = "{\"k\":\"ada\",\"n\":1}\n{\"k\":\"bob\",\"n\":2}\n";

/// A server on which `D` serves GOOD as version 1.
fn serving() -> Server {
    let server = Server::start();
    assert_eq!(server.pushed(D, GOOD), 1);
    server
}

/// Pushes `body`, which must be refused with `code`, and leave the served version untouched.
#[track_caller]
fn refused(server: &Server, query: &str, body: &[u8], code: &str) -> Value {
    let problem = server.push_with(D, query, body).problem(422, code);
    let ada = server.get(D, "ada").expect(200);
    assert_eq!(
        (ada.version(), ada.text().as_str()),
        (1, r#"{"k":"ada","n":1}"#),
        "after {problem}"
    );
    let version = problem["version"].as_u64().expect("the number of the version that failed");
    let state = server.dataset(&format!("{D}/versions/{version}"));
    assert!(["failed", "rejected"].contains(&state["state"].as_str().unwrap()), "{state}");
    assert!(state["reason"].as_str().is_some_and(|r| !r.is_empty()), "{state}");
    problem
}

/// The problem's texts: its detail, and its first problems.
fn texts(problem: &Value) -> String {
    format!("{} {}", problem["detail"], problem["problems"])
}

#[track_caller]
fn assert_says(problem: &Value, wanted: &str) {
    assert!(texts(problem).contains(wanted), "does not say {wanted:?}: {problem}");
}

/// A row is named by its number, or by the number of its line.
#[track_caller]
fn assert_names_row(problem: &Value, number: &str) {
    let texts = texts(problem);
    let named = ["row", "line"].iter().any(|word| texts.contains(&format!("{word} {number}")));
    assert!(named, "does not name row {number}: {problem}");
}

const NDJSON: &str = "key=k&format=ndjson";

#[test]
fn an_empty_source() {
    let server = serving();
    refused(&server, NDJSON, b"", "no_rows");
    refused(&server, NDJSON, b"\n\n", "no_rows");
    refused(&server, "key=k&format=csv", b"k,n\n", "no_rows");
}

#[test]
fn malformed_rows_are_named_the_first_five_of_them() {
    let server = serving();
    let mut rows = GOOD.to_owned();
    for i in 0..9 {
        writeln!(rows, "{{\"k\":\"x{i}\",").unwrap();
    }
    let problem = refused(&server, NDJSON, rows.as_bytes(), "bad_rows");
    assert_eq!(problem["problems"].as_array().unwrap().len(), 5, "{problem}");
    assert_names_row(&problem, "3");
    assert_names_row(&problem, "7");

    for (row, query, number) in [
        ("{\"n\":1}\n", NDJSON, "1"),
        ("{\"k\":null}\n", NDJSON, "1"),
        ("{\"k\":1.5}\n", NDJSON, "1"),
        ("{\"k\":{\"a\":1}}\n", NDJSON, "1"),
        ("[1]\n", NDJSON, "1"),
        ("nonsense\n", NDJSON, "1"),
        ("k,n\nada,x\n", "key=k&format=csv&types=n:number", ""),
        ("k,n\nada,1\nbob\n", "key=k&format=csv", ""),
        ("k,n\n\"ada,1\n", "key=k&format=csv", ""),
        ("{\"k\":\"a:b\",\"j\":\"c\"}\n", "key=k,j&format=ndjson", "1"),
    ] {
        let problem = refused(&server, query, row.as_bytes(), "bad_rows");
        assert_names_row(&problem, number);
    }
    // A field that no row has is a mistake in the command.
    let problem =
        server.push_with(D, "key=learner&format=ndjson", GOOD.as_bytes()).problem(422, "bad_rows");
    assert_says(&problem, "learner");
}

#[test]
fn truncated_files() {
    let server = serving();
    let mut zipped = GzEncoder::new(Vec::new(), Compression::default());
    for i in 0..20_000 {
        writeln!(zipped, "{{\"k\":\"x{i}\",\"n\":{}}}", i * 7919 % 10_007).unwrap();
    }
    let zipped = zipped.finish().unwrap();
    refused(&server, NDJSON, &zipped[..zipped.len() / 2], "bad_rows");
    let mut broken = zipped.clone();
    broken[zipped.len() / 2] ^= 0x40;
    refused(&server, NDJSON, &broken, "bad_rows");
    refused(&server, "key=k&format=parquet", b"PAR1 and then nothing", "bad_rows");
    refused(&server, "key=k&format=parquet", b"PAR1\x00\x01\xff\xff\xff\x7fPAR1", "bad_rows");
    // The whole of it is accepted: it was the damage that was refused.
    server.push_with(D, NDJSON, &zipped).expect(201);
}

#[test]
fn one_key_with_several_values() {
    let server = serving();
    let mut rows = String::new();
    for i in 0..7 {
        writeln!(rows, "{{\"k\":\"twice{i}\",\"n\":1}}\n{{\"k\":\"twice{i}\",\"n\":2}}").unwrap();
    }
    let problem = refused(&server, NDJSON, rows.as_bytes(), "duplicate_keys");
    assert_says(&problem, "twice0");
    assert_says(&problem, "twice4");
    assert!(!texts(&problem).contains("twice6"), "up to five: {problem}");

    let first =
        server.push_with(D, &format!("{NDJSON}&on_duplicate=first"), rows.as_bytes()).expect(201);
    assert_eq!(first.json()["records"], 7);
    assert_eq!(server.get(D, "twice3").expect(200).json()["n"], 1);
    server.push_with(D, &format!("{NDJSON}&on_duplicate=last"), rows.as_bytes()).expect(201);
    assert_eq!(server.get(D, "twice3").expect(200).json()["n"], 2);

    // Equal rows are stored once, and counted.
    let equal = server.push(D, &format!("{GOOD}{GOOD}")).expect(201).json();
    assert_eq!((&equal["records"], &equal["duplicates_dropped"]), (&json!(2), &json!(2)));
}

#[test]
fn keys_and_values_outside_their_size() {
    let server = serving();
    let row = |key: &str, value: &str| format!("{GOOD}{{\"k\":\"{key}\",\"v\":\"{value}\"}}\n");
    let long_key = "k".repeat(64 * 1024 + 1);
    let long_value = "v".repeat(16 * 1024 * 1024);
    for (rows, code) in [
        (row("", "x"), "bad_rows"),
        (row(&long_key, "x"), "bad_rows"),
        (row("carol", &long_value), "value_too_large"),
    ] {
        let problem = refused(&server, NDJSON, rows.as_bytes(), code);
        assert_names_row(&problem, "3");
    }
    // At the limit they are good. An address line is shorter than such a key: a batch is not.
    let longest = &long_key[1..];
    let value = &long_value[..long_value.len() - longest.len() - 100];
    server.push(D, &row(longest, value)).expect(201);
    let found = server.batch(D, &[longest.to_owned()]).expect(200).json();
    assert_eq!(found["results"][0]["found"], true);
    // In an address as well, though hyper never sees such a request.
    for bytes in [long_key.len(), 70_000, 150_000] {
        server.get(D, &"k".repeat(bytes)).problem(400, "invalid_key");
    }
    server.get(D, longest).problem(414, "uri_too_long");
    server.batch(D, &[long_key]).problem(400, "invalid_key");
    server.batch(D, &[String::new()]).problem(400, "invalid_key");
    server.get(D, "").problem(400, "invalid_key");
}

#[test]
fn a_gate_refuses_and_says_which() {
    let server = Server::start();
    server.configure(D, &json!({ "gates": { "min_records": 2, "max_shrink_percent": 20, "max_growth_percent": 50 } }));
    let rows = |n: usize| {
        (0..n).fold(String::new(), |text, i| text + &format!("{{\"k\":\"x{i}\",\"n\":{n}}}\n"))
    };
    assert_eq!(server.pushed(D, &rows(2_000)), 1);
    for (records, gate) in
        [(1, "min_records"), (1_500, "max_shrink_percent"), (3_100, "max_growth_percent")]
    {
        let reply = server.push(D, &rows(records));
        let problem = reply.problem(422, "gate_refused");
        assert_says(&problem, gate);
        let failed: Vec<_> =
            problem["gates"].as_array().unwrap().iter().filter(|g| g["passed"] == false).collect();
        assert!(failed.iter().any(|g| g["gate"] == gate), "{problem}");
        assert!(failed[0]["limit"].is_number() && failed[0]["observed"].is_number(), "{problem}");
        assert_eq!(
            server.dataset(&format!("{D}/versions/{}", problem["version"]))["state"],
            "rejected"
        );
        assert_eq!(server.get(D, "x7").expect(200).version(), 1);
    }
    // By force, and with a reason, a person may.
    server.operate(D, "activate", &json!({ "version": 3 })).problem(409, "needs_force");
    let forced = json!({ "version": 3, "force": true, "reason": "a course was closed" });
    server.operate(D, "activate", &forced).expect(200);
    assert_eq!(server.get(D, "x7").expect(200).version(), 3);
}

#[test]
fn a_push_that_breaks_off_leaves_nothing_behind() {
    use std::io::Write;
    let server = serving();
    let mut connection = crate::http::connect(server.address()).unwrap();
    let head = format!(
        "POST /v1/datasets/{D}/push?{NDJSON} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n{GOOD}"
    );
    connection.get_mut().write_all(head.as_bytes()).unwrap();
    drop(connection);
    crate::harness::eventually("staging is empty again", || {
        let staging = std::fs::read_dir(server.data().join("staging"));
        staging.is_ok_and(|mut entries| entries.next().is_none())
    });
    assert_eq!(server.get(D, "ada").expect(200).version(), 1);
    assert_eq!(
        server.pushed(D, "{\"k\":\"ada\",\"n\":3}\n{\"k\":\"b\",\"n\":3}\n"),
        server.dataset(D)["current"]
    );
}

/// What says that it is gzip and is not was changed on its way: it is not taken for rows.
#[test]
fn a_body_that_is_not_what_its_content_encoding_says() {
    let server = serving();
    let path = format!("/v1/datasets/{D}/push?{NDJSON}");
    let send = |encoding: &str, body: &[u8]| {
        server.send("POST", &path, &[("content-encoding", encoding)], body)
    };
    for encoding in ["gzip", "GZIP", "zstd"] {
        let problem = send(encoding, GOOD.as_bytes()).problem(400, "encoding_mismatch");
        assert_says(&problem, &encoding.to_lowercase());
        let version = problem["version"].as_u64().unwrap();
        assert_eq!(server.dataset(&format!("{D}/versions/{version}"))["state"], "failed");
    }
    let refused = send("br", GOOD.as_bytes());
    assert_eq!(refused.header("accept-encoding"), Some("gzip, zstd"), "{refused}");
    refused.problem(415, "unsupported_encoding");
    assert_eq!(server.get(D, "ada").expect(200).version(), 1);

    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(GOOD.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    for encoding in ["gzip", "GZip"] {
        send(encoding, &gzip).expect(201);
        assert_eq!(server.get(D, "ada").expect(200).text(), r#"{"k":"ada","n":1}"#);
    }
    let body = json!({ "format": "ndjson", "key": ["k"] });
    let opened = server.post(&format!("/v1/datasets/{D}/versions"), &body).expect(201).json();
    let part = format!("/v1/datasets/{D}/versions/{}/parts/1", opened["version"]);
    let put = |body: &[u8]| server.send("PUT", &part, &[("content-encoding", "Gzip")], body);
    put(GOOD.as_bytes()).problem(400, "encoding_mismatch");
    put(&gzip).expect(200);
}

/// Where the server keeps its files is for its log, and for nobody who pushes.
#[test]
fn no_path_of_the_server_is_told() {
    let server = serving();
    let body = json!({ "format": "ndjson", "key": ["k"] });
    let opened = server.post(&format!("/v1/datasets/{D}/versions"), &body).expect(201).json();
    let path = format!("{D}/versions/{}", opened["version"]);
    server.send("PUT", &format!("/v1/datasets/{path}/parts/1"), &[], GOOD.as_bytes()).expect(200);
    // What arrived is not there any more when it is to be read.
    let parts =
        server.data().join("staging").join(format!("{D}.{}", opened["version"])).join("parts");
    for file in std::fs::read_dir(parts).unwrap() {
        let file = file.unwrap();
        if file.file_name().to_string_lossy().starts_with("data-") {
            std::fs::remove_file(file.path()).unwrap();
        }
    }
    server.post(&format!("/v1/datasets/{path}/commit"), &json!({})).expect(202);
    let settled = server.settled(D, opened["version"].as_u64().unwrap());
    assert_eq!((&settled["state"], &settled["code"]), (&json!("failed"), &json!("io_failed")));
    let reason = settled["reason"].as_str().unwrap();
    assert!(reason.contains("No such file"), "what can be said is said: {reason}");
    for shown in [settled.clone(), server.dataset(&format!("{D}/history"))] {
        for secret in [server.data().to_str().unwrap(), "/staging", "/datasets/", "/parts"] {
            assert!(!shown.to_string().contains(secret), "{secret} in {shown}");
        }
    }
    assert!(server.said().contains("/parts/data-"), "the log has it: {}", server.said());
}
