//! Work beside lookups: how many threads it takes, and how it gives way to them.
//!
//! A thread that was merely nice would still be left at it, once it runs, until its time slice
//! is over: one to four milliseconds, a hundred times what a lookup takes. Linux takes the
//! processor from a thread of the class `SCHED_IDLE` the moment that any other wants it
//! (sched(7)). Where all processors are always busy, such a thread gets next to nothing.

use std::num::NonZero;

use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

/// From now on this thread, and every thread and process that it starts, gets what others leave
/// of the processors. It cannot be taken back: without privileges nobody may raise a priority.
///
/// Not for whoever takes a lock that a request may wait for.
pub fn give_way() {
    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    if set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle).is_err() {
        // Best effort: where the system refuses, the work is done all the same.
        let _ = rustix::process::nice(19);
    }
}

/// More threads than this gain little, and a build is not to take the whole machine.
pub(crate) const MAX_THREADS: usize = 4;

/// How many threads are worth while for one step of a build here: 1 to 4.
pub fn build_threads() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use thread_priority::thread_schedule_policy;

    #[test]
    fn a_thread_that_gives_way_hands_that_on_and_others_are_as_before() {
        let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
        let its_child = std::thread::spawn(|| {
            give_way();
            std::thread::spawn(thread_schedule_policy).join().unwrap()
        });
        assert_eq!(its_child.join().unwrap(), Ok(idle));
        assert_ne!(thread_schedule_policy(), Ok(idle));
    }
}
