//! What people and machines look at before they trust a server: its API description, its
//! health, its version, its metrics.

use serde_json::Value;

use crate::data::{key, rows};
use crate::harness::Server;
use crate::http::Reply;

const PATHS: &[(&str, &[&str])] = &[
    ("/v1/datasets", &["get"]),
    ("/v1/datasets/{dataset}", &["get", "put", "delete"]),
    ("/v1/datasets/{dataset}/keys/{key}", &["get", "head"]),
    ("/v1/datasets/{dataset}/batch-get", &["post"]),
    ("/v1/batch-get", &["post"]),
    ("/v1/datasets/{dataset}/scan", &["get"]),
    ("/v1/datasets/{dataset}/push", &["post"]),
    ("/v1/datasets/{dataset}/import", &["post"]),
    ("/v1/datasets/{dataset}/versions", &["get", "post"]),
    ("/v1/datasets/{dataset}/activate", &["post"]),
    ("/v1/datasets/{dataset}/rollback", &["post"]),
    ("/v1/datasets/{dataset}/hold", &["post"]),
    ("/v1/datasets/{dataset}/release", &["post"]),
    ("/v1/datasets/{dataset}/canary", &["get", "put", "delete"]),
    ("/v1/datasets/{dataset}/canary/promote", &["post"]),
    ("/v1/datasets/{dataset}/history", &["get"]),
];

/// Headers of any answer, and those that say how it is sent.
const NOT_DECLARED: [&str; 5] =
    ["content-type", "content-length", "transfer-encoding", "connection", "date"];

#[test]
fn the_api_describes_itself() {
    let server = Server::start();
    let api = server.get_path("/openapi.json").expect(200).json();
    assert!(api["openapi"].as_str().unwrap().starts_with("3."), "{}", api["openapi"]);
    assert_eq!(api["info"]["version"], env!("CARGO_PKG_VERSION"));
    for (path, methods) in PATHS {
        for method in *methods {
            let operation = &api["paths"][path][method];
            assert!(operation["responses"].is_object(), "{method} {path} is not described");
            let said = operation["summary"].as_str().or_else(|| operation["description"].as_str());
            assert!(said.is_some_and(|s| !s.is_empty()), "{method} {path} says nothing");
        }
    }
    let paths = api["paths"].as_object().unwrap();
    for (name, methods) in [("{part}", ["put"]), ("commit", ["post"]), ("parts", ["get"])] {
        let found =
            paths.iter().any(|(path, item)| path.ends_with(name) && item[methods[0]].is_object());
        assert!(found, "no path ends in {name} with {methods:?}");
    }
    let docs = server.get_path("/docs");
    assert!(matches!(docs.status, 200 | 301..=308), "{docs}");
    let page = server.get_path("/docs/").expect(200);
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
}

/// What an operation may answer with that status.
fn declared<'a>(api: &'a Value, method: &str, route: &str, status: u16) -> &'a Value {
    let operation = &api["paths"][route][method.to_ascii_lowercase()];
    let answer = &operation["responses"][status.to_string()];
    answer["$ref"].as_str().map_or(answer, |reference| api.pointer(&reference[1..]).unwrap())
}

#[track_caller]
fn assert_headers(api: &Value, answer: &Value, reply: &Reply) {
    let declared = answer["headers"].as_object();
    let declared = declared.unwrap_or_else(|| panic!("no headers are declared: {reply}"));
    for (name, header) in declared {
        let header = api.pointer(&header["$ref"].as_str().unwrap()[1..]).unwrap();
        let is_there = reply.header(name).is_some();
        assert!(is_there || header["required"] != true, "it has no {name}: {reply}");
    }
    for (name, _) in &reply.headers {
        let is_declared = declared.keys().any(|one| one.eq_ignore_ascii_case(name))
            || NOT_DECLARED.iter().any(|one| one.eq_ignore_ascii_case(name));
        assert!(is_declared, "{name} is not declared: {reply}");
    }
}

#[test]
fn answers_have_the_headers_that_are_declared_and_no_others() {
    const KEY: &str = "/v1/datasets/{dataset}/keys/{key}";
    const FILE: &str = "/v1/datasets/{dataset}/versions/{version}/snapshot/{file}";
    let server = Server::start();
    let query = "key=k&format=ndjson&as_of=2026-11-22T00:00:00Z";
    server.push_with("recs", query, rows("recs", 1, 10).as_bytes()).expect(201);
    let api = server.get_path("/openapi.json").expect(200).json();
    let (of_read, known) = (("x-request-id", "r-1"), ("if-none-match", "*"));
    let packed = ("content-encoding", "gzip");
    let batch = r#"{"keys":["x"]}"#;
    for (method, route, query, header, body, status) in [
        ("GET", KEY, "", None, "", 200),
        ("GET", KEY, "", Some(of_read), "", 200),
        ("GET", KEY, "?version=1", Some(known), "", 304),
        ("GET", KEY, "?version=7", None, "", 404),
        ("GET", KEY, "?key_encoding=base64url", None, "", 400),
        ("HEAD", KEY, "", None, "", 200),
        ("HEAD", KEY, "", Some(known), "", 304),
        ("HEAD", KEY, "?version=7", None, "", 404),
        ("GET", FILE, "", None, "", 200),
        ("GET", FILE, "", Some(("range", "bytes=0-1")), "", 206),
        ("GET", FILE, "", Some(("range", "bytes=99999999-")), "", 416),
        ("GET", FILE, "", Some(known), "", 304),
        ("HEAD", FILE, "", None, "", 200),
        ("HEAD", FILE, "", Some(known), "", 304),
        ("GET", "/v1/datasets/{dataset}/keys/{key}/history", "", None, "", 200),
        ("GET", "/v1/datasets/{dataset}/scan", "?limit=1", None, "", 200),
        ("POST", "/v1/datasets/{dataset}/batch-get", "", None, batch, 200),
        ("POST", "/v1/datasets/{dataset}/batch-get", "", Some(packed), batch, 415),
        ("POST", "/v1/batch-get", "", None, r#"{"requests":[]}"#, 200),
        ("PUT", "/v1/datasets/{dataset}", "", None, "{}", 200),
        ("POST", "/v1/datasets/{dataset}/rollback", "", None, "{}", 409),
        ("GET", "/v1/datasets", "", None, "", 200),
        ("GET", "/v1/audit", "?limit=1", None, "", 200),
        ("GET", "/readyz", "", None, "", 200),
        ("GET", "/metrics", "", None, "", 200),
        // From here on there is a token, and who has none is told so.
        ("POST", "/v1/tokens", "", None, r#"{"name":"ops","roles":["admin"]}"#, 201),
        ("GET", KEY, "", None, "", 401),
        ("HEAD", KEY, "", None, "", 401),
    ] {
        let path = route
            .replace("{dataset}", "recs")
            .replace("{key}", &key(1))
            .replace("{version}", "1")
            .replace("{file}", "manifest.json");
        let path = path + query;
        let reply = server.send(method, &path, header.as_slice(), body.as_bytes()).expect(status);
        assert_headers(&api, declared(&api, method, route, status), &reply);
    }
}

#[test]
fn errors_of_an_arm_have_the_headers_that_are_declared() {
    let server = Server::start();
    // Numbers: they have no fields.
    for (version, activate) in [(1, true), (2, false)] {
        let query = format!("key=k&value=version&format=ndjson&activate={activate}");
        server.push_with("recs", &query, rows("recs", version, 10).as_bytes()).expect(201);
    }
    let canary = br#"{"version":2,"percent":50}"#;
    server.send("PUT", "/v1/datasets/recs/canary", &[], canary).expect(200);
    let api = server.get_path("/openapi.json").expect(200).json();
    let batch = format!(r#"{{"keys":["{}"],"fields":["x"]}}"#, key(1));
    for (method, route, query, body) in [
        ("GET", "/v1/datasets/{dataset}/keys/{key}", "?fields=x", ""),
        ("GET", "/v1/datasets/{dataset}/scan", "?fields=x", ""),
        ("POST", "/v1/datasets/{dataset}/batch-get", "", batch.as_str()),
    ] {
        let path = route.replace("{dataset}", "recs").replace("{key}", &key(1)) + query;
        let reply = server.send(method, &path, &[], body.as_bytes()).expect(400);
        assert!(reply.header("tidetable-arm").is_some(), "{reply}");
        assert_headers(&api, declared(&api, method, route, 400), &reply);
    }
}

#[test]
fn what_a_path_does_not_take_is_answered_as_declared() {
    let server = Server::start();
    let api = server.get_path("/openapi.json").expect(200).json();
    let reply = server.send("DELETE", "/v1/datasets/recs/keys/x", &[], b"").expect(405);
    assert_headers(&api, &api["components"]["responses"]["MethodNotAllowed"], &reply);
}

#[test]
fn the_server_says_how_it_is() {
    let server = Server::start();
    server.get_path("/livez").expect(200);
    server.get_path("/readyz").expect(200);
    let version = server.get_path("/version").expect(200).json();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"), "{version}");
}

/// The sum of all samples of a metric.
fn metric(server: &Server, name: &str) -> f64 {
    let text = server.get_path("/metrics").expect(200).text();
    let samples = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
    samples.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

#[test]
fn the_metrics_count_what_happened() {
    let server = Server::start();
    server.pushed("recs", &rows("recs", 1, 10));
    let text = server.get_path("/metrics").expect(200).text();
    // Whichever of them counts requests, it counts the reads that follow.
    let names: Vec<&str> = text
        .lines()
        .filter(|l| !l.starts_with('#'))
        .filter_map(|l| l.split(['{', ' ']).next())
        .collect();
    assert!(
        names.iter().all(|name| name.starts_with("tidetable_") || name.starts_with("process_")),
        "{names:?}"
    );
    let counters: Vec<&str> =
        names.into_iter().filter(|n| n.contains("request") && n.ends_with("_total")).collect();
    let counter = *counters.first().expect("a counter of requests");
    let before = metric(&server, counter);
    for i in 0..10 {
        server.get("recs", &key(i)).expect(200);
    }
    assert!(metric(&server, counter) >= before + 10.0, "{counter} counts requests");
    // A caller's key is no label: the metrics of a server would grow without end.
    assert!(!server.get_path("/metrics").text().contains(&key(3)));
}
