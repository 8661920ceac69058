//! The threads that know what is read: one looks which data is in memory, so that lookups of
//! other data do not hold up a thread that serves (`Snapshot::in_memory`); the other copies what is
//! looked up most of versions that are large beside the memory.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tidetable_storage::be_nice;
use tracing::warn;

use crate::state::AppState;
use crate::threads::{Ticker, Ticks};

/// How often each works, at most.
const EVERY: Duration = Duration::from_secs(1);
/// Each rests for so many times as long as its work took of a processor: a hundredth of one, however
/// much data there is.
const REST: u32 = 100;

/// What one of the threads does now and then.
type Work = fn(&AppState);

/// Starts them. Each ends after the work that it does.
pub(crate) fn start(app: &AppState) -> anyhow::Result<[Ticker; 2]> {
    Ok([ticker("look", app, look)?, ticker("copy", app, copy)?])
}

fn ticker(name: &str, app: &AppState, work: Work) -> anyhow::Result<Ticker> {
    let app = AppState::clone(app);
    Ticker::start(name, Ticks::default(), move |ticks| run(&app, work, ticks))
        .with_context(|| format!("cannot start the thread {name}"))
}

fn run(app: &AppState, work: Work, ticks: &Ticks) {
    // Those that serve do not wait until this is over; but what is in memory must be known
    // also where all processors are busy.
    be_nice();
    let mut rest = EVERY;
    while ticks.wait(rest) {
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
