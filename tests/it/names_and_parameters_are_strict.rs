//! What is not understood is refused by its name, and touches no file: a name outside its
//! pattern, an unknown parameter, an unknown field, an unknown setting.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::data::rows;
use crate::harness::{Server, tidetable};
use crate::http::Reply;

const D: &str = "recs";
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

/// Every route with a dataset in it, and a body it accepts.
const ROUTES: &[(&str, &str, &str)] = &[
    ("GET", "/v1/datasets/{}", ""),
    ("PUT", "/v1/datasets/{}", "{}"),
    ("GET", "/v1/datasets/{}/keys/x", ""),
    ("POST", "/v1/datasets/{}/batch-get", r#"{"keys":["x"]}"#),
    ("GET", "/v1/datasets/{}/scan", ""),
    ("POST", "/v1/datasets/{}/push?key=k&format=ndjson", "{\"k\":\"x\"}\n"),
    ("GET", "/v1/datasets/{}/versions", ""),
    ("POST", "/v1/datasets/{}/versions", r#"{"key":["k"],"format":"ndjson"}"#),
    ("POST", "/v1/datasets/{}/import", r#"{"source":"lake","path":"x","key":["k"]}"#),
    ("GET", "/v1/datasets/{}/versions/1", ""),
    ("GET", "/v1/datasets/{}/versions/1/parts", ""),
    ("GET", "/v1/datasets/{}/versions/1/profile", ""),
    ("PUT", "/v1/datasets/{}/versions/1/parts/1", "x"),
    ("POST", "/v1/datasets/{}/versions/1/commit", "{}"),
    ("POST", "/v1/datasets/{}/activate", r#"{"version":1}"#),
    ("POST", "/v1/datasets/{}/rollback", "{}"),
    ("POST", "/v1/datasets/{}/hold", "{}"),
    ("POST", "/v1/datasets/{}/release", "{}"),
    ("GET", "/v1/datasets/{}/history", ""),
    ("GET", "/v1/datasets/{}/diff?from=1&to=2", ""),
    ("GET", "/v1/datasets/{}/keys/x/history", ""),
    ("DELETE", "/v1/datasets/{}/versions/1", ""),
    ("DELETE", "/v1/datasets/{}", ""),
];

fn send(server: &Server, method: &str, path: &str, body: &str) -> Reply {
    server.send(method, path, if body.starts_with('{') { &JSON } else { &[] }, body.as_bytes())
}

/// Every file and directory beneath `dir`, with its size.
fn tree(dir: &Path) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                open.push(entry.path());
            }
            // RocksDB writes its own logs when it likes, and the server logs what it refuses.
            let is_log = ["db", "stderr", "audit"]
                .iter()
                .any(|name| entry.path().components().any(|part| part.as_os_str() == *name));
            if !is_log {
                found.push((
                    entry.path().display().to_string(),
                    if metadata.is_dir() { 0 } else { metadata.len() },
                ));
            }
        }
    }
    found.sort();
    found
}

#[track_caller]
fn assert_untouched(before: &[(String, u64)], server: &Server) {
    let after = tree(server.beside("").as_path());
    let new: Vec<_> = after.iter().filter(|file| !before.contains(file)).collect();
    assert!(new.is_empty() && after.len() == before.len(), "files were touched: {new:?}");
}

#[test]
fn a_dataset_name_outside_its_pattern() {
    let server = Server::start();
    server.pushed(D, &rows(D, 1, 10));
    let before = tree(server.beside("").as_path());
    let long = "a".repeat(10_000);
    let just_too_long = "a".repeat(64);
    for name in [
        "",
        "..",
        "%2e%2e",
        ".",
        "%2E",
        "%2e%2e%2fetc",
        "a%2Fb",
        "a%5Cb",
        "%00",
        "a%00",
        "Recs",
        "-a",
        "_a",
        "a.b",
        "a%20b",
        "caf%C3%A9",
        "%ff",
        "a%0d%0ab",
        "%252e",
        &just_too_long,
        &long,
    ] {
        for &(method, route, body) in ROUTES {
            // Without a name that is the list of datasets.
            if name.is_empty() && route.ends_with("/{}") {
                continue;
            }
            let reply = send(&server, method, &route.replace("{}", name), body);
            reply.problem(400, "invalid_name");
        }
        let body = json!({ "requests": [{ "dataset": name, "keys": ["x"] }] });
        let reply = server.post("/v1/batch-get", &body);
        assert!(
            reply.status == 400 || reply.json()["answers"][0]["error"]["code"] == "invalid_name",
            "{reply}"
        );
    }
    assert_untouched(&before, &server);
    // As long as a name may be.
    server.pushed(&"a".repeat(63), &rows("a", 1, 1));
}

#[test]
fn a_part_or_version_outside_its_pattern() {
    let server = Server::start();
    let opened = server
        .post("/v1/datasets/recs/versions", &json!({ "key": ["k"], "format": "ndjson" }))
        .expect(201);
    let before = tree(server.beside("").as_path());
    let long = "p".repeat(129);
    for part in ["..", "%2e%2e", ".hidden", "a%2Fb", "a%00", "-a", "%C3%A9", "a%20b", &long] {
        let path = format!("/v1/datasets/recs/versions/{}/parts/{part}", opened.json()["version"]);
        server.send("PUT", &path, &[], b"x").problem(400, "invalid_name");
    }
    for version in ["0", "-1", "x", "1.0", "18446744073709551616", "%31%00", "01x"] {
        let path = format!("/v1/datasets/recs/versions/{version}");
        assert_eq!(server.get_path(&path).status, 400, "version {version}");
        let path = format!("/v1/datasets/recs/keys/x?version={version}");
        assert_eq!(server.get_path(&path).status, 400, "?version={version}");
    }
    // In a body too, where a number counts from 1 on as well.
    for (operation, body) in [
        ("batch-get", json!({ "keys": ["x"], "version": 0 })),
        ("activate", json!({ "version": 0 })),
        ("activate", json!({ "version": 1, "expect_current": 0 })),
        ("rollback", json!({ "to": 0 })),
        ("rollback", json!({ "expect_current": 0 })),
    ] {
        let problem = server.operate("recs", operation, &body).problem(400, "malformed_body");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("0 is not a version"), "{operation} {body}: {problem}");
    }
    let several = json!({ "requests": [{ "dataset": "recs", "keys": ["x"], "version": 0 }] });
    server.post("/v1/batch-get", &several).problem(400, "malformed_body");
    assert_untouched(&before, &server);
}

#[track_caller]
fn assert_names(reply: &Reply, name: &str) {
    assert_eq!(reply.status, 400, "{reply}");
    assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{reply}");
    assert!(reply.json()["detail"].as_str().unwrap().contains(name), "does not name it: {reply}");
}

#[test]
fn an_unknown_parameter_or_field_is_named() {
    let server = Server::start();
    server.pushed(D, &rows(D, 1, 10));
    for &(method, route, body) in ROUTES {
        let path = route.replace("{}", D);
        let mark = if path.contains('?') { '&' } else { '?' };
        assert_names(&send(&server, method, &format!("{path}{mark}nonsense=1"), body), "nonsense");
        if let Ok(Value::Object(mut fields)) = serde_json::from_str(body) {
            if path.contains("/push") {
                continue;
            }
            fields.insert("nonsense".to_owned(), json!(1));
            assert_names(
                &send(&server, method, &path, &Value::Object(fields).to_string()),
                "nonsense",
            );
        }
    }
    for path in ["/livez", "/readyz", "/version", "/metrics", "/openapi.json", "/v1/datasets"] {
        server.get_path(path).expect(200);
        assert_names(&server.get_path(&format!("{path}?nonsense=1")), "nonsense");
    }
    assert_names(
        &send(&server, "PUT", "/v1/datasets/recs", r#"{"gates":{"nonsense":1}}"#),
        "nonsense",
    );
    assert_names(
        &server.post("/v1/batch-get", &json!({ "requests": [], "nonsense": 1 })),
        "nonsense",
    );
    assert_eq!(server.dataset(D)["current"], 1, "nothing was changed");
    assert_eq!(server.dataset(D)["versions"], 1, "nothing was begun");
}

#[test]
fn a_body_is_an_object_and_a_delete_has_none() {
    let server = Server::start();
    server.pushed(D, &rows(D, 1, 10));
    server.pushed(D, &rows(D, 2, 10));
    for (method, path, body) in [
        ("POST", "/v1/datasets/recs/rollback", "[]"),
        ("POST", "/v1/datasets/recs/activate", "[1]"),
        ("POST", "/v1/datasets/recs/hold", "[]"),
        ("POST", "/v1/batch-get", r#"{"requests":[["recs",["x"]]]}"#),
        ("POST", "/v1/activate", r#"{"activations":[["recs",1]]}"#),
        ("PUT", "/v1/datasets/recs", r#"{"gates":[]}"#),
        ("DELETE", "/v1/datasets/recs", "[]"),
    ] {
        server.send(method, path, &JSON, body.as_bytes()).problem(400, "malformed_body");
    }
    for path in [
        "/v1/datasets/recs",
        "/v1/datasets/recs/versions/1",
        "/v1/datasets/recs/canary",
        "/v1/tokens/0000000000000000",
    ] {
        assert_names(&server.send("DELETE", path, &JSON, br#"{"nonsense":1}"#), "nonsense");
    }
    assert_eq!(server.dataset(D)["current"], 2, "nothing was changed");
    server.send("DELETE", "/v1/datasets/recs", &JSON, b"{}").expect(200);
}

#[test]
fn a_list_may_be_given_several_times_and_nothing_else() {
    let server = Server::start();
    let rows = b"{\"a\":1,\"b\":2,\"c\":3,\"d\":4}\n";
    for query in
        ["key=a&key=b&fields=c&fields=a,d&format=ndjson", "key=a,b&fields=c,a,d&format=ndjson"]
    {
        server.push_with(D, query, rows).expect(201);
        assert_eq!(server.get(D, "1:2").expect(200).text(), r#"{"a":1,"c":3,"d":4}"#, "{query}");
    }
    for query in
        ["key=a&format=ndjson&format=ndjson", "key=a&label=x&label=x", "key=a&wait=true&wait=true"]
    {
        let problem = server.push_with(D, query, rows).problem(400, "invalid_parameter");
        assert!(problem["detail"].as_str().unwrap().contains("given twice"), "{problem}");
    }
}

#[test]
fn a_request_that_is_no_request() {
    let server = Server::start();
    server.pushed(D, &rows(D, 1, 10));
    let missing = server.get_path("/v1/nothing/here").expect(404);
    assert_eq!(missing.header("content-type"), Some("application/problem+json"), "{missing}");
    let wrong = server.send("DELETE", "/v1/datasets/recs/keys/x", &[], b"").expect(405);
    assert!(wrong.header("allow").is_some_and(|a| a.contains("GET")), "{wrong}");
    for body in ["", "{", "[]", "null", r#"{"keys":"x"}"#, r#"{"keys":[1]}"#] {
        let reply = server.send("POST", "/v1/datasets/recs/batch-get", &JSON, body.as_bytes());
        assert_eq!(reply.status, 400, "{body:?}: {reply}");
    }
    let many: Vec<String> = (0..1001).map(|i| i.to_string()).collect();
    assert_eq!(server.batch(D, &many).status, 400);
    server.batch(D, &many[..1000]).expect(200);
    assert_eq!(server.get_path("/v1/datasets/recs/scan?limit=many").status, 400);
    assert_eq!(server.get_path("/v1/datasets/recs/scan?cursor=nonsense").status, 400);
}

#[test]
fn an_unknown_setting_stops_the_start() {
    let mut server = Server::start();
    server.kill();
    let config = server.beside("config.toml");
    fs::write(&config, "nonsense = 1\n").unwrap();
    let mut command = tidetable(&["serve", "--listen", "127.0.0.1:0", "--data"]);
    let output = command.arg(server.data()).arg("--config").arg(&config).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("nonsense"), "{said}");
    let output = tidetable(&["serve", "--nonsense"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
