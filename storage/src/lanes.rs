//! Lists of records that several threads work on, and that come out in the order in which they
//! went in: they are dealt to the threads in turn, and taken back in turn.
//!
//! What is under way is a few lists for each thread, whatever there is in all.

use std::borrow::Borrow;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use crate::background::{join, spawn};
use crate::error::Result;
use crate::record_list::RecordList;

/// Lists that may wait before each step of a build.
pub(crate) const WAITING: usize = 4;

/// Where lists go in. When it is dropped or finished, the other end gives what is under way, and then
/// ends.
pub(crate) struct Lanes<T> {
    to: Vec<SyncSender<T>>,
    dealt: usize,
    working: Vec<JoinHandle<Result<()>>>,
}

/// Where they come out.
pub(crate) struct LanesEnd {
    from: Vec<Receiver<RecordList>>,
    taken: usize,
}

impl<T: Borrow<RecordList> + Send + 'static> Lanes<T> {
    /// Starts so many threads, which have this name. `waiting`: how many lists may wait in front of each
    /// thread, and how many behind it. `worker` makes what each does with a list.
    pub(crate) fn start<W>(
        name: &str,
        dir: &Path,
        threads: usize,
        waiting: usize,
        worker: impl Fn() -> Result<W>,
    ) -> Result<(Self, LanesEnd)>
    where
        W: FnMut(&RecordList) -> Result<RecordList> + Send + 'static,
    {
        let (mut to, mut from, mut working) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..threads {
            let (to_this, lists) = sync_channel(waiting);
            let (out, worked_on) = sync_channel(waiting);
            let mut work = worker()?;
            working.push(spawn(name, dir, move || run(&lists, &out, &mut work))?);
            to.push(to_this);
            from.push(worked_on);
        }
        Ok((Self { to, dealt: 0, working }, LanesEnd { from, taken: 0 }))
    }

    /// Hands a list on, and waits for room. `false` if its thread has ended: [`Lanes::finish`], or
    /// whoever has the other end, knows why.
    pub(crate) fn send(&mut self, list: T) -> bool {
        let next = self.dealt % self.to.len().max(1);
        self.dealt += 1;
        self.to.get(next).is_some_and(|to| to.send(list).is_ok())
    }

    /// Lets the threads end when they have worked on what is under way: waits for that, so somebody
    /// is to take it meanwhile. Says what went wrong in one of them.
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.to.clear();
        let ended: Vec<Result<()>> = self.working.drain(..).map(join).collect();
        ended.into_iter().collect()
    }
}

impl Iterator for LanesEnd {
    type Item = RecordList;

    fn next(&mut self) -> Option<RecordList> {
        // The first that has no more is the first that was dealt no more.
        let list = self.from[self.taken % self.from.len()].recv().ok()?;
        self.taken += 1;
        Some(list)
    }
}

fn run<T: Borrow<RecordList>>(
    lists: &Receiver<T>,
    out: &SyncSender<RecordList>,
    work: &mut impl FnMut(&RecordList) -> Result<RecordList>,
) -> Result<()> {
    for list in lists {
        let worked_on = work(list.borrow())?;
        // It is not needed while the next step is waited for.
        drop(list);
        if out.send(worked_on).is_err() {
            // Whoever took them has stopped, and says why.
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Code, Error};

    fn list(n: usize) -> RecordList {
        let mut list = RecordList::default();
        list.push(&n.to_be_bytes(), b"", b"");
        list
    }

    #[test]
    fn lists_come_out_in_order_however_long_each_takes() {
        for (count, threads) in [(0, 4), (1, 4), (2, 1), (3, 2), (500, 2), (500, 3)] {
            let work = |list: &RecordList| {
                let n = list.last().unwrap().key[7];
                (0..u32::from(n) * 7919 % 13_000).for_each(|n| {
                    std::hint::black_box(n);
                });
                Ok(list.clone())
            };
            let (mut lanes, out) =
                Lanes::start("work", Path::new("."), threads, 2, || Ok(work)).unwrap();
            let out = std::thread::spawn(move || out.collect::<Vec<_>>());
            assert!((0..count).all(|n| lanes.send(list(n))));
            lanes.finish().unwrap();
            assert_eq!(out.join().unwrap(), (0..count).map(list).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_stops_a_thread_stops_the_rest() {
        let failing = |_: &RecordList| Err(Error::new(Code::IoFailed, "of work"));
        let (mut lanes, out) = Lanes::start("work", Path::new("."), 2, 1, || Ok(failing)).unwrap();
        while lanes.send(list(1)) {}
        assert_eq!(out.count(), 0);
        assert_eq!(lanes.finish().unwrap_err().code(), Code::IoFailed);
        let cloning = |list: &RecordList| Ok(list.clone());
        let (mut lanes, out) = Lanes::start("work", Path::new("."), 2, 1, || Ok(cloning)).unwrap();
        drop(out);
        while lanes.send(list(1)) {}
        lanes.finish().unwrap();
    }
}
