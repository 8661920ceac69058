//! What the server counts, and how `GET /metrics` shows it (OpenMetrics text).
//!
//! A lookup must not wait for another thread's: each thread counts in a shard of its own
//! (a cache line that no other thread writes), and a scrape adds the shards up. A handler
//! gets a [`DatasetMetrics`] from the entry that serves the dataset, so that counting a
//! lookup looks nothing up.
//!
//! Labels are dataset names, routes and fixed words; never keys, never URLs. Metrics of a
//! dataset that was deleted are dropped with [`Metrics::forget`].

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use axum::http::StatusCode;
use tidetable_storage::DatasetName;

mod page;

/// The `Content-Type` of [`Metrics::render`].
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// More threads than this share shards; a server has one per core plus a few.
const SHARDS: usize = 16;

/// Upper bounds of a lookup's time, in nanoseconds. A get from memory takes 2–20 µs, from
/// a disk 0.1–10 ms.
const LOOKUP_BOUNDS_NS: [u64; 14] = [
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    10_000_000,
    50_000_000,
    250_000_000,
    1_000_000_000,
];
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
    lookup_times: Box<[LookupTimes; SHARDS]>,
    datasets: RwLock<BTreeMap<DatasetName, Arc<DatasetMetrics>>>,
    requests: RwLock<BTreeMap<String, Arc<RouteMetrics>>>,
    /// Datasets forgotten so far.
    forgotten: AtomicU64,
    panics: AtomicU64,
    journal_bytes: AtomicU64,
    /// Counted by the server itself.
    pub(crate) connections: Connections,
    /// Counted by the thread that delivers them.
    pub(crate) webhooks: crate::webhooks::Counts,
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
            lookup_times: Box::default(),
            datasets: RwLock::default(),
            requests: RwLock::default(),
            forgotten: AtomicU64::new(0),
            panics: AtomicU64::new(0),
            journal_bytes: AtomicU64::new(0),
            connections: Connections::default(),
            webhooks: crate::webhooks::Counts::default(),
        }
    }

    /// The counters of a dataset. Takes a lock: ask once, and keep them with what is served.
    pub(crate) fn dataset(&self, name: &DatasetName) -> Arc<DatasetMetrics> {
        let known = self.datasets.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        known.unwrap_or_else(|| {
            let mut all = self.datasets.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(name.clone()).or_default())
        })
    }

    /// Drops the counters of a dataset that was deleted.
    pub(crate) fn forget(&self, name: &DatasetName) {
        self.datasets.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        self.forgotten.fetch_add(1, Relaxed);
    }

    /// A number that is another one after each [`Metrics::forget`]: whoever keeps the counters
    /// of a dataset then asks for them again.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten.load(Relaxed)
    }

    /// How long the store took for one lookup. Three uncontended additions.
    pub(crate) fn looked_up_in(&self, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let at = LOOKUP_BOUNDS_NS.iter().position(|bound| ns <= *bound);
        let shard = &self.lookup_times[shard()];
        shard.buckets[at.unwrap_or(LOOKUP_BOUNDS_NS.len())].fetch_add(1, Relaxed);
        shard.sum_ns.fetch_add(ns, Relaxed);
    }

    /// One request was answered. `route` is the pattern it matched.
    pub(crate) fn request(&self, route: Option<&str>, status: StatusCode) {
        self.route(route.unwrap_or("none")).count(status);
    }

    /// The counters of a route. Takes a lock.
    pub(crate) fn route(&self, route: &str) -> Arc<RouteMetrics> {
        let known =
            self.requests.read().unwrap_or_else(PoisonError::into_inner).get(route).cloned();
        known.unwrap_or_else(|| {
            let mut all = self.requests.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(route.to_owned()).or_default())
        })
    }

    /// A handler panicked and was caught.
    pub(crate) fn panicked(&self) {
        self.panics.fetch_add(1, Relaxed);
    }

    /// The journal has this length now.
    pub(crate) fn journal_is(&self, bytes: u64) {
        self.journal_bytes.store(bytes, Relaxed);
    }

    /// The page for Prometheus. Reads every counter once; meant for a scrape every few
    /// seconds.
    pub(crate) fn render(self: &Arc<Self>) -> String {
        page::render(self)
    }

    fn each(&self) -> Vec<(DatasetName, Arc<DatasetMetrics>)> {
        let all = self.datasets.read().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(name, metrics)| (name.clone(), Arc::clone(metrics))).collect()
    }
}

/// What is counted of one dataset. Kept in the entry that serves it.
#[derive(Debug, Default)]
pub(crate) struct DatasetMetrics {
    lookups: [LookupCounts; SHARDS],
    pushes: [AtomicU64; PushOutcome::ALL.len()],
    push_times: Mutex<PushTimes>,
    rollbacks: AtomicU64,
    versions: AtomicU64,
    disk_bytes: AtomicU64,
    served: Mutex<Served>,
}

/// What is served now, as the gauges show it; times in seconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Served {
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
}

impl DatasetMetrics {
    /// One key was looked up. One uncontended addition.
    pub(crate) fn looked_up(&self, found: bool) {
        if found { self.looked_up_many(1, 0) } else { self.looked_up_many(0, 1) }
    }

    /// A batch or scan was answered: so many keys were there, so many were not.
    pub(crate) fn looked_up_many(&self, hits: u64, misses: u64) {
        let shard = &self.lookups[shard()];
        if hits > 0 {
            shard.hit.fetch_add(hits, Relaxed);
        }
        if misses > 0 {
            shard.miss.fetch_add(misses, Relaxed);
        }
    }

    /// A lookup failed: damaged data, say.
    pub(crate) fn lookup_failed(&self) {
        self.lookups[shard()].error.fetch_add(1, Relaxed);
    }

    /// A push ended so, this long after its last byte came.
    pub(crate) fn pushed(&self, outcome: PushOutcome, took: Duration) {
        self.pushes[outcome as usize].fetch_add(1, Relaxed);
        let seconds = took.as_secs_f64();
        let at = PUSH_BOUNDS_S.iter().position(|bound| seconds <= *bound);
        let mut times = self.push_times.lock().unwrap_or_else(PoisonError::into_inner);
        times.buckets[at.unwrap_or(PUSH_BOUNDS_S.len())] += 1;
        times.sum += seconds;
    }

    /// The dataset was rolled back.
    pub(crate) fn rolled_back(&self) {
        self.rollbacks.fetch_add(1, Relaxed);
    }

    /// This is served from now on.
    pub(crate) fn serves(&self, served: Served) {
        *self.served.lock().unwrap_or_else(PoisonError::into_inner) = served;
    }

    /// So many versions are on disk, of so many bytes together.
    pub(crate) fn keeps(&self, versions: u64, bytes: u64) {
        self.versions.store(versions, Relaxed);
        self.disk_bytes.store(bytes, Relaxed);
    }

    fn lookups(&self) -> [(&'static str, u64); 3] {
        let sum = |pick: fn(&LookupCounts) -> &AtomicU64| {
            self.lookups.iter().map(|shard| pick(shard).load(Relaxed)).sum()
        };
        [("hit", sum(|s| &s.hit)), ("miss", sum(|s| &s.miss)), ("error", sum(|s| &s.error))]
    }
}

/// One thread's share of a dataset's lookups; on cache lines of its own (two, since
/// processors fetch them in pairs).
#[derive(Debug, Default)]
#[repr(align(128))]
struct LookupCounts {
    hit: AtomicU64,
    miss: AtomicU64,
    error: AtomicU64,
}

/// One thread's share of the lookup times.
#[derive(Debug, Default)]
#[repr(align(128))]
struct LookupTimes {
    buckets: [AtomicU64; LOOKUP_BOUNDS_NS.len() + 1],
    sum_ns: AtomicU64,
}

#[derive(Debug, Default)]
struct PushTimes {
    buckets: [u64; PUSH_BOUNDS_S.len() + 1],
    sum: f64,
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
        let mut other = self.other.lock().unwrap_or_else(PoisonError::into_inner);
        *other.entry(status.as_u16()).or_default() += 1;
    }

    fn all(&self) -> BTreeMap<u16, u64> {
        let mut all = self.other.lock().unwrap_or_else(PoisonError::into_inner).clone();
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
                        dataset.looked_up(true);
                        metrics.looked_up_in(Duration::from_micros(7));
                        metrics.request(Some("/x"), StatusCode::OK);
                        metrics.request(Some("/x"), StatusCode::NOT_FOUND);
                    }
                    dataset.looked_up_many(5, 7);
                    dataset.lookup_failed();
                });
            }
        });
        let page = metrics.render();
        for line in [
            r#"tidetable_lookups_total{dataset="recs",result="hit"} 20100"#,
            r#"tidetable_lookups_total{dataset="recs",result="miss"} 140"#,
            r#"tidetable_lookups_total{dataset="recs",result="error"} 20"#,
            r#"tidetable_lookup_seconds_bucket{le="0.000005"} 0"#,
            r#"tidetable_lookup_seconds_bucket{le="0.00001"} 20000"#,
            r#"tidetable_lookup_seconds_bucket{le="+Inf"} 20000"#,
            "tidetable_lookup_seconds_count 20000",
            r#"tidetable_requests_total{route="/x",status="200"} 20000"#,
            r#"tidetable_requests_total{route="/x",status="404"} 20000"#,
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\nis not in\n{page}");
        }
    }

    #[test]
    fn the_gauges_follow_what_is_served() {
        let metrics = Arc::new(Metrics::new());
        let dataset = metrics.dataset(&name("recs"));
        let served =
            Served { version: 42, records: 7, bytes: 9, activated_at: 5, ..Served::default() };
        dataset.serves(served);
        dataset.serves(Served { held: true, ..served });
        dataset.rolled_back();
        dataset.keeps(3, 1234);
        dataset.pushed(PushOutcome::Rejected, Duration::from_secs(2));
        metrics.journal_is(99);
        let page = metrics.render();
        for line in [
            r#"tidetable_current_version{dataset="recs"} 42"#,
            r#"tidetable_held{dataset="recs"} 1"#,
            r#"tidetable_activated_timestamp_seconds{dataset="recs"} 5"#,
            r#"tidetable_rollbacks_total{dataset="recs"} 1"#,
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
        assert!(!metrics.render().contains("recs"));
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
