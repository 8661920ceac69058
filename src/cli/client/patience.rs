//! What is asked again, how often, and with what pauses.

use std::time::{Duration, Instant};

use super::super::exit::{Exit, Failure, Retry};
use super::super::notes;
use crate::chance::chance;

/// `Retry-After` is followed up to here.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// What a pause leaves for the attempt after it, where all has to have ended by a certain time.
const LAST_ATTEMPT: Duration = Duration::from_millis(500);

/// How often, and with what pauses, a request is repeated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Attempts after the first.
    pub(crate) retries: u32,
    /// The first pause; each following one is twice as long, up to [`MAX_PAUSE`].
    pub(crate) first_pause: Duration,
    /// How long a server that cannot be reached is looked for, whatever is left of that.
    pub(crate) out_of_reach: Option<Duration>,
}

impl Patience {
    /// For a person who waits at the prompt.
    pub(crate) const PERSON: Self =
        Self { retries: 2, first_pause: Duration::from_millis(100), out_of_reach: None };

    /// For a batch job, which would rather wait for a restarting server than fail.
    pub(crate) fn job(retries: u32) -> Self {
        Self { retries, first_pause: Duration::from_millis(500), out_of_reach: None }
    }

    /// Repeats `attempt` while its failure is one that may pass, as often as there
    /// is patience and not after `until`, and says on standard error that it does.
    pub(super) fn persist<T>(
        &self,
        until: Option<Instant>,
        mut attempt: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut tried = 0;
        let began = Instant::now();
        loop {
            let failure = match attempt() {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            if failure.retry == Retry::Never || tried >= self.retries {
                return Err(failure);
            }
            let Some(pause) = in_time(self.pause(tried, failure.retry), until) else {
                return Err(failure);
            };
            let would_be = began.elapsed() + pause;
            let most = self.out_of_reach.filter(|_| failure.exit == Exit::Unreachable);
            if most.is_some_and(|most| would_be > most) {
                return Err(failure);
            }
            tried += 1;
            if pause >= Duration::from_millis(250) {
                notes::say(format_args!(
                    "{}; trying again in {:.1} s ({tried} of {})",
                    failure.message,
                    pause.as_secs_f64(),
                    self.retries
                ));
            }
            std::thread::sleep(pause);
        }
    }

    fn pause(&self, attempt: u32, retry: Retry) -> Duration {
        let doubled = self.first_pause.saturating_mul(1 << attempt.min(10)).min(MAX_PAUSE);
        let least = match retry {
            Retry::After(told) => told.min(MAX_PAUSE),
            _ => doubled / 2,
        };
        // Half of the pause is chance, so that a hundred jobs do not come back at once.
        least + (doubled / 2).mul_f64(chance())
    }
}

/// As much of a pause as leaves time for one more attempt; `None` if there is none.
fn in_time(pause: Duration, until: Option<Instant>) -> Option<Duration> {
    let Some(until) = until else { return Some(pause) };
    let left = until.saturating_duration_since(Instant::now());
    left.checked_sub(LAST_ATTEMPT).map(|most| pause.min(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_ends_before_the_time_does() {
        let (pause, hour) = (Duration::from_secs(30), Duration::from_secs(3600));
        assert_eq!(in_time(pause, None), Some(pause));
        assert_eq!(in_time(pause, Some(Instant::now() + hour)), Some(pause));
        let shortened = in_time(2 * hour, Some(Instant::now() + hour)).unwrap();
        assert!(shortened <= hour - LAST_ATTEMPT, "{shortened:?}");
        assert_eq!(in_time(pause, Some(Instant::now())), None);
    }

    #[test]
    fn pauses_grow_stay_bounded_and_follow_the_server() {
        let patience = Patience::job(6);
        for attempt in 0..20 {
            let pause = patience.pause(attempt, Retry::Soon);
            assert!(pause <= MAX_PAUSE && pause >= Duration::from_millis(250), "{pause:?}");
        }
        assert!(patience.pause(5, Retry::Soon) > patience.pause(0, Retry::Soon));
        assert!(patience.pause(0, Retry::After(Duration::from_secs(3))) >= Duration::from_secs(3));
        assert!(patience.pause(0, Retry::After(Duration::from_secs(9999))) < MAX_PAUSE * 2);
    }
}
