//! `tidetable scan`: whatever becomes current while it runs, what it prints is one version, whole
//! and in order; and it says what it leaves out.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::data::{assert_same, key, rows};
use crate::harness::{Server, tidetable};

const D: &str = "recs";

/// `tidetable scan` with these arguments.
fn scan(server: &Server, arguments: &[&str]) -> Command {
    let mut command = tidetable(&["scan"]);
    command.args(arguments).env("TIDETABLE_SERVER", format!("http://{}", server.address()));
    command
}

/// What it prints and says, if it ends with that exit code.
#[track_caller]
fn ended(server: &Server, arguments: &[&str], code: i32) -> [String; 2] {
    let Output { status, stdout, stderr } = scan(server, arguments).output().unwrap();
    let said = [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert_eq!(status.code(), Some(code), "{said:?}");
    said
}

#[test]
fn a_swap_in_the_middle_changes_nothing_of_what_is_printed() {
    const RECORDS: usize = 5_000;
    let server = Server::start();
    server.pushed(D, &rows(D, 1, RECORDS));
    let mut running = scan(&server, &[D, "--all"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(running.stdout.take().expect("it is piped")).lines();
    // The first of five pages is there, and more than the pipe holds: the second was not asked for.
    let first = lines.next().unwrap();
    assert_eq!(server.pushed(D, &rows(D, 2, RECORDS)), 2);
    let mut seen = 0;
    for (i, line) in [first].into_iter().chain(lines).enumerate() {
        let record: Value = serde_json::from_str(&line.unwrap()).unwrap();
        assert_eq!(record["key"], key(i));
        assert_same(&record["value"], D, 1, i);
        seen = i + 1;
    }
    assert!(running.wait().unwrap().success());
    assert_eq!(seen, RECORDS);
}

#[test]
fn what_is_left_out_is_said_and_what_is_not_there_ends_as_a_lookup_does() {
    let server = Server::start();
    server.pushed(D, &rows(D, 1, 150));
    let [printed, said] = ended(&server, &[D], 0);
    assert_eq!(printed.lines().count(), 100);
    assert!(said.contains("there is more"), "{said}");
    let [printed, said] = ended(&server, &[D, "--all"], 0);
    assert_eq!((printed.lines().count(), said.as_str()), (150, ""));
    let [printed, _] = ended(&server, &[D, "--prefix", "learner:000014"], 0);
    assert_eq!(printed.lines().count(), 10);
    let [printed, said] = ended(&server, &[D, "--prefix", "nobody"], 0);
    assert_eq!((printed.as_str(), said.as_str()), ("", "recs 1 has no key with this prefix\n"));

    let limited = [D, "--limit", "2", "--fields", "version", "--json"];
    let [printed, said] = ended(&server, &limited, 0);
    let page: Value = serde_json::from_str(&printed).unwrap();
    let record = |i: usize| json!({ "key": key(i), "value": { "version": 1 } });
    assert_eq!((&page["version"], said.as_str()), (&json!(1), ""));
    assert_eq!(page["records"], json!([record(0), record(1)]));
    assert!(page["next"].is_string(), "{page}");

    ended(&server, &["nobody"], 4);
    ended(&server, &[D, "--version", "9"], 4);
    ended(&server, &[D, "--prefix", "x", "--key-encoding", "hex"], 2);

    // As in `tidetable scan … | true`.
    let (nobody, closed) = std::io::pipe().unwrap();
    drop(nobody);
    let output = scan(&server, &[D]).stdout(closed).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}
