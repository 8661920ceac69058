//! The bodies of requests and answers, as the connection needs to know of them.

use std::fmt;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

use super::shared::{Answering, Shared};

/// The body of a request stopped arriving.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyStalled(Duration);

impl BodyStalled {
    /// Nothing came for this long.
    #[cfg(test)]
    pub(crate) fn after(limit: Duration) -> Self {
        Self(limit)
    }
}

impl fmt::Display for BodyStalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nothing of the body arrived for {:?}; send it again", self.0)
    }
}

impl std::error::Error for BodyStalled {}

/// A request's body that fails with [`BodyStalled`] when nothing of it comes for `limit`
/// while somebody waits for it. Time that the server takes itself does not count.
pub(super) fn bounded(body: Incoming, limit: Duration, shared: &Arc<Shared>) -> Body {
    if body.is_end_stream() {
        return Body::empty();
    }
    Body::new(Bounded {
        body,
        limit,
        timer: None,
        waiting: false,
        ended: false,
        shared: Arc::clone(shared),
    })
}

struct Bounded {
    body: Incoming,
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    waiting: bool,
    ended: bool,
    shared: Arc<Shared>,
}

impl HttpBody for Bounded {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.waiting = false;
            this.ended = frame.is_none() || this.body.is_end_stream();
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep(this.limit)));
        if !std::mem::replace(&mut this.waiting, true) {
            timer.as_mut().reset(Instant::now() + this.limit);
        }
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Some(Err(BodyStalled(this.limit).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Bounded {
    fn drop(&mut self) {
        if !self.ended {
            self.shared.left_unread();
        }
    }
}

/// An answer's body that tells the connection when it is under way and when it is over.
pub(super) struct Counted {
    body: Body,
    answering: Answering,
}

impl Counted {
    pub(super) fn new(body: Body, answering: Answering) -> Self {
        Self { body, answering }
    }
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.answering.went_on();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
