//! A small HTTP/1.1 client of the tests' own, so that nothing the server links can hide a
//! fault of the server's. It never retries: every failed request is seen.

use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// No answer of a healthy server takes this long, so a test hangs no longer than this.
const PATIENCE: Duration = Duration::from_secs(300);

/// One client with one connection, kept alive from request to request.
pub(crate) struct Client {
    address: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, connection: None }
    }

    pub(crate) fn get(&mut self, path: &str) -> io::Result<Reply> {
        self.send("GET", path, &[], b"")
    }

    pub(crate) fn post(&mut self, path: &str, body: &Value) -> io::Result<Reply> {
        self.send(
            "POST",
            path,
            &[("content-type", "application/json")],
            body.to_string().as_bytes(),
        )
    }

    /// POSTs a body of unknown length, in chunks. The connection is not used again.
    pub(crate) fn post_chunked(&mut self, path: &str, body: &[u8]) -> io::Result<Reply> {
        self.send_chunked("POST", path, body)
    }

    /// The same with another method.
    pub(crate) fn send_chunked(
        &mut self,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> io::Result<Reply> {
        let mut connection = connect(self.address)?;
        let head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.address);
        let mut sent = write!(connection.get_mut(), "{head}transfer-encoding: chunked\r\n\r\n");
        for chunk in body.chunks(1 << 16) {
            let stream = connection.get_mut();
            sent = sent
                .and_then(|()| write!(stream, "{:x}\r\n", chunk.len()))
                .and_then(|()| stream.write_all(chunk))
                .and_then(|()| stream.write_all(b"\r\n"));
        }
        let sent = sent.and_then(|()| connection.get_mut().write_all(b"0\r\n\r\n"));
        read_reply(&mut connection, method, path).map_err(|e| sent.err().unwrap_or(e))
    }

    /// Sends one request and reads its whole answer. Any error closes the connection.
    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Reply> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(self.address)?,
        };
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.address);
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("content-length: {}\r\n\r\n", body.len());
        let sent = connection
            .get_mut()
            .write_all(head.as_bytes())
            .and_then(|()| connection.get_mut().write_all(body));
        // A server that refuses a body before its end answers and closes: the answer counts.
        let reply =
            read_reply(&mut connection, method, path).map_err(|e| sent.err().unwrap_or(e))?;
        if reply.header("connection").is_none_or(|c| !c.eq_ignore_ascii_case("close")) {
            self.connection = Some(connection);
        }
        Ok(reply)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(connection) = &self.connection {
            // The server may have gone first.
            let _ = connection.get_ref().shutdown(Shutdown::Both);
        }
    }
}

/// A new connection, for tests that write their own bytes.
pub(crate) fn connect(address: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(BufReader::new(stream))
}

/// One answer, read to its end.
pub(crate) struct Reply {
    pub(crate) request: String,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("not JSON ({e}): {self}"))
    }

    /// The number in `Tidetable-Version`.
    pub(crate) fn version(&self) -> u64 {
        let version = self.header("tidetable-version");
        version
            .and_then(|v| v.parse().ok())
            .unwrap_or_else(|| panic!("no Tidetable-Version: {self}"))
    }

    /// The same answer, if its status is the expected one. The test ends here if it is not.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self}");
        self
    }

    /// The JSON of a problem with this status and code. The test ends here if it is another.
    #[track_caller]
    pub(crate) fn problem(self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "expected {code}: {self}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self}");
        let problem = self.json();
        assert_eq!(problem["code"], code, "{self}");
        assert_eq!(problem["status"], status, "{self}");
        for field in ["type", "title", "detail", "request_id"] {
            assert!(problem[field].as_str().is_some_and(|t| !t.is_empty()), "no {field}: {self}");
        }
        assert!(problem["retryable"].is_boolean(), "no retryable: {self}");
        problem
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text();
        let shown: String = text.chars().take(2000).collect();
        write!(f, "{} answered {}: {shown}", self.request, self.status)
    }
}

/// Reads one whole answer, for tests that write their own bytes.
pub(crate) fn read_reply(from: &mut impl BufRead, method: &str, path: &str) -> io::Result<Reply> {
    let status = loop {
        let line = read_line(from)?;
        let status: u16 = line
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3)?.parse().ok())
            .ok_or_else(|| malformed(&line))?;
        if status != 100 {
            break status;
        }
        read_line(from)?;
    };
    let mut headers = Vec::new();
    loop {
        let line = read_line(from)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| malformed(&line))?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let request = format!("{method} {}", path.chars().take(300).collect::<String>());
    let mut reply = Reply { request, status, headers, body: Vec::new() };
    if method != "HEAD" && status != 204 && status != 304 {
        reply.body = read_body(from, &reply)?;
    }
    Ok(reply)
}

fn read_body(from: &mut impl BufRead, reply: &Reply) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if reply.header("transfer-encoding").is_some_and(|t| t.eq_ignore_ascii_case("chunked")) {
        loop {
            let line = read_line(from)?;
            let size = usize::from_str_radix(line.split(';').next().unwrap_or(""), 16);
            let size = size.map_err(|_| malformed(&line))?;
            let start = body.len();
            body.resize(start + size, 0);
            from.read_exact(&mut body[start..])?;
            read_line(from)?;
            if size == 0 {
                return Ok(body);
            }
        }
    }
    match reply.header("content-length").map(str::parse) {
        Some(Ok(length)) => {
            body.resize(length, 0);
            from.read_exact(&mut body)?;
        }
        Some(Err(_)) => return Err(malformed("content-length")),
        None => {
            from.read_to_end(&mut body)?;
        }
    }
    Ok(body)
}

/// One line without its end. A connection that ends here is an error.
fn read_line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    from.read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    String::from_utf8(line).map_err(|_| malformed("not UTF-8"))
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed answer: {what}"))
}
