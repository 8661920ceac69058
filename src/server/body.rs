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

/// What an answer gives of itself at once: hyper takes on whatever it is given, and of HTTP/2 keeps
/// all of it, where nobody sees what the client has taken.
const PIECE: usize = 64 * 1024;

/// How a body, or the taking of an answer, has to go on.
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

/// An answer's body, in pieces, that tells the connection when it is under way and when it is over.
pub(super) struct Counted {
    body: Body,
    /// What the body gave, and nobody has asked for yet.
    rest: Bytes,
    answering: Answering,
}

impl Counted {
    pub(super) fn new(body: Body, answering: Answering) -> Self {
        Self { body, rest: Bytes::new(), answering }
    }
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if this.rest.is_empty() {
            let frame = Pin::new(&mut this.body).poll_frame(cx);
            this.answering.is_making(frame.is_pending());
            let frame = ready!(frame);
            this.answering.went_on();
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => this.rest = data,
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        } else {
            this.answering.went_on();
        }
        let piece = this.rest.split_to(this.rest.len().min(PIECE));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let rest = self.rest.len() as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::super::shared::Working;
    use super::*;

    #[test]
    fn a_long_answer_goes_in_pieces_and_is_over_with_the_last() {
        let long = 2 * PIECE + 1;
        let answering = Working::begin(&Arc::default()).answer();
        let mut answer = Counted::new(Body::from(vec![b'x'; long]), answering);
        let mut pieces: Vec<usize> = Vec::new();
        while !answer.is_end_stream() {
            let left = long - pieces.iter().sum::<usize>();
            assert_eq!(HttpBody::size_hint(&answer).exact(), Some(left as u64));
            let frame = Pin::new(&mut answer).poll_frame(&mut Context::from_waker(Waker::noop()));
            let Poll::Ready(Some(Ok(frame))) = frame else { panic!("there is more of it") };
            pieces.push(frame.into_data().unwrap().len());
        }
        assert_eq!(pieces, [PIECE, PIECE, 1]);
    }
}
