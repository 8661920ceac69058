//! What a connection's task and the sweep of its worker know of each other.
//!
//! The task notes where it is and counts its steps, without reading a clock; the sweep sees
//! that no step was made since it last looked, and for how long. All of it happens on one
//! thread; the atomics are there because tasks must be `Send`, and cost nothing.

use std::future::poll_fn;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;

use super::Limits;
use super::heads::Odd;

/// HTTP/2 frames that keep a connection alive without moving data are shorter.
const LEAST_PROGRESS: usize = 64;
/// How long a client that was refused may go on sending before its connection is reset:
/// a reset that comes too soon destroys the refusal on its way.
const LINGER: Duration = Duration::from_secs(2);

/// What the sweep wants of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Order {
    /// Answer what runs and what comes within a moment, and end after it: a client that is just
    /// sending on a connection it believes to be kept must not find it closed.
    Last = 1,
    /// End after what is running.
    Drain = 2,
    /// End now.
    Close = 3,
}

/// Whose turn it is with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing is being answered.
    Nobody,
    /// The server's: it makes what comes next, or sends it.
    Server,
    /// The client's: it has yet to take what there is.
    Client,
}

/// Where a connection is when no request runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
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
    /// Those among them of which the server is still making the next piece.
    making: AtomicU32,
    /// Bytes that were given to the kernel.
    bytes: AtomicU64,
    /// The client does not take what is being sent.
    blocked: AtomicBool,
    /// A request's body was not read to its end, or what follows it is not.
    unread: AtomicBool,
    /// Requests that have begun.
    requests: AtomicU64,
    /// Which request is the first that hyper takes and nobody should, and why.
    odd: OnceLock<(u64, Odd)>,
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

    /// Whose turn it is.
    pub(super) fn turn(&self) -> Turn {
        let answering = self.answering.load(Relaxed);
        // The windows of HTTP/2 hold an answer back, whatever the socket would take.
        let is_held_back = self.http2.load(Relaxed) && answering > self.making.load(Relaxed);
        if self.blocked.load(Relaxed) || is_held_back {
            Turn::Client
        } else if answering > 0 {
            Turn::Server
        } else {
            Turn::Nobody
        }
    }

    /// How many bytes the kernel has taken so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
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

    /// A request's body was dropped before its end, or what follows a request is not read.
    pub(super) fn left_unread(&self) {
        self.unread.store(true, Relaxed);
    }

    /// Whether any was.
    pub(super) fn has_left_unread(&self) -> bool {
        self.unread.load(Relaxed)
    }

    /// The request of this number, from 1 on, is the first that is odd.
    pub(super) fn is_odd(&self, number: u64, odd: Odd) {
        // There is but one: the connection ends with it.
        let _ = self.odd.set((number, odd));
    }

    /// Counts a request, and tells what is wrong with it.
    pub(super) fn begins(&self) -> Option<Odd> {
        let number = self.requests.fetch_add(1, Relaxed) + 1;
        self.odd.get().filter(|(odd, _)| *odd == number).map(|(_, why)| *why)
    }

    /// The client speaks HTTP/2, whose requests have no place of their own in the bytes.
    pub(super) fn speaks_http2(&self) {
        self.http2.store(true, Relaxed);
        self.enter(Phase::Idle);
    }

    fn step(&self) {
        self.steps.fetch_add(1, Relaxed);
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
        self.step();
    }

    pub(super) fn is_in(&self, phase: Phase) -> bool {
        self.phase.load(Relaxed) == phase as u8
    }

    /// Waits for an order that goes further than the one that was `heard` last.
    pub(super) async fn ordered(&self, heard: Option<Order>) -> Order {
        poll_fn(|cx| match self.latest_order(cx) {
            Some(order) if Some(order) > heard => Poll::Ready(order),
            _ => Poll::Pending,
        })
        .await
    }

    /// Whether the connection is to end: then answers say so.
    pub(super) fn is_ending(&self) -> bool {
        self.order.load(Relaxed) > 0
    }

    /// The order that holds now; the next one wakes the task.
    pub(super) fn latest_order(&self, cx: &Context<'_>) -> Option<Order> {
        self.task.register(cx.waker());
        match self.order.load(Relaxed) {
            0 => None,
            order if order == Order::Last as u8 => Some(Order::Last),
            order if order == Order::Drain as u8 => Some(Order::Drain),
            _ => Some(Order::Close),
        }
    }

    /// Bytes came: between requests, they begin the next one's head.
    pub(super) fn received(&self) {
        if self.is_in(Phase::Idle) && !self.http2.load(Relaxed) && !self.is_busy() {
            self.enter(Phase::Head);
        }
    }

    /// The result of giving bytes to the kernel.
    pub(super) fn sent(&self, result: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = result {
            self.bytes.fetch_add(*bytes as u64, Relaxed);
        }
        let went_on = match result {
            Poll::Pending => !self.blocked.swap(true, Relaxed),
            Poll::Ready(Ok(bytes)) => self.blocked.swap(false, Relaxed) || *bytes >= LEAST_PROGRESS,
            Poll::Ready(Err(_)) => false,
        };
        if went_on {
            self.step();
        }
    }

    /// The result of handing on what an encrypted stream has taken already.
    pub(super) fn flushed<T>(&self, result: &Poll<io::Result<T>>) {
        match result {
            Poll::Pending => self.sent(&Poll::Pending),
            Poll::Ready(Ok(_)) if self.blocked.load(Relaxed) => self.sent(&Poll::Ready(Ok(0))),
            Poll::Ready(_) => (),
        }
    }
}

/// One request whose handler works, until it is dropped.
pub(super) struct Working(Arc<Shared>);

impl Working {
    pub(super) fn begin(shared: &Arc<Shared>) -> Self {
        shared.working.fetch_add(1, Relaxed);
        shared.enter(Phase::Idle);
        Self(Arc::clone(shared))
    }

    pub(super) fn answer(self) -> Answering {
        self.0.answering.fetch_add(1, Relaxed);
        Answering { of: Arc::clone(&self.0), making: false }
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.working.fetch_sub(1, Relaxed);
        self.0.step();
    }
}

/// One answer that is being sent, until it is dropped.
pub(super) struct Answering {
    of: Arc<Shared>,
    making: bool,
}

impl Answering {
    pub(super) fn went_on(&self) {
        self.of.step();
    }

    /// Notes whether the server is still making its next piece.
    pub(super) fn is_making(&mut self, making: bool) {
        if making == self.making {
            return;
        }
        self.making = making;
        if making {
            self.of.making.fetch_add(1, Relaxed);
        } else {
            self.of.making.fetch_sub(1, Relaxed);
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.is_making(false);
        self.of.answering.fetch_sub(1, Relaxed);
        self.of.step();
    }
}

/// Marks the connection as gone when its task ends, however it ends.
pub(super) struct Gone(pub(super) Arc<Shared>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.gone.store(true, Relaxed);
    }
}
