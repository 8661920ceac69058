//! 20 swaps and 10 rollbacks while single, batch and scan reads go on without a pause: no
//! read fails, no answer mixes versions, no value is wrong, and the version that an
//! activation was acknowledged for is what the next read sees.
//!
//! Every reader must have read between one swap and the next, so a server that answers
//! nothing does not pass.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use serde_json::json;

use crate::data::{Random, assert_batch, assert_same, key, rows, value};
use crate::harness::Server;
use crate::http::Client;

const RECORDS: usize = 2_000;
const DATASET: &str = "recs";
/// What each reader must have finished between two swaps.
const SINGLE_READS: usize = 200;
const BATCHES: usize = 10;
const SCANS: usize = 2;

#[test]
fn a_swap_under_load_mixes_nothing() {
    let server = Server::start();
    assert_eq!(server.pushed(DATASET, &rows(DATASET, 1, RECORDS)), 1);
    let address = server.address();
    let stop = AtomicBool::new(false);
    let (done, finished) = channel();
    std::thread::scope(|scope| {
        // Set also when the swapper panics, or the scope would wait for the readers for ever.
        let stopper = SetOnDrop(&stop);
        let (stop, done) = (&stop, &done);
        for seed in 0..2 {
            scope.spawn(move || read_singly(address, seed, stop, done));
        }
        scope.spawn(move || read_in_batches(address, stop, done));
        scope.spawn(move || read_in_scans(address, stop, done));
        let mut swapper = Swapper { server: &server, finished, swaps: 0, rollbacks: 0, pushed: 1 };
        swapper.run();
        assert_eq!((swapper.swaps, swapper.rollbacks), (20, 10));
        drop(stopper);
    });
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What a reader says each time it has read enough for one swap.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Read {
    Single(u64),
    Batch,
    Scan,
    /// It found something wrong, and has said what.
    Failed,
}

/// Tells the swapper when its reader panics: nobody waits for a reader that is gone.
struct Alarm<'a>(&'a Sender<Read>);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tell(self.0, Read::Failed);
        }
    }
}

struct Swapper<'a> {
    server: &'a Server,
    finished: Receiver<Read>,
    swaps: usize,
    rollbacks: usize,
    pushed: u64,
}

impl Swapper<'_> {
    /// Ten times: two pushes, and a rollback of the second, which every other time holds the
    /// dataset until it is released.
    fn run(&mut self) {
        for round in 0..10 {
            self.swap();
            let good = self.pushed;
            self.swap();
            let hold = round % 2 == 0;
            let body = json!({ "hold": hold, "expect_current": self.pushed, "reason": "a test" });
            let answer = self.server.operate(DATASET, "rollback", &body).expect(200).json();
            assert_eq!(answer["to"], good, "{answer}");
            assert_eq!(answer["held"], hold, "{answer}");
            self.rollbacks += 1;
            self.see(good);
            if hold {
                let answer = self.server.operate(DATASET, "release", &json!({})).expect(200).json();
                assert!(answer["activated"].is_null(), "{answer}");
                self.see(good);
            }
        }
    }

    fn swap(&mut self) {
        self.pushed += 1;
        let rows = rows(DATASET, self.pushed, RECORDS);
        assert_eq!(self.server.pushed(DATASET, &rows), self.pushed);
        self.swaps += 1;
        self.see(self.pushed);
    }

    /// The acknowledged version is served from now on, and every reader goes on.
    fn see(&self, version: u64) {
        let reply = self.server.get(DATASET, &key(7)).expect(200);
        assert_eq!(reply.version(), version);
        assert_eq!(reply.text(), value(DATASET, version, 7));
        // What was read before the swap does not count.
        while let Ok(read) = self.finished.try_recv() {
            assert_ne!(read, Read::Failed, "see what the reader said");
        }
        let mut reads = BTreeMap::new();
        // The first of each may have begun before.
        while reads.len() < 4 || reads.values().any(|&n| n < 2) {
            let read = self.finished.recv_timeout(Duration::from_secs(120));
            let read = read.expect("the readers go on reading");
            assert_ne!(read, Read::Failed, "see what the reader said");
            *reads.entry(read).or_insert(0) += 1;
        }
    }
}

fn read_singly(address: SocketAddr, seed: u64, stop: &AtomicBool, done: &Sender<Read>) {
    let _alarm = Alarm(done);
    let mut client = Client::new(address);
    let mut random = Random::new(seed);
    let mut reads = 0;
    while !stop.load(Ordering::Relaxed) {
        let i = index(&mut random);
        let reply = client.get(&format!("/v1/datasets/{DATASET}/keys/{}", key(i)));
        let reply = reply.expect("no read fails").expect(200);
        assert_eq!(reply.text(), value(DATASET, reply.version(), i));
        reads += 1;
        if reads % SINGLE_READS == 0 {
            tell(done, Read::Single(seed));
        }
    }
}

fn read_in_batches(address: SocketAddr, stop: &AtomicBool, done: &Sender<Read>) {
    let _alarm = Alarm(done);
    let mut client = Client::new(address);
    let mut random = Random::new(10);
    let mut reads = 0;
    while !stop.load(Ordering::Relaxed) {
        let wanted: Vec<usize> = (0..100).map(|_| index(&mut random)).collect();
        let keys: Vec<String> = wanted.iter().map(|&i| key(i)).collect();
        let reply =
            client.post(&format!("/v1/datasets/{DATASET}/batch-get"), &json!({ "keys": keys }));
        let answer = reply.expect("no batch fails").expect(200).json();
        assert_batch(&answer, DATASET, answer["version"].as_u64().unwrap(), &wanted);
        reads += 1;
        if reads % BATCHES == 0 {
            tell(done, Read::Batch);
        }
    }
}

fn read_in_scans(address: SocketAddr, stop: &AtomicBool, done: &Sender<Read>) {
    let _alarm = Alarm(done);
    let mut client = Client::new(address);
    let mut reads = 0;
    while !stop.load(Ordering::Relaxed) {
        scan_once(&mut client);
        reads += 1;
        if reads % SCANS == 0 {
            tell(done, Read::Scan);
        }
    }
}

/// A whole scan in pages: all of it is one version, whatever is swapped meanwhile.
fn scan_once(client: &mut Client) {
    let mut version = None;
    let mut cursor = String::new();
    let mut seen = 0;
    loop {
        let path = format!("/v1/datasets/{DATASET}/scan?prefix=learner:&limit=300{cursor}");
        let page = client.get(&path).expect("no scan fails").expect(200).json();
        let of = page["version"].as_u64().unwrap();
        assert_eq!(*version.get_or_insert(of), of, "a scan stays on its version");
        for record in page["records"].as_array().unwrap() {
            assert_eq!(record["key"], key(seen));
            assert_same(&record["value"], DATASET, of, seen);
            seen += 1;
        }
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, RECORDS, "a scan passes every key");
}

fn index(random: &mut Random) -> usize {
    usize::try_from(random.below(RECORDS as u64)).unwrap()
}

fn tell(done: &Sender<Read>, read: Read) {
    // The swapper may have ended meanwhile.
    let _ = done.send(read);
}
