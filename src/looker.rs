//! The thread that looks which data is in memory, so that lookups of other data do not hold
//! up a thread that serves (`Snapshot::in_memory`), and copies what is looked up most of versions that
//! memory cannot hold.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tracing::warn;

use crate::state::AppState;

/// How often it looks, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// It rests for so many times as long as a look took: a hundredth of one processor, however
/// much data there is.
const REST: u32 = 100;

/// The thread, running.
pub(crate) struct Looking {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

pub(crate) fn start(app: &AppState) -> anyhow::Result<Looking> {
    let (stop, stopped) = channel();
    let app = AppState::clone(app);
    let thread = thread::Builder::new()
        .name("look".to_owned())
        .spawn(move || run(&app, &stopped))
        .context("cannot start the thread that looks what is in memory")?;
    Ok(Looking { stop, thread })
}

impl Looking {
    /// Ends the thread, after the look that it takes.
    pub(crate) fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

fn run(app: &AppState, stopped: &Receiver<()>) {
    // Those that serve do not wait until a look is over; but what is in memory must be known
    // also where all processors are busy.
    let _ = rustix::process::nice(19);
    let mut rest = LOOK_EVERY;
    let mut copying_is_due = Instant::now();
    while stopped.recv_timeout(rest).is_err() {
        let began = Instant::now();
        if let Err(error) = app.store.live().look() {
            warn!(%error, "it is not known which data is in memory; lookups may take longer");
        }
        rest = LOOK_EVERY.max(REST * began.elapsed());
        // Rests for itself: it takes longer, and how pages come and go is to be known meanwhile.
        if began >= copying_is_due {
            let began = Instant::now();
            app.store.live().keep_hot();
            copying_is_due = began + REST * began.elapsed();
        }
    }
}
