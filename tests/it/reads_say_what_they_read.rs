//! Lookups: the stored bytes, the version they come from, an ETag that outlives a swap of the
//! same value, chosen fields, kept versions, and a "not found" that says what was not found.

use serde_json::{Value, json};

use crate::data::{key, rows};
use crate::harness::Server;

const D: &str = "stats";

#[test]
fn a_value_comes_with_its_version_and_etag() {
    let server = Server::start();
    let path = "key=k&format=ndjson&as_of=2026-11-20%2000:00:00z&label=run-1";
    let pushed = server
        .push_with(D, path, b"{\"k\":\"ada\",\"n\":1.50,\"s\":\"\xc3\xbc\"}\n")
        .expect(201)
        .json();
    assert_eq!((&pushed["label"], &pushed["current"]), (&json!("run-1"), &json!(true)));

    let found = server.get(D, "ada").expect(200);
    assert_eq!(
        found.text(),
        "{\"k\":\"ada\",\"n\":1.50,\"s\":\"ü\"}",
        "numbers as they were written"
    );
    assert_eq!(found.header("content-type"), Some("application/json"));
    assert_eq!(found.version(), 1);
    assert_eq!(found.header("tidetable-as-of"), Some("2026-11-20T00:00:00Z"), "{found}");
    let etag = found.header("etag").unwrap().to_owned();
    assert!(etag.starts_with('"'), "a strong one: {etag}");

    let head = server.send("HEAD", &format!("/v1/datasets/{D}/keys/ada"), &[], b"").expect(200);
    assert_eq!(head.header("etag"), Some(etag.as_str()));
    assert_eq!(head.header("content-length"), Some(found.body.len().to_string().as_str()));

    // The same value in the next version: whoever has it need not read it again.
    server
        .push_with(D, "key=k&format=ndjson", b"{\"k\":\"ada\",\"n\":1.50,\"s\":\"\xc3\xbc\"}\n")
        .expect(201);
    let path = format!("/v1/datasets/{D}/keys/ada");
    let unchanged = server.send("GET", &path, &[("if-none-match", &etag)], b"").expect(304);
    assert_eq!((unchanged.version(), unchanged.body.len()), (2, 0));
    assert_eq!(unchanged.header("etag"), Some(etag.as_str()));
    server.pushed(D, "{\"k\":\"ada\",\"n\":2}\n");
    let changed = server.send("GET", &path, &[("if-none-match", &etag)], b"").expect(200);
    assert_ne!(changed.header("etag"), Some(etag.as_str()));
    assert_eq!(
        server.get_path(&format!("{path}?version=1")).expect(200).header("etag"),
        Some(etag.as_str())
    );
}

#[test]
fn a_value_may_be_asked_for_by_its_tag() {
    let server = Server::start();
    server.pushed(D, "{\"k\":\"ada\",\"n\":1}\n");
    let whole = format!("/v1/datasets/{D}/keys/ada");
    let chosen = format!("{whole}?fields=n");
    let tag = |path: &str| server.get_path(path).expect(200).header("etag").unwrap().to_owned();
    let (of_whole, of_chosen) = (tag(&whole), tag(&chosen));
    for (path, own, other) in [(&whole, &of_whole, &of_chosen), (&chosen, &of_chosen, &of_whole)] {
        let (own, other) = (own.as_str(), other.as_str());
        for method in ["GET", "HEAD"] {
            let ask = |headers: &[(&str, &str)]| server.send(method, path, headers, b"");
            for list in ["*", own, &format!("{other}, {own}")] {
                assert_eq!(ask(&[("if-match", list)]).expect(200).version(), 1, "{list}");
                ask(&[("if-match", list), ("if-none-match", own)]).expect(304);
            }
            for list in [other, &format!("W/{own}"), "\"*\"", ""] {
                assert_eq!(ask(&[("if-match", list)]).expect(412).version(), 1, "{list}");
                // It is looked at first.
                ask(&[("if-match", list), ("if-none-match", own)]).expect(412);
            }
        }
        server.send("GET", path, &[("if-match", other)], b"").problem(412, "precondition_failed");
    }
    // Only of a value that is there, and can be given.
    let nobody = format!("/v1/datasets/{D}/keys/nobody");
    server.send("GET", &nobody, &[("if-match", "*")], b"").problem(404, "key_not_found");
}

#[test]
fn chosen_fields_of_an_object_and_of_a_list() {
    let server = Server::start();
    server.pushed(D, "{\"k\":\"ada\",\"n\":1,\"s\":\"x\",\"deep\":{\"a\":[1, 2]}}\n");
    let found = server.get_path(&format!("/v1/datasets/{D}/keys/ada?fields=n,deep")).expect(200);
    assert_eq!(found.json(), json!({ "n": 1, "deep": { "a": [1, 2] } }));
    assert_ne!(
        found.header("etag"),
        server.get(D, "ada").header("etag"),
        "the ETag of what is sent"
    );
    let none = server.get_path(&format!("/v1/datasets/{D}/keys/ada?fields=nothing")).expect(200);
    assert_eq!(none.json(), json!({}));

    let rows = "{\"k\":\"a\",\"c\":1,\"r\":0.5}\n{\"k\":\"a\",\"c\":2,\"r\":0.9}\n{\"k\":\"a\",\"c\":3,\"r\":0.7}\n";
    server
        .push_with(
            "recs",
            "key=k&format=ndjson&collect=true&order_by=r:desc&limit=2",
            rows.as_bytes(),
        )
        .expect(201);
    let found = server.get("recs", "a").expect(200);
    assert_eq!(found.text(), r#"[{"k":"a","c":2,"r":0.9},{"k":"a","c":3,"r":0.7}]"#);
    let found = server.get_path("/v1/datasets/recs/keys/a?fields=c").expect(200);
    assert_eq!(found.json(), json!([{ "c": 2 }, { "c": 3 }]));
    let body = json!({ "keys": ["a", "b"], "fields": ["c"] });
    let batch = server.post("/v1/datasets/recs/batch-get", &body).expect(200).json();
    assert_eq!(batch["results"][0]["value"], json!([{ "c": 2 }, { "c": 3 }]));
    assert_eq!(batch["results"][1], json!({ "key": "b", "found": false }));
}

/// Whether a value is in base64 follows from the dataset alone, so a client need not look at each.
#[test]
fn chosen_fields_of_a_dataset_that_is_no_json_are_in_base64_as_whole_values_are() {
    let server = Server::start();
    server.configure(D, &json!({ "content_type": "text/plain" }));
    server.pushed(D, "{\"k\":\"ada\",\"n\":1}\n");
    assert_eq!(
        server.get_path(&format!("/v1/datasets/{D}/keys/ada?fields=n")).expect(200).text(),
        r#"{"n":1}"#
    );
    let batch = json!({ "keys": ["ada"], "fields": ["n"] });
    let several = json!({ "requests": [{ "dataset": D, "keys": ["ada"], "fields": ["n"] }] });
    let batch = server.operate(D, "batch-get", &batch).expect(200).json();
    let several = server.post("/v1/batch-get", &several).expect(200).json();
    let page = server.dataset(&format!("{D}/scan?fields=n"));
    let history = server.dataset(&format!("{D}/keys/ada/history?fields=n"));
    for found in [
        &batch["results"][0],
        &several["answers"][0]["results"][0],
        &page["records"][0],
        &history["versions"][0],
    ] {
        assert_eq!(
            (&found["value"], &found["encoding"]),
            (&json!("eyJuIjoxfQ=="), &json!("base64")),
            "{found}"
        );
    }
}

#[test]
fn any_key_can_be_asked_for() {
    let server = Server::start();
    // A key, as it stands in a path, in base64url and in hexadecimal.
    let keys = [
        ("a/b", "a%2Fb", "YS9i", "612f62"),
        ("a%2Fb", "a%252Fb", "YSUyRmI", "6125324662"),
        ("a b+c", "a%20b+c", "YSBiK2M", "6120622b63"),
        ("ü", "%C3%BC", "w7w", "c3bc"),
        ("\u{0}", "%00", "AA", "00"),
        ("?#&=", "%3F%23%26%3D", "PyMmPQ", "3f23263d"),
        (".", "", "Lg", "2e"),
        ("..", "", "Li4", "2e2e"),
    ];
    let rows: String = keys.iter().map(|(k, ..)| format!("{}\n", json!({ "k": k }))).collect();
    server.pushed(D, &rows);
    for (k, in_path, base64url, hex) in keys {
        let wanted = json!({ "k": k });
        if !in_path.is_empty() {
            assert_eq!(server.get(D, in_path).expect(200).json(), wanted);
        }
        let path = format!("{base64url}?key_encoding=base64url");
        assert_eq!(server.get(D, &path).expect(200).json(), wanted, "{k:?}");
        assert_eq!(
            server.get(D, &format!("{hex}?key_encoding=hex")).expect(200).json(),
            wanted,
            "{k:?}"
        );
        let body = json!({ "keys": [base64url], "key_encoding": "base64url" });
        let batch = server.post(&format!("/v1/datasets/{D}/batch-get"), &body).expect(200).json();
        assert_eq!(batch["results"][0]["value"], wanted, "{k:?}");
    }
    server.get(D, "%ff").problem(400, "invalid_key");
    server.get(D, "!?key_encoding=base64url").problem(400, "invalid_key");
    server.get(D, "612?key_encoding=hex").problem(400, "invalid_key");
    assert_eq!(server.get(D, "x?key_encoding=rot13").status, 400);
}

#[test]
fn not_found_says_what_was_not_found() {
    let server = Server::start();
    server.get("nobody", "x").problem(404, "dataset_not_found");
    server.configure(D, &json!({}));
    server.get(D, "x").problem(404, "no_current_version");
    server.pushed(D, &rows(D, 1, 3));
    let missing = server.get(D, "x");
    assert_eq!(missing.version(), 1);
    missing.problem(404, "key_not_found");
    server
        .get_path(&format!("/v1/datasets/{D}/keys/{}?version=9", key(1)))
        .problem(404, "version_not_found");
}

/// A number that was given and has nothing to read is not there (yet): it was not deleted.
#[test]
fn a_version_that_is_not_published_is_not_found() {
    let server = Server::start();
    server.pushed(D, &rows(D, 1, 10));
    server.push(D, "{\"k\":").problem(422, "bad_rows");
    let body = json!({ "format": "ndjson", "key": ["k"] });
    server.post(&format!("/v1/datasets/{D}/versions"), &body).expect(201);
    let states: Vec<_> = [2, 3]
        .iter()
        .map(|v| server.dataset(&format!("{D}/versions/{v}"))["state"].clone())
        .collect();
    assert_eq!(states, [json!("failed"), json!("receiving")]);
    for version in [2, 3, 4] {
        for path in
            [format!("keys/{}?version={version}", key(1)), format!("scan?version={version}")]
        {
            let reply = server.get_path(&format!("/v1/datasets/{D}/{path}"));
            reply.problem(404, "version_not_found");
        }
        let batch = json!({ "keys": ["x"], "version": version });
        server.operate(D, "batch-get", &batch).problem(404, "version_not_found");
    }
    // One that was given up is gone, in whatever state it was.
    server.send("DELETE", &format!("/v1/datasets/{D}/versions/3"), &[], b"").expect(200);
    let path = format!("/v1/datasets/{D}/keys/{}?version=3", key(1));
    server.get_path(&path).problem(410, "version_deleted");
}

#[test]
fn several_datasets_at_one_instant() {
    let server = Server::start();
    server.pushed("recs", &rows("recs", 1, 5));
    server.pushed("stats", &rows("stats", 1, 5));
    server.pushed("stats", &rows("stats", 2, 5));
    let body = json!({ "requests": [
        { "dataset": "recs", "keys": [key(1)] },
        { "dataset": "nobody", "keys": [key(1)] },
        { "dataset": "stats", "keys": [key(2), "x"], "fields": ["version"] },
    ] });
    let answers = server.post("/v1/batch-get", &body).expect(200).json();
    assert_eq!(
        (&answers["answers"][0]["dataset"], &answers["answers"][0]["version"]),
        (&json!("recs"), &json!(1))
    );
    assert_eq!(answers["answers"][0]["results"][0]["value"]["k"], key(1));
    assert_eq!(answers["answers"][1]["error"]["code"], "dataset_not_found");
    assert_eq!(answers["answers"][2]["version"], 2);
    assert_eq!(answers["answers"][2]["results"][0]["value"], json!({ "version": 2 }));
    assert_eq!(answers["answers"][2]["results"][1]["found"], false);
}

#[test]
fn a_batch_is_a_read_also_for_a_page_of_another_site() {
    let server = Server::start();
    server.pushed(D, "{\"k\":\"ada\"}\n");
    let (of_one, of_all) = (json!({ "keys": ["ada"] }), [json!({ "dataset": D, "keys": ["ada"] })]);
    for foreign in [("sec-fetch-site", "cross-site"), ("origin", "https://shop.example")] {
        let send = |path: &str, body: &Value| {
            let headers = [foreign, ("content-type", "application/json")];
            server.send("POST", path, &headers, body.to_string().as_bytes())
        };
        send(&format!("/v1/datasets/{D}/batch-get"), &of_one).expect(200);
        send("/v1/batch-get", &json!({ "requests": of_all })).expect(200);
        let hold = send(&format!("/v1/datasets/{D}/hold"), &json!({}));
        hold.problem(403, "cross_site_request");
    }
}

#[test]
fn a_scan_keeps_to_its_prefix() {
    let server = Server::start();
    server.pushed(
        D,
        "{\"k\":\"a:1\"}\n{\"k\":\"a:2\"}\n{\"k\":\"a:3\"}\n{\"k\":\"b:1\"}\n{\"k\":\"a\"}\n",
    );
    let first = server.dataset(&format!("{D}/scan?prefix=a:&limit=2"));
    assert_eq!(
        first["records"],
        json!([{ "key": "a:1", "value": { "k": "a:1" } }, { "key": "a:2", "value": { "k": "a:2" } }])
    );
    let rest = server
        .dataset(&format!("{D}/scan?prefix=a:&limit=2&cursor={}", first["next"].as_str().unwrap()));
    assert_eq!(rest["records"], json!([{ "key": "a:3", "value": { "k": "a:3" } }]));
    assert!(rest["next"].is_null());
    let nothing = server.dataset(&format!("{D}/scan?prefix=zzz"));
    assert_eq!((&nothing["records"], &nothing["next"]), (&json!([]), &json!(null)));
}

/// Reads a scan of `D` to its end, one record a page: the keys.
fn scan_singly(server: &Server, query: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("{D}/scan?limit=1&{query}{cursor}");
        assert!(path.len() < 60_000, "a cursor must fit a URL, with room for a prefix");
        let page = server.dataset(&path);
        let records = page["records"].as_array().unwrap();
        keys.extend(records.iter().map(|record| record["key"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return keys,
        }
    }
}

/// The longest keys do not fit a URL, and a cursor must.
#[test]
fn a_scan_goes_on_behind_keys_of_any_length() {
    let server = Server::start();
    let long = |end: &str| format!("{}{end}", "x".repeat(65_536 - end.len()));
    let mut keys = vec!["w".to_owned(), "x".repeat(40_000), "y".to_owned()];
    keys.extend(["a", "b", "c"].map(long));
    keys.extend(["a", "b"].map(|end| format!("{}{end}", "x".repeat(30_000))));
    keys.sort();
    let rows: String = keys.iter().map(|key| format!("{{\"k\":\"{key}\"}}\n")).collect();
    server.pushed(D, &rows);
    assert_eq!(scan_singly(&server, ""), keys);
    assert_eq!(scan_singly(&server, "prefix=x"), keys[1..7]);
    let prefix = "x".repeat(10_000);
    assert_eq!(scan_singly(&server, &format!("prefix={prefix}")), keys[1..7]);
}

#[test]
fn a_cursor_is_of_one_dataset_version_and_prefix() {
    let server = Server::start();
    for dataset in [D, "other"] {
        server.pushed(dataset, &rows(dataset, 1, 10));
    }
    let page = server.dataset(&format!("{D}/scan?limit=2&prefix=learner"));
    let next = page["next"].as_str().unwrap();
    for path in [
        format!("other/scan?cursor={next}"),
        format!("{D}/scan?version=2&cursor={next}"),
        format!("{D}/scan?prefix=l&cursor={next}"),
        format!("{D}/scan?cursor={}", &next[..next.len() - 20]),
        format!("{D}/scan?cursor=A{next}"),
    ] {
        let reply = server.get_path(&format!("/v1/datasets/{path}"));
        reply.problem(400, "invalid_cursor");
    }
    server
        .get_path(&format!("/v1/datasets/{D}/scan?version=1&prefix=learner&cursor={next}"))
        .expect(200);
}

/// What was read and could not be given says where it was read, too.
#[test]
fn a_refusal_of_what_was_read_names_the_version() {
    let server = Server::start_with(&["--max-answer-bytes", "64KiB"]);
    server.pushed(D, &rows(D, 1, 10));
    let row = |i, bytes| format!("{{\"k\":\"{}\",\"v\":\"{}\"}}\n", key(i), "x".repeat(bytes));
    let text = row(0, 1) + &row(1, 70_000);
    server.push_with(D, "key=k&value=v&format=ndjson", text.as_bytes()).expect(201);
    let batch = |body: &Value| server.operate(D, "batch-get", body);
    let scan = |query: &str| server.get_path(&format!("/v1/datasets/{D}/scan?{query}"));
    for (reply, status, code) in [
        (batch(&json!({ "keys": [key(1)] })), 413, "answer_too_large"),
        (batch(&json!({ "keys": [key(1)], "fields": ["a"] })), 400, "fields_unavailable"),
        (scan(&format!("prefix={}", key(1))), 413, "answer_too_large"),
        (scan("fields=a"), 400, "fields_unavailable"),
    ] {
        assert_eq!(reply.version(), 2, "{reply}");
        reply.problem(status, code);
    }
}

/// An answer is as long as what is sent: without the fields that nobody asked for, and in base64.
#[test]
fn a_page_is_cut_by_what_is_sent_of_its_records() {
    const MOST: usize = 64 << 10;
    let server = Server::start_with(&["--max-answer-bytes", "64KiB"]);
    let row =
        |i, bytes| format!("{{\"k\":\"{}\",\"n\":{i},\"v\":\"{}\"}}\n", key(i), "x".repeat(bytes));
    let rows = |bytes| (0..30).map(|i| row(i, bytes)).collect::<String>();
    // Each of them is longer than an answer.
    server.pushed(D, &rows(70_000));
    let page = server.dataset(&format!("{D}/scan?fields=n"));
    let records = page["records"].as_array().unwrap();
    assert!((0..30).all(|i| records[i]["value"] == json!({ "n": i })), "{page}");
    assert!(records.len() == 30 && page["next"].is_null(), "{page}");
    server.get_path(&format!("/v1/datasets/{D}/scan")).problem(413, "answer_too_large");
    // In base64 these take a third more.
    server.configure("bytes", &json!({ "content_type": "text/plain" }));
    server.pushed("bytes", &rows(3_000));
    let (mut keys, mut query) = (0, "limit=100".to_owned());
    loop {
        let page = server.get_path(&format!("/v1/datasets/bytes/scan?{query}")).expect(200);
        // Its cursor stands behind.
        assert!(page.body.len() < MOST + 128, "{} bytes", page.body.len());
        let page = page.json();
        keys += page["records"].as_array().unwrap().len();
        match page["next"].as_str() {
            Some(next) => query = format!("limit=100&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(keys, 30);
}
