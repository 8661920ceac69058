//! The right to be forgotten, from outside: an erased key is given by no read of any version,
//! whatever is pushed, rolled back or restarted, until that is lifted; its bytes leave the disk;
//! nothing that the server writes names it.

use std::path::Path;

use serde_json::{Value, json};

use crate::a_full_disk_fails_the_push_alone::{NO_NAMESPACE, ON_A_SMALL_DISK, namespace};
use crate::harness::{Server, eventually, tidetable};
use crate::http::Reply;
use crate::skip::skip;

const D: &str = "recs";
/// Unlike anything else, so that it is found wherever it stands.
const GONE: &str = "learner-canary-4711";
const SECRET: &str = "secret-of-4711";

/// Rows of twenty learners and the one who will be forgotten.
fn rows(version: u64) -> String {
    let row = |key: &str, value: &str| format!("{{\"k\":\"{key}\",\"v\":\"{value}-{version}\"}}\n");
    let others: String = (0..20).map(|n| row(&format!("learner-{n:02}"), "x")).collect();
    others + &row(GONE, SECRET)
}

fn three_versions() -> Server {
    let server = Server::start();
    (1..=3).for_each(|version| assert_eq!(server.pushed(D, &rows(version)), version));
    server
}

fn body(datasets: &Value) -> Value {
    json!({ "keys": [GONE], "datasets": datasets, "reason": "request 1177" })
}

#[track_caller]
fn erase(server: &Server) -> Value {
    server.post("/v1/erase", &body(&json!([D]))).expect(200).json()
}

#[track_caller]
fn is_gone(reply: Reply) {
    reply.problem(410, "erased");
}

/// No read gives it.
#[track_caller]
fn assert_erased(server: &Server, versions: &[u64]) {
    is_gone(server.get(D, GONE));
    let path = format!("/v1/datasets/{D}");
    for version in versions {
        is_gone(server.get_path(&format!("{path}/keys/{GONE}?version={version}")));
        let request = json!({ "keys": ["learner-00", GONE], "version": version });
        let batch = server.post(&format!("{path}/batch-get"), &request).expect(200).json();
        let found = |n: usize| batch["results"][n]["found"].clone();
        assert_eq!((found(0), found(1)), (json!(true), json!(false)), "version {version}");
        let scanned = scan(server, &format!("version={version}&limit=7"));
        assert!(scanned.len() == 20 && !scanned.contains(&GONE.to_owned()), "{scanned:?}");
        let profile = server.get_path(&format!("{path}/versions/{version}/profile")).expect(200);
        assert!(!tells(&profile.text()), "{profile}");
    }
    let several = json!({ "requests": [{ "dataset": D, "keys": [GONE] }] });
    let several = server.post("/v1/batch-get", &several).expect(200).json();
    assert_eq!(several["answers"][0]["results"][0]["found"], false);
    let hex: String = GONE.bytes().map(|byte| format!("{byte:02x}")).collect();
    is_gone(server.get_path(&format!("{path}/keys/{hex}?key_encoding=hex&fields=v")));
    is_gone(server.get_path(&format!("{path}/keys/{GONE}/history")));
    if let [.., from, to] = versions {
        let diff =
            server.get_path(&format!("{path}/diff?from={from}&to={to}&samples=100")).expect(200);
        assert!(!tells(&diff.text()), "{diff}");
    }
}

/// Whether that names the key or has its value. Not by the digits alone: a time or a port may have them.
fn tells(text: &str) -> bool {
    text.contains(GONE) || text.contains(SECRET)
}

/// All keys, page by page.
fn scan(server: &Server, query: &str) -> Vec<String> {
    let (mut keys, mut cursor) = (Vec::new(), String::new());
    loop {
        let page =
            server.get_path(&format!("/v1/datasets/{D}/scan?{query}{cursor}")).expect(200).json();
        let records = page["records"].as_array().unwrap();
        keys.extend(records.iter().map(|record| record["key"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return keys,
        }
    }
}

fn is_on_disk(dir: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(dir).unwrap().map(Result::unwrap).any(|entry| {
        if entry.file_type().unwrap().is_dir() {
            return is_on_disk(&entry.path(), bytes);
        }
        let read = std::fs::read(entry.path()).unwrap_or_default();
        read.windows(bytes.len()).any(|window| window == bytes)
    })
}

#[test]
fn whatever_is_asked_and_whatever_happens_until_it_is_lifted() {
    let mut server = three_versions();
    let tag = server.get(D, GONE).expect(200).header("etag").unwrap().to_owned();
    let answer = erase(&server);
    assert_eq!((&answer["erased"], &answer["already"]), (&json!(1), &json!(0)));
    let holders: Vec<&Value> =
        answer["held_by"].as_array().unwrap().iter().map(|held| &held["version"]).collect();
    assert_eq!(holders, [&json!(1), &json!(2), &json!(3)]);
    assert_erased(&server, &[1, 2, 3]);
    let path = format!("/v1/datasets/{D}/keys/{GONE}");
    is_gone(server.send("GET", &path, &[("if-none-match", &tag)], b""));
    assert_eq!(server.send("HEAD", &path, &[], b"").status, 410);
    let again = erase(&server);
    assert_eq!(
        (&again["erased"], &again["already"], &again["seq"]),
        (&json!(0), &json!(1), &Value::Null)
    );

    server.restart();
    assert_erased(&server, &[1, 2, 3]);
    server.operate(D, "rollback", &json!({ "hold": false })).expect(200);
    assert_erased(&server, &[1, 2, 3]);
    // The job knows nothing of it and sends the row again.
    let pushed = server.push(D, &rows(4)).expect(201).json();
    assert_eq!((&pushed["records"], &pushed["current"]), (&json!(20), &json!(true)));
    let metrics = server.get_path("/metrics").expect(200).text();
    assert!(metrics.contains("tidetable_erased_rows_total{dataset=\"recs\"} 1"), "{metrics}");
    // A canary, for everybody.
    let versions = server.dataset(&format!("{D}/versions"));
    assert_eq!(versions["versions"][0]["version"], 4);
    server.operate(D, "activate", &json!({ "version": 2 })).expect(200);
    let canary = json!({ "version": 4, "percent": 100 });
    let sent = [("content-type", "application/json")];
    server
        .send("PUT", &format!("/v1/datasets/{D}/canary"), &sent, canary.to_string().as_bytes())
        .expect(200);
    is_gone(server.get(D, GONE));
    server.send("DELETE", &format!("/v1/datasets/{D}/canary"), &[], b"").expect(200);
    server.restart();
    assert_erased(&server, &[2, 4]);

    let listed = server.get_path("/v1/erase").expect(200);
    assert!(!listed.text().contains(GONE), "{listed}");
    let erasure = &listed.json()["erasures"][0];
    assert_eq!((&erasure["dataset"], &erasure["keys"]), (&json!(D), &json!(1)));
    assert_eq!((&erasure["reason"], &erasure["gone_at"]), (&json!("request 1177"), &Value::Null));
    assert!(server.events(D).contains(&"erased".to_owned()));

    let lifted = server.post("/v1/erase/lift", &body(&json!([D]))).expect(200).json();
    assert_eq!(lifted["lifted"], 1);
    assert_eq!(server.get(D, GONE).expect(200).version(), 2);
    server.get_path(&format!("{path}?version=4")).expect(404);
    let twice = server.post("/v1/erase/lift", &body(&json!([D]))).expect(409);
    assert_eq!(twice.json()["code"], "not_erased");
    server.pushed(D, &rows(5));
    server.get(D, GONE).expect(200);
    let said = server.said();
    assert!(!tells(&said), "the log names no key: {said}");
}

#[test]
fn its_bytes_leave_the_disk_and_the_version_stays() {
    let mut server = three_versions();
    erase(&server);
    assert!(is_on_disk(&server.data(), GONE.as_bytes()));
    let now = json!({ "keys": [], "datasets": [D], "reason": "request 1177", "now": true });
    let answer = server.post("/v1/erase", &now).expect(200).json();
    assert_eq!(answer["rewriting"].as_array().unwrap().len(), 3, "{answer}");
    eventually("every version is rewritten", || {
        let standing = server.get_path("/v1/erase").expect(200).json();
        assert_eq!(standing["failed"], json!([]));
        // The version goes on to be served, without a pause.
        assert_eq!(server.get(D, "learner-07").expect(200).version(), 3);
        standing["rewriting"] == json!([]) && standing["erasures"][0]["held_by"] == json!([])
    });
    let erasure = server.get_path("/v1/erase").expect(200).json()["erasures"][0].clone();
    assert!(erasure["gone_at"].is_string(), "{erasure}");
    for version in 1..=3 {
        let shown = server.dataset(&format!("{D}/versions/{version}"));
        assert_eq!(shown["records"], 20, "{shown}");
    }
    assert_eq!(server.events(D)[..3], ["version_rewritten"; 3]);
    assert_erased(&server, &[1, 2, 3]);
    eventually("the files before are gone", || {
        !is_on_disk(&server.data(), GONE.as_bytes())
            && !is_on_disk(&server.data(), SECRET.as_bytes())
    });
    let hex: String = GONE.bytes().map(|byte| format!("{byte:02x}")).collect();
    assert!(!is_on_disk(&server.data(), hex.as_bytes()));
    server.restart();
    assert_erased(&server, &[1, 2, 3]);
    let verify = tidetable(&["verify"]).arg(server.data()).output().unwrap();
    assert!(verify.status.success(), "{}", String::from_utf8_lossy(&verify.stdout));
    // It is not there to be given again.
    server.post("/v1/erase/lift", &body(&json!([D]))).expect(200);
    assert_eq!(server.get(D, GONE).expect(404).json()["code"], "key_not_found");
}

#[test]
fn everywhere_also_in_datasets_that_are_made_later() {
    let server = three_versions();
    server.post("/v1/erase", &body(&Value::Null)).expect(200);
    assert_erased(&server, &[1, 2, 3]);
    let pushed = server.push("later", &rows(1)).expect(201).json();
    assert_eq!(pushed["records"], 20);
    is_gone(server.get("later", GONE));
    let lift = server.post("/v1/erase/lift", &body(&json!([D]))).expect(409);
    assert!(lift.text().contains("in all datasets"), "{lift}");
    // A push of nothing else has nothing to build from, and says why.
    let alone = format!("{{\"k\":\"{GONE}\",\"v\":1}}\n");
    let refused = server.push("later", &alone).expect(422);
    assert_eq!(refused.json()["code"], "no_rows");
    assert!(refused.text().contains("erased"), "{refused}");
}

#[test]
fn what_cannot_be_meant_is_refused_and_changes_nothing() {
    let server = three_versions();
    let whole = body(&json!([D]));
    let with = |name: &str, value: Value| {
        let mut changed = whole.clone();
        changed[name] = value;
        changed
    };
    let lacks = |name: &str| {
        let mut changed = whole.clone();
        changed.as_object_mut().unwrap().remove(name);
        changed
    };
    let many: Vec<String> = (0..1001).map(|n| n.to_string()).collect();
    for (body, status, code) in [
        (lacks("datasets"), 400, "malformed_body"),
        (lacks("reason"), 400, "malformed_body"),
        (lacks("keys"), 400, "malformed_body"),
        (with("reason", json!(" ")), 400, "malformed_body"),
        (with("reason", json!(format!("forget {GONE}."))), 400, "malformed_body"),
        (with("keys", json!([])), 400, "malformed_body"),
        (with("keys", json!([""])), 400, "invalid_key"),
        (with("keys", json!(many)), 400, "too_many_keys"),
        (with("key_encoding", json!("hex")), 400, "invalid_key"),
        (with("datasets", json!([])), 400, "malformed_body"),
        (with("datasets", json!(["../x"])), 400, "invalid_name"),
        (with("datasets", json!([D, "nobody"])), 404, "dataset_not_found"),
        (with("wat", json!(1)), 400, "unknown_field"),
    ] {
        let reply = server.post("/v1/erase", &body).expect(status);
        assert_eq!(reply.json()["code"], code, "{body}");
    }
    let reply = server.post("/v1/erase/lift", &with("now", json!(true))).expect(400);
    assert_eq!(reply.json()["code"], "malformed_body");
    assert_eq!(server.get_path("/v1/erase").expect(200).json()["erasures"], json!([]));
    server.get(D, GONE).expect(200);
}

#[test]
fn the_command_line_erases_lists_and_lifts() {
    let server = three_versions();
    let run = |arguments: &[&str]| {
        let address = format!("http://{}", server.address());
        let output = tidetable(&[&["--server", &address], arguments].concat()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout) + &text(output.stderr))
    };
    let (code, text) = run(&["erase", D, GONE, "--reason", "request 1177"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.starts_with("recs: 1 key erased\n") && text.contains("recs 3"), "{text}");
    let (code, text) = run(&["get", D, GONE]);
    assert!(code == 4 && text.contains("erased"), "{text}");
    let (code, text) = run(&["erase", "--list"]);
    assert!(code == 0 && text.contains("may be held by recs 1, recs 2, recs 3"), "{text}");
    let (code, text) = run(&["erase", D, "--now", "--reason", "request 1177"]);
    assert!(code == 0 && text.contains("3 versions were rewritten"), "{text}");
    let (_, text) = run(&["erase", "--list"]);
    assert!(text.contains("gone from the disk since"), "{text}");
    let (code, text) = run(&["erase", D, GONE, "--lift", "--reason", "a mistake"]);
    assert!(code == 0 && text.contains("1 key may be given again"), "{text}");
    assert_eq!(run(&["erase", D, GONE, "--lift", "--reason", "a mistake"]).0, 5);
    assert_eq!(run(&["erase", "nobody", GONE, "--reason", "x"]).0, 4);
    assert_eq!(run(&["erase", D, GONE]).0, 2);
    // Keys that stand on no command line.
    let file = server.beside("keys");
    std::fs::write(&file, "learner-01\nlearner-02\n").unwrap();
    let file = file.display().to_string();
    let (code, text) = run(&["erase", "--all-datasets", "--keys-from", &file, "--reason", "x"]);
    assert!(code == 0 && text.starts_with("all datasets: 2 keys erased"), "{text}");
    is_gone(server.get(D, "learner-02"));
}

#[test]
fn a_disk_without_room_refuses_the_rewriting_and_not_the_erasure() {
    let Some(namespace) = namespace() else {
        let test = "a_disk_without_room_refuses_the_rewriting_and_not_the_erasure";
        return skip(test, NO_NAMESPACE);
    };
    let server = Server::start_on_mount(&namespace, ON_A_SMALL_DISK);
    server.pushed(D, &rows(1));
    // Of 128 MiB less than the reserve of 64 is left. The mount is seen through its process.
    let mount = server.data();
    let filler = format!("/proc/{}/root{}", server.pid().as_raw_nonzero(), mount.display());
    let filler = Path::new(&filler).parent().unwrap().join("filler");
    std::fs::write(&filler, vec![1; 70 << 20]).unwrap();
    let now = json!({ "keys": [GONE], "datasets": [D], "reason": "request 1177", "now": true });
    let standing = || server.get_path("/v1/erase").expect(200).json();
    for _ in 0..2 {
        server.post("/v1/erase", &now).expect(200);
        is_gone(server.get(D, GONE));
        eventually("the rewriting is refused", || standing()["failed"] != json!([]));
        let refused = &standing()["failed"][0];
        assert_eq!((&refused["version"], &refused["code"]), (&json!(1), &json!("disk_full")));
        assert_eq!(standing()["erasures"][0]["held_by"][0]["version"], 1);
    }
    std::fs::remove_file(&filler).unwrap();
    server.post("/v1/erase", &now).expect(200);
    eventually("it is rewritten", || standing()["erasures"][0]["held_by"] == json!([]));
    assert_eq!(standing()["failed"], json!([]));
    is_gone(server.get(D, GONE));
}
