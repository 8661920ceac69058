//! The push path behind the store: sealed pushes are built in child processes, as many at a time
//! as the settings say (one, by default), published, and activated if they are to be.
//!
//! A push that is sealed ends by itself: whoever waits for it may go away, the server may
//! be killed and started again, and its version still becomes ready, rejected or failed.

mod along;
mod build;
mod check;
mod child;
pub(crate) mod full;
mod given_up;
mod guard;
mod inputs;
mod making;
mod receiving;
pub(crate) mod room;
mod spec;
mod taking;
mod worker;

use std::collections::{HashMap, HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tidetable_storage::{
    Catalog, Cause, DatasetName, Error, EvenPoisoned as _, Failed, State, Store, Version,
};
use tokio::sync::watch;
use tracing::info;

use crate::ingest::GrowthLimits;
use crate::metrics::{Metrics, PushOutcome};
use crate::problem::Problem;

pub(crate) use along::Arriving;
pub(crate) use check::Checks;
pub(crate) use guard::run_guard;
pub(crate) use inputs::{SNAPSHOT, is_snapshot};
pub(crate) use making::{Job, Made, make_snapshot};
pub(crate) use receiving::{Receipt, Receiving, room_for_one_more};
pub(crate) use spec::Sizes;
pub(crate) use worker::run_worker;

/// The longest label, in bytes.
pub(crate) const MAX_LABEL_BYTES: usize = 256;

/// One push.
pub(crate) type PushOf = (DatasetName, Version);

/// How far the build of a push has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// What is being done.
    pub(crate) phase: Phase,
    /// Rows read so far.
    pub(crate) rows: u64,
    /// Bytes read, written or verified so far, by phase.
    pub(crate) bytes: u64,
    /// Of so many.
    pub(crate) total_bytes: u64,
}

/// What a build is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// It waits for its turn.
    #[default]
    Queued,
    /// The server fetches its data from a source.
    Fetching,
    /// Rows are read and sorted.
    Reading,
    /// Sorted records are written.
    Building,
    /// What was written is read back.
    Verifying,
    /// It is in its place; it is opened, warmed and swapped in.
    Activating,
}

/// How builds are run.
#[derive(Clone, Debug)]
pub(crate) struct BuildSettings {
    /// Bytes of memory for sorting.
    pub(crate) sort_memory: u64,
    /// How long keys and values may be.
    pub(crate) sizes: Sizes,
    /// How far compressed parts may grow.
    pub(crate) growth: GrowthLimits,
    /// Whether they get only what others leave of the processors.
    pub(crate) give_way: bool,
    /// Builds at the same time.
    pub(crate) at_once: usize,
    /// The program that is started as `build-worker`: this one.
    pub(crate) program: PathBuf,
    /// What the gate `check` asks.
    pub(crate) checks: Checks,
}

/// The queue of sealed pushes and what is known of the running ones.
#[derive(Debug)]
pub(crate) struct Pushes {
    store: Arc<Store>,
    metrics: Arc<Metrics>,
    settings: BuildSettings,
    queue: Mutex<Queue>,
    work: Condvar,
    /// Counts up whenever a push ends: whoever waits for one looks again.
    ended: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<(PushOf, Cause)>,
    /// Waiting or being built.
    running: HashMap<PushOf, Progress>,
    /// Why pushes that nothing works at any more are not at their end.
    stuck: HashMap<PushOf, Problem>,
    /// How those of them end that were given up: it is not recorded.
    given_up: HashMap<PushOf, (Failed, Cause)>,
    /// Idempotency keys of push requests that are being answered.
    answering: HashSet<(DatasetName, String)>,
    /// A body that nobody reads along yet, and the one that somebody does.
    body: Option<along::Body>,
    followed: Option<along::Followed>,
    /// Threads that build and have nothing to do.
    idle: usize,
    stopping: bool,
}

/// What a thread that builds does next.
#[derive(Debug)]
enum Work {
    Build(PushOf, Cause),
    ReadAlong(along::Body),
}

impl Queue {
    /// The push that has waited longest; not the one whose body somebody reads along.
    fn next_waiting(&mut self) -> Option<(PushOf, Cause)> {
        let followed = &self.followed;
        let is_free = |push| !followed.as_ref().is_some_and(|followed| followed.is_of(push));
        let at = self.waiting.iter().position(|(push, _)| is_free(push))?;
        self.waiting.remove(at)
    }

    /// See [`Pushes::gets_stuck`].
    fn gets_stuck(&mut self, catalog: &Catalog, push: &PushOf, why: Problem) {
        let is_on_its_way = |(dataset, version): &PushOf| {
            let state = catalog.entry(dataset, *version).map(|entry| entry.state);
            state.is_ok_and(|state| state.is_pushing() || state == State::Ready)
        };
        self.stuck.retain(|push, _| is_on_its_way(push));
        self.stuck.insert(push.clone(), why);
    }
}

impl Pushes {
    pub(crate) fn new(
        store: Arc<Store>,
        metrics: Arc<Metrics>,
        settings: BuildSettings,
    ) -> Arc<Self> {
        let (ended, _) = watch::channel(0);
        let queue = Mutex::default();
        Arc::new(Self { store, metrics, settings, queue, work: Condvar::new(), ended })
    }

    /// Starts the threads that run builds. They end by [`Pushes::stop`].
    pub(crate) fn start(self: &Arc<Self>) -> std::io::Result<()> {
        for number in 0..self.settings.at_once {
            let pushes = Arc::clone(self);
            std::thread::Builder::new()
                .name(format!("build-{number}"))
                .spawn(move || pushes.run())?;
        }
        Ok(())
    }

    /// Whether a gate may name this check.
    pub(crate) fn has_check(&self, name: &str) -> bool {
        self.settings.checks.has(name)
    }

    /// No further build is begun. Those that run end with this process, and are begun
    /// anew by the next one.
    pub(crate) fn stop(&self) {
        self.queue().stopping = true;
        self.work.notify_all();
    }

    /// Puts a sealed push in the queue, unless it is there.
    pub(crate) fn enqueue(&self, push: PushOf, cause: Cause) {
        let mut queue = self.queue();
        if queue.running.contains_key(&push) {
            return;
        }
        queue.stuck.remove(&push);
        queue.withdraw_body(&push);
        queue.running.insert(push.clone(), Progress::default());
        queue.waiting.push_back((push, cause));
        // One that waits for something else cannot pass it on.
        self.work.notify_all();
    }

    /// Puts a push in the queue if it is sealed and not built yet, or is stuck on its way from
    /// there. Whatever became of those who should have done that before, it goes on now.
    pub(crate) fn go_on(&self, push: PushOf, cause: Cause) {
        let state = self.store.catalog().entry(&push.0, push.1).map(|entry| entry.state);
        let is_due = match state {
            Ok(State::Building) => true,
            Ok(State::Ready) => self.queue().stuck.contains_key(&push),
            _ => false,
        };
        if is_due {
            self.enqueue(push, cause);
        }
    }

    /// Why a push is not at its end though nothing works at it any more, if it is so.
    pub(crate) fn stuck(&self, push: &PushOf) -> Option<Problem> {
        self.queue().stuck.get(push).cloned()
    }

    /// A push can not go on for now: whoever asks for it is told why.
    fn gets_stuck(&self, push: &PushOf, why: Problem) {
        let catalog = self.store.catalog();
        self.queue().gets_stuck(&catalog, push, why);
    }

    /// How far a push has come, while it waits or is built.
    pub(crate) fn progress(&self, push: &PushOf) -> Option<Progress> {
        self.queue().running.get(push).copied()
    }

    /// The data of a push is fetched: so much of it is there.
    pub(crate) fn fetches(&self, push: &PushOf, bytes: u64, total_bytes: u64) {
        let progress = Progress { phase: Phase::Fetching, rows: 0, bytes, total_bytes };
        self.queue().running.insert(push.clone(), progress);
    }

    /// It is there, or does not come: nothing is fetched any more.
    pub(crate) fn fetched(&self, push: &PushOf) {
        let mut queue = self.queue();
        if queue.running.get(push).is_some_and(|progress| progress.phase == Phase::Fetching) {
            queue.running.remove(push);
        }
    }

    /// Ends a push without a version; whether it did. One that has ended meanwhile has ended.
    fn fail(&self, failed: Failed, cause: Cause) -> Result<bool, Error> {
        let (dataset, version) = (failed.dataset.clone(), failed.version);
        match self.store.fail(failed, cause) {
            Ok(()) => Ok(true),
            Err(error) if error.is_over() => {
                info!(%dataset, version = version.0, %error, "it had ended already");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Waits until a push has ended, or gets stuck, at most this long. It may have ended long
    /// ago.
    pub(crate) async fn wait(&self, push: &PushOf, most: Duration) {
        let mut ended = self.ended.subscribe();
        let deadline = tokio::time::Instant::now() + most;
        while self.is_under_way(push) {
            let changed = tokio::time::timeout_at(deadline, ended.changed()).await;
            if !matches!(changed, Ok(Ok(()))) {
                return;
            }
        }
    }

    /// Pushes may have ended without having been built: whoever waits for one looks again.
    pub(crate) fn look_again(&self) {
        self.ended.send_modify(|count| *count += 1);
    }

    fn is_under_way(&self, push: &PushOf) -> bool {
        let state = self.store.catalog().entry(&push.0, push.1).map(|entry| entry.state);
        let queue = self.queue();
        match state {
            Ok(State::Receiving | State::Building) if !queue.stuck.contains_key(push) => true,
            _ => queue.running.contains_key(push),
        }
    }

    /// Marks an idempotency key as being answered, until the mark is dropped; `None` if
    /// another request with it is.
    pub(crate) fn answer(self: &Arc<Self>, dataset: &DatasetName, key: &str) -> Option<Answering> {
        let id = (dataset.clone(), key.to_owned());
        let first = self.queue().answering.insert(id.clone());
        first.then(|| Answering { pushes: Arc::clone(self), id })
    }

    fn run(&self) {
        while let Some(work) = self.next() {
            match work {
                Work::Build(push, cause) => {
                    self.work_at(&push, || build::build_and_activate(self, &push, &cause, None));
                }
                Work::ReadAlong(body) => self.read_along(body),
            }
        }
    }

    fn read_along(&self, body: along::Body) {
        let followed = catch_unwind(AssertUnwindSafe(|| along::follow(self, body)));
        {
            let mut queue = self.queue();
            queue.followed = None;
            // It may wait for its turn, and everybody has left it to this thread.
            self.work.notify_all();
        }
        match followed {
            Ok(None) => {}
            Ok(Some((push, cause, along))) => {
                let along = Some(along);
                self.work_at(&push, || build::build_and_activate(self, &push, &cause, along));
            }
            Err(_) => self.metrics.panicked(),
        }
    }

    /// Does the work of one push, and tells whoever waits for it. A panic is the end of that
    /// push alone: the thread goes on with the next one.
    fn work_at(&self, push: &PushOf, work: impl FnOnce() -> Option<PushOutcome>) {
        let guarded = |work: &mut dyn FnMut()| catch_unwind(AssertUnwindSafe(work)).is_ok();
        let mut work = Some(work);
        let done = guarded(&mut || {
            let began = Instant::now();
            let outcome = work.take().and_then(|work| work());
            if let Some(outcome) = outcome {
                self.metrics.pushed(&push.0, outcome, began.elapsed());
            }
            crate::state::count_dataset(&self.store, &self.metrics, &push.0);
        });
        if !done {
            self.metrics.panicked();
            guarded(&mut || build::panicked(self, push));
        }
        self.queue().running.remove(push);
        self.look_again();
    }

    fn next(&self) -> Option<Work> {
        let mut queue = self.queue();
        loop {
            if queue.stopping {
                return None;
            }
            if let Some((push, cause)) = queue.next_waiting() {
                return Some(Work::Build(push, cause));
            }
            if let Some(body) = queue.next_body() {
                return Some(Work::ReadAlong(body));
            }
            queue.idle += 1;
            queue = self.work.wait(queue).even_poisoned();
            queue.idle -= 1;
        }
    }

    /// A push has come to another phase; what was counted so far stays.
    fn begins(&self, push: &PushOf, phase: Phase) {
        if let Some(known) = self.queue().running.get_mut(push) {
            known.phase = phase;
        }
    }

    fn came_to(&self, push: &PushOf, progress: Progress) {
        if let Some(known) = self.queue().running.get_mut(push) {
            *known = progress;
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().even_poisoned()
    }
}

/// See [`Pushes::answer`].
#[derive(Debug)]
pub(crate) struct Answering {
    pushes: Arc<Pushes>,
    id: (DatasetName, String),
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.pushes.queue().answering.remove(&self.id);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use tidetable_storage::{Admission, Code, DatasetConfig, PartSums, StoreOptions};

    use super::*;

    /// Pushes of which none is built by itself, and the dataset `a`.
    pub(super) fn pushes_on(
        dir: &std::path::Path,
        options: StoreOptions,
    ) -> (Arc<Pushes>, DatasetName) {
        let (store, _) = Store::open(dir, options).unwrap();
        let store = Arc::new(store);
        let dataset = DatasetName::parse("a").unwrap();
        store.ensure_dataset(&dataset, Cause::default()).unwrap();
        let (sort_memory, program) = (1 << 20, "none".into());
        let settings = BuildSettings {
            sort_memory,
            sizes: Sizes::MOST,
            growth: GrowthLimits::default(),
            give_way: true,
            at_once: 1,
            program,
            checks: Checks::none(),
        };
        (Pushes::new(store, Arc::new(Metrics::new()), settings), dataset)
    }

    /// The same, and the first push, sealed and queued.
    fn queued(dir: &std::path::Path, options: StoreOptions) -> (Arc<Pushes>, PushOf) {
        let (pushes, dataset) = pushes_on(dir, options);
        let (store, cause) = (&pushes.store, Cause::default);
        let push = Admission { activate: true, whole: true, ..Admission::default() };
        let version = store.admit(&dataset, &push, cause()).unwrap().number().unwrap();
        let part = store.begin_part(&dataset, version, "body").unwrap();
        store.receive_part(&dataset, version, part.close(PartSums::default())).unwrap();
        store.seal(&dataset, version, true, None, cause()).unwrap();
        pushes.go_on((dataset.clone(), version), cause());
        (pushes, (dataset, version))
    }

    /// From here on the journal takes no changes: a checkpoint fails, and the file that is appended to is
    /// not the one that a restart reads. The store has to have been opened with `checkpoint_bytes` of 1.
    pub(crate) fn break_journal(store: &Store, dataset: &DatasetName) {
        for n in 0..20 {
            let description = Some(format!("{n:4000}"));
            let config = DatasetConfig { description, ..DatasetConfig::default() };
            store.configure(dataset, &config, Cause::default()).unwrap();
        }
        let journal = store.layout().journal();
        let bytes = std::fs::read(&journal).unwrap();
        std::fs::remove_file(&journal).unwrap();
        std::fs::write(&journal, bytes).unwrap();
        std::fs::create_dir(journal.with_extension("tmp")).unwrap();
        store.sweep().unwrap();
        assert!(store.journal_state().1);
    }

    /// Gives a push up whose end cannot be recorded just now.
    pub(crate) fn give_up_unrecorded(pushes: &Pushes, (dataset, version): &PushOf) -> Problem {
        let failed = Failed {
            dataset: dataset.clone(),
            version: *version,
            code: "body_incomplete".to_owned(),
            detail: "it broke off".to_owned(),
            problems: Vec::new(),
        };
        let error = Error::new(Code::DiskFull, "cannot append to the journal");
        let push = (dataset.clone(), *version);
        pushes.is_not_recorded(&push, (failed, Cause::default()), &error).unwrap_err()
    }

    #[tokio::test]
    async fn a_panic_while_building_fails_that_push_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let (pushes, push) = queued(dir.path(), StoreOptions::default());
        assert!(matches!(pushes.next().unwrap(), Work::Build(next, _) if next == push));
        assert_eq!(pushes.progress(&push), Some(Progress::default()));
        pushes.work_at(&push, || panic!("on purpose"));
        // Whoever waits is not left waiting.
        pushes.wait(&push, Duration::from_secs(3600)).await;
        assert_eq!(pushes.progress(&push), None);
        let entry = pushes.store.catalog().entry(&push.0, push.1).unwrap().clone();
        assert_eq!((entry.state, entry.code.as_deref()), (State::Failed, Some("internal_error")));
        assert!(!entry.reason.unwrap().contains("on purpose"), "that is for the log");
        assert!(pushes.metrics.render().contains("tidetable_panics_total 1"));
    }

    #[test]
    fn a_push_is_given_up_once_and_one_that_had_ended_is_not_counted() {
        let dir = tempfile::tempdir().unwrap();
        let (pushes, (dataset, version)) = queued(dir.path(), StoreOptions::default());
        for _ in 0..2 {
            let failed = Failed {
                dataset: dataset.clone(),
                version,
                code: "body_incomplete".to_owned(),
                detail: "it broke off".to_owned(),
                problems: Vec::new(),
            };
            pushes.give_up(failed, Cause::default()).unwrap();
        }
        let state = pushes.store.catalog().entry(&dataset, version).unwrap().state;
        assert_eq!(state, State::Failed);
        let counted = r#"tidetable_pushes_total{dataset="a",outcome="failed"} 1"#;
        assert!(pushes.metrics.render().contains(counted));
    }

    #[test]
    fn nothing_is_built_while_the_journal_takes_no_changes() {
        let dir = tempfile::tempdir().unwrap();
        let options = StoreOptions { checkpoint_bytes: 1, ..StoreOptions::default() };
        let (pushes, push) = queued(dir.path(), options);
        break_journal(&pushes.store, &push.0);
        for _ in 0..2 {
            // There is no program to build with, which it would fail for.
            let built = build::build_and_activate(&pushes, &push, &Cause::default(), None);
            assert!(built.is_none());
            assert!(pushes.stuck(&push).is_some());
        }
        let state = pushes.store.catalog().entry(&push.0, push.1).unwrap().state;
        assert_eq!(state, State::Building);
    }
}
