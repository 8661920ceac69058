//! Pushes: their numbers, whether they are activated by themselves, and when one is overdue.

use super::*;

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
        let found = world.catalog.why_parked(&world.dataset, Version(*version)).unwrap();
        assert_eq!(found, expected.err(), "version {version} after {script:?}");
    }
    for script in ["O", "O S1", "X", "P D1"] {
        let world = World::after(script);
        let error = world.catalog.why_parked(&world.dataset, Version(1)).unwrap_err();
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
