//! One connection: which protocol it speaks, what it is waiting for, and its end.
//!
//! [`Shared`] is what the connection's task and the worker's sweep know of each other. The
//! task notes where it is and counts its steps, without reading a clock; the sweep sees
//! that no step was made since it last looked, and for how long. All of it happens on one
//! thread; the atomics are there because tasks must be `Send`, and cost nothing.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use futures_util::task::AtomicWaker;
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
use super::refusal::Refusing;

/// What an HTTP/2 client says first.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// HTTP/2 frames that keep a connection alive without moving data are shorter.
const LEAST_PROGRESS: usize = 64;
/// How long a client that was refused may go on sending before its connection is reset:
/// a reset that comes too soon destroys the refusal on its way.
const LINGER: Duration = Duration::from_secs(2);

/// What the sweep wants of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Order {
    /// End after what is running.
    Drain = 1,
    /// End now.
    Close = 2,
}

/// Where a connection is when no request runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Within the head of a request, or before the first byte.
    Head = 0,
    /// Between requests.
    Idle = 1,
    /// Refused a body, and waits for the client to notice.
    Linger = 2,
}

/// What a connection's task and its worker's sweep know of each other.
#[derive(Debug, Default)]
pub(super) struct Shared {
    steps: AtomicU64,
    phase: AtomicU8,
    http2: AtomicBool,
    /// Requests whose handler runs.
    working: AtomicU32,
    /// Requests whose answer is being sent.
    answering: AtomicU32,
    /// The client does not take what is being sent.
    blocked: AtomicBool,
    /// A request's body was not read to its end.
    unread: AtomicBool,
    gone: AtomicBool,
    order: AtomicU8,
    task: AtomicWaker,
}

impl Shared {
    /// A number that is another one after each step.
    pub(super) fn steps(&self) -> u64 {
        self.steps.load(Relaxed)
    }

    /// How long the connection may stay without a step; `None` while a handler works.
    pub(super) fn allowed(&self, limits: &Limits) -> Option<Duration> {
        if self.blocked.load(Relaxed) {
            return Some(limits.body);
        }
        if self.working.load(Relaxed) > 0 {
            return None;
        }
        if self.answering.load(Relaxed) > 0 {
            return Some(limits.body);
        }
        Some(match self.phase.load(Relaxed) {
            phase if phase == Phase::Head as u8 => limits.header,
            phase if phase == Phase::Linger as u8 => LINGER,
            _ => limits.idle,
        })
    }

    /// Whether a request is being worked on or answered.
    pub(super) fn is_busy(&self) -> bool {
        self.working.load(Relaxed) + self.answering.load(Relaxed) > 0 || self.blocked.load(Relaxed)
    }

    /// Whether the task has ended.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Relaxed)
    }

    /// Tells the task what to do, and wakes it.
    pub(super) fn order(&self, order: Order) {
        self.order.fetch_max(order as u8, Relaxed);
        self.task.wake();
    }

    /// A request's body was dropped before its end.
    pub(super) fn left_unread(&self) {
        self.unread.store(true, Relaxed);
    }

    fn step(&self) {
        self.steps.fetch_add(1, Relaxed);
    }

    fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
        self.step();
    }

    fn is_in(&self, phase: Phase) -> bool {
        self.phase.load(Relaxed) == phase as u8
    }

    /// Waits for an order; after it was told to drain, only for the one to close.
    async fn ordered(&self, draining: bool) -> Order {
        let awaited = if draining { Order::Close } else { Order::Drain };
        poll_fn(|cx| {
            self.task.register(cx.waker());
            match self.order.load(Relaxed) {
                order if order < awaited as u8 => Poll::Pending,
                order if order == Order::Drain as u8 => Poll::Ready(Order::Drain),
                _ => Poll::Ready(Order::Close),
            }
        })
        .await
    }

    fn received(&self) {
        if self.is_in(Phase::Idle) && !self.http2.load(Relaxed) && !self.is_busy() {
            self.enter(Phase::Head);
        }
    }

    fn sent(&self, result: &Poll<io::Result<usize>>) {
        let went_on = match result {
            Poll::Pending => !self.blocked.swap(true, Relaxed),
            Poll::Ready(Ok(bytes)) => self.blocked.swap(false, Relaxed) || *bytes >= LEAST_PROGRESS,
            Poll::Ready(Err(_)) => false,
        };
        if went_on {
            self.step();
        }
    }
}

/// One request whose handler works, until it is dropped.
struct Working(Arc<Shared>);

impl Working {
    fn begin(shared: &Arc<Shared>) -> Self {
        shared.working.fetch_add(1, Relaxed);
        shared.enter(Phase::Idle);
        Self(Arc::clone(shared))
    }

    fn answer(self) -> Answering {
        self.0.answering.fetch_add(1, Relaxed);
        Answering(Arc::clone(&self.0))
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.working.fetch_sub(1, Relaxed);
        self.0.step();
    }
}

/// One answer that is being sent, until it is dropped.
pub(super) struct Answering(Arc<Shared>);

impl Answering {
    pub(super) fn went_on(&self) {
        self.0.step();
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.answering.fetch_sub(1, Relaxed);
        self.0.step();
    }
}

/// Marks the connection as gone when its task ends, however it ends.
struct Gone(Arc<Shared>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.gone.store(true, Relaxed);
    }
}

/// Serves one connection to its end.
pub(super) async fn run(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    limits: Arc<Limits>,
    shared: Arc<Shared>,
) {
    let _gone = Gone(Arc::clone(&shared));
    let mut io = Io { stream, first: Vec::new(), shared: Arc::clone(&shared) };
    let speaks_http2 = tokio::select! {
        biased;
        detected = io.detect() => match detected {
            Ok(speaks_http2) => speaks_http2,
            Err(_) => return,
        },
        // Nobody has sent a request here yet.
        _ = shared.ordered(false) => return,
    };
    let service = {
        let shared = Arc::clone(&shared);
        let limit = limits.body;
        service_fn(move |request| {
            respond(request, router.clone(), peer, limit, Arc::clone(&shared))
        })
    };
    let ended = if speaks_http2 {
        shared.http2.store(true, Relaxed);
        shared.enter(Phase::Idle);
        drive(http2(&limits).serve_connection(TokioIo::new(io), service), &shared).await
    } else {
        let io = TokioIo::new(Refusing::new(io, &shared));
        drive(http1(&limits).serve_connection(io, service), &shared).await
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a connection broke");
    }
}

/// Drives a connection, and passes the orders on.
async fn drive<C: GracefulConnection>(connection: C, shared: &Shared) -> Result<(), C::Error> {
    let mut connection = std::pin::pin!(connection);
    let mut draining = false;
    loop {
        tokio::select! {
            // First the connection: a request that has arrived is served.
            biased;
            ended = connection.as_mut() => return ended,
            order = shared.ordered(draining) => match order {
                Order::Drain => connection.as_mut().graceful_shutdown(),
                Order::Close => return Ok(()),
            },
        }
        draining = true;
    }
}

async fn respond(
    request: Request<Incoming>,
    mut router: Router,
    peer: SocketAddr,
    body_limit: Duration,
    shared: Arc<Shared>,
) -> Result<Response<Counted>, Infallible> {
    let working = Working::begin(&shared);
    let mut request = request.map(|body| bounded(body, body_limit, &shared));
    request.extensions_mut().insert(ConnectInfo(peer));
    let response = router.call(request).await?;
    let answering = working.answer();
    Ok(response.map(|body| Counted::new(body, answering)))
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
        .max_concurrent_streams(100)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20))
        .timer(TokioTimer::new());
    builder
}

/// The socket, noting what it does in [`Shared`].
struct Io {
    stream: TcpStream,
    /// What was read to tell the protocols apart, and is still to be given to the parser.
    first: Vec<u8>,
    shared: Arc<Shared>,
}

impl Io {
    /// Reads until it is clear whether the client speaks HTTP/2. An error also if it hung
    /// up before that.
    async fn detect(&mut self) -> io::Result<bool> {
        let mut buffer = [0; PREFACE.len()];
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut buffer[filled..]).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            filled += read;
            let http2 = PREFACE.starts_with(&buffer[..filled]);
            if !http2 || filled == PREFACE.len() {
                self.first = buffer[..filled].to_vec();
                return Ok(http2);
            }
        }
    }
}

impl AsyncRead for Io {
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

impl AsyncWrite for Io {
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
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Ends sending. Where a body was refused, what still comes of it is thrown away for
    /// a moment, so that the client can read the refusal.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.shared.is_in(Phase::Linger) {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            if !self.shared.unread.load(Relaxed) {
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
