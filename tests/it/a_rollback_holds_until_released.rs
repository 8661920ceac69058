//! An operator rolls a bad version back: the version before serves at once, the bad one does
//! not come back by itself, new pushes wait until the hold is released, and a step that can
//! do nothing says so.

use serde_json::json;

use crate::data::rows;
use crate::harness::Server;

const D: &str = "recs";

#[test]
fn a_rollback_holds_until_released() {
    let mut server = Server::start();
    for version in 1..=3 {
        assert_eq!(server.pushed(D, &rows(D, version, 10)), version);
    }
    let answer =
        server.operate(D, "rollback", &json!({ "reason": "wrong scores" })).expect(200).json();
    assert_eq!(answer["from"], 3);
    assert_eq!(answer["to"], 2);
    assert_eq!(answer["held"], true);
    assert_eq!(answer["marked_bad"], 3);
    assert_serves(&server, 2);
    assert_eq!(server.dataset(&format!("{D}/versions/3"))["state"], "bad");

    // A push during the hold is accepted, and waits.
    let held = server.push(D, &rows(D, 4, 10)).expect(202).json();
    assert_eq!(
        (&held["state"], &held["held"], &held["current"]),
        (&json!("ready"), &json!(true), &json!(false))
    );
    let parked =
        server.push_with(D, "key=k&format=ndjson&activate=false", rows(D, 5, 10).as_bytes());
    assert_eq!(parked.json()["state"], "ready", "{parked}");
    assert_serves(&server, 2);

    // All of it is still so after a restart.
    server.restart();
    assert_serves(&server, 2);
    let dataset = server.dataset(D);
    assert_eq!(dataset["held"], true, "{dataset}");
    assert_eq!(dataset["hold"]["reason"], "wrong scores", "{dataset}");
    assert_eq!((&dataset["waiting"], &dataset["failed_push"]), (&json!(4), &json!(null)));

    // Released: the newest ready version whose push asked for it, and not the parked one.
    let released = server.operate(D, "release", &json!({})).expect(200).json();
    assert_eq!(released["held"], false);
    assert_eq!(released["activated"], json!({ "from": 2, "to": 4 }), "{released}");
    assert_eq!(server.dataset(D)["waiting"], json!(null));
    assert_serves(&server, 4);
    server.operate(D, "release", &json!({})).problem(409, "not_held");

    // The bad one comes back by force, with a reason, and not otherwise.
    server.operate(D, "activate", &json!({ "version": 3 })).problem(409, "needs_force");
    server
        .operate(D, "activate", &json!({ "version": 3, "force": true }))
        .problem(409, "needs_force");
    assert_serves(&server, 4);
    let forced = json!({ "version": 3, "force": true, "reason": "it was right after all" });
    server.operate(D, "activate", &forced).expect(200);
    assert_serves(&server, 3);

    let events = server.events(D);
    for event in ["rolled_back", "released", "activated"] {
        assert!(events.iter().any(|e| e == event), "no {event} in {events:?}");
    }
}

#[test]
fn without_a_hold_the_next_push_serves() {
    let server = Server::start();
    server.pushed(D, &rows(D, 1, 10));
    server.pushed(D, &rows(D, 2, 10));
    let answer = server.operate(D, "rollback", &json!({ "hold": false })).expect(200).json();
    assert_eq!((&answer["to"], &answer["held"]), (&json!(1), &json!(false)), "{answer}");
    assert_eq!(server.pushed(D, &rows(D, 3, 10)), 3);
}

#[test]
fn what_was_rolled_back_from_does_not_come_back_under_another_number() {
    let server = Server::start();
    let (good, bad) = (rows(D, 1, 10), rows(D, 2, 10));
    server.pushed(D, &good);
    // The same content twice: one waits, the other serves and is found to be bad.
    server.push_with(D, "key=k&format=ndjson&activate=false", bad.as_bytes()).expect(201);
    server.pushed(D, &bad);
    let back = json!({ "hold": false, "reason": "all scores are zero" });
    server.operate(D, "rollback", &back).expect(200);
    assert_eq!(server.dataset(D)["current"], 1);

    let again = server.push(D, &bad).problem(422, "gate_refused");
    let gate = again["gates"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&gate["gate"], &gate["passed"]), (&json!("known_bad"), &json!(false)));
    for part in ["version 3", "all scores are zero"] {
        assert!(gate["detail"].as_str().unwrap().contains(part), "{gate}");
    }
    server.operate(D, "activate", &json!({ "version": 2 })).problem(422, "gate_refused");
    assert_eq!(server.dataset(&format!("{D}/versions/2"))["state"], "rejected");
    assert_eq!(server.dataset(D)["current"], 1);
    assert_eq!(server.pushed(D, &rows(D, 3, 10)), 5, "other data is welcome");
    let forced = json!({ "version": 4, "force": true, "reason": "zero is right" });
    server.operate(D, "activate", &forced).expect(200);
    assert_eq!(server.dataset(D)["current"], 4);
}

#[test]
fn what_is_served_after_a_rollback_may_be_pushed_again() {
    let server = Server::start();
    let good = rows(D, 1, 10);
    server.pushed(D, &good);
    server.pushed(D, &good);
    let back = server.operate(D, "rollback", &json!({ "hold": false })).expect(200).json();
    assert_eq!((&back["to"], &back["same_content"]), (&json!(1), &json!(true)), "{back}");
    assert_eq!(
        server.pushed(D, &good),
        3,
        "version 2 is bad, and what it held is served all the same"
    );
}

#[test]
fn a_step_that_can_do_nothing_says_so_and_changes_nothing() {
    let server = Server::start();
    server.operate("nobody", "rollback", &json!({})).problem(404, "dataset_not_found");
    server.pushed(D, &rows(D, 1, 10));
    server.operate(D, "rollback", &json!({})).problem(409, "nothing_to_roll_back_to");
    assert_eq!(server.dataset(D)["held"], false, "a rollback that failed holds nothing");
    server.operate(D, "activate", &json!({ "version": 9 })).problem(404, "version_not_found");
    server.operate(D, "activate", &json!({ "version": 1 })).problem(409, "already_current");
    server.pushed(D, &rows(D, 2, 10));

    // Two operators, or a retry: the second finds that the first was there.
    let expecting = json!({ "expect_current": 2 });
    server.operate(D, "rollback", &expecting).expect(200);
    server.operate(D, "rollback", &expecting).problem(409, "current_changed");
    assert_serves(&server, 1);
    // `null` is not the same as nothing said: it expects that nothing is current.
    let first = json!({ "version": 2, "expect_current": null });
    server.operate(D, "activate", &first).problem(409, "current_changed");
    server
        .operate(D, "rollback", &json!({ "expect_current": null }))
        .problem(409, "current_changed");
    server.push_with(
        "fresh",
        "key=k&format=ndjson&activate=false",
        rows("fresh", 1, 10).as_bytes(),
    );
    let first = json!({ "version": 1, "expect_current": null });
    server.operate("fresh", "activate", &first).expect(200);
    let to_a_bad_one = server.operate(D, "rollback", &json!({ "to": 2 }));
    assert_eq!(to_a_bad_one.status, 409, "{to_a_bad_one}");
    assert_serves(&server, 1);
}

#[test]
fn a_hold_may_be_set_before_anything_is_wrong() {
    let server = Server::start();
    server.pushed(D, &rows(D, 1, 10));
    let held = server.operate(D, "hold", &json!({ "reason": "exam week" })).expect(200).json();
    assert_eq!((&held["held"], &held["changed"]), (&json!(true), &json!(true)), "{held}");
    let again = server.operate(D, "hold", &json!({ "reason": "exam week" })).expect(200).json();
    assert_eq!(again["changed"], false, "{again}");
    server.push(D, &rows(D, 2, 10)).expect(202);
    // A person may activate during a hold.
    server.operate(D, "activate", &json!({ "version": 2, "expect_current": 1 })).expect(200);
    assert_serves(&server, 2);
    let released = server.operate(D, "release", &json!({})).expect(200).json();
    assert!(released["activated"].is_null(), "nothing newer waits: {released}");
    let events = server.events(D);
    assert!(
        events.iter().any(|e| e == "held") && events.iter().any(|e| e == "released"),
        "{events:?}"
    );
    assert_serves(&server, 2);
}

/// Whoever asks again with its key is told what it was told the first time.
#[test]
fn a_repeated_hold_gets_its_first_answer() {
    let mut server = Server::start();
    server.pushed(D, &rows(D, 1, 10));
    let ask = |server: &Server, operation: &str, key: &str, body: &str| {
        let headers = [("idempotency-key", key), ("content-type", "application/json")];
        server.send("POST", &format!("/v1/datasets/{D}/{operation}"), &headers, body.as_bytes())
    };
    let exams = r#"{"reason":"exam week"}"#;
    let first = ask(&server, "hold", "h", exams).expect(200).json();
    assert_eq!((&first["changed"], &first["reason"]), (&json!(true), &json!("exam week")));
    let second = ask(&server, "hold", "i", "{}").expect(200).json();
    assert_eq!((&second["changed"], &second["reason"]), (&json!(false), &json!("exam week")));
    let released = ask(&server, "release", "r", "{}").expect(200).json();

    for restart in [false, true] {
        if restart {
            server.restart();
        }
        assert_eq!(ask(&server, "hold", "h", exams).expect(200).json(), first);
        assert_eq!(ask(&server, "hold", "i", "{}").expect(200).json(), second);
        assert_eq!(ask(&server, "release", "r", "{}").expect(200).json(), released);
        assert_eq!(server.dataset(D)["held"], false, "a repetition changes nothing");
        // A key stands for its request alone, also that of a hold that changed nothing.
        for (operation, key, body) in
            [("hold", "i", exams), ("release", "i", "{}"), ("hold", "r", "{}")]
        {
            ask(&server, operation, key, body).problem(422, "idempotency_key_reused");
        }
    }
    let events = server.events(D);
    assert_eq!(events.iter().filter(|event| *event == "held").count(), 1, "{events:?}");
}

#[test]
fn a_push_that_opened_before_the_current_one_does_not_take_its_place() {
    let server = Server::start();
    let open = json!({ "format": "ndjson", "key": ["k"] });
    let opened = server.post(&format!("/v1/datasets/{D}/versions"), &open).expect(201).json();
    assert_eq!((&opened["version"], &opened["state"]), (&json!(1), &json!("receiving")));
    assert_eq!(server.pushed(D, &rows(D, 2, 10)), 2);

    let part = format!("/v1/datasets/{D}/versions/1/parts/1");
    let stored = server.send("PUT", &part, &[], rows(D, 1, 10).as_bytes());
    assert!(matches!(stored.status, 200 | 201 | 204), "{stored}");
    server.post(&format!("/v1/datasets/{D}/versions/1/commit"), &json!({})).expect(202);
    let settled = server.settled(D, 1);
    assert_eq!(settled["state"], "ready", "{settled}");
    assert_eq!((&settled["activate"], &settled["code"]), (&json!(true), &json!(null)));
    assert!(settled["detail"].as_str().unwrap().contains("began after"), "it says why: {settled}");
    assert_serves(&server, 2);
}

/// Whoever pushed it, whoever asks for it later, and whoever lists all of them.
#[test]
fn why_a_ready_version_is_not_served_is_told_alike_to_everybody() {
    let server = Server::start();
    server.pushed(D, &rows(D, 1, 10));
    server.operate(D, "hold", &json!({})).expect(200);
    let body = rows(D, 2, 10);
    let told = |status: u16, why: &str| {
        let path = format!("/v1/datasets/{D}/push?key=k&format=ndjson");
        let pushed = server.send("POST", &path, &[("idempotency-key", "2")], body.as_bytes());
        let pushed = pushed.expect(status).json();
        assert!(pushed["detail"].as_str().unwrap().contains(why), "{pushed}");
        let versions = server.dataset(&format!("{D}/versions"));
        let mut versions = versions["versions"].as_array().unwrap().iter();
        let listed = versions.find(|version| version["version"] == 2).unwrap();
        for found in [listed, &server.dataset(&format!("{D}/versions/2?wait=9"))] {
            assert_eq!(
                (&found["state"], &found["detail"]),
                (&json!("ready"), &pushed["detail"]),
                "{found}"
            );
        }
    };
    told(202, "is held");
    let parked =
        server.push_with(D, "key=k&format=ndjson&activate=false", rows(D, 3, 10).as_bytes());
    let parked = parked.expect(201).json();
    assert!(parked["detail"].as_str().unwrap().contains("activate it when"), "{parked}");
    server.operate(D, "activate", &json!({ "version": 3 })).expect(200);
    let released = server.operate(D, "release", &json!({})).expect(200).json();
    assert_eq!(released["activated"], json!(null), "2 began before 3 did: {released}");
    told(201, "began after");
    // Back at 1, nothing but a person's word is missing.
    server.operate(D, "rollback", &json!({ "to": 1, "hold": false })).expect(200);
    told(201, "activate it when it is wanted");
    assert_serves(&server, 1);
}

#[track_caller]
fn assert_serves(server: &Server, version: u64) {
    let reply = server.get(D, "learner:0000003").expect(200);
    assert_eq!(reply.version(), version);
    assert_eq!(reply.json()["version"], version);
    assert_eq!(server.dataset(D)["current"], version);
}
