//! SIGTERM: no new connections, what was begun is answered, and the server exits with 0. A
//! second SIGTERM stops it at once, and nothing that was acknowledged is lost.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;

use crate::data::{key, rows};
use crate::harness::{Server, eventually};
use crate::http::connect;

const D: &str = "recs";

/// Begins a push, and returns when the server knows of it, with what is still to be sent.
fn half_a_push(server: &Server) -> (BufReader<TcpStream>, String) {
    let mut body = rows(D, 2, 10);
    let length = body.len();
    let rest = body.split_off(length / 2);
    let mut connection = connect(server.address()).unwrap();
    let head = format!(
        "POST /v1/datasets/{D}/push?key=k&format=ndjson HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    connection.get_mut().write_all(head.as_bytes()).unwrap();
    eventually("the push has begun", || {
        let versions = server.dataset(&format!("{D}/versions"));
        versions["versions"].as_array().unwrap().iter().any(|v| v["version"] == 2)
    });
    (connection, rest)
}

fn drains(server: &Server) {
    eventually("new connections are refused, or told that it is not ready", || {
        server.client().get("/readyz").map_or(true, |reply| reply.status == 503)
    });
}

#[test]
fn a_push_that_was_begun_is_finished() {
    let mut server = Server::start();
    server.pushed(D, &rows(D, 1, 10));
    // Kept alive and idle: nobody waits for it.
    let mut idle = server.client();
    idle.get("/livez").unwrap().expect(200);
    let (mut connection, rest) = half_a_push(&server);

    server.terminate();
    drains(&server);
    connection.get_mut().write_all(rest.as_bytes()).unwrap();
    let mut answer = String::new();
    // The server closes the connection after the answer: it is stopping.
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    assert!(server.wait().success());

    server.start_again();
    assert_eq!(server.get(D, &key(3)).expect(200).version(), 2);
}

#[test]
fn a_second_signal_stops_at_once() {
    // By themselves neither the body nor the draining ends within this test: only a second
    // signal does.
    let patient = ["--body-timeout=10m", "--min-body-rate=0", "--drain-timeout=10m"];
    let mut server = Server::start_with(&patient);
    server.pushed(D, &rows(D, 1, 10));
    let (_connection, _rest) = half_a_push(&server);
    server.terminate();
    drains(&server);
    server.terminate();
    // A server that goes on is killed with the test, and not waited for.
    eventually("it has ended", || server.has_ended());
    assert!(server.wait().success());
    let said = server.said();
    assert!(said.contains("SIGTERM again: stopping at once"), "{said}");
    assert!(said.contains("stopped; requests were cut off"), "{said}");
    server.start_again();
    assert_eq!(server.get(D, &key(3)).expect(200).version(), 1);
    let versions = server.dataset(&format!("{D}/versions"));
    let second = versions["versions"].as_array().unwrap().iter().find(|v| v["version"] == 2);
    assert!(second.is_none_or(|v| v["state"] == "failed" || v["state"] == "deleted"), "{versions}");
}
