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

/// How a request's body has to go on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// The longest silence.
    pub(crate) silence: Duration,
    /// Bytes a second, on average; 0 for any number.
    pub(crate) rate: u64,
}

/// The body of a request stopped arriving, or came too slowly.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyStalled(Pace);

impl BodyStalled {
    /// Nothing came for this long.
    #[cfg(test)]
    pub(crate) fn after(silence: Duration) -> Self {
        Self(Pace { silence, rate: 0 })
    }
}

impl fmt::Display for BodyStalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pace { silence, rate } = self.0;
        write!(f, "nothing of the body arrived for {silence:?}")?;
        if rate > 0 {
            write!(f, ", or less than {rate} bytes a second (min_body_rate)")?;
        }
        write!(f, "; send it again")
    }
}

impl std::error::Error for BodyStalled {}

/// A request's body that fails with [`BodyStalled`] when it does not keep its pace while
/// somebody waits for it. Time that the server takes itself does not count.
pub(super) fn bounded(body: Incoming, pace: Pace, shared: &Arc<Shared>) -> Body {
    if body.is_end_stream() {
        return Body::empty();
    }
    Body::new(Bounded {
        body,
        pace,
        timer: None,
        waits_since: None,
        credit: pace.silence,
        ended: false,
        shared: Arc::clone(shared),
    })
}

struct Bounded {
    body: Incoming,
    pace: Pace,
    timer: Option<Pin<Box<Sleep>>>,
    waits_since: Option<Instant>,
    /// How long it may be waited for: waiting uses it up, and bytes bring it back.
    credit: Duration,
    ended: bool,
    shared: Arc<Shared>,
}

impl Bounded {
    fn came(&mut self, bytes: usize) {
        if let Some(since) = self.waits_since.take() {
            let gained = match self.pace.rate {
                // An empty frame is no progress.
                _ if bytes == 0 => Duration::ZERO,
                0 => self.pace.silence,
                rate => Duration::from_secs_f64(bytes as f64 / rate as f64),
            };
            let left = self.credit.saturating_sub(since.elapsed());
            self.credit = left.saturating_add(gained).min(self.pace.silence);
        }
    }
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
            let bytes = match &frame {
                Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
                _ => 0,
            };
            this.came(bytes);
            this.ended = frame.is_none() || this.body.is_end_stream();
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep(this.credit)));
        if this.waits_since.is_none() {
            let now = Instant::now();
            this.waits_since = Some(now);
            timer.as_mut().reset(now + this.credit);
        }
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Some(Err(BodyStalled(this.pace).into())))
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
