//! The audit tells who changed what, what was refused and what was denied, also after a kill;
//! and whoever changes or takes away a line of it is found out.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::{Server, tidetable};
use crate::http::Reply;

const D: &str = "recs";
const ROWS: &str = "{\"k\":\"a\",\"v\":1}\n";

/// The lines of an answer.
fn lines(reply: &Reply) -> Vec<Value> {
    assert_eq!(reply.header("content-type"), Some("application/x-ndjson"), "{reply}");
    reply.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn audit(server: &Server, query: &str) -> Vec<Value> {
    lines(&server.get_path(&format!("/v1/audit?{query}")).expect(200))
}

/// A server on which something of each kind has happened.
fn busy() -> Server {
    let server = Server::start();
    server.pushed(D, ROWS);
    server.pushed(D, &ROWS.replace('1', "2"));
    server.operate(D, "rollback", &json!({ "reason": "wrong\nscores \u{1b}[2J" })).expect(200);
    server.operate(D, "rollback", &json!({})).problem(409, "nothing_to_roll_back_to");
    server.push(D, "nonsense\n").problem(422, "bad_rows");
    let hostile = [
        ("sec-fetch-site", "cross-site"),
        ("user-agent", "a\u{9b}2J \u{202e}b"),
        ("content-type", "application/json"),
    ];
    server
        .send("POST", &format!("/v1/datasets/{D}/hold"), &hostile, b"{}")
        .problem(403, "cross_site_request");
    server
}

#[test]
fn every_change_every_refusal_and_every_denial_is_there() {
    let mut server = busy();
    server.get_path("/v1/datasets/recs/keys/nothing").problem(404, "key_not_found");
    let all = audit(&server, "limit=1000");
    let of = |kind: &str| all.iter().filter(|line| line["kind"] == kind).collect::<Vec<_>>();
    let actions: Vec<&str> = of("change").iter().map(|l| l["action"].as_str().unwrap()).collect();
    assert_eq!(
        actions,
        [
            "failed",
            "sealed",
            "admitted",
            "rolled_back",
            "activated",
            "published",
            "sealed",
            "admitted",
            "activated",
            "published",
            "sealed",
            "admitted",
            "created"
        ]
    );
    let numbers: Vec<u64> = of("change").iter().map(|l| l["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=13).rev().collect::<Vec<_>>());
    let rolled_back = of("change")[3];
    assert_eq!(rolled_back["reason"], "wrong\nscores \u{1b}[2J");
    assert_eq!((&rolled_back["from"], &rolled_back["to"]), (&json!(2), &json!(1)));
    assert_eq!(of("change")[0]["outcome"], "bad_rows");
    let refusals = of("refusal");
    let codes: Vec<&str> = refusals.iter().map(|l| l["outcome"].as_str().unwrap()).collect();
    assert_eq!(codes, ["bad_rows", "nothing_to_roll_back_to"]);
    assert_eq!(refusals[1]["action"], "POST /v1/datasets/{dataset}/rollback");
    assert_eq!((&refusals[1]["dataset"], &refusals[1]["status"]), (&json!(D), &json!(409)));
    let denials = of("denial");
    assert_eq!(denials.len(), 1, "an absent key is no denial: {denials:?}");
    assert_eq!(
        (&denials[0]["outcome"], &denials[0]["address"]),
        (&json!("cross_site_request"), &json!("127.0.0.1"))
    );
    for line in &all {
        assert!(line["chain"].as_str().is_some_and(|chain| chain.len() == 64), "{line}");
    }

    // The same after a kill, and then it goes on.
    server.restart();
    let after: Vec<Value> = audit(&server, "limit=1000");
    let kept: Vec<&Value> = after.iter().filter(|line| all.contains(line)).collect();
    assert_eq!(kept.len(), all.len(), "before {all:?} after {after:?}");
    assert_eq!((&after[0]["kind"], &after[0]["action"]), (&json!("note"), &json!("started")));
}

#[test]
fn what_comes_from_outside_breaks_no_line_and_no_terminal() {
    let server = busy();
    let reply = server.get_path("/v1/audit").expect(200);
    let is_plain =
        |c: char| c == '\n' || !(c.is_control() || ('\u{200e}'..='\u{202e}').contains(&c));
    assert!(reply.text().chars().all(is_plain), "{reply}");
    let log = fs::read_dir(server.data().join("audit")).unwrap().next().unwrap().unwrap();
    let log = fs::read_to_string(log.path()).unwrap();
    assert!(log.chars().all(is_plain) && log.contains("\\u202e"), "{log:?}");
    let address = format!("http://{}", server.address());
    let output = tidetable(&["audit", "--server", &address]).output().unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.chars().all(is_plain), "{table:?}");
    for part in ["rolled back", "wrong\\nscores \\u{1b}[2J", "403 cross_site_request", "2 → 1"] {
        assert!(table.contains(part), "{part:?} in {table}");
    }
    let output =
        tidetable(&["audit", D, "--json", "--kind", "change", "--server", &address]).output();
    let json = String::from_utf8(output.unwrap().stdout).unwrap();
    assert_eq!(json.lines().count(), 13, "{json}");
}

#[test]
fn lines_are_chosen_and_paged() {
    let server = busy();
    let all = audit(&server, "limit=1000");
    let mut paged = Vec::new();
    let mut path = "/v1/audit?limit=3".to_owned();
    loop {
        let reply = server.get_path(&path).expect(200);
        paged.extend(lines(&reply));
        // What happens meanwhile changes no page that follows.
        server.operate(D, "hold", &json!({})).expect(200);
        let Some(next) = reply.header("tidetable-next-cursor") else { break };
        path = format!("/v1/audit?limit=3&cursor={next}");
    }
    assert_eq!(paged, all);
    for (query, is) in [
        ("kind=refusal", json!("refusal")),
        ("kind=denial&dataset=recs", json!("denial")),
        ("kind=change&actor=anonymous", json!("change")),
    ] {
        let found = audit(&server, query);
        assert!(!found.is_empty() && found.iter().all(|line| line["kind"] == is), "{query}");
    }
    assert_eq!(audit(&server, "dataset=other"), [json!(null); 0]);
    assert_eq!(audit(&server, "since=2999-01-01T00:00:00Z"), [json!(null); 0]);
    assert_eq!(audit(&server, "until=2000-01-01T00:00:00Z"), [json!(null); 0]);
    server.get_path("/v1/audit?since=yesterday").problem(400, "invalid_parameter");
    server.get_path("/v1/audit?sicne=x").problem(400, "unknown_parameter");
}

#[test]
fn who_changes_or_takes_away_a_line_is_found_out() {
    let mut server = busy();
    let reply = server.get_path("/v1/audit").expect(200);
    let noted = reply.header("tidetable-audit-head").unwrap().to_owned();
    server.terminate();
    server.wait();
    let data = server.data();
    assert_eq!(verified(&data, &[]), Ok(()));
    assert_eq!(verified(&data, &["--head", &noted]), Ok(()));

    let log = log_of(&data);
    let sound = fs::read_to_string(&log).unwrap();
    let rows: Vec<&str> = sound.split_inclusive('\n').collect();
    let changed = sound.replace("nothing_to_roll_back_to", "nothing_to_roll_back_t0");
    let taken = [&rows[..1], &rows[2..]].concat().concat();
    for forged in [changed, taken] {
        fs::write(&log, forged).unwrap();
        let findings = verified(&data, &[]).unwrap_err();
        assert!(findings.contains("log-") && findings.contains("changed"), "{findings}");
    }
    // Cut off at the end, which shows against what was noted elsewhere alone.
    fs::write(&log, rows[0]).unwrap();
    assert_eq!(verified(&data, &[]), Ok(()));
    let findings = verified(&data, &["--head", &noted]).unwrap_err();
    assert!(findings.contains("lines were taken away"), "{findings}");
    fs::write(&log, &sound).unwrap();

    // The last change is cut off the journal, cleanly: the log has noted it.
    let journal = data.join("journal");
    let whole = fs::read(&journal).unwrap();
    let seq = 13_u64.to_le_bytes();
    let last = whole.windows(8).rposition(|bytes| bytes == seq).unwrap() - 4;
    fs::write(&journal, &whole[..last]).unwrap();
    let findings = verified(&data, &[]).unwrap_err();
    assert!(findings.contains("change 13") && findings.contains("taken away"), "{findings}");
    fs::write(&journal, &whole).unwrap();
    assert_eq!(verified(&data, &["--head", &noted]), Ok(()));
}

/// What `tidetable audit --verify` says is wrong.
fn verified(data: &Path, more: &[&str]) -> Result<(), String> {
    let mut command = tidetable(&["audit", "--verify", "--data"]);
    let output = command.arg(data).args(more).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    match output.status.code() {
        Some(0) => {
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(text.contains("head: changes="), "{text}");
            Ok(())
        }
        Some(1) => Err(said),
        other => panic!("{other:?}: {said}"),
    }
}

fn log_of(data: &Path) -> PathBuf {
    let files = fs::read_dir(data.join("audit")).unwrap();
    let mut files: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}
