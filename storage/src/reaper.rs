//! Closes snapshots that nobody reads any more, and removes the files of those that were
//! given up: on a thread of its own, so that no reader ever pays for it (invariant 5).

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use crate::durable;
use crate::snapshot::Snapshot;

/// What the last reader let go.
#[derive(Debug)]
pub(crate) struct Closing {
    /// The snapshot to close, if it was open.
    pub(crate) snapshot: Option<Snapshot>,
    /// The directory to remove, if the version was given up.
    pub(crate) remove: Option<PathBuf>,
}

/// The reaper's thread. It ends when the last sender is gone.
#[derive(Debug)]
pub(crate) struct Reaper {
    thread: Option<JoinHandle<()>>,
}

impl Reaper {
    /// Starts the thread; `failed` is told of each directory that could not be removed. It
    /// stays until the next start, which removes what no event owns.
    pub(crate) fn start(
        failed: impl Fn(crate::Error) + Send + 'static,
    ) -> std::io::Result<(Self, Sender<Closing>)> {
        let (sender, receiver): (Sender<Closing>, Receiver<Closing>) = channel();
        let thread = thread::Builder::new().name("reaper".to_owned()).spawn(move || {
            for Closing { snapshot, remove } in receiver {
                drop(snapshot);
                if let Some(dir) = remove
                    && let Err(error) = durable::remove_dir_all(&dir)
                {
                    failed(error);
                }
            }
        })?;
        Ok((Self { thread: Some(thread) }, sender))
    }

    /// Waits until everything let go so far is closed. The caller has dropped its sender.
    pub(crate) fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
