//! Accepts connections, serves a router on them (and its plainest requests past it), and
//! stops without losing a request.
//!
//! One acceptor hands each connection to the worker thread with the fewest; a worker is a
//! single-threaded runtime, so a connection never moves between cores. What a client can
//! do to hold a connection is bounded here and nowhere else:
//!
//! - the head of a request has to come within a time, from the first byte of the
//!   connection and from the first byte of each later request;
//! - a connection without a request, a body that does not go on, and an answer that is not
//!   taken each have a time of their own, and the last two a least rate;
//! - connections are counted, in all and for each address;
//! - with TLS ([`secure`]) the handshake counts as part of the first head.
//!
//! hyper's own timers are not used: they cost two timer registrations a request, and its
//! header timeout would also end idle connections. Instead a connection counts its steps,
//! and each worker looks over its connections a few times within the shortest limit; one
//! that made no step for longer than its state allows is closed ([`connection`]).
//!
//! Stopping: [`Stop::drain`] ends accepting, answers what runs and what still comes on open
//! connections within a moment, closes those, lets running requests end within a time and cuts
//! off the rest; [`Stop::now`] cuts them off at once.

mod body;
mod connection;
mod fetches;
mod heads;
mod listener;
mod load;
mod plain;
mod refusal;
mod secure;
mod shared;
mod stop;
mod taking;
mod worker;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;

use crate::config::ServeConfig;
use crate::metrics::Metrics;
use crate::tls::Tls;

pub(crate) use body::BodyStalled;
use body::Pace;
pub(crate) use fetches::Fetch;
pub(crate) use listener::Listening;
pub(crate) use load::Late;
pub(crate) use plain::{Fetching, Shortcut, Taken};
pub(crate) use stop::Stop;

/// A client that sends now and then does so within this time, if it is going to before its
/// connection would be closed for idleness anyway: one that is about to send believes that its
/// connection is kept.
const LAST_REQUEST: Duration = Duration::from_secs(1);

/// What is served.
#[derive(Clone)]
pub(crate) struct Service {
    /// Answers every request.
    pub(crate) router: Router,
    /// Makes, for each worker, what answers the plainest requests before the router would.
    pub(crate) shortcut: Option<MakeShortcut>,
    /// Who the server is, to clients that speak TLS; without it they speak without.
    pub(crate) tls: Option<Arc<Tls>>,
}

/// Makes the shortcut of a worker.
pub(crate) type MakeShortcut = Arc<dyn Fn() -> Box<dyn Shortcut> + Send + Sync>;

/// What the server allows its clients.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Worker threads.
    pub(crate) threads: usize,
    /// Time for a whole request head.
    pub(crate) header: Duration,
    /// Time without a request.
    pub(crate) idle: Duration,
    /// Time in which a body, or the taking of an answer, must go on.
    pub(crate) body: Duration,
    /// Bytes of a body a second, at least.
    pub(crate) body_rate: u64,
    /// Bytes of answers a second, at least; 0 for any number.
    pub(crate) answer_rate: u64,
    /// Time that running requests have after [`Stop::drain`].
    pub(crate) drain: Duration,
    /// Time after [`Stop::drain`] in which an open connection may bring one more request.
    pub(crate) last_request: Duration,
    /// Bytes of a request's head.
    pub(crate) header_bytes: usize,
    /// Open connections.
    pub(crate) connections: usize,
    /// Open connections from one address.
    pub(crate) connections_per_address: usize,
    /// Requests that run at the same time on one HTTP/2 connection.
    pub(crate) http2_streams: usize,
    /// Requests of one HTTP/2 connection that were given up and still wait for their turn.
    pub(crate) http2_resets: usize,
    /// How often an HTTP/2 client is asked whether it is there, and how long it has to answer.
    pub(crate) http2_keep_alive: Duration,
    /// How late a worker may be before it refuses what takes long.
    pub(crate) overload: Duration,
    /// Reads that may wait for the disk at the same time.
    pub(crate) cold_reads: usize,
}

impl From<&ServeConfig> for Limits {
    fn from(config: &ServeConfig) -> Self {
        Self {
            threads: config.threads.0,
            header: config.header_timeout.0,
            idle: config.idle_timeout.0,
            body: config.body_timeout.0,
            body_rate: config.min_body_rate.0,
            answer_rate: config.min_answer_rate.0,
            drain: config.drain_timeout.0,
            last_request: LAST_REQUEST,
            header_bytes: config.max_header_bytes.as_usize(),
            connections: config.max_connections.0,
            connections_per_address: config.max_connections_per_address.0,
            http2_streams: config.http2_max_streams.0,
            http2_resets: config.http2_max_resets.0,
            http2_keep_alive: config.http2_keep_alive.0,
            overload: config.overload_after.0,
            cold_reads: config.max_cold_reads.0,
        }
    }
}

impl Limits {
    /// How bodies have to arrive.
    fn pace(&self) -> Pace {
        Pace { silence: self.body, rate: self.body_rate }
    }

    /// How answers have to be taken.
    fn pace_of_taking(&self) -> Pace {
        Pace { silence: self.body, rate: self.answer_rate }
    }

    /// How often a worker looks for connections that are over their time: often enough
    /// that none is more than about a quarter over the shortest.
    fn sweep_every(&self) -> Duration {
        let shortest = self.header.min(self.idle).min(self.body);
        (shortest / 4).clamp(Duration::from_millis(5), Duration::from_millis(2500))
    }
}

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Every request was answered.
    Drained,
    /// So many connections were cut off with a request running.
    CutOff(usize),
}

/// Serves `service` on `listening` until `stop` is asked, on `limits.threads` threads of its
/// own and the caller's, which blocks. When it returns, nothing listens and no request
/// runs; work that requests moved to blocking threads may still be ending.
pub(crate) fn serve(
    listening: Listening,
    service: &Service,
    limits: &Limits,
    metrics: &Arc<Metrics>,
    stop: &Stop,
) -> anyhow::Result<Ended> {
    let limits = Arc::new(limits.clone());
    let mut workers = Vec::with_capacity(limits.threads);
    for number in 0..limits.threads {
        let worker = worker::Worker::start(number, service, &limits, metrics, stop)
            .with_context(|| format!("cannot start thread {number} of {}", limits.threads))?;
        workers.push(worker);
    }
    let accepting = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime that accepts connections")?;
    accepting.block_on(listening.accept(&workers, &limits, metrics, stop))?;
    // First all are told to drain, then each is waited for.
    let draining: Vec<_> = workers.into_iter().map(worker::Worker::drain).collect();
    match draining.into_iter().map(worker::join).sum() {
        0 => Ok(Ended::Drained),
        cut_off => Ok(Ended::CutOff(cut_off)),
    }
}
