//! What the server holds open, shared by all its requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use tidetable_storage::{DatasetName, State, Store};
use tokio::sync::Semaphore;

use crate::access::Access;
use crate::audit::Audit;
use crate::config::ServeConfig;
use crate::imports::Imports;
use crate::limiter::Limiter;
use crate::metrics::{CanaryGauges, Freshness, Metrics, ServedGauges};
use crate::pushes::{Pushes, Receiving};
use crate::rewrites::Rewrites;
use crate::scrubber::Scrubs;
use crate::series::Series;
use crate::server::Stop;
use crate::sweeper::Broom;
use crate::watches::{self, Watches};
use crate::webhooks::Webhooks;

/// The opened parts of a server; cheap to clone.
pub(crate) type AppState = Arc<App>;

/// The opened parts of a server.
#[derive(Debug)]
pub(crate) struct App {
    /// The data directory.
    pub(crate) store: Arc<Store>,
    /// The push path behind the store.
    pub(crate) pushes: Arc<Pushes>,
    /// Who may ask for what.
    pub(crate) access: Arc<Access>,
    /// What is counted.
    pub(crate) metrics: Arc<Metrics>,
    /// How each dataset was read, minute by minute.
    pub(crate) series: Series,
    /// When the server was started.
    pub(crate) started: SystemTime,
    /// How the server was configured.
    pub(crate) config: ServeConfig,
    /// Whether and how the server is to stop.
    pub(crate) stop: Stop,
    /// For requests after which there may be something to give up.
    pub(crate) broom: Broom,
    /// What was refused and denied, for the audit.
    pub(crate) audit: Audit,
    /// Whoever wants to be told.
    pub(crate) webhooks: Webhooks,
    /// Bodies of pushes that are received.
    pub(crate) receiving: Receiving,
    /// Pushes whose data is fetched, or waits to be.
    pub(crate) imports: Imports,
    /// What runs, and how much may.
    pub(crate) limiter: Arc<Limiter>,
    /// What is seen of versions that were activated lately.
    pub(crate) watches: Watches,
    /// Versions that are rewritten without erased keys.
    pub(crate) rewrites: Rewrites,
    /// What reading versions again counts, and who has asked for it.
    pub(crate) scrubs: Scrubs,
    /// Held by the scans that read: as many as there are threads that serve.
    pub(crate) scanning: Arc<Semaphore>,
    /// Held by the one comparison of versions that runs.
    pub(crate) comparing: tokio::sync::Mutex<()>,
    /// Set once every current version was opened, or could not be.
    opened: AtomicBool,
}

impl App {
    pub(crate) fn new(
        store: Arc<Store>,
        pushes: Arc<Pushes>,
        metrics: Arc<Metrics>,
        config: ServeConfig,
        stop: Stop,
        webhooks: Webhooks,
    ) -> Self {
        let (comparing, opened) = (tokio::sync::Mutex::default(), AtomicBool::new(false));
        let receiving = Receiving::new(&config);
        let limiter = Limiter::new(&config, &metrics);
        let scanning = Arc::new(Semaphore::new(config.threads.0));
        let (series, watches, scrubs) = (Series::new(), Watches::default(), Scrubs::default());
        let access = Arc::new(Access::new(Arc::clone(&metrics)));
        access.learn(&store);
        let (started, audit) = (SystemTime::now(), Audit::new(Arc::clone(&metrics)));
        Self {
            store,
            access,
            pushes,
            metrics,
            series,
            started,
            config,
            stop,
            broom: Broom::default(),
            audit,
            webhooks,
            watches,
            scrubs,
            receiving,
            rewrites: Rewrites::default(),
            imports: Imports::default(),
            limiter,
            scanning,
            comparing,
            opened,
        }
    }

    /// Every current version was opened, or could not be.
    pub(crate) fn has_opened(&self) {
        self.opened.store(true, Ordering::Release);
    }

    /// Whether the server answers every lookup it should.
    pub(crate) fn is_open(&self) -> bool {
        self.opened.load(Ordering::Acquire)
    }
}

/// Shows in the metrics what a dataset serves and keeps now. Waits for no disk.
pub(crate) fn count_dataset(store: &Store, metrics: &Metrics, name: &DatasetName) {
    let catalog = store.catalog();
    let Ok(dataset) = catalog.dataset(name) else {
        metrics.forget(name);
        return;
    };
    metrics.happened(name, dataset);
    let counted = metrics.dataset(name);
    counted.watched.is_fresh_like(Freshness::of(dataset));
    watches::notice(&counted, dataset);
    let kept = dataset.versions.values().filter(|entry| entry.state.has_files());
    let bytes: Vec<u64> = kept.filter_map(|e| e.stats.as_ref().map(|s| s.bytes)).collect();
    counted.keeps(bytes.len() as u64, bytes.iter().sum());
    let current = dataset.current.and_then(|v| Some((v, dataset.versions.get(&v)?)));
    let canary = dataset.canary.as_ref().map(|canary| CanaryGauges {
        version: canary.version.0,
        percent: canary.percent,
        started_at: canary.started_at,
    });
    let mut served =
        ServedGauges { held: dataset.hold.is_some(), canary, ..ServedGauges::default() };
    if let Some((version, entry)) = current.filter(|(_, e)| e.state == State::Active) {
        let stats = entry.stats.clone().unwrap_or_default();
        let as_of =
            entry.as_of.as_deref().and_then(|t| chrono::DateTime::parse_from_rfc3339(t).ok());
        served = ServedGauges {
            version: version.0,
            records: stats.records,
            bytes: stats.bytes,
            activated_at: entry.activated_at.unwrap_or_default() / 1000,
            as_of: as_of.and_then(|t| u64::try_from(t.timestamp()).ok()).unwrap_or_default(),
            ..served
        };
    }
    counted.serves(served);
}
