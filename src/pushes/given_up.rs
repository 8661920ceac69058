//! Pushes whose data does not come: each ends at once, and frees its idempotency key.
//!
//! If its end cannot be recorded, the disk being read-only or the journal taking no changes, it goes on
//! as `receiving` with nobody working at it. Whoever waits for it is told why instead, and its end is
//! recorded as soon as that is possible: by the next sweep, or when its request is repeated. A restart
//! ends it too.

use tidetable_storage::{Cause, Error, Failed, State};
use tracing::error;

use super::{PushOf, Pushes};
use crate::problem::{Answer, Problem};

impl Pushes {
    /// Ends a push whose data did not arrive, counts it, and tells whoever waits for it; an error if
    /// that could not be recorded.
    pub(crate) fn give_up(&self, failed: Failed, cause: Cause) -> Answer<()> {
        let push = (failed.dataset.clone(), failed.version);
        let ended = match self.fail(failed.clone(), cause.clone()) {
            Ok(is_new) => {
                self.is_recorded(&push);
                if is_new {
                    self.metrics.dataset(&push.0).got_no_data();
                    crate::state::count_dataset(&self.store, &self.metrics, &push.0);
                }
                Ok(())
            }
            Err(error) => self.is_not_recorded(&push, (failed, cause), &error),
        };
        self.look_again();
        ended
    }

    /// Whether a push was given up, and still takes its key because that is not recorded.
    pub(crate) fn is_given_up(&self, push: &PushOf) -> bool {
        self.queue().given_up.contains_key(push)
    }

    /// If that push was given up, records it now, so that it can be begun anew; or says why that is
    /// still not possible.
    pub(crate) fn record_given_up(&self, push: &PushOf) -> Answer<()> {
        let given_up = self.queue().given_up.get(push).cloned();
        let Some((failed, cause)) = given_up else { return Ok(()) };
        let state = self.store.catalog().entry(&push.0, push.1).map(|entry| entry.state);
        if !matches!(state, Ok(State::Receiving)) {
            // It was deleted, say: there is nothing to record any more.
            self.queue().given_up.remove(push);
            return Ok(());
        }
        self.give_up(failed, cause)
    }

    /// Records what is still to be recorded of pushes that were given up, as far as it can be.
    pub(crate) fn record_all_given_up(&self) {
        // A restart is needed then, which ends them.
        if self.store.journal_state().1 {
            return;
        }
        let given_up: Vec<_> = self.queue().given_up.keys().cloned().collect();
        for push in given_up {
            // Why not was logged when it was given up, and is told to whoever asks.
            let _ = self.record_given_up(&push);
        }
    }

    fn is_recorded(&self, push: &PushOf) {
        let mut queue = self.queue();
        if queue.given_up.remove(push).is_some() {
            queue.stuck.remove(push);
        }
    }

    /// How a push ends could not be recorded: what whoever asks for it is told. Nothing, if somebody
    /// else has ended it meanwhile.
    pub(super) fn is_not_recorded(
        &self,
        push: &PushOf,
        end: (Failed, Cause),
        error: &Error,
    ) -> Answer<()> {
        let code = end.0.code.clone();
        let (why, was_known) = {
            // Held to the end: whoever records it later finds what is to be taken away then.
            let catalog = self.store.catalog();
            let state = catalog.entry(&push.0, push.1).map(|entry| entry.state);
            let mut queue = self.queue();
            let (text, was_known) = match state {
                Ok(State::Receiving) => {
                    let text = format!(
                        "the push failed ({code}: {}), and that could not be recorded: {}",
                        end.0.reason(),
                        error.detail()
                    );
                    (text, queue.given_up.insert(push.clone(), end).is_some())
                }
                // It is built again instead.
                Ok(State::Building) => (error.detail().to_owned(), false),
                _ => return Ok(()),
            };
            let why = Problem::from(Error::new(error.code(), text)).because(error);
            queue.gets_stuck(&catalog, push, why.clone());
            (why, was_known)
        };
        if !was_known {
            let (dataset, version) = (&push.0, push.1.0);
            error!(%dataset, version, code, %error, "a failed push was not recorded");
        }
        Err(why)
    }
}

#[cfg(test)]
mod tests {
    use tidetable_storage::{Admission, Code, DatasetName, Idempotency, PartSums, StoreOptions};

    use super::*;
    use crate::pushes::tests::{break_journal, pushes_on};

    /// A push of one request that has its number, and how it ends: its body broke off.
    fn broken_off(pushes: &Pushes, dataset: &str, key: &str) -> (PushOf, (Failed, Cause)) {
        let dataset = DatasetName::parse(dataset).unwrap();
        let id = Idempotency { key: key.to_owned(), fingerprint: "1".to_owned() };
        let cause = Cause { idempotency: Some(id), ..Cause::default() };
        let push = Admission { whole: true, ..Admission::default() };
        let version = pushes.store.admit(&dataset, &push, cause).unwrap().number().unwrap();
        let failed = Failed {
            dataset: dataset.clone(),
            version,
            code: "body_incomplete".to_owned(),
            detail: "it broke off".to_owned(),
            problems: Vec::new(),
        };
        ((dataset, version), (failed, Cause::default()))
    }

    fn state(pushes: &Pushes, push: &PushOf) -> State {
        pushes.store.catalog().entry(&push.0, push.1).unwrap().state
    }

    #[test]
    fn what_cannot_be_recorded_is_waited_for_by_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let options = StoreOptions { checkpoint_bytes: 1, ..StoreOptions::default() };
        let (pushes, dataset) = pushes_on(dir.path(), options);
        let (push, (failed, cause)) = broken_off(&pushes, "a", "night-1");
        assert!(pushes.is_under_way(&push));
        break_journal(&pushes.store, &dataset);
        let told = pushes.give_up(failed, cause).unwrap_err();
        assert_eq!(told.code(), "outcome_unknown");
        assert!(told.detail().contains("(body_incomplete: it broke off)"), "{}", told.detail());
        assert!(!pushes.is_under_way(&push));
        assert_eq!(pushes.stuck(&push).unwrap().code(), "outcome_unknown");
        pushes.record_all_given_up();
        assert_eq!(pushes.record_given_up(&push).unwrap_err().code(), "outcome_unknown");
        assert!(pushes.is_given_up(&push));
        assert_eq!(state(&pushes, &push), State::Receiving);
    }

    #[test]
    fn it_is_recorded_once_that_is_possible_and_counted_once() {
        let dir = tempfile::tempdir().unwrap();
        let (pushes, _) = pushes_on(dir.path(), StoreOptions::default());
        let (mine, end) = broken_off(&pushes, "a", "night-1");
        let (other, other_end) = broken_off(&pushes, "a", "night-2");
        for (push, end) in [(&mine, end), (&other, other_end)] {
            let error = Error::new(Code::DiskReadOnly, "cannot append to the journal");
            let told = pushes.is_not_recorded(push, end, &error).unwrap_err();
            assert_eq!(told.code(), "disk_read_only");
            assert!(pushes.is_given_up(push) && !pushes.is_under_way(push));
        }
        // Somebody repeats one; the other is swept.
        pushes.record_given_up(&mine).unwrap();
        assert_eq!(
            (state(&pushes, &mine), state(&pushes, &other)),
            (State::Failed, State::Receiving)
        );
        pushes.record_all_given_up();
        for push in [&mine, &other] {
            assert_eq!(state(&pushes, push), State::Failed);
            assert!(!pushes.is_given_up(push) && pushes.stuck(push).is_none());
            pushes.record_given_up(push).unwrap();
        }
        let counted = r#"tidetable_pushes_total{dataset="a",outcome="failed"} 2"#;
        assert!(pushes.metrics.render().contains(counted));
    }

    #[test]
    fn what_somebody_else_has_recorded_meanwhile_is_not_stuck() {
        let dir = tempfile::tempdir().unwrap();
        let (pushes, _) = pushes_on(dir.path(), StoreOptions::default());
        let (push, (failed, cause)) = broken_off(&pushes, "a", "night-1");
        pushes.store.fail(failed.clone(), cause.clone()).unwrap();
        let error = Error::new(Code::DiskFull, "cannot append to the journal");
        pushes.is_not_recorded(&push, (failed, cause), &error).unwrap();
        assert!(!pushes.is_given_up(&push) && pushes.stuck(&push).is_none());
    }

    #[test]
    fn a_push_that_goes_on_after_all_is_not_ended() {
        let dir = tempfile::tempdir().unwrap();
        let (pushes, _) = pushes_on(dir.path(), StoreOptions::default());
        let (push, end) = broken_off(&pushes, "a", "night-1");
        let error = Error::new(Code::DiskFull, "cannot append to the journal");
        pushes.is_not_recorded(&push, end, &error).unwrap_err();
        let ((dataset, version), store) = (&push, &pushes.store);
        let part = store.begin_part(dataset, *version, "body").unwrap();
        store.receive_part(dataset, *version, part.close(PartSums::default())).unwrap();
        store.seal(dataset, *version, true, None, Cause::default()).unwrap();
        pushes.record_all_given_up();
        assert_eq!(state(&pushes, &push), State::Building);
        assert!(!pushes.is_given_up(&push));
    }
}
