//! `tidetable serve`, from its settings to its end: open the directory, listen, open what
//! is served, answer, stop.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use anyhow::Context as _;
use tidetable_storage::{
    Cause, DatasetName, Error, Keep, Recovered, Recovery, Store, StoreOptions, Version,
};
use tracing::{error, info, warn};

use crate::access;
use crate::config::ServeConfig;
use crate::http;
use crate::imports;
use crate::ingest::GrowthLimits;
use crate::looker;
use crate::metrics::Metrics;
use crate::open_files;
use crate::pushes::{BuildSettings, Checks, Pushes, Sizes};
use crate::scrubber;
use crate::series;
use crate::server::{self, Ended, Limits, Listening, Service, Stop};
use crate::state::{App, AppState, count_dataset};
use crate::sweeper::Sweeper;
use crate::telemetry;
use crate::tls::Tls;
use crate::watches;
use crate::webhooks::Webhooks;

/// Serves until a signal says to stop.
pub(crate) fn run(mut config: ServeConfig) -> anyhow::Result<()> {
    tidetable_storage::make_files_private();
    telemetry::start(config.log_format, &config.log_level)?;
    let stop = Stop::new();
    stop.on_signals()?;
    let metrics = Arc::new(Metrics::new());
    let tls = Tls::load(&config, &metrics)?;
    // Told also of what the start itself does: a push that the last stop had cut off fails.
    let webhooks = Webhooks::new(config.webhooks.clone(), Arc::clone(&metrics));
    let max_files = open_files::for_versions();
    let (store, recovery) =
        Store::open(&config.data, store_options(&config, &webhooks, max_files))?;
    let store = Arc::new(store);
    tell(&recovery);
    check_access(&config, &store)?;
    // Listening comes after the directory's lock: a second server on the same directory
    // says so instead of taking a port.
    let listening = Listening::bind(config.listen)?;
    // Port 0 has become the one that was free.
    config.listen = listening.address();
    metrics.count_after(store.catalog().seq());
    let pushes = Pushes::new(Arc::clone(&store), Arc::clone(&metrics), build_settings(&config));
    pushes.start().context("cannot start the threads that build")?;
    // Those that are built already only lack their activation; the queue sees to both.
    for push in recovery.unactivated.into_iter().chain(recovery.unfinished) {
        pushes.enqueue(push, Cause { actor: "tidetable".to_owned(), ..Cause::default() });
    }
    let limits = Limits::from(&config);
    let sweeper = Sweeper::new();
    let broom = sweeper.broom();
    let (counted, stopping) = (Arc::clone(&metrics), stop.clone());
    let app = Arc::new(App::new(store, pushes, counted, config, stopping, broom, webhooks));
    let scheme = if tls.is_some() { "https" } else { "http" };
    // Whoever started it need not read this: the log says the address too.
    let _ = writeln!(
        std::io::stdout(),
        "tidetable {} listening on {scheme}://{}",
        env!("CARGO_PKG_VERSION"),
        listening.address()
    );
    info!(data = %app.config.data.display(), address = %listening.address(), "serving");
    app.audit.start(&app.store)?;
    open_files::compare(&app.store, max_files);
    open_in_background(&app)?;
    let sweeping = sweeper.start(&app)?;
    let looking = looker::start(&app)?;
    imports::start(&app).context("cannot start the threads that import")?;
    app.webhooks.start().context("cannot start the thread that delivers webhooks")?;
    let sampling = series::start(&app)?;
    let watching = watches::start(&app, Box::new(app.webhooks.clone()))?;
    let reloading = tls.as_ref().map(|tls| tls.watch(&stop)).transpose()?;
    let scrubbing = scrubber::start(&app)?;
    let service = Service { tls, ..http::service(&app) };
    let ended = server::serve(listening, &service, &limits, &metrics, &stop)?;
    app.pushes.stop();
    app.imports.stop();
    app.rewrites.stop();
    sweeping.stop();
    looking.stop();
    sampling.stop();
    watching.stop();
    if let Some(scrubbing) = scrubbing {
        scrubbing.stop();
    }
    let _ = reloading.map(JoinHandle::join);
    app.webhooks.stop();
    app.audit.stop();
    match ended {
        Ended::Drained => info!("stopped; every request was answered"),
        Ended::CutOff(requests) => warn!(requests, "stopped; requests were cut off"),
    }
    Ok(())
}

/// Who may reach this server, and read its files.
fn check_access(config: &ServeConfig, store: &Store) -> anyhow::Result<()> {
    let has_tokens = !store.catalog().tokens().never_were();
    let tls = config.has_tls();
    access::check_address(config.listen, config.insecure.0, tls, has_tokens)
        .map_err(anyhow::Error::msg)?;
    if !has_tokens {
        warn!(
            address = %config.listen,
            "access is open: whoever reaches this address may do everything, until the first token \
             is made (tidetable token create)"
        );
    } else if !config.listen.ip().is_loopback() && !tls {
        warn!(address = %config.listen, "insecure: tokens and values can be read on their way");
    }
    if tidetable_storage::is_readable_by_others(&config.data) {
        warn!(data = %config.data.display(), "other users of this machine may look into the data directory: chmod 700");
    }
    Ok(())
}

fn store_options(config: &ServeConfig, webhooks: &Webhooks, max_files: u64) -> StoreOptions {
    let receiving = u64::try_from(config.part_retention.0.as_millis()).unwrap_or(u64::MAX);
    StoreOptions {
        block_cache_bytes: config.block_cache.as_usize(),
        keep: Keep { receiving, ..Keep::default() },
        // A directory that could not be removed, until the next start; a version that gates
        // could not compare with.
        report: |error| warn!(%error, "the store went on without this"),
        listener: webhooks.listener(),
        max_files,
        ..StoreOptions::default()
    }
}

fn build_settings(config: &ServeConfig) -> BuildSettings {
    // This program even if its file was replaced since it was started.
    let own = PathBuf::from("/proc/self/exe");
    let program = if own.exists() { Some(own) } else { std::env::current_exe().ok() };
    let checks = Checks {
        dir: config.checks_dir.clone(),
        timeout: config.check_timeout.0,
        guard: program.clone(),
    };
    BuildSettings {
        sort_memory: config.sort_memory.0,
        sizes: Sizes {
            key: config.max_key_bytes.as_usize(),
            value: config.max_value_bytes.as_usize(),
        },
        growth: GrowthLimits {
            ratio: config.max_decompression_ratio.0 as u64,
            bytes: config.max_decompressed_bytes.0,
        },
        give_way: config.pushes_give_way.0,
        at_once: config.builds_at_once.0,
        program: program.unwrap_or_else(|| PathBuf::from("tidetable")),
        checks,
    }
}

fn tell(recovery: &Recovery) {
    if let Some(bytes) = recovery.torn_bytes {
        warn!(bytes, "the journal ended in an append that a crash had cut short; it was removed");
    }
    for done in &recovery.done {
        match done {
            Recovered::Interrupted(dataset, version) => {
                warn!(%dataset, version = version.0, "a push was cut off by the last stop; it failed");
            }
            Recovered::Removed(path) => {
                info!(path = %path.display(), "removed what a crash had left behind");
            }
        }
    }
    info!(events = recovery.events, unfinished = recovery.unfinished.len(), "read the journal");
}

/// Opens what is served while the server already answers; a lookup that comes first opens
/// what it needs itself. Nobody waits for it at the end: to open one version may take long.
fn open_in_background(app: &AppState) -> anyhow::Result<()> {
    let app = Arc::clone(app);
    let run = move || {
        open(&app, |dataset, version, error| {
            error!(%dataset, version = version.0, %error, "a version cannot be served");
        });
    };
    thread::Builder::new()
        .name("open".to_owned())
        .spawn(run)
        .map(drop)
        .context("cannot start the thread that opens versions")
}

/// Opens what is served: from then on the server is ready, unless it is to stop. A version that cannot
/// be opened is told to `failed`.
pub(crate) fn open(app: &App, failed: impl Fn(&DatasetName, Version, &Error) + Sync) {
    let goes_on = || !app.stop.is_asked();
    app.store.open_current(app.config.threads.0, goes_on, failed);
    if !goes_on() {
        return;
    }
    let names: Vec<_> = app.store.live().at_one_instant().keys().cloned().collect();
    for name in &names {
        count_dataset(&app.store, &app.metrics, name);
    }
    app.has_opened();
    info!(datasets = names.len(), "ready");
}
