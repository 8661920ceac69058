//! The console stands at `/`, from the binary, under the strictest policy a browser knows; and
//! the figures it shows are served beside it.

use crate::data::{key, rows};
use crate::harness::{Server, eventually};
use serde_json::json;

#[test]
fn it_comes_with_its_headers_and_all_its_files() {
    let server = Server::start();
    let page = server.get_path("/").expect(200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let html = page.text();
    let mut asked = vec!["/".to_owned()];
    for part in html.split('"').filter(|part| part.starts_with("console/")) {
        asked.push(format!("/{part}"));
    }
    assert!(asked.len() >= 5, "{asked:?}");
    for path in &asked {
        let file = server.get_path(path).expect(200);
        let policy = file.header("content-security-policy").unwrap();
        for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(file.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(file.header("referrer-policy"), Some("no-referrer"), "{path}");
        let tag = file.header("etag").unwrap().to_owned();
        let again = server.send("GET", path, &[("if-none-match", &tag)], b"");
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
        assert_eq!(again.header("content-security-policy"), Some(policy), "{path}");
    }
    for script in ["<script>", "onclick=", "style="] {
        assert!(!html.contains(script), "the page has {script}, which the policy forbids");
    }
    let absent = server.get_path("/console/absent.js").expect(404).json();
    assert_eq!(absent["code"], "route_not_found");
}

#[test]
fn the_server_says_which_one_it_is() {
    let server = Server::start_with(&["--environment", "production"]);
    let version = server.get_path("/version").expect(200).json();
    assert_eq!(version["environment"], "production", "{version}");
    assert_eq!(version["listen"], server.address().to_string(), "{version}");
    assert!(version["hostname"].is_string() && version["started_at"].is_string(), "{version}");
    let unnamed = Server::start().get_path("/version").expect(200).json();
    assert_eq!(unnamed["environment"], json!(null), "{unnamed}");
}

#[test]
fn the_series_tell_how_a_dataset_is_read_and_what_happened_to_it() {
    let server = Server::start();
    server.pushed("recs", &rows("recs", 1, 10));
    server.pushed("recs", &rows("recs", 2, 10));
    server.pushed("unread", &rows("unread", 1, 10));
    for i in 0..8 {
        server.get("recs", &key(i)).expect(200);
    }
    server.get("recs", "absent").expect(404);
    server.get("recs", "absent-too").expect(404);
    let series = server.get_path("/v1/datasets/recs/series").expect(200).json();
    assert_eq!(series["interval_seconds"], 60);
    for column in ["lookups", "hits", "errors", "p99_us"] {
        assert_eq!(series[column].as_array().unwrap().len(), 1440, "{column}");
    }
    assert_eq!(series["lookups"][0], json!(null), "the server did not run then");
    assert!(series["start"].as_str().unwrap() < series["since"].as_str().unwrap(), "{series}");
    assert_eq!(series["now"]["hit_percent"], 80.0, "{}", series["now"]);
    assert!(series["now"]["lookups_per_second"].as_f64().unwrap() > 0.0, "{}", series["now"]);
    assert!(series["now"]["p99_us"].as_f64().unwrap() > 0.0, "{}", series["now"]);
    let marks: Vec<_> = series["marks"].as_array().unwrap().iter().map(|m| &m["to"]).collect();
    assert_eq!(marks, [&json!(1), &json!(2)], "{}", series["marks"]);
    let short = server.get_path("/v1/datasets/recs/series?minutes=3").expect(200).json();
    assert_eq!(short["lookups"].as_array().unwrap().len(), 3);

    let all = server.get_path("/v1/series").expect(200).json();
    let all = all["datasets"].as_array().unwrap();
    assert_eq!(
        all.iter().map(|d| &d["dataset"]).collect::<Vec<_>>(),
        [&json!("recs"), &json!("unread")]
    );
    assert_eq!((&all[0]["hit_percent"], &all[1]["hit_percent"]), (&json!(80.0), &json!(null)));
    assert_eq!(all[0]["recent"].as_array().unwrap().len(), 60);

    for (path, code) in [
        ("/v1/datasets/absent/series", "dataset_not_found"),
        ("/v1/datasets/recs/series?minutes=0", "invalid_parameter"),
        ("/v1/datasets/recs/series?minutes=1441", "invalid_parameter"),
        ("/v1/datasets/recs/series?hours=3", "unknown_parameter"),
        ("/v1/series?limit=0", "invalid_parameter"),
    ] {
        assert_eq!(server.get_path(path).json()["code"], code, "{path}");
    }
}

#[test]
fn running_pushes_are_listed_wherever_they_are() {
    let server = Server::start();
    let none = server.get_path("/v1/pushes").expect(200).json();
    assert_eq!(none, json!({ "pushes": [], "next": null }));
    server.pushed("done", &rows("done", 1, 10));
    for dataset in ["a", "b"] {
        let path = format!("/v1/datasets/{dataset}/versions");
        server.post(&path, &json!({ "key": "k", "label": "run-1" })).expect(201);
    }
    let running = server.get_path("/v1/pushes").expect(200).json();
    let shown: Vec<_> = running["pushes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| (&p["dataset"], &p["state"]))
        .collect();
    let receiving = json!("receiving");
    assert_eq!(shown, [(&json!("a"), &receiving), (&json!("b"), &receiving)], "{running}");
    server.send("DELETE", "/v1/datasets/a/versions/1", &[], b"").expect(200);
    eventually("an aborted push runs no more", || {
        let left = server.get_path("/v1/pushes").json();
        left["pushes"].as_array().unwrap().len() == 1
    });
}
