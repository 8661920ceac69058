//! Large uploads come in parts, from several machines, with tasks that are tried twice: what
//! is committed is exactly what the commit names, in that order, and an upload that was cut
//! off goes on where it was.

use std::io::Write;

use serde_json::{Value, json};

use crate::data::{assert_batch, key, rows, rows_in_order};
use crate::harness::Server;
use crate::http::{Reply, connect, read_reply};

const D: &str = "recs";

fn open(server: &Server) -> u64 {
    let body = json!({ "format": "ndjson", "key": ["k"], "label": "run-7" });
    let opened = server.post(&format!("/v1/datasets/{D}/versions"), &body).expect(201).json();
    assert_eq!((&opened["state"], &opened["label"]), (&json!("receiving"), &json!("run-7")));
    opened["version"].as_u64().unwrap()
}

fn put(server: &Server, version: u64, part: &str, body: &str) -> Reply {
    server.send(
        "PUT",
        &format!("/v1/datasets/{D}/versions/{version}/parts/{part}"),
        &[],
        body.as_bytes(),
    )
}

#[track_caller]
fn stored(reply: &Reply) {
    assert!(matches!(reply.status, 200 | 201 | 204), "{reply}");
}

fn commit(server: &Server, version: u64, body: &Value) -> Reply {
    server.post(&format!("/v1/datasets/{D}/versions/{version}/commit"), body)
}

#[test]
fn an_upload_in_parts_is_one_push() {
    let mut server = Server::start();
    let version = open(&server);
    commit(&server, version, &json!({})).problem(409, "parts_missing");

    stored(&put(&server, version, "2", &rows_in_order(D, version, 100..200)));
    stored(&put(&server, version, "1", "what a task wrote before it was killed"));
    stored(&put(&server, version, "1", &rows_in_order(D, version, 0..100)));
    stored(&put(&server, version, "1", &rows_in_order(D, version, 0..100)));
    stored(&put(&server, version, "1.retry", &rows_in_order(D, 99, 0..100)));
    let missing = commit(&server, version, &json!({ "parts": ["1", "2", "3"] }))
        .problem(409, "parts_missing");
    assert!(missing.to_string().contains('3'), "{missing}");

    // What was acknowledged is there after the server was killed, whatever its name, and the upload goes on.
    stored(&put(&server, version, "data-3.ndjson", &rows_in_order(D, 98, 0..100)));
    server.restart();
    server.restart();
    let parts = server.dataset(&format!("{D}/versions/{version}/parts"));
    let mut listed: Vec<_> =
        parts["parts"].as_array().unwrap().iter().map(|p| (&p["name"], &p["bytes"])).collect();
    listed.sort_by_key(|(part, _)| part.as_str());
    let bytes = rows_in_order(D, version, 0..100).len();
    assert_eq!(listed[0], (&json!("1"), &json!(bytes)), "{parts}");
    assert_eq!(listed.len(), 4);
    assert_eq!(parts["parts"][0]["part"], parts["parts"][0]["name"], "the older word for it");
    assert!(parts["parts"][0]["digest"].as_str().unwrap().starts_with("sha-256=:"), "{parts}");
    stored(&put(&server, version, "3", &rows_in_order(D, version, 200..300)));

    let named = json!({ "parts": ["1", "2", "3"] });
    commit(&server, version, &named).expect(202);
    let settled = server.settled(D, version);
    assert_eq!(
        (&settled["state"], &settled["records"]),
        (&json!("active"), &json!(300)),
        "{settled}"
    );
    let again = commit(&server, version, &named);
    assert!(matches!(again.status, 200 | 202), "a commit is idempotent: {again}");
    let late = put(&server, version, "4", "{}");
    assert_eq!(late.status, 409, "a part after the commit: {late}");

    let wanted: Vec<usize> = (0..300).collect();
    let keys: Vec<String> = wanted.iter().map(|&i| key(i)).collect();
    assert_batch(&server.batch(D, &keys).expect(200).json(), D, version, &wanted);
}

#[test]
fn a_part_that_is_not_what_its_digest_says_is_refused() {
    let server = Server::start();
    let version = open(&server);
    let path = format!("/v1/datasets/{D}/versions/{version}/parts/1");
    // The digest of the empty string.
    let digest = [("content-digest", "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:")];
    let reply = server.send("PUT", &path, &digest, b"not empty");
    assert!(matches!(reply.status, 400 | 422), "{reply}");
    assert_eq!(server.dataset(&format!("{D}/versions/{version}/parts"))["parts"], json!([]));
}

#[test]
fn a_piece_takes_no_place_of_the_whole() {
    let server = Server::start();
    let version = open(&server);
    stored(&put(&server, version, "1", "{\"k\":1}\n"));
    let parts = format!("{D}/versions/{version}/parts");
    let before = server.dataset(&parts);
    let piece = [("content-range", "bytes 8-15/16")];
    let path = format!("/v1/datasets/{parts}/1");
    server.send("PUT", &path, &piece, b"{\"k\":2}\n").problem(400, "invalid_header");
    assert_eq!(server.dataset(&parts), before);
    let path = format!("/v1/datasets/{D}/push?key=k&format=ndjson");
    server.send("POST", &path, &piece, b"{\"k\":2}\n").problem(400, "invalid_header");
}

#[test]
fn an_upload_is_given_up() {
    let server = Server::start();
    server.pushed(D, &rows(D, 1, 10));
    let version = open(&server);
    stored(&put(&server, version, "1", &rows(D, version, 10)));
    let path = format!("/v1/datasets/{D}/versions/{version}");
    let gone = server.send("DELETE", &path, &[], b"");
    assert!(matches!(gone.status, 200 | 202 | 204), "{gone}");
    let page = server.get_path("/metrics").expect(200).text();
    for (outcome, count) in [("aborted", 1), ("activated", 1), ("failed", 0)] {
        let line =
            format!("tidetable_pushes_total{{dataset=\"{D}\",outcome=\"{outcome}\"}} {count}");
        assert!(page.lines().any(|found| found == line), "{line}\nis not in\n{page}");
    }
    put(&server, version, "1", "{}").problem(410, "version_deleted");
    commit(&server, version, &json!({})).problem(410, "version_deleted");
    assert_eq!(server.get(D, &key(3)).expect(200).version(), 1);
    // Its number is never used again.
    assert!(open(&server) > version);
}

/// Whoever waits for a version may come before its parts do.
#[test]
fn a_version_that_is_being_received_is_waited_for() {
    let server = Server::start();
    let wait = |version: u64, meanwhile: &dyn Fn()| {
        let path = format!("/v1/datasets/{D}/versions/{version}?wait=250");
        let mut waiting = connect(server.address()).unwrap();
        write!(waiting.get_mut(), "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        meanwhile();
        read_reply(&mut waiting, "GET", &path).unwrap().expect(200).json()["state"].clone()
    };
    let version = open(&server);
    let uploaded = wait(version, &|| {
        stored(&put(&server, version, "1", &rows(D, version, 100)));
        commit(&server, version, &json!({})).expect(202);
    });
    assert_eq!(uploaded, "active");
    // One that is given up has an end too.
    let version = open(&server);
    let aborted = wait(version, &|| {
        stored(&put(&server, version, "1", &rows(D, version, 100)));
        let path = format!("/v1/datasets/{D}/versions/{version}");
        server.send("DELETE", &path, &[], b"").expect(200);
    });
    assert_eq!(aborted, "deleted");
    let path = format!("/v1/datasets/{D}/versions/{version}?wait=301");
    server.get_path(&path).problem(400, "invalid_parameter");
}

#[test]
fn the_order_of_parts_is_the_order_of_rows() {
    let server = Server::start();
    let row = |n: u32| format!("{{\"k\":\"a\",\"n\":{n}}}\n");
    for (parts, wanted) in
        [(json!({ "parts": ["10", "9"] }), json!([10, 9])), (json!({}), json!([9, 10]))]
    {
        let body = json!({ "format": "ndjson", "key": ["k"], "collect": true, "fields": ["n"] });
        let opened = server.post(&format!("/v1/datasets/{D}/versions"), &body).expect(201).json();
        let version = opened["version"].as_u64().unwrap();
        stored(&put(&server, version, "10", &row(10)));
        stored(&put(&server, version, "9", &row(9)));
        commit(&server, version, &parts).expect(202);
        assert_eq!(server.settled(D, version)["state"], "active");
        let found = server.get(D, "a").expect(200).json();
        let order: Vec<_> = found.as_array().unwrap().iter().map(|row| row["n"].clone()).collect();
        assert_eq!(json!(order), wanted, "{found}");
    }
}

/// To take it takes long, so it is not taken unasked.
#[test]
fn the_body_of_a_push_has_a_digest_if_somebody_asks_for_it() {
    let server = Server::start();
    let path = format!("/v1/datasets/{D}/push?key=k&format=ndjson");
    let push =
        |headers: &[(&str, &str)], body: &str| server.send("POST", &path, headers, body.as_bytes());
    let digest = "sha-256=:aLFyVRaEUIYR9j5NbQsSjC/j9Gw8Z73fD2I4oXw1jZ8=:";
    let (asked, rows) = ([("content-digest", digest)], "{\"k\":\"a\"}\n");
    push(&asked, "{\"k\":\"b\"}\n").problem(400, "digest_mismatch");
    let repeated = [("idempotency-key", "once")];
    for (headers, expected) in [(&[][..], ""), (&asked, digest), (&repeated, digest)] {
        let version = push(headers, rows).expect(201).json()["version"].as_u64().unwrap();
        let parts = server.dataset(&format!("{D}/versions/{version}/parts"));
        assert_eq!(parts["parts"][0]["digest"], expected, "{headers:?}: {parts}");
    }
}
