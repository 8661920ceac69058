//! How long a thread that never waits is held up all the same: no server on that core can be better.
//!
//! It looks at the clock again and again. Two looks that lie far apart are a stall: the kernel ran something
//! else there, or the host of a virtual machine ran another machine.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::embedded::say;

/// Less is an interrupt, or the clock itself.
const LEAST: Duration = Duration::from_micros(20);
/// What is counted by itself.
const LONG: Duration = Duration::from_micros(500);

/// Looks for so many seconds, and says what it saw.
pub(crate) fn run(seconds: f64) -> anyhow::Result<()> {
    let all = Duration::try_from_secs_f64(seconds)?;
    let mut stalls = seen(all);
    stalls.sort_unstable_by(|a, b| b.cmp(a));
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    say(&json!({
        "seconds": seconds,
        "long": stalls.iter().filter(|stall| **stall >= LONG).count(),
        "most_us": stalls.first().copied().map_or(0.0, micros),
        "stalled": stalls.iter().sum::<Duration>().as_secs_f64() / seconds,
        "p99_us": micros(waited(&stalls, all, 0.01)),
        "p999_us": micros(waited(&stalls, all, 0.001)),
    }))
}

fn seen(all: Duration) -> Vec<Duration> {
    let mut stalls = Vec::new();
    let began = Instant::now();
    let mut last = began;
    while last - began < all {
        let now = Instant::now();
        if now - last >= LEAST {
            stalls.push(now - last);
        }
        last = now;
    }
    stalls
}

/// What this share of all moments waits, or longer, until the stall that it lies in is over. `stalls` are in
/// order, the longest first.
fn waited(stalls: &[Duration], all: Duration, share: f64) -> Duration {
    let wanted = all.mul_f64(share);
    let (mut sum, mut longer) = (Duration::ZERO, 0);
    // Of each stall longer than `t`, so much of its time as it is longer waits for more than `t`.
    for (i, stall) in stalls.iter().enumerate() {
        (sum, longer) = (sum + *stall, longer + 1);
        let next = stalls.get(i + 1).copied().unwrap_or_default();
        if sum.saturating_sub(next * longer) >= wanted {
            break;
        }
    }
    sum.saturating_sub(wanted) / longer.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_all_moments_waits_so_long() {
        let ms = Duration::from_millis;
        let second = ms(1000);
        assert_eq!(waited(&[], second, 0.01), ms(0));
        // Of 1,000 ms, 4 lie in a stall of 10 before its last 6.
        assert_eq!(waited(&[ms(10)], second, 0.004), ms(6));
        assert_eq!(waited(&[ms(10)], second, 0.01), ms(0));
        assert_eq!(waited(&[ms(10)], second, 0.5), ms(0));
        // The first 2 of 10, or 6 of 10 and 2 of 6.
        assert_eq!(waited(&[ms(10), ms(6)], second, 0.002), ms(8));
        assert_eq!(waited(&[ms(10), ms(6)], second, 0.008), ms(4));
    }

    #[test]
    fn all_that_is_seen_is_a_stall() {
        let began = Instant::now();
        let stalls = seen(Duration::from_millis(20));
        assert!(stalls.iter().all(|stall| *stall >= LEAST));
        assert!(stalls.iter().sum::<Duration>() <= began.elapsed());
    }
}
