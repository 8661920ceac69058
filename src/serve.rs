//! `tidetable serve`, from its settings to its end: open the directory, listen, start what runs
//! beside requests (`background.rs`), answer them, stop.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use tidetable_storage::{Cause, Keep, Recovered, Recovery, Store, StoreOptions};
use tracing::{info, warn};

use crate::access;
use crate::background::Background;
use crate::config::ServeConfig;
use crate::http;
use crate::ingest::GrowthLimits;
use crate::metrics::Metrics;
use crate::open_files::OpenFiles;
use crate::pushes::{BuildSettings, Checks, Pushes, Sizes};
use crate::server::{self, Ended, Limits, Listening, Service, Stop};
use crate::state::App;
use crate::telemetry;
use crate::tls::Tls;
use crate::webhooks::Webhooks;

/// Serves until a signal says to stop.
pub(crate) fn serve_until_stopped(mut config: ServeConfig) -> anyhow::Result<()> {
    tidetable_storage::make_files_private();
    telemetry::start(config.log_format, &config.log_level)?;
    let stop = Stop::new();
    stop.on_signals()?;
    let metrics = Arc::new(Metrics::new());
    let tls = Tls::load(&config, &metrics)?;
    // Told also of what the start itself does: a push that the last stop had cut off fails.
    let webhooks = Webhooks::new(config.webhooks.clone(), Arc::clone(&metrics));
    let files = OpenFiles::raise();
    let (store, recovery) = open(&config, &webhooks, files)?;
    // Listening comes after the directory's lock: a second server on the same directory
    // says so instead of taking a port.
    let listening = Listening::bind(config.listen.0)?;
    // Port 0 has become the one that was free.
    config.listen.0 = listening.address();
    let limits = Limits::from(&config);
    metrics.count_after(store.catalog().seq());
    let pushes = queue_pushes(&config, &store, &metrics, recovery);
    let app = Arc::new(App::new(store, pushes, Arc::clone(&metrics), config, stop, webhooks));
    announce(&app, if tls.is_some() { "https" } else { "http" });
    files.compare(&app.store, app.config.max_connections.0);
    let background = Background::start(&app, tls.as_ref())?;
    let service = Service { tls, ..http::service(&app) };
    let ended = server::serve(listening, &service, &limits, &metrics, &app.stop)?;
    background.stop();
    match ended {
        Ended::Drained => info!("stopped; every request was answered"),
        Ended::CutOff(requests) => warn!(requests, "stopped; requests were cut off"),
    }
    Ok(())
}

/// Opens the data directory, and says what it has come back from.
fn open(
    config: &ServeConfig,
    webhooks: &Webhooks,
    files: OpenFiles,
) -> anyhow::Result<(Arc<Store>, Recovery)> {
    let (store, recovery) = Store::open(&config.data, store_options(config, webhooks, files))?;
    tell(&recovery);
    check_access(config, &store)?;
    Ok((Arc::new(store), recovery))
}

/// The queue of pushes, with those that the last stop has left without their end.
fn queue_pushes(
    config: &ServeConfig,
    store: &Arc<Store>,
    metrics: &Arc<Metrics>,
    recovery: Recovery,
) -> Arc<Pushes> {
    let pushes = Pushes::new(Arc::clone(store), Arc::clone(metrics), build_settings(config));
    // Those that are built already only lack their activation; the queue sees to both.
    for push in recovery.unactivated.into_iter().chain(recovery.unfinished) {
        pushes.enqueue(push, Cause::by_the_server());
    }
    pushes
}

/// Says where it listens. Whoever started it need not read this: the log says the address too.
fn announce(app: &App, scheme: &str) {
    let address = app.config.listen.0;
    let version = env!("CARGO_PKG_VERSION");
    let _ = writeln!(std::io::stdout(), "tidetable {version} listening on {scheme}://{address}");
    info!(data = %app.config.data.display(), %address, "serving");
}

/// Who may reach this server, and read its files.
fn check_access(config: &ServeConfig, store: &Store) -> anyhow::Result<()> {
    let has_tokens = !store.catalog().tokens().never_were();
    let (address, tls) = (config.listen.0, config.has_tls());
    access::check_address(address, config.insecure.0, tls, has_tokens)
        .map_err(anyhow::Error::msg)?;
    if !has_tokens {
        warn!(
            %address,
            "access is open: whoever reaches this address may do everything, until the first token \
             is made (tidetable token create)"
        );
    } else if !address.ip().is_loopback() && !tls {
        warn!(%address, "insecure: tokens and values can be read on their way");
    }
    if tidetable_storage::is_readable_by_others(&config.data) {
        warn!(data = %config.data.display(), "other users of this machine may look into the data directory: chmod 700");
    }
    Ok(())
}

fn store_options(config: &ServeConfig, webhooks: &Webhooks, files: OpenFiles) -> StoreOptions {
    let receiving = u64::try_from(config.part_retention.0.as_millis()).unwrap_or(u64::MAX);
    StoreOptions {
        block_cache_bytes: config.block_cache.as_usize(),
        keep: Keep { receiving, ..Keep::default() },
        // A directory that could not be removed, until the next start; a version that gates
        // could not compare with.
        report: |error| warn!(%error, "the store went on without this"),
        listener: webhooks.listener(),
        max_files: files.of_versions,
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
    if let [first, ..] = &recovery.strangers[..] {
        let entries = recovery.strangers.len();
        warn!(path = %first.display(), entries, "what no server made lies where pushes are received: it is left alone");
    }
    info!(events = recovery.events, unfinished = recovery.unfinished.len(), "read the journal");
}
