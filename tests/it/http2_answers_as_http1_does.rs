//! The same requests over HTTP/1.1 and over HTTP/2 with prior knowledge: the same status, the
//! same bytes and the same headers of ours.

use std::io::Write as _;

use serde_json::json;

use crate::data::{key, rows, value};
use crate::harness::Server;
use crate::http::{Reply, connect, read_reply};

const D: &str = "recs";
/// In both requests: a problem names its request.
const ID: (&str, &str) = ("x-request-id", "the-same");

/// What must be equal of two answers: headers that say something of the connection or of the
/// moment may differ.
fn said(reply: &Reply) -> (u16, String, Vec<(String, String)>) {
    let of_ours = |name: &str| {
        let others = ["content-type", "etag", "cache-control", "vary", "location", "x-request-id"];
        name.starts_with("tidetable-") || others.contains(&name)
    };
    let headers = reply.headers.iter().map(|(n, v)| (n.to_ascii_lowercase(), v.clone()));
    let mut headers: Vec<_> = headers.filter(|(name, _)| of_ours(name)).collect();
    headers.sort();
    (reply.status, reply.text(), headers)
}

/// The answer over HTTP/2, if that over HTTP/1.1 is the same. The test ends here if it is not.
#[track_caller]
fn same(server: &Server, method: &str, path: &str, more: &[(&str, &str)], body: &[u8]) -> Reply {
    let headers = [more, &[ID]].concat();
    let one = server.send(method, path, &headers, body);
    let two = server.http2().send(method, path, &headers, body);
    assert_eq!(said(&two), said(&one), "{two}");
    assert!(two.header("x-request-id").is_some(), "{two}");
    two
}

/// A lookup that asks for nothing else: over HTTP/1.1 it is answered without the router.
fn plainest(server: &Server, path: &str) -> Reply {
    let mut connection = connect(server.address()).unwrap();
    write!(connection.get_mut(), "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    read_reply(&mut connection, "GET", path).unwrap()
}

#[test]
fn lookups() {
    let server = Server::start();
    let query = "key=k&format=ndjson&as_of=2026-11-20T00:00:00Z";
    server.push_with(D, query, rows(D, 1, 10).as_bytes()).expect(201);
    let path = |key: &str| format!("/v1/datasets/{D}/keys/{key}");
    let get = |path: &str, more: &[(&str, &str)]| same(&server, "GET", path, more, b"");

    let hit = get(&path(&key(3)), &[]).expect(200);
    assert_eq!((hit.version(), hit.text()), (1, value(D, 1, 3)));
    assert!(hit.header("tidetable-as-of").is_some(), "{hit}");
    let plain = server.http2().send("GET", &path(&key(3)), &[], b"").expect(200);
    assert_eq!(said(&plain), said(&plainest(&server, &path(&key(3)))));
    let etag = hit.header("etag").unwrap();
    let unchanged = get(&path(&key(3)), &[("if-none-match", etag)]).expect(304);
    assert_eq!((unchanged.version(), unchanged.header("etag")), (1, Some(etag)));
    assert!(unchanged.body.is_empty());
    get(&path(&key(4)), &[("if-none-match", etag)]).expect(200);
    let head = same(&server, "HEAD", &path(&key(3)), &[], b"").expect(200);
    assert_eq!((head.header("etag"), head.body.len()), (Some(etag), 0));

    let chosen = get(&format!("{}?fields=version", path(&key(3))), &[]).expect(200);
    assert_eq!(chosen.json(), json!({ "version": 1 }));
    let missing = get(&path("nobody"), &[]);
    assert_eq!(missing.version(), 1);
    missing.problem(404, "key_not_found");
    get("/v1/datasets/nobody/keys/a", &[]).problem(404, "dataset_not_found");
    get(&format!("{}?version=7", path(&key(3))), &[]).problem(404, "version_not_found");
}

#[test]
fn batches_and_scans() {
    let server = Server::start();
    server.pushed(D, &rows(D, 1, 10));
    let json_body = [("content-type", "application/json")];
    let path = format!("/v1/datasets/{D}/batch-get");
    let body = json!({ "keys": [key(1), "nobody", key(9)] }).to_string();
    let batch = same(&server, "POST", &path, &json_body, body.as_bytes()).expect(200);
    assert_eq!(batch.json()["version"], 1, "{batch}");
    let results = batch.json()["results"].clone();
    assert_eq!(results[1], json!({ "key": "nobody", "found": false }), "{batch}");
    assert_eq!(results[2]["value"]["k"], key(9), "{batch}");
    let problem = same(&server, "POST", &path, &json_body, b"{\"keys\":[").status;
    assert_eq!(problem, 400);

    let page = same(&server, "GET", &format!("/v1/datasets/{D}/scan?limit=4"), &[], b"");
    let page = page.expect(200).json();
    assert_eq!(page["records"].as_array().unwrap().len(), 4, "{page}");
    let next = page["next"].as_str().unwrap();
    let path = format!("/v1/datasets/{D}/scan?limit=100&cursor={next}");
    let rest = same(&server, "GET", &path, &[], b"").expect(200).json();
    assert_eq!(rest["records"].as_array().unwrap().len(), 6, "{rest}");
}

#[test]
fn pushes() {
    let server = Server::start();
    let path = format!("/v1/datasets/{D}/push?key=k&format=ndjson");
    server.pushed(D, &rows(D, 1, 10_000));
    let one = server.send("POST", &path, &[], rows(D, 2, 10_000).as_bytes()).expect(201);
    let mut client = server.http2();
    // More than a window holds at first: they have to be opened while it is read.
    let two = client.send("POST", &path, &[], rows(D, 3, 10_000).as_bytes()).expect(201);
    let names = |reply: &Reply| reply.json().as_object().unwrap().keys().cloned().collect();
    let (of_one, of_two): (Vec<String>, Vec<String>) = (names(&one), names(&two));
    assert_eq!(of_two, of_one, "{two}");
    let told = two.json();
    assert_eq!((&told["version"], &told["current"]), (&json!(3), &json!(true)), "{two}");
    for i in [0, 17, 9_999] {
        assert_eq!(server.get(D, &key(i)).expect(200).text(), value(D, 3, i));
    }
    // A key of idempotency holds whichever way the retry comes.
    let (again, body) = ([("idempotency-key", "run-4")], rows(D, 4, 10_000));
    let fourth = client.send("POST", &path, &again, body.as_bytes()).expect(201);
    let retried = [
        client.send("POST", &path, &again, body.as_bytes()),
        server.send("POST", &path, &again, body.as_bytes()),
    ];
    assert_eq!(retried[0].status, retried[1].status, "{}", retried[0]);
    for reply in [&fourth, &retried[0], &retried[1]] {
        assert_eq!(reply.json()["version"], 4, "{reply}");
    }
    client.send("POST", &path, &[], b"{\"no\":\"key\"}\n").problem(422, "bad_rows");
    assert_eq!(client.send("GET", "/livez", &[], b"").status, 200, "the connection goes on");
}
