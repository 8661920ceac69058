//! Closes snapshots that nobody reads any more, and removes the files of those that were
//! given up: on a thread of its own, so that no reader ever pays for it (invariant 5).

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::background::be_nice;
use crate::durable;
use crate::snapshot::Snapshot;
use crate::step::step;

/// What the reaper is told.
#[derive(Debug)]
pub(crate) enum Task {
    /// The last reader let go of this.
    Close {
        /// The snapshot to close, if it was open.
        snapshot: Option<Box<Snapshot>>,
        /// The directory to remove, if the version was given up.
        remove: Option<PathBuf>,
    },
    /// Say so when everything that was let go before this is closed and removed.
    Tell(Sender<()>),
    /// The store is being closed. What a reader lets go after this is closed by that
    /// reader; files to remove stay until the next start, which removes what no event owns.
    Stop,
}

/// The reaper's thread.
#[derive(Debug)]
pub(crate) struct Reaper {
    thread: Option<JoinHandle<()>>,
    tasks: Sender<Task>,
}

impl Reaper {
    /// Starts the thread; `failed` is told of each directory that could not be removed. It
    /// stays until the next start, which removes what no event owns.
    pub(crate) fn start(
        failed: impl Fn(crate::Error) + Send + 'static,
    ) -> std::io::Result<(Self, Sender<Task>)> {
        let (sender, receiver): (Sender<Task>, Receiver<Task>) = channel();
        let thread = thread::Builder::new().name("reaper".to_owned()).spawn(move || {
            // Unmapping and removing takes the kernel a second for some gigabytes; but where all
            // processors are busy the disk must not fill up.
            be_nice();
            loop {
                match receiver.recv() {
                    Ok(Task::Close { snapshot, remove }) => {
                        drop(snapshot);
                        step("reaper.closed");
                        if let Some(dir) = remove {
                            let _ = durable::remove_dir_all(&dir).map_err(&failed);
                            step("reaper.removed");
                        }
                    }
                    // Whoever asked may have waited long enough.
                    Ok(Task::Tell(done)) => drop(done.send(())),
                    Ok(Task::Stop) | Err(_) => return,
                }
            }
        })?;
        Ok((Self { thread: Some(thread), tasks: sender.clone() }, sender))
    }

    /// Waits until everything let go so far is closed and removed, at most this long.
    pub(crate) fn catch_up(&self, most: Duration) {
        let (done, told) = channel();
        if self.tasks.send(Task::Tell(done)).is_ok() {
            let _ = told.recv_timeout(most);
        }
    }

    /// Waits until everything let go so far is closed, and ends the thread.
    pub(crate) fn stop(&mut self) {
        // The thread is gone already only if this was called before.
        let _ = self.tasks.send(Task::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
