//! What the server counts, and how `GET /metrics` shows it (OpenMetrics text).
//!
//! A lookup must not wait for another thread's: each thread counts in a shard of its own
//! (a cache line that no other thread writes), and a scrape adds the shards up. A handler
//! asks [`Metrics::dataset`] for the counters of its dataset once a request; plain lookups
//! keep them with what they have ready for the dataset, and look nothing up.
//!
//! Labels are dataset names, routes and fixed words; never keys, never URLs. Metrics of a
//! dataset that was deleted are dropped with [`Metrics::forget`].

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use std::time::{Duration, SystemTime};

use axum::http::StatusCode;
use tidetable_storage::{Dataset, DatasetName, EvenPoisoned as _};

use arms::Arms;

mod arms;
mod happened;
mod key_sample;
mod now;
mod page;
mod phases;
mod watched;

pub(crate) use arms::{Arm, ArmMetrics, ArmTotals};
use happened::Happenings;
pub(crate) use now::Now;
use phases::PhaseTimes;
pub(crate) use phases::PushPhase;
pub(crate) use watched::Freshness;
use watched::Watched;

/// The `Content-Type` of [`Metrics::render`].
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// More threads than this share shards; a server has one per core plus a few.
const SHARDS: usize = 16;

/// Upper bounds of the keys of one batch.
const BATCH_BOUNDS: [u64; 10] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];
/// Upper bounds of a push's time, in seconds.
const PUSH_BOUNDS_S: [f64; 10] = [0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0];

/// How a push ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PushOutcome {
    /// Its version is current.
    Activated,
    /// Its version is ready: the dataset is held, or the push did not ask for more.
    Parked,
    /// A gate refused it.
    Rejected,
    /// Its data was at fault.
    Failed,
    /// It was deleted while it was under way.
    Aborted,
}

impl PushOutcome {
    const ALL: [Self; 5] =
        [Self::Activated, Self::Parked, Self::Rejected, Self::Failed, Self::Aborted];

    fn as_str(self) -> &'static str {
        match self {
            Self::Activated => "activated",
            Self::Parked => "parked",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
            Self::Aborted => "aborted",
        }
    }
}

/// Everything this process counts. One per server, shared by all its threads.
#[derive(Debug)]
pub(crate) struct Metrics {
    started: SystemTime,
    datasets: RwLock<BTreeMap<DatasetName, Arc<DatasetMetrics>>>,
    requests: RwLock<BTreeMap<String, Arc<RouteMetrics>>>,
    /// Datasets forgotten so far.
    forgotten: AtomicU64,
    panics: AtomicU64,
    read_along: AtomicU64,
    journal_bytes: AtomicU64,
    /// How long the phases of pushes took.
    pub(crate) phases: PhaseTimes,
    /// How long whole pushes took, also those of datasets that were deleted since.
    push_times: Mutex<PushTimes>,
    /// The event after which what happened is counted: the last one before the start.
    counts_after: AtomicU64,
    now: Mutex<Now>,
    /// Counted by the server itself.
    pub(crate) connections: Connections,
    /// Requests that were refused to whoever sent them.
    pub(crate) access: crate::access::RefusalCounts,
    /// Counted by the thread that delivers them.
    pub(crate) webhooks: crate::webhooks::Counts,
    /// Counted by the thread that writes the audit log.
    pub(crate) audit: crate::audit::Counts,
    /// Counted where handshakes are made and certificates are read.
    pub(crate) tls: crate::tls::Counts,
    /// Requests that were refused because too much ran already.
    pub(crate) shed: crate::shed::Shed,
}

/// What the accept loop counts.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    /// Open now.
    pub(crate) open: AtomicU64,
    /// Accepted since the start.
    pub(crate) accepted: AtomicU64,
    /// Closed at once: too many at all, or from one address.
    pub(crate) refused: AtomicU64,
    /// Closed because the client was silent or slow for too long.
    pub(crate) timed_out: AtomicU64,
    /// Times that the system gave no connection (out of files, say).
    pub(crate) accept_errors: AtomicU64,
}

impl Metrics {
    /// All at zero.
    pub(crate) fn new() -> Self {
        Self {
            started: SystemTime::now(),
            datasets: RwLock::default(),
            requests: RwLock::default(),
            forgotten: AtomicU64::new(0),
            panics: AtomicU64::new(0),
            read_along: AtomicU64::new(0),
            journal_bytes: AtomicU64::new(0),
            phases: PhaseTimes::default(),
            push_times: Mutex::default(),
            counts_after: AtomicU64::new(0),
            now: Mutex::default(),
            connections: Connections::default(),
            access: crate::access::RefusalCounts::default(),
            webhooks: crate::webhooks::Counts::default(),
            audit: crate::audit::Counts::default(),
            tls: crate::tls::Counts::default(),
            shed: crate::shed::Shed::default(),
        }
    }

    /// The counters of a dataset. Takes a lock: ask once, and keep them with what is served.
    pub(crate) fn dataset(&self, name: &DatasetName) -> Arc<DatasetMetrics> {
        let known = self.datasets.read().even_poisoned().get(name).cloned();
        known.unwrap_or_else(|| {
            let mut all = self.datasets.write().even_poisoned();
            let after = self.counts_after.load(Relaxed);
            Arc::clone(all.entry(name.clone()).or_insert_with(|| DatasetMetrics::after(after)))
        })
    }

    /// What happened up to this event was counted by an earlier process, or by none.
    pub(crate) fn count_after(&self, seq: u64) {
        self.counts_after.store(seq, Relaxed);
    }

    /// Counts what happened to a dataset since this was called last.
    pub(crate) fn happened(&self, name: &DatasetName, dataset: &Dataset) {
        self.dataset(name).happened.count(dataset, &self.phases);
    }

    /// A push ended so, this long after its last byte came.
    pub(crate) fn pushed(&self, name: &DatasetName, outcome: PushOutcome, took: Duration) {
        self.dataset(name).pushes[outcome as usize].fetch_add(1, Relaxed);
        self.push_times.lock().even_poisoned().took(took);
    }

    /// Drops the counters of a dataset that was deleted.
    pub(crate) fn forget(&self, name: &DatasetName) {
        self.datasets.write().even_poisoned().remove(name);
        self.forgotten.fetch_add(1, Relaxed);
    }

    /// A number that is another one after each [`Metrics::forget`]: whoever keeps the counters
    /// of a dataset then asks for them again.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten.load(Relaxed)
    }

    /// One request was answered. `route` is the pattern it matched.
    pub(crate) fn request(&self, route: Option<&str>, status: StatusCode) {
        self.route(route.unwrap_or("none")).count(status);
    }

    /// The counters of a route. Takes a lock.
    pub(crate) fn route(&self, route: &str) -> Arc<RouteMetrics> {
        let known = self.requests.read().even_poisoned().get(route).cloned();
        known.unwrap_or_else(|| {
            let mut all = self.requests.write().even_poisoned();
            Arc::clone(all.entry(route.to_owned()).or_default())
        })
    }

    /// A handler panicked and was caught.
    pub(crate) fn panicked(&self) {
        self.panics.fetch_add(1, Relaxed);
    }

    /// A push was built by a builder that was started while its body arrived.
    pub(crate) fn read_along(&self) {
        self.read_along.fetch_add(1, Relaxed);
    }

    /// The journal has this length now.
    pub(crate) fn journal_is(&self, bytes: u64) {
        self.journal_bytes.store(bytes, Relaxed);
    }

    /// How things stand, for the page that is rendered next.
    pub(crate) fn is_now(&self, now: Now) {
        *self.now.lock().even_poisoned() = now;
    }

    /// The page for Prometheus. Reads every counter once; meant for a scrape every few
    /// seconds.
    pub(crate) fn render(self: &Arc<Self>) -> String {
        page::render(self)
    }

    /// What was counted of every dataset so far, of those versions that readers are given.
    pub(crate) fn served(&self) -> Vec<(DatasetName, ArmTotals)> {
        self.each().into_iter().map(|(name, metrics)| (name, metrics.served())).collect()
    }

    fn each(&self) -> Vec<(DatasetName, Arc<DatasetMetrics>)> {
        let all = self.datasets.read().even_poisoned();
        all.iter().map(|(name, metrics)| (name.clone(), Arc::clone(metrics))).collect()
    }
}

/// What is counted of one dataset. Kept in the entry that serves it.
#[derive(Debug, Default)]
pub(crate) struct DatasetMetrics {
    arms: Arms,
    /// Made at the first batch.
    batches: OnceLock<Box<[BatchCounts; SHARDS]>>,
    pushes: [AtomicU64; PushOutcome::ALL.len()],
    /// Rows that pushes left out, since their keys are erased.
    erased_rows: AtomicU64,
    happened: Happenings,
    versions: AtomicU64,
    disk_bytes: AtomicU64,
    served: Mutex<ServedGauges>,
    /// What was counted of both arms when the canary was started.
    before_canary: Mutex<[ArmTotals; 2]>,
    /// What watches saw, and how fresh the dataset is.
    pub(crate) watched: Watched,
}

/// What is served now, as the gauges show it; times in seconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ServedGauges {
    /// Its number; 0 while there is none.
    pub(crate) version: u64,
    /// Its records.
    pub(crate) records: u64,
    /// Its bytes on disk.
    pub(crate) bytes: u64,
    /// When it was activated.
    pub(crate) activated_at: u64,
    /// What time its data is of; 0 if the push did not say.
    pub(crate) as_of: u64,
    /// Whether the dataset is held.
    pub(crate) held: bool,
    /// What a share of the units is served beside it.
    pub(crate) canary: Option<CanaryGauges>,
}

/// A canary, as the gauges show it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct CanaryGauges {
    /// Its number.
    pub(crate) version: u64,
    /// The share of the units.
    pub(crate) percent: f64,
    /// Since when, in milliseconds since 1970: another time is another canary.
    pub(crate) started_at: u64,
}

impl DatasetMetrics {
    fn after(seq: u64) -> Arc<Self> {
        Arc::new(Self { happened: Happenings::after(seq), ..Self::default() })
    }

    /// What was counted of the versions that readers are given, not of those they asked for.
    pub(crate) fn served(&self) -> ArmTotals {
        self.totals(Arm::Current) + self.totals(Arm::Canary)
    }

    /// The counters of an arm, made when it is first read: keep them with what is served.
    pub(crate) fn arm(&self, arm: Arm) -> &Arc<ArmMetrics> {
        self.arms.get(arm)
    }

    /// What was counted of an arm so far; nothing, if nobody has read it.
    pub(crate) fn totals(&self, arm: Arm) -> ArmTotals {
        self.arms.totals(arm)
    }

    /// One batch asked for so many keys.
    pub(crate) fn batch(&self, keys: usize) {
        let keys = keys as u64;
        let at = BATCH_BOUNDS.iter().position(|bound| keys <= *bound);
        let counts = &self.batches.get_or_init(Box::default)[shard()];
        counts.sizes[at.unwrap_or(BATCH_BOUNDS.len())].fetch_add(1, Relaxed);
        counts.keys.fetch_add(keys, Relaxed);
    }

    /// A push left out so many rows of erased keys.
    pub(crate) fn left_out(&self, erased_rows: u64) {
        self.erased_rows.fetch_add(erased_rows, Relaxed);
    }

    /// The data of a push did not arrive, so there was nothing to build.
    pub(crate) fn got_no_data(&self) {
        self.pushes[PushOutcome::Failed as usize].fetch_add(1, Relaxed);
    }

    /// A push was deleted before it had ended.
    pub(crate) fn aborted(&self) {
        self.pushes[PushOutcome::Aborted as usize].fetch_add(1, Relaxed);
    }

    /// This is served from now on.
    pub(crate) fn serves(&self, served: ServedGauges) {
        let mut before = self.served.lock().even_poisoned();
        let since = |served: &ServedGauges| served.canary.map(|canary| canary.started_at);
        if since(&served) != since(&before) {
            let mut counted = self.before_canary.lock().even_poisoned();
            *counted = self.of_both_arms();
        }
        *before = served;
    }

    /// What was counted of what is current, and of the canary, since that was started, or since
    /// this server was.
    pub(crate) fn since_canary(&self) -> [ArmTotals; 2] {
        let [current, canary] = self.of_both_arms();
        let before = *self.before_canary.lock().even_poisoned();
        [current - before[0], canary - before[1]]
    }

    fn of_both_arms(&self) -> [ArmTotals; 2] {
        [Arm::Current, Arm::Canary].map(|arm| self.totals(arm))
    }

    /// So many versions are on disk, of so many bytes together.
    pub(crate) fn keeps(&self, versions: u64, bytes: u64) {
        self.versions.store(versions, Relaxed);
        self.disk_bytes.store(bytes, Relaxed);
    }
}

/// One thread's share of the batches.
#[derive(Debug, Default)]
#[repr(align(128))]
struct BatchCounts {
    sizes: [AtomicU64; BATCH_BOUNDS.len() + 1],
    keys: AtomicU64,
}

#[derive(Debug, Default)]
struct PushTimes {
    buckets: [u64; PUSH_BOUNDS_S.len() + 1],
    sum: f64,
}

impl PushTimes {
    fn took(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        let at = PUSH_BOUNDS_S.iter().position(|bound| seconds <= *bound);
        self.buckets[at.unwrap_or(PUSH_BOUNDS_S.len())] += 1;
        self.sum += seconds;
    }
}

/// Statuses that each thread counts for itself: those of nearly all requests.
const COMMON: [StatusCode; 3] = [StatusCode::OK, StatusCode::NOT_MODIFIED, StatusCode::NOT_FOUND];

/// The requests of one route, by status.
#[derive(Debug, Default)]
pub(crate) struct RouteMetrics {
    common: [CommonCounts; SHARDS],
    /// Every other status, from 100 to 599.
    other: Mutex<BTreeMap<u16, u64>>,
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct CommonCounts([AtomicU64; COMMON.len()]);

impl RouteMetrics {
    /// One request was answered.
    pub(crate) fn count(&self, status: StatusCode) {
        if let Some(at) = COMMON.iter().position(|common| *common == status) {
            self.common[shard()].0[at].fetch_add(1, Relaxed);
            return;
        }
        let mut other = self.other.lock().even_poisoned();
        *other.entry(status.as_u16()).or_default() += 1;
    }

    fn all(&self) -> BTreeMap<u16, u64> {
        let mut all = self.other.lock().even_poisoned().clone();
        for (at, status) in COMMON.iter().enumerate() {
            let count: u64 = self.common.iter().map(|shard| shard.0[at].load(Relaxed)).sum();
            if count > 0 {
                all.insert(status.as_u16(), count);
            }
        }
        all
    }
}

/// The shard of this thread.
fn shard() -> usize {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    thread_local! {
        static OWN: usize = NEXT.fetch_add(1, Relaxed) as usize % SHARDS;
    }
    OWN.with(|own| *own)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> DatasetName {
        DatasetName::parse(text).unwrap()
    }

    #[test]
    fn every_thread_counts_and_nothing_is_lost() {
        let metrics = Arc::new(Metrics::new());
        let dataset = metrics.dataset(&name("recs"));
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        dataset.arm(Arm::Current).looked_up(true, Duration::from_micros(7));
                        metrics.request(Some("/x"), StatusCode::OK);
                        metrics.request(Some("/x"), StatusCode::NOT_FOUND);
                    }
                    let canary = dataset.arm(Arm::Canary);
                    canary.looked_up_many(5, 7, Duration::from_micros(12));
                    canary.failed(1);
                    dataset.batch(12);
                });
            }
        });
        let page = metrics.render();
        for line in [
            r#"tidetable_lookups_total{dataset="recs",arm="current",result="hit"} 20000"#,
            r#"tidetable_lookups_total{dataset="recs",arm="current",result="miss"} 0"#,
            r#"tidetable_lookups_total{dataset="recs",arm="canary",result="hit"} 100"#,
            r#"tidetable_lookups_total{dataset="recs",arm="canary",result="miss"} 140"#,
            r#"tidetable_lookups_total{dataset="recs",arm="canary",result="error"} 20"#,
            r#"tidetable_lookup_seconds_bucket{le="0.000005",dataset="recs",arm="current"} 0"#,
            r#"tidetable_lookup_seconds_bucket{le="0.00001",dataset="recs",arm="current"} 20000"#,
            r#"tidetable_lookup_seconds_bucket{le="+Inf",dataset="recs",arm="current"} 20000"#,
            r#"tidetable_lookup_seconds_count{dataset="recs",arm="current"} 20000"#,
            r#"tidetable_lookup_seconds_count{dataset="recs",arm="canary"} 240"#,
            r#"tidetable_batch_keys_bucket{le="10.0",dataset="recs"} 0"#,
            r#"tidetable_batch_keys_bucket{le="20.0",dataset="recs"} 20"#,
            r#"tidetable_batch_keys_sum{dataset="recs"} 240.0"#,
            r#"tidetable_requests_total{route="/x",status="200"} 20000"#,
            r#"tidetable_requests_total{route="/x",status="404"} 20000"#,
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\nis not in\n{page}");
        }
        assert!(!page.contains("pinned"), "an arm that nobody reads is not told of: {page}");
    }

    #[test]
    fn the_gauges_follow_what_is_served() {
        let metrics = Arc::new(Metrics::new());
        let dataset = metrics.dataset(&name("recs"));
        let served = ServedGauges {
            version: 42,
            records: 7,
            bytes: 9,
            activated_at: 5,
            ..ServedGauges::default()
        };
        dataset.serves(served);
        dataset.serves(ServedGauges { held: true, ..served });
        dataset.keeps(3, 1234);
        metrics.pushed(&name("recs"), PushOutcome::Rejected, Duration::from_secs(2));
        metrics.journal_is(99);
        let page = metrics.render();
        for line in [
            r#"tidetable_current_version{dataset="recs"} 42"#,
            r#"tidetable_held{dataset="recs"} 1"#,
            r#"tidetable_activated_timestamp_seconds{dataset="recs"} 5"#,
            r#"tidetable_versions{dataset="recs"} 3"#,
            r#"tidetable_disk_bytes{dataset="recs"} 1234"#,
            r#"tidetable_pushes_total{dataset="recs",outcome="rejected"} 1"#,
            r#"tidetable_pushes_total{dataset="recs",outcome="activated"} 0"#,
            r#"tidetable_push_seconds_bucket{le="5.0"} 1"#,
            "tidetable_journal_bytes 99",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\nis not in\n{page}");
        }
        metrics.forget(&name("recs"));
        let page = metrics.render();
        assert!(!page.contains("recs"));
        let line = r#"tidetable_push_seconds_bucket{le="5.0"} 1"#;
        assert!(page.lines().any(|found| found == line), "what has no label stays: {page}");
    }

    #[test]
    fn the_page_is_well_formed() {
        let metrics = Arc::new(Metrics::new());
        metrics.dataset(&name("a"));
        metrics.request(None, StatusCode::NOT_FOUND);
        let page = metrics.render();
        assert!(page.ends_with("# EOF\n"));
        let mut families = std::collections::BTreeSet::new();
        let mut family = String::new();
        for line in page.lines().filter(|line| *line != "# EOF") {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                rest.split_whitespace().next().unwrap().clone_into(&mut family);
                assert!(families.insert(family.clone()), "{family} stands twice");
            } else if !line.starts_with('#') {
                assert!(line.starts_with(&family), "{line} is not of {family}");
                let (_, value) = line.rsplit_once(' ').unwrap();
                value.parse::<f64>().unwrap();
            }
        }
        assert!(families.len() > 15);
    }
}
