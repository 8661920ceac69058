//! Standard error, where the log goes, may take nothing: its reader has gone (`2>&1 | head -4`, a
//! `tee` that died, a lost ssh), or its disk is full. Lines are lost then. Starts, pushes, reads and
//! stops are not.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::data::{key, rows};
use crate::harness::{eventually, scratch, serve_command, spawn};
use crate::http::Client;

const D: &str = "recs";

/// Killed when dropped, if it has not ended.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server with this standard error does all its work. Once it listens, `then` is done.
fn works_with(stderr: impl Into<Stdio>, then: impl FnOnce()) {
    let home = scratch();
    let mut command = serve_command(&home.path().join("data"), &[]);
    command.stderr(stderr);
    let (child, address) = spawn(command).expect("it starts");
    let mut server = Running(child);
    then();
    let mut client = Client::new(address);
    let mut push = |rows: &str| {
        let path = format!("/v1/datasets/{D}/push?key=k&format=ndjson");
        client.send("POST", &path, &[], rows.as_bytes()).unwrap()
    };
    assert_eq!(push(&rows(D, 1, 10)).expect(201).json()["current"], true);
    push("{\"n\":1}\n").problem(422, "bad_rows");
    assert_eq!(push(&rows(D, 3, 10)).expect(201).json()["current"], true);
    let found = client.get(&format!("/v1/datasets/{D}/keys/{}", key(3))).unwrap();
    assert_eq!(found.expect(200).version(), 3);
    drop(client);
    kill_process(Pid::from_child(&server.0), Signal::TERM).unwrap();
    let mut ended = None;
    eventually("one SIGTERM ends it", || {
        ended = server.0.try_wait().unwrap();
        ended.is_some()
    });
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}");
}

#[test]
fn whose_reader_goes_away() {
    let (log, written) = std::io::pipe().unwrap();
    works_with(written, || {
        let mut first = String::new();
        BufReader::new(log).read_line(&mut first).unwrap();
        assert!(!first.is_empty(), "there is a log");
    });
}

#[test]
fn that_nobody_ever_reads() {
    let (nobody, written) = std::io::pipe().unwrap();
    drop(nobody);
    works_with(written, || {});
}

#[test]
fn whose_disk_is_full() {
    works_with(File::options().write(true).open("/dev/full").unwrap(), || {});
}
