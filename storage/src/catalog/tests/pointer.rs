//! What is current: activations, rollbacks, holds and releases.

use super::*;

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

#[test]
fn a_rollback_of_what_is_held_leaves_it_held_by_whom_and_why_it_was() {
    let mut world = World::after("P A1 P A2 H");
    let held = world.dataset().hold.clone();
    world.step("+5").unwrap();
    world.step("RH").unwrap();
    assert!(held.is_some() && world.dataset().current == Some(Version(1)));
    assert_eq!(world.dataset().hold, held);
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
