//! How much runs at the same time, and what is refused beyond that.
//!
//! What is taken on is answered in time; what would only make everything late is refused at once,
//! with 503 `overloaded` and `Retry-After`. Reads, pushes, waits, operations and questions about
//! health have a number each, so that none of them is ever refused because of the others: a server
//! that is overrun by readers can still be rolled back, and still tells what it counts. Of which
//! class a request is, `http/classes.rs` says.
//!
//! A plain lookup of a value in memory that is not [`LONG`] is not counted. It never waits here: to refuse it would
//! take as long as to answer it, and what bounds it is the number of connections. Two things make
//! a lookup late. One is others that wait for the disk, and these have a number of their own
//! ([`Limiter::cold`]). The other is what takes long on the same thread (batches, scans):
//! a thread that is late refuses those ([`Class::Late`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::config::ServeConfig;
use crate::metrics::Metrics;
use crate::problem::{Answer, Problem};
use crate::shed::Class;

/// Files of snapshots that are sent at the same time: each takes a thread and some megabytes, and
/// reads the disk.
const SENDING: usize = 16;
/// Questions about health that are answered at the same time: more than any monitoring asks.
const HEALTH: usize = 64;
/// Requests that wait for the pushes of others at the same time. Their clients may have gone long
/// ago: nothing tells that of one that only ended its sending.
const WAITING: usize = 1024;
/// Comparisons of versions that there are at the same time: the one that works, and four that wait for
/// it. Each may take minutes, and nothing tells of a client of HTTP/1 that it has gone.
const COMPARING: usize = 5;
/// Shorter answers are not worth counting.
pub(crate) const LONG: usize = 64 * 1024;

/// What runs, and how much may.
#[derive(Debug)]
pub(crate) struct Limiter {
    /// By [`Class`]: how many run, of how many.
    budgets: [(AtomicUsize, usize); Class::ALL.len()],
    metrics: Arc<Metrics>,
}

impl Limiter {
    pub(crate) fn new(config: &ServeConfig, metrics: &Arc<Metrics>) -> Arc<Self> {
        let most = |class| match class {
            Class::Read => config.max_reads.0,
            Class::Cold => config.max_cold_reads.0,
            Class::Push => config.max_push_requests.0,
            Class::Operation => config.max_operations.0,
            Class::Health => HEALTH,
            Class::File => SENDING,
            Class::Comparison => COMPARING,
            Class::Wait => WAITING,
            // Not counted here.
            Class::Late | Class::Body => usize::MAX,
            // Bytes, and not requests.
            Class::Answer => config.max_answers_in_memory.as_usize(),
        };
        let budgets = Class::ALL.map(|class| (AtomicUsize::new(0), most(class)));
        Arc::new(Self { budgets, metrics: Arc::clone(metrics) })
    }

    /// Leave to run one more of a class, until it is dropped; or why there is none.
    pub(crate) fn take(self: &Arc<Self>, class: Class) -> Answer<Permit> {
        let (running, most) = &self.budgets[class as usize];
        // Dropped, and so given back, at once if it is one too many.
        let before = running.fetch_add(1, Relaxed);
        let permit = Permit { of: Arc::clone(self), class };
        if before < *most { Ok(permit) } else { Err(self.refuse(class)) }
    }

    /// For a file that is sent, until it is.
    pub(crate) fn file(self: &Arc<Self>) -> Answer<Permit> {
        self.take(Class::File)
    }

    /// For a comparison of versions, until it is answered.
    pub(crate) fn comparison(self: &Arc<Self>) -> Answer<Permit> {
        self.take(Class::Comparison)
    }

    /// For a read that waits for the disk.
    pub(crate) fn cold(self: &Arc<Self>) -> Answer<Permit> {
        self.take(Class::Cold)
    }

    /// Refuses an answer of so many bytes if it is long, while too much of others is to be taken.
    pub(crate) fn answer(&self, bytes: usize) -> Answer<()> {
        if bytes < LONG { Ok(()) } else { self.room_for_long() }
    }

    /// Refuses whatever may be answered at length, while too much of others is to be taken.
    pub(crate) fn room_for_long(&self) -> Answer<()> {
        let (answers, most) = &self.budgets[Class::Answer as usize];
        if answers.load(Relaxed) < *most {
            return Ok(());
        }
        Err(self.refuse(Class::Answer))
    }

    /// Counts a refusal, and gives its words.
    pub(crate) fn refuse(&self, class: Class) -> Problem {
        self.metrics.shed.refuse(class)
    }
}

/// Leave to run, until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    of: Arc<Limiter>,
    class: Class,
}

impl Permit {
    /// Gives it back, since there is an answer of so many bytes. If that is a long one, it is kept
    /// count of until what this gives is dropped.
    pub(crate) fn answered(self, bytes: usize) -> Option<LongAnswer> {
        (bytes >= LONG && self.class == Class::Read).then(|| {
            self.of.budgets[Class::Answer as usize].0.fetch_add(bytes, Relaxed);
            LongAnswer { of: Arc::clone(&self.of), bytes }
        })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.of.budgets[self.class as usize].0.fetch_sub(1, Relaxed);
    }
}

/// The bytes of a long answer that its client has not taken yet.
#[derive(Debug)]
pub(crate) struct LongAnswer {
    of: Arc<Limiter>,
    bytes: usize,
}

impl Drop for LongAnswer {
    fn drop(&mut self) {
        self.of.budgets[Class::Answer as usize].0.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_permits_of_its_own() {
        let config = ServeConfig {
            max_cold_reads: "2".parse().unwrap(),
            max_operations: "1".parse().unwrap(),
            ..ServeConfig::defaults()
        };
        let metrics = Arc::new(Metrics::new());
        let limiter = Limiter::new(&config, &metrics);
        let two = [limiter.cold().unwrap(), limiter.cold().unwrap()];
        let refused = limiter.cold().unwrap_err();
        assert_eq!((refused.status().as_u16(), refused.code()), (503, "overloaded"));
        assert!(refused.detail().contains("max_cold_reads"), "{}", refused.detail());
        let operation = limiter.take(Class::Operation).unwrap();
        assert!(limiter.take(Class::Operation).is_err());
        limiter.take(Class::Health).unwrap();
        drop(two);
        drop(operation);
        let _cold = limiter.cold().unwrap();
        let _operation = limiter.take(Class::Operation).unwrap();
        assert_eq!(metrics.shed.each().map(|(_, count)| count), [0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
        assert!(refused.render("id").headers().contains_key("retry-after"));
    }

    #[test]
    fn whoever_waits_for_a_push_takes_no_permit_of_one() {
        let config = ServeConfig {
            max_push_requests: "1".parse().unwrap(),
            max_operations: "1".parse().unwrap(),
            ..ServeConfig::defaults()
        };
        let limiter = Limiter::new(&config, &Arc::new(Metrics::new()));
        let _waiting: Vec<_> = (0..WAITING).map(|_| limiter.take(Class::Wait).unwrap()).collect();
        let refused = limiter.take(Class::Wait).unwrap_err();
        assert_eq!(refused.code(), "overloaded");
        assert!(refused.detail().contains(&format!("({WAITING})")), "{}", refused.detail());
        let _push = limiter.take(Class::Push).unwrap();
        let _operation = limiter.take(Class::Operation).unwrap();
    }

    #[test]
    fn long_answers_are_counted_until_they_are_taken() {
        let config = ServeConfig {
            max_answers_in_memory: "100KiB".parse().unwrap(),
            ..ServeConfig::defaults()
        };
        let limiter = Limiter::new(&config, &Arc::new(Metrics::new()));
        let answer = |bytes: usize| limiter.take(Class::Read).unwrap().answered(bytes);
        let held = || limiter.budgets[Class::Answer as usize].0.load(Relaxed);
        assert!(answer(LONG - 1).is_none());
        assert_eq!(held(), 0);
        let long = answer(LONG).unwrap();
        let another = answer(LONG).unwrap();
        assert_eq!(held(), 2 * LONG);
        assert_eq!(limiter.answer(LONG).unwrap_err().code(), "overloaded");
        limiter.answer(LONG - 1).unwrap();
        drop(long);
        assert_eq!(held(), LONG);
        limiter.answer(LONG).unwrap();
        drop(another);
        assert_eq!(held(), 0);
    }
}
