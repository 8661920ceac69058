//! The thread that gives up old versions: now and then, and soon after somebody asks.

use std::time::Duration;

use anyhow::Context as _;
use tidetable_storage::Store;
use tracing::{info, warn};

use crate::metrics::Metrics;
use crate::state::{AppState, count_dataset};
use crate::threads::{Ticker, Ticks};

/// How often old versions and abandoned pushes are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(30);

/// Asks for a sweep.
#[derive(Clone, Debug, Default)]
pub(crate) struct Broom(Ticks);

impl Broom {
    /// There may be something to give up: it is looked for soon, without anybody waiting.
    pub(crate) fn sweep_soon(&self) {
        self.0.wake();
    }
}

/// Starts the thread. It ends after the sweep that runs.
pub(crate) fn start(app: &AppState) -> anyhow::Result<Ticker> {
    let Broom(ticks) = app.broom.clone();
    let app = AppState::clone(app);
    Ticker::start("sweep", ticks, move |ticks| run(ticks, SWEEP_EVERY, || sweep(&app)))
        .context("cannot start the thread that sweeps")
}

fn run(ticks: &Ticks, every: Duration, mut sweep: impl FnMut()) {
    while ticks.wait(every) {
        sweep();
    }
}

/// Records what could not be recorded before, and gives up what is due.
pub(crate) fn sweep(app: &AppState) {
    app.pushes.record_all_given_up();
    if sweep_now(&app.store, &app.metrics) {
        app.pushes.look_again();
    }
}

/// Gives up what is due, and counts and tells it, of whatever dataset it is; whether that could be
/// done.
pub(crate) fn sweep_now(store: &Store, metrics: &Metrics) -> bool {
    let swept = match store.sweep() {
        Ok(swept) => swept,
        Err(error) => {
            warn!(%error, "old versions could not be given up");
            return false;
        }
    };
    for (dataset, _) in &swept.abandoned {
        metrics.dataset(dataset).got_no_data();
    }
    for (dataset, version) in swept.deleted.iter().chain(&swept.abandoned) {
        info!(%dataset, version = version.0, "given up");
        count_dataset(store, metrics, dataset);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn it_sweeps_when_it_is_asked_and_several_ask_for_one() {
        let broom = Broom::default();
        for _ in 0..3 {
            broom.sweep_soon();
        }
        let mut swept = 0;
        run(&broom.0, LONG, || {
            swept += 1;
            // The last one who asks is served too, before the end.
            match swept {
                1 => broom.sweep_soon(),
                _ => broom.0.stop(),
            }
        });
        assert_eq!(swept, 2);
    }

    #[test]
    fn it_sweeps_now_and_then_without_being_asked() {
        let broom = Broom::default();
        let mut swept = 0;
        run(&broom.0, Duration::from_millis(1), || {
            swept += 1;
            if swept == 3 {
                broom.0.stop();
            }
        });
        assert_eq!(swept, 3);
    }
}
