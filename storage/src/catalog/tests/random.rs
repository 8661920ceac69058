//! Random sequences of events against the invariants.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    Admit { activate: bool, key: Option<u8> },
    Seal { pick: usize, activate: bool },
    Publish { pick: usize, records: u64 },
    Fail(usize),
    Activate { pick: usize, force: bool },
    RollBack { pick: Option<usize>, hold: bool },
    Hold,
    Release,
    Canary { pick: usize, percent: u32 },
    EndCanary,
    Promote,
    Delete(usize),
    Configure { retain: u32, grace: u64 },
    DeleteDataset,
    Pass(i64),
    Sweep,
    Other,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let pick = 0..6usize;
    let op = prop_oneof![
        4 => (any::<bool>(), prop::option::of(0..3u8))
            .prop_map(|(activate, key)| Op::Admit { activate, key }),
        4 => (pick.clone(), any::<bool>())
            .prop_map(|(pick, activate)| Op::Seal { pick, activate }),
        5 => (pick.clone(), prop_oneof![Just(0), 1..20u64, 900..5000u64])
            .prop_map(|(pick, records)| Op::Publish { pick, records }),
        1 => pick.clone().prop_map(Op::Fail),
        5 => (pick.clone(), any::<bool>())
            .prop_map(|(pick, force)| Op::Activate { pick, force }),
        3 => (prop::option::of(pick.clone()), any::<bool>())
            .prop_map(|(pick, hold)| Op::RollBack { pick, hold }),
        1 => Just(Op::Hold),
        1 => Just(Op::Release),
        3 => (pick.clone(), 1..100u32).prop_map(|(pick, percent)| Op::Canary { pick, percent }),
        1 => Just(Op::EndCanary),
        1 => Just(Op::Promote),
        1 => pick.prop_map(Op::Delete),
        1 => (1..4u32, 0..900u64).prop_map(|(retain, grace)| Op::Configure { retain, grace }),
        1 => Just(Op::DeleteDataset),
        2 => (-1_000_000..5_000_000i64).prop_map(Op::Pass),
        2 => Just(Op::Sweep),
        1 => Just(Op::Other),
    ];
    prop::collection::vec(op, 1..120)
}

impl World {
    /// Does it, if it may be done.
    fn attempt(&mut self, op: &Op) {
        // The newest versions are the interesting ones.
        let newest = match self.catalog.dataset(&self.dataset) {
            Ok(dataset) => dataset.next_version().0.saturating_sub(1),
            Err(_) => return self.configure(&DatasetConfig::default()),
        };
        let version = |pick: usize| Version(newest.saturating_sub(pick as u64));
        let reason = Some("because");
        let _ = match op {
            Op::Admit { activate, key } => {
                let push = Admission { activate: *activate, ..Admission::default() };
                let event = self.catalog.plan_admit(&self.dataset, &push).unwrap();
                let key = key.map(|k| id(&k.to_string(), "f")).unwrap_or_default();
                self.happen_because(key, event);
                Ok(())
            }
            Op::Seal { pick, activate } => self.seal(version(*pick), *activate),
            Op::Publish { pick, records } => self.publish(version(*pick), *records),
            Op::Fail(pick) => self.fail(version(*pick)),
            Op::Activate { pick, force } => self.activate(version(*pick), *force, reason),
            Op::RollBack { pick, hold } => {
                let to = pick.map(version);
                let rollback = Rollback { to, hold: *hold, expect: Expect::Anything };
                let event = self.catalog.plan_rollback(&self.dataset, &rollback);
                event.map(|event| self.happen(event))
            }
            Op::Hold => self.catalog.plan_hold(&self.dataset).map(|event| {
                if let Some(event) = event {
                    self.happen(event);
                }
            }),
            Op::Release => self.step("L"),
            Op::Canary { pick, percent } => self.canary(version(*pick), f64::from(*percent), None),
            Op::EndCanary => self.step("c"),
            Op::Promote => self.step("M"),
            Op::Delete(pick) => {
                let event = self.catalog.plan_delete(&self.dataset, version(*pick));
                event.map(|event| self.happen(event))
            }
            Op::Configure { retain, grace } => {
                let config = DatasetConfig {
                    retain: *retain,
                    retire_grace_seconds: *grace,
                    ..DatasetConfig::default()
                };
                self.configure(&config);
                Ok(())
            }
            Op::DeleteDataset => {
                let event = self.catalog.plan_delete_dataset(&self.dataset);
                event.map(|event| self.happen(event))
            }
            Op::Pass(time) => {
                self.now = self.now.saturating_add_signed(*time).max(1);
                Ok(())
            }
            Op::Sweep => {
                self.sweep();
                Ok(())
            }
            Op::Other => {
                self.dataset = name(if self.dataset.as_str() == "a" { "b" } else { "a" });
                Ok(())
            }
        };
    }

    fn sweep(&mut self) {
        let keep = Keep::default();
        for (dataset, version) in self.catalog.due_for_deletion(&keep, self.now) {
            assert!(self.catalog.is_due(&dataset, version, &keep, self.now));
            let event = self.catalog.plan_delete(&dataset, version).expect("what is due may go");
            self.happen(event);
        }
        assert!(self.catalog.due_for_deletion(&keep, self.now).is_empty(), "one sweep is enough");
        for (_, dataset) in self.catalog.datasets() {
            let config = &dataset.config;
            let old = |e: &Entry| {
                let left = e.left_at.unwrap_or(Millis::MAX);
                self.now.saturating_sub(left) >= config.retire_grace_seconds * 1000
            };
            let served =
                |e: &&Entry| e.state == State::Active || e.state == State::Retired && old(e);
            let kept = dataset.versions.values().filter(served).count();
            let spared = 1 + usize::from(dataset.canary.is_some());
            assert!(kept <= config.retain as usize + spared, "{kept} kept of {}", config.retain);
        }
    }

    fn check(&self) {
        for (name, dataset) in self.catalog.datasets() {
            let active: Vec<Version> = dataset
                .versions
                .iter()
                .filter(|(_, e)| e.state == State::Active)
                .map(|(v, _)| *v)
                .collect();
            assert_eq!(active, Vec::from_iter(dataset.current), "the active one is current");
            assert!(dataset.versions.keys().all(|v| *v < dataset.next_version()));
            let far = self.now + 1000 * DAY;
            let canary = dataset.canary.as_ref().map(|canary| canary.version);
            if let Some(canary) = canary {
                let state = dataset.versions[&canary].state;
                assert!(matches!(state, State::Ready | State::Retired), "{}", state.as_str());
                assert!(dataset.current.is_some_and(|current| current != canary));
            }
            let needed = [dataset.current, canary, dataset.rollback_target()];
            for version in needed.into_iter().flatten() {
                assert!(!self.catalog.is_due(name, version, &Keep::default(), far));
                assert!(self.catalog.plan_delete(name, version).is_err());
            }
            if let Some(target) = dataset.rollback_target() {
                assert_eq!(dataset.versions[&target].state, State::Retired);
            }
            if let Some(target) = dataset.release_target() {
                assert!(Some(target) > dataset.current && dataset.versions[&target].activate);
            }
            for remembered in dataset.idempotency.values() {
                let (Outcome::Pushed(version) | Outcome::Committed(version)) = remembered.outcome
                else {
                    continue;
                };
                let state = dataset.versions[&version].state;
                let ended = [State::Failed, State::Rejected, State::Bad, State::Deleted];
                assert!(!ended.contains(&state), "a {} push frees its key", state.as_str());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_events_keeps_the_invariants(ops in ops()) {
        let mut world = World::after("");
        for op in &ops {
            world.attempt(op);
            world.check();
        }
        // A number is given once, whatever became of its dataset.
        for dataset in ["a", "b"] {
            let admitted = world.log.iter().filter_map(|(_, event)| match event {
                Event::Admitted(e) if e.dataset.as_str() == dataset => Some(e.version),
                _ => None,
            });
            let admitted: Vec<Version> = admitted.collect();
            prop_assert!(admitted.is_sorted_by(|a, b| a < b), "{admitted:?}");
        }
        prop_assert_eq!(&world.folded(), &world.catalog);
        let json = serde_json::to_string(&world.catalog).unwrap();
        let read: Catalog = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(&read, &world.catalog);
    }
}
