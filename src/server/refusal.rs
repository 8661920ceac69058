//! What is refused before it is a request: a head that hyper cannot take.
//!
//! hyper answers it by itself, with a status and nothing else, so that whoever asked cannot
//! tell what was wrong, and a key that is too long looks like a fault of the network. This
//! stands between hyper and the socket, keeps what was read since the last answer, and puts
//! a problem document in the place of a bare refusal.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use tidetable_storage::{Code, Error, MAX_KEY_BYTES};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::heads::Heads;
use super::shared::Shared;
use crate::metrics::Metrics;
use crate::problem::{Fault, Problem};
use crate::telemetry::RequestId;

/// What is kept of a head: more than the longest key takes, whatever precedes it.
const MOST: usize = 96 * 1024;
/// hyper's refusals are shorter.
const LONGEST_REFUSAL: usize = 256;

/// A stream on which refusals say why.
pub(super) struct Refusing<S> {
    stream: S,
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
    /// What was read since the last answer and before a request, up to [`MOST`].
    head: Vec<u8>,
    /// What was read, hyper's requests one by one.
    heads: Heads,
    instead: Option<Instead>,
}

/// What is written in the place of a refusal.
struct Instead {
    answer: Vec<u8>,
    written: usize,
    /// How many bytes of hyper's it stands for.
    stands_for: usize,
}

impl<S> Refusing<S> {
    pub(super) fn new(stream: S, shared: &Arc<Shared>, metrics: &Arc<Metrics>) -> Self {
        let (head, heads) = (Vec::new(), Heads::default());
        let (shared, metrics) = (Arc::clone(shared), Arc::clone(metrics));
        Self { stream, shared, metrics, head, heads, instead: None }
    }

    /// Looks at what is about to be written.
    fn notice(&mut self, bytes: &[u8]) {
        if self.instead.is_some() || bytes.is_empty() {
            return;
        }
        if let Some(status) = status_of_refusal(bytes) {
            let problem = problem(&self.head, status);
            // The router, which counts all others, does not see it.
            self.metrics.request(None, problem.status());
            let answer = answer(&self.head, status, &problem);
            // The client may still be sending: it must be able to read this.
            self.shared.left_unread();
            self.instead = Some(Instead { answer, written: 0, stands_for: bytes.len() });
        }
        // Whatever it is, it answers what was read.
        self.head = Vec::new();
    }
}

impl<S: AsyncWrite + Unpin> Refusing<S> {
    /// Writes the answer that stands for a refusal, if there is one to write.
    fn poll_instead(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<usize>>> {
        let Some(instead) = &mut self.instead else { return Poll::Ready(None) };
        while instead.written < instead.answer.len() {
            let rest = &instead.answer[instead.written..];
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest)) {
                Ok(0) => return Poll::Ready(Some(Err(io::ErrorKind::WriteZero.into()))),
                Ok(count) => instead.written += count,
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
        let stands_for = instead.stands_for;
        self.instead = None;
        Poll::Ready(Some(Ok(stands_for)))
    }
}

/// The status of a refusal that hyper wrote by itself: nothing of ours has no content type.
fn status_of_refusal(bytes: &[u8]) -> Option<u16> {
    let rest = bytes.strip_prefix(b"HTTP/1.")?.get(2..)?;
    let status: u16 = std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok()?;
    let is_bare = bytes.len() <= LONGEST_REFUSAL
        && bytes.ends_with(b"\r\n\r\n")
        && !bytes.to_ascii_lowercase().windows(13).any(|at| at == b"content-type:");
    ([400, 414, 431].contains(&status) && is_bare).then_some(status)
}

fn problem(head: &[u8], status: u16) -> Problem {
    if status == 400 {
        let text = "this is no HTTP request: its first line or a header is malformed";
        return Problem::new(Fault::MalformedRequest, text);
    }
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    if key_bytes(line).is_some_and(|bytes| bytes > MAX_KEY_BYTES) {
        let text = format!("the key has more than {MAX_KEY_BYTES} bytes, which is the most");
        return Error::new(Code::InvalidKey, text).into();
    }
    // The line ends with the version of the protocol, unless it is what was too long.
    let is_line = line.len() == head.len() || status == 414;
    if is_line { too_long(line) } else { Problem::new(Fault::HeadTooLarge, HEAD_TOO_LARGE) }
}

const HEAD_TOO_LARGE: &str =
    "the headers of this request are longer than this server takes (max_header_bytes), or too many";

fn too_long(line: &[u8]) -> Problem {
    let text = format!(
        "the first line of this request has {} bytes or more, and a path and query can have {} at \
         most; look long keys up with POST …/batch-get",
        line.len(),
        u16::MAX - 1
    );
    Problem::new(Fault::UriTooLong, text)
}

/// How many bytes the key of a lookup has at least, by the first line of the request or the
/// beginning of it. `None` if it is no lookup.
fn key_bytes(line: &[u8]) -> Option<usize> {
    let path = line.strip_prefix(b"GET ").or_else(|| line.strip_prefix(b"HEAD "))?;
    let rest = path.strip_prefix(b"/v1/datasets/")?;
    let dataset = rest.iter().position(|&byte| byte == b'/')?;
    let key = rest[dataset..].strip_prefix(b"/keys/")?;
    let end = key.iter().position(|byte| b"/? ".contains(byte)).unwrap_or(key.len());
    let (key, query) = key.split_at(end);
    let escapes = key.iter().filter(|&&byte| byte == b'%').count();
    let decoded = key.len().saturating_sub(2 * escapes);
    let says = |word: &[u8]| query.windows(word.len()).any(|at| at == word);
    Some(match () {
        () if says(b"key_encoding=hex") => decoded / 2,
        () if says(b"key_encoding=base64url") => decoded / 4 * 3,
        () => decoded,
    })
}

fn answer(head: &[u8], status: u16, problem: &Problem) -> Vec<u8> {
    let id = RequestId::fresh();
    let body = problem.document(id.as_str()).to_string();
    let mut answer = format!(
        "HTTP/1.1 {}\r\ncontent-type: application/problem+json\r\ncache-control: no-store\r\n\
         x-request-id: {}\r\ncontent-length: {}\r\nconnection: close\r\ndate: {}\r\n\r\n",
        problem.status(),
        id.as_str(),
        body.len(),
        httpdate::fmt_http_date(SystemTime::now()),
    )
    .into_bytes();
    // What is malformed has no method to go by.
    if status == 400 || !head.starts_with(b"HEAD ") {
        answer.extend_from_slice(body.as_bytes());
    }
    answer
}

impl<S: AsyncRead + Unpin> AsyncRead for Refusing<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let read = &buffer.filled()[before..];
        if let Some((number, odd)) = self.heads.follow(read) {
            self.shared.is_odd(number, odd);
        }
        if self.shared.is_busy() {
            // A body: its head was taken.
            self.head = Vec::new();
            return Poll::Ready(Ok(()));
        }
        let room = MOST.saturating_sub(self.head.len());
        self.head.extend_from_slice(&read[..read.len().min(room)]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Refusing<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.notice(bytes);
        match ready!(self.poll_instead(cx)) {
            Some(written) => Poll::Ready(written),
            None => Pin::new(&mut self.stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut written = slices.iter().filter(|slice| !slice.is_empty());
        let (first, second) = (written.next(), written.next());
        if let (Some(first), None) = (first, second) {
            self.notice(first);
        } else {
            self.head = Vec::new();
        }
        match ready!(self.poll_instead(cx)) {
            Some(written) => Poll::Ready(written),
            None => Pin::new(&mut self.stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_hyper_says_by_itself_is_replaced() {
        let bare = b"HTTP/1.1 414 URI Too Long\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(status_of_refusal(bare), Some(414));
        for other in [
            &b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/problem+json\r\n\r\n",
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}",
            b"HTTP/1.1 40",
            b"",
        ] {
            assert_eq!(status_of_refusal(other), None, "{}", String::from_utf8_lossy(other));
        }
    }

    #[test]
    fn the_key_of_a_lookup_is_measured_as_it_would_be_read() {
        let lookup = |key: &str, rest: &str| {
            key_bytes(format!("GET /v1/datasets/recs/keys/{key}{rest}").as_bytes())
        };
        assert_eq!(lookup("abc", " HTTP/1.1"), Some(3));
        assert_eq!(lookup("abc", ""), Some(3), "the rest has not come");
        assert_eq!(lookup("a%2Fb", "?version=1 HTTP/1.1"), Some(3));
        assert_eq!(lookup("00ff", "?key_encoding=hex HTTP/1.1"), Some(2));
        assert_eq!(lookup("AAAA", "?version=1&key_encoding=base64url HTTP/1.1"), Some(3));
        for line in ["PUT /v1/datasets/a/keys/x", "GET /v1/datasets/a/scan?prefix=x", "GET /", ""] {
            assert_eq!(key_bytes(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn a_refusal_says_what_was_too_long() {
        let code = |head: String, status| problem(head.as_bytes(), status).code();
        let lookup = |bytes: usize| format!("GET /v1/datasets/recs/keys/{}", "x".repeat(bytes));
        assert_eq!(code(lookup(MAX_KEY_BYTES + 1) + " HTTP/1.1\r\n", 414), "invalid_key");
        assert_eq!(code(lookup(MAX_KEY_BYTES) + " HTTP/1.1\r\n", 414), "uri_too_long");
        assert_eq!(code(lookup(MOST), 431), "invalid_key");
        assert_eq!(code(format!("GET /{}", "x".repeat(MOST)), 431), "uri_too_long");
        assert_eq!(
            code(format!("GET / HTTP/1.1\r\nx: {}", "x".repeat(MOST)), 431),
            "head_too_large"
        );
        assert_eq!(code("rubbish\r\n\r\n".to_owned(), 400), "malformed_request");
    }
}
