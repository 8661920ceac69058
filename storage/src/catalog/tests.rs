//! The rules as tables of scripts, and random sequences of events against the invariants.

use proptest::prelude::*;

use super::remembered::HOLD_KEYS_KEPT;
use super::*;
use crate::event::{Created, Failed, Idempotency, Published, SealedPart, Stats};
use crate::gates;

const DAY: Millis = 24 * 3600 * 1000;

fn name(text: &str) -> DatasetName {
    DatasetName::parse(text).unwrap()
}

/// A catalogue with the events that made it.
#[derive(Clone)]
struct World {
    catalog: Catalog,
    log: Vec<(Cause, Event)>,
    now: Millis,
    dataset: DatasetName,
}

impl World {
    fn new() -> Self {
        let dataset = name("a");
        Self { catalog: Catalog::default(), log: Vec::new(), now: 1, dataset }
    }

    /// A dataset with its default settings, in which `script` happened.
    fn after(script: &str) -> Self {
        let mut world = Self::new();
        world.configure(&DatasetConfig::default());
        for step in script.split_whitespace() {
            world.step(step).unwrap_or_else(|e| panic!("{step} of {script:?}: {e}"));
        }
        world
    }

    fn configure(&mut self, config: &DatasetConfig) {
        let event = self.catalog.plan_configure(&self.dataset, config).unwrap();
        event.into_iter().for_each(|event| self.happen(event));
    }

    fn happen(&mut self, event: Event) {
        self.happen_because(Cause::default(), event);
    }

    fn happen_because(&mut self, cause: Cause, event: Event) {
        let cause = Cause { at: self.now, ..cause };
        self.catalog.apply(self.catalog.seq() + 1, &cause, &event);
        self.log.push((cause, event));
    }

    /// One word: `P` a push that becomes ready and asked for activation, `p` one that did
    /// not ask, `E` one that its gates refuse, `O` one that stays open, `X` one that fails;
    /// with the number of a version: `S1` seals it, `W1` publishes it, `A1` activates,
    /// `F1` forces (reason given), `f1` forces (none), `R1` rolls back to, `D1` deletes;
    /// `R` rolls back, `RH` and holds, `H` holds, `L` releases, `+5` lets 5 s pass; `C1` makes
    /// it a canary, `c` ends that, `M` promotes it.
    fn step(&mut self, step: &str) -> Result<()> {
        let (word, number) = step.split_at(1);
        let version = Version(number.parse().unwrap_or(0));
        match word {
            "P" | "p" | "E" => {
                let version = self.admit(word != "p")?;
                self.seal(version, word != "p")?;
                self.publish(version, if word == "E" { 0 } else { 10 })?;
            }
            "O" => drop(self.admit(true)?),
            "X" => {
                let version = self.admit(true)?;
                self.fail(version)?;
            }
            "S" => self.seal(version, true)?,
            "W" => self.publish(version, 10)?,
            "A" => self.activate(version, false, None)?,
            "F" => self.activate(version, true, Some("because"))?,
            "f" => self.activate(version, true, None)?,
            "R" => {
                let to = (version.0 > 0).then_some(version);
                let rollback = Rollback { to, hold: number == "H", expect: Expect::Anything };
                let event = self.catalog.plan_rollback(&self.dataset, &rollback)?;
                self.happen(event);
            }
            "H" => {
                let event = self.catalog.plan_hold(&self.dataset)?.expect("it was not held");
                self.happen(event);
            }
            "L" => {
                let target = self.dataset().release_target();
                let event = self.catalog.plan_release(&self.dataset, target)?;
                self.happen(event);
            }
            "D" => {
                let event = self.catalog.plan_delete(&self.dataset, version)?;
                self.happen(event);
            }
            "C" => self.canary(version, 10.0, None)?,
            "c" => {
                let event = self.catalog.plan_end_canary(&self.dataset)?;
                self.happen(event);
            }
            "M" => {
                let promotion = Promotion { version: None, expect: Expect::Anything };
                let event = self.catalog.plan_promote(&self.dataset, &promotion)?;
                self.happen(event);
            }
            "+" => self.now += version.0 * 1000,
            _ => panic!("no such step: {step}"),
        }
        Ok(())
    }

    fn canary(&mut self, version: Version, percent: f64, experiment: Option<&str>) -> Result<()> {
        let experiment = experiment.map(str::to_owned);
        let start = CanaryStart { version, percent, experiment };
        let event = self.catalog.plan_canary(&self.dataset, &start)?;
        event.into_iter().for_each(|event| self.happen(event));
        Ok(())
    }

    fn admit(&mut self, activate: bool) -> Result<Version> {
        let push = Admission { activate, whole: true, ..Admission::default() };
        let event = self.catalog.plan_admit(&self.dataset, &push)?;
        let version = event.version().unwrap();
        self.happen(event);
        Ok(version)
    }

    fn seal(&mut self, version: Version, activate: bool) -> Result<()> {
        let part = SealedPart { name: "1".to_owned(), bytes: 1, sha256: String::new() };
        let event = self.catalog.plan_seal(&self.dataset, version, activate, vec![part])?;
        self.happen(event);
        Ok(())
    }

    fn publish(&mut self, version: Version, records: u64) -> Result<()> {
        self.catalog.check_publish(&self.dataset, version)?;
        let content_digest = format!("of version {version}");
        let stats = Stats { records, content_digest, ..Stats::default() };
        let (gates, against) = self.catalog.gate(&self.dataset, &stats, |_, _| false)?;
        let manifest = [version.0 as u8; 32];
        let dataset = self.dataset.clone();
        self.happen(Event::Published(Published {
            dataset,
            version,
            manifest,
            stats,
            gates,
            against,
        }));
        Ok(())
    }

    fn fail(&mut self, version: Version) -> Result<()> {
        let event = self.catalog.plan_fail(Failed {
            dataset: self.dataset.clone(),
            version,
            code: "bad_rows".to_owned(),
            detail: "row 7".to_owned(),
            problems: vec!["row 7".to_owned()],
        })?;
        self.happen(event);
        Ok(())
    }

    fn activate(&mut self, version: Version, force: bool, reason: Option<&str>) -> Result<()> {
        let activation = Activation { version, force, expect: Expect::Anything };
        let event = self.catalog.plan_activate(&self.dataset, &activation, reason)?;
        let reason = reason.map(str::to_owned);
        self.happen_because(Cause { reason, ..Cause::default() }, event);
        Ok(())
    }

    fn dataset(&self) -> &Dataset {
        self.catalog.dataset(&self.dataset).unwrap()
    }

    fn state(&self, version: u64) -> State {
        self.dataset().versions[&Version(version)].state
    }

    /// Every version's state, as its first three letters: `1ret 2act`; ` held` if held.
    fn shown(&self) -> String {
        let versions = &self.dataset().versions;
        let mut shown: Vec<String> =
            versions.iter().map(|(v, e)| format!("{v}{}", &e.state.as_str()[..3])).collect();
        shown.extend(self.dataset().hold.is_some().then(|| "held".to_owned()));
        shown.extend(self.dataset().canary.as_ref().map(|c| format!("canary{}", c.version)));
        shown.join(" ")
    }

    fn due(&self) -> Vec<u64> {
        let due = self.catalog.due_for_deletion(&Keep::default(), self.now);
        due.iter().map(|(_, v)| v.0).collect()
    }

    fn folded(&self) -> Catalog {
        let mut catalog = Catalog::default();
        for (n, (cause, event)) in self.log.iter().enumerate() {
            catalog.apply(n as u64 + 1, cause, event);
        }
        catalog
    }
}

#[test]
fn each_script_ends_in_its_states_and_rollback_target() {
    let table: &[(&str, &str, Option<u64>)] = &[
        ("", "", None),
        ("P", "1rea", None),
        ("P A1", "1act", None),
        ("E", "1rej", None),
        ("X", "1fai", None),
        ("O", "1rec", None),
        ("O S1", "1bui", None),
        ("O P A2 S1 W1", "1rea 2act", None),
        ("P A1 P A2", "1ret 2act", Some(1)),
        ("P A1 P A2 P A3", "1ret 2ret 3act", Some(2)),
        // One rollback after the other goes further back, never to what was left as bad.
        ("P A1 P A2 P A3 R", "1ret 2act 3bad", Some(1)),
        ("P A1 P A2 P A3 R R", "1act 2bad 3bad", None),
        ("P A1 P A2 RH", "1act 2bad held", None),
        ("P A1 P A2 P A3 R1", "1act 2ret 3bad", Some(2)),
        // An activation of an older version is no rollback: what it replaced stays good.
        ("P A1 P A2 P A3 A1", "1act 2ret 3ret", Some(3)),
        ("P A1 P A2 P A3 A1 R", "1bad 2ret 3act", Some(2)),
        // After a rollback, the next push is rolled back to where it came from.
        ("P A1 P A2 R P A3", "1ret 2bad 3act", Some(1)),
        ("P A1 P A2 R P A3 R", "1act 2bad 3bad", None),
        // By force, and back.
        ("P A1 P A2 R F2", "1ret 2act", Some(1)),
        ("P A1 E F2", "1ret 2act", Some(1)),
        ("P A1 E F2 R", "1act 2bad", None),
        ("P A1 P A2 R F2 R", "1act 2bad", None),
        // What is deleted is no target.
        ("P A1 P A2 P A3 D1", "1del 2ret 3act", Some(2)),
        ("P A1 P A2 P A3 P A4 D2 R", "1ret 2del 3act 4bad", Some(1)),
        ("P A1 P A2 P A3 D1 R", "1del 2act 3bad", None),
        // Versions never served are none either.
        ("P P A2", "1rea 2act", None),
        ("P P A2 R1", "1act 2bad", None),
        // Hold and release.
        ("P A1 H", "1act held", None),
        ("P A1 H P", "1act 2rea held", None),
        ("P A1 H P L", "1ret 2act", Some(1)),
        ("P A1 H P P L", "1ret 2rea 3act", Some(1)),
        ("P A1 H P p L", "1ret 2act 3rea", Some(1)),
        ("P A1 H p L", "1act 2rea", None),
        ("P A1 H E L", "1act 2rej", None),
        ("P A1 H L", "1act", None),
        ("H P L", "1act", None),
        ("P A1 P A2 RH P L", "1ret 2bad 3act", Some(1)),
        ("P A1 P A2 RH L", "1act 2bad", None),
        // A person may activate and roll back during a hold, and it stays.
        ("P A1 H P A2", "1ret 2act held", Some(1)),
        ("P A1 H P A2 R", "1act 2bad held", None),
        // What is older than the current version is not activated by a release.
        ("O P A2 H S1 W1 L", "1rea 2act", None),
        // A canary, and its ends.
        ("P A1 P C2", "1act 2rea canary2", None),
        ("P A1 P C2 c", "1act 2rea", None),
        ("P A1 P C2 M", "1ret 2act", Some(1)),
        ("P A1 P C2 A2", "1ret 2act", Some(1)),
        ("P A1 P A2 P C3 R", "1act 2bad 3rea", None),
        ("P A1 P A2 C1 R", "1act 2bad", None),
        ("P A1 P C2 P C3", "1act 2rea 3rea canary3", None),
        // A person may make another version current beside it, and what served may be one.
        ("P A1 P C2 P A3", "1ret 2rea 3act canary2", Some(1)),
        ("P A1 P A2 C1", "1ret 2act canary1", Some(1)),
        ("P A1 H P C2", "1act 2rea held canary2", None),
        ("P A1 H P C2 M", "1ret 2act held", Some(1)),
        // What was a canary is not what a release activates; what came after it is.
        ("P A1 P C2 c H L", "1act 2rea", None),
        ("P A1 P C2 P c H L", "1ret 2rea 3act", Some(1)),
    ];
    for (script, states, target) in table {
        let world = World::after(script);
        assert_eq!(world.shown(), *states, "after {script:?}");
        let found = world.dataset().rollback_target().map(|v| v.0);
        assert_eq!(found, *target, "rollback target after {script:?}");
    }
}

#[test]
fn a_deleted_version_shows_what_it_was_without_the_list_of_its_parts() {
    let mut world = World::after("P p A2");
    let before = world.dataset().versions[&Version(1)].clone();
    assert_eq!(before.parts.len(), 1);
    world.step("D1").unwrap();
    let after = &world.dataset().versions[&Version(1)];
    let (state, left_at) = (State::Deleted, Some(world.now));
    assert_eq!(*after, Entry { state, left_at, parts: Vec::new(), ..before });
    assert_eq!(world.dataset().versions[&Version(2)].parts.len(), 1);
    // One that a checkpoint of an earlier version of this program still has them of.
    let mut json = serde_json::to_value(&world.catalog).unwrap();
    let parts = json["datasets"]["a"]["versions"]["2"]["parts"].clone();
    json["datasets"]["a"]["versions"]["1"]["parts"] = parts;
    world.catalog = serde_json::from_value(json).unwrap();
    assert_eq!(world.dataset().versions[&Version(1)].parts.len(), 1);
    world.step("X").unwrap();
    assert!(world.dataset().versions[&Version(1)].parts.is_empty());
}

#[test]
fn each_refused_step_has_its_code() {
    let table: &[(&str, &str, Code)] = &[
        ("", "A1", Code::VersionNotFound),
        ("", "R", Code::NothingToRollBackTo),
        ("P", "R", Code::NothingToRollBackTo),
        ("P A1", "R", Code::NothingToRollBackTo),
        ("P A1 P A2 R", "R", Code::NothingToRollBackTo),
        ("P A1 P", "R", Code::NothingToRollBackTo),
        ("P A1", "A1", Code::AlreadyCurrent),
        ("P A1", "F1", Code::AlreadyCurrent),
        ("P A1", "R1", Code::AlreadyCurrent),
        ("P A1 P A2 P A3", "R3", Code::AlreadyCurrent),
        ("P A1 P A2", "R9", Code::VersionNotFound),
        ("P A1 P A2 R P A3", "R2", Code::NeedsForce),
        ("P A1 P A2 R", "A2", Code::NeedsForce),
        ("P A1 P A2 R", "f2", Code::NeedsForce),
        ("P A1 E", "A2", Code::NeedsForce),
        ("P A1 E", "R2", Code::NeedsForce),
        ("O", "A1", Code::WrongState),
        ("O", "F1", Code::WrongState),
        ("O S1", "F1", Code::WrongState),
        ("X", "F1", Code::WrongState),
        ("P A1 O", "R2", Code::WrongState),
        ("P A1 X", "R2", Code::WrongState),
        ("P D1", "A1", Code::VersionDeleted),
        ("P D1", "F1", Code::VersionDeleted),
        ("P A1 P D2", "R2", Code::VersionDeleted),
        ("P D1", "D1", Code::VersionDeleted),
        ("", "D1", Code::VersionNotFound),
        ("P A1", "D1", Code::VersionInUse),
        ("P A1 P A2", "D1", Code::VersionInUse),
        ("P", "S1", Code::WrongState),
        ("X", "S1", Code::WrongState),
        ("O", "W1", Code::WrongState),
        ("P", "W1", Code::WrongState),
        ("O S1 D1", "W1", Code::VersionDeleted),
        ("O D1", "S1", Code::VersionDeleted),
        ("P A1 P", "C1", Code::AlreadyCurrent),
        ("P", "C1", Code::NoCurrentVersion),
        ("P A1", "C9", Code::VersionNotFound),
        ("P A1 P D2", "C2", Code::VersionDeleted),
        ("P A1 E", "C2", Code::WrongState),
        ("P A1 O", "C2", Code::WrongState),
        ("P A1 X", "C2", Code::WrongState),
        ("P A1 P A2 R", "C2", Code::WrongState),
        ("P A1", "c", Code::NoCanary),
        ("P A1", "M", Code::NoCanary),
        ("P A1 P C2 M", "M", Code::NoCanary),
        ("P A1 P C2 M R", "c", Code::NoCanary),
        ("P A1 P C2", "D2", Code::VersionInUse),
        ("", "L", Code::NotHeld),
        ("P A1 H P L", "L", Code::NotHeld),
    ];
    for (script, step, code) in table {
        let mut world = World::after(script);
        let before = world.catalog.clone();
        let error = world.step(step).expect_err(step);
        assert_eq!(error.code(), *code, "{step} after {script:?}: {error}");
        assert_eq!(world.catalog, before, "a refused step changes nothing");
    }
}

#[test]
fn a_version_that_becomes_ready_is_activated_by_itself_or_says_why_not() {
    let table: &[(&str, u64, std::result::Result<(), Parked>)] = &[
        ("P", 1, Ok(())),
        ("P A1 P", 2, Ok(())),
        ("P A1 p", 2, Err(Parked::NotAsked)),
        ("P A1 H P", 2, Err(Parked::Held)),
        ("P A1 H p", 2, Err(Parked::Held)),
        ("P A1 E", 2, Err(Parked::Rejected)),
        ("P A1 P C2 P", 3, Err(Parked::Canary)),
        ("P A1 P C2 H P", 3, Err(Parked::Held)),
        ("P A1 P C2 p", 3, Err(Parked::NotAsked)),
        ("P A1 P C2 c", 2, Err(Parked::Canary)),
        ("P A1 P C2 c P", 3, Ok(())),
        ("P A1 P C2 M P", 3, Ok(())),
        ("O P A2 S1 W1", 1, Err(Parked::Superseded)),
        // Of a version that went bad, the number does not count: 2 opened after 1 did.
        ("P A1 O P A3 R S2 W2", 2, Ok(())),
        ("P A1", 1, Err(Parked::Served)),
        ("P A1 P A2", 1, Err(Parked::Served)),
        ("P A1 P A2 R", 2, Err(Parked::Served)),
    ];
    for (script, version, expected) in table {
        let world = World::after(script);
        let found = world.catalog.activates_by_itself(&world.dataset, Version(*version)).unwrap();
        assert_eq!(found, *expected, "version {version} after {script:?}");
    }
    for script in ["O", "O S1", "X", "P D1"] {
        let world = World::after(script);
        let error = world.catalog.activates_by_itself(&world.dataset, Version(1)).unwrap_err();
        assert_eq!(error.code(), Code::WrongState, "{script:?}");
    }
}

#[test]
fn what_is_not_to_be_activated_by_itself_any_more_is_not_swapped_in() {
    // What became of version 2 between the decision to activate it and the swap.
    for (meanwhile, is_still_due) in [
        ("", true),
        ("P", true),
        ("H", false),
        ("H L", false),
        ("C2", false),
        // It was a canary, and nobody holds it back now but the person who ended that.
        ("C2 c", false),
        ("P C3", false),
        ("P C3 c", true),
        ("D2", false),
    ] {
        let world = World::after(&format!("P A1 P {meanwhile}"));
        let expect = Expect::Current(Some(Version(1)));
        let activation = Activation { version: Version(2), force: false, expect };
        let planned = world.catalog.plan_self_activation(&world.dataset, &activation, None);
        assert_eq!(planned.is_ok(), is_still_due, "{meanwhile:?}: {planned:?}");
        if let Err(error) = planned {
            assert_eq!(error.code(), Code::WrongState, "{meanwhile:?}");
        }
    }
}

#[test]
fn what_was_expected_to_be_current_must_be() {
    let current = |v: Option<u64>| Expect::Current(v.map(Version));
    for (script, expect, fits) in [
        ("P", current(None), true),
        ("P", current(Some(1)), false),
        ("P A1 P", current(Some(1)), true),
        ("P A1 P", current(None), false),
        ("P A1 P", current(Some(2)), false),
        ("P A1 P", Expect::Anything, true),
    ] {
        let world = World::after(script);
        let version = world.dataset().next_version().0 - 1;
        let activation = Activation { version: Version(version), force: false, expect };
        let planned = world.catalog.plan_activate(&world.dataset, &activation, None);
        assert_eq!(planned.is_ok(), fits, "{script:?} {expect:?}");
        let codes = [Code::CurrentChanged];
        assert!(planned.err().is_none_or(|e| codes.contains(&e.code())), "{script:?}");
    }
    let world = World::after("P A1 P A2 P A3");
    for (expect, fits) in [(current(Some(3)), true), (current(Some(2)), false)] {
        let rollback = Rollback { to: None, hold: true, expect };
        let planned = world.catalog.plan_rollback(&world.dataset, &rollback);
        assert_eq!(planned.is_ok(), fits, "{expect:?}");
    }
}

#[test]
fn only_force_with_a_reason_is_force() {
    for (force, reason, forced) in [
        (false, Some("why"), false),
        (true, None, false),
        (true, Some(" "), false),
        (true, Some("why"), true),
    ] {
        let world = World::after("P");
        let activation = Activation { force, ..Activation::of(Version(1)) };
        let event = world.catalog.plan_activate(&world.dataset, &activation, reason).unwrap();
        let Event::Activated(activated) = event else { panic!("not an activation") };
        assert_eq!(activated.forced, forced, "{force} {reason:?}");
    }
}

#[test]
fn a_release_is_one_event_with_or_without_an_activation() {
    let mut world = World::after("P A1 H P");
    let events = world.log.len();
    world.step("L").unwrap();
    assert_eq!(world.log.len(), events + 1);
    assert_eq!((world.dataset().hold.clone(), world.dataset().current), (None, Some(Version(2))));
    let mut world = World::after("P A1 H");
    world.step("L").unwrap();
    assert_eq!(world.dataset().history.back().unwrap().event, "released");
    assert!(world.catalog.plan_hold(&world.dataset).unwrap().is_some());
    world.step("H").unwrap();
    assert!(world.catalog.plan_hold(&world.dataset).unwrap().is_none(), "held already");
}

/// Whoever was served it may still be reading it.
#[test]
fn what_was_a_canary_has_its_grace_time_however_that_ended() {
    for ends in ["c", "C1", "R", "C3"] {
        // 4 is the canary, and three that never served are newer.
        let mut world = World::after("P A1 P A2 P P C4 P P P");
        world.now = DAY;
        world.step(ends).unwrap();
        world.now += 600_000 - 1;
        assert!(!world.due().contains(&4), "{ends}: {:?}", world.due());
        world.now += 1;
        assert!(world.due().contains(&4), "{ends}: {:?}", world.due());
    }
    // What never served has none.
    let mut world = World::after("P A1 P P P P P");
    assert_eq!(world.due(), [2, 3]);
    world.step("C2").unwrap();
    assert!(!world.due().contains(&2), "while it is one it stays");
}

/// A clock was ahead when the version was left, and was set right since.
#[test]
fn a_grace_time_that_begins_well_in_the_future_is_over() {
    let mut world = World::new();
    world.configure(&DatasetConfig { retain: 1, ..DatasetConfig::default() });
    world.now = 10 * DAY;
    for step in ["P", "A1", "P", "A2", "P", "A3"] {
        world.step(step).unwrap();
    }
    world.now -= 60_000;
    assert!(world.due().is_empty(), "that may be a small correction");
    world.now -= 1;
    assert_eq!(world.due(), [1]);
}

#[test]
fn retention_counts_what_has_served_and_spares_what_is_needed() {
    let table: &[(&str, &[u64])] = &[
        ("P A1 P A2 P A3 +600", &[]),
        ("P A1 P A2 P A3 P A4 +600", &[1]),
        ("P A1 P A2 P A3 P A4 P A5 +600", &[1, 2]),
        // Grace counts from when it was replaced.
        ("P A1 +2 P A2 P A3 P A4", &[]),
        ("P A1 +2 P A2 P A3 P A4 +599", &[]),
        ("P A1 +2 P A2 P A3 P A4 +600", &[1]),
        // What serves again is the newest, whatever its number.
        ("P A1 P A2 P A3 A1 P A4 +600", &[2]),
        ("P A1 P A2 P A3 P A4 A1 +600", &[2]),
        // After rollbacks: bad ones do not count among those that have served.
        ("P A1 P A2 P A3 P A4 R +600", &[]),
        ("P A1 P A2 P A3 P A4 R R +600", &[]),
        ("P A1 P A2 P A3 P A4 R R R +600", &[4]),
        // Ready: the newest three; and what a release would activate.
        ("p p p", &[]),
        ("p p p p", &[1]),
        ("H P p p p p", &[2]),
        ("P A1 H P p p p", &[]),
        ("P A1 H P p p p L", &[]),
        // A canary, of whatever state.
        ("P A1 p C2 p p p p", &[3]),
        ("P A1 P A2 P A3 P A4 P A5 C1 +600", &[2]),
        // Rejected two, failed ten; those need no grace, as nobody reads them.
        ("E E E", &[1]),
        ("X X X X X X X X X X X X", &[1, 2]),
        // A push that runs is never due.
        ("O O O O O O S1 S2 S3", &[]),
    ];
    for (script, due) in table {
        assert_eq!(World::after(script).due(), *due, "after {script:?}");
    }
}

#[test]
fn the_last_good_version_outlives_every_limit() {
    let mut world = World::new();
    world.configure(&DatasetConfig {
        retain: 1,
        retire_grace_seconds: 0,
        ..DatasetConfig::default()
    });
    for step in "P A1 P A2".split(' ') {
        world.step(step).unwrap();
    }
    assert_eq!(world.due(), [0; 0], "1 is what a rollback would go to");
    world.step("P").unwrap();
    world.step("A3").unwrap();
    assert_eq!(world.due(), [1]);
    world.now += 1000 * DAY;
    assert_eq!(world.due(), [1]);
}

#[test]
fn a_clock_that_jumps_back_does_not_change_which_version_is_the_oldest() {
    let mut world = World::after("P A1 +9000 P A2 P A3");
    world.now = 1;
    for step in "P A4 P A5".split(' ') {
        world.step(step).unwrap();
    }
    world.now = DAY;
    assert_eq!(world.due(), [1, 2], "3 and 4 served after them, whatever the clock said");
}

#[test]
fn a_push_without_parts_is_abandoned_after_a_day() {
    let mut world = World::after("O O S2 P");
    let keep = Keep::default();
    world.now += DAY;
    assert!(world.catalog.abandoned(&keep, world.now).is_empty());
    world.now += 1;
    assert_eq!(world.catalog.abandoned(&keep, world.now), [(world.dataset.clone(), Version(1))]);
    assert!(world.catalog.abandoned(&keep, 0).is_empty(), "the clock jumped back");
}

#[test]
fn numbers_go_on_after_a_dataset_was_deleted_and_made_again() {
    let mut world = World::after("P A1 P A2");
    let event = world.catalog.plan_delete_dataset(&world.dataset).unwrap();
    world.happen(event);
    assert_eq!(world.catalog.dataset(&world.dataset).unwrap_err().code(), Code::DatasetNotFound);
    assert!(world.catalog.was_admitted(&world.dataset, Version(2)));
    world.configure(&DatasetConfig::default());
    assert!(world.dataset().versions.is_empty() && world.dataset().current.is_none());
    assert_eq!(world.admit(true).unwrap(), Version(3));
    let gone = world.catalog.entry(&world.dataset, Version(2)).unwrap_err();
    assert_eq!(gone.code(), Code::VersionDeleted);
    let error = world.catalog.plan_delete_dataset(&world.dataset).unwrap_err();
    assert_eq!(error.code(), Code::VersionInUse, "a push runs");
}

fn id(key: &str, fingerprint: &str) -> Cause {
    let idempotency = Idempotency { key: key.to_owned(), fingerprint: fingerprint.to_owned() };
    Cause { idempotency: Some(idempotency), ..Cause::default() }
}

/// What a repetition of the push with key `k` is answered.
fn replayed(world: &World, fingerprint: &str) -> std::result::Result<Option<Outcome>, Code> {
    let cause = id("k", fingerprint);
    world.catalog.replay(&world.dataset, &cause.idempotency.unwrap()).map_err(|e| e.code())
}

#[test]
fn a_key_is_remembered_as_long_as_its_push_may_still_serve() {
    let pushed = Ok(Some(Outcome::Pushed(Version(1))));
    let free = Ok(None);
    for (script, expected) in [
        ("", &Err(Code::InProgress)),
        ("S1", &pushed),
        ("S1 W1", &pushed),
        ("S1 W1 A1", &pushed),
        ("S1 W1 A1 P A2", &pushed),
        ("S1 W1 A1 P A2 D1", &Err(Code::VersionInUse)),
        ("D1", &free),
        ("S1 D1", &free),
        ("S1 W1 A1 P A2 P A3 D1", &free),
        ("P A2 S1 W1 A1 R", &free),
    ] {
        let mut world = World::after("");
        let push = Admission { activate: true, whole: true, ..Admission::default() };
        let event = world.catalog.plan_admit(&world.dataset, &push).unwrap();
        world.happen_because(id("k", "same"), event);
        let stepped = script.split_whitespace().try_for_each(|step| world.step(step));
        if let Err(error) = stepped {
            assert_eq!(Err(error.code()), *expected, "after {script:?}");
            continue;
        }
        assert_eq!(replayed(&world, "same"), *expected, "after {script:?}");
        if *expected != free {
            let reused = Err(Code::IdempotencyKeyReused);
            assert_eq!(replayed(&world, "other"), reused, "after {script:?}");
        }
    }
}

#[test]
fn a_push_that_failed_or_was_refused_frees_its_key() {
    for records in [None, Some(0)] {
        let mut world = World::after("");
        let push = Admission { whole: true, ..Admission::default() };
        let event = world.catalog.plan_admit(&world.dataset, &push).unwrap();
        world.happen_because(id("k", "same"), event);
        assert_eq!(replayed(&world, "same"), Err(Code::InProgress));
        match records {
            None => world.fail(Version(1)).unwrap(),
            Some(records) => {
                world.seal(Version(1), true).unwrap();
                world.publish(Version(1), records).unwrap();
            }
        }
        assert_eq!(replayed(&world, "same"), Ok(None), "{records:?}");
    }
}

#[test]
fn a_commit_is_remembered_as_long_as_its_push_may_still_serve() {
    for (script, remembered) in [("", true), ("W1", true), ("W1 A1", true), ("D1", false)] {
        let mut world = World::after("O");
        let part = SealedPart { name: "1".to_owned(), bytes: 1, sha256: String::new() };
        let event = world.catalog.plan_seal(&world.dataset, Version(1), true, vec![part]).unwrap();
        world.happen_because(id("k", "same"), event);
        script.split_whitespace().for_each(|step| world.step(step).unwrap());
        let outcome = remembered.then_some(Outcome::Committed(Version(1)));
        assert_eq!(replayed(&world, "same"), Ok(outcome), "after {script:?}");
        let other = if remembered { Err(Code::IdempotencyKeyReused) } else { Ok(None) };
        assert_eq!(replayed(&world, "other"), other, "after {script:?}");
    }
}

#[test]
fn moves_holds_and_releases_are_remembered_too() {
    let mut world = World::after("P A1 P A2");
    let rollback = Rollback { to: None, hold: true, expect: Expect::Anything };
    let event = world.catalog.plan_rollback(&world.dataset, &rollback).unwrap();
    world.happen_because(id("k", "r"), event);
    let moved =
        Moved { from: Some(Version(2)), to: Version(1), held: true, marked_bad: Some(Version(2)) };
    assert_eq!(replayed(&world, "r"), Ok(Some(Outcome::Moved(moved))));
    let event = world.catalog.plan_release(&world.dataset, None).unwrap();
    world.happen_because(id("l", "r"), event);
    assert_eq!(world.dataset().idempotency.get("l").unwrap().outcome, Outcome::Released);
    let event = world.catalog.plan_hold(&world.dataset).unwrap().unwrap();
    let why = |reason: &str, cause| Cause { reason: Some(reason.to_owned()), ..cause };
    world.happen_because(why("exams", id("h", "r")), event);
    let held = |changed| Outcome::Hold(Held { changed, reason: Some("exams".to_owned()) });
    assert_eq!(world.dataset().idempotency.get("h").unwrap().outcome, held(true));
    // A hold of what is held keeps its key, and changes nothing: not the reason, not the
    // history.
    let before = (world.dataset().hold.clone(), world.dataset().history.clone());
    world.happen_because(why("more", id("i", "r")), Catalog::hold_again(&world.dataset));
    assert_eq!(world.dataset().idempotency.get("i").unwrap().outcome, held(false));
    assert_eq!((world.dataset().hold.clone(), world.dataset().history.clone()), before);
    assert_eq!(world.folded(), world.catalog);
}

#[test]
fn the_newest_keys_of_holds_and_releases_are_remembered() {
    let mut world = World::after("P A1");
    for n in 0..=HOLD_KEYS_KEPT {
        world.happen_because(id(&format!("{n}"), "f"), Catalog::hold_again(&world.dataset));
    }
    assert!(!world.dataset().idempotency.contains_key("0"));
    assert!(world.dataset().idempotency.contains_key("1"));
    world.step("L").unwrap();
    assert!(
        world.dataset().idempotency.contains_key("1"),
        "a release without a key takes no place"
    );
    assert_eq!(world.folded(), world.catalog);
}

#[test]
fn settings_that_are_so_already_are_no_event() {
    let mut world = World::after("P A1");
    let plan = |world: &World, config: &DatasetConfig| {
        world.catalog.plan_configure(&world.dataset, config).unwrap()
    };
    let (before, mut other) = (DatasetConfig::default(), DatasetConfig::default());
    other.gates.min_records = Some(2);
    assert_eq!(plan(&world, &before), None);
    assert!(matches!(plan(&world, &other), Some(Event::Configured(_))));
    world.configure(&other);
    assert_eq!(plan(&world, &other), None);
    assert!(matches!(plan(&world, &before), Some(Event::Configured(_))));
    // One that is not there is made, also with the settings that all have.
    let event = world.catalog.plan_delete_dataset(&world.dataset).unwrap();
    world.happen(event);
    assert!(matches!(plan(&world, &before), Some(Event::Created(_))));
}

#[test]
fn settings_that_could_not_be_read_are_replaced_also_by_the_defaults() {
    let mut world = World::after("P A1");
    let dataset = world.dataset.clone();
    let config = r#"{"retain":5,"of_a_later_release":true}"#.to_owned();
    world.happen(Event::Configured(Created { dataset, config }));
    let defaults = DatasetConfig::default();
    assert_eq!(world.dataset().config, defaults);
    let plan = |world: &World| world.catalog.plan_configure(&world.dataset, &defaults).unwrap();
    assert!(matches!(plan(&world), Some(Event::Configured(_))));
    world.configure(&defaults);
    assert_eq!(plan(&world), None, "they are in the journal now");
}

#[test]
fn history_names_who_what_and_why() {
    let mut world = World::after("P A1 P A2 R E");
    world.fail(Version(9)).unwrap_err();
    let lines: Vec<String> = world
        .dataset()
        .history
        .iter()
        .map(|h| format!("{}{}", h.event, h.version.map(|v| v.to_string()).unwrap_or_default()))
        .collect();
    let expected = "created admitted1 sealed1 published1 activated1 admitted2 sealed2 published2 \
                    activated2 rolled_back1 admitted3 sealed3 rejected3";
    assert_eq!(lines.join(" "), expected);
    let last = world.dataset().history.back().unwrap();
    assert!(last.reason.as_ref().unwrap().contains("min_records"), "{last:?}");
    let rolled_back = &world.dataset().history[9];
    assert_eq!((rolled_back.from, rolled_back.to), (Some(Version(2)), Some(Version(1))));
    assert_eq!(last.seq, world.catalog.seq());
}

#[test]
fn the_history_is_the_last_thousand_lines() {
    let mut world = World::after("P A1 P A2");
    for _ in 0..600 {
        world.step("H").unwrap();
        world.step("L").unwrap();
    }
    let seqs = |world: &World| -> Vec<u64> {
        world.dataset().history.iter().map(|line| line.seq).collect()
    };
    let last = world.catalog.seq();
    assert_eq!(seqs(&world), Vec::from_iter(last - 999..=last), "a line for each of these events");
    // One event of two lines takes the place of two.
    world.step("RH").unwrap();
    let kept = seqs(&world);
    assert_eq!((kept.len(), kept[0]), (1_000, last - 997));
    assert_eq!(kept[998..], [last + 1, last + 1]);
    assert_eq!(world.shown(), "1act 2bad held", "what is so does not hang on what can be told");
    assert_eq!(world.folded(), world.catalog);
}

#[test]
fn the_newest_hundred_deleted_versions_still_show_what_they_were() {
    let mut world = World::after("P A1 P A2");
    for version in 3..=152 {
        world.step("P").unwrap();
        world.step(&format!("D{version}")).unwrap();
    }
    let shown: Vec<u64> = world.dataset().versions.keys().map(|version| version.0).collect();
    assert_eq!(shown, Vec::from_iter([1_u64, 2].into_iter().chain(53..=152)));
    assert_eq!((world.state(1), world.state(53)), (State::Retired, State::Deleted));
    let forgotten = world.catalog.entry(&world.dataset, Version(52)).unwrap_err();
    assert_eq!(forgotten.code(), Code::VersionDeleted);
    assert_eq!(world.dataset().next_version(), Version(153), "no number is given again");
    // Those that are kept are older than all that was forgotten, and none of them.
    assert_eq!(world.dataset().rollback_target(), Some(Version(1)));
    world.step("R").unwrap();
    assert_eq!(world.dataset().current, Some(Version(1)));
    assert_eq!(world.folded(), world.catalog);
}

#[test]
fn a_rollback_finds_its_target_among_the_last_thousand_activations() {
    let mut world = World::after("P A1 P P");
    world.configure(&DatasetConfig { retain: 1, ..DatasetConfig::default() });
    for _ in 0..600 {
        world.step("A2").unwrap();
        world.step("A3").unwrap();
    }
    let served = &world.dataset().served;
    assert_eq!(served.len(), 1_000);
    assert!(!served.contains(&Version(1)), "its activation is forgotten");
    assert_eq!(world.dataset().rollback_target(), Some(Version(2)));
    world.now += 1000 * DAY;
    assert_eq!(world.due(), [1], "what a rollback would go to is kept");
    world.catalog.plan_delete(&world.dataset, Version(2)).unwrap_err();
    world.step("R").unwrap();
    assert_eq!(world.shown(), "1ret 2act 3bad");
    // By default nothing is left to go to; who names it can still have it.
    assert_eq!(world.dataset().rollback_target(), None);
    world.step("R1").unwrap();
    assert_eq!(world.shown(), "1act 2bad 3bad");
    assert_eq!(world.folded(), world.catalog);
}

#[test]
fn the_last_swap_is_the_last_change_of_what_is_current() {
    let last = |script: &str| {
        let world = World::after(script);
        let swap = world.dataset().last_swap.clone();
        assert_eq!(world.folded(), world.catalog);
        swap.map(|s| (s.from.map(|v| v.0), s.to.0, s.forced, s.rollback))
    };
    assert_eq!(last("P p"), None);
    assert_eq!(last("P A1"), Some((None, 1, false, false)));
    assert_eq!(last("P A1 P A2 H P"), Some((Some(1), 2, false, false)), "nothing else is one");
    assert_eq!(last("P A1 P A2 RH"), Some((Some(2), 1, false, true)));
    assert_eq!(last("P A1 P A2 RH F2"), Some((Some(1), 2, true, false)));
    let mut world = World::after("P A1 P A2");
    let swap = world.dataset().last_swap.clone().unwrap();
    assert_eq!((swap.seq, swap.at), (world.catalog.seq(), world.now));
    // There and back within a millisecond is not the same swap.
    world.activate(Version(1), false, None).unwrap();
    world.activate(Version(2), false, None).unwrap();
    let again = world.dataset().last_swap.clone().unwrap();
    assert_eq!((again.from, again.to, again.at), (swap.from, swap.to, swap.at));
    assert_ne!(again, swap);
}

#[test]
fn a_dataset_is_stale_when_no_good_push_came_for_longer_than_expected() {
    let hourly =
        DatasetConfig { expected_push_interval_seconds: Some(3600), ..DatasetConfig::default() };
    let overdue = |script: &str| {
        let mut world = World::after(script);
        assert!(!world.dataset().is_stale(Millis::MAX), "none is expected");
        world.configure(&hourly);
        let from = world.dataset().stale_from().unwrap();
        assert!(!world.dataset().is_stale(from) && world.dataset().is_stale(from + 1));
        from - 3_600_000
    };
    assert_eq!(overdue("+5"), 1, "one without a push is as fresh as it is new");
    assert_eq!(overdue("+5 P"), 5001);
    assert_eq!(overdue("+5 P +5 A1"), 5001, "an activation is no push");
    assert_eq!(overdue("P +5 H P"), 5001, "a version that waits was pushed all the same");
    assert_eq!(overdue("P +5 E"), 1, "what a gate refused does not count");
    assert_eq!(overdue("P +5 X O"), 1, "nor what has not come to its end");
    assert_eq!(overdue("P A1 +5 P A2 R"), 1, "nor what turned out to be bad");
    assert_eq!(overdue("P A1 +5 P A2 R +5 P A3"), 10_001);
}

#[test]
fn gates_compare_with_what_is_current_then() {
    let mut world = World::after("");
    for records in [1000, 499] {
        let version = world.admit(true).unwrap();
        world.seal(version, true).unwrap();
        world.publish(version, records).unwrap();
        if records == 1000 {
            world.activate(version, false, None).unwrap();
        }
    }
    assert_eq!(world.shown(), "1act 2rej");
    let entry = &world.dataset().versions[&Version(2)];
    assert_eq!(
        (entry.gated_against, entry.code.as_deref()),
        (Some(Version(1)), Some("gate_refused"))
    );
    assert_eq!(world.state(2), State::Rejected);
}

#[test]
fn gates_are_asked_again_if_what_they_hang_on_may_be_another() {
    let asked = |world: &World, version: u64| {
        let (dataset, version) = (world.dataset(), Version(version));
        dataset.asks_gates_again(version, &dataset.versions[&version])
    };
    let mut world = World::after("P A1 p");
    assert!(!asked(&world, 2));
    world.configure(&DatasetConfig { retain: 4, ..DatasetConfig::default() });
    assert!(asked(&world, 2), "the settings were changed");
    assert!(!asked(&world, 1), "what has served has passed them");
    world.step("p").unwrap();
    assert!(!asked(&world, 3), "they were changed before");
    for _ in 0..499 {
        world.step("H").unwrap();
        world.step("L").unwrap();
    }
    assert!(!asked(&world, 3));
    world.step("H").unwrap();
    world.step("L").unwrap();
    assert!(asked(&world, 3), "no line tells of its publication any more, nor of what came after");
    assert!(asked(&World::after("P A1 p P A3"), 2), "another version is current");
    assert!(!asked(&World::after("P A1 p P A3 A1"), 2), "the same one is again");
}

#[test]
fn what_was_refused_and_then_forced_is_refused_no_more() {
    let told = |script: &str| {
        let world = World::after(script);
        let entry = world.dataset().versions[&Version(2)].clone();
        assert!(!gates::all_passed(&entry.gates), "after {script:?}: its verdicts stay");
        assert_eq!(world.folded(), world.catalog);
        (entry.code, entry.reason.unwrap())
    };
    let (code, reason) = told("P A1 E");
    assert_eq!(code.as_deref(), Some("gate_refused"));
    assert!(reason.contains("min_records"), "{reason}");
    for script in ["P A1 E F2", "P A1 E F2 P A3", "P A1 E F2 P A3 A2"] {
        assert_eq!(told(script), (None, "because".to_owned()), "after {script:?}");
    }
    // What was gone back from is bad, for whatever reason that was.
    let world = World::after("P A1 E F2 R");
    let entry = &world.dataset().versions[&Version(2)];
    assert_eq!((entry.state, &entry.code, &entry.reason), (State::Bad, &None, &None));
}

#[test]
fn what_a_gate_saw_survives_a_checkpoint_to_the_last_bit() {
    let mut world = World::after("");
    // 97.89999999999999 % fewer: a reader of JSON that is merely close makes it 97.9.
    for records in [1000, 21] {
        let version = world.admit(true).unwrap();
        world.seal(version, true).unwrap();
        world.publish(version, records).unwrap();
        if records == 1000 {
            world.activate(version, false, None).unwrap();
        }
    }
    let json = serde_json::to_string(&world.catalog).unwrap();
    assert_eq!(serde_json::from_str::<Catalog>(&json).unwrap(), world.catalog);
}

#[test]
fn a_change_of_its_share_is_the_same_canary_and_another_experiment_is_not() {
    let mut world = World::after("P A1 P +5 C2 +5");
    let canary = |world: &World| world.dataset().canary.clone().unwrap();
    let begun = canary(&world);
    assert_eq!((begun.experiment.as_str(), begun.percent), ("a", 10.0));
    let events = world.log.len();
    world.canary(Version(2), 10.0, Some("a")).unwrap();
    assert_eq!(world.log.len(), events, "it runs like that already");
    world.canary(Version(2), 25.5, None).unwrap();
    assert_eq!(canary(&world), Canary { percent: 25.5, ..begun.clone() });
    world.canary(Version(2), 25.5, Some("x")).unwrap();
    world.canary(Version(2), 50.0, None).unwrap();
    let last = canary(&world);
    assert_eq!((last.experiment.as_str(), last.percent), ("x", 50.0), "its experiment stays");
    assert!(last.started_at > begun.started_at);
    for (percent, experiment) in [(140.0, None), (0.0, None), (1.005, None), (5.0, Some("a:b"))] {
        let error = world.canary(Version(2), percent, experiment).unwrap_err();
        assert_eq!(error.code(), Code::InvalidSetting);
    }
    assert_eq!(canary(&world), last);
}

#[test]
fn the_history_tells_of_a_canary_and_of_its_end() {
    let lines = |script: &str| {
        let world = World::after(script);
        let history = world.dataset().history.iter();
        let lines = history.map(|h| format!("{} {}", h.event, h.version.map_or(0, |v| v.0)));
        lines.collect::<Vec<_>>()
    };
    let after = |script: &str, expected: &[&str]| {
        let found = lines(script);
        assert_eq!(found[found.len() - expected.len()..], *expected, "after {script:?}");
    };
    after("P A1 P C2 c", &["canary_started 2", "canary_ended 2"]);
    after("P A1 P C2 M", &["canary_started 2", "canary_ended 2", "activated 2"]);
    after("P A1 P A2 P C3 RH", &["canary_ended 3", "rolled_back 1", "held 0"]);
    after("P A1 P C2 P A3", &["sealed 3", "published 3", "activated 3"]);
    let world = World::after("P A1 P C2");
    let told = world.dataset().history.back().unwrap().reason.clone();
    assert_eq!(told.as_deref(), Some("10 % of the units of a"));
}

#[test]
fn what_becomes_ready_beside_a_canary_is_known_by_that_until_it_is_activated() {
    let entry = |world: &World| world.dataset().versions[&Version(3)].clone();
    // Why it waits follows from what runs now: a reason that was kept would be told when that is over.
    let known = |world: &World| (entry(world).reason, entry(world).beside_canary);
    for (script, waits) in [
        ("P A1 P C2 P", true),
        ("P A1 P C2 P c", true),
        ("P A1 P P C2", true),
        ("P A1 P C2 p", false),
    ] {
        let mut world = World::after(script);
        assert_eq!(known(&world), (None, waits), "{script:?}");
        world.step("A3").unwrap();
        assert_eq!(known(&world), (None, false), "{script:?}");
    }
    // A checkpoint of an earlier version of this program has a reason of it.
    let mut world = World::after("P A1 P C2 P");
    let mut json = serde_json::to_value(&world.catalog).unwrap();
    json["datasets"]["a"]["versions"]["3"]["reason"] = "a canary runs".into();
    world.catalog = serde_json::from_value(json).unwrap();
    world.step("A3").unwrap();
    assert_eq!(entry(&world).reason, None);
}

#[test]
fn a_canary_that_a_gate_refuses_by_now_is_over() {
    let mut world = World::after("P A1 P C2");
    let verdict = gates::known_bad(Version(1), None);
    let rejected = crate::event::Rejected {
        dataset: world.dataset.clone(),
        version: Version(2),
        gates: vec![verdict],
        against: Some(Version(1)),
    };
    world.happen(Event::Rejected(rejected));
    assert_eq!(world.shown(), "1act 2rej");
    let events: Vec<&str> = world.dataset().history.iter().map(|h| h.event.as_str()).collect();
    assert_eq!(events[events.len() - 2..], ["canary_ended", "rejected"]);
}

#[test]
fn a_promotion_is_of_what_was_looked_at() {
    let world = World::after("P A1 P C2");
    let promote = |version: Option<u64>, current: Option<u64>| {
        let expect = Expect::Current(current.map(Version));
        let promotion = Promotion { version: version.map(Version), expect };
        world.catalog.plan_promote(&world.dataset, &promotion).map(drop).map_err(|e| e.code())
    };
    assert_eq!(promote(Some(2), Some(1)), Ok(()));
    assert_eq!(promote(None, Some(1)), Ok(()));
    assert_eq!(promote(Some(3), Some(1)), Err(Code::CanaryChanged));
    assert_eq!(promote(Some(2), None), Err(Code::CurrentChanged));
}

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
