//! Random steps, the store closed and opened, or killed and found as it was left, between any two
//! of them, against a model that is a map of maps. `TIDETABLE_MODEL_CASES` runs more than the few
//! of every day.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tidetable_storage::{
    Activation, CanaryStart, Cause, Code, DatasetConfig, Expect, ExpectCanary, Gates, Key, Layout,
    Promotion, Recovered, Recovery, Rollback, SelfActivation, Served, ServedCanary, State, Version,
};

use crate::support::{
    Directory, Records, assert_reads, because, begin, build, code, current, dataset, push_versions,
    receive, seal,
};

/// Versions of fewer records are refused by a gate.
const FEWEST: usize = 4;

#[derive(Clone, Debug)]
enum Step {
    Push {
        records: Vec<(Vec<u8>, Vec<u8>)>,
        activate: bool,
        file_bytes: u64,
    },
    Open,
    SealOldest,
    PublishOldest(Vec<(Vec<u8>, Vec<u8>)>),
    Activate(usize),
    /// Together with another dataset, which has two versions.
    ActivateTogether(usize),
    RollBack {
        to: Option<usize>,
        hold: bool,
    },
    Hold,
    Release,
    Canary(usize, u32),
    EndCanary,
    Promote,
    Delete(usize),
    DeleteDataset,
    Retain(u32),
    Sweep,
}

/// What comes between two steps.
#[derive(Clone, Copy, Debug)]
enum Restart {
    No,
    Clean,
    /// The directory as a kill leaves it; each bit, something that lies about in it.
    Killed(u8),
}

fn restarts() -> impl Strategy<Value = Restart> {
    prop_oneof![
        4 => Just(Restart::No),
        3 => Just(Restart::Clean),
        3 => any::<u8>().prop_map(Restart::Killed),
    ]
}

fn records() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
    // Keys of a small alphabet, so that versions share some and one is the prefix of another.
    let key = prop::collection::vec(prop_oneof![Just(0u8), Just(b'a'), Just(0xff)], 1..6);
    let value = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..20),
        1 => (any::<u8>(), 1000..9000usize).prop_map(|(byte, len)| vec![byte; len]),
    ];
    let map = prop::collection::btree_map(key, value, 1..60);
    map.prop_map(|map| map.into_iter().collect::<Vec<_>>()).prop_shuffle()
}

fn steps() -> impl Strategy<Value = Vec<(Step, Restart)>> {
    let pick = 0..5usize;
    let step = prop_oneof![
        6 => (records(), any::<bool>(), prop_oneof![1 => Just(1u64), 6 => Just(4096), 3 => Just(1 << 20)])
            .prop_map(|(records, activate, file_bytes)| Step::Push { records, activate, file_bytes }),
        1 => Just(Step::Open),
        1 => Just(Step::SealOldest),
        2 => records().prop_map(Step::PublishOldest),
        3 => pick.clone().prop_map(Step::Activate),
        2 => pick.clone().prop_map(Step::ActivateTogether),
        3 => (prop::option::of(pick.clone()), any::<bool>())
            .prop_map(|(to, hold)| Step::RollBack { to, hold }),
        1 => Just(Step::Hold),
        2 => Just(Step::Release),
        3 => (pick.clone(), 1..101u32).prop_map(|(pick, percent)| Step::Canary(pick, percent)),
        1 => Just(Step::EndCanary),
        1 => Just(Step::Promote),
        1 => pick.prop_map(Step::Delete),
        1 => Just(Step::DeleteDataset),
        1 => (1..4u32).prop_map(Step::Retain),
        2 => Just(Step::Sweep),
    ];
    prop::collection::vec((step, restarts()), 1..20)
}

/// What a person who knows the rules expects of one dataset.
#[derive(Default)]
struct Model {
    there: bool,
    next: u64,
    current: Option<u64>,
    held: bool,
    canary: Option<(u64, u32)>,
    retain: usize,
    /// The order of activations.
    served: Vec<u64>,
    versions: BTreeMap<u64, Modelled>,
}

struct Modelled {
    state: State,
    activate: bool,
    was_canary: bool,
    records: Records,
}

impl Model {
    fn is(&self, version: u64, state: State) -> bool {
        self.versions.get(&version).is_some_and(|v| v.state == state)
    }

    /// Walks back from the current version to the last one served that is still good.
    fn rollback_target(&self) -> Option<u64> {
        let at = self.served.iter().rposition(|v| Some(*v) == self.current)?;
        self.served[..at].iter().rev().copied().find(|v| self.is(*v, State::Retired))
    }

    fn release_target(&self) -> Option<u64> {
        let waiting = |(v, m): &(&u64, &Modelled)| {
            m.state == State::Ready && m.activate && !m.was_canary && Some(**v) > self.current
        };
        self.versions.iter().rev().find(waiting).map(|(v, _)| *v)
    }

    fn swap(&mut self, to: u64, left: State) {
        if let Some(from) = self.current.replace(to) {
            self.versions.get_mut(&from).unwrap().state = left;
        }
        self.versions.get_mut(&to).unwrap().state = State::Active;
        self.served.push(to);
        self.canary.take_if(|(canary, _)| *canary == to || left == State::Bad);
    }

    /// With no grace time: all but the newest of those that have served, of those that are
    /// ready, and so on.
    fn sweep(&mut self) {
        let rank = |v: u64| (self.served.iter().rposition(|s| *s == v), v);
        let canary = self.canary.map(|(version, _)| version);
        let keep = [self.current, canary, self.rollback_target(), self.release_target()];
        let mut due = Vec::new();
        for (states, kept) in [
            (&[State::Active, State::Retired][..], self.retain),
            (&[State::Ready], 3),
            (&[State::Rejected], 2),
            (&[State::Bad], 2),
        ] {
            let mut found: Vec<u64> = self
                .versions
                .iter()
                .filter(|(_, m)| states.contains(&m.state))
                .map(|(v, _)| *v)
                .collect();
            found.sort_by_key(|v| rank(*v));
            found.reverse();
            due.extend(found.into_iter().skip(kept).filter(|v| !keep.contains(&Some(*v))));
        }
        for version in due {
            self.versions.get_mut(&version).unwrap().state = State::Deleted;
        }
    }
}

struct Run {
    directory: Directory,
    model: Model,
    /// What the other dataset serves: 1 or 2.
    other: u64,
}

impl Run {
    fn new() -> Self {
        // No power is lost here: in memory, if there is a file system in it, nothing waits for a disk.
        let memory = Path::new("/dev/shm");
        let directory =
            if memory.is_dir() { Directory::within("/dev/shm") } else { Directory::new() };
        push_versions(directory.store(), &dataset("other"), 2);
        Self { directory, model: Model { retain: 3, ..Model::default() }, other: 2 }
    }

    fn make(&mut self) {
        if !self.model.there {
            self.configure(3);
            let next = self.model.next.max(1);
            self.model = Model { there: true, next, retain: 3, ..Model::default() };
        }
    }

    fn configure(&self, retain: u32) {
        let gates = Gates { min_records: Some(FEWEST as u64), ..Gates::default() };
        let config =
            DatasetConfig { retain, retire_grace_seconds: 0, gates, ..DatasetConfig::default() };
        self.directory.store().configure(&dataset("a"), &config, Cause::default()).unwrap();
    }

    fn admitted(&mut self, activate: bool) -> u64 {
        let version = begin(self.directory.store(), &dataset("a"), activate).0;
        assert_eq!(version, self.model.next, "numbers go on");
        self.model.next += 1;
        let (state, records) = (State::Receiving, Records::new());
        let modelled = Modelled { state, activate, was_canary: false, records };
        self.model.versions.insert(version, modelled);
        version
    }

    fn published(&mut self, version: u64, records: &[(Vec<u8>, Vec<u8>)], file_bytes: u64) {
        let (a, store) = (dataset("a"), self.directory.store());
        let dir = store.layout().build(&a, Version(version), 1);
        let snapshot = build(&dir, records.iter().map(|(k, v)| (k, v)), file_bytes);
        let state =
            store.publish(&a, Version(version), &snapshot, 0, &[], Cause::default()).unwrap();
        let model = self.model.versions.get_mut(&version).unwrap();
        model.records = records.iter().cloned().collect();
        model.state = if records.len() < FEWEST { State::Rejected } else { State::Ready };
        assert_eq!(state, model.state);
        let ended = store.activate_by_itself(&a, Version(version), Cause::default()).unwrap();
        let model = &self.model;
        let goes = model.is(version, State::Ready)
            && !model.held
            && model.canary.is_none()
            && model.versions[&version].activate
            && Some(version) > model.current;
        assert_eq!(matches!(ended, SelfActivation::Activated(_)), goes, "{ended:?}");
        if goes {
            self.model.swap(version, State::Retired);
        }
    }

    fn oldest(&self, state: State) -> Option<u64> {
        self.model.versions.iter().find(|(_, m)| m.state == state).map(|(v, _)| *v)
    }

    fn step(&mut self, step: &Step) {
        let a = dataset("a");
        self.make();
        let newest = self.model.next - 1;
        let picked = |pick: usize| newest.saturating_sub(pick as u64);
        match step {
            Step::Push { records, activate, file_bytes } => {
                let version = self.admitted(*activate);
                seal(self.directory.store(), &a, Version(version), *activate);
                self.published(version, records, *file_bytes);
            }
            Step::Open => drop(self.admitted(true)),
            Step::SealOldest => {
                let Some(version) = self.oldest(State::Receiving) else { return };
                seal(self.directory.store(), &a, Version(version), true);
                self.model.versions.get_mut(&version).unwrap().state = State::Building;
            }
            Step::PublishOldest(records) => {
                let Some(version) = self.oldest(State::Building) else { return };
                self.published(version, records, 4096);
            }
            Step::Activate(pick) => self.activate(picked(*pick)),
            Step::ActivateTogether(pick) => self.activate_together(picked(*pick)),
            Step::RollBack { to, hold } => self.roll_back(to.map(picked), *hold),
            Step::Hold => {
                let changed = self.directory.store().hold(&a, because("a test")).unwrap().changed;
                assert_eq!(changed, !self.model.held);
                self.model.held = true;
            }
            Step::Release => self.release(),
            Step::Canary(pick, percent) => self.canary(picked(*pick), *percent),
            Step::EndCanary => {
                let expect = ExpectCanary::Anything;
                let done = self.directory.store().end_canary(&a, expect, Cause::default());
                let ended = self.model.canary.take().map(|(version, _)| Version(version));
                assert_eq!(done.map(|canary| canary.version).ok(), ended);
            }
            Step::Promote => self.promote(),
            Step::Delete(pick) => self.delete(picked(*pick)),
            Step::DeleteDataset => self.delete_dataset(),
            Step::Retain(retain) => {
                self.configure(*retain);
                self.model.retain = *retain as usize;
            }
            Step::Sweep => {
                let far = tidetable_storage::now() + 3_600_000;
                self.directory.store().sweep_at(far).unwrap();
                self.model.sweep();
            }
        }
    }

    fn activate(&mut self, version: u64) {
        let activation = Activation { force: true, ..Activation::of(Version(version)) };
        let done = self.directory.store().activate(&dataset("a"), &activation, because("a test"));
        let state = self.model.versions.get(&version).map(|m| m.state);
        match state {
            Some(State::Ready | State::Retired | State::Rejected | State::Bad) => {
                let moved = done.unwrap();
                assert_eq!(moved.from, self.model.current.map(Version));
                assert_eq!(moved.held, self.model.held);
                self.model.swap(version, State::Retired);
            }
            Some(State::Active) => assert_eq!(code(done), Code::AlreadyCurrent),
            Some(State::Deleted) => assert_eq!(code(done), Code::VersionDeleted),
            Some(_) => assert_eq!(code(done), Code::WrongState),
            None => drop(done.unwrap_err()),
        }
    }

    /// Both swap, or neither.
    fn activate_together(&mut self, version: u64) {
        let (a, beside) = (dataset("a"), 3 - self.other);
        let activation = Activation { force: true, ..Activation::of(Version(version)) };
        let other = (dataset("other"), Activation::of(Version(beside)));
        let asked = BTreeMap::from([(a.clone(), activation), other]);
        let done = self.directory.store().activate_together(&asked, because("a test"));
        match self.model.versions.get(&version).map(|m| m.state) {
            Some(State::Ready | State::Retired | State::Rejected | State::Bad) => {
                let moved = &done.unwrap()[&a];
                assert_eq!(moved.from, self.model.current.map(Version));
                assert_eq!(moved.held, self.model.held);
                self.model.swap(version, State::Retired);
                self.other = beside;
            }
            _ => assert_eq!(done.unwrap_err().dataset, Some(a)),
        }
    }

    fn roll_back(&mut self, to: Option<u64>, hold: bool) {
        let rollback = Rollback { to: to.map(Version), hold, expect: Expect::Anything };
        let done = self.directory.store().roll_back(&dataset("a"), &rollback, Cause::default());
        let target = to.or_else(|| self.model.rollback_target());
        let may = |v: &u64| self.model.is(*v, State::Retired) || self.model.is(*v, State::Ready);
        match target.filter(|v| self.model.current.is_some() && may(v)) {
            None => drop(done.unwrap_err()),
            Some(target) => {
                assert_eq!(done.unwrap().to, Version(target));
                self.model.swap(target, State::Bad);
                self.model.held |= hold;
            }
        }
    }

    fn release(&mut self) {
        let done = self.directory.store().release(&dataset("a"), Cause::default());
        if !self.model.held {
            assert_eq!(code(done), Code::NotHeld);
            return;
        }
        self.model.held = false;
        let target = self.model.release_target().filter(|_| self.model.canary.is_none());
        assert_eq!(done.unwrap().moved.map(|m| m.to.0), target);
        if let Some(target) = target {
            self.model.swap(target, State::Retired);
        }
    }

    fn canary(&mut self, version: u64, percent: u32) {
        let (of, share) = (Version(version), f64::from(percent));
        let expect = ExpectCanary::Anything;
        let start = CanaryStart { version: of, percent: share, experiment: None, expect };
        let done = self.directory.store().start_canary(&dataset("a"), &start, Cause::default());
        let may = self.model.is(version, State::Ready) || self.model.is(version, State::Retired);
        if !may || self.model.current.is_none() {
            return drop(done.unwrap_err());
        }
        let changed = self.model.canary != Some((version, percent));
        assert_eq!(done.unwrap().changed, changed);
        self.model.canary = Some((version, percent));
        self.model.versions.get_mut(&version).unwrap().was_canary = true;
    }

    fn promote(&mut self) {
        let promotion = Promotion { version: None, expect: Expect::Anything };
        let done = self.directory.store().promote(&dataset("a"), &promotion, Cause::default());
        let Some((canary, _)) = self.model.canary else {
            return assert_eq!(code(done), Code::NoCanary);
        };
        assert_eq!(done.unwrap().to, Version(canary));
        self.model.swap(canary, State::Retired);
    }

    fn delete(&mut self, version: u64) {
        let done = self.directory.store().delete(&dataset("a"), Version(version), Cause::default());
        let canary = self.model.canary.map(|(version, _)| version);
        let spared = [self.model.current, canary, self.model.rollback_target()];
        let spared = spared.contains(&Some(version));
        let there = self.model.versions.get_mut(&version).filter(|m| m.state != State::Deleted);
        match there {
            Some(_) if spared => assert_eq!(code(done), Code::VersionInUse),
            Some(modelled) => {
                done.unwrap();
                modelled.state = State::Deleted;
            }
            None => drop(done.unwrap_err()),
        }
    }

    fn delete_dataset(&mut self) {
        let done = self.directory.store().delete_dataset(&dataset("a"), Cause::default());
        let pushing = |m: &Modelled| m.state.is_pushing();
        if self.model.versions.values().any(pushing) {
            assert_eq!(code(done), Code::VersionInUse);
        } else {
            done.unwrap();
            self.model = Model { next: self.model.next, ..Model::default() };
        }
    }

    /// The store says of every number what the model says.
    fn check(&self) {
        let (a, store) = (dataset("a"), self.directory.store());
        assert_eq!(current(store, &dataset("other")), Some(self.other));
        if !self.model.there {
            assert!(store.live().get(&a).is_err() || self.model.next == 0);
            return;
        }
        let served: &Served = &store.live().get(&a).unwrap();
        assert_eq!(served.current_version(), self.model.current.map(Version));
        let canary = self.model.canary.map(|(version, _)| Version(version));
        assert_eq!(served.canary().map(ServedCanary::version), canary);
        for version in 1..=self.model.next {
            match self.model.versions.get(&version) {
                Some(m) if m.state.has_files() => {
                    let entry = store.catalog().entry(&a, Version(version)).unwrap().state;
                    assert_eq!(entry, m.state, "version {version}");
                    let lease = served.version(Version(version)).unwrap();
                    assert_reads(lease.view(), &m.records);
                }
                known => {
                    let gone = code(served.version(Version(version)));
                    let unpublished =
                        |m: &Modelled| m.state.is_pushing() || m.state == State::Failed;
                    let expected = if version < self.model.next && !known.is_some_and(unpublished) {
                        Code::VersionDeleted
                    } else {
                        Code::VersionNotFound
                    };
                    assert_eq!(gone, expected, "version {version}");
                    if let Some(m) = known {
                        let entry = store.catalog().entry(&a, Version(version)).unwrap().state;
                        assert_eq!(entry, m.state, "version {version}");
                    }
                }
            }
        }
        if let Some(current) = self.model.current {
            let lease = served.current().unwrap();
            for (key, value) in self.model.versions[&current].records.iter().take(3) {
                let found = lease.get(Key::new(key).unwrap()).unwrap();
                assert_eq!(found.as_deref(), Some(value.as_slice()));
            }
        }
    }

    fn reopen(&mut self) {
        let recovery = self.directory.reopen();
        let interrupted: Vec<_> =
            recovery.done.iter().filter(|done| !self.was_given_up(done)).collect();
        assert!(interrupted.is_empty(), "nothing was interrupted: {interrupted:?}");
        self.check_unfinished(&recovery);
    }

    /// The thread that warms what a rollback goes to holds what it leaves, and closing does not wait for
    /// it: if that version is deleted meanwhile, its files may go at the next start only.
    fn was_given_up(&self, done: &Recovered) -> bool {
        let Recovered::Removed(path) = done else { return false };
        let version = path.file_name().and_then(|name| name.to_str()?.parse::<u64>().ok());
        let dataset = path.parent().is_some_and(|parent| parent.ends_with("datasets/a"));
        let has_files =
            |version| self.model.versions.get(&version).is_some_and(|m| m.state.has_files());
        dataset && version.is_some_and(|v| v < self.model.next && !has_files(v))
    }

    /// What is committed is there after a kill at this moment, and nothing else is.
    fn kill(&mut self, remains: u8) {
        let numbers = self.model.next;
        let building = self.model.versions.iter().find(|(_, m)| m.state == State::Building);
        let building = building.map(|(version, _)| *version);
        let recovery = self.directory.kill(|dir| leave(dir, remains, building, numbers));
        let removed = |done: &Recovered| matches!(done, Recovered::Removed(_));
        assert!(recovery.done.iter().all(removed), "{:?}", recovery.done);
        assert_eq!(recovery.torn_bytes.is_some(), remains & 3 != 0, "{remains:08b}");
        self.check_unfinished(&recovery);
    }

    fn check_unfinished(&self, recovery: &Recovery) {
        let building: Vec<u64> = self
            .model
            .versions
            .iter()
            .filter(|(_, m)| m.state == State::Building)
            .map(|(v, _)| *v)
            .collect();
        let unfinished: Vec<u64> = recovery.unfinished.iter().map(|(_, v)| v.0).collect();
        assert_eq!(unfinished, building);
    }
}

/// What a kill may leave behind in a data directory.
fn leave(dir: &Path, remains: u8, building: Option<u64>, numbers: u64) {
    let bit = |n: u8| remains >> n & 1 == 1;
    let a = Layout::new(dir).version(&dataset("a"), Version(1)).with_file_name("");
    let put = |path: &Path| {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, b"left behind").unwrap();
    };
    // An append that was cut short: some of its head, or room that the file system gave.
    let torn: &[u8] = match (bit(0), bit(1)) {
        (true, _) => &[9, 0, 0, 0, 7],
        (false, true) => &[0; 100],
        (false, false) => &[],
    };
    let mut journal = std::fs::File::options().append(true).open(dir.join("journal")).unwrap();
    journal.write_all(torn).unwrap();
    if bit(2) {
        // What is put in place by a rename.
        put(&dir.join("journal.tmp"));
        put(&dir.join("scrubs.tmp"));
        put(&dir.join("watches"));
    }
    if bit(3) {
        put(&dir.join("scrubs"));
        put(&dir.join(format!("staging/a.{}/parts/1", numbers + 5)));
        put(&dir.join("staging/gone.1/parts/1"));
    }
    if let Some(version) = building.filter(|_| bit(4)) {
        // Renamed into its place; its record never came.
        put(&a.join(version.to_string()).join("000001.sst"));
        put(&dir.join(format!("staging/a.{version}/build-9/000001.sst")));
    }
    let places = std::fs::read_dir(&a).into_iter().flatten();
    for place in places.map(|entry| entry.unwrap().path()).filter(|place| place.join("db").is_dir())
    {
        if bit(5) {
            put(&place.join("db.tmp/000009.sst"));
        }
        if bit(6) {
            // RocksDB's own files are made again.
            std::fs::remove_dir_all(place.join("db")).unwrap();
        }
    }
}

#[test]
fn with_restarts_between_any_two() {
    let cases = std::env::var("TIDETABLE_MODEL_CASES").ok().and_then(|n| n.parse().ok());
    let cases: u32 = cases.unwrap_or(200);
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u32).min(8);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| some_sequences(cases.div_ceil(threads)));
        }
    });
}

fn some_sequences(cases: u32) {
    let config = ProptestConfig {
        cases,
        max_shrink_iters: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let run = TestRunner::new(config).run(&steps(), |steps| {
        let mut run = Run::new();
        for (step, restart) in &steps {
            run.step(step);
            run.check();
            match restart {
                Restart::No => continue,
                Restart::Clean => run.reopen(),
                Restart::Killed(remains) => run.kill(*remains),
            }
            run.check();
        }
        Ok(())
    });
    run.unwrap_or_else(|failed| panic!("{failed}"));
}

#[test]
fn sealing_again_alike_changes_nothing_and_otherwise_is_refused() {
    let a = dataset("a");
    let mut directory = Directory::new();
    let version = begin(directory.store(), &a, true);
    let seal_with = |directory: &Directory, parts: Option<&[&str]>| {
        let parts: Option<Vec<String>> = parts.map(|p| p.iter().map(ToString::to_string).collect());
        directory.store().seal(&a, version, true, parts.as_deref(), Cause::default())
    };
    assert_eq!(code(seal_with(&directory, None)), Code::PartsMissing);
    receive(directory.store(), &a, version, "1");
    receive(directory.store(), &a, version, "2");
    assert_eq!(code(seal_with(&directory, Some(&["2", "3"]))), Code::PartsMissing);
    assert!(seal_with(&directory, Some(&["2"])).unwrap());
    for _ in 0..2 {
        assert!(!seal_with(&directory, Some(&["2"])).unwrap());
        assert!(!seal_with(&directory, None).unwrap());
        assert_eq!(code(seal_with(&directory, Some(&["1"]))), Code::WrongState);
        directory.reopen();
    }
}
