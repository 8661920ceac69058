//! The threads that know what is read: one looks which data is in memory, so that lookups of
//! other data do not hold up a thread that serves (`Snapshot::in_memory`); the other copies what is
//! looked up most of versions that are large beside the memory.

use std::fs;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tracing::warn;

use crate::state::AppState;

/// How often each works, at most.
const EVERY: Duration = Duration::from_secs(1);
/// Each rests for so many times as long as its work took of a processor: a hundredth of one, however
/// much data there is.
const REST: u32 = 100;

/// What one of the threads does now and then.
type Work = fn(&AppState);

/// The threads, running.
pub(crate) struct Looking {
    threads: Vec<(Sender<()>, JoinHandle<()>)>,
}

pub(crate) fn start(app: &AppState) -> anyhow::Result<Looking> {
    let works: [(&str, Work); 2] = [("look", look), ("copy", copy)];
    let threads = works.map(|(name, work)| {
        let (stop, stopped) = channel();
        let app = AppState::clone(app);
        let thread = thread::Builder::new().name(name.to_owned());
        let thread = thread.spawn(move || run(&app, work, &stopped));
        let thread = thread.with_context(|| format!("cannot start the thread {name}"))?;
        Ok((stop, thread))
    });
    Ok(Looking { threads: threads.into_iter().collect::<anyhow::Result<_>>()? })
}

impl Looking {
    /// Ends the threads, each after the work that it does.
    pub(crate) fn stop(self) {
        for (stop, thread) in self.threads {
            let _ = stop.send(());
            let _ = thread.join();
        }
    }
}

fn run(app: &AppState, work: Work, stopped: &Receiver<()>) {
    // Those that serve do not wait until this is over; but what is in memory must be known
    // also where all processors are busy.
    let _ = rustix::process::nice(19);
    let mut rest = EVERY;
    while stopped.recv_timeout(rest).is_err() {
        let (began, used) = (Instant::now(), processor_time());
        work(app);
        let took = processor_time().zip(used).map(|(now, before)| now.saturating_sub(before));
        rest = EVERY.max(REST * took.unwrap_or_else(|| began.elapsed()));
    }
}

fn look(app: &AppState) {
    if let Err(error) = app.store.live().look() {
        warn!(%error, "it is not known which data is in memory; lookups may take longer");
    }
}

fn copy(app: &AppState) {
    app.store.live().keep_hot();
}

/// What this thread has had of a processor, which is much less than the time that went by where others
/// go first; `None` if the system does not say.
fn processor_time() -> Option<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(text.split(' ').next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_thread_has_had_of_a_processor_is_known() {
        let before = processor_time().unwrap();
        let began = Instant::now();
        while processor_time().unwrap() == before {
            assert!(began.elapsed() < Duration::from_secs(60));
        }
    }
}
