//! A version is built where its rows are, taken away and pushed elsewhere, whole: it gives the same
//! answers everywhere, and whatever is not a snapshot to its last byte leaves nothing behind.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::data::{assert_batch, key, rows, rows_in_order};
use crate::harness::{Server, eventually, scratch, tidetable};
use crate::http::Reply;

const D: &str = "recs";

/// Runs a command: its exit code, and all that it says.
fn run(server: Option<&Server>, arguments: &[&str]) -> (i32, String) {
    let address = server.map(|server| format!("http://{}", server.address()));
    let asked = address.as_ref().map(|address| vec!["--server", address.as_str()]);
    let all = [asked.unwrap_or_default(), arguments.to_vec()].concat();
    let output = tidetable(&all).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout) + &text(output.stderr))
}

#[track_caller]
fn done(server: Option<&Server>, arguments: &[&str]) -> String {
    let (code, text) = run(server, arguments);
    assert_eq!(code, 0, "{arguments:?}: {text}");
    text
}

#[track_caller]
fn ends(server: Option<&Server>, arguments: &[&str], with: i32, saying: &str) {
    let (code, text) = run(server, arguments);
    assert!(code == with && text.contains(saying), "{arguments:?}: {code}, {text}");
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A snapshot of `rows(D, 1, 500)`, built without a server.
fn built(dir: &Path) -> PathBuf {
    let (source, out) = (dir.join("rows.ndjson"), dir.join("built"));
    fs::write(&source, rows(D, 1, 500)).unwrap();
    done(None, &["build", D, text(&source), "--key", "k", "--out", text(&out)]);
    out
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A push of a snapshot that takes parts.
fn open(server: &Server) -> u64 {
    let body = json!({ "format": "snapshot", "label": "night" });
    let opened = server.post(&format!("/v1/datasets/{D}/versions"), &body).expect(201).json();
    assert_eq!(
        (&opened["state"], &opened["source"]),
        (&json!("receiving"), &json!({"format": "snapshot"}))
    );
    opened["version"].as_u64().unwrap()
}

fn put(server: &Server, version: u64, part: &str, body: &[u8]) -> Reply {
    server.send("PUT", &format!("/v1/datasets/{D}/versions/{version}/parts/{part}"), &[], body)
}

fn commit(server: &Server, version: u64) -> Value {
    let path = format!("/v1/datasets/{D}/versions/{version}/commit");
    server.post(&path, &json!({})).expect(202);
    server.settled(D, version)
}

#[test]
fn what_is_built_apart_is_what_a_push_builds_and_is_served_alike() {
    let home = scratch();
    let server = Server::start();
    let pushed = server.push(D, &rows(D, 1, 500)).expect(201).json();
    let dir = built(home.path());
    assert_eq!(names(&dir), ["000001.sst", "dictionary", "manifest.json"]);
    assert_eq!(names(home.path()), ["built", "rows.ndjson"], "nothing is left beside it");
    let manifest: Value =
        serde_json::from_str(&fs::read_to_string(dir.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["content_digest"], pushed["content_digest"]);
    done(None, &["verify", text(&dir)]);
    let source = home.path().join("rows.ndjson");
    let again = ["build", D, text(&source), "--key", "k", "--out", text(&dir)];
    ends(None, &again, 2, "something in it");

    let said = done(
        Some(&server),
        &["push", D, text(&dir), "--label", "apart", "--as-of", "2026-11-26T00:00:00Z"],
    );
    assert!(said.contains("recs 2 is current (was 1): 500 records"), "{said}");
    let version = server.dataset(&format!("{D}/versions/2"));
    assert_eq!(version["content_digest"], pushed["content_digest"]);
    assert_eq!(
        (&version["label"], &version["as_of"]),
        (&json!("apart"), &json!("2026-11-26T00:00:00Z"))
    );
    let wanted: Vec<usize> = (0..500).collect();
    let keys: Vec<String> = wanted.iter().map(|&i| key(i)).collect();
    let batch = server.batch(D, &keys).expect(200).json();
    let mut as_pushed = batch.clone();
    as_pushed["version"] = json!(1);
    assert_batch(&as_pushed, D, 1, &wanted);
    assert_eq!(batch["version"], 2);
    // Its profile is what it would be.
    let profile = |version: u64| {
        let mut shown = server.dataset(&format!("{D}/versions/{version}/profile"));
        shown["version"].take();
        shown
    };
    assert_eq!(profile(2), profile(1));
    let parts = server.dataset(&format!("{D}/versions/2/parts"));
    assert_eq!(parts["parts"].as_array().unwrap().len(), 3, "{parts}");
    // A start finds it as it was.
    let mut server = server;
    server.restart();
    assert_eq!(server.get(D, &key(77)).expect(200).version(), 2);
}

#[test]
fn a_version_is_taken_away_and_pushed_elsewhere() {
    let home = scratch();
    let (here, there) = (Server::start(), Server::start());
    here.pushed(D, &rows(D, 1, 300));
    here.pushed(D, &rows(D, 2, 400));
    let out = home.path().join("out");
    let said = done(Some(&here), &["pull", D, "--out", text(&out)]);
    assert!(said.contains("holds recs 2: 400 records"), "{said}");
    ends(Some(&here), &["pull", D, "--out", text(&out)], 2, "something in it");
    done(None, &["verify", text(&out)]);
    done(Some(&there), &["push", "other", text(&out)]);
    let [a, b] = [(&here, format!("{D}/versions/2")), (&there, "other/versions/1".to_owned())]
        .map(|(server, path)| server.dataset(&path));
    assert_eq!(a["content_digest"], b["content_digest"]);
    for i in [0, 7, 399] {
        let [a, b] = [here.get(D, &key(i)), there.get("other", &key(i))].map(|r| r.expect(200));
        assert_eq!((a.header("etag"), &a.body), (b.header("etag"), &b.body));
    }
    let old = home.path().join("old");
    done(Some(&here), &["pull", D, "--version", "1", "--out", text(&old)]);
    ends(
        Some(&here),
        &["pull", D, "--version", "9", "--out", text(&home.path().join("x"))],
        4,
        "version",
    );
    ends(Some(&here), &["pull", "nobody", "--out", text(&home.path().join("x"))], 4, "nobody");
    assert_eq!(names(home.path()), ["old", "out"]);

    // One that broke off goes on: what is there whole is not asked for again.
    let tmp = home.path().join("more.tmp");
    let state = &here.dataset(&format!("{D}/versions/2/snapshot"));
    fs::create_dir_all(tmp.join("snapshot")).unwrap();
    let written = json!({ "dataset": D, "version": 2, "digest": state["digest"] });
    fs::write(tmp.join("state.json"), written.to_string()).unwrap();
    fs::copy(out.join("dictionary"), tmp.join("snapshot/dictionary")).unwrap();
    let table = fs::read(out.join("000001.sst")).unwrap();
    fs::write(tmp.join("snapshot/000001.sst"), &table[..table.len() / 2]).unwrap();
    let more = home.path().join("more");
    let said = done(Some(&here), &["pull", D, "--out", text(&more)]);
    assert!(said.contains("are there already"), "{said}");
    assert!(fs::read(more.join("000001.sst")).unwrap() == table && !tmp.exists());
    // What is there and is not what it should be is found, and fetched by the next attempt.
    let wrong = home.path().join("wrong.tmp/snapshot");
    fs::create_dir_all(&wrong).unwrap();
    fs::write(wrong.with_file_name("state.json"), written.to_string()).unwrap();
    fs::write(wrong.join("000001.sst"), vec![7; table.len() / 3]).unwrap();
    let place = home.path().join("wrong");
    let wrong = ["pull", D, "--out", text(&place)];
    ends(Some(&here), &wrong, 1, "run it again");
    assert!(!place.exists());
    done(Some(&here), &wrong);
    // What another version has left is of no use.
    let other = home.path().join("older.tmp/snapshot");
    fs::create_dir_all(&other).unwrap();
    fs::write(other.with_file_name("state.json"), written.to_string()).unwrap();
    fs::write(other.join("000001.sst"), &table).unwrap();
    let older = home.path().join("older");
    let older = ["pull", D, "--version", "1", "--out", text(&older)];
    // A file of somebody else is not removed with it.
    fs::write(other.join("mine.txt"), "x").unwrap();
    ends(Some(&here), &older, 2, "mine.txt");
    fs::remove_file(other.join("mine.txt")).unwrap();
    let said = done(Some(&here), &older);
    assert!(said.contains("what had arrived is of recs 2, and recs 1 is fetched"), "{said}");
    let read = |name: &str| fs::read(home.path().join(name).join("manifest.json")).unwrap();
    assert_eq!(read("older"), read("old"));
}

#[test]
fn a_file_is_given_whole_or_by_the_range() {
    let server = Server::start();
    let version = server.pushed(D, &rows(D, 1, 20_000));
    let path = format!("/v1/datasets/{D}/versions/{version}/snapshot");
    let listing = server.get_path(&path).expect(200).json();
    let files = listing["files"].as_array().unwrap();
    let of = |n: usize, field: &str| files[n][field].clone();
    assert_eq!((of(0, "name"), of(2, "name")), (json!("manifest.json"), json!("000001.sst")));
    assert_eq!(listing["digest"], of(0, "blake3"));
    assert_eq!(listing["records"], 20_000);
    let path = format!("{path}/000001.sst");
    let whole = server.get_path(&path).expect(200);
    let bytes = of(2, "bytes").as_u64().unwrap();
    assert_eq!(whole.body.len() as u64, bytes);
    assert_eq!(whole.version(), version);
    let tag = whole.header("etag").unwrap().to_owned();
    assert_eq!(tag, format!("\"{}\"", of(2, "blake3").as_str().unwrap()));
    let ask = |headers: &[(&str, &str)]| server.send("GET", &path, headers, b"");
    let wanted = |range: &str| ask(&[("range", range)]);
    for (range, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=4095-4096", 4095, 4097),
        ("bytes=5000-", 5000, bytes),
        ("bytes=-3", bytes - 3, bytes),
    ] {
        let part = wanted(range).expect(206);
        assert!(part.body == whole.body[from as usize..to as usize], "{range}");
        let said = format!("bytes {from}-{}/{bytes}", to - 1);
        assert_eq!(part.header("content-range"), Some(said.as_str()));
    }
    let beyond = wanted(&format!("bytes={bytes}-"));
    assert_eq!(beyond.header("content-range"), Some(format!("bytes */{bytes}").as_str()));
    beyond.problem(416, "range_not_satisfiable");
    assert_eq!(wanted("bytes=0-1,3-4").expect(200).body.len() as u64, bytes);
    let half = [("range", "bytes=10-19"), ("if-range", tag.as_str())];
    assert_eq!(ask(&half).expect(206).body, whole.body[10..20]);
    assert!(ask(&[half[0], ("if-range", "\"other\"")]).expect(200).body == whole.body);
    assert_eq!(ask(&[("if-none-match", &tag)]).status, 304);
    let head = server.send("HEAD", &path, &[], b"").expect(200);
    assert_eq!(head.header("content-length"), Some(bytes.to_string().as_str()));
    for (name, status, code) in [
        ("000099.sst", 404, "file_not_found"),
        ("db", 404, "file_not_found"),
        ("..%2F..%2Fjournal", 400, "invalid_name"),
        ("%2e%2e", 400, "invalid_name"),
    ] {
        let path = format!("/v1/datasets/{D}/versions/{version}/snapshot/{name}");
        server.get_path(&path).problem(status, code);
    }
    let of = |rest: &str| server.get_path(&format!("/v1/datasets/{rest}"));
    of(&format!("{D}/versions/9/snapshot")).problem(404, "version_not_found");
    of("nobody/versions/1/snapshot").problem(404, "dataset_not_found");
    let receiving = open(&server);
    of(&format!("{D}/versions/{receiving}/snapshot")).problem(409, "wrong_state");
}

#[test]
fn what_is_not_a_snapshot_to_its_last_byte_leaves_nothing_behind() {
    let home = scratch();
    let server = Server::start();
    server.pushed(D, &rows(D, 1, 10));
    let dir = built(home.path());
    let file = |name: &str| fs::read(dir.join(name)).unwrap();
    let (manifest, dictionary, table) =
        (file("manifest.json"), file("dictionary"), file("000001.sst"));
    let lying = |from: &str, to: &str| {
        let text = String::from_utf8(manifest.clone()).unwrap();
        assert!(text.contains(from), "{from}: {text}");
        text.replacen(from, to, 1).into_bytes()
    };
    let mut flipped = table.clone();
    flipped[table.len() / 2] ^= 1;
    type Files = Vec<(&'static str, Vec<u8>)>;
    let cases: Vec<(&str, Files, &str)> = vec![
        ("no manifest", vec![("000001.sst", table.clone())], "manifest.json did not arrive"),
        (
            "no table",
            vec![("manifest.json", manifest.clone()), ("dictionary", dictionary.clone())],
            "000001.sst, which did not arrive",
        ),
        (
            "a table too many",
            vec![
                ("manifest.json", manifest.clone()),
                ("dictionary", dictionary.clone()),
                ("000001.sst", table.clone()),
                ("000002.sst", table.clone()),
            ],
            "does not list 000002.sst",
        ),
        (
            "a short table",
            vec![
                ("manifest.json", manifest.clone()),
                ("dictionary", dictionary.clone()),
                ("000001.sst", table[..table.len() - 1].to_vec()),
            ],
            "expected",
        ),
        (
            "a bit",
            vec![
                ("manifest.json", manifest.clone()),
                ("dictionary", dictionary.clone()),
                ("000001.sst", flipped),
            ],
            "crc32",
        ),
        (
            "another dictionary",
            vec![
                ("manifest.json", manifest.clone()),
                ("dictionary", vec![1; dictionary.len()]),
                ("000001.sst", table.clone()),
            ],
            "crc32",
        ),
        (
            "a path",
            vec![
                ("manifest.json", lying("\"000001.sst\"", "\"../001.sst\"")),
                ("dictionary", dictionary.clone()),
                ("000001.sst", table.clone()),
            ],
            "expected the name 000001.sst",
        ),
        (
            "another count",
            vec![
                ("manifest.json", lying("\"records\": 500", "\"records\": 501")),
                ("dictionary", dictionary.clone()),
                ("000001.sst", table.clone()),
            ],
            "501",
        ),
        (
            "nonsense",
            vec![("manifest.json", b"[[[[".to_vec()), ("000001.sst", table.clone())],
            "cannot be parsed",
        ),
        (
            "another format",
            vec![
                ("manifest.json", lying("\"format\": 2", "\"format\": 9")),
                ("dictionary", dictionary.clone()),
                ("000001.sst", table.clone()),
            ],
            "format 9",
        ),
    ];
    for (what, parts, says) in cases {
        let version = open(&server);
        for (name, bytes) in &parts {
            put(&server, version, name, bytes).expect(200);
        }
        let settled = commit(&server, version);
        assert_eq!(settled["state"], "failed", "{what}: {settled}");
        assert_eq!(settled["code"], "snapshot_refused", "{what}: {settled}");
        let reason = settled["reason"].as_str().unwrap();
        assert!(reason.contains(says), "{what}: {reason}");
        let path = server.data();
        assert!(!reason.contains(text(&path)), "{what}: where files are is for the log: {reason}");
        assert_eq!(names(&server.data().join("staging")), Vec::<String>::new(), "{what}");
        assert_eq!(names(&server.data().join("datasets").join(D)), ["1"], "{what}");
        assert_eq!(server.get(D, &key(3)).expect(200).version(), 1);
    }
    let version = open(&server);
    for bad in ["db", "CURRENT", "000001.log", "1.sst", "OPTIONS-000007", "MANIFEST-000001"] {
        put(&server, version, bad, b"x").problem(400, "invalid_name");
    }
    let path = format!("/v1/datasets/{D}/versions/{version}/parts/000001.sst");
    let refused = server.send("PUT", &path, &[("content-encoding", "gzip")], b"\x1f\x8b\x08x");
    assert_eq!(refused.header("accept-encoding"), Some("identity"), "{refused}");
    refused.problem(415, "unsupported_encoding");
    assert_eq!(server.dataset(&format!("{D}/versions/{version}/parts"))["parts"], json!([]));
}

#[test]
fn row_options_and_one_request_are_refused_with_what_to_do() {
    let home = scratch();
    let server = Server::start();
    let begin = |body: Value| server.post(&format!("/v1/datasets/{D}/versions"), &body);
    for (name, value) in [("key", json!(["k"])), ("collect", json!(true)), ("limit", json!(3))] {
        let refused =
            begin(json!({ "format": "snapshot", name: value })).problem(400, "invalid_setting");
        assert!(refused["detail"].as_str().unwrap().starts_with(name), "{refused}");
    }
    begin(json!({ "format": "snapshot", "wat": 1 })).problem(400, "unknown_field");
    begin(json!({ "format": "snapshot", "as_of": "yesterday" })).problem(400, "invalid_setting");
    let refused = server.push_with(D, "format=snapshot", b"x").problem(400, "invalid_setting");
    assert!(
        refused["detail"].as_str().unwrap().contains("tidetable push DATASET DIR"),
        "{refused}"
    );
    server.get_path(&format!("/v1/datasets/{D}")).problem(404, "dataset_not_found");
    let dir = built(home.path());
    ends(Some(&server), &["push", D, text(&dir), "--key", "k"], 2, "--key");
    ends(Some(&server), &["push", D, text(&dir), "--dry-run"], 2, "--dry-run");
}

#[test]
fn gates_holds_and_idempotency_are_those_of_any_push() {
    let home = scratch();
    let server = Server::start();
    server.pushed("large", &rows(D, 1, 2000));
    let dir = built(home.path());
    ends(Some(&server), &["push", "large", text(&dir)], 3, "max_shrink_percent");
    assert_eq!(server.dataset("large")["current"], 1);

    server.pushed(D, &rows(D, 1, 500));
    let with_key = ["push", D, text(&dir), "--idempotency-key", "night-7"];
    server.operate(D, "hold", &json!({ "reason": "x" })).expect(200);
    let said = done(Some(&server), &with_key);
    assert!(said.contains("recs 2 is ready, but not current"), "{said}");
    let said = done(Some(&server), &with_key);
    assert!(said.contains("pushed before with this key"), "{said}");
    server.operate(D, "release", &json!({})).expect(200);
    assert_eq!(server.get(D, &key(3)).expect(200).version(), 2);
    let said = done(Some(&server), &["push", D, text(&dir), "--no-activate"]);
    assert!(said.contains("recs 3 is ready"), "{said}");
    // A push that broke off goes on with the files that are not there yet.
    let key = [("content-type", "application/json"), ("idempotency-key", "night-8")];
    let begun = json!({ "format": "snapshot" }).to_string();
    let path = format!("/v1/datasets/{D}/versions");
    let begun = server.send("POST", &path, &key, begun.as_bytes()).expect(201).json();
    let version = begun["version"].as_u64().unwrap();
    put(&server, version, "000001.sst", &fs::read(dir.join("000001.sst")).unwrap()).expect(200);
    put(&server, version, "dictionary", b"of another try").expect(200);
    let said = done(Some(&server), &["push", D, text(&dir), "--idempotency-key", "night-8"]);
    let skipped = |name: &str| said.contains(&format!("{name} is there already"));
    assert!(skipped("000001.sst") && !skipped("dictionary"), "{said}");
    assert_eq!(server.dataset(D)["current"], version);
}

#[test]
fn erased_keys_in_a_pushed_snapshot_are_hidden_and_rewritten_away() {
    let home = scratch();
    let mut server = Server::start();
    server.pushed(D, &rows(D, 1, 500));
    let (dir, gone) = (built(home.path()), key(123));
    let erase = json!({ "keys": [gone], "datasets": [D], "reason": "request 7" });
    // One more before it is erased: its parts are there already.
    let before = open(&server);
    for name in names(&dir) {
        put(&server, before, &name, &fs::read(dir.join(&name)).unwrap()).expect(200);
    }
    server.post("/v1/erase", &erase).expect(200);
    assert_eq!(commit(&server, before)["state"], "active");
    done(Some(&server), &["push", D, text(&dir)]);
    let held = |server: &Server| -> Vec<u64> {
        let erasure = server.get_path("/v1/erase").expect(200).json()["erasures"][0].clone();
        let held = erasure["held_by"].as_array().unwrap().clone();
        held.iter().map(|held| held["version"].as_u64().unwrap()).collect()
    };
    for _ in 0..2 {
        for version in 1..=3 {
            let path = format!("/v1/datasets/{D}/keys/{gone}?version={version}");
            server.get_path(&path).problem(410, "erased");
        }
        assert_eq!(held(&server), [1, 2, 3]);
        let refused = server.get_path(&format!("/v1/datasets/{D}/versions/3/snapshot"));
        let refused = refused.problem(409, "holds_erased_keys");
        assert!(refused["detail"].as_str().unwrap().contains("erase recs --now"), "{refused}");
        server
            .get_path(&format!("/v1/datasets/{D}/versions/3/snapshot/000001.sst"))
            .problem(409, "holds_erased_keys");
        server.restart();
    }
    ends(Some(&server), &["pull", D, "--out", text(&home.path().join("x"))], 5, "erased");
    let events = server.events(D);
    assert_eq!(events.iter().filter(|event| *event == "holds_erased").count(), 2, "{events:?}");
    let now = json!({ "keys": [], "datasets": [D], "reason": "request 7", "now": true });
    server.post("/v1/erase", &now).expect(200);
    eventually("all are rewritten", || held(&server).is_empty());
    let out = home.path().join("out");
    let said = done(Some(&server), &["pull", D, "--out", text(&out)]);
    assert!(said.contains("499 records"), "{said}");
    for name in names(&out) {
        let bytes = fs::read(out.join(&name)).unwrap();
        assert!(!bytes.windows(gone.len()).any(|w| w == gone.as_bytes()), "{name}");
    }
    // It holds none: nothing is said of it.
    done(Some(&server), &["push", D, text(&out)]);
    assert_eq!(held(&server), Vec::<u64>::new());
    done(Some(&server), &["pull", D, "--out", text(&home.path().join("again"))]);
}

#[test]
fn pieces_of_several_processes_are_one_snapshot() {
    let home = scratch();
    let at = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let whole = built(home.path());
    // In two files, and in no order.
    fs::write(at("a.ndjson"), rows_in_order(D, 1, (0..500).rev().filter(|i| i % 3 == 0))).unwrap();
    fs::write(at("b.ndjson"), rows_in_order(D, 1, (0..500).filter(|i| i % 3 != 0))).unwrap();
    let build = |rest: &[&str]| {
        let (a, b) = (at("a.ndjson"), at("b.ndjson"));
        run(None, &[&["build", D, &a, &b, "--key", "k"], rest].concat())
    };
    let (code, cuts) = build(&["--cuts", "3", "--json"]);
    let cuts: Value = serde_json::from_str(&cuts).unwrap();
    assert_eq!((code, cuts["cuts"].as_array().unwrap().len()), (0, 2), "{cuts}");
    let (code, cuts) = build(&["--cuts", "3"]);
    assert_eq!(code, 0, "{cuts}");
    let lines = cuts.lines().filter(|line| line.starts_with("learner:"));
    fs::write(at("cuts"), lines.collect::<Vec<_>>().join("\n")).unwrap();
    let file = format!("@{}", at("cuts"));
    for piece in 1..=3 {
        let (part, out) = (format!("{piece}/3"), at(&format!("p{piece}")));
        let (code, said) = build(&["--part", &part, "--split-at", &file, "--out", &out]);
        assert!(code == 0 && said.contains(&format!("piece {piece} of 3")), "{said}");
        ends(None, &["push", D, &out], 3, &format!("piece {piece} of 3"));
    }
    let (p1, p2, p3, out) = (at("p1"), at("p2"), at("p3"), at("merged"));
    ends(None, &["build", "--merge", &p1, &p3, "--out", &out], 3, "are missing: 2");
    ends(None, &["build", "--merge", &p1, &p2, &p2, "--out", &out], 3, "are both piece 2");
    assert!(!Path::new(&out).exists() && !home.path().join("merged.tmp").exists());
    let said = done(None, &["build", "--merge", &p3, &p1, &p2, "--out", &out, "--json"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&said["files_kept"], &said["files_copied"]), (&json!(3), &json!(0)), "{said}");
    let digest = |dir: &Path| -> Value {
        let text = fs::read_to_string(dir.join("manifest.json")).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["content_digest"].clone()
    };
    assert_eq!(digest(Path::new(&out)), digest(&whole));
    let server = Server::start();
    done(Some(&server), &["push", D, &out]);
    let wanted: Vec<usize> = (0..500).collect();
    let keys: Vec<String> = wanted.iter().map(|&i| key(i)).collect();
    assert_batch(&server.batch(D, &keys).expect(200).json(), D, 1, &wanted);

    // Sources of their own, cut by key: compressed alike only if they are told to be.
    fs::write(at("low.ndjson"), rows_in_order(D, 1, 0..200)).unwrap();
    fs::write(at("high.ndjson"), rows_in_order(D, 1, 200..500)).unwrap();
    fs::write(at("none.ndjson"), "").unwrap();
    let apart = |like: &[&str], tag: &str| {
        let mut dirs = Vec::new();
        for (n, source) in ["low.ndjson", "high.ndjson", "none.ndjson"].iter().enumerate() {
            let (part, dir, source) =
                (format!("{}/3", n + 1), at(&format!("{tag}{n}")), at(source));
            done(
                None,
                &[&["build", D, &source, "--key", "k", "--part", &part, "--out", &dir], like]
                    .concat(),
            );
            dirs.push(dir);
        }
        let out = at(&format!("{tag}-merged"));
        let dirs: Vec<&str> = dirs.iter().map(String::as_str).collect();
        let said =
            done(None, &[&["build", "--merge"][..], &dirs, &["--out", &out, "--json"]].concat());
        assert_eq!(digest(Path::new(&out)), digest(&whole), "{tag}");
        serde_json::from_str::<Value>(&said).unwrap()["files_kept"].as_u64().unwrap()
    };
    assert_eq!(apart(&["--like", text(&whole)], "alike"), 2);
    assert_eq!(apart(&[], "unlike"), 0);
}

#[test]
fn a_build_refuses_what_a_push_refuses_and_leaves_nothing() {
    let home = scratch();
    let at = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    fs::write(at("bad.ndjson"), "{\"k\":1}\n{\"x\":1}\n").unwrap();
    fs::write(at("twice.ndjson"), "{\"k\":1,\"v\":1}\n{\"k\":1,\"v\":2}\n").unwrap();
    fs::write(at("none.ndjson"), "").unwrap();
    fs::create_dir(at("empty")).unwrap();
    let build = |source: &str, rest: &[&str]| {
        let (source, out) = (at(source), at("out"));
        run(None, &[&["build", D, &source, "--key", "k", "--out", &out], rest].concat())
    };
    for (source, rest, code, says) in [
        ("bad.ndjson", &[][..], 3, "line 2"),
        ("twice.ndjson", &[], 3, "--collect"),
        ("none.ndjson", &[], 3, "no row"),
        ("nowhere.ndjson", &[], 4, "nowhere"),
        ("bad.ndjson", &["--order-by", "v"], 2, "--collect"),
        ("twice.ndjson", &["--part", "1/2", "--split-at", "b,c"], 2, "cut at 1 keys"),
        ("twice.ndjson", &["--like", "nowhere"], 4, "nowhere: no snapshot or piece is there"),
        // A machine on which the sources are not: no piece without records.
        ("empty", &["--part", "1/2", "--split-at", "b"], 3, "no files"),
    ] {
        let (found, text) = build(source, rest);
        assert!(found == code && text.contains(says), "{source} {rest:?}: {found}, {text}");
    }
    assert_eq!(names(home.path()), ["bad.ndjson", "empty", "none.ndjson", "twice.ndjson"]);
    let (code, text) = build("twice.ndjson", &["--collect", "--json"]);
    let built: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &built["records"]), (0, &json!(1)), "{text}");
}
