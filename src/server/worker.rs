//! A thread that serves connections, and looks over them.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::connection::{self, Common};
use super::fetches::Fetches;
use super::listener::Ticket;
use super::load::{Load, PULSE};
use super::plain::Desk;
use super::shared::{Order, Shared};
use super::stop::{Stage, Stop};
use super::taking::Taking;
use super::{Limits, Service};
use crate::metrics::Metrics;
use crate::tls::Tls;

/// Connections looked at before other tasks get their turn: a sweep must not be felt.
const SWEEP_AT_ONCE: usize = 256;
/// How long blocking work that requests left behind may hold up the end of a thread.
const BLOCKING_GRACE: Duration = Duration::from_secs(1);

/// Threads that may wait for a disk beside those of reads, which so never hold up an operation.
const OTHER_BLOCKING: usize = 512;

/// A connection on its way to a worker.
pub(super) struct Arrival {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) ticket: Ticket,
}

/// The acceptor's end of a worker thread.
pub(super) struct Worker {
    arrivals: mpsc::UnboundedSender<Arrival>,
    open: Arc<AtomicUsize>,
    thread: JoinHandle<usize>,
}

impl Worker {
    /// Starts the thread.
    pub(super) fn start(
        number: usize,
        service: &Service,
        limits: &Arc<Limits>,
        metrics: &Arc<Metrics>,
        stop: &Stop,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .thread_name(format!("blocking-{number}"))
            .max_blocking_threads(limits.cold_reads.saturating_add(OTHER_BLOCKING))
            .build()?;
        let (arrivals, receiver) = mpsc::unbounded_channel();
        let desk = match &service.shortcut {
            Some(make) => Some(Desk::new(make(), Fetches::start(number)?)),
            None => None,
        };
        let serving = Serving {
            arrivals: receiver,
            common: Arc::new(Common {
                router: service.router.clone(),
                limits: Arc::clone(limits),
                metrics: Arc::clone(metrics),
                desk,
                load: Load::new(limits.overload),
            }),
            tls: service.tls.clone(),
            limits: Arc::clone(limits),
            metrics: Arc::clone(metrics),
            stop: stop.clone(),
            tasks: TaskTracker::new(),
            connections: Vec::new(),
        };
        let thread =
            std::thread::Builder::new().name(format!("serve-{number}")).spawn(move || {
                let cut_off = runtime.block_on(serving.run());
                runtime.shutdown_timeout(BLOCKING_GRACE);
                cut_off
            })?;
        Ok(Self { arrivals, open: Arc::default(), thread })
    }

    /// Open connections of this worker, kept by their tickets.
    pub(super) fn open(&self) -> &Arc<AtomicUsize> {
        &self.open
    }

    /// Hands a connection over. A worker that is gone drops it, which closes it.
    pub(super) fn take(&self, arrival: Arrival) {
        let _ = self.arrivals.send(arrival);
    }

    /// Says that no more connections come: the thread drains and ends.
    pub(super) fn drain(self) -> JoinHandle<usize> {
        self.thread
    }
}

/// Waits for a worker's end; how many connections it cut off within a request.
pub(super) fn join(thread: JoinHandle<usize>) -> usize {
    match thread.join() {
        Ok(cut_off) => cut_off,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

struct Serving {
    arrivals: mpsc::UnboundedReceiver<Arrival>,
    common: Arc<Common>,
    tls: Option<Arc<Tls>>,
    limits: Arc<Limits>,
    metrics: Arc<Metrics>,
    stop: Stop,
    tasks: TaskTracker,
    connections: Vec<Watched>,
}

/// A connection as the sweep last saw it.
struct Watched {
    shared: Arc<Shared>,
    steps: u64,
    since: Instant,
    taking: Taking,
}

impl Serving {
    async fn run(mut self) -> usize {
        let feeling = tokio::spawn(feel(Arc::clone(&self.common)));
        let mut sweeps = tokio::time::interval(self.limits.sweep_every());
        sweeps.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                arrival = self.arrivals.recv() => match arrival {
                    Some(arrival) => self.begin(arrival),
                    None => break,
                },
                _ = sweeps.tick() => self.sweep().await,
            }
        }
        let cut_off = self.end(sweeps).await;
        feeling.abort();
        cut_off
    }

    fn begin(&mut self, arrival: Arrival) {
        let Arrival { stream, peer, ticket } = arrival;
        let stream = match tokio::net::TcpStream::from_std(stream) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%peer, %error, "cannot serve a connection");
                return;
            }
        };
        let shared = Arc::<Shared>::default();
        let (steps, since) = (shared.steps(), Instant::now());
        let taking = Taking::begin(since, self.limits.pace_of_taking());
        self.connections.push(Watched { shared: Arc::clone(&shared), steps, since, taking });
        let common = Arc::clone(&self.common);
        match &self.tls {
            None => {
                let serve = connection::serve_connection(stream, peer, common, shared);
                self.tasks.spawn(async move {
                    serve.await;
                    drop(ticket);
                });
            }
            Some(tls) => {
                let tls = Arc::clone(tls);
                let serve = connection::serve_secure_connection(tls, stream, peer, common, shared);
                self.tasks.spawn(async move {
                    serve.await;
                    drop(ticket);
                });
            }
        }
    }

    /// Closes connections that made no step for longer than they may, or whose client takes its
    /// answers too slowly, and forgets those that are gone.
    async fn sweep(&mut self) {
        let now = Instant::now();
        let mut at = 0;
        while at < self.connections.len() {
            let watched = &mut self.connections[at];
            if watched.shared.is_gone() {
                self.connections.swap_remove(at);
                continue;
            }
            if watched.is_overdue(now, &self.limits) {
                self.metrics.connections.timed_out.fetch_add(1, Relaxed);
                watched.shared.order(Order::Close);
            }
            at += 1;
            if at % SWEEP_AT_ONCE == 0 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Lets what runs end, within its time.
    async fn end(mut self, mut sweeps: tokio::time::Interval) -> usize {
        self.tasks.close();
        self.order(Order::Last);
        let tasks = self.tasks.clone();
        let stop = self.stop.clone();
        let limit = tokio::time::sleep(self.limits.drain);
        let patience = tokio::time::sleep(self.limits.last_request.min(self.limits.drain / 2));
        tokio::pin!(limit, patience);
        let mut patient = true;
        loop {
            tokio::select! {
                () = tasks.wait() => return 0,
                () = &mut patience, if patient => {
                    patient = false;
                    self.order(Order::Drain);
                }
                () = &mut limit => break,
                () = stop.reached(Stage::Now) => break,
                _ = sweeps.tick() => self.sweep().await,
            }
        }
        let busy = |watched: &&Watched| watched.shared.is_busy() && !watched.shared.is_gone();
        let cut_off = self.connections.iter().filter(busy).count();
        self.order(Order::Close);
        tasks.wait().await;
        cut_off
    }

    fn order(&self, order: Order) {
        self.connections.iter().for_each(|watched| watched.shared.order(order));
    }
}

/// The pulse of this worker, for ever.
async fn feel(common: Arc<Common>) {
    let mut pulse = tokio::time::interval(PULSE);
    pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        pulse.tick().await;
        common.load.felt();
    }
}

impl Watched {
    fn is_overdue(&mut self, now: Instant, limits: &Limits) -> bool {
        let (turn, bytes) = (self.shared.turn(), self.shared.bytes());
        // Steps may be small.
        if self.taking.is_too_slow(now, turn, bytes, limits.pace_of_taking()) {
            return true;
        }
        let steps = self.shared.steps();
        if steps != self.steps {
            (self.steps, self.since) = (steps, now);
            return false;
        }
        self.shared.allowed(limits).is_some_and(|allowed| now.duration_since(self.since) > allowed)
    }
}
