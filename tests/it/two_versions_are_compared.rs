//! How two versions differ, and what a key was in each: over HTTP, and on the command line.

use serde_json::{Value, json};

use crate::harness::{Server, tidetable};

const D: &str = "recs";

/// Three versions: of the second a key is gone, one is new, one is another; the third is as the
/// second.
fn three_versions() -> Server {
    let server = Server::start();
    let row = |key: &str, score: f64, why: &str| {
        format!("{{\"k\":\"{key}\",\"score\":{score:.2},\"why\":\"{why}\"}}\n")
    };
    let first: String = (0..100).map(|n| row(&format!("{n:03}"), 0.5, "a")).collect();
    let second: String = (1..101)
        .map(|n| match n {
            7 => row("007", 0.75, "a"),
            8 => row("008", 0.25, "b"),
            _ => row(&format!("{n:03}"), 0.5, "a"),
        })
        .collect();
    for rows in [&first, &second, &second] {
        server.pushed(D, rows);
    }
    server
}

fn diff(server: &Server, query: &str) -> Value {
    server.get_path(&format!("/v1/datasets/{D}/diff?{query}")).expect(200).json()
}

#[test]
fn keys_fields_and_samples_of_a_difference_are_exact() {
    let server = three_versions();
    let found = diff(&server, "from=1&to=2");
    let counts = ["added", "removed", "changed", "equal"].map(|name| found[name].as_u64().unwrap());
    assert_eq!(counts, [1, 1, 2, 97]);
    assert_eq!((&found["from"], &found["to"]), (&json!(1), &json!(2)));
    assert_eq!(found["fields"], json!({ "score": 2, "why": 1 }));
    assert_eq!(found["fields_exact"], true);
    let samples = &found["samples"];
    assert_eq!(samples["added"][0]["key"], "100");
    assert_eq!(samples["removed"][0]["key"], "000");
    assert!(samples["removed"][0].get("to").is_none());
    assert_eq!(samples["changed"][0]["from"], json!({ "k": "007", "score": 0.5, "why": "a" }));
    assert_eq!(samples["changed"][0]["to"]["score"], 0.75);
    assert_eq!(samples["changed"].as_array().unwrap().len(), 2);
    // Backwards, what was added is what was removed.
    let back = diff(&server, "from=2&to=1&samples=1");
    assert_eq!((&back["added"], &back["removed"]), (&json!(1), &json!(1)));
    assert_eq!(back["samples"]["added"][0]["key"], "000");
    assert_eq!(back["samples"]["changed"].as_array().unwrap().len(), 1);
    let same = diff(&server, "from=2&to=3&samples=0");
    assert_eq!((&same["equal"], &same["fields"]), (&json!(100), &json!({})));
}

#[test]
fn a_difference_of_versions_that_are_not_there_is_refused() {
    let server = three_versions();
    let path = format!("/v1/datasets/{D}/versions/1");
    server.send("DELETE", &path, &[], b"").expect(200);
    for (path, status, code) in [
        (format!("{D}/diff?from=1&to=2"), 410, "version_deleted"),
        (format!("{D}/diff?from=2&to=9"), 404, "version_not_found"),
        ("nobody/diff?from=1&to=2".to_owned(), 404, "dataset_not_found"),
        (format!("{D}/diff?from=2"), 400, "invalid_parameter"),
        (format!("{D}/diff?from=2&to=x"), 400, "invalid_name"),
        (format!("{D}/diff?from=2&to=3&samples=101"), 400, "invalid_parameter"),
    ] {
        let reply = server.get_path(&format!("/v1/datasets/{path}")).expect(status);
        assert_eq!(reply.json()["code"], code, "{path}");
    }
}

#[test]
fn a_keys_history_is_its_value_in_every_kept_version() {
    let server = three_versions();
    let history = |key: &str| {
        let path = format!("/v1/datasets/{D}/keys/{key}/history?fields=score");
        server.get_path(&path).expect(200).json()
    };
    let of = |version: u64, score: f64| json!({ "version": version, "found": true, "value": { "score": score } });
    let expected = json!({ "key": "007", "versions": [of(3, 0.75), of(2, 0.75), of(1, 0.5)] });
    assert_eq!(history("007"), expected);
    let absent = |version: u64| json!({ "version": version, "found": false });
    assert_eq!(history("000")["versions"], json!([absent(3), absent(2), of(1, 0.5)]));
    assert_eq!(history("nobody")["versions"], json!([absent(3), absent(2), absent(1)]));
    server.get_path("/v1/datasets/nobody/keys/007/history").expect(404);
    let hex = format!("/v1/datasets/{D}/keys/303037/history?key_encoding=hex");
    assert_eq!(server.get_path(&hex).expect(200).json()["key"], "303037");
}

#[test]
fn the_command_line_shows_both() {
    let server = three_versions();
    let run = |arguments: &[&str]| {
        let address = format!("http://{}", server.address());
        let output = tidetable(&[&["--server", &address], arguments].concat()).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = run(&["diff", D, "1", "2"]);
    assert_eq!(code, 0);
    for line in
        ["recs 1 → 2", "added                 1     1.0 %", "+ 100  {", "- 000  {", "~ 007  {"]
    {
        assert!(text.contains(line), "{line} in {text}");
    }
    let (_, json) = run(&["diff", D, "1", "2", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["changed"], 2);
    let (code, text) = run(&["history", D, "--key", "000"]);
    assert_eq!(code, 0);
    assert_eq!(text.lines().next(), Some("     3  not there"));
    assert!(text.contains("     1  {\"k\":\"000\",\"score\":0.50,\"why\":\"a\"}"), "{text}");
    assert_eq!(run(&["diff", D, "1", "9"]).0, 4);
    assert_eq!(run(&["history", "nobody", "--key", "x"]).0, 4);
}
