//! What may be given up, and what is left to show of it.

use super::*;

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
