//! Tokens outlive the server, the first is made without one, and no text of one stands anywhere
//! but where it was made.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};

use crate::access::{Token, first};
use crate::data::{key, rows};
use crate::harness::{Server, scratch, tidetable};

fn create(data: &Path, more: &[&str]) -> Output {
    let mut command = tidetable(&["token", "create", "ops"]);
    command.args(more).arg("--data").arg(data);
    command.output().unwrap()
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Everything beneath a directory.
fn beneath(dir: &Path) -> Vec<PathBuf> {
    let mut found = vec![dir.to_owned()];
    let mut at = 0;
    while at < found.len() {
        if found[at].is_dir() {
            found.extend(fs::read_dir(&found[at]).unwrap().map(|entry| entry.unwrap().path()));
        }
        at += 1;
    }
    found
}

#[test]
fn the_first_token_is_made_in_the_data_directory() {
    let mut server = Server::start();
    server.pushed("recs", &rows("recs", 1, 10));
    let (code, _, text) = said(&create(&server.data(), &["--role", "admin"]));
    assert_eq!(code, Some(5), "a server has it: {text}");
    assert!(text.contains("stop the server first"), "{text}");
    server.kill();
    let (code, out, text) = said(&create(&server.data(), &["--role", "reader"]));
    assert_eq!((code, out.as_str()), (Some(2), ""), "{text}");
    let (code, out, text) = said(&create(&server.data(), &["--role", "admin"]));
    assert_eq!(code, Some(0), "{text}");
    let token = out.trim_end();
    assert!(token.starts_with("tt_") && out.lines().count() == 1, "the text alone: {out}");
    assert!(!text.contains(&token[20..]) && text.contains("not shown again"), "{text}");
    server.start_again();
    server.get("recs", &key(1)).problem(401, "unauthenticated");
    let lookup = |with: &str| {
        let address = format!("http://{}", server.address());
        let mut command = tidetable(&["get", "recs", &key(1), "--server", &address]);
        if !with.is_empty() {
            command.env("TIDETABLE_TOKEN", with);
        }
        said(&command.output().unwrap())
    };
    assert_eq!(lookup(token).0, Some(0));
    let (code, _, text) = lookup("");
    assert!(code == Some(1) && text.contains("TIDETABLE_TOKEN"), "{code:?} {text}");
    assert_eq!(lookup("tt_wrong").0, Some(1));
    // The second may be anybody's.
    server.kill();
    let (code, out, _) = said(&create(&server.data(), &["--role", "reader", "--json"]));
    assert_eq!(code, Some(0));
    let made: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&made["roles"], &made["state"]), (&json!(["reader"]), &json!("active")));
}

#[test]
fn a_token_can_be_made_before_there_is_anything() {
    let home = scratch();
    let data = home.path().join("new/data");
    let (code, out, text) = said(&create(&data, &["--role", "admin", "--expires", "never"]));
    assert_eq!(code, Some(0), "{text}");
    assert!(out.starts_with("tt_") && text.contains("until it is revoked"), "{out} {text}");
    assert!(text.contains("new/data is new: there was no data directory"), "{text}");
    let (code, _, text) = said(&create(&data, &["--role", "reader"]));
    assert!(code == Some(0) && !text.contains("is new"), "it is there now: {text}");
}

#[test]
fn the_command_line_makes_lists_and_revokes() {
    let server = Server::start();
    let admin = first(&server);
    let address = format!("http://{}", server.address());
    let run = |words: &[&str]| {
        let mut command = tidetable(&[&["token"], words, &["--server", &address]].concat());
        said(&command.env("TIDETABLE_TOKEN", &admin.text).output().unwrap())
    };
    let words =
        ["create", "airflow", "--role", "pusher", "--dataset", "course-*", "--expires", "30d"];
    let (code, out, text) = run(&words);
    assert_eq!(code, Some(0), "{text}");
    let id = &out[3..19];
    let (code, listed, _) = run(&["list"]);
    assert_eq!(code, Some(0));
    for part in [id, "airflow", "pusher", "course-*", "active", &admin.id] {
        assert!(listed.contains(part), "{part}: {listed}");
    }
    assert!(!listed.contains(&out[20..40]) && !listed.contains(admin.secret()), "{listed}");
    assert_eq!(run(&["revoke", id]).0, Some(0));
    let (code, _, text) = run(&["revoke", id]);
    assert!(code == Some(5) && text.contains("nothing was changed"), "{code:?} {text}");
    assert_eq!(run(&["revoke", "0123456789abcdef"]).0, Some(4));
    assert!(run(&["list"]).1.contains("revoked"));
}

#[test]
fn what_was_made_and_revoked_stays_so_whatever_is_killed() {
    let mut server = Server::start();
    server.pushed("recs", &rows("recs", 1, 10));
    let admin = first(&server);
    let (kept, gone) =
        (admin.make(&server, "a", "reader", &["*"]), admin.make(&server, "b", "reader", &["*"]));
    admin.revoke(&server, &gone).expect(200);
    for _ in 0..2 {
        server.restart();
        let path = format!("/v1/datasets/recs/keys/{}", key(1));
        server.get_path(&path).problem(401, "unauthenticated");
        kept.get(&server, &path).expect(200);
        gone.get(&server, &path).problem(401, "unauthenticated");
    }
    let listed = admin.get(&server, "/v1/tokens").expect(200).json();
    let states: Vec<&Value> =
        listed["tokens"].as_array().unwrap().iter().map(|t| &t["state"]).collect();
    assert_eq!(states.len(), 3);
    assert_eq!(states.iter().filter(|state| **state == "revoked").count(), 1, "{listed}");
}

#[test]
fn no_text_of_a_token_is_kept_or_told() {
    let server = Server::start_with(&["--log-level", "trace"]);
    server.pushed("recs", &rows("recs", 1, 10));
    let admin = first(&server);
    let other = admin.make(&server, "other", "reader", &["*"]);
    let mut told = String::new();
    let mut note = |reply: crate::http::Reply| told += &reply.text();
    note(admin.get(&server, "/v1/tokens"));
    note(admin.get(&server, "/metrics"));
    note(admin.get(&server, "/readyz"));
    note(other.get(&server, "/metrics"));
    note(other.post(&server, "/v1/datasets/recs/rollback", &json!({})));
    // Where a token has no place: it is not repeated there either.
    let text = &other.text;
    note(server.get_path(&format!("/v1/datasets/recs/keys/k?token={text}")));
    note(admin.get(&server, &format!("/v1/datasets/recs/keys/k?token={text}")));
    note(server.send("GET", "/version", &[("authorization", &format!("Bearer {text}x"))], b""));
    note(server.send("GET", "/version", &[("authorization", &format!("Basic {text}"))], b""));
    note(server.send("GET", "/version", &[("authorization", text)], b""));
    note(admin.send(&server, "DELETE", &format!("/v1/tokens/{}", other.id), &Value::Null));
    note(other.get(&server, "/version"));
    let log = server.said();
    assert!(log.contains("a request was refused") && log.contains(&other.id), "{log}");
    for token in [&admin, &other] {
        assert!(!told.contains(token.secret()), "{told}");
        assert!(!log.contains(token.secret()), "the log has it");
        for path in beneath(&server.data()).iter().filter(|path| path.is_file()) {
            let bytes = fs::read(path).unwrap();
            let secret = token.secret().as_bytes();
            let found = bytes.windows(secret.len()).any(|window| window == secret);
            assert!(!found, "{} has it", path.display());
        }
    }
}

#[test]
fn whoever_guesses_is_counted_and_does_not_fill_the_log() {
    let server = Server::start();
    let admin = first(&server);
    let reader = admin.make(&server, "x", "reader", &["recs"]);
    let mut client = server.client();
    for n in 0..300 {
        let guess = format!("Bearer tt_{n:016x}_{}", "A".repeat(43));
        let (method, path) =
            if n % 2 == 0 { ("GET", "/version") } else { ("POST", "/v1/activate") };
        let status = client.send(method, path, &[("authorization", &guess)], b"").unwrap().status;
        assert_eq!(status, 401);
    }
    server.get_path("/version").expect(401);
    reader.get(&server, "/metrics").expect(403);
    let page = admin.get(&server, "/metrics").expect(200).text();
    for (token, count) in [("absent", 1), ("invalid", 300), ("forbidden", 1)] {
        let line = format!("tidetable_access_refusals_total{{token=\"{token}\"}} {count}");
        assert!(page.contains(&line), "{line}: {page}");
    }
    let lines = server
        .said()
        .lines()
        .filter(|line| line.contains("refused") || line.contains("401"))
        .count();
    assert!((1..100).contains(&lines), "{lines} lines for 300 guesses");
}

#[test]
fn the_data_directory_is_its_users_alone() {
    let server = Server::start();
    server.pushed("recs", &rows("recs", 1, 1_000));
    first(&server);
    for path in beneath(&server.data()) {
        let mode = path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
    }
}

#[test]
fn a_directory_that_everybody_may_write_is_refused() {
    let mut server = Server::start();
    server.pushed("recs", &rows("recs", 1, 10));
    server.kill();
    let set = |mode| fs::set_permissions(server.data(), fs::Permissions::from_mode(mode)).unwrap();
    set(0o777);
    let refused = server.try_start().unwrap_err();
    assert!(!refused.status.success() && refused.said.contains("chmod 700"), "{}", refused.said);
    let set = |mode| fs::set_permissions(server.data(), fs::Permissions::from_mode(mode)).unwrap();
    set(0o755);
    server.start_again();
    assert!(server.said().contains("other users of this machine may look"), "{}", server.said());
}

#[test]
fn an_address_that_others_reach_takes_tokens_and_tls_or_a_word() {
    let home = scratch();
    let data = home.path().join("data");
    create(&data, &["--role", "admin"]);
    let mut command = tidetable(&["serve", "--listen", "0.0.0.0:0", "--data"]);
    let (code, _, text) = said(&command.arg(&data).output().unwrap());
    assert!(code == Some(2) && text.contains("no TLS") && text.contains("--insecure"), "{text}");
}

/// Whose name stands for it, and until when, is for all who may list tokens.
#[test]
fn a_token_is_shown_without_what_opens() {
    let server = Server::start();
    let admin = first(&server);
    let made = json!({ "name": "x", "roles": ["reader", "pusher"], "expires_in_seconds": null });
    let made = admin.post(&server, "/v1/tokens", &made).expect(201);
    assert_eq!(made.header("cache-control"), Some("no-store"));
    let token = Token::of(&made.json());
    let listed = admin.get(&server, "/v1/tokens").expect(200).json();
    let shown = listed["tokens"].as_array().unwrap().iter().find(|t| t["id"] == token.id.as_str());
    let mut expected = made.json();
    expected.as_object_mut().unwrap().remove("token");
    assert_eq!(shown, Some(&expected));
    assert_eq!(expected["created_by"], "ops");
    assert_eq!((&expected["datasets"], &expected["expires_at"]), (&json!(["*"]), &Value::Null));
}
