//! What answers lack, got from the disk for all connections of a worker by one thread.
//!
//! A thread for each read would cost several times what the read costs: to be woken, to wait,
//! and to wake. Here the disk is asked for everything that is wanted before anything is waited
//! for, so the more there is to read, the less each costs.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use tokio::sync::oneshot;

/// Something to be got from the disk.
pub(crate) trait Fetch: Send {
    /// Has the disk begin, and does not wait.
    fn ask(&self);

    /// Waits until it is in memory. What fails is found again by the answer, and told there.
    fn wait(self: Box<Self>);
}

/// The thread of one worker. It ends with this.
pub(super) struct Fetches(Sender<Wanted>);

struct Wanted {
    fetch: Box<dyn Fetch>,
    done: oneshot::Sender<()>,
}

impl Fetches {
    /// Starts the thread of the worker with that number.
    pub(super) fn start(worker: usize) -> io::Result<Self> {
        let (sender, wanted) = channel();
        thread::Builder::new().name(format!("disk-{worker}")).spawn(move || run(&wanted))?;
        Ok(Self(sender))
    }

    /// Gets it from the disk. The answer ends when it is there; or, with an error, if it could
    /// not be got.
    pub(super) fn begin(&self, fetch: Box<dyn Fetch>) -> oneshot::Receiver<()> {
        let (done, ended) = oneshot::channel();
        // A thread that is gone drops what it is sent, which ends the wait for it.
        let _ = self.0.send(Wanted { fetch, done });
        ended
    }
}

fn run(wanted: &Receiver<Wanted>) {
    let mut asked = VecDeque::new();
    loop {
        while let Ok(next) = wanted.try_recv() {
            begin(next, &mut asked);
        }
        match asked.pop_front() {
            Some(first) => end(first),
            None => match wanted.recv() {
                Ok(next) => begin(next, &mut asked),
                Err(_) => return,
            },
        }
    }
}

fn begin(wanted: Wanted, asked: &mut VecDeque<Wanted>) {
    // One that panics has its end told at once, and the answer is tried in another way.
    if catch_unwind(AssertUnwindSafe(|| wanted.fetch.ask())).is_ok() {
        asked.push_back(wanted);
    }
}

fn end(Wanted { fetch, done }: Wanted) {
    if catch_unwind(AssertUnwindSafe(|| fetch.wait())).is_ok() {
        // The connection may be gone.
        let _ = done.send(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Noted {
        number: u32,
        notes: Sender<(&'static str, u32)>,
        first: Option<Receiver<()>>,
    }

    impl Fetch for Noted {
        fn ask(&self) {
            self.notes.send(("asked", self.number)).unwrap();
        }

        fn wait(self: Box<Self>) {
            assert_ne!(self.number, 3, "on purpose");
            self.first.iter().for_each(|first| first.recv().unwrap());
            self.notes.send(("waited", self.number)).unwrap();
        }
    }

    #[test]
    fn all_is_asked_for_before_any_is_waited_for_and_a_panic_ends_one_alone() {
        let fetches = Fetches::start(0).unwrap();
        let (notes, noted) = channel();
        let (go, first) = channel();
        let fetch = |number, first| Box::new(Noted { number, notes: notes.clone(), first });
        let held_up = fetches.begin(fetch(1, Some(first)));
        assert_eq!(noted.recv().unwrap(), ("asked", 1));
        let ended = [2, 3, 4].map(|number| fetches.begin(fetch(number, None)));
        go.send(()).unwrap();
        let all: Vec<_> = noted.iter().take(6).collect();
        let of =
            |what| all.iter().filter(move |(done, _)| *done == what).map(|(_, number)| *number);
        assert!(of("asked").eq([2, 3, 4]) && of("waited").eq([1, 2, 4]), "{all:?}");
        let place = |note| all.iter().position(|noted| *noted == note).unwrap();
        assert!(place(("asked", 4)) < place(("waited", 2)), "{all:?}");
        assert!(held_up.blocking_recv().is_ok());
        assert_eq!(ended.map(|one| one.blocking_recv().is_ok()), [true, false, true]);
    }
}
