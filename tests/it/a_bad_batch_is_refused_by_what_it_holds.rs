//! A version has a profile, and gates on keys and fields judge it: without a setting what no
//! honest night looks like is refused, with settings what an owner knows of the data.

use serde_json::{Value, json};

use crate::harness::{Server, tidetable};

const D: &str = "recs";
const RECORDS: u32 = 1_500;

/// One row of each learner, as a good night has it.
fn good(n: u32) -> Value {
    json!({ "k": format!("learner:{n}"), "course": format!("c{}", n % 40), "score": f64::from(n) / 1e4 })
}

fn rows(row: impl Fn(u32) -> Value) -> String {
    (0..RECORDS).map(|n| format!("{}\n", row(n))).collect()
}

/// A good night, changed a little.
fn with(change: impl Fn(&mut Value)) -> String {
    rows(|n| {
        let mut row = good(n);
        change(&mut row);
        row
    })
}

/// A server with a good night.
fn served() -> Server {
    let server = Server::start();
    server.pushed(D, &rows(good));
    server
}

#[track_caller]
fn refused_by(server: &Server, rows: &str) -> Vec<(String, String)> {
    let problem = server.push(D, rows).problem(422, "gate_refused");
    let version = problem["version"].as_u64().unwrap();
    assert_eq!(server.dataset(&format!("{D}/versions/{version}"))["state"], "rejected");
    assert_eq!(server.dataset(D)["current"], 1, "the good one still serves");
    let gates = problem["gates"].as_array().unwrap();
    let refused = gates.iter().filter(|gate| gate["passed"] == false);
    let text = |gate: &Value, name: &str| gate[name].as_str().unwrap().to_owned();
    refused.map(|gate| (text(gate, "gate"), text(gate, "detail"))).collect()
}

#[track_caller]
fn assert_refused(server: &Server, rows: &str, gate: &str, saying: &str) {
    let refused = refused_by(server, rows);
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(refused[0].0 == gate && refused[0].1.contains(saying), "{refused:?}");
}

#[test]
fn a_profile_says_what_a_version_holds() {
    let server = served();
    let profile = server.dataset(&format!("{D}/versions/1/profile"));
    assert_eq!((&profile["records"], &profile["sampled"]), (&json!(RECORDS), &json!(RECORDS)));
    assert_eq!(profile["objects"], RECORDS);
    assert_eq!(profile["key_bytes"]["min"], 9);
    assert_eq!(profile["key_bytes"]["max"], 12);
    let score = &profile["fields"]["score"];
    assert_eq!((&score["present_percent"], &score["null_percent"]), (&json!(100.0), &json!(0.0)));
    assert_eq!(
        (&score["types"], &score["distinct"]["x"]),
        (&json!({ "number": RECORDS }), &Value::Null)
    );
    assert_eq!((&score["number"]["min"], &score["number"]["max"]), (&json!(0.0), &json!(0.1499)));
    assert_eq!(profile["fields"]["course"]["distinct"], 40);
    assert_eq!(profile["samples"].as_array().unwrap().len(), 5);
    for sample in profile["samples"].as_array().unwrap() {
        let key = sample["key"].as_str().unwrap();
        assert_eq!(sample["value"], server.get(D, key).expect(200).json());
    }
    server
        .get_path(&format!("/v1/datasets/{D}/versions/9/profile"))
        .problem(404, "version_not_found");
    let mut command =
        tidetable(&["profile", D, "--server", &format!("http://{}", server.address())]);
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line =
        text.lines().find(|line| line.starts_with("score")).unwrap_or_else(|| panic!("{text}"));
    assert!(line.contains("number") && line.contains("0.1499"), "{line}");
}

#[test]
fn what_no_honest_night_looks_like_is_refused_without_a_setting() {
    let server = served();
    let rename = |row: &mut Value| {
        let score = row["score"].take();
        row.as_object_mut().unwrap().remove("score");
        row["points"] = score;
    };
    assert_refused(&server, &with(rename), "fields_kept", "\"score\"");
    assert_refused(&server, &with(|row| row["score"] = json!(0)), "variety_kept", "always 0");
    let text = |row: &mut Value| row["score"] = json!(row["score"].to_string());
    assert_refused(&server, &with(text), "types_unchanged", "from number to string");
    let prefix =
        |row: &mut Value| row["k"] = json!(row["k"].as_str().unwrap().replace("learner", "user"));
    assert_refused(&server, &with(prefix), "max_keys_removed_percent", "100.0 % of the current");
    // An honest night after them passes, and so does one of these that is meant so.
    assert_eq!(
        server.pushed(D, &with(|row| row["score"] = json!(row["score"].as_f64().unwrap() / 2.0))),
        6
    );
    server.configure(D, &json!({ "gates": { "variety_kept": false } }));
    assert_eq!(server.pushed(D, &with(|row| row["score"] = json!(1))), 7);
}

#[test]
fn limits_that_an_owner_sets_are_held() {
    let server = served();
    let limits = json!({ "gates": {
        "required_fields": ["course"], "max_null_percent": { "score": 10 }, "min_distinct": { "course": 30 },
        "ranges": { "score": { "min": 0, "max": 1 } }, "max_value_bytes_p99": 100,
        "max_keys_added_percent": 5, "max_keys_changed_percent": 50,
        "sample_lookups": [{ "key": "learner:7", "fields": { "course": "c7" } }],
    } });
    server.configure(D, &limits);
    let each = |n: u32, every: u32, change: fn(&mut Value)| {
        let mut row = good(n);
        if n.is_multiple_of(every) {
            change(&mut row);
        }
        row
    };
    let lacking = rows(|n| each(n, 100, |row| row["course"] = Value::Null));
    assert_eq!(server.pushed(D, &lacking), 2, "null is there");
    server.operate(D, "activate", &json!({ "version": 1 })).expect(200);
    let cases = [
        (
            rows(|n| each(n, 100, |row| drop(row.as_object_mut().unwrap().remove("course")))),
            "required_fields",
            "99.0 %",
        ),
        (rows(|n| each(n, 5, |row| row["score"] = Value::Null)), "max_null_percent", "20.0 %"),
        (
            rows(|n| {
                each(n, 1, |row| {
                    row["course"] = json!(if row["k"] == "learner:7" { "c7" } else { "c0" });
                })
            }),
            "min_distinct",
            "2 different",
        ),
        (rows(|n| each(n, 700, |row| row["score"] = json!(1.5))), "ranges", "to 1.5"),
        (
            rows(|n| each(n, 10, |row| row["why"] = json!("x".repeat(200)))),
            "max_value_bytes_p99",
            "bytes",
        ),
        (
            rows(|n| {
                each(n, 10, |row| row["k"] = json!(format!("{}x", row["k"].as_str().unwrap())))
            }),
            "max_keys_added_percent",
            "10.0 %",
        ),
        (
            rows(|n| each(n, 1, |row| row["score"] = json!(row["score"].as_f64().unwrap() / 2.0))),
            "max_keys_changed_percent",
            "99.9 %",
        ),
        (
            rows(|n| {
                each(n, 1, |row| {
                    if row["k"] == "learner:7" {
                        row["course"] = json!("c8");
                    }
                })
            }),
            "sample_lookups",
            "\"c8\", not \"c7\"",
        ),
    ];
    for (rows, gate, saying) in &cases {
        let refused = refused_by(&server, rows);
        let found = refused.iter().find(|(name, _)| name == gate);
        assert!(found.is_some_and(|(_, detail)| detail.contains(saying)), "{gate}: {refused:?}");
    }
}

#[test]
fn a_gate_on_what_is_not_there_is_refused_and_changes_nothing() {
    let server = served();
    let before = server.dataset(D)["config"].clone();
    for gates in [
        json!({ "required_fields": ["scroe"] }),
        json!({ "ranges": { "scroe": { "min": 0 } } }),
        json!({ "max_keys_removed_percent": 140 }),
        json!({ "min_distinct": { "score": -1 } }),
        json!({ "check": "nobody" }),
    ] {
        let path = format!("/v1/datasets/{D}");
        let body = json!({ "gates": gates, "retain": 7 }).to_string();
        let reply =
            server.send("PUT", &path, &[("content-type", "application/json")], body.as_bytes());
        assert_eq!(reply.status, 400, "{gates}: {reply}");
        assert_eq!(server.dataset(D)["config"], before, "{gates}");
    }
}

/// What was compared with version 1 is compared with version 3 before it takes its place.
#[test]
fn fields_are_compared_with_what_is_current_at_the_swap() {
    let server = served();
    let query = "key=k&format=ndjson&activate=false";
    server
        .push_with(D, query, rows(good).replace("course", "course_id").as_bytes())
        .problem(422, "gate_refused");
    server.push_with(D, query, rows(good).as_bytes()).expect(201);
    server.push_with(D, query, with(|row| row["rank"] = json!(1)).as_bytes()).expect(201);
    server.operate(D, "activate", &json!({ "version": 4 })).expect(200);
    let problem =
        server.operate(D, "activate", &json!({ "version": 3 })).problem(422, "gate_refused");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("fields_kept") && detail.contains("\"rank\""), "{detail}");
    let force = json!({ "version": 3, "force": true, "reason": "rank is not used" });
    assert_eq!(server.dataset(&format!("{D}/versions/3"))["code"], "gate_refused");
    server.operate(D, "activate", &force).expect(200);
    // What the gate said is with the gates.
    let assert_forced = |state: &str| {
        let forced = server.dataset(&format!("{D}/versions/3"));
        assert_eq!((&forced["state"], &forced["code"]), (&json!(state), &json!(null)), "{forced}");
        assert_eq!(forced["reason"], "rank is not used", "{forced}");
        let refused = |gate: &Value| gate["gate"] == "fields_kept" && gate["passed"] == false;
        assert!(forced["gates"].as_array().unwrap().iter().any(refused), "{forced}");
    };
    assert_forced("active");
    let history = server.dataset(&format!("{D}/history?limit=2"));
    let told = [&history["events"][0], &history["events"][1]].map(|event| event["forced"].clone());
    assert_eq!(told, [json!(true), json!(false)], "{history}");
    server.operate(D, "activate", &json!({ "version": 4 })).expect(200);
    assert_forced("retired");
}

/// A server that is killed ends its checks too: nobody else would end one that hangs.
#[test]
fn a_check_ends_with_its_server() {
    let checks = crate::harness::scratch();
    let (path, told) = (checks.path().join("hangs"), checks.path().join("pid"));
    let script =
        format!("#!/bin/sh\necho $$ > {0}.new; mv {0}.new {0}; sleep 100000\n", told.display());
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut server = Server::start_with(&["--checks-dir", checks.path().to_str().unwrap()]);
    server.configure(D, &json!({ "gates": { "check": "hangs" } }));
    server.push_with(D, "key=k&wait=false", rows(good).as_bytes()).expect(202);
    crate::harness::eventually("the check runs", || told.exists());
    let pid = std::fs::read_to_string(&told).unwrap();
    server.kill();
    // A zombie is not running, and who adopts it may take its time.
    let is_running = || {
        let status = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
        status.is_ok_and(|stat| !stat.contains(") Z "))
    };
    crate::harness::eventually("the check has ended", || !is_running());
}

/// The operator's own gate sees both profiles, and its word is the reason.
#[test]
fn a_check_of_the_operators_may_refuse() {
    let checks = crate::harness::scratch();
    let path = checks.path().join("mean");
    let script = "#!/usr/bin/env python3\nimport json, sys\nseen = json.load(sys.stdin)\n\
        mean = lambda p: p['fields']['score']['number']['mean']\n\
        if seen['current'] and mean(seen['profile']) < 0.8 * mean(seen['current']):\n    \
        sys.exit('the mean of version %d of %s fell' % (seen['version'], seen['dataset']))\n";
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let server = Server::start_with(&["--checks-dir", checks.path().to_str().unwrap()]);
    server.configure(D, &json!({ "gates": { "check": "mean" } }));
    server.pushed(D, &rows(good));
    let halved = with(|row| row["score"] = json!(row["score"].as_f64().unwrap() / 2.0));
    assert_refused(&server, &halved, "check", "mean: the mean of version 2 of recs fell");
    assert_eq!(
        server.pushed(D, &with(|row| row["score"] = json!(row["score"].as_f64().unwrap() * 2.0))),
        3
    );
}
