//! A large push in one request is read while its body still arrives. What becomes of it is what
//! becomes of the same rows otherwise, whatever happens meanwhile; and nobody waits longer for it.

use std::fs;
use std::io::{BufReader, Write};
use std::net::TcpStream;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::data::{assert_batch, key, rows, rows_in_order};
use crate::harness::{Server, eventually};
use crate::http::{Reply, connect, read_reply};

const D: &str = "recs";
/// About 25 MiB of rows.
const RECORDS: usize = 120_000;

/// Rows that are in no order.
fn shuffled(version: u64) -> String {
    rows_in_order(D, version, (0..RECORDS).map(|i| i * 7919 % RECORDS))
}

/// A push of which the client has sent all but the end.
struct Push {
    connection: BufReader<TcpStream>,
    rest: Vec<u8>,
    path: String,
}

impl Push {
    fn begin(server: &Server, query: &str, body: &[u8]) -> Self {
        let path = format!("/v1/datasets/{D}/push?{query}");
        let (sent, rest) = body.split_at(body.len() / 10 * 9);
        let mut connection = connect(server.address()).unwrap();
        let (stream, length) = (connection.get_mut(), body.len());
        write!(stream, "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n")
            .unwrap();
        stream.write_all(sent).unwrap();
        Self { connection, rest: rest.to_vec(), path }
    }

    /// One whose rows are being sorted by now.
    fn read_along(server: &Server, query: &str, body: &[u8]) -> Self {
        let push = Self::begin(server, query, body);
        eventually("its rows are read", || is_sorted(server));
        push
    }

    fn end(mut self) -> Reply {
        self.connection.get_mut().write_all(&self.rest).unwrap();
        read_reply(&mut self.connection, "POST", &self.path).unwrap()
    }
}

const QUERY: &str = "key=k&format=ndjson";

/// Whether rows of a push are sorted, or were.
fn is_sorted(server: &Server) -> bool {
    let pushes = fs::read_dir(server.data().join("staging")).unwrap();
    let mut files = pushes.filter_map(|push| fs::read_dir(push.unwrap().path()).ok()).flatten();
    files.any(|file| file.unwrap().path().extension().is_some_and(|end| end == "runs"))
}

fn read_along(server: &Server) -> String {
    let page = server.get_path("/metrics").expect(200).text();
    let name = "tidetable_pushes_read_along_total ";
    page.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned()
}

#[track_caller]
fn assert_whole(server: &Server, version: u64) {
    let wanted: Vec<usize> = (0..RECORDS).step_by(RECORDS / 500).collect();
    let keys: Vec<String> = wanted.iter().map(|&i| key(i)).collect();
    assert_batch(&server.batch(D, &keys).expect(200).json(), D, version, &wanted);
    let resource = server.dataset(&format!("{D}/versions/{version}"));
    assert_eq!(resource["records"], RECORDS, "{resource}");
}

#[track_caller]
fn assert_nothing_in_staging(server: &Server) {
    let staging = server.data().join("staging");
    eventually("nothing is left", || fs::read_dir(&staging).unwrap().next().is_none());
}

#[test]
fn its_version_is_that_of_the_same_rows() {
    let server = Server::start();
    let push = Push::read_along(&server, QUERY, shuffled(1).as_bytes());
    assert_eq!(server.dataset(&format!("{D}/versions/1"))["state"], "receiving");
    let pushed = push.end().expect(201).json();
    assert_whole(&server, 1);
    assert_eq!(read_along(&server), "1");
    assert_nothing_in_staging(&server);

    let body = json!({ "format": "ndjson", "key": ["k"] });
    server.post(&format!("/v1/datasets/{D}/versions"), &body).expect(201);
    let version = format!("/v1/datasets/{D}/versions/2");
    server.send("PUT", &format!("{version}/parts/1"), &[], shuffled(1).as_bytes()).expect(200);
    server.post(&format!("{version}/commit"), &json!({})).expect(202);
    let other = server.settled(D, 2);
    assert_eq!(other["content_digest"], pushed["content_digest"], "{other}");
    assert_eq!(read_along(&server), "1");
}

/// Rows in order are read when all are there: until then nobody knows that they are.
#[test]
fn rows_in_order_are_pushed_as_ever() {
    let server = Server::start();
    let in_order = rows(D, 1, RECORDS);
    let push = Push::begin(&server, QUERY, in_order.as_bytes());
    eventually("a builder waits for them", || !builders_of(&server).is_empty());
    assert!(!is_sorted(&server));
    push.end().expect(201);
    assert_whole(&server, 1);
    assert_eq!(read_along(&server), "1");
}

#[test]
fn other_text_is_read_along_as_well() {
    let server = Server::start();
    let mut csv = "k,n\n".to_owned();
    (0..RECORDS * 20).for_each(|i| csv.push_str(&format!("{},{i}\n", i * 7919 % (RECORDS * 20))));
    let push = Push::read_along(&server, "key=k&format=csv", csv.as_bytes());
    assert_eq!(push.end().expect(201).json()["records"], RECORDS * 20);
    let found = server.get(D, "7919").expect(200).json();
    assert_eq!(found, json!({ "k": "7919", "n": "1" }));
    assert_eq!(read_along(&server), "1");
}

#[test]
fn a_bad_row_is_told_with_its_line() {
    let server = Server::start();
    let mut body = shuffled(1);
    let at = body[..body.len() / 2].rfind('\n').unwrap() + 1;
    let line = body[..at].lines().count() + 1;
    body.insert_str(at, "no row\n");
    let push = Push::read_along(&server, QUERY, body.as_bytes());
    let problem = push.end().problem(422, "bad_rows");
    assert!(problem.to_string().contains(&format!("line {line}")), "{problem}");
    assert_nothing_in_staging(&server);
}

#[test]
fn a_body_that_breaks_off_leaves_nothing() {
    let server = Server::start();
    drop(Push::read_along(&server, QUERY, shuffled(1).as_bytes()));
    eventually("it has failed", || server.dataset(&format!("{D}/versions/1"))["state"] == "failed");
    assert_nothing_in_staging(&server);
    assert_eq!(server.pushed(D, &rows(D, 2, 10)), 2);
    assert_eq!(read_along(&server), "0");
}

#[test]
fn a_push_that_is_deleted_meanwhile_leaves_nothing() {
    let server = Server::start();
    let push = Push::read_along(&server, QUERY, shuffled(1).as_bytes());
    let path = format!("/v1/datasets/{D}/versions/1");
    let gone = server.send("DELETE", &path, &[], b"");
    assert!(matches!(gone.status, 200 | 202 | 204), "{gone}");
    let reply = push.end();
    assert!(matches!(reply.status, 409 | 410), "{reply}");
    assert_nothing_in_staging(&server);
}

#[test]
fn nobody_waits_for_a_body() {
    for at_once in ["1", "2"] {
        let server = Server::start_with(&["--builds-at-once", at_once]);
        let push = Push::read_along(&server, QUERY, shuffled(1).as_bytes());
        std::thread::scope(|scope| {
            for name in ["a", "b", "c", "d"] {
                let server = &server;
                scope.spawn(move || assert_eq!(server.pushed(name, &rows(name, 1, 1000)), 1));
            }
        });
        if at_once == "1" {
            assert!(!is_sorted(&server), "what was begun is given up");
        }
        push.end().expect(201);
        assert_whole(&server, 1);
        assert_nothing_in_staging(&server);
    }
}

/// A row that is out of order comes when those before it were taken for being in order.
#[test]
fn rows_that_only_begin_in_order_are_sorted_all_the_same() {
    let server = Server::start();
    let late = (0..RECORDS).map(|i| if i + 1 == RECORDS { 0 } else { i + 1 });
    let body = rows_in_order(D, 1, late);
    let push = Push::begin(&server, QUERY, body.as_bytes());
    eventually("a builder waits for them", || !builders_of(&server).is_empty());
    push.end().expect(201);
    assert_whole(&server, 1);
}

#[test]
fn rows_of_a_key_are_collected_in_their_order() {
    let server = Server::start();
    const KEYS: usize = 50_000;
    let row = |i: usize| format!("{{\"k\":\"{}\",\"n\":{i}}}\n", i * 7919 % KEYS);
    let body: String = (0..KEYS * 20).map(row).collect();
    let push =
        Push::read_along(&server, "key=k&value=n&collect=true&format=ndjson", body.as_bytes());
    assert_eq!(push.end().expect(201).json()["records"], KEYS);
    let expected: Vec<usize> = (0..20).map(|n| 1 + n * KEYS).collect();
    assert_eq!(server.get(D, "7919").expect(200).json(), json!(expected));
    assert_eq!(read_along(&server), "1");
}

#[test]
fn a_builder_that_dies_meanwhile_fails_nothing() {
    let server = Server::start();
    let push = Push::read_along(&server, QUERY, shuffled(1).as_bytes());
    let builders = builders_of(&server);
    assert_eq!(builders.len(), 1);
    kill_process(builders[0], Signal::KILL).unwrap();
    push.end().expect(201);
    assert_whole(&server, 1);
    assert_eq!(read_along(&server), "0");
    assert_nothing_in_staging(&server);
}

/// The processes that a server has started.
fn builders_of(server: &Server) -> Vec<Pid> {
    let server = server.pid().as_raw_nonzero().to_string();
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let stat = fs::read_to_string(entry.unwrap().path().join("stat")).ok()?;
        // What stands before the last bracket is its name, which may hold anything.
        let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?;
        let id = stat.split_whitespace().next()?.parse().ok()?;
        (parent == server).then(|| Pid::from_raw(id).unwrap())
    });
    processes.collect()
}

/// What a push is built from is what holds when it is sealed.
#[test]
fn a_key_that_is_erased_meanwhile_is_left_out() {
    let server = Server::start();
    server.pushed(D, &rows(D, 1, 10));
    let push = Push::read_along(&server, QUERY, shuffled(2).as_bytes());
    let erased = json!({ "datasets": [D], "keys": [key(7)], "reason": "asked for" });
    server.post("/v1/erase", &erased).expect(200);
    let pushed: Value = push.end().expect(201).json();
    assert_eq!(pushed["records"], RECORDS - 1, "{pushed}");
    server.get(D, &key(7)).problem(410, "erased");
    assert_eq!(read_along(&server), "0");
}

#[test]
fn a_server_that_is_killed_meanwhile_leaves_nothing() {
    let mut server = Server::start();
    server.pushed(D, &rows(D, 1, 10));
    let _push = Push::read_along(&server, QUERY, shuffled(2).as_bytes());
    server.kill();
    server.start_again();
    let version = server.settled(D, 2);
    assert_eq!(version["state"], "failed", "{version}");
    assert_nothing_in_staging(&server);
    assert_eq!(server.get(D, &key(3)).expect(200).version(), 1);
}

#[test]
fn a_server_that_stops_ends_what_it_began() {
    let mut server = Server::start();
    let push = Push::read_along(&server, QUERY, shuffled(1).as_bytes());
    let builders = builders_of(&server);
    server.terminate();
    drop(push);
    assert!(server.wait().success());
    assert_eq!(builders.len(), 1);
    eventually("its builder has ended", || {
        fs::read_to_string(format!("/proc/{}/stat", builders[0].as_raw_nonzero()))
            .map_or(true, |stat| stat.contains(") Z "))
    });
}
