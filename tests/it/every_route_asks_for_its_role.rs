//! Every route of the server, asked by everybody there can be: the table in docs/access.md is
//! what happens, and a route that is not in it fails here.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::data::rows;
use crate::harness::{Server, eventually};
use crate::http::Client;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/access.md");
const ROLES: [&str; 5] = ["reader", "pusher", "operator", "admin", "monitor"];
/// Routes that /openapi.json does not describe.
const BESIDE: [&str; 7] = [
    "/v1/datasets/{dataset}/keys/",
    "/openapi.json",
    "/docs",
    "/docs/",
    "/docs/{*rest}",
    "/",
    "/console/{file}",
];

/// One row of the table.
struct Row {
    method: String,
    path: String,
    token: String,
    roles: Vec<bool>,
}

fn table() -> Vec<Row> {
    let page = fs::read_to_string(PAGE).unwrap();
    let rows: Vec<Row> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter(|line| line.contains(" /"))
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let (method, path) = cells[0].trim_end_matches('`').split_once(' ').unwrap();
            Row {
                method: method.to_owned(),
                path: path.to_owned(),
                token: cells[1].to_owned(),
                roles: cells[2..7].iter().map(|cell| *cell == "yes").collect(),
            }
        })
        .collect();
    assert!(rows.len() > 40, "the table is not where it was");
    rows
}

/// Somebody who sends requests.
struct Caller {
    what: String,
    header: Option<String>,
    /// The role, and what it is held on; `None`: is let in nowhere.
    good: Option<(usize, &'static str)>,
}

/// A server with the dataset `alpha`, an admin's token, and everybody else.
fn guarded() -> (Server, String, Vec<Caller>) {
    let server = Server::start();
    server.pushed("alpha", &rows("alpha", 1, 10));
    let admin = made(&server, None, "ops", "admin", "*", &Value::Null);
    let admin = admin["token"].as_str().unwrap().to_owned();
    let mut callers = Vec::new();
    for (role, name) in ROLES.iter().enumerate() {
        for scope in ["alpha", "beta*", "*"] {
            let token = made(&server, Some(&admin), "x", name, scope, &Value::Null);
            let header = Some(format!("Bearer {}", token["token"].as_str().unwrap()));
            callers.push(Caller {
                what: format!("{name} of {scope}"),
                header,
                good: Some((role, scope)),
            });
        }
    }
    let refused =
        |what: &str, header: Option<String>| Caller { what: what.to_owned(), header, good: None };
    callers.push(refused("nobody", None));
    for (what, text) in [
        ("an empty header", String::new()),
        ("no scheme", admin.clone()),
        ("another scheme", format!("Basic {admin}")),
        ("an unknown token", format!("Bearer tt_{}_{}", "0".repeat(16), "A".repeat(43))),
        ("a wrong secret", format!("Bearer {}_{}", &admin[..19], "A".repeat(43))),
        ("a cut token", format!("Bearer {}", &admin[..admin.len() - 1])),
    ] {
        callers.push(refused(what, Some(text)));
    }
    let revoked = made(&server, Some(&admin), "x", "admin", "*", &Value::Null);
    let path = format!("/v1/tokens/{}", revoked["id"].as_str().unwrap());
    server.send("DELETE", &path, &[bearer(&admin).as_pair()], b"").expect(200);
    callers
        .push(refused("revoked", Some(format!("Bearer {}", revoked["token"].as_str().unwrap()))));
    let expired = made(&server, Some(&admin), "x", "admin", "*", &json!(1));
    let expired = format!("Bearer {}", expired["token"].as_str().unwrap());
    eventually("the token expires", || {
        server.send("GET", "/version", &[("authorization", &expired)], b"").status == 401
    });
    callers.push(refused("expired", Some(expired)));
    (server, admin, callers)
}

struct Bearer(String);

impl Bearer {
    fn as_pair(&self) -> (&str, &str) {
        ("authorization", &self.0)
    }
}

fn bearer(token: &str) -> Bearer {
    Bearer(format!("Bearer {token}"))
}

/// A new token, as it is told.
fn made(
    server: &Server,
    by: Option<&str>,
    name: &str,
    role: &str,
    dataset: &str,
    expires: &Value,
) -> Value {
    let by = by.map(bearer);
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(by.as_ref().map(Bearer::as_pair));
    let body = json!({ "name": name, "roles": [role], "datasets": [dataset], "expires_in_seconds": expires });
    server.send("POST", "/v1/tokens", &headers, body.to_string().as_bytes()).expect(201).json()
}

/// A request that changes nothing whoever sends it: no route has this parameter.
fn ask(client: &mut Client, method: &str, path: &str, caller: &Caller) -> crate::http::Reply {
    let path = path
        .replace("{dataset}", "alpha")
        .replace("{key}", "k")
        .replace("{version}", "1")
        .replace("{part}", "1")
        .replace("{id}", "0123456789abcdef")
        .replace("{file}", "main.js")
        .replace("{*rest}", "index.css");
    let headers: Vec<(&str, &str)> =
        caller.header.iter().map(|text| ("authorization", text.as_str())).collect();
    client.send(method, &format!("{path}?no_such_parameter=1"), &headers, b"").unwrap()
}

#[test]
fn the_table_of_roles_is_what_happens() {
    let (server, admin, callers) = guarded();
    let journal = fs::read(server.data().join("journal")).unwrap();
    let mut client = server.client();
    for row in table() {
        for caller in &callers {
            let expected = match (row.token.as_str(), &caller.good) {
                ("none", _) => None,
                (_, None) => Some((401, "unauthenticated")),
                ("any", Some(_)) => None,
                (token, Some((role, scope))) => {
                    let holds = match token {
                        "its dataset" => ["alpha", "*"].contains(scope),
                        "all datasets" => *scope == "*",
                        "each dataset" => true,
                        other => panic!("the table says {other:?}"),
                    };
                    (!(holds && row.roles[*role])).then_some((403, "forbidden"))
                }
            };
            let reply = ask(&mut client, &row.method, &row.path, caller);
            let what = format!("{} {} by {}: {reply}", row.method, row.path, caller.what);
            match expected {
                None => assert!(![401, 403].contains(&reply.status), "{what}"),
                Some((status, code)) => {
                    assert_eq!(reply.status, status, "{what}");
                    let challenge = reply.header("www-authenticate").map(str::to_owned);
                    let is_401 = status == 401;
                    assert_eq!(challenge.is_some(), is_401, "{what}");
                    reply.problem(status, code);
                }
            }
        }
    }
    let now = fs::read(server.data().join("journal")).unwrap();
    assert!(journal == now, "a refused request left a record");
    assert!(!server.said().contains(&admin[20..]), "a token stands in the log");
}

#[test]
fn every_route_is_in_the_table() {
    let server = Server::start();
    let listed: BTreeSet<(String, String)> =
        table().into_iter().map(|row| (row.method.to_ascii_lowercase(), row.path)).collect();
    let api = server.get_path("/openapi.json").expect(200).json();
    let mut there: BTreeSet<(String, String)> = BTreeSet::new();
    for (path, methods) in api["paths"].as_object().unwrap() {
        let methods = methods.as_object().unwrap();
        // A HEAD needs what the GET does, and has no row of its own.
        assert!(!methods.contains_key("head") || methods.contains_key("get"), "{path}");
        let methods = methods.keys().filter(|method| *method != "head");
        there.extend(methods.map(|method| (method.clone(), path.clone())));
    }
    there.extend(BESIDE.map(|path| ("get".to_owned(), path.to_owned())));
    assert_eq!(listed, there);
}

#[test]
fn what_is_no_route_is_told_to_those_who_may_ask_at_all() {
    let (server, _, callers) = guarded();
    let mut client = server.client();
    for caller in &callers {
        let (reader, admin) = (
            caller.good.is_some(),
            caller.good.is_some_and(|(role, scope)| ROLES[role] == "admin" && scope == "*"),
        );
        for path in
            ["/v1/nothing", "/v1/datasets/alpha/nothing", "/../v1", "//v1/datasets", "/V1/datasets"]
        {
            let status = ask(&mut client, "GET", path, caller).status;
            assert_eq!(status, if reader { 404 } else { 401 }, "{path} by {}", caller.what);
        }
        let status = ask(&mut client, "PATCH", "/v1/datasets/{dataset}", caller).status;
        let expected = if admin {
            405
        } else if reader {
            403
        } else {
            401
        };
        assert_eq!(status, expected, "{}", caller.what);
        // A HEAD asks for what the GET does.
        let status = ask(&mut client, "HEAD", "/v1/datasets/{dataset}/keys/{key}", caller).status;
        let get = ask(&mut client, "GET", "/v1/datasets/{dataset}/keys/{key}", caller).status;
        assert_eq!(status, get, "{}", caller.what);
    }
}

#[test]
fn whether_a_dataset_exists_is_not_told_to_those_who_may_not_ask() {
    let (server, _, callers) = guarded();
    let refusal = |caller: &Caller, dataset: &str| {
        let header = ("authorization", caller.header.as_deref().unwrap());
        let reply = server.send("GET", &format!("/v1/datasets/{dataset}/keys/k"), &[header], b"");
        let mut problem = reply.problem(403, "forbidden");
        problem["request_id"].take();
        // It names what was asked for, or all of them for what is no name.
        let detail = problem["detail"].take();
        let (place, is_named) = match dataset {
            "ALPHA" => ("all datasets", None),
            name => (name, Some(name)),
        };
        assert_eq!(problem["dataset"].take().as_str(), is_named, "{}", caller.what);
        (problem, detail.as_str().unwrap().replace(&format!("on {place},"), "on it,"))
    };
    let without = callers.iter().filter(|caller| {
        caller.good.is_some_and(|(role, scope)| {
            scope == "beta*" || !["reader", "admin"].contains(&ROLES[role])
        })
    });
    for caller in without {
        assert_eq!(refusal(caller, "alpha"), refusal(caller, "nothing"), "{}", caller.what);
        // What is no name of a dataset is in nobody's scope.
        assert_eq!(refusal(caller, "alpha"), refusal(caller, "ALPHA"), "{}", caller.what);
    }
}
