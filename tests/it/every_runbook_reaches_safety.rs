//! The runbooks of docs/operations.md, run as they stand there: each against the trouble that it
//! is for, and each must lead to safety in at most three commands.
//!
//! A runbook is a fenced block whose info string names it (`sh runbook=stale`). What the page tells
//! readers to put their own in the place of is put here: see [`ours`].

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::a_full_disk_fails_the_push_alone::{NO_NAMESPACE, namespace, noise};
use crate::data::{key, value};
use crate::harness::{BINARY, Server, scratch};
use crate::skip::skip;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md");
const D: &str = "course-recs";
const RECORDS: usize = 1_200;

/// Every runbook that a test below runs.
const RUN: [&str; 8] = [
    "bad-version",
    "disk-full",
    "node-lost",
    "node-lost-without-a-backup",
    "refused",
    "refused-but-right",
    "stale",
    "stale-held",
];

/// The commands of every runbook, by its name.
fn runbooks() -> BTreeMap<String, Vec<String>> {
    let page = fs::read_to_string(PAGE).unwrap();
    let mut all = BTreeMap::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(name) = line.strip_prefix("```sh runbook=") else { continue };
        let commands = lines.by_ref().take_while(|line| *line != "```").map(str::to_owned);
        assert!(all.insert(name.to_owned(), commands.collect()).is_none(), "{name} stands twice");
    }
    all
}

#[test]
fn each_is_three_commands_at_most_and_is_run_here() {
    let runbooks = runbooks();
    assert_eq!(runbooks.keys().collect::<Vec<_>>(), RUN.iter().collect::<Vec<_>>());
    for (name, commands) in runbooks {
        assert!((1..=3).contains(&commands.len()), "{name}: {commands:?}");
    }
}

/// Where a person would run them: a working directory with the job's file, `tidetable` and a
/// `systemctl` on the path.
struct Operator {
    home: tempfile::TempDir,
    /// What stands for words of the page.
    ours: Vec<(&'static str, String)>,
}

impl Operator {
    fn new() -> Self {
        let home = scratch();
        let programs = home.path().join("bin");
        fs::create_dir(&programs).unwrap();
        symlink(BINARY, programs.join("tidetable")).unwrap();
        // Service managers are not for tests: it notes what it was told.
        let systemctl = programs.join("systemctl");
        fs::write(&systemctl, "#!/bin/sh\necho \"$@\" >> systemctl.log\n").unwrap();
        fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).unwrap();
        Self { home, ours: Vec::new() }
    }

    /// Puts ours in the place of a word of the page.
    fn ours(mut self, word: &'static str, ours: &dyn ToString) -> Self {
        self.ours.push((word, ours.to_string()));
        self
    }

    /// What the job has written.
    fn wrote(self, rows: &str) -> Self {
        fs::write(self.home.path().join("recs.ndjson"), rows).unwrap();
        self
    }

    /// Runs one runbook to its end: each command must do what it is for. Gives what they said.
    #[track_caller]
    fn follows(&self, runbook: &str, server: &Server) -> Vec<String> {
        runbooks()[runbook].iter().map(|command| self.runs(command, server)).collect()
    }

    #[track_caller]
    fn runs(&self, command: &str, server: &Server) -> String {
        let said = self.command(command, server);
        let [out, err] = [&said.stdout, &said.stderr].map(|said| String::from_utf8_lossy(said));
        assert!(said.status.success(), "{command}: {}\n{out}{err}", said.status);
        out.into_owned()
    }

    fn command(&self, command: &str, server: &Server) -> Output {
        let mut command = command.to_owned();
        for (word, ours) in &self.ours {
            command = command.replace(word, ours);
        }
        let path = format!("{}/bin:{}", self.home.path().display(), std::env::var("PATH").unwrap());
        let mut shell = Command::new("sh");
        shell.args(["-euc", &command]).current_dir(self.home.path()).env("PATH", path);
        shell.env("TIDETABLE_SERVER", format!("http://{}", server.address()));
        shell.output().unwrap()
    }

    /// What the service manager was told.
    fn systemctl(&self) -> String {
        fs::read_to_string(self.home.path().join("systemctl.log")).unwrap_or_default()
    }
}

/// Rows as the job of the runbooks writes them.
fn rows(version: u64, records: usize) -> String {
    let row = |i| value(D, version, i).replacen("\"k\"", "\"learner_id\"", 1) + "\n";
    (0..records).map(row).collect()
}

#[track_caller]
fn push(server: &Server, version: u64, records: usize) -> u64 {
    let reply =
        server.push_with(D, "key=learner_id&format=ndjson", rows(version, records).as_bytes());
    assert!(matches!(reply.status, 201 | 202), "{reply}");
    reply.json()["version"].as_u64().unwrap()
}

/// Readers get the values of this version's rows.
#[track_caller]
fn serves(server: &Server, version: u64) {
    let found = server.get(D, &key(7)).expect(200);
    assert_eq!(found.json()["version"], version, "{found}");
}

fn current(server: &Server) -> Value {
    server.dataset(D)["current"].clone()
}

#[test]
fn the_new_version_is_bad() {
    let server = Server::start();
    push(&server, 1, RECORDS);
    let bad = push(&server, 2, RECORDS);
    serves(&server, 2);
    let said = Operator::new().follows("bad-version", &server);
    serves(&server, 1);
    assert!(said[1].contains(D) && said[1].contains("held"), "{}", said[1]);
    assert_eq!(server.dataset(&format!("{D}/versions/{bad}"))["state"], "bad");
    // And it stays so: the job runs again unmended, and then mended.
    let query = "key=learner_id&format=ndjson";
    server.push_with(D, query, rows(2, RECORDS).as_bytes()).problem(422, "gate_refused");
    push(&server, 3, RECORDS);
    serves(&server, 1);
}

#[test]
fn a_dataset_is_stale() {
    let server = Server::start();
    push(&server, 1, RECORDS);
    let operator = Operator::new().wrote(&rows(2, RECORDS));
    let said = operator.follows("stale", &server);
    assert!(said[0].contains("activated"), "{}", said[0]);
    serves(&server, 2);

    // The job does push, and nobody has released the dataset.
    server.operate(D, "hold", &json!({ "reason": "a test" })).expect(200);
    push(&server, 3, RECORDS);
    serves(&server, 2);
    let said = operator.follows("stale-held", &server);
    assert!(said[0].contains("ready"), "{}", said[0]);
    serves(&server, 3);
}

#[test]
fn a_push_was_refused() {
    let server = Server::start();
    let before = push(&server, 1, RECORDS);
    let small = rows(2, RECORDS / 4);
    let query = "key=learner_id&format=ndjson";
    let problem = server.push_with(D, query, small.as_bytes()).problem(422, "gate_refused");
    serves(&server, 1);
    let operator = Operator::new().ours("42", &before).ours("43", &problem["version"]);
    let said = operator.follows("refused", &server);
    assert!(said[0].contains("max_shrink_percent") && said[0].contains("75"), "{}", said[0]);
    assert!(said[1].contains("900"), "so many keys are gone: {}", said[1]);
    operator.follows("refused-but-right", &server);
    serves(&server, 2);
    let history = server.dataset(&format!("{D}/history"));
    assert_eq!(history["events"][0]["reason"], "the catalogue was cut on purpose", "{history}");
    // Mended instead: the gates compare with what serves.
    push(&server, 3, RECORDS);
    serves(&server, 3);
}

/// A tmpfs that has room for three versions of the size below, and not for a fourth one and its
/// parts besides.
const ON_A_DISK_FOR_THREE: &str =
    r#"mount -t tmpfs -o size=154m,mode=700 small "$1" && shift && exec "$@""#;
const LARGE: usize = 37_000;

#[test]
fn the_disk_is_full() {
    let Some(namespace) = namespace() else {
        return skip("the_disk_is_full", NO_NAMESPACE);
    };
    let server = Server::start_on_mount(&namespace, ON_A_DISK_FOR_THREE);
    let large = |seed| noise(seed, LARGE).replace("\"k\"", "\"learner_id\"");
    let query = "key=learner_id&format=ndjson";
    let push = |seed| server.push_with(D, query, large(seed).as_bytes());
    let oldest = push(1).expect(201).json()["version"].clone();
    push(2).expect(201);
    let serving = push(3).expect(201).json()["version"].clone();
    push(4).problem(507, "disk_full");
    assert_eq!(current(&server), serving, "reads go on");
    let operator = Operator::new().ours("41", &oldest).wrote(&large(4));
    operator.follows("disk-full", &server);
    assert!(current(&server).as_u64() > serving.as_u64(), "the new version serves");
    server.get(D, &key(7)).expect(200);
    server.operate(D, "rollback", &json!({})).expect(200);
}

#[test]
fn a_node_was_lost() {
    let mut server = Server::start();
    push(&server, 1, RECORDS);
    push(&server, 2, RECORDS);
    server.operate(D, "rollback", &json!({ "reason": "a test" })).expect(200);
    server.terminate();
    server.wait();
    let backup = server.beside("backup");
    copy(&server.data(), &backup);
    let history = |server: &Server| server.dataset(&format!("{D}/history"))["events"].clone();
    server.start_again();
    let before = history(&server);
    server.kill();
    fs::remove_dir_all(server.data()).unwrap();

    let operator = Operator::new()
        .ours("/backup/tidetable", &backup.display())
        .ours("/var/lib/tidetable", &server.data().display());
    operator.follows("node-lost", &server);
    assert_eq!(operator.systemctl(), "start tidetable\n");
    server.start_again();
    serves(&server, 1);
    assert_eq!(history(&server), before, "what was rolled back from, and who holds it, is known");
    assert_eq!(server.dataset(D)["held"], true);
}

#[test]
fn a_node_was_lost_without_a_backup() {
    let mut server = Server::start();
    push(&server, 1, RECORDS);
    server.kill();
    fs::remove_dir_all(server.data()).unwrap();
    let operator = Operator::new().wrote(&rows(2, RECORDS));
    let [start, push] = &runbooks()["node-lost-without-a-backup"][..] else {
        panic!("two commands")
    };
    operator.runs(start, &server);
    assert_eq!(operator.systemctl(), "start tidetable\n");
    server.start_again();
    operator.runs(push, &server);
    serves(&server, 2);
}

/// A backup as the page says how to take one.
fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}
