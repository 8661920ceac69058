//! When a request is sent again, and after how long.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(2);

/// In tenths, so that the sum is exact.
const FULL: u32 = 100;
const CALL: u32 = 1;
const RETRY: u32 = 10;

/// What retries are drawn from, of the whole client: when a server fails for everybody, retries
/// must not double what it has to bear.
#[derive(Debug)]
pub(crate) struct Budget(Mutex<u32>);

impl Budget {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(FULL))
    }

    /// Each call puts something in.
    pub(crate) fn called(&self) {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *left = FULL.min(*left + CALL);
    }

    /// Takes a retry, if there is one.
    pub(crate) fn take(&self) -> bool {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let enough = *left >= RETRY;
        if enough {
            *left -= RETRY;
        }
        enough
    }
}

pub(crate) fn may_pass(status: u16) -> bool {
    matches!(status, 429 | 502 | 503 | 504)
}

/// How long to wait after so many tries: by chance, so that clients do not come together.
pub(crate) fn backoff(tries: u32) -> Duration {
    let most = LONGEST.min(FIRST * (1 << (tries - 1).min(10)));
    most.mul_f64(fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_retries_and_then_one_for_each_ten_calls() {
        let budget = Budget::new();
        assert_eq!((0..20).filter(|_| budget.take()).count(), 10);
        for _ in 0..9 {
            budget.called();
        }
        assert!(!budget.take());
        budget.called();
        assert!(budget.take());
        for _ in 0..1_000 {
            budget.called();
        }
        assert_eq!((0..20).filter(|_| budget.take()).count(), 10);
    }

    #[test]
    fn waits_grow_to_two_seconds() {
        for tries in 1..40 {
            assert!(backoff(tries) <= LONGEST.min(FIRST * 2_u32.pow((tries - 1).min(10))));
        }
    }
}
