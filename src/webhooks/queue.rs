//! What waits for one receiver, and when it is tried. Reads no clock, so that its rules can be
//! checked without waiting.
//!
//! A receiver that fails is left alone for a while, longer each time, with all that waits
//! for it. What failed goes behind the others, so that one notice that the receiver will not
//! take does not hold up the rest.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::notice::Notice;

/// Most notices that wait for one receiver; the oldest go first.
pub(super) const MOST: usize = 1_000;
/// How long a notice is tried.
pub(super) const TRIED_FOR: Duration = Duration::from_secs(3600);
/// The first pause of a receiver that failed; each following one is twice as long…
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// …up to this one.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A notice as it is sent, to whomever, however often.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) id: String,
    pub(super) body: Vec<u8>,
}

impl Message {
    pub(super) fn of(notice: &Notice) -> Self {
        let id = uuid::Uuid::now_v7().to_string();
        Self { body: notice.body(&id), id }
    }
}

/// A message on its way to one receiver.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) message: Arc<Message>,
    since: Instant,
}

/// What waits for one receiver.
#[derive(Debug, Default)]
pub(super) struct Queue {
    letters: VecDeque<Letter>,
    /// Attempts that have failed since the last success.
    failures: u32,
    /// Until when the receiver is left alone.
    rests: Option<Instant>,
    /// When the last attempt began, if there was one.
    turn: Option<Instant>,
}

/// Whose turn it is: of those that are due, the one whose last was longest ago. So one that takes all,
/// and takes its time over each, holds up every other by one attempt.
pub(super) fn whose_turn(queues: &[Queue], now: Instant) -> Option<usize> {
    let due = queues.iter().enumerate().filter(|(_, q)| q.due().is_some_and(|due| due <= now));
    due.min_by_key(|(_, queue)| queue.turn).map(|(number, _)| number)
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.letters.len()
    }

    /// Whether the last attempt failed.
    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// Takes a message in; answers whether an older one had to go for it.
    pub(super) fn push(&mut self, message: Arc<Message>, now: Instant) -> bool {
        self.letters.push_back(Letter { message, since: now });
        self.shorten()
    }

    /// Gives up what was tried for long enough; answers how many.
    pub(super) fn expire(&mut self, now: Instant) -> usize {
        let before = self.letters.len();
        self.letters.retain(|letter| now.saturating_duration_since(letter.since) < TRIED_FOR);
        before - self.letters.len()
    }

    /// When the next attempt may be made, if anything waits.
    pub(super) fn due(&self) -> Option<Instant> {
        let first = self.letters.front()?;
        Some(self.rests.map_or(first.since, |rests| rests.max(first.since)))
    }

    /// The next to be tried, now. Whoever takes it says what came of it.
    pub(super) fn take(&mut self, now: Instant) -> Option<Letter> {
        self.turn = Some(now);
        self.letters.pop_front()
    }

    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
        self.rests = None;
    }

    /// `chance`, from 0 to 1, spreads the pauses of many servers. Answers whether a letter had
    /// to go, because the queue is full.
    pub(super) fn failed(&mut self, letter: Letter, now: Instant, chance: f64) -> bool {
        let doubled = FIRST_PAUSE.saturating_mul(1 << self.failures.min(10)).min(LONGEST_PAUSE);
        self.failures += 1;
        self.rests = Some(now + doubled.mul_f64(0.5 + chance));
        self.letters.push_back(letter);
        self.shorten()
    }

    fn shorten(&mut self) -> bool {
        let full = self.letters.len() > MOST;
        if full {
            let since = |(_, letter): &(usize, &Letter)| letter.since;
            let oldest = self.letters.iter().enumerate().min_by_key(since).map(|(at, _)| at);
            oldest.and_then(|at| self.letters.remove(at));
        }
        full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: usize) -> Arc<Message> {
        Arc::new(Message { id: id.to_string(), body: Vec::new() })
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_receiver_that_fails_rests_longer_each_time_and_is_well_after_one_success() {
        let (mut queue, mut now) = (Queue::default(), Instant::now());
        assert_eq!(queue.due(), None);
        queue.push(message(1), now);
        assert_eq!(queue.due(), Some(now), "at once");
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let letter = queue.take(now).unwrap();
            assert!(!queue.failed(letter, now, 0.5));
            let due = queue.due().unwrap();
            pauses.push((due - now).as_secs());
            now = due;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert!(queue.is_failing());
        queue.take(now).unwrap();
        queue.succeeded();
        queue.push(message(2), now);
        assert_eq!((queue.due(), queue.is_failing()), (Some(now), false));
        // Chance moves a pause by half of it, up and down.
        for (chance, millis) in [(0.0, 500), (1.0, 1500)] {
            let letter = queue.take(now).unwrap();
            queue.failed(letter, now, chance);
            assert_eq!(queue.due().unwrap() - now, Duration::from_millis(millis));
            queue.succeeded();
        }
    }

    #[test]
    fn one_that_is_not_taken_lets_the_others_pass() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for id in 1..=3 {
            assert!(!queue.push(message(id), now));
        }
        let first = queue.take(now).unwrap();
        queue.failed(first, now, 0.0);
        let order: Vec<String> = std::iter::from_fn(|| queue.take(now))
            .map(|letter| letter.message.id.clone())
            .collect();
        assert_eq!(order, ["2", "3", "1"]);
    }

    #[test]
    fn a_slow_receiver_holds_up_no_other_by_more_than_one_attempt() {
        let start = Instant::now();
        let mut queues: Vec<_> = (0..3).map(|_| Queue::default()).collect();
        for id in 0..4 {
            queues[0].push(message(id), start);
        }
        queues[1].push(message(9), start + seconds(5));
        assert_eq!(whose_turn(&queues, start), Some(0));
        let mut turns = Vec::new();
        for attempt in 0..6 {
            let now = start + seconds(10 * attempt);
            let Some(number) = whose_turn(&queues, now) else { break };
            queues[number].take(now).unwrap();
            turns.push(number);
        }
        assert_eq!(turns, [0, 1, 0, 0, 0]);
    }

    #[test]
    fn after_an_hour_it_is_given_up() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        queue.push(message(1), start);
        queue.push(message(2), start + seconds(10));
        let letter = queue.take(start).unwrap();
        queue.failed(letter, start + seconds(30), 0.5);
        assert_eq!(queue.expire(start + TRIED_FOR - seconds(1)), 0);
        assert_eq!(queue.expire(start + TRIED_FOR), 1, "its age is that of the notice");
        assert_eq!(queue.take(start).unwrap().message.id, "2");
    }

    #[test]
    fn of_too_many_the_oldest_go() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        for id in 0..MOST {
            assert!(!queue.push(message(id), start + seconds(id as u64)));
        }
        // The first has failed, so it stands last; it is the oldest all the same.
        let first = queue.take(start).unwrap();
        assert!(!queue.failed(first, start, 0.5));
        assert!(queue.push(message(MOST), start + seconds(MOST as u64)));
        assert_eq!(queue.len(), MOST);
        let left: Vec<String> = std::iter::from_fn(|| queue.take(start))
            .map(|letter| letter.message.id.clone())
            .collect();
        assert_eq!((left[0].as_str(), left[MOST - 1].clone()), ("1", MOST.to_string()));
    }
}
