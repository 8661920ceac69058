//! The thread that gives up old versions: now and then, and soon after somebody asks.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context as _;
use tracing::{info, warn};

use crate::state::{AppState, count_dataset};

/// How often old versions and abandoned pushes are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Sweep,
    Stop,
}

/// Asks for a sweep.
#[derive(Clone, Debug)]
pub(crate) struct Broom(Sender<Asked>);

impl Broom {
    /// There may be something to give up: it is looked for soon, without anybody waiting.
    pub(crate) fn sweep_soon(&self) {
        // The thread ends with the server alone.
        let _ = self.0.send(Asked::Sweep);
    }
}

/// The thread, not started yet.
pub(crate) struct Sweeper {
    broom: Broom,
    asked: Receiver<Asked>,
}

/// The thread, running.
pub(crate) struct Sweeping {
    broom: Broom,
    thread: JoinHandle<()>,
}

impl Sweeper {
    pub(crate) fn new() -> Self {
        let (asking, asked) = channel();
        Self { broom: Broom(asking), asked }
    }

    /// What requests ask for a sweep with.
    pub(crate) fn broom(&self) -> Broom {
        self.broom.clone()
    }

    pub(crate) fn start(self, app: &AppState) -> anyhow::Result<Sweeping> {
        let app = AppState::clone(app);
        let Self { broom, asked } = self;
        let thread = thread::Builder::new()
            .name("sweep".to_owned())
            .spawn(move || run(&asked, SWEEP_EVERY, || sweep(&app)))
            .context("cannot start the thread that sweeps")?;
        Ok(Sweeping { broom, thread })
    }
}

impl Sweeping {
    /// Ends the thread, after the sweep that runs.
    pub(crate) fn stop(self) {
        let _ = self.broom.0.send(Asked::Stop);
        let _ = self.thread.join();
    }
}

fn run(asked: &Receiver<Asked>, every: Duration, mut sweep: impl FnMut()) {
    loop {
        let mut last = asked.recv_timeout(every);
        // Those who ask at once are served by one sweep.
        while last == Ok(Asked::Sweep) {
            let Ok(next) = asked.try_recv() else { break };
            last = Ok(next);
        }
        match last {
            Ok(Asked::Sweep) | Err(RecvTimeoutError::Timeout) => sweep(),
            Ok(Asked::Stop) | Err(RecvTimeoutError::Disconnected) => return,
        }
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
        let sweeper = Sweeper::new();
        let broom = sweeper.broom();
        for _ in 0..3 {
            broom.sweep_soon();
        }
        let mut swept = 0;
        run(&sweeper.asked, LONG, || {
            swept += 1;
            // The last one who asks is served too, before the end.
            match swept {
                1 => broom.sweep_soon(),
                _ => broom.0.send(Asked::Stop).unwrap(),
            }
        });
        assert_eq!(swept, 2);
    }

    #[test]
    fn it_sweeps_now_and_then_without_being_asked() {
        let sweeper = Sweeper::new();
        let mut swept = 0;
        run(&sweeper.asked, Duration::from_millis(1), || {
            swept += 1;
            if swept == 3 {
                sweeper.broom.0.send(Asked::Stop).unwrap();
            }
        });
        assert_eq!(swept, 3);
    }
}
