//! Gets at a set rate, whether the server keeps up or not, or as fast as it answers.
//!
//! Request number i is due at start + i / rate. It is sent then if a connection is free, else
//! as soon as one is; its latency counts from when it was due. So a server that stops for a
//! second answers not one request late, but all that were due in that second: what clients
//! who do not wait for each other would see.
//!
//! Without a rate each connection asks again as soon as it is answered, and latency counts from when
//! a request was sent.
//!
//! Standard input says what is being measured: `phase NAME` begins a phase and ends the one
//! before, `end` or the end of input ends the last. For each phase there is one line with its
//! totals, and for each quarter of a second one with its p99, for a chart.

use std::collections::VecDeque;
use std::io::{BufRead as _, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use serde_json::json;

use crate::histogram::Histogram;
use crate::random::Random;
use crate::response::{Answer, parse_http, parse_redis};

/// What to send, where.
pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    /// Up to the twelve digits: of the URL, beginning with a slash, or of a key in Redis.
    pub(crate) before_digits: String,
    /// Requests in a second; `None`: as many as are answered.
    pub(crate) rate: Option<f64>,
    pub(crate) connections: usize,
    pub(crate) keys: u64,
    /// The share of keys that are active; 1: every key has the same chance.
    pub(crate) active: f64,
    pub(crate) seed: u64,
}

/// Whoever sleeps for less than this is late: it asks again at once instead.
const SPIN: Duration = Duration::from_micros(100);
const SLICE: Duration = Duration::from_millis(250);
/// How long answers that are still to come are waited for at the end.
const PATIENCE: Duration = Duration::from_secs(10);
/// One request of so many is for any key, the others are for active ones.
const ONE_FOR_ANY: u64 = 200;
/// Active keys are no neighbours: ranks are spread over the keys by this factor, a prime.
const SPREAD: u64 = 2_654_435_761;

pub(crate) fn run(load: &Load) -> anyhow::Result<()> {
    // The kernel may let a sleeper oversleep by 50 µs, to save power: not here.
    let _ = std::fs::write("/proc/self/timerslack_ns", "1");
    let commands = read_commands();
    let first = commands.recv().context("no phase was named")?;
    let Command::Phase(name) = first else { bail!("the first line names no phase") };
    Generator::new(load, name)?.run(&commands)
}

impl Load {
    fn is_http(&self) -> bool {
        self.before_digits.starts_with('/')
    }

    fn request(&self, number: u64) -> String {
        let key = format!("{}{number:012}", self.before_digits);
        if self.is_http() {
            return format!("GET {key} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        }
        format!("*2\r\n$3\r\nGET\r\n${}\r\n{key}\r\n", key.len())
    }
}

enum Command {
    Phase(String),
    End,
}

fn read_commands() -> Receiver<Command> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let command = match line.strip_prefix("phase ") {
                Some(name) => Command::Phase(name.to_owned()),
                None => Command::End,
            };
            if sender.send(command).is_err() {
                return;
            }
        }
        let _ = sender.send(Command::End);
    });
    receiver
}

struct Generator<'a> {
    load: &'a Load,
    random: Random,
    connections: Vec<Connection>,
    /// Tells which of them has something to read, by its number.
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    idle: Vec<usize>,
    /// When the requests that wait for a connection were due.
    waiting: VecDeque<Instant>,
    start: Instant,
    /// Requests that have become due.
    due: u64,
    /// Nothing more is asked.
    ended: bool,
    phase: Phase,
    slice: Slice,
}

struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    /// When the request that is under way was due.
    due: Option<Instant>,
}

struct Phase {
    name: String,
    begun: Instant,
    latencies: Histogram,
    errors: u64,
    /// The first error, for a person to read.
    error: Option<String>,
}

struct Slice {
    begun: Instant,
    latencies: Histogram,
}

impl<'a> Generator<'a> {
    fn new(load: &'a Load, phase: String) -> anyhow::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let connect = |at| Connection::open(load.address, &epoll, at);
        let connections: Vec<_> = (0..load.connections).map(connect).collect::<Result<_, _>>()?;
        let start = Instant::now();
        Ok(Self {
            load,
            random: Random::of(load.seed, 99),
            idle: (0..connections.len()).collect(),
            events: Vec::with_capacity(connections.len().max(1)),
            connections,
            epoll,
            waiting: VecDeque::new(),
            start,
            due: 0,
            ended: false,
            phase: Phase::new(phase),
            slice: Slice { begun: start, latencies: Histogram::new() },
        })
    }

    fn run(mut self, commands: &Receiver<Command>) -> anyhow::Result<()> {
        println!("{}", json!({ "begun": self.phase.name }));
        loop {
            match commands.try_recv() {
                Ok(Command::Phase(name)) => {
                    println!("{}", json!({ "begun": name }));
                    std::mem::replace(&mut self.phase, Phase::new(name)).tell(0);
                }
                Ok(Command::End) | Err(TryRecvError::Disconnected) => break,
                Err(TryRecvError::Empty) => {}
            }
            let next = match self.load.rate {
                Some(rate) => self.note_due(rate),
                None => self.ask_on_all(),
            };
            self.send_waiting();
            self.receive(next)?;
            self.end_slice();
        }
        self.drain()
    }

    /// Asks on each connection that is free, as all are at first; says when to look at the others again.
    fn ask_on_all(&mut self) -> Instant {
        while let Some(at) = self.idle.pop() {
            self.ask(at, Instant::now());
        }
        Instant::now() + SLICE
    }

    /// Lets what is due by now wait for a connection; says when the next is.
    fn note_due(&mut self, rate: f64) -> Instant {
        let now = Instant::now();
        loop {
            let time = self.start + Duration::from_secs_f64(self.due as f64 / rate);
            if time > now {
                return time;
            }
            self.waiting.push_back(time);
            self.due += 1;
        }
    }

    fn send_waiting(&mut self) {
        // In this order: a connection that is taken and not used would be lost.
        while let Some(&due) = self.waiting.front()
            && let Some(at) = self.idle.pop()
        {
            self.waiting.pop_front();
            self.ask(at, due);
        }
    }

    fn ask(&mut self, at: usize, due: Instant) {
        let key = self.draw();
        let request = self.load.request(key);
        let connection = &mut self.connections[at];
        connection.due = Some(due);
        // A request is far shorter than a socket's buffer, which is empty here.
        if let Err(error) = connection.stream.write_all(request.as_bytes()) {
            self.fail(at, &format!("a request could not be sent: {error}"));
        }
    }

    fn draw(&mut self) -> u64 {
        let keys = self.load.keys;
        let active = ((keys as f64 * self.load.active) as u64).clamp(1, keys);
        let is_any = self.random.below(ONE_FOR_ANY) == 0;
        let rank = self.random.below(if is_any { keys } else { active });
        let spread = u128::from(rank) * u128::from(SPREAD) % u128::from(keys);
        u64::try_from(spread).expect("less than the number of keys")
    }

    /// Takes answers until the next request is due, or for once if none is expected.
    fn receive(&mut self, until: Instant) -> anyhow::Result<()> {
        let wait = until.saturating_duration_since(Instant::now()).min(SLICE);
        let wait = if wait < SPIN { Duration::ZERO } else { wait };
        let wait = Timespec { tv_sec: 0, tv_nsec: wait.subsec_nanos().into() };
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => bail!("cannot wait for answers: {error}"),
        }
        for event in 0..self.events.len() {
            let at = self.events[event].data.u64();
            self.take(usize::try_from(at).expect("the number of a connection"));
        }
        Ok(())
    }

    fn take(&mut self, at: usize) {
        let connection = &mut self.connections[at];
        let parse = if self.load.is_http() { parse_http } else { parse_redis };
        let answer = match connection.read(parse) {
            Ok(None) => return,
            Ok(Some(answer)) => answer,
            Err(error) => return self.fail(at, &format!("{error:#}")),
        };
        let Some(due) = connection.due.take() else {
            return self.fail(at, "an answer nobody asked for");
        };
        let nanos = u64::try_from(due.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.phase.latencies.record(nanos);
        self.slice.latencies.record(nanos);
        if answer != 200 {
            self.phase.fail(format!("status {answer}"));
        }
        if self.load.rate.is_none() && !self.ended {
            return self.ask(at, Instant::now());
        }
        self.idle.push(at);
    }

    /// Counts an error, and takes a new connection in place of this one.
    fn fail(&mut self, at: usize, what: &str) {
        self.phase.fail(what.to_owned());
        if let Ok(connection) = Connection::open(self.load.address, &self.epoll, at) {
            self.connections[at] = connection;
            if !self.idle.contains(&at) {
                self.idle.push(at);
            }
        }
    }

    fn end_slice(&mut self) {
        if self.slice.begun.elapsed() < SLICE {
            return;
        }
        let at = self.slice.begun.duration_since(self.start).as_secs_f64();
        let p99 = self.slice.latencies.micros_at(0.99);
        println!(
            "{}",
            json!({ "at": at, "p99_us": p99, "requests": self.slice.latencies.total() })
        );
        self.slice.latencies.clear();
        self.slice.begun += SLICE;
    }

    /// Sends what waits, and takes what is still to come; the rest are errors.
    fn drain(mut self) -> anyhow::Result<()> {
        self.ended = true;
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end && self.unanswered() > 0 {
            self.send_waiting();
            self.receive(Instant::now() + Duration::from_millis(10))?;
        }
        let unanswered = self.unanswered();
        self.phase.tell(unanswered);
        Ok(())
    }

    fn unanswered(&self) -> u64 {
        (self.waiting.len() + self.connections.iter().filter(|c| c.due.is_some()).count()) as u64
    }
}

/// What finds the end of an answer.
type Parse = fn(&[u8]) -> anyhow::Result<Option<Answer>>;

impl Connection {
    /// Opens it, to be waited for with `epoll` under the number `at`.
    fn open(address: SocketAddr, epoll: &OwnedFd, at: usize) -> anyhow::Result<Self> {
        let stream =
            TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        epoll::add(epoll, &stream, epoll::EventData::new_u64(at as u64), epoll::EventFlags::IN)?;
        Ok(Self { stream, received: Vec::with_capacity(4096), due: None })
    }

    /// The status of the answer, once it is there.
    fn read(&mut self, parse: Parse) -> anyhow::Result<Option<u16>> {
        let mut some = [0; 4 * 1024];
        match self.stream.read(&mut some) {
            Ok(0) => bail!("the server closed a connection"),
            Ok(bytes) => self.received.extend_from_slice(&some[..bytes]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => bail!("an answer could not be read: {error}"),
        }
        let Some(answer) = parse(&self.received)? else { return Ok(None) };
        self.received.drain(..answer.bytes);
        Ok(Some(answer.status))
    }
}

impl Phase {
    fn new(name: String) -> Self {
        let (latencies, begun) = (Histogram::new(), Instant::now());
        Self { name, begun, latencies, errors: 0, error: None }
    }

    fn fail(&mut self, what: String) {
        self.errors += 1;
        self.error.get_or_insert(what);
    }

    fn tell(self, unanswered: u64) {
        let seconds = self.begun.elapsed().as_secs_f64();
        let latencies = &self.latencies;
        let line = json!({
            "phase": self.name,
            "seconds": seconds,
            "requests": latencies.total(),
            "errors": self.errors + unanswered,
            "error": self.error,
            "p50_us": latencies.micros_at(0.5),
            "p90_us": latencies.micros_at(0.9),
            "p99_us": latencies.micros_at(0.99),
            "p999_us": latencies.micros_at(0.999),
            "max_us": latencies.micros_at_most(),
        });
        println!("{line}");
    }
}
