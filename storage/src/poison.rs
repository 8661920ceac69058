//! Locks that are taken even when a thread panicked while it had them.
//!
//! A panic is to cost the request, the push or the turn that it came in. A server that gave its locks
//! up with it would refuse lookups, or could not roll back, while nothing is wrong with what it has.
//! To go on is safe, since what a lock guards here is whole wherever a panic can come:
//!
//! - queues, signals, counts, and what is remembered of each dataset: every statement leaves them whole.
//!   At worst something was not counted, or is looked for once more;
//! - nothing (`Mutex<()>`), where one thing is done by one thread at a time: what was half made on the
//!   disk has another name, or is made anew;
//! - the journal: it counts a record when that is on the disk, and takes none while it does not know;
//! - the catalogue: it takes in only what it has planned itself, or the journal gave it, and refuses
//!   none of that.
//!
//! A place that is not to go on says so itself: what copies hot records gives up those it was copying.

use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult};

/// For what waits for a lock, of a `Mutex`, an `RwLock` or a `Condvar`, and for what tries to take one.
pub trait EvenPoisoned {
    /// What the lock gives.
    type Guard;

    /// What the lock gives, also after a panic.
    fn even_poisoned(self) -> Self::Guard;
}

impl<G> EvenPoisoned for LockResult<G> {
    type Guard = G;

    fn even_poisoned(self) -> G {
        self.unwrap_or_else(PoisonError::into_inner)
    }
}

impl<G> EvenPoisoned for TryLockResult<G> {
    /// `None` if somebody has it.
    type Guard = Option<G>;

    fn even_poisoned(self) -> Option<G> {
        match self {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::thread;

    use super::*;

    #[test]
    fn a_lock_is_taken_though_a_thread_panicked_with_it() {
        let count = Mutex::new(0);
        let ended = thread::scope(|scope| {
            let panics = || {
                let mut count = count.lock().even_poisoned();
                *count += 1;
                panic!("on purpose");
            };
            scope.spawn(panics).join()
        });
        assert!(ended.is_err() && count.is_poisoned());
        let taken = count.lock().even_poisoned();
        assert_eq!(*taken, 1);
        assert!(count.try_lock().even_poisoned().is_none(), "somebody has it");
        drop(taken);
        assert_eq!(count.try_lock().even_poisoned().map(|count| *count), Some(1));
    }
}
