//! How many lines of one kind may be written: many at once, few for long.

use std::time::Instant;

/// Lines that may come at once.
const AT_ONCE: f64 = 1000.0;
/// Lines a second that may come for ever: 60 MB hold more than a day of them.
const A_SECOND: f64 = 1.0;

/// What is left to be written.
#[derive(Debug)]
pub(super) struct Allowance {
    left: f64,
    at: Instant,
}

impl Allowance {
    pub(super) fn new(now: Instant) -> Self {
        Self { left: AT_ONCE, at: now }
    }

    /// Whether one more line may be written now.
    pub(super) fn takes(&mut self, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + since * A_SECOND).min(AT_ONCE);
        self.at = now;
        let takes = self.left >= 1.0;
        if takes {
            self.left -= 1.0;
        }
        takes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn many_at_once_and_few_for_long() {
        let mut now = Instant::now();
        let mut allowance = Allowance::new(now);
        assert_eq!((0..5000).filter(|_| allowance.takes(now)).count(), 1000);
        now += Duration::from_secs(10);
        assert_eq!((0..5000).filter(|_| allowance.takes(now)).count(), 10);
        now += Duration::from_secs(86_400);
        assert_eq!((0..5000).filter(|_| allowance.takes(now)).count(), 1000);
    }
}
