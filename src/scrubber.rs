//! The thread that reads every version that is kept again, about once a day, for damage that
//! has come to the disk meanwhile: `Store` says which was read longest ago, `reading.rs` reads it,
//! and a request may ask for any version at once.
//!
//! It gives way: the reading itself is done by a thread that takes of processors and disks what
//! others leave, never faster than `scrub_rate`, and past the kernel's cache, so that it
//! neither holds a lookup up nor drives out of memory what is looked up.

mod reading;

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tidetable_storage::{DatasetName, Millis, Version, now};
use tracing::warn;

use crate::state::AppState;

pub(crate) use reading::{Scrubs, Verified, Verifying};

/// How often it looks whether a version is due.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How often what was found is put on the disk, unless it is damage: that is at once.
const KEEP_EVERY: Duration = Duration::from_secs(60);

/// The thread, running.
pub(crate) struct Scrubbing {
    stopped: Arc<Stopped>,
    thread: JoinHandle<()>,
}

/// Starts it, unless the settings say that there is to be none.
pub(crate) fn start(app: &AppState) -> anyhow::Result<Option<Scrubbing>> {
    let interval = app.config.scrub_interval.0;
    if interval.is_zero() {
        return Ok(None);
    }
    let stopped = Arc::new(Stopped::default());
    let (app, stops) = (AppState::clone(app), Arc::clone(&stopped));
    let run =
        move || run(&app, Millis::try_from(interval.as_millis()).unwrap_or(Millis::MAX), &stops);
    let thread = thread::Builder::new()
        .name("scrub".to_owned())
        .spawn(run)
        .context("cannot start the thread that reads versions again")?;
    Ok(Some(Scrubbing { stopped, thread }))
}

impl Scrubbing {
    /// Ends the thread. The version that is read is read again another time.
    pub(crate) fn stop(self) {
        self.stopped.now();
        let _ = self.thread.join();
    }
}

fn run(app: &AppState, interval: Millis, stopped: &Stopped) {
    let mut kept_at = Instant::now();
    let look_every = LOOK_EVERY.min(Duration::from_millis(interval));
    loop {
        let order = app.store.by_last_reading();
        let due_in = |at: Millis| at.saturating_add(interval).saturating_sub(now());
        let mut wait = order
            .first()
            .map_or(look_every, |(_, at)| Duration::from_millis(due_in(*at)).min(look_every));
        for (of, _) in order.iter().take_while(|(_, at)| due_in(*at) == 0) {
            if !read(app, of, stopped) {
                // For a reason that may pass; the others do not wait for that.
                wait = look_every;
            }
            if stopped.within(Duration::ZERO) {
                return keep(app);
            }
            if kept_at.elapsed() >= KEEP_EVERY {
                keep(app);
                kept_at = Instant::now();
            }
        }
        if stopped.within(wait) {
            return keep(app);
        }
    }
}

/// Reads one version, unless it is gone or the server stops. `false`: it could not be read.
fn read(app: &AppState, (dataset, version): &(DatasetName, Version), stopped: &Stopped) -> bool {
    // Deleted since it was chosen.
    let Ok(stored) = app.store.stored_version(dataset, *version) else { return true };
    let paced = paced(app.config.scrub_rate.0, Instant::now, |time| stopped.within(time));
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

/// Whether the thread is to end.
#[derive(Debug, Default)]
struct Stopped {
    is: Mutex<bool>,
    changed: Condvar,
}

impl Stopped {
    fn now(&self) {
        *self.is.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Waits that long, or until it is to end: whether it is.
    fn within(&self, time: Duration) -> bool {
        let is = self.is.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(is, time, |is| !*is);
        *waited.unwrap_or_else(PoisonError::into_inner).0
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

    #[test]
    fn a_wait_ends_when_it_is_told_to() {
        let stopped = Stopped::default();
        assert!(!stopped.within(Duration::from_millis(1)));
        thread::scope(|scope| {
            let waiting = scope.spawn(|| stopped.within(Duration::from_secs(3600)));
            stopped.now();
            assert!(waiting.join().unwrap());
        });
        assert!(stopped.within(Duration::ZERO));
    }
}
