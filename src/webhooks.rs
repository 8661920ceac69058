//! Webhooks: whoever asked for it in the settings is told over HTTP what happened to a dataset.
//!
//! What happened is what the journal has committed: the store calls [`Webhooks::listener`]
//! after each record, whoever caused it, so that nothing is missed; what is in no journal
//! (that a dataset is stale, an alarm of the watch) comes by [`Webhooks::notify`].
//!
//! Promised here:
//! - a push, a swap or a request never waits for a receiver: notices go to a queue in memory
//!   of bounded length, and a thread of its own delivers them;
//! - a receiver that does not answer holds up others by one timeout now and then, no more;
//! - a notice is tried again for an hour, always under the same id, and may so arrive twice.
//!
//! Not promised: notices that wait when the process is killed are lost. What happened stands
//! in the history of the dataset.

mod counts;
mod delivery;
mod notice;
mod queue;
mod signature;

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tidetable_storage::{EvenPoisoned as _, Listener};
use tracing::warn;

use crate::config::Target;
use crate::metrics::Metrics;

pub(crate) use counts::Counts;
pub(crate) use delivery::Tested;
pub(crate) use notice::{Kind, Notice};
use queue::{Message, Queue};

/// How long a stop waits for what can be delivered at once.
const DRAIN: Duration = Duration::from_secs(5);

/// The receivers, and what waits for them. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Webhooks(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    targets: Vec<Target>,
    metrics: Arc<Metrics>,
    waiting: Mutex<Waiting>,
    changed: Condvar,
    /// Held by the one test that runs.
    testing: Mutex<()>,
}

#[derive(Debug)]
struct Waiting {
    /// One for each target.
    queues: Vec<Queue>,
    /// Whether a thread delivers.
    delivering: bool,
    /// When the thread has to end, once it has to.
    stop_by: Option<Instant>,
}

impl Webhooks {
    /// Receivers that nobody delivers to yet: notices wait from now on.
    pub(crate) fn new(targets: Vec<Target>, metrics: Arc<Metrics>) -> Self {
        let queues = targets.iter().map(|_| Queue::default()).collect();
        let waiting = Mutex::new(Waiting { queues, delivering: false, stop_by: None });
        let (changed, testing) = (Condvar::new(), Mutex::new(()));
        Self(Arc::new(Shared { targets, metrics, waiting, changed, testing }))
    }

    /// What the store calls after each record; none if there is nobody to tell.
    pub(crate) fn listener(&self) -> Option<Listener> {
        let webhooks = (!self.0.targets.is_empty()).then(|| self.clone())?;
        Some(Listener::new(move |dataset, happened| {
            if let Some(notice) = Notice::of(dataset, happened) {
                webhooks.notify(&notice);
            }
        }))
    }

    /// Tells those who want to know. Never waits for any of them.
    pub(crate) fn notify(&self, notice: &Notice) {
        let wants = |target: &Target| target.wants(notice.kind, &notice.dataset);
        if !self.0.targets.iter().any(wants) {
            return;
        }
        let message = Arc::new(Message::of(notice));
        let now = Instant::now();
        let mut waiting = self.0.waiting();
        for (queue, target) in waiting.queues.iter_mut().zip(&self.0.targets) {
            if wants(target) {
                self.0.metrics.webhooks.dropped(queue.push(Arc::clone(&message), now).into());
            }
        }
        self.0.changed.notify_all();
    }

    /// Starts the thread that delivers, if there is anybody to deliver to.
    pub(crate) fn start(&self) -> std::io::Result<()> {
        if self.0.targets.is_empty() {
            return Ok(());
        }
        let shared = Arc::clone(&self.0);
        self.0.waiting().delivering = true;
        std::thread::Builder::new()
            .name("notify".to_owned())
            .spawn(move || delivery::deliver_until_stopped(&shared))
            .map(drop)
    }

    /// Sends a test notice to every receiver, once and now, and says what came of each; `None`
    /// while another does. Waits for the receivers.
    pub(crate) fn test(&self) -> Option<Vec<Tested>> {
        let _alone = self.0.testing.try_lock().even_poisoned()?;
        Some(delivery::test(&self.0.targets))
    }

    /// Waits a little for what can be delivered at once; the rest is lost, and counted in the
    /// log.
    pub(crate) fn stop(&self) {
        let stop_by = Instant::now() + DRAIN;
        let mut waiting = self.0.waiting();
        waiting.stop_by = Some(stop_by);
        self.0.changed.notify_all();
        while waiting.delivering {
            let left = stop_by.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let woken = self.0.changed.wait_timeout(waiting, left);
            waiting = woken.even_poisoned().0;
        }
        let lost: usize = waiting.queues.iter().map(Queue::len).sum();
        drop(waiting);
        if lost > 0 {
            warn!(notices = lost, "stopping: webhooks that could not be delivered are lost");
        }
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().even_poisoned()
    }
}

#[cfg(test)]
impl Webhooks {
    /// The bodies that wait for the receiver of this number, which are gone after this.
    pub(crate) fn take_waiting(&self, number: usize) -> Vec<serde_json::Value> {
        let mut waiting = self.0.waiting();
        let queue = &mut waiting.queues[number];
        let letters = std::iter::from_fn(|| queue.take(Instant::now()));
        let body = |letter: queue::Letter| serde_json::from_slice(&letter.message.body);
        letters.map(|letter| body(letter).expect("a body is JSON")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_is_sent_though_one_before_it_panicked() {
        let webhooks = Webhooks::new(Vec::new(), Arc::new(Metrics::new()));
        let ended = std::thread::scope(|scope| {
            let panics = || {
                let _alone = webhooks.0.testing.lock().unwrap();
                panic!("on purpose");
            };
            scope.spawn(panics).join()
        });
        assert!(ended.is_err());
        assert!(webhooks.test().is_some());
    }
}
