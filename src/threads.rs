//! Threads beside those that serve: one that does something now and then until it is told to end, and
//! what is said where the system gives none.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tidetable_storage::{Code, Error, EvenPoisoned as _};

/// A thread that waits for its next turn, works, and waits again.
#[derive(Debug)]
pub(crate) struct Ticker {
    ticks: Ticks,
    thread: JoinHandle<()>,
}

impl Ticker {
    /// Starts the thread. `work` says itself when its turns are, by [`Ticks::wait`], and comes to
    /// its end once that says so.
    pub(crate) fn start(
        name: &str,
        ticks: Ticks,
        work: impl FnOnce(&Ticks) + Send + 'static,
    ) -> io::Result<Self> {
        let own = ticks.clone();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || work(&own))?;
        Ok(Self { ticks, thread })
    }

    /// Tells the thread to end, and waits until it has.
    pub(crate) fn stop(self) {
        self.ticks.stop();
        let _ = self.thread.join();
    }
}

/// When a thread works: between whoever wakes or ends it, and itself. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ticks(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    signals: Mutex<Signals>,
    changed: Condvar,
}

/// What was signalled to the thread, and it has not heeded yet.
#[derive(Debug, Default)]
struct Signals {
    wake: bool,
    stop: bool,
}

impl Ticks {
    /// The next turn comes now, or as soon as this one is over. Those who wake the thread meanwhile
    /// are served by one turn.
    pub(crate) fn wake(&self) {
        self.signals().wake = true;
        self.0.changed.notify_all();
    }

    /// There are no more turns.
    pub(crate) fn stop(&self) {
        self.signals().stop = true;
        self.0.changed.notify_all();
    }

    /// Waits that long, or until somebody wakes the thread: `false` if it is to end.
    pub(crate) fn wait(&self, time: Duration) -> bool {
        let nothing_new = |signals: &mut Signals| !signals.wake && !signals.stop;
        let waited = self.0.changed.wait_timeout_while(self.signals(), time, nothing_new);
        let (mut signals, _) = waited.even_poisoned();
        signals.wake = false;
        !signals.stop
    }

    /// Whether the thread is to end: for work that takes long.
    pub(crate) fn are_over(&self) -> bool {
        self.signals().stop
    }

    fn signals(&self) -> MutexGuard<'_, Signals> {
        self.0.signals.lock().even_poisoned()
    }
}

/// Why there is no thread for what was asked.
pub(crate) fn no_thread(error: io::Error) -> Error {
    Error::new(Code::IoFailed, "the system gives no thread for this: ask again").because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn a_wait_ends_when_it_is_told_to() {
        let ticks = Ticks::default();
        assert!(ticks.wait(Duration::from_millis(1)));
        thread::scope(|scope| {
            let waiting = scope.spawn(|| ticks.wait(LONG));
            ticks.stop();
            assert!(!waiting.join().unwrap());
        });
        assert!(!ticks.wait(Duration::ZERO) && ticks.are_over());
    }

    #[test]
    fn a_thread_that_is_woken_works_and_one_that_is_stopped_has_ended() {
        let ticks = Ticks::default();
        let (work, worked) = std::sync::mpsc::channel();
        let ticker = Ticker::start("ticks", ticks.clone(), move |ticks| {
            while ticks.wait(LONG) {
                work.send("a turn").unwrap();
            }
            work.send("the end").unwrap();
        });
        ticks.wake();
        assert_eq!(worked.recv(), Ok("a turn"));
        // One that is to end does not first do what it was woken for.
        ticks.stop();
        ticks.wake();
        ticker.unwrap().stop();
        assert_eq!(worked.try_iter().collect::<Vec<_>>(), ["the end"]);
    }
}
