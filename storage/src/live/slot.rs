//! The place of one published version among what is served: opened at its first use, or before its
//! activation, by one thread; closed by the reaper when its last reader is done (invariant 5).

use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, OnceLock, TryLockError};

use crate::digest::Digest;
use crate::error::{Code, Error, Kind, Result};
use crate::manifest::Manifest;
use crate::memory;
use crate::names::Version;
use crate::planted::{self, Bug};
use crate::poison::EvenPoisoned as _;
use crate::reaper::Task;
use crate::rocks::BlockCache;
use crate::snapshot::{FILES_WHILE_OPENED, Snapshot};
use crate::verify::read_expected;

/// An opened snapshot with a way to the reaper.
#[derive(Debug)]
pub(crate) struct Opened {
    /// `None` only while it is being dropped.
    snapshot: Option<Snapshot>,
    dir: PathBuf,
    files: u64,
    given_up: AtomicBool,
    opener: Arc<Opener>,
}

impl Deref for Opened {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        self.snapshot.as_ref().expect("the snapshot is taken out in drop alone")
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let remove = self.given_up.load(Ordering::Acquire).then(|| self.dir.clone());
        self.opener.open.fetch_sub(1, Ordering::Relaxed);
        self.opener.files.fetch_sub(self.files, Ordering::Relaxed);
        // If the reaper is gone the store is closed: closing here is all that is left.
        let task = Task::Close { snapshot: self.snapshot.take().map(Box::new), remove };
        let _ = self.opener.closing.send(task);
    }
}

/// The place of one published version: opened at its first use, or before its activation.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) version: Version,
    pub(super) as_of: Option<Arc<str>>,
    dir: PathBuf,
    pub(crate) digest: Digest,
    opener: Arc<Opener>,
    /// Held by whoever opens it.
    opening: Mutex<()>,
    given_up: AtomicBool,
    /// What has the version's files since it was rewritten: for whoever still has this one.
    replaced_by: OnceLock<Arc<Self>>,
    opened: OnceLock<std::result::Result<Arc<Opened>, Unusable>>,
    /// Why it could not be opened when that was tried last, if that may pass: the next who needs it
    /// tries again, and until then this says how it is.
    failed: Mutex<Option<Unusable>>,
}

/// What every slot opens snapshots with.
pub(crate) struct Opener {
    pub(crate) cache: BlockCache,
    pub(crate) closing: Sender<Task>,
    /// Snapshots that are open, because they are in their slot or somebody reads them.
    pub(crate) open: AtomicU64,
    /// The files that those have open, and how many they may have.
    pub(crate) files: AtomicU64,
    pub(crate) max_files: u64,
}

impl Opener {
    /// Counts the files of one more snapshot, if there are as many left.
    fn claim(&self, files: u64) -> Result<()> {
        let most = self.max_files;
        let claim = |open: u64| Some(open + files).filter(|all| *all <= most);
        let claimed = self.files.fetch_update(Ordering::Relaxed, Ordering::Relaxed, claim);
        claimed.map(drop).map_err(|open| {
            let text = format!(
                "opening this version takes {files} files, and versions have {open} of the {most} \
                 open that they may have, so that connections have some left; raise the limit of \
                 open files of the server (LimitNOFILE), or delete versions or datasets"
            );
            Error::new(Code::TooManyFiles, text)
        })
    }
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opener")
    }
}

/// Why a version is not served: kept, since it is asked for as long as nothing mends it.
#[derive(Debug)]
pub(crate) struct Unusable {
    code: Code,
    text: String,
    path: Option<PathBuf>,
    os: Option<i32>,
}

impl Unusable {
    fn of(error: &Error) -> Self {
        Self {
            code: error.code(),
            text: error.detail().to_owned(),
            path: error.path().map(Path::to_owned),
            os: error.os_error(),
        }
    }

    fn to_error(&self) -> Error {
        let mut error = Error::new(self.code, self.text.clone());
        if let Some(path) = &self.path {
            error = error.at(path);
        }
        match self.os {
            None => error,
            Some(os) => error.because(io::Error::from_raw_os_error(os)),
        }
    }
}

impl Slot {
    pub(crate) fn new(
        version: Version,
        as_of: Option<&str>,
        dir: PathBuf,
        digest: Digest,
        opener: &Arc<Opener>,
    ) -> Arc<Self> {
        Arc::new(Self {
            version,
            as_of: as_of.map(Into::into),
            dir,
            digest,
            opener: Arc::clone(opener),
            opening: Mutex::new(()),
            given_up: AtomicBool::new(false),
            replaced_by: OnceLock::new(),
            opened: OnceLock::new(),
            failed: Mutex::new(None),
        })
    }

    /// The snapshot, opened and warmed if it was not yet.
    pub(crate) fn open_or_wait(&self) -> Result<Arc<Opened>> {
        if let Some(opened) = self.opened.get() {
            return opened.as_ref().map(Arc::clone).map_err(Unusable::to_error);
        }
        let opened = self.open_alone();
        self.look_for_the_mark();
        opened
    }

    /// What came of opening it, if that was tried.
    pub(crate) fn if_open(&self) -> Option<std::result::Result<&Arc<Opened>, &Unusable>> {
        self.opened.get().map(|opened| opened.as_ref())
    }

    /// Why it cannot be served, as far as that was tried.
    pub(super) fn fault(&self) -> Option<Error> {
        match self.opened.get() {
            Some(opened) => opened.as_ref().err().map(Unusable::to_error),
            None => self.failed.lock().even_poisoned().as_ref().map(Unusable::to_error),
        }
    }

    /// What the version says of itself, without opening its data.
    pub(crate) fn manifest(&self) -> Result<Manifest> {
        match (read_expected(&self.dir, &self.digest), self.replaced_by.get()) {
            // It was rewritten after whoever asks had this slot.
            (Err(_), Some(next)) => read_expected(&next.dir, &next.digest),
            (read, _) => read,
        }
    }

    /// [`Slot::give_up`] of one whose version has other files now.
    pub(crate) fn give_way_to(&self, next: &Arc<Self>) {
        let _ = self.replaced_by.set(Arc::clone(next));
        self.give_up();
    }

    /// The files may go when the last lease does. Never waits: this is called under the
    /// lock, and an opening may take long.
    pub(crate) fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
        if planted::has(Bug::RemovedWhileRead) {
            planted::empty_tables(&self.dir);
        }
        // Whoever is opening it now sees the mark when done.
        if !matches!(self.opening.try_lock(), Err(TryLockError::WouldBlock)) {
            self.let_go();
        }
    }

    /// For whoever has had `opening`, and let it go. Pairs with `give_up`: whichever of the two
    /// comes second sees the other.
    fn look_for_the_mark(&self) {
        fence(Ordering::SeqCst);
        if self.given_up.load(Ordering::Relaxed) {
            self.let_go();
        }
    }

    /// Doing this twice is harmless: the place of a version that was given up is never
    /// used again, so there is nothing else in it to remove.
    fn let_go(&self) {
        match self.opened.get() {
            Some(Ok(opened)) => opened.given_up.store(true, Ordering::Release),
            Some(Err(_)) | None => {
                let remove = Some(self.dir.clone());
                let _ = self.opener.closing.send(Task::Close { snapshot: None, remove });
            }
        }
    }

    /// One opens it, the others wait for that one.
    fn open_alone(&self) -> Result<Arc<Opened>> {
        let _alone = self.opening.lock().even_poisoned();
        if let Some(opened) = self.opened.get() {
            return opened.as_ref().map(Arc::clone).map_err(Unusable::to_error);
        }
        if self.given_up.load(Ordering::Acquire) {
            if let Some(next) = self.replaced_by.get() {
                return next.open_or_wait();
            }
            let text = format!("version {} was deleted", self.version);
            return Err(Error::new(Code::VersionDeleted, text));
        }
        match self.open() {
            Ok((snapshot, files)) => {
                self.opener.open.fetch_add(1, Ordering::Relaxed);
                let opened = Arc::new(Opened {
                    snapshot: Some(snapshot),
                    dir: self.dir.clone(),
                    files,
                    given_up: AtomicBool::new(false),
                    opener: Arc::clone(&self.opener),
                });
                let _ = self.opened.set(Ok(Arc::clone(&opened)));
                Ok(opened)
            }
            Err(error) => {
                let why = Unusable::of(&error);
                // Too many open files, or too little memory, passes; damage does not.
                if error.kind() == Kind::Corrupt {
                    let _ = self.opened.set(Err(why));
                } else {
                    *self.failed.lock().even_poisoned() = Some(why);
                }
                Err(error)
            }
        }
    }

    /// What is in its place, opened for somebody who reads it whole and apart from its readers:
    /// nothing is warmed, and nothing is kept.
    pub(crate) fn open_aside(&self) -> Result<Snapshot> {
        let snapshot = {
            // Whoever opens it first may have to make `db/`.
            let _alone = self.opening.lock().even_poisoned();
            Snapshot::open(&self.dir, self.version, &self.digest, &self.opener.cache)
        };
        self.look_for_the_mark();
        snapshot
    }

    /// The snapshot, and how many files it has open.
    fn open(&self) -> Result<(Snapshot, u64)> {
        let manifest = read_expected(&self.dir, &self.digest)?;
        let files = Snapshot::files_of(manifest.files.len() as u64);
        self.opener.claim(files + FILES_WHILE_OPENED)?;
        let opened = self.open_claimed(manifest);
        let kept = if opened.is_ok() { files } else { 0 };
        self.opener.files.fetch_sub(files + FILES_WHILE_OPENED - kept, Ordering::Relaxed);
        Ok((opened?, files))
    }

    fn open_claimed(&self, manifest: Manifest) -> Result<Snapshot> {
        memory::require(Snapshot::memory_of(&manifest))?;
        let cache = &self.opener.cache;
        let snapshot = Snapshot::of_manifest(&self.dir, self.version, manifest, cache)?;
        match snapshot.warm() {
            // A damaged block costs its own keys, each of which answers an error; the others
            // are served.
            Err(error) if error.code() == Code::DataCorrupt => {}
            warmed => warmed?,
        }
        Ok(snapshot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn what_is_given_up_while_it_is_opened_aside_goes_when_that_is_done() {
        let (closing, tasks) = channel();
        let opener = Arc::new(Opener {
            cache: BlockCache::new(1 << 20),
            closing,
            open: AtomicU64::new(0),
            files: AtomicU64::new(0),
            max_files: 100,
        });
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("1");
        let slot = Slot::new(Version(1), None, place.clone(), Digest::of(b""), &opener);
        {
            let _opening = slot.opening.lock().unwrap();
            slot.give_up();
            assert!(tasks.try_recv().is_err(), "it is still being opened");
        }
        // There is nothing to open, which does not matter here.
        slot.open_aside().unwrap_err();
        let Ok(Task::Close { snapshot: None, remove: Some(gone) }) = tasks.try_recv() else {
            panic!("nothing removes its files");
        };
        assert_eq!(gone, place);
    }
}
