//! The server is killed with SIGKILL 50 times, at random moments of pushes, activations and
//! rollbacks of two datasets. After each restart a reader from outside finds every
//! acknowledged version whole and the acknowledged current version current, and what was not
//! acknowledged wholly there or wholly not. A push that was cut off is then pushed again
//! with its idempotency key, and makes exactly one version.
//!
//! `TIDETABLE_TEST_SEED` repeats the choices of a run, whose seed a failure prints (not its timing).

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::data::{Random, assert_same, key, rows};
use crate::harness::{Server, eventually};
use crate::http::{Client, Reply};

const KILLS: usize = 50;
const RECORDS: usize = 300;

#[test]
fn a_killed_server_loses_nothing() {
    let seed = std::env::var("TIDETABLE_TEST_SEED").map_or(20_261_123, |s| s.parse().unwrap());
    println!("TIDETABLE_TEST_SEED={seed}");
    let mut random = Random::new(seed);
    let mut server = Server::start();
    let mut jobs = [Job::new(&server, "recs", seed + 1), Job::new(&server, "stats", seed + 2)];
    for round in 0..KILLS {
        // Pushes take nearly all of the time where there are any, so every other round has none.
        let pushes = round % 2 == 0;
        let moment = Duration::from_micros(random.below(if pushes { 400_000 } else { 60_000 }));
        thread::scope(|scope| {
            for job in &mut jobs {
                let client = server.client();
                scope.spawn(move || job.work_until_cut_off(client, pushes));
            }
            // Not to wait for anything: the moment of the fault.
            thread::sleep(moment);
            server.kill();
        });
        server.start_again();
        for job in &mut jobs {
            job.check(&server, round);
        }
    }
    for job in &jobs {
        println!("{}: {} acknowledged, cut off: {:?}", job.dataset, job.acknowledged, job.cut_off);
        assert!(job.acknowledged >= KILLS / 2, "the test did too little: {}", job.acknowledged);
        assert!(job.cut_off["push"] >= KILLS / 5, "{:?}", job.cut_off);
        assert!(
            job.cut_off["activate"] + job.cut_off["rollback"] >= KILLS / 5,
            "{:?}",
            job.cut_off
        );
    }
}

/// What one dataset's job has been told, and what it does not know.
struct Job {
    dataset: &'static str,
    random: Random,
    /// Of every version that was acknowledged: the number its rows carry.
    contents: BTreeMap<u64, u64>,
    served: BTreeSet<u64>,
    bad: BTreeSet<u64>,
    current: u64,
    last_content: u64,
    /// What was sent and not answered.
    pending: Option<Step>,
    acknowledged: usize,
    cut_off: BTreeMap<&'static str, usize>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Push { content: u64 },
    Activate { version: u64 },
    Rollback,
}

impl Job {
    fn new(server: &Server, dataset: &'static str, seed: u64) -> Self {
        // Enough that nothing which served goes away during the test.
        server.configure(dataset, &json!({ "retain": 1000 }));
        let version = server.pushed(dataset, &rows(dataset, 1, RECORDS));
        Self {
            dataset,
            random: Random::new(seed),
            contents: [(version, 1)].into(),
            served: [version].into(),
            bad: BTreeSet::new(),
            current: version,
            last_content: 1,
            pending: None,
            acknowledged: 0,
            cut_off: ["push", "activate", "rollback"].map(|s| (s, 0)).into(),
        }
    }

    fn work_until_cut_off(&mut self, mut client: Client, pushes: bool) {
        loop {
            let step = self.choose(pushes);
            self.pending = Some(step);
            let Ok(reply) = self.send(&mut client, step) else {
                let name = match step {
                    Step::Push { .. } => "push",
                    Step::Activate { .. } => "activate",
                    Step::Rollback => "rollback",
                };
                *self.cut_off.get_mut(name).expect("all are there") += 1;
                return;
            };
            self.pending = None;
            self.acknowledge(step, &reply);
        }
    }

    fn choose(&mut self, pushes: bool) -> Step {
        if pushes && self.random.below(4) > 0 {
            self.last_content += 1;
            return Step::Push { content: self.last_content };
        }
        let others: Vec<u64> =
            self.served.iter().rev().filter(|&&v| v != self.current).take(5).copied().collect();
        if others.is_empty() || self.random.below(3) == 0 {
            return Step::Rollback;
        }
        Step::Activate {
            version: others[usize::try_from(self.random.below(others.len() as u64)).unwrap()],
        }
    }

    fn send(&self, client: &mut Client, step: Step) -> std::io::Result<Reply> {
        let path = |end: &str| format!("/v1/datasets/{}/{end}", self.dataset);
        match step {
            Step::Push { content } => {
                let id = format!("{}-{content}", self.dataset);
                let body = rows(self.dataset, content, RECORDS);
                client.send(
                    "POST",
                    &path("push?key=k&format=ndjson"),
                    &[("idempotency-key", &id)],
                    body.as_bytes(),
                )
            }
            Step::Activate { version } => client.post(
                &path("activate"),
                &json!({ "version": version, "force": true, "reason": "a test" }),
            ),
            Step::Rollback => client
                .post(&path("rollback"), &json!({ "hold": false, "expect_current": self.current })),
        }
    }

    fn acknowledge(&mut self, step: Step, reply: &Reply) {
        let answer = reply.json();
        match step {
            Step::Push { content } => {
                assert!(matches!(reply.status, 200 | 201), "{reply}");
                assert_eq!(answer["current"], true, "{reply}");
                let version = answer["version"].as_u64().unwrap();
                assert!(
                    self.contents.insert(version, content).is_none_or(|c| c == content),
                    "{reply}"
                );
                self.becomes_current(version);
            }
            Step::Activate { version } => {
                assert_eq!(reply.status, 200, "{reply}");
                self.becomes_current(version);
            }
            Step::Rollback if answer["code"] == "nothing_to_roll_back_to" => return,
            Step::Rollback => {
                assert_eq!(reply.status, 200, "{reply}");
                assert_eq!(answer["from"], self.current, "{reply}");
                self.rolled_back_to(answer["to"].as_u64().unwrap());
            }
        }
        self.acknowledged += 1;
    }

    fn becomes_current(&mut self, version: u64) {
        self.current = version;
        self.served.insert(version);
        self.bad.remove(&version);
    }

    fn rolled_back_to(&mut self, to: u64) {
        assert!(
            self.served.contains(&to) && !self.bad.contains(&to),
            "{to} never served or is bad"
        );
        self.bad.insert(self.current);
        self.current = to;
    }

    /// What the reader finds after the restart.
    fn check(&mut self, server: &Server, round: usize) {
        let pending = self.pending.take();
        let context = format!("{} after kill {round}, with {pending:?} unanswered", self.dataset);
        let unknown = self.unknown_versions(server);
        assert!(unknown.len() <= 1, "{context}: {unknown:?}");
        let current = server.dataset(self.dataset)["current"].as_u64().unwrap();
        if current != self.current {
            match pending {
                Some(Step::Push { content }) => {
                    assert_eq!(unknown, [current], "{context}: current is {current}");
                    self.contents.insert(current, content);
                    self.becomes_current(current);
                }
                Some(Step::Activate { version }) => {
                    assert_eq!(current, version, "{context}");
                    self.becomes_current(version);
                }
                Some(Step::Rollback) => self.rolled_back_to(current),
                None => panic!("{context}: {current} is current instead of {}", self.current),
            }
        }
        self.assert_current_whole(server);
        for (&version, &content) in self.contents.iter().rev().take(8) {
            // Those that a rollback marked have a small cap of their own.
            if !self.bad.contains(&version) {
                self.assert_whole(server, version, content);
            }
        }
        if let Some(Step::Push { content }) = pending {
            if let [version] = unknown[..] {
                self.assert_whole(server, version, content);
            }
            self.push_again(server, content);
            assert!(unknown.is_empty() || unknown == [self.current], "{context}: a second version");
        }
    }

    /// The same push with the same idempotency key, until the server has an answer.
    fn push_again(&mut self, server: &Server, content: u64) {
        let mut reply = None;
        eventually("the push that was cut off is settled", || {
            let answer = self.send(&mut server.client(), Step::Push { content }).unwrap();
            let settled = answer.status != 409 || answer.json()["code"] != "in_progress";
            reply = Some(answer);
            settled
        });
        self.acknowledge(Step::Push { content }, &reply.expect("it was asked"));
        self.assert_current_whole(server);
    }

    /// Readable versions that nobody was told of. A build that the server took up again is
    /// waited for.
    fn unknown_versions(&self, server: &Server) -> Vec<u64> {
        let listed = server.dataset(&format!("{}/versions?limit=20", self.dataset));
        let numbers =
            listed["versions"].as_array().unwrap().iter().map(|v| v["version"].as_u64().unwrap());
        numbers
            .filter(|v| !self.contents.contains_key(v))
            .filter(|&v| {
                let state = server.settled(self.dataset, v);
                ["ready", "active", "retired"].contains(&state["state"].as_str().unwrap())
            })
            .collect()
    }

    /// Every key is there with its value.
    fn assert_whole(&self, server: &Server, version: u64, content: u64) {
        let keys: Vec<String> = (0..RECORDS).map(key).collect();
        let path = format!("/v1/datasets/{}/batch-get", self.dataset);
        let answer =
            server.post(&path, &json!({ "keys": keys, "version": version })).expect(200).json();
        assert_eq!(answer["version"], version);
        for (i, result) in answer["results"].as_array().unwrap().iter().enumerate() {
            assert_same(&result["value"], self.dataset, content, i);
        }
    }

    /// The same of the current version, and no other key is there.
    fn assert_current_whole(&self, server: &Server) {
        self.assert_whole(server, self.current, self.contents[&self.current]);
        let page = server.dataset(&format!("{}/scan?limit=1000", self.dataset));
        assert_eq!(page["version"], self.current);
        assert_eq!(page["records"].as_array().unwrap().len(), RECORDS);
    }
}
