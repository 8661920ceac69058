//! Versions that are rewritten without erased keys, one after the other: on a thread that is
//! there as long as there is something to do, and gives way to lookups if pushes do.
//!
//! Once nothing waits it looks again: a push that was building when its keys were erased may have
//! published a version since. What waits is lost with the process: `GET /v1/erase` goes on to name
//! the versions that may hold erased keys, and whoever asked asks again, as `tidetable erase` does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use tidetable_storage::{Cause, EvenPoisoned as _, RewriteStep, Scope, Store};
use tracing::{info, warn};

use crate::problem::{Answer, Fault, Problem};
use crate::pushes::PushOf;
use crate::state::{AppState, count_dataset};
use crate::threads::no_thread;

/// What is rewritten, and what could not be.
#[derive(Debug, Default)]
pub(crate) struct Rewrites(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<(PushOf, Cause)>,
    /// Where it was asked for, and what was begun there, since the thread is there.
    asked: Vec<(Vec<Scope>, Cause)>,
    begun: BTreeSet<PushOf>,
    running: Option<(PushOf, RewriteStep)>,
    /// Why the last try of each came to nothing.
    failed: BTreeMap<PushOf, Problem>,
    has_thread: bool,
    stopping: bool,
}

/// How things stand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    /// The one that is being rewritten first; without a step, it waits.
    pub(crate) rewriting: Vec<(PushOf, Option<RewriteStep>)>,
    pub(crate) failed: Vec<(PushOf, Problem)>,
}

impl Rewrites {
    /// Asks for these versions, and what is published meanwhile in these scopes, to be rewritten;
    /// answers at once.
    pub(crate) fn ask(
        app: &AppState,
        versions: Vec<PushOf>,
        scopes: &[Scope],
        cause: &Cause,
    ) -> Answer<()> {
        let mut queue = app.rewrites.queue();
        queue.asked.retain(|(before, _)| before != scopes);
        queue.asked.push((scopes.to_vec(), cause.clone()));
        for version in versions {
            queue.failed.remove(&version);
            // What is being rewritten may have been begun before the last key was erased.
            if !queue.waiting.iter().any(|(waiting, _)| *waiting == version) {
                queue.waiting.push_back((version, cause.clone()));
            }
        }
        if queue.has_thread {
            return Ok(());
        }
        if queue.waiting.is_empty() {
            queue.asked.clear();
            return Ok(());
        }
        let (own, work) = (Arc::clone(app), || "rewrites".to_owned());
        let spawned = thread::Builder::new().name(work()).spawn(move || run(&own));
        spawned.map_err(|error| {
            queue.waiting.clear();
            queue.asked.clear();
            no_thread(error)
        })?;
        queue.has_thread = true;
        Ok(())
    }

    pub(crate) fn standing(&self) -> Standing {
        let queue = self.queue();
        let running = queue.running.iter().map(|(version, step)| (version.clone(), Some(*step)));
        let waiting = queue.waiting.iter().map(|(version, _)| (version.clone(), None));
        let failed = queue.failed.iter().map(|(version, why)| (version.clone(), why.clone()));
        Standing { rewriting: running.chain(waiting).collect(), failed: failed.collect() }
    }

    /// What runs ends soon, and is as if it had not been begun.
    pub(crate) fn stop(&self) {
        let mut queue = self.queue();
        queue.stopping = true;
        queue.waiting.clear();
    }

    fn next(&self, store: &Store) -> Option<(PushOf, Cause)> {
        let holders = holders(store);
        let mut queue = self.queue();
        let next = queue.waiting.pop_front().or_else(|| queue.published_meanwhile(&holders));
        match &next {
            Some((version, _)) => {
                // Of a push under way nothing can be rewritten: once it is published, it is.
                if holders.contains(version) {
                    queue.begun.insert(version.clone());
                }
                queue.running = Some((version.clone(), RewriteStep::Looking(0, 0)));
            }
            None => {
                queue.has_thread = false;
                queue.asked.clear();
                queue.begun.clear();
            }
        }
        next
    }

    fn goes_on(&self, step: RewriteStep) -> bool {
        let mut queue = self.queue();
        if let Some((_, shown)) = &mut queue.running {
            *shown = step;
        }
        !queue.stopping
    }

    fn ended(&self, version: &PushOf, failed: Option<Problem>) {
        let mut queue = self.queue();
        queue.running = None;
        if let Some(why) = failed {
            queue.failed.insert(version.clone(), why);
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().even_poisoned()
    }
}

impl Queue {
    /// A version that may hold erased keys where rewriting was asked for, and was not begun yet.
    fn published_meanwhile(&self, holders: &[PushOf]) -> Option<(PushOf, Cause)> {
        if self.stopping {
            return None;
        }
        holders.iter().filter(|holder| !self.begun.contains(*holder)).find_map(|holder| {
            let covers = |scopes: &[Scope]| scopes.iter().any(|scope| scope.covers(&holder.0));
            let (_, cause) = self.asked.iter().rev().find(|(scopes, _)| covers(scopes))?;
            Some((holder.clone(), cause.clone()))
        })
    }
}

/// The versions that may hold erased keys and have files to rewrite: of a push under way there are
/// none yet.
fn holders(store: &Store) -> Vec<PushOf> {
    let catalog = store.catalog();
    let held = catalog.erasures().held_by();
    let held = held.filter(|&(dataset, version)| {
        catalog.entry(dataset, version).is_ok_and(|entry| entry.state.has_files())
    });
    held.map(|(dataset, version)| (dataset.clone(), version)).collect()
}

fn run(app: &AppState) {
    while let Some((version, cause)) = app.rewrites.next(&app.store) {
        let failed = rewrite(app, &version, cause);
        app.rewrites.ended(&version, failed);
    }
}

fn rewrite(app: &AppState, of: &PushOf, cause: Cause) -> Option<Problem> {
    let (dataset, version) = of;
    let gives_way = app.config.pushes_give_way.0;
    let mut goes_on = |step| app.rewrites.goes_on(step);
    let rewrite = || app.store.rewrite(dataset, *version, gives_way, cause, &mut goes_on);
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(rewrite));
    let failed = match done {
        Ok(Ok(Some(rewritten))) => {
            let removed = rewritten.removed;
            info!(%dataset, version = version.0, removed, "rewritten without erased keys");
            None
        }
        Ok(Ok(None)) => None,
        Ok(Err(error)) => {
            warn!(%dataset, version = version.0, %error, "not rewritten: it may hold erased keys");
            Some(Problem::from(error))
        }
        Err(_) => {
            app.metrics.panicked();
            Some(Problem::new(Fault::Internal, "the server failed in a way it should not"))
        }
    };
    count_dataset(&app.store, &app.metrics, dataset);
    failed
}

#[cfg(test)]
mod tests {
    use tidetable_storage::{DatasetName, Version};

    use super::*;

    #[test]
    fn what_was_published_meanwhile_is_begun_once_where_it_was_asked_for() {
        let of = |name: &str, version| (DatasetName::parse(name).unwrap(), Version(version));
        let mut queue = Queue::default();
        let holders = [of("recs", 1), of("recs", 2), of("other", 1)];
        assert!(queue.published_meanwhile(&holders).is_none(), "nobody has asked");
        let scopes = vec![Scope::Dataset(DatasetName::parse("recs").unwrap())];
        queue.asked.push((scopes, Cause::default()));
        queue.begun.insert(of("recs", 1));
        let next = queue.published_meanwhile(&holders).unwrap().0;
        assert_eq!(next, of("recs", 2));
        queue.begun.insert(next);
        assert!(queue.published_meanwhile(&holders).is_none(), "it would never end");
        queue.begun.clear();
        queue.stopping = true;
        assert!(queue.published_meanwhile(&holders).is_none());
    }
}
