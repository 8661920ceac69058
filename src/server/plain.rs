//! The short way of a connection: requests that a [`Shortcut`] answers from their bytes
//! alone, without hyper and the router.
//!
//! One read takes what the client has sent, the answers to all whole requests in it are
//! gathered, and one write sends them. The buffers for that belong to the worker and serve
//! all its connections in turn ([`Desk`]): a connection that waits holds none, however many
//! there are. Only what is left over is kept with the connection: a head that has not come
//! whole, answers that the client does not take.
//!
//! What an answer needs from the disk is fetched by another thread ([`super::fetches`]), while
//! the worker serves its other connections. At the first bytes that the shortcut does not answer,
//! the connection is handed over with them, and nothing here looks at it again.

use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tidetable_storage::EvenPoisoned as _;
use tokio::io::ReadBuf;
use tokio::sync::oneshot;

use super::fetches::{Fetch, Fetches};
use super::secure::Stream;
use super::shared::{Order, Phase, Shared, Working};

/// Bytes taken from the kernel at once.
const READ_AT_ONCE: usize = 16 * 1024;
/// Requests of one connection that are answered before others get their turn.
const ANSWERS_AT_ONCE: usize = 32;
/// Bytes of answers that are gathered before they are sent.
const SEND_AT_ONCE: usize = 64 * 1024;
/// A buffer that a long answer made larger than this is not kept.
const KEEP_AT_MOST: usize = 256 * 1024;

/// What became of the bytes that a client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The first so many were a request, and its answer was added.
    Answered(usize),
    /// They are the beginning of a request that may become one to answer.
    Partial,
    /// A request whose answer lacks what [`Shortcut::fetch`] gets: nothing was added, nothing
    /// was counted.
    Cold,
    /// Not to be answered here: nothing was added, nothing was counted.
    NotPlain,
}

/// What is done about a request whose answer lacks something.
pub(crate) enum Fetching {
    /// This gets it.
    Begun(Box<dyn Fetch>),
    /// Too much waits already: the first so many bytes were the request, and its refusal was added.
    Refused(usize),
    /// Not to be answered here after all: nothing was added.
    NotPlain,
}

/// Answers the plainest requests. Each worker has one of its own.
pub(crate) trait Shortcut: Send {
    /// Looks at the first request in `received`, and adds its whole answer to `answers`.
    /// `draining`: the connection is to end, so if nothing follows, the answer says so. `since`: when
    /// what the answer lacked was first asked for, if it had to be fetched.
    fn answer(
        &mut self,
        received: &[u8],
        draining: bool,
        since: Option<Instant>,
        answers: &mut Vec<u8>,
    ) -> Taken;

    /// What gets from the disk what the answer to the first request in `received` lacks.
    fn fetch(&mut self, received: &[u8], draining: bool, answers: &mut Vec<u8>) -> Fetching;
}

/// What a worker's connections use in turn.
pub(super) struct Desk(Mutex<Tools>);

struct Tools {
    input: Box<[u8]>,
    output: Vec<u8>,
    shortcut: Box<dyn Shortcut>,
    fetches: Fetches,
}

impl Desk {
    pub(super) fn new(shortcut: Box<dyn Shortcut>, fetches: Fetches) -> Self {
        let input = vec![0; READ_AT_ONCE].into_boxed_slice();
        Self(Mutex::new(Tools { input, output: Vec::new(), shortcut, fetches }))
    }
}

/// A connection on the short way.
pub(super) struct Plain<'a, S> {
    stream: S,
    shared: &'a Arc<Shared>,
    /// Received, and not answered yet.
    unread: Vec<u8>,
    /// What the first request in `unread` waits for.
    fetching: Option<(oneshot::Receiver<()>, Working)>,
    /// Since when that was fetched, if it was: if it lacks something still, it goes the long way. In a
    /// box, since most connections wait for no disk, and are to be small.
    fetched: Option<Box<Instant>>,
    /// Answers on their way, and how much of them was sent.
    unsent: Vec<u8>,
    sent: usize,
    then: Then,
}

/// What follows when all answers are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// More bytes are needed.
    Read,
    /// There may be more whole requests in what was read.
    Answer,
    /// The connection goes the long way.
    HandOver,
    End,
}

impl<'a, S: Stream> Plain<'a, S> {
    pub(super) fn new(stream: S, shared: &'a Arc<Shared>) -> Self {
        Self {
            stream,
            shared,
            unread: Vec::new(),
            fetching: None,
            fetched: None,
            unsent: Vec::new(),
            sent: 0,
            then: Then::Read,
        }
    }

    /// Answers requests until the end of the connection (`None`), or until there is one to
    /// be answered in another way: the connection, and what came on it and was not answered.
    pub(super) async fn serve(mut self, desk: &Desk) -> Option<(S, Vec<u8>)> {
        let handed_over = poll_fn(|cx| self.poll(cx, desk)).await;
        handed_over.then_some((self.stream, self.unread))
    }

    fn poll(&mut self, cx: &mut Context<'_>, desk: &Desk) -> Poll<bool> {
        let order = self.shared.latest_order(cx);
        if order == Some(Order::Close) {
            return Poll::Ready(false);
        }
        let draining = order.is_some();
        // Nobody waits for this lock: tasks of one thread use it, each within one poll.
        let mut tools = desk.0.lock().even_poisoned();
        let mut answered = false;
        loop {
            if ready!(self.poll_send(cx, &mut tools.output)).is_err() {
                return Poll::Ready(false);
            }
            if let Some((fetching, _)) = &mut self.fetching {
                // If it failed, the next try to answer says so.
                let _ = ready!(Pin::new(fetching).poll(cx));
                self.fetching = None;
            }
            let mut received = 0;
            match self.then {
                Then::End => return Poll::Ready(false),
                Then::HandOver => return Poll::Ready(true),
                Then::Answer if answered => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Then::Answer => (),
                Then::Read => {
                    let mut buffer = ReadBuf::new(&mut tools.input);
                    match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                        // What has arrived was answered. For half a head the long way waits.
                        Poll::Pending if order == Some(Order::Drain) => {
                            return Poll::Ready(!self.unread.is_empty());
                        }
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Err(_)) => return Poll::Ready(false),
                        Poll::Ready(Ok(())) => received = buffer.filled().len(),
                    }
                    if received == 0 {
                        return Poll::Ready(false);
                    }
                }
            }
            answered = self.answer(&mut tools, received, draining);
        }
    }

    /// Answers what is whole in the bytes that are unread and those just received. Whether
    /// there was any.
    fn answer(&mut self, tools: &mut Tools, received: usize, draining: bool) -> bool {
        let Tools { input, output, shortcut, fetches } = tools;
        let received = &input[..received];
        if !self.unread.is_empty() {
            self.unread.extend_from_slice(received);
        }
        let bytes = if self.unread.is_empty() { received } else { &self.unread };
        let (mut taken, mut answers) = (0, 0);
        let mut then = loop {
            if taken == bytes.len() {
                break Then::Read;
            }
            if answers == ANSWERS_AT_ONCE || output.len() >= SEND_AT_ONCE {
                break Then::Answer;
            }
            let since = self.fetched.as_deref().copied();
            match guarded(shortcut.as_mut(), &bytes[taken..], draining, since, output) {
                Taken::Answered(length) => {
                    taken += length;
                    answers += 1;
                    self.fetched = None;
                }
                Taken::Cold if since.is_some() => break Then::HandOver,
                Taken::Cold => match shortcut.fetch(&bytes[taken..], draining, output) {
                    Fetching::Begun(fetch) => {
                        self.fetched = Some(Box::new(Instant::now()));
                        self.fetching = Some((fetches.begin(fetch), Working::begin(self.shared)));
                        break Then::Answer;
                    }
                    Fetching::Refused(length) => {
                        taken += length;
                        answers += 1;
                    }
                    Fetching::NotPlain => break Then::HandOver,
                },
                Taken::Partial => break Then::Read,
                Taken::NotPlain => break Then::HandOver,
            }
        };
        if answers > 0 {
            self.shared.enter(Phase::Idle);
        }
        if taken < bytes.len() {
            self.unread = bytes[taken..].to_vec();
            self.shared.received();
        } else {
            self.unread = Vec::new();
            if draining {
                then = Then::End;
            }
        }
        self.then = then;
        self.unsent = std::mem::take(output);
        answers > 0
    }

    /// Sends what is to be sent, and gives the buffer back.
    fn poll_send(&mut self, cx: &mut Context<'_>, output: &mut Vec<u8>) -> Poll<io::Result<()>> {
        while self.sent < self.unsent.len() {
            let result = Pin::new(&mut self.stream).poll_write(cx, &self.unsent[self.sent..]);
            self.shared.sent(&result);
            match ready!(result)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.sent += count,
            }
        }
        if S::HOLDS_BACK {
            let flushed = Pin::new(&mut self.stream).poll_flush(cx);
            self.shared.flushed(&flushed);
            ready!(flushed)?;
        }
        let mut buffer = std::mem::take(&mut self.unsent);
        self.sent = 0;
        if (output.capacity()..=KEEP_AT_MOST).contains(&buffer.capacity()) {
            buffer.clear();
            *output = buffer;
        }
        Poll::Ready(Ok(()))
    }
}

/// A panic while answering is the long way's to report: it gets the same request.
fn guarded(
    shortcut: &mut dyn Shortcut,
    received: &[u8],
    draining: bool,
    since: Option<Instant>,
    answers: &mut Vec<u8>,
) -> Taken {
    let before = answers.len();
    let answer = AssertUnwindSafe(|| shortcut.answer(received, draining, since, answers));
    catch_unwind(answer).unwrap_or_else(|_| {
        answers.truncate(before);
        Taken::NotPlain
    })
}

#[cfg(test)]
pub(super) mod tests;
