//! What is counted of a dataset's history: verdicts of gates, rollbacks, and how long pushes
//! were received. It is read off the catalogue, so that it is counted whoever brought it about: a
//! request, a build, or the server by itself.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use tidetable_storage::{Dataset, EvenPoisoned as _, Happened};

use super::phases::{PhaseTimes, PushPhase};

/// The actor of what the watch after an activation does.
const WATCH: &str = "tidetable-watch";

/// What has happened to one dataset since this server started.
#[derive(Debug, Default)]
pub(super) struct Happenings(Mutex<Counts>);

/// The counts, as they stand.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    /// The last event that was counted.
    seq: u64,
    /// Verdicts by the name of their gate: passed, refused. Names are words of the program.
    pub(super) verdicts: BTreeMap<String, [u64; 2]>,
    /// Rollbacks by a person.
    pub(super) by_person: u64,
    /// Rollbacks by the watch.
    pub(super) by_watch: u64,
}

impl Happenings {
    /// Counts what comes after the event with this number.
    pub(super) fn after(seq: u64) -> Self {
        Self(Mutex::new(Counts { seq, ..Counts::default() }))
    }

    /// Counts what was not counted yet.
    pub(super) fn count(&self, dataset: &Dataset, phases: &PhaseTimes) {
        let mut counts = self.0.lock().even_poisoned();
        let last = counts.seq;
        // One event may be two lines, which have one number.
        for line in dataset.history.iter().rev().take_while(|line| line.seq > last) {
            counts.take(line, dataset, phases);
        }
        counts.seq = dataset.history.back().map_or(last, |line| line.seq.max(last));
    }

    pub(super) fn counts(&self) -> Counts {
        self.0.lock().even_poisoned().clone()
    }
}

impl Counts {
    fn take(&mut self, line: &Happened, dataset: &Dataset, phases: &PhaseTimes) {
        let entry = line.version.and_then(|version| dataset.versions.get(&version));
        match (line.event.as_str(), entry) {
            ("rolled_back", _) if line.actor == WATCH => self.by_watch += 1,
            ("rolled_back", _) => self.by_person += 1,
            ("published" | "rejected", Some(entry)) => {
                for verdict in &entry.gates {
                    let [passed, refused] = self.verdicts.entry(verdict.gate.clone()).or_default();
                    *if verdict.passed { passed } else { refused } += 1;
                }
            }
            ("sealed", Some(entry)) => {
                let received = Duration::from_millis(line.at.saturating_sub(entry.created_at));
                phases.took(PushPhase::Receiving, received);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidetable_storage::{
        Admission, Cause, DatasetName, Failed, PartSums, Store, StoreOptions, Version,
    };

    use super::*;
    use crate::metrics::Metrics;

    fn push(store: &Store, name: &DatasetName) -> Version {
        store.ensure_dataset(name, Cause::default()).unwrap();
        let version =
            store.admit(name, &Admission::default(), Cause::default()).unwrap().number().unwrap();
        let part = store.begin_part(name, version, "1").unwrap();
        store.receive_part(name, version, part.close(PartSums::default())).unwrap();
        store.seal(name, version, true, None, Cause::default()).unwrap();
        version
    }

    fn fail(store: &Store, name: &DatasetName, version: Version) {
        let (code, detail) = ("bad_rows".to_owned(), String::new());
        let failed = Failed { dataset: name.clone(), version, code, detail, problems: Vec::new() };
        store.fail(failed, Cause::default()).unwrap();
    }

    fn received(metrics: &Arc<Metrics>) -> u64 {
        let page = metrics.render();
        let name = r#"tidetable_push_phase_seconds_count{phase="receiving"} "#;
        page.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap()
    }

    #[test]
    fn each_event_is_counted_once_and_none_from_before_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path(), StoreOptions::default()).unwrap();
        let name = DatasetName::parse("a").unwrap();
        let first = push(&store, &name);
        let metrics = Arc::new(Metrics::new());
        metrics.count_after(store.catalog().seq());
        let count = || metrics.happened(&name, store.catalog().dataset(&name).unwrap());
        count();
        assert_eq!(received(&metrics), 0);
        let second = push(&store, &name);
        fail(&store, &name, first);
        fail(&store, &name, second);
        count();
        count();
        assert_eq!(received(&metrics), 1);
        // One that is made again begins anew, with events that come after all others.
        store.delete_dataset(&name, Cause::default()).unwrap();
        metrics.forget(&name);
        push(&store, &name);
        count();
        assert_eq!(received(&metrics), 2);
    }

    #[test]
    fn verdicts_and_rollbacks_are_told_apart() {
        let line = |event: &str, actor: &str, seq| Happened {
            seq,
            at: 0,
            event: event.to_owned(),
            version: Some(Version(1)),
            from: None,
            to: None,
            actor: actor.to_owned(),
            request_id: String::new(),
            reason: None,
            forced: false,
        };
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path(), StoreOptions::default()).unwrap();
        let name = DatasetName::parse("a").unwrap();
        let version = push(&store, &name);
        let mut dataset = store.catalog().dataset(&name).unwrap().clone();
        let verdict = |gate: &str, passed| tidetable_storage::Verdict {
            gate: gate.to_owned(),
            limit: 1.0,
            observed: 1.0,
            passed,
            detail: String::new(),
        };
        let entry = dataset.versions.get_mut(&version).unwrap();
        entry.gates = vec![verdict("min_records", true), verdict("max_shrink_percent", false)];
        dataset.history = [
            line("rejected", "job", 10),
            line("rolled_back", "anonymous", 11),
            line("held", "anonymous", 11),
            line("rolled_back", WATCH, 12),
            line("rolled_back", "lea", 13),
        ]
        .into();
        let happened = Happenings::after(9);
        happened.count(&dataset, &PhaseTimes::default());
        let counts = happened.counts();
        assert_eq!((counts.by_person, counts.by_watch), (2, 1));
        let verdicts: Vec<_> = counts.verdicts.into_iter().collect();
        assert_eq!(
            verdicts,
            [("max_shrink_percent".to_owned(), [0, 1]), ("min_records".to_owned(), [1, 0])]
        );
    }
}
