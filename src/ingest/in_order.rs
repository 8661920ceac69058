//! Work on pieces of a source on several threads, the results in the order of the pieces.
//!
//! ```text
//! produce ─┬─ work ─┬─ consume
//!          └─ work ─┘
//! ```
//!
//! `produce` gives one piece after the other, never two at the same time; `work` runs on
//! each thread; `consume` runs on the caller's. A fixed number of pieces are on their way at
//! most, so memory does not depend on how many there are.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use tidetable_storage::EvenPoisoned as _;

/// Pieces on their way for each thread: one that is worked on, and one that waits for those
/// before it.
const PIECES_A_THREAD: usize = 2;

/// Gives `consume` what `work` makes of each piece that `produce` gives, in order, until
/// `produce` gives `None`, or `consume` wants no more (`false`) or fails. `one_by_one`: a piece is asked
/// for only when `consume` wants more than those before it, since to give another one may mean to wait
/// for it.
pub(crate) fn in_order<T: Send, U: Send, E>(
    threads: usize,
    one_by_one: bool,
    produce: impl FnMut() -> Option<T> + Send,
    work: impl Fn(T) -> U + Sync,
    mut consume: impl FnMut(U) -> Result<bool, E>,
) -> Result<(), E> {
    let (permits, permitted) = channel();
    let at_once = if one_by_one { 1 } else { threads * PIECES_A_THREAD };
    for _ in 0..at_once {
        // Cannot fail: the other end is below.
        let _ = permits.send(());
    }
    let source = Mutex::new(Source { produce, permitted, pieces: 0, ended: false });
    let (results, finished) = channel();
    thread::scope(|scope| {
        for _ in 0..threads {
            let (source, work, results) = (&source, &work, results.clone());
            scope.spawn(move || run(source, work, &results));
        }
        // Only the threads have it now: when they have ended, so have the results.
        drop(results);
        consume_in_order(finished, permits, &mut consume)
    })
}

struct Source<P> {
    produce: P,
    /// One for each piece that may be begun.
    permitted: Receiver<()>,
    pieces: u64,
    ended: bool,
}

impl<P> Source<P> {
    /// The next piece with its number; `None` if there is none, or nobody wants it.
    fn next<T>(&mut self) -> Option<(u64, T)>
    where
        P: FnMut() -> Option<T>,
    {
        if self.ended || self.permitted.recv().is_err() {
            return None;
        }
        let piece = (self.produce)();
        self.ended = piece.is_none();
        self.pieces += 1;
        piece.map(|piece| (self.pieces - 1, piece))
    }
}

fn run<T, U>(
    source: &Mutex<Source<impl FnMut() -> Option<T>>>,
    work: &impl Fn(T) -> U,
    results: &Sender<(u64, thread::Result<U>)>,
) {
    loop {
        let next = source.lock().even_poisoned().next();
        let Some((number, piece)) = next else { return };
        // Without a result the others would wait for it, and for its permit.
        let result = catch_unwind(AssertUnwindSafe(|| work(piece)));
        if results.send((number, result)).is_err() {
            return;
        }
    }
}

/// Takes the results as they come. When it returns early, both ends that it holds go, and
/// so do the threads; when `work` panicked, so does this.
#[expect(clippy::needless_pass_by_value, reason = "the ends are to go with this function")]
fn consume_in_order<U, E>(
    finished: Receiver<(u64, thread::Result<U>)>,
    permits: Sender<()>,
    consume: &mut impl FnMut(U) -> Result<bool, E>,
) -> Result<(), E> {
    let mut early = BTreeMap::new();
    let mut next = 0;
    for (number, result) in finished {
        early.insert(number, result);
        while let Some(result) = early.remove(&next) {
            let result = result.unwrap_or_else(|panic| resume_unwind(panic));
            if !consume(result)? {
                return Ok(());
            }
            next += 1;
            // Fails only when all threads have ended.
            let _ = permits.send(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_pieces_however_long_each_takes() {
        for threads in [1, 2, 4] {
            let mut numbers = 0..500u64;
            let mut seen = Vec::new();
            let work = |n: u64| (0..(n * 7919 % 13) * 1000).fold(n, |n, _| std::hint::black_box(n));
            let all: Result<(), ()> = in_order(
                threads,
                false,
                || numbers.next(),
                work,
                |n| {
                    seen.push(n);
                    Ok(true)
                },
            );
            assert_eq!(all, Ok(()));
            assert_eq!(seen, Vec::from_iter(0..500));
        }
    }

    #[test]
    fn no_more_pieces_are_on_their_way_than_fit() {
        let (produced, consumed) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let produce = || {
            let number = produced.fetch_add(1, Ordering::SeqCst);
            (number < 100).then_some(number)
        };
        let work = |number| number;
        let all: Result<(), ()> = in_order(3, false, produce, work, |_| {
            let ahead = produced.load(Ordering::SeqCst) - consumed.load(Ordering::SeqCst);
            assert!(ahead <= 3 * PIECES_A_THREAD, "{ahead}");
            consumed.fetch_add(1, Ordering::SeqCst);
            Ok(true)
        });
        assert_eq!((all, consumed.into_inner()), (Ok(()), 100));
    }

    /// Of a pipe the next piece may be long in coming.
    #[test]
    fn one_by_one_no_piece_is_asked_for_that_nobody_wants() {
        let produced = AtomicUsize::new(0);
        let produce = || Some(produced.fetch_add(1, Ordering::SeqCst));
        let all: Result<(), ()> = in_order(3, true, produce, |n| n, |n| Ok(n < 50));
        assert_eq!((all, produced.into_inner()), (Ok(()), 51));
    }

    /// Rather than that it waits for ever.
    #[test]
    fn a_panic_is_that_of_the_whole() {
        let mut numbers = 0..;
        let work = |n| assert!(n != 20, "piece {n}");
        let whole = || in_order(3, false, || numbers.next(), work, |()| Ok::<_, ()>(true));
        let panic = catch_unwind(AssertUnwindSafe(whole)).unwrap_err();
        assert_eq!(panic.downcast_ref::<String>().unwrap(), "piece 20");
    }

    #[test]
    fn an_endless_source_ends_when_nobody_wants_more() {
        let mut numbers = 0..;
        let failing = |n| if n < 50 { Ok(true) } else { Err(n) };
        assert_eq!(in_order(4, false, || numbers.next(), |n| n, failing), Err(50));
        let (mut numbers, mut last) = (0.., 0);
        let content = |n| {
            last = n;
            Ok::<_, ()>(n < 50)
        };
        assert_eq!(in_order(4, false, || numbers.next(), |n| n, content), Ok(()));
        assert_eq!(last, 50);
    }
}
