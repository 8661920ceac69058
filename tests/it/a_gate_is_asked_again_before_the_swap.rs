//! Gates compare a version with the current one. If another is current by the time it is to
//! serve, or the settings were changed, they are asked again, whichever way it is to be activated;
//! a refusal says the same as that of a push, and changes nothing.

use serde_json::{Value, json};

use crate::data::rows;
use crate::harness::Server;
use crate::http::Reply;

const D: &str = "recs";

/// A push that becomes ready, and is not activated.
fn parked(server: &Server, version: u64, records: usize) {
    let query = "key=k&format=ndjson&activate=false";
    let pushed =
        server.push_with(D, query, rows(D, version, records).as_bytes()).expect(201).json();
    assert_eq!((&pushed["version"], &pushed["state"]), (&json!(version), &json!("ready")));
}

#[track_caller]
fn assert_refused(problem: &Value, version: u64) {
    assert_eq!(problem["version"], version, "{problem}");
    let gates = problem["gates"].as_array().unwrap_or_else(|| panic!("no gates: {problem}"));
    let refused: Vec<_> = gates.iter().filter(|gate| gate["passed"] == false).collect();
    let names: Vec<_> = refused.iter().map(|gate| gate["gate"].as_str().unwrap()).collect();
    // Fewer records are also fewer keys: what is compared is compared with the current one.
    assert_eq!(names, ["max_shrink_percent", "max_keys_removed_percent"], "{problem}");
    assert!(refused[0]["limit"].is_number() && refused[0]["observed"].is_number(), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("max_shrink_percent"), "{problem}");
}

#[test]
fn an_activation_is_refused_like_a_push() {
    let server = Server::start();
    server.pushed(D, &rows(D, 1, 1_000));
    parked(&server, 2, 1_000);
    server.pushed(D, &rows(D, 3, 4_900));
    let activate = json!({ "version": 2, "expect_current": 3 });
    assert_refused(&server.operate(D, "activate", &activate).problem(422, "gate_refused"), 2);
    assert_eq!(server.dataset(D)["current"], 3);
    assert_eq!(server.dataset(&format!("{D}/versions/2"))["state"], "rejected");
}

#[test]
fn a_rollback_to_a_version_that_never_served_is_gated() {
    let server = Server::start();
    server.pushed(D, &rows(D, 1, 1_000));
    parked(&server, 2, 1_000);
    parked(&server, 3, 1_100);
    server.pushed(D, &rows(D, 4, 2_050));
    let back = |to: u64| server.operate(D, "rollback", &json!({ "to": to }));
    assert_refused(&back(2).problem(422, "gate_refused"), 2);
    let dataset = server.dataset(D);
    assert_eq!((&dataset["current"], &dataset["held"]), (&json!(4), &json!(false)), "{dataset}");
    assert_eq!(server.dataset(&format!("{D}/versions/4"))["state"], "active", "not bad");
    // One that passes is gone back to, and one that served need not pass again.
    assert_eq!(back(3).expect(200).json()["to"], 3);
    server.operate(D, "release", &json!({})).expect(200);
    let force = json!({ "version": 4, "force": true, "reason": "it was right" });
    server.operate(D, "activate", &force).expect(200);
    let small = json!({ "gates": { "max_shrink_percent": 10 } });
    server.configure(D, &small);
    assert_eq!(back(1).expect(200).json()["to"], 1);
}

#[test]
fn a_release_says_which_version_it_passed_over() {
    let server = Server::start();
    server.pushed(D, &rows(D, 1, 1_000));
    parked(&server, 2, 4_900);
    server.operate(D, "hold", &json!({})).expect(200);
    for (version, records) in [(3, 4_000), (4, 1_000)] {
        let held = server.push(D, &rows(D, version, records)).expect(202).json();
        assert_eq!((&held["version"], &held["state"]), (&json!(version), &json!("ready")));
    }
    server.operate(D, "activate", &json!({ "version": 2 })).expect(200);
    let released = server.operate(D, "release", &json!({})).expect(200).json();
    assert_eq!(released["activated"], json!({ "from": 2, "to": 3 }), "{released}");
    assert_eq!(released["passed_over"][0]["version"], 4, "{released}");
    let detail = released["detail"].as_str().unwrap();
    assert!(detail.contains("version 4") && detail.contains("max_shrink_percent"), "{released}");
    assert_eq!(server.dataset(&format!("{D}/versions/4"))["state"], "rejected");
}

#[test]
fn gates_that_were_tightened_since_the_push_are_asked() {
    let server = Server::start();
    server.pushed(D, &rows(D, 1, 4));
    parked(&server, 2, 4);
    parked(&server, 3, 4);
    server.operate(D, "hold", &json!({})).expect(200);
    server.push(D, &rows(D, 4, 4)).expect(202);
    // One that is asked of numbers, and one that is asked of files.
    server.configure(D, &json!({ "gates": { "min_records": 5, "required_keys": ["nobody"] } }));
    let assert_refused = |reply: Reply, version: u64| {
        let problem = reply.problem(422, "gate_refused");
        assert_eq!(problem["version"], version, "{problem}");
        let gates = problem["gates"].as_array().unwrap().iter();
        let refused = gates.filter(|gate| gate["passed"] == false).map(|gate| &gate["gate"]);
        assert_eq!(refused.collect::<Vec<_>>(), ["min_records", "required_keys"], "{problem}");
        let state = &server.dataset(&format!("{D}/versions/{version}"))["state"];
        assert_eq!(state, "rejected");
    };
    assert_refused(server.operate(D, "activate", &json!({ "version": 2 })), 2);
    assert_refused(server.operate(D, "rollback", &json!({ "to": 3 })), 3);
    // Force overrides them, and what has served has passed them.
    let force = json!({ "version": 2, "force": true, "reason": "four are enough" });
    server.operate(D, "activate", &force).expect(200);
    server.operate(D, "activate", &json!({ "version": 1 })).expect(200);
    let released = server.operate(D, "release", &json!({})).expect(200).json();
    assert_eq!(released["activated"], json!(null), "{released}");
    assert_eq!(released["passed_over"][0]["version"], 4, "{released}");
    assert_eq!(server.dataset(D)["current"], 1);

    // What passes them serves, and what does not may still be gone back to.
    server.configure(D, &json!({ "gates": { "required_keys": null } }));
    parked(&server, 5, 6);
    server.configure(D, &json!({ "retain": 4, "gates": { "min_records": 6 } }));
    server.operate(D, "activate", &json!({ "version": 5 })).expect(200);
    assert_eq!(server.operate(D, "rollback", &json!({})).expect(200).json()["to"], 1);
}

#[test]
fn a_version_without_a_required_key_is_refused() {
    let server = Server::start();
    server.configure(D, &json!({ "gates": { "required_keys": ["k1", "k2", "é"] } }));
    let row = |key: &str| format!("{{\"k\":\"{key}\"}}\n");
    let problem = server.push(D, &row("k2")).problem(422, "gate_refused");
    let gates = problem["gates"].as_array().unwrap();
    let gate = gates.iter().find(|gate| gate["gate"] == "required_keys").unwrap();
    assert_eq!((&gate["limit"], &gate["observed"]), (&json!(3.0), &json!(1.0)));
    assert_eq!(gate["detail"], "1 of 3 required keys are there; missing: \"k1\", \"é\"");
    server.pushed(D, &[row("k1"), row("é"), row("k2")].concat());
    server.configure(D, &json!({ "gates": { "required_keys": null } }));
    server.pushed(D, &row("k2"));
    let empty = json!({ "gates": { "required_keys": [""] } }).to_string();
    let path = format!("/v1/datasets/{D}");
    let json = [("content-type", "application/json")];
    server.send("PUT", &path, &json, empty.as_bytes()).problem(400, "invalid_setting");
}
