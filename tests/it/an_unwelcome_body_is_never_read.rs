//! Whoever may not push is told so before the body: nothing of it is read, nothing reaches the
//! disk, however large it would be.

use std::fs;
use std::io::{BufRead as _, Read as _, Write as _};

use crate::access::{Token, first};
use crate::data::rows;
use crate::harness::Server;
use crate::http::{connect, read_reply};

const HUGE: &str = "content-length: 10737418240\r\n";

/// What is beneath the data directory: names, and how long the journal is.
fn disk(server: &Server) -> (Vec<String>, u64) {
    let mut names = Vec::new();
    for dir in ["staging", "datasets"] {
        let entries = fs::read_dir(server.data().join(dir)).unwrap();
        names.extend(entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()));
    }
    names.sort();
    (names, fs::metadata(server.data().join("journal")).unwrap().len())
}

/// Requests that bring a body, each by somebody who may not.
fn unwelcome(server: &Server, admin: &Token) -> Vec<(String, u16)> {
    let reader = admin.make(server, "x", "reader", &["*"]);
    let other = admin.make(server, "x", "pusher", &["beta"]);
    let mut heads = Vec::new();
    for line in [
        "POST /v1/datasets/alpha/push?key=k&format=ndjson",
        "PUT /v1/datasets/alpha/versions/2/parts/1",
        "POST /v1/datasets/alpha/versions",
        "POST /v1/datasets/alpha/import",
        "POST /v1/datasets/alpha/versions/2/commit",
        "POST /v1/tokens",
    ] {
        let bad = format!("Bearer tt_{}_{}", "0".repeat(16), "A".repeat(43));
        let as_is = |token: &Token| token.header().1.to_owned();
        for (text, status) in
            [(String::new(), 401), (bad, 401), (as_is(&reader), 403), (as_is(&other), 403)]
        {
            let shown = if text.is_empty() { text } else { format!("authorization: {text}\r\n") };
            heads.push((format!("{line} HTTP/1.1\r\nhost: x\r\n{shown}"), status));
        }
    }
    heads
}

#[test]
fn a_huge_body_is_refused_before_any_of_it() {
    let server = Server::start();
    server.pushed("alpha", &rows("alpha", 1, 10));
    let admin = first(&server);
    let heads = unwelcome(&server, &admin);
    let before = disk(&server);
    for (head, status) in &heads {
        for length in [HUGE, "transfer-encoding: chunked\r\n"] {
            let mut connection = connect(server.address()).unwrap();
            // The head alone: the answer does not wait for a body.
            write!(connection.get_mut(), "{head}{length}\r\n").unwrap();
            let reply = read_reply(&mut connection, "POST", head).unwrap();
            assert_eq!(reply.status, *status, "{reply}");
        }
        // With some of the body on its way, the answer still arrives, and the connection ends.
        let mut connection = connect(server.address()).unwrap();
        write!(connection.get_mut(), "{head}{HUGE}\r\n").unwrap();
        let _ = connection.get_mut().write_all(&vec![b'x'; 60_000]);
        let reply = read_reply(&mut connection, "POST", head).unwrap();
        assert_eq!(reply.status, *status, "{reply}");
        let mut rest = Vec::new();
        let _ = connection.read_to_end(&mut rest);
        assert!(rest.is_empty(), "{head}: {}", String::from_utf8_lossy(&rest));
    }
    assert_eq!(disk(&server), before, "something of it is on the disk");
}

#[test]
fn a_client_that_asks_first_is_not_told_to_go_on() {
    let server = Server::start();
    server.pushed("alpha", &rows("alpha", 1, 10));
    let admin = first(&server);
    let heads = unwelcome(&server, &admin);
    let before = disk(&server);
    for (head, status) in &heads {
        let mut connection = connect(server.address()).unwrap();
        write!(connection.get_mut(), "{head}{HUGE}expect: 100-continue\r\n\r\n").unwrap();
        let mut line = String::new();
        connection.read_line(&mut line).unwrap();
        assert!(line.starts_with(&format!("HTTP/1.1 {status} ")), "{head}: {line}");
    }
    assert_eq!(disk(&server), before, "something of it is on the disk");
    // One who may is told to go on.
    let mut connection = connect(server.address()).unwrap();
    let push = "POST /v1/datasets/alpha/push?key=k&format=ndjson HTTP/1.1\r\nhost: x\r\n";
    let shown = admin.header().1;
    let length = "content-length: 10\r\nexpect: 100-continue\r\n\r\n";
    write!(connection.get_mut(), "{push}authorization: {shown}\r\n{length}").unwrap();
    let mut line = String::new();
    connection.read_line(&mut line).unwrap();
    assert!(line.starts_with("HTTP/1.1 100 "), "{line}");
}
