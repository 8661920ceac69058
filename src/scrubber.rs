//! The thread that reads every version that is kept again, about once a day, for damage that
//! has come to the disk meanwhile: `Store` says which was read longest ago, `reading.rs` reads it,
//! and a request may ask for any version at once.
//!
//! It gives way: the reading itself is done by a thread that takes of processors and disks what
//! others leave, never faster than `scrub_rate`, and past the kernel's cache, so that it
//! neither holds a lookup up nor drives out of memory what is looked up.

mod reading;

use std::time::{Duration, Instant};

use anyhow::Context as _;
use tidetable_storage::{DatasetName, Millis, Version, now};
use tracing::warn;

use crate::state::AppState;
use crate::threads::{Ticker, Ticks};

pub(crate) use reading::{Scrubs, Verified, Verifying};

/// How often it looks whether a version is due.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How often what was found is put on the disk, unless it is damage: that is at once.
const KEEP_EVERY: Duration = Duration::from_secs(60);

/// Starts the thread, unless the settings say that there is to be none. When it ends, the version
/// that it reads is read again another time.
pub(crate) fn start(app: &AppState) -> anyhow::Result<Option<Ticker>> {
    let interval = app.config.scrub_interval.0;
    if interval.is_zero() {
        return Ok(None);
    }
    let interval = Millis::try_from(interval.as_millis()).unwrap_or(Millis::MAX);
    let app = AppState::clone(app);
    Ticker::start("scrub", Ticks::default(), move |ticks| run(&app, interval, ticks))
        .map(Some)
        .context("cannot start the thread that reads versions again")
}

fn run(app: &AppState, interval: Millis, ticks: &Ticks) {
    let mut kept_at = Instant::now();
    let look_every = LOOK_EVERY.min(Duration::from_millis(interval));
    let mut wait = Duration::ZERO;
    while ticks.wait(wait) {
        let order = app.store.by_last_reading();
        let due_in = |at: Millis| at.saturating_add(interval).saturating_sub(now());
        wait = order
            .first()
            .map_or(look_every, |(_, at)| Duration::from_millis(due_in(*at)).min(look_every));
        for (of, _) in order.iter().take_while(|(_, at)| due_in(*at) == 0) {
            if !read(app, of, ticks) {
                // For a reason that may pass; the others do not wait for that.
                wait = look_every;
            }
            if ticks.are_over() {
                break;
            }
            if kept_at.elapsed() >= KEEP_EVERY {
                keep(app);
                kept_at = Instant::now();
            }
        }
    }
    keep(app);
}

/// Reads one version, unless it is gone or the server stops. `false`: it could not be read.
fn read(app: &AppState, (dataset, version): &(DatasetName, Version), ticks: &Ticks) -> bool {
    // Deleted since it was chosen.
    let Ok(stored) = app.store.stored_version(dataset, *version) else { return true };
    let paced = paced(app.config.scrub_rate.0, Instant::now, |time| !ticks.wait(time));
    match reading::read(app, &stored, paced) {
        Ok(came) => {
            if reading::note(app, &stored, came).is_some_and(|finding| finding.damage.is_some()) {
                keep(app);
            }
            true
        }
        Err(error) => {
            warn!(%dataset, version = version.0, %error, "a version could not be read again; it is tried later");
            false
        }
    }
}

/// Holds reading back to so many bytes a second: is told the bytes of each stretch, and says whether
/// to stop, as `wait` does, which waits that long.
fn paced(
    rate: u64,
    clock: impl Fn() -> Instant,
    mut wait: impl FnMut(Duration) -> bool,
) -> impl FnMut(u64) -> bool {
    let mut last = clock();
    move |bytes| {
        // What one stretch was late is not made up for by the next ones.
        let takes = Duration::from_secs_f64(bytes as f64 / rate as f64);
        let is_over = wait(takes.saturating_sub(clock().saturating_duration_since(last)));
        last = clock();
        is_over
    }
}

fn keep(app: &AppState) {
    if let Err(error) = app.store.keep_findings() {
        warn!(%error, "what reading versions has found is not kept; after a restart they are read again");
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Whatever the disk does: no stretch, and so no number of them, comes faster than the rate.
    #[test]
    fn reading_is_held_back_to_the_rate() {
        // A stretch of 1 MiB takes a tenth of a second at this rate.
        const RATE: u64 = 10 << 20;
        let (start, past) = (Instant::now(), Cell::new(Duration::ZERO));
        let pass = |time: Duration| past.set(past.get() + time);
        let stop = Cell::new(false);
        let wait = |time: Duration| {
            pass(time);
            stop.get()
        };
        let mut paced = paced(RATE, || start + past.get(), wait);
        let stretches = [(10, 100), (100, 200), (250, 450), (0, 550), (40, 650)];
        for (reading, ends) in stretches {
            pass(Duration::from_millis(reading));
            assert!(!paced(1 << 20), "nobody has said that it is to stop");
            assert_eq!(past.get().as_millis(), ends, "read in {reading} ms");
        }
        // The last one of a file may be shorter.
        assert!(!paced(1 << 19));
        assert_eq!(past.get().as_millis(), 700);
        stop.set(true);
        assert!(paced(1 << 20));
    }
}
