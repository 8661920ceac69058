//! What a server does beside answering requests: which threads it starts for that, and in which
//! order they end.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use anyhow::Context as _;
use tidetable_storage::{DatasetName, Error, Version};
use tracing::{error, info};

use crate::imports;
use crate::looker;
use crate::scrubber;
use crate::series;
use crate::state::{App, AppState, count_dataset};
use crate::sweeper;
use crate::threads::Ticker;
use crate::tls::Tls;
use crate::watches;

/// The threads, running.
pub(crate) struct Background {
    app: AppState,
    /// In the order in which they end.
    tickers: Vec<Ticker>,
    /// Looks after the certificate, and ends by itself once the server is asked to stop.
    reloading: Option<JoinHandle<()>>,
}

impl Background {
    /// Starts everything that is to run while `app` serves.
    pub(crate) fn start(app: &AppState, tls: Option<&Arc<Tls>>) -> anyhow::Result<Self> {
        app.pushes.start().context("cannot start the threads that build")?;
        app.audit.start(&app.store)?;
        open_what_is_served(app)?;
        let mut tickers = vec![sweeper::start(app)?];
        tickers.extend(looker::start(app)?);
        imports::start(app).context("cannot start the threads that import")?;
        app.webhooks.start().context("cannot start the thread that delivers webhooks")?;
        tickers.push(series::start(app)?);
        tickers.push(watches::start(app, Box::new(app.webhooks.clone()))?);
        let reloading = tls.map(|tls| tls.watch(&app.stop)).transpose()?;
        tickers.extend(scrubber::start(app)?);
        Ok(Self { app: AppState::clone(app), tickers, reloading })
    }

    /// Ends it, once no request runs any more. Of pushes, imports and rewrites no further one is begun;
    /// those that run are not waited for, since they would take long, and the next start tidies up
    /// behind them. Webhooks and the audit come last: all others may still have something to tell.
    pub(crate) fn stop(self) {
        let Self { app, tickers, reloading } = self;
        app.pushes.stop();
        app.imports.stop();
        app.rewrites.stop();
        tickers.into_iter().for_each(Ticker::stop);
        let _ = reloading.map(JoinHandle::join);
        app.webhooks.stop();
        app.audit.stop();
    }
}

/// Opens what is served while the server already answers; a lookup that comes first opens
/// what it needs itself. Nobody waits for it at the end: to open one version may take long.
fn open_what_is_served(app: &AppState) -> anyhow::Result<()> {
    let app = Arc::clone(app);
    let run = move || {
        open_served(&app, |dataset, version, error| {
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
pub(crate) fn open_served(app: &App, failed: impl Fn(&DatasetName, Version, &Error) + Sync) {
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
