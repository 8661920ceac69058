//! A server that answers what a test tells it to, in order, and remembers what it was
//! asked. One connection carries one request.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// What the stub was asked.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// What the stub answers.
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    drop: bool,
}

impl Reply {
    #[expect(clippy::needless_pass_by_value, reason = "json!(…) is written in place")]
    pub(crate) fn json(status: u16, body: serde_json::Value) -> Self {
        let kind = if status < 400 { "application/json" } else { "application/problem+json" };
        Self::text(status, &body.to_string()).with("content-type", kind)
    }

    pub(crate) fn text(status: u16, body: &str) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), drop: false }
    }

    /// The request is read, and the connection closed without a word.
    pub(crate) fn drop() -> Self {
        Self { drop: true, ..Self::text(0, "") }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A function from what was asked to the answer; `None` ends the stub.
type Script = Box<dyn FnMut(usize, &Received) -> Reply + Send>;

pub(crate) struct Stub {
    address: std::net::SocketAddr,
    over: Arc<AtomicBool>,
    replies: usize,
    thread: JoinHandle<Vec<Received>>,
}

impl Stub {
    /// Answers one reply after the other.
    pub(crate) fn answering(replies: Vec<Reply>) -> Self {
        let count = replies.len();
        let mut replies = replies.into_iter();
        Self::scripted(count, Box::new(move |_, _| replies.next().expect("a reply for each")))
    }

    /// Answers `count` requests by `script`.
    pub(crate) fn scripted(count: usize, mut script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let mut asked = Vec::new();
            while asked.len() < count {
                let (stream, _) = listener.accept().expect("a connection");
                if is_over.load(Ordering::Acquire) {
                    break;
                }
                if let Some(request) = serve(&stream, |request| script(asked.len(), request)) {
                    asked.push(request);
                }
            }
            asked
        });
        Self { address, over, replies: count, thread }
    }

    pub(crate) fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was asked. Fails unless every reply was given.
    pub(crate) fn finish(self) -> Vec<Received> {
        self.over.store(true, Ordering::Release);
        // Wakes the stub if it still waits for a request that never came.
        drop(TcpStream::connect(self.address));
        let asked = self.thread.join().expect("the stub did not panic");
        assert_eq!(asked.len(), self.replies, "requests: {asked:#?}");
        asked
    }
}

fn serve(stream: &TcpStream, reply: impl FnOnce(&Received) -> Reply) -> Option<Received> {
    let mut reader = BufReader::new(stream);
    let asked = read_request(&mut reader, stream)?;
    let reply = reply(&asked);
    if reply.drop {
        return Some(asked);
    }
    let mut out = format!("HTTP/1.1 {} x\r\n", reply.status).into_bytes();
    for (name, value) in &reply.headers {
        write!(out, "{name}: {value}\r\n").expect("into memory");
    }
    write!(out, "content-length: {}\r\nconnection: close\r\n\r\n", reply.body.len())
        .expect("into memory");
    out.extend_from_slice(&reply.body);
    let mut stream = stream;
    stream.write_all(&out).expect("the client reads");
    Some(asked)
}

fn read_request(reader: &mut BufReader<&TcpStream>, mut back: &TcpStream) -> Option<Received> {
    let line = read_line(reader)?;
    let mut headers = Vec::new();
    loop {
        let header = read_line(reader)?;
        let Some((name, value)) = header.split_once(": ") else { break };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let mut asked = Received { line, headers, body: Vec::new() };
    if asked.header("expect").is_some() {
        back.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
    }
    if let Some(length) = asked.header("content-length") {
        let length = length.parse().expect("a length");
        reader.take(length).read_to_end(&mut asked.body).ok()?;
    } else if asked.header("transfer-encoding") == Some("chunked") {
        loop {
            let length = u64::from_str_radix(&read_line(reader)?, 16).expect("a chunk");
            reader.by_ref().take(length).read_to_end(&mut asked.body).ok()?;
            read_line(reader)?;
            if length == 0 {
                break;
            }
        }
    }
    Some(asked)
}

fn read_line(reader: &mut BufReader<&TcpStream>) -> Option<String> {
    let mut line = String::new();
    let read = reader.read_line(&mut line).ok()?;
    (read > 0).then(|| line.trim_end().to_owned())
}
