//! The listening socket: binding it, and accepting within the limits.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use socket2::{Domain, Protocol, Socket, Type};
use tidetable_storage::EvenPoisoned as _;

use super::Limits;
use super::stop::{Stage, Stop};
use super::worker::{Arrival, Worker};
use crate::metrics::Metrics;

/// Connections that wait in the kernel to be accepted.
const BACKLOG: i32 = 4096;
/// Pause after the system gave no connection: long enough not to spin, short enough to be
/// there when files are free again.
const PAUSE: Duration = Duration::from_millis(50);
/// At most one line in the log in this time, however often accepting fails.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// A bound socket: connections queue up from now on, and are served from `serve` on.
#[derive(Debug)]
pub(crate) struct Listening {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listening {
    /// Binds `address`; port 0 takes a free one. The error says what to do.
    pub(crate) fn bind(address: SocketAddr) -> anyhow::Result<Self> {
        let bound = || -> io::Result<Self> {
            let domain = Domain::for_address(address);
            let socket = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
            // A restart must not wait for connections of the process before.
            socket.set_reuse_address(true)?;
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
            let listener = TcpListener::from(socket);
            Ok(Self { address: listener.local_addr()?, listener })
        };
        bound().map_err(|error| {
            let hint = match error.kind() {
                io::ErrorKind::AddrInUse => {
                    "another process listens there, perhaps another tidetable; choose another port with --listen"
                }
                io::ErrorKind::PermissionDenied => {
                    "this user may not; ports below 1024 need a privilege, choose a higher one with --listen"
                }
                io::ErrorKind::AddrNotAvailable => {
                    "this machine has no such address; choose one of its own with --listen"
                }
                _ => "choose another address with --listen",
            };
            anyhow::anyhow!("cannot listen on {address}: {error}; {hint}")
        })
    }

    /// The address with the port that was taken.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Hands connections to the workers until `stop` is asked; then once more whatever
    /// waits in the kernel already, and closes the socket.
    pub(super) async fn accept(
        self,
        workers: &[Worker],
        limits: &Limits,
        metrics: &Arc<Metrics>,
        stop: &Stop,
    ) -> io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let mut door = Door::new(workers, limits, metrics);
        let stopped = stop.reached(Stage::Draining);
        tokio::pin!(stopped);
        loop {
            tokio::select! {
                biased;
                () = &mut stopped => break,
                accepted = listener.accept() => {
                    if !door.opened(accepted) {
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        }
        while let Some(Ok(accepted)) = listener.accept().now_or_never() {
            door.opened(Ok(accepted));
        }
        Ok(())
    }
}

/// Who comes in, and to which worker.
struct Door<'a> {
    workers: &'a [Worker],
    metrics: &'a Arc<Metrics>,
    most: usize,
    most_per_address: usize,
    guests: Arc<Guests>,
    next: usize,
    failures: u64,
    logged: Option<Instant>,
}

impl<'a> Door<'a> {
    fn new(workers: &'a [Worker], limits: &Limits, metrics: &'a Arc<Metrics>) -> Self {
        Self {
            workers,
            metrics,
            most: limits.connections,
            most_per_address: limits.connections_per_address,
            guests: Arc::default(),
            next: 0,
            failures: 0,
            logged: None,
        }
    }

    /// Takes one result of accepting. False: the system is short of something, wait.
    fn opened(&mut self, accepted: io::Result<(tokio::net::TcpStream, SocketAddr)>) -> bool {
        match accepted {
            Ok((stream, peer)) => {
                self.admit(stream, peer);
                true
            }
            // The client gave up while it waited: its own affair.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted
                        | io::ErrorKind::ConnectionReset
                        | io::ErrorKind::Interrupted
                ) =>
            {
                true
            }
            Err(error) => {
                self.failed(&error);
                false
            }
        }
    }

    fn failed(&mut self, error: &io::Error) {
        self.metrics.connections.accept_errors.fetch_add(1, Relaxed);
        self.failures += 1;
        if self.logged.is_none_or(|at| at.elapsed() > LOG_EVERY) {
            let times = std::mem::take(&mut self.failures);
            self.logged = Some(Instant::now());
            tracing::error!(
                %error, times,
                "cannot accept connections; open ones are served. If files ran out, raise the limit (ulimit -n) or lower max_connections",
            );
        }
    }

    fn admit(&mut self, stream: tokio::net::TcpStream, peer: SocketAddr) {
        let worker = self.least_busy();
        let ticket = Ticket::new(peer.ip(), &self.guests, worker.open(), self.metrics);
        if self.guests.all() > self.most || ticket.from_there > self.most_per_address {
            self.metrics.connections.refused.fetch_add(1, Relaxed);
            tracing::debug!(%peer, "a connection too many was closed");
            return;
        }
        // The worker watches it with a reactor of its own.
        let handed = stream.set_nodelay(true).and_then(|()| stream.into_std());
        let stream = match handed {
            Ok(stream) => stream,
            Err(error) => {
                tracing::debug!(%peer, %error, "a connection broke at once");
                return;
            }
        };
        self.metrics.connections.accepted.fetch_add(1, Relaxed);
        worker.take(Arrival { stream, peer, ticket });
    }

    /// The worker with the fewest connections; among equals, each in turn.
    fn least_busy(&mut self) -> &'a Worker {
        self.next = (self.next + 1) % self.workers.len();
        let (before, from) = self.workers.split_at(self.next);
        let in_turn = from.iter().chain(before);
        in_turn.min_by_key(|worker| worker.open().load(Relaxed)).expect("there is a worker")
    }
}

/// Open connections, by address.
#[derive(Debug, Default)]
struct Guests(Mutex<HashMap<IpAddr, usize>>, AtomicUsize);

impl Guests {
    fn all(&self) -> usize {
        self.1.load(Relaxed)
    }

    fn come(&self, address: IpAddr) -> usize {
        self.1.fetch_add(1, Relaxed);
        let mut by_address = self.0.lock().even_poisoned();
        let count = by_address.entry(address).or_default();
        *count += 1;
        *count
    }

    fn leave(&self, address: IpAddr) {
        self.1.fetch_sub(1, Relaxed);
        let mut by_address = self.0.lock().even_poisoned();
        if let Some(count) = by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&address);
            }
        }
    }
}

/// What is counted as one address: of IPv6 the first 64 bits, since the others are its owner's to choose.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

/// A connection's place in the counts; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    address: IpAddr,
    from_there: usize,
    guests: Arc<Guests>,
    worker: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
}

impl Ticket {
    fn new(
        address: IpAddr,
        guests: &Arc<Guests>,
        worker: &Arc<AtomicUsize>,
        metrics: &Arc<Metrics>,
    ) -> Self {
        worker.fetch_add(1, Relaxed);
        metrics.connections.open.fetch_add(1, Relaxed);
        let address = network(address);
        Self {
            address,
            from_there: guests.come(address),
            guests: Arc::clone(guests),
            worker: Arc::clone(worker),
            metrics: Arc::clone(metrics),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.worker.fetch_sub(1, Relaxed);
        self.metrics.connections.open.fetch_sub(1, Relaxed);
        self.guests.leave(self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_ipv6_is_its_network() {
        for (address, counted) in [
            ("10.1.2.3", "10.1.2.3"),
            ("::ffff:10.1.2.3", "10.1.2.3"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2:ffff::", "2001:db8:1:2::"),
        ] {
            let [address, counted] = [address, counted].map(|text| text.parse::<IpAddr>().unwrap());
            assert_eq!(network(address), counted);
        }
    }
}
