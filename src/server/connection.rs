//! One connection: which protocol it speaks, what it is waiting for, and its end.
//!
//! Its first requests, and mostly all of them, are lookups that [`plain`](super::plain)
//! answers. At the first byte that is anything else the connection is hyper's, with what was
//! read and not answered, to its end.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use axum::http::{StatusCode, Version};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tower::Service as _;

use super::Limits;
use super::body::{Counted, bounded};
use super::load::{Late, Load};
use super::plain::{Desk, Plain};
use super::refusal::Refusing;
use super::secure::{Secure, Stream};
use super::shared::{Gone, Order, Phase, Shared, Working};
use crate::metrics::Metrics;
use crate::problem::{Fault, Problem};
use crate::telemetry::{REQUEST_ID, RequestId};
use crate::tls::Tls;

/// What an HTTP/2 client says first.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What all connections of a worker have in common.
pub(super) struct Common {
    pub(super) router: Router,
    pub(super) limits: Arc<Limits>,
    pub(super) metrics: Arc<Metrics>,
    /// `None`: hyper has all requests.
    pub(super) desk: Option<Desk>,
    /// How far this worker is behind.
    pub(super) load: Load,
}

/// Serves one connection to its end.
pub(super) async fn serve_connection(
    stream: TcpStream,
    peer: SocketAddr,
    common: Arc<Common>,
    shared: Arc<Shared>,
) {
    let _gone = Gone(Arc::clone(&shared));
    serve(stream, peer, &common, shared).await;
}

/// The same for a client that is to speak TLS. Its handshake and the head of its first request
/// together have the time of a head.
pub(super) async fn serve_secure_connection(
    tls: Arc<Tls>,
    stream: TcpStream,
    peer: SocketAddr,
    common: Arc<Common>,
    shared: Arc<Shared>,
) {
    let _gone = Gone(Arc::clone(&shared));
    let accepted = tokio::select! {
        biased;
        // In a box: it is needed for a moment, and the connection stays.
        accepted = Box::pin(Secure::accept(&tls, stream)) => accepted,
        // Nobody has sent a request here yet.
        _ = shared.ordered(Some(Order::Last)) => return,
    };
    match accepted {
        Ok(stream) => serve(stream, peer, &common, shared).await,
        Err(error) => {
            tls.handshake_failed();
            tracing::debug!(%peer, %error, "a TLS handshake failed");
        }
    }
}

async fn serve<S: Stream>(stream: S, peer: SocketAddr, common: &Arc<Common>, shared: Arc<Shared>) {
    let (stream, first) = match &common.desk {
        None => (stream, Vec::new()),
        Some(desk) => match Plain::new(stream, &shared).serve(desk).await {
            Some(left) => left,
            None => return,
        },
    };
    // In a box, since most connections never come here: without it each would hold the memory
    // that hyper needs.
    Box::pin(with_hyper(Io { stream, first, shared }, peer, common)).await;
}

async fn with_hyper<S: Stream>(mut io: Io<S>, peer: SocketAddr, common: &Arc<Common>) {
    let shared = Arc::clone(&io.shared);
    let speaks_http2 = tokio::select! {
        biased;
        detected = io.detect() => match detected {
            Ok(speaks_http2) => speaks_http2,
            Err(_) => return,
        },
        // Nobody has sent a request here yet.
        _ = shared.ordered(Some(Order::Last)) => return,
    };
    let limits = &common.limits;
    let service = {
        let (common, shared) = (Arc::clone(common), Arc::clone(&shared));
        service_fn(move |request| respond(request, Arc::clone(&common), peer, Arc::clone(&shared)))
    };
    let ended = if speaks_http2 {
        shared.speaks_http2();
        drive(http2(limits).serve_connection(TokioIo::new(io), service), &shared, None).await
    } else {
        let io = TokioIo::new(Refusing::new(io, &shared, &common.metrics));
        // Of `Last` the answers tell, see below.
        drive(http1(limits).serve_connection(io, service), &shared, Some(Order::Last)).await
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a connection broke");
    }
}

/// Drives a connection, and passes those orders on that go further than `heard`.
async fn drive<C: GracefulConnection>(
    connection: C,
    shared: &Shared,
    mut heard: Option<Order>,
) -> Result<(), C::Error> {
    let mut connection = std::pin::pin!(connection);
    loop {
        let order = tokio::select! {
            // First the connection: a request that has arrived is served.
            biased;
            ended = connection.as_mut() => return ended,
            order = shared.ordered(heard) => order,
        };
        if order == Order::Close {
            return Ok(());
        }
        connection.as_mut().graceful_shutdown();
        heard = Some(Order::Drain);
    }
}

async fn respond(
    request: Request<Incoming>,
    common: Arc<Common>,
    peer: SocketAddr,
    shared: Arc<Shared>,
) -> Result<Response<Counted>, Infallible> {
    let working = Working::begin(&shared);
    let is_http1 = request.version() < Version::HTTP_2;
    let misunderstood = misunderstood(request.headers(), &shared);
    let mut request = request.map(|body| bounded(body, common.limits.pace(), &shared));
    let mut response = if let Some(why) = misunderstood {
        // What its client still sends must not keep it from reading this.
        shared.left_unread();
        drop(request);
        let response = malformed(why);
        // The router, which counts all others, does not see it.
        common.metrics.request(None, response.status());
        response
    } else {
        request.extensions_mut().insert(ConnectInfo(peer));
        if common.load.is_late() {
            request.extensions_mut().insert(Late);
        }
        common.router.clone().call(request).await?
    };
    if response.status() == StatusCode::NOT_MODIFIED {
        // axum says how long the body is, of this answer: 0. It would be that of the value, which the
        // client has (RFC 9110, 8.6).
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    if is_http1 && (misunderstood.is_some() || shared.is_ending()) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let answering = working.answer();
    Ok(response.map(|body| Counted::new(body, answering)))
}

/// Why a request that hyper takes is none for the router, if it is. The connection ends with it.
fn misunderstood(headers: &HeaderMap, shared: &Shared) -> Option<&'static str> {
    if let Some(odd) = shared.begins() {
        return Some(odd.why());
    }
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    let first = encodings.next()?;
    // hyper undoes the last of them alone.
    let is_one = first.as_bytes().eq_ignore_ascii_case(b"chunked") && encodings.next().is_none();
    (!is_one).then_some(
        "chunked is the only Transfer-Encoding that this server takes, and once: a body that is \
         compressed says so in Content-Encoding",
    )
}

/// The answer to a request that is none for the router.
fn malformed(why: &str) -> Response<axum::body::Body> {
    let id = RequestId::fresh();
    let mut response = Problem::new(Fault::MalformedRequest, why).render(id.as_str());
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

fn http1(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.header_read_timeout(None).max_header_size(limits.header_bytes).timer(TokioTimer::new());
    // A client that ends its sending after a request (`nc -N`) still wants the answer.
    builder.half_close(true);
    // Not pipeline_flush: it holds an answer back while anything that follows is unread, be
    // it half a request or the head that was refused as too long.
    // Not max_headers: its default is the 100 we want, and setting it costs an allocation.
    builder
}

fn http2(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .max_concurrent_streams(u32::try_from(limits.http2_streams).unwrap_or(u32::MAX))
        // What a client begins and gives up at once costs work all the same: a flood of it ends
        // the connection.
        .max_pending_accept_reset_streams(limits.http2_resets)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .keep_alive_interval(limits.http2_keep_alive)
        .keep_alive_timeout(limits.http2_keep_alive)
        .timer(TokioTimer::new());
    builder
}

/// The socket, noting what it does in [`Shared`].
struct Io<S> {
    stream: S,
    /// What was read already, and is still to be given to the parser.
    first: Vec<u8>,
    shared: Arc<Shared>,
}

impl<S: Stream> Io<S> {
    /// Reads until it is clear whether the client speaks HTTP/2. An error also if it hung
    /// up before that.
    async fn detect(&mut self) -> io::Result<bool> {
        loop {
            let known = self.first.len().min(PREFACE.len());
            if self.first[..known] != PREFACE[..known] {
                return Ok(false);
            }
            if known == PREFACE.len() {
                return Ok(true);
            }
            let mut more = [0; PREFACE.len()];
            let read = self.stream.read(&mut more[known..]).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.first.extend_from_slice(&more[known..known + read]);
        }
    }
}

impl<S: Stream> AsyncRead for Io<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.first.is_empty() {
            let count = self.first.len().min(buffer.remaining());
            buffer.put_slice(&self.first[..count]);
            self.first.drain(..count);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            self.shared.received();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Stream> AsyncWrite for Io<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.shared.sent(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.shared.sent(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if S::HOLDS_BACK {
            self.shared.flushed(&flushed);
        }
        flushed
    }

    /// Ends sending. Where a body was refused, what still comes of it is thrown away for
    /// a moment, so that the client can read the refusal.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.shared.is_in(Phase::Linger) {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            if !self.shared.has_left_unread() {
                return Poll::Ready(Ok(()));
            }
            self.shared.enter(Phase::Linger);
        }
        let mut space = [0; 16 * 1024];
        loop {
            let mut buffer = ReadBuf::new(&mut space);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
