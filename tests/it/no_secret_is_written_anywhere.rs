//! Keys, values and tokens stand in no log, no audit and no metric, whatever is done with them:
//! looked up, pushed, refused, misspelt, or put where they do not belong. Random words that occur
//! nowhere else prove it.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::BuildHasher as _;
use std::path::Path;

use serde_json::json;

use crate::harness::Server;

/// Words that stand for a secret each, and what they were used as.
struct Secrets(Vec<(&'static str, String)>);

impl Secrets {
    /// A new word. Only letters that need no escape anywhere.
    fn word(&mut self, used_as: &'static str) -> String {
        let random = RandomState::new().hash_one(self.0.len());
        self.0.push((used_as, format!("canary{random:016x}")));
        self.0[self.0.len() - 1].1.clone()
    }

    #[track_caller]
    fn assert_none_in(&self, what: &str, text: &[u8]) {
        self.assert_none_of(|_| true, what, text);
    }

    #[track_caller]
    fn assert_none_of(&self, which: impl Fn(&str) -> bool, what: &str, text: &[u8]) {
        assert!(!text.is_empty(), "{what} is empty: nothing was looked at");
        for (used_as, word) in self.0.iter().filter(|(used_as, _)| which(used_as)) {
            let found = text.windows(word.len()).position(|window| window == word.as_bytes());
            if let Some(at) = found {
                let around = &text[at.saturating_sub(200)..(at + 100).min(text.len())];
                let around = String::from_utf8_lossy(around);
                panic!("{what} holds {used_as}: …{around}…");
            }
        }
    }
}

const D: &str = "grades";
const NDJSON: &str = "key=k&format=ndjson";

#[test]
fn no_secret_is_written_anywhere() {
    let mut server = Server::start_with(&["--log-level", "debug"]);
    let mut secrets = Secrets(Vec::new());
    read_and_push(&server, &mut secrets);
    misspell(&server, &mut secrets);
    let rejected = push_what_is_refused(&server, &mut secrets);
    assert!(rejected > 8, "too few pushes were refused: {rejected}");

    let audit = server.get_path("/v1/audit?limit=1000").expect(200);
    secrets.assert_none_in("the audit", &audit.body);
    let lines = audit.text();
    for kind in ["change", "refusal", "denial", "note"] {
        assert!(lines.contains(&format!("\"kind\":\"{kind}\"")), "no {kind}: {lines}");
    }
    secrets.assert_none_in("the metrics", &server.get_path("/metrics").expect(200).body);
    server.terminate();
    server.wait();
    let said = server.said();
    assert!(said.contains("bad_rows") || said.contains("push"), "the log tells of pushes: {said}");
    secrets.assert_none_in("the server's log", said.as_bytes());
    let mut files = 0;
    for entry in fs::read_dir(server.data().join("audit")).unwrap() {
        let entry = entry.unwrap();
        secrets
            .assert_none_in(&entry.file_name().to_string_lossy(), &fs::read(entry.path()).unwrap());
        files += 1;
    }
    assert!(files > 0);
    // The journal keeps why a push failed, which quotes rows for whoever pushed them; all else
    // of what came stands in the data alone.
    let is_quoted = |used_as: &str| used_as.starts_with("refused");
    let journal = fs::read(server.data().join("journal")).unwrap();
    secrets.assert_none_of(|used_as| !is_quoted(used_as), "the journal", &journal);
    for name in ["watches", "LOCK"] {
        let file = server.data().join(name);
        if file.exists() && file.metadata().unwrap().len() > 0 {
            secrets.assert_none_in(name, &fs::read(&file).unwrap());
        }
    }
    assert_is_in_the_data(&server.data(), &secrets);
}

/// What is done with keys and values all day.
fn read_and_push(server: &Server, secrets: &mut Secrets) {
    let (key, value) = (secrets.word("a key"), secrets.word("a value"));
    let token = secrets.word("a token");
    server.pushed(D, &format!("{{\"k\":\"{key}\",\"v\":\"{value}\"}}\n{{\"k\":\"b\",\"v\":1}}\n"));
    let changed = secrets.word("a changed value");
    server
        .pushed(D, &format!("{{\"k\":\"{key}\",\"v\":\"{changed}\"}}\n{{\"k\":\"b\",\"v\":2}}\n"));
    let bearer = format!("Bearer {token}");
    let get = |path: &str| server.send("GET", path, &[("authorization", &bearer)], b"");
    assert!(get(&format!("/v1/datasets/{D}/keys/{key}")).text().contains(&changed));
    let absent = secrets.word("a key that is not there");
    get(&format!("/v1/datasets/{D}/keys/{absent}")).problem(404, "key_not_found");
    get(&format!("/v1/datasets/{D}/keys/{key}/history")).expect(200);
    get(&format!("/v1/datasets/{D}/scan?prefix={key}")).expect(200);
    get(&format!("/v1/datasets/{D}/diff?from=1&to=2")).expect(200);
    get(&format!("/v1/datasets/{D}/versions/1/profile")).expect(200);
    let unit = secrets.word("a unit");
    let headers = [("authorization", bearer.as_str()), ("tidetable-unit", unit.as_str())];
    let body = json!({ "keys": [key, absent] }).to_string();
    server
        .send("POST", &format!("/v1/datasets/{D}/batch-get"), &headers, body.as_bytes())
        .expect(200);
    server.operate(D, "rollback", &json!({ "reason": "to see" })).expect(200);
    server.operate(D, "release", &json!({})).expect(200);
}

/// Secrets where they do not belong.
fn misspell(server: &Server, secrets: &mut Secrets) {
    let mut word = |used_as| secrets.word(used_as);
    let (token, name, field) = (word("a token in the query"), word("a dataset"), word("a field"));
    server.get_path(&format!("/v1/datasets?token={token}")).problem(400, "unknown_parameter");
    server.get_path(&format!("/v1/datasets?{token}")).problem(400, "unknown_parameter");
    server.get_path(&format!("/v1/datasets/{D}?limit={token}")).problem(400, "unknown_parameter");
    server.get_path(&format!("/{token}/x")).problem(404, "route_not_found");
    let upper = name.to_uppercase();
    server.push(&upper, "{\"k\":1}\n").problem(400, "invalid_name");
    server
        .push_with(D, &format!("{NDJSON}&{token}=1"), b"{\"k\":1}\n")
        .problem(400, "unknown_parameter");
    server.push_with(D, &format!("key=k&format={token}"), b"{\"k\":1}\n").expect(400);
    server.operate(D, "hold", &json!({ field.as_str(): 1 })).problem(400, "unknown_field");
    server.operate(D, "activate", &json!({ "version": field.as_str() })).expect(400);
    let path = format!("/v1/datasets/{D}/rollback");
    let json = ("content-type", "application/json");
    let broken = word("a broken body");
    server.send("POST", &path, &[json], format!("{{\"{broken}").as_bytes()).expect(400);
    let cross = [json, ("sec-fetch-site", "cross-site"), ("authorization", token.as_str())];
    server.send("POST", &path, &cross, b"{}").problem(403, "cross_site_request");
    let version = word("a version");
    server.send("DELETE", &format!("/v1/datasets/{D}/versions/{version}"), &[], b"").expect(400);
    let part = format!("/v1/datasets/{D}/versions/1/parts/{}%2F..", word("a part"));
    server.send("PUT", &part, &[], b"x").expect(400);
    let key = word("a long key");
    let long = format!("/v1/datasets/{D}/keys/{}", key.repeat(3000));
    let reply = server.get_path(&long);
    assert!((400..500).contains(&reply.status), "{}", reply.status);
    let keys = json!({ "keys": [key.repeat(4000)] });
    server.post(&format!("/v1/datasets/{D}/batch-get"), &keys).expect(400);
    server
        .send(
            "GET",
            &format!("/v1/datasets/{D}/keys/b"),
            &[("x-request-id", &format!("{key} x"))],
            b"",
        )
        .expect(200);
}

/// Rows of which none is served: the answer quotes them to whoever sent them. How many pushes
/// were refused.
fn push_what_is_refused(server: &Server, secrets: &mut Secrets) -> usize {
    let mut refused = 0;
    let mut push = |query: &str, rows: &str| {
        let reply = server.push_with(D, query, rows.as_bytes());
        assert!((400..500).contains(&reply.status), "{query} {rows}: {reply}");
        refused += 1;
    };
    let mut word = || secrets.word("refused: a key or value");
    push(NDJSON, &format!("{{\"k\":\"{}\",\"v\":\"{}\"\n", word(), word()));
    push(NDJSON, &format!("{}\n", word()));
    push(NDJSON, &format!("{{\"v\":\"{}\"}}\n", word()));
    push(NDJSON, &format!("{{\"k\":{{\"{}\":\"{}\"}}}}\n", word(), word()));
    let key = word();
    push(
        NDJSON,
        &format!(
            "{{\"k\":\"{key}\",\"v\":\"{}\"}}\n{{\"k\":\"{key}\",\"v\":\"{}\"}}\n",
            word(),
            word()
        ),
    );
    push("key=k,j&format=ndjson", &format!("{{\"k\":\"a:{}\",\"j\":\"{}\"}}\n", word(), word()));
    push("key=k&format=csv", &format!("k,v\n{},{},{}\n", word(), word(), word()));
    push("key=k&format=csv", &format!("k,v\n\"{},{}\n", word(), word()));
    push("key=k&format=csv&types=v:number", &format!("k,v\na,{}\n", word()));
    push("key=k&format=redshift&columns=k,v", &format!("{}\n", word()));
    push("key=k&format=parquet", &format!("PAR1{}PAR1", word()));
    push(&format!("key={}&format=ndjson", word()), "{\"k\":1}\n");
    push(&format!("{NDJSON}&types={}:number", word()), "{\"k\":1}\n");
    // Refused by a gate.
    server.configure(D, &json!({ "gates": { "required_keys": ["b"], "min_records": 2 } }));
    push(NDJSON, &format!("{{\"k\":\"{}\",\"v\":\"{}\"}}\n", word(), word()));
    refused
}

/// That the words were there to be found: the data holds them.
#[track_caller]
fn assert_is_in_the_data(data: &Path, secrets: &Secrets) {
    let (_, key) = secrets.0.iter().find(|(used_as, _)| *used_as == "a key").unwrap();
    let mut tables = Vec::new();
    for version in fs::read_dir(data.join("datasets").join(D)).unwrap() {
        tables.push(version.unwrap().path().join("000001.sst"));
    }
    let holds = |table: &std::path::PathBuf| {
        let bytes = fs::read(table).unwrap_or_default();
        bytes.windows(key.len()).any(|window| window == key.as_bytes())
    };
    assert!(tables.iter().any(holds), "the key is in no table of {tables:?}");
}
