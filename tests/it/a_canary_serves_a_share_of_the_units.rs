//! A second version is tried on a share of the units: which ones any client can work out, one
//! learner sees one arm everywhere, every answer says its arm, nothing else moves meanwhile, and
//! it ends by being promoted, aborted or rolled back.

use serde_json::{Value, json};

use crate::data::{assert_batch, key, rows};
use crate::harness::{Server, eventually, tidetable};
use crate::http::Reply;

const D: &str = "recs";
const EXPERIMENT: &str = "recs-nov";

/// Units and their buckets, by Python's hashlib as docs/http-api.md writes it down.
const BUCKETS: [(&str, u64); 21] = [
    ("0", 6923),
    ("1", 5199),
    ("2", 8526),
    ("3", 5632),
    ("4", 8044),
    ("5", 5069),
    ("6", 8700),
    ("7", 2857),
    ("8", 4382),
    ("9", 137),
    ("10", 2821),
    ("11", 9690),
    ("learner:0000000", 6224),
    ("learner:0000001", 7575),
    ("learner:0000002", 2526),
    ("learner:0000003", 2255),
    ("learner:0000004", 6535),
    ("learner:0000005", 2060),
    ("müller", 1001),
    ("a b", 4185),
    ("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 1622),
];
/// The buckets of the keys 0, 1, 2… where the experiment is named like the dataset.
const OF_KEYS: [u64; 12] = [7009, 3808, 7320, 9812, 3528, 2626, 6997, 1922, 5263, 5290, 5725, 9469];
/// Two units of [`BUCKETS`] which a canary of half of them takes, and does not take.
const TAKEN: &str = "9";
const LEFT: &str = "0";

/// A server with version 1 of `recs` current, and version 2 ready.
fn with_two() -> Server {
    let server = Server::start();
    ready_beside(&server, D);
    server
}

fn ready_beside(server: &Server, dataset: &str) {
    server.pushed(dataset, &rows(dataset, 1, 20));
    let query = "key=k&format=ndjson&activate=false";
    server.push_with(dataset, query, rows(dataset, 2, 19).as_bytes()).expect(201);
}

fn canary(server: &Server, dataset: &str, body: &Value) -> Reply {
    let path = format!("/v1/datasets/{dataset}/canary");
    let headers = [("content-type", "application/json")];
    server.send("PUT", &path, &headers, body.to_string().as_bytes())
}

fn start(server: &Server, dataset: &str, percent: f64) -> Value {
    let body = json!({ "version": 2, "percent": percent, "experiment": EXPERIMENT });
    canary(server, dataset, &body).expect(200).json()
}

fn end(server: &Server, dataset: &str) -> Reply {
    server.send("DELETE", &format!("/v1/datasets/{dataset}/canary"), &[], b"")
}

fn promote(server: &Server, body: &Value) -> Reply {
    server.post(&format!("/v1/datasets/{D}/canary/promote"), body)
}

fn get(server: &Server, dataset: &str, key: &str, headers: &[(&str, &str)]) -> Reply {
    server.send("GET", &format!("/v1/datasets/{dataset}/keys/{key}"), headers, b"")
}

/// The version that a unit is served, which must be the one of the arm that the answer names.
#[track_caller]
fn served(server: &Server, dataset: &str, key: &str, unit: &str) -> u64 {
    let reply = get(server, dataset, key, &[("tidetable-unit", unit)]);
    let arm = if reply.version() == 2 { "canary" } else { "current" };
    assert_eq!(reply.header("tidetable-arm"), Some(arm), "{reply}");
    reply.version()
}

/// Nobody sees any arm but the current version.
#[track_caller]
fn assert_serves_all(server: &Server, version: u64) {
    for unit in [TAKEN, LEFT] {
        let reply = get(server, D, &key(1), &[("tidetable-unit", unit)]).expect(200);
        assert_eq!((reply.version(), reply.header("tidetable-arm")), (version, None), "{reply}");
        assert_eq!(reply.header("vary"), None);
    }
    let dataset = server.dataset(D);
    assert_eq!((&dataset["current"], &dataset["canary"]), (&json!(version), &json!(null)));
}

#[test]
fn units_are_assigned_as_any_client_works_it_out() {
    let server = with_two();
    for percent in [0.01, 1.37, 1.38, 25.26, 28.21, 28.22, 60.0, 100.0] {
        start(&server, D, percent);
        for (unit, bucket) in BUCKETS {
            // Hundredths of a percent, without a rounding of our own.
            let is_canary = bucket < format!("{percent:.2}").replace('.', "").parse().unwrap();
            let version = served(&server, D, &key(1), unit);
            assert_eq!(version == 2, is_canary, "{unit} of {bucket} at {percent} %");
        }
    }
}

#[test]
fn without_a_unit_the_key_is_the_unit() {
    let server = with_two();
    let answer = canary(&server, D, &json!({ "version": 2, "percent": 53 })).expect(200).json();
    assert_eq!((&answer["experiment"], &answer["version"]), (&json!(D), &json!(2)));
    for (number, bucket) in OF_KEYS.into_iter().enumerate() {
        let reply = server.get(D, &key(number)).expect(200);
        assert_eq!(reply.version() == 2, bucket < 5300, "{reply}");
        // However it is written.
        let hex: String = key(number).bytes().map(|byte| format!("{byte:02x}")).collect();
        let again = server.get(D, &format!("{hex}?key_encoding=hex")).expect(200);
        assert_eq!(again.version(), reply.version());
    }
}

#[test]
fn one_learner_sees_one_arm_in_all_datasets_of_an_experiment() {
    let server = with_two();
    ready_beside(&server, "stats");
    start(&server, D, 50.0);
    start(&server, "stats", 50.0);
    let mut seen = [0, 0];
    for (unit, _) in BUCKETS {
        let version = served(&server, D, &key(1), unit);
        assert_eq!(served(&server, "stats", &key(7), unit), version, "{unit}");
        let body = json!({ "requests": [
            { "dataset": D, "keys": [key(2)] }, { "dataset": "stats", "keys": [key(3)] },
            { "dataset": D, "keys": [key(2)], "version": 1 },
        ]});
        let headers = [("content-type", "application/json"), ("tidetable-unit", unit)];
        let reply = server.send("POST", "/v1/batch-get", &headers, body.to_string().as_bytes());
        let answers = reply.expect(200).json()["answers"].clone();
        for answer in &answers.as_array().unwrap()[..2] {
            let arm = if version == 2 { "canary" } else { "current" };
            assert_eq!((&answer["version"], &answer["arm"]), (&json!(version), &json!(arm)));
        }
        assert_eq!((&answers[2]["version"], answers[2].get("arm")), (&json!(1), None));
        seen[usize::from(version == 2)] += 1;
    }
    assert!(seen[0] > 3 && seen[1] > 3, "{seen:?}");
    // Of another experiment, somebody sees another arm.
    canary(&server, "stats", &json!({ "version": 2, "percent": 50, "experiment": "other" }));
    let differs = |(unit, _): &&(&str, u64)| {
        served(&server, D, &key(1), unit) != served(&server, "stats", &key(1), unit)
    };
    assert!(BUCKETS.iter().any(|unit| differs(&unit)));
}

#[test]
fn every_answer_says_its_arm_while_a_canary_runs_and_only_then() {
    let server = with_two();
    assert_serves_all(&server, 1);
    // Without a canary there is nothing to ask for.
    let asked = [("tidetable-arm", "canary")];
    assert_eq!(get(&server, D, &key(1), &asked).expect(200).header("tidetable-arm"), None);
    start(&server, D, 50.0);
    for (unit, arm, version) in [(TAKEN, "canary", 2), (LEFT, "current", 1)] {
        let of_unit = ("tidetable-unit", unit);
        let found = get(&server, D, &key(1), &[of_unit]).expect(200);
        let tag = found.header("etag").unwrap().to_owned();
        let known = get(&server, D, &key(1), &[of_unit, ("if-none-match", &tag)]).expect(304);
        let path = format!("/v1/datasets/{D}/keys/{}", key(1));
        let head = server.send("HEAD", &path, &[of_unit], b"").expect(200);
        let absent = get(&server, D, "nobody", &[of_unit]);
        absent.problem(404, "key_not_found");
        let absent = get(&server, D, "nobody", &[of_unit]);
        for reply in [found, known, head, absent] {
            assert_eq!(reply.header("tidetable-arm"), Some(arm), "{reply}");
            assert_eq!(reply.header("vary"), Some("Tidetable-Unit"), "{reply}");
            assert_eq!(reply.version(), version, "{reply}");
        }
        // Key 19 is in version 1 alone.
        assert_eq!(
            get(&server, D, &key(19), &[of_unit]).status,
            if version == 1 { 200 } else { 404 }
        );
    }
    for (arm, version) in [("canary", 2), ("current", 1)] {
        for unit in [TAKEN, LEFT] {
            let headers = [("tidetable-arm", arm), ("tidetable-unit", unit)];
            let reply = get(&server, D, &key(1), &headers).expect(200);
            assert_eq!((reply.header("tidetable-arm"), reply.version()), (Some(arm), version));
            assert_eq!(reply.header("vary"), Some("Tidetable-Unit, Tidetable-Arm"));
        }
    }
    let pinned = get(&server, D, &format!("{}?version=2", key(1)), &[("tidetable-unit", LEFT)]);
    assert_eq!(
        (pinned.version(), pinned.header("tidetable-arm"), pinned.header("vary")),
        (2, None, None)
    );
    let unit = "u".repeat(1025);
    for odd in
        [("tidetable-arm", "both"), ("tidetable-unit", ""), ("tidetable-unit", unit.as_str())]
    {
        get(&server, D, &key(1), &[odd]).problem(400, "invalid_header");
    }
    let twice = [("tidetable-unit", "1"), ("tidetable-unit", "2")];
    get(&server, D, &key(1), &twice).problem(400, "invalid_header");
}

#[test]
fn a_batch_or_scan_is_of_one_version_that_of_its_unit_or_of_what_is_current() {
    let server = with_two();
    start(&server, D, 50.0);
    let wanted: Vec<usize> = (0..12).collect();
    let keys: Vec<String> = wanted.iter().map(|i| key(*i)).collect();
    let body = json!({ "keys": keys }).to_string();
    let json = ("content-type", "application/json");
    for (headers, arm, version) in [
        (vec![json], "current", 1),
        (vec![json, ("tidetable-unit", TAKEN)], "canary", 2),
        (vec![json, ("tidetable-unit", LEFT)], "current", 1),
        (vec![json, ("tidetable-arm", "canary")], "canary", 2),
    ] {
        let path = format!("/v1/datasets/{D}/batch-get");
        let batch = server.send("POST", &path, &headers, body.as_bytes()).expect(200);
        assert_batch(&batch.json(), D, version, &wanted);
        let scan = |query: &str| {
            let path = format!("/v1/datasets/{D}/scan?{query}");
            server.send("GET", &path, &headers[1..], b"").expect(200)
        };
        let page = scan("limit=5");
        for reply in [&batch, &page] {
            assert_eq!((reply.header("tidetable-arm"), reply.version()), (Some(arm), version));
            assert!(reply.header("vary").unwrap().starts_with("Tidetable-Unit"));
        }
        // The next page stays on the version of the first, whoever asks for it.
        let next = format!("limit=5&cursor={}", page.json()["next"].as_str().unwrap());
        let other = server.get_path(&format!("/v1/datasets/{D}/scan?{next}")).expect(200);
        for reply in [scan(&next), other] {
            assert_eq!((reply.header("tidetable-arm"), reply.version()), (Some(arm), version));
        }
        let pinned = scan("version=2");
        assert_eq!((pinned.version(), pinned.header("tidetable-arm")), (2, None));
    }
}

/// Whoever compares the arms, or caches, needs to know it of failures as well.
#[test]
fn what_an_arm_cannot_give_says_the_arm_too() {
    let server = Server::start();
    // Numbers: they have no fields.
    for (version, activate) in [(1, true), (2, false)] {
        let query = format!("key=k&value=version&format=ndjson&activate={activate}");
        server.push_with(D, &query, rows(D, version, 20).as_bytes()).expect(201);
    }
    start(&server, D, 50.0);
    let json = ("content-type", "application/json");
    let batch = json!({ "keys": [key(1)], "fields": ["x"] }).to_string();
    for (unit, arm, version) in [(TAKEN, "canary", 2), (LEFT, "current", 1)] {
        let headers = [json, ("tidetable-unit", unit)];
        let send = |method: &str, path: &str, body: &str| {
            let path = format!("/v1/datasets/{D}/{path}");
            server.send(method, &path, &headers, body.as_bytes())
        };
        for reply in [
            send("GET", &format!("keys/{}?fields=x", key(1)), ""),
            send("POST", "batch-get", &batch),
            send("GET", "scan?fields=x", ""),
        ] {
            assert_eq!(reply.header("tidetable-arm"), Some(arm), "{reply}");
            assert_eq!(reply.header("vary"), Some("Tidetable-Unit"), "{reply}");
            assert_eq!(reply.version(), version, "{reply}");
            reply.problem(400, "fields_unavailable");
        }
        let body = json!({ "requests": [
            { "dataset": D, "keys": [key(1)], "fields": ["x"] },
            { "dataset": D, "keys": [""] },
            { "dataset": "nobody", "keys": [key(1)] },
            { "dataset": D, "keys": [key(1)] },
        ] });
        let reply =
            server.send("POST", "/v1/batch-get", &headers, body.to_string().as_bytes()).expect(200);
        let answers = reply.json()["answers"].clone();
        let said = |number: usize| {
            let answer = &answers[number];
            let code = answer["error"]["code"].as_str();
            (answer["arm"].as_str(), answer["version"].as_u64(), code)
        };
        assert_eq!(said(0), (Some(arm), Some(version), Some("fields_unavailable")), "{reply}");
        assert_eq!(said(1), (Some(arm), None, Some("invalid_key")), "{reply}");
        assert_eq!(said(2), (None, None, Some("dataset_not_found")), "{reply}");
        assert_eq!(said(3), (Some(arm), Some(version), None), "{reply}");
    }
}

#[test]
fn it_survives_a_restart_and_then_serves_as_before() {
    let mut server = with_two();
    let before = start(&server, D, 28.22);
    server.restart();
    let after = server.dataset(&format!("{D}/canary"));
    for field in ["version", "percent", "experiment", "started_at", "actor"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    for (unit, bucket) in BUCKETS {
        assert_eq!(served(&server, D, &key(1), unit) == 2, bucket < 2822);
    }
}

#[test]
fn nothing_is_activated_by_itself_while_it_runs_nor_because_it_ran() {
    let mut server = with_two();
    start(&server, D, 50.0);
    let parked = server.push(D, &rows(D, 3, 20)).expect(202).json();
    assert_eq!(
        (&parked["state"], &parked["current"], &parked["held"]),
        (&json!("ready"), &json!(false), &json!(false))
    );
    for field in ["detail", "reason"] {
        assert!(parked[field].as_str().unwrap().contains("canary"), "{parked}");
    }
    // A release ends the hold, and no more.
    server.operate(D, "hold", &json!({})).expect(200);
    let released = server.operate(D, "release", &json!({})).expect(200).json();
    assert_eq!((&released["held"], &released["activated"]), (&json!(false), &json!(null)));
    assert!(released["detail"].as_str().unwrap().contains("canary"), "{released}");
    server.restart();
    assert_eq!((served(&server, D, &key(1), TAKEN), served(&server, D, &key(1), LEFT)), (2, 1));

    // It is over, and nobody has asked for what waited.
    end(&server, D).expect(200);
    assert_serves_all(&server, 1);
    server.restart();
    assert_serves_all(&server, 1);
    // Nor is anybody told that it runs.
    let waits = server.dataset(&format!("{D}/versions/3"));
    assert_eq!((&waits["state"], &waits["reason"]), (&json!("ready"), &json!(null)), "{waits}");
    assert!(waits["detail"].as_str().unwrap().contains("a canary ran"), "{waits}");
    assert_eq!(server.pushed(D, &rows(D, 4, 20)), 4, "from here on it is as always");
    assert_eq!(server.dataset(&format!("{D}/versions/3"))["state"], "ready");
}

#[test]
fn a_promotion_is_an_activation_that_ends_it() {
    let server = with_two();
    promote(&server, &json!({})).problem(404, "no_canary");
    start(&server, D, 50.0);
    promote(&server, &json!({ "expect_current": 2 })).problem(409, "current_changed");
    promote(&server, &json!({ "version": 1 })).problem(409, "canary_changed");
    assert_eq!(served(&server, D, &key(1), TAKEN), 2, "it runs on");
    let path = format!("/v1/datasets/{D}/canary/promote");
    let headers = [("content-type", "application/json"), ("idempotency-key", "p-1")];
    let body = json!({ "version": 2, "expect_current": 1, "reason": "more clicks" }).to_string();
    let moved = server.send("POST", &path, &headers, body.as_bytes()).expect(200).json();
    assert_eq!(
        (&moved["from"], &moved["to"], &moved["held"]),
        (&json!(1), &json!(2), &json!(false))
    );
    assert_serves_all(&server, 2);
    let again = server.send("POST", &path, &headers, body.as_bytes()).expect(200).json();
    assert_eq!(again, moved, "a retry is told what came of the first");
    assert_eq!(server.events(D)[..3], ["activated", "canary_ended", "canary_started"]);
    let history = server.dataset(&format!("{D}/history?limit=1"));
    assert_eq!(history["events"][0]["reason"], "more clicks");
    let back = server.operate(D, "rollback", &json!({})).expect(200).json();
    assert_eq!((&back["from"], &back["to"]), (&json!(2), &json!(1)));
}

#[test]
fn nobody_takes_away_a_canary_that_somebody_else_has_started() {
    let server = with_two();
    let wish = |percent: f64, expected: Value| {
        let body = json!({ "version": 2, "percent": percent, "expect_canary": expected });
        canary(&server, D, &body)
    };
    let end = |expected: &str| {
        let path = format!("/v1/datasets/{D}/canary?expect_canary={expected}");
        server.send("DELETE", &path, &[], b"")
    };
    wish(10.0, json!(2)).problem(409, "canary_changed");
    wish(10.0, json!(null)).expect(200);
    let again = wish(10.0, json!(null)).expect(200).json();
    assert_eq!(again["changed"], false, "a retry is not refused for what it did itself: {again}");
    wish(50.0, json!(null)).problem(409, "canary_changed");
    wish(50.0, json!(1)).problem(409, "canary_changed");
    wish(50.0, json!(2)).expect(200);
    end("1").problem(409, "canary_changed");
    assert_eq!(server.dataset(D)["canary"]["percent"], 50.0, "nothing was changed");
    let refused = end("none").problem(400, "invalid_parameter");
    assert!(refused["detail"].as_str().unwrap().contains("expect_canary"), "{refused}");
    end("2").expect(200);
    end("2").problem(404, "no_canary");
}

#[test]
fn an_abort_serves_everybody_what_is_current() {
    let server = with_two();
    end(&server, D).problem(404, "no_canary");
    start(&server, D, 50.0);
    served(&server, D, &key(1), TAKEN);
    let path = format!("/v1/datasets/{D}/canary?reason=clicks%20fell");
    let ended = server.send("DELETE", &path, &[], b"").expect(200).json();
    assert_eq!((&ended["current"], &ended["ended"]["version"]), (&json!(1), &json!(2)));
    assert_eq!(ended["ended"]["arms"]["canary"]["hits"], 1, "{ended}");
    assert_serves_all(&server, 1);
    let history = server.dataset(&format!("{D}/history?limit=1"));
    let event = &history["events"][0];
    assert_eq!((&event["event"], &event["version"]), (&json!("canary_ended"), &json!(2)));
    assert_eq!(event["reason"], "clicks fell");
    end(&server, D).problem(404, "no_canary");
    server.get_path(&format!("/v1/datasets/{D}/canary")).problem(404, "no_canary");
}

#[test]
fn a_rollback_ends_it() {
    let server = Server::start();
    server.pushed(D, &rows(D, 1, 20));
    let query = "key=k&format=ndjson&activate=false";
    server.push_with(D, query, rows(D, 2, 20).as_bytes()).expect(201);
    server.pushed(D, &rows(D, 3, 20));
    start(&server, D, 50.0);
    let back = server.operate(D, "rollback", &json!({ "reason": "zeros" })).expect(200).json();
    assert_eq!((&back["to"], &back["held"]), (&json!(1), &json!(true)));
    assert_serves_all(&server, 1);
    // A person may try one during the hold, which stays.
    start(&server, D, 50.0);
    assert_eq!(served(&server, D, &key(1), TAKEN), 2);
    assert_eq!(server.dataset(D)["held"], true);
}

#[test]
fn its_version_is_neither_deleted_nor_swept() {
    let server = with_two();
    server.configure(D, &json!({ "retain": 1, "retire_grace_seconds": 0 }));
    start(&server, D, 50.0);
    let path = format!("/v1/datasets/{D}/versions/2");
    let refused = server.send("DELETE", &path, &[], b"").problem(409, "version_in_use");
    assert!(refused["detail"].as_str().unwrap().contains("canary"), "{refused}");
    // More ready versions than are kept; each push is followed by a sweep.
    for version in 3..=7 {
        server.push(D, &rows(D, version, 20)).expect(202);
    }
    server.operate(D, "activate", &json!({ "version": 7 })).expect(200);
    let is_gone = |version| {
        let path = format!("{D}/versions/{version}");
        eventually("a sweep has been", || server.dataset(&path)["state"] == "deleted");
    };
    is_gone(3);
    assert_eq!(served(&server, D, &key(1), TAKEN), 2);
    // Nothing else has kept it.
    end(&server, D).expect(200);
    is_gone(2);
}

#[test]
fn what_cannot_be_a_canary_is_refused_and_changes_nothing() {
    let server = with_two();
    server.configure(D, &json!({ "gates": { "min_records": 5 } }));
    server.push(D, &rows(D, 3, 2)).problem(422, "gate_refused");
    server
        .post(&format!("/v1/datasets/{D}/versions"), &json!({ "format": "ndjson", "key": ["k"] }))
        .expect(201);
    let query = "key=k&format=ndjson&activate=false";
    server.push_with(D, query, rows(D, 5, 20).as_bytes()).expect(201);
    server.send("DELETE", &format!("/v1/datasets/{D}/versions/5"), &[], b"").expect(200);
    server.push_with("young", query, rows("young", 1, 20).as_bytes()).expect(201);
    start(&server, D, 50.0);
    let before = (server.dataset(D)["canary"].clone(), server.events(D));
    let cases = [
        (json!({ "version": 2, "percent": 140 }), 400, "invalid_setting"),
        (json!({ "version": 2, "percent": 0 }), 400, "invalid_setting"),
        (json!({ "version": 2, "percent": -5 }), 400, "invalid_setting"),
        (json!({ "version": 2, "percent": 1.005 }), 400, "invalid_setting"),
        (json!({ "version": 2, "percent": 1e300 }), 400, "invalid_setting"),
        (json!({ "version": 2, "percent": 5, "experiment": "a:b" }), 400, "invalid_setting"),
        (json!({ "version": 2, "percent": 5, "experiment": "" }), 400, "invalid_setting"),
        (json!({ "version": 2, "percent": "5" }), 400, "malformed_body"),
        (json!({ "version": 0, "percent": 5 }), 400, "malformed_body"),
        (json!({ "version": 2 }), 400, "malformed_body"),
        (json!({ "percent": 5 }), 400, "malformed_body"),
        (json!({ "version": 2, "percent": 5, "until": "noon" }), 400, "unknown_field"),
        (json!({ "version": 1, "percent": 5 }), 409, "already_current"),
        (json!({ "version": 3, "percent": 5 }), 409, "wrong_state"),
        (json!({ "version": 4, "percent": 5 }), 409, "wrong_state"),
        (json!({ "version": 5, "percent": 5 }), 410, "version_deleted"),
        (json!({ "version": 9, "percent": 5 }), 404, "version_not_found"),
    ];
    for (body, status, code) in cases {
        canary(&server, D, &body).problem(status, code);
    }
    let of = |dataset: &str| canary(&server, dataset, &json!({ "version": 1, "percent": 5 }));
    of("nobody").problem(404, "dataset_not_found");
    of("young").problem(404, "no_current_version");
    let path = format!("/v1/datasets/{D}/canary?at=noon");
    server.send("DELETE", &path, &[], b"").problem(400, "unknown_parameter");
    promote(&server, &json!({ "to": 2 })).problem(400, "unknown_field");
    assert_eq!((server.dataset(D)["canary"].clone(), server.events(D)), before);
}

#[test]
fn its_share_may_change_and_another_may_take_its_place() {
    let server = with_two();
    let begun = start(&server, D, 10.0);
    assert_eq!(begun["changed"], true);
    let events = server.events(D).len();
    assert_eq!(start(&server, D, 10.0)["changed"], false);
    assert_eq!(server.events(D).len(), events, "it ran like that");
    let more = canary(&server, D, &json!({ "version": 2, "percent": 60 })).expect(200).json();
    assert_eq!(
        (&more["experiment"], &more["started_at"]),
        (&begun["experiment"], &begun["started_at"])
    );
    for (unit, bucket) in BUCKETS {
        assert_eq!(served(&server, D, &key(1), unit) == 2, bucket < 6000, "{unit}");
    }
    let query = "key=k&format=ndjson&activate=false";
    server.push_with(D, query, rows(D, 3, 20).as_bytes()).expect(201);
    let other = canary(&server, D, &json!({ "version": 3, "percent": 100 })).expect(200).json();
    assert_eq!((&other["version"], &other["experiment"]), (&json!(3), &json!(D)));
    assert_eq!(server.get(D, &key(1)).expect(200).version(), 3);
}

#[test]
fn what_was_read_of_both_arms_stands_side_by_side() {
    let server = with_two();
    get(&server, D, &key(1), &[]).expect(200);
    start(&server, D, 50.0);
    for _ in 0..3 {
        get(&server, D, &key(1), &[("tidetable-unit", TAKEN)]).expect(200);
        get(&server, D, &key(19), &[("tidetable-unit", TAKEN)]).expect(404);
    }
    get(&server, D, &key(19), &[("tidetable-unit", LEFT)]).expect(200);
    get(&server, D, &format!("{}?version=2", key(1)), &[]).expect(200);
    let arms = server.dataset(D)["canary"]["arms"].clone();
    assert_eq!(arms, server.dataset(&format!("{D}/canary"))["arms"]);
    let counts = |arm: &str| ["lookups", "hits", "misses", "errors"].map(|n| arms[arm][n].as_u64());
    assert_eq!(counts("canary"), [Some(6), Some(3), Some(3), Some(0)], "{arms}");
    assert_eq!(counts("current"), [Some(1), Some(1), Some(0), Some(0)], "since it was started");
    assert!(
        arms["canary"]["p99_us"].as_f64().unwrap() >= arms["canary"]["p50_us"].as_f64().unwrap()
    );
    let page = server.get_path("/metrics").expect(200).text();
    for line in [
        r#"tidetable_lookups_total{dataset="recs",arm="canary",result="miss"} 3"#,
        r#"tidetable_lookups_total{dataset="recs",arm="current",result="hit"} 2"#,
        r#"tidetable_lookups_total{dataset="recs",arm="pinned",result="hit"} 1"#,
        r#"tidetable_lookup_seconds_count{dataset="recs",arm="canary"} 6"#,
        r#"tidetable_canary_version{dataset="recs"} 2"#,
        r#"tidetable_canary_percent{dataset="recs"} 50.0"#,
    ] {
        assert!(page.lines().any(|found| found == line), "{line}\nis not in\n{page}");
    }
}

#[test]
fn one_command_each_starts_shows_promotes_and_aborts() {
    let server = with_two();
    let run = |line: &str| {
        let address = format!("http://{}", server.address());
        let words: Vec<&str> = line.split(' ').collect();
        let output = tidetable(&words).env("TIDETABLE_SERVER", address).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(said).unwrap())
    };
    let (code, said) = run("canary recs");
    assert!(code == 4 && said.contains("--percent"), "{said}");
    assert_eq!(run("canary recs 2 --percent 140").0, 2);
    let (code, said) = run("canary recs 2 --percent 50 --experiment recs-nov");
    assert!(code == 0 && said.contains("2 is served to 50 % of the units of recs-nov"), "{said}");
    served(&server, D, &key(1), TAKEN);
    let (code, said) = run("canary recs");
    assert!(code == 0 && said.contains("\ncurrent") && said.contains("\ncanary"), "{said}");
    assert!(said.contains("100.00 %"), "{said}");
    let (code, said) = run("datasets");
    assert!(code == 0 && said.contains("canary 2, 50 %"), "{said}");
    assert_eq!(run("canary recs --percent 60").0, 0);
    assert_eq!(server.dataset(D)["canary"]["percent"], 60.0);
    let (code, said) = run("canary recs --abort --reason no");
    assert!(code == 0 && said.contains("everybody is served 1"), "{said}");
    assert_eq!(run("canary recs --abort").0, 4);
    assert_eq!(run("canary recs 2 --percent 1").0, 0);
    let (code, said) = run("promote recs");
    assert!(code == 0 && said.contains("1 → 2"), "{said}");
    assert_serves_all(&server, 2);
}
