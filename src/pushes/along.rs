//! A build that begins while the body of its push still arrives.
//!
//! A large body takes as long to arrive as its rows take to be read, and neither needs all of the
//! processors or of the disk. So a thread that builds and has nothing else to do starts the builder at
//! once. That reads the part as it grows, and goes on as any other when the push is sealed.
//!
//! It is no more than a try. Whoever is sealed goes first: if another push waits for its turn meanwhile,
//! the try is given up, and so it is if the body breaks off, if the builder dies, or if the push is to be
//! built from something else by then (its dataset has other settings, or keys were erased). Then the push
//! is built from its part when it is sealed and its turn comes, as if nothing had been tried.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidetable_storage::{Cause, Code, EvenPoisoned as _, State, read_along_from, step};
use tracing::debug;

use super::child::{Builder, DIED, Ended};
use super::inputs;
use super::making::runs_beside;
use super::spec::{BuildSpec, PartSpec, Told};
use super::{Progress, PushOf, Pushes, Queue};

/// Bodies of fewer bytes arrive in no time.
const LEAST: u64 = 16 << 20;
/// How often it is looked how many bytes are there. Whoever writes them gives way to lookups, and so is to
/// take no lock that a request may wait for: it counts them, and wakes nobody.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A body that is being received and that a build may read along.
#[derive(Clone, Debug)]
pub(super) struct Body {
    push: PushOf,
    part: String,
    path: PathBuf,
    /// All of it, in bytes.
    length: u64,
    /// What is in its file by now, in bytes.
    written: Arc<AtomicU64>,
}

/// A body that a build reads along.
#[derive(Debug)]
pub(super) struct Followed {
    push: PushOf,
    /// It has arrived or comes no more. If its push is not sealed by now it is not going to be.
    has_ended: bool,
}

impl Followed {
    pub(super) fn is_of(&self, push: &PushOf) -> bool {
        self.push == *push
    }
}

/// That a body may be read along, for whoever receives it; until its push is sealed, or given up.
#[derive(Debug)]
pub(crate) struct Arriving {
    pushes: Arc<Pushes>,
    push: PushOf,
    written: Arc<AtomicU64>,
}

impl Arriving {
    /// Where it is to be noted how many bytes are in its file.
    pub(crate) fn written(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.written)
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        let mut queue = self.pushes.queue();
        queue.withdraw_body(&self.push);
        if let Some(followed) = queue.followed.as_mut().filter(|f| f.is_of(&self.push)) {
            followed.has_ended = true;
            self.pushes.work.notify_all();
        }
    }
}

impl Pushes {
    /// A body of `length` bytes begins to be written to `path`, as the only part of its push. Somebody
    /// reads it along if it is long, and if there is a thread that builds nothing.
    pub(crate) fn arrives(
        self: &Arc<Self>,
        push: &PushOf,
        part: &str,
        path: PathBuf,
        length: u64,
    ) -> Option<Arriving> {
        let mut queue = self.queue();
        let is_free = queue.idle > 0 && queue.waiting.is_empty() && queue.followed.is_none();
        if length < read_along_from().unwrap_or(LEAST) || !is_free || queue.body.is_some() {
            return None;
        }
        let (push, part, written) = (push.clone(), part.to_owned(), Arc::default());
        let body = Body { push: push.clone(), part, path, length, written: Arc::clone(&written) };
        queue.body = Some(body);
        self.work.notify_all();
        Some(Arriving { pushes: Arc::clone(self), push, written })
    }
}

impl Queue {
    /// The body that is to be read along: from now on its push is for who asked for it.
    pub(super) fn next_body(&mut self) -> Option<Body> {
        let body = self.body.take()?;
        let push = body.push.clone();
        self.followed = Some(Followed { push, has_ended: false });
        Some(body)
    }

    /// Nobody is to begin with the body of that push any more.
    pub(super) fn withdraw_body(&mut self, push: &PushOf) {
        self.body.take_if(|body| body.push == *push);
    }
}

/// A build that was begun before its data had arrived. Dropped, it leaves nothing.
pub(super) struct Along<'a> {
    pushes: &'a Pushes,
    push: PushOf,
    spec: BuildSpec,
    builder: Option<Builder>,
    /// It has come to its end, and what it left is somebody's.
    has_ended: bool,
}

/// Reads a body along until its push is sealed; `None` if that was given up.
pub(super) fn follow(pushes: &Pushes, body: Body) -> Option<(PushOf, Cause, Along<'_>)> {
    let (push, written) = (body.push.clone(), Arc::clone(&body.written));
    let mut along = Along::begin(pushes, body)?;
    let mut told = 0;
    loop {
        match next(pushes, &push) {
            Next::Look => {
                if !along.is_wanted() {
                    return None;
                }
                let bytes = written.load(Ordering::Acquire);
                if bytes > told {
                    told = bytes;
                    along.builder.as_mut()?.tell(&Told::Grew(bytes)).ok()?;
                    step("along.grew");
                }
            }
            Next::Sealed(cause) => {
                step("along.sealed");
                return Some((push, cause, along));
            }
            Next::GivenUp => return None,
        }
    }
}

enum Next {
    /// There may be more of it.
    Look,
    Sealed(Cause),
    GivenUp,
}

/// Waits for what happens next to a body that is read along.
fn next(pushes: &Pushes, push: &PushOf) -> Next {
    let mut queue = pushes.queue();
    loop {
        if queue.stopping {
            return Next::GivenUp;
        }
        if let Some(at) = queue.waiting.iter().position(|(waiting, _)| waiting == push)
            && let Some((_, cause)) = queue.waiting.remove(at)
        {
            return Next::Sealed(cause);
        }
        // A thread that takes one makes both less by one.
        let others_wait = queue.waiting.len() > queue.idle;
        let followed = queue.followed.as_ref().filter(|followed| followed.is_of(push));
        if others_wait || followed.is_none_or(|followed| followed.has_ended) {
            return Next::GivenUp;
        }
        let (again, waited) = pushes.work.wait_timeout(queue, LOOK_EVERY).even_poisoned();
        if waited.timed_out() {
            return Next::Look;
        }
        queue = again;
    }
}

impl<'a> Along<'a> {
    /// `None` if that is not possible: why, whoever builds it later is told.
    fn begin(pushes: &'a Pushes, body: Body) -> Option<Self> {
        let Body { push, part: name, path, length, .. } = body;
        let part = PartSpec { name, path, arrived: None };
        inputs::require_room(pushes, &push, length).ok()?;
        let spec = inputs::spec_of(pushes, &push, vec![part], length).ok()?;
        let builder = Builder::start(&pushes.settings.program, &spec).ok()?;
        step("along.begun");
        debug!(dataset = %push.0, version = push.1.0, "its rows are read while they arrive");
        Some(Self { pushes, push, spec, builder: Some(builder), has_ended: false })
    }

    /// Whether its push has not ended: it may have been deleted.
    fn is_wanted(&self) -> bool {
        let catalog = self.pushes.store.catalog();
        let state = catalog.entry(&self.push.0, self.push.1).map(|entry| entry.state);
        matches!(state, Ok(State::Receiving | State::Building))
    }

    /// Its push was sealed, and is to be built from what `spec` says: what came of it, if that is what was
    /// begun. `spec` says where, then. `None` also if the builder had no room or died, which may have been
    /// long ago.
    pub(super) fn finish(
        mut self,
        spec: &mut BuildSpec,
        goes_on: &mut dyn FnMut(Progress) -> bool,
    ) -> Option<Ended> {
        let path = |spec: &BuildSpec| spec.parts.first().map(|part| part.path.clone());
        if !self.spec.is_alike(spec) || path(&self.spec) != path(spec) || spec.parts.len() != 1 {
            return None;
        }
        let arrived = spec.parts.first()?.arrived?;
        self.builder.as_mut()?.tell(&Told::Arrived(arrived)).ok()?;
        step("along.arrived");
        let ended = self.builder.take()?.listen(goes_on);
        if matches!(&ended, Ended::NotBuilt(not_built) if may_pass(&not_built.code)) {
            return None;
        }
        self.has_ended = true;
        spec.out.clone_from(&self.spec.out);
        self.pushes.metrics.read_along();
        Some(ended)
    }
}

/// Whether a build may succeed that has failed with this code: its data is not at fault.
fn may_pass(code: &str) -> bool {
    code == DIED || [Code::DiskFull, Code::IoFailed].iter().any(|known| known.as_str() == code)
}

impl Drop for Along<'_> {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        if let Some(builder) = self.builder.take() {
            builder.end();
        }
        step("along.given_up");
        let (dataset, version) = &self.push;
        debug!(%dataset, version = version.0, "its rows are not read while they arrive any more");
        let _ = std::fs::remove_dir_all(&self.spec.out);
        let _ = std::fs::remove_dir_all(runs_beside(&self.spec.out));
        step("along.removed");
        if !self.is_wanted() {
            // Its staging went with it, and the builder may have made some more.
            let _ = std::fs::remove_dir_all(self.pushes.store.layout().push(dataset, *version));
        }
    }
}
