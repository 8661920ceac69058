//! A canary, from its start to its end.

use super::*;
use crate::gates;

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
fn what_was_expected_to_be_the_canary_must_be() {
    let start = |world: &World, version, percent, expect| {
        let start = CanaryStart { version: Version(version), percent, experiment: None, expect };
        world.catalog.plan_canary(&world.dataset, &start)
    };
    let end = |world: &World, expect| world.catalog.plan_end_canary(&world.dataset, expect);
    let running = |version| ExpectCanary::Running(Some(Version(version)));
    let none = ExpectCanary::Running(None);

    let world = World::after("P A1 P P C2");
    for (version, percent, expect) in [(3, 10.0, none), (3, 10.0, running(3)), (2, 50.0, none)] {
        let refused = start(&world, version, percent, expect).unwrap_err();
        assert_eq!(refused.code(), Code::CanaryChanged, "{refused}");
    }
    assert!(start(&world, 3, 10.0, running(2)).unwrap().is_some());
    assert!(start(&world, 2, 10.0, none).unwrap().is_none(), "it runs like that already");
    assert_eq!(end(&world, running(3)).unwrap_err().code(), Code::CanaryChanged);
    end(&world, running(2)).unwrap();
    end(&world, ExpectCanary::Anything).unwrap();

    // Nor is one of the same version and share, if its units are drawn by something else.
    let mut world = World::after("P A1 P");
    world.canary(Version(2), 10.0, Some("x")).unwrap();
    assert_eq!(start(&world, 2, 10.0, none).unwrap_err().code(), Code::CanaryChanged);
    assert!(start(&world, 2, 10.0, running(2)).unwrap().is_none(), "its experiment stays");

    let world = World::after("P A1 P P");
    let refused = start(&world, 3, 10.0, running(2)).unwrap_err();
    assert!(refused.to_string().contains("version 2 of a was expected"), "{refused}");
    assert!(start(&world, 3, 10.0, none).unwrap().is_some());
    assert_eq!(end(&world, running(2)).unwrap_err().code(), Code::NoCanary);
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
