//! The server against real sockets: what a client may do, and how long.

use std::io::{ErrorKind, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::routing::{get, post};
use tokio::sync::watch;

use super::{Ended, Limits, Listening, MakeShortcut, Service, Stop, serve};
use crate::access::Access;
use crate::http::edge::Edge;
use crate::http::extract::broken_body;
use crate::metrics::Metrics;
use crate::problem::{Fault, Problem};
use crate::tls::Tls;

pub(super) const LONG: Duration = Duration::from_secs(600);
pub(super) const SHORT: Duration = Duration::from_millis(80);
/// What no test takes unless it fails.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn long_limits() -> Limits {
    Limits {
        threads: 2,
        header: LONG,
        idle: LONG,
        body: LONG,
        body_rate: 0,
        answer_rate: 0,
        drain: LONG,
        last_request: SHORT,
        header_bytes: 32 * 1024,
        connections: 1000,
        connections_per_address: 1000,
        http2_streams: 100,
        http2_resets: 20,
        http2_keep_alive: LONG,
        overload: LONG,
        cold_reads: 100,
    }
}

pub(super) struct Running {
    address: SocketAddr,
    pub(super) stop: Stop,
    metrics: Arc<Metrics>,
    /// Says when a request to `/hang` is in its handler.
    hanging: mpsc::Receiver<()>,
    /// Lets requests to `/hang` go on.
    gate: watch::Sender<bool>,
    thread: JoinHandle<Ended>,
}

fn start(limits: Limits) -> Running {
    start_with(limits, None)
}

pub(super) fn start_with(limits: Limits, shortcut: Option<MakeShortcut>) -> Running {
    start_as(limits, shortcut, None)
}

pub(super) fn start_as(
    limits: Limits,
    shortcut: Option<MakeShortcut>,
    tls: Option<Arc<Tls>>,
) -> Running {
    let (entered, hanging) = mpsc::channel();
    let gate = watch::Sender::new(false);
    let metrics = Arc::new(Metrics::new());
    let hang = {
        let gate = gate.clone();
        move || {
            let (entered, mut opened) = (entered.clone(), gate.subscribe());
            async move {
                entered.send(()).unwrap();
                opened.wait_for(|open| *open).await.unwrap();
                "released"
            }
        }
    };
    let access = Arc::new(Access::new(Arc::clone(&metrics)));
    let router = Router::new()
        .route("/", get(|| async { "fast" }))
        .route("/known", get(|| async { StatusCode::NOT_MODIFIED }))
        .route("/hang", get(hang))
        .route("/big", get(|| async { vec![b'x'; 64 << 20] }))
        .route("/take", post(take))
        .route("/refuse", post(|| async { Problem::new(Fault::PayloadTooLarge, "too long") }))
        .layer(Edge::new(Arc::clone(&metrics), access, 8192));
    let listening = Listening::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listening.address();
    let stop = Stop::new();
    let thread = {
        let (stop, metrics) = (stop.clone(), Arc::clone(&metrics));
        let service = Service { router, shortcut, tls };
        std::thread::spawn(move || serve(listening, &service, &limits, &metrics, &stop).unwrap())
    };
    Running { address, stop, metrics, hanging, gate, thread }
}

async fn take(request: Request) -> Result<String, Problem> {
    let body: Body = request.into_body();
    match axum::body::to_bytes(body, usize::MAX).await {
        Ok(bytes) => Ok(format!("{} bytes", bytes.len())),
        Err(error) => Err(broken_body(&error)),
    }
}

impl Running {
    pub(super) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    pub(super) fn connect_and_send(&self, request: &str) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    /// Whether nobody can connect any more.
    pub(super) fn is_deaf(&self) -> bool {
        TcpStream::connect(self.address).is_err()
    }

    fn hang(&self) -> TcpStream {
        let stream = self.connect_and_send("GET /hang HTTP/1.1\r\nHost: x\r\n\r\n");
        self.hanging.recv_timeout(PATIENCE).unwrap();
        stream
    }

    pub(super) fn timed_out(&self) -> u64 {
        self.metrics.connections.timed_out.load(Relaxed)
    }

    pub(super) fn ended(self) -> Ended {
        self.thread.join().unwrap()
    }
}

/// Reads one answer: its head, and as much body as that announces.
pub(super) fn answer(stream: &mut impl Read) -> (String, Vec<u8>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        let read = stream.read(&mut byte).expect("an answer before the client's patience ends");
        assert_eq!(read, 1, "the answer ended within its head: {}", String::from_utf8_lossy(&head));
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head
        .split("content-length: ")
        .nth(1)
        .map_or(0, |rest| rest.split("\r\n").next().unwrap().parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    (head, body)
}

/// Whether the server has closed this connection, waiting for it.
pub(super) fn is_closed(stream: &mut impl Read) -> bool {
    match stream.read(&mut [0]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

/// Waits for something that happens in another thread.
pub(super) fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let began = Instant::now();
    while !happened() {
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub(super) const REQUEST: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn what_a_client_has_already_has_no_length() {
    let server = start(long_limits());
    let mut stream = server.connect();
    for method in ["GET", "HEAD"] {
        write!(stream, "{method} /known HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let (head, _) = answer(&mut stream);
        assert!(head.starts_with("http/1.1 304"), "{method}: {head}");
        assert!(!head.contains("content-length"), "{method}: {head}");
    }
}

#[test]
fn a_connection_answers_request_after_request() {
    let server = start(long_limits());
    let mut stream = server.connect_and_send(&REQUEST.repeat(3));
    for _ in 0..3 {
        let (head, body) = answer(&mut stream);
        assert!(head.starts_with("http/1.1 200"), "{head}");
        assert_eq!(body, b"fast");
    }
    stream.write_all(b"POST /take HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello").unwrap();
    assert_eq!(answer(&mut stream).1, b"5 bytes");
    // The start of the next request does not hold an answer back.
    stream.write_all(&[REQUEST.as_bytes(), b"GET"].concat()).unwrap();
    assert_eq!(answer(&mut stream).1, b"fast");
    stream.write_all(&REQUEST.as_bytes()[3..]).unwrap();
    assert_eq!(answer(&mut stream).1, b"fast");
    server.stop.drain();
    assert!(is_closed(&mut stream), "an idle connection is closed by the drain");
    assert_eq!(server.ended(), Ended::Drained);
}

#[test]
fn a_request_says_for_which_host_it_is() {
    let server = start(long_limits());
    let status = |head: &str| answer(&mut server.connect_and_send(head)).0[9..12].to_owned();
    for good in ["GET / HTTP/1.1\r\nHost:\r\n\r\n", "GET / HTTP/1.0\r\n\r\n", REQUEST] {
        assert_eq!(status(good), "200", "{good}");
    }
    for bad in ["", "Host: x\r\nHost: x\r\n", "Host: x/y\r\n"] {
        assert_eq!(status(&format!("GET / HTTP/1.1\r\n{bad}\r\n")), "400", "{bad}");
    }
}

#[test]
fn a_silent_connection_is_closed() {
    let server = start(Limits { header: SHORT, ..long_limits() });
    let mut silent = server.connect();
    let mut half_a_preface = server.connect_and_send("PRI * HT");
    assert!(is_closed(&mut silent));
    assert!(is_closed(&mut half_a_preface));
    assert_eq!(server.timed_out(), 2);
}

#[test]
fn a_head_that_trickles_is_closed_though_bytes_keep_coming() {
    let server = start(Limits { header: SHORT, ..long_limits() });
    for before in ["", REQUEST] {
        let mut stream = server.connect_and_send(before);
        if !before.is_empty() {
            answer(&mut stream);
        }
        stream.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        until("a trickling head is closed", || {
            let written = stream.write_all(b"G");
            let read = stream.read(&mut [0]);
            written.is_err() || !matches!(read, Err(e) if e.kind() == ErrorKind::WouldBlock)
        });
    }
    assert_eq!(server.timed_out(), 2);
}

#[test]
fn an_idle_connection_is_closed_by_its_own_limit_and_not_the_head_s() {
    let server = start(Limits { idle: SHORT, ..long_limits() });
    let mut stream = server.connect_and_send(REQUEST);
    answer(&mut stream);
    assert!(is_closed(&mut stream));

    let server = start(Limits { header: SHORT, ..long_limits() });
    let mut stream = server.connect_and_send(REQUEST);
    answer(&mut stream);
    // Another connection that is silent shows that the limit has passed for this one.
    assert!(is_closed(&mut server.connect()));
    assert!(is_closed(&mut server.connect()));
    stream.write_all(REQUEST.as_bytes()).unwrap();
    assert_eq!(answer(&mut stream).1, b"fast");
}

#[test]
fn a_handler_may_take_longer_than_any_limit() {
    let server = start(Limits { header: SHORT, idle: SHORT, body: SHORT, ..long_limits() });
    let mut stream = server.hang();
    for _ in 0..3 {
        assert!(is_closed(&mut server.connect()));
    }
    server.gate.send_replace(true);
    assert_eq!(answer(&mut stream).1, b"released");
}

#[test]
fn a_client_that_ends_its_sending_gets_its_answer() {
    let server = start(long_limits());
    let mut stream = server.hang();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    // Another request on that thread's time shows that the end of sending was seen.
    for _ in 0..4 {
        assert_eq!(answer(&mut server.connect_and_send(REQUEST)).1, b"fast");
    }
    server.gate.send_replace(true);
    assert_eq!(answer(&mut stream).1, b"released");
    assert!(is_closed(&mut stream));
}

#[test]
fn a_body_that_stalls_is_answered_with_408() {
    let server = start(Limits { body: SHORT, ..long_limits() });
    let mut stream =
        server.connect_and_send("POST /take HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhel");
    let (head, body) = answer(&mut stream);
    assert!(head.starts_with("http/1.1 408"), "{head}");
    assert!(String::from_utf8(body).unwrap().contains("body_timeout"));
}

#[test]
fn a_body_that_trickles_is_answered_with_408_though_it_is_never_silent() {
    let server = start(Limits { body: SHORT, body_rate: 1 << 30, ..long_limits() });
    let mut stream = server
        .connect_and_send("POST /take HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nhel");
    stream.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    let mut answer = Vec::new();
    until("a trickling body is refused", || {
        let _ = stream.write_all(b"x");
        let _ = stream.read_to_end(&mut answer);
        answer.ends_with(b"}")
    });
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("min_body_rate"), "{answer}");
}

#[test]
fn a_body_that_says_its_length_in_two_ways_is_refused_and_nothing_follows() {
    let server = start(long_limits());
    let both = "POST /take HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\
                Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let mut stream = server.connect_and_send(&(both.to_owned() + REQUEST));
    let (head, body) = answer(&mut stream);
    assert!(head.starts_with("http/1.1 400") && head.contains("connection: close"), "{head}");
    assert!(String::from_utf8(body).unwrap().contains("malformed_request"));
    assert!(is_closed(&mut stream), "what follows is not taken for a request");
    // Behind another one, too.
    let mut stream = server.connect_and_send(&format!("{REQUEST}{both}{REQUEST}"));
    for status in [200, 400] {
        let (head, _) = answer(&mut stream);
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{head}");
    }
    assert!(is_closed(&mut stream), "what follows is not taken for a request");
    assert_eq!(answer(&mut server.connect_and_send(CHUNKED)).1, b"2 bytes");
}

const CHUNKED: &str = "POST /take HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\
                       2\r\nhi\r\n0\r\n\r\n";

#[test]
fn a_fragment_is_refused_whatever_the_request_comes_with_and_nothing_follows() {
    let server = start(long_limits());
    let odd = "GET /#x HTTP/1.1\r\nHost: x\r\n\r\n";
    let post = "POST /take HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n/#x ";
    for before in ["", REQUEST, post, CHUNKED, "GET / HTTP/1.1\r\nHost: x\r\nReferer: #\r\n\r\n"] {
        let mut stream = server.connect_and_send(&format!("{before}{odd}{REQUEST}"));
        if !before.is_empty() {
            assert!(answer(&mut stream).0.starts_with("http/1.1 200"), "{before}");
        }
        let (head, body) = answer(&mut stream);
        assert!(head.starts_with("http/1.1 400") && head.contains("connection: close"), "{head}");
        let body = String::from_utf8(body).unwrap();
        assert!(body.contains("malformed_request") && body.contains("%23"), "{body}");
        assert!(is_closed(&mut stream), "{before}");
    }
}

#[test]
fn a_body_with_another_encoding_than_chunked_is_refused() {
    let server = start(long_limits());
    for other in ["gzip, chunked", "chunked, chunked", "gzip\r\nTransfer-Encoding: chunked"] {
        let head = format!("POST /take HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {other}\r\n\r\n");
        let mut stream = server.connect_and_send(&format!("{head}2\r\nhi\r\n0\r\n\r\n{REQUEST}"));
        let (head, body) = answer(&mut stream);
        assert!(head.starts_with("http/1.1 400") && head.contains("connection: close"), "{head}");
        assert!(String::from_utf8(body).unwrap().contains("malformed_request"), "{other}");
        assert!(is_closed(&mut stream), "{other}");
    }
    let chunked = CHUNKED.replace("chunked", "Chunked");
    assert_eq!(answer(&mut server.connect_and_send(&chunked)).1, b"2 bytes");
}

#[test]
fn chunks_that_are_malformed_are_told_as_such() {
    let server = start(long_limits());
    let head = "POST /take HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    for chunks in ["xyz\r\n", "-1\r\n", "\r\n", "2\r\nhi, and more", "f0000000000000003\r\n"] {
        let mut stream = server.connect_and_send(&format!("{head}{chunks}"));
        let (head, body) = answer(&mut stream);
        let body = String::from_utf8(body).unwrap();
        assert!(head.starts_with("http/1.1 400"), "{chunks:?}: {head}");
        assert!(body.contains("malformed_request") && body.contains("chunks"), "{body}");
        assert!(is_closed(&mut stream), "{chunks:?}");
    }
}

#[test]
fn trailers_that_are_malformed_are_no_lengths_of_chunks() {
    let server = start(long_limits());
    let head =
        "POST /take HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n";
    let many = "x: 1\r\n".repeat(200);
    let (malformed, much) = ("what follows the last chunk of the body is malformed", "too many");
    for (trailers, told) in [
        ("no trailer\r\n\r\n", malformed),
        ("x: 1\rand no end of a line", malformed),
        ("\rX", malformed),
        (many.as_str(), much),
    ] {
        let mut stream = server.connect_and_send(&format!("{head}{trailers}"));
        let (head, body) = answer(&mut stream);
        let body = String::from_utf8(body).unwrap();
        assert!(head.starts_with("http/1.1 400"), "{trailers:?}: {head}");
        assert!(body.contains("malformed_request") && body.contains("trailers"), "{body}");
        assert!(body.contains(told), "{trailers:?}: {body}");
    }
    let stream = &mut server.connect_and_send(&format!("{head}x: 1\r\n\r\n"));
    assert_eq!(answer(stream).1, b"2 bytes");
}

#[test]
fn a_client_that_does_not_read_is_closed() {
    let server = start(Limits { body: SHORT, ..long_limits() });
    let mut stream = server.connect_and_send("GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
    until("the slow reader is closed", || server.timed_out() == 1);
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.len() < 64 << 20, "the whole answer arrived");
    // Of a server with time enough: on a busy machine the quick one may pause for longer than SHORT.
    let server = start(long_limits());
    let mut quick = server.connect_and_send("GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(answer(&mut quick).1.len(), 64 << 20);
}

#[test]
fn a_client_that_reads_too_slowly_is_closed_though_it_never_stops() {
    let server = start(Limits { body: SHORT * 4, answer_rate: 1 << 30, ..long_limits() });
    let mut stream = server.connect_and_send("GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
    let (mut piece, mut taken) = (vec![0; 64 * 1024], 0);
    until("the slow reader is closed", || {
        taken += stream.read(&mut piece).unwrap_or(0);
        server.timed_out() > 0
    });
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(taken + rest.len() < 64 << 20, "the whole answer arrived");
}

#[test]
fn a_refused_upload_can_be_read_by_its_sender() {
    let server = start(long_limits());
    let mut stream = server.connect_and_send(&format!(
        "POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        16 << 20
    ));
    let body = vec![b'x'; 16 << 20];
    stream.write_all(&body).expect("the server takes what was under way");
    let (head, body) = answer(&mut stream);
    assert!(head.starts_with("http/1.1 413"), "{head}");
    assert!(String::from_utf8(body).unwrap().contains("payload_too_large"));
    assert!(is_closed(&mut stream));
}

#[test]
fn a_head_that_is_too_long_is_refused() {
    let server = start(long_limits());
    let long = "x".repeat(40 * 1024);
    let mut stream =
        server.connect_and_send(&format!("GET / HTTP/1.1\r\nHost: x\r\nX: {long}\r\n\r\n"));
    let (head, body) = answer(&mut stream);
    assert!(head.starts_with("http/1.1 431") && says_when(&head), "{head}");
    assert!(String::from_utf8(body).unwrap().contains("head_too_large"));
    assert!(is_closed(&mut stream));
    // Longer than hyper can take.
    for method in ["GET", "HEAD"] {
        let long = format!("{method} /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(65_600));
        let limits = Limits { header_bytes: 128 * 1024, ..long_limits() };
        let mut stream = start(limits).connect_and_send(&long);
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        let all = String::from_utf8(all).unwrap();
        assert!(all.starts_with("HTTP/1.1 414 URI Too Long\r\n"), "{all}");
        assert!(all.contains("content-type: application/problem+json\r\n"), "{all}");
        assert_eq!(all.contains("uri_too_long"), method == "GET", "{all}");
        assert!(all.contains("connection: close\r\n") && says_when(&all), "{all}");
    }
    let mut stream = server.connect_and_send("no request at all\r\n\r\n");
    let (head, body) = answer(&mut stream);
    assert!(head.starts_with("http/1.1 400") && says_when(&head), "{head}");
    assert!(String::from_utf8(body).unwrap().contains("malformed_request"));
    let uri = "x".repeat(10 * 1024);
    let mut stream = server.connect_and_send(&format!("GET /{uri} HTTP/1.1\r\nHost: x\r\n\r\n"));
    let (head, body) = answer(&mut stream);
    assert!(head.starts_with("http/1.1 414") && says_when(&head), "{head}");
    assert!(String::from_utf8(body).unwrap().contains("uri_too_long"));
}

#[test]
fn what_is_refused_before_the_router_is_counted() {
    let server = start(long_limits());
    let long = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(40 * 1024));
    let odd = "GET /#x HTTP/1.1\r\nHost: x\r\n\r\n";
    for (status, request) in [(431, long.as_str()), (400, "no request at all\r\n\r\n"), (400, odd)]
    {
        let (head, _) = answer(&mut server.connect_and_send(request));
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{head}");
    }
    let page = server.metrics.render();
    for (status, count) in [(431, 1), (400, 2)] {
        let line =
            format!("tidetable_requests_total{{route=\"none\",status=\"{status}\"}} {count}\n");
        assert!(page.contains(&line), "{line}: {page}");
    }
}

/// Whether a head has one `Date`, of a moment ago.
fn says_when(head: &str) -> bool {
    let dates: Vec<_> = head.split("\r\n").filter_map(|line| line.strip_prefix("date: ")).collect();
    let now = SystemTime::now();
    let then = |ago| httpdate::fmt_http_date(now - Duration::from_secs(ago));
    // `answer` gives heads in small letters.
    matches!(dates[..], [said] if (0..60).any(|ago| then(ago).eq_ignore_ascii_case(said)))
}

#[test]
fn draining_lets_a_request_end_and_takes_no_new_ones() {
    let server = start(Limits { threads: 1, ..long_limits() });
    let mut running = server.hang();
    let mut idle = server.connect_and_send(REQUEST);
    answer(&mut idle);
    server.stop.drain();
    assert!(server.stop.is_asked());
    assert!(is_closed(&mut idle));
    until("nothing listens", || server.is_deaf());
    server.gate.send_replace(true);
    let (head, body) = answer(&mut running);
    assert_eq!(body, b"released");
    assert!(head.contains("connection: close"), "{head}");
    assert_eq!(server.ended(), Ended::Drained);
}

#[test]
fn a_client_that_was_about_to_send_is_answered_and_told_that_it_was_the_last() {
    let server = start(Limits { last_request: LONG, ..long_limits() });
    let mut kept = server.connect_and_send(REQUEST);
    answer(&mut kept);
    let mut hanging = server.hang();
    server.stop.drain();
    until("nothing listens", || server.is_deaf());
    kept.write_all(REQUEST.as_bytes()).unwrap();
    let (head, body) = answer(&mut kept);
    assert_eq!(body, b"fast");
    assert!(head.contains("connection: close"), "{head}");
    assert!(is_closed(&mut kept));
    server.gate.send_replace(true);
    assert!(answer(&mut hanging).0.contains("connection: close"));
    assert_eq!(server.ended(), Ended::Drained);
}

#[test]
fn the_time_to_drain_is_bounded() {
    let server = start(Limits { drain: SHORT, ..long_limits() });
    let mut running = server.hang();
    server.stop.drain();
    assert!(is_closed(&mut running));
    assert_eq!(server.ended(), Ended::CutOff(1));
}

#[test]
fn stopping_now_does_not_wait() {
    let server = start(long_limits());
    let mut running = server.hang();
    server.stop.drain();
    server.stop.now();
    assert!(is_closed(&mut running));
    assert_eq!(server.ended(), Ended::CutOff(1));
}

#[test]
fn connections_are_counted_by_address() {
    let server = start(Limits { connections_per_address: 2, ..long_limits() });
    let mut two = [server.connect_and_send(REQUEST), server.connect_and_send(REQUEST)];
    two.iter_mut().for_each(|stream| drop(answer(stream)));
    assert!(is_closed(&mut server.connect()));
    assert_eq!(server.metrics.connections.refused.load(Relaxed), 1);
    drop(two);
    until("the places are free again", || server.metrics.connections.open.load(Relaxed) == 0);
    assert_eq!(answer(&mut server.connect_and_send(REQUEST)).1, b"fast");
}

#[test]
fn connections_are_counted_in_all() {
    let server = start(Limits { connections: 1, ..long_limits() });
    let mut one = server.connect_and_send(REQUEST);
    answer(&mut one);
    assert!(is_closed(&mut server.connect()));
    one.write_all(REQUEST.as_bytes()).unwrap();
    assert_eq!(answer(&mut one).1, b"fast");
}

/// `GET /` on stream 1 of an HTTP/2 connection, by hand.
pub(super) fn http2_request() -> Vec<u8> {
    http2_get("/")
}

fn http2_get(path: &str) -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]); // SETTINGS, empty
    let mut head = vec![0x82, 0x86, 0x41, 1, b'x']; // GET, http, authority x
    head.extend([0x04, path.len() as u8]);
    head.extend(path.as_bytes());
    bytes.extend([0, 0, head.len() as u8, 1, 0x05, 0, 0, 0, 1]); // HEADERS, the whole request
    bytes.extend(head);
    bytes
}

/// The kind and payload of the next frame; `None` at the end.
pub(super) fn frame(stream: &mut impl Read) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).ok()?;
    let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
    stream.read_exact(&mut payload).ok()?;
    Some((head[3], payload))
}

#[test]
fn http2_without_tls_is_served_and_its_idle_connections_are_closed() {
    let server = start(Limits { idle: SHORT, ..long_limits() });
    let mut stream = server.connect();
    // In two pieces, so that telling the protocols apart has to wait for more.
    let request = http2_request();
    stream.write_all(&request[..5]).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.write_all(&request[5..]).unwrap();
    let (mut status, mut body) = (None, Vec::new());
    while let Some((kind, payload)) = frame(&mut stream) {
        match kind {
            0 => body.extend(payload),
            1 => status = Some(payload[0]),
            _ => (),
        }
    }
    assert_eq!(status, Some(0x88), ":status 200");
    assert_eq!(body, b"fast");
    assert_eq!(server.timed_out(), 1);
}

#[test]
fn an_http2_client_that_opens_its_windows_too_slowly_is_closed() {
    let server = start(Limits { body: SHORT * 4, answer_rate: 1 << 30, ..long_limits() });
    let mut stream = server.connect();
    stream.write_all(&http2_get("/big")).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    let mut piece = vec![0; 64 * 1024];
    until("the slow reader is closed", || {
        for window in [0, 1] {
            // WINDOW_UPDATE, of the connection and of the stream: 1 KiB more.
            let _ = stream.write_all(&[0, 0, 4, 8, 0, 0, 0, 0, window, 0, 0, 4, 0]);
        }
        let _ = stream.read(&mut piece);
        server.timed_out() > 0
    });
}

#[test]
fn http2_drains_too() {
    let server = start(long_limits());
    let mut stream = server.connect();
    stream.write_all(&http2_request()).unwrap();
    while frame(&mut stream).expect("an answer").0 != 0 {}
    server.stop.drain();
    let mut goaway = false;
    while let Some((kind, payload)) = frame(&mut stream) {
        goaway |= kind == 7;
        if kind == 6 {
            // The server asks whether its notice has been seen.
            let reply = [&[0, 0, 8, 6, 1, 0, 0, 0, 0], payload.as_slice()].concat();
            stream.write_all(&reply).unwrap();
        }
    }
    assert!(goaway);
    assert_eq!(server.ended(), Ended::Drained);
}

#[test]
fn an_address_that_is_taken_is_told_with_what_to_do() {
    let first = Listening::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let error = Listening::bind(first.address()).unwrap_err().to_string();
    assert!(error.contains(&first.address().to_string()), "{error}");
    assert!(error.contains("another process listens there"), "{error}");
    let error = Listening::bind("192.0.2.1:7070".parse().unwrap()).unwrap_err().to_string();
    assert!(error.contains("no such address"), "{error}");
}
