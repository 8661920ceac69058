//! Idempotency keys: which are remembered, how long, and with which answer.

use super::*;
use crate::catalog::remembered::HOLD_KEYS_KEPT;

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
