//! Reading one version again, and what is done about what is found: it is logged, counted,
//! remembered and told to webhooks. Asked for by the thread that scrubs, or by a request.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use tidetable_storage::{
    DatasetName, Error, EvenPoisoned as _, Finding, ReadBack, StoredVersion, Version, give_way,
};
use tokio::sync::watch;
use tracing::{error, info};

use crate::problem::{Fault, Problem};
use crate::state::AppState;
use crate::threads::no_thread;
use crate::webhooks::Notice;

/// What is counted, and what requests have asked for.
#[derive(Debug, Default)]
pub(crate) struct Scrubs {
    /// Bytes read again.
    pub(crate) bytes: AtomicU64,
    /// Versions read to their end that were as they were published.
    pub(crate) sound: AtomicU64,
    /// Those that were not.
    pub(crate) damaged: AtomicU64,
    asked_for: Mutex<BTreeMap<(DatasetName, Version), Arc<Verifying>>>,
    /// Held by the one request that reads: a disk is not faster for two.
    turn: Mutex<()>,
}

/// A version that a request has asked to be read.
#[derive(Debug)]
pub(crate) struct Verifying {
    /// Bytes read so far.
    pub(crate) bytes: AtomicU64,
    ended: watch::Receiver<Option<Result<Verified, Problem>>>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct Verified {
    pub(crate) finding: Finding,
    pub(crate) bytes: u64,
}

impl Scrubs {
    fn asked_for(&self) -> MutexGuard<'_, BTreeMap<(DatasetName, Version), Arc<Verifying>>> {
        self.asked_for.lock().even_poisoned()
    }
}

impl Verifying {
    /// Begins to read a version, to its end whoever goes away, or joins those who wait for it
    /// already.
    pub(crate) fn begin(app: &AppState, stored: StoredVersion) -> Result<Arc<Self>, Error> {
        let of = (stored.dataset().clone(), stored.version());
        let mut asked_for = app.scrubs.asked_for();
        if let Some(running) = asked_for.get(&of) {
            return Ok(Arc::clone(running));
        }
        let (ends, ended) = watch::channel(None);
        let running = Arc::new(Self { bytes: AtomicU64::new(0), ended });
        let (app_of_thread, counted) = (AppState::clone(app), Arc::clone(&running));
        let run = move || {
            let app = app_of_thread;
            let of = (stored.dataset().clone(), stored.version());
            // However it ends: who asks again is not to join one that has ended.
            let listed = Listed { app: &app, of };
            let came = verify(&app, &stored, &counted.bytes);
            drop(listed);
            let _ = ends.send(Some(came));
        };
        let spawned = thread::Builder::new().name("verify".to_owned()).spawn(run);
        spawned.map_err(no_thread)?;
        asked_for.insert(of, Arc::clone(&running));
        Ok(running)
    }

    /// What came of it, once it has ended; `None` if it has not within that time.
    pub(crate) async fn ended_within(&self, time: Duration) -> Option<Result<Verified, Problem>> {
        let mut ended = self.ended.clone();
        let waited = tokio::time::timeout(time, ended.wait_for(Option::is_some)).await;
        waited.ok()?.ok()?.clone()
    }
}

/// A version that is being read because somebody asked for that, until it is dropped.
struct Listed<'a> {
    app: &'a AppState,
    of: (DatasetName, Version),
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.app.scrubs.asked_for().remove(&self.of);
    }
}

fn verify(app: &AppState, stored: &StoredVersion, bytes: &AtomicU64) -> Result<Verified, Problem> {
    let _turn = app.scrubs.turn.lock().even_poisoned();
    let stop = app.stop.clone();
    let came = read(app, stored, |stretch| {
        bytes.fetch_add(stretch, Relaxed);
        stop.is_asked()
    })?;
    let Some(finding) = note(app, stored, came) else {
        // Why it is not there any more; if it is, the server stops.
        app.store.stored_version(stored.dataset(), stored.version())?;
        let text = "the server is stopping: ask again";
        return Err(Problem::new(Fault::Draining, text));
    };
    app.store.keep_findings()?;
    Ok(Verified { finding, bytes: bytes.load(Relaxed) })
}

/// Reads all of a version on a thread that gives way; `is_over` is told the bytes of each
/// stretch, may wait, and says whether to stop.
pub(super) fn read(
    app: &AppState,
    stored: &StoredVersion,
    mut is_over: impl FnMut(u64) -> bool + Send,
) -> Result<ReadBack, Error> {
    let reading = || {
        give_way();
        stored.read(&mut |bytes| {
            app.scrubs.bytes.fetch_add(bytes, Relaxed);
            if is_over(bytes) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
    };
    thread::scope(|scope| {
        let read =
            thread::Builder::new().name("read-again".to_owned()).spawn_scoped(scope, reading);
        let read = read.map_err(no_thread)?;
        read.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Remembers what was found, counts it, and tells of damage.
pub(super) fn note(app: &AppState, stored: &StoredVersion, came: ReadBack) -> Option<Finding> {
    let (dataset, version) = (stored.dataset(), stored.version());
    let was_damaged = app.store.is_damaged(dataset, version);
    let finding = app.store.note_read_back(stored, came)?;
    let Some(damage) = &finding.damage else {
        app.scrubs.sound.fetch_add(1, Relaxed);
        if was_damaged {
            info!(%dataset, version = version.0, "a version that was damaged is sound again");
        }
        return Some(finding);
    };
    app.scrubs.damaged.fetch_add(1, Relaxed);
    let (file, offset, detail) = (&damage.file, damage.offset, &damage.detail);
    error!(
        %dataset, version = version.0, %file, offset, detail,
        "a version is damaged on the disk: roll back, restore its files, or push the data again"
    );
    if !was_damaged {
        let place = offset.map(|at| format!(" at byte {at}")).unwrap_or_default();
        let reason = format!("{file}{place}: {detail}");
        app.webhooks.notify(&Notice::damaged(dataset, version, reason));
    }
    Some(finding)
}
