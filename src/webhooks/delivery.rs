//! The thread that delivers, one notice after the other.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tidetable_storage::EvenPoisoned as _;
use tracing::{debug, info, warn};

use super::notice::Notice;
use super::queue::{Letter, Message, whose_turn};
use super::signature::sign;
use super::{Shared, Waiting};
use crate::chance::chance;
use crate::config::Target;
use crate::outbound::{OutboundError, post_for_status};

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(10);

/// Delivers until it is to stop.
pub(super) fn deliver_until_stopped(shared: &Shared) {
    while let Some(Due { target: number, letter, timeout }) = next(shared) {
        let target = &shared.targets[number];
        let sent = send(target, &letter.message, timeout);
        settle(shared, number, letter, sent);
    }
    shared.waiting().delivering = false;
    shared.changed.notify_all();
}

/// What is to be sent now.
struct Due {
    target: usize,
    letter: Letter,
    timeout: Duration,
}

/// Waits until something is to be sent; `None` if it is time to end.
fn next(shared: &Shared) -> Option<Due> {
    let mut waiting = shared.waiting();
    loop {
        let now = Instant::now();
        let expired: usize = waiting.queues.iter_mut().map(|queue| queue.expire(now)).sum();
        if expired > 0 {
            drop(waiting);
            shared.metrics.webhooks.expired(expired);
            warn!(notices = expired, "webhooks were given up after an hour of attempts");
            waiting = shared.waiting();
            continue;
        }
        if let Some(stop_by) = waiting.stop_by {
            return last(&mut waiting, now, stop_by.saturating_duration_since(now));
        }
        if let Some(target) = whose_turn(&waiting.queues, now) {
            let letter = waiting.queues[target].take(now).expect("one is due");
            return Some(Due { target, letter, timeout: ATTEMPT });
        }
        waiting = match waiting.queues.iter().filter_map(super::Queue::due).min() {
            Some(due) => {
                let woken = shared.changed.wait_timeout(waiting, due - now);
                woken.even_poisoned().0
            }
            None => shared.changed.wait(waiting).even_poisoned(),
        };
    }
}

/// At a stop: one more for a receiver that answers, as long as there is time.
fn last(waiting: &mut Waiting, now: Instant, left: Duration) -> Option<Due> {
    if left.is_zero() {
        return None;
    }
    let answering = |queue: &super::Queue| !queue.is_failing() && queue.len() > 0;
    let target = waiting.queues.iter().position(answering)?;
    let letter = waiting.queues[target].take(now)?;
    Some(Due { target, letter, timeout: left.min(ATTEMPT) })
}

/// Notes what came of an attempt. What is logged is written without the lock, for which
/// whoever changes something may wait.
fn settle(shared: &Shared, number: usize, letter: Letter, sent: Result<(), String>) {
    let receiver = &shared.targets[number].url;
    let counts = &shared.metrics.webhooks;
    let mut waiting = shared.waiting();
    let queue = &mut waiting.queues[number];
    let was_failing = queue.is_failing();
    match sent {
        Ok(()) => {
            queue.succeeded();
            drop(waiting);
            counts.delivered();
            if was_failing {
                info!(%receiver, "webhooks are delivered again");
            }
        }
        Err(why) => {
            let dropped = queue.failed(letter, Instant::now(), chance());
            drop(waiting);
            counts.failed();
            counts.dropped(dropped.into());
            // Once for each time that it begins to fail: a receiver may be gone for days.
            if was_failing {
                debug!(%receiver, why, "a webhook was not taken");
            } else {
                warn!(%receiver, why, "a webhook was not taken; it is tried again for an hour");
            }
        }
    }
}

/// One attempt. Whatever is not a success (2xx) counts as not taken, redirects too.
fn send(target: &Target, message: &Message, timeout: Duration) -> Result<(), String> {
    match attempt(target, message, timeout) {
        Ok(status) if (200..300).contains(&status) => Ok(()),
        Ok(status) => Err(format!("it was answered {status}")),
        Err(error) => Err(error.to_string()),
    }
}

fn attempt(target: &Target, message: &Message, timeout: Duration) -> Result<u16, OutboundError> {
    // The time of the attempt, not of the event: receivers refuse what is old.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let timestamp = since.as_secs();
    let signature = sign(&target.secret, &message.id, timestamp, &message.body);
    let timestamp = timestamp.to_string();
    let headers = [
        ("webhook-id", message.id.as_str()),
        ("webhook-timestamp", timestamp.as_str()),
        ("webhook-signature", signature.as_str()),
    ];
    post_for_status(&target.url, &message.body, &headers, timeout)
}

/// What came of a test notice.
#[derive(Debug, Serialize)]
pub(crate) struct Tested {
    /// The receiver, as far as it may be shown.
    receiver: String,
    delivered: bool,
    /// What it answered, if it did.
    status: Option<u16>,
    /// Why it was not delivered.
    detail: Option<String>,
}

/// Sends a test notice to each, whatever it asked to be told of.
pub(super) fn test(targets: &[Target]) -> Vec<Tested> {
    let message = Message::of(&Notice::test());
    let one = |target: &Target| {
        let receiver = target.url.to_string();
        match attempt(target, &message, ATTEMPT) {
            Ok(status) => {
                let delivered = (200..300).contains(&status);
                let detail = (!delivered).then(|| format!("it was answered {status}"));
                Tested { receiver, delivered, status: Some(status), detail }
            }
            Err(error) => {
                let detail = Some(error.to_string());
                Tested { receiver, delivered: false, status: None, detail }
            }
        }
    };
    targets.iter().map(one).collect()
}
