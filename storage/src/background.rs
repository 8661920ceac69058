//! Work beside lookups: how many threads it takes, and how it gives way to them.
//!
//! To be nice is not enough: a nice thread, once it runs, keeps its processor to the end of its
//! time slice. That is one to four milliseconds, a hundred times what a lookup takes. From a thread
//! of the class `SCHED_IDLE` Linux takes the processor at once when any other thread wants it
//! (sched(7)). The price: where all processors are always busy, such a thread gets next to nothing.

use std::num::NonZero;
use std::path::Path;
use std::thread::{self, JoinHandle};

use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

use crate::error::{Code, Error, Result};

/// From now on this thread, and every thread and process that it starts, gets what others leave
/// of the processors. It cannot be taken back: without privileges nobody may raise a priority.
///
/// Not for whoever takes a lock that a request may wait for.
pub fn give_way() {
    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    if set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle).is_err() {
        be_nice();
    }
}

/// From now on this thread lets others go first, but is not starved where all processors are always
/// busy. Best effort: where the system refuses, the work is done all the same.
pub fn be_nice() {
    let _ = rustix::process::nice(19);
}

/// More threads than this gain little, and a build is not to take the whole machine.
pub(crate) const MAX_THREADS: usize = 4;

/// How many threads are worth while for one step of a build here: 1 to 4.
pub fn build_threads() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS)
}

/// Starts a thread for a step of a build in `dir`.
pub(crate) fn spawn<T: Send + 'static>(
    name: &str,
    dir: &Path,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map_err(|e| Error::io("start a thread that builds", dir, e))
}

/// Waits for a thread's end. Its panic is that of whoever waits.
pub(crate) fn join<T>(thread: JoinHandle<T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// What somebody is told who goes on with a build of which a step has failed.
pub(crate) fn stopped<T>() -> Result<T> {
    let text = "a build goes on after an error: this is a fault in the program, please report it";
    Err(Error::new(Code::IoFailed, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use thread_priority::thread_schedule_policy;

    #[test]
    fn a_thread_that_gives_way_hands_that_on_and_others_are_as_before() {
        let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
        let its_child = thread::spawn(|| {
            give_way();
            thread::spawn(thread_schedule_policy).join().unwrap()
        });
        assert_eq!(its_child.join().unwrap(), Ok(idle));
        assert_ne!(thread_schedule_policy(), Ok(idle));
    }
}
