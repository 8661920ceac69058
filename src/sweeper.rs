//! The thread that gives up old versions: now and then, and soon after somebody asks.

use std::time::Duration;

use anyhow::Context as _;
use tracing::{info, warn};

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

fn sweep(app: &AppState) {
    match app.store.sweep() {
        Ok(swept) => {
            app.pushes.look_again();
            for (dataset, version) in swept.deleted.iter().chain(&swept.abandoned) {
                info!(%dataset, version = version.0, "given up");
                count_dataset(&app.store, &app.metrics, dataset);
            }
        }
        Err(error) => warn!(%error, "old versions could not be given up"),
    }
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
