//! A token opens what it grants, and only that, where a route alone does not say what that is:
//! several datasets in one request, lists, samples, a push of one's own.

use serde_json::{Value, json};

use crate::access::{Token, first};
use crate::data::{key, rows};
use crate::harness::Server;

/// A server with the datasets `alpha` and `beta`, each of two versions, and an admin's token.
fn two_datasets() -> (Server, Token) {
    let server = Server::start();
    for dataset in ["alpha", "beta"] {
        server.pushed(dataset, &rows(dataset, 1, 50));
        server.pushed(dataset, &rows(dataset, 2, 50));
    }
    let admin = first(&server);
    (server, admin)
}

fn names(list: &Value, of: &str) -> Vec<String> {
    let items = list[of].as_array().unwrap();
    items.iter().map(|item| item["dataset"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_first_token_is_an_admins_and_closes_the_door() {
    let server = Server::start();
    assert_eq!(server.get_path("/readyz").expect(200).json()["access"], "open");
    for body in [
        json!({ "name": "ops", "roles": ["reader"] }),
        json!({ "name": "ops", "roles": ["admin"], "datasets": ["alpha"] }),
    ] {
        server.post("/v1/tokens", &body).problem(400, "invalid_setting");
    }
    server.get_path("/v1/datasets").expect(200);
    let admin = first(&server);
    server.get_path("/v1/datasets").problem(401, "unauthenticated");
    admin.get(&server, "/v1/datasets").expect(200);
    let ready = server.get_path("/readyz").expect(200).json();
    assert_eq!(ready, json!({ "status": "ok", "access": "tokens" }), "no details");
    let reader = admin.make(&server, "x", "reader", &["*"]);
    assert_eq!(reader.get(&server, "/readyz").expect(200).json(), ready);
    let monitor = admin.make(&server, "x", "monitor", &["*"]);
    assert_eq!(monitor.get(&server, "/readyz").expect(200).json()["datasets"], 0);
    assert!(server.said().contains("access is open"), "and the log said so");
}

#[test]
fn what_is_wrong_with_a_wish_is_told_and_nothing_is_made() {
    let (server, admin) = (Server::start(), json!({ "name": "ops", "roles": ["admin"] }));
    let with = |name: &str, value: Value| {
        let mut body = admin.clone();
        body[name] = value;
        body
    };
    for (body, code) in [
        (with("name", json!("Ops")), "invalid_name"),
        (with("name", json!("tidetable")), "invalid_name"),
        (with("name", json!("a\nb")), "invalid_name"),
        (with("roles", json!([])), "invalid_setting"),
        (with("roles", json!(["owner"])), "malformed_body"),
        (with("datasets", json!([])), "invalid_setting"),
        (with("datasets", json!(["a*b"])), "malformed_body"),
        (with("expires_in_seconds", json!(0)), "invalid_setting"),
        (with("expires_in_seconds", json!(u64::MAX)), "invalid_setting"),
        (with("expires_in_seconds", json!(-1)), "malformed_body"),
        (with("hash", json!("x")), "unknown_field"),
        (json!({}), "malformed_body"),
    ] {
        let problem = server.post("/v1/tokens", &body).problem(400, code);
        assert!(problem["detail"].as_str().unwrap().len() < 500, "{problem}");
    }
    let listed = server.get_path("/v1/tokens").expect(200).json();
    assert_eq!(listed, json!({ "tokens": [], "next": null }));
    let admin = first(&server);
    admin.send(&server, "DELETE", "/v1/tokens/x", &Value::Null).problem(400, "invalid_name");
    let nobody = "/v1/tokens/0123456789abcdef";
    admin.send(&server, "DELETE", nobody, &Value::Null).problem(404, "token_not_found");
}

#[test]
fn a_list_holds_what_the_token_may_see() {
    let (server, admin) = two_datasets();
    for (role, datasets, seen) in [
        ("reader", &["alpha"][..], &["alpha"][..]),
        ("reader", &["b*", "gamma"], &["beta"]),
        ("pusher", &["*"], &["alpha", "beta"]),
        ("operator", &["gamma"], &[]),
    ] {
        let token = admin.make(&server, "x", role, datasets);
        for path in ["/v1/datasets", "/v1/series"] {
            let list = token.get(&server, path).expect(200).json();
            assert_eq!(names(&list, "datasets"), seen, "{path} for {role} on {datasets:?}");
        }
    }
    // A push that runs.
    let body = json!({ "key": ["k"], "format": "ndjson" });
    admin.post(&server, "/v1/datasets/alpha/versions", &body).expect(201);
    for (datasets, seen) in [(&["alpha"][..], 1), (&["beta"], 0)] {
        let token = admin.make(&server, "x", "pusher", datasets);
        let running = token.get(&server, "/v1/pushes").expect(200).json();
        assert_eq!(running["pushes"].as_array().unwrap().len(), seen, "{datasets:?}");
    }
}

/// What the audit says of denials of the tokens named `x`.
fn denials_of_x(server: &Server, admin: &Token) -> Vec<Value> {
    let denied = admin.get(server, "/v1/audit?kind=denial&actor=x").expect(200);
    denied.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The datasets that these lines name, in order.
fn datasets_of(lines: &[Value]) -> Vec<&str> {
    let mut datasets: Vec<_> = lines.iter().map(|line| line["dataset"].as_str().unwrap()).collect();
    datasets.sort_unstable();
    datasets
}

#[test]
fn of_several_datasets_each_is_asked_for() {
    let (server, admin) = two_datasets();
    let reader = admin.make(&server, "x", "reader", &["alpha"]);
    let one = |dataset: &str| json!({ "dataset": dataset, "keys": [key(1)] });
    let asked = json!({ "requests": [one("alpha"), one("beta"), one("nothing")] });
    let answer = reader.post(&server, "/v1/batch-get", &asked).expect(200).json();
    let answers = answer["answers"].as_array().unwrap();
    assert_eq!(answers[0]["results"][0]["found"], true, "{answer}");
    for answer in &answers[1..] {
        assert_eq!(answer["error"]["code"], "forbidden", "{answer}");
        assert!(answer["results"].is_null() && answer["version"].is_null(), "{answer}");
    }
    // Each is told as if it had been asked for alone.
    let denied = denials_of_x(&server, &admin);
    assert_eq!(datasets_of(&denied), ["beta", "nothing"], "{denied:?}");
    for line in &denied {
        assert_eq!((&line["outcome"], &line["status"]), (&json!("forbidden"), &json!(403)));
        assert_eq!(line["token"], json!(reader.id), "{line}");
    }
    let are_counted = |count: u64| {
        let metrics = admin.get(&server, "/metrics").expect(200).text();
        let counted = format!("tidetable_access_refusals_total{{token=\"forbidden\"}} {count}\n");
        assert!(metrics.contains(&counted), "{counted}: {metrics}");
    };
    are_counted(2);

    let operator = admin.make(&server, "x", "operator", &["alpha"]);
    let to_1 = |dataset: &str| json!({ "dataset": dataset, "version": 1 });
    let asked = json!({ "activations": [to_1("alpha"), to_1("beta")] });
    let problem = operator.post(&server, "/v1/activate", &asked).problem(403, "forbidden");
    assert_eq!((&problem["dataset"], &problem["role"]), (&json!("beta"), &json!("operator")));
    let current = |dataset: &str| {
        admin.get(&server, &format!("/v1/datasets/{dataset}")).json()["current"].as_u64()
    };
    assert_eq!((current("alpha"), current("beta")), (Some(2), Some(2)), "nothing was changed");
    let one = admin.make(&server, "x", "admin", &["alpha"]);
    let erasing = json!({ "datasets": ["alpha", "beta"], "keys": ["k"], "reason": "why" });
    let problem = one.post(&server, "/v1/erase", &erasing).problem(403, "forbidden");
    assert_eq!((&problem["dataset"], &problem["role"]), (&json!("beta"), &json!("admin")));
    // Handlers have refused these two.
    are_counted(4);
    // Of what stands in the body the audit names the first that was lacking.
    let denied = denials_of_x(&server, &admin);
    assert_eq!(datasets_of(&denied), ["beta", "beta", "beta", "nothing"], "{denied:?}");
    let both = admin.make(&server, "x", "operator", &["alpha", "beta"]);
    both.post(&server, "/v1/activate", &asked).expect(200);
    assert_eq!((current("alpha"), current("beta")), (Some(1), Some(1)));
}

#[test]
fn samples_are_values() {
    let (server, admin) = two_datasets();
    let reader = admin.make(&server, "x", "reader", &["alpha"]);
    let operator = admin.make(&server, "x", "operator", &["alpha"]);
    let profile = "/v1/datasets/alpha/versions/2/profile";
    let diff = "/v1/datasets/alpha/diff?from=1&to=2";
    let seen = reader.get(&server, profile).expect(200).json();
    assert!(!seen["samples"].as_array().unwrap().is_empty() && seen["samples_withheld"].is_null());
    let seen = reader.get(&server, diff).expect(200).json();
    assert_eq!(seen["samples"]["changed"].as_array().unwrap().len(), 5, "{seen}");

    let seen = operator.get(&server, profile).expect(200).json();
    assert_eq!((&seen["samples"], &seen["samples_withheld"]), (&json!([]), &json!(true)));
    assert_eq!(seen["records"], 50, "the rest is told");
    let reply = operator.get(&server, diff).expect(200);
    assert!(!reply.text().contains(&key(1)), "{reply}");
    let seen = reply.json();
    assert_eq!((&seen["changed"], &seen["samples_withheld"]), (&json!(50), &json!(true)));
    let problem = operator.get(&server, &format!("{diff}&samples=1")).problem(403, "forbidden");
    assert_eq!(problem["role"], "reader");
    operator.get(&server, &format!("{diff}&samples=0")).expect(200);
    let history = format!("/v1/datasets/alpha/keys/{}/history", key(1));
    operator.get(&server, &history).problem(403, "forbidden");
    reader.get(&server, &history).expect(200);
}

/// What a failed push, or a gate, quotes is for those who may read it or have pushed it.
#[test]
fn quoted_rows_are_values() {
    let server = Server::start();
    let row = |grade: &str| format!("{{\"k\":\"learner-77\",\"grade\":\"{grade}\"}}\n");
    let parked = "key=k&format=ndjson&activate=false";
    server.push_with("alpha", parked, row("F-SECRET").as_bytes()).expect(201);
    server.pushed("alpha", &row("A"));
    let lookup = json!({ "key": "learner-77", "fields": { "grade": "A" } });
    let gates = json!({ "required_keys": ["learner-77"], "sample_lookups": [lookup] });
    server.configure("alpha", &json!({ "gates": gates }));
    let admin = first(&server);
    let token = |role: &str| admin.make(&server, role, role, &["alpha"]);
    let (reader, pusher, operator) = (token("reader"), token("pusher"), token("operator"));

    // The answer to the push itself says all.
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let refused = pusher.push(&server, "alpha", &row("F-SECRET")).problem(422, "gate_refused");
    assert!(text(&refused["detail"]).contains("F-SECRET"), "{refused}");
    assert!(refused["gates"].to_string().contains("F-SECRET"), "{refused}");
    let twice = [row("A"), row("B")].concat().replace("learner-77", "learner-99");
    let failed = pusher.push(&server, "alpha", &twice).problem(422, "duplicate_keys");
    assert!(text(&failed["detail"]).contains("learner-99"), "{failed}");
    assert!(text(&failed["problems"][0]).contains("learner-99"), "{failed}");

    let is_silent = |token: &Token, path: &str| {
        let reply = token.get(&server, &format!("/v1/datasets/alpha/{path}")).expect(200);
        let said = reply.text();
        assert!(!said.contains("learner-") && !said.contains("SECRET"), "{reply}");
    };
    let activate = "/v1/datasets/alpha/activate";
    let refused = operator.post(&server, activate, &json!({ "version": 1 }));
    let refused = refused.problem(422, "gate_refused");
    let said = refused.to_string();
    assert!(!said.contains("learner-") && !said.contains("SECRET"), "{refused}");
    assert_eq!(refused["problems_withheld"], true, "{refused}");
    for path in ["versions", "versions/1", "versions/3", "versions/4?wait=1", "history"] {
        is_silent(&operator, path);
    }
    for token in [&reader, &pusher] {
        is_silent(token, "history");
    }

    let version = |token: &Token, version: u64| {
        token.get(&server, &format!("/v1/datasets/alpha/versions/{version}")).expect(200).json()
    };
    for withheld in [1, 3, 4] {
        let shown = version(&operator, withheld);
        assert_eq!((&shown["problems"], &shown["problems_withheld"]), (&json!([]), &json!(true)));
        assert!(shown["detail"].is_null(), "{shown}");
    }
    assert!(version(&operator, 2)["problems_withheld"].is_null(), "there is nothing to withhold");
    let reason = "refused by sample_lookups: 0 of 1 sample lookups found what they should";
    let shown = version(&operator, 3);
    assert_eq!(shown["reason"], reason);
    for gate in shown["gates"].as_array().unwrap() {
        assert_eq!(gate["detail"].is_null(), gate["gate"] == "sample_lookups", "{shown}");
    }
    let told = text(&version(&operator, 4)["reason"]);
    assert!(told.starts_with("1 key has several different rows"), "{told}");
    for token in [&reader, &pusher] {
        let (rejected, failed) = (version(token, 3), version(token, 4));
        assert_eq!(rejected["reason"], reason);
        assert!(text(&rejected["detail"]).contains("F-SECRET"), "{rejected}");
        assert!(rejected["gates"].to_string().contains("F-SECRET"), "{rejected}");
        assert!(text(&failed["problems"][0]).contains("learner-99"), "{failed}");
        assert!(text(&failed["detail"]).contains("learner-99"), "{failed}");
        for shown in [&rejected, &failed] {
            assert!(shown["problems_withheld"].is_null(), "{shown}");
        }
    }
}

#[test]
fn a_pusher_gives_up_pushes_of_its_own_and_nothing_else() {
    let (server, admin) = two_datasets();
    let airflow = admin.make(&server, "airflow", "pusher", &["alpha"]);
    let airflow_too = admin.make(&server, "airflow", "pusher", &["alpha"]);
    let spark = admin.make(&server, "spark", "pusher", &["alpha"]);
    let begin = |token: &Token| {
        let body = json!({ "key": ["k"], "format": "ndjson" });
        let made = token.post(&server, "/v1/datasets/alpha/versions", &body).expect(201).json();
        format!("/v1/datasets/alpha/versions/{}", made["version"])
    };
    let delete = |token: &Token, path: &str| token.send(&server, "DELETE", path, &Value::Null);
    let push = begin(&airflow);
    delete(&spark, &push).problem(403, "forbidden");
    delete(&airflow_too, &push).expect(200);
    // A version that is there is not a push that runs.
    airflow.push(&server, "alpha", &rows("alpha", 3, 50)).expect(201);
    delete(&airflow, "/v1/datasets/alpha/versions/1").problem(403, "forbidden");
    delete(&airflow, "/v1/datasets/alpha/versions/99").problem(403, "forbidden");
    let operator = admin.make(&server, "ada", "operator", &["alpha"]);
    delete(&operator, &begin(&spark)).expect(200);
    delete(&operator, "/v1/datasets/alpha/versions/1").expect(200);
}

#[test]
fn the_history_says_who_it_was_by_the_name_of_the_token() {
    let (server, admin) = two_datasets();
    let airflow = admin.make(&server, "airflow", "pusher", &["alpha"]);
    airflow.push(&server, "alpha", &rows("alpha", 3, 50)).expect(201);
    let ada = admin.make(&server, "ada@example.org", "operator", &["alpha"]);
    let headers = [ada.header(), ("tidetable-actor", "grace")];
    server.send("POST", "/v1/datasets/alpha/rollback", &headers, b"{}").expect(200);
    let history = admin.get(&server, "/v1/datasets/alpha/history").expect(200).json();
    let actor = |event: &str| {
        let events = history["events"].as_array().unwrap();
        events.iter().find(|e| e["event"] == event).unwrap()["actor"].clone()
    };
    assert_eq!(actor("rolled_back"), "ada@example.org");
    assert_eq!(actor("admitted"), "airflow");
    assert_eq!(history["events"].as_array().unwrap().last().unwrap()["actor"], "anonymous");
}

#[test]
fn a_revoked_token_opens_nothing_from_the_answer_on() {
    let (server, admin) = two_datasets();
    let path = format!("/v1/datasets/alpha/keys/{}", key(1));
    let (old, new) = (
        admin.make(&server, "recs", "reader", &["alpha"]),
        admin.make(&server, "recs", "reader", &["alpha"]),
    );
    // On connections that are open, one of them on the short way and one on the long.
    let (mut short, mut long) = (server.client(), server.client());
    assert_eq!(old.look_up(&mut long, &format!("{path}?fields=k")), 200);
    for _ in 0..3 {
        assert_eq!(old.look_up(&mut short, &path), 200);
    }
    assert_eq!(new.look_up(&mut server.client(), &path), 200, "both are good at once");
    assert_eq!(admin.revoke(&server, &old).expect(200).json()["state"], "revoked");
    assert_eq!(old.look_up(&mut short, &path), 401);
    assert_eq!(old.look_up(&mut long, &path), 401);
    assert_eq!(new.look_up(&mut server.client(), &path), 200);
    let problem = admin.revoke(&server, &old).problem(409, "already_revoked");
    assert!(problem["detail"].as_str().unwrap().contains("nothing was changed"), "{problem}");
}

#[test]
fn a_lookup_by_the_short_way_is_refused_like_any_other() {
    let (server, admin) = two_datasets();
    let reader = admin.make(&server, "x", "reader", &["alpha"]);
    let pusher = admin.make(&server, "x", "pusher", &["alpha"]);
    let path = |dataset: &str| format!("/v1/datasets/{dataset}/keys/{}", key(1));
    assert_eq!(reader.look_up(&mut server.client(), &path("alpha")), 200);
    assert_eq!(reader.look_up(&mut server.client(), &path("beta")), 403);
    assert_eq!(reader.look_up(&mut server.client(), &path("nothing")), 403);
    assert_eq!(pusher.look_up(&mut server.client(), &path("alpha")), 403);
    server.get_path(&path("alpha")).problem(401, "unauthenticated");
    // Two headers are none: which of them counts is anyone's guess.
    let both = [reader.header(), reader.header()];
    server.send("GET", &path("alpha"), &both, b"").problem(401, "unauthenticated");
    // Pipelined: the one that is good is answered, the others are not.
    let mut client = server.client();
    for _ in 0..2 {
        assert_eq!(reader.look_up(&mut client, &path("alpha")), 200);
        assert_eq!(pusher.look_up(&mut client, &path("alpha")), 403);
    }
}
