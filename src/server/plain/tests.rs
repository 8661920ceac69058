//! The loop with a shortcut of the tests' own: what it answers, when it hands over, and that
//! the limits hold as they do for hyper.

use std::io::{ErrorKind, Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use super::super::tests::{
    REQUEST, Running, SHORT, answer, is_closed, long_limits, start_with, until,
};
use super::super::{Ended, Limits};
use super::*;

pub(in super::super) const PLAIN: &str = "GET /plain HTTP/1.1\r\nHost: x\r\n\r\n";
pub(in super::super) const BIG: &str = "GET /big/plain HTTP/1.1\r\nHost: x\r\n\r\n";
/// Answered once something was fetched.
const COLD: &str = "GET /cold/plain HTTP/1.1\r\nHost: x\r\n\r\n";
/// Never answered, whatever is fetched.
const COLDEST: &str = "GET /coldest/plain HTTP/1.1\r\nHost: x\r\n\r\n";
/// Refused while others are fetched.
const BUSY: &str = "GET /busy/plain HTTP/1.1\r\nHost: x\r\n\r\n";
const PANIC: &str = "GET /panic/plain HTTP/1.1\r\nHost: x\r\n\r\n";
const BIG_BYTES: usize = 64 << 20;

/// What is never whole begins so.
const ENDLESS: &str = "~";

/// Knows these requests, and answers some of them.
#[derive(Default)]
pub(in super::super) struct Known {
    fetched: Arc<AtomicBool>,
}

impl Shortcut for Known {
    fn answer(
        &mut self,
        received: &[u8],
        draining: bool,
        since: Option<Instant>,
        answers: &mut Vec<u8>,
    ) -> Taken {
        for request in [PLAIN, BIG, COLD, COLDEST, BUSY, PANIC] {
            if received.starts_with(request.as_bytes()) {
                assert_ne!(request, PANIC, "on purpose");
                let lacks = request == COLD && !self.fetched.load(Relaxed);
                if lacks || request == COLDEST || request == BUSY {
                    return Taken::Cold;
                }
                assert_eq!(since.is_some(), request == COLD, "that alone was fetched");
                let last = draining && received.len() == request.len();
                let close = if last { "connection: close\r\n" } else { "" };
                let length = if request == BIG { BIG_BYTES } else { 5 };
                let head = format!("HTTP/1.1 200 OK\r\n{close}content-length: {length}\r\n\r\n");
                answers.extend_from_slice(head.as_bytes());
                answers.extend(b"plain".iter().cycle().take(length));
                return Taken::Answered(request.len());
            }
            if request.as_bytes().starts_with(received) {
                return Taken::Partial;
            }
        }
        if received.starts_with(ENDLESS.as_bytes()) { Taken::Partial } else { Taken::NotPlain }
    }

    fn fetch(&mut self, received: &[u8], _draining: bool, answers: &mut Vec<u8>) -> Fetching {
        if received.starts_with(BUSY.as_bytes()) {
            answers.extend_from_slice(b"HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy");
            return Fetching::Refused(BUSY.len());
        }
        Fetching::Begun(Box::new(Noting(Arc::clone(&self.fetched))))
    }
}

struct Noting(Arc<AtomicBool>);

impl Fetch for Noting {
    fn ask(&self) {}

    fn wait(self: Box<Self>) {
        self.0.store(true, Relaxed);
    }
}

fn start(limits: Limits) -> Running {
    start_with(limits, Some(Arc::new(|| Box::new(Known::default()))))
}

#[test]
fn many_requests_are_answered_in_turns_and_the_rest_goes_the_long_way() {
    let server = start(long_limits());
    let mut stream = server.connect_and_send(&(PLAIN.repeat(3 * ANSWERS_AT_ONCE + 1) + REQUEST));
    for _ in 0..=3 * ANSWERS_AT_ONCE {
        assert_eq!(answer(&mut stream).1, b"plain");
    }
    assert_eq!(answer(&mut stream).1, b"fast");
    // Whoever has gone the long way stays there.
    stream.write_all(PLAIN.as_bytes()).unwrap();
    assert!(answer(&mut stream).0.starts_with("http/1.1 404"));
}

#[test]
fn what_an_answer_lacks_is_fetched_and_the_connection_stays_on_the_short_way() {
    let server = start(long_limits());
    let mut stream = server.connect_and_send(&[PLAIN, COLD, PLAIN].concat());
    for _ in 0..3 {
        assert_eq!(answer(&mut stream).1, b"plain");
    }
    stream.write_all(PLAIN.as_bytes()).unwrap();
    assert_eq!(answer(&mut stream).1, b"plain");
    // What lacks something also then goes the long way, which has no route for it.
    stream.write_all(COLDEST.as_bytes()).unwrap();
    assert!(answer(&mut stream).0.starts_with("http/1.1 404"));
}

#[test]
fn what_cannot_be_fetched_now_is_refused_and_the_connection_stays_on_the_short_way() {
    let server = start(long_limits());
    let mut stream = server.connect_and_send(&[PLAIN, BUSY, PLAIN].concat());
    for body in [&b"plain"[..], b"busy", b"plain"] {
        assert_eq!(answer(&mut stream).1, body);
    }
}

#[test]
fn a_panic_is_the_long_way_s_to_report() {
    let server = start(long_limits());
    let mut stream = server.connect_and_send(&[PLAIN, PANIC].concat());
    assert_eq!(answer(&mut stream).1, b"plain");
    assert!(answer(&mut stream).0.starts_with("http/1.1 404"), "no route has this path");
    assert_eq!(answer(&mut server.connect_and_send(PLAIN)).1, b"plain", "the worker goes on");
}

#[test]
fn silent_idle_and_trickling_connections_are_closed() {
    let server = start(Limits { header: SHORT, ..long_limits() });
    let mut silent = server.connect();
    let mut half = server.connect_and_send(&PLAIN[..10]);
    assert!(is_closed(&mut silent) && is_closed(&mut half));
    // Half a head that came with a whole request counts from then on.
    let mut stream = server.connect_and_send(&[PLAIN, ENDLESS].concat());
    assert_eq!(answer(&mut stream).1, b"plain");
    stream.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    until("a trickling head is closed", || {
        let written = stream.write_all(ENDLESS.as_bytes());
        let read = stream.read(&mut [0]);
        written.is_err() || !matches!(read, Err(e) if e.kind() == ErrorKind::WouldBlock)
    });
    assert_eq!(server.timed_out(), 3);

    let server = start(Limits { idle: SHORT, ..long_limits() });
    let mut stream = server.connect_and_send(PLAIN);
    answer(&mut stream);
    assert!(is_closed(&mut stream));
    assert_eq!(server.timed_out(), 1);

    let server = start(Limits { header: SHORT, ..long_limits() });
    let mut stream = server.connect_and_send(PLAIN);
    answer(&mut stream);
    // Another connection that is silent shows that the limit has passed for this one.
    assert!(is_closed(&mut server.connect()));
    assert!(is_closed(&mut server.connect()));
    stream.write_all(PLAIN.as_bytes()).unwrap();
    assert_eq!(answer(&mut stream).1, b"plain");
}

#[test]
fn a_client_that_does_not_read_is_closed() {
    let server = start(Limits { body: SHORT, ..long_limits() });
    let mut stream = server.connect_and_send(BIG);
    until("the slow reader is closed", || server.timed_out() == 1);
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.len() < BIG_BYTES, "the whole answer arrived");
    let mut quick = server.connect_and_send(&[BIG, PLAIN].concat());
    assert_eq!(answer(&mut quick).1.len(), BIG_BYTES);
    assert_eq!(answer(&mut quick).1, b"plain");
}

#[test]
fn draining_closes_the_idle_and_lets_the_others_end() {
    let server = start(Limits { threads: 1, ..long_limits() });
    let mut silent = server.connect();
    let mut idle = server.connect_and_send(PLAIN);
    answer(&mut idle);
    let mut half = server.connect_and_send(&[PLAIN, &REQUEST[..5]].concat());
    answer(&mut half);
    let mut slow = server.connect_and_send(BIG);
    let mut first = [0; 1];
    slow.read_exact(&mut first).unwrap();
    server.stop.drain();
    assert!(is_closed(&mut silent) && is_closed(&mut idle));
    half.write_all(&REQUEST.as_bytes()[5..]).unwrap();
    let (head, body) = answer(&mut half);
    assert!(head.contains("connection: close"), "{head}");
    assert_eq!(body, b"fast");
    assert!(is_closed(&mut half));
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).unwrap();
    assert!(rest.len() > BIG_BYTES, "an answer on its way is sent to its end");
    assert_eq!(server.ended(), Ended::Drained);
}

#[test]
fn a_client_that_was_about_to_send_gets_its_last_answer() {
    let server =
        start(Limits { threads: 1, last_request: super::super::tests::LONG, ..long_limits() });
    let mut kept = server.connect_and_send(PLAIN);
    answer(&mut kept);
    server.stop.drain();
    until("nothing listens", || server.is_deaf());
    kept.write_all(PLAIN.as_bytes()).unwrap();
    let (head, body) = answer(&mut kept);
    assert!(head.contains("connection: close") && body == b"plain", "{head}");
    assert!(is_closed(&mut kept));
    assert_eq!(server.ended(), Ended::Drained);
}

#[test]
fn stopping_now_cuts_off_what_is_not_taken() {
    let server = start(long_limits());
    let mut slow = server.connect_and_send(BIG);
    slow.read_exact(&mut [0]).unwrap();
    server.stop.drain();
    server.stop.now();
    let mut rest = Vec::new();
    let _ = slow.read_to_end(&mut rest);
    assert!(rest.len() < BIG_BYTES);
    assert_eq!(server.ended(), Ended::CutOff(1));
}

#[test]
fn a_waiting_connection_is_small() {
    let waiting = size_of::<Plain<'static, tokio::net::TcpStream>>();
    assert!(waiting <= 128, "{waiting} bytes, without any buffer");
}
