//! What people and machines look at before they trust a server: its API description, its
//! health, its version, its metrics.

use crate::data::{key, rows};
use crate::harness::Server;

const PATHS: &[(&str, &[&str])] = &[
    ("/v1/datasets", &["get"]),
    ("/v1/datasets/{dataset}", &["get", "put", "delete"]),
    ("/v1/datasets/{dataset}/keys/{key}", &["get"]),
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
