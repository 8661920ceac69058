//! What the gates said of a version, and when they are asked again.

use super::*;
use crate::gates;

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
