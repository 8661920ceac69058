//! Whether a client takes its answers fast enough.
//!
//! The same as for bodies that arrive: a client has some credit, time that is waited for it uses
//! that up, and bytes bring it back. The sweep of the worker counts here, so that sending reads no
//! clock. Bytes count as taken once the kernel has them: of each connection it holds a few megabytes
//! at most.

use std::time::{Duration, Instant};

use super::body::Pace;
use super::shared::Turn;

/// What the sweep remembers of one connection.
#[derive(Debug)]
pub(super) struct Taking {
    looked: Instant,
    /// Whether it was the client's turn then.
    waited: bool,
    /// How many bytes there were in all.
    bytes: u64,
    /// How long the client may be waited for.
    credit: Duration,
}

impl Taking {
    pub(super) fn begin(now: Instant, pace: Pace) -> Self {
        Self { looked: now, waited: false, bytes: 0, credit: pace.silence }
    }

    /// Looks again; whether the client is too slow. `bytes`: how many the kernel has taken so far.
    pub(super) fn is_too_slow(&mut self, now: Instant, turn: Turn, bytes: u64, pace: Pace) -> bool {
        let waits = turn == Turn::Client;
        // Time that the server takes itself does not count.
        let waited =
            if self.waited && waits { now.duration_since(self.looked) } else { Duration::ZERO };
        let taken = bytes.saturating_sub(self.bytes);
        (self.looked, self.waited, self.bytes) = (now, waits, bytes);
        if pace.rate == 0 || turn == Turn::Nobody {
            self.credit = pace.silence;
            return false;
        }
        let gained = Duration::from_secs_f64(taken as f64 / pace.rate as f64);
        let credit = self.credit.saturating_add(gained);
        self.credit = credit.saturating_sub(waited).min(pace.silence);
        waited > credit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { silence: Duration::from_secs(30), rate: 1000 };

    /// After how many seconds a client is too slow of which `turn` and bytes are these, by the
    /// second, if it is within an hour.
    fn cut_after(pace: Pace, seen: impl Fn(u64) -> (Turn, u64)) -> Option<u64> {
        let began = Instant::now();
        let mut taking = Taking::begin(began, pace);
        (0..3600).find(|&second| {
            let (turn, bytes) = seen(second);
            taking.is_too_slow(began + Duration::from_secs(second), turn, bytes, pace)
        })
    }

    #[test]
    fn a_client_below_the_rate_is_cut_and_one_at_it_is_not() {
        let steady = |rate: u64| move |second: u64| (Turn::Client, 1_000_000 + second * rate);
        assert_eq!(cut_after(PACE, steady(0)), Some(31));
        assert_eq!(cut_after(PACE, steady(100)), Some(34));
        assert!(cut_after(PACE, steady(900)).is_some());
        assert_eq!(cut_after(PACE, steady(1000)), None);
        assert_eq!(cut_after(Pace { rate: 0, ..PACE }, steady(1)), None);
    }

    #[test]
    fn bytes_may_come_in_leaps() {
        let leaps = |bytes: u64| move |second: u64| (Turn::Client, second / 25 * bytes);
        assert_eq!(cut_after(PACE, leaps(26_000)), None);
        assert!(cut_after(PACE, leaps(10_000)).is_some());
        // However much came at once: credit is for the timeout and no longer.
        assert_eq!(cut_after(PACE, |_| (Turn::Client, 1 << 40)), Some(31));
    }

    #[test]
    fn what_the_server_takes_itself_does_not_count_and_each_answer_begins_anew() {
        assert_eq!(cut_after(PACE, |_| (Turn::Server, 0)), None);
        let by_turns = |second: u64| {
            if second.is_multiple_of(2) { (Turn::Client, 0) } else { (Turn::Server, 0) }
        };
        assert_eq!(cut_after(PACE, by_turns), None);
        let answers = |second: u64| {
            if second.is_multiple_of(20) { (Turn::Nobody, 0) } else { (Turn::Client, 0) }
        };
        assert_eq!(cut_after(PACE, answers), None);
    }
}
