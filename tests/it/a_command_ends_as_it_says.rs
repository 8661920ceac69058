//! The command line against a real server: exit codes, what stands on standard error, and
//! that a command which says it did something has done it.

use std::fs;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::data::{key, rows, value};
use crate::harness::{BINARY, Server, tidetable};

const D: &str = "recs";

/// Runs a command against the server.
fn run(server: &Server, arguments: &[&str]) -> Output {
    let address = format!("http://{}", server.address());
    tidetable(arguments).env("TIDETABLE_SERVER", address).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Ended with that exit code.
#[track_caller]
fn ended(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}{}", out(output), err(output));
}

/// Standard error is empty, or one JSON object.
#[track_caller]
fn only_json_on_stderr(output: &Output) {
    let said = err(output);
    if output.status.success() {
        assert_eq!(said, "");
    } else {
        let error: Value = serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}"));
        assert_eq!(error["error"]["exit"], output.status.code().unwrap(), "{said}");
    }
}

#[test]
fn null_turns_a_gate_off_and_is_refused_where_it_means_nothing() {
    let server = Server::start();
    server.pushed(D, &rows(D, 1, 1000));
    ended(&run(&server, &["config", D, "owner=us", "gates.max_shrink_percent=10"]), 0);
    ended(&run(&server, &["config", D, "gates.max_shrink_percent=null", "owner=null"]), 0);
    let config = &server.dataset(D)["config"];
    assert_eq!(
        (&config["gates"]["max_shrink_percent"], &config["owner"]),
        (&json!(null), &json!(null))
    );
    let again = run(&server, &["config", D, "owner=null"]);
    assert!(err(&again).contains("recs: nothing was changed"), "{}", err(&again));
    ended(&run(&server, &["config", D, "retain=null"]), 2);
    assert_eq!(server.dataset(D)["config"]["retain"], 3);
    let shown = run(&server, &["config", D, "--json"]);
    let changed = run(&server, &["config", D, "retain=4", "--json"]);
    let [shown, changed]: [Value; 2] =
        [&shown, &changed].map(|output| serde_json::from_str(&out(output)).unwrap());
    assert_eq!((&shown["config"]["retain"], &changed["config"]["retain"]), (&json!(3), &json!(4)));
    assert_eq!(shown["dataset"], changed["dataset"]);
}

#[test]
fn a_key_that_was_used_for_other_data_is_a_conflict() {
    let server = Server::start();
    let file = server.beside("rows.ndjson");
    let path = file.to_str().unwrap();
    let push = ["push", D, path, "--key", "k", "--idempotency-key", "run-7"];
    fs::write(&file, rows(D, 1, 10)).unwrap();
    ended(&run(&server, &push), 0);
    let again = run(&server, &push);
    ended(&again, 0);
    assert!(
        out(&again).contains("pushed before with this key: nothing was sent"),
        "{}",
        out(&again)
    );
    fs::write(&file, rows(D, 2, 10)).unwrap();
    let other = run(&server, &push);
    ended(&other, 5);
    assert!(err(&other).contains("rows.ndjson has other bytes"), "{}", err(&other));
    assert_eq!(server.dataset(&format!("{D}/versions"))["versions"].as_array().unwrap().len(), 1);
}

#[test]
fn sources_that_are_not_there_or_tell_no_format_end_alike_in_a_dry_run() {
    let server = Server::start();
    let odd = server.beside("part-0");
    fs::write(&odd, "1|2\n").unwrap();
    let marked = server.beside("out");
    fs::create_dir(&marked).unwrap();
    fs::write(marked.join("a.ndjson"), rows(D, 1, 10)).unwrap();
    fs::write(marked.join("_SUCCESS"), "").unwrap();
    for dry in [&[][..], &["--dry-run"]] {
        let push = |source: &str| run(&server, &[&["push", D, source, "--key", "k"], dry].concat());
        ended(&push("nowhere.ndjson"), 4);
        ended(&push("nowhere/*.ndjson"), 4);
        ended(&push(odd.to_str().unwrap()), 3);
        ended(&push(&format!("{}/*", marked.display())), 0);
    }
}

#[test]
fn a_dry_run_sends_no_control_characters_of_rows_to_a_terminal() {
    let server = Server::start();
    let file = server.beside("rows.ndjson");
    fs::write(&file, "{\"k\":\"a\\u001b[2J\",\"v\":\"b\u{202e}\"}\n").unwrap();
    let push = ["push", D, file.to_str().unwrap(), "--key", "k", "--dry-run"];
    let shown = run(&server, &push);
    ended(&shown, 0);
    assert_eq!(out(&shown), "a\\u{1b}[2J\t{\"k\":\"a\\u001b[2J\",\"v\":\"b\\u{202e}\"}\n");
    // For programs it is as it would be stored.
    let json: Value =
        serde_json::from_str(&out(&run(&server, &[&push[..], &["--json"]].concat()))).unwrap();
    assert_eq!((&json["key"], &json["value"]["v"]), (&json!("a\u{1b}[2J"), &json!("b\u{202e}")));
}

#[test]
fn with_json_nothing_else_stands_on_standard_error() {
    let server = Server::start();
    let file = server.beside("rows.ndjson");
    fs::write(&file, rows(D, 1, 10)).unwrap();
    let path = file.to_str().unwrap();
    for (arguments, code) in [
        (&["push", D, path, "--key", "k", "--idempotency-key", "a"][..], 0),
        (&["push", D, path, "--key", "k", "--idempotency-key", "a"], 0),
        (&["push", D, path, "--key", "k", "--dry-run"], 0),
        (&["push", D, path, "--key", "absent"], 3),
        (&["push", D, path], 2),
        (&["push", D], 2),
        (&["activate", D, "latest"], 2),
        (&["get", D, "absent"], 4),
        (&["history", "nobody"], 4),
        (&["no-such-command"], 2),
    ] {
        let output = run(&server, &[arguments, &["--json"]].concat());
        ended(&output, code);
        only_json_on_stderr(&output);
    }
    let verify = tidetable(&["verify", "--json"]).arg(server.data()).output().unwrap();
    ended(&verify, 0);
    only_json_on_stderr(&verify);
}

#[test]
fn a_push_whose_notes_nobody_reads_ends_well() {
    let server = Server::start();
    let file = server.beside("rows.ndjson");
    fs::write(&file, rows(D, 1, 10)).unwrap();
    // As in `tidetable push … 2>&1 | true`.
    let (nobody, closed) = std::io::pipe().unwrap();
    drop(nobody);
    let mut push = tidetable(&["push", D, file.to_str().unwrap(), "--key", "k"]);
    push.env("TIDETABLE_SERVER", format!("http://{}", server.address()));
    let output = push.stderr(closed).output().unwrap();
    ended(&output, 0);
    assert_eq!(server.dataset(D)["current"], 1);
}

#[test]
fn versions_whose_journal_is_lost_are_pushed_as_the_hint_says() {
    let mut lost = Server::start();
    lost.pushed(D, &rows(D, 1, 10));
    lost.kill();
    fs::remove_file(lost.data().join("journal")).unwrap();
    let place = lost.data().join(format!("datasets/{D}/1"));
    for command in ["repair", "verify"] {
        let output = tidetable(&[command]).arg(lost.data()).output().unwrap();
        ended(&output, 1);
        let push = format!("`tidetable push {D} {}`", place.display());
        assert!(err(&output).contains(&push), "{}", err(&output));
    }
    let server = Server::start();
    ended(&run(&server, &["push", D, place.to_str().unwrap()]), 0);
    assert_eq!(server.get(D, &key(3)).expect(200).text(), value(D, 1, 3));
}

#[test]
fn a_negative_number_is_a_key() {
    let server = Server::start();
    server.pushed(D, "{\"k\":-7,\"n\":1}\n");
    let found = run(&server, &["get", D, "-7"]);
    ended(&found, 0);
    assert_eq!(out(&found), "{\"k\":-7,\"n\":1}");
}

#[test]
fn rows_that_an_option_left_out_are_told_in_the_log() {
    let server = Server::start();
    let rows = "{\"k\":1,\"n\":1}\n{\"k\":1,\"n\":2}\n{\"k\":1,\"n\":3}\n";
    server.push_with(D, "key=k&format=ndjson&on_duplicate=first", rows.as_bytes()).expect(201);
    assert!(server.said().contains("others_dropped=2"), "{}", server.said());
    server.push_with(D, "key=k&format=ndjson&collect=true&limit=2", rows.as_bytes()).expect(201);
    assert!(server.said().contains("others_dropped=1"), "{}", server.said());
}

/// Runs a program at a terminal on which something is typed; its standard error goes nowhere.
const AT_A_TERMINAL: &str = r#"
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    os.execv(sys.argv[2], sys.argv[2:])
os.write(terminal, sys.argv[1].encode())
while True:
    try:
        said = os.read(terminal, 4096)
    except OSError:  # So ends a terminal on Linux.
        break
    if not said:
        break
    os.write(1, said)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

#[test]
fn whoever_sits_at_a_terminal_is_asked_before_a_dataset_is_deleted() {
    let server = Server::start();
    server.pushed(D, &rows(D, 1, 10));
    let delete = ["delete", D, "--whole-dataset"];
    let typed = |answer: &str| {
        let mut python = Command::new("python3");
        python.args(["-c", AT_A_TERMINAL, answer, BINARY]).args(delete);
        python.args(["--server", &format!("http://{}", server.address())]);
        python.env_remove("TIDETABLE_TOKEN").output().expect("these tests need python3")
    };
    let no = typed("n\n");
    ended(&no, 1);
    assert!(out(&no).contains("Delete recs with all its versions"), "{}", out(&no));
    assert_eq!(server.dataset(D)["current"], 1);
    ended(&typed("y\n"), 0);
    server.get_path(&format!("/v1/datasets/{D}")).problem(404, "dataset_not_found");
    server.pushed(D, &rows(D, 2, 10));
    // There is no terminal here, and so nobody to ask.
    ended(&run(&server, &delete), 0);
}

#[test]
fn a_variable_is_no_option_that_somebody_has_given() {
    let said = |arguments: &[&str]| {
        let output = tidetable(arguments).env("TIDETABLE_SERVER", "http://h").output().unwrap();
        ended(&output, 2);
        err(&output)
    };
    for (arguments, usage) in
        [(&[][..], "Usage: tidetable "), (&["token"], "Usage: tidetable token ")]
    {
        let help = said(arguments);
        assert!(help.contains(usage) && help.contains("Commands:"), "{help}");
        assert!(help.contains("TIDETABLE_SERVER]"), "{help}");
    }
    // That of the server's directory is no request to read it.
    let server = Server::start();
    let address = format!("http://{}", server.address());
    let audit = tidetable(&["audit", "--server", &address]).env("TIDETABLE_DATA", "d").output();
    ended(&audit.unwrap(), 0);
    let absent = said(&["get", D]);
    assert!(absent.contains("Usage: tidetable get ") && !absent.contains("--server"), "{absent}");
}

#[test]
fn an_empty_variable_is_not_set_and_a_token_is_not_for_the_server() {
    let empty = tidetable(&["get", D, "1"]).env("TIDETABLE_SERVER", "").output().unwrap();
    // Whether or not somebody listens there: it is an address.
    assert_ne!(empty.status.code(), Some(2), "{}", err(&empty));
    let serve = tidetable(&["serve", "--token", "secret"]).output().unwrap();
    ended(&serve, 2);
    assert!(err(&serve).contains("tidetable token create"), "{}", err(&serve));
}
