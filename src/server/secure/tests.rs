//! Clients that speak TLS, against a real server: whom it lets in, what it shows them, and that
//! the limits hold as they do without.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use tempfile::TempDir;

use super::super::plain::tests::{BIG, Known, PLAIN};
use super::super::tests::{
    REQUEST, Running, SHORT, answer, frame, http2_request, is_closed, long_limits, start_as, until,
};
use super::super::{Ended, Limits};
use crate::tls::Tls;
use crate::tls::testing::{Authority, client, load};

type Client = StreamOwned<ClientConnection, TcpStream>;

/// A server with a certificate of `authority`, and the directory of that.
struct Secured {
    server: Running,
    tls: Arc<Tls>,
    authority: Authority,
    dir: TempDir,
}

fn start(limits: Limits) -> Secured {
    start_for(limits, None)
}

fn start_for(limits: Limits, clients: Option<&Authority>) -> Secured {
    let (authority, dir) = (Authority::new("servers"), tempfile::tempdir().unwrap());
    authority.signs(2100).write(dir.path());
    let client_ca = clients.map(|clients| {
        let path = dir.path().join("clients.crt");
        std::fs::write(&path, clients.pem()).unwrap();
        path
    });
    let tls = load(dir.path(), client_ca.as_deref()).unwrap();
    let shortcut: super::super::MakeShortcut = Arc::new(|| Box::new(Known::default()));
    let server = start_as(limits, Some(shortcut), Some(Arc::clone(&tls)));
    Secured { server, tls, authority, dir }
}

impl Secured {
    fn connect(&self) -> Client {
        self.connect_as(client(&self.authority, None, &["http/1.1"]))
    }

    fn connect_as(&self, config: Arc<ClientConfig>) -> Client {
        let connection = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
        StreamOwned::new(connection, self.server.connect())
    }

    fn dir(&self) -> &Path {
        self.dir.path()
    }
}

fn ask(stream: &mut Client, request: &str) -> Vec<u8> {
    stream.write_all(request.as_bytes()).unwrap();
    answer(stream).1
}

fn shown(stream: &Client) -> CertificateDer<'static> {
    stream.conn.peer_certificates().unwrap()[0].clone().into_owned()
}

#[test]
fn both_ways_and_both_protocols_are_served() {
    let secured = start(long_limits());
    let mut stream = secured.connect();
    assert_eq!(ask(&mut stream, PLAIN), b"plain");
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    stream.write_all(PLAIN.repeat(100).as_bytes()).unwrap();
    for _ in 0..100 {
        assert_eq!(answer(&mut stream).1, b"plain");
    }
    assert_eq!(ask(&mut stream, REQUEST), b"fast", "the long way");
    assert_eq!(ask(&mut stream, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n").len(), 64 << 20);
    assert_eq!(ask(&mut stream, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), b"fast");
    // An end that is said: a cut would be an error here.
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);

    let mut stream = secured.connect_as(client(&secured.authority, None, &["h2", "http/1.1"]));
    stream.write_all(&http2_request()).unwrap();
    let mut body = Vec::new();
    while body.is_empty() {
        let (kind, payload) = frame(&mut stream).expect("an answer");
        if kind == 0 {
            body = payload;
        }
    }
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"h2"[..]));
    assert_eq!(body, b"fast");
}

#[test]
fn half_a_handshake_has_the_time_of_a_head() {
    let secured = start(Limits { header: SHORT, ..long_limits() });
    let mut silent = secured.server.connect();
    let mut half = secured.server.connect_and_send("\x16\x03\x01\x02");
    assert!(is_closed(&mut silent) && is_closed(&mut half));
    // The handshake alone is no request.
    let mut stream = secured.connect();
    stream.flush().unwrap();
    assert!(is_closed(&mut stream));
    assert_eq!(secured.server.timed_out(), 3);
    let mut other = secured.server.connect_and_send(REQUEST);
    let mut said = Vec::new();
    let _ = other.read_to_end(&mut said);
    assert!(!said.starts_with(b"HTTP"), "nothing is served without TLS");
}

#[test]
fn a_client_that_does_not_read_is_closed() {
    for request in [BIG, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let secured = start(Limits { body: SHORT, ..long_limits() });
        let mut stream = secured.connect();
        stream.write_all(request.as_bytes()).unwrap();
        until("the slow reader is closed", || secured.server.timed_out() == 1);
    }
}

#[test]
fn new_connections_get_the_new_certificate_and_open_ones_go_on() {
    let secured = start(long_limits());
    let mut old = secured.connect();
    assert_eq!(ask(&mut old, PLAIN), b"plain");
    let first = shown(&old);
    secured.authority.signs(2100).write(secured.dir());
    secured.tls.reload();
    let mut new = secured.connect();
    assert_eq!(ask(&mut new, PLAIN), b"plain");
    let second = shown(&new);
    assert_ne!(first, second);
    assert_eq!(ask(&mut old, PLAIN), b"plain");
    // A bad one changes nothing.
    std::fs::write(secured.dir().join("server.crt"), "no certificate").unwrap();
    secured.tls.reload();
    let mut newest = secured.connect();
    assert_eq!(ask(&mut newest, PLAIN), b"plain");
    assert_eq!(shown(&newest), second);
}

#[test]
fn only_clients_of_the_authority_are_let_in_where_one_is_named() {
    let clients = Authority::new("clients");
    let secured = start_for(long_limits(), Some(&clients));
    let connect = |own| secured.connect_as(client(&secured.authority, own, &["http/1.1"]));
    let own = clients.signs(2100);
    assert_eq!(ask(&mut connect(Some(&own)), PLAIN), b"plain");
    let (strange, old) = (Authority::new("clients").signs(2100), clients.signs(2001));
    for refused in [None, Some(&strange), Some(&old)] {
        let mut stream = connect(refused);
        let mut said = Vec::new();
        let outcome =
            stream.write_all(PLAIN.as_bytes()).and_then(|()| stream.read_to_end(&mut said));
        assert!(outcome.is_err() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
    }
    until("each was counted", || secured.tls.failed_handshakes() == 3);
}

#[test]
fn draining_lets_requests_end() {
    let secured = start(Limits { threads: 1, ..long_limits() });
    let mut idle = secured.connect();
    ask(&mut idle, PLAIN);
    let mut slow = secured.connect();
    slow.write_all(BIG.as_bytes()).unwrap();
    slow.read_exact(&mut [0]).unwrap();
    secured.server.stop.drain();
    assert_eq!(idle.read(&mut [0]).unwrap(), 0);
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).unwrap();
    assert!(rest.len() >= 64 << 20, "an answer on its way is sent to its end");
    assert_eq!(secured.server.ended(), Ended::Drained);
}
